"""Guarded answers that stream: handed out for as long as the grant stands, in every framework."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import closing
from typing import Any
from wsgiref.util import setup_testing_defaults

import flask
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route
from werkzeug.test import Client

import rolecall_flask
import rolecall_starlette
import rolecall_wsgi
from rolecall import Allow, Deny, Web, hookimpl
from rolecall_fastapi import RoleRequired

from ..untyped import untyped

RECHECK = 0.05


class Keeper:
    """A plugin that votes as it is told, and keeps what it was asked and told."""

    def __init__(self) -> None:
        self.vote = lambda request: None
        self.asked: list[Any] = []
        self.codes: list[Any] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append(request)
        return self.vote(request)

    @hookimpl
    def rolecall_on_event(self, event):
        if event.name == "access_refused":
            self.codes.append(event.code)


@pytest.fixture
def keeper():
    return Keeper()


@pytest.fixture
def kit(make_kit, keeper):
    return make_kit(web=Web(recheck=RECHECK), plugins=[keeper])


# -- every framework -------------------------------------------------------------------------------


async def ask(app, session_id, token, receive=None):
    """The body of the answer to a request, in the pieces in which an ASGI app sends it."""
    pieces, status = [], None

    async def send(message):
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message.get("body"):
            pieces.append(message["body"].decode())

    async def wait():
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": f"/rooms/{session_id}/news",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    async with asyncio.timeout(10):
        await app(scope, receive or wait, send)
    assert status == 200
    return pieces


def asked_by_asgi(app, session_id, token):
    return asyncio.run(ask(app, session_id, token))


def asked_by_wsgi(app, session_id, token):
    headers = {"Authorization": f"Bearer {token}"}
    answer = Client(app).get(f"/rooms/{session_id}/news", headers=headers, buffered=False)
    assert answer.status_code == 200
    return [piece.decode() for piece in untyped(answer.response)]


async def as_async(chunks):
    with closing(chunks):
        for chunk in chunks:
            yield chunk


def as_bytes(chunks):
    with closing(chunks):
        for chunk in chunks:
            yield chunk.encode()


def in_starlette(kit, chunks, guard="publisher"):
    @rolecall_starlette.require_role(guard)
    async def news(request):
        return StreamingResponse(rolecall_starlette.while_granted(request, as_async(chunks)))

    app = Starlette(routes=[Route("/rooms/{session_id}/news", news)])
    app.state.rolecall = kit
    return app, asked_by_asgi


def in_starlette_with_a_plain_generator(kit, chunks, guard="publisher"):
    @rolecall_starlette.require_role(guard)
    def news(request):
        return StreamingResponse(rolecall_starlette.while_granted(request, chunks))

    app = Starlette(routes=[Route("/rooms/{session_id}/news", news)])
    app.state.rolecall = kit
    return app, asked_by_asgi


def in_a_guarded_mount(kit, chunks, guard="publisher"):
    async def news(request):
        return StreamingResponse(rolecall_starlette.while_granted(request, as_async(chunks)))

    mount = Mount("/rooms/{session_id}", routes=[Route("/news", news)])
    app = Starlette(routes=[rolecall_starlette.require_role(guard)(mount)])
    app.state.rolecall = kit
    return app, asked_by_asgi


def in_fastapi(kit, chunks, guard="publisher"):
    app = FastAPI()
    app.state.rolecall = kit

    @app.get("/rooms/{session_id}/news", dependencies=[Depends(RoleRequired(guard))])
    def news(request: Request):
        return StreamingResponse(rolecall_starlette.while_granted(request, as_async(chunks)))

    return app, asked_by_asgi


def in_flask(kit, chunks, guard="publisher"):
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")

    @app.get("/rooms/<session_id>/news")
    @rolecall_flask.require_role(guard)
    def news(session_id):
        return flask.Response(rolecall_flask.while_granted(chunks))

    return app, asked_by_wsgi


def in_wsgi(kit, chunks, guard="publisher"):
    def news(environ, start_response):
        start_response("200 OK", [])
        return rolecall_wsgi.while_granted(environ, as_bytes(chunks))

    guarded = rolecall_wsgi.require_role(guard, kit=kit, prefixes=["/rooms/{session_id}"])
    return guarded(news), asked_by_wsgi


EVERYWHERE = [in_starlette, in_starlette_with_a_plain_generator, in_a_guarded_mount, in_fastapi, in_flask, in_wsgi]


@pytest.fixture(params=EVERYWHERE, ids=lambda way: way.__name__)
def streaming(request, kit):
    """The pieces of an answer that streams ``chunks``."""

    def stream(chunks, session, token=None):
        app, asked = request.param(kit, chunks)
        return asked(app, session.session_id, token or session.generate_token())

    return stream


def long_after():
    """Wait until a look is due."""
    threading.Event().wait(1.5 * RECHECK)


def test_while_the_grant_stands_everything_comes(streaming, kit, keeper):
    def chunks():
        yield "a"
        long_after()
        yield "b"

    assert streaming(chunks(), kit.create_session()) == ["a", "b"]
    first, *later = keeper.asked
    assert (first.again, {request.again for request in later}) == (False, {True})
    assert keeper.codes == []


def test_a_look_shows_the_policies_what_they_were_shown_at_the_door(streaming, kit, keeper):
    def chunks():
        yield "a"
        long_after()
        yield "b"

    session = kit.create_session()
    streaming(chunks(), session)
    first, *later = keeper.asked
    assert later
    for request in later:
        assert request.session_id == session.session_id
        assert (request.grant, request.requirement) == (first.grant, first.requirement)
        assert (request.http.route, request.http.path_params) == (first.http.route, {"session_id": session.session_id})
        assert request.http.headers["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("vote", "code"),
    [
        (lambda request: Deny("you were sent out", code="sent_out"), "sent_out"),
        (lambda request: Allow(max_role="subscriber"), "insufficient_role"),
        (lambda request: 1 / 0, "policy_fault"),
    ],
    ids=["denied", "narrowed", "failed"],
)
def test_it_stops_when_the_policies_no_longer_let_it_in(streaming, kit, keeper, vote, code):
    def chunks():
        yield "before"
        keeper.vote = vote
        long_after()
        yield "after"
        raise AssertionError("nobody may ask for more")

    assert streaming(chunks(), kit.create_session()) == ["before"]
    assert keeper.codes == [code]


def test_it_stops_when_the_session_ends(streaming, kit, keeper):
    session = kit.create_session()

    def chunks():
        yield "before"
        session.end()
        long_after()
        yield "after"

    assert streaming(chunks(), session) == ["before"]
    assert keeper.codes == ["revoked_token"]


def test_it_stops_when_the_token_expires(streaming, kit, keeper, clock):
    session = kit.create_session()

    def chunks():
        yield "before"
        clock.now += 60
        yield "after"

    assert streaming(chunks(), session, session.generate_token(expire_time=clock() + 60)) == ["before"]
    assert keeper.codes == ["expired_token"]


def test_what_it_was_made_of_is_closed(streaming, kit, keeper):
    closed = threading.Event()

    def chunks():
        try:
            yield "before"
            keeper.vote = lambda request: Deny("out")
            long_after()
            yield "after"
        finally:
            closed.set()

    assert streaming(chunks(), kit.create_session()) == ["before"]
    assert closed.wait(5)


class Mishap(Exception):
    """A fault of an app."""


def test_what_goes_wrong_in_it_is_the_apps_own(streaming, kit):
    def chunks():
        yield "before"
        raise Mishap

    with pytest.raises(Mishap):
        streaming(chunks(), kit.create_session())


def test_each_guard_around_is_asked_for(kit, keeper):
    def chunks():
        yield "before"
        keeper.vote = lambda request: Allow(max_role="publisher")
        long_after()
        yield "after"

    app, asked = in_starlette(kit, chunks(), guard="subscriber")
    whole = rolecall_starlette.protect(app, rolecall_starlette.require_role("moderator"))
    session = kit.create_session()
    assert asked(whole, session.session_id, session.generate_token("moderator")) == ["before"]
    assert keeper.codes == ["insufficient_role"]


def test_without_a_guard_there_is_no_grant_to_watch():
    scope = {"type": "http", "path": "/", "headers": []}
    with pytest.raises(RuntimeError, match="while_granted needs a route behind require_role"):
        rolecall_starlette.while_granted(Request(scope), [])


def test_without_a_guard_a_wsgi_app_has_none_either():
    environ: dict[Any, Any] = {}
    setup_testing_defaults(environ)
    with pytest.raises(RuntimeError, match="while_granted needs a route behind require_role"):
        rolecall_wsgi.while_granted(environ, [])


def test_without_a_guard_a_view_of_flask_has_none_either():
    with (
        flask.Flask(__name__).test_request_context("/"),
        pytest.raises(RuntimeError, match="while_granted needs a route behind require_role"),
    ):
        rolecall_flask.while_granted([])


def test_in_flask_the_policies_can_have_the_requests_context(make_kit):
    class OfFlask:
        @hookimpl
        def rolecall_vote_access(self, request):
            seen.append(flask.request.path)

    seen: list[Any] = []
    kit = make_kit(web=Web(recheck=RECHECK), plugins=[OfFlask()])
    app = flask.Flask(__name__)
    app.register_blueprint(rolecall_flask.rolecall_blueprint(kit), url_prefix="/video")

    def chunks():
        yield "a"
        long_after()
        yield "b"

    @app.get("/rooms/<session_id>/news")
    @rolecall_flask.require_token
    def news(session_id):
        return flask.Response(flask.stream_with_context(rolecall_flask.while_granted(chunks())))

    session = kit.create_session()
    assert asked_by_wsgi(app, session.session_id, session.generate_token()) == ["a", "b"]
    assert len(seen) >= 2


# -- between two chunks ----------------------------------------------------------------------------


def news_of(kit, source):
    """A Starlette app that streams what ``source()`` yields."""

    @rolecall_starlette.require_token
    async def news(request):
        return StreamingResponse(rolecall_starlette.while_granted(request, source()))

    app = Starlette(routes=[Route("/rooms/{session_id}/news", news)])
    app.state.rolecall = kit
    return app


def test_a_stream_in_which_nothing_comes_is_stopped_too(kit, keeper):
    cancelled = []

    async def quiet():
        yield "before"
        keeper.vote = lambda request: Deny("out", code="out")
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    session = kit.create_session()
    assert asked_by_asgi(news_of(kit, quiet), session.session_id, session.generate_token()) == ["before"]
    assert (cancelled, keeper.codes) == ([True], ["out"])


def test_a_generator_may_hold_a_time_out_open_and_its_context(kit):
    spoken = contextvars.ContextVar("spoken", default=0)

    async def timed():
        async with asyncio.timeout(60):
            for _ in range(3):
                spoken.set(spoken.get() + 1)
                yield str(spoken.get())
                await asyncio.sleep(RECHECK)

    session = kit.create_session()
    assert asked_by_asgi(news_of(kit, timed), session.session_id, session.generate_token()) == ["1", "2", "3"]


def test_no_chunk_is_made_before_the_one_before_it_was_sent(kit):
    made: list[int] = []
    sent: list[tuple[str, int]] = []

    async def counted():
        for number in range(3):
            made.append(number)
            yield str(number)

    async def run():
        async for chunk in rolecall_starlette.while_granted(untyped(connection), counted()):
            await asyncio.sleep(0)
            sent.append((chunk, len(made)))

    session = kit.create_session()
    connection = None

    @rolecall_starlette.require_token
    async def news(request):
        nonlocal connection
        connection = request
        await run()
        return StreamingResponse([])

    app = Starlette(routes=[Route("/rooms/{session_id}/news", news)])
    app.state.rolecall = kit
    asked_by_asgi(app, session.session_id, session.generate_token())
    assert sent == [("0", 1), ("1", 2), ("2", 3)]


def test_a_client_that_goes_ends_what_the_stream_was_made_of(kit):
    ended = []

    async def run():
        begun = asyncio.Event()

        async def quiet():
            begun.set()
            try:
                await asyncio.Event().wait()
                yield "never"
            finally:
                ended.append(True)

        async def leave():
            await begun.wait()
            return {"type": "http.disconnect"}

        session = kit.create_session()
        await ask(news_of(kit, quiet), session.session_id, session.generate_token(), leave)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert ended == [True]
