"""Strict JSON objects: text that two readers could understand in two ways is refused."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

#: The deepest nesting, the object itself included.
MAX_DEPTH = 8
#: The most members of one object, and the most elements of one array, unless a reader allows more.
MAX_MEMBERS = 64
#: Integers beyond this lose digits in other languages (RFC 8259, section 6).
MAX_INTEGER = 2**53
_LEAST_INTEGER = -MAX_INTEGER
# The beginning of each escape of a surrogate. Not more of it: Python's scanner, where the C accelerator is missing,
# takes the digits of any script for those of an escape.
_SURROGATE = re.compile(r"\\u[dD]")

_INFINITY = float("inf")


def loads(data: bytes, elements: int = MAX_MEMBERS, most: int = MAX_MEMBERS) -> dict[str, Any]:
    """The JSON object in ``data``. Nested values are read-only: arrays become tuples, objects become proxies.

    :param data: UTF-8 without a byte order mark, and nothing but the object.
    :param elements: the most that one array may have.
    :param most: the most members that one object may have.
    :raises ValueError: for anything else, for duplicate names, NaN and Infinity, lone surrogates, numbers outside
        ±2^53 or the range of a double, too many members, or more than 8 levels. The message never quotes ``data``.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    try:
        value, end = _scan(text, 0)
    except _NoNumber:
        raise
    except (StopIteration, ValueError, RecursionError):  # also an integer with more digits than Python converts
        raise ValueError("not JSON") from None
    if type(value) is not tuple:
        raise ValueError("not a JSON object")
    if end != len(text):
        raise ValueError("something follows the JSON object")
    if len(value) > most:
        raise _too_many(most)
    members: dict[str, Any] = {}
    for name, item in value:
        # Text and safe integers, which are nearly all values, need no further check.
        if type(item) is not str and not (type(item) is int and _LEAST_INTEGER <= item <= MAX_INTEGER):
            item = _checked(item, 1, elements, most)
        members[name] = item
    if len(members) != len(value):
        raise _twice()
    # Only such an escape can make a lone surrogate. (To search for one character is far faster than for two, and to
    # encode the members takes longer than all the rest.)
    if "\\" in text and _SURROGATE.search(text):
        try:
            json.dumps(members, ensure_ascii=False, default=dict).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate") from None
    return members


class _NoNumber(ValueError):
    pass


def _constant(_: str) -> Any:
    raise _NoNumber("NaN and Infinity are not JSON")


# Objects become tuples of pairs, so that a duplicate name is still seen; arrays become lists.
_scan = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant).scan_once  # type: ignore[attr-defined]


def _checked(item: Any, depth: int, elements: int, most: int) -> Any:
    kind = type(item)
    if kind is int:
        if not _LEAST_INTEGER <= item <= MAX_INTEGER:
            raise ValueError("an integer outside ±2^53")
    elif kind is float:
        if not -_INFINITY < item < _INFINITY:
            raise ValueError("a number outside the range of a double")
    elif kind is tuple or kind is list:
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        if kind is tuple:
            if len(item) > most:
                raise _too_many(most)
            members = {name: _checked(value, depth + 1, elements, most) for name, value in item}
            if len(members) != len(item):
                raise _twice()
            return MappingProxyType(members)
        if len(item) > elements:
            raise ValueError(f"more than {elements} elements")
        return tuple(_checked(element, depth + 1, elements, most) for element in item)
    return item


def _too_many(most: int) -> ValueError:
    return ValueError(f"more than {most} members")


def _twice() -> ValueError:
    return ValueError("a name stands twice in one object")
