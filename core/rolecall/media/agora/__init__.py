"""Agora: a project, whose tokens let an account into a channel; nothing is done there from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack

from ...errors import ConfigurationError, InvalidKey, NoIdentity
from ...formats import TokenFormat
from ...formats.claims import ClaimRules
from ...roles import Capability
from ...wording import shown
from ..backend import CommonSettings, MediaBackend, Place
from ..keys import service_issuer
from ..rooms import derived_room
from ..tokens import PARTICIPANT
from .tokens import AUDIENCE, DAY, AgoraFormat

__all__ = ["Agora", "AgoraFormat"]

_ID: Final = re.compile("[0-9a-fA-F]{32}")
#: Names of channels that are those of sessions. Agora takes more; "*" would be every channel.
_CHANNEL: Final = re.compile(r"[0-9A-Za-z_.=~+-]+")
#: What Agora takes as a user account.
_ACCOUNT: Final = re.compile(r"[0-9A-Za-z !#$%&()+:;<=.>?@\[\]^_{}|~,-]{1,255}")


class Agora(MediaBackend):
    """A project of Agora: ``Rolecall(media=Agora(app_id, app_certificate))``.

    A participant joins with the ticket's identity as its user account. Agora's SDKs know where to connect: a ticket's
    URL names the project.

    :param app_id: the App ID of the project, 32 hexadecimal digits.
    :param app_certificate: its primary certificate, 32 hexadecimal digits, which signs the tokens.
    :param verify_secrets: its secondary certificate, which only verifies.
    :param cohost_authentication: whether Agora's support has switched on co-host authentication for the project.
        Without it everybody who may join may publish, too, whatever the token says; so roles that may not get tickets
        only by ``accept_wider``.
    :param settings: those of every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "agora"
    schemes: ClassVar[tuple[str, ...]] = ("agora",)
    longest_life: ClassVar[int] = DAY
    longest_room: ClassVar[int] = 63
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        dict.fromkeys(
            ("force_disconnect", "mute_stream", "mute_all", "list_streams", "list_connections"),
            "not done: a project's REST API bans users, and acts on no stream",
        )
        | {
            "signal": "not done: Agora's Signaling is a service of its own",
            "disconnect_actor": "not done: the connection ends with the ticket",
            "end_session": "not done: who is in stays until the ticket ends",
        }
    )

    def __init__(
        self,
        app_id: str,
        app_certificate: str | bytes,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        cohost_authentication: bool = False,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            if not isinstance(cohost_authentication, bool):
                raise ConfigurationError(
                    f"agora: cohost_authentication is {shown(cohost_authentication)}; expected True or False"
                )
            self._issuer = service_issuer(
                self.name,
                app_id,
                app_certificate,
                verify_secrets,
                expected="the App ID of the project, 32 hexadecimal digits",
                names=("app_id", "app_certificate"),
                pattern=_ID,
            )
            if not all(map(_is_certificate, (app_certificate, *verify_secrets))):
                raise InvalidKey("agora: a certificate has 32 hexadecimal digits, as Agora's console shows it")
            super().__init__(f"agora://{app_id}", **settings)
        finally:
            # so that no frame of a traceback holds them, also if one was given for another
            del app_id, app_certificate, verify_secrets, settings
        #: Whether Agora reads who may publish from the tokens.
        self.cohost_authentication = cohost_authentication

    @property
    def app_id(self) -> str:
        """The App ID of the project."""
        return self._issuer.id

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`MediaBackend.granted`."""
        return capabilities | (AUDIENCE if self.cohost_authentication else self.always_granted)

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`."""
        return derived_room(session_id, _CHANNEL, self.longest_room)

    def check_identity(self, identity: str) -> None:
        """See :meth:`MediaBackend.check_identity`."""
        if not _ACCOUNT.fullmatch(identity):
            raise NoIdentity(
                "the actor's id cannot be a user account at Agora, which has ASCII letters, digits, spaces and "
                "! # $ % & ( ) + - : ; < = . > ? @ [ ] ^ _ { } | ~ ,"
            )

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return AgoraFormat(self, self._issuer, rules)

    def credentials(self, place: Place) -> Mapping[str, Mapping[str, Any]]:
        """See :meth:`MediaBackend.credentials`: ``agora`` has the App ID."""
        return {"agora": MappingProxyType({"app_id": self.app_id})}


def _is_certificate(secret: object) -> bool:
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    return isinstance(text, str) and _ID.fullmatch(text) is not None
