"""Health checks: whether a process lives, and whether it can serve; within the store's time-out."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Collection
from typing import Any

import pytest

from rolecall import Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.errors import NotInStep, StoreUnavailable
from rolecall.formats import TokenFormat
from rolecall.formats.opentok import OpenTokFormat
from rolecall.http.api.rest import ROUTES
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore
from rolecall.tokens import TokenOptions

from ...waiting import PATIENCE

[LIVE, READY] = [route for route in ROUTES if route.path in ("/healthz", "/readyz")]
WHERE = "postgresql://secret@192.0.2.1 does not answer"


class Store(MemoryStore):
    """A store of which parts fail."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.asked = 0
        for method in broken:
            setattr(self, method, self.fail)

    def fail(self, *args: object) -> Any:
        self.asked += 1
        raise StoreUnavailable(WHERE)


class Frozen(MemoryStore):
    """A store whose server has frozen."""

    reads_inline = False

    def __init__(self) -> None:
        super().__init__()
        self.thaw = threading.Event()

    def get_session(self, session_id: str) -> None:
        self.thaw.wait(PATIENCE)


def check(kit: Rolecall, route: Any = READY) -> Response:
    return drive(respond(kit.api, route, Request("GET", f"/video{route.path}")))


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (["get_session"], "store"),
        (["has_ended"], "follower"),
        (["get_session", "has_ended"], "store, follower"),
    ],
)
def test_what_does_not_work_is_named_and_nothing_else_is_told(make_kit, caplog, broken, named):
    caplog.set_level(logging.DEBUG)
    answer = check(make_kit(store=Store(*broken)))
    assert (answer.status, json.loads(answer.body)["detail"]) == (503, f"not ready: {named}")
    assert "192.0.2.1" not in answer.body.decode()
    assert caplog.records == []


class Starting(MemoryStore):
    """A store whose ended sessions are still being read."""

    def has_ended(self, session_id: str) -> bool:
        raise NotInStep("they are being read")


class Asked(Starting):
    """One that can be asked itself meanwhile."""

    def ended_among(self, session_ids: Collection[str]) -> set[str]:
        return set()


def test_a_process_that_is_not_in_step_yet_is_ready_if_it_can_ask_the_store(make_kit):
    assert [check(make_kit(store=store())).status for store in (Starting, Asked)] == [503, 200]


class Vault(OpenTokFormat):
    """A format whose keys are elsewhere, and cannot be reached."""

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        raise OSError("the vault does not answer")


class VaultPlugin:
    @hookimpl
    def rolecall_register_formats(self) -> dict[str, type[TokenFormat]]:
        return {"vault": Vault}


def test_keys_that_do_not_sign_are_named(make_kit):
    answer = check(make_kit(plugins=[VaultPlugin()], format="vault"))
    assert (answer.status, json.loads(answer.body)["detail"]) == (503, "not ready: keys")


def test_strangers_make_no_more_than_a_token_a_second(make_kit, monkeypatch):
    monkeypatch.setattr("rolecall.engine._KEYS_TRIED_EVERY", PATIENCE)
    kit, minted, mint = make_kit(), [], OpenTokFormat.mint
    monkeypatch.setattr(OpenTokFormat, "mint", lambda form, options: minted.append(form) or mint(form, options))
    assert {check(kit).status for _ in range(10)} == {200}
    assert len(minted) == 1
    issuer = next(iter(kit.engine.state.session_ids._issuers.values()))
    kit.engine.state.replace_ring(issuer, issuer.ring)  # whose keys have not been tried
    assert (check(kit).status, len(minted)) == (200, 2)


@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_a_kit_that_works_is_ready_whatever_its_policies_say(make_kit, format):
    answer = check(make_kit(format=format, plugins=[]))
    assert (answer.status, answer.body) == (200, b'{"status":"ready"}')


def test_life_asks_no_store(make_kit):
    store = Store("get_session", "has_ended")
    assert check(make_kit(store=store), LIVE).status == 200
    assert store.asked == 0


def test_a_frozen_store_is_answered_within_its_time_out(make_kit):
    store = Frozen()
    kit = make_kit(store=store, store_timeout=0.1)
    began = time.monotonic()
    answers = [check(kit), asyncio.run(respond(kit.aio.api, READY, Request("GET", "/readyz")))]
    store.thaw.set()
    assert [answer.status for answer in answers] == [503, 503]
    assert time.monotonic() - began < PATIENCE / 2


def test_a_check_leaves_nothing_behind(make_kit):
    kit = make_kit()
    check(kit)
    assert len(kit.engine.state.verified.young) == 0
