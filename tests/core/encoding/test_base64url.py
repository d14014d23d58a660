"""Base64url has one text for each value, and no other text is read."""

from __future__ import annotations

import sys
from base64 import urlsafe_b64encode
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from unittest.mock import patch

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.encoding import base64url as installed

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
OUTSIDE = bytes(set(range(256)) - set(ALPHABET))


def base64url_by(library):
    """The module as it is with pybase64, or without."""
    spec = spec_from_file_location(installed.__name__, installed.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with patch.dict(sys.modules, {"pybase64": library}):
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=[None, pybase64], ids=["binascii", "pybase64"])
def base64url(request):
    module = base64url_by(request.param)
    assert getattr(module, "b64encode", None) is (request.param and pybase64.b64encode)
    return module


@pytest.fixture(scope="module", params=["decode", "check"])
def reads(base64url, request):
    read = getattr(base64url, request.param)

    def reads(text: bytes) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return reads


@pytest.mark.parametrize("encode", ["encode", "encode_signature"])
@given(data=st.binary(max_size=300))
def test_encoding_is_that_of_the_standard_library_without_padding(base64url, encode, data):
    assert getattr(base64url, encode)(data) == urlsafe_b64encode(data).rstrip(b"=")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_no_last_character_is_lost(base64url, length):
    values = [bytes(length - 1) + bytes([last]) for last in range(256)]
    assert list(map(base64url.encode, values)) == [urlsafe_b64encode(value).rstrip(b"=") for value in values]


@given(data=st.binary(max_size=300))
def test_what_is_encoded_decodes_to_itself(base64url, data):
    assert base64url.decode(base64url.encode(data)) == data


@given(text=st.binary(max_size=12) | st.lists(st.sampled_from(ALPHABET + b"+/= \n"), max_size=40).map(bytes))
def test_a_text_that_is_read_is_the_only_text_of_its_value(base64url, reads, text):
    if reads(text):
        assert base64url.encode(base64url.decode(text)) == text


def test_the_empty_text_is_the_empty_value(base64url):
    assert base64url.decode(b"") == b""


@pytest.mark.parametrize(("length", "values"), [(1, 0), (2, 256), (3, 65536)])
def test_as_many_short_texts_are_read_as_there_are_values(reads, length, values):
    assert sum(map(reads, map(bytes, product(ALPHABET, repeat=length)))) == values


def test_two_characters_with_one_outside_the_alphabet_are_refused(reads):
    pairs = [bytes(pair) for a in ALPHABET for b in OUTSIDE for pair in ((a, b), (b, a))]
    assert [pair for pair in pairs if reads(pair)] == []


@pytest.mark.parametrize("text", [b"QUJD", b"QUJDRA", b"QUJDREU", b"QUJDREVG"])
def test_no_character_outside_the_alphabet_is_passed_over(reads, text):
    spoilt = [text[:i] + bytes([c]) * n + text[i:] for i in range(len(text) + 1) for c in OUTSIDE for n in range(1, 5)]
    assert [bad for bad in spoilt if reads(bad)] == []


@pytest.mark.parametrize("text", [b"QQ==", b"QUI=", b"QUJD=", b"QUJD====", b"=", b"==", b"QQ=", b"Q=Q=", b"QUJDR==="])
def test_padding_is_refused(reads, text):
    assert not reads(text)


@pytest.mark.parametrize("text", [b"QR", b"Qf", b"QUJ", b"QUL", b"__", b"___"])
def test_unused_bits_that_are_not_zero_are_refused(reads, text):
    assert not reads(text)


@pytest.mark.parametrize("text", [b"A", b"ABCDE", b"A" * 401])
def test_a_length_that_cannot_be_is_refused(reads, text):
    assert not reads(text)


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("last", [b"", b"A"])
def test_a_text_of_hardly_any_character_of_the_alphabet_is_refused(reads, length, last):
    assert not reads(b"!" * length + last)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"A", "not base64url: the length is impossible, or unused bits are not zero"),
        (b"QR", "not base64url: the length is impossible, or unused bits are not zero"),
        (b"QQ==", "not base64url: a character is outside its alphabet"),
    ],
)
@pytest.mark.parametrize("read", ["decode", "check"])
def test_a_refusal_says_what_is_wrong(base64url, read, text, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        getattr(base64url, read)(text)
