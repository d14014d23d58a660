"""The drop-in for the ``opentok`` package: the guides' samples, their rules at the edges, and the kit behind it."""

from __future__ import annotations

import asyncio
import importlib
import json
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rolecall import Allow, Deny, Role, Rolecall, hookimpl, inspect_token
from rolecall import opentok as OpenTok  # noqa: N812 (as the guide once had it)
from rolecall.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidKey,
    MalformedToken,
    NoMediaService,
    NotFoundAtService,
    PolicyDenied,
    StoreUnavailable,
    Unavailable,
)
from rolecall.opentok import (
    ArchiveModes,
    AuthError,
    Client,
    ForceDisconnectError,
    GetStreamError,
    MediaModes,
    NotFoundError,
    OpenTokException,
    RequestError,
    Roles,
    Session,
    SignalingError,
    StreamList,
)
from rolecall_wsgi import SDK_ROUTES, RolecallMiddleware

from ...untyped import untyped

pytestmark = pytest.mark.each_choice

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
APPLICATION = "5b1f0c2e-9d7a-4c3f-8e6b-7d2a1c0f9e8d"
#: A session that another service made.
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
#: A session of another key.
FOREIGN = "1_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-MC4xflB-fg"
NOW = 1_795_186_800
HOUR, DAY = 3600, 86_400


@pytest.fixture
def client(kit):
    return Client(KEY, SECRET, kit=kit)


def said(kit, token: str) -> tuple[object, ...]:
    """Session, role, seconds of life, data and layout of a token."""
    grant = kit.verify_token(token)
    return grant.session_id, grant.role, grant.expires_at - NOW, grant.data, grant.layout


# -- the guides' samples ---------------------------------------------------------------------------
#
# Each guide has two: a session is created (in its variants), and tokens are generated, plain and with options. Both are
# one function here, which returns its sessions, and each token with its session.


def python(client):
    session = client.create_session()
    routed = client.create_session(media_mode=MediaModes.routed)
    archived = client.create_session(media_mode=MediaModes.routed, archive_mode=ArchiveModes.always)
    located = client.create_session(location="12.34.56.78")
    plain = client.generate_token(session.session_id)
    full = session.generate_token(
        role=Roles.moderator,
        expire_time=NOW + (7 * 24 * 60 * 60),
        data="name=Johnny",
        initial_layout_class_list=["focus"],
    )
    return [session, routed, archived, located], [(session, plain), (session, full)]


def python_older(client):
    opentok = client
    session = opentok.create_session("12.34.56.78")
    plain = opentok.generate_token(session.session_id)
    full = opentok.generate_token(
        session.session_id, OpenTok.RoleConstants.MODERATOR, NOW + (7 * 24 * 60 * 60), "name=Johnny", ["focus"]
    )
    return [session], [(session, plain), (session, full)]


def node(client):
    session = client.create_session(media_mode=MediaModes.routed)
    plain = client.generate_token(session.session_id)
    full = client.generate_token(
        session.session_id,
        role=Roles.moderator,
        expire_time=NOW * 1000 / 1000 + 7 * 24 * 60 * 60,  # new Date().getTime() / 1000 + …
        data="name=Johnny",
        initial_layout_class_list=["focus"],
    )
    return [session], [(session, plain), (session, full)]


def ruby(client):
    session = client.create_session(media_mode=MediaModes.routed)
    located = client.create_session(location="12.34.56.78")
    plain = client.generate_token(session.session_id)
    full = session.generate_token(
        role=Roles.moderator,
        expire_time=str(NOW + (7 * 24 * 60 * 60)),
        data="name=Johnny",
        initial_layout_class_list=["focus"],
    )
    return [session, located], [(session, plain), (session, full)]


def php(client):
    session = client.create_session(media_mode=MediaModes.routed, archive_mode=ArchiveModes.always)
    plain = client.generate_token(session.session_id)
    full = session.generate_token(
        role=Roles["moderator"],
        expire_time=NOW + (7 * 24 * 60 * 60),
        data="name=Johnny",
        initial_layout_class_list=("focus",),
    )
    return [session], [(session, plain), (session, full)]


def dotnet(client):
    session = client.create_session("", MediaModes.routed, ArchiveModes.manual)
    plain = client.generate_token(session.session_id)
    in_one_week = (
        datetime.fromtimestamp(NOW, UTC) + timedelta(days=7) - datetime(1970, 1, 1, tzinfo=UTC)
    ).total_seconds()
    full = session.generate_token(
        role=Roles.moderator, expire_time=in_one_week, data="name=Johnny", initial_layout_class_list=["focus"]
    )
    return [session], [(session, plain), (session, full)]


SAMPLES = pytest.mark.parametrize("sample", [python, python_older, node, ruby, php, dotnet])


@SAMPLES
def test_a_guides_sample_on_the_drop_in(client, kit, sample):
    sessions, tokens = sample(client)
    (first, plain), (second, full) = tokens
    assert said(kit, plain) == (first.session_id, "publisher", DAY, None, ())
    assert said(kit, full) == (second.session_id, "moderator", 7 * DAY, "name=Johnny", ("focus",))
    for session in sessions:
        kept = kit.get_session(session.session_id)
        assert (kept.location, kept.media_mode, kept.archive_mode) == (
            session.location,
            session.media_mode.name,
            session.archive_mode.name,
        )


class OnTheKit:
    """The kit's own calls, for samples that name roles and modes by the drop-in's enums."""

    def __init__(self, kit) -> None:
        self.kit = kit

    def create_session(self, location="", media_mode=MediaModes.relayed, archive_mode=ArchiveModes.manual):
        return Session(self, self.kit.create_session(location or None, media_mode.name, archive_mode.name).session_id)

    def generate_token(self, session_id, role=None, expire_time=None, *arguments, **options):
        # The kit takes no digits for a number.
        moment = None if expire_time is None else float(expire_time)
        return self.kit.generate_token(session_id, role.value if role else "publisher", moment, *arguments, **options)


@SAMPLES
def test_a_guides_sample_on_the_kit(kit, sample):
    _, ((first, plain), (second, full)) = sample(OnTheKit(kit))
    assert said(kit, plain) == (first.session_id, "publisher", DAY, None, ())
    assert said(kit, full) == (second.session_id, "moderator", 7 * DAY, "name=Johnny", ("focus",))


