"""Guards for request handlers, and for their methods: ``require_role``, ``require_capability``, ``require_token``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, Final, TypeVar, cast

from tornado import web, websocket

from rolecall import Grant, Web
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter

from .listing import check_once, methods_of
from .routes import all_of, kit_of, neutral_request, path_of, send

Target = TypeVar("Target", bound=Callable[..., Any])

_KEPT: Final = "_rolecall"
_PROTOCOL: Final = "Sec-WebSocket-Protocol"


class Guard(adapter.Guard):
    """Admits a request if its token meets the requirement: a decorator for request handlers, and for their methods."""

    def __call__(self, target: Target) -> Target:
        if inspect.isclass(target) and issubclass(target, web.RequestHandler):
            # Tornado awaits it before the method, or the upgrade to a WebSocket, and stops once it has answered.
            adapter.guard_first(target, "prepare", self._prepare)
            adapter.mark_guarded(target, self)
            return target
        is_method = inspect.isfunction(target) or isinstance(target, adapter.GuardedMethod)
        method: Any = target
        if not is_method or method.__name__.upper() not in web.RequestHandler.SUPPORTED_METHODS:
            raise ConfigurationError(
                f"a guard protects a RequestHandler, or one of its methods such as get, not {adapter.shown(target)}"
            )

        @wraps(target)
        async def guarded(handler: web.RequestHandler, *args: Any, **kwargs: Any) -> None:
            if isinstance(handler, websocket.WebSocketHandler):
                raise ConfigurationError(f"the guard of a WebSocket stands on its class, {type(handler).__name__}")
            if getattr(handler, "_stream_request_body", False):
                raise ConfigurationError(
                    f"the guard of what streams a body stands on its class, {type(handler).__name__}: the method runs "
                    "after the body has been received"
                )
            if await self.enter(handler):
                answer = method(handler, *args, **kwargs)
                if inspect.isawaitable(answer):
                    await answer

        guarded_method = adapter.GuardedMethod(guarded)
        adapter.mark_guarded(guarded_method, self, method)
        return cast("Target", guarded_method)

    async def _prepare(self, handler: web.RequestHandler, prepare: Callable[[], Awaitable[None] | None]) -> None:
        if await self.enter(handler):
            prepared = prepare()
            if inspect.isawaitable(prepared):
                await prepared

    async def enter(self, handler: web.RequestHandler) -> bool:
        """Whether a request is admitted; a refused one has been answered, and so has OPTIONS."""
        check_once(handler.application)
        if handler.request.method == "OPTIONS":  # a browser asks before it sends a token; no method runs
            send(handler, adapter.options_response(methods_of(type(handler))))
            return False
        api = kit_of(handler, self.kit).aio.api
        params = _params(handler)
        session_id = self.bound_session(params, path_of(handler.request), partial(self._others, handler))
        request = neutral_request(handler, params)
        if isinstance(handler, websocket.WebSocketHandler):
            entered = await self._enter_socket(api, handler, request, session_id)
        else:
            authorization = request.headers.get("authorization")
            admitted = adapter.admit(api, authorization, self, session_id, lambda: request, kept=_kept(handler))
            entered = admitted if isinstance(admitted, Grant) else await admitted
        if isinstance(entered, RolecallError):
            send(handler, adapter.guard_answer(entered, api.web, handler.request.query))
            return False
        _kept(handler)["request"] = request
        _keep_out_of_caches(handler, api.web)
        return True

    async def _enter_socket(
        self, api: adapter.Api, handler: websocket.WebSocketHandler, request: adapter.Request, session_id: str | None
    ) -> Grant | RolecallError | None:
        kept = _kept(handler)
        if "tokens" not in kept:
            others, kept["tokens"] = adapter.split_offers(all_of(handler, _PROTOCOL))
            _hide_tokens(handler, others, bool(kept["tokens"]))
        handshake = adapter.Handshake(api, request, kept["tokens"])
        entered = await handshake.enter(self, session_id)
        if isinstance(entered, Grant):
            watch = handshake.watch(self, session_id, entered)
            close = partial(_close, handler)
            kept[adapter.SOCKET] = adapter.GuardedSocket(watch, close, lambda _: None, kept.get(adapter.SOCKET))
            _watch_socket(handler, kept[adapter.SOCKET])
        return entered

    def _others(self, handler: web.RequestHandler) -> tuple[Sequence[adapter.Guard], Sequence[adapter.Guard]]:
        guards = [*adapter.view_guards(type(handler), handler.request.method or "GET")]
        return self.split(guards) or (guards, ())


require_role, require_capability, require_token = Guard.of_role, Guard.of_capability, Guard.of_token


def _params(handler: web.RequestHandler) -> Mapping[str, Any]:
    """The parameters of a path; unnamed ones count, although no guard can bind them."""
    unnamed = {f"group {number}": value for number, value in enumerate(handler.path_args, 1)}
    return {**unnamed, **handler.path_kwargs}


def _keep_out_of_caches(handler: web.RequestHandler, rules: Web) -> None:
    """Add the headers that keep a guarded answer out of caches as its head is sent: an error has begun it anew."""
    flush = handler.flush

    def flush_uncached(include_footers: bool = False) -> Any:
        if not handler._headers_written:
            present = [*handler._headers.get_all()]
            for name, value in adapter.headers_to_add(present, rules, handler.request.query):
                handler.set_header(name, value)
        return flush(include_footers)

    setattr(handler, "flush", flush_uncached)


def _hide_tokens(handler: websocket.WebSocketHandler, others: list[str], has_token: bool) -> None:
    """Show the app the offered subprotocols without the tokens, and answer the kit's unless it chooses another."""
    headers, choose = handler.request.headers, handler.select_subprotocol
    offered = [*filter(None, others), *([adapter.BEARER] if has_token else [])]
    headers.pop(_PROTOCOL, None)
    if offered:
        headers[_PROTOCOL] = ", ".join(offered)

    def select(subprotocols: list[str]) -> str | None:
        chosen = choose([one for one in subprotocols if one != adapter.BEARER])
        return chosen or (adapter.BEARER if has_token else None)

    setattr(handler, "select_subprotocol", select)


