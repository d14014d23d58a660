"""The commands for sessions: create, list, show, end; those that take grants back are in ``revocations``."""

from __future__ import annotations

from typing import Final

import click

from ..errors import SessionNotFound
from ..kit import Rolecall, Session
from ..sessions import ArchiveMode, ArchiveModeName, MediaMode, MediaModeName
from ..stores.listing import SessionState
from .console import confirm, print_report
from .kits import EXIT_CODES, Clock, answering, kit_of
from .options import json_option, store_option
from .reports import session_report
from .revocations import exclude, readmit, reset_session
from .session_reports import ended_report, listed_report, shown_report
from .store_urls import shared_kit

_STATES: Final = ("open", "ended", "all")


@click.group()
def session() -> None:
    """Create, list, show, reset and end sessions; exclude and readmit actors."""


for command in (reset_session, exclude, readmit):
    session.add_command(command)


@session.command("create", epilog=EXIT_CODES)
@click.option("--location", metavar="IP", help="An IP address near the participants, as a hint.")
@click.option(
    "--media-mode",
    type=click.Choice([str(mode) for mode in MediaMode]),
    default=str(MediaMode.RELAYED),
    show_default=True,
    help="Whether media goes straight between the participants, or through a media server.",
)
@click.option(
    "--archive-mode",
    type=click.Choice([str(mode) for mode in ArchiveMode]),
    default=str(ArchiveMode.MANUAL),
    show_default=True,
    help="Whether the session is recorded from its start; 'always' needs '--media-mode routed'.",
)
@click.option("--e2ee", is_flag=True, help="Encrypt media from end to end; needs '--media-mode routed'.")
@click.option("--media", metavar="NAME", help="The media service that carries it; the kit's first one unless given.")
@store_option
@json_option
@click.pass_obj
def create_session(
    clock: Clock,
    location: str | None,
    media_mode: MediaModeName,
    archive_mode: ArchiveModeName,
    e2ee: bool,
    media: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Create a session, and print its id.

    The default store, memory://, forgets the session when this command ends. That is enough to mint tokens: the id
    carries a tag made with your secret, which proves that it is yours. An app that looks sessions up, or ends them,
    needs a store that it shares with this command: --store sqlite:///app.db.

    \b
    Examples:
      rolecall session create
      rolecall session create --media-mode routed --archive-mode always
      rolecall session create --media livekit
      rolecall session create --store sqlite:///app.db --json
    """
    with answering(as_json), kit_of(clock, store) as kit:
        created = kit.create_session(location, media_mode, archive_mode, e2ee, media=media)
        print_report(session_report(created), as_json)


@session.command("list", epilog=EXIT_CODES)
@click.option(
    "--state", type=click.Choice(_STATES), default="open", show_default=True, help="Open sessions, ended ones, or all."
)
@click.option("--created-by", metavar="ACTOR", help="Only sessions that the actor with this id created.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, metavar="N", help="The most sessions."
)
@click.option("--after", metavar="CURSOR", help="Continue where a list ended: with the cursor that it printed.")
@store_option
@json_option
@click.pass_obj
def list_sessions(
    clock: Clock, state: str, created_by: str | None, limit: int, after: str | None, store: str | None, as_json: bool
) -> None:
    """List sessions, the newest first.

    \b
    Examples:
      rolecall session list
      rolecall session list --state ended --created-by ada --limit 20 --json
    """
    with shared_kit(clock, store, as_json) as kit:
        wanted: SessionState | None = None if state == "all" else state  # type: ignore[assignment]
        found = kit.sessions(state=wanted, created_by=created_by, after=after, limit=limit)
        print_report(listed_report(found.sessions, found.next, clock()), as_json)


@session.command("show", epilog=EXIT_CODES)
@click.argument("session_id", metavar="SESSION_ID")
@store_option
@json_option
@click.pass_obj
def show_session(clock: Clock, session_id: str, store: str | None, as_json: bool) -> None:
    """Show a session: its properties, who created it, and whether it is open.

    \b
    Examples:
      rolecall session show SESSION_ID
      rolecall session show SESSION_ID --json
    """
    with shared_kit(clock, store, as_json) as kit:
        print_report(shown_report(kit.get_session(session_id), clock()), as_json)


@session.command("end", epilog=EXIT_CODES)
@click.argument("session_ids", metavar="SESSION_ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
@click.pass_obj
def end_sessions(clock: Clock, session_ids: tuple[str, ...], yes: bool, store: str | None, as_json: bool) -> None:
    """End sessions: their tokens are refused from now on, and no more are issued.

    An id of which the store knows no session, as of a session that another service created, is ended as well, and said
    so. Whoever is connected to a media service stays connected there. This cannot be undone.

    \b
    Examples:
      rolecall session end SESSION_ID
      rolecall session end SESSION_ID SESSION_ID --yes --json
    """
    with shared_kit(clock, store, as_json) as kit:
        for session_id in session_ids:
            kit.api_key_of(session_id)
        confirm(_question(len(session_ids)), yes)
        print_report(ended_report([_end(kit, session_id) for session_id in session_ids]), as_json)


def _question(number: int) -> str:
    return "End this session for good" if number == 1 else f"End these {number} sessions for good"


def _end(kit: Rolecall, session_id: str) -> tuple[str, Session | None]:
    """End a session, and return it as it was before; None if the store does not know it."""
    try:
        before = kit.get_session(session_id)
    except SessionNotFound:
        before = None
    kit.end_session(session_id)
    return session_id, before
