"""The commands for media services: list them, and plan a move from one to another."""

from __future__ import annotations

import click

from ..errors import ConfigurationError, RolecallError
from ..kit.media import registered_backends
from ..media import BACKENDS, MediaBackend, find_backend
from ..media.plan import plan
from ..roles import RoleTable
from ..wording import nearest, shown
from .console import print_note, print_report
from .kits import EXIT_CODES, Clock, answering, configuration_hint, kit_of
from .media_reports import listed_report, plan_report
from .options import json_option


@click.group()
def media() -> None:
    """List media services, and plan a move from one to another."""


@media.command("list", epilog=EXIT_CODES)
@json_option
@click.pass_obj
def list_services(clock: Clock, as_json: bool) -> None:
    """List the media services, and what each grants to everybody, or does not do.

    \b
    Example:
      rolecall media list
    """
    with answering(as_json, needs_kit=False):
        _, backends = _app(clock)
        print_report(listed_report(list(backends.values())), as_json)


@media.command("plan", epilog=EXIT_CODES)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
@click.pass_obj
def plan_move(clock: Clock, source: str, target: str, as_json: bool) -> None:
    """Say what changes for the app's roles, acts and limits if it moves from one media service to another.

    The roles are the standard ones, and those that the app's plugins register, if the environment configures a kit. No
    service is asked.

    \b
    Examples:
      rolecall media plan opentok livekit
      rolecall media plan opentok jitsi --json
    """
    with answering(as_json, needs_kit=False):
        roles, backends = _app(clock)
        one, other = (_found(name, backends) for name in (source, target))
        print_report(plan_report(one.name, other.name, plan(one, other, roles)), as_json)


def _app(clock: Clock) -> tuple[RoleTable, dict[str, type[MediaBackend]]]:
    """The roles and the media services of the environment's kit; the usual ones if there is none."""
    backends = {name: backend for name in BACKENDS if (backend := find_backend(name)) is not None}
    if configuration_hint():
        return RoleTable(), backends
    try:
        with kit_of(clock) as kit:
            state = kit.engine.state
            return state.roles, {**backends, **registered_backends(state.plugins)}
    except RolecallError as error:
        # Whoever plans has settings of a service that the kit does not use yet.
        print_note(f"the roles are the standard ones, because the environment configures no kit: {error}")
        return RoleTable(), backends


def _found(name: str, backends: dict[str, type[MediaBackend]]) -> type[MediaBackend]:
    if name not in backends:
        close = nearest(name, backends)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(backends)}"
        raise ConfigurationError(f"there is no media service {shown(name, 80)}; {hint}")
    return backends[name]
