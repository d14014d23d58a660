"""Plugins: checked at start-up, asked at every request, and never trusted to behave."""

from __future__ import annotations

import asyncio
import logging
import threading
import types
from typing import Any

import pytest

from rolecall import Actor, Allow, Deny, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import PluginError, PolicyDenied, PolicyFault
from rolecall.http.problems import refused
from rolecall.request import Request
from rolecall.sessions import SessionProperties

from ...untyped import untyped

OUTSIDE = Request("POST", "/sessions")


class Allows:
    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


def voting(answer, name="the policy", asynchronous=False):
    """A plugin whose vote on a session is whatever ``answer()`` returns or raises."""

    class Votes:
        name: str

        if asynchronous:

            @hookimpl
            async def rolecall_vote_session(self, request):
                return answer()
        else:

            @hookimpl
            def rolecall_vote_session(self, request):
                return answer()

    plugin = Votes()
    plugin.name = name
    return plugin


def ask(kit, http=OUTSIDE):
    return drive(kit.engine.create_session(SessionProperties(), call=Call(http)))


def ask_async(kit, http=OUTSIDE):
    return asyncio.run(kit.aio.engine.create_session(SessionProperties(), call=Call(http)))


# -- who may get what ------------------------------------------------------------------------------


def test_the_servers_own_code_is_trusted(kit):
    assert kit.create_session().generate_token("moderator")


def test_a_policy_may_deny_the_servers_own_code(make_kit):
    kit = make_kit(plugins=[voting(lambda: Deny("closed today", code="closed"))])

    with pytest.raises(PolicyDenied, match="closed today") as refusal:
        kit.create_session()

    assert refusal.value.code == "closed"


@pytest.mark.parametrize("ask", [ask, ask_async])
def test_a_request_from_outside_is_denied_without_a_policy(kit, ask):
    with pytest.raises(PolicyDenied, match="no policy"):
        ask(kit)


@pytest.mark.parametrize("ask", [ask, ask_async])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_policy_may_allow_a_request_from_outside(make_kit, ask, asynchronous):
    assert ask(make_kit(plugins=[voting(Allow, asynchronous=asynchronous)]))


def fail():
    raise OSError("the secret is out")


def exit_():
    raise SystemExit("the secret is out")


@pytest.mark.parametrize("ask", [ask, ask_async])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: True,
        lambda: 1,
        lambda: "yes",
        lambda: Allow,
        lambda: [Allow()],
        lambda: Actor("ada"),
        lambda: (vote for vote in [Allow()]),
        lambda: Allow(capabilities=[untyped("fly")]),
        lambda: Allow(max_role=untyped("modrator")),
        exit_,
        fail,
    ],
)
def test_whatever_is_no_vote_denies_and_names_the_plugin_in_the_log_alone(make_kit, caplog, ask, asynchronous, answer):
    kit = make_kit(plugins=[Allows(), voting(answer, "the culprit", asynchronous)])

    with pytest.raises(PolicyFault) as refusal:
        ask(kit)
    with caplog.at_level(logging.ERROR):
        answer = refused(refusal.value)

    assert "the culprit" in caplog.text
    assert answer.status == 503
    assert b"culprit" not in answer.body
    assert "the secret is out" not in caplog.text


@pytest.mark.parametrize("plugin", [voting(lambda: None), voting(lambda: None, asynchronous=True)])
def test_abstaining_opens_nothing(make_kit, plugin):
    with pytest.raises(PolicyDenied):
        ask(make_kit(plugins=[plugin]))


def test_an_async_policy_sees_the_callers_context_under_a_sync_framework(make_kit):
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user")
    seen = []
    user.set("ada")
    ask(make_kit(plugins=[voting(lambda: seen.append(user.get()) or Allow(), asynchronous=True)]))

    assert seen == ["ada"]


# -- identify --------------------------------------------------------------------------------------


def identifying(answer, name):
    class Identifies:
        name: str

        @hookimpl
        def rolecall_identify(self, request):
            return answer()

    plugin = Identifies()
    plugin.name = name
    return plugin


def test_the_actor_reaches_the_vote(make_kit):
    class OnlyAda:
        @hookimpl
        def rolecall_vote_session(self, request):
            return Allow() if request.actor == Actor("ada") else Deny("only Ada")

    ada = identifying(lambda: Actor("ada"), "login")
    assert ask(make_kit(plugins=[OnlyAda(), ada]))
    with pytest.raises(PolicyDenied, match="only Ada"):
        ask(make_kit(plugins=[OnlyAda()]))


@pytest.mark.parametrize("answer", [lambda: "ada", lambda: True, fail])
def test_an_identification_that_is_no_actor_refuses_the_request(make_kit, answer):
    with pytest.raises(PolicyFault):
        ask(make_kit(plugins=[Allows(), identifying(answer, "login")]))


