"""SIGKILL of the server itself, while workers create, end and use once: ``python -m tests.faults.killed_server``.

All processes of Redis (append-only file, synced always) or of PostgreSQL are killed at once, and started again. SQLite
has no server: there every process that has the file open is killed at once, four writers and one that follows.

What this does not prove: the kernel lives on, and with it what was written and not yet synced. A loss of power takes
that, too. That an acknowledgement waits for the sync is tested by a disk that hangs
(``tests/core/stores/test_sqlite_writing.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from time import sleep

from . import kills
from .places import Place, parser, place, rounds_of, verdict
from .writers import Writer

#: The seconds in which workers find out that their server is gone.
GONE = 0.02


def run(where: Place, rounds: Iterable[int]) -> list[str]:
    """What was lost, half there, or allowed twice."""
    if where.server is None:
        return kills.run(where, rounds, 4, _kill_all)
    return kills.run(where, rounds, 2, partial(_kill_server, where))


def _kill_all(writers: list[Writer], audit: kills.Audit) -> None:
    for writer in writers:
        writer.kill()
    audit.begin_anew()


def _kill_server(where: Place, writers: list[Writer], _: kills.Audit) -> None:
    assert where.server is not None
    where.server.kill()
    sleep(GONE)
    for writer in writers:
        writer.kill()
    where.server.start()


def main(argv: Sequence[str] | None = None) -> int:
    given = parser(__doc__, 200).parse_args(argv)
    with place(given.store) as where:
        return verdict(run(where, rounds_of(given.rounds, given.seconds)))


if __name__ == "__main__":
    sys.exit(main())
