"""Frameworks on top of Starlette, and what they add to its guards and its list of routes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from rolecall.http.adapter import Found

if TYPE_CHECKING:
    from .listing import Place
    from .refusals import Refused

# The adapters of such frameworks, by the framework: whoever has imported that may use it without its adapter.
_ADAPTERS: Final = {"fastapi": "rolecall_fastapi"}
_dialects: Final[list[Dialect]] = []


class Dialect:
    """What such a framework adds. Each of these leaves to Starlette what is none of its own."""

    def refused(self, app: Any) -> type[Refused] | None:
        """:class:`Refused`, as the framework's own error handlers take it, if the app is the framework's."""

    def found(self, route: Any, place: Place) -> Iterator[Found] | None:
        """What a route stands for in the list, if it is one of the framework's."""


def add_dialect(dialect: Dialect) -> None:
    """Have guards and list know a framework."""
    _dialects.append(dialect)


def dialects() -> list[Dialect]:
    """Those of the frameworks that are imported."""
    for framework, adapter in _ADAPTERS.items():
        if framework in sys.modules and adapter not in sys.modules:
            import_module(adapter)
    return _dialects
