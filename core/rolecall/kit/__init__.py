"""The kit: the object that an app holds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, Literal, TypeVar

from ..clock import system_clock
from ..driver import Driver, InlineDriver, LoopDriver, drive
from ..driver.threads import ThreadPools
from ..engine.housekeeping import Housekeeper, Retention
from ..engine.state import State
from ..errors import ConfigurationError, NotInStep, PluginError
from ..formats.claims import ClaimRules
from ..http.api import Api
from ..http.api.sdk_credentials import ServerCredentials
from ..http.credentials import Credentials
from ..http.web import Web
from ..keys.issuers import credentials_of, further_projects
from ..roles import Role, RoleName
from ..session_ids import OpenTokIds, SessionNames
from ..sessions import MediaMode, SessionRecord, record_fields, session_id_of
from ..stores import SCHEMES, Store, open_store
from ..stores.checking import UPKEEP, has, problem_with_immediate
from ..tokens import MAX_LEEWAY, ExpireTime, Grant
from ..wording import kind, nearest, shown, shown_key
from .assembly import config_name, engine_of, formats_of, issuers_by_need, plugins_of, registered, roles_of, watch_of
from .calls import Calls, Records, SessionPage, Settings
from .environment import read_environment
from .facade import P, Result, derived, written_out
from .leases import AsyncLeases, Leases

if TYPE_CHECKING:
    from ..plugins import Plugins
    from ..plugins.protocols import Plugin

_REQUIRED: Final = {"api_key": "ROLECALL_API_KEY", "api_secret": "ROLECALL_API_SECRET"}

_Kit = TypeVar("_Kit", bound="Rolecall")
_AsyncKit = TypeVar("_AsyncKit", bound="AsyncRolecall")


def _driven(
    method: Callable[Concatenate[Calls, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Rolecall, P], Result]:
    """The sync form of a call."""

    def call(self: Rolecall, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return drive(method(self._calls, *args, **kwargs))

    return derived(call, method)


def _driven_to_session(
    method: Callable[Concatenate[Records, P], Coroutine[Any, Any, SessionRecord]],
) -> Callable[Concatenate[Rolecall, P], Session]:
    """The sync form of a call that returns a session."""

    def call(self: Rolecall, /, *args: P.args, **kwargs: P.kwargs) -> Session:
        return Session(**record_fields(drive(method(self._records, *args, **kwargs))), kit=self)

    return derived(call, method, returned="Session")


def _awaited_to_session(
    method: Callable[Concatenate[Records, P], Coroutine[Any, Any, SessionRecord]],
) -> Callable[Concatenate[AsyncRolecall, P], Coroutine[Any, Any, AsyncSession]]:
    """The async form of a call that returns a session, with the session's methods for async code."""

    async def call(self: AsyncRolecall, /, *args: P.args, **kwargs: P.kwargs) -> AsyncSession:
        return AsyncSession(**record_fields(await method(self._records, *args, **kwargs)), kit=self)

    return derived(call, method, returned="AsyncSession")


def _driven_to_sessions(
    method: Callable[Concatenate[Records, P], Coroutine[Any, Any, SessionPage[SessionRecord]]],
) -> Callable[Concatenate[Rolecall, P], SessionPage[Session]]:
    """The sync form of a call that returns a page of sessions."""

    def call(self: Rolecall, /, *args: P.args, **kwargs: P.kwargs) -> SessionPage[Session]:
        page = drive(method(self._records, *args, **kwargs))
        return SessionPage(tuple(Session(**record_fields(one), kit=self) for one in page), page.next)

    return derived(call, method, returned="SessionPage[Session]")


def _awaited_to_sessions(
    method: Callable[Concatenate[Records, P], Coroutine[Any, Any, SessionPage[SessionRecord]]],
) -> Callable[Concatenate[AsyncRolecall, P], Coroutine[Any, Any, SessionPage[AsyncSession]]]:
    """The async form of a call that returns a page of sessions."""

    async def call(self: AsyncRolecall, /, *args: P.args, **kwargs: P.kwargs) -> SessionPage[AsyncSession]:
        page = await method(self._records, *args, **kwargs)
        return SessionPage(tuple(AsyncSession(**record_fields(one), kit=self) for one in page), page.next)

    return derived(call, method, returned="SessionPage[AsyncSession]")


