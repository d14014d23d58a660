"""Exclusions and resets over HTTP: who may, whom a path and a body can name, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from rolecall import Deny, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.errors import RevokedToken
from rolecall.http.api.routing import find_route
from rolecall.http.api.taking_back import TAKING_BACK_ROUTES
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.request import Request

from ... import own_tokens
from ...own_tokens import pem

NOW = 1_795_186_800.0
KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
OTHER_KEY, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"

Headers = dict[str, str]


class House:
    """Carries the media of sessions, denies what it is told to, and keeps what it hears."""

    def __init__(self, denied: str = "") -> None:
        self.denied = denied
        self.events: list[Any] = []
        self.left: list[str] = []

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return Deny("not here") if request.act.name == self.denied else None

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    def disconnect_actor(self, session_id: str, actor_id: str) -> None:
        self.left.append(actor_id)

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


@pytest.fixture
def kit(make_kit) -> Rolecall:
    return make_kit(projects={OTHER_KEY: OTHER_SECRET})


@pytest.fixture
def session(kit):
    return kit.create_session()


def server(key: str = KEY, secret: str = SECRET, **claims: Any) -> Headers:
    payload = {"iss": key, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 180, **claims}
    return {"x-opentok-auth": jwt.encode(payload, secret, "HS256")}


def application(**claims: Any) -> Headers:
    payload = {"application_id": APPLICATION, "iat": int(NOW), "exp": int(NOW) + 180, **claims}
    return bearer(jwt.encode(payload, own_tokens.private("RS256"), "RS256"))


def bearer(token: str) -> Headers:
    return {"authorization": f"Bearer {token}"}


def ask(kit: Rolecall, method: str, path: str, headers: Headers, body: Any = None) -> Response:
    """The answer to a request; ``path`` is what follows ``/sessions/``, decoded."""
    found = find_route(TAKING_BACK_ROUTES, f"/sessions/{path}")
    assert found is not None
    route, params = found
    data = b"" if body is None else json.dumps(body).encode()
    sent = headers if body is None else {**headers, "content-type": "application/json"}
    return drive(respond(kit.api, route, Request(method, "/", params, sent, data)))


def problem_of(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


def stands(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RevokedToken:
        return False
    return True


# -- exclusions ------------------------------------------------------------------------------------


def by_path(kit: Rolecall, session_id: str, actor: str, headers: Headers, **body: Any) -> Response:
    return ask(kit, "PUT", f"{session_id}/exclusions/{actor}", headers, body or None)


def by_body(kit: Rolecall, session_id: str, actor: str, headers: Headers, **body: Any) -> Response:
    return ask(kit, "POST", f"{session_id}/exclusions", headers, {"actor": actor, **body})


WAYS = pytest.mark.parametrize("exclude", [by_path, by_body])


@WAYS
@pytest.mark.parametrize("who", ["moderator", "server"])
def test_an_actor_is_excluded_and_readmitted(kit, session, exclude, who):
    headers = server() if who == "server" else bearer(session.generate_token("moderator"))
    ada, ben = (session.generate_token(actor=name) for name in ("ada", "ben"))
    answer = exclude(kit, session.session_id, "ada", headers)
    expected = {"session_id": session.session_id, "actor_id": "ada", "until": None, "disconnected": False}
    assert (answer.status, json.loads(answer.body)) == (200, expected)
    assert (stands(kit, ada), stands(kit, ben)) == (False, True)
    assert exclude(kit, session.session_id, "ada", headers).body == answer.body
    way = "readmissions" if exclude is by_body else "exclusions/ada"
    method, body = ("POST", {"actor": "ada"}) if exclude is by_body else ("DELETE", None)
    for _ in range(2):
        answer = ask(kit, method, f"{session.session_id}/{way}", headers, body)
        assert (answer.status, answer.body) == (204, b"")
        assert stands(kit, ada)


@WAYS
@pytest.mark.parametrize(
    ("body", "until"),
    [
        ({}, None),
        ({"until": None}, None),
        ({"expires_in": None}, None),
        ({"until": NOW + 60}, NOW + 60),
        ({"expires_in": 60}, NOW + 60),
        ({"expires_in": 60, "until": None}, NOW + 60),
    ],
)
def test_an_exclusion_ends_when_it_is_said(kit, session, clock, exclude, body, until):
    token = session.generate_token(actor="ada")
    answer = exclude(kit, session.session_id, "ada", server(), **body)
    assert json.loads(answer.body)["until"] == until
    assert not stands(kit, token)
    clock.now += 60
    assert stands(kit, token) == (until is not None)


@WAYS
@pytest.mark.parametrize(
    "body",
    [
        {"until": NOW + 60, "expires_in": 60},
        {"until": "tomorrow"},
        {"until": True},
        {"until": NOW * 1000},
        {"until": 0},
        {"expires_in": 0},
        {"expires_in": "60"},
        {"expires_in": True},
        {"expires_in": 1e10},
        {"ends": 1},
    ],
)
def test_an_end_that_is_none_is_refused(kit, session, exclude, body):
    token = session.generate_token(actor="ada")
    assert problem_of(exclude(kit, session.session_id, "ada", server(), **body)) == (400, "invalid_request")
    assert stands(kit, token)


#: Ids of actors that a path names, and those that some server, proxy or router would read otherwise.
IN_PATH = ["ada", "bob@example.org", "auth0|123", "Zoë", "a:b", "a,b", "..a", "x" * 255]
NOT_IN_PATH = [
    "a/b",
    "a\\b",
    "a;b",
    "a?b",
    "a#b",
    "a%2Fb",
    "Ada Lovelace",
    "<b>",
    '"',
    ".",
    "..",
    "/",
    "exclusions/x",
]


@pytest.mark.parametrize("actor", IN_PATH + NOT_IN_PATH)
def test_every_actor_is_named_in_a_body(kit, session, actor):
    token = session.generate_token(actor=actor)
    answer = by_body(kit, session.session_id, actor, server())
    assert (answer.status, json.loads(answer.body)["actor_id"]) == (200, actor)
    assert not stands(kit, token)
    assert ask(kit, "POST", f"{session.session_id}/readmissions", server(), {"actor": actor}).status == 204
    assert stands(kit, token)


@pytest.mark.parametrize("actor", IN_PATH)
def test_most_actors_are_named_in_a_path(kit, session, actor):
    token = session.generate_token(actor=actor)
    assert by_path(kit, session.session_id, actor, server()).status == 200
    assert not stands(kit, token)
    assert ask(kit, "DELETE", f"{session.session_id}/exclusions/{actor}", server()).status == 204
    assert stands(kit, token)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("actor", [name for name in NOT_IN_PATH if "/" not in name])
def test_whom_a_path_cannot_name_is_told_to_come_in_a_body(kit, session, method, actor):
    answer = ask(kit, method, f"{session.session_id}/exclusions/{actor}", server())
    assert problem_of(answer) == (400, "invalid_request")
    assert "…/exclusions" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize("actor", [None, "", 1, ["ada"], {"id": "ada"}, "x" * 256, " ada", "a\u200b", "Zoe\u0308"])
@pytest.mark.parametrize("route", ["exclusions", "readmissions"])
def test_nobody_of_an_id_that_is_none_is_excluded_or_readmitted(kit, session, route, actor):
    answer = ask(kit, "POST", f"{session.session_id}/{route}", server(), {"actor": actor})
    assert problem_of(answer) == (400, "invalid_actor")


@WAYS
def test_an_id_in_another_spelling_is_refused_in_the_path_too(kit, session, exclude):
    answer = exclude(kit, session.session_id, "Zoe\u0308", server())
    assert problem_of(answer) == (400, "invalid_actor")


@WAYS
def test_where_tokens_do_not_say_for_whom_they_are_nobody_is_excluded(make_kit, exclude):
    kit = make_kit(actor_claim=False)
    session_id = kit.create_session().session_id
    assert problem_of(exclude(kit, session_id, "ada", server())) == (409, "not_taken_back")


def test_a_moderator_who_is_excluded_readmits_nobody_and_nobody_readmits_himself(kit, session):
    moderator = bearer(session.generate_token("moderator", actor="ada"))
    readmit = f"{session.session_id}/exclusions/ada"
    assert problem_of(ask(kit, "DELETE", readmit, moderator)) == (403, "forbidden")
    session.exclude("ada")
    assert problem_of(ask(kit, "DELETE", readmit, moderator)) == (401, "revoked_token")


# -- resets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["moderator", "server"])
def test_a_session_is_reset(kit, session, who):
    headers = server() if who == "server" else bearer(session.generate_token("moderator"))
    old = session.generate_token()
    answer = ask(kit, "POST", f"{session.session_id}/reset", headers)
    expected = {"session_id": session.session_id, "epoch": int(NOW) * 1000, "not_before": int(NOW) + 1}
    assert (answer.status, json.loads(answer.body)) == (200, expected)
    assert (stands(kit, old), stands(kit, session.generate_token())) == (False, True)


def test_a_reset_that_is_repeated_with_its_epoch_revokes_nothing_more(kit, session, clock):
    path = f"{session.session_id}/reset"
    first = json.loads(ask(kit, "POST", path, server(), {"epoch": 0}).body)
    clock.now += 1
    token = session.generate_token()
    assert json.loads(ask(kit, "POST", path, server(), {"epoch": 0}).body) == first
    assert stands(kit, token)
    again = json.loads(ask(kit, "POST", path, server(), {"epoch": first["epoch"]}).body)
    assert again["epoch"] > first["epoch"]
    assert not stands(kit, token)


@pytest.mark.parametrize("body", [{"epoch": -1}, {"epoch": "1"}, {"epoch": 1.5}, {"epoch": True}, {"epochs": 1}, []])
def test_an_epoch_that_is_none_is_refused(kit, session, body):
    token = session.generate_token()
    answer = ask(kit, "POST", f"{session.session_id}/reset", server(), body)
    assert problem_of(answer) == (400, "invalid_request")
    assert stands(kit, token)


# -- who may ---------------------------------------------------------------------------------------

#: Every operation: method, path below the session, body.
OPERATIONS: dict[str, tuple[str, str, Any]] = {
    "exclude": ("PUT", "exclusions/ada", None),
    "exclude by body": ("POST", "exclusions", {"actor": "ada"}),
    "readmit": ("DELETE", "exclusions/ada", None),
    "readmit by body": ("POST", "readmissions", {"actor": "ada"}),
    "reset": ("POST", "reset", None),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


def carry_out(kit: Rolecall, operation: str, session_id: str, headers: Headers) -> Response:
    method, path, body = OPERATIONS[operation]
    return ask(kit, method, f"{session_id}/{path}", headers, body)


@each_operation
@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("nobody", (401, "missing_token")),
        ("publisher", (403, "insufficient_role")),
        ("of another session", (403, "wrong_session")),
        ("garbage", (401, "malformed_token")),
        ("forged", (403, "invalid_server_credential")),
        ("another project's", (403, "invalid_server_credential")),
        ("server and token", (403, "invalid_server_credential")),
        ("token as a server", (403, "invalid_server_credential")),
        ("server as a token", (401, "wrong_token_kind")),
        ("basic", (401, "missing_token")),
    ],
)
def test_nobody_else_may(kit, session, operation, name, refusal):
    token, other = session.generate_token(), kit.create_session()
    moderator = session.generate_token("moderator")
    headers = {
        "nobody": {},
        "publisher": bearer(token),
        "of another session": bearer(other.generate_token("moderator")),
        "garbage": bearer("garbage"),
        "forged": server(secret="f" * 40),
        "another project's": server(OTHER_KEY, OTHER_SECRET),
        "server and token": server() | bearer(moderator),
        "token as a server": {"x-opentok-auth": moderator},
        "server as a token": bearer(server()["x-opentok-auth"]),
        "basic": {"authorization": "Basic MTIzNDU2OjJkZjk1ZTlmZGFjMTQ1MDJlOGEyN2E5ZDhhNzFlODdlZjY0YTUwMmU="},
    }[name]
    assert problem_of(carry_out(kit, operation, session.session_id, headers)) == refusal
    assert stands(kit, token)


@each_operation
def test_an_application_s_server_and_its_moderators_may_and_are_told_apart(make_kit, operation):
    kit = make_kit(application_id=APPLICATION, private_key=pem("RS256"), accept=["opentok", "vonage"], format="vonage")
    session = kit.create_session()
    granted = 204 if operation.startswith("readmit") else 200
    assert carry_out(kit, operation, session.session_id, application()).status == granted
    assert carry_out(kit, operation, session.session_id, server()).status == granted
    token = session.generate_token("moderator")
    assert carry_out(kit, operation, session.session_id, bearer(token)).status == granted
    publisher = bearer(session.generate_token("publisher"))
    assert problem_of(carry_out(kit, operation, session.session_id, publisher)) == (403, "insufficient_role")
    for claims in ({"role": "moderator"}, {"session_id": session.session_id}, {"scope": "session.connect"}):
        answer = carry_out(kit, operation, session.session_id, application(**claims))
        assert answer.status == 401
    both = application() | server()
    assert problem_of(carry_out(kit, operation, session.session_id, both)) == (403, "invalid_server_credential")
    for bad in ("Bearer a b", "Bearer", "Bearer x.y"):
        assert carry_out(kit, operation, session.session_id, {"authorization": bad}).status in (400, 401)


@each_operation
def test_a_server_s_credential_is_good_once(kit, session, operation):
    once = server(jti="once")
    assert carry_out(kit, operation, session.session_id, once).status in (200, 204)
    assert problem_of(carry_out(kit, operation, session.session_id, once)) == (403, "invalid_server_credential")


@each_operation
@pytest.mark.parametrize("session_id", ["x", "1_MX4"])
def test_an_id_that_is_no_session_s_is_refused(kit, operation, session_id):
    answer = carry_out(kit, operation, session_id, server())
    assert problem_of(answer) == (400, "invalid_session_id")


@each_operation
@pytest.mark.parametrize("who", ["moderator", "server"])
def test_policies_vote_whoever_asks(make_kit, operation, who):
    name = {"reset": "reset_session"}.get(operation, operation.partition(" ")[0])
    kit = make_kit(plugins=[House(name)])
    session = kit.create_session()
    headers = server() if who == "server" else bearer(session.generate_token("moderator"))
    assert problem_of(carry_out(kit, operation, session.session_id, headers)) == (403, "policy_denied")


@each_operation
def test_plugins_hear_of_it(make_kit, operation):
    house = House()
    kit = make_kit(plugins=[house])
    session = kit.create_session()
    moderator = session.generate_token("moderator", actor="mod")
    house.events.clear()
    carry_out(kit, operation, session.session_id, bearer(moderator))
    carry_out(kit, operation, session.session_id, server())
    names = [(event.name, event.target, event.actor_id, event.http is None) for event in house.events]
    target = None if operation == "reset" else "ada"
    assert names == [("moderated", target, "mod", False), ("moderated", target, None, True)]


def test_a_media_service_that_knows_whose_connections_are_whose_ends_them(make_kit):
    house = House()
    kit = make_kit(plugins=[house])
    session_id = kit.create_session().session_id
    answer = by_path(kit, session_id, "ada", server())
    assert json.loads(answer.body)["disconnected"] is True
    assert house.left == ["ada"]


@each_operation
def test_a_verifier_takes_nothing_back(operation):
    with own_tokens.issuing() as issuer:
        verifier = Rolecall.verifier(own_tokens.jwks(issuer), issuer=own_tokens.ISSUER)
        session = issuer.create_session()
        token = session.generate_token("moderator")
        answer = carry_out(verifier, operation, session.session_id, bearer(token))
        assert problem_of(answer) == (501, "only_verifies")
        verifier.close()
