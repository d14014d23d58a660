"""The exception tree: every error that Rolecall raises is a :class:`RolecallError`.

Each class has a stable ``code`` for machines, the HTTP ``status`` it maps to, and a message for people.
No message ever holds a token or a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

_Error = TypeVar("_Error", bound="RolecallError")


class RolecallError(Exception):
    """Base of all errors of this package."""

    #: Stable, machine-readable name of the error.
    code: str = "rolecall_error"
    #: The HTTP status that the error maps to.
    status: int = 500
    #: The RFC 6750 error code for the ``WWW-Authenticate`` challenge, where the error calls for one.
    challenge: ClassVar[str | None] = None
    #: Seconds after which the request may be repeated, for the ``Retry-After`` header; None if unknown.
    retry_after: int | None = None
    #: The step of a decision at which the error arose, for explanations; None: the step of its class.
    step: str | None = None

    def __reduce__(self) -> Any:
        # With all attributes: a subclass's constructor may take other arguments than ``args``.
        return _remade, (type(self), self.args), vars(self)

    def at(self: _Error, step: str) -> _Error:
        """Set the step at which this error arose, and return it."""
        self.step = step
        return self

    @property
    def public_message(self) -> str:
        """The message for a client; the details of a server's faults stay in the log."""
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
    """A session id that is malformed, of another project, or made up."""

    code = "invalid_session_id"


class InvalidSessionOption(InvalidRequest):
    """A session property that does not exist, or conflicts with another."""

    code = "invalid_session_option"


class InvalidRole(InvalidRequest):
    """A role name that does not exist."""

    code = "invalid_role"


class InvalidExpireTime(InvalidRequest):
    """An expiry that is in the past, too far away, or not a time."""

    code = "invalid_expire_time"


class InvalidData(InvalidRequest):
    """Connection data or layout classes beyond their limits."""

    code = "invalid_data"


class InvalidActor(InvalidRequest):
    """An actor's id that is empty, too long, or not fit to be compared."""

    code = "invalid_actor"


class SignalTooLarge(InvalidRequest):
    """A signal whose type or data is too long to be carried."""

    code = "signal_too_large"
    status = 413


class SessionNotFound(RolecallError, LookupError):
    """The store has no such session."""

    code = "session_not_found"
    status = 404


class NotFoundAtService(RolecallError, LookupError):
    """The media service has no such session, connection or stream."""

    code = "not_found_at_service"
    status = 404


class SessionEnded(RolecallError):
    """The session has ended, so no tokens are issued for it."""

    code = "session_ended"
    status = 410


# -- tokens that are refused -----------------------------------------------------------------------


class InvalidToken(RolecallError):
    """A token that is refused; the subclasses say why."""

    code = "invalid_token"
    status = 401
    challenge = "invalid_token"


class MalformedToken(InvalidToken):
    """Not a token in a form that this kit reads."""

    code = "malformed_token"


class WrongTokenKind(InvalidToken):
    """A sound token for another use (a REST credential, another algorithm, another scope)."""

    code = "wrong_token_kind"


class UnknownKey(InvalidToken):
    """The token names a key or an API key that this kit does not have."""

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
    #: The end of its life in Unix seconds, if it says so itself.
    expired_at: float | None = None


class TokenNotYetValid(InvalidToken):
    """The token is from the future: it is issued or valid only from a later moment."""

    code = "token_not_yet_valid"


class RevokedToken(InvalidToken):
    """The token was good until it was revoked or its session ended."""

    code = "revoked_token"


class WrongSession(InvalidToken):
    """The token is for another session."""

    code = "wrong_session"
    status = 403
    challenge = "insufficient_scope"


class WrongActor(InvalidToken):
    """The token belongs to somebody else, and cannot be renewed for this actor."""

    code = "wrong_actor"
    status = 403
    challenge = "insufficient_scope"


# -- refused by role or policy ---------------------------------------------------------------------


class Forbidden(RolecallError):
    """The request was understood and refused."""

    code = "forbidden"
    status = 403


class InsufficientRole(Forbidden):
    """The token is good, but its role allows less than the route requires."""

    code = "insufficient_role"
    challenge = "insufficient_scope"

    def __init__(self, message: str, scope: str) -> None:
        super().__init__(message)
        #: The requirement, in the form of a challenge: ``role:moderator``.
        self.scope = scope


