"""What guards cost a request of Django, and the permissions of ``rolecall_django.rest`` one of Django REST framework.

``PYTHONPATH=. python tests/benchmarks/django_rest.py``. A guarded view of Django stands beside a bare one, without
middleware and behind that of a new project. A view of the framework stands beside a bare one, and beside its
authentication by SimpleJWT, with and without a look at the user in SQLite. Django is called directly; its answers are
closed as a server does, which tells Django that a request is over.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from measuring import Fresh, Table, Times, show, target
from peers import DATA, SECRET
from web import BARE, FIRST, SEEN, wsgi_call

APPS = ("auth", "contenttypes", "sessions", "messages")
#: That of ``django-admin startproject``.
MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
STATELESS, STATEFUL = "SimpleJWT, stateless", "SimpleJWT, with its user's row"
BY_DECORATOR, AUTHENTICATED = "the same by a decorator", "Rolecall, authentication alone"


def configure(folder: str) -> None:
    """Set Django up, with a database in a folder."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}},
        INSTALLED_APPS=["rolecall_django", *(f"django.contrib.{name}" for name in APPS)],
        LOGGING_CONFIG=None,
        ROLECALL={"api_key": "123456", "api_secret": SECRET, "entry_points": False},
        ROOT_URLCONF="urls",
        SECRET_KEY=SECRET,
        SIMPLE_JWT={"ACCESS_TOKEN_LIFETIME": timedelta(hours=12)},
        USE_TZ=True,
    )
    django.setup()


def closing(app: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    """An app whose answers are closed once they are read (PEP 3333)."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = app(environ, start_response)
        body = list(answer)
        answer.close()
        return body

    return call


def plain_views(rounds: int) -> None:
    """Measure one request of Django's own views."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.test import override_settings
    from django.urls import path

    from rolecall_django import get_kit, require_role

    def bare(request: HttpRequest, session_id: str) -> HttpResponse:
        return HttpResponse("ok")

    @require_role("moderator")
    def guarded(request: HttpRequest, session_id: str) -> HttpResponse:
        return HttpResponse("ok")

    urls: Any = ModuleType("plain")
    urls.urlpatterns = [path("bare/<session_id>", bare), path("guarded/<session_id>", guarded)]
    sys.modules["plain"] = urls
    kit = get_kit()
    room = kit.create_session().session_id
    token = kit.generate_token(room, "moderator", data=DATA)
    first = Fresh(lambda: kit.generate_token(room, "moderator", data=DATA))
    stacks = {"one request of Django": (), "the same behind the middleware of a new project": MIDDLEWARE}
    for title, middleware in stacks.items():
        with override_settings(ROOT_URLCONF="plain", MIDDLEWARE=list(middleware)):
            app = closing(WSGIHandler())
            table: Table = {
                BARE: wsgi_call(app, f"/bare/{room}", lambda: token),
                SEEN: wsgi_call(app, f"/guarded/{room}", lambda: token),
                FIRST: wsgi_call(app, f"/guarded/{room}", first),
            }
            times = Times(table, rounds, 100, [first])
        show(title, times, BARE)
        if middleware:
            target("seen before / bare", times.ratio(SEEN, BARE), 1.15)
        else:
            target("added to one seen before, µs", times.microseconds(SEEN) - times.microseconds(BARE), 10)


def views(rounds: int) -> None:
    """Measure one request of each kind of Django REST framework."""
    from django.contrib.auth.models import User
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command
    from django.urls import path
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView
    from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
    from rest_framework_simplejwt.tokens import AccessToken

    from rolecall_django import get_kit, require_role
    from rolecall_django.rest import RolecallAuthentication, RoleRequired

    class View(APIView):
        authentication_classes = ()
        permission_classes = ()

        def get(self, request: Any, session_id: str) -> Response:
            return Response("ok")

    def view(*authentication: Any, needs: Any = IsAuthenticated) -> Any:
        return View.as_view(authentication_classes=authentication, permission_classes=[needs])

    guarded = view(RolecallAuthentication, needs=RoleRequired("moderator"))
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [
        path("bare/<session_id>", View.as_view()),
        path("guarded/<session_id>", guarded),
        path("decorated/<session_id>", require_role("moderator")(View.as_view())),
        path("authenticated/<session_id>", view(RolecallAuthentication)),
        path("stateless/<session_id>", view(JWTStatelessUserAuthentication)),
        path("stateful/<session_id>", view(JWTAuthentication)),
    ]
    sys.modules["urls"] = urls
    call_command("migrate", verbosity=0)
    theirs = AccessToken.for_user(User.objects.create_user("ada"))
    theirs["role"], theirs["data"] = "moderator", DATA

    kit = get_kit()
    room = kit.create_session().session_id
    ours, jwt = kit.generate_token(room, "moderator", data=DATA), str(theirs)
    first = Fresh(lambda: kit.generate_token(room, "moderator", data=DATA))
    app = closing(WSGIHandler())
    table: Table = {
        BARE: wsgi_call(app, f"/bare/{room}", lambda: ours),
        SEEN: wsgi_call(app, f"/guarded/{room}", lambda: ours),
        FIRST: wsgi_call(app, f"/guarded/{room}", first),
        BY_DECORATOR: wsgi_call(app, f"/decorated/{room}", lambda: ours),
        AUTHENTICATED: wsgi_call(app, f"/authenticated/{room}", lambda: ours),
        STATELESS: wsgi_call(app, f"/stateless/{room}", lambda: jwt),
        STATEFUL: wsgi_call(app, f"/stateful/{room}", lambda: jwt),
    }
    times = Times(table, rounds, 100, [first])
    show("one request of Django REST framework", times, BARE)

    rows = zip(*(times.seconds[name] for name in (BARE, SEEN, STATELESS)), strict=True)
    added = statistics.median((seen - bare) / (stateless - bare) for bare, seen, stateless in rows)
    target("added, seen before / added by SimpleJWT, stateless", added, 1 / 3)
    target("SimpleJWT, stateless / seen before", times.ratio(STATELESS, SEEN), 1.5, at_least=True)
    target("SimpleJWT, with its user's row / seen before", times.ratio(STATEFUL, SEEN), 5, at_least=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often each row runs (40)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        configure(folder)
        plain_views(rounds)
        views(rounds)


if __name__ == "__main__":
    main()
