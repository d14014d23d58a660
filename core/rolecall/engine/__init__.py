"""The logic of a kit, written once: what may wait is ``async``, and a driver says how it waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from math import inf
from os import urandom
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .. import events
from ..driver import Driver
from ..encoding.jws import MAX_TOKEN_LENGTH
from ..errors import (
    ExpiredToken,
    InsufficientRole,
    InvalidData,
    InvalidRole,
    InvalidSessionId,
    InvalidToken,
    PolicyDenied,
    PolicyFault,
    RevokedToken,
    RolecallError,
    SessionEnded,
    SessionNotFound,
    Unavailable,
    WrongActor,
    WrongSession,
)
from ..explain import TOKEN_STEPS, Explanation, Trace, circumstances, failed_step, log_explanation
from ..formats import TokenFormat
from ..hookspecs import AccessRequest, ModerationRequest, SessionRequest, TokenRequest
from ..plugins import Implementation
from ..plugins import asking as voting
from ..policy import Allow, Limits, earliest_expiry, narrowed_capabilities, narrowed_role, outlived, replaced_data
from ..request import Actor, Request
from ..roles import Capability, Requirement, Role, RoleTable
from ..sessions import SessionProperties, SessionRecord
from ..stores.calling import Calls
from ..tokens import ExpireTime, Grant, TokenOptions, check_options, leeway_used
from ..wording import moment, shown
from .state import State

if TYPE_CHECKING:
    from ..moderation import Act, Result

#: Finds the token of a request, and where it was; None for one that was passed in. It raises if there is no token.
Credential: TypeAlias = Callable[[], tuple[str, str | None]]

_TRUSTED: Final = Allow(reason="the server's own code asks")
_ALL: Final = frozenset(Capability)
_ROLE_SUFFICES: Final = Allow(reason="the token's role suffices")
# Seconds by which what came once is kept beyond its end: for requests that wait, and clocks that are set back.
_KEPT_LONGER: Final = 3600.0
_NO_REQUEST: Final = Request("GET", "")
_NOTHING_RESERVED: Final = nullcontext()


class Call:
    """One call of an engine: who makes it, and whether its steps are to be remembered.

    :param http: the request from outside; None for the server's own code, which is trusted.
    :param trace: collects the steps, if somebody wants to know.
    :param dry_run: whether it is only to be explained.
    """

    __slots__ = ("actor", "dry_run", "http", "id", "trace")

    def __init__(self, http: Request | None = None, trace: Trace | None = None, *, dry_run: bool = False) -> None:
        self.http = http
        self.trace = trace
        self.dry_run = dry_run
        #: Links what policies are asked with the event that tells how it ended.
        self.id = urandom(8).hex()
        #: Who asks, once a plugin has identified somebody.
        self.actor: Actor | None = None


#: The server's own code.
OWN_CODE: Final = Call()


class Engine:
    """Everything that a kit does, under one driver."""

    __slots__ = ("_driver", "_store", "decides_at_once", "state")

    def __init__(self, state: State, driver: Driver, *, blocks: bool) -> None:
        self.state = state
        self._driver = driver
        self._store = Calls(state.store, driver, lambda: state.store_timeout, blocks=blocks)
        #: Whether :meth:`check_token` alone decides who enters a guarded route.
        self.decides_at_once = not state.plugins.vote_access and not state.trace_log

    async def create_session(
        self, properties: SessionProperties, api_key: str | None = None, call: Call = OWN_CODE
    ) -> SessionRecord:
        """Create a session.

        :param properties: as they were asked for; they are checked here.
        :param api_key: the project that it is for; the first one unless given.
        """
        call = self._traced(call)
        try:
            checked, owner = properties.checked(), self.state.session_ids.issuer(api_key)
            request = SessionRequest(checked, owner, None, call.http)
            record = await self._create_session(request, call)
        except RolecallError as error:
            self._log_trace("session", call, error=error)
            await self._tell(events.SessionRefused, call, code=error.code)
            raise
        self._log_trace("session", call, record.session_id)
        await self._tell(events.SessionCreated, call, session_id=record.session_id)
        return record

    async def get_session(self, session_id: str) -> SessionRecord:
        self.state.session_ids.check(session_id)
        record = await self._find_session(session_id)
        if record is None:
            raise SessionNotFound("the store knows no session of this id")
        return record

    async def end_session(self, session_id: str, call: Call = OWN_CODE) -> None:
        state = self.state
        state.session_ids.check(session_id)
        if state.lone_store is not None:
            await self._find_session(session_id)  # so that it is told if another process created it
        await self._store.end_session(session_id, state.clock())
        await self._tell(events.SessionClosed, call, session_id=session_id)

    async def generate_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        call: Call = OWN_CODE,
        longest: int = MAX_TOKEN_LENGTH,
        form: TokenFormat | None = None,
    ) -> tuple[str, TokenOptions]:
        """The token, and what it says.

        :param longest: the most characters that it may have where it goes.
        :param form: the format that it is minted in; the kit's unless given.
        """
        call = self._traced(call)
        if call is OWN_CODE and not self.state.plugins.leaves_tokens_alone:
            call = Call()
        try:
            form = self.state.mint if form is None else form
            options, reservations = await self._decide_token(session_id, role, expire_time, data, layout, form, call)
            token, token_id = _mint(form, options, longest)
            # Last, when nothing else can refuse; but it takes its time, and sessions end.
            if reservations is not None:
                async with reservations:
                    if self.state.store.has_ended(session_id):
                        raise _ended()
        except RolecallError as error:
            self._log_trace("token", call, session_id, error)
            named = session_id if self.state.session_ids.accepts(session_id) else None
            known = str(role) if self.state.roles.knows(role) else None
            await self._tell(events.TokenRefused, call, session_id=named, role=known, code=error.code)
            raise
        self._log_trace("token", call, session_id)
        await self._tell(
            events.TokenIssued,
            call,
            session_id=session_id,
            role=options.role,
            token_id=token_id,
            expires_at=options.expires_at,
        )
        return token, options

    async def explain_token(
        self,
        session_id: str,
        role: object,
        expire_time: ExpireTime,
        data: str | None,
        layout: Iterable[str],
        http: Request | None,
    ) -> Explanation:
        """What :meth:`generate_token` would come to, and why; nothing is issued."""
        trace = Trace()
        try:
            call = Call(http, trace, dry_run=True)
            form = self.state.mint
            options, _ = await self._decide_token(session_id, role, expire_time, data, layout, form, call)
            _mint(form, options)
        except RolecallError as error:
            return trace.finish("token", error)
        return trace.finish("token", None)

    def verify_token(self, token: object, session_id: str | None = None) -> Grant:
        """Not async: nothing in it waits, whatever the store."""
        grant = self.state.read_token(token, session_id)
        if self.state.store.has_ended(grant.session_id):
            raise _revoked()
        return grant

    async def verify_and_tell(self, token: object, session_id: str | None) -> Grant:
        """:meth:`verify_token`, with the plugins told of a refusal."""
        try:
            return self.verify_token(token, session_id)
        except InvalidToken as error:
            await self.tell_of_refusal(error, session_id, OWN_CODE)
            raise

    def check_token(self, token: str, requirement: Requirement, session_id: str | None) -> Grant:
        """The grant of a token that is enough for a guarded route, before any policy is asked.

        :param session_id: the session that the route is about; None where it is about none.
        :raises RolecallError: if it is not enough.
        """
        state = self.state
        grant = state.read_token(token, session_id)
        if state.store.has_ended(grant.session_id):
            raise _revoked()
        if not requirement.is_met(grant.role, grant.capabilities):
            raise _insufficient(grant, requirement)
        return grant

    def check_again(self, grant: Grant, at_least: float = 0.0) -> None:
        """Look again at a grant that was good: a connection may stay open for longer than it.

        :param at_least: what time it must be by now, in Unix seconds, whatever the clock says.
        :raises InvalidToken: if it is over.
        """
        if max(self.state.clock(), at_least) >= grant.expires_at:
            raise ExpiredToken(f"the token's life ended at {moment(grant.expires_at)}")
        if self.state.store.has_ended(grant.session_id):
            raise _revoked()

    async def look_again(
        self, grant: Grant, requirement: Requirement, session_id: str | None, call: Call, at_least: float = 0.0
    ) -> Grant:
        """What the policies now leave of a grant that was good: :meth:`check_again`, with the policies asked again.

        :param call: with the request that entered; without one the policies are shown an unnamed route.
        :param at_least: see :meth:`check_again`.
        :raises RolecallError: if it is over, or no longer enough.
        """
        self.check_again(grant, at_least)
        if not requirement.is_met(grant.role, grant.capabilities):
            raise _insufficient(grant, requirement)
        if not self.state.plugins.vote_access:
            return grant
        call = self._traced(call)
        call.dry_run = True  # it has entered, and takes nothing more
        try:
            left = await self._ask_access(grant, requirement, session_id, call, again=True)
        except RolecallError as error:
            self._log_trace("access", call, grant.session_id, error)
            raise
        self._log_trace("access", call, grant.session_id)
        return left

    async def check_grant(self, grant: Grant, requirement: Requirement, http: Request | None) -> Grant:
        """:meth:`look_again`, with the plugins told of a refusal."""
        call = Call(http)
        try:
            return await self.look_again(grant, requirement, grant.session_id, call)
        except RolecallError as error:
            await self.tell_of_refusal(error, grant.session_id, call)
            raise

    async def renew(
        self, token: str, grant: Grant, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        """The grant of a token that takes the place of another one, in what stays open.

        :param grant: the one in whose place it is to come.
        :param call: see :meth:`look_again`.
        :raises RolecallError: if the token is not enough, or is for another session or for somebody else.
        """
        renewed = self.check_token(token, requirement, grant.session_id)
        if (renewed.data or None) != (grant.data or None):
            raise WrongActor("the token is for somebody else: its connection data is not that of the one before")
        return await self.look_again(renewed, requirement, session_id, call)

    async def authorize(
        self, credential: Credential, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        """The grant with which a request enters a guarded route.

        :param credential: finds the request's token.
        :param call: with the request.
        :raises RolecallError: if it does not enter.
        """
        call = self._traced(call)
        try:
            grant = await self._authorize(credential, requirement, session_id, call)
        except RolecallError as error:
            self._log_trace("access", call, session_id, error)
            raise
        self._log_trace("access", call, grant.session_id)
        return grant

    async def resolve_session(self, resolver: Implementation, native: object) -> str:
        """The session that a request is about, as a function of the app's own finds it.

        What the function raises is not caught: the framework may have an answer to it.

        :param native: the framework's own request.
        :raises WrongSession: if the function finds none.
        """
        deadline = self.state.deadline
        try:
            found = await voting.answer_of(resolver, native, self._driver, deadline, _session_fault, (Exception,))
            if inspect.iscoroutine(found):  # of a lambda it does not show before that it is async
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
        """What :meth:`authorize` would come to, and why."""
        trace = Trace()
        try:
            await self._authorize(credential, requirement, session_id, Call(http, trace, dry_run=True))
        except RolecallError as error:
            return trace.finish("access", error)
        return trace.finish("access", None)

    async def use_once(self, name: str, until: float) -> bool:
        """Record the single-use id of a credential; of concurrent callers exactly one gets True.

        :param until: when the credential ends, in Unix seconds.
        """
        # Exactly True: whatever else a store answers lets nobody in.
        return await self._store.use_once(name, until + _KEPT_LONGER, self.state.clock()) is True

    async def moderate(self, act: Act[Result], grant: Grant | None = None, call: Call = OWN_CODE) -> Result:
        """What the session's media service answers to an act, once the policies have been asked.

        :param grant: what the token grants that whoever asks entered with; None for a call that is trusted.
        """
        from .acts import carry_out

        state, call = self.state, self._traced(Call() if call is OWN_CODE else call)
        about: dict[str, str | None] = {"act": act.name}
        if grant is not None:
            about |= {"token_id": grant.token_id, "role": str(grant.role)}
        try:
            api_key = state.session_ids.check(act.session_id)
            about["session_id"] = act.session_id
            act = act.checked()
            about["target"] = act.target
            if call.http is not None:
                _check_act(act, grant)
            request = ModerationRequest(act, state.clock(), grant, call.http, api_key, call.id)
            reservations = await self._vote_moderation(request, call) if state.plugins.vote_moderation else None
            async with reservations or _NOTHING_RESERVED:
                if grant is not None:
                    self._check_still_good(grant)  # after the policies, which may have taken their time
                answer = await carry_out(act, state.plugins.media_service, request, self._driver, state.deadline)
        except RolecallError as error:
            self._log_trace("moderation", call, act.session_id, error)
            await self._tell(events.ModerationRefused, call, code=error.code, **about)
            raise
        self._log_trace("moderation", call, act.session_id)
        if act.changes:
            await self._tell(events.Moderated, call, **about)
        return answer

    async def tell_of_refusal(self, error: RolecallError, session_id: str | None, call: Call) -> None:
        """Tell the plugins that somebody came with a token, and was refused."""
        await self._tell(events.AccessRefused, call, session_id=session_id, code=error.code)

    async def _create_session(self, request: SessionRequest, call: Call) -> SessionRecord:
        state, reservations = self.state, None
        if call.http is not None or call.trace is not None or state.plugins.vote_session:
            await self._identify(call)
            request = request._replace(actor=call.actor)
            _, reservations = await self._vote(state.plugins.vote_session, request, call)
        async with reservations or _NOTHING_RESERVED:
            return await self._add_session(request)

    async def _add_session(self, request: SessionRequest) -> SessionRecord:
        state = self.state
        session_id = await self._provided_session(request)
        now = state.clock()
        if session_id is None:
            session_id = state.session_ids.make(request.properties.media_mode, now, request.api_key)
        record = SessionRecord(session_id, request.properties, now)
        await self._store.add_session(record)
        return record

    async def _provided_session(self, request: SessionRequest) -> str | None:
        """The id of a session that a plugin creates elsewhere."""
        state = self.state
        if not state.plugins.create_session:
            return None
        session_id = await voting.provide_session(state.plugins.create_session, request, self._driver, state.deadline)
        if session_id is not None:
            problem = ""
            try:
                if state.session_ids.check(session_id) != request.api_key:
                    problem = "it is of another project"
            except InvalidSessionId as error:
                problem = str(error)
            if problem:
                raise PolicyFault(f"a plugin created a session that is not of this kit: {problem}").at("session")
        return session_id

    def _check_still_good(self, grant: Grant) -> None:
        """As at the door, with the leeway that :meth:`check_again` does not grant to what stays open."""
        self.state.rules.check_expiry(grant.expires_at, self.state.clock())
        if self.state.store.has_ended(grant.session_id):
            raise _revoked()

    async def _vote_moderation(self, request: ModerationRequest, call: Call) -> voting.Reservations | None:
        state, grant, needed = self.state, request.grant, Requirement.of_capability(request.act.capability)
        built_in = _TRUSTED if grant is None else _ROLE_SUFFICES
        limits, reservations = await self._vote(state.plugins.vote_moderation, request, call, built_in)
        if grant is not None:
            self._narrowed_grant(grant, needed, limits, request.now)
        elif earliest_expiry(inf, limits, request.now) <= request.now:
            raise outlived()
        elif not needed.capabilities <= narrowed_capabilities(_ALL, limits, state.roles):
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
        """What a token may say, once everything has been validated and every policy asked; and what they reserve."""
        state = self.state
        issuer = state.session_ids.check(session_id)
        known, now = state.roles.get(role), state.clock()
        if not form.carries(known, known.capabilities):
            raise _not_carried(known, form, state.roles)
        options = check_options(
            session_id, known, expire_time, data, layout, now, issuer, form.shortest_life, form.longest_life
        )
        if call is OWN_CODE and state.plugins.leaves_tokens_alone:
            # No plugin to ask: the trusted caller only needs a session that is open.
            if state.store.has_ended(session_id):
                raise _ended()
            return options, None
        return await self._voted_options(options, form, now, call)

    async def _voted_options(
        self, options: TokenOptions, form: TokenFormat, now: float, call: Call
    ) -> tuple[TokenOptions, voting.Reservations | None]:
        state, trace = self.state, call.trace
        session = await self._find_session(options.session_id)
        if session is None and call.http is not None:
            # From outside an id is not enough, not even one of ours: a session that is not known cannot be open.
            raise SessionNotFound("the store knows no session of this id")
        if state.store.has_ended(options.session_id):
            raise _ended()
        if trace is not None:
            trace.ok("request", f"{options.role} until {moment(options.expires_at)}")
            trace.ok("session open", "known to the store" if session else "not known to the store")
        await self._identify(call)
        request = TokenRequest(
            options.session_id,
            session,
            options.role,
            options.expires_at,
            options.data,
            options.layout,
            now,
            call.actor,
            call.http,
            call.id,
            call.dry_run,
        )
        limits, reservations = await self._vote(state.plugins.vote_token, request, call)
        if state.store.has_ended(options.session_id):
            raise _ended()  # while the policies were asked
        held = narrowed_capabilities(options.role.capabilities, limits, state.roles)
        role = narrowed_role(options.role, held, state.roles)
        earliest = earliest_expiry(options.expires_at, limits, options.issued_at)
        if earliest < options.issued_at + form.shortest_life:
            raise outlived()
        if not form.carries(role, held):
            raise PolicyDenied(f"no token of this kit's format can hold what its policies leave of {options.role}")
        expires_at = int(earliest)
        data = replaced_data(options.data, limits)
        if trace is not None:
            trace.ok("grant", f"{role} until {moment(expires_at)}")
        narrowed = None if held == role.capabilities else held
        options = options._replace(role=role, expires_at=expires_at, data=data, narrowed=narrowed)
        if call.actor is not None:
            name = call.actor.attributes.get("name")
            options = options._replace(subject=call.actor.id, name=name if isinstance(name, str) else None)
        if state.plugins.token_claims:
            request = request._replace(role=role, expires_at=expires_at, data=data)
            options = options._replace(
                claims=await voting.claims(
                    state.plugins.token_claims, request, state.reserved_claims, self._driver, state.deadline
                )
            )
        return options, reservations

    async def _authorize(
        self, credential: Credential, requirement: Requirement, session_id: str | None, call: Call
    ) -> Grant:
        trace = call.trace
        token, place = credential()
        if trace is not None:
            trace.ok("credential", "a token that was passed in" if place is None else f"a token in {place}")
            self._trace_token(token, session_id, trace)
        grant = self.check_token(token, requirement, session_id)
        if trace is not None:
            trace.ok("session open")
            trace.ok("role", f"{grant.role} is enough for {requirement.scope}")
        if not self.state.plugins.vote_access or call.http is None:
            return grant
        return await self._ask_access(grant, requirement, session_id, call, again=False)

    async def _ask_access(
        self, grant: Grant, requirement: Requirement, session_id: str | None, call: Call, *, again: bool
    ) -> Grant:
        """What the policies leave of a grant."""
        state, now = self.state, self.state.clock()
        http = _NO_REQUEST if call.http is None else call.http
        request = AccessRequest(grant, requirement, session_id, now, http, again)
        limits, reservations = await self._vote(state.plugins.vote_access, request, call, _ROLE_SUFFICES)
        narrowed = self._narrowed_grant(grant, requirement, limits, now)
        async with reservations or _NOTHING_RESERVED:
            if state.store.has_ended(grant.session_id):
                raise _revoked()  # while the policies were asked
        return narrowed

    def _narrowed_grant(self, grant: Grant, requirement: Requirement, limits: tuple[Limits, ...], now: float) -> Grant:
        roles = self.state.roles
        issued_at = now if grant.issued_at is None else grant.issued_at
        held = narrowed_capabilities(grant.capabilities, limits, roles)
        expires_at = earliest_expiry(grant.expires_at, limits, issued_at)
        # What no limit shortened is for the token itself to say, leeway and all.
        if expires_at < grant.expires_at and expires_at <= now:
            raise outlived()
        role = grant.role if held == grant.capabilities else narrowed_role(grant.role, held, roles)
        narrowed = grant._replace(role=role, capabilities=held, expires_at=expires_at)
        if not requirement.capabilities <= narrowed.capabilities:
            raise InsufficientRole(
                f"{requirement.scope} is required; the policies of this service leave {narrowed.role}",
                requirement.scope,
            )
        return narrowed

    def _trace_token(self, token: str, session_id: str | None, trace: Trace) -> None:
        """The steps of a token that is good in itself; what is refused has said so before."""
        try:
            grant = self.state.read_token(token, session_id)
        except InvalidToken as error:
            failed = failed_step(error)
            for name in TOKEN_STEPS[: TOKEN_STEPS.index(failed) if failed in TOKEN_STEPS else len(TOKEN_STEPS)]:
                trace.ok(name)
            raise
        raw = token.encode()
        form = self.state.format_of(raw)
        signer = "API key" if form.needs == "secret" else "application"
        late = leeway_used(grant, self.state.clock())
        details = (
            form.inspect(raw).format.upper(),
            f"{signer} {form.issuer_of(raw) or self.state.api_key}",
            "fits the content",
            f"{grant.role}, until {moment(grant.expires_at)}, token id {grant.token_id}{f', {late}' if late else ''}",
        )
        for name, detail in zip(TOKEN_STEPS, details, strict=True):
            trace.ok(name, detail)
        if session_id is not None:
            trace.ok("session", "the one that the route names")

    async def _identify(self, call: Call) -> None:
        """Find out who makes a call from outside."""
        plugins = self.state.plugins
        if call.http is None or not plugins.identify:
            return
        call.actor = await voting.identify(plugins.identify, call.http, self._driver, self.state.deadline)
        if call.trace is not None:
            call.trace.ok("identify", f"actor {shown(call.actor.id)}" if call.actor else "nobody")

    async def _vote(
        self,
        implementations: Collection[Implementation],
        request: object,
        call: Call,
        built_in: Allow | None = None,
    ) -> tuple[tuple[Limits, ...], voting.Reservations | None]:
        """The votes for a request, with their limits; and what they reserve, if anything, for the caller to take.

        :raises RolecallError: if it is refused.
        """
        state = self.state
        if built_in is None and call.http is None:
            built_in = _TRUSTED
        decision = await voting.vote(implementations, request, built_in, state.roles, self._driver, state.deadline)
        if call.trace is not None:
            call.trace.votes(decision)
        if refusal := decision.refusal():
            voting.log_refusal(decision, request)
            nobody = call.http is not None and call.actor is None and state.plugins.identify
            unsaid = (refusal.code, refusal.status) == (PolicyDenied.code, PolicyDenied.status)
            if nobody and unsaid and isinstance(request, SessionRequest | TokenRequest):
                raise PolicyDenied(f"nobody is identified, and {refusal}", "not_identified")
            raise refusal
        limits = decision.limits
        if call.dry_run or all(vote.reserve is None for vote in limits):
            return limits, None
        return limits, voting.Reservations(implementations, decision, request, self._driver, state.deadline)

    async def _tell(self, kind: type[events.Event], call: Call, **about: Any) -> None:
        state = self.state
        if state.plugins.on_event:
            # What the server's own code does, and no policy was asked about, is a call of its own each time.
            call_id = Call().id if call is OWN_CODE else call.id
            event = kind(at=state.clock(), actor=call.actor, http=call.http, call_id=call_id, **about)
            await voting.tell(state.plugins.on_event, event, self._driver, state.deadline)

    def _traced(self, call: Call) -> Call:
        if not self.state.trace_log or call.trace is not None:
            return call
        if call is OWN_CODE:
            return Call(trace=Trace())
        call.trace = Trace()  # of the call itself, so that the events which tell of it have the same id
        return call

    def _log_trace(
        self, subject: str, call: Call, session_id: str | None = None, error: RolecallError | None = None
    ) -> None:
        if self.state.trace_log and call.trace is not None:
            log_explanation(
                call.trace.finish(subject, error),
                circumstances(
                    time=self.state.clock(),
                    call_id=call.id,
                    # What is no session id may be anything: a token in the wrong place, for example.
                    session_id=session_id if self.state.session_ids.accepts(session_id) else None,
                    http=call.http,
                    actor_id=call.actor and call.actor.id,
                ),
            )

    async def _find_session(self, session_id: str) -> SessionRecord | None:
        record = await self._store.get_session(session_id)
        if record is None and self.state.lone_store is not None:
            self.state.lone_store.lacks(session_id)
        return record

    async def close(self) -> None:
        """Release the store."""
        await self._store.close()


def _check_act(act: Act[Any], grant: Grant | None) -> None:
    """Whoever asks from outside has entered with a grant for this session, and this act."""
    needed = Requirement.of_capability(act.capability)
    if grant is None or grant.session_id != act.session_id or not needed.capabilities <= grant.capabilities:
        raise InsufficientRole(f"{needed.scope} is required, in this very session", needed.scope)


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


def _revoked() -> RevokedToken:
    return RevokedToken("the token's session has ended")


def _ended() -> SessionEnded:
    return SessionEnded("the session has ended: it issues no tokens")


def _not_carried(role: Role, form: TokenFormat, roles: RoleTable) -> InvalidRole:
    carried = [str(one) for one in roles if form.carries(one, one.capabilities)]
    return InvalidRole(
        f"no token of this kit's format can hold the role {str(role)!r}; "
        f"the roles that it can hold are {', '.join(carried) or 'none'}"
    )


def _too_long(length: int, longest: int) -> InvalidData:
    return InvalidData(
        f"data, layout and claims make a token of {length} characters, and at most {longest} are taken; "
        "control characters, and in T1 all but ASCII, take several each: "
        "send an identifier, and keep the rest in the app"
    )
