"""A Django project with Rolecall: its system checks, and ``manage.py rolecall``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.decorators import login_required
from django.core.checks import run_checks
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path
from django.views import View
from django.views.static import serve as serve_files

from rolecall import Rolecall
from rolecall.cli.apps import routes_of
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores import open_store
from rolecall_django import guarded_by, protect, public, require_role, require_token
from rolecall_django.listing import project
from rolecall_django.management.commands.rolecall import Command, with_project

from ..django_settings import configure

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
ROLECALL = {"api_key": KEY, "api_secret": SECRET, "entry_points": False}
MIDDLEWARE = ["rolecall_django.RolecallMiddleware"]


@pytest.fixture
def configured() -> Iterator[Callable[..., None]]:
    """Gives the process URL patterns, and settings."""
    with ExitStack() as stack:

        def use(*patterns, **settings) -> None:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [*patterns]
            settings = {"ROLECALL": ROLECALL, "MIDDLEWARE": MIDDLEWARE, **settings}
            stack.enter_context(override_settings(ROOT_URLCONF=module, **settings))

        yield use


def view(request, **params):
    return HttpResponse()


def bare():
    """A view that nobody else has, and so no mark of others."""
    return lambda request, **params: HttpResponse()


class Methods(View):
    @require_role("moderator")
    def post(self, request, session_id):
        return HttpResponse()

    @public
    def get(self, request, session_id):
        return HttpResponse()


def members():
    from django.contrib.auth.mixins import LoginRequiredMixin

    class Members(LoginRequiredMixin, View):
        def get(self, request):
            return HttpResponse()

    return Members.as_view()


# -- the list of routes ----------------------------------------------------------------------------


def listed() -> dict[str, str]:
    return {f"{' '.join(route.methods)} {route.path}": route.requires for route in routes_of(project)}


def test_urls_are_listed_exactly(configured):
    configured(
        path("rooms/<session_id>/", require_role("publisher")(view)),
        path("methods/<slug:session_id>/", Methods.as_view(), name="methods"),
        re_path(r"^old/(?P<year>\d{4})/$", guarded_by("a proxy")(bare())),
        path("files/<path:path>", serve_files, {"document_root": "/"}),
        path("in/", include([path("open/", bare()), path("login/", login_required(bare()))])),
        path("members/", members()),
        path("group/", protect(include([path("<session_id>/", bare()), path("public/", public(bare()))]))),
    )
    assert listed() == {
        "any /rooms/{session_id}/": "role:publisher of {session_id}",
        "GET /methods/{session_id}/": "public",
        "POST /methods/{session_id}/": "role:moderator of {session_id}",
        "any /old/{year}/": "guarded by a proxy",
        "any /files/{path:path}": "open, made by Django",
        "any /in/open/": "OPEN",
        "any /in/login/": "guarded by login_required",
        "GET /members/": "guarded by LoginRequiredMixin",
        "any /group/{session_id}/": "token of {session_id}",
        "any /group/public/": "public",
    }


def mixed_views():
    """Views with Django's mixins, whose ``dispatch`` is not always the one that runs."""
    from django.contrib.auth.mixins import AccessMixin, LoginRequiredMixin

    class Behind(View, LoginRequiredMixin):
        pass

    class Bare(AccessMixin, View):
        pass

    class Passing(LoginRequiredMixin, View):
        def dispatch(self, request, *args, **kwargs):
            return View.dispatch(self, request, *args, **kwargs)

    class Leading(LoginRequiredMixin, View):
        def dispatch(self, request, *args, **kwargs):
            return super().dispatch(request, *args, **kwargs)

    for view_class in (Behind, Bare, Passing, Leading):
        setattr(view_class, "get", lambda self, request: HttpResponse("in"))
        yield path(f"{view_class.__name__}/", view_class.as_view())


def test_a_mixin_that_does_not_run_guards_nothing(configured):
    configured(*mixed_views())
    routes = {path: requires.removeprefix("guarded by ") for path, requires in listed().items()}
    assert routes == {
        "GET /Behind/": "OPEN",
        "GET /Bare/": "OPEN",
        "GET /Passing/": "OPEN",
        "GET /Leading/": "LoginRequiredMixin",
    }


