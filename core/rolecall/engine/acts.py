"""Carries out moderation acts at the media service that a plugin names; bounded in time, answers checked."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, NamedTuple, cast

from ..driver import Driver
from ..errors import Excluded, NoMediaService, PolicyFault, RolecallError, SessionEnded
from ..hookspecs import ModerationRequest
from ..media.backend import MediaBackend
from ..moderation import Act, Exclude, Result
from ..plugins import Implementation
from ..plugins.asking import answer_of, discard, raised
from ..stores.calling import Calls

_LOG: Final = logging.getLogger("rolecall")


class _Carrier(NamedTuple):
    """What acts in a session.

    :param name: the name of the plugin that names it, or of the media backend.
    :param service: it itself; None if nobody can act.
    :param backend: the media backend; None for a plugin's.
    """

    name: str
    service: object
    backend: MediaBackend | None = None

    @classmethod
    def of(cls, backend: MediaBackend) -> _Carrier:
        return cls(backend.name, backend.service, backend)

    def fails(self, act: str, error: RolecallError) -> bool:
        """Whether ``error`` is a failure of the act, and not what this service answers to it at all times."""
        if not isinstance(error, NoMediaService):
            return True
        known = "" if self.backend is None else self.backend.acts.get(act, "")
        return not known.startswith("not done") and callable(getattr(self.service, act, None))

    def refusal(self, act: str) -> NoMediaService:
        """The error for an act that it does not do."""
        if self.backend is None:
            return NoMediaService(f"{act}: the media service of the plugin {self.name!r} does not do it")
        reason = self.backend.acts.get(act, "").removeprefix("not done").removeprefix(": ")
        why = f": {reason}" if reason else ""
        return NoMediaService(f"{act} is not done at {self.name}{why}", f"the media service does not do this{why}")

    async def arguments(self, act: Act[Any], store: Calls) -> tuple[Any, ...]:
        """The arguments of its method for an act, with the service's own ids if they are remembered."""
        if self.backend is None or not self.backend.keeps_ids:
            return act.arguments
        from .service_ids import known_ids  # few services need it

        return (*act.arguments, await known_ids(self.backend, act.session_id, act.target, store))


_NOBODY: Final = _Carrier("", None)


@dataclass(frozen=True, slots=True)
class _Disconnect(Act[None]):
    """End all connections of an actor."""

    name: ClassVar[str] = "disconnect_actor"

    session_id: str
    actor_id: str

    @property
    def target(self) -> str:
        return self.actor_id

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.session_id, self.actor_id)


@dataclass(frozen=True, slots=True)
class _End(Act[None]):
    """End a session at its media service."""

    name: ClassVar[str] = "end_session"

    session_id: str

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.session_id,)


async def end_at_service(
    session_id: str, api_key: str, now: float, driver: Driver, deadline: float, own: MediaBackend, store: Calls
) -> None:
    """Have the service of a media backend end a session. A failure is logged: the session has ended in any case."""
    act, carrier = _End(session_id), _Carrier.of(own)
    try:
        await _carry_out(act, carrier, ModerationRequest(act, None, api_key, now), driver, deadline, store)
    except RolecallError as error:
        if carrier.fails(act.name, error):
            _LOG.warning("a session was ended, and its media service has not ended its room: %s", error)


async def put_out(
    error: SessionEnded | Excluded,
    session_id: str,
    actor_id: str,
    asked: tuple[str, float],
    driver: Driver,
    deadline: float,
    backend: MediaBackend,
    store: Calls,
) -> bool:
    """Have the service of a media backend put out whoever has joined and is to stay out; return whether it has.

    :param error: why: after the end of the session everybody is put out.
    :param asked: the project of the session, and now, in Unix seconds.
    :raises RolecallError: if the service is out of order; then the service's webhook is to come again.
    """
    act: Act[None] = _End(session_id) if isinstance(error, SessionEnded) else _Disconnect(session_id, actor_id)
    try:
        await _carry_out(act, _Carrier.of(backend), ModerationRequest(act, None, *asked), driver, deadline, store)
    except NoMediaService as lack:
        _LOG.warning("somebody joined who is to stay out (%s), and stays in: %s", error.code, lack)
        return False
    return True


def log_place_left(name: str, error: RolecallError) -> None:
    """Log that a media backend has not taken back the place of a ticket that was refused."""
    _LOG.warning("a ticket was refused, and %s has not taken back the place in the room: %s", name, error)


async def disconnect(
    act: Exclude,
    implementations: Collection[Implementation],
    request: ModerationRequest,
    driver: Driver,
    deadline: float,
    own: MediaBackend | None,
    store: Calls,
) -> bool:
    """Have the media service end all connections of an excluded actor, and return whether it has.

    A failure is logged: the actor is excluded in any case.
    """
    done, carrier = _Disconnect(*act.arguments), _NOBODY
    try:
        carrier = await _carrier(act, implementations, request, driver, deadline, own)
        await _carry_out(done, carrier, request, driver, deadline, store)
    except RolecallError as error:
        if carrier.fails(done.name, error):
            _LOG.warning("an actor was excluded, and the media service has not ended its connections: %s", error)
        return False
    return True


