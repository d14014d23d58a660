"""JSON that two readers could understand in two ways is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.encoding import strict_json

#: Stands in every refused document that has room for it; no message may quote it.
MARK = "quoted-from-the-document"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none() | st.booleans() | TEXT | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=12
)


def nested(depth: int, opening: str, closing: str) -> bytes:
    """An object with ``depth`` levels, itself the first."""
    return ('{"a":' + opening * (depth - 1) + '"x"' + closing * (depth - 1) + "}").encode()


def depth_of(value: object) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(depth_of, items), default=0)


def plain(value: object) -> object:
    """``value`` with lists and dictionaries where the reader gives what cannot be changed."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return list(map(plain, value)) if isinstance(value, tuple | list) else value


@given(st.dictionaries(TEXT, VALUES, max_size=8).filter(lambda value: depth_of(value) <= 8), st.booleans())
def test_what_json_writes_is_read_as_it_was(value, escape):
    assert plain(strict_json.loads(json.dumps(value, ensure_ascii=escape).encode())) == value


NAMES = st.sampled_from(["a", "b", ":", "a:", "{", ""])
SIMPLE = (
    st.sampled_from([":", "::", "a", "{", '{"a":1}', "\\"]) | st.integers(-2, 2) | st.lists(st.sampled_from([1, ":"]))
)


@given(st.lists(st.tuples(NAMES, SIMPLE), max_size=5), st.sampled_from(["", " ", "\t", "\r\n"]))
def test_a_name_that_stands_twice_is_refused_whatever_the_text_holds_beside_it(pairs, space):
    members = (f"{json.dumps(name)}{space}:{space}{json.dumps(value)}" for name, value in pairs)
    data = f"{{{space}{f'{space},{space}'.join(members)}{space}}}".encode()
    if len(dict(pairs)) == len(pairs):
        assert plain(strict_json.loads(data)) == dict(pairs)
    else:
        with pytest.raises(ValueError, match="a name stands twice in one object"):
            strict_json.loads(data)


PIECES = [
    b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b'"', b'"a"', b'"b"', b'"\\u0061"', b'"\\ud800"', b"\\", b"1",
    b"-", b".", b"e9", b"9007199254740993", b"NaN", b"Infinity", b"null", b"true", b"\xff", b"\xef\xbb\xbf", b"\x00",
]  # fmt: skip


@given(st.binary(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=20).map(lambda p: b"{" + b"".join(p) + b"}"))
def test_bytes_are_either_refused_with_a_value_error_or_read_as_json_reads_them(data):
    try:
        value = strict_json.loads(data)
    except ValueError:
        return
    assert plain(value) == json.loads(data)


