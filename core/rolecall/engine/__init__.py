"""The logic of a kit, written once: functions that may wait are ``async``, and a driver decides how they wait."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import inf, nextafter
from os import urandom
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ..driver import Driver
from ..encoding.jws import MAX_TOKEN_LENGTH
from ..errors import (
    Excluded,
    ExpiredToken,
    InsufficientRole,
    InvalidData,
    InvalidRole,
    InvalidSessionId,
    InvalidToken,
    MissingCredential,
    NoLedger,
    NotInStep,
    PolicyDenied,
    PolicyFault,
    RevokedToken,
    RolecallError,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
    Unavailable,
    UnknownKey,
    WrongActor,
    WrongSession,
)
from ..explain import TOKEN_STEPS, Explanation, Trace, circumstances, failed_step, log_explanation
from ..formats import TokenFormat
from ..hookspecs import AccessRequest, Asked, ModerationRequest, Operation, SessionRequest, TokenRequest
from ..media.backend import MediaBackend, Ticket
from ..media.webhooks import Notice
from ..plugins import Implementation
from ..plugins import asking as voting
from ..policy import Allow, Limits, Scope, narrow, outlived
from ..request import Actor, Request
from ..roles import Capability, Requirement, Role, RoleTable
from ..sessions import MediaMode, SessionProperties, SessionRecord
from ..stores.calling import Calls
from ..stores.leases import Full, Slot
from ..stores.ledger import IssuedToken, TokenPage, TokensFound
from ..stores.listing import Page, cursor_of
from ..stores.liveness import ImmediateLiveness, Liveness
from ..stores.upkeep import Over
from ..tokens import ExpireTime, Grant, TokenOptions, check_options, leeway_used
from ..wording import moment, shown
from .renewing import Wishes, check_renewable, check_same_actor, part_of_life, renewed_already, renewed_options
from .state import State
from .tickets import no_ticket
from .verified import END, NEVER, Verified

if TYPE_CHECKING:
    from datetime import datetime

    from ..moderation import Act, Exclude, Result
    from ..plugins.operations import Operations
    from ..revocations import Exclusion
    from .taking_back import TakingBack

#: Finds the token of a request, and its place, which is None for a token that was passed in. Raises if there is none.
Credential: TypeAlias = Callable[[], tuple[str, str | None]]

_TRUSTED: Final = Allow(reason="the server's own code asks")
_EVERYTHING: Final = Scope(None, frozenset(Capability), inf)
_TO_CONNECT: Final = Requirement.of_capability(Capability.CONNECT)
_ROLE_SUFFICES: Final = Allow(reason="the token's role suffices")
# How long a used id is remembered after it expires (seconds): for delayed requests, and clocks that are set back.
_KEPT_LONGER: Final = 3600.0
# The pages of a store after which a page of a project's sessions ends, though it is not full.
_MOST_PAGES: Final = 20
# The seconds for which keys that have worked need not be tried again.
_KEYS_TRIED_EVERY: Final = 1.0
_NO_REQUEST: Final = Request("GET", "")
_NOTHING_RESERVED: Final = nullcontext()


def _no_revision() -> None:
    """The revision of a store that has none."""


class Call:
    """One call of an engine: its caller, and its end.

    As an async context manager (see :meth:`Engine._calling`) it logs the trace and tells the event at its end, each
    once.

    :param http: the request from outside; None for the server's own code, which is trusted.
    :param trace: collects the steps, if they are needed.
    :param dry_run: whether it is only to be explained.
    :param actor: for whom the server's own code makes it, if it says so.
    """

    __slots__ = (
        "_about",
        "_engine",
        "_event",
        "_id",
        "_refused",
        "_subject",
        "actor",
        "bearer",
        "dry_run",
        "http",
        "nobody",
        "session_id",
        "trace",
    )

    def __init__(
        self,
        http: Request | None = None,
        trace: Trace | None = None,
        *,
        dry_run: bool = False,
        actor: Actor | None = None,
    ) -> None:
        self.http = http
        self.trace = trace
        self.dry_run = dry_run
        #: Who makes the call, after an adapter or a plugin has identified somebody, or the server's own code has.
        self.actor: Actor | None = actor if http is None else http.actor
        #: The id of the actor that the call's verified token is for, if it says so.
        self.bearer: str | None = None
        #: Whether the framework, or plugins, tried to identify the caller, without success.
        self.nobody = http is not None and http.anonymous
        self._id: str | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether the server's own code makes the call, and nobody wants it explained."""
        return self.http is None and self.trace is None

    @property
    def actor_id(self) -> str | None:
        """The id of whoever makes the call: of the identified actor, or of the one that its token is for."""
        return self.bearer if self.actor is None else self.actor.id

    @property
    def id(self) -> str:
        """The id that links requests to policies with the event about the call's end."""
        if self._id is None:  # made on demand: most calls of the server's own code are shown to nobody
            self._id = urandom(8).hex()
        return self._id

    def asked(self, now: float) -> tuple[float, Actor | None, Request | None, str, bool]:
        """The common fields of all requests to plugins, see :class:`~rolecall.hookspecs.Asked`."""
        return now, self.actor, self.http, self.id, self.dry_run

    def begin(
        self,
        engine: Engine,
        subject: str,
        session_id: str | None,
        refused: str | None,
        about: dict[str, Any],
    ) -> Call:
        """Start this call.

        :param session_id: the session of the call.
        :param refused: the event for a refusal, if there is one.
        :param about: the event's members, besides those that all events have.
        """
        self._engine, self._subject, self._refused, self._about = engine, subject, refused, about
        self.session_id = session_id
        self._event: str | None = None
        return self

    def is_about(self, **about: Any) -> None:
        """Add members to the event for the call's end, whichever it will be."""
        self._about |= about

    def ends_in(self, event: str | None, **about: Any) -> None:
        """Set the event for a successful end, if there is one.

        :param about: members that replace, or extend, those that were set at the start.
        """
        self._event = event
        self._about |= about

    async def __aenter__(self) -> Call:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not self._engine.reports:
            return
        if error is None:
            await self._engine.report(self, self._subject, None, self._event, self._about)
        elif isinstance(error, RolecallError):
            await self._engine.report(self, self._subject, error, self._refused, {**self._about, "code": error.code})


