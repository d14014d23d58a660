"""Ways around guards in a Django site: what stands around a view, in front of it, or beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction
from django.conf.urls.i18n import i18n_patterns
from django.core.cache import cache
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path, re_path, register_converter, set_script_prefix
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, cache_page
from django.views.decorators.csrf import csrf_exempt
from django.views.static import serve as serve_files

from rolecall import Rolecall, Web
from rolecall.errors import ConfigurationError
from rolecall_django import protect, public, require_role, require_token

from ..django_settings import configure

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
HERE = "tests.integrations.test_django_attacks"
ROLECALL = "rolecall_django.RolecallMiddleware"
GUARDED = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, "protect": True}
Ask = Callable[..., Any]


@pytest.fixture
def kit() -> Iterator[Rolecall]:
    with Rolecall(KEY, SECRET, entry_points=False) as kit:
        yield kit


@pytest.fixture
def room(kit) -> str:
    return kit.create_session().session_id


@pytest.fixture
def token(kit, room) -> str:
    return kit.generate_token(room)


@pytest.fixture
def other_token(kit) -> str:
    """A token for another session."""
    return kit.create_session().generate_token()


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def serve(request, kit) -> Iterator[Callable[..., Ask]]:
    """Serves URL patterns; returns the function that asks them."""
    set_script_prefix("/")
    cache.clear()
    with ExitStack() as stack:

        def make(*patterns, **settings) -> Ask:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [*patterns]
            settings = {"ROLECALL": kit, "MIDDLEWARE": [ROLECALL], **settings}
            stack.enter_context(override_settings(ROOT_URLCONF=module, **settings))
            client: Any = AsyncClient() if request.param else Client()

            def ask(path: str, token: str | None = None, method: str = "GET", **headers) -> Any:
                sent = {name.replace("_", "-"): value for name, value in headers.items()}
                if token is not None:
                    sent["Authorization"] = f"Bearer {token}"

                async def send() -> Any:
                    return await client.generic(method, path, headers=sent)

                return async_to_sync(send)() if request.param else client.generic(method, path, headers=sent)

            return ask

        yield make


def secret(request, *args, **params) -> HttpResponse:
    return HttpResponse("secret")


def views() -> Callable[..., HttpResponse]:
    """A view that nobody else has, and so no mark of others."""

    def view(request, *args, **params):
        return HttpResponse("secret")

    return view


class Secret(View):
    def get(self, request, **params):
        return HttpResponse("secret")

    delete = post = get


def is_in(response) -> bool:
    content = b"".join(response) if response.streaming and not response.is_async else response.getvalue()
    assert (b"secret" in content) == (response.status_code == 200)
    return b"secret" in content


# -- caches ----------------------------------------------------------------------------------------


def cacheable(view):
    @wraps(view)
    def wrapper(*args, **kwargs):
        response = view(*args, **kwargs)
        response["Cache-Control"] = "max-age=60"
        return response

    return wrapper


SITE_CACHE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    ROLECALL,
    "django.middleware.cache.FetchFromCacheMiddleware",
]
CACHED = {
    "the site": (SITE_CACHE, require_token),
    "the site, in front": ([SITE_CACHE[0], SITE_CACHE[2], ROLECALL], require_token),
    "the site, of pages that the app lets be cached": (
        [SITE_CACHE[0], SITE_CACHE[2], ROLECALL],
        lambda view: require_token(cacheable(view)),
    ),
    "the site, of cached pages": (
        [SITE_CACHE[0], SITE_CACHE[2], ROLECALL],
        lambda view: require_token(cache_page(60)(view)),
    ),
    "a page above the guard": ([ROLECALL], lambda view: cache_page(60)(require_token(view))),
    "a page above the guard that the app lets be cached": (
        [ROLECALL],
        lambda view: cache_page(60)(require_token(cacheable(view))),
    ),
    "a page above the guard, with its own rules": (
        [ROLECALL],
        lambda view: cache_page(60)(require_token(cache_control(max_age=60)(view))),
    ),
    "a page above patterns": ([ROLECALL], lambda view: cache_page(60)(protect(path("x", cacheable(view))).callback)),
}


@pytest.mark.each_choice
@pytest.mark.parametrize("case", CACHED.values(), ids=CACHED)
def test_a_cached_page_is_not_for_others(serve, room, token, other_token, case):
    middleware, guard = case
    ask = serve(path("rooms/<session_id>/", guard(views())), MIDDLEWARE=middleware)
    for _ in range(2):
        assert is_in(ask(f"/rooms/{room}/", token))
        assert not is_in(ask(f"/rooms/{room}/"))
        assert not is_in(ask(f"/rooms/{room}/", other_token))


@pytest.mark.each_choice
@pytest.mark.parametrize("middleware", [SITE_CACHE, [SITE_CACHE[0], SITE_CACHE[2], ROLECALL]])
def test_a_cached_page_of_a_guarded_site_is_not_for_others(serve, kit, middleware):
    own = Rolecall(KEY, SECRET, entry_points=False)
    token = own.create_session().generate_token()
    own.close()
    for view in (cacheable(views()), cache_page(60)(views())):
        ask = serve(path("me/", view), ROLECALL=GUARDED, MIDDLEWARE=middleware)
        for _ in range(2):
            assert is_in(ask("/me/", token))
            assert not is_in(ask("/me/"))


@pytest.mark.each_choice
@pytest.mark.parametrize("around", [lambda view: view, cache_page(60)], ids=["the site", "the page"])
def test_a_cached_page_is_for_the_cookie_that_it_was_made_for(serve, around):
    with Rolecall(KEY, SECRET, web=Web(cookie="__Host-rolecall"), entry_points=False) as kit:
        session = kit.create_session()
        middleware = [SITE_CACHE[0], SITE_CACHE[2], ROLECALL]
        view = around(require_token(cacheable(views())))
        ask = serve(path("rooms/<session_id>/", view), ROLECALL=kit, MIDDLEWARE=middleware)
        place, cookie = f"/rooms/{session.session_id}/", f"__Host-rolecall={session.generate_token()}"
        for _ in range(2):
            assert is_in(ask(place, Cookie=cookie))
            assert not is_in(ask(place))


def test_a_cached_answer_of_the_rest_framework_is_for_its_cookie(serve):
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from rolecall_django import rest

    class Room(APIView):
        permission_classes = (rest.TokenRequired,)

        def get(self, request, session_id):
            return Response("secret", headers={"Cache-Control": "max-age=60"})

    with Rolecall(KEY, SECRET, web=Web(cookie="__Host-rolecall"), entry_points=False) as kit:
        session = kit.create_session()
        middleware = [SITE_CACHE[0], SITE_CACHE[2], ROLECALL]
        ask = serve(path("rooms/<session_id>/", Room.as_view()), ROLECALL=kit, MIDDLEWARE=middleware)
        place, cookie = f"/rooms/{session.session_id}/", f"__Host-rolecall={session.generate_token()}"
        for _ in range(2):
            assert is_in(ask(place, Cookie=cookie))
            assert not is_in(ask(place))


# -- what answers instead of a view -----------------------------------------------------------------


class Answering:
    """Middleware that answers where Django lets it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)


