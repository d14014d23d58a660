"""A drop-in for the ``opentok`` package, as far as sessions and tokens go.

Names, signatures and defaults are those of opentok 3.15, and errors begin with its messages. Without an ``api_url`` it
works on a kit of its own, with one it creates sessions at that service. The page "Coming from an SDK" lists what is
different.
"""

from __future__ import annotations

import os
import re
import warnings
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsInt, TypeVar
from urllib.parse import urlsplit

from .driver import drive
from .engine import Engine
from .environment import read_environment
from .errors import (
    ConfigurationError,
    Forbidden,
    InvalidData,
    InvalidExpireTime,
    InvalidRole,
    InvalidSessionId,
    InvalidSessionOption,
    RolecallError,
    SessionEnded,
    SessionNotFound,
    Unavailable,
    kind,
    printable,
    shown,
)
from .formats.t1 import T1Format
from .hookspecs import SessionRequest, blocking, hookimpl
from .issuers import Issuer
from .keys import Key, problem_with
from .kit import Rolecall
from .sessions import MAX_SESSION_ID_LENGTH, MediaMode, SessionIds
from .tokens import MAX_DATA_LENGTH, check_data

if TYPE_CHECKING:
    from .connector import RemoteService

__all__ = [
    "ArchiveModes",
    "AuthError",
    "Client",
    "MediaModes",
    "NotFoundError",
    "OpenTok",
    "OpenTokException",
    "RequestError",
    "RoleConstants",
    "Roles",
    "Session",
]


class OpenTokException(Exception):
    """Base of the errors of this module. Its ``__cause__`` is the kit's own error, where there is one."""


class RequestError(OpenTokException):
    """The service, the store or a policy could not answer."""


class AuthError(OpenTokException):
    """The service does not accept the API key and secret, or a policy refuses."""


class NotFoundError(OpenTokException):
    """The session has ended."""


class Roles(Enum):
    """The roles of a token."""

    #: Subscribes only.
    subscriber = "subscriber"
    #: Publishes, subscribes and signals.
    publisher = "publisher"
    #: Publishes only.
    publisher_only = "publisheronly"
    #: A publisher who may also make others disconnect or stop publishing.
    moderator = "moderator"


class RoleConstants:
    """The roles by the names that the guide once had for them."""

    SUBSCRIBER: Final = Roles.subscriber
    PUBLISHER: Final = Roles.publisher
    MODERATOR: Final = Roles.moderator


class MediaModes(Enum):
    """Whether streams go through a media server; the values are those of ``p2p.preference`` on the wire."""

    routed = "disabled"
    relayed = "enabled"


class ArchiveModes(Enum):
    """Whether a session is recorded from its start."""

    manual = "manual"
    always = "always"


_RESOLUTIONS: Final = ("640x480", "480x640", "1280x720", "720x1280", "1920x1080", "1080x1920")


class Session:
    """A session, as :meth:`Client.create_session` returns it.

    For a session that is known by its id alone, ``Session(client, session_id)`` will do.

    :param sdk: the client that mints its tokens.
    :param session_id: its id.
    :param kwargs: further properties, which become attributes.
    """

    location: str | None
    media_mode: MediaModes
    archive_mode: ArchiveModes
    e2ee: bool

    def __init__(self, sdk: Client, session_id: str, **kwargs: Any) -> None:
        if not isinstance(session_id, str) or not session_id:
            raise OpenTokException(f"Cannot instantiate Session, session_id was not valid {_plain(session_id)}")
        self.session_id = session_id
        self.sdk = sdk
        for name, value in kwargs.items():
            setattr(self, name, value)

    def generate_token(self, **kwargs: Any) -> str:
        """A token for this session; see :meth:`Client.generate_token`, whose other arguments it takes by name."""
        return self.sdk.generate_token(self.session_id, **kwargs)


