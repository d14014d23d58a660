"""The commands for the keys in a ring file or in the store: list, schedule, add, rotate, retire, rewrap."""

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
from ..keys.ring_store import RingStore
from ..keys.rotation import added, named, retired, rotated, schedule
from ..tokens import MAX_LEEWAY
from .arguments import duration_with_unit
from .console import print_report
from .key_places import ring_place, stored_rings
from .key_reports import changed_report, joined, keys_report, rewrapped_report, schedule_report, seals_report
from .kits import EXIT_CODES, REFUSED, Clock, answering
from .options import json_option

_ISSUERS: Final = ("ROLECALL_API_KEY", "ROLECALL_APPLICATION_ID", "ROLECALL_ISSUER")
#: How long a token may be accepted, whatever the leeway of a kit.
LONGEST_LIFE: Final = float(MAX_VERIFIED_LIFETIME + MAX_LEEWAY)

_Command = TypeVar("_Command", bound=Callable[..., object])


@click.group()
def keys() -> None:
    """List, schedule, add, rotate and retire the keys in a ring file, or in the store.

    A key is published (verifies, does not sign yet), signing (one of each project), verifying (signs no more), or
    retired. Kits with this ring file, or this store, follow each change within two seconds, without a restart. No
    secret is printed.

    The keys are in the store if ROLECALL_KEYS_KEY is set, and no ring file is named.
    """


def _place_options(command: _Command) -> _Command:
    file = click.option("--file", "path", metavar="PATH", help="The ring file.  [default: ROLECALL_KEYS_FILE]")
    return file(_store_option(command))


def _store_option(command: _Command) -> _Command:
    return click.option(
        "--store",
        metavar="URL",
        help="The store that the keys are in, sealed with ROLECALL_KEYS_KEY.  [default: ROLECALL_STORE]",
    )(command)


def _issuer_option(command: _Command) -> _Command:
    return click.option(
        "--issuer",
        metavar="ID",
        help="The API key, the application's id, or the issuer's URL.  "
        f"[default: {', '.join(_ISSUERS)}, or the only one that has keys]",
    )(command)


def _force_option(what: str) -> Callable[[_Command], _Command]:
    return click.option("--force", is_flag=True, help=what)


@keys.command("list", epilog=EXIT_CODES)
@_place_options
@json_option
@click.pass_obj
def list_keys(clock: Clock, path: str | None, store: str | None, as_json: bool) -> None:
    """Show the keys of each issuer: id, state, since when, and from when it can be retired.

    \b
    Examples:
      rolecall keys list
      rolecall keys list --file /etc/app/keys.json --json
    """
    with answering(as_json, needs_kit=False), ring_place(path, store) as place:
        if isinstance(place, RingStore):
            seals = seals_report(place.sealed_by(), place.wrapping_ids)
            print_report(joined(keys_report(place.listed(), LONGEST_LIFE, clock()), seals), as_json)
        else:
            print_report(keys_report(place.read(), LONGEST_LIFE, clock()), as_json)


@keys.command("schedule", epilog=EXIT_CODES)
@click.option(
    "--longest-life",
    type=duration_with_unit,
    metavar="DURATION",
    help="How long your tokens live at most, for example 24h.  [default: 30 days, as no token lives longer]",
)
@_place_options
@json_option
@click.pass_obj
def schedule_keys(
    clock: Clock, longest_life: timedelta | None, path: str | None, store: str | None, as_json: bool
) -> None:
    """Show the next rotation of each issuer, step by step: from when each refuses nothing that is good.

    \b
    Examples:
      rolecall keys schedule
      rolecall keys schedule --longest-life 24h
    """
    with answering(as_json, needs_kit=False), ring_place(path, store) as place:
        now, life = int(clock()), _life(longest_life)
        rings = place.read()
        print_report(schedule_report({name: schedule(found, life, now) for name, found in rings.items()}, now), as_json)


