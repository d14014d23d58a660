"""Tickets: a grant that stands is exchanged for a short token of its session's media service, and no other grant is."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any, ClassVar

import pytest
from livekit.api import TokenVerifier

from rolecall import Actor, Allow, Capability, Deny, Grant, Request, Rolecall, Ticket, hookimpl
from rolecall.driver import drive
from rolecall.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidSessionId,
    InvalidSessionOption,
    NoIdentity,
    NoMediaService,
    PolicyFault,
    RevokedToken,
    RoleNotHeld,
    Unavailable,
)
from rolecall.events import Event, TicketIssued, TicketRefused
from rolecall.http.api.tickets import TICKET_ROUTES
from rolecall.http.respond import respond
from rolecall.media import LiveKit, MediaBackend, Place, ServiceIds, Turn
from rolecall.media.livekit.tokens import LiveKitFormat

from ...behind import Behind
from ...untyped import untyped

KEY, SECRET = "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF"


class Trail:
    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        self.events.append(event)


class Everyone(MediaBackend):
    """A service that makes a participant of everybody, with short tokens: as Zoom, Twilio and Jitsi do."""

    name = "everyone"
    shortest_life, longest_life = 30, 600

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **{"ticket_life": 60, **settings})

    def token_format(self, rules: Any) -> Any:
        return LiveKit("wss://x.example", KEY, SECRET).token_format(rules)

    def room(self, session_id: str) -> str:
        return f"room-{super().room(session_id)[-8:]}"

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        return capabilities | {Capability.SUBSCRIBE, Capability.PUBLISH, Capability.SIGNAL}


def livekit(**settings: Any) -> LiveKit:
    # Nobody listens there: who is excluded is not disconnected.
    return LiveKit("wss://media.example", KEY, SECRET, **{"api_url": "http://127.0.0.1:9", **settings})


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def kit(make_kit, trail) -> Rolecall:
    return make_kit(media=livekit(), plugins=[trail])


def granted(kit: Rolecall, role: Any = "publisher", actor: str | None = "ada", **options: Any) -> Grant:
    session = kit.create_session(**options)
    return kit.verify_token(kit.generate_token(session, role, actor=actor))


def test_a_ticket_is_for_the_session_and_the_actor_and_for_a_minute(kit, clock, trail):
    grant = granted(kit)
    ticket = kit.ticket(grant)
    session_id = grant.session_id
    assert ticket[1:] == (
        "wss://media.example",
        int(clock()) + 60,
        "livekit",
        session_id,
        session_id,
        "ada",
        {},
    )
    read = TokenVerifier(KEY, SECRET).verify(ticket.token, verify_signature=False)
    assert (read.identity, read.video and read.video.room) == ("ada", session_id)
    [issued] = [event for event in trail.events if isinstance(event, TicketIssued)]
    assert (issued.session_id, issued.media, issued.role, issued.token_id, issued.expires_at, issued.actor_id) == (
        session_id,
        "livekit",
        "publisher",
        grant.token_id,
        ticket.expires_at,
        "ada",
    )


@pytest.mark.parametrize("role", ["subscriber", "publisheronly", "publisher", "moderator"])
def test_a_ticket_never_grants_an_act(kit, role):
    grant = granted(kit, role)
    video = TokenVerifier(KEY, SECRET).verify(kit.ticket(grant).token, verify_signature=False).video
    assert video is not None
    held = (video.can_subscribe, video.can_publish, video.can_publish_data, video.room_admin)
    assert held == (grant.allows("subscribe"), grant.allows("publish"), grant.allows("signal"), None)


def test_a_grant_that_policies_have_narrowed_has_a_narrower_ticket(make_kit):
    class Listeners:
        @hookimpl
        def rolecall_vote_token(self, request: Any) -> Allow:
            return Allow(capabilities=["connect", "subscribe", "signal"])

    kit = make_kit(media=livekit(), plugins=[Listeners()])
    video = TokenVerifier(KEY, SECRET).verify(kit.ticket(granted(kit)).token, verify_signature=False).video
    assert video
    assert (video.can_subscribe, video.can_publish, video.can_publish_data) == (True, False, True)


def test_tickets_are_given_in_async_code(kit):
    grant = granted(kit)
    assert asyncio.run(kit.aio.ticket(grant)).identity == "ada"


TAKEN_BACK = {
    "excluded": (lambda kit, grant: kit.exclude(grant.session_id, "ada"), RevokedToken),
    "revoked": (lambda kit, grant: kit.revoke_token(grant), RevokedToken),
    "actor revoked": (lambda kit, grant: kit.revoke_actor("ada"), RevokedToken),
    "reset": (lambda kit, grant: kit.reset_session(grant.session_id), RevokedToken),
    "ended": (lambda kit, grant: kit.end_session(grant.session_id), RevokedToken),
}


@pytest.mark.parametrize("way", TAKEN_BACK)
def test_a_grant_that_was_taken_back_gets_no_ticket(kit, trail, way):
    take_back, error = TAKEN_BACK[way]
    grant = granted(kit)
    take_back(kit, grant)
    with pytest.raises(error):
        kit.ticket(grant)
    refused = trail.events[-1]
    assert isinstance(refused, TicketRefused)
    assert (refused.code, refused.token_id, refused.media) == ("revoked_token", grant.token_id, "livekit")


@pytest.mark.parametrize("way", TAKEN_BACK)
def test_a_worker_that_has_not_heard_of_it_yet_asks_the_store(make_kit, way):
    kit = make_kit(media=livekit(), store=Behind())
    grant = granted(kit)
    take_back, error = TAKEN_BACK[way]
    assert kit.ticket(grant).identity == "ada"
    take_back(kit, grant)
    with pytest.raises(error):
        kit.ticket(grant)


def test_who_is_readmitted_gets_one_again(kit):
    grant = granted(kit)
    kit.exclude(grant.session_id, "ada")
    kit.readmit(grant.session_id, "ada")
    assert kit.ticket(grant).identity == "ada"


def test_a_ticket_ends_with_the_grant(kit, clock):
    session = kit.create_session()
    grant = kit.verify_token(kit.generate_token(session, expire_time=clock() + 30, actor="ada"))
    assert kit.ticket(grant).expires_at == int(clock()) + 30
    clock.now += 31
    with pytest.raises(ExpiredToken):
        kit.ticket(grant)


@pytest.mark.parametrize("life", [1, 3600.5])
def test_the_life_of_a_ticket_can_be_set(make_kit, clock, life):
    kit = make_kit(media=livekit(ticket_life=life))
    assert kit.ticket(granted(kit)).expires_at == int(clock()) + int(life)


def test_a_grant_that_is_for_nobody_gets_none(kit, trail):
    with pytest.raises(NoIdentity, match="does not say for whom"):
        kit.ticket(granted(kit, actor=None))
    assert trail.events[-1].as_dict()["code"] == "no_identity"


def test_an_identity_that_the_service_does_not_take_gets_none(kit):
    assert kit.ticket(granted(kit, actor="x" * 255))
    with pytest.raises(NoIdentity, match="258 bytes; livekit takes at most 256"):
        kit.ticket(granted(kit, actor="雪" * 86))


def test_a_room_whose_name_the_service_does_not_take_is_refused():
    with pytest.raises(InvalidSessionId, match="257 bytes"):
        livekit().room("x" * 257)


# -- what a service cannot hold --------------------------------------------------------------------


@pytest.mark.parametrize(("role", "wider"), [("subscriber", "publish, signal"), ("publisheronly", "signal, subscribe")])
def test_a_ticket_that_would_grant_more_is_refused_unless_the_app_takes_that(make_kit, role, wider):
    kit = make_kit(media=Everyone("wss://one.example"))
    with pytest.raises(RoleNotHeld, match=f"{role!r} would grant {wider}, too; .*accept_wider={{'{role}'}}"):
        kit.ticket(granted(kit, role))
    other = make_kit(media=Everyone("wss://one.example", accept_wider={role}))
    assert other.ticket(granted(other, role)).media == "everyone"


@pytest.mark.parametrize("role", ["publisher", "moderator"])
def test_a_ticket_that_grants_no_more_is_given(make_kit, role):
    kit = make_kit(media=Everyone("wss://one.example"))
    grant = granted(kit, role)
    assert kit.ticket(grant).room == f"room-{grant.session_id[-8:]}"


@pytest.mark.parametrize("name", ["livekit", "hosted"])
def test_a_role_without_what_it_takes_to_join_gets_none(make_kit, name):
    kit = make_kit(media=livekit() if name == "livekit" else Hosted())
    grant = granted(kit)._replace(capabilities=frozenset({Capability.PUBLISH}))
    with pytest.raises(RoleNotHeld, match=f"no ticket of {name} can hold"):
        kit.ticket(grant)


def test_a_grant_whose_rest_is_too_short_for_the_service_gets_none(make_kit, clock):
    kit = make_kit(media=Everyone("wss://one.example"))
    grant = granted(kit)
    clock.now = grant.expires_at - 29
    with pytest.raises(ExpiredToken, match="before the shortest ticket of everyone"):
        kit.ticket(grant)


@pytest.mark.parametrize("life", [29, 601, True, "60", float("nan")])
def test_a_life_outside_the_services_limits_stops_start_up(life):
    with pytest.raises(ConfigurationError, match=r"ticket_life is .*; expected 30 to 600 seconds"):
        Everyone("wss://one.example", ticket_life=untyped(life))


# -- several services ------------------------------------------------------------------------------


def test_a_session_remembers_its_service(make_kit, tmp_path):
    services: list[Any] = [livekit(), Everyone("wss://one.example")]
    store = f"sqlite:///{tmp_path}/sessions.db"
    kit = make_kit(media=services, store=store)
    grants = [granted(kit), granted(kit, media="everyone"), granted(kit, media="livekit")]
    turned = make_kit(media=services[::-1], store=store)
    for one in (kit, turned):
        assert [one.ticket(grant).media for grant in grants] == ["livekit", "everyone", "livekit"]
        assert [one.get_session(grant.session_id).media for grant in grants] == ["livekit", "everyone", "livekit"]
    alone = make_kit(media=services[0], store=store)
    with pytest.raises(NoMediaService, match="'everyone', which is none of this kit's") as refused:
        alone.ticket(grants[1])
    assert refused.value.public_message.startswith("this service gives no tickets for this session")


def test_a_session_from_before_is_at_the_first_service(make_kit, tmp_path):
    store = f"sqlite:///{tmp_path}/sessions.db"
    grant = granted(make_kit(store=store))
    assert make_kit(media=[livekit(), Everyone("wss://one.example")], store=store).ticket(grant).media == "livekit"


def test_a_session_at_a_service_that_the_kit_lacks_is_not_created(kit, make_kit):
    for one, known in ((kit, "livekit"), (make_kit(), "none")):
        with pytest.raises(InvalidSessionOption, match=f"'zoom'; this kit's media services are {known}"):
            one.create_session(media="zoom")
    with pytest.raises(InvalidSessionOption, match="media is 7"):
        kit.create_session(media=untyped(7))


def test_a_kit_without_a_service_gives_no_tickets(make_kit):
    kit = make_kit()
    assert kit.create_session().media is None
    with pytest.raises(NoMediaService, match="ROLECALL_MEDIA") as refused:
        kit.ticket(granted(kit))
    assert refused.value.public_message == "this service gives no tickets: it has no media service"


# -- beside the token ------------------------------------------------------------------------------


def test_a_turn_credential_is_good_for_as_long_as_the_ticket(make_kit):
    secret = "throwaway-turn-secret-one-0123456789"
    turn = Turn(["turn:turn.example"], secret)
    for given in (turn, {"urls": ["turn:turn.example"], "secret": secret}):
        kit = make_kit(media=livekit(turn=given))
        ticket = kit.ticket(granted(kit))
        server = ticket.credentials["turn"]
        assert server["urls"] == ["turn:turn.example"]
        assert server["username"] == f"{ticket.expires_at}:ada"
        assert turn.verify(server["username"], server["credential"], ticket.expires_at)


def test_a_ticket_shows_neither_token_nor_credential_and_can_be_pickled(make_kit):
    kit = make_kit(media=livekit(turn=Turn("turn:turn.example", SECRET)))
    ticket = kit.ticket(granted(kit))
    word = ticket.credentials["turn"]["credential"]
    assert ticket.token not in repr(ticket)
    assert word not in repr(ticket)
    assert pickle.loads(pickle.dumps(ticket)) == ticket
    assert isinstance(ticket, Ticket)
    assert ticket.as_dict()["credentials"]["turn"]["credential"] == word


def test_the_format_of_a_kits_service_reads_its_tickets(kit):
    grant = granted(kit, "subscriber")
    found = kit.engine.state.media.of(drive(kit.aio.engine.get_session(grant.session_id)))
    assert found is not None
    _, form = found
    assert isinstance(form, LiveKitFormat)
    read = form.verify(kit.ticket(grant).token.encode(), kit.engine.state.clock())
    assert (read.role, read.session_id, read.actor_id) == ("subscriber", grant.session_id, "ada")


def test_the_policies_vote_on_the_exchange_over_http(make_kit):
    class Door:
        open = True

        @hookimpl
        def rolecall_identify(self, request: Any) -> Actor:
            return Actor("ada")

        @hookimpl
        def rolecall_vote_access(self, request: Any) -> Any:
            return Allow(max_role="subscriber") if self.open else Deny("the door is shut")

    door = Door()
    kit = make_kit(media=livekit(), plugins=[door])
    grant = granted(kit, "moderator")
    token = kit.generate_token(grant.session_id, "moderator", actor="ada")
    answer = _exchanged(kit, grant.session_id, token)
    assert answer.status == 201
    video = TokenVerifier(KEY, SECRET).verify(json.loads(answer.body)["token"], verify_signature=False).video
    assert video
    assert (video.can_publish, video.can_subscribe) == (False, True)
    door.open = False
    assert _exchanged(kit, grant.session_id, token).status == 403


def _exchanged(kit: Rolecall, session_id: str, token: str) -> Any:
    request = Request(
        "POST",
        TICKET_ROUTES[0].path,
        headers={"authorization": f"Bearer {token}"},
        path_params={"session_id": session_id},
    )
    return drive(respond(kit.api, TICKET_ROUTES[0], request))


# -- a service that is asked -----------------------------------------------------------------------


class Hosted(MediaBackend):
    """A service that opens rooms, and mints its tokens itself."""

    name = "hosted"
    opens_rooms = True

    def __init__(self, answer: Any = None) -> None:
        super().__init__("wss://hosted.example")
        self.opened: list[str] = []
        self.answer = answer

    def token_format(self, rules: Any) -> None:
        return None

    async def open_room(self, place: Place) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.opened.append(place.room)

    async def ask_ticket(self, place: Place) -> Any:
        await asyncio.sleep(0)
        if self.answer is not None:
            return self.answer
        return self.made(place, f"opaque for {place.identity}", "wss://edge.example", place.expires_at + 240)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_service_mints_its_tokens_itself_and_has_its_room_open_before(make_kit, clock, is_async):
    backend = Hosted()
    kit = make_kit(media=backend)
    grant = granted(kit)
    ticket = asyncio.run(kit.aio.ticket(grant)) if is_async else kit.ticket(grant)
    assert (ticket.token, ticket.url) == ("opaque for ada", "wss://edge.example")
    assert ticket.expires_at == int(clock()) + 300
    assert backend.opened == [grant.session_id]


def test_further_credentials_of_a_service_stand_beside_that_of_turn(make_kit):
    class Placed(Hosted):
        async def ask_ticket(self, place: Place) -> Any:
            return self.made(place, "opaque", credentials={"meeting": {"id": "m-1"}})

    backend = Placed()
    backend.turn = Turn("turn:turn.example", SECRET)
    kit = make_kit(media=backend)
    ticket = kit.ticket(granted(kit))
    assert [*ticket.credentials] == ["meeting", "turn"]
    assert ticket.as_dict()["credentials"]["meeting"] == {"id": "m-1"}
    assert "m-1" not in repr(ticket)


def test_a_turn_credential_never_lives_longer_than_the_grant_whatever_life_the_service_gives_its_tokens(
    make_kit, clock
):
    backend = Hosted()
    backend.turn = Turn("turn:turn.example", SECRET)
    kit = make_kit(media=backend)
    session = kit.create_session()
    for life, lasts in ((30, 30), (3600, 60)):
        token = session.generate_token(actor="ada", expire_time=clock() + life)
        ticket = kit.ticket(kit.verify_token(token))
        assert ticket.expires_at > clock() + lasts
        assert ticket.credentials["turn"]["username"] == f"{int(clock()) + lasts}:ada"


def test_a_room_is_opened_again_after_a_minute_because_the_service_may_have_lost_it(make_kit, clock):
    backend = Hosted()
    kit = make_kit(media=backend)
    grant, other = granted(kit), granted(kit)
    for later, opened in ((0, 2), (59, 2), (2, 4)):
        clock.now += later
        kit.ticket(grant)
        kit.ticket(other)
        assert len(backend.opened) == opened


class Numbered(Hosted):
    """A service whose rooms have ids of its own."""

    room_id: Any = "room 7"

    async def open_room(self, place: Place) -> Any:
        await super().open_room(place)
        return self.room_id


def test_a_ticket_has_the_id_that_the_service_gave_its_room(make_kit, clock):
    backend = Numbered()
    kit = make_kit(media=backend)
    grant = granted(kit)
    for _ in range(2):
        ticket = kit.ticket(grant)
        assert (ticket.room, ticket.session_id) == ("room 7", grant.session_id)
    assert backend.opened == [grant.session_id]


def test_a_service_that_names_a_room_by_no_text_gives_no_ticket(make_kit):
    backend = Numbered()
    backend.room_id = 7
    kit = make_kit(media=backend)
    with pytest.raises(PolicyFault, match="what open_room returned is of type int"):
        kit.ticket(granted(kit))


class Counted(Hosted):
    """A service that numbers its rooms and participants, and knows neither by a name."""

    keeps_ids = True
    made_ids: ClassVar[list[Any]] = []
    asked_to: ClassVar[list[Any]] = []

    @property
    def service(self) -> object:
        return self

    async def create_room(self, place: Place) -> Any:
        return self.made_id("room")

    async def create_participant(self, place: Place) -> Any:
        return self.made_id("participant")

    def made_id(self, what: str) -> Any:
        self.made_ids.append(what)
        return self.answer or f"{what} {len(self.made_ids)}"

    async def ask_ticket(self, place: Place) -> Any:
        return self.made(place, " and ".join(place.ids))

    async def force_disconnect(self, session_id: str, connection_id: str, ids: ServiceIds) -> None:
        self.asked_to.append(("force_disconnect", connection_id, ids))

    async def disconnect_actor(self, session_id: str, actor_id: str, ids: ServiceIds) -> None:
        self.asked_to.append(("disconnect_actor", actor_id, ids))

    async def end_session(self, session_id: str, ids: ServiceIds) -> None:
        self.asked_to.append(("end_session", ids))

    async def mute_stream(self, session_id: str, stream_id: str) -> None:
        raise AssertionError


@pytest.fixture
def counted() -> Counted:
    Counted.made_ids.clear()
    Counted.asked_to.clear()
    return Counted()


@pytest.mark.parametrize("is_async", [False, True])
def test_the_ids_that_a_service_gives_are_made_once_and_stand_in_each_ticket_and_act(make_kit, counted, is_async):
    kit = make_kit(media=counted)
    grant, act = granted(kit), asyncio.run if is_async else lambda done: done
    calls = kit.aio if is_async else kit
    for _ in range(2):
        assert act(calls.ticket(grant)).token == "room 1 and participant 2"
    act(calls.force_disconnect(grant.session_id, "ada"))
    act(calls.exclude(grant.session_id, "ben"))
    act(calls.end_session(grant.session_id))
    assert counted.made_ids == ["room", "participant"]
    assert counted.asked_to == [
        ("force_disconnect", "ada", ("room 1", "participant 2")),
        ("disconnect_actor", "ben", ("room 1", "")),
        ("end_session", ("room 1", "")),
    ]


@pytest.mark.parametrize("answer", [7, b"7", "7" * 1_001])
def test_an_id_that_is_none_is_not_remembered(make_kit, counted, answer):
    counted.answer = answer
    kit = make_kit(media=counted)
    grant = granted(kit)
    with pytest.raises(PolicyFault, match=r"'hosted' failed: what create_room returned is .*; expected an id"):
        kit.ticket(grant)
    counted.answer = None
    assert kit.ticket(grant).token == "room 2 and participant 3"


def test_a_service_whose_method_does_not_take_the_ids_is_told_so(make_kit, counted):
    kit = make_kit(media=counted)
    with pytest.raises(PolicyFault, match=r"other arguments than \(session_id, stream_id, ids\), by position"):
        kit.mute_stream(granted(kit).session_id, "7")


FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "no ticket": ("token", PolicyFault, "'hosted' failed: what ask_ticket returned is a text"),
    "an exception": (ValueError("secret"), PolicyFault, "'hosted' failed: it raised ValueError"),
    "one of the kit's": (Unavailable("no connection could be made"), Unavailable, "no connection"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_service_that_fails_gives_no_ticket(make_kit, trail, name):
    answer, error, message = FAULTS[name]
    kit = make_kit(media=Hosted(answer), plugins=[trail])
    with pytest.raises(error, match=message) as refused:
        kit.ticket(granted(kit))
    assert "secret" not in str(refused.value)
    assert isinstance(trail.events[-1], TicketRefused)


@pytest.mark.parametrize("way", TAKEN_BACK)
def test_for_a_grant_that_was_taken_back_nothing_is_asked_of_the_service(make_kit, way):
    take_back, error = TAKEN_BACK[way]
    backend = Hosted(PolicyFault("the service was asked"))
    kit = make_kit(media=backend)
    grant = granted(kit)
    take_back(kit, grant)
    with pytest.raises(error):
        kit.ticket(grant)


def test_whoever_is_excluded_while_the_service_is_asked_gets_no_ticket(make_kit):
    class Slow(Hosted):
        async def ask_ticket(self, place: Place) -> Any:
            app.exclude(place.session_id, place.identity)
            return await super().ask_ticket(place)

    app: Rolecall = make_kit(media=Slow())
    with pytest.raises(RevokedToken):
        app.ticket(granted(app))


def test_a_place_that_cannot_be_taken_back_is_logged_and_the_reason_stays(make_kit, counted, caplog):
    class Failing(Counted):
        async def ask_ticket(self, place: Place) -> Any:
            app.exclude(place.session_id, place.identity)
            return await super().ask_ticket(place)

        async def disconnect_actor(self, session_id: str, actor_id: str, ids: ServiceIds) -> None:
            raise Unavailable("no connection could be made")

    app: Rolecall = make_kit(media=Failing())
    with pytest.raises(RevokedToken):
        app.ticket(granted(app))
    assert "a ticket was refused, and hosted has not taken back the place in the room" in caplog.text


def test_a_service_that_mints_its_tokens_itself_is_no_format(make_kit):
    with pytest.raises(ConfigurationError, match="'hosted' does not exist"):
        make_kit(media=Hosted(), format="hosted")


# -- explanations ----------------------------------------------------------------------------------


def steps_of(explanation: Any) -> list[tuple[str, str]]:
    return [(step.name, step.outcome) for step in explanation.steps]


def test_a_ticket_is_explained_and_not_issued(kit, trail):
    session = kit.create_session()
    token = session.generate_token("subscriber", actor="ada")
    told = len(trail.events)
    explained = kit.explain_ticket(token, session_id=session)
    assert (explained.subject, explained.allowed, explained.code) == ("ticket", True, None)
    assert steps_of(explained)[-3:] == [("role", "ok"), ("media service", "ok"), ("ticket", "ok")]
    assert "for 'ada' as subscriber, until " in explained.trace
    assert len(trail.events) == told
    assert asyncio.run(kit.aio.explain_ticket(token)) == explained._replace(
        steps=tuple(step for step in explained.steps if step.name != "session")
    )


def test_why_there_is_no_ticket_is_said_at_its_step(make_kit, kit):
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    named = {
        "identity": kit.explain_ticket(session.generate_token()),
        "media service": make_kit().explain_ticket(token),
        "session": kit.explain_ticket(token, session_id="1_another"),
    }
    wider = make_kit(media=Everyone("wss://media.example"))
    named["role held"] = wider.explain_ticket(wider.create_session().generate_token("subscriber", actor="ada"))
    kit.revoke_token(token)
    named["session open"] = kit.explain_ticket(token)
    assert {name: steps_of(one)[-1] for name, one in named.items()} == {name: (name, "refused") for name in named}


def test_policies_are_asked_about_a_request_and_narrow_what_is_explained(make_kit):
    class Narrow:
        @hookimpl
        def rolecall_vote_access(self, request: Any) -> Any:
            return Allow(capabilities={"connect", "publish", "signal"}) if request.dry_run else Deny("in earnest")

    kit = make_kit(media=livekit(), plugins=[Narrow()])
    token = kit.create_session().generate_token("publisher", actor="ada")
    explained = kit.explain_ticket(token, http=Request("POST", "/x"))
    assert explained.allowed
    assert "as publisheronly with connect+publish+signal" in explained.trace.splitlines()[-1]


def test_the_log_of_decisions_has_the_steps_of_a_ticket(make_kit, caplog):
    kit = make_kit(media=livekit(), trace=True)
    grant = kit.verify_token(kit.create_session().generate_token(actor="ada"))
    with caplog.at_level("INFO", "rolecall.trace"):
        kit.ticket(grant)
    [line] = [json.loads(record.getMessage()) for record in caplog.records]
    assert (line["subject"], [step["step"] for step in line["steps"]]) == ("ticket", ["media service", "ticket"])
