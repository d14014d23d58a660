"""Key sets of others: what is read, what is left out, and what a server may do while it is asked for one."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest

from rolecall import ConfigurationError
from rolecall.keys import sources
from rolecall.keys.jwk import thumbprint
from rolecall.keys.sets import KeySet, read_key_set
from rolecall.keys.sources import MAX_LENGTH, SetUrl, Unread, source_of

from ...key_servers import KeyServer, http, key_server, key_set, says
from ...own_tokens import ALGORITHMS, issuing, jwks

pytestmark = pytest.mark.server

#: The limit of a fetch, here: the real one is five seconds.
SECONDS = 0.6
DEEP = b"[" * 200_000


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    """Public keys, by algorithm."""
    keys = {}
    for algorithm in ALGORITHMS:
        with issuing(algorithm) as kit:
            keys[algorithm] = jwks(kit)["keys"][0]
    return keys


@pytest.fixture
def body(good) -> bytes:
    return key_set(*good.values())


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(text: str) -> int:
    return int.from_bytes(urlsafe_b64decode(text + "=="))


def octets(value: int, length: int) -> str:
    return b64(value.to_bytes(length))


def fetched(server: KeyServer) -> KeySet:
    return read_key_set(asyncio.run(SetUrl(server.url).read()).data)


# -- what a server may do --------------------------------------------------------------------------


def dripped(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def bad_answers(body: bytes) -> dict[str, Any]:
    """What the server sends, by the name of the case: bytes, or a function of the connection."""
    whole = http(body)
    padded = body + b" " * (MAX_LENGTH + 1 - len(body))
    many = [f"X-{number}: 1" for number in range(300)]

    def endless(client):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            client.sendall(b" " * 65_536)

    return {
        "a body over the cap": http(padded),
        "an endless body": endless,
        "a body that drips": says([whole[:80], *dripped(whole[80:], 8)], 0.1),
        "a header that drips": says(dripped(whole, 4), 0.1),
        "no answer": lambda client: client.recv(1),
        "a body that is too short": whole[:-10],
        "no last chunk": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(body):x}\r\n".encode()
        + body
        + b"\r\n",
        "a closed connection": lambda client: None,
        "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
        "a redirect to itself": http(body, "302 Found", "application/json", "Location: /jwks.json"),
        "a redirect to a file": http(body, "301 Moved", "application/json", "Location: file:///etc/passwd"),
        **{status: http(body, f"{status} Well") for status in ("203", "206", "304", "404", "500", "503")},
        "204": b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        "HTML": http(body, content_type="text/html"),
        "a page of HTML": http(b"<html>maintenance</html>", content_type="text/html"),
        "no content type": http(body, content_type=None),
        "compressed": http(gzip.compress(body), "200 OK", "application/json", "Content-Encoding: gzip"),
        "a bomb": http(gzip.compress(b" " * 50_000_000), "200 OK", "application/json", "Content-Encoding: gzip"),
        "compressed, unsaid": http(gzip.compress(body)),
        "300 headers": http(body, "200 OK", "application/json", *many),
        "a header of 200 kB": http(body, "200 OK", "application/json", f"X-Long: {'x' * 200_000}"),
        "a BOM": http(b"\xef\xbb\xbf" + body),
        "UTF-16": http(body.decode().encode("utf-16")),
        "no UTF-8": http(body.replace(b'"sig"', b'"\xff"', 1)),
        "nested arrays": http(b'{"keys":' + DEEP),
        "keys twice": http(body[:-1] + b',"keys":[]}'),
        "NaN": http(body[:-1] + b',"x":NaN}'),
        "an integer of 5,000 digits": http(body[:-1] + b',"x":' + b"1" * 5000 + b"}"),
        "101 keys": http(key_set(*[{"kty": "x"}] * 101)),
        "keys is an object": http(b'{"keys":{}}'),
        "keys is null": http(b'{"keys":null}'),
        "no keys": http(b"{}"),
        "a list": http(b"[]"),
        "null": http(b"null"),
        "nothing": http(b""),
        "a bare key": http(json.dumps(json.loads(body)["keys"][0]).encode()),
        "a second value": http(body + b"{}"),
    }


ANSWERS = bad_answers(b'{"keys":[{"use":"sig"}]}')
AT_ONCE = sorted(name for name, answer in ANSWERS.items() if isinstance(answer, bytes))
SLOW = sorted(ANSWERS.keys() - set(AT_ONCE))


def refused(server: KeyServer) -> str:
    """How a fetch has failed: in few words, which quote nothing of the answer."""
    with pytest.raises((Unread, ValueError)) as refusal:
        fetched(server)
    assert len(str(refusal.value)) < 200
    assert "sig" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_bad_answer_is_a_failed_fetch(name, body):
    with key_server(says(bad_answers(body)[name])) as server:
        refused(server)
        assert server.asked == 1  # also where it redirects


@pytest.mark.parametrize("name", SLOW)
def test_an_answer_that_does_not_end_is_a_failed_fetch_and_ends_in_time(name, body, monkeypatch):
    monkeypatch.setattr(sources, "FETCH_SECONDS", SECONDS)
    with key_server(bad_answers(body)[name]) as server:
        for _ in range(20):
            began = time.monotonic()
            refused(server)
            assert time.monotonic() - began < SECONDS + 3  # a busy machine may take a while
            if server.asked:  # on such a machine the time may end before the server has read the request
                break
        assert server.asked


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/jwk-set+json", "Application/JSON; charset=x"]
)
def test_a_good_answer_is_taken_in_each_spelling_of_its_type(content_type, body):
    with key_server(says(http(body, content_type=content_type))) as server:
        assert len(fetched(server).keys) == len(ALGORITHMS)
        head = server.request.lower()
    assert b"accept-encoding: identity" in head
    assert not any(name in head for name in (b"cookie:", b"authorization:"))


@pytest.mark.parametrize(
    ("said", "life"),
    [
        (None, 300),
        ("max-age=600", 600),
        ("public, Max-Age=120", 120),
        ("max-age=0", 60),
        ("no-store", 300),
        ("max-age=-5", 300),
        ("max-age=999999999", 3600),
        ("max-age=99999999999999999999", 300),
        ("s-maxage=7200", 300),
        ("max-age=soon, immutable", 300),
    ],
)
def test_a_set_lives_as_long_as_its_server_says_within_bounds(said, life, body):
    headers = [] if said is None else [f"Cache-Control: {said}"]
    with key_server(says(http(body, "200 OK", "application/json", *headers))) as server:
        assert asyncio.run(SetUrl(server.url).read()).again_in == life / 2


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/jwks.json",
        "http://127.0.0.1.example/jwks.json",
        "ftp://issuer.example/jwks.json",
        "file:///etc/passwd",
        "data:application/json,{}",
        "https://user:S3cret@issuer.example/jwks.json",
        "https://issuer.example/jwks.json#S3cret",
        "https:///jwks.json",
        "https://issuer.example:0/jwks.json",
        "https://issuer.example:port/jwks.json",
        "https://issuer.example/ jwks.json",
        " https://issuer.example/jwks.json",
        "https://issuer.example/jwks.json\n",
        "",
        None,
        7,
        b"https://issuer.example/jwks.json",
        ["https://issuer.example/jwks.json"],
        {"keys": {1, 2}},
    ],
)
def test_what_is_no_place_of_a_set_stops_start_up(url):
    with pytest.raises(ConfigurationError) as refusal:
        source_of(url)
    assert "S3cret" not in str(refusal.value)


# -- what is read ----------------------------------------------------------------------------------

P = 2**255 - 19
#: RFC 8032, section 5.1: the points of order 1, 2, 4 and 8, in every encoding that some reader takes.
SMALL = [
    f"{value:064x}"
    for y in (0, 1, P - 1, P, P + 1)
    for value in (int.from_bytes(y.to_bytes(32, "little")), int.from_bytes((y | 1 << 255).to_bytes(32, "little")))
] + [
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def left_out(good: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Keys that are not used, by the name of the case."""
    rsa, curve, edwards = (good[name] for name in ALGORITHMS)
    n, e = number(rsa["n"]), number(rsa["e"])
    x, y = number(curve["x"]), number(curve["y"])

    def without(jwk: dict[str, Any], name: str) -> dict[str, Any]:
        return {key: value for key, value in jwk.items() if key != name}

    return {
        **{f"private {name}": {**rsa, name: None} for name in ("d", "p", "q", "dp", "dq", "qi", "oth")},
        "private d of a curve": {**curve, "d": b64(b"d" * 32)},
        "oct": {"kty": "oct", "k": b64(b"k" * 32), "kid": "oct", "alg": "HS256"},
        "oct and public": {**rsa, "k": b64(b"k" * 32)},
        "no kid": without(rsa, "kid"),
        **{f"kid {kid!r:.20}": {**rsa, "kid": kid} for kid in (7, None, "", "k" * 129, "é", ["a"])},
        **{f"use {use!r}": {**rsa, "use": use} for use in ("enc", "", None, ["sig"])},
        **{f"key_ops {ops!r}": {**rsa, "key_ops": ops} for ops in (["sign"], [], "verify", ["verify"] * 2, None)},
        **{f"alg {alg!r}": {**rsa, "alg": alg} for alg in ("RS512", "RSA-OAEP", "HS256", "none", "rs256", ["RS256"])},
        "alg of another kind": {**curve, "alg": "EdDSA"},
        **{f"kty {kty!r}": {**rsa, "kty": kty} for kty in ("AKP", "rsa", None, ["RSA"])},
        "no kty": without(rsa, "kty"),
        "P-384": {**curve, "crv": "P-384"},
        "secp256k1": {**curve, "crv": "secp256k1"},
        "off the curve": {**curve, "y": octets(y ^ 1, 32)},
        "no y": without(curve, "y"),
        "x short": {**curve, "x": octets(x, 33)[:42]},
        "x with a zero before": {**curve, "x": octets(x, 33)},
        "infinity": {**curve, "x": octets(0, 32), "y": octets(0, 32)},
        "x with padding": {**curve, "x": curve["x"] + "="},
        "RSA of 1,024 bits": {**rsa, "n": octets(n >> 1024 | 1, 128)},
        "RSA of 16,384 bits": {**rsa, "n": octets(n << 14336 | 1, 2048)},
        "n even": {**rsa, "n": octets(n - 1, 256)},
        "n with a zero before": {**rsa, "n": octets(n, 257)},
        **{f"exponent {exponent}": {**rsa, "e": octets(exponent, 8).lstrip("A")} for exponent in (1, 2, 2**40 + 1)},
        "exponent even": {**rsa, "e": octets(e - 1, 3)},
        "exponent long": {**rsa, "e": octets((n >> 1) | 1, 256)},
        "no n": without(rsa, "n"),
        "Ed448": {**edwards, "crv": "Ed448"},
        "X25519": {**edwards, "crv": "X25519"},
        "x of 31 bytes": {**edwards, "x": edwards["x"][:41] + "A"},
        **{f"small order {text[:8]}": {**edwards, "x": b64(bytes.fromhex(text))} for text in SMALL},
    }


