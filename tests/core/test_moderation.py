"""Acts in sessions: who may, what the policies say, and that a media service carries them out, or says why not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Allow, Capability, Deny, InvalidRequest, Role, Rolecall, Session, blocking, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import (
    InsufficientRole,
    InvalidSessionId,
    NoMediaService,
    NotFoundAtService,
    PolicyDenied,
    PolicyFault,
    SignalTooLarge,
    Unavailable,
)
from rolecall.events import Moderated, ModerationRefused
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.respond import respond
from rolecall.moderation import ForceDisconnect, ListConnections, ListStreams, MuteAll, MuteStream, Signal
from rolecall.policy import Limit
from rolecall.request import Request

from ..untyped import untyped

CONNECTIONS = [{"connectionId": "c-1", "createdAt": 1_795_186_800_000}, {"connectionId": "c-2"}]
STREAMS = [{"id": "s-1", "name": "Ada"}, {"id": "s-2", "name": ""}]


class Media:
    """A service that remembers what it was asked to do."""

    def __init__(self, fails=None):
        self.done = []
        self.fails = fails

    def note(self, *said):
        if self.fails is not None:
            raise self.fails
        self.done.append(said)

    def signal(self, session_id, type, data, connection_id=None):
        self.note("signal", session_id, type, data, connection_id)

    def force_disconnect(self, session_id, connection_id):
        self.note("force_disconnect", session_id, connection_id)

    def mute_stream(self, session_id, stream_id):
        self.note("mute_stream", session_id, stream_id)

    def mute_all(self, session_id, active=True, excluded_stream_ids=()):
        self.note("mute_all", session_id, active, excluded_stream_ids)

    def list_streams(self, session_id):
        self.note("list_streams", session_id)
        return STREAMS

    def list_connections(self, session_id):
        self.note("list_connections", session_id)
        return CONNECTIONS


def awaiting(media):
    """The same service with methods that are awaited."""

    class Awaiting:
        async def signal(self, *asked):
            await asyncio.sleep(0)
            media.signal(*asked)

        async def force_disconnect(self, *asked):
            await asyncio.sleep(0)
            media.force_disconnect(*asked)

        async def mute_stream(self, *asked):
            await asyncio.sleep(0)
            media.mute_stream(*asked)

        async def mute_all(self, *asked):
            await asyncio.sleep(0)
            media.mute_all(*asked)

        async def list_streams(self, *asked):
            await asyncio.sleep(0)
            return media.list_streams(*asked)

        async def list_connections(self, *asked):
            await asyncio.sleep(0)
            return media.list_connections(*asked)

    return Awaiting()


class Studio:
    """A plugin with a media service, and a policy."""

    def __init__(self, service, vote=None, name="studio"):
        self.service, self.vote, self.name = service, vote, name
        self.asked, self.events = [], []

    @hookimpl
    def rolecall_media_service(self, request):
        return self.service

    @hookimpl
    def rolecall_vote_moderation(self, request):
        self.asked.append(request)
        return self.vote(request) if callable(self.vote) else self.vote

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


@pytest.fixture
def media() -> Media:
    return Media()


@pytest.fixture
def studio(media) -> Studio:
    return Studio(media)


@pytest.fixture
def kit(make_kit, studio) -> Rolecall:
    return make_kit(plugins=[studio], entry_points=False)


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture
def room(session) -> str:
    return session.session_id


#: Each act by the kit's method, and what arrives at the service.
ACTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "signal": (("chat", "hello"), ("signal", "chat", "hello", None)),
    "signal to one": (("chat", "hello", "c-1"), ("signal", "chat", "hello", "c-1")),
    "signal of nothing": ((), ("signal", "", "", None)),
    "force_disconnect": (("c-1",), ("force_disconnect", "c-1")),
    "mute_stream": (("s-1",), ("mute_stream", "s-1")),
    "mute_all": ((), ("mute_all", True, ())),
    "mute_all but one": ((True, ["s-1"]), ("mute_all", True, ("s-1",))),
    "mute_all no more": ((False,), ("mute_all", False, ())),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_an_act_arrives_as_it_was_asked_for(make_kit, media, act, is_async, awaited):
    kit = make_kit(plugins=[Studio(awaiting(media) if awaited else media)], entry_points=False)
    room = kit.create_session().session_id
    arguments, (name, *arrived) = ACTS[act]
    if is_async:
        assert asyncio.run(getattr(kit.aio, name)(room, *arguments)) is None
    else:
        assert getattr(kit, name)(room, *arguments) is None
    assert media.done == [(name, room, *arrived)]


@pytest.mark.parametrize("awaited", [False, True])
def test_the_streams_come_back_as_the_service_lists_them(make_kit, media, awaited):
    kit = make_kit(plugins=[Studio(awaiting(media) if awaited else media)], entry_points=False)
    room = kit.create_session().session_id
    assert kit.list_streams(room) == asyncio.run(kit.aio.list_streams(room)) == STREAMS


@pytest.mark.parametrize("awaited", [False, True])
def test_the_connections_come_back_as_the_service_lists_them(make_kit, media, awaited):
    kit = make_kit(plugins=[Studio(awaiting(media) if awaited else media)], entry_points=False)
    room = kit.create_session().session_id
    assert kit.list_connections(room) == asyncio.run(kit.aio.list_connections(room)) == CONNECTIONS
    assert media.done == [("list_connections", room)] * 2


def test_a_service_that_lists_no_connections_still_does_the_rest(make_kit):
    class Older:
        def list_streams(self, session_id):
            return STREAMS

    kit = make_kit(plugins=[Studio(Older())], entry_points=False)
    room = kit.create_session().session_id
    assert kit.list_streams(room) == STREAMS
    with pytest.raises(NoMediaService, match="list_connections: the media service of the plugin 'studio' does not"):
        kit.list_connections(room)


@pytest.mark.parametrize("mark", [blocking, lambda method: method], ids=["blocking", "unmarked"])
def test_a_method_that_is_not_async_runs_on_a_thread_of_the_kits_own(make_kit, mark):
    threads = []

    class Slow(Media):
        @mark
        def signal(self, *asked):
            threads.append(threading.current_thread())

    kit = make_kit(plugins=[Studio(Slow())], entry_points=False)
    room = kit.create_session().session_id
    asyncio.run(kit.aio.signal(room))
    kit.signal(room)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_an_ended_session_can_still_be_cleared(kit, media, room):
    kit.end_session(room)
    kit.force_disconnect(room, "c-1")
    assert media.done == [("force_disconnect", room, "c-1")]


# -- what is asked for -----------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[str], Any], str]] = {
    "an id with a slash": (lambda room: ForceDisconnect(room, "a/b"), "connection_id is 'a/b'"),
    "an id of dots": (lambda room: MuteStream(room, ".."), "stream_id is '..'"),
    "an empty id": (lambda room: MuteStream(room, ""), "stream_id is ''"),
    "a long id": (lambda room: MuteStream(room, "x" * 256), "stream_id is"),
    "a number": (lambda room: ForceDisconnect(room, untyped(7)), "connection_id is 7"),
    "an empty connection": (lambda room: Signal(room, "a", "b", ""), "connection_id is ''"),
    "a type of another kind": (lambda room: Signal(room, untyped(1)), "type of the signal is 1"),
    "a type too long": (lambda room: Signal(room, "é" * 65), "type of the signal has 130 bytes; at most 128"),
    "data of another kind": (
        lambda room: Signal(room, "a", untyped({"b": 1})),
        "data of the signal is a value of type dict",
    ),
    "data too long": (lambda room: Signal(room, "a", "é" * 4097), "data of the signal has 8194 bytes; at most 8192"),
    "a lone surrogate": (lambda room: Signal(room, "a", "\ud800"), "lone surrogate"),
    "no boolean": (lambda room: MuteAll(room, untyped("yes")), "active is 'yes'"),
    "letters for streams": (lambda room: MuteAll(room, True, "s-1"), "excluded_stream_ids is 's-1'"),
    "a number for streams": (lambda room: MuteAll(room, True, untyped(1)), "excluded_stream_ids is 1"),
    "an object for streams": (
        lambda room: MuteAll(room, True, {"a": 1}),
        "excluded_stream_ids is a value of type dict",
    ),
    "bytes for streams": (
        lambda room: MuteAll(room, True, untyped(b"ab")),
        "excluded_stream_ids is a value of type bytes",
    ),
    "a stream that is none": (lambda room: MuteAll(room, True, ["s 1"]), "excluded_stream_ids is 's 1'"),
    "too many streams": (lambda room: MuteAll(room, True, ["s"] * 1001), "has 1001 stream ids; at most 1000"),
    "streams when it stops": (lambda room: MuteAll(room, False, ["s"]), "goes with active=True"),
    "no session": (lambda _: ListStreams(untyped(None)), "session_id is None"),
    "no session with connections": (lambda _: ListConnections(untyped(None)), "session_id is None"),
    "a session with a slash": (lambda _: ListStreams("1_a/../b"), "session_id is '1_a/../b'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused_and_says_why(room, name):
    make, message = WRONG[name]
    with pytest.raises(InvalidRequest, match=message.replace("(", r"\(")):
        make(room).checked()


@pytest.mark.parametrize("signal", [("é" * 65,), ("", "d" * 8193)], ids=["type", "data"])
def test_a_signal_over_the_limits_is_an_error_of_its_own(kit, media, room, signal):
    with pytest.raises(SignalTooLarge) as refused:
        kit.signal(room, *signal)
    assert (refused.value.status, refused.value.code, media.done) == (413, "signal_too_large", [])


def test_the_longest_signal_is_carried(kit, media, room):
    kit.signal(room, "t" * 128, "d" * 8192)
    assert media.done == [("signal", room, "t" * 128, "d" * 8192, None)]


def test_a_session_of_another_project_is_refused(kit, media, make_kit):
    other = make_kit(api_key="654321", entry_points=False).create_session().session_id
    with pytest.raises(InvalidSessionId, match="another API key"):
        kit.signal(other)
    assert media.done == []


def test_a_signal_shows_its_data_to_nobody(room):
    assert "hello" not in repr(Signal(room, "chat", "hello"))


# -- who carries it out ----------------------------------------------------------------------------


def test_without_a_media_service_it_is_said_so(make_kit):
    kit = make_kit(entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(NoMediaService, match="signal: no media service carries this session; pass Rol") as caught:
        kit.signal(room)
    assert caught.value.status == 501


def test_a_plugin_may_say_that_a_session_is_not_its_own(make_kit, media):
    kit = make_kit(plugins=[Studio(None, name="other"), Studio(media)], entry_points=False)
    room = kit.create_session().session_id
    kit.signal(room)
    assert len(media.done) == 1


def test_what_a_service_has_no_method_for_it_does_not_do(make_kit):
    class OnlySignals:
        def signal(self, *_):
            pass

    kit = make_kit(plugins=[Studio(OnlySignals())], entry_points=False)
    room = kit.create_session().session_id
    kit.signal(room)
    with pytest.raises(NoMediaService, match="mute_all: the media service of the plugin 'studio' does not do it"):
        kit.mute_all(room)


@pytest.mark.parametrize("answer", [True, 1, "yes", [], Allow(), object(), lambda: None])
def test_what_is_no_service_does_nothing(make_kit, answer):
    kit = make_kit(plugins=[Studio(answer)], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(NoMediaService):
        kit.force_disconnect(room, "c-1")


def test_two_services_for_one_session_are_a_fault(make_kit, media):
    kit = make_kit(plugins=[Studio(media, name="a"), Studio(Media(), name="b")], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(PolicyFault, match="'b' failed to moderate: another plugin has named"):
        kit.signal(room)
    assert media.done == []


def hangs(*_):
    time.sleep(0.2)


async def hangs_awaited(*_):
    await asyncio.sleep(5)


async def coroutine(*_):
    return None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (hangs, "outlived its deadline of 0.1 s"),
        (hangs_awaited, "outlived its deadline of 0.1 s"),
        (lambda *_: coroutine(), "signal returned a coroutine"),
    ],
    ids=["hangs", "hangs awaited", "a stray coroutine"],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_service_that_fails_is_a_fault_that_names_its_plugin(make_kit, method, message, is_async):
    service = type("Service", (), {"signal": staticmethod(method)})()
    kit = make_kit(plugins=[Studio(service)], entry_points=False, hook_timeout=0.1)
    room = kit.create_session().session_id
    with pytest.raises(PolicyFault, match=f"'studio' failed to moderate: .*{message}"):
        asyncio.run(kit.aio.signal(room)) if is_async else kit.signal(room)


@pytest.mark.parametrize(
    "method", [lambda self: None, lambda self, session, kind, data: None, lambda self, *, session_id, **rest: None]
)
def test_a_service_that_takes_other_arguments_is_told_which(make_kit, method):
    kit = make_kit(plugins=[Studio(type("Service", (), {"signal": method})())], entry_points=False)
    said = r"'studio' failed to moderate: signal takes other arguments than \(session_id, type, data, connection_id\)"
    with pytest.raises(PolicyFault, match=said):
        kit.signal(kit.create_session().session_id)


def test_what_a_service_raises_is_shown_to_no_client(make_kit, caplog):
    kit = make_kit(plugins=[Studio(Media(OSError("the secret is out")))], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(PolicyFault) as caught:
        kit.signal(room)
    assert "secret" not in str(caught.value) + caught.value.public_message + caplog.text


@pytest.mark.parametrize("error", [NotFoundAtService("no such connection"), Unavailable("it is out of order")])
def test_an_error_of_the_kit_comes_as_the_service_raised_it(make_kit, error):
    kit = make_kit(plugins=[Studio(Media(error))], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(type(error)) as caught:
        kit.signal(room)
    assert caught.value is error


@pytest.mark.parametrize("answer", [False, True, "403 Forbidden", 0, Exception("no"), Allow()], ids=repr)
def test_what_a_service_answers_is_never_taken_for_success(make_kit, answer):
    service = type("Service", (), {"force_disconnect": lambda *_: answer})()
    studio = Studio(service)
    kit = make_kit(plugins=[studio], entry_points=False)
    with pytest.raises(PolicyFault, match=r"force_disconnect returned .*; expected None, or an error raised"):
        kit.force_disconnect(kit.create_session().session_id, "c-1")
    assert studio.events[-1].name == "moderation_refused"


def test_a_service_whose_methods_cannot_be_found_is_a_fault(make_kit):
    class Broken:
        @property
        def signal(self):
            raise OSError("the secret is out")

    kit = make_kit(plugins=[Studio(Broken())], entry_points=False)
    with pytest.raises(PolicyFault, match="'studio' failed to moderate: it raised OSError"):
        kit.signal(kit.create_session().session_id)


NO_STREAMS: tuple[Any, ...] = (
    *(None, "ab", 7, {"items": []}, ({"id": "a"},)),
    *([None], ["a"], [{"name": "x"}], [{"id": 7}]),
    *([{"id": "a", "since": {1}}], [{"id": "a", "n": float("nan")}]),
)


@pytest.mark.parametrize("listed", NO_STREAMS, ids=repr)
def test_streams_that_are_none_are_a_fault(make_kit, listed):
    service = type("Service", (), {"list_streams": lambda *_: listed})()
    kit = make_kit(plugins=[Studio(service)], entry_points=False)
    with pytest.raises(PolicyFault, match=r"expected dicts, each with a text 'id'|streams that JSON cannot hold"):
        kit.list_streams(kit.create_session().session_id)


@pytest.mark.parametrize("listed", [None, ["c-1"], [{"id": "c-1"}], [{"connectionId": 7}]], ids=repr)
def test_connections_that_are_none_are_a_fault(make_kit, listed):
    service = type("Service", (), {"list_connections": lambda *_: listed})()
    kit = make_kit(plugins=[Studio(service)], entry_points=False)
    with pytest.raises(PolicyFault, match=r"list_connections returned .* each with a text 'connectionId'"):
        kit.list_connections(kit.create_session().session_id)


# -- who may ---------------------------------------------------------------------------------------


def test_a_policy_sees_the_act_and_denies_it(make_kit, media):
    def spare_the_teacher(request):
        if isinstance(request.act, MuteStream) and request.act.stream_id == "teacher":
            return Deny("nobody mutes the teacher")
        return None

    studio = Studio(media, spare_the_teacher)
    kit = make_kit(plugins=[studio], entry_points=False)
    room = kit.create_session().session_id
    kit.mute_stream(room, "pupil")
    with pytest.raises(PolicyDenied, match="nobody mutes the teacher"):
        kit.mute_stream(room, "teacher")
    assert media.done == [("mute_stream", room, "pupil")]
    assert [(request.act.stream_id, request.grant, request.http) for request in studio.asked] == [
        ("pupil", None, None),
        ("teacher", None, None),
    ]


@pytest.mark.parametrize("vote", [True, 1, "yes", object(), Allow(max_role=untyped("modrator")), OSError])
def test_what_is_no_vote_denies(make_kit, media, vote):
    def answer(_):
        if vote is OSError:
            raise OSError
        return vote

    kit = make_kit(plugins=[Studio(media, answer)], entry_points=False)
    with pytest.raises(PolicyFault):
        kit.signal(kit.create_session().session_id)
    assert media.done == []


@pytest.mark.parametrize(
    "limit",
    [
        Limit(max_role="subscriber"),
        Limit(capabilities=["connect", "publish"]),
        Allow(max_role="subscriber"),
    ],
)
def test_a_limit_that_leaves_too_little_denies(make_kit, media, limit):
    kit = make_kit(plugins=[Studio(media, limit)], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(PolicyDenied, match="capability:force_disconnect is required"):
        kit.force_disconnect(room, "c-1")
    assert media.done == []


# -- from outside ----------------------------------------------------------------------------------

#: The guarded routes, what they need, and what arrives at the service.
GUARDED = {
    ("POST", "/signal"): (Capability.SIGNAL, b'{"type":"chat","data":"hi"}', ("signal", "chat", "hi", None)),
    ("DELETE", "/connections/c-1"): (Capability.FORCE_DISCONNECT, b"", ("force_disconnect", "c-1")),
    ("GET", "/connections"): (Capability.FORCE_DISCONNECT, b"", ("list_connections",)),
    ("GET", "/streams"): (Capability.FORCE_UNPUBLISH, b"", ("list_streams",)),
    ("POST", "/streams/s-1/mute"): (Capability.FORCE_UNPUBLISH, b"", ("mute_stream", "s-1")),
    ("POST", "/mute"): (Capability.FORCE_UNPUBLISH, b'{"excluded_stream_ids":["s-1"]}', ("mute_all", True, ("s-1",))),
}
ROLES = (Role.SUBSCRIBER, Role.PUBLISHER, Role.PUBLISHER_ONLY, Role.MODERATOR)


def ask(kit, method, room, path, token=None, body=b"", **headers):
    found = find_route(ROUTES, f"/sessions/{room}{path}")
    assert found is not None
    route, params = found
    sent = {"content-type": "application/json"} if body else {}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    return drive(respond(kit.api, route, Request(method, f"/sessions/{room}{path}", params, sent | headers, body)))


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("role", ROLES)
def test_a_route_asks_for_its_capability(kit, media, session, method, path, role):
    capability, body, (name, *arrived) = GUARDED[method, path]
    answer = ask(kit, method, session.session_id, path, session.generate_token(role), body)
    if capability in role.capabilities:
        assert answer.status in (200, 204)
        assert media.done == [(name, session.session_id, *arrived)]
    else:
        assert answer.status == 403
        assert f'scope="capability:{capability}"' in dict(answer.headers)["WWW-Authenticate"]
        assert media.done == []


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_route_is_for_the_token_of_its_session_alone(kit, media, room, method, path):
    stranger = kit.create_session().generate_token("moderator")
    assert ask(kit, method, room, path, stranger, GUARDED[method, path][1]).status == 403
    assert ask(kit, method, room, path, None, GUARDED[method, path][1]).status == 401
    ended = kit.create_session()
    token = ended.generate_token("moderator")
    ended.end()
    assert ask(kit, method, ended.session_id, path, token, GUARDED[method, path][1]).status == 401
    assert media.done == []


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_policy_on_acts_sees_the_grant_and_the_request(make_kit, media, method, path):
    studio = Studio(media, lambda request: Deny("not you") if request.grant.data == "name=Eve" else None)
    kit = make_kit(plugins=[studio], entry_points=False)
    session = kit.create_session()
    body = GUARDED[method, path][1]
    eve, ada = (session.generate_token("moderator", data=f"name={name}") for name in ("Eve", "Ada"))
    assert ask(kit, method, session.session_id, path, eve, body).status == 403
    assert media.done == []
    assert ask(kit, method, session.session_id, path, ada, body).status in (200, 204)
    assert len(media.done) == 1
    assert [request.http.method for request in studio.asked] == [method, method]


def test_a_limit_on_an_act_narrows_the_grant(make_kit, media):
    kit = make_kit(plugins=[Studio(media, Limit(max_role="publisher"))], entry_points=False)
    session = kit.create_session()
    token = session.generate_token("moderator")
    assert ask(kit, "POST", session.session_id, "/signal", token).status == 204
    refused = ask(kit, "POST", session.session_id, "/mute", token)
    assert refused.status == 403
    assert b"insufficient_role" in refused.body
    assert [name for name, *_ in media.done] == ["signal"]


@pytest.mark.parametrize("hook", ["vote_access", "vote_moderation"])
@pytest.mark.parametrize("meanwhile", ["the session ends", "the token expires"])
def test_nothing_is_done_for_a_token_that_is_over_when_the_policies_have_voted(make_kit, clock, media, hook, meanwhile):
    session: Session

    def vote(self, request):
        if meanwhile == "the session ends":
            session.end()
        else:
            clock.now += 3600
        return

    policy = type("Policy", (), {f"rolecall_{hook}": hookimpl(vote)})()
    service = type("Service", (), {"rolecall_media_service": hookimpl(lambda self, request: media)})()
    kit = make_kit(plugins=[policy, service], entry_points=False)
    session = kit.create_session()
    token = session.generate_token("moderator", expire_time=clock.now + 60)
    assert ask(kit, "POST", session.session_id, "/mute", token).status == 401
    assert media.done == []


def test_policies_on_access_are_asked_as_at_every_guarded_route(make_kit, media):
    class Curfew:
        @hookimpl
        def rolecall_vote_access(self, request):
            return Deny("it is late")

    kit = make_kit(plugins=[Studio(media), Curfew()], entry_points=False)
    session = kit.create_session()
    assert ask(kit, "POST", session.session_id, "/signal", session.generate_token("moderator")).status == 403
    assert media.done == []


def test_without_a_media_service_a_client_gets_a_clear_501(make_kit):
    session = make_kit(entry_points=False).create_session()
    answer = ask(session.kit, "POST", session.session_id, "/mute", session.generate_token("moderator"))
    assert answer.status == 501
    assert b"it has no media service" in answer.body
    assert b"plugin" not in answer.body


# -- who is told -----------------------------------------------------------------------------------


def test_plugins_are_told_of_what_was_done(kit, studio, room):
    kit.force_disconnect(room, "c-1")
    kit.signal(room, "chat", "hello")
    told = [(event.name, event.session_id, event.act, event.target) for event in studio.events[1:]]
    assert told == [
        ("moderated", room, "force_disconnect", "c-1"),
        ("moderated", room, "signal", None),
    ]


def test_plugins_are_told_of_what_was_refused(make_kit, media):
    studio = Studio(media, Deny("no", "house_rules"))
    kit = make_kit(plugins=[studio], entry_points=False)
    room = kit.create_session().session_id
    with pytest.raises(PolicyDenied):
        kit.mute_stream(room, "s-1")
    event = studio.events[-1]
    assert (event.name, event.act, event.target, event.code) == (
        "moderation_refused",
        "mute_stream",
        "s-1",
        "house_rules",
    )


def test_of_a_participant_an_event_says_by_which_token_it_acted(kit, studio, session):
    token = session.generate_token("moderator")
    ask(kit, "DELETE", session.session_id, "/connections/c-1", token)
    event = studio.events[-1]
    assert (event.name, event.token_id, event.role) == ("moderated", kit.verify_token(token).token_id, "moderator")
    assert event.http.route.endswith("/connections/c-1")


def test_streams_that_are_none_are_told_of_as_refused(make_kit):
    studio = Studio(type("Service", (), {"list_streams": lambda *_: ["s-1"]})())
    kit = make_kit(plugins=[studio], entry_points=False)
    with pytest.raises(PolicyFault, match="list_streams returned a list with 's-1'; expected dicts"):
        kit.list_streams(kit.create_session().session_id)
    assert studio.events[-1].name == "moderation_refused"


def test_plugins_are_told_of_what_could_not_be_meant(kit, studio, room):
    with pytest.raises(InvalidRequest):
        kit.signal(room, "chat", "x" * 9000)
    event = studio.events[-1]
    assert (event.name, event.session_id, event.act, event.target, event.code) == (
        "moderation_refused",
        room,
        "signal",
        None,
        "signal_too_large",
    )


@pytest.mark.parametrize("trace", [False, True])
def test_a_vote_and_the_event_are_linked_by_the_call(make_kit, media, trace):
    studio = Studio(media)
    kit = make_kit(plugins=[studio], entry_points=False, trace=trace)
    session = kit.create_session()
    kit.signal(session.session_id)
    with pytest.raises(InvalidRequest):
        kit.mute_stream(session.session_id, "")
    ask(kit, "POST", session.session_id, "/mute", session.generate_token("moderator"))
    moderated = [event for event in studio.events if isinstance(event, Moderated | ModerationRefused)]
    assert len({event.call_id for event in moderated} - {""}) == 3
    assert [request.call_id for request in studio.asked] == [moderated[0].call_id, moderated[2].call_id]
    assert {request.api_key for request in studio.asked} == {kit.api_key}


@pytest.mark.parametrize("limit", [{"max_lifetime": timedelta(0)}, {"latest_expiry": 0}])
def test_a_limit_of_time_that_is_over_stops_servers_and_clients(make_kit, media, limit):
    kit = make_kit(plugins=[Studio(media, Limit(**limit))], entry_points=False)
    session = kit.create_session()
    with pytest.raises(PolicyDenied):
        kit.signal(session.session_id)
    assert ask(kit, "POST", session.session_id, "/mute", session.generate_token("moderator")).status == 403
    assert media.done == []


def test_to_list_is_no_event(kit, studio, room):
    kit.list_streams(room)
    kit.list_connections(room)
    assert [event.name for event in studio.events] == ["session_created"]


def test_the_decision_is_traced(make_kit, media, caplog):
    kit = make_kit(plugins=[Studio(media, Limit(max_role="publisher"))], entry_points=False, trace=True)
    room = kit.create_session().session_id
    with caplog.at_level("INFO", "rolecall.trace"):
        kit.signal(room)
        with pytest.raises(PolicyDenied):
            kit.mute_all(room)
    told = [record.message for record in caplog.records if '"subject":"moderation"' in record.message]
    assert ['"allowed":true' in line for line in told] == [True, False]


def test_a_trusted_call_needs_no_grant_and_one_from_outside_is_never_trusted(kit, media, room):
    drive(kit.engine.moderate(Signal(room)))
    with pytest.raises(InsufficientRole):
        drive(kit.engine.moderate(Signal(room), None, Call(Request("POST", "/"))))
    assert len(media.done) == 1


@pytest.mark.parametrize("plugins", ["with a policy", "without one"])
def test_a_grant_that_does_not_allow_the_act_is_refused_by_the_engine_too(make_kit, media, plugins):
    class Service:
        @hookimpl
        def rolecall_media_service(self, request):
            return media

    kit = make_kit(plugins=[Studio(media) if plugins == "with a policy" else Service()], entry_points=False)
    session, other = kit.create_session(), kit.create_session()
    act, call = Signal(session.session_id), Call(Request("POST", "/"))
    for token in (session.generate_token("subscriber"), other.generate_token("moderator")):
        with pytest.raises(InsufficientRole):
            drive(kit.engine.moderate(act, kit.verify_token(token), call))
    assert media.done == []