def test_the_guard_of_the_site_and_djangos_login_are_listed(configured):
    from django.contrib import admin

    urls = (
        path("video/", include("rolecall_django.urls")),
        path("bare/", bare()),
        path("marked/", public(bare())),
        path("admin/", admin.AdminSite().urls),
    )
    configured(*urls, ROLECALL={**ROLECALL, "protect": require_role("publisher")})
    routes = listed()
    assert routes["any /bare/"] == "role:publisher"
    assert routes["any /marked/"] == "public"
    assert routes["GET /video/healthz"].startswith("the kit's own")
    configured(*urls)
    routes = listed()
    assert routes["any /bare/"] == "OPEN"
    assert routes["any /admin/"] == "guarded by django.contrib.admin"
    configured(*urls, MIDDLEWARE=["django.contrib.auth.middleware.LoginRequiredMiddleware"])
    routes = listed()
    assert routes["any /bare/"] == "guarded by LoginRequiredMiddleware"
    assert routes["any /admin/"] == "guarded by django.contrib.admin"
    assert routes["any /admin/login/"] == "OPEN"


def test_the_kits_pages_in_the_admin_are_listed_as_guarded(configured):
    from django.contrib import admin

    configured(path("admin/", admin.site.urls))
    pages = {route: requires for route, requires in listed().items() if "/rolecall/" in route}
    assert pages == {
        f"any /admin/rolecall/{model}/": "guarded by django.contrib.admin"
        for model in ("session", "issuedtoken", "exclusion")
    }


def test_what_the_admins_own_decorator_guards_is_listed_so(configured):
    from django.contrib import admin
    from django.contrib.auth.admin import UserAdmin
    from django.contrib.auth.models import User
    from django.views.decorators.csrf import csrf_exempt

    class Site(admin.AdminSite):
        def get_urls(self):
            guarded = self.admin_view(view)
            return [
                path("report/", guarded),
                path("hook/", self.admin_view(csrf_exempt(bare()), cacheable=True)),
                path("around/", lambda request: guarded(request)),
                path("bare/", bare()),
                *super().get_urls(),
            ]

    site = Site()
    site.register(User, UserAdmin)
    configured(path("admin/", site.urls))
    routes = listed()
    for page in ("report", "hook", "auth/user/{id}/password"):
        assert routes[f"any /admin/{page}/"] == "guarded by django.contrib.admin"
    opened = {route for route, requires in routes.items() if requires == "OPEN"}
    assert opened == {"any /admin/around/", "any /admin/bare/", "any /admin/login/"}


def test_what_servers_call_is_an_app(configured):
    configured(path("bare/", bare()))
    assert [route.path for route in routes_of(WSGIHandler())] == ["/bare/"]


# -- manage.py rolecall ----------------------------------------------------------------------------


