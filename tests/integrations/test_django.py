"""Rolecall in Django: guards for views of every kind, URL patterns and the whole site, under WSGI and under ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, iscoroutinefunction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import include, path, re_path, reverse, set_script_prefix
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import rolecall_django
from rolecall import Allow, Deny, Rolecall, Web, hookimpl
from rolecall.errors import ConfigurationError
from rolecall_django import (
    GuardedRequest,
    GuardMixin,
    current_grant,
    find_grant,
    protect,
    public,
    require_capability,
    require_role,
    require_token,
)
from rolecall_django.guards import Refused
from rolecall_django.regexes import readable

from ..django_settings import configure
from ..untyped import untyped

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
MIDDLEWARE = ["rolecall_django.RolecallMiddleware"]


@pytest.fixture
def kit() -> Iterator[Rolecall]:
    with Rolecall(KEY, SECRET, entry_points=False) as kit:
        yield kit


@pytest.fixture
def room(kit) -> str:
    return kit.create_session().session_id


class Browser:
    """Asks a site by Django's test client for WSGI, or by the one for ASGI."""

    def __init__(self, is_async: bool, **options) -> None:
        self._is_async = is_async
        self._client: Any = AsyncClient(**options) if is_async else Client(**options)

    def ask(self, method: str, path: str, token: str | None = None, **options) -> HttpResponse:
        headers = {**options.pop("headers", {}), **({} if token is None else {"Authorization": f"Bearer {token}"})}
        ask = getattr(self._client, method.lower())
        # As Django's own tests do: what is sync runs on this thread.
        return (async_to_sync(ask) if self._is_async else ask)(path, headers=headers, **options)

    def get(self, path: str, token: str | None = None, **options) -> HttpResponse:
        return self.ask("GET", path, token, **options)

    def post(self, path: str, token: str | None = None, **options) -> HttpResponse:
        return self.ask("POST", path, token, **options)

    def post_json(self, path: str, body: object = None, **options) -> HttpResponse:
        return self.ask("POST", path, data=json.dumps(body or {}), content_type="application/json", **options)

    def log_in(self, user) -> None:
        self._client.force_login(user)


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def is_async(request) -> bool:
    return request.param


@pytest.fixture
def serve(kit, is_async) -> Iterator[Callable[..., Browser]]:
    """Serves URL patterns, with the kit as that of the settings."""
    set_script_prefix("/")  # Django leaves that of its last request on the thread
    with ExitStack() as stack:

        def make(*patterns, browser: dict[str, Any] | None = None, handler404=None, **settings) -> Browser:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [*patterns]
            if handler404 is not None:
                vars(module)["handler404"] = handler404
            settings = {"ROLECALL": kit, "MIDDLEWARE": MIDDLEWARE, **settings}
            stack.enter_context(override_settings(ROOT_URLCONF=module, **settings))
            return Browser(is_async, **(browser or {}))

        yield make


def token_of(kit: Rolecall, room: str, role: str = "moderator") -> str:
    return kit.generate_token(room, untyped(role))


def answer(request, **params):
    grant = find_grant(request)
    return HttpResponse(grant.role if grant else "nobody")


async def answer_on_the_loop(request, **params):
    return answer(request)


class Answer(View):
    def get(self, request, **params):
        return answer(request)

    def post(self, request, **params):
        return answer(request)


class AnswerOnTheLoop(View):
    async def get(self, request, **params):
        return answer(request)


def code_of(response) -> str:
    assert response["Content-Type"] == "application/problem+json"
    return response.json()["code"]


# -- guards around views ---------------------------------------------------------------------------


def guarded_function():
    @require_role("publisher")
    def view(request: GuardedRequest, session_id: str) -> HttpResponse:
        return HttpResponse(request.grant.role)

    return view


def guarded_coroutine():
    @require_capability("publish")
    async def view(request, session_id):
        return HttpResponse(current_grant(request).role)

    return view


def guarded_class():
    @require_role("publisher")
    class Guarded(Answer):
        pass

    return Guarded.as_view()


def guarded_class_of_coroutines():
    @require_role("publisher")
    class Guarded(AnswerOnTheLoop):
        pass

    return Guarded.as_view()


def guarded_method():
    class Guarded(View):
        @require_role("publisher")
        def get(self, request, session_id):
            return answer(request)

    return Guarded.as_view()


