"""Public test vectors: Wycheproof, the RFCs, the JOSE cookbook, and tokens of the five OpenTok SDKs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rolecall.encoding import strict_json
from rolecall.encoding.jws import Codec, raw_token
from rolecall.errors import ExpiredToken, InvalidKey, InvalidToken, WrongTokenKind
from rolecall.formats.claims import ClaimRules
from rolecall.formats.opentok import OpenTokFormat
from rolecall.formats.t1 import T1Format
from rolecall.keys import HMACKey, Key, KeyRing
from rolecall.keys.issuers import Issuer
from rolecall.roles import Role, RoleTable
from rolecall.tokens import Grant

API_KEY = "123456"
VECTORS = Path(__file__).parents[2] / "vectors"


def load(path: str) -> dict:
    return json.loads((VECTORS / path).read_text("utf-8"))


def codec_of(*keys: Key, typ: str | None = None) -> Codec:
    return Codec(Issuer("an issuer", KeyRing(keys)), typ)


def accepts(codec: Codec, token: str) -> bool:
    try:
        codec.verify(raw_token(token))
    except InvalidToken:
        return False
    return True


# -- Wycheproof JWS --------------------------------------------------------------------------------

SIGNATURES = load("wycheproof/json_web_signature_test.json")
OVERRIDES = {
    int(case): verdict.startswith("accept")
    for case, verdict in load("wycheproof/kit_overrides.json").items()
    if case.isdigit()
}
CASES = [(group, case) for group in SIGNATURES["testGroups"] for case in group["tests"]]
HMAC_CASES = [pair for pair in CASES if pair[0]["private"].get("alg") == "HS256"]
OTHER_CASES = [pair for pair in CASES if pair not in HMAC_CASES]
OTHER_GROUPS = [group for group in SIGNATURES["testGroups"] if group["private"].get("alg") != "HS256"]


def case_id(value: dict) -> str | None:
    return f"{value['tcId']}-{value['comment']}" if "tcId" in value else value["comment"]


def confused(group: dict) -> list[Codec]:
    """Codecs whose HS256 keys answer to the name of the group's key."""
    return [codec_of(HMACKey(b"the secret of another key, 32 bytes", kid)) for kid in names(group)]


def names(group: dict) -> list[str | None]:
    return [None, group["private"].get("kid")] if group["private"].get("kid") else [None]


def test_all_401_signatures_are_there():
    assert len(HMAC_CASES) + len(OTHER_CASES) == SIGNATURES["numberOfTests"] == 401


def test_the_overrides_that_concern_hs256_change_a_verdict():
    verdicts = {case["tcId"]: case["result"] == "valid" for _, case in HMAC_CASES}
    assert [case for case, accept in OVERRIDES.items() if verdicts.get(case) is accept] == []


@pytest.mark.parametrize(("group", "case"), HMAC_CASES, ids=case_id)
def test_an_hs256_signature_is_accepted_exactly_if_it_is_valid(group, case):
    codec = codec_of(HMACKey.from_jwk(group["private"]))
    assert accepts(codec, case["jws"]) is OVERRIDES.get(case["tcId"], case["result"] == "valid")


@pytest.mark.parametrize("group", OTHER_GROUPS, ids=case_id)
@pytest.mark.parametrize("part", ["private", "public"])
def test_a_key_for_another_algorithm_is_refused(group, part):
    with pytest.raises(InvalidKey):
        HMACKey.from_jwk(group[part])


@pytest.mark.parametrize("group", OTHER_GROUPS, ids=case_id)
def test_a_key_for_another_algorithm_is_no_secret_either(group):
    with pytest.raises(InvalidKey, match="public key"):
        HMACKey(json.dumps(group["public"]))


@pytest.mark.parametrize(("group", "case"), OTHER_CASES, ids=case_id)
def test_a_token_of_another_algorithm_is_refused_by_hs256_keys(group, case):
    assert [codec for codec in confused(group) if accepts(codec, case["jws"])] == []


# -- Wycheproof JWK --------------------------------------------------------------------------------

KEY_SETS = load("wycheproof/json_web_key_test.json")
KEY_CASES = [(group, case) for group in KEY_SETS["testGroups"] for case in group["tests"]]
#: HS384, HS512 and RS256 keys that are valid, for algorithms that this kit does not have.
UNSUPPORTED = {5, 14, 15}


