"""Loading plugins, and checking them at start-up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pluggy

from .. import hookspecs
from ..driver.threads import AppPool
from ..errors import PluginError
from ..hookspecs import Kit, Operation
from ..wording import nearest
from .sources import Found

if TYPE_CHECKING:
    from .operations import Operations

_PREFIX: Final = "rolecall_"
#: The names of all hooks.
HOOKS: Final = tuple(sorted(name for name in vars(hookspecs) if name.startswith(_PREFIX)))
#: The hooks and nothing else: pluggy examines each name of what it is given, and each kit anew.
_SPECIFICATIONS: Final = ModuleType(hookspecs.__name__)
vars(_SPECIFICATIONS).update({hook: getattr(hookspecs, hook) for hook in HOOKS})
_ARGUMENTS: Final = frozenset(("request", "event", "kit", "operation", "issuer"))
_OBSERVE: Final = "rolecall_observe"
_START_UP_HOOKS: Final = frozenset(
    hook for hook in HOOKS if "_register_" in hook or hook.endswith(("_startup", "_signing_keys"))
)
#: The plugin name of the kit's own rule.
BUILT_IN: Final = "rolecall"


class Implementation(NamedTuple):
    """One plugin's function for one hook, ready to call.

    :param plugin: the plugin's name.
    :param call: the function, which takes the request.
    :param is_async: whether it returns an awaitable.
    :param blocks: whether it is marked as blocking, so that it runs off the event loop.
    :param pool: the thread pool for a blocking function.
    """

    plugin: str
    call: Callable[[object], object]
    is_async: bool
    blocks: bool
    pool: str

    @classmethod
    def of(cls, plugin: str, function: Any, call: Callable[[Any], object], pool: str) -> Implementation:
        """The implementation ``function``, with its marks read; it is called through ``call``."""
        blocks = getattr(function, "rolecall_blocks", False) is True
        return cls(plugin, call, inspect.iscoroutinefunction(function), blocks, AppPool(pool))


class PluginInfo(NamedTuple):
    """One loaded plugin.

    :param name: its name in logs and traces.
    :param origin: where it comes from: an argument, or a package with its version.
    :param hooks: the hooks that it implements, in alphabetical order.
    """

    name: str
    origin: str
    hooks: tuple[str, ...]


class Plugins:
    """The plugins of one kit. They never change, so requests read them from plain tuples.

    :param blocked: names of plugins to leave out.
    :raises PluginError: for a plugin that cannot do what its author means; the message says what to change.
    """

    __slots__ = (
        "_manager",
        "create_session",
        "identify",
        "leaves_tokens_alone",
        "loaded",
        "media_service",
        "on_event",
        "operations",
        "token_claims",
        "vote_access",
        "vote_moderation",
        "vote_session",
        "vote_token",
    )

    def __init__(self, found: Iterable[Found] = (), blocked: Collection[str] = ()) -> None:
        self._manager = manager = pluggy.PluginManager("rolecall")
        manager.add_hookspecs(_SPECIFICATIONS)
        infos = (
            _register(manager, one) for one in found if plugin_name(one) not in blocked and one.name not in blocked
        )
        #: The loaded plugins, by name.
        self.loaded = tuple(sorted(infos))
        #: What shows operations to plugins; None if no plugin observes them.
        self.operations = self._observing()
        self.identify = self._observed("rolecall_identify")
        self.create_session = self._observed("rolecall_create_session")
        self.vote_session = self._observed("rolecall_vote_session")
        self.vote_token = self._observed("rolecall_vote_token")
        self.vote_access = self._observed("rolecall_vote_access")
        self.vote_moderation = self._observed("rolecall_vote_moderation")
        self.media_service = self._observed("rolecall_media_service")
        self.token_claims = self._observed("rolecall_token_claims")
        self.on_event = self._observed("rolecall_on_event")
        #: Whether no plugin has a part in the tokens that the server's own code mints.
        self.leaves_tokens_alone = not (self.vote_token or self.token_claims)

    def has(self, hook: str) -> bool:
        """Whether a plugin implements a hook."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def registered(self, hook: str, argument: object = None) -> Iterator[tuple[str, Any]]:
        """Call a start-up hook and return each plugin's answer with the plugin's name.

        :param argument: the hook's argument, if it has one.
        :raises PluginError: if one fails.
        """
        for implementation in self._implementations(hook):
            try:
                answer = implementation.call(argument)
                if inspect.isgenerator(answer):
                    answer = list(answer)
            except (Exception, SystemExit) as error:
                raise PluginError(
                    f"plugin {implementation.plugin}: {hook} raised {type(error).__name__}: {error}"
                ) from error
            if answer is not None:
                yield implementation.plugin, answer

    def start(self, kit: Kit) -> None:
        """Tell the plugins that the kit is ready.

        :raises PluginError: if one fails.
        """
        for implementation in self._implementations("rolecall_startup"):
            try:
                answer = implementation.call(kit)
            except (Exception, SystemExit) as error:
                raise PluginError(
                    f"plugin {implementation.plugin} failed to start: {type(error).__name__}: {error}"
                ) from error
            if inspect.iscoroutine(answer):
                answer.close()
                raise PluginError(
                    f"plugin {implementation.plugin}: rolecall_startup returned a coroutine, which nothing awaits"
                )

    def _observing(self) -> Operations | None:
        if not (observers := self._implementations(_OBSERVE)):
            return None
        from .operations import Operations

        return Operations([(observer.plugin, observer.call) for observer in observers])

    def _observed(self, hook: str) -> tuple[Implementation, ...]:
        """The implementations of a hook that is called at requests: observed, if a plugin observes."""
        implementations = self._implementations(hook)
        if (operations := self.operations) is None:
            return implementations

        def observed(one: Implementation) -> Implementation:
            observe = operations.observed_async if one.is_async else operations.observed
            return one._replace(call=observe(Operation("hook", hook, one.plugin), one.call))

        return tuple(map(observed, implementations))

    def _implementations(self, hook: str) -> tuple[Implementation, ...]:
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return tuple(sorted((_implementation(hook, item) for item in found), key=lambda item: item.plugin))


