"""Ways around a guard, or around a policy, that were once open in a Flask app."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
from typing import Any

import flask
import pytest
from flask.views import MethodView, View

from rolecall import Deny, hookimpl
from rolecall.errors import ConfigurationError
from rolecall.policies import AllowAnyone
from rolecall_flask import current_grant, require_role, require_token, rolecall_blueprint
from rolecall_wsgi import RolecallMiddleware


@pytest.fixture
def make_app(make_kit):
    """Makes an app with a kit; ``app.kit`` is the kit."""

    def make(*plugins, register=True):
        app: Any = flask.Flask(__name__)
        app.kit = make_kit(plugins=plugins)
        if register:
            app.register_blueprint(rolecall_blueprint(app.kit), url_prefix="/video")
        return app

    return make


def status(app, path, token=None, **options):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return app.test_client().get(path, headers=headers, **options).status_code


@require_token
class AnyToken(View):
    pass


@require_role("moderator")
class ModeratorsOnly(View):
    def dispatch_request(self):
        return "in"


class Both(AnyToken, ModeratorsOnly):
    pass


class BothTheOtherWay(ModeratorsOnly, AnyToken):
    pass


@pytest.mark.parametrize("view", [ModeratorsOnly, Both, BothTheOtherWay])
def test_with_several_guarded_bases_each_guards(make_app, view):
    app = make_app()
    app.add_url_rule("/x", view_func=view.as_view("x"))
    session = app.kit.create_session()

    assert status(app, "/x", session.generate_token("subscriber")) == 403
    assert status(app, "/x", session.generate_token("moderator")) == 200


# -- a guard that Flask never sees -----------------------------------------------------------------


def timed(view):
    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        return view(*args, **kwargs)

    return wrapper


def above_the_route(app):
    @require_role("moderator")
    @app.get("/x")
    def x():
        return "open"


def above_a_decorator_above_the_route(app):
    @require_role("moderator")
    @timed
    @app.get("/x")
    def x():
        return "open"


def above_the_registration_of_a_class(app):
    def route(view):
        app.add_url_rule("/x", view_func=view.as_view("x"))
        return view

    @require_role("moderator")
    @route
    class X(MethodView):
        def get(self):
            return "open"


def after_the_view_was_made(app):
    class X(MethodView):
        def get(self):
            return "open"

    app.add_url_rule("/x", view_func=X.as_view("x"))
    require_role("moderator")(X)


@pytest.mark.parametrize(
    "build",
    [above_the_route, above_a_decorator_above_the_route, above_the_registration_of_a_class, after_the_view_was_made],
)
def test_a_guard_that_flask_never_sees_stops_the_app(make_app, build):
    app = make_app()
    build(app)
    assert status(app, "/x") == 500


def test_without_a_blueprint_the_first_guarded_request_finds_it(make_app):
    app = make_app(register=False)

    @require_role("moderator", kit=app.kit)
    @app.get("/open")
    def opened():
        return "open"

    @app.get("/guarded")
    @require_token(kit=app.kit)
    def guarded():
        return "in"

    assert status(app, "/guarded", app.kit.create_session().generate_token()) == 500


def test_an_app_itself_is_nothing_to_guard(make_app):
    with pytest.raises(ConfigurationError, match="a blueprint"):
        require_role("moderator")(make_app())


# -- policies that end in unusual ways -------------------------------------------------------------


def cancels_itself(request):
    async def cancel():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    asyncio.run(cancel())


def raises_generator_exit(request):
    raise GeneratorExit


@pytest.mark.parametrize("vote", [cancels_itself, raises_generator_exit])
def test_a_policy_that_ends_like_a_server_is_a_fault_and_no_end_of_the_server(make_app, vote):
    class Policy:
        @hookimpl
        def rolecall_vote_access(self, request):
            return vote(request)

    app = make_app(Policy())
    app.add_url_rule("/x", "x", require_token(lambda: "in"))
    assert status(app, "/x", app.kit.create_session().generate_token()) == 503


def test_an_async_policy_that_waits_for_itself_is_told_so_and_holds_nobody_up(make_app, caplog):
    class Policy:
        kit: Any

        @hookimpl
        async def rolecall_vote_access(self, request):
            self.kit.generate_token(request.grant.session_id)

        @hookimpl
        async def rolecall_vote_token(self, request):
            return None

    policy = Policy()
    app = make_app(policy)
    policy.kit = app.kit
    app.add_url_rule("/x", "x", require_token(lambda: "in"))
    token = app.kit.create_session().generate_token()

    assert status(app, "/x", token) == 503
    assert "deadline" not in caplog.text


def test_a_session_that_ends_while_a_policy_votes_lets_nobody_in(make_app):
    asked, answer = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def rolecall_vote_access(self, request):
            asked.set()
            assert answer.wait(4)

    app = make_app(Slow())
    app.add_url_rule("/x/<session_id>", "x", require_token(lambda session_id: "in"))
    session = app.kit.create_session()
    token, statuses = session.generate_token(), []
    thread = threading.Thread(target=lambda: statuses.append(status(app, f"/x/{session.session_id}", token)))
    thread.start()
    assert asked.wait(4)
    session.end()
    answer.set()
    thread.join(5)

    assert statuses == [401]


# -- requests --------------------------------------------------------------------------------------


def test_a_chunked_body_that_something_read_before_is_not_taken_for_none(make_app):
    app = make_app(AllowAnyone("moderator"))
    app.before_request(lambda: flask.request.stream.read() and None)
    response = app.test_client().post(
        f"/video/sessions/{app.kit.create_session().session_id}/tokens",
        input_stream=io.BytesIO(b'{"role":"subscriber","expires_in":60}'),
        content_type="application/json",
        environ_overrides={
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": "",
        },
    )
    assert response.status_code == 400


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_a_page_of_another_site_cannot_make_a_browser_create_sessions(make_app, header):
    value = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}[header]
    response = make_app(AllowAnyone()).test_client().post("/video/sessions", headers={header: value})
    assert response.status_code == 415


def test_the_kits_own_routes_know_the_session_that_a_preprocessor_took(make_app):
    app = make_app()
    app.url_value_preprocessor(lambda endpoint, values: values and values.pop("session_id", None))
    session = app.kit.create_session()
    assert status(app, f"/video/sessions/{session.session_id}", session.generate_token()) == 200


def test_what_a_client_sends_forges_no_line_of_the_log(make_app, caplog):
    class Quotes:
        @hookimpl
        def rolecall_vote_token(self, request):
            return Deny(f"no token for {request.data}") if request.http else None

    app = make_app(Quotes())
    with caplog.at_level("INFO"):
        app.test_client().post(
            f"/video/sessions/{app.kit.create_session().session_id}/tokens",
            json={"data": "x\nINFO rolecall everything is fine"},
        )
    assert "no token for x?INFO" in caplog.text


def test_a_view_without_a_guard_has_no_grant_though_a_middleware_knows_who_is_there(make_app):
    app = make_app()
    app.testing = True
    app.add_url_rule("/x", "x", lambda: current_grant.role)
    app.wsgi_app = RolecallMiddleware(app.wsgi_app, app.kit, prefix="/rooms")
    token = app.kit.create_session().generate_token()
    with pytest.raises(RuntimeError, match="no grant"):
        status(app, "/x", token)
