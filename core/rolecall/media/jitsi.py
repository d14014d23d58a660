"""Jitsi Meet on servers of one's own: tokens that its XMPP server, prosody, verifies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack
from urllib.parse import urlsplit

from ..errors import ConfigurationError, InvalidKey
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..keys.issuers import Issuer
from ..keys.public import PublicKey
from ..roles import Capability
from ..tokens import TokenOptions
from ..wording import shown
from .backend import CommonSettings, MediaBackend
from .keys import private_issuer, service_issuer
from .plan import ACTS
from .rooms import derived_room
from .tokens import PARTICIPANT, Seat, ServiceJWT, remembered, said

#: The ids of apps at JaaS begin with this; they are the ``sub`` of its tokens.
JAAS_APP: Final = "vpaas-magic-cookie-"
#: The features that each token switches on or off; one that is left out depends on the server's version.
FEATURES: Final = ("livestreaming", "recording", "outbound-call", "sip-outbound-call", "transcription")
_SIGNAL: Final = "send-groupchat"
_MODERATES: Final = frozenset((Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH))
#: Names of rooms that prosody keeps apart, which folds case, and that need no escape in a URL.
_ROOM: Final = re.compile(r"[a-z0-9_-]+")
_FEATURE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")


class JitsiMeet(MediaBackend):
    """What Jitsi on one's own servers and JaaS have in common: everybody is a participant or a moderator.

    :param url: where the pages of rooms are.
    :param features: the features of Jitsi that moderators get, such as ``recording``. All others are switched off.
    :param settings: as for every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    always_granted: ClassVar[frozenset[Capability]] = PARTICIPANT - {Capability.CONNECT}
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(dict.fromkeys(ACTS, "not done: moderators' clients act"))
    #: The ``sub`` and the ``aud`` of its tokens.
    domain: str
    audience: str

    def __init__(self, url: str, features: Iterable[str], **settings: Unpack[CommonSettings]) -> None:
        try:
            super().__init__(url, **settings)
        finally:
            del url, settings  # they may hold a secret
        if isinstance(features, str) or not isinstance(features, Collection) or not all(map(_is_feature, features)):
            raise ConfigurationError(f"{self.name}: features is {shown(features)}; expected a set of Jitsi's features")
        #: The features that moderators get.
        self.features = frozenset(features)

    def room(self, session_id: str) -> str:
        """The name of a session's room: the session's id, if it is of ``a-z``, ``0-9``, ``-`` and ``_``; else one
        derived from it, because Jitsi folds case.
        """
        return derived_room(session_id, _ROOM, self.longest_room)

    def room_url(self, room: str) -> str:
        """The page of a room."""
        return f"{self.url.rstrip('/')}/{room}"

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """Those of a participant, or of a moderator, see :meth:`MediaBackend.granted`; there is nothing else."""
        return capabilities | self.always_granted | (frozenset() if capabilities.isdisjoint(_MODERATES) else _MODERATES)


class Jitsi(JitsiMeet):
    """A Jitsi Meet server: ``Rolecall(media=Jitsi("https://meet.example.org", app_id, app_secret))``.

    Its prosody verifies tokens with the secret, or with public keys that it gets from a key server.

    :param url: the URL of the server; a tenant is its path.
    :param app_id: ``app_id`` in prosody's configuration.
    :param app_secret: ``app_secret`` there, at least 32 bytes; None: ``private_key`` signs.
    :param private_key: a private RSA key: PEM text, or the path of a file with it. :attr:`key_files` has the public
        half for ``asap_key_server``.
    :param kid: the name of the private key; its thumbprint unless given.
    :param verify_secrets: at most two further secrets, which only verify.
    :param domain: the XMPP domain of the server, or the tenant; the host of ``url`` unless given.
    :param audience: the audience of tokens.
    :param features: the features of Jitsi that moderators get, such as ``recording``. All others are switched off.
    :param settings: as for every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "jitsi"
    needs_one_of: ClassVar[tuple[str, ...]] = ("app_secret", "private_key")

    def __init__(
        self,
        url: str,
        app_id: str,
        app_secret: str | bytes | None = None,
        *,
        private_key: str | bytes | None = None,
        kid: str | None = None,
        verify_secrets: Sequence[str | bytes] = (),
        domain: str | None = None,
        audience: str = "jitsi",
        features: Iterable[str] = (),
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, features, **settings)
            if (app_secret is None) == (private_key is None) or (app_secret is None and verify_secrets):
                raise InvalidKey(
                    "jitsi: tokens are signed with app_secret, and verify_secrets go with it, or with private_key; "
                    "pass one of the two, as prosody is configured"
                )
            self._issuer = _issuer(app_id, app_secret, private_key, kid, verify_secrets)
        finally:
            # so that no frame of a traceback holds them, also if one was given for another
            del url, app_id, app_secret, private_key, kid, verify_secrets, settings
        self.domain = urlsplit(self.url).hostname or "" if domain is None else domain
        if not isinstance(self.domain, str) or not _DOMAIN.fullmatch(self.domain):
            raise ConfigurationError(f"jitsi: domain is {shown(domain)}; expected the XMPP domain, or a tenant")
        self.audience = audience
        if not isinstance(audience, str) or not 0 < len(audience) <= 255 or not audience.isprintable():
            raise ConfigurationError(f"jitsi: audience is {shown(audience)}; expected 1 to 255 printable characters")

    @property
    def app_id(self) -> str:
        """The app's id, which is the ``iss`` of its tokens."""
        return self._issuer.id

    @property
    def key_files(self) -> dict[str, str]:
        """The files of the key server, ``asap_key_server``: the public key as PEM text, by the name of its file.

        The name is the SHA-256 of the ``kid`` in hexadecimal digits, and ``.pem``. Empty if a secret signs.
        """
        keys = {key.kid or "": key for key in self._issuer.ring if isinstance(key, PublicKey)}
        return {f"{sha256(kid.encode()).hexdigest()}.pem": key.public_pem() for kid, key in keys.items()}

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return JitsiFormat(self, self._issuer, rules)