class Client:
    """Creates sessions and mints tokens, with the calls of the ``opentok`` package.

    :param api_key: the project's API key, or the id of an application of the newer Vonage service.
    :param api_secret: the project's API secret, or the application's private key: PEM text, or the path of its file.
    :param api_url: the service that creates the sessions, for example ``https://api.opentok.com``. Unless given, the
        kit itself does.
    :param timeout: the seconds that a call of the service may take as a whole; 5 unless given.
    :param app_version: kept as an attribute, and told nobody.
    :param kit: the kit whose policies, store and formats apply; ``api_secret`` may then be None. Unless given, the
        client makes one, which the environment configures as it does :meth:`Rolecall.from_env`, its credentials apart.
    :raises ConfigurationError: says what is wrong with an argument, and what to do.
    """

    #: What tokens begin with that are no JWT.
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
        # The SDK's users also write the key as a number.
        own_key = str(api_key) if type(api_key) is int else api_key
        self._proxies: Mapping[str, str] | str | None = None
        self._timeout = timeout
        self.app_version = app_version
        self._owns_kit = kit is None
        self._remote: _Remote | None = None
        try:
            if kit is not None:
                _check_kit(kit, own_key, api_secret, api_url)
            else:
                if api_url is not None:
                    self._remote = _Remote(own_key, api_secret, api_url, timeout)
                kit = _own_kit(own_key, api_secret, self._remote, timeout)
        finally:
            del api_secret  # whatever is raised, no frame of its traceback holds it
        #: The kit that does the work, with everything that the SDK has not: ``client.kit.verify_token(token)``.
        self.kit: Rolecall = kit
        self.api_key: str = kit.api_key
        self._jwt = _engine_minting(kit, jwt=True)
        self._t1 = _engine_minting(kit, jwt=False)

    @property
    def timeout(self) -> float | None:
        """The seconds that a call of the service may take; None for the connector's default."""
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
        initial_layout_class_list: Sequence[str] = [],  # as in the SDK; it is never changed
        use_jwt: bool = True,
    ) -> str:
        """Mint a token for a session.

        :param session_id: the session's id.
        :param role: one of :class:`Roles`, or the name of a role of the kit.
        :param expire_time: Unix seconds, as a number or in digits, an aware ``datetime``, or a ``timedelta`` from now.
            24 hours from now unless set, and at most 30 days.
        :param data: at most 1,000 characters that describe the connection.
        :param initial_layout_class_list: layout classes of the streams that the bearer publishes.
        :param use_jwt: mint a JWT; otherwise the older form, T1.
        :raises OpenTokException: says which value was not valid, and what was expected.
        """
        engine = self._jwt if use_jwt else self._t1
        if engine is None:
            form = "a project's JWT" if use_jwt else "the older form, T1"
            raise OpenTokException(
                f"Cannot generate token, use_jwt is {use_jwt}: the kit neither mints nor accepts {form}; see its "
                "arguments format= and accept="
            )
        name = role.value if isinstance(role, Roles) else role
        expiry = _expire_time(expire_time)
        layout: Any = initial_layout_class_list
        if isinstance(layout, Iterable) and not isinstance(layout, str | bytes | Mapping):
            layout = tuple(layout)
        try:
            token, _ = drive(engine.generate_token(session_id, name, expiry, data, layout))
        except InvalidSessionId as error:
            raise OpenTokException(f"{self._session_problem(session_id)}: {error}") from error
        except InvalidRole as error:
            raise OpenTokException(f"Cannot generate token, {_plain(role)} is not a valid role: {error}") from error
        except InvalidExpireTime as error:
            now = self.kit.engine.state.clock()
            raise OpenTokException(f"{_expire_time_problem(expire_time, expiry, now)}: {error}") from error
        except InvalidData as error:
            raise OpenTokException(f"{_data_problem(data, layout)}: {error}") from error
        except (SessionEnded, SessionNotFound) as error:
            raise NotFoundError(
                f"Cannot generate token, the session_id {_plain(session_id)} was not valid: {error}"
            ) from error
        except RolecallError as error:
            _raise(error, "Cannot generate token")
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
        :param archive_name: the name of its archives, 1 to 80 characters; only where ``archive_mode`` is always.
        :param archive_resolution: of its archives, for example ``"1280x720"``; only where ``archive_mode`` is always.
        :param e2ee: encrypt media from end to end (needs routed).
        :raises OpenTokException: says which value was not valid, and what was expected.
        :raises AuthError: if the service refuses the API key and secret, or a policy denies.
        :raises RequestError: if the service or the store does not answer.
        """
        if not isinstance(media_mode, MediaModes):
            raise OpenTokException(
                f"Cannot create session, {_plain(media_mode)} is not a valid media mode; "
                f"expected {' or '.join(map(str, MediaModes))}"
            )
        if not isinstance(archive_mode, ArchiveModes):
            raise OpenTokException(
                f"Cannot create session, {_plain(archive_mode)} is not a valid archive mode; "
                f"expected {' or '.join(map(str, ArchiveModes))}"
            )
        if archive_mode is ArchiveModes.always and media_mode is not MediaModes.routed:
            raise OpenTokException(
                "A session with always archive mode must also have the routed media mode. "
                "Relayed media passes no server that could record it: pass media_mode=MediaModes.routed"
            )
        _check_archive(archive_mode, archive_name, archive_resolution)
        if self._remote is not None and (archive_name is not None or archive_resolution is not None):
            given = "archive_name" if archive_name is not None else "archive_resolution"
            raise OpenTokException(
                f"Cannot create session, {given} is not passed on to the service by this client; "
                "leave it out, or create this session with the opentok package"
            )
        try:
            session = self.kit.create_session(location or None, media_mode.name, archive_mode.value, e2ee)
        except InvalidSessionOption as error:
            problem = "Cannot create session"
            if str(error).startswith("location"):
                problem += f". Location must be either None or a valid IPv4 address {_plain(location)}"
            raise OpenTokException(f"{problem}: {error}") from error
        except RolecallError as error:
            _raise(error, "Failed to create session")
        return Session(
            self,
            session.session_id,
            location=session.location,
            media_mode=media_mode,
            archive_mode=archive_mode,
            e2ee=session.e2ee,
        )

    def close(self) -> None:
        """Release what the client has opened; a kit that was passed in stays open. It is not used afterwards."""
        if self._owns_kit:
            self.kit.close()
        if self._remote is not None:
            self._remote.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:  # a type checker shall see that they are not there

        def __getattr__(self, name: str) -> NoReturn:
            if name not in _ELSEWHERE:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(f"rolecall.opentok has no {name}: {_ELSEWHERE[name]}", name=name, obj=self)

    def __repr__(self) -> str:
        # Through the dictionary: __init__ may not have come far.
        return f"<{type(self).__name__} api_key={self.__dict__.get('api_key')!r}>"

    def _session_problem(self, session_id: object) -> str:
        """What the SDK says of an id that the kit has refused; it takes ids apart in this way."""
        if not isinstance(session_id, str) or not session_id:
            return f"Cannot generate token, session_id was not valid {_plain(session_id)}"
        problem = f"Cannot generate token, the session_id {_plain(session_id)}"
        encoded = session_id[2:].encode("utf-8", "replace")
        try:
            parts = b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_").decode().split("~")
        except ValueError:
            return f"{problem} was not valid"
        if self.api_key in parts:
            return f"{problem} was not valid"
        return f"{problem} does not belong to the api_key {self.api_key}"


class OpenTok(Client):
    """The client by its older name, which warns that it is deprecated, as in the SDK."""

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


# -- what the SDK's client has, and this one has not -----------------------------------------------


_GROUPS: Final = {
    "archives": "start_archive stop_archive delete_archive get_archive get_archives list_archives add_archive_stream "
    "remove_archive_stream set_archive_layout",
    "broadcasts": "start_broadcast stop_broadcast get_broadcast add_broadcast_stream remove_broadcast_stream "
    "set_broadcast_layout",
    "renders": "start_render get_render stop_render list_renders",
    "captions": "start_captions stop_captions",
    "telephony": "dial play_dtmf",
    "audio over WebSockets": "connect_audio_to_websocket validate_websocket_options",
    "streams": "get_stream list_streams set_stream_class_lists",
    "moderation and signals": "signal send_signal force_disconnect mute_stream mute_all disable_force_mute",
}
_REQUESTS: Final = "its requests are the connector's own; see rolecall.connector"
_ELSEWHERE: Final = {
    **{
        name: f"for {group} keep the opentok package beside this one: "
        f"opentok.Client(api_key, api_secret, api_url).{name}"
        for group, names in _GROUPS.items()
        for name in names.split()
    },
    **dict.fromkeys(
        ("endpoints", "get_headers", "headers", "get_json_headers", "json_headers", "jwt_livetime", "user_agent"),
        _REQUESTS,
    ),
    "append_to_user_agent": _REQUESTS,
    "api_secret": "a client does not give away its secret; take it from where the app has it",
}


# -- the kit, and the service ----------------------------------------------------------------------


class _Remote:
    """A plugin that creates the sessions of a client's kit at the service of its ``api_url``."""

    name = "rolecall.opentok"

    def __init__(self, api_key: Any, api_secret: Any, api_url: str, timeout: float | None) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._api_url = api_url
        self._options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        is_private_key = _is_private_key(api_key, api_secret)
        del api_secret
        if is_private_key:
            raise ConfigurationError(
                "api_url is for a project's API key and secret; with an application's id and private key leave it out: "
                "its tokens need no service"
            )
        self._service = self._connected(None)

    @hookimpl
    @blocking
    def rolecall_create_session(self, request: SessionRequest) -> str:
        return self._service.create_session(request.location, request.media_mode, request.archive_mode, request.e2ee)

    def use(self, proxies: Mapping[str, str] | str | None) -> None:
        """Reach the service by these proxies from now on."""
        left, self._service = self._service, self._connected(_proxy(self._api_url, proxies))
        left.close()

    def close(self) -> None:
        self._service.close()

    def _connected(self, proxy: str | None) -> RemoteService:
        from .connector import RemoteService  # not everybody has what it needs

        return RemoteService(self._api_key, self._api_secret, self._api_url, proxy=proxy, **self._options)


