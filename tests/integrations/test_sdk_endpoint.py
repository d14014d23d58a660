"""The SDKs of OpenTok and Vonage, pointed at a Rolecall server in each adapter: they create, mint and moderate."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import opentok
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from .conftest import private_pem
from .sdk_clients import SDKS, OpenTokPython, VonageNode, VonagePython
from .sdk_site import API_KEY, API_SECRET, GONE, OTHER_KEY, STREAMS, make_kit

pytestmark = [pytest.mark.sdk, pytest.mark.pairs]

ADAPTERS = ["flask", "starlette", "wsgi"]
ANOTHER_SECRET = API_SECRET[::-1]
STREAM, OTHER_STREAM = (stream["id"] for stream in STREAMS)
CONNECTION = "c053fcc8-c681-41d5-8ec2-7a9e1434a21f"


@pytest.fixture(params=ADAPTERS)
def site(request, sites):
    """The site of one adapter, with nothing heard."""
    found = sites[request.param]
    found.heard()
    return found


@pytest.fixture(scope="module")
def kit(sites):
    """A kit beside the servers', with the same keys and the same store."""
    with make_kit() as kit:
        yield kit


@pytest.fixture(scope="module")
def another_key():
    return private_pem(rsa.generate_private_key(65_537, 2048)).decode()


@pytest.fixture
def point(site, application_key, another_key, node_call):
    """Points an SDK at the site."""

    def point(sdk, mount="", good=True):
        scheme = f"https://127.0.0.1:{site.tls_port}" if sdk is VonagePython else f"http://127.0.0.1:{site.port}"
        secrets = (application_key, another_key) if SDKS[sdk] else (API_SECRET, ANOTHER_SECRET)
        return sdk(f"{scheme}{mount}", secrets[not good], node_call)

    return point


MOUNT = pytest.mark.parametrize("mount", ["", "/video"], ids=["at the root", "under a prefix"])
SDK = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)


# -- sessions --------------------------------------------------------------------------------------

SESSIONS = {
    "relayed": ({}, ["session", None, "relayed", "manual", False, None, None]),
    "routed": ({"media_mode": "routed"}, ["session", None, "routed", "manual", False, None, None]),
    "archived": (
        {"media_mode": "routed", "archive_mode": "always"},
        ["session", None, "routed", "always", False, None, None],
    ),
    "located": ({"location": "203.0.113.7"}, ["session", "203.0.113.7", "relayed", "manual", False, None, None]),
}


@MOUNT
@pytest.mark.parametrize("kind", SESSIONS)
@SDK
def test_a_session_that_it_creates_is_the_kits_and_as_it_was_asked_for(site, kit, point, sdk, kind, mount):
    options, asked = SESSIONS[kind]
    session_id = point(sdk, mount).create(**options)
    assert site.heard() == [asked]
    session = kit.get_session(session_id)
    assert ["session", session.location, session.media_mode, session.archive_mode, session.e2ee, None, None] == asked
    assert session.created_at == pytest.approx(time.time(), abs=30)


@pytest.mark.parametrize("sdk", [sdk for sdk in SDKS if sdk.e2ee], ids=lambda sdk: sdk.__name__)
def test_a_session_can_be_encrypted_from_end_to_end(kit, point, sdk):
    assert kit.get_session(point(sdk).create(media_mode="routed", e2ee=True)).e2ee is True


@pytest.mark.parametrize("sdk", [sdk for sdk in SDKS if sdk.archives], ids=lambda sdk: sdk.__name__)
def test_the_name_and_the_resolution_of_archives_reach_the_policies(site, point, sdk):
    options = {"archive_name": "Ärger & Co", "archive_resolution": "1280x720"}
    point(sdk).create("routed", "always", **options)
    assert site.heard() == [["session", None, "routed", "always", False, *options.values()]]