def guarded_by_djangos_decorator():
    @method_decorator(require_role("publisher"), name="dispatch")
    class Guarded(Answer):
        pass

    return Guarded.as_view()


def guarded_by_mixin():
    class Guarded(GuardMixin, Answer):
        guard = require_role("publisher")

    return Guarded.as_view()


def guarded_between_decorators():
    @csrf_exempt
    @require_role("publisher")
    @wraps(answer)
    def view(request, **params):
        return answer(request)

    return view


GUARDED: list[Callable[[], Any]] = [
    guarded_function,
    guarded_coroutine,
    guarded_class,
    guarded_class_of_coroutines,
    guarded_method,
    guarded_by_djangos_decorator,
    guarded_by_mixin,
    guarded_between_decorators,
]


@pytest.mark.each_choice
@pytest.mark.parametrize("make_view", GUARDED)
def test_a_guarded_view_admits_the_token_and_no_other(serve, kit, room, make_view):
    browser = serve(path("rooms/<session_id>/", make_view()))
    admitted = browser.get(f"/rooms/{room}/", token_of(kit, room))
    assert (admitted.status_code, admitted.content) == (200, b"moderator")
    assert admitted["Cache-Control"] == "no-store"
    assert code_of(browser.get(f"/rooms/{room}/")) == "missing_token"
    assert code_of(browser.get(f"/rooms/{room}/", token_of(kit, room, "subscriber"))) == "insufficient_role"
    assert code_of(browser.get(f"/rooms/{room}/", token_of(kit, kit.create_session().session_id))) == "wrong_session"


def test_a_guard_leaves_a_view_what_it_is():
    assert iscoroutinefunction(guarded_coroutine())
    assert iscoroutinefunction(guarded_class_of_coroutines())
    assert not iscoroutinefunction(guarded_class())
    assert guarded_between_decorators().csrf_exempt


@pytest.mark.parametrize("middleware", [[], MIDDLEWARE])
def test_a_refusal_is_the_kits_also_where_the_site_has_its_own_pages(serve, middleware):
    def own_page(request, exception):
        raise AssertionError("no refusal gets here")

    urls = path("rooms/<session_id>/", guarded_function())
    browser = serve(urls, handler404=own_page, MIDDLEWARE=middleware)
    refused = browser.get("/rooms/1/")
    assert refused.content == (
        b'{"title":"Unauthorized","status":401,"detail":"this route needs a token: send '
        b'\'Authorization: Bearer <token>\'","code":"missing_token"}'
    )
    assert dict(refused.headers) == {
        "WWW-Authenticate": 'Bearer realm="rolecall"',
        "Content-Type": "application/problem+json",
        "Cache-Control": "no-store",
        "Content-Length": str(len(refused.content)),
    }


def test_a_view_may_say_itself_how_it_is_cached(serve, kit, room):
    @require_token
    def view(request, session_id):
        return HttpResponse(headers={"Cache-Control": "private"})

    browser = serve(path("rooms/<session_id>/", view))
    assert browser.get(f"/rooms/{room}/", token_of(kit, room))["Cache-Control"] == "private"


def test_options_runs_no_view(serve):
    browser = serve(path("a/<session_id>/", guarded_function()), path("b/<session_id>/", guarded_class()))
    function, view_class = browser.ask("OPTIONS", "/a/1/"), browser.ask("OPTIONS", "/b/1/")
    assert (function.status_code, function.content, function.has_header("Allow")) == (204, b"", False)
    assert (view_class.status_code, view_class["Allow"]) == (204, "GET, OPTIONS, POST")


def test_an_optional_token_may_be_missing_and_must_not_be_wrong(serve, kit, room):
    browser = serve(path("rooms/<session_id>/", require_token(optional=True)(answer)))
    assert browser.get(f"/rooms/{room}/").content == b"nobody"
    assert browser.get(f"/rooms/{room}/", token_of(kit, room)).content == b"moderator"
    assert browser.get(f"/rooms/{room}/", "x").status_code == 401


def test_outside_of_guards_there_is_no_grant():
    request = RequestFactory().get("/")
    assert find_grant(request) is None
    with pytest.raises(RuntimeError, match="there is no grant here"):
        current_grant(request)


