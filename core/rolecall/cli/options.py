"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .arguments import duration, moment_in_time

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object, also for a refusal.")(command)


def store_option(command: _Command) -> _Command:
    return click.option(
        "--store",
        metavar="URL",
        help="Where sessions are kept: sqlite:///file.db, postgresql://host/db, redis://host, or memory://.  "
        "[default: ROLECALL_STORE, or memory://]",
    )(command)


def token_argument(command: _Command) -> _Command:
    return click.argument("token", metavar="TOKEN|-")(command)


_WANTED: Final = (
    click.argument("session_id", metavar="SESSION_ID"),
    click.option(
        "--role",
        default="publisher",
        show_default=True,
        metavar="ROLE",
        help="subscriber, publisher, publisheronly, moderator, or a role of your own.",
    ),
    click.option(
        "--expires-in", type=duration, metavar="DURATION", help="For example 30m, 2h or 7d; a number is seconds."
    ),
    click.option(
        "--expire-time", type=moment_in_time, metavar="TIME", help="Unix seconds, or ISO 8601 with a time zone."
    ),
    click.option(
        "--data", metavar="TEXT", help="Describes the connection, for example a name; at most 1,000 characters."
    ),
    click.option(
        "--layout", multiple=True, metavar="CLASS", help="An initial layout class; may be given several times."
    ),
    click.option("--actor", metavar="ID", help="For whom the token is; a ticket of a media service needs it."),
)


def wanted_token(command: _Command) -> _Command:
    """Add the arguments for a token: its session, role, expiry, data, layout and actor."""
    for option in reversed(_WANTED):
        command = option(command)
    return command