def test_all_26_key_sets_are_there():
    assert len(KEY_CASES) == KEY_SETS["numberOfTests"] == 26


@pytest.mark.parametrize(("group", "case"), KEY_CASES, ids=case_id)
def test_a_key_set_verifies_exactly_if_it_is_valid_and_for_hs256(group, case):
    try:
        ring = KeyRing.from_jwks(group["private"])
    except InvalidKey:
        accepted = False
    else:
        accepted = accepts(codec_of(*ring), case["jws"])
    assert accepted is (case["result"] == "valid" and case["tcId"] not in UNSUPPORTED)


#: But for the third, whose keys are good and whose token is not.
BAD_KEY_SETS = [
    (group, case)
    for group, case in KEY_CASES
    if (case["result"] != "valid" or case["tcId"] in UNSUPPORTED) and case["tcId"] != 3
]


@pytest.mark.parametrize(("group", "case"), BAD_KEY_SETS, ids=case_id)
def test_a_bad_key_set_is_refused_before_any_token_is_read(group, case):
    with pytest.raises(InvalidKey):
        KeyRing.from_jwks(group["private"])


# -- RFCs and the cookbook -------------------------------------------------------------------------

ANSWERS = load("rfc/rfc_known_answers.json")
A1 = ANSWERS["rfc7515_A1_rfc7519_3_1"]


def codec_for(jwk: dict, typ: str | None) -> Codec:
    return codec_of(HMACKey.from_jwk(jwk), typ=typ)


def test_rfc_7515_a1_verifies():
    payload = codec_for({"kty": "oct", "k": A1["k"]}, "JWT").verify(raw_token(A1["token"]))
    assert strict_json.loads(payload) == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


def test_rfc_7515_a1_has_expired():
    payload = codec_for({"kty": "oct", "k": A1["k"]}, "JWT").verify(raw_token(A1["token"]))
    claims = {**strict_json.loads(payload), "session_id": "1_x", "role": "publisher"}
    with pytest.raises(ExpiredToken):
        ClaimRules(RoleTable(), leeway=10).grant(claims, 1_795_186_800, "an id")


def test_rfc_7515_a1_has_a_key_that_stops_a_kit(make_kit):
    with pytest.raises(InvalidKey, match="publicly known"):
        make_kit(api_secret=A1["k"])


@pytest.mark.parametrize("typ", [None, "JWT"])
def test_rfc_7519_unsecured_is_refused(typ):
    assert not accepts(codec_for({"kty": "oct", "k": A1["k"]}, typ), ANSWERS["rfc7519_6_1_unsecured"]["token"])


def test_rfc_8037_ed25519_is_refused_by_hs256_keys():
    assert not accepts(codec_for({"kty": "oct", "k": A1["k"]}, None), ANSWERS["rfc8037_A4_EdDSA"]["token"])


@pytest.mark.parametrize("name", ["rfc7638_3_1", "rfc8037_A3", "rfc8037_A4_EdDSA"])
def test_public_keys_of_the_rfcs_are_no_hs256_keys(name):
    with pytest.raises(InvalidKey):
        HMACKey.from_jwk(ANSWERS[name]["jwk"])


COOKBOOK = load("ietf-cookbook/jws/4_4.hmac-sha2_integrity_protection.json")


def test_the_cookbooks_hmac_example_verifies():
    codec = codec_for(COOKBOOK["input"]["key"], None)
    assert codec.verify(raw_token(COOKBOOK["output"]["compact"])) == COOKBOOK["input"]["payload"].encode()


def test_the_cookbooks_hmac_example_is_signed_byte_for_byte():
    codec = codec_for(COOKBOOK["input"]["key"], None)
    assert codec.sign(COOKBOOK["input"]["payload"].encode()) == COOKBOOK["output"]["compact"]


@pytest.mark.parametrize("form", ["json", "json_flat"])
def test_the_cookbooks_json_forms_are_refused(form):
    assert not accepts(codec_for(COOKBOOK["input"]["key"], None), json.dumps(COOKBOOK["output"][form]))


@pytest.mark.parametrize("path", sorted((VECTORS / "ietf-cookbook/jws").glob("*.json")), ids=lambda path: path.stem)
def test_no_other_compact_example_of_the_cookbook_passes_the_hmac_key(path):
    compact = json.loads(path.read_text("utf-8"))["output"].get("compact")
    if compact and compact != COOKBOOK["output"]["compact"]:
        assert not accepts(codec_for(COOKBOOK["input"]["key"], None), compact)


