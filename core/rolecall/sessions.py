"""Sessions, and session ids in the form that all OpenTok SDKs read."""

from __future__ import annotations

import os
import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import base64url
from .errors import InvalidSessionId, InvalidSessionOption, shown
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
    """A session of a kit."""

    kit: Rolecall = field(kw_only=True)

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
    """A session of a kit, as ``kit.aio`` gives it."""

    kit: AsyncRolecall = field(kw_only=True)

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
    """

    __slots__ = ("_api_key", "_remembered", "_tag_key")

    def __init__(self, api_key: str, key: Key) -> None:
        self._api_key = api_key
        self._tag_key = Key(key.derive("session ids"))
        self._remembered: set[str] = set()

    def make(self, location: str | None, media_mode: MediaMode, now: float) -> str:
        """A new id for a session created at ``now`` (Unix seconds)."""
        prefix, media = _MEDIA_MARKS[media_mode]
        head = f"1~{self._api_key}~{location or ''}~{int(now * 1000)}"
        random, tail = _base32(os.urandom(10)), f"~{media}~~"
        text = f"{head}~rc{random}{self._tag(prefix + head, random, tail)}{tail}"
        return prefix + base64url.encode(text.encode("ascii")).decode("ascii")

    def check(self, session_id: object) -> None:
        """Accept an id that this kit made, and one for its API key that another service made (it has no tag).

        :raises InvalidSessionId: for an id that is malformed, for another API key, or made up.
        """
        if not isinstance(session_id, str):
            raise InvalidSessionId(
                f"session_id is {shown(session_id)}; expected a string, as create_session(…).session_id gives"
            )
        if session_id in self._remembered:
            return
        self._examine(session_id)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.add(session_id)

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the id."""
        try:
            self.check(session_id)
        except InvalidSessionId:
            return False
        return True

    def _examine(self, session_id: str) -> None:
        text = _decoded(session_id)
        api_key = text.split("~", 2)[1]
        if api_key != self._api_key:
            raise InvalidSessionId(
                f"session_id belongs to another API key, {shown(api_key)}; "
                f"this kit's is {self._api_key!r}: sessions and tokens need the same project's key and secret"
            )
        marked = _TAGGED.search(text)
        if marked is None:
            return
        random, tag = marked.groups()
        genuine = compare_digest(tag, self._tag(session_id[:2] + text[: marked.start()], random, text[marked.end() :]))
        if not genuine:
            raise InvalidSessionId("session_id was not made by this kit: its tag does not fit")

    def _tag(self, head: str, random: str, tail: str) -> str:
        return _base32(self._tag_key.sign(f"{head}~{random}~{tail}".encode())[:15])


_MEDIA_MARKS: Final = {MediaMode.RELAYED: ("1_", "P"), MediaMode.ROUTED: ("2_", "")}


def _decoded(session_id: str) -> str:
    if not 2 < len(session_id) <= MAX_SESSION_ID_LENGTH or session_id[:2] not in ("1_", "2_"):
        raise InvalidSessionId(
            f"session_id is not well formed: expected '1_' or '2_', and at most {MAX_SESSION_ID_LENGTH} characters"
        )
    try:
        text = base64url.decode(session_id[2:].encode("ascii")).decode()
    except ValueError:
        raise InvalidSessionId("session_id is not well formed: what follows its prefix is not base64url") from None
    if "~" not in text:
        raise InvalidSessionId("session_id is not well formed: it names no API key")
    return text


def _base32(data: bytes) -> str:
    return b32encode(data).decode("ascii").lower()
