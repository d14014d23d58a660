"""``rolecall.opentok`` beside the real ``opentok``: the same names, the same tokens, the same refusals.

What is different stands in the tables of docs/coming-from-an-sdk.md, and nothing else is.
"""

from __future__ import annotations

import inspect
import json
import re
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import jwt
import opentok as sdk_package
import opentok.exceptions as sdk_exceptions
import opentok.opentok as sdk_module
import pytest

from rolecall import opentok as own_package

from ..untyped import untyped

pytestmark = pytest.mark.sdk

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
#: The session of the SDKs' own tests.
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
NOW = 1_795_186_800
DAY = 86_400
#: Streams as the service describes them.
STREAMS = [
    {"id": "s-1", "videoType": "camera", "name": "Ada", "layoutClassList": ["focus"]},
    {"id": "s-2", "videoType": "screen", "name": "", "layoutClassList": []},
]
PAGE = Path(__file__).parents[2] / "docs/coming-from-an-sdk.md"

PACKAGES = (sdk_package, own_package)
BOTH = pytest.mark.parametrize("package", PACKAGES, ids=["opentok", "rolecall.opentok"])

CLIENTS = [package.Client(KEY, SECRET) for package in PACKAGES]


class Service(ThreadingHTTPServer):
    """A service with one session, which it creates for everybody, and two streams, on 127.0.0.1."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        #: The form of every session that was asked for, every other request, and the status of every answer.
        self.forms: list[dict[str, str]] = []
        self.asked: list[tuple[str, str, object]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/session/create":
            self.server.forms.append(dict(parse_qsl(sent)))
            said: object = [{"session_id": SESSION, "partner_id": KEY}]
        else:
            self.server.asked.append((self.command, self.path, json.loads(sent or "{}")))
            said = STREAMS[0] if self.path.endswith("/s-1") else {"count": len(STREAMS), "items": STREAMS}
        body = json.dumps(said).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_DELETE = do_POST  # noqa: N815 (the names are those of the base)

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""


@pytest.fixture(scope="module")
def running():
    with Service() as service:
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture
def service(running):
    running.forms.clear()
    running.asked.clear()
    running.status = 200
    return running


@pytest.fixture
def sdk(service, monkeypatch):
    """The real SDK, on a clock that stands still."""
    monkeypatch.setattr(sdk_module, "time", SimpleNamespace(time=lambda: NOW))
    return sdk_package.Client(KEY, SECRET, service.url)


@pytest.fixture
def kit(make_kit):
    return make_kit(accept=["opentok", "t1"])


@pytest.fixture
def own(kit):
    """The drop-in, on the same clock."""
    return own_package.Client(KEY, SECRET, kit=kit)


@pytest.fixture
def remote(service):
    with closing(own_package.Client(KEY, SECRET, service.url)) as client:
        yield client


# -- names and signatures --------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The rows of the tables below a heading, without their heads."""
    section = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")[2]
    section = re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in section.splitlines()]
    heads = [index for index, row in enumerate(rows) if row and set("".join(row)) <= {"-"}]
    return [row for index, row in enumerate(rows) if row and index not in heads and index + 1 not in heads]


def names_in(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([\w.()]+)`", cell)}


def documented_differences() -> set[str]:
    rows = table("Names that are different")
    return names_in([row[0] for row in rows]) | names_in([row[1] for row in rows if "`" not in row[0]])


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def exported(package) -> dict[str, object]:
    """The names that a package has for its users, its submodules and imports apart."""
    return {
        name: value
        for name, value in vars(package).items()
        if inspect.isclass(value)
        and not name.startswith("_")
        and value.__module__.partition(".")[0] == package.__name__.partition(".")[0]
    }


def test_every_name_is_there_or_documented(sdk, own):
    theirs = exported(sdk_package).keys() | {f"Client.{name}" for name in public(sdk)}
    ours = set(own_package.__all__) - {"__version__"} | {f"Client.{name}" for name in public(own)}
    documented = {name for name in documented_differences() if "(" not in name}
    changed = {"Client.timeout", "Client.app_version"}  # in both, and documented for what they do
    assert theirs ^ ours == documented - changed
    assert changed <= theirs & ours


def test_the_version_is_that_of_the_package_that_it_stands_for():
    assert own_package.__version__ == sdk_package.__version__


@pytest.mark.parametrize("module", ["session", "stream", "streamlist", "version"])
def test_a_module_of_the_package_has_its_names(module):
    ours, theirs = (import_module(f"{package.__name__}.{module}") for package in (own_package, sdk_package))
    classes = {name for name, value in exported(theirs).items() if value.__module__ == theirs.__name__}
    documented = {name for name in documented_differences() if "(" not in name}
    assert classes - documented <= set(vars(ours))
    assert all(getattr(ours, name).__module__ == ours.__name__ for name in classes - documented)
    assert getattr(ours, "__version__", None) == getattr(theirs, "__version__", None)


def parameters(function) -> dict[str, tuple[object, object]]:
    """Kind and default of each parameter, in order; a member of an enum by its name and value."""
    found = inspect.signature(function).parameters.values()
    return {
        item.name: (
            item.kind,
            (item.default.name, item.default.value) if isinstance(item.default, Enum) else item.default,
        )
        for item in found
    }


@pytest.mark.parametrize(
    "path",
    [
        "Client",
        "OpenTok",
        "Client.create_session",
        "Client.generate_token",
        "OpenTok.create_session",
        "OpenTok.generate_token",
        "Session",
        "Session.generate_token",
        *(
            f"{client}.{name}"
            for client in ("Client", "OpenTok")
            for name in (
                "send_signal",
                "signal",
                "force_disconnect",
                "mute_stream",
                "mute_all",
                "disable_force_mute",
                "get_stream",
                "list_streams",
            )
        ),
        "Stream",
        "Stream.attrs",
        "Stream.json",
        "StreamList",
        "StreamList.json",
    ],
)
def test_every_signature_is_the_same_or_documented(path):
    theirs, ours = (parameters(look_up(package, path)) for package in (sdk_package, own_package))
    different = {f"{path}({name})" for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)}
    assert different == {name for name in documented_differences() if name.startswith(f"{path}(")}
    assert [name for name in ours if name in theirs] == list(theirs)


