"""What the two engines of a kit share: keys, formats, store, plugins and settings; and tokens that were verified."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from .errors import InvalidSessionId, MalformedToken, WrongSession, shown
from .formats import Format
from .http.credentials import Credentials
from .http.web import Web
from .jws import raw_token, what_ails
from .plugins import Plugins
from .roles import RoleTable
from .sessions import SessionIds
from .stores import Store
from .tokens import ClaimRules, Grant

if TYPE_CHECKING:
    from .http.servers import ServerCredentials
    from .workers import LoneStore

_OWN_FORMATS: Final = f"{__package__}.formats."
_MAX_VERIFIED: Final = 4096
_MAX_CAME: Final = 4 * _MAX_VERIFIED
#: The end of a token is a piece of its signature: enough to tell at once that it never came, and no proof that it did.
END: Final = slice(-32, None)
#: Its partner id and signature are at a T1 token's beginning.
T1_SIGNATURE: Final = slice(4, 160)
# Seconds by which two threads may look at the clock out of order.
_CLOCK_JITTER: Final = 1.0


class VerifiedTokens:
    """Grants of tokens that were verified before. It holds no token: of each the SHA-256, and the last characters.

    A grant is kept when its token comes for the second time: many tokens come once, to join, and would push out those
    that come with every request. Two generations: when the young one is full it becomes the old one, and what was not
    asked for since is forgotten. No lock, and no list to reorder.
    """

    __slots__ = ("_came", "_size", "old", "young")

    def __init__(self, size: int = _MAX_VERIFIED) -> None:
        self._size = size // 2
        #: Where a hit is found: the SHA-256 and the grant, by the token's end.
        self.young: dict[bytes, tuple[bytes, Grant]] = {}
        #: What was last asked for a generation ago.
        self.old: dict[bytes, tuple[bytes, Grant]] = {}
        self._came: set[bytes] = set()

    def take_note(self, token: bytes, end: bytes, grant: Grant) -> None:
        """Keep the grant of a token that was verified, unless it comes for the first time."""
        if end in self._came:
            self.keep(end, (sha256(token).digest(), grant))
            return
        if len(self._came) >= _MAX_CAME:
            self._came = set()
        self._came.add(end)

    def keep(self, end: bytes, kept: tuple[bytes, Grant]) -> None:
        """Put what is kept among the young."""
        if len(self.young) >= self._size:
            self.old, self.young = self.young, {}
        self.young[end] = kept


class State:
    """What the two engines of one kit share."""

    def __init__(
        self,
        *,
        api_key: str,
        session_ids: SessionIds,
        store: Store,
        roles: RoleTable,
        rules: ClaimRules,
        mint: Format,
        accept: tuple[Format, ...],
        plugins: Plugins,
        clock: Callable[[], float],
        deadline: float,
        store_timeout: float,
        trace_log: bool,
        web: Web,
        credentials: Credentials,
        servers: ServerCredentials,
    ) -> None:
        self.api_key = api_key
        self.session_ids = session_ids
        self.store = store
        self.roles = roles
        self.rules = rules
        self.mint = mint
        self.accept = accept
        # What the kit's own formats grant follows from the token alone, and can be remembered; a plugin's may look at
        # more.
        self._accept = tuple((one, type(one).__module__.startswith(_OWN_FORMATS)) for one in accept)
        self.plugins = plugins
        self.clock = clock
        self.deadline = deadline
        self.store_timeout = store_timeout
        self.trace_log = trace_log
        self.web = web
        self.credentials = credentials
        self.servers = servers
        #: Watches for other processes, where the store is this one's alone.
        self.lone_store: LoneStore | None = None
        if getattr(store, "shared", True) is False:
            from .workers import LoneStore

            self.lone_store = LoneStore(session_ids, clock())
        self.verified = VerifiedTokens()
        self._last_seen = 0.0

    def read_token(self, token: object, session_id: str | None) -> Grant:
        """The grant of a token that is good in itself; whether its session has ended is for the store to say."""
        raw = raw_token(token)
        now = self.clock()
        if now > self._last_seen:
            self._last_seen = now
        elif now < self._last_seen - _CLOCK_JITTER:
            # Set back: what was valid then may be from the future now.
            self.verified = VerifiedTokens()
            self._last_seen = now
        # Of a JWT the end; a T1 token, which no JWT begins like, ends in what it says, and not in its signature.
        verified, end = self.verified, raw[T1_SIGNATURE] if raw[:1] == b"T" else raw[END]
        kept = verified.young.get(end)
        if kept is None:
            kept = verified.old.get(end)
            if kept is not None:
                verified.keep(end, kept)
        if kept is not None and kept[0] == sha256(raw).digest():
            grant = kept[1]
            if now >= grant.expires_at:
                self.rules.check_expiry(grant.expires_at, now)
        else:
            try:
                for kind, lasts in self._accept:
                    if kind.recognizes(raw):
                        grant = kind.verify(raw, now)
                        self._look_for_others(grant.session_id)
                        if lasts:
                            verified.take_note(raw, end, grant)
                        break
                else:
                    if raw.startswith(b"T1=="):
                        raise MalformedToken(
                            "the token is a T1 token, the older form, which this kit does not accept; "
                            "a kit for SDKs that still make it is told so: accept=['opentok', 't1']"
                        )
                    raise MalformedToken("the token has none of the forms that this kit accepts")
            except MalformedToken as error:
                raise what_ails(token, error) from None
        if session_id is not None and grant.session_id != session_id:
            if not isinstance(session_id, str):
                raise InvalidSessionId(f"session_id is {shown(session_id)}; expected a string: session.session_id")
            raise WrongSession("the token is for another session than the one asked for")
        return grant

    def _look_for_others(self, session_id: str) -> None:
        """Take note of a token, seen for the first time, of a session that another process must have created."""
        store = self.store
        if self.lone_store is not None and store.reads_inline and store.get_session(session_id) is None:
            self.lone_store.lacks(session_id)