def test_the_guides_older_names_work_and_warn():
    with pytest.warns(DeprecationWarning, match="Use Client class instead"):
        opentok = OpenTok.OpenTok(KEY, SECRET)
    session = opentok.create_session()
    token = opentok.generate_token(session.session_id, OpenTok.RoleConstants.PUBLISHER, None, "username=Bob")
    grant = opentok.kit.verify_token(token)
    assert (grant.role, grant.data) == ("publisher", "username=Bob")


@pytest.mark.parametrize("name", ["SUBSCRIBER", "PUBLISHER", "MODERATOR"])
def test_the_older_names_of_roles_are_the_roles(name):
    assert getattr(OpenTok.RoleConstants, name) is Roles[name.lower()]


# -- the guides' rules -----------------------------------------------------------------------------


def on_the_drop_in(kit):
    return Client(KEY, SECRET, kit=kit).generate_token


def on_the_kit(kit):
    return kit.generate_token


EITHER = pytest.mark.parametrize("calls", [on_the_drop_in, on_the_kit])


@EITHER
def test_the_default_role_is_publisher(kit, calls):
    assert kit.verify_token(calls(kit)(SESSION)).role == "publisher"


@EITHER
@pytest.mark.parametrize("fraction", [0, 0.999])
def test_the_default_life_is_24_hours(kit, clock, calls, fraction):
    clock.now = NOW + fraction
    claims = inspect_token(calls(kit)(SESSION)).claims
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + DAY)


@EITHER
@pytest.mark.parametrize("seconds", [1, 2, DAY - 1, DAY, DAY + 1, 30 * DAY - 1, 30 * DAY])
def test_a_life_within_the_rules_is_taken_as_it_is(kit, calls, seconds):
    assert inspect_token(calls(kit)(SESSION, Role.PUBLISHER, NOW + seconds)).claims["exp"] == NOW + seconds


@EITHER
@pytest.mark.parametrize("seconds", [-1, 0, 30 * DAY + 1, 30 * DAY + 2])
def test_a_life_beyond_the_rules_is_refused(kit, calls, seconds):
    with pytest.raises((OpenTokException, ValueError), match="expire_time"):
        calls(kit)(SESSION, Role.PUBLISHER, NOW + seconds)


@EITHER
@pytest.mark.parametrize(("seconds", "verifies"), [(-1, True), (0, False), (1, False)])
def test_a_token_is_good_until_24_hours_have_passed(make_kit, clock, calls, seconds, verifies):
    kit = make_kit(leeway=0)
    token = calls(kit)(SESSION)
    clock.now = NOW + DAY + seconds
    if verifies:
        assert kit.verify_token(token).session_id == SESSION
    else:
        with pytest.raises(ExpiredToken, match="expired"):
            kit.verify_token(token)


@pytest.mark.parametrize("fraction", [0, 0.5, 0.999])
def test_this_very_second_is_not_in_the_future(client, clock, fraction):
    clock.now = NOW + fraction
    with pytest.raises(OpenTokException, match=f"^Cannot generate token, expire_time is not in the future {NOW}: "):
        client.generate_token(SESSION, expire_time=NOW)


# -- what is better --------------------------------------------------------------------------------


def test_a_naive_datetime_is_an_error_that_says_so(client):
    with pytest.raises(
        OpenTokException, match=r"invalid expire time .*: expire_time is a datetime without a time zone"
    ):
        client.generate_token(SESSION, expire_time=datetime(2026, 11, 21))


def test_milliseconds_are_told_from_a_time_far_away(client):
    with pytest.raises(OpenTokException, match="which can only be milliseconds"):
        client.generate_token(SESSION, expire_time=str((NOW + HOUR) * 1000))


def test_a_message_shows_no_line_ends_and_no_long_value(client):
    with pytest.raises(OpenTokException) as refused:
        client.generate_token("a\r\nb" * 1000, Roles.publisher)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("layout", [iter(["focus", "small"]), ("focus", "small"), {"focus": 1, "small": 2}.keys()])
def test_layout_classes_can_be_any_collection_of_strings(client, kit, layout):
    token = client.generate_token(SESSION, initial_layout_class_list=layout)
    assert kit.verify_token(token).layout == ("focus", "small")


@pytest.mark.parametrize("layout", ["focus", b"focus", {"focus": 1}, None, 7, [7], [b"focus"], [None]])
def test_layout_classes_that_are_no_strings_are_refused(client, layout):
    with pytest.raises(
        OpenTokException, match=r"^Cannot generate token, all items in initial_layout_class_list must be"
    ):
        client.generate_token(SESSION, initial_layout_class_list=layout)


def test_the_default_list_of_layout_classes_stays_empty(client):
    client.generate_token(SESSION)
    assert Client.generate_token.__defaults__ == (Roles.publisher, None, None, [], True)


@pytest.mark.parametrize("data", [7, b"name=Ada", ["Ada"], "\ud800"])
def test_data_that_is_no_text_is_refused(client, data):
    with pytest.raises(OpenTokException, match=r"^Cannot generate token, data was not valid: data "):
        client.generate_token(SESSION, data=data)


@pytest.mark.parametrize("location", ["Zurich", "1.2.3", "1.2.3.4 or so", 7, b"1.2.3.4"])
def test_a_location_that_is_no_address_is_refused(client, location):
    with pytest.raises(
        OpenTokException, match=r"^Cannot create session\. Location must be either None or a valid IPv4"
    ):
        client.create_session(location)


@pytest.mark.parametrize("e2ee", ["true", 1, None])
def test_e2ee_is_true_or_false(client, e2ee):
    with pytest.raises(OpenTokException, match=r"^Cannot create session: e2ee is "):
        client.create_session(media_mode=MediaModes.routed, e2ee=e2ee)


@pytest.mark.parametrize("session_id", ["", None, 7])
def test_a_session_needs_an_id(client, session_id):
    with pytest.raises(OpenTokException, match=r"^Cannot instantiate Session, session_id was not valid"):
        Session(client, session_id)


def test_an_error_keeps_the_kits_own(client):
    with pytest.raises(OpenTokException) as refused:
        client.generate_token(SESSION, "admin")
    assert getattr(refused.value.__cause__, "code", None) == "invalid_role"


