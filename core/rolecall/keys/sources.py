"""The places of a key set: a JSON object of the app, a file, or a URL."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Coroutine, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..wording import kind, wrapping

if TYPE_CHECKING:
    import httpx

#: The longest key set, in bytes.
MAX_LENGTH: Final = 262_144
#: The time limit of a whole fetch, in seconds.
FETCH_SECONDS: Final = 5.0
#: The most headers of an answer.
MAX_HEADERS: Final = 64
#: Seconds after which a file is read again.
FILE_LIFE: Final = 5.0
#: The life of a fetched set in seconds: without ``max-age``, and the bounds of any ``max-age``.
USUAL_LIFE: Final = 300.0
SHORTEST_LIFE: Final = 60.0
LONGEST_LIFE: Final = 3600.0
#: The media types of a set (RFC 7517, section 8.5); most servers send the first.
_TYPES: Final = ("application/json", "application/jwk-set+json")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Reading(NamedTuple):
    """A set as it was read.

    :param data: its bytes.
    :param again_in: the seconds after which it is to be read again.
    """

    data: bytes
    again_in: float


class Unread(Exception):
    """A set could not be read; the message says why, and holds nothing of it."""


class Source(Protocol):
    """A place of a key set."""

    @property
    def place(self) -> str:
        """The place, in words for a log."""

    @property
    def is_near(self) -> bool:
        """Whether it is read at once, so that a problem with it can stop start-up."""

    def read(self) -> Coroutine[Any, Any, Reading]:
        """Read the set; for one that is not near, on an event loop of asyncio.

        :raises Unread: says why it cannot be read.
        """


def source_of(jwks: object) -> Source:
    """The source that an app names.

    :param jwks: a URL, the path of a file, or the set itself.
    :raises ConfigurationError: for anything else, and if httpx is needed and not installed.
    """
    if isinstance(jwks, Mapping):
        return GivenSet(jwks)
    if isinstance(jwks, os.PathLike) or (isinstance(jwks, str) and not re.match(r"[A-Za-z][\w+.-]+:", jwks)):
        return SetFile(jwks)
    return SetUrl(jwks)


class GivenSet:
    """A set that the app itself holds."""

    place = "the key set that was passed in"
    is_near = True

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        try:
            self._data = json.dumps(jwks, default=dict).encode()
        except (TypeError, ValueError, RecursionError):
            raise ConfigurationError("jwks is a mapping that is no JSON; expected {'keys': [...]}") from None

    async def read(self) -> Reading:
        return Reading(self._data, inf)


class SetFile:
    """A file, which is read again and again, whole: another may take its place at any time."""

    is_near = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        if not name:
            raise ConfigurationError("jwks is empty; expected a URL, the path of a file, or a dict")
        if around := wrapping(name):
            raise ConfigurationError(f"jwks has {around}; take it off")
        self._path = path
        self.place = f"the key set in the file {name!r}"

    async def read(self) -> Reading:
        try:
            with open(self._path, "rb") as file:
                data = file.read(MAX_LENGTH + 1)
        except (OSError, ValueError) as error:
            raise Unread(f"it cannot be read: {getattr(error, 'strerror', None) or 'no path'}") from None
        if len(data) > MAX_LENGTH:
            raise Unread(f"it has more than {MAX_LENGTH} bytes")
        return Reading(data, FILE_LIFE)


class SetUrl:
    """A URL. Each fetch has its own connection, and is over within five seconds, whatever the server does.

    No redirect is followed; no cookie and no credential is sent. The proxies of the environment are used, except to
    this machine itself.
    """

    is_near = False

    def __init__(self, url: object) -> None:
        self._url = _checked_url(url)
        parts = urlsplit(self._url)
        self.place = f"the key set at {parts.scheme}://{parts.netloc}{parts.path}"
        self._httpx = _imported()
        self._is_here = parts.hostname in _LOOPBACK
        self._tls = self._httpx.create_ssl_context() if parts.scheme == "https" else False

    async def read(self) -> Reading:
        import asyncio

        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._fetched()
        except TimeoutError:
            raise Unread(f"there was no whole answer within {FETCH_SECONDS:g} seconds") from None
        except self._httpx.HTTPError as error:
            raise Unread(f"no sound answer came: {type(error).__name__}") from None

    async def _fetched(self) -> Reading:
        httpx = self._httpx
        async with (
            httpx.AsyncClient(
                verify=self._tls, timeout=FETCH_SECONDS, follow_redirects=False, trust_env=not self._is_here
            ) as client,
            client.stream("GET", self._url, headers=_HEADERS) as response,
        ):
            _check_head(response)
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_LENGTH:
                    raise Unread(f"the body has more than {MAX_LENGTH} bytes")
            return Reading(bytes(body), _life(response.headers.get("cache-control", "")) / 2)


#: Without compression: a short compressed body can become a long one.
_HEADERS: Final = {
    "Accept": "application/jwk-set+json, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "rolecall",
}


def _check_head(response: httpx.Response) -> None:
    """Refuse an answer by its status and headers, before its body is read."""
    headers = response.headers
    if response.status_code != 200:
        raise Unread(f"the status is {response.status_code}; only 200 is taken, and no redirect followed")
    if len(headers.raw) > MAX_HEADERS:
        raise Unread(f"the answer has more than {MAX_HEADERS} headers")
    if headers.get("content-type", "").partition(";")[0].strip().lower() not in _TYPES:
        raise Unread(f"the content type is none of {', '.join(_TYPES)}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Unread("the body is compressed, which was not asked for")


def _life(cache_control: str) -> float:
    """The life of a fetched set in seconds, by its ``max-age`` (RFC 9111, section 5.2.2.1)."""
    match = re.search(r"(?:^|[,\s])max-age=([0-9]{1,9})(?=$|[,\s])", cache_control.lower())
    return USUAL_LIFE if match is None else min(max(float(match[1]), SHORTEST_LIFE), LONGEST_LIFE)


def _checked_url(url: object) -> str:
    """The URL of a set.

    :raises ConfigurationError: unless it is https, or http on this machine itself; the message does not quote it.
    """
    example = "expected a URL such as 'https://video.example/video/jwks.json', the path of a file, or a dict"
    around = wrapping(url) if isinstance(url, str) else None
    if around is not None:
        raise ConfigurationError(f"jwks has {around}; take it off")
    if not isinstance(url, str) or not re.fullmatch(r"[!-~]+", url):
        raise ConfigurationError(f"jwks is {kind(url)}; {example}")
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise ConfigurationError(f"jwks is not the URL of a key set; {example}")
    if parts.scheme not in ("https", "http"):
        raise ConfigurationError(f"jwks is a URL of a scheme that is not fetched; {example}")
    if "@" in parts.netloc or "#" in url:
        raise ConfigurationError(f"jwks is a URL with a user or a fragment, which are not sent; {example}")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ConfigurationError("jwks is a URL with http, which anybody on the way can answer; use https")
    return url


def _imported() -> Any:
    try:
        import httpx
    except ImportError:
        raise ConfigurationError(
            "to fetch a key set needs the package httpx, which is not installed: pip install 'rolecall[verifier]'"
        ) from None
    return httpx
