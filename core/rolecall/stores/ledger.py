"""The ledger: the tokens that a kit has issued, one row each until they expire."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import InvalidRequest
from ..wording import shown
from .listing import MAX_LIMIT, place_of

if TYPE_CHECKING:
    from . import MaybeAwaitable


class IssuedToken(NamedTuple):
    """A token that was issued. It is not the token itself, and nobody can make that from it.

    :param session_id: the token's session.
    :param token_id: its id, as in :attr:`~rolecall.Grant.token_id`.
    :param actor_id: the id of the actor that it is for; None if that is not known.
    :param role: the name of its role.
    :param issued_at: in Unix seconds.
    :param expires_at: the end of its life, in Unix seconds.
    """

    session_id: str
    token_id: str
    actor_id: str | None
    role: str
    issued_at: float
    expires_at: float


class TokenPage(NamedTuple):
    """Which tokens are wanted.

    :param limit: the most tokens, 1 or more.
    :param now: only those that expire after this time, in Unix seconds.
    :param session_id: only those of this session.
    :param actor_id: only those of this actor.
    :param after: the issue (Unix seconds) and the id of the token after which the page begins; None to begin with the
        newest one.
    """

    limit: int
    now: float
    session_id: str | None = None
    actor_id: str | None = None
    after: tuple[float, str] | None = None


class TokensFound(NamedTuple):
    """The tokens of a page.

    :param tokens: at most as many as the page may have.
    :param after: the ``after`` of the next page; None if there are no more.
    """

    tokens: Sequence[IssuedToken]
    after: tuple[float, str] | None


def answer_for(page: TokenPage, tokens: Sequence[IssuedToken], end: tuple[float, str] | None = None) -> TokensFound:
    """The answer for a page: its tokens, and from where the next one goes on.

    :param end: the place up to which the store has looked; None if it has looked at all.
    """
    if len(tokens) == page.limit:
        end = tokens[-1].issued_at, tokens[-1].token_id
    return TokensFound(tokens, end)


class Ledger(Protocol):
    """What a store has that keeps the ledger of ``Rolecall(ledger=True)``.

    The methods are plain functions or ``async def``, durable and positional, as those of
    :class:`~rolecall.stores.Store`. Rows are forgotten by :meth:`~rolecall.stores.upkeep.Upkeep.forget` once they have
    expired.
    """

    @abstractmethod
    def add_token(self, token: IssuedToken, /) -> MaybeAwaitable[None]:
        """Keep a token. One with this session and id that is there already stays."""

    @abstractmethod
    def list_tokens(self, page: TokenPage, /) -> MaybeAwaitable[TokensFound]:
        """The tokens of a page, the newest first; of the same time, the greatest id (by its UTF-8 bytes) first.

        A store that would have to pass over very many others returns fewer than ``page.limit``, or none, and from
        where to go on. Tokens that are issued meanwhile come before the first page.
        """


def token_page_of(limit: object, now: float, session_id: str | None, actor_id: str | None, after: object) -> TokenPage:
    """Check what somebody wants to see, and return it as a page.

    :param limit: 1 to :data:`~rolecall.stores.listing.MAX_LIMIT`.
    :param after: a cursor from :func:`~rolecall.stores.listing.cursor_of`, or None.
    :raises InvalidRequest: says which value is wrong, and what is expected.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit is {shown(limit)}; expected 1 to {MAX_LIMIT}")
    return TokenPage(limit, now, session_id, actor_id, None if after is None else place_of(after))