def test_a_view_can_be_called_without_urls(kit, room):
    token = token_of(kit, room)
    for_wsgi = RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
    for_asgi = AsyncRequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
    with override_settings(ROLECALL=kit):
        assert guarded_function()(for_wsgi, session_id=room).content == b"moderator"
        assert guarded_function()(RequestFactory().get("/"), session_id=room).status_code == 401
        assert asyncio.run(guarded_coroutine()(for_asgi, session_id=room)).content == b"moderator"
        assert asyncio.run(guarded_coroutine()(for_wsgi, session_id=room)).content == b"moderator"
        assert asyncio.run(guarded_coroutine()(AsyncRequestFactory().get("/"), session_id=room)).status_code == 401


@pytest.mark.parametrize("middleware", [[], MIDDLEWARE])
def test_a_refusal_is_no_value_for_a_helper(serve, kit, room, middleware):
    @require_role("moderator")
    def is_moderator(request, session_id):
        return True

    def view(request, session_id):
        return HttpResponse("in" if is_moderator(request, session_id=session_id) else "out")

    browser = serve(path("rooms/<session_id>/", view), MIDDLEWARE=middleware)
    assert browser.get(f"/rooms/{room}/", token_of(kit, room)).content == b"in"
    refused = browser.get(f"/rooms/{room}/", token_of(kit, room, "publisher"))
    assert refused.status_code == 403
    if middleware:
        assert code_of(refused) == "insufficient_role"
    else:
        assert refused["Content-Type"] == "text/html; charset=utf-8"  # Django's own page


def test_what_is_raised_at_a_helper_has_the_reason(kit, room):
    request = RequestFactory().get("/")
    request.resolver_match = untyped(ModuleType("match"))
    vars(request.resolver_match).update(func=answer, extra_kwargs={}, captured_kwargs={})
    with override_settings(ROLECALL=kit, ROOT_URLCONF=()), pytest.raises(Refused) as refused:
        guarded_function()(request, session_id=room)
    assert refused.value.error is not None
    assert refused.value.error.code == "missing_token"
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("rooms", "a guard protects a view or a view class"),
        ([], "for URL patterns there is protect"),
        (dict, "it is no django.views.View"),
    ],
)
def test_what_is_no_view_cannot_be_guarded(target, message):
    with pytest.raises(ConfigurationError, match=message):
        require_token(untyped(target))


def test_a_guarded_view_is_called_with_a_request(kit):
    with (
        override_settings(ROLECALL=kit),
        pytest.raises(ConfigurationError, match="whose first argument is the request"),
    ):
        guarded_function()(session_id="1")


def test_a_mixin_behind_the_view_would_guard_nothing():
    with pytest.raises(ConfigurationError, match="put it first"):

        class Behind(Answer, GuardMixin):
            guard = require_token()


def test_a_mixin_needs_a_guard():
    class Unguarded(GuardMixin, Answer):
        pass

    with pytest.raises(ConfigurationError, match="pass a guard of rolecall_django"):
        Unguarded.as_view()


def test_a_subclass_keeps_the_guard_of_a_class(serve, kit, room):
    @require_role("moderator")
    class Base(Answer):
        pass

    class Below(Base):
        def dispatch(self, request, *args, **kwargs):
            return HttpResponse("its own")

    browser = serve(path("rooms/<session_id>/", Below.as_view()))
    assert browser.get(f"/rooms/{room}/").status_code == 401
    assert browser.get(f"/rooms/{room}/", token_of(kit, room)).content == b"its own"


def test_a_guard_that_a_subclass_has_lost_stops_the_site(serve, kit):
    @method_decorator(require_role("moderator"), name="dispatch")
    class Base(Answer):
        pass

    class Below(Base):
        def dispatch(self, request, *args, **kwargs):
            return HttpResponse("open")

    browser = serve(path("rooms/<session_id>/", Below.as_view()), path("me", require_token(answer)))
    with pytest.raises(ConfigurationError, match=r"Below overrides without calling super\(\)\.dispatch"):
        browser.get("/me")


def test_a_subclass_that_calls_the_guarded_dispatch_has_its_guard(serve, kit, room):
    @method_decorator(require_role("moderator"), name="dispatch")
    class Base(Answer):
        pass

    class Below(Base):
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

    browser = serve(path("rooms/<session_id>/", Below.as_view()))
    assert browser.get(f"/rooms/{room}/").status_code == 401
    assert browser.get(f"/rooms/{room}/", token_of(kit, room)).status_code == 200


