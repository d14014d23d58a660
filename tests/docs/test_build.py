"""The documentation builds without a warning; a reference that leads nowhere is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_docs_build_without_a_warning(tmp_path):
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", tmp_path / "trees"]
    built = subprocess.run([*sphinx, ROOT / "docs", tmp_path / "html"], capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "html" / "index.html").exists()