@pytest.mark.parametrize("path", sorted((VECTORS / "ietf-cookbook/jwk").glob("*.json")), ids=lambda path: path.stem)
def test_only_the_cookbooks_mac_key_is_a_key(path):
    jwk = json.loads(path.read_text("utf-8"))
    if path.stem == "3_5.symmetric_key_mac_computation":
        assert HMACKey.from_jwk(jwk).kid == jwk["kid"]
    else:
        with pytest.raises(InvalidKey):
            HMACKey.from_jwk(jwk)


# -- tokens of the SDKs ----------------------------------------------------------------------------

TOKENS = load("opentok_tokens.json")["tokens"]
CLIENT_TOKENS = [token for token in TOKENS if "REST" not in token["sdk"]]
REST_TOKENS = [token for token in TOKENS if "REST" in token["sdk"]]


def token_name(token: dict) -> str:
    return f"{token['sdk'].split()[0]}-{token['form']}"


def stated(token: dict) -> dict:
    """What the file says of a token, in the terms of a grant."""
    said = token.get("claims") or dict(token["fields"])
    issued_at = int(said.get("iat") or said["create_time"])
    expires_at = said.get("exp") or said.get("expire_time")
    return {
        "session_id": said["session_id"],
        "role": said["role"],
        "data": said["connection_data"],
        "issued_at": issued_at,
        "expires_at": int(expires_at) if expires_at else issued_at + 86_400,
        "layout": tuple(said.get("initial_layout_class_list", "").replace("+", " ").split()),
    }


def verified(token: dict, now: float, text: str | None = None) -> Grant:
    """The grant of a token, or of ``text`` in its place: below the kit, which takes no secret that everybody knows."""
    raw = raw_token(token["token"] if text is None else text)
    form = T1Format if T1Format.recognizes(raw) else OpenTokFormat
    issuer = Issuer(API_KEY, KeyRing([HMACKey(token["secret"])]))
    return form([issuer], ClaimRules(RoleTable(), 10)).verify(raw, now)


def test_the_tokens_are_ten_of_clients_and_one_of_a_server():
    assert (len(CLIENT_TOKENS), len(REST_TOKENS)) == (10, 1)


@pytest.mark.parametrize("token", CLIENT_TOKENS, ids=token_name)
@pytest.mark.parametrize("moment", ["first", "middle", "last"])
def test_a_token_of_an_sdk_grants_exactly_what_it_says(token, moment):
    values = stated(token)
    first, last = values["issued_at"], values["expires_at"] - 1
    grant = verified(token, {"first": first, "middle": (first + last) / 2, "last": last}[moment])
    assert {name: getattr(grant, name) for name in values} == values


@pytest.mark.parametrize("token", CLIENT_TOKENS, ids=token_name)
def test_a_token_of_an_sdk_may_do_what_its_role_may(token):
    assert verified(token, stated(token)["issued_at"]).capabilities == Role.MODERATOR.capabilities


@pytest.mark.parametrize("token", [token for token in CLIENT_TOKENS if token["form"] == "JWT"], ids=token_name)
def test_a_grant_holds_all_claims_of_the_token(token):
    assert verified(token, stated(token)["issued_at"]).claims == token["claims"]


@pytest.mark.parametrize("token", CLIENT_TOKENS, ids=token_name)
def test_a_token_of_an_sdk_expires(token):
    with pytest.raises(ExpiredToken):
        verified(token, stated(token)["expires_at"] + 10)


@pytest.mark.parametrize("token", REST_TOKENS, ids=token_name)
def test_a_servers_own_credential_is_no_clients_token(token):
    with pytest.raises(WrongTokenKind):
        verified(token, token["claims"]["iat"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("token", CLIENT_TOKENS, ids=token_name)
def test_a_token_with_any_character_changed_is_refused(token):
    now, text = stated(token)["issued_at"], token["token"]
    verified(token, now)
    accepted = []
    for index, character in enumerate(text):
        for other in {chr(ord(character) ^ 1), chr(ord(character) ^ 32), "A", "=", ".", ""} - {character}:
            try:
                verified(token, now, text[:index] + other + text[index + 1 :])
            except InvalidToken:
                continue
            accepted.append((index, other))
    assert accepted == []
