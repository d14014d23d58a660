"""Loading plugins, and checking them at start-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import pluggy

from . import hookspecs
from .errors import PluginError, shown

_PREFIX: Final = "rolecall_"
#: The plugin name of the kit's own rule.
BUILT_IN: Final = "rolecall"


class Implementation(NamedTuple):
    """One plugin's function for one hook, ready to be called.

    :param plugin: the plugin's name.
    :param call: the function, which takes the request.
    :param is_async: whether what it returns is to be awaited.
    :param blocks: whether it asks to be kept off an event loop.
    """

    plugin: str
    call: Callable[[object], object]
    is_async: bool
    blocks: bool


class Plugins:
    """The plugins of one kit. They are fixed once it is made, so requests find them in plain tuples.

    :raises PluginError: for a plugin that could not do what its author means; the message says what to change.
    """

    __slots__ = ("identify", "names", "vote_access", "vote_session", "vote_token")

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        manager = pluggy.PluginManager("rolecall")
        manager.add_hookspecs(hookspecs)
        if not isinstance(plugins, Iterable) or isinstance(plugins, str):
            raise PluginError(f"plugins is {shown(plugins)}; expected a list: plugins=[…]")
        for plugin in plugins:
            _register(manager, plugin)
        self.names = tuple(sorted(name for name, _ in manager.list_name_plugin()))
        self.identify = _implementations(manager, "rolecall_identify")
        self.vote_session = _implementations(manager, "rolecall_vote_session")
        self.vote_token = _implementations(manager, "rolecall_vote_token")
        self.vote_access = _implementations(manager, "rolecall_vote_access")


def _register(manager: pluggy.PluginManager, plugin: object) -> None:
    name = _name(plugin)
    if inspect.isclass(plugin):
        raise PluginError(f"plugin {name} is a class; pass an instance of it: {name}()")
    if name == BUILT_IN:
        raise PluginError(f"the name {BUILT_IN!r} is the kit's own; give the plugin a `name` attribute of its own")
    if manager.has_plugin(name) or manager.is_registered(plugin):
        raise PluginError(f"two plugins have the name {name!r}; give one a `name` attribute of its own")
    known = {hook for hook in vars(hookspecs) if hook.startswith(_PREFIX)}
    found = False
    for attribute in dir(plugin):
        function = inspect.getattr_static(plugin, attribute, None)
        function = getattr(function, "__func__", function)
        marked = getattr(function, "rolecall_impl", None)
        if marked is None and not (attribute.startswith(_PREFIX) and callable(function)):
            continue
        _check_hook(name, attribute, marked, known)
        found = True
    if not found:
        raise PluginError(
            f"plugin {name} implements no hook; mark its functions with @hookimpl. "
            f"The hooks are {', '.join(sorted(known))}"
        )
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"plugin {name}: {error}") from None


def _check_hook(plugin: str, hook: str, options: Any, known: set[str]) -> None:
    if options is not None and options.get("specname"):
        raise PluginError(f"plugin {plugin}: {hook} has a specname; call the function after its hook")
    if hook not in known:
        raise PluginError(f"plugin {plugin}: there is no hook {hook}; the hooks are {', '.join(sorted(known))}")
    if options is None:
        raise PluginError(f"plugin {plugin}: {hook} is not marked with @hookimpl, so it would be ignored")
    if options.get("wrapper") or options.get("hookwrapper"):
        raise PluginError(f"plugin {plugin}: {hook} is a wrapper; hooks that decide take none")


def _name(plugin: object) -> str:
    given = getattr(plugin, "name", None)
    if isinstance(given, str) and given and not inspect.ismodule(plugin):
        return given
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return plugin.__name__
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _implementations(manager: pluggy.PluginManager, hook: str) -> tuple[Implementation, ...]:
    found = getattr(manager.hook, hook).get_hookimpls()
    return tuple(sorted((_implementation(item) for item in found), key=lambda item: item.plugin))


def _implementation(found: pluggy.HookImpl) -> Implementation:
    function = found.function
    is_async = inspect.iscoroutinefunction(function)
    blocks = getattr(function, "rolecall_blocks", False) is True
    return Implementation(found.plugin_name, _callable(found), is_async, blocks)


def _callable(implementation: pluggy.HookImpl) -> Callable[[object], object]:
    function = implementation.function
    # A plugin may leave out the argument that it does not use.
    return function if implementation.argnames else lambda _: function()
