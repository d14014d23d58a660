"""A policy that limits the rate of requests; it needs the package ``limits``."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError
from ..hookspecs import Asked, SessionRequest, TokenRequest, blocking, hookimpl
from ..policy import MAX_RETRY_AFTER, Deny, Limit, Vote
from ..request import Request
from ..wording import shown
from .arguments import checked_name

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

_PER: Final = ("actor", "session", "address")
_STRATEGIES: Final = ("moving-window", "fixed-window", "sliding-window-counter")
# An IPv6 address is in brackets where a port may follow (RFC 3986, section 3.2.2).
_WITH_PORT: Final = re.compile(r"(?:(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\[\]]+)\](?::[0-9]{1,5})?)")


class RateLimit:
    """Limits the rate of requests from outside for tokens, and for new sessions: ``RateLimit("30/minute")``.

    Tokens and sessions are counted separately. Requests beyond the rate are denied (429, ``"rate_limited"``, with
    ``Retry-After``). Only requests that all policies allow are counted. This policy never allows: another policy has
    to. It does not limit the server's own code. Time is that of ``limits`` and its storage, not the kit's clock. If the
    storage does not answer, the request is refused.

    :param rate: in the notation of ``limits``: ``"30/minute"``, ``"5 per 10 seconds"``, several joined by ``;``.
    :param per: the unit of counting: the ``"actor"`` (requests without an identified actor are denied,
        ``"not_identified"``), the ``"session"`` (tokens only), or the client's ``"address"``.
    :param address_header: with ``"address"``, the header in which your own proxy writes the client's address, for
        example ``"x-forwarded-for"``. An address may have a port; the 2**64 addresses of an IPv6 network count as one.
        A request without an address is denied (``"unknown_address"``).
    :param trusted_proxies: the number of your own proxies in front of the app. Each appends to the header the address
        that it was called from, so with one proxy the last entry is the client's, with two the last but one. A client
        can forge all entries before it.
    :param storage: the storage of the counts, as a URI of ``limits``: ``"memory://"`` (one worker), or for several
        workers for example ``"redis://…"``.
    :param storage_options: further arguments of that storage, for example its timeouts.
    :param strategy: ``"moving-window"``, ``"fixed-window"`` or ``"sliding-window-counter"``; not every storage supports
        all of them.
    :param name: the policy's name, which is also the key of its counts; ``"rate_limit_per_actor"`` and the like unless
        given.
    :raises ConfigurationError: for arguments that cannot be meant, and if ``limits`` is not installed.
    """

    def __init__(
        self,
        rate: str,
        *,
        per: str = "actor",
        address_header: str | None = None,
        trusted_proxies: int = 1,
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
        if (address_header or "").lower() == "forwarded":
            raise ConfigurationError(
                "address_header is 'forwarded', which has a form of its own that is not read; let your proxy write the "
                "address into x-forwarded-for, or another header"
            )
        if type(trusted_proxies) is not int or trusted_proxies < 1:
            raise ConfigurationError(
                f"trusted_proxies is {shown(trusted_proxies)}; expected the number of your own proxies, 1 or more"
            )
        if trusted_proxies != 1 and address_header is None:
            raise ConfigurationError("trusted_proxies goes with per='address', and address_header")
        if strategy not in _STRATEGIES:
            raise ConfigurationError(f"strategy is {shown(strategy)}; expected one of {', '.join(_STRATEGIES)}")
        self._per = per
        self._address_header = (address_header or "").lower()
        self._trusted_proxies = trusted_proxies
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

    def _vote(self, asked: str, request: Asked, http: Request, session_id: str | None) -> Vote:
        if self._per == "session":
            key = session_id
        elif self._per == "actor":
            if request.actor is None:
                return Deny("requests are counted for each user, and nobody was identified", code="not_identified")
            key = request.actor.id
        else:
            key = _address(http.headers.get(self._address_header, ""), self._trusted_proxies)
            if key is None:
                return Deny(
                    "requests are counted for each address, and yours is not known",
                    code="unknown_address",
                    detail=f"entry {self._trusted_proxies} from the right of {self._address_header} is no IP address",
                )
        for rate in self._rates:
            # Not `all(…)`: only exactly True is within the rate.
            if self._limiter.test(rate, self.name, asked, str(key)) is not True:
                return self._denial(rate, asked, str(key))
        return Limit(reason="within the rate", reserve=partial(self._count, asked, str(key)))

    def _count(self, asked: str, key: str) -> Deny | None:
        """Count a request that all policies allow. ``limits`` cannot take a count back."""
        for rate in self._rates:
            if self._limiter.hit(rate, self.name, asked, key) is not True:
                return self._denial(rate, asked, key)
        return None

    def _denial(self, rate: RateLimitItem, asked: str, key: str) -> Deny:
        reset = self._limiter.get_window_stats(rate, self.name, asked, key).reset_time
        seconds = min(max(1, math.ceil(reset - time.time())), MAX_RETRY_AFTER)
        return Deny(
            f"too many requests: at most {rate}; try again in {seconds} s",
            code="rate_limited",
            status=429,
            retry_after=seconds,
        )


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

    # A URI may hold a password, so no message quotes it.
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


def _address(header: str, trusted_proxies: int) -> str | None:
    """The client's address as a key for counting: IPv4, or the network of 2**64 addresses for IPv6."""
    entries = header.split(",")
    if len(entries) < trusted_proxies:
        return None  # the request bypassed one of the proxies
    try:
        address = ip_address(_without_port(entries[-trusted_proxies].strip()))
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    # The zone of a scoped address is local to one machine, and can hold any text.
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))


def _without_port(entry: str) -> str:
    """Remove the port from ``192.0.2.1:4711`` or ``[2001:db8::1]:4711``, as some proxies write it."""
    match = _WITH_PORT.fullmatch(entry)
    return (match["v4"] or match["v6"]) if match else entry
