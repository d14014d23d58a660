"""The kit's own tokens in Node.js: ``jose`` and ``jsonwebtoken`` read them, and refuse what they should."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rolecall.encoding import base64url

from ..own_tokens import ALGORITHMS, ISSUER, issuing, jwks, token_of

pytestmark = pytest.mark.sdk

SCRIPT = """
const jose = require("jose");
const jsonwebtoken = require("jsonwebtoken");
const { createPublicKey } = require("crypto");
const { sets } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const asked = (alg) => ({ algorithms: [alg], issuer: "https://issuer.example", audience: "rooms" });
const how = {
  jose: async (token, jwks) =>
    (await jose.jwtVerify(token, jose.createLocalJWKSet(jwks),
                          { ...asked(jwks.keys[0].alg), typ: "rolecall+jwt" })).payload.role,
  jsonwebtoken: async (token, jwks) => {
    const { kid } = jsonwebtoken.decode(token, { complete: true }).header;
    const key = createPublicKey({ key: jwks.keys.find((one) => one.kid === kid), format: "jwk" });
    return jsonwebtoken.verify(token, key, asked(jwks.keys[0].alg)).role;
  },
};
(async () => {
  const answers = [];
  for (const { jwks, tokens, library } of sets) {
    const row = [];
    for (const token of tokens) {
      try { row.push(await how[library](token, jwks)); } catch (error) { row.push(false); }
    }
    answers.push(row);
  }
  console.log(JSON.stringify(answers));
})();
"""


def changed(token: str, part: int, old: bytes, new: bytes) -> str:
    parts = token.encode().split(b".")
    parts[part] = base64url.encode(base64url.decode(parts[part]).replace(old, new))
    return b".".join(parts).decode()


def test_good_tokens_are_read_and_bad_ones_refused(run_node):
    sets: list[dict[str, Any]] = []
    for algorithm in ALGORITHMS:
        past = time.time() - 7200
        with (
            issuing(algorithm, audience="rooms") as kit,
            issuing(algorithm, "another", audience="rooms") as other,
            issuing(algorithm, audience="rooms", clock=lambda past=past: past) as earlier,
        ):
            good = token_of(kit, role="moderator")
            tokens = [
                good,
                token_of(kit, role="subscriber", data="Zoë"),
                changed(good, 1, b"moderator", b"publisher"),
                changed(good, 0, algorithm.encode(), b"HS256"),
                changed(good, 0, algorithm.encode(), b"none"),
                token_of(other),
                token_of(earlier, expire_time=past + 3600),
                good[:-8] + "AAAAAAAA",
            ]
            sets += [{"jwks": jwks(kit), "tokens": tokens, "library": name} for name in ("jose", "jsonwebtoken")]
    # jsonwebtoken has no EdDSA.
    sets = [one for one in sets if (one["library"], one["jwks"]["keys"][0]["alg"]) != ("jsonwebtoken", "EdDSA")]
    assert ISSUER == "https://issuer.example"
    assert run_node(SCRIPT, {"sets": sets}) == [["moderator", "subscriber", *[False] * 6]] * 5