# -- the kit behind it -----------------------------------------------------------------------------


class Lessons:
    """Lets nobody open a routed session, and makes everybody a student."""

    name = "lessons"

    @hookimpl
    def rolecall_register_roles(self):
        return [Role("student", ["connect", "subscribe", "signal"], "subscriber")]

    @hookimpl
    def rolecall_vote_session(self, request):
        return Deny("no routed sessions here", "not_routed") if request.properties.media_mode == "routed" else Allow()

    @hookimpl
    def rolecall_vote_token(self, request):
        return Deny("not on Sundays", "sunday") if request.data == "Sunday" else Allow(max_role=untyped("student"))


@pytest.fixture
def lessons(make_kit):
    return Client(KEY, SECRET, kit=make_kit(plugins=[Lessons()], accept=["opentok", "t1"]))


@pytest.mark.parametrize("use_jwt", [True, False], ids=["JWT", "T1"])
def test_the_kits_policies_narrow_a_token(lessons, use_jwt):
    token = lessons.generate_token(SESSION, Roles.moderator, use_jwt=use_jwt)
    assert lessons.kit.verify_token(token).role == "student"


@pytest.mark.parametrize("use_jwt", [True, False], ids=["JWT", "T1"])
def test_the_kits_policies_deny_a_token(lessons, use_jwt):
    with pytest.raises(AuthError, match=r"^Cannot generate token: .*not on Sundays") as refused:
        lessons.generate_token(SESSION, data="Sunday", use_jwt=use_jwt)
    assert isinstance(refused.value.__cause__, PolicyDenied)


def test_the_kits_policies_deny_a_session(lessons):
    with pytest.raises(AuthError, match=r"^Failed to create session: .*no routed sessions here"):
        lessons.create_session(media_mode=MediaModes.routed)


def test_a_role_of_the_kits_own_goes_by_its_name(lessons):
    assert lessons.kit.verify_token(lessons.generate_token(SESSION, "student")).role == "student"


def test_the_session_stands_in_the_kits_store(client, kit):
    session = client.create_session("203.0.113.7", MediaModes.routed, ArchiveModes.always, "lesson", "1280x720")
    kept = kit.get_session(session.session_id)
    assert (kept.location, kept.media_mode, kept.archive_mode) == ("203.0.113.7", "routed", "always")


def test_what_names_the_archives_is_shown_to_the_plugins(make_kit):
    asked = []

    class Recorder:
        @hookimpl
        def rolecall_vote_session(self, request):
            asked.append((request.properties.archive_name, request.properties.archive_resolution))
            return Allow()

    client = Client(KEY, SECRET, kit=make_kit(plugins=[Recorder()]))
    client.create_session(None, MediaModes.routed, ArchiveModes.always, "lesson", "1280x720")
    client.create_session()
    assert asked == [("lesson", "1280x720"), (None, None)]


def test_a_session_that_has_ended_issues_no_token(client, kit):
    session = client.create_session()
    kit.end_session(session.session_id)
    with pytest.raises(NotFoundError, match="the session has ended"):
        session.generate_token()


def test_a_store_that_does_not_answer_is_a_request_error(make_kit, tmp_path):
    kit = make_kit(store=f"sqlite:///{tmp_path}/rolecall.db")
    client = Client(KEY, SECRET, kit=kit)
    kit.close()
    (tmp_path / "rolecall.db").unlink()
    (tmp_path / "rolecall.db").mkdir()
    with pytest.raises(RequestError, match=r"^Failed to create session: ") as refused:
        client.create_session()
    assert isinstance(refused.value.__cause__, StoreUnavailable)


def test_the_token_that_the_plugins_are_told_of_is_the_one_that_was_minted(make_kit):
    told = []

    class Audit:
        @hookimpl
        def rolecall_on_event(self, event):
            told.append(event)

    kit = make_kit(plugins=[Audit()], accept=["opentok", "t1"])
    client = Client(KEY, SECRET, kit=kit)
    tokens = [client.generate_token(SESSION, use_jwt=use_jwt) for use_jwt in (True, False)]
    assert [event.token_id for event in told] == [kit.verify_token(token).token_id for token in tokens]


@pytest.mark.parametrize("minted", ["opentok", "t1"])
@pytest.mark.parametrize(("use_jwt", "beginning"), [(True, "eyJ"), (False, "T1==")])
def test_use_jwt_decides_whatever_the_kit_mints(make_kit, minted, use_jwt, beginning):
    kit = make_kit(format=minted, accept=["opentok", "t1"])
    token = Client(KEY, SECRET, kit=kit).generate_token(SESSION, use_jwt=use_jwt)
    assert token.startswith(beginning)
    assert kit.verify_token(token).session_id == SESSION
    assert kit.generate_token(SESSION).startswith("T1==") == (minted == "t1")


@pytest.mark.parametrize("minted", ["opentok", "t1"])
@pytest.mark.parametrize(("use_jwt", "beginning"), [(True, "eyJ"), (False, "T1==")])
def test_use_jwt_decides_in_a_kit_of_several_projects_too(make_kit, minted, use_jwt, beginning):
    kit = make_kit(format=minted, accept=["opentok", "t1"], projects={"654321": SECRET[::-1]})
    token = Client(KEY, SECRET, kit=kit).generate_token(SESSION, use_jwt=use_jwt)
    assert token.startswith(beginning)
    assert kit.verify_token(token).session_id == SESSION


def test_two_clients_of_one_kit_have_a_project_each(make_kit):
    kit = make_kit(projects={"654321": SECRET[::-1]})
    first, second = Client(KEY, SECRET, kit=kit), Client("654321", SECRET[::-1], kit=kit)
    ours, theirs = first.create_session(), second.create_session()
    assert [kit.get_session(one.session_id).api_key for one in (ours, theirs)] == [KEY, "654321"]
    assert kit.verify_token(theirs.generate_token()).claims["iss"] == second.api_key == "654321"
    for client, foreign in ((first, theirs), (second, ours)):
        with pytest.raises(OpenTokException, match="does not belong to the api_key"):
            client.generate_token(foreign.session_id)
        with pytest.raises(SignalingError, match="another API key"):
            client.send_signal(foreign.session_id, {"type": "a", "data": "b"})


