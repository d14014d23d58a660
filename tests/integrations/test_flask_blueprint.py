"""The kit's routes in Flask: every answer, right and wrong, also where the app would rather answer itself."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from contextlib import closing

import flask
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall import Allow, Rolecall, hookimpl
from rolecall.encoding import base64url
from rolecall.http.api.rest import ROUTES
from rolecall.http.messages import MAX_BODY
from rolecall.policies import AllowAnyone
from rolecall_flask import require_token, rolecall_blueprint

from ..budgets import examples

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"
NOW = 1_795_186_800
#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"

#: RFC 6750, section 3: what an error_description may hold.
CHALLENGE = re.compile(
    r'Bearer realm="rolecall"'
    r'(, error="[a-z_]+", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]*"(, scope="[a-z_:-]+")?)?'
)


class Api:
    """A client of the kit's routes, wherever they are mounted."""

    def __init__(self, app: flask.Flask, prefix: str) -> None:
        self._client = app.test_client()
        self._prefix = prefix

    def __call__(self, method: str, path: str, token: str | None = None, **options):
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._client.open(self._prefix + path, method=method, headers=headers, **options)

    def post_raw(self, path: str, body: bytes, content_type: str = "application/json"):
        return self("POST", path, data=body, content_type=content_type)


def plain(kit: Rolecall) -> Api:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    return Api(app, "")


def with_error_handlers(kit: Rolecall) -> Api:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    for error in (400, 401, 403, 404, 405, 410, 413, 415, 500, Exception):
        app.register_error_handler(error, lambda _: ("the app's own page", 418))
    return Api(app, "/video")


def nested(kit: Rolecall) -> Api:
    parent = flask.Blueprint("api", __name__, url_prefix="/api/<tenant>")
    parent.register_error_handler(Exception, lambda _: ("the parent's own page", 418))
    parent.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    app = flask.Flask(__name__)
    app.register_blueprint(parent)
    return Api(app, "/api/acme/video")


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture(params=[plain, with_error_handlers, nested], ids=lambda mounted: mounted.__name__)
def mount(request):
    return request.param


@pytest.fixture
def api(mount, kit):
    return mount(kit)


def tokens_of(session) -> str:
    return f"/sessions/{session.session_id}/tokens"


def assert_problem(response, status: int, code: str) -> None:
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.headers["Cache-Control"] == "no-store"
    members = json.loads(response.data)
    assert list(members) == ["title", "status", "detail", "code"]
    assert (members["status"], members["code"]) == (status, code)


# -- right -----------------------------------------------------------------------------------------


