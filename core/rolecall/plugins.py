"""Loading plugins, checking them at start-up, and collecting their votes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple

import pluggy

from . import hookspecs
from .driver import Driver
from .errors import PluginError, PolicyFault, shown
from .hookspecs import Actor
from .http.messages import Request
from .policy import Allow, Ballot, Decision, Deny, decide
from .roles import RoleTable

_PREFIX: Final = "rolecall_"
#: The plugin name of the kit's own rule.
BUILT_IN: Final = "rolecall"


class Implementation(NamedTuple):
    """One plugin's function for one hook, ready to be called."""

    plugin: str
    call: Callable[[object], object]


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
    implementations = (Implementation(item.plugin_name, _callable(item)) for item in found)
    return tuple(sorted(implementations, key=lambda item: item.plugin))


def _callable(implementation: pluggy.HookImpl) -> Callable[[object], object]:
    function = implementation.function
    # A plugin may leave out the argument that it does not use.
    return function if implementation.argnames else lambda _: function()


async def vote(
    implementations: Collection[Implementation],
    request: object,
    driver: Driver,
    built_in: Allow | None,
    roles: RoleTable,
) -> Decision:
    """Collect every plugin's vote on ``request``.

    :param built_in: the kit's own vote: it allows what the server's own code asks for, and abstains otherwise.
    """
    ballots = [await _ballot(item, request, driver, roles) for item in implementations]
    decision = decide([Ballot(BUILT_IN, built_in), *ballots])
    if not decision.allowed:
        _log_denials(decision, request)
    return decision


def _log_denials(decision: Decision, request: object) -> None:
    import logging  # not free to import, and rarely needed

    log = logging.getLogger("rolecall")
    asked = type(request).__name__
    if len(decision.ballots) == 1:
        log.warning("a %s was denied because no plugin votes on it; pass Rolecall(plugins=…) a policy", asked)
    for ballot in decision.ballots:
        if isinstance(ballot.vote, Deny):
            log.info("the policy %r denied a %s: %s %s", ballot.plugin, asked, ballot.vote.reason, ballot.vote.detail)


async def _ballot(implementation: Implementation, request: object, driver: Driver, roles: RoleTable) -> Ballot:
    try:
        answer = await _answer(implementation, request, driver)
    except (Exception, SystemExit) as error:
        return Ballot(implementation.plugin, fault=_raised(error))
    # Exact types, never truthiness: whatever else comes back is no vote for anything.
    if answer is None or type(answer) is Deny:
        return Ballot(implementation.plugin, answer)
    if type(answer) is not Allow:
        fault = f"it returned {shown(answer)}; a vote is None, Allow(…) or Deny(…)"
        return Ballot(implementation.plugin, fault=fault)
    if answer.max_role is not None and roles.find(answer.max_role) is None:
        fault = f"it set max_role to {shown(answer.max_role)}; the roles are {', '.join(roles)}"
        return Ballot(implementation.plugin, fault=fault)
    return Ballot(implementation.plugin, answer)


def _raised(error: BaseException) -> str:
    """What was raised and where; not its message, which could hold anything."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" in {frame.tb_frame.f_code.co_name}, line {frame.tb_lineno}"
    return f"it raised {type(error).__name__}{place}"


async def _answer(implementation: Implementation, request: object, driver: Driver) -> object:
    answer = implementation.call(request)
    if inspect.isawaitable(answer):
        return await driver.wait(answer)
    return answer


async def identify(implementations: Iterable[Implementation], request: Request, driver: Driver) -> Actor | None:
    """Who makes the request, if a plugin says so.

    :raises PolicyFault: if a plugin fails, answers something else than an actor, or two disagree.
    """
    actor: Actor | None = None
    for implementation in implementations:
        try:
            answer = await _answer(implementation, request, driver)
        except (Exception, SystemExit) as error:
            raise _identify_fault(implementation, _raised(error)) from error
        if answer is None:
            continue
        if type(answer) is not Actor:
            raise _identify_fault(implementation, f"it returned {shown(answer)}; expected an Actor or None")
        if actor is not None and actor != answer:
            raise _identify_fault(implementation, "it names another actor than a plugin before it")
        actor = answer
    return actor


def _identify_fault(implementation: Implementation, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {implementation.plugin!r} failed to identify: {fault}")
