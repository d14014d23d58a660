"""View classes behind a guard, with their subclasses, for frameworks that await each view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial, update_wrapper, wraps
from itertools import takewhile
from types import MethodType
from typing import Any, Final

from ...errors import ConfigurationError
from .marks import calls_base, lost_guards, unwrapped

# Marks a method with a guard: whether it goes on by ``super()``.
_GOES_ON: Final = "rolecall_goes_on"


def guard_awaited(view_class: type[Any], serve: Callable[[Any, Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
    """Put a guard around everything that a view of this class does when awaited; see :func:`guard_first`.

    :param serve: takes the view, and a function that awaits it; returns the answer.
    """

    def guarded(view: Any, go_on: Callable[[], Generator[Any, None, Any]]) -> Generator[Any, None, Any]:
        async def run() -> Any:
            return await _Awaiting(go_on)

        return serve(view, run).__await__()

    guard_first(view_class, "__await__", guarded)


def guard_first(view_class: type[Any], name: str, guarded: Callable[[Any, Callable[[], Any]], Any]) -> None:
    """Put a guard around the method without arguments that a framework calls first on each view of this class.

    A subclass does not lose the guard by its own methods, and each of several guarded bases guards. A subclass in which
    another method of this name would run in the place of the guarded one is refused.

    :param guarded: takes the view, and a function that goes on with the method; returns what the method returns.
    """
    own = vars(view_class).get(name)

    def method(self: Any) -> Any:
        inherited: Any = super(view_class, self)
        return guarded(self, getattr(inherited, name) if own is None else partial(own, self))

    method.__name__ = name
    setattr(method, _GOES_ON, own is None or getattr(own, _GOES_ON, False))
    setattr(view_class, name, method)
    guarded_name = view_class.__name__

    def check(cls: type[Any]) -> None:
        for base in takewhile(lambda base: base is not view_class, cls.__mro__):
            if name in vars(base) and not getattr(vars(base)[name], _GOES_ON, False):
                raise ConfigurationError(
                    f"{cls.__name__} has {name} of {base.__name__} in the place of the guard of {guarded_name}; put "
                    f"{guarded_name} first among its bases, and what {name} does into the methods"
                )

    _check_subclasses(view_class, check)


def guard_made(
    view_class: type[Any],
    name: str,
    around: Callable[[Any], Any],
    kind: Callable[[Callable[..., Any]], Any] = classmethod,
) -> None:
    """Put a guard around each view that a class method makes: Flask's and Django's ``as_view``, Channels' ``as_asgi``.

    A subclass does not lose the guard by its own methods, and each of several guarded bases guards. A subclass is
    refused in which another class method of this name would run in the place of the guarded one, without calling it.

    :param around: returns a view behind the guard.
    :param kind: makes a class method of a function.
    """
    own = vars(view_class).get(name)

    @wraps(getattr(view_class, name).__func__)
    def make(cls: type[Any], /, *args: Any, **kwargs: Any) -> Any:
        inherited: Any = super(view_class, cls)
        made = getattr(inherited, name) if own is None else own.__get__(None, cls)
        return around(made(*args, **kwargs))

    setattr(make, _GOES_ON, own is None)
    setattr(view_class, name, kind(make))

    def check(cls: type[Any]) -> None:
        last = cls.__mro__.index(view_class)
        for place, base in enumerate(cls.__mro__[:last]):
            if name in vars(base) and not _goes_on(vars(base)[name], name, cls.__mro__[place : last + 1]):
                raise ConfigurationError(
                    f"{cls.__name__} has {name} of {base.__name__} in the place of that of {view_class.__name__}, "
                    f"which has a guard; let it call super().{name}(…), or put it first among the bases"
                )

    _check_subclasses(view_class, check)


def _goes_on(method: Any, name: str, classes: Sequence[type[Any]]) -> bool:
    return any(getattr(one, _GOES_ON, False) or calls_base(one, name, classes) for one in unwrapped(method))


class GuardedMethod:
    """A guarded method of a view class, for frameworks in which no app is looked at before it answers.

    A subclass is refused that overrides the method, and neither calls it nor guards its own.

    :param function: the method with its guard.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self._function = function

    def __set_name__(self, view_class: type[Any], name: str) -> None:
        def check(cls: type[Any]) -> None:
            if (lost := lost_guards(cls, name.upper())) is not None:
                base, _, place, _ = lost
                raise ConfigurationError(
                    f"{cls.__name__} overrides {place}, for which {base.__name__} has a guard, without calling "
                    f"super().{place}(…); call it, or give the method a guard of its own, or mark it as @public"
                )

        _check_subclasses(view_class, check)

    def __get__(self, view: Any, view_class: type[Any] | None = None) -> Any:
        return self if view is None else MethodType(self._function, view)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def _check_subclasses(view_class: type[Any], check: Callable[[type[Any]], None]) -> None:
    own = vars(view_class).get("__init_subclass__")

    def __init_subclass__(cls: type[Any], /, **kwargs: Any) -> None:  # noqa: N807
        if own is None:
            super(view_class, cls).__init_subclass__(**kwargs)
        else:
            own.__get__(None, cls)(**kwargs)
        check(cls)

    setattr(view_class, "__init_subclass__", classmethod(__init_subclass__))


class _Awaiting:
    """Awaits a class's own ``__await__``."""

    def __init__(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._make()
