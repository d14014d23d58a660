"""Taking grants back: one token, an actor in a session, a session's tokens so far, an actor's, a project's.

Each is a mark in the store (see :mod:`rolecall.stores.marks`), and :class:`~rolecall.stores.liveness.Liveness` judges
by them. What is done here has been kept durably when it returns, and repetition is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..errors import Forbidden, InvalidRequest, NotTakenBack, StoreUnavailable
from ..moderation import Exclude, Readmit, ResetSession
from ..revocations import Exclusion, Reset
from ..stores.calling import Calls
from ..stores.liveness import checked_marks, readmissions
from ..stores.marks import Marks, mark_name
from ..stores.upkeep import Row
from ..tokens import END_OF_TIME, MAX_LEEWAY, MAX_LIFETIME, MAX_TOTAL_LIFE, Grant, TokenId, lineage
from ..wording import moment, shown

if TYPE_CHECKING:
    from ..hookspecs import ModerationRequest
    from .state import State

#: The seconds after which no token is good any more that was issued before: the longest life of any, with the hour and
#: the leeway that verification grants.
OUTLIVED: Final = MAX_LIFETIME + 3600.0 + MAX_LEEWAY
_MAX_TOKEN_ID: Final = 255
# The most marks that a store is asked for by name at a time, and the most pages of marks that one call reads.
_MOST_MARKS: Final = 200
_MOST_PAGES: Final = 50
# The same beyond the end of a token, or of an exclusion.
_GRACE: Final = 3600.0 + MAX_LEEWAY


class TakingBack:
    """Takes grants back, in the store of a kit.

    :param disconnect: has a media service end the connections of an actor; returns whether it has.
    """

    __slots__ = ("_disconnect", "_state", "_store")

    def __init__(
        self, state: State, store: Calls, disconnect: Callable[[Exclude, ModerationRequest], Awaitable[bool]]
    ) -> None:
        self._state = state
        self._store = store
        self._disconnect = disconnect

    async def carry_out(self, act: Any, request: ModerationRequest) -> Any:
        """Carry out an act that takes back, or gives again."""
        if isinstance(act, Exclude):
            return await self._exclude(act, request)
        if isinstance(act, Readmit):
            return await self._readmit(act, request.grant)
        return await self._reset(act)

    async def revoke_token(self, session_id: str, token_id: str, expires_at: float | None) -> None:
        """Revoke one token, with its renewals.

        :param expires_at: the end of its life in Unix seconds; None if that is not known.
        """
        if not isinstance(token_id, str) or not 0 < len(token_id) <= _MAX_TOKEN_ID or not token_id.isprintable():
            raise InvalidRequest(f"token_id is {shown(token_id)}; expected an id of 1 to {_MAX_TOKEN_ID} characters")
        now = self._state.clock()
        # Of a token that this kit may have minted, renewals may be alive for longer than itself.
        renewed_until = 0 if TokenId.read(token_id) is None else now + MAX_TOTAL_LIFE
        until = now + OUTLIVED if expires_at is None else max(expires_at, renewed_until) + _GRACE
        await self._raise("token", session_id, lineage(token_id), value=inf, until=until)

    async def revoke_actor(self, actor_id: str) -> None:
        """Revoke all tokens that an actor has, in every session."""
        now = self._state.clock()
        await self._raise("actor", actor_id, value=now, until=now + OUTLIVED)

    async def revoke_before(self, moment_: float, api_key: str) -> None:
        """Revoke all tokens of a project that were issued until a time, in Unix seconds."""
        await self._raise("project", api_key, value=moment_, until=moment_ + OUTLIVED)

    def checked_moment(self, value: object) -> float:
        """The moment of :meth:`revoke_before`: that one, or now.

        :raises InvalidRequest: for one in the future, and for what is none.
        """
        now = self._state.clock()
        if value is None:
            return now
        seconds = value.timestamp() if hasattr(value, "timestamp") and getattr(value, "tzinfo", None) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < END_OF_TIME:
            raise InvalidRequest(f"moment is {shown(value)}; expected Unix seconds, or an aware datetime")
        if seconds > now:
            raise InvalidRequest(
                f"moment is in the future: {moment(seconds)}; now is {moment(now)} by this server's clock, and tokens "
                "that are still to be issued cannot be revoked"
            )
        return float(seconds)

    async def _exclude(self, act: Exclude, request: ModerationRequest) -> Exclusion:
        if not (self._state.names_actor and self._state.mint.names_actor):
            raise NotTakenBack(
                "this kit's tokens do not say for whom they are, so none of them is known as the actor's: "
                "reset the session, which revokes all of its tokens"
            )
        until = inf if act.until is None else float(act.until)
        kept = min(self._kept(act), until + _GRACE)
        while True:
            marks = await self._marks(mark_name("readmitted", act.session_id, act.actor_id))
            times = readmissions(marks, act.session_id, act.actor_id)
            stands = await self._raise("excluded", act.session_id, times, act.actor_id, value=until, until=kept)
            again = await self._marks(mark_name("readmitted", act.session_id, act.actor_id))
            if readmissions(again, act.session_id, act.actor_id) == times:
                break  # else somebody was readmitted meanwhile, by another call than the one before this
        disconnected = await self._disconnect(act, request)
        return Exclusion(act.session_id, act.actor_id, None if stands == inf else stands, disconnected)

    async def _readmit(self, act: Readmit, grant: Grant | None) -> None:
        if grant is not None and grant.actor_id == act.actor_id:
            raise Forbidden("nobody readmits himself")
        name = mark_name("readmitted", act.session_id, act.actor_id)
        times = readmissions(await self._marks(name), act.session_id, act.actor_id)
        excluded = await self._marks(mark_name("excluded", act.session_id, times, act.actor_id))
        if excluded.value("excluded", act.session_id, times, act.actor_id) > 0:
            await self._raise("readmitted", act.session_id, act.actor_id, value=int(times) + 1, until=self._kept(act))

    async def exclusions(
        self, limit: int, after: str | None, wanted: Callable[[str], bool]
    ) -> tuple[list[Exclusion], str | None]:
        """Some of the exclusions that stand, and from where to continue; None if there are no more.

        It goes through the marks of all kinds, as the store has them, and looks at some thousands at most.

        :param limit: about the most exclusions, 1 or more.
        :param after: where the page before ended; None for the first page.
        :param wanted: whether exclusions from a session are wanted.
        """
        found: list[Exclusion] = []
        for _ in range(_MOST_PAGES):
            # What is found of one page of marks is shown as a whole, because only the store can continue within it.
            rows, after = await self._store.further("dump", "marks", after, min(limit, _MOST_MARKS))
            found = await self._standing([row for row in rows if _is_of(str(row[0]), wanted)])
            if found or after is None:
                break
        return found, after

    async def _standing(self, rows: Sequence[Row]) -> list[Exclusion]:
        """The exclusions among marks of them that have neither passed nor been taken back."""
        now, found = self._state.clock(), list[Exclusion]()
        for first in range(0, len(rows), _MOST_MARKS):  # a store's page may be larger than it was asked for
            some = [(str(row[0]).split(" ", 3), float(row[1] or 0)) for row in rows[first : first + _MOST_MARKS]]
            marks = await self._marks(*(mark_name("readmitted", name[1], name[3]) for name, _ in some))
            found += [
                Exclusion(session_id, actor_id, None if until == inf else until)
                for (_, session_id, times, actor_id), until in some
                if until > now and readmissions(marks, session_id, actor_id) == times
            ]
        return found

    async def _reset(self, act: ResetSession) -> Reset:
        marks = await self._marks(mark_name("reset", act.session_id))
        epoch = int(marks.value("reset", act.session_id))
        if act.epoch is None or epoch <= act.epoch:
            later = max(epoch + 1, int(self._state.clock() * 1000))
            epoch = int(await self._raise("reset", act.session_id, value=later, until=self._kept(act)))
        return Reset(act.session_id, epoch, epoch // 1000 + 1 if epoch else 0)

    def _kept(self, act: Exclude | Readmit | ResetSession) -> float:
        """Until when a mark of a session is kept: for as long as the session can have tokens."""
        age = self._state.retention.age
        made_at = None if age is None else self._state.session_ids.made_at(act.session_id)
        return inf if age is None or made_at is None else made_at + age + OUTLIVED

    async def _marks(self, *names: str) -> Marks:
        return checked_marks(await self._store.further("get_marks", names))

    async def _raise(self, *parts: str, value: float, until: float) -> float:
        stands = await self._store.further("raise_mark", mark_name(*parts), float(value), float(until))
        if type(stands) not in (int, float) or not stands >= value:
            raise StoreUnavailable(f"the store's raise_mark returned {shown(stands)}; expected {value:g} or more")
        return float(stands)


def _is_of(mark: str, wanted: Callable[[str], bool]) -> bool:
    """Whether a mark is an exclusion from a wanted session."""
    kind, _, rest = mark.partition(" ")
    return kind == "excluded" and rest.count(" ") >= 2 and wanted(rest.partition(" ")[0])
