"""The URLs of Redis stores: which server, how it is reached, and what is demanded of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote

from ..errors import ConfigurationError
from ..wording import shown
from .following import MAX_STALENESS
from .url_options import Limits, apart, check_known, numbers_in, options_in

Host: TypeAlias = tuple[str, int]

#: The URL schemes, and the usual port of the hosts that they name.
SCHEMES: Final = {
    "redis": 6379,
    "rediss": 6379,
    "redis+unix": 0,
    "redis+sentinel": 26379,
    "rediss+sentinel": 26379,
    "redis+cluster": 6379,
    "rediss+cluster": 6379,
}
_FORMS: Final = (
    "redis://user:password@host:6379/0, rediss://… (TLS), redis+unix:///path/to/redis.sock, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379"
)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CERTIFICATES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CREDENTIALS: Final = ("sentinel_username", "sentinel_password")
#: The options of a URL that are numbers. With Sentinel and Cluster one replica is the default.
_NUMBERS: Final[Mapping[str, Limits]] = {
    "timeout": (0.05, 10.0, 0.4),
    "max_staleness": (0.2, 60.0, MAX_STALENESS),
    "connections": (1, 10_000, 50),
    "replicas": (0, 10, 0),
    "db": (0, 1_000_000, 0),
}
_OPTIONS: Final = (*_NUMBERS, "durability", "prefix", *_CERTIFICATES, *_CREDENTIALS)


@dataclass(frozen=True, slots=True)
class RedisURL:
    """A Redis store's URL, taken apart and checked.

    :param scheme: one of ``SCHEMES``.
    :param hosts: the server, or the Sentinels or nodes that are asked for it; empty for a Unix socket.
    :param path: the path of the Unix socket, or None.
    :param service: the name by which Sentinels know the server, or None.
    :param db: the number of the database.
    :param username: of the server, or None.
    :param password: of the server, or None.
    :param sentinel_username: of the Sentinels, or None.
    :param sentinel_password: of the Sentinels, or None.
    :param certificates: the files for TLS, by the names that redis-py gives them.
    :param timeout: the longest time of one call, in seconds.
    :param max_staleness: the longest time out of touch before checks are refused, in seconds.
    :param connections: the most connections of one process, without the follower's.
    :param replicas: the number of replicas that must have a change before it is acknowledged.
    :param prefix: the beginning of all keys.
    :param is_durable: whether a server that may forget is refused.
    """

    scheme: str
    hosts: tuple[Host, ...] = ()
    path: str | None = None
    service: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    certificates: tuple[tuple[str, str], ...] = ()
    timeout: float = 0.4
    max_staleness: float = MAX_STALENESS
    connections: int = 50
    replicas: int = 0
    prefix: str = "rolecall"
    is_durable: bool = True

    @property
    def uses_tls(self) -> bool:
        return self.scheme.startswith("rediss")

    @property
    def kind(self) -> str:
        """How the server is found: ``""`` for a given one, ``"unix"``, ``"sentinel"`` or ``"cluster"``."""
        return self.scheme.partition("+")[2]

    def __repr__(self) -> str:
        return f"<RedisURL {self.scheme}://…>"  # without the password

    @classmethod
    def parse(cls, url: str) -> RedisURL:
        """Take a URL apart.

        :raises ConfigurationError: says what is wrong with it, without quoting it: it may hold a password.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES or "#" in url or "\0" in url:
            raise _wrong(f"is not of a known form; expected {_FORMS} (in a password write # as %23)")
        place, query = apart(rest, _wrong)
        login, _, hosts = place.rpartition("@")
        hosts, _, path = hosts.partition("/")
        options = options_in(query, _wrong)
        for name in options:
            check_known(name, _OPTIONS, ", ".join(_OPTIONS), _wrong)
        numbers = numbers_in(options, _NUMBERS, _wrong)
        kind = scheme.partition("+")[2]
        service, db = _service_and_db(kind, unquote(path))
        if db is not None and "db" in options:
            raise _wrong("names its database twice, in the path and as ?db=…")
        if "sentinel_username" in options and "sentinel_password" not in options:
            raise _wrong("has a sentinel_username and no sentinel_password")
        username, separator, password = login.partition(":")
        if login and not separator:
            raise _wrong("has something before @ that is no user:password (a password alone is :password@)")
        replicas = numbers["replicas"] if "replicas" in options else kind in ("sentinel", "cluster")
        return cls(
            scheme,
            () if kind == "unix" else _hosts(hosts, SCHEMES[scheme], single=not kind),
            _socket(hosts, path) if kind == "unix" else None,
            service,
            int(numbers["db"]) if db is None else db,
            unquote(username) or None,
            unquote(password) or None,
            options.get("sentinel_username"),
            options.get("sentinel_password"),
            _certificates(options, scheme),
            numbers["timeout"],
            numbers["max_staleness"],
            int(numbers["connections"]),
            int(replicas),
            _prefix(options.get("prefix", "rolecall")),
            _durability(options.get("durability", "aof")),
        )


def _wrong(problem: str) -> ConfigurationError:
    return ConfigurationError(f"the Redis store's URL {problem}")


def _hosts(text: str, usual_port: int, *, single: bool) -> tuple[Host, ...]:
    hosts = tuple(_host(part, usual_port) for part in text.split(","))
    if single and len(hosts) > 1:
        raise _wrong("names several hosts, which is for redis+sentinel:// and redis+cluster://")
    return hosts


def _host(text: str, usual_port: int) -> Host:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:@/\[\]]+)(?::(\d{1,5}))?", text)
    port = int(match[2] or usual_port) if match else 0
    if match is None or not 0 < port < 65536:
        raise _wrong("has no host, or one that is not of the form name, name:port or [IPv6 address]:port")
    return match[1].strip("[]"), port


def _socket(hosts: str, path: str) -> str:
    if hosts or not path:
        raise _wrong("names no Unix socket; expected redis+unix:///path/to/redis.sock (with three slashes)")
    return "/" + unquote(path)


def _service_and_db(kind: str, path: str) -> tuple[str | None, int | None]:
    """The service of a path such as ``service/0``, and its database; None for what it does not have."""
    if kind == "unix":
        return None, None
    if kind != "sentinel":
        return None, _db(path, kind)
    service, _, db = path.partition("/")
    if not service:
        raise _wrong("names no service; expected redis+sentinel://host:26379,host:26379/service")
    return service, _db(db, kind)


def _db(text: str, kind: str) -> int | None:
    if not text:
        return None
    if kind == "cluster":
        raise _wrong("has a path; Redis Cluster has one database, without a number")
    if not text.isdecimal() or len(text) > 6:
        raise _wrong(f"has the database {shown(text)}; expected a number")
    return int(text)


def _certificates(options: dict[str, str], scheme: str) -> tuple[tuple[str, str], ...]:
    found = tuple((name, options[name]) for name in _CERTIFICATES if name in options)
    if found and not scheme.startswith("rediss"):
        raise _wrong(f"has {found[0][0]}, and its scheme {scheme}:// is not for TLS; write {_with_tls(scheme)}://")
    return found


def _with_tls(scheme: str) -> str:
    return "rediss" + scheme.removeprefix("redis").removeprefix("+unix")


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise _wrong(f"has prefix={shown(text)}; expected 1 to 64 letters, digits, or any of _ . -")
    return text


def _durability(text: str) -> bool:
    if text not in ("aof", "none"):
        raise _wrong(f"has durability={shown(text)}; expected aof, or none for a store that may forget")
    return text == "aof"
