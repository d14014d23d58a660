"""Guarded WebSockets over ASGI: refused before they are accepted, and closed when their grant ends."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

from ...driver import event_loops
from ...engine import Call
from ...errors import MalformedCredential, MissingCredential, OriginNotAllowed, RolecallError
from ...request import Request
from ...tokens import Grant
from ...wording import shown
from ..api import Api
from ..credentials import TOO_MANY
from ..guards.admission import Entered, admission
from ..guards.guard import Guard
from ..problems import problem
from .asgi import SOCKET, Application, AsgiHeaders, Message, Receive, Scope, Send, keep_grant, neutral_request
from .watching import Entry, Watch, noted

_log: Final = logging.getLogger("rolecall")

#: The subprotocol behind which a client offers its token, since a browser sets no header on a WebSocket:
#: ``new WebSocket(url, ["rolecall.bearer", token])``. It is the one that is answered, unless the app chooses another.
BEARER: Final = "rolecall.bearer"
#: What is added to an HTTP status for the close code that goes with it: 4401, 4403. Codes from 4000 on are free for
#: applications (RFC 6455, section 7.4.2).
CLOSE_CODES: Final = 4000
#: Seconds that an app has to end by itself once its socket was closed, and that a client has to take the news.
GRACE: Final = 5.0
_NEEDED: Final = (
    f"this WebSocket needs a token: send 'Authorization: Bearer <token>' or the subprotocols {BEARER}, <token>"
)
# A control frame has at most 125 bytes, of which the code takes two (RFC 6455, section 5.5).
_MAX_REASON: Final = 123
# Where a scope keeps the tokens that were offered, and why its WebSocket was closed, for a guard within a guard.
_OFFERED: Final = "rolecall.offered"
_ENDED: Final = "rolecall.ended"


class GrantEnded(OSError):
    """What an app gets that sends on a WebSocket which was closed because its grant had ended."""


async def serve_websocket(
    app: Application,
    api: Api,
    guard: Guard,
    session_id: str | None,
    native: object,
    scope: Scope,
    receive: Receive,
    send: Send,
    framework: str,
    gone: tuple[type[Exception], ...] = (),
    seen: Scope | None = None,
    on_refusal: Callable[[RolecallError], Awaitable[None]] | None = None,
) -> None:
    """Run ``app`` on a WebSocket whose client may enter, for as long as it may stay.

    :param session_id: the session that the route names; None where it names none.
    :param native: the framework's own connection, for the guard's ``session`` function.
    :param gone: what the framework raises in an app that sends or receives once the WebSocket is closed.
    :param seen: the scope as the route will have it, where that is known before it is routed.
    :param on_refusal: answers who may not enter, in place of the kit.
    """
    connect = await receive()
    if connect["type"] != "websocket.connect":
        return  # the client has gone
    tokens = _take_tokens(scope)
    request = _handshake(scope if seen is None else seen, tokens, framework)
    admitted = await _admit(api, request, tokens, guard, session_id, native)
    if isinstance(admitted, RolecallError):
        if on_refusal is not None:
            await on_refusal(admitted)
        else:
            await refuse(admitted, scope, send)
        return
    if admitted is None:
        await app(scope, _beginning_with(connect, receive), send)
        return
    watch = Watch(Entry(api, guard.requirement, guard.session_entered(session_id, admitted), admitted), request)
    socket = GuardedSocket(watch, BEARER if tokens else None, connect, scope, receive, send)
    await socket.run(app, (GrantEnded, *gone))


async def _admit(
    api: Api, request: Request, tokens: list[str], guard: Guard, session_id: str | None, native: object
) -> Entered:
    try:
        _check_handshake(api, request, tokens)
    except RolecallError as error:
        await api.engine.tell_of_refusal(error, session_id, Call(request))
        return error
    entered = await admission(api, request, guard, session_id, native)
    if isinstance(entered, MissingCredential):
        return MissingCredential(_NEEDED)
    try:
        if isinstance(entered, Grant):
            api.engine.check_again(entered)  # what only the leeway let in is over before it begins
    except RolecallError as error:
        await api.engine.tell_of_refusal(error, session_id, Call(request))
        return error
    return noted(entered) if isinstance(entered, RolecallError) else entered


def _beginning_with(first: Message, receive: Receive) -> Receive:
    """``receive`` with a message in front that was taken from it."""
    waiting = [first]

    async def receive_first() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_first


def _take_tokens(scope: Scope) -> list[str]:
    """The tokens that were offered as subprotocols, and are none that the app may choose."""
    if _OFFERED not in scope:
        others, tokens = [], []
        offers = iter(scope.get("subprotocols") or [])
        for offer in offers:
            if offer == BEARER:
                tokens.append(next(offers, ""))
            else:
                others.append(offer)
        scope["subprotocols"], scope[_OFFERED] = others, tokens
    offered: list[str] = scope[_OFFERED]
    return offered


def _handshake(scope: Scope, tokens: list[str], framework: str) -> Request:
    """The request that opens a WebSocket: what was offered as a subprotocol counts as the header it stands for."""
    headers = dict(AsgiHeaders(scope))
    headers.pop("sec-websocket-protocol", None)
    if tokens:
        sent = headers.get("authorization", "")
        # Another scheme is not the kit's: a browser sends Basic by itself.
        bearers = [sent] if "bearer" in sent.lower() else []
        headers["authorization"] = ",".join([*bearers, *(f"Bearer {token}" for token in tokens)])
    return neutral_request(scope, framework)._replace(headers=headers)


def handshake(api: Api, scope: Scope, framework: str) -> Request:
    """The request that opens a WebSocket, for what reads its token without a guard.

    The tokens are taken out of the subprotocols that the app is shown.

    :raises RolecallError: for a page of an origin that is not listed, and for an offer that holds not one token.
    """
    tokens = _take_tokens(scope)
    request = _handshake(scope, tokens, framework)
    _check_handshake(api, request, tokens)
    return request


def _check_handshake(api: Api, request: Request, tokens: list[str]) -> None:
    _check_origin(api, request)
    _check_offered(request, tokens)


def _check_offered(request: Request, tokens: list[str]) -> None:
    """Say of what was offered as a subprotocol what is wrong with it, and not with the header it stands for."""
    if not tokens:
        return
    if request.headers["authorization"] != f"Bearer {tokens[0]}":
        raise MalformedCredential(TOO_MANY)
    if not tokens[0].strip():
        raise MalformedCredential(f"the subprotocol {BEARER!r} is followed by no token")


def _check_origin(api: Api, request: Request) -> None:
    """Refuse a page that is not on the list. Without a list a token that a script must know is proof enough."""
    web, origin = api.web, request.headers.get("origin")
    if origin is not None and (web.origins or web.cookie) and origin not in web.origins:
        refused = f"pages of {shown(origin, 80)} open no WebSocket here"
        _log.info("%s; see Web(origins=…)", refused)  # what to do is for those who run the app
        raise OriginNotAllowed(refused)


def answered(message: Message, subprotocol: str | None) -> Message:
    """The message that accepts a WebSocket, with this subprotocol unless the app has chosen one.

    A browser that has offered some fails a connection for which the server chooses none.
    """
    return {**message, "subprotocol": message.get("subprotocol") or subprotocol}


async def refuse(error: RolecallError, scope: Scope, send: Send) -> None:
    """Refuse before the WebSocket is accepted: with an HTTP answer where the server can send one."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # The server makes a 403 of it; the code is for servers and test clients that hand it on.
        await send(_close(error))
        return
    response = problem(error)
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.framed_headers]
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


