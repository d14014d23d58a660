"""Hooks on the connection of the request: in every kind of view, however the kit is called, and what is left open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path, set_script_prefix

from rolecall import Allow, Deny, hookimpl
from rolecall_django import get_kit

from ..django_settings import configure
from ..untyped import untyped

configure()

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
_numbers = count(1)


@pytest.fixture
def notes(tmp_path) -> Iterator[str]:
    """The alias of an SQLite file with a table of notes, whose requests are transactions of their own."""
    alias = f"notes{next(_numbers)}"
    given: Any = {
        "default": connections.settings["default"],
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db.sqlite3", "ATOMIC_REQUESTS": True},
    }
    connections.settings[alias] = connections.configure_settings(given)[alias]
    connections.settings[alias]["OPTIONS"] = {"timeout": 0.1}
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("CREATE TABLE notes (note text)")
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def add_note(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES ('a note')")


def has_notes(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notes")
        return bool(cursor.fetchone()[0])


class Noted:
    """Denies unless there is a note, which only the request's own transaction has."""

    alias = ""

    def vote(self) -> Allow | Deny:
        return Allow() if has_notes(self.alias) else Deny("there is no note")


class Plainly(Noted):
    @hookimpl
    def rolecall_vote_token(self, request):
        return self.vote()


class Blocking(Noted):
    @hookimpl
    def rolecall_vote_token(self, request):
        return self.vote()

    rolecall_vote_token.rolecall_blocks = True  # type: ignore[attr-defined]  # as by @blocking


class Awaiting(Noted):
    @hookimpl
    async def rolecall_vote_token(self, request):
        return await sync_to_async(self.vote)()


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def ask(request) -> Iterator[Callable[..., Any]]:
    """Asks a site with one view."""
    set_script_prefix("/")
    with ExitStack() as stack:

        def ask(view: Callable[..., Any], policy: Any, **settings: Any) -> Any:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [path("", view)]
            settings["ROLECALL"] = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, "plugins": [policy]}
            stack.enter_context(override_settings(ROOT_URLCONF=module, **settings))

            async def send() -> Any:
                return await AsyncClient().get("/")

            answer: Any = async_to_sync(send)() if request.param else Client().get("/")
            return answer

        yield ask


def sync_view(request):
    kit = get_kit()
    session = kit.create_session()
    add_note(Noted.alias)
    return HttpResponse(kit.verify_token(kit.generate_token(session)).role)


async def async_view(request):
    kit = get_kit().aio
    session = await kit.create_session()
    await sync_to_async(add_note)(Noted.alias)
    grant = await kit.verify_token(await kit.generate_token(session))
    return HttpResponse(grant.role)


@pytest.mark.each_choice
@pytest.mark.parametrize("policy", [Plainly, Blocking, Awaiting])
@pytest.mark.parametrize("view", [sync_view, async_view])
def test_a_call_of_the_apps_own_code_has_the_requests_connection(ask, notes, monkeypatch, policy, view):
    monkeypatch.setattr(Noted, "alias", notes)
    own = transaction.non_atomic_requests(notes)(view) if view is async_view else view
    assert ask(own, policy()).content == b"publisher"


# -- what is left open -------------------------------------------------------------------------------


def under_wsgi() -> bytes:
    """What a server's thread gets for a request, as a whole."""
    answered: list[bytes] = []

    def serve() -> None:
        answer: Any = WSGIHandler()(RequestFactory().get("/").environ, untyped(lambda *_: None))
        answered.append(b"".join(answer))
        answer.close()  # by which Django closes connections

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    return answered[0]


def under_asgi() -> bytes:
    async def serve() -> bytes:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "server": ("testserver", 80),
        }
        app = ApplicationCommunicator(ASGIHandler(), scope)
        await app.send_input({"type": "http.request", "body": b""})
        assert (await app.receive_output(60))["status"] == 200
        body: bytes = (await app.receive_output(60))["body"]
        await app.wait(60)
        return body

    answered: list[bytes] = []
    thread = threading.Thread(target=lambda: answered.append(asyncio.run(serve())))
    thread.start()
    thread.join()
    return answered[0]


@pytest.mark.each_choice
@pytest.mark.parametrize("serve", [under_wsgi, under_asgi])
@pytest.mark.parametrize("view", [sync_view, async_view])
@pytest.mark.parametrize("policy", [Plainly, Blocking, Awaiting])
def test_a_request_leaves_no_connection_open(notes, monkeypatch, serve, view, policy):
    monkeypatch.setattr(Noted, "alias", notes)
    opened: list[Any] = []

    def note(sender: Any, connection: Any, **_: Any) -> None:
        opened.append((threading.get_ident(), connection))

    module = ModuleType("urls")
    vars(module)["urlpatterns"] = [path("", transaction.non_atomic_requests(notes)(view))]
    options = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, "plugins": [policy()]}
    connection_created.connect(note)
    try:
        with override_settings(ROOT_URLCONF=module, ROLECALL=options):
            assert serve() == b"publisher"
    finally:
        connection_created.disconnect(note)
    assert len({thread for thread, _ in opened}) == 1
    assert [wrapper.connection for _, wrapper in opened] == [None] * len(opened)
