"""The routes of an aiohttp app: the kit's own, and the contents of the app for the list of all routes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from rolecall import Rolecall
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter

Routes = Iterable[adapter.Route]
#: The kits of an app, and the guards that ``protect`` has put around it, from the outermost.
KITS: Final = web.AppKey("rolecall.kits", dict[Any, None])
GUARDS: Final = web.AppKey("rolecall.guards", tuple[Any, ...])
#: The records of a guarded request: its entries, its kit's ``Web``, the tokens and the responses of a WebSocket.
KEPT: Final = web.RequestKey("rolecall", dict[str, Any])
PROTOCOL: Final = "Sec-WebSocket-Protocol"


def setup(
    app: web.Application, kit: Rolecall, prefix: str = "", *, name: str = "rolecall", routes: Routes | None = None
) -> None:
    """Add the routes of ``kit`` to an app, and give the kit to guards in it, and in the apps within it.

    The app does not start if one of its routes with a guard is open by mistake.

    :param prefix: the beginning of the routes' paths: ``"/video"``.
    :param name: the beginning of the routes' names: ``app.router["rolecall.sessions"].url_for()``.
    :param routes: the routes; all of them unless given. ``SDK_ROUTES`` are those that the OpenTok SDKs call.
    """
    if not isinstance(kit, Rolecall):
        raise ConfigurationError(f"the routes are those of a Rolecall(…), not of {adapter.shown(kit)}")
    if KITS not in app:
        app.on_response_prepare.append(_on_prepare)
        app.on_startup.append(_check)
    app.setdefault(KITS, {})[kit] = None
    for route in adapter.ROUTES if routes is None else routes:
        # An encoded slash is a slash, as in every other framework.
        rest = route.path.replace(":path}", r":(?!%2F)[^/](?s:.*)}")
        path = re.sub(r"{(\w+)}", r"{\1:(?:(?!%2F)[^/])+}", rest)
        app.router.add_route("*", prefix + path, _handler(kit, route), name=f"{name}.{route.name}")


async def _check(app: web.Application) -> None:
    adapter.check_routes(app, routes_of)


async def _on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Prepare a streamed answer, and the opening of a WebSocket, before its head is sent."""
    kept = request.get(KEPT, {})
    keep_out_of_caches(request, response)
    if adapter.SOCKET in kept and isinstance(response, web.WebSocketResponse) and response not in kept["opened"]:
        if kept[adapter.SOCKET].ended is not None:
            raise ConnectionResetError("the grant has ended before the WebSocket was open")
        kept["opened"].append(response)
        if kept["tokens"]:
            response.headers.setdefault(PROTOCOL, adapter.BEARER)


def kept_of(request: web.Request) -> dict[str, Any]:
    """The records of a guarded request."""
    try:
        return request[KEPT]
    except KeyError:
        kept = request[KEPT] = {}
        return kept


def keep_out_of_caches(request: web.Request, response: object) -> None:
    """Add the headers that keep a guarded answer out of caches, unless the app sets its own."""
    try:
        rules = request[KEPT].get("web")
    except KeyError:
        return
    # Most are of this very class; to find out whether another one is of it takes longer.
    if rules is not None and (type(response) is web.Response or isinstance(response, web.StreamResponse)):
        query = "" if rules.query is None else request.rel_url.raw_query_string
        headers = response.headers
        for name, value in adapter.headers_to_add(headers.items(), rules, query):
            headers[name] = value


def _handler(kit: Rolecall, route: adapter.Route) -> Callable[[web.Request], Any]:
    async def handler(request: web.Request) -> web.Response:
        neutral, api = neutral_request(request), kit.aio.api
        read = partial(adapter.collected, neutral.headers, request.content.readany, api.web.body_timeout)
        return _response(await adapter.respond(api, route, neutral, read))

    return adapter.mark_own(handler, route, kit)


def problem_response(error: RolecallError) -> web.Response:
    """The answer for ``error``, for an app whose own handlers call the kit."""
    return _response(adapter.refused(error))


def _response(answer: adapter.Response) -> web.Response:
    return web.Response(status=answer.status, headers=CIMultiDict(answer.headers), body=answer.body)


def neutral_request(request: web.Request) -> adapter.Request:
    """A request in the kit's form; its body is read later."""
    apps, headers = request.match_info.apps, adapter.JoinedHeaders(partial(all_of, request), request.headers)
    infos = [resource.get_info() for app in apps[-2:-1] for resource in app.router.resources()]
    root = next((info.get("prefix", "") for info in infos if info.get("app") is apps[-1]), "")
    path, query = request.path.removeprefix(root), request.rel_url.raw_query_string
    return adapter.Request(request.method, path, request.match_info, headers, b"", "aiohttp", query, root, request)


def all_of(request: web.Request, name: str) -> Iterator[str]:
    """Each value of a header. aiohttp reads bytes as UTF-8, and the kit as Latin-1."""
    for value in request.headers.getall(name, ()):
        yield value.encode("utf-8", "surrogateescape").decode("latin-1")


def authorization_of(request: web.Request) -> str | None:
    """The value of the ``Authorization`` header; repeated values are joined by commas."""
    values = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(values) == 1 and values[0].isascii():
        return values[0]
    return ",".join(all_of(request, "Authorization")) if values else None


def kit_of(apps: tuple[web.Application, ...], given: Any = None) -> Any:
    """The kit of a guard: its own, or the only one of the innermost app with a kit."""
    kits = next(([*app[KITS]] for app in reversed(apps) if KITS in app), [])
    return given if given and kits else adapter.only_kit(kits, "call setup(app, kit) for it, or the app around it")


def guards_around(apps: Iterable[web.Application]) -> list[adapter.Guard]:
    """The guards around apps, from the outermost."""
    return [guard for app in apps for guard in app.get(GUARDS, ())]


def is_app(value: object) -> bool:
    """Whether this is an aiohttp app."""
    return isinstance(value, web.Application)


def routes_of(app: Any) -> list[adapter.Found] | None:
    """The contents of ``app``; None if it is no aiohttp app."""
    return list(_walk((app,), "")) if is_app(app) else None


def _walk(apps: tuple[web.Application, ...], host: str) -> Iterator[adapter.Found]:
    for resource in apps[-1].router.resources():
        info, views = resource.get_info(), dict[Any, list[str]]()
        if "app" in info:
            yield from _walk((*apps, info["app"]), f"{host}//{info['rule'].canonical}" if "rule" in info else host)
            continue
        for route in resource:
            views.setdefault(route.handler, []).append(route.method)
        for view, methods in views.items():
            yield _found(apps, host, resource, view, methods)


def _found(apps: tuple[web.Application, ...], host: str, resource: Any, view: Any, methods: list[str]) -> adapter.Found:
    is_view, is_static = inspect.isclass(view), isinstance(resource, web.StaticResource)
    if "*" in methods:
        methods = [name for name in sorted(hdrs.METH_ALL) if is_view and hasattr(view, name.lower())]
    # The path includes the prefixes of the apps around it.
    path = host + resource.canonical + ("/{path:path}" if is_static else "")
    name = str(resource.name or getattr(view, "__qualname__", type(view).__name__))
    problem, params = adapter.kit_problem(lambda: kit_of(apps)), frozenset(re.findall(r"{(\w+)", path))
    around = tuple(
        adapter.Around(guard, view, params, spares_own=True, problem=None if guard.kit else problem)
        for guard in guards_around(apps)
    )
    found = adapter.Found(path, tuple(methods), name, view, around, are_files=is_static, problem=problem)
    return replace(found, through=apps[1:])
