"""What a kit is put together from: the roles, formats and stores that the kit has, and those of plugins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from .errors import ConfigurationError, PluginError, shown
from .formats import FORMATS, Format, find_format
from .issuers import Issuer
from .keys import KeyRing
from .plugins import Plugins
from .roles import STANDARD_ROLES, Role, RoleTable
from .sessions import SessionIds
from .tokens import ClaimRules


def roles_of(plugins: Plugins) -> RoleTable:
    """The standard roles, and those that plugins register.

    :raises PluginError: for roles that cannot be.
    """
    own: list[Role] = []
    for plugin, answer in plugins.registered("rolecall_register_roles"):
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            raise PluginError(f"plugin {plugin}: rolecall_register_roles returned {shown(answer)}; expected [Role(…)]")
        own.extend(answer)
        try:
            RoleTable([*STANDARD_ROLES, *own])
        except ConfigurationError as error:
            raise PluginError(f"plugin {plugin}: {error}") from None
    return RoleTable([*STANDARD_ROLES, *own])


def formats_of(
    plugins: Plugins,
    minted: str | None,
    accepted: Iterable[str] | None,
    projects: tuple[Issuer | None, ...],
    application: Issuer | None,
    rules: ClaimRules,
    session_ids: SessionIds,
) -> tuple[Format, ...]:
    """The format that is minted, and then all that are accepted, in the order in which they are asked.

    :param minted: the name of the format to mint; None for the first that the credentials allow.
    :param accepted: the names of those to verify; None for all that the credentials allow.
    :raises ConfigurationError: for formats that do not exist, or do not go with the credentials.
    """
    by_plugins = registered(plugins, "rolecall_register_formats", FORMATS)
    if minted is None:
        minted = "opentok" if projects[0] is not None else "vonage"
    find_format(minted, by_plugins)
    if accepted is None:
        # The one that can be told by its header comes first.
        accepted = [*(["vonage"] if application else []), *(["opentok", "t1"] if projects[0] else [])]
        accepted += [] if minted in accepted else [minted]
    if isinstance(accepted, str) or not isinstance(accepted, Iterable):
        raise ConfigurationError(f"accept is {shown(accepted)}; expected a list of formats")
    formats: dict[str, Format] = {}
    # An RS256 header tells it apart, where "opentok" takes every JWT to be its own.
    for name in sorted(accepted, key=lambda name: name != "vonage"):
        make = find_format(name, by_plugins)
        issuers = [issuer for issuer in ((application,) if name == "vonage" else projects) if issuer is not None]
        if not issuers:
            needed = "an application_id and a private_key" if name == "vonage" else "an api_key and an api_secret"
            raise ConfigurationError(f"the format {name!r} needs {needed}")
        made = [make(issuer.id, KeyRing([issuer.key]), rules) for issuer in issuers]
        formats[name] = made[0] if len(projects) == 1 else _of_projects(name, make, made, projects, session_ids)
    if minted == "vonage" and len(projects) > 1:
        raise ConfigurationError("the format 'vonage' mints for one application alone; leave out projects")
    if minted not in formats:
        raise ConfigurationError(
            f"accept is {', '.join(formats) or 'empty'}, without the format {shown(minted)} that the kit mints; "
            "it could not verify its own tokens"
        )
    return formats[minted], *formats.values()


def _of_projects(
    name: str, make: type[Format], made: list[Format], projects: tuple[Issuer | None, ...], session_ids: SessionIds
) -> Format:
    """One format for several projects, of ``made`` for each; an application's is for the first alone."""
    from .formats.projects import NamesIssuer, ProjectsFormat  # most kits have one project

    if name not in FORMATS:
        raise ConfigurationError(f"the format {name!r} is a plugin's, which serves one project; leave out projects")
    by_project = {project.id: one for project, one in zip(projects, made, strict=False) if project is not None}
    return ProjectsFormat(by_project, session_ids, cast("type[NamesIssuer]", make).issuer_of)


def registered(plugins: Plugins, hook: str, taken: Collection[str]) -> dict[str, Any]:
    """What plugins register by name under ``hook``.

    :param taken: the names of the kit's own.
    :raises PluginError: for what is no mapping by name, and for a name that is taken.
    """
    found: dict[str, Any] = {}
    for plugin, answer in plugins.registered(hook):
        if not isinstance(answer, Mapping) or not all(
            isinstance(name, str) and callable(answer[name]) for name in answer
        ):
            raise PluginError(f"plugin {plugin}: {hook} returned {shown(answer)}; expected a mapping by name")
        for name in answer:
            if name in found or name in taken:
                raise PluginError(f"plugin {plugin}: {hook} registers {shown(name)}, which is there already")
        found.update(answer)
    return found
