"""Whoever was excluded tries to come back: one test for each way that the kit closes.

The page ``docs/threat-model.md`` lists all ways, and those that the kit cannot close; ``tests/docs/test_promises.py``
holds that list to these tests.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from rolecall import Actor, AsyncRolecall, Rolecall, Web, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.engine.renewing import Wishes
from rolecall.errors import (
    Excluded,
    Forbidden,
    InvalidActor,
    NotTakenBack,
    RevokedToken,
    RolecallError,
    StoreUnavailable,
    WrongActor,
)
from rolecall.http.api.oauth import OAUTH_ROUTES
from rolecall.http.api.rest import ROUTES
from rolecall.http.api.routing import find_route
from rolecall.http.api.taking_back import TAKING_BACK_ROUTES
from rolecall.http.messages import Response
from rolecall.http.respond import respond
from rolecall.moderation import Exclude, ForceDisconnect, Readmit
from rolecall.policies import AllowAnyone, AllowRenewal
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore

from .. import own_tokens
from ..conftest import NOW
from ..sdk_tokens import API_KEY, API_SECRET
from ..waiting import PATIENCE, soon

COOKIE = "__Host-rolecall"
HOUR = 3600
EVERY_ROUTE = (*ROUTES, *TAKING_BACK_ROUTES, *OAUTH_ROUTES)


class House:
    """An app: it knows its users, lets everybody get and renew tokens, and counts the votes that it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.during_the_vote: Callable[[], object] = lambda: None

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        user = request.headers.get("x-user")
        return None if user is None else Actor(user)

    @hookimpl
    def rolecall_vote_token(self, request: Any) -> None:
        self.asked += 1
        self.during_the_vote()


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def kit(make_kit, house) -> Rolecall:
    return make_kit(web=Web(cookie=COOKIE), plugins=[house, AllowAnyone("moderator"), AllowRenewal()])


@pytest.fixture
def session(kit) -> Any:
    return kit.create_session()


@pytest.fixture
def ada(session) -> str:
    """A token of Ada's, who is a moderator and will be excluded."""
    return session.generate_token("moderator", actor="ada")