def test_a_site_with_a_view_beside_its_guard_is_stopped(serve, kit):
    def view(request, session_id):
        return HttpResponse("open")

    browser = serve(path("a/<session_id>/", require_token(view)), path("b/<session_id>/", view))
    with pytest.raises(ConfigurationError, match="a guard \\(token\\) was put around it"):
        browser.get("/a/1/")


# -- the session of a route ------------------------------------------------------------------------


def test_a_group_without_a_name_binds_no_session(serve, kit, room):
    def view(request, name):
        return HttpResponse("in")

    browser = serve(re_path(r"^rooms/([^/]+)/$", require_token(view)))
    with pytest.raises(ConfigurationError, match="'unnamed_1'"):
        browser.get(f"/rooms/{room}/", token_of(kit, room))


def test_a_view_that_gets_groups_without_a_name_is_told_so(kit, room):
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token_of(kit, room)}"})
    guarded = require_token(lambda request, name: HttpResponse("in"))
    unbound = require_token(session_param=None)(lambda request, name: HttpResponse("in"))
    with override_settings(ROLECALL=kit, ROOT_URLCONF=()):
        with pytest.raises(ConfigurationError, match="a group without a name, which no guard can bind"):
            guarded(request, room)
        assert unbound(request, room).content == b"in"


def test_other_parameters_are_settled_by_the_app(serve, kit, room):
    browser = serve(path("rooms/<room>/", require_token(answer)))
    with pytest.raises(ConfigurationError, match="session_param='room'"):
        browser.get(f"/rooms/{room}/", token_of(kit, room))


def test_a_named_parameter_a_converter_and_an_include_bind_the_session(serve, kit, room):
    guard = require_token(session_param="room")
    numbers = require_token(session=lambda request: room if request.resolver_match.kwargs["number"] == 7 else None)
    browser = serve(
        path("a/<slug:room>/", guard(answer)),
        re_path(r"^b/(?P<room>[^/]+)/$", guard(answer)),
        path("c/<room>/", include([path("in/", guard(answer))])),
        path("d/<int:number>/", numbers(answer)),
        path("e/", guard(answer), {"room": room}),
        path("f/", require_token(answer), {"title": "no session"}),
    )
    good, bad = token_of(kit, room), token_of(kit, kit.create_session().session_id)
    for place in (f"/a/{room}/", f"/b/{room}/", f"/c/{room}/in/", "/d/7/", "/e/"):
        assert browser.get(place, good).status_code == 200, place
        assert code_of(browser.get(place, bad)) == "wrong_session", place
    assert code_of(browser.get("/d/8/", good)) == "wrong_session"
    assert browser.get("/f/", bad).status_code == 200


# -- URL patterns, and the whole site --------------------------------------------------------------


@public
def open_to_all(request, **params):
    return HttpResponse("open")


class PartlyPublic(View):
    @public
    def get(self, request, **params):
        return HttpResponse("open")

    def post(self, request, **params):
        return answer(request)


def test_patterns_are_guarded_but_for_what_is_public(serve, kit, room):
    below = include([path("<session_id>/", answer), path("<session_id>/loop/", answer_on_the_loop)])
    rooms: list[Any] = [
        path("open/", open_to_all),
        path("partly/", PartlyPublic.as_view()),
        path("deeper/", below),
        path("others/", public(include([path("a/", Answer.as_view()), path("b/", AnswerOnTheLoop.as_view())]))),
    ]
    browser = serve(path("rooms/", protect(include((rooms, "rooms")), require_role("moderator"))))
    good, bad = token_of(kit, room), token_of(kit, room, "publisher")
    for place in (f"/rooms/deeper/{room}/", f"/rooms/deeper/{room}/loop/"):
        assert browser.get(place, good).content == b"moderator"
        assert code_of(browser.get(place, bad)) == "insufficient_role"
        assert code_of(browser.get(place)) == "missing_token"
    for place in ("open/", "partly/", "others/a/", "others/b/"):
        assert browser.get(f"/rooms/{place}").status_code == 200
    assert browser.post("/rooms/partly/").status_code == 401
    assert reverse("rooms:x", urlconf=untyped(_named())) == "/rooms/x/"


