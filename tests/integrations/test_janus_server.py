"""Janus beside the kit: what a ticket opens there, what ends with it, and what the kit does in its rooms."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from rolecall import Rolecall
from rolecall.errors import NoMediaService, NotFoundAtService, RevokedToken
from rolecall.media import Janus, Ticket

from ..sdk_tokens import API_KEY, API_SECRET
from ..waiting import PATIENCE, free_port, soon

pytestmark = pytest.mark.server

PROGRAM = shutil.which("janus")
#: Debian's folders of plugins and transports.
FOLDERS = sorted(Path("/usr/lib").glob("*/janus"))
SECRET = "throwaway-janus-token-secret-1234567890"
ADMIN_SECRET = "throwaway-janus-admin-secret-0123456789ab"
ADMIN_KEY = "throwaway-videoroom-admin-key-0123456789"
ROOMS = "janus.plugin.videoroom"
#: For how long the server keeps a session without a request, in seconds.
SESSION_TIMEOUT = 1
#: An offer of one stream of audio, from which no media comes.
OFFER = "\r\n".join(
    (
        *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0"),
        *("m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=ice-ufrag:abcd", f"a=ice-pwd:{'x' * 24}"),
        *(f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}", "a=setup:actpass", "a=mid:0", "a=sendonly"),
        *("a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=ssrc:1234 cname:x", ""),
    )
)


class Server:
    """A server on the loopback address alone, with no other plugin than VideoRoom."""

    def __init__(self, folder: Path, string_ids: bool) -> None:
        self.port, self.admin_port = free_port(), free_port()
        installed = FOLDERS[0]
        others = [path.name for path in (installed / "plugins").glob("*.so") if "videoroom" not in path.name]
        unused = [
            path.name
            for path in (installed / "transports").glob("*.so")
            if path.name not in ("libjanus_http.so", "libjanus_websockets.so")
        ]
        configurations = {
            "janus": f"""
                general: {{
                    configs_folder = "{folder}"
                    plugins_folder = "{installed}/plugins"
                    transports_folder = "{installed}/transports"
                    events_folder = "{installed}/events"
                    loggers_folder = "{folder}"
                    admin_secret = "{ADMIN_SECRET}"
                    token_auth = true
                    token_auth_secret = "{SECRET}"
                    session_timeout = {SESSION_TIMEOUT}
                    reclaim_session_timeout = 0
                }}
                nat: {{ ice_enforce_list = "lo" ice_lite = true }}
                plugins: {{ disable = "{",".join(others)}" }}
                transports: {{ disable = "{",".join(unused)}" }}""",
            "janus.transport.http": f"""
                general: {{ http = false https = false }}
                admin: {{ admin_http = true admin_port = {self.admin_port} admin_ip = "127.0.0.1" }}""",
            "janus.transport.websockets": f"""
                general: {{ ws = true ws_port = {self.port} ws_ip = "127.0.0.1" wss = false }}
                admin: {{ admin_ws = false }}""",
            ROOMS: f"""
                general: {{ admin_key = "{ADMIN_KEY}" string_ids = {str(string_ids).lower()} }}""",
        }
        for name, text in configurations.items():
            (folder / f"{name}.jcfg").write_text(text)
        self.command = [str(PROGRAM), "-C", str(folder / "janus.jcfg"), "-F", str(folder)]

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}/admin"

    def answers(self) -> bool:
        try:
            pong = httpx.post(self.admin_url, json={"janus": "ping", "transaction": "x"}, timeout=5).json()
        except httpx.HTTPError:
            return False
        return bool(pong["janus"] == "pong")

    def backend(self, **settings: Any) -> Janus:
        url = f"ws://127.0.0.1:{self.port}"
        return Janus(url, SECRET, self.admin_url, ADMIN_SECRET, ADMIN_KEY, timeout=PATIENCE, **settings)


@contextmanager
def running(folder: Path, string_ids: bool = True) -> Iterator[Server]:
    server = Server(folder, string_ids)
    with (folder / "log").open("wb") as log, subprocess.Popen(server.command, stdout=log, stderr=log) as process:
        try:
            assert soon(lambda: process.poll() is not None or server.answers())
            assert process.poll() is None, (folder / "log").read_text()
            yield server
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def server(needed, tmp_path_factory) -> Iterator[Server]:
    needed(PROGRAM and FOLDERS, "janus")
    with running(tmp_path_factory.mktemp("janus")) as server:
        yield server


@pytest.fixture
def make_kit(server) -> Iterator[Callable[..., Rolecall]]:
    kits = []

    def make(**settings: Any) -> Rolecall:
        kits.append(Rolecall(API_KEY, API_SECRET, media=server.backend(**settings), hook_timeout=2 * PATIENCE))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


@pytest.fixture
def kit(make_kit) -> Rolecall:
    made: Rolecall = make_kit()
    return made


class Client:
    """A client over a WebSocket, which asks with the token that it has just now."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        self.socket = socket
        self.token = token
        self.place: dict[str, int] = {}
        self.came: list[dict[str, Any]] = []
        self._numbers = map(str, itertools.count(1))

    def ask(self, janus: str, **members: Any) -> dict[str, Any]:
        """The answer to a request; of one to the plugin, what it says."""
        number = next(self._numbers)
        self.socket.send(
            json.dumps({"janus": janus, "transaction": number, "token": self.token, **self.place, **members})
        )
        return self._next(
            lambda one: one.get("transaction") == number and (one["janus"] != "ack" or janus == "keepalive")
        )

    def told(self, member: str, value: str) -> dict[str, Any]:
        """What the plugin says next with this member."""
        return self._next(lambda one: one.get("plugindata", {}).get("data", {}).get(member) == value)

    def _next(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for one in self.came:
            if wanted(one):
                self.came.remove(one)
                return one
        while not wanted(one := json.loads(self.socket.recv(PATIENCE))):
            self.came.append(one)
        return one

    def attach(self) -> int:
        """Open a session with a handle of the plugin, and return the code of an error, or 0."""
        requests: Any = (("create", {}, "session_id"), ("attach", {"plugin": ROOMS}, "handle_id"))
        for request, members, place in requests:  # a token may end between the two
            answer = self.ask(request, **members)
            if answer["janus"] == "error":
                return int(answer["error"]["code"])
            self.place[place] = answer["data"]["id"]
        return 0

    def message(self, offer: str | None = None, **body: Any) -> dict[str, Any]:
        """The answer of the plugin."""
        jsep = {} if offer is None else {"jsep": {"type": "offer", "sdp": offer}}
        data: dict[str, Any] = self.ask("message", body=body, **jsep)["plugindata"]["data"]
        return data

    def join(self, credentials: Any, **members: Any) -> dict[str, Any]:
        return self.message(request="join", ptype="publisher", **{**credentials, **members})


@pytest.fixture
def client(server) -> Iterator[Callable[[str], Client]]:
    """Connects clients, which ask with a token."""
    protocol = Subprotocol("janus-protocol")
    with ExitStack() as sockets:

        def make(token: str) -> Client:
            connection = connect(f"ws://127.0.0.1:{server.port}", subprotocols=[protocol], open_timeout=PATIENCE)
            return Client(sockets.enter_context(connection), token)

        yield make


def granted(kit: Rolecall, role: str = "publisher", actor: str = "ada") -> Any:
    return kit.verify_token(kit.create_session().generate_token(role, actor=actor))  # type: ignore[arg-type]


def joined(client: Callable[[str], Client], ticket: Ticket, **members: Any) -> Client:
    made = client(ticket.token)
    assert made.attach() == 0
    assert made.join(ticket.credentials["videoroom"], **members)["videoroom"] == "joined"
    return made


def test_a_ticket_opens_its_room(kit, client):
    grant = granted(kit, actor="Zoë, 雪:=")
    assert len(grant.session_id) > 94
    joined(client, kit.ticket(grant), id="zoe")
    listed = {"connectionId": "zoe", "display": "Zoë, 雪:=", "publisher": False}
    assert kit.list_connections(grant.session_id) == [listed]
    assert kit.list_connections(kit.create_session()) == []


@pytest.mark.parametrize("length", [93, 94, 95, 255])
def test_names_of_any_length_have_a_room(server, client, length):
    with Rolecall(API_KEY, API_SECRET, media=server.backend(), session_names="plain") as kit:
        name = f"{time.time_ns()}-".ljust(length, "x")
        ticket = kit.ticket(kit.verify_token(kit.generate_token(name, actor="ada")))
        assert (ticket.room == name) == (length <= 94)
        joined(client, ticket)


@pytest.mark.parametrize("change", ["signature", "time", "expired", "another realm", "another secret", "none"])
def test_a_changed_or_expired_token_opens_nothing(kit, make_kit, client, change):
    ticket = kit.ticket(granted(kit))
    expiry, rest = ticket.token.split(",", 1)
    foreign = Janus("wss://x", "another-" + SECRET, "http://x", ADMIN_SECRET, ADMIN_KEY)
    place = foreign.place(granted(kit), time.time())
    rules: Any = None
    tokens = {
        "signature": ticket.token[:-5] + ("AAAA=" if ticket.token[-5:] != "AAAA=" else "BAAA="),
        "time": f"{int(expiry) + 3600},{rest}",
        "expired": make_kit(ticket_life=1).ticket(granted(kit)).token,
        "another realm": ticket.credentials["videoroom"]["token"],
        "another secret": foreign.ticket(foreign.token_format(rules), place).token,
        "none": "",
    }
    if change == "expired":
        assert soon(lambda: client(tokens[change]).attach() == 403)
    assert client(tokens[change]).attach() == 403
    assert client(ticket.token).attach() == 0


@pytest.mark.parametrize("what", ["no token", "another room's", "the server's", "as a subscriber", "a room's own"])
def test_a_room_needs_its_own_token(kit, client, what):
    ticket, other = kit.ticket(granted(kit)), kit.ticket(granted(kit))
    joined(client, ticket, id="ada")
    credentials = dict(ticket.credentials["videoroom"])
    anew: dict[str, Any] = {
        "no token": {"token": ""},
        "another room's": {"token": other.credentials["videoroom"]["token"]},
        "the server's": {"token": ticket.token},
        "as a subscriber": {"token": "", "ptype": "subscriber", "streams": [{"feed": "ada"}]},
        "a room's own": {},
    }[what]
    made = client(other.token)
    assert made.attach() == 0
    body = {"request": "join", "ptype": "publisher", **credentials, **anew}
    assert made.message(**body).get("error_code") == (None if what == "a room's own" else 433)


def test_a_client_neither_makes_rooms_nor_acts_in_them_nor_sees_which_there_are(kit, client):
    ticket = kit.ticket(granted(kit))
    made = joined(client, ticket, id="ada")
    assert made.message(request="create", room="own")["error_code"] == 429
    assert made.message(request="kick", room=ticket.room, id="ada")["error_code"] == 429
    assert made.message(request="destroy", room=ticket.room, secret=SECRET)["error_code"] == 433
    assert made.message(request="list")["list"] == []


def test_a_participant_is_disconnected_and_comes_again_with_the_same_ticket(kit, client):
    grant = granted(kit)
    ticket = kit.ticket(grant)
    odd = "\x01/../" + "z" * 300
    for own in ({}, {"id": "7"}, {"id": odd}):
        made = joined(client, ticket, **own)
        [listed] = kit.list_connections(grant.session_id)
        kit.force_disconnect(grant.session_id, listed["connectionId"])
        made.told("reason", "kicked")
        assert kit.list_connections(grant.session_id) == []
    with pytest.raises(NotFoundAtService):
        kit.force_disconnect(grant.session_id, "7")


def test_a_stream_is_muted(kit, client):
    grant = granted(kit)
    made = joined(client, kit.ticket(grant), id="7")
    assert made.message(OFFER, request="publish", audio=True, video=False)["configured"] == "ok"
    kit.mute_stream(grant.session_id, "7:0")
    made.told("moderation", "muted")
    for other in ("7:1", "8:0", "7"):
        with pytest.raises(NotFoundAtService):
            kit.mute_stream(grant.session_id, other)


def test_a_room_ends_with_its_session(kit, client):
    grant = granted(kit)
    made = joined(client, kit.ticket(grant))
    kit.end_session(grant.session_id)
    made.told("videoroom", "destroyed")


def test_the_session_of_whoever_is_excluded_ends_with_the_ticket(make_kit, client):
    kit = make_kit(ticket_life=2)
    grant = granted(kit)
    made = joined(client, kit.ticket(grant))
    made.token = kit.ticket(grant).token  # a session goes on with each new ticket
    assert made.ask("keepalive")["janus"] == "ack"
    assert not kit.exclude(grant.session_id, "ada").disconnected
    with pytest.raises(RevokedToken):
        kit.ticket(grant)
    assert soon(lambda: made.ask("keepalive").get("error", {}).get("code") == 403)
    assert soon(lambda: made.ask("keepalive").get("error", {}).get("code") in (403, 458) and _is_alone(kit, grant))


def _is_alone(kit: Rolecall, grant: Any) -> bool:
    return kit.list_connections(grant.session_id) == []


def test_a_room_that_somebody_else_has_opened_gives_no_ticket(server, kit):
    grant = granted(kit)
    room = server.backend().room(grant.session_id)
    request = {"request": "create", "room": room, "admin_key": ADMIN_KEY, "secret": "another's"}
    body = {"janus": "message_plugin", "transaction": "x", "admin_secret": ADMIN_SECRET, "plugin": ROOMS}
    created = httpx.post(server.admin_url, json={**body, "request": request}).json()
    assert created["response"]["videoroom"] == "created"
    with pytest.raises(Exception, match="opened by somebody else"):
        kit.ticket(grant)


def test_rooms_with_numbers_for_ids_give_no_ticket(server, tmp_path):
    with (
        running(tmp_path, string_ids=False) as other,
        Rolecall(API_KEY, API_SECRET, media=other.backend()) as kit,
        pytest.raises(NoMediaService, match="string_ids = true"),
    ):
        kit.ticket(granted(kit))