@pytest.mark.parametrize("secret", [SECRET, "short"])
def test_the_secret_of_one_project_is_not_that_of_another(make_kit, secret):
    kit = make_kit(projects={"654321": SECRET[::-1]})
    with pytest.raises(ConfigurationError, match="api_secret is not the kit's"):
        Client("654321", secret, kit=kit)


@pytest.mark.parametrize(("accepted", "use_jwt"), [("opentok", False), ("t1", True)])
def test_a_form_that_the_kit_would_not_verify_is_not_minted(make_kit, accepted, use_jwt):
    client = Client(KEY, SECRET, kit=make_kit(format=accepted, accept=[accepted]))
    with pytest.raises(OpenTokException, match=f"^Cannot generate token, use_jwt is {use_jwt}: the kit neither mints"):
        client.generate_token(SESSION, use_jwt=use_jwt)


def test_a_client_of_its_own_kit_mints_t1_for_others_and_does_not_take_it(monkeypatch):
    with Client(KEY, SECRET) as client:
        token = client.create_session().generate_token(use_jwt=False)
        assert token.startswith("T1==")
        with pytest.raises(MalformedToken, match="accept="):
            client.kit.verify_token(token)
    monkeypatch.setenv("ROLECALL_ACCEPT", "opentok,t1")
    with Client(KEY, SECRET) as client:
        assert client.kit.verify_token(client.create_session().generate_token(use_jwt=False)).role == "publisher"


@pytest.mark.parametrize("path", ["path/to/private.key", "keys/of/the/production/environment/private.key"])
@pytest.mark.parametrize("options", [{}, {"api_url": "http://127.0.0.1:9"}], ids=["own kit", "a service"])
def test_a_project_does_not_sign_with_the_path_of_a_key(path, options):
    with pytest.raises(ConfigurationError, match="api_secret is the path of a file, or looks like one"):
        Client(KEY, path, **options)


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), None], ids=["text", "bytes", "none"])
def test_a_kit_needs_no_secret_and_takes_its_own(kit, secret):
    assert Client(KEY, secret, kit=kit).kit is kit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((KEY, SECRET[::-1]), "api_secret is not the kit's"),
        ((KEY, "short"), "api_secret is not the kit's"),
        (("654321", SECRET), "and none of the kit's: 123456"),
        ((KEY, SECRET, "http://127.0.0.1:9"), "pass api_url or kit, not both"),
    ],
    ids=["another secret", "no secret", "another key", "a service"],
)
def test_what_does_not_go_with_the_kit_is_refused(kit, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Client(*arguments, kit=kit)


def test_what_is_no_kit_is_refused():
    with pytest.raises(ConfigurationError, match="kit is 'memory://'"):
        Client(KEY, None, kit=untyped("memory://"))


def test_a_key_may_be_a_number():
    assert Client(123456, SECRET).api_key == "123456"


@pytest.mark.parametrize("key", [True, 1.5, None, ""])
def test_other_keys_are_refused(key):
    with pytest.raises(ConfigurationError):
        Client(key, SECRET)


@pytest.mark.parametrize("secret", ["", "short", None, "0" * 31])
def test_a_weak_secret_is_refused(secret):
    with pytest.raises(InvalidKey):
        Client(KEY, secret)


def test_its_own_kit_is_configured_by_the_environment(monkeypatch, tmp_path):
    for name, value in {
        "ROLECALL_STORE": f"sqlite:///{tmp_path}/rolecall.db",
        "ROLECALL_API_KEY": "654321",
        "ROLECALL_API_SECRET": SECRET[::-1],
    }.items():
        monkeypatch.setenv(name, value)
    with Client(KEY, SECRET) as one:
        session = one.create_session(location="203.0.113.7")
    with Client(KEY, SECRET) as other:
        assert other.kit.get_session(session.session_id).location == "203.0.113.7"


def test_its_own_kit_has_no_projects_but_its_own(monkeypatch):
    monkeypatch.setenv("ROLECALL_PROJECTS", json.dumps({KEY: SECRET, "654321": SECRET[::-1]}))
    with Client(KEY, SECRET) as client:
        assert client.kit.api_keys == (KEY,)
        with pytest.raises(OpenTokException, match="does not belong to the api_key 123456"):
            client.generate_token(FOREIGN)


def test_closing_leaves_a_kit_that_was_passed_in_open(make_kit, tmp_path):
    kit = make_kit(store=f"sqlite:///{tmp_path}/rolecall.db")
    with Client(KEY, SECRET, kit=kit) as client:
        session = client.create_session()
    assert kit.get_session(session.session_id)


# -- an application of the newer service -----------------------------------------------------------


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(65537, 2048)
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*encoding).decode()


@pytest.fixture(params=["text", "bytes", "file"])
def application(request, private_key, tmp_path):
    path = tmp_path / "private.key"
    path.write_text(private_key)
    given = {"text": private_key, "bytes": private_key.encode(), "file": str(path)}[request.param]
    with Client(APPLICATION, given) as client:
        yield client


def test_an_application_gets_its_own_tokens(application):
    session = application.create_session()
    seen = inspect_token(session.generate_token(role=Roles.moderator))
    assert (seen.header["alg"], seen.claims["application_id"], seen.claims["role"]) == (
        "RS256",
        APPLICATION,
        "moderator",
    )


def test_an_application_has_no_t1(application):
    session = application.create_session()
    with pytest.raises(OpenTokException, match="use_jwt is False"):
        session.generate_token(use_jwt=False)


def test_an_application_has_no_service_here(private_key):
    with pytest.raises(ConfigurationError, match="api_url is for a project's API key and secret"):
        Client(APPLICATION, private_key, "http://127.0.0.1:9")


# -- what is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["start_archive", "set_stream_class_lists", "get_headers", "api_secret"])
def test_what_is_not_there_is_not_there(client, name):
    assert not hasattr(client, name)
    assert getattr(client, name, None) is None


def test_what_is_not_there_is_named_with_where_it_is(client):
    with pytest.raises(AttributeError) as missing:
        client.start_archive(SESSION)
    assert str(missing.value) == (
        "rolecall.opentok has no start_archive: for archives keep the opentok package beside this one: "
        "opentok.Client(api_key, api_secret, api_url).start_archive"
    )
    assert missing.value.name == "start_archive"


