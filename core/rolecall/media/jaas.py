"""JaaS, 8x8's Jitsi as a service: the tokens of its apps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Unpack

from ..errors import ConfigurationError
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from .backend import CommonSettings
from .jitsi import JAAS_APP, JitsiFormat, JitsiMeet
from .keys import private_issuer

_KID: Final = re.compile(JAAS_APP + r"[0-9a-z]{1,64}/[0-9A-Za-z_-]{1,40}")


class JaaS(JitsiMeet):
    """An app at JaaS: ``Rolecall(media=JaaS("vpaas-magic-cookie-…/…", "jaas.pem"))``.

    :param kid: the id of the API key, as the console shows it: the app's id, ``/``, and the key's own.
    :param private_key: its private RSA key: PEM text, or the path of a file with it.
    :param url: where JaaS is.
    :param features: the features that moderators get, such as ``recording``; 8x8 bills some. All others are switched
        off.
    :param settings: as for every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "jaas"
    audience = "jitsi"

    def __init__(
        self,
        kid: str,
        private_key: str | bytes,
        *,
        url: str = "https://8x8.vc",
        features: Iterable[str] = (),
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, features, **settings)
            if not isinstance(kid, str) or not _KID.fullmatch(kid):
                raise ConfigurationError(
                    f"jaas: kid is missing or malformed; expected the id of an API key, '{JAAS_APP}…/…', as the "
                    "console shows it"
                )
            self._issuer = private_issuer("jaas", "chat", private_key, kid, expected="chat", setting="iss")
        finally:
            del kid, private_key, url, settings  # so that no frame of a traceback holds them
        self.domain = self.app_id

    @property
    def app_id(self) -> str:
        """The app's id, which is the ``sub`` of its tokens, and its tenant."""
        return (self._issuer.ring.current.kid or "").partition("/")[0]

    def room_url(self, room: str) -> str:
        """The page of a room, which is in the app's tenant."""
        return f"{self.url.rstrip('/')}/{self.app_id}/{room}"

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return JaaSFormat(self, self._issuer, rules)


class JaaSFormat(JitsiFormat):
    """Mints and verifies the tokens of an app at JaaS: Jitsi's, with truth values as text."""

    __slots__ = ()

    skew: ClassVar[int] = 10  # as in 8x8's samples
    owners: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "room" in claims and "context" in claims and str(claims.get("sub")).startswith(JAAS_APP)

    @staticmethod
    def word(value: bool) -> str:
        """See :meth:`JitsiFormat.word`."""
        return '"true"' if value else '"false"'

    @classmethod
    def user_rights(cls, is_moderator: bool) -> str:
        """See :meth:`JitsiFormat.user_rights`."""
        return f'"moderator":{cls.word(is_moderator)}'
