"""The commands that look after a store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from ..engine.housekeeping import Retention
from ..errors import ConfigurationError
from ..stores.copy_marks import count_rows
from ..stores.copying import PAGE, Copied, copy, is_same, tally
from ..stores.purging import purge
from ..stores.synchronous import SyncUpkeep
from ..stores.upkeep import KINDS, Over
from ..wording import moment
from .arguments import duration_with_unit
from .console import confirm, print_note, print_report
from .copy_progress import CopyProgress
from .kits import REFUSED, Clock, answering
from .options import json_option, store_option
from .reports import counted
from .store_urls import is_same_url, named_url, opened, refuse_forgetful, retention, url_of_store, without_credentials
from .upkeep_reports import copied_report, findings_report, migrated_report, purged_report, stats_report

_EXIT_CODES: Final = """\b
Exit codes:
  0    done
  1    an error was found, or the copy is not complete
  2    not carried out: wrong usage, configuration, or something out of reach
  130  interrupted by Ctrl-C
"""
#: Seconds between two lines about what takes long.
_TOLD_EVERY: Final = 2.0


@click.group()
def store() -> None:
    """Migrate, check, count, purge and copy a store."""


@contextmanager
def _store(given: str | None, as_json: bool, *, may_be_new: bool = False) -> Iterator[SyncUpkeep]:
    with answering(as_json, needs_kit=False), opened(url_of_store(given), may_be_new=may_be_new) as found:
        yield found


@store.command(epilog=_EXIT_CODES)
@store_option
@json_option
def migrate(store: str | None, as_json: bool) -> None:
    """Bring the schema up to date, as the first use of a later version of Rolecall does.

    Migrations only add, so workers of an earlier version go on beside it. A file that does not exist is made.

    \b
    Examples:
      rolecall store migrate
      rolecall store migrate --store sqlite:///app.db
    """
    with _store(store, as_json, may_be_new=True) as found:
        print_report(migrated_report(*found.migrate()), as_json)


@store.command(epilog=_EXIT_CODES)
@store_option
@json_option
def check(store: str | None, as_json: bool) -> None:
    """Examine the schema, the settings that durability rests on, and the content; say what to do.

    \b
    Examples:
      rolecall store check
      rolecall store check --store sqlite:///app.db --json
    """
    with _store(store, as_json) as found:
        report = findings_report(found.examine())
    print_report(report, as_json)
    if not report.data["ok"]:
        raise click.exceptions.Exit(REFUSED)


@store.command(epilog=_EXIT_CODES)
@click.option("--checksums", is_flag=True, help="Read all rows, and print a checksum of each kind, in no order.")
@store_option
@json_option
def stats(checksums: bool, store: str | None, as_json: bool) -> None:
    """Count the rows of each kind.

    Two stores with the same content have the same checksums, whatever their kinds. They take time, and about 100 bytes
    of memory for each row.

    \b
    Examples:
      rolecall store stats
      rolecall store stats --checksums --store sqlite:///app.db
    """
    with _store(store, as_json) as found:
        sums = {kind: tally(found, kind)[1] for kind in KINDS} if checksums else None
        print_report(stats_report(count_rows(found), sums), as_json)


@store.command("purge", epilog=_EXIT_CODES)
@click.option(
    "--ended-before",
    type=duration_with_unit,
    metavar="AGE",
    help="Forget the records of sessions that ended this long ago, for example 90d. That they ended stays known.  "
    "[default: ROLECALL_SESSION_RETENTION]",
)
@click.option(
    "--max-age",
    type=duration_with_unit,
    metavar="AGE",
    help="Forget whole, ends included, the sessions that are over by this max_session_age of all kits, and a day.  "
    "[default: ROLECALL_MAX_SESSION_AGE]",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
@click.pass_obj
def purge_store(
    clock: Clock, ended_before: timedelta | None, max_age: timedelta | None, yes: bool, store: str | None, as_json: bool
) -> None:
    """Forget what is over: single-use ids and places of leases, and what the options name.

    It removes 500 rows at a time and pauses, so that the app goes on meanwhile. It may be stopped at any moment.
    Workers of the app do the same by themselves, a little at a time.

    \b
    Examples:
      rolecall store purge
      rolecall store purge --ended-before 90d
      rolecall store purge --ended-before 90d --max-age 400d --yes
    """
    with answering(as_json, needs_kit=False):
        kept, asked = retention(), (ended_before, max_age)
        wanted = Retention.of(*(given if given is not None else own for given, own in zip(asked, kept, strict=True)))
    over = wanted.over(clock())
    _confirm(wanted, kept, over, yes)
    with _store(store, as_json) as found:
        print_report(purged_report(_purge(found, over)), as_json)


def _confirm(wanted: Retention, kept: Retention, over: Over, yes: bool) -> None:
    """Ask about each age at which the workers of the app would not remove anything by themselves."""
    if over.ended_before is not None and _is_shorter(wanted.ended, kept.ended):
        until = moment(int(over.ended_before))
        confirm(f"Remove the records of all sessions that ended before {until} for good", yes)
    if _is_shorter(wanted.age, kept.age):
        confirm("Is the max_session_age of every kit as short? If not, sessions that have ended are open again", yes)


def _is_shorter(wanted: float | None, kept: float | None) -> bool:
    return wanted is not None and (kept is None or wanted < kept)


def _purge(store: SyncUpkeep, over: Over) -> int:
    removed, notes = 0, _Notes()
    for number in purge(store, over):
        removed += number
        notes.tell(f"{counted(removed, 'row')} removed so far")
    return removed


@store.command("copy", epilog=_EXIT_CODES)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the progress in this file, and continue from there if the copy was interrupted.",
)
@click.option(
    "--page", type=click.IntRange(1, 10_000), default=PAGE, show_default=True, metavar="ROWS", help="Rows at a time."
)
@json_option
@click.pass_obj
def copy_store(clock: Clock, source: str, target: str, resume: Path | None, page: int, as_json: bool) -> None:
    """Copy the store FROM to the store TO, and compare each row.

    FROM and TO are URLs, or names of environment variables with URLs: arguments show in the list of processes, so a
    password belongs into a variable. What TO has already stays. The copy may be interrupted at any moment and run
    again; with --resume it goes on where it was.

    The app may go on meanwhile, but what it writes then may be left out. So copy while it runs, stop it, copy once more
    from the beginning, and start it with TO.

    \b
    Examples:
      rolecall store copy sqlite:///app.db ROLECALL_NEW_STORE
      rolecall store copy ROLECALL_STORE sqlite:///copy.db --resume copy.json
    """
    with answering(as_json, needs_kit=False):
        urls = named_url(source), named_url(target)
        _refuse_same(is_same_url(*urls))
        with opened(urls[0]) as one, opened(urls[1], may_be_new=True) as other:
            for found in (one, other):
                refuse_forgetful(found.store)
            other.migrate()
            _refuse_same(is_same(other, one))
            # A store that is no URL is a framework's, whose name has no credentials.
            texts = [url if isinstance(url, str) else name for name, url in zip((source, target), urls, strict=True)]
            progress = CopyProgress(resume, *map(without_credentials, texts))
            copied = _copy(one, other, progress, page, clock)
            progress.end(other)
            report = copied_report(copied, count_rows(one), count_rows(other))
    print_report(report, as_json)
    if not report.data["ok"]:
        raise click.exceptions.Exit(REFUSED)


def _refuse_same(are_same: bool) -> None:
    if are_same:
        raise ConfigurationError("FROM and TO are the same store; name another one to copy to")


def _copy(source: SyncUpkeep, target: SyncUpkeep, progress: CopyProgress, page: int, clock: Clock) -> Copied:
    resumed = progress.read()
    progress.begin(target, resumed, clock())
    state = resumed or Copied(clock())
    if state.rows:
        print_note(f"continuing after {state.rows:,} rows; what was written behind them since then is left out")
    total, notes = sum(count_rows(source).values()), _Notes()
    try:
        with click.progressbar(length=max(total, state.rows), label="copying", file=sys.stderr) as bar:
            bar.update(state.rows)
            for later in copy(source, target, state, page=page, clock=clock):
                progress.write(later)
                bar.update(later.rows - state.rows)
                state = later
                if not sys.stderr.isatty():  # where there is no bar
                    notes.tell(f"{state.rows:,} of about {total:,} rows copied so far")
    except KeyboardInterrupt:
        print_note(f"interrupted after {state.rows:,} rows; {progress.continuation}")
        raise
    return state


class _Notes:
    """Says now and then how far a command has come that takes long."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def tell(self, message: str) -> None:
        """Print a note, unless there was one a moment ago."""
        if time.monotonic() - self._told > _TOLD_EVERY:
            self._told = time.monotonic()
            print_note(message)
