"""Guards within what people build Flask apps with: Flask-SocketIO, flask-restful, flask-restx, and Flask-WTF."""

from __future__ import annotations

import threading
from typing import Any

import flask
import flask_restful
import flask_restx
import pytest
from flask_socketio import Namespace, SocketIO, emit
from flask_wtf import CSRFProtect

from rolecall import RolecallError
from rolecall.cli.apps import routes_of
from rolecall.policies import AllowAnyone
from rolecall_flask import (
    current_grant,
    find_grant,
    protect,
    public,
    require_capability,
    require_role,
    require_token,
    rolecall_blueprint,
)
from rolecall_socketio import Gate

from ..untyped import untyped


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


@pytest.fixture
def app(kit):
    app = flask.Flask(__name__, static_folder=None)
    app.config["SECRET_KEY"] = "for tests"
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    return app


@pytest.fixture
def session(kit):
    return kit.create_session()


def bearer(token):
    return {"Authorization": f"Bearer {token}"} if token else {}


def ask(app, path="/x", token=None, method="GET", **options):
    return app.test_client().open(path, method=method, headers=bearer(token), **options)


# -- Flask-SocketIO --------------------------------------------------------------------------------


def test_a_gate_which_knows_clients_by_their_ids_refuses_flask_socketio_and_says_what_to_use(kit, session, caplog):
    app = flask.Flask(__name__)
    sio, ran = SocketIO(app, async_mode="threading"), []
    gate, token = Gate(sio.server, kit), session.generate_token()

    @sio.on("say")
    @gate.require_token()
    def say(*data):
        ran.append(data)

    client = sio.test_client(app)
    (sid,) = [sid for sid, _ in sio.server.manager.get_participants("/", None)]
    for data in ((), ({"session_id": "x"},), (sid,)):
        assert client.emit("say", *data, callback=True)["error"]["status"] == 500

    @sio.on("connect")
    @gate.require_token()
    def connect(*auth):
        ran.append(auth)

    assert not sio.test_client(app, auth={"token": token}).is_connected()
    assert ran == []
    assert caplog.text.count("guard the handler by rolecall_flask: from rolecall_flask import require_role") == 4


def by_decorators(io, guard):
    @io.on("connect")
    @guard
    def connect(auth=None):
        pass

    @io.on("question")
    def question(text):
        emit("answer", "for those inside only")


def by_a_namespace(io, guard):
    class Lesson(Namespace):
        @guard
        def on_connect(self, auth=None):
            pass

        def on_question(self, text):
            emit("answer", "for those inside only")

    io.on_namespace(Lesson("/"))


def swallow_errors(io):
    """What a handler for errors makes of one; what it returns is what the event's handler would have."""
    io.on_error_default(lambda error: True)


def swallow_errors_of_the_namespace(io):
    io.on_error("/")(lambda error: True)


@pytest.fixture
def socketio(app):
    return SocketIO(app, async_mode="threading")


@pytest.mark.parametrize("on_error", [lambda io: None, swallow_errors, swallow_errors_of_the_namespace])
@pytest.mark.parametrize("add", [by_decorators, by_a_namespace])
def test_who_is_refused_when_connecting_stays_out_whatever_handles_errors(app, socketio, session, add, on_error):
    add(socketio, require_role("moderator"))
    on_error(socketio)

    def heard(token):
        client = socketio.test_client(app, headers=bearer(token))
        if not client.is_connected():
            return None
        client.emit("question", "?")
        return [message["args"] for message in client.get_received()]

    assert heard(session.generate_token("moderator")) == [["for those inside only"]]
    assert [heard(token) for token in (None, "abc", session.generate_token("publisher"))] == [None] * 3


@pytest.mark.parametrize("on_error", [swallow_errors, swallow_errors_of_the_namespace])
def test_an_event_is_guarded_by_itself_whatever_handles_errors(app, socketio, session, on_error):
    done = []

    @socketio.on("mute")
    @require_capability("force_unpublish")
    def mute():
        done.append(str(current_grant.role))
        return "muted"

    on_error(socketio)
    for token in (None, "abc", session.generate_token("publisher")):
        client = socketio.test_client(app, headers=bearer(token))
        assert client.emit("mute", callback=True) != "muted"
    assert done == []
    client = socketio.test_client(app, headers=bearer(session.generate_token("moderator")))
    assert (client.emit("mute", callback=True), done) == ("muted", ["moderator"])