async def carry_out(
    act: Act[Result],
    implementations: Collection[Implementation],
    request: ModerationRequest,
    driver: Driver,
    deadline: float,
    own: MediaBackend | None,
    store: Calls,
) -> Result:
    """Have a media service carry out an act, and return its answer.

    :param request: the request with this act.
    :param own: the session's media backend, whose service acts where no plugin names one.
    :param store: remembers the service's ids.
    :raises NoMediaService: if no plugin names a service that has the act.
    :raises PolicyFault: if a plugin or the service fails, or if two plugins name a service.
    :raises RolecallError: the service's own, unchanged.
    """
    carrier = await _carrier(act, implementations, request, driver, deadline, own)
    return await _carry_out(act, carrier, request, driver, deadline, store)


async def _carry_out(
    act: Act[Result], carrier: _Carrier, request: ModerationRequest, driver: Driver, deadline: float, store: Calls
) -> Result:
    plugin, service, _ = carrier
    try:
        method = getattr(service, act.name, None)
    except Exception as error:
        raise _fault(plugin, raised(error, deadline)) from error
    if not callable(method):
        raise carrier.refusal(act.name)
    arguments = await carrier.arguments(act, store)
    if problem := _misfit(method, act, arguments):
        raise _fault(plugin, problem)
    calling = Implementation(
        plugin,
        lambda _: method(*arguments),
        inspect.iscoroutinefunction(method),
        True,  # calls of a service always count as blocking
        f"the media service of {plugin!r}",
    )
    answer = await answer_of(calling, request, driver, deadline, _failed, (RolecallError,))
    if discard(answer):
        raise _fault(plugin, f"{act.name} returned a coroutine; a method that awaits is an async def")
    if problem := act.problem_with(answer):
        raise _fault(plugin, f"{act.name} {problem}")
    return cast(Result, answer)


async def _carrier(
    act: Act[Any],
    implementations: Collection[Implementation],
    request: ModerationRequest,
    driver: Driver,
    deadline: float,
    own: MediaBackend | None,
) -> _Carrier:
    """The media service that a plugin names, or that of the session's backend."""
    choice: _Carrier | None = None
    for one in implementations:
        answer = await answer_of(one, request, driver, deadline, _failed, (RolecallError,))
        if answer is None:
            continue
        if discard(answer):
            raise _fault(one.plugin, "it returned a coroutine; an implementation that awaits is an async def")
        if choice is not None:
            raise _fault(one.plugin, "another plugin has named the session's media service already")
        choice = _Carrier(one.plugin, answer)
    if choice is None and own is not None:
        return _Carrier.of(own)
    if choice is None:
        raise NoMediaService(
            f"{act.name}: no media service carries this session; pass Rolecall(media=…), or set ROLECALL_MEDIA, or "
            "load a plugin with rolecall_media_service"
        )
    return choice


def _misfit(method: Callable[..., object], act: Act[Any], arguments: tuple[Any, ...]) -> str | None:
    """The reason why a service's method does not fit the arguments of an act; None if it fits."""
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        further = ["ids"] if len(arguments) > len(act.arguments) else []
        names = ", ".join([*(field.name for field in fields(cast(Any, act))), *further])
        return f"{act.name} takes other arguments than ({names}), by position: {error}"
    except ValueError:  # functions in C may have no signature
        return None
    return None


async def asked(backend: MediaBackend, method: str, driver: Driver, deadline: float, *arguments: object) -> object:
    """Ask a media backend for something; bounded in time.

    :param method: the name of its method, which is an ``async def``.
    :param arguments: the arguments of the method, by position.
    :raises PolicyFault: if it fails.
    :raises RolecallError: the backend's own, unchanged.
    """
    calling = Implementation(
        backend.name,
        lambda _: getattr(backend, method)(*arguments),
        True,
        True,  # calls of a service always count as blocking
        f"the media service {backend.name!r}",
    )
    return await answer_of(calling, None, driver, deadline, _backend_failed, (RolecallError,))


def backend_fault(name: str, fault: str) -> PolicyFault:
    """The error for a media backend that fails."""
    return PolicyFault(f"the media service {name!r} failed: {fault}").at("media service")


def _backend_failed(implementation: Implementation, fault: str) -> PolicyFault:
    return backend_fault(implementation.plugin, fault)


def _failed(implementation: Implementation, fault: str) -> PolicyFault:
    return _fault(implementation.plugin, fault)


def _fault(plugin: str, fault: str) -> PolicyFault:
    return PolicyFault(f"the plugin {plugin!r} failed to moderate: {fault}").at("media service")
