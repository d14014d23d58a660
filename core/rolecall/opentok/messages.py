"""The SDK's messages, followed by the kit's own."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from math import isfinite
from typing import Final, NamedTuple, NoReturn

from ..errors import (
    Forbidden,
    InvalidData,
    InvalidRequest,
    NoMediaService,
    NotFoundAtService,
    RolecallError,
    SignalTooLarge,
    Unavailable,
)
from ..session_ids import MAX_SESSION_ID_LENGTH
from ..tokens import MAX_DATA_LENGTH, check_data
from ..wording import printable, shown
from .exceptions import (
    AuthError,
    CredentialsRefused,
    ForceDisconnectError,
    GetStreamError,
    NotFoundError,
    OpenTokException,
    RequestError,
    SignalRefused,
)

# The connector's codes; its classes are not imported, because they need httpx.
_CREDENTIALS_REFUSED: Final = ("service_credentials_refused", "service_clock_skew")
_DENIED: Final = "service_denied"
_REFUSED: Final = "service_refused"


def plain(value: object) -> str:
    """``value`` as the SDK puts it into a message, without quotes, but on one line and shortened."""
    if isinstance(value, str | Enum):
        return printable(str(value)[:MAX_SESSION_ID_LENGTH])
    return shown(value)


# -- sessions and tokens ---------------------------------------------------------------------------


def raise_refusal(error: RolecallError, problem: str) -> NoReturn:
    """Raise the SDK's exception for an error of the kit."""
    if error.code in _CREDENTIALS_REFUSED:
        raise CredentialsRefused(f"{problem}, invalid credentials: {error}") from error
    if isinstance(error, Forbidden) or error.code == _DENIED:
        raise AuthError(f"{problem}: {error}") from error
    if isinstance(error, Unavailable):
        raise RequestError(f"{problem}: {error}") from error
    raise OpenTokException(f"{problem}: {error}") from error


def session_problem(session_id: object, api_key: str) -> str:
    """The SDK's message for a session id that the kit has refused; the SDK parses ids in this way."""
    if not isinstance(session_id, str) or not session_id:
        return f"Cannot generate token, session_id was not valid {plain(session_id)}"
    problem = f"Cannot generate token, the session_id {plain(session_id)}"
    encoded = session_id[2:].encode("utf-8", "replace")
    try:
        parts = b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_").decode().split("~")
    except ValueError:
        return f"{problem} was not valid"
    if api_key in parts:
        return f"{problem} was not valid"
    return f"{problem} does not belong to the api_key {api_key}"


def expire_time_problem(value: object, expiry: object, now: float) -> str:
    """The SDK's message for an expiry that the kit has refused at ``now``."""
    seconds: float | None = None
    if isinstance(expiry, timedelta):
        seconds = now + expiry.total_seconds()
    elif isinstance(expiry, datetime) and expiry.utcoffset() is not None:
        seconds = expiry.timestamp()
    elif isinstance(expiry, int | float) and not isinstance(expiry, bool):
        seconds = expiry
    if seconds is None or not isfinite(seconds):
        return f"Cannot generate token, invalid expire time {plain(value)}"
    problem = "is not in the future" if seconds < now + 1 else "is not in the next 30 days"
    return f"Cannot generate token, expire_time {problem} {shown(int(seconds))}"


def data_problem(data: object, layout: object) -> str:
    """The SDK's message for connection data or layout classes that the kit has refused."""
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


# -- moderation ------------------------------------------------------------------------------------


class Refusal(NamedTuple):
    """The SDK's exception for a call, and its whole message."""

    error: type[OpenTokException]
    message: str

    def of(self, error: RolecallError) -> OpenTokException:
        """This exception, with the kit's message added."""
        return self.error(f"{self.message} ({error})")


class Refusals(NamedTuple):
    """The SDK's exceptions for the ways in which a moderation call can be refused.

    :param act: the act, for a refusal by a policy.
    :param credentials: the service does not accept the API key and secret.
    :param invalid: an argument is wrong.
    :param missing: the session, connection or stream does not exist at the service.
    """

    act: str
    credentials: Refusal
    invalid: Refusal
    missing: Refusal

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate the kit's exceptions in the block into the SDK's."""
        try:
            yield
        except RolecallError as error:
            raise self._of(error) from error

    def _of(self, error: RolecallError) -> OpenTokException:
        if isinstance(error, SignalTooLarge):
            return _LONG_SIGNAL.of(error)
        if isinstance(error, InvalidRequest) or error.code == _REFUSED:
            return self.invalid.of(error)
        if isinstance(error, NotFoundAtService):
            return self.missing.of(error)
        if error.code in _CREDENTIALS_REFUSED:
            return self.credentials.of(error)
        if isinstance(error, Forbidden) or error.code == _DENIED:
            return AuthError(f"You are not authorized to {self.act}: {error}")
        # A subclass comes from a service, so there is one already.
        way_out = "; a client with an api_url acts at that service" if type(error) is NoMediaService else ""
        return RequestError(f"An unexpected error occurred: {error}{way_out}")


_NOT_CONNECTED: Final = "The client specified by the connectionId property is not connected to the session."
_INVALID_REQUEST: Final = Refusal(
    GetStreamError,
    "Invalid request. This response may indicate that data in your request data is invalid JSON. Or it may indicate "
    "that you do not pass in a session ID or you passed in an invalid stream ID.",
)
_INVALID_KEY: Final = Refusal(AuthError, "You passed in an invalid OpenTok API key or JWT token.")
_INVALID_CREDENTIALS: Final = Refusal(AuthError, "Failed to mute, invalid credentials.")
_LONG_SIGNAL: Final = Refusal(
    SignalRefused,
    "The type string exceeds the maximum length (128 bytes), or the data string exceeds the maximum size (8 kB).",
)

SIGNAL: Final = Refusals(
    "send the signal",
    Refusal(
        CredentialsRefused,
        "You are not authorized to send the signal. Check your authentication credentials.",
    ),
    Refusal(SignalRefused, "One of the signal properties - data, type, sessionId or connectionId - is invalid."),
    Refusal(SignalRefused, _NOT_CONNECTED),
)
FORCE_DISCONNECT: Final = Refusals(
    "forceDisconnect",
    Refusal(AuthError, "You are not authorized to forceDisconnect, check your authentication credentials."),
    Refusal(ForceDisconnectError, "One of the arguments - sessionId or connectionId - is invalid."),
    Refusal(ForceDisconnectError, _NOT_CONNECTED),
)
MUTE_STREAM: Final = Refusals(
    "mute the stream", _INVALID_CREDENTIALS, _INVALID_REQUEST, Refusal(NotFoundError, "Mute not found")
)
MUTE_ALL: Final = Refusals(
    "mute the session",
    _INVALID_CREDENTIALS,
    _INVALID_REQUEST,
    Refusal(NotFoundError, "The session or a stream is not found."),
)
STREAMS: Final = Refusals(
    "list the streams",
    _INVALID_KEY,
    _INVALID_REQUEST,
    Refusal(GetStreamError, "You passed in an invalid stream ID."),
)
