"""The conforming site in Django, under WSGI and under ASGI."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path
from django.views import View

import rolecall_django
from rolecall import Rolecall
from rolecall.testing.conformance import METHODS, MOUNTED, AsgiSite, WsgiSite, described, own_guards, own_headers

from ..django_settings import configure

configure()


def answer(grant, path="") -> HttpResponse:
    body = described(grant)
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/json", **own_headers(path)}
    return HttpResponse(body, headers=headers)


def granted(request, **_):
    return answer(request.grant, request.path_info)


def granted_inside(request, **_):
    return granted(request)


async def granted_on_the_loop(request, **_):
    return answer(rolecall_django.current_grant(request))


class Granted(View):
    """A class of views, which has a method for each that the table asks with."""

    def answer(self, request, **_):
        return granted(request)

    get = head = post = put = patch = delete = answer


def bare(request, **_):
    return answer(None)


def nothing(request, exception=None):
    return HttpResponse(b"nothing here", status=404, content_type="text/plain", headers={"Content-Length": "12"})


def urls(kit: Rolecall) -> ModuleType:
    """The URLs of the site, as a module, which Django asks for."""

    def own(text: str) -> str:
        return text.removeprefix("/").replace("{", "<").replace("}", ">")

    views: dict[str, Any] = {"/me": granted_on_the_loop, "/rooms/{session_id}/join": Granted.as_view()}
    inside = [path("open", rolecall_django.public(bare)), path("<session_id>", granted_inside)]
    module = ModuleType("urls")
    vars(module).update(
        handler404=nothing,
        urlpatterns=[
            path("video/", rolecall_django.rolecall_urls(kit)),
            path("", rolecall_django.rolecall_urls(kit, "sdk", rolecall_django.SDK_ROUTES)),
            *(
                path(own(text), guard(views.get(text, granted)))
                for text, guard in own_guards(rolecall_django, lambda _: {"kit": kit}).items()
            ),
            path("bare", bare),
            path("inside/", rolecall_django.protect(include(inside), rolecall_django.require_token(kit=kit))),
        ],
    )
    return module


def routed(handler: type[Any], routes: ModuleType, **settings: Any) -> Any:
    """A handler with URLs of its own: Django's settings name one set for a process."""

    class Routed(handler):
        def create_request(self, scope, body_file):
            request, error = super().create_request(scope, body_file)
            if request is not None:
                request.urlconf = routes
            return request, error

        def get_response(self, request):
            request.urlconf = routes
            return super().get_response(request)

    with override_settings(**settings):
        return Routed()


def wsgi_app(kit: Rolecall) -> Any:
    return routed(WSGIHandler, urls(kit))


def asgi_app(kit: Rolecall) -> Any:
    """The site under ASGI, where the middleware answers the kit's routes on the event loop."""
    return routed(ASGIHandler, urls(kit), ROLECALL=kit, MIDDLEWARE=["rolecall_django.RolecallMiddleware"])


def under_root_path(app: Any) -> Any:
    """An ASGI app behind a server that is told of a prefix, and puts it in front of the path."""

    async def outer(scope, receive, send):
        await app({**scope, "root_path": MOUNTED}, receive, send)

    return outer


wsgi_site = WsgiSite(wsgi_app, strips_head=True)
asgi_site = AsgiSite(asgi_app, under_root_path, strips_head=True, lowers_names=True)
assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} == set(METHODS)
