"""Redis servers: finding the one that takes writes, checking that it keeps them, and calls in bounded time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any, Final, Protocol, TypeAlias
from weakref import ref

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from ..errors import StoreUnavailable
from .failures import of_a_value
from .redis_url import Host, RedisURL
from .slots import Slots

Command: TypeAlias = tuple[Any, ...]

#: The parts of a call's time: the wait for a free connection, for one Sentinel or node, and for an answer. A server
#: that freezes does so once in a call, so few of them pass in full.
_FOR_CONNECTION: Final = 0.2
_FOR_LOOKUP: Final = 0.2
_FOR_ANSWER: Final = 0.75
#: The errors by which a server says that another one takes its place.
_MOVED: Final = (redis.exceptions.ReadOnlyError, redis.exceptions.AskError, redis.exceptions.ClusterDownError)


#: How the error of a script begins that finds keys in another layout than this version's.
OTHER_LAYOUT: Final = "LAYOUT"


class _Refused(redis.ConnectionError):
    """The server was reached and cannot be used."""


class RedisServer:
    """The server of a store, reached by a pool of connections, which are opened when needed.

    Each new connection looks at the server: it must be a master, and one that keeps what it acknowledges. A forked
    child has a pool of its own.

    :param url: where the server is.
    :param connections: the most connections at once.
    :param patience: further seconds in which a blocking command may wait, beyond ``url.timeout``.
    """

    def __init__(self, url: RedisURL, connections: int, patience: float = 0.0) -> None:
        self._url = url
        self._connections = connections
        self._patience = patience
        self._finder = _FINDERS[url.kind](url)
        self._client: redis.Redis | None = None
        self._master: Host | None = None
        self._free = Slots(connections)
        self._pid = os.getpid()
        self._closed = False
        #: The id of the server's process that the newest connection leads to.
        self.run_id = ""

    def call(self, *commands: Command) -> list[Any]:
        """Send commands in one round trip, and return their answers.

        If the connection is lost, all are sent again, once: they must do no harm if they run twice.

        :raises StoreUnavailable: if the server does not answer, or answers with an error.
        """
        slots = self._slots()
        if not slots.acquire(self._url.timeout * _FOR_CONNECTION):
            raise StoreUnavailable(
                f"all {self._connections} connections to the Redis server are in use; it is slow, or more are needed: "
                "see connections=… in the store's URL"
            )
        try:
            return self._send_twice(commands)
        except redis.TimeoutError as error:
            self._leave()  # another server may have taken its place, or will
            raise StoreUnavailable(
                f"the Redis server has not answered within {self._url.timeout:g} s; a change that it was asked for may "
                "have been made. See that it runs and is reached"
            ) from error
        except _Refused as error:
            raise StoreUnavailable(str(error)) from error
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(f"the Redis server does not answer as it should: {_reason(error)}") from error
        except (ValueError, OverflowError) as error:
            raise of_a_value(f"the Redis store cannot hold this: {type(error).__name__}") from error
        finally:
            slots.release()

    def change(self, *command: Any) -> Any:
        """Send one command that writes, and return its answer once as many replicas have it as the URL demands.

        :raises StoreUnavailable: if the server does not answer, or too few replicas do.
        """
        wanted = self._url.replicas
        if not wanted:
            return self.call(command)[0]
        answer, reached = self.call(command, ("WAIT", wanted, int(self._url.timeout * 500)))
        if reached < wanted:
            self._leave()  # this may be a master that has been replaced
            raise StoreUnavailable(
                f"the change is written on the Redis master, but only {reached} of {wanted} replicas have it, so it "
                "may be lost; try again, and see that the replicas run"
            )
        return answer

    def look_for_master(self) -> None:
        """Ask the Sentinels or the cluster whether another server is the master by now; if so, go there."""
        if self._url.kind not in ("sentinel", "cluster") or self._master is None:
            return
        with suppress(redis.RedisError, OSError):
            if self._finder.find() != self._master:
                self._leave()

    def close(self) -> None:
        """Close the connections. None is opened again."""
        self._closed = True
        self._leave()

    def _send_twice(self, commands: tuple[Command, ...]) -> list[Any]:
        """Send commands, and once more if that fails at once: to another connection, or to the new master."""
        started = monotonic()
        try:
            return self._send(commands)
        except (_Refused, redis.BusyLoadingError, redis.AuthenticationError):
            self._leave()
            raise
        except (redis.ConnectionError, *_MOVED):
            self._leave()
            if monotonic() - started > self._url.timeout * _FOR_CONNECTION:
                raise
            return self._send(commands)

    def _send(self, commands: tuple[Command, ...]) -> list[Any]:
        client = self._reach()
        try:
            return _exchange(client, tuple(map(_shortened, commands)))
        except redis.exceptions.NoScriptError:  # a server that has just started, or has become the master
            return _exchange(client, commands)
        finally:
            if self._closed or self._client is not client:  # left meanwhile, when this connection was in use
                _disconnect(client)

    def _slots(self) -> Slots:
        """A place for each connection of this process. A forked child has neither its parent's nor their holders."""
        if self._pid != os.getpid():
            self._client, self._finder = None, _FINDERS[self._url.kind](self._url)
            self._free, self._pid = Slots(self._connections), os.getpid()
        return self._free

    def _reach(self) -> redis.Redis:
        """The client of this process."""
        if self._closed:
            raise _Refused("the store was closed; make another kit")
        client = self._client
        if client is None:
            # Two threads may make a pool each, which does no harm: the later one is kept.
            self._master = self._finder.find()
            self._client = client = redis.Redis(connection_pool=self._pool(self._master))
        return client

    def _leave(self) -> None:
        """Close the connections. The server is looked for again at the next call."""
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            _disconnect(client)

    def _pool(self, master: Host | None) -> ConnectionPool:
        url = self._url
        return ConnectionPool(
            max_connections=self._connections,
            connection_class=_connection_class(url),
            db=url.db,
            username=url.username,
            password=url.password,
            redis_connect_func=_greeting(ref(self)),
            **_target(url, master),
            **_limits(url.timeout * _FOR_ANSWER, self._patience),
        )

    def greet(self, connection: Any) -> None:
        """Look at the server behind a new connection.

        :raises RedisError: if it cannot be used.
        """
        connection.on_connect()
        connection.send_command("INFO")
        try:
            facts = _facts(connection.read_response())
        except redis.exceptions.NoPermissionError:
            raise _Refused("the user of the Redis store may not run INFO; grant it: ACL SETUSER … +info") from None
        if problem := _problem_with(facts, self._url.is_durable):
            raise _Refused(problem)
        self.run_id = facts.get("run_id", "")


