"""A drop-in for the ``opentok`` package, for sessions, tokens and moderation.

Names, signatures and defaults are those of opentok 3.15, and errors begin with its messages. Without an ``api_url`` the
client works on its own kit; with one it creates and moderates sessions at that service. The page "Coming from an SDK"
lists the differences.
"""

from .client import Client, OpenTok
from .constants import ArchiveModes, MediaModes, RoleConstants, Roles
from .done import Done
from .exceptions import (
    AuthError,
    ForceDisconnectError,
    GetStreamError,
    NotFoundError,
    OpenTokException,
    RequestError,
    SignalingError,
)
from .session import Session
from .stream import Stream
from .streamlist import StreamList
from .version import __version__

__all__ = [
    "ArchiveModes",
    "AuthError",
    "Client",
    "Done",
    "ForceDisconnectError",
    "GetStreamError",
    "MediaModes",
    "NotFoundError",
    "OpenTok",
    "OpenTokException",
    "RequestError",
    "RoleConstants",
    "Roles",
    "Session",
    "SignalingError",
    "Stream",
    "StreamList",
    "__version__",
]
