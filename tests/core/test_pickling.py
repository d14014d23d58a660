"""Values travel, to worker processes, caches and copies. What is read-only stays so, and no key goes with them."""

from __future__ import annotations

import asyncio
import copy
import inspect
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

import rolecall.connector
import rolecall.opentok
from rolecall import Actor, Allow, Capability, Deny, Role, errors, hookimpl, inspect_token
from rolecall.errors import ExpiredToken, InsufficientRole, PolicyDenied, RolecallError
from rolecall.events import TokenIssued
from rolecall.http.gateways.asgi import AsgiHeaders
from rolecall.http.gateways.wsgi import WsgiHeaders
from rolecall.moderation import Signal
from rolecall.policy import Limit
from rolecall.request import Request
from rolecall.roles import Requirement
from rolecall.sessions import SessionProperties, SessionRecord
from rolecall.tokens import TokenOptions

NESTED = {"school": {"classes": [{"name": "7b", "pupils": [1, 2]}], "open": True}}
REQUEST = Request("POST", "/rooms/{room}", {"room": "1"}, {"x-user": "ada"}, b"{}", "flask", "a=1", "/app")


class Claims:
    @hookimpl
    def rolecall_token_claims(self):
        return NESTED


def pickled(value):
    return pickle.loads(pickle.dumps(value))


WAYS = pytest.mark.parametrize("travelled", [pickled, copy.deepcopy, copy.copy])


@pytest.fixture
def grant(make_kit):
    kit = make_kit(plugins=[Claims()])
    return kit.verify_token(kit.create_session().generate_token("moderator", data="Ada"))


def assert_read_only(value):
    """No mapping or sequence in ``value``, however deep, can be changed."""
    if isinstance(value, str | int | float | None):
        return
    with pytest.raises(TypeError):
        value["name" if hasattr(value, "keys") else 0] = "changed"
    for item in value.values() if hasattr(value, "values") else value:
        assert_read_only(item)


# -- values ----------------------------------------------------------------------------------------


@WAYS
def test_a_grant_travels_and_its_claims_stay_read_only(grant, travelled):
    other = travelled(grant)
    assert (other, type(other)) == (grant, type(grant))
    assert (other.data, other.role.capabilities, other.layout) == ("Ada", Role.MODERATOR.capabilities, ())
    assert other.claims["school"]["classes"][0]["pupils"] == (1, 2)
    assert_read_only(other.claims)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_grant_travels_by_every_protocol(grant, protocol):
    assert pickle.loads(pickle.dumps(grant, protocol)) == grant


def data_of(grant):
    return grant.data, grant.claims["school"]["open"]


def refuse(grant):
    raise InsufficientRole("role:moderator is required", "role:moderator")


@pytest.mark.process
def test_a_grant_goes_to_another_process_and_a_refusal_comes_back(grant):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(data_of, grant).result(60) == ("Ada", True)
        with pytest.raises(InsufficientRole, match="is required") as refused:
            pool.submit(refuse, grant).result(60)
    assert refused.value.scope == "role:moderator"


