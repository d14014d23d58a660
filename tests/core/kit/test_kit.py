"""The kit: what an app holds."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from rolecall import AsyncSession, Rolecall, Session, hookimpl
from rolecall.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidKey,
    InvalidSessionId,
    MalformedToken,
    RevokedToken,
    RolecallError,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
    WrongSession,
)
from rolecall.formats import inspect_token
from rolecall.kit import AsyncRolecall
from rolecall.stores.memory import MemoryStore

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def test_a_session_issues_a_token_that_verifies(kit):
    session = kit.create_session()
    token = session.generate_token("moderator", timedelta(minutes=5), "name=Ada")

    grant = kit.verify_token(token, session_id=session.session_id)

    assert (grant.role, grant.data, grant.expires_at - grant.issued_at) == ("moderator", "name=Ada", 300)


def methods_about_a_session(kind: type) -> list[str]:
    methods = inspect.getmembers(kind, inspect.isfunction)
    return [name for name, method in methods if "session_id" in inspect.signature(method).parameters]


def outcome(method, session, other: dict[str, object]) -> object:
    """What comes of a call, as far as it is the same each time."""
    taken = inspect.signature(method).parameters
    arguments = {name: value for name, value in other.items() if name in taken}
    try:
        result = method(session_id=session, **arguments)
        return type(asyncio.run(result) if inspect.iscoroutine(result) else result)
    except RolecallError as error:
        return repr(error)


@pytest.mark.parametrize("view", ["kit", "kit.aio"])
@pytest.mark.parametrize("name", methods_about_a_session(Rolecall))
def test_a_session_goes_wherever_its_id_goes(kit, view, name):
    session, elsewhere = kit.create_session(), kit.create_session()
    method = getattr(kit if view == "kit" else kit.aio, name)
    other = {"token": kit.generate_token(session), "connection_id": "c", "stream_id": "s", "actor": "ada"}
    other["role"] = "publisher"
    if name == "revoke_token":
        other = {"token_id": "t"}  # in place of the token

    assert outcome(method, session, other) == outcome(method, session.session_id, other)
    if name == "verify_token":
        assert "WrongSession" in str(outcome(method, elsewhere, other))


def test_both_views_have_the_same_methods_about_a_session():
    assert methods_about_a_session(Rolecall) == methods_about_a_session(AsyncRolecall)
    assert len(methods_about_a_session(Rolecall)) > 10


@pytest.mark.parametrize("kind", [Rolecall, AsyncRolecall])
def test_no_method_takes_a_sessions_id_alone(kind):
    taken = {
        name: inspect.signature(method).parameters["session_id"].annotation
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if "session_id" in inspect.signature(method).parameters
    }
    assert len(taken) > 10
    assert [name for name, annotation in taken.items() if "SessionRecord" not in annotation] == []


def test_a_session_of_another_project_is_none_of_this_kits(kit, make_kit):
    theirs = make_kit(api_key="654321", api_secret="another-secret-of-more-than-32-characters").create_session()
    with pytest.raises(InvalidSessionId, match="another API key"):
        kit.generate_token(theirs)


def test_a_token_for_another_session_is_refused_when_one_is_demanded(kit):
    with pytest.raises(WrongSession):
        kit.verify_token(kit.create_session().generate_token(), kit.create_session().session_id)


PASTED = {
    "a line end at its end": "{}\n",
    "a line end at its beginning": "\n{}",
    "white space at its end": "{} ",
    "an invisible character at its beginning": "\ufeff{}",
    "a line end at its end, written out as two characters": "{}\\n",
    "quotes around it": '"{}"',
    "quotes  around it": "\u201c{}\u201d",
}


@pytest.mark.parametrize(("around", "pasted"), PASTED.items(), ids=PASTED)
@pytest.mark.parametrize("format", ["opentok", "t1"])
def test_what_was_pasted_with_a_token_is_named(make_kit, format, around, pasted):
    kit = make_kit(format=format)
    token = pasted.format(kit.create_session().generate_token())
    for read in (kit.verify_token, inspect_token):
        with pytest.raises(MalformedToken, match=f"the token has {' '.join(around.split())}; pass the token alone"):
            read(token)


@pytest.mark.parametrize("pasted", ["{}\n", " {}", '"{}"'])
def test_what_was_pasted_with_a_session_id_is_named(kit, pasted):
    with pytest.raises(InvalidSessionId, match=r"it has .*; pass the id alone"):
        kit.generate_token(pasted.format(kit.create_session().session_id))


def test_a_token_expires_even_when_it_was_verified_before(kit, clock):
    token = kit.create_session().generate_token(expire_time=timedelta(seconds=60))
    assert kit.verify_token(token)

    clock.now += 60
    assert kit.verify_token(token), "the leeway is granted"
    clock.now += 10
    with pytest.raises(ExpiredToken):
        kit.verify_token(token)


def test_an_ended_session_issues_no_token_and_its_tokens_are_refused(kit):
    session = kit.create_session()
    token = session.generate_token()
    assert kit.verify_token(token)

    kit.end_session(session.session_id)
    kit.end_session(session.session_id)

    with pytest.raises(SessionEnded):
        session.generate_token()
    with pytest.raises(RevokedToken):
        kit.verify_token(token)
    assert kit.get_session(session.session_id).ended_at is not None


def test_a_session_is_found_with_its_properties(kit):
    made = kit.create_session("203.0.113.7", "routed", "always")
    assert kit.get_session(made.session_id) == made


def test_a_session_that_the_store_does_not_know_is_not_found(make_kit):
    one, other = make_kit(), make_kit()
    with pytest.raises(SessionNotFound):
        other.get_session(one.create_session().session_id)


def test_workers_without_a_shared_store_mint_for_each_others_sessions(make_kit):
    one, other = make_kit(), make_kit()
    token = other.generate_token(one.create_session().session_id)
    assert one.verify_token(token)


def test_two_kits_share_nothing(make_kit):
    ours, theirs = make_kit(), make_kit(api_secret=SECRET)
    session = ours.create_session()

    with pytest.raises(InvalidSessionId):
        theirs.generate_token(session.session_id)
    with pytest.raises(RolecallError):
        theirs.verify_token(session.generate_token())


@pytest.mark.parametrize("store", ["memory://", "sqlite:///{tmp}/kit.db"])
def test_async_methods_do_what_the_sync_ones_do(make_kit, tmp_path, store):
    kit = make_kit(store=store.format(tmp=tmp_path))

    async def use():
        session = await kit.aio.create_session(media_mode="routed")
        token = await session.generate_token("subscriber", data="x")
        assert (await kit.aio.verify_token(token)).role == "subscriber"
        await kit.aio.end_session(session.session_id)
        with pytest.raises(RevokedToken):
            await kit.aio.verify_token(token)
        return await kit.aio.get_session(session.session_id)

    session = asyncio.run(use())
    assert kit.get_session(session.session_id).ended_at == session.ended_at


def test_a_slow_store_does_not_hold_up_the_event_loop(make_kit):
    class Slow(MemoryStore):
        reads_inline = writes_inline = False

        def add_session(self, record):
            time.sleep(0.3)
            super().add_session(record)

    kit = make_kit(store=Slow())

    async def count_while_creating():
        creating = asyncio.create_task(kit.aio.create_session())
        ticks = 0
        while not creating.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(count_while_creating()) > 10


def test_closing_a_kit_leaves_no_thread(make_kit):
    from rolecall import Allow, hookimpl

    class Async:
        @hookimpl
        async def rolecall_vote_session(self, request):
            return Allow()

    before = set(threading.enumerate())
    kit = make_kit(plugins=[Async()])
    kit.create_session()
    assert set(threading.enumerate()) - before

    kit.close()

    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- configuration ---------------------------------------------------------------------------------


def test_from_env_reads_key_secret_and_store(tmp_path):
    environ = {
        "ROLECALL_API_KEY": "project",
        "ROLECALL_API_SECRET": SECRET,
        "ROLECALL_STORE": f"sqlite:///{tmp_path}/env.db",
    }
    with Rolecall.from_env(environ) as kit:
        assert kit.verify_token(kit.create_session().generate_token())
        assert (tmp_path / "env.db").exists()
        assert kit.api_key == "project"


@pytest.mark.parametrize("missing", ["ROLECALL_API_KEY", "ROLECALL_API_SECRET"])
def test_from_env_says_which_variable_is_missing(missing):
    environ = {"ROLECALL_API_KEY": "project", "ROLECALL_API_SECRET": SECRET}
    del environ[missing]
    with pytest.raises(ConfigurationError, match=missing):
        Rolecall.from_env(environ)


def test_arguments_win_over_the_environment():
    environ = {"ROLECALL_API_KEY": "project", "ROLECALL_API_SECRET": SECRET}
    with Rolecall.from_env(environ, api_key="other") as kit:
        assert kit.api_key == "other"


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": 123456},
        {"api_key": ""},
        {"api_key": "a~b"},
        {"api_key": "k" * 65},
        {"leeway": 61},
        {"leeway": -1},
        {"leeway": True},
        {"leeway": float("nan")},
        {"format": "jwt"},
        {"accept": ["opentok", "none"]},
        {"store": "mysql://root:hunter2@localhost/db"},
        {"store": "memory"},
        {"store": object()},
    ],
)
def test_a_wrong_argument_stops_start_up(make_kit, wrong):
    with pytest.raises(ConfigurationError) as error:
        make_kit(**wrong)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("secret", ["", None, "short", "a" * 40, "a-string-secret-at-least-256-bits-long"])
def test_a_weak_secret_stops_start_up(make_kit, secret):
    with pytest.raises(InvalidKey) as error:
        make_kit(api_secret=secret)
    assert not secret or secret not in str(error.value)


def test_repr_shows_no_secret(make_kit, tmp_path):
    kit = make_kit(api_secret=SECRET, store=f"sqlite:///{tmp_path}/kit.db")
    session = kit.create_session()
    assert SECRET not in repr([kit, kit.aio, session, kit.engine, vars(kit), vars(kit._state)])


def test_the_views_of_a_kit_differ_in_what_waits_alone():
    public = {name for name in dir(AsyncRolecall) if not name.startswith("_")}
    assert public ^ {name for name in dir(Rolecall) if not name.startswith("_")} == {
        *("api_with", "from_env", "verifier")
    }
    for name in public:
        method, awaited = getattr(Rolecall, name), getattr(AsyncRolecall, name)
        assert method.__doc__ == awaited.__doc__ or name == "close"
        if inspect.isroutine(method):
            assert inspect.signature(method).parameters == inspect.signature(awaited).parameters
            assert not inspect.iscoroutinefunction(method)


SYNC_CODE = """
import sys
from rolecall import Rolecall
kit = Rolecall(sys.argv[1], sys.argv[2], entry_points=False)
kit.verify_token(kit.create_session().generate_token())
sys.exit("asyncio" in sys.modules)
"""


def test_sync_code_need_not_load_asyncio():
    assert subprocess.run([sys.executable, "-c", SYNC_CODE, "123456", SECRET], check=False).returncode == 0


@pytest.mark.parametrize("handle", [Session, AsyncSession])
def test_a_sessions_own_methods_take_what_the_kits_take_but_the_session(handle):
    for own, name in {"generate_token": "generate_token", "end": "end_session"}.items():
        theirs = inspect.signature(getattr(Rolecall, name))
        mine = inspect.signature(getattr(handle, own))
        assert [*mine.parameters.values()] == [one for one in theirs.parameters.values() if one.name != "session_id"]
        assert getattr(handle, own).__name__ == own
        assert ":param session_id:" not in getattr(handle, own).__doc__


def test_a_wrong_argument_of_a_derived_method_is_named(kit):
    with pytest.raises(TypeError, match=r"generate_token.* unexpected keyword argument 'rol'"):
        kit.generate_token(kit.create_session(), rol="publisher")


def test_async_code_sees_what_the_kit_is_made_of(make_kit):
    class Quiet:
        name = "quiet"

        @hookimpl
        def rolecall_on_event(self, event): ...

    kit = make_kit(plugins=[Quiet()], plugin_config={"quiet": {"volume": 0}}, hook_timeout=7)
    assert [plugin.name for plugin in kit.aio.plugins] == ["quiet"]
    assert kit.aio.plugin_config("quiet") == {"volume": 0}
    assert (kit.aio.hook_timeout, kit.aio.roles) == (7, kit.roles)


def test_async_code_closes_the_kit_off_its_event_loop():
    class Store(MemoryStore):
        writes_inline = False  # it blocks

        def close(self) -> None:
            self.closed_by = threading.get_ident()

    async def scenario(store):
        async with Rolecall("123456", SECRET, store=store).aio as kit:
            assert (await kit.create_session()).session_id
        return store.closed_by

    assert asyncio.run(scenario(Store())) != threading.get_ident()


def test_a_store_that_does_not_close_holds_no_event_loop_up():
    class Store(MemoryStore):
        writes_inline = False  # it blocks

        def close(self) -> None:
            released.wait(30)

    released = threading.Event()
    kit = Rolecall("123456", SECRET, store=Store(), store_timeout=0.05)
    with pytest.raises(StoreUnavailable, match="has not closed in time"):
        asyncio.run(kit.aio.close())
    released.set()
