"""The marks that guards leave on views, so that the list of guarded routes is exact."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
# Modules whose view classes call the handler named after the method; adapters add those of their frameworks.
_dispatchers: Final[set[str]] = set()
_GUARDS: Final = "rolecall_guards"
_GUARDED_BY: Final = "rolecall_guarded_by"
_IS_GUARDED: Final = "rolecall_is_guarded"
_GUARDED_HERE: Final = "rolecall_guarded_where_defined"
# Lists of decorators in a view class: Flask's, and those of flask-restful and flask-restx.
_LISTS: Final = ("decorators", "method_decorators")
# Packages whose frames are not the app's code.
_OWN_PACKAGES: Final = frozenset({"rolecall", "functools", "contextlib"}) | {
    f"rolecall_{framework}" for framework in ("aiohttp", "django", "fastapi", "flask", "starlette", "tornado", "wsgi")
}


def public(view: View) -> View:
    """Mark a view, a method of a view class, or a class, as open to all within an app under ``protect``.

    :raises ConfigurationError: for an object that cannot be marked.
    """
    return _marked(view, "public", _PUBLIC, True)


def guarded_by(name: str) -> Callable[[View], View]:
    """Mark a view as guarded by something else, for the list of routes: ``@guarded_by("login_required")``.

    The mark neither admits nor refuses anybody; ``rolecall routes`` shows the name, and does not call the route open.

    :param name: the name of that guard, 1 to 80 printable characters.
    :raises ConfigurationError: for an invalid name, or an object that cannot be marked.
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
    """Mark a view as the answer to one of a kit's routes, which need no guard."""
    # With the view's id, because functools.wraps copies marks to the app's own functions.
    setattr(view, _ROUTE, (id(view), route, kit))
    return view


def own_route(view: Any) -> Route | None:
    """The kit's route that a view answers; None if it answers none."""
    marked, route, _ = getattr(view, _ROUTE, _NO_ROUTE)
    return route if marked == id(view) else None


def own_kit(view: Any) -> Kit | None:
    """The kit whose route a view answers; None if it answers none."""
    marked, _, kit = getattr(view, _ROUTE, _NO_ROUTE)
    return kit if marked == id(view) else None


def dispatches_by_method(*modules: str) -> None:
    """Register view classes that call the handler named after the method, unless they override their dispatching.

    :param modules: the modules of the ``dispatch`` or ``dispatch_request`` that does so: ``"flask.views"``.
    """
    _dispatchers.update(modules)


def is_public(view: Any, method: str) -> bool:
    """Whether a view, or a view class's handler of ``method``, is marked as open to all."""
    return _mark_of(view, method, _PUBLIC) is not None


def is_spared(view: Any, method: str, *, whole: bool) -> bool:
    """Whether a guard around many views leaves one of them alone.

    It leaves alone the views that are marked as open to all; and, around a whole app, the kit's own routes, which check
    tokens themselves.

    :param whole: whether it is around a whole app.
    """
    return (whole and own_route(view) is not None) or is_public(view, method)


def elsewhere_guard(view: Any, method: str) -> str | None:
    """The :func:`guarded_by` name of a view, or of a view class's handler of ``method``; None if there is none."""
    name: str | None = _mark_of(view, method, _ELSEWHERE)
    return name


def _mark_of(view: Any, method: str, mark: str) -> Any:
    for inner in unwrapped(view):
        # In its own dictionary, because a class's mark is not for subclasses that add methods.
        if mark in getattr(inner, "__dict__", {}):
            return vars(inner)[mark]
        view_class = _made_of(inner)
        if isinstance(view_class, type):
            if mark in vars(view_class):
                return vars(view_class)[mark]
            handlers = unwrapped(handler_of(view_class, method, _actions_of(inner)))
            return next((vars(one)[mark] for one in handlers if mark in getattr(one, "__dict__", {})), None)
    return None


def class_of(view: Any) -> type[Any] | None:
    """The view class behind a view, if there is one."""
    for inner in unwrapped(view):
        view_class = _made_of(inner)
        if isinstance(view_class, type):
            return view_class
    return None


def _made_of(view: Any) -> Any:
    """The class that a view was made of, as Flask, Django or Django REST framework keep it; else the view itself."""
    made_of = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return made_of if isinstance(made_of, type) else view


def _actions_of(view: Any) -> Mapping[str, str] | None:
    """The names of a view's handlers by method, as Django REST framework keeps them; None if it has no such names."""
    actions = getattr(view, "actions", None)
    return actions if isinstance(actions, Mapping) else None