@keys.command(epilog=EXIT_CODES)
@click.option("--stdin", "is_given", is_flag=True, help="Take the secret, or the private key, from stdin.")
@_issuer_option
@_place_options
@json_option
@click.pass_obj
def add(clock: Clock, is_given: bool, issuer: str | None, path: str | None, store: str | None, as_json: bool) -> None:
    """Make a new key, and publish it: it verifies, and does not sign yet. The first key of all signs at once.

    A project gets a random secret, an application an RSA key, and an issuer that is a URL a key on P-256. A ring
    file is made if there is none, and only its owner can read it.

    \b
    Examples:
      rolecall keys add
      rolecall keys add --stdin --issuer 123456 < api-secret
    """
    with answering(as_json, needs_kit=False), ring_place(path, store, may_be_new=True) as place:
        whose = _issuer(place, issuer)
        key = _key_on_stdin(whose) if is_given else new_key(whose)
        entries = place.change(whose, lambda found: added(found, key, int(clock())))
        print_report(changed_report(whose, entries[-1], LONGEST_LIFE, clock()), as_json)


@keys.command(epilog=EXIT_CODES)
@click.argument("key_id", metavar="[ID]", required=False)
@_force_option("Sign at once, though other workers and verifiers may not know the key yet.")
@_issuer_option
@_place_options
@json_option
@click.pass_obj
def rotate(
    clock: Clock,
    key_id: str | None,
    force: bool,
    issuer: str | None,
    path: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Sign with the published key, or the one with this ID. The key that signed until now verifies.

    A secret must have been published for 10 seconds, so that all workers know it; a private key for an hour, because
    verifiers elsewhere keep a key set for so long.

    \b
    Examples:
      rolecall keys rotate
      rolecall keys rotate 5f0c1d2e --issuer 123456
    """
    with answering(as_json, needs_kit=False), ring_place(path, store) as place:
        whose = _issuer(place, issuer)
        entries = place.change(whose, lambda found: rotated(found, key_id, int(clock()), force=force))
        signing = next(one for one in entries if one.state == "signing")
        print_report(changed_report(whose, signing, LONGEST_LIFE, clock()), as_json)


@keys.command(epilog=EXIT_CODES)
@click.argument("key_id", metavar="ID")
@click.option(
    "--longest-life",
    type=duration_with_unit,
    metavar="DURATION",
    help="How long your tokens live at most, for example 24h.  [default: 30 days, as no token lives longer]",
)
@_force_option("Retire it at once, as a leaked key: its tokens are refused.")
@_issuer_option
@_place_options
@json_option
@click.pass_obj
def retire(
    clock: Clock,
    key_id: str,
    longest_life: timedelta | None,
    force: bool,
    issuer: str | None,
    path: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Have the key with this ID verify no more, and remove its secret from the file or the store.

    Refused while tokens of the key may be alive. Sessions that the store knows stay.

    \b
    Examples:
      rolecall keys retire 5f0c1d2e
      rolecall keys retire 5f0c1d2e --longest-life 24h
      rolecall keys retire 5f0c1d2e --force
    """
    life = _life(longest_life)
    with answering(as_json, needs_kit=False), ring_place(path, store) as place:
        whose = _issuer(place, issuer)
        entries = place.change(whose, lambda found: retired(found, key_id, int(clock()), life, force=force))
        print_report(changed_report(whose, named(entries, key_id), LONGEST_LIFE, clock()), as_json)


@keys.command(
    epilog="""\b
Exit codes:
  0  done
  1  some keys do not open, and are left as they are
  2  not carried out: wrong usage, configuration, or something out of reach
"""
)
@_store_option
@json_option
def rewrap(store: str | None, as_json: bool) -> None:
    """Seal all keys in the store with the first wrapping key of ROLECALL_KEYS_KEY.

    So a wrapping key is exchanged: name the new one first and the old one behind it, in all kits; rewrap; and leave the
    old one out once `rolecall keys list` says that it seals no key. Old backups still need it.

    \b
    Examples:
      rolecall keys rewrap
      rolecall keys rewrap --store sqlite:///app.db
    """
    with answering(as_json, needs_kit=False), stored_rings(store, may_be_new=False) as rings:
        number, problems = rings.rewrap()
        print_report(rewrapped_report(number, problems), as_json)
    if problems:
        raise click.exceptions.Exit(REFUSED)


def _life(given: timedelta | None) -> float:
    """How long a token may be accepted, in seconds."""
    return LONGEST_LIFE if given is None else min(LONGEST_LIFE, given.total_seconds() + MAX_LEEWAY)


def _issuer(place: RingFile | RingStore, given: str | None) -> str:
    whose = given or next(filter(None, map(os.environ.get, _ISSUERS)), None)
    if whose is not None:
        return whose
    if isinstance(place, RingStore):
        known = list(place.listed())
    else:
        known = list(place.read()) if os.path.exists(place.path) else []
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
