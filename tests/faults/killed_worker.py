"""``kill -9`` of a worker in the middle of create, end and use-once: ``python -m tests.faults.killed_worker``.

The worker tells of each act through a pipe, before and after it. After each kill: what was acknowledged is there; what
was in flight is there as a whole or not at all, and another worker sees it alike; nothing is used for the first time
twice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from . import kills
from .places import Place, parser, place, rounds_of, verdict
from .writers import Writer


def run(where: Place, rounds: Iterable[int]) -> list[str]:
    """What was lost, half there, or allowed twice."""
    return kills.run(where, rounds, 1, _kill)


def _kill(writers: list[Writer], _: kills.Audit) -> None:
    for writer in writers:
        writer.kill()


def main(argv: Sequence[str] | None = None) -> int:
    given = parser(__doc__, 200).parse_args(argv)
    with place(given.store) as where:
        return verdict(run(where, rounds_of(given.rounds, given.seconds)))


if __name__ == "__main__":
    sys.exit(main())