def test_an_event_that_nothing_handles_the_refusal_of_does_not_happen_either(app, socketio):
    done = []

    @socketio.on("mute")
    @require_token
    def mute():
        done.append(1)

    client = socketio.test_client(app)
    with pytest.raises(Exception, match="needs a token"):
        client.emit("mute")
    assert done == []


def test_a_token_that_ended_is_refused_at_the_next_event(app, kit, socketio, session):
    done = []

    @socketio.on("mute")
    @require_token
    def mute():
        done.append(1)

    swallow_errors(socketio)
    client = socketio.test_client(app, headers=bearer(session.generate_token()))
    client.emit("mute")
    kit.end_session(session.session_id)
    client.emit("mute")
    assert done == [1]


@pytest.mark.parametrize("goes_first", [False, True])
def test_a_client_is_disconnected_when_its_grant_ends_as_the_guide_has_it(app, kit, socketio, session, goes_first):
    done = threading.Event()

    def leave(client, grant):
        while kit.wait_until_ended(grant, 0.05) is None:
            if not socketio.server.manager.is_connected(client, "/"):
                done.set()
                return
        socketio.server.disconnect(client)
        done.set()

    @socketio.on("connect")
    @require_token
    def connect(auth=None):
        socketio.start_background_task(leave, untyped(flask.request).sid, find_grant())

    client = socketio.test_client(app, headers=bearer(session.generate_token()))
    assert client.is_connected()
    if goes_first:
        client.disconnect()
    else:
        kit.end_session(session.session_id)
    assert done.wait(30)
    assert not client.is_connected()


def test_a_guard_that_binds_a_parameter_lets_no_socket_in(app, socketio, session, caplog):
    """An event has no path parameters."""

    @socketio.on("connect")
    @require_token(session_param="room")
    def connect(auth=None):
        pass

    assert not socketio.test_client(app, headers=bearer(session.generate_token())).is_connected()
    assert "'room', which the route does not have" in caplog.text


def find_nothing(request):
    flask.abort(404)


def fail_to_find(request):
    raise LookupError("room 7")


def fail_and_change_the_event(request):
    request.event = {"args": request.event["args"]}
    raise ValueError("the database is away")


def connects_and_acts(app, io, token):
    """Whether a client is connected, and what its events have done."""
    acts = []
    io.on("act")(lambda *_: acts.append(1))
    client = io.test_client(app, headers=bearer(token))
    if client.is_connected():
        client.emit("act")
    return client.is_connected(), acts


@pytest.mark.parametrize("always_connect", [False, True])
@pytest.mark.parametrize("on_error", [lambda io: None, swallow_errors, swallow_errors_of_the_namespace])
@pytest.mark.parametrize("session_of", [find_nothing, fail_to_find, fail_and_change_the_event])
def test_a_function_that_finds_no_session_connects_no_client(app, session, session_of, on_error, always_connect):
    io = SocketIO(app, async_mode="threading", always_connect=always_connect)
    io.on("connect")(require_token(session=session_of)(lambda *_: None))
    on_error(io)
    assert connects_and_acts(app, io, session.generate_token("moderator")) == (False, [])


@pytest.mark.parametrize("always_connect", [False, True])
@pytest.mark.parametrize("on_error", [lambda io: None, swallow_errors, swallow_errors_of_the_namespace])
def test_a_guard_between_two_kits_connects_no_client(app, make_kit, session, on_error, always_connect):
    app.register_blueprint(rolecall_blueprint(make_kit(), "other"), url_prefix="/other")
    io = SocketIO(app, async_mode="threading", always_connect=always_connect)
    io.on("connect")(require_token(session_param=None)(lambda *_: None))
    on_error(io)
    assert connects_and_acts(app, io, session.generate_token("moderator")) == (False, [])


