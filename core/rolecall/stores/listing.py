"""Listing the sessions of a store: page by page, the newest first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from ..sessions import SessionRecord

if TYPE_CHECKING:
    from . import MaybeAwaitable

#: Whether a session is open, or has ended.
SessionState: TypeAlias = Literal["open", "ended"]


class Page(NamedTuple):
    """Which sessions are wanted.

    :param limit: the most sessions, 1 or more.
    :param state: ``"open"`` or ``"ended"`` sessions alone; None for both.
    :param created_by: the id of the actor that created them; None for everybody's.
    :param after: the creation (Unix seconds) and the id of the session after which the page begins; None to begin with
        the newest session.
    """

    limit: int
    state: SessionState | None = None
    created_by: str | None = None
    after: tuple[float, str] | None = None


class Listing(Protocol):
    """What a store has that lists its sessions."""

    @abstractmethod
    def list_sessions(self, page: Page, /) -> MaybeAwaitable[Sequence[SessionRecord]]:
        """The sessions of a page, the newest first; of the same time, the greatest id (by its UTF-8 bytes) first.

        Fewer than ``page.limit`` only if there are no more. Sessions that are created meanwhile come before the first
        page, so that no page shows a session twice or leaves one out.
        """
