"""The SDK's exceptions, in a module of the name that the SDK has for it."""

from __future__ import annotations


class OpenTokException(Exception):
    """Base of the errors of this module. Its ``__cause__`` is the kit's own error, where there is one."""


class RequestError(OpenTokException):
    """The service, the store or a policy could not answer, or nothing carries the session's media."""


class AuthError(OpenTokException):
    """The service does not accept the API key and secret, or a policy refuses."""


class NotFoundError(OpenTokException):
    """The session has ended, or what is to be muted is not there."""


class SignalingError(OpenTokException):
    """A signal that is not valid, or whose connection is not there."""


class ForceDisconnectError(OpenTokException):
    """A connection to be ended that is not there, or an id that is none."""


class GetStreamError(OpenTokException):
    """A stream that is not there, or an id that is none."""


# In a traceback they go by the name by which they are imported.
for _error in (OpenTokException, *OpenTokException.__subclasses__()):
    _error.__module__ = "rolecall.opentok"


# The SDK means to raise the one, and raises the other.


class CredentialsRefused(AuthError, RequestError):
    """The service does not accept the API key and secret."""


class SignalRefused(SignalingError, RequestError):
    """A signal that was not sent."""
