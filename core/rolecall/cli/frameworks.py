"""A framework with commands of its own: the kit, the store and the retention of its settings, for these commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from ..kit import Rolecall
from ..stores import Store


@dataclass(frozen=True, slots=True)
class Framework:
    """The settings of a framework, for commands.

    :param make_kit: makes the kit, with further arguments of :class:`~rolecall.Rolecall`.
    :param find_store: returns the store that the settings name, if it is given None, or a store of a name that only the
        framework knows: a URL or the store itself; None for any other name.
    :param find_retention: returns those of the kit's arguments ``session_retention`` and ``max_session_age`` that are
        set.
    """

    make_kit: Callable[..., Rolecall]
    find_store: Callable[[str | None], str | Store | None]
    find_retention: Callable[[], Mapping[str, object]]


_current: Final[ContextVar[Framework | None]] = ContextVar("framework", default=None)


def current_framework() -> Framework | None:
    """The framework around the command; None where only the environment has settings."""
    return _current.get()


@contextmanager
def commands_of(framework: Framework | None) -> Iterator[None]:
    """Have commands use the settings of a framework; None for those of the environment."""
    token = _current.set(framework)
    try:
        yield
    finally:
        _current.reset(token)
