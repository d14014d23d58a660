"""How fast tickets are beside their floor and the official SDK: ``python tests/benchmarks/tickets.py``.

Of every service whose tokens a secret signs, the mint stands beside the floor for its own payload.

The floor of a token is what nobody can leave out for the same payload: its JSON, base64 and HMAC. The row of the kit's
``ticket`` has the look at the store, the check whether the grant still stands, and the TURN credential.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import secrets
import time
from datetime import timedelta
from functools import partial

from livekit import api
from measuring import Fresh, Table, Times, show, target

from rolecall import Role, Rolecall, RoleTable
from rolecall.formats.claims import ClaimRules
from rolecall.media import Daily, Galene, Jitsi, LiveKit, MediaBackend, Turn, Twilio
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


def services(rounds: int) -> None:
    """Measure the mint of each service's tokens."""
    octets = _encode(SECRET[:32].encode()).decode()
    backends: list[MediaBackend] = [
        Daily("https://example.daily.co", "30f866c3-0000-4000-8000-ff58322d09c5", SECRET),
        Galene("https://galene.example", {"kty": "oct", "alg": "HS256", "k": octets}),
        Jitsi("https://meet.example", "app", SECRET),
        Twilio("AC" + "0" * 32, "SK" + "1" * 32, SECRET),
    ]
    for backend in backends:
        form = backend.token_format(ClaimRules(RoleTable(), 10))
        assert form is not None
        now = int(time.time())
        options = TokenOptions("demo", Role.PUBLISHER, now, now + 3600, subject="ada", name="Ada")
        header, claims = (json.loads(_decode(part)) for part in form.mint(options)[0].encode().split(b".")[:2])
        key = SECRET[:32].encode() if backend.name == "galene" else SECRET.encode()
        mint: Table = {FLOOR: partial(_signed, header, claims, key), OURS: partial(form.mint, options)}
        times = Times(mint, rounds, 300)
        show(f"mint, {backend.name}", times, FLOOR)
        target(f"{backend.name}: the format's mint / floor", times.ratio(OURS, FLOOR), 1.2)


def _signed(header: object, claims: object, key: bytes) -> str:
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    signing_input = b".".join(map(_encode, parts))
    return (signing_input + b"." + _encode(hmac.digest(key, signing_input, "sha256"))).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    rounds = parser.parse_args().rounds
    main(rounds)
    services(rounds)
