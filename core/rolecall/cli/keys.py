"""The commands for the keys in a ring file: list, schedule, add, rotate, retire."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

import click

from ..errors import InvalidKey
from ..formats.claims import MAX_VERIFIED_LIFETIME
from ..keys import Key
from ..keys.making import key_of, new_key
from ..keys.ring_document import MAX_DOCUMENT
from ..keys.ring_file import RingFile
from ..keys.rotation import added, named, retired, rotated, schedule
from ..tokens import MAX_LEEWAY
from .arguments import duration
from .console import print_report
from .key_reports import changed_report, keys_report, schedule_report
from .kits import EXIT_CODES, Clock, answering
from .options import json_option

_FILE: Final = "ROLECALL_KEYS_FILE"
_ISSUERS: Final = ("ROLECALL_API_KEY", "ROLECALL_APPLICATION_ID", "ROLECALL_ISSUER")
#: How long a token may be accepted, whatever the leeway of a kit.
LONGEST_LIFE: Final = float(MAX_VERIFIED_LIFETIME + MAX_LEEWAY)

_Command = TypeVar("_Command", bound=Callable[..., object])


@click.group()
def keys() -> None:
    """List, schedule, add, rotate and retire the keys in a ring file.

    A key is published (verifies, does not sign yet), signing (one of each project), verifying (signs no more), or
    retired. Kits with this ring file follow each change within two seconds, without a restart. No secret is printed.
    """


def _file_option(command: _Command) -> _Command:
    return click.option("--file", "path", metavar="PATH", help=f"The ring file.  [default: {_FILE}]")(command)


def _issuer_option(command: _Command) -> _Command:
    return click.option(
        "--issuer",
        metavar="ID",
        help="The API key, the application's id, or the issuer's URL.  "
        f"[default: {', '.join(_ISSUERS)}, or the only one in the file]",
    )(command)


def _force_option(what: str) -> Callable[[_Command], _Command]:
    return click.option("--force", is_flag=True, help=what)


@keys.command("list", epilog=EXIT_CODES)
@_file_option
@json_option
@click.pass_obj
def list_keys(clock: Clock, path: str | None, as_json: bool) -> None:
    """Show the keys of each issuer: id, state, since when, and from when it can be retired.

    \b
    Examples:
      rolecall keys list
      rolecall keys list --file /etc/app/keys.json --json
    """
    with answering(as_json, needs_kit=False):
        print_report(keys_report(_ring_file(path).read(), LONGEST_LIFE, clock()), as_json)


@keys.command("schedule", epilog=EXIT_CODES)
@click.option(
    "--longest-life",
    type=duration,
    metavar="DURATION",
    help="How long your tokens live at most, for example 24h.  [default: 30 days, as no token lives longer]",
)
@_file_option
@json_option
@click.pass_obj
def schedule_keys(clock: Clock, longest_life: timedelta | None, path: str | None, as_json: bool) -> None:
    """Show the next rotation of each issuer, step by step: from when each refuses nothing that is good.

    \b
    Examples:
      rolecall keys schedule
      rolecall keys schedule --longest-life 24h
    """
    with answering(as_json, needs_kit=False):
        now, life = int(clock()), _life(longest_life)
        rings = _ring_file(path).read()
        print_report(schedule_report({name: schedule(found, life, now) for name, found in rings.items()}, now), as_json)


@keys.command(epilog=EXIT_CODES)
@click.option("--stdin", "is_given", is_flag=True, help="Take the secret, or the private key, from stdin.")
@_issuer_option
@_file_option
@json_option
@click.pass_obj
def add(clock: Clock, is_given: bool, issuer: str | None, path: str | None, as_json: bool) -> None:
    """Make a new key, and publish it: it verifies, and does not sign yet. The first key of all signs at once.

    A project gets a random secret, an application an RSA key, and an issuer that is a URL a key on P-256. The file is
    made if there is none, and only its owner can read it.

    \b
    Examples:
      rolecall keys add
      rolecall keys add --stdin --issuer 123456 < api-secret
    """
    with answering(as_json, needs_kit=False):
        file = _ring_file(path)
        whose = _issuer(file, issuer)
        key = _key_on_stdin(whose) if is_given else new_key(whose)
        entries = file.change(whose, lambda found: added(found, key, int(clock())))
        print_report(changed_report(whose, entries[-1], LONGEST_LIFE, clock()), as_json)


@keys.command(epilog=EXIT_CODES)
@click.argument("key_id", metavar="[ID]", required=False)
@_force_option("Sign at once, though other workers and verifiers may not know the key yet.")
@_issuer_option
@_file_option
@json_option
@click.pass_obj
def rotate(clock: Clock, key_id: str | None, force: bool, issuer: str | None, path: str | None, as_json: bool) -> None:
    """Sign with the published key, or the one with this ID. The key that signed until now verifies.

    A secret must have been published for 10 seconds, so that all workers know it; a private key for an hour, because
    verifiers elsewhere keep a key set for so long.

    \b
    Examples:
      rolecall keys rotate
      rolecall keys rotate 5f0c1d2e --issuer 123456
    """
    with answering(as_json, needs_kit=False):
        file = _ring_file(path)
        whose = _issuer(file, issuer)
        entries = file.change(whose, lambda found: rotated(found, key_id, int(clock()), force=force))
        signing = next(one for one in entries if one.state == "signing")
        print_report(changed_report(whose, signing, LONGEST_LIFE, clock()), as_json)


@keys.command(epilog=EXIT_CODES)
@click.argument("key_id", metavar="ID")
@click.option(
    "--longest-life",
    type=duration,
    metavar="DURATION",
    help="How long your tokens live at most, for example 24h.  [default: 30 days, as no token lives longer]",
)
@_force_option("Retire it at once, as a leaked key: its tokens are refused.")
@_issuer_option
@_file_option
@json_option
@click.pass_obj
def retire(
    clock: Clock,
    key_id: str,
    longest_life: timedelta | None,
    force: bool,
    issuer: str | None,
    path: str | None,
    as_json: bool,
) -> None:
    """Have the key with this ID verify no more, and remove its secret from the file.

    Refused while tokens of the key may be alive. Sessions that the store knows stay.

    \b
    Examples:
      rolecall keys retire 5f0c1d2e
      rolecall keys retire 5f0c1d2e --longest-life 24h
      rolecall keys retire 5f0c1d2e --force
    """
    life = _life(longest_life)
    with answering(as_json, needs_kit=False):
        file = _ring_file(path)
        whose = _issuer(file, issuer)
        entries = file.change(whose, lambda found: retired(found, key_id, int(clock()), life, force=force))
        print_report(changed_report(whose, named(entries, key_id), LONGEST_LIFE, clock()), as_json)


def _life(given: timedelta | None) -> float:
    """How long a token may be accepted, in seconds."""
    return LONGEST_LIFE if given is None else min(LONGEST_LIFE, given.total_seconds() + MAX_LEEWAY)


def _ring_file(path: str | None) -> RingFile:
    found = path or os.environ.get(_FILE)
    if not found:
        raise click.UsageError(f"no ring file is named; set {_FILE}, or give --file PATH")
    return RingFile(found)


def _issuer(file: RingFile, given: str | None) -> str:
    whose = given or next(filter(None, map(os.environ.get, _ISSUERS)), None)
    if whose is not None:
        return whose
    known = list(file.read()) if os.path.exists(file.path) else []
    if len(known) == 1:
        return known[0]
    raise click.UsageError("whose key is meant? Give --issuer: an API key, an application's id, or the issuer's URL")


def _key_on_stdin(issuer: str) -> Key:
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_DOCUMENT)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidKey("what is on stdin is no text in UTF-8") from None
    return key_of(issuer, text)
