"""Admission to guarded routes: who enters, what answers those who do not, and what the plugins are told of them."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import jwt
import pytest

from rolecall import Allow, Deny, Web, hookimpl
from rolecall.driver import drive
from rolecall.errors import (
    InsufficientRole,
    InvalidServerCredential,
    InvalidToken,
    MalformedCredential,
    MissingCredential,
    PolicyDenied,
    RolecallError,
    WrongSession,
)
from rolecall.http.api.sdk_credentials import Server
from rolecall.http.guards.admission import (
    admission,
    admit,
    challenges,
    enter,
    enter_as_server,
    guard_answer,
    headers_to_add,
    options_response,
)
from rolecall.http.guards.guard import Guard
from rolecall.http.messages import Response
from rolecall.request import Request
from rolecall.roles import ANY_TOKEN, Requirement
from rolecall.tokens import Grant

from ...sdk_tokens import API_KEY, API_SECRET

NOW = 1_795_186_800
MODERATOR = Requirement.of_role("moderator")
UNCACHED = ("Cache-Control", "no-store")
UNREFERRED = ("Referrer-Policy", "no-referrer")


class Records:
    """Remembers the refusals that plugins are told of."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @hookimpl
    def rolecall_on_event(self, event):
        if event.name == "access_refused":
            self.told.append((event.code, event.session_id, event.http and event.http.route))


class Votes:
    """Answers every request for a guarded route with one vote; a kit that has a policy decides the long way."""

    def __init__(self, vote) -> None:
        self.vote = vote
        self.asked: list[Any] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append((request.session_id, request.http.route))
        return self.vote


#: The ways to a decision: by the token alone, and by a policy that is asked, too.
WAYS = {"at once": [], "the long way": [Votes(Allow())]}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


@pytest.fixture
def records():
    return Records()


@pytest.fixture
def kit(make_kit, records, way):
    return make_kit(plugins=[records, *way])


@pytest.fixture
def session(kit):
    return kit.create_session()


def asking(authorization: str | None, **fields) -> Request:
    headers = {} if authorization is None else {"authorization": authorization}
    return Request("GET", "/room", {}, headers, **fields)


def entered(kit, authorization, guard=None, session_id=None, **fields):
    """What comes of a request: a grant, a refusal, or None."""
    request = asking(authorization, **fields)
    admitted = admit(kit.api, authorization, guard or Guard(ANY_TOKEN), session_id, lambda: request)
    return drive(admitted) if inspect.iscoroutine(admitted) else admitted


def test_a_token_alone_decides_without_a_coroutine_and_without_the_request(make_kit):
    kit = make_kit()
    session = kit.create_session()
    written = f"Bearer {session.generate_token()}"
    admitted = admit(kit.api, written, Guard(ANY_TOKEN), session.session_id, lambda: pytest.fail("nobody asked for it"))
    assert isinstance(admitted, Grant)
    assert admitted.session_id == session.session_id


@pytest.mark.parametrize(
    "spelling", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}", " Bearer {} ", "\tBearer {}"]
)
def test_a_good_token_enters_however_the_header_is_spelt(kit, session, records, spelling):
    grant = entered(kit, spelling.format(session.generate_token("moderator")), Guard(MODERATOR), session.session_id)
    assert (grant.session_id, grant.role, records.told) == (session.session_id, "moderator", [])


@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "Bearer   {}"])
def test_a_lesser_role_is_refused_however_the_header_is_spelt(kit, session, records, spelling):
    refusal = entered(kit, spelling.format(session.generate_token("publisher")), Guard(MODERATOR), session.session_id)
    assert isinstance(refusal, InsufficientRole)
    assert records.told == [("insufficient_role", session.session_id, "/room")]


@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "Bearer   {}"])
def test_a_token_of_another_session_is_refused_however_the_header_is_spelt(kit, session, records, spelling):
    other = kit.create_session()
    refusal = entered(kit, spelling.format(other.generate_token()), session_id=session.session_id)
    assert isinstance(refusal, WrongSession)
    assert records.told == [("wrong_session", session.session_id, "/room")]


def test_two_tokens_in_one_header_are_none(kit, session):
    token = session.generate_token()
    assert isinstance(entered(kit, f"Bearer {token},{token}"), MalformedCredential)
    assert isinstance(entered(kit, f"Bearer {token},"), MalformedCredential)


def test_a_token_of_a_plugins_format_that_allows_a_comma_is_refused_all_the_same(make_kit, monkeypatch):
    kit = make_kit()
    monkeypatch.setattr(type(kit.api.engine), "check_token", lambda *_: pytest.fail("it was read"))
    assert isinstance(entered(kit, "Bearer a,b"), MalformedCredential)


