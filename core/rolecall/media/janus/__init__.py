"""Janus with its plugin VideoRoom: signed tokens, and the server behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Unpack

from ...errors import ConfigurationError, InvalidKey
from ...formats import TokenFormat
from ...formats.claims import ClaimRules
from ...keys.making import secret_key
from ...roles import Capability
from ...wording import shown
from ..backend import CommonSettings, MediaBackend, Place, Ticket
from ..calls import CALL_TIMEOUT, ServiceAPI
from ..keys import service_issuer
from ..rooms import derived_room
from ..tokens import PARTICIPANT
from .tokens import JanusFormat, core_token

__all__ = ["Janus", "JanusFormat"]

#: Names of rooms that a descriptor can hold. Janus 1.1 compares at most 99 bytes, of which 94 are the room's.
_ROOM: Final = re.compile(r"[0-9A-Za-z._~-]+")
#: How many publish at once in a room: Janus's own 3 are few.
PUBLISHERS: Final = 100


class Janus(MediaBackend):
    """A Janus server with its plugin VideoRoom, whose ids are texts (``string_ids = true``).

    ``Rolecall(media=Janus("wss://janus.example.org", token_auth_secret, admin_url, admin_secret, admin_key))``

    A ticket's token is what each request to Janus needs; ``credentials["videoroom"]`` has what the request ``join``
    needs besides: ``room``, the room's own ``token``, and ``display``, the identity.

    :param url: the URL of the server for clients, ``wss://…``.
    :param token_auth_secret: the server's ``token_auth_secret``, at least 32 bytes.
    :param admin_url: the URL of its Admin API, ``http://127.0.0.1:7088/admin``, by which rooms are opened.
    :param admin_secret: the server's ``admin_secret``, at least 32 bytes.
    :param admin_key: the ``admin_key`` of VideoRoom, at least 32 bytes, so that nobody else opens rooms.
    :param verify_secrets: at most two further secrets, which only verify.
    :param room_options: further members of VideoRoom's request ``create``: texts, numbers, True or False.
    :param timeout: the time of a call of the Admin API in seconds. An act takes two at most, which are to be below the
        kit's ``hook_timeout``.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`. Each request of a client needs a ticket that
        has not ended.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "janus"
    schemes: ClassVar[tuple[str, ...]] = ("wss", "ws", "https", "http")
    opens_rooms: ClassVar[bool] = True
    longest_room: ClassVar[int] = 94
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "not done: VideoRoom has no messages of the server's",
            "mute_all": "not done: it does not mute streams to come",
            "list_streams": "not done: it does not tell which streams a participant has",
            "disconnect_actor": "not done: it does not know whose a participant is; its session ends with the ticket",
        }
    )

    def __init__(
        self,
        url: str,
        token_auth_secret: str | bytes,
        admin_url: str,
        admin_secret: str,
        admin_key: str,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        room_options: Mapping[str, str | int | bool] = MappingProxyType({}),
        timeout: float = CALL_TIMEOUT,
        **settings: Unpack[CommonSettings],
    ) -> None:
        from .service import KEPT, JanusService  # not free to import, and many kits have another service, or none

        try:
            super().__init__(url, **settings)
            api = ServiceAPI("Janus", admin_url, timeout, setting="admin_url")
            self._issuer = service_issuer(
                self.name, "janus", token_auth_secret, verify_secrets, expected="", names=("", "token_auth_secret")
            )
            secrets = _text("admin_secret", admin_secret), _text("admin_key", admin_key)
            options = {"publishers": PUBLISHERS, **_options(room_options, KEPT)}
            self._service = JanusService(self._issuer, api, *secrets, options, self.room)
        finally:
            # so that no frame of a traceback holds them
            secrets = "", ""
            del url, token_auth_secret, admin_url, admin_secret, admin_key, verify_secrets, settings

    @property
    def service(self) -> object:
        """What acts in the server's rooms."""
        return self._service

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`."""
        return derived_room(session_id, _ROOM, self.longest_room)

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return JanusFormat(self, self._issuer, rules)

    async def open_room(self, place: Place) -> None:
        """See :meth:`MediaBackend.open_room`."""
        await self._service.open(place.room)

    def ticket(self, form: TokenFormat, place: Place) -> Ticket:
        """See :meth:`MediaBackend.ticket`."""
        ticket = super().ticket(form, place)
        joining = MappingProxyType({"room": place.room, "token": ticket.token, "display": place.identity})
        credentials = MappingProxyType({**ticket.credentials, "videoroom": joining})
        return ticket._replace(token=core_token(self._issuer, ticket.expires_at), credentials=credentials)


def _text(name: str, secret: object) -> str:
    """A secret that is sent as it stands."""
    try:
        secret_key(secret)  # type: ignore[arg-type]  # it looks at the type
        problem = None if isinstance(secret, str) else "expected text"
        text = secret if isinstance(secret, str) else ""
    except InvalidKey as error:
        problem, text = str(error), ""
    finally:
        del secret
    if problem is not None:
        raise InvalidKey(f"janus: {name}: {problem}")
    return text


def _options(given: object, kept: frozenset[str]) -> Mapping[str, str | int | bool]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"janus: room_options is {shown(given)}; expected a mapping")
    for name, value in given.items():
        if not isinstance(name, str) or name in kept or not isinstance(value, str | int | bool):
            raise ConfigurationError(
                f"janus: room_options has {shown(name, 80)}, which is none of an app's, or is no text, number, True or "
                "False"
            )
    return {**given}
