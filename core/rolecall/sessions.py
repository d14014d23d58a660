"""Sessions, and session ids in the form that all OpenTok SDKs read."""

from __future__ import annotations

import os
import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from . import base64url
from .errors import InvalidSessionId, InvalidSessionOption, shown, shown_key, wrapping
from .issuers import Issuer
from .keys import Key
from .roles import Role
from .tokens import ExpireTime

if TYPE_CHECKING:
    from .kit import AsyncRolecall, Rolecall

#: The most characters of a session id, as the published guides say.
MAX_SESSION_ID_LENGTH: Final = 255


class MediaMode(StrEnum):
    """Whether streams go straight between the participants, or through a media server."""

    RELAYED = "relayed"
    ROUTED = "routed"


#: What a media mode is called on the OpenTok wire.
P2P_PREFERENCES: Final = {MediaMode.RELAYED: "enabled", MediaMode.ROUTED: "disabled"}


class ArchiveMode(StrEnum):
    """Whether the session is recorded from its start."""

    MANUAL = "manual"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The properties of a session, as stores keep them.

    :param session_id: its id, at most 255 characters.
    :param location: the IP address that hints where its participants are, or None.
    :param media_mode: relayed or routed.
    :param archive_mode: manual or always.
    :param e2ee: whether its media is encrypted from end to end.
    :param created_at: when it was created, in Unix seconds.
    :param ended_at: when it was ended, in Unix seconds; None while it is open.
    """

    session_id: str
    location: str | None
    media_mode: MediaMode
    archive_mode: ArchiveMode
    e2ee: bool
    created_at: float
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session(SessionRecord):
    """A session of a kit. What is pickled of it is its :class:`SessionRecord`: its kit holds keys, and stays."""

    kit: Rolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> Session:
        return self  # it does not change

    def __deepcopy__(self, memo: object) -> Session:
        return self  # nor does its kit belong to a copy

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

    def generate_token(
        self,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """A token for this session; see :meth:`Rolecall.generate_token`."""
        return self.kit.generate_token(self.session_id, role, expire_time, data, initial_layout_class_list)

    def end(self) -> None:
        """End this session; see :meth:`Rolecall.end_session`."""
        self.kit.end_session(self.session_id)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AsyncSession(SessionRecord):
    """A session of a kit, as ``kit.aio`` gives it; see :class:`Session`."""

    kit: AsyncRolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> AsyncSession:
        return self

    def __deepcopy__(self, memo: object) -> AsyncSession:
        return self

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

    async def generate_token(
        self,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """A token for this session; see :meth:`Rolecall.generate_token`."""
        return await self.kit.generate_token(self.session_id, role, expire_time, data, initial_layout_class_list)

    async def end(self) -> None:
        """End this session; see :meth:`Rolecall.end_session`."""
        await self.kit.end_session(self.session_id)


@overload
def session_id_of(session: str | SessionRecord) -> str: ...


@overload
def session_id_of(session: str | SessionRecord | None) -> str | None: ...


def session_id_of(session: str | SessionRecord | None) -> str | None:
    """The id of a session that is given by itself, or by its id; None where none is given."""
    return session.session_id if isinstance(session, SessionRecord) else session


def record_fields(record: SessionRecord) -> dict[str, Any]:
    """The properties of a record by name, without the kit of a subclass."""
    return {item.name: getattr(record, item.name) for item in fields(SessionRecord)}


def check_properties(
    location: object, media_mode: object, archive_mode: object, e2ee: object
) -> tuple[str | None, MediaMode, ArchiveMode, bool]:
    """The properties of a session to be created, validated each and together.

    :raises InvalidSessionOption: says which property, and what was expected.
    """
    media = _choice(MediaMode, "media_mode", media_mode)
    archive = _choice(ArchiveMode, "archive_mode", archive_mode)
    if not isinstance(e2ee, bool):
        raise InvalidSessionOption(f"e2ee is {shown(e2ee)}; expected true or false")
    # What follows is what the service itself answers (the SDKs' documentation of e2ee and of archives).
    if archive is ArchiveMode.ALWAYS and media is not MediaMode.ROUTED:
        raise InvalidSessionOption(
            "archive_mode 'always' needs media_mode 'routed': relayed media passes no server that could record it"
        )
    if e2ee and media is not MediaMode.ROUTED:
        raise InvalidSessionOption("e2ee needs media_mode 'routed'")
    if e2ee and archive is ArchiveMode.ALWAYS:
        raise InvalidSessionOption("e2ee does not go with archive_mode 'always'")
    return _location(location), media, archive, e2ee


#: The sizes in which a session's archives may be recorded, in pixels.
ARCHIVE_RESOLUTIONS: Final = ("640x480", "480x640", "1280x720", "720x1280", "1920x1080", "1080x1920")
MAX_ARCHIVE_NAME: Final = 80


def check_archives(
    mode: ArchiveMode,
    name: object,
    resolution: object,
    called: tuple[str, str] = ("archive_name", "archive_resolution"),
) -> tuple[str | None, str | None]:
    """What the archives of a session are to be called, and in which size recorded, validated.

    :param called: what whoever asks calls the two.
    :raises InvalidSessionOption: says which of the two, and what was expected.
    """
    for option, value in zip(called, (name, resolution), strict=True):
        if value is not None and mode is not ArchiveMode.ALWAYS:
            raise InvalidSessionOption(f"{option} is for sessions that are archived from their start (always)")
    if name is not None and not (isinstance(name, str) and 1 <= len(name) <= MAX_ARCHIVE_NAME):
        raise InvalidSessionOption(f"{called[0]} is {shown(name)}; expected 1 to {MAX_ARCHIVE_NAME} characters")
    if resolution is not None and resolution not in ARCHIVE_RESOLUTIONS:
        raise InvalidSessionOption(
            f"{called[1]} is {shown(resolution)}; expected one of {', '.join(ARCHIVE_RESOLUTIONS)}"
        )
    return name, resolution


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(kind: type[_Choice], name: str, value: object) -> _Choice:
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidSessionOption(f"{name} is {shown(value)}; expected one of {', '.join(kind)}") from None


def _location(value: object) -> str | None:
    if value is None:
        return None
    from ipaddress import ip_address  # seldom needed, and not free to import

    try:
        # A zone ("fe80::1%eth0") means nothing outside its own machine, and can hold any text.
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise InvalidSessionOption(
            f"location is {shown(value)}; expected an IP address, for example '203.0.113.7'"
        ) from None


# In the place of the random part: a mark, 80 random bits, and a tag of 120 bits.
_TAGGED = re.compile(r"~rc([a-z2-7]{16})([a-z2-7]{24})")
_MAX_REMEMBERED: Final = 4096


class SessionIds:
    """Makes session ids, and tells made-up ones from real ones without a look-up.

    An id is ``1_`` (relayed) or ``2_`` (routed) and the base64url of ``1~key~location~milliseconds~random~media~~``.
    Its random part ends in a tag: HMAC-SHA256 over all the rest of the id, with a key derived from the API secret.

    :param issuers: those whose ids they are; a session is the first one's unless it is said otherwise.
    """

    __slots__ = ("_first", "_remembered", "_tag_keys")

    def __init__(self, *issuers: Issuer) -> None:
        self._first = issuers[0].id
        self._tag_keys = {issuer.id: Key(issuer.key.derive("session ids")) for issuer in issuers}
        self._remembered: dict[str, str] = {}

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """A new id for a session created at ``now`` (Unix seconds).

        Its location stays empty, as the service leaves it: every participant can read the id.

        :param api_key: whose it is; the first one's unless given.
        """
        owner = self.issuer(api_key)
        prefix, media = _MEDIA_MARKS[media_mode]
        head = f"1~{owner}~~{int(now * 1000)}"
        random, tail = _base32(os.urandom(10)), f"~{media}~~"
        text = f"{head}~rc{random}{self._tag(owner, prefix + head, random, tail)}{tail}"
        return prefix + base64url.encode(text.encode("ascii")).decode("ascii")

    @property
    def issuers(self) -> tuple[str, ...]:
        """Those whose ids they are, the first one first."""
        return tuple(self._tag_keys)

    def issuer(self, api_key: str | None) -> str:
        """``api_key`` if sessions can be created for it; the first one's where it is None.

        :raises InvalidSessionOption: for another.
        """
        if api_key is None:
            return self._first
        if not isinstance(api_key, str) or api_key not in self._tag_keys:
            raise InvalidSessionOption(f"api_key is {shown_key(api_key)}; expected one of the kit's, see kit.api_keys")
        return api_key

    def check(self, session_id: object) -> str:
        """The API key of an id that this kit made, or that another service made for the same key (it has no tag).

        :raises InvalidSessionId: for an id that is malformed, for another API key, or made up.
        """
        if not isinstance(session_id, str):
            raise InvalidSessionId(
                f"session_id is {shown(session_id)}; expected a string, as create_session(…).session_id gives"
            )
        owner = self._remembered.get(session_id)
        if owner is not None:
            return owner
        owner = self._examine(session_id)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[session_id] = owner
        return owner

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the id."""
        try:
            self.check(session_id)
        except InvalidSessionId:
            return False
        return True

    def made_at(self, session_id: str) -> float | None:
        """When the kit made an id, in Unix seconds; None for one that it did not make."""
        try:
            self.check(session_id)
        except InvalidSessionId:
            return None
        text = _decoded(session_id)
        return int(text.split("~", 4)[3]) / 1000 if _TAGGED.search(text) else None

    def _examine(self, session_id: str) -> str:
        text = _decoded(session_id)
        api_key = text.split("~", 2)[1]
        if api_key not in self._tag_keys:
            # Whoever asks may be anybody: of several projects the message names none.
            own = f"this kit's is {self._first!r}" if len(self._tag_keys) == 1 else "it is none of this kit's"
            raise InvalidSessionId(
                f"session_id belongs to another API key, {shown_key(api_key)}; "
                f"{own}: sessions and tokens need the same project's key and secret"
            )
        marked = _TAGGED.search(text)
        if marked is not None:
            random, tag = marked.groups()
            head, tail = session_id[:2] + text[: marked.start()], text[marked.end() :]
            if not compare_digest(tag, self._tag(api_key, head, random, tail)):
                raise InvalidSessionId(
                    "session_id was not made by this kit: its tag does not fit; another secret made it, or nobody"
                )
        return api_key

    def _tag(self, api_key: str, head: str, random: str, tail: str) -> str:
        return _base32(self._tag_keys[api_key].sign(f"{head}~{random}~{tail}".encode())[:15])


_MEDIA_MARKS: Final = {MediaMode.RELAYED: ("1_", "P"), MediaMode.ROUTED: ("2_", "")}


def _decoded(session_id: str) -> str:
    if not 2 < len(session_id) <= MAX_SESSION_ID_LENGTH or session_id[:2] not in ("1_", "2_"):
        raise _ill_formed(session_id, f"expected '1_' or '2_', and at most {MAX_SESSION_ID_LENGTH} characters")
    try:
        text = base64url.decode(session_id[2:].encode("ascii")).decode()
    except ValueError:
        raise _ill_formed(session_id, "what follows its prefix is not base64url") from None
    if "~" not in text:
        raise _ill_formed(session_id, "it names no API key")
    return text


def _ill_formed(session_id: str, problem: str) -> InvalidSessionId:
    around = wrapping(session_id)
    said = problem if around is None else f"it has {around}; pass the id alone"
    return InvalidSessionId(f"session_id is not well formed: {said}")


def _base32(data: bytes) -> str:
    return b32encode(data).decode("ascii").lower()
