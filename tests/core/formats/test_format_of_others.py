"""A format as somebody else writes it, by docs/hooks/register-formats.md alone: tokens for a LiveKit server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jwt
import pytest

from rolecall import Actor, Allow, Capability, Role, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.encoding import strict_json
from rolecall.encoding.jws import Codec
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    InvalidClaim,
    InvalidExpireTime,
    InvalidRole,
    InvalidToken,
    MalformedToken,
    PluginError,
    PolicyDenied,
    PolicyFault,
    UnknownKey,
)
from rolecall.formats import TokenFormat
from rolecall.http.api.openapi import description
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.respond import respond
from rolecall.policies import AllowAnyone
from rolecall.request import Request

NOW = 1_795_186_800.0
FIRST, SECOND = ("123456", "7c1f0a6be2d94f58b3a1c5e8d7f60912"), ("654321", "0d9b1f6a7e3c48d2a5c6e1f7b8029d43")


# -- the format ------------------------------------------------------------------------------------


class LiveKitFormat(TokenFormat):
    """Tokens with LiveKit's video grants, HS256 with the secret of the API key that ``iss`` names."""

    reserved_claims = frozenset({"video", "name", "metadata", "attributes", "kind", "sip", "roomConfig", "sha256"})
    shortest_life = 60
    longest_life = 86_400

    def __init__(self, issuers, rules):
        self._codecs = {issuer.id: Codec(issuer) for issuer in issuers}
        self._first = issuers[0].id
        self._rules = rules

    @staticmethod
    def recognizes(token):
        return isinstance(unproved(token).get("video"), Mapping)

    @staticmethod
    def issuer_of(token):
        issuer = unproved(token).get("iss")
        return issuer if isinstance(issuer, str) else None

    def carries(self, role, capabilities):
        # One grant, roomAdmin, is for both acts of a moderator; and nobody does anything without a connection.
        disconnects, mutes = (Capability(name) in capabilities for name in ("force_disconnect", "force_unpublish"))
        return Capability.CONNECT in capabilities and disconnects == mutes

    def mint(self, options):
        token_id = os.urandom(16).hex()
        issuer = options.issuer or self._first
        claims: dict[str, Any] = {
            "iss": issuer,
            "sub": options.subject or f"guest-{token_id[:8]}",
            "nbf": options.issued_at,
            "exp": options.expires_at,
            "jti": token_id,
            "video": grants(options.session_id, options.capabilities),
            "attributes": {"role": options.role.wire_name},
        }
        if options.name:
            claims["name"] = options.name
        if options.data:
            claims["metadata"] = options.data
        claims.update(options.own_claims)
        return self._codecs[issuer].sign(json.dumps(claims, default=dict).encode()), token_id

    def verify(self, token, now):
        named = self.issuer_of(token)
        issuer = named if named in self._codecs else self._first
        try:
            claims = strict_json.loads(self._codecs[issuer].verify(token))
        except ValueError:
            raise MalformedToken("the token's payload is no JSON") from None
        if named != issuer:
            raise UnknownKey("the token's iss is none of this kit's API keys")
        video, attributes = claims.get("video"), claims.get("attributes")
        if not isinstance(video, Mapping) or not isinstance(attributes, Mapping):
            raise InvalidClaim("the token has no video grants, or no attributes")
        ours = {
            **claims,
            "session_id": video.get("room"),
            "role": attributes.get("role"),
            "iat": claims.get("nbf"),
            "connection_data": claims.get("metadata", ""),
        }
        grant = self._rules.grant(ours, now, claims.get("jti"), issuer)
        if dict(video) != grants(grant.session_id, grant.capabilities):
            raise InvalidClaim("the token's video grants are not those of its role")
        return grant


def grants(room: str, capabilities: frozenset[Capability]) -> dict[str, Any]:
    return {
        "room": room,
        "roomJoin": True,
        "canPublish": Capability.PUBLISH in capabilities,
        "canSubscribe": Capability.SUBSCRIBE in capabilities,
        "canPublishData": Capability.SIGNAL in capabilities,
        "roomAdmin": Capability.FORCE_DISCONNECT in capabilities,
    }


