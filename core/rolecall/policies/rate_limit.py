"""The policy that limits how often somebody may ask; it needs the package ``limits``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError, shown
from ..hookspecs import SessionRequest, TokenRequest, blocking, hookimpl
from ..http.messages import Request
from ..policy import Deny, Vote
from .arguments import checked_name

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

_CODE: Final = "rate_limited"
_PER: Final = ("actor", "session", "address")
_STRATEGIES: Final = ("moving-window", "fixed-window", "sliding-window-counter")


class RateLimit:
    """Requests from outside for tokens, and for new sessions, come so often at most: ``RateLimit("30/minute")``.

    Tokens and sessions are counted apart. What exceeds the rate is denied (``"rate_limited"``), and does not count.
    It never allows: another policy has to. The server's own code is not limited. Time is that of the package
    ``limits`` and its storage, not of the kit's clock. A storage that does not answer refuses the request.

    :param rate: as ``limits`` writes it: ``"30/minute"``, ``"5 per 10 seconds"``, several joined by ``;``.
    :param per: whose requests are counted together: those of one ``"actor"`` (who is not identified is denied,
        ``"not_identified"``), for one ``"session"`` (tokens only), or from one ``"address"``.
    :param address_header: with ``"address"``, the header in which your own proxy writes the client's address, for
        example ``"x-forwarded-for"``. Of several addresses in it the last is taken, which is the one that the proxy
        added; the 2**64 addresses of an IPv6 network count as one. A request without an address is denied.
    :param storage: where counts are kept, as a URI of ``limits``: ``"memory://"`` (one worker), or for several
        workers for example ``"redis://…"``.
    :param storage_options: further arguments of that storage, for example its timeouts.
    :param strategy: ``"moving-window"``, ``"fixed-window"`` or ``"sliding-window-counter"``; not every storage can
        do each.
    :param name: the name that the policy goes by, and under which its counts are kept; ``"rate_limit_per_actor"``
        and the like unless given.
    :raises ConfigurationError: for arguments that cannot be meant, and if ``limits`` is not installed.
    """

    def __init__(
        self,
        rate: str,
        *,
        per: str = "actor",
        address_header: str | None = None,
        storage: str = "memory://",
        storage_options: Mapping[str, Any] = MappingProxyType({}),
        strategy: str = "moving-window",
        name: str | None = None,
    ) -> None:
        if per not in _PER:
            raise ConfigurationError(f"per is {shown(per)}; expected one of {', '.join(_PER)}")
        if (per == "address") != (address_header is not None):
            raise ConfigurationError(
                "address_header goes with per='address': the header in which your own proxy writes the client's address"
            )
        if address_header is not None and (not isinstance(address_header, str) or not address_header):
            raise ConfigurationError(f"address_header is {shown(address_header)}; expected the name of a header")
        if strategy not in _STRATEGIES:
            raise ConfigurationError(f"strategy is {shown(strategy)}; expected one of {', '.join(_STRATEGIES)}")
        self._per = per
        self._address_header = (address_header or "").lower()
        self.name = checked_name(f"rate_limit_per_{per}" if name is None else name)
        self._rates = _rates(rate)
        self._limiter = _limiter(storage, storage_options, strategy)

    @hookimpl
    @blocking
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if request.http is None or self._per == "session":
            return None
        return self._vote("session", request, request.http, None)

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if request.http is None:
            return None
        return self._vote("token", request, request.http, request.session_id)

    def _vote(self, asked: str, request: SessionRequest | TokenRequest, http: Request, session_id: str | None) -> Vote:
        if self._per == "session":
            key = session_id
        elif self._per == "actor":
            if request.actor is None:
                return Deny("requests are counted for each user, and nobody was identified", code="not_identified")
            key = request.actor.id
        else:
            key = _address(http.headers.get(self._address_header, ""))
            if key is None:
                return Deny(
                    "requests are counted for each address, and yours is not known",
                    code=_CODE,
                    detail=f"the header {self._address_header} does not end in an IP address",
                )
        explained = isinstance(request, TokenRequest) and request.dry_run
        count = self._limiter.test if explained else self._limiter.hit
        for rate in self._rates:
            # Not `all(…)`: only what is exactly True has been counted and found within the rate.
            if count(rate, self.name, asked, str(key)) is not True:
                return self._denial(rate, asked, str(key))
        return None

    def _denial(self, rate: RateLimitItem, asked: str, key: str) -> Deny:
        reset = self._limiter.get_window_stats(rate, self.name, asked, key).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return Deny(f"too many requests: at most {rate}; try again in {seconds} s", code=_CODE)


def _rates(text: object) -> list[RateLimitItem]:
    try:
        from limits import parse_many
    except ImportError:
        raise ConfigurationError("RateLimit needs the package limits; install it with: pip install limits") from None
    try:
        rates = parse_many(text) if isinstance(text, str) else []
    except ValueError:
        rates = []
    if not rates or any(rate.amount < 1 or rate.multiples < 1 for rate in rates):
        raise ConfigurationError(f"rate is {shown(text)}; expected for example '30/minute' or '5 per 10 seconds'")
    return rates


def _limiter(storage: object, options: Mapping[str, Any], strategy: str) -> RateLimiter:
    from limits.errors import ConfigurationError as LimitsConfigurationError
    from limits.storage import Storage, storage_from_string
    from limits.strategies import STRATEGIES

    # A URI may hold a password, so it is quoted nowhere.
    if not isinstance(storage, str) or "://" not in storage:
        raise ConfigurationError("storage is no URI; expected for example 'memory://' or 'redis://localhost:6379'")
    try:
        made = storage_from_string(storage, **options)
        if not isinstance(made, Storage):
            raise ConfigurationError("storage is an async one, and RateLimit waits on a thread; leave out 'async+'")
        limiter: RateLimiter = STRATEGIES[strategy](made)
    except ConfigurationError:
        raise
    except (LimitsConfigurationError, NotImplementedError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"storage cannot be used with the strategy {strategy!r} ({type(error).__name__}); expected a URI of a "
            "storage of limits that supports it, with the options that it takes"
        ) from None
    return limiter


def _address(header: str) -> str | None:
    try:
        address = ip_address(header.rpartition(",")[2].strip())
    except ValueError:
        return None
    if address.version == 4:
        return str(address)
    # The zone of a scoped address means nothing outside its own machine, and can hold any text.
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))
