"""The chat rooms of ``examples/chat_rooms``, as a backend with a real SDK and its participants see them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import opentok
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rolecall.connector import RemoteService

APP = Path(__file__).parents[2] / "examples" / "chat_rooms"
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


@pytest.fixture(scope="module")
def server():
    """The host and port of the app, as uvicorn serves it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        listener.set_inheritable(True)
        environ = os.environ | {"ROLECALL_API_KEY": KEY, "ROLECALL_API_SECRET": SECRET, "ROLECALL_STORE": "memory://"}
        command = ["uvicorn", "--fd", str(listener.fileno()), "--app-dir", str(APP), "--factory", "app:create_app"]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--log-level", "warning"], env=environ, pass_fds=[listener.fileno()]
        )
    yield host
    process.terminate()
    process.wait(20)


@pytest.fixture
def backend(server):
    """The SDK of a backend elsewhere, pointed at the app."""
    return opentok.Client(KEY, SECRET, f"http://{server}", timeout=10)


@pytest.fixture
def room(backend) -> str:
    return backend.create_session().session_id


@pytest.fixture
def join(server, backend, room):
    """Opens the room's WebSocket with a token of the SDK, and says by which connection."""
    opened = ExitStack()

    def join(role=opentok.Roles.publisher, name="Ada", token=None):
        token = token or backend.generate_token(room, role, data=name)
        headers = {"Authorization": f"Bearer {token}"}
        websocket = opened.enter_context(connect(f"ws://{server}/rooms/{room}", additional_headers=headers))
        joined = json.loads(websocket.recv(5))
        assert joined["type"] == "joined"
        return websocket, json.loads(joined["data"])["id"]

    with opened:
        yield join


def said(websocket):
    return json.loads(websocket.recv(5))


def test_what_one_says_all_hear(join):
    ada, _ = join()
    ben, _ = join(name="Ben")
    assert json.loads(said(ada)["data"])["data"] == "Ben"
    ben.send("hello")
    assert said(ada) == said(ben) == {"type": "chat", "data": "hello"}


def test_a_subscriber_listens_and_is_told_what_speaking_takes(join):
    ada, _ = join(opentok.Roles.subscriber)
    ada.send("hello")
    assert said(ada) == {
        "type": "refused",
        "code": "insufficient_role",
        "data": "capability:signal is required; the token's role is subscriber",
    }


def test_who_says_too_much_is_told_so_and_goes_on(join):
    ada, _ = join()
    ada.send("a" * 8193)
    refused = said(ada)
    assert (refused["code"], "8193 bytes" in refused["data"]) == ("signal_too_large", True)
    ada.send("hello")
    assert said(ada) == {"type": "chat", "data": "hello"}


def test_the_sdk_signals_to_all_and_to_one(backend, room, join):
    ada, _ = join()
    ben, ben_id = join(name="Ben")
    said(ada)
    backend.send_signal(room, {"type": "news", "data": "for all"})
    backend.send_signal(room, {"type": "news", "data": "for Ben"}, ben_id)
    assert said(ada)["data"] == "for all"
    assert [said(ben)["data"], said(ben)["data"]] == ["for all", "for Ben"]


def test_a_backend_sees_who_is_there(server, room, join):
    there = [join(name=name)[1] for name in ("Ada", "Ben")]
    with RemoteService(KEY, SECRET, f"http://{server}") as service:
        listed = service.list_connections(room)
    assert sorted(one["connectionId"] for one in listed) == sorted(there)


def test_the_sdk_ends_a_connection(backend, room, join):
    ada, ada_id = join()
    backend.force_disconnect(room, ada_id)
    with pytest.raises(ConnectionClosed) as closed:
        ada.recv(5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
    with pytest.raises(opentok.ForceDisconnectError):
        backend.force_disconnect(room, ada_id)


def test_the_others_hear_on_when_one_was_thrown_out(backend, room, join):
    _, ada_id = join()
    ben, _ = join(name="Ben")
    for number in range(3):
        if number == 1:
            backend.force_disconnect(room, ada_id)
        backend.send_signal(room, {"type": "news", "data": str(number)})
    assert [said(ben)["data"] for _ in range(3)] == ["0", "1", "2"]
    join(name="Cleo")
    assert json.loads(said(ben)["data"])["data"] == "Cleo"


def test_a_signal_to_nobody_does_no_harm(backend, room):
    backend.send_signal(room, {"type": "news", "data": "is anybody there?"})


def test_a_moderator_ends_a_connection_and_a_publisher_does_not(server, backend, room, join):
    ada, ada_id = join()
    url = f"http://{server}/sessions/{room}/connections/{ada_id}"
    for role, status in ((opentok.Roles.publisher, 403), (opentok.Roles.moderator, 204)):
        token = backend.generate_token(room, role)
        assert httpx.delete(url, headers={"Authorization": f"Bearer {token}"}).status_code == status
    with pytest.raises(ConnectionClosed):
        ada.recv(5)


def test_there_is_nothing_to_mute(server, backend, room):
    token = backend.generate_token(room, opentok.Roles.moderator)
    answer = httpx.post(f"http://{server}/sessions/{room}/mute", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (501, "no_media_service")


def test_another_rooms_token_opens_nothing(backend, join):
    with pytest.raises(InvalidStatus):
        join(token=backend.generate_token(backend.create_session().session_id))
