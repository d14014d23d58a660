"""A verifier beside a server of keys that is well, slow, gone or lying: what it accepts, and how often it asks."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from math import inf
from typing import Any

import pytest

from rolecall import (
    Actor,
    Allow,
    ConfigurationError,
    Deny,
    InvalidToken,
    Request,
    Requirement,
    Role,
    Rolecall,
    RolecallError,
    Web,
    hookimpl,
)
from rolecall.driver import drive
from rolecall.errors import KeysUnavailable, OnlyVerifies, UnknownKey
from rolecall.http.api.rest import ROUTES
from rolecall.http.respond import respond
from rolecall.keys import following
from rolecall.keys.following import Timing
from rolecall.keys.sets import read_key_set
from rolecall.kit import Verifier
from rolecall.roles import ANY_TOKEN

from ...forking import in_child, needs_fork
from ...key_servers import KeyServer, http, key_server, key_set, says
from ...own_tokens import ISSUER, issuing, jwks, token_of
from ...untyped import untyped
from ...waiting import soon

pytestmark = pytest.mark.server

#: Each unknown key is looked for, so that a test can say when keys are fetched.
EAGER = Timing(refetch=0.0, first_retry=60.0, longest_retry=60.0, patience=10.0)
#: As usual, but for the wait of a request.
CALM = Timing(patience=10.0)


@pytest.fixture
def made() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def issuer(made) -> Rolecall:
    return made.enter_context(issuing())


@pytest.fixture
def other(made) -> Rolecall:
    """The same issuer with its next key."""
    return made.enter_context(issuing(name="next"))


@pytest.fixture
def server(made, issuer) -> KeyServer:
    return made.enter_context(key_server(serving(issuer)))


@pytest.fixture
def verifying(made) -> Callable[..., Verifier]:
    def make(place: Any, timing: Timing = EAGER, **options: Any) -> Verifier:
        class Timed(Verifier):
            _timing = timing

        return made.enter_context(Timed(place, issuer=ISSUER, **options))

    return make


def serving(*kits: Rolecall) -> Callable[..., None]:
    return says(http(key_set(*(jwks(kit)["keys"][0] for kit in kits))))


def look_again(verifier: Verifier) -> None:
    """Have the verifier fetch its keys, and wait until it has tried."""
    keys = verifier._state.keys  # type: ignore[attr-defined]
    keys.wait(keys.attempts)


def accepts(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify_token(token)
    except InvalidToken:
        return False
    return True


# -- what it accepts, and what not -----------------------------------------------------------------


def test_it_accepts_the_issuers_tokens_for_any_session(issuer, server, verifying):
    session = issuer.create_session()
    token = session.generate_token("moderator", data="name=Ada")
    grant = verifying(server.url).verify_token(token, session.session_id)
    assert (grant.role, grant.data, grant.session_id) == ("moderator", "name=Ada", session.session_id)
    assert grant == issuer.verify_token(token)


@pytest.mark.parametrize("place", ["url", "path", "PathLike", "dict"])
def test_the_keys_are_at_a_url_in_a_file_or_passed_in(place, issuer, other, server, verifying, tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks(issuer)))
    verifier = verifying({"url": server.url, "path": str(file), "PathLike": file, "dict": jwks(issuer)}[place])
    assert accepts(verifier, token_of(issuer))
    assert not accepts(verifier, token_of(other))


def test_async_code_verifies_with_it_too(issuer, other, server, verifying):
    async def run() -> None:
        async with verifying(server.url).aio as verifier:
            assert (await verifier.verify_token(token_of(issuer))).role == "publisher"
            with pytest.raises(UnknownKey):
                await verifier.verify_token(token_of(other))

    asyncio.run(run())


def test_another_issuer_and_another_audience_are_refused(made, server, verifying):
    for options in ({"audience": "others"}, {"issuer": f"{ISSUER}/"}):
        token = token_of(made.enter_context(issuing(**options)))
        assert not accepts(verifying(server.url), token)
    ours = token_of(made.enter_context(issuing(audience="rooms")))
    assert accepts(verifying(server.url, audience="rooms"), ours)
    assert not accepts(verifying(server.url, audience="others"), ours)


def test_whatever_creates_mints_or_ends_is_refused(issuer, server, verifying):
    verifier = verifying(server.url)
    token = token_of(issuer, role="moderator")
    sid = verifier.verify_token(token).session_id
    for call in (
        verifier.create_session,
        lambda: verifier.generate_token(sid),
        lambda: verifier.end_session(sid),
    ):
        with pytest.raises(OnlyVerifies):
            call()
    headers = {"authorization": f"Bearer {token}"}
    for method, path in (("DELETE", "/sessions/{session_id}"), ("POST", "/sessions")):
        route = next(route for route in ROUTES if route.path == path)
        asked = Request(method, path, {"session_id": sid}, headers)
        answer = drive(respond(verifier.api, route, asked))
        assert (answer.status, json.loads(answer.body)["code"]) == (501, "only_verifies")
    assert accepts(verifier, token)


def test_its_route_for_keys_is_not_there(server, verifying):
    route = next(route for route in ROUTES if route.name == "jwks")
    assert drive(respond(verifying(server.url).api, route, Request("GET", "/jwks.json"))).status == 404


def test_policies_and_own_roles_work_on_it_as_on_a_kit(made, server, verifying):
    host = Role("host", ["connect", "subscribe", "publish", "signal", "force_unpublish"], "publisher")

    class Policy:
        @hookimpl
        def rolecall_register_roles(self):
            return [host]

        @hookimpl
        def rolecall_identify(self, request):
            return Actor("ada")

        @hookimpl
        def rolecall_vote_token(self, request):
            return Allow()

        @hookimpl
        def rolecall_vote_access(self, request):
            return None if request.grant.claims.get("sub") == "ada" else Deny("not you")

    kit = made.enter_context(issuing(plugins=[Policy()]))
    session = kit.create_session()
    route = next(route for route in ROUTES if route.name == "tokens")
    asked = Request("POST", "/", {"session_id": session.session_id}, {"content-type": "application/json"})
    answer = json.loads(drive(respond(kit.api, route, asked._replace(body=b'{"role": "host"}'))).body)
    verifier = verifying(server.url, plugins=[Policy()])
    grant = verifier.verify_token(answer["token"])
    assert (grant.role, grant.capabilities, grant.claims["sub"]) == ("host", host.capabilities, "ada")
    for token, allowed in ((answer["token"], True), (session.generate_token("host"), False)):
        request = Request("GET", "/room", headers={"authorization": f"Bearer {token}"})
        assert verifier.explain_access(role="host", http=request).allowed is allowed
    assert not accepts(verifying(server.url), answer["token"])  # which does not know the role


def test_it_is_ready_while_it_has_keys(issuer, server, verifying):
    route = next(route for route in ROUTES if route.name == "readyz")
    verifier = verifying(server.url)
    verifier.verify_token(token_of(issuer))
    assert drive(respond(verifier.api, route, Request("GET", "/readyz"))).status == 200


@pytest.mark.each_choice
@pytest.mark.parametrize("name", ["media", "media_config", "store", "format"])
def test_an_argument_of_a_kit_that_creates_and_mints_is_refused_by_name(name):
    with pytest.raises(ConfigurationError, match=f"a verifier takes no {name}: it verifies"):
        Rolecall.verifier("https://issuer.example/jwks.json", issuer=ISSUER, **{name: "livekit"})


def test_a_cookie_and_other_wrong_arguments_stop_start_up(issuer):
    keys = jwks(issuer)
    for options in (
        {"web": Web(cookie="__Host-rolecall")},
        {"max_stale": 0},
        {"max_stale": True},
        {"max_stale": 31 * 86_400},
        {"issuer": "issuer"},
        {"issuer": "https://u:p@issuer.example"},
        {"issuer": None},
        {"audience": ""},
        {"audience": ["a"]},
        {"leeway": 61},
        {"clock": 7},
    ):
        with pytest.raises(ConfigurationError):
            Rolecall.verifier(keys, **untyped({"issuer": ISSUER, **options}))


# -- when it asks ----------------------------------------------------------------------------------


def test_fifty_requests_on_a_cold_cache_are_one_fetch(issuer, server, verifying):
    answer, token = server.answer, token_of(issuer)
    may = threading.Event()
    server.answer = lambda client: may.wait(20) and answer(client)
    verifier = verifying(server.url, CALM)
    with ThreadPoolExecutor(50) as pool:
        grants = [pool.submit(verifier.verify_token, token) for _ in range(50)]
        time.sleep(0.1)
        may.set()
        assert {grant.result().role for grant in grants} == {"publisher"}
    assert server.asked == 1


@pytest.mark.parametrize("well", [True, False])
def test_unknown_keys_cause_one_attempt_whether_it_succeeds_or_not(well, issuer, other, server, verifying):
    verifier, token = verifying(server.url, CALM), token_of(other)
    assert accepts(verifier, token_of(issuer))
    if not well:
        server.answer = says(http(b"{}", "500 Error"))
    for _ in range(200):
        assert not accepts(verifier, token)
    assert server.asked == 2
    assert accepts(verifier, token_of(issuer))


def test_a_token_that_names_no_key_and_one_of_another_kind_cause_none(issuer, server, verifying, made):
    verifier = verifying(server.url)
    assert accepts(verifier, token_of(issuer))
    header = "eyJhbGciOiJFUzI1NiIsInR5cCI6InJvbGVjYWxrK2p3dCJ9"  # without kid
    header_of_others = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IngifQ"  # typ JWT
    rest = token_of(issuer).partition(".")[2]
    assert not accepts(verifier, f"{header}.{rest}")
    assert not accepts(verifier, f"{header_of_others}.{rest}")
    assert server.asked == 1


def test_a_new_key_is_found_at_once_and_a_removed_one_refused_from_then_on(issuer, other, server, verifying):
    verifier, old, new = verifying(server.url), token_of(issuer), token_of(other)
    assert accepts(verifier, old)
    assert accepts(verifier, old)  # remembered now
    server.answer = serving(other)
    assert accepts(verifier, new)
    assert not accepts(verifier, old)
    assert server.asked == 3  # the last one because the old key has become an unknown one


def test_a_token_that_is_read_while_its_key_is_removed_is_refused_from_then_on(issuer, other, verifying, monkeypatch):
    verifier, token = verifying(jwks(issuer)), token_of(issuer)
    engine, state = verifier.api.engine, verifier._state
    engine.check_token(token, ANY_TOKEN, None)
    read = type(state).read_token

    def read_and_lose_the_key(state, token, session_id):
        found = read(state, token, session_id)
        state.keys._take(read_key_set(key_set(*jwks(other)["keys"])), inf)  # as the thread that follows does
        return found

    monkeypatch.setattr(type(state), "read_token", read_and_lose_the_key)
    engine.check_token(token, ANY_TOKEN, None)
    monkeypatch.undo()
    for _ in range(3):
        with pytest.raises(UnknownKey):
            engine.check_token(token, ANY_TOKEN, None)


def test_a_token_that_was_seen_before_is_refused_once_no_keys_are_left(issuer, verifying, monkeypatch):
    verifier, token = verifying(jwks(issuer)), token_of(issuer)
    engine = verifier.api.engine
    for _ in range(4):
        engine.check_token(token, ANY_TOKEN, None)
    monkeypatch.setattr(verifier._state.keys, "_until", 0.0)
    for check in (lambda: engine.check_token(token, ANY_TOKEN, None), lambda: drive(engine.verify(token))):
        with pytest.raises(KeysUnavailable):
            check()


def test_known_keys_do_not_wait_while_a_server_hangs(issuer, other, server, verifying):
    verifier, token = verifying(server.url), token_of(issuer)
    assert accepts(verifier, token)
    may = threading.Event()
    server.answer = lambda client: may.wait(20)
    with ThreadPoolExecutor(20) as pool:
        unknown = [pool.submit(accepts, verifier, token_of(other)) for _ in range(20)]
        assert soon(lambda: server.asked == 2)
        fresh = [token_of(issuer) for _ in range(20)]
        began = time.monotonic()
        assert all(accepts(verifier, one) for one in fresh)
        took = time.monotonic() - began
        may.set()
        assert not any(one.result() for one in unknown)
    assert took < 1


def test_it_follows_on_its_own(issuer, other, server, verifying, monkeypatch):
    monkeypatch.setattr("rolecall.keys.sources.SHORTEST_LIFE", 0.1)
    server.answer = says(http(key_set(*jwks(issuer)["keys"]), "200 OK", "application/json", "Cache-Control: max-age=0"))
    verifier = verifying(server.url, CALM)
    assert accepts(verifier, token_of(issuer))
    server.answer = serving(other)
    asked = server.asked
    assert soon(lambda: server.asked > asked + 1 or accepts(verifier, token_of(other)))
    assert accepts(verifier, token_of(other))


def test_a_file_is_read_again_and_kept_while_it_is_damaged(issuer, other, verifying, tmp_path):
    file = tmp_path / "jwks.json"
    whole = json.dumps(jwks(issuer))
    file.write_text(whole)
    verifier = verifying(str(file))
    for content in ("", whole[:-20], '{"keys":[]}', "null"):
        file.write_text(content)
        look_again(verifier)
        assert accepts(verifier, token_of(issuer))
    file.unlink()
    look_again(verifier)
    assert accepts(verifier, token_of(issuer))
    file.write_text(json.dumps(jwks(other)))
    look_again(verifier)
    assert (accepts(verifier, token_of(issuer)), accepts(verifier, token_of(other))) == (False, True)


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys":[]}', '{"keys":['])
def test_a_file_that_cannot_be_used_stops_start_up(content, verifying, tmp_path):
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        verifying(str(file))


# -- what it keeps ---------------------------------------------------------------------------------


def test_the_last_good_keys_are_kept_whatever_a_server_says(issuer, other, server, verifying):
    verifier = verifying(server.url)
    assert accepts(verifier, token_of(issuer))
    lie = key_set({**jwks(other)["keys"][0], "use": "enc"})
    for answer in (
        http(b"<html>maintenance</html>", content_type="text/html"),
        http(b"{}"),
        http(b"null"),
        http(b'{"keys":[]}'),
        http(lie),
        http(b"", "503 Unavailable"),
        b"",
    ):
        server.answer = says(answer)
        look_again(verifier)
        assert (accepts(verifier, token_of(issuer)), accepts(verifier, token_of(other))) == (True, False)


def test_after_max_stale_tokens_are_answered_503_also_remembered_ones(issuer, server, verifying, monkeypatch):
    verifier, token = verifying(server.url, max_stale=3600), token_of(issuer)
    assert accepts(verifier, token)
    assert accepts(verifier, token)
    server.answer = says(http(b"", "503 Unavailable"))
    monkeypatch.setattr(following, "monotonic", lambda: time.monotonic() + 3601)
    for one in (token, token_of(issuer)):
        with pytest.raises(KeysUnavailable):
            verifier.verify_token(one)
    route = next(route for route in ROUTES if route.name == "readyz")
    answer = drive(respond(verifier.api, route, Request("GET", "/readyz")))
    assert (answer.status, b"keys" in answer.body) == (503, True)


def test_a_server_that_is_gone_at_start_is_503_and_no_fault_of_the_token(issuer, server, verifying):
    answer, server.answer = server.answer, says(b"")
    verifier = verifying(server.url, Timing(first_retry=0.2, patience=10.0))
    statuses = set()
    for _ in range(3):
        try:
            verifier.verify_token(token_of(issuer))
        except RolecallError as error:
            statuses.add(error.status)
    assert statuses == {503}
    server.answer = answer

    def works() -> bool:
        try:
            return accepts(verifier, token_of(issuer))
        except KeysUnavailable:
            return False

    assert soon(works)


def test_a_key_whose_private_half_was_shown_verifies_nothing_any_more(issuer, other, server, verifying, caplog):
    verifier, token, own = verifying(server.url), token_of(issuer), token_of(other)
    (key,), (others,) = jwks(issuer)["keys"], jwks(other)["keys"]
    assert accepts(verifier, token)
    # In a set with no usable key, so that the fetch has failed and the earlier keys are kept.
    server.answer = says(http(key_set({**key, "d": None})))
    look_again(verifier)
    with pytest.raises((InvalidToken, KeysUnavailable)):
        verifier.verify_token(token)
    for later in (key_set(key, others), key_set({**key, "kid": "again"}, others)):
        server.answer = says(http(later))
        look_again(verifier)
        assert (accepts(verifier, token), accepts(verifier, own)) == (False, True)
    assert "private halves" in caplog.text
    assert key["kid"] not in caplog.text


def test_another_key_under_the_same_kid_takes_its_place(issuer, other, server, verifying):
    verifier, token = verifying(server.url), token_of(issuer)
    assert accepts(verifier, token)
    server.answer = says(http(key_set({**jwks(other)["keys"][0], "kid": jwks(issuer)["keys"][0]["kid"]})))
    look_again(verifier)
    assert not accepts(verifier, token)


def test_nothing_is_fetched_that_a_token_asks_for(made, issuer, other, server, verifying):
    trap = made.enter_context(key_server(serving(other)))
    verifier = verifying(server.url)
    key = jwks(other)["keys"][0]
    header = {"alg": "ES256", "typ": "rolecall+jwt", "kid": key["kid"], "jku": trap.url, "x5u": trap.url, "jwk": key}
    import jwt

    from ...own_tokens import private

    claims = dict(issuer.verify_token(token_of(issuer)).claims)
    forged = jwt.encode(claims, private("ES256", "next"), "ES256", headers=header)
    assert not accepts(verifier, forged)
    assert trap.asked == 0


def test_a_forked_child_follows_the_keys_itself(issuer, other, server, verifying):
    verifier = verifying(server.url)
    assert accepts(verifier, token_of(issuer))
    server.answer = serving(other)
    new = token_of(other)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if accepts(verifier, new) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_a_key_is_removed_refuses_its_tokens(issuer, other, server, verifying):
    verifier, old = verifying(server.url), token_of(issuer)
    assert accepts(verifier, old)
    assert accepts(verifier, old)  # remembered now
    engine, keys = verifier.api.engine, verifier._state.keys
    forget, accepted = keys.on_change, []

    def fork_first():
        keys.on_change = forget
        accepted.append(in_child(lambda: is_admitted(engine, old)))
        forget()

    keys.on_change = fork_first
    server.answer = serving(other)
    look_again(verifier)
    assert accepted == [False]
    assert not is_admitted(engine, old)


def is_admitted(engine: Any, token: str) -> bool:
    try:
        engine.check_token(token, ANY_TOKEN, None)
    except RolecallError:
        return False
    return True


def test_guards_need_no_more_than_a_role(issuer, server, verifying):
    verifier = verifying(server.url)
    requirement = Requirement.of_role("moderator")
    grant = drive(verifier.engine.confirm_token(token_of(issuer, role="moderator"), requirement, None))
    assert grant.role == "moderator"
    with pytest.raises(RolecallError, match="role:moderator"):
        drive(verifier.engine.confirm_token(token_of(issuer), requirement, None))
