"""The command line: ``rolecall``, or ``python -m rolecall``. It needs the extra ``cli``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from .frameworks import Framework, commands_of

__all__ = ["Framework", "main", "run"]

_FAILED: Final = 2


def main() -> NoReturn:
    """Run the command line on ``sys.argv``, and exit with its code."""
    run("rolecall", sys.argv[1:])


def run(
    name: str,
    arguments: Sequence[str],
    framework: Framework | None = None,
) -> NoReturn:
    """Run the command line for a framework that has commands of its own, and exit with its code.

    :param name: the beginning of the command, for its help: ``manage.py rolecall``.
    :param arguments: the arguments behind it.
    :param framework: the framework's settings; None for those of the environment.
    """
    try:
        # Imported here, so that a missing click causes a hint and no traceback.
        from .commands import rolecall
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(_missing_click())
    try:
        with commands_of(framework):
            rolecall.main(list(arguments), prog_name=name)
    except Exception:
        # The interpreter would exit with 1, which means "refused" here.
        sys.excepthook(*sys.exc_info())
        sys.exit(_FAILED)


def _missing_click() -> int:
    if sys.stderr is not None:
        sys.stderr.write('error: the command line needs click; install it with: pip install "rolecall[cli]"\n')
    return _FAILED
