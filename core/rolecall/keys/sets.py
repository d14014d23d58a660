"""JWK sets of public keys (RFC 7517, section 5), read strictly: a key that is not certainly meant is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as Ed25519Material
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from ..encoding import base64url, strict_json
from ..errors import InvalidKey
from .ec import ECPublicKey
from .ed25519 import Ed25519PublicKey
from .jwk import thumbprint
from .key import check_kid
from .public import PublicKey
from .rsa import MIN_RSA_BITS, RSAPublicKey, has_weak_primes

#: The most keys of a set.
MAX_KEYS: Final = 100
#: The longest RSA key, in bits: a longer one makes each verification slow.
MAX_RSA_BITS: Final = 8192
_MAX_EXPONENT: Final = 2**32
#: The members of private and of symmetric keys (RFC 7518, section 6).
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
#: Ed25519 by its newer name (RFC 9864), and by the older one.
_EDDSA: Final = ("EdDSA", "Ed25519")


class KeySet(NamedTuple):
    """The usable keys of a set.

    :param keys: by ``kid``.
    :param leaked: the thumbprint of each key whose private half stands in the set; and its ``kid``, if there is one.
    :param problems: for each key that is left out, why; for logs.
    """

    keys: Mapping[str, PublicKey]
    leaked: frozenset[str]
    problems: tuple[str, ...]

    @property
    def thumbprints(self) -> Mapping[str, str]:
        """The thumbprint of each key, by ``kid``."""
        return {kid: thumbprint(key.public_jwk()) for kid, key in self.keys.items()}

    def without(self, leaked: Set[str]) -> KeySet:
        """This set without the keys of which a ``kid`` or a thumbprint is among ``leaked``."""
        prints = self.thumbprints
        kept = {kid: key for kid, key in self.keys.items() if kid not in leaked and prints[kid] not in leaked}
        return self if len(kept) == len(self.keys) else self._replace(keys=kept)


def read_key_set(data: bytes) -> KeySet:
    """Read a set. It may have no usable key.

    :raises ValueError: if it is no strict JSON object with an array ``keys`` of at most 100 keys; the message does not
        quote ``data``.
    """
    entries = strict_json.loads(data, MAX_KEYS).get("keys")
    if type(entries) is not tuple:
        raise ValueError("no JWK set: a JSON object with an array 'keys' is expected")
    candidates: dict[str, dict[str, PublicKey]] = defaultdict(dict)
    leaked: set[str] = set()
    problems: list[str] = []
    for place, entry in enumerate(entries, 1):
        try:
            leaked |= _leaked(entry)
            key = read_public_key(entry)
            candidates[key.kid or ""][thumbprint(key.public_jwk())] = key
        except InvalidKey as error:
            problems.append(f"key number {place}: {error}")
    # Of two different keys with one kid neither is certainly meant; the same key twice is one.
    keys = {kid: next(iter(same.values())) for kid, same in candidates.items() if len(same) == 1}
    problems += [
        f"{len(same)} different keys have one kid; neither is used" for same in candidates.values() if len(same) > 1
    ]
    return KeySet(keys, frozenset(leaked), tuple(problems)).without(leaked)


def read_public_key(jwk: object) -> PublicKey:
    """The key in a JWK, if it is a public key for the signatures of tokens, and has a ``kid``.

    :raises InvalidKey: says why it is not used; nothing of the key is quoted.
    """
    if not isinstance(jwk, Mapping):
        raise InvalidKey("not a JSON object")
    if not _PRIVATE.isdisjoint(jwk):
        raise InvalidKey("it has a member of a private or symmetric key")
    kind = jwk.get("kty")
    read = _READERS.get(kind) if type(kind) is str else None
    if read is None:
        raise InvalidKey("its kty is none of RSA, EC and OKP")
    algorithms, make = read
    _check_use(jwk, algorithms)
    kid = jwk.get("kid")
    if kid is None:
        raise InvalidKey("it has no kid, by which tokens could name it")
    check_kid(kid)
    return make(jwk, kid)


def _check_use(jwk: Mapping[str, Any], algorithms: tuple[str, ...]) -> None:
    if "use" in jwk and jwk["use"] != "sig":
        raise InvalidKey("its use is not 'sig'")
    operations = jwk.get("key_ops", ("verify",))
    if type(operations) is not tuple or "verify" not in operations or len(set(operations)) != len(operations):
        raise InvalidKey("its key_ops does not hold 'verify', or something twice")
    if "alg" in jwk and jwk["alg"] not in algorithms:
        raise InvalidKey(f"its alg is not {algorithms[0]}, the one for its kty")


def _leaked(jwk: object) -> set[str]:
    """The ``kid`` and the thumbprint of a key whose private half is in its JWK; empty for others."""
    if not isinstance(jwk, Mapping) or jwk.get("kty") == "oct" or _PRIVATE.isdisjoint(jwk):
        return set()
    names = {jwk["kid"]} if type(jwk.get("kid")) is str else set()
    try:
        public = {name: value for name, value in jwk.items() if name in _PUBLIC}
        names.add(thumbprint(read_public_key({**public, "kid": "leaked"}).public_jwk()))
    except InvalidKey:
        pass  # it is no usable key in any case
    return names


_PUBLIC: Final = frozenset({"kty", "n", "e", "crv", "x", "y"})


def _rsa(jwk: Mapping[str, Any], kid: str) -> PublicKey:
    n, e = _octets(jwk, "n"), _octets(jwk, "e")
    modulus, exponent = int.from_bytes(n), int.from_bytes(e)
    if not n or not e or n[0] == 0 or e[0] == 0:
        raise InvalidKey("its n or e begins with a zero byte")
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise InvalidKey(f"it has {modulus.bit_length()} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are used")
    if not 3 <= exponent < _MAX_EXPONENT or exponent % 2 == 0 or modulus % 2 == 0 or has_weak_primes(modulus):
        raise InvalidKey("its modulus or exponent is weak")
    return RSAPublicKey.of(RSAPublicNumbers(exponent, modulus).public_key(), kid)


def _ec(jwk: Mapping[str, Any], kid: str) -> PublicKey:
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if jwk.get("crv") != "P-256" or len(x) != 32 or len(y) != 32:
        raise InvalidKey("it is no point on the curve P-256, with 32 bytes for each coordinate")
    try:
        public = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()
    except ValueError:
        raise InvalidKey("its point is not on the curve P-256") from None
    return ECPublicKey.of(public, kid)


def _okp(jwk: Mapping[str, Any], kid: str) -> PublicKey:
    x = _octets(jwk, "x")
    if jwk.get("crv") != "Ed25519" or len(x) != 32:
        raise InvalidKey("it is no Ed25519 key of 32 bytes")
    if _is_of_small_order(x):
        raise InvalidKey("its point has a small order, so that one signature fits every message")
    return Ed25519PublicKey.of(Ed25519Material.from_public_bytes(x), kid)


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if type(text) is not str or not text.isascii():
        raise InvalidKey(f"its {name} is missing, or is no base64url")
    try:
        return base64url.decode(text.encode())
    except ValueError:
        raise InvalidKey(f"its {name} is no base64url") from None


#: By type: the names of its one algorithm, and what makes the key.
_READERS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any], str], PublicKey]]]] = {
    "RSA": (("RS256",), _rsa),
    "EC": (("ES256",), _ec),
    "OKP": (_EDDSA, _okp),
}

_FIELD: Final = 2**255 - 19
#: The y of a point of order 8 on edwards25519; the other one is its negative.
_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
#: The y of the 8 points of small order, and those beyond the field that readers reduce to one of them.
_SMALL_ORDER: Final = frozenset({0, 1, _FIELD - 1, _FIELD, _FIELD + 1, _ORDER_8, _FIELD - _ORDER_8})


def _is_of_small_order(point: bytes) -> bool:
    return int.from_bytes(point, "little") & ~(1 << 255) in _SMALL_ORDER
