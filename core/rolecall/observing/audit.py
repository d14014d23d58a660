"""Audit trails: each event as one line of JSON, in a file or in a log."""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..errors import PluginError
from ..explain import circumstances
from ..hookspecs import ModerationRequest, SessionRequest, TokenRequest, blocking, hookimpl
from ..policy import Limit

if TYPE_CHECKING:
    from ..events import Event

#: The mode of a file that is made: nobody else reads who was where.
MODE: Final = 0o600


class AuditFile:
    """Writes each event as one line of JSON to a file.

    Several workers may write to the same file: each line is one ``write`` at its end. The file is opened for each line,
    so that it may be moved or removed at any time, for example by ``logrotate``. It is made with the mode 0600, in a
    folder that exists.

    If a line cannot be written, it is lost, and the log of ``rolecall`` says so, as an error, for each of them.

    :param path: the file.
    :param fsync: whether a line is on the disk before the caller has its answer.
    :param name: the plugin's name; a second file needs its own.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False, name: str = "audit") -> None:
        self.name = name
        self._path = os.fspath(path)
        self._fsync = fsync
        # Whether the last line of this process was cut off.
        self._is_torn = False

    @hookimpl
    def rolecall_startup(self, kit: Any) -> None:
        """Refuse to start with a file that cannot be written."""
        try:
            os.close(self._open())
        except OSError as error:
            raise PluginError(f"the audit file {self._path!r} cannot be written: {error.strerror}") from error

    @hookimpl
    @blocking
    def rolecall_on_event(self, event: Event) -> None:
        """Write the event."""
        self._write(event.as_dict())

    def _write(self, line: dict[str, Any]) -> None:
        """Write a line; it is whole, or the error says that it is not."""
        data = b"\n" * self._is_torn + json.dumps(line).encode() + b"\n"
        try:
            descriptor = self._open()
            try:
                written = os.write(descriptor, data)
                self._is_torn = written < len(data)
                if self._fsync and not self._is_torn:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PluginError(f"the audit file {self._path!r} does not take a line: {error.strerror}") from error
        if self._is_torn:
            raise PluginError(f"the audit file {self._path!r} has taken only a part of a line: its disk is full")

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)


class StrictAuditFile(AuditFile):
    """An audit file without which nothing is granted.

    A session, a token or an act in a session is granted only once a line about it is in the file: the event
    ``session_granted``, ``token_granted`` or ``act_granted``, with the ``call_id`` of the event that reports the end.
    If that line cannot be written, the request is refused with 503. The end of a session is never refused.

    It has the arguments of :class:`AuditFile`; ``fsync`` is True unless given.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = True, name: str = "audit") -> None:
        super().__init__(path, fsync=fsync, name=name)

    @hookimpl
    def rolecall_vote_session(self, request: SessionRequest) -> Limit:
        """Have a line written once all policies have allowed the session."""
        return self._vote("session_granted", request, None)

    @hookimpl
    def rolecall_vote_token(self, request: TokenRequest) -> Limit:
        """Have a line written once all policies have allowed the token."""
        return self._vote("token_granted", request, request.session_id, role=str(request.role))

    @hookimpl
    def rolecall_vote_moderation(self, request: ModerationRequest) -> Limit | None:
        """Have a line written once all policies have allowed the act; of lists there is none."""
        act = request.act
        if not act.changes:
            return None
        bearer = None if request.grant is None else request.grant.actor_id
        return self._vote("act_granted", request, act.session_id, bearer, act=act.name, target=act.target)

    def _vote(
        self,
        event: str,
        request: SessionRequest | TokenRequest | ModerationRequest,
        session_id: str | None,
        actor_id: str | None = None,
        **about: Any,
    ) -> Limit:
        where = circumstances(
            time=request.now,
            call_id=request.call_id,
            session_id=session_id,
            http=request.http,
            actor_id=request.actor.id if request.actor else actor_id,
        )
        return Limit(reserve=blocking(partial(self._write, {"event": event, **where, **about})))


class AuditLog:
    """Writes each event as one line of JSON to a logger, at the level INFO.

    The logger decides what becomes of it: what its handlers cannot write is lost, as with any log.

    :param logger: the logger, or its name.
    :param name: the plugin's name; a second log needs its own.
    """

    def __init__(self, logger: logging.Logger | str = "rolecall.audit", *, name: str = "audit") -> None:
        self.name = name
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger

    @hookimpl
    def rolecall_on_event(self, event: Event) -> None:
        """Log the event."""
        self._logger.info("%s", json.dumps(event.as_dict()))
