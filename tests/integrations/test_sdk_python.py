"""The ``opentok`` package beside the kit: its tokens verify here, and ours are what it would have minted."""

from __future__ import annotations

import time
from base64 import b64decode
from urllib.parse import parse_qsl

import jwt
import pytest
from opentok import Client, OpenTokException, Roles

from rolecall import InvalidToken

pytestmark = pytest.mark.sdk

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROLES = [role.value for role in Roles]


@pytest.fixture
def kit(make_kit):
    return make_kit(clock=time.time, accept=["opentok", "t1"])


@pytest.fixture(params=["relayed", "routed", "with a location"])
def session(request, kit):
    if request.param == "with a location":
        return kit.create_session("2001:db8::7", "routed")
    return kit.create_session(media_mode=request.param)


@pytest.fixture
def sdk():
    return Client(KEY, SECRET)


@pytest.fixture(params=[True, False], ids=["JWT", "T1"])
def use_jwt(request):
    return request.param


def test_its_roles_are_ours(kit):
    assert sorted(ROLES) == sorted(kit.roles)


@pytest.mark.parametrize("role", list(Roles), ids=lambda role: role.value)
def test_its_token_verifies_with_its_role(kit, session, sdk, use_jwt, role):
    grant = kit.verify_token(sdk.generate_token(session.session_id, role, use_jwt=use_jwt), session.session_id)
    assert (grant.role, grant.capabilities) == (role.value, kit.roles.get(role.value).capabilities)


@pytest.mark.parametrize("lifetime", [60, 3 * 3600, 86_400, 30 * 86_400 - 60])
def test_its_token_verifies_with_its_expiry(kit, session, sdk, use_jwt, lifetime):
    expire_time = int(time.time()) + lifetime
    token = sdk.generate_token(session.session_id, expire_time=expire_time, use_jwt=use_jwt)
    assert kit.verify_token(token).expires_at == expire_time


def test_its_token_lives_24_hours_by_default(kit, session, sdk, use_jwt):
    grant = kit.verify_token(sdk.generate_token(session.session_id, use_jwt=use_jwt))
    assert grant.expires_at - grant.issued_at == pytest.approx(86_400, abs=1)


@pytest.mark.parametrize(
    "data", ["name=Ann", "Zoë & Jürgen", '{"a": "b+c%20d"}', "=&+%", "\N{PILE OF POO}\r\n\t", " ", "x" * 1000]
)
def test_its_token_verifies_with_its_data(kit, session, sdk, use_jwt, data):
    assert kit.verify_token(sdk.generate_token(session.session_id, data=data, use_jwt=use_jwt)).data == data


@pytest.mark.parametrize("layout", [[], ["focus"], ["focus", "small"]])
def test_its_token_verifies_with_its_layout(kit, session, sdk, use_jwt, layout):
    token = sdk.generate_token(session.session_id, initial_layout_class_list=layout, use_jwt=use_jwt)
    assert kit.verify_token(token).layout == tuple(layout)


def test_its_token_is_refused_for_another_session(kit, session, sdk, use_jwt):
    token = sdk.generate_token(session.session_id, use_jwt=use_jwt)
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(token, kit.create_session().session_id)
    assert refused.value.code == "wrong_session"


def test_its_token_is_refused_once_the_session_has_ended(kit, session, sdk, use_jwt):
    token = sdk.generate_token(session.session_id, use_jwt=use_jwt)
    kit.end_session(session.session_id)
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(token)
    assert refused.value.code == "revoked_token"


def test_its_token_of_another_secret_is_refused(kit, session, use_jwt):
    token = Client(KEY, SECRET[::-1]).generate_token(session.session_id, use_jwt=use_jwt)
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(token)
    assert refused.value.code == "bad_signature"


def test_its_credential_for_rest_is_no_token(kit, sdk):
    with pytest.raises(InvalidToken) as refused:
        kit.verify_token(sdk._create_jwt_auth_header())
    assert refused.value.code == "wrong_token_kind"


def decoded(token: str) -> dict:
    return jwt.decode(token, SECRET, algorithms=["HS256"], issuer=KEY, options={"require": ["exp", "iat"]})


@pytest.mark.parametrize("role", ROLES)
def test_our_token_is_read_by_pyjwt(kit, session, role):
    expire_time = int(time.time()) + 60
    claims = decoded(session.generate_token(role, expire_time, "Zoë", ["focus", "small"]))
    assert (claims["session_id"], claims["role"], claims["scope"]) == (session.session_id, role, "session.connect")
    assert (claims["exp"], claims["connection_data"]) == (expire_time, "Zoë")
    assert (claims["initial_layout_class_list"], claims["ist"]) == ("focus small", "project")


@pytest.mark.parametrize("data", [None, "Ann"])
def test_our_token_says_what_its_token_says(session, sdk, data):
    """The same claims of the same types; the ``jti`` is ours alone, and an empty layout is left out by both."""
    expire_time = int(time.time()) + 60
    ours = session.generate_token("moderator", expire_time, data)
    theirs = sdk.generate_token(session.session_id, Roles.moderator, expire_time, data)
    ours_read, theirs_read = decoded(ours), decoded(theirs)
    ours_read.pop("jti")
    theirs_read = {name: value for name, value in theirs_read.items() if value not in ("", None)}
    assert {name: type(value) for name, value in ours_read.items()} == {
        name: type(value) for name, value in theirs_read.items()
    }
    varying = ("nonce", "iat")
    assert {n: v for n, v in ours_read.items() if n not in varying} == {
        n: v for n, v in theirs_read.items() if n not in varying
    }
    assert jwt.get_unverified_header(ours) == jwt.get_unverified_header(theirs)


def test_our_t1_token_has_its_fields_in_its_order(make_kit, session, sdk):
    def names(token):
        return [name for name, _ in parse_qsl(b64decode(token[4:]).decode().partition(":")[2], True)]

    ours = make_kit(format="t1", clock=time.time).generate_token(session.session_id, data="Ann")
    theirs = sdk.generate_token(session.session_id, data="Ann", use_jwt=False)
    assert names(ours) == names(theirs)


def test_it_finds_our_api_key_in_our_session_ids(kit, session):
    with pytest.raises(OpenTokException, match="does not belong to the api_key"):
        Client("654321", SECRET).generate_token(session.session_id)