# -- a service -------------------------------------------------------------------------------------


class Service(ThreadingHTTPServer):
    """Answers with a status and a session, and keeps what is asked of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.session_id = SESSION
        self.seen: list[tuple[str, dict[str, str]]] = []


class Answers(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.send_error(self.server.status)

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.path, dict(parse_qsl(form))))
        body = json.dumps([{"session_id": self.server.session_id}]).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


@contextmanager
def serving() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def service():
    with serving() as server:
        yield server


def test_a_session_of_the_service_is_known_to_the_kit(service):
    with Client(KEY, SECRET, service.url) as client:
        session = client.create_session("203.0.113.7", MediaModes.routed)
        kept = client.kit.get_session(SESSION)
        grant = client.kit.verify_token(session.generate_token(role=Roles.moderator))
    assert (kept.location, kept.media_mode) == ("203.0.113.7", "routed")
    assert (grant.session_id, grant.role) == (SESSION, "moderator")
    assert [path for path, _ in service.seen] == ["/session/create"]


def test_tokens_need_no_service():
    with Client(KEY, SECRET, "http://127.0.0.1:9") as client:
        assert client.kit.verify_token(client.generate_token(SESSION)).session_id == SESSION


def test_a_session_of_another_key_is_refused(service):
    service.session_id = FOREIGN
    with Client(KEY, SECRET, service.url) as client, pytest.raises(RequestError, match="not of this kit"):
        client.create_session()


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_service_refuses_are_an_auth_error(service, status):
    service.status = status
    with (
        Client(KEY, SECRET, service.url) as client,
        pytest.raises(AuthError, match=r"^Failed to create session, invalid credentials: "),
    ):
        client.create_session()


def test_what_names_the_archives_is_passed_on_to_the_service(service):
    with Client(KEY, SECRET, service.url) as client:
        client.create_session(None, MediaModes.routed, ArchiveModes.always, "lesson", "1280x720")
    [(_, form)] = service.seen
    assert (form["archiveName"], form["archiveResolution"]) == ("lesson", "1280x720")


def test_a_service_that_hangs_is_given_up_in_time(service):
    release = threading.Event()

    class Hanging(Answers):
        def do_POST(self) -> None:
            release.wait(10)

    service.RequestHandlerClass = Hanging
    with (
        Client(KEY, SECRET, service.url, 0.3) as client,
        pytest.raises(RequestError, match=r"^Failed to create session"),
    ):
        client.create_session()
    release.set()


@pytest.mark.parametrize("key", ["http", "http://127.0.0.1", "all", "url"])
def test_the_service_is_reached_by_the_proxy(service, key):
    """A proxy is asked for the whole URL; this one answers itself."""
    with Client(KEY, SECRET, "http://127.0.0.1:9") as client:
        client.proxies = service.url if key == "url" else {key: service.url, "https": "http://127.0.0.1:9"}
        assert client.create_session().session_id == SESSION
    assert service.seen[0][0] == "http://127.0.0.1:9/session/create"


def test_proxies_can_be_taken_away_again(service):
    with Client(KEY, SECRET, service.url) as client:
        client.proxies = {"http": "http://127.0.0.1:9"}
        client.proxies = None
        assert client.create_session().session_id == SESSION
        assert client.proxies is None


def test_a_client_that_is_closed_leaves_no_thread_behind(service):
    before = set(threading.enumerate())
    with Client(KEY, SECRET, service.url) as client:
        client.create_session()
        during = set(threading.enumerate()) - before
        client.proxies = {"http": service.url}
        client.create_session()
    left = {*during, *threading.enumerate()} - before
    deadline = time.monotonic() + 5
    while any(thread.is_alive() for thread in left) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [thread.name for thread in left if thread.is_alive()] == []


def test_proxies_that_are_none_are_refused(client):
    with pytest.raises(OpenTokException, match=r"^proxies is "):
        client.proxies = 7


@pytest.mark.parametrize("url", ["api.opentok.com", "ftp://127.0.0.1", ""])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigurationError):
        Client(KEY, SECRET, url)


# -- moderation ------------------------------------------------------------------------------------

STREAMS = [
    {"id": "s-1", "videoType": "camera", "name": "Ada", "layoutClassList": ["focus"], "hasAudio": True},
    {"id": "s-2"},
]


class Studio:
    """A plugin whose media service notes what it is asked for, and fails if it is told to; and a policy."""

    name = "studio"

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.fails: Exception | None = None
        self.vote: object = None

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return self.vote

    def note(self, *said: object) -> None:
        if self.fails is not None:
            raise self.fails
        self.done.append(said)

    def signal(self, session_id, type, data, connection_id=None):
        self.note("signal", session_id, type, data, connection_id)

    def force_disconnect(self, session_id, connection_id):
        self.note("force_disconnect", session_id, connection_id)

    def mute_stream(self, session_id, stream_id):
        self.note("mute_stream", session_id, stream_id)

    def mute_all(self, session_id, active=True, excluded_stream_ids=()):
        self.note("mute_all", session_id, active, *excluded_stream_ids)

    def list_streams(self, session_id):
        self.note("list_streams", session_id)
        return STREAMS


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def director(make_kit, studio):
    """A client whose kit has the studio."""
    return Client(KEY, SECRET, kit=make_kit(plugins=[studio]))


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


@pytest.fixture(scope="module")
def theatre():
    """A Rolecall server with a studio: its kit, the studio, and its URL."""

    def nothing_else(environ, start_response):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b""]

    studio = Studio()
    with (
        Rolecall(KEY, SECRET, plugins=[studio]) as kit,
        make_server(
            "127.0.0.1",
            0,
            RolecallMiddleware(nothing_else, kit, prefix="", routes=SDK_ROUTES),
            handler_class=Quiet,
        ) as server,
    ):
        setattr(kit, "url", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kit, studio
        server.shutdown()
        thread.join()


@pytest.fixture
def stage(theatre):
    """The server's kit and studio, the latter as if nothing had happened."""
    kit, studio = theatre
    studio.done, studio.fails, studio.vote = [], None, None
    return kit, studio


@pytest.fixture
def visitor(stage):
    """A client of that server."""
    kit, _ = stage
    with Client(KEY, SECRET, kit.url) as client:
        yield client


