"""Forked children, for tests of what a fork leaves sound."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def forked(work: Callable[[], object]) -> int:
    """The pid of a child that does ``work`` and exits with 0, or with 1 if it fails or takes a minute."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def in_child(work: Callable[[], Any]) -> Any:
    """What ``work()`` returns in a forked child; fails where the child does."""
    read, write = os.pipe()
    child = forked(lambda: os.write(write, pickle.dumps(work())))
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(answer)
