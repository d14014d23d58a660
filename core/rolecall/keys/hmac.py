"""Secrets for HS256 (RFC 7518, section 3.2)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from ..encoding import base64url
from ..errors import InvalidKey
from ..wording import kind, shown, wrapping
from .key import Concealed, Key, check_kid, derived
from .pem import from_base64
from .published import is_published

#: An HMAC secret has at least as many bytes as its hash (RFC 7518, section 3.2).
MIN_SECRET_BYTES: Final = 32


class HMACKey(Concealed):
    """A secret, for HS256: everybody who can verify with it can also sign with it."""

    __slots__ = ("_mac", "_mac_sha1", "_material")

    def __init__(self, secret: str | bytes, kid: str | None = None) -> None:
        """Take a secret that only this service knows.

        :param secret: at least 32 bytes, random; text is taken as UTF-8.
        :param kid: at most 128 ASCII characters.
        :raises InvalidKey: for a secret that is missing or too short, and for a public key, which is no secret.
        """
        check_kid(kid)
        problem = problem_with(secret)
        if problem is not None:
            del secret  # so that no frame of the traceback holds it
            raise InvalidKey(problem)
        self._prepare(secret.encode() if isinstance(secret, str) else secret, kid)

    @classmethod
    def derived(cls, key: Key, purpose: str) -> HMACKey:
        """The secret for another use of ``key``. Its bytes are random, so they are not checked."""
        made = cls.__new__(cls)
        made._prepare(key.derive(purpose), None)
        return made

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> HMACKey:
        """The key in a JSON Web Key (RFC 7517) of type ``oct``.

        :raises InvalidKey: for another type or algorithm, or for a key that is not meant for signatures.
        """
        if not isinstance(jwk, Mapping):
            raise InvalidKey(f"a JWK is a JSON object, not {kind(jwk)}")
        if jwk.get("kty") != "oct":
            raise InvalidKey(f"a JWK with kty 'oct' is expected, not {shown(jwk.get('kty'))}")
        if jwk.get("alg", "HS256") != "HS256":
            raise InvalidKey(f"a JWK for HS256 is expected, not for {shown(jwk['alg'])}")
        if jwk.get("use", "sig") != "sig":
            raise InvalidKey(f"the JWK's use is {shown(jwk['use'])}; a key for signatures has 'sig'")
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise InvalidKey("the JWK's key_ops does not hold 'verify'")
        text = jwk.get("k")
        try:
            secret = base64url.decode(text.encode()) if isinstance(text, str) else b""
        except ValueError:
            raise InvalidKey("the JWK's k is not base64url") from None
        return cls(secret, jwk.get("kid"))

    def _prepare(self, material: bytes, kid: str | None) -> None:
        self._material = material
        self._mac = HMAC(material, SHA256())
        self._mac_sha1: HMAC | None = None
        self.algorithm = "HS256"
        self.kid = kid

    def sign(self, message: bytes) -> bytes:
        """See :class:`Key`."""
        # To copy a MAC that has the key already takes half the time of starting from the key.
        mac = self._mac.copy()
        mac.update(message)
        return mac.finalize()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """See :class:`Key`."""
        mac = self._mac.copy()
        mac.update(message)
        # Compared here and not by HMAC.verify: it raises for a forged signature, which is slower.
        return hmac.compare_digest(mac.finalize(), signature)

    def is_made_of(self, secret: bytes) -> bool:
        """Whether ``secret`` is this one. How long that takes tells nothing of it."""
        digests = (sha256(one).digest() for one in (self._material, secret))
        return hmac.compare_digest(*digests)

    def strength(self) -> float:
        """About the most bits of entropy that the secret has, by its look."""
        from .strength import strength

        return strength(self._material.decode("latin-1"))

    def derive(self, purpose: str) -> bytes:
        """See :class:`Key`."""
        return derived(self._material, purpose)

    def digest(self, message: bytes, hash_name: str) -> bytes:
        """HMAC of ``message`` with another hash, for formats that fix one (T1, TURN and Janus: SHA-1)."""
        if hash_name != "sha1":
            return hmac.digest(self._material, message, hash_name)
        if self._mac_sha1 is None:
            self._mac_sha1 = HMAC(self._material, SHA1())  # noqa: S303  # HMAC does not rest on collisions
        mac = self._mac_sha1.copy()
        mac.update(message)
        return mac.finalize()

    def digest_under(self, key: bytes, hash_name: str) -> bytes:
        """HMAC of the secret itself with another key, for a service that derives its keys so (Agora)."""
        return hmac.digest(key, self._material, hash_name)

    def digest_after(self, message: bytes, hash_name: str) -> bytes:
        """The hash of a message with the secret after it, for a service that signs so (BigBlueButton)."""
        return hashlib.new(hash_name, message + self._material).digest()

    def public_jwk(self) -> None:
        """None: see :class:`Key`."""

    def refuse_published(self) -> None:
        """Stop start-up on a secret that is publicly known, or that is no secret at all.

        :raises InvalidKey: for such a secret.
        """
        if len(set(self._material)) < 8 or is_published(self._material):
            raise InvalidKey(
                "the secret is publicly known, or repeats a few characters; "
                'make one with: python -c "import secrets; print(secrets.token_hex(32))"'
            )


def problem_with(secret: object) -> str | None:
    """The problem with a secret, or None. Returned, not raised, so that no frame of a traceback holds the secret."""
    if not isinstance(secret, str | bytes):
        return f"a secret is text or bytes, not {type(secret).__name__}"
    material = _encoded(secret) if isinstance(secret, str) else secret
    if material is None:
        return "the secret holds a lone surrogate; it has no bytes in UTF-8"
    if not material:
        return "the secret is empty"
    if _is_public_key(material):
        return (
            "the secret is a public key, a certificate or a JWK, which others may know; "
            "an HMAC secret is random bytes that only this service has"
        )
    around = wrapping(secret)
    if around is not None:
        return f"the secret has {around}, which is probably not part of it; remove it"
    if len(material) < MIN_SECRET_BYTES:
        return (
            f"the secret has {len(material)} bytes; HS256 needs at least {MIN_SECRET_BYTES}. "
            'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return None


def _encoded(secret: str) -> bytes | None:
    try:
        return secret.encode()
    except UnicodeEncodeError:
        return None


def _is_public_key(material: bytes) -> bool:
    """Whether ``material`` is public: used as an HMAC secret, a public key would let anybody sign."""
    # Not at the top: PyJWT loads ssl, and gevent warns if it patches later than that (in a conftest.py).
    from jwt.algorithms import HMACAlgorithm
    from jwt.exceptions import InvalidKeyError

    hs256 = HMACAlgorithm(HMACAlgorithm.SHA256)
    started = material.lstrip().removeprefix(b"\xef\xbb\xbf").lstrip()
    readings = [material, started, started.rstrip()]
    readings.append(from_base64(started) or b"")
    for reading in filter(None, readings):
        try:
            hs256.prepare_key(reading)
        except InvalidKeyError:
            return True
    return False
