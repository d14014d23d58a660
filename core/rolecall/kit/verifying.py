"""The state of a kit that verifies the tokens of another service, with that service's public keys alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar, Final

from ..driver import Driver
from ..driver.threads import PoolExhausted
from ..encoding.jws import UNKNOWN_KEY
from ..engine.housekeeping import Retention
from ..engine.state import State
from ..engine.verified import Verified, VerifiedTokens
from ..errors import ConfigurationError, KeysUnavailable, NotInStep, RolecallError, UnknownKey
from ..formats.claims import ClaimRules
from ..formats.followed import FollowedFormat, only_verifies
from ..http.api.sdk_credentials import ServerCredentials
from ..http.credentials import Credentials
from ..http.web import Web
from ..keys import HMACKey, KeyRing
from ..keys.following import FollowedKeys, Timing
from ..keys.signers import Signer, checked_audience, checked_issuer
from ..keys.sources import source_of
from ..plugins import Plugins
from ..session_ids import PlainNames
from ..stores.memory import MemoryStore
from ..tokens import Grant, TokenOptions
from ..wording import shown
from .assembly import roles_of

_WAITING: Final = "an issuer's keys"
_MAX_STALE: Final = 30 * 86_400.0


def named_issuer(issuer: object, audience: object) -> Signer:
    """The issuer whose tokens are verified.

    :raises ConfigurationError: if its name or the audience is wrong.
    """
    # Nothing is derived from this key that anybody else should know.
    return Signer(checked_issuer(issuer), KeyRing([HMACKey(os.urandom(32))]), checked_audience(audience))


def verifying_state(
    jwks: object,
    issuer: Signer,
    timing: Timing,
    *,
    plugins: Plugins,
    leeway: float,
    clock: Callable[[], float],
    deadline: float,
    trace_log: bool,
) -> State:
    """The state of a verifier.

    :param jwks: where the keys are.
    :raises ConfigurationError: if they cannot be there.
    """
    if isinstance(timing.max_stale, bool) or not (
        isinstance(timing.max_stale, int | float) and 0 < timing.max_stale <= _MAX_STALE
    ):
        raise ConfigurationError(f"max_stale is {shown(timing.max_stale)}; expected seconds, above 0 and up to 30 days")
    rules = ClaimRules(roles_of(plugins), leeway)
    keys = FollowedKeys(source_of(jwks), timing)
    form = FollowedFormat([issuer], rules, keys)
    state = _VerifyingState(
        api_key=issuer.id,
        session_ids=PlainNames(issuer),
        store=_NoSessions(keys),
        roles=rules.roles,
        rules=rules,
        mint=form,
        formats={"jwt": form},
        plugins=plugins,
        clock=clock,
        deadline=deadline,
        store_timeout=deadline,
        is_immediate=False,
        trace_log=trace_log,
        retention=Retention.of(None, None),
    )
    state.keys = keys
    keys.on_change = state.forget_tokens
    return state


def credentials_of_nobody(web: Web, issuer: Signer, leeway: float) -> tuple[Credentials, ServerCredentials]:
    """What finds the tokens of requests, and verifies the credentials of servers, of which a verifier knows none.

    :raises ConfigurationError: if tokens are to be found in a cookie.
    """
    if web.cookie is not None:
        raise ConfigurationError(
            "a verifier takes no tokens from a cookie: the proof of a request's origin needs the issuer's key"
        )
    return Credentials(web, issuer), ServerCredentials((), None, issuer.id, leeway)


class _NoSessions(MemoryStore):
    """The store of a verifier, for policies that count; it closes the keys, too."""

    # No session is ever created here, so there is none that another process could miss.
    shared = True

    def __init__(self, keys: FollowedKeys) -> None:
        super().__init__()
        self._keys = keys

    def revision(self) -> object:
        try:
            self._keys.ring()
        except RolecallError:
            return None  # no token is live as of this, so each is read again, and refused for want of keys
        return super().revision()

    def close(self) -> None:
        self._keys.close()


class _VerifyingState(State):
    """The state of a verifier."""

    waits_for_keys: ClassVar[bool] = True
    keys: FollowedKeys

    def read_token(self, token: object, session_id: str | None) -> tuple[Grant, Verified | None]:
        self.keys.ring()  # raises without keys, also for a token that was seen before
        return super().read_token(token, session_id)

    def forget_tokens(self) -> None:
        """Have all tokens verified again, because the key that signed one may be gone.

        Called after the ring was replaced: a thread that still holds the old cache writes to it, and nobody reads it
        any more.
        """
        self.verified = VerifiedTokens()

    async def read_patiently(
        self, token: object, session_id: str | None, driver: Driver
    ) -> tuple[Grant, Verified | None]:
        seen = self.keys.attempts
        try:
            return self.read_token(token, session_id)
        except NotInStep:
            has_tried = await self._wait(seen, driver)
        try:
            return self.read_token(token, session_id)
        except NotInStep:
            raise UnknownKey(UNKNOWN_KEY) if has_tried else _still_fetching() from None

    async def _wait(self, seen: int, driver: Driver) -> bool:
        """Wait for an attempt to fetch the keys, and return whether it is over."""
        try:
            return await driver.run(_WAITING, 2 * self.keys.patience, self.keys.wait, seen)
        except (PoolExhausted, TimeoutError):
            return False

    def check_issues(self) -> None:
        raise only_verifies()

    def try_keys(self, options: Callable[[], TokenOptions], now: float) -> None:
        self.keys.ring()


def _still_fetching() -> KeysUnavailable:
    error = KeysUnavailable("the issuer's keys are still being fetched")
    error.retry_after = 1
    return error
