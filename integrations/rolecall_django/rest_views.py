"""Views of Django REST framework, recognized without importing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest


def rest_class(view: Any) -> type[Any] | None:
    """The class of a view that the framework has made; None for any other view."""
    found = getattr(view, "cls", None)
    return found if isinstance(found, type) and hasattr(found, "permission_classes") else None


def suffix_param(view: Any) -> str | None:
    """The parameter of a view that names the format of its answer, as in ``/rooms.json``; None if there is none."""
    found = rest_class(view)
    suffix: str | None = None if found is None else found.settings.FORMAT_SUFFIX_KWARG
    return suffix


def native_of(request: Any) -> HttpRequest:
    """Django's request: itself, or the one within a request of the framework."""
    native: HttpRequest = request if isinstance(request, HttpRequest) else request._request
    return native


def is_request(value: Any) -> bool:
    """Whether it is a request of the framework, with Django's in it."""
    return isinstance(getattr(value, "_request", None), HttpRequest)


def request_in(args: Sequence[Any]) -> Any:
    """The framework's request among the arguments of a view or a method; None if there is none."""
    return next(filter(is_request, args[:2]), None)


def actions_of(view: Any, handler: str) -> tuple[str, ...]:
    """The name of the action that answers a method in a set of views; empty for any other view."""
    actions = getattr(view, "action_map", None) or {}
    return tuple(actions[name] for name in (handler,) if name in actions)
