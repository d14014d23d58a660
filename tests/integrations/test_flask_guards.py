"""Guards on an app's own views: who gets in, in every way that Flask lets a view be written, and who never does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from contextlib import closing, suppress
from typing import Any, ClassVar

import flask
import jwt
import pytest
from flask.views import MethodView, View

from rolecall import Allow, Deny, Grant, Role, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_flask import current_grant, require_capability, require_role, require_token, rolecall_blueprint

from ..untyped import untyped

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789"
NOW = 1_795_186_800

RULE = "/rooms/<session_id>"
#: OPTIONS is among them: not even a view that lists it is run by it.
METHODS = ["GET", "POST", "OPTIONS"]


@pytest.fixture
def app(kit):
    """An app that knows the kit; without the kit's routes, which take most of the time that it takes to make one."""
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit, routes=()))
    return app


@pytest.fixture
def session(kit):
    return kit.create_session()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(app, path: str, token: str | None = None, method: str = "GET", **options):
    return app.test_client().open(path, method=method, headers=bearer(token) if token else {}, **options)


def role_of_the_grant(**_) -> str:
    return str(current_grant.role)


# -- every way to write a view ---------------------------------------------------------------------


def on_a_view(app, guard, view):
    @app.route(RULE, methods=METHODS)
    @guard
    def room(session_id):
        return view()


def on_an_async_view(app, guard, view):
    @app.route(RULE, methods=METHODS)
    @guard
    async def room(session_id):
        await asyncio.sleep(0)
        return view()


def in_decorators_of_a_method_view(app, guard, view):
    class Room(MethodView):
        decorators: ClassVar = [guard]

        def get(self, session_id):
            return view()

        post = options = get

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_a_method_view(app, guard, view):
    @guard
    class Room(MethodView):
        def get(self, session_id):
            return view()

        post = options = get

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_a_view_class(app, guard, view):
    @guard
    class Room(View):
        methods = METHODS
        init_every_request = False

        def dispatch_request(self, **_):
            return view()

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_the_base_of_a_method_view(app, guard, view):
    @guard
    class Base(MethodView):
        pass

    class Room(Base):
        def get(self, session_id):
            return view()

        post = options = get

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_the_base_of_a_view_with_decorators_of_its_own(app, guard, view):
    @guard
    class Base(MethodView):
        pass

    class Room(Base):
        decorators: ClassVar = [lambda function: function]

        def get(self, session_id):
            return view()

        post = options = get

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_methods(app, guard, view):
    class Room(MethodView):
        @guard
        def get(self, session_id):
            return view()

        @guard
        def post(self, session_id):
            return view()

        @guard
        def options(self, session_id):
            return view()

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_async_methods(app, guard, view):
    class Room(MethodView):
        @guard
        async def get(self, session_id):
            await asyncio.sleep(0)
            return view()

        post = options = get

    app.add_url_rule(RULE, view_func=Room.as_view("room"))


def on_a_blueprint(app, guard, view):
    blueprint = guard(flask.Blueprint("rooms", __name__))
    blueprint.add_url_rule(RULE, "room", lambda session_id: view(), methods=METHODS)
    app.register_blueprint(blueprint)


def on_a_blueprint_with_the_session_in_its_prefix(app, guard, view):
    blueprint = guard(flask.Blueprint("rooms", __name__, url_prefix=RULE))
    blueprint.add_url_rule("", "room", lambda session_id: view(), methods=METHODS)
    app.register_blueprint(blueprint)


def on_the_parent_of_a_blueprint(app, guard, view):
    parent = guard(flask.Blueprint("parent", __name__))
    child = flask.Blueprint("child", __name__)
    child.add_url_rule(RULE, "room", lambda session_id: view(), methods=METHODS)
    parent.register_blueprint(child)
    app.register_blueprint(parent)


def within_another_guard(app, guard, view):
    @app.route(RULE, methods=METHODS)
    @require_token
    @guard
    def room(session_id):
        return view()


def around_another_guard(app, guard, view):
    @app.route(RULE, methods=METHODS)
    @guard
    @require_token()
    def room(session_id):
        return view()


def on_a_view_with_the_session_in_its_defaults(app, guard, view):
    @guard
    def room(session_id, page):
        return view()

    app.add_url_rule(RULE, view_func=room, methods=METHODS, defaults={"page": 1})