def look_up(package, path: str):
    found = package
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("name", ["Roles", "MediaModes", "ArchiveModes"])
def test_the_members_of_an_enum_are_the_same(name):
    theirs, ours = ([(item.name, item.value) for item in getattr(package, name)] for package in PACKAGES)
    assert ours == theirs


@pytest.mark.parametrize("name", [name for name in own_package.__all__ if name.endswith(("Error", "Exception"))])
def test_the_errors_derive_as_the_sdks_do(name):
    ours, theirs = getattr(own_package, name), getattr(sdk_exceptions, name)
    assert [base.__name__ for base in ours.__mro__] == [base.__name__ for base in theirs.__mro__]


@pytest.mark.parametrize("name", sorted(public(CLIENTS[0]) - public(CLIENTS[1])))
def test_what_is_not_there_says_so(own, name):
    assert not hasattr(own, name)
    with pytest.raises(AttributeError, match=rf"^rolecall\.opentok has no {name}: .{{20}}"):
        getattr(own, name)


def test_a_name_that_nobody_has_is_an_ordinary_attribute_error(own):
    with pytest.raises(AttributeError, match=r"^'Client' object has no attribute 'frobnicate'$"):
        own.frobnicate()


@pytest.mark.parametrize("attribute", ["session_id", "location", "media_mode", "archive_mode", "e2ee"])
def test_a_session_has_the_sdks_properties(sdk, remote, attribute):
    def value(package, client):
        session = client.create_session("203.0.113.7", package.MediaModes.routed, e2ee=True)
        assert session.sdk is client
        found = getattr(session, attribute)
        return (found.name, found.value) if isinstance(found, Enum) else found

    assert value(own_package, remote) == value(sdk_package, sdk)


@BOTH
def test_a_session_can_be_made_of_an_id(package):
    client = package.Client(KEY, SECRET)
    session = package.Session(client, SESSION, anything="goes")
    assert (session.session_id, session.sdk, session.anything) == (SESSION, client, "goes")
    assert jwt.decode(session.generate_token(), SECRET, ["HS256"])["session_id"] == SESSION


@BOTH
def test_the_older_class_warns(package):
    with pytest.warns(DeprecationWarning, match=r"^OpenTok class is deprecated \(Use Client class instead\)$") as seen:
        package.OpenTok(KEY, SECRET)
    assert seen[0].filename == __file__


# -- tokens ----------------------------------------------------------------------------------------

OPTIONS = [
    {},
    {"role": "subscriber"},
    {"role": "publisher_only"},
    {"role": "moderator", "expire_time": NOW + 60, "data": "name=Johnny", "initial_layout_class_list": ["focus"]},
    {"expire_time": str(NOW + 3600)},
    {"expire_time": f" {NOW + 3600}\n"},
    {"expire_time": NOW + 3600.9},
    {"expire_time": Decimal(NOW + 3600)},
    {"expire_time": datetime.fromtimestamp(NOW + 3600, UTC)},
    {"expire_time": NOW + 1},
    {"expire_time": NOW + 30 * DAY},
    {"data": ""},
    {"data": "x" * 1000},
    {"data": "Zoë & {\"a\": 'b+c%20d'} \N{PILE OF POO}\r\n"},
    {"initial_layout_class_list": ("focus", "small")},
    {"initial_layout_class_list": ["x" * 1000]},
]


