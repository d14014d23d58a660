"""The kit's routes as rules of a Tornado app, and Tornado's requests and the kit's answers, translated."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

from tornado import httputil, web
from tornado.routing import Matcher, Rule

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http import adapter

from .listing import check_once

#: The key of the kit in an app's settings, for guards without one of their own.
KIT: Final = "rolecall"


def rolecall_rules(
    kit: Rolecall, prefix: str = "/video", *, name: str = "rolecall", routes: Iterable[adapter.Route] | None = None
) -> list[Rule]:
    """The rules of the kit's routes: ``Application([*rolecall_rules(kit), …], rolecall=kit)``.

    :param prefix: the beginning of the routes' paths: ``"/video"``, or ``""`` for none.
    :param name: the beginning of the routes' names: ``app.reverse_url("rolecall.sessions")``.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    :raises ConfigurationError: for an invalid argument.
    """
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"the rules are those of a Rolecall(…), not of {adapter.shown(kit)}")
    prefix = adapter.checked_prefix(prefix)
    return [
        Rule(KitMatches(prefix, route), _handler_of(kit, route), name=f"{name}.{route.name}")
        for route in (adapter.ROUTES if routes is None else routes)
    ]


class KitMatches(Matcher):
    """Matches the path of one of the kit's routes, decoded once."""

    def __init__(self, prefix: str, route: adapter.Route) -> None:
        self.prefix = prefix
        self.route = route

    def match(self, request: httputil.HTTPServerRequest) -> dict[str, Any] | None:
        path = path_of(request)
        found = self.route.match(path[len(self.prefix) :]) if path.startswith(self.prefix) else None
        return None if found is None else {"target_kwargs": {"params": found}}

    def reverse(self, *args: Any) -> str | None:
        values = iter(args)
        path = re.sub(r"{[^}]*}", lambda _: quote(str(next(values)), safe=""), self.route.path)
        return self.prefix + path


class KitHandler(web.RequestHandler):
    """Answers one of the kit's routes, for all methods; ``_handler_of`` makes a subclass for each."""

    SUPPORTED_METHODS = type("Every", (tuple,), {"__contains__": lambda *_: True})()
    _stream_request_body = True
    kit: Any
    route: Any
    _has_gone = False

    def initialize(self, params: Mapping[str, str]) -> None:
        self._params = params
        self._body = bytearray()
        self._most = 0
        self._wants_body = asyncio.Event()
        self._arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def prepare(self) -> None:
        check_once(self.application)
        # An answer that reads no body does not wait for it; Tornado reads one only after this.
        self._answering = asyncio.ensure_future(self._respond())
        wanted = asyncio.ensure_future(self._wants_body.wait())
        await asyncio.wait({self._answering, wanted}, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()

    async def _respond(self) -> None:
        api = self.kit.aio.api
        request = neutral_request(self, self._params)
        read = partial(self._read, request.headers, api.web.body_timeout)
        answer = await adapter.respond(api, self.route, request, read)
        if not self._has_gone:
            send(self, answer)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk[: self._most + 1 - len(self._body)]
        return None

    async def _answer(self, *_: Any) -> None:
        if not self._arrived.done():
            self._arrived.set_result(None)
        await self._answering

    get = head = post = delete = patch = put = options = _answer

    async def _read(self, headers: Mapping[str, str], seconds: float, longest: int) -> bytes:
        adapter.announced_length(headers, longest)
        self._most = longest
        self._wants_body.set()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived
        except Exception:
            raise adapter.unread() from None
        return bytes(self._body)

    def on_connection_close(self) -> None:
        self._has_gone = True
        if not self._arrived.done():
            self._arrived.cancel()

    def check_xsrf_cookie(self) -> None:
        """Leave this to the kit, which asks for a proof of its own where a cookie carries the token."""

    def check_trusted_origin(self, origin: str) -> bool:
        """Leave this to the kit, too."""
        return True

    def compute_etag(self) -> str | None:
        """Add no ``ETag`` to the kit's answers."""
        return None


def _handler_of(kit: Rolecall, route: adapter.Route) -> type[KitHandler]:
    handler = type("KitHandler", (KitHandler,), {"kit": kit, "route": route})
    return adapter.mark_own(handler, route, kit)


def path_of(request: httputil.HTTPServerRequest) -> str:
    """The path of a request, decoded once."""
    return unquote(request.path, errors="replace")


def neutral_request(handler: web.RequestHandler, params: Mapping[str, str]) -> adapter.Request:
    """A request in the kit's form; its body is read later."""
    request = handler.request
    headers = adapter.JoinedHeaders(request.headers.get_list, request.headers)
    method = request.method or "GET"
    return adapter.Request(method, path_of(request), params, headers, b"", "tornado", request.query, "", handler)


def send(handler: web.RequestHandler, answer: adapter.Response) -> None:
    """Send an answer of the kit, and nothing of Tornado's own in it."""
    handler.clear()
    for name in ("Server", "Content-Type", "Date"):
        handler.clear_header(name)
    handler.set_status(answer.status)
    for name, value in answer.headers:
        handler.add_header(name, value)
    handler.finish(answer.body or None)


def kit_of(handler: web.RequestHandler, given: Any = None) -> Any:
    """The kit of a guard: its own, or that of the app's settings."""
    kit = handler.settings.get(KIT) if given is None else given
    return adapter.only_kit([kit] if isinstance(kit, Rolecall) else [], "pass it to Application(…, rolecall=kit)")


def all_of(handler: web.RequestHandler, name: str) -> Iterator[str]:
    """Each value of a header."""
    yield from handler.request.headers.get_list(name)