# -- finding the master ----------------------------------------------------------------------------


class _Finder(Protocol):
    """Finds the server that takes writes. Its own connections are kept, because it is asked again and again."""

    def find(self) -> Host | None:
        """The server's host; None for a Unix socket."""


class _Given:
    def __init__(self, url: RedisURL) -> None:
        self._host = url.hosts[0] if url.hosts else None

    def find(self) -> Host | None:
        return self._host


class _Sentinels:
    def __init__(self, url: RedisURL) -> None:
        login = {"username": url.sentinel_username, "password": url.sentinel_password, "ssl": url.uses_tls}
        self._service = url.service
        self._sentinels = Sentinel(
            list(url.hosts),
            sentinel_kwargs={**login, **dict(url.certificates), **_limits(url.timeout * _FOR_LOOKUP)},
        )

    def find(self) -> Host:
        try:
            host, port = self._sentinels.discover_master(self._service)
        except MasterNotFoundError:
            raise _Refused(
                "no Redis Sentinel that answers knows a master of the service's name in the URL that is up; "
                "see SENTINEL MASTERS, and the hosts and the service in the URL"
            ) from None
        return str(host), int(port)


class _Cluster:
    def __init__(self, url: RedisURL) -> None:
        login: dict[str, Any] = {"username": url.username, "password": url.password, "ssl": url.uses_tls}
        settings = {**login, **dict(url.certificates), **_limits(url.timeout * _FOR_LOOKUP)}
        self._nodes = [(host, redis.Redis(host, port, **settings)) for host, port in url.hosts]
        for _, node in self._nodes:
            node.response_callbacks.clear()  # for answers as they are, in every version of redis-py
        self._slot = key_slot(url.prefix.encode())

    def find(self) -> Host:
        for host, node in self._nodes:
            with suppress(redis.ConnectionError, redis.TimeoutError):
                for first, last, master, *_ in node.execute_command("CLUSTER", "SLOTS"):
                    if first <= self._slot <= last:
                        return (master[0] or host.encode()).decode(), int(master[1])
        raise _Refused("no node of the Redis cluster in the URL answers and knows who has the store's keys")