@pytest.mark.parametrize("always_connect", [False, True])
def test_who_may_connect_does_so_whenever_that_is_said(app, session, always_connect):
    io = SocketIO(app, async_mode="threading", always_connect=always_connect)
    io.on("connect")(require_token(session_param=None)(lambda *_: None))
    assert connects_and_acts(app, io, session.generate_token()) == (True, [1])
    assert connects_and_acts(app, io, None) == (False, [])


def test_the_grant_of_one_event_is_not_that_of_the_next(app, kit, socketio, session):
    seen: list[Any] = []

    @socketio.on("mute")
    @require_token
    def mute():
        seen.append(current_grant.role)

    @socketio.on("who")
    def who():
        seen.append(find_grant())

    client = socketio.test_client(app, headers=bearer(session.generate_token("moderator")))
    client.emit("mute")
    client.emit("who")
    kit.end_session(session.session_id)
    client.emit("who")
    assert seen == ["moderator", None, None]


def test_the_grant_of_whoever_connects_is_not_that_of_an_event(app, socketio, session):
    seen: list[Any] = []

    @socketio.on("connect")
    @require_token
    def connect(auth=None):
        seen.append(current_grant.role)

    @socketio.on("who")
    def who():
        seen.append(find_grant())

    socketio.test_client(app, headers=bearer(session.generate_token("moderator"))).emit("who")
    assert seen == ["moderator", None]


def test_events_leave_nothing_behind_in_their_connection(app, socketio, session):
    sizes = []

    @socketio.on("say")
    @require_token
    def say():
        sizes.append(sum(len(value) for value in flask.request.environ.values() if isinstance(value, tuple)))

    @socketio.on("rest")
    def rest():
        sizes.append(sum(name.startswith("rolecall") for name in flask.request.environ))

    client = socketio.test_client(app, headers=bearer(session.generate_token()))
    for _ in range(5):
        client.emit("say")
    client.emit("rest")
    assert sizes[-1] == 0
    assert len(set(sizes[:-1])) == 1


def test_a_function_finds_the_session_of_an_event(app, kit, socketio, session):
    joined = []

    @socketio.on("join")
    @require_token(session=lambda request: request.event["args"][0])
    def join(session_id):
        joined.append(session_id)

    swallow_errors(socketio)
    client = socketio.test_client(app, headers=bearer(session.generate_token()))
    client.emit("join", kit.create_session().session_id)
    client.emit("join", session.session_id)
    assert joined == [session.session_id]


# -- flask-restful and flask-restx -----------------------------------------------------------------


@pytest.fixture(params=[flask_restful, flask_restx], ids=lambda package: package.__name__)
def rest(request):
    return request.param


@pytest.fixture
def add(app, rest):
    """Puts a resource at /x."""
    api = rest.Api(app) if rest is flask_restful else rest.Api(app, doc=False, add_specs=False)
    return lambda resource, path="/x": api.add_resource(resource, path)


def guarded_methods(rest: Any, done):
    class Resource(rest.Resource):
        @require_token
        def get(self):
            done.append("get")
            return {"you_are": str(current_grant.role)}

        @require_role("moderator")
        def delete(self):
            done.append("delete")
            return {}

        @public
        def put(self):
            return {}

    return Resource


def decorated_methods(rest: Any, done):
    class Resource(rest.Resource):
        method_decorators = (require_role("moderator"),)

        def get(self):
            done.append("get")
            return {"you_are": str(current_grant.role)}

        def delete(self):
            done.append("delete")
            return {}

    return Resource


def guarded_class(rest: Any, done):
    @require_role("moderator")
    class Resource(rest.Resource):
        def get(self):
            done.append("get")
            return {"you_are": str(current_grant.role)}

        def delete(self):
            done.append("delete")
            return {}

    return Resource


