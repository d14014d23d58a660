"""Azure Communication Services: what it is asked for, and what becomes of its answers. The API is a stand-in."""

from __future__ import annotations

import asyncio
import base64
import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from rolecall import Grant, Rolecall
from rolecall.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidKey,
    NoMediaService,
    NotFoundAtService,
    RevokedToken,
    RoleNotHeld,
    SessionEnded,
    StoreUnavailable,
    Unavailable,
)
from rolecall.media import ACS
from rolecall.stores.memory import MemoryStore

from ...tracebacks import held_by
from ...untyped import untyped
from ...waiting import PATIENCE
from .acs_server import KEY, ACSServer
from .stand_in import Answer, Asked

pytestmark = pytest.mark.each_choice
WIDER = frozenset({"subscriber", "publisheronly"})


@pytest.fixture
def server() -> Iterator[ACSServer]:
    server = ACSServer()
    yield server
    server.stop()


def made(make_kit: Any, server: ACSServer, store: Any = None, **settings: Any) -> Rolecall:
    """A kit with that server, which has all the time that a busy machine takes."""
    given = {"endpoint": server.url, "access_key": KEY, "accept_wider": WIDER, "timeout": PATIENCE, **settings}
    stores = {} if store is None else {"store": store}
    return make_kit(media="acs", media_config={"acs": given}, hook_timeout=4 * PATIENCE, **stores)


@pytest.fixture
def kit(make_kit, server) -> Rolecall:
    return made(make_kit, server)


@pytest.fixture
def pair(make_kit, server, tmp_path) -> tuple[Rolecall, Rolecall]:
    """Two kits on one store, as of two workers."""
    url = f"sqlite:///{tmp_path}/sessions.db"
    return made(make_kit, server, url), made(make_kit, server, url)


def granted(kit: Rolecall, session: Any, role: Any = "publisher", actor: str = "ada", **options: Any) -> Grant:
    return kit.verify_token(kit.generate_token(session, role, actor=actor, **options))


# -- tickets ---------------------------------------------------------------------------------------


def test_a_ticket_is_a_token_of_a_user_who_is_in_the_room(kit, server, clock):
    session = kit.create_session()
    ticket = kit.ticket(granted(kit, session))
    [(room, roles)] = server.rooms.items()
    [(user, [token])] = server.tokens.items()
    assert (ticket.token, ticket.room, ticket.url) == (token, room, server.url)
    assert (ticket.session_id, ticket.identity) == (session.session_id, "ada")
    assert roles == {user: "Attendee"}
    assert ticket.credentials == {"user": {"communicationUserId": user}}
    assert ticket.expires_at == int(clock()) + 3_600
    assert server.lives == [60]
    assert token not in repr(ticket)


ROLES = {"subscriber": "Consumer", "publisheronly": "Attendee", "publisher": "Attendee", "moderator": "Attendee"}


@pytest.mark.parametrize("role", ROLES)
def test_a_user_has_the_role_of_the_latest_ticket(kit, server, role):
    session = kit.create_session()
    kit.ticket(granted(kit, session, "publisher"))
    ticket = kit.ticket(granted(kit, session, role))
    assert server.joins(ticket.room, ticket.token) == ROLES[role]
    assert len(server.rooms) == len(server.tokens) == 1


@pytest.mark.parametrize(("role", "wider"), [("subscriber", "signal"), ("publisheronly", "signal, subscribe")])
def test_what_it_cannot_hold_is_refused(make_kit, server, role, wider):
    kit = made(make_kit, server, accept_wider=())
    with pytest.raises(RoleNotHeld, match=f"would grant {wider}, too"):
        kit.ticket(granted(kit, kit.create_session(), role))
    assert server.asked == []


def test_who_publishes_may_share_the_screen_where_the_app_says_so(make_kit, server):
    kit = made(make_kit, server, publishes_as="Collaborator")
    ticket = kit.ticket(granted(kit, kit.create_session()))
    assert server.joins(ticket.room, ticket.token) == "Collaborator"


def test_the_role_is_set_before_the_token_is_issued(kit, server):
    server.instead = lambda call: (500, {}) if call.method == "PATCH" else None
    with pytest.raises(Unavailable):
        kit.ticket(granted(kit, kit.create_session()))
    assert [*server.tokens.values()] == [[]]


def test_a_token_of_one_session_lets_nobody_into_another(kit, server):
    physics, music = (kit.ticket(granted(kit, kit.create_session())) for _ in range(2))
    assert server.joins(physics.room, physics.token)
    assert server.joins(music.room, physics.token) is None