@pytest.fixture(params=["at a plugin's service", "at a server"])
def acting(request):
    """A client, and the studio in which its calls arrive, with no network between them and with all of it."""
    if request.param == "at a server":
        return request.getfixturevalue("visitor"), request.getfixturevalue("stage")[1]
    return request.getfixturevalue("director"), request.getfixturevalue("studio")


#: Each call, and as what it arrives.
CALLS = {
    "send_signal": (
        lambda client: client.send_signal(SESSION, {"type": "chat", "data": "Zoë & co"}),
        ("signal", SESSION, "chat", "Zoë & co", None),
    ),
    "send_signal to one": (
        lambda client: client.send_signal(SESSION, {"type": "chat", "data": ""}, "c-1"),
        ("signal", SESSION, "chat", "", "c-1"),
    ),
    "send_signal by name": (
        lambda client: client.send_signal(session_id=SESSION, payload={"data": "hi"}, connection_id="c-1"),
        ("signal", SESSION, "", "hi", "c-1"),
    ),
    "send_signal of nothing": (lambda client: client.send_signal(SESSION, {}), ("signal", SESSION, "", "", None)),
    "force_disconnect": (
        lambda client: client.force_disconnect(SESSION, "c-1"),
        ("force_disconnect", SESSION, "c-1"),
    ),
    "mute_stream": (lambda client: client.mute_stream(SESSION, "s-1"), ("mute_stream", SESSION, "s-1")),
    "mute_all": (lambda client: client.mute_all(SESSION, None), ("mute_all", SESSION, True)),
    "mute_all but none": (lambda client: client.mute_all(SESSION, []), ("mute_all", SESSION, True)),
    "mute_all but two": (
        lambda client: client.mute_all(SESSION, excludedStreamIds=["s-1", "s-2"]),
        ("mute_all", SESSION, True, "s-1", "s-2"),
    ),
    "disable_force_mute": (lambda client: client.disable_force_mute(SESSION), ("mute_all", SESSION, False)),
    "get_stream": (lambda client: client.get_stream(SESSION, "s-1"), ("list_streams", SESSION)),
    "list_streams": (lambda client: client.list_streams(SESSION), ("list_streams", SESSION)),
}
#: One call of each method.
METHODS = pytest.mark.parametrize(
    "method", ["send_signal", "force_disconnect", "mute_stream", "mute_all", "disable_force_mute", "get_stream"]
)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_arrives_at_the_media_service(acting, name):
    client, studio = acting
    call, arrives = CALLS[name]
    call(client)
    assert studio.done == [arrives]


@pytest.mark.parametrize("name", ["send_signal", "force_disconnect"])
def test_some_calls_return_nothing(acting, name):
    client, _ = acting
    assert CALLS[name][0](client) is None


@pytest.mark.parametrize("name", ["mute_stream", "mute_all", "disable_force_mute"])
def test_muting_returns_what_is_true_and_says_200(acting, name):
    client, _ = acting
    done = CALLS[name][0](client)
    assert done
    assert (done.status_code, done.ok) == (200, True)


def test_the_older_name_of_send_signal_sends_and_warns(director, studio):
    with pytest.warns(DeprecationWarning, match=r"^opentok\.signal is deprecated \(use opentok\.send_signal") as seen:
        assert director.signal(SESSION, {"type": "chat", "data": "hi"}, "c-1") is None
    assert studio.done == [("signal", SESSION, "chat", "hi", "c-1")]
    assert seen[0].filename == __file__


def test_the_streams_are_listed(acting):
    client, _ = acting
    streams = client.list_streams(SESSION)
    assert (streams.count, len(streams), [stream.id for stream in streams]) == (2, 2, ["s-1", "s-2"])
    assert streams[0].attrs() == {"id": "s-1", "videoType": "camera", "name": "Ada", "layoutClassList": ["focus"]}
    assert streams[-1].attrs() == {"id": "s-2", "videoType": None, "name": None, "layoutClassList": None}


def test_a_stream_is_found(acting):
    client, _ = acting
    stream = client.get_stream(SESSION, "s-1")
    assert (stream.id, stream.videoType, stream.name, stream.layoutClassList) == ("s-1", "camera", "Ada", ["focus"])


def test_streams_that_are_none_are_an_empty_list(acting):
    """The SDK takes 404 for that, too."""
    client, studio = acting
    studio.fails = NotFoundAtService("nobody has published")
    assert len(client.list_streams(SESSION)) == 0


def test_a_list_of_streams_does_not_change(director):
    streams = director.list_streams(SESSION)
    with pytest.raises(GetStreamError, match=r"^Cannot set item s-3 for key 0 in Archive object: "):
        streams[0] = "s-3"


def test_a_list_of_streams_is_json(director):
    described = json.loads(director.list_streams(SESSION).json())
    assert described["count"] == 2
    assert described["items"][0] == json.loads(director.get_stream(SESSION, "s-1").json())
    assert json.loads(StreamList({}).json()) == {"count": None, "items": []}


def test_a_session_of_the_server_is_moderated_there(visitor, stage):
    kit, studio = stage
    session = visitor.create_session("203.0.113.7", MediaModes.routed, ArchiveModes.always, "lesson", "1280x720")
    visitor.send_signal(session.session_id, {"type": "chat", "data": "hi"})
    kept = kit.get_session(session.session_id)
    assert (kept.location, kept.media_mode, kept.archive_mode) == ("203.0.113.7", "routed", "always")
    assert studio.done == [("signal", session.session_id, "chat", "hi", None)]
    assert kit.verify_token(session.generate_token(role=Roles.moderator)).role == "moderator"


def test_a_client_in_async_code_holds_up_no_event_loop(visitor, stage):
    _, studio = stage

    async def both() -> int:
        aio, ticks = visitor.kit.aio, 0
        calls = asyncio.gather(aio.create_session(), aio.signal(SESSION, "chat", "hi"))
        while not calls.done():
            await asyncio.sleep(0.001)
            ticks += 1
        await calls
        return ticks

    assert asyncio.run(both()) > 1
    assert studio.done == [("signal", SESSION, "chat", "hi", None)]


# What is refused: the error, and how the SDK's message begins.

