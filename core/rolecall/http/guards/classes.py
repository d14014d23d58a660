"""View classes behind a guard, with their subclasses, for frameworks that await each view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final

from ...errors import ConfigurationError

# Marks an ``__await__`` with a guard.
_GUARDED: Final = "rolecall_guards"


def guard_awaited(view_class: type[Any], serve: Callable[[Any, Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
    """Put a guard around everything that a view of this class does when awaited.

    A subclass in which another ``__await__`` comes before the guarded one is refused, because it would lose the guard.

    :param serve: takes the view, and a function that awaits it; returns the answer.
    """
    own = vars(view_class).get("__await__")

    # Around the whole ``__await__``, so that a subclass does not lose the guard by its own methods; and through
    # super(), so that each of several guarded bases guards.
    def __await__(self: Any) -> Generator[Any, None, Any]:  # noqa: N807
        async def run() -> Any:
            inherited: Any = super(view_class, self)
            return await _Awaiting(inherited.__await__ if own is None else partial(own, self))

        return serve(self, run).__await__()

    setattr(view_class, "__await__", __await__)
    _watch_subclasses(view_class)


def _watch_subclasses(view_class: type[Any]) -> None:
    own = vars(view_class).get("__init_subclass__")
    guarded, guarded_name = vars(view_class)["__await__"], view_class.__name__

    def __init_subclass__(cls: type[Any], /, **kwargs: Any) -> None:  # noqa: N807
        if own is None:
            super(view_class, cls).__init_subclass__(**kwargs)
        else:
            own.__get__(None, cls)(**kwargs)
        first = next(vars(base)["__await__"] for base in cls.__mro__ if "__await__" in vars(base))
        if first is not guarded and not hasattr(first, _GUARDED):
            raise ConfigurationError(
                f"{cls.__name__} awaits by {first.__qualname__}, which stands before the guard of {guarded_name}; "
                f"put {guarded_name} first among its bases, or guard {cls.__name__} itself"
            )

    setattr(guarded, _GUARDED, True)
    setattr(view_class, "__init_subclass__", classmethod(__init_subclass__))


class _Awaiting:
    """Awaits a class's own ``__await__``."""

    def __init__(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._make()
