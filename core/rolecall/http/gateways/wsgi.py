"""Common parts of adapters for WSGI frameworks: headers, bodies, answers, and the grant in a WSGI environment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from ...driver import drive
from ...errors import RolecallError
from ...request import Headers, Request
from ...tokens import Grant
from ..api import Api
from ..bodies import announced_length, unread
from ..guards.admission import Entered, admit
from ..guards.guard import Guard
from ..messages import Response
from ..problems import phrase
from .watching import granted as granted

_log: Final = logging.getLogger("rolecall")

#: The key of a request's grant in its WSGI environment, which belongs to that request alone.
GRANT: Final = "rolecall.grant"
#: The key of the header with a token.
AUTHORIZATION: Final = "HTTP_AUTHORIZATION"
#: The key of the kit for guards without one of their own.
KIT: Final = "rolecall.kit"

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
# Headers of every request are listed, so that their names need not be built each time.
_VARIABLES = {**_UNPREFIXED, "authorization": AUTHORIZATION}


class WsgiHeaders(Headers):
    """The headers of a WSGI environment, read on demand."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        variable = _VARIABLES.get(name.lower()) or "HTTP_" + name.upper().replace("-", "_")
        value: str = self._environ[variable]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        # The mixin's implementation, with an exception, takes twice as long.
        variable = _VARIABLES.get(name.lower()) or "HTTP_" + name.upper().replace("-", "_")
        return self._environ.get(variable, default)

    def __iter__(self) -> Iterator[str]:
        for variable in self._environ:
            if variable.startswith("HTTP_") and variable[5:] not in _UNPREFIXED.values():
                yield variable[5:].replace("_", "-").lower()
        for name, variable in _UNPREFIXED.items():
            if self._environ.get(variable):
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


def path_of(environ: Mapping[str, Any]) -> str:
    """The path of a request within the app, decoded (PEP 3333, "Unicode issues")."""
    path: str = environ.get("PATH_INFO", "")
    if path.isascii():
        return path
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return path  # already decoded by a framework around the app


def neutral_request(environ: Mapping[str, Any], framework: str, path_params: Mapping[str, str]) -> Request:
    """A request in the kit's form; its body is read later."""
    return Request(
        environ["REQUEST_METHOD"],
        path_of(environ),
        path_params,
        WsgiHeaders(environ),
        framework=framework,
        query=environ.get("QUERY_STRING", ""),
        root=environ.get("SCRIPT_NAME", ""),
        native=environ,
    )


def enter(
    guard: Guard,
    api: Api,
    session_id: str | None,
    environ: MutableMapping[str, Any],
    make_request: Callable[..., Request],
    of: tuple[Any, ...],
    path_params: Mapping[str, str] | None = None,
) -> Entered:
    """Admit a request, with its grant in the environment, or return the reason to refuse it.

    :param session_id: the session that the route names; None if it names none.
    :param make_request: makes the request, on demand.
    :param of: its arguments.
    :param path_params: the variable parts of the path, if only the guard knows them.
    """
    # In the environment, which belongs to the request; Flask may share its `g` between requests.
    admitted = admit(api, environ.get(AUTHORIZATION), guard, session_id, make_request, of, environ, path_params)
    if not isinstance(admitted, Grant):
        entered = drive(admitted)
        if not isinstance(entered, Grant):
            return entered
        admitted = entered
    environ[GRANT] = admitted
    return admitted


def find_bearer(api: Api, request: Request) -> Grant | None:
    """The grant of a request's token; None if it has no good one. The grant admits the request to nothing.

    Neither the session nor the policies are checked.
    """
    try:
        token, _ = api.credentials.find(request)
        return drive(api.engine.verify(token))
    except RolecallError as error:
        if error.status >= 500:
            _log.error("%s: %s", error.code, error)
    except Exception:
        _log.exception("rolecall could not look at a request's token; the app is told of no grant")
    return None


def send_response(response: Response, environ: Mapping[str, Any], start_response: Any) -> Iterable[bytes]:
    """Send an answer; for HEAD without its body."""
    start_response(f"{response.status} {phrase(response.status)}", list(response.framed_headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" or not response.body else [response.body]


def input_of(environ: Mapping[str, Any], longest: int) -> Callable[[int], bytes]:
    """Make a function that reads the body of a request, and does not wait beyond its end.

    :param longest: the longest body of the operation, in bytes.
    :raises BodyTooLarge: if a longer one is announced.
    """
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    if environ.get("wsgi.input_terminated"):
        return read
    remaining = announced_length(WsgiHeaders(environ), longest)

    def read_announced(size: int) -> bytes:
        nonlocal remaining
        piece = read(min(size, remaining)) if remaining else b""
        remaining -= len(piece)
        return piece

    return read_announced


def read_body(headers: Mapping[str, str], read: Callable[[int], bytes], longest: int) -> bytes:
    """Read a body by ``read``, which may return it in pieces, up to one byte more than the operation allows.

    :param longest: the longest body of the operation, in bytes.
    :raises BodyTooLarge: if a longer one is announced, before any of it is read.
    :raises InvalidRequest: if it breaks off.
    """
    announced_length(headers, longest)
    pieces = []
    wanted = longest + 1
    try:
        while wanted > 0 and (piece := read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    except Exception:
        # The client disconnects, or breaks its own chunks: each server has its own exceptions for that.
        raise unread() from None
    return b"".join(pieces)
