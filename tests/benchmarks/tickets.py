"""How fast tickets are beside their floor and the official SDK: ``python tests/benchmarks/tickets.py``.

Of every service the mint stands beside the floor for its own payload, too.

The floor of a token is what nobody can leave out for the same payload: its JSON, base64 and HMAC. The row of the kit's
``ticket`` has the look at the store, the check whether the grant still stands, and the TURN credential.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import secrets
import struct
import sys
import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from livekit import api
from measuring import Fresh, Table, Times, show, target

from rolecall import Role, Rolecall
from rolecall.media import LiveKit, Turn
from rolecall.tokens import TokenOptions

KEY, SECRET = "APIrolecallTest1", secrets.token_hex(32)
FLOOR = "floor: json + base64 + hmac.digest"
OURS = "the format's mint"


def main(rounds: int) -> None:
    livekit = LiveKit("wss://media.example", KEY, SECRET, turn=Turn("turn:turn.example", SECRET))
    kit = Rolecall("123456", secrets.token_hex(32), media=livekit)
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token("moderator", actor="ada"))
    found = kit._state.media.of(session)
    assert found is not None
    form = found[1]
    assert form is not None
    now, key = int(time.time()), SECRET.encode()
    options = TokenOptions(session.session_id, Role.MODERATOR, now, now + 3600, subject="ada")
    seen = form.mint(options)[0]
    claims = json.loads(_decode(seen.encode().split(b".")[1]))

    def floor_mint() -> str:
        signing_input = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        signing_input += b"." + _encode(json.dumps(claims, separators=(",", ":")).encode())
        return (signing_input + b"." + _encode(hmac.digest(key, signing_input, "sha256"))).decode()

    grants = api.VideoGrants(room_join=True, room=session.session_id)
    mint: Table = {
        FLOOR: floor_mint,
        OURS: lambda: form.mint(options),
        "kit.ticket": lambda: kit.ticket(grant),
        "livekit-api to_jwt": lambda: (
            api.AccessToken(KEY, SECRET).with_identity("ada").with_ttl(timedelta(hours=1)).with_grants(grants).to_jwt()
        ),
    }
    times = Times(mint, rounds, 300)
    show("mint", times, FLOOR)
    target("the format's mint / floor", times.ratio(OURS, FLOOR), 1.2)
    target("livekit-api / the format's mint", times.ratio("livekit-api to_jwt", OURS), 4, at_least=True)

    fresh = [Fresh(lambda: form.mint(options)[0]) for _ in range(2)]
    floor_next, next_token = fresh
    verifier = api.TokenVerifier(KEY, SECRET)

    def floor_verify() -> object:
        signing_input, _, signature = floor_next().encode().rpartition(b".")
        header, _, payload = signing_input.partition(b".")
        json.loads(_decode(header))
        if not hmac.compare_digest(_decode(signature), hmac.digest(key, signing_input, "sha256")):
            raise ValueError
        return json.loads(_decode(payload))

    verify: Table = {
        FLOOR: floor_verify,
        "the format's verify": lambda: form.verify(next_token().encode(), now),
        "livekit-api verify": lambda: verifier.verify(seen),
    }
    times = Times(verify, rounds, 300, fresh)
    show("verify", times, FLOOR)
    target("livekit-api / verify", times.ratio("livekit-api verify", "the format's verify"), 1.5, at_least=True)


def every_format(rounds: int) -> None:
    """The mint of each service's format beside the floor of its own payload."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.conformance.test_every_media_service import SETTINGS

    from rolecall.formats.claims import ClaimRules
    from rolecall.media import BACKENDS, find_backend
    from rolecall.roles import RoleTable

    now = int(time.time())
    print("\nthe mint of each service's format / the floor of its payload")
    for name in BACKENDS:
        backend = find_backend(name)
        assert backend is not None
        made = backend(**SETTINGS[name]("http://127.0.0.1:9"))
        form = made.token_format(ClaimRules(RoleTable(), 10))
        if form is None:
            print(f"  {name}: the service itself mints")
            continue
        life = max(60, made.shortest_life)
        options = TokenOptions("room1", Role.PUBLISHER, now, now + life, subject="ada")
        floor = _floor(form.mint(options)[0], form)
        if floor is None:
            alone = Times({OURS: partial(form.mint, options)}, rounds, 100).microseconds(OURS)
            print(f"  {name}: {alone:.2f} µs; its tokens have no floor of this kind")
            continue
        times = Times({FLOOR: floor, OURS: partial(form.mint, options)}, rounds, 100)
        target(name, times.ratio(OURS, FLOOR), 1.2)


def _floor(token: str, form: Any) -> Callable[[], object] | None:
    """What nobody can leave out: the JSON of a JWT, base64, and the signature; None for tokens of another kind."""
    if token.startswith("007"):
        return _floor_of_agora(token)
    if not token.startswith("eyJ"):
        return _floor_of_janus() if ",janus.plugin." in token else None
    header, claims = (json.loads(_decode(part.encode())) for part in token.split(".")[:2])
    if header["alg"] == "HS256":
        key = secrets.token_bytes(32)

        def sign(data: bytes) -> bytes:
            return hmac.digest(key, data, "sha256")
    else:
        sign = form._codec._prepared.signer.sign  # a loaded key of cryptography's

    def mint() -> str:
        signing_input = _encode(json.dumps(header).encode())
        signing_input += b"." + _encode(json.dumps(claims, separators=(",", ":")).encode())
        return (signing_input + b"." + _encode(sign(signing_input))).decode()

    return mint


def _floor_of_janus() -> Callable[[], object]:
    key, now = secrets.token_bytes(32), int(time.time())

    def mint() -> str:
        data = f"{now + 60},janus.plugin.videoroom,room={'room1'},iat={now},actor={quote('ada', safe='')}"
        return f"{data}:{base64.b64encode(hmac.digest(key, data.encode(), 'sha1')).decode()}"

    return mint


def _floor_of_agora(token: str) -> Callable[[], object]:
    """What is signed of a token with another salt, as Agora's SDK makes it: three times HMAC, zlib and base64."""
    certificate, content = secrets.token_hex(16).encode(), zlib.decompress(base64.b64decode(token[3:]))
    info = content[34:]
    issued_at = info[34:38]

    def mint() -> str:
        salt = os.urandom(4)
        signed = info[:42] + salt + info[46:]
        key = hmac.digest(salt, hmac.digest(issued_at, certificate, "sha256"), "sha256")
        signature = hmac.digest(key, signed, "sha256")
        return "007" + base64.b64encode(zlib.compress(struct.pack("<H", 32) + signature + signed)).decode()

    return mint


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    arguments = parser.parse_args()
    main(arguments.rounds)
    every_format(arguments.rounds)
