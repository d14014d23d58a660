"""Finding plugins: as passed in, by name (``"package.module:object"``), and by entry points of installed packages."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import PluginError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry point group in which installed packages offer plugins.
GROUP: Final = "rolecall"


class Found(NamedTuple):
    """A plugin, and where it comes from.

    :param plugin: the instance or module.
    :param origin: for people: which argument, or which package in which version.
    :param name: the name to go by, unless the plugin has one itself.
    """

    plugin: object
    origin: str
    name: str | None = None


def passed(plugins: object) -> list[Found]:
    """What was passed as ``Rolecall(plugins=[…])``: instances, modules, and names of either.

    :raises PluginError: if it is no list, or a name cannot be loaded.
    """
    if not isinstance(plugins, Iterable) or isinstance(plugins, str):
        raise PluginError(f"plugins is {shown(plugins)}; expected a list: plugins=[…]")
    return [
        _named(plugin) if isinstance(plugin, str) else Found(plugin, "passed to Rolecall(plugins=…)")
        for plugin in plugins
    ]


def installed(wanted: bool | Collection[str], blocked: Collection[str]) -> list[Found]:
    """The plugins that installed packages offer.

    :param wanted: True for all, False for none, or the names of those to load.
    :param blocked: names of entry points that are not even loaded.
    :raises PluginError: for one that cannot be loaded, and for a wanted one that is not installed.
    """
    if isinstance(wanted, str) or not isinstance(wanted, bool | Collection):
        raise PluginError(f"entry_points is {shown(wanted)}; expected True, False, or a list of names")
    if wanted is False:
        return []
    offered = _offered(tuple(sys.path))
    if not isinstance(wanted, bool):
        missing = set(wanted) - {entry_point.name for entry_point in offered}
        if missing:
            raise PluginError(
                f"the plugin {', '.join(sorted(missing))} is wanted, and no installed package offers it; "
                f"install it, or take it off the list. Offered: {', '.join(e.name for e in offered) or 'none'}"
            )
        offered = tuple(entry_point for entry_point in offered if entry_point.name in wanted)
    return [_load(entry_point) for entry_point in offered if entry_point.name not in blocked]


def checked_names(blocked: object) -> Collection[str]:
    """The names of plugins to leave out.

    :raises PluginError: if they are no list of names.
    """
    if isinstance(blocked, str) or not isinstance(blocked, Collection) or not all(isinstance(n, str) for n in blocked):
        raise PluginError(f"blocked_plugins is {shown(blocked)}; expected a list of names")
    return blocked


@lru_cache(maxsize=8)
def _offered(_: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # Reading the metadata of all installed packages takes milliseconds, and what it says depends on the path alone.
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=GROUP), key=lambda entry_point: entry_point.name))


def _load(entry_point: EntryPoint) -> Found:
    package = entry_point.dist
    origin = f"entry point {entry_point.name!r} of " + (f"{package.name} {package.version}" if package else "?")
    try:
        loaded = entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {origin} cannot be loaded ({entry_point.value}: {type(error).__name__}: {error}); "
            "repair or uninstall the package, or leave it out with Rolecall(blocked_plugins=…)"
        ) from error
    return Found(_instance(loaded, origin), origin, entry_point.name)


def _named(name: str) -> Found:
    module, _, attribute = name.partition(":")
    origin = f"plugin {name!r}"
    try:
        loaded: object = import_module(module)
        for part in filter(None, attribute.split(".")):
            loaded = getattr(loaded, part)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {origin} cannot be loaded ({type(error).__name__}: {error}); "
            "expected the name of a module, or of an object in one: 'package.module:object'"
        ) from error
    return Found(_instance(loaded, origin), origin)


def _instance(loaded: object, origin: str) -> object:
    """A class stands for an instance of it, where there is nobody to make one."""
    if not inspect.isclass(loaded):
        return loaded
    try:
        return loaded()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {origin} is the class {loaded.__name__}, and making an instance of it failed "
            f"({type(error).__name__}: {error}); it is made without arguments"
        ) from error
