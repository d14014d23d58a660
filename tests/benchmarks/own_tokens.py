"""How fast the format ``jwt`` is beside ``cryptography`` alone: ``python tests/benchmarks/own_tokens.py``.

The rows are whole calls: ``kit.generate_token`` validates all options; ``verify_token``, of a kit and of a verifier,
checks all claims, with tokens that nobody has seen. The floor of a verification is the raw one and the JSON and base64
that no reader can leave out.
"""

from __future__ import annotations

import argparse
import base64
import json
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from keys import FLOOR, RAW, keys
from measuring import Fresh, Table, Times, show, target

from rolecall import Rolecall

ISSUER = "https://issuer.example"


def one(rounds: int, private: Any, told: tuple[Any, ...], bound: float) -> None:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    kit, public = Rolecall(issuer=ISSUER, private_key=pem), private.public_key()
    session = kit.create_session().session_id
    signer = kit._state.signer
    assert signer is not None
    key_set = {"keys": [key.public_jwk() for key in signer.ring]}
    verifier = Rolecall.verifier(key_set, issuer=ISSUER)

    def mint() -> str:
        return kit.generate_token(session, "moderator", data="name=Ada Lovelace")

    token = mint().encode()
    signing_input = token.rpartition(b".")[0]
    algorithm = signer.ring.current.algorithm
    form = kit._state.mint
    options = kit.engine._options(
        session, kit.api_key, "moderator", None, "name=Ada Lovelace", (), form, kit._state.clock()
    )
    rows: Table = {
        RAW: lambda: private.sign(signing_input, *told),
        "the format's mint": lambda: form.mint(options),
        "kit.generate_token": mint,
    }
    times = Times(rows, rounds, 100)
    show(f"mint {algorithm}", times, RAW)
    target("the format's mint / raw", times.ratio("the format's mint", RAW), bound)
    print(f"         kit.generate_token, with all validation / raw: {times.ratio('kit.generate_token', RAW):.3f}")

    raw = private.sign(signing_input, *told)

    def floor() -> object:
        header, payload, signature = token.split(b".")
        json.loads(_decode(header))
        _decode(signature)
        public.verify(raw, signing_input, *told)
        return json.loads(_decode(payload))

    ours, theirs = Fresh(mint), Fresh(mint)
    table: Table = {
        FLOOR: floor,
        RAW: lambda: public.verify(raw, signing_input, *told),
        "kit.verify_token": lambda: kit.verify_token(ours()),
        "verifier.verify_token": lambda: verifier.verify_token(theirs()),
    }
    times = Times(table, rounds, 100, [ours, theirs])
    show(f"verify {algorithm}", times, FLOOR)
    for row in ("kit.verify_token", "verifier.verify_token"):
        target(f"{row} / floor", times.ratio(row, FLOOR), 1.2)
        print(f"         {row} / raw verification alone: {times.ratio(row, RAW):.3f}")
    verifier.close()
    kit.close()


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


def main(rounds: int) -> None:
    for _, private, told, bound in keys().values():
        one(rounds, private, told, bound)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    main(parser.parse_args().rounds)
