"""The parts of a kit: its roles, formats and stores, its own and those of plugins."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..engine import Engine
from ..errors import ConfigurationError, PluginError
from ..formats import FORMATS, USUAL_FORMATS, Need, TokenFormat, find_format
from ..formats.claims import ClaimRules
from ..keys.issuers import Issuer
from ..plugins import Plugins, plugin_name
from ..plugins.sources import checked_names, installed, offered, package_of, passed, seems_to_offer
from ..roles import STANDARD_ROLES, Role, RoleTable
from ..tokens import MAX_LIFETIME
from ..wording import nearest, printable, shown

if TYPE_CHECKING:
    from ..driver import Driver
    from ..engine.state import State
    from ..engine.tickets import MediaServices
    from ..stores import Store
    from ..stores.following import Follower
    from ..stores.watching import StoreWatch


def plugins_of(
    plugins: object, entry_points: object, blocked: object, configured: Iterable[str], *, all_known: bool = True
) -> Plugins:
    """Load the plugins that were passed, and the wanted plugins of installed packages.

    :param plugins: as :class:`Rolecall` takes them, like the next two.
    :param configured: the names of the plugins that have a configuration.
    :param all_known: whether each blocked or configured plugin must be among them.
    :raises PluginError: for a plugin that cannot be loaded or does not exist, and for arguments that are no lists.
    """
    blocked = checked_names("blocked_plugins", blocked)
    if entry_points is True:
        raise PluginError("entry_points is True; plugins of installed packages load when they are named: ['classroom']")
    wanted = () if entry_points is False else checked_names("entry_points", entry_points, ", or False")
    candidates = [*passed(plugins), *installed(wanted, blocked)]
    known = {*wanted, *map(plugin_name, candidates)}
    if all_known:
        _check_known(known, blocked, configured)
    if entry_points is not False and (wanted or seems_to_offer()):
        _tell_what_is_left(known | set(blocked))
    return Plugins(candidates, blocked)


def _check_known(known: Collection[str], blocked: Iterable[str], configured: Iterable[str]) -> None:
    """Refuse unknown names of plugins: a misspelt policy would not be blocked, or not be configured."""
    for name in blocked:
        if name not in known and name not in _offered_names():
            raise PluginError(
                f"blocked_plugins names {shown(name, 80)}, and there is no such plugin{_hint(name, known)}"
            )
    spelt = {config_name(name) for name in known}
    for name in configured:
        if config_name(name) not in spelt:
            unnamed = [one for one in _offered_names() if config_name(one) == config_name(name)]
            hint = _hint(name, known)
            if unnamed:
                hint = f"; a package offers it: name it with entry_points={unnamed} or ROLECALL_ENTRY_POINTS"
            raise PluginError(
                f"the plugin {shown(name, 80)} is configured, by plugin_config or "
                f"ROLECALL_PLUGIN_{config_name(name).upper()}, and is not loaded{hint}"
            )


def _hint(name: str, known: Collection[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else f"; the kit's plugins are {', '.join(sorted(known)) or 'none'}"


def _offered_names() -> list[str]:
    return [entry_point.name for entry_point in offered()]


def _tell_what_is_left(known: Collection[str]) -> None:
    left = [f"{one.name} (of {package_of(one)})" for one in offered() if one.name not in known]
    if left:
        logging.getLogger("rolecall").warning(
            "plugins of installed packages load when they are named, and these are not: %s; name them in entry_points "
            "or ROLECALL_ENTRY_POINTS, or leave them out with blocked_plugins or ROLECALL_BLOCKED_PLUGINS",
            printable(", ".join(left)),
        )


def config_name(plugin: str) -> str:
    """A plugin's name, as spelt in an environment variable.

    ``ROLECALL_PLUGIN_CLASSROOM_POLICY`` configures ``classroom-policy``.
    """
    return re.sub("[^0-9a-z]", "_", plugin.lower())


def roles_of(plugins: Plugins) -> RoleTable:
    """The standard roles, and those that plugins register.

    :raises PluginError: for invalid roles.
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


_NEEDED: dict[Need, str] = {
    "secret": "an api_key and an api_secret",
    "private_key": "an application_id and a private_key",
    "issuer": "an issuer and a private_key",
}


def issuers_by_need(
    project: Issuer | None, further: tuple[Issuer, ...], application: Issuer | None, signer: Issuer | None
) -> Mapping[Need, tuple[Issuer, ...]]:
    """The issuers with the credentials that a format may need."""
    return {
        "secret": () if project is None else (project, *further),
        "private_key": () if application is None else (application,),
        "issuer": () if signer is None else (signer,),
    }