@pytest.mark.parametrize("authorization", [None, "", "Basic dXNlcjpwYXNz", "Token t"])
def test_a_request_without_a_token_is_refused_and_the_plugins_are_told(kit, records, authorization):
    refusal = entered(kit, authorization, session_id="room")
    assert isinstance(refusal, MissingCredential)
    assert records.told == [("missing_token", "room", "/room")]


@pytest.mark.parametrize("authorization", [None, "", "Basic dXNlcjpwYXNz", "Token t"])
def test_where_the_token_is_optional_nobody_enters_without_a_grant_and_nothing_is_told(kit, records, authorization):
    assert entered(kit, authorization, Guard(ANY_TOKEN, optional=True)) is None
    assert records.told == []


@pytest.mark.parametrize("authorization", ["Bearer x", "bearer x", "Bearer", "Bearer ", "Bearer x,y"])
def test_where_the_token_is_optional_one_that_is_not_good_is_refused(kit, records, authorization):
    refusal = entered(kit, authorization, Guard(ANY_TOKEN, optional=True))
    assert isinstance(refusal, RolecallError)
    assert records.told == [(refusal.code, None, "/room")]


def test_where_the_token_is_optional_a_good_one_makes_a_grant(kit, session):
    grant = entered(kit, f"Bearer {session.generate_token()}", Guard(ANY_TOKEN, optional=True))
    assert grant.session_id == session.session_id


@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "Bearer   {}"])
def test_a_fault_lets_nobody_in_and_says_nothing_of_itself(kit, session, spelling, monkeypatch, caplog):
    written = spelling.format(session.generate_token())

    def fail(*_):
        raise RuntimeError("the innermost secret")

    monkeypatch.setattr("rolecall.stores.memory.MemoryStore.has_ended", fail)
    refusal = entered(kit, written)
    assert (refusal.status, "innermost" in refusal.public_message, "innermost" in str(refusal)) == (500, False, False)
    assert "the innermost secret" in caplog.text


# -- the policies ----------------------------------------------------------------------------------


def test_a_policy_is_asked_about_the_session_that_the_route_names(make_kit):
    votes = Votes(Allow(max_role="subscriber"))
    kit = make_kit(plugins=[votes])
    session = kit.create_session()
    grant = entered(kit, f"Bearer {session.generate_token()}", session_id=session.session_id)
    assert (grant.role, votes.asked) == ("subscriber", [(session.session_id, "/room")])


def test_a_denial_is_the_refusal_and_the_plugins_are_told(make_kit, records):
    kit = make_kit(plugins=[records, Votes(Deny("not now", "class_is_over"))])
    session = kit.create_session()
    refusal = entered(kit, f"Bearer {session.generate_token()}", session_id=session.session_id)
    assert (type(refusal), str(refusal)) == (PolicyDenied, "not now")
    assert records.told == [("class_is_over", session.session_id, "/room")]


# -- the session that an app's own function finds --------------------------------------------------


@pytest.mark.parametrize("finds", [lambda native: native, pytest.param(None, id="async")])
def test_the_session_is_what_the_guards_function_finds_in_the_frameworks_request(kit, session, finds):
    async def finds_later(native):
        return native

    guard = Guard(ANY_TOKEN, session=finds or finds_later)
    written = f"Bearer {session.generate_token()}"
    assert entered(kit, written, guard, native=session.session_id).session_id == session.session_id
    assert isinstance(entered(kit, written, guard, native=kit.create_session().session_id), WrongSession)


def test_a_refusal_for_the_session_that_was_found_names_that_session(kit, session, records):
    guard = Guard(ANY_TOKEN, session=lambda native: native)
    refusal = entered(kit, f"Bearer {kit.create_session().generate_token()}", guard, native=session.session_id)
    assert isinstance(refusal, WrongSession)
    assert records.told == [("wrong_session", session.session_id, "/room")]


def test_where_the_function_finds_no_session_nobody_enters(kit, session, records):
    guard = Guard(ANY_TOKEN, session=lambda native: None)
    assert isinstance(entered(kit, f"Bearer {session.generate_token()}", guard), WrongSession)
    assert records.told == [("wrong_session", None, "/room")]