def handler_of(view_class: type[Any], method: str, actions: Mapping[str, str] | None = None) -> Any:
    """A view class's handler of ``method``; None if there is none, or if the class has its own dispatching.

    :param actions: the names of its handlers by method; each is named after its method unless given.
    """
    dispatch = getattr(view_class, "dispatch_request", None) or getattr(view_class, "dispatch", None)
    if dispatch is not None and getattr(dispatch, "__module__", None) not in _dispatchers:
        return None
    name = method.lower()
    if actions is not None:
        name = actions.get(name) or (actions.get("get", "") if name == "head" else "")
    elif name == "head" and not hasattr(view_class, "head"):
        name = "get"
    return getattr(view_class, name, None)


def view_guards(view: Any, method: str) -> list[Guard]:
    """The guards of a view; for a view class also those of its handler of ``method``."""
    guards, view_class = guards_of(view), class_of(view)
    if view_class is None:
        return guards
    dispatchers = [getattr(view_class, name, None) for name in ("dispatch_request", "dispatch")]
    actions = next(filter(None, map(_actions_of, unwrapped(view))), None)
    for handler in (handler_of(view_class, method, actions), *dispatchers):
        guards += guards_of(handler)
    # flask-restful and flask-restx put these around the handler at each request, by the request's method.
    return guards + _guards_in(getattr(view_class, "method_decorators", ()), method.lower())


def lost_guards(
    view: Any, method: str, around: Iterable[Guard] = ()
) -> tuple[type[Any], type[Any], str, list[Guard]] | None:
    """The guards of a base class that a view class has lost, because it overrides what has them.

    Its own handler, or dispatching, does not call the guarded one; or its list of decorators is without them.

    :param around: see :func:`missed_guards`.
    :returns: the base, the view class, the name of what has the guards in the base, and the guards.
    """
    view_class, held = class_of(view), [*view_guards(view, method), *around]
    if view_class is None or is_public(view, method):
        return None
    name = method.lower() if method != "HEAD" or hasattr(view_class, "head") else "get"
    # Who guards a handler anew has said what it takes; that says nothing of a guard around all handlers.
    places = ("dispatch_request", "dispatch") if held else (name, "dispatch_request", "dispatch", *_LISTS)
    for place in places:
        own = list(unwrapped(getattr(view_class, place, None)))
        if any(guards_of(inner) for inner in own):
            continue
        for number, base in enumerate(view_class.__mro__[1:], 1):
            there = vars(base).get(place)
            if there is None or any(calls_base(inner, place, view_class.__mro__[: number + 1]) for inner in own):
                continue
            guards = _guards_in(there, name) if place in _LISTS else guards_of(there)
            lost = [guard for guard in guards if not any(other.demands_no_less_than(guard) for other in held)]
            if lost:
                return base, view_class, place, lost
    return None


def calls_base(function: Any, name: str, classes: Sequence[type[Any]]) -> bool:
    """Whether a method calls that of a base class: as ``super().name``, or by the name of a class.

    :param classes: the view class, and its bases up to the one in question.
    """
    names = _names_used_by(function)
    if name not in names:
        return False
    if "super" not in names:
        return any(one.__name__ in names for one in classes[1:])
    # With the class in question as an argument, super passes over that class's own method.
    return classes[-1].__name__ not in names or any(one.__name__ in names for one in classes[:-1])


def _names_used_by(function: Any) -> set[str]:
    """The names that a function uses, and the functions within it."""
    code = function if isinstance(function, CodeType) else getattr(function, "__code__", None)
    if code is None:
        return set()
    # The class of a function's own is a free variable where the class is within a function.
    names = {*code.co_names, *code.co_freevars}
    return names.union(*(_names_used_by(one) for one in code.co_consts if isinstance(one, CodeType)))


def _guards_in(decorators: Any, name: str) -> list[Guard]:
    """The guards among decorators, which flask-restful may keep by method."""
    if isinstance(decorators, Mapping):
        decorators = decorators.get(name, ())
    return [guard for decorator in decorators or () for guard in _guards_of_decorator(decorator)]


def _guards_of_decorator(decorator: Any) -> list[Guard]:
    if isinstance(decorator, Guard):
        return [decorator]
    maker = getattr(decorator, "__self__", None)
    if isinstance(maker, type) and issubclass(maker, Guard) and decorator == maker.of_token:
        return [maker(ANY_TOKEN)]  # require_token without brackets
    return guards_of(decorator)


