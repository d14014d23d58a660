"""Rolecall: sessions, role tokens and policies for apps with live sessions.

PYTEST_DONT_REWRITE: the pytest plugin has no assertions to rewrite, and an app may have imported it before pytest
starts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigurationError,
    ExpiredToken,
    Forbidden,
    InsufficientRole,
    InvalidActor,
    InvalidData,
    InvalidExpireTime,
    InvalidKey,
    InvalidRequest,
    InvalidRole,
    InvalidSessionId,
    InvalidSessionOption,
    InvalidToken,
    MissingCredential,
    NoMediaService,
    NotFoundAtService,
    PluginError,
    PolicyDenied,
    PolicyFault,
    RevokedToken,
    RolecallError,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
    Unavailable,
    WrongSession,
)
from .explain import Explanation
from .formats import inspect_token
from .formats.inspection import Inspection
from .hookspecs import AccessRequest, ModerationRequest, SessionRequest, TokenRequest, blocking, hookimpl
from .http.web import Web
from .kit import AsyncRolecall, AsyncSession, Rolecall, Session
from .kit.calls import Exclusions, LiveTokens, SessionPage
from .media.backend import Ticket
from .policy import Allow, Deny, Limit, Vote
from .request import Actor, Request
from .roles import Capability, CapabilityName, Requirement, Role, RoleName, RoleTable
from .sessions import ArchiveMode, ArchiveModeName, MediaMode, MediaModeName, SessionProperties, SessionRecord
from .stores import Store
from .stores.leases import Full, Slot
from .stores.ledger import IssuedToken
from .tokens import Grant

if TYPE_CHECKING:
    from .events import Event
    from .moderation import (
        ChangeRole,
        Exclude,
        ForceDisconnect,
        ListConnections,
        ListStreams,
        MediaService,
        MuteAll,
        MuteStream,
        Readmit,
        ResetSession,
        Signal,
    )
    from .plugins.protocols import Plugin

__all__ = [
    "AccessRequest",
    "Actor",
    "Allow",
    "ArchiveMode",
    "ArchiveModeName",
    "AsyncRolecall",
    "AsyncSession",
    "Capability",
    "CapabilityName",
    "ChangeRole",
    "ConfigurationError",
    "Deny",
    "Event",
    "Exclude",
    "Exclusions",
    "ExpiredToken",
    "Explanation",
    "Forbidden",
    "ForceDisconnect",
    "Full",
    "Grant",
    "Inspection",
    "InsufficientRole",
    "InvalidActor",
    "InvalidData",
    "InvalidExpireTime",
    "InvalidKey",
    "InvalidRequest",
    "InvalidRole",
    "InvalidSessionId",
    "InvalidSessionOption",
    "InvalidToken",
    "IssuedToken",
    "Limit",
    "ListConnections",
    "ListStreams",
    "LiveTokens",
    "MediaMode",
    "MediaModeName",
    "MediaService",
    "MissingCredential",
    "ModerationRequest",
    "MuteAll",
    "MuteStream",
    "NoMediaService",
    "NotFoundAtService",
    "Plugin",
    "PluginError",
    "PolicyDenied",
    "PolicyFault",
    "Readmit",
    "Request",
    "Requirement",
    "ResetSession",
    "RevokedToken",
    "Role",
    "RoleName",
    "RoleTable",
    "Rolecall",
    "RolecallError",
    "Session",
    "SessionEnded",
    "SessionNotFound",
    "SessionPage",
    "SessionProperties",
    "SessionRecord",
    "SessionRequest",
    "Signal",
    "Slot",
    "Store",
    "StoreUnavailable",
    "Ticket",
    "TokenRequest",
    "Unavailable",
    "Vote",
    "Web",
    "WrongSession",
    "blocking",
    "hookimpl",
    "inspect_token",
]

#: The modules of the names that are imported at their first use.
_LATER = {"Event": ".events", "Plugin": ".plugins.protocols"} | dict.fromkeys(
    (
        *("ChangeRole", "Exclude", "ForceDisconnect", "ListConnections", "ListStreams", "MediaService"),
        *("MuteAll", "MuteStream", "Readmit", "ResetSession", "Signal"),
    ),
    ".moderation",
)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)


__version__ = "0.1.0"
