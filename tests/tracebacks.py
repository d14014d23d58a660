"""What an error tells and holds, for tests that look for secrets in it."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb


def told_by(error: BaseException) -> str:
    """The texts of an error and of its causes."""
    return "\n".join(str(one) for one in _chain(error))


def held_by(error: BaseException) -> str:
    """What an error reporter sends of an error and of its causes: their texts, and the variables of the frames.

    The frames of tests are left out: they hold the secrets that are looked for.
    """
    held = [told_by(error)]
    for one in _chain(error):
        held += [repr(one), repr(vars(one))]
        frames = [frame for frame, _ in walk_tb(one.__traceback__)]
        held += [repr(frame.f_locals) for frame in frames if not frame.f_globals["__name__"].startswith("tests.")]
    return "\n".join(held)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