@pytest.mark.parametrize("make", [guarded_methods, decorated_methods, guarded_class])
@pytest.mark.parametrize("propagate", [False, True])
def test_a_resource_is_guarded_and_the_client_gets_the_right_status(app, rest, add, session, make, propagate):
    app.config["PROPAGATE_EXCEPTIONS"] = propagate
    done: list[Any] = []
    add(make(rest, done))
    publisher, moderator = session.generate_token(), session.generate_token("moderator")
    assert [ask(app, token=token, method="DELETE").status_code for token in (None, "a,b", publisher)] == [401, 400, 403]
    assert [ask(app, token=token).status_code for token in (None, "abc")] == [401, 401]
    assert ask(app).headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert (ask(app, method="OPTIONS").status_code, done) == (200, [])
    assert ask(app, token=moderator).json == {"you_are": "moderator"}
    assert ask(app, token=moderator, method="DELETE").status_code == 200
    assert done == ["get", "delete"]


@pytest.mark.parametrize("propagate", [False, True])
def test_the_apps_own_answer_has_the_right_status_too(app, rest, add, session, propagate):
    app.config["PROPAGATE_EXCEPTIONS"] = propagate
    app.register_error_handler(RolecallError, lambda error: ({"own": error.code}, error.status, {"X-Own": "yes"}))
    add(guarded_methods(rest, []))
    for token, status in ((None, 401), ("abc", 401), (session.generate_token(), 403)):
        response = ask(app, token=token, method="DELETE")
        assert (response.status_code, response.headers["X-Own"]) == (status, "yes")


def listed(app):
    return {
        ",".join(line.methods): (line.requires, [mistake.code for mistake in line.mistakes])
        for line in routes_of(app)
        if line.path.startswith(("/x", "/rooms"))  # and not the root of flask-restx
    }


def test_the_guards_of_methods_are_listed(app, rest, add):
    add(guarded_methods(rest, []))
    assert listed(app) == {"DELETE": ("role:moderator", []), "GET": ("token", []), "PUT": ("public", [])}


@pytest.mark.parametrize("make", [decorated_methods, guarded_class])
def test_the_guards_of_all_methods_are_listed(app, rest, add, make):
    add(make(rest, []))
    assert listed(app) == {"DELETE,GET": ("role:moderator", [])}


def test_a_guard_without_brackets_among_the_decorators_is_listed(app, rest: Any, add):
    class Resource(rest.Resource):
        method_decorators = (require_token,)

        def get(self):
            return {}

    add(Resource)
    assert listed(app) == {"GET": ("token", [])}
    assert ask(app).status_code == 401


def test_guards_that_are_named_for_some_methods_are_listed_for_these(app, session):
    """flask-restful looks for the method that was sent, so HEAD is not GET there."""

    class Resource(flask_restful.Resource):
        method_decorators: dict = {"get": [require_token], "post": [require_role("moderator")]}  # noqa: RUF012

        def get(self):
            return {}

        def post(self):
            return {}

    flask_restful.Api(app).add_resource(Resource, "/x")
    assert listed(app) == {
        "GET": ("token", []),
        "HEAD": ("OPEN", ["guarded_in_part"]),
        "POST": ("role:moderator", []),
    }
    assert [ask(app, method=method).status_code for method in ("GET", "HEAD", "POST")] == [401, 200, 401]


def test_an_open_method_beside_a_guarded_one_fails_the_check(app, rest: Any, add):
    class Resource(rest.Resource):
        @require_token
        def get(self):
            return {}

        def post(self):
            return {}

    add(Resource)
    assert listed(app)["POST"] == ("OPEN", ["guarded_in_part"])


def test_the_guards_of_an_api_are_listed(app, session):
    flask_restful.Api(app, decorators=[require_role("moderator")]).add_resource(
        type("Resource", (flask_restful.Resource,), {"get": lambda self: {}}), "/x"
    )
    assert listed(app) == {"GET": ("role:moderator", [])}
    assert [ask(app, token=token).status_code for token in (None, session.generate_token("moderator"))] == [401, 200]


def test_requests_leave_nothing_on_a_resource(app, rest, add, session):
    resource = decorated_methods(rest, [])
    add(resource)
    token = session.generate_token("moderator")
    ask(app, token=token)
    before = sum(len(value) for value in vars(resource.get).values())
    for _ in range(5):
        ask(app, token=token)
    assert sum(len(value) for value in vars(resource.get).values()) == before