def stands(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RevokedToken:
        return False
    return True


def code_of_call(call: Callable[..., object], *arguments: object) -> str | None:
    try:
        call(*arguments)
    except RolecallError as error:
        return error.code
    return None


def ask(kit: Rolecall, method: str, path: str, body: Any = None, **headers: str) -> Response:
    found = find_route(EVERY_ROUTE, path)
    assert found is not None
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if isinstance(body, dict):
        sent["content-type"], body = "application/json", json.dumps(body)
    elif body is not None:
        sent["content-type"] = "application/x-www-form-urlencoded"
    return drive(respond(kit.api, found[0], Request(method, path, found[1], sent, (body or "").encode())))


def code_of(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


def sdk_token(session_id: str) -> str:
    """A token as an SDK mints it, with the project's own secret."""
    claims = {"iss": API_KEY, "ist": "project", "scope": "session.connect", "session_id": session_id, "nonce": 1}
    times = {"iat": int(NOW), "exp": int(NOW) + HOUR}
    return jwt.encode({**claims, "role": "publisher", **times}, API_SECRET, "HS256")


# -- with a token of before ------------------------------------------------------------------------


def test_the_old_token_is_refused_at_once(kit, session, ada):
    session.exclude("ada")
    assert not stands(kit, ada)


def test_a_token_of_another_role_or_format_is_refused_too(make_kit):
    options = {"issuer": own_tokens.ISSUER, "private_key": own_tokens.pem(), "accept": ["jwt", "opentok"]}
    store = MemoryStore()
    kits = [make_kit(store=store, format=form, **options) for form in ("jwt", "opentok")]
    session = kits[0].create_session()
    tokens = [kit.generate_token(session, role, actor="ada") for kit in kits for role in ("subscriber", "moderator")]
    kits[0].exclude(session, "ada")
    assert [stands(kit, token) for kit in kits for token in tokens] == [False] * 8


def test_where_no_token_names_its_actor_an_exclusion_is_refused_and_not_feigned(make_kit):
    kit = make_kit(actor_claim=False)
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    with pytest.raises(NotTakenBack, match="reset the session"):
        session.exclude("ada")
    session.reset()
    assert not stands(kit, token)


def test_a_remembered_token_is_refused(kit, session, ada):
    for _ in range(3):
        kit.verify_token(ada)
    session.exclude("ada")
    assert not stands(kit, ada)


def test_a_token_in_a_cookie_is_refused(kit, session, ada):
    def status() -> int:
        return ask(kit, "GET", f"/sessions/{session.session_id}", cookie=f"{COOKIE}={ada}").status

    assert status() == 200
    session.exclude("ada")
    assert status() == 401


def test_what_is_open_is_closed_when_it_is_looked_at_again(kit, session, ada):
    grant = kit.verify_token(ada)
    session.exclude("ada")
    with pytest.raises(RevokedToken):
        kit.check_grant(grant)


def test_whoever_holds_a_socket_himself_is_told_of_the_end(kit, session, ada):
    grant = kit.verify_token(ada)
    assert kit.wait_until_ended(grant, 0) is None
    session.exclude("ada")
    assert isinstance(kit.wait_until_ended(grant, 60), RevokedToken)


def test_the_token_of_a_moderator_is_of_no_use_to_a_friend(kit, session, ada):
    grant = kit.verify_token(ada)
    session.exclude("ada")
    for act in (Exclude(session.session_id, "ben"), ForceDisconnect(session.session_id, "c-ben")):
        with pytest.raises(RevokedToken):
            drive(kit.engine.moderate(act, grant, Call(Request("POST", "/"))))


# -- with a new token ------------------------------------------------------------------------------


def test_the_excluded_renew_nothing_and_no_policy_is_asked(kit, session, ada, house):
    session.exclude("ada")
    answer = ask(kit, "POST", f"/sessions/{session.session_id}/tokens", {"renew": True}, authorization=f"Bearer {ada}")
    assert code_of(answer) == (401, "revoked_token")
    with pytest.raises(RevokedToken):
        kit.renew_token(ada)
    assert house.asked == 1  # for the first token


def test_no_way_of_asking_gets_the_excluded_a_new_token(kit, session, house):
    session.exclude("ada")
    for actor in ("ada", Actor("ada", {"groups": ["staff"]})):
        with pytest.raises(Excluded):
            kit.generate_token(session, actor=actor)
    answer = ask(kit, "POST", f"/sessions/{session.session_id}/tokens", {}, x_user="ada")
    assert code_of(answer) == (403, "excluded")
    assert house.asked == 0


def test_async_code_gets_none_either(kit, session):
    session.exclude("ada")

    async def ask_for_one(aio: AsyncRolecall) -> None:
        with pytest.raises(Excluded):
            await aio.generate_token(session, actor="ada")

    drive(ask_for_one(kit.aio))


def test_a_token_that_was_asked_for_before_the_exclusion_is_not_minted_after_it(kit, session, house):
    house.during_the_vote = lambda: session.exclude("ada")
    with pytest.raises(Excluded):
        session.generate_token(actor="ada")


def test_nobody_chooses_his_own_id(kit, session):
    session.exclude("ada")
    body = {"actor": "somebody-else"}
    answer = ask(kit, "POST", f"/sessions/{session.session_id}/tokens", body, x_user="ada")
    assert code_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    "spelling", ["zoë ", " zoë", "zoe\u0308", "zo\u00eb\u200b", "zo\u00eb\0", "\u2066zoë", "zoë\n"]
)
def test_another_spelling_of_an_id_is_nobody_s(kit, session, spelling):
    session.exclude("zoë")
    with pytest.raises(InvalidActor):
        session.generate_token(actor=spelling)
    answer = ask(kit, "POST", f"/sessions/{session.session_id}/tokens", {}, x_user=spelling)
    assert answer.status == 503  # what the login says is nobody's id, so it is a fault of the plugin


def test_the_id_of_a_login_counts_and_not_the_one_that_a_token_is_for(kit, session, ada):
    """A helper who renews for Ada is not Ada, and Ada with a helper's token is not the helper."""
    helpers = session.generate_token(actor="helper")
    for user, token in (("helper", ada), ("ada", helpers)):
        with pytest.raises(WrongActor):
            renew(kit, token, session.session_id, user)
    session.exclude("ada")
    with pytest.raises(RevokedToken):
        renew(kit, ada, session.session_id, "helper")


def renew(kit: Rolecall, token: str, session_id: str, user: str) -> object:
    call = Call(Request("POST", "/", headers={"x-user": user}))
    return drive(kit.engine.renew_token(lambda: (token, None), session_id, Wishes(), call))


# -- tokens that name nobody -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "mint", [lambda session: session.generate_token(), lambda session: sdk_token(session.session_id)]
)
def test_what_names_nobody_outlasts_an_exclusion_and_no_reset(kit, session, mint):
    token = mint(session)
    session.exclude("ada")
    assert stands(kit, token)
    session.reset()
    assert not stands(kit, token)


def test_an_anonymous_token_is_revoked_by_its_id(kit, session):
    token, other = session.generate_token(), session.generate_token()
    kit.revoke_token(session_id=session, token_id=kit.verify_token(token).token_id)
    assert [stands(kit, token), stands(kit, other)] == [False, True]


# -- by other rooms --------------------------------------------------------------------------------


def test_another_session_of_the_same_room_takes_an_actor_whose_tokens_were_revoked_no_more(kit, session, ada):
    second = kit.create_session()
    elsewhere = second.generate_token(actor="ada")
    session.exclude("ada")
    assert stands(kit, elsewhere)  # an exclusion is for one session
    kit.revoke_actor("ada")
    assert not stands(kit, elsewhere)
    second.exclude("ada")
    with pytest.raises(Excluded):
        second.generate_token(actor="ada")


