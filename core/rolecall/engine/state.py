"""What the two engines of a kit share: keys, formats, store, plugins and settings; and tokens that were verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ..encoding.jws import raw_token, what_ails
from ..errors import InvalidSessionId, MalformedToken, WrongSession
from ..formats import TokenFormat, is_own, unaccepted
from ..formats.claims import RESERVED, ClaimRules
from ..keys import KeyRing
from ..keys.issuers import Issuer
from ..plugins import Plugins
from ..roles import RoleTable
from ..session_ids import SessionNames
from ..stores import Store
from ..stores.checking import is_async
from ..stores.liveness import Liveness
from ..tokens import Grant
from ..wording import shown
from .verified import END, VerifiedTokens

if TYPE_CHECKING:
    from .workers import LoneStore

# Seconds by which two threads may look at the clock out of order.
_CLOCK_JITTER: Final = 1.0


class State:
    """What the two engines of one kit share."""

    def __init__(
        self,
        *,
        api_key: str,
        session_ids: SessionNames,
        store: Store,
        roles: RoleTable,
        rules: ClaimRules,
        mint: TokenFormat,
        formats: Mapping[str, TokenFormat],
        plugins: Plugins,
        clock: Callable[[], float],
        deadline: float,
        store_timeout: float,
        trace_log: bool,
    ) -> None:
        self.api_key = api_key
        self.session_ids = session_ids
        self.store = store
        #: Says whether a grant, or a session, still stands.
        self.liveness = Liveness(store)
        self.roles = roles
        self.rules = rules
        self.mint = mint
        #: The formats that are accepted, by name.
        self.formats = formats
        own = [form for form in formats.values() if is_own(form)]
        self._reads_rest = next((form for form in own if form._reads_rest), None)
        self._asked = tuple(form for form in formats.values() if form is not self._reads_rest)
        # What the kit's own formats grant follows from the token alone, and can be remembered; a plugin's may look at
        # more.
        self._remembered = frozenset(own)
        self._fingerprinted = tuple(form for form in own if type(form).fingerprint is not TokenFormat.fingerprint)
        #: The claims that no plugin may set: a token of one format must not pass for one of another.
        self.reserved_claims = RESERVED.union(mint.reserved_claims, *(one.reserved_claims for one in formats.values()))
        self.plugins = plugins
        self.clock = clock
        self.deadline = deadline
        self.store_timeout = store_timeout
        self.trace_log = trace_log
        #: Watches for other processes, where the store is this one's alone.
        self.lone_store: LoneStore | None = None
        if getattr(store, "shared", True) is False:
            from .workers import LoneStore

            self.lone_store = LoneStore(session_ids, clock())
        # Only where it answers at once, because tokens are read where nothing can wait.
        self._looks_for_others = (
            self.lone_store is not None and getattr(store, "reads_inline", False) and not is_async(store.get_session)
        )
        self.verified = VerifiedTokens()
        self._last_seen = 0.0

    def replace_ring(self, issuer: Issuer, ring: KeyRing) -> None:
        """Give one of the kit's issuers other keys, at once and for all that signs or verifies for it.

        Tokens that were verified before are verified again: the key that signed them may be gone.
        """
        issuer.ring = ring
        # In this order: whoever still has the old grants in hand puts theirs where nobody looks any more.
        self.verified = VerifiedTokens()

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
        verified, fingerprint = self.verified, raw[END]
        for form in self._fingerprinted:
            if form.recognizes(raw):
                fingerprint = form.fingerprint(raw)
        kept = verified.young.get(fingerprint)
        if kept is None:
            kept = verified.old.get(fingerprint)
            if kept is not None:
                verified.keep(fingerprint, kept)
        if kept is not None and kept[0] == sha256(raw).digest():
            grant = kept[1]
            if now >= grant.expires_at:
                self.rules.check_expiry(grant.expires_at, now)
        else:
            try:
                form = self.format_of(raw)
                grant = form.verify(raw, now)
            except MalformedToken as error:
                raise what_ails(token, unaccepted(raw, self.formats) or error) from None
            self._look_for_others(grant.session_id)
            if form in self._remembered:
                verified.take_note(raw, fingerprint, grant)
        if session_id is not None and grant.session_id != session_id:
            if not isinstance(session_id, str):
                raise InvalidSessionId(f"session_id is {shown(session_id)}; expected a string: session.session_id")
            raise WrongSession("the token is for another session than the one asked for")
        return grant

    def format_of(self, token: bytes) -> TokenFormat:
        """The accepted format that a token is of, by what it holds.

        :raises MalformedToken: if it is of none.
        """
        for form in self._asked:
            if form.recognizes(token):
                return form
        if self._reads_rest is None:
            raise MalformedToken("the token has none of the forms that this kit accepts")
        return self._reads_rest

    def _look_for_others(self, session_id: str) -> None:
        """Take note of a token, seen for the first time, of a session that another process must have created."""
        if self.lone_store is not None and self._looks_for_others and self.store.get_session(session_id) is None:
            self.lone_store.lacks(session_id)
