"""How fast each kind of key is beside ``cryptography`` alone: ``python tests/benchmarks/keys.py``.

The floor of a verification is the raw one and the JSON and base64 that no reader can leave out, without one check. The
last table has rings of three secrets, without ``kid``: what a token costs by the place of its key.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from measuring import Table, Times, show, target

from rolecall.encoding import strict_json
from rolecall.encoding.jws import Codec
from rolecall.errors import BadSignature
from rolecall.keys import ECKey, Ed25519Key, HMACKey, Key, KeyRing, RSAKey
from rolecall.keys.issuers import Issuer

RAW = "raw: cryptography, a loaded key"
FLOOR = "floor: raw + json + base64"
PAYLOAD = json.dumps(
    {
        "session_id": "1_" + "MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-fnJj" * 2,
        "role": "moderator",
        "iat": 1_795_186_800,
        "exp": 1_795_190_400,
        "scope": "session.connect",
        "iss": "123456",
        "ist": "project",
        "nonce": 3_141_592_653,
        "jti": "4f1d9c0a7be24a3d8d6c1f0b5a9e2c37",
        "connection_data": "name=Ada Lovelace",
    },
    separators=(",", ":"),
).encode()


def keys() -> dict[str, tuple[type[Any], Any, tuple[Any, ...], float]]:
    """By algorithm: the kit's class, a private key, what ``cryptography`` is told at each call, the target of mint."""
    return {
        "RS256": (RSAKey, rsa.generate_private_key(65537, 2048), (padding.PKCS1v15(), SHA256()), 1.1),
        "ES256": (ECKey, ec.generate_private_key(ec.SECP256R1()), (ec.ECDSA(SHA256()),), 1.3),
        "EdDSA": (Ed25519Key, ed25519.Ed25519PrivateKey.generate(), (), 1.3),
    }


def one(rounds: int, algorithm: str, kind: type[Any], private: Any, told: tuple[Any, ...], bound: float) -> None:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    codec, public = codec_of(kind(pem)), private.public_key()
    token = codec.sign(PAYLOAD).encode()
    signing_input = token.rpartition(b".")[0]
    raw = private.sign(signing_input, *told)

    times = Times(
        {RAW: lambda: private.sign(signing_input, *told), "Codec.sign": lambda: codec.sign(PAYLOAD)}, rounds, 100
    )
    show(f"sign {algorithm}", times, RAW)
    target("sign / raw", times.ratio("Codec.sign", RAW), bound)

    def floor() -> object:
        header, payload, signature = token.split(b".")
        json.loads(_decode(header))
        _decode(signature)
        public.verify(raw, signing_input, *told)
        return json.loads(_decode(payload))

    verify: Table = {
        FLOOR: floor,
        RAW: lambda: public.verify(raw, signing_input, *told),
        "Codec.verify and strict JSON": lambda: strict_json.loads(codec.verify(token)),
    }
    times = Times(verify, rounds, 100)
    show(f"verify {algorithm}", times, FLOOR)
    target("verify / floor", times.ratio("Codec.verify and strict JSON", FLOOR), 1.2)
    print(f"         verify / raw verification alone: {times.ratio('Codec.verify and strict JSON', RAW):.3f}")


def rings(rounds: int) -> None:
    secrets = [HMACKey(os.urandom(32).hex()) for _ in range(4)]
    ring, alone = codec_of(*secrets[:3]), codec_of(secrets[0])
    tokens = [codec_of(key).sign(PAYLOAD).encode() for key in secrets]

    def refused(codec: Codec, token: bytes) -> Callable[[], None]:
        def row() -> None:
            try:
                codec.verify(token)
            except BadSignature:
                return
            raise AssertionError("a forged token was accepted")

        return row

    base = "a ring of one"
    table: Table = {base: lambda: alone.verify(tokens[0])}
    for place, token in zip(("signing", "second", "third"), tokens, strict=False):
        table[f"of three, by the {place}"] = partial(ring.verify, token)
    table["of one, forged"] = refused(alone, tokens[3])
    table["of three, forged"] = refused(ring, tokens[3])
    times = Times(table, rounds, 400)
    show("verify HS256 without kid", times, base)
    target("of three, by the signing / of one", times.ratio("of three, by the signing", base), 1.03)


def codec_of(*ring: Key) -> Codec:
    return Codec(Issuer("123456", KeyRing(ring)))


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


def main(rounds: int) -> None:
    for algorithm, given in keys().items():
        one(rounds, algorithm, *given)
    rings(rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    main(parser.parse_args().rounds)
