"""What ``rolecall.testing`` gives the tests of app teams, and that it leaves everybody else's alone."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask
import pytest
import requests
from werkzeug.test import Client

from rolecall import Actor, Allow, Deny, Role, hookimpl
from rolecall.errors import ExpiredToken, PolicyDenied
from rolecall.request import Request
from rolecall.testing import TokenFor, assert_allowed, assert_refused
from rolecall_flask import current_grant, require_role, rolecall_blueprint

from ...untyped import untyped

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
BEN = Request("POST", "/video/sessions", headers={"x-user": "ben"})


class SchoolPolicy:
    """Ada moderates; who else has a name publishes; Mallory is denied."""

    name = "school"

    @hookimpl
    def rolecall_identify(self, request):
        user = request.headers.get("x-user")
        return Actor(user) if user else None

    @hookimpl
    def rolecall_vote_token(self, request):
        if request.actor is None:
            return None
        if request.actor.id == "mallory":
            return Deny("Mallory was expelled", code="expelled")
        return Allow(max_role="moderator" if request.actor.id == "ada" else "publisher")

    @hookimpl
    def rolecall_vote_access(self, request):
        return Deny("you were sent out", code="sent_out") if request.grant.data == "zoe" else None


class PublishersOnly:
    @hookimpl
    def rolecall_vote_token(self):
        return Allow(max_role="publisher")


@pytest.fixture
def school(rolecall_make_kit):
    return rolecall_make_kit(plugins=[SchoolPolicy()])


@pytest.fixture
def session(school):
    return school.create_session()


@pytest.fixture
def app(rolecall_kit):
    app = flask.Flask(__name__)
    app.secret_key = "test"
    app.register_blueprint(rolecall_blueprint(rolecall_kit), url_prefix="/video")

    @app.get("/classes/<session_id>")
    @require_role("subscriber")
    def show(session_id):
        return {"role": current_grant.role, "data": current_grant.data, "user": flask.session.get("user")}

    @app.post("/login/<user>")
    def login(user):
        flask.session["user"] = user
        return ""

    return app


# -- the clock -------------------------------------------------------------------------------------


def test_the_clock_stands_still(rolecall_clock):
    assert rolecall_clock() == rolecall_clock() == rolecall_clock.now


@pytest.mark.parametrize("by", [90, 90.0, timedelta(minutes=1, seconds=30)])
def test_the_clock_advances_by_seconds_or_a_timedelta(rolecall_clock, by):
    before = rolecall_clock()
    rolecall_clock.advance(by)
    assert rolecall_clock() == before + 90


@pytest.mark.parametrize("moment", [1_800_000_000, datetime.fromtimestamp(1_800_000_000, UTC)])
def test_the_clock_is_set_to_a_moment(rolecall_clock, moment):
    rolecall_clock.set(moment)
    assert rolecall_clock() == 1_800_000_000


def test_the_clock_takes_no_naive_datetime(rolecall_clock):
    with pytest.raises(ValueError, match="time zone"):
        rolecall_clock.set(datetime(2026, 1, 1))


# -- kits and tokens -------------------------------------------------------------------------------


def test_the_kit_has_the_clock_that_stands_still(rolecall_kit, rolecall_clock, rolecall_token_for):
    token = rolecall_token_for("publisher", expires_in=60)
    rolecall_clock.advance(60 + 11)
    with pytest.raises(ExpiredToken):
        rolecall_kit.verify_token(token)


def test_a_token_is_real(rolecall_kit, rolecall_token_for):
    session = rolecall_kit.create_session()
    grant = rolecall_kit.verify_token(rolecall_token_for("moderator", session=session, data="ada"), session.session_id)
    assert (grant.role, grant.data) == ("moderator", "ada")


def test_a_token_is_for_the_session_with_this_id(rolecall_kit, rolecall_token_for):
    session_id = rolecall_kit.create_session().session_id
    assert rolecall_kit.verify_token(rolecall_token_for(session=session_id)).session_id == session_id


def test_two_tokens_without_a_session_are_for_two(rolecall_kit, rolecall_token_for):
    assert len({rolecall_kit.verify_token(rolecall_token_for()).session_id for _ in range(2)}) == 2


@pytest.mark.parametrize("expires_in", [60, timedelta(minutes=1)])
def test_a_token_expires_in_so_many_seconds(rolecall_kit, rolecall_clock, rolecall_token_for, expires_in):
    assert rolecall_kit.verify_token(rolecall_token_for(expires_in=expires_in)).expires_at == rolecall_clock() + 60


def test_a_kit_is_made_with_plugins_and_options(rolecall_make_kit):
    kit = rolecall_make_kit([SchoolPolicy()], api_key="2222", plugin_config={"school": {"open": True}})
    assert (kit.api_key, [plugin.name for plugin in kit.plugins]) == ("2222", ["school"])
    assert kit.plugin_config("school") == {"open": True}


def test_a_kit_for_tests_leaves_out_what_happens_to_be_installed(rolecall_kit):
    assert rolecall_kit.plugins == ()


class TestWithPolicies:
    """``rolecall_kit`` is overridden, as an app team would."""

    @pytest.fixture
    def rolecall_kit(self, rolecall_make_kit):
        return rolecall_make_kit(plugins=[PublishersOnly()])

    def test_a_token_is_for_the_teams_own_kit(self, rolecall_kit, rolecall_token_for):
        assert rolecall_kit.verify_token(rolecall_token_for("publisher")).role == "publisher"

    def test_a_token_of_a_lesser_role_than_asked_for_does_not_go_unnoticed(self, rolecall_token_for):
        with pytest.raises(AssertionError, match=r"leave 'publisher' of the role 'moderator'(?s:.)*PublishersOnly"):
            rolecall_token_for("moderator")


def test_policies_are_asked_for_the_tokens_of_tests(rolecall_make_kit):
    class Closed:
        @hookimpl
        def rolecall_vote_token(self):
            return Deny("closed")

    with pytest.raises(PolicyDenied):
        TokenFor(rolecall_make_kit([Closed()]))("publisher")


# -- clients ---------------------------------------------------------------------------------------


def test_a_flask_client_sends_the_token(app, rolecall_kit, rolecall_as_role):
    session = rolecall_kit.create_session()
    client = rolecall_as_role(app.test_client(), "moderator", session=session, data="ada")
    answer = client.get(f"/classes/{session.session_id}")
    assert answer.json == {"role": "moderator", "data": "ada", "user": None}


def test_the_client_itself_stays_without_a_token(app, rolecall_kit, rolecall_as_role):
    session, client = rolecall_kit.create_session(), app.test_client()
    rolecall_as_role(client, "moderator", session=session)
    assert client.get(f"/classes/{session.session_id}").status_code == 401


def test_two_roles_of_one_client_do_not_mix(app, rolecall_kit, rolecall_as_role):
    session, client = rolecall_kit.create_session(), app.test_client()
    teacher, pupil = (rolecall_as_role(client, role, session=session) for role in ("moderator", "subscriber"))
    path = f"/classes/{session.session_id}"
    assert [teacher.get(path).json["role"], pupil.get(path).json["role"]] == ["moderator", "subscriber"]


def test_who_is_logged_in_stays_so(app, rolecall_kit, rolecall_as_role):
    session, client = rolecall_kit.create_session(), app.test_client()
    client.post("/login/ada")
    answer = rolecall_as_role(client, session=session).get(f"/classes/{session.session_id}")
    assert answer.json["user"] == "ada"


def test_each_flask_client_keeps_its_own_contexts(app, rolecall_kit, rolecall_as_role):
    session, client = rolecall_kit.create_session(), app.test_client()
    with client, rolecall_as_role(client, data="ada", session=session) as other:
        other.get(f"/classes/{session.session_id}")
        assert current_grant.data == "ada"
    with pytest.raises(RuntimeError):
        current_grant.data  # noqa: B018


def test_a_client_with_default_headers_sends_the_token(rolecall_kit, rolecall_as_role):
    client = requests.Session()
    other = rolecall_as_role(client, "moderator")
    sent = other.prepare_request(requests.Request("GET", "http://localhost/")).headers["Authorization"]
    assert rolecall_kit.verify_token(sent.removeprefix("Bearer ")).role == "moderator"
    assert "Authorization" not in client.headers


DJANGO = """
    import asyncio

    import pytest
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
    from django.urls import path

    def show(request):
        return JsonResponse({"sent": request.headers.get("Authorization"), "school": request.headers.get("X-School")})

    async def show_async(request):
        return show(request)

    urlpatterns = [path("show", show), path("show-async", show_async)]
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x" * 50, LOGGING_CONFIG=None)
    get_wsgi_application()

    def sent_by(client, rolecall_kit):
        answer = client.get("/show", headers={"X-School": "a"})
        if asyncio.iscoroutine(answer):
            async def answered():
                return await answer
            answer = asyncio.run(answered())
        assert answer.json()["school"] == "a"
        scheme, _, token = (answer.json()["sent"] or "").partition(" ")
        return scheme and (scheme, rolecall_kit.verify_token(token).role)

    @pytest.mark.parametrize("kind", [Client, AsyncClient])
    def test_a_client(kind, rolecall_kit, rolecall_as_role):
        client = kind()
        moderator, publisher = rolecall_as_role(client, "moderator"), rolecall_as_role(client)
        assert type(moderator) is kind
        assert sent_by(moderator, rolecall_kit) == ("Bearer", "moderator")
        assert sent_by(publisher, rolecall_kit) == ("Bearer", "publisher")
        assert sent_by(client, rolecall_kit) == ""
        assert moderator.cookies is client.cookies

    @pytest.mark.parametrize("kind", [RequestFactory, AsyncRequestFactory])
    def test_a_request(kind, rolecall_kit, rolecall_as_role):
        request = rolecall_as_role(kind(), "moderator").get("/show")
        token = request.headers["Authorization"].removeprefix("Bearer ")
        assert rolecall_kit.verify_token(token).role == "moderator"
