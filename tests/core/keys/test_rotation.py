"""The life of a key: published, signing, verifying, retired; and what each step refuses."""

from __future__ import annotations

import re

import pytest

from rolecall.errors import InvalidKey
from rolecall.keys import HMACKey, KeyRing
from rolecall.keys.rotation import PUBLISHED_SECRET, added, named, retired, retires_from, rotated
from rolecall.keys.states import STATES, RingKey

NOW = 1_795_186_800
LIFE = 1000.0
SECRETS = [f"{number}2df95e9fdac14502e8a27a9d8a71e87ef64a502e" for number in range(5)]
KEYS = [HMACKey(secret) for secret in SECRETS]
FIRST, SECOND, THIRD = (RingKey.of(key, "published").id for key in KEYS[:3])


def states(entries) -> list[str]:
    return [one.state for one in entries]


def two(now: float = NOW) -> tuple[RingKey, ...]:
    return added(added((), KEYS[0], now), KEYS[1], now)


def test_the_first_key_signs_and_further_ones_are_published():
    assert states(two()) == ["signing", "published"]


def test_a_rotation_has_the_published_key_sign_and_the_other_verify():
    entries = rotated(two(), None, NOW + PUBLISHED_SECRET)
    assert [(one.state, one.since) for one in entries] == [("verifying", NOW + 10), ("signing", NOW + 10)]


def test_a_key_does_not_sign_before_all_workers_know_it_unless_forced():
    with pytest.raises(InvalidKey, match=r"may sign from .* on.*force the rotation"):
        rotated(two(), None, NOW + PUBLISHED_SECRET - 1)
    assert states(rotated(two(), None, NOW, force=True)) == ["verifying", "signing"]


def test_a_key_that_has_signed_before_signs_again_at_once():
    entries = rotated(two(), None, NOW, force=True)
    assert states(rotated(entries, FIRST, NOW)) == ["signing", "verifying"]


def test_a_key_is_retired_only_after_the_longest_life_of_its_tokens_unless_forced():
    entries = rotated(two(), None, NOW, force=True)
    with pytest.raises(InvalidKey, match=f"tokens of the key {FIRST} may be alive until"):
        retired(entries, FIRST, NOW + LIFE - 1, LIFE)
    gone = retired(entries, FIRST, NOW + LIFE, LIFE)
    assert gone[0] == RingKey(FIRST, "retired", "HS256", NOW + LIFE, None)
    assert states(retired(entries, FIRST, NOW, LIFE, force=True)) == ["retired", "signing"]


def test_a_published_key_has_no_tokens_and_is_retired_at_once():
    assert states(retired(two(), SECOND, NOW, LIFE)) == ["signing", "retired"]


def test_a_key_of_unknown_age_is_rotated_and_retired_by_force_alone():
    ring = KeyRing([KEYS[0], KEYS[1]]).entries
    with pytest.raises(InvalidKey, match="nobody knows since when"):
        retired(ring, SECOND, NOW, LIFE)
    with pytest.raises(InvalidKey, match="nobody knows how long"):
        rotated([RingKey.of(KEYS[0], "signing"), RingKey.of(KEYS[1], "published")], None, NOW)
    assert [retires_from(one, LIFE) for one in ring] == [None, None]


REFUSED = {
    "the key that signs is retired": (lambda: retired(two(), FIRST, NOW, LIFE, force=True), "rotate to another one"),
    "a key is retired twice": (
        lambda: retired(retired(two(), SECOND, NOW, LIFE), SECOND, NOW, LIFE, force=True),
        "is retired already",
    ),
    "a retired key signs": (
        lambda: rotated(retired(two(), SECOND, NOW, LIFE), SECOND, NOW, force=True),
        "never comes back",
    ),
    "a retired key comes back": (lambda: added(retired(two(), SECOND, NOW, LIFE), KEYS[1], NOW), "never comes back"),
    "the same key twice": (lambda: added(two(), HMACKey(SECRETS[0]), NOW), "is in the ring already: it is signing"),
    "the key that signs shall sign": (lambda: rotated(two(), FIRST, NOW), "is signing already"),
    "none is published": (lambda: rotated(two()[:1], None, NOW), "no key is published; add one"),
    "two are published": (lambda: rotated(added(two(), KEYS[2], NOW), None, NOW), "say which one"),
    "no such key": (lambda: rotated(two(), "0123456789abcdef", NOW), f"its keys are {FIRST}, {SECOND}"),
    "too short an id": (lambda: named(two(), FIRST[:3]), "no key of the ring"),
}


@pytest.mark.parametrize(("step", "message"), REFUSED.values(), ids=REFUSED)
def test_a_step_that_hurts_is_refused_with_what_to_do(step, message):
    with pytest.raises(InvalidKey, match=message):
        step()


def test_a_key_is_named_by_the_beginning_of_its_id():
    assert named(two(), SECOND[:4]).id == SECOND


BAD_RINGS = {
    "two that sign": (["signing", "signing"], f"2 keys are signing, {FIRST} and {SECOND}; one signs"),
    "none that signs": (["published", "verifying"], "no key is signing"),
    "an unknown state": (["signing", "asleep"], f"has the state 'asleep'; the states are {', '.join(STATES)}"),
}


@pytest.mark.parametrize(("given", "message"), BAD_RINGS.values(), ids=BAD_RINGS)
def test_a_ring_with_wrong_states_is_refused(given, message):
    with pytest.raises(InvalidKey, match=re.escape(message)):
        KeyRing.of(RingKey.of(key, state) for key, state in zip(KEYS, given, strict=False))


def test_a_ring_with_the_same_key_twice_is_refused():
    with pytest.raises(InvalidKey, match=f"the key {FIRST} is in the ring twice"):
        KeyRing.of([RingKey.of(KEYS[0], "signing"), RingKey.of(HMACKey(SECRETS[0], "another"), "verifying")])


def test_the_key_that_signs_is_tried_first_and_one_that_is_published_last():
    entries = [RingKey.of(KEYS[0], "published"), RingKey.of(KEYS[1], "verifying"), RingKey.of(KEYS[2], "signing")]
    ring = KeyRing.of(entries)
    assert (ring.find(None), ring.current) == ((KEYS[2], KEYS[1], KEYS[0]), KEYS[2])
    assert ring.entries == tuple(entries)


def test_a_retired_key_is_no_key_of_the_ring():
    ring = KeyRing.of(retired(two(), SECOND, NOW, LIFE))
    assert (list(ring), [one.id for one in ring.entries]) == ([KEYS[0]], [FIRST, SECOND])


def test_the_id_of_a_secret_is_always_the_same_and_shows_nothing_of_it():
    assert RingKey.of(HMACKey(SECRETS[0].encode()), "signing").id == FIRST
    assert re.fullmatch("[0-9a-f]{16}", FIRST)
    assert FIRST not in SECRETS[0]
