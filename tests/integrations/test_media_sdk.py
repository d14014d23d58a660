"""Tickets of OpenTok and Vonage say what the tokens of the services' own SDKs say."""

from __future__ import annotations

from typing import Any

import jwt
import opentok
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from vonage_http_client import Auth, HttpClient
from vonage_video import TokenOptions, Video
from vonage_video.models.enums import TokenRole

from rolecall import Rolecall, Ticket, hookimpl
from rolecall.media import MediaBackend, OpenTok, Vonage

from ..own_tokens import pem

pytestmark = pytest.mark.sdk

KEY, SECRET = "654321", "secret-at-the-service-5b1f0c2e9d7a4c3f8e6b7d2a"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
SESSION = "2_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"
OF_APPLICATION = "2_MX43YjFkM2IyYy05NmYxLTRmNTItOGIwZS0wYzhhMWY3ZTVkMzR-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"
LAYOUT = ["focus", "small"]
UNTIMED: Any = {"verify_exp": False, "verify_iat": False}


def ticket_of(make_kit: Any, media: MediaBackend, session_id: str, role: str) -> Ticket:
    class Known:
        @hookimpl
        def rolecall_create_session(self, request):
            return session_id

    kit: Rolecall = make_kit(media=media, plugins=[Known()])
    chosen = kit.engine.state.roles.get(role)
    token = kit.create_session().generate_token(chosen, actor="ada", data="Zoë", initial_layout_class_list=LAYOUT)
    return kit.ticket(kit.verify_token(token))


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_a_ticket_of_opentok(make_kit, clock, monkeypatch, role):
    ticket = ticket_of(make_kit, OpenTok(KEY, SECRET), SESSION, role)
    monkeypatch.setattr("opentok.opentok.time.time", clock)
    token = opentok.Client(KEY, SECRET).generate_token(
        SESSION, opentok.Roles[role.replace("only", "_only")], ticket.expires_at, "Zoë", LAYOUT
    )
    theirs, ours = (jwt.decode(one, SECRET, ["HS256"], UNTIMED) for one in (token, ticket.token))
    assert ours.keys() - theirs.keys() == {"jti", "rolecall_actor"}
    assert {name: value for name, value in ours.items() if name in theirs} == {**theirs, "nonce": ours["nonce"]}


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_a_ticket_of_vonage(make_kit, clock, role):
    ticket = ticket_of(make_kit, Vonage(APPLICATION, pem("RS256")), OF_APPLICATION, role)
    options = TokenOptions.model_construct(
        session_id=OF_APPLICATION,
        role=TokenRole(role),
        connection_data="Zoë",
        initial_layout_class_list=LAYOUT,
        iat=int(clock()),
        exp=ticket.expires_at,
    )
    sdk = Video(HttpClient(Auth(application_id=APPLICATION, private_key=pem("RS256").decode())))
    public: Any = load_pem_private_key(pem("RS256"), None).public_key()
    theirs, ours = (
        jwt.decode(one, public, ["RS256"], UNTIMED) for one in (sdk.generate_client_token(options), ticket.token)
    )
    assert " ".join(theirs.pop("initial_layout_class_list")) == ours.pop("initial_layout_class_list")  # as Node's does
    assert theirs.pop("subject") == ours.pop("sub")  # the SDK for Node has it as we do
    assert {**ours, "jti": None} == {**theirs, "jti": None, "rolecall_actor": "ada"}
