"""The kit: the object that an app holds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from ..clock import system_clock
from ..driver import InlineDriver, LoopDriver, drive
from ..driver.threads import ThreadPools
from ..engine import Credential, Engine
from ..engine.state import State
from ..errors import ConfigurationError, PluginError
from ..explain import Explanation
from ..http.api import Api
from ..http.api.sdk_credentials import ServerCredentials
from ..http.credentials import Credentials
from ..http.web import Web
from ..keys.issuers import credentials_of, further_projects
from ..plugins import PluginInfo
from ..request import Request
from ..roles import ANY_TOKEN, Requirement, Role, RoleTable
from ..session_ids import SessionIds
from ..sessions import ArchiveMode, MediaMode, SessionRecord, record_fields, session_id_of
from ..stores import SCHEMES, Store, open_store
from ..tokens import MAX_LEEWAY, ClaimRules, ExpireTime, Grant
from ..wording import nearest, shown, shown_key
from .assembly import config_name, formats_of, plugins_of, registered, roles_of
from .environment import read_environment

if TYPE_CHECKING:
    from ..moderation import Connections, Streams

_REQUIRED: Final = {"api_key": "ROLECALL_API_KEY", "api_secret": "ROLECALL_API_SECRET"}
_NO_ROUTE: Final = Request("GET", "")

_Kit = TypeVar("_Kit", bound="Rolecall")


class Rolecall:
    """Creates sessions, mints and verifies tokens, and asks the app's policies who may get what.

    Calls made on it are the server's own, and trusted: policies still vote, and the built-in rule allows. What comes
    in over HTTP goes through an adapter, and is denied unless a policy allows it. Two kits never share anything.

    :param api_key: the project's API key: 1 to 64 letters, digits and ``-``.
    :param api_secret: the project's API secret: at least 32 bytes, known to nobody else.
    :param application_id: the id of an application of the newer Vonage service, for tokens of the format ``vonage``;
        instead of key and secret, or beside them.
    :param private_key: the application's private key: PEM text, or the path of a file with it.
    :param projects: further projects that the kit serves: the API secret of each, by its API key.
        Sessions are the first one's unless created for another, and tokens are of their session's project.
    :param store: where sessions are kept: ``memory://``, ``sqlite:///file.db``, or a :class:`~rolecall.stores.Store`.
    :param plugins: the app's policies: instances, modules, or the names of either (``"package.module:object"``); see
        :mod:`rolecall.hookspecs`.
    :param entry_points: which plugins of installed packages (entry points in the group ``rolecall``) are loaded, too,
        by name; each must be there. A line in the log names those that are installed and not loaded; False: none is
        loaded, and nothing said.
    :param blocked_plugins: names of plugins that are not loaded, wherever they come from.
    :param plugin_config: for each plugin's name, what :meth:`plugin_config` gives it.
    :param format: how tokens are minted: ``"opentok"`` (a project's JWT), ``"t1"`` (its older form) or ``"vonage"`` (an
        application's JWT). The first that the credentials allow, unless given.
    :param accept: the formats that are verified. Unless given, the JWTs that the credentials allow, and ``format``;
        T1, which joins fields that SDKs do not encode, is accepted only where it is named.
    :param leeway: by how many seconds the clocks of two servers may differ, 0 to 60.
    :param hook_timeout: the seconds that each policy, and each call of a media service, has for its answer; a later one
        counts as a failure.
    :param store_timeout: the seconds that a call of the store has that may block; a later answer counts as none (503).
    :param clock: returns now, in Unix seconds.
    :param trace: log every decision with its steps, as a line of JSON, to the logger ``rolecall.trace``.
    :param web: what browsers may: the origins of their pages, tokens in a cookie or the query; nothing unless given.
    :raises ConfigurationError: says what is wrong with an argument, and what to do.
    """

    #: Whether a plugin that is blocked or configured must be there; not where the app's own code, which may pass
    #: further ones, does not run.
    _knows_all_plugins: ClassVar[bool] = True

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | bytes | None = None,
        *,
        application_id: str | None = None,
        private_key: str | bytes | os.PathLike[str] | None = None,
        projects: Mapping[str, str | bytes] = MappingProxyType({}),
        store: str | Store = "memory://",
        plugins: Iterable[object] = (),
        entry_points: Collection[str] | Literal[False] = (),
        blocked_plugins: Collection[str] = (),
        plugin_config: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        format: str | None = None,
        accept: Iterable[str] | None = None,
        leeway: float = 10,
        hook_timeout: float = 5.0,
        store_timeout: float = 5.0,
        clock: Callable[[], float] = system_clock,
        trace: bool = False,
        web: Web = Web(),  # noqa: B008 (it does not change)
    ) -> None:

        try:
            project, application = credentials_of(api_key, api_secret, application_id, private_key)
            further = further_projects(projects, project)
        finally:
            del api_secret, private_key, projects  # whatever is raised, no frame of its traceback holds them
        own = project or application
        assert own is not None
        _check_leeway(leeway)
        _check_timeout("hook_timeout", hook_timeout)
        _check_timeout("store_timeout", store_timeout)
        if not callable(clock):
            raise ConfigurationError(f"clock is {shown(clock)}; expected a function that returns Unix seconds")
        if not isinstance(web, Web):
            raise ConfigurationError(f"web is {shown(web)}; expected a rolecall.Web(…)")
        if not isinstance(trace, bool):
            raise ConfigurationError(f"trace is {shown(trace)}; expected True or False")
        self._plugin_config = _frozen_config(plugin_config)
        configured = list(plugin_config)
        del plugin_config  # it may hold passwords
        loaded = plugins_of(plugins, entry_points, blocked_plugins, configured, all_known=self._knows_all_plugins)
        roles = roles_of(loaded)
        session_ids, rules = SessionIds(own, *further), ClaimRules(roles, leeway)
        mint, *accepted = formats_of(loaded, format, accept, (project, *further), application, rules, session_ids)
        credentials = Credentials(web, own.key)
        servers = ServerCredentials([one for one in (project, *further) if one], application, own.id, leeway)
        self._api_key = own.id
        self._state = State(
            api_key=own.id,
            session_ids=session_ids,
            roles=roles,
            rules=rules,
            mint=mint,
            accept=tuple(accepted),
            plugins=loaded,
            clock=clock,
            deadline=hook_timeout,
            store_timeout=store_timeout,
            trace_log=trace,
            # Last, so that nothing stays open when another argument is wrong.
            store=open_store(store, registered(loaded, "rolecall_register_stores", SCHEMES)),
        )
        self._pools = ThreadPools()
        self._inline = InlineDriver(self._pools)
        #: The engine for sync frameworks: an adapter drives it with :func:`rolecall.driver.drive`.
        self.engine = Engine(self._state, self._inline, blocks=True)
        #: What an adapter for a sync framework holds.
        self.api = Api(self.engine, web, credentials, servers)
        #: The same methods for async code: ``await kit.aio.create_session()``.
        self.aio = AsyncRolecall(self)
        try:
            loaded.start(self)
        except PluginError:
            self.close()
            raise

    @classmethod
    def from_env(cls: type[_Kit], environ: Mapping[str, Any] | None = None, **options: Any) -> _Kit:
        """A kit with ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET``, and whatever else of the environment is set.

        ``ROLECALL_APPLICATION_ID`` and ``ROLECALL_PRIVATE_KEY`` (PEM text or a path) may stand beside or for these,
        ``ROLECALL_PROJECTS`` (a JSON object, from API keys to API secrets) beside them;
        ``ROLECALL_STORE``, ``ROLECALL_FORMAT``, ``ROLECALL_ACCEPT`` (names, separated by commas),
        ``ROLECALL_PLUGINS`` (names), ``ROLECALL_ENTRY_POINTS`` (names, or ``none``), ``ROLECALL_BLOCKED_PLUGINS``
        (names), ``ROLECALL_PLUGIN_<NAME>`` (a plugin's configuration, as a JSON object), ``ROLECALL_ORIGINS``
        (separated by commas) and ``ROLECALL_OPENAPI`` (``1`` or ``0``), for both of which see :class:`Web`, and
        ``ROLECALL_TRACE`` (``1`` or ``0``). Credentials, projects, the store and a plugin's configuration may stand in
        a file, which the same variable with ``_FILE`` at its end names.

        :param environ: the variables to read, ``os.environ`` by default; or a mapping like Flask's ``app.config``,
            whose values may be of an argument's own type.
        :param options: further arguments of :class:`Rolecall`; they win over the environment.
        :raises ConfigurationError: if a variable or argument is missing or unknown, or says nothing that can be meant;
            says which.
        """
        try:
            problem = _problem_with_arguments(cls, environ, options)
            if problem is not None:
                raise ConfigurationError(problem)
            options = {**read_environment(os.environ if environ is None else environ), **options}
            if not (options.get("application_id") or options.get("private_key")):
                for name, variable in _REQUIRED.items():
                    if name not in options:
                        meant = name.replace("api_", "API ")
                        raise ConfigurationError(
                            f"the environment variable {variable} is not set; put the project's {meant} there"
                        )
            return cls(**options)
        finally:
            del options, environ  # whatever is raised, no frame of its traceback holds the credentials

    @property
    def api_key(self) -> str:
        """The API key of the project; of several, of the first."""
        return self._api_key

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys of all its projects."""
        return self._state.session_ids.issuers

    def api_key_of(self, session_id: str | SessionRecord) -> str:
        """The API key of the project that a session is of.

        :raises InvalidSessionId: for an id that is malformed, made up, or of no project of this kit.
        """
        return self._state.session_ids.check(session_id_of(session_id))

    @property
    def hook_timeout(self) -> float:
        """The seconds that each policy has for its answer."""
        return self._state.deadline

    @property
    def roles(self) -> RoleTable:
        """The roles that exist."""
        return self._state.roles

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """The loaded plugins, by name: each with its origin and its hooks."""
        return self._state.plugins.loaded

    def plugin_config(self, name: str) -> Mapping[str, Any]:
        """The configuration of the plugin of this name, read-only; empty if it was given none."""
        return self._plugin_config.get(config_name(name), MappingProxyType({}))

    def create_session(
        self,
        location: str | None = None,
        media_mode: str = MediaMode.RELAYED,
        archive_mode: str = ArchiveMode.MANUAL,
        e2ee: bool = False,
        *,
        api_key: str | None = None,
        archive_name: str | None = None,
        archive_resolution: str | None = None,
    ) -> Session:
        """Create a session. It is durable when this returns.

        :param location: an IP address near its participants, as a hint.
        :param media_mode: ``"relayed"`` or ``"routed"``.
        :param archive_mode: ``"manual"``, or ``"always"`` (needs ``"routed"``).
        :param e2ee: encrypt media from end to end (needs ``"routed"``).
        :param api_key: the project that it is for; the kit's first one unless given.
        :param archive_name: what its archives are called, 1 to 80 characters (needs ``archive_mode="always"``). This
            and the next are shown to policies, and passed on where a plugin creates the session at a service; the kit
            does not keep them.
        :param archive_resolution: in which size they are recorded, such as ``"1280x720"``.
        :raises InvalidSessionOption: for a property that does not exist, or does not go with the others.
        :raises PolicyDenied: if a policy denies.
        """
        record = drive(
            self.engine.create_session(
                location, media_mode, archive_mode, e2ee, api_key, archive_name, archive_resolution
            )
        )
        return Session(**record_fields(record), kit=self)

    def get_session(self, session_id: str | SessionRecord) -> Session:
        """A session, open or ended.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        :raises SessionNotFound: if the store does not know it.
        """
        return Session(**record_fields(drive(self.engine.get_session(session_id_of(session_id)))), kit=self)

    def end_session(self, session_id: str | SessionRecord) -> None:
        """End a session: it issues no more tokens, and those it issued are refused. Ending it again changes nothing.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        """
        drive(self.engine.end_session(session_id_of(session_id)))

    def generate_token(
        self,
        session_id: str | SessionRecord,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """Mint a token for a session. The order of the arguments is that of the published SDK guides.

        :param session_id: the session, or its id; so in all methods of a kit. An id of the same API key that another
            service made is taken, too.
        :param role: the name of a role, or a :class:`Role`.
        :param expire_time: Unix seconds, an aware ``datetime``, or a ``timedelta`` from now; fractions of a second are
            cut off. 24 hours from now unless set, and at most 30 days.
        :param data: at most 1,000 characters that describe the connection, for example a user's name.
        :param initial_layout_class_list: layout classes of the streams that the bearer publishes.
        :raises InvalidRequest: a subclass that says which value, what was expected, and what "now" is.
        :raises SessionEnded: if the session has ended.
        :raises PolicyDenied: if a policy denies.
        """
        token, _ = drive(
            self.engine.generate_token(session_id_of(session_id), role, expire_time, data, initial_layout_class_list)
        )
        return token

    def verify_token(self, token: str, session_id: str | SessionRecord | None = None) -> Grant:
        """What a token grants.

        :param session_id: demand that the token is for this session.
        :raises InvalidToken: a subclass that says why the token is refused.
        """
        if self._state.plugins.on_event:
            return drive(self.engine.verify_and_tell(token, session_id_of(session_id)))
        return self.engine.verify_token(token, session_id_of(session_id))

    def check_grant(
        self, grant: Grant, *, role: str | None = None, capability: str | None = None, http: Request | None = None
    ) -> Grant:
        """What the policies now leave of a grant that was good: for what stays open, such as a stream.

        The policies vote as they do at the door (:func:`~rolecall.hookspecs.rolecall_vote_access`), and are shown
        that it is a look again. No leeway is granted.

        :param grant: the grant that somebody entered with.
        :param role: the role that is required.
        :param capability: or the capability.
        :param http: the request that entered; an unnamed one unless given.
        :raises InvalidToken: if the grant has expired, or its session has ended.
        :raises Forbidden: if a policy denies, or what the policies leave is less than is required.
        :raises Unavailable: if a policy fails, or the store does not answer.
        """
        return drive(self.engine.check_grant(grant, _requirement(self.roles, role, capability), http))

    def signal(
        self, session_id: str | SessionRecord, type: str = "", data: str = "", connection_id: str | None = None
    ) -> None:
        """Send a signal to the connections of a session.

        This and what follows is carried out by the service that carries the session's media, which a plugin names; see
        :func:`~rolecall.hookspecs.rolecall_media_service`. It is done when it returns.

        :param type: what the signal is about, at most 128 bytes of UTF-8.
        :param data: its content, at most 8,192 bytes of UTF-8.
        :param connection_id: the one connection that gets it; all do unless given.
        :raises InvalidRequest: for an argument that is wrong.
        :raises PolicyDenied: if a policy denies.
        :raises NoMediaService: if no plugin names a service.
        :raises NotFoundAtService: if the service knows nobody who could get it.
        :raises Unavailable: if the service is out of order.
        """
        from ..moderation import Signal

        drive(self.engine.moderate(Signal(session_id_of(session_id), type, data, connection_id)))

    def force_disconnect(self, session_id: str | SessionRecord, connection_id: str) -> None:
        """End a connection to a session; see :meth:`signal` for how, and for what is raised."""
        from ..moderation import ForceDisconnect

        drive(self.engine.moderate(ForceDisconnect(session_id_of(session_id), connection_id)))

    def mute_stream(self, session_id: str | SessionRecord, stream_id: str) -> None:
        """Mute the audio of a stream; see :meth:`signal` for how, and for what is raised."""
        from ..moderation import MuteStream

        drive(self.engine.moderate(MuteStream(session_id_of(session_id), stream_id)))

    def mute_all(
        self, session_id: str | SessionRecord, active: bool = True, excluded_stream_ids: Iterable[str] = ()
    ) -> None:
        """Mute the audio of all streams of a session, those to come included; or stop doing so.

        See :meth:`signal` for how, and for what is raised.

        :param active: False to stop: streams to come are not muted.
        :param excluded_stream_ids: streams that are not muted.
        """
        from ..moderation import MuteAll

        drive(self.engine.moderate(MuteAll(session_id_of(session_id), active, excluded_stream_ids)))

    def list_streams(self, session_id: str | SessionRecord) -> Streams:
        """The streams of a session, each a dict as the service describes it; see :meth:`signal` for what is raised."""
        from ..moderation import ListStreams

        return drive(self.engine.moderate(ListStreams(session_id_of(session_id))))

    def list_connections(self, session_id: str | SessionRecord) -> Connections:
        """The connections to a session, each a dict as the service describes it, with a text ``connectionId``.

        See :meth:`signal` for what is raised.
        """
        from ..moderation import ListConnections

        return drive(self.engine.moderate(ListConnections(session_id_of(session_id))))

    def explain_token(
        self,
        session_id: str | SessionRecord,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
        *,
        http: Request | None = None,
    ) -> Explanation:
        """What :meth:`generate_token` would come to, and why, step by step. Nothing is issued.

        :param http: the request from outside that is to be explained; a call of the server's own unless given.
        """
        return drive(
            self.engine.explain_token(
                session_id_of(session_id), role, expire_time, data, initial_layout_class_list, http
            )
        )

    def explain_access(
        self,
        token: str | None = None,
        *,
        role: str | None = None,
        capability: str | None = None,
        session_id: str | SessionRecord | None = None,
        http: Request | None = None,
    ) -> Explanation:
        """What entering a guarded route would come to, and why, step by step.

        :param token: the token; None for the one that ``http`` carries.
        :param role: the role that the route requires.
        :param capability: or the capability.
        :param session_id: the session that the route is about.
        :param http: the request that the policies are shown; one for an unnamed route unless given.
        """
        return drive(
            self.engine.explain_access(
                _credential(self.api, token, http),
                _requirement(self.roles, role, capability),
                session_id_of(session_id),
                http or _NO_ROUTE,
            )
        )

    def close(self) -> None:
        """Release the store and what runs in the background. The kit is not used afterwards."""
        self._inline.close()
        self._pools.close()
        self._state.store.close()

    def __enter__(self: _Kit) -> _Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):
            return "<Rolecall, not made yet>"
        return (
            f"<Rolecall api_key={shown_key(self._api_key)} store={type(self._state.store).__name__} "
            f"plugins={[plugin.name for plugin in self.plugins]}>"
        )


class AsyncRolecall:
    """The methods of a kit for async code, found as ``kit.aio``. Nothing in it blocks the event loop."""

    def __init__(self, kit: Rolecall) -> None:
        #: The engine for async frameworks, whose methods an adapter awaits.
        self.engine = Engine(kit._state, LoopDriver(kit._pools), blocks=False)
        #: What an adapter for an async framework holds.
        self.api = Api(self.engine, kit.api.web, kit.api.credentials, kit.api.servers)
        self._repr = f"{kit!r}.aio"

    @property
    def api_key(self) -> str:
        """See :attr:`Rolecall.api_key`."""
        return self.engine.state.api_key

    @property
    def api_keys(self) -> tuple[str, ...]:
        """See :attr:`Rolecall.api_keys`."""
        return self.engine.state.session_ids.issuers

    def api_key_of(self, session_id: str | SessionRecord) -> str:
        """See :meth:`Rolecall.api_key_of`. Not async: nothing in it waits."""
        return self.engine.state.session_ids.check(session_id_of(session_id))

    async def create_session(
        self,
        location: str | None = None,
        media_mode: str = MediaMode.RELAYED,
        archive_mode: str = ArchiveMode.MANUAL,
        e2ee: bool = False,
        *,
        api_key: str | None = None,
        archive_name: str | None = None,
        archive_resolution: str | None = None,
    ) -> AsyncSession:
        """See :meth:`Rolecall.create_session`."""
        record = await self.engine.create_session(
            location, media_mode, archive_mode, e2ee, api_key, archive_name, archive_resolution
        )
        return AsyncSession(**record_fields(record), kit=self)

    async def get_session(self, session_id: str | SessionRecord) -> AsyncSession:
        """See :meth:`Rolecall.get_session`."""
        return AsyncSession(**record_fields(await self.engine.get_session(session_id_of(session_id))), kit=self)

    async def end_session(self, session_id: str | SessionRecord) -> None:
        """See :meth:`Rolecall.end_session`."""
        await self.engine.end_session(session_id_of(session_id))

    async def generate_token(
        self,
        session_id: str | SessionRecord,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """See :meth:`Rolecall.generate_token`."""
        token, _ = await self.engine.generate_token(
            session_id_of(session_id), role, expire_time, data, initial_layout_class_list
        )
        return token

    async def verify_token(self, token: str, session_id: str | SessionRecord | None = None) -> Grant:
        """See :meth:`Rolecall.verify_token`."""
        return await self.engine.verify_and_tell(token, session_id_of(session_id))

    async def check_grant(
        self, grant: Grant, *, role: str | None = None, capability: str | None = None, http: Request | None = None
    ) -> Grant:
        """See :meth:`Rolecall.check_grant`."""
        requirement = _requirement(self.engine.state.roles, role, capability)
        return await self.engine.check_grant(grant, requirement, http)

    async def signal(
        self, session_id: str | SessionRecord, type: str = "", data: str = "", connection_id: str | None = None
    ) -> None:
        """See :meth:`Rolecall.signal`."""
        from ..moderation import Signal

        await self.engine.moderate(Signal(session_id_of(session_id), type, data, connection_id))

    async def force_disconnect(self, session_id: str | SessionRecord, connection_id: str) -> None:
        """See :meth:`Rolecall.force_disconnect`."""
        from ..moderation import ForceDisconnect

        await self.engine.moderate(ForceDisconnect(session_id_of(session_id), connection_id))

    async def mute_stream(self, session_id: str | SessionRecord, stream_id: str) -> None:
        """See :meth:`Rolecall.mute_stream`."""
        from ..moderation import MuteStream

        await self.engine.moderate(MuteStream(session_id_of(session_id), stream_id))

    async def mute_all(
        self, session_id: str | SessionRecord, active: bool = True, excluded_stream_ids: Iterable[str] = ()
    ) -> None:
        """See :meth:`Rolecall.mute_all`."""
        from ..moderation import MuteAll

        await self.engine.moderate(MuteAll(session_id_of(session_id), active, excluded_stream_ids))

    async def list_streams(self, session_id: str | SessionRecord) -> Streams:
        """See :meth:`Rolecall.list_streams`."""
        from ..moderation import ListStreams

        return await self.engine.moderate(ListStreams(session_id_of(session_id)))

    async def list_connections(self, session_id: str | SessionRecord) -> Connections:
        """See :meth:`Rolecall.list_connections`."""
        from ..moderation import ListConnections

        return await self.engine.moderate(ListConnections(session_id_of(session_id)))

    async def explain_token(
        self,
        session_id: str | SessionRecord,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
        *,
        http: Request | None = None,
    ) -> Explanation:
        """See :meth:`Rolecall.explain_token`."""
        return await self.engine.explain_token(
            session_id_of(session_id), role, expire_time, data, initial_layout_class_list, http
        )

    async def explain_access(
        self,
        token: str | None = None,
        *,
        role: str | None = None,
        capability: str | None = None,
        session_id: str | SessionRecord | None = None,
        http: Request | None = None,
    ) -> Explanation:
        """See :meth:`Rolecall.explain_access`."""
        requirement = _requirement(self.engine.state.roles, role, capability)
        return await self.engine.explain_access(
            _credential(self.api, token, http), requirement, session_id_of(session_id), http or _NO_ROUTE
        )

    def __repr__(self) -> str:
        return self._repr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session(SessionRecord):
    """A session of a kit. What is pickled of it is its :class:`SessionRecord`: its kit holds keys, and stays."""

    kit: Rolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> Session:
        return self  # it does not change

    def __deepcopy__(self, memo: object) -> Session:
        return self  # nor does its kit belong to a copy

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

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
    """A session of a kit, as ``kit.aio`` gives it; see :class:`Session`."""

    kit: AsyncRolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> AsyncSession:
        return self

    def __deepcopy__(self, memo: object) -> AsyncSession:
        return self

    @property
    def api_key(self) -> str:
        """The API key of the project that it is of."""
        return self.kit.api_key_of(self.session_id)

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


def _problem_with_arguments(kit: type[Rolecall], environ: object, options: Iterable[str]) -> str | None:
    # Returned, so that no frame of a traceback holds the values.
    if environ is not None and not isinstance(environ, Mapping):
        return f"environ is {shown(environ)}; expected a mapping: os.environ, or app.config"
    known = list(inspect.signature(kit).parameters)
    for name in options:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
            return f"Rolecall has no argument {shown(name, 80)}; {hint}"
    return None


def _frozen_config(config: object) -> dict[str, Mapping[str, Any]]:
    if not isinstance(config, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Mapping) for name, value in config.items()
    ):
        raise ConfigurationError("plugin_config is not a mapping from plugin names to mappings")
    frozen = {config_name(name): MappingProxyType(dict(value)) for name, value in config.items()}
    if len(frozen) != len(config):
        raise ConfigurationError("plugin_config names one plugin twice, in two spellings")
    return dict(frozen)


def _credential(api: Api, token: str | None, http: Request | None) -> Credential:
    """The token to explain: the one that was passed in, or the request's."""
    return api.credential_of(http or _NO_ROUTE) if token is None else lambda: (token, None)


def _requirement(roles: RoleTable, role: str | None, capability: str | None) -> Requirement:
    if role is not None and capability is not None:
        raise ConfigurationError("a route requires a role or a capability, not both")
    if capability is not None:
        return Requirement.of_capability(capability)
    return ANY_TOKEN if role is None else Requirement.of_role(role, roles)


def _check_timeout(name: str, seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 300:
        raise ConfigurationError(f"{name} is {shown(seconds)}; expected seconds, above 0 and up to 300")


def _check_leeway(leeway: object) -> None:
    if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway is {shown(leeway)}; expected 0 to {MAX_LEEWAY} seconds")