def unproved(token: bytes) -> Mapping[str, Any]:
    try:
        return TokenFormat.inspect(token).claims
    except MalformedToken:
        return {}


# -- what it comes to ------------------------------------------------------------------------------

HELPER = Role("helper", [*Role.PUBLISHER.capabilities, "force_disconnect"], wire_name="publisher")
GREETER = Role("greeter", ["connect", "subscribe", "signal"], wire_name="subscriber")


class LiveKit:
    """The plugin."""

    def __init__(self, claims: Mapping[str, Any] | None = None, vote: Any = None) -> None:
        self.claims = claims
        self.vote = vote

    @hookimpl
    def rolecall_register_formats(self):
        return {"livekit": LiveKitFormat}

    @hookimpl
    def rolecall_register_roles(self):
        return [HELPER, GREETER]

    @hookimpl
    def rolecall_token_claims(self, request):
        return self.claims

    @hookimpl
    def rolecall_vote_token(self, request):
        return self.vote

    @hookimpl
    def rolecall_identify(self, request):
        return Actor("auth0|123", {"name": "Zoë"})


def kit_of(plugin: Any = None, accept: tuple[str, ...] = ("livekit",), **options: Any) -> Rolecall:
    given: dict[str, Any] = {"format": "livekit", "accept": accept, "clock": lambda: NOW, "entry_points": False}
    return Rolecall(*FIRST, plugins=[plugin or LiveKit(), AllowAnyone("moderator")], **(given | options))


def read(token: str, secret: str = FIRST[1]) -> dict[str, Any]:
    return jwt.decode(token, secret, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False})


@pytest.fixture
def kit() -> Rolecall:
    return kit_of()


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator", "greeter"])
def test_a_role_is_minted_as_video_grants_and_read_back(kit, role):
    session = kit.create_session()
    token = session.generate_token(role, data="Ada")
    grant = kit.verify_token(token, session.session_id)
    assert (grant.role, grant.capabilities, grant.data) == (role, kit.roles.get(role).capabilities, "Ada")
    assert read(token)["video"] == grants(session.session_id, grant.capabilities)


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_livekits_own_verifier_takes_the_tokens(role):
    api = pytest.importorskip("livekit.api")
    kit = kit_of(clock=time.time)
    session = kit.create_session()
    claims = api.TokenVerifier(*FIRST).verify(session.generate_token(role, data="Ada"))
    can, video = kit.roles.get(role).capabilities.__contains__, claims.video
    assert (video.room, video.room_join, claims.metadata) == (session.session_id, True, "Ada")
    assert (video.can_publish, video.can_subscribe) == (can("publish"), can("subscribe"))
    assert (video.can_publish_data, video.room_admin) == (can("signal"), can("force_disconnect"))


def test_a_role_that_it_cannot_carry_is_not_minted(kit):
    session = kit.create_session()
    with pytest.raises(InvalidRole, match=r"'helper'.*subscriber, publisheronly, publisher, moderator, greeter"):
        session.generate_token("helper")
    explanation = kit.explain_token(session.session_id, "helper")
    assert (explanation.allowed, explanation.code) == (False, "invalid_role")
    assert post(kit, session.session_id, role="helper").status == 400


def test_what_policies_leave_is_not_minted_where_no_token_can_hold_it():
    kit = kit_of(LiveKit(vote=Allow(capabilities=["connect", "subscribe", "force_disconnect"])))
    with pytest.raises(PolicyDenied, match="no token of this kit's format"):
        kit.create_session().generate_token("moderator")


def test_what_policies_leave_is_minted_where_a_token_can_hold_it():
    kit = kit_of(LiveKit(vote=Allow(capabilities=["connect", "publish"])))
    token = kit.create_session().generate_token("moderator")
    assert kit.verify_token(token).capabilities == {"connect", "publish"}
    assert not read(token)["video"]["canSubscribe"]