_FINDERS: Final[Mapping[str, Callable[[RedisURL], _Finder]]] = {
    "": _Given,
    "unix": _Given,
    "sentinel": _Sentinels,
    "cluster": _Cluster,
}


# -- connections -----------------------------------------------------------------------------------


def _greeting(server: ref[RedisServer]) -> Callable[[Any], None]:
    """What greets for a server. Its connections do not refer to it, so those of an abandoned one close at once."""

    def greet(connection: Any) -> None:
        current = server()
        if current is None:
            raise _Refused("the store is no longer used")
        current.greet(connection)

    return greet


def _shortened(command: Command) -> Command:
    """The command with a script's digest instead of its text: the server keeps each script that it has run once."""
    return ("EVALSHA", _digest(command[1]), *command[2:]) if command[0] == "EVAL" else command


@cache
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _exchange(client: redis.Redis, commands: tuple[Command, ...]) -> list[Any]:
    """Send commands in one round trip, and return their answers. redis-py's pipeline takes 50 µs longer.

    :raises RedisError: the first error of them all.
    """
    connection = client.connection_pool.get_connection()
    answers: list[Any] = []
    errors = []
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        for command in commands:
            try:
                answers.append(client.parse_response(connection, command[0]))
            except redis.ResponseError as error:  # the further answers must be read all the same
                errors.append(error)
    except BaseException:
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)
    try:
        if errors:
            raise errors[0]
        return answers
    finally:
        del errors  # an error refers to this frame, which refers to the connection


def _disconnect(client: redis.Redis) -> None:
    """Close the connections that nobody uses. One in use closes when its user is done."""
    client.connection_pool.disconnect(inuse_connections=False)


def _limits(seconds: float, patience: float = 0.0) -> dict[str, Any]:
    """The settings by which no call waits for long: one try, of which every part is bounded."""
    return {
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds + patience,
        # redis-py tries three times more unless told so, each time as long as the first.
        "retry": Retry(NoBackoff(), 0),
        # Under the later protocol redis-py does not notice that a pooled connection was closed.
        "protocol": 2,
        "driver_info": None,
    }


def _connection_class(url: RedisURL) -> type[Any]:
    if url.path is not None:
        return UnixDomainSocketConnection
    return SSLConnection if url.uses_tls else Connection


def _target(url: RedisURL, master: Host | None) -> dict[str, Any]:
    if master is None:
        return {"path": url.path}
    return {"host": master[0], "port": master[1], "socket_keepalive": True, **dict(url.certificates)}


# -- what a server says of itself ------------------------------------------------------------------


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, separator, value in lines if separator}


def _problem_with(facts: Mapping[str, str], is_durable: bool) -> str | None:
    """Why a server cannot be used, and what to do; None if it can."""
    if facts.get("role", "master") != "master":
        return "the Redis server is a replica, which takes no writes; name the master in the URL, or use Sentinel"
    if facts.get("loading") == "1":
        return "the Redis server has started and is still reading its data; try again shortly"
    if not is_durable:
        return None
    remedy = "or add durability=none to the URL, for a store that may forget who was ended"
    if facts.get("aof_enabled") != "1":
        return (
            "the Redis server has no append-only file, so ended sessions would come back after a restart; "
            f"set appendonly yes (and appendfsync always), {remedy}"
        )
    policy = facts.get("maxmemory_policy")
    if policy != "noeviction":
        return (
            f"the Redis server may drop ended sessions when its memory is full (maxmemory-policy {policy}); "
            f"set maxmemory-policy noeviction, {remedy}"
        )
    return None


def _reason(error: Exception) -> str:
    """A server's or a socket's words, without a command's arguments, which may hold ids."""
    if str(error).startswith(OTHER_LAYOUT):
        return "a later version of Rolecall has changed the layout of the store's keys; update this worker"
    return str(error).partition(", with args")[0] or type(error).__name__