def minted(package, client, options: dict, use_jwt: bool) -> str:
    options = {**options, "role": package.Roles[options.get("role", "publisher")]}
    return client.generate_token(SESSION, use_jwt=use_jwt, **options)


def read(token: str) -> tuple[object, dict[str, object]]:
    """What stands around the claims, and the claims; of what is drawn anew each time only the type."""
    if token.startswith("T1=="):
        envelope, _, fields = b64decode(token[4:]).decode().partition(":")
        head: object = (re.sub("[0-9a-f]{40}", "", envelope), [name for name, _ in parse_qsl(fields, True)])
        claims: dict[str, object] = dict(parse_qsl(fields, True))
    else:
        head = jwt.get_unverified_header(token)
        # Both clocks stand still, and PyJWT's goes.
        claims = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})
        assert isinstance(claims.pop("jti", ""), str)
    claims["nonce"] = type(claims["nonce"])
    return head, claims


@pytest.mark.parametrize("use_jwt", [True, False], ids=["JWT", "T1"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "none")
def test_our_token_says_what_theirs_says(sdk, own, options, use_jwt):
    assert read(minted(own_package, own, options, use_jwt)) == read(minted(sdk_package, sdk, options, use_jwt))


@pytest.mark.parametrize("use_jwt", [True, False], ids=["JWT", "T1"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options) or "none")
def test_both_tokens_verify_with_the_same_grant(sdk, own, kit, options, use_jwt):
    ours, theirs = (
        kit.verify_token(minted(package, client, options, use_jwt), SESSION)
        for package, client in ((own_package, own), (sdk_package, sdk))
    )
    assert ours[:4] == theirs[:4]
    assert (ours.data, ours.layout, ours.issued_at) == (theirs.data, theirs.layout, theirs.issued_at)


@pytest.mark.parametrize("use_jwt", [True, False], ids=["JWT", "T1"])
def test_our_token_passes_the_sdks_own_signature(sdk, own, use_jwt):
    token = own.generate_token(SESSION, data="name=Johnny", use_jwt=use_jwt)
    if use_jwt:
        head, _, _ = token.rpartition(".")
        header, claims = (json.loads(b64decode(part + "==", b"-_")) for part in head.split("."))
        signed_again = sdk_module.encode(claims, SECRET, headers=header)
        assert read(signed_again) == read(token)
    else:
        envelope, _, fields = b64decode(token[4:]).decode().partition(":")
        assert envelope == f"partner_id={KEY}&sig={sdk._sign_string(fields, SECRET)}"


@BOTH
def test_a_session_of_one_gets_tokens_of_the_other(package, sdk, own, remote):
    ids = [client.create_session().session_id for client in (sdk, own, remote)]
    client = sdk if package is sdk_package else own
    assert [read(client.generate_token(session_id))[1]["session_id"] for session_id in ids] == ids


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"location": "203.0.113.7"},
        {"media_mode": "routed"},
        {"media_mode": "routed", "archive_mode": "always"},
        {"media_mode": "routed", "archive_mode": "always", "archive_name": "lesson"},
        {"media_mode": "routed", "archive_mode": "always", "archive_resolution": "1920x1080"},
        {"media_mode": "routed", "e2ee": True},
    ],
    ids=lambda options: ", ".join(options) or "none",
)
def test_the_service_is_asked_for_the_same(service, sdk, remote, options):
    for package, client in ((sdk_package, sdk), (own_package, remote)):
        media_mode = package.MediaModes[options.get("media_mode", "relayed")]
        archive_mode = package.ArchiveModes[options.get("archive_mode", "manual")]
        session = client.create_session(**{**options, "media_mode": media_mode, "archive_mode": archive_mode})
        assert session.session_id == SESSION
    assert service.forms[0] == service.forms[1]


# -- moderation ------------------------------------------------------------------------------------

CHAT = {"type": "chat", "data": "Zoë & co"}
CALLS = {
    "send_signal": lambda client: client.send_signal(SESSION, CHAT),
    "send_signal to one": lambda client: client.send_signal(SESSION, CHAT, "c-1"),
    "force_disconnect": lambda client: client.force_disconnect(SESSION, "c-1"),
    "mute_stream": lambda client: client.mute_stream(SESSION, "s-1"),
    "mute_all": lambda client: client.mute_all(SESSION, None),
    "mute_all but one": lambda client: client.mute_all(SESSION, ["s-1"]),
    "disable_force_mute": lambda client: client.disable_force_mute(SESSION),
    "list_streams": lambda client: client.list_streams(SESSION),
    "get_stream": lambda client: client.get_stream(SESSION, "s-1"),
}


