"""Checks that grants and sessions are still live: the one place for everything that can revoke them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..errors import Excluded, NotInStep, RevokedToken, RolecallError, SessionEnded, StoreUnavailable, Unavailable
from ..tokens import END_OF_TIME, Grant, TokenId, lineage
from ..wording import moment, shown
from .marks import Marks, mark_name

_ACROSS_SESSIONS: Final = frozenset({"actor", "project"})


class Liveness:
    """Checks that a grant, or a session, is still live.

    The plain functions answer in the process and at once, also on an event loop. The ``async`` ones do so, too, as long
    as this process is in step with the store; while it is not, they ask the store itself.

    :param store: knows the ended sessions, and the marks if it keeps them.
    :param clock: returns the time in Unix seconds.
    :param project_of: the API key of the project that a session belongs to; None if it is of none.
    :param look_up: asks the store itself whether a session has ended; None if it cannot be asked.
    :param get_marks: asks the store itself for marks.
    """

    __slots__ = ("_clock", "_get_marks", "_has_marks", "_look_up", "_project_of", "_store")

    def __init__(
        self,
        store: Any,  # a Store, and Marked if it can
        clock: Callable[[], float],
        project_of: Callable[[str], str | None],
        look_up: Callable[[str], Awaitable[bool]] | None,
        get_marks: Callable[[list[str]], Awaitable[Any]],
    ) -> None:
        self._store: Final = store
        self._has_marks: Final = hasattr(store, "marks")
        self._clock: Final = clock
        self._project_of: Final = project_of
        self._look_up: Final = look_up
        self._get_marks: Final = get_marks

    def check(self, grant: Grant) -> None:
        """Refuse a revoked grant, at once.

        :raises RevokedToken: says why it was revoked.
        :raises NotInStep: if this process cannot tell; see :meth:`confirm`.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(grant.session_id)) is not False:
            _check_answer(ended)
            raise _revoked()
        # As has_ended has just brought them into step. Most grants end their check here.
        if (
            self._has_marks
            and (marks := self._store.marks).kinds
            and (marks.may_touch(grant.session_id) or not marks.kinds.isdisjoint(_ACROSS_SESSIONS))
        ):
            self._check_marks(marks, grant)

    def is_revoked(self, grant: Grant) -> bool:
        """Whether this process knows that a grant was revoked. It asks nobody, though it may have to for :meth:`check`.

        :raises StoreUnavailable: if it cannot tell.
        """
        try:
            Liveness.check(self, grant)
        except RevokedToken:
            return True
        return False

    def check_issue(self, session_id: str, actor_id: str | None, issued_at: int, *, has_epoch: bool) -> int:
        """Refuse to issue a token that would be refused, at once; return the epoch of its session.

        :param actor_id: for whom the token is, if that is known.
        :param issued_at: in whole Unix seconds.
        :param has_epoch: whether the token says in which epoch it was minted.
        :raises SessionEnded: if the session has ended.
        :raises Excluded: if the actor is excluded from it.
        :raises Unavailable: if the token would be good from the next second on.
        :raises NotInStep: if this process cannot tell; see :meth:`confirm_issue`.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if (ended := self._store.has_ended(session_id)) is not False:
            _check_answer(ended)
            raise _ended()
        if not self._has_marks or not (marks := self._store.marks).kinds:
            return 0
        return self._epoch(marks, session_id, actor_id, issued_at, has_epoch)

    async def confirm(self, grant: Grant) -> None:
        """:meth:`check`, which may wait for the store.

        :raises StoreUnavailable: if the store cannot tell.
        """
        try:
            self.check(grant)
            return
        except NotInStep:
            if self._look_up is None:
                raise
        await self._ask(self._look_up, grant)

    async def _ask(self, look_up: Callable[[str], Awaitable[bool]], grant: Grant) -> None:
        """:meth:`confirm` by the store itself."""
        if await look_up(grant.session_id):
            raise _revoked()
        if self._has_marks:
            self._check_marks(await self._read(grant.session_id, grant.actor_id, grant.token_id), grant)

    async def confirm_issue(self, session_id: str, actor_id: str | None, issued_at: int, *, has_epoch: bool) -> int:
        """:meth:`check_issue`, which may wait for the store.

        :raises StoreUnavailable: if the store cannot tell.
        """
        try:
            return self.check_issue(session_id, actor_id, issued_at, has_epoch=has_epoch)
        except NotInStep:
            if self._look_up is None:
                raise
        return await self._ask_issue(self._look_up, session_id, actor_id, issued_at, has_epoch)

    async def confirm_join(self, session_id: str, actor_id: str) -> None:
        """Refuse an actor that is to stay out of a session, at a join that has happened elsewhere.

        The store itself is asked where this process may be behind it: whoever is put out by another process joins
        again within the moment. What revokes tokens is no reason, because the join does not tell when its own was
        issued.

        :raises SessionEnded: if the session has ended.
        :raises Excluded: if the actor is excluded from it.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if self._look_up is None or self._is_immediate:
            await self.confirm_issue(session_id, actor_id, END_OF_TIME, has_epoch=True)
        else:
            await self._ask_issue(self._look_up, session_id, actor_id, END_OF_TIME, True)

    async def confirm_ticket(self, grant: Grant) -> None:
        """:meth:`confirm`, by the store itself where this process may be behind it.

        A media service knows nothing of what is taken back, so a ticket outlives the moment by which a process is
        behind: one that was given in it would undo an exclusion that another process has acknowledged.

        :raises RevokedToken: says why the grant was revoked.
        :raises StoreUnavailable: if the store cannot tell.
        """
        if self._look_up is None or self._is_immediate:
            await self.confirm(grant)
        else:
            await self._ask(self._look_up, grant)

    @property
    def _is_immediate(self) -> bool:
        """Whether the store knows at once what other processes have taken back."""
        return bool(getattr(self._store, "immediate", False))

    async def _ask_issue(
        self,
        look_up: Callable[[str], Awaitable[bool]],
        session_id: str,
        actor_id: str | None,
        issued_at: int,
        has_epoch: bool,
    ) -> int:
        """:meth:`confirm_issue` by the store itself."""
        if await look_up(session_id):
            raise _ended()
        if not self._has_marks:
            return 0
        return self._epoch(await self._read(session_id, actor_id), session_id, actor_id, issued_at, has_epoch)

    async def confirm_session(self, session_id: str) -> None:
        """Refuse a session that has ended; it may wait for the store.

        :raises SessionEnded: if it has.
        :raises StoreUnavailable: if the store cannot tell.
        """
        await self.confirm_issue(session_id, None, 0, has_epoch=True)

    def _check_marks(self, marks: Marks, grant: Grant) -> None:
        reason = self._reason_of_session(marks, grant) if marks.may_touch(grant.session_id) else None
        if reason is None and not marks.kinds.isdisjoint(_ACROSS_SESSIONS):
            reason = self._reason_across(marks, grant.session_id, grant.actor_id, grant.issued_at)
        if reason is not None:
            raise RevokedToken(reason)

    def _epoch(self, marks: Marks, session_id: str, actor_id: str | None, issued_at: int, has_epoch: bool) -> int:
        """The epoch of a session, if a token can be issued for it."""
        epoch = 0
        if marks.may_touch(session_id):
            if actor_id is not None and (until := self._excluded_until(marks, session_id, actor_id)) is not None:
                raise Excluded(f"the actor is excluded from the session {until}")
            epoch = int(marks.value("reset", session_id))
        if (epoch and not has_epoch and issued_at <= epoch // 1000) or self._reason_across(
            marks, session_id, actor_id, issued_at
        ):
            raise _too_soon()
        return epoch

    def _reason_of_session(self, marks: Marks, grant: Grant) -> str | None:
        """Why a grant is not good, by the marks of its session; None if it may be."""
        kinds, session_id = marks.kinds, grant.session_id
        if (
            "excluded" in kinds
            and grant.actor_id is not None
            and self._excluded_until(marks, session_id, grant.actor_id) is not None
        ):
            return "the token's actor is excluded from the session"
        if "token" in kinds and marks.value("token", session_id, lineage(grant.token_id)):
            return "the token was revoked"
        if "reset" in kinds and (epoch := marks.value("reset", session_id)) and not _is_of_epoch(epoch, grant):
            return "the token was issued before its session was reset"
        return None

    def _reason_across(
        self, marks: Marks, session_id: str, actor_id: str | None, issued_at: float | None
    ) -> str | None:
        """Why no token for an actor that was issued at a time is good, by the marks of all sessions."""
        kinds = marks.kinds
        if "actor" in kinds and actor_id is not None and _is_of_before(marks.value("actor", actor_id), issued_at):
            return "all tokens that the token's actor had were revoked"
        if "project" in kinds and (project := self._project_of(session_id)) is not None:
            revoked_at = marks.value("project", project)
            if _is_of_before(revoked_at, issued_at):
                return f"all tokens that were issued until {moment(revoked_at)} were revoked"
        return None

    def _excluded_until(self, marks: Marks, session_id: str, actor_id: str) -> str | None:
        """Until when an actor is excluded from a session, in words; None if it is not."""
        until = marks.value("excluded", session_id, readmissions(marks, session_id, actor_id), actor_id)
        if until <= self._clock():
            return None
        return "for good" if until == float("inf") else f"until {moment(until)}"

    async def _read(self, session_id: str, actor_id: str | None, token_id: str | None = None) -> Marks:
        """The marks that a check needs, from the store itself."""
        marks = Marks()
        wanted: list[tuple[str, ...]] = [("reset", session_id)]
        if token_id is not None:
            wanted.append(("token", session_id, lineage(token_id)))
        if (project := self._project_of(session_id)) is not None:
            wanted.append(("project", project))
        if actor_id is None:
            return await self._learn(marks, wanted)
        wanted += [("actor", actor_id), ("readmitted", session_id, actor_id), ("excluded", session_id, "0", actor_id)]
        await self._learn(marks, wanted)
        times = readmissions(marks, session_id, actor_id)
        return marks if times == "0" else await self._learn(marks, [("excluded", session_id, times, actor_id)])

    async def _learn(self, marks: Marks, wanted: list[tuple[str, ...]]) -> Marks:
        """Add marks from the store itself; what this process has seen of them stays, if the store has lost it."""
        names = [mark_name(*parts) for parts in wanted]
        checked_marks(await self._get_marks(names), marks)
        seen = [self._store.marks.value(*parts) for parts in wanted]
        marks.learn_all((name, value) for name, value in zip(names, seen, strict=True) if value)
        return marks