@pytest.mark.parametrize("claim", ["video", "metadata", "sub", "rolecall_role"])
@pytest.mark.parametrize("minted", ["opentok", "livekit"])
def test_no_plugin_sets_a_claim_that_an_accepted_format_reserves(claim, minted):
    kit = kit_of(LiveKit(claims={claim: {"roomAdmin": True}}), accept=("opentok", "livekit"), format=minted)
    with pytest.raises(PolicyFault, match=f"claim '{claim}'"):
        kit.create_session().generate_token()


def test_where_the_format_is_not_accepted_its_claims_are_free():
    kit = kit_of(LiveKit(claims={"video": "on"}), accept=("opentok",), format="opentok")
    assert kit.verify_token(kit.create_session().generate_token()).claims["video"] == "on"


def test_further_claims_are_there(kit):
    kit = kit_of(LiveKit(claims={"group": ["a", {"b": 1}]}))
    assert read(kit.create_session().generate_token())["group"] == ["a", {"b": 1}]


@pytest.mark.parametrize("accept", [("opentok", "livekit"), ("livekit", "opentok"), ("t1", "livekit", "opentok")])
@pytest.mark.parametrize("minted", ["opentok", "livekit"])
def test_formats_tell_their_tokens_apart_whatever_their_order(accept, minted):
    kit = kit_of(accept=accept, format=minted)
    session_id = kit.create_session().session_id
    tokens = [kit.generate_token(session_id), kit_of(accept=accept, format=accept[-1]).generate_token(session_id)]
    assert [kit.verify_token(token, session_id).role for token in tokens] == ["publisher"] * 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"iss": "654321"}, UnknownKey),
        ({"video": {"roomJoin": True, "roomAdmin": True}}, InvalidClaim),
        ({"attributes": {"role": "moderator"}}, InvalidClaim),
        ({"exp": NOW - 60}, InvalidToken),
        ({"nbf": NOW + 60}, InvalidToken),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_token_that_says_something_else_is_refused(kit, change, error):
    claims = read(kit.create_session().generate_token())
    with pytest.raises(error):
        kit.verify_token(jwt.encode(claims | change, FIRST[1], "HS256"))
    with pytest.raises(BadSignature):
        kit.verify_token(jwt.encode(claims, SECOND[1], "HS256"))


def test_the_description_of_the_routes_says_what_it_can_hold(kit):
    document = description(ROUTES, "", kit.api)
    path = next(path for path in document["paths"] if path.endswith("/tokens"))
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body["role"]["enum"] == ["subscriber", "publisheronly", "publisher", "moderator", "greeter"]
    assert (body["expires_in"]["minimum"], body["expires_in"]["exclusiveMaximum"]) == (60, 86_401)
    assert "at most 24 hours from now" in body["expire_time"]["description"]


# -- the bounds of its life ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "message"), [(59, "less than 60 seconds away"), (86_401, "more than 24 hours away")], ids=str
)
def test_a_life_out_of_bounds_is_refused(kit, life, message):
    with pytest.raises(InvalidExpireTime, match=message):
        kit.create_session().generate_token(expire_time=timedelta(seconds=life))


@pytest.mark.parametrize("life", [60, 86_400, None])
def test_a_life_within_bounds_is_given(kit, life):
    expire_time = None if life is None else timedelta(seconds=life)
    token = kit.create_session().generate_token(expire_time=expire_time)
    assert kit.verify_token(token).expires_at == NOW + (life or 86_400)


@pytest.mark.parametrize("life", [60, 59])
def test_policies_shorten_a_life_to_the_shortest_and_no_further(life):
    kit = kit_of(LiveKit(vote=Allow(max_lifetime=life)))
    session = kit.create_session()
    if life == 60:
        assert kit.verify_token(session.generate_token()).expires_at == NOW + 60
        return
    with pytest.raises(PolicyDenied):
        session.generate_token()


def test_where_24_hours_are_too_long_or_too_short_the_nearest_is_given():
    for shortest, longest, life in ((60, 3600, 3600), (172_800, 259_200, 172_800)):
        kit = kit_of(
            registering(type("Bounded", (LiveKitFormat,), {"shortest_life": shortest, "longest_life": longest}))
        )
        assert kit.verify_token(kit.create_session().generate_token()).expires_at == NOW + life


