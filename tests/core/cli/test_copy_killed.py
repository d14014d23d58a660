"""A copy that is killed ten times at random points and resumed is complete."""

from __future__ import annotations

import pytest

from .killed_copies import content, copy_with_kills, fill

pytestmark = pytest.mark.process


def test_from_sqlite_to_sqlite(tmp_path):
    source, target = f"sqlite:///{tmp_path}/source.db", f"sqlite:///{tmp_path}/target.db"
    fill(source)
    end = copy_with_kills(source, target, tmp_path / "copy.json", seed=1)
    assert (end.returncode, b"continuing after" in end.stderr) == (0, True), end
    assert content(target) == content(source)