_INVALID_SIGNAL = "One of the signal properties - data, type, sessionId or connectionId - is invalid."
_LONG_SIGNAL = (
    "The type string exceeds the maximum length (128 bytes), or the data string exceeds the maximum size (8 kB)."
)
_INVALID_DISCONNECT = "One of the arguments - sessionId or connectionId - is invalid."
_INVALID_STREAM = "Invalid request. This response may indicate that data in your request data is invalid JSON."
_NOT_CONNECTED = "The client specified by the connectionId property is not connected to the session."

CHAT = {"type": "chat", "data": "hi"}
INVALID = {
    "a signal's session": (lambda client: client.send_signal("junk", CHAT), SignalingError, _INVALID_SIGNAL),
    "a signal's session of another key": (
        lambda client: client.send_signal(FOREIGN, CHAT),
        SignalingError,
        _INVALID_SIGNAL,
    ),
    "a signal's connection": (lambda client: client.send_signal(SESSION, CHAT, "c/1"), SignalingError, _INVALID_SIGNAL),
    "a signal's empty connection": (lambda client: client.send_signal(SESSION, CHAT, ""), SignalingError, "One of"),
    "a text for a payload": (lambda client: client.send_signal(SESSION, "hi"), SignalingError, _INVALID_SIGNAL),
    "no payload": (lambda client: client.send_signal(SESSION, None), SignalingError, _INVALID_SIGNAL),
    "a payload with more": (
        lambda client: client.send_signal(SESSION, {**CHAT, "to": "Ada"}),
        SignalingError,
        _INVALID_SIGNAL,
    ),
    "data that is no text": (
        lambda client: client.send_signal(SESSION, {"data": {"user": 7}}),
        SignalingError,
        _INVALID_SIGNAL,
    ),
    "a type that is none": (lambda client: client.send_signal(SESSION, {"type": None}), SignalingError, "One of"),
    "a long type": (lambda client: client.send_signal(SESSION, {"type": "é" * 65}), SignalingError, _LONG_SIGNAL),
    "long data": (lambda client: client.send_signal(SESSION, {"data": "x" * 8193}), SignalingError, _LONG_SIGNAL),
    "a disconnection's session": (
        lambda client: client.force_disconnect("junk", "c-1"),
        ForceDisconnectError,
        _INVALID_DISCONNECT,
    ),
    "a disconnection's connection": (
        lambda client: client.force_disconnect(SESSION, ""),
        ForceDisconnectError,
        _INVALID_DISCONNECT,
    ),
    "a mute's session": (lambda client: client.mute_stream(None, "s-1"), GetStreamError, _INVALID_STREAM),
    "a mute's stream": (lambda client: client.mute_stream(SESSION, None), GetStreamError, _INVALID_STREAM),
    "a mute of all in no session": (lambda client: client.mute_all("junk", None), GetStreamError, _INVALID_STREAM),
    "a text for streams": (lambda client: client.mute_all(SESSION, "s-1"), GetStreamError, _INVALID_STREAM),
    "a number for a stream": (lambda client: client.mute_all(SESSION, [7]), GetStreamError, _INVALID_STREAM),
    "no session to end muting in": (lambda client: client.disable_force_mute(""), GetStreamError, _INVALID_STREAM),
    "a stream's session": (lambda client: client.get_stream("junk", "s-1"), GetStreamError, _INVALID_STREAM),
    "an empty stream": (lambda client: client.get_stream(SESSION, ""), GetStreamError, _INVALID_STREAM),
    "the streams' session": (lambda client: client.list_streams(FOREIGN), GetStreamError, _INVALID_STREAM),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_argument_that_is_wrong_is_refused_before_anything_is_sent(acting, name):
    client, studio = acting
    call, error, beginning = INVALID[name]
    with pytest.raises(error) as refused:
        call(client)
    assert str(refused.value).startswith(beginning)
    assert str(refused.value).endswith(f" ({refused.value.__cause__})")
    assert getattr(refused.value.__cause__, "status", None) == (413 if "long" in name else 400)
    assert studio.done == []


MISSING = {
    "send_signal": (SignalingError, _NOT_CONNECTED),
    "force_disconnect": (ForceDisconnectError, _NOT_CONNECTED),
    "mute_stream": (NotFoundError, "Mute not found"),
    "mute_all": (NotFoundError, "The session or a stream is not found."),
    "disable_force_mute": (NotFoundError, "The session or a stream is not found."),
    "get_stream": (GetStreamError, "You passed in an invalid stream ID."),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_the_media_service_does_not_know_is_not_found(acting, name):
    client, studio = acting
    studio.fails = NotFoundAtService("nobody there")
    error, beginning = MISSING[name]
    with pytest.raises(error) as refused:
        CALLS[name][0](client)
    assert str(refused.value).startswith(beginning)
    assert getattr(refused.value.__cause__, "code", None) == "not_found_at_service"


def test_a_stream_that_is_not_among_the_sessions_is_not_found(acting):
    client, _ = acting
    with pytest.raises(GetStreamError, match=r"^You passed in an invalid stream ID\. \(the session has no stream"):
        client.get_stream(SESSION, "s-3")


@METHODS
def test_a_media_service_that_is_out_of_order_is_a_request_error(acting, method):
    client, studio = acting
    studio.fails = Unavailable("the studio burns")
    with pytest.raises(RequestError, match=r"^An unexpected error occurred: ") as refused:
        CALLS[method][0](client)
    assert not isinstance(refused.value, SignalingError)
    assert isinstance(refused.value.__cause__, Unavailable)


@METHODS
def test_a_media_service_that_fails_is_a_request_error(director, studio, method):
    studio.fails = ZeroDivisionError("no words of its own")
    with pytest.raises(RequestError, match=r"the plugin 'studio' failed to moderate: it raised ZeroDivisionError"):
        CALLS[method][0](director)


@METHODS
def test_without_a_media_service_the_error_says_what_to_do(client, method):
    with pytest.raises(RequestError, match=r"^An unexpected error occurred: .*no media service") as refused:
        CALLS[method][0](client)
    assert "load a plugin with rolecall_media_service" in str(refused.value)
    assert str(refused.value).endswith("; a client with an api_url acts at that service")
    assert getattr(refused.value.__cause__, "code", None) == "no_media_service"


@METHODS
def test_the_kits_policies_deny_an_act(director, studio, method):
    studio.vote = Deny("not in this lesson")
    with pytest.raises(AuthError, match=r"^You are not authorized to .*: .*not in this lesson") as refused:
        CALLS[method][0](director)
    assert isinstance(refused.value.__cause__, PolicyDenied)
    assert studio.done == []


REFUSED_KEY = {
    "send_signal": "You are not authorized to send the signal. Check your authentication credentials.",
    "force_disconnect": "You are not authorized to forceDisconnect, check your authentication credentials.",
    "mute_stream": "Failed to mute, invalid credentials.",
    "mute_all": "Failed to mute, invalid credentials.",
    "disable_force_mute": "Failed to mute, invalid credentials.",
    "get_stream": "You passed in an invalid OpenTok API key or JWT token.",
    "list_streams": "You passed in an invalid OpenTok API key or JWT token.",
}


@pytest.mark.parametrize("name", REFUSED_KEY)
def test_another_secret_is_an_auth_error(stage, name):
    kit, studio = stage
    with Client(KEY, SECRET[::-1], kit.url) as client, pytest.raises(AuthError) as refused:
        CALLS[name][0](client)
    assert str(refused.value).startswith(REFUSED_KEY[name])
    assert getattr(refused.value.__cause__, "code", None) == "service_credentials_refused"
    assert studio.done == []


def test_a_server_without_a_media_service_says_so_itself(visitor, stage):
    _, studio = stage
    studio.fails = NoMediaService("nothing here carries media")
    with pytest.raises(RequestError, match=r"the service at .* has no media service for this session$"):
        visitor.mute_stream(SESSION, "s-1")


def test_the_servers_policies_are_an_auth_error(visitor, stage):
    _, studio = stage
    studio.vote = Deny("not in this lesson")
    with pytest.raises(AuthError):
        visitor.force_disconnect(SESSION, "c-1")
    assert studio.done == []


@METHODS
def test_a_server_that_is_not_there_is_a_request_error(method):
    with Client(KEY, SECRET, "http://127.0.0.1:9") as client, pytest.raises(RequestError) as refused:
        CALLS[method][0](client)
    assert str(refused.value).startswith("An unexpected error occurred: ")
    assert getattr(refused.value.__cause__, "code", None) == "service_unreachable"


@pytest.mark.parametrize("name", ["send_signal", "force_disconnect", "mute_all"])
def test_what_a_service_refuses_without_a_reason_is_an_argument_that_is_wrong(service, name):
    class Refusing(Answers):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_error(400)

        do_DELETE = do_POST  # noqa: N815 (the names are those of the base)

    service.RequestHandlerClass = Refusing
    error = {"send_signal": SignalingError, "force_disconnect": ForceDisconnectError, "mute_all": GetStreamError}[name]
    with Client(KEY, SECRET, service.url) as client, pytest.raises(error, match="refused the request with status 400"):
        CALLS[name][0](client)


def test_the_proxy_is_on_the_way_of_moderation_too(stage):
    kit, studio = stage
    with Client(KEY, SECRET, kit.url) as client:
        client.proxies = {"http": "http://127.0.0.1:9"}
        with pytest.raises(RequestError, match="the proxy"):
            client.mute_stream(SESSION, "s-1")
        client.proxies = None
        client.mute_stream(SESSION, "s-1")
    assert studio.done == [("mute_stream", SESSION, "s-1")]


# -- names -----------------------------------------------------------------------------------------


ERRORS = [name for name in OpenTok.__all__ if name.endswith(("Error", "Exception"))]


@pytest.mark.parametrize("name", ERRORS)
def test_a_traceback_names_an_error_as_it_is_imported(name):
    [line] = traceback.format_exception_only(getattr(OpenTok, name)("no"))
    assert line == f"rolecall.opentok.{name}: no\n"


@pytest.mark.parametrize("value", [Roles.moderator, MediaModes.routed, ArchiveModes.always, OpenTok.Done()])
def test_a_value_survives_pickling(value):
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    "call", [lambda client: client.send_signal("junk", {}), lambda client: client.get_stream("", "")]
)
def test_an_error_survives_pickling(client, call):
    with pytest.raises(OpenTokException) as refused:
        call(client)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), again.args) == (refused.type, refused.value.args)