class AnsweringView(Answering):
    def process_view(self, request, view, args, kwargs):
        return HttpResponse("secret")


class Fallback(Answering):
    """As the flat pages of django.contrib: for paths that no view has."""

    def __call__(self, request):
        response = self.get_response(request)
        return HttpResponse("secret") if response.status_code == 404 else response


class Resolving(Answering):
    def __call__(self, request):
        from django.urls import resolve

        request.resolver_match = resolve(request.path_info)
        return HttpResponse("secret")


class Overriding(Answering):
    """As django-method-override has it."""

    def process_view(self, request, view, args, kwargs):
        request.method = request.headers.get("X-HTTP-Method-Override", request.method)


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("answering", "is_first"),
    [("AnsweringView", False), ("AnsweringView", True), ("Fallback", False), ("Fallback", True), ("Resolving", False)],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD"])
def test_nothing_in_a_guarded_site_answers_without_a_token(serve, answering, is_first, method):
    name = f"{HERE}.{answering}"
    path_asked = "/none/" if answering == "Fallback" else "/me/"
    ask = serve(path("me/", views()), ROLECALL=GUARDED, MIDDLEWARE=[name, ROLECALL] if is_first else [ROLECALL, name])
    assert ask(path_asked, method=method).status_code in ((401,) if method != "OPTIONS" else (204, 401))
    assert not is_in(ask(path_asked, method=method))


class Partly(View):
    @public
    def get(self, request):
        return HttpResponse("open")

    def delete(self, request):
        return HttpResponse("secret")


class Checking(Answering):
    """Has a guarded helper check each request, and overlooks what it returns."""

    def __call__(self, request):
        self.check(request)
        return HttpResponse("secret")

    @staticmethod
    @require_token
    def check(request):
        return None


def test_a_guarded_helper_of_middleware_is_not_overlooked(serve, token):
    ask = serve(path("me/", views()), MIDDLEWARE=[ROLECALL, f"{HERE}.Checking"])
    assert ask("/me/").status_code == 403
    assert is_in(ask("/me/", token))


@pytest.mark.each_choice
@pytest.mark.parametrize("is_first", [False, True])
def test_a_method_that_is_overridden_is_judged_as_it_runs(serve, is_first):
    name = f"{HERE}.Overriding"
    ask = serve(
        path("me/", Partly.as_view()), ROLECALL=GUARDED, MIDDLEWARE=[name, ROLECALL] if is_first else [ROLECALL, name]
    )
    assert ask("/me/").content == b"open"
    assert not is_in(ask("/me/", X_HTTP_Method_Override="DELETE"))


