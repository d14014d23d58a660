"""TURN credentials: the vectors, what is made, and what a server with the secrets takes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from rolecall.errors import ConfigurationError, InvalidExpireTime, InvalidKey
from rolecall.media import Turn

from ...tracebacks import held_by
from ...untyped import untyped

SECRET, OLD = "throwaway-turn-secret-one-0123456789", "throwaway-turn-secret-two-9876543210"
NOW, END = 1_700_000_000, 1_700_003_600
URLS = ["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"]
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
CREDENTIALS = {one["inputs"]["label"]: one["token"] for one in VECTORS if one["service"] == "turn-rest"}
#: What this kit takes of them: it makes the time first, and no time beyond 32 bits.
TAKEN = {"expiry and user": True, "expiry only": True, "user first": False, "expiry beyond 32 bits": False}

pytestmark = pytest.mark.each_choice


@pytest.mark.parametrize("label", CREDENTIALS)
def test_vectors_are_taken_or_refused(label):
    credential = CREDENTIALS[label]
    assert Turn(URLS, SECRET).verify(credential["username"], credential["password"], NOW) == TAKEN[label]


def test_a_credential_is_that_of_the_draft():
    vector = CREDENTIALS["expiry and user"]
    assert Turn(URLS, SECRET).credential("alice", END) == (vector["username"], vector["password"])
    assert dict(Turn(URLS, SECRET).ice_server("alice", END)) == {
        "urls": URLS,
        "username": vector["username"],
        "credential": vector["password"],
    }


@pytest.mark.parametrize(
    ("user", "written"),
    [
        ("ada@example.org", "ada@example.org"),
        ("Ada Lovelace", "Ada%20Lovelace"),
        ("a:b", "a%3Ab"),
        ("Zoë", "Zo%C3%AB"),
        ("雪" * 255, sha256(("雪" * 255).encode()).hexdigest()),
    ],
)
def test_a_user_is_written_so_that_a_server_reads_it(user, written):
    username, password = Turn(URLS, SECRET).credential(user, END)
    assert username == f"{END}:{written}"
    assert Turn(URLS, SECRET).verify(username, password, NOW)


@pytest.mark.parametrize(("now", "good"), [(END - 1, True), (END, True), (END + 1, False)])
def test_a_credential_ends_with_its_time(now, good):
    assert Turn(URLS, SECRET).verify(*Turn(URLS, SECRET).credential("alice", END), now) == good


@pytest.mark.parametrize("end", [0, -1, 2**32])
def test_a_time_that_32_bits_cannot_hold_is_refused(end):
    with pytest.raises(InvalidExpireTime, match="32 bits"):
        Turn(URLS, SECRET).credential("alice", end)


@pytest.mark.parametrize(
    "change",
    [
        lambda name, word: (name.replace("alice", "bob"), word),
        lambda name, word: (name.replace(str(END), str(END + 1)), word),
        lambda name, word: (name, word[:-2] + "A="),
        lambda name, word: (name, word.rstrip("=")),
        lambda name, word: ("alice", word),
        lambda name, word: (f"+{name}", word),
        lambda name, word: (None, word),
        lambda name, word: (name, None),
        lambda name, word: (name, "é"),
        lambda name, word: (name, word + "\ud800"),
        lambda name, word: (name + "\ud800", word),
    ],
)
def test_a_changed_credential_is_refused(change):
    turn = Turn(URLS, SECRET)
    username, password = change(*turn.credential("alice", END))
    assert not turn.verify(username, password, NOW)


def test_two_secrets_allow_a_change():
    before, during, after = Turn(URLS, OLD), Turn(URLS, SECRET, [OLD]), Turn(URLS, SECRET)
    assert during.verify(*before.credential("alice", END), NOW)
    assert after.verify(*during.credential("alice", END), NOW)
    assert not after.verify(*before.credential("alice", END), NOW)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((URLS, "short"), "turn: secret: the secret has 5 bytes"),
        ((URLS, None), "turn: secret: expected text"),
        ((URLS, SECRET, ["x"]), "turn: verify_secrets, number 1: the secret has 1 bytes"),
        ((URLS, SECRET, OLD), "turn: verify_secrets is a text of .*; expected a list"),
        ((URLS, SECRET, 7), "turn: verify_secrets is of type int; expected a list"),
        ((URLS, SECRET, [OLD, OLD + "1", OLD + "2"]), "at most 2"),
        (([], SECRET), "urls"),
        ((["stun:turn.example"], SECRET), "urls"),
        ((7, SECRET), "urls"),
        ((SECRET, "turn:turn.example.org:3478?transport=udp"), "urls is a text of 36 characters"),
    ],
)
def test_a_wrong_argument_is_named_and_no_secret_is_quoted(arguments, message):
    with pytest.raises((ConfigurationError, InvalidKey), match=message) as refused:
        Turn(*map(untyped, arguments))
    assert SECRET[:12] not in held_by(refused.value)


def test_its_repr_has_no_secret():
    assert repr(Turn("turn:turn.example", SECRET)) == "<Turn turn:turn.example>"