@pytest.mark.parametrize("name", ERRORS)
def test_the_errors_stand_in_the_sdks_module_of_them_too(name):
    assert getattr(importlib.import_module("rolecall.opentok.exceptions"), name) is getattr(OpenTok, name)


# -- secrets ---------------------------------------------------------------------------------------

CANARY = "canary-5b1f0c2e9d7a4c3f8e6b7d2a1c0f9e8d"


def everything_about(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def failing_calls(url: str):
    yield lambda: Client("not a key!", CANARY)
    yield lambda: Client(KEY, CANARY[:20])
    yield lambda: Client(KEY, CANARY, "no url")
    yield lambda: Client(KEY, CANARY, url, -1)
    yield lambda: Client(KEY, CANARY, url).generate_token(SESSION, "admin")
    yield lambda: Client(KEY, CANARY, url).create_session()
    yield lambda: Client(KEY, CANARY).generate_token("junk")
    yield lambda: untyped(Client(KEY, CANARY)).api_secret
    yield lambda: Client(KEY, CANARY, kit=untyped(7))
    yield lambda: Client(KEY, CANARY, url).mute_all(SESSION, None)
    yield lambda: Client(KEY, CANARY, url).get_stream(SESSION, "s-1")


def test_no_error_shows_the_secret_not_even_with_its_locals(service):
    service.status = 500
    seen = 0
    for call in failing_calls(service.url):
        try:
            call()
        except Exception as error:
            # What comes from this module, the test, and its constant, is not what is looked for.
            text = everything_about(error).replace(f"CANARY = {CANARY!r}", "")
            assert CANARY[:20] not in text
            seen += 1
    assert seen == 11


def test_no_repr_shows_the_secret(service):
    for client in (Client(KEY, CANARY), Client(KEY, CANARY, service.url)):
        assert CANARY not in f"{client!r} {vars(client)!r}"


def test_a_client_that_was_never_made_has_a_repr():
    assert repr(Client.__new__(Client)) == "<Client api_key=None>"


@pytest.mark.process
def test_the_module_needs_no_http_client():
    code = "import sys; import rolecall.opentok; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("False\n", "")
