"""How a kit's routes and guards meet browsers. Everything here is off unless it is switched on."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from ..errors import ConfigurationError, shown

_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_DEFAULT_PORTS: Final = {"https": ":443", "http": ":80"}
# RFC 6265, section 4.1.1: a token; of what may follow the prefix, the plain part.
_COOKIE: Final = re.compile(r"__Host-[0-9A-Za-z_-]{1,64}")
_PARAMETER: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Web:
    """What a kit allows to browsers beyond the ``Authorization`` header.

    :param origins: the exact origins, for example ``"https://app.example"``, whose pages may call the kit's routes
        (CORS), and open guarded WebSockets where a browser says which page asks.
    :param cookie: the name of a cookie in which tokens are taken, and set where a client asks for it. Its name begins
        with ``__Host-``. Whoever comes with it, and changes something, sends the header ``X-CSRF-Token``, too.
    :param query: the name of a query parameter in which tokens are taken (RFC 6750, section 2.3). URLs end up in logs
        and histories: for what can set neither a header nor a subprotocol.
    :param recheck: the seconds after which an open WebSocket's session is looked at again, 0.05 to 60.
    :param body_timeout: the seconds within which a request's body must have arrived, above 0 and up to 120; for ASGI,
        where servers set no limit of their own.
    :raises ConfigurationError: says which of these is wrong.
    """

    __slots__ = ("body_timeout", "cookie", "header_alone", "origins", "query", "recheck")

    def __init__(
        self,
        *,
        origins: Collection[str] = (),
        cookie: str | None = None,
        query: str | None = None,
        recheck: float = 5.0,
        body_timeout: float = 10.0,
    ) -> None:
        if isinstance(origins, str) or not isinstance(origins, Collection):
            raise ConfigurationError(f"origins is {shown(origins)}; expected a list of origins")
        for origin in origins:
            _check_origin(origin)
        if cookie is not None and not (isinstance(cookie, str) and _COOKIE.fullmatch(cookie)):
            raise ConfigurationError(
                f"cookie is {shown(cookie)}; expected a name such as '__Host-rolecall': its prefix makes browsers keep "
                "the cookie to this host, and to https"
            )
        if query is not None and not (isinstance(query, str) and _PARAMETER.fullmatch(query)):
            raise ConfigurationError(f"query is {shown(query)}; expected a parameter's name, such as 'access_token'")
        _check_seconds("recheck", recheck, 0.05, 60)
        _check_seconds("body_timeout", body_timeout, 0.001, 120)
        #: The origins whose pages are served.
        self.origins: Final = frozenset(origins)
        #: The name of the cookie that may hold a token, or None.
        self.cookie: Final = cookie
        #: The name of the query parameter that may hold a token, or None.
        self.query: Final = query
        #: Seconds between two looks at an open WebSocket's session.
        self.recheck: Final = recheck
        #: Seconds within which a body must have arrived.
        self.body_timeout: Final = body_timeout
        #: Whether tokens come in the ``Authorization`` header, and nowhere else.
        self.header_alone: Final = cookie is None and query is None

    def __repr__(self) -> str:
        return f"<Web origins={sorted(self.origins)} cookie={self.cookie!r} query={self.query!r}>"


def _check_origin(origin: object) -> None:
    if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
        raise ConfigurationError(
            f"{shown(origin)} is no origin; expected one as browsers write it: scheme, host in small letters, and the "
            "port where it is not the usual one, for example 'https://app.example'. There is no wildcard"
        )
    scheme, _, host = origin.partition("://")
    if host.endswith(_DEFAULT_PORTS[scheme]) and not host.endswith("]"):
        raise ConfigurationError(f"{shown(origin, 80)} names the usual port, which browsers leave out; so leave it out")


def _check_seconds(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigurationError(f"{name} is {shown(value)}; expected seconds, {least:g} to {most:g}")