def _watch_socket(handler: websocket.WebSocketHandler, socket: adapter.GuardedSocket) -> None:
    """Watch over the grant of a WebSocket until it is closed; after the grant has ended nothing passes either way."""
    closed = asyncio.Event()
    on_message, write_message = handler.on_message, handler.write_message
    on_connection_close, on_finish = handler.on_connection_close, handler.on_finish

    def on_message_before_the_end(message: str | bytes) -> Any:
        return on_message(message) if socket.ended is None else None

    def write_before_the_end(message: Any, binary: bool = False) -> Any:
        if socket.ended is not None:
            raise websocket.WebSocketClosedError
        return write_message(message, binary)

    def closes() -> None:
        closed.set()
        on_connection_close()

    def finishes() -> None:
        if handler.get_status() != 101:  # Tornado has refused the handshake
            closed.set()
        on_finish()

    setattr(handler, "on_message", on_message_before_the_end)
    setattr(handler, "write_message", write_before_the_end)
    setattr(handler, "on_connection_close", closes)
    setattr(handler, "on_finish", finishes)
    task = asyncio.ensure_future(socket.run(closed.wait))
    _kept(handler).setdefault("tasks", []).append(task)  # so that it is not collected


async def _close(handler: websocket.WebSocketHandler, error: RolecallError) -> None:
    while handler.ws_connection is None and not handler._finished:  # it is about to be opened
        await asyncio.sleep(0.01)
    handler.close(adapter.close_code(error.status), adapter.close_reason(error))


def _kept(handler: web.RequestHandler) -> dict[str, Any]:
    kept: dict[str, Any] = vars(handler).setdefault(_KEPT, {})
    return kept


def find_grant(handler: web.RequestHandler) -> Grant | None:
    """The grant of a request; None if a guard with ``optional=True`` admitted it without a token."""
    return adapter.granted(_kept(handler))


def current_grant(handler: web.RequestHandler) -> Grant:
    """The grant of a request that passed a guard.

    :raises RuntimeError: if there is none.
    """
    return adapter.current_grant(_kept(handler))


async def renew_grant(handler: websocket.WebSocketHandler, token: str) -> Grant:
    """Replace the grant of an open WebSocket by another token's, to keep it open beyond its expiry.

    :raises RolecallError: if the token is refused, or for another session, or the WebSocket is closed already.
    """
    current_grant(handler)
    grant: Grant = await _kept(handler)[adapter.SOCKET].renew(token)
    return grant


def while_granted(handler: web.RequestHandler, chunks: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Yield ``chunks`` while the grant of a guarded request is live, for a handler to write and flush.

    :raises RuntimeError: if there is no grant.
    """
    kept = _kept(handler)
    watches = adapter.watches_of(kept, cast("adapter.Request", kept.get("request")))
    return adapter.while_granted(watches, chunks, asyncio.to_thread)
