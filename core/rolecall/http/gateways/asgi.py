"""Common parts of adapters for ASGI frameworks: headers, bodies, answers, and guarded WebSockets."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final

from ...driver import event_loops
from ...errors import RolecallError, RouteNotFound
from ...request import Headers, Request, joint
from ...tokens import Grant
from ..api import Api
from ..bodies import collected, unread
from ..guards.admission import GUARDED_CACHE_CONTROL, Entered, guard_answer, headers_to_add
from ..guards.entries import keep_entry
from ..guards.guard import Guard
from ..messages import Response
from ..problems import problem, refused
from ..web import Web
from .watching import SOCKET, Watch
from .watching import granted as granted
from .websockets import GrantEnded as GrantEnded
from .websockets import GuardedSocket, Handshake, close_code, close_reason, split_offers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# The key of the kit's rules for browsers, if tokens may be in the query.
_WEB: Final = "rolecall.web"
# The key of the tokens in subprotocols, for a guard within a guard.
_OFFERED: Final = "rolecall.offered"
_CACHE_CONTROL: Final = b"cache-control"
_NO_STORE: Final = (_CACHE_CONTROL, GUARDED_CACHE_CONTROL.encode())


class AsgiHeaders(Headers):
    """The headers of an ASGI scope, read on demand."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: list[tuple[bytes, bytes]] = scope["headers"]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value  # type: ignore[no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        name, joined = name.lower(), None
        wanted = name.encode("latin-1", "replace")
        for key, value in self._raw:
            if key == wanted:
                joined = value if joined is None else joined + joint(name).encode() + value
        return default if joined is None else joined.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self._raw))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def authorization_of(scope: Scope) -> str | None:
    """The value of the ``Authorization`` header; repeated values are joined by commas."""
    joined: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            joined = value if joined is None else joined + b"," + value
    return None if joined is None else joined.decode("latin-1")


def neutral_request(
    scope: Scope,
    framework: str,
    *,
    native: object = None,
    root: str | None = None,
    path_params: Mapping[str, Any] | None = None,
) -> Request:
    """A connection in the kit's form; its body is read later.

    :param native: the framework's own request; the scope unless given.
    :param root: the path under which the app is mounted; the scope's ``root_path`` unless given. Most servers put it in
        front of the path, some do not.
    :param path_params: the variable parts of the path; those of the scope unless given.
    """
    path: str = scope["path"]
    if root is None:
        root = str(scope.get("root_path") or "").rstrip("/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        path = path[len(root) :]
    return Request(
        scope.get("method", "GET"),
        path,
        (scope.get("path_params") or {}) if path_params is None else path_params,
        AsgiHeaders(scope),
        framework=framework,
        query=scope.get("query_string", b"").decode("latin-1"),
        root=root,
        native=scope if native is None else native,
    )


async def read_body(scope: Scope, receive: Receive, seconds: float, longest: int) -> bytes:
    """Read the body of a request, up to a little more than the operation allows.

    :param seconds: the time within which it must arrive.
    :param longest: the longest body of the operation, in bytes.
    :raises BodyTooLarge: if a longer one is announced, before any of it is read.
    :raises InvalidRequest: if it does not arrive.
    """
    is_complete = False

    async def read() -> bytes:
        nonlocal is_complete
        piece = b""
        while not piece and not is_complete:
            message = await receive()
            if message["type"] != "http.request":
                raise unread()  # the client has gone away
            piece = message.get("body", b"")
            is_complete = not message.get("more_body", False)
        return piece

    return await collected(AsgiHeaders(scope), read, seconds, longest)


async def send_response(response: Response, scope: Scope, send: Send) -> None:
    """Send an answer; for HEAD without its body."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.framed_headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})


async def not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    """The ASGI app for paths that are none of the kit's routes."""
    if scope["type"] == "http":
        await send_response(refused(RouteNotFound("there is no such route here")), scope, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4404})


