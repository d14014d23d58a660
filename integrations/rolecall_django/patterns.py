"""Guards, and marks, for URL patterns: all views of an ``include``, or of an app of others."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver

from rolecall.errors import ConfigurationError
from rolecall.http import adapter
from rolecall.http.adapter import ANY_TOKEN, shown

if TYPE_CHECKING:
    from .guards import Guard

Patterns = TypeVar("Patterns")
View = Callable[..., Any]

#: The modules of Channels' consumers and applications.
_CHANNELS: Final = frozenset(
    f"channels.{name}" for name in ("auth", "consumer", "middleware", "routing", "security.websocket", "sessions")
)
_AROUND: Final = "rolecall_around"
_WITHIN: Final = "rolecall_within"


def protect(target: Patterns, guard: Guard | None = None) -> Patterns:
    """Guard every view of URL patterns, except those that are marked with ``@public``.

    ``path("rooms/", protect(include("rooms.urls"), require_role("moderator")))``. For a whole site there is
    ``ROLECALL["protect"]`` in the settings.

    :param target: what ``include(…)``, ``path(…)`` or ``re_path(…)`` returns, or a list of these; or a ``URLRouter`` of
        Django Channels.
    :param guard: for example ``require_role("moderator")``; every good token is admitted unless given.
    """
    from .guards import Guard

    chosen = Guard(ANY_TOKEN) if guard is None else guard
    Guard.check(chosen)
    if is_of_channels(target):
        from .channels import protected as protected_by_channels

        return protected_by_channels(chosen, target)  # type: ignore[no-any-return]
    protected: Patterns = _mapped(target, lambda view: _protected(view, chosen))
    return protected


def public(target: Patterns) -> Patterns:
    """Mark a view, a method of a view class, a class, or every view of URL patterns, as open to all.

    Patterns are for apps of others: ``path("admin/", public(admin.site.urls))``.

    :raises ConfigurationError: for an object that cannot be marked.
    """
    if isinstance(target, tuple | list | URLPattern | URLResolver):
        marked: Patterns = _mapped(target, lambda view: adapter.public(_copied(view)))
    else:
        marked = adapter.public(target)  # type: ignore[type-var]
    return marked


def is_of_channels(target: Any) -> bool:
    """Whether it is a consumer's class, an application or a router of Django Channels, which is not imported for it."""
    made_of = getattr(target, "consumer_class", None) or (target if isinstance(target, type) else type(target))
    is_theirs = any(base.__module__ in _CHANNELS for base in getattr(made_of, "__mro__", ()))
    return is_theirs or ("channels.routing" in sys.modules and _is_asgi(target))


def _is_asgi(target: Any) -> bool:
    """Whether it is called as an ASGI application: by a scope, and not by a request."""
    if isinstance(target, type) or not callable(target):
        return False
    try:
        return next(iter(inspect.signature(target).parameters), None) == "scope"
    except (TypeError, ValueError):  # it has no signature
        return False


def guards_around(view: Any) -> tuple[Guard, ...]:
    """The guards of ``protect`` around a view, from the outermost."""
    guards: tuple[Guard, ...] = getattr(view, _AROUND, ())
    return guards


def unprotected(view: Any) -> Any:
    """A view without the guards of ``protect`` around it."""
    while guards_around(view):
        view = getattr(view, _WITHIN)
    return view


def _protected(view: View, guard: Guard) -> View:
    if is_of_channels(view):
        from .channels import protected as protected_by_channels

        return protected_by_channels(guard, view)  # type: ignore[no-any-return]

    def is_spared(request: HttpRequest) -> bool:
        method = request.method or ""
        # The kit's own routes are guarded, too, except for OPTIONS, which they answer themselves.
        return adapter.is_spared(view, method, whole=method == "OPTIONS")

    protected = guard.around(view, is_spared)
    setattr(protected, _AROUND, (guard, *guards_around(view)))
    setattr(protected, _WITHIN, view)
    return protected


def _copied(view: View) -> View:
    """A view of its own, because a mark on the view itself would hold wherever else it is routed."""
    copied: Any
    if iscoroutinefunction(view):

        @wraps(view)
        async def copied(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)
    else:

        @wraps(view)
        def copied(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

    return copied  # type: ignore[no-any-return]


def _mapped(target: Any, change: Callable[[View], View]) -> Any:
    """URL patterns with other views."""
    if isinstance(target, URLPattern):
        return URLPattern(target.pattern, change(target.callback), target.default_args, target.name)
    if isinstance(target, URLResolver):
        within = _mapped(target.url_patterns, change)
        return URLResolver(target.pattern, within, target.default_kwargs, target.app_name, target.namespace)
    if isinstance(target, tuple) and len(target) == 3:  # as include(…) and admin.site.urls are
        return (_mapped(_listed(target[0]), change), *target[1:])
    if isinstance(target, list | tuple):
        return [_mapped(one, change) for one in target]
    raise ConfigurationError(
        f"{shown(target)} is no URL pattern; expected what include(…), path(…) or re_path(…) returns, or a list"
    )


def _listed(included: Any) -> Any:
    return getattr(included, "urlpatterns", included)
