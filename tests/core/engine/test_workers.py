"""A store in memory under several workers: told at start where it can be known, and at the first sign of another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from weakref import WeakSet

import pytest

from rolecall import Allow, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call, workers
from rolecall.errors import SessionNotFound
from rolecall.request import Request

from ...forking import in_child

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
REMEDY = (
    "the kit's store keeps sessions in the memory of one process: what one worker creates or ends, the others do not "
    'know. Let them share a store: Rolecall(store="sqlite:////var/lib/app/rolecall.db"), or ROLECALL_STORE'
)
OF_ANOTHER = f"another process, or another kit, created a session that was asked for here, and {REMEDY}"
FORKED = f"this process was forked from the one that its kit was made in, and {REMEDY}"


class AllowsAll:
    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowsAll()])


@pytest.fixture
def made_elsewhere(make_kit, clock, kit):
    """A session that another process of the same app creates while this one runs."""
    clock.now += 1
    return make_kit().create_session().session_id


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No kit but those of the test is told of a fork: others live on in the modules of other tests."""
    monkeypatch.setattr(workers, "_ALL", WeakSet())


def ask_for_it(kit, session_id):
    with pytest.raises(SessionNotFound):
        kit.get_session(session_id)


def ask_for_it_async(kit, session_id):
    with pytest.raises(SessionNotFound):
        asyncio.run(kit.aio.get_session(session_id))


def ask_for_a_token(kit, session_id):
    call = Call(Request("POST", f"/sessions/{session_id}/tokens"))
    with pytest.raises(SessionNotFound):
        drive(kit.engine.generate_token(session_id, "publisher", None, None, (), call))


def end_it(kit, session_id):
    kit.end_session(session_id)


ACTS = pytest.mark.parametrize("act", [ask_for_it, ask_for_it_async, ask_for_a_token, end_it])


# -- the first session of another process ----------------------------------------------------------


@ACTS
def test_the_first_session_that_another_process_created_is_told(kit, made_elsewhere, act, caplog):
    act(kit, made_elsewhere)
    assert caplog.messages == [OF_ANOTHER]
    assert caplog.records[0].levelname == "WARNING"


def test_it_is_told_once(kit, made_elsewhere, make_kit, caplog):
    for session_id in (made_elsewhere, made_elsewhere, make_kit().create_session().session_id):
        ask_for_it(kit, session_id)
    assert caplog.messages == [OF_ANOTHER]


def test_a_session_that_a_forked_worker_created_is_told(make_kit, caplog):
    kit = make_kit(clock=iter(range(1_795_186_800, 1_795_190_000)).__next__)
    session_id = in_child(lambda: kit.create_session().session_id)
    ask_for_it(kit, session_id)
    assert caplog.messages == [OF_ANOTHER]


@ACTS
def test_a_session_from_before_this_process_is_none(make_kit, clock, act, caplog):
    session_id = make_kit().create_session().session_id
    clock.now += 1
    act(make_kit(plugins=[AllowsAll()]), session_id)
    assert caplog.messages == []


@ACTS
def test_a_session_that_another_service_made_is_none(kit, clock, act, caplog):
    clock.now += 1
    act(kit, FOREIGN)
    assert caplog.messages == []


def test_its_own_sessions_are_none(kit, clock, caplog):
    clock.now += 1
    session = kit.create_session()
    session.generate_token()
    session.end()
    session.end()
    assert kit.get_session(session.session_id).ended_at == clock.now
    assert caplog.messages == []


def test_a_store_that_workers_share_is_never_told_of(make_kit, clock, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    kit = make_kit(store=f"sqlite:///{tmp_path}/sessions.db")
    clock.now += 1
    ask_for_it(kit, make_kit(store=f"sqlite:///{tmp_path}/others.db").create_session().session_id)
    assert in_child(lambda: caplog.messages) == []
    assert caplog.messages == []


# -- at start --------------------------------------------------------------------------------------


def test_a_fork_is_told_in_the_child_and_once(kit, caplog):
    assert in_child(lambda: "\n".join(caplog.messages)) == FORKED
    assert in_child(lambda: in_child(lambda: "\n".join(caplog.messages))) == FORKED
    assert caplog.messages == []


@pytest.mark.process
def test_of_a_kit_that_has_gone_a_fork_tells_nothing(caplog):
    script = (
        "import os, secrets, rolecall; rolecall.Rolecall('123456', secrets.token_hex(32)).close(); "
        "import gc; gc.collect(); os.fork() or os._exit(0); os.wait()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""


@pytest.mark.process
def test_a_fork_is_told_without_a_log_that_is_set_up():
    script = (
        "import os, secrets, rolecall; kit = rolecall.Rolecall('123456', secrets.token_hex(32)); "
        "os.fork() or os._exit(0); os.wait()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == f"{FORKED}\n"


@pytest.mark.parametrize("workers", ["2", "16", " 4 "])
def test_a_server_that_is_told_to_have_several_workers_is(make_kit, monkeypatch, caplog, workers):
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    make_kit()
    assert caplog.messages == [
        f"the environment variable WEB_CONCURRENCY asks for {workers.strip()} workers, and {REMEDY}"
    ]


@pytest.mark.parametrize("workers", ["", "0", "1", "many", "-2", "²"])
def test_one_worker_is_none(make_kit, monkeypatch, caplog, workers):
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    make_kit()
    assert caplog.messages == []
