"""Session ids: those that all OpenTok SDKs read, with a keyed tag; and plain names of rooms."""

from __future__ import annotations

import os
import re
import unicodedata
from base64 import b32encode
from hmac import compare_digest
from typing import Final, Protocol

from .encoding import base64url
from .errors import ConfigurationError, InvalidSessionId, InvalidSessionOption
from .keys import HMACKey, KeyRing
from .keys.issuers import Issuer
from .sessions import MediaMode
from .wording import shown, shown_key, wrapping

#: The most characters of a session id, as the published guides say.
MAX_SESSION_ID_LENGTH: Final = 255
# In the place of the random part: a mark, 80 random bits, and a tag of 120 bits.
_TAGGED = re.compile(r"~rc([a-z2-7]{16})([a-z2-7]{24})")
_MAX_REMEMBERED: Final = 4096
#: What the keys of the tags are derived for.
_PURPOSE: Final = "session ids"

# No character of a plain id: what would mean something in a URL, white space and controls, and what does not show.
_BARRED: Final = (
    r"/\\?#%;<>\x22\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000e0000-\U0010ffff"
)
_PLAIN: Final = re.compile(rf"(?!\.+\Z)[^{_BARRED}\ud800-\udfff]{{1,{MAX_SESSION_ID_LENGTH}}}")
#: The plain ids of :func:`is_plain_id`, their length apart, as JSON Schema has it.
ID_PATTERN: Final = rf"^\.*[^.{_BARRED}][^{_BARRED}]*$"
#: What is said of an id that is none.
ID_EXPECTED: Final = (
    f"expected 1 to {MAX_SESSION_ID_LENGTH} characters that show, not dots alone, without white space and any of "
    '/ \\ ? # % ; < > "'
)


def is_plain_id(text: str) -> bool:
    """Whether ``text`` can be the id of a connection or a stream, or the name of a room, at a media service.

    A service's own ids are UUIDs and the like, and many take the app's: ``bob@example.org``, ``auth0|123``, ``Zoë``. An
    id is at most 255 characters, and no part of it means something in a URL.
    """
    return _PLAIN.fullmatch(text) is not None


