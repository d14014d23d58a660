"""Several projects in one kit: each session and each token is of one of them, and of no other."""

from __future__ import annotations

import base64
import hmac
import json
from functools import cache
from traceback import TracebackException

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rolecall import Rolecall, RolecallError, hookimpl
from rolecall.driver import drive
from rolecall.errors import (
    BadSignature,
    ConfigurationError,
    InvalidClaim,
    InvalidKey,
    InvalidSessionId,
    InvalidSessionOption,
    MalformedToken,
    PolicyFault,
    UnknownKey,
)
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.respond import respond
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.request import Request
from rolecall.session_ids import OpenTokIds
from rolecall.sessions import MediaMode

NOW = 1_795_186_800.0
FIRST, SECOND = (
    ("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"),
    ("654321", "second-secret-of-forty-two-characters-x42"),
)
THIRD = ("777777", "a-third-secret-that-no-kit-of-this-file-has")

APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"


@cache
def private_pem() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def kit_of(first=FIRST, *further, **options) -> Rolecall:
    return Rolecall(*first, projects=dict(further), clock=lambda: NOW, entry_points=False, **options)


@pytest.fixture
def kit() -> Rolecall:
    return kit_of(FIRST, SECOND, accept=["opentok", "t1"])


def key_in(session_id: str) -> str:
    encoded = session_id[2:]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode().split("~")[1]


@pytest.mark.parametrize("form", ["opentok", "t1"])
@pytest.mark.parametrize("project", [FIRST, SECOND])
def test_a_token_is_of_the_project_of_its_session(form, project):
    kit = kit_of(FIRST, SECOND, format=form)
    session = kit.create_session(api_key=project[0])
    token = session.generate_token("moderator", data="name=Ada")

    assert key_in(session.session_id) == session.api_key == project[0]
    assert kit.verify_token(token, session.session_id).data == "name=Ada"
    assert kit_of(project, accept=["opentok", "t1"]).verify_token(token).session_id == session.session_id
    other = kit_of(FIRST if project is SECOND else SECOND, accept=["opentok", "t1"])
    with pytest.raises((BadSignature, UnknownKey)):
        other.verify_token(token)


def test_a_session_is_of_the_first_project_unless_it_is_said(kit):
    assert key_in(kit.create_session().session_id) == kit.api_key == FIRST[0]


def test_a_session_of_a_project_that_the_kit_has_not_is_refused(kit):
    with pytest.raises(InvalidSessionOption, match=r"api_key is '777777'; expected one of the kit's, see kit.api_keys"):
        kit.create_session(api_key=THIRD[0])


@pytest.mark.parametrize("form", ["opentok", "t1"])
def test_a_project_signs_for_no_session_of_another(kit, form):
    theirs = kit.create_session(api_key=SECOND[0]).session_id
    alone = kit_of(FIRST, format=form)
    token = alone.generate_token(alone.create_session().session_id)
    forged = _with_session(token, theirs, FIRST[1]) if form == "opentok" else None
    if forged is None:
        # T1 does not sign whose it is: a kit of the other key, with the first one's secret, mints what it would.
        forged = kit_of((SECOND[0], FIRST[1]), format="t1").generate_token(
            OpenTokIds(Issuer(SECOND[0], KeyRing([HMACKey(FIRST[1])]))).make(MediaMode.RELAYED, NOW)
        )
    with pytest.raises((InvalidClaim, BadSignature)):
        kit.verify_token(forged)


def _with_session(token: str, session_id: str, secret: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims | {"session_id": session_id}, secret, "HS256")


def test_one_secret_for_two_projects_does_not_join_them():
    kit = kit_of(FIRST, (SECOND[0], FIRST[1]), format="t1")
    token = kit.create_session(api_key=SECOND[0]).generate_token()
    envelope = base64.b64decode(token[4:]).replace(b"partner_id=654321", b"partner_id=123456")
    turned = "T1==" + base64.b64encode(envelope).decode()
    assert kit.verify_token(token)
    with pytest.raises(InvalidClaim, match="not one of the project"):
        kit.verify_token(turned)


@pytest.mark.parametrize("form", ["opentok", "t1"])
def test_an_unknown_project_is_refused(kit, form):
    token = kit_of(THIRD, format=form).create_session().generate_token()
    with pytest.raises((BadSignature, UnknownKey)):
        kit.verify_token(token)