def formats_of(
    plugins: Plugins,
    minted: str | None,
    accepted: Iterable[str] | None,
    issuers: Mapping[Need, tuple[Issuer, ...]],
    rules: ClaimRules,
    media: MediaServices,
) -> tuple[TokenFormat, dict[str, TokenFormat]]:
    """The format for minting; and all accepted formats by name, in the order in which they are tried.

    :param minted: the name of the format for minting; None for the first that the credentials allow.
    :param accepted: the names of the accepted formats; None for the JWTs that the credentials allow, and ``minted``.
    :param issuers: the issuers, by the credentials that a format may need.
    :param media: the media services of the kit: the tokens of each are a format of its name, unless a format that the
        kit or a plugin brings has the name.
    :raises ConfigurationError: for a format that does not exist, or needs other credentials.
    """
    by_plugins = _registered_formats(plugins)
    usual = [name for need, name in USUAL_FORMATS.items() if issuers[need]]
    if minted is None:
        minted = usual[0]
    if accepted is None:
        accepted = [*usual, *([] if minted in usual else [minted])]
    if isinstance(accepted, str) or not isinstance(accepted, Iterable):
        raise ConfigurationError(f"accept is {shown(accepted)}; expected a list of formats")

    def of_service(name: object) -> TokenFormat | None:
        # Not one of the name of a format: a kit's "opentok" is its own project's, whatever its media service is called.
        return None if name in FORMATS or name in by_plugins else media.format(name)

    formats = {name: of_service(name) or _made(name, by_plugins, issuers, rules) for name in accepted}
    if minted not in formats:
        if of_service(minted) is None:
            find_format(minted, by_plugins)
        raise ConfigurationError(
            f"accept is {', '.join(formats) or 'empty'}, without the format {shown(minted)} that the kit mints; "
            "it could not verify its own tokens"
        )
    own = () if of_service(minted) else issuers[find_format(minted, by_plugins).needs]
    if len(own) < len(issuers["secret"]) and len(issuers["secret"]) > 1:
        raise ConfigurationError(f"the format {minted!r} mints for one issuer alone; leave out projects")
    return formats[minted], formats


def _made(
    name: str,
    by_plugins: Mapping[str, type[TokenFormat]],
    issuers: Mapping[Need, tuple[Issuer, ...]],
    rules: ClaimRules,
) -> TokenFormat:
    make = find_format(name, by_plugins)
    if not issuers[make.needs]:
        raise ConfigurationError(f"the format {name!r} needs {_NEEDED[make.needs]}")
    return make(issuers[make.needs], rules)


def _registered_formats(plugins: Plugins) -> dict[str, type[TokenFormat]]:
    formats = registered(plugins, "rolecall_register_formats", FORMATS)
    for name, form in formats.items():
        problem = _problem_with_format(form)
        if problem is not None:
            raise PluginError(f"rolecall_register_formats: the format {shown(name)} {problem}")
    return formats


def _problem_with_format(form: object) -> str | None:
    """The reason why a class cannot be a format; None if it can."""
    if not isinstance(form, type) or not issubclass(form, TokenFormat):
        return f"is {shown(form)}; expected a class derived from rolecall.formats.TokenFormat"
    missing = sorted(form.__abstractmethods__)
    if missing:
        return f"has no {', '.join(missing)}"
    if form.needs not in USUAL_FORMATS:
        return f"needs {shown(form.needs)}; expected {' or '.join(map(repr, USUAL_FORMATS))}"
    if not isinstance(form.reserved_claims, frozenset) or not all(isinstance(one, str) for one in form.reserved_claims):
        return f"has reserved_claims {shown(form.reserved_claims)}; expected a frozenset of names"
    lives = (form.shortest_life, form.longest_life)
    if not all(type(life) is int for life in lives) or not 1 <= lives[0] <= lives[1] <= MAX_LIFETIME:
        return (
            f"has tokens that live {shown(lives[0])} to {shown(lives[1])} seconds; expected whole numbers, "
            f"the shortest first, from 1 to {MAX_LIFETIME}"
        )
    return None


def registered(plugins: Plugins, hook: str, taken: Collection[str]) -> dict[str, Any]:
    """Collect the objects that plugins register by name under ``hook``.

    :param taken: the names of the kit's own objects.
    :raises PluginError: for an answer that is no mapping by name, and for a name that is taken.
    """
    by_name: dict[str, Any] = {}
    for plugin, answer in plugins.registered(hook):
        if not isinstance(answer, Mapping) or not all(
            isinstance(name, str) and callable(answer[name]) for name in answer
        ):
            raise PluginError(f"plugin {plugin}: {hook} returned {shown(answer)}; expected a mapping by name")
        for name in answer:
            if name in by_name or name in taken:
                raise PluginError(f"plugin {plugin}: {hook} registers {shown(name)}, which is there already")
        by_name.update(answer)
    return by_name


def watch_of(state: State, driver: Driver) -> StoreWatch | None:
    """What watches the store of a kit, and tells its plugins; None if none of them wants to be told.

    :param driver: how the threads wait that tell the plugins.
    """
    if not state.plugins.on_event:
        return None
    from ..plugins.telling import Messenger
    from ..stores.watching import StoreWatch

    watch = StoreWatch(Messenger(state.plugins.on_event, driver, state.deadline).tell, state.clock)
    if (follower := follower_of(state.store)) is not None:
        follower.tell(watch)
    return watch


def follower_of(store: Store) -> Follower | None:
    """What keeps a store's ended sessions in step with those of other processes; None if it needs nothing."""
    from ..stores.following import Follower

    follower = getattr(store, "follower", None)
    return follower if isinstance(follower, Follower) else None


def engine_of(state: State, driver: Driver, *, blocks: bool) -> Engine:
    """The engine of a kit for one way to wait; an observed one only if a plugin observes."""
    if state.plugins.operations is None:
        return Engine(state, driver, blocks=blocks)
    from ..engine.observed import ObservedEngine

    return ObservedEngine(state, driver, blocks=blocks)