"""


@pytest.mark.process
def test_the_clients_of_django_send_the_token(pytester):
    pytester.makepyfile(DJANGO)
    run(pytester, "-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_a_client_that_has_no_default_headers_is_refused_with_advice(app, rolecall_as_role):
    with pytest.raises(TypeError, match="send the token with each request"):
        rolecall_as_role(Client(app))


# -- assertions ------------------------------------------------------------------------------------


def test_a_token_would_be_given(school, session):
    assert assert_allowed(school, session, "moderator").subject == "token"


def test_a_token_would_be_given_for_a_session_id_with_data_for_a_time(school, session):
    assert_allowed(school, session.session_id, data="ben", expires_in=timedelta(hours=1), http=BEN)


def test_a_token_would_be_refused(school, session):
    mallory = Request("POST", "/video/sessions", headers={"x-user": "mallory"})
    assert assert_refused(school, session, http=mallory, code="expelled").allowed is False


def test_what_is_asked_for_in_vain_is_refused(school, session):
    assert_refused(school, session, expires_in=60 * 86_400, code="invalid_expire_time")
    assert_refused(school, session, untyped("principal"), code="invalid_role")


def test_a_lesser_role_is_not_what_was_asked_for(school, session):
    with pytest.raises(AssertionError, match="expected the role 'moderator', but the policies leave 'publisher'"):
        assert_allowed(school, session, "moderator", http=BEN)
    assert_allowed(school, session, "moderator", http=BEN, granted="publisher")


def test_the_granted_role_may_be_one_of_the_apps_own(rolecall_make_kit):
    class Assistants:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("assistant", ["connect", "publish"], wire_name="publisheronly")]

    kit = rolecall_make_kit([Assistants()])
    assert_allowed(kit, kit.create_session(), untyped("assistant"))


def test_a_bearer_enters_a_guarded_route(school, session):
    token = session.generate_token("moderator")
    assert assert_allowed(school, session, "publisher", token=token).subject == "access"
    assert_allowed(school, session, capability="force_disconnect", token=token)
    assert_allowed(school, token=token)


def test_a_bearer_is_kept_out_of_a_guarded_route(school, session):
    assert_refused(school, session, "moderator", token=session.generate_token(), code="insufficient_role")
    assert_refused(school, session, token=school.create_session().generate_token(), code="wrong_session")
    assert_refused(school, session, token=session.generate_token(data="zoe"), code="sent_out")


def test_a_failed_assertion_shows_every_step(school, session):
    with pytest.raises(AssertionError) as failure:
        assert_refused(school, session, code="expelled", http=BEN)
    assert re.search(
        r"refused with 'expelled', but it is allowed.\ntoken: allowed\n(?s:.)*policy school", str(failure.value)
    )


def test_a_refusal_for_another_reason_is_not_the_one_expected(school, session):
    with pytest.raises(
        AssertionError, match="expected to be refused with 'expelled', but it is refused with 'sent_out'"
    ):
        assert_refused(school, token=session.generate_token(data="zoe"), code="expelled")


def test_a_refusal_where_none_was_expected_shows_its_step(school, session):
    with pytest.raises(AssertionError, match=r"but it is refused.\n(?s:.)*policy school +deny +.*you were sent out"):
        assert_allowed(school, token=session.generate_token(data="zoe"))


def test_no_failure_shows_a_token(school, session):
    token = session.generate_token(data="zoe")
    with pytest.raises(AssertionError) as failure:
        assert_allowed(school, token=token)
    assert not any(part in str(failure.value) for part in token.split("."))


@pytest.mark.parametrize(
    "question",
    [{}, {"capability": "publish"}, {"token": "x", "data": "y"}, {"token": "x", "expires_in": 60}],
    ids=lambda question: "+".join(question) or "nothing",
)
def test_a_question_that_cannot_be_meant_is_refused(school, question):
    with pytest.raises(TypeError):
        assert_refused(school, code="invalid_token", **question)


def test_a_role_granted_is_no_question_about_a_token_that_is_there(school, session):
    with pytest.raises(TypeError, match="granted"):
        assert_allowed(school, token=session.generate_token(), granted="publisher")


# -- the plugin in a suite of somebody else --------------------------------------------------------


SUITE = """
    from rolecall.testing import assert_allowed

    def test_it(rolecall_kit, rolecall_token_for):
        assert_allowed(rolecall_kit, token=rolecall_token_for("moderator"), role="moderator")