def settle(
    admitted: Grant | Coroutine[Any, Any, Entered], scope: Scope
) -> Coroutine[Any, Any, RolecallError | None] | None:
    """Put the grant of an admitted request into its state.

    :param admitted: what :func:`~rolecall.http.guards.admission.admit` has returned.
    :returns: None if the token alone admitted the request; otherwise a coroutine for the refusal, or None.
    """
    if not isinstance(admitted, Grant):
        return _settle(admitted, scope)
    scope.setdefault("state", {})["grant"] = admitted  # keep_grant, without the time of a call
    return None


async def _settle(admission: Coroutine[Any, Any, Entered], scope: Scope) -> RolecallError | None:
    entered = await admission
    if not isinstance(entered, Grant):
        return entered
    keep_grant(scope, entered)
    return None


def keep_grant(scope: Scope, grant: Grant) -> None:
    """Put the grant of a connection into its state, for the app."""
    scope.setdefault("state", {})["grant"] = grant


def keep_web(web: Web, *scopes: Scope) -> None:
    """Put the kit's rules for browsers into scopes, for the answer, if tokens may be elsewhere than in the header."""
    if not web.header_alone:
        for scope in scopes:
            scope[_WEB] = web


def kept_out_of_caches(headers: list[tuple[bytes, bytes]], scope: Scope) -> None:
    """Add the headers that keep a guarded answer out of caches, and a URL with a token out of others' logs.

    The app's own headers of these names are kept.
    """
    if _WEB not in scope:
        for name, _ in headers:
            if name == _CACHE_CONTROL:
                break
        else:
            headers.append(_NO_STORE)
            return
    present = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in missing_headers(present, scope)]


def guard_refusal(error: RolecallError, scope: Scope) -> Response:
    """The answer to a request for a guarded route that was refused with ``error``."""
    return guard_answer(error, scope.get(_WEB), scope.get("query_string", b"").decode("latin-1"))


def missing_headers(present: Collection[tuple[str, str]], scope: Scope) -> Sequence[tuple[str, str]]:
    """The headers that :func:`kept_out_of_caches` adds to these."""
    return headers_to_add(present, scope.get(_WEB), scope.get("query_string", b"").decode("latin-1"))


def uncached(send: Send, scope: Scope) -> Send:
    """Wrap ``send`` for the answers of a guarded app."""

    def send_uncached(message: Message) -> Awaitable[None]:  # no coroutine of its own, for each message of an answer
        if message["type"] == "http.response.start":
            message["headers"] = headers = [*message.get("headers", ())]
            kept_out_of_caches(headers, scope)
        return send(message)

    return send_uncached


async def serve_websocket(
    app: Application,
    api: Api,
    guard: Guard,
    session_id: str | None,
    request: Request,
    scope: Scope,
    receive: Receive,
    send: Send,
    gone: tuple[type[Exception], ...] = (),
    on_refusal: Callable[[RolecallError], Awaitable[None]] | None = None,
) -> None:
    """Run ``app`` on a WebSocket if its client may enter, until the grant ends.

    :param session_id: the session that the route names; None if it names none.
    :param request: the request that opens it.
    :param gone: the exceptions of the framework when an app sends or receives after the WebSocket was closed.
    :param on_refusal: answers a refused client, in place of the kit.
    """
    entered = await open_websocket(api, guard, session_id, request, scope, receive, send)
    if isinstance(entered, Channel):
        async with entered.open(gone):
            await app(scope, entered.receive, entered.send)
    elif entered is None:
        return  # the client has gone
    elif on_refusal is not None:
        await on_refusal(entered)
    else:
        await refuse(entered, scope, send)


