"""The methods of a kit: each is written once, and made sync by :mod:`rolecall.kit`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from ..actors import checked_actor
from ..engine import Call, Credential, Engine
from ..engine.renewing import Wishes
from ..engine.state import State
from ..errors import ConfigurationError, InvalidRequest, RolecallError
from ..explain import Explanation
from ..http.api import Api
from ..http.problems import noted
from ..media.backend import Ticket
from ..plugins import PluginInfo
from ..request import Actor, Request
from ..revocations import Exclusion, Reset
from ..roles import ANY_TOKEN, Capability, CapabilityName, Requirement, Role, RoleName, RoleTable
from ..sessions import (
    ArchiveMode,
    ArchiveModeName,
    MediaMode,
    MediaModeName,
    SessionProperties,
    SessionRecord,
    session_id_of,
)
from ..stores.ledger import IssuedToken, token_page_of
from ..stores.listing import MAX_LIMIT, SessionState, page_of
from ..tokens import ExpireTime, Grant
from ..wording import shown
from .assembly import config_name, follower_of

Kept = TypeVar("Kept", bound=SessionRecord)
_NO_ROUTE: Final = Request("GET", "")


def own_call(actor: str | Actor | None) -> Call | None:
    """A call of the server's own code for an actor; None, for an engine to make one, if it is for nobody.

    :raises InvalidActor: if nobody can be that actor.
    """
    return None if actor is None else Call(actor=checked_actor(actor))


class Settings:
    """The settings of a kit. None of them waits."""

    _state: State
    _plugin_config: Mapping[str, Mapping[str, Any]]

    @property
    def api_key(self) -> str:
        """The API key of the project; of the first one if there are several."""
        return self._state.api_key

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys of all its projects."""
        return self._state.session_ids.issuers

    def api_key_of(self, session_id: str | SessionRecord) -> str:
        """The API key of a session's project.

        :raises InvalidSessionId: for an id that is malformed, or of no project of this kit.
        """
        return self._state.session_ids.owner(session_id_of(session_id))

    @property
    def hook_timeout(self) -> float:
        """The seconds for the answer of each policy."""
        return self._state.deadline

    def store_lag(self) -> float | None:
        """The seconds since this process was last known to be in step with the store.

        Infinite before its first check or call of the store. None if it needs not follow: with the stores in memory and
        in SQLite, ended sessions count at once.
        """
        follower = follower_of(self._state.store)
        return None if follower is None else follower.lag()

    @property
    def roles(self) -> RoleTable:
        """The known roles."""
        return self._state.roles

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """The loaded plugins, by name: each with its origin and its hooks."""
        return self._state.plugins.loaded

    def plugin_config(self, name: str) -> Mapping[str, Any]:
        """The configuration of the plugin with this name, read-only; empty if it has none."""
        return self._plugin_config.get(config_name(name), MappingProxyType({}))


