"""A drop-in for the ``opentok`` package, as far as sessions, tokens and moderation go.

Names, signatures and defaults are those of opentok 3.15, and errors begin with its messages. Without an ``api_url`` it
works on a kit of its own, with one it creates sessions at that service, and moderates them there. The page "Coming
from an SDK" lists what is different.
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
