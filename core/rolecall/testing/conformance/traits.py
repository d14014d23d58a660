"""Decisions of servers and frameworks about a request, before any adapter."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Trait(StrEnum):
    """A property of a request that some server or framework treats in a way of its own."""

    UNKNOWN_METHOD = "a method of no RFC"
    DOUBLED_TYPE = "two Content-Type headers"
    LONG_HEADER = "a header line of more than 8,190 bytes"
    LONG_TARGET = "a request target of more than 4,094 bytes"
    EMPTY_CHUNKS = "a body in chunks, and nothing in them"
    UNDECODABLE_PATH = "bytes in the path that are no UTF-8"


class Difference(NamedTuple):
    """The answer of a server or a framework to requests with one trait, in place of the kit's.

    :param trait: what the requests have in common.
    :param status: the status of the answer.
    :param code: the code of the problem, where the kit still answers; None for any other answer.
    :param why: the reason, for readers.
    """

    trait: Trait
    status: int
    code: str | None = None
    why: str = ""
