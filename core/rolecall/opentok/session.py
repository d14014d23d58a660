"""The SDK's session object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .constants import ArchiveModes, MediaModes
from .exceptions import OpenTokException
from .messages import plain


class MintsTokens(Protocol):
    """What a :class:`Session` asks of its client."""

    @property
    def generate_token(self) -> Callable[..., str]: ...


class Session:
    """A session, as :meth:`Client.create_session` returns it.

    ``Session(client, session_id)`` stands for a session of which only the id is known.

    :param sdk: the client that mints its tokens.
    :param session_id: the session's id.
    :param kwargs: further properties, which become attributes.
    """

    location: str | None
    media_mode: MediaModes
    archive_mode: ArchiveModes
    e2ee: bool

    def __init__(self, sdk: MintsTokens, session_id: str, **kwargs: Any) -> None:
        if not isinstance(session_id, str) or not session_id:
            raise OpenTokException(f"Cannot instantiate Session, session_id was not valid {plain(session_id)}")
        self.session_id = session_id
        self.sdk = sdk
        for name, value in kwargs.items():
            setattr(self, name, value)

    def generate_token(self, **kwargs: Any) -> str:
        """Mint a token for this session; see :meth:`Client.generate_token`, whose other arguments it takes by name."""
        return self.sdk.generate_token(self.session_id, **kwargs)
