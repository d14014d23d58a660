"""Keys that sign and verify, prepared once, and the ring that holds them."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..encoding import base64url
from ..errors import InvalidKey
from ..wording import kind, shown, wrapping
from .published import is_published

#: An HMAC secret has at least as many bytes as its hash (RFC 7518, section 3.2).
MIN_SECRET_BYTES: Final = 32
MAX_KID_LENGTH: Final = 128
#: NIST SP 800-131A.
MIN_RSA_BITS: Final = 2048


class Key:
    """One key for one algorithm. Its material never shows in ``repr``, in messages or in pickles."""

    __slots__ = ("_mac", "_material", "algorithm", "kid")

    #: The only ``alg`` that this key signs and verifies (RFC 8725, section 3.1).
    algorithm: str
    #: The key id that a token's header names it by, or None.
    kid: str | None

    def __init__(self, secret: str | bytes, kid: str | None = None) -> None:
        """An HS256 key.

        :param secret: at least 32 bytes, random; text is taken as UTF-8.
        :param kid: at most 128 ASCII characters.
        :raises InvalidKey: for a secret that is missing or too short, and for a public key, which is no secret.
        """
        _check_kid(kid)
        problem = problem_with(secret)
        if problem is not None:
            del secret  # the traceback's frames hold what it names
            raise InvalidKey(problem)
        self._material = secret.encode() if isinstance(secret, str) else secret
        self._mac = HMAC(self._material, SHA256())
        self.algorithm = "HS256"
        self.kid = kid

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Key:
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

    def sign(self, message: bytes) -> bytes:
        # A copy of a MAC that already holds the key saves half of the time of starting from the key.
        mac = self._mac.copy()
        mac.update(message)
        return mac.finalize()

    def verify(self, message: bytes, signature: bytes) -> bool:
        mac = self._mac.copy()
        mac.update(message)
        # Compared here, because to raise for a forged signature takes longer than to tell.
        return hmac.compare_digest(mac.finalize(), signature)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another use of this secret, which say nothing about the secret itself."""
        return self.sign(b"rolecall:" + purpose.encode())

    def digest(self, message: bytes, hash_name: str) -> bytes:
        """HMAC of ``message`` with another hash, for formats that fix one (T1: SHA-1)."""
        return hmac.digest(self._material, message, hash_name)

    def __repr__(self) -> str:
        return f"<Key {getattr(self, 'algorithm', '?')} kid={getattr(self, 'kid', None)!r}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Key cannot be pickled: its secret would travel with it")


