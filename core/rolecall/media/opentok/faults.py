"""Errors of a remote service. No message holds a token, a secret, or the service's own words."""

from __future__ import annotations

from ...errors import NoMediaService, Unavailable


class ServiceFault(Unavailable):
    """The remote service did not carry out a request; the subclasses say why."""

    code = "service_fault"


class ServiceUnreachable(ServiceFault):
    """The connection to the service could not be made, or broke before the answer was complete."""

    code = "service_unreachable"


class ServiceTimeout(ServiceFault):
    """The service did not answer in time."""

    code = "service_timeout"


class ServiceDown(ServiceFault):
    """The service is out of order: status 500 or above."""

    code = "service_down"


class ServiceBusy(ServiceFault):
    """The service accepts no more requests for now: status 429."""

    code = "service_busy"


class ServiceAnswerInvalid(ServiceFault):
    """The answer is not that of an OpenTok-compatible service: a redirect, another content type, garbage, too long."""

    code = "service_answer_invalid"


class ServiceRefused(ServiceFault):
    """The service refused the request for another reason: another status from 400 to 499."""

    code = "service_refused"


class ServiceDenied(ServiceFault):
    """The service accepts the API key and secret, but a policy there denies the request."""

    code = "service_denied"


class ServiceLacksMedia(ServiceFault, NoMediaService):
    """The service is a kit's, and has no media service for the session: status 501, with a code."""

    code = "service_lacks_media"
    status = 501


class ServiceCredentialsRefused(ServiceFault):
    """The service refused the API key and secret, or the application's id and private key: status 401 or 403."""

    code = "service_credentials_refused"


class ServiceClockSkew(ServiceCredentialsRefused):
    """The service refused the credential, and the clocks differ: the credential may be outside its time there."""

    code = "service_clock_skew"

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        #: By how many seconds this server's clock is ahead of the service's; negative if it is behind.
        self.seconds = seconds
