"""The drivers: a hook may be def or async def anywhere, sees its caller's context, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import subprocess
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any

import flask
import pytest
import trio

from rolecall import Allow, blocking, hookimpl
from rolecall.driver import BackgroundLoop, drive, threads
from rolecall.engine import Call
from rolecall.errors import ConfigurationError, PolicyFault, StoreUnavailable
from rolecall.request import Request
from rolecall.sessions import SessionProperties
from rolecall.stores.memory import MemoryStore
from rolecall_flask import require_token, rolecall_blueprint

from ...forking import in_child
from ...waiting import soon

OUTSIDE = Request("POST", "/sessions")
VOTES = ("vote_session", "vote_token", "vote_access")
user: ContextVar[str] = ContextVar("user", default="nobody")


def voting(function, hook="vote_session"):
    """A plugin whose hook is this function."""
    return type("Votes", (), {"name": "votes", f"rolecall_{hook}": staticmethod(hookimpl(function))})()


def ask(kit):
    return drive(kit.engine.create_session(SessionProperties(), call=Call(OUTSIDE)))


async def ask_async(kit):
    return await kit.aio.engine.create_session(SessionProperties(), call=Call(OUTSIDE))


#: Every way of waiting: a function that asks for a session from outside.
DRIVERS = pytest.mark.parametrize(
    "ask",
    [ask, lambda kit: asyncio.run(ask_async(kit)), lambda kit: trio.run(ask_async, kit)],
    ids=["inline", "asyncio", "trio"],
)
#: The same, as what runs a method of the kit.
CALLERS = pytest.mark.parametrize(
    "call",
    [
        lambda kit, method, *args: getattr(kit, method)(*args),
        lambda kit, method, *args: asyncio.run(getattr(kit.aio, method)(*args)),
        lambda kit, method, *args: trio.run(getattr(kit.aio, method), *args),
    ],
    ids=["inline", "asyncio", "trio"],
)


@pytest.fixture
def gate():
    """What calls hang at; it is open at the end, so that no thread is left."""
    gate = threading.Event()
    yield gate
    gate.set()


#: The threads that kits of other tests have left.
others: set[Any] = set()


@pytest.fixture(autouse=True)
def set_others_aside():
    others.update(threading.enumerate())
    yield
    others.clear()


def background_threads():
    running = [thread for thread in threading.enumerate() if thread not in others]
    return [thread for thread in running if thread.name == "rolecall-background"]


def tasks_of(kit):
    """The tasks of a kit's background loop."""
    return asyncio.all_tasks(kit._inline._background._loop)


# -- context ---------------------------------------------------------------------------------------


def in_def(look):
    return lambda request: look() or Allow()


def in_async_def(look):
    async def vote(request):
        await asyncio.sleep(0)
        return look() or Allow()

    return vote


KINDS = pytest.mark.parametrize("kind", [in_def, in_async_def, lambda look: blocking(in_def(look))])


@KINDS
def test_a_policy_sees_the_callers_context_variables(make_kit, kind):
    seen = []
    kit = make_kit(plugins=[voting(kind(lambda: seen.append(user.get())))])

    async def ask_as(name):
        user.set(name)
        await ask_async(kit)

    user.set("ada")
    ask(kit)
    asyncio.run(ask_as("bob"))
    user.set("nobody")
    assert seen == ["ada", "bob"]


@pytest.mark.parametrize("kind", [in_def, lambda look: blocking(in_def(look))])
def test_a_policy_sees_the_callers_context_variables_on_trio(make_kit, kind):
    seen = []
    kit = make_kit(plugins=[voting(kind(lambda: seen.append(user.get())))])

    async def ask_as(name):
        user.set(name)
        await ask_async(kit)

    trio.run(ask_as, "eve")
    assert seen == ["eve"]


@KINDS
@pytest.mark.parametrize("hook", ["identify", *VOTES, "token_claims"])
def test_a_hook_reads_flasks_request_its_g_and_its_session(make_kit, kind, hook):
    seen = []

    def look():
        seen.append((flask.request.path, flask.g.user, flask.session["group"]))

    class AllowsAll:
        @hookimpl
        def rolecall_vote_session(self, request):
            return Allow()

        @hookimpl
        def rolecall_vote_token(self, request):
            return Allow()

    app = flask.Flask(__name__)
    app.secret_key = "cookies"
    before = make_kit()
    session = before.create_session()
    kit = make_kit(plugins=[AllowsAll(), voting(kind(look), hook)], store=before._state.store)
    app.register_blueprint(rolecall_blueprint(kit))

    @app.before_request
    def log_in():
        flask.g.user = "ada"
        flask.session["group"] = "a"

    @app.get("/guarded")
    @require_token
    def guarded():
        return "in"

    client = app.test_client()
    if hook == "vote_access":
        path = "/guarded"
        client.get(path, headers={"Authorization": f"Bearer {session.generate_token()}"})
    elif hook in ("vote_token", "token_claims"):
        path = f"/sessions/{session.session_id}/tokens"
        client.post(path)
    else:
        path = "/sessions"
        client.post(path)
    assert seen == [(path, "ada", "a")]


