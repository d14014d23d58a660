"""The marks that guards leave on views, so that it is exact which routes of an app are guarded, and how."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

from ...errors import ConfigurationError
from ...roles import ANY_TOKEN
from ...wording import shown
from ..api.routing import Route
from .guard import Guard, Kit

View = TypeVar("View", bound=Callable[..., Any])

_PUBLIC: Final = "rolecall_public"
_ELSEWHERE: Final = "rolecall_guarded_elsewhere"
_ROUTE: Final = "rolecall_route"
_NO_ROUTE: Final = (None, None, None)
# Modules whose view classes answer each method by the handler of its name; adapters add those of their frameworks.
_dispatchers: Final[set[str]] = set()
_GUARDS: Final = "rolecall_guards"
_GUARDED_BY: Final = "rolecall_guarded_by"
_IS_GUARDED: Final = "rolecall_is_guarded"
_GUARDED_HERE: Final = "rolecall_guarded_where_defined"
# Frames of these are no code of an app's.
_OWN_PACKAGES: Final = frozenset({"rolecall", "functools", "contextlib"}) | {
    f"rolecall_{framework}" for framework in ("aiohttp", "fastapi", "flask", "starlette", "wsgi")
}


def public(view: View) -> View:
    """Mark a view, a method of a view class, or a class, as open to all, within what :func:`protect` guards.

    :raises ConfigurationError: for something that takes no mark.
    """
    return _marked(view, "public", _PUBLIC, True)


def guarded_by(name: str) -> Callable[[View], View]:
    """Mark a view as guarded by something else, for the list of routes: ``@guarded_by("login_required")``.

    It lets nobody in and keeps nobody out; ``rolecall routes`` shows the name, and does not call the route open.

    :param name: what guards it, 1 to 80 printable characters.
    :raises ConfigurationError: for a name that is none, or something that takes no mark.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 80 or not name.isprintable():
        raise ConfigurationError(
            f'guarded_by takes the name of what guards the view, not {shown(name)}: @guarded_by("login_required")'
        )
    return lambda view: _marked(view, "guarded_by", _ELSEWHERE, name)


def _marked(view: View, marker: str, mark: str, value: object) -> View:
    if _holds_views(view):
        own = "endpoint" if hasattr(view, "endpoint") and callable(view) else "endpoints"
        raise ConfigurationError(
            f"{marker} marks an endpoint, an endpoint class or an app, not a {type(view).__name__}; mark its {own}"
        )
    if not callable(view):
        raise ConfigurationError(f"{marker} marks a view, not {shown(view)}")
    try:
        setattr(view, mark, value)
    except AttributeError:
        raise ConfigurationError(f"{shown(view)} takes no mark; put a function around it") from None
    return view


def mark_own(view: View, route: Route, kit: Kit) -> View:
    """Remember on a view that it answers one of a kit's routes, which look after themselves."""
    # With whose it is: functools.wraps hands marks on to what is the app's own.
    setattr(view, _ROUTE, (id(view), route, kit))
    return view


def own_route(view: Any) -> Route | None:
    """The route of a kit that a view answers, if it is one of a kit's."""
    marked, route, _ = getattr(view, _ROUTE, _NO_ROUTE)
    return route if marked == id(view) else None


def own_kit(view: Any) -> Kit | None:
    """The kit whose route a view answers, if it is one of a kit's."""
    marked, _, kit = getattr(view, _ROUTE, _NO_ROUTE)
    return kit if marked == id(view) else None


def dispatches_by_method(*modules: str) -> None:
    """Tell that view classes answer each method by the handler of its name, as far as their dispatching is inherited.

    :param modules: those that define the ``dispatch`` or ``dispatch_request`` which does so: ``"flask.views"``.
    """
    _dispatchers.update(modules)


def is_public(view: Any, method: str) -> bool:
    """Whether a view, or what answers ``method`` in a view class, is marked as open to all."""
    return _mark_of(view, method, _PUBLIC) is not None


def elsewhere_guard(view: Any, method: str) -> str | None:
    """What guards a view, or what answers ``method`` in a view class, as :func:`guarded_by` says."""
    name: str | None = _mark_of(view, method, _ELSEWHERE)
    return name


def _mark_of(view: Any, method: str, mark: str) -> Any:
    for inner in unwrapped(view):
        # In its own dictionary: a class does not hand its mark on to subclasses that add methods.
        if mark in getattr(inner, "__dict__", {}):
            return vars(inner)[mark]
        view_class = getattr(inner, "view_class", inner)
        if isinstance(view_class, type):
            if mark in vars(view_class):
                return vars(view_class)[mark]
            handlers = unwrapped(handler_of(view_class, method))
            return next((vars(one)[mark] for one in handlers if mark in getattr(one, "__dict__", {})), None)
    return None


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
    if dispatch is not None and getattr(dispatch, "__module__", None) not in _dispatchers:
        return None
    name = "get" if method == "HEAD" and not hasattr(view_class, "head") else method.lower()
    return getattr(view_class, name, None)


def view_guards(view: Any, method: str) -> list[Guard]:
    """The guards of a view; in a view class also those of what answers ``method``."""
    guards, view_class = guards_of(view), class_of(view)
    if view_class is None:
        return guards
    for handler in (handler_of(view_class, method), getattr(view_class, "dispatch_request", None)):
        guards += guards_of(handler)
    # flask-restful and flask-restx put these around the handler at each request, by the method that was sent.
    decorators = getattr(view_class, "method_decorators", ())
    if isinstance(decorators, Mapping):
        decorators = decorators.get(method.lower(), ())
    for decorator in decorators:
        guards += _guards_of_decorator(decorator)
    return guards


