"""Rolecall with the synchronous server of python-socketio, over a socket."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import socketio
from werkzeug.serving import make_server

from rolecall import Rolecall, Web
from rolecall_socketio import Gate

pytestmark = pytest.mark.server

SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"


def test_a_synchronous_server_refuses_admits_and_disconnects():
    with Rolecall(
        "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", entry_points=False, web=Web(recheck=0.05)
    ) as kit:
        sio = socketio.Server(async_mode="threading", ping_interval=1)  # a client may wait for a ping to end
        gate = Gate(sio, kit)
        ran = []

        @sio.event
        @gate.require_token()
        def connect(sid, environ):
            ran.append("connect")

        @sio.event
        @gate.require_role("publisher")
        def say(sid, text):
            ran.append(text)
            return gate.current_grant(sid).data

        server = make_server("127.0.0.1", 0, socketio.WSGIApp(sio), threaded=True)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        session = kit.create_session()
        url = f"http://127.0.0.1:{server.server_port}"
        told: list[Any] = []
        refused: list[Any] = []
        gone = threading.Event()
        client = socketio.Client(reconnection=False)
        client.on("connect_error", refused.append)
        try:
            with pytest.raises(socketio.exceptions.ConnectionError):
                client.connect(url, auth={"token": "x"}, transports=["polling"])
            assert refused[0]["data"]["code"] == "malformed_token"
            # Each time another one: what the last has left running may take the packets of the next connection.
            client = socketio.Client(reconnection=False)
            client.on("disconnect", lambda *_: gone.set())
            client.on("rolecall_ended", told.append)
            client.connect(url, auth={"token": session.generate_token(data="Ada")}, transports=["polling"])
            assert client.call("say", "hello") == "Ada"
            kit.end_session(session.session_id)
            assert gone.wait(20)
            assert told[0]["code"] == "revoked_token"
            client.disconnect()
            client = socketio.Client(reconnection=False)
            client.connect(
                url, auth={"token": kit.create_session().generate_token("subscriber")}, transports=["polling"]
            )
            assert client.call("say", "hello")["error"]["code"] == "insufficient_role"
            assert ran == ["connect", "hello", "connect"]
        finally:
            client.disconnect()
            server.shutdown()
            server.server_close()
            serving.join(20)
