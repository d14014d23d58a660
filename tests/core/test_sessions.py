"""Sessions, and ids that all five SDKs read and nobody makes up."""

from __future__ import annotations

import hmac
import inspect
from base64 import b32encode, b64decode, urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolecall import ArchiveMode, AsyncRolecall, MediaMode, Rolecall, RolecallError, hookimpl
from rolecall.connector import AsyncRemoteService, RemoteService
from rolecall.errors import InvalidSessionId, InvalidSessionOption, SessionNotFound
from rolecall.http.api.sdk import SDK_ROUTES
from rolecall.sessions import SessionProperties

from ..budgets import examples
from ..ids import as_text

pytestmark = pytest.mark.each_choice

API_KEY = "123456"
SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
#: The session of the SDKs' own tests, which no kit made.
FOREIGN = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"

API_KEYS = st.from_regex(r"[0-9A-Za-z-]{1,64}", fullmatch=True)
LOCATIONS = st.none() | st.ip_addresses().map(str)
MODES = st.sampled_from(MediaMode)


def fields_of(session_id: str) -> list[str]:
    encoded = session_id[2:]
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode().split("~")


def id_of(prefix: str, *fields: str) -> str:
    return prefix + urlsafe_b64encode("~".join(fields).encode()).decode().rstrip("=")


# -- how the SDKs read an id: each returns the fields in which it looks for the API key -------------


def decoded(text: str) -> str:
    return b64decode(text + "=" * (-len(text) % 4), validate=True).decode()


def python_reads(session_id: str) -> list[str]:
    """Looks in every field."""
    padded = session_id[2:].encode() + b"=" * (-len(session_id[2:]) % 4)
    return b64decode(padded, b"-_").decode("utf-8").split("~")


def node_reads(session_id: str) -> list[str]:
    """Maps both characters of base64url, and takes field 1."""
    return decoded(session_id[2:].replace("-", "+").replace("_", "/")).split("~")[1:2]


def ruby_reads(session_id: str) -> list[str]:
    """Looks in the whole text, from the first ``_`` to the next."""
    return decoded(session_id.split("_")[1].replace("-", "+")).split("~")


def php_reads(session_id: str) -> list[str]:
    """Decodes what stands between two ``-`` on its own (and loses the bits that do not fill a byte)."""
    fields = []
    for part in session_id[2:].split("-"):
        whole = part[:-1] if len(part) % 4 == 1 else part
        fields += b64decode(whole + "=" * (-len(whole) % 4)).decode("latin-1").split("~")
    return fields[1:2]


def dotnet_reads(session_id: str) -> list[str]:
    """Maps ``-`` alone, wants one ``_`` and no more, and takes field 1."""
    _, encoded = session_id.replace("-", "+").split("_")
    return decoded(encoded).split("~")[1:2]


READINGS = [python_reads, node_reads, ruby_reads, php_reads, dotnet_reads]


@pytest.mark.parametrize("reading", READINGS)
@settings(max_examples=examples(40))
@given(API_KEYS, LOCATIONS, MODES)
def test_every_sdk_reads_the_api_key_in_an_id(reading, api_key, location, media_mode):
    session = Rolecall(api_key, SECRET).create_session(location, media_mode)
    assert api_key in reading(session.session_id)


@given(API_KEYS, LOCATIONS, MODES)
def test_an_id_keeps_to_the_form_of_the_service(api_key, location, media_mode):
    session_id = Rolecall(api_key, SECRET).create_session(location, media_mode).session_id
    assert session_id[:2] == {"relayed": "1_", "routed": "2_"}[media_mode]
    assert session_id[2:].isascii()
    assert "_" not in session_id[2:]
    assert "=" not in session_id
    assert len(session_id) <= 255


@given(API_KEYS, LOCATIONS, MODES)
def test_a_kit_takes_the_ids_that_it_made(api_key, location, media_mode):
    kit = Rolecall(api_key, SECRET)
    session_id = kit.create_session(location, media_mode).session_id
    assert kit.verify_token(kit.generate_token(session_id)).session_id == session_id


@given(API_KEYS, LOCATIONS, MODES)
def test_another_process_with_the_same_secret_takes_the_id(api_key, location, media_mode):
    session_id = Rolecall(api_key, SECRET).create_session(location, media_mode).session_id
    assert Rolecall(api_key, SECRET).generate_token(session_id)