@pytest.mark.parametrize("name", [name for name in CALLS if name != "get_stream"])
def test_the_service_is_asked_to_do_the_same(service, sdk, remote, name):
    if name in ("send_signal", "send_signal to one", "force_disconnect"):
        service.status = 204
    for client in (sdk, remote):
        CALLS[name](client)
    assert len(service.asked) == 2
    assert service.asked[0] == service.asked[1]


@pytest.mark.parametrize("name", ["send_signal", "force_disconnect"])
def test_what_returns_nothing_does_so_in_both(service, sdk, remote, name):
    service.status = 204
    assert [CALLS[name](client) for client in (sdk, remote)] == [None, None]


@pytest.mark.parametrize("name", ["mute_stream", "mute_all", "disable_force_mute"])
def test_what_muting_returns_is_true_and_says_200_in_both(sdk, remote, name):
    for client in (sdk, remote):
        done = CALLS[name](client)
        assert done
        assert (done.status_code, done.ok) == (200, True)


def test_a_stream_is_described_as_by_the_sdk(sdk, remote):
    ours, theirs = (CALLS["get_stream"](client) for client in (remote, sdk))
    assert (vars(ours), ours.attrs(), ours.json()) == (vars(theirs), theirs.attrs(), theirs.json())


def test_the_streams_are_listed_as_by_the_sdk(sdk, remote):
    ours, theirs = (CALLS["list_streams"](client) for client in (remote, sdk))
    assert (ours.count, len(ours), ours.json()) == (theirs.count, len(theirs), theirs.json())
    assert [vars(stream) for stream in ours] == [vars(stream) for stream in theirs] == STREAMS
    assert [vars(stream) for stream in ours.items] == [vars(stream) for stream in theirs.items]


def test_a_session_that_the_service_does_not_know_has_no_streams(service, sdk, remote):
    service.status = 404
    assert [CALLS["list_streams"](client).json() for client in (sdk, remote)] == [
        '{\n    "count": 0,\n    "items": []\n}'
    ] * 2


@pytest.mark.parametrize("values", [{}, {"count": 1, "items": [{}]}], ids=["nothing", "a stream of nothing"])
def test_what_a_description_leaves_out_is_none_in_both(values):
    assert own_package.StreamList(values).json() == sdk_package.StreamList(values).json()


def test_a_list_of_streams_changes_in_neither(sdk, remote):
    said = []
    for client, error in ((sdk, sdk_exceptions.GetStreamError), (remote, own_package.GetStreamError)):
        with pytest.raises(error) as refused:
            CALLS["list_streams"](client)[0] = "s-3"
        said.append(str(refused.value))
    assert said[1].startswith(said[0])


@BOTH
def test_the_older_name_of_send_signal_warns(package, service):
    service.status = 204
    client = package.Client(KEY, SECRET, service.url)
    with pytest.warns(
        DeprecationWarning, match=r"^opentok.signal is deprecated \(use opentok.send_signal .*\)\.$"
    ) as seen:
        client.signal(SESSION, CHAT)
    assert seen[0].filename == __file__
    assert [body for _, _, body in service.asked] == [CHAT]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("force_disconnect", status) for status in (400, 403, 404, 500, 503)),
        *(("list_streams", status) for status in (400, 403, 500, 503)),
        *(("get_stream", status) for status in (400, 403, 500, 503)),
    ],
)
def test_what_the_service_refuses_is_the_sdks_error(service, sdk, remote, name, status):
    service.status = status
    with pytest.raises(sdk_package.OpenTokException) as theirs:
        CALLS[name](sdk)
    with pytest.raises(own_package.OpenTokException) as ours:
        CALLS[name](remote)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(ours.value).startswith(theirs.value.args[0])
    assert len(str(ours.value)) > len(theirs.value.args[0]), "it says no more than the SDK"


@pytest.mark.parametrize("status", [400, 403, 404, 413, 500])
@pytest.mark.parametrize("name", ["send_signal", "send_signal to one"])
def test_a_signal_that_the_service_refuses_is_what_the_sdk_raises_too(service, sdk, remote, name, status):
    service.status = status
    with pytest.raises(sdk_exceptions.RequestError):
        CALLS[name](sdk)
    with pytest.raises(own_package.RequestError):
        CALLS[name](remote)


#: What the SDK means to raise, and does not: the call, the status, the error, and how its message begins.
MEANT = [
    ("send_signal", 400, "SignalingError", "One of the signal properties - data, type, sessionId or connectionId - is"),
    ("send_signal", 403, "AuthError", "You are not authorized to send the signal. Check your authentication"),
    ("send_signal", 404, "SignalingError", "The client specified by the connectionId property is not connected to"),
    ("mute_stream", 400, "GetStreamError", "Invalid request. This response may indicate that data in your request"),
    ("mute_stream", 403, "AuthError", "Failed to mute, invalid credentials."),
    ("mute_stream", 404, "NotFoundError", "Mute not found"),
    ("mute_all", 400, "GetStreamError", "Invalid request. This response may indicate that data in your request"),
    ("mute_all", 403, "AuthError", "Failed to mute, invalid credentials."),
    ("mute_all", 404, "NotFoundError", "The session or a stream is not found."),
    ("disable_force_mute", 404, "NotFoundError", "The session or a stream is not found."),
]


