"""Media services: where the participants of a session meet, and with which short-lived tickets they get in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .backend import MediaBackend, Place, Ticket
from .livekit import LiveKit
from .turn import Turn

__all__ = ["LiveKit", "MediaBackend", "Place", "Ticket", "Turn"]

#: The kit's own backends, by the names that ``media=`` and ``ROLECALL_MEDIA`` have.
BACKENDS: Final[Mapping[str, type[MediaBackend]]] = {backend.name: backend for backend in (LiveKit,)}
