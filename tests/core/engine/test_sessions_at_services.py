"""Sessions that a media backend creates at its service, whose ids are the service's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rolecall import Rolecall, hookimpl
from rolecall.errors import ConfigurationError, InvalidSessionId, NotRenewable, PolicyFault, Unavailable
from rolecall.formats import TokenFormat
from rolecall.formats.claims import ClaimRules
from rolecall.formats.opentok import OpenTokFormat
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.media import MediaBackend
from rolecall.session_ids import OpenTokIds, key_in
from rolecall.sessions import MediaMode, SessionProperties

from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped

#: The project at the service, with a secret of its own.
THERE_SECRET = "a-secret-at-the-service-of-forty-characters"
THERE = Issuer("654321", KeyRing([HMACKey(THERE_SECRET)]))
FURTHER, FURTHER_SECRET = "987654", "second-secret-of-forty-two-characters-x42"
#: An id that a service made, without the tag of a kit: of project 654321, and of 123456.
UNTAGGED = "2_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"
OF_123456 = "2_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"


class Elsewhere(MediaBackend):
    """Creates sessions at a service, which answers what it is told to."""

    name = "elsewhere"
    creates_sessions = True

    def __init__(self, answer: Any = UNTAGGED) -> None:
        super().__init__("wss://media.example")
        self.answer = answer
        self.asked: list[tuple[SessionProperties, str]] = []

    @property
    def session_issuers(self) -> tuple[Issuer, ...]:
        return (THERE,)

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        return OpenTokFormat([THERE], rules)

    async def create_session(self, properties: SessionProperties, api_key: str) -> str:
        self.asked.append((properties, api_key))
        if isinstance(self.answer, Exception):
            raise self.answer
        return untyped(self.answer)


class Rooms:
    @hookimpl
    def rolecall_create_session(self, request):
        return OF_123456


def test_a_session_is_created_at_its_service_and_belongs_to_the_kit(make_kit):
    service = Elsewhere()
    kit: Rolecall = make_kit(media=service)
    session = kit.create_session(media_mode="routed", location="203.0.113.7")
    assert (session.session_id, session.media) == (UNTAGGED, "elsewhere")
    [(properties, api_key)] = service.asked
    assert (properties.media_mode, properties.location, api_key) == ("routed", "203.0.113.7", API_KEY)
    grant = kit.verify_token(session.generate_token("publisher", actor="ada"), UNTAGGED)
    assert kit.ticket(grant).room == UNTAGGED
    assert [one.session_id for one in kit.sessions().sessions] == [UNTAGGED]
    assert asyncio.run(kit.aio.get_session(UNTAGGED)).media == "elsewhere"


def test_the_tag_of_an_id_is_that_of_the_kit_at_the_service(make_kit, clock):
    made = OpenTokIds(THERE).make(MediaMode.RELAYED, clock())
    kit: Rolecall = make_kit(media=Elsewhere(made))
    assert kit.create_session().session_id == made
    forged = OpenTokIds(Issuer(THERE.id, KeyRing([HMACKey("another-secret-that-nobody-has-given-it")])))
    with pytest.raises(PolicyFault, match=r"'elsewhere' created a session that is not of this kit: .*tag does not fit"):
        make_kit(media=Elsewhere(forged.make(MediaMode.RELAYED, clock()))).create_session()


def test_without_the_service_its_ids_are_of_nobody(kit):
    with pytest.raises(InvalidSessionId, match="belongs to another API key"):
        kit.generate_token(UNTAGGED)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "what create_session returned is of type NoneType; expected the session's id"),
        (7, "what create_session returned is of type int"),
        ("physics-1", "created a session that is not of this kit: session_id is not well formed"),
        (RuntimeError("secret"), "'elsewhere' failed: it raised RuntimeError"),
    ],
)
def test_what_is_no_session_of_the_kit_is_refused(make_kit, answer, message):
    kit: Rolecall = make_kit(media=Elsewhere(answer))
    with pytest.raises(PolicyFault, match=message) as raised:
        kit.create_session()
    assert "secret" not in str(raised.value)
    assert list(kit.sessions().sessions) == []


def test_an_error_of_the_service_is_answered_unchanged(make_kit):
    error = Unavailable("the service is out of order")
    with pytest.raises(Unavailable) as raised:
        make_kit(media=Elsewhere(error)).create_session()
    assert raised.value is error


def test_plain_names_take_every_id(make_kit):
    assert make_kit(media=Elsewhere("physics-1"), session_names="plain").create_session().session_id == "physics-1"


def test_a_plugin_that_creates_sessions_is_asked_first(make_kit):
    service = Elsewhere()
    assert make_kit(media=service, plugins=[Rooms()]).create_session().session_id == OF_123456
    assert service.asked == []


def test_of_several_projects_each_has_its_own_sessions(make_kit):
    kit: Rolecall = make_kit(media=Elsewhere(), projects={FURTHER: FURTHER_SECRET})
    assert kit.create_session().session_id == UNTAGGED
    with pytest.raises(PolicyFault, match="it is of another project"):
        kit.create_session(api_key=FURTHER)
    shared: Rolecall = make_kit(media=Elsewhere(), projects={THERE.id: THERE_SECRET})
    assert shared.create_session(api_key=THERE.id).session_id == UNTAGGED
    with pytest.raises(PolicyFault, match="it is of another project"):
        shared.create_session()


def test_such_ids_show_no_age(make_kit):
    with pytest.raises(ConfigurationError, match="the media service 'elsewhere' makes others"):
        make_kit(media=Elsewhere(), max_session_age=3600)


@pytest.mark.parametrize("name", ["opentok", "vonage", "t1", "jwt"])
def test_a_service_never_takes_the_name_of_a_format(make_kit, name):
    service = type("Named", (Elsewhere,), {"name": name})()
    kit: Rolecall = make_kit(media=service)
    token = kit.create_session().generate_token("publisher")
    assert kit.engine.state.mint is kit.engine.state.formats["opentok"]
    assert kit.engine.state.mint.issuer_of(token.encode()) == API_KEY


def test_a_ticket_that_is_a_token_of_the_kit_is_not_renewed(make_kit):
    class Same(Elsewhere):
        @property
        def session_issuers(self) -> tuple[Issuer, ...]:
            return ()

        def token_format(self, rules: ClaimRules) -> TokenFormat:
            return OpenTokFormat([Issuer(API_KEY, kit_ring)], rules)

    kit_ring = KeyRing([HMACKey(API_SECRET)])
    kit: Rolecall = make_kit(media=Same(OF_123456))
    session = kit.create_session()
    ticket = kit.ticket(kit.verify_token(session.generate_token("publisher", actor="ada")))
    assert kit.verify_token(ticket.token).actor_id == "ada"
    with pytest.raises(NotRenewable):
        kit.renew_token(ticket.token)


@pytest.mark.parametrize(
    ("session_id", "key"), [(UNTAGGED, "654321"), (OF_123456, "123456"), ("physics-1", None), ("2_!", None)]
)
def test_an_id_names_its_key(session_id, key):
    assert key_in(session_id) == key
