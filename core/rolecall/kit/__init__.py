"""The kit: the object that an app holds."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, Literal, TypeVar

from ..clock import problem_with_timeout, system_clock
from ..driver import Driver, InlineDriver, LoopDriver, drive
from ..driver.threads import ThreadPools
from ..engine.housekeeping import Housekeeper, Retention
from ..engine.renewing import checked_total_life
from ..engine.state import State
from ..engine.tickets import MediaServices
from ..errors import ConfigurationError, InvalidKey, NotInStep, PluginError
from ..formats.claims import MAX_VERIFIED_LIFETIME, ClaimRules
from ..http.api import Api
from ..http.api.sdk_credentials import ServerCredentials
from ..http.credentials import Credentials
from ..http.web import Web
from ..keys import KeyRing
from ..keys.issuers import MISSING, Elsewhere, credentials_of, further_projects, nowhere
from ..media import MediaBackend
from ..request import Actor
from ..roles import Role, RoleName
from ..session_ids import OpenTokIds, PlainNames, SessionNames
from ..sessions import MediaMode, SessionRecord, record_fields, session_id_of
from ..stores import SCHEMES, Store, open_store
from ..stores.checking import DOCUMENTS, LEDGER, UPKEEP, has, problem_with_immediate
from ..tokens import MAX_LEEWAY, MAX_TOTAL_LIFE, ExpireTime, Grant
from ..wording import kind, nearest, shown, shown_key
from .assembly import config_name, engine_of, formats_of, issuers_by_need, plugins_of, registered, roles_of, watch_of
from .calls import Calls, Records, SessionPage, Settings, own_call
from .environment import KEY_ARGUMENTS, key_files, key_variables, read_environment
from .facade import P, Result, derived, written_out
from .key_places import place_of, refuse_wrapping_keys
from .keys import Keys, KeySources
from .leases import AsyncLeases, Leases
from .media import check_media, media_of

if TYPE_CHECKING:
    from ..keys.following import Timing
    from ..keys.signers import Signer
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
    :param verify_secrets: further secrets of the project that verify and do not sign, at most two: the one before, or
        the one to come.
    :param application_id: the id of an application of the newer Vonage service, for tokens of the format ``vonage``;
        instead of key and secret, or besides them.
    :param private_key: the application's private key, or the issuer's: PEM text, or the path of a file with it.
    :param verify_keys: further private keys of the application, or of the issuer, that verify and do not sign.
    :param issuer: the URL that names this service in tokens of the format ``jwt``, which others verify with its public
        keys (``GET /jwks.json``); with ``private_key`` (RSA, P-256 or Ed25519), instead of key and secret, or besides
        them.
    :param audience: the ``aud`` of these tokens; they have none unless given.
    :param projects: further projects that the kit serves: the API secret of each, by its API key; or a mapping of its
        ``api_secret`` and ``verify_secrets``; or None, if its keys are in ``keys_file``, the store or a plugin's.
        Sessions are the first project's unless created for another, and tokens are their session's project's.
    :param keys_file: the path of a ring file, with the keys of those projects, and of the application, that have none
        here. It is read again when it changes; see ``kit.keys``, and ``rolecall keys`` on the command line.
    :param keys_key: 32 random bytes, as 64 hexadecimal digits or in base64: has those keys in the store instead, where
        they are sealed with this wrapping key (AES-256-GCM). Of several the first one seals, and all open. It is kept
        apart from the store and its backups.
    :param store: the store of the sessions: ``memory://``, ``sqlite:///file.db``, or a :class:`~rolecall.stores.Store`.
    :param plugins: the app's policies: instances, modules, or the names of either (``"package.module:object"``); see
        :mod:`rolecall.hookspecs`.
    :param entry_points: the plugins of installed packages (entry points in the group ``rolecall``) to load, too, by
        name; each must exist. A line in the log names installed plugins that are not loaded; False loads none, and logs
        nothing.
    :param blocked_plugins: the names of plugins that are never loaded.
    :param plugin_config: the configuration of each plugin, by its name, for :meth:`plugin_config`.
    :param format: the format for minting: ``"opentok"`` (a project's JWT), ``"t1"`` (its older form), ``"vonage"`` (an
        application's JWT) or ``"jwt"`` (the kit's own, see ``issuer``). The first that the credentials allow, unless
        given.
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
    :param actor_claim: whether tokens say for which actor they are, where that is known: by ``rolecall_actor`` in the
        formats ``opentok`` and ``vonage``, by ``sub`` in ``jwt``. ``t1`` never does.
    :param max_total_life: from the issue of a token to the end of its last renewal, in seconds or as a ``timedelta``;
        12 hours at most, and unless given.
    :param ledger: keep in the store which tokens are issued, one row each until they expire, so that
        :meth:`live_tokens` lists them, and each can be revoked. It costs a write for each token; without it minting
        writes nothing.
    :param session_names: ``"opentok"``: ids that all SDKs read, with a tag that only the kit can make. ``"plain"``:
        names such as ``physics-1``, for media services of others; the store alone knows which sessions exist.
    :param media: the media services that carry its sessions, the default first: each a
        :class:`~rolecall.media.MediaBackend`, such as ``LiveKit(…)``, or the name of one.
    :param media_config: the settings of each service that ``media`` names: ``{"livekit": {"url": "wss://…", …}}``.
    :param clock: returns now, in Unix seconds.
    :param trace: log every decision with its steps, as a line of JSON, to the logger ``rolecall.trace``.
    :param web: the rights of browsers: the origins of their pages, tokens in a cookie or the query; none unless given.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    #: Whether a blocked or configured plugin must exist. False where the app's own code, which may pass more plugins,
    #: does not run.
    _knows_all_plugins: ClassVar[bool] = True
    #: How its calls wait, in sync and in async code; an adapter's own where a framework says where hooks run.
    _inline_driver: ClassVar[type[InlineDriver]] = InlineDriver
    _loop_driver: ClassVar[type[LoopDriver]] = LoopDriver

    def __init__(
        self,
        api_key: str | None = None,
        api_secret: str | bytes | None = None,
        *,
        verify_secrets: Sequence[str | bytes] = (),
        application_id: str | None = None,
        private_key: str | bytes | os.PathLike[str] | None = None,
        verify_keys: Sequence[str | bytes | os.PathLike[str]] = (),
        issuer: str | None = None,
        audience: str | None = None,
        projects: Mapping[str, str | bytes | Mapping[str, Any] | None] = MappingProxyType({}),
        keys_file: str | os.PathLike[str] | None = None,
        keys_key: str | bytes | Sequence[str | bytes] | None = None,
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
        actor_claim: bool = True,
        max_total_life: float | timedelta = MAX_TOTAL_LIFE,
        ledger: bool = False,
        session_names: Literal["opentok", "plain"] = "opentok",
        media: MediaBackend | str | Iterable[MediaBackend | str] = (),
        media_config: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        clock: Callable[[], float] = system_clock,
        trace: bool = False,
        web: Web = Web(),  # noqa: B008 (it does not change)
    ) -> None:

        self._plugin_config = _frozen_config(plugin_config)
        configured = list(plugin_config)
        del plugin_config  # it may hold passwords
        self._begin()
        with ExitStack() as undoing:
            try:
                loaded = plugins_of(
                    plugins, entry_points, blocked_plugins, configured, all_known=self._knows_all_plugins
                )
                carried_by = media_of(loaded, media, media_config)
                _check_timeout("store_timeout", store_timeout)
                stores = registered(loaded, "rolecall_register_stores", SCHEMES)
                undoing.callback(self._release)
                place = place_of(keys_file, keys_key, partial(open_store, store, stores), self._inline, store_timeout)
                if place.documents is not None:
                    # The store is open already, because keys are in it.
                    if isinstance(store, str):
                        undoing.callback(place.documents.close)
                    store = place.documents.store
                sources = KeySources(loaded, place.rings, place.paths, place.change)
                signer = None
                if issuer is not None or audience is not None:
                    signer = _signer(issuer, audience, private_key, application_id, verify_keys, sources)
                    private_key, verify_keys = None, ()
                project = application = None
                if signer is None or api_key is not None or api_secret is not None:
                    project, application = credentials_of(
                        api_key, api_secret, application_id, private_key, verify_secrets, verify_keys, sources
                    )
                further = further_projects(projects, project, sources)
            finally:
                # So that no frame of a traceback holds them.
                del api_secret, private_key, verify_secrets, verify_keys, projects, keys_key, media, media_config
            own = project or application or signer
            assert own is not None
            _check_leeway(leeway)
            _check_timeout("hook_timeout", hook_timeout)
            if revocation not in ("in_step", "immediate"):
                raise ConfigurationError(f"revocation is {shown(revocation)}; expected 'in_step' or 'immediate'")
            _check_clock(clock)
            _check_web(web, trace)
            if not isinstance(actor_claim, bool):
                raise ConfigurationError(f"actor_claim is {shown(actor_claim)}; expected True or False")
            if not isinstance(ledger, bool):
                raise ConfigurationError(f"ledger is {shown(ledger)}; expected True or False")
            roles = roles_of(loaded)
            at_services = [issuer for backend in carried_by for issuer in backend.session_issuers]
            session_ids = _session_names(session_names)(own, *further, at_services=at_services)
            retention = Retention.of(session_retention, max_session_age)
            _check_shows_age(session_ids, retention, loaded, carried_by)
            rules = ClaimRules(roles, leeway, session_ids)
            issuers = issuers_by_need(project, further, application, signer)
            # A media service carries the sessions of all projects, so its tokens are of none.
            media_services = MediaServices(carried_by, ClaimRules(roles, leeway))
            mint, formats = formats_of(loaded, format, accept, issuers, rules, media_services)
            check_media(carried_by, roles, session_ids, mint, hook_timeout, names_actor=actor_claim)
            state = State(
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
                signer=signer if "jwt" in formats else None,
                names_actor=actor_claim,
                total_life=checked_total_life(max_total_life),
                keeps_ledger=ledger,
                media=media_services,
                # Last, so that nothing stays open if another argument is wrong.
                store=_open_store(store, stores, revocation, retention, ledger=ledger, media=carried_by),
            )
            servers = ServerCredentials(issuers["secret"], application, own.id, leeway)
            every = (*filter(None, (project,)), *further, *filter(None, (application, signer)))
            refuse_wrapping_keys(place.wrapping, every)
            keys = Keys(state, every, sources, MAX_VERIFIED_LIFETIME + leeway)
            self._assemble(state, web, Credentials(web, own), servers, keys)
            undoing.pop_all()

    def _begin(self) -> None:
        """Make what waits for the store and for plugins in sync code."""
        self._pools = ThreadPools()
        self._inline = self._inline_driver(self._pools)
        # With those that are made for adapters.
        self._drivers = [self._inline]

    def _release(self) -> None:
        """End the threads in the background."""
        for driver in self._drivers:
            driver.close()
        self._pools.close()

    def _assemble(
        self, state: State, web: Web, credentials: Credentials, servers: ServerCredentials, keys: Keys
    ) -> None:
        """Make the engines around ``state``, and start the plugins."""
        self._state = state
        state.watch = watch_of(state, self._inline)
        #: The engine for sync frameworks: an adapter drives it with :func:`rolecall.driver.drive`.
        self.engine = engine_of(state, self._inline, blocks=True)
        if has(state.store, UPKEEP):
            state.housekeeper = Housekeeper(self.engine.forget, self._pools, state.retention, state.clock)
        #: The kit for an adapter of a sync framework.
        self.api = Api(self.engine, web, credentials, servers)
        self._calls, self._records = Calls(self.engine, self.api), Records(self.engine)
        #: Places that are limited in number and in time, for policies that count.
        self.leases = Leases(self.engine)
        #: The keys of the kit's issuers.
        self.keys = keys
        #: The same methods for async code: ``await kit.aio.create_session()``.
        self.aio = AsyncRolecall(self)
        try:
            state.plugins.start(self)
        except PluginError:
            self.close()
            raise

    @staticmethod
    def verifier(
        jwks: str | os.PathLike[str] | Mapping[str, Any],
        *,
        issuer: str,
        audience: str | None = None,
        **options: Any,
    ) -> Verifier:
        """A kit that only verifies tokens of the format ``jwt``, and holds no secret; see :class:`Verifier`.

        :param jwks: the issuer's public keys: the URL of its ``jwks.json``, the path of a file, or the set itself.
        :param issuer: the ``iss`` of its tokens.
        :param audience: the ``aud`` of its tokens.
        :param options: further arguments of :class:`Verifier`.
        :raises ConfigurationError: says which argument is wrong, and what to do.
        """
        for name in options:
            if name in _OF_ISSUERS:
                raise ConfigurationError(
                    f"a verifier takes no {name}: it verifies the tokens of an issuer, and creates, mints and "
                    "moderates nothing; Rolecall(…) makes a kit that does"
                )
        return Verifier(jwks, issuer=issuer, audience=audience, **options)

    @classmethod
    def from_env(cls: type[_Kit], environ: Mapping[str, Any] | None = None, **options: Any) -> _Kit:
        """Make a kit from ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET``, and the other variables of the environment.

        ``ROLECALL_VERIFY_SECRETS`` is a JSON list of secrets that only verify. These may be replaced, or joined, by
        ``ROLECALL_APPLICATION_ID``, ``ROLECALL_PRIVATE_KEY`` (PEM text or a path) and ``ROLECALL_VERIFY_KEYS`` (a JSON
        list of these), or by ``ROLECALL_ISSUER``, those keys and ``ROLECALL_AUDIENCE``. Further variables are
        ``ROLECALL_PROJECTS`` (a JSON object, from API keys to API secrets, or to objects of ``api_secret`` and
        ``verify_secrets``), ``ROLECALL_KEYS_FILE`` (the path of a ring file), ``ROLECALL_KEYS_KEY`` (separated by
        commas), ``ROLECALL_STORE``, ``ROLECALL_REVOCATION`` (``in_step`` or ``immediate``), ``ROLECALL_FORMAT``,
        ``ROLECALL_ACCEPT`` (names, separated by commas), ``ROLECALL_PLUGINS`` (names), ``ROLECALL_ENTRY_POINTS``
        (names, or ``none``), ``ROLECALL_BLOCKED_PLUGINS`` (names), ``ROLECALL_PLUGIN_<NAME>`` (a plugin's
        configuration, as a JSON object), ``ROLECALL_SESSION_RETENTION`` and ``ROLECALL_MAX_SESSION_AGE`` (with
        their units: ``90d``, ``12h``, ``90s``), ``ROLECALL_MAX_TOTAL_LIFE`` (seconds), ``ROLECALL_ORIGINS`` (separated
        by commas) and ``ROLECALL_OPENAPI`` (``1`` or ``0``), for both of which see :class:`Web`,
        ``ROLECALL_ACTOR_CLAIM``, ``ROLECALL_LEDGER`` and ``ROLECALL_TRACE`` (``1`` or ``0``).
        ``ROLECALL_SESSION_NAMES`` is ``opentok`` or ``plain``. ``ROLECALL_MEDIA`` has the names of media services, and
        ``ROLECALL_<NAME>_<SETTING>`` a setting of one of them, such as "ROLECALL_LIVEKIT_URL".
        Credentials, projects, wrapping keys, the store, a plugin's configuration and a media service's setting may also
        be in a file: its path is in the same variable with ``_FILE`` at the end of the name. Files with secrets and
        private keys are read again when they change.

        :param environ: the variables to read, ``os.environ`` by default; or a mapping like Flask's ``app.config``,
            whose values may already have an argument's type.
        :param options: further arguments of :class:`Rolecall`; they take precedence over the environment.
        :raises ConfigurationError: says which variable or argument is missing, unknown or invalid.
        """
        variables: dict[str, object] = {}
        fixed: dict[str, Any] = {}
        try:
            problem = _problem_with_arguments(cls, environ, options)
            if problem is not None:
                raise ConfigurationError(problem)
            variables = key_variables(os.environ if environ is None else environ, options)
            fixed = {name: options[name] for name in KEY_ARGUMENTS if name in options}
            options = {**read_environment(os.environ if environ is None else environ), **options}
            missing = None
            if not any(options.get(name) for name in ("application_id", "private_key", "issuer")):
                missing = next((name for name in _REQUIRED if name not in options), None)
            if missing == "api_key" or (missing and not _has_keys_elsewhere(options)):
                raise _not_set(missing)
            try:
                kit = cls(**options)
            except InvalidKey as error:
                if missing and str(error) == MISSING:
                    raise _not_set(missing) from None
                raise
            if files := key_files(variables):
                kit.keys.follow_environment(files, _KeysOfEnvironment(variables, fixed, kit.keys.elsewhere))
            return kit
        finally:
            del options, environ, variables, fixed  # so that no frame of a traceback holds the credentials

    create_session = _driven_to_session(Records.create_session)
    get_session = _driven_to_session(Records.get_session)
    sessions = _driven_to_sessions(Records.sessions)
    end_session = _driven(Calls.end_session)
    reset_session = _driven(Calls.reset_session)
    exclude = _driven(Calls.exclude)
    readmit = _driven(Calls.readmit)
    exclusions = _driven(Calls.exclusions)
    revoke_token = _driven(Calls.revoke_token)
    revoke_actor = _driven(Calls.revoke_actor)
    revoke_before = _driven(Calls.revoke_before)

    # Apps call these two most, and a derived method would be slower.
    @written_out(Calls.generate_token)
    def generate_token(
        self,
        session_id: str | SessionRecord,
        role: Role | RoleName = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
        *,
        actor: str | Actor | None = None,
    ) -> str:
        call = None if actor is None else own_call(actor)
        token, _ = drive(
            self.engine.generate_token(
                session_id_of(session_id), role, expire_time, data, initial_layout_class_list, call
            )
        )
        return token

    renew_token = _driven(Calls.renew_token)

    @written_out(Calls.verify_token)
    def verify_token(self, token: str, session_id: str | SessionRecord | None = None) -> Grant:
        if self.engine.verifies_at_once:
            try:
                return self.engine.verify_token(token, None if session_id is None else session_id_of(session_id))
            except NotInStep:
                pass
        return drive(self.engine.verify_and_tell(token, session_id_of(session_id)))

    live_tokens = _driven(Calls.live_tokens)
    ticket = _driven(Calls.ticket)
    receive_webhook = _driven(Calls.receive_webhook)
    check_grant = _driven(Calls.check_grant)
    wait_until_ended = _driven(Calls.wait_until_ended)
    signal = _driven(Calls.signal)
    force_disconnect = _driven(Calls.force_disconnect)
    mute_stream = _driven(Calls.mute_stream)
    mute_all = _driven(Calls.mute_all)
    change_role = _driven(Calls.change_role)
    list_streams = _driven(Calls.list_streams)
    list_connections = _driven(Calls.list_connections)
    explain_token = _driven(Calls.explain_token)
    explain_access = _driven(Calls.explain_access)
    explain_ticket = _driven(Calls.explain_ticket)

    def api_with(self, driver: Driver | Callable[[ThreadPools], Driver], *, blocks: bool = False) -> Api:
        """The kit for an adapter with its own way to wait, in place of ``api`` or ``aio.api``.

        :param driver: how the logic waits; see :class:`~rolecall.driver.Driver`. A class of drivers is called with the
            kit's thread pools.
        :param blocks: whether it may block its thread.
        """
        if callable(driver):
            driver = driver(self._pools)
            if isinstance(driver, InlineDriver):
                self._drivers.append(driver)
        return Api(engine_of(self._state, driver, blocks=blocks), self.api.web, self.api.credentials, self.api.servers)

    def close(self) -> None:
        """Release the store and the threads in the background. Do not use the kit afterwards."""
        self.keys.close()
        try:
            drive(self.engine.close())
        finally:
            self._release()

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


class Verifier(Rolecall):
    """A kit that only verifies tokens of the format ``jwt``: :meth:`Rolecall.verifier`.

    Guards, policies and adapters work with it as with any kit. It holds no secret, and no session: whatever creates,
    mints or ends something is refused (:class:`~rolecall.errors.OnlyVerifies`). It does not hear of sessions that the
    issuer ends; only ``exp`` bounds what it accepts.

    Keys at a URL are fetched when it is made, and again at half of their life (``max-age``, 1 minute to 1 hour), in the
    background. While that fails, the last good keys are used for ``max_stale`` seconds; then tokens are answered 503.
    An unknown ``kid`` causes one fetch, at most every 30 seconds, for which its token waits up to 2 seconds.

    :param jwks: the issuer's public keys: the URL of its ``jwks.json``, the path of a file, or the set itself.
    :param issuer: the ``iss`` of its tokens.
    :param audience: the ``aud`` of its tokens; without it, tokens with an ``aud`` are refused.
    :param max_stale: for how long the last good keys are used while they cannot be fetched, in seconds, at most 30
        days.
    :param plugins: the app's policies; this and all further arguments are as for :class:`Rolecall`.
    :raises ConfigurationError: says which argument is wrong, and what to do.
    """

    # When keys are fetched; None: as usual.
    _timing: ClassVar[Timing | None] = None

    def __init__(
        self,
        jwks: str | os.PathLike[str] | Mapping[str, Any],
        *,
        issuer: str,
        audience: str | None = None,
        max_stale: float = 86_400,
        plugins: Iterable[Plugin] = (),
        entry_points: Collection[str] | Literal[False] = (),
        blocked_plugins: Collection[str] = (),
        plugin_config: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        leeway: float = 10,
        hook_timeout: float = 5.0,
        clock: Callable[[], float] = system_clock,
        trace: bool = False,
        web: Web = Web(),  # noqa: B008 (it does not change)
    ) -> None:
        # Not free to import, and most kits hold the keys themselves.
        from ..keys.following import Timing
        from .verifying import credentials_of_nobody, named_issuer, verifying_state

        signer = named_issuer(issuer, audience)
        _check_leeway(leeway)
        _check_timeout("hook_timeout", hook_timeout)
        _check_clock(clock)
        _check_web(web, trace)
        self._begin()
        credentials, servers = credentials_of_nobody(web, signer, leeway)
        self._plugin_config = _frozen_config(plugin_config)
        loaded = plugins_of(plugins, entry_points, blocked_plugins, list(plugin_config))
        state = verifying_state(
            jwks,
            signer,
            (self._timing or Timing())._replace(max_stale=max_stale),
            plugins=loaded,
            leeway=leeway,
            clock=clock,
            deadline=hook_timeout,
            trace_log=trace,
        )
        self._assemble(state, web, credentials, servers, Keys(state, (), KeySources(loaded), 0.0))

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):
            return "<Verifier, not made yet>"
        return f"<Verifier issuer={self.api_key!r} plugins={[plugin.name for plugin in self.plugins]}>"


class AsyncRolecall(Calls, Settings):
    """The methods of a kit for async code; it is ``kit.aio``. Nothing in it blocks the event loop."""

    def __init__(self, kit: Rolecall) -> None:
        self._state, self._plugin_config, self._drivers, self._pools, self._keys = (
            kit._state,
            kit._plugin_config,
            kit._drivers,
            kit._pools,
            kit.keys,
        )
        engine = engine_of(self._state, kit._loop_driver(self._pools), blocks=False)
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
        self._keys.close()
        try:
            await self.engine.close()
        finally:
            for driver in self._drivers:
                driver.close()
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
    reset = _of_session(Rolecall.reset_session, "reset")
    exclude = _of_session(Rolecall.exclude, "exclude")
    readmit = _of_session(Rolecall.readmit, "readmit")


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
    reset = _of_async_session(AsyncRolecall.reset_session, "reset")
    exclude = _of_async_session(AsyncRolecall.exclude, "exclude")
    readmit = _of_async_session(AsyncRolecall.readmit, "readmit")


def _not_set(name: str) -> ConfigurationError:
    meant = name.replace("api_", "API ")
    return ConfigurationError(f"the environment variable {_REQUIRED[name]} is not set; put the project's {meant} there")


def _has_keys_elsewhere(options: Mapping[str, Any]) -> bool:
    """Whether a project's secret may be in a ring file, the store, or a plugin's."""
    return any(options.get(name) for name in ("keys_file", "keys_key", "plugins", "entry_points"))


class _KeysOfEnvironment:
    """Reads the rings in variables of the environment, and in the files that they name, anew at each call.

    A class and no closure: neither its ``repr`` nor a frame of a traceback shows the variables.

    :param fixed: arguments that take precedence.
    """

    def __init__(self, variables: Mapping[str, object], fixed: Mapping[str, Any], elsewhere: Elsewhere) -> None:
        self._variables = variables
        self._fixed = fixed
        self._elsewhere = elsewhere

    def __call__(self) -> dict[str, KeyRing]:
        return _rings_in({**read_environment(self._variables), **self._fixed}, self._elsewhere)


def _rings_in(given: dict[str, Any], elsewhere: Elsewhere) -> dict[str, KeyRing]:
    """The ring of each issuer whose keys are among a kit's arguments."""
    try:
        private_key, verify_keys, signer = given.get("private_key"), given.get("verify_keys", ()), None
        if "issuer" in given:
            signer = _signer(given["issuer"], given.get("audience"), private_key, None, verify_keys, elsewhere)
            private_key, verify_keys = None, ()
        project = application = None
        if signer is None or "api_key" in given:
            project, application = credentials_of(
                given.get("api_key"),
                given.get("api_secret"),
                given.get("application_id"),
                private_key,
                given.get("verify_secrets", ()),
                verify_keys,
                elsewhere,
            )
        others = further_projects(given.get("projects", {}), project, elsewhere)
    finally:
        private_key = verify_keys = None
        del given
    return {issuer.id: issuer.ring for issuer in (project, application, signer, *others) if issuer is not None}


