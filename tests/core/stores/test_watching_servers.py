"""A Redis server that freezes: told once, shown by the health check within the time-out, and found when it is back."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator

import pytest

from rolecall import Rolecall, events, hookimpl
from rolecall.driver import drive
from rolecall.http.api.rest import ROUTES
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.request import Request

from ...conftest import needed
from ...redis_servers import PROGRAM, RedisProcess
from ...waiting import PATIENCE, soon

pytestmark = pytest.mark.server
#: Above the usual times, because the machine may be busy.
PATIENT = "?timeout=1&max_staleness=2"
[READY] = [route for route in ROUTES if route.path == "/readyz"]


@pytest.fixture
def server(tmp_path) -> Iterator[RedisProcess]:
    needed(PROGRAM, "a Redis server")
    server = RedisProcess(tmp_path).start()
    yield server
    server.stop()


class Listener:
    def __init__(self) -> None:
        self.events: list[events.Event] = []

    @hookimpl
    def rolecall_on_event(self, event: events.Event) -> None:
        if isinstance(event, events.StoreLost | events.StoreFound):
            self.events.append(event)


def readiness(kit: Rolecall) -> Response:
    return drive(respond(kit.api, READY, Request("GET", "/video/readyz")))


def test_a_server_that_freezes_is_lost_and_found_once_and_the_process_is_not_ready(server):
    listener = Listener()
    url = server.url + PATIENT
    with Rolecall("123456", secrets.token_hex(32), store=url, plugins=[listener], entry_points=False) as kit:
        assert soon(lambda: readiness(kit).status == 200)
        # A busy machine may have been late before.
        listener.events.clear()
        server.freeze()

        def lost() -> str:
            began = time.monotonic()
            answer = readiness(kit)
            assert time.monotonic() - began < PATIENCE / 2
            assert answer.status == 503
            return json.loads(answer.body)["detail"]

        assert soon(lambda: lost() == "not ready: store, follower")
        assert soon(lambda: len(listener.events) == 1)
        server.thaw()
        assert soon(lambda: readiness(kit).status == 200)
        assert soon(lambda: len(listener.events) == 2)
    assert [event.name for event in listener.events] == ["store_lost", "store_found"]
    assert str(server.port) not in str([event.as_dict() for event in listener.events])