@pytest.mark.parametrize("sdk", [VonagePython, VonageNode], ids=lambda sdk: sdk.__name__)
def test_a_session_needs_no_options(kit, point, sdk):
    """One of these two says that it is routed where nothing is asked for, the other says nothing."""
    session = kit.get_session(point(sdk).create_plain())
    assert (session.media_mode, session.location) == ("routed" if sdk is VonageNode else "relayed", None)


@SDK
def test_no_two_sessions_are_the_same(point, sdk):
    client = point(sdk)
    assert len({client.create() for _ in range(5)}) == 5


def test_xml_is_for_those_that_do_not_ask_for_json(site, monkeypatch):
    """The older part of the SDK for Python still reads it."""
    client = opentok.Client(API_KEY, API_SECRET, f"http://127.0.0.1:{site.port}")
    headers = client.get_headers
    monkeypatch.setattr(client, "get_headers", lambda: {**headers(), "Accept": "application/xml"})
    assert client.create_session().session_id.startswith("1_")


# -- tokens ----------------------------------------------------------------------------------------


def opened(site, token, session_id):
    """What a token grants at the server, in a session."""
    return site.ask("GET", f"/rooms/{session_id}", {"Authorization": f"Bearer {token}"})


@SDK
def test_a_plain_token_for_its_session_makes_a_publisher(site, point, sdk):
    client = point(sdk)
    session_id = client.create()
    status, grant = opened(site, client.mint(session_id), session_id)
    assert (status, grant["session_id"], grant["role"]) == (200, session_id, "publisher")
    assert (grant["data"], grant["layout"]) == (None, [])
    assert grant["issued_at"] == pytest.approx(time.time(), abs=30)
    lifetime = 15 * 60 if sdk is VonagePython else 86_400
    assert grant["expires_at"] - grant["issued_at"] == pytest.approx(lifetime, abs=1)


@MOUNT
@pytest.mark.parametrize("role", ["subscriber", "publisher", "moderator"])
@SDK
def test_a_token_for_its_session_grants_exactly_what_was_asked_for(site, point, sdk, role, mount):
    client = point(sdk, mount)
    session_id = client.create(media_mode="routed")
    expire_time = int(time.time()) + 7 * 86_400
    token = client.mint(session_id, role, expire_time, 'name=Zoë & "Jürgen" 50%', ["focus", "small"])
    status, grant = opened(site, token, session_id)
    grant.pop("issued_at")
    assert (status, grant) == (
        200,
        {
            "session_id": session_id,
            "role": role,
            "expires_at": expire_time,
            "data": 'name=Zoë & "Jürgen" 50%',
            "layout": ["focus", "small"],
        },
    )


@SDK
def test_a_token_opens_no_other_session(site, point, sdk):
    client = point(sdk)
    status, problem = opened(site, client.mint(client.create()), client.create())
    assert (status, problem["code"]) == (403, "wrong_session")


def tampered(token: str, session_id: str) -> list[str]:
    """The token with its role raised, its life prolonged, its session changed, unsigned, and with one character off."""
    header, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    changed = [{"role": "moderator"}, {"exp": claims["exp"] + 1}, {"session_id": session_id}, {"connection_data": "x"}]
    bodies = [encoded({**claims, **change}) for change in changed]
    other = "A" if signature[9] != "A" else "B"
    return [
        *(f"{header}.{body}.{signature}" for body in bodies),
        f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims)}.",
        f"{header}.{encoded(claims)}.{signature[:9]}{other}{signature[10:]}",
        jwt.encode(claims, "a secret of the attacker, long enough", algorithm="HS256"),
    ]


def encoded(part: dict) -> str:
    return jwt.utils.base64url_encode(json.dumps(part).encode()).decode()


@SDK
def test_a_token_in_which_anything_was_changed_opens_nothing(site, point, sdk):
    client = point(sdk)
    session_id, other_id = client.create(), client.create()
    token = client.mint(session_id, "subscriber")
    assert opened(site, token, session_id)[0] == 200
    for changed in tampered(token, other_id):
        for where in (session_id, other_id):
            assert opened(site, changed, where)[0] == 401


