"""The permissions of views of Django REST framework, for the list of routes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from django.http import HttpRequest
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.permissions import (
    AND,
    NOT,
    OR,
    SAFE_METHODS,
    AllowAny,
    DjangoModelPermissionsOrAnonReadOnly,
    IsAuthenticatedOrReadOnly,
)
from rest_framework.routers import APIRootView
from rest_framework.views import APIView

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import Found, Guard, Mistake, calls_base, guards_of

from .rest import NEGATED, GuardPermission, Place, demanded, operands_of, places_of
from .rest_views import rest_class

#: The methods of a view that lead to its permissions, each by the one before.
_LEADING: Final = ("dispatch", "initial", "check_permissions")
#: The order of methods in a line.
_ORDER: Final = [name.upper() for name in View.http_method_names]
#: Permissions that let everybody read.
_READABLE: Final = (IsAuthenticatedOrReadOnly, DjangoModelPermissionsOrAnonReadOnly)


def with_permissions(found: Found) -> Iterator[Found]:
    """The routes of a view: one for each set of methods with the same permissions.

    :param found: the view as it would be without them.
    """
    groups: dict[_Demands, list[str]] = {}
    for method in _methods(found.view):
        groups.setdefault(_demands(found, method), []).append(method)
    for demands, methods in groups.items():
        is_open_root = rest_class(found.view) is APIRootView and not demands.guards and not demands.also
        yield replace(
            found,
            methods=tuple(methods),
            dependencies=demands.guards,
            also=demands.also,
            mistakes=(*found.mistakes, *demands.mistakes),
            made_by="Django REST framework" if is_open_root else found.made_by,
        )


def certain_guards(view: Any) -> list[Guard]:
    """The guards among a view's permissions, if it says them by nothing but ``permission_classes``."""
    cls = rest_class(view)
    if cls is None or getattr(cls, "get_permissions", None) is not APIView.get_permissions:
        return []
    return list(demanded(cls(**view.initkwargs).get_permissions()))


def _methods(view: Any) -> list[str]:
    """The methods of a view, besides OPTIONS, whose permissions are those of any other method."""
    cls, actions = rest_class(view), getattr(view, "actions", None)
    allowed = view.initkwargs.get("http_method_names", getattr(cls, "http_method_names", ()))
    answered = [name for name in allowed if (hasattr(cls, name) if actions is None else name in actions)]
    return sorted((name.upper() for name in answered if name != "options"), key=_ORDER.index)


class _Demands(NamedTuple):
    """What a view demands for a method.

    :param guards: the guards that every request must pass.
    :param also: what else it demands, in words.
    """

    guards: tuple[Guard, ...]
    also: tuple[str, ...]
    mistakes: tuple[Mistake, ...]


def _demands(found: Found, method: str) -> _Demands:
    cls: Any = rest_class(found.view)
    try:
        permissions = _asked(found.view, cls, method).get_permissions()
    except Exception as error:
        return _Demands((), (f"{cls.__name__}.get_permissions",), (_unreadable(cls, error),))
    guards = (*demanded(permissions), *_of_function(getattr(cls, method.lower(), None)))
    places = [place for permission in permissions for place in places_of(permission)]
    mistakes = [*_mistakes_of_places(places, guards, found), *(_lost(cls) if places else ())]
    return _Demands(guards, tuple(dict.fromkeys(_in_words(permissions, method, found))), tuple(mistakes))


def _of_function(handler: Any) -> list[Guard]:
    """The guards of the function below ``@api_view``, which the framework's handler calls."""
    if getattr(handler, "__module__", None) != api_view.__module__:
        return []
    return guards_of(inspect.getclosurevars(handler).nonlocals.get("func"))


def _unreadable(cls: Any, error: Exception) -> Mistake:
    return Mistake(
        "unknown_permissions",
        f"{cls.__name__}.get_permissions raised {type(error).__name__} for a request without anything in it, so nobody "
        "can tell who is let in; let it look at self.action or self.request.method alone",
    )


def _mistakes_of_places(places: Iterable[Place], guards: tuple[Guard, ...], found: Found) -> Iterator[Mistake]:
    params = dict.fromkeys(found.params or (), "")
    for place in places:
        guard = place.permission.guard
        if place.is_negated:
            yield Mistake("guard_negated", f"its guard ({guard.requirement.scope}) lets nobody in: {NEGATED}")
        if guard in guards:
            continue  # found by the list itself
        try:
            guard.bound_session(params, found.path, lambda: (guards, ()))
        except ConfigurationError as error:
            yield Mistake("no_session_param" if guard.says else "unsettled_session", str(error))


def _lost(cls: type[Any]) -> Iterator[Mistake]:
    """Report a class whose permissions are never asked, because a method on the way to them does not call the next."""
    bases = cls.__mro__[: cls.__mro__.index(APIView) + 1]
    for name in _LEADING:
        for number, base in enumerate(bases[:-1]):
            method = inspect.unwrap(vars(base).get(name, _nothing))
            # Of a decorator that hides the method nobody can tell.
            is_known = method is not _nothing and (method.__name__ == name or not getattr(method, "__closure__", None))
            if is_known and not calls_base(method, name, bases[number:]):
                yield Mistake(
                    "guard_lost",
                    f"{base.__name__} overrides {name} without calling super().{name}(…), so no permission is asked, "
                    "and the route is open; call it",
                )


def _nothing() -> None:
    """Stand for a method that a class does not define."""


def _asked(view: Any, cls: Any, method: str) -> Any:
    """A view as it is when a method is asked for."""
    actions = getattr(view, "actions", None)
    made = cls(**view.initkwargs)
    if actions is not None:
        made.action_map = actions
    request = HttpRequest()
    request.method = method
    made.args, made.kwargs, made.format_kwarg = (), {}, None
    made.request = made.initialize_request(request)
    return made


def _in_words(permissions: Iterable[Any], method: str, found: Found) -> Iterator[str]:
    """What a view demands of every request besides guards."""
    for permission in permissions:
        if isinstance(permission, GuardPermission) or _is_open(permission, method):
            continue
        if isinstance(permission, AND):
            yield from _in_words(operands_of(permission), method, found)
        else:
            yield _words(permission, found)


def _words(permission: Any, found: Found) -> str:
    if isinstance(permission, GuardPermission):
        guard = permission.guard
        bound = f" of {guard.binds}" if guard.binds_in(found.params or ()) else ""
        return f"{guard.requirement.scope}{bound}"
    operands = [_words(operand, found) for operand in operands_of(permission)]
    if isinstance(permission, NOT):
        return f"not {operands[0]}"
    operator = " or " if isinstance(permission, OR) else " and "
    return f"({operator.join(operands)})" if operands else type(permission).__name__


def _is_open(permission: Any, method: str) -> bool:
    """Whether a permission lets everybody in."""
    operands = [_is_open(operand, method) for operand in operands_of(permission)]
    if isinstance(permission, NOT):
        return False
    if operands:
        return any(operands) if isinstance(permission, OR) else all(operands)
    return isinstance(permission, AllowAny) or (isinstance(permission, _READABLE) and method in SAFE_METHODS)
