"""The command line: ``rolecall``, or ``python -m rolecall.cli``. It needs the extra ``cli``."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line on ``sys.argv``, and exit with its code."""
    try:
        # Imported here, so that without click there is a hint and no traceback.
        from .commands import rolecall
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(_missing_click())
    rolecall.main(prog_name="rolecall")


def _missing_click() -> int:
    if sys.stderr is not None:
        sys.stderr.write("error: the command line needs click; install it with: pip install click\n")
    return 2