@pytest.mark.parametrize(
    ("authorization", "error"),
    [(None, MissingCredential), ("Bearer x", InvalidToken), ("Bearer a b", MalformedCredential)],
)
def test_who_has_no_good_token_does_not_get_as_far_as_the_function(kit, records, authorization, error):
    guard = Guard(ANY_TOKEN, session=lambda native: pytest.fail("it was asked"))
    refusal = entered(kit, authorization, guard)
    assert isinstance(refusal, error)
    assert records.told == [(refusal.code, None, "/room")]


def test_who_has_too_little_of_a_token_does_not_get_as_far_as_the_function(kit, session):
    guard = Guard(MODERATOR, session=lambda native: pytest.fail("it was asked"))
    assert isinstance(entered(kit, f"Bearer {session.generate_token('publisher')}", guard), InsufficientRole)


def test_where_the_token_is_optional_the_function_is_not_asked_without_one(kit):
    guard = Guard(ANY_TOKEN, session=lambda native: pytest.fail("it was asked"), optional=True)
    assert entered(kit, None, guard) is None


def test_what_the_function_raises_is_the_frameworks_to_answer(kit, session):
    def fail(native):
        raise LookupError("no such room")

    with pytest.raises(LookupError, match="no such room"):
        entered(kit, f"Bearer {session.generate_token()}", Guard(ANY_TOKEN, session=fail))


def test_a_token_in_the_query_enters_where_it_is_switched_on(make_kit):
    kit = make_kit(web=Web(query="access_token"))
    session = kit.create_session()
    request = Request("GET", "/room", {}, {}, query=f"access_token={session.generate_token()}")
    for guard in (Guard(ANY_TOKEN), Guard(ANY_TOKEN, session=lambda native: session.session_id)):
        grant = drive(admission(kit.api, request, guard, session.session_id))
        assert isinstance(grant, Grant)


# -- the kit's own routes --------------------------------------------------------------------------


def test_a_route_of_the_kits_own_is_entered_with_a_token_for_its_session(kit, session, records):
    request = asking(f"Bearer {session.generate_token('moderator')}")
    assert drive(enter(kit.api, request, MODERATOR, session.session_id)).role == "moderator"
    assert records.told == []


@pytest.mark.parametrize(
    ("role", "named", "error", "code"),
    [
        ("publisher", True, InsufficientRole, "insufficient_role"),
        ("moderator", False, WrongSession, "wrong_session"),
    ],
)
def test_a_route_of_the_kits_own_refuses_and_tells_the_plugins(kit, session, records, role, named, error, code):
    session_id = session.session_id if named else kit.create_session().session_id
    with pytest.raises(error):
        drive(enter(kit.api, asking(f"Bearer {session.generate_token(role)}"), MODERATOR, session_id))
    assert records.told == [(code, session_id, "/room")]


def test_a_policy_is_shown_the_request_for_a_route_of_the_kits_own(make_kit):
    votes = Votes(Allow())
    kit = make_kit(plugins=[votes])
    session = kit.create_session()
    drive(enter(kit.api, asking(f"Bearer {session.generate_token()}"), ANY_TOKEN, session.session_id))
    assert votes.asked == [(session.session_id, "/room")]


def credential(**claims) -> Request:
    """A request of a project's own server."""
    claims = {"iss": API_KEY, "ist": "project", "iat": NOW, "exp": NOW + 180, **claims}
    return Request("POST", "/room", headers={"x-opentok-auth": jwt.encode(claims, API_SECRET, "HS256")})


def test_a_server_enters_with_a_credential_of_its_own_once(kit, records):
    assert drive(enter_as_server(kit.api, credential(jti="a"))) == Server(API_KEY, API_KEY)
    assert drive(enter_as_server(kit.api, credential(jti="b"))) == Server(API_KEY, API_KEY)
    with pytest.raises(InvalidServerCredential) as refused:
        drive(enter_as_server(kit.api, credential(jti="a")))
    assert str(refused.value) == (
        "the request's credential came before, by its jti: make one for each request, and never repeat one"
    )
    assert records.told == [("invalid_server_credential", None, "/room")]


def test_a_credential_without_an_id_may_come_again(kit, records):
    for _ in range(2):
        assert drive(enter_as_server(kit.api, credential())) == Server(API_KEY, API_KEY)
    assert records.told == []


