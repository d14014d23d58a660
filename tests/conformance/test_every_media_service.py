"""One app, one policy, and every media service: the same decisions, and the roles that a service cannot hold."""

from __future__ import annotations

import inspect
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import flask
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rolecall import Actor, Allow, Deny, Request, Rolecall, RoleName, TokenRequest, hookimpl
from rolecall.keys.making import pem_of
from rolecall.media import BACKENDS, MediaBackend, find_backend
from rolecall.media.plan import ACTS
from rolecall_flask import require_role, rolecall_blueprint

from ..core.media.acs_server import KEY as ACCESS_KEY
from ..core.media.acs_server import ACSServer
from ..core.media.chime_server import KEY, REGION, ChimeServer
from ..core.media.chime_server import SECRET as KEY_SECRET
from ..core.media.stand_in import Answer, Asked, StandIn
from ..sdk_tokens import API_KEY, API_SECRET
from ..waiting import PATIENCE

#: What the lesson's people may be.
ROLES: dict[str, RoleName] = {"teacher": "moderator", "pupil": "publisher", "guest": "subscriber"}
NAMES = {"subscriber": "viewer", "publisher": "host", "moderator": "admin"}
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
SECRET, PEM = secrets.token_hex(32), pem_of(rsa.generate_private_key(65537, 2048))

Settings = Callable[[str], dict[str, Any]]

#: The settings of each service, by the URL of what stands for its API.
SETTINGS: dict[str, Settings] = {
    "100ms": lambda api: {"access_key": "0" * 24, "app_secret": SECRET, "roles": NAMES, "api_url": api},
    "acs": lambda api: {"endpoint": api, "access_key": ACCESS_KEY},
    "agora": lambda _: {"app_id": "0123456789abcdef" * 2, "app_certificate": secrets.token_hex(16)},
    "bigbluebutton": lambda api: {"url": f"{api}/bigbluebutton/", "shared_secret": SECRET, "accept_unexpiring": True},
    "chime": lambda api: {"region": REGION, "access_key_id": KEY, "secret_access_key": KEY_SECRET, "api_url": api},
    "cloudflare": lambda api: {
        "account_id": "0" * 32,
        "app_id": "app",
        "api_token": SECRET,
        "roles": NAMES,
        "api_url": api,
    },
    "daily": lambda api: {
        "url": "https://example.daily.co",
        "domain_id": "30f866c3-0000-4000-8000-ff58322d09c5",
        "api_key": SECRET,
        "api_url": api,
    },
    "galene": lambda _: {
        "url": "https://galene.example",
        "key": {"kty": "oct", "alg": "HS256", "k": "MDEyMzQ1Njc4OWFiY2RlZmZlZGNiYTk4NzY1NDMyMTA"},
    },
    "jaas": lambda _: {"kid": f"vpaas-magic-cookie-{'0' * 32}/abc123", "private_key": PEM},
    "janus": lambda api: {
        "url": "wss://janus.example",
        "token_auth_secret": SECRET,
        "admin_url": api,
        "admin_secret": secrets.token_hex(32),
        "admin_key": secrets.token_hex(32),
    },
    "jitsi": lambda _: {"url": "https://meet.example", "app_id": "app", "app_secret": SECRET},
    "livekit": lambda api: {"url": "wss://a.example", "api_key": "APIrolecall", "api_secret": SECRET, "api_url": api},
    "opentok": lambda api: {"api_key": "654321", "api_secret": SECRET, "api_url": api},
    "stream": lambda api: {"api_key": "key1", "api_secret": SECRET, "roles": NAMES, "api_url": api},
    "twilio": lambda _: {"account_sid": f"AC{'0' * 32}", "api_key": f"SK{'1' * 32}", "api_secret": SECRET},
    "vonage": lambda api: {"application_id": APPLICATION, "private_key": PEM, "api_url": api},
    "zoom": lambda _: {"sdk_key": "throwawayZoomSdkKey0001", "sdk_secret": SECRET},
}


class Meetings(StandIn):
    """Cloudflare's API: it gives ids to meetings, and tokens to participants."""

    def answer(self, asked: Asked) -> Answer:
        """See :meth:`StandIn.answer`."""
        made = asked.said if isinstance(asked.said, dict) else {}
        return 200, {"success": True, "data": {**made, "id": str(uuid4()), "token": f"for {made}"}}


class Rooms(StandIn):
    """100ms's API: it gives ids to rooms by their names."""

    def answer(self, asked: Asked) -> Answer:
        """See :meth:`StandIn.answer`."""
        return 200, {
            "id": "64b0c1d2e3f4a5b6c7d8e9f0",
            "name": asked.said["name"] if asked.said else "",
            "enabled": True,
        }


class Sessions(StandIn):
    """OpenTok's API and Vonage's: it gives ids to sessions, of the project or the application that asks."""

    def answer(self, asked: Asked) -> Answer:
        """See :meth:`StandIn.answer`."""
        issuer = "654321" if "x-opentok-auth" in asked.headers else APPLICATION
        text = urlsafe_b64encode(f"1~{issuer}~~1795186800000~random~~".encode()).decode()
        return 200, [{"session_id": f"2_{text.rstrip('=')}"}]