def test_concurrent_requests_do_not_see_each_others_context(make_kit):
    sessions: list[Any] = []
    names: dict[str, str] = {}

    async def votes(request):
        name = user.get()
        await asyncio.sleep(0.002)
        return Allow() if user.get() == name == names[request.actor.id] else None

    class Login:
        @hookimpl
        def rolecall_identify(self, request):
            from rolecall import Actor

            return Actor(threading.current_thread().name)

    kit = make_kit(plugins=[voting(votes), Login()])

    def work(name):
        names[threading.current_thread().name] = name
        user.set(name)
        sessions.extend(ask(kit) for _ in range(20))

    workers = [threading.Thread(target=work, args=(f"user {number}",)) for number in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert len(sessions) == 16 * 20


# -- deadlines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [ask, lambda kit: asyncio.run(ask_async(kit))], ids=["inline", "loop"])
def test_an_async_hook_is_cancelled_at_its_deadline(make_kit, ask):
    ends = []

    async def endless(request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        finally:
            ends.append("finally")

    kit = make_kit(plugins=[voting(endless)], hook_timeout=0.05)
    started = time.perf_counter()
    with pytest.raises(PolicyFault, match="deadline"):
        ask(kit)
    assert ends == ["cancelled", "finally"]
    assert time.perf_counter() - started < 0.5


def test_a_blocking_hook_does_not_hold_up_the_event_loop(make_kit):
    kit = make_kit(plugins=[voting(blocking(lambda request: time.sleep(0.3) or Allow()))])

    async def ticks_meanwhile():
        asking, ticks = asyncio.create_task(ask_async(kit)), 0
        while not asking.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert await asking
        return ticks

    assert asyncio.run(ticks_meanwhile()) >= 10


@DRIVERS
def test_a_blocking_hook_is_given_up_at_its_deadline(make_kit, ask, gate):
    kit = make_kit(plugins=[voting(blocking(lambda request: gate.wait(20) and Allow()))], hook_timeout=0.05)
    started = time.perf_counter()
    with pytest.raises(PolicyFault, match=r"outlived its deadline of 0\.05 s"):
        ask(kit)
    assert time.perf_counter() - started < 10


@DRIVERS
def test_a_hook_that_ends_its_task_by_stop_iteration_is_named_for_it(make_kit, ask):
    """On an event loop, too, where such an exception of a thread's never arrives."""

    def stop(request):
        raise StopIteration

    kit = make_kit(plugins=[voting(blocking(stop))])
    with pytest.raises(PolicyFault) as refusal:
        ask(kit)
    assert "deadline" not in str(refusal.value)


def test_an_async_hook_is_cancelled_at_its_deadline_on_trio(make_kit):
    ends = []

    async def endless(request):
        try:
            await trio.sleep_forever()
        finally:
            ends.append("finally")

    kit = make_kit(plugins=[voting(endless)], hook_timeout=0.05)
    with pytest.raises(PolicyFault, match="deadline"):
        trio.run(ask_async, kit)
    assert ends == ["finally"]


@pytest.mark.parametrize("in_nursery", [False, True])
def test_a_request_that_is_cancelled_on_trio_ends_and_is_no_fault_of_the_policy(make_kit, caplog, in_nursery):
    async def endless(request):
        if not in_nursery:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    kit = make_kit(plugins=[voting(endless)])

    async def ask_and_leave():
        with trio.move_on_after(0.05) as scope:
            await ask_async(kit)
        return scope.cancelled_caught

    assert trio.run(ask_and_leave)
    assert caplog.messages == []


def test_without_an_event_loop_the_async_methods_say_so(make_kit):
    kit = make_kit(plugins=[voting(blocking(lambda request: Allow()))])
    with pytest.raises(RuntimeError, match="an event loop of asyncio or trio, and neither runs here"):
        ask_async(kit).send(None)


# -- outages ---------------------------------------------------------------------------------------


def hanging(gate, hook="vote_session"):
    """A policy whose backend does not answer anybody outside."""

    @blocking
    def votes(request):
        if request.http is not None:
            gate.wait(20)
        return Allow()

    return voting(votes, hook)


def exhaust(ask, kit):
    """Ask until calls that were given up hold all threads."""
    for _ in range(threads.THREADS):
        with pytest.raises(PolicyFault, match="deadline"):
            ask(kit)


@DRIVERS
def test_where_hung_hooks_hold_all_threads_a_request_is_refused_at_once(make_kit, ask, gate, monkeypatch, caplog):
    monkeypatch.setattr(threads, "THREADS", 2)
    policy = hanging(gate)
    kit = make_kit(plugins=[policy], hook_timeout=0.05)
    exhaust(ask, kit)
    kit._state.deadline = 30
    caplog.clear()
    started = time.perf_counter()
    for _ in range(3):
        with pytest.raises(PolicyFault, match="'votes': it was not called: no thread is free") as refusal:
            ask(kit)
    assert time.perf_counter() - started < 10
    assert refusal.value.status == 503
    assert caplog.messages == [
        "no thread is free for rolecall_vote_session of the plugin 'votes': 2 calls that were given up have not come "
        "back, and 0 wait; calls refused since the log last said so: 1"
    ]


@DRIVERS
def test_it_votes_again_once_its_backend_does(make_kit, ask, gate, monkeypatch):
    monkeypatch.setattr(threads, "THREADS", 2)
    kit = make_kit(plugins=[hanging(gate)], hook_timeout=0.05)
    exhaust(ask, kit)
    gate.set()

    def votes_again():
        try:
            return bool(ask(kit))
        except PolicyFault:
            return False

    assert soon(votes_again)


@DRIVERS
def test_an_outage_holds_up_neither_the_store_nor_other_hooks_nor_other_plugins(
    make_kit, ask, gate, monkeypatch, tmp_path
):
    monkeypatch.setattr(threads, "THREADS", 2)
    told = []

    class Others:
        @hookimpl
        @blocking
        def rolecall_vote_moderation(self, request):
            return Allow()

        @hookimpl
        @blocking
        def rolecall_on_event(self, event):
            told.append(event.name)

        @hookimpl
        def rolecall_media_service(self, request):
            return self

        def force_disconnect(self, session_id, connection_id):
            told.append(connection_id)

    kit = make_kit(plugins=[hanging(gate), Others()], hook_timeout=20, store=f"sqlite:///{tmp_path}/sessions.db")
    session_id = kit.create_session().session_id
    kit._state.deadline = 0.05
    exhaust(ask, kit)
    kit._state.deadline = kit._state.store_timeout = 20
    told.clear()

    async def end():
        await kit.aio.force_disconnect(session_id, "c-1")
        await kit.aio.end_session(session_id)

    started = time.perf_counter()
    asyncio.run(end())
    assert time.perf_counter() - started < 10
    assert told == ["c-1", "moderated", "session_ended"]


class Remote(MemoryStore):
    """A store behind a network, which answers or hangs."""

    reads_inline = writes_inline = False

    def __init__(self, gate):
        super().__init__()
        self.hangs = False
        self.callers = []
        self._gate = gate

    def _pass(self):
        self.callers.append(threading.current_thread())
        if self.hangs:
            self._gate.wait(20)

    def add_session(self, record):
        self._pass()
        super().add_session(record)

    def get_session(self, session_id):
        self._pass()
        return super().get_session(session_id)

    def end_session(self, session_id, ended_at):
        self._pass()
        super().end_session(session_id, ended_at)


@CALLERS
@pytest.mark.parametrize("method", ["create_session", "get_session", "end_session"])
def test_a_store_that_hangs_is_given_up_at_its_deadline(make_kit, call, method, gate):
    store = Remote(gate)
    kit = make_kit(store=store, store_timeout=0.05)
    args = () if method == "create_session" else (kit.create_session().session_id,)
    store.hangs = True
    with pytest.raises(StoreUnavailable, match=r"has not answered within 0\.05 s, .* see Rolecall\(store_timeout=…\)"):
        call(kit, method, *args)


@CALLERS
def test_a_store_all_of_whose_threads_hang_is_not_asked(make_kit, call, gate, monkeypatch):
    monkeypatch.setattr(threads, "THREADS", 2)
    store = Remote(gate)
    kit = make_kit(store=store, store_timeout=0.05)
    store.hangs = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="has not answered"):
            call(kit, "create_session")
    with pytest.raises(StoreUnavailable, match="the store was not called: no thread is free"):
        call(kit, "create_session")
    assert len(store.callers) == 2


@CALLERS
def test_a_stores_own_error_is_raised_as_it_is(make_kit, call, gate):
    class Down(Remote):
        def _pass(self):
            raise StoreUnavailable("it says so itself")

    with pytest.raises(StoreUnavailable, match="it says so itself"):
        call(make_kit(store=Down(gate)), "create_session")


@pytest.mark.parametrize(("bounded", "own"), [(True, True), (False, False)])
def test_sync_code_calls_a_store_that_bounds_its_calls_on_its_own_thread(make_kit, gate, bounded, own):
    store: Any = Remote(gate)
    store.bounded = bounded
    kit = make_kit(store=store)
    kit.get_session(kit.create_session().session_id)
    assert [thread is threading.current_thread() for thread in store.callers] == [own, own]
    store.callers.clear()
    asyncio.run(kit.aio.create_session())
    assert threading.current_thread() not in store.callers


@pytest.mark.parametrize("seconds", [0, -1, 301, True, "5", None, float("nan")])
def test_a_store_timeout_that_is_none_is_refused(make_kit, seconds):
    with pytest.raises(ConfigurationError, match=r"store_timeout is .*; expected seconds, above 0 and up to 300"):
        make_kit(store_timeout=seconds)


def test_a_hook_that_holds_up_the_background_loop_fails_requests_and_no_more(make_kit):
    held_up = threading.Event()

    async def votes(request):
        if not held_up.is_set():
            held_up.set()
            time.sleep(1)
        return Allow()

    kit = make_kit(plugins=[voting(votes)], hook_timeout=0.1)
    with pytest.raises(PolicyFault):
        ask(kit)
    with pytest.raises(PolicyFault):
        ask(kit)  # the loop is still held up

    def works_again():
        try:
            return bool(ask(kit))
        except PolicyFault:
            return False

    assert soon(works_again)
    assert all(ask(kit) for _ in range(10))
    assert len(background_threads()) == 1


def test_a_hook_that_calls_the_kit_from_the_background_loop_does_not_hold_it_up(make_kit):
    """A sync call of the kit inside an async hook waits for the very loop that it runs on."""
    depth: list[Any] = []

    async def votes(request):
        if not depth:
            depth.append(1)
            kit.create_session()
        return Allow()

    kit = make_kit(plugins=[voting(votes)], hook_timeout=2)
    started = time.perf_counter()
    with pytest.raises(PolicyFault, match="votes"):
        ask(kit)
    assert time.perf_counter() - started < 1


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import secrets, threading, time
import gevent
from rolecall import Allow, Rolecall, blocking, hookimpl
from rolecall.driver import threads
from rolecall.errors import PolicyFault
from rolecall.sessions import SessionProperties

class Directory:
    answers = threading.Event()

    @hookimpl
    @blocking
    def rolecall_vote_session(self, request):
        time.sleep(0.01) if self.answers.is_set() else self.answers.wait(30)
        return Allow()

def ask():
    try:
        return bool(kit.create_session())
    except PolicyFault as error:
        return "not called" if "was not called" in str(error) else "late" if "outlived" in str(error) else error

def at_once(number):
    greenlets = [gevent.spawn(ask) for _ in range(number)]
    return {greenlet.get() for greenlet in greenlets}

kit = Rolecall("123456", secrets.token_hex(32), plugins=[Directory()], hook_timeout=0.2)
print(at_once(threads.THREADS), ask())
Directory.answers.set()
gevent.sleep(0.1)
kit._state.deadline = 30
print(at_once(200))
"""


@pytest.mark.process
def test_blocking_hooks_wait_and_are_given_up_under_gevent():
    command = [sys.executable, "-c", UNDER_GEVENT]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "{'late'} not called\n{True}\n"


# -- nothing is left behind ------------------------------------------------------------------------


def test_a_thousand_async_votes_leave_no_task_and_no_thread_behind(make_kit):
    async def votes(request):
        await asyncio.sleep(0)
        return Allow()

    kit = make_kit(plugins=[voting(votes)])
    ask(kit)
    threads, objects = threading.active_count(), len(gc.get_objects())

    for _ in range(1000):
        ask(kit)

    assert threading.active_count() <= threads  # one that a test before began may end meanwhile
    assert soon(lambda: not tasks_of(kit))
    gc.collect()
    # A session and its id remain of each, in a store that keeps them in memory.
    assert len(gc.get_objects()) - objects < 5000


def test_a_thousand_async_votes_on_an_event_loop_leave_no_task_behind(make_kit):
    async def votes(request):
        await asyncio.sleep(0.001)
        return Allow()

    kit = make_kit(plugins=[voting(votes)])

    async def ask_at_once():
        sessions = await asyncio.gather(*(ask_async(kit) for _ in range(1000)))
        return len(sessions), len(asyncio.all_tasks())

    threads = threading.active_count()
    assert asyncio.run(ask_at_once()) == (1000, 1)
    assert threading.active_count() <= threads


def test_requests_of_many_threads_share_one_background_thread(make_kit):
    async def votes(request):
        await asyncio.sleep(0.001)
        return Allow()

    kit, sessions = make_kit(plugins=[voting(votes)]), []
    workers = [threading.Thread(target=lambda: sessions.append(ask(kit))) for _ in range(64)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)

    assert len(sessions) == 64
    assert len(background_threads()) == 1


def test_closing_the_kit_ends_its_thread(make_kit):
    async def votes(request):
        return Allow()

    kit = make_kit(plugins=[voting(votes)])
    ask(kit)
    kit.close()
    assert soon(lambda: not background_threads())


def test_closing_the_kit_ends_the_threads_of_blocking_hooks_and_of_the_store(make_kit, gate):
    def own_threads():
        return [one.name for one in threading.enumerate() if one not in others and one.name.startswith("rolecall: ")]

    kit = make_kit(plugins=[voting(blocking(lambda request: Allow()))], store=Remote(gate))
    ask(kit)
    assert sorted(own_threads()) == ["rolecall: rolecall_vote_session of the plugin 'votes'", "rolecall: the store"]
    kit.close()
    assert soon(lambda: not own_threads())


def test_no_thread_is_started_where_nothing_waits(make_kit):
    before = threading.active_count()
    ask(make_kit(plugins=[voting(lambda request: Allow())]))
    assert threading.active_count() <= before


def test_a_thread_that_gets_the_number_of_a_closed_loops_thread_may_wait():
    async def answer():
        return "answer"

    loop, answers = BackgroundLoop(), []
    for _ in range(20):  # the system hands a number out again, as a rule at once
        loop.run(answer(), 20)
        (background,) = background_threads()
        loop.close()
        background.join()
        thread = threading.Thread(target=lambda: answers.append(loop.run(answer(), 20)))
        thread.start()
        thread.join()
        loop.close()
        for left in background_threads():
            left.join()
    assert answers == ["answer"] * 20


# -- forks -----------------------------------------------------------------------------------------


def forking_kit(make_kit):
    async def votes(request):
        await asyncio.sleep(0.001)
        return Allow()

    kit = make_kit(plugins=[voting(votes)], hook_timeout=3)
    ask(kit)
    return kit


@pytest.mark.process
def test_async_hooks_work_after_a_fork_in_parent_and_child(make_kit):
    kit = forking_kit(make_kit)
    children = [
        in_child(lambda: (bool(ask(kit)), gc.collect() >= 0, bool(ask(kit)), len(background_threads())))
        for _ in range(3)
    ]
    assert children == [(True, True, True, 1)] * 3
    assert all(ask(kit) for _ in range(5))
    assert len(background_threads()) == 1


def test_blocking_hooks_work_after_a_fork_in_parent_and_child(make_kit):
    kit = make_kit(plugins=[voting(blocking(lambda request: Allow()))])
    assert ask(kit)
    assert [in_child(lambda: bool(ask(kit))) for _ in range(3)] == [True] * 3
    assert ask(kit)


def test_a_childs_threads_may_all_need_the_loop_first(make_kit):
    kit = forking_kit(make_kit)

    def ask_at_once():
        sessions, start = [], threading.Barrier(16)
        workers = [
            threading.Thread(target=lambda: (start.wait() and 0) or sessions.append(ask(kit))) for _ in range(16)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(10)
        return len(sessions), len(background_threads())

    assert in_child(ask_at_once) == (16, 1)


def test_closing_in_a_child_leaves_the_parents_loop_alone(make_kit):
    kit = forking_kit(make_kit)
    assert in_child(lambda: kit.close() or len(background_threads())) == 0
    assert ask(kit)


def _answer(kit, queue):
    queue.put(bool(ask(kit)))


def test_async_hooks_work_in_a_process_that_multiprocessing_forked(make_kit):
    kit = forking_kit(make_kit)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=_answer, args=(kit, queue))
    process.start()
    process.join(10)
    assert process.exitcode == 0
    assert queue.get() is True
    assert ask(kit)
