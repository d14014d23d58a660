"""Observing operations: the context managers of plugins around calls, hooks and calls of the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from ..hookspecs import Operation

_LOG: Final = logging.getLogger("rolecall")


class Operations:
    """Shows operations to the plugins that observe them.

    :param observers: their implementations of ``rolecall_observe``, by name.
    """

    def __init__(self, observers: Sequence[tuple[str, Callable[[Operation], Any]]]) -> None:
        self._observers = observers

    def around(self, operation: Operation) -> AbstractContextManager[None]:
        """The context managers of all plugins, as one. It lets every exception through."""
        return _Around(self._observers, operation)

    def observed(self, operation: Operation, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A plain function of one argument, observed."""

        def call(argument: Any) -> Any:
            with self.around(operation):
                return function(argument)

        return call

    def observed_async(self, operation: Operation, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """An ``async def`` of one argument, observed."""

        async def call(argument: Any) -> Any:
            with self.around(operation):
                return await function(argument)

        return call


class _Around(AbstractContextManager[None]):
    __slots__ = ("_entered", "_observers", "_operation")

    def __init__(self, observers: Sequence[tuple[str, Callable[[Operation], Any]]], operation: Operation) -> None:
        self._observers = observers
        self._operation = operation
        self._entered: list[tuple[str, Any]] = []

    def __enter__(self) -> None:
        for plugin, observe in self._observers:
            try:
                manager = observe(self._operation)
                if manager is not None:
                    manager.__enter__()
                    self._entered.append((plugin, manager))
            except Exception as error:
                self._log(plugin, error)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        while self._entered:
            plugin, manager = self._entered.pop()
            try:
                manager.__exit__(kind, error, traceback)
            except Exception as failure:
                if failure is not error:
                    self._log(plugin, failure)

    def _log(self, plugin: str, error: Exception) -> None:
        # Without the message, which could hold anything.
        _LOG.error(
            "the plugin %r failed to observe %s: it raised %s", plugin, self._operation.name, type(error).__name__
        )