#: What stands for the API of a service, where it is asked for a ticket.
STAND_INS: dict[str, Callable[[], StandIn]] = {
    "100ms": Rooms,
    "acs": ACSServer,
    "chime": ChimeServer,
    "cloudflare": Meetings,
    "opentok": Sessions,
    "vonage": Sessions,
}
#: Its one answer, where that is enough: the room is open.
ANSWERS: dict[str, Any] = {
    "bigbluebutton": f"<response><returncode>SUCCESS</returncode><createTime>{time.time() * 1000:.0f}</createTime>"
    "<duration>1440</duration></response>".encode(),
    "daily": {"privacy": "private"},
    "janus": {"janus": "success", "response": {"videoroom": "created"}},
}
#: The lives of tokens that only the service itself mints, in seconds.
MINTED_THERE = {"bigbluebutton": 86_400, "chime": 86_400}
#: Services that give their sessions ids of their own.
GIVES_IDS = {"cloudflare"}
#: Who of the lesson gets no ticket, because the service would grant more than the role.
NOT_HELD: dict[str, set[str]] = {
    "100ms": set(),
    "acs": {"guest"},
    "agora": {"guest"},
    "bigbluebutton": {"guest"},
    "chime": {"guest"},
    "cloudflare": set(),
    "daily": {"guest"},
    "galene": set(),
    "jaas": {"guest"},
    "janus": {"guest"},
    "jitsi": {"guest"},
    "livekit": set(),
    "opentok": set(),
    "stream": set(),
    "twilio": {"guest"},
    "vonage": set(),
    "zoom": {"guest"},
}


class Lesson:
    """The policy: who is of the lesson gets the role that it has there."""

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        name = request.headers.get("x-user")
        return None if name is None else Actor(name)

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Allow | Deny:
        role = ROLES.get(request.actor.id) if request.actor else None
        return Deny("not of the lesson") if role is None else Allow(max_role=role)


@pytest.fixture(params=BACKENDS)
def name(request) -> str:
    service: str = request.param
    return service


@pytest.fixture
def api(name) -> Iterator[StandIn]:
    stand_in = STAND_INS.get(name, StandIn)()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def kit(name, api) -> Iterator[Rolecall]:
    api.script = [(200, ANSWERS.get(name, {}))]
    settings = {**SETTINGS[name](api.url), **({"timeout": PATIENCE} if "timeout" in parameters(name) else {})}
    with Rolecall(
        API_KEY,
        API_SECRET,
        media=name,
        media_config={name: settings},
        session_names="plain" if name in GIVES_IDS else "opentok",
        plugins=[Lesson()],
        entry_points=False,
        hook_timeout=2 * PATIENCE,
        clock=time.time,
    ) as kit:
        yield kit


def parameters(name: str) -> Any:
    return inspect.signature(found(name)).parameters


def found(name: str) -> type[MediaBackend]:
    backend = find_backend(name)
    assert backend is not None
    return backend


@pytest.fixture
def client(kit) -> Any:
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")

    @app.post("/lessons/<session_id>/begin")
    @require_role("moderator", kit=kit)
    def begin(session_id: str) -> str:
        return "begun"

    return app.test_client()


def asked_for(client: Any, session_id: str, person: str, role: str) -> Any:
    return client.post(f"/video/sessions/{session_id}/tokens", json={"role": role}, headers={"X-User": person})


@pytest.mark.each_choice
def test_the_decisions_are_the_same_and_what_a_service_cannot_hold_is_refused(name, kit, client):
    session_id = kit.create_session().session_id
    refused, tickets = set(), {}
    for person, role in ROLES.items():
        issued = asked_for(client, session_id, person, role)
        assert (issued.status_code, issued.json["role"]) == (201, role)
        bearer = {"Authorization": f"Bearer {issued.json['token']}"}
        # The app's own doors: one is for the teacher.
        begun = client.post(f"/lessons/{session_id}/begin", headers=bearer)
        assert begun.status_code == (200 if person == "teacher" else 403)
        answer = client.post(f"/video/sessions/{session_id}/ticket", headers=bearer)
        if answer.status_code == 403:
            assert answer.json["code"] == "role_not_held"
            refused.add(person)
            continue
        assert answer.status_code == 201, answer.json
        ticket = answer.json
        assert (ticket["media"], ticket["session_id"], ticket["identity"]) == (name, session_id, person)
        life = MINTED_THERE.get(name, max(60, found(name).shortest_life))
        assert time.time() < ticket["expires_at"] <= time.time() + life
        tickets[person] = json.dumps([ticket["token"], ticket["credentials"]])
    assert refused == NOT_HELD[name]
    assert len({*tickets.values()}) == len(tickets)
    # More than the policy leaves is not to be had, and a stranger gets nothing.
    assert asked_for(client, session_id, "guest", "moderator").json["role"] == "subscriber"
    assert asked_for(client, session_id, "stranger", "subscriber").status_code == 403


@pytest.mark.each_choice
def test_whoever_is_excluded_gets_no_ticket_whatever_the_service(kit, client):
    session_id = kit.create_session().session_id
    issued = asked_for(client, session_id, "pupil", "publisher")
    bearer = {"Authorization": f"Bearer {issued.json['token']}"}
    assert client.post(f"/video/sessions/{session_id}/ticket", headers=bearer).status_code == 201
    kit.exclude(session_id, "pupil")
    answer = client.post(f"/video/sessions/{session_id}/ticket", headers=bearer)
    assert (answer.status_code, answer.json["code"]) == (401, "revoked_token")
    assert asked_for(client, session_id, "pupil", "publisher").status_code == 403
    kit.readmit(session_id, "pupil")
    assert client.post(f"/video/sessions/{session_id}/ticket", headers=bearer).status_code == 201


def test_what_a_backend_does_not_say_is_not_done_is_done(name):
    backend = found(name)(**SETTINGS[name]("http://127.0.0.1:9"))
    missing = {act for act in ACTS if not callable(getattr(backend.service, act, None))}
    assert missing <= set(backend.acts)
