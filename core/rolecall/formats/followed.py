"""The format ``jwt`` for a verifier, which follows the keys of another service."""

from __future__ import annotations

from collections.abc import Sequence

from ..encoding import jws
from ..errors import NotInStep, OnlyVerifies, UnknownKey
from ..keys import KeyRing
from ..keys.following import FollowedKeys
from ..keys.issuers import Issuer
from ..keys.signers import Signer
from ..tokens import TokenOptions
from .claims import ClaimRules
from .own import JwtFormat


class FollowedFormat(JwtFormat):
    """The format ``jwt``, with the keys that another service publishes."""

    __slots__ = ("_followed", "_keys")

    def __init__(self, issuers: Sequence[Signer], rules: ClaimRules, keys: FollowedKeys) -> None:
        super().__init__(issuers, rules)
        self._keys = keys
        self._followed: tuple[KeyRing, jws.Codec] | None = None

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        raise only_verifies()

    def _open(self, token: bytes) -> bytes:
        ring, followed = self._keys.ring(), self._followed
        if followed is None or followed[0] is not ring:
            self._followed = followed = ring, jws.Codec(Issuer(self._issuer, ring), jws.OWN_TYPE)
        try:
            return followed[1].verify(token)
        except UnknownKey:
            names_key = "kid" in jws.read_header(token.partition(b".")[0])
            if names_key and self._keys.is_worth_a_wait():
                raise NotInStep("the token names a key that is not known yet") from None
            raise


def only_verifies() -> OnlyVerifies:
    """The refusal of whatever creates, mints or changes something."""
    return OnlyVerifies("this service only verifies tokens: sessions and tokens are made where its keys are from")
