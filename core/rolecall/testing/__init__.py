"""A pytest plugin for app teams: real kits, real tokens, and a clock that stands still.

The fixtures come with the installation; import the two assertions from here. Nothing here turns a check off.
"""

# pytest loads this module for every suite where Rolecall is installed, so imports are where they are used.
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from copy import copy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import pytest

if TYPE_CHECKING:
    from ..explain import Explanation
    from ..kit import Rolecall
    from ..plugins.protocols import Plugin
    from ..request import Request
    from ..roles import Capability, CapabilityName, Role, RoleName
    from ..sessions import SessionRecord


__all__ = ["AsRole", "Clock", "MakeKit", "TokenFor", "assert_allowed", "assert_refused"]

# These suites are no plugins, so pytest must be told to rewrite their assertions.
pytest.register_assert_rewrite("rolecall.testing.conformance", "rolecall.testing.stores")

SessionOrId: TypeAlias = "SessionRecord | str"
Seconds: TypeAlias = "float | timedelta"
Client = TypeVar("Client")

#: Noon of 1 January 2026, UTC.
_START: Final = 1_767_268_800.0
_API_KEY: Final = "7357"
# Public, so it is good for nothing but tests.
_API_SECRET: Final = "the secret of rolecall.testing, for tests and nothing else"  # noqa: S105


class Clock:
    """A clock that stands still until it is set or advanced; pass it to a kit as ``clock=``."""

    def __init__(self, now: float = _START) -> None:
        #: The current time, in Unix seconds.
        self.now = now

    def __call__(self) -> float:
        return self.now

    def set(self, moment: float | datetime) -> None:
        """Set the time: Unix seconds, or an aware ``datetime``."""
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                raise ValueError("the moment is a naive datetime; give it a time zone: datetime(…, tzinfo=UTC)")
            moment = moment.timestamp()
        self.now = float(moment)

    def advance(self, by: Seconds) -> None:
        """Advance the time: by seconds, or a ``timedelta``."""
        self.now += _seconds(by)

    def __repr__(self) -> str:
        return f"<Clock at {self.now}>"


