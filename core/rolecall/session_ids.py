"""Session ids: tagged ids that all OpenTok SDKs read, and plain room names."""

from __future__ import annotations

import os
import re
import unicodedata
from base64 import b32encode
from collections.abc import Iterable
from hmac import compare_digest
from typing import Final, Protocol

from .encoding import base64url
from .errors import ConfigurationError, InvalidSessionId, InvalidSessionOption
from .keys import HMACKey, KeyRing
from .keys.issuers import Issuer
from .sessions import MediaMode
from .wording import shown, shown_key, wrapping

#: The longest session id in characters, by the published guides.
MAX_SESSION_ID_LENGTH: Final = 255
# The random part of an id: a mark, 80 random bits, and a tag of 120 bits.
_TAGGED = re.compile(r"~rc([a-z2-7]{16})([a-z2-7]{24})")
_MAX_REMEMBERED: Final = 4096
#: The purpose for which the keys of the tags are derived.
_PURPOSE: Final = "session ids"

# Characters that a plain id lacks: those with a meaning in URLs, white space, controls, and invisible ones.
_BARRED: Final = (
    r"/\\?#%;<>\x22\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
)
# Tags, variation selectors, and the planes for private use.
_BARRED_PLANES: Final = "\U000e0000-\U0010ffff"
_PLAIN: Final = re.compile(rf"(?!\.+\Z)[^{_BARRED}{_BARRED_PLANES}\ud800-\udfff]{{1,{MAX_SESSION_ID_LENGTH}}}")
#: The pattern of :func:`is_plain_id` for JSON Schema, without the length. The planes are in a condition of their own:
#: programs that generate texts for a pattern enumerate the characters of its classes.
ID_PATTERN: Final = rf"^(?!.*[{_BARRED_PLANES}])\.*[^.{_BARRED}][^{_BARRED}]*$"
#: The end of messages about an invalid id.
ID_EXPECTED: Final = (
    f"expected 1 to {MAX_SESSION_ID_LENGTH} characters that show, not dots alone, without white space and any of "
    '/ \\ ? # % ; < > "'
)


def is_plain_id(text: str) -> bool:
    """Whether ``text`` can be the id of a connection or a stream, or the name of a room, at a media service.

    A service's own ids are UUIDs and the like, and many take the app's: ``bob@example.org``, ``auth0|123``, ``Zoë``. An
    id has at most 255 characters, and none of them has a meaning in URLs.
    """
    return _PLAIN.fullmatch(text) is not None


