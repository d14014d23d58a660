"""Sources of plugins: arguments, names (``"package.module:object"``), and entry points of installed packages."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import PluginError
from ..wording import nearest, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The entry point group in which installed packages offer plugins.
GROUP: Final = "rolecall"


class Found(NamedTuple):
    """A plugin and its origin.

    :param plugin: the instance or module.
    :param origin: for people: the argument, or the package and its version.
    :param name: its name, unless the plugin has one itself.
    """

    plugin: object
    origin: str
    name: str | None = None


def passed(plugins: object) -> list[Found]:
    """The plugins in ``Rolecall(plugins=[…])``: instances, modules, and names of either.

    :raises PluginError: if it is no list, or a name cannot be loaded.
    """
    if not isinstance(plugins, Iterable) or isinstance(plugins, str):
        raise PluginError(f"plugins is {shown(plugins)}; expected a list: plugins=[…]")
    return [
        _named(plugin) if isinstance(plugin, str) else Found(plugin, "passed to Rolecall(plugins=…)")
        for plugin in plugins
    ]


def installed(wanted: Collection[str], blocked: Collection[str]) -> list[Found]:
    """The wanted plugins out of those that installed packages offer.

    :param wanted: the names of the entry points to load.
    :param blocked: the names of entry points that are not even loaded.
    :raises PluginError: for a plugin that cannot be loaded, and for a wanted plugin that is not installed.
    """
    if not wanted:
        return []
    by_installed = offered()
    names = [entry_point.name for entry_point in by_installed]
    missing = sorted(set(wanted) - set(names))
    if missing:
        close = nearest(missing[0], names)
        raise PluginError(
            f"the plugin {', '.join(missing)} is wanted, and no installed package offers it; "
            + (f"did you mean {close}? Or " if close else "")
            + f"install it, or take it off the list. Offered: {', '.join(names) or 'none'}"
        )
    return [_load(one) for one in by_installed if one.name in wanted and one.name not in blocked]


def checked_names(argument: str, names: object, hint: str = "") -> Collection[str]:
    """Check an argument of the kit that is a list of names, and return it.

    :param argument: its name.
    :raises PluginError: if it is no list of names.
    """
    if isinstance(names, str) or not isinstance(names, Collection) or not all(isinstance(n, str) for n in names):
        raise PluginError(f"{argument} is {shown(names)}; expected a list of names{hint}")
    return names


def offered() -> tuple[EntryPoint, ...]:
    """The plugins that installed packages offer, by name; a kit may load them or not."""
    return _offered(tuple(sys.path))


def seems_to_offer() -> bool:
    """Whether any package on the path seems to offer plugins; takes a seventh of the time of :func:`offered`."""
    return _seems_to_offer(tuple(sys.path))


def package_of(entry_point: EntryPoint) -> str:
    """The name and version of the package that offers a plugin."""
    package = entry_point.dist
    return f"{package.name} {package.version}" if package else "?"


def origin_of(entry_point: EntryPoint) -> str:
    """The origin of an installed plugin, for people."""
    return f"entry point {entry_point.name!r} of {package_of(entry_point)}"


@lru_cache(maxsize=8)
def _offered(_: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # Cached, because to read the metadata of all packages takes milliseconds; it depends on the path alone.
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=GROUP), key=lambda entry_point: entry_point.name))


@lru_cache(maxsize=8)
def _seems_to_offer(path: tuple[str, ...]) -> bool:
    return any(map(_may_offer, dict.fromkeys(path)))


def _may_offer(place: str) -> bool:
    """Whether a package in ``place``, a folder or archive on the path, may have entry points of the group."""
    try:
        names = os.listdir(place or os.curdir)
    except NotADirectoryError:
        return True  # an archive
    except OSError:
        return False
    files = (os.path.join(place, name, "entry_points.txt") for name in names if name.endswith(_METADATA))
    return any(_SECTION in _content(file) for file in files)


_METADATA: Final = (".dist-info", ".egg-info", "EGG-INFO")
_SECTION: Final = f"[{GROUP}]".encode()


def _content(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError:
        return b""


def _load(entry_point: EntryPoint) -> Found:
    origin = origin_of(entry_point)
    try:
        loaded = entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {origin} cannot be loaded ({entry_point.value}: {type(error).__name__}: {error}); "
            "repair the package, or take the plugin off entry_points, or leave it out with Rolecall(blocked_plugins=…)"
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
    """Replace a class by an instance of it: an entry point or a name cannot carry an instance."""
    if not inspect.isclass(loaded):
        return loaded
    try:
        return loaded()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the {origin} is the class {loaded.__name__}, and making an instance of it failed "
            f"({type(error).__name__}: {error}); it is made without arguments"
        ) from error
