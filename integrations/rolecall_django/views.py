"""The kit's routes, for Django's URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, include, path, register_converter
from django.urls.converters import StringConverter
from django.views.decorators.csrf import csrf_exempt

from rolecall import Rolecall
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import ROUTES, Api, Response, Route, drive, mark_own, respond, shown

from .checking import check_once
from .kits import Apis, apis_of, get_kit
from .translation import KitResponse, body_of, neutral_request


class _Rest(StringConverter):
    """The rest of a path: not empty, and without a slash at its beginning."""

    regex = "[^/].*"


register_converter(_Rest, "rolecall_rest")


class _KitOfSettings:
    """The kit of the settings, looked up at each use, because the settings of a test may change."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_kit(), name)


def rolecall_urls(
    kit: Rolecall | None = None, name: str = "rolecall", routes: Iterable[Route] | None = None
) -> tuple[Any, str | None, str | None]:
    """The URLs of a kit: ``path("video/", rolecall_urls(kit))``. ``include("rolecall_django.urls")`` has the settings'.

    :param kit: the kit; that of the settings unless given.
    :param name: the namespace, for ``reverse("rolecall:sessions")``; two kits in one site need two.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    """
    if kit is not None and not isinstance(kit, Rolecall):
        raise ConfigurationError(f"rolecall_urls takes a Rolecall(…), not {shown(kit)}")
    return include((patterns(kit, routes), "rolecall"), namespace=name)


def patterns(kit: Rolecall | None = None, routes: Iterable[Route] | None = None) -> list[URLPattern]:
    """The URL patterns of a kit; see :func:`rolecall_urls`."""
    return [
        path(_django_path(route), _view(kit, route), name=route.name)
        for route in (ROUTES if routes is None else routes)
    ]


def _django_path(route: Route) -> str:
    text = route.path.removeprefix("/").replace(":path}", "}")
    for name in ("rest",) if route.is_open_ended else ():
        text = text.replace(f"{{{name}}}", f"<rolecall_rest:{name}>")
    return text.replace("{", "<").replace("}", ">")


def _view(kit: Rolecall | None, route: Route) -> Callable[..., HttpResponse]:
    def apis() -> Apis:
        return apis_of(get_kit() if kit is None else kit)

    def view(request: HttpRequest, **params: Any) -> HttpResponse:
        check_once(request)
        return KitResponse(drive(_answer(request, params, route, apis().thread)), request)

    async def on_the_loop(request: HttpRequest, **params: Any) -> HttpResponse:
        check_once(request)
        return KitResponse(await _answer(request, params, route, apis().loop), request)

    # A cookie with a token needs the kit's own proof, and Django's user counts only with Django's (see RequestUser).
    answering: Any = csrf_exempt(view)
    for alias in connections:
        # Whatever the kit writes stays written, however Django's own transaction ends.
        answering = transaction.non_atomic_requests(alias)(answering)
    answering.login_required = False  # for LoginRequiredMiddleware
    answering.rolecall_on_the_loop = on_the_loop  # for RolecallMiddleware
    own: Callable[..., HttpResponse] = mark_own(answering, route, kit or _KitOfSettings())
    return own


async def _answer(request: HttpRequest, params: dict[str, Any], route: Route, api: Api) -> Response:
    neutral = neutral_request(request, params)

    async def read(longest: int) -> bytes:
        return body_of(request, neutral, longest)

    return await respond(api, route, neutral, read)
