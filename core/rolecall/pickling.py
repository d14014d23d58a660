"""Pickle and copy values with read-only mappings, which Python cannot pickle."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, TypeVar

_Value = TypeVar("_Value", bound=tuple[Any, ...])


def reduced(value: tuple[Any, ...]) -> Any:
    """The ``__reduce__`` of a named tuple; read-only mappings stay read-only in the copy, at any depth."""
    return _restored, (type(value), tuple(map(_thawed, value)))


class _Frozen(dict[Any, Any]):
    """The content of a read-only mapping inside a pickle."""


def _restored(kind: type[_Value], items: tuple[Any, ...]) -> _Value:
    return kind(*map(_frozen, items))


def _thawed(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return _Frozen({name: _thawed(item) for name, item in value.items()})
    return _each(_thawed, value)


def _frozen(value: Any) -> Any:
    value = _each(_frozen, value)
    return MappingProxyType(dict(value)) if type(value) is _Frozen else value


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    # Exactly these types: named tuples, and perhaps values in an actor, have a ``__reduce__`` of their own.
    if type(value) is dict or type(value) is _Frozen:
        return type(value)({name: change(item) for name, item in value.items()})
    return tuple(map(change, value)) if type(value) is tuple else value