class Records:
    """The calls that return a session, here as a record; each view of the kit makes its own kind of session from it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def create_session(
        self,
        location: str | None = None,
        media_mode: MediaMode | MediaModeName = MediaMode.RELAYED,
        archive_mode: ArchiveMode | ArchiveModeName = ArchiveMode.MANUAL,
        e2ee: bool = False,
        *,
        api_key: str | None = None,
        archive_name: str | None = None,
        archive_resolution: str | None = None,
        media: str | None = None,
        actor: str | Actor | None = None,
    ) -> SessionRecord:
        """Create a session. It is durable when this returns.

        :param location: an IP address near its participants, as a hint.
        :param media_mode: ``"relayed"`` or ``"routed"``.
        :param archive_mode: ``"manual"``, or ``"always"`` (needs ``"routed"``).
        :param e2ee: encrypt media from end to end (needs ``"routed"``).
        :param api_key: the session's project; the kit's first one unless given.
        :param archive_name: the name of its archives, 1 to 80 characters (needs ``archive_mode="always"``). The kit
            shows this and ``archive_resolution`` to policies, and passes them on if a plugin creates the session at a
            service, which records the archives.
        :param archive_resolution: the resolution of its archives, such as ``"1280x720"``.
        :param media: the name of the media service that carries it; the kit's first one unless given.
        :param actor: for whom it is created: the id of an actor, or a :class:`~rolecall.Actor` with attributes for the
            policies. They judge the call as that person's, and the session's record names the actor as its creator.
        :raises InvalidActor: if nobody can have that id.
        :raises InvalidSessionOption: for a property that does not exist, or conflicts with another.
        :raises PolicyDenied: if a policy denies.
        """
        properties = SessionProperties(
            location,
            media_mode,  # type: ignore[arg-type]
            archive_mode,  # type: ignore[arg-type]
            e2ee,
            archive_name,
            archive_resolution,
            media,
        )
        return await self.engine.create_session(properties, api_key, own_call(actor))

    async def get_session(self, session_id: str | SessionRecord) -> SessionRecord:
        """A session, open or ended.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        :raises SessionNotFound: if the store has no such session.
        """
        return await self.engine.get_session(session_id_of(session_id))

    async def sessions(
        self,
        *,
        state: SessionState | None = None,
        created_by: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> SessionPage[SessionRecord]:
        """Some of the kit's sessions, the newest first: ``page = kit.sessions(); kit.sessions(after=page.next)``.

        :param state: ``"open"`` or ``"ended"`` sessions alone.
        :param created_by: only those that the actor of this id has created.
        :param after: the ``next`` of the page before.
        :param limit: the most sessions, 1 to 1,000. A page may have fewer, or none, though its ``next`` is not None:
            where projects share a store, others' sessions are left out.
        :raises InvalidRequest: for an argument that is wrong.
        :raises StoreUnavailable: if the store does not answer, or cannot list its sessions.
        """
        found, following = await self.engine.list_sessions(page_of(limit, state, created_by, after))
        return SessionPage(tuple(found), following)


class SessionPage(Generic[Kept]):
    """A page of sessions: iterate over it, or read ``sessions`` and ``next``.

    :param sessions: the sessions, the newest first.
    :param next: the cursor for ``kit.sessions(after=…)``; None if there are no more.
    """

    __slots__ = ("next", "sessions")

    def __init__(self, sessions: tuple[Kept, ...], next: str | None) -> None:
        self.sessions = sessions
        self.next = next

    def __iter__(self) -> Iterator[Kept]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def __repr__(self) -> str:
        return f"<SessionPage of {len(self)}{'' if self.next is None else ', and there are more'}>"


class LiveTokens:
    """A page of live tokens: iterate over it, or read ``tokens`` and ``next``.

    :param tokens: the tokens, the newest first.
    :param next: the cursor for ``kit.live_tokens(after=…)``; None if there are no more.
    """

    __slots__ = ("next", "tokens")

    def __init__(self, tokens: tuple[IssuedToken, ...], next: str | None) -> None:
        self.tokens = tokens
        self.next = next

    def __iter__(self) -> Iterator[IssuedToken]:
        return iter(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<LiveTokens: {len(self)}{'' if self.next is None else ', and there are more'}>"


class Exclusions:
    """A page of exclusions: iterate over it, or read ``exclusions`` and ``next``.

    :param exclusions: the exclusions, in the order of the store.
    :param next: the cursor for ``kit.exclusions(after=…)``; None if there are no more.
    """

    __slots__ = ("exclusions", "next")

    def __init__(self, exclusions: tuple[Exclusion, ...], next: str | None) -> None:
        self.exclusions = exclusions
        self.next = next

    def __iter__(self) -> Iterator[Exclusion]:
        return iter(self.exclusions)

    def __len__(self) -> int:
        return len(self.exclusions)

    def __repr__(self) -> str:
        return f"<Exclusions: {len(self)}{'' if self.next is None else ', and there are more'}>"


class Calls:
    """The calls of a kit by the server's own code, for one of its engines."""

    def __init__(self, engine: Engine, api: Api) -> None:
        #: The engine, whose methods an adapter awaits or drives.
        self.engine = engine
        #: The kit for an adapter.
        self.api = api

    async def end_session(self, session_id: str | SessionRecord) -> None:
        """End a session: no more tokens are issued for it, and existing ones are refused. Repetition is harmless.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        """
        await self.engine.end_session(session_id_of(session_id))

    async def revoke_token(
        self,
        token: str | Grant | None = None,
        *,
        session_id: str | SessionRecord | None = None,
        token_id: str | None = None,
    ) -> None:
        """Revoke one token with its renewals: they are refused from now on. Repetition is harmless.

        :param token: the token, or its grant.
        :param session_id: or the session of the token, with ``token_id``, such as an event has them.
        :param token_id: its id, as in :attr:`~rolecall.Grant.token_id`.
        :raises InvalidToken: for a token that is not this kit's. For one that has expired, the renewals are revoked.
        :raises StoreUnavailable: if it is not certain that the revocation was kept.
        """
        if token is not None and session_id is None and token_id is None:
            await self.engine.revoke_token(token)
        elif token is None and session_id is not None and token_id is not None:
            await self.engine.revoke_token_id(session_id_of(session_id), token_id)
        else:
            raise InvalidRequest("revoke_token takes a token or its grant; or session_id and token_id, both of them")

    async def reset_session(self, session_id: str | SessionRecord, epoch: int | None = None) -> Reset:
        """Revoke all tokens that a session has issued so far. It stays open, and issues new ones.

        :param epoch: the ``epoch`` of an earlier answer: if another reset has come since, nothing changes, so that a
            call which is repeated revokes nothing that was issued meanwhile.
        :returns: the session's epoch, and from when on tokens of SDKs are good again.
        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        :raises StoreUnavailable: if it is not certain that the reset was kept.
        """
        from ..moderation import ResetSession

        return await self.engine.moderate(ResetSession(session_id_of(session_id), epoch))

    async def exclude(self, session_id: str | SessionRecord, actor: str | Actor, until: ExpireTime = None) -> Exclusion:
        """Exclude an actor from a session: all of its tokens there are refused, and none is issued to it.

        A media service that knows which connections are whose is told to end the actor's. Repetition is harmless; of
        two exclusions the one that ends later counts.

        :param until: when it ends: Unix seconds, an aware ``datetime`` or a ``timedelta`` from now. Never unless given.
        :raises InvalidActor: if nobody can have that id.
        :raises PolicyDenied: if a policy denies.
        :raises NotTakenBack: if this kit's tokens do not say for whom they are.
        :raises StoreUnavailable: if it is not certain that the exclusion was kept.
        """
        from ..moderation import Exclude

        end = _end_of_exclusion(until, self.engine.state.clock())
        return await self.engine.moderate(Exclude(session_id_of(session_id), checked_actor(actor).id, end))

    async def readmit(self, session_id: str | SessionRecord, actor: str | Actor) -> None:
        """End the exclusion of an actor from a session; its tokens are good again. See :meth:`exclude`."""
        from ..moderation import Readmit

        await self.engine.moderate(Readmit(session_id_of(session_id), checked_actor(actor).id))

    async def exclusions(
        self, session_id: str | SessionRecord | None = None, *, after: str | None = None, limit: int = 100
    ) -> Exclusions:
        """Some of the exclusions that stand: who is excluded from which session, and until when.

        :param session_id: only those from this session.
        :param after: the ``next`` of the page before.
        :param limit: about the most exclusions, 1 to 1,000: Redis may have more on a page. A page may have fewer, or
            none, though its ``next`` is not None: the store goes through all that was revoked.
        :raises InvalidRequest: for an argument that is wrong.
        :raises StoreUnavailable: if the store does not answer, cannot go through what it keeps, or has not made the
            cursor.
        """
        session = None if session_id is None else session_id_of(session_id)
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise InvalidRequest(f"limit is {shown(limit)}; expected 1 to {MAX_LIMIT}")
        if after is not None and not isinstance(after, str):
            raise InvalidRequest(f"after is {shown(after)}; expected the 'next' of the page before")
        found, following = await self.engine.list_exclusions(limit, after, session)
        return Exclusions(tuple(found), following)

    async def revoke_actor(self, actor: str | Actor) -> None:
        """Revoke all tokens that an actor has, in every session, as at a logout. It can get new ones.

        A token that is issued in the same second would be refused, so none is: the call fails with a ``retry_after``.

        :raises InvalidActor: if nobody can have that id.
        :raises StoreUnavailable: if it is not certain that the revocation was kept.
        """
        await self.engine.revoke_actor(checked_actor(actor).id)

    async def revoke_before(self, moment: float | datetime | None = None, *, api_key: str | None = None) -> None:
        """Revoke all tokens of a project that were issued until a time, to the second: after a leak, for example.

        :param moment: Unix seconds or an aware ``datetime``, not in the future; now unless given.
        :param api_key: the project; the kit's first one unless given.
        :raises InvalidRequest: for a moment that is none, or lies in the future.
        :raises StoreUnavailable: if it is not certain that the revocation was kept.
        """
        await self.engine.revoke_before(moment, api_key)

    async def generate_token(
        self,
        session_id: str | SessionRecord,
        role: Role | RoleName = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
        *,
        actor: str | Actor | None = None,
    ) -> str:
        """Mint a token for a session. The arguments have the order of the published SDK guides.

        :param session_id: the session, or its id; so in all methods of a kit. An id that another service made for the
            same API key is accepted, too.
        :param role: the name of a role, or a :class:`Role`.
        :param expire_time: Unix seconds, an aware ``datetime``, or a ``timedelta`` from now; fractions of a second are
            cut off. 24 hours from now unless set, and at most 30 days.
        :param data: at most 1,000 characters that describe the connection, for example a user's name.
        :param initial_layout_class_list: layout classes of the streams that the bearer publishes.
        :param actor: for whom the token is: the id of an actor, or a :class:`~rolecall.Actor` with attributes for the
            policies. They judge the call as that person's, and the token names the actor.
        :raises InvalidRequest: a subclass that says which value is wrong, what is expected, and what "now" is.
        :raises SessionEnded: if the session has ended.
        :raises PolicyDenied: if a policy denies.
        """
        token, _ = await self.engine.generate_token(
            session_id_of(session_id), role, expire_time, data, initial_layout_class_list, own_call(actor)
        )
        return token

    async def renew_token(self, token: str, expire_time: ExpireTime = None) -> str:
        """Mint a token that replaces a good one for a while longer: for the same session, actor, role and data.

        The one before stays good until it expires. The new one lives as long at most as that one did, and ends within
        the kit's ``max_total_life`` from the issue of the first one.

        :param token: a token of this kit that is good without leeway.
        :param expire_time: an earlier end, as for :meth:`generate_token`.
        :raises InvalidToken: if the token is no longer good.
        :raises NotRenewable: if it is not this kit's, or its total life is over.
        :raises PolicyDenied: if a policy denies.
        """
        renewed, _ = await self.engine.renew_token(lambda: (token, None), None, Wishes(expire_time=expire_time))
        return renewed

    async def live_tokens(
        self,
        session_id: str | SessionRecord | None = None,
        actor: str | Actor | None = None,
        *,
        after: str | None = None,
        limit: int = 100,
    ) -> LiveTokens:
        """Some of the tokens that the kit has issued and that are still good, the newest first.

        The store keeps them for a kit with ``ledger=True``. Tokens of SDKs, and of kits without it, are not among them.
        Each can be revoked: ``kit.revoke_token(session_id=token.session_id, token_id=token.token_id)``.

        :param session_id: only those of this session.
        :param actor: only those of this actor.
        :param after: the ``next`` of the page before.
        :param limit: the most tokens, 1 to 1,000. A page may have fewer, or none, though its ``next`` is not None:
            those that were revoked are left out.
        :raises NoLedger: if the kit keeps none.
        :raises InvalidRequest: for an argument that is wrong.
        :raises StoreUnavailable: if the store does not answer.
        """
        session = None if session_id is None else session_id_of(session_id)
        actor_id = None if actor is None else checked_actor(actor).id
        page = token_page_of(limit, self.engine.state.clock(), session, actor_id, after)
        found, following = await self.engine.list_tokens(page)
        return LiveTokens(tuple(found), following)

    async def verify_token(self, token: str, session_id: str | SessionRecord | None = None) -> Grant:
        """Verify a token, and return its grant.

        :param session_id: the session that the token must be for.
        :raises InvalidToken: a subclass that says why the token is refused.
        """
        return await self.engine.verify_and_tell(token, session_id_of(session_id))

    async def ticket(self, grant: Grant) -> Ticket:
        """Exchange a grant that still stands for a ticket: a short-lived token of its session's media service.

        :param grant: the grant of a verified token, which says for whom it is.
        :returns: the token, where to connect with it, and what else a client needs.
        :raises InvalidToken: if the grant has ended.
        :raises NoIdentity: if it does not say for whom it is.
        :raises RoleNotHeld: if the ticket would grant more than the grant does.
        :raises NoMediaService: if the kit has no media service for the session.
        """
        return await self.engine.issue_ticket(grant)

    async def receive_webhook(self, media: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take in a webhook of a media service, in a route of the app's own; the kit's routes have one for each.

        Its events are told to the plugins (:func:`~rolecall.hookspecs.rolecall_on_event`), and a participant that is to
        stay out of the session is disconnected again. A repetition is told nobody.

        :param media: the name of the media service.
        :param headers: of the request, by name.
        :param body: the bytes of its body, as they came.
        :raises RouteNotFound: if no media service of the kit sends webhooks under this name.
        :raises MissingCredential: if the webhook has no signature.
        :raises InvalidToken: if its signature is not good for this body, or has expired.
        :raises InvalidRequest: if it is signed, and not readable.
        :raises Unavailable: if the service is to send it again: the store or the service is out of order.
        """
        await self.engine.receive_webhook(media, headers, body)

    async def check_grant(
        self,
        grant: Grant,
        *,
        role: Role | RoleName | None = None,
        capability: Capability | CapabilityName | None = None,
        http: Request | None = None,
    ) -> Grant:
        """Check again a grant that was valid, for open connections such as streams; return it narrowed by the policies.

        The policies vote as at the entrance (:func:`~rolecall.hookspecs.rolecall_vote_access`), with ``request.again``
        set. No leeway is granted.

        :param grant: the grant at the entrance.
        :param role: the required role.
        :param capability: or the required capability.
        :param http: the request that entered; an unnamed one unless given.
        :raises InvalidToken: if the grant has expired, or its session has ended.
        :raises Forbidden: if a policy denies, or the policies leave less than is required.
        :raises Unavailable: if a policy fails, or the store does not answer.
        """
        return await self.engine.check_grant(grant, _requirement(self.engine.state.roles, role, capability), http)

    async def wait_until_ended(self, grant: Grant, timeout: float | None = None) -> RolecallError | None:
        """Wait until a grant ends; for those who hold connections themselves, and for work that goes on while it lasts.

        It ends when its token expires, and some 50 ms after this process has learned that it was revoked. The policies
        are not asked, and no leeway is granted. Thousands may wait on one event loop, and under gevent other greenlets
        run meanwhile. In other sync code each wait takes a thread.

        :param timeout: the longest wait in seconds; until the end unless given.
        :returns: why it has ended, which is not raised: :class:`~rolecall.errors.ExpiredToken`,
            :class:`~rolecall.errors.RevokedToken`, or the :class:`~rolecall.errors.StoreUnavailable` of a check, if the
            store cannot tell; each ``Web(recheck=…)`` seconds there is one. None if it still lasts after the timeout.
        """
        from ..engine.watching import GrantWatch

        error = await GrantWatch(self.engine, grant, self.api.web.recheck).wait(timeout)
        return None if error is None else noted(error)

    async def signal(
        self, session_id: str | SessionRecord, type: str = "", data: str = "", connection_id: str | None = None
    ) -> None:
        """Send a signal to the connections of a session.

        The media service that a plugin of the kit returns carries out this and the following acts; see
        :func:`~rolecall.hookspecs.rolecall_media_service`. The act is complete when the method returns.

        :param type: the signal's type, at most 128 bytes of UTF-8.
        :param data: its content, at most 8,192 bytes of UTF-8.
        :param connection_id: the only connection that gets it; all do unless given.
        :raises InvalidRequest: for an argument that is wrong.
        :raises PolicyDenied: if a policy denies.
        :raises NoMediaService: if no plugin returns a service.
        :raises NotFoundAtService: if there is no such session or connection at the service.
        :raises Unavailable: if the service is out of order.
        """
        from ..moderation import Signal

        await self.engine.moderate(Signal(session_id_of(session_id), type, data, connection_id))

    async def force_disconnect(self, session_id: str | SessionRecord, connection_id: str) -> None:
        """End a connection to a session; see :meth:`signal` for the service and the errors."""
        from ..moderation import ForceDisconnect

        await self.engine.moderate(ForceDisconnect(session_id_of(session_id), connection_id))

    async def mute_stream(self, session_id: str | SessionRecord, stream_id: str) -> None:
        """Mute the audio of a stream; see :meth:`signal` for the service and the errors."""
        from ..moderation import MuteStream

        await self.engine.moderate(MuteStream(session_id_of(session_id), stream_id))

    async def mute_all(
        self, session_id: str | SessionRecord, active: bool = True, excluded_stream_ids: Iterable[str] = ()
    ) -> None:
        """Mute the audio of all streams of a session, future ones included; or stop doing so.

        See :meth:`signal` for the service and the errors.

        :param active: False to stop: future streams are not muted.
        :param excluded_stream_ids: streams that are not muted.
        """
        from ..moderation import MuteAll

        await self.engine.moderate(MuteAll(session_id_of(session_id), active, excluded_stream_ids))

    async def change_role(self, session_id: str | SessionRecord, actor: str | Actor, role: Role | RoleName) -> None:
        """Have an actor that is in a session hold another role there from now on, without joining anew.

        The media service gives it the rights of the role, in place of those that it has, be they less or more. Its
        tokens stay as they are: have a policy of yours narrow them, or revoke them, or the next ticket is as before.
        See :meth:`signal` for the service and the errors.

        :raises InvalidRole: for a role that does not exist.
        :raises NotFoundAtService: if the actor is not there.
        """
        from ..moderation import ChangeRole

        role = self.engine.state.roles.get(role)
        await self.engine.moderate(ChangeRole(session_id_of(session_id), checked_actor(actor).id, role))

    async def list_streams(self, session_id: str | SessionRecord) -> list[dict[str, Any]]:
        """The streams of a session, each a dict in the service's own form; see :meth:`signal` for the errors."""
        from ..moderation import ListStreams

        return await self.engine.moderate(ListStreams(session_id_of(session_id)))

    async def list_connections(self, session_id: str | SessionRecord) -> list[dict[str, Any]]:
        """The connections to a session, each a dict in the service's own form, with a text ``connectionId``.

        See :meth:`signal` for the errors.
        """
        from ..moderation import ListConnections

        return await self.engine.moderate(ListConnections(session_id_of(session_id)))

    async def explain_token(
        self,
        session_id: str | SessionRecord,
        role: Role | RoleName = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
        *,
        http: Request | None = None,
        actor: str | Actor | None = None,
    ) -> Explanation:
        """Explain, step by step, whether :meth:`generate_token` would issue a token. None is issued.

        :param http: the request from outside to explain; a call of the server's own code unless given.
        :param actor: for whom the server's own code calls.
        :raises ConfigurationError: for both: plugins identify who makes a request from outside.
        """
        if http is not None and actor is not None:
            raise ConfigurationError("a call is a request from outside (http), or the server's own (actor), not both")
        return await self.engine.explain_token(
            session_id_of(session_id),
            role,
            expire_time,
            data,
            initial_layout_class_list,
            http,
            None if actor is None else checked_actor(actor),
        )

    async def explain_access(
        self,
        token: str | None = None,
        *,
        role: Role | RoleName | None = None,
        capability: Capability | CapabilityName | None = None,
        session_id: str | SessionRecord | None = None,
        http: Request | None = None,
    ) -> Explanation:
        """Explain, step by step, whether a request would enter a guarded route.

        :param token: the token; None for the one in ``http``.
        :param role: the required role.
        :param capability: or the required capability.
        :param session_id: the session of the route.
        :param http: the request for the policies; one for an unnamed route unless given.
        """
        return await self.engine.explain_access(
            _credential(self.api, token, http),
            _requirement(self.engine.state.roles, role, capability),
            session_id_of(session_id),
            http or _NO_ROUTE,
        )

    async def explain_ticket(
        self,
        token: str | None = None,
        *,
        session_id: str | SessionRecord | None = None,
        http: Request | None = None,
    ) -> Explanation:
        """Explain, step by step, whether the bearer of a token would get a ticket; none is issued.

        No media service is asked.

        :param token: the token; None for the one in ``http``.
        :param session_id: the session that the token must be for.
        :param http: the request for the policies, which are not asked without one: for the server's own code.
        """
        return await self.engine.explain_ticket(_credential(self.api, token, http), session_id_of(session_id), http)


def _credential(api: Api, token: str | None, http: Request | None) -> Credential:
    """The token to explain: the one that was passed in, or the request's."""
    return api.credential_of(http or _NO_ROUTE) if token is None else lambda: (token, None)


def _end_of_exclusion(until: ExpireTime, now: float) -> float | None:
    if isinstance(until, timedelta):
        return now + until.total_seconds()
    if isinstance(until, datetime):
        if until.utcoffset() is None:
            raise InvalidRequest("until is a datetime without a time zone; pass an aware one")
        return until.timestamp()
    return until


def _requirement(
    roles: RoleTable, role: Role | RoleName | None, capability: Capability | CapabilityName | None
) -> Requirement:
    if role is not None and capability is not None:
        raise ConfigurationError("a route requires a role or a capability, not both")
    if capability is not None:
        return Requirement.of_capability(capability)
    return ANY_TOKEN if role is None else Requirement.of_role(role, roles)
