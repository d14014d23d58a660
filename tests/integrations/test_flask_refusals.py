"""A refusal is never a value: wherever in a Flask request a guard stands, the act does not happen, and the client hears
why."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import flask
import pytest
from werkzeug.exceptions import HTTPException, Unauthorized

from rolecall import Deny, Role, RolecallError, Web, hookimpl
from rolecall.errors import ConfigurationError, MissingCredential
from rolecall_flask import (
    Refused,
    current_grant,
    find_grant,
    problem_response,
    protect,
    require_capability,
    require_role,
    require_token,
    rolecall_blueprint,
)

from ..untyped import untyped


@pytest.fixture
def app(kit):
    """An app that knows the kit; without the kit's routes, which take most of the time that it takes to make one."""
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit, routes=()))
    return app


@pytest.fixture
def session(kit):
    return kit.create_session()


def ask(app, path: str = "/x", token: str | None = None, method: str = "GET", **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return app.test_client().open(path, method=method, headers=headers, **options)


# -- wherever the guard stands ---------------------------------------------------------------------


class Wiped(list):
    """What was wiped, by which guarded code."""


def a_helper(guard, wiped):
    @guard
    def wipe():
        wiped.append(1)
        return True

    return wipe


def a_helper_that_is_asked_whether_it_may(guard, wiped):
    @guard
    def may_wipe():
        return True

    return lambda: may_wipe() and wiped.append(1)


def a_helper_that_is_asked_whether_it_may_not(guard, wiped):
    @guard
    def is_forbidden():
        return False

    return lambda: is_forbidden() or wiped.append(1)


def a_method(guard, wiped):
    """Flask-Admin asks its views so."""

    class AdminView:
        @guard
        def is_accessible(self):
            return True

    return lambda: wiped.append(1) if AdminView().is_accessible() else None


def a_property(guard, wiped):
    class User:
        @property
        @guard
        def is_admin(self):
            return True

    return lambda: wiped.append(1) if User().is_admin else None


def a_class_method(guard, wiped):
    class User:
        @classmethod
        @guard
        def wipe(cls):
            wiped.append(1)

    return User.wipe


def a_static_method(guard, wiped):
    class User:
        @staticmethod
        @guard
        def wipe():
            wiped.append(1)

    return User.wipe


def a_comprehension(guard, wiped):
    @guard
    def is_visible(_):
        return True

    return lambda: [wiped.append(item) for item in (1,) if is_visible(item)]


def a_generator_that_is_asked_for_its_first_item(guard, wiped):
    @guard
    def items():
        return iter([1])

    return lambda: wiped.extend(items())


def a_coroutine_function(guard, wiped):
    @guard
    async def may_wipe():
        await asyncio.sleep(0)
        return True

    return lambda: wiped.append(1) if may_wipe() else None


def a_template(guard, wiped):
    @guard
    def wipe():
        wiped.append(1)
        return "wiped"

    return lambda: flask.render_template_string("{% if wipe() %}in{% endif %}", wipe=wipe)


def a_context_processor(guard, wiped):
    @guard
    def variables():
        wiped.append(1)
        return {}

    return lambda: flask.current_app.jinja_env.from_string("{{ variables() }}").render(variables=variables)


def what_is_guarded_at_the_call(guard, wiped):
    return lambda: guard(lambda: wiped.append(1))()


PLACES = [
    a_helper,
    a_helper_that_is_asked_whether_it_may,
    a_helper_that_is_asked_whether_it_may_not,
    a_method,
    a_property,
    a_class_method,
    a_static_method,
    a_comprehension,
    a_generator_that_is_asked_for_its_first_item,
    a_coroutine_function,
    a_template,
    a_context_processor,
    what_is_guarded_at_the_call,
]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def wiped(request, app):
    """What a view wiped that asks guarded code whether it may."""
    wiped = Wiped()
    act = request.param(require_role("moderator"), wiped)

    @app.route("/x", methods=["GET", "POST", "OPTIONS"], provide_automatic_options=False)
    def view():
        act()
        return "done"

    return wiped


@pytest.mark.each_choice
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_is_done_without_a_token_and_the_client_hears_why(app, wiped, method):
    response = ask(app, method=method)
    assert (response.status_code, wiped) == (401, [])
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert response.headers["Content-Type"] == "application/problem+json"


def test_nothing_is_done_with_too_small_a_role(app, wiped, session):
    response = ask(app, token=session.generate_token("publisher"))
    assert (response.status_code, response.json["code"], wiped) == (403, "insufficient_role", [])


def test_what_is_asked_for_is_done_with_the_role(app, wiped, session):
    response = ask(app, token=session.generate_token("moderator"))
    assert (response.status_code, wiped) == (200, [1])


@pytest.mark.each_choice
@pytest.mark.parametrize("role", [None, "publisher", "moderator"])
def test_options_does_nothing(app, wiped, session, role):
    response = ask(app, token=session.generate_token(role) if role else None, method="OPTIONS")
    assert (response.status_code, response.data, wiped) == (200, b"", [])
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_a_resolver_of_graphql_raises_so_that_the_answer_has_an_error_and_no_data(app, session):
    """As its executors do: whatever a resolver raises becomes an error of that field."""

    @require_role("moderator")
    def resolve_secret():
        return "secret"

    @app.get("/x")
    def graphql():
        try:
            return {"data": {"secret": resolve_secret()}}
        except Exception as error:
            return {"data": None, "errors": [{"message": str(error)}]}

    assert ask(app).json["data"] is None
    assert ask(app).json["errors"][0]["message"].startswith("this route needs a token")
    assert ask(app, token=session.generate_token("moderator")).json == {"data": {"secret": "secret"}}


def test_a_view_may_go_on_without_what_was_refused(app):
    @require_role("moderator")
    def secret():
        return "secret"

    @app.get("/x")
    def view():
        try:
            return secret()
        except Refused as refused:
            return {
                "without": refused.error and refused.error.code,
                "status": refused.response and refused.response.status_code,
            }

    assert ask(app).json == {"without": "missing_token", "status": 401}


def test_what_runs_before_a_view_may_ask_a_guard(app, session):
    app.before_request(require_role("moderator")(lambda: None))
    app.get("/x")(lambda: "in")
    assert ask(app).status_code == 401
    assert ask(app, token=session.generate_token("moderator")).text == "in"


# -- what no error handler changes -----------------------------------------------------------------


@pytest.mark.parametrize("error", [Exception, HTTPException, Unauthorized, 400, 401, 403, 500, 503])
def test_no_error_handler_for_everything_or_for_a_status_changes_a_refusal(app, error):
    app.register_error_handler(error, lambda _: ("open sesame", 200))
    app.get("/x")(require_token(lambda: "in"))
    response = ask(app)
    assert (response.status_code, response.json["code"]) == (401, "missing_token")
    assert ask(app, token="a,b").status_code == 400


def test_no_handler_of_a_blueprint_for_everything_changes_a_refusal(app):
    blueprint = flask.Blueprint("x", __name__)
    blueprint.register_error_handler(Exception, lambda _: ("open sesame", 200))
    blueprint.get("/x")(require_token(lambda: "in"))
    app.register_blueprint(blueprint)
    app.register_error_handler(RolecallError, lambda error: ("the app's own", 418))
    assert ask(app).status_code == 401


def test_with_http_exceptions_trapped_nobody_gets_in(app):
    app.config["TRAP_HTTP_EXCEPTIONS"] = True
    app.get("/x")(require_token(lambda: "in"))
    assert ask(app).status_code == 500


# -- an answer in the app's own style --------------------------------------------------------------


def own(error):
    return {"own": error.code, "type": type(error).__name__}, error.status, {"X-Own": "yes"}


async def own_async(error):
    await asyncio.sleep(0)
    return own(error)


@pytest.mark.parametrize("handler", [own, own_async])
@pytest.mark.parametrize("kind", [RolecallError, MissingCredential])
def test_the_apps_error_handler_gets_the_error_itself(app, session, kind, handler):
    app.register_error_handler(kind, handler)
    app.get("/x")(require_role("moderator")(lambda: "in"))
    response = ask(app)
    assert (response.status_code, response.json["own"], response.headers["X-Own"]) == (401, "missing_token", "yes")
    assert response.headers["Cache-Control"] == "no-store"
    refused = ask(app, token=session.generate_token())
    assert refused.status_code == 403
    assert ("own" in refused.json) is (kind is RolecallError)
    assert ask(app, token=session.generate_token("moderator")).text == "in"


@pytest.mark.parametrize("kind", [RolecallError, MissingCredential])
def test_the_error_handler_of_a_blueprint_comes_before_that_of_the_app(app, kind):
    blueprint = flask.Blueprint("x", __name__)
    blueprint.register_error_handler(kind, lambda error: (f"the blueprint's {error.code}", 401))
    blueprint.get("/x")(require_token(lambda: "in"))
    app.register_blueprint(blueprint)
    app.register_error_handler(RolecallError, lambda error: (f"the app's {error.code}", 401))
    app.get("/y")(require_token(lambda: "in"))
    assert (ask(app).text, ask(app, "/y").text) == ("the blueprint's missing_token", "the app's missing_token")


def test_the_error_handler_answers_for_a_helper_too(app):
    app.register_error_handler(RolecallError, own)
    wipe = require_token(lambda: True)
    app.get("/x")(lambda: "in" if wipe() else "out")
    assert ask(app).json["own"] == "missing_token"


def test_the_error_handler_answers_for_a_whole_protected_app(app):
    app.register_error_handler(RolecallError, own)
    protect(app)
    app.get("/x")(lambda: "in")
    assert [ask(app, path).json["own"] for path in ("/x", "/nowhere")] == ["missing_token"] * 2


def test_an_error_handler_that_says_200_runs_nothing_of_the_view(app):
    ran = []
    app.register_error_handler(RolecallError, lambda error: ("please log in", 200))
    app.get("/x")(require_token(lambda: ran.append(1) or "in"))
    assert (ask(app).text, ran) == ("please log in", [])


def test_an_error_handler_that_fails_lets_nobody_in(app):
    ran = []
    app.register_error_handler(RolecallError, lambda error: 1 / 0)
    app.get("/x")(require_token(lambda: ran.append(1) or "in"))
    assert (ask(app).status_code, ran) == (500, [])


def test_an_error_handler_may_send_people_elsewhere(app):
    app.register_error_handler(MissingCredential, lambda error: flask.redirect("/login"))
    app.get("/x")(require_token(lambda: "in"))
    assert ask(app).headers["Location"] == "/login"


def test_problem_response_is_the_answer_of_guards(kit, session):
    def answers(*handlers):
        app = flask.Flask(__name__)
        for handler in handlers:
            app.register_error_handler(RolecallError, handler)
        app.get("/x")(require_role("moderator", kit=kit)(lambda: "in"))
        refused = [ask(app, token=token) for token in (None, "abc", session.generate_token())]
        return [(response.status_code, response.data, list(response.headers)) for response in refused]

    assert answers(problem_response) == answers()


def test_the_answer_to_a_url_with_a_token_sends_it_nowhere(make_kit):
    kit = make_kit(web=Web(query="access_token"))
    app = flask.Flask(__name__)
    app.register_error_handler(RolecallError, own)
    app.get("/x")(require_token(kit=kit)(lambda: "in"))
    response = ask(app, "/x?access_token=abc")
    assert (response.status_code, response.headers["Referrer-Policy"]) == (401, "no-referrer")


def test_a_fault_of_a_policy_is_logged_whoever_answers(make_kit, caplog):
    class Broken:
        name = "broken-policy"

        @hookimpl
        def rolecall_vote_access(self, request):
            return True

    kit = make_kit(plugins=[Broken()])
    app = flask.Flask(__name__)
    app.register_error_handler(RolecallError, own)
    app.get("/x")(require_token(kit=kit)(lambda: "in"))
    assert ask(app, token=kit.create_session().generate_token()).status_code == 503
    assert "broken-policy" in caplog.text


def test_a_denial_of_a_policy_is_seen_with_its_code(make_kit):
    class Closed:
        @hookimpl
        def rolecall_vote_access(self, request):
            return Deny("not today", code="closed")

    kit = make_kit(plugins=[Closed()])
    app = flask.Flask(__name__)
    app.register_error_handler(RolecallError, own)
    app.get("/x")(require_token(kit=kit)(lambda: "in"))
    assert ask(app, token=kit.create_session().generate_token()).json["own"] == "closed"


# -- optional, and exact ---------------------------------------------------------------------------


def whose(**_):
    grant = find_grant()
    return "nobody" if grant is None else str(grant.role)


def test_without_a_token_an_optional_guard_lets_in_with_no_grant(app, session):
    app.get("/x")(require_token(optional=True)(whose))
    assert (ask(app).text, ask(app, token=session.generate_token()).text) == ("nobody", "publisher")


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNzd29yZA==", "Digest username=x", "", "  "])
def test_a_login_of_another_kind_is_no_token(app, value):
    app.get("/x")(require_token(optional=True)(whose))
    assert app.test_client().get("/x", headers={"Authorization": value}).text == "nobody"


@pytest.mark.parametrize(("value", "status"), [("Bearer abc", 401), ("Bearer ", 400), ("Bearer a, Bearer b", 400)])
def test_a_token_that_is_not_good_is_refused_though_none_is_needed(app, value, status):
    app.get("/x")(require_token(optional=True)(whose))
    assert app.test_client().get("/x", headers={"Authorization": value}).status_code == status


def test_an_optional_guard_refuses_a_token_of_another_session(app, kit, session):
    app.get("/rooms/<session_id>")(require_token(optional=True)(whose))
    path = f"/rooms/{session.session_id}"
    other = kit.create_session().generate_token("moderator")
    assert [ask(app, path, token).status_code for token in (None, session.generate_token(), other)] == [200, 200, 403]


def test_an_optional_guard_refuses_a_token_of_an_ended_session(app, kit, session):
    app.get("/x")(require_token(optional=True)(whose))
    token = session.generate_token()
    kit.end_session(session.session_id)
    assert ask(app, token=token).status_code == 401


def test_current_grant_says_where_to_ask_instead(app):
    @app.get("/x")
    @require_token(optional=True)
    def view():
        with pytest.raises(RuntimeError, match=r"ask find_grant\(\)"):
            _ = current_grant.role
        return "none"

    assert ask(app).text == "none"


def test_a_guard_within_an_optional_one_asks_for_its_token(app, session):
    app.get("/x")(require_token(optional=True)(require_role("moderator")(whose)))
    assert [ask(app, token=t).status_code for t in (None, session.generate_token("moderator"))] == [401, 200]


def test_a_whole_app_may_take_tokens_where_there_are_any(app, session):
    protect(app, require_token(optional=True))
    app.get("/x")(whose)
    answers = [ask(app, token=token) for token in (None, session.generate_token(), "abc")]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert ask(app, "/nowhere").status_code == 404


def test_only_true_makes_a_guard_optional():
    with pytest.raises(ConfigurationError, match="expected True or False"):
        require_token(optional=untyped("yes"))


class School:
    """Roles of the app's own; a teacher may do no more than a publisher."""

    roles: ClassVar = ["teacher"]

    @hookimpl
    def rolecall_register_roles(self):

        return [Role("teacher", ["connect", "publish", "signal", "subscribe"], wire_name="publisher")]


def test_an_exact_role_is_that_role_and_no_other(make_kit):
    kit = make_kit(plugins=[School()])
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit))
    app.get("/exact", endpoint="exact")(require_role(untyped("teacher"), exact=True, kit=kit)(whose))
    app.get("/at-least")(require_role(untyped("teacher"), kit=kit)(whose))
    session = kit.create_session()
    roles = ["subscriber", "publisher", "teacher", "moderator"]

    def admitted(path):
        return [role for role in roles if ask(app, path, session.generate_token(role)).status_code == 200]

    assert admitted("/exact") == ["teacher"]
    assert admitted("/at-least") == ["publisher", "teacher", "moderator"]


def test_a_moderator_is_told_that_only_the_role_itself_is_enough(app, session):
    app.get("/x")(require_role("publisher", exact=True)(whose))
    assert ask(app, token=session.generate_token()).status_code == 200
    refused = ask(app, token=session.generate_token("moderator"))
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_role")


def test_a_capability_in_a_helper_is_asked_of_the_request(app, session):
    kick = require_capability("force_disconnect")(lambda: "kicked")
    app.post("/x")(require_token(lambda: kick()))
    assert ask(app, token=session.generate_token(), method="POST").status_code == 403
    assert ask(app, token=session.generate_token("moderator"), method="POST").text == "kicked"