def _named() -> tuple[Any, ...]:
    return (path("rooms/", protect(include(([path("x/", answer, name="x")], "rooms")))),)


def test_protect_takes_patterns():
    with pytest.raises(ConfigurationError, match="is no URL pattern"):
        protect(answer)
    with pytest.raises(ConfigurationError, match="pass a guard"):
        protect([], untyped("moderator"))


def test_the_whole_site_is_guarded_by_a_setting(serve, kit, room):
    browser = serve(
        path("video/", include("rolecall_django.urls")),
        path("rooms/<session_id>/", answer),
        path("loop/<session_id>/", answer_on_the_loop),
        path("partly/", PartlyPublic.as_view()),
        path("open/", open_to_all),
        ROLECALL={"api_key": KEY, "api_secret": SECRET, "entry_points": False, "protect": require_role("publisher")},
    )
    kit = rolecall_django.get_kit()
    room = kit.create_session().session_id
    good, bad = token_of(kit, room), token_of(kit, kit.create_session().session_id)
    for place in (f"/rooms/{room}/", f"/loop/{room}/"):
        admitted = browser.get(place, good)
        assert (admitted.content, admitted["Cache-Control"]) == (b"moderator", "no-store")
        assert code_of(browser.get(place)) == "missing_token"
        assert code_of(browser.get(place, bad)) == "wrong_session"
        assert browser.ask("OPTIONS", place).status_code == 204
    assert browser.get("/open/").content == b"open"
    assert browser.get("/partly/").content == b"open"
    assert code_of(browser.post("/partly/")) == "missing_token"
    assert browser.get("/video/healthz").status_code == 200
    # A path that nobody has tells nothing, either.
    assert code_of(browser.get("/nothing/")) == "missing_token"
    assert browser.get("/nothing/", good).status_code == 404


def test_a_site_of_any_token_says_true(serve, kit):
    browser = serve(path("me/", answer), ROLECALL={"api_key": KEY, "api_secret": SECRET, "protect": True})
    assert browser.get("/me/").status_code == 401


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"api_key": KEY, "api_secret": SECRET, "protect": "moderator"},
            r'ROLECALL\["protect"\] is .*expected True, or',
        ),
        ({"api_key": KEY, "api_secret": SECRET, "sekret": 1}, "sekret"),
        ({"api_key": KEY, "api_secret": "short"}, "32"),
        ("123456", "the setting ROLECALL is .*; expected a dictionary"),
    ],
)
def test_wrong_settings_stop_the_site(serve, setting, message, monkeypatch):
    browser = serve(path("me/", answer), ROLECALL=setting)
    with pytest.raises((ConfigurationError, TypeError), match=message):
        browser.get("/me/")


def test_the_environment_configures_the_kit_too(monkeypatch):
    monkeypatch.setenv("ROLECALL_API_SECRET", SECRET)
    with override_settings(ROLECALL={"api_key": KEY}):
        kit = rolecall_django.get_kit()
        assert kit.api_key == KEY
        assert rolecall_django.get_kit() is kit
    with override_settings(ROLECALL={"api_key": "654321"}):
        assert rolecall_django.get_kit().api_key == "654321"


# -- the kit's own routes --------------------------------------------------------------------------


class Teachers:
    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow() if request.actor and request.http.native.user.username == "ada" else None


@pytest.fixture(scope="module")
def database() -> Iterator[None]:
    from django.db import connection

    connection.creation.create_test_db(verbosity=0)
    yield
    connection.creation.destroy_test_db(":memory:", verbosity=0)


@pytest.fixture
def rolled_back(database) -> Iterator[None]:
    from django.db import transaction

    with transaction.atomic():
        yield
        transaction.set_rollback(True)


USERS = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


