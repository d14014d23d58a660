"""Endpoint classes behind a guard, with whatever inherits from them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Receive, Scope, Send

from rolecall.errors import ConfigurationError

if TYPE_CHECKING:
    from .guards import Guard

# Marks what awaits an endpoint behind a guard.
_GUARDS: Final = "rolecall_guards"


def guard_class(guard: Guard, endpoint: type[Any]) -> None:
    """Have a guard look at each connection before the endpoint of this class is run for it."""
    own = vars(endpoint).get("__await__")

    # Around the whole of it, so that a subclass does not lose the guard by methods of its own; and through super(),
    # so that with several guarded bases each guards.
    def __await__(self: Any) -> Generator[Any, None, None]:  # noqa: N807
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            self.scope, self.receive, self.send = scope, receive, send
            inherited: Any = super(endpoint, self)
            awaiting = inherited.__await__ if own is None else partial(own, self)
            await _Awaiting(awaiting)

        return guard.serve(run, self.scope, self.receive, self.send).__await__()

    setattr(endpoint, "__await__", __await__)
    _watch_subclasses(endpoint)


def _watch_subclasses(endpoint: type[Any]) -> None:
    """Stop a subclass in which another way to await stands before the guarded one, so that the guard is lost."""
    own = vars(endpoint).get("__init_subclass__")
    guarded = vars(endpoint)["__await__"]

    def __init_subclass__(cls: type[Any], /, **kwargs: Any) -> None:  # noqa: N807
        if own is None:
            super(endpoint, cls).__init_subclass__(**kwargs)
        else:
            own.__get__(None, cls)(**kwargs)
        first = next(vars(base)["__await__"] for base in cls.__mro__ if "__await__" in vars(base))
        if first is not guarded and not hasattr(first, _GUARDS):
            raise ConfigurationError(
                f"{cls.__name__} awaits by {first.__qualname__}, which stands before the guard of {endpoint.__name__}; "
                f"put {endpoint.__name__} first among its bases, or guard {cls.__name__} itself"
            )

    setattr(guarded, _GUARDS, True)
    setattr(endpoint, "__init_subclass__", classmethod(__init_subclass__))


class _Awaiting:
    """Awaits what a class's own ``__await__`` gives."""

    def __init__(self, make: Callable[[], Generator[Any, None, None]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, None]:
        return self._make()
