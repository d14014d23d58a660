"""Revocation (RFC 7009) and introspection (RFC 7662): who may ask, what is answered, and what is never told."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
import pytest

from rolecall import InvalidToken, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.errors import RevokedToken, StoreUnavailable
from rolecall.formats.opentok import OpenTokFormat
from rolecall.http.api.oauth import OAUTH_ROUTES
from rolecall.http.messages import MAX_BODY, Response
from rolecall.http.respond import respond
from rolecall.keys import HMACKey, KeyRing
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore

from ... import own_tokens
from ...own_tokens import ISSUER, pem

NOW = 1_795_186_800.0
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"
#: A secret that a form writes in another way.
ODD_SECRET = "s3cret/+% :é&=" + "x" * 32
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
FORM = "application/x-www-form-urlencoded"
[REVOKE, INTROSPECT] = OAUTH_ROUTES
INACTIVE = b'{"active":false}'

Headers = dict[str, str]


@pytest.fixture
def kit(make_kit) -> Rolecall:
    return make_kit(accept=["opentok", "t1"], projects={OTHER_KEY: OTHER_SECRET})


@pytest.fixture
def token(kit) -> str:
    return kit.create_session().generate_token()


def basic(user: str = KEY, secret: str = SECRET) -> Headers:
    return {"authorization": f"Basic {b64encode(f'{user}:{secret}'.encode()).decode()}"}


def server(key: str = KEY, secret: str = SECRET, **claims: Any) -> Headers:
    payload = {"iss": key, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 180, **claims}
    return {"x-opentok-auth": jwt.encode(payload, secret, "HS256")}


def application(**claims: Any) -> Headers:
    payload = {"application_id": APPLICATION, "iat": int(NOW), "exp": int(NOW) + 180, **claims}
    return {"authorization": f"Bearer {jwt.encode(payload, own_tokens.private('RS256'), 'RS256')}"}


def ask(
    kit: Rolecall,
    body: str | bytes | dict[str, Any],
    headers: Headers | None = None,
    route: Any = INTROSPECT,
    media_type: str = FORM,
) -> Response:
    """The answer to a form."""
    sent = basic() if headers is None else headers
    text = urlencode(body) if isinstance(body, dict) else body
    data = text if isinstance(text, bytes) else text.encode()
    return drive(respond(kit.api, route, Request("POST", route.path, {}, {**sent, "content-type": media_type}, data)))


def told(kit: Rolecall, token: str, headers: Headers | None = None) -> dict[str, Any]:
    """What introspection tells of a token."""
    answer = ask(kit, {"token": token}, headers)
    assert answer.status == 200
    return json.loads(answer.body)


def error_of(answer: Response) -> str:
    """The error of an answer, which is in OAuth's form."""
    assert dict(answer.headers)["Content-Type"] == "application/json"
    assert dict(answer.headers)["Cache-Control"] == "no-store"
    said = json.loads(answer.body)
    assert set(said) == {"error", "error_description"}
    assert all(character in " !" or "#" <= character <= "~" for character in said["error_description"])
    assert "\\" not in said["error_description"]
    return said["error"]


