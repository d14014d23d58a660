"""The exception tree: every error that Rolecall raises is a :class:`RolecallError`.

Each class has a stable ``code`` for machines, the HTTP ``status`` it maps to, and a message for people.
No message ever holds a token or a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

_Error = TypeVar("_Error", bound="RolecallError")


class RolecallError(Exception):
    """Base of all errors of this package."""

    #: Stable, machine-readable name of the error.
    code: str = "rolecall_error"
    #: The HTTP status that the error maps to.
    status: int = 500
    #: The RFC 6750 error code for the ``WWW-Authenticate`` challenge, where the error calls for one.
    challenge: ClassVar[str | None] = None
    #: Seconds after which the request may be repeated, for the ``Retry-After`` header; None where nobody can say.
    retry_after: int | None = None
    #: The step of a decision at which it arose, for explanations; None: as the class says.
    step: str | None = None

    def __reduce__(self) -> Any:
        # As it is, attributes and all: what its class is called with may be no part of its arguments.
        return _remade, (type(self), self.args), vars(self)

    def at(self: _Error, step: str) -> _Error:
        """This error, as one that arose at ``step``."""
        self.step = step
        return self

    @property
    def public_message(self) -> str:
        """The message as a client may read it: faults of the server stay in its log."""
        if self.status >= 500:
            return "the server could not answer this request; its log says why"
        return str(self)


def _remade(kind: type[_Error], arguments: tuple[object, ...]) -> _Error:
    return kind.__new__(kind, *arguments)


# -- the developer's mistakes, found at start-up ---------------------------------------------------


class ConfigurationError(RolecallError, ValueError):
    """The kit, a guard or an adapter was set up wrongly; the message says what to change."""

    code = "configuration_error"


class InvalidKey(ConfigurationError):
    """A key or secret that is missing, too weak, publicly known or of the wrong kind."""

    code = "invalid_key"


class PluginError(ConfigurationError):
    """A plugin that cannot be loaded, or whose hooks do not fit their specifications."""

    code = "invalid_plugin"


# -- the caller's mistakes -------------------------------------------------------------------------


class InvalidRequest(RolecallError, ValueError):
    """An argument, or a request from outside, that is not well formed."""

    code = "invalid_request"
    status = 400


class InvalidSessionId(InvalidRequest):
    """A session id that is not well formed, not ours, or made up."""

    code = "invalid_session_id"


class InvalidSessionOption(InvalidRequest):
    """A session property that does not exist, or does not go with the others."""

    code = "invalid_session_option"


class InvalidRole(InvalidRequest):
    """The name of a role that does not exist."""

    code = "invalid_role"


class InvalidExpireTime(InvalidRequest):
    """An expiry that is in the past, too far away, or not a time."""

    code = "invalid_expire_time"


class InvalidData(InvalidRequest):
    """Connection data or layout classes beyond their limits."""

    code = "invalid_data"


class SignalTooLarge(InvalidRequest):
    """A signal whose type or data is longer than is carried."""

    code = "signal_too_large"
    status = 413


class SessionNotFound(RolecallError, LookupError):
    """The store knows no such session."""

    code = "session_not_found"
    status = 404


class NotFoundAtService(RolecallError, LookupError):
    """The service that carries the media knows no such session, connection or stream."""

    code = "not_found_at_service"
    status = 404


class SessionEnded(RolecallError):
    """The session has ended: it issues no tokens."""

    code = "session_ended"
    status = 410


# -- tokens that are refused -----------------------------------------------------------------------


class InvalidToken(RolecallError):
    """A token that is not accepted; the subclasses say why."""

    code = "invalid_token"
    status = 401
    challenge = "invalid_token"


class MalformedToken(InvalidToken):
    """Not a token in a form that this kit reads."""

    code = "malformed_token"


class WrongTokenKind(InvalidToken):
    """A sound token, but made for something else (a REST credential, another algorithm, another scope)."""

    code = "wrong_token_kind"


class UnknownKey(InvalidToken):
    """The token names a key or an API key that is not this kit's."""

    code = "unknown_key"


class BadSignature(InvalidToken):
    """The signature does not fit the content."""

    code = "bad_signature"


class InvalidClaim(InvalidToken):
    """A claim is missing, of the wrong type, or out of range."""

    code = "invalid_claim"


class ExpiredToken(InvalidToken):
    """The token's life is over."""

    code = "expired_token"


class TokenNotYetValid(InvalidToken):
    """The token is from the future: issued, or valid, only from a later moment."""

    code = "token_not_yet_valid"


class RevokedToken(InvalidToken):
    """The token was good, and is no longer: its session has ended."""

    code = "revoked_token"


class WrongSession(InvalidToken):
    """The token is for another session than the one asked for."""

    code = "wrong_session"
    status = 403
    challenge = "insufficient_scope"


class WrongActor(InvalidToken):
    """The token is for somebody else than the one that it is to be renewed for."""

    code = "wrong_actor"
    status = 403
    challenge = "insufficient_scope"


# -- refused by role or policy ---------------------------------------------------------------------


class Forbidden(RolecallError):
    """The request was understood, and refused."""

    code = "forbidden"
    status = 403


class InsufficientRole(Forbidden):
    """The token is good, but its role does not reach what the route requires."""

    code = "insufficient_role"
    challenge = "insufficient_scope"

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        #: What was required, as a challenge names it: ``role:moderator``.
        self.scope = scope


