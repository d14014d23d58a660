"""Guarded WebSockets in a real browser, which sets no header, and says which page asks."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import sync_playwright
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route, WebSocketRoute

from rolecall import Rolecall, Web
from rolecall.testing import Clock
from rolecall_starlette import RolecallAuthentication, current_grant, require_token

pytestmark = pytest.mark.browser

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
FLAGS = ("--no-sandbox", "--headless=new", "--disable-background-networking", "--no-first-run")

#: Set when a guarded WebSocket is open.
greeted = threading.Event()

#: Opens a WebSocket, and comes to what became of it.
OPEN = """
([url, protocols]) => new Promise(resolve => {
    const seen = {opened: false, protocol: null, said: [], code: null, reason: null}
    const socket = new WebSocket(url, protocols)
    socket.onopen = () => { seen.opened = true; seen.protocol = socket.protocol }
    socket.onmessage = event => seen.said.push(event.data)
    socket.onclose = event => resolve({...seen, code: event.code, reason: event.reason})
})
"""


@pytest.fixture(scope="module")
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def port(listener):
    return listener.getsockname()[1]


@pytest.fixture(scope="module")
def clock():
    return Clock(time.time())


@pytest.fixture(scope="module")
def kit(listener, port, clock):
    # The page is listed by its number, and not by its name.
    web = Web(origins=[f"http://127.0.0.1:{port}"], recheck=0.1)
    with Rolecall(KEY, SECRET, web=web, clock=clock) as kit:
        desk = Middleware(RolecallAuthentication, kit=kit)
        app = Starlette(
            routes=[
                Route("/", home),
                WebSocketRoute("/rooms/{session_id}", board),
                Mount("/desks", routes=[WebSocketRoute("/{session_id}", talk)], middleware=[desk]),
            ]
        )
        app.state.rolecall = kit
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        yield kit
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


async def home(request):
    return HTMLResponse("<!doctype html><title>Rolecall</title><link rel=icon href=data:,>")


@require_token
async def board(websocket):
    await websocket.accept()
    await websocket.send_text(current_grant(websocket).role)
    greeted.set()
    async for text in websocket.iter_text():
        if text == "bye":
            await websocket.close(1000)
            return


@requires("role:publisher")
async def talk(websocket):
    await websocket.accept()
    await websocket.send_text(websocket.user.display_name)
    await websocket.close(1000)


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, kit, port):
    """A page of the app at this host; both names are of the same machine, and are different origins."""
    pages = []

    def open_(host="127.0.0.1"):
        pages.append(browser.new_page())
        pages[-1].goto(f"http://{host}:{port}/")
        return pages[-1]

    yield open_
    for page in pages:
        page.close()


def what_became_of(page, port, session, *protocols, place="rooms"):
    return page.evaluate(OPEN, [f"ws://127.0.0.1:{port}/{place}/{session.session_id}", list(protocols)])


@contextmanager
def once_it_is_open(act):
    """Does this when an endpoint has greeted its client, while the page waits."""

    def wait():
        if greeted.wait(20):
            act()

    greeted.clear()
    waiting = threading.Thread(target=wait)
    waiting.start()
    yield
    waiting.join()


def test_a_page_opens_it_and_sees_why_it_was_closed_when_the_token_expires(visit, port, kit, clock):
    session = kit.create_session()
    token = session.generate_token("subscriber", expire_time=clock.now + 600)
    with once_it_is_open(lambda: clock.advance(601)):
        seen = what_became_of(visit(), port, session, "rolecall.bearer", token)
    assert (seen["opened"], seen["protocol"], seen["said"]) == (True, "rolecall.bearer", ["subscriber"])
    assert seen["code"] == 4401
    assert seen["reason"].startswith("expired_token: the token's life ended at ")


def test_a_page_sees_that_the_session_has_ended(visit, port, kit):
    session = kit.create_session()
    with once_it_is_open(session.end):
        seen = what_became_of(visit(), port, session, "rolecall.bearer", session.generate_token())
    assert (seen["opened"], seen["code"]) == (True, 4401)
    assert seen["reason"] == "revoked_token: the token's session has ended"


def test_a_page_opens_what_the_middleware_authenticates_though_the_app_names_no_subprotocol(visit, port, kit):
    session = kit.create_session()
    token = session.generate_token(data="Ada")
    seen = what_became_of(visit(), port, session, "rolecall.bearer", token, place="desks")
    assert seen["opened"], seen
    assert (seen["protocol"], seen["said"], seen["code"]) == ("rolecall.bearer", ["Ada"], 1000)


@pytest.mark.parametrize("offer", [[], ["rolecall.bearer", "no.token.atall"]])
def test_without_a_good_token_it_never_opens(offer, visit, port, kit):
    seen = what_became_of(visit(), port, kit.create_session(), *offer)
    assert (seen["opened"], seen["code"]) == (False, 1006)


def test_a_page_of_another_origin_does_not_open_it_even_with_a_token(visit, port, kit):
    session = kit.create_session()
    seen = what_became_of(visit("localhost"), port, session, "rolecall.bearer", session.generate_token())
    assert (seen["opened"], seen["code"]) == (False, 1006)