# -- several projects, and who it is for -----------------------------------------------------------


def test_each_project_signs_for_its_own_sessions_alone():
    kit = kit_of(projects=dict([SECOND]))
    own, others = kit.create_session(), kit.create_session(api_key=SECOND[0])
    token = others.generate_token()
    assert read(token, SECOND[1])["iss"] == SECOND[0]
    assert kit.verify_token(token).session_id == others.session_id
    claims = read(token, SECOND[1])
    claims["video"]["room"] = own.session_id
    with pytest.raises(InvalidClaim, match="not one of the project"):
        kit.verify_token(jwt.encode(claims, SECOND[1], "HS256"))


def test_a_format_that_does_not_say_whose_a_token_is_reads_those_of_the_first_project_alone():
    class Forgetful(LiveKitFormat):
        def __init__(self, issuers, rules):
            super().__init__(issuers, rules)
            grant = rules.grant
            self._rules = type("Rules", (), {"grant": staticmethod(lambda *args: grant(*args[:3]))})

    kit = kit_of(registering(Forgetful), projects=dict([SECOND]))
    assert kit.verify_token(kit.create_session().generate_token())
    with pytest.raises(InvalidClaim, match="not one of the project"):
        kit.verify_token(kit.create_session(api_key=SECOND[0]).generate_token())


def post(kit: Rolecall, session_id: str, **body: Any) -> Any:
    found = find_route(ROUTES, f"/sessions/{session_id}/tokens")
    assert found is not None
    route, params = found
    headers = {"content-type": "application/json"}
    return drive(respond(kit.api, route, Request("POST", "/", params, headers, json.dumps(body).encode())))


def test_a_token_is_for_the_actor(kit):
    answer = post(kit, kit.create_session().session_id, role="publisher")
    claims = read(json.loads(answer.body)["token"])
    assert (claims["sub"], claims["name"]) == ("auth0|123", "Zoë")


def test_it_is_asked_each_time():
    seen = []

    class Noting(LiveKitFormat):
        def verify(self, token, now):
            seen.append(now)
            return super().verify(token, now)

    kit = kit_of(registering(Noting))
    token = kit.create_session().generate_token()
    for _ in range(4):
        kit.verify_token(token)
    assert len(seen) == 4


# -- classes that are no format --------------------------------------------------------------------


def registering(form: Any) -> Any:
    class Plugin(LiveKit):
        @hookimpl
        def rolecall_register_formats(self):
            return {"livekit": form}

    return Plugin()


class Lacking(TokenFormat):
    @staticmethod
    def recognizes(token):
        return False


def variant(**members: Any) -> type:
    return type("Variant", (LiveKitFormat,), members)


NONE = {
    "no class": (lambda issuers, rules: None, "derived from"),
    "another class": (Codec, "derived from"),
    "methods missing": (Lacking, "has no __init__, mint, verify"),
    "another need": (variant(needs="password"), "needs 'password'; expected 'secret' or 'private_key'"),
    "a list of claims": (variant(reserved_claims=["video"]), "expected a frozenset"),
    "claims that are no names": (variant(reserved_claims=frozenset({1})), "expected a frozenset"),
    "no life": (variant(shortest_life=0), "live 0 to 86400"),
    "a life upside down": (variant(shortest_life=100, longest_life=99), "live 100 to 99"),
    "too long a life": (variant(longest_life=2_592_001), "from 1 to 2592000"),
    "a life of another kind": (variant(longest_life=timedelta(days=1)), "live 60 to"),
}


@pytest.mark.parametrize(("form", "message"), NONE.values(), ids=NONE)
def test_a_class_that_is_no_format_stops_start_up(form, message):
    with pytest.raises(PluginError, match=message):
        kit_of(registering(form))


def test_a_format_that_needs_a_private_key_is_not_made_without_one():
    with pytest.raises(ConfigurationError, match="needs an application_id and a private_key"):
        kit_of(registering(variant(needs="private_key")))
