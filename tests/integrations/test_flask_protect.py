"""A whole blueprint or app behind one guard: everything in it needs a token, unless it is marked as public."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, ClassVar

import flask
import pytest
from flask.views import MethodView, View

from rolecall import Web
from rolecall.errors import ConfigurationError
from rolecall.policies import AllowAnyone
from rolecall_flask import current_grant, protect, public, require_role, require_token, rolecall_blueprint

from ..ids import as_text

COOKIE = "__Host-rolecall"


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone("moderator")])


@pytest.fixture
def session(kit):
    return kit.create_session()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("static")
    return str(tmp_path)


@pytest.fixture
def app(kit, folder):
    """An app that knows the kit; without the kit's routes, which take most of the time that it takes to make one."""
    app = flask.Flask(__name__, static_folder=folder, static_url_path="/static")
    app.register_blueprint(rolecall_blueprint(kit, routes=()))
    return app


def ask(app, path: str, token: str | None = None, method: str = "GET", **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = app.test_client().open(path, method=method, headers=headers, **options)
    response.get_data()
    response.close()
    return response


def status(app, path: str, token: str | None = None, method: str = "GET", **options) -> int:
    return ask(app, path, token, method, **options).status_code


def view() -> str:
    return "in"


class Lessons(MethodView):
    def get(self):
        return "got"

    def post(self):
        return "posted"


# -- every way to write a view ---------------------------------------------------------------------


def as_a_function(target):
    target.add_url_rule("/x", "x", view)


def as_a_coroutine(target):
    @target.get("/x")
    async def x():
        await asyncio.sleep(0)
        return "in"


def as_a_method_view(target):
    target.add_url_rule("/x", view_func=Lessons.as_view("x"))


def as_a_view_class(target):
    class X(View):
        init_every_request = False

        def dispatch_request(self):
            return "in"

    target.add_url_rule("/x", view_func=X.as_view("x"))


def by_an_own_decorator(target):
    @target.get("/x")
    @functools.wraps(view)
    def wrapped():
        return view()


def as_a_partial(target):
    target.add_url_rule("/x", "x", functools.partial(lambda text: text, "in"))


WAYS = [
    as_a_function,
    as_a_coroutine,
    as_a_method_view,
    as_a_view_class,
    by_an_own_decorator,
    as_a_partial,
]


def in_a_blueprint(app, guard, add):
    blueprint = flask.Blueprint("x", __name__)
    protect(blueprint, guard)
    add(blueprint)
    app.register_blueprint(blueprint)


def in_a_blueprint_that_has_it_already(app, guard, add):
    blueprint = flask.Blueprint("x", __name__)
    add(blueprint)
    protect(blueprint, guard)
    app.register_blueprint(blueprint)


def in_a_nested_blueprint(app, guard, add):
    parent, child = flask.Blueprint("parent", __name__), flask.Blueprint("child", __name__)
    add(child)
    parent.register_blueprint(child)
    app.register_blueprint(protect(parent, guard))


def in_a_blueprint_that_was_nested_later(app, guard, add):
    parent, child = protect(flask.Blueprint("parent", __name__), guard), flask.Blueprint("child", __name__)
    grandchild = flask.Blueprint("grandchild", __name__)
    add(grandchild)
    child.register_blueprint(grandchild)
    parent.register_blueprint(child)
    app.register_blueprint(parent)


def in_an_app(app, guard, add):
    protect(app, guard)
    add(app)


def in_an_app_that_has_it_already(app, guard, add):
    add(app)
    protect(app, guard)


def in_a_blueprint_of_an_app(app, guard, add):
    protect(app, guard)
    blueprint = flask.Blueprint("x", __name__)
    add(blueprint)
    app.register_blueprint(blueprint)


PLACES = [
    in_a_blueprint,
    in_a_blueprint_that_has_it_already,
    in_a_nested_blueprint,
    in_a_blueprint_that_was_nested_later,
    in_an_app,
    in_an_app_that_has_it_already,
    in_a_blueprint_of_an_app,
]


@pytest.mark.each_choice
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("add", WAYS)
def test_everything_within_needs_a_token(app, session, place, add):
    place(app, None, add)
    token = session.generate_token("subscriber")
    assert [status(app, "/x", one, method) for method in ("GET", "HEAD") for one in (None, "x", token)] == [
        *(401, 401, 200),
        *(401, 401, 200),
    ]


@pytest.mark.parametrize("place", PLACES)
def test_a_route_with_parameters_lets_nobody_in_until_it_is_said_which_names_the_session(app, session, place, caplog):
    place(app, None, lambda target: target.add_url_rule("/<path:anything>", "x", lambda anything: "in"))
    assert status(app, "/x", session.generate_token()) == 500
    assert "say session_param='anything' if it does" in caplog.text


@pytest.mark.parametrize("place", PLACES)
def test_a_guard_that_binds_no_session_guards_every_path(app, session, place):
    def add(target):
        target.add_url_rule("/<path:anything>", "x", lambda anything: "in")

    place(app, require_token(session_param=None), add)
    assert [status(app, "/x", token) for token in (None, "x", session.generate_token())] == [401, 401, 200]


@pytest.mark.parametrize("place", PLACES)
def test_everything_within_needs_the_role_that_is_asked_for(app, session, place):
    place(app, require_role("moderator"), as_a_function)
    assert status(app, "/x") == 401
    assert status(app, "/x", session.generate_token("publisher")) == 403
    assert status(app, "/x", session.generate_token("moderator")) == 200


@pytest.mark.parametrize("place", PLACES)
def test_a_route_that_names_a_session_needs_a_token_of_it(app, kit, session, place):
    place(app, None, lambda target: target.add_url_rule("/rooms/<session_id>", "x", lambda session_id: "in"))
    path = f"/rooms/{session.session_id}"
    assert status(app, path, session.generate_token()) == 200
    assert status(app, path, kit.create_session().generate_token("moderator")) == 403


@pytest.mark.parametrize("place", PLACES)
def test_the_views_within_have_the_grant(app, session, place):
    place(app, None, lambda target: target.add_url_rule("/x", "x", lambda: str(current_grant.role)))
    response = ask(app, "/x", session.generate_token("moderator"))
    assert (response.text, response.headers["Cache-Control"]) == ("moderator", "no-store")


@pytest.mark.parametrize("place", PLACES)
def test_options_runs_nothing_of_the_app(app, place):
    runs = []
    options = {"methods": ["GET", "POST", "OPTIONS"]}
    place(app, None, lambda target: target.add_url_rule("/x", "x", lambda: runs.append(1) or "in", **options))
    response = ask(app, "/x", method="OPTIONS")
    assert (response.status_code, response.data, runs) == (200, b"", [])
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_an_endpoint_that_gets_its_view_later_needs_a_token(app, session):
    protect(app)
    app.add_url_rule("/x", endpoint="x")
    app.endpoint("x")(lambda: "in")
    assert (status(app, "/x"), status(app, "/x", session.generate_token())) == (401, 200)


def test_protecting_hands_back_what_it_was_given(app):
    blueprint = flask.Blueprint("x", __name__)
    assert (protect(blueprint), protect(app)) == (blueprint, app)


@pytest.mark.parametrize("target", [view, Lessons, None, "app", flask], ids=as_text)
def test_nothing_but_a_blueprint_or_an_app_is_protected(target):
    with pytest.raises(ConfigurationError, match="a blueprint or an app"):
        protect(target)


@pytest.mark.parametrize("wrong", ["moderator", "", require_role])
def test_nothing_but_a_guard_lets_in(app, wrong):
    with pytest.raises(ConfigurationError, match=r"^pass a guard"):
        protect(app, wrong)


def test_a_blueprint_is_protected_under_each_of_its_names(app, session):
    blueprint = protect(flask.Blueprint("x", __name__))
    as_a_function(blueprint)
    app.register_blueprint(blueprint, url_prefix="/a")
    app.register_blueprint(blueprint, url_prefix="/b", name="again")
    assert [status(app, path) for path in ("/a/x", "/b/x")] == [401, 401]
    assert [status(app, path, session.generate_token()) for path in ("/a/x", "/b/x")] == [200, 200]


def test_what_is_beside_a_protected_blueprint_stays_as_it_was(app):
    in_a_blueprint(app, None, as_a_function)
    app.add_url_rule("/open", "open", view)
    sibling = flask.Blueprint("sibling", __name__)
    sibling.add_url_rule("/sibling", "x", view)
    app.register_blueprint(sibling)
    assert [status(app, path) for path in ("/open", "/sibling", "/static/a.txt", "/nowhere")] == [200, 200, 200, 404]


def test_a_parent_is_not_protected_by_its_child(app):
    parent, child = flask.Blueprint("parent", __name__), protect(flask.Blueprint("child", __name__))
    parent.add_url_rule("/parent", "x", view)
    child.add_url_rule("/child", "x", view)
    parent.register_blueprint(child)
    app.register_blueprint(parent)
    assert (status(app, "/parent"), status(app, "/child")) == (200, 401)


def test_a_view_within_may_ask_for_more(app, session):
    in_a_blueprint(app, None, lambda target: target.add_url_rule("/x", "x", require_role("moderator")(lambda: "in")))
    assert status(app, "/x", session.generate_token("publisher")) == 403
    assert status(app, "/x", session.generate_token("moderator")) == 200


def test_a_view_within_cannot_ask_for_less(app, session):
    in_a_blueprint(
        app, require_role("moderator"), lambda target: target.add_url_rule("/x", "x", require_token(lambda: "in"))
    )
    assert status(app, "/x", session.generate_token("publisher")) == 403


def test_a_guard_that_names_a_parameter_lets_nobody_in_where_it_is_missing(app, session, caplog):
    in_an_app(app, require_role("subscriber", session_param="room"), as_a_function)
    assert status(app, "/x", session.generate_token("moderator")) == 500
    assert "which the route does not have" in caplog.text


# -- what is public --------------------------------------------------------------------------------


def other(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@public
def marked():
    return "in"


class Marked(MethodView):
    @public
    def get(self):
        return "got"

    def post(self):
        return "posted"


@public
class AllMarked(MethodView):
    def get(self):
        return "got"

    def post(self):
        return "posted"


class InheritsAMethod(Marked):
    def delete(self):
        return "deleted"


class OverridesAMethod(Marked):
    def get(self):
        return "got"


class InheritsFromAMarkedClass(AllMarked):
    def delete(self):
        return "deleted"


class WithAHead(Marked):
    def head(self):
        return "headed"


class MarkedInDecorators(MethodView):
    decorators: ClassVar = [public]

    def get(self):
        return "got"


class AsyncMarked(MethodView):
    @public
    async def get(self):
        await asyncio.sleep(0)
        return "got"


@public
async def marked_coroutine():
    await asyncio.sleep(0)
    return "in"


@pytest.mark.each_choice
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("open_view", "methods"),
    [
        (marked, {"GET", "HEAD"}),
        (marked_coroutine, {"GET", "HEAD"}),
        (other(marked), {"GET", "HEAD"}),
        (public(other(view)), {"GET", "HEAD"}),
        (public(lambda: "in"), {"GET", "HEAD"}),
        (public(functools.partial(view)), {"GET", "HEAD"}),
        (functools.partial(marked), {"GET", "HEAD"}),
        (Marked, {"GET", "HEAD"}),
        (AllMarked, {"GET", "HEAD", "POST"}),
        (InheritsAMethod, {"GET", "HEAD"}),
        (OverridesAMethod, set()),
        (InheritsFromAMarkedClass, set()),
        (WithAHead, {"GET"}),
        (MarkedInDecorators, {"GET", "HEAD"}),
        (AsyncMarked, {"GET", "HEAD"}),
        (other(view), set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_exactly_what_is_marked_is_open(app, session, place, open_view, methods):
    function = open_view.as_view("x") if isinstance(open_view, type) and issubclass(open_view, View) else open_view
    place(app, None, lambda target: target.add_url_rule("/x", "x", function))
    allowed = ask(app, "/x", session.generate_token(), "OPTIONS").headers["Allow"].split(", ")
    opened = {method for method in allowed if method != "OPTIONS" and status(app, "/x", method=method) == 200}
    assert opened == methods
    token = session.generate_token()
    assert {status(app, "/x", token, method) for method in allowed} == {200}


def test_the_mark_may_stand_above_the_route_decorator(app):
    protect(app)

    @public
    @app.get("/x")
    def x():
        return "in"

    assert status(app, "/x") == 200


def test_a_mark_that_a_decorator_hides_opens_nothing(app):
    def hiding(function):
        return lambda: function()

    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", hiding(marked)))
    assert status(app, "/x") == 401


def test_a_mark_opens_no_guard_of_the_view_itself(app, session):
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", require_role("moderator")(public(lambda: "in"))))
    assert status(app, "/x") == 401
    assert status(app, "/x", session.generate_token("publisher")) == 403
    assert status(app, "/x", session.generate_token("moderator")) == 200


def test_a_method_that_is_changed_before_protect_is_not_public_with_the_one_that_was_sent(app, session):
    @app.before_request
    def override():
        flask.request.method = flask.request.headers.get("X-HTTP-Method-Override", flask.request.method)

    class Notes(MethodView):
        @public
        def get(self):
            return "public"

        def delete(self):
            return "deleted"

    protect(app)
    app.add_url_rule("/x", view_func=Notes.as_view("x"))
    client, delete = app.test_client(), {"X-HTTP-Method-Override": "DELETE"}
    assert [client.get("/x", headers=headers).status_code for headers in ({}, delete)] == [200, 401]
    token = {"Authorization": f"Bearer {session.generate_token()}"}
    assert client.get("/x", headers=delete | token).text == "deleted"


def test_a_public_view_looks_at_no_token(app):
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", marked))
    assert status(app, "/x", "not-a-token") == 200


def test_a_public_view_has_no_grant(app, session):
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", public(lambda: str(current_grant.role))))
    app.testing = True
    with pytest.raises(RuntimeError, match="there is no grant here"):
        ask(app, "/x", session.generate_token())


def test_a_public_view_answers_options_itself(app):
    options = {"methods": ["GET", "OPTIONS"], "provide_automatic_options": False}
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", public(lambda: "own"), **options))
    assert ask(app, "/x", method="OPTIONS").text == "own"


@pytest.mark.parametrize("target", [None, "view", 5, object(), len, Marked().get], ids=as_text)
def test_what_takes_no_mark_is_refused(target):
    with pytest.raises(ConfigurationError):
        public(target)


# -- what else is within an app --------------------------------------------------------------------

OTHER_PATHS = ["/nowhere", "/static/a.txt", "/static/nowhere", "/static/../a.txt", "/x/", "//x", "/X"]


@pytest.mark.parametrize("path", OTHER_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_protected_app_tells_nothing_without_a_token(app, path, method):
    in_an_app(app, None, as_a_function)
    assert status(app, path, method=method) == 401


def test_a_protected_app_is_as_it_was_with_a_token(app, session):
    in_an_app(app, None, as_a_function)
    token = session.generate_token()
    assert status(app, "/nowhere", token) == 404
    assert ask(app, "/static/a.txt", token).text == "static"
    assert status(app, "/x", token, "POST") == 405


def test_a_method_that_no_view_has_needs_a_token_in_an_app(app):
    in_an_app(app, None, as_a_function)
    assert status(app, "/x", method="POST") == 401


def test_the_static_files_of_a_protected_blueprint_need_a_token(app, session, folder):
    app.register_blueprint(protect(flask.Blueprint("x", __name__, static_folder=folder, static_url_path="/files")))
    assert status(app, "/files/a.txt") == 401
    assert ask(app, "/files/a.txt", session.generate_token()).text == "static"


def test_a_redirect_to_the_path_with_a_slash_leads_to_the_guard(app):
    in_an_app(app, None, lambda target: target.add_url_rule("/x/", "x", view))
    assert status(app, "/x", follow_redirects=True) == 401


def test_the_apps_own_error_handlers_answer_within_it(app, session):
    app.register_error_handler(404, lambda error: ("lost", 404))
    app.register_error_handler(401, lambda error: ("open sesame", 200))
    app.register_error_handler(ZeroDivisionError, lambda error: ("divided", 500))
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", lambda: str(1 / 0)))
    assert (ask(app, "/nowhere", session.generate_token()).text, ask(app, "/x", session.generate_token()).text) == (
        "lost",
        "divided",
    )
    assert (status(app, "/nowhere"), status(app, "/x")) == (401, 401)


def test_an_error_handler_runs_nothing_of_a_view_that_was_refused(app):
    runs = []
    in_an_app(app, None, lambda target: target.add_url_rule("/x", "x", lambda: runs.append(1) or "in"))
    app.register_error_handler(Exception, lambda error: ("handled", 200))
    assert (status(app, "/x"), runs) == (401, [])


def test_what_runs_before_requests_of_a_blueprint_runs_behind_the_guard_of_the_app(app):
    runs = []
    protect(app)
    blueprint = flask.Blueprint("x", __name__)
    blueprint.before_request(lambda: runs.append(1))
    as_a_function(blueprint)
    app.register_blueprint(blueprint)
    assert (status(app, "/x"), runs) == (401, [])


def test_a_session_that_a_preprocessor_takes_is_bound_all_the_same(app, kit, session):
    in_an_app(app, None, lambda target: target.add_url_rule("/rooms/<session_id>", "x", view))

    @app.url_value_preprocessor
    def take(endpoint, values):
        flask.g.session_id = (values or {}).pop("session_id", None)

    path = f"/rooms/{session.session_id}"
    assert status(app, path, session.generate_token()) == 200
    assert status(app, path, kit.create_session().generate_token("moderator")) == 403


def test_two_guards_of_one_app_must_both_let_in(app, session):
    protect(app)
    protect(app, require_role("moderator"))
    as_a_function(app)
    assert status(app, "/x", session.generate_token("publisher")) == 403
    assert status(app, "/x", session.generate_token("moderator")) == 200


# -- the kit's own routes --------------------------------------------------------------------------


def test_the_kits_routes_in_a_protected_app_look_after_themselves(kit, session):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    protect(app, require_role("moderator"))
    path = f"/video/sessions/{session.session_id}"
    assert status(app, "/video/sessions", method="POST") == 201
    issued = ask(app, f"{path}/tokens", method="POST", json={"role": "subscriber"})
    assert issued.status_code == 201
    assert status(app, path) == 401
    assert status(app, path, issued.json["token"]) == 200
    assert status(app, path, issued.json["token"], "DELETE") == 403
    assert (status(app, path, method="OPTIONS"), status(app, path, method="PUT")) == (204, 405)


def test_the_kits_routes_in_a_blueprint_of_a_protected_app_look_after_themselves(make_kit):
    app, parent = protect(flask.Flask(__name__)), flask.Blueprint("parent", __name__, url_prefix="/parent")
    parent.register_blueprint(rolecall_blueprint(make_kit(plugins=[AllowAnyone()])))
    as_a_function(parent)
    app.register_blueprint(parent)
    assert (status(app, "/parent/sessions", method="POST"), status(app, "/parent/x")) == (201, 401)


@pytest.fixture
def kit_within_a_protected_blueprint(make_kit):
    kit = make_kit(plugins=[AllowAnyone("moderator")])
    app = flask.Flask(__name__)
    blueprint = protect(flask.Blueprint("parent", __name__), require_role("moderator"))
    blueprint.register_blueprint(rolecall_blueprint(kit))
    app.register_blueprint(blueprint)
    return app, kit


def test_the_kits_routes_in_a_protected_blueprint_are_guarded_with_it(kit_within_a_protected_blueprint):
    app, kit = kit_within_a_protected_blueprint
    session = kit.create_session()
    assert status(app, "/sessions", method="POST") == 401
    assert status(app, "/sessions", session.generate_token("publisher"), "POST") == 403
    assert status(app, "/sessions", session.generate_token("moderator"), "POST") == 201


@pytest.mark.parametrize("method", ["PUT", "PATCH", "PROPFIND"])
def test_no_method_of_the_kits_routes_leads_around_the_guard_of_a_blueprint(kit_within_a_protected_blueprint, method):
    app, kit = kit_within_a_protected_blueprint
    assert status(app, "/sessions", method=method) == 401
    assert status(app, "/sessions", kit.create_session().generate_token("moderator"), method) == 405


def test_without_a_kit_a_protected_app_lets_nobody_in(session, caplog):
    app = protect(flask.Flask(__name__))
    as_a_function(app)
    assert status(app, "/x", session.generate_token()) == 500
    assert "this app has no kit" in caplog.text


# -- with tokens in cookies and in the query -------------------------------------------------------


@pytest.fixture
def web_app(make_kit):
    app: Any = protect(flask.Flask(__name__))
    app.kit = make_kit(web=Web(cookie=COOKIE, query="access_token"), plugins=[AllowAnyone("moderator")])
    app.register_blueprint(rolecall_blueprint(app.kit), url_prefix="/video")
    app.add_url_rule("/x", "x", lambda: str(current_grant.role), methods=["GET", "POST"])
    return app


@pytest.fixture
def logged_in(web_app):
    """A browser's client with a token in its cookie, and the proof that goes with it."""
    client = web_app.test_client()
    path = f"/video/sessions/{web_app.kit.create_session().session_id}/tokens"
    answer = client.post(path, json={"cookie": True, "role": "moderator"}, base_url="https://localhost")
    return functools.partial(client.open, base_url="https://localhost"), answer.json["csrf_token"]


def test_a_cookie_opens_what_only_reads(logged_in):
    ask, _ = logged_in
    assert (ask("/x").text, ask("/x", method="HEAD").status_code) == ("moderator", 200)


def test_a_cookie_changes_nothing_without_its_proof(logged_in):
    ask, proof = logged_in
    refused = ask("/x", method="POST")
    assert (refused.status_code, refused.json["code"]) == (403, "csrf_failed")
    assert ask("/x", method="POST", headers={"X-CSRF-Token": proof[:-1]}).status_code == 403
    assert ask("/x", method="POST", headers={"X-CSRF-Token": proof}).status_code == 200


def test_a_form_field_or_a_parameter_is_no_proof(logged_in):
    ask, proof = logged_in
    assert ask("/x", method="POST", data={"csrf_token": proof, "X-CSRF-Token": proof}).status_code == 403
    assert ask("/x", method="POST", query_string={"csrf_token": proof, "X-CSRF-Token": proof}).status_code == 403
    assert ask("/x", method="POST", headers={"X-HTTP-Method-Override": "GET"}).status_code == 403
    assert ask("/x?_method=GET", method="POST", data={"_method": "GET"}).status_code == 403


def test_a_cookie_and_a_header_are_one_token_too_many(logged_in, web_app):
    ask, _ = logged_in
    token = web_app.kit.create_session().generate_token()
    refused = ask("/x", headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json["code"]) == (400, "malformed_credential")


def test_a_token_in_the_query_opens(web_app):
    token = web_app.kit.create_session().generate_token("moderator")
    assert ask(web_app, f"/x?access_token={token}", method="POST").text == "moderator"
    assert status(web_app, f"/x?access_token={token}&access_token={token}") == 400
    assert status(web_app, "/x?access_token=") == 400
    assert status(web_app, f"/x?access_token={token}", token) == 400
    assert status(web_app, "/x", method="POST", data={"access_token": token}) == 401


def test_no_log_shows_the_token_in_the_query(web_app, caplog):
    caplog.set_level("DEBUG")
    token = web_app.kit.create_session().generate_token("moderator")
    web_app.add_url_rule("/rooms/<session_id>", "room", lambda session_id: "in")
    for query in (f"access_token={token}", f"access_token={token[:-6]}AAAAAA", f"access_token={token},{token}"):
        for path in ("/x", "/rooms/another", "/video/sessions/another", "/nowhere"):
            response = ask(web_app, f"{path}?{query}")
            assert token[:60] not in response.text + str(response.headers)
    assert token[:60] not in caplog.text
