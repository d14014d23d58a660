"""While a policy's backend does not answer: strangers are refused, and what does not need the policy goes on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import flask
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from werkzeug.test import Client

from rolecall import Allow, blocking, hookimpl
from rolecall.driver import threads
from rolecall_flask import rolecall_blueprint
from rolecall_starlette import rolecall_app
from rolecall_wsgi import RolecallMiddleware

STRANGERS = 24


class Directory:
    """Asks a directory who may get a token; it does not answer until the gate opens."""

    def __init__(self, gate):
        self._gate = gate

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request):
        if request.http is not None:
            self._gate.wait(60)
        return Allow()

    @hookimpl
    @blocking
    def rolecall_vote_access(self, request):
        return Allow()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def flask_client(kit, stack):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    return lambda method, path, **options: app.test_client().open(path, method=method, **options)


def wsgi_client(kit, stack):
    def nothing(environ, start_response):
        start_response("404 Not Found", [])
        return []

    client = Client(RolecallMiddleware(nothing, kit, prefix="/video"))
    return lambda method, path, **options: client.open(path, method=method, **options)


def starlette_client(backend, kit, stack):
    client = TestClient(Starlette(routes=[Mount("/video", rolecall_app(kit))]), backend=backend)
    # Entered, so that all requests share one event loop, as under a server.
    return stack.enter_context(client).request


@pytest.mark.parametrize(
    "client_of",
    [flask_client, wsgi_client, partial(starlette_client, "asyncio"), partial(starlette_client, "trio")],
    ids=["flask", "wsgi", "starlette", "starlette on trio"],
)
def test_a_moderator_ends_a_session_while_strangers_ask_a_policy_that_hangs(
    client_of, make_kit, stack, gate, monkeypatch, tmp_path
):
    monkeypatch.setattr(threads, "THREADS", 4)
    kit = make_kit(plugins=[Directory(gate)], hook_timeout=0.2, store=f"sqlite:///{tmp_path}/sessions.db")
    request = client_of(kit, stack)
    session = kit.create_session()
    path = f"/video/sessions/{session.session_id}"
    moderator = {"Authorization": f"Bearer {session.generate_token('moderator')}"}

    with ThreadPoolExecutor(8) as strangers:
        answers = strangers.map(lambda _: request("POST", f"{path}/tokens", json={}).status_code, range(STRANGERS))
        assert set(answers) == {503}
    began = time.monotonic()
    assert request("DELETE", path, headers=moderator).status_code == 204
    assert time.monotonic() - began < 5
    assert request("POST", f"{path}/tokens", json={}).status_code == 410