class PolicyDenied(Forbidden):
    """A policy denied, or none allowed. ``code``, ``status`` and ``retry_after`` are the policy's where it set them."""

    code = "policy_denied"

    def __init__(
        self, message: str, code: str | None = None, status: int = 403, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.status = status
        self.retry_after = retry_after


class CsrfFailed(Forbidden):
    """A token in a cookie came without the proof that a page of this site sent it."""

    code = "csrf_failed"


class InvalidServerCredential(Forbidden):
    """The credential of a call that only a project's own servers may make is missing, not good, or was used before."""

    code = "invalid_server_credential"


class OriginNotAllowed(Forbidden):
    """A page of an origin that is not on the list opens a WebSocket."""

    code = "origin_not_allowed"


# -- requests over HTTP ----------------------------------------------------------------------------


class MissingCredential(RolecallError):
    """The request carries no token."""

    code = "missing_token"
    status = 401


class MalformedCredential(InvalidRequest):
    """The request carries something that is not one token."""

    code = "malformed_credential"
    challenge = "invalid_request"


class CredentialTooLarge(RolecallError):
    """The request's token is longer than any token is."""

    code = "credential_too_large"
    status = 431

    def __init__(self, limit: int) -> None:
        super().__init__(f"the token is longer than {limit} characters")


class RouteNotFound(RolecallError):
    """The kit has no such route."""

    code = "route_not_found"
    status = 404


class MethodNotAllowed(RolecallError):
    """The route exists, but not for this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        #: The methods that the route has.
        self.allowed = allowed


class BodyTooLarge(RolecallError):
    """The request's body is longer than is read."""

    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes")


class UnsupportedMediaType(RolecallError):
    """The request's body is not of the type that is read."""

    code = "unsupported_media_type"
    status = 415


# -- out of order ----------------------------------------------------------------------------------


class Unavailable(RolecallError):
    """Something that the decision needs is out of reach; the kit refuses rather than guesses."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The store does not answer."""

    code = "store_unavailable"


class NoMediaService(RolecallError):
    """Nothing carries the media of the session, so nobody can act in it."""

    code = "no_media_service"
    status = 501

    @property
    def public_message(self) -> str:
        """For the client to read: it is no fault, but something that this service does not do."""
        return "nothing at this service can act in a session: it has no media service that does this"


class NotServed(RolecallError):
    """A call of an SDK for something that the kit does not have: archives, broadcasts, SIP calls and so on."""

    code = "not_served"
    status = 501

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: not served here. This service creates sessions and moderates them; for {what} call the service "
            "that carries their media"
        )

    @property
    def public_message(self) -> str:
        """For the client to read: it is no fault, but something that this service does not do."""
        return str(self)


class PolicyFault(Unavailable):
    """A policy raised, or answered with something that is not a vote."""

    code = "policy_fault"


# -- wording, in one place -------------------------------------------------------------------------


def shown(value: object, limit: int = 24) -> str:
    """``value`` as a message may show it: its type and a short, escaped beginning."""
    if isinstance(value, str):
        # A control character or a quote from outside never reaches a header or a log line as it is.
        return ascii(value) if len(value) <= limit else ascii(value[:limit]) + "…"
    if isinstance(value, bool | int | float | None):
        return repr(value) if not isinstance(value, int) or abs(value) < 10**24 else "a huge int"
    if isinstance(value, MappingProxyType):
        return "an object"  # of JSON, as it was read
    return f"a value of type {type(value).__name__}"


def printable(text: str) -> str:
    """``text`` on one line, fit for a log: what is not printable becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in text)


def wrapping(text: str | bytes) -> str | None:
    """What stands around ``text`` and is no part of it, in words; None if nothing does.

    White space, a line end, or quotes, as they are left of files, mounted secrets and settings of other programs. Bytes
    are looked at where they are text: random ones may end in a line end.
    """
    if isinstance(text, bytes):
        text = _readable(text)
    for place, character in (("beginning", text[:1]), ("end", text[-1:])):
        if character in ("\n", "\r"):
            return f"a line end at its {place}"
        if character.isspace():
            return f"white space at its {place}"
        if not character.isprintable() and not "\ud800" <= character <= "\udfff":
            return f"an invisible character at its {place}"
    if text.endswith(("\\n", "\\r")):
        return "a line end at its end, written out as two characters"
    return "quotes around it" if len(text) > 1 and text[0] + text[-1] in _QUOTES else None


_QUOTES = frozenset(('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb"))


def _readable(material: bytes) -> str:
    try:
        text = material.decode()
    except UnicodeDecodeError:
        return ""
    return text if text[1:-1].strip().isprintable() else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Of the names that there are, the one that ``name`` may be a misspelling of; in capitals or small letters."""
    from difflib import get_close_matches  # wanted where start-up stops, and nowhere else

    spellings = {spelling.casefold(): spelling for spelling in known}
    close = get_close_matches(name.casefold(), spellings, n=1)
    return spellings[close[0]] if close else None


def kind(value: object) -> str:
    """What ``value`` is, where showing any of it could show a secret that was put in the wrong place."""
    return f"a text of {len(value)} characters" if isinstance(value, str) else f"of type {type(value).__name__}"


def shown_key(value: object) -> str:
    """An API key from outside as a message may show it.

    Where key and secret were swapped it is the secret: no more is shown than what is too short for one, or a UUID.
    """
    if not isinstance(value, str):
        return shown(value)
    parts = value.split("-")
    is_uuid = [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(part.isalnum() for part in parts)
    return shown(value, limit=36) if len(value) <= _MAX_SHOWN_KEY or is_uuid else kind(value)


#: The most characters of what is shown as an API key; the shortest secrets of the services have 16.
_MAX_SHOWN_KEY: Final = 12


def moment(seconds: float) -> str:
    """Unix ``seconds`` as people and machines read them: ``2026-11-20T15:46:12Z (1795189572)``."""
    try:
        stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.6g}"
    return f"{stamp} ({int(seconds)})"