# -- sessions of routes ------------------------------------------------------------------------------


class Room:
    regex = "[^/]+"

    def to_python(self, value):
        return value.upper()

    def to_url(self, value):
        return value


register_converter(Room, "attacked_room")


@wraps(serve_files)
def files_of_a_room(request, session_id, path):
    return HttpResponse("secret")


def test_files_of_a_session_are_for_its_tokens(serve):
    own = Rolecall(KEY, SECRET, entry_points=False)
    room = own.create_session().session_id
    ask = serve(path("rooms/<session_id>/files/<path:path>", files_of_a_room), ROLECALL=GUARDED)
    assert is_in(ask(f"/rooms/{room}/files/a", own.generate_token(room)))
    assert not is_in(ask(f"/rooms/{room}/files/a", own.create_session().generate_token()))
    own.close()


PLACES = {
    "nested": path("a/", include([path("<session_id>/", include([path("b/", require_token(views()))]))])),
    "namespaced": path("a/<session_id>/", include(([path("b/", require_token(views()))], "app"), namespace="one")),
    "regex": re_path(r"^a/(?P<session_id>[^/]+)/b/$", require_token(views())),
    "regex in regex": re_path(r"^a/", include([re_path(r"^(?P<session_id>[^/]+)/b/$", require_token(views()))])),
    "class": path("a/<session_id>/b/", require_token(Secret.as_view())),
    "exempt": path("a/<session_id>/b/", csrf_exempt(require_token(csrf_exempt(views())))),
    "protect": path("a/<session_id>/", protect(include([path("b/", include([path("", views())]))]))),
    "protect, in protect": protect(path("a/<session_id>/", protect(include([path("b/", views())])))),
    "path": path("a/<path:session_id>/b/", require_token(views())),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_place_takes_the_tokens_of_its_session_alone(serve, room, token, other_token, place):
    ask = serve(place)
    assert is_in(ask(f"/a/{room}/b/", token))
    for method in ("GET", "HEAD", "POST", "DELETE", "get", "PROPFIND"):
        assert ask(f"/a/{room}/b/", method=method).status_code == 401
        assert ask(f"/a/{room}/b/", other_token, method=method).status_code == 403
    other_paths = (
        f"//a/{room}/b/",
        f"/a//{room}/b/",
        f"/a/{room}%2Fb/",
        f"/a/{room}/b%2F",
        f"/a/{room}%00/b/",
        f"/a/{room}%20/b/",
        f"/a/./{room}/b/",
        f"/a/{room};x/b/",
        f"/a/{room}/b/%0A",
        f"/a/{room.lower()}/b/",
        f"/a/x%2F..%2F{room}/b/",
    )
    for other in other_paths:
        for sent in (other_token, None):
            assert not is_in(ask(other, sent)), other


def test_a_path_without_its_optional_session_takes_no_token(serve, room, token, other_token):
    pattern = r"(?:(?P<session_id>[^/]+)/)?$"
    ask = serve(
        re_path(f"^a/{pattern}", require_token(views())),
        path("b/", include([re_path(pattern, protect(include([path("", views())])))])),
        path("c/", require_token(views())),
    )
    for place in ("a", "b"):
        assert is_in(ask(f"/{place}/{room}/", token))
        for given, status in ((None, 401), (token, 403), (other_token, 403)):
            assert ask(f"/{place}/", given).status_code == status
    assert is_in(ask("/c/", token))


def test_i18n_patterns_are_guarded(serve, room, token, other_token):
    urls = i18n_patterns(path("rooms/<session_id>/", require_token(views())))
    ask = serve(
        *protect([*urls], require_role("publisher")), MIDDLEWARE=[ROLECALL, "django.middleware.locale.LocaleMiddleware"]
    )
    assert is_in(ask(f"/en/rooms/{room}/", token))
    assert not is_in(ask(f"/en/rooms/{room}/", other_token))
    assert not is_in(ask(f"/en/rooms/{room}/"))


def test_a_converted_session_is_the_one_that_the_view_sees(serve, room, token):
    ask = serve(path("rooms/<attacked_room:session_id>/", require_token(views())))
    assert not is_in(ask(f"/rooms/{room}/", token))


# -- views that hide a guard ---------------------------------------------------------------------------


class GuardedDispatch(View):
    @method_decorator(require_token)
    def dispatch(self, request, *args, **kwargs):
        return super().dispatch(request, *args, **kwargs)

    def get(self, request, **params):
        return HttpResponse("secret")


class GuardedGet(View):
    @require_token
    def get(self, request, **params):
        return HttpResponse("secret")


class IgnoresDispatch(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        super().dispatch(request, *args, **kwargs)
        return HttpResponse("secret")


class IgnoresGet(GuardedGet):
    def get(self, request, **params):
        super().get(request, **params)
        return HttpResponse("secret")


class GetForPost(GuardedGet):
    def post(self, request, **params):
        self.get(request, **params)
        return HttpResponse("secret")


class HeadByGet(GuardedGet):
    def head(self, request, **params):
        self.get(request, **params)
        return HttpResponse("secret")


class AsyncIgnores(View):
    async def get(self, request, **params):
        await self.check(request, **params)
        return HttpResponse("secret")

    @require_token
    async def check(self, request, **params):
        return HttpResponse()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "view", [IgnoresDispatch, IgnoresGet, GetForPost, HeadByGet, AsyncIgnores, GuardedDispatch, GuardedGet]
)
@pytest.mark.parametrize("middleware", [[ROLECALL], []], ids=["", "without middleware"])
def test_an_answer_that_refuses_cannot_be_ignored(serve, room, token, view, middleware):
    ask = serve(path("rooms/<session_id>/", view.as_view()), MIDDLEWARE=middleware)
    method = {GetForPost: "POST", HeadByGet: "HEAD"}.get(view, "GET")
    assert ask(f"/rooms/{room}/", method=method).status_code in (401, 403)
    assert ask(f"/rooms/{room}/", token, method=method).status_code == 200
    if middleware:
        assert ask(f"/rooms/{room}/", method=method).status_code == 401


class Lost(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        return HttpResponse("secret")


class PassedOver(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        return View.dispatch(self, request, *args, **kwargs)


class PassedOverBySuper(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        return super(GuardedDispatch, self).dispatch(request, *args, **kwargs)


class LostGet(GuardedGet):
    def get(self, request, **params):
        return HttpResponse("secret" if request.GET.get("page") is None else "")


class LostBehind(IgnoresGet, GuardedGet):
    def get(self, request, **params):
        return HttpResponse("secret")


@pytest.mark.each_choice
@pytest.mark.parametrize("view", [Lost, PassedOver, PassedOverBySuper, LostGet, LostBehind])
def test_a_route_that_has_lost_its_guard_is_never_open(serve, room, view):
    ask = serve(path("rooms/<session_id>/", view.as_view()))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"overrides without calling super"):
            ask(f"/rooms/{room}/")


class CalledByName(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        return GuardedDispatch.dispatch(self, request, *args, **kwargs)


class CalledBySuper(GuardedDispatch):
    def dispatch(self, request, *args, **kwargs):
        return super(CalledBySuper, self).dispatch(request, *args, **kwargs)  # noqa: UP008


class CalledInside(GuardedDispatch):
    @method_decorator(csrf_exempt)
    def dispatch(self, request, *args, **kwargs):
        def answer():
            return super(CalledInside, self).dispatch(request, *args, **kwargs)

        return answer()


@pytest.mark.each_choice
@pytest.mark.parametrize("view", [CalledByName, CalledBySuper, CalledInside])
def test_a_subclass_may_call_the_guarded_method_as_python_lets_it(serve, room, token, view):
    ask = serve(path("rooms/<session_id>/", view.as_view()))
    assert is_in(ask(f"/rooms/{room}/", token))
    assert ask(f"/rooms/{room}/").status_code == 401


def test_a_view_beside_its_guard_is_never_open(serve, room):
    def view(request, session_id):
        return secret(request)

    ask = serve(path("rooms/<session_id>/", require_token(view)), path("open/<session_id>/", view))
    with pytest.raises(ConfigurationError, match="was put around it"):
        ask(f"/open/{room}/")


def test_a_coroutine_behind_a_sync_decorator_answers_nobody(serve, room, token):
    async def inner(request, session_id):
        return HttpResponse("secret")

    ask = serve(path("rooms/<session_id>/", require_token(lambda request, **params: inner(request, **params))))
    assert not is_in(ask(f"/rooms/{room}/"))


class PlainCallable:
    def __call__(self, request, **params):
        return HttpResponse("secret")


class AsyncCallable:
    def __init__(self):
        markcoroutinefunction(self)

    async def __call__(self, request, **params):
        return HttpResponse("secret")


@pytest.mark.each_choice
@pytest.mark.parametrize("make", [PlainCallable, AsyncCallable])
def test_an_object_can_be_a_guarded_view(serve, room, token, other_token, make):
    ask = serve(path("rooms/<session_id>/", require_token(make())))
    assert is_in(ask(f"/rooms/{room}/", token))
    assert not is_in(ask(f"/rooms/{room}/"))
    assert not is_in(ask(f"/rooms/{room}/", other_token))