@pytest.mark.parametrize(("name", "status", "error", "beginning"), MEANT)
def test_what_the_sdk_means_to_raise_is_raised(service, sdk, remote, name, status, error, beginning):
    assert re.search(rf"{error}\(\s*\"{beginning}", inspect.getsource(getattr(sdk_module.Client, name)))
    service.status = status
    with pytest.raises(sdk_package.OpenTokException) as theirs:
        CALLS[name](sdk)
    assert type(theirs.value).__name__ != error
    with pytest.raises(getattr(own_package, error)) as ours:
        CALLS[name](remote)
    assert str(ours.value).startswith(beginning)


# -- refusals --------------------------------------------------------------------------------------

FOREIGN = "1_" + urlsafe_b64encode(b"1~654321~~1795186800000~0.1~P~~").decode().strip("=").replace("_", "-")


def token(*arguments, **options):
    """A call of generate_token; a role is given by its name in ``Roles``."""

    def call(package, client):
        named = {name: package.Roles[value[1:]] if is_member(value) else value for name, value in options.items()}
        return client.generate_token(*(arguments or (SESSION,)), **named)

    return call


def session(**options):
    """A call of create_session; a mode is given by its name."""

    def call(package, client):
        enums = {"media_mode": package.MediaModes, "archive_mode": package.ArchiveModes}
        named = {name: enums[name][value[1:]] if is_member(value) else value for name, value in options.items()}
        return client.create_session(**named)

    return call


def is_member(value: object) -> bool:
    return isinstance(value, str) and value.startswith("@")


ALWAYS = {"media_mode": "@routed", "archive_mode": "@always"}