def _register(manager: pluggy.PluginManager, found: Found) -> PluginInfo:
    name, plugin = plugin_name(found), found.plugin
    described = f"plugin {name} ({found.origin})"
    if inspect.isclass(plugin):
        raise PluginError(f"{described} is a class; pass an instance of it: {name}()")
    if name == BUILT_IN:
        raise PluginError(f"{described}: the name is the kit's own; give the plugin a `name` of its own")
    if manager.has_plugin(name) or manager.is_registered(plugin):
        raise PluginError(f"{described}: two plugins have this name; give one a `name` attribute of its own")
    hooks = tuple(_hooks_of(plugin, described))
    if not hooks:
        raise PluginError(
            f"{described} implements no hook; mark its functions with @hookimpl. The hooks are {', '.join(HOOKS)}"
        )
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"{described}: {' '.join(str(error).split())}") from None
    return PluginInfo(name, found.origin, hooks)


def _hooks_of(plugin: object, described: str) -> Iterator[str]:
    for attribute in dir(plugin):
        function = inspect.getattr_static(plugin, attribute, None)
        function = getattr(function, "__func__", function)
        marked = getattr(function, "rolecall_impl", None)
        if marked is not None or (attribute.startswith(_PREFIX) and callable(function)):
            _check_hook(described, attribute, marked, function)
            if not inspect.isroutine(getattr(plugin, attribute)):
                # pluggy ignores it silently, so a request that it should deny would go through.
                raise PluginError(f"{described}: {attribute} is no function; write it with def or async def")
            _check_arguments(described, attribute, getattr(plugin, attribute))
            yield attribute


def _check_hook(plugin: str, hook: str, options: Any, function: Any) -> None:
    if options is not None and options.get("specname"):
        raise PluginError(f"{plugin}: {hook} has a specname; call the function after its hook")
    if hook not in HOOKS:
        close = nearest(hook, HOOKS)
        hint = f"; did you mean {close}?" if close else f"; the hooks are {', '.join(HOOKS)}"
        raise PluginError(f"{plugin}: there is no hook {hook}{hint}")
    if options is None:
        raise PluginError(f"{plugin}: {hook} is not marked with @hookimpl, so it would be ignored")
    if options.get("wrapper") or options.get("hookwrapper"):
        raise PluginError(f"{plugin}: {hook} is a wrapper, and Rolecall's hooks take none")
    for place in ("tryfirst", "trylast"):
        if options.get(place):
            raise PluginError(f"{plugin}: {hook} is marked {place}, and the order of plugins plays no part")
    for parameter in list(inspect.signature(function).parameters.values()):
        has_default = parameter.default is not parameter.empty
        # pluggy passes no argument for a parameter with a default, so the hook's own argument would be missing.
        if (has_default and parameter.name in _ARGUMENTS) or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise PluginError(
                f"{plugin}: {hook} has the parameter {parameter.name!r} with a default, as a keyword or with a star; "
                "a hook takes its argument plainly"
            )
    if hook == _OBSERVE and (inspect.iscoroutinefunction(function) or getattr(function, "rolecall_blocks", False)):
        raise PluginError(f"{plugin}: {hook} is an async def, or blocks; it is called in the midst of operations")
    if hook in _START_UP_HOOKS and inspect.iscoroutinefunction(function):
        raise PluginError(f"{plugin}: {hook} is an async def, and is called at start-up, where nothing awaits it")


def _check_arguments(plugin: str, hook: str, function: Callable[..., Any]) -> None:
    """Refuse arguments that the hook does not have: hooks are called by keyword."""
    known = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in known and parameter.default is parameter.empty:
            right = f"the argument is called {known[0]!r}" if known else "the hook has none"
            raise PluginError(f"{plugin}: {hook} has an argument {parameter.name!r}; {right}")


def plugin_name(found: Found) -> str:
    """The name of a plugin: its ``name``, else the entry point's, else the module's or the class's."""
    plugin = found.plugin
    given = getattr(plugin, "name", None)
    if isinstance(given, str) and given and not inspect.ismodule(plugin):
        return given
    if found.name is not None:
        return found.name
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return plugin.__name__
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"


def _implementation(hook: str, found: pluggy.HookImpl) -> Implementation:
    # A pool for each hook, so that calls that strangers can cause block nothing else when the plugin's backend hangs.
    pool = f"{hook} of the plugin {found.plugin_name!r}"
    return Implementation.of(found.plugin_name, found.function, _callable(found), pool)


def _callable(implementation: pluggy.HookImpl) -> Callable[[object], object]:
    function = implementation.function
    # A plugin may leave out an argument that it does not need.
    return function if implementation.argnames else lambda _: function()
