"""Sessions and moderation at a remote OpenTok-compatible service."""

from ..errors import NotFoundAtService
from .faults import (
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
from .plugin import RemoteSessions
from .service import AsyncRemoteService, RemoteService

__all__ = [
    "AsyncRemoteService",
    "NotFoundAtService",
    "RemoteService",
    "RemoteSessions",
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
