"""The kit's routes in Flask: every answer, right and wrong, also where the app would rather answer itself."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from typing import Any

import flask
import pytest

from rolecall import Allow, Rolecall, hookimpl
from rolecall.http.messages import MAX_BODY
from rolecall.policies import AllowAnyone
from rolecall_flask import require_token, rolecall_blueprint

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"
NOW = 1_795_186_800
#: A session of the same project that another service made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


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
        "media": None,
        "created_at": float(NOW),
        "ended_at": None,
    }


def test_a_session_is_created_with_the_properties_asked_for(api, kit):
    asked = {"location": "203.0.113.7", "media_mode": "routed", "archive_mode": "always", "e2ee": False}
    created = kit.get_session(api("POST", "/sessions", json=asked).json["session_id"])
    assert (created.location, created.media_mode, created.archive_mode) == ("203.0.113.7", "routed", "always")


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
        "expires_in": 86_400,
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


def test_a_moderator_ends_the_session_and_with_it_every_token(api, session):
    moderator, publisher = session.generate_token("moderator"), session.generate_token()
    response = api("DELETE", f"/sessions/{session.session_id}", moderator)
    assert (response.status_code, response.data, response.headers["Cache-Control"]) == (204, b"", "no-store")
    for token in (moderator, publisher):
        assert_problem(api("GET", f"/sessions/{session.session_id}", token), 401, "revoked_token")


# -- bodies ----------------------------------------------------------------------------------------


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
    assert (response.status_code, untyped(response.json).get("media_mode")) == (201, "routed")


def test_a_form_limit_of_the_app_does_not_replace_the_answer(kit):
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.register_blueprint(rolecall_blueprint(kit))
    response = app.test_client().post("/sessions", json={"media_mode": "routed"})
    assert response.status_code == 201


def test_a_slash_is_no_part_of_a_session_id(mount, kit):
    assert mount(kit)("POST", "/sessions/1_a/b/tokens").status_code in {404, 418}


# -- policies --------------------------------------------------------------------------------------


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


# -- refusals --------------------------------------------------------------------------------------

#: A request for each status that an app may have an error handler for: what is sent, by whom, and the code.
REFUSALS: dict[int, tuple[str, str, dict[str, Any], Any, str]] = {
    400: ("POST", "/sessions", {"data": b"{", "content_type": "application/json"}, None, "invalid_request"),
    401: ("GET", "/sessions/{ID}", {}, None, "missing_token"),
    403: ("DELETE", "/sessions/{ID}", {}, "publisher", "insufficient_role"),
    404: ("POST", f"/sessions/{FOREIGN}/tokens", {}, None, "session_not_found"),
    405: ("PUT", "/sessions/{ID}", {}, "moderator", "method_not_allowed"),
    410: ("POST", "/sessions/{ENDED}/tokens", {}, None, "session_ended"),
    413: ("POST", "/sessions", {"data": b" " * (MAX_BODY + 1)}, None, "body_too_large"),
    415: ("POST", "/sessions", {"data": b"{}", "content_type": "text/plain"}, None, "unsupported_media_type"),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_the_kits_own_also_where_the_app_handles_errors(api, kit, session, status):
    method, path, options, role, code = REFUSALS[status]
    ended = kit.create_session().session_id
    kit.end_session(ended)
    token = session.generate_token(role) if role else None
    response = api(method, path.replace("{ID}", session.session_id).replace("{ENDED}", ended), token, **options)
    assert_problem(response, status, code)
    assert ("WWW-Authenticate" in response.headers) == (status in (401, 403))
    assert response.headers.get("Allow") == ("GET, DELETE, HEAD, OPTIONS" if status == 405 else None)


def test_the_kit_answers_options_and_head_itself(api, session):
    path, token = f"/sessions/{session.session_id}", session.generate_token()
    response = api("OPTIONS", path)
    assert (response.status_code, response.data, response.headers["Allow"]) == (204, b"", "GET, DELETE, HEAD, OPTIONS")
    got, headed = api("GET", path, token), api("HEAD", path, token)
    assert (headed.status_code, headed.data, dict(headed.headers)) == (200, b"", dict(got.headers))


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
