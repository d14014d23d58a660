"""The files that this process has open, for tests of what is left open."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a /proc that lists open files")


def open_files(folder: Path) -> int:
    """How many descriptors of this process lead to files in ``folder``; other tests' own come and go."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += os.readlink(descriptor).startswith(f"{folder}/")
    return found
