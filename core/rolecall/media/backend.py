"""The base of media services, and the tickets that they issue."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypedDict

from ..errors import ConfigurationError, ExpiredToken, InvalidSessionId, NoIdentity, RoleNotHeld
from ..formats import TokenFormat
from ..formats.claims import ClaimRules
from ..keys import Key
from ..keys.issuers import Issuer
from ..pickling import reduced
from ..roles import Capability, Role
from ..sessions import SessionProperties
from ..tokens import MAX_LIFETIME, Grant, TokenOptions, duration
from ..wording import kind, moment, shown
from .turn import Turn
from .urls import problem_with_url
from .webhooks import Notice

#: The default life of a ticket, in seconds: long enough to join, too short to come back with.
TICKET_LIFE: Final = 60
#: The acts that can be done in part, see :func:`emulated_acts`.
EMULATED: Final = frozenset({"mute_all"})
#: No credentials beside a token.
NO_CREDENTIALS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


class Ticket(NamedTuple):
    """What a client needs to join a session at its media service.

    :param token: the media service's token, short-lived.
    :param url: where to connect with it.
    :param expires_at: the end of its life, in Unix seconds. At most services it bounds the join alone.
    :param media: the name of the media service.
    :param session_id: the session.
    :param room: the session's name at the media service.
    :param identity: the participant's identity at the media service: the id of the actor.
    :param credentials: further credentials by name, for JSON; ``turn`` has an ``RTCIceServer``.
    """

    token: str
    url: str
    expires_at: int
    media: str
    session_id: str
    room: str
    identity: str
    credentials: Mapping[str, Mapping[str, Any]] = NO_CREDENTIALS

    def __reduce__(self) -> Any:
        return reduced(self)

    def as_dict(self) -> dict[str, Any]:
        """The ticket as a dict for JSON, for the client."""
        credentials = {name: dict(credential) for name, credential in self.credentials.items()}
        return {**self._asdict(), "credentials": credentials}

    def __repr__(self) -> str:
        return f"<Ticket for {self.media} in {self.session_id!r} until {moment(self.expires_at)}>"


class ServiceIds(NamedTuple):
    """The ids that a service has given, which the kit's store remembers; each is empty as long as there is none.

    :param room: the id of a session's room.
    :param participant: the id of an actor in that session.
    """

    room: str = ""
    participant: str = ""


class Place(NamedTuple):
    """The place in a room that a grant gives its bearer, for the short time of a ticket.

    :param room: the name of the session's room at the service.
    :param identity: the participant's identity: the id of the actor.
    :param role: the grant's role.
    :param capabilities: what the grant gives.
    :param issued_at: now, in Unix seconds.
    :param expires_at: the end of the ticket's life, in Unix seconds.
    :param data: the connection data of the grant, or None.
    :param session_id: the session.
    :param layout: the initial layout classes of the grant, for services that have them.
    :param ids: the service's own ids of the room and of the participant, where :attr:`MediaBackend.keeps_ids` says so.
    """

    room: str
    identity: str
    role: Role
    capabilities: frozenset[Capability]
    issued_at: int
    expires_at: int
    data: str | None
    session_id: str
    layout: tuple[str, ...] = ()
    ids: ServiceIds = ServiceIds()


class CommonSettings(TypedDict, total=False):
    """The settings that all backends have in common; a backend passes them on to the base."""

    ticket_life: float | None
    accept_wider: Iterable[str]
    turn: Turn | Mapping[str, Any] | None


class TicketOptions(TokenOptions):
    """The options of a ticket: where a kit reads it as a token, the form of its id says that it cannot be renewed."""

    __slots__ = ()

    def new_token_id(self, random: bytes | None = None) -> str:
        """Make an id for the token.

        :param random: 16 random bytes, if the caller has them already.
        """
        return (random or os.urandom(16)).hex()


class MediaBackend(ABC):
    """A media service, for the kits that use it: ``Rolecall(media=LiveKit("wss://…", key, secret))``.

    A subclass says what is special about its service: the format of its tokens, the names of its rooms, the limits, and
    the object that acts in sessions. The arguments of its ``__init__`` are its settings; ``media_config`` and the
    environment (``ROLECALL_<NAME>_<SETTING>``) name them.

    :param url: where clients connect.
    :param ticket_life: the life of a ticket in seconds, within the service's limits; None for 60, or the service's
        shortest if that is longer.
    :param accept_wider: the names of roles whose tickets may grant more than the role does, at a service that cannot
        hold them. Without it such a ticket is refused.
    :param turn: issues a TURN credential beside each ticket: a :class:`~rolecall.media.turn.Turn`, or a mapping with
        its arguments.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    #: The name of the service, as ``media=`` and ``ROLECALL_MEDIA`` have it.
    name: ClassVar[str]
    #: The schemes of the URL where clients connect.
    schemes: ClassVar[tuple[str, ...]] = ("wss", "ws")
    #: The setting that has this URL.
    url_setting: ClassVar[str] = "url"
    #: The shortest and the longest life of its tokens, in seconds.
    shortest_life: ClassVar[int] = 1
    longest_life: ClassVar[int] = MAX_LIFETIME
    #: Settings of which it needs one, though each may be left out: ``rolecall media plan`` says so.
    needs_one_of: ClassVar[tuple[str, ...]] = ()
    #: What the service grants to every participant, whatever its token says.
    always_granted: ClassVar[frozenset[Capability]] = frozenset()
    #: Whether it knows roles by names of its own: what a name may do is settled there, and the app vouches for it.
    names_roles: ClassVar[bool] = False
    #: What cannot be done in a session there, or not as OpenTok does it: by the names of acts, in a few words.
    #: Those that are not named are done.
    acts: ClassVar[Mapping[str, str]] = MappingProxyType({})
    #: Whether a room is to be opened before its first participant comes, by :meth:`open_room`.
    opens_rooms: ClassVar[bool] = False
    #: Whether the service gives rooms and participants ids of its own, and finds none by the app's: then
    #: :meth:`create_room` and :meth:`create_participant` make them, and the kit's store remembers the ids, so that
    #: every worker has the same ones. :meth:`ask_ticket` gets them with the place, and the methods of :attr:`service`
    #: get :class:`ServiceIds` as a further argument, the last.
    keeps_ids: ClassVar[bool] = False
    #: Whether its sessions are created at the service, by :meth:`create_session`, and have the service's ids.
    creates_sessions: ClassVar[bool] = False
    #: Whether these ids are none of OpenTok's form, so that a kit needs ``session_names="plain"``.
    needs_plain_names: ClassVar[bool] = False
    #: Whether the service tells of what happens in its rooms by webhooks, which :meth:`webhook` reads.
    takes_webhooks: ClassVar[bool] = False
    #: The seconds that a call of the service can take as a whole, where the kit's ``hook_timeout`` must be longer.
    call_time: float = 0.0
    #: The longest identity and the longest name of a room, in bytes of UTF-8.
    longest_identity: ClassVar[int] = 255
    longest_room: ClassVar[int] = 255

    def __init__(
        self,
        url: str,
        *,
        ticket_life: float | None = None,
        accept_wider: Iterable[str] = (),
        turn: Turn | Mapping[str, Any] | None = None,
    ) -> None:
        try:
            #: Issues TURN credentials beside tickets; None: it issues none.
            self.turn = Turn(**turn) if isinstance(turn, Mapping) else turn
        except TypeError:
            raise ConfigurationError(f"{self.name}: turn takes urls, secret and verify_secrets") from None
        finally:
            del turn  # it may hold a secret, so nothing fails before this
        if not isinstance(self.turn, Turn | None):
            raise ConfigurationError(f"{self.name}: turn is {kind(self.turn)}; expected a Turn(…)")
        problem = problem_with_url(url, self.schemes, self.url_setting)
        if problem is not None:
            del url  # it may hold a password
            raise ConfigurationError(f"{self.name}: {problem}")
        #: Where clients connect.
        self.url = url
        #: The life of a ticket, in seconds.
        self.ticket_life = self._checked_life(ticket_life)
        if isinstance(accept_wider, str) or not isinstance(accept_wider, Collection):
            raise ConfigurationError(f"{self.name}: accept_wider is {shown(accept_wider)}; expected a set of roles")
        #: The roles whose tickets may grant more than the role does.
        self.accept_wider = frozenset(accept_wider)

    @abstractmethod
    def token_format(self, rules: ClaimRules) -> TokenFormat | None:
        """Make the format of the service's tokens, with its own keys; None if only the service itself mints them.

        :param rules: checks the claims of tokens, for one kit.
        """

    @property
    def service(self) -> object | None:
        """The object with some of the methods of :class:`~rolecall.moderation.MediaService`; None if nobody can act."""
        return None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of its tokens, for ``rolecall doctor``: of the issuer that a subclass keeps as ``_issuer``."""
        issuer = getattr(self, "_issuer", None)
        return tuple(issuer.ring) if isinstance(issuer, Issuer) else ()

    @property
    def session_issuers(self) -> tuple[Issuer, ...]:
        """The projects or applications at the service which the ids of its sessions name, if these are OpenTok's ids.

        Their sessions belong to the kit's first project, unless the kit has a project of the same API key.
        """
        return ()

    async def create_session(self, properties: SessionProperties, api_key: str) -> str:
        """Create a session at the service, and return its id; where :attr:`creates_sessions` says so.

        :param properties: the checked properties of the session.
        :param api_key: the kit's project that the session is for.
        :raises RolecallError: one that says why it was not created.
        """
        raise NotImplementedError

    def room(self, session_id: str) -> str:
        """The name of a session's room at the service: the session's id, unless a subclass says otherwise.

        :raises InvalidSessionId: for a session that can have no room there.
        """
        if len(session_id.encode()) > self.longest_room:
            raise InvalidSessionId(
                f"session_id has {len(session_id.encode())} bytes of UTF-8; the name of a room at {self.name} has at "
                f"most {self.longest_room}"
            )
        return session_id

    def room_url(self, room: str) -> str:
        """Where the participants of a room connect: :attr:`url`, unless a subclass says otherwise."""
        return self.url

    def session_of(self, room: str) -> str | None:
        """The session of a room, by its name; None if the name does not say: where it is not the session's id."""
        try:
            return room if self.room(room) == room else None
        except InvalidSessionId:
            return None

    def granted(self, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """The capabilities that the service grants to the bearer of a token for ``capabilities``.

        More than these, if the service cannot hold them apart: then no token is minted, unless ``accept_wider`` names
        the role.
        """
        return capabilities | self.always_granted

    def check_identity(self, identity: str) -> None:
        """Refuse an actor's id that the service does not take for an identity, or takes for somebody else's.

        :raises NoIdentity: says why.
        """
        length = len(identity.encode())
        if length > self.longest_identity:
            raise NoIdentity(f"the actor's id has {length} bytes; {self.name} takes at most {self.longest_identity}")

    def wider(self, role: Role, capabilities: frozenset[Capability]) -> frozenset[Capability]:
        """What a token would grant beyond ``capabilities``; nothing for the roles that ``accept_wider`` names."""
        return frozenset() if str(role) in self.accept_wider else self.granted(capabilities) - capabilities

    def ticket(self, form: TokenFormat, place: Place) -> Ticket:
        """Mint the ticket of a place.

        :param form: the format that :meth:`token_format` has made.
        :raises RoleNotHeld: if no token can hold what the grant has.
        """
        room, identity, role, capabilities, issued_at, expires_at, data, _, layout, _ = place
        if not form.carries(role, capabilities):
            raise self._not_held(role)
        narrowed = None if capabilities == role.capabilities else capabilities
        token, _ = form.mint(
            TicketOptions(room, role, issued_at, expires_at, data, layout, narrowed=narrowed, subject=identity)
        )
        return self.made(place, token)

    async def ask_ticket(self, place: Place) -> Ticket:
        """Ask the service for the ticket of a place, if :meth:`token_format` makes no format; end it by :meth:`made`.

        :raises RolecallError: one that says why there is none.
        """
        raise NotImplementedError

    async def open_room(self, place: Place) -> str | None:
        """Open the room of a place at the service, if it is not open; where :attr:`opens_rooms` says so.

        It returns the room's id for the token and the ticket, if the service has ids of its own; None if it has none.

        :raises RolecallError: one that says why it is not open.
        """
        raise NotImplementedError

    async def create_room(self, place: Place) -> str:
        """Create the room of a session, and return its id at the service; where :attr:`keeps_ids` says so.

        Of workers that do so at the same moment one is the first, and its room is the session's.

        :raises RolecallError: one that says why it was not created.
        """
        raise NotImplementedError

    async def create_participant(self, place: Place) -> str:
        """Create a participant for an actor in one session, and return its id at the service, as :meth:`create_room`.

        It is to be nowhere until :meth:`ask_ticket` gives it a place: another worker's may be the one that counts.

        :raises RolecallError: one that says why it was not created.
        """
        raise NotImplementedError

    def webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> Sequence[Notice]:
        """Verify a webhook of the service, and return what it tells of; where :attr:`takes_webhooks` says so.

        :param headers: by name, in any case.
        :param body: as it came: at most 1 MiB.
        :param now: in Unix seconds.
        :returns: the events in its rooms; none for a webhook about something else.
        :raises MissingCredential: if it has no signature.
        :raises InvalidToken: a subclass that says why the signature is refused.
        :raises InvalidRequest: if it is signed, and not readable.
        """
        raise NotImplementedError

    def credentials(self, place: Place) -> Mapping[str, Mapping[str, Any]]:
        """What a client needs beside each token, by name, for JSON: nothing, unless a subclass says otherwise."""
        return NO_CREDENTIALS

    def made(
        self,
        place: Place,
        token: str,
        url: str | None = None,
        expires_at: int | None = None,
        credentials: Mapping[str, Mapping[str, Any]] = NO_CREDENTIALS,
    ) -> Ticket:
        """The ticket of a place, with the service's token.

        :param url: where to connect, if it is not the :meth:`room_url`.
        :param expires_at: the end of the token's life in Unix seconds, if it is not the place's.
        :param credentials: further ones than :meth:`credentials`; a TURN credential is added.
        """
        ends = place.expires_at if expires_at is None else expires_at
        # A service that mints its tokens itself may let them live longer than the grant; what the kit mints does not.
        relayed_until = min(ends, place.expires_at)
        turn = {} if self.turn is None else {"turn": self.turn.ice_server(place.identity, relayed_until)}
        return Ticket(
            token,
            url or self.room_url(place.room),
            ends,
            self.name,
            place.session_id,
            place.room,
            place.identity,
            MappingProxyType({**self.credentials(place), **credentials, **turn}),
        )

    def place(self, grant: Grant, now: float) -> Place:
        """The place of a grant's bearer in its session's room, at ``now`` (Unix seconds).

        :raises NoIdentity: if the grant does not say for whom it is.
        :raises RoleNotHeld: if a ticket would grant more than the grant does, and if the grant lets nobody join.
        :raises ExpiredToken: if the grant does not stand as long as the shortest ticket.
        """
        identity, role = self._identity(grant), grant.role
        if Capability.CONNECT not in grant.capabilities:
            raise self._not_held(role)
        if wider := self.wider(role, grant.capabilities):
            raise RoleNotHeld(
                f"a ticket of {self.name} for the role {str(role)!r} would grant {', '.join(sorted(wider))}, too; an "
                f"app that takes that says so: accept_wider={{{str(role)!r}}}"
            )
        issued_at = int(now)
        expires_at = min(issued_at + self.ticket_life, int(grant.expires_at))
        if expires_at < issued_at + self.shortest_life:
            raise ExpiredToken(
                f"the token expires at {moment(grant.expires_at)}, before the shortest ticket of {self.name} would"
            )
        room = self.room(grant.session_id)
        held, session_id = grant.capabilities, grant.session_id
        return Place(room, identity, role, held, issued_at, expires_at, grant.data, session_id, _layout(grant))

    def _not_held(self, role: Role) -> RoleNotHeld:
        return RoleNotHeld(f"no ticket of {self.name} can hold what this grant has of the role {str(role)!r}")

    def _identity(self, grant: Grant) -> str:
        if grant.actor_id is None:
            raise NoIdentity(
                "the token does not say for whom it is, and the media service needs an identity: mint it with actor=…, "
                "or have a plugin identify who asks for it"
            )
        self.check_identity(grant.actor_id)
        return grant.actor_id

    def _checked_life(self, seconds: object) -> int:
        shortest, longest = self.shortest_life, self.longest_life
        if seconds is None:
            return max(TICKET_LIFE, shortest)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not shortest <= seconds <= longest:
            raise ConfigurationError(
                f"{self.name}: ticket_life is {shown(seconds)}; expected {shortest} to {longest} seconds "
                f"({duration(longest)})"
            )
        return int(seconds)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'url', 'not made yet')}>"


def variable_of(service: str, setting: str) -> str:
    """The environment's variable for a setting of a service."""
    return f"ROLECALL_{service.upper()}_{setting.upper()}"


def emulated_acts(service: str, acts: object) -> frozenset[str]:
    """The acts in the setting ``accept_emulated``: those that may be done in part, where a service can do no more.

    :raises ConfigurationError: for others.
    """
    expected = f"expected a set of {', '.join(EMULATED)}"
    if isinstance(acts, str) or not isinstance(acts, Collection):
        raise ConfigurationError(f"{service}: accept_emulated is {shown(acts)}; {expected}")
    for act in acts:
        if act not in EMULATED:
            raise ConfigurationError(f"{service}: accept_emulated has {shown(act, 80)}; {expected}")
    return frozenset(acts)


def _layout(grant: Grant) -> tuple[str, ...]:
    """The layout classes of a grant; none in the token of a service where the claim means something else."""
    layout: object = grant.layout
    return layout if isinstance(layout, tuple) and all(isinstance(one, str) for one in layout) else ()
