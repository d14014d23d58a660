"""kit.sessions and GET /sessions: the newest first, page by page, and only to those who may see them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rolecall import Actor, Allow, hookimpl
from rolecall.driver import drive
from rolecall.encoding import base64url
from rolecall.errors import InvalidRequest, StoreUnavailable
from rolecall.http.api.rest import ROUTES
from rolecall.http.respond import respond
from rolecall.request import Request
from rolecall.stores.checking import METHODS
from rolecall.stores.listing import cursor_of
from rolecall.stores.memory import MemoryStore
from rolecall.testing.conformance.table import server_jwt

from ...sdk_tokens import API_KEY
from ...untyped import untyped

SECOND, SECOND_SECRET = "654321", "second-secret-of-forty-two-characters-x42"


class School:
    """Everybody says who he is, and may create sessions."""

    @hookimpl
    def rolecall_identify(self, request):
        return Actor(request.headers["x-user"]) if "x-user" in request.headers else None

    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()


class Bare:
    """A store with the methods that every store has, and no more."""

    def __init__(self) -> None:
        store = MemoryStore()
        for method in METHODS:
            setattr(self, method, getattr(store, method))


def asked(kit, method: str, query: str = "", headers: Any = ()) -> Any:
    sessions = next(route for route in ROUTES if route.name == "sessions")
    request = Request(method, "/video/sessions", headers=dict(headers), query=query)
    answer = drive(respond(kit.api, sessions, request))
    return answer.status, json.loads(answer.body) if answer.body else None


def listed(kit, query: str = "", **claims: Any) -> Any:
    return asked(kit, "GET", query, {"x-opentok-auth": server_jwt(**claims)})


def created(kit, clock, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        clock.now += 1
        ids.append(kit.create_session().session_id)
    return ids[::-1]


def ids_of(page) -> list[str]:
    return [session.session_id for session in page]


def test_pages_follow_on_each_other_and_their_sessions_are_the_kits(make_kit, clock):
    kit = make_kit()
    ids = created(kit, clock, 5)
    page = kit.sessions(limit=2)
    assert (len(page), page.next is not None, repr(page)) == (2, True, "<SessionPage of 2, and there are more>")
    found = ids_of(page)
    while page.next is not None:
        page = kit.sessions(limit=2, after=page.next)
        found += ids_of(page)
    assert found == ids
    assert kit.verify_token(page.sessions[0].generate_token()).session_id == ids[-1]


def test_async_code_gets_the_same(make_kit, clock):
    kit = make_kit()
    ids = created(kit, clock, 3)

    async def read() -> Any:
        page = await kit.aio.sessions(limit=2)
        await page.sessions[0].end()
        return page, await kit.aio.sessions(state="ended")

    page, ended = asyncio.run(read())
    assert (ids_of(page), ids_of(ended)) == (ids[:2], ids[:1])


def test_sessions_are_chosen_by_state_and_creator(make_kit, clock):
    kit = make_kit(plugins=[School()])
    mine = created(kit, clock, 2)
    clock.now += 1
    status, body = asked(kit, "POST", headers={"x-user": "ada"})
    assert status == 201
    kit.end_session(mine[0])
    assert ids_of(kit.sessions(state="open")) == [body["session_id"], mine[1]]
    assert ids_of(kit.sessions(state="ended")) == [mine[0]]
    assert ids_of(kit.sessions(created_by="ada")) == [body["session_id"]]
    assert kit.sessions(created_by="ada").sessions[0].created_by == "ada"
    assert "created_by" not in body


def test_others_sessions_in_the_same_store_are_left_out(make_kit, clock):
    store = MemoryStore()
    mine, other = make_kit(store=store), make_kit(api_key=SECOND, api_secret=SECOND_SECRET, store=store)
    ids = []
    for _ in range(4):
        created(other, clock, 3)
        ids += created(mine, clock, 1)
    assert ids_of(mine.sessions(limit=3)) == ids[::-1][:3]
    assert ids_of(mine.sessions(limit=3, after=mine.sessions(limit=3).next)) == ids[:1]


def test_a_page_of_a_store_full_of_others_sessions_is_short_and_goes_on(make_kit, clock):
    store = MemoryStore()
    mine, other = make_kit(store=store), make_kit(api_key=SECOND, api_secret=SECOND_SECRET, store=store)
    ids = created(mine, clock, 1)
    created(other, clock, 30)
    first = mine.sessions(limit=1)
    assert (len(first), first.next is None) == (0, False)
    assert ids_of(mine.sessions(limit=1, after=first.next)) == ids


def test_no_cursor_names_a_session_of_others(make_kit, clock):
    kit = make_kit(projects={SECOND: SECOND_SECRET})
    ids = []
    for others in (30, 50):  # those of one time, and of the next one
        clock.now += 1
        owners = [*[None] * others, SECOND, *[None] * others]
        ids += [(owner, kit.create_session(api_key=owner).session_id) for owner in owners]
    found, after = [], ""
    while after is not None:
        status, body = listed(kit, f"limit=1{after and '&after='}{after}", iss=SECOND, secret=SECOND_SECRET)
        assert status == 200
        after = body["next"]
        found += [session["session_id"] for session in body["sessions"]]
        named = "" if after is None else json.loads(base64url.decode(after.encode()))[1]
        assert named in ("", *found)
    assert found == [session_id for owner, session_id in reversed(ids) if owner == SECOND]


@pytest.mark.parametrize("answer", [None, ["x"], {}, 1])
def test_what_is_no_list_of_sessions_is_a_fault_of_the_store(make_kit, answer):
    class Odd(MemoryStore):
        def list_sessions(self, page):
            return answer

    with pytest.raises(StoreUnavailable, match="list_sessions returned"):
        make_kit(store=Odd()).sessions()


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"limit": 1001}, "1 to 1000"),
        ({"limit": True}, "limit is True"),
        ({"limit": "5"}, "limit is '5'"),
        ({"state": "closed"}, "expected 'open' or 'ended'"),
        ({"created_by": 5}, "created_by is 5; expected text"),
        ({"after": ""}, "no cursor"),
        ({"after": "nonsense"}, "no cursor"),
        ({"after": "WzEsMl0"}, "no cursor"),
        ({"after": 5}, "no cursor"),
        ({"after": cursor_of(1.0, "\0")}, "no cursor"),
        ({"after": cursor_of(1.0, "\ud800")}, "no cursor"),
        ({"after": base64url.encode(b"[" * 100_000).decode()}, "no cursor"),
        ({"created_by": "ada\0"}, r"created_by holds the character U\+0000"),
        ({"created_by": "\ud800"}, r"created_by holds the character U\+D800"),
    ],
)
def test_wrong_arguments_are_told(make_kit, wanted, problem):
    with pytest.raises(InvalidRequest, match=problem):
        make_kit().sessions(**untyped(wanted))


def test_a_store_that_cannot_list_says_so(make_kit):
    with pytest.raises(StoreUnavailable, match="list_sessions"):
        make_kit(store=Bare()).sessions()


def test_servers_list_their_projects_sessions(make_kit, clock):
    kit = make_kit(projects={SECOND: SECOND_SECRET}, plugins=[School()])
    clock.now += 1
    kit.create_session(api_key=SECOND)
    ids = created(kit, clock, 3)
    kit.end_session(ids[1])
    status, first = listed(kit, "limit=2")
    assert (status, ids_of_json(first)) == (200, ids[:2])
    assert first["sessions"][0] == {**kit.get_session(ids[0]).as_dict(), "created_by": None}
    status, rest = listed(kit, f"limit=2&after={first['next']}")
    assert (status, ids_of_json(rest), rest["next"]) == (200, ids[2:], None)
    assert ids_of_json(listed(kit, "state=ended")[1]) == [ids[1]]
    assert ids_of_json(listed(kit, "created_by=Zo%C3%AB")[1]) == []
    assert len(ids_of_json(listed(kit, secret=SECOND_SECRET, iss=SECOND)[1])) == 1


def ids_of_json(body) -> list[str]:
    return [session["session_id"] for session in body["sessions"]]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=1&limit=1",
        "state=all",
        "after=x",
        "colour=blue",
        "limit",
        "%",
    ],
)
def test_a_wrong_query_is_a_400(make_kit, query):
    status, body = listed(make_kit(), query)
    assert (status, body["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"x-opentok-auth": "x"}])
def test_nobody_else_lists_sessions(make_kit, headers):
    status, body = asked(make_kit(), "GET", headers=headers)
    assert (status, body["code"]) == (403, "invalid_server_credential")
    assert API_KEY not in json.dumps(body)


def test_a_moderators_token_lists_no_sessions(make_kit):
    kit = make_kit()
    token = kit.create_session().generate_token("moderator")
    status, _ = asked(kit, "GET", headers={"authorization": f"Bearer {token}"})
    assert status == 403