def _proxy(api_url: str, proxies: Mapping[str, str] | str | None) -> str | None:
    """The proxy for the service, looked up as ``requests`` does."""
    if proxies is None or isinstance(proxies, str):
        return proxies
    url = urlsplit(api_url)
    names = (f"{url.scheme}://{url.hostname}", url.scheme, f"all://{url.hostname}", "all")
    return next((proxies[name] for name in names if name in proxies), None)


_HOOK_TIMEOUT: Final = 10.0
_MAX_HOOK_TIMEOUT: Final = 300.0
_CREDENTIALS: Final = ("api_key", "api_secret", "application_id", "private_key")


def _own_kit(api_key: Any, api_secret: str | bytes | None, remote: _Remote | None, timeout: float | None) -> Rolecall:
    options = read_environment(os.environ)
    for name in _CREDENTIALS:
        options.pop(name, None)
    if remote is not None:
        options["plugins"] = [*options.get("plugins", ()), remote]
        # The connector keeps its time itself, and says what went wrong.
        options["hook_timeout"] = min(_MAX_HOOK_TIMEOUT, (timeout or 0) + _HOOK_TIMEOUT)
    try:
        if _is_private_key(api_key, api_secret):
            return Rolecall(application_id=api_key, private_key=api_secret, **options)
        return Rolecall(api_key, api_secret, **options)
    finally:
        del api_secret


