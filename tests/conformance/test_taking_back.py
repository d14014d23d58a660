"""Each rung of the ladder × each store × each format × each framework: who is refused, where, and how soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import product
from typing import Any

import pytest

from rolecall import Rolecall, Web
from rolecall.errors import RevokedToken, Unavailable
from rolecall.testing.conformance import Case

from .. import own_tokens
from ..conftest import needed
from ..postgres_servers import PROGRAMS, PostgresProcess
from ..redis_servers import PROGRAM, RedisProcess
from ..rungs import RUNGS
from ..sdk_tokens import API_KEY, API_SECRET
from ..waiting import PATIENCE, soon
from .test_conformance import SITES

FORMATS: dict[str, dict[str, Any]] = {
    "opentok": {},
    "t1": {"format": "t1"},
    "jwt": {"format": "jwt", "issuer": own_tokens.ISSUER, "private_key": own_tokens.pem()},
}
#: Those that need to know for whom a token is, which T1 does not say.
OF_ACTORS = ("exclude", "revoke_actor")
STORES = ("memory", "sqlite", *(pytest.param(name, marks=pytest.mark.server) for name in ("postgresql", "redis")))


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Finds the URL of an empty store; a server is started at its first use."""
    with ExitStack() as stack:
        servers: dict[str, Any] = {}

        def url_of(name: str) -> str:
            if name == "memory":
                return "memory://"
            if name == "sqlite":
                return f"sqlite:///{tmp_path_factory.mktemp('store')}/rolecall.db"
            if name == "postgresql":
                needed(PROGRAMS, "the server of PostgreSQL (initdb and postgres)")
                if name not in servers:
                    servers[name] = PostgresProcess()
                    stack.callback(servers[name].remove)
                    servers[name].start()
                return servers[name].url_of(servers[name].new_database()) + "?timeout=5"
            needed(PROGRAM, "redis-server or valkey-server on the PATH")
            if name not in servers:
                servers[name] = RedisProcess(tmp_path_factory.mktemp("redis")).start()
                stack.callback(servers[name].stop)
            with servers[name].client as client:
                client.flushall()
            return servers[name].url + "?timeout=5"

        yield url_of


def answer(site: Any, app: Any, token: str) -> int:
    headers = [("Authorization", f"Bearer {token}")]
    return site.send(app, Case("me", "GET", "/me", 200, headers=tuple(headers)), "").status


def enters(site: Any, app: Any, token: str) -> bool:
    return answer(site, app, token) == 200


def is_refused(site: Any, app: Any, token: str) -> bool:
    return answer(site, app, token) == 401


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("framework", SITES)
def test_nobody_enters_whose_grant_was_taken_back(framework, store, form, urls):
    """In the process that takes it back at once; in another one within the second, with SQLite at once."""
    site = SITES[framework]
    url = urls(store)
    options = {"api_key": API_KEY, "api_secret": API_SECRET, "entry_points": False, **FORMATS[form]}
    with ExitStack() as stack:
        here = stack.enter_context(Rolecall(store=url, **options))
        # In memory, another kit has nothing of the first one's; it is asked for the other stores.
        elsewhere = here if store == "memory" else stack.enter_context(Rolecall(store=url, **options))
        apps = {"here": site.app_of(here), "elsewhere": site.app_of(elsewhere)}
        for rung, take_back in RUNGS.items():
            if form == "t1" and rung in OF_ACTORS:
                continue
            session = here.create_session()
            actor = None if form == "t1" else "ada" if rung in OF_ACTORS else "bob"
            token = issued(session, actor)
            for app, _ in product(apps.values(), range(3)):  # remembered from the second time on
                assert soon(partial(enters, site, app, token)), rung
            take_back(here, session, token)
            assert answer(site, apps["here"], token) == 401, rung
            if store == "sqlite":
                assert answer(site, apps["elsewhere"], token) == 401, rung
            assert soon(partial(is_refused, site, apps["elsewhere"], token)), rung
            for app in apps.values():
                assert answer(site, app, token) == 401, rung


@pytest.mark.parametrize("store", STORES)
def test_whoever_holds_a_grant_hears_of_its_end_in_every_process(store, urls):
    """Long before the next check, which would come after a minute."""
    options: dict[str, Any] = {"store": urls(store), "entry_points": False, "web": Web(recheck=60)}
    with ExitStack() as stack:
        here = stack.enter_context(Rolecall(API_KEY, API_SECRET, **options))
        elsewhere = here if store == "memory" else stack.enter_context(Rolecall(API_KEY, API_SECRET, **options))
        for rung, take_back in RUNGS.items():
            session = here.create_session()
            token = issued(session, "ada" if rung in OF_ACTORS else "bob")
            assert soon(partial(elsewhere.verify_token, token)), rung
            asyncio.run(hear(here, elsewhere, token, partial(take_back, here, session, token)))


async def hear(here: Rolecall, elsewhere: Rolecall, token: str, take_back: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE / 2), asyncio.TaskGroup() as tasks:
        grants = [await kit.aio.verify_token(token) for kit in (here, elsewhere)]
        waiting = [
            tasks.create_task(kit.aio.wait_until_ended(grant))
            for kit, grant in zip((here, elsewhere), grants, strict=True)
        ]
        await asyncio.sleep(0.2)
        assert not any(one.done() for one in waiting)
        await asyncio.to_thread(take_back)
    assert {type(one.result()) for one in waiting} == {RevokedToken}


def issued(session: Any, actor: str | None) -> str:
    """A token, which waits for the second after that of an earlier rung."""
    made: list[str] = []

    def is_issued() -> bool:
        with suppress(Unavailable):
            made.append(session.generate_token(actor=actor))
        return bool(made)

    assert soon(is_issued)
    return made[0]
