"""Sessions and moderation at a remote OpenTok-compatible service."""

from ..errors import NotFoundAtService
from ..media.opentok.faults import (
    ServiceAnswerInvalid,
    ServiceBusy,
    ServiceClockSkew,
    ServiceCredentialsRefused,
    ServiceDenied,
    ServiceDown,
    ServiceFault,
    ServiceLacksMedia,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from ..media.opentok.service import AsyncRemoteService
from .service import RemoteService

__all__ = [
    "AsyncRemoteService",
    "NotFoundAtService",
    "RemoteService",
    "ServiceAnswerInvalid",
    "ServiceBusy",
    "ServiceClockSkew",
    "ServiceCredentialsRefused",
    "ServiceDenied",
    "ServiceDown",
    "ServiceFault",
    "ServiceLacksMedia",
    "ServiceRefused",
    "ServiceTimeout",
    "ServiceUnreachable",
]
