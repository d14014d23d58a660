"""The SDK's client, working on a kit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, SupportsInt, TypeVar

from ..driver import drive
from ..errors import (
    InvalidData,
    InvalidExpireTime,
    InvalidRole,
    InvalidSessionId,
    InvalidSessionOption,
    NotFoundAtService,
    RolecallError,
    SessionEnded,
    SessionNotFound,
)
from ..kit import Rolecall
from ..moderation import check_id, find_stream
from ..sessions import ArchiveMode, MediaMode
from ..wording import shown
from . import messages
from .arguments import check_archive, check_modes, expiry_of, layout_of, signal_of
from .constants import ArchiveModes, MediaModes, Roles
from .done import Done
from .exceptions import NotFoundError, OpenTokException
from .kits import check_kit, format_of, is_private_key, own_kit, own_t1
from .messages import plain, raise_refusal
from .missing import ELSEWHERE
from .remote import Remote
from .session import Session
from .stream import Stream
from .streamlist import StreamList


class Client:
    """Creates and moderates sessions and mints tokens, with the calls of the ``opentok`` package.

    :param api_key: the project's API key, or the id of an application of the newer Vonage service.
    :param api_secret: the project's API secret, or the application's private key: PEM text, or the path of its file.
    :param api_url: the service where sessions are created and moderated, for example ``https://api.opentok.com``.
        Unless given, the kit itself creates them, and a plugin of the kit moderates them.
    :param timeout: the time of a whole call to the service, in seconds; 4 unless given.
    :param app_version: kept as an attribute, and not sent.
    :param kit: the kit whose policies, store and formats apply; ``api_secret`` may then be None. The client is for the
        one of its projects that has the ``api_key``, and for no other. Unless given, the client makes a kit, which the
        environment configures as in :meth:`Rolecall.from_env`, except for its credentials.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    #: The beginning of tokens that are no JWT.
    TOKEN_SENTINEL = "T1=="  # noqa: S105

    def __init__(
        self,
        api_key: str | int,
        api_secret: str | bytes | None,
        api_url: str | None = None,
        timeout: float | None = None,
        app_version: str | None = None,
        *,
        kit: Rolecall | None = None,
    ) -> None:
        # Users of the SDK also pass the key as a number.
        own_key = str(api_key) if type(api_key) is int else api_key
        self._proxies: Mapping[str, str] | str | None = None
        self._timeout = timeout
        self.app_version = app_version
        self._owns_kit = kit is None
        self._remote: Remote | None = None
        try:
            if kit is not None:
                check_kit(kit, own_key, api_secret, api_url)
            else:
                if api_url is not None:
                    self._remote = Remote(own_key, api_secret, api_url, timeout)
                kit = own_kit(own_key, api_secret, self._remote, timeout)
            self._jwt = format_of(kit, jwt=True)
            self._t1 = format_of(kit, jwt=False)
            if self._owns_kit and self._t1 is None and not is_private_key(own_key, api_secret):
                self._t1 = own_t1(kit, api_secret)  # type: ignore[arg-type]
        finally:
            del api_secret  # so that no frame of a traceback holds it
        #: The kit that does the work, with all that the SDK lacks: ``client.kit.verify_token(token)``.
        self.kit: Rolecall = kit
        self.api_key: str = own_key if own_key in kit.api_keys else kit.api_key

    @property
    def timeout(self) -> float | None:
        """The time of a call to the service, in seconds; None for the connector's default."""
        return self._timeout

    @property
    def proxies(self) -> Mapping[str, str] | str | None:
        """The proxies by scheme, as ``requests`` takes them (``{"https": "http://127.0.0.1:8080"}``), or one URL."""
        return self._proxies

    @proxies.setter
    def proxies(self, proxies: Mapping[str, str] | str | None) -> None:
        if proxies is not None and not isinstance(proxies, str | Mapping):
            raise OpenTokException(f"proxies is {shown(proxies)}; expected a mapping from scheme to URL")
        if self._remote is not None:
            self._remote.use(proxies)
        self._proxies = proxies

    def generate_token(
        self,
        session_id: str,
        role: Roles | str = Roles.publisher,
        expire_time: float | str | datetime | timedelta | SupportsInt | None = None,
        data: str | None = None,
        initial_layout_class_list: Sequence[str] = [],  # as in the SDK; never changed
        use_jwt: bool = True,
    ) -> str:
        """Mint a token for a session.

        :param session_id: the session's id.
        :param role: one of :class:`Roles`, or the name of a role of the kit.
        :param expire_time: Unix seconds, as a number or in digits, an aware ``datetime``, or a ``timedelta`` from now.
            24 hours from now unless set, and at most 30 days.
        :param data: at most 1,000 characters that describe the connection.
        :param initial_layout_class_list: layout classes of the streams that the bearer publishes.
        :param use_jwt: mint a JWT; otherwise the older form, T1. The kit itself accepts T1 only with
            ``accept=["opentok", "t1"]`` or the variable ``ROLECALL_ACCEPT``.
        :raises OpenTokException: says which value is not valid, and what is expected.
        """
        form = self._jwt if use_jwt else self._t1
        if form is None:
            wanted = "a project's JWT" if use_jwt else "the older form, T1"
            raise OpenTokException(
                f"Cannot generate token, use_jwt is {use_jwt}: the kit neither mints nor accepts {wanted}; see its "
                "arguments format= and accept="
            )
        name = role.value if isinstance(role, Roles) else role
        expiry, layout = expiry_of(expire_time), layout_of(initial_layout_class_list)
        try:
            self._check_project(session_id)
            token, _ = drive(self.kit.engine.generate_token(session_id, name, expiry, data, layout, form=form))
        except InvalidSessionId as error:
            raise OpenTokException(f"{messages.session_problem(session_id, self.api_key)}: {error}") from error
        except InvalidRole as error:
            raise OpenTokException(f"Cannot generate token, {plain(role)} is not a valid role: {error}") from error
        except InvalidExpireTime as error:
            now = self.kit.engine.state.clock()
            raise OpenTokException(f"{messages.expire_time_problem(expire_time, expiry, now)}: {error}") from error
        except InvalidData as error:
            raise OpenTokException(f"{messages.data_problem(data, layout)}: {error}") from error
        except (SessionEnded, SessionNotFound) as error:
            raise NotFoundError(
                f"Cannot generate token, the session_id {plain(session_id)} was not valid: {error}"
            ) from error
        except RolecallError as error:
            raise_refusal(error, "Cannot generate token")
        return token

    def create_session(
        self,
        location: str | None = None,
        media_mode: MediaModes = MediaModes.relayed,
        archive_mode: ArchiveModes = ArchiveModes.manual,
        archive_name: str | None = None,
        archive_resolution: str | None = None,
        e2ee: bool = False,
    ) -> Session:
        """Create a session.

        :param location: an IP address near its participants, as a hint.
        :param media_mode: relayed or routed.
        :param archive_mode: manual, or always (needs routed).
        :param archive_name: the name of its archives, 1 to 80 characters; only if ``archive_mode`` is always. The kit
            only passes this and ``archive_resolution`` on to the service that records the archives.
        :param archive_resolution: of its archives, for example ``"1280x720"``; only if ``archive_mode`` is always.
        :param e2ee: encrypt media from end to end (needs routed).
        :raises OpenTokException: says which value is not valid, and what is expected.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service or the store does not answer.
        """
        check_modes(media_mode, archive_mode)
        check_archive(archive_mode, archive_name, archive_resolution)
        try:
            session = self.kit.create_session(
                location or None,
                MediaMode(media_mode.name),
                ArchiveMode(archive_mode.value),
                e2ee,
                api_key=self.api_key,
                archive_name=archive_name,
                archive_resolution=archive_resolution,
            )
        except InvalidSessionOption as error:
            problem = "Cannot create session"
            if str(error).startswith("location"):
                problem += f". Location must be either None or a valid IPv4 address {plain(location)}"
            raise OpenTokException(f"{problem}: {error}") from error
        except RolecallError as error:
            raise_refusal(error, "Failed to create session")
        return Session(
            self,
            session.session_id,
            location=session.location,
            media_mode=media_mode,
            archive_mode=archive_mode,
            e2ee=session.e2ee,
        )

    def send_signal(self, session_id: str, payload: Mapping[str, str], connection_id: str | None = None) -> None:
        """Send a signal to the connections of a session.

        Moderation is carried out by the service at ``api_url``, or by the media service of a plugin of the kit; see
        :func:`~rolecall.hookspecs.rolecall_media_service`. It is complete when the method returns.

        :param session_id: the session's id.
        :param payload: ``{"type": "…", "data": "…"}``: the signal's type, at most 128 bytes of UTF-8, and its content,
            at most 8,192. Either may be left out.
        :param connection_id: the only connection that gets it; all do unless given.
        :raises SignalingError: for an argument that is wrong, or a connection that does not exist.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.SIGNAL.translated():
            self._check_project(session_id)
            self.kit.signal(session_id, *signal_of(payload), connection_id)

    def signal(self, session_id: str, payload: Mapping[str, str], connection_id: str | None = None) -> None:
        """:meth:`send_signal` under its older name, which is deprecated, as in the SDK."""
        warnings.warn(
            "opentok.signal is deprecated (use opentok.send_signal instead).", DeprecationWarning, stacklevel=2
        )
        self.send_signal(session_id, payload, connection_id)

    def force_disconnect(self, session_id: str, connection_id: str) -> None:
        """End a connection to a session; see :meth:`send_signal` for who carries it out.

        :raises ForceDisconnectError: for an argument that is wrong, or a connection that does not exist.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.FORCE_DISCONNECT.translated():
            self._check_project(session_id)
            self.kit.force_disconnect(session_id, connection_id)

    def mute_stream(self, session_id: str, stream_id: str) -> Done:
        """Mute the audio of a stream; see :meth:`send_signal` for who carries it out.

        :raises GetStreamError: for an argument that is wrong.
        :raises NotFoundError: if there is no such stream.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.MUTE_STREAM.translated():
            self._check_project(session_id)
            self.kit.mute_stream(session_id, stream_id)
        return Done()

    def mute_all(self, session_id: str, excludedStreamIds: Iterable[str] | None) -> Done:  # noqa: N803
        """Mute the audio of all streams of a session, future ones included; see :meth:`send_signal` for who does it.

        :param excludedStreamIds: streams that are not muted; may be None.
        :raises GetStreamError: for an argument that is wrong.
        :raises NotFoundError: if there is no such session.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.MUTE_ALL.translated():
            self._check_project(session_id)
            self.kit.mute_all(session_id, True, () if excludedStreamIds is None else excludedStreamIds)
        return Done()

    def disable_force_mute(self, session_id: str) -> Done:
        """Stop muting future streams after :meth:`mute_all`, which lists the errors."""
        with messages.MUTE_ALL.translated():
            self._check_project(session_id)
            self.kit.mute_all(session_id, False)
        return Done()

    def get_stream(self, session_id: str, stream_id: str) -> Stream:
        """A stream of a session; see :meth:`send_signal` for the service that knows it.

        :raises GetStreamError: for an argument that is wrong, or a stream that does not exist.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.STREAMS.translated():
            self._check_project(session_id)
            check_id("stream_id", stream_id)
            return Stream(find_stream(self.kit.list_streams(session_id), stream_id))

    def list_streams(self, session_id: str) -> StreamList:
        """The streams of a session; empty if nobody knows it. See :meth:`send_signal` for the service that answers.

        :raises GetStreamError: for an invalid id.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service does not answer, or there is none.
        """
        with messages.STREAMS.translated():
            self._check_project(session_id)
            try:
                streams = self.kit.list_streams(session_id)
            except NotFoundAtService:
                streams = []
        return StreamList({"count": len(streams), "items": streams})

    def _check_project(self, session_id: str) -> None:
        """Refuse a session of another project of the kit."""
        if self.kit.api_key_of(session_id) != self.api_key:
            raise InvalidSessionId(f"session_id belongs to another API key of the kit than {self.api_key!r}")

    def close(self) -> None:
        """Release the client's resources; a kit that was passed in stays open. Do not use the client afterwards."""
        if self._owns_kit:
            self.kit.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:  # so that a type checker reports missing attributes

        def __getattr__(self, name: str) -> NoReturn:
            if name not in ELSEWHERE:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(f"rolecall.opentok has no {name}: {ELSEWHERE[name]}", name=name, obj=self)

    def __repr__(self) -> str:
        # Through the dictionary: __init__ may have failed early.
        return f"<{type(self).__name__} api_key={self.__dict__.get('api_key')!r}>"


class OpenTok(Client):
    """The client under its older name, which is deprecated, as in the SDK."""

    def __init__(
        self,
        api_key: str | int,
        api_secret: str | bytes | None,
        api_url: str | None = None,
        timeout: float | None = None,
        app_version: str | None = None,
        *,
        kit: Rolecall | None = None,
    ) -> None:
        warnings.warn("OpenTok class is deprecated (Use Client class instead)", DeprecationWarning, stacklevel=2)
        try:
            super().__init__(api_key, api_secret, api_url, timeout, app_version, kit=kit)
        finally:
            del api_secret


_Self = TypeVar("_Self", bound=Client)