def _close(error: RolecallError, kind: str = "websocket.close") -> Message:
    """The message that closes a WebSocket, or tells the app that it is closed."""
    reason = f"{error.code}: {error.public_message}".encode(errors="replace")[:_MAX_REASON].decode(errors="ignore")
    return {"type": kind, "code": CLOSE_CODES + error.status, "reason": reason}


class GuardedSocket:
    """An open WebSocket, whose grant is looked at again and again. When the grant ends it is closed.

    From then on the app receives nothing but the disconnection, and can send nothing. It is to end by itself; if it
    has not after :data:`GRACE` seconds it is cancelled.
    """

    def __init__(
        self,
        watch: Watch,
        subprotocol: str | None,
        connect: Message,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._watch = watch
        self._subprotocol = subprotocol
        self._connect: Message | None = connect
        self._scope = scope
        self._receive = receive
        self._send = send
        self._accepted = False
        self._ended: RolecallError | None = None
        self._loop = event_loops.running()
        self._watched = self._loop.watched()
        self._renewed = self._loop.signal()
        self._inner: GuardedSocket | None = None
        self._outer: GuardedSocket | None = scope.get(SOCKET)
        if self._outer is not None:
            self._outer._inner = self
        scope[SOCKET] = self
        keep_grant(scope, watch.grant)

    @property
    def grant(self) -> Grant:
        """The grant, as the last look has left it."""
        return self._watch.grant

    async def renew(self, token: str) -> Grant:
        """Put the grant of another token in the place of this one, and so keep the WebSocket open beyond its expiry.

        The token is verified like the first one. It must be for the same session, carry the same connection data, and
        be enough for each guard around; the policies are asked.

        :param token: the token, as the client has sent it by a way of the app's own.
        :returns: the new grant.
        :raises RolecallError: if it is refused, or the WebSocket is closed already. The grant stays what it was.
        """
        guards = [*self._guards()]
        grants = []
        for guard in guards:
            guard._check_open()
            grants.append(await guard._watch.ask_to_renew(token))
        for guard in guards:
            guard._check_open()  # it may have ended meanwhile
        for guard, grant in zip(guards, grants, strict=True):
            guard._watch.renew(grant)
            guard._keep_grant()
            guard._renewed.give()
        return self.grant

    def _guards(self) -> Iterator[GuardedSocket]:
        """This one, and those around it."""
        yield self
        if self._outer is not None:
            yield from self._outer._guards()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _keep_grant(self) -> None:
        if self._inner is None:  # the app sees the grant of the innermost guard
            keep_grant(self._scope, self.grant)

    async def run(self, app: Application, gone: tuple[type[Exception], ...]) -> None:
        """Run ``app`` to its end.

        :param gone: what it may end with once its WebSocket was closed.
        """

        async def run_app() -> None:
            try:
                await app(self._scope, self._receive_while_it_lasts, self._send_while_it_lasts)
            finally:
                self._stop_watching()

        try:
            await self._watched.run(run_app, self._close_at_the_end)
        except Exception as error:
            if self._ended is None or not _is_only(error, gone):
                raise

    def _stop_watching(self) -> None:
        """There is nothing left to close. What is being closed already is closed, and told of, to the end."""
        if self._ended is None:
            self._watched.stop_watching()

    async def _close_at_the_end(self) -> None:
        self._ended = error = await self._end()
        self._watched.limit(GRACE)
        if self._scope.setdefault(_ENDED, error) is not error:
            return  # another guard of the same WebSocket closes it, and tells of it
        with suppress(Exception):  # the client may have gone in this moment
            # One that reads nothing holds up what is sent to it.
            async with self._loop.timeout(GRACE):
                if self._accepted:
                    await self._send(_close(error))
                else:
                    await refuse(error, self._scope, self._send)
        await self._watch.tell(error)

    async def _end(self) -> RolecallError:
        """Wait until the grant ends, and say why."""
        try:
            while True:
                await self._pause()
                await self._watch.look_in_time()
                self._keep_grant()
        except Exception as error:
            return noted(error)

    async def _pause(self) -> None:
        """Wait until the next look is due; the grant may be renewed meanwhile, by a shorter one."""
        while (due := self._watch.due) > 0:
            with suppress(TimeoutError):
                async with self._loop.timeout(due):
                    await self._renewed.wait()
            self._renewed = self._loop.signal()

    async def _receive_while_it_lasts(self) -> Message:
        if self._connect is not None:
            connect, self._connect = self._connect, None
            return connect
        if self._ended is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._stop_watching()
        if self._ended is None:
            return message
        await self._loop.sleep(0)  # so that an app which asks again and again can be cancelled
        return _close(self._ended, "websocket.disconnect")

    async def _send_while_it_lasts(self, message: Message) -> None:
        if self._ended is not None:
            raise GrantEnded(f"the WebSocket was closed: {self._ended.code}")
        kind = message["type"]
        if kind == "websocket.accept":
            self._accepted = True
            message = answered(message, self._subprotocol)
        elif kind in ("websocket.close", "websocket.http.response.start"):
            self._stop_watching()
        await self._send(message)


def _is_only(error: Exception, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether ``error`` is of these kinds, or a group of nothing else."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)
