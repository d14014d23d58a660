"""The SDK's names for roles and modes."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Roles(Enum):
    """The roles of a token."""

    #: Subscribes only.
    subscriber = "subscriber"
    #: Publishes, subscribes and signals.
    publisher = "publisher"
    #: Publishes only.
    publisher_only = "publisheronly"
    #: A publisher who may also make others disconnect or stop publishing.
    moderator = "moderator"


class RoleConstants:
    """The roles under the names of older guides."""

    SUBSCRIBER: Final = Roles.subscriber
    PUBLISHER: Final = Roles.publisher
    MODERATOR: Final = Roles.moderator


class MediaModes(Enum):
    """Whether streams go through a media server; the values are those of ``p2p.preference`` on the wire."""

    routed = "disabled"
    relayed = "enabled"


class ArchiveModes(Enum):
    """Whether a session is recorded from its start."""

    manual = "manual"
    always = "always"
