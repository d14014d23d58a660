"""Metrics for Prometheus: what is counted, under which labels, in one process and in several."""

from __future__ import annotations

import subprocess
import sys
from math import isinf
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from rolecall import Deny, hookimpl
from rolecall.errors import PolicyDenied, StoreUnavailable
from rolecall.observing import PrometheusDurations, PrometheusMetrics
from rolecall.observing.outcomes import MOST
from rolecall.stores.following import Follower, News
from rolecall.stores.memory import MemoryStore

from ...waiting import soon


class Store(MemoryStore):
    lost = False

    def add_session(self, record) -> None:
        if self.lost:
            raise StoreUnavailable("gone")
        super().add_session(record)


class Followed(MemoryStore):
    """A store that is followed, whose log has no news."""

    def __init__(self) -> None:
        super().__init__()
        self.follower = Follower(self)
        self.has_ended = self.follower.has_ended  # type: ignore[method-assign]

    def snapshot(self) -> tuple[News, int]:
        return News(), 0

    def changes(self, after: Any, wait: float) -> tuple[News, int]:
        return News(), 0

    def close(self) -> None:
        self.follower.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_events_are_counted_by_kind_and_code(make_kit, registry):
    class Closed:
        @hookimpl
        def rolecall_vote_token(self, request):
            return Deny("closed", code="class_is_over")

    kit = make_kit(plugins=[PrometheusMetrics(registry), Closed()])
    session = kit.create_session()
    for _ in range(2):
        with pytest.raises(PolicyDenied):
            session.generate_token()
    value = registry.get_sample_value
    assert value("rolecall_events_total", {"event": "session_created", "code": ""}) == 1
    assert value("rolecall_events_total", {"event": "token_refused", "code": "class_is_over"}) == 2


def test_codes_beyond_a_number_are_one(make_kit, registry):
    class Chatty:
        number = 0

        @hookimpl
        def rolecall_vote_session(self, request):
            self.number += 1
            return Deny("no", code=f"code_{self.number}")

    kit = make_kit(plugins=[PrometheusMetrics(registry), Chatty()])
    for _ in range(MOST + 5):
        with pytest.raises(PolicyDenied):
            kit.create_session()
    assert registry.get_sample_value("rolecall_events_total", {"event": "session_refused", "code": "_OTHER"}) == 5


def test_a_lost_store_is_shown_until_it_is_found(make_kit, registry):
    store = Store()
    kit = make_kit(store=store, plugins=[PrometheusMetrics(registry)])
    assert registry.get_sample_value("rolecall_store_lost") == 0
    store.lost = True
    with pytest.raises(StoreUnavailable):
        kit.create_session()
    assert soon(lambda: registry.get_sample_value("rolecall_store_lost") == 1)
    store.lost = False
    kit.create_session()
    assert soon(lambda: registry.get_sample_value("rolecall_store_lost") == 0)


def test_the_lag_is_shown_of_a_store_that_is_followed(make_kit, registry):
    store = Followed()
    make_kit(store=store, plugins=[PrometheusMetrics(registry)])
    lag = registry.get_sample_value("rolecall_store_lag_seconds")
    assert lag is not None
    assert isinf(lag)
    store.follower.start()
    assert soon(lambda: not store.follower.is_late())
    assert soon(lambda: (registry.get_sample_value("rolecall_store_lag_seconds") or 0.0) < 60)
    alone = CollectorRegistry()
    make_kit(plugins=[PrometheusMetrics(alone)])
    assert alone.get_sample_value("rolecall_store_lag_seconds") is None


def test_durations_have_the_outcome_and_no_id(make_kit, registry):
    kit = make_kit(plugins=[PrometheusDurations(registry)])
    session = kit.create_session()
    lost = Store()
    lost.lost = True
    other = make_kit(store=lost, plugins=[PrometheusDurations(registry, namespace="other")])
    with pytest.raises(StoreUnavailable):
        other.create_session()
    labels = {"kind": "call", "name": "create_session", "plugin": "", "code": ""}
    assert registry.get_sample_value("rolecall_operation_seconds_count", labels) == 1
    labels["code"] = "store_unavailable"
    assert registry.get_sample_value("other_operation_seconds_count", labels) == 1
    every = [value for family in registry.collect() for sample in family.samples for value in sample.labels.values()]
    assert session.session_id not in every


WORKERS = """
import os, secrets
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from rolecall import Rolecall, events
from rolecall.observing import PrometheusMetrics

plugin = PrometheusMetrics()
kit = Rolecall("123456", secrets.token_hex(32), plugins=[plugin], entry_points=False)
for number in range(3):
    if os.fork() == 0:
        kit.create_session()
        if number == 0:
            plugin.rolecall_on_event(events.StoreLost(at=0, reason="gone"))
        os._exit(0)
for _ in range(3):
    os.wait()
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


@pytest.mark.process
def test_forked_workers_are_added_up_in_the_multiprocess_mode(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WORKERS],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert 'rolecall_events_total{code="",event="session_created"} 3.0' in lines, done.stderr
    assert "rolecall_store_lost 1.0" in lines
    assert "lag" not in done.stdout