class RSAKey(Key):
    """A private RSA key, for RS256: it signs, and verifies what it signed."""

    __slots__ = ("_private", "_public")

    def __init__(self, pem: str | bytes, kid: str | None = None) -> None:
        """Loaded once: to load it at each call takes far longer than to sign.

        :param pem: the private key as PEM text (PKCS #8 or PKCS #1), unencrypted, of at least 2,048 bits.
        :param kid: at most 128 ASCII characters.
        :raises InvalidKey: for anything else.
        """
        loaded = _private_rsa_key(pem)
        del pem  # whatever is raised below, no frame of its traceback holds it
        if isinstance(loaded, str):
            raise InvalidKey(loaded)
        _check_kid(kid)
        self._private = loaded
        self._public = loaded.public_key()
        self.algorithm = "RS256"
        self.kid = kid

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message, _PADDING, _HASH)

    def verify(self, message: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, message, _PADDING, _HASH)
        except InvalidSignature:
            return False
        return True

    def derive(self, purpose: str) -> bytes:
        # Of the key itself and not of its PEM text, which has several spellings.
        numbers = self._private.private_numbers()
        secret = numbers.d.to_bytes((self._private.key_size + 7) // 8)
        return hmac.digest(secret, b"rolecall:" + purpose.encode(), "sha256")

    def digest(self, message: bytes, hash_name: str) -> bytes:
        raise InvalidKey("a format with a MAC needs a secret, not a private key")


_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()


def _private_rsa_key(pem: object) -> RSAPrivateKey | str:
    """The key in ``pem``, or what is wrong with it: returned, so that no frame of a traceback holds the key."""
    if not isinstance(pem, str | bytes):
        return f"a private key is PEM text, not {type(pem).__name__}"
    try:
        text = pem.encode() if isinstance(pem, str) else pem
        key = load_pem_private_key(text, password=None)
    except TypeError:
        return "the private key is encrypted; decrypt it with: openssl pkey -in encrypted.pem -out private.pem"
    except (ValueError, UnsupportedAlgorithm):
        return _unreadable(pem)
    if not isinstance(key, RSAPrivateKey):
        return "the private key is of another kind; RS256 needs an RSA key"
    if key.key_size < MIN_RSA_BITS:
        return f"the RSA key has {key.key_size} bits; at least {MIN_RSA_BITS} are needed"
    if _has_weak_primes(key.public_key().public_numbers().n):
        return "the RSA key was made by a faulty generator (ROCA, CVE-2017-15361) and can be worked out; make a new one"
    return key


def _unreadable(pem: str | bytes) -> str:
    text = pem if isinstance(pem, str) else pem.decode("latin-1")
    if "PRIVATE KEY-----" not in text and re.search("-----BEGIN [A-Z0-9 ]*(PUBLIC KEY|CERTIFICATE)-----", text):
        return "this is a public key or a certificate; to sign tokens the private key is needed"
    return other_key_form(text.encode("latin-1", "replace")) or (
        "the private key cannot be read; expected PEM of an RSA key, which begins with '-----BEGIN PRIVATE KEY-----' "
        "or '-----BEGIN RSA PRIVATE KEY-----'"
    )


def other_key_form(material: bytes) -> str | None:
    """What to do about a private key that is not PEM but another form of one; None if it is none of these."""
    if b"-----BEGIN OPENSSH PRIVATE KEY-----" in material:
        return (
            "the private key is in OpenSSH's form; turn a copy of its file into PEM with: "
            "ssh-keygen -p -N '' -m PKCS8 -f private.pem"
        )
    if material.startswith(_DER):
        return (
            "the private key is DER; turn it into PEM with: openssl pkey -inform DER -in private.der -out private.pem"
        )
    decoded = _from_base64(material) or b""
    if b"-----BEGIN" in decoded:
        return "the private key is PEM in base64; decode it first, for example with: base64 -d"
    if decoded.startswith(_DER):
        return (
            "the private key is PEM without its first and last line; put them back: '-----BEGIN PRIVATE KEY-----' and "
            "'-----END PRIVATE KEY-----'"
        )
    return None


#: A sequence of 256 bytes and more, as any RSA key is one.
_DER: Final = b"\x30\x82"


def _from_base64(material: bytes) -> bytes | None:
    """What ``material`` is in base64 or base64url, with or without padding and white space."""
    compact = b"".join(material.split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except ValueError:
        return None


def _has_weak_primes(modulus: int) -> bool:
    # Each prime of such a key, and so their product, is a power of 65537 modulo each of the first 39 primes
    # (Nemec et al., The Return of Coppersmith's Attack, 2017). Of other keys hardly one in 10^8 is.
    return all(modulus % prime in {pow(65537, n, prime) for n in range(prime)} for prime in _SMALL_PRIMES)


_SMALL_PRIMES: Final = [prime for prime in range(2, 168) if all(prime % n for n in range(2, prime))]


def refuse_published_private(key: RSAKey) -> None:
    """Stop start-up on a private key that is publicly known."""
    numbers = key._public.public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)
    if is_published(modulus):
        raise InvalidKey("the private key is publicly known; make one of your own, or let the service make it")


class KeyRing:
    """The keys of one kit, from the oldest to the newest: all of them verify, the newest signs."""

    __slots__ = ("_anonymous", "_by_kid", "_keys")

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys) if isinstance(keys, Iterable) else ()
        if not self._keys or not all(isinstance(key, Key) for key in self._keys):
            raise InvalidKey("a key ring is made of at least one Key, and of nothing else")
        self._by_kid = {key.kid: key for key in self._keys}
        if len(self._by_kid) != len(self._keys):
            raise InvalidKey("two keys of one ring have the same kid; each needs its own")
        self._anonymous = self._keys[0] if len(self._keys) == 1 else self._by_kid.get(None)

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any]) -> KeyRing:
        """The ring in a JWK set (RFC 7517, section 5)."""
        keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(keys, list):
            raise InvalidKey("a JWK set is a JSON object with a list 'keys'")
        return cls(map(Key.from_jwk, keys))

    @property
    def current(self) -> Key:
        """The key that signs."""
        return self._keys[-1]

    def find(self, kid: str | None) -> Key | None:
        """The key that a header names, exactly; without a ``kid``, the only key or the one without a name."""
        return self._anonymous if kid is None else self._by_kid.get(kid)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._keys)}>"


def _check_kid(kid: object) -> None:
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH and kid.isascii()):
        raise InvalidKey(f"a kid is a string of 1 to {MAX_KID_LENGTH} ASCII characters, not {kind(kid)}")


def problem_with(secret: object) -> str | None:
    """What is wrong with a secret, or None. Returned, not raised, so that no frame of a traceback holds it."""
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
        return f"the secret has {around}, which is hardly a part of it; take it off"
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
    """Whether ``material`` is known to everybody: as an HMAC secret, a public key would let anybody sign."""
    # Not at the top: PyJWT loads ssl, and gevent warns where it patches later than that (in a conftest.py).
    from jwt.algorithms import HMACAlgorithm
    from jwt.exceptions import InvalidKeyError

    hs256 = HMACAlgorithm(HMACAlgorithm.SHA256)
    started = material.lstrip().removeprefix(b"\xef\xbb\xbf").lstrip()
    readings = [material, started, started.rstrip()]
    readings.append(_from_base64(started) or b"")
    for reading in filter(None, readings):
        try:
            hs256.prepare_key(reading)
        except InvalidKeyError:
            return True
    return False


def refuse_published(key: Key) -> None:
    """Stop start-up on a secret that is publicly known, or that is no secret at all."""
    material = key._material
    if len(set(material)) < 8 or is_published(material):
        raise InvalidKey(
            "the secret is publicly known, or repeats a few characters; "
            'make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )
