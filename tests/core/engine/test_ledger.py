"""The ledger: which tokens a kit has issued, and which of them are still good."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Deny, IssuedToken, LiveTokens, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.errors import ConfigurationError, InvalidActor, InvalidRequest, NoLedger, PolicyDenied, StoreUnavailable
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.request import Request
from rolecall.stores.ledger import TokenPage, TokensFound
from rolecall.stores.listing import cursor_of
from rolecall.stores.memory import MemoryStore

from ...conftest import NOW
from ...sdk_tokens import API_KEY, API_SECRET
from ...untyped import untyped
from .test_taking_back import KITS, sdk_token

FIVE = timedelta(minutes=5)


@pytest.fixture
def kit(make_kit: Any) -> Rolecall:
    return make_kit(ledger=True)


def ids(page: LiveTokens) -> list[str]:
    return [token.token_id for token in page]


def id_of(kit: Rolecall, token: str) -> str:
    return kit.verify_token(token).token_id


def test_each_token_is_kept_until_it_expires(kit, clock):
    session = kit.create_session()
    token = session.generate_token("moderator", FIVE, "name=Ada", actor="ada")
    for_nobody = session.generate_token()
    assert set(kit.live_tokens()) == {
        IssuedToken(session.session_id, id_of(kit, token), "ada", "moderator", NOW, NOW + 300),
        IssuedToken(session.session_id, id_of(kit, for_nobody), None, "publisher", NOW, NOW + 86_400),
    }
    clock.now += 300
    assert ids(kit.live_tokens()) == [id_of(kit, for_nobody)]


def test_without_it_minting_writes_nothing(make_kit):
    class Unwritten(MemoryStore):
        def add_token(self, token: IssuedToken) -> None:
            raise AssertionError

    kit = make_kit(store=Unwritten())
    kit.create_session().generate_token()
    with pytest.raises(NoLedger, match="ledger=True"):
        kit.live_tokens()


def test_it_holds_no_token_and_no_data(make_kit):
    store = MemoryStore()
    kit = make_kit(store=store, ledger=True)
    token = kit.create_session().generate_token(data="name=Ada")
    (row,) = store.dump("tokens", None, 10)[0]
    assert token[-20:] not in repr(row)
    assert "name=Ada" not in repr(row)


def test_they_are_found_by_session_and_by_actor(kit):
    one, other = kit.create_session(), kit.create_session()
    tokens = {
        (session.session_id, actor): session.generate_token(actor=actor)
        for session in (one, other)
        for actor in ("ada", "bob")
    }
    for (session_id, actor), token in tokens.items():
        assert ids(kit.live_tokens(session_id, actor)) == [id_of(kit, token)]
    assert len(kit.live_tokens(one)) == len(kit.live_tokens(actor="ada")) == 2
    assert len(kit.live_tokens(one, "eve")) == 0


def test_pages_follow_on_each_other_the_newest_first(kit, clock):
    session, made = kit.create_session(), []
    for _ in range(7):
        clock.now += 1
        made.append(id_of(kit, session.generate_token()))
    listed, after = [], None
    while True:
        page = kit.live_tokens(after=after, limit=3)
        listed += ids(page)
        if (after := page.next) is None:
            break
    assert listed == made[::-1]
    assert repr(kit.live_tokens(limit=3)) == "<LiveTokens: 3, and there are more>"


@pytest.mark.parametrize(
    "take_back",
    [
        lambda kit, session, token: kit.revoke_token(token),
        lambda kit, session, token: session.exclude("ada"),
        lambda kit, session, token: kit.revoke_actor("ada"),
    ],
    ids=["token", "exclusion", "actor"],
)
def test_what_was_revoked_is_left_out(kit, clock, take_back):
    session = kit.create_session()
    token, others = session.generate_token(actor="ada"), session.generate_token(actor="bob")
    clock.now += 2
    take_back(kit, session, token)
    assert ids(kit.live_tokens()) == [id_of(kit, others)]


@pytest.mark.parametrize("all_of_it", ["reset", "end"])
def test_a_session_that_was_reset_or_ended_has_none(kit, clock, all_of_it):
    session, other = kit.create_session(), kit.create_session()
    session.generate_token()
    kept = other.generate_token()
    clock.now += 2
    getattr(session, all_of_it)()
    assert ids(kit.live_tokens()) == [id_of(kit, kept)]
    if all_of_it == "reset":
        assert ids(kit.live_tokens(session)) == []
        again = session.generate_token()
        assert ids(kit.live_tokens(session)) == [id_of(kit, again)]


@pytest.mark.parametrize("name", KITS)
def test_each_of_them_can_be_revoked_by_what_it_says(make_kit, name):
    def make(**options: Any) -> Rolecall:
        return make_kit(ledger=True, **options)

    kit = KITS[name](make)
    tokens = [kit.create_session().generate_token(actor="ada") for _ in range(3)]
    for token in kit.live_tokens(actor="ada"):
        kit.revoke_token(session_id=token.session_id, token_id=token.token_id)
    assert len(kit.live_tokens()) == 0
    assert len({kit.create_session().generate_token() for _ in tokens}) == 3
    assert len(kit.live_tokens()) == 3


def test_a_page_goes_on_past_many_revoked_tokens(kit, clock):
    session = kit.create_session()
    first = session.generate_token()
    for _ in range(30):
        kit.revoke_token(session.generate_token())
    found, after, pages = [], None, 0
    while True:
        page = kit.live_tokens(after=after, limit=1)
        found += ids(page)
        pages += 1
        if (after := page.next) is None:
            break
    assert found == [id_of(kit, first)]
    assert pages <= 4


def test_renewals_are_kept_too(kit, clock):
    token = kit.create_session().generate_token("publisher", FIVE, actor="ada")
    clock.now += 240
    new = kit.renew_token(token)
    assert ids(kit.live_tokens(actor="ada")) == [id_of(kit, new), id_of(kit, token)]


def test_the_actor_is_kept_though_tokens_do_not_say_it(make_kit):
    kit = make_kit(ledger=True, actor_claim=False)
    token = kit.create_session().generate_token(actor="ada")
    assert kit.verify_token(token).actor_id is None
    assert ids(kit.live_tokens(actor="ada")) == [id_of(kit, token)]


def test_tokens_of_sdks_are_not_kept(kit):
    session = kit.create_session()
    assert kit.verify_token(sdk_token(session.session_id, NOW))
    assert len(kit.live_tokens()) == 0


def test_other_projects_tokens_are_not_shown(make_kit, kit):
    other = make_kit(api_key="654321", api_secret=secrets.token_hex(32), store=kit.engine.state.store, ledger=True)
    token = kit.create_session().generate_token()
    other.create_session().generate_token()
    assert ids(kit.live_tokens()) == [id_of(kit, token)]


def test_what_is_refused_is_not_kept(make_kit):
    class Closed:
        @hookimpl
        def rolecall_vote_token(self) -> Deny:
            return Deny("closed")

    kit = make_kit(ledger=True, plugins=[Closed()])
    with pytest.raises(PolicyDenied):
        kit.create_session().generate_token()
    assert len(kit.live_tokens()) == 0


def test_a_token_that_cannot_be_kept_is_not_issued(make_kit):
    class Full(MemoryStore):
        def add_token(self, token: IssuedToken) -> None:
            raise StoreUnavailable("the disk is full")

    kit = make_kit(ledger=True, store=Full())
    with pytest.raises(StoreUnavailable):
        kit.create_session().generate_token()


class Bare:
    """A store that keeps no ledger."""

    def __init__(self) -> None:
        store = MemoryStore()
        for name in ("add_session", "get_session", "end_session", "has_ended", "use_once", "close"):
            setattr(self, name, getattr(store, name))


def test_a_store_that_keeps_none_is_refused_at_start(make_kit):
    assert make_kit(store=Bare())
    with pytest.raises(ConfigurationError, match="ledger=True needs a store that keeps issued tokens"):
        make_kit(store=Bare(), ledger=True)


@pytest.mark.parametrize(
    "answer",
    [
        [("1_a", "0.a")],
        TokensFound(untyped([("1_a", "0.a")]), None),
        TokensFound(untyped(None), None),
        TokensFound([], untyped("0.a")),
        TokensFound([], untyped(("0.a", 4e9))),
        TokensFound([], untyped((4e9,))),
    ],
)
def test_a_store_that_answers_something_else_is_not_believed(make_kit, answer):
    class Odd(MemoryStore):
        def list_tokens(self, page: TokenPage) -> Any:
            return answer

    with pytest.raises(StoreUnavailable, match="list_tokens returned"):
        make_kit(ledger=True, store=Odd()).live_tokens()


def test_a_kit_goes_on_where_the_store_has_stopped(make_kit):
    class Brief(MemoryStore):
        def list_tokens(self, page: TokenPage) -> TokensFound:
            if page.after is None:
                return TokensFound([], (4e9, ""))
            return super().list_tokens(page)

    kit = make_kit(ledger=True, store=Brief())
    token = kit.create_session().generate_token()
    assert ids(kit.live_tokens()) == [id_of(kit, token)]


def test_a_page_ends_though_the_store_finds_nothing(make_kit):
    class Endless(MemoryStore):
        def list_tokens(self, page: TokenPage) -> TokensFound:
            return TokensFound([], (page.after[0] - 1 if page.after else 100.0, "0.a"))

    page = make_kit(ledger=True, store=Endless()).live_tokens()
    assert len(page) == 0
    assert page.next == cursor_of(81.0, "0.a")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"limit": 0}, InvalidRequest),
        ({"limit": 1001}, InvalidRequest),
        ({"after": "x"}, InvalidRequest),
        ({"actor": ""}, InvalidActor),
    ],
)
def test_what_is_asked_for_is_checked(kit, wrong, error):
    with pytest.raises(error):
        kit.live_tokens(**wrong)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_argument_is_checked(make_kit, value):
    with pytest.raises(ConfigurationError, match="ledger is"):
        make_kit(ledger=untyped(value))


def test_it_comes_from_the_environment():
    names = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET}
    with Rolecall.from_env({**names, "ROLECALL_LEDGER": "1"}) as kit:
        kit.create_session().generate_token()
        assert len(kit.live_tokens()) == 1


def test_async_code_lists_alike(kit):
    async def ask() -> LiveTokens:
        session = await kit.aio.create_session()
        await session.generate_token(actor="ada")
        return await kit.aio.live_tokens(session, "ada")

    assert len(asyncio.run(ask())) == 1


# -- the route -------------------------------------------------------------------------------------


def ask(kit: Rolecall, session_id: str, token: str, query: str = "") -> Response:
    path = f"/sessions/{session_id}/tokens"
    found = find_route(ROUTES, path)
    assert found is not None
    request = Request("GET", path, found[1], {"authorization": f"Bearer {token}"}, query=query)
    return drive(respond(kit.api, found[0], request))


def test_a_moderator_lists_the_tokens_of_the_session(kit):
    session = kit.create_session()
    moderator = session.generate_token("moderator", actor="ada")
    session.generate_token(actor="bob")
    kit.create_session().generate_token()
    answer = ask(kit, session.session_id, moderator)
    body = json.loads(answer.body)
    assert (answer.status, body["next"]) == (200, None)
    assert {token["actor_id"] for token in body["tokens"]} == {"ada", "bob"}
    assert list(body["tokens"][0]) == ["session_id", "token_id", "actor_id", "role", "issued_at", "expires_at"]
    assert ("Cache-Control", "no-store") in answer.headers
    only = json.loads(ask(kit, session.session_id, moderator, "actor=bob").body)
    assert [token["actor_id"] for token in only["tokens"]] == ["bob"]
    page = json.loads(ask(kit, session.session_id, moderator, "limit=1").body)
    rest = json.loads(ask(kit, session.session_id, moderator, f"limit=1&after={page['next']}").body)
    assert {page["tokens"][0]["actor_id"], rest["tokens"][0]["actor_id"]} == {"ada", "bob"}


@pytest.mark.parametrize(
    ("role", "query", "status"),
    [("publisher", "", 403), ("moderator", "limit=0", 400), ("moderator", "actor=", 400), ("moderator", "x=1", 400)],
)
def test_others_list_nothing_and_what_they_ask_is_checked(kit, role, query, status):
    session = kit.create_session()
    assert ask(kit, session.session_id, session.generate_token(role), query).status == status


def test_a_moderator_of_another_session_lists_nothing(kit):
    moderator = kit.create_session().generate_token("moderator")
    assert ask(kit, kit.create_session().session_id, moderator).status == 403


def test_a_service_without_a_ledger_says_so(make_kit):
    kit = make_kit()
    session = kit.create_session()
    answer = ask(kit, session.session_id, session.generate_token("moderator"))
    assert (answer.status, json.loads(answer.body)["code"]) == (501, "no_ledger")
