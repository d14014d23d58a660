"""The states of the keys in a ring, and the id by which people name a key."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

from .jwk import thumbprint
from .key import Key

#: ``published`` verifies and does not sign yet, ``signing`` signs (one key of each ring), ``verifying`` no longer
#: signs, and ``retired`` does nothing any more.
KeyState = Literal["published", "signing", "verifying", "retired"]
#: The states, from the beginning of a key's life to its end.
STATES: Final[tuple[KeyState, ...]] = get_args(KeyState)
#: The bytes of a secret's id.
_ID_BYTES: Final = 8
# The types of public keys with a thumbprint.
_TYPES: Final = ("EC", "OKP", "RSA")


class RingKey(NamedTuple):
    """One key of a ring, with its state.

    :param id: the thumbprint of a public key, or 16 hexadecimal digits that a secret gives; it is no secret.
    :param state: the key's state.
    :param algorithm: the ``alg`` of its tokens.
    :param since: the time of its last change of state, in Unix seconds; None if it is unknown.
    :param key: the key itself; None for a retired one.
    """

    id: str
    state: KeyState
    algorithm: str
    since: float | None = None
    key: Key | None = None

    @classmethod
    def of(cls, key: Key, state: KeyState, since: float | None = None) -> RingKey:
        """``key`` in this state."""
        return cls(key_id(key), state, key.algorithm, since, key)


def key_id(key: Key) -> str:
    """The id of a key: of a public key its thumbprint (RFC 7638), of a secret 16 hexadecimal digits derived from it."""
    jwk = key.public_jwk()
    if jwk is not None and jwk.get("kty") in _TYPES:
        return thumbprint(jwk)
    return key.derive("key id")[:_ID_BYTES].hex()
