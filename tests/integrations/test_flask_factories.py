"""What one Flask app does with a view says nothing about another app; within one app a missing guard is found."""

from __future__ import annotations

import functools
import gc
import weakref
from typing import Any

import flask
import pytest
from flask.views import MethodView

from rolecall_flask import current_grant, protect, public, require_role, require_token, rolecall_blueprint


@pytest.fixture
def make_app(make_kit):
    """Makes apps with a kit each; ``app.kit`` is the kit."""

    def make():
        app: Any = flask.Flask(__name__)
        app.kit = make_kit()
        app.register_blueprint(rolecall_blueprint(app.kit), url_prefix="/video")
        return app

    return make


def status(app, path="/x", role=None):
    headers = {"Authorization": f"Bearer {app.kit.create_session().generate_token(role)}"} if role else {}
    return app.test_client().get(path, headers=headers).status_code


# -- one after another -----------------------------------------------------------------------------


def view():
    return "in"


class Lessons(MethodView):
    def get(self):
        return "in"


def a_view(app, guard):
    app.add_url_rule("/x", "x", guard(view) if guard else view)


def a_class_view(app, guard):
    made = Lessons.as_view("x")
    app.add_url_rule("/x", "x", guard(made) if guard else made)


def a_blueprint(app, guard):
    blueprint = flask.Blueprint("x", __name__)
    blueprint.add_url_rule("/x", "x", view)
    app.register_blueprint(guard(blueprint) if guard else blueprint)


def a_decorated_view(app, guard):
    @functools.wraps(view)
    def wrapped():
        return view()

    app.add_url_rule("/x", "x", guard(wrapped) if guard else wrapped)


def a_subclass(app, guard):
    class X(Lessons):
        pass

    app.add_url_rule("/x", view_func=(guard(X) if guard else X).as_view("x"))


FACTORIES = [a_view, a_class_view, a_blueprint, a_decorated_view, a_subclass]


@pytest.mark.each_choice
@pytest.mark.parametrize("guards", [(0, 1, 0), (1, 0, 1), (1, 1, 0, 0)])
@pytest.mark.parametrize("factory", FACTORIES, ids=[factory.__name__ for factory in FACTORIES])
def test_a_factory_may_leave_the_guard_out_in_one_app_and_not_in_the_next(make_app, factory, guards):
    made = []
    for is_guarded in guards:
        app = make_app()
        factory(app, require_token if is_guarded else None)
        made.append(app)
    assert [status(app) for app in made] == [401 if is_guarded else 200 for is_guarded in guards]


@pytest.mark.parametrize("factory", FACTORIES, ids=[factory.__name__ for factory in FACTORIES])
def test_two_apps_may_demand_different_roles_for_one_view(make_app, factory):
    lesser, greater = make_app(), make_app()
    factory(lesser, require_token)
    factory(greater, require_role("moderator"))
    assert [status(app, role="publisher") for app in (lesser, greater)] == [200, 403]


def test_a_guard_in_two_apps_asks_the_kit_of_the_app_at_hand(make_app):
    one, other = make_app(), make_app()
    guarded = require_token(view)
    for app in (one, other):
        app.add_url_rule("/x", "x", guarded)
    session = one.kit.create_session()
    headers = {"Authorization": f"Bearer {session.generate_token()}"}
    one.kit.end_session(session.session_id)  # of which the other kit, in a store of its own, does not know
    answers = [app.test_client().get("/x", headers=headers).status_code for app in (one, other) * 3]
    assert answers == [401, 200] * 3


def test_a_guard_that_has_let_somebody_in_follows_the_apps_kits(make_app, make_kit):
    app = make_app()
    a_view(app, require_token)
    other = make_kit(api_key="2222")
    tokens = [kit.create_session().generate_token() for kit in (app.kit, other)]

    def answers():
        client = app.test_client()
        return [client.get("/x", headers={"Authorization": f"Bearer {token}"}).status_code for token in tokens]

    assert answers() == [200, 401]
    app.extensions["rolecall"][:] = [other]
    assert answers() == [401, 200]
    app.extensions["rolecall"][:] = [app.kit, other]
    app.testing = False
    assert answers() == [500, 500]


def test_a_guard_keeps_no_app_alive(make_app):
    guarded = require_token(view)

    def used():
        app = make_app()
        app.add_url_rule("/x", "x", guarded)
        assert status(app, role="publisher") == 200
        return weakref.ref(app)

    dropped = used()
    gc.collect()
    assert dropped() is None


def test_a_wsgi_app_in_a_guarded_view_finds_the_grant_as_the_guide_to_wsgi_has_it(make_app):
    def inner(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(environ["rolecall.grant"].role).encode()]

    app = make_app()
    app.add_url_rule("/x", "x", require_token(lambda: flask.Response.from_app(inner, flask.request.environ)))
    token = app.kit.create_session().generate_token("moderator")
    assert app.test_client().get("/x", headers={"Authorization": f"Bearer {token}"}).text == "moderator"


def test_a_view_is_guarded_in_one_app_by_decorator_and_in_another_by_protect(make_app):
    one, other = make_app(), protect(make_app())
    one.add_url_rule("/x", "x", require_token(view))
    other.add_url_rule("/x", "x", view)
    assert [status(app) for app in (one, other)] == [401, 401]
    assert [status(app, role="publisher") for app in (one, other)] == [200, 200]


def test_the_kits_own_routes_of_the_open_app_answer(make_app):
    guarded, opened = make_app(), make_app()
    a_view(guarded, require_token)
    a_view(opened, None)
    assert (status(guarded), status(opened), status(opened, "/video/openapi.json")) == (401, 200, 200)


# -- within one app --------------------------------------------------------------------------------


def between_two_routes(app, guard):
    @app.get("/new-path")
    @guard
    @app.get("/x", endpoint="old")
    def secret():
        return str(current_grant.role)


def above_two_routes(app, guard):
    @guard
    @app.get("/new-path", endpoint="new")
    @app.get("/x", endpoint="old")
    def secret():
        return str(current_grant.role)


def between_two_rules_of_a_class(app, guard):
    class Secret(MethodView):
        def get(self):
            return "SECRET"

    made = Secret.as_view("secret")
    app.add_url_rule("/x", "old", made)
    app.add_url_rule("/new-path", "new", guard(made))


def between_the_routes_of_two_blueprints(app, guard):
    old, new = flask.Blueprint("old", __name__), flask.Blueprint("new", __name__)

    @new.get("/new-path")
    @guard
    @old.get("/x")
    def secret():
        return "SECRET"

    app.register_blueprint(old)
    app.register_blueprint(new)


def once_guarded_and_once_bare(app, guard):
    app.add_url_rule("/new-path", "new", guard(view))
    app.add_url_rule("/x", "old", view)


def once_guarded_and_once_bare_as_a_method(app, guard):
    class Lesson:
        def view(self):
            return "in"

    bound = Lesson().view
    app.add_url_rule("/new-path", "new", guard(bound))
    app.add_url_rule("/x", "old", bound)


@pytest.mark.parametrize(
    "build",
    [
        between_two_routes,
        above_two_routes,
        between_two_rules_of_a_class,
        between_the_routes_of_two_blueprints,
        once_guarded_and_once_bare,
        once_guarded_and_once_bare_as_a_method,
    ],
)
@pytest.mark.parametrize("path", ["/x", "/new-path"])
def test_a_view_that_one_route_has_without_its_guard_stops_the_app(make_app, build, path):
    app = make_app()
    build(app, require_role("moderator"))
    assert [status(app, path, role) for role in (None, "moderator")] == [500, 500]


class Guarded(MethodView):
    @require_role("moderator")
    def get(self):
        return "in"


def overriding(get):
    class Bare(Guarded):
        pass

    setattr(Bare, "get", get)
    return Bare


def in_its_place(self):
    return "open"


def around_it(self):
    return f"also {Guarded.get(self)}"


@pytest.mark.parametrize(
    ("bare", "statuses"),
    [
        (overriding(in_its_place), [500, 500]),
        (overriding(around_it), [401, 200]),
        (overriding(public(lambda self: "open")), [200, 200]),
        (overriding(require_role("moderator")(in_its_place)), [401, 200]),
        (require_role("moderator")(overriding(in_its_place)), [401, 200]),
        (overriding(require_token(in_its_place)), [401, 200]),
        (require_token(overriding(in_its_place)), [401, 200]),
    ],
    ids=["bare", "calls it", "public", "guarded anew", "class guarded", "for all", "class for all"],
)
def test_a_subclass_that_overrides_a_guarded_handler_stops_the_app_unless_it_is_said_to_be_open(
    make_app, bare, statuses
):
    app = make_app()
    app.add_url_rule("/x", view_func=bare.as_view("x"))
    app.add_url_rule("/y", "y", require_token(view))
    assert [status(app, role=role) for role in (None, "moderator")] == statuses


@pytest.mark.parametrize("cache", [functools.cache, functools.lru_cache, functools.lru_cache(maxsize=8)])
@pytest.mark.parametrize("role", ["moderator", None])
def test_a_cache_above_a_guard_stops_the_app(make_app, cache, role):
    """What it keeps for one client it would give to everybody."""
    app, runs = make_app(), []

    @app.get("/x")
    @cache
    @require_role("moderator")
    def secret():
        runs.append("secret")
        return "SECRET"

    app.get("/y", endpoint="y")(require_token(view))
    assert [status(app, path, role) for path in ("/x", "/y", "/x")] == [500, 500, 500]
    assert runs == []


def test_a_cache_below_a_guard_is_the_apps_own_affair(make_app):
    app = make_app()
    app.get("/x", endpoint="x")(require_role("moderator")(functools.cache(view)))
    assert [status(app, "/x", role) for role in ("moderator", None)] == [200, 401]


def test_a_guard_around_all_that_demands_as_much_makes_up_for_it(make_app):
    app = protect(make_app(), require_role("moderator"))
    between_two_routes(app, require_role("moderator"))
    assert [status(app, "/x", role) for role in (None, "publisher", "moderator")] == [401, 403, 200]


def test_a_guard_around_all_that_demands_less_does_not(make_app):
    app = protect(make_app(), require_token())
    between_two_routes(app, require_role("moderator"))
    assert status(app, "/x", "publisher") == 500


def test_what_is_marked_as_public_is_meant_to_be_open(make_app):
    app = make_app()

    @app.get("/new-path")
    @require_role("moderator")
    @app.get("/x", endpoint="old")
    @public
    def timetable():
        return "in"

    assert [status(app, path) for path in ("/x", "/new-path")] == [200, 401]


def test_two_views_of_one_function_may_be_guarded_differently(make_app):
    app = make_app()
    app.add_url_rule("/any", "any", require_token(view))
    app.add_url_rule("/x", "x", require_role("moderator")(view))
    assert [status(app, path, "publisher") for path in ("/any", "/x")] == [200, 403]


def test_a_helper_that_is_guarded_and_a_view_that_is_open_are_two(make_app):
    app = make_app()
    a_view(app, None)
    app.add_url_rule("/guarded", "guarded", lambda: require_token(view)())
    assert [status(app, path) for path in ("/guarded", "/x", "/guarded")] == [401, 200, 401]


def test_a_guard_that_is_made_at_each_request_leaves_nothing_behind(make_app):
    def shared():
        return "in"

    app = make_app()
    app.add_url_rule("/x", "x", lambda: require_token(shared)())
    for _ in range(10):
        status(app, "/x", "publisher")
    assert sum(len(value) for value in vars(shared).values()) <= 1