class Rolecall(Settings):
    """Creates sessions, mints and verifies tokens, and asks the app's policies who may get them.

    Calls by the server's own code are trusted: policies still vote, and the built-in rule allows. Requests over HTTP go
    through an adapter, and are denied unless a policy allows them. Two kits never share anything.

    :param api_key: the project's API key: 1 to 64 letters, digits and ``-``.
    :param api_secret: the project's API secret: at least 32 bytes, known to nobody else.
    :param application_id: the id of an application of the newer Vonage service, for tokens of the format ``vonage``;
        instead of key and secret, or besides them.
    :param private_key: the application's private key: PEM text, or the path of a file with it.
    :param projects: further projects that the kit serves: the API secret of each, by its API key.
        Sessions are the first project's unless created for another, and tokens are their session's project's.
    :param store: the store of the sessions: ``memory://``, ``sqlite:///file.db``, or a :class:`~rolecall.stores.Store`.
    :param plugins: the app's policies: instances, modules, or the names of either (``"package.module:object"``); see
        :mod:`rolecall.hookspecs`.
    :param entry_points: the plugins of installed packages (entry points in the group ``rolecall``) to load, too, by
        name; each must exist. A line in the log names installed plugins that are not loaded; False loads none, and logs
        nothing.
    :param blocked_plugins: the names of plugins that are never loaded.
    :param plugin_config: the configuration of each plugin, by its name, for :meth:`plugin_config`.
    :param format: the format for minting: ``"opentok"`` (a project's JWT), ``"t1"`` (its older form) or ``"vonage"``
        (an application's JWT). The first that the credentials allow, unless given.
    :param accept: the accepted formats. Unless given, the JWTs that the credentials allow, and ``format``; T1, in which
        SDKs join fields without encoding them, is accepted only if it is listed.
    :param leeway: the seconds that the clocks of two servers may differ by, 0 to 60.
    :param hook_timeout: the seconds for the answer of each policy, and of each call of a media service; a later answer
        counts as a failure.
    :param store_timeout: the seconds for a call of the store that may wait; a later answer counts as none (503).
    :param session_retention: how long the record of an ended session is kept, in seconds or as a ``timedelta``; always
        unless given. Its tokens stay refused.
    :param max_session_age: the age at which every session is over, as if it were ended, in seconds or as a
        ``timedelta``; at none unless given. Only then the store forgets which sessions have ended, and does not grow
        for ever. Sessions with ids that show no age, such as those of a media service, are refused. All kits that share
        the store need the same: another one takes tokens of forgotten sessions for good.
    :param revocation: ``"in_step"``: each process knows within the store's bound what other processes have ended, and
        checks ask nobody. ``"immediate"``: every check asks the store itself, so that nothing is accepted after the
        acknowledgement of its end.
    :param clock: returns now, in Unix seconds.
    :param trace: log every decision with its steps, as a line of JSON, to the logger ``rolecall.trace``.
    :param web: the rights of browsers: the origins of their pages, tokens in a cookie or the query; none unless given.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    #: Whether a blocked or configured plugin must exist. False where the app's own code, which may pass more plugins,
    #: does not run.
    _knows_all_plugins: ClassVar[bool] = True
    #: How its session ids are made and checked.
    _session_names: ClassVar[type[SessionNames]] = OpenTokIds

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | bytes | None = None,
        *,
        application_id: str | None = None,
        private_key: str | bytes | os.PathLike[str] | None = None,
        projects: Mapping[str, str | bytes] = MappingProxyType({}),
        store: str | Store = "memory://",
        plugins: Iterable[Plugin] = (),
        entry_points: Collection[str] | Literal[False] = (),
        blocked_plugins: Collection[str] = (),
        plugin_config: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        format: str | None = None,
        accept: Iterable[str] | None = None,
        leeway: float = 10,
        hook_timeout: float = 5.0,
        store_timeout: float = 5.0,
        session_retention: float | timedelta | None = None,
        max_session_age: float | timedelta | None = None,
        revocation: Literal["in_step", "immediate"] = "in_step",
        clock: Callable[[], float] = system_clock,
        trace: bool = False,
        web: Web = Web(),  # noqa: B008 (it does not change)
    ) -> None:

        try:
            project, application = credentials_of(api_key, api_secret, application_id, private_key)
            further = further_projects(projects, project)
        finally:
            del api_secret, private_key, projects  # so that no frame of a traceback holds them
        own = project or application
        assert own is not None
        _check_leeway(leeway)
        _check_timeout("hook_timeout", hook_timeout)
        _check_timeout("store_timeout", store_timeout)
        if revocation not in ("in_step", "immediate"):
            raise ConfigurationError(f"revocation is {shown(revocation)}; expected 'in_step' or 'immediate'")
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
        session_ids = self._session_names(own, *further)
        retention = Retention.of(session_retention, max_session_age)
        _check_shows_age(session_ids, retention, loaded)
        rules = ClaimRules(roles, leeway, session_ids)
        issuers = issuers_by_need(project, further, application)
        mint, formats = formats_of(loaded, format, accept, issuers, rules)
        credentials = Credentials(web, own)
        servers = ServerCredentials(issuers["secret"], application, own.id, leeway)
        self._state = State(
            api_key=own.id,
            session_ids=session_ids,
            roles=roles,
            rules=rules,
            mint=mint,
            formats=formats,
            plugins=loaded,
            clock=clock,
            deadline=hook_timeout,
            store_timeout=store_timeout,
            is_immediate=revocation == "immediate",
            trace_log=trace,
            retention=retention,
            # Last, so that nothing stays open if another argument is wrong.
            store=_open_store(store, registered(loaded, "rolecall_register_stores", SCHEMES), revocation, retention),
        )
        self._pools = ThreadPools()
        self._inline = InlineDriver(self._pools)
        self._state.watch = watch_of(self._state, self._inline)
        #: The engine for sync frameworks: an adapter drives it with :func:`rolecall.driver.drive`.
        self.engine = engine_of(self._state, self._inline, blocks=True)
        if has(self._state.store, UPKEEP):
            self._state.housekeeper = Housekeeper(self.engine.forget, self._pools, retention, clock)
        #: The kit for an adapter of a sync framework.
        self.api = Api(self.engine, web, credentials, servers)
        self._calls, self._records = Calls(self.engine, self.api), Records(self.engine)
        #: Places that are limited in number and in time, for policies that count.
        self.leases = Leases(self.engine)
        #: The same methods for async code: ``await kit.aio.create_session()``.
        self.aio = AsyncRolecall(self)
        try:
            loaded.start(self)
        except PluginError:
            self.close()
            raise

    @classmethod
    def from_env(cls: type[_Kit], environ: Mapping[str, Any] | None = None, **options: Any) -> _Kit:
        """Make a kit from ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET``, and the other variables of the environment.

        These two may be replaced, or joined, by ``ROLECALL_APPLICATION_ID`` and ``ROLECALL_PRIVATE_KEY`` (PEM text or a
        path). Further variables are ``ROLECALL_PROJECTS`` (a JSON object, from API keys to API secrets),
        ``ROLECALL_STORE``, ``ROLECALL_REVOCATION`` (``in_step`` or ``immediate``), ``ROLECALL_FORMAT``,
        ``ROLECALL_ACCEPT`` (names, separated by commas), ``ROLECALL_PLUGINS`` (names), ``ROLECALL_ENTRY_POINTS``
        (names, or ``none``), ``ROLECALL_BLOCKED_PLUGINS`` (names), ``ROLECALL_PLUGIN_<NAME>`` (a plugin's
        configuration, as a JSON object), ``ROLECALL_SESSION_RETENTION`` and ``ROLECALL_MAX_SESSION_AGE`` (seconds),
        ``ROLECALL_ORIGINS`` (separated by commas) and ``ROLECALL_OPENAPI`` (``1`` or ``0``), for both of which see
        :class:`Web`, and ``ROLECALL_TRACE`` (``1`` or ``0``). Credentials, projects, the store and a plugin's
        configuration may also be in a file: its path is in the same variable with ``_FILE`` at the end of the name.

        :param environ: the variables to read, ``os.environ`` by default; or a mapping like Flask's ``app.config``,
            whose values may already have an argument's type.
        :param options: further arguments of :class:`Rolecall`; they take precedence over the environment.
        :raises ConfigurationError: says which variable or argument is missing, unknown or invalid.
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
            del options, environ  # so that no frame of a traceback holds the credentials

    create_session = _driven_to_session(Records.create_session)
    get_session = _driven_to_session(Records.get_session)
    sessions = _driven_to_sessions(Records.sessions)
    end_session = _driven(Calls.end_session)

    # Apps call these two most, and a derived method would be slower.
    @written_out(Calls.generate_token)
    def generate_token(
        self,
        session_id: str | SessionRecord,
        role: Role | RoleName = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        token, _ = drive(
            self.engine.generate_token(session_id_of(session_id), role, expire_time, data, initial_layout_class_list)
        )
        return token

    @written_out(Calls.verify_token)
    def verify_token(self, token: str, session_id: str | SessionRecord | None = None) -> Grant:
        if self.engine.verifies_at_once:
            try:
                return self.engine.verify_token(token, session_id_of(session_id))
            except NotInStep:
                pass
        return drive(self.engine.verify_and_tell(token, session_id_of(session_id)))

    check_grant = _driven(Calls.check_grant)
    signal = _driven(Calls.signal)
    force_disconnect = _driven(Calls.force_disconnect)
    mute_stream = _driven(Calls.mute_stream)
    mute_all = _driven(Calls.mute_all)
    list_streams = _driven(Calls.list_streams)
    list_connections = _driven(Calls.list_connections)
    explain_token = _driven(Calls.explain_token)
    explain_access = _driven(Calls.explain_access)

    def api_with(self, driver: Driver, *, blocks: bool = False) -> Api:
        """The kit for an adapter with its own way to wait, in place of ``api`` or ``aio.api``.

        :param driver: how the logic waits; see :class:`~rolecall.driver.Driver`.
        :param blocks: whether it may block its thread.
        """
        return Api(engine_of(self._state, driver, blocks=blocks), self.api.web, self.api.credentials, self.api.servers)

    def close(self) -> None:
        """Release the store and the threads in the background. Do not use the kit afterwards."""
        try:
            drive(self.engine.close())
        finally:
            self._inline.close()
            self._pools.close()

    def __enter__(self: _Kit) -> _Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):
            return "<Rolecall, not made yet>"
        return (
            f"<Rolecall api_key={shown_key(self.api_key)} store={type(self._state.store).__name__} "
            f"plugins={[plugin.name for plugin in self.plugins]}>"
        )


