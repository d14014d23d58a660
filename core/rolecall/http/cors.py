"""Which pages of other origins may call a kit's routes (the CORS protocol of the Fetch standard, section 3.2)."""

from __future__ import annotations

from typing import Final

from ..request import Request
from .web import Web

#: How long a browser may cache the answer to a preflight, in seconds.
_MAX_AGE: Final = "600"
_REQUEST_HEADERS: Final = "Authorization, Content-Type, X-CSRF-Token"
_RESPONSE_HEADERS: Final = "Retry-After, WWW-Authenticate"


def cors_headers(web: Web, request: Request, methods: tuple[str, ...]) -> list[tuple[str, str]]:
    """The CORS headers of an answer.

    :param methods: the methods of the route.
    """
    origin = request.headers.get("origin")
    if origin not in web.origins or origin is None:
        return []
    headers = [("Access-Control-Allow-Origin", origin)]
    if web.cookie is not None:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    if request.method == "OPTIONS" and request.headers.get("access-control-request-method"):
        headers += [
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", _MAX_AGE),
        ]
    else:
        headers.append(("Access-Control-Expose-Headers", _RESPONSE_HEADERS))
    return headers


def varies_with(web: Web) -> list[tuple[str, str]]:
    """The ``Vary`` header, for answers that caches may keep (RFC 9110, section 12.5.5)."""
    names = [name for name, on in (("Origin", web.origins), ("Cookie", web.cookie)) if on]
    return [("Vary", ", ".join(names))] if names else []


def is_cross_site(request: Request) -> bool:
    """Whether a browser says that a page from elsewhere has made it send a request, and the user's cookies with it.

    A browser says so by ``Sec-Fetch-Site`` (Fetch Metadata), an old one by ``Origin`` alone (RFC 6454); a client that
    sends neither is no browser that could be made to.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