async def open_websocket(
    api: Api,
    guard: Guard,
    session_id: str | None,
    request: Request,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> Channel | RolecallError | None:
    """Decide who enters a WebSocket: its channel for the app, or the error of a refused client.

    :returns: None if the client has gone.
    """
    connect = await receive()
    if connect["type"] != "websocket.connect":
        return None
    handshake = Handshake(api, request, take_tokens(scope))
    entered = await handshake.enter(guard, session_id)
    if isinstance(entered, RolecallError):
        return entered
    if entered is None:
        return Channel(connect, receive, send)
    keep_entry(scope, api, guard.requirement, guard.session_entered(session_id, entered), entered)
    return _GuardedChannel(connect, receive, send, scope, handshake, handshake.watch(guard, session_id, entered))


def take_tokens(scope: Scope) -> list[str]:
    """Take the tokens out of the offered subprotocols, so that the app does not see them."""
    if _OFFERED not in scope:
        scope["subprotocols"], scope[_OFFERED] = split_offers(scope.get("subprotocols") or [])
    offered: list[str] = scope[_OFFERED]
    return offered


def answered(message: Message, subprotocol: str | None) -> Message:
    """The message that accepts a WebSocket, with this subprotocol unless the app has chosen one."""
    return {**message, "subprotocol": message.get("subprotocol") or subprotocol}


async def refuse(error: RolecallError, scope: Scope, send: Send) -> None:
    """Refuse before the WebSocket is accepted: with an HTTP answer if the server can send one."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # The server answers with 403; the code is for servers and test clients that pass it on.
        await send(_closing("websocket.close", error))
        return
    response = problem(error)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.framed_headers]
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


def _closing(kind: str, error: RolecallError) -> Message:
    """The message that closes a WebSocket, or tells the app that it is closed."""
    return {"type": kind, "code": close_code(error.status), "reason": close_reason(error)}


class Channel:
    """The messages between an app and a WebSocket that it may have; the first is the client's request to connect."""

    def __init__(self, connect: Message, receive: Receive, send: Send) -> None:
        self._connect: Message | None = connect
        self._receive = receive
        self._send = send

    def open(self, gone: tuple[type[Exception], ...] = ()) -> AbstractAsyncContextManager[None]:
        """The block that the app runs in.

        :param gone: the exceptions of the framework when an app sends or receives after the WebSocket was closed.
        """
        return nullcontext()

    async def receive(self) -> Message:
        """The next message for the app."""
        if self._connect is not None:
            connect, self._connect = self._connect, None
            return connect
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send a message of the app."""
        await self._send(message)


class _GuardedChannel(Channel):
    """The same for a client with a grant.

    After the grant has ended, the app receives only the disconnection, and can send nothing.
    """

    def __init__(
        self, connect: Message, receive: Receive, send: Send, scope: Scope, handshake: Handshake, watch: Watch
    ) -> None:
        super().__init__(connect, receive, send)
        self._subprotocol = handshake.subprotocol
        self._scope = scope
        self._accepted = False
        self._socket = scope[SOCKET] = GuardedSocket(
            watch, self._close, lambda grant: keep_grant(scope, grant), scope.get(SOCKET)
        )

    def open(self, gone: tuple[type[Exception], ...] = ()) -> AbstractAsyncContextManager[None]:
        return self._socket.open(gone)

    async def _close(self, error: RolecallError) -> None:
        if self._accepted:
            await self._send(_closing("websocket.close", error))
        else:
            await refuse(error, self._scope, self._send)

    async def receive(self) -> Message:
        if self._connect is not None:
            return await super().receive()
        socket = self._socket
        if socket.ended is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                socket.stop_watching()
        if socket.ended is None:
            return message
        await event_loops.running().sleep(0)  # so that an app that receives in a loop can be cancelled
        return _closing("websocket.disconnect", socket.ended)

    async def send(self, message: Message) -> None:
        socket = self._socket
        if socket.ended is not None:
            raise GrantEnded(f"the WebSocket was closed: {socket.ended.code}")
        kind = message["type"]
        if kind == "websocket.accept":
            self._accepted = True
            message = answered(message, self._subprotocol)
        elif kind in ("websocket.close", "websocket.http.response.start"):
            socket.stop_watching()
        await self._send(message)
