"""What the adapters of ASGI frameworks share: headers, bodies, answers, and admission to any ASGI app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from typing import Any, Final

from ...driver import event_loops
from ...errors import RolecallError, RouteNotFound
from ...request import Headers, Request, joint
from ...tokens import Grant
from ..bodies import announced_length, unread
from ..guards.admission import GUARDED_CACHE_CONTROL, guard_answer, headers_to_add
from ..messages import Response
from ..problems import refused
from ..web import Web

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where the grant of a connection is, in its scope: that is a connection's own.
GRANT: Final = "rolecall.grant"
# Where what a kit allows to browsers is, if tokens may be in the query.
_WEB: Final = "rolecall.web"
#: Where the :class:`~rolecall.http.gateways.websockets.GuardedSocket` of an open WebSocket is, in its scope.
SOCKET: Final = "rolecall.socket"
_CACHE_CONTROL: Final = b"cache-control"
_NO_STORE: Final = (_CACHE_CONTROL, GUARDED_CACHE_CONTROL.encode())


class AsgiHeaders(Headers):
    """The headers of an ASGI scope, read when asked for."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: list[tuple[bytes, bytes]] = scope["headers"]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value  # type: ignore[no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        name, found = name.lower(), None
        wanted = name.encode("latin-1", "replace")
        for key, value in self._raw:
            if key == wanted:
                found = value if found is None else found + joint(name).encode() + value
        return default if found is None else found.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self._raw))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def authorization_of(scope: Scope) -> str | None:
    """What the ``Authorization`` header says; joined by commas if it came twice."""
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = value if found is None else found + b"," + value
    return None if found is None else found.decode("latin-1")


def neutral_request(scope: Scope, framework: str) -> Request:
    """A connection, as the kit sees it; its body is read where one is wanted."""
    return Request(
        scope.get("method", "GET"),
        scope["path"],
        scope.get("path_params") or {},
        AsgiHeaders(scope),
        framework=framework,
        query=scope.get("query_string", b"").decode("latin-1"),
    )


async def read_body(scope: Scope, receive: Receive, seconds: float, longest: int) -> bytes:
    """The body of a request, up to a little beyond what the operation takes.

    :param seconds: within which it must have arrived.
    :param longest: the most bytes that the operation takes.
    :raises BodyTooLarge: if more than that is announced, before any of it is read.
    :raises InvalidRequest: if it does not arrive.
    """
    announced_length(AsgiHeaders(scope), longest)
    body = b""
    try:
        async with event_loops.running().timeout(seconds):
            while len(body) <= longest:
                message = await receive()
                if message["type"] != "http.request":
                    raise unread()  # the client has gone away
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise unread() from None
    return body


async def send_response(response: Response, scope: Scope, send: Send) -> None:
    """Send an answer; for HEAD without its body."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.framed_headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})


async def not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """The ASGI app for what is none of the kit's routes."""
    if scope["type"] == "http":
        await send_response(refused(RouteNotFound("there is no such route here")), scope, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4404})


def keep_grant(scope: Scope, grant: Grant) -> None:
    """Put the grant of a connection where the app finds it."""
    scope[GRANT] = grant
    scope.setdefault("state", {})["grant"] = grant


def granted(scope: Scope) -> Grant | None:
    """The grant of a connection, as it is now; None if it came through no guard."""
    # A scope is copied by some middleware, so what a look at a WebSocket has left is asked of the socket.
    socket = scope.get(SOCKET)
    grant: Grant | None = scope.get(GRANT) if socket is None else socket.grant
    return grant


def keep_web(web: Web, *scopes: Scope) -> None:
    """Put what a kit allows to browsers where the answer finds it, if tokens may be in the query."""
    if web.query is not None:
        for scope in scopes:
            scope[_WEB] = web


def kept_out_of_caches(headers: list[tuple[bytes, bytes]], scope: Scope) -> None:
    """Add to the headers of a guarded answer what keeps it out of caches, and its URL with a token out of others' logs.

    What the app says itself about either stays as it is.
    """
    if _WEB in scope:
        names = (name.decode("latin-1") for name, _ in headers)
        headers += [(name.lower().encode(), value.encode()) for name, value in missing_headers(names, scope)]
        return
    for name, _ in headers:
        if name == _CACHE_CONTROL:
            return
    headers.append(_NO_STORE)


def guard_refusal(error: RolecallError, scope: Scope) -> Response:
    """The answer to a request for a guarded route that was refused with ``error``."""
    return guard_answer(error, scope.get(_WEB), scope.get("query_string", b"").decode("latin-1"))


def missing_headers(present: Iterable[str], scope: Scope) -> Sequence[tuple[str, str]]:
    """What :func:`kept_out_of_caches` adds to headers of these names."""
    return headers_to_add(present, scope.get(_WEB), scope.get("query_string", b"").decode("latin-1"))


def uncached(send: Send, scope: Scope) -> Send:
    """``send`` for the answers of a guarded app."""

    async def send_uncached(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = headers = [*message.get("headers", ())]
            kept_out_of_caches(headers, scope)
        await send(message)

    return send_uncached


def options_response(methods: Any) -> Response:
    """The answer to OPTIONS on a guarded route: nothing of the app runs, since a browser asks before it sends a token.

    :param methods: those of the route, where that is known.
    """
    allowed = sorted({*methods, "OPTIONS"}) if methods else ()
    return Response(204, (("Allow", ", ".join(allowed)),) if allowed else ())