_FILE: Final = re.compile(r"[.][a-zA-Z0-9_]+$")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _is_private_key(api_key: object, api_secret: object) -> bool:
    """Whether these are an application's credentials. The SDK looks at the end of what may be a path."""
    text = api_secret.decode("utf-8", "replace") if isinstance(api_secret, bytes) else api_secret
    if not isinstance(text, str):
        return False
    is_application = isinstance(api_key, str) and _UUID.fullmatch(api_key) is not None
    return "-----BEGIN" in text or (is_application and _FILE.search(text) is not None)


def _check_kit(kit: object, api_key: object, api_secret: object, api_url: object) -> None:
    """Refuse a kit that does not go with the client's other arguments."""
    try:
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"kit is {shown(kit)}; expected a rolecall.Rolecall(…)")
        if api_url is not None:
            raise ConfigurationError(
                "pass api_url or kit, not both: a kit creates its sessions at a service with a plugin of its own; "
                "see rolecall.connector"
            )
        if api_key != kit.api_key:
            raise ConfigurationError(f"api_key is {kind(api_key)}, and not the kit's, which is {kit.api_key!r}")
        if api_secret is not None and not _is_secret_of(kit, api_secret):
            raise ConfigurationError("api_secret is not the kit's: pass that, or None")
    finally:
        del api_secret


def _is_secret_of(kit: Rolecall, api_secret: object) -> bool:
    """Whether the kit's session ids have tags of this secret."""
    state = kit.engine.state
    if problem_with(api_secret):
        return False
    key = Key(api_secret)  # type: ignore[arg-type]
    return SessionIds(Issuer(kit.api_key, key)).accepts(state.session_ids.make(None, MediaMode.RELAYED, state.clock()))


