"""How fast Rolecall is beside its floor and its peers: ``python tests/benchmarks/run.py``.

All rows of a table run interleaved in one process, so that a drift of the machine's speed touches each alike. What
counts is the median of the ratios inside a round, not an absolute time, and of that the median over some processes:
where one happens to have its code and data in memory shifts its ratios by some percent. Peers that are not installed
are left out (``pip install -e ".[bench]"`` brings them).
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import suppress
from importlib.util import find_spec

import jwt
import web
from measuring import Fresh, Row, Table, Times, in_processes, show, target
from opentok import Client, Roles
from peers import DATA, SECRET, flask_jwt_extended_app

from rolecall import InvalidToken, Rolecall

API_KEY = "123456"
LAYOUT = ["focus", "small"]
FLOOR = "floor: json + base64 + hmac.digest"


def tokens(rounds: int) -> None:
    kit = Rolecall(API_KEY, SECRET)
    session_id = kit.create_session().session_id
    seen = kit.generate_token(session_id, "moderator", None, DATA, LAYOUT)
    claims = dict(kit.verify_token(seen).claims)
    key = SECRET.encode()
    opentok = Client(API_KEY, SECRET)

    def fresh_tokens() -> Fresh:
        return Fresh(lambda: kit.generate_token(session_id, "moderator", None, DATA, LAYOUT))

    def floor_mint() -> str:
        signing_input = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        signing_input += b"." + _encode(json.dumps(claims, separators=(",", ":")).encode())
        signature = hmac.digest(key, signing_input, "sha256")
        return (signing_input + b"." + _encode(signature)).decode()

    mint: Table = {
        FLOOR: floor_mint,
        "PyJWT encode": lambda: jwt.encode(claims, SECRET, algorithm="HS256"),
        "opentok generate_token": lambda: opentok.generate_token(session_id, Roles.moderator, None, DATA, LAYOUT),
        "Rolecall generate_token": lambda: kit.generate_token(session_id, "moderator", None, DATA, LAYOUT),
    }
    with suppress(ImportError):
        from livekit import api

        grants = api.VideoGrants(room_join=True, room=session_id)
        mint["livekit-api to_jwt"] = lambda: (
            api.AccessToken(API_KEY, SECRET).with_identity("ada").with_grants(grants).to_jwt()
        )
    times = Times(mint, rounds, 400)
    show("mint HS256, everything validated", times, FLOOR)
    ours = "Rolecall generate_token"
    target("mint / floor", times.ratio(ours, FLOOR), 0.9)
    target("opentok / mint", times.ratio("opentok generate_token", ours), 2.5, at_least=True)
    if "livekit-api to_jwt" in mint:
        target("livekit-api / mint", times.ratio("livekit-api to_jwt", ours), 7, at_least=True)

    fresh = floor_next, first_next, jwt_next, forged_next = (
        fresh_tokens(),
        fresh_tokens(),
        fresh_tokens(),
        Fresh(lambda: kit.generate_token(session_id, "moderator", None, DATA, LAYOUT)[:-8] + "AAAAAAAA"),
    )

    def floor_verify() -> object:
        signing_input, _, signature = floor_next().encode().rpartition(b".")
        header, _, payload = signing_input.partition(b".")
        json.loads(_decode(header))
        if not hmac.compare_digest(_decode(signature), hmac.digest(key, signing_input, "sha256")):
            raise ValueError
        return json.loads(_decode(payload))

    def refuse() -> None:
        try:
            kit.verify_token(forged_next())
        except InvalidToken:
            return
        raise AssertionError("a forged token was accepted")

    verify: Table = {
        FLOOR: floor_verify,
        "PyJWT decode": lambda: jwt.decode(jwt_next(), SECRET, algorithms=["HS256"]),
        "Rolecall verify_token, first sight": lambda: kit.verify_token(first_next()),
        "Rolecall verify_token, seen before": lambda: other.verify_token(seen),
        "Rolecall verify_token, forged": refuse,
    }
    other = Rolecall(API_KEY, SECRET)
    with suppress(ImportError):
        verify["flask-jwt-extended verify_jwt_in_request"] = _flask_jwt_extended_verify()
    times = Times(verify, rounds, 400, fresh)
    show("verify HS256, everything checked", times, FLOOR)
    first, again = "Rolecall verify_token, first sight", "Rolecall verify_token, seen before"
    target("verify / floor", times.ratio(first, FLOOR), 0.95)
    target("PyJWT decode / verify", times.ratio("PyJWT decode", first), 5, at_least=True)
    if "flask-jwt-extended verify_jwt_in_request" in verify:
        peer = times.ratio("flask-jwt-extended verify_jwt_in_request", first)
        target("flask-jwt-extended / verify", peer, 15, at_least=True)
    target("seen before / floor", times.ratio(again, FLOOR), 0.14)
    target("refuse a forged token / floor", times.ratio("Rolecall verify_token, forged", FLOOR), 0.45)


def imports(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as bytecode:
        table: Table = {name: _importing(name, bytecode) for name in ("jwt, pluggy", "rolecall")}
        times = Times(table, max(5, rounds // 3), 1)
    show("import, a fresh interpreter each", times, "jwt, pluggy")
    target("import rolecall / import jwt, pluggy", times.ratio("rolecall", "jwt, pluggy"), 1.2)


def memory() -> None:
    kit = Rolecall(API_KEY, SECRET)
    session_id = kit.create_session().session_id
    minted = [kit.generate_token(session_id, "moderator", data=DATA) for _ in range(2000)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for token in minted * 2:  # what comes once is not remembered
        kit.verify_token(token)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print("\nmemory")
    target("KB per remembered token", (after - before) / len(minted) / 1000, 2.5)


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


def _flask_jwt_extended_verify() -> Row:
    from flask_jwt_extended import verify_jwt_in_request

    app, token = flask_jwt_extended_app()
    app.test_request_context(headers={"Authorization": f"Bearer {token}"}).push()
    return lambda: verify_jwt_in_request()


def _importing(modules: str, bytecode: str) -> Row:
    # With bytecode of its own, so that an environment that writes none does not compile one side at every start.
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", f"import {modules}"]
    subprocess.run(command, check=True, env=environ)
    return lambda: subprocess.run(command, check=True, env=environ)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="how often each row runs (60)")
    parser.add_argument("--processes", type=int, default=3, help="in how many processes, one after the other (3)")
    asked = parser.parse_args()
    if asked.processes > 1:
        in_processes(asked.processes)
        return
    rounds = asked.rounds
    fast = "with" if find_spec("pybase64") else "without"
    print(f"Python {sys.version.split()[0]}, PyJWT {jwt.__version__}, {fast} the extra fast, {rounds} rounds, medians")
    tokens(rounds)
    web.main(rounds)
    imports(rounds)
    memory()


if __name__ == "__main__":
    main()