@SDK
def test_its_token_is_dead_once_the_session_has_ended(site, kit, point, sdk):
    client = point(sdk)
    session_id = client.create()
    token = client.mint(session_id)
    kit.end_session(session_id)
    status, problem = opened(site, token, session_id)
    assert (status, problem["code"]) == (401, "revoked_token")


# -- moderation ------------------------------------------------------------------------------------

#: What an SDK is told to do, and what the media service is told then.
ACTS = {
    "signal to all": (
        lambda sdk, session: sdk.signal(session, "chat", "Hällo {you}"),
        lambda session: ["signal", session, "chat", "Hällo {you}", None],
    ),
    "signal to one": (
        lambda sdk, session: sdk.signal(session, "chat", "", CONNECTION),
        lambda session: ["signal", session, "chat", "", CONNECTION],
    ),
    "force disconnect": (
        lambda sdk, session: sdk.disconnect(session, CONNECTION),
        lambda session: ["force_disconnect", session, CONNECTION],
    ),
    "mute a stream": (
        lambda sdk, session: sdk.mute(session, STREAM),
        lambda session: ["mute_stream", session, STREAM],
    ),
    "mute all": (
        lambda sdk, session: sdk.mute_all(session, []),
        lambda session: ["mute_all", session, True, []],
    ),
    "mute all but two": (
        lambda sdk, session: sdk.mute_all(session, [STREAM, OTHER_STREAM]),
        lambda session: ["mute_all", session, True, [STREAM, OTHER_STREAM]],
    ),
    "stop muting": (
        lambda sdk, session: sdk.stop_muting(session),
        lambda session: ["mute_all", session, False, []],
    ),
    "list streams": (
        lambda sdk, session: sdk.streams(session),
        lambda session: ["list_streams", session],
    ),
    "find a stream": (
        lambda sdk, session: sdk.stream(session, STREAM),
        lambda session: ["list_streams", session],
    ),
}
ACT = pytest.mark.parametrize("act", ACTS)


@pytest.fixture
def session(site, kit):
    return kit.create_session(media_mode="routed").session_id


@ACT
@SDK
def test_what_it_asks_for_reaches_the_media_service(site, session, point, sdk, act):
    ask, told = ACTS[act]
    ask(point(sdk), session)
    assert site.heard() == [told(session)]


@SDK
def test_it_moderates_under_a_prefix_too(site, session, point, sdk):
    ask, told = ACTS["signal to one"]
    ask(point(sdk, "/video"), session)
    assert site.heard() == [told(session)]


@SDK
def test_it_reads_the_streams(session, point, sdk):
    client = point(sdk)
    assert client.streams(session) == STREAMS
    assert [client.stream(session, stream["id"]) for stream in STREAMS] == STREAMS


@SDK
def test_a_connection_that_is_not_there_is_its_own_error(session, point, sdk):
    assert re.search(sdk.gone, outcome(lambda: point(sdk).disconnect(session, GONE)))


@SDK
def test_a_signal_of_all_the_bytes_that_are_carried_arrives(site, session, point, sdk):
    """SDKs escape what is not ASCII or not printable, so the body is up to six times as long."""
    data = "\x01" * 4096 + "é" * 2048
    point(sdk).signal(session, "chat", data, CONNECTION)
    assert site.heard() == [["signal", session, "chat", data, CONNECTION]]


@SDK
def test_a_signal_that_is_too_long_is_its_own_error(site, session, point, sdk):
    assert re.search(sdk.too_long, outcome(lambda: point(sdk).signal(session, "chat", "é" * 4097)))
    assert site.heard() == []


@SDK
def test_it_leaves_out_as_many_streams_as_the_kit_does(site, session, point, sdk):
    streams = [f"8b732909-0a06-46a2-8ea8-{number:012}" for number in range(1000)]
    point(sdk).mute_all(session, streams)
    assert site.heard() == [["mute_all", session, True, streams]]


