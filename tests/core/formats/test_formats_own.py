"""The kit's own token: what is minted, who else can read it, and what is refused though our own key signed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from rolecall import (
    Actor,
    Allow,
    Capability,
    ConfigurationError,
    InvalidToken,
    PluginError,
    Request,
    Role,
    Rolecall,
    RolecallError,
    hookimpl,
    inspect_token,
)
from rolecall.driver import drive
from rolecall.encoding import base64url
from rolecall.http.api.keys import KEY_ROUTES
from rolecall.http.api.rest import ROUTES
from rolecall.http.respond import respond
from rolecall.keys.jwk import thumbprint

from ...own_tokens import ALGORITHMS, ISSUER, issuing, jwks, pem, private

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ring_vectors.json").read_text("utf-8"))
SECRET = "Xy7!secret-secret-secret-secret-Zq9"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
NOW = 1_800_000_000
HOST = Role("host", ["connect", "subscribe", "publish", "signal", "force_unpublish"], "publisher")
ROLES = {
    "subscriber": "connect subscribe",
    "publisheronly": "connect publish",
    "publisher": "connect publish signal subscribe",
    "moderator": "connect force_disconnect force_unpublish publish signal subscribe",
    "host": "connect force_unpublish publish signal subscribe",
}


class Hosts:
    """Has a role of its own, knows everybody as Zoë, and leaves no signals to those who ask for data."""

    @hookimpl
    def rolecall_register_roles(self):
        return [HOST]

    @hookimpl
    def rolecall_identify(self, request):
        return Actor("Zoë")

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow() if request.data is None else Allow(capabilities=request.role.capabilities - {Capability.SIGNAL})

    @hookimpl
    def rolecall_token_claims(self, request):
        return {"class": {"room": "5a"}} if request.data else None


@pytest.fixture(params=ALGORITHMS)
def kit(request):
    with issuing(request.param, plugins=[Hosts()], clock=lambda: NOW, audience="rooms") as made:
        yield made


@pytest.fixture(scope="module")
def plain():
    with issuing(clock=lambda: NOW) as made:
        yield made


def claims_of(token: str) -> dict[str, Any]:
    return inspect_token(token).as_dict()["claims"]


def signed(claims: dict[str, Any], **header: Any) -> str:
    """A token of our own key, with these claims and the usual header but for what is given."""
    kid = thumbprint(jwks(PLAIN)["keys"][0])
    head = {"alg": "ES256", "typ": "rolecall+jwt", "kid": kid, **header}
    return jwt.encode(claims, private("ES256"), "ES256", headers=head)


PLAIN = issuing()
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "sid": "1_x",
    "role": "publisher",
    "scope": "connect publish signal subscribe",
    "iat": NOW,
    "exp": NOW + 3600,
    "jti": "f00d",
}


# -- what is minted --------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "scope"), ROLES.items())
def test_a_token_says_for_which_session_role_and_acts_it_is(kit, role, scope):
    session = kit.create_session()
    token = session.generate_token(role, NOW + 60, initial_layout_class_list=["focus"])
    claims = claims_of(token)
    jti = claims.pop("jti")
    expected = {"iss": ISSUER, "aud": "rooms", "sid": session.session_id, "role": role, "scope": scope}
    assert claims == {**expected, "iat": NOW, "exp": NOW + 60, "initial_layout_class_list": "focus"}
    grant = kit.verify_token(token, session.session_id)
    assert (grant.role, grant.token_id, grant.expires_at, grant.layout) == (role, jti, NOW + 60, ("focus",))
    assert " ".join(sorted(grant.capabilities)) == scope
    assert grant.claims["sid"] == session.session_id


def test_actor_narrowed_rights_data_and_claims_of_plugins_travel_with_it(kit):
    session = kit.create_session()
    route = next(route for route in ROUTES if route.name == "tokens")
    body = json.dumps({"role": "host", "data": 'Zoë "Z"'}).encode()
    headers = {"content-type": "application/json"}
    asked = Request("POST", "/", {"session_id": session.session_id}, headers, body)
    grant = kit.verify_token(json.loads(drive(respond(kit.api, route, asked)).body)["token"])
    assert (grant.role, grant.data, grant.claims["sub"], grant.actor_id) == ("subscriber", 'Zoë "Z"', "Zoë", "Zoë")
    assert grant.claims["scope"] == ROLES["subscriber"]
    assert grant.capabilities == HOST.capabilities - {Capability.SIGNAL}
    assert grant.claims["class"]["room"] == "5a"


def test_the_header_names_the_key_by_its_thumbprint(kit):
    (key,) = jwks(kit)["keys"]
    header = dict(inspect_token(kit.create_session().generate_token()).header)
    assert header == {"alg": key["alg"], "typ": "rolecall+jwt", "kid": thumbprint(key)}
    assert key["use"] == "sig"
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)


def test_the_thumbprints_are_those_of_the_standard():
    for ring in VECTORS["rings"]:
        for key in ring["keys"]:
            assert thumbprint(key["public_jwk"]) == key["kid"]


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "sid", "role", "scope", "jti", "exp", "connection_data"])
def test_no_plugin_sets_a_claim_of_the_kit(name):
    class Claims:
        @hookimpl
        def rolecall_token_claims(self, request):
            return {name: "x"}

    with issuing(plugins=[Claims()]) as made, pytest.raises(RolecallError):
        made.create_session().generate_token()


# -- who else can read it --------------------------------------------------------------------------


def test_pyjwt_reads_it_and_refuses_what_was_changed(kit):
    (key,) = jwks(kit)["keys"]
    token = kit.create_session().generate_token("moderator")
    asked: dict[str, Any] = {"algorithms": [key["alg"]], "issuer": ISSUER, "audience": "rooms"}
    asked["options"] = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, jwt.PyJWK(key), **asked) == claims_of(token)
    head, payload, signature = token.split(".")
    changed = base64url.encode(base64url.decode(payload.encode()).replace(b"moderator", b"publisher")).decode()
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{head}.{changed}.{signature}", jwt.PyJWK(key), **asked)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_joserfc_reads_it(kit):
    (key,) = jwks(kit)["keys"]
    token = kit.create_session().generate_token()
    known = joserfc_jwk.KeySet.import_key_set(jwks(kit))  # type: ignore[arg-type]
    assert joserfc_jwt.decode(token, known, algorithms=[key["alg"]]).claims == claims_of(token)


def test_what_pyjwt_signs_with_the_same_key_is_read(plain):
    assert plain.verify_token(signed(GOOD)).role == "publisher"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("ring", VECTORS["rings"], ids=lambda ring: ring["alg"])
def test_what_comes_of_the_vectors(ring):
    """Where either is right: 10 seconds of leeway, no ``aud`` that was not set, Ed25519 by both names."""
    wrong = []
    for case in [*ring["tokens"], *ring["sets"]]:
        answer = _answer(case.get("jwks", ring["jwks"]), case["token"])
        expected = case["expect"] if case["expect"] != "either" else answer.partition(" ")[0]
        if not answer.startswith(expected) or (case.get("code") or "") not in answer:
            wrong.append((case["name"], answer))
    assert wrong == []


def _answer(keys: dict[str, Any], token: str) -> str:
    try:
        with Rolecall.verifier(keys, issuer=VECTORS["issuer"], clock=lambda: VECTORS["now"]) as verifier:
            verifier.verify_token(token)
    except (InvalidToken, ConfigurationError) as error:
        return f"refuse {error.code}"
    return "accept"


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "connect publish publish"},
        {"scope": "connect  publish"},
        {"scope": " connect"},
        {"scope": ""},
        {"scope": "connect Publish"},
        {"scope": "connect rule"},
        {"scope": "connect force_disconnect"},
        {"scope": None},
        {"scope": "session.connect"},
        {"role": "Publisher"},
        {"role": "host"},
        {"aud": "rooms"},
        {"aud": []},
        {"aud": None},
        {"sub": ""},
        {"sub": "a\x00"},
        {"sub": "a" * 256},
        {"sub": "Zoe\u0308"},
        {"jti": ""},
        {"sid": ""},
        {"sid": 7},
        {"iat": None},
        {"connection_data": 7},
        {"connection_data": "x" * 1001},
        {"nbf": NOW + 3600},
        {"nbf": True},
    ],
    ids=str,
)
def test_a_claim_that_cannot_be_meant_is_refused(changes, plain):
    with pytest.raises(InvalidToken):
        plain.verify_token(signed({**GOOD, **changes}))


@pytest.mark.parametrize("claim", ["iss", "sid", "role", "scope", "iat", "exp", "jti"])
def test_a_claim_that_is_missing_is_refused(claim, plain):
    with pytest.raises(InvalidToken):
        plain.verify_token(signed({name: value for name, value in GOOD.items() if name != claim}))


def test_an_audience_may_be_one_of_several(kit):
    (key,) = jwks(kit)["keys"]
    algorithm = key["alg"]
    header = {"alg": algorithm, "typ": "rolecall+jwt", "kid": key["kid"]}

    def with_audience(aud: Any) -> str:
        return jwt.encode({**GOOD, "aud": aud}, private(algorithm), algorithm, headers=header)

    assert kit.verify_token(with_audience(["others", "rooms"])).role == "publisher"
    for aud in ("others", ["others"], [], ["rooms", 7], "rooms ", 7):
        with pytest.raises(InvalidToken):
            kit.verify_token(with_audience(aud))


def test_each_format_refuses_the_tokens_of_each_other():
    """The same RSA key signs for an application and for an issuer, and a kit with a project reads all JWTs."""
    project: dict[str, Any] = {"api_key": "123456", "api_secret": SECRET}
    own: dict[str, Any] = {"issuer": ISSUER, "private_key": pem("RS256")}
    application: dict[str, Any] = {"application_id": APPLICATION, "private_key": pem("RS256")}
    with (
        Rolecall(**project, **own, format="jwt") as ours,
        Rolecall(**project, **application, format="vonage") as theirs,
        Rolecall(**project) as secret,
    ):
        session = ours.create_session()
        tokens = {
            "jwt": ours.generate_token(session),
            "vonage": theirs.generate_token(session),
            "opentok": secret.generate_token(session),
        }
        accepted = {
            name: {form for form, token in tokens.items() if _is_accepted(kit, token)}
            for name, kit in (("ours", ours), ("theirs", theirs), ("secret", secret))
        }
    assert accepted == {"ours": {"jwt", "opentok"}, "theirs": {"vonage", "opentok"}, "secret": {"opentok"}}


def _is_accepted(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except InvalidToken:
        return False
    return True


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issuer": None, "audience": "rooms"}, "issuer is missing"),
        ({"issuer": "video"}, "issuer is a text"),
        ({"issuer": "ftp://video.example"}, "issuer is a text"),
        ({"issuer": "https://u:S3cret@video.example"}, "issuer is a text"),
        ({"issuer": "https://video.example?S3cret"}, "issuer is a text"),
        ({"issuer": f"https://{'v' * 100}.example"}, "100 characters"),
        ({"issuer": "https://video.example\n"}, "line end"),
        ({"issuer": 7}, "issuer is of type int"),
        ({"private_key": None}, "the issuer's private_key is missing"),
        ({"private_key": b"-----BEGIN PRIVATE KEY-----\nS3cret\n-----END PRIVATE KEY-----"}, "cannot be read"),
        ({"audience": ""}, "audience is ''"),
        ({"audience": ["rooms"]}, "audience is"),
        ({"application_id": APPLICATION}, "make two kits"),
        ({"format": "opentok"}, "needs an api_key"),
        ({"projects": {"654321": SECRET}}, "first project"),
    ],
)
def test_what_cannot_be_meant_stops_start_up(changes, says):
    with pytest.raises(ConfigurationError, match=says) as refusal:
        Rolecall(**{"issuer": ISSUER, "private_key": pem(), **changes})
    assert "S3cret" not in str(refusal.value)


def test_further_projects_need_another_format():
    project: dict[str, Any] = {"api_key": "123456", "api_secret": SECRET, "projects": {"654321": SECRET[::-1]}}
    with pytest.raises(ConfigurationError, match="leave out projects"):
        Rolecall(**project, issuer=ISSUER, private_key=pem(), format="jwt")


def test_a_published_key_stops_start_up():
    jwk = VECTORS["rings"][0]["keys"][0]["private_jwk"]
    text = joserfc_jwk.ECKey.import_key(jwk).as_pem(private=True)
    with pytest.raises((ConfigurationError, PluginError), match="publicly known"):
        Rolecall(issuer=ISSUER, private_key=text)


def test_it_comes_from_the_environment(tmp_path):
    file = tmp_path / "issuer.pem"
    file.write_bytes(pem())
    environ = {"ROLECALL_ISSUER": ISSUER, "ROLECALL_PRIVATE_KEY": str(file), "ROLECALL_AUDIENCE": "rooms"}
    with Rolecall.from_env(environ) as made:
        assert claims_of(made.create_session().generate_token())["aud"] == "rooms"


# -- the route -------------------------------------------------------------------------------------


def asked(kit: Rolecall, **headers: str) -> Any:
    return drive(respond(kit.api, KEY_ROUTES[0], Request("GET", "/jwks.json", headers=headers)))


def test_the_set_may_be_cached_and_is_not_sent_twice(plain):
    answer = asked(plain)
    headers = dict(answer.headers)
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "public, max-age=300")
    tag = headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = asked(plain, **{"if-none-match": known})
        assert (again.status, again.body, dict(again.headers)["ETag"]) == (304, b"", tag)
        assert "Content-Length" not in dict(again.framed_headers)
    for unknown in ('"other"', tag.strip('"'), ""):
        assert asked(plain, **{"if-none-match": unknown}) == answer


def test_with_a_secret_or_an_application_there_is_no_set():
    with (
        Rolecall("123456", SECRET) as secret,
        Rolecall(application_id=APPLICATION, private_key=pem("RS256")) as application,
    ):
        assert {asked(secret).status, asked(application).status} == {404}
