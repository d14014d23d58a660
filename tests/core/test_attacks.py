"""Ways around the kit that were once open."""

from __future__ import annotations

import functools
import threading
import traceback

import jwt
import pytest

from rolecall import Deny, Rolecall, hookimpl
from rolecall.errors import InvalidToken, PluginError, PolicyFault, RolecallError, SessionEnded
from rolecall.keys import HMACKey

from ..untyped import untyped

SECRET = "S3cr3tS3cr3t-do-not-leak-0123456789abcdef"


class Banned:
    def __call__(self, request):
        return Deny("banned")


class CallableObject:
    rolecall_vote_access = hookimpl(Banned())


class Partial:
    rolecall_vote_access = hookimpl(functools.partial(lambda answer, request: answer, Deny("banned")))


class WithDefault:
    @hookimpl
    def rolecall_vote_access(self, request=None):
        return Deny("banned") if request else None


class WithStar:
    @hookimpl
    def rolecall_vote_access(self, *requests):
        return Deny("banned") if requests else None


class KeywordOnly:
    @untyped(hookimpl)
    def rolecall_vote_access(self, *, request):
        return Deny("banned")


# Python 3.13 says that a later version will make a method of the partial.
@pytest.mark.filterwarnings("ignore:functools.partial:FutureWarning")
@pytest.mark.parametrize("plugin", [CallableObject(), Partial(), WithDefault(), WithStar(), KeywordOnly()])
def test_a_hook_that_would_never_be_called_with_a_request_stops_start_up(make_kit, plugin):
    with pytest.raises(PluginError, match="rolecall_vote_access"):
        make_kit(plugins=[plugin])


def test_a_session_that_ends_while_a_policy_votes_issues_no_token(make_kit):
    asked, answer = threading.Event(), threading.Event()

    class Slow:
        @hookimpl
        def rolecall_vote_token(self, request):
            asked.set()
            assert answer.wait(4)

    session, refusals = make_kit(plugins=[Slow()]).create_session(), []

    def ask():
        with pytest.raises(SessionEnded) as refusal:
            session.generate_token()
        refusals.append(refusal)

    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(4)
    session.end()
    answer.set()
    thread.join(5)

    assert refusals


class Sly(str):
    """A name that is not equal to itself, and so to no reserved one."""

    __slots__ = ()

    def __eq__(self, other):
        return False

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("format", "claims"),
    [
        ("opentok", {Sly("role"): "moderator"}),
        ("opentok", {f"claim{number}": number for number in range(60)}),
        ("opentok", {"x" * 65: 1}),
        ("t1", {"vip": False}),
        ("t1", {"nested": {"a": 1}}),
        ("t1", {"app-id": "x"}),
    ],
)
def test_claims_that_would_be_read_otherwise_than_meant_are_a_fault(make_kit, format, claims):
    class Claims:
        @hookimpl
        def rolecall_token_claims(self, request):
            return claims

    kit = make_kit(plugins=[Claims()], format=format)
    with pytest.raises(PolicyFault):
        kit.create_session().generate_token("subscriber")


def test_the_most_claims_that_plugins_may_add_are_read_again(make_kit):
    class Claims:
        @hookimpl
        def rolecall_token_claims(self, request):
            return {f"claim{number}": number for number in range(32)}

    kit = make_kit(plugins=[Claims()])
    token = kit.create_session().generate_token("publisher", data="x", initial_layout_class_list=["focus"])
    assert kit.verify_token(token).claims["claim31"] == 31
    assert jwt.decode(token, options={"verify_signature": False})["claim31"] == 31


def test_a_clock_that_is_set_back_is_noticed_for_a_token_that_was_verified_before(kit, clock):
    token = kit.create_session().generate_token()
    kit.verify_token(token)
    clock.now -= 86_400 * 365
    with pytest.raises(InvalidToken, match="in the future"):
        kit.verify_token(token)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: Rolecall("123456", SECRET, leeway=99),
        lambda: Rolecall("123456", SECRET, store="nowhere"),
        lambda: Rolecall("123456", SECRET, plugins=[untyped(object())]),
        lambda: Rolecall("123456", SECRET[:20]),
        lambda: HMACKey(SECRET[:20]),
    ],
)
def test_no_frame_of_the_kits_own_holds_the_secret(fail):
    with pytest.raises(RolecallError) as caught:
        fail()
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    own = [frame for frame in stack if "rolecall" in frame.filename and "tests" not in frame.filename]
    assert own
    assert [frame.name for frame in own if SECRET[:20] in repr(frame.locals)] == []