def test_a_resource_of_a_room_binds_it(app, kit, rest: Any, add, session):
    class Room(rest.Resource):
        method_decorators = (require_role("moderator", session_param="room_id"),)

        def get(self, room_id):
            return {"room": room_id}

    add(Room, "/rooms/<room_id>")
    token = session.generate_token("moderator")
    paths = [f"/rooms/{one.session_id}" for one in (session, kit.create_session())]
    assert [ask(app, path, token).status_code for path in paths] == [200, 403]


def test_a_resource_of_which_nobody_says_the_session_lets_nobody_in(app, rest: Any, add, session):
    class Room(rest.Resource):
        @require_role("moderator")
        def get(self, room_id):
            return {"room": room_id}

    add(Room, "/rooms/<room_id>")
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator")).status_code == 500
    assert listed(app) == {"GET": ("role:moderator", ["unsettled_session"])}


# -- Flask-WTF -------------------------------------------------------------------------------------


def before_the_kit(app, kit):
    CSRFProtect(app)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")


def after_the_kit(app, kit):
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    CSRFProtect(app)


def by_init_app(app, kit):
    protection = CSRFProtect()
    app.register_blueprint(rolecall_blueprint(kit, "school"), url_prefix="/video")
    protection.init_app(app)


def around_a_nested_kit(app, kit):
    CSRFProtect(app)
    parent = flask.Blueprint("parent", __name__, url_prefix="/video")
    parent.register_blueprint(rolecall_blueprint(kit))
    app.register_blueprint(parent)


def around_two_kits(app, kit):
    after_the_kit(app, kit)
    other = type(kit)("654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789")
    app.register_blueprint(rolecall_blueprint(other, "other"), url_prefix="/other")


@pytest.fixture(
    params=[before_the_kit, after_the_kit, by_init_app, around_a_nested_kit, around_two_kits],
    ids=lambda way: way.__name__,
)
def csrf_app(request, kit):
    app = flask.Flask(__name__)
    app.config["SECRET_KEY"] = "for tests"
    request.param(app, kit)
    app.post("/form", endpoint="form")(lambda: "sent")
    app.post("/guarded", endpoint="guarded")(require_token(kit=kit)(lambda: "sent"))
    return app


def test_the_kits_own_routes_answer_within_csrf_protection(csrf_app):
    client = csrf_app.test_client()
    made = client.post("/video/sessions")
    assert made.status_code == 201
    path = f"/video/sessions/{made.json['session_id']}"
    issued = client.post(f"{path}/tokens", json={"role": "moderator"})
    assert issued.status_code == 201
    assert client.delete(path, headers=bearer(issued.json["token"])).status_code == 204
    assert client.post("/video/session/create").json["code"] == "invalid_server_credential"


@pytest.mark.parametrize("first", ["/video/sessions", "/form"])
def test_the_apps_own_forms_stay_protected(csrf_app, first):
    client = csrf_app.test_client()
    client.post(first)
    assert client.post("/form").status_code == 400
    assert "CSRF token is missing" in client.post("/form").text


def test_the_apps_own_views_that_ask_for_a_token_stay_protected(csrf_app, session):
    answer = ask(csrf_app, "/guarded", session.generate_token(), "POST")
    assert (answer.status_code, "CSRF" in answer.text) == (400, True)


def test_a_form_with_its_proof_is_taken(csrf_app):
    from flask_wtf.csrf import generate_csrf

    csrf_app.get("/proof")(generate_csrf)
    client = csrf_app.test_client()
    assert client.post("/form", data={"csrf_token": client.get("/proof").text}).text == "sent"


def test_a_protected_app_asks_for_the_token_and_for_the_proof(kit, session):
    app = flask.Flask(__name__)
    app.config["SECRET_KEY"] = "for tests"
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    protect(app)
    CSRFProtect(app)
    app.post("/form")(lambda: str(find_grant()))
    assert ask(app, "/form", method="POST").status_code == 401
    assert ask(app, "/form", session.generate_token(), "POST").status_code == 400
    assert ask(app, "/video/sessions", method="POST").status_code == 201
