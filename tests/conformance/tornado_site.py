"""The conforming site in Tornado, behind its own server on one end of a pair of sockets."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from contextlib import suppress
from http.client import HTTPResponse
from typing import Any

from tornado import httpserver, iostream, web

import rolecall_tornado
from rolecall import Grant, Rolecall
from rolecall.testing.conformance import (
    Answer,
    Case,
    Difference,
    ProtocolSite,
    described,
    own_guards,
    own_headers,
)
from rolecall.testing.conformance.driving import answer_of, request_bytes

# Tornado logs each answer, with the path as it came.
logging.getLogger("tornado.access").setLevel(logging.CRITICAL)


class Described(web.RequestHandler):
    """Answers every method with the grant of the request."""

    def answer(self, *_: Any, **__: Any) -> None:
        self.tell(rolecall_tornado.find_grant(self))

    def tell(self, grant: Grant | None) -> None:
        self.set_header("Content-Type", "application/json")
        for name, value in own_headers(self.request.path).items():
            self.set_header(name, value)
        for name in ("Server", "Date"):
            self.clear_header(name)
        self.write(described(grant))

    def compute_etag(self) -> None:
        return None

    get = head = post = put = patch = delete = answer


class NothingHere(web.RequestHandler):
    """The answer to a path that the site does not have."""

    def prepare(self) -> None:
        self.set_status(404)
        self.set_header("Content-Type", "text/plain")
        self.finish(b"nothing here")


def tornado_app(kit: Rolecall) -> web.Application:
    rules: list[Any] = [*rolecall_tornado.rolecall_rules(kit, "/video")]
    rules += rolecall_tornado.rolecall_rules(kit, "", name="sdk", routes=rolecall_tornado.SDK_ROUTES)
    for path, guard in own_guards(rolecall_tornado).items():
        rules.append((pattern(path), guard(type("Guarded", (Described,), {}))))
    rules += [("/bare", Described), ("/inside/open", type("Open", (Described,), {}))]
    rules.append((pattern("/inside/{session_id}"), rolecall_tornado.require_token(type("Inside", (Described,), {}))))
    return web.Application(rules, default_handler_class=NothingHere, rolecall=kit)


def pattern(path: str) -> str:
    # An encoded slash is a slash, as in every other framework.
    return re.sub(r"{(\w+)}", r"(?P<\1>(?:(?!%2[Ff])[^/])+)", path)


class TornadoSite(ProtocolSite):
    def __init__(self) -> None:
        super().__init__(tornado_app, untouched, differences=OWN)
        self._servers: dict[int, httpserver.HTTPServer] = {}

    async def exchange(self, app: Any, case: Case, prefix: str) -> Answer:
        server = self._servers.setdefault(id(app), httpserver.HTTPServer(app, max_header_size=65_536))
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(20)
            server.handle_stream(iostream.IOStream(theirs), ("127.0.0.1", 1))
            return await asyncio.to_thread(ask, ours, case, prefix)


def ask(connection: socket.socket, case: Case, prefix: str) -> Answer:
    # Tornado closes the connection when it answers before it has read all of a body.
    with suppress(BrokenPipeError):
        connection.sendall(request_bytes(case, prefix))
    received = HTTPResponse(connection, method=case.method)
    received.begin()
    return answer_of(received.status, received.getheaders(), received.read())


async def untouched(app: Any) -> Any:
    raise NotImplementedError


#: What Tornado's parser answers by itself.
OWN: list[Difference] = []
site = TornadoSite()