def test_a_session_is_created_without_a_body(api, kit):
    response = api("POST", "/sessions")
    assert (response.status_code, response.content_type) == (201, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    created = response.json
    assert kit.get_session(created["session_id"]).session_id == created.pop("session_id")
    assert created == {
        "location": None,
        "media_mode": "relayed",
        "archive_mode": "manual",
        "e2ee": False,
        "created_at": float(NOW),
        "ended_at": None,
    }


def test_a_session_is_created_with_the_properties_asked_for(api, kit):
    asked = {"location": "203.0.113.7", "media_mode": "routed", "archive_mode": "always", "e2ee": False}
    created = kit.get_session(api("POST", "/sessions", json=asked).json["session_id"])
    assert (created.location, created.media_mode, created.archive_mode) == ("203.0.113.7", "routed", "always")


def test_a_content_type_may_have_parameters(api):
    assert api.post_raw("/sessions", b"{}", "Application/JSON; charset=utf-8").status_code == 201


def test_a_body_of_16_kib_is_read(api, session):
    padding = MAX_BODY - len('{"data":""}')
    response = api.post_raw(tokens_of(session), b'{"data":"%b"}' % (b"x" * padding))
    assert_problem(response, 400, "invalid_data")


@pytest.mark.parametrize("body", [b" {}", b"{}\n", b"\r\n\t{ }\r\n"], ids=repr)
def test_white_space_around_the_object_is_json(api, body):
    """RFC 8259, section 2."""
    assert api.post_raw("/sessions", body).status_code == 201


def test_a_token_is_issued_with_the_defaults(api, kit, session):
    response = api("POST", tokens_of(session))
    assert (response.status_code, response.content_type) == (201, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    issued = response.json
    assert kit.verify_token(issued.pop("token"), session.session_id).role == "publisher"
    assert issued == {
        "session_id": session.session_id,
        "role": "publisher",
        "capabilities": ["connect", "publish", "signal", "subscribe"],
        "issued_at": NOW,
        "expires_at": NOW + 86_400,
        "data": None,
    }


@pytest.mark.parametrize(
    ("asked", "expires_at"),
    [
        ({"expire_time": NOW + 60}, NOW + 60),
        ({"expire_time": NOW + 60.9}, NOW + 60),
        ({"expire_time": NOW + 30 * 86_400}, NOW + 30 * 86_400),
        ({"expires_in": 60}, NOW + 60),
        ({"expires_in": 1.5}, NOW + 1),
        ({"expires_in": None, "expire_time": None}, NOW + 86_400),
    ],
)
def test_a_token_lives_as_long_as_asked(api, kit, session, asked, expires_at):
    issued = api("POST", tokens_of(session), json=asked).json
    assert issued["expires_at"] == kit.verify_token(issued["token"]).expires_at == expires_at


def test_a_token_says_what_was_asked_for(api, kit, session):
    asked = {"role": "moderator", "data": 'Zoë "Z" \r\n', "initial_layout_class_list": ["focus", "small"]}
    grant = kit.verify_token(api("POST", tokens_of(session), json=asked).json["token"])
    assert (grant.role, grant.data, grant.layout) == ("moderator", 'Zoë "Z" \r\n', ("focus", "small"))


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_every_role_reads_its_session(api, session, role):
    response = api("GET", f"/sessions/{session.session_id}", session.generate_token(role))
    assert (response.status_code, response.json["session_id"]) == (200, session.session_id)
    assert response.headers["Cache-Control"] == "no-store"


def test_a_moderator_ends_the_session_and_with_it_every_token(api, session):
    moderator, publisher = session.generate_token("moderator"), session.generate_token()
    response = api("DELETE", f"/sessions/{session.session_id}", moderator)
    assert (response.status_code, response.data, response.headers["Cache-Control"]) == (204, b"", "no-store")
    for token in (moderator, publisher):
        assert_problem(api("GET", f"/sessions/{session.session_id}", token), 401, "revoked_token")


# -- bodies ----------------------------------------------------------------------------------------

NOT_STRICT_JSON = [
    b'{"role":"subscriber","role":"moderator"}',
    b'{"\\u0072ole":"subscriber","role":"moderator"}',
    b'{"data":NaN}',
    b'{"expires_in":Infinity}',
    b'{"expires_in":-Infinity}',
    b'{"expires_in":1e999}',
    b'{"expires_in":9007199254740993}',
    b'{"expires_in":' + b"9" * 5000 + b"}",
    b"[]",
    b"null",
    b'"role"',
    b"1",
    b" ",
    b"{",
    b"{'role':'moderator'}",
    b'{"role":"moderator",}',
    b"{}{}",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b'{"data":"\xff"}',
    b'{"data":"\\ud800"}',
    b'{"data":' + b"[" * 16_000,
    b'{"data":[[[[[[[[[]]]]]]]]]}',
    json.dumps({f"m{number}": 1 for number in range(65)}).encode(),
    b'{"admin":true}',
    b'{"Role":"moderator"}',
    b'{"\\"\\r\\nX-Evil: 1":1}',
]


@pytest.mark.parametrize("body", NOT_STRICT_JSON, ids=lambda body: ascii(body[:30].decode("latin-1")))
def test_a_body_is_one_strict_json_object_of_known_members(api, session, body):
    assert_problem(api.post_raw(tokens_of(session), body), 400, "invalid_request")
    assert_problem(api.post_raw("/sessions", body), 400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json, text/plain",
        "application/problem+json",
        'text/"\\plain',
    ],
)
def test_a_body_of_another_content_type_is_refused(api, content_type):
    assert_problem(api.post_raw("/sessions", b"{}", content_type), 415, "unsupported_media_type")


def test_a_body_beyond_16_kib_is_refused(api):
    assert_problem(api.post_raw("/sessions", b" " * (MAX_BODY + 1)), 413, "body_too_large")


def test_the_length_of_a_body_is_looked_at_before_its_type(api):
    assert_problem(api.post_raw("/sessions", b" " * (MAX_BODY + 1), "text/plain"), 413, "body_too_large")


class Endless:
    """A body without an end, that counts what is read of it."""

    taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "asked for all of an endless body"
        self.taken += size
        return b" " * size


def chunked(api, path: str, stream):
    """A request whose body has no length of its own, as servers hand it on that know its end."""
    server = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    environ = {"wsgi.input": stream, "CONTENT_TYPE": "application/json", **server}
    return api("POST", path, environ_overrides=environ)


def with_length(api, path: str, stream, length: str):
    environ = {"wsgi.input": stream, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": length}
    return api("POST", path, environ_overrides=environ)


def test_a_chunked_body_is_read(api, session):
    response = chunked(api, tokens_of(session), io.BytesIO(b'{"role":"subscriber"}'))
    assert (response.status_code, response.json["role"]) == (201, "subscriber")


def test_no_more_than_the_cap_is_read_of_a_chunked_body(api):
    body = Endless()
    assert_problem(chunked(api, "/sessions", body), 413, "body_too_large")
    assert body.taken == MAX_BODY + 1


def test_a_content_length_beyond_the_body_is_a_bad_request(api):
    assert_problem(with_length(api, "/sessions", io.BytesIO(b"{}"), "100"), 400, "invalid_request")


@pytest.mark.parametrize("length", ["2", "0", "-1", "abc", "1e9", "9" * 5000], ids=lambda length: length[:5])
def test_a_lying_content_length_never_gets_past_the_cap(api, length):
    body = Endless()
    assert with_length(api, "/sessions", body, length).status_code < 500
    assert body.taken <= MAX_BODY + 1


class Broken:
    """A body that the server cannot read to its end: a malformed chunk, a client that went away."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [OSError("no more data"), ValueError("bad chunk")], ids=repr)
def test_a_body_that_cannot_be_read_is_a_bad_request(api, error):
    assert_problem(chunked(api, "/sessions", Broken(error)), 400, "invalid_request")


def test_an_app_may_have_read_the_body_before(kit):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))

    @app.before_request
    def log_the_body() -> None:
        flask.request.get_data()

    response = app.test_client().post("/sessions", json={"media_mode": "routed"})
    assert (response.status_code, response.json.get("media_mode")) == (201, "routed")


def test_a_form_limit_of_the_app_does_not_replace_the_answer(kit):
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.register_blueprint(rolecall_blueprint(kit))
    response = app.test_client().post("/sessions", json={"media_mode": "routed"})
    assert response.status_code == 201


# -- members ---------------------------------------------------------------------------------------

WRONG_TOKEN_MEMBERS = [
    *[
        ({"role": role}, "invalid_role")
        for role in ("Moderator", "moderator ", "ｍoderator", "mod\x00", "", None, 1, True, [], {}, ["moderator"])
    ],
    *[
        ({"expire_time": time}, "invalid_expire_time")
        for time in (0, -1, NOW - 1, NOW, NOW + 0.5, NOW * 1000, NOW + 30 * 86_400 + 1, 1e300, -1e300)
    ],
    *[({"expire_time": time}, "invalid_expire_time") for time in (str(NOW + 60), "", True, [], {}, [NOW + 60])],
    *[
        ({"expires_in": seconds}, "invalid_expire_time")
        for seconds in (0, -1, 0.5, 30 * 86_400 + 1, 1e10, 1e300, "60", True, [], {})
    ],
    ({"expires_in": 60, "expire_time": NOW + 60}, "invalid_expire_time"),
    *[({"data": data}, "invalid_data") for data in ("x" * 1001, 1, True, [], {}, ["x"])],
    *[
        ({"initial_layout_class_list": layout}, "invalid_data")
        for layout in ("focus", 1, True, None, {}, {"focus": 1}, [1], [None], [""], [" "], ["a b"], ["a+b"], ["a\n"])
    ],
    ({"initial_layout_class_list": ["x" * 501, "y" * 500]}, "invalid_data"),
]


@pytest.mark.parametrize(("members", "code"), WRONG_TOKEN_MEMBERS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_member_of_a_token_request_is_a_bad_request(api, session, members, code):
    assert_problem(api("POST", tokens_of(session), json=members), 400, code)


WRONG_SESSION_MEMBERS = [
    *[
        {"location": place}
        for place in ("", "nowhere", "203.0.113.7/24", "203.0.113.007", "::1~x", 1, 0, True, False, [], {}, [1])
    ],
    *[{"location": f"fe80::1%{zone}"} for zone in ("é", "x" * 300, "a~b", "\r\n", "\x00")],
    *[{"media_mode": mode} for mode in ("", "Routed", None, 1, True, [], {})],
    *[{"archive_mode": mode, "media_mode": "routed"} for mode in ("", "ALWAYS", None, 1, True, [], {})],
    *[{"e2ee": e2ee, "media_mode": "routed"} for e2ee in ("true", "", None, 0, 1, [], {})],
    {"archive_mode": "always"},
    {"e2ee": True},
    {"e2ee": True, "media_mode": "routed", "archive_mode": "always"},
]


@pytest.mark.parametrize("members", WRONG_SESSION_MEMBERS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_property_of_a_session_is_a_bad_request(api, members):
    assert_problem(api("POST", "/sessions", json=members), 400, "invalid_session_option")


# -- sessions --------------------------------------------------------------------------------------


def test_a_session_that_the_store_does_not_know_is_not_found(api, kit):
    assert_problem(api("POST", f"/sessions/{FOREIGN}/tokens"), 404, "session_not_found")
    token = kit.generate_token(FOREIGN, "moderator")
    assert_problem(api("GET", f"/sessions/{FOREIGN}", token), 404, "session_not_found")


def test_a_session_of_another_store_is_not_found(api, make_kit):
    assert_problem(api("POST", tokens_of(make_kit().create_session())), 404, "session_not_found")


def test_an_ended_session_issues_no_tokens(api, kit, session):
    kit.end_session(session.session_id)
    assert_problem(api("POST", tokens_of(session)), 410, "session_ended")


def with_another_tag(session_id: str) -> str:
    text = base64url.decode(session_id[2:].encode())
    last = text[-5:-4]
    return session_id[:2] + base64url.encode(text[:-5] + (b"b" if last == b"a" else b"a") + text[-4:]).decode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda session_id: "x",
        lambda session_id: "1_",
        lambda session_id: session_id[:-1],
        lambda session_id: session_id + "=",
        lambda session_id: session_id + "A" * 300,
        lambda session_id: "2_" + session_id[2:],
        lambda session_id: "3_" + session_id[2:],
        lambda session_id: session_id.upper(),
        lambda session_id: "%00",
        lambda session_id: "%22%0d%0aX-Evil:%201",
        lambda session_id: "1_é\N{PILE OF POO}",
        lambda session_id: "%ff%fe",
        with_another_tag,
    ],
)
def test_a_made_up_session_id_is_a_bad_request(api, session, spoil):
    response = api("POST", f"/sessions/{spoil(session.session_id)}/tokens")
    assert_problem(response, 400, "invalid_session_id")


def test_a_slash_is_no_part_of_a_session_id(mount, kit):
    assert mount(kit)("POST", "/sessions/1_a/b/tokens").status_code in {404, 418}


# -- policies --------------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_given_out(mount, make_kit):
    kit = make_kit()
    api = mount(kit)
    assert_problem(api("POST", "/sessions"), 403, "policy_denied")
    assert_problem(api("POST", tokens_of(kit.create_session())), 403, "policy_denied")


def test_a_policy_lowers_the_role_that_is_asked_for(mount, make_kit):
    kit = make_kit(plugins=[AllowAnyone()])
    issued = mount(kit)("POST", tokens_of(kit.create_session()), json={"role": "moderator"}).json
    assert (issued["role"], kit.verify_token(issued["token"]).role) == ("publisher", "publisher")


def test_a_policy_that_answers_true_opens_nothing(mount, make_kit):
    class Truthy:
        name = "truthy"

        @hookimpl
        def rolecall_vote_session(self, request):
            return True

        @hookimpl
        async def rolecall_vote_token(self, request):
            return True

    kit = make_kit(plugins=[Truthy()])
    known = make_kit(store=kit._state.store).create_session()
    api = mount(kit)
    for response in (api("POST", "/sessions"), api("POST", tokens_of(known))):
        assert_problem(response, 503, "policy_fault")
        assert b"truthy" not in response.data


def test_a_policy_sees_the_request_as_it_was_routed(mount, make_kit):
    seen = []

    class Watch:
        @hookimpl
        def rolecall_vote_token(self, request):
            seen.append(request.http)
            return Allow()

    kit = make_kit(plugins=[Watch()])
    session = kit.create_session()
    mount(kit)("POST", tokens_of(session), headers={"Host": "evil.example/sessions/x"})
    (http,) = seen
    assert (http.method, http.framework) == ("POST", "flask")
    assert http.path_params["session_id"] == session.session_id
    assert http.route.endswith(tokens_of(session))


# -- credentials -----------------------------------------------------------------------------------


def challenge(response) -> str:
    (value,) = response.headers.getlist("WWW-Authenticate")
    assert CHALLENGE.fullmatch(value)
    return value


def test_no_credential_is_challenged_without_an_error(api, session):
    response = api("GET", f"/sessions/{session.session_id}")
    assert_problem(response, 401, "missing_token")
    assert challenge(response) == 'Bearer realm="rolecall"'


def test_a_malformed_credential_is_a_bad_request(api, session):
    response = api("GET", f"/sessions/{session.session_id}", headers={"Authorization": "Bearer a,Bearer b"})
    assert_problem(response, 400, "malformed_credential")
    assert challenge(response).startswith('Bearer realm="rolecall", error="invalid_request", error_description="')


@pytest.mark.parametrize("token", ["x", "a.b.c", "T1==x", "e30.e30.", "x" * 16_384])
def test_a_bad_token_is_challenged_as_invalid(api, session, token):
    response = api("GET", f"/sessions/{session.session_id}", token)
    assert_problem(response, 401, "malformed_token")
    assert challenge(response).startswith('Bearer realm="rolecall", error="invalid_token", error_description="')
    assert "scope=" not in challenge(response)


def test_an_expired_token_is_challenged_as_invalid(api, session, clock):
    token = session.generate_token(expire_time=NOW + 60)
    clock.now += 60 + 10
    response = api("GET", f"/sessions/{session.session_id}", token)
    assert_problem(response, 401, "expired_token")
    assert 'error="invalid_token"' in challenge(response)


def test_a_lesser_role_is_told_the_scope_that_is_required(api, session):
    response = api("DELETE", f"/sessions/{session.session_id}", session.generate_token("publisher"))
    assert_problem(response, 403, "insufficient_role")
    assert 'error="insufficient_scope"' in challenge(response)
    assert challenge(response).endswith('scope="role:moderator"')


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_token_of_another_session_opens_nothing(api, kit, session, method):
    token = kit.create_session().generate_token("moderator")
    response = api(method, f"/sessions/{session.session_id}", token)
    assert_problem(response, 403, "wrong_session")
    assert 'error="insufficient_scope"' in challenge(response)


def test_a_token_in_the_query_string_or_in_a_form_is_no_credential(api, session):
    token = session.generate_token("moderator")
    path = f"/sessions/{session.session_id}"
    assert_problem(api("GET", f"{path}?access_token={token}&token={token}"), 401, "missing_token")
    assert_problem(api("DELETE", path, data={"access_token": token}), 401, "missing_token")


@settings(max_examples=examples(200), deadline=None)
@given(text=st.text(min_size=1), member=st.sampled_from(["iss", "ist", "scope", "role", "session_id", "jti"]))
def test_no_challenge_is_broken_by_what_a_token_says(text, member):
    with Rolecall(KEY, SECRET, clock=lambda: NOW) as kit:
        claims = {"iss": KEY, "ist": "project", "scope": "session.connect", "role": "publisher", "iat": NOW}
        claims |= {"session_id": FOREIGN, member: text}
        token = jwt.encode(claims, SECRET)
        response = plain(kit)("GET", "/sessions/other", token)
    assert response.status_code in {401, 403}
    challenge(response)


@pytest.mark.parametrize("member", ["alg", "typ", "kid"])
@pytest.mark.parametrize("text", ['"', "\r\nX-Evil: 1", "\\", "é\N{PILE OF POO}", "\x00\x7f", "\u2028"])
def test_no_challenge_is_broken_by_the_header_of_a_token(api, member, text):
    header = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": "JWT", member: text}).encode()).decode()
    response = api("GET", "/sessions/other", f"{header}.e30.c2ln")
    assert response.status_code == 401
    challenge(response)


# -- methods ---------------------------------------------------------------------------------------

ALLOW = {
    "/sessions": "POST, OPTIONS",
    "/sessions/x": "GET, DELETE, HEAD, OPTIONS",
    "/sessions/x/tokens": "POST, OPTIONS",
    "/sessions/x/signal": "POST, OPTIONS",
    "/sessions/x/connections/x": "DELETE, OPTIONS",
    "/sessions/x/connections": "GET, HEAD, OPTIONS",
    "/sessions/x/streams": "GET, HEAD, OPTIONS",
    "/sessions/x/streams/x/mute": "POST, OPTIONS",
    "/sessions/x/mute": "POST, OPTIONS",
    "/session/create": "POST, OPTIONS",
    "/v2/project/x/session/x/signal": "POST, OPTIONS",
    "/v2/project/x/session/x/connection/x/signal": "POST, OPTIONS",
    "/v2/project/x/session/x/connection/x": "DELETE, OPTIONS",
    "/v2/project/x/session/x/connection": "GET, HEAD, OPTIONS",
    "/v2/project/x/session/x/stream/x/mute": "POST, OPTIONS",
    "/v2/project/x/session/x/mute": "POST, OPTIONS",
    "/v2/project/x/session/x/stream": "GET, PUT, HEAD, OPTIONS",
    "/v2/project/x/session/x/stream/": "GET, HEAD, OPTIONS",
    "/v2/project/x/session/x/stream/x": "GET, HEAD, OPTIONS",
    "/v2/project/x/x": "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
}
WRONG_METHODS = [
    (path, method)
    for path, allowed in ALLOW.items()
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    if method not in allowed.split(", ")
]


def test_every_route_has_its_methods_in_these_tables():
    assert {re.sub(r"\{\w+(:path)?\}", "x", route.path): ", ".join(route.methods) for route in ROUTES} == ALLOW


@pytest.mark.parametrize(("path", "method"), WRONG_METHODS)
def test_another_method_is_answered_with_those_that_are_allowed(api, path, method):
    response = api(method, path)
    assert response.headers["Allow"] == ALLOW[path]
    if method == "HEAD":
        assert (response.status_code, response.data) == (405, b"")
    else:
        assert_problem(response, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ALLOW)
@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "QUERY"])
def test_a_method_that_is_seldom_used_is_answered_like_any_other(api, path, method):
    response = api(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == ALLOW[path]


@pytest.mark.parametrize("path", ALLOW)
def test_options_needs_no_token(api, path):
    response = api("OPTIONS", path)
    assert (response.status_code, response.data, response.headers["Allow"]) == (204, b"", ALLOW[path])


def test_head_answers_as_get_without_the_body(api, session):
    path, token = f"/sessions/{session.session_id}", session.generate_token()
    got, headed = api("GET", path, token), api("HEAD", path, token)
    assert (headed.status_code, headed.data) == (200, b"")
    assert dict(headed.headers) == dict(got.headers)


def test_head_needs_a_token_as_get_does(api, session):
    response = api("HEAD", f"/sessions/{session.session_id}")
    assert (response.status_code, response.data) == (401, b"")
    assert challenge(response) == 'Bearer realm="rolecall"'


def test_a_method_override_header_overrides_nothing(api, session):
    token = session.generate_token("moderator")
    api("GET", f"/sessions/{session.session_id}", token, headers={"X-HTTP-Method-Override": "DELETE"})
    assert session.kit.get_session(session.session_id).ended_at is None


# -- out of order ----------------------------------------------------------------------------------


def test_a_fault_of_the_kit_is_a_500_without_its_text(api, kit, monkeypatch, caplog):
    def fail(self, record):
        raise RuntimeError("the innermost secret")

    monkeypatch.setattr("rolecall.stores.memory.MemoryStore.add_session", fail)
    response = api("POST", "/sessions")
    assert_problem(response, 500, "rolecall_error")
    assert b"innermost" not in response.data
    assert "the innermost secret" in caplog.text


def test_a_store_that_does_not_answer_is_unavailable(mount, make_kit, tmp_path):
    kit = make_kit(store=f"sqlite:///{tmp_path}/sessions.db", plugins=[AllowAnyone("moderator")])
    session = kit.create_session()
    token = session.generate_token()
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as raw:
        raw.executescript("DROP TABLE rolecall_ended_sessions; DROP TABLE rolecall_sessions")
    api = mount(kit)
    for response in (
        api("POST", "/sessions"),
        api("POST", tokens_of(session)),
        api("GET", f"/sessions/{session.session_id}", token),
    ):
        assert_problem(response, 503, "store_unavailable")
        assert b"no such table" not in response.data


# -- apps ------------------------------------------------------------------------------------------


def test_url_for_finds_the_routes(kit, session):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    with app.test_request_context():
        assert flask.url_for("rolecall.sessions") == "/video/sessions"
        for name, end in (("session", ""), ("tokens", "/tokens")):
            found = flask.url_for(f"rolecall.{name}", session_id=session.session_id)
            assert found == f"/video/sessions/{session.session_id}{end}"


def test_url_for_finds_the_routes_of_a_nested_blueprint(kit):
    parent = flask.Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(rolecall_blueprint(kit, "calls"), url_prefix="/video")
    app = flask.Flask(__name__)
    app.register_blueprint(parent)
    with app.test_request_context():
        assert flask.url_for("api.calls.sessions") == "/api/video/sessions"


def test_an_app_factory_makes_apps_that_share_nothing(make_kit):
    def create_app() -> flask.Flask:
        app = flask.Flask(__name__)
        app.register_blueprint(rolecall_blueprint(make_kit(plugins=[AllowAnyone()])))
        return app

    first, second = Api(create_app(), ""), Api(create_app(), "")
    session_id = first("POST", "/sessions").json["session_id"]
    assert first("POST", f"/sessions/{session_id}/tokens").status_code == 201
    assert_problem(second("POST", f"/sessions/{session_id}/tokens"), 404, "session_not_found")


def test_one_blueprint_serves_several_apps(kit, session):
    blueprint = rolecall_blueprint(kit)
    for _ in range(2):
        app = flask.Flask(__name__)
        app.register_blueprint(blueprint)
        assert Api(app, "")("POST", tokens_of(session)).status_code == 201


def test_the_routes_can_be_guarded_as_any_blueprint(kit, session):
    blueprint = require_token(session_param=None)(rolecall_blueprint(kit))
    app = flask.Flask(__name__)
    app.register_blueprint(blueprint)
    api = Api(app, "")
    assert_problem(api("POST", "/sessions"), 401, "missing_token")
    assert api("POST", "/sessions", session.generate_token()).status_code == 201


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [
        (OTHER_KEY, OTHER_SECRET, {"bad_signature"}),
        (KEY, OTHER_SECRET, {"bad_signature"}),
        (OTHER_KEY, SECRET, {"unknown_key"}),
    ],
    ids=["another project", "another secret", "another API key"],
)
def test_two_kits_in_one_app_never_take_each_others_tokens_or_sessions(make_kit, key, secret, code):
    policy = AllowAnyone("moderator")
    kits = (make_kit(plugins=[policy]), make_kit(api_key=key, api_secret=secret, plugins=[policy]))
    app = flask.Flask(__name__)
    for number, kit in enumerate(kits):
        app.register_blueprint(rolecall_blueprint(kit, f"kit{number}"), url_prefix=f"/{number}")
    apis = [Api(app, f"/{number}") for number in range(2)]
    for own, other in ((0, 1), (1, 0)):
        session = kits[own].create_session()
        assert_problem(apis[other]("POST", tokens_of(session)), 400, "invalid_session_id")
        for method in ("GET", "DELETE"):
            path, token = f"/sessions/{session.session_id}", session.generate_token("moderator")
            response = apis[other](method, path, token)
            assert response.status_code == 401
            assert response.json["code"] in code
            assert kits[own].verify_token(token)


def test_two_blueprints_of_one_name_are_refused(make_kit):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(make_kit()), url_prefix="/a")
    with pytest.raises(ValueError, match="rolecall"):
        app.register_blueprint(rolecall_blueprint(make_kit(api_key=OTHER_KEY)), url_prefix="/b")
