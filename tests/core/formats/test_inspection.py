"""Taking tokens apart, without a key and without trusting them."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rolecall import inspect_token
from rolecall.cli.commands import rolecall
from rolecall.encoding import base64url
from rolecall.errors import MalformedToken

TOKENS = json.loads((Path(__file__).parents[2] / "vectors/opentok_tokens.json").read_text("utf-8"))["tokens"]
JWTS = [token for token in TOKENS if token["form"] == "JWT"]
T1S = [token for token in TOKENS if token["form"] == "T1"]


def name(token: dict) -> str:
    return f"{token['sdk'].split()[0]}-{token['form']}"


def unsigned(header: bytes, payload: bytes = b"{}") -> str:
    return f"{base64url.encode(header).decode()}.{base64url.encode(payload).decode()}.AAAA"


def t1(data: str, partner_id: str = "123456", sig: str = "0" * 40) -> str:
    return "T1==" + b64encode(f"partner_id={partner_id}&sig={sig}:{data}".encode()).decode()


@pytest.mark.parametrize("token", JWTS, ids=name)
def test_a_jwt_shows_its_header_and_claims(token):
    seen = inspect_token(token["token"])
    assert (seen.format, seen.header, seen.claims) == ("jwt", token["header"], token["claims"])
    assert token["token"].endswith(f".{seen.signature}")


@pytest.mark.parametrize("token", T1S, ids=name)
def test_a_t1_token_shows_its_fields(token):
    seen = inspect_token(token["token"])
    times = {"create_time": "iat", "expire_time": "exp"}
    said = {times.get(field, field): int(value) if field in times else value for field, value in token["fields"]}
    assert (seen.format, seen.header, seen.claims) == ("t1", {}, {"partner_id": "123456", **said})


def test_what_the_kit_minted_can_be_inspected(kit):
    session = kit.create_session()
    assert inspect_token(session.generate_token(data="x")).claims["connection_data"] == "x"


def test_nothing_is_checked_but_the_form():
    seen = inspect_token(unsigned(b'{"alg":"none","crit":["x"]}', b'{"exp":0,"role":"king"}'))
    assert (seen.header["alg"], seen.claims) == ("none", {"exp": 0, "role": "king"})


def test_a_repr_shows_no_signature():
    signature = JWTS[0]["token"].rpartition(".")[2]
    assert signature not in repr(inspect_token(JWTS[0]["token"]))


def test_an_inspection_cannot_be_changed():
    with pytest.raises(AttributeError):
        setattr(inspect_token(JWTS[0]["token"]), "format", "t1")


def test_a_field_does_not_stand_in_for_the_partner_id_of_the_envelope():
    try:
        seen = inspect_token(t1("partner_id=654321&role=publisher"))
    except MalformedToken:
        return
    assert seen.claims["partner_id"] == "123456"


MALFORMED = {
    "None": None,
    "bytes": JWTS[0]["token"].encode(),
    "a number": 5,
    "empty": "",
    "two parts": "e30.e30",
    "four parts": "e30.e30.e30.e30",
    "a header that is no object": unsigned(b"[]"),
    "a header that is not JSON": unsigned(b"x"),
    "a payload that is no object": unsigned(b"{}", b"[]"),
    "a payload with a name twice": unsigned(b"{}", b'{"a":1,"a":2}'),
    "a payload in UTF-16": unsigned(b"{}", "{}".encode("utf-16")),
    "a padded payload": "e30.e30=.AAAA",
    "16385 characters": "T1==" + "A" * 16381,
    "not ASCII": "é.e30.AAAA",
    "a T1 prefix alone": "T1==",
    "T1 without padding": t1("a=b&c=dd").rstrip("="),
    "T1 with a short sig": t1("a=b", sig="0" * 39),
    "T1 with a field twice": t1("a=b&a=b"),
    "T1 with a bad escape": t1("a=%zz"),
    "T1 without fields": t1(""),
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_token_is_malformed(token):
    with pytest.raises(MalformedToken):
        inspect_token(token)


PARTS = st.binary(max_size=30).map(lambda raw: base64url.encode(raw).decode()) | st.text(max_size=10)


@given(
    st.text(max_size=60)
    | st.binary()
    | st.integers()
    | st.none()
    | st.lists(PARTS, min_size=1, max_size=4).map(".".join)
    | st.binary(max_size=60).map(lambda raw: "T1==" + b64encode(raw).decode())
    | st.text(max_size=40).map(t1)
)
def test_arbitrary_input_raises_nothing_but_malformed_token(token):
    try:
        seen = inspect_token(token)
    except MalformedToken:
        return
    assert seen.format in ("jwt", "t1")


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_token_with_nested_claims_can_be_shown_by_the_command_line(options, clock):
    token = unsigned(b'{"alg":"RS256"}', b'{"acl":{"paths":{"/session/**":{}}},"classes":["focus"]}')
    shown = CliRunner().invoke(rolecall, ["token", "inspect", token, *options], obj=clock)
    assert (shown.exit_code, shown.exception) == (0, None)
    assert "/session/**" in shown.output


def test_an_inspection_as_a_dictionary_is_plain_json(kit):
    token = jwt.encode({"acl": {"paths": {"/session/**": {}}}, "list": [1]}, "k" * 32, headers={"kid": "a"})
    parts = inspect_token(token).as_dict()
    assert parts["claims"] == {"acl": {"paths": {"/session/**": {}}}, "list": [1]}
    assert json.loads(json.dumps(parts)) == parts