def stands(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RevokedToken:
        return False
    return True


def both(test: Any) -> Any:
    return pytest.mark.parametrize("route", OAUTH_ROUTES, ids=lambda route: route.name)(test)


# -- the examples of the RFCs ------------------------------------------------------------------------


def test_the_example_of_rfc_7009(kit):
    # Section 2.1: with its own client's credential, and with one that is known here.
    body = "token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token"
    stranger = {"authorization": "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"}
    assert error_of(ask(kit, body, stranger, REVOKE)) == "invalid_client"
    answer = ask(kit, body, route=REVOKE)
    assert (answer.status, answer.body) == (200, b"")


def test_the_examples_of_rfc_7662(kit):
    # Section 2.1: by a bearer's token, and by a client's credential in HTTP Basic.
    bearer = {"authorization": "Bearer 23410913-abewfq.123483"}
    assert error_of(ask(kit, "token=2YotnFZFEjr1zCsicMWpAA", bearer)) == "invalid_client"
    answer = ask(kit, "token=mF_9.B5f-4.1JqM&token_type_hint=access_token")
    # Section 2.2: the answer about a token that is not active.
    assert (answer.status, json.loads(answer.body)) == (200, {"active": False})
    assert dict(answer.headers)["Content-Type"] == "application/json"


# -- who may ask -------------------------------------------------------------------------------------

#: The ways in which a server says who it is: headers, and fields of the form.
WAYS: dict[str, tuple[Headers, dict[str, str]]] = {
    "basic": (basic(), {}),
    "basic in small letters": ({"authorization": basic()["authorization"].replace("Basic", "basic")}, {}),
    "basic after two spaces": ({"authorization": basic()["authorization"].replace(" ", "  ")}, {}),
    "basic, and the id again": (basic(), {"client_id": KEY}),
    "in the form": ({}, {"client_id": KEY, "client_secret": SECRET}),
    "in the form, beside an empty header": ({"authorization": ""}, {"client_id": KEY, "client_secret": SECRET}),
    "basic, beside empty fields": (basic(), {"client_id": "", "client_secret": ""}),
    "a server's credential": (server(), {}),
    "a server's credential, and the id": (server(), {"client_id": KEY}),
    "a server's credential for once": (server(jti="once"), {}),
}


@both
@pytest.mark.parametrize("way", WAYS)
def test_a_server_of_a_project_may_ask(kit, token, route, way):
    headers, fields = WAYS[way]
    answer = ask(kit, {"token": token, **fields}, headers, route)
    assert answer.status == 200
    assert stands(kit, token) == (route is INTROSPECT)
    if route is INTROSPECT:
        assert json.loads(answer.body)["active"] is True


def test_a_server_s_credential_is_good_once_here_too(kit, token):
    once = server(jti="once")
    assert [ask(kit, {"token": token}, once).status for _ in range(2)] == [200, 401]


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("secret", [ODD_SECRET, "%41%4z%z-0123456789" * 2, "Mix+ed-4b " + "0123456789" * 3])
def test_a_secret_in_basic_is_taken_as_it_is_and_as_a_form_writes_it(make_kit, secret, encoded):
    kit = make_kit(api_secret=secret)
    sent = quote_plus(secret) if encoded else secret
    token = kit.create_session().generate_token()
    assert told(kit, token, basic(secret=sent))["active"] is True
    assert error_of(ask(kit, {"token": token}, basic(secret=quote_plus(quote_plus(secret))))) == "invalid_client"


def test_a_secret_in_the_form_is_taken_as_the_form_writes_it_and_in_no_other_way(make_kit):
    kit = make_kit(api_secret=ODD_SECRET)
    fields = {"token": "x", "client_id": KEY, "client_secret": ODD_SECRET}
    assert ask(kit, fields, {}).status == 200
    assert ask(kit, fields | {"client_secret": quote_plus(ODD_SECRET)}, {}).status == 401


def test_every_secret_that_verifies_is_taken_and_a_retired_one_is_not(make_kit):
    kit = make_kit(verify_secrets=[OTHER_SECRET])
    token = kit.create_session().generate_token()
    for secret in (SECRET, OTHER_SECRET):
        assert told(kit, token, basic(secret=secret))["active"] is True
        form = {"token": token, "client_id": KEY, "client_secret": secret}
        assert json.loads(ask(kit, form, {}).body)["active"] is True
    (issuer,) = kit.engine.state.session_ids._issuers.values()
    kit.engine.state.replace_ring(issuer, KeyRing([HMACKey(SECRET)]))
    assert [ask(kit, {"token": token}, basic(secret=secret)).status for secret in (SECRET, OTHER_SECRET)] == [200, 401]


#: What is no server's credential.
STRANGERS: dict[str, tuple[Headers, dict[str, str]]] = {
    "nobody": ({}, {}),
    "another secret": (basic(secret="f" * 40), {}),
    "another project's secret": (basic(secret=OTHER_SECRET), {}),
    "an unknown key": (basic("111111"), {}),
    "an unknown key in the form": ({}, {"client_id": "111111", "client_secret": SECRET}),
    "another secret in the form": ({}, {"client_id": KEY, "client_secret": "f" * 40}),
    "a key alone": ({}, {"client_id": KEY}),
    "a secret alone": ({}, {"client_secret": SECRET}),
    "an empty secret": (basic(secret=""), {}),
    "an empty key": (basic(user=""), {}),
    "a secret with more": (basic(secret=f"{SECRET}x"), {}),
    "a secret cut": (basic(secret=SECRET[:-1]), {}),
    "a secret in capitals": (basic(secret=SECRET.upper()), {}),
    "no colon": ({"authorization": f"Basic {b64encode(KEY.encode()).decode()}"}, {}),
    "no base64": ({"authorization": f"Basic {KEY}:{SECRET}"}, {}),
    "base64 and more": ({"authorization": basic()["authorization"] + " x"}, {}),
    "no credential after the scheme": ({"authorization": "Basic"}, {}),
    "not ascii": ({"authorization": "Basic é"}, {}),
    "not utf-8": ({"authorization": "Basic //46/w=="}, {}),
    "another scheme": ({"authorization": "Digest username=x"}, {}),
    "two headers": ({"authorization": ",".join([basic()["authorization"]] * 2)}, {}),
    "a forged server": (server(secret="f" * 40), {}),
}


@both
@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_learns_nothing_and_does_nothing(kit, token, route, name):
    headers, fields = STRANGERS[name]
    answers = [ask(kit, {"token": one, **fields}, headers, route) for one in (token, "garbage")]
    assert {answer.status for answer in answers} == {401}
    assert len(set(answers)) == 1
    assert error_of(answers[0]) == "invalid_client"
    assert dict(answers[0].headers)["WWW-Authenticate"] == 'Basic realm="rolecall"'
    assert SECRET not in answers[0].body.decode()
    assert stands(kit, token)


@both
def test_whoever_is_unknown_is_not_told_what_is_wrong_with_the_token(kit, route):
    for body in ("", "token=", "token=a+b", "token_type_hint=x"):
        assert error_of(ask(kit, body, {}, route)) == "invalid_client"


@both
@pytest.mark.parametrize("role", ["subscriber", "moderator"])
def test_a_token_of_a_login_is_no_credential(make_kit, route, role):
    kit = make_kit(application_id=APPLICATION, private_key=pem("RS256"), accept=["opentok", "vonage"])
    session = kit.create_session()
    own, other = session.generate_token(role), session.generate_token()
    vonage = {"session_id": session.session_id, "role": role, "scope": "session.connect", "sub": "video", "jti": "j"}
    for headers in (
        {"authorization": f"Bearer {own}"},
        {"x-opentok-auth": own},
        basic(secret=own),
        basic(user=own),
        application(**vonage),
    ):
        for one in (own, other):
            assert error_of(ask(kit, {"token": one}, headers, route)) == "invalid_client"
    assert error_of(ask(kit, {"token": own, "client_id": KEY, "client_secret": own}, {}, route)) == "invalid_client"
    assert stands(kit, other)


#: Two credentials at once, of which each is good.
TWICE: dict[str, tuple[Headers, dict[str, str]]] = {
    "basic and form": (basic(), {"client_id": KEY, "client_secret": SECRET}),
    "basic and form without id": (basic(), {"client_secret": SECRET}),
    "basic and header": (basic() | server(), {}),
    "form and header": (server(), {"client_id": KEY, "client_secret": SECRET}),
    "form and bearer": ({"authorization": "Bearer x"}, {"client_id": KEY, "client_secret": SECRET}),
    "another id in the form": (basic(), {"client_id": OTHER_KEY}),
    "another id beside a server's": (server(), {"client_id": OTHER_KEY}),
}


@both
@pytest.mark.parametrize("name", TWICE)
def test_two_credentials_at_once_are_refused(kit, token, route, name):
    headers, fields = TWICE[name]
    answer = ask(kit, {"token": token, **fields}, headers, route)
    assert (answer.status, error_of(answer)) == (400, "invalid_request")
    assert stands(kit, token)


@both
def test_an_application_s_server_may_ask_by_its_own_credential_alone(make_kit, route):
    kit = make_kit(
        api_key=None, api_secret=None, application_id=APPLICATION, private_key=pem("RS256"), accept=["vonage"]
    )
    token = kit.create_session().generate_token()
    assert ask(kit, {"token": token}, application(), route).status == 200
    refused = ask(kit, {"token": token}, basic(APPLICATION), route)
    assert error_of(refused) == "invalid_client"
    assert dict(refused.headers)["WWW-Authenticate"] == 'Bearer realm="rolecall"'


@both
def test_where_there_is_no_project_nobody_is_a_server(route):
    with own_tokens.issuing() as kit, Rolecall.verifier(own_tokens.jwks(kit), issuer=ISSUER) as verifier:
        token = own_tokens.token_of(kit)
        for one in (kit, verifier):
            for headers in ({}, basic(), basic(ISSUER), server(), {"authorization": f"Bearer {token}"}):
                assert error_of(ask(one, {"token": token}, headers, route)) == "invalid_client"
        assert stands(kit, token)


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @hookimpl
    def rolecall_on_event(self, event):
        self.heard.append((event.name, getattr(event, "code", None)))


def test_plugins_hear_of_strangers_of_refused_tokens_and_of_revocations(make_kit):
    listener = Listener()
    kit = make_kit(plugins=[listener], projects={OTHER_KEY: OTHER_SECRET})
    mine, other = (kit.create_session(api_key=key).generate_token() for key in (KEY, OTHER_KEY))
    listener.heard.clear()
    ask(kit, {"token": mine}, basic(secret="f" * 40))
    ask(kit, {"token": other}, route=REVOKE)
    ask(kit, {"token": other})
    ask(kit, {"token": "garbage"})
    ask(kit, {"token": mine}, route=REVOKE)
    ask(kit, {"token": mine})
    assert listener.heard == [
        ("access_refused", "invalid_server_credential"),
        ("access_refused", "unknown_key"),
        ("access_refused", "unknown_key"),
        ("access_refused", "malformed_token"),
        ("token_revoked", None),
        ("access_refused", "revoked_token"),
    ]


# -- the form ----------------------------------------------------------------------------------------

#: Bodies of which no token can be read.
MALFORMED: dict[str, tuple[str | bytes, str, int]] = {
    "none": ("", FORM, 400),
    "empty token": ("token=", FORM, 400),
    "no token": ("token_type_hint=access_token", FORM, 400),
    "twice": ("token=x&token=x", FORM, 400),
    "twice, once empty": ("token=&token=x", FORM, 400),
    "twice by escape": ("token=x&%74oken=x", FORM, 400),
    "two hints": ("token=x&token_type_hint=a&token_type_hint=b", FORM, 400),
    "in capitals": ("TOKEN=x", FORM, 400),
    "a space": ("token=a+b", FORM, 400),
    "not utf-8": ("token=%FF", FORM, 400),
    "latin-1": (b"token=\xe9", FORM, 400),
    "nothing named": ("token", FORM, 400),
    "json": ('{"token":"x"}', "application/json", 415),
    "json as a form": ('{"token":"x"}', FORM, 400),
    "text": ("token=x", "text/plain", 415),
    "multipart": ("token=x", "multipart/form-data; boundary=x", 415),
    "no type": ("token=x", "", 415),
    "a longer type": ("token=x", f"{FORM}x", 415),
    "too long": ("token=" + "x" * MAX_BODY, FORM, 413),
    "many fields": ("token=x&" + "&".join(["a=b"] * 64), FORM, 400),
}


@both
@pytest.mark.parametrize("name", MALFORMED)
def test_a_body_without_one_token_is_refused(kit, route, name):
    body, media_type, status = MALFORMED[name]
    answer = ask(kit, body, route=route, media_type=media_type)
    assert (answer.status, error_of(answer)) == (status, "invalid_request")


@both
@pytest.mark.parametrize("media_type", [FORM, f"{FORM};charset=UTF-8", f"{FORM} ; charset=utf-8", FORM.upper()])
@pytest.mark.parametrize("more", ["", "&token_type_hint=x", "&token_type_hint=refresh_token", "&resource=a&resource=b"])
def test_what_oauth_s_clients_may_add_counts_for_nothing(kit, token, route, media_type, more):
    answer = ask(kit, f"token={token}{more}", route=route, media_type=media_type)
    assert answer.status == 200
    assert answer.body.startswith(b'{"active":true' if route is INTROSPECT else b"")
    assert stands(kit, token) == (route is INTROSPECT)


@both
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_a_token_is_never_in_a_url(kit, token, route, method):
    request = Request(method, route.path, {}, basic(), query=f"token={token}")
    answer = drive(respond(kit.api, route, request))
    assert (answer.status, error_of(answer)) == (405, "invalid_request")
    assert dict(answer.headers)["Allow"] == "POST, OPTIONS"
    assert stands(kit, token)


# -- revocation --------------------------------------------------------------------------------------


def empty(answer: Response) -> bool:
    """Whether this is the answer to every request for a revocation, whatever the token was."""
    return answer == Response(200, (("Cache-Control", "no-store"),))


@pytest.mark.parametrize("format", ["opentok", "t1", "vonage", "jwt"])
def test_a_token_of_every_format_is_revoked_and_no_other(make_kit, format):
    options: dict[str, Any] = {"format": format}
    if format == "vonage":
        options |= {"application_id": APPLICATION, "private_key": pem("RS256")}
    if format == "jwt":
        options |= {"issuer": ISSUER, "private_key": pem()}
    kit = make_kit(**options)
    session = kit.create_session()
    token, other = session.generate_token(data="a"), session.generate_token(data="b")
    assert empty(ask(kit, {"token": token}, route=REVOKE))
    assert empty(ask(kit, {"token": token}, route=REVOKE))
    assert (stands(kit, token), stands(kit, other)) == (False, True)
    assert told(kit, token) == {"active": False}


def test_what_was_revoked_is_known_to_another_process_when_the_answer_comes(make_kit, tmp_path):
    one, other = (make_kit(store=f"sqlite:///{tmp_path / 'rolecall.db'}") for _ in range(2))
    token = one.create_session().generate_token()
    assert stands(other, token)
    assert empty(ask(one, {"token": token}, route=REVOKE))
    assert not stands(other, token)


def not_ours(kit: Rolecall, clock: Any) -> dict[str, str]:
    """Tokens that are none, no longer, or not the asking project's."""
    session, other = kit.create_session(), kit.create_session(api_key=OTHER_KEY)
    good = session.generate_token()
    expired = session.generate_token(expire_time=timedelta(seconds=60))
    ended = kit.create_session()
    of_ended = ended.generate_token()
    ended.end()
    revoked = session.generate_token()
    kit.revoke_token(revoked)
    clock.now += 60 + 10
    payload = jwt.decode(good, options={"verify_signature": False})
    credential = {"iss": KEY, "ist": "project", "iat": int(clock.now), "exp": int(clock.now) + 60}
    return {
        "unknown": "45ghiukldjahdnhzdauz",
        "malformed": "..",
        "not ascii": "é",
        "over-long": "x" * 8193,
        "expired": expired,
        "revoked": revoked,
        "of an ended session": of_ended,
        "another signature": jwt.encode(payload, "f" * 40, "HS256"),
        "unsigned": jwt.encode(payload, "", "none"),
        "another issuer's": jwt.encode({**payload, "iss": "https://as.example"}, own_tokens.private("ES256"), "ES256"),
        "another key's": jwt.encode({**payload, "iss": "111111"}, "f" * 40, "HS256"),
        "another project's": other.generate_token(),
        "of a project for another's session": jwt.encode(
            {**payload, "session_id": other.session_id, "jti": "j"}, SECRET, "HS256"
        ),
        "of another kind": jwt.encode(credential, SECRET, "HS256"),
        "for somebody else": jwt.encode({**payload, "role": "admin"}, SECRET, "HS256"),
    }


def test_nothing_tells_the_tokens_apart_that_are_not_to_be_revoked(kit, clock):
    tokens = not_ours(kit, clock)
    assert {name: empty(ask(kit, {"token": one}, route=REVOKE)) for name, one in tokens.items()} == dict.fromkeys(
        tokens, True
    )
    assert stands(kit, tokens["another project's"])
    assert empty(ask(kit, {"token": tokens["another project's"]}, basic(OTHER_KEY, OTHER_SECRET), REVOKE))
    assert not stands(kit, tokens["another project's"])


def test_a_token_that_the_leeway_alone_keeps_good_is_revoked(kit, clock):
    token = kit.create_session().generate_token(expire_time=timedelta(seconds=60))
    clock.now += 60 + 9
    assert stands(kit, token)
    ask(kit, {"token": token}, route=REVOKE)
    assert not stands(kit, token)


def sdk_token(session_id: str, **claims: Any) -> str:
    payload = {
        "session_id": session_id,
        "role": "publisher",
        "scope": "session.connect",
        "iss": KEY,
        "ist": "project",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }
    payload = {name: value for name, value in (payload | claims).items() if value is not None}
    # As PyJWT does it, which writes no number for an iss.
    return jwt.PyJWS().encode(json.dumps(payload).encode(), SECRET, "HS256", {"typ": "JWT"})


@pytest.mark.parametrize(
    "claims",
    [{"jti": "a\u2028b"}, {"session_id": "a b"}, {"nbf": int(NOW) + 60}, {"iat": int(NOW) + 60}],
    ids=["an id that is not kept", "a session of nobody", "not valid yet", "from the future"],
)
def test_nobody_is_told_that_a_token_was_revoked_which_was_not(make_kit, claims):
    kit = make_kit()
    token = sdk_token(**{"session_id": kit.create_session().session_id, **claims})
    answer = ask(kit, {"token": token}, route=REVOKE)
    assert (answer.status, error_of(answer)) == (400, "unsupported_token_type")


class Failing(MemoryStore):
    """A store that keeps no mark."""

    def raise_mark(self, name: str, value: float, until: float) -> float:
        raise StoreUnavailable("postgresql://secret@192.0.2.1 does not answer")


class Lost(MemoryStore):
    """A store that is lost once it has issued its tokens."""

    lost = False

    def has_ended(self, session_id: str) -> bool:
        if self.lost:
            raise StoreUnavailable("postgresql://secret@192.0.2.1 does not answer")
        return super().has_ended(session_id)


def test_what_is_not_kept_is_not_answered_as_if_it_were(make_kit, caplog):
    kit = make_kit(store=Failing())
    token = kit.create_session().generate_token()
    answer = ask(kit, {"token": token}, route=REVOKE)
    assert (answer.status, error_of(answer)) == (503, "temporarily_unavailable")
    assert int(dict(answer.headers)["Retry-After"]) > 0
    assert "192.0.2.1" not in answer.body.decode()
    assert "192.0.2.1" in caplog.text


def test_where_nothing_can_be_told_no_token_is_active_or_inactive(make_kit):
    store = Lost()
    kit = make_kit(store=store)
    token = kit.create_session().generate_token()
    store.lost = True
    answer = ask(kit, {"token": token})
    assert (answer.status, error_of(answer)) == (503, "temporarily_unavailable")
    assert int(dict(answer.headers)["Retry-After"]) > 0


class Broken(OpenTokFormat):
    """A format with a fault."""

    def verify(self, token: bytes, now: float) -> Any:
        raise RuntimeError("a secret of the plugin")


class Formats:
    @hookimpl
    def rolecall_register_formats(self):
        return {"broken": Broken}


@both
def test_a_fault_tells_nothing_and_is_in_oauth_s_form_too(make_kit, caplog, route):
    kit = make_kit(plugins=[Formats()], format="broken", accept=["broken"])
    answer = ask(kit, {"token": kit.create_session().generate_token()}, route=route)
    assert (answer.status, error_of(answer)) == (500, "server_error")
    assert "plugin" not in answer.body.decode()
    assert "a secret of the plugin" in caplog.text


# -- introspection -----------------------------------------------------------------------------------


def test_a_token_is_told_as_rfc_7662_has_it(make_kit):
    kit = make_kit(issuer=ISSUER, private_key=pem(), audience="rooms", format="jwt")
    session = kit.create_session()
    token = session.generate_token("moderator", timedelta(minutes=5), data="private", actor="ada")
    answer = ask(kit, {"token": token})
    assert json.loads(answer.body) == {
        "active": True,
        "scope": "connect force_disconnect force_unpublish publish signal subscribe",
        "client_id": KEY,
        "token_type": "Bearer",
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "sub": "ada",
        "aud": "rooms",
        "iss": ISSUER,
        "jti": kit.verify_token(token).token_id,
        "sid": session.session_id,
        "role": "moderator",
    }
    assert dict(answer.headers) == {"Content-Type": "application/json", "Cache-Control": "no-store"}


@pytest.mark.parametrize(
    ("format", "options", "more"),
    [
        ("opentok", {}, {"iss": KEY}),
        ("t1", {}, {}),
        ("vonage", {"application_id": APPLICATION, "private_key": pem("RS256")}, {}),
    ],
)
def test_a_token_of_each_format_is_told(make_kit, format, options, more):
    kit = make_kit(format=format, **options)
    session = kit.create_session()
    token = session.generate_token("publisher", timedelta(minutes=5))
    grant = kit.verify_token(token)
    assert told(kit, token) == {
        "active": True,
        "scope": "connect publish signal subscribe",
        "client_id": KEY,
        "token_type": "Bearer",
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "jti": grant.token_id,
        "sid": session.session_id,
        "role": "publisher",
        **more,
    }


def test_times_are_whole_seconds_and_never_more_than_the_token_has(make_kit):
    kit = make_kit()
    session_id = kit.create_session().session_id
    said = told(kit, sdk_token(session_id, iat=NOW - 0.5, exp=NOW + 60.9, nbf=NOW - 9.5, iss=int(KEY)))
    assert {name: said[name] for name in ("iat", "exp", "nbf", "iss")} == {
        "iat": int(NOW) - 1,
        "exp": int(NOW) + 60,
        "nbf": int(NOW) - 9,
        "iss": KEY,
    }
    assert "iat" not in told(kit, sdk_token(session_id, iat=None))
    assert told(kit, sdk_token(session_id, aud=["a", "b"]))["aud"] == ["a", "b"]


def test_all_that_is_not_active_is_told_in_the_same_bytes(kit, clock):
    tokens = not_ours(kit, clock)
    session = kit.create_session()
    tokens |= {
        "not valid yet": sdk_token(session.session_id, nbf=int(clock.now) + 60),
        "from the future": sdk_token(session.session_id, iat=int(clock.now) + 60, exp=int(clock.now) + 90),
        "excluded": session.generate_token(actor="ada"),
        "of an actor": session.generate_token(actor="ben"),
        "before a reset": session.generate_token(),
        "of a session of nobody": sdk_token("a b"),
    }
    for name in ("excluded", "of an actor", "before a reset"):
        assert told(kit, tokens[name])["active"] is True
    session.exclude("ada")
    kit.revoke_actor("ben")
    session.reset()
    answers = {name: ask(kit, {"token": one}) for name, one in tokens.items()}
    headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    assert answers == dict.fromkeys(answers, Response(200, headers, INACTIVE))
    assert told(kit, tokens["another project's"], basic(OTHER_KEY, OTHER_SECRET))["client_id"] == OTHER_KEY


def test_a_token_is_active_as_long_as_the_doors_take_it(kit, clock):
    token = kit.create_session().generate_token(expire_time=timedelta(seconds=60))
    for late, active in ((9, True), (10, False)):
        clock.now = NOW + 60 + late
        assert told(kit, token)["active"] is active
        if not active:
            with pytest.raises(InvalidToken):
                kit.verify_token(token)
