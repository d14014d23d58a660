"""The command line: ``rolecall``, or ``python -m rolecall``. It needs the extra ``cli``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from ..kit import Rolecall
    from ..stores import Store

__all__ = ["main", "run"]

_FAILED: Final = 2


def main() -> NoReturn:
    """Run the command line on ``sys.argv``, and exit with its code."""
    run("rolecall", sys.argv[1:])


def run(
    name: str,
    arguments: Sequence[str],
    make_kit: Callable[..., Rolecall] | None = None,
    find_store: Callable[[str | None], str | Store | None] | None = None,
) -> NoReturn:
    """Run the command line for a framework that has commands of its own, and exit with its code.

    :param name: the beginning of the command, for its help: ``manage.py rolecall``.
    :param arguments: the arguments behind it.
    :param make_kit: makes the kit, with further arguments of :class:`~rolecall.Rolecall`; None for the environment's.
    :param find_store: returns the store that the framework's settings name, or a store of a name that only the
        framework knows: a URL or the store itself; None for any other name.
    """
    try:
        # Imported here, so that a missing click causes a hint and no traceback.
        from .commands import rolecall
        from .kits import kits_made_by
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(_missing_click())
    try:
        with kits_made_by(make_kit, find_store):
            rolecall.main(list(arguments), prog_name=name)
    except Exception:
        # The interpreter would exit with 1, which means "refused" here.
        sys.excepthook(*sys.exc_info())
        sys.exit(_FAILED)


def _missing_click() -> int:
    if sys.stderr is not None:
        sys.stderr.write('error: the command line needs click; install it with: pip install "rolecall[cli]"\n')
    return _FAILED