"""


@pytest.mark.process
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_the_fixtures_are_there_in_every_import_mode_and_raise_no_warning(pytester, mode):
    pytester.makepyfile(SUITE)
    run(pytester, "-p", "no:cacheprovider", f"--import-mode={mode}").assert_outcomes(passed=1)


@pytest.mark.process
def test_the_fixtures_can_be_loaded_by_name_where_autoloading_is_off(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(SUITE)
    run(pytester, "-p", "rolecall.testing").assert_outcomes(passed=1)


@pytest.mark.process
def test_without_the_plugin_the_assertions_are_still_there(pytester):
    pytester.makepyfile("""
        import pytest
        from rolecall.testing import assert_allowed, rolecall_make_kit

        def test_it(request):
            with pytest.raises(pytest.FixtureLookupError):
                request.getfixturevalue("rolecall_kit")
    """)
    run(pytester, "-p", "no:rolecall").assert_outcomes(passed=1)


@pytest.mark.process
def test_a_suite_that_does_not_use_it_is_run_as_without_it(pytester):
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def kit():
            return "my own"

        def test_it(request, kit):
            assert kit == "my own"
            assert [name for name in request.fixturenames if "rolecall" in name] == []
    """)
    with_it, without = (run(pytester, *options) for options in ((), ("-p", "no:rolecall")))
    with_it.assert_outcomes(passed=1)
    without.assert_outcomes(passed=1)