# -- by the exclusion itself -----------------------------------------------------------------------


def test_an_excluded_moderator_readmits_nobody_and_nobody_readmits_himself(kit, session, ada, clock):
    grant = kit.verify_token(ada)
    session.exclude("ada", until=NOW + 1)
    readmission = Readmit(session.session_id, "ada")
    with pytest.raises(RevokedToken):
        drive(kit.engine.moderate(readmission, grant, Call(Request("POST", "/"))))
    clock.now += 1
    with pytest.raises(Forbidden, match="nobody readmits himself"):
        drive(kit.engine.moderate(readmission, grant, Call(Request("POST", "/"))))


def test_of_two_exclusions_the_later_end_counts_and_a_readmission_ends_both(kit, session, ada, clock):
    session.exclude("ada", until=NOW + 2 * HOUR)
    session.exclude("ada", until=NOW + HOUR)
    clock.now += 2 * HOUR - 1
    assert not stands(kit, ada)
    session.readmit("ada")
    assert stands(kit, ada)
    session.exclude("ada", until=timedelta(hours=1))
    assert not stands(kit, ada)


def test_a_clock_that_is_set_back_ends_no_exclusion(kit, session, ada, clock):
    clock.now += 60
    session.exclude("ada", until=clock.now + HOUR)
    clock.now -= 60
    assert not stands(kit, ada)
    clock.now += HOUR + 59
    assert not stands(kit, ada)


def test_an_exclusion_that_is_repeated_changes_nothing(kit, session, ada):
    path, headers = f"/sessions/{session.session_id}/exclusions/ada", {"x_opentok_auth": ""}
    answers = []
    for number in range(2):
        claims = {"iss": API_KEY, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 60, "jti": f"{number}"}
        headers["x_opentok_auth"] = jwt.encode(claims, API_SECRET, "HS256")
        answers.append(ask(kit, "PUT", path, {"until": NOW + HOUR}, **headers))
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    assert not stands(kit, ada)


def test_after_a_restored_backup_an_exclusion_is_made_again(make_kit):
    lost, kept = make_kit(store=MemoryStore()), make_kit(store=MemoryStore())
    session = lost.create_session()
    token = lost.generate_token(session, actor="ada")
    lost.exclude(session, "ada")
    assert stands(kept, token)  # the store of before knows nothing of it
    for _ in range(2):
        kept.exclude(session.session_id, "ada")
        assert not stands(kept, token)


# -- by another worker -----------------------------------------------------------------------------


def test_another_worker_refuses_at_once_where_they_share_a_file(make_kit, tmp_path):
    here, elsewhere = (make_kit(store=f"sqlite:///{tmp_path}/app.db") for _ in range(2))
    session = here.create_session()
    token = here.generate_token(session, actor="ada")
    assert stands(elsewhere, token)
    here.exclude(session, "ada")
    assert not stands(elsewhere, token)
    with pytest.raises(Excluded):
        elsewhere.generate_token(session, actor="ada")
    here.close()
    elsewhere.close()


def test_a_worker_that_has_lost_the_store_serves_nobody_from_what_it_knew(make_kit, tmp_path):
    file = tmp_path / "app.db"
    kit = make_kit(store=f"sqlite:///{file}")
    session = kit.create_session()
    token = session.generate_token(actor="ben")
    assert stands(kit, token)
    for path in tmp_path.iterdir():
        path.unlink()
    assert soon(lambda: code_of_call(kit.verify_token, token) == "store_unavailable")
    with pytest.raises(StoreUnavailable):
        session.generate_token(actor="ada")
    kit.close()


EXCLUDE_AND_DIE = """
import os, signal, sys
from rolecall import Rolecall

kit = Rolecall(*sys.argv[1:3], store=sys.argv[3])
kit.exclude(sys.argv[4], "ada")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_an_acknowledged_exclusion_outlives_the_worker(make_kit, tmp_path):
    store = f"sqlite:///{tmp_path}/app.db"
    kit = make_kit(store=store)
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    arguments = [API_KEY, API_SECRET, store, session.session_id]
    died = subprocess.run([sys.executable, "-c", EXCLUDE_AND_DIE, *arguments], timeout=PATIENCE, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not stands(kit, token)
    kit.close()


def test_introspection_is_answered_for_the_moment_and_kept_by_nobody(kit, session, ada):
    claims = {"iss": API_KEY, "ist": "project", "iat": int(NOW), "exp": int(NOW) + 60}
    headers = {"x_opentok_auth": jwt.encode(claims, API_SECRET, "HS256")}
    active = ask(kit, "POST", "/tokens/introspect", f"token={ada}", **headers)
    assert json.loads(active.body)["active"] is True
    assert ("Cache-Control", "no-store") in active.headers
    session.exclude("ada")
    assert json.loads(ask(kit, "POST", "/tokens/introspect", f"token={ada}", **headers).body) == {"active": False}
