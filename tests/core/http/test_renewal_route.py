"""The route that renews a token: by the header, and by a cookie with its proof."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rolecall import Actor, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.errors import StoreUnavailable
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.http.web import Web
from rolecall.policies import AllowAnyone, AllowRenewal
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore

from ...conftest import NOW

COOKIE = "__Host-rolecall"
FIVE = timedelta(minutes=5)
ANSWER = ["session_id", "role", "capabilities", "issued_at", "expires_at", "expires_in", "data"]


class Login:
    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        user = request.headers.get("x-user")
        return None if user is None else Actor(user)


@pytest.fixture
def kit(make_kit: Any) -> Rolecall:
    return make_kit(web=Web(cookie=COOKIE, query="access_token"), plugins=[AllowRenewal(), AllowAnyone(), Login()])


@pytest.fixture
def token(kit: Rolecall) -> str:
    return kit.create_session().generate_token("moderator", FIVE, "name=Ada", actor="ada")


def ask(kit: Rolecall, token: str, body: object, at: str | None = None, query: str = "", **headers: str) -> Response:
    """The answer to a request for a token, of the session of ``token`` unless said otherwise."""
    path = f"/sessions/{at or kit.verify_token(token).session_id}/tokens"
    found = find_route(ROUTES, path)
    assert found is not None
    sent = {name.replace("_", "-"): text for name, text in headers.items()} | {"content-type": "application/json"}
    return drive(
        respond(kit.api, found[0], Request("POST", path, found[1], sent, json.dumps(body).encode(), query=query))
    )


def code_of(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


def by_header(kit: Rolecall, token: str, **body: Any) -> Response:
    return ask(kit, token, {"renew": True, **body}, authorization=f"Bearer {token}")


def by_cookie(kit: Rolecall, token: str, proof: str | None, **body: Any) -> Response:
    proofs = {} if proof is None else {"x_csrf_token": proof}
    return ask(kit, token, {"renew": True, **body}, cookie=f"{COOKIE}={token}", **proofs)


def cookies_of(answer: Response) -> dict[str, str]:
    pairs = (text.partition(";")[0].partition("=") for name, text in answer.headers if name == "Set-Cookie")
    return {name: value for name, _, value in pairs}


def test_the_bearer_of_a_token_gets_the_next_one(kit, token, clock):
    clock.now += 240
    answer = by_header(kit, token)
    body = json.loads(answer.body)
    assert (answer.status, list(body)) == (201, ["token", *ANSWER])
    grant = kit.verify_token(body["token"])
    assert (grant.role, grant.actor_id, grant.data) == ("moderator", "ada", "name=Ada")
    assert (body["role"], body["data"], body["issued_at"]) == ("moderator", "name=Ada", NOW + 240)
    assert (body["expires_at"], body["expires_in"]) == (NOW + 540, 300)
    assert ("Cache-Control", "no-store") in answer.headers
    assert cookies_of(answer) == {}


def test_the_body_may_ask_for_less(kit, token):
    body = json.loads(by_header(kit, token, role="subscriber", expires_in=60).body)
    assert (body["role"], body["expires_in"]) == ("subscriber", 60)


def test_a_first_token_says_for_how_long_it_is_good_too(kit, token):
    answer = ask(kit, token, {"expires_in": 90})
    assert json.loads(answer.body)["expires_in"] == 90


def test_a_token_alone_renews_nothing(kit, token):
    # Clients may send it with each request, and a browser sends the cookie with each.
    for headers in ({"authorization": f"Bearer {token}"}, {"cookie": f"{COOKIE}={token}"}):
        for body in ({}, {"renew": False}):
            answer = ask(kit, token, {**body, "role": "subscriber"}, **headers)
            assert kit.verify_token(json.loads(answer.body)["token"]).actor_id is None


def test_who_may_get_a_first_token_anyway_still_needs_a_policy_that_renews(make_kit, token):
    kit = make_kit(plugins=[AllowAnyone("moderator")])
    old = kit.create_session().generate_token("subscriber", FIVE, actor="ada")
    assert ask(kit, old, {}).status == 201
    assert code_of(by_header(kit, old)) == (403, "policy_denied")


def test_without_a_good_token_nothing_is_renewed(kit, token, clock):
    session_id, other = kit.verify_token(token).session_id, kit.create_session().session_id
    renew = {"renew": True}
    bearer = f"Bearer {token}"
    assert code_of(ask(kit, token, renew)) == (401, "missing_token")
    assert code_of(ask(kit, token, renew, authorization="Basic eDp5")) == (401, "missing_token")
    assert code_of(ask(kit, token, renew, authorization=bearer[:-4] + "AAAA")) == (401, "bad_signature")
    assert code_of(ask(kit, token, renew, other, authorization=bearer)) == (403, "wrong_session")
    assert code_of(ask(kit, token, renew, authorization=bearer, cookie=f"{COOKIE}={token}")) == (
        400,
        "malformed_credential",
    )
    clock.now += 301
    answer = ask(kit, token, renew, session_id, authorization=bearer)
    assert code_of(answer) == (401, "expired_token")
    assert 'error="invalid_token"' in dict(answer.headers)["WWW-Authenticate"]


@pytest.mark.parametrize("value", ["true", 1, None, {}])
def test_renew_is_true_or_false(kit, token, value):
    answer = ask(kit, token, {"renew": value}, authorization=f"Bearer {token}")
    assert code_of(answer) == (400, "invalid_request")
    assert json.loads(answer.body)["detail"].startswith("renew is ")


def test_the_login_of_somebody_else_renews_nothing(kit, token):
    headers = {"authorization": f"Bearer {token}"}
    assert code_of(ask(kit, token, {"renew": True}, x_user="eve", **headers)) == (403, "wrong_actor")
    assert ask(kit, token, {"renew": True}, x_user="ada", **headers).status == 201


def test_whoever_is_excluded_renews_nothing(kit, token):
    kit_token = kit.verify_token(token)
    kit.exclude(kit_token.session_id, "ada")
    answer = ask(kit, token, {"renew": True}, kit_token.session_id, authorization=f"Bearer {token}")
    assert code_of(answer) == (401, "revoked_token")


def test_a_second_renewal_in_a_quarter_is_answered_429(kit, token, clock):
    assert by_header(kit, token).status == 201
    clock.now += 5
    answer = by_header(kit, token)
    assert code_of(answer) == (429, "renewed_already")
    assert dict(answer.headers)["Retry-After"] == "70"
    clock.now += 70
    assert by_header(kit, token).status == 201


def test_a_store_out_of_reach_is_answered_503(make_kit):
    class Full(MemoryStore):
        def use_once(self, name: str, until: float, now: float) -> bool:
            raise StoreUnavailable("the disk is full")

    kit = make_kit(plugins=[AllowRenewal()], store=Full())
    old = kit.create_session().generate_token("publisher", FIVE, actor="ada")
    assert code_of(by_header(kit, old)) == (503, "store_unavailable")


# -- in a cookie -----------------------------------------------------------------------------------


def test_a_cookie_is_renewed_as_a_cookie_with_a_new_proof(kit, token, clock):
    clock.now += 240
    answer = by_cookie(kit, token, kit.api.credentials.csrf_token(token))
    body, cookies = json.loads(answer.body), cookies_of(answer)
    assert (answer.status, list(body)) == (201, ["csrf_token", *ANSWER])
    new = cookies[COOKIE]
    assert kit.verify_token(new).token_id != kit.verify_token(token).token_id
    assert body["csrf_token"] == cookies[f"{COOKIE}-csrf"] == kit.api.credentials.csrf_token(new)
    assert "Max-Age=300" in next(text for name, text in answer.headers if name == "Set-Cookie")
    clock.now += 240
    assert by_cookie(kit, new, body["csrf_token"]).status == 201


def test_scripts_cannot_have_a_cookies_token(kit, token):
    proof = kit.api.credentials.csrf_token(token)
    answer = by_cookie(kit, token, proof, cookie=False)
    assert code_of(answer) == (400, "invalid_request")
    assert "where it stays" in json.loads(answer.body)["detail"]
    assert "token" not in json.loads(by_cookie(kit, token, proof, cookie=True).body)


@pytest.mark.parametrize("proof", [None, "", "wrong"])
def test_a_cookie_without_its_proof_renews_nothing(kit, token, proof):
    answer = by_cookie(kit, token, proof)
    assert code_of(answer) == (403, "csrf_failed")
    assert cookies_of(answer) == {}


def test_the_proof_of_the_token_before_is_none_of_the_new_one(kit, token, clock):
    proof = kit.api.credentials.csrf_token(token)
    clock.now += 240
    new = cookies_of(by_cookie(kit, token, proof))[COOKIE]
    clock.now += 240
    assert code_of(by_cookie(kit, new, proof)) == (403, "csrf_failed")


def test_a_token_in_the_header_may_become_a_cookie(kit, token):
    answer = by_header(kit, token, cookie=True)
    assert kit.verify_token(cookies_of(answer)[COOKIE]).actor_id == "ada"
    assert "token" not in json.loads(answer.body)


def test_a_cookie_may_be_renewed_as_often_as_it_lasts(make_kit, clock):
    kit = make_kit(web=Web(cookie=COOKIE), plugins=[AllowRenewal()])
    token = kit.create_session().generate_token("publisher", FIVE, "x" * 1000, actor="ada")
    lengths = []
    for _ in range(4):
        lengths.append(len(kit.verify_token(token).token_id))
        clock.now += 240
        token = cookies_of(by_cookie(kit, token, kit.api.credentials.csrf_token(token)))[COOKIE]
    # The moment of the first issue makes it longer, once.
    assert lengths == [34, 45, 45, 45]
