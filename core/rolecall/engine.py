"""The logic of a kit, written once: what may wait is ``async``, and a driver says how it waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from hashlib import sha256
from typing import Final

from . import voting
from .driver import Driver
from .errors import (
    InsufficientRole,
    InvalidData,
    MalformedToken,
    RevokedToken,
    SessionEnded,
    SessionNotFound,
    WrongSession,
)
from .formats import Format
from .hookspecs import AccessRequest, Actor, SessionRequest, TokenRequest
from .http.messages import Request
from .jws import MAX_TOKEN_LENGTH, raw_token
from .plugins import Implementation, Plugins
from .policy import Allow, narrowed_capabilities, narrowed_expiry, narrowed_role, replaced_data
from .roles import Requirement, RoleTable
from .sessions import SessionIds, SessionRecord, check_properties
from .stores import Store
from .tokens import ClaimRules, ExpireTime, Grant, TokenOptions, check_options

_TRUSTED: Final = Allow(reason="the server's own code asks")
_ROLE_SUFFICES: Final = Allow(reason="the token's role suffices")
_MAX_VERIFIED: Final = 4096


class VerifiedTokens:
    """Grants of tokens that were verified before, by the SHA-256 of the token. It holds no token.

    Two generations: when the young one is full it becomes the old one, and what was not asked for since is forgotten.
    A hit is one look-up, with no lock and no list to reorder.
    """

    __slots__ = ("_old", "_size", "young")

    def __init__(self, size: int = _MAX_VERIFIED) -> None:
        self._size = size // 2
        #: Where a hit is found.
        self.young: dict[bytes, Grant] = {}
        self._old: dict[bytes, Grant] = {}

    def recall(self, key: bytes) -> Grant | None:
        """A grant that was last asked for a generation ago; it is young again."""
        grant = self._old.get(key)
        if grant is not None:
            self.keep(key, grant)
        return grant

    def keep(self, key: bytes, grant: Grant) -> None:
        if len(self.young) >= self._size:
            self._old, self.young = self.young, {}
        self.young[key] = grant


class State:
    """What the two engines of one kit share."""

    def __init__(
        self,
        *,
        session_ids: SessionIds,
        store: Store,
        roles: RoleTable,
        rules: ClaimRules,
        mint: Format,
        accept: tuple[Format, ...],
        plugins: Plugins,
        clock: Callable[[], float],
        deadline: float,
    ) -> None:
        self.session_ids = session_ids
        self.store = store
        self.roles = roles
        self.rules = rules
        self.mint = mint
        self.accept = accept
        self.plugins = plugins
        self.clock = clock
        self.deadline = deadline
        self.verified = VerifiedTokens()

    def read_token(self, token: object, session_id: str | None) -> Grant:
        """The grant of a token that is good in itself; whether its session has ended is for the store to say."""
        raw = raw_token(token)
        now = self.clock()
        key = sha256(raw).digest()
        grant = self.verified.young.get(key) or self.verified.recall(key)
        if grant is None:
            grant = self._verify(raw, now)
            self.verified.keep(key, grant)
        elif now >= grant.expires_at:
            self.rules.check_expiry(grant.expires_at, now)
        if session_id is not None and grant.session_id != session_id:
            raise WrongSession("the token is for another session than the one asked for")
        return grant

    def _verify(self, token: bytes, now: float) -> Grant:
        for candidate in self.accept:
            if candidate.recognizes(token):
                return candidate.verify(token, now)
        raise MalformedToken("the token has none of the forms that this kit accepts")


class Engine:
    """Everything that a kit does, under one driver.

    ``http`` is the request from outside that asks; None means that the server's own code does, which is trusted.
    """

    __slots__ = ("_driver", "_reads_inline", "_writes_inline", "asks_about_access", "state")

    def __init__(self, state: State, driver: Driver, *, blocks: bool) -> None:
        self.state = state
        self._driver = driver
        # Where blocking is no harm, or the store does not block, its methods are called directly.
        self._reads_inline = blocks or state.store.reads_inline
        self._writes_inline = blocks or state.store.writes_inline
        #: Whether a policy votes on entering guarded routes.
        self.asks_about_access = bool(state.plugins.vote_access)

    async def identify(self, http: Request) -> Actor | None:
        return await voting.identify(self.state.plugins.identify, http, self._driver, self.state.deadline)

    async def create_session(
        self,
        location: object,
        media_mode: object,
        archive_mode: object,
        e2ee: object,
        http: Request | None = None,
    ) -> SessionRecord:
        state = self.state
        properties = check_properties(location, media_mode, archive_mode, e2ee)
        if http is not None or state.plugins.vote_session:
            actor = None if http is None else await self.identify(http)
            request = SessionRequest(*properties, actor=actor, http=http)
            await self._vote(state.plugins.vote_session, request, _TRUSTED if http is None else None)
        place, media, archive, encrypted = properties
        now = state.clock()
        session_id = state.session_ids.make(place, media, now)
        record = SessionRecord(session_id, place, media, archive, encrypted, now)
        if self._writes_inline:
            state.store.add_session(record)
        else:
            await self._driver.run(state.store.add_session, record)
        return record

    async def get_session(self, session_id: str) -> SessionRecord:
        self.state.session_ids.check(session_id)
        record = await self._find_session(session_id)
        if record is None:
            raise SessionNotFound("the store knows no session of this id")
        return record

    async def end_session(self, session_id: str) -> None:
        state = self.state
        state.session_ids.check(session_id)
        if self._writes_inline:
            state.store.end_session(session_id, state.clock())
        else:
            await self._driver.run(state.store.end_session, session_id, state.clock())

    async def generate_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        http: Request | None = None,
    ) -> tuple[str, TokenOptions]:
        """The token, and what it says."""
        state = self.state
        state.session_ids.check(session_id)
        now = state.clock()
        options = check_options(session_id, state.roles.get(role), expire_time, data, layout, now)
        if http is None and not state.plugins.vote_token:
            # No policy to ask: the trusted caller only needs a session that is open.
            if state.store.has_ended(session_id):
                raise _ended()
        else:
            options = await self._voted_options(options, now, http)
        token = state.mint.mint(options)
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidData(
                f"data and layout make a token of {len(token)} characters, and at most {MAX_TOKEN_LENGTH} are read; "
                "control characters, and in T1 all but ASCII, take several each: "
                "send an identifier, and keep the rest in the app"
            )
        return token, options

    def verify_token(self, token: object, session_id: str | None = None) -> Grant:
        """Not async: nothing in it waits, whatever the store."""
        grant = self.state.read_token(token, session_id)
        if self.state.store.has_ended(grant.session_id):
            raise RevokedToken("the token's session has ended")
        return grant

    def check_token(self, token: str, requirement: Requirement, session_id: str | None) -> Grant:
        """The grant of a token that is enough for a guarded route, before any policy is asked.

        :param session_id: the session that the route is about; None where it is about none.
        :raises RolecallError: if it is not enough.
        """
        grant = self.verify_token(token, session_id)
        if not requirement.capabilities <= grant.capabilities:
            raise InsufficientRole(
                f"{requirement.scope} is required; the token's role is {grant.role}", requirement.scope
            )
        return grant

    async def vote_on_access(
        self, grant: Grant, requirement: Requirement, session_id: str | None, http: Request
    ) -> Grant:
        """What the policies leave of a grant that is enough for a guarded route.

        :raises RolecallError: if they deny, or leave too little.
        """
        state = self.state
        now = state.clock()
        request = AccessRequest(grant, requirement, session_id, now, http)
        limits = await self._vote(state.plugins.vote_access, request, _ROLE_SUFFICES)
        issued_at = now if grant.issued_at is None else grant.issued_at
        narrowed = grant._replace(
            role=narrowed_role(grant.role, limits, state.roles),
            capabilities=narrowed_capabilities(grant.capabilities, limits, state.roles),
            expires_at=narrowed_expiry(grant.expires_at, limits, issued_at, now),
        )
        if not requirement.capabilities <= narrowed.capabilities:
            raise InsufficientRole(
                f"{requirement.scope} is required; the policies of this service leave {narrowed.role}",
                requirement.scope,
            )
        return narrowed

    async def _voted_options(self, options: TokenOptions, now: float, http: Request | None) -> TokenOptions:
        state = self.state
        session = await self._find_session(options.session_id)
        if session is None and http is not None:
            # From outside an id is not enough, not even one of ours: a session that is not known cannot be open.
            raise SessionNotFound("the store knows no session of this id")
        if state.store.has_ended(options.session_id):
            raise _ended()
        actor = None if http is None else await self.identify(http)
        request = TokenRequest(
            session_id=options.session_id,
            session=session,
            role=options.role,
            expires_at=options.expires_at,
            data=options.data,
            layout=options.layout,
            now=now,
            actor=actor,
            http=http,
        )
        limits = await self._vote(state.plugins.vote_token, request, _TRUSTED if http is None else None)
        return options._replace(
            role=narrowed_role(options.role, limits, state.roles),
            expires_at=narrowed_expiry(options.expires_at, limits, options.issued_at, now),
            data=replaced_data(options.data, limits),
        )

    async def _vote(
        self, implementations: Collection[Implementation], request: object, built_in: Allow | None
    ) -> tuple[Allow, ...]:
        """The votes for a request, with their limits.

        :raises RolecallError: if it is refused.
        """
        state = self.state
        decision = await voting.vote(implementations, request, built_in, state.roles, self._driver, state.deadline)
        if refusal := decision.refusal():
            raise refusal
        return decision.limits

    async def _find_session(self, session_id: str) -> SessionRecord | None:
        if self._reads_inline:
            return self.state.store.get_session(session_id)
        return await self._driver.run(self.state.store.get_session, session_id)


def _ended() -> SessionEnded:
    return SessionEnded("the session has ended: it issues no tokens")