def test_an_id_of_one_project_has_no_tag_of_another(kit):
    made_up = OpenTokIds(Issuer(SECOND[0], KeyRing([HMACKey(FIRST[1])]))).make(MediaMode.RELAYED, NOW)
    with pytest.raises(InvalidSessionId, match="its tag does not fit"):
        kit.generate_token(made_up)


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "T1==", "T1==AAAA", "e30.e30.", "x" * 16_384])
def test_garbage_is_refused_as_ever(kit, token):
    with pytest.raises(RolecallError) as caught:
        kit.verify_token(token)
    assert caught.value.status == 401


def test_the_issuer_is_read_at_the_top_alone(kit):
    session = kit.create_session()
    claims = jwt.decode(session.generate_token(), options={"verify_signature": False})
    token = jwt.encode({"user": {"iss": SECOND[0]}, **claims}, FIRST[1], "HS256")
    assert kit.verify_token(token).session_id == session.session_id


def test_a_plugin_creates_sessions_of_the_project_asked_for_alone():
    class Elsewhere:
        @hookimpl
        def rolecall_create_session(self, request):
            return kit.engine.state.session_ids.make(MediaMode.RELAYED, NOW, answered or request.api_key)

    kit = kit_of(FIRST, SECOND, plugins=[Elsewhere()])
    answered = ""
    assert key_in(kit.create_session(api_key=SECOND[0]).session_id) == SECOND[0]
    answered = FIRST[0]
    with pytest.raises(PolicyFault, match="another project"):
        kit.create_session(api_key=SECOND[0])


def test_the_environment_names_further_projects():
    environ = {
        "ROLECALL_API_KEY": FIRST[0],
        "ROLECALL_API_SECRET": FIRST[1],
        "ROLECALL_PROJECTS": json.dumps(dict([SECOND])),
    }
    kit = Rolecall.from_env(environ, entry_points=False)
    assert key_in(kit.create_session(api_key=SECOND[0]).session_id) == SECOND[0]
    for wrong in ("654321=secret", '["654321"]', '{"a":"b","a":"c"}'):
        with pytest.raises(ConfigurationError, match="ROLECALL_PROJECTS") as caught:
            Rolecall.from_env(environ | {"ROLECALL_PROJECTS": wrong}, entry_points=False)
        assert "654321" not in str(caught.value)


