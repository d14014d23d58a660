"""Calls plugins at a request: in turn, timed, within a deadline, with every answer checked."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from os.path import basename
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from ..actors import problem_with_actor
from ..driver import Driver
from ..driver.threads import PoolExhausted
from ..encoding import strict_json
from ..errors import PluginError, PolicyFault, RolecallError
from ..hookspecs import SessionRequest, TokenRequest
from ..policy import Allow, Ballot, Decision, Deny, Limit, Limits
from ..request import Actor, Request
from ..roles import RoleTable
from ..wording import printable, shown
from . import BUILT_IN, Implementation

if TYPE_CHECKING:
    from ..events import Event

#: The most claims that plugins add to one token; with the kit's own, strict JSON still allows them.
MAX_OWN_CLAIMS: Final = 32
_MAX_CLAIM_NAME: Final = 64


async def vote(
    implementations: Collection[Implementation],
    request: object,
    built_in: Allow | None,
    roles: RoleTable,
    driver: Driver,
    deadline: float,
) -> Decision:
    """Collect every plugin's vote on ``request``.

    :param implementations: sorted by plugin name, so that the order of loading does not matter.
    :param built_in: the kit's own vote: it allows requests of the server's own code, and abstains on all others.
    :param deadline: seconds for each implementation.
    """
    ballots = [Ballot(BUILT_IN, built_in)]
    for implementation in implementations:
        plugin, call, is_async, blocks, _ = implementation
        started = perf_counter()
        try:
            if is_async or blocks or driver.hooks_block:
                answer = await _wait(implementation, request, driver, deadline)
            else:
                answer = call(request)
        except BaseException as error:
            driver.pass_through(error)
            _log_stack(plugin, error)
            ballots.append(Ballot(plugin, None, raised(error, deadline), perf_counter() - started, error))
            continue
        seconds = perf_counter() - started
        if seconds > deadline:
            ballots.append(Ballot(plugin, None, _late(seconds, deadline), seconds))
        elif _is_vote(answer, roles):
            ballots.append(Ballot(plugin, answer, "", seconds))  # type: ignore[arg-type]
        else:
            ballots.append(Ballot(plugin, None, _no_vote(answer, roles), seconds))
    return Decision(tuple(ballots))


async def identify(
    implementations: Collection[Implementation], request: Request, driver: Driver, deadline: float
) -> Actor | None:
    """Who makes the request, if the adapter or a plugin knows; else None.

    :raises PolicyFault: if a plugin fails, if it returns anything but an actor or None, or if two plugins disagree.
    """
    actor: Actor | None = request.actor
    for implementation in implementations:
        answer = await answer_of(implementation, request, driver, deadline, _identify_fault)
        if answer is None:
            continue
        if type(answer) is not Actor:
            discard(answer)
            raise _identify_fault(implementation, f"it returned {shown(answer)}; expected an Actor or None")
        if problem := problem_with_actor(answer):
            raise _identify_fault(implementation, problem)
        if actor is not None and not _same(actor, answer):
            raise _identify_fault(implementation, "it names another actor than the app, or a plugin before it")
        actor = answer
    return actor


def check_framework(actor: Actor | None) -> None:
    """Refuse an actor that nobody can be, whom the framework has found out.

    :raises PolicyFault: says what is wrong with it.
    """
    problem = None if actor is None else problem_with_actor(actor)
    if problem is not None:
        raise PolicyFault(f"the framework failed to identify: {problem}").at("identify")


async def provide_session(
    implementations: Collection[Implementation], request: SessionRequest, driver: Driver, deadline: float
) -> str | None:
    """The id of a session that a plugin has created elsewhere; None if no plugin has.

    :raises PolicyFault: if a plugin fails, if it returns anything but an id or None, or if two have created a session.
    :raises RolecallError: a plugin's own, unchanged.
    """
    created: str | None = None
    for implementation in implementations:
        answer = await answer_of(implementation, request, driver, deadline, _provider_fault, (RolecallError,))
        if answer is None:
            continue
        if not isinstance(answer, str):
            discard(answer)
            raise _provider_fault(implementation, f"it returned {shown(answer)}; expected a session id or None")
        if created is not None:
            raise _provider_fault(implementation, "another plugin has created the session already")
        created = answer
    return created


async def claims(
    implementations: Collection[Implementation],
    request: TokenRequest,
    reserved: Collection[str],
    driver: Driver,
    deadline: float,
) -> dict[str, Any]:
    """Collect the claims that plugins add to a token.

    :param reserved: the claims that no plugin may set.
    :raises PolicyFault: if a plugin fails, if it returns claims that no token can carry, or if two plugins disagree.
    """
    collected: dict[str, Any] = {}
    for implementation in implementations:
        answer = await answer_of(implementation, request, driver, deadline, _claims_fault)
        for name, value in _checked_claims(implementation, answer, reserved).items():
            if _json(collected.setdefault(name, value)) != _json(value):
                raise _claims_fault(implementation, f"it sets {shown(name)} to another value than a plugin before it")
        if len(collected) > MAX_OWN_CLAIMS:
            raise _claims_fault(implementation, f"with its claims there are more than {MAX_OWN_CLAIMS}")
    return collected


class Reservations:
    """The reservations of the votes on one request: taken when a block begins, released if the block raises.

    Reservations that can be released are taken first. A count cannot be released; so it is taken only when nothing but
    another count can still refuse.

    :raises PolicyDenied: if a reservation is refused.
    :raises PolicyFault: if a plugin fails to reserve.
    """

    __slots__ = ("_deadline", "_driver", "_request_type", "_taken", "_votes")

    def __init__(
        self,
        implementations: Collection[Implementation],
        decision: Decision,
        request: object,
        driver: Driver,
        deadline: float,
    ) -> None:
        blocking = {implementation.plugin for implementation in implementations if implementation.blocks}
        self._votes = [
            (ballot.plugin, ballot.vote, ballot.plugin in blocking)
            for ballot in decision.ballots
            if isinstance(ballot.vote, Limits) and ballot.vote.reserve is not None
        ]
        self._votes.sort(key=lambda reserving: reserving[1].release is None)
        self._request_type = type(request).__name__
        self._driver = driver
        self._deadline = deadline
        self._taken: list[Implementation] = []

    async def __aenter__(self) -> None:
        try:
            for plugin, vote, blocks in self._votes:
                release = None if vote.release is None else _part_of(plugin, vote.release, blocks)
                if release is not None:
                    self._taken.append(release)  # before the answer: a call that fails or is late may have reserved
                denial = await self._reserve(_part_of(plugin, vote.reserve, blocks))
                if denial is not None:
                    if release is not None:
                        self._taken.remove(release)
                    _log_denial(plugin, denial, self._request_type)
                    raise denial.error().at(f"policy {plugin}")
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, GeneratorExit):  # a coroutine that is being closed can await nothing
            return
        while self._taken:
            await self._release(self._taken.pop())

    async def _reserve(self, implementation: Implementation) -> Deny | None:
        answer = await self._answer(implementation, _reservation_fault)
        if answer is None or type(answer) is Deny:
            return answer
        raise _reservation_fault(implementation, f"it returned {shown(answer)}; expected None or Deny(…)")

    async def _release(self, implementation: Implementation) -> None:
        try:
            await self._answer(implementation, _release_fault)
        except PolicyFault as fault:
            import logging

            logging.getLogger("rolecall").error("%s", fault)

    async def _answer(
        self, implementation: Implementation, fault: Callable[[Implementation, str], PolicyFault]
    ) -> object:
        answer = await answer_of(implementation, None, self._driver, self._deadline, fault)
        if not inspect.iscoroutine(answer):
            return answer
        # Only the call shows that a lambda, or a method behind one, is async.
        coroutine = implementation._replace(call=lambda _: answer, is_async=True)
        return await answer_of(coroutine, None, self._driver, self._deadline, fault)


def _part_of(plugin: str, function: Any, blocks: bool) -> Implementation:
    """A function in a plugin's vote; it runs where the plugin's vote ran, unless the function has its own mark."""
    pool = f"reservations of the plugin {plugin!r}"
    implementation = Implementation.of(plugin, function, lambda _: function(), pool)
    return implementation._replace(blocks=implementation.blocks or blocks)


async def tell(implementations: Collection[Implementation], event: Event, driver: Driver, deadline: float) -> None:
    """Tell the plugins of an event. Failures are logged, and change nothing."""
    for implementation in implementations:
        try:
            if discard(await _wait(implementation, event, driver, deadline)):
                raise PluginError("it returned a coroutine; an implementation that awaits is an async def")
        except BaseException as error:
            driver.pass_through(error)
            if isinstance(error, PoolExhausted):
                continue  # the pool has logged it
            _log_stack(implementation.plugin, error)
            import logging

            logging.getLogger("rolecall").error(
                "the plugin %r failed on the event %s: %s", implementation.plugin, event.name, raised(error, deadline)
            )


async def answer_of(
    implementation: Implementation,
    request: object,
    driver: Driver,
    deadline: float,
    fault: Callable[[Implementation, str], RolecallError],
    as_it_is: tuple[type[BaseException], ...] = (),
) -> object:
    """Call a plugin and return its answer, which must come in time.

    :param as_it_is: exception types that reach the caller unchanged.
    :raises PolicyFault: made by ``fault``, if the plugin fails or is late.
    """
    started = perf_counter()
    try:
        answer = await _wait(implementation, request, driver, deadline)
    except BaseException as error:
        driver.pass_through(error)
        if isinstance(error, as_it_is):
            raise
        _log_stack(implementation.plugin, error)
        raise fault(implementation, raised(error, deadline)) from error
    seconds = perf_counter() - started
    if seconds > deadline:
        raise fault(implementation, _late(seconds, deadline))
    return answer


def _checked_claims(implementation: Implementation, answer: object, reserved: Collection[str]) -> Mapping[str, Any]:
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        discard(answer)
        raise _claims_fault(implementation, f"it returned {shown(answer)}; expected claims by name, or None")
    try:
        parsed = strict_json.loads(json.dumps(dict(answer), allow_nan=False).encode())
    except Exception:  # also the exceptions of a plugin's own mapping
        raise _claims_fault(implementation, "it returned claims that strict JSON cannot hold") from None
    for name in parsed:
        if name in reserved or not 0 < len(name) <= _MAX_CLAIM_NAME:
            raise _claims_fault(implementation, f"it sets the claim {shown(name)}, which is not for plugins to set")
    return parsed


def _claims_fault(implementation: Implementation, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {implementation.plugin!r} failed to add claims: {fault}").at("claims")


async def _wait(implementation: Implementation, request: object, driver: Driver, deadline: float) -> object:
    if implementation.is_async:
        return await driver.wait(implementation.call(request), deadline)  # type: ignore[arg-type]
    if implementation.blocks or driver.hooks_block:
        return await driver.run(implementation.pool, deadline, implementation.call, request)
    return implementation.call(request)


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # an actor's attributes may not be comparable
        return False


def _is_vote(answer: object, roles: RoleTable) -> bool:
    # Exact types, never truthiness: no other value counts as a vote.
    if type(answer) is Allow or type(answer) is Limit:
        return answer.max_role is None or roles.knows(answer.max_role)
    return answer is None or type(answer) is Deny


def _no_vote(answer: object, roles: RoleTable) -> str:
    if type(answer) is Allow or type(answer) is Limit:
        return f"it set max_role to {shown(answer.max_role)}; the roles are {', '.join(roles)}"
    if inspect.iscoroutine(answer):
        discard(answer)
        return "it returned a coroutine; a vote that awaits is an async def"
    return f"it returned {shown(answer)}; a vote is None, Allow(…), Limit(…) or Deny(…)"


def discard(answer: object) -> bool:
    """Whether ``answer`` is a coroutine, which nobody awaits; if so, it is closed."""
    if not inspect.iscoroutine(answer):
        return False
    answer.close()
    return True


def _json(value: object) -> str:
    # Python takes 1 and True for equal, JSON does not.
    return json.dumps(value, default=dict, sort_keys=True)


def _late(seconds: float, deadline: float) -> str:
    return f"it took {seconds:.3g} s; its deadline is {deadline:g} s"


def raised(error: BaseException, deadline: float) -> str:
    """The exception's type and place; its message, which could hold anything, only if it is one of the kit's own."""
    if isinstance(error, TimeoutError):
        return f"it raised TimeoutError, or outlived its deadline of {deadline:g} s"
    if isinstance(error, PoolExhausted):
        return f"it was not called: {error}"
    if isinstance(error, RolecallError):
        return f"it raised {type(error).__name__}: {error}"
    place = ""
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        place = f" in {code.co_name} ({basename(code.co_filename)}, line {frame.tb_lineno})"
        frame = frame.tb_next
    return f"it raised {type(error).__name__}{place}"


def _log_stack(plugin: str, error: BaseException) -> None:
    """Log where a plugin failed, for its author: without the message or the source, which could hold anything."""
    if isinstance(error, PoolExhausted):
        return  # it was not called
    import logging  # not free to import, and rarely needed
    from traceback import walk_tb

    frames = (
        f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}" for frame, line in walk_tb(error.__traceback__)
    )
    logging.getLogger("rolecall").error(
        "the plugin %r raised %s at\n%s", plugin, type(error).__name__, "\n".join(frames)
    )


def _provider_fault(implementation: Implementation, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {implementation.plugin!r} failed to create a session: {fault}").at("session")


def _reservation_fault(implementation: Implementation, fault: str) -> PolicyFault:
    plugin = implementation.plugin
    return PolicyFault(f"the plugin {plugin!r} failed to reserve: {fault}").at(f"policy {plugin}")


def _release_fault(implementation: Implementation, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {implementation.plugin!r} failed to release what it had reserved: {fault}")


def _identify_fault(implementation: Implementation, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {implementation.plugin!r} failed to identify: {fault}").at("identify")


def log_refusal(decision: Decision, request: object) -> None:
    """Log why a request was denied: by which policies, or because no policy allowed it."""
    import logging

    log = logging.getLogger("rolecall")
    request_type = type(request).__name__
    denials = [(ballot.plugin, ballot.vote) for ballot in decision.ballots if isinstance(ballot.vote, Deny)]
    for plugin, denial in denials:
        _log_denial(plugin, denial, request_type)
    if denials or any(ballot.fault for ballot in decision.ballots):
        return
    plugins = [ballot.plugin for ballot in decision.ballots if ballot.plugin != BUILT_IN]
    if plugins:
        log.info("a %s was denied: every policy abstained (%s)", request_type, ", ".join(plugins))
    else:
        log.warning("a %s was denied because no plugin votes on it; pass Rolecall(plugins=…) a policy", request_type)


def _log_denial(plugin: str, denial: Deny, asked: str) -> None:
    import logging

    said = printable(f"{denial.reason} {denial.detail}").rstrip()
    logging.getLogger("rolecall").info("the policy %r denied a %s: %s", plugin, asked, said)