def manage(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exited:
        Command().run_from_argv(["/project/manage.py", "rolecall", *arguments])
    code = exited.value.code
    return int(code or 0), capsys.readouterr().out


def test_a_command_has_the_kit_of_the_settings(configured, capsys, tmp_path):
    store = f"sqlite:///{tmp_path}/rolecall.db"
    configured(ROLECALL={**ROLECALL, "store": store})
    code, created = manage(capsys, "session", "create")
    assert code == 0
    with Rolecall(KEY, SECRET, store=store) as kit:
        assert kit.get_session(created.strip()).session_id == created.strip()
    code, token = manage(capsys, "token", "generate", created.strip(), "--role", "moderator")
    assert code == 0
    code, verified = manage(capsys, "token", "verify", token.strip(), "--json")
    assert (code, json.loads(verified)["role"]) == (0, "moderator")


@pytest.mark.parametrize("holds_kit", [False, True])
def test_a_purge_forgets_what_the_settings_keep_no_longer(configured, capsys, tmp_path, monkeypatch, holds_kit):
    monkeypatch.setenv("ROLECALL_SESSION_RETENTION", "100000d")
    url = f"sqlite:///{tmp_path}/rolecall.db"
    arguments: dict[str, Any] = {"store": url, "session_retention": 60}
    with closing(open_store(url)) as store, Rolecall(KEY, SECRET, **arguments) as kit:
        store.add_session(SessionRecord("1_old", SessionProperties(), 1e9))
        store.end_session("1_old", 1e9)
        configured(ROLECALL=kit if holds_kit else {**ROLECALL, **arguments})
        code, said = manage(capsys, "store", "purge")
        assert (code, said, store.get_session("1_old")) == (0, "1 row removed\n", None)


def test_routes_need_no_app_to_be_named(configured, capsys):
    configured(path("bare/", bare(), name="bare"), path("video/", include("rolecall_django.urls")))
    code, out = manage(capsys, "routes", "--app", "--json")
    assert code == 0
    (route,) = json.loads(out)["routes"]
    assert (route["path"], route["endpoint"]) == ("/bare/", "bare")
    assert manage(capsys, "routes", "--check")[0] == 1


def test_wrong_settings_are_told_without_a_traceback(configured, capsys):
    configured(ROLECALL={"api_key": KEY, "api_secret": "short"})
    with pytest.raises(SystemExit) as exited:
        Command().run_from_argv(["manage.py", "rolecall", "session", "create"])
    assert exited.value.code == 2
    assert "environment; see" not in capsys.readouterr().err


def test_djangos_own_call_shows_the_help(configured, capsys):
    configured()
    with pytest.raises(SystemExit):
        call_command("rolecall")
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["routes"], ["routes", "rolecall_django.listing:project"]),
        (["doctor", "--store", "x"], ["doctor", "rolecall_django.listing:project", "--store", "x"]),
        (["routes", "school.web:app"], ["routes", "school.web:app"]),
        (["routes", "--help"], ["routes", "--help"]),
        (["token", "list"], ["token", "list"]),
        ([], []),
    ],
)
def test_the_project_is_the_app_where_none_is_named(given, made):
    assert with_project(given) == made


# -- system checks ---------------------------------------------------------------------------------


def ids(deploy: bool = False) -> set[str]:
    found = run_checks(tags=["security"], include_deployment_checks=deploy)
    for message in found:
        assert SECRET not in str(message)
    return {str(message.id) for message in found if str(message.id).startswith("rolecall.")}


def test_a_project_in_order_is_told_nothing(configured, tmp_path):
    configured(
        path("rooms/<session_id>/", require_token(bare())),
        ROLECALL={**ROLECALL, "store": f"sqlite:///{tmp_path}/rolecall.db"},
    )
    assert ids(deploy=True) == set()


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ROLECALL": {"api_key": KEY}}, "rolecall.E001"),
        ({"ROLECALL": {**ROLECALL, "protect": "moderator"}}, "rolecall.E001"),
        ({"ROLECALL": {**ROLECALL, "protect": True}, "MIDDLEWARE": []}, "rolecall.E003"),
        ({"MIDDLEWARE": ["django.middleware.csrf.CsrfViewMiddleware", *MIDDLEWARE]}, "rolecall.W001"),
        ({"MIDDLEWARE": ["django.contrib.auth.middleware.LoginRequiredMiddleware", *MIDDLEWARE]}, "rolecall.W001"),
    ],
)
def test_what_is_wrong_is_found_by_every_check(configured, settings, expected):
    configured(**settings)
    assert ids() == {expected}


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "rolecall.W012"),
        ({"ROLECALL": {**ROLECALL, "api_secret": "every lesson of our school begins at nine"}}, "rolecall.W010"),
        ({"SECRET_KEY": SECRET}, "rolecall.W011"),
        ({"SECRET_KEY_FALLBACKS": [SECRET]}, "rolecall.W011"),
    ],
)
def test_what_must_not_be_deployed_is_found(configured, settings, expected):
    configured(**settings)
    assert ids() == set()
    assert expected in ids(deploy=True)


def test_a_guard_behind_a_login_is_found(configured):
    from django.contrib.auth.decorators import login_not_required

    login = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    configured(path("me/", require_token(bare())), MIDDLEWARE=login)
    assert ids() == {"rolecall.W002"}
    configured(path("me/", login_not_required(require_token(bare()))), MIDDLEWARE=login)
    assert ids() == set()


def test_an_open_door_and_open_routes_are_found(configured):
    def lost(request, session_id):
        return HttpResponse()

    configured(path("a/<session_id>/", require_token(lost)), path("b/<session_id>/", lost))
    assert ids() == {"rolecall.E002"}
    configured(path("open/", bare()))
    assert ids() == set()
    assert "rolecall.W013" in ids(deploy=True)
