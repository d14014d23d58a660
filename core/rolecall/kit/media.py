"""The media services in a kit's arguments: objects, or names with settings."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError, PluginError
from ..formats import TokenFormat
from ..media import BACKENDS, MediaBackend, find_backend
from ..media.backend import variable_of
from ..plugins import Plugins
from ..roles import RoleTable
from ..session_ids import PlainNames, SessionNames
from ..sessions import MediaMode
from ..wording import kind, nearest, shown
from .assembly import registered


def media_of(plugins: Plugins, media: object, configs: object) -> tuple[MediaBackend, ...]:
    """The media services of a kit.

    :param media: a backend or the name of one, or a list of these.
    :param configs: by name the settings of each that is named.
    :raises ConfigurationError: for one that does not exist or is given twice, and for wrong settings.
    """
    try:
        if not isinstance(configs, Mapping) or not all(isinstance(one, Mapping) for one in configs.values()):
            raise ConfigurationError("media_config is not a mapping from names of media services to mappings")
        given = (media,) if isinstance(media, str | MediaBackend) or not isinstance(media, Iterable) else tuple(media)
        by_plugins = registered_backends(plugins)
        backends = tuple(_backend(one, configs, by_plugins) for one in given)
        names = [backend.name for backend in backends]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(f"media has {shown(name)} twice; a session remembers its service by the name")
        for name in configs:
            if name not in given:
                listed = ",".join(map(str, (*names, name)))
                raise ConfigurationError(
                    f"media_config or {variable_of(str(name), '…')} has settings for {shown(name, 80)}, which is not "
                    f"in media: name it there, or set ROLECALL_MEDIA={listed}; or leave out its settings"
                )
        return backends
    finally:
        del media, configs  # they hold secrets


def registered_backends(plugins: Plugins) -> dict[str, type[MediaBackend]]:
    """The media backends of plugins, by name.

    :raises PluginError: for what is none.
    """
    backends = registered(plugins, "rolecall_register_media", BACKENDS)
    for name, backend in backends.items():
        if not isinstance(backend, type) or not issubclass(backend, MediaBackend):
            raise PluginError(
                f"rolecall_register_media: {shown(name)} is {shown(backend)}; expected a class derived from "
                "rolecall.media.MediaBackend"
            )
        if getattr(backend, "name", None) != name:
            raise PluginError(f"rolecall_register_media: the class for {shown(name)} has another `name` than that")
        if missing := sorted(getattr(backend, "__abstractmethods__", ())):
            raise PluginError(f"rolecall_register_media: the class for {shown(name)} has no {', '.join(missing)}(…)")
    return backends


def _backend(one: object, configs: Mapping[str, Any], by_plugins: Mapping[str, type[MediaBackend]]) -> MediaBackend:
    if isinstance(one, MediaBackend):
        return one
    if not isinstance(one, str):
        raise ConfigurationError(f"media is {kind(one)}; expected a media service such as LiveKit(…), or its name")
    backend = by_plugins.get(one) or find_backend(one)
    if backend is None:
        known = (*BACKENDS, *by_plugins)
        close = nearest(one, known)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
        raise ConfigurationError(f"media is {shown(one)}, and there is no such media service; {hint}")
    settings = configs.get(one, {})
    try:
        problem = _misfit(backend, settings)
        if problem is not None:
            raise ConfigurationError(problem)
        return backend(**settings)
    finally:
        del configs, settings


def _settings(backend: type[MediaBackend]) -> dict[str, inspect.Parameter]:
    """The parameters of a backend; those of all backends among them, if it passes them on by ``**settings``.

    Not ``url``, which a backend whose clients know it gives itself.
    """
    parameters = inspect.signature(backend).parameters
    own = {name: one for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
    if len(own) == len(parameters):
        return own
    common = {name: one for name, one in inspect.signature(MediaBackend).parameters.items() if name != "url"}
    return {**common, **own}


def _misfit(backend: type[MediaBackend], settings: Mapping[str, Any]) -> str | None:
    """The setting that a backend does not take, or lacks; None if there is none."""
    parameters = _settings(backend)
    for name in settings:
        if name not in parameters:
            close = nearest(str(name), parameters)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(parameters)}"
            return f"the media service {backend.name!r} has no setting {shown(name, 80)}; {hint}"
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings:
            return (
                f"the media service {backend.name!r} needs the setting {name}: pass it in media_config, or set "
                f"{variable_of(backend.name, name)}"
            )
    return None


def check_media(
    backends: Collection[MediaBackend],
    roles: RoleTable,
    session_ids: SessionNames,
    mint: TokenFormat,
    hook_timeout: float,
    *,
    names_actor: bool,
) -> None:
    """Refuse media services that do not go with the rest of a kit.

    :param mint: the format of the kit's tokens.
    :param names_actor: whether they say for whom they are, if the format can.
    :raises ConfigurationError: says what to change.
    """
    _check_names_sessions(mint, session_ids)
    if backends and not (names_actor and mint.names_actor):
        raise ConfigurationError(
            "media needs tokens that say for whom they are, because participants have an identity: leave out "
            "actor_claim=False, and choose another format than t1"
        )
    for backend in backends:
        _check_patience(backend, hook_timeout)
        _check_accepted(backend, [str(role) for role in roles])
        if backend.needs_plain_names and not isinstance(session_ids, PlainNames):
            raise ConfigurationError(
                f"the media service {backend.name!r} gives its sessions ids of its own: pass session_names='plain', or "
                "set ROLECALL_SESSION_NAMES=plain"
            )


def _check_names_sessions(mint: TokenFormat, session_ids: SessionNames) -> None:
    """Refuse a format whose tokens cannot say for which of the kit's sessions they are."""
    if not mint.takes_session(session_ids.make(MediaMode.RELAYED, 0.0)):
        raise ConfigurationError(
            "the format is that of a media service whose rooms cannot have the names of this kit's sessions; give them "
            "others with session_names='plain', or mint its tokens as tickets: leave format out"
        )


def _check_accepted(backend: MediaBackend, names: Collection[str]) -> None:
    """Refuse an ``accept_wider`` with a name that is no role: a misspelt one would accept nothing."""
    for accepted in sorted(backend.accept_wider, key=str):
        if str(accepted) not in names:
            raise ConfigurationError(
                f"{backend.name}: accept_wider has {shown(accepted, 80)}, which is no role of this kit; the roles "
                f"are {', '.join(names)}"
            )


def _check_patience(backend: MediaBackend, hook_timeout: float) -> None:
    """Refuse a service that is slower than the kit's patience: its own errors would come too late."""
    if backend.call_time >= hook_timeout:
        raise ConfigurationError(
            f"{backend.name}: timeout, {backend.call_time:g} s, is not below the kit's hook_timeout, "
            f"{hook_timeout:g} s, so the service's own error would come too late; pass Rolecall(hook_timeout=…)"
        )