class SessionNames(Protocol):
    """Makes the ids of sessions, and says of an id whose it is.

    :param issuers: those whose sessions they are; a session is the first one's unless it is said otherwise.
    """

    def __init__(self, *issuers: Issuer) -> None: ...

    @property
    def issuers(self) -> tuple[str, ...]:
        """The ids of those whose sessions they are, the first one first."""

    def issuer(self, api_key: str | None) -> str:
        """``api_key`` if sessions can be created for it; the first one's where it is None.

        :raises InvalidSessionOption: for another.
        """

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """A new id, which nobody can guess, for a session created at ``now`` (Unix seconds).

        :param api_key: whose it is; the first one's unless given.
        """

    def check(self, session_id: object) -> str:
        """The id of the issuer that a session is of.

        :raises InvalidSessionId: for what cannot be the id of a session of theirs.
        """

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the id."""

    def made_at(self, session_id: str) -> float | None:
        """When the kit made an id, in Unix seconds; None if that does not show."""


class OpenTokIds:
    """Makes session ids, and tells made-up ones from real ones without a look-up.

    An id is ``1_`` (relayed) or ``2_`` (routed) and the base64url of ``1~key~location~milliseconds~random~media~~``.
    Its random part ends in a tag: HMAC-SHA256 over all the rest of the id, with a key derived from the API secret that
    signs. An id with the tag of any key of the issuer's ring is real.

    :param issuers: those whose ids they are; a session is the first one's unless it is said otherwise.
    """

    __slots__ = ("_first", "_issuers", "_remembered")

    def __init__(self, *issuers: Issuer) -> None:
        self._first = issuers[0].id
        self._issuers = {issuer.id: issuer for issuer in issuers}
        # Whose an id is, and the ring that it was examined with: with another ring it is examined again.
        self._remembered: dict[str, tuple[str, Issuer, KeyRing]] = {}

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """A new id for a session created at ``now`` (Unix seconds).

        Its location stays empty, as the service leaves it: every participant can read the id.

        :param api_key: whose it is; the first one's unless given.
        """
        owner = self.issuer(api_key)
        prefix, media = _MEDIA_MARKS[media_mode]
        head = f"1~{owner}~~{int(now * 1000)}"
        random, tail = _base32(os.urandom(10)), f"~{media}~~"
        key = self._issuers[owner].ring.derived(_PURPOSE)[0]
        text = f"{head}~rc{random}{_tag(key, prefix + head, random, tail)}{tail}"
        return prefix + base64url.encode(text.encode("ascii")).decode("ascii")

    @property
    def issuers(self) -> tuple[str, ...]:
        """Those whose ids they are, the first one first."""
        return tuple(self._issuers)

    def issuer(self, api_key: str | None) -> str:
        """``api_key`` if sessions can be created for it; the first one's where it is None.

        :raises InvalidSessionOption: for another.
        """
        if api_key is None:
            return self._first
        if not isinstance(api_key, str) or api_key not in self._issuers:
            raise _unknown_issuer(api_key)
        return api_key

    def check(self, session_id: object) -> str:
        """The API key of an id that this kit made, or that another service made for the same key (it has no tag).

        :raises InvalidSessionId: for an id that is malformed, for another API key, or made up.
        """
        if not isinstance(session_id, str):
            raise InvalidSessionId(
                f"session_id is {shown(session_id)}; expected a string, as create_session(…).session_id gives"
            )
        remembered = self._remembered.get(session_id)
        if remembered is not None:
            owner, issuer, ring = remembered
            if issuer.ring is ring:
                return owner
        issuer, ring = self._examine(session_id)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[session_id] = issuer.id, issuer, ring
        return issuer.id

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

    def _examine(self, session_id: str) -> tuple[Issuer, KeyRing]:
        text = _decoded(session_id)
        api_key = text.split("~", 2)[1]
        issuer = self._issuers.get(api_key)
        if issuer is None:
            # Whoever asks may be anybody: of several projects the message names none.
            own = f"this kit's is {self._first!r}" if len(self._issuers) == 1 else "it is none of this kit's"
            raise InvalidSessionId(
                f"session_id belongs to another API key, {shown_key(api_key)}; "
                f"{own}: sessions and tokens need the same project's key and secret"
            )
        ring = issuer.ring
        marked = _TAGGED.search(text)
        if marked is not None:
            random, tag = marked.groups()
            head, tail = session_id[:2] + text[: marked.start()], text[marked.end() :]
            tags = (_tag(key, head, random, tail) for key in ring.derived(_PURPOSE))
            if not any(compare_digest(tag, fitting) for fitting in tags):
                raise InvalidSessionId(
                    "session_id was not made by this kit: its tag does not fit; another secret made it, or nobody"
                )
        return issuer, ring


def _tag(key: HMACKey, head: str, random: str, tail: str) -> str:
    return _base32(key.sign(f"{head}~{random}~{tail}".encode())[:15])


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


class PlainNames:
    """Session ids that are plain names of rooms, as LiveKit and Jitsi have them: ``physics-1``, ``école``.

    A name that the kit makes has 128 random bits. Any other well-formed name is one, too: only the store knows which
    rooms there are. Names are compared exactly; for a service that folds their case give small letters alone.

    :param issuer: the one whose sessions they are: a name does not say whose it is.
    """

    __slots__ = ("_issuer",)

    def __init__(self, issuer: Issuer, *further: Issuer) -> None:
        if further:
            raise ConfigurationError("plain names of sessions do not say of which project they are; leave out projects")
        self._issuer = issuer.id

    @property
    def issuers(self) -> tuple[str, ...]:
        """The one whose sessions they are."""
        return (self._issuer,)

    def issuer(self, api_key: str | None) -> str:
        """The issuer.

        :raises InvalidSessionOption: if ``api_key`` is another.
        """
        if api_key is not None and api_key != self._issuer:
            raise _unknown_issuer(api_key)
        return self._issuer

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """A new name of 32 hexadecimal digits."""
        self.issuer(api_key)
        return os.urandom(16).hex()

    def check(self, session_id: object) -> str:
        """The issuer, for a well-formed name: as :func:`is_plain_id` says, and 1 to 255 bytes of UTF-8, in NFC.

        :raises InvalidSessionId: for any other.
        """
        problem = _problem_with_name(session_id)
        if problem is not None:
            raise InvalidSessionId(f"session_id {problem}")
        return self._issuer

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the name."""
        return _problem_with_name(session_id) is None

    def made_at(self, session_id: str) -> float | None:
        """None: a name does not say when it was made."""
        return None


def _problem_with_name(name: object) -> str | None:
    if not isinstance(name, str):
        return f"is {shown(name)}; expected a string, as create_session(…).session_id gives"
    around = wrapping(name)
    if around is not None:
        return f"is not well formed: it has {around}; pass the name alone"
    if not is_plain_id(name):
        return f"is {shown(name)}; {ID_EXPECTED}"
    if len(name.encode()) > MAX_SESSION_ID_LENGTH:
        return f"has {len(name.encode())} bytes of UTF-8; at most {MAX_SESSION_ID_LENGTH} are taken"
    if not unicodedata.is_normalized("NFC", name):
        return f"is {shown(name)}, which is not in its normal form: pass unicodedata.normalize('NFC', name)"
    return None


def _unknown_issuer(api_key: object) -> InvalidSessionOption:
    return InvalidSessionOption(f"api_key is {shown_key(api_key)}; expected one of the kit's, see kit.api_keys")


def _ill_formed(session_id: str, problem: str) -> InvalidSessionId:
    around = wrapping(session_id)
    said = problem if around is None else f"it has {around}; pass the id alone"
    return InvalidSessionId(f"session_id is not well formed: {said}")


def _base32(data: bytes) -> str:
    return b32encode(data).decode("ascii").lower()