class AsyncRolecall(Calls, Settings):
    """The methods of a kit for async code; it is ``kit.aio``. Nothing in it blocks the event loop."""

    def __init__(self, kit: Rolecall) -> None:
        self._state, self._plugin_config, self._inline, self._pools = (
            kit._state,
            kit._plugin_config,
            kit._inline,
            kit._pools,
        )
        engine = engine_of(self._state, LoopDriver(self._pools), blocks=False)
        self._records = Records(engine)
        #: Places that are limited in number and in time, for policies that count.
        self.leases = AsyncLeases(engine)
        super().__init__(engine, Api(engine, kit.api.web, kit.api.credentials, kit.api.servers))
        self._repr = f"{kit!r}.aio"

    create_session = _awaited_to_session(Records.create_session)
    get_session = _awaited_to_session(Records.get_session)
    sessions = _awaited_to_sessions(Records.sessions)

    async def close(self) -> None:
        """Release the store and the threads in the background. Do not use the kit afterwards, here or in sync code.

        :raises StoreUnavailable: if the store does not close in time.
        """
        try:
            await self.engine.close()
        finally:
            self._inline.close()
            self._pools.close()

    async def __aenter__(self: _AsyncKit) -> _AsyncKit:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return self._repr


def _of_session(
    method: Callable[Concatenate[Rolecall, str | SessionRecord, P], Result], name: str
) -> Callable[Concatenate[Session, P], Result]:
    """A method of the kit, with this session's id filled in."""

    def call(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return method(self.kit, self.session_id, *args, **kwargs)

    return derived(call, method, name=name, without="session_id")


def _of_async_session(
    method: Callable[Concatenate[AsyncRolecall, str | SessionRecord, P], Coroutine[Any, Any, Result]], name: str
) -> Callable[Concatenate[AsyncSession, P], Coroutine[Any, Any, Result]]:
    """A method of ``kit.aio``, with this session's id filled in."""

    async def call(self: AsyncSession, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await method(self.kit, self.session_id, *args, **kwargs)

    return derived(call, method, name=name, without="session_id")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session(SessionRecord):
    """A session of a kit. Pickled, it becomes a :class:`SessionRecord`: its kit holds keys, and is not pickled."""

    kit: Rolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> Session:
        return self  # it does not change

    def __deepcopy__(self, memo: object) -> Session:
        return self  # its kit is never copied

    @property
    def api_key(self) -> str:
        """The API key of its project."""
        return self.kit.api_key_of(self.session_id)

    generate_token = _of_session(Rolecall.generate_token, "generate_token")
    end = _of_session(Rolecall.end_session, "end")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AsyncSession(SessionRecord):
    """A session of ``kit.aio``; see :class:`Session`."""

    kit: AsyncRolecall = field(kw_only=True)

    def __reduce__(self) -> Any:
        return SessionRecord, tuple(record_fields(self).values())

    def __copy__(self) -> AsyncSession:
        return self

    def __deepcopy__(self, memo: object) -> AsyncSession:
        return self

    @property
    def api_key(self) -> str:
        """The API key of its project."""
        return self.kit.api_key_of(self.session_id)

    generate_token = _of_async_session(AsyncRolecall.generate_token, "generate_token")
    end = _of_async_session(AsyncRolecall.end_session, "end")


def _open_store(
    store: str | Store, registered: Mapping[str, Callable[[str], Store]], revocation: str, retention: Retention
) -> Store:
    opened = open_store(store, registered)
    if retention.ended is not None and not has(opened, UPKEEP):
        raise ConfigurationError(
            f"session_retention needs a store that forgets, and {kind(opened)} is the store; give it the methods of "
            "rolecall.stores.upkeep.Upkeep, or leave session_retention out"
        )
    if revocation == "immediate" and (problem := problem_with_immediate(opened)):
        raise ConfigurationError(f"revocation='immediate' asks the store at each check: {problem}")
    return opened


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


def _check_shows_age(session_ids: SessionNames, retention: Retention, plugins: Plugins) -> None:
    """Refuse an age for sessions whose ids do not show theirs."""
    if retention.age is None:
        return
    if session_ids.made_at(session_ids.make(MediaMode.RELAYED, 0.0)) is None:
        raise ConfigurationError("max_session_age is for session ids that show their age; this kit's do not")
    if plugins.create_session:
        raise ConfigurationError(
            "max_session_age is for session ids that this kit makes; a plugin (rolecall_create_session) makes others"
        )


def _check_timeout(name: str, seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 300:
        raise ConfigurationError(f"{name} is {shown(seconds)}; expected seconds, above 0 and up to 300")


def _check_leeway(leeway: object) -> None:
    if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway is {shown(leeway)}; expected 0 to {MAX_LEEWAY} seconds")
