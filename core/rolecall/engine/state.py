"""The state that the two engines of a kit share: keys, formats, store, plugins, settings, and verified tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, nextafter
from typing import TYPE_CHECKING, ClassVar

from ..encoding.jws import raw_token, what_ails
from ..errors import ExpiredToken, InvalidSessionId, MalformedToken, WrongSession
from ..formats import TokenFormat, is_own, unaccepted
from ..formats.claims import RESERVED, ClaimRules, wrong_claim
from ..keys import KeyRing
from ..keys.issuers import Issuer
from ..plugins import Plugins
from ..roles import RoleTable
from ..session_ids import SessionNames
from ..stores import Store
from ..stores.checking import is_async
from ..tokens import MAX_TOTAL_LIFE, Grant, TokenId, TokenOptions
from ..wording import moment, shown
from .housekeeping import Housekeeper, Retention
from .revisions import Revisions
from .tickets import MediaServices
from .verified import END, Verified, VerifiedTokens

if TYPE_CHECKING:
    from ..driver import Driver
    from ..stores.watching import StoreWatch
    from .workers import LoneStore


class State:
    """The state that the two engines of one kit share."""

    #: Whether :meth:`read_patiently` may wait.
    waits_for_keys: ClassVar[bool] = False

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
        is_immediate: bool,
        trace_log: bool,
        retention: Retention,
        signer: Issuer | None = None,
        names_actor: bool = True,
        total_life: float = MAX_TOTAL_LIFE,
        keeps_ledger: bool = False,
        media: MediaServices | None = None,
    ) -> None:
        self.api_key = api_key
        self.session_ids = session_ids
        self.store = store
        #: Whether more was revoked, and who is to be told of it.
        self.revisions = Revisions(store)
        #: Whether the store itself is asked at each check of a grant or session, because it does not know at once what
        #: other processes have ended.
        self.asks_store = is_immediate and not getattr(store, "immediate", False)
        self.roles = roles
        self.rules = rules
        self.mint = mint
        #: The accepted formats, by name.
        self.formats = formats
        own = [form for form in formats.values() if is_own(form)]
        self._reads_rest = next((form for form in own if form._reads_rest), None)
        self._asked = tuple(form for form in formats.values() if form is not self._reads_rest)
        # The format of all tokens, if there is one alone.
        self._only = None if self._asked else self._reads_rest
        # Grants of the kit's own formats follow from the token alone, so they can be cached; a plugin's format may use
        # other input.
        self._remembered = frozenset(own)
        self._fingerprinted = tuple(form for form in own if type(form).fingerprint is not TokenFormat.fingerprint)
        #: The claims that no plugin may set, so that a token of one format never passes for one of another.
        media_formats = media.formats if media else ()
        self.reserved_claims = RESERVED.union(
            mint.reserved_claims, *(one.reserved_claims for one in (*formats.values(), *media_formats))
        )
        self.plugins = plugins
        self.clock = clock
        self.deadline = deadline
        self.store_timeout = store_timeout
        self.trace_log = trace_log
        #: Watches the store, if a plugin wants to be told when it is lost.
        self.watch: StoreWatch | None = None
        #: Watches for other processes, if the store is visible to this process alone.
        self.lone_store: LoneStore | None = None
        if getattr(store, "shared", True) is False:
            from .workers import LoneStore

            self.lone_store = LoneStore(session_ids, clock())
        # Is told of new tokens for sessions that the store lacks, which only another process can have created. Only for
        # a store that answers at once, because tokens are read where nothing can wait.
        answers = getattr(store, "reads_inline", False) and not is_async(store.get_session)
        self._lacking = self.lone_store if answers else None
        self.retention = retention
        #: Whether tokens say for which actor they are.
        self.names_actor = names_actor
        #: From the issue of a token to the end of its last renewal, in seconds.
        self.total_life = total_life
        #: Whether each token that is issued is kept in the store, until it expires.
        self.keeps_ledger = keeps_ledger
        #: The media services that carry its sessions.
        self.media = media or MediaServices((), rules)
        #: The issuer whose public keys others may read; None if the kit has none, or only verifies.
        self.signer = signer
        #: Has the store forget what is over; None for a store that cannot, and until the kit is made.
        self.housekeeper: Housekeeper | None = None
        self.verified = VerifiedTokens()
        #: Until when, by the monotonic clock, it is known that the keys sign and verify.
        self.keys_work_until = -inf

    def replace_ring(self, issuer: Issuer, ring: KeyRing) -> None:
        """Replace the keys of one of the kit's issuers, at once, for all code that signs or verifies for it.

        Tokens that were verified before are verified again, because the key that signed them may be gone.
        """
        issuer.ring = ring
        # In this order: a thread that still holds the old cache writes to it, and nobody reads it any more.
        self.verified = VerifiedTokens()
        self.keys_work_until = -inf

    def read_token(self, token: object, session_id: str | None) -> tuple[Grant, Verified | None]:
        """Verify a token; the store tells whether its grant was revoked.

        A token that was seen before may pass without this, by :meth:`Engine.check_token`: what takes it back replaces
        :attr:`verified`, or gives the store another revision.

        :returns: its grant, and the token as it is cached; None if it is not.
        """
        raw, now = raw_token(token), self.clock()
        text = token if type(token) is str else raw.decode()
        cache, fingerprint = self.verified, text[END]
        for form in self._fingerprinted:
            if form.recognizes(raw):
                fingerprint = form.fingerprint(raw).decode()
        verified = cache.young.get(fingerprint) or cache.old.get(fingerprint)
        if verified is not None and verified.token == text and verified.since <= now < verified.until:
            grant = verified.grant
            if fingerprint not in cache.young:
                cache.keep(fingerprint, verified)
        else:
            try:
                form = self._only or self.format_of(raw)
                grant = form.verify(raw, now)
                if self.retention.age is not None:
                    grant = self._aged(grant, self.retention.age, now)
            except MalformedToken as error:
                raise what_ails(text, unaccepted(raw, self.formats) or error) from None
            if self._lacking is not None and self.store.get_session(grant.session_id) is None:
                self._lacking.lacks(grant.session_id)
            verified = cache.take_note(fingerprint, text, grant, now) if form in self._remembered else None
        if session_id is not None and grant.session_id != session_id:
            if not isinstance(session_id, str):
                raise InvalidSessionId(f"session_id is {shown(session_id)}; expected a string: session.session_id")
            raise WrongSession("the token is for another session than the one asked for")
        return grant, verified

    async def read_patiently(
        self, token: object, session_id: str | None, driver: Driver
    ) -> tuple[Grant, Verified | None]:
        """:meth:`read_token`, which may wait for what this process does not know yet."""
        return self.read_token(token, session_id)

    def read_renewable(self, token: object, expired: ExpiredToken) -> Grant | None:
        """The grant that an expired token had; None if no renewal of it can be alive.

        :param expired: the error with which the token was refused.
        """
        ended_at = expired.expired_at
        if ended_at is None or self.clock() >= ended_at + MAX_TOTAL_LIFE:
            return None
        raw = raw_token(token)
        grant = self.format_of(raw).verify(raw, nextafter(ended_at, 0.0))
        return None if TokenId.read(grant.token_id) is None else grant

    def project_of(self, session_id: str) -> str | None:
        """The API key of the project that a session belongs to; None if it is of none of this kit's."""
        try:
            return self.session_ids.owner(session_id)
        except InvalidSessionId:
            return None

    def check_issues(self) -> None:
        """Refuse a call that creates or changes something, if this kit only verifies.

        :raises OnlyVerifies: if it does.
        """

    def try_keys(self, options: Callable[[], TokenOptions], now: float) -> None:
        """Try whether tokens can be signed and verified now; raises what goes wrong.

        :param options: makes the options of a token for the trial.
        """
        token, _ = self.mint.mint(options())
        self.mint.verify(token.encode(), now)

    def _aged(self, grant: Grant, age: float, now: float) -> Grant:
        """The grant, which ends with its session's life at the latest.

        :param age: the age at which a session is over, in seconds.
        """
        made_at = self.session_ids.made_at(grant.session_id)
        if made_at is None:
            raise wrong_claim("session_id", "an id that shows its age, because max_session_age is set")
        if now >= made_at + age:
            raise ExpiredToken(f"the token's session was over at {moment(made_at + age)}, by max_session_age")
        return grant if grant.expires_at <= made_at + age else grant._replace(expires_at=made_at + age)

    def format_of(self, token: bytes) -> TokenFormat:
        """The accepted format that recognizes a token by its content.

        :raises MalformedToken: if there is none.
        """
        for form in self._asked:
            if form.recognizes(token):
                return form
        if self._reads_rest is None:
            raise MalformedToken("the token has none of the forms that this kit accepts")
        return self._reads_rest