@pytest.mark.parametrize("life", [3_600, 86_400])
def test_a_ticket_lives_as_long_as_the_setting_says(make_kit, server, clock, life):
    kit = made(make_kit, server, ticket_life=life)
    ticket = kit.ticket(granted(kit, kit.create_session(), expire_time=int(clock()) + 90_000))
    assert (ticket.expires_at, server.lives) == (int(clock()) + life, [life // 60])


def test_a_ticket_does_not_outlive_its_grant(make_kit, server, clock):
    kit, now = made(make_kit, server, ticket_life=86_400), int(clock())
    ticket = kit.ticket(granted(kit, kit.create_session(), expire_time=now + 7_230))
    assert (ticket.expires_at, server.lives) == (now + 7_200, [120])
    with pytest.raises(ExpiredToken, match="before the shortest ticket of acs"):
        kit.ticket(granted(kit, kit.create_session(), expire_time=now + 3_599))


def test_it_works_in_async_code_too(kit, server):
    grant = granted(kit, kit.create_session())
    ticket = asyncio.run(kit.aio.ticket(grant))
    assert server.joins(ticket.room, ticket.token) == "Attendee"


# -- what the store remembers ----------------------------------------------------------------------


def test_every_worker_has_the_same_room_and_user(pair, server):
    one, other = pair
    session = one.create_session()
    tickets = [kit.ticket(granted(kit, session.session_id)) for kit in (one, other, one)]
    assert len({ticket.room for ticket in tickets}) == len(server.rooms) == len(server.tokens) == 1


def test_of_two_workers_at_the_same_moment_one_makes_the_user_and_the_room(pair, server):
    session_id = pair[0].create_session().session_id
    together = Barrier(2)

    def held_back(call: Asked) -> None:
        if call.path.startswith("/identities?") or call.path.startswith("/rooms?"):
            together.wait(PATIENCE)  # both have looked, and neither has found any

    server.instead = held_back
    with ThreadPoolExecutor(2) as pool:
        tickets = [*pool.map(lambda kit: kit.ticket(granted(kit, session_id)), pair)]
    assert len(server.rooms) == len(server.tokens) == 2
    [room] = {ticket.room for ticket in tickets}
    [user] = {ticket.credentials["user"]["communicationUserId"] for ticket in tickets}
    assert {room: {user: "Attendee"}}.items() <= server.rooms.items()
    assert all(server.joins(room, ticket.token) for ticket in tickets)
    # The others are nobody, nowhere.
    assert sorted(map(len, server.rooms.values())) == [0, 1]
    assert sorted(map(len, server.tokens.values())) == [0, 2]


def test_an_exclusion_by_one_worker_takes_back_what_another_has_issued(pair, server):
    one, other = pair
    session_id = one.create_session().session_id
    grant = granted(one, session_id)
    tickets = [one.ticket(grant), one.ticket(grant)]
    ben = one.ticket(granted(one, session_id, actor="ben"))
    assert other.exclude(session_id, "ada").disconnected
    assert [server.joins(ticket.room, ticket.token) for ticket in tickets] == [None, None]
    assert sorted(map(len, server.tokens.values())) == [0, 1]
    assert server.joins(ben.room, ben.token) == "Attendee"
    with pytest.raises(RevokedToken):
        one.ticket(grant)
    # Readmitted, the actor is the same user.
    other.readmit(session_id, "ada")
    ticket = one.ticket(grant)
    assert ticket.credentials == tickets[0].credentials
    assert server.joins(ticket.room, ticket.token) == "Attendee"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("end", [False, True])
def test_what_is_taken_back_while_a_ticket_is_made_stays_taken_back(pair, server, end, fails):
    one, other = pair
    session_id = one.create_session().session_id
    before = one.ticket(granted(one, session_id))
    issued: list[Asked] = []

    def meanwhile(call: Asked) -> Answer | None:
        if call.method == "PATCH" and b"Attendee" in call.body and not issued:
            issued.append(call)
            other.end_session(session_id) if end else other.exclude(session_id, "ada")
        return (500, {}) if fails and "issueAccessToken" in call.path else None

    server.instead = meanwhile
    with pytest.raises((RevokedToken, SessionEnded, NotFoundAtService, Unavailable)):
        one.ticket(granted(one, session_id))
    assert issued
    assert server.joins(before.room, before.token) is None
    assert [*server.rooms.values()] == ([] if end else [{}])


def test_who_has_had_no_ticket_is_excluded_without_a_call(kit, server):
    session = kit.create_session()
    assert kit.exclude(session, "ada").disconnected
    kit.end_session(session)
    assert server.asked == []


def test_the_names_in_the_store_tell_nobody_and_belong_to_one_resource(make_kit, server):
    names = set()

    class Watched(MemoryStore):
        def get_document(self, name: str) -> tuple[int, str] | None:
            names.add(name)
            return super().get_document(name)

    other, store = ACSServer(), Watched()
    try:
        kits = [made(make_kit, one, store, endpoint=f"{one.url}/") for one in (server, other)]
        session = kits[0].create_session()
        rooms = {kit.ticket(granted(kit, session)).credentials["user"]["communicationUserId"] for kit in kits}
    finally:
        other.stop()
    assert len(rooms) == 2
    assert len(names) == 4
    for name in names:
        prefix, digest = name.split(":")
        assert prefix == "acs"
        assert len(bytes.fromhex(digest)) == 32


def test_a_store_that_keeps_no_documents_is_refused_at_start(make_kit, server):
    store = MemoryStore()

    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            if name in ("get_document", "put_document"):
                raise AttributeError(name)
            return getattr(store, name)

    with pytest.raises(
        ConfigurationError, match="acs gives ids that the store has to remember, and the store is of type"
    ):
        made(make_kit, server, Forgetful())


@pytest.mark.parametrize(
    ("method", "answer"), [("get_document", (1, 2)), ("get_document", "no"), ("put_document", False)]
)
def test_a_store_that_answers_otherwise_gives_no_ticket(make_kit, server, method, answer):
    store = MemoryStore()
    kit = made(make_kit, server, store)
    session = kit.create_session()
    setattr(store, method, lambda *_: answer)
    with pytest.raises(StoreUnavailable, match=method):
        kit.ticket(granted(kit, session))
    assert [token for tokens in server.tokens.values() for token in tokens] == []


def test_what_is_remembered_and_no_id_of_the_service_gets_into_no_path(make_kit, server):
    store = MemoryStore()
    kit = made(make_kit, server, store)
    session = kit.create_session()
    store.get_document = lambda name: (1, "../rooms")  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="is no id of the service"):
        kit.ticket(granted(kit, session))
    assert not kit.exclude(session, "ada").disconnected
    assert server.asked == []


# -- acts ------------------------------------------------------------------------------------------


def test_the_room_of_a_session_that_ends_is_deleted(kit, server):
    session = kit.create_session()
    ticket = kit.ticket(granted(kit, session))
    kit.end_session(session)
    assert server.rooms == {}
    assert server.joins(ticket.room, ticket.token) is None


@pytest.mark.parametrize("fails", ["PATCH", "POST"])
def test_an_exclusion_takes_what_it_can_and_says_that_it_did_not_take_all(kit, server, fails):
    session = kit.create_session()
    ticket = kit.ticket(granted(kit, session))
    server.instead = lambda call: (500, {}) if call.method == fails else None
    assert not kit.exclude(session, "ada").disconnected
    assert server.joins(ticket.room, ticket.token) is None
    server.instead = lambda _: None
    assert kit.exclude(session, "ada").disconnected
    assert [*server.rooms.values(), *server.tokens.values()] == [{}, []]


def test_an_exclusion_that_fails_for_want_of_httpx_is_logged(make_kit, server, tmp_path, monkeypatch, caplog):
    url = f"sqlite:///{tmp_path}/sessions.db"
    kit = made(make_kit, server, url)
    session_id = kit.create_session().session_id
    kit.ticket(granted(kit, session_id))
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert not made(make_kit, server, url).exclude(session_id, "ada").disconnected
    assert [one for one in caplog.messages if one.startswith("an actor was excluded") and "httpx" in one]


def test_what_is_gone_need_not_be_taken(kit, server):
    session = kit.create_session()
    kit.ticket(granted(kit, session))
    server.rooms.clear()
    server.tokens.clear()
    assert kit.exclude(session, "ada").disconnected
    with pytest.raises(NotFoundAtService, match="the room of this session has ended; create another session"):
        kit.ticket(granted(kit, session, actor="ben"))


@pytest.mark.parametrize("act", ["force_disconnect", "mute_stream"])
def test_what_it_does_not_do_is_said(kit, server, act):
    with pytest.raises(NoMediaService, match=f"{act} is not done at acs: its Rooms API"):
        getattr(kit, act)(kit.create_session().session_id, "ada")
    assert server.asked == []


# -- what the service may answer -------------------------------------------------------------------

#: The calls of a first ticket, by how their paths begin, and what each may not answer.
CALLS = {
    "/rooms?": [{}, {"id": 1}, {"id": "a/b"}, []],
    "/identities?": [{}, {"identity": "8:acs:a"}, {"identity": {"id": "ada"}}, {"identity": {"id": "8:acs:a/../b"}}],
    "/identities/": [{}, {"token": ""}, {"token": 1}],
}


@pytest.mark.parametrize(("path", "answer"), [(path, one) for path, answers in CALLS.items() for one in answers])
def test_an_answer_that_is_none_is_refused(kit, server, path, answer):
    server.instead = lambda call: (200, answer) if call.path.startswith(path) else None
    with pytest.raises(Unavailable, match="the answer is not that of the service"):
        kit.ticket(granted(kit, kit.create_session()))


@pytest.mark.parametrize("path", [*CALLS, "/rooms/"])
@pytest.mark.parametrize(
    ("status", "expected"), [(401, "refuses the credential"), (429, "the status 429"), (307, "307")]
)
def test_a_failure_is_an_error_that_holds_nothing_of_it(kit, server, path, status, expected):
    server.instead = lambda call: (status, {"secret": str(call.headers)}) if call.path.startswith(path) else None
    with pytest.raises(Unavailable, match=expected) as caught:
        kit.ticket(granted(kit, kit.create_session()))
    assert "Signature" not in f"{caught.value!r}"


def test_another_key_is_refused_and_neither_is_in_the_error(make_kit, server):
    other = base64.b64encode(secrets.token_bytes(64)).decode()
    kit = made(make_kit, server, access_key=other)
    with pytest.raises(Unavailable, match="refuses the credential") as caught:
        kit.ticket(granted(kit, kit.create_session()))
    assert "Signature" not in str(caught.value)
    assert other not in held_by(caught.value)


def test_a_service_that_hangs_ends_within_the_timeout(make_kit, server):
    kit = made(make_kit, server, timeout=0.1)
    server.hangs = True
    with pytest.raises(Unavailable, match=r"it did not answer within 0\.1 s"):
        kit.ticket(granted(kit, kit.create_session()))


# -- settings --------------------------------------------------------------------------------------

ENDPOINT = "https://a.communication.azure.com"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"endpoint": "a.communication.azure.com"}, "acs: endpoint is not the URL of a service; expected"),
        ({"endpoint": f"{ENDPOINT}/rooms"}, "acs: endpoint has a path"),
        ({"endpoint": f"endpoint={ENDPOINT}/;accesskey={KEY}"}, "acs: endpoint is not the URL of a service; expected"),
        ({"access_key": None}, "acs: access_key: "),
        ({"access_key": ""}, "acs: access_key: "),
        ({"access_key": KEY + "!"}, "acs: access_key: it is no base64"),
        ({"access_key": KEY[:40]}, "acs: access_key: it has 30 bytes"),
        ({"ticket_life": 3_599}, "acs: ticket_life is 3599; expected 3600 to 86400 seconds"),
        ({"ticket_life": 86_401}, "acs: ticket_life is 86401"),
        ({"publishes_as": "Presenter"}, "acs: publishes_as is 'Presenter'; expected Attendee or Collaborator"),
        ({"publishes_as": ["Attendee"]}, "acs: publishes_as is"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_wrong_settings_are_refused_and_hold_no_key(settings, expected):
    with pytest.raises((ConfigurationError, InvalidKey), match=expected) as caught:
        untyped(ACS)(**{"endpoint": ENDPOINT, "access_key": KEY, **settings})
    assert KEY not in held_by(caught.value)


def test_settings_come_from_the_environment():
    environ = {
        "ROLECALL_API_KEY": "123456",
        "ROLECALL_API_SECRET": secrets.token_hex(32),
        "ROLECALL_MEDIA": "acs",
        "ROLECALL_ACS_ENDPOINT": f"{ENDPOINT.replace('//a', '//A')}/",
        "ROLECALL_ACS_ACCESS_KEY": KEY,
        "ROLECALL_ACS_TICKET_LIFE": "7200",
    }
    with Rolecall.from_env(environ=environ, entry_points=False) as kit:
        assert kit.create_session().media == "acs"


def test_an_object_shows_no_key():
    backend = ACS(ENDPOINT, KEY)
    assert KEY not in repr(backend) + repr(vars(backend)) + repr(vars(backend.service))
