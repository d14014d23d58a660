"""Revoked in one process, then used in another, while a third writes: ``python tests/benchmarks/sqlite_race.py``.

Once ``end_session`` has returned in one process, ``has_ended`` in another has to say so, and once ``raise_mark`` has
returned, the mark has to be known there. The third process creates sessions and empties SQLite's log in all ways, so
that the header of the shared memory changes all the time. Exits with 1 if what was revoked was let in, or what was not
revoked was refused.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing, suppress
from math import inf

from measuring import target

from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.stores.sqlite import SQLiteStore

#: How many threads of the using process ask all the time.
ASKING = 2


def disturb(path: str) -> None:
    """Create sessions, and empty the log, until the parent closes the pipe."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with closing(SQLiteStore(path)) as store, closing(sqlite3.connect(path, timeout=0.01)) as raw:
        number = 0
        while not ended.is_set():
            store.add_session(SessionRecord(f"1_{os.getpid()}_{number}", SessionProperties(), 1.0))
            number += 1
            with suppress(sqlite3.OperationalError):  # others write
                raw.execute(f"PRAGMA wal_checkpoint({('PASSIVE', 'RESTART', 'TRUNCATE')[number % 3]})")


def use(path: str) -> None:
    """Say of each session that the parent names whether it has ended, or its token was revoked."""
    with closing(SQLiteStore(path)) as store:

        def ask() -> None:
            while True:
                store.has_ended("1_never")

        for _ in range(ASKING):
            threading.Thread(target=ask, daemon=True).start()
        for line in sys.stdin:
            session_id = line.strip()
            print(store.has_ended(session_id) or store.marks.value("token", session_id, "a") == inf, flush=True)
        os._exit(0)  # the threads never end


def race(rounds: int) -> bool:
    """Whether nobody was let in after a session's end, or its token's revocation, nor refused before."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sessions.db"
        with closing(SQLiteStore(path)) as store:
            user, disturber = (
                subprocess.Popen(
                    [sys.executable, __file__, f"--{role}", path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for role in ("use", "disturb")
            )

            def is_refused(session_id: str) -> bool:
                assert user.stdin
                assert user.stdout
                user.stdin.write(f"{session_id}\n")
                user.stdin.flush()
                return {"True\n": True, "False\n": False}[user.stdout.readline()]

            stale = wrong = 0
            for number in range(rounds):
                wrong += is_refused(f"1_{number}")
                if number % 2:
                    store.end_session(f"1_{number}", 7.5)
                else:
                    store.raise_mark(f"token 1_{number} a", inf, 4e9)
                stale += not is_refused(f"1_{number}")
            is_alive = disturber.poll() is None
            for process in (user, disturber):
                process.communicate(timeout=60)
    target("let in afterwards", stale, 0)
    target("refused before", wrong, 0)
    target("the third process wrote to the end", is_alive, 1, at_least=True)
    return not stale and not wrong and is_alive


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000, help="how often something is revoked (10000)")
    parser.add_argument("--use", metavar="PATH", help=argparse.SUPPRESS)
    parser.add_argument("--disturb", metavar="PATH", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.use:
        use(given.use)
    elif given.disturb:
        disturb(given.disturb)
    else:
        sys.exit(not race(given.rounds))