@WAYS
@pytest.mark.parametrize(
    "value",
    [
        Actor("ada"),
        Actor("ada", {"groups": ("7b",)}),
        REQUEST,
        Request("GET", "/"),
        Requirement.of_role("moderator"),
        Role("assistant", ["connect", "publish"], wire_name="publisheronly"),
        Capability.PUBLISH,
        Allow(max_role="publisher", capabilities=["publish"]),
        Limit(max_lifetime=60),
        Deny("no", "closed", "by Ada"),
        TokenOptions("1_a", Role.PUBLISHER, 1, 2),
        TokenIssued(
            at=1.0,
            session_id="1_a",
            role="publisher",
            token_id="t",
            expires_at=2.0,
            actor=Actor("ada"),
            http=REQUEST,
        ),
        Signal("1_a", "chat", "hello"),
        SessionRecord("1_a", SessionProperties(media_mode=rolecall.MediaMode.ROUTED), 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_plugins_are_shown_and_answer_travels(value, travelled):
    other = travelled(value)
    assert (other, type(other)) == (value, type(value))


WSGI = Request("GET", "/", headers=WsgiHeaders({"HTTP_X_USER": "ada", "wsgi.errors": sys.stderr}))
ASGI = Request("GET", "/", headers=AsgiHeaders({"headers": [(b"x-user", b"ada")], "app": lambda: None}))


@WAYS
@pytest.mark.parametrize("request_", [WSGI, ASGI], ids=["WSGI", "ASGI"])
def test_a_request_of_a_framework_travels_without_the_framework_s_own(request_, travelled):
    other = travelled(request_)
    assert other == request_
    assert other.headers["x-user"] == "ada"
    assert_read_only(other.headers)


@WAYS
def test_an_inspection_and_an_explanation_travel(make_kit, travelled):
    kit = make_kit(plugins=[Claims()])
    session_id = kit.create_session().session_id
    for value in (inspect_token(kit.generate_token(session_id)), kit.explain_token(session_id)):
        assert travelled(value) == value


@WAYS
def test_the_defaults_of_an_actor_and_a_request_stay_read_only(travelled):
    assert_read_only(travelled(Actor("ada")).attributes)
    assert_read_only(travelled(Request("GET", "/")).headers)


# -- sessions --------------------------------------------------------------------------------------


def sessions(kit):
    async def made():
        return await kit.aio.create_session(e2ee=True, media_mode="routed")

    return [kit.create_session("203.0.113.7"), asyncio.run(made())]


def test_a_session_is_pickled_as_its_record(make_kit):
    kit = make_kit()
    for session in sessions(kit):
        record = pickled(session)
        assert type(record) is SessionRecord
        assert record == kit._state.store.get_session(session.session_id)


def test_no_secret_goes_with_a_session(make_kit):
    kit = make_kit(api_secret="a secret that is to be found nowhere, 0123456789")
    for session in sessions(kit):
        assert b"to be found nowhere" not in pickle.dumps(session)


def test_a_copy_of_a_session_is_of_the_same_kit(make_kit):
    for session in sessions(make_kit()):
        for copied in (copy.copy(session), copy.deepcopy(session), copy.deepcopy({"a": [session]})["a"][0]):
            assert copied == session
            assert copied.kit is session.kit


# -- errors ----------------------------------------------------------------------------------------

ARGUMENTS = {"message": "no", "scope": "role:moderator", "code": "closed", "limit": 5, "allowed": ("GET",)}


def below(kind):
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def made(kind):
    """An error as it is raised."""
    if not inspect.isfunction(kind.__init__):  # it is the built-in one
        return kind("no")
    parameters = list(inspect.signature(kind).parameters.values())
    return kind(*(ARGUMENTS.get(one.name, 1.5) for one in parameters if one.kind is not one.KEYWORD_ONLY))


@WAYS
@pytest.mark.parametrize(
    "kind",
    [kind for kind in below(RolecallError) if kind.__module__.startswith("rolecall")],
    ids=lambda kind: kind.__name__,
)
def test_every_error_travels_with_all_that_it_says(kind, travelled):
    error = made(kind).at("session open")
    other = travelled(error)
    assert (type(other), str(other), other.args, vars(other)) == (kind, str(error), error.args, vars(error))
    assert (other.code, other.status, other.public_message) == (error.code, error.status, error.public_message)


def test_the_errors_that_carry_more_than_a_message_are_among_them():
    assert {errors.InsufficientRole, errors.MethodNotAllowed, rolecall.connector.ServiceClockSkew} <= {
        *below(RolecallError)
    }
    assert pickled(PolicyDenied("no", "closed")).code == "closed"


def test_an_error_travels_as_the_kit_raises_it(make_kit, clock):
    kit = make_kit()
    token = kit.create_session().generate_token(expire_time=clock() + 60)
    clock.now += 3600
    with pytest.raises(ExpiredToken) as refused:
        kit.verify_token(token)
    assert str(pickled(refused.value)) == str(refused.value)


@pytest.mark.parametrize("kind", [*below(rolecall.opentok.OpenTokException)], ids=lambda kind: kind.__name__)
def test_every_error_of_the_drop_in_travels(kind):
    other = pickled(kind("no"))
    assert (type(other), str(other)) == (kind, "no")
