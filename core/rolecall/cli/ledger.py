"""The command that lists the tokens of the ledger."""

from __future__ import annotations

import click

from .console import print_report
from .kits import EXIT_CODES, Clock
from .ledger_reports import live_tokens_report
from .options import json_option, store_option
from .store_urls import shared_kit


@click.command("list", epilog=EXIT_CODES)
@click.option("--session-id", metavar="ID", help="Only tokens of this session.")
@click.option("--actor", metavar="ACTOR", help="Only tokens of the actor with this id.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, metavar="N", help="The most tokens."
)
@click.option("--after", metavar="CURSOR", help="Continue where a list ended: with the cursor that it printed.")
@store_option
@json_option
@click.pass_obj
def list_tokens(
    clock: Clock,
    session_id: str | None,
    actor: str | None,
    limit: int,
    after: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """List the tokens that were issued and are still good, the newest first.

    Only those of kits with a ledger (ROLECALL_LEDGER=1, here and in the app), which keep each token's id, session,
    actor, role and end; no token itself.

    \b
    Examples:
      rolecall token list
      rolecall token list --session-id SESSION_ID --actor ada --json
    """
    with shared_kit(clock, store, as_json) as kit:
        print_report(live_tokens_report(kit.live_tokens(session_id, actor, after=after, limit=limit), clock()), as_json)
