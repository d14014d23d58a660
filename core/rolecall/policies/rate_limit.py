"""A policy that limits the rate of requests; it needs the package ``limits``, for the notation of rates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from ..hookspecs import SessionRequest, TokenRequest, blocking, hookimpl
from ..policy import MAX_RETRY_AFTER, Deny, Limit, Vote
from ..stores.leases import Full, Slot
from ..wording import shown
from .counting import Counting

if TYPE_CHECKING:
    from limits import RateLimitItem

_PER: Final = ("actor", "session", "address")
# An IPv6 address is in brackets where a port may follow (RFC 3986, section 3.2.2).
_WITH_PORT: Final = re.compile(r"(?:(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\[\]]+)\](?::[0-9]{1,5})?)")


class RateLimit(Counting):
    """Limits the rate of requests from outside for tokens, and for new sessions: ``RateLimit("30/minute")``.

    Tokens and sessions are counted separately; a renewal counts as a token. Requests beyond the rate are denied (429,
    ``"rate_limited"``, with ``Retry-After``). Only requests that all policies allow are counted, each until its window
    has passed (a moving window). The counts are in the kit's store, a row for each counted request; if it does not
    answer, the request is refused. This policy never allows: another policy has to. It limits the server's own code
    where that calls for an actor, except by address.

    :param rate: in the notation of ``limits``: ``"30/minute"``, ``"5 per 10 seconds"``, several joined by ``;``.
    :param per: the unit of counting: the ``"actor"`` (requests without an identified actor are denied,
        ``"not_identified"``), the ``"session"`` (tokens only), or the client's ``"address"``.
    :param address_header: with ``"address"``, the header in which your own proxy writes the client's address, for
        example ``"x-forwarded-for"``. An address may have a port; the 2**64 addresses of an IPv6 network count as one.
        A request without an address is denied (``"unknown_address"``).
    :param trusted_proxies: the number of your own proxies in front of the app. Each appends to the header the address
        that it was called from, so with one proxy the last entry is the client's, with two the last but one. A client
        can forge all entries before it.
    :param name: the policy's name, which is also the key of its counts; ``"rate_limit_per_actor"`` and the like unless
        given. Policies with the same name, on the same store, share their counts.
    :raises ConfigurationError: for arguments that cannot be meant, and if ``limits`` is not installed; and at the kit's
        start if its store has no leases.
    """

    def __init__(
        self,
        rate: str,
        *,
        per: str = "actor",
        address_header: str | None = None,
        trusted_proxies: int = 1,
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
        super().__init__(f"rate_limit_per_{per}" if name is None else name)
        self._per = per
        self._address_header = (address_header or "").lower()
        self._trusted_proxies = trusted_proxies
        self._rates = _rates(rate)

    @hookimpl
    @blocking
    def rolecall_vote_session(self, request: SessionRequest) -> Vote:
        if self._per == "session" or not self._limits(request):
            return None
        return self._vote("session", request, None, None if request.actor is None else request.actor.id)

    @hookimpl
    @blocking
    def rolecall_vote_token(self, request: TokenRequest) -> Vote:
        if not self._limits(request):
            return None
        return self._vote("token", request, request.session_id, request.actor_id)

    def _limits(self, request: SessionRequest | TokenRequest) -> bool:
        """Whether the request is one that is counted: from outside, or for somebody who is not counted by address."""
        return request.http is not None or (request.actor is not None and self._per != "address")

    def _vote(
        self, asked: str, request: SessionRequest | TokenRequest, session_id: str | None, actor_id: str | None
    ) -> Vote:
        if self._per == "session":
            counted = session_id
        elif self._per == "actor":
            if actor_id is None:
                return Deny("requests are counted for each user, and nobody was identified", code="not_identified")
            counted = actor_id
        else:
            headers = {} if request.http is None else request.http.headers
            counted = _address(headers.get(self._address_header, ""), self._trusted_proxies)
            if counted is None:
                return Deny(
                    "requests are counted for each address, and yours is not known",
                    code="unknown_address",
                    detail=f"entry {self._trusted_proxies} from the right of {self._address_header} is no IP address",
                )
        rates = {self._key(f"{asked} {rate}", str(counted)): rate for rate in self._rates}
        slots = [Slot(key, rate.amount, request.now + rate.get_expiry()) for key, rate in rates.items()]
        lease = f"{self.name} {asked} {request.call_id}"
        if full := self._leases.full_slot(*slots):
            return _denial(rates[full.key], full, request.now)
        return Limit(
            reason="within the rate",
            reserve=partial(self._count, lease, rates, slots, request.now),
            release=partial(self._leases.drop, lease),
        )

    def _count(self, lease: str, rates: Mapping[str, RateLimitItem], slots: list[Slot], now: float) -> Deny | None:
        full = self._leases.take(lease, *slots)
        return None if full is None else _denial(rates[full.key], full, now)


def _denial(rate: RateLimitItem, full: Full, now: float) -> Deny:
    seconds = min(max(1, math.ceil(full.free_at - now)), MAX_RETRY_AFTER)
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
