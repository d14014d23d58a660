"""Media services: where the participants of a session meet, and with which short-lived tickets they get in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .backend import MediaBackend, Place, ServiceIds, Ticket
from .turn import Turn
from .webhooks import Notice

if TYPE_CHECKING:
    from .acs import ACS
    from .agora import Agora
    from .bigbluebutton import BigBlueButton
    from .chime import Chime
    from .cloudflare import Cloudflare
    from .daily import Daily
    from .galene import Galene
    from .hundredms import HundredMs
    from .jaas import JaaS
    from .janus import Janus
    from .jitsi import Jitsi
    from .livekit import LiveKit
    from .opentok import OpenTok, Vonage
    from .stream import Stream
    from .twilio import Twilio
    from .zoom import Zoom

__all__ = [
    "ACS",
    "Agora",
    "BigBlueButton",
    "Chime",
    "Cloudflare",
    "Daily",
    "Galene",
    "HundredMs",
    "JaaS",
    "Janus",
    "Jitsi",
    "LiveKit",
    "MediaBackend",
    "Notice",
    "OpenTok",
    "Place",
    "ServiceIds",
    "Stream",
    "Ticket",
    "Turn",
    "Twilio",
    "Vonage",
    "Zoom",
]

# By the name that ``media=`` and ``ROLECALL_MEDIA`` have: the module and the class, imported at its first use.
_BACKENDS: Final = {
    "100ms": "hundredms:HundredMs",
    "acs": "acs:ACS",
    "agora": "agora:Agora",
    "bigbluebutton": "bigbluebutton:BigBlueButton",
    "chime": "chime:Chime",
    "cloudflare": "cloudflare:Cloudflare",
    "daily": "daily:Daily",
    "galene": "galene:Galene",
    "jaas": "jaas:JaaS",
    "janus": "janus:Janus",
    "jitsi": "jitsi:Jitsi",
    "livekit": "livekit:LiveKit",
    "opentok": "opentok:OpenTok",
    "stream": "stream:Stream",
    "twilio": "twilio:Twilio",
    "vonage": "opentok:Vonage",
    "zoom": "zoom:Zoom",
}
#: The names of the kit's own backends.
BACKENDS: Final = tuple(_BACKENDS)


def find_backend(name: str) -> type[MediaBackend] | None:
    """The kit's own backend of this name; None if there is none."""
    if name not in _BACKENDS:
        return None
    module, _, attribute = _BACKENDS[name].partition(":")
    backend: type[MediaBackend] = getattr(import_module("." + module, __name__), attribute)
    return backend


def __getattr__(name: str) -> object:
    # So that only users of a service import it.
    for known, where in _BACKENDS.items():
        if where.partition(":")[2] == name:
            return find_backend(known)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
