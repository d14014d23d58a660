"""Guarded WebSockets over ASGI: refused before they are accepted, and closed when their grant ends."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Final

from ..engine import Call, Engine
from ..errors import OriginNotAllowed, RolecallError, shown
from ..roles import Requirement
from ..tokens import Grant
from .asgi import Application, AsgiHeaders, Message, Receive, Scope, Send, keep_grant, neutral_request
from .messages import Request, Response
from .service import admission, refused

_log: Final = logging.getLogger("rolecall")

#: The subprotocol behind which a client offers its token, since a browser sets no header on a WebSocket:
#: ``new WebSocket(url, ["rolecall.bearer", token])``. It is the one that is answered, unless the app chooses another.
BEARER: Final = "rolecall.bearer"
#: What is added to an HTTP status for the close code that goes with it: 4401, 4403. Codes from 4000 on are free for
#: applications (RFC 6455, section 7.4.2).
CLOSE_CODES: Final = 4000
#: Seconds that an app has to end by itself once its socket was closed.
GRACE: Final = 5.0
# A control frame has at most 125 bytes, of which the code takes two (RFC 6455, section 5.5).
_MAX_REASON: Final = 123


class GrantEnded(OSError):
    """What an app gets that sends on a WebSocket which was closed because its grant had ended."""


async def serve_websocket(
    app: Application,
    engine: Engine,
    requirement: Requirement,
    session_id: str | None,
    scope: Scope,
    receive: Receive,
    send: Send,
    framework: str,
    gone: tuple[type[Exception], ...] = (),
) -> None:
    """Run ``app`` on a WebSocket whose client may enter, for as long as it may stay.

    :param session_id: the session that the route is about; None where it is about none.
    :param gone: what the framework raises in an app that sends or receives once the WebSocket is closed.
    """
    others, tokens = _offers(scope.get("subprotocols") or [])
    request = _handshake(scope, tokens, framework)
    admitted = await _admit(engine, request, requirement, session_id)
    if isinstance(admitted, Response):
        await _deny(admitted, scope, receive, send)
        return
    scope["subprotocols"] = others
    keep_grant(scope, admitted)
    watch = _Watch(engine, admitted, request, send, BEARER if tokens else None)
    await watch.run(app, scope, receive, (GrantEnded, *gone))


async def _admit(
    engine: Engine, request: Request, requirement: Requirement, session_id: str | None
) -> Grant | Response:
    try:
        _check_origin(engine, request)
        admitted = await admission(engine, request, requirement, session_id)
        if isinstance(admitted, Grant):
            engine.check_again(admitted)  # what only the leeway let in is over before it begins
    except RolecallError as error:
        return refused(error)
    return admitted


def _offers(subprotocols: list[str]) -> tuple[list[str], list[str]]:
    """The subprotocols that an app may choose from, and the tokens that were offered among them."""
    others, tokens = [], []
    offers = iter(subprotocols)
    for offer in offers:
        if offer == BEARER:
            tokens.append(next(offers, ""))
        else:
            others.append(offer)
    return others, tokens


def _handshake(scope: Scope, tokens: list[str], framework: str) -> Request:
    """The request that opens a WebSocket: what was offered as a subprotocol counts as the header it stands for."""
    headers = dict(AsgiHeaders(scope))
    headers.pop("sec-websocket-protocol", None)
    sent = [headers["authorization"]] if "authorization" in headers else []
    if sent or tokens:
        headers["authorization"] = ",".join([*sent, *(f"Bearer {token}" for token in tokens)])
    return neutral_request(scope, framework)._replace(headers=headers)


def _check_origin(engine: Engine, request: Request) -> None:
    """Refuse a page that is not on the list. Without a list a token that a script must know is proof enough."""
    web, origin = engine.state.web, request.headers.get("origin")
    if origin is not None and (web.origins or web.cookie) and origin not in web.origins:
        raise OriginNotAllowed(f"pages of {shown(origin, 80)} open no WebSocket here; see Web(origins=…)")


async def _deny(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse before the WebSocket is accepted: with an HTTP answer where the server can send one."""
    if (await receive())["type"] != "websocket.connect":
        return
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # The server makes a 403 of it; the code is for servers and test clients that hand it on.
        code = CLOSE_CODES + response.status
        await send({"type": "websocket.close", "code": code, "reason": _reason(json.loads(response.body)["code"])})
        return
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.framed_headers]
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body})


def _reason(text: str) -> str:
    return text.encode()[:_MAX_REASON].decode(errors="ignore")


class _Watch:
    """Looks again and again at the grant of an open WebSocket, and closes it when the grant ends."""

    def __init__(self, engine: Engine, grant: Grant, request: Request, send: Send, subprotocol: str | None) -> None:
        self._engine = engine
        self._grant = grant
        self._request = request
        self._send = send
        self._subprotocol = subprotocol
        self._ended: RolecallError | None = None
        self._abandoned = False

    async def run(self, app: Application, scope: Scope, receive: Receive, gone: tuple[type[Exception], ...]) -> None:
        task = asyncio.current_task()
        assert task is not None
        watching = asyncio.create_task(self._watch(task))
        try:
            await app(scope, receive, self._send_while_it_lasts)
        except gone:
            if self._ended is None:
                raise
        except asyncio.CancelledError:
            if not self._abandoned or task.uncancel() > 0:
                raise
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self, task: asyncio.Task[object]) -> None:
        self._ended = error = await self._end()
        reason = _reason(f"{error.code}: {error.public_message}")
        with suppress(Exception):  # the client may have gone in this moment
            await self._send({"type": "websocket.close", "code": CLOSE_CODES + error.status, "reason": reason})
        await self._engine.tell_of_refusal(error, self._grant.session_id, Call(self._request))
        await asyncio.sleep(GRACE)
        self._abandoned = True
        task.cancel()

    async def _end(self) -> RolecallError:
        """Wait until the grant ends, and say why."""
        state = self._engine.state
        try:
            while True:
                await asyncio.sleep(max(0.0, min(state.web.recheck, self._grant.expires_at - state.clock())))
                self._engine.check_again(self._grant)
        except RolecallError as error:
            return error
        except Exception:
            _log.exception("rolecall could not look at the grant of a WebSocket again; it is closed")
            return RolecallError("internal fault")

    async def _send_while_it_lasts(self, message: Message) -> None:
        if self._ended is not None:
            raise GrantEnded(f"the WebSocket was closed: {self._ended.code}")
        if message["type"] == "websocket.accept" and not message.get("subprotocol") and self._subprotocol:
            message = {**message, "subprotocol": self._subprotocol}
        await self._send(message)
