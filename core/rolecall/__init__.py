"""Rolecall: sessions, role tokens and policies for apps with live sessions.

PYTEST_DONT_REWRITE: its pytest plugin has nothing to rewrite, and an app may have imported it before pytest starts.
"""

from .errors import (
    ConfigurationError,
    ExpiredToken,
    Forbidden,
    InsufficientRole,
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
from .events import Event
from .explain import Explanation
from .formats import inspect_token
from .formats.inspection import Inspection
from .hookspecs import AccessRequest, ModerationRequest, SessionRequest, TokenRequest, blocking, hookimpl
from .http.web import Web
from .kit import AsyncRolecall, AsyncSession, Rolecall, Session
from .moderation import ForceDisconnect, ListConnections, ListStreams, MediaService, MuteAll, MuteStream, Signal
from .plugins.protocols import Plugin
from .policy import Allow, Deny, Limit, Vote
from .request import Actor, Request
from .roles import Capability, CapabilityName, Requirement, Role, RoleName, RoleTable
from .sessions import ArchiveMode, ArchiveModeName, MediaMode, MediaModeName, SessionProperties, SessionRecord
from .stores import Store
from .tokens import Grant

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
    "ConfigurationError",
    "Deny",
    "Event",
    "ExpiredToken",
    "Explanation",
    "Forbidden",
    "ForceDisconnect",
    "Grant",
    "Inspection",
    "InsufficientRole",
    "InvalidData",
    "InvalidExpireTime",
    "InvalidKey",
    "InvalidRequest",
    "InvalidRole",
    "InvalidSessionId",
    "InvalidSessionOption",
    "InvalidToken",
    "Limit",
    "ListConnections",
    "ListStreams",
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
    "Request",
    "Requirement",
    "RevokedToken",
    "Role",
    "RoleName",
    "RoleTable",
    "Rolecall",
    "RolecallError",
    "Session",
    "SessionEnded",
    "SessionNotFound",
    "SessionProperties",
    "SessionRecord",
    "SessionRequest",
    "Signal",
    "Store",
    "StoreUnavailable",
    "TokenRequest",
    "Unavailable",
    "Vote",
    "Web",
    "WrongSession",
    "blocking",
    "hookimpl",
    "inspect_token",
]

__version__ = "0.1.0"
