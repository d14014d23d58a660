"""The command that examines what an app runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import click

from ..errors import RolecallError
from ..kit import Rolecall
from ..stores.upkeep import Finding
from . import diagnosis
from .apps import AppNotFound, find_app, kits_beside
from .console import print_report
from .kits import REFUSED, Clock, kit_of
from .options import json_option, store_option
from .upkeep_reports import findings_report

_EXIT_CODES: Final = """\b
Exit codes:
  0  no error was found; there may be warnings
  1  an error was found
  2  not carried out: wrong usage
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("app", metavar="[MODULE:APP]", required=False)
@store_option
@json_option
@click.pass_obj
def doctor(clock: Clock, app: str | None, store: str | None, as_json: bool) -> None:
    """Examine the configuration, the store and the app; say what to do about each finding.

    Run it where the app runs, with the app's environment. MODULE:APP names the app as for "rolecall routes". Its routes
    are looked at, and the kits that its module holds; without them, the kit that the environment configures.

    \b
    Examples:
      rolecall doctor
      rolecall doctor school.web:app
      rolecall doctor "school.web:create_app()" --json
    """
    report = findings_report(list(_findings(clock, app, store)))
    print_report(report, as_json)
    if not report.data["ok"]:
        raise click.exceptions.Exit(REFUSED)


def _findings(clock: Clock, reference: str | None, store: str | None) -> Iterator[Finding]:
    yield from diagnosis.versions()
    yield from diagnosis.environment(os.environ)
    kits: list[Rolecall] = []
    if reference is not None:
        try:
            yield from diagnosis.app(find_app(reference))
            kits = kits_beside(reference)
        except AppNotFound as error:
            yield Finding("error", str(error), error.hint)
    if kits and store is None:
        for kit in kits:
            yield from _of_kit(kit, clock)
        return
    try:
        own = kit_of(clock, store)
    except RolecallError as error:
        yield Finding("error", str(error), "the kit cannot be made until this is mended")
        return
    with own:
        yield from _of_kit(own, clock)


def _of_kit(kit: Rolecall, clock: Clock) -> Iterator[Finding]:
    state = kit.engine.state
    yield from diagnosis.plugins(kit, os.environ)
    yield from diagnosis.formats(kit)
    yield from diagnosis.browsers(kit.api.web)
    yield from diagnosis.workers(state.store, os.environ)
    yield from diagnosis.store(state.store, clock, state.rules.leeway)
