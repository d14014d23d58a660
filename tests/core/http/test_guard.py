"""What a guard is, whatever the framework that runs it."""

from __future__ import annotations

import pytest

import rolecall_aiohttp.guards
import rolecall_flask.guards
import rolecall_starlette.guards
from rolecall.errors import ConfigurationError

from ...untyped import untyped

pytestmark = pytest.mark.each_choice

FRAMEWORKS = [rolecall_aiohttp, rolecall_flask, rolecall_starlette]


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.__name__)
def guard(request):
    return request.param.guards.Guard


def session_of(request):
    return None


def test_guards_that_ask_for_the_same_are_the_same(guard, kit):
    options = {"kit": kit, "session_param": "room"}
    assert guard.of_role("moderator", **options) == guard.of_role("moderator", **options)
    assert hash(guard.of_role("moderator", **options)) == hash(guard.of_role("moderator", **options))


def test_guards_that_ask_for_something_else_are_others(guard, kit):
    guards = [
        guard.of_role("moderator"),
        guard.of_role("moderator", exact=True),
        guard.of_role("publisher"),
        guard.of_role("moderator", kit=kit),
        guard.of_role("moderator", session_param="room"),
        guard.of_role("moderator", session_param=None),
        guard.of_role("moderator", session=session_of),
        guard.of_capability("force_disconnect"),
        guard.of_token(optional=True),
        guard.of_token(),
    ]
    assert len(set(guards)) == len(guards)
    assert guard.of_token() != object()


def test_guards_of_two_frameworks_are_others():
    assert len({framework.guards.Guard.of_token() for framework in FRAMEWORKS}) == len(FRAMEWORKS)


def test_a_guard_says_what_it_asks_for_and_which_session_it_binds(guard):
    assert repr(guard.of_role("moderator")).endswith("Guard role:moderator>")
    assert guard.of_role("moderator", session_param="room").binds == "{room}"
    assert guard.of_role("moderator", session_param=None).binds is None
    assert guard.of_role("moderator", session=session_of).binds == "what session=… finds"


def test_what_is_no_kit_is_refused(guard):
    with pytest.raises(ConfigurationError, match=r"^kit is 'a kit'; expected a Rolecall\(…\)"):
        guard.of_role("moderator", kit=untyped("a kit"))
