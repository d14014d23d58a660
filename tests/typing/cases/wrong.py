"""What apps write by mistake. A type checker says so where a line ends in ``wrong``."""

from __future__ import annotations

from typing import Any

from rolecall import Allow, Event, Grant, Role, Rolecall, SessionRequest, TokenRequest, Vote, hookimpl
from rolecall.connector import RemoteService
from rolecall.policies import AllowAnyone, RoleMap
from rolecall.testing import assert_allowed
from rolecall_fastapi import RoleRequired
from rolecall_flask import require_capability, require_role


class Policy:
    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        return Allow()


class MisspeltName:
    @hookimpl
    def rolecall_vote_tokn(self, request: TokenRequest) -> Vote:
        return Allow()


class MisspeltArgument:
    @hookimpl  # wrong
    def rolecall_vote_token(self, req: TokenRequest) -> Vote:
        return Allow()


class Truthy:
    @hookimpl  # wrong
    def rolecall_vote_token(self, request: TokenRequest) -> bool:
        return True


class OfAnotherKind:
    @hookimpl  # wrong
    def rolecall_on_event(self, event: SessionRequest) -> None: ...


class Wrapping:
    @hookimpl(wrapper=True)  # wrong
    def rolecall_on_event(self, event: Event) -> None: ...


def run(kit: Rolecall, grant: Grant, name: str) -> None:
    Rolecall(plugins=[Policy])  # wrong
    Rolecall(plugins=[MisspeltName()])  # wrong
    Rolecall(plugins=Policy())  # wrong
    Rolecall(plugin=[Policy()])  # wrong
    session = kit.create_session(media_mode="rooted")  # wrong
    kit.create_session(archive_mode="sometimes")  # wrong
    kit.create_session(e2e=True)  # wrong
    kit.generate_token(session, "moderater")  # wrong
    kit.generate_token(session, name)  # wrong
    kit.generate_token(session, rol="moderator")  # wrong
    kit.generate_token()  # wrong
    kit.generate_token(7)  # wrong
    session.generate_token("moderater")  # wrong
    session.generate_token(session_id=session)  # wrong
    session.end("now")  # wrong
    kit.verify_token(token="token", session=session)  # wrong
    kit.check_grant(grant, capability="moderate")  # wrong
    kit.explain_access("token", role="host")  # wrong
    grant.allows("publsh")  # wrong
    Allow(max_role="host")  # wrong
    Allow(capabilities=["publsh"])  # wrong
    Role("assistant", ["talk"])  # wrong
    Role("assistant", ["connect"], wire_name="guest")  # wrong
    AllowAnyone("host")  # wrong
    RoleMap({"staff": "host"})  # wrong
    RemoteService("key", "secret").create_session(media_mode="rooted")  # wrong
    RemoteService("key", "secret").signal("session", kind="chat")  # wrong
    assert_allowed(kit, session, "host")  # wrong
    RoleRequired("host")  # wrong


async def in_async_code(kit: Rolecall) -> None:
    session = await kit.aio.create_session(media_mode="rooted")  # wrong
    await session.generate_token("moderater")  # wrong
    await kit.aio.generate_token(session, rol="moderator")  # wrong
    await kit.create_session()  # wrong
    kit.aio.close(now=True)  # wrong


@require_role  # wrong
def uncalled(session_id: str) -> Any: ...


@require_role("host")  # wrong
def misspelt_role(session_id: str) -> Any: ...


@require_capability("publsh")  # wrong
def misspelt_capability(session_id: str) -> Any: ...
