"""What media services tell of by webhooks, in Rolecall's words."""

from __future__ import annotations

from typing import Final, NamedTuple

#: The longest webhook that is read, in bytes: a participant's metadata and attributes may be 64,000 bytes each.
LONGEST_WEBHOOK: Final = 1_048_576
#: The events that a notice can be of, by their names in :mod:`rolecall.events`.
NOTICED: Final = frozenset(
    {
        *("room_started", "room_finished", "participant_joined", "participant_left"),
        *("stream_published", "stream_unpublished"),
    }
)


class Notice(NamedTuple):
    """What a webhook tells of.

    :param id: the service's own id of it, up to 255 characters: each repetition has the same one.
    :param event: the ``name`` of the event, one of ``NOTICED``.
    :param room: the name of the room.
    :param connection_id: the participant's id, as acts take it; None for an event of the room.
    :param stream_id: the stream's id, as acts take it; None for an event of no stream.
    :param identity: the identity that the participant's token had: the id of the actor.
    """

    id: str
    event: str
    room: str
    connection_id: str | None = None
    stream_id: str | None = None
    identity: str | None = None
