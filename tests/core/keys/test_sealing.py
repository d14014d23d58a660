"""Sealing: a sealed key opens for its issuer alone, with its wrapping key alone, and shows nowhere."""

from __future__ import annotations

import copy
import pickle
import secrets
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.errors import ConfigurationError, InvalidKey
from rolecall.keys import HMACKey
from rolecall.keys.sealing import Use, WrappingKeys, wrapping_id_of, wrapping_keys

from .test_ring_file import show_frames

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
TEXT = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
USE = Use("123456", "0123456789abcdef", "HS256", "secret")
SEALED = WrappingKeys([KEY]).seal(TEXT, USE)


def test_what_is_sealed_opens_again():
    assert WrappingKeys([KEY]).open(SEALED, USE) == TEXT
    assert TEXT not in SEALED
    assert wrapping_id_of(SEALED) == WrappingKeys([KEY]).ids[0]


def test_the_same_key_is_sealed_otherwise_each_time():
    assert len({WrappingKeys([KEY]).seal(TEXT, USE) for _ in range(100)}) == 100


def test_the_first_of_several_keys_seals_and_all_open():
    both = WrappingKeys([OTHER, KEY])
    assert both.open(SEALED, USE) == TEXT
    assert wrapping_id_of(both.seal(TEXT, USE)) == WrappingKeys([OTHER]).ids[0]


def test_a_key_that_is_not_given_is_named_by_its_id():
    keys = WrappingKeys([OTHER])
    with pytest.raises(InvalidKey) as caught:
        keys.open(SEALED, USE)
    assert f"the wrapping key {wrapping_id_of(SEALED)}, and those given are {keys.ids[0]}; name that key" in str(
        caught.value
    )


MOVED = {
    "another issuer": USE._replace(issuer="654321"),
    "another key": USE._replace(key_id="0123456789abcdee"),
    "another algorithm": USE._replace(algorithm="HS512"),
    "another form": USE._replace(form="private_key"),
    "a border moved": USE._replace(issuer="12345", key_id="60123456789abcdef"),
}


@pytest.mark.parametrize("use", MOVED.values(), ids=MOVED)
def test_a_sealed_key_that_was_moved_does_not_open(use):
    with pytest.raises(InvalidKey, match="does not open: it was changed, or belongs to another issuer or key"):
        WrappingKeys([KEY]).open(SEALED, use)


@given(place=st.integers(0, len(SEALED) - 1), character=st.characters())
def test_each_change_of_a_sealed_key_is_refused(place, character):
    changed = SEALED[:place] + character + SEALED[place + 1 :]
    if changed != SEALED:
        with pytest.raises(InvalidKey):
            WrappingKeys([KEY]).open(changed, USE)


@given(st.text(max_size=200) | st.text("rc1.0123456789abcdef-_", max_size=120))
def test_any_other_text_is_refused(text):
    with pytest.raises(InvalidKey):
        WrappingKeys([KEY]).open(text, USE)


@pytest.mark.parametrize("end", range(0, len(SEALED), 7))
def test_a_sealed_key_that_is_cut_is_refused(end):
    with pytest.raises(InvalidKey):
        WrappingKeys([KEY]).open(SEALED[:end], USE)


SPELLINGS = {
    "hexadecimal": KEY.hex(),
    "capitals": KEY.hex().upper(),
    "base64": b64encode(KEY).decode(),
    "base64url without padding": urlsafe_b64encode(KEY).decode().rstrip("="),
    "bytes of text": KEY.hex().encode(),
    "bytes": KEY,
    "a list": [KEY.hex()],
}


@pytest.mark.parametrize("given", SPELLINGS.values(), ids=SPELLINGS)
def test_a_wrapping_key_may_be_spelt_in_several_ways(given):
    assert wrapping_keys(given).open(SEALED, USE) == TEXT


def test_the_order_of_the_keys_stays():
    assert wrapping_keys((OTHER.hex(), KEY.hex())).ids == (*WrappingKeys([OTHER]).ids, *WrappingKeys([KEY]).ids)


REFUSED = {
    "a password": ("correct horse battery staple", "a text of 28 characters that is neither hexadecimal nor base64"),
    "two words": ("correct horse", "a text of 13 characters that is neither"),
    "16 bytes": (KEY[:16].hex(), "keys_key has 16 bytes; expected 32 random bytes, as 64 hexadecimal digits"),
    "48 bytes": (b64encode(KEY + KEY[:16]).decode(), "has 48 bytes"),
    "a number": (5, "keys_key is of type int; expected 32 random bytes"),
    "nothing": ([], "keys_key is empty"),
    "an empty text": ("", "has 0 bytes"),
    "zeros": ("00" * 32, "repeats a few bytes"),
    "quotes": (f'"{KEY.hex()}"', "has quotes around it; take it off"),
    "the same twice": ([KEY.hex(), b64encode(KEY).decode()], "has one key twice"),
    "the second is wrong": ([KEY.hex(), OTHER[:31].hex()], "keys_key, number 2, has 31 bytes"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_wrapping_key_is_refused_and_not_quoted(given, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        wrapping_keys(given)
    shown = f"{caught.value}{show_frames(caught.value)}"
    for part in (KEY.hex()[:20], OTHER.hex()[:20], b64encode(KEY).decode()[:20], "correct horse", repr(KEY)[2:20]):
        assert part not in shown


@pytest.mark.parametrize("secret", [KEY.hex(), KEY.hex().upper(), b64encode(KEY).decode(), KEY])
def test_a_secret_that_is_the_wrapping_key_is_refused(secret):
    with pytest.raises(InvalidKey, match="is the wrapping key, too") as caught:
        WrappingKeys([OTHER, KEY]).refuse(HMACKey(secret))
    assert KEY.hex()[:20] not in f"{caught.value}{show_frames(caught.value)}"
    WrappingKeys([OTHER, KEY]).refuse(HMACKey(secrets.token_hex(32)))


def test_no_wrapping_key_shows():
    keys = WrappingKeys([KEY, OTHER])
    assert repr(keys) == f"<WrappingKeys {', '.join(keys.ids)}>"
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leak(keys)
