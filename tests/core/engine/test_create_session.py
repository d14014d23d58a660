"""Sessions that a plugin creates elsewhere."""

from __future__ import annotations

import asyncio
import time

import pytest

from rolecall import ArchiveMode, Deny, MediaMode, blocking, hookimpl
from rolecall.errors import PolicyDenied, PolicyFault, Unavailable
from rolecall.sessions import SessionProperties

#: Ids that another service made for the tests' API key, and for another one.
OURS = "2_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
FOREIGN = "2_MX45OTk5OTl-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


class Elsewhere:
    """Creates sessions as it is told."""

    def __init__(self, answer=OURS):
        self.answer = answer
        self.asked = []

    @hookimpl
    def rolecall_create_session(self, request):
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ElsewhereInTime:
    @hookimpl
    async def rolecall_create_session(self, request):
        await asyncio.sleep(0)
        return OURS


class ElsewhereOnAThread:
    @hookimpl
    @blocking
    def rolecall_create_session(self, request):
        time.sleep(0.001)
        return OURS


@pytest.mark.parametrize("plugin", [Elsewhere, ElsewhereInTime, ElsewhereOnAThread])
def test_the_session_has_the_id_that_a_plugin_gives_it(make_kit, plugin):
    kit = make_kit(plugins=[plugin()])
    session = kit.create_session(media_mode="routed")
    assert session.session_id == OURS
    assert kit.get_session(OURS).media_mode == "routed"
    assert kit.verify_token(session.generate_token(), OURS).session_id == OURS


@pytest.mark.parametrize("plugin", [Elsewhere, ElsewhereInTime, ElsewhereOnAThread])
def test_the_same_under_an_event_loop(make_kit, plugin):
    kit = make_kit(plugins=[plugin()])
    assert asyncio.run(kit.aio.create_session()).session_id == OURS


def test_without_an_answer_the_kit_makes_the_id(make_kit):
    kit = make_kit(plugins=[Elsewhere(None)])
    assert kit.create_session().session_id != OURS


def test_the_plugin_sees_what_was_asked_for(make_kit):
    plugin = Elsewhere()
    make_kit(plugins=[plugin]).create_session("10.0.0.1", "routed", "always", False)
    assert [request.properties for request in plugin.asked] == [
        SessionProperties("10.0.0.1", MediaMode.ROUTED, ArchiveMode.ALWAYS)
    ]


def test_what_was_denied_is_created_nowhere(make_kit):
    class No:
        @hookimpl
        def rolecall_vote_session(self, request):
            return Deny("no")

    plugin = Elsewhere()
    with pytest.raises(PolicyDenied):
        make_kit(plugins=[plugin, No()]).create_session()
    assert plugin.asked == []


@pytest.mark.parametrize(
    "answer",
    [FOREIGN, "", "made up", 1, True, b"x", [OURS], ValueError("canary")],
    ids=lambda answer: ascii(answer)[:20],
)
def test_what_is_no_session_of_the_kit_is_the_plugins_fault(make_kit, answer):
    with pytest.raises(PolicyFault, match="session") as raised:
        make_kit(plugins=[Elsewhere(answer)]).create_session()
    assert "canary" not in str(raised.value)


def test_two_plugins_that_create_the_same_session_are_a_fault(make_kit):
    class Other(Elsewhere):
        pass

    with pytest.raises(PolicyFault, match="already"):
        make_kit(plugins=[Elsewhere(), Other()]).create_session()


def test_an_error_of_the_kits_own_is_what_the_caller_gets(make_kit):
    class ServiceDown(Unavailable):
        code = "service_down"

    with pytest.raises(ServiceDown, match="try again"):
        make_kit(plugins=[Elsewhere(ServiceDown("try again"))]).create_session()


def test_a_plugin_that_is_late_is_a_fault(make_kit):
    class Late:
        @hookimpl
        async def rolecall_create_session(self, request):
            await asyncio.sleep(5)

    with pytest.raises(PolicyFault, match="deadline"):
        make_kit(plugins=[Late()], hook_timeout=0.05).create_session()