def _engine_minting(kit: Rolecall, *, jwt: bool) -> Engine | None:
    """The kit's engine, minting JWTs or T1; None if the kit is not for them."""
    engine = kit.engine
    if isinstance(engine.state.mint, T1Format) is not jwt:
        return engine
    for candidate in engine.state.accept:
        if isinstance(candidate, T1Format) is not jwt:
            other = copy(engine)
            other.state = copy(engine.state)
            other.state.mint = candidate
            return other
    return None


# -- the SDK's messages ----------------------------------------------------------------------------


class _CredentialsRefused(AuthError, RequestError):
    # The SDK means to raise the one, and raises the other.
    pass


#: The connector's codes for it; its classes are not imported here, because not everybody has what they need.
_CREDENTIALS_REFUSED: Final = ("service_credentials_refused", "service_clock_skew")


def _raise(error: RolecallError, problem: str) -> NoReturn:
    """What the kit could not do, or would not, as the SDK's exception."""
    if error.code in _CREDENTIALS_REFUSED:
        raise _CredentialsRefused(f"{problem}, invalid credentials: {error}") from error
    if isinstance(error, Forbidden):
        raise AuthError(f"{problem}: {error}") from error
    if isinstance(error, Unavailable):
        raise RequestError(f"{problem}: {error}") from error
    raise OpenTokException(f"{problem}: {error}") from error


_DIGITS: Final = re.compile("[+-]?[0-9]{1,30}")


def _expire_time(value: object) -> Any:
    """The moment that the SDK takes ``value`` for, as the kit takes it; unchanged, if it is none."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value.strip()) else value
    if value is None or isinstance(value, int | float | datetime | timedelta) or not isinstance(value, SupportsInt):
        return value
    try:
        return int(value)
    except (ValueError, TypeError, ArithmeticError):
        return value


def _expire_time_problem(value: object, expiry: object, now: float) -> str:
    """What the SDK says of an expiry that the kit has refused at ``now``."""
    seconds: float | None = None
    if isinstance(expiry, timedelta):
        seconds = now + expiry.total_seconds()
    elif isinstance(expiry, datetime) and expiry.utcoffset() is not None:
        seconds = expiry.timestamp()
    elif isinstance(expiry, int | float) and not isinstance(expiry, bool):
        seconds = expiry
    if seconds is None or not isfinite(seconds):
        return f"Cannot generate token, invalid expire time {_plain(value)}"
    problem = "is not in the future" if seconds < now + 1 else "is not in the next 30 days"
    return f"Cannot generate token, expire_time {problem} {shown(int(seconds))}"


def _data_problem(data: object, layout: object) -> str:
    """What the SDK says of connection data or layout classes that the kit has refused."""
    if data is not None:
        try:
            check_data(data)
        except InvalidData:
            too_long = isinstance(data, str) and len(data) > MAX_DATA_LENGTH
            problem = "data must be less than 1000 characters" if too_long else "data was not valid"
            return f"Cannot generate token, {problem}"
    if not isinstance(layout, tuple) or not all(isinstance(name, str) and name for name in layout):
        return "Cannot generate token, all items in initial_layout_class_list must be strings"
    if len(" ".join(layout)) > MAX_DATA_LENGTH:
        return "Cannot generate token, initial_layout_class_list must be less than 1000 characters"
    return "Cannot generate token, data or initial_layout_class_list was not valid"


def _check_archive(mode: ArchiveModes, name: object, resolution: object) -> None:
    for argument, value in (("archive_name", name), ("archive_resolution", resolution)):
        if value is not None and mode is ArchiveModes.manual:
            raise OpenTokException(
                f"You cannot specify a value for {argument} with archive mode: manual. "
                "Leave it out, or pass archive_mode=ArchiveModes.always"
            )
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= 80):
        raise OpenTokException(f"archive_name must be between 1 and 80 characters in length. It is {shown(name)}")
    if resolution is not None and resolution not in _RESOLUTIONS:
        raise OpenTokException(
            f"archive_resolution must be one of the allowed values: {', '.join(_RESOLUTIONS)}. "
            f"It is {shown(resolution)}"
        )


def _plain(value: object) -> str:
    """``value`` as the SDK puts it into a message, without quotes, but on one line and not at any length."""
    if isinstance(value, str | Enum):
        return printable(str(value)[:MAX_SESSION_ID_LENGTH])
    return shown(value)


_Self = TypeVar("_Self", bound=Client)
