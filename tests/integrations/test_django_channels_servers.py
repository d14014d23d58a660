"""Guarded consumers of Django Channels over real servers, with a real client."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .test_websocket_servers import BEARER, UVICORN, serving

pytestmark = pytest.mark.server

APP = '''
"""A project in one file: the kit's routes, an async consumer, and one that is not."""
import asyncio
from django.conf import settings
from rolecall.policies import AllowAnyone
settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    INSTALLED_APPS=["rolecall_django"],
    MIDDLEWARE=["rolecall_django.RolecallMiddleware"],
    ROLECALL={"plugins": [AllowAnyone(max_role="moderator")]},
    ROOT_URLCONF="channels_app",
    SECRET_KEY="for tests alone",
)
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
django_app = get_asgi_application()
from django.http import JsonResponse
from django.urls import include, path
from rolecall_django import require_role
from rolecall_django.channels import current_grant

class Echo(AsyncWebsocketConsumer):
    groups = ["everybody"]

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(f"{current_grant(self).role}: {text_data}")

class SyncEcho(WebsocketConsumer):
    groups = ["everybody"]

    def receive(self, text_data=None, bytes_data=None):
        self.send(f"{current_grant(self).role}: {text_data}")

async def left(request):
    groups = get_channel_layer().groups.get("everybody", {})
    return JsonResponse({"clients": len(groups), "tasks": len(asyncio.all_tasks())})

urlpatterns = [path("video/", include("rolecall_django.urls")), path("left", left)]
guarded = require_role("publisher")
application = ProtocolTypeRouter({
    "http": django_app,
    "websocket": URLRouter([
        path("rooms/<session_id>/echo", guarded(Echo).as_asgi()),
        path("rooms/<session_id>/sync", guarded(SyncEcho.as_asgi())),
    ]),
})
'''
SERVERS = {
    "daphne": ("daphne", "--fd", "{fd}", "-v", "0", "channels_app:application"),
    "uvicorn": (*UVICORN, "channels_app:application"),
}
#: What a client that was refused is told: daphne has no word but 403.
REFUSED = {"daphne": (403, 403), "uvicorn": (401, 403)}


@pytest.fixture(scope="module", params=SERVERS)
def running(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "channels_app.py").write_text(APP)
    with serving(folder, *SERVERS[request.param]) as server:
        yield request.param, server


@pytest.mark.parametrize("what", ["echo", "sync"])
def test_a_consumer_is_opened_by_a_token_refused_without_and_closed_with_its_session(running, what):
    name, server = running
    room = server.session()
    for token, status in zip(("x.y.z", server.token(room, "subscriber")), REFUSED[name], strict=True):
        with pytest.raises(InvalidStatus) as refused:
            server.open(room, token, what)
        assert refused.value.response.status_code == status
    with server.open(room, server.token(room), what) as socket:
        assert socket.subprotocol == BEARER
        socket.send("hello")
        assert socket.recv(timeout=20) == "publisher: hello"
        assert server.left("clients") == 1
        server.end(room)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
    assert server.left_in_the_end("clients", 0) == 0


def test_what_is_closed_leaves_its_groups_though_the_client_does_not_answer(running):
    _, server = running
    room = server.session()
    socket = server.open(room, server.token(room))
    try:
        assert server.left("clients") == 1
        socket.socket.close()  # without a word
        server.end(room)
        assert server.left_in_the_end("clients", 0) == 0
    finally:
        socket.close_socket()
