"""What the tests of the ready policies share: requests from outside by somebody, and the grants they lead to."""

from __future__ import annotations

import pytest

from rolecall import Actor, Allow, hookimpl
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.request import Request
from rolecall.sessions import SessionProperties


class Login:
    """Says who asks, as the headers have it: ``x-user``, and ``x-groups`` separated by commas."""

    @hookimpl
    def rolecall_identify(self, request):
        user = request.headers.get("x-user")
        groups = request.headers.get("x-groups", "")
        return Actor(user, {"groups": [name for name in groups.split(",") if name]}) if user else None


class AllowAll:
    """Allows everything, so that what is refused was refused by the policy under test."""

    @hookimpl
    def rolecall_vote_session(self, request):
        return Allow()

    @hookimpl
    def rolecall_vote_token(self, request):
        return Allow()


def outside(user=None, *groups, **headers):
    """A request from outside."""
    known = {} if user is None else {"x-user": user, "x-groups": ",".join(groups)}
    return Request("POST", "/sessions", headers={**known, **headers})


class Asker:
    """Asks a kit for sessions and tokens, as a request from outside or (``http=None``) as the server's own code."""

    def __init__(self, kit) -> None:
        self.kit = kit

    def session(self, http=None, **properties):
        return drive(self.kit.engine.create_session(SessionProperties(**properties), call=Call(http))).session_id

    def token(self, session_id, role="publisher", http=None, expire_time=None):
        """What the token grants."""
        token, _ = drive(self.kit.engine.generate_token(session_id, role, expire_time, None, (), Call(http)))
        return self.kit.verify_token(token)


@pytest.fixture
def asker(make_kit):
    """Makes kits with policies, who are told who asks."""

    def make(*policies, allow_all=False, **options) -> Asker:
        plugins = [Login(), *policies, *([AllowAll()] if allow_all else [])]
        return Asker(make_kit(plugins=plugins, **options))

    return make


@pytest.fixture(name="outside")
def outside_fixture():
    return outside
