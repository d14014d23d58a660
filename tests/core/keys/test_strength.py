"""How hard a secret is to guess, by its look."""

from __future__ import annotations

import secrets

import pytest

from rolecall.cli.diagnosis import LEAST_BITS
from rolecall.keys import HMACKey
from rolecall.keys.strength import strength


@pytest.mark.parametrize(
    "secret",
    [
        "correct horse battery staple, as they say",
        "MySuperSecretPasswordForTheSchool2026",
        "0123456789abcdef0123456789abcdef",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "x7Gq" * 12,
        "93751048263957104826395710482639",
    ],
)
def test_a_secret_that_can_be_guessed_looks_weak(secret):
    assert strength(secret) < LEAST_BITS


@pytest.mark.parametrize(
    "make", [lambda: secrets.token_hex(16), lambda: secrets.token_hex(20), lambda: secrets.token_urlsafe(32)]
)
def test_a_random_secret_looks_strong(make):
    looks = [strength(make()) for _ in range(300)]
    assert sum(bits < LEAST_BITS for bits in looks) <= 3


@pytest.mark.parametrize("secret", ["correct horse battery staple, as they say", bytes(range(0, 256, 7))])
def test_a_key_tells_the_strength_of_its_secret(secret):
    as_text = secret if isinstance(secret, str) else secret.decode("latin-1")
    assert HMACKey(secret).strength() == strength(as_text)