class PolicyDenied(Forbidden):
    """A policy denied, or none allowed. A policy may set its own ``code``, ``status`` and ``retry_after``."""

    code = "policy_denied"

    def __init__(
        self, message: str, code: str | None = None, status: int = 403, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.status = status
        self.retry_after = retry_after


class NotRenewable(Forbidden):
    """The token cannot be renewed, or not for longer: the message says why."""

    code = "not_renewable"


class Excluded(Forbidden):
    """The actor is excluded from the session, which issues no tokens to it."""

    code = "excluded"


class NoIdentity(Forbidden):
    """The grant does not say for whom it is, or in a way that the media service does not take: no ticket without it."""

    code = "no_identity"


class RoleNotHeld(Forbidden):
    """A ticket for the media service would grant more than the role does; the message says what."""

    code = "role_not_held"


class CsrfFailed(Forbidden):
    """A token in a cookie came without the proof that a page of this site sent the request."""

    code = "csrf_failed"


class InvalidServerCredential(Forbidden):
    """The credential of a call for a project's own servers is missing, invalid, or used before."""

    code = "invalid_server_credential"


class OriginNotAllowed(Forbidden):
    """A page of an origin that is not allowed opens a WebSocket."""

    code = "origin_not_allowed"


class RenewedAlready(RolecallError):
    """The token was renewed a moment ago; ``retry_after`` says when it can be renewed again."""

    code = "renewed_already"
    status = 429


# -- requests over HTTP ----------------------------------------------------------------------------


class MissingCredential(RolecallError):
    """The request carries no token."""

    code = "missing_token"
    status = 401


class MalformedCredential(InvalidRequest):
    """The request's credential is not exactly one token."""

    code = "malformed_credential"
    challenge = "invalid_request"


class CredentialTooLarge(RolecallError):
    """The request's token is longer than any valid token."""

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
    """The request's body is too long."""

    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes")


class UnsupportedMediaType(RolecallError):
    """The request's body is of a type that the route does not read."""

    code = "unsupported_media_type"
    status = 415


# -- out of order ----------------------------------------------------------------------------------


class Unavailable(RolecallError):
    """Something that the decision needs is out of reach, so the kit refuses rather than guesses."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The store does not answer."""

    code = "store_unavailable"
    #: Whether the store was reached all the same, and one value is at fault: it cannot hold it, or not read it.
    is_of_a_value: bool = False


class NotReady(Unavailable):
    """This process cannot serve: the message names the parts that do not work, and nothing of their failures."""

    code = "not_ready"

    @property
    def public_message(self) -> str:
        """The message for a client: a load balancer, and whoever reads its log."""
        return str(self)


class NotInStep(StoreUnavailable):
    """This process does not know yet, or not any more, which sessions have ended; its store itself may be asked."""

    code = "not_in_step"


class KeysUnavailable(Unavailable):
    """A verifier has no keys to verify with: the key set cannot be read, or has not been for too long."""

    code = "keys_unavailable"


class OnlyVerifies(RolecallError):
    """The kit is a verifier, and this call creates, mints or changes something."""

    code = "only_verifies"
    status = 501

    @property
    def public_message(self) -> str:
        """The message for a client: this is no fault, but a feature that this service lacks."""
        return str(self)


class NoMediaService(RolecallError):
    """Nothing reaches the media of the session, or what does cannot do this.

    :param public: the message for a client, if there is more to say than that.
    """

    code = "no_media_service"
    status = 501

    def __init__(
        self,
        message: str,
        public: str = "nothing at this service can act in a session: it has no media service that does this",
    ) -> None:
        super().__init__(message)
        self._public = public

    @property
    def public_message(self) -> str:
        """The message for a client: this is no fault, but a feature that this service lacks."""
        return self._public


class NoLedger(RolecallError):
    """The kit does not keep which tokens it issues, so it cannot list them."""

    code = "no_ledger"
    status = 501

    @property
    def public_message(self) -> str:
        """The message for a client: this is no fault, but a feature that this service lacks."""
        return "this service does not keep which tokens it issues"


class NotTakenBack(RolecallError):
    """The grant cannot be taken back in this way; the message says what can be done."""

    code = "not_taken_back"
    status = 409

    @property
    def public_message(self) -> str:
        """The message for a client."""
        return str(self)


class NotServed(RolecallError):
    """An SDK's call for something that the kit does not have: archives, broadcasts, SIP calls and so on."""

    code = "not_served"
    status = 501

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: not served here. This service creates sessions and moderates them; for {what} call the service "
            "that carries their media"
        )

    @property
    def public_message(self) -> str:
        """The message for a client: this is no fault, but a feature that this service lacks."""
        return str(self)


class PolicyFault(Unavailable):
    """A policy raised an exception, or returned something that is no vote."""

    code = "policy_fault"


# -- wording, in one place -------------------------------------------------------------------------
