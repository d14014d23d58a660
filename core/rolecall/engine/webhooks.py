"""Webhooks of media services: their events are told to the plugins, and whoever is to stay out is put out again."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from ..actors import problem_with_actor_id
from ..errors import BodyTooLarge, InvalidRequest, RolecallError
from ..media.backend import MediaBackend
from ..media.webhooks import LONGEST_WEBHOOK, NOTICED, Notice
from ..request import Headers, PlainHeaders
from ..wording import kind, shown
from .acts import backend_fault

#: For how long a repetition of a webhook is known as such, in seconds: services repeat what was not acknowledged for
#: some minutes, and a signature is good for five.
REPEATED: Final = 3600.0


def notices(backend: MediaBackend, headers: Mapping[str, str], body: object, now: float) -> tuple[Notice, ...]:
    """What a webhook tells of, after its signature was verified.

    :raises RolecallError: one that says why it is refused.
    """
    if not isinstance(body, bytes):
        raise InvalidRequest(f"body is {kind(body)}; expected the bytes of the request's body, as they came")
    if len(body) > LONGEST_WEBHOOK:
        raise BodyTooLarge(LONGEST_WEBHOOK)
    read = backend.webhook(headers if isinstance(headers, Headers) else PlainHeaders(headers), body, now)
    if not isinstance(read, list | tuple) or not all(type(one) is Notice and one.event in NOTICED for one in read):
        raise backend_fault(backend.name, f"webhook returned {shown(read)}; expected a list of Notice")
    return tuple(read)


def about(backend: MediaBackend, notice: Notice, error: RolecallError | None) -> dict[str, str]:
    """The members of a notice's event, besides those that all events have.

    :param error: why a participant that joined was put out.
    """
    given = {"media": backend.name}
    for name in ("connection_id", "stream_id"):
        if (value := getattr(notice, name)) is not None:
            given[name] = value
    return given if error is None else {**given, "code": error.code}


def actor_id(notice: Notice) -> str | None:
    """The actor that a participant is; None if it can be nobody's: services have participants of their own."""
    return None if notice.identity is None or problem_with_actor_id(notice.identity) else notice.identity


def single_use(backend: MediaBackend, notice: Notice) -> str:
    """The single-use id of a notice."""
    return sha256(f"webhook\n{backend.name}\n{notice.event}\n{notice.id}".encode("utf-8", "replace")).hexdigest()
