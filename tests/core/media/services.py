"""The hosted media services whose tokens are JWTs that an app signs: what their tests have in common."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rolecall import RoleTable
from rolecall.errors import InvalidClaim, InvalidToken, WrongTokenKind
from rolecall.formats.claims import ClaimRules
from rolecall.media import Daily, HundredMs, Jitsi, MediaBackend, Stream, Twilio, Zoom
from rolecall.tokens import TokenOptions

from ...waiting import PATIENCE

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "media_tokens.json").read_text("utf-8"))
NOW = 1_700_000_000
#: The publisher's capabilities, and with them the usual roles.
ALL = "connect publish signal subscribe"
EVERYTHING = "connect force_disconnect force_unpublish publish signal subscribe"
ABSENT = object()

Verdict = str | tuple[type[InvalidToken], str]


@dataclass(frozen=True)
class Known:
    """A service.

    :param make: makes its backend, with a secret and further settings.
    :param claims: the claims of a good token of a publisher, at :data:`NOW`.
    :param room: the claim with the room.
    :param identity: the claim with the identity.
    :param service: its name in the table of vectors.
    :param vectors: of each vector the capabilities that it grants, or the error, by its label.
    :param header: further members of the header.
    :param session: the session of the token.
    """

    make: Callable[..., MediaBackend]
    secret: str
    claims: Mapping[str, Any]
    room: str
    identity: str
    service: str
    vectors: Mapping[str, Verdict]
    header: Mapping[str, str] = field(default_factory=dict)
    session: str = "demo"

    def backend(self, secret: str | None = None, **settings: Any) -> MediaBackend:
        if secret is None and not settings:
            return self._backend
        # A stand-in has all the time that a busy machine takes.
        patience = {"timeout": PATIENCE} if "api_url" in settings else {}
        return self.make(secret or self.secret, **{**patience, **settings})

    def form(self, secret: str | None = None, **settings: Any) -> Any:
        if secret is None and not settings:
            return self._form
        return self.backend(secret, **settings).token_format(ClaimRules(RoleTable(), 10))

    # One for all tests: to make a backend takes long, because it loads the certificates of authorities.
    @cached_property
    def _backend(self) -> MediaBackend:
        return self.make(self.secret)

    @cached_property
    def _form(self) -> Any:
        return self._backend.token_format(ClaimRules(RoleTable(), 10))

    def signed(self, changes: Mapping[str, Any] | None = None, /, digest: str = "sha256", **header: Any) -> bytes:
        """A token whose claims have these changes, by dotted names."""
        claims = json.loads(json.dumps(self.claims))
        for name, value in (changes or {}).items():
            *outer, last = name.split(".")
            inner = claims
            for part in outer:
                inner = inner[part]
            inner[last] = value
            if value is ABSENT:
                del inner[last]
        return sign({"alg": "HS256", "typ": "JWT", **self.header, **header}, claims, self.secret, digest)

    def options(self, role: str = "publisher", **changes: Any) -> TokenOptions:
        options = TokenOptions(
            self.session, RoleTable().get(role), NOW, NOW + self.form().shortest_life + 60, subject="alice"
        )
        return options._replace(**changes)


def sign(header: Mapping[str, Any], claims: Any, secret: str, digest: str = "sha256") -> bytes:
    parts = [json.dumps({name: one for name, one in header.items() if one is not ABSENT}), json.dumps(claims)]
    head = b".".join(urlsafe_b64encode(part.encode()).rstrip(b"=") for part in parts)
    return head + b"." + urlsafe_b64encode(hmac.digest(secret.encode(), head, digest)).rstrip(b"=")


DOMAIN = "30f866c3-0000-4000-8000-ff58322d09c5"
#: The names of roles at services that know them by names.
NAMES = {"subscriber": "viewer", "publisher": "host", "moderator": "admin"}
HMS_KEY = "64b0c1d2e3f4a5b6c7d8e9f0"
ACCOUNT, TWILIO_KEY = "AC0123456789abcdef0123456789abcdef", "SKfedcba9876543210fedcba9876543210"

SERVICES = {
    "100ms": Known(
        make=lambda secret, **settings: HundredMs(HMS_KEY, secret, **{"roles": NAMES, **settings}),
        secret="throwaway-100ms-app-secret-0123456789abcdefghijklmnopqrstuvwxyz",
        claims={
            "access_key": HMS_KEY,
            "type": "app",
            "version": 2,
            "iat": NOW - 10,
            "nbf": NOW - 10,
            "exp": NOW + 60,
            "room_id": "650000000000000000000001",
            "role": "host",
            "user_id": "alice",
            "jti": "dad12ef7-f9ea-40fa-b2ff-4e917a3831fb",
        },
        room="room_id",
        identity="user_id",
        service="100ms",
        session="650000000000000000000001",
        vectors={
            "management token": (WrongTokenKind, "type is not 'app'"),
            "auth token without a user": (InvalidClaim, "user_id"),
            "auth token, host": ALL,
        },
    ),
    "daily": Known(
        make=lambda secret, **settings: Daily("https://example.daily.co", DOMAIN, secret, **settings),
        secret="throwaway-daily-api-key-0123456789abcdef0123456789abcdef",
        claims={
            "r": "demo",
            "d": DOMAIN,
            "iat": NOW,
            "exp": NOW + 60,
            "ud": "alice",
            "p": {"cs": True, "cr": {"b": True}},
        },
        room="r",
        identity="ud",
        service="daily",
        vectors={
            "publisher only: receives nothing": "connect publish signal",
            "owner (moderator), ejected at expiry": EVERYTHING,
            "subscriber: may send nothing": "connect signal subscribe",
            "audio only": ALL,
        },
    ),
    "jitsi": Known(
        make=lambda secret, **settings: Jitsi("https://meet.test", "rolecall-app", secret, **settings),
        secret="throwaway-jitsi-secret-0123456789abcdef",
        claims={
            "aud": "jitsi",
            "iss": "rolecall-app",
            "sub": "meet.test",
            "room": "demo",
            "iat": NOW,
            "nbf": NOW - 5,
            "exp": NOW + 60,
            "context": {"user": {"id": "alice"}},
        },
        room="room",
        identity="context.user.id",
        service="jitsi",
        vectors={
            "moderator": EVERYTHING,
            "moderator by affiliation": EVERYTHING,
            "participant": ALL,
            "no sub": (InvalidClaim, "sub"),
        },
    ),
    "stream": Known(
        make=lambda secret, **settings: Stream(
            "throwawaykey1", secret, **{"roles": NAMES, "accept_emulated": {"mute_all"}, **settings}
        ),
        secret="throwaway-stream-secret-0123456789abcdef0123456789",
        claims={
            "iat": NOW - 5,
            "call_cids": ["default:demo"],
            "role": "host",
            "user_id": "alice",
            "exp": NOW + 60,
        },
        room="call_cids",
        identity="user_id",
        service="stream-video",
        vectors={
            "server token of the SDK's own calls": (WrongTokenKind, "no user's|no 'call_cids'"),
            "user token without expiry": (WrongTokenKind, "not for a call"),
            "user token, 1 h": (WrongTokenKind, "not for a call"),
            "user token": (WrongTokenKind, "not for a call"),
            "call token: role and calls": ALL,
        },
    ),
    "twilio": Known(
        make=lambda secret, **settings: Twilio(ACCOUNT, TWILIO_KEY, secret, **settings),
        secret="throwaway-twilio-api-key-secret-0123",
        claims={
            "jti": f"{TWILIO_KEY}-{NOW}",
            "grants": {"identity": "alice", "video": {"room": "demo"}},
            "iat": NOW,
            "exp": NOW + 60,
            "iss": TWILIO_KEY,
            "sub": ACCOUNT,
        },
        room="grants.video.room",
        identity="grants.identity",
        service="twilio-video",
        header={"cty": "twilio-fpa;v=1"},
        vectors={
            "default ttl": ALL,
            "video grant for one room": ALL,
            "24 hours": ALL,
            "any room, nbf, region": (WrongTokenKind, "region 'au1'"),
            "region header": (WrongTokenKind, "region 'au1'"),
        },
    ),
    "zoom": Known(
        make=lambda secret, **settings: Zoom("throwawayZoomSdkKey0001", secret, **settings),
        secret="throwaway-zoom-video-sdk-secret-0123456789",
        claims={
            "app_key": "throwawayZoomSdkKey0001",
            "role_type": 0,
            "tpc": "demo",
            "version": 1,
            "iat": NOW,
            "exp": NOW + 1800,
            "user_identity": "alice",
        },
        room="tpc",
        identity="user_identity",
        service="zoom-video-sdk",
        vectors={
            "48 h with all options": EVERYTHING,
            "participant, minimal": (InvalidClaim, "user_identity"),
            "identity of 35": ALL,
            "name of 200": (InvalidClaim, "user_identity"),
        },
    ),
}