def test_two_plugins_that_name_different_actors_refuse_the_request(make_kit):
    plugins = [identifying(lambda: Actor("ada"), "a"), identifying(lambda: Actor("bob"), "b")]
    with pytest.raises(PolicyFault, match="another actor"):
        ask(make_kit(plugins=[Allows(), *plugins]))


# -- start-up --------------------------------------------------------------------------------------


class Misspelt:
    @hookimpl
    def rolecall_vote_sesion(self, request):
        return Allow()


class Unmarked:
    def rolecall_vote_session(self, request):
        return Allow()


class Wrapper:
    @untyped(hookimpl)(wrapper=True)
    def rolecall_vote_session(self, request):
        return (yield)


class WrongSignature:
    @hookimpl
    def rolecall_vote_session(self, demand):
        return Allow()


class WrongArgument:
    @hookimpl
    def rolecall_vote_token(self, req):
        return Allow()


class WrongEventArgument:
    @hookimpl
    def rolecall_on_event(self, happened): ...


class NeedlessArgument:
    @hookimpl
    def rolecall_register_roles(self, kit):
        return []


class ArgumentTooMany:
    @untyped(hookimpl)
    def rolecall_vote_token(self, request, token):
        return Allow()


class Renamed:
    @untyped(hookimpl)(specname="rolecall_vote_session")
    def vote(self, request):
        return Allow()


class Empty:
    pass


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Misspelt(), "no hook rolecall_vote_sesion"),
        (Unmarked(), "not marked with @hookimpl"),
        (Wrapper(), "wrapper"),
        (WrongSignature(), "demand"),
        (WrongArgument(), "rolecall_vote_token has an argument 'req'; the argument is called 'request'"),
        (WrongEventArgument(), "has an argument 'happened'; the argument is called 'event'"),
        (NeedlessArgument(), "has an argument 'kit'; the hook has none"),
        (ArgumentTooMany(), "has an argument 'token'; the argument is called 'request'"),
        (Renamed(), "specname"),
        (Empty(), "implements no hook"),
        (Allows, "pass an instance"),
    ],
)
def test_a_plugin_that_would_not_do_what_it_says_stops_start_up(make_kit, plugin, message):
    with pytest.raises(PluginError, match=message):
        make_kit(plugins=[plugin])


def test_two_plugins_of_one_name_stop_start_up(make_kit):
    with pytest.raises(PluginError, match="two plugins"):
        make_kit(plugins=[voting(Allow, "twin"), voting(Allow, "twin")])


def test_a_module_is_a_plugin(make_kit):
    module: Any = types.ModuleType("classroom")
    module.rolecall_vote_session = hookimpl(lambda request: Allow())
    kit = make_kit(plugins=[module])

    assert [plugin.name for plugin in kit.plugins] == ["classroom"]
    assert ask(kit)


def test_a_hook_may_leave_out_the_request(make_kit):
    module: Any = types.ModuleType("open_day")
    module.rolecall_vote_session = hookimpl(lambda: Allow())
    assert ask(make_kit(plugins=[module]))


def test_plugins_of_one_kit_do_not_reach_another(make_kit):
    make_kit(plugins=[voting(lambda: Deny("no"))])
    assert make_kit().create_session()


def test_a_plugin_may_not_take_the_kits_own_name(make_kit):
    with pytest.raises(PluginError, match="the kit's own"):
        make_kit(plugins=[voting(Allow, "rolecall")])


@pytest.mark.parametrize("plugins", [Allows(), "rolecall.policies", None])
def test_plugins_come_as_a_list(make_kit, plugins):
    with pytest.raises(PluginError, match="expected a list"):
        make_kit(plugins=plugins)


def test_an_outside_request_that_no_plugin_votes_on_leaves_a_hint_in_the_log(kit, caplog):
    with pytest.raises(PolicyDenied):
        ask(kit)
    assert "no plugin votes" in caplog.text


def test_an_async_policy_that_cancels_itself_is_a_fault(make_kit):
    def cancel():
        raise asyncio.CancelledError

    with pytest.raises(PolicyFault):
        ask(make_kit(plugins=[voting(cancel, asynchronous=True)]))


def test_closing_the_kit_frees_a_thread_that_waits_for_a_policy(make_kit):
    started = threading.Event()

    class Forever:
        @hookimpl
        async def rolecall_vote_session(self, request):
            started.set()
            await asyncio.sleep(3600)

    kit = make_kit(plugins=[Forever()])
    refusals = []

    def wait():
        try:
            ask(kit)
        except PolicyFault as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=wait)
    thread.start()
    assert started.wait(5)
    kit.close()
    thread.join(5)

    assert refusals