ACCEPTED = {
    "empty": (b"{}", {}),
    "white space inside": (b'{ "a"\t:\r\n1 }', {"a": 1}),
    "the greatest integer": (b'{"a":9007199254740992}', {"a": 2**53}),
    "the least integer": (b'{"a":-9007199254740992}', {"a": -(2**53)}),
    "the greatest integer in an array": (b'{"a":[9007199254740992]}', {"a": [2**53]}),
    "the least integer in an array": (b'{"a":[-9007199254740992]}', {"a": [-(2**53)]}),
    "a pair of surrogates": (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    "an escaped backslash before u": (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
    "the same name on two levels": (b'{"a":{"a":1}}', {"a": {"a": 1}}),
    "8 levels of arrays": (nested(8, "[", "]"), {"a": [[[[[[["x"]]]]]]]}),
    "64 members": (json.dumps({str(i): i for i in range(64)}).encode(), {str(i): i for i in range(64)}),
    "64 elements": (json.dumps({"a": [0] * 64}).encode(), {"a": [0] * 64}),
}


@pytest.mark.parametrize(("data", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_stands_within_the_limits_is_read(data, value):
    assert plain(strict_json.loads(data)) == value


def test_a_reader_may_take_longer_arrays():
    data = json.dumps({"a": [0] * 1000, "b": {"c": [[0] * 1000]}}).encode()
    assert plain(strict_json.loads(data, 1000)) == json.loads(data)
    with pytest.raises(ValueError, match="more than 999 elements"):
        strict_json.loads(data, 999)


REFUSED = {
    "not JSON": {
        "nothing": b"",
        "white space only": b" \n",
        "an integer of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
        "a byte order mark": b"\xef\xbb\xbf{}",
        "UTF-16LE": "{}".encode("utf-16-le"),
        "UTF-16BE": "{}".encode("utf-16-be"),
        "UTF-32LE": "{}".encode("utf-32-le"),
        "UTF-32BE": "{}".encode("utf-32-be"),
        "100,000 levels": nested(100_000, "[", "]"),
        "100,000 levels, never closed": b'{"a":' + b"[" * 100_000,
        "white space before": b" {}",
        "a comma after the last member": b'{"a":1,}',
        "a comma after the last element": b'{"a":[1,]}',
        "a comma before the first member": b'{,"a":1}',
        "no value": b'{"a":}',
        "no colon": b'{"a" 1}',
        "a name without quotes": b"{a:1}",
        "single quotes": b"{'a':1}",
        "a comment": b'{"a":1/**/}',
        "a number with a leading zero": b'{"a":01}',
        "a number with a plus": b'{"a":+1}',
        "a number with an underscore": b'{"a":4_102}',
        "a number without its fraction": b'{"a":1.}',
        "a number without its whole part": b'{"a":.5}',
        "a hexadecimal number": b'{"a":0x10}',
        "a number in Arabic digits": '{"a":٤١}'.encode(),
        "True": b'{"a":True}',
        "None": b'{"a":None}',
        "undefined": b'{"a":undefined}',
        "a raw new line in a string": b'{"a":"\n"}',
        "a raw NUL in a string": b'{"a":"\x00"}',
        "a raw tab in a name": b'{"\t":1}',
        "an escape that does not exist": b'{"a":"\\x41"}',
        "an escape of three digits": b'{"a":"\\u004"}',
        "an escape with a sign": b'{"a":"\\u+041"}',
        "an escape with an underscore": b'{"a":"\\u0_41"}',
        "a string without its end": f'{{"a":"{MARK}'.encode(),
        "an object without its end": b'{"a":1',
        "no-break space": '{\u00a0"a":1}'.encode(),
        "a form feed": b'{\x0c"a":1}',
    },
    "not a JSON object": {
        "a string": f'"{MARK}"'.encode(),
        "an array": f'["{MARK}"]'.encode(),
        "a number": b"1",
        "null": b"null",
    },
    "a name stands twice in one object": {
        "a duplicate name": f'{{"{MARK}":1,"{MARK}":1}}'.encode(),
        "a duplicate name by an escape": b'{"role":1,"\\u0072ole":2}',
        "a duplicate name by an escaped solidus": b'{"a/b":1,"a\\/b":2}',
        "a duplicate name by a surrogate pair": '{"\U0001f600":1,"\\ud83d\\ude00":2}'.encode(),
        "a duplicate name in a nested object": b'{"a":{"b":1,"b":1}}',
        "a duplicate name in an object in an array": b'{"a":[{"b":1,"b":1}]}',
        "the empty name twice": b'{"":1,"":2}',
    },
    "NaN and Infinity are not JSON": {
        "NaN": b'{"a":NaN}',
        "Infinity": b'{"a":Infinity}',
        "minus Infinity": b'{"a":-Infinity}',
    },
    "a number outside the range of a double": {
        "1e999": b'{"a":1e999}',
        "-1e999": b'{"a":-1e999}',
        "1e999 in an array": b'{"a":[1e999]}',
    },
    "an integer outside ±2^53": {
        "2^53+1": b'{"a":9007199254740993}',
        "-2^53-1": b'{"a":-9007199254740993}',
        "2^53+1 in an array": b'{"a":[9007199254740993]}',
        "2^63": b'{"a":9223372036854775808}',
    },
    "not UTF-8": {
        "UTF-16 with a mark": "{}".encode("utf-16"),
        "UTF-32 with a mark": "{}".encode("utf-32"),
        "Latin-1": '{"a":"é"}'.encode("latin-1"),
        "an overlong UTF-8 solidus": b'{"a":"\xc0\xaf"}',
        "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    },
    "a lone surrogate": {
        "a lone high surrogate": b'{"a":"\\ud800"}',
        "a lone low surrogate": b'{"a":"\\udc00"}',
        "the first high surrogate in upper case": b'{"a":"\\uD800"}',
        "the last high surrogate in upper case": b'{"a":"\\uDBFF"}',
        "the first low surrogate in upper case": b'{"a":"\\uDC00"}',
        "the last low surrogate in both cases": b'{"a":"\\udFfF"}',
        "half a pair, beside a whole one": b'{"a":"\\ud83d\\ude00\\ud83d"}',
        "surrogates in the wrong order": b'{"a":"\\ude00\\ud83d"}',
        "a lone surrogate in a name": b'{"\\ud800":1}',
        "a lone surrogate in a nested name": b'{"a":[{"\\udfff":1}]}',
    },
    "more than 8 levels": {
        "9 levels of arrays": nested(9, "[", "]"),
        "9 levels of objects": nested(9, '{"a":', "}"),
        "9 levels by an empty array": b'{"a":[[[[[[[[]]]]]]]]}',
    },
    "more than 64 members": {
        "65 members": json.dumps({str(i): i for i in range(65)}).encode(),
        "65 members in a nested object": json.dumps({"a": {str(i): i for i in range(65)}}).encode(),
    },
    "more than 64 elements": {
        "65 elements": json.dumps({"a": [0] * 65}).encode(),
    },
    "something follows the JSON object": {
        "white space after": b"{} ",
        "a new line after": b"{}\n",
        "a NUL after": b"{}\x00",
        "a second object after": b"{}{}",
        "a character after": f'{{"{MARK}":1}}x'.encode(),
        "a line comment": b'{"a":1}//',
    },
}


@pytest.mark.parametrize(
    ("data", "reason"),
    [pytest.param(data, reason, id=name) for reason, documents in REFUSED.items() for name, data in documents.items()],
)
def test_everything_else_is_refused_with_the_reason(data, reason):
    with pytest.raises(ValueError, match=r".") as caught:
        strict_json.loads(data)
    assert str(caught.value) == reason


@pytest.mark.parametrize("digit", ["8", "\uff18", "\u096e"])
def test_a_lone_surrogate_is_refused_whatever_pythons_own_scanner_takes_for_its_digits(monkeypatch, digit):
    python: Any = json  # whose parts in Python have no types
    decoder = python.JSONDecoder(object_pairs_hook=tuple)
    decoder.parse_string = python.decoder.py_scanstring  # as where the C accelerator is missing
    monkeypatch.setattr(strict_json, "_scan", python.scanner.py_make_scanner(decoder))
    with pytest.raises(ValueError, match="a lone surrogate"):
        strict_json.loads(f'{{"a":"\\uD{digit}00"}}'.encode())
