"""A row of a table of acts at a hosted service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rolecall import Rolecall
from rolecall.errors import RolecallError

from .stand_in import Answer


@dataclass(frozen=True)
class Acted:
    """An act, and what becomes of it.

    :param act: does it, with a kit and the id of a session.
    :param script: the answers of the service.
    :param calls: what is asked of the service: method, path and body, with ``ROOM`` for the name of the room.
    :param result: what the act returns; or the error that it raises, and a part of its message.
    """

    act: Callable[[Rolecall, str], Any]
    script: Sequence[Answer]
    calls: Sequence[tuple[str, str, Any]]
    result: Any | tuple[type[RolecallError], str] = None