def where_a_preprocessor_takes_the_session(app, guard, view):
    """The pattern of Flask's own documentation: "URL processors"."""
    blueprint = flask.Blueprint("rooms", __name__)

    @blueprint.url_value_preprocessor
    def take(endpoint, values):
        flask.g.session_id = values.pop("session_id")

    @blueprint.route(RULE, methods=METHODS)
    @guard
    def room():
        return view()

    app.register_blueprint(blueprint)


WAYS = [
    on_a_view,
    on_an_async_view,
    in_decorators_of_a_method_view,
    on_a_method_view,
    on_a_view_class,
    on_the_base_of_a_method_view,
    on_the_base_of_a_view_with_decorators_of_its_own,
    on_methods,
    on_async_methods,
    on_a_blueprint,
    on_a_blueprint_with_the_session_in_its_prefix,
    on_the_parent_of_a_blueprint,
    within_another_guard,
    around_another_guard,
    on_a_view_with_the_session_in_its_defaults,
    where_a_preprocessor_takes_the_session,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def runs(request, app):
    """How often the view ran that a guard for moderators stands before."""
    runs = []

    def view():
        runs.append(str(current_grant.role))
        return runs[-1]

    request.param(app, require_role("moderator"), view)
    return runs


def test_the_role_gets_in(app, runs, session):
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.text, runs) == (200, "moderator", ["moderator"])
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nobody_gets_in_without_a_token(app, runs, session, method):
    response = ask(app, f"/rooms/{session.session_id}", method=method)
    assert (response.status_code, runs) == (401, [])
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.pairs
@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly"])
def test_a_lesser_role_does_not_get_in(app, runs, session, role, method):
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token(role), method)
    assert (response.status_code, runs) == (403, [])
    assert response.headers["WWW-Authenticate"].endswith('scope="role:moderator"')


@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_token_of_another_session_does_not_get_in(app, kit, runs, session, method):
    token = kit.create_session().generate_token("moderator")
    response = ask(app, f"/rooms/{session.session_id}", token, method)
    assert (response.status_code, runs) == (403, [])


@pytest.mark.each_choice
def test_a_bad_token_does_not_get_in(app, runs, session):
    token = session.generate_token("moderator")
    response = ask(app, f"/rooms/{session.session_id}", token[:-6] + "AAAAAA")
    assert (response.status_code, runs) == (401, [])


def test_a_token_of_an_ended_session_does_not_get_in(app, kit, runs, session):
    token = session.generate_token("moderator")
    assert ask(app, f"/rooms/{session.session_id}", token).status_code == 200
    kit.end_session(session.session_id)
    response = ask(app, f"/rooms/{session.session_id}", token)
    assert (response.status_code, response.json["code"], len(runs)) == (401, "revoked_token", 1)


@pytest.mark.each_choice
@pytest.mark.parametrize("role", [None, "subscriber", "moderator"])
def test_options_does_not_run_the_view(app, runs, session, role):
    token = session.generate_token(role) if role else None
    response = ask(app, f"/rooms/{session.session_id}", token, "OPTIONS")
    assert (response.status_code, response.data, runs) == (200, b"", [])
    assert {"GET", "OPTIONS"} <= set(response.headers["Allow"].split(", "))


def test_head_runs_the_guard_and_then_the_view(app, runs, session):
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"), "HEAD")
    assert (response.status_code, response.data, runs) == (200, b"", ["moderator"])


# -- what is required ------------------------------------------------------------------------------

ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]


@pytest.mark.parametrize(
    ("guard", "admitted"),
    [
        (require_role("subscriber"), ["subscriber", "publisher", "moderator"]),
        (require_role("publisher"), ["publisher", "moderator"]),
        (require_role("publisheronly"), ["publisher", "publisheronly", "moderator"]),
        (require_role("moderator"), ["moderator"]),
        (require_role(Role.MODERATOR), ["moderator"]),
        (require_capability("connect"), ROLES),
        (require_capability("subscribe"), ["subscriber", "publisher", "moderator"]),
        (require_capability("publish"), ["publisher", "publisheronly", "moderator"]),
        (require_capability("signal"), ["publisher", "moderator"]),
        (require_capability("force_disconnect"), ["moderator"]),
        (require_capability("force_unpublish"), ["moderator"]),
        (require_token, ROLES),
        (require_token(), ROLES),
    ],
)
def test_exactly_the_roles_with_the_capabilities_get_in(app, session, guard, admitted):
    on_a_view(app, guard, role_of_the_grant)
    path = f"/rooms/{session.session_id}"
    assert [role for role in ROLES if ask(app, path, session.generate_token(role)).status_code == 200] == admitted


