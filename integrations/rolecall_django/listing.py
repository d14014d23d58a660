"""The URLs of a Django site, for the list of its routes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern, RoutePattern
from django.utils.module_loading import import_string

from rolecall.http.adapter import (
    Around,
    Found,
    calls_base,
    dispatches_by_method,
    guarded_by,
    guards_of,
    kit_problem,
    unwrapped,
)

from . import rest_views
from .guards import Guard
from .kits import get_kit
from .patterns import guards_around, is_of_channels, unprotected
from .regexes import readable
from .site import guard_of_site, is_of_files

dispatches_by_method("django.views.generic.base", "rest_framework.views")

# A variable of path(…), with its converter.
_VARIABLE: Final = re.compile(r"<(?:[^<>:\s]+:)?(\w+)>")
# Django's module with the mixins that demand a login.
_MIXINS: Final = "django.contrib.auth.mixins"
# Django's modules with the decorators that admin_view puts around a view.
_DECORATORS: Final = frozenset({"django.utils.decorators", "django.views.decorators.cache"})


class Project:
    """The site that the settings name; for ``manage.py rolecall routes``."""


project: Final = Project()


def is_app(value: object) -> bool:
    """Whether this is what serves a Django site: a WSGI or ASGI application, or :data:`project`."""
    return isinstance(value, BaseHandler | Project)


def routes_of(app: Any) -> list[Found] | None:
    """The URLs of a Django site; None if it is none."""
    if not is_app(app):
        return None
    found = routes_in(get_resolver())
    return [*found, *_websockets()] if isinstance(app, Project) else found


def _websockets() -> list[Found]:
    """What the project's ASGI application has for WebSockets, by Django Channels."""
    name = getattr(settings, "ASGI_APPLICATION", None)
    app = import_string(name) if name else None
    if not is_of_channels(app):
        return []
    from .channels_listing import websockets_of

    return [*websockets_of(app)]


def routes_in(resolver: URLResolver) -> list[Found]:
    """The URLs of a resolver, in the order in which Django tries them."""
    return list(_walk(resolver, _Place(kit_problem(get_kit), _site_guards(), needs_login())))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a walk through URL patterns is.

    :param problem: the reason why guards without a kit of their own have none.
    :param guards: the guards around the whole site.
    :param needs_login: whether Django's own middleware demands a login everywhere.
    :param path: the path so far.
    :param names: the parameters in it.
    :param namespace: the beginning of names.
    """

    problem: str | None
    guards: tuple[Guard, ...]
    needs_login: bool
    path: str = ""
    names: frozenset[str] = frozenset()
    namespace: str = ""


def _walk(resolver: URLResolver, place: _Place) -> Iterator[Found]:
    path, names = read_pattern(resolver.pattern)
    namespace = f"{place.namespace}{resolver.namespace}:" if resolver.namespace else place.namespace
    within = _Place(
        place.problem,
        place.guards,
        place.needs_login,
        place.path + path,
        place.names | names | resolver.default_kwargs.keys(),
        namespace,
    )
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, within)
        else:
            yield from _found(pattern, within)


def _found(pattern: URLPattern, place: _Place) -> Iterator[Found]:
    path, names = read_pattern(pattern.pattern)
    view, suffix = pattern.callback, rest_views.suffix_param(pattern.callback)
    ignored = frozenset(() if suffix is None else (suffix,))
    params = (place.names | names | pattern.default_args.keys()) - ignored
    name = f"{place.namespace}{pattern.name}" if pattern.name else _name(view)
    inner = unprotected(view)
    around = [*((guard, True) for guard in place.guards), *((guard, False) for guard in guards_around(view))]
    are_files, elsewhere = is_of_files(view), None if guards_of(inner) else _other_guard(view, place)
    found = Found(
        place.path + path,
        _methods(view),
        name,
        inner if elsewhere is None else guarded_by(elsewhere)(partial(inner)),
        tuple(
            Around(guard, inner, params, spares_own=is_whole, problem=None if guard.kit else place.problem)
            for guard, is_whole in around
        ),
        made_by="Django" if are_files else None,
        params=params,
        ignored=ignored,
        are_files=are_files,
        problem=place.problem,
    )
    if rest_views.rest_class(view) is None:
        yield found
        return
    from .rest_listing import with_permissions

    yield from with_permissions(found)


def read_pattern(pattern: Any) -> tuple[str, frozenset[str]]:
    """The path of a pattern, for people, and the names of its parameters."""
    if isinstance(pattern, RegexPattern):
        return readable(pattern.regex.pattern)
    if not isinstance(pattern, RoutePattern):
        return str(pattern), frozenset()
    converters = pattern.converters

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        takes_slashes = re.fullmatch(converters[name].regex, "a/a") is not None
        return f"{{{name}:path}}" if takes_slashes else f"{{{name}}}"

    return _VARIABLE.sub(variable, str(pattern)), frozenset(converters)


def _name(view: Any) -> str:
    if (rest_class := rest_views.rest_class(view)) is not None:
        return rest_class.__name__
    named = getattr(view, "view_class", view)
    return str(getattr(named, "__qualname__", type(named).__name__))


def _methods(view: Any) -> tuple[str, ...]:
    view_class = getattr(view, "view_class", None)
    names = getattr(view_class, "http_method_names", ())
    return tuple(name.upper() for name in names if name != "options" and hasattr(view_class, name))


def _site_guards() -> tuple[Guard, ...]:
    from .middleware import RolecallMiddleware

    guard = guard_of_site() if _has_middleware(RolecallMiddleware) else None
    return () if guard is None else (guard,)


def needs_login() -> bool:
    """Whether Django's own middleware demands a login for every view."""
    if "django.contrib.auth" not in settings.INSTALLED_APPS:
        return False
    from django.contrib.auth.middleware import LoginRequiredMiddleware

    return _has_middleware(LoginRequiredMiddleware)


