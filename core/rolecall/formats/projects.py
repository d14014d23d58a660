"""One format in a kit of several projects: a token names its project, and so does the id of its session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import InvalidClaim, InvalidSessionId
from ..session_ids import SessionIds
from ..tokens import Grant, TokenOptions
from . import Format


class NamesIssuer(Format, Protocol):
    """A format whose tokens say whose they are."""

    @staticmethod
    def issuer_of(token: bytes) -> str | None:
        """The API key that ``token`` names, which nothing proves yet; None if it names none."""


class ProjectsFormat:
    """Mints for the project that a session is of, and verifies with the key of the project that a token names.

    :param formats: one for each project, by API key; the first is asked where a token names none of them, so that an
        unknown API key takes as long as a bad signature.
    :param session_ids: says of which project a session is.
    :param issuer_of: the API key that a token names, which is not verified yet.
    """

    def __init__(
        self, formats: Mapping[str, Format], session_ids: SessionIds, issuer_of: Callable[[bytes], str | None]
    ) -> None:
        self._formats = formats
        self._first = next(iter(formats))
        self._session_ids = session_ids
        self._issuer_of = issuer_of

    def recognizes(self, token: bytes) -> bool:
        """See :class:`~rolecall.formats.Format`."""
        return self._formats[self._first].recognizes(token)

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :class:`~rolecall.formats.Format`."""
        return self._formats[self._session_ids.check(options.session_id)].mint(options)

    def verify(self, token: bytes, now: float) -> Grant:
        """See :class:`~rolecall.formats.Format`.

        :raises InvalidClaim: also for a good token of one project that is for a session of another.
        """
        named = self._issuer_of(token)
        api_key = named if named is not None and named in self._formats else self._first
        grant = self._formats[api_key].verify(token, now)
        try:
            owner = self._session_ids.check(grant.session_id)
        except InvalidSessionId:
            owner = None
        if owner != api_key:
            raise InvalidClaim("the token's session_id is not one of the project that the token is of")
        return grant