#: Bad arguments; the whole message of the SDK, or, where it goes on with what nobody should see, its beginning.
REFUSED = {
    "an empty id": (token(""), "Cannot generate token, session_id was not valid "),
    "an id that is none": (token("junk"), "Cannot generate token, the session_id junk was not valid"),
    "an id that is not UTF-8": (token("1_gICAgICA"), "Cannot generate token, the session_id 1_gICAgICA was not valid"),
    "an id with two characters": (
        token("1_"),
        "Cannot generate token, the session_id 1_ does not belong to the api_key 123456",
    ),
    "an id beyond ASCII": (
        token("1_é"),
        "Cannot generate token, the session_id 1_é does not belong to the api_key 123456",
    ),
    "another key's id": (
        token(FOREIGN),
        f"Cannot generate token, the session_id {FOREIGN} does not belong to the api_key 123456",
    ),
    "a role of no name": (token(role="admin"), "Cannot generate token, admin is not a valid role"),
    "no role": (token(role=None), "Cannot generate token, None is not a valid role"),
    "a number for a role": (token(role=3), "Cannot generate token, 3 is not a valid role"),
    "a list for a role": (token(role=["publisher"]), "Cannot generate token, "),
    "words for a time": (token(expire_time="tomorrow"), "Cannot generate token, invalid expire time tomorrow"),
    "an empty time": (token(expire_time=""), "Cannot generate token, invalid expire time "),
    "a fraction in digits": (token(expire_time="1.5"), "Cannot generate token, invalid expire time 1.5"),
    "not a number": (token(expire_time=float("nan")), "Cannot generate token, invalid expire time nan"),
    "a list for a time": (token(expire_time=[NOW]), "Cannot generate token, invalid expire time "),
    "a mapping for a time": (token(expire_time={}), "Cannot generate token, invalid expire time "),
    "5,000 digits": (token(expire_time="9" * 5000), "Cannot generate token, invalid expire time 999"),
    "a second ago": (
        token(expire_time=NOW - 1),
        f"Cannot generate token, expire_time is not in the future {NOW - 1}",
    ),
    "a second ago, in digits": (
        token(expire_time=str(NOW - 1)),
        f"Cannot generate token, expire_time is not in the future {NOW - 1}",
    ),
    "zero": (token(expire_time=0), "Cannot generate token, expire_time is not in the future 0"),
    "before 1970": (token(expire_time="-5"), "Cannot generate token, expire_time is not in the future -5"),
    "yesterday": (
        token(expire_time=datetime.fromtimestamp(NOW - DAY, UTC)),
        f"Cannot generate token, expire_time is not in the future {NOW - DAY}",
    ),
    "30 days and a second": (
        token(expire_time=NOW + 30 * DAY + 1),
        f"Cannot generate token, expire_time is not in the next 30 days {NOW + 30 * DAY + 1}",
    ),
    "31 days": (
        token(expire_time=datetime.fromtimestamp(NOW + 31 * DAY, UTC)),
        f"Cannot generate token, expire_time is not in the next 30 days {NOW + 31 * DAY}",
    ),
    "milliseconds": (
        token(expire_time=(NOW + 60) * 1000),
        f"Cannot generate token, expire_time is not in the next 30 days {(NOW + 60) * 1000}",
    ),
    "30 digits": (
        token(expire_time="1" * 30),
        "Cannot generate token, expire_time is not in the next 30 days ",
    ),
    "1,001 characters": (token(data="x" * 1001), "Cannot generate token, data must be less than 1000 characters"),
    "an empty class": (
        token(initial_layout_class_list=["focus", ""]),
        "Cannot generate token, all items in initial_layout_class_list must be strings",
    ),
    "1,001 characters of classes": (
        token(initial_layout_class_list=["x" * 500, "y" * 500]),
        "Cannot generate token, initial_layout_class_list must be less than 1000 characters",
    ),
    "a media mode by name": (
        session(media_mode="routed"),
        "Cannot create session, routed is not a valid media mode",
    ),
    "no media mode": (session(media_mode=None), "Cannot create session, None is not a valid media mode"),
    "an archive mode by name": (
        session(archive_mode="always"),
        "Cannot create session, always is not a valid archive mode",
    ),
    "no archive mode": (session(archive_mode=None), "Cannot create session, None is not a valid archive mode"),
    "an archive of a relayed session": (
        session(archive_mode="@always"),
        "A session with always archive mode must also have the routed media mode.",
    ),
    "an archive's name for no archive": (
        session(archive_name="lesson"),
        "You cannot specify a value for archive_name with archive mode: manual.",
    ),
    "an archive's empty name": (
        session(archive_name="", **ALWAYS),
        "archive_name must be between 1 and 80 characters in length.",
    ),
    "an archive's long name": (
        session(archive_name="x" * 81, **ALWAYS),
        "archive_name must be between 1 and 80 characters in length.",
    ),
    "a resolution for no archive": (
        session(archive_resolution="1280x720"),
        "You cannot specify a value for archive_resolution with archive mode: manual.",
    ),
    "a resolution that is none": (
        session(archive_resolution="1x1", **ALWAYS),
        "archive_resolution must be one of the allowed values: ",
    ),
    "a place for a location": (
        session(location="Zurich"),
        "Cannot create session. Location must be either None or a valid IPv4 address Zurich",
    ),
    "a number for a location": (
        session(location=7),
        "Cannot create session. Location must be either None or a valid IPv4 address 7",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_begins_with_the_sdks_message(sdk, own, name):
    call, beginning = REFUSED[name]
    with pytest.raises(sdk_package.OpenTokException) as theirs:
        call(sdk_package, sdk)
    with pytest.raises(own_package.OpenTokException) as ours:
        call(own_package, own)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(theirs.value).startswith(beginning)
    assert str(ours.value).startswith(beginning)
    assert len(str(ours.value)) > len(beginning), "it says no more than the SDK"


@pytest.mark.parametrize("status", [500, 502, 404, 400])
def test_a_service_that_fails_is_the_sdks_error(service, remote, status):
    service.status = status
    with pytest.raises(own_package.RequestError, match=r"^Failed to create session: "):
        remote.create_session()


@BOTH
def test_a_service_that_is_not_there_is_a_request_error(package):
    with Service() as gone:
        url = gone.url
    errors = sdk_exceptions if package is sdk_package else own_package
    with pytest.raises(errors.RequestError, match=r"^Failed to create session: "):
        package.Client(KEY, SECRET, url, 1).create_session()


# -- behaviour that is different -------------------------------------------------------------------

MISPLACED = "1_" + urlsafe_b64encode(b"1~654321~123456~1795186800000~0.1~P").decode().strip("=").replace("_", "-")
TAGGED = b"1~123456~~1795186800000~rc" + b"a" * 40 + b"~P~~"
MADE_UP = "1_" + urlsafe_b64encode(TAGGED).decode().strip("=").replace("_", "-")

NOBODY = "http://127.0.0.1:9"
Call = Callable[[object, object], object]


def acting(name: str, *arguments: object) -> Call:
    """A call that moderates the session."""
    return lambda package, client: getattr(client, name)(SESSION, *arguments)


def by_no_proxy(name: str, *arguments: object) -> Call:
    """The same, by a proxy that is not there."""

    def call(package, client):
        client.proxies = {"http": NOBODY}
        return getattr(client, name)(SESSION, *arguments)

    return call


def to_nobody(name: str, *arguments: object) -> Call:
    """The same, at a service that is not there."""

    def call(package, client):
        return getattr(package.Client(KEY, SECRET, NOBODY, 1), name)(SESSION, *arguments)

    return call


#: For each row of the table: a call, and what comes of it with the SDK and here: the error, or None.
DIFFERENT: dict[str, tuple[Call, str | None, str | None]] = {
    '`initial_layout_class_list="focus"`': (token(initial_layout_class_list="focus"), None, "OpenTokException"),
    '`initial_layout_class_list=["one two"]`': (
        token(initial_layout_class_list=["one two"]),
        None,
        "OpenTokException",
    ),
    "`expire_time=` a `datetime` without a time zone": (
        token(expire_time=datetime.fromtimestamp(NOW + 3600, UTC).replace(tzinfo=None)),
        None,
        "OpenTokException",
    ),
    "`expire_time=` this very second": (token(expire_time=NOW), None, "OpenTokException"),
    "`expire_time=True`": (token(expire_time=True), "OpenTokException", "OpenTokException"),
    '`expire_time=float("inf")`': (token(expire_time=float("inf")), "OverflowError", "OpenTokException"),
    "`expire_time=timedelta(hours=1)`": (token(expire_time=timedelta(hours=1)), "OpenTokException", None),
    '`role="moderator"`': (token(role="moderator"), "OpenTokException", None),
    '`data={"user": 7}`': (token(data={"user": 7}), None, "OpenTokException"),
    '`data="\\ud800"`': (token(data="\ud800"), None, "OpenTokException"),
    "`session_id=None`": (token(None), "TypeError", "OpenTokException"),
    "`session_id=` an id with the API key in another place": (token(MISPLACED), None, "OpenTokException"),
    "`session_id=` an id that somebody made up": (token(MADE_UP), None, "OpenTokException"),
    "`session_id=` a session that has ended": (token(SESSION), None, "NotFoundError"),
    "any token": (token(SESSION), None, None),
    '`location="::1"`': (session(location="::1"), "OpenTokException", None),
    '`location="127.1"`': (session(location="127.1"), None, "OpenTokException"),
    "`e2ee=True` in a relayed session": (session(e2ee=True), None, "OpenTokException"),
    '`e2ee="yes"`': (session(e2ee="yes", media_mode="@routed"), None, "OpenTokException"),
    "a key that the service refuses": (session(), "RequestError", "CredentialsRefused"),
    '`send_signal(…, connection_id="")`': (acting("send_signal", CHAT, ""), None, "SignalRefused"),
    '`send_signal(…, {"data": {"user": 7}})`': (acting("send_signal", {"data": {"user": 7}}), None, "SignalRefused"),
    '`send_signal(…, {"to": "Ada"})`': (acting("send_signal", {"to": "Ada"}), None, "SignalRefused"),
    "a signal that the service refuses": (acting("send_signal", CHAT), "RequestError", "SignalRefused"),
    "a mute that the service refuses": (acting("mute_stream", "s-1"), "OpenTokException", "NotFoundError"),
    "a mute that the service fails at": (acting("mute_all", None), None, "RequestError"),
    "what a mute returns": (acting("mute_all", None), None, None),
    "`timeout` and `proxies` of a mute": (by_no_proxy("mute_stream", "s-1"), None, "RequestError"),
    "a signal to a service that is not there": (to_nobody("send_signal", CHAT), "ConnectionError", "RequestError"),
    "a `RequestError` of the above": (acting("force_disconnect", "c-1"), "RequestError", "RequestError"),
    "`get_stream` of a stream that is not there": (acting("get_stream", "s-3"), "RequestError", "GetStreamError"),
    '`get_stream(…, "")`': (acting("get_stream", ""), None, "GetStreamError"),
    "`list_streams(…)[0]`": (lambda _, client: untyped(client).list_streams(SESSION)[0], "AttributeError", None),
}
#: Those that need a service, and its status.
AT_A_SERVICE = {
    "a key that the service refuses": 403,
    '`send_signal(…, connection_id="")`': 204,
    '`send_signal(…, {"data": {"user": 7}})`': 204,
    '`send_signal(…, {"to": "Ada"})`': 204,
    "a signal that the service refuses": 404,
    "a mute that the service refuses": 404,
    "a mute that the service fails at": 500,
    "what a mute returns": 200,
    "`timeout` and `proxies` of a mute": 200,
    "a signal to a service that is not there": 200,
    "a `RequestError` of the above": 500,
    "`get_stream` of a stream that is not there": 404,
    '`get_stream(…, "")`': 200,
    "`list_streams(…)[0]`": 200,
}


def test_the_table_of_behaviour_is_what_is_tested():
    assert [row[0] for row in table("Behaviour that is different")] == list(DIFFERENT)


@pytest.mark.parametrize("row", DIFFERENT)
def test_behaviour_is_different_as_documented(row, sdk, own, remote, kit, service):
    call, theirs, ours = DIFFERENT[row]
    service.status = AT_A_SERVICE.get(row, 200)
    if row == "`session_id=` a session that has ended":
        kit.end_session(SESSION)
    assert outcome(call, sdk_package, sdk) == theirs
    assert outcome(call, own_package, remote if row in AT_A_SERVICE else own) == ours


def outcome(call: Call, package, client) -> str | None:
    try:
        call(package, client)
    except Exception as error:
        return type(error).__name__
    return None


def test_what_muting_returns_has_nothing_else_of_a_response(sdk, remote):
    ours, theirs = (CALLS["mute_all"](client) for client in (remote, sdk))
    assert public(ours) == {"status_code", "ok"} < public(theirs)


def test_the_status_of_a_service_that_fails_stands_in_the_message(service, sdk, remote):
    service.status = 500
    with pytest.raises(sdk_exceptions.RequestError) as theirs:
        CALLS["force_disconnect"](sdk)
    with pytest.raises(own_package.RequestError, match="500") as ours:
        CALLS["force_disconnect"](remote)
    assert (theirs.value.args[1:], ours.value.args[1:]) == ((500,), ())


def test_an_empty_connection_is_not_everybody(service, sdk, remote):
    service.status = 204
    sdk.send_signal(SESSION, CHAT, "")
    with pytest.raises(own_package.SignalingError, match="connection_id is ''; expected"):
        remote.send_signal(SESSION, CHAT, "")
    assert [path.endswith(f"{SESSION}/signal") for _, path, _ in service.asked] == [True]


def test_a_stream_is_looked_for_among_all(service, sdk, remote):
    for client in (sdk, remote):
        CALLS["get_stream"](client)
    assert [path.rpartition("/")[2] for _, path, _ in service.asked] == ["s-1", "stream"]


def test_letters_of_a_string_are_no_classes(sdk, own):
    assert (
        read(sdk.generate_token(SESSION, initial_layout_class_list="focus"))[1]["initial_layout_class_list"]
        == "f o c u s"
    )
    with pytest.raises(own_package.OpenTokException, match="expected a list of strings, for example"):
        own.generate_token(SESSION, initial_layout_class_list="focus")


def test_true_is_no_time(sdk, own):
    with pytest.raises(sdk_package.OpenTokException, match=r"not in the future 1$"):
        sdk.generate_token(SESSION, expire_time=True)
    with pytest.raises(own_package.OpenTokException, match=r"^Cannot generate token, invalid expire time True: "):
        own.generate_token(SESSION, expire_time=True)


def test_our_token_can_be_told_from_every_other(sdk, own):
    def claims(client):
        return jwt.decode(client.generate_token(SESSION), options={"verify_signature": False})

    assert ("jti" in claims(sdk), "jti" in claims(own)) == (False, True)
    assert len({claims(own)["jti"] for _ in range(50)}) == 50


def test_a_key_that_the_service_refuses_is_found_either_way(service, remote):
    service.status = 403
    with pytest.raises(own_package.AuthError, match=r"^Failed to create session, invalid credentials: ") as refused:
        remote.create_session()
    assert isinstance(refused.value, own_package.RequestError)


# -- an app ----------------------------------------------------------------------------------------

APP = """
from PACKAGE import ArchiveModes, Client, MediaModes, OpenTokException, Roles

client = Client("123456", SECRET, URL)
session = client.create_session("203.0.113.7", MediaModes.routed, ArchiveModes.always)
tokens = {
    "host": session.generate_token(role=Roles.moderator, data="name=Ada", initial_layout_class_list=["focus"]),
    "guest": client.generate_token(session.session_id, Roles.subscriber, None, "name=Ben"),
}
try:
    client.generate_token(session.session_id, role=Roles.publisher, expire_time=1)
except OpenTokException as error:
    problem = str(error)
"""


@BOTH
def test_an_app_changes_nothing_but_its_import(package, service, make_kit):
    names = {"SECRET": SECRET, "URL": service.url}
    exec(APP.replace("PACKAGE", package.__name__), names)
    grants = {who: make_kit(clock=sdk_module.time.time).verify_token(it) for who, it in names["tokens"].items()}
    assert {who: (grant.session_id, grant.role, grant.data, grant.layout) for who, grant in grants.items()} == {
        "host": (SESSION, "moderator", "name=Ada", ("focus",)),
        "guest": (SESSION, "subscriber", "name=Ben", ()),
    }
    assert names["problem"].startswith("Cannot generate token, expire_time is not in the future 1")
    form = {"p2p.preference": "disabled", "archiveMode": "always", "location": "203.0.113.7", "e2ee": "false"}
    assert service.forms == [form]