class JitsiFormat(ServiceJWT):
    """Mints and verifies the tokens with which clients join a room of Jitsi Meet."""

    __slots__ = ("_audience", "_domain", "_head", "_rest")

    identity_claim: ClassVar[str] = "context.user.id"
    issuer_claim: ClassVar[str | None] = "iss"
    reserved_claims: ClassVar[frozenset[str]] = frozenset({"room", "context"})
    #: How far in the past ``nbf`` is, in seconds: the server's clock may be behind, and it has no leeway.
    skew: ClassVar[int] = 5
    #: The values of ``context.user.affiliation`` that make a moderator.
    owners: ClassVar[tuple[str, ...]] = ("owner", "moderator", "teacher")

    def __init__(self, backend: JitsiMeet, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._audience = backend.audience
        self._domain = backend.domain
        self._head = f'{{"aud":{quoted(self._audience)},"iss":{quoted(issuer.id)},"sub":{quoted(self._domain)},"room":'
        cases = [(acts, signals) for acts in (False, True) for signals in (False, True)]
        self._rest = {case: self._rights(backend.features, *case) for case in cases}

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "room" in claims and "context" in claims and not str(claims.get("sub")).startswith(JAAS_APP)

    @staticmethod
    def word(value: bool) -> str:
        """A truth value in JSON, as the service wants it."""
        return "true" if value else "false"

    @classmethod
    def user_rights(cls, is_moderator: bool) -> str:
        """The members of ``context.user`` that make a moderator of its bearer, or none."""
        # Older plugins read the one or the other. Each is said: a server may make a moderator of whom neither is said.
        affiliation = "owner" if is_moderator else "member"
        return f'"moderator":{cls.word(is_moderator)},"affiliation":"{affiliation}"'

    @classmethod
    def _rights(cls, features: frozenset[str], is_moderator: bool, signals: bool) -> str:
        """The end of the payload, which says what its bearer may do."""
        switched = {name: is_moderator and name in features for name in (*FEATURES, *sorted(features - {*FEATURES}))}
        switches = ",".join(f'"{name}":{cls.word(on)}' for name, on in {**switched, _SIGNAL: signals}.items())
        return f'{cls.user_rights(is_moderator)}}},"features":{{{switches}}}}}}}'

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. Jitsi has no SDK; the order is that of its documents."""
        room, _, issued_at, expires_at, *_, subject, name, _, _, _ = options
        capabilities = options.capabilities
        rest = self._rest[not capabilities.isdisjoint(_MODERATES), Capability.SIGNAL in capabilities]
        named = f'"name":{quoted(name)},' if name else ""
        return (
            f'{self._head}{remembered(room)},"iat":{issued_at},"nbf":{issued_at - self.skew},"exp":{expires_at},'
            f'"context":{{"user":{{"id":{quoted(subject or "")},{named}{rest}'
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        if claims.get("aud") not in (self._audience, (self._audience,)):
            raise wrong_claim("aud", f"{shown(self._audience)}")
        if _folded(claims.get("sub")) != self._domain.lower():
            raise wrong_claim("sub", f"{shown(self._domain, 80)}")
        context = _object(claims, "context", "context")
        if "room" in context and _object(context, "room", "context.room").get("regex", False) is not False:
            raise wrong_claim("context.room", "none: a token is for one room, and not for a pattern")
        user = _object(context, "user", "context.user")
        features = _object(context, "features", "context.features") if "features" in context else {}
        is_moderator = _switch(user, "moderator", "context.user.moderator", False)
        capabilities = (
            PARTICIPANT | _MODERATES if is_moderator or user.get("affiliation") in self.owners else PARTICIPANT
        )
        if not _switch(features, _SIGNAL, f"context.features.{_SIGNAL}", True):
            capabilities -= {Capability.SIGNAL}
        times = claims.get("iat"), claims.get("exp"), claims.get("nbf")
        return Seat(_folded(claims.get("room")), said(user, "id"), capabilities, *times)


def _issuer(app_id: object, app_secret: object, private_key: object, kid: str | None, verify_secrets: object) -> Issuer:
    expected = "app_id in prosody's configuration"
    try:
        if private_key is None:
            names = "app_id", "app_secret"
            return service_issuer("jitsi", app_id, app_secret, verify_secrets, expected=expected, names=names)
        return private_issuer("jitsi", app_id, private_key, kid, expected=expected, setting="app_id")
    finally:
        del app_id, app_secret, private_key, kid, verify_secrets


def _is_feature(name: object) -> bool:
    return isinstance(name, str) and name != _SIGNAL and _FEATURE.fullmatch(name) is not None


def _folded(text: object) -> str | None:
    """A text as prosody compares it; None if it is none in ASCII."""
    return text.lower() if isinstance(text, str) and text.isascii() else None


def _object(of: Mapping[str, Any], name: str, claim: str) -> Mapping[str, Any]:
    value = of.get(name)
    if not isinstance(value, Mapping):
        raise wrong_claim(claim, "an object")
    return value


def _switch(of: Mapping[str, Any], name: str, claim: str, usual: bool) -> bool:
    """A truth value, or a text of one, as both are read by Jitsi."""
    value = of.get(name, usual)
    if type(value) is bool:
        return value
    if value not in ("true", "false"):
        raise wrong_claim(claim, "true or false")
    return bool(value == "true")
