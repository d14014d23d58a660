"""Stands for the API of a resource of Azure Communication Services, as Azure's SDKs call it; it checks signatures.

Users are in no room until they are invited, and tokens are good until they are revoked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from .stand_in import Answer, Asked, StandIn

KEY = base64.b64encode(hashlib.sha512(b"a throwaway access key of a resource").digest()).decode()
_VERSIONS = {"rooms": "api-version=2025-03-13", "identities": "api-version=2023-10-01"}
_ROLES = {"Presenter", "Attendee", "Consumer", "Collaborator"}


class ACSServer(StandIn):
    """Rooms by their id, each with the role of every user who may join; tokens by user."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, list[str]] = {}
        #: The lives of the tokens, in minutes.
        self.lives: list[int] = []
        #: Answers in place of the service, if it gives one.
        self.instead: Callable[[Asked], Answer | None] = lambda _: None
        self._lock = Lock()

    def joins(self, room: str, token: str) -> str | None:
        """The role in a room of whoever comes with a token; None if it is not let in."""
        user = next((user for user, tokens in self.tokens.items() if token in tokens), None)
        return None if user is None else self.rooms.get(room, {}).get(user)

    def answer(self, asked: Asked) -> Answer:
        """See :meth:`StandIn.answer`."""
        instead = self.instead(asked)
        if instead is not None:
            return instead
        if not _is_signed(asked):
            return 401, {"error": {"code": "Denied", "message": f"Denied by the resource provider. {asked.headers}"}}
        with self._lock:
            return self._answer(asked)

    def _answer(self, call: Asked) -> Answer:
        parts = urlsplit(call.path)
        path = unquote(parts.path).strip("/").split("/")
        assert parts.query == _VERSIONS[path[0]]
        patches = call.method == "PATCH"
        if call.body:
            assert call.headers["content-type"] == ("application/merge-patch+json" if patches else "application/json")
        said: Any = json.loads(call.body) if call.body else None
        match call.method, path:
            case "POST", ["rooms"]:
                assert said["pstnDialOutEnabled"] is False
                room = f"{len(self.rooms) + 99_199_690_362_660_524}"
                self.rooms[room] = {}
                now = datetime.now(UTC)
                times = {"createdAt": now, "validFrom": now, "validUntil": now + timedelta(days=180)}
                return 201, {
                    "id": room,
                    "pstnDialOutEnabled": False,
                    **{name: time.isoformat() for name, time in times.items()},
                }
            case "PATCH", ["rooms", room, "participants"] if room in self.rooms:
                for user, what in said["participants"].items():
                    assert user in self.tokens
                    if what is None:
                        self.rooms[room].pop(user, None)
                    else:
                        assert what["role"] in _ROLES
                        self.rooms[room][user] = what["role"]
                return 200, {}
            case "DELETE", ["rooms", room] if room in self.rooms:
                del self.rooms[room]
                return 204, None
            case "POST", ["identities"]:
                assert call.body == b""
                user = f"8:acs:{uuid4()}_{len(self.tokens):08x}-14a2-493b-8a72-5a3a0d000081"
                self.tokens[user] = []
                return 201, {"identity": {"id": user}}
            case "POST", ["identities", user, ":issueAccessToken"] if user in self.tokens:
                minutes = said["expiresInMinutes"]
                assert said["scopes"] == ["voip.join"]
                assert 60 <= minutes <= 1440
                self.lives.append(minutes)
                self.tokens[user].append(token := f"eyJ-{uuid4()}")
                return 200, {"token": token, "expiresOn": str(datetime.now(UTC) + timedelta(minutes=minutes))}
            case "POST", ["identities", user, ":revokeAccessTokens"] if user in self.tokens:
                assert call.body == b""
                self.tokens[user] = []
                return 204, None
        return 404, {"error": {"code": "NotFound", "message": "SECRET"}}


def _is_signed(call: Asked) -> bool:
    """Whether the signature is one of what was received, as Azure's documentation says."""
    hashed = base64.b64encode(hashlib.sha256(call.body).digest()).decode()
    date, host = call.headers.get("x-ms-date", ""), call.headers["host"]
    text = "\n".join([call.method, call.path, ";".join([date, host, hashed])])
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    signed = f"SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={base64.b64encode(digest).decode()}"
    if call.headers.get("authorization") != f"HMAC-SHA256 {signed}" or call.headers["x-ms-content-sha256"] != hashed:
        return False
    return abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()) < 300