@pytest.mark.each_choice
@pytest.mark.parametrize("middleware", [USERS, [*MIDDLEWARE, *USERS]], ids=["alone", "behind the middleware"])
def test_djangos_user_gets_a_session_by_djangos_own_proof(serve, rolled_back, middleware):
    from django.contrib.auth.models import User
    from django.middleware.csrf import _get_new_csrf_string

    options = {"api_key": KEY, "api_secret": SECRET, "plugins": ["rolecall_django.identity:RequestUser", Teachers()]}
    browser = serve(
        path("video/", include("rolecall_django.urls")),
        ROLECALL=options,
        MIDDLEWARE=middleware,
        browser={"enforce_csrf_checks": True},
    )
    nobody = browser.post_json("/video/sessions")
    assert (nobody.status_code, code_of(nobody)) == (403, "not_identified")
    browser.log_in(User.objects.create_user("ada"))
    foreign = browser.post_json("/video/sessions")
    assert (foreign.status_code, code_of(foreign)) == (403, "not_identified")
    secret = _get_new_csrf_string()
    browser._client.cookies["csrftoken"] = secret
    assert browser.post_json("/video/sessions", headers={"X-CSRFToken": secret}).status_code == 201


def test_without_djangos_login_nobody_is_identified(serve):
    options = {"api_key": KEY, "api_secret": SECRET, "plugins": ["rolecall_django.identity:RequestUser"]}
    browser = serve(path("video/", include("rolecall_django.urls")), ROLECALL=options)
    refused = browser.post_json("/video/sessions")
    assert (refused.status_code, code_of(refused)) == (503, "policy_fault")


def test_routes_are_reversed_by_the_kits_names(serve, kit, room):
    second = rolecall_django.rolecall_urls(kit, "second")
    serve(path("video/", include("rolecall_django.urls")), path("again/", second))
    assert reverse("rolecall:tokens", args=[room]) == f"/video/sessions/{room}/tokens"
    assert reverse("second:session", args=[room]) == f"/again/sessions/{room}"
    with pytest.raises(ConfigurationError, match="rolecall_urls takes a Rolecall"):
        rolecall_django.rolecall_urls(untyped("video"))


class Everybody:
    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


def test_a_cookie_of_the_kit_is_the_test_clients_too(serve):
    with Rolecall(KEY, SECRET, plugins=[Everybody()], web=Web(cookie="__Host-rolecall")) as kit:
        room = kit.create_session().session_id
        browser = serve(
            path("video/", include("rolecall_django.urls")),
            path("rooms/<session_id>/", require_token(answer)),
            ROLECALL=kit,
        )
        issued = browser.post_json(f"/video/sessions/{room}/tokens", {"cookie": True}, secure=True)
        assert issued.status_code == 201
        assert {*issued.cookies} == {"__Host-rolecall", "__Host-rolecall-csrf"}
        assert browser.get(f"/rooms/{room}/").content == b"publisher"


def test_loginrequiredmiddleware_leaves_the_kits_routes_alone(serve, kit, room, rolled_back):
    login = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    browser = serve(path("video/", include("rolecall_django.urls")), MIDDLEWARE=[*USERS, login])
    assert browser.get("/video/healthz").status_code == 200
    assert browser.get(f"/video/sessions/{room}", token_of(kit, room)).status_code == 200


def test_what_the_kit_writes_outlives_djangos_own_transaction(kit):
    from django.db import connections

    view: Any = rolecall_django.views.patterns(kit)[0].callback
    assert view._non_atomic_requests == set(connections)


def reading_middleware(get_response):
    def middleware(request):
        assert request.body
        return get_response(request)

    return middleware


def test_a_middleware_that_has_read_the_body_leaves_it_to_the_kit(serve):
    with Rolecall(KEY, SECRET, plugins=[Everybody()]) as kit:
        room = kit.create_session().session_id
        middleware = [f"{__name__}.reading_middleware"]
        browser = serve(path("video/", include("rolecall_django.urls")), ROLECALL=kit, MIDDLEWARE=middleware)
        issued = browser.post_json(f"/video/sessions/{room}/tokens", {"role": "moderator"})
        assert kit.verify_token(issued.json()["token"]).role == "moderator"


# -- hooks, on the request's own connection --------------------------------------------------------


class Plainly:
    @hookimpl
    def rolecall_vote_access(self, request):
        from django.contrib.auth.models import User

        return Allow() if User.objects.count() == 1 else Deny("there are no users")


class Blocking:
    @hookimpl
    def rolecall_vote_access(self, request):
        return Plainly().rolecall_vote_access(request)

    rolecall_vote_access.rolecall_blocks = True  # type: ignore[attr-defined]  # as by @blocking


class Awaiting:
    @hookimpl
    async def rolecall_vote_access(self, request):
        from django.contrib.auth.models import User

        return Allow() if await User.objects.acount() == 1 else Deny("there are no users")


@pytest.mark.each_choice
@pytest.mark.parametrize("view", [answer, answer_on_the_loop])
@pytest.mark.parametrize("policy", [Plainly, Blocking, Awaiting])
def test_a_hook_has_the_requests_own_connection(serve, rolled_back, policy, view):
    from django.contrib.auth.models import User

    with Rolecall(KEY, SECRET, plugins=[policy()]) as kit:
        room = kit.create_session().session_id
        browser = serve(path("rooms/<session_id>/", require_token(view)), ROLECALL=kit)
        assert code_of(browser.get(f"/rooms/{room}/", token_of(kit, room))) == "policy_denied"
        User.objects.create_user("ada")  # in a transaction that no other connection sees
        assert browser.get(f"/rooms/{room}/", token_of(kit, room)).content == b"moderator"


class Slow:
    @hookimpl
    async def rolecall_vote_access(self, request):
        await asyncio.sleep(60)


def test_a_hook_has_a_deadline(serve):
    with Rolecall(KEY, SECRET, plugins=[Slow()], hook_timeout=0.05) as kit:
        room = kit.create_session().session_id
        browser = serve(path("rooms/<session_id>/", require_token(answer)), ROLECALL=kit)
        assert code_of(browser.get(f"/rooms/{room}/", token_of(kit, room))) == "policy_fault"


def test_the_guard_and_the_middleware_need_no_thread_on_the_loop(kit, room, monkeypatch):
    threads = []

    async def counted(self, *args, **kwargs):
        threads.append(self.func)
        return await original(self, *args, **kwargs)

    original = SyncToAsync.__call__
    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    module = ModuleType("urls")
    vars(module)["urlpatterns"] = [
        path("video/", rolecall_django.rolecall_urls(kit)),
        path("rooms/<session_id>/", require_token(kit=kit)(answer_on_the_loop)),
        path("bare/", AnswerOnTheLoop.as_view()),
    ]

    def threads_for(place: str, middleware: list[str]) -> int:
        with override_settings(ROOT_URLCONF=module, ROLECALL=kit, MIDDLEWARE=middleware):
            threads.clear()
            assert Browser(is_async=True).get(place, token_of(kit, room)).status_code == 200
            return len(threads)

    # Django itself uses some, to close an answer.
    of_django = threads_for("/bare/", [])
    assert threads_for("/bare/", MIDDLEWARE) == of_django
    assert threads_for(f"/rooms/{room}/", MIDDLEWARE) == of_django
    assert threads_for(f"/video/sessions/{room}", MIDDLEWARE) == of_django
    assert threads_for(f"/video/sessions/{room}", []) == of_django + 1


# -- answers that stream ---------------------------------------------------------------------------


def test_a_stream_ends_with_its_grant(serve, kit, room, is_async):
    session_id = room

    def endless():
        yield "first"
        kit.end_session(session_id)
        while True:
            yield "more"

    async def endless_on_the_loop():
        yield "first"
        await kit.aio.end_session(session_id)
        while True:
            yield "more"
            await asyncio.sleep(0)

    @require_token
    def view(request, session_id):
        return StreamingHttpResponse(rolecall_django.while_granted(request, endless()))

    @require_token
    async def on_the_loop(request, session_id):
        return StreamingHttpResponse(rolecall_django.while_granted(request, endless_on_the_loop()))

    browser = serve(path("rooms/<session_id>/", on_the_loop if is_async else view))
    response: Any = browser.get(f"/rooms/{room}/", token_of(kit, room))
    assert (response.streaming, response["Cache-Control"]) == (True, "no-store")
    assert _read(response, is_async) == [b"first"]


def _read(response, is_async: bool) -> list[bytes]:
    async def read() -> list[bytes]:
        return [chunk async for chunk in response.streaming_content]

    return async_to_sync(read)() if is_async else [*response.streaming_content]


def test_under_wsgi_no_async_generator_streams(kit, room):
    async def chunks():
        yield b""

    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token_of(kit, room)}"})
    with override_settings(ROLECALL=kit, ROOT_URLCONF=()):
        require_token(answer)(request, session_id=room)
        with pytest.raises(TypeError, match="under WSGI a view streams"):
            rolecall_django.while_granted(request, chunks())


