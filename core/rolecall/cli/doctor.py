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
from .apps import AppNotFound, find_app_and_kits
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
    are looked at, and the kits that it makes; without them, the kit that the environment configures.

    \b
    Examples:
      rolecall doctor
      rolecall doctor school.web:app
      rolecall doctor "school.web:create_app()" --json
    """
    # Two kits may have a finding in common.
    report = findings_report(list(dict.fromkeys(_findings(clock, app, store))))
    print_report(report, as_json)
    if not report.data["ok"]:
        raise click.exceptions.Exit(REFUSED)


def _findings(clock: Clock, reference: str | None, store: str | None) -> Iterator[Finding]:
    yield from diagnosis.versions()
    yield from diagnosis.environment(os.environ)
    app, kits, said = None, list[Rolecall](), ""
    if reference is not None:
        try:
            app, kits = find_app_and_kits(reference)
        except AppNotFound as error:
            said = str(error)
            yield Finding("error", said, error.hint)
        else:
            yield from diagnosis.app(app)
    if kits and store is None:
        for kit in kits:
            yield from diagnosis.plugins(kit, os.environ)
            yield from _of_kit(kit, clock)
        return
    try:
        own = kit_of(clock, store)
    except RolecallError as error:
        text = " ".join(str(error).split())
        if not text or text not in said:  # the import of the app may have failed with the same
            yield Finding("error", str(error), "the kit cannot be made until this is mended")
        return
    with own:
        if reference is None or app is not None:  # the policies of an app that was not found are not known
            yield from diagnosis.plugins(own, os.environ)
        yield from _of_kit(own, clock)


def _of_kit(kit: Rolecall, clock: Clock) -> Iterator[Finding]:
    state = kit.engine.state
    yield from diagnosis.keys(kit, clock())
    yield from diagnosis.formats(kit)
    yield from diagnosis.browsers(kit.api.web)
    yield from diagnosis.media(kit)
    yield from diagnosis.workers(state.store, os.environ)
    yield from diagnosis.store(state.store, clock, state.rules.leeway)