class MakeKit:
    """Makes kits for a test. They are closed at its end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kits: list[Rolecall] = []

    def __call__(self, plugins: Iterable[Plugin] = (), **options: Any) -> Rolecall:
        """Make a kit with these plugins, a key for tests, a store in memory, and the clock that stands still.

        Plugins of installed packages are not loaded, so that a test does not depend on them.

        :param options: arguments of :class:`~rolecall.Rolecall`, which take precedence.
        """
        from ..kit import Rolecall

        defaults = {"api_key": _API_KEY, "api_secret": _API_SECRET, "clock": self._clock, "entry_points": False}
        kit = Rolecall(plugins=plugins, **{**defaults, **options})
        self._kits.append(kit)
        return kit

    def close(self) -> None:
        """Close the kits."""
        while self._kits:
            self._kits.pop().close()


class TokenFor:
    """Mints real tokens of one kit."""

    def __init__(self, kit: Rolecall) -> None:
        self._kit = kit

    def __call__(
        self,
        role: Role | RoleName = "publisher",
        *,
        session: SessionOrId | None = None,
        data: str | None = None,
        expires_in: Seconds | None = None,
    ) -> str:
        """Mint a token, as the server's own code would; the kit's policies vote, too.

        :param session: the session or its id; a new session unless given.
        :param expires_in: seconds from the kit's now, or a ``timedelta``.
        :raises AssertionError: if the policies leave less than this role, because the test would not notice.
        """
        __tracebackhide__ = True
        kit = self._kit
        session = kit.create_session() if session is None else session
        asked = (_id(session), role, _lifetime(expires_in), data)
        token = kit.generate_token(*asked)
        granted = kit.verify_token(token).role
        if granted != role:
            raise AssertionError(
                f"the kit's policies leave {str(granted)!r} of the role {str(role)!r}:\n{kit.explain_token(*asked)}"
            )
        return token


class AsRole:
    """Makes test clients whose requests carry a real token."""

    def __init__(self, token_for: TokenFor) -> None:
        self._token_for = token_for

    def __call__(
        self,
        client: Client,
        role: Role | RoleName = "publisher",
        *,
        session: SessionOrId | None = None,
        data: str | None = None,
        expires_in: Seconds | None = None,
    ) -> Client:
        """Copy ``client``, so that every request of the copy sends a token. ``client`` itself is unchanged.

        The two share their cookies, so a user who is logged in stays logged in. The other arguments are those of
        ``rolecall_token_for``.

        :param client: Flask's or Django's test client (Django's ``AsyncClient``, too), or one with default ``headers``:
            Starlette's, httpx's, requests'.
        """
        __tracebackhide__ = True
        token = self._token_for(role, session=session, data=data, expires_in=expires_in)
        return _with_credential(client, f"Bearer {token}")


@pytest.fixture
def rolecall_clock() -> Clock:
    """A clock that stands still: ``rolecall_clock.advance(60)``, ``rolecall_clock.set(moment)``."""
    return Clock()


@pytest.fixture
def rolecall_make_kit(rolecall_clock: Clock) -> Iterator[MakeKit]:
    """Makes kits: ``rolecall_make_kit(plugins=[MyPolicy()], plugin_config={…})``. They are closed at the end."""
    make = MakeKit(rolecall_clock)
    yield make
    make.close()


@pytest.fixture
def rolecall_kit(rolecall_make_kit: MakeKit) -> Rolecall:
    """A kit without plugins. Override this fixture to make the others (tokens, clients) use your app's kit."""
    return rolecall_make_kit()


@pytest.fixture
def rolecall_token_for(rolecall_kit: Rolecall) -> TokenFor:
    """Mints real tokens: ``rolecall_token_for("moderator", session=session, data="ada", expires_in=60)``."""
    return TokenFor(rolecall_kit)


@pytest.fixture
def rolecall_as_role(rolecall_token_for: TokenFor) -> AsRole:
    """A test client whose requests carry a real token: ``rolecall_as_role(client, "moderator", session=session)``."""
    return AsRole(rolecall_token_for)


def assert_allowed(
    kit: Rolecall,
    session: SessionOrId | None = None,
    role: Role | RoleName | None = None,
    *,
    token: str | None = None,
    capability: Capability | CapabilityName | None = None,
    data: str | None = None,
    expires_in: Seconds | None = None,
    http: Request | None = None,
    granted: str | None = None,
) -> Explanation:
    """Assert that the kit would issue a token, or, with ``token``, admit its bearer to a guarded route.

    Nothing is issued; a failure shows every step of the decision.

    :param session: the session of the token or of the route, or its id.
    :param role: the requested role (a publisher's unless given), or the role that the route requires.
    :param token: the bearer's token.
    :param capability: the capability that the route requires, instead of a role.
    :param data: the requested connection data.
    :param expires_in: the requested life: seconds, or a ``timedelta``.
    :param http: the request from outside; without one, the server's own code requests the token.
    :param granted: the role that the policies should leave: the requested one unless given.
    :return: the explanation, for further checks.
    """
    __tracebackhide__ = True
    if token is not None and granted is not None:
        raise TypeError("granted is about a token that is asked for; with token= say which role= the route requires")
    explanation = _explain(kit, session, role, token, capability, data, expires_in, http)
    if not explanation.allowed:
        raise AssertionError(f"expected to be allowed, but it is refused.\n{explanation}")
    if token is None:
        _check_granted(explanation, granted or role or "publisher")
    return explanation


def assert_refused(
    kit: Rolecall,
    session: SessionOrId | None = None,
    role: Role | RoleName | None = None,
    *,
    code: str,
    token: str | None = None,
    capability: Capability | CapabilityName | None = None,
    data: str | None = None,
    expires_in: Seconds | None = None,
    http: Request | None = None,
) -> Explanation:
    """Assert that the kit would refuse with this code. The other arguments are those of :func:`assert_allowed`.

    :param code: the refusal's code: a policy's own (``Deny(code=…)``), or an error's, for example ``"expired_token"``.
    :return: the explanation, for further checks.
    """
    __tracebackhide__ = True
    explanation = _explain(kit, session, role, token, capability, data, expires_in, http)
    if explanation.code != code:
        outcome = "allowed" if explanation.allowed else f"refused with {explanation.code!r}"
        raise AssertionError(f"expected to be refused with {code!r}, but it is {outcome}.\n{explanation}")
    return explanation


def _explain(
    kit: Rolecall,
    session: SessionOrId | None,
    role: Role | RoleName | None,
    token: str | None,
    capability: Capability | CapabilityName | None,
    data: str | None,
    expires_in: Seconds | None,
    http: Request | None,
) -> Explanation:
    if token is not None:
        if data is not None or expires_in is not None:
            raise TypeError("data and expires_in are about a token that is asked for, and token= is one already")
        named = None if session is None else _id(session)
        return kit.explain_access(token, role=role, capability=capability, session_id=named, http=http)
    if session is None or capability is not None:
        raise TypeError("give token= to ask about a guarded route, or else the session to ask for a token")
    return kit.explain_token(_id(session), role or "publisher", _lifetime(expires_in), data, http=http)


def _check_granted(explanation: Explanation, role: str) -> None:
    __tracebackhide__ = True
    granted = next(step.detail.partition(" ")[0] for step in explanation.steps if step.name == "grant")
    if granted != role:
        raise AssertionError(f"expected the role {str(role)!r}, but the policies leave {granted!r}.\n{explanation}")


def _with_credential(client: Client, credential: str) -> Client:
    other: Any = copy(client)
    if name := _django_default(client):
        other.defaults = {**other.defaults, name: credential}
    elif hasattr(other, "environ_base"):
        other.environ_base = {**other.environ_base, "HTTP_AUTHORIZATION": credential}
        _forget_contexts(other)
    elif hasattr(other, "headers"):
        other.headers = other.headers.copy()
        other.headers["Authorization"] = credential
    else:
        raise TypeError(
            f"a {type(client).__name__} has no default headers; "
            "send the token with each request: headers={'Authorization': f'Bearer {rolecall_token_for(…)}'}"
        )
    copied: Client = other
    return copied


def _django_default(client: object) -> str | None:
    """The name of the header among the defaults of Django's clients; None for any other client."""
    django: Any = sys.modules.get("django.test")
    if django is None or not isinstance(client, django.RequestFactory):
        return None
    # The defaults of an async client are headers; those of the other are WSGI variables.
    return "AUTHORIZATION" if isinstance(client, django.AsyncRequestFactory) else "HTTP_AUTHORIZATION"


def _forget_contexts(client: Any) -> None:
    """Give a copy of Flask's client its own request contexts, which the client keeps in ``with client:``."""
    from contextlib import ExitStack

    client.preserve_context = False
    client._new_contexts = []
    client._context_stack = ExitStack()


def _id(session: SessionOrId) -> str:
    return session if isinstance(session, str) else session.session_id


def _seconds(duration: Seconds) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _lifetime(expires_in: Seconds | None) -> timedelta | None:
    return None if expires_in is None else timedelta(seconds=_seconds(expires_in))
