"""Stands for a LiveKit server: its room service answers as version 1.11 was measured to do."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Event, Thread
from typing import Any, NamedTuple

from livekit.api import AccessToken, TokenVerifier

KEY, SECRET = "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF"
Answer = tuple[int, bytes]
_NUMBERS = count(1)


def track(sid: str, source: str = "MICROPHONE", muted: bool = False) -> dict[str, Any]:
    # Twirp leaves out what has its default.
    return {"sid": sid, "type": "AUDIO", "source": source, **({"muted": True} if muted else {})}


class Webhook(NamedTuple):
    """A webhook as the server sends it."""

    headers: dict[str, str]
    body: bytes


def webhook(event: str, room: str, identity: str | None = None, sid: str | None = None, **members: Any) -> Webhook:
    """What the server tells of an event; ``members`` are further ones, or others."""
    told: dict[str, Any] = {"event": event, "room": {"sid": "RM_1", "name": room}}
    if identity is not None:
        told["participant"] = {"sid": f"PA_{identity}", "identity": identity, "state": "ACTIVE"}
    if sid is not None:
        told["track"] = track(sid)
    return signed({**told, "id": f"EV_{next(_NUMBERS)}", "createdAt": str(int(time.time())), **members})


def signed(body: Any, key: str = KEY, secret: str = SECRET, of: bytes | None = None, life: float = 300) -> Webhook:
    """A webhook with this body; the signature is by LiveKit's SDK, which signs as its server does.

    :param of: the body that is signed, if it is another.
    """
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    digest = base64.b64encode(hashlib.sha256(sent if of is None else of).digest()).decode()
    token = AccessToken(key, secret).with_sha256(digest).with_ttl(timedelta(seconds=life)).to_jwt()
    return Webhook({"Authorization": token, "Content-Type": "application/webhook+json"}, sent)


class LiveKitServer(ThreadingHTTPServer):
    """A server with rooms: by the name of each its participants, by identity, each with its tracks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rooms: dict[str, dict[str, list[dict[str, Any]]]] = {}
        #: What was asked for: the method, and the body.
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.credentials: list[str] = []
        #: Answers in place of the room service, if it is set.
        self.instead: Callable[[str], Answer] | None = None
        #: What participants may do, by room and identity, where it was changed.
        self.permissions: dict[tuple[str, str], dict[str, bool]] = {}
        #: Answers to what would mute a track, by its sid.
        self.refused: dict[str, Answer] = {}
        #: Ends the waiting of an answer that does not come.
        self.released = Event()
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def join(self, room: str, identity: str, *tracks: dict[str, Any]) -> Webhook:
        """Somebody joins, with a token that is good; the webhook tells of it."""
        self.rooms.setdefault(room, {})[identity] = [*tracks]
        return webhook("participant_joined", room, identity)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are none of the test's concern."""

    def answer(self, method: str, token: str | None, body: dict[str, Any]) -> Answer:
        if self.instead is not None:
            return self.instead(method)
        if token is None:
            return 401, b"invalid authorization header"
        try:
            video = TokenVerifier(KEY, SECRET).verify(token).video
        except Exception:
            return 401, f"invalid token: {token}".encode()
        room = body["room"]
        granted = video is not None and (
            video.room_create if method == "DeleteRoom" else video.room_admin and video.room == room
        )
        if not granted:
            return 401, b'{"code":"unauthenticated","msg":"permissions denied"}'
        methods = {
            "ListParticipants": self._list,
            "SendData": self._send,
            "RemoveParticipant": self._remove,
            "MutePublishedTrack": self._mute,
            "UpdateParticipant": self._update,
            "DeleteRoom": self._delete,
        }
        return methods[method](self.rooms.get(room), body)

    def _list(self, room: Any, body: dict[str, Any]) -> Answer:
        listed = [
            {"sid": f"PA_{name}", "identity": name, "state": "ACTIVE", "tracks": tracks, "joinedAt": "1700000000"}
            for name, tracks in (room or {}).items()
        ]
        return 200, json.dumps({"participants": listed} if listed else {}).encode()

    def _send(self, room: Any, body: dict[str, Any]) -> Answer:
        base64.b64decode(body["data"], validate=True)
        return _found(room is not None, 503, "unavailable")

    def _remove(self, room: Any, body: dict[str, Any]) -> Answer:
        return _found(room is not None and room.pop(body["identity"], None) is not None)

    def _mute(self, room: Any, body: dict[str, Any]) -> Answer:
        if body["trackSid"] in self.refused:
            return self.refused[body["trackSid"]]
        for one in (room or {}).get(body["identity"], ()):
            if one["sid"] == body["trackSid"]:
                one["muted"] = body["muted"]
        return _found(body["identity"] in (room or {}), 503, "unavailable")

    def _update(self, room: Any, body: dict[str, Any]) -> Answer:
        if body["identity"] not in (room or {}):
            return _found(found=False)
        self.permissions[body["room"], body["identity"]] = body["permission"]  # as a whole
        return 200, b"{}"

    def _delete(self, room: Any, body: dict[str, Any]) -> Answer:
        self.rooms.pop(body["room"], None)
        return _found(room is not None)


def _found(found: bool, status: int = 404, code: str = "not_found") -> Answer:
    return (200, b"{}") if found else (status, json.dumps({"code": code, "msg": "it is not there"}).encode())


class _Handler(BaseHTTPRequestHandler):
    server: LiveKitServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        place, _, method = self.path.rpartition("/")
        assert place == "/twirp/livekit.RoomService"
        scheme, _, token = (self.headers["Authorization"] or "").partition(" ")
        self.server.calls.append((method, body))
        self.server.credentials.append(token)
        status, answer = self.server.answer(method, token if scheme == "Bearer" else None, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass
