"""The media services of a kit: which of them is a session's, and the tickets to get in."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidSessionOption, NoMediaService
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from ..media.backend import MediaBackend
from ..sessions import SessionProperties, SessionRecord
from ..wording import shown


class MediaServices:
    """The media services of one kit.

    :param backends: the services; the first one is for sessions that name none.
    :param rules: checks the claims of their tokens.
    """

    __slots__ = ("_by_name", "_first")

    def __init__(self, backends: Sequence[MediaBackend], rules: ClaimRules) -> None:
        self._by_name = {backend.name: (backend, backend.token_format(rules)) for backend in backends}
        self._first = backends[0].name if backends else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services, the default first."""
        return tuple(self._by_name)

    def chosen(self, properties: SessionProperties) -> SessionProperties:
        """The properties of a new session, with its media service.

        :raises InvalidSessionOption: for a service that the kit does not have.
        """
        if properties.media is None:
            return properties if self._first is None else properties.at_media(self._first)
        if properties.media not in self._by_name:
            raise InvalidSessionOption(
                f"media is {shown(properties.media)}; this kit's media services are "
                f"{', '.join(self._by_name) or 'none: pass Rolecall(media=…)'}"
            )
        return properties

    def of(self, record: SessionRecord | None) -> tuple[MediaBackend, TokenFormat] | None:
        """The media service of a session, and the format of its tokens; None if the kit has no service for it.

        :param record: the session; None if the store does not know it: then it is the kit's first service.
        """
        name = self._first if record is None or record.media is None else record.media
        return None if name is None else self._by_name.get(name)


def no_ticket(record: SessionRecord | None) -> NoMediaService:
    """The error for a session that no media service of the kit carries."""
    if record is None or record.media is None:
        return NoMediaService(
            "this kit has no media service, and so no tickets: pass Rolecall(media=…), or set ROLECALL_MEDIA",
            "this service gives no tickets: it has no media service",
        )
    return NoMediaService(
        f"the session is at {shown(record.media)}, which is none of this kit's media services",
        "this service gives no tickets for this session: it does not have its media service",
    )
