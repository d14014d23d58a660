"""Connections to PostgreSQL whose every call ends in time, even if the server has frozen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from math import inf
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.errors import ReadOnlySqlTransaction

from ..errors import StoreUnavailable
from ..wording import printable
from .failures import of_a_value
from .slots import Slots
from .sql_url import SQLURL

Row: TypeAlias = tuple[Any, ...]
#: The values of a statement, by name.
Values: TypeAlias = dict[str, Any]
_Result = TypeVar("_Result")

#: The least connect_timeout of libpq, in seconds. It ends the thread of a caller that has long given up.
_CONNECT_TIMEOUT: Final = 2
#: The longest time in which a new connection is set up, and the schema migrated, in seconds.
OPENING: Final = 30.0
#: The pause between two looks at the clock while a connection waits for the server, in seconds.
_LOOK: Final = 0.02
# The kernel notices a dead peer by these, if packets are lost; a frozen server goes on acknowledging them.
_LOST_PACKETS: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 2000}

#: The classes of the errors that a value of one row causes: it is invalid, breaks a constraint or exceeds a limit.
_OF_VALUES: Final = ("22", "23", "54")
# The last three: of a value that psycopg cannot send, of the name service, and of a machine without threads.
_FAILURES: Final = (psycopg.Error, ValueError, OSError, RuntimeError)

# An acknowledged change is on the disk, whatever the role's defaults are. A stricter setting, such as remote_apply,
# stays. Statements are single and never need to be serialised, and the server abandons those that the store gave up.
_SETUP: Final = b"""
SELECT set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                  ELSE current_setting('synchronous_commit') END, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('statement_timeout', %s, false)
"""


class DeadlinePassed(psycopg.OperationalError):
    """The server has not answered in time. The connection is closed."""


class Script(bytes):
    """Several statements that are sent at once, and that the server runs as one transaction.

    Each statement sees what was committed before that statement began, so that one may lock and the next one count. The
    rows are those of the last one. Values are quoted by the client, and need casts where their type matters.
    """


def patient(statement: bytes, seconds: float) -> Script:
    """The same statement, for which the server may take its time."""
    return Script(b"SET LOCAL statement_timeout = %d;" % int(seconds * 1000) + statement)


class BoundedConnection(psycopg.Connection[Row]):
    """A connection that is closed when its deadline passes while it waits for the server."""

    #: On the monotonic clock, in seconds.
    deadline = inf

    def fetch(self, query: bytes, values: Any = None, deadline: float = inf) -> list[Row]:
        """Run one statement or one script, and return its rows."""
        self.deadline = deadline
        cursor = _run_script(self, query, values) if isinstance(query, Script) else self.execute(query, values)
        return cursor.fetchall() if cursor.description else []

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        if self.deadline != inf:
            gen = _until(self.deadline, gen)
            kwargs["interval"] = _LOOK
        try:
            return super().wait(gen, *args, **kwargs)
        except DeadlinePassed:
            self.close()
            raise

    def __del__(self, *_: Any) -> None:
        # Without psycopg's warning: libpq's own handle closes an abandoned connection, in the process that opened it.
        pass


def _run_script(connection: BoundedConnection, script: Script, values: Any) -> psycopg.Cursor[Row]:
    """Run a script, and return a cursor over the rows of its last statement."""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(script, values)
    while cursor.nextset():
        pass
    return cursor


def _until(deadline: float, steps: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
    """The same steps, as long as the deadline has not passed between two of them."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and monotonic() >= deadline:
                raise DeadlinePassed("the server has not answered in time")
            wanted = steps.send(ready)
    except StopIteration as stop:
        result: _Result = stop.value
        return result