def _has_middleware(wanted: type[Any]) -> bool:
    found = [import_string(name) for name in settings.MIDDLEWARE]
    return any(isinstance(one, type) and issubclass(one, wanted) for one in found)


def _other_guard(view: Any, place: _Place) -> str | None:
    """Django's own guard of a view; None if there is none."""
    mixin = _mixin_of(getattr(view, "view_class", None))
    if mixin is not None:
        return mixin.__name__
    if hasattr(view, "admin_site") or hasattr(view, "model_admin") or _is_of_admin_view(view):
        return "django.contrib.admin"
    if getattr(view, "login_url", None) is not None or hasattr(view, "redirect_field_name"):
        return "login_required"
    return "LoginRequiredMiddleware" if place.needs_login and getattr(view, "login_required", True) else None


def _is_of_admin_view(view: Any) -> bool:
    """Whether ``AdminSite.admin_view`` made a view, without a mark, with none but Django's decorators around it."""
    sites: Any = sys.modules.get("django.contrib.admin.sites")
    code = getattr(view, "__code__", None)
    if sites is None or code is None:
        return False
    if code in sites.AdminSite.admin_view.__code__.co_consts:
        return True
    if view.__globals__["__name__"] not in _DECORATORS:
        return False
    return any(_is_of_admin_view(cell.cell_contents) for cell in view.__closure__ or ())


def _mixin_of(view_class: Any) -> type[Any] | None:
    """The mixin of Django's that decides who gets into a view, if every ``dispatch`` before it leads to its own."""
    bases: tuple[type[Any], ...] = getattr(view_class, "__mro__", ())
    places = [place for place, base in enumerate(bases) if "dispatch" in vars(base)]
    last = next((place for place in places if bases[place].__module__ == _MIXINS), None)
    if last is None:
        return None
    for place in places[: places.index(last)]:
        own = unwrapped(vars(bases[place])["dispatch"])
        if not any(calls_base(inner, "dispatch", bases[place : last + 1]) for inner in own):
            return None
    return bases[last]
