"""What can go wrong at a remote service. No message holds a token, a secret, or the service's own words."""

from __future__ import annotations

from ..errors import NoMediaService, Unavailable


class ServiceFault(Unavailable):
    """The remote service has not done what it was asked to; the subclasses say why."""

    code = "service_fault"


class ServiceUnreachable(ServiceFault):
    """The connection to the service could not be made, or broke before the answer was complete."""

    code = "service_unreachable"


class ServiceTimeout(ServiceFault):
    """The service did not answer in time."""

    code = "service_timeout"


class ServiceDown(ServiceFault):
    """The service says that it is out of order: a status from 500 up."""

    code = "service_down"


class ServiceBusy(ServiceFault):
    """The service takes no more requests for now: status 429."""

    code = "service_busy"


class ServiceAnswerInvalid(ServiceFault):
    """The answer is not one of an OpenTok-compatible service: a redirect, another content type, garbage, too long."""

    code = "service_answer_invalid"


class ServiceRefused(ServiceFault):
    """The service refused the request for another reason: another status from 400 to 499."""

    code = "service_refused"


class ServiceDenied(ServiceFault):
    """The service accepts the API key and secret, and a policy there denies what was asked for."""

    code = "service_denied"


class ServiceLacksMedia(ServiceFault, NoMediaService):
    """The service is a kit's, and nothing there carries the media of the session: status 501, with a code."""

    code = "service_lacks_media"
    status = 501


class ServiceCredentialsRefused(ServiceFault):
    """The service refused the API key and secret: status 401 or 403."""

    code = "service_credentials_refused"


class ServiceClockSkew(ServiceCredentialsRefused):
    """The service refused the credential, and the clocks differ: one cannot take the other's credentials for valid."""

    code = "service_clock_skew"

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        #: By how many seconds this server's clock is ahead of the service's; negative if it is behind.
        self.seconds = seconds