def mark_guarded(guarded: Any, guard: Guard, bare: Any = None) -> None:
    """Mark a guarded view with its guard, and the bare view with the guarded one.

    :param guarded: a view, a view class, or an object that holds several.
    :param bare: the object within the guard, if it is another one.
    """
    before = getattr(guarded, "__dict__", {}).get(_GUARDS, ())
    setattr(guarded, _GUARDS, (guard, *before))
    if isinstance(guarded, type):
        setattr(guarded, _GUARDED_HERE, _is_one_of(guarded, _defined_by_the_caller(guard)))
    if bare is None:
        return
    # With the view's id, because functools.wraps copies marks to decorators around the guarded view.
    setattr(guarded, _IS_GUARDED, id(guarded))
    defined = _defined_by_the_caller(guard)
    for inner in unwrapped(bare):
        is_here = any(_is_one_of(deeper, defined) for deeper in unwrapped(inner))
        # A guard from elsewhere counts while some app has it; as it may be made at each request, it is held weakly.
        mark = (lambda: guarded) if is_here else weakref.ref(guarded), is_here
        holder = getattr(inner, "__func__", inner)
        marks = getattr(holder, "__dict__", {}).get(_GUARDED_BY, ())
        with suppress(AttributeError, TypeError):  # a built-in takes no attribute
            # A new tuple each time, because functools.wraps copies the old one.
            setattr(holder, _GUARDED_BY, (*(one for one in marks if one[0]() is not None), mark))


def _defined_by_the_caller(guard: Guard) -> list[CodeType]:
    """The functions and classes that the code which applies a guard defines itself, as with a decorator.

    A factory that gets its views from elsewhere may guard them in one app, and not in another; a guard in one app says
    nothing about others.
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
    """Whether a view is itself the wrapper that a guard made, with nothing around it."""
    guarded = getattr(view, "__dict__", {}).get(_IS_GUARDED)
    return guarded == id(view)


def is_run_as(endpoint: Any, method: str, guarded: Any) -> bool:
    """Whether a framework that runs ``endpoint`` for a method thereby runs this guarded function, and no other.

    Then the function's return value is the answer. Any other caller (an endpoint that calls a helper, a decorator of
    the app) may take a refusal for a true value.
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
    guards: list[Guard] = []
    for inner in unwrapped(view):
        for marked in inner.__mro__ if isinstance(inner, type) else (inner,):
            for guard in _guards_on(marked):
                if not any(guard is other for other in guards):
                    guards.append(guard)
    return guards


def missed_guards(view: Any, registered: set[int], around: Iterable[Guard] = ()) -> list[Guard]:
    """The guards around a view that this route of an app has lost.

    They are above the route decorator, or between two of them; or the app has the view both with its guard and without.
    A view that is marked as public is meant to be open.

    :param registered: the ids of all views of the app, and of the functions that they wrap.
    :param around: the guards around the route: one with the same demands makes up for a lost one.
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
    """The guards of a view's class that the view lacks, because they were added after it was made.

    :param around: see :func:`missed_guards`.
    """
    view_class = class_of(view)
    if view_class is None or view_class is view or not getattr(view_class, _GUARDED_HERE, False):
        return []
    held = [*guards_of(view), *around]
    return [guard for guard in guards_of(view_class) if not any(other.demands_no_less_than(guard) for other in held)]


def _holds_views(target: Any) -> bool:
    """Whether it is a route or a group of routes, where nobody would look for a mark."""
    if isinstance(target, type):
        return False
    is_route = callable(getattr(target, "matches", None)) and callable(getattr(target, "handle", None))
    return is_route or (callable(getattr(target, "register_blueprint", None)) and not callable(target))


def ids_of(views: Iterable[Any]) -> set[int]:
    """The ids of views and of the functions that they wrap."""
    return {id(inner) for view in views for inner in unwrapped(view)}


def _guards_on(marked: Any) -> tuple[Guard, ...]:
    # In its own dictionary, because the guards of base classes are found in the bases.
    found = vars(marked).get(_GUARDS) if isinstance(marked, type) else getattr(marked, _GUARDS, None)
    return found or ()


def unwrapped(view: Any) -> Iterator[Any]:
    """A view, and the functions that it wraps, from the outermost."""
    while view is not None:
        yield view
        view = view.func if isinstance(view, partial) else getattr(view, "__wrapped__", None)
