"""Issuers of tokens in the format ``jwt``, for tests."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rolecall import Request, Rolecall
from rolecall.driver import drive
from rolecall.http.api.keys import KEY_ROUTES
from rolecall.http.respond import respond

ISSUER = "https://issuer.example"
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def private(algorithm: str, name: str = "ours") -> Any:
    """A private key of this kind and name, made once."""
    return _made(algorithm, name)


@cache
def _made(algorithm: str, name: str) -> Any:
    makers = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    return makers[algorithm]()


def pem(algorithm: str = "ES256", name: str = "ours") -> bytes:
    return private(algorithm, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issuing(algorithm: str = "ES256", name: str = "ours", **options: Any) -> Rolecall:
    """A kit that mints tokens of the format ``jwt`` with that key."""
    return Rolecall(**{"issuer": ISSUER, "private_key": pem(algorithm, name), **options})


def jwks(kit: Rolecall) -> dict[str, Any]:
    """The public keys of a kit, as its route has them."""
    answer = drive(respond(kit.api, KEY_ROUTES[0], Request("GET", "/jwks.json")))
    assert answer.status == 200
    return json.loads(answer.body)


def token_of(kit: Rolecall, **options: Any) -> str:
    return kit.create_session().generate_token(**options)
