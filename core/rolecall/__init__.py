"""Rolecall: sessions, role tokens and policies for apps with live sessions.

PYTEST_DONT_REWRITE: its pytest plugin has nothing to rewrite, and an app may have imported it before pytest starts.
"""

from .errors import InvalidRequest, InvalidToken, RolecallError
from .formats import inspect_token
from .formats.inspection import Inspection
from .hookspecs import AccessRequest, ModerationRequest, SessionRequest, TokenRequest, blocking, hookimpl
from .http.web import Web
from .kit import AsyncRolecall, AsyncSession, Rolecall, Session
from .policy import Allow, Deny, Limit, Vote
from .request import Actor
from .roles import Capability, Role
from .sessions import ArchiveMode, MediaMode
from .tokens import Grant

__all__ = [
    "AccessRequest",
    "Actor",
    "Allow",
    "ArchiveMode",
    "AsyncRolecall",
    "AsyncSession",
    "Capability",
    "Deny",
    "Grant",
    "Inspection",
    "InvalidRequest",
    "InvalidToken",
    "Limit",
    "MediaMode",
    "ModerationRequest",
    "Role",
    "Rolecall",
    "RolecallError",
    "Session",
    "SessionRequest",
    "TokenRequest",
    "Vote",
    "Web",
    "blocking",
    "hookimpl",
    "inspect_token",
]

__version__ = "0.1.0"
