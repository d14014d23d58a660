"""The command line: ``rolecall``, or ``python -m rolecall``. It needs the extra ``cli``."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

__all__ = ["main"]

_FAILED: Final = 2


def main() -> NoReturn:
    """Run the command line on ``sys.argv``, and exit with its code."""
    try:
        # Imported here, so that a missing click causes a hint and no traceback.
        from .commands import rolecall
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(_missing_click())
    try:
        rolecall.main(prog_name="rolecall")
    except Exception:
        # The interpreter would exit with 1, which means "refused" here.
        sys.excepthook(*sys.exc_info())
        sys.exit(_FAILED)


def _missing_click() -> int:
    if sys.stderr is not None:
        sys.stderr.write('error: the command line needs click; install it with: pip install "rolecall[cli]"\n')
    return _FAILED