def _guards_of_decorator(decorator: Any) -> list[Guard]:
    if isinstance(decorator, Guard):
        return [decorator]
    maker = getattr(decorator, "__self__", None)
    if isinstance(maker, type) and issubclass(maker, Guard) and decorator == maker.of_token:
        return [maker(ANY_TOKEN)]  # require_token without brackets
    return guards_of(decorator)


def mark_guarded(guarded: Any, guard: Guard, bare: Any = None) -> None:
    """Remember on a guarded view which guard it has, and on the bare one which guarded view stands for it.

    :param guarded: a view, a view class, or what holds several.
    :param bare: what the guard was put around, if that is another object.
    """
    before = getattr(guarded, "__dict__", {}).get(_GUARDS, ())
    setattr(guarded, _GUARDS, (guard, *before))
    if isinstance(guarded, type):
        setattr(guarded, _GUARDED_HERE, _is_one_of(guarded, _defined_by_the_caller(guard)))
    if bare is None:
        return
    # With whose it is: functools.wraps hands marks on to decorators around the guarded view.
    setattr(guarded, _IS_GUARDED, id(guarded))
    defined = _defined_by_the_caller(guard)
    for inner in unwrapped(bare):
        is_here = any(_is_one_of(deeper, defined) for deeper in unwrapped(inner))
        # What is guarded elsewhere matters as long as some app has it; and it may be guarded anew at each request.
        mark = (lambda: guarded) if is_here else weakref.ref(guarded), is_here
        holder = getattr(inner, "__func__", inner)
        marks = getattr(holder, "__dict__", {}).get(_GUARDED_BY, ())
        with suppress(AttributeError, TypeError):  # a built-in takes no attribute
            # A new tuple each time, since functools.wraps hands the old one on.
            setattr(holder, _GUARDED_BY, (*(one for one in marks if one[0]() is not None), mark))


def _defined_by_the_caller(guard: Guard) -> list[CodeType]:
    """The functions and classes that the code defines which puts a guard on something, as with a decorator.

    A factory that takes its views from elsewhere guards them in one app, and perhaps not in the next; what it does
    for one app says nothing about another.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_of_an_adapter(frame, guard):
        frame = frame.f_back
    return [one for one in frame.f_code.co_consts if isinstance(one, CodeType)]


def _is_of_an_adapter(frame: FrameType, guard: Guard) -> bool:
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    # By the second, the methods of an adapter's guard that somebody else has written.
    return package in _OWN_PACKAGES or frame.f_locals.get("self") is guard


def _is_one_of(view: Any, defined: Iterable[CodeType]) -> bool:
    if isinstance(view, type):
        return any(code.co_qualname == view.__qualname__ for code in defined)
    return any(code is getattr(view, "__code__", None) for code in defined)


def is_guarded(view: Any) -> bool:
    """Whether a view is what a guard has put around another one, and nothing around that."""
    guarded = getattr(view, "__dict__", {}).get(_IS_GUARDED)
    return guarded == id(view)


def is_run_as(endpoint: Any, method: str, guarded: Any) -> bool:
    """Whether a framework that runs ``endpoint`` for a method runs this guarded function by that, and no other.

    What the guarded function returns is the answer then. Whoever else calls it (an endpoint that asks a helper, a
    decorator of the app's own) may read a refusal for its truth.
    """
    if isinstance(endpoint, type):
        endpoint = handler_of(endpoint, method)
    while endpoint is not guarded:
        if isinstance(endpoint, partial):
            endpoint = endpoint.func
        elif is_guarded(endpoint):
            endpoint = endpoint.__wrapped__
        else:
            return False
    return True


def guards_of(view: Any) -> list[Guard]:
    """The guards of a view, from the outermost; of a class, with those of its bases."""
    found: list[Guard] = []
    for inner in unwrapped(view):
        for marked in inner.__mro__ if isinstance(inner, type) else (inner,):
            for guard in _guards_on(marked):
                if not any(guard is other for other in found):
                    found.append(guard)
    return found


def missed_guards(view: Any, registered: set[int], around: Iterable[Guard] = ()) -> list[Guard]:
    """The guards that somebody put around a view, which this route of an app is without.

    They stand above the route decorator, or between two of them; or the app has the view once with its guard and once
    without. What is marked as public is meant to be open.

    :param registered: the ids of all views that the app has, and of what they wrap.
    :param around: the guards that stand around the route: what demands no less makes up for one that was missed.
    """
    if _PUBLIC in getattr(view, "__dict__", {}):
        return []
    held = [*guards_of(view), *around]
    return [
        guard
        for refer, is_here in getattr(view, "__dict__", {}).get(_GUARDED_BY, ())
        if (guarded := refer()) is not None
        and guarded is not view
        and (is_here or id(guarded) in registered)
        and any(inner is view for inner in unwrapped(guarded))
        for guard in guards_of(guarded)
        if not any(other.demands_no_less_than(guard) for other in held)
    ]


def late_guards(view: Any, around: Iterable[Guard] = ()) -> list[Guard]:
    """The guards of a view's class that the view was made without, because they came later.

    :param around: see :func:`missed_guards`.
    """
    view_class = class_of(view)
    if view_class is None or view_class is view or not getattr(view_class, _GUARDED_HERE, False):
        return []
    held = [*guards_of(view), *around]
    return [guard for guard in guards_of(view_class) if not any(other.demands_no_less_than(guard) for other in held)]


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
    # In its own dictionary: a class does not hand its guards on, which its bases have themselves.
    found = vars(marked).get(_GUARDS) if isinstance(marked, type) else getattr(marked, _GUARDS, None)
    return found or ()


def unwrapped(view: Any) -> Iterator[Any]:
    """A view, and what it wraps, from the outermost."""
    while view is not None:
        yield view
        view = view.func if isinstance(view, partial) else getattr(view, "__wrapped__", None)