class Connections:
    """The connections of one process to one database. A forked child has its own.

    :param prepare: called with the first connection, to check and migrate the schema.
    """

    def __init__(self, url: SQLURL, prepare: Callable[[BoundedConnection], None]) -> None:
        self._url = url
        self._prepare = prepare
        self._is_prepared = False
        self._slots = Slots(url.connections)
        self._openings = threading.BoundedSemaphore(url.connections)
        self._idle: list[BoundedConnection] = []
        self._is_closed = False

    def fetch(self, query: bytes, values: Any = None, deadline: float | None = None) -> list[Row]:
        """Run one statement or script, and return its rows. It may run twice, if the connection is lost meanwhile.

        :param deadline: on the monotonic clock; the URL's time limit from now unless given.
        :raises StoreUnavailable: if the server has not answered in time, or refuses.
        """
        if deadline is None:
            deadline = monotonic() + self._url.timeout
        if not self._slots.acquire(deadline - monotonic()):
            raise StoreUnavailable(
                f"all {self._url.connections} connections to PostgreSQL are in use for too long; "
                "see connections=… in the store's URL"
            )
        try:
            return self._fetch(query, values, deadline)
        except _FAILURES as error:
            raise unavailable(error) from error
        finally:
            self._slots.release()

    def _fetch(self, query: bytes, values: Any, deadline: float) -> list[Row]:
        while True:
            try:
                connection, is_new = self._idle.pop(), False
            except IndexError:
                connection, is_new = self.connect(deadline), True
            try:
                rows = connection.fetch(query, values, deadline)
            except psycopg.Error as error:
                if connection.closed or isinstance(error, ReadOnlySqlTransaction):
                    # The others lead to the same server, which died, froze, or is no longer the primary.
                    self._idle.append(connection)
                    self.retire()
                    if not is_new and not isinstance(error, DeadlinePassed | ReadOnlySqlTransaction):
                        continue  # the server was started anew since this connection was last used
                else:
                    self._idle.append(connection)
                raise
            except BaseException:
                # Interrupted, as by gevent.Timeout: the answer that is under way belongs to nobody.
                connection.close()
                raise
            self._idle.append(connection)
            if self._is_closed:
                self.retire()
            return rows

    @contextmanager
    def alone(self, seconds: float) -> Iterator[BoundedConnection]:
        """A further connection, whose statements may take so long. It is closed in the end.

        :raises StoreUnavailable: if the server has not answered in time, or refuses.
        """
        try:
            with closing(self.connect(monotonic() + self._url.timeout)) as connection:
                _set_up(connection, seconds)
                connection.deadline = monotonic() + seconds
                yield connection
        except _FAILURES as error:
            raise unavailable(error) from error

    def connect(self, deadline: float) -> BoundedConnection:
        """Open a connection on a thread of its own, which is given up at the deadline: looking a name up, and the first
        words with a server, can take longer than any caller waits.
        """
        if not self._openings.acquire(timeout=max(0.0, deadline - monotonic())):
            raise DeadlinePassed("the server does not take connections")
        opened: Future[BoundedConnection] = Future()
        try:
            threading.Thread(target=self._open_for, args=(opened,), name="rolecall: PostgreSQL", daemon=True).start()
        except RuntimeError as error:
            self._openings.release()
            raise psycopg.OperationalError(f"no thread can start to connect: {error}") from error
        try:
            return opened.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            if opened.cancel():
                raise DeadlinePassed("the server has not opened a connection in time") from None
            return opened.result()
        except BaseException:
            if not opened.cancel() and opened.exception() is None:
                opened.result().close()
            raise

    def _open_for(self, caller: Future[BoundedConnection]) -> None:
        connection: BoundedConnection | None = None
        failure: BaseException | None = None
        try:
            connection = self.open()
        except BaseException as error:
            failure = error
        finally:
            self._openings.release()
        # From here on the caller cannot give up any more.
        if not caller.set_running_or_notify_cancel():
            if connection is not None:
                connection.close()
        elif connection is not None:
            caller.set_result(connection)
        else:
            caller.set_exception(failure)

    def open(self) -> BoundedConnection:
        """Open a connection on this thread, and check the schema if this process has not done so yet."""
        url = self._url
        if self._is_closed:
            raise StoreUnavailable("the store was closed; make another kit")
        connection = BoundedConnection.connect(
            **{"application_name": "rolecall", **_LOST_PACKETS, **url.parameters},
            autocommit=True,
            client_encoding="UTF8",
            connect_timeout=_CONNECT_TIMEOUT,
        )
        try:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            if not self._is_prepared:
                _set_up(connection, OPENING)
                self._prepare(connection)
                self._is_prepared = True
            # A little before the caller gives up, so that the connection stays good.
            _set_up(connection, 0.9 * url.timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def retire(self) -> None:
        """Close the idle connections."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def close(self) -> None:
        self._is_closed = True
        self.retire()


def _set_up(connection: BoundedConnection, seconds: float) -> None:
    connection.fetch(_SETUP, (f"{int(seconds * 1000)}ms",), monotonic() + OPENING)


def unavailable(error: Exception) -> StoreUnavailable:
    """The error for a call that failed. It quotes no value of a row."""
    if isinstance(error, DeadlinePassed):
        return StoreUnavailable(f"PostgreSQL does not answer: {error}; a change may have been made all the same")
    if isinstance(error, psycopg.Error) and error.sqlstate and error.diag.message_primary:
        # The primary message alone: the detail quotes the row.
        failure = of_a_value if error.sqlstate.startswith(_OF_VALUES) else StoreUnavailable
        return failure(f"PostgreSQL refuses: {printable(error.diag.message_primary)}")
    reason = str(error).strip() or type(error).__name__
    return StoreUnavailable(f"PostgreSQL does not answer: {printable(reason.splitlines()[0])}")