def test_a_server_without_a_credential_is_refused_and_the_plugins_are_told(kit, records):
    with pytest.raises(InvalidServerCredential):
        drive(enter_as_server(kit.api, asking(None)))
    assert records.told == [("invalid_server_credential", None, "/room")]


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("web", [None, Web(), Web(cookie="__Host-rolecall")])
@pytest.mark.parametrize(
    ("present", "added"),
    [
        ([], [UNCACHED]),
        (["Content-Type", "Referrer-Policy"], [UNCACHED]),
        (["Content-Type", "Cache-Control"], []),
        (["cache-control", "Content-Type"], []),
        (["CACHE-CONTROL"], []),
    ],
)
def test_an_answer_of_a_guarded_route_is_not_kept_unless_the_app_says_so(web, present, added):
    own = [(name, "private, no-store") for name in present]
    assert list(headers_to_add(own, web, "access_token=x")) == added


KEPT = ("Cache-Control", "max-age=60")


@pytest.mark.parametrize(
    ("web", "own", "vary"),
    [
        (None, [], "Authorization"),
        (Web(), [], "Authorization"),
        (Web(query="t"), [], "Authorization"),
        (Web(cookie="__Host-rolecall"), [], "Authorization, Cookie"),
        (Web(cookie="__Host-rolecall"), [("vary", "Accept"), ("Vary", "cookie")], "Accept, cookie, Authorization"),
        (Web(), [("Vary", "Accept,AUTHORIZATION")], None),
        (Web(), [("Vary", "*")], None),
        (Web(), [("Cache-Control", "No-Store")], None),
    ],
)
def test_an_answer_that_the_app_lets_caches_keep_is_for_the_bearer_of_its_token(web, own, vary):
    assert list(headers_to_add([KEPT, *own], web, "")) == ([] if vary is None else [("Vary", vary)])


@pytest.mark.parametrize(
    ("present", "query", "added"),
    [
        ([], "access_token=x", [UNCACHED, UNREFERRED]),
        ([], "a=b", [UNCACHED]),
        ([], "", [UNCACHED]),
        (["Cache-Control"], "access_token=x", [UNREFERRED]),
        (["referrer-policy"], "access_token=x", [UNCACHED]),
        (["REFERRER-POLICY", "cache-control"], "access_token=x", []),
    ],
)
def test_an_answer_to_a_url_with_a_token_hides_it_unless_the_app_says_so(present, query, added):
    own = [(name, "no-store") for name in present]
    assert list(headers_to_add(own, Web(query="access_token"), query)) == added


@pytest.mark.parametrize(("query", "hidden"), [("access_token=x", True), ("a=b", False), ("", False)])
def test_a_refusal_of_a_url_with_a_token_hides_it(query, hidden):
    answer = guard_answer(InvalidToken("not good"), Web(query="access_token"), query)
    assert (answer.status, UNREFERRED in answer.headers) == (401, hidden)
    assert UNREFERRED not in guard_answer(InvalidToken("not good"), None, query).headers


def test_a_refusal_that_is_the_servers_fault_is_logged(caplog):
    with caplog.at_level(logging.ERROR, "rolecall"):
        assert guard_answer(RolecallError("the reason"), None, "").status == 500
    assert "the reason" in caplog.text


LATER = Deny("later", status=429, retry_after=60)


@pytest.mark.parametrize(
    ("error", "added"),
    [
        (MissingCredential("no token"), {"WWW-Authenticate": 'Bearer realm="rolecall"'}),
        (LATER.error(), {"Retry-After": "60"}),
        (PolicyDenied("no"), {}),
    ],
)
def test_an_answer_of_the_apps_own_to_a_refusal_says_how_to_come_in_and_when(error, added):
    assert dict(challenges(error, error.status, ["Content-Type"])) == added
    assert challenges(error, 200, []) == []
    assert challenges(error, error.status, ["WWW-AUTHENTICATE", "retry-after"]) == []


def test_one_header_of_the_apps_own_keeps_no_other_away():
    challenge = 'Bearer realm="rolecall"'
    assert challenges(MissingCredential("no token"), 401, ["Retry-After"]) == [("WWW-Authenticate", challenge)]
    assert challenges(LATER.error(), 429, ["WWW-Authenticate"]) == [("Retry-After", "60")]


@pytest.mark.parametrize(
    ("methods", "allowed"),
    [
        (["POST", "GET", "HEAD"], "GET, HEAD, OPTIONS, POST"),
        (["OPTIONS", "GET"], "GET, OPTIONS"),
        ({"GET"}, "GET, OPTIONS"),
    ],
)
def test_an_answer_to_options_lists_the_methods_of_the_route_and_itself(methods, allowed):
    assert options_response(methods) == Response(204, (("Allow", allowed),))


@pytest.mark.parametrize("methods", [None, []])
def test_an_answer_to_options_lists_no_methods_that_are_not_known(methods):
    assert options_response(methods) == Response(204)