class ImmediateLiveness(Liveness):
    """Asks the store itself at every check, so that nothing is live after the acknowledgement of its end."""

    __slots__ = ()

    def check(self, grant: Grant) -> None:
        raise NotInStep("the store itself has to be asked")

    def check_issue(self, session_id: str, actor_id: str | None, issued_at: int, *, has_epoch: bool) -> int:
        raise NotInStep("the store itself has to be asked")


def readmissions(marks: Marks, session_id: str, actor_id: str) -> str:
    """How often an actor was readmitted to a session, as the part of a mark's name."""
    if "readmitted" not in marks.kinds:
        return "0"
    return str(int(marks.value("readmitted", session_id, actor_id)))


def checked_marks(answer: Any, marks: Marks | None = None) -> Marks:
    """The marks of a store's answer, added to ``marks``. An answer that is none could admit somebody.

    :raises StoreUnavailable: for anything but a mapping of names to numbers.
    """
    marks = Marks() if marks is None else marks
    if not isinstance(answer, Mapping) or not all(
        isinstance(name, str) and type(value) in (int, float) for name, value in answer.items()
    ):
        raise StoreUnavailable(f"the store's get_marks returned {shown(answer)}; expected numbers by name")
    marks.learn_all(answer.items())
    return marks


def _is_of_epoch(epoch: float, grant: Grant) -> bool:
    """Whether a grant is of an epoch, or of a later one that this process has not heard of yet."""
    made = TokenId.read(grant.token_id)
    if made is not None:
        return made.epoch >= epoch
    # Tokens of others tell no more than the second. What was issued in the second of the reset may be of before it.
    return not _is_of_before(epoch // 1000, grant.issued_at)


def _is_of_before(revoked_at: float, issued_at: float | None) -> bool:
    """Whether a token was issued until a time, to the second. One that does not say when may have been."""
    return revoked_at > 0 and (issued_at is None or int(issued_at) <= int(revoked_at))


def _check_answer(ended: object) -> None:
    """Refuse an answer that is neither True nor False: its truth value could admit somebody."""
    if ended is not True:
        raise StoreUnavailable(f"the store's has_ended returned {shown(ended)}; expected True or False")


def _revoked() -> RevokedToken:
    return RevokedToken("the token's session has ended")


def _ended() -> SessionEnded:
    return SessionEnded("the session has ended: it issues no tokens")


def _too_soon() -> RolecallError:
    error = Unavailable("tokens were revoked this very second: one that is issued now would be refused; ask again")
    error.retry_after = 1
    return error
