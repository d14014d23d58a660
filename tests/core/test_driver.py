"""The drivers: a hook may be def or async def anywhere, sees its caller's context, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import time
from contextvars import ContextVar

import flask
import pytest

from rolecall import Allow, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import PolicyFault
from rolecall.http.messages import Request
from rolecall_flask import require_token, rolecall_blueprint

OUTSIDE = Request("POST", "/sessions")
VOTES = ("vote_session", "vote_token", "vote_access")
user: ContextVar[str] = ContextVar("user", default="nobody")


def voting(function, hook="vote_session"):
    """A plugin whose hook is this function."""
    return type("Votes", (), {"name": "votes", f"rolecall_{hook}": staticmethod(hookimpl(function))})()


def ask(kit):
    return drive(kit.engine.create_session(None, "relayed", "manual", False, call=Call(OUTSIDE)))


async def ask_async(kit):
    return await kit.aio.engine.create_session(None, "relayed", "manual", False, call=Call(OUTSIDE))


#: The threads that kits of other tests have left.
others = set()


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


def soon(condition, seconds=5):
    """Whether ``condition()`` becomes true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


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
    async def votes(request):
        name = user.get()
        await asyncio.sleep(0.002)
        return Allow() if user.get() == name == threads[request.actor.id] else None

    class Login:
        @hookimpl
        def rolecall_identify(self, request):
            from rolecall import Actor

            return Actor(threading.current_thread().name)

    kit, sessions, threads = make_kit(plugins=[voting(votes), Login()]), [], {}

    def work(name):
        threads[threading.current_thread().name] = name
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


def test_a_blocking_hook_is_given_up_at_its_deadline_on_an_event_loop(make_kit):
    kit = make_kit(plugins=[voting(blocking(lambda request: time.sleep(0.4) or Allow()))], hook_timeout=0.05)

    async def ask_and_measure():
        started = time.perf_counter()
        with pytest.raises(PolicyFault, match="deadline"):
            await ask_async(kit)
        return time.perf_counter() - started

    assert asyncio.run(ask_and_measure()) < 0.3


def test_a_hook_that_ends_its_task_by_stop_iteration_is_named_for_it(make_kit):
    """On an event loop, too, where such an exception of a thread's never arrives."""

    def stop(request):
        raise StopIteration

    kit = make_kit(plugins=[voting(blocking(stop))], hook_timeout=1)
    with pytest.raises(PolicyFault) as refusal:
        asyncio.run(ask_async(kit))
    assert "deadline" not in str(refusal.value)


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
    depth = []

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


def test_no_thread_is_started_where_nothing_awaits(make_kit):
    ask(make_kit(plugins=[voting(lambda request: Allow())]))
    assert not background_threads()


# -- forks -----------------------------------------------------------------------------------------


def in_child(function):
    """What ``function()`` returns in a forked child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def forking_kit(make_kit):
    async def votes(request):
        await asyncio.sleep(0.001)
        return Allow()

    kit = make_kit(plugins=[voting(votes)], hook_timeout=3)
    ask(kit)
    return kit


def test_async_hooks_work_after_a_fork_in_parent_and_child(make_kit):
    kit = forking_kit(make_kit)
    children = [
        in_child(lambda: (bool(ask(kit)), gc.collect() >= 0, bool(ask(kit)), len(background_threads())))
        for _ in range(3)
    ]
    assert children == ["(True, True, True, 1)"] * 3
    assert all(ask(kit) for _ in range(5))
    assert len(background_threads()) == 1


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

    assert in_child(ask_at_once) == "(16, 1)"


def test_closing_in_a_child_leaves_the_parents_loop_alone(make_kit):
    kit = forking_kit(make_kit)
    assert in_child(lambda: kit.close() or len(background_threads())) == "0"
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