@pytest.mark.parametrize(
    ("projects", "message"),
    [
        ([SECOND], "a mapping from API keys"),
        ({"654321": "short"}, "projects, number 1: the secret has 5 bytes"),
        ({SECOND[1]: "654321"}, "projects, number 1: the secret has 6 bytes"),
        ({654321: SECOND[1]}, "projects, number 1: api_key is of type int"),
        ({FIRST[0]: SECOND[1]}, "the kit's own api_key"),
        ({"654321": None}, "projects, number 1: the project's api_secret is missing"),
    ],
)
def test_what_is_no_project_stops_start_up_and_shows_no_secret(projects, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        Rolecall(*FIRST, projects=projects)
    assert SECOND[1] not in str(caught.value)


def test_no_frame_of_a_refusal_holds_a_secret():
    with pytest.raises(ConfigurationError) as caught:
        Rolecall(*FIRST, projects={SECOND[0]: SECOND[1], "a b": THIRD[1]})
    assert caught.value.__traceback__ is not None
    seen, traceback = [], caught.value.__traceback__.tb_next
    while traceback is not None:
        seen.append(repr(traceback.tb_frame.f_locals))
        traceback = traceback.tb_next
    assert len(seen) >= 3
    assert not any(secret in "".join(seen) for secret in (FIRST[1], SECOND[1], THIRD[1]))


def test_further_projects_need_a_first_one():
    with pytest.raises(ConfigurationError, match="projects are further ones: pass the first project"):
        Rolecall(projects=dict([SECOND]), application_id=APPLICATION, private_key=private_pem())


def test_a_weak_secret_of_a_further_project_is_refused():
    with pytest.raises(InvalidKey, match="publicly known, or repeats"):
        kit_of(FIRST, ("654321", "ab" * 20))


class TestWithAnApplication:
    @pytest.fixture
    def credentials(self):
        return {"application_id": APPLICATION, "private_key": private_pem()}

    def test_its_tokens_are_for_sessions_of_the_first_project(self, credentials):
        kit = kit_of(FIRST, SECOND, **credentials)
        alone = Rolecall(**credentials, clock=lambda: NOW, entry_points=False)
        first, second = (kit.create_session(api_key=project[0]).session_id for project in (FIRST, SECOND))
        claims = jwt.decode(
            alone.generate_token(alone.create_session().session_id), options={"verify_signature": False}
        )
        good, bad = (
            jwt.encode(claims | {"session_id": one}, credentials["private_key"], "RS256") for one in (first, second)
        )
        assert kit.verify_token(good).session_id == first
        with pytest.raises(InvalidClaim):
            kit.verify_token(bad)

    def test_it_mints_for_no_kit_of_several_projects(self, credentials):
        with pytest.raises(ConfigurationError, match="one issuer alone"):
            kit_of(FIRST, SECOND, format="vonage", **credentials)


class TestWhatReachesForAnotherProject:
    """A server of one project, with a good credential of its own."""

    @pytest.fixture
    def witness(self):
        class Witness:
            def __init__(self):
                self.told = []

            @hookimpl
            def rolecall_on_event(self, event):
                self.told.append((event.name, getattr(event, "code", None)))

            @hookimpl
            def rolecall_media_service(self, request):
                raise AssertionError("nobody may get so far")

        return Witness()

    @pytest.fixture
    def kit(self, witness):
        return kit_of(FIRST, SECOND, plugins=[witness])

    @pytest.mark.parametrize("reach", ["for a session", "by a path", "by both", "in a form"])
    def test_it_is_refused_and_the_plugins_are_told(self, kit, witness, reach):
        session_id = kit.create_session().session_id
        claims = {"iss": SECOND[0], "ist": "project", "iat": NOW, "exp": NOW + 60}
        headers = {"x-opentok-auth": jwt.encode(claims, SECOND[1], "HS256")}
        if reach == "in a form":
            path, body = "/session/create", f"api_key={FIRST[0]}".encode()
            headers["content-type"] = "application/x-www-form-urlencoded"
        else:
            key = SECOND[0] if reach == "for a session" else FIRST[0]
            session_id = session_id if reach != "by a path" else kit.create_session(api_key=SECOND[0]).session_id
            path, body = f"/v2/project/{key}/session/{session_id}/mute", b""
        witness.told.clear()
        found = find_route(ROUTES, path)
        assert found is not None
        route, params = found
        answer = drive(respond(kit.api, route, Request("POST", path, params, headers, body)))
        assert answer.status == 403
        assert witness.told == [("access_refused", "invalid_server_credential")]


@pytest.mark.parametrize("name", ["iss", "application_id", "ist", "sub", "aud", "jti", "acl", "partner_id"])
def test_a_t1_token_says_nowhere_else_whose_it_is(kit, name):
    data = f"session_id={kit.create_session().session_id}&create_time={NOW:.0f}&role=moderator&{name}={SECOND[0]}"
    signature = hmac.digest(FIRST[1].encode(), data.encode(), "sha1").hex()
    token = "T1==" + base64.b64encode(f"partner_id={FIRST[0]}&sig={signature}:{data}".encode()).decode()
    with pytest.raises(MalformedToken, match=f"a field '{name}', which T1 does not have"):
        kit.verify_token(token)


def test_the_kit_says_whose_a_session_is(kit):
    assert [kit.api_key_of(kit.create_session(api_key=key).session_id) for key in kit.api_keys] == [FIRST[0], SECOND[0]]
    with pytest.raises(InvalidSessionId):
        kit.api_key_of("1_x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ROLECALL_PROJECTS": json.dumps(dict([SECOND]))[:-1] + ",}"},
        {"ROLECALL_TRACE": "maybe"},
        {"ROLECALL_PLUGIN_X": "{"},
        {"ROLECALL_ORIGINS": "*"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_no_frame_of_a_refused_environment_holds_a_secret(wrong):
    environ = {
        "ROLECALL_API_KEY": FIRST[0],
        "ROLECALL_API_SECRET": FIRST[1],
        "ROLECALL_PROJECTS": json.dumps(dict([SECOND])),
        **wrong,
    }
    with pytest.raises(ConfigurationError) as caught:
        Rolecall.from_env(environ)
    told = TracebackException.from_exception(caught.value, capture_locals=True)
    within = [frame for frame in told.stack if "test_projects" not in frame.filename]
    assert within
    assert not any(secret in str(frame.locals) for frame in within for secret in (FIRST[1], SECOND[1]))
    assert told.__context__ is None or told.__suppress_context__ or SECOND[1] not in str(told.__context__.stack)