def test_an_id_says_what_the_service_says(kit):
    fields = fields_of(kit.create_session("203.0.113.7").session_id)
    # Not the location: every participant can read the id.
    assert fields[:4] == ["1", API_KEY, "", "1795186800000"]
    assert fields[5:] == ["P", "", ""]


def test_a_routed_id_has_no_media_mark(kit):
    assert fields_of(kit.create_session(media_mode="routed").session_id)[5:] == ["", "", ""]


@pytest.mark.exhaustive
def test_ten_thousand_ids_of_one_moment_are_all_different(kit):
    assert len({kit.create_session().session_id for _ in range(10_000)}) == 10_000


# -- made-up ids -----------------------------------------------------------------------------------


def test_an_id_with_any_character_changed_is_refused_or_no_longer_tagged(kit):
    session_id = kit.create_session().session_id
    tagged = fields_of(session_id)[4]
    for index in range(2, len(session_id)):
        changed = session_id[:index] + ("A" if session_id[index] != "A" else "B") + session_id[index + 1 :]
        try:
            kit.generate_token(changed)
        except InvalidSessionId:
            continue
        assert fields_of(changed)[4] != tagged


@pytest.mark.parametrize("index", range(len("rc"), len("rc") + 40))
def test_a_tagged_part_with_any_character_changed_is_refused(index, kit):
    fields = fields_of(kit.create_session().session_id)
    mark = fields[4]
    fields[4] = mark[:index] + ("a" if mark[index] != "a" else "b") + mark[index + 1 :]
    with pytest.raises(InvalidSessionId, match="not made by this kit"):
        kit.generate_token(id_of("1_", *fields))


CHANGES = {
    "the version": (0, "2"),
    "the location": (2, "203.0.113.8"),
    "an added location": (2, "x"),
    "the time": (3, "1795186800001"),
    "no time": (3, ""),
    "the media mark": (5, ""),
    "the media mark in lower case": (5, "p"),
    "the first empty field": (6, "x"),
    "the last empty field": (7, "x"),
    "a long last field": (7, "x" * 60),
}


@pytest.mark.parametrize(("index", "value"), CHANGES.values(), ids=CHANGES)
def test_a_tag_covers_every_other_part_of_the_id(index, value, kit):
    fields = fields_of(kit.create_session().session_id)
    fields[index] = value
    with pytest.raises(InvalidSessionId):
        kit.generate_token(id_of("1_", *fields))


def test_a_tag_covers_the_prefix(kit):
    session_id = kit.create_session().session_id
    with pytest.raises(InvalidSessionId, match="not made by this kit"):
        kit.generate_token("2_" + session_id[2:])


def test_a_session_that_has_ended_cannot_live_on_under_another_spelling(kit):
    session_id = kit.create_session().session_id
    kit.end_session(session_id)
    fields = fields_of(session_id)
    with pytest.raises(RolecallError):
        kit.generate_token(id_of("1_", *fields[:6], "x", "y"))


@pytest.mark.parametrize("call", ["generate_token", "get_session", "end_session"])
def test_a_made_up_tag_is_refused_wherever_an_id_is_taken(call, kit):
    fields = fields_of(kit.create_session().session_id)
    made_up = id_of("1_", *fields[:4], "rc" + "a" * 40, *fields[5:])
    with pytest.raises(InvalidSessionId, match="not made by this kit"):
        getattr(kit, call)(made_up)


def test_an_id_is_refused_as_often_as_it_is_shown(kit):
    fields = fields_of(kit.create_session().session_id)
    made_up = id_of("1_", *fields[:4], "rc" + "a" * 40, *fields[5:])
    for _ in range(3):
        with pytest.raises(InvalidSessionId):
            kit.generate_token(made_up)


def test_two_kits_with_different_secrets_refuse_each_others_ids(make_kit):
    kits = make_kit(), make_kit(api_secret=SECRET[::-1])
    for maker, reader in (kits, kits[::-1]):
        with pytest.raises(InvalidSessionId, match="not made by this kit"):
            reader.generate_token(maker.create_session().session_id)


