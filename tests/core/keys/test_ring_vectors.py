"""Rings of private keys in all four states, with tokens of other libraries; see ``tests/vectors/README.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jwt import PyJWK

from rolecall.encoding.jws import Codec, raw_token
from rolecall.errors import InvalidToken
from rolecall.keys import ECKey, Ed25519Key, Key, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.keys.jwk import thumbprint
from rolecall.keys.making import pem_of
from rolecall.keys.states import RingKey, key_id

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ring_vectors.json").read_text("utf-8"))
RINGS: dict[str, dict[str, Any]] = {ring["alg"]: ring for ring in VECTORS["rings"]}
#: The errors that a codec finds; what is wrong with the claims comes after it.
OF_SIGNATURES = ("bad_signature", "unknown_key", "wrong_token_kind")
TOKENS = [
    pytest.param(algorithm, case, id=f"{algorithm} {case['name']}")
    for algorithm, ring in RINGS.items()
    for case in ring["tokens"]
    if case["expect"] == "accept"
    or case.get("code") in OF_SIGNATURES
    or (case["expect"] == "refuse" and case["name"].startswith(("kid", "alg", "HS256")))
]


def key_of(jwk: dict[str, Any]) -> Key:
    pem = pem_of(PyJWK(jwk).key)
    return ECKey(pem, jwk["kid"]) if jwk["kty"] == "EC" else Ed25519Key(pem, jwk["kid"])


def ring_of(ring: dict[str, Any]) -> KeyRing:
    ours = [key for key in ring["keys"] if key["state"] != "foreign"]
    return KeyRing.of(RingKey.of(key_of(key["private_jwk"]), key["state"]) for key in ours)


CODECS = {algorithm: Codec(Issuer("an issuer", ring_of(ring)), VECTORS["typ"]) for algorithm, ring in RINGS.items()}


@pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)
def test_the_id_of_a_key_is_its_thumbprint(ring):
    for key in ring["keys"]:
        assert key_id(key_of(key["private_jwk"])) == thumbprint(key["public_jwk"]) == key["kid"]


@pytest.mark.parametrize(("algorithm", "case"), TOKENS)
def test_a_token_is_taken_by_what_its_key_may(algorithm, case):
    codec = CODECS[algorithm]
    if case["expect"] == "accept":
        codec.verify(raw_token(case["token"]))
        return
    with pytest.raises(InvalidToken) as refused:
        codec.verify(raw_token(case["token"]))
    assert refused.value.code == case.get("code", refused.value.code)
