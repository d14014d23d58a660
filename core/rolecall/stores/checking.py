"""Checks at start whether an object is a store: one that cannot work might silently store nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..wording import kind, nearest, shown

#: The arguments of each method.
METHODS: Final = {
    "add_session": ("record",),
    "get_session": ("session_id",),
    "end_session": ("session_id", "ended_at"),
    "has_ended": ("session_id",),
    "use_once": ("name", "until", "now"),
    "close": (),
}
#: The methods of :class:`~rolecall.stores.leases.Leases`, :class:`~rolecall.stores.marks.Marked`,
#: :class:`~rolecall.stores.ledger.Ledger`, :class:`~rolecall.stores.documents.Documents`,
#: :class:`~rolecall.stores.listing.Listing` and :class:`~rolecall.stores.upkeep.Upkeep`, which a store need not have.
LEASES: Final = {
    "full_slot": ("slots", "now"),
    "take_lease": ("lease", "slots", "now"),
    "keep_lease": ("lease", "slots"),
    "drop_lease": ("lease",),
    "drop_slot": ("key",),
}
MARKS: Final = {"raise_mark": ("name", "value", "until"), "get_marks": ("names",)}
LEDGER: Final = {"add_token": ("token",), "list_tokens": ("page",)}
DOCUMENTS: Final = {"get_document": ("name",), "put_document": ("name", "content", "version")}
LISTING: Final = {"list_sessions": ("page",)}
UPKEEP: Final = {
    "forget": ("over",),
    "count": (),
    "dump": ("kind", "after", "limit"),
    "load": ("kind", "rows"),
    "examine": (),
    "migrate": (),
    "clock": (),
}
#: A method that creates several sessions at once, which only a store without ``async def`` needs.
_FASTER: Final = {"add_sessions": ("records",)}
#: A method that asks the database itself, for ``revocation="immediate"``.
_IMMEDIATE: Final = {"ended_among": ("session_ids",)}
#: A method that tells whether more was revoked.
_TELLING: Final = {"revision": ()}
_OPTIONAL: Final = {**_FASTER, **_IMMEDIATE, **_TELLING, **LEASES, **MARKS, **LEDGER, **DOCUMENTS, **LISTING, **UPKEEP}
_ATTRIBUTES: Final = ("reads_inline", "writes_inline", "bounded", "shared", "immediate")
_HELP: Final = "see rolecall.stores.Store"


def problem_with(store: Any) -> str | None:
    """The reason why an object is no store, and what to do; None if it is one."""
    if isinstance(store, type):
        return f"it is the class {store.__name__}; pass an instance of it: {store.__name__}(…)"
    if inspect.iscoroutine(store):
        store.close()
        return "a function that makes a store is a plain def; open connections in its methods, when they are first used"
    missing = [method for method in METHODS if not hasattr(store, method)]
    if len(missing) == len(METHODS):
        return "it has none of the methods of rolecall.stores.Store"
    if missing:
        return _without(store, missing[0])
    methods = [*METHODS, *(method for method in _OPTIONAL if hasattr(store, method))]
    problems = (_problem_with_method(method, getattr(store, method)) for method in methods)
    return next(filter(None, problems), None) or _problem_with_attributes(store)


def has(store: object, methods: Iterable[str]) -> bool:
    """Whether a store has all of some methods that it need not have."""
    return all(hasattr(store, method) for method in methods)


def problem_with_immediate(store: Any) -> str | None:
    """The reason why a store cannot tell at each check what any process has ended, and what to do; None if it can."""
    if getattr(store, "immediate", False) or hasattr(store, "ended_among"):
        return None
    return (
        f"{shown(store)} has no method {_signature('ended_among')}. Write one; or set immediate = True, if has_ended "
        f"knows at once what any process has ended; or leave revocation='in_step'. {_HELP.capitalize()}"
    )


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling ``function`` makes a coroutine, by its definition."""
    return _is(inspect.iscoroutinefunction, function)


def _without(store: object, method: str) -> str:
    close = nearest(method, (name for name in dir(store) if not name.startswith("_") and name not in METHODS))
    return f"it has no method {_signature(method)}{f'; did you mean {close}?' if close else ''}; {_HELP}"


def _problem_with_method(name: str, method: Any) -> str | None:
    if not callable(method):
        return f"its {name} is {kind(method)}; expected a method {_signature(name)}; {_HELP}"
    if _is(inspect.isgeneratorfunction, method) or _is(inspect.isasyncgenfunction, method):
        return f"its {name} is a generator, of which nothing would run; take the yield out"
    if name == "has_ended" and is_async(method):
        return (
            "its has_ended is an async def; expected a plain def that answers from memory, because it is asked for "
            f"every token, also where nothing can be awaited: keep the ids of ended sessions in the process; {_HELP}"
        )
    if name in _TELLING and is_async(method):
        return f"its {name} is an async def; expected a plain def that answers from memory, or none; {_HELP}"
    if name in _FASTER and is_async(method):
        return f"its {name} is an async def; expected a plain def, or none: an async store needs none; {_HELP}"
    try:
        inspect.signature(method).bind(*_arguments(name))
    except TypeError:
        return f"its {name} cannot be called with the arguments {_signature(name)}; {_HELP}"
    except ValueError:  # functions in C may have no signature
        pass
    return None


def _problem_with_attributes(store: object) -> str | None:
    for name in _ATTRIBUTES:
        value = getattr(store, name, False)
        if type(value) is not bool:
            return f"its {name} is {kind(value)}; expected True or False"
    return None


def _is(test: Callable[[object], bool], function: Any) -> bool:
    """Whether ``test`` is true of a function, of the function in a partial, or of an object's ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    return test(function) or test(getattr(type(function), "__call__", None))  # noqa: B004 (whether it is async)


def _signature(method: str) -> str:
    return f"{method}({', '.join(_arguments(method))})"


def _arguments(method: str) -> tuple[str, ...]:
    return METHODS[method] if method in METHODS else _OPTIONAL[method]