def test_the_key_of_the_tags_is_not_the_api_secret(kit):
    fields = fields_of(kit.create_session().session_id)
    random, tag = fields[4][2:18], fields[4][18:]
    text = f"1_{'~'.join(fields[:4])}~{random}~{fields[5]}".encode()
    assert b32encode(hmac.digest(SECRET.encode(), text, "sha256")[:15]).decode().lower() != tag


# -- foreign ids -----------------------------------------------------------------------------------


def test_the_servers_own_code_may_mint_for_an_id_of_its_key_that_another_service_made(kit):
    assert kit.verify_token(kit.generate_token(FOREIGN)).session_id == FOREIGN


def test_a_foreign_session_is_not_found_in_the_store(kit):
    with pytest.raises(SessionNotFound):
        kit.get_session(FOREIGN)


@pytest.mark.parametrize(
    "other",
    ["654321", "1234567", "12345", "", "123456 ", "6b0a5a4e-1c0f-4a86-b4cf-6b1a5f0b0d7a", "１２３４５６", "123456\0"],
)
def test_an_id_of_another_api_key_is_refused_and_the_message_names_both(other, kit):
    with pytest.raises(InvalidSessionId, match=r"another API key.*this kit's is '123456'"):
        kit.generate_token(id_of("1_", "1", other, "", "1795186800000", "0.5", "P", "", ""))


def test_the_api_key_in_another_field_does_not_make_the_id_ours(kit):
    """The Python SDK looks for the key in every field."""
    with pytest.raises(InvalidSessionId, match="another API key"):
        kit.generate_token(id_of("1_", API_KEY, "654321", API_KEY, "", "", "", ""))


def test_the_api_key_as_a_part_of_a_field_does_not_make_the_id_ours(kit):
    """The Ruby SDK looks for the key as a substring."""
    with pytest.raises(InvalidSessionId, match="another API key"):
        kit.generate_token(id_of("1_", "1", f"9{API_KEY}9", "", "", "", ""))


MALFORMED = {
    "empty": "",
    "a prefix only": "1_",
    "no prefix": FOREIGN[2:],
    "another prefix": "3_" + FOREIGN[2:],
    "a Vonage-like prefix": "T1_" + FOREIGN[2:],
    "the prefix in Arabic digits": "١_" + FOREIGN[2:],
    "padding": id_of("1_", "1", API_KEY, "xx") + "=",
    "a character outside the alphabet": FOREIGN + "!",
    "white space after": FOREIGN + " ",
    "a new line after": FOREIGN + "\n",
    "white space before": " " + FOREIGN,
    "a NUL": FOREIGN + "\0",
    "standard base64": FOREIGN.replace("-", "+"),
    "not ASCII": FOREIGN + "é",
    "a lone surrogate": FOREIGN + "\ud800",
    "256 characters": "1_" + "A" * 254,
    "a megabyte": "1_" + "A" * 1_000_000,
    "not UTF-8": "1_" + urlsafe_b64encode(b"1~123456~\xff\xff").decode().rstrip("="),
    "one field": id_of("1_", "1"),
    "unused bits": "1_MX4xMjM0NTZ-AB",
}


@pytest.mark.parametrize("session_id", MALFORMED.values(), ids=MALFORMED)
def test_an_id_that_is_not_well_formed_is_refused(session_id, kit):
    with pytest.raises(InvalidSessionId, match="not well formed"):
        kit.generate_token(session_id)


@pytest.mark.parametrize("session_id", [None, 5, True, b"1_MX4", ["1_"], {"a": 1}, object(), 1.5], ids=as_text)
@pytest.mark.parametrize("call", ["generate_token", "get_session", "end_session"])
def test_an_id_that_is_not_text_is_refused(call, session_id, kit):
    with pytest.raises(InvalidSessionId, match="expected a string"):
        getattr(kit, call)(session_id)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.text(max_size=40)
    | st.binary(max_size=80).map(lambda raw: "1_" + urlsafe_b64encode(raw).decode().rstrip("="))
    | st.text(max_size=60).map(lambda t: "2_" + urlsafe_b64encode(f"1~123456~{t}".encode(errors="replace")).decode())
)
def test_an_arbitrary_id_gives_a_token_or_an_invalid_session_id(kit, session_id):
    try:
        token = kit.generate_token(session_id)
    except InvalidSessionId:
        return
    assert kit.verify_token(token).session_id == session_id


