"""What changes for an app that moves from one media service to another: its roles, its acts, and the limits."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from ..roles import Capability, Role
from ..tokens import duration
from .backend import TICKET_LIFE, MediaBackend, variable_of

#: What an app may want of a media service, in the words of the kit.
ACTS: Final = (
    "signal",
    "force_disconnect",
    "mute_stream",
    "mute_all",
    "list_streams",
    "list_connections",
    "disconnect_actor",
    "end_session",
)
#: The parts of a plan.
Part = Literal["role", "act", "limit", "setting"]
_AS_IT_IS: Final = "as it is"
_DONE: Final = "done"
_NOBODY: Final = "not done: its class has no service that acts"


class Change(NamedTuple):
    """What is otherwise at the other service, or stays.

    :param part: what it is about.
    :param subject: the role, the act, the limit or the setting.
    :param before: how it is now.
    :param after: how it will be.
    :param advice: what to do about it; empty if nothing is to be done.
    """

    part: Part
    subject: str
    before: str
    after: str
    advice: str = ""

    @property
    def is_one(self) -> bool:
        """Whether something changes."""
        return self.before != self.after


def plan(source: type[MediaBackend], target: type[MediaBackend], roles: Iterable[Role]) -> list[Change]:
    """What changes from one service to another, and what stays.

    It follows from what the backends say of their services; nobody is asked.

    :param roles: the app's roles.
    """
    return [
        *(_role(role, source, target) for role in roles),
        *(_act(act, source, target) for act in ACTS),
        *_limits(source, target),
        *_settings(target),
    ]


def wider(backend: type[MediaBackend], role: Role) -> frozenset[Capability]:
    """What the service grants to everybody that a role does not have."""
    return backend.always_granted - role.capabilities


def not_done(backend: type[MediaBackend]) -> dict[str, str]:
    """The acts that are not done at a service, or otherwise, each with why; all, if its class has no service."""
    has_service = backend.service is not MediaBackend.service
    return {**({} if has_service else dict.fromkeys(ACTS, _NOBODY)), **backend.acts}


def _does(act: str, backend: type[MediaBackend]) -> str:
    return not_done(backend).get(act, _DONE)


def _role(role: Role, source: type[MediaBackend], target: type[MediaBackend]) -> Change:
    before, after = (_held(role, backend) for backend in (source, target))
    advice = ""
    if target.names_roles:
        advice = "name it in the setting roles; what the name may do is settled at the service, and not checked here"
    if wider(target, role):
        advice = (
            f"its tickets are refused, unless accept_wider names it: the app then takes that {target.name} does not "
            "hold it back"
        )
    return Change("role", str(role), before, after, advice)


def _held(role: Role, backend: type[MediaBackend]) -> str:
    beyond = wider(backend, role)
    if backend.names_roles and not beyond:
        return "by the app's name for it"
    return f"would grant {', '.join(sorted(beyond))}, too" if beyond else _AS_IT_IS


def _act(act: str, source: type[MediaBackend], target: type[MediaBackend]) -> Change:
    before, after = (_does(act, backend) for backend in (source, target))
    advice = "" if after in (_DONE, before) else _ADVICE.get(act, "")
    if act == "mute_all" and any(_does(needed, target) != _DONE for needed in ("mute_stream", "list_streams")):
        advice = ""
    return Change("act", act, before, after, advice)


_ADVICE: Final = {
    "signal": "send it by the app's own channel",
    "force_disconnect": "exclude: no ticket is issued, and the one that is out ends within its life",
    "disconnect_actor": "an exclusion holds from the next join on",
    "mute_all": "mute the streams that list_streams has, one by one",
    "end_session": "the session gets no tickets; who is in stays until leaving",
}


def _limits(source: type[MediaBackend], target: type[MediaBackend]) -> Iterable[Change]:
    yield Change("limit", "life of a ticket", _life(source), _life(target))
    is_shorter = target.longest_identity < source.longest_identity
    advice = "longer ids of actors get no ticket" if is_shorter else ""
    identities = f"{source.longest_identity} bytes", f"{target.longest_identity} bytes"
    yield Change("limit", "id of an actor", *identities, advice)
    yield Change("limit", "name of a room", f"{source.longest_room} bytes", f"{target.longest_room} bytes")
    yield Change("limit", "rooms", _opened(source), _opened(target))


def _life(backend: type[MediaBackend]) -> str:
    return f"{duration(max(TICKET_LIFE, backend.shortest_life))}, at most {duration(backend.longest_life)}"


def _opened(backend: type[MediaBackend]) -> str:
    if backend.creates_sessions:
        return "created with their sessions, which have the service's ids"
    return "opened by the kit" if backend.opens_rooms else "opened by the service"


def _settings(target: type[MediaBackend]) -> Iterable[Change]:
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
            variable = variable_of(target.name, name)
            yield Change("setting", name, "", "needed", f"set {variable}, or {variable}_FILE")
    if choice := target.needs_one_of:
        variables = " or ".join(variable_of(target.name, name) for name in choice)
        yield Change("setting", " or ".join(choice), "", "one is needed", f"set {variables}, or that with _FILE")
