"""The classic mistake, found before it opens a door: a guard above the route decorator, so that Flask never sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from flask.sansio.app import App

from rolecall.errors import ConfigurationError

_GUARDED_BY = "rolecall_guarded_by"
_GUARDED_CLASS = "rolecall_guarded_class"
_CHECKED = "rolecall_checked"


def mark_as_bare(view: Callable[..., Any], guarded: Callable[..., Any]) -> None:
    """Remember on a view, and on whatever it wraps, which guarded view stands for it."""
    for inner in _unwrapped(view):
        with suppress(AttributeError):  # a bound method or a built-in takes no attribute
            inner.__dict__.setdefault(_GUARDED_BY, []).append(guarded)


def mark_class(view_class: type) -> None:
    """Remember that views of this class are guarded."""
    setattr(view_class, _GUARDED_CLASS, True)


def check_once(app: App) -> None:
    """Stop an app in which a view is registered itself, and none of the guarded views that stand for it.

    :raises ConfigurationError: names the view, at each request until it is mended.
    """
    if _CHECKED not in app.extensions:
        _refuse_bare_views(app)
        app.extensions[_CHECKED] = True


def _refuse_bare_views(app: App) -> None:
    registered = {id(view) for function in app.view_functions.values() for view in _unwrapped(function)}
    for endpoint, function in app.view_functions.items():
        if _is_bare(function, registered):
            raise ConfigurationError(
                f"the view of endpoint {endpoint!r} has a guard above its route decorator, so its route is open; "
                "put the guard below the route decorator"
            )


def _is_bare(function: Any, registered: set[int]) -> bool:
    if any(hasattr(view, "rolecall_guard") for view in _unwrapped(function)):
        return False
    if getattr(getattr(function, "view_class", None), _GUARDED_CLASS, False):
        return True
    guards = [
        guarded for view in _unwrapped(function) for guarded in getattr(view, "__dict__", {}).get(_GUARDED_BY, ())
    ]
    return bool(guards) and not any(id(guarded) in registered for guarded in guards)


def _unwrapped(function: Any) -> Iterator[Any]:
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)