class SessionNames(Protocol):
    """Makes session ids, and tells to which issuer an id belongs.

    :param issuers: the issuers of the sessions; the first one is the default.
    :param at_services: those at media services, whose sessions are the default issuer's here.
    """

    def __init__(self, *issuers: Issuer, at_services: Iterable[Issuer] = ()) -> None: ...

    @property
    def issuers(self) -> tuple[str, ...]:
        """The ids of the issuers, the default one first."""

    def issuer(self, api_key: str | None) -> str:
        """Check that sessions can be created for ``api_key``, and return it; None returns the default issuer's id.

        :raises InvalidSessionOption: for another key.
        """

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """Make a new id, which nobody can guess, for a session created at ``now`` (Unix seconds).

        :param api_key: the issuer's id; the default one's unless given.
        """

    def check(self, session_id: object) -> str:
        """Check a session id, and return the id of its issuer.

        :raises InvalidSessionId: for an id that cannot belong to one of the issuers.
        """

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the id."""

    def owner(self, session_id: object) -> str:
        """The id of the issuer to which an id belongs, whoever made the id: :meth:`check` without proof.

        :raises InvalidSessionId: for an id that is malformed, or of none of the issuers.
        """

    def vouch(self, session_id: str) -> None:
        """Have :meth:`check` accept an id of a session that the store knows, until the keys change."""

    def made_at(self, session_id: str) -> float | None:
        """The time at which an id says that it was made, in Unix seconds, without proof; None if it does not say."""


class OpenTokIds:
    """Makes tagged session ids, and detects made-up ones without a look-up.

    An id is ``1_`` (relayed) or ``2_`` (routed) and the base64url of ``1~key~location~milliseconds~random~media~~``.
    The random part ends in a tag: HMAC-SHA256 over the rest of the id, with a key derived from the signing API secret.
    An id is genuine if any key of the issuer's ring made its tag. Others are accepted if somebody vouches for them: the
    tag of a session may be older than all keys of the ring.

    :param issuers: the issuers of the ids; the first one is the default.
    :param at_services: those at media services: the ids that name them are the default issuer's here.
    """

    __slots__ = ("_elsewhere", "_first", "_issuers", "_remembered")

    def __init__(self, *issuers: Issuer, at_services: Iterable[Issuer] = ()) -> None:
        self._first = issuers[0].id
        self._issuers = {issuer.id: issuer for issuer in issuers}
        self._elsewhere = {issuer.id: issuer for issuer in at_services if issuer.id not in self._issuers}
        # For each id its issuer, and the ring that checked it: after a change of keys the id is checked again.
        self._remembered: dict[str, tuple[str, Issuer, KeyRing]] = {}

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """Make a new id for a session created at ``now`` (Unix seconds).

        Its location stays empty, as in the service's own ids, because every participant can read the id.

        :param api_key: the issuer's id; the default one's unless given.
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
        """The ids of the issuers, the default one first."""
        return tuple(self._issuers)

    def issuer(self, api_key: str | None) -> str:
        """Check that sessions can be created for ``api_key``, and return it; None returns the default issuer's id.

        :raises InvalidSessionOption: for another key.
        """
        if api_key is None:
            return self._first
        if not isinstance(api_key, str) or api_key not in self._issuers:
            raise _unknown_issuer(api_key)
        return api_key

    def check(self, session_id: object) -> str:
        """The API key of an id that this kit made, or that the service made for the same key (without a tag).

        :raises InvalidSessionId: for an id that is malformed, for another API key, or made up.
        """
        remembered = self._remembered.get(session_id) if isinstance(session_id, str) else None
        if remembered is not None:
            owner, issuer, ring = remembered
            if issuer.ring is ring:
                return owner
        text = _text(session_id)
        issuer, ring = self._examine(text)
        return self._remember(text, issuer, ring)

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the id."""
        try:
            self.check(session_id)
        except InvalidSessionId:
            return False
        return True

    def owner(self, session_id: object) -> str:
        """The API key of an id, whoever made the id.

        :raises InvalidSessionId: for an id that is malformed, or of none of the issuers.
        """
        remembered = self._remembered.get(session_id) if isinstance(session_id, str) else None
        if remembered is not None:
            return remembered[0]  # whatever the ring is now: the owner of an id never changes
        try:
            return self.check(session_id)  # which remembers it
        except InvalidSessionId:
            return self._here(self._owner(_decoded(_text(session_id))))

    def vouch(self, session_id: str) -> None:
        """Have :meth:`check` accept an id of a session that the store knows, until the keys change."""
        issuer = self._owner(_decoded(session_id))
        self._remember(session_id, issuer, issuer.ring)

    def made_at(self, session_id: str) -> float | None:
        """The time in an id with a tag, in Unix seconds, whoever made the id; None if it has none."""
        try:
            text = _decoded(_text(session_id))
            self._owner(text)
            return int(text.split("~", 4)[3]) / 1000 if _TAGGED.search(text) else None
        except ValueError:  # InvalidSessionId is one
            return None

    def _remember(self, session_id: str, issuer: Issuer, ring: KeyRing) -> str:
        """Remember who made an id, and return the issuer to which it belongs."""
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        owner = self._here(issuer)
        self._remembered[session_id] = owner, issuer, ring
        return owner

    def _here(self, issuer: Issuer) -> str:
        """The issuer to which the ids of an issuer belong."""
        return issuer.id if issuer.id in self._issuers else self._first

    def _owner(self, text: str) -> Issuer:
        api_key = text.split("~", 2)[1]
        issuer = self._issuers.get(api_key) or self._elsewhere.get(api_key)
        if issuer is None:
            # The caller may be anybody, so with several projects the message names none.
            own = f"this kit's is {self._first!r}" if len(self._issuers) == 1 else "it is none of this kit's"
            raise InvalidSessionId(
                f"session_id belongs to another API key, {shown_key(api_key)}; "
                f"{own}: sessions and tokens need the same project's key and secret"
            )
        return issuer

    def _examine(self, session_id: str) -> tuple[Issuer, KeyRing]:
        text = _decoded(session_id)
        issuer = self._owner(text)
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


def _text(session_id: object) -> str:
    if not isinstance(session_id, str):
        raise InvalidSessionId(
            f"session_id is {shown(session_id)}; expected a string, as create_session(…).session_id gives"
        )
    return session_id


def key_in(session_id: str) -> str | None:
    """The API key, or the application's id, that an OpenTok id names, without proof; None in an id of another form."""
    try:
        return _decoded(session_id).split("~", 2)[1]
    except InvalidSessionId:
        return None


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
    """Session ids that are plain room names, as in LiveKit and Jitsi: ``physics-1``, ``école``.

    A name that the kit makes has 128 random bits. Every other well-formed name is accepted, too: only the store knows
    which rooms exist. Names are compared exactly; use lower case alone for a service that ignores case.

    :param issuer: the only issuer, because a name does not carry one.
    :param at_services: not looked at, for the same reason.
    """

    __slots__ = ("_issuer",)

    def __init__(self, issuer: Issuer, *further: Issuer, at_services: Iterable[Issuer] = ()) -> None:
        if further:
            raise ConfigurationError("plain names of sessions do not say of which project they are; leave out projects")
        self._issuer = issuer.id

    @property
    def issuers(self) -> tuple[str, ...]:
        """The id of the issuer."""
        return (self._issuer,)

    def issuer(self, api_key: str | None) -> str:
        """The issuer's id.

        :raises InvalidSessionOption: if ``api_key`` is another one.
        """
        if api_key is not None and api_key != self._issuer:
            raise _unknown_issuer(api_key)
        return self._issuer

    def make(self, media_mode: MediaMode, now: float, api_key: str | None = None) -> str:
        """Make a new name of 32 hexadecimal digits."""
        self.issuer(api_key)
        return os.urandom(16).hex()

    def check(self, session_id: object) -> str:
        """The issuer's id, for a well-formed name: one of :func:`is_plain_id`, 1 to 255 bytes of UTF-8, in NFC.

        :raises InvalidSessionId: for any other name.
        """
        problem = _problem_with_name(session_id)
        if problem is not None:
            raise InvalidSessionId(f"session_id {problem}")
        return self._issuer

    def accepts(self, session_id: object) -> bool:
        """Whether :meth:`check` accepts the name."""
        return _problem_with_name(session_id) is None

    def owner(self, session_id: object) -> str:
        """See :meth:`check`: a name carries no proof."""
        return self.check(session_id)

    def vouch(self, session_id: str) -> None:
        """Nothing: every well-formed name is accepted."""

    def made_at(self, session_id: str) -> float | None:
        """None: a name does not carry the time of its making."""
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
    message = problem if around is None else f"it has {around}; pass the id alone"
    return InvalidSessionId(f"session_id is not well formed: {message}")


def _base32(data: bytes) -> str:
    return b32encode(data).decode("ascii").lower()
