"""The marks that guards leave on views, so that it is exact which routes of an app are guarded, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from ..errors import ConfigurationError, shown
from ..roles import Requirement
from .routing import Route

View = TypeVar("View", bound=Callable[..., Any])

_PUBLIC: Final = "rolecall_public"
_GUARD: Final = "rolecall_guard"
_ROUTE: Final = "rolecall_route"
# Whose view classes answer each method by the handler of its name.
_DISPATCHERS: Final = ("flask.views", "starlette.endpoints")
_GUARDS: Final = "rolecall_guards"
_GUARDED_BY: Final = "rolecall_guarded_by"


class Guard(Protocol):
    """What every adapter's guards say about themselves."""

    requirement: Requirement
    #: The path parameter that names the session; None where the guard looks at no session.
    session_param: str | None


def public(view: View) -> View:
    """Mark a view, a method of a view class, or a class, as open to all, within what :func:`protect` guards.

    :raises ConfigurationError: for something that takes no mark.
    """
    if _holds_views(view):
        own = "endpoint" if hasattr(view, "endpoint") and callable(view) else "endpoints"
        raise ConfigurationError(
            f"public marks an endpoint, an endpoint class or an app, not a {type(view).__name__}; mark its {own}"
        )
    if not callable(view):
        raise ConfigurationError(f"public marks a view, not {shown(view)}")
    try:
        setattr(view, _PUBLIC, True)
    except AttributeError:
        raise ConfigurationError(f"{shown(view)} takes no mark; put a function around it") from None
    return view


def check_guard(guard: object, kind: type[Any]) -> None:
    """Stop what is no guard where one is to be passed.

    :param kind: the class of the adapter's guards.
    :raises ConfigurationError: says what to pass.
    """
    if isinstance(guard, str):
        raise ConfigurationError(f"pass a guard: require_role({shown(guard)})")
    if not isinstance(guard, kind):
        package = kind.__module__.partition(".")[0]
        raise ConfigurationError(f"pass a guard of {package}, such as require_role('moderator'), not {shown(guard)}")


def mark_own(view: View, route: Route) -> View:
    """Remember on a view that it answers one of the kit's routes, which look after themselves."""
    # With whose it is: functools.wraps hands marks on to what is the app's own.
    setattr(view, _ROUTE, (id(view), route))
    return view


def own_route(view: Any) -> Route | None:
    """The route of the kit that a view answers, if it is one of the kit's."""
    marked, route = getattr(view, _ROUTE, (None, None))
    return route if marked == id(view) else None


def is_public(view: Any, method: str) -> bool:
    """Whether a view, or what answers ``method`` in a view class, is marked as open to all."""
    for inner in unwrapped(view):
        # In its own dictionary: a class does not hand its mark on to subclasses that add methods.
        if _PUBLIC in getattr(inner, "__dict__", {}):
            return True
        view_class = getattr(inner, "view_class", inner)
        if isinstance(view_class, type):
            if _PUBLIC in vars(view_class):
                return True
            handler = handler_of(view_class, method)
            return any(_PUBLIC in getattr(one, "__dict__", {}) for one in unwrapped(handler))
    return False


def class_of(view: Any) -> type[Any] | None:
    """The view class behind a view, if there is one."""
    for inner in unwrapped(view):
        view_class = getattr(inner, "view_class", inner)
        if isinstance(view_class, type):
            return view_class
    return None


def handler_of(view_class: type[Any], method: str) -> Any:
    """What answers ``method`` in a view class; None if nothing does, or the class dispatches by rules of its own."""
    dispatch = getattr(view_class, "dispatch_request", None) or getattr(view_class, "dispatch", None)
    if dispatch is not None and getattr(dispatch, "__module__", None) not in _DISPATCHERS:
        return None
    name = "get" if method == "HEAD" and not hasattr(view_class, "head") else method.lower()
    return getattr(view_class, name, None)


def mark_guarded(guarded: Any, guard: Guard, bare: Any = None) -> None:
    """Remember on a guarded view which guard it has, and on the bare one which guarded view stands for it."""
    before = getattr(guarded, "__dict__", {}).get(_GUARDS, ())
    setattr(guarded, _GUARD, guard)
    setattr(guarded, _GUARDS, (guard, *before))
    for inner in unwrapped(bare):
        with suppress(AttributeError):  # a bound method or a built-in takes no attribute
            inner.__dict__.setdefault(_GUARDED_BY, []).append(guarded)


def guards_of(view: Any) -> list[Guard]:
    """The guards of a view, from the outermost; of a class, with those of its bases."""
    found: list[Guard] = []
    for inner in unwrapped(view):
        for marked in inner.__mro__ if isinstance(inner, type) else (inner,):
            for guard in _guards_on(marked):
                if not any(guard is other for other in found):
                    found.append(guard)
    return found


def missed_guards(view: Any, registered: set[int]) -> list[Guard]:
    """The guards that somebody put around a view, where nothing sees them: above the route decorator.

    :param registered: see :func:`is_bare`.
    """
    around = [
        guarded
        for guarded in getattr(view, "__dict__", {}).get(_GUARDED_BY, ())
        if guarded is not view and any(inner is view for inner in unwrapped(guarded))
    ]
    if any(id(guarded) in registered for guarded in around):
        return []
    held = guards_of(view)
    return [guard for guarded in around for guard in guards_of(guarded) if guard not in held]


def late_guards(view: Any) -> list[Guard]:
    """The guards of a view's class that the view was made without, because they came later."""
    view_class = class_of(view)
    if view_class is None or view_class is view:
        return []
    held = guards_of(view)
    return [guard for guard in guards_of(view_class) if guard not in held]


def is_bare(view: Any, registered: set[int]) -> bool:
    """Whether a view has no guard, though somebody put one on it: above the route decorator, where nothing sees it.

    :param registered: the ids of all views that the app has, and of what they wrap.
    """
    if guards_of(view):
        return False
    if hasattr(getattr(view, "view_class", None), _GUARD):
        return True  # the class was guarded once its view had been made
    guarded = [one for inner in unwrapped(view) for one in getattr(inner, "__dict__", {}).get(_GUARDED_BY, ())]
    return bool(guarded) and not any(id(one) in registered for one in guarded)


def _holds_views(target: Any) -> bool:
    """Whether it is a route or a group of them, whose own mark nobody would look at."""
    if isinstance(target, type):
        return False
    is_route = callable(getattr(target, "matches", None)) and callable(getattr(target, "handle", None))
    return is_route or (callable(getattr(target, "register_blueprint", None)) and not callable(target))


def ids_of(views: Iterable[Any]) -> set[int]:
    """The ids of views and of what they wrap."""
    return {id(inner) for view in views for inner in unwrapped(view)}


def _guards_on(marked: Any) -> tuple[Guard, ...]:
    guards: tuple[Guard, ...] | None = (
        vars(marked).get(_GUARDS) if isinstance(marked, type) else getattr(marked, _GUARDS, None)
    )
    if guards is not None:
        return guards
    guard: Guard | None = vars(marked).get(_GUARD) if isinstance(marked, type) else getattr(marked, _GUARD, None)
    return () if guard is None else (guard,)


def unwrapped(view: Any) -> Iterator[Any]:
    """A view, and what it wraps, from the outermost."""
    while view is not None:
        yield view
        view = view.func if isinstance(view, partial) else getattr(view, "__wrapped__", None)