def outcome(call) -> str:
    """The error of a call, or what it returned."""
    try:
        return str(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@ACT
@SDK
def test_without_a_media_service_it_gets_an_error(site, session, point, sdk, act):
    ask, _ = ACTS[act]
    assert re.match(f".*({sdk.unable})", outcome(lambda: ask(point(sdk, "/quiet"), session)))
    assert site.heard() == []


@ACT
@SDK
def test_with_a_bad_secret_it_gets_its_own_authentication_error(site, session, point, sdk, act):
    ask, _ = ACTS[act]
    assert re.match(f".*({sdk.refused})", outcome(lambda: ask(point(sdk, good=False), session)))
    assert site.heard() == []


@SDK
def test_with_a_bad_secret_it_creates_no_session(site, point, sdk):
    assert re.match(f".*({sdk.refused})", outcome(lambda: point(sdk, good=False).create()))
    assert site.heard() == []


@SDK
def test_it_moderates_no_session_of_another_project(site, kit, point, sdk):
    foreign = kit.create_session(api_key=OTHER_KEY).session_id
    assert re.match(f".*({sdk.refused})", outcome(lambda: point(sdk).signal(foreign, "chat", "Hello")))
    assert site.heard() == []


# -- what is not served ----------------------------------------------------------------------------

UNSERVED = {
    "archives": lambda sdk, session: sdk.archive(session),
    "broadcasts": lambda sdk, session: sdk.broadcast(session),
    "layouts of streams": lambda sdk, session: sdk.lay_out(session, STREAM),
}


@MOUNT
@pytest.mark.parametrize("what", UNSERVED)
@SDK
def test_what_is_not_served_is_an_error_that_says_so(session, point, sdk, what, mount):
    said = outcome(lambda: UNSERVED[what](point(sdk, mount), session))
    assert re.search(sdk.unserved.replace("{what}", what), said)


@pytest.mark.parametrize("what", UNSERVED)
@SDK
def test_with_a_bad_secret_it_does_not_learn_what_is_served(session, point, sdk, what):
    said = outcome(lambda: UNSERVED[what](point(sdk, good=False), session))
    assert re.search(sdk.refused, said)


# -- each credential once --------------------------------------------------------------------------

CREATED = b'[{"session_id":"1_x","project_id":"123456","partner_id":"123456"}]'


@pytest.fixture(params=["opentok for Python", "@vonage/video", "opentok for Python, signal"])
def request_bytes(request, recorded, application_key, node_call):
    """What an SDK sends that gives each of its credentials a name, byte for byte."""

    def create(url):
        OpenTokPython(url, API_SECRET, node_call).create()

    def create_as_application(url):
        VonageNode(url, application_key, node_call).create()

    def list_streams(url):
        OpenTokPython(url, API_SECRET, node_call).streams(session)

    session = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
    calls = {"opentok for Python": create, "@vonage/video": create_as_application}
    call = calls.get(request.param, list_streams)
    return recorded(call, b'{"items":[]}' if call is list_streams else CREATED)


def test_a_request_sent_once_more_is_refused(site, request_bytes):
    first, second = site.send(request_bytes), site.send(request_bytes)
    assert (first[0], second[0]) == (200, 403)
    assert json.loads(second[2])["code"] == "invalid_server_credential"
    assert b"came before" in second[2]


def test_a_request_sent_once_more_to_another_worker_is_refused(sites, request_bytes):
    statuses = [sites[name].send(request_bytes)[0] for name in ADAPTERS]
    assert statuses == [200, 403, 403]


def test_of_fifty_that_come_at_once_to_three_workers_one_succeeds(sites, request_bytes):
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda n: sites[ADAPTERS[n % 3]].send(request_bytes)[0], range(50)))
    assert sorted(statuses) == [200, *[403] * 49]


def test_a_refused_request_leaves_no_session_behind(site, request_bytes):
    site.send(request_bytes)
    site.heard()
    assert site.send(request_bytes)[0] == 403
    assert site.heard() == []
