"""The scripts of this folder, with few rounds; and that each of them can find a fault."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import cache
from itertools import count

import pytest

from rolecall.stores.memory import MemoryStore

from ..postgres_servers import PROGRAMS, PostgresProcess
from ..redis_servers import PROGRAM
from . import bad_servers, ended_elsewhere, histories, killed_server, killed_worker, loop_lag, lying_keys
from .kills import Audit
from .places import STORES, Place, place
from .writers import ENDED_AT, Told, record_of

pytestmark = pytest.mark.server

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
NETWORKED = pytest.mark.parametrize("server", ["postgres", "redis"], indirect=True)
SQLITE = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
NUMBERS = count()
#: A busy machine may add so many seconds to an answer.
SLACK = 3.0


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], Place]]:
    """Opens each place once for all tests of this file, because servers take seconds to start."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(place(name)))


@pytest.fixture(params=STORES)
def server(request, needed, opened) -> Place:
    if request.param != "sqlite":
        needed(PROGRAM if request.param == "redis" else PROGRAMS, f"the server of {request.param}")
    return opened(request.param)


@pytest.fixture
def where(server) -> Place:
    """An empty store in that place."""
    if server.server is None:
        return replace(server, base=server.base.replace("sessions", f"sessions{next(NUMBERS)}"))
    if isinstance(server.server, PostgresProcess):
        return replace(server, base=server.server.url_of(server.server.new_database()))
    return replace(server, fixed=(f"prefix=test{next(NUMBERS)}",))


@FORKS
def test_nothing_is_lost_half_there_or_used_twice_when_a_worker_is_killed(where):
    assert killed_worker.run(where, range(5)) == []


@FORKS
def test_nothing_is_lost_half_there_or_used_twice_when_the_server_is_killed(where):
    assert killed_server.run(where, range(1)) == []


@FORKS
def test_concurrent_calls_of_four_processes_have_an_order(where):
    assert histories.run(where, range(20)) == []


@NETWORKED
def test_a_bad_server_lets_nobody_in_and_is_answered_for_in_time(where):
    """What stops, what freezes and what is slow has tests of its own."""
    assert bad_servers.run(where, ["frozen", "reset"], 1.2, SLACK) == []


def test_a_thousand_sessions_at_once_are_all_created(where):
    """How long the loop is held up depends on the machine: half a second is a loop that somebody blocks."""
    assert loop_lag.run(where, range(1), 500.0) == []


@pytest.mark.parametrize(
    ("server", "web_server"),
    [("sqlite", "uvicorn"), ("postgres", "gunicorn")],
    indirect=["server"],
)
def test_ended_in_one_worker_a_token_is_let_in_by_no_other(where, web_server):
    assert ended_elsewhere.run(where, web_server, range(20)) == []


def test_a_verifier_follows_the_keys_of_a_server_that_stops_hangs_and_lies():
    assert lying_keys.run(range(6), 1.0 + SLACK) == []


# -- each script can find a fault ----------------------------------------------------------------------


@SQLITE
@FORKS
def test_what_was_told_and_is_not_there_is_found(where):
    audit = Audit(where)
    with closing(audit):
        audit._store.add_session(replace(record_of("1_changed"), created_at=1.0))
        audit._store.end_session("1_unasked", ENDED_AT)
        audit._store.add_session(record_of("1_unasked"))
        told = Told()
        told.take(["create 1_lost", "create 1_lost None", "create 1_changed", "create 1_unasked"])
        told.take(["create 1_open", "create 1_open None", "end 1_open", "end 1_open None"])
        told.take(["use 1_used", "use 1_used True", "use 1_refused", "use 1_refused False"])
        audit.check(told)
    expected = ["1_changed is not what", "1_lost was created, and", "1_open was created", "are not: ['1_open']"]
    expected += ["by nobody: ['1_unasked']", "first use of 1_refused was refused", "1_used was used twice"]
    assert len(audit.problems) == len(expected)
    assert all(part in "; ".join(audit.problems) for part in expected)


class BelievesAll(lying_keys.Asked):
    """A verifier that accepts every token, late."""

    def __init__(self) -> None: ...

    def code(self, token: str) -> tuple[str, float]:
        return "accepted", 7.0


def test_a_verifier_that_believes_all_is_found():
    found = lying_keys.run(range(1), ask=lambda url: nullcontext(BelievesAll()), patience=0.1)
    assert [problem for problem in found if "a stranger's: accepted" in problem]
    assert [problem for problem in found if "retired: accepted" in problem]
    assert [problem for problem in found if "answered after 7.00 s" in problem]


class LetsAllIn(ended_elsewhere.Worker):
    """A worker that hears of no end."""

    def __init__(self, pid: str) -> None:
        self.pid = pid

    def ask(self, method: str, path: str, token: str | None = None) -> tuple[int, list[str]]:
        return 200, ["1_a", "token", self.pid]


def test_workers_that_do_not_hear_of_an_end_are_found():
    ends, *others = (LetsAllIn(pid) for pid in "abc")
    round_ = ended_elsewhere.Round(ends, others, 0.01)
    round_.run()
    late = [problem for problem in round_.problems if "s after the end" in problem]
    assert len(late) == len(others)
    assert "worker a let in what it had ended or refused" in round_.problems


def test_a_follower_that_hears_nothing_is_found(monkeypatch):
    monkeypatch.setattr(bad_servers, "MAX_STALENESS", 0.0)
    with bad_servers.Load(MemoryStore(), MemoryStore(), "0") as load:
        deadline = time.monotonic() + 60
        while not load.problems and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "let in" in load.problems[0]


@SQLITE
def test_a_loop_that_is_held_up_is_found(where):
    assert "held up" in loop_lag.run(where, range(1), 0.0)[0]


def test_a_script_is_run_by_its_name():
    command = [sys.executable, "-m", "tests.faults.killed_worker", "--store", "sqlite", "--rounds", "1"]
    done = subprocess.run(command, cwd=ended_elsewhere.ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{'problems':<64}0\n")
