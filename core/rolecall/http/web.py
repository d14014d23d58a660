"""The rules of a kit's routes and guards for browsers. Every relaxation is off unless switched on."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from ..errors import ConfigurationError
from ..wording import kind, shown, wrapping

# Origins as browsers write them: the ASCII serialisation (HTML standard, "Origins"), for schemes that have pages.
# Compiled on use, because most kits have none.
_ORIGIN: Final = r"(https?)://([a-z0-9_.-]+|\[[0-9a-f:]+\])(?::([1-9][0-9]{0,4}))?"
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_USUAL_PORTS: Final = {"https": "443", "http": "80"}
# Common mistakes, with advice; the first match is reported.
_MISTAKES: Final = (
    (r".*\*", "there is no wildcard; list each origin"),
    (r".*[\s,]", "each stands alone: in a list, or in ROLECALL_ORIGINS between commas"),
    (r"null", "sandboxed pages and local files of anybody send it, so it cannot be listed"),
    (r"(?i)(?!https?://)", "begin it with 'https://'"),
    (r"[^/]*//[^/?#]*@", "leave out the user"),
    (r"[^/]*//[^/?#]*[/?#]", "leave out what follows host and port, even if it is only '/'"),
    (r".*[^\x00-\x7f]", "browsers send such a host in ASCII (Punycode); write it so: 'https://xn--…'"),
    (r".*[A-Z]", "browsers send it in small letters; write it so"),
)
# RFC 6265, section 4.1.1: a token; after the prefix only its plain characters. The proof's cookie ends in "-csrf".
_COOKIE: Final = r"__Host-[0-9A-Za-z_-]{1,64}(?<!-csrf)"
_PARAMETER: Final = r"[0-9A-Za-z_-]{1,64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The rights of browsers beyond the ``Authorization`` header.

    :param origins: the exact origins, for example ``"https://app.example"``, whose pages may call the kit's routes
        (CORS), and open guarded WebSockets, where browsers send the page's origin.
    :param cookie: the name of a cookie in which tokens are accepted, and set if a client asks for it. The name begins
        with ``__Host-``. A request with it that changes something needs the header ``X-CSRF-Token``, too.
    :param query: the name of a query parameter in which tokens are accepted (RFC 6750, section 2.3). URLs end up in
        logs and histories, so it is only for clients that can set neither a header nor a subprotocol.
    :param recheck: the seconds after which policies are asked again about an open WebSocket or a stream: 0.05 to 60.
        What is revoked is closed without waiting for that, if the store has a ``revision``.
    :param body_timeout: the seconds within which a request's body must arrive, 0.001 to 120; for ASGI, where servers
        have no limit of their own.
    :param openapi: whether ``GET /openapi.json`` describes the kit's routes, to everybody; False answers 404.
    :raises ConfigurationError: says which of these is wrong.
    """

    origins: Collection[str] = frozenset()
    cookie: str | None = None
    query: str | None = None
    recheck: float = 5.0
    body_timeout: float = 10.0
    openapi: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.origins, str | bytes) or not isinstance(self.origins, Collection):
            raise ConfigurationError(f"origins is {shown(self.origins)}; expected a list: ['https://app.example']")
        for origin in self.origins:
            _check_origin(origin)
        if self.cookie is not None and not (isinstance(self.cookie, str) and re.fullmatch(_COOKIE, self.cookie)):
            raise ConfigurationError(
                f"cookie is {shown(self.cookie)}; expected a name such as '__Host-rolecall': its prefix makes browsers "
                "keep the cookie to this host, and to https; then 1 to 64 letters, digits, '-' and '_', not ending in "
                "'-csrf'"
            )
        if self.query is not None and not (isinstance(self.query, str) and re.fullmatch(_PARAMETER, self.query)):
            raise ConfigurationError(
                f"query is {shown(self.query)}; expected a parameter's name, such as 'access_token': 1 to 64 letters, "
                "digits, '-' and '_'"
            )
        if not isinstance(self.openapi, bool):
            raise ConfigurationError(f"openapi is {shown(self.openapi)}; expected True or False")
        _check_seconds("recheck", self.recheck, 0.05, 60)
        _check_seconds("body_timeout", self.body_timeout, 0.001, 120)
        object.__setattr__(self, "origins", frozenset(self.origins))

    @property
    def header_alone(self) -> bool:
        """Whether tokens are accepted in the ``Authorization`` header only."""
        return self.cookie is None and self.query is None


def _check_origin(origin: object) -> None:
    if not isinstance(origin, str):
        raise ConfigurationError(f"{shown(origin)} is no origin; expected a string: 'https://app.example'")
    problem = problem_with_origin(origin)
    if problem is not None:
        named = kind(origin) if "@" in origin else shown(origin, 80)
        raise ConfigurationError(f"{named} is no origin that browsers send: {problem}")


def problem_with_origin(origin: str) -> str | None:
    """The problem with ``origin``, in words that do not quote it; None if browsers send such an origin."""
    around = wrapping(origin)
    if around is not None:
        return f"it has {around}; take it off"
    for mistake, advice in _MISTAKES:
        if re.match(mistake, origin):
            return advice
    match = re.fullmatch(_ORIGIN, origin)
    if match is None or not _is_host(match[2]) or int(match[3] or 0) > 65535:
        return (
            "expected scheme, host, and the port where it is not the usual one: 'https://app.example', "
            "'http://localhost:3000'"
        )
    return "the port is the usual one; leave it out" if match[3] == _USUAL_PORTS[match[1]] else None


def _is_host(host: str) -> bool:
    """Whether this is a host as browsers write it: of several spellings of an address they send only one."""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1])) == host[1:-1]
        labels = host.removesuffix(".").split(".")
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            return str(IPv4Address(host)) == host
    except AddressValueError:
        return False
    return len(host) <= 253 and all(re.fullmatch(_LABEL, label) for label in labels)


def _check_seconds(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigurationError(f"{name} is {shown(value)}; expected seconds, {least:g} to {most:g}")
