"""Waiting for what comes about by itself, on a machine that may be busy."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import pytest

from rolecall.errors import StoreUnavailable


class HasEnded(Protocol):
    """A store, or a follower."""

    def has_ended(self, session_id: str, /) -> bool: ...


#: The seconds within which anything must have come about.
PATIENCE = 60.0


def soon(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether the condition becomes true in time; an answer of StoreUnavailable counts as false."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(StoreUnavailable):
            if condition():
                return True
        time.sleep(0.005)
    return False


def known(store: HasEnded, session_id: str) -> bool:
    """Whether a session has ended, as soon as the store's process is in step with its database."""
    answers: list[bool] = []
    assert soon(lambda: [answers.append(store.has_ended(session_id))]), "the process is not in step"
    return answers[-1]


def refusal(call: Callable[[], object]) -> str:
    """What the StoreUnavailable says that ``call`` raises."""
    with pytest.raises(StoreUnavailable) as caught:
        call()
    return str(caught.value)


def free_port() -> int:
    """A port of this machine that nobody listens to just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
