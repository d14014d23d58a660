"""Taking grants back: each rung of the ladder, in every format, for tokens of this kit and of SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

import jwt
import pytest

from rolecall import Actor, Deny, Rolecall, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import (
    Excluded,
    Forbidden,
    InsufficientRole,
    InvalidActor,
    InvalidRequest,
    InvalidSessionId,
    InvalidToken,
    NotTakenBack,
    OnlyVerifies,
    PolicyDenied,
    RevokedToken,
    StoreUnavailable,
    Unavailable,
)
from rolecall.moderation import Exclude, Readmit, ResetSession
from rolecall.request import Request
from rolecall.stores.memory import MemoryStore
from rolecall.tokens import TokenId, TokenOptions

from ... import own_tokens
from ...conftest import NOW
from ...sdk_tokens import API_KEY, API_SECRET

HOUR = 3600


def of_t1(make_kit: Any) -> Rolecall:
    return make_kit(format="t1", accept=["t1", "opentok"])


def of_jwt(make_kit: Any) -> Rolecall:
    return make_kit(format="jwt", issuer=own_tokens.ISSUER, private_key=own_tokens.pem(), accept=["jwt", "opentok"])


KITS = {"opentok": lambda make_kit: make_kit(), "t1": of_t1, "jwt": of_jwt}


@pytest.fixture(params=KITS)
def kit(request: pytest.FixtureRequest, make_kit: Any) -> Rolecall:
    return KITS[request.param](make_kit)


@pytest.fixture
def opentok(make_kit: Any) -> Rolecall:
    return make_kit()


def sdk_token(session_id: str, iat: float, **claims: Any) -> str:
    """A token as an SDK mints it: it knows nothing of epochs."""
    whole = {
        "session_id": session_id,
        "role": "publisher",
        "iat": int(iat),
        "exp": int(iat) + HOUR,
        "scope": "session.connect",
        "iss": API_KEY,
        "ist": "project",
        "nonce": 1,
        **claims,
    }
    return jwt.encode(whole, API_SECRET, "HS256")


def stands(kit: Rolecall, token: str) -> bool:
    try:
        kit.verify_token(token)
    except RevokedToken:
        return False
    return True


def later(clock: Any, seconds: float = 1) -> None:
    clock.now += seconds


# -- the rungs -------------------------------------------------------------------------------------


def test_one_token_is_revoked_and_no_other(kit, clock):
    session = kit.create_session()
    revoked, other = session.generate_token(), session.generate_token()
    grant = kit.verify_token(revoked)  # remembered from the second time on
    kit.verify_token(revoked)
    kit.revoke_token(revoked)
    assert (stands(kit, revoked), stands(kit, other)) == (False, True)
    kit.revoke_token(revoked)
    with pytest.raises(RevokedToken):
        kit.check_grant(grant)


@pytest.mark.parametrize("how", ["grant", "ids"])
def test_a_token_is_revoked_by_its_grant_and_by_its_id(kit, how):
    session = kit.create_session()
    token = session.generate_token()
    grant = kit.verify_token(token)
    if how == "grant":
        kit.revoke_token(grant)
    else:
        kit.revoke_token(session_id=session, token_id=grant.token_id)
    assert not stands(kit, token)


def test_the_id_of_a_token_is_good_for_its_session_alone(opentok):
    one, other = opentok.create_session(), opentok.create_session()
    tokens = [sdk_token(session.session_id, NOW, jti="same") for session in (one, other)]
    opentok.revoke_token(tokens[0])
    assert [stands(opentok, token) for token in tokens] == [False, True]


def test_a_session_is_reset_and_issues_new_tokens(kit, clock):
    session, other = kit.create_session(), kit.create_session()
    old, elsewhere = session.generate_token(), other.generate_token()
    reset = session.reset()
    assert reset.session_id == session.session_id
    later(clock)  # no second is told apart in T1
    new = session.generate_token()
    assert [stands(kit, token) for token in (old, new, elsewhere)] == [False, True, True]


@pytest.mark.parametrize("kit", ["opentok", "jwt"], indirect=True)
def test_a_token_of_the_same_second_is_told_apart_by_its_epoch(kit):
    session = kit.create_session()
    tokens = []
    for _ in range(3):
        tokens.append(session.generate_token())
        assert [stands(kit, token) for token in tokens] == [False] * (len(tokens) - 1) + [True]
        session.reset()
    epochs = [kit.engine.state.read_token(token, None)[0].token_id.partition(".")[0] for token in tokens]
    assert epochs == ["0", str(int(NOW * 1000)), str(int(NOW * 1000) + 1)]


def test_t1_issues_nothing_in_the_second_of_a_reset(make_kit, clock):
    session = of_t1(make_kit).create_session()
    session.reset()
    with pytest.raises(Unavailable) as caught:
        session.generate_token()
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    later(clock)
    session.generate_token()


def test_tokens_of_sdks_are_revoked_by_the_second(opentok, clock):
    session = opentok.create_session()
    later(clock, 0.6)
    reset = session.reset()
    assert reset.not_before == NOW + 1
    later(clock, 2)
    issued = (NOW - 1, NOW, NOW + 1)
    assert [stands(opentok, sdk_token(session.session_id, iat)) for iat in issued] == [False, False, True]
    with_an_id = [sdk_token(session.session_id, iat, jti="0b3f") for iat in issued]
    assert [stands(opentok, token) for token in with_an_id] == [False, False, True]


def test_a_token_that_does_not_say_when_it_was_issued_does_not_outlive_a_reset(opentok):
    session = opentok.create_session()
    claims = jwt.decode(sdk_token(session.session_id, NOW), options={"verify_signature": False})
    del claims["iat"]
    token = jwt.encode(claims, API_SECRET, "HS256")
    assert stands(opentok, token)
    session.reset()
    assert not stands(opentok, token)


def test_a_token_of_a_later_epoch_than_is_known_stands(make_kit):
    """Another process has reset the session, and this one has not heard of it yet."""
    here, elsewhere = make_kit(), make_kit()
    session = here.create_session()
    elsewhere.reset_session(session)
    assert stands(here, elsewhere.generate_token(session))


def test_a_repeated_reset_revokes_nothing_that_was_issued_meanwhile(opentok, clock):
    session = opentok.create_session()
    first = session.reset(epoch=0)
    token = session.generate_token()
    later(clock)
    assert session.reset(epoch=0) == first
    assert stands(opentok, token)
    second = session.reset(epoch=first.epoch)
    assert second.epoch > first.epoch
    assert not stands(opentok, token)


def test_an_epoch_grows_even_if_the_clock_was_set_back(opentok, clock):
    session = opentok.create_session()
    first = session.reset()
    token = session.generate_token()
    later(clock, -30)
    assert session.reset().epoch == first.epoch + 1
    later(clock, 30)
    assert not stands(opentok, token)


@pytest.mark.parametrize("kit", ["opentok", "jwt"], indirect=True)
def test_whoever_is_excluded_is_out_and_gets_no_token(kit, clock):
    session, other = kit.create_session(), kit.create_session()
    ada, bob, nobody = (
        session.generate_token(actor="ada"),
        session.generate_token(actor="bob"),
        session.generate_token(),
    )
    elsewhere = other.generate_token(actor="ada")
    assert session.exclude("ada") == (session.session_id, "ada", None, False)
    assert [stands(kit, token) for token in (ada, bob, nobody, elsewhere)] == [False, True, True, True]
    for actor in ("ada", Actor("ada", {"groups": ["staff"]})):
        with pytest.raises(Excluded, match="for good"):
            session.generate_token(actor=actor)
    other.generate_token(actor="ada")
    session.readmit("ada")
    assert stands(kit, ada)
    session.generate_token(actor="ada")


def test_an_exclusion_ends_and_the_later_end_counts(opentok, clock):
    session = opentok.create_session()
    token = session.generate_token(actor="ada", expire_time=timedelta(days=2))
    session.exclude("ada", until=timedelta(hours=2))
    assert session.exclude("ada", until=NOW + HOUR).until == NOW + 2 * HOUR
    later(clock, 2 * HOUR - 1)
    assert not stands(opentok, token)
    later(clock)
    assert stands(opentok, token)
    session.exclude("ada", until=datetime.fromtimestamp(clock.now + HOUR, UTC))
    session.exclude("ada")
    later(clock, 30 * HOUR)
    assert not stands(opentok, token)


def test_an_exclusion_is_kept_until_it_ends_and_the_longest_if_there_are_several(make_kit, clock):
    store = MemoryStore()
    kit = make_kit(store=store, max_session_age=timedelta(days=1))
    session = kit.create_session()

    def kept_until() -> float:
        (row,), _ = store.dump("marks", None, 10)
        until: Any = row[2]
        return until - NOW

    session.exclude("ada", until=NOW + 2 * HOUR)
    session.exclude("ada", until=NOW + HOUR)
    assert 2 * HOUR < kept_until() <= 4 * HOUR
    session.exclude("ada")
    assert kept_until() > timedelta(days=31).total_seconds()


def test_a_readmission_ends_all_exclusions_and_a_later_one_counts_again(opentok):
    session = opentok.create_session()
    token = session.generate_token(actor="ada")
    for _ in range(3):
        session.exclude("ada")
        session.exclude("ada", until=NOW + HOUR)
        assert not stands(opentok, token)
        session.readmit("ada")
        session.readmit("ada")
        assert stands(opentok, token)


def test_a_readmission_without_an_exclusion_changes_nothing(opentok):
    session = opentok.create_session()
    session.readmit("ada")
    assert opentok.engine.state.store.get_marks([f"readmitted {session.session_id} ada"]) == {}


@pytest.mark.parametrize("kit", ["opentok", "jwt"], indirect=True)
def test_all_tokens_of_an_actor_are_revoked(kit, clock):
    sessions = [kit.create_session(), kit.create_session()]
    tokens = [session.generate_token(actor="ada") for session in sessions]
    bob = sessions[0].generate_token(actor="bob")
    kit.revoke_actor("ada")
    assert [stands(kit, token) for token in (*tokens, bob)] == [False, False, True]
    with pytest.raises(Unavailable, match="this very second"):
        sessions[0].generate_token(actor="ada")
    later(clock)
    assert stands(kit, sessions[0].generate_token(actor="ada"))
    assert not stands(kit, tokens[0])


def test_what_was_issued_until_a_moment_is_revoked(kit, clock):
    session = kit.create_session()
    early = session.generate_token()
    later(clock, 100)
    late = session.generate_token()
    kit.revoke_before(NOW + 50)
    assert [stands(kit, token) for token in (early, late)] == [False, True]
    kit.revoke_before(datetime.fromtimestamp(NOW + 10, UTC))
    assert not stands(kit, early)
    kit.revoke_before()
    assert not stands(kit, late)
    with pytest.raises(Unavailable):
        session.generate_token()
    later(clock)
    session.generate_token()


def test_only_the_tokens_of_one_project_are_revoked(make_kit, clock):
    other = "87654321"
    kit = make_kit(projects={other: "9d1e95df9fdac14502e8a27a9d8a71e87ef64a50"})
    tokens = [kit.generate_token(kit.create_session(api_key=api_key)) for api_key in (API_KEY, other)]
    kit.revoke_before(api_key=other)
    assert [stands(kit, token) for token in tokens] == [True, False]


def spellings(token: str, number: int) -> Iterator[str]:
    """Other texts that careless readers take for the same token."""
    random = Random(7)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    parts = token.split(".")
    for part, end in product(range(len(parts)), ("=", "==", "A", "\n", " ", "%3D", "\0", ".")):
        yield ".".join(f"{text}{end}" if place == part else text for place, text in enumerate(parts))
    yield from (
        token.replace("-", "+").replace("_", "/"),
        token.swapcase(),
        f" {token}",
        f"\ufeff{token}",
        f'"{token}"',
    )
    yield from (token[:-1] + last for last in alphabet)  # also with other unused bits
    for _ in range(number):
        place = random.randrange(len(token))
        piece = random.choice(("", random.choice(alphabet), token[place].swapcase() + random.choice(("", "=", "\n"))))
        yield token[:place] + piece + token[place + random.randrange(2) :]


@pytest.mark.exhaustive
def test_no_other_spelling_of_a_revoked_token_is_good(kit):
    session = kit.create_session()
    token = session.generate_token()
    kit.verify_token(token)
    kit.revoke_token(token)
    tried = 0
    for spelling in spellings(token, 10_000):
        tried += 1
        with pytest.raises(InvalidToken):
            kit.verify_token(spelling)
    assert tried > 10_000


# -- what stays out --------------------------------------------------------------------------------


def test_tokens_that_say_nothing_of_their_actor_cannot_be_excluded(make_kit):
    for kit in (make_kit(actor_claim=False), of_t1(make_kit)):
        session = kit.create_session()
        with pytest.raises(NotTakenBack, match="reset the session") as caught:
            session.exclude("ada")
        assert caught.value.status == 409


@pytest.mark.parametrize("moment", [NOW + 1, -1, 0, True, "now", float("nan"), datetime(2026, 1, 1), 1e300])
def test_a_moment_that_is_none_is_refused(opentok, moment):
    with pytest.raises(InvalidRequest, match="moment is"):
        opentok.revoke_before(moment)


@pytest.mark.parametrize("until", [0, -5, True, "never", float("nan"), float("inf"), datetime(2026, 1, 1)])
def test_an_end_that_is_none_is_refused(opentok, until):
    with pytest.raises(InvalidRequest, match="until is"):
        opentok.create_session().exclude("ada", until=until)


@pytest.mark.parametrize("actor", ["", " ada", "a\0b", "Zoe\u0308", 7, None])
def test_an_actor_that_nobody_can_be_is_refused(opentok, actor):
    session = opentok.create_session()
    for call in (session.exclude, session.readmit, opentok.revoke_actor):
        with pytest.raises(InvalidActor):
            call(actor)


@pytest.mark.parametrize("epoch", [-1, 1.5, True, "1", 10**18])
def test_an_epoch_that_is_none_is_refused(opentok, epoch):
    with pytest.raises(InvalidRequest, match="epoch is"):
        opentok.create_session().reset(epoch=epoch)


def test_sessions_of_others_are_refused(opentok):
    for session_id in ("1_MX43fn5-", "", "a b"):
        for call in (
            lambda: opentok.reset_session(session_id),  # noqa: B023
            lambda: opentok.exclude(session_id, "ada"),  # noqa: B023
            lambda: opentok.readmit(session_id, "ada"),  # noqa: B023
            lambda: opentok.revoke_token(session_id=session_id, token_id="a"),  # noqa: B023
        ):
            with pytest.raises(InvalidSessionId):
                call()


def test_tokens_of_others_are_refused_and_expired_ones_are_left(opentok, clock):
    session = opentok.create_session()
    token = session.generate_token(expire_time=timedelta(minutes=1))
    for bad in ("abc", token[:-5] + "AAAAA", 7):
        with pytest.raises(InvalidToken):
            opentok.revoke_token(bad)
    for arguments in ({}, {"session_id": session}, {"token_id": "a"}, {"token": token, "token_id": "a"}):
        with pytest.raises(InvalidRequest, match="both of them"):
            opentok.revoke_token(**arguments)
    for token_id in ("", "a\0b", "a" * 256, 7):
        with pytest.raises(InvalidRequest, match="token_id is"):
            opentok.revoke_token(session_id=session, token_id=token_id)
    later(clock, 60 + 5)
    opentok.revoke_token(token)  # within the leeway
    assert not stands(opentok, token)
    later(clock, 60)
    opentok.revoke_token(session.generate_token(expire_time=timedelta(seconds=1)))
    later(clock, 60)
    opentok.revoke_token(token)


def test_a_verifier_takes_nothing_back():
    verifier = Rolecall.verifier(own_tokens.jwks(own_tokens.issuing()), issuer=own_tokens.ISSUER)
    session_id = "1_a"
    for call in (
        lambda: verifier.reset_session(session_id),
        lambda: verifier.exclude(session_id, "ada"),
        lambda: verifier.revoke_token("abc"),
        lambda: verifier.revoke_actor("ada"),
        lambda: verifier.revoke_before(),
    ):
        with pytest.raises(OnlyVerifies):
            call()


@pytest.mark.parametrize("answer", [None, 0.5, "inf", True, float("nan")])
def test_a_store_that_does_not_say_that_it_kept_it_is_not_believed(make_kit, monkeypatch, answer):
    store = MemoryStore()
    monkeypatch.setattr(store, "raise_mark", lambda *_: answer)
    kit = make_kit(store=store)
    with pytest.raises(StoreUnavailable, match="raise_mark returned"):
        kit.revoke_actor("ada")


def test_a_store_without_marks_takes_nothing_back(make_kit):
    class Plain(MemoryStore):
        raise_mark = get_marks = property()

    kit = make_kit(store=Plain())
    session = kit.create_session()
    with pytest.raises(StoreUnavailable, match="has no method"):
        kit.revoke_token(session.generate_token())


# -- who may, and who is told ----------------------------------------------------------------------


class Watcher:
    """A policy that keeps what it hears, and denies what it is told to."""

    def __init__(self, denied: str = "") -> None:
        self.denied = denied
        self.events: list[dict[str, Any]] = []
        self.disconnected: list[tuple[str, str]] = []
        self.fails = False

    @hookimpl
    def rolecall_vote_moderation(self, request):
        return Deny("not this") if request.act.name == self.denied else None

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    async def disconnect_actor(self, session_id, actor_id):
        if self.fails:
            raise Unavailable("the service is out of order")
        self.disconnected.append((session_id, actor_id))

    @hookimpl
    def rolecall_on_event(self, event):
        told = event.as_dict()
        self.events.append({name: told[name] for name in ("event", "session_id", "act", "target", "until", "token_id")})


def test_each_is_an_event(make_kit):
    watcher = Watcher()
    kit = make_kit(plugins=[watcher])
    session = kit.create_session()
    token = session.generate_token(actor="ada")
    grant = kit.verify_token(token)
    watcher.events.clear()
    session.exclude("ada", until=NOW + HOUR)
    session.readmit("ada")
    session.reset()
    kit.revoke_token(token)
    kit.revoke_actor("ada")
    kit.revoke_before(NOW)
    told = [tuple(event.values()) for event in watcher.events]
    sid = session.session_id
    assert told == [
        ("moderated", sid, "exclude", "ada", NOW + HOUR, None),
        ("moderated", sid, "readmit", "ada", None, None),
        ("moderated", sid, "reset_session", None, None, None),
        ("token_revoked", sid, None, None, None, grant.token_id),
        ("actor_revoked", None, None, "ada", None, None),
        ("tokens_revoked", None, None, API_KEY, NOW, None),
    ]


def test_the_media_service_ends_the_connections_of_the_excluded(make_kit):
    watcher = Watcher()
    kit = make_kit(plugins=[watcher])
    session = kit.create_session()
    assert session.exclude("ada").disconnected is True
    assert watcher.disconnected == [(session.session_id, "ada")]
    watcher.fails = True
    assert session.exclude("bob").disconnected is False
    with pytest.raises(Excluded):
        session.generate_token(actor="bob")


@pytest.mark.parametrize("act", [Exclude, Readmit, ResetSession])
def test_moderators_may_where_policies_agree(make_kit, act):
    request = Request("POST", "/")
    for denied in ("", act.name):
        kit = make_kit(plugins=[Watcher(denied)])
        session = kit.create_session()
        asked = act(session.session_id) if act is ResetSession else act(session.session_id, "bob")

        def moderate(role: str, actor: str = "ada", *, act=asked, kit=kit, session=session):
            grant = kit.verify_token(session.generate_token(role, actor=actor))
            return drive(kit.engine.moderate(act, grant, Call(request)))

        with pytest.raises(InsufficientRole):
            moderate("publisher")
        if denied:
            with pytest.raises(PolicyDenied):
                moderate("moderator")
        else:
            moderate("moderator")


def test_nobody_readmits_himself(make_kit, clock):
    kit = make_kit()
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token("moderator", actor="ada"))
    session.exclude("ada", until=NOW + 1)
    readmission = Readmit(session.session_id, "ada")
    with pytest.raises(RevokedToken):
        drive(kit.engine.moderate(readmission, grant, Call(Request("DELETE", "/"))))
    later(clock)
    with pytest.raises(Forbidden, match="nobody readmits himself"):
        drive(kit.engine.moderate(readmission, grant, Call(Request("DELETE", "/"))))


def test_the_excluded_ask_no_policy(make_kit):
    asked = []

    class Policy:
        @hookimpl
        def rolecall_identify(self, request):
            return Actor("ada")

        @hookimpl
        def rolecall_vote_token(self, request):
            asked.append(request)

    kit = make_kit(plugins=[Policy()])
    session = kit.create_session()
    session.exclude("ada")
    issuing = kit.engine.generate_token(session.session_id, "publisher", None, None, (), Call(Request("POST", "/")))
    with pytest.raises(Excluded):
        drive(issuing)
    assert asked == []


# -- asking the store itself -----------------------------------------------------------------------


class Distant(MemoryStore):
    """A store in whose process nothing is known of what others have revoked."""

    immediate = False
    asked: list[list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    def ended_among(self, session_ids):
        return {session_id for session_id in session_ids if session_id in self._ended}

    def get_marks(self, names):
        self.asked.append(list(names))
        return super().get_marks(names)


def test_with_immediate_revocation_the_store_itself_is_asked(make_kit, clock):
    store = Distant()
    kit = make_kit(store=store, revocation="immediate")
    session = kit.create_session()
    tokens = {actor: session.generate_token(actor=actor) for actor in ("ada", "bob", "eve")}
    session.exclude("ada")
    session.readmit("ada")
    session.exclude("ada")
    kit.revoke_token(tokens["bob"])
    assert [stands(kit, tokens[actor]) for actor in tokens] == [False, False, True]
    with pytest.raises(Excluded):
        session.generate_token(actor="ada")
    session.reset()
    later(clock)
    fresh = session.generate_token(actor="eve")
    assert (stands(kit, tokens["eve"]), stands(kit, fresh)) == (False, True)
    kit.revoke_actor("eve")
    assert not stands(kit, fresh)
    kit.revoke_before()
    assert all(len(names) <= 6 for names in store.asked)


@pytest.mark.parametrize("bad", [None, ["a"], {"a": "5"}, {"a": True}, {1: 2.0}])
def test_an_answer_about_marks_that_is_none_lets_nobody_in(make_kit, monkeypatch, bad):
    store = Distant()
    kit = make_kit(store=store, revocation="immediate")
    token = kit.create_session().generate_token(actor="ada")
    monkeypatch.setattr(store, "get_marks", lambda names: bad)
    with pytest.raises(StoreUnavailable, match="get_marks returned"):
        kit.verify_token(token)


def test_async_code_takes_back(opentok):
    async def take_back() -> None:
        aio = opentok.aio
        session = await aio.create_session()
        token = await session.generate_token(actor="ada")
        await session.exclude("ada", timedelta(hours=1))
        with pytest.raises(RevokedToken):
            await aio.verify_token(token)
        await session.readmit("ada")
        await aio.verify_token(token)
        assert (await session.reset()).epoch > 0
        with pytest.raises(RevokedToken):
            await aio.verify_token(token)
        await aio.revoke_token(token)
        await aio.revoke_actor("ada")
        await aio.revoke_before()

    asyncio.run(take_back())


# -- ids of tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token_id", "read"),
    [
        (f"0.{'a' * 16}{'b' * 16}", (0, None, "a" * 16)),
        (f"1795186800123.{'0' * 32}", (1795186800123, None, "0" * 16)),
        (f"0.{'a' * 32}.1795186800", (0, 1795186800, "a" * 16)),
        ("a" * 32, None),
        ("01." + "a" * 32, None),
        ("0." + "A" * 32, None),
        ("0." + "a" * 31, None),
        (f"0.{'a' * 32}.", None),
        (f"0.{'a' * 32}.0", None),
        (f"0.{'a' * 32}\n", None),
        ("0." + "a" * 32 + ".1.2", None),
        ("1" * 16 + "." + "a" * 32, None),
    ],
)
def test_the_id_of_a_token_says_its_epoch(token_id, read):
    assert TokenId.read(token_id) == read


def test_a_renewed_token_says_when_the_first_one_was_issued_and_which_is_its_family(opentok):
    family = "0123456789abcdef"
    options = TokenOptions(
        "1_a", opentok.roles.get("publisher"), int(NOW), int(NOW) + 60, epoch=5, begun_at=int(NOW) - 60, family=family
    )
    ids = {options.new_token_id() for _ in range(100)}
    assert len(ids) == 100
    assert {TokenId.read(one) for one in ids} == {(5, NOW - 60, family)}
    assert TokenId.read(options._replace(family=None).new_token_id()) != (5, NOW - 60, family)
