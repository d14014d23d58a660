"""The SDK's exceptions, in a module with the SDK's name for it."""

from __future__ import annotations


class OpenTokException(Exception):
    """Base of the errors of this module. Its ``__cause__`` is the kit's own error, if there is one."""


class RequestError(OpenTokException):
    """The service, the store or a policy could not answer, or nothing carries the session's media."""


class AuthError(OpenTokException):
    """The service does not accept the API key and secret, or a policy refuses."""


class NotFoundError(OpenTokException):
    """The session has ended, or the stream to be muted does not exist."""


class SignalingError(OpenTokException):
    """A signal that is not valid, or for a connection that does not exist."""


class ForceDisconnectError(OpenTokException):
    """A connection that does not exist, or an invalid id."""


class GetStreamError(OpenTokException):
    """A stream that does not exist, or an invalid id."""


# So that a traceback shows the name to import them by.
for _error in (OpenTokException, *OpenTokException.__subclasses__()):
    _error.__module__ = "rolecall.opentok"


# For these the SDK documents one class and raises the other.


class CredentialsRefused(AuthError, RequestError):
    """The service does not accept the API key and secret."""


class SignalRefused(SignalingError, RequestError):
    """A signal that was not sent."""