# -- options ---------------------------------------------------------------------------------------

#: (media_mode, archive_mode, e2ee) that go together; all others do not.
COMBINATIONS = {
    ("relayed", "manual", False),
    ("routed", "manual", False),
    ("routed", "always", False),
    ("routed", "manual", True),
}


@pytest.mark.parametrize("media_mode", ["relayed", "routed"])
@pytest.mark.parametrize("archive_mode", ["manual", "always"])
@pytest.mark.parametrize("e2ee", [False, True])
def test_options_go_together_or_are_refused(media_mode, archive_mode, e2ee, kit):
    asked = {"media_mode": media_mode, "archive_mode": archive_mode, "e2ee": e2ee}
    if (media_mode, archive_mode, e2ee) in COMBINATIONS:
        session = kit.create_session(**asked)
        assert {name: getattr(session, name) for name in asked} == asked
    else:
        with pytest.raises(InvalidSessionOption):
            kit.create_session(**asked)


def test_a_session_is_relayed_and_archived_by_hand_unless_asked(kit, clock):
    session = kit.create_session()
    assert (session.media_mode, session.archive_mode, session.e2ee) == (MediaMode.RELAYED, ArchiveMode.MANUAL, False)
    assert (session.location, session.created_at, session.ended_at) == (None, clock.now, None)


@pytest.mark.parametrize(
    ("location", "kept"),
    [("203.0.113.7", "203.0.113.7"), ("::1", "::1"), ("2001:DB8:0:0::1", "2001:db8::1"), (None, None)],
)
def test_a_location_is_an_ip_address(location, kept, kit):
    assert kit.create_session(location).location == kept


BAD_LOCATIONS = [
    "", "localhost", "256.0.0.1", "1.2.3", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "1.2.3.4/24", "١.٢.٣.٤", "1.2.3.4~5",
    "\ud800", "::1::", 5, 0x7F000001, True, b"\x7f\0\0\1", ["1.2.3.4"], 1.5, {},
]  # fmt: skip


@pytest.mark.parametrize("location", BAD_LOCATIONS, ids=ascii)
def test_a_location_that_is_no_ip_address_is_refused(location, kit):
    with pytest.raises(InvalidSessionOption, match="location"):
        kit.create_session(location)


#: A zone (RFC 4007) may be any text, and names an interface of one machine: it means nothing to another.
ZONES = ["eth0", "é", "a~b", "~rc", "??????", "x" * 300, "\n", "\ud800", " "]


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: ascii(zone)[:12])
def test_a_location_with_a_zone_never_reaches_the_id(zone, kit):
    try:
        session_id = kit.create_session(f"fe80::1%{zone}").session_id
    except InvalidSessionOption:
        return
    assert "%" not in fields_of(session_id)[2]
    assert len(fields_of(session_id)) == 8


@pytest.mark.parametrize("name", ["media_mode", "archive_mode"])
@pytest.mark.parametrize(
    "value", [None, "", "Routed", "ROUTED", "routed ", True, 5, b"routed", [], {}, object()], ids=as_text
)
def test_a_mode_that_does_not_exist_is_refused(name, value, kit):
    with pytest.raises(InvalidSessionOption, match=name):
        kit.create_session(**{name: value})


@pytest.mark.parametrize("value", [None, 0, 1, "true", "", [], "False"], ids=as_text)
def test_e2ee_is_true_or_false_and_nothing_like_it(value, kit):
    with pytest.raises(InvalidSessionOption, match="e2ee"):
        kit.create_session(media_mode="routed", e2ee=value)


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.ip_addresses().map(str) | st.text(max_size=5).map("fe80::1%{}".format) | ANYTHING,
    MODES | ANYTHING,
    st.sampled_from(ArchiveMode) | st.just("manual") | ANYTHING,
    st.booleans() | st.just(False) | ANYTHING,
)
def test_arbitrary_options_give_a_session_that_works_or_an_error_of_the_kit(kit, location, media, archive, e2ee):
    try:
        session = kit.create_session(location, media, archive, e2ee)
    except InvalidSessionOption:
        return
    assert kit.get_session(session.session_id) == session
    assert kit.verify_token(session.generate_token(), session.session_id)