class Engine:
    """The logic of a kit, under one driver."""

    __slots__ = (
        "_driver",
        "_issues_at_once",
        "_liveness",
        "_revision",
        "_store",
        "blocks",
        "decides_at_once",
        "reports",
        "state",
        "verifies_at_once",
    )

    def __init__(self, state: State, driver: Driver, *, blocks: bool) -> None:
        self.state = state
        self._driver = driver
        #: Whether it blocks its thread when it waits.
        self.blocks = blocks
        plugins = state.plugins
        self._store = Calls(
            state.store,
            driver,
            lambda: state.store_timeout,
            blocks=blocks,
            watch=state.watch,
            around=None if plugins.operations is None else partial(_around_store, plugins.operations),
        )
        self._liveness = (ImmediateLiveness if state.asks_store else Liveness)(
            state.store,
            state.clock,
            state.project_of,
            self._store.look_up_ended,
            partial(self._store.further, "get_marks"),
        )
        # The store's revision, without which each check asks for what was revoked.
        self._revision: Callable[[], object] = getattr(state.store, "revision", _no_revision)
        #: Whether :meth:`verify_token` alone verifies, and nobody is told of a refusal.
        self.verifies_at_once = not plugins.on_event and not state.asks_store
        #: Whether nothing has to be asked or told about a token that the server's own code mints.
        self._issues_at_once = (
            plugins.leaves_tokens_alone and self.verifies_at_once and not state.trace_log and not state.keeps_ledger
        )
        #: Whether the ends of calls are reported, in the log of traces or by events.
        self.reports = bool(plugins.on_event) or state.trace_log
        #: Whether :meth:`check_token` alone decides on entering a guarded route.
        self.decides_at_once = not plugins.vote_access and not state.trace_log and not state.asks_store

    async def create_session(
        self, properties: SessionProperties, api_key: str | None = None, call: Call | None = None
    ) -> SessionRecord:
        """Create a session.

        :param properties: the requested properties, unchecked.
        :param api_key: the project of the session; the first one unless given.
        """
        self.state.check_issues()
        await self._driver.take_turn()
        async with self._calling("session", call, refused="session_refused") as call:
            checked = self.state.media.chosen(properties.checked())
            owner = self.state.session_ids.issuer(api_key)
            record = await self._create_session(checked, owner, call)
            call.session_id = record.session_id
            call.ends_in("session_created")
        return record

    async def get_session(self, session_id: str) -> SessionRecord:
        await self.check_session_id(session_id)
        record = await self._find_session(session_id)
        if record is None:
            raise SessionNotFound("the store knows no session of this id")
        return record

    async def check_session_id(self, session_id: str) -> str:
        """Check a session id, and return the id of its issuer.

        An id that the store knows is good whatever its tag: the key of the tag may be retired, or be new to other
        workers alone. The store is asked only where no key of the ring made the tag.

        :raises InvalidSessionId: for an id that is malformed or of no issuer, and for one that was made up.
        """
        names = self.state.session_ids
        try:
            return names.check(session_id)
        except InvalidSessionId as error:
            names.owner(session_id)
            if await self._store.get_session(session_id) is None:
                raise error from None
        names.vouch(session_id)
        return names.owner(session_id)

    async def list_sessions(self, page: Page, api_key: str | None = None) -> tuple[list[SessionRecord], str | None]:
        """The sessions of a page, and the cursor of the next page; None if there is none.

        A page may have fewer sessions than its limit, or none, though there are more: the store may be shared by
        projects that are not the caller's.

        :param api_key: only the sessions of this project; of all of the kit's unless given.
        """
        found: list[SessionRecord] = []
        pages, newest = 0, inf
        while True:
            records = _checked_records(await self._store.further("list_sessions", page))
            for record in records:
                if self._is_of(record.session_id, api_key):
                    found.append(record)
                if len(found) == page.limit:
                    return found, cursor_of(record.created_at, record.session_id)
            if len(records) < page.limit:
                return found, None
            pages, oldest = pages + 1, records[-1].created_at
            newest = records[0].created_at if pages == 1 else newest
            if pages >= _MOST_PAGES and oldest < newest:
                return found, _cursor_at(oldest, found)
            page = page._replace(after=(oldest, records[-1].session_id))

    def _is_of(self, session_id: str, api_key: str | None) -> bool:
        try:
            # Without a look at the tag: the store knows the session.
            return api_key in (None, self.state.session_ids.owner(session_id))
        except InvalidSessionId:
            return False

    async def end_session(self, session_id: str, call: Call | None = None) -> None:
        state = self.state
        state.check_issues()
        await self.check_session_id(session_id)
        if state.lone_store is not None:
            await self._find_session(session_id)  # which warns if another process created it
        own = await self._backend_of(session_id)
        await self._store.end_session(session_id, state.clock())
        if own is not None:
            from .acts import end_at_service

            owner = state.session_ids.owner(session_id)
            await end_at_service(session_id, owner, state.clock(), self._driver, state.deadline, own, self._store)
        await self._tell("session_ended", call or Call(), session_id)

    async def _backend_of(self, session_id: str) -> MediaBackend | None:
        """The media backend of a session; None if the kit has none for it."""
        media = self.state.media
        if not media.names:
            return None
        found = media.of(await self._find_session(session_id))
        return None if found is None else found[0]

    async def generate_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        call: Call | None = None,
        longest: int = MAX_TOKEN_LENGTH,
        form: TokenFormat | None = None,
    ) -> tuple[str, TokenOptions]:
        """Mint a token; return it and its options.

        :param longest: the longest token that its destination can carry, in characters.
        :param form: the format; the kit's unless given.
        """
        form = self.state.mint if form is None else form
        if self._issues_at_once and (call is None or call.is_trusted):
            try:
                issuer = self.state.session_ids.check(session_id)
            except InvalidSessionId:
                issuer = await self.check_session_id(session_id)
            options = self._options(session_id, issuer, role, expire_time, data, layout, form, self.state.clock())
            actor = None if call is None else call.actor
            if actor is not None:
                options = self._naming(actor, options)
            issue = session_id, None if actor is None else actor.id, options.issued_at
            try:
                epoch = self._liveness.check_issue(*issue, has_epoch=form.writes_epoch)
            except NotInStep:
                epoch = await self._liveness.confirm_issue(*issue, has_epoch=form.writes_epoch)
            if epoch:
                options = options._replace(epoch=epoch)
            return _mint(form, options, longest)[0], options
        known = str(role) if self.state.roles.knows(role) else None
        async with self._calling("token", call, session_id, "token_refused", role=known) as call:
            options, reservations = await self._decide_token(session_id, role, expire_time, data, layout, form, call)
            token, token_id = _mint(form, options, longest)
            # Last, after all checks that can refuse. Reserving takes time, in which the session may end.
            async with reservations or _NOTHING_RESERVED:
                if reservations is not None:
                    await self._liveness.confirm_session(session_id)
                await self._enter_in_ledger(options, token_id, call)
            call.ends_in("token_issued", role=options.role, token_id=token_id, expires_at=options.expires_at)
        return token, options

    async def renew_token(
        self,
        credential: Credential,
        session_id: str | None,
        wishes: Wishes,
        call: Call | None = None,
        longest: int = MAX_TOKEN_LENGTH,
    ) -> tuple[str, TokenOptions]:
        """Mint a token that replaces a good one for a while longer, with no more rights; return it and its options.

        The one before stays good until it expires. From outside it is renewed once in each quarter of its life.

        :param credential: finds the token to renew.
        :param session_id: the session that it must be for.
        :param longest: see :meth:`generate_token`.
        """
        state = self.state
        state.check_issues()
        known = str(wishes.role) if state.roles.knows(wishes.role) else None
        async with self._calling("token", call, session_id, "token_refused", role=known) as call:
            token, _ = credential()
            grant = await self.verify(token, session_id)
            call.bearer, call.session_id = grant.actor_id, grant.session_id
            call.is_about(renewed=grant.token_id)
            now, form = state.clock(), state.format_of(token.encode())
            names_actor = state.names_actor and form.names_actor
            check_renewable(grant, now, state.total_life, names_actor=names_actor)
            issuer = await self.check_session_id(grant.session_id)
            role, expire_time, data, layout = wishes
            asked = self._options(
                grant.session_id, issuer, grant.role if role is None else role, expire_time, data, layout, form, now
            )
            asked = renewed_options(asked, grant, wishes, form, state.roles, state.total_life)
            options, reservations = await self._decide_options(asked, form, now, call, grant)
            token, token_id = _mint(form, options, longest)
            async with reservations or _NOTHING_RESERVED:
                if call.http is not None:
                    await self._count_renewal(grant)
                # Last, after its session's epoch was read: the new token is as good as the one before.
                await self.check_again(grant)
                await self._enter_in_ledger(options, token_id, call)
            call.ends_in("token_issued", role=options.role, token_id=token_id, expires_at=options.expires_at)
        return token, options

    async def issue_ticket(self, grant: Grant, call: Call | None = None) -> Ticket:
        """Exchange a grant that still stands for a ticket of its session's media service.

        :raises NoMediaService: if no media service of the kit carries the session.
        """
        about: dict[str, Any] = {"role": str(grant.role), "token_id": grant.token_id}
        async with self._calling("ticket", call, grant.session_id, "ticket_refused", **about) as call:
            call.bearer = grant.actor_id
            backend, form = await self._carrying(grant.session_id, call.trace)
            call.is_about(media=backend.name)
            state = self.state
            if form is None or backend.opens_rooms:
                # Also first, so that nothing comes about at the service for whoever is to get none.
                await self.check_again(grant)
            asked = state.clock(), self._driver, state.deadline, self._store
            try:
                ticket = await state.media.ticket(backend, form, grant, *asked)
                # Last, so that whoever was excluded meanwhile gets none.
                await self._check_for_ticket(grant)
            except RolecallError:
                if backend.keeps_ids and grant.actor_id is not None:
                    await self._withdraw(backend, grant.session_id, grant.actor_id)
                raise
            call.ends_in("ticket_issued", expires_at=ticket.expires_at)
            if call.trace is not None:
                call.trace.ok("ticket", _of_ticket(ticket.identity, grant, ticket.expires_at))
        return ticket

    async def _withdraw(self, backend: MediaBackend, session_id: str, actor_id: str) -> None:
        """Take back the place of a refused ticket: it may be newer than the act that took the one before."""
        from .acts import log_place_left

        try:
            await self._put_out(backend, session_id, actor_id)
        except RolecallError as error:
            log_place_left(backend.name, error)

    async def _check_for_ticket(self, grant: Grant) -> None:
        """:meth:`check_again`, by the store itself where this process may be behind it."""
        self.check_expiry(grant)
        await self._liveness.confirm_ticket(grant)

    async def _carrying(self, session_id: str, trace: Trace | None) -> tuple[MediaBackend, TokenFormat | None]:
        """The media service that carries a session, and the format of its tokens."""
        record = await self._find_session(session_id)
        found = self.state.media.of(record)
        if found is None:
            raise no_ticket(record)
        if trace is not None:
            trace.ok("media service", found[0].name)
        return found

    async def explain_ticket(self, credential: Credential, session_id: str | None, http: Request | None) -> Explanation:
        """Explain the decision of :meth:`issue_ticket`, for the bearer of a token; no service is asked."""
        trace, state = Trace(), self.state
        try:
            call = Call(http, trace, dry_run=True)
            grant = await self._authorize(credential, _TO_CONNECT, session_id, call)
            backend, form = await self._carrying(grant.session_id, trace)
            place = backend.place(grant, state.clock())
            if form is not None and not backend.opens_rooms:
                backend.ticket(form, place)
            await self._check_for_ticket(grant)
            trace.ok("ticket", _of_ticket(place.identity, grant, place.expires_at))
        except RolecallError as error:
            return trace.finish("ticket", error)
        return trace.finish("ticket", None)

    async def receive_webhook(
        self, media: str, headers: Mapping[str, str], body: bytes, call: Call | None = None
    ) -> None:
        """Take in a webhook of a media service: tell its events, and put out again whoever is to stay out.

        :raises RouteNotFound: if no media service of the kit sends webhooks under this name.
        :raises RolecallError: one that says why it is refused, or why it is to be sent again.
        """
        from .webhooks import notices  # few kits take them

        self.state.check_issues()
        call = call or Call()
        backend = self.state.media.receiving(media)
        try:
            found = notices(backend, headers, body, self.state.clock())
        except (MissingCredential, InvalidToken) as error:
            await self.tell_of_refusal(error, None, call)
            raise
        for notice in found:
            await self._take_notice(backend, notice, Call(call.http))

    async def _take_notice(self, backend: MediaBackend, notice: Notice, call: Call) -> None:
        from .webhooks import REPEATED, about, actor_id, single_use

        session_id = await self._session_of(backend, notice.room)
        if session_id is None:
            return
        call.bearer, error = actor_id(notice), None
        if notice.event == "participant_joined" and call.bearer is not None:
            error = await self._put_out(backend, session_id, call.bearer)
        # Last, so that what failed before is done when the webhook comes again.
        if self.state.plugins.on_event and await self.use_once(
            single_use(backend, notice), self.state.clock() + REPEATED
        ):
            await self._tell(notice.event, call, session_id, **about(backend, notice, error))

    async def _session_of(self, backend: MediaBackend, room: str) -> str | None:
        """The session of a room at a media service; None for a room that is none of the kit's there."""
        session_id = backend.session_of(room)
        if session_id is None:
            return None
        try:
            await self.check_session_id(session_id)
        except InvalidSessionId:
            return None
        found = self.state.media.of(await self._find_session(session_id))
        return session_id if found is not None and found[0] is backend else None

    async def _put_out(self, backend: MediaBackend, session_id: str, actor_id: str) -> RolecallError | None:
        """Put out whoever has joined, if it is to stay out, and return why; None if it stays in."""
        from .acts import put_out

        state, now = self.state, self.state.clock()
        try:
            await self._liveness.confirm_join(session_id, actor_id)
        except (SessionEnded, Excluded) as error:
            asked = state.session_ids.owner(session_id), now
            waits = self._driver, state.deadline
            done = await put_out(error, session_id, actor_id, asked, *waits, backend, self._store)
            return error if done else None
        return None

    async def _enter_in_ledger(self, options: TokenOptions, token_id: str, call: Call) -> None:
        """Keep a token that is about to be issued, if the kit has a ledger."""
        if self.state.keeps_ledger:
            role, times = str(options.role), (float(options.issued_at), float(options.expires_at))
            row = IssuedToken(options.session_id, token_id, call.actor_id, role, *times)
            await self._store.further("add_token", row)
            if self.state.housekeeper is not None:
                self.state.housekeeper.remind()

    async def list_tokens(self, page: TokenPage, api_key: str | None = None) -> tuple[list[IssuedToken], str | None]:
        """The tokens of a page that are still good, and the cursor of the next page; None if there is none.

        A page may have fewer tokens than its limit, or none, though there are more.

        :param api_key: only those of this project; of all of the kit's unless given.
        :raises NoLedger: if the kit keeps none.
        """
        if not self.state.keeps_ledger:
            raise NoLedger("this kit does not keep which tokens it issues: make it with ledger=True")
        found: list[IssuedToken] = []
        for _ in range(_MOST_PAGES):
            tokens, after = _checked_tokens(await self._store.further("list_tokens", page))
            for token in tokens:
                page = page._replace(after=(token.issued_at, token.token_id))
                if self._is_of(token.session_id, api_key) and await self._still_stands(token):
                    found.append(token)
                if len(found) == page.limit:
                    return found, cursor_of(token.issued_at, token.token_id)
            if after is None:
                return found, None
            page = page._replace(after=after)
        assert page.after is not None
        return found, cursor_of(*page.after)

    async def list_exclusions(
        self, limit: int, after: str | None, session_id: str | None = None
    ) -> tuple[list[Exclusion], str | None]:
        """Some of the exclusions that stand, and the cursor of the next page; None if there is none.

        A page may have fewer exclusions than its limit, or none, though there are more.

        :param session_id: only those from this session.
        """

        def wanted(of: str) -> bool:
            return self._is_of(of, None) and session_id in (None, of)

        return await self._taking_back.exclusions(limit, after, wanted)

    async def _still_stands(self, token: IssuedToken) -> bool:
        claims = MappingProxyType({"iat": token.issued_at})
        # What it allows does not matter here.
        role = Role.SUBSCRIBER
        grant = Grant(
            token.session_id, role, role.capabilities, token.expires_at, token.token_id, claims, token.actor_id
        )
        try:
            await self._liveness.confirm(grant)
        except RevokedToken:
            return False
        return True

    async def _count_renewal(self, grant: Grant) -> None:
        now = self.state.clock()
        self.check_expiry(grant)
        name, ends = part_of_life(grant, now)
        if not await self.use_once(name, grant.expires_at):
            raise renewed_already(ends, now)

    async def explain_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        http: Request | None,
        actor: Actor | None = None,
    ) -> Explanation:
        """Explain the decision of :meth:`generate_token`, without issuing a token."""
        trace = Trace()
        try:
            call = Call(http, trace, dry_run=True, actor=actor)
            form = self.state.mint
            options, _ = await self._decide_token(session_id, role, expire_time, data, layout, form, call)
            _mint(form, options)
        except RolecallError as error:
            return trace.finish("token", error)
        return trace.finish("token", None)

    def verify_token(self, token: object, session_id: str | None = None) -> Grant:
        """Verify a token. Not async: nothing in it waits, with any store.

        :raises NotInStep: if only the store itself can tell whether it was revoked; see :meth:`verify`.
        """
        grant, verified = self.state.read_token(token, session_id)
        if verified is None:
            self._liveness.check(grant)
        elif verified.revision != self._revision():
            self._check_live(grant, verified)
        return grant

    async def verify(self, token: object, session_id: str | None = None) -> Grant:
        """:meth:`verify_token`, which may ask the store itself, or wait for keys."""
        state = self.state
        # Each request comes here, and a coroutine more would be a twentieth of it.
        if state.waits_for_keys:
            grant, verified = await state.read_patiently(token, session_id, self._driver)
        else:
            grant, verified = state.read_token(token, session_id)
        try:
            if verified is None or verified.revision != self._revision():
                self._check_live(grant, verified)
        except NotInStep:
            await self._liveness.confirm(grant)
        return grant

    def _check_live(self, grant: Grant, verified: Verified | None) -> None:
        """Refuse a grant that was revoked, at once; see :meth:`Liveness.check`.

        :param verified: its token, if that is cached: it is live for as long as the store has the same revision.
        """
        # Read before the check, so that what is revoked meanwhile counts at the next one.
        revision = None if verified is None else self._revision()
        self._liveness.check(grant)
        if verified is not None:
            verified.revision = NEVER if revision is None else revision

    async def verify_and_tell(self, token: object, session_id: str | None) -> Grant:
        """:meth:`verify`, and tell the plugins of a refusal."""
        try:
            return await self.verify(token, session_id)
        except InvalidToken as error:
            await self.tell_of_refusal(error, session_id, Call())
            raise

    def check_token(self, token: str, requirement: Requirement, session_id: str | None) -> Grant:
        """Verify a token for a guarded route, without the policies, and return its grant. Nothing in it waits.

        :param session_id: the session of the route; None if it has none.
        :raises NotInStep: if only the store itself can tell whether it was revoked; see :meth:`confirm_token`.
        :raises RolecallError: if the token is not sufficient.
        """
        state = self.state
        verified = state.verified.young.get(token[END])
        # What is demanded here of a token that was seen before is looked at again by those who say what is wrong.
        if not (
            verified is not None
            and verified.token == token
            and verified.since <= state.clock() < verified.until
            and (session_id is None or verified.grant.session_id == session_id)
            and verified.revision == self._revision()
        ):
            grant, verified = state.read_token(token, session_id)
            self._check_live(grant, verified)
        else:
            grant = verified.grant
            if verified.met is requirement:
                return grant
        if not requirement.is_met(grant.role, grant.capabilities):
            raise _insufficient(grant, requirement)
        if verified is not None:
            verified.met = requirement
        return grant

    async def confirm_token(
        self, token: str, requirement: Requirement, session_id: str | None, call: Call | None = None
    ) -> Grant:
        """:meth:`check_token`, which may ask the store itself.

        :param call: learns for which actor the token is, also if it is not sufficient.
        """
        grant = await self.verify(token, session_id)
        if call is not None:
            call.bearer = grant.actor_id
        if not requirement.is_met(grant.role, grant.capabilities):
            raise _insufficient(grant, requirement)
        return grant

    def check_expiry(self, grant: Grant, at_least: float = 0.0) -> None:
        """Refuse a grant that has expired, without any leeway.

        :param at_least: the earliest time that it can be, in Unix seconds, whatever the clock shows.
        :raises ExpiredToken: if it has.
        """
        if max(self.state.clock(), at_least) >= grant.expires_at:
            raise ExpiredToken(f"the token's life ended at {moment(grant.expires_at)}")

    async def check_again(self, grant: Grant, at_least: float = 0.0) -> None:
        """Check again a grant that was valid: a connection may stay open longer than its grant.

        :param at_least: see :meth:`check_expiry`.
        :raises InvalidToken: if the grant has ended.
        """
        self.check_expiry(grant, at_least)
        await self._liveness.confirm(grant)

    def is_revoked(self, grant: Grant) -> bool:
        """Whether this process knows that a grant was revoked. It asks nobody.

        :raises StoreUnavailable: if it cannot tell.
        """
        return self._liveness.is_revoked(grant)

    async def look_again(
        self, grant: Grant, requirement: Requirement, session_id: str | None, call: Call, at_least: float = 0.0
    ) -> Grant:
        """:meth:`check_again`, and ask the policies again; return the grant as they narrow it.

        :param call: with the request that entered; without one the policies get an unnamed route.
        :param at_least: see :meth:`check_expiry`.
        :raises RolecallError: if the grant has ended, or is no longer sufficient.
        """
        call.bearer = grant.actor_id
        await self.check_again(grant, at_least)
        if not requirement.is_met(grant.role, grant.capabilities):
            raise _insufficient(grant, requirement)
        if not self.state.plugins.vote_access:
            return grant
        call.dry_run = True  # the request has entered already, and reserves nothing more
        async with self._calling("access", call, grant.session_id) as call:
            return await self._ask_access(grant, requirement, session_id, call, again=True)

    async def check_grant(self, grant: Grant, requirement: Requirement, http: Request | None) -> Grant:
        """:meth:`look_again`, and tell the plugins of a refusal."""
        call = Call(http)
        try:
            return await self.look_again(grant, requirement, grant.session_id, call)
        except RolecallError as error:
            await self.tell_of_refusal(error, grant.session_id, call)
            raise

    async def renew(
        self, token: str, grant: Grant, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        """Verify a token that replaces another one for an open connection, and return its grant.

        :param grant: the grant that it replaces.
        :param call: see :meth:`look_again`.
        :raises RolecallError: if the token is not sufficient, or is for another session or another bearer.
        """
        renewed = await self.confirm_token(token, requirement, grant.session_id)
        if renewed.actor_id != grant.actor_id:
            raise WrongActor("the token is for somebody else: its actor is not that of the one before")
        if (renewed.data or None) != (grant.data or None):
            raise WrongActor("the token is for somebody else: its connection data is not that of the one before")
        return await self.look_again(renewed, requirement, session_id, call)

    async def authorize(
        self, credential: Credential, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        """Decide on a request for a guarded route, and return its grant.

        :param credential: finds the request's token.
        :param call: with the request.
        :raises RolecallError: if it is refused.
        """
        async with self._calling("access", call, session_id) as call:
            grant = await self._authorize(credential, requirement, session_id, call)
            call.session_id = grant.session_id
        return grant

    async def resolve_session(self, resolver: Implementation, native: object) -> str:
        """Call the app's own function that finds the session of a request, and return the session's id.

        The function's exceptions are not caught: the framework may answer them.

        :param native: the framework's own request.
        :raises WrongSession: if the function returns None.
        """
        deadline = self.state.deadline
        try:
            found = await voting.answer_of(resolver, native, self._driver, deadline, _session_fault, (Exception,))
            if inspect.iscoroutine(found):  # only the call shows that a lambda is async
                coroutine = resolver._replace(call=lambda _: found, is_async=True)
                found = await voting.answer_of(coroutine, native, self._driver, deadline, _session_fault, (Exception,))
        except TimeoutError:
            raise _session_fault(resolver, f"it outlived its deadline of {deadline:g} s") from None
        if found is None:
            raise WrongSession("the request is about no session, so no token is for it")
        if type(found) is not str:
            voting.discard(found)
            raise _session_fault(resolver, f"it returned {shown(found)}; expected a session id or None")
        return found

    async def explain_access(
        self, credential: Credential, requirement: Requirement, session_id: str | None, http: Request
    ) -> Explanation:
        """Explain the decision of :meth:`authorize`."""
        trace = Trace()
        try:
            await self._authorize(credential, requirement, session_id, Call(http, trace, dry_run=True))
        except RolecallError as error:
            return trace.finish("access", error)
        return trace.finish("access", None)

    async def use_once(self, name: str, until: float) -> bool:
        """Record the single-use id of a credential; of concurrent callers exactly one gets True.

        :param until: the end of the credential, in Unix seconds.
        """
        # Exactly True: no other answer of a store lets anybody in.
        return await self._store.use_once(name, until + _KEPT_LONGER, self.state.clock()) is True

    async def forget(self, over: Over) -> int:
        """Have the store remove some of what is over, and return the number of rows."""
        removed: int = await self._store.further("forget", over)
        return removed

    async def full_slot(self, slots: Sequence[Slot]) -> Full | None:
        return _checked_full(await self._store.further("full_slot", slots, self.state.clock()))

    async def take_lease(self, lease: str, slots: Sequence[Slot]) -> Full | None:
        return _checked_full(await self._store.further("take_lease", lease, slots, self.state.clock()))

    async def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        await self._store.further("keep_lease", lease, slots)

    async def drop_lease(self, lease: str) -> None:
        await self._store.further("drop_lease", lease)

    async def drop_slot(self, key: str) -> None:
        await self._store.further("drop_slot", key)

    async def moderate(self, act: Act[Result], grant: Grant | None = None, call: Call | None = None) -> Result:
        """Ask the policies about an act, have the session's media service carry it out, and return its answer.

        :param grant: the grant of the caller's token; None for a call that is trusted.
        """
        from .acts import carry_out

        state = self.state
        about: dict[str, Any] = {"act": act.name}
        if grant is not None:
            about |= {"token_id": grant.token_id, "role": str(grant.role)}
        async with self._calling("moderation", call, act.session_id, "moderation_refused", **about) as call:
            call.bearer = None if grant is None else grant.actor_id
            api_key = await self.check_session_id(act.session_id)
            act = act.checked()
            call.ends_in("moderated" if act.changes else None, target=act.target, until=getattr(act, "until", None))
            if call.http is not None:
                _check_act(act, grant)
            request = ModerationRequest(act, grant, api_key, *call.asked(state.clock()))
            reservations = await self._vote_moderation(request, call) if state.plugins.vote_moderation else None
            async with reservations or _NOTHING_RESERVED:
                if grant is not None:
                    await self._check_still_good(grant)  # again, because policies take time
                if act.takes_back:
                    state.check_issues()
                    return cast("Result", await self._taking_back.carry_out(act, request))
                own = await self._backend_of(act.session_id)
                waits = self._driver, state.deadline
                return await carry_out(act, state.plugins.media_service, request, *waits, own, self._store)

    async def revoke_token(self, token: str | Grant, call: Call | None = None, only_of: str | None = None) -> None:
        """Revoke a token, or the one of a grant, with its renewals. One that has expired is revoked for their sake.

        :param only_of: the API key of the only project whose tokens the caller may revoke.
        :raises InvalidToken: for a token that is not this kit's, or not of that project.
        """
        self.state.check_issues()
        grant: Grant | None
        try:
            if isinstance(token, Grant):
                grant = token
            else:
                grant = (await self.state.read_patiently(token, None, self._driver))[0]
        except ExpiredToken as error:
            grant = self.state.read_renewable(token, error)
        if grant is None:
            return
        if only_of is not None and self.state.session_ids.owner(grant.session_id) != only_of:
            raise UnknownKey("the token is of another project than the one that wants it revoked")
        await self.revoke_token_id(grant.session_id, grant.token_id, grant.expires_at, call)

    async def revoke_token_id(
        self, session_id: str, token_id: str, expires_at: float | None = None, call: Call | None = None
    ) -> None:
        """Revoke the token of this id.

        :param expires_at: the end of its life in Unix seconds, if that is known.
        """
        self.state.check_issues()
        self.state.session_ids.owner(session_id)
        await self._taking_back.revoke_token(session_id, token_id, expires_at)
        await self._tell("token_revoked", call or Call(), session_id, token_id=token_id)

    async def revoke_actor(self, actor_id: str, call: Call | None = None) -> None:
        """Revoke all tokens that an actor has, in every session."""
        self.state.check_issues()
        await self._taking_back.revoke_actor(actor_id)
        await self._tell("actor_revoked", call or Call(), None, target=actor_id)

    async def revoke_before(
        self, moment: float | datetime | None = None, api_key: str | None = None, call: Call | None = None
    ) -> None:
        """Revoke all tokens of a project that were issued until a time.

        :param moment: Unix seconds, or an aware ``datetime``; now unless given.
        """
        self.state.check_issues()
        project = self.state.session_ids.issuer(api_key)
        until = self._taking_back.checked_moment(moment)
        await self._taking_back.revoke_before(until, project)
        await self._tell("tokens_revoked", call or Call(), None, target=project, until=until)

    @property
    def _taking_back(self) -> TakingBack:
        from .taking_back import TakingBack  # few calls need it

        return TakingBack(self.state, self._store, self._disconnect)

    async def _disconnect(self, act: Exclude, request: ModerationRequest) -> bool:
        from .acts import disconnect

        state = self.state
        own = await self._backend_of(act.session_id)
        waits = self._driver, state.deadline
        return await disconnect(act, state.plugins.media_service, request, *waits, own, self._store)

    async def broken_parts(self) -> tuple[str, ...]:
        """The parts without which this process cannot serve, and that do not work now: store, follower and keys.

        They are tried, not asked: a session is looked up, its end is looked for, a token is minted and verified.
        """
        state = self.state
        now, form = state.clock(), state.mint
        # An id that was never used, so that nothing is remembered of it.
        session_id = state.session_ids.make(MediaMode.RELAYED, now, state.api_key)
        broken = []
        try:
            await self._store.get_session(session_id)
        except StoreUnavailable:
            broken.append("store")
        try:
            if broken:  # it would let the caller wait for the store once more
                self._liveness.check_issue(session_id, None, 0, has_epoch=True)
            elif not state.asks_store:
                await self._liveness.confirm_session(session_id)
        except StoreUnavailable:
            broken.append("follower")
        if monotonic() >= state.keys_work_until:  # not each time: with an application's key it takes milliseconds
            try:
                role = next(role for role in state.roles if form.carries(role, role.capabilities))
                state.try_keys(lambda: self._trial(session_id, role, form, now), now)
                state.keys_work_until = monotonic() + _KEYS_TRIED_EVERY
            except Exception:  # also of keys that are elsewhere
                broken.append("keys")
        return tuple(broken)

    def _trial(self, session_id: str, role: Role, form: TokenFormat, now: float) -> TokenOptions:
        """The options of a token for nobody: of a format whose tokens need an identity, too."""
        options = self._options(session_id, self.state.api_key, role, None, None, (), form, now)
        return options._replace(subject="nobody")

    async def tell_of_refusal(self, error: RolecallError, session_id: str | None, call: Call) -> None:
        """Tell the plugins that a token was refused, or was missing."""
        await self._tell("access_refused", call, session_id, code=error.code)

    async def _create_session(self, properties: SessionProperties, api_key: str, call: Call) -> SessionRecord:
        state, reservations = self.state, None
        asked = call.http is not None or call.trace is not None or bool(state.plugins.vote_session)
        if asked:
            await self._identify(call)
        request = SessionRequest(properties, api_key, *call.asked(state.clock()))
        if asked:
            _, reservations = await self._vote(state.plugins.vote_session, request, call)
        async with reservations or _NOTHING_RESERVED:
            return await self._add_session(request)

    async def _add_session(self, request: SessionRequest) -> SessionRecord:
        state = self.state
        session_id = await self._provided_session(request)
        now = state.clock()
        if session_id is None:
            session_id = state.session_ids.make(request.properties.media_mode, now, request.api_key)
        creator = None if request.actor is None else request.actor.id
        record = SessionRecord(session_id, request.properties, now, created_by=creator)
        await self._store.add_session(record)
        if state.housekeeper is not None:
            state.housekeeper.remind()
        return record

    async def _provided_session(self, request: SessionRequest) -> str | None:
        """The id of a session that a plugin or its media service has created elsewhere; None if none has."""
        state, creator = self.state, "a plugin"
        session_id = None
        if state.plugins.create_session:
            session_id = await voting.provide_session(
                state.plugins.create_session, request, self._driver, state.deadline
            )
        if session_id is None and state.media.names:
            creator = f"the media service {request.properties.media!r}"
            session_id = await state.media.create_session(request, self._driver, state.deadline)
        if session_id is None:
            return None
        problem = ""
        try:
            if state.session_ids.check(session_id) != request.api_key:
                problem = "it is of another project"
        except InvalidSessionId as error:
            problem = str(error)
        if problem:
            raise PolicyFault(f"{creator} created a session that is not of this kit: {problem}").at("session")
        return session_id

    async def _check_still_good(self, grant: Grant) -> None:
        """Check a grant with the leeway, as at the entrance; :meth:`check_again` grants none."""
        self.state.rules.check_expiry(grant.expires_at, self.state.clock())
        await self._liveness.confirm(grant)

    async def _vote_moderation(self, request: ModerationRequest, call: Call) -> voting.Reservations | None:
        state, grant, needed = self.state, request.grant, Requirement.of_capability(request.act.capability)
        built_in = _TRUSTED if grant is None else _ROLE_SUFFICES
        limits, reservations = await self._vote(state.plugins.vote_moderation, request, call, built_in)
        if grant is not None:
            self._narrowed_grant(grant, needed, limits, request.now)
            return reservations
        left = narrow(_EVERYTHING, limits, state.roles, issued_at=request.now, now=request.now)
        if not needed.capabilities <= left.capabilities:
            raise PolicyDenied(f"{needed.scope} is required, and the policies of this service do not leave it")
        return reservations

    async def _decide_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        form: TokenFormat,
        call: Call,
    ) -> tuple[TokenOptions, voting.Reservations | None]:
        """The options of a token, validated and narrowed by the policies; and the reservations of their votes."""
        now = self.state.clock()
        issuer = await self.check_session_id(session_id)
        options = self._options(session_id, issuer, role, expire_time, data, layout, form, now)
        return await self._decide_options(options, form, now, call)

    async def _decide_options(
        self, options: TokenOptions, form: TokenFormat, now: float, call: Call, renewed: Grant | None = None
    ) -> tuple[TokenOptions, voting.Reservations | None]:
        """Options, narrowed by the policies; and the reservations of their votes.

        :param renewed: the grant of the token that is to be renewed.
        """
        if call.is_trusted and self.state.plugins.leaves_tokens_alone:
            # No plugin to ask: the trusted caller only needs an open session.
            return await self._in_epoch(self._naming(call.actor, options), form, call), None
        return await self._voted_options(options, form, now, call, renewed)

    def _options(
        self,
        session_id: str,
        issuer: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        form: TokenFormat,
        now: float,
    ) -> TokenOptions:
        """The requested options of a token, validated but not yet shown to policies.

        :param issuer: the id of the issuer of the session.
        """
        state = self.state
        known = state.roles.get(role)
        if not form.carries(known, known.capabilities):
            raise _not_carried(known, form, state.roles)
        if not form.takes_session(session_id):
            raise InvalidSessionId(
                "no token of this kit's format can name this session: give its sessions plain names that the media "
                "service takes, or mint its tokens as tickets"
            )
        options = check_options(
            session_id, known, expire_time, data, layout, now, issuer, form.shortest_life, form.longest_life
        )
        if state.retention.age is not None:
            over_at = self._over_at(session_id, state.retention.age)
            if over_at < now + form.shortest_life:
                raise SessionEnded(f"the session is over at {moment(over_at)}, by max_session_age: it issues no tokens")
            options = options._replace(expires_at=min(options.expires_at, int(over_at)))
        return options

    def _over_at(self, session_id: str, age: float) -> float:
        """The time at which a session is over by its age."""
        made_at = self.state.session_ids.made_at(session_id)
        if made_at is None:
            raise InvalidSessionId(
                "session_id shows no age; expected one of this kit's, because max_session_age is set"
            )
        return made_at + age

    async def _voted_options(
        self, options: TokenOptions, form: TokenFormat, now: float, call: Call, renewed: Grant | None
    ) -> tuple[TokenOptions, voting.Reservations | None]:
        state, trace = self.state, call.trace
        session = await self._find_session(options.session_id)
        if session is None and call.http is not None:
            # From outside an id is not enough, not even a genuine one: an unknown session cannot be open.
            raise SessionNotFound("the store knows no session of this id")
        await self._liveness.confirm_session(options.session_id)
        if trace is not None:
            trace.ok("request", f"{options.role} until {moment(options.expires_at)}")
            trace.ok("session open", "known to the store" if session else "not known to the store")
        await self._identify(call)
        if renewed is None:
            options = options._replace(family=call.id)
        else:
            check_same_actor(call.actor, renewed)
        options = await self._in_epoch(options, form, call)  # whoever is excluded asks no policy
        request = TokenRequest(
            options.session_id,
            session,
            options.role,
            options.expires_at,
            options.data,
            options.layout,
            *call.asked(now),
            renewed,
        )
        limits, reservations = await self._vote(state.plugins.vote_token, request, call)
        options = await self._in_epoch(options, form, call)  # it may have ended while the policies voted
        scope = Scope(options.role, options.capabilities, options.expires_at, options.data)
        left = narrow(scope, limits, state.roles, issued_at=options.issued_at, now=options.issued_at)
        role, held, ends, data = left
        if ends < options.issued_at + form.shortest_life:
            raise outlived()
        if not form.carries(role, held):
            raise PolicyDenied(f"no token of this kit's format can hold what its policies leave of {options.role}")
        expires_at = int(ends)
        if trace is not None:
            trace.ok("grant", f"{role} until {moment(expires_at)}")
        if left is not scope:
            narrowed = None if held == role.capabilities else held
            options = options._replace(role=role, expires_at=expires_at, data=data, narrowed=narrowed)
        options = self._naming(call.actor, options)
        if state.plugins.token_claims:
            request = request._replace(role=role, expires_at=expires_at, data=data)
            options = options._replace(
                claims=await voting.claims(
                    state.plugins.token_claims, request, state.reserved_claims, self._driver, state.deadline
                )
            )
        return options, reservations

    async def _in_epoch(self, options: TokenOptions, form: TokenFormat, call: Call) -> TokenOptions:
        """The options, of the session's epoch.

        :raises RolecallError: if no such token can be issued: the session has ended, or the actor is excluded.
        """
        epoch = await self._liveness.confirm_issue(
            options.session_id, call.actor_id, options.issued_at, has_epoch=form.writes_epoch
        )
        return options if epoch == options.epoch else options._replace(epoch=epoch)

    def _naming(self, actor: Actor | None, options: TokenOptions) -> TokenOptions:
        """The options, which say for whom the token is if that is known."""
        if actor is None or not self.state.names_actor:
            return options
        name = actor.attributes.get("name")
        return options._replace(subject=actor.id, name=name if isinstance(name, str) else None)

    async def _authorize(
        self, credential: Credential, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        trace = call.trace
        token, place = credential()
        if trace is not None:
            trace.ok("credential", "a token that was passed in" if place is None else f"a token in {place}")
            await self._trace_token(token, session_id, trace)
        grant = await self.confirm_token(token, requirement, session_id, call)
        if trace is not None:
            trace.ok("session open")
            trace.ok("role", f"{grant.role} is enough for {requirement.scope}")
        if not self.state.plugins.vote_access or call.http is None:
            return grant
        return await self._ask_access(grant, requirement, session_id, call, again=False)

    async def _ask_access(
        self, grant: Grant, requirement: Requirement, session_id: str | None, call: Call, *, again: bool
    ) -> Grant:
        """Ask the policies, and return the grant as they narrow it."""
        state, now = self.state, self.state.clock()
        http = _NO_REQUEST if call.http is None else call.http
        request = AccessRequest(grant, requirement, session_id, now, call.actor, http, call.id, call.dry_run, again)
        limits, reservations = await self._vote(state.plugins.vote_access, request, call, _ROLE_SUFFICES)
        narrowed = self._narrowed_grant(grant, requirement, limits, now)
        async with reservations or _NOTHING_RESERVED:
            await self._liveness.confirm(grant)  # it may have been revoked while the policies voted
        return narrowed

    def _narrowed_grant(self, grant: Grant, requirement: Requirement, limits: tuple[Limits, ...], now: float) -> Grant:
        scope = Scope(grant.role, grant.capabilities, grant.expires_at)
        issued_at = now if grant.issued_at is None else grant.issued_at
        left = narrow(scope, limits, self.state.roles, issued_at=issued_at, now=now)
        narrowed = grant
        if left is not scope:
            narrowed = grant._replace(role=left.role, capabilities=left.capabilities, expires_at=left.expires_at)
        if not requirement.capabilities <= narrowed.capabilities:
            raise InsufficientRole(
                f"{requirement.scope} is required; the policies of this service leave {narrowed.role}",
                requirement.scope,
            )
        return narrowed

    async def _trace_token(self, token: str, session_id: str | None, trace: Trace) -> None:
        """Add the steps of a good token to the trace; for a bad one, the steps before its refusal."""
        try:
            grant = (await self.state.read_patiently(token, session_id, self._driver))[0]
        except InvalidToken as error:
            failed = failed_step(error)
            for name in TOKEN_STEPS[: TOKEN_STEPS.index(failed) if failed in TOKEN_STEPS else len(TOKEN_STEPS)]:
                trace.ok(name)
            raise
        raw = token.encode()
        form = self.state.format_of(raw)
        signer = {"secret": "API key", "private_key": "application", "issuer": "issuer"}[form.needs]
        late = leeway_used(grant, self.state.clock())
        whose = "" if grant.actor_id is None else f", for the actor {shown(grant.actor_id)}"
        details = (
            form.inspect(raw).format.upper(),
            f"{signer} {form.issuer_of(raw) or self.state.api_key}",
            "fits the content",
            f"{grant.role}, until {moment(grant.expires_at)}, token id {grant.token_id}{whose}"
            f"{f', {late}' if late else ''}",
        )
        for name, detail in zip(TOKEN_STEPS, details, strict=True):
            trace.ok(name, detail)
        if session_id is not None:
            trace.ok("session", "the one that the route names")

    async def _identify(self, call: Call) -> None:
        """Identify the caller from outside; the server's own code says itself for whom it calls."""
        plugins = self.state.plugins
        if call.http is None:
            if call.trace is not None and call.actor is not None:
                call.trace.ok("identify", f"actor {shown(call.actor.id)}, as the server's own code says")
            return
        voting.check_framework(call.actor)
        if not plugins.identify:
            return
        call.actor = await voting.identify(plugins.identify, call.http, self._driver, self.state.deadline)
        call.nobody = call.actor is None
        if call.trace is not None:
            call.trace.ok("identify", f"actor {shown(call.actor.id)}" if call.actor else "nobody")

    async def _vote(
        self,
        implementations: Collection[Implementation],
        request: Asked,
        call: Call,
        built_in: Allow | None = None,
    ) -> tuple[tuple[Limits, ...], voting.Reservations | None]:
        """Collect votes on a request; return their limits, and the reservations for the caller to take, if any.

        :raises RolecallError: if the request is refused.
        """
        state = self.state
        if built_in is None and call.http is None:
            built_in = _TRUSTED
        decision = await voting.vote(implementations, request, built_in, state.roles, self._driver, state.deadline)
        if call.http is not None and call.actor is None and getattr(request, "renewed", None) is not None:
            decision = decision.for_renewal()
        if call.trace is not None:
            call.trace.votes(decision)
        if refusal := decision.refusal():
            voting.log_refusal(decision, request)
            unsaid = (refusal.code, refusal.status) == (PolicyDenied.code, PolicyDenied.status)
            if call.nobody and unsaid:
                raise PolicyDenied(f"nobody is identified, and {refusal}", "not_identified")
            raise refusal
        limits = decision.limits
        if call.dry_run or all(vote.reserve is None for vote in limits):
            return limits, None
        return limits, voting.Reservations(implementations, decision, request, self._driver, state.deadline)

    def _calling(
        self,
        subject: str,
        call: Call | None,
        session_id: str | None = None,
        refused: str | None = None,
        **about: Any,
    ) -> Call:
        """Start a call: a new one of the server's own unless one is given."""
        if call is None:
            call = Call()
        if self.state.trace_log and call.trace is None:
            call.trace = Trace()
        return call.begin(self, subject, session_id, refused, about)

    async def report(
        self,
        call: Call,
        subject: str,
        error: RolecallError | None,
        event: str | None,
        about: dict[str, Any],
    ) -> None:
        """Log the end of a call, and tell the plugins of it.

        :param error: the refusal, or None.
        """
        state, session_id = self.state, call.session_id
        trace = call.trace if state.trace_log else None
        if trace is None and (event is None or not state.plugins.on_event):
            return
        # An invalid session id may be anything, for example a misplaced token.
        if (trace is not None or error is not None) and not state.session_ids.accepts(session_id):
            session_id = None
        if trace is not None:
            where = circumstances(
                time=state.clock(), call_id=call.id, session_id=session_id, http=call.http, actor_id=call.actor_id
            )
            log_explanation(trace.finish(subject, error), where)
        if event is not None:
            await self._tell(event, call, session_id, **about)

    async def _tell(self, name: str, call: Call, session_id: str | None, **about: Any) -> None:
        state = self.state
        if state.plugins.on_event:
            from ..events import EVENTS  # loaded for those who listen

            event = EVENTS[name](
                at=state.clock(),
                call_id=call.id,
                session_id=session_id,
                actor=call.actor,
                actor_id=call.actor_id,
                http=call.http,
                **about,
            )
            await voting.tell(state.plugins.on_event, event, self._driver, state.deadline)

    async def _find_session(self, session_id: str) -> SessionRecord | None:
        record = await self._store.get_session(session_id)
        if record is None and self.state.lone_store is not None:
            self.state.lone_store.lacks(session_id)
        return record

    async def close(self) -> None:
        """Release the store."""
        if self.state.watch is not None:
            self.state.watch.close()
        await self._store.close()


def _checked_full(answer: object) -> Full | None:
    """Refuse an answer that is neither: its truth value could give somebody a place."""
    if answer is not None and not isinstance(answer, Full):
        raise StoreUnavailable(f"the store answered {shown(answer)} about a lease; expected a Full or None")
    return answer


def _checked_records(answer: object) -> Sequence[SessionRecord]:
    if isinstance(answer, Sequence) and all(isinstance(one, SessionRecord) for one in answer):
        return answer
    raise StoreUnavailable(f"the store's list_sessions returned {shown(answer)}; expected a list of SessionRecord")


def _checked_tokens(answer: object) -> TokensFound:
    if isinstance(answer, TokensFound):
        tokens, after = answer
        is_list = isinstance(tokens, Sequence) and all(isinstance(one, IssuedToken) for one in tokens)
        is_place = isinstance(after, tuple) and list(map(type, after)) in ([float, str], [int, str])
        if is_list and (after is None or is_place):
            return answer
    raise StoreUnavailable(f"the store's list_tokens returned {shown(answer)}; expected TokensFound")


def _cursor_at(created_at: float, found: Sequence[SessionRecord]) -> str:
    """The cursor behind the last of the sessions found of a time, or before all of it.

    It names no other session: that could be another project's.
    """
    if found and found[-1].created_at == created_at:
        return cursor_of(created_at, found[-1].session_id)
    return cursor_of(nextafter(created_at, inf), "")


def _around_store(operations: Operations, method: str) -> AbstractContextManager[None]:
    return operations.around(Operation("store", method))


def _check_act(act: Act[Any], grant: Grant | None) -> None:
    """Refuse an act from outside unless the grant is for this session and allows it."""
    needed = Requirement.of_capability(act.capability)
    if grant is None or grant.session_id != act.session_id or not needed.capabilities <= grant.capabilities:
        raise InsufficientRole(f"{needed.scope} is required, in this very session", needed.scope)


def _of_ticket(identity: str, grant: Grant, expires_at: float) -> str:
    """What a ticket is for, in a trace."""
    narrowed = grant.capabilities != grant.role.capabilities
    rights = f" with {'+'.join(sorted(grant.capabilities))}" if narrowed else ""
    return f"for {shown(identity)} as {grant.role}{rights}, until {moment(expires_at)}"


def _mint(form: TokenFormat, options: TokenOptions, longest: int = MAX_TOKEN_LENGTH) -> tuple[str, str]:
    token, token_id = form.mint(options)
    if len(token) > longest:
        raise _too_long(len(token), longest)
    return token, token_id


def _session_fault(_: Implementation, fault: str) -> Unavailable:
    return Unavailable(f"the guard's session function failed: {fault}")


def _insufficient(grant: Grant, requirement: Requirement) -> InsufficientRole:
    exactly = "" if requirement.only is None else " exactly"
    return InsufficientRole(
        f"{requirement.scope} is required{exactly}; the token's role is {grant.role}", requirement.scope
    )


def _not_carried(role: Role, form: TokenFormat, roles: RoleTable) -> InvalidRole:
    carried = [str(one) for one in roles if form.carries(one, one.capabilities)]
    wider = sorted(form.wider(role, role.capabilities))
    instead = f"it would grant {', '.join(wider)}, too, and accept_wider does not name the role; " if wider else ""
    return InvalidRole(
        f"no token of this kit's format can hold the role {str(role)!r}; {instead}"
        f"the roles that it can hold are {', '.join(carried) or 'none'}"
    )


def _too_long(length: int, longest: int) -> InvalidData:
    return InvalidData(
        f"data, layout and claims make a token of {length} characters, and at most {longest} are taken; "
        "control characters, and in T1 all but ASCII, take several each: "
        "send an identifier, and keep the rest in the app"
    )
