"""T1: tokens that must be refused though our own key signed them, and the forms that the SDKs write."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import opentok
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolecall import Allow, Role, RolecallError, hookimpl
from rolecall.errors import (
    BadSignature,
    ExpiredToken,
    InvalidClaim,
    InvalidToken,
    MalformedToken,
    PolicyFault,
    TokenNotYetValid,
    UnknownKey,
    WrongTokenKind,
)

API_KEY = "123456"
SECRET = b"2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
NOW = 1_795_186_800
DAY = 86_400
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

ABSENT = object()


@pytest.fixture
def kit(make_kit):
    """A kit whose app asks for T1, beside the JWTs that the kit mints."""
    return make_kit(accept=["opentok", "t1"])


def fields(**changes) -> bytes:
    """The fields of a good token, with these set or ABSENT."""
    members = {
        "session_id": SESSION,
        "create_time": NOW,
        "expire_time": NOW + DAY,
        "role": "publisher",
        "nonce": 1,
        **changes,
    }
    return urlencode({name: value for name, value in members.items() if value is not ABSENT}).encode()


def plus(raw: bytes) -> bytes:
    """The fields of a good token, and a raw one behind them."""
    return fields() + b"&" + raw


def signature(data: bytes, secret: bytes = SECRET, hash_name: str = "sha1") -> bytes:
    return hmac.digest(secret, data, hash_name).hex().encode()


def sealed(envelope: bytes) -> str:
    return "T1==" + b64encode(envelope).decode()


def forge(data: bytes, partner_id: bytes = API_KEY.encode(), **signing) -> str:
    """The token of any fields, signed with the right key."""
    return sealed(b"partner_id=" + partner_id + b"&sig=" + signature(data, **signing) + b":" + data)


GOOD = forge(fields())
SIG = signature(fields())
#: Good tokens whose base64 is padded by one and by two.
PADDED = {text.count("=") - 2: text for n in range(6) if (text := forge(fields(nonce=10**n)))}

ENVELOPES = {
    "sig in capitals": b"partner_id=123456&sig=" + SIG.upper() + b":" + fields(),
    "sig of 39 digits": b"partner_id=123456&sig=" + SIG[:39] + b":" + fields(),
    "sig of 41 digits": b"partner_id=123456&sig=" + SIG + b"0:" + fields(),
    "sig of SHA-256": b"partner_id=123456&sig=" + signature(fields(), hash_name="sha256") + b":" + fields(),
    "sig empty": b"partner_id=123456&sig=:" + fields(),
    "sig in raw bytes": b"partner_id=123456&sig=" + bytes.fromhex(SIG.decode()) + b":" + fields(),
    "sig percent-encoded": b"partner_id=123456&sig=%" + SIG[:1].hex().encode() + SIG[1:] + b":" + fields(),
    "sig with white space": b"partner_id=123456&sig= " + SIG + b":" + fields(),
    "no sig": b"partner_id=123456:" + fields(),
    "sig twice": b"partner_id=123456&sig=" + SIG + b"&sig=" + SIG + b":" + fields(),
    "sig first": b"sig=" + SIG + b"&partner_id=123456:" + fields(),
    "no partner_id": b"sig=" + SIG + b":" + fields(),
    "partner_id twice": b"partner_id=123456&partner_id=123456&sig=" + SIG + b":" + fields(),
    "partner_id empty": b"partner_id=&sig=" + SIG + b":" + fields(),
    "partner_id with white space": b"partner_id=123456 &sig=" + SIG + b":" + fields(),
    "partner_id percent-encoded": b"partner_id=%31%32%33456&sig=" + SIG + b":" + fields(),
    "partner_id in Arabic digits": "partner_id=١٢٣٤٥٦&sig=".encode() + SIG + b":" + fields(),
    "partner_id of 65 characters": b"partner_id=" + b"1" * 65 + b"&sig=" + SIG + b":" + fields(),
    "PARTNER_ID": b"PARTNER_ID=123456&sig=" + SIG + b":" + fields(),
    "a further parameter": b"partner_id=123456&sig=" + SIG + b"&role=moderator:" + fields(),
    "white space before": b" partner_id=123456&sig=" + SIG + b":" + fields(),
    "a BOM before": b"\xef\xbb\xbfpartner_id=123456&sig=" + SIG + b":" + fields(),
    "a NUL before": b"\0partner_id=123456&sig=" + SIG + b":" + fields(),
    "UTF-16": f"partner_id=123456&sig={SIG.decode()}:{fields().decode()}".encode("utf-16"),
    "no colon": b"partner_id=123456&sig=" + SIG,
    "a semicolon for the colon": b"partner_id=123456&sig=" + SIG + b";" + fields(),
    "the prefix alone": b"",
    "only a colon": b":",
}

TEXT = GOOD[4:]
FORM = {
    "one = in the prefix": "T1=" + TEXT,
    "three = in the prefix": "T1===" + TEXT,
    "a prefix in lower case": "t1==" + TEXT,
    "T2": "T2==" + TEXT,
    "no prefix": TEXT,
    "white space before": " " + GOOD,
    "white space behind the prefix": "T1== " + TEXT,
    "white space after": GOOD + " ",
    "a new line after": GOOD + "\n",
    "a new line inside": GOOD[:80] + "\n" + GOOD[80:],
    "a NUL after": GOOD + "\0",
    "bytes": GOOD.encode(),
    "not ASCII": GOOD + "é",
    "a character outside the alphabet": GOOD[:80] + "!" + GOOD[80:],
    "four characters outside the alphabet": GOOD[:80] + "!!!!" + GOOD[80:],
    "no padding for one": PADDED[1].rstrip("="),
    "no padding for two": PADDED[2].rstrip("="),
    "one = where there are two": PADDED[2][:-1],
    "two = where there is one": PADDED[1] + "=",
    "three = where there are two": PADDED[2] + "=",
    "four = more": GOOD + "====",
    "unused bits for one": PADDED[1][:-2] + chr(ord(PADDED[1][-2]) + 1) + "=",
    "unused bits for two": PADDED[2][:-3] + chr(ord(PADDED[2][-3]) + 1) + "==",
    "padding inside": GOOD[:80] + "=" + GOOD[80:],
    "base64url": "T1==" + urlsafe_b64encode(b64decode(forge(plus(b"x=~?~>~?~>~?~>"))[4:])).decode(),
    "base64 of base64": "T1==" + b64encode(TEXT.encode()).decode(),
    "two tokens": GOOD + GOOD,
    "data behind the padding": PADDED[2] + "AAAA",
    "a JWT behind the prefix": "T1==eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
    "16 KiB and more": forge(plus(b"x=" + b"x" * 12_400)),
}  # fmt: skip

SIGNATURES = {
    "another key": forge(fields(), secret=b"another key"),
    "an empty key": forge(fields(), secret=b""),
    "zeros": sealed(b"partner_id=123456&sig=" + b"0" * 40 + b":" + fields()),
    "SHA-256, cut off": sealed(
        b"partner_id=123456&sig=" + signature(fields(), hash_name="sha256")[:40] + b":" + fields()
    ),
    "of other fields": sealed(b"partner_id=123456&sig=" + SIG + b":" + fields(role="moderator")),
    "of the fields with %20 for +": sealed(
        b"partner_id=123456&sig=" + signature(fields(x="a b")) + b":" + fields(x="a b").replace(b"+", b"%20")
    ),
    "of the fields with lower-case escapes": sealed(
        b"partner_id=123456&sig=" + signature(fields(x="/")) + b":" + fields(x="/").replace(b"%2F", b"%2f")
    ),
    "of the fields in another order": sealed(
        b"partner_id=123456&sig=" + SIG + b":" + b"&".join(fields().split(b"&")[::-1])
    ),
    "of the decoded fields": sealed(
        b"partner_id=123456&sig=" + signature(fields(x=" ").replace(b"+", b" ")) + b":" + fields(x=" ")
    ),
    "with a colon more": sealed(b"partner_id=123456&sig=" + SIG + b"::" + fields()),
    "with an & more": sealed(b"partner_id=123456&sig=" + SIG + b":" + fields() + b"&"),
    "no fields": sealed(b"partner_id=123456&sig=" + SIG + b":"),
}  # fmt: skip

FIELDS = {
    "role twice": plus(b"role=moderator"),
    "role twice, the same": plus(b"role=publisher"),
    "session_id twice": plus(b"session_id=" + SESSION.encode()),
    "expire_time twice": plus(b"expire_time=1795273200"),
    "iat beside create_time": plus(b"iat=1795186800"),
    "exp beside expire_time": plus(b"exp=1795273200"),
    "an unknown field twice": plus(b"x=1&x=2"),
    "an empty field": plus(b""),
    "an empty field at the start": b"&" + fields(),
    "two &": fields().replace(b"&", b"&&", 1),
    "no =": plus(b"x"),
    "two =": plus(b"x=1=2"),
    "no name": plus(b"=1"),
    "a name with an escape": plus(b"r%6fle=moderator"),
    "a name with a +": plus(b"+role=moderator"),
    "a name with a space": plus(b"role =moderator"),
    "a name with a bracket": plus(b"role[]=moderator"),
    "a name with a digit": plus(b"x1=1"),
    "a name not ASCII": plus("é=1".encode()),
    "a name of 65 characters": plus(b"x" * 65 + b"=1"),
    "a semicolon between fields": fields().replace(b"&", b";"),
    "&amp; between fields": fields().replace(b"&", b"&amp;"),
    "a bad escape": plus(b"x=%zz"),
    "a cut escape": plus(b"x=%4"),
    "a bare %": plus(b"x=%"),
    "an escape with a sign": plus(b"x=%+1"),
    "an escape with a space": plus(b"x=% 1"),
    "an escape of IIS": plus(b"x=%u0041"),
    "a raw byte not ASCII": plus(b"x=\xff"),
    "raw UTF-8": plus("x=é".encode()),
    "a raw NUL": plus(b"x=\0"),
    "a raw new line": plus(b"x=1\n"),
    "a raw tab": plus(b"x=\t"),
    "a raw DEL": plus(b"x=\x7f"),
    "escapes that are not UTF-8": plus(b"x=%ff"),
    "escapes of overlong UTF-8": plus(b"x=%c0%af"),
    "escapes of a surrogate": plus(b"x=%ed%a0%80"),
    "escapes of cut UTF-8": plus(b"x=%f0%9f%98"),
    "65 fields": plus(b"&".join(b"f%s=1" % bytes([65 + n // 26, 65 + n % 26]) for n in range(60))),
    "expire_time in Arabic digits": fields(expire_time="١٧٩٥٢٧٣٢٠٠"),
    "expire_time in full-width digits": fields(expire_time="１７９５２７３２００"),
    "create_time with a fraction": fields(create_time=f"{NOW}.5"),
    "create_time with an exponent": fields(create_time="17e8"),
    "expire_time with a sign": fields(expire_time=f"+{NOW + DAY}"),
    "expire_time negative": fields(expire_time=-1),
    "expire_time with white space": fields(expire_time=f" {NOW + DAY}"),
    "expire_time with a new line": fields(expire_time=f"{NOW + DAY}\n"),
    "expire_time with underscores": fields(expire_time="1_795_273_200"),
    "expire_time in hexadecimal": fields(expire_time=hex(NOW + DAY)),
    "expire_time empty": fields(expire_time=""),
    "expire_time in milliseconds": fields(expire_time=(NOW + DAY) * 1000),
    "expire_time of 5,000 digits": fields(expire_time="1" * 5000),
    "expire_time NaN": fields(expire_time="NaN"),
    "expire_time Infinity": fields(expire_time="Infinity"),
    "expire_time null": fields(expire_time="null"),
    "nbf no number": fields(nbf="x"),
    "only &": b"&",
}

CLAIMS: dict[str, tuple[dict[str, Any], type[RolecallError]]] = {
    "expired": ({"create_time": NOW - DAY, "expire_time": NOW - 10}, ExpiredToken),
    "expired at the epoch": ({"create_time": 0, "expire_time": 0}, ExpiredToken),
    "expired without expire_time": ({"create_time": NOW - DAY - 10, "expire_time": ABSENT}, ExpiredToken),
    "created in the future": ({"create_time": NOW + 11}, TokenNotYetValid),
    "valid later": ({"nbf": NOW + 11}, TokenNotYetValid),
    "a life of 30 days, an hour and a second": ({"expire_time": NOW + 30 * DAY + 3601}, InvalidClaim),
    "expire_time beyond the year 9999": ({"expire_time": 999_999_999_999}, InvalidClaim),
    "no times": ({"create_time": ABSENT, "expire_time": ABSENT}, InvalidClaim),
    "no session": ({"session_id": ABSENT}, InvalidClaim),
    "an empty session": ({"session_id": ""}, InvalidClaim),
    "a session of 256 characters": ({"session_id": "x" * 256}, InvalidClaim),
    "no role": ({"role": ABSENT}, InvalidClaim),
    "an empty role": ({"role": ""}, InvalidClaim),
    "a role that does not exist": ({"role": "admin"}, InvalidClaim),
    "a role in capitals": ({"role": "Moderator"}, InvalidClaim),
    "a role with white space": ({"role": "moderator "}, InvalidClaim),
    "a role with a NUL": ({"role": "moderator\0"}, InvalidClaim),
    "a role with a dotless i": ({"role": "publısher"}, InvalidClaim),
    "a full-width role": ({"role": "ｍoderator"}, InvalidClaim),
    "data of 1001 characters": ({"connection_data": "x" * 1001}, InvalidClaim),
    "layout of 1001 characters": ({"initial_layout_class_list": "x" * 1001}, InvalidClaim),
    "another scope": ({"scope": "session.create"}, WrongTokenKind),
    "an empty scope": ({"scope": ""}, WrongTokenKind),
}


def table():
    """Every attack: what it is, the token, and the exact class that refuses it."""
    yield from ((f"form: {what}", token, MalformedToken) for what, token in FORM.items())
    yield from ((f"envelope: {what}", sealed(envelope), MalformedToken) for what, envelope in ENVELOPES.items())
    yield from ((f"signature: {what}", token, BadSignature) for what, token in SIGNATURES.items())
    yield from ((f"fields: {what}", forge(data), MalformedToken) for what, data in FIELDS.items())
    yield from ((f"claim: {what}", forge(fields(**changes)), error) for what, (changes, error) in CLAIMS.items())
    for other in (b"654321", b"1234567", b"12345", b"123456-", b"6b0a5a4e-1c0f-4a86-b4cf-6b1a5f0b0d7a"):
        yield f"partner_id: {other.decode()}", forge(fields(), other), UnknownKey
        yield f"partner_id: {other.decode()}, another key", forge(fields(), other, secret=b"another"), UnknownKey


ATTACKS = [pytest.param(token, error, id=what) for what, token, error in table()]


def test_the_token_that_all_attacks_vary_is_good(kit):
    assert kit.verify_token(GOOD).session_id == SESSION


@pytest.mark.each_choice
@pytest.mark.parametrize("padding", [1, 2])
def test_padded_tokens_are_good(padding, kit):
    assert kit.verify_token(PADDED[padding])


def test_the_attacks_are_all_different():
    assert [n for n in Counter(repr(attack.values[0]) for attack in ATTACKS).values() if n > 1] == []


@pytest.mark.each_choice
@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_an_attack_is_refused_for_its_own_reason(token, error, kit):
    with pytest.raises(InvalidToken) as caught:
        kit.verify_token(token)
    assert type(caught.value) is error


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_a_token_is_refused_again_after_a_good_one(token, error, kit):
    kit.verify_token(GOOD)
    for _ in range(2):
        with pytest.raises(error):
            kit.verify_token(token)


@pytest.mark.parametrize(("token", "error"), ATTACKS)
def test_the_message_of_a_refusal_is_fit_for_a_header_and_holds_no_token(token, error, kit):
    with pytest.raises(InvalidToken) as caught:
        kit.verify_token(token)
    message = str(caught.value).replace("…", "")
    assert message.isascii()
    assert message.isprintable()
    assert SIG.decode() not in message


# -- what is accepted ------------------------------------------------------------------------------


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"a+b", "a b"),
        (b"a%20b", "a b"),
        (b"a b", "a b"),
        (b"a%2bb", "a+b"),
        (b"a%2Bb", "a+b"),
        (b"%2541", "%41"),
        (b"%26role%3Dmoderator", "&role=moderator"),
        (b"J%C3%B6hn", "Jöhn"),
        (b"j%c3%b6hn", "jöhn"),
        (b"%F0%9F%98%80", "😀"),
        (b"%00", "\0"),
        (b"~*'()!:;/?@", "~*'()!:;/?@"),
        (b"", ""),
    ],
)
def test_values_are_read_as_every_sdk_encodes_them(raw, data, kit):
    assert kit.verify_token(forge(plus(b"connection_data=" + raw))).data == data


@given(st.permutations(fields(connection_data="x", scope="session.connect").split(b"&")))
@SHARED
def test_fields_stand_in_any_order(kit, parts):
    assert kit.verify_token(forge(b"&".join(parts))).data == "x"


EDGES = {
    "just within the leeway": {"create_time": NOW - DAY, "expire_time": NOW - 9},
    "created at the leeway": {"create_time": NOW + 10},
    "a life of 30 days and an hour": {"expire_time": NOW + 30 * DAY + 3600},
    "no expire_time": {"expire_time": ABSENT},
    "no create_time": {"create_time": ABSENT},
    "a float nonce": {"nonce": "1795186550.04041412983742"},
    "data of 1000 characters": {"connection_data": "x" * 1000},
    "the scope of a client": {"scope": "session.connect"},
}


@pytest.mark.each_choice
@pytest.mark.parametrize("changes", EDGES.values(), ids=EDGES)
def test_a_token_at_the_edge_is_accepted(changes, kit):
    assert kit.verify_token(forge(fields(**changes))).session_id == SESSION


def test_a_token_without_expire_time_lives_24_hours(kit):
    assert kit.verify_token(forge(fields(expire_time=ABSENT))).expires_at == NOW + DAY


def test_a_token_is_known_by_what_was_signed(kit):
    assert len({kit.verify_token(forge(fields(nonce=n))).token_id for n in (1, 1, 2)}) == 2


@pytest.mark.each_choice
@pytest.mark.parametrize("options", [{}, {"accept": ["opentok"]}], ids=["by default", "JWTs"])
def test_a_kit_that_is_not_told_to_accept_t1_refuses_it_and_says_so(make_kit, options):
    with pytest.raises(MalformedToken, match=r"T1 token.*accept=\['opentok', 't1'\]"):
        make_kit(**options).verify_token(GOOD)


def test_a_kit_that_mints_t1_accepts_it(make_kit):
    assert make_kit(format="t1").verify_token(GOOD).role == "publisher"


# -- what no SDK writes needs a tag ----------------------------------------------------------------

MODERATORS = "connect+subscribe+publish+signal+force_disconnect+force_unpublish"
#: What SDKs that join fields without encoding them can be made to sign, by a session id or a layout class.
SMUGGLED = {
    "capabilities by the session id": fields().replace(
        SESSION.encode(), f"{SESSION}&rolecall_capabilities={MODERATORS}".encode(), 1
    ),
    "capabilities by a layout class": plus(f"initial_layout_class_list=f&rolecall_capabilities={MODERATORS}".encode()),
    "a role": plus(b"rolecall_role=host"),
    "a plugin's claim": plus(b"tenant=another"),
    "an unknown claim of the kit's": plus(b"rolecall_actor=ada"),
    "a claim with a made-up tag": plus(b"tenant=another&rolecall_tag=" + b"0" * 64),
    "a claim tagged with the API secret": plus(
        b"tenant=another&rolecall_tag=" + signature(plus(b"tenant=another"), hash_name="sha256")
    ),
    "a tag alone": plus(b"rolecall_tag=" + b"0" * 64),
}


@pytest.mark.each_choice
@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_a_claim_that_no_sdk_writes_is_refused_without_the_kits_tag(data, kit):
    with pytest.raises(InvalidClaim, match=r"which no SDK writes, without the tag"):
        kit.verify_token(forge(data))


class Hosts:
    """A role of the app's own, narrowed, with a claim of the plugin's."""

    @hookimpl
    def rolecall_register_roles(self):
        return [Role("host", ["connect", "subscribe", "publish", "signal", "force_disconnect"], wire_name="publisher")]

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow(capabilities=["connect", "publish", "force_disconnect"])

    @hookimpl
    def rolecall_token_claims(self, request):
        return {"tenant": "a&b=c"}


@pytest.fixture
def tagged(make_kit):
    return make_kit(format="t1", plugins=[Hosts()])


def test_a_kits_own_claims_come_back_from_t1(tagged):
    grant = tagged.verify_token(tagged.create_session().generate_token("host"))
    assert grant.capabilities == {"connect", "publish", "force_disconnect"}
    assert grant.claims["tenant"] == "a&b=c"
    assert "rolecall_tag" not in grant.claims


def test_what_is_tagged_cannot_be_changed_by_who_can_have_it_signed(tagged):
    data = b64decode(tagged.create_session().generate_token("host")[4:]).partition(b":")[2]
    *others, tag = data.split(b"&")
    changed = {
        "another order": b"&".join([*reversed(others), tag]),
        "the tag first": b"&".join([tag, *others]),
        "a field behind the tag": data + b"&scope=session.connect",
        "a field less": b"&".join([*others[1:], tag]),
        "another claim": data.replace(b"tenant=a", b"tenant=b"),
        "another capability": data.replace(b"+publish", b"+signal+publish"),
        "capitals": b"&".join([*others, tag.upper().replace(b"ROLECALL_TAG", b"rolecall_tag")]),
        "no tag": b"&".join(others),
    }
    assert tagged.verify_token(forge(data))
    accepted = []
    for name, fields_of_it in changed.items():
        assert fields_of_it != data, name
        with suppress(InvalidToken):
            accepted.append((name, tagged.verify_token(forge(fields_of_it))))
    assert accepted == []


def test_the_tag_of_one_project_is_none_of_another(make_kit):
    data = b64decode(make_kit(format="t1", plugins=[Hosts()]).create_session().generate_token()[4:]).partition(b":")[2]
    other = "another-secret-of-more-than-32-characters-x7"
    token = forge(data, secret=other.encode())
    with pytest.raises(InvalidClaim, match="without the tag"):
        make_kit(format="t1", api_secret=other).verify_token(token)


def test_a_token_without_claims_of_the_kits_has_no_tag(t1_kit):
    assert "rolecall_tag" not in envelope_of(t1_kit.create_session().generate_token("moderator"))[1]


def test_no_plugin_sets_the_tag(make_kit):
    class Forger:
        @hookimpl
        def rolecall_token_claims(self, request):
            return {"rolecall_tag": "0" * 64}

    kit = make_kit(format="t1", plugins=[Forger()])
    with pytest.raises(PolicyFault, match="rolecall_tag"):
        kit.create_session().generate_token()


# -- minting ---------------------------------------------------------------------------------------


@pytest.fixture
def t1_kit(make_kit):
    return make_kit(format="t1")


def envelope_of(token: str) -> tuple[str, dict[str, str]]:
    head, _, data = b64decode(token.removeprefix("T1==")).decode().partition(":")
    return head, dict(parse_qsl(data, keep_blank_values=True, strict_parsing=True))


@pytest.mark.each_choice
@pytest.mark.parametrize("options", [{}, {"data": "Jöhn & Co ~*\n"}, {"initial_layout_class_list": ["focus", "small"]}])
def test_a_token_has_the_python_sdks_fields_in_its_order(options, t1_kit):
    ours = t1_kit.create_session().generate_token(**options)
    theirs = opentok.Client(API_KEY, SECRET.decode()).generate_token(SESSION, use_jwt=False, **options)
    assert list(envelope_of(ours)[1]) == list(envelope_of(theirs)[1])


def test_a_tokens_values_are_encoded_as_the_python_sdk_does(t1_kit):
    data = "Jöhn & Co ~*\n=+%/"
    ours = b64decode(t1_kit.create_session().generate_token(data=data)[4:])
    theirs = b64decode(opentok.Client(API_KEY, SECRET.decode()).generate_token(SESSION, data=data, use_jwt=False)[4:])
    assert ours.rpartition(b"&")[2] == theirs.rpartition(b"&")[2]


def test_a_tokens_signature_is_the_hmac_of_the_python_sdk(t1_kit):
    head, _, data = b64decode(t1_kit.create_session().generate_token()[4:]).partition(b":")
    assert head == b"partner_id=123456&sig=" + signature(data)


ENCODINGS = [quote, lambda text: quote(text, safe=""), lambda text: urlencode({"": text})[1:]]


@SHARED
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(ENCODINGS))
def test_data_is_read_as_it_was_however_it_is_encoded(kit, data, encode):
    assert kit.verify_token(forge(plus(b"connection_data=" + encode(data).encode()))).data == data


@SHARED
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(["moderator", "subscriber"]))
def test_what_is_minted_is_read_as_it_was(t1_kit, data, role):
    session = t1_kit.create_session()
    grant = t1_kit.verify_token(session.generate_token(role, data=data), session.session_id)
    assert (grant.data or "", grant.role) == (data, role)


PIECES = [
    b"role=moderator",
    b"role",
    b"session_id=",
    b"=",
    b"&",
    b"%",
    b"%4",
    b"%41",
    b"+",
    b"\xff",
    b"\0",
    b"exp=1",
    b"x",
]


@SHARED
@given(st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_signed_fields_of_any_kind_are_refused_as_invalid_tokens(kit, data):
    for token in (forge(data), sealed(data), sealed(b"partner_id=123456&sig=" + data)):
        with pytest.raises(InvalidToken):
            kit.verify_token(token)


@SHARED
@given(st.binary(max_size=60))
def test_whatever_follows_good_fields_makes_an_invalid_token_or_changes_nothing_granted(kit, data):
    try:
        grant = kit.verify_token(forge(fields() + data))
    except InvalidToken:
        return
    assert (grant.session_id, grant.role, grant.expires_at) == (SESSION, "publisher", NOW + DAY)
