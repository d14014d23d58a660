"""How fast application tokens (RS256) are beside the signature alone: ``python tests/benchmarks/applications.py``.

The floor of a verification is the raw one and the JSON and base64 that no reader can leave out, without one check; the
row without these is shown, too.
"""

from __future__ import annotations

import argparse
import base64
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from measuring import Fresh, Table, Times, show, target
from vonage_http_client import Auth, HttpClient
from vonage_video import TokenOptions, Video

from rolecall import InvalidToken, Rolecall

APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
DATA = "name=Ada Lovelace"
LAYOUT = ["focus", "small"]
RAW = "raw: cryptography, a loaded key"
FLOOR = "floor: raw + json + base64"


def main(rounds: int) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    kit = Rolecall(application_id=APPLICATION, private_key=pem)
    session_id = kit.create_session().session_id
    seen = mint_one(kit, session_id)
    claims = dict(kit.verify_token(seen).claims)
    claims["acl"] = {"paths": {"/session/**": {}}}
    signing_input, _, signature = seen.encode().rpartition(b".")
    scheme, digest, raw_signature = padding.PKCS1v15(), SHA256(), _decode(signature)
    sdk = Video(HttpClient(Auth(application_id=APPLICATION, private_key=pem)))

    mint: Table = {
        RAW: lambda: key.sign(signing_input, scheme, digest),
        "Rolecall generate_token": lambda: mint_one(kit, session_id),
        "PyJWT encode, a loaded key": lambda: jwt.encode(claims, key, algorithm="RS256"),
    }
    times = Times(mint, rounds, 40)
    show("mint RS256, everything validated", times, RAW)
    target("mint / raw signature", times.ratio("Rolecall generate_token", RAW), 1.1)

    # Apart, because it loads its key each time.
    options = TokenOptions(session_id=session_id, role="moderator", connection_data=DATA)
    mint = {
        "Rolecall generate_token": lambda: mint_one(kit, session_id),
        "vonage-video generate_client_token": lambda: sdk.generate_client_token(options),
    }
    times = Times(mint, max(5, rounds // 6), 5)
    show("mint RS256, beside the SDK", times, "Rolecall generate_token")

    def fresh() -> Fresh:
        return Fresh(lambda: mint_one(kit, session_id))

    floor_next, first_next, jwt_next = fresh(), fresh(), fresh()
    forged_next = Fresh(lambda: mint_one(kit, session_id)[:-8] + "AAAAAAAA")

    def floor_verify() -> object:
        signing_input, _, signature = floor_next().encode().rpartition(b".")
        header, _, payload = signing_input.partition(b".")
        json.loads(_decode(header))
        public.verify(_decode(signature), signing_input, scheme, digest)
        return json.loads(_decode(payload))

    def refuse() -> None:
        try:
            kit.verify_token(forged_next())
        except InvalidToken:
            return
        raise AssertionError("a forged token was accepted")

    verify: Table = {
        FLOOR: floor_verify,
        RAW: lambda: public.verify(raw_signature, signing_input, scheme, digest),
        "Rolecall verify_token, first sight": lambda: kit.verify_token(first_next()),
        "Rolecall verify_token, seen before": lambda: kit.verify_token(seen),
        "Rolecall verify_token, forged": refuse,
        "PyJWT decode, a loaded key": lambda: jwt.decode(jwt_next(), public, algorithms=["RS256"]),
    }
    times = Times(verify, rounds, 40, (floor_next, first_next, jwt_next, forged_next))
    show("verify RS256, everything checked", times, FLOOR)
    first = "Rolecall verify_token, first sight"
    target("verify / floor", times.ratio(first, FLOOR), 1.2)
    print(f"         verify / raw verification alone: {times.ratio(first, RAW):.3f}")
    target("seen before / verify", times.ratio("Rolecall verify_token, seen before", first), 0.1)


def mint_one(kit: Rolecall, session_id: str) -> str:
    return kit.generate_token(session_id, "moderator", None, DATA, LAYOUT)


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    main(parser.parse_args().rounds)