def test_a_session_does_not_show_its_kit(kit):
    assert "kit" not in repr(kit.create_session())


def test_a_session_cannot_be_changed(kit):
    with pytest.raises(AttributeError):
        kit.create_session().session_id = FOREIGN


# -- properties: each is written once --------------------------------------------------------------

#: The property that is this kit's own: no OpenTok-compatible service knows it.
OWN = "media"
#: Two sessions in which each property has another value than the default.
ASKED = [
    SessionProperties("203.0.113.7", MediaMode.ROUTED, ArchiveMode.ALWAYS, False, "Chemistry", "1280x720"),
    SessionProperties(media_mode=MediaMode.ROUTED, e2ee=True),
]


def test_each_property_is_among_those_that_are_asked_for():
    default = SessionProperties().as_dict()
    assert all(any(asked.as_dict()[name] != default[name] for asked in ASKED) for name in default if name != OWN)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/sessions.db"])
def test_each_property_reaches_the_policies_and_comes_back_from_the_store(asked, url, tmp_path):
    shown = []

    class Policy:
        @hookimpl
        def rolecall_vote_session(self, request):
            shown.append(request.properties)

        @hookimpl
        def rolecall_vote_token(self, request):
            shown.append(request.session.properties)

    with Rolecall(API_KEY, SECRET, store=url.format(tmp_path), plugins=[Policy()]) as kit:
        session = kit.create_session(**asked.as_dict())
        session.generate_token()
        found = kit.get_session(session)
    assert [*shown, session.properties, found.properties] == [asked] * 4


@pytest.mark.parametrize("kit", [Rolecall, AsyncRolecall, RemoteService, AsyncRemoteService])
def test_each_property_can_be_asked_for_by_name_and_has_one_default(kit):
    default = SessionProperties().as_dict()
    parameters = inspect.signature(kit.create_session).parameters
    if kit in (RemoteService, AsyncRemoteService):
        del default[OWN]
    assert {name: parameters[name].default for name in default} == default


def test_each_property_has_a_field_in_the_form_that_a_service_is_sent_and_the_kit_takes():
    form = ASKED[0].as_form()
    assert len(form) == len(ASKED[0].as_dict()) - 1  # without OWN
    [route] = [route for route in SDK_ROUTES if route.name == "sdk_create"]
    body = route.operations["POST"].body
    assert body is not None
    assert form.keys() <= body.keys()


@pytest.mark.parametrize("asked", ASKED)
def test_properties_come_back_from_json(asked):
    assert SessionProperties.from_json(asked.as_json()) == asked


def test_a_session_has_what_the_sdks_sessions_have(make_kit):
    session = make_kit().create_session("203.0.113.7", "routed", "always")
    assert (session.location, session.media_mode, session.archive_mode, session.e2ee) == (
        "203.0.113.7",
        "routed",
        "always",
        False,
    )


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"archive_mode": "manual", "archive_name": "lesson"}, "archive_name is for sessions that are archived"),
        ({"archive_mode": "manual", "archive_resolution": "640x480"}, "archive_resolution is for sessions that are"),
        ({"archive_name": ""}, "archive_name is ''; expected 1 to 80 characters"),
        ({"archive_name": "x" * 81}, "expected 1 to 80 characters"),
        ({"archive_name": "\ud800"}, "expected 1 to 80 characters"),
        ({"archive_name": 7}, "archive_name is 7; expected 1 to 80 characters"),
        ({"archive_resolution": "1x1"}, "archive_resolution is '1x1'; expected one of "),
    ],
)
def test_an_impossible_archive_is_refused(properties, message):
    archived = {"media_mode": "routed", "archive_mode": "always"}
    with pytest.raises(InvalidSessionOption, match=message):
        SessionProperties(**(archived | properties)).checked()


def test_a_possible_archive_is_taken():
    wanted = SessionProperties(None, "routed", "always", False, "x" * 80, "1280x720")  # type: ignore[arg-type]
    assert (wanted.checked().archive_name, wanted.checked().archive_resolution) == ("x" * 80, "1280x720")
