"""The media services of a kit: which of them is a session's, and the tickets to get in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Final

from ..driver import Driver
from ..errors import InvalidSessionOption, NoMediaService, RouteNotFound
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from ..hookspecs import SessionRequest
from ..media.backend import MediaBackend, Place, ServiceIds, Ticket
from ..sessions import SessionProperties, SessionRecord
from ..stores.calling import Calls
from ..tokens import Grant
from ..wording import kind, shown

#: For how long a room is not opened again, in seconds: a service that was started anew has lost it.
_STAYS_OPEN: Final = 60.0
#: Of how many rooms it is remembered.
_MOST_ROOMS: Final = 10_000
#: The longest id that a service gives, in characters.
_LONGEST_ID: Final = 1_000


class MediaServices:
    """The media services of one kit.

    :param backends: the services; the first one is for sessions that name none.
    :param rules: checks the claims of their tokens.
    """

    __slots__ = ("_by_name", "_first", "_opened")

    def __init__(self, backends: Sequence[MediaBackend], rules: ClaimRules) -> None:
        self._by_name = {backend.name: (backend, backend.token_format(rules)) for backend in backends}
        self._first = backends[0].name if backends else None
        # When each room was opened last, in Unix seconds, and its name or id at the service.
        self._opened: dict[tuple[str, str], tuple[float, str]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the services, the default first."""
        return tuple(self._by_name)

    @property
    def backends(self) -> tuple[MediaBackend, ...]:
        """The services, the default first."""
        return tuple(backend for backend, _ in self._by_name.values())

    def format(self, name: object) -> TokenFormat | None:
        """The format of a service's tokens, by the name of the service; None if there is none."""
        found = self._by_name.get(name) if isinstance(name, str) else None
        return None if found is None else found[1]

    @property
    def formats(self) -> tuple[TokenFormat, ...]:
        """The formats of the services' tokens."""
        return tuple(form for _, form in self._by_name.values() if form is not None)

    def chosen(self, properties: SessionProperties) -> SessionProperties:
        """The properties of a new session, with its media service.

        :raises InvalidSessionOption: for a service that the kit does not have.
        """
        if properties.media is None:
            return properties if self._first is None else properties.at_media(self._first)
        if properties.media not in self._by_name:
            raise InvalidSessionOption(
                f"media is {shown(properties.media)}; this kit's media services are "
                f"{', '.join(self._by_name) or 'none: see Rolecall(media=…)'}"
            )
        return properties

    async def create_session(self, request: SessionRequest, driver: Driver, deadline: float) -> str | None:
        """Create a session at its media service, and return its id; None if the service creates none.

        :raises RolecallError: one that says why it was not created.
        """
        found = self._by_name.get(request.properties.media or "")
        if found is None or not found[0].creates_sessions:
            return None
        from .acts import asked, backend_fault  # not free to import

        backend = found[0]
        created = await asked(backend, "create_session", driver, deadline, request.properties, request.api_key)
        if not isinstance(created, str):
            raise backend_fault(
                backend.name, f"what create_session returned is {kind(created)}; expected the session's id"
            )
        return created

    async def ticket(
        self,
        backend: MediaBackend,
        form: TokenFormat | None,
        grant: Grant,
        now: float,
        driver: Driver,
        deadline: float,
        store: Calls,
    ) -> Ticket:
        """The ticket of a grant, at ``now`` (Unix seconds), whose room is open at the service.

        :param store: remembers the service's ids.
        :raises RolecallError: one that says why there is none.
        """
        place = backend.place(grant, now)
        if backend.opens_rooms:
            room = await self._open(backend, place, now, driver, deadline)
            place = place._replace(room=room)
        if backend.keeps_ids:
            place = place._replace(ids=await _ids(backend, place, driver, deadline, store))
        if form is not None:
            return backend.ticket(form, place)
        from .acts import asked, backend_fault  # not free to import

        ticket = await asked(backend, "ask_ticket", driver, deadline, place)
        if type(ticket) is not Ticket:
            raise backend_fault(
                backend.name, f"what ask_ticket returned is {kind(ticket)}; expected a Ticket, by made(…)"
            )
        return ticket

    async def _open(self, backend: MediaBackend, place: Place, now: float, driver: Driver, deadline: float) -> str:
        """Open a room that is not known to be open, and return its name or id at the service."""
        room = backend.name, place.room
        opened_at, opened = self._opened.get(room, (-inf, ""))
        if 0 <= now - opened_at < _STAYS_OPEN:
            return opened
        from .acts import asked, backend_fault  # not free to import

        answer = await asked(backend, "open_room", driver, deadline, place)
        if not isinstance(answer, str | None):
            raise backend_fault(
                backend.name, f"what open_room returned is {kind(answer)}; expected the room's id, or None"
            )
        opened = place.room if answer is None else answer
        while len(self._opened) >= _MOST_ROOMS:
            self._opened.pop(next(iter(self._opened), room), None)
        self._opened[room] = now, opened
        return opened

    def receiving(self, name: object) -> MediaBackend:
        """The service of this name, whose webhooks the kit takes in.

        :raises RouteNotFound: if the kit has none.
        """
        found = self._by_name.get(name) if isinstance(name, str) else None
        if found is None or not found[0].takes_webhooks:
            raise RouteNotFound("no media service of this kit sends webhooks under this name")
        return found[0]

    def of(self, record: SessionRecord | None) -> tuple[MediaBackend, TokenFormat | None] | None:
        """The media service of a session, and the format of its tokens, None if the service mints them; None if the
        kit has no service for it.

        :param record: the session; None if the store does not know it: then it is the kit's first service.
        """
        name = self._first if record is None or record.media is None else record.media
        return None if name is None else self._by_name.get(name)


async def _ids(backend: MediaBackend, place: Place, driver: Driver, deadline: float, store: Calls) -> ServiceIds:
    """The service's ids of a place, made where none is remembered yet.

    :raises RolecallError: one that says why there are none.
    """
    from .acts import asked, backend_fault  # not free to import
    from .service_ids import kept_id

    async def made(method: str) -> str:
        new = await asked(backend, method, driver, deadline, place)
        if not isinstance(new, str) or not 0 < len(new) <= _LONGEST_ID:
            raise backend_fault(backend.name, f"what {method} returned is {kind(new)}; expected an id")
        return new

    room = await kept_id(backend, store, partial(made, "create_room"), place.session_id)
    participant = partial(made, "create_participant")
    return ServiceIds(room, await kept_id(backend, store, participant, place.session_id, place.identity))


def no_ticket(record: SessionRecord | None) -> NoMediaService:
    """The error for a session that no media service of the kit carries."""
    if record is None or record.media is None:
        return NoMediaService(
            "this kit has no media service, and so no tickets: pass Rolecall(media=…), or set ROLECALL_MEDIA",
            "this service gives no tickets: it has no media service",
        )
    return NoMediaService(
        f"the session is at {shown(record.media)}, which is none of this kit's media services",
        "this service gives no tickets for this session: it does not have its media service",
    )
