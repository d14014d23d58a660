"""A media service behind each framework: tickets, acts and webhooks, with a stand-in for LiveKit's server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from rolecall import Rolecall
from rolecall.media import LiveKit
from rolecall.testing.conformance import Case

from ..core.media.livekit_server import KEY, SECRET, LiveKitServer, track, webhook
from ..sdk_tokens import API_KEY, API_SECRET
from ..waiting import PATIENCE
from .test_conformance import SITES


@pytest.fixture
def server() -> Iterator[LiveKitServer]:
    server = LiveKitServer()
    yield server
    server.stop()


@pytest.fixture
def kit(server) -> Iterator[Rolecall]:
    media = LiveKit(server.url, KEY, SECRET, timeout=PATIENCE)
    with Rolecall(
        API_KEY, API_SECRET, media=media, entry_points=False, hook_timeout=2 * PATIENCE, clock=time.time
    ) as kit:
        yield kit


def send(site: Any, app: Any, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Any:
    case = Case("media", method, f"/video{path}", 200, headers=tuple(headers.items()), body=body)
    return site.send(app, case, "")


@pytest.mark.each_choice
@pytest.mark.parametrize("framework", SITES)
def test_who_is_excluded_gets_no_ticket_and_is_put_out_at_each_join(framework, kit, server):
    site = SITES[framework]
    ask = partial(send, site, site.app_of(kit))
    session_id = kit.create_session().session_id
    at = f"/sessions/{session_id}"
    eve, moderator = (
        {"Authorization": f"Bearer {kit.generate_token(session_id, role, actor=actor)}"}
        for role, actor in (("publisher", "eve"), ("moderator", "ada"))
    )
    assert ask("POST", f"{at}/ticket", eve).status == 201
    joined = server.join(session_id, "eve", track("TR_1"))
    assert ask("POST", "/media/livekit/webhook", joined.headers, joined.body).status == 200
    assert [*server.rooms[session_id]] == ["eve"]
    assert ask("POST", f"{at}/streams/TR_1/mute", moderator).status == 204
    assert server.rooms[session_id]["eve"] == [track("TR_1", muted=True)]
    json = {**moderator, "Content-Type": "application/json"}
    assert ask("POST", f"{at}/exclusions", json, b'{"actor":"eve"}').status == 200
    assert server.rooms[session_id] == {}
    assert ask("POST", f"{at}/ticket", eve).status == 401
    for _ in range(2):  # with a token that the server has renewed
        joined = server.join(session_id, "eve")
        assert ask("POST", "/media/livekit/webhook", joined.headers, joined.body).status == 200
        assert server.rooms[session_id] == {}
    forged = webhook("participant_left", session_id, "ada")
    assert ask("POST", "/media/livekit/webhook", joined.headers, forged.body).status == 401
    assert ask("POST", f"{at}/mute", moderator).status == 501