# -- what Django itself does -------------------------------------------------------------------------


def test_the_guard_of_the_site_holds_wherever_the_middleware_stands(serve):
    others = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
    options = {"api_key": KEY, "api_secret": SECRET, "protect": True}
    for middleware in ([*MIDDLEWARE, *others], [*others, *MIDDLEWARE], [others[0], *MIDDLEWARE, others[1]]):
        browser = serve(path("me/", answer), ROLECALL=options, MIDDLEWARE=middleware)
        assert code_of(browser.get("/me/")) == "missing_token"
    # In front of CommonMiddleware, the guard is asked before a redirect tells of a path.
    assert code_of(browser.get("/me")) == "missing_token"


def test_djangos_middleware_adds_no_length_to_an_answer_without_a_body(serve):
    middleware = ["django.middleware.common.CommonMiddleware", "django.middleware.http.ConditionalGetMiddleware"]
    browser = serve(path("me/", require_token(answer)), MIDDLEWARE=middleware)
    assert dict(browser.ask("OPTIONS", "/me/").headers) == {}
    head = browser.ask("HEAD", "/me/")
    assert (head.status_code, head.content, int(head["Content-Length"]) > 0) == (401, b"", True)


class Noting:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        http = request.http
        self.seen.append((http.framework, http.root, http.route))


def test_a_policy_sees_the_path_within_the_site_and_its_root(is_async):
    noting = Noting()
    with Rolecall(KEY, SECRET, plugins=[noting]) as kit:
        room = kit.create_session().session_id
        headers = {"Authorization": f"Bearer {token_of(kit, room)}"}
        view = require_token(kit=kit)(answer)
        if is_async:
            scope: dict[str, Any] = {"root_path": "/outer"}
            request: Any = AsyncRequestFactory(**scope).get(f"/outer/rooms/{room}/", headers=headers)
        else:
            request = RequestFactory(SCRIPT_NAME="/outer").get(f"/rooms/{room}/", headers=headers)
        with override_settings(ROOT_URLCONF=(), ROLECALL=kit):
            assert view(request, session_id=room).status_code == 200
    assert noting.seen == [("django", "/outer", f"/rooms/{room}/")]


def test_the_urls_of_the_readme_are_guarded(serve, kit, room):
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    source = readme.partition("# school/urls.py\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {"__name__": "school.urls"}
    exec(source, namespace)
    browser = serve(*namespace["urlpatterns"])
    token = kit.generate_token(room, "publisher", data="Ada")
    assert browser.get(f"/rooms/{room}/", token).json() == {"welcome": "Ada"}
    assert browser.get(f"/rooms/{room}/").status_code == 401
    assert browser.get(f"/video/sessions/{room}", token).status_code == 200


# -- the rest --------------------------------------------------------------------------------------


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("regex", "text", "names"),
    [
        (r"^rooms/(?P<session_id>[^/]+)/$", "rooms/{session_id}/", {"session_id"}),
        (r"^(\d{4})/(\w+)\.json\Z", "{unnamed_1}/{unnamed_2}.json", {"unnamed_1", "unnamed_2"}),
        (r"^a/(?:(?P<x>\w+)/)?b$", "a/{x}/?b", {"x"}),
        (r"^(?!secret)a/(?P<y>(b|[)c]){2})(z)$", "a/{y}…", {"y"}),
        ("(?x) (?P<x>a)/ # ) a comment", " {x}/ #  a comment", {"x"}),
    ],
)
def test_a_regular_expression_is_readable(regex, text, names):
    assert readable(regex) == (text, names)


def test_a_decorator_of_django_below_or_above_changes_nothing(serve, kit, room):
    above = require_POST(require_token(answer))
    below = require_token(require_POST(answer_post))
    browser = serve(path("above/<session_id>/", above), path("below/<session_id>/", below))
    token = token_of(kit, room)
    assert browser.get(f"/above/{room}/").status_code == 405  # Django's own answer comes first
    assert browser.get(f"/below/{room}/").status_code == 401
    for place in ("above", "below"):
        assert browser.post(f"/{place}/{room}/").status_code == 401
        assert browser.post(f"/{place}/{room}/", token).content == b"moderator"


def answer_post(request, **params):
    return answer(request)