def test_every_encoding_of_small_order_is_among_the_cases():
    assert len(set(SMALL)) == 14


def test_what_may_be_another_kind_of_key_is_left_out_beside_a_good_one(good):
    used = {}
    for name, jwk in left_out(good).items():
        other = next(key for key in good.values() if key["kty"] != jwk.get("kty", "RSA"))
        read = read_key_set(key_set(jwk, other))
        assert len(read.problems) == 1, name
        if set(read.keys) != {other["kid"]}:
            used[name] = jwk
    assert used == {}


@pytest.mark.parametrize("entry", [None, 7, "key", [], [{}], True])
def test_an_entry_that_is_no_object_is_left_out(entry, good):
    assert set(read_key_set(key_set(entry, *good.values())).keys) == {key["kid"] for key in good.values()}


def test_what_is_optional_may_be_missing_and_further_members_are_not_read(good):
    for jwk in good.values():
        bare = {name: value for name, value in jwk.items() if name not in ("use", "alg")}
        further = {"x5u": "http://127.0.0.1:1/", "x5c": ["AA=="], "key_ops": ["verify"], "note": {"a": [1]}}
        for one in (bare, {**jwk, **further}):
            assert set(read_key_set(key_set(one)).keys) == {jwk["kid"]}


def test_the_newer_name_of_eddsa_is_the_same_algorithm(good):
    assert read_key_set(key_set({**good["EdDSA"], "alg": "Ed25519"})).keys


def test_of_two_keys_with_one_kid_neither_is_used_and_one_key_twice_is_one(good):
    rsa, curve, edwards = good.values()
    assert set(read_key_set(key_set(rsa, {**curve, "kid": rsa["kid"]}, edwards)).keys) == {edwards["kid"]}
    assert set(read_key_set(key_set(rsa, {**rsa, "alg": "RS256"}, rsa)).keys) == {rsa["kid"]}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_whose_private_half_shows_is_leaked_under_every_name(algorithm, good):
    jwk = good[algorithm]
    read = read_key_set(key_set({**jwk, "d": "AA"}, {**jwk, "kid": "another"}, jwk))
    assert not read.keys
    assert {jwk["kid"], thumbprint(jwk)} <= read.leaked


def test_a_leaked_key_that_is_no_key_is_known_by_its_kid(good):
    assert read_key_set(key_set({"kty": "EC", "crv": "P-256", "d": "AA", "kid": "gone"})).leaked == {"gone"}
