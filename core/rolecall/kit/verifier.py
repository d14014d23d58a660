"""A kit that verifies the tokens of another service, with that service's public keys alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..clock import system_clock
from ..driver import Driver
from ..driver.threads import PoolExhausted
from ..encoding import jws
from ..engine.housekeeping import Retention
from ..engine.state import State
from ..engine.verified import VerifiedTokens
from ..errors import ConfigurationError, KeysUnavailable, NotInStep, OnlyVerifies, UnknownKey
from ..formats.claims import ClaimRules
from ..formats.own import JwtFormat
from ..http.api.sdk_credentials import ServerCredentials
from ..http.credentials import Credentials
from ..http.web import Web
from ..keys import HMACKey, KeyRing
from ..keys.following import FollowedKeys, Timing
from ..keys.issuers import Issuer
from ..keys.signers import Signer, checked_audience, checked_issuer
from ..keys.sources import source_of
from ..session_ids import PlainNames
from ..stores.memory import MemoryStore
from ..tokens import Grant, TokenOptions
from ..wording import shown
from . import Rolecall, _check_leeway, _check_timeout, _check_web, _frozen_config
from .assembly import plugins_of, roles_of

if TYPE_CHECKING:
    from ..plugins.protocols import Plugin

_WAITING = "an issuer's keys"
_MAX_STALE = 30 * 86_400.0


class Verifier(Rolecall):
    """A kit that only verifies tokens of the format ``jwt``: ``Rolecall.verifier(…)``.

    Guards, policies and adapters work with it as with any kit. It holds no secret, and no session: whatever creates,
    mints or ends something is refused (:class:`~rolecall.errors.OnlyVerifies`). It does not hear of sessions that the
    issuer ends; only ``exp`` bounds what it accepts.

    Keys at a URL are fetched when it is made, and again at half of their life (``max-age``, 1 minute to 1 hour), in the
    background. While that fails, the last good keys are used for ``max_stale`` seconds; then tokens are answered 503.
    An unknown ``kid`` causes one fetch, at most every 30 seconds, for which its token waits up to 2 seconds.

    :param jwks: the issuer's public keys: the URL of its ``jwks.json``, the path of a file, or the set itself.
    :param issuer: the ``iss`` of its tokens.
    :param audience: the ``aud`` of its tokens; without it, tokens with an ``aud`` are refused.
    :param max_stale: for how long the last good keys are used while they cannot be fetched, in seconds, at most 30
        days.
    :param plugins: the app's policies; this and all further arguments are as for :class:`Rolecall`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    _timing: ClassVar[Timing] = Timing()

    def __init__(
        self,
        jwks: str | os.PathLike[str] | Mapping[str, Any],
        *,
        issuer: str,
        audience: str | None = None,
        max_stale: float = 86_400,
        plugins: Iterable[Plugin] = (),
        entry_points: Collection[str] | Literal[False] = (),
        blocked_plugins: Collection[str] = (),
        plugin_config: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        leeway: float = 10,
        hook_timeout: float = 5.0,
        clock: Callable[[], float] = system_clock,
        trace: bool = False,
        web: Web = Web(),  # noqa: B008 (it does not change)
    ) -> None:
        name, audience = checked_issuer(issuer), checked_audience(audience)
        _check_leeway(leeway)
        _check_timeout("hook_timeout", hook_timeout)
        _check_stale(max_stale)
        _check_web(web, trace)
        if web.cookie is not None:
            raise ConfigurationError(
                "a verifier takes no tokens from a cookie: the proof of a request's origin needs the issuer's key"
            )
        if not callable(clock):
            raise ConfigurationError(f"clock is {shown(clock)}; expected a function that returns Unix seconds")
        self._plugin_config = _frozen_config(plugin_config)
        loaded = plugins_of(plugins, entry_points, blocked_plugins, list(plugin_config))
        rules = ClaimRules(roles_of(loaded), leeway)
        # Nothing is derived from this key that anybody else should know.
        placeholder = Signer(name, KeyRing([HMACKey(os.urandom(32))]), audience)
        keys = FollowedKeys(source_of(jwks), self._timing._replace(max_stale=max_stale))
        form = _FollowedFormat([placeholder], rules, keys)
        state = _VerifierState(
            api_key=name,
            session_ids=PlainNames(placeholder),
            store=_NoSessions(keys),
            roles=rules.roles,
            rules=rules,
            mint=form,
            formats={"jwt": form},
            plugins=loaded,
            clock=clock,
            deadline=hook_timeout,
            store_timeout=hook_timeout,
            is_immediate=False,
            trace_log=trace,
            retention=Retention.of(None, None),
        )
        state.keys = keys
        self._assemble(state, web, Credentials(web, placeholder), ServerCredentials((), None, name, leeway))

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):
            return "<Verifier, not made yet>"
        return f"<Verifier issuer={self.api_key!r} plugins={[plugin.name for plugin in self.plugins]}>"


def _check_stale(seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _MAX_STALE:
        raise ConfigurationError(f"max_stale is {shown(seconds)}; expected seconds, above 0 and up to 30 days")


class _NoSessions(MemoryStore):
    """The store of a verifier, for policies that count; it closes the keys, too."""

    # No session is ever created here, so there is none that another process could miss.
    shared = True

    def __init__(self, keys: FollowedKeys) -> None:
        super().__init__()
        self._keys = keys

    def close(self) -> None:
        self._keys.close()


class _FollowedFormat(JwtFormat):
    """The format ``jwt``, with the keys that another service publishes."""

    __slots__ = ("_followed", "_keys")

    def __init__(self, issuers: list[Signer], rules: ClaimRules, keys: FollowedKeys) -> None:
        super().__init__(issuers, rules)
        self._keys = keys
        self._followed: tuple[KeyRing, jws.Codec] | None = None

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        raise _only_verifies()

    def _open(self, token: bytes) -> bytes:
        ring, followed = self._keys.ring(), self._followed
        if followed is None or followed[0] is not ring:
            self._followed = followed = ring, jws.Codec(Issuer(self._issuer, ring), jws.OWN_TYPE)
        try:
            return followed[1].verify(token)
        except UnknownKey:
            names_key = "kid" in jws.read_header(token.partition(b".")[0])
            if names_key and self._keys.is_worth_a_wait():
                raise NotInStep("the token names a key that is not known yet") from None
            raise


class _VerifierState(State):
    """The state of a verifier."""

    keys: FollowedKeys
    _ring: KeyRing | None = None

    def read_token(self, token: object, session_id: str | None) -> Grant:
        ring = self.keys.ring()
        if ring is not self._ring:
            # A key of the earlier ring may be gone, and with it the tokens that it signed.
            self._ring, self.verified = ring, VerifiedTokens()
        return super().read_token(token, session_id)

    async def read_patiently(self, token: object, session_id: str | None, driver: Driver) -> Grant:
        try:
            return self.read_token(token, session_id)
        except NotInStep:
            # Suppressed, because the second look says what is known.
            with suppress(PoolExhausted, TimeoutError):
                await driver.run(_WAITING, 2 * self.keys.patience, self.keys.wait)
        try:
            return self.read_token(token, session_id)
        except NotInStep:
            error = KeysUnavailable("the issuer's keys are still being fetched")
            error.retry_after = 1
            raise error from None

    def check_issues(self) -> None:
        raise _only_verifies()

    def try_keys(self, options: Callable[[], TokenOptions], now: float) -> None:
        self.keys.ring()


def _only_verifies() -> OnlyVerifies:
    return OnlyVerifies("this service only verifies tokens: sessions and tokens are made where its keys are from")
