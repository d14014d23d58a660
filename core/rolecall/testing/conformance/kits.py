"""The kits of a conforming site, and their sessions, on which every row of the table relies.

All kits have the same secret, a clock that stands still, and the same sessions, so their answers are the same to the
byte.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ... import Allow, Deny, Rolecall, Web, hookimpl
from ...errors import NotFoundAtService, PolicyDenied, StoreUnavailable, Unavailable
from ...hookspecs import blocking
from ...media import LiveKit
from ...policies import AllowAnyone
from ...sessions import SessionProperties, SessionRecord
from ...stores.memory import MemoryStore

API_KEY, API_SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
MEDIA_SECRET = "a0c1e2f30415263748596a7b8c9dae0f1f2e3d4c"
NOW = 1_795_186_800.0
ORIGIN = "https://app.example"
COOKIE, QUERY = "__Host-rolecall", "access_token"

#: A second project, which one of the kits serves, too, and a session of it.
SECOND_KEY, SECOND_SECRET = "654321", "fedcba0987654321fedcba0987654321fedcba0987"
OF_SECOND = "1_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmN1NGF2eHd3NG5rM2llNG5peGEzd3BwamxjdWV1cnc1anczY2M2d2l6flB-fg"
#: An application, and a session of it that its service made.
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
OF_APPLICATION = "2_MX43YjFkM2IyYy05NmYxLTRmNTItOGIwZS0wYzhhMWY3ZTVkMzR-fjE3OTUxODY4MDAwMDB-YWJjZGVmfn5-"

#: The issuer of tokens for verifiers.
ISSUER = "https://issuer.example"

#: Ids that a kit with this secret made: of an open session, of a second one, of one that has ended, of one that no
#: store has; and of another project's session.
OPEN = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmN6aXA1bTJodDRzcW1meW95bHRwYW9mZnY2NXNheGZpYWpvbHZic3Z6flB-fg"
OTHER = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmMzZWVpZm1uanJ4NmljemJmZXJyaWlyNWY2b2htNW5sM3VleG02Njd0flB-fg"
ENDED = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmN0amg2eWx3bXhkM3BjcGxya3hzdnBrZDNhbjY2bHp2eGp0N3V1YTJ0flB-fg"
UNKNOWN = "1_MX4xMjM0NTZ-fjE3OTUxODY4MDAwMDB-cmNucjdlaTZxNWQzc2l5NW9nNXZqeW80YnR0dDJtcHZpN2pnZDI2ZGV5flB-fg"
FOREIGN = "1_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmNzN3lweHlsdWNtZmtud3ZwM3lwNHhqeGtiNnk1YjdjbzJ6ZzM1M3piflB-fg"

CONNECTIONS = [{"connectionId": "connection-1", "connectionState": "Connected", "createdAt": 1_795_186_800_000}]
STREAMS: Final[list[dict[str, Any]]] = [
    {"id": "stream-1", "name": "Zoë", "layoutClassList": ["focus"]},
    {"id": "stream-2"},
]


def private_key() -> str:
    """The application's key, made by the tests' process and passed to the servers that it starts."""
    if "CONFORMANCE_PRIVATE_KEY" not in os.environ:
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        os.environ["CONFORMANCE_PRIVATE_KEY"] = pem.decode()
    return os.environ["CONFORMANCE_PRIVATE_KEY"]


class Service:
    """Carries the media of every session; its methods are sync and async, in all possible ways."""

    async def signal(self, session_id: str, type: str, data: str, connection_id: str | None = None) -> None:
        await asyncio.sleep(0)

    def force_disconnect(self, session_id: str, connection_id: str) -> None:
        return None

    @blocking
    def mute_stream(self, session_id: str, stream_id: str) -> None:
        return None

    def mute_all(self, session_id: str, active: bool = True, excluded_stream_ids: Sequence[str] = ()) -> None:
        return None

    async def list_streams(self, session_id: str) -> list[dict[str, Any]]:
        return STREAMS

    async def list_connections(self, session_id: str) -> list[dict[str, Any]]:
        return CONNECTIONS


class Refusing:
    """A service that carries nothing out.

    :param error: raised, with the arguments.
    """

    def __init__(self, error: Callable[[str], Exception]) -> None:
        self._error = error

    def signal(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["signal", *asked]))

    async def force_disconnect(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["force_disconnect", *asked]))

    def mute_stream(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["mute_stream", *asked]))

    @blocking
    def mute_all(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["mute_all", *asked]))

    def list_streams(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["list_streams", *asked]))

    async def list_connections(self, *asked: Any) -> Any:
        raise self._error(json.dumps(["list_connections", *asked]))


class Failing:
    """A service that misbehaves, differently for each act; it cannot mute all."""

    async def signal(self, *asked: Any) -> Any:
        raise RuntimeError("a fault of the service, with a secret in it")

    def force_disconnect(self, *asked: Any) -> Any:
        raise Unavailable("the service is out of order")

    def mute_stream(self, *asked: Any) -> Any:
        raise ValueError("another fault of the service")

    def list_streams(self, *asked: Any) -> Any:
        return "none"

    def list_connections(self, *asked: Any) -> Any:
        return [{"id": "a stream's"}]


class Studio:
    """Returns the service."""

    def __init__(self, service: Any) -> None:
        self._service = service

    @hookimpl
    def rolecall_media_service(self, request: Any) -> Any:
        return self._service


BUSY = Deny("there is too much to do", code="busy", status=429, retry_after=30)


class Doorman:
    """Votes on guarded routes, as a header says, and on acts, as a header or the act itself says."""

    @hookimpl
    def rolecall_vote_session(self, request: Any) -> Any:
        return BUSY if request.http is not None and request.http.headers.get("x-door") == "busy" else None

    @hookimpl
    def rolecall_vote_token(self, request: Any) -> Any:
        return BUSY if request.http is not None and request.http.headers.get("x-door") == "busy" else None

    @hookimpl
    async def rolecall_vote_access(self, request: Any) -> Any:
        await asyncio.sleep(0)
        match request.http.headers.get("x-door"):
            case "shut":
                return Deny("the door is shut")
            case "busy":
                return BUSY
            case "narrow":
                return Allow(max_role="subscriber")
            case "broken":
                return True
        return None

    @hookimpl
    async def rolecall_vote_moderation(self, request: Any) -> Any:
        act = request.act
        said = act.target or getattr(act, "type", "") if request.http is None else request.http.headers.get("x-act")
        match said:
            case "shut":
                return Deny("this is not done here")
            case "busy":
                return BUSY
            case "narrow":
                return Allow(max_role="subscriber")
            case "less":
                return Allow(max_role="publisher")
            case "broken":
                return True
        return None


#: The policy, and the media service.
PLUGINS: Final[list[Any]] = [AllowAnyone("moderator"), Studio(Service())]
KITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "closed": {"plugins": []},
    "voting": {"plugins": [*PLUGINS, Doorman()]},
    "forgetful": {"plugins": [Studio(Refusing(NotFoundAtService))]},
    "refusing": {"plugins": [Studio(Refusing(PolicyDenied))]},
    "failing": {"plugins": [Studio(Failing())]},
    "two": {"projects": {SECOND_KEY: SECOND_SECRET}},
    "application": {
        "application_id": APPLICATION,
        "private_key": private_key(),
        "accept": ["vonage", "opentok", "t1"],
    },
    "application-alone": {
        "api_key": None,
        "api_secret": None,
        "application_id": APPLICATION,
        "private_key": private_key(),
        "accept": ["vonage"],
    },
    # Mints tokens for verifiers; sessions and servers stay the project's.
    "issuer": {
        "issuer": ISSUER,
        "private_key": private_key(),
        "format": "jwt",
        "accept": ["jwt", "opentok"],
    },
    # Gives tickets.
    "media": {"media": LiveKit("wss://media.example", "APIconformance", MEDIA_SECRET)},
    "pages": {"web": Web(origins=[ORIGIN, "http://localhost:5173"])},
    "cookie": {"web": Web(cookie=COOKIE)},
    "query": {"web": Web(query=QUERY)},
    "browser": {"web": Web(origins=[ORIGIN], cookie=COOKIE, query=QUERY)},
    "nameless": {"actor_claim": False},
    "lost": {},
    "quick": {"web": Web(body_timeout=1)},
}


class Sessions(MemoryStore):
    """A store with the sessions above, which can be reset."""

    def __init__(self) -> None:
        super().__init__()
        for session_id in (OPEN, OTHER, ENDED):
            self.add_session(SessionRecord(session_id, SessionProperties(), NOW))
        self.end_session(ENDED, NOW)

    def reset(self) -> None:
        """Reset the store: no session ended, no credential used."""
        self.__init__()  # type: ignore[misc]


class LostSessions(Sessions):
    """A store that can be neither read nor written."""

    def get_session(self, session_id: str) -> Any:
        raise StoreUnavailable("the server at 192.0.2.1 does not answer")

    def has_ended(self, session_id: str) -> bool:
        raise StoreUnavailable("the server at 192.0.2.1 does not answer")

    def raise_mark(self, name: str, value: float, until: float) -> float:
        raise StoreUnavailable("the server at 192.0.2.1 does not answer")


def make_store(name: str) -> Sessions:
    """Make the store of the kit with this name."""
    return LostSessions() if name == "lost" else Sessions()


def make_kit(name: str, store: Sessions | None = None) -> Rolecall:
    """Make the kit with this name, on its own store unless one is given.

    :param name: one of :data:`KITS`.
    """
    options: dict[str, Any] = {
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "accept": ["opentok", "t1"],
        "plugins": PLUGINS,
        "entry_points": False,
        "ledger": True,
        **KITS[name],
    }
    return Rolecall(store=make_store(name) if store is None else store, clock=lambda: NOW, **options)
