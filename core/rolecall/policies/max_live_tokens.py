"""A policy that limits the number of live tokens."""

from __future__ import annotations

from functools import partial

from ..errors import ConfigurationError
from ..events import Event, SessionClosed, TokenIssued, TokenRevoked
from ..hookspecs import TokenRequest, blocking, hookimpl
from ..policy import Deny, Limit, Vote
from ..stores.leases import Full, Slot
from ..tokens import Grant, lineage
from ..wording import shown
from .counting import Counting


class MaxLiveTokens(Counting):
    """Limits the number of live tokens of each session, of each actor, or both.

    A place is taken after all policies have allowed the token, in one step, so that no two workers take the last place.
    It is held until the requested token would expire (without the kit's leeway), is revoked, or its session ends. If
    the issued token lives shorter, so does its place; a refused request gives its place back. If a worker dies or the
    store fails in between, the place stays taken until then, so that the limit is never exceeded. The counts are in the
    kit's store. This policy never allows: another policy has to. A token and its renewals have one place, until the end
    of the one that was renewed last.

    :param per_session: the most live tokens of one session, including those for the server's own code.
    :param per_actor: the most live tokens of one identified actor. Requests from outside without an identified actor
        are denied (``"not_identified"``); requests of the server's own code for nobody are not counted.
    :param name: the policy's name. Policies with the same name, on the same store, share their counts.
    :raises ConfigurationError: for numbers that are no counts; and at the kit's start if its store has no leases.
    """

    def __init__(
        self,
        *,
        per_session: int | None = None,
        per_actor: int | None = None,
        name: str = "max_live_tokens",
    ) -> None:
        super().__init__(name)
        if per_session is None and per_actor is None:
            raise ConfigurationError("nothing is limited; pass per_session, per_actor, or both")
        for argument, value in (("per_session", per_session), ("per_actor", per_actor)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"{argument} is {shown(value)}; expected a count of 1 or more")
        self._per_session = per_session
        self._per_actor = per_actor

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        actor_id = request.actor_id
        if actor_id is None and self._per_actor is not None and request.http is not None:
            return Deny("tokens are counted for each user, and nobody was identified", code="not_identified")
        if request.renewed is not None:
            return self._vote_on_renewal(request, request.renewed)
        slots = self._slots(request.session_id, actor_id, request.expires_at)
        if full := self._leases.full_slot(*slots):
            return self._denial(full, request.session_id)
        return Limit(
            reason="there is a place for one more token",
            reserve=partial(self._reserve, request.session_id, self._lease(request.call_id), slots),
            release=partial(self._release, request.call_id),
        )

    def _vote_on_renewal(self, request: TokenRequest, renewed: Grant) -> Vote:
        # The place of the first token goes on, so that there may be none free for another one.
        lease = self._lease(lineage(renewed.token_id))
        slots = self._slots(request.session_id, request.actor_id, max(request.expires_at, renewed.expires_at))
        # Not released if the request is refused after all: the token before is still live.
        return Limit(reason="the token has a place", reserve=partial(self._reserve, request.session_id, lease, slots))

    @hookimpl
    @blocking
    def rolecall_on_event(self, event: Event) -> None:
        if isinstance(event, TokenIssued):
            if event.renewed is not None:
                return  # its place is held until the end that was asked for
            # As other policies have left its life; and even if its place was lost: the token exists, so it counts.
            actor_id = None if event.actor is None else event.actor.id
            slots = self._slots(event.session_id, actor_id, event.expires_at)
            self._leases.keep(self._lease(event.call_id), *slots)
        elif isinstance(event, TokenRevoked):
            self._release(lineage(event.token_id))  # a token has the call that issued it in its id
        elif isinstance(event, SessionClosed):
            self._leases.drop_slot(self._key("session", event.session_id))

    def _slots(self, session_id: str, actor_id: str | None, until: float) -> list[Slot]:
        # The session's always, because the end of a session frees the places of its actors, too.
        slots = [Slot(self._key("session", session_id), self._per_session, until)]
        if actor_id is not None and self._per_actor is not None:
            slots.append(Slot(self._key("actor", actor_id), self._per_actor, until))
        return slots

    def _reserve(self, session_id: str, lease: str, slots: list[Slot]) -> Deny | None:
        # Another request may have taken the last place since the vote.
        full = self._leases.take(lease, *slots)
        return None if full is None else self._denial(full, session_id)

    def _release(self, call_id: str) -> None:
        self._leases.drop(self._lease(call_id))

    def _denial(self, full: Full, session_id: str) -> Deny:
        is_session = full.key == self._key("session", session_id)
        who, most = ("the session has", self._per_session) if is_session else ("you have", self._per_actor)
        tokens = "token" if most == 1 else "tokens"
        return Deny(f"{who} {most} live {tokens}, which is the most there may be", code="too_many_tokens")

    def _lease(self, call_id: str) -> str:
        return f"{self.name} {call_id}"