def test_it_adds_no_option_and_hooks_into_nothing():
    import rolecall.testing

    assert [name for name in vars(rolecall.testing) if name.startswith("pytest_")] == []


@pytest.mark.process
def test_loading_it_brings_no_framework_and_no_tls():
    unwanted = {"flask", "starlette", "werkzeug", "asyncio", "ssl", "http.client"}
    code = f"import sys, rolecall.testing; print(sorted({unwanted} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.process
@pytest.mark.process
def test_loading_the_kit_or_its_stores_brings_no_pytest():
    code = "import sys, rolecall, rolecall.stores.calling, rolecall.stores.sqlite; print('pytest' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "False\n"


def test_gevent_patches_in_a_conftest_without_a_warning(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # of other plugins nothing is known here
    pytester.makeconftest("from gevent import monkey; monkey.patch_all()")
    pytester.makepyfile(SUITE)
    run(pytester, "-p", "rolecall.testing").assert_outcomes(passed=1)


@pytest.mark.process
def test_every_fixture_carries_the_prefix(pytester):
    listed = run(pytester, "--fixtures", "-p", "no:cacheprovider").stdout.str()
    ours = listed.partition("fixtures defined from rolecall.testing")[2].partition("fixtures defined from")[0]
    names = re.findall(r"^(\w+)(?: \[\w+ scope\])? -- ", ours, re.MULTILINE)
    assert names == [
        "rolecall_clock",
        "rolecall_make_kit",
        "rolecall_kit",
        "rolecall_token_for",
        "rolecall_as_role",
    ]
    assert all(f"| `{name}" in (ROOT / "docs/testing.md").read_text(encoding="utf-8") for name in names)


@pytest.mark.process
def test_a_failure_points_at_the_line_of_the_test(pytester):
    pytester.makepyfile("""
        from rolecall.testing import assert_allowed, assert_refused

        def test_access(rolecall_kit, rolecall_token_for):
            assert_refused(rolecall_kit, token=rolecall_token_for("moderator"), code="expired_token")

        def test_token(rolecall_kit):
            assert_allowed(rolecall_kit, "no session", "moderator")
    """)
    result = run(pytester, "-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*test_a_failure*.py:4: AssertionError", "*test_a_failure*.py:7: AssertionError"])
    result.stdout.fnmatch_lines(["E *access: allowed", "E *signature *ok*", "E *token: refused (invalid_session_id)"])


@pytest.mark.process
def test_the_tests_in_the_docs_pass(pytester):
    """The page's blocks are run as they stand by ``tests/docs``; this runs the tests that they define."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if ">>> " not in block
    ]
    defined = sum(block.count("def test_") for block in blocks)
    pytester.path.joinpath("test_docs.py").write_text("\n".join(blocks), encoding="utf-8")
    assert defined
    outcomes = run(pytester).parseoutcomes()
    assert outcomes["passed"] >= defined
    assert outcomes.keys() == {"passed"}


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """pytest in a process of its own, where warnings are errors; without plugins that take seconds to be loaded."""
    without = (f"-pno:{name}" for name in ("schemathesis", "faker", "anyio", "hypothesispytest", "time_machine"))
    return pytester.runpytest_subprocess("-W", "error", *without, *options)
