"""The commands that take grants back: a token's, an actor's, a session's, a project's."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from ..errors import ExpiredToken
from ..kit import Rolecall
from ..tokens import Grant
from .arguments import duration, moment_in_time, read_token
from .console import confirm, print_report
from .kits import EXIT_CODES, Clock
from .options import json_option, store_option
from .reports import instant
from .revocation_reports import (
    actor_revoked_report,
    excluded_report,
    readmitted_report,
    reset_report,
    token_expired_report,
    token_revoked_report,
    tokens_revoked_report,
)
from .store_urls import shared_kit


@click.command("revoke", epilog=EXIT_CODES)
@click.argument("token", metavar="[TOKEN|-]", required=False)
@click.option("--session-id", metavar="ID", help="In place of the token: its session,")
@click.option("--token-id", metavar="ID", help="and its id, as an audit trail has them.")
@store_option
@json_option
@click.pass_obj
def revoke_token(
    clock: Clock, token: str | None, session_id: str | None, token_id: str | None, store: str | None, as_json: bool
) -> None:
    """Revoke TOKEN and its renewals: they are refused from now on. Its bearer may get another first token.

    With '-' the token is read from stdin, which is better: arguments show in the list of processes. This cannot be
    undone.

    \b
    Examples:
      rolecall token revoke - < token.txt
      rolecall token revoke --session-id SESSION_ID --token-id TOKEN_ID --json
    """
    is_given = (token is not None, session_id is not None, token_id is not None)
    if is_given not in ((True, False, False), (False, True, True)):
        raise click.UsageError("which token? Give the token, or both --session-id and --token-id")
    with shared_kit(clock, store, as_json) as kit:
        if session_id is not None and token_id is not None:
            kit.revoke_token(session_id=session_id, token_id=token_id)
            report = token_revoked_report(session_id, token_id, None, clock())
        elif (grant := _grant(kit, read_token(str(token)))) is None:
            report = token_expired_report()
        else:
            kit.revoke_token(grant)
            report = token_revoked_report(grant.session_id, grant.token_id, grant.expires_at, clock())
        print_report(report, as_json)


def _grant(kit: Rolecall, token: str) -> Grant | None:
    """The grant of a token, which may be revoked already; None if it has expired, and all its renewals have."""
    state = kit.engine.state
    try:
        return state.read_token(token, None)[0]
    except ExpiredToken as error:
        return state.read_renewable(token, error)


@click.command("revoke-actor", epilog=EXIT_CODES)
@click.argument("actor", metavar="ACTOR")
@store_option
@json_option
@click.pass_obj
def revoke_actor(clock: Clock, actor: str, store: str | None, as_json: bool) -> None:
    """Revoke all tokens that the actor with the id ACTOR has, in every session, as at a logout.

    It can get new ones from the next second on. Tokens that do not say for whom they are, such as those of SDKs, are
    good still. This cannot be undone.

    \b
    Examples:
      rolecall token revoke-actor ada
      rolecall token revoke-actor ada --json
    """
    with shared_kit(clock, store, as_json) as kit:
        kit.revoke_actor(actor)
        print_report(actor_revoked_report(actor, int(clock()) + 1, clock()), as_json)


@click.command("revoke-before", epilog=EXIT_CODES)
@click.argument("moment", metavar="[TIME]", type=moment_in_time, required=False)
@click.option("--api-key", metavar="KEY", help="The project.  [default: the first one of the environment]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
@click.pass_obj
def revoke_before(
    clock: Clock, moment: float | datetime | None, api_key: str | None, yes: bool, store: str | None, as_json: bool
) -> None:
    """Revoke all tokens of a project that were issued until TIME, or until now: after a leak, for example.

    TIME is Unix seconds, or ISO 8601 with a time zone, and not in the future. What was issued in its second is revoked,
    too. Everybody who has such a token needs a new one. This cannot be undone.

    \b
    Examples:
      rolecall token revoke-before
      rolecall token revoke-before 2030-01-31T18:00:00Z --yes --json
    """
    with shared_kit(clock, store, as_json) as kit:
        project = kit.api_key if api_key is None else api_key
        until = clock() if moment is None else moment.timestamp() if isinstance(moment, datetime) else float(moment)
        when = instant(until, clock()) or until
        confirm(f"Revoke all tokens of the project {project} that were issued until {when}", yes)
        kit.revoke_before(until, api_key=project)
        print_report(tokens_revoked_report(project, until, clock()), as_json)


@click.command("reset", epilog=EXIT_CODES)
@click.argument("session_id", metavar="SESSION_ID")
@click.option(
    "--epoch",
    type=click.IntRange(0),
    metavar="N",
    help="Only if this is the session's epoch still, as an earlier answer had it; 0 before the first reset.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
@click.pass_obj
def reset_session(
    clock: Clock, session_id: str, epoch: int | None, yes: bool, store: str | None, as_json: bool
) -> None:
    """Revoke all tokens that a session has issued so far. It stays open, and issues new ones.

    With --epoch a command that is repeated revokes nothing that was issued meanwhile. Whoever is connected to a media
    service stays connected there. This cannot be undone.

    \b
    Examples:
      rolecall session reset SESSION_ID
      rolecall session reset SESSION_ID --epoch 1893456000123 --yes --json
    """
    with shared_kit(clock, store, as_json) as kit:
        kit.api_key_of(session_id)
        confirm("Revoke all tokens that this session has issued so far", yes)
        print_report(reset_report(kit.reset_session(session_id, epoch), clock()), as_json)


@click.command("exclude", epilog=EXIT_CODES)
@click.argument("session_id", metavar="SESSION_ID")
@click.argument("actor", metavar="ACTOR")
@click.option("--until", type=moment_in_time, metavar="TIME", help="Unix seconds, or ISO 8601 with a time zone.")
@click.option("--for", "length", type=duration, metavar="DURATION", help="For example 30m, 2h or 7d.")
@store_option
@json_option
@click.pass_obj
def exclude(
    clock: Clock,
    session_id: str,
    actor: str,
    until: float | datetime | None,
    length: timedelta | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Exclude the actor with the id ACTOR from a session, for good unless --until or --for says otherwise.

    All of its tokens there are refused, and none is issued to it. Tokens that do not say for whom they are, such as
    those of SDKs, are good still: "rolecall session reset" revokes them. Of two exclusions the one that ends later
    counts.

    \b
    Examples:
      rolecall session exclude SESSION_ID ada
      rolecall session exclude SESSION_ID ada --for 2h --json
    """
    if until is not None and length is not None:
        raise click.UsageError("--until and --for exclude each other; give one of them")
    with shared_kit(clock, store, as_json) as kit:
        exclusion = kit.exclude(session_id, actor, until if length is None else length)
        print_report(excluded_report(exclusion, clock()), as_json)


@click.command("readmit", epilog=EXIT_CODES)
@click.argument("session_id", metavar="SESSION_ID")
@click.argument("actor", metavar="ACTOR")
@store_option
@json_option
@click.pass_obj
def readmit(clock: Clock, session_id: str, actor: str, store: str | None, as_json: bool) -> None:
    """End the exclusions of the actor with the id ACTOR from a session: its tokens are good again.

    \b
    Examples:
      rolecall session readmit SESSION_ID ada
    """
    with shared_kit(clock, store, as_json) as kit:
        kit.readmit(session_id, actor)
        print_report(readmitted_report(session_id, actor), as_json)