def test_a_role_of_a_standard_name_never_admits_more_than_the_standard_role(app, session):
    """``Role("moderator")`` reads like a look-up, and has no capabilities."""
    try:
        guard = require_role(Role("moderator"))
    except ConfigurationError:
        return
    on_a_view(app, guard, role_of_the_grant)
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token("subscriber")).status_code == 403


def test_a_missing_capability_is_named_in_the_challenge(app, session):
    on_a_view(app, require_capability("force_disconnect"), role_of_the_grant)
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.headers["WWW-Authenticate"].endswith('scope="capability:force_disconnect"')


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: require_role(untyped("moderater")),
            r"'moderater' does not exist; the roles are subscriber, .*moderator",
        ),
        (lambda: require_role(untyped("Moderator")), r"'Moderator' does not exist"),
        (lambda: require_role(untyped("")), r"does not exist"),
        (lambda: require_role(untyped(None)), r"None does not exist"),
        (
            lambda: require_role(untyped(role_of_the_grant)),
            r'^write @require_role\("publisher"\); for any good token @require_token$',
        ),
        (
            lambda: require_capability(untyped("ban")),
            r"'ban' does not exist; the capabilities are connect, .*force_unpublish",
        ),
        (lambda: require_capability(untyped("moderator")), r"does not exist"),
        (lambda: require_capability(untyped(None)), r"None does not exist"),
        (
            lambda: untyped(require_token)("moderator"),
            r"a guard protects a view, a view class or a blueprint, not a str",
        ),
        (lambda: require_token(object), r"cannot protect the class object"),
        (lambda: require_role("moderator")(object), r"it is no flask.views.View"),
        (lambda: require_role("moderator")(untyped(None)), r"not a NoneType"),
    ],
)
def test_a_guard_that_could_never_work_stops_at_import(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_the_roles_of_a_guards_own_kit_exist(make_kit):
    with pytest.raises(ConfigurationError, match="does not exist"):
        require_role(untyped("moderater"), kit=make_kit())


# -- order -----------------------------------------------------------------------------------------


def test_a_guard_above_the_route_decorator_does_not_leave_the_view_open(app):
    """Flask registers the view that stands below it, without the guard."""
    ran = []
    try:

        @require_role("moderator")
        @app.get("/wrong-order")
        def view():
            ran.append(True)
            return ""

        ask(app, "/wrong-order")
    except ConfigurationError:
        pass
    assert ran == []


def test_the_outer_of_two_guards_decides_first(app, session):
    @app.get(RULE)
    @require_capability("publish")
    @require_role("moderator")
    def room(session_id):
        return ""

    challenges = [
        ask(app, f"/rooms/{session.session_id}", session.generate_token(role)).headers["WWW-Authenticate"]
        for role in ("subscriber", "publisher")
    ]
    assert [text.rpartition("scope=")[2] for text in challenges] == ['"capability:publish"', '"role:moderator"']


def test_a_guarded_view_keeps_its_name_and_its_docstring():
    @require_token
    def room():
        """A room."""

    assert (room.__name__, room.__doc__) == ("room", "A room.")


def test_decorators_of_the_app_run_within_the_guard(app, session):
    ran = []

    def note(view):
        def noted(**values):
            ran.append("decorator")
            return view(**values)

        return noted

    app.add_url_rule(RULE, "room", require_role("moderator")(note(role_of_the_grant)))
    ask(app, f"/rooms/{session.session_id}", session.generate_token("publisher"))
    assert ran == []
    ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert ran == ["decorator"]


def test_decorators_above_a_guard_get_what_the_view_returns(app, session):
    """As the templating decorator of Flask's own documentation needs it."""

    def rendered(view):
        def render(**values):
            return f"rendered {sorted(view(**values))}"

        return render

    app.add_url_rule(RULE, "room", rendered(require_token(lambda session_id: {"title": "Room"})))
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.text == "rendered ['title']"


def test_a_view_may_set_its_own_cache_control(app, session):
    @app.get(RULE)
    @require_token
    def room(session_id):
        return flask.Response("", headers={"Cache-Control": "private"})

    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.headers["Cache-Control"] == "private"


@pytest.mark.parametrize("error", [ValueError("oops"), None])
def test_an_error_of_a_guarded_view_is_the_apps_own(app, session, error):
    app.register_error_handler(ValueError, lambda _: ("the app's own page", 418))

    @app.get(RULE)
    @require_token
    def room(session_id):
        if error:
            raise error
        flask.abort(404)

    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.status_code == (418 if error else 404)
    assert response.headers["Cache-Control"] == "no-store"


def test_error_handlers_of_the_app_do_not_replace_a_refusal(app, session):
    for error in (400, 401, 403, 503, Exception):
        app.register_error_handler(error, lambda _: ("the app's own page", 418))
    on_a_view(app, require_role("moderator"), role_of_the_grant)
    path = f"/rooms/{session.session_id}"
    assert ask(app, path).status_code == 401
    assert ask(app, path, session.generate_token()).status_code == 403
    assert ask(app, path, "a,b").status_code == 400


# -- the current grant -----------------------------------------------------------------------------


def test_the_current_grant_is_that_of_the_request(app, kit, session):
    @app.get(RULE)
    @require_token
    def room(session_id):
        return {
            "is_a_grant": isinstance(current_grant, Grant),
            "session": current_grant.session_id,
            "data": current_grant.data,
            "may_publish": current_grant.allows("publish"),
            "same": current_grant == kit.verify_token(token),
        }

    token = session.generate_token("subscriber", data="Ann")
    assert ask(app, f"/rooms/{session.session_id}", token).json == {
        "is_a_grant": True,
        "session": session.session_id,
        "data": "Ann",
        "may_publish": False,
        "same": True,
    }


def test_there_is_no_grant_outside_a_request():
    with pytest.raises(RuntimeError, match="outside of request context"):
        _ = current_grant.role


def test_there_is_no_grant_in_a_view_without_a_guard(app, session):
    @app.get("/open")
    def view():
        with pytest.raises(RuntimeError, match="current_grant needs a view behind require_role"):
            _ = current_grant.role
        return "none"

    assert ask(app, "/open", session.generate_token("moderator")).text == "none"


def peek(app):
    """A view without a guard, that tells whether it finds a grant."""

    @app.get("/peek")
    def view():
        try:
            return str(current_grant.role)
        except RuntimeError:
            return "none"


def test_a_grant_does_not_stay_for_the_next_request(app, session):
    peek(app)
    on_a_view(app, require_token, role_of_the_grant)
    client = app.test_client()
    client.get(f"/rooms/{session.session_id}", headers=bearer(session.generate_token("moderator")))
    assert client.get("/peek").text == "none"


def test_a_grant_does_not_stay_for_the_next_request_of_one_app_context(app, session):
    peek(app)
    on_a_view(app, require_token, role_of_the_grant)
    with app.app_context():
        ask(app, f"/rooms/{session.session_id}", session.generate_token("moderator"))
        assert ask(app, "/peek").text == "none"


def test_a_request_within_a_request_does_not_change_its_grant(app, session):
    on_a_view(app, require_token, role_of_the_grant)

    @app.get("/outer/<session_id>")
    @require_token
    def outer(session_id):
        ask(app, f"/rooms/{session_id}", session.generate_token("moderator"))
        return str(current_grant.role)

    assert ask(app, f"/outer/{session.session_id}", session.generate_token("subscriber")).text == "subscriber"


def test_a_refused_request_has_no_grant(app, session):
    peeked = []

    @app.after_request
    def look(response):
        try:
            peeked.append(str(current_grant.role))
        except RuntimeError:
            peeked.append("none")
        return response

    on_a_view(app, require_role("moderator"), role_of_the_grant)
    ask(app, f"/rooms/{session.session_id}", session.generate_token("publisher"))
    assert peeked == ["none"]


def test_requests_in_threads_have_grants_of_their_own(app, session):
    together = threading.Barrier(8, timeout=20)

    def meet(**_):
        together.wait()
        before = str(current_grant.data)
        together.wait()
        return f"{before} {current_grant.data}"

    on_a_view(app, require_token, meet)
    answers = {}

    def enter(name):
        answers[name] = ask(app, f"/rooms/{session.session_id}", session.generate_token(data=name)).text

    threads = [threading.Thread(target=enter, args=(f"user{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {f"user{number}": f"user{number} user{number}" for number in range(8)}


def test_a_thread_that_a_view_starts_has_no_grant(app, session):
    found: list[Any] = []

    def look():
        try:
            found.append(current_grant.role)
        except RuntimeError:
            found.append("none")

    def view(**_):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return ""

    on_a_view(app, require_token, view)
    ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert found == ["none"]


def test_a_streamed_answer_keeps_its_grant(app, session):
    @app.get(RULE)
    @require_token
    def room(session_id):
        @flask.stream_with_context
        def stream():
            yield "role: "
            yield str(current_grant.role)

        return untyped(stream)()

    response = ask(app, f"/rooms/{session.session_id}", session.generate_token("subscriber"))
    assert response.text == "role: subscriber"


def test_what_a_view_does_to_a_claim_does_not_reach_the_next_request(app, session):
    claims = {"iss": KEY, "ist": "project", "scope": "session.connect", "role": "publisher", "iat": NOW}
    token = jwt.encode({**claims, "session_id": session.session_id, "groups": ["a"]}, SECRET)

    def view(**_):
        groups = list(current_grant.claims["groups"])
        with suppress(AttributeError, TypeError):
            current_grant.claims["groups"].append("admins")
        return ",".join(groups)

    on_a_view(app, require_token, view)
    assert [ask(app, f"/rooms/{session.session_id}", token).text for _ in range(2)] == ["a", "a"]


# -- the session of a route ------------------------------------------------------------------------


def test_the_parameter_that_names_the_session_can_have_another_name(app, kit, session):
    app.add_url_rule("/calls/<call>", "call", require_token(session_param="call")(role_of_the_grant))
    assert ask(app, f"/calls/{session.session_id}", session.generate_token()).status_code == 200
    other = kit.create_session().generate_token("moderator")
    response = ask(app, f"/calls/{session.session_id}", other)
    assert (response.status_code, response.json["code"]) == (403, "wrong_session")


def test_binding_to_the_session_can_be_turned_off(app, kit, session):
    on_a_view(app, require_token(session_param=None), role_of_the_grant)
    assert ask(app, f"/rooms/{session.session_id}", kit.create_session().generate_token()).status_code == 200


def test_a_route_without_the_parameter_takes_a_token_of_any_session(app, session):
    app.add_url_rule("/any", "any", require_token(role_of_the_grant))
    assert ask(app, "/any", session.generate_token()).status_code == 200


def test_a_parameter_named_explicitly_that_the_route_does_not_have_opens_nothing(app, kit, session):
    app.add_url_rule("/calls/<call>", "call", require_token(session_param="cal")(role_of_the_grant))
    response = ask(app, f"/calls/{session.session_id}", kit.create_session().generate_token("moderator"))
    assert response.status_code in {403, 500}


@pytest.mark.parametrize("spelling", ["{0}%00", "{0}%20", "%20{0}", "{0}.", "{0}%0a", "{0}=", "x"])
def test_the_session_is_compared_as_it_stands(app, session, spelling):
    on_a_view(app, require_token, role_of_the_grant)
    response = ask(app, f"/rooms/{spelling.format(session.session_id)}", session.generate_token())
    assert (response.status_code, response.json["code"]) == (403, "wrong_session")


def test_a_session_that_is_named_elsewhere_plays_no_part(app, kit, session):
    on_a_view(app, require_token, role_of_the_grant)
    token = session.generate_token()
    other = kit.create_session().session_id
    path = f"/rooms/{session.session_id}?session_id={other}"
    assert ask(app, path, token, "POST", data={"session_id": other}).status_code == 200
    path = f"/rooms/{other}?session_id={session.session_id}"
    assert ask(app, path, token, "POST", data={"session_id": session.session_id}).status_code == 403


# -- the Authorization header ----------------------------------------------------------------------

AUTHORIZATIONS = [
    ("Bearer {0}", 200),
    ("bearer {0}", 200),
    ("BEARER {0}", 200),
    ("bEaReR   {0}", 200),
    ("  Bearer {0}\t ", 200),
    ("", 401),
    ("   ", 401),
    ("Basic dXNlcjpwYXNzd29yZA==", 401),
    ("Digest username=x", 401),
    ("{0}", 401),
    ("Token {0}", 401),
    ("Bearer", 400),
    ("Bearer ", 400),
    ("Bearer\t{0}", 400),
    ("Bearer \t{0}", 400),
    ("Bearer:{0}", 400),
    ("Bearer={0}", 400),
    ("Bearer{0}", 400),
    ("Bearer {0},", 400),
    ("Bearer ,{0}", 400),
    ("Bearer {0},{0}", 400),
    ("Bearer {0}, Bearer {0}", 400),
    ("Bearer Bearer {0}", 400),
    ("Bearer {0} {0}", 400),
    ("Bearer x {0}", 400),
    ("Basic dXNlcjpwYXNz, Bearer {0}", 400),
    ("Bearer {0}, Basic dXNlcjpwYXNz", 400),
    ("Bearer \xe9{0}", 401),
    ("Bearer {0}\xa0", 400),
    ("Bearer {0}\x00", 401),
    ("Bearer {0}\x7f", 401),
    ("Bearer\xa0{0}", 400),
    ('Bearer "{0}"', 401),
    ("Bearer {0}.", 401),
    ("Bearer {0}=", 401),
    ("Bearer .{0}", 401),
    ("Bearer null", 401),
    ("Bearer " + "x" * 17 * 1024, 431),
    ("Bearer " + "é" * 17 * 1024, 431),
]


@pytest.mark.each_choice
@pytest.mark.parametrize(("value", "status"), AUTHORIZATIONS, ids=lambda value: ascii(value)[:40])
def test_the_authorization_header_is_one_bearer_token(app, session, value, status):
    on_a_view(app, require_token, role_of_the_grant)
    environ = {"HTTP_AUTHORIZATION": value.format(session.generate_token())}
    response = ask(app, f"/rooms/{session.session_id}", environ_overrides=environ)
    assert response.status_code == status
    challenges = {401: 'Bearer realm="rolecall"', 400: 'Bearer realm="rolecall", error="invalid_request"'}
    assert response.headers.get("WWW-Authenticate", "").startswith(challenges.get(status, ""))


def test_a_t1_token_gets_in_where_the_app_asks_for_it(make_kit):
    kit = make_kit(format="t1")
    app, session = flask.Flask(__name__), kit.create_session()
    app.register_blueprint(rolecall_blueprint(kit))
    on_a_view(app, require_role("moderator"), role_of_the_grant)
    token = session.generate_token("moderator", data="Zoë")
    assert ask(app, f"/rooms/{session.session_id}", token).text == "moderator"


@pytest.mark.parametrize("name", ["X-Authorization", "Proxy-Authorization", "X-OPENTOK-AUTH", "X-TB-TOKEN-AUTH"])
def test_no_other_header_carries_a_token(app, session, name):
    on_a_view(app, require_token, role_of_the_grant)
    headers = {name: f"Bearer {session.generate_token()}"}
    assert app.test_client().get(f"/rooms/{session.session_id}", headers=headers).status_code == 401


def test_a_cookie_carries_no_token(app, session):
    on_a_view(app, require_token, role_of_the_grant)
    client = app.test_client()
    client.set_cookie("Authorization", f"Bearer {session.generate_token()}")
    assert client.get(f"/rooms/{session.session_id}").status_code == 401


# -- kits ------------------------------------------------------------------------------------------


def test_without_a_kit_nobody_gets_in(session, caplog):
    app = flask.Flask(__name__)
    on_a_view(app, require_token, role_of_the_grant)
    response = ask(app, f"/rooms/{session.session_id}", session.generate_token())
    assert response.status_code == 500
    assert "this app has no kit" in caplog.text


def test_a_guard_with_a_kit_needs_no_kit_of_the_app(kit, session):
    app = flask.Flask(__name__)
    on_a_view(app, require_token(kit=kit), role_of_the_grant)
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).status_code == 200


@pytest.fixture
def two_kits(app, kit, make_kit):
    other = make_kit(api_key=OTHER_KEY, api_secret=OTHER_SECRET)
    app.register_blueprint(rolecall_blueprint(other, "other"), url_prefix="/other")
    return kit, other


def test_with_two_kits_a_guard_that_names_none_lets_nobody_in(app, two_kits, caplog):
    on_a_view(app, require_token, role_of_the_grant)
    for kit in two_kits:
        session = kit.create_session()
        assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).status_code == 500
    assert "tell each guard which one it is for" in caplog.text


def test_with_two_kits_a_guard_takes_the_tokens_of_its_own(app, two_kits):
    for number, kit in enumerate(two_kits):
        app.add_url_rule(f"/{number}/<session_id>", f"view{number}", require_token(kit=kit)(role_of_the_grant))
    for number, kit in enumerate(two_kits):
        session = kit.create_session()
        token = session.generate_token("moderator")
        assert ask(app, f"/{number}/{session.session_id}", token).status_code == 200
        assert ask(app, f"/{1 - number}/{session.session_id}", token).status_code == 401


def test_one_kit_on_two_blueprints_is_one_kit(app, kit, session):
    app.register_blueprint(rolecall_blueprint(kit, "again"), url_prefix="/again")
    on_a_view(app, require_token, role_of_the_grant)
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).status_code == 200


def test_a_store_that_does_not_answer_lets_nobody_in(make_kit, tmp_path):
    kit = make_kit(store=f"sqlite:///{tmp_path}/sessions.db")
    session = kit.create_session()
    token = session.generate_token("moderator")
    app = flask.Flask(__name__)
    on_a_view(app, require_token(kit=kit), role_of_the_grant)
    path = f"/rooms/{session.session_id}"
    assert ask(app, path, token).status_code == 200
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as raw:
        raw.execute("DROP TABLE rolecall_ended_sessions")
    response = ask(app, path, token)
    assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    assert "no such table" not in response.text


# -- policies --------------------------------------------------------------------------------------


class AllowLookAlike(Allow):
    pass


async def true():
    return True


async def allow():
    return Allow()


def voting(answer):
    """A policy whose vote on entering a route is what ``answer`` returns."""

    class Classroom:
        name = "classroom-policy"

        @hookimpl
        def rolecall_vote_access(self, request):
            return answer(request)

    return Classroom()


def voting_async(answer):
    class Classroom:
        name = "classroom-policy"

        @hookimpl
        async def rolecall_vote_access(self, request):
            await asyncio.sleep(0)
            return answer(request)

    return Classroom()


def fail(request):
    raise RuntimeError("the innermost secret")


def cancel(request):
    raise asyncio.CancelledError


def guarded_by(make_kit, *policies):
    kit = make_kit(plugins=policies)
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    on_a_view(app, require_role("publisher"), role_of_the_grant)
    session = kit.create_session()
    return app, f"/rooms/{session.session_id}", session.generate_token("moderator")


@pytest.mark.parametrize("policy", [voting, voting_async])
@pytest.mark.parametrize(
    ("answer", "role"),
    [
        (lambda _: None, "moderator"),
        (lambda _: Allow(), "moderator"),
        (lambda _: Allow(max_role="publisher"), "publisher"),
        (lambda _: Allow(max_role="moderator", latest_expiry=NOW + 60), "moderator"),
        (lambda _: Allow(capabilities=["connect", "subscribe", "publish", "signal", "force_unpublish"]), "publisher"),
    ],
)
def test_a_policy_lets_in_with_its_limits(make_kit, policy, answer, role):
    app, path, token = guarded_by(make_kit, policy(answer))
    response = ask(app, path, token)
    assert (response.status_code, response.text) == (200, role)


def test_a_policy_that_hands_back_a_coroutine_lets_nobody_in(make_kit):
    app, path, token = guarded_by(make_kit, voting(lambda _: allow()))
    assert ask(app, path, token).status_code == 503


FAULTS = [
    ("raises", fail),
    ("true", lambda _: True),
    ("one", lambda _: 1),
    ("text", lambda _: "allow"),
    ("the class", lambda _: Allow),
    ("a subclass", lambda _: AllowLookAlike()),
    ("a list", lambda _: [Allow()]),
    ("no such role", lambda _: Allow(max_role=untyped("no-such-role"))),
    ("no such capability", lambda _: Allow(capabilities=[untyped("no-such-capability")])),
]


@pytest.mark.each_choice
@pytest.mark.parametrize("policy", [voting, voting_async])
@pytest.mark.parametrize("answer", [answer for _, answer in FAULTS], ids=[name for name, _ in FAULTS])
def test_a_policy_that_fails_to_vote_lets_nobody_in(make_kit, caplog, policy, answer):
    app, path, token = guarded_by(make_kit, policy(answer))
    response = ask(app, path, token)
    assert (response.status_code, response.json["code"]) == (503, "policy_fault")
    assert "classroom-policy" in caplog.text
    assert "classroom-policy" not in response.text
    assert "innermost" not in response.text


def test_a_policy_that_is_cancelled_is_a_fault_like_any_other(make_kit, caplog):
    """``CancelledError`` is no ``Exception``; a policy that awaits a cancelled task raises it."""
    app, path, token = guarded_by(make_kit, voting_async(cancel))
    assert ask(app, path, token).status_code == 503
    assert "classroom-policy" in caplog.text


def test_a_coroutine_of_true_lets_nobody_in(make_kit, caplog):
    app, path, token = guarded_by(make_kit, voting(lambda _: true()))
    assert ask(app, path, token).status_code == 503
    assert "classroom-policy" in caplog.text


@pytest.mark.parametrize("policy", [voting, voting_async])
def test_a_denial_gives_its_reason_and_code_and_keeps_its_detail(make_kit, caplog, policy):
    caplog.set_level(logging.INFO, "rolecall")
    denial = Deny('the class is "over"\r\nX-Evil: 1', "class_is_over", "the innermost secret")
    app, path, token = guarded_by(make_kit, policy(lambda _: denial))
    response = ask(app, path, token)
    assert (response.status_code, response.json["code"]) == (403, "class_is_over")
    assert response.json["detail"] == 'the class is "over"\r\nX-Evil: 1'
    assert "classroom-policy" not in response.text + str(response.headers)
    assert "innermost" not in response.text
    assert "X-Evil" not in response.headers
    assert "classroom-policy" in caplog.text
    assert "the innermost secret" in caplog.text


@pytest.mark.parametrize(
    "limit",
    [
        Allow(max_role="subscriber"),
        Allow(capabilities=["connect"]),
        Allow(capabilities=[]),
        Allow(latest_expiry=NOW - 1),
        Allow(latest_expiry=float("-inf")),
    ],
    ids=["role", "capability", "no capability", "expiry", "no time at all"],
)
def test_a_limit_below_what_the_route_requires_keeps_out(make_kit, limit):
    app, path, token = guarded_by(make_kit, voting(lambda _: limit))
    assert ask(app, path, token).status_code in {401, 403}


def test_a_limit_on_the_expiry_shows_in_the_grant(make_kit):
    kit = make_kit(plugins=[voting(lambda _: Allow(latest_expiry=NOW + 60))])
    app = flask.Flask(__name__)
    session = kit.create_session()
    on_a_view(app, require_token(kit=kit), lambda: str(int(current_grant.expires_at)))
    assert ask(app, f"/rooms/{session.session_id}", session.generate_token()).text == str(NOW + 60)


def test_a_narrowed_grant_is_not_narrowed_for_the_next_request(make_kit):
    limits = iter([Allow(max_role="publisher"), None])
    app, path, token = guarded_by(make_kit, voting(lambda _: next(limits)))
    assert [ask(app, path, token).text for _ in range(2)] == ["publisher", "moderator"]


@pytest.mark.parametrize("order", [1, -1])
def test_one_denial_is_enough_in_whatever_order(make_kit, order):
    allowing, denying = voting(lambda _: Allow()), voting(lambda _: Deny())
    allowing.name = "another-policy"
    app, path, token = guarded_by(make_kit, *[allowing, denying][::order])
    assert ask(app, path, token).status_code == 403


def test_a_policy_is_not_asked_about_a_token_that_is_refused_anyway(make_kit):
    asked: list[Any] = []
    app, path, token = guarded_by(make_kit, voting(asked.append))
    for wrong in (None, "x", token[:-6] + "AAAAAA"):
        ask(app, path, wrong)
    ask(app, "/rooms/another", token)
    assert asked == []


def test_a_policy_sees_the_grant_the_requirement_and_the_route(make_kit):
    asked: list[Any] = []
    app, path, token = guarded_by(make_kit, voting(asked.append))
    ask(app, path, token)
    (request,) = asked
    assert (request.grant.role, request.requirement.scope, request.now) == ("moderator", "role:publisher", NOW)
    assert request.session_id == request.grant.session_id
    assert (request.http.method, request.http.route, request.http.framework) == ("GET", path, "flask")


def test_a_policy_shows_no_token_where_it_is_printed(make_kit):
    asked: list[Any] = []
    app, path, token = guarded_by(make_kit, voting(asked.append))
    ask(app, path, token)
    assert token not in repr(asked)


def test_an_answer_that_the_app_and_its_session_vary_varies_by_the_token_too(kit):
    app = flask.Flask("rooms")
    app.secret_key = "throwaway"

    @app.get("/cached")
    @require_token(kit=kit, session_param=None)
    def cached():
        flask.session.get("name")
        return "for the bearer", {"Cache-Control": "private, max-age=60", "Vary": "Accept-Language"}

    @app.after_request
    def compressed(response):
        response.vary.add("Accept-Encoding")
        return response

    token = kit.create_session().generate_token()
    answer = app.test_client().get("/cached", headers={"Authorization": f"Bearer {token}"})
    assert answer.headers.getlist("Vary") == ["Accept-Language, Authorization, Accept-Encoding, Cookie"]
