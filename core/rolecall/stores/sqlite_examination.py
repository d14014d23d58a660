"""Examines an SQLite file: its schema, its content, and what surrounds it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from typing import Final

from .sqlite_file import SQLiteFile
from .sqlite_schema import MIGRATIONS, version_of
from .sqlite_surveys import is_interrupted
from .upkeep import Finding

_MEGABYTE: Final = 1_000_000
#: The longest check of the content, in seconds: about 1 GB, if that is in the system's cache. A kit waits for a little
#: longer (``store_timeout``).
SECONDS: Final = 3.0
#: The free space in bytes under which the disk is called nearly full.
ROOM: Final = 256 * _MEGABYTE
#: The size in bytes from which the log is called large. SQLite begins it anew at about 4 MB, if no reader hinders it.
LARGE_LOG: Final = 64 * _MEGABYTE
_MADE: Final = re.compile(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX|TRIGGER) (\w+)")
_DROPPED: Final = re.compile(r"DROP INDEX (\w+)")


def findings(file: SQLiteFile, raw: sqlite3.Connection) -> Iterator[Finding]:
    """What is wrong with a file, or may become so."""
    yield from _schema(raw)
    yield from _journal(raw)
    yield from _content(file, raw)
    yield from _modes(file)
    yield from _disk(file)
    yield from _log(file)


def _schema(raw: sqlite3.Connection) -> Iterator[Finding]:
    version, known = version_of(raw), len(MIGRATIONS)
    if version < known:
        yield Finding(
            "error",
            f"the schema is of version {version}, and this worker needs version {known}",
            "run 'rolecall store migrate'; if a backup was restored, restart every worker",
        )
        return
    if version > known:
        yield Finding(
            "warning",
            f"a later version of Rolecall has brought the schema to version {version}; this one knows version {known}",
            "update Rolecall here, too; until then this worker goes on as before",
        )
    there = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    scripts = "".join(MIGRATIONS)
    gone = {*_DROPPED.findall(scripts)}
    missing = [name for name in _MADE.findall(scripts) if name not in there | gone]
    if missing:
        yield Finding(
            "error",
            f"the file lacks {', '.join(missing)}: somebody has removed it",
            "stop the workers and restore a backup; without its triggers and indexes the store forgets, or is slow",
        )


def _journal(raw: sqlite3.Connection) -> Iterator[Finding]:
    (mode,) = raw.execute("PRAGMA main.journal_mode").fetchone()
    if mode != "wal":
        yield Finding(
            "error",
            f"the journal mode is {mode}, where changes of other workers may be missed; expected wal",
            "look in the app for 'PRAGMA journal_mode', take it out, and restart every worker",
        )


def _content(file: SQLiteFile, raw: sqlite3.Connection) -> Iterator[Finding]:
    try:
        rows = raw.execute("PRAGMA main.quick_check(10)").fetchall()
    except sqlite3.DatabaseError as error:
        if is_interrupted(error):
            yield Finding(
                "info",
                f"the content was not checked to its end: that takes longer than {SECONDS:g} seconds",
                f"run sqlite3 {file.path.name} 'PRAGMA quick_check'",
            )
            return
        rows = [(str(error),)]
    if rows != [("ok",)]:
        problems = "; ".join(problem for (row,) in rows for problem in str(row).splitlines())
        yield Finding(
            "error",
            f"the file is damaged: {problems[:500]}",
            "stop the workers and restore a backup; 'sqlite3 FILE .recover' saves what can be read",
        )


def _modes(file: SQLiteFile) -> Iterator[Finding]:
    if os.name != "posix":
        return
    for path in (file.real, *(f"{file.real}-{suffix}" for suffix in ("wal", "shm", "lock"))):
        if os.path.exists(path) and (mode := os.stat(path).st_mode & 0o777) & 0o077:
            name = os.path.basename(path)
            yield Finding(
                "warning",
                f"the file {name!r} has mode {mode:04o}: others than its owner may read or change it",
                f"chmod 600 {name}, unless workers of several users share it",
            )


def _disk(file: SQLiteFile) -> Iterator[Finding]:
    free = shutil.disk_usage(os.path.dirname(file.real)).free
    if free < ROOM:
        yield Finding(
            "warning",
            f"the disk of the file has {_megabytes(free)} free; without room no session is created, and none ended",
            "make room; 'rolecall store purge' makes room within the file",
        )


def _log(file: SQLiteFile) -> Iterator[Finding]:
    try:
        size = os.stat(f"{file.real}-wal").st_size
    except OSError:
        return
    if size > LARGE_LOG:
        yield Finding(
            "warning",
            f"the log (-wal) has {_megabytes(size)}: somebody has read in one transaction for long, or still does",
            "end it (a backup, a console); 'PRAGMA wal_checkpoint(TRUNCATE)' then makes the log small",
        )


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:,.0f} MB"
