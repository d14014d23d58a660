"""Galène, self-hosted: the tokens by which its groups let participants in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack

from ..encoding import strict_json
from ..errors import ConfigurationError, InvalidKey
from ..formats import TokenFormat
from ..formats.claims import ClaimRules, wrong_claim
from ..keys import HMACKey, Key
from ..keys.issuers import Issuer, listed, private_key_of, ring_of
from ..keys.key import check_kid
from ..keys.making import issuer_key, pem_of
from ..roles import Capability
from ..tokens import TokenOptions
from ..wording import shown
from .backend import CommonSettings, MediaBackend
from .plan import ACTS
from .rooms import derived_room
from .tokens import Seat, ServiceJWT, said

#: The permissions of participants, and what they give; each token has those of its bearer, and no others.
_PERMISSIONS: Final = {
    "op": frozenset((Capability.FORCE_DISCONNECT, Capability.FORCE_UNPUBLISH)),
    "present": frozenset((Capability.PUBLISH,)),
    "message": frozenset((Capability.SIGNAL,)),
}
_EVERYBODY: Final = frozenset((Capability.CONNECT, Capability.SUBSCRIBE))
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_PARENT: Final = re.compile(r"([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?")
#: The algorithms of private keys that Galène has, too.
_PRIVATE: Final = ("ES256", "RS256")
_EXPECTED: Final = "Galène has secrets, EC keys on P-256 and RSA keys"
#: The characters of 32 bytes in base64url.
_SECRET_CHARACTERS: Final = 43


class Galene(MediaBackend):
    """A Galène server: ``Rolecall(media=Galene("https://galene.example.org", key))``.

    A session is a group of the session's name, or of one derived from it; a participant's user name is the actor's id.

    :param url: the URL of the server.
    :param key: the key that signs, as JWK (RFC 7517), an object or JSON text: a secret of 32 bytes with ``alg``
        ``HS256``, or a private EC or RSA key; or a private key as PEM text, or the path of a file with it.
    :param verify_keys: at most two further keys, which only verify.
    :param parent: the group of which the groups of sessions are subgroups; none unless given.
    :param settings: as for every :class:`~rolecall.media.MediaBackend`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "galene"
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    # A group may be a file, whose name ends in .json.
    longest_room: ClassVar[int] = 250
    always_granted: ClassVar[frozenset[Capability]] = frozenset((Capability.SUBSCRIBE,))
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(dict.fromkeys(ACTS, "not done: moderators' clients act"))

    def __init__(
        self,
        url: str,
        key: Mapping[str, Any] | str | bytes,
        *,
        verify_keys: Sequence[Mapping[str, Any] | str | bytes] = (),
        parent: str = "",
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            super().__init__(url, **settings)
            signing = _key(key)
            if isinstance(signing, str):
                raise InvalidKey(f"galene: key: {signing}")
            ring = ring_of("galene: verify_keys", signing, listed(verify_keys, "galene: ", "verify_keys"), _key)
        finally:
            del url, key, verify_keys, settings  # so that no frame of a traceback holds them
        if not isinstance(parent, str) or not _PARENT.fullmatch(parent):
            raise ConfigurationError(
                f"galene: parent is {shown(parent)}; expected the name of a group, such as 'school'"
            )
        self._issuer = Issuer("galene", ring)
        #: The URL of the groups of sessions.
        self.groups_url = f"{self.url.rstrip('/')}/group/{parent and parent + '/'}"

    @property
    def auth_keys(self) -> list[dict[str, str]]:
        """The public keys for ``authKeys`` in the file of a group. A secret is not among them."""
        jwks = (key.public_jwk() for key in self._issuer.ring)
        return [{name: one for name, one in jwk.items() if name != "use"} for jwk in jwks if jwk is not None]

    def room(self, session_id: str) -> str:
        """The name of a session's group, below the parent: the session's id, if it is of letters, digits, ``-`` and
        ``_``; else one derived from it.
        """
        return derived_room(session_id, _NAME, self.longest_room)

    def room_url(self, room: str) -> str:
        """The page of a group, which is the audience of its tokens."""
        return f"{self.groups_url}{room}/"

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """See :meth:`MediaBackend.granted`. All of them to an operator, who may give permissions to anybody."""
        everything = not capabilities.isdisjoint(_PERMISSIONS["op"])
        return capabilities | (frozenset(Capability) if everything else self.always_granted)

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return GaleneFormat(self, self._issuer, rules)


class GaleneFormat(ServiceJWT):
    """Mints and verifies the tokens with which clients join a group."""

    __slots__ = ("_groups",)

    room_claim: ClassVar[str] = "aud"
    reserved_claims: ClassVar[frozenset[str]] = frozenset({"permissions", "include-subgroups"})

    def __init__(self, backend: Galene, issuer: Issuer, rules: ClaimRules) -> None:
        super().__init__(backend, issuer, rules)
        self._groups = backend.groups_url

    @staticmethod
    def shows(claims: Mapping[str, Any]) -> bool:
        """See :meth:`ServiceJWT.shows`."""
        return "permissions" in claims and "/group/" in str(claims.get("aud"))

    def payload(self, options: TokenOptions) -> str:
        """See :meth:`ServiceJWT.payload`. Galène has no SDK; the order is that of its documents."""
        room, _, issued_at, expires_at, *_, subject, _, _, _, _ = options
        return (
            f'{{"sub":{quoted(subject or "")},"aud":"{self._groups}{room}/",'
            f'"permissions":{_permissions(options.capabilities)},"iat":{issued_at},"exp":{expires_at}}}'
        )

    def seat(self, claims: Mapping[str, Any]) -> Seat:
        """See :meth:`ServiceJWT.seat`."""
        audience, permissions = claims.get("aud"), claims.get("permissions")
        room = audience.removeprefix(self._groups).removesuffix("/") if isinstance(audience, str) else ""
        if audience != f"{self._groups}{room}/":
            raise wrong_claim("aud", f"the URL of one session's group, {self._groups}…/")
        if claims.get("include-subgroups", False) is not False:
            raise wrong_claim("include-subgroups", "none: a token is for one group")
        if type(permissions) is not tuple or not all(type(one) is str and one in _PERMISSIONS for one in permissions):
            raise wrong_claim("permissions", f"a list of {', '.join(_PERMISSIONS)}; others reach beyond a participant")
        capabilities = _EVERYBODY.union(*(_PERMISSIONS[one] for one in permissions))
        return Seat(room, said(claims, "sub"), capabilities, claims.get("iat"), claims.get("exp"), claims.get("nbf"))


@lru_cache(64)
def _permissions(capabilities: frozenset[Capability]) -> str:
    held = [name for name, given in _PERMISSIONS.items() if not capabilities.isdisjoint(given)]
    return f"[{','.join(map(quoted, held))}]"


def _key(material: object) -> Key | str:
    """The key in a JWK or PEM text; or the problem with it: returned, so that no frame of a traceback holds the key."""
    try:
        jwk = _jwk(material)
        return private_key_of(material, "the key", _private) if jwk is None else _of_jwk(jwk)
    except InvalidKey as error:
        return str(error)


def _jwk(material: object) -> Mapping[str, Any] | None:
    """The JWK in an object or JSON text; None if it is something else."""
    text = material.encode() if isinstance(material, str) else material
    if not isinstance(text, bytes) or not text.lstrip().startswith(b"{"):
        return material if isinstance(material, Mapping) else None
    try:
        return strict_json.loads(text.strip())
    except ValueError:
        raise InvalidKey("the JWK is no strict JSON") from None


def _of_jwk(jwk: Mapping[str, Any]) -> Key:
    if jwk.get("kty") == "oct":
        if jwk.get("alg") != "HS256" or len(str(jwk.get("k"))) != _SECRET_CHARACTERS:
            raise InvalidKey("Galène takes a secret with alg 'HS256', and of exactly 32 bytes")
        secret = HMACKey.from_jwk(jwk)
        secret.refuse_published()
        return secret
    key = _private(_pem_in(jwk))
    key.kid = jwk.get("kid", key.kid)  # type: ignore[misc]  # the kit's own keys can be named
    check_kid(key.kid)
    return key


def _pem_in(jwk: Mapping[str, Any]) -> bytes:
    from jwt import PyJWK

    try:
        return pem_of(PyJWK({**jwk}, jwk.get("alg")).key)
    except Exception:  # of several kinds, and some hold parts of the key
        problem = f"the JWK, of kty {shown(jwk.get('kty'))}, is no private key"
    raise InvalidKey(f"{problem}; {_EXPECTED}")


def _private(pem: bytes) -> Key:
    key = issuer_key(pem)
    if key.algorithm not in _PRIVATE:
        raise InvalidKey(f"the key is for {key.algorithm}; {_EXPECTED}")
    return key
