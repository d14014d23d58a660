"""Listing the sessions of a store: page by page, the newest first."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from ..actors import problem_with_actor_id
from ..encoding import base64url
from ..errors import InvalidRequest
from ..sessions import SessionRecord
from ..wording import shown

if TYPE_CHECKING:
    from . import MaybeAwaitable

#: Whether a session is open, or has ended.
SessionState: TypeAlias = Literal["open", "ended"]
#: The most sessions of one page, for callers from outside.
MAX_LIMIT: Final = 1000


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


def page_of(limit: object, state: object, created_by: object, after: object) -> Page:
    """Check what somebody wants to see, and return it as a page.

    :param limit: 1 to :data:`MAX_LIMIT`.
    :param state: ``"open"``, ``"ended"``, or None.
    :param after: a cursor from :func:`cursor_of`, or None.
    :raises InvalidRequest: says which value is wrong, and what is expected.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit is {shown(limit)}; expected 1 to {MAX_LIMIT}")
    if state not in (None, *get_args(SessionState)):
        raise InvalidRequest(f"state is {shown(state)}; expected 'open' or 'ended'")
    if created_by is not None and (problem := problem_with_actor_id(created_by)):
        raise InvalidRequest(f"created_by {problem}")
    return Page(limit, state, created_by, None if after is None else place_of(after))  # type: ignore[arg-type]


def cursor_of(created_at: float, session_id: str) -> str:
    """The cursor from which the page after a session begins: a text for URLs. It is not encrypted."""
    place = json.dumps([created_at, session_id])
    return base64url.encode(place.encode()).decode()


def place_of(cursor: object) -> tuple[float, str]:
    """What a cursor says: a time, and an id.

    :raises InvalidRequest: for anything but a cursor.
    """
    try:
        if not isinstance(cursor, str):
            raise ValueError
        created_at, session_id = json.loads(base64url.decode(cursor.encode()))
        if type(created_at) is not float or not math.isfinite(created_at) or not _is_storable(session_id):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequest("after is no cursor; expected the 'next' of the page before, unchanged") from None
    return created_at, session_id


def _is_storable(text: object) -> bool:
    """Whether every store can compare with ``text``: not every database takes a zero byte, and none half a pair."""
    return isinstance(text, str) and "\0" not in text and text.encode("utf-8", "replace").decode() == text
