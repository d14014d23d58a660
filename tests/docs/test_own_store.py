"""The store that the docs show how to write keeps the contract that the docs show how to run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"


def written_by_a_stranger() -> dict[str, Any]:
    """What the blocks of the page define, without its examples."""
    namespace: dict[str, Any] = {"__name__": __name__}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        if ">>> " not in block:
            exec(compile(block, PAGE, "exec", dont_inherit=True), namespace)
    return namespace


TestFullStore = written_by_a_stranger()["TestFullStore"]
