"""Calls of the HTTP APIs of media services: bounded in time and size, with errors that hold nothing of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from ..clock import problem_with_timeout
from ..errors import ConfigurationError, NoMediaService, NotFoundAtService, RolecallError, Unavailable
from .urls import problem_with_url

__all__ = ["CALL_TIMEOUT", "LONGEST_ANSWER", "Answer", "ServiceAPI", "Signer"]

#: The default time of a call, in seconds. An act takes two calls at most, which are to be below the kit's
#: ``hook_timeout``.
CALL_TIMEOUT: Final = 2.0
#: The longest answer that is read, in bytes: a full room has some thousand participants.
LONGEST_ANSWER: Final = 8_000_000
#: The message for what a service does not find; a client may read it.
NOT_THERE: Final = "the session has no such connection or stream, or is not open at the media service"
#: The pause before a call is repeated, in seconds.
_PAUSE: Final = 0.1
_TEXT: Final = re.compile(r"(?s).+")
_IDEMPOTENT: Final = frozenset({"DELETE", "GET", "PUT"})
#: No headers of its own.
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
#: Signs a call: from its method, its URL and its body the headers with the credential.
Signer = Callable[[str, str, bytes], Awaitable[Mapping[str, str]]]


class Answer(NamedTuple):
    """The answer of a service's API.

    :param status: the HTTP status.
    :param json: its body as JSON, or as its reader reads it; None if it is none, or longer than :data:`LONGEST_ANSWER`.
    """

    status: int
    json: Any

    @property
    def objects(self) -> dict[str, Any]:
        """Its body as an object; an empty one if it is none."""
        return self.json if isinstance(self.json, dict) else {}

    def succeeded(self, what: str) -> Answer:
        """The answer itself if it is a success; nothing of another stands in the error.

        :param what: what was called, for messages.
        :raises NotFoundAtService: for the status 404.
        :raises Unavailable: for every other one.
        """
        if 200 <= self.status < 300:
            return self
        if self.status == 404:
            raise NotFoundAtService(NOT_THERE)
        if self.status in (401, 403):
            raise Unavailable(f"{what}: the service refuses the credential of this kit, or this server's clock")
        raise Unavailable(f"{what}: the service answered with the status {self.status}")

    def succeeded_or_gone(self, what: str) -> None:
        """Refuse a failure, as :meth:`succeeded`, but for the status 404: what is not there need not be taken away."""
        if self.status != 404:
            self.succeeded(what)

    def part(self, name: str) -> Answer:
        """The answer with the member ``name`` of its body for a body."""
        return self._replace(json=self.objects.get(name))

    def text(self, what: str, name: str, pattern: re.Pattern[str] = _TEXT) -> str:
        """The text ``name`` of its body.

        :param pattern: matches the text.
        :raises Unavailable: if it is no such text.
        """
        text = self.objects.get(name)
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise unreadable(what)
        return text

    def listed(self, what: str, name: str, *texts: str) -> list[dict[str, Any]]:
        """The objects in the list ``name`` of its body, each of which has the members ``texts``, which are texts.

        :raises Unavailable: if it is no such list.
        """
        found = self.objects.get(name)
        rows: list[Any] = found if isinstance(found, list) else [None]
        if not all(isinstance(row, dict) and all(isinstance(row.get(text), str) for text in texts) for row in rows):
            raise unreadable(what)
        return rows


def connection(connection_id: str, found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A connection as ``list_connections`` has it: with those of the members ``names`` that the service told of it."""
    return {"connectionId": connection_id, **{name: found[name] for name in names if name in found}}


def unreadable(what: str) -> Unavailable:
    """The error for an answer that is a success, and not what the service answers.

    :param what: what was called.
    """
    return Unavailable(f"{what}: the answer is not that of the service; look at its URL")


