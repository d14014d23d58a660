"""Azure Communication Services: rooms with a list of who may join, and in which role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ...formats.claims import ClaimRules
from ...roles import Capability
from ...wording import shown
from ..backend import MediaBackend, Place, Ticket
from ..calls import ServiceAPI
from ..turn import Turn
from ..urls import problem_with_url
from .service import ACSService
from .signing import AccessKeySigner

#: The roles in a room of those who publish: all of its SDKs have the first; the second may share the screen, too.
_PUBLISHING: Final = ("Attendee", "Collaborator")
_LISTENING: Final = "Consumer"


class ACS(MediaBackend):
    """A resource of Azure Communication Services: ``Rolecall(media=ACS("https://a.communication.azure.com", key))``.

    A session is one room, which the first ticket creates; an actor is a user of its own in each session, so that a
    token is good for that room alone. ACS gives both their ids, and the kit's store remembers them.

    :param endpoint: the endpoint of the resource.
    :param access_key: one of its access keys.
    :param ticket_life: the life of a ticket in seconds, 3,600 to 86,400; 3,600 unless given. A grant that ends sooner
        than the shortest gets none.
    :param publishes_as: the role in the room of those who publish: ``Attendee``, or ``Collaborator``, who may share the
        screen, too, and whom only its SDK for browsers has.
    :param accept_wider: as for every :class:`~rolecall.media.MediaBackend`.
    :param turn: as for every :class:`~rolecall.media.MediaBackend`.
    :param timeout: the time of a call of the API in seconds. A ticket or an act takes two, which are to be below the
        kit's ``hook_timeout``.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    name: ClassVar[str] = "acs"
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    url_setting: ClassVar[str] = "endpoint"
    keeps_ids: ClassVar[bool] = True
    shortest_life: ClassVar[int] = 3_600
    longest_life: ClassVar[int] = 86_400
    #: Everybody in a room receives, and may send data messages.
    always_granted: ClassVar[frozenset[Capability]] = frozenset({Capability.SUBSCRIBE, Capability.SIGNAL})
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "signal": "not done: its Rooms API sends no messages",
            "force_disconnect": "not done: its Rooms API ends no connection; exclude the actor",
            "mute_stream": "not done: its Rooms API mutes nobody",
            "mute_all": "not done: its Rooms API mutes nobody",
            "list_streams": "not done: its Rooms API does not tell of streams",
            "list_connections": "not done: its Rooms API tells who may join, and not who has",
            "disconnect_actor": "takes the actor's place in the room, and its tokens; whether that ends a call that it "
            "is in, ACS does not say",
        }
    )

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        *,
        ticket_life: float | None = None,
        publishes_as: str = "Attendee",
        accept_wider: Iterable[str] = (),
        turn: Turn | Mapping[str, Any] | None = None,
        timeout: float = 1.5,
    ) -> None:
        try:
            problem = _problem_with(endpoint, self.schemes)
            if problem is not None:
                del endpoint  # it may be a connection string, which holds the key
                raise ConfigurationError(f"{self.name}: {problem}")
            super().__init__(endpoint, ticket_life=ticket_life, accept_wider=accept_wider, turn=turn)
            signer = AccessKeySigner(access_key)
        finally:
            del access_key, turn  # so that no frame of a traceback holds them
        if publishes_as not in _PUBLISHING:
            raise ConfigurationError(
                f"{self.name}: publishes_as is {shown(publishes_as)}; expected {' or '.join(_PUBLISHING)}"
            )
        # In one spelling, because what the store remembers is remembered by it.
        self.url = endpoint.rstrip("/").lower()
        self._publishes_as = publishes_as
        self._service = ACSService(ServiceAPI("ACS", self.url, timeout, setting="endpoint", signer=signer))

    @property
    def service(self) -> object:
        """What acts in rooms."""
        return self._service

    def token_format(self, rules: ClaimRules) -> None:
        """None: only ACS makes access tokens."""
        return

    async def create_room(self, place: Place) -> str:
        """See :meth:`MediaBackend.create_room`."""
        return await self._service.create_room()

    async def create_participant(self, place: Place) -> str:
        """See :meth:`MediaBackend.create_participant`."""
        return await self._service.create_user()

    async def ask_ticket(self, place: Place) -> Ticket:
        """Give the user its role in the room, and only then issue a token.

        :raises RolecallError: one that says why there is none.
        """
        publishes = Capability.PUBLISH in place.capabilities
        await self._service.invite(place.ids, self._publishes_as if publishes else _LISTENING)
        minutes = (place.expires_at - place.issued_at) // 60
        token = await self._service.issue_token(place.ids.participant, minutes)
        return self.made(
            place._replace(room=place.ids.room),
            token,
            expires_at=place.issued_at + 60 * minutes,
            credentials={"user": {"communicationUserId": place.ids.participant}},
        )


def _problem_with(endpoint: object, schemes: tuple[str, ...]) -> str | None:
    """The problem with an endpoint, which is not quoted."""
    try:
        expected = "expected 'https://….communication.azure.com', and no connection string"
        problem = problem_with_url(endpoint, schemes, "endpoint", expected)
        if problem is None and urlsplit(str(endpoint)).path not in ("", "/"):
            return f"endpoint has a path; {expected}"
        return problem
    finally:
        del endpoint
