"""LiveKit, self-hosted or hosted: tokens, and the service behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from ...clock import system_clock
from ...formats import TokenFormat
from ...formats.claims import ClaimRules
from ..backend import TICKET_LIFE, MediaBackend, emulated_acts
from ..calls import CALL_TIMEOUT, ServiceAPI
from ..keys import service_issuer
from ..turn import Turn
from ..webhooks import Notice
from .tokens import LiveKitFormat

__all__ = ["LiveKit", "LiveKitFormat"]


class LiveKit(MediaBackend):
    """A LiveKit server: ``Rolecall(media=LiveKit("wss://media.example.org", api_key, api_secret))``.

    A session's room has the session's id for its name, a participant the actor's id for its identity.

    :param url: the URL of the server, ``wss://…``.
    :param api_key: the API key: a name under ``keys`` in the server's configuration.
    :param api_secret: its secret, at least 32 bytes.
    :param verify_secrets: at most two further secrets of this key, which only verify.
    :param ticket_life: the life of a ticket in seconds. The server renews tokens of those who have joined by itself.
    :param accept_wider: as for every :class:`~rolecall.media.MediaBackend`; LiveKit holds all roles.
    :param accept_emulated: ``{"mute_all"}``: that act then mutes the tracks that are there, and not those to come, as
        LiveKit cannot do that. Without it the act is refused.
    :param turn: as for every :class:`~rolecall.media.MediaBackend`.
    :param api_url: the URL of the server's API, if it is not that of the clients with ``https``.
    :param timeout: the time of a call of the API in seconds. An act takes two at most, which are to be below the kit's
        ``hook_timeout``.
    :param clock: returns now, in Unix seconds, for the credentials of acts.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "livekit"
    schemes: ClassVar[tuple[str, ...]] = ("wss", "ws", "https", "http")
    longest_identity: ClassVar[int] = 256
    longest_room: ClassVar[int] = 256
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"mute_all": "not done: it does not mute streams to come, and lets nobody unmute; see accept_emulated"}
    )
    takes_webhooks: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: str | bytes,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        ticket_life: float = TICKET_LIFE,
        accept_wider: Iterable[str] = (),
        accept_emulated: Iterable[str] = (),
        turn: Turn | Mapping[str, Any] | None = None,
        api_url: str | None = None,
        timeout: float = CALL_TIMEOUT,
        clock: Callable[[], float] = system_clock,
    ) -> None:
        try:
            super().__init__(url, ticket_life=ticket_life, accept_wider=accept_wider, turn=turn)
            issuer = service_issuer(
                self.name,
                api_key,
                api_secret,
                verify_secrets,
                expected="the name of a key in the server's configuration",
            )
            # ``ws`` becomes ``http``, and ``wss`` becomes ``https``: clients and the API have one port.
            at = re.sub("^ws", "http", self.url, flags=re.IGNORECASE)
            api = ServiceAPI("LiveKit", at if api_url is None else api_url, timeout)
        finally:
            # So that no frame of a traceback holds them.
            del url, api_key, api_secret, verify_secrets, turn, api_url
        self._issuer = issuer
        from .service import LiveKitService  # not free to import, and many kits have another service, or none

        emulated = emulated_acts(self.name, accept_emulated)
        self._service = LiveKitService(issuer, api, self.room, clock, emulated)

    @property
    def api_key(self) -> str:
        """The API key."""
        return self._issuer.id

    @property
    def service(self) -> object:
        """What acts in the server's rooms."""
        return self._service

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return LiveKitFormat(self, self._issuer, rules)

    def webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Sequence[Notice]:
        """See :meth:`MediaBackend.webhook`."""
        from .webhooks import LiveKitWebhooks  # not free to import, and many servers send none

        return LiveKitWebhooks(self._issuer).read(headers, body, now)
