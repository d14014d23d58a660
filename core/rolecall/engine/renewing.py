"""The bounds of a renewed token: never more rights than the one before, and an end to all renewals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from math import ceil
from typing import Final, NamedTuple

from ..errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidData,
    NotRenewable,
    RenewedAlready,
    TokenNotYetValid,
    WrongActor,
)
from ..formats import TokenFormat
from ..request import Actor
from ..roles import Capability, Role, RoleTable
from ..tokens import MAX_TOTAL_LIFE, ExpireTime, Grant, TokenId, TokenOptions, leeway_used
from ..wording import moment, shown

# The parts of a token's life in each of which it can be renewed once, from outside.
_PARTS: Final = 4


class Wishes(NamedTuple):
    """What a renewal asks for, where it shall be less than the token has.

    :param role: the name of a role; None for the token's.
    :param expire_time: a life shorter than the token's; unchecked, as in ``generate_token``.
    :param data: None for the token's.
    :param layout: empty for the token's.
    """

    role: object = None
    expire_time: ExpireTime = None
    data: str | None = None
    layout: Iterable[str] = ()


def checked_total_life(value: object, argument: str = "max_total_life") -> float:
    """The argument ``max_total_life`` of a kit, in seconds, or a policy's that is like it.

    :raises ConfigurationError: if it is none, or longer than tokens may be renewed for.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= MAX_TOTAL_LIFE:
        raise ConfigurationError(
            f"{argument} is {shown(seconds)}; expected seconds, or a timedelta, from 1 to {MAX_TOTAL_LIFE} "
            "(12 hours): who steals a token can renew it for so long"
        )
    return float(seconds)


def check_renewable(grant: Grant, now: float, total_life: float, *, names_actor: bool) -> None:
    """Refuse to renew a token that is good by the leeway alone, or that no renewal can prolong.

    :param total_life: from the issue of the first token to the end of the last one, in seconds.
    :param names_actor: whether the new token will say for whom it is.
    """
    if late := leeway_used(grant, now):
        raise (ExpiredToken if now >= grant.expires_at else TokenNotYetValid)(f"a token is not renewed {late}")
    begun_at = grant.begun_at
    if begun_at is None:
        raise NotRenewable("the token was not minted by this service's own kit, and does not tell when it was begun")
    if now >= begun_at + total_life:
        raise NotRenewable(
            f"the token was begun at {moment(begun_at)} and can be renewed until {moment(begun_at + total_life)}: "
            "ask for a first token again"
        )
    if grant.actor_id is not None and not names_actor:
        raise NotRenewable("the token says for whom it is, and this kit's tokens do not: actor_claim is False")


def check_same_actor(actor: Actor | None, grant: Grant) -> None:
    """Refuse to renew a token for a login of somebody else than its actor."""
    if actor is not None and actor.id != grant.actor_id:
        raise WrongActor(
            "the token is for somebody else than who is logged in: ask for a first token, which is for the login"
        )


def renewed_options(
    asked: TokenOptions, grant: Grant, wishes: Wishes, form: TokenFormat, roles: RoleTable, total_life: float
) -> TokenOptions:
    """The options of a renewed token, before the policies narrow them.

    :param asked: the options as they were asked for, validated.
    :param form: the format of both tokens.
    :param total_life: see :func:`check_renewable`.
    :raises InvalidData: for other connection data, and for layout classes that the token does not have.
    :raises NotRenewable: if too little is left of its total life, or nothing of the role that is asked for.
    """
    if asked.data is not None and asked.data != (grant.data or ""):
        raise InvalidData("a renewed token keeps the connection data of the one before; leave data out")
    if not set(asked.layout) <= set(grant.layout):
        raise InvalidData("a renewed token has no layout classes but those of the one before")
    assert grant.begun_at is not None
    assert grant.issued_at is not None
    role, held = (grant.role, grant.capabilities) if wishes.role is None else _least(asked.role, grant, roles)
    if not form.carries(role, held):
        raise NotRenewable(f"no token of its format can hold what the token has of the role {str(asked.role)!r}")
    ends = min(
        asked.expires_at,
        asked.issued_at + int(grant.expires_at - grant.issued_at),
        int(grant.begun_at + total_life),
    )
    if ends < asked.issued_at + form.shortest_life:
        raise NotRenewable(f"the token can be renewed until {moment(grant.begun_at + total_life)}, which is too soon")
    made = TokenId.read(grant.token_id)
    return asked._replace(
        role=role,
        narrowed=None if held == role.capabilities else held,
        expires_at=ends,
        data=grant.data,
        layout=asked.layout or grant.layout,
        subject=grant.actor_id,
        begun_at=int(grant.begun_at),
        family=made and made.family,
    )


def _least(asked: Role, grant: Grant, roles: RoleTable) -> tuple[Role, frozenset[Capability]]:
    """What a token has of a role: the role to be written, and the capabilities."""
    held = grant.capabilities & asked.capabilities
    if held == grant.capabilities:
        return grant.role, held
    least = asked if held == asked.capabilities else roles.greatest_within(held)
    if least is None:
        raise NotRenewable(f"the token's role is {grant.role}, and no role is within both that and {asked}")
    return least, held


def part_of_life(grant: Grant, now: float) -> tuple[str, float]:
    """The part of a token's life that ``now`` is in, as a single-use id; and the part's end."""
    issued_at = grant.issued_at or 0.0
    length = (grant.expires_at - issued_at) / _PARTS
    part = int((now - issued_at) / length)
    return sha256(f"renewal\n{grant.token_id}\n{part}".encode()).hexdigest(), issued_at + (part + 1) * length


def renewed_already(ends: float, now: float) -> RenewedAlready:
    """The error for the second renewal in one part of a token's life.

    :param ends: the end of that part, in Unix seconds.
    """
    error = RenewedAlready(f"the token was renewed a moment ago; it can be again from {moment(ends)} on")
    error.retry_after = max(1, ceil(ends - now))
    return error
