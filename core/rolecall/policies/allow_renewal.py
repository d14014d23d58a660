"""A policy that lets bearers renew their tokens."""

from __future__ import annotations

from datetime import timedelta

from ..engine.renewing import checked_total_life
from ..hookspecs import TokenRequest, hookimpl
from ..policy import Allow, Vote
from ..tokens import MAX_TOTAL_LIFE
from .arguments import checked_name


class AllowRenewal:
    """Who has a token for an actor may renew it without a login, for a while.

    So a call may last for hours on tokens of minutes, and whoever is excluded, or is no longer allowed by another
    policy, gets no more of them. A token for nobody is not renewed: nothing would tell whose it is. Other policies vote
    on renewals, too, and may deny or limit them. It abstains on all other requests, and on those of the server's own
    code.

    :param total_life: from the issue of a token to the end of its last renewal, in seconds or as a ``timedelta``; 12
        hours at most. The kit's ``max_total_life`` counts, too.
    :param name: the policy's name.
    :raises ConfigurationError: for a life that is none, or longer.
    """

    def __init__(self, total_life: float | timedelta = MAX_TOTAL_LIFE, *, name: str = "allow_renewal") -> None:
        self._total_life = checked_total_life(total_life, "total_life")
        self.name = checked_name(name)

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        renewed = request.renewed
        if renewed is None or renewed.actor_id is None or renewed.begun_at is None or request.http is None:
            return None
        ends = renewed.begun_at + self._total_life
        if request.now >= ends:
            return None
        return Allow(latest_expiry=ends, renewal=True, reason="bearers may renew their tokens")