class ServiceAPI:
    """Calls the API of one media service, each time by a connection of its own.

    :param service: the name of the service, for messages.
    :param url: the URL of the API, ``https://…``, to which the path of each call is appended.
    :param timeout: the time of a call in seconds.
    :param setting: the name of the setting with the URL, for messages.
    :param signer: signs each call, for a service whose credential depends on what is called.
    :param reader: reads the body of an answer, for a service whose answers are no JSON; None for what is none.
    :raises ConfigurationError: for a URL or a time that is none.
    """

    def __init__(
        self,
        service: str,
        url: str,
        timeout: float = CALL_TIMEOUT,
        *,
        setting: str = "api_url",
        signer: Signer | None = None,
        reader: Callable[[bytes], Any] | None = None,
    ) -> None:
        problem = problem_with_timeout(timeout) or problem_with_url(url, ("https", "http"), setting)
        if problem is not None:
            del url  # it may hold a password
            raise ConfigurationError(f"{service}: {problem}")
        self._service = service
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._signer = signer
        self._reader = reader or _read_json
        self._httpx = _imported()
        # Once: to load the certificates of authorities takes longer than all else here.
        with_tls = self._httpx is not None and urlsplit(url).scheme == "https"
        self._tls = self._httpx.create_ssl_context() if with_tls else False

    async def call(
        self,
        what: str,
        method: str,
        path: str,
        headers: Mapping[str, str] = NO_HEADERS,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call the API, and return its answer, whatever its status.

        A call is repeated once, within its time, if no connection could be made, and so nothing was sent; one by a
        method that is idempotent (RFC 9110, section 9.2.2) also if the connection broke.

        :param what: what is called, for messages.
        :param path: the path, with a query if there is one; percent-encoded.
        :param headers: further headers, with the credential.
        :param body: what is sent as JSON; None for nothing.
        :param form: what is sent as a form, in place of ``body``.
        :raises NoMediaService: if the package httpx is not installed.
        :raises Unavailable: if there is no answer in time.
        """
        if (httpx := self._httpx) is None:
            del headers, path, body, form  # so that no frame of a traceback holds a credential
            raise NoMediaService(
                f'acts at {self._service} need the package httpx, which is not installed: pip install "rolecall[media]"'
            )
        from ..driver import event_loops  # not free to import, and many kits never call

        sent: dict[str, Any] = {}
        if form is not None:
            sent["data"] = dict(form)
        elif body is not None:
            sent["content"] = json.dumps(body).encode()
        headers = {
            "Accept-Encoding": "identity",
            "User-Agent": "rolecall",
            **({"Content-Type": "application/json"} if "content" in sent else {}),
            **headers,
        }
        signed: Mapping[str, str] = NO_HEADERS
        status, answer, problem = 0, bytearray(), ""
        try:
            async with (
                event_loops.running().timeout(self._timeout),
                httpx.AsyncClient(verify=self._tls, timeout=self._timeout, follow_redirects=False) as client,
            ):
                if self._signer is not None:
                    signed = await self._signer(method, self._url + path, sent.get("content", b""))
                    headers = {**headers, **signed}
                for may_repeat in (True, False):
                    answer.clear()
                    try:
                        async with client.stream(method, self._url + path, headers=headers, **sent) as response:
                            status = response.status_code
                            async for chunk in response.aiter_raw():
                                answer += chunk
                                if len(answer) > LONGEST_ANSWER:
                                    break
                        break
                    except httpx.TransportError as error:
                        is_safe = method in _IDEMPOTENT or isinstance(error, httpx.ConnectError)
                        if not may_repeat or not is_safe or isinstance(error, httpx.TimeoutException):
                            raise
                    await _pause()
        except (httpx.TimeoutException, TimeoutError):
            problem = f"it did not answer within {self._timeout:g} s"
        except httpx.ConnectError:
            problem = "no connection could be made"
        except httpx.HTTPError:
            problem = "the connection broke"
        except RolecallError:  # of the signer
            raise
        except Exception as error:
            problem = f"it failed with {type(error).__name__}"
        except BaseException as error:
            # The code that cancels may log the exception, and the frames below hold the credential.
            raise error.with_traceback(None) from None
        finally:
            del headers, signed, sent, path, body, form  # so that no frame of a traceback holds a credential
        if problem:
            raise Unavailable(f"{what}: {problem}")
        return Answer(status, self._reader(bytes(answer)) if len(answer) <= LONGEST_ANSWER else None)


async def _pause() -> None:
    """Let a service that is just starting anew come back."""
    from ..driver import event_loops

    await event_loops.running().sleep(_PAUSE)


def _read_json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _imported() -> Any:
    """The package httpx; None if it is not installed: tickets need none."""
    try:
        import httpx
    except ImportError:
        return None
    return httpx