def _open_store(
    store: str | Store,
    registered: Mapping[str, Callable[[str], Store]],
    revocation: str,
    retention: Retention,
    *,
    ledger: bool,
    media: Iterable[MediaBackend],
) -> Store:
    opened = open_store(store, registered)
    if retention.ended is not None and not has(opened, UPKEEP):
        raise ConfigurationError(
            f"session_retention needs a store that forgets, and the store is {kind(opened)}; give it the methods of "
            "rolecall.stores.upkeep.Upkeep, or leave session_retention out"
        )
    if ledger and not has(opened, LEDGER):
        raise ConfigurationError(
            f"ledger=True needs a store that keeps issued tokens, and the store is {kind(opened)}; give it the methods "
            "of rolecall.stores.ledger.Ledger, or leave ledger out"
        )
    for backend in media:
        if backend.keeps_ids and not has(opened, DOCUMENTS):
            raise ConfigurationError(
                f"{backend.name} gives ids that the store has to remember, and the store is {kind(opened)}; give it "
                "the methods of rolecall.stores.documents.Documents"
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


def _session_names(name: object) -> type[SessionNames]:
    names: dict[object, type[SessionNames]] = {"opentok": OpenTokIds, "plain": PlainNames}
    if not isinstance(name, str) or name not in names:
        raise ConfigurationError(f"session_names is {shown(name)}; expected 'opentok' or 'plain'")
    return names[name]


def _check_shows_age(
    session_ids: SessionNames, retention: Retention, plugins: Plugins, media: Iterable[MediaBackend]
) -> None:
    """Refuse an age for sessions whose ids do not show theirs."""
    if retention.age is None:
        return
    if session_ids.made_at(session_ids.make(MediaMode.RELAYED, 0.0)) is None:
        raise ConfigurationError("max_session_age is for session ids that show their age; this kit's do not")
    if plugins.create_session:
        raise ConfigurationError(
            "max_session_age is for session ids that this kit makes; a plugin (rolecall_create_session) makes others"
        )
    if creating := [backend.name for backend in media if backend.creates_sessions]:
        raise ConfigurationError(
            f"max_session_age is for session ids that this kit makes; the media service {creating[0]!r} makes others"
        )


def _check_clock(clock: object) -> None:
    if not callable(clock):
        raise ConfigurationError(f"clock is {shown(clock)}; expected a function that returns Unix seconds")


def _check_web(web: object, trace: object) -> None:
    if not isinstance(web, Web):
        raise ConfigurationError(f"web is {shown(web)}; expected a rolecall.Web(…)")
    if not isinstance(trace, bool):
        raise ConfigurationError(f"trace is {shown(trace)}; expected True or False")


def _signer(
    issuer: object,
    audience: object,
    private_key: object,
    application_id: object,
    verify_keys: object = (),
    elsewhere: Elsewhere = nowhere,
) -> Signer:
    """The issuer of tokens of the format ``jwt``.

    :raises ConfigurationError: if it is wrong, or the private key could also be an application's.
    """
    from ..keys.signers import signer_of

    try:
        if application_id is not None:
            raise ConfigurationError(
                "a kit has an application_id or an issuer, whose key private_key is; make two kits for both"
            )
        return signer_of(issuer, private_key, audience, verify_keys, elsewhere)
    finally:
        del private_key, verify_keys


def _check_timeout(name: str, seconds: object) -> None:
    if problem := problem_with_timeout(seconds, name):
        raise ConfigurationError(problem)


def _check_leeway(leeway: object) -> None:
    if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway is {shown(leeway)}; expected 0 to {MAX_LEEWAY} seconds")


# The arguments of a kit that a verifier has no use for.
_OF_ISSUERS: Final = frozenset(inspect.signature(Rolecall).parameters) - set(inspect.signature(Verifier).parameters)
