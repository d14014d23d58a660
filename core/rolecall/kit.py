"""The kit: the object that an app holds."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from .driver import InlineDriver, LoopDriver, drive
from .engine import Engine, State
from .errors import ConfigurationError, kind, shown
from .formats import Format, find_format
from .keys import Key, KeyRing, refuse_published
from .plugins import Plugins
from .roles import Role, RoleTable
from .sessions import ArchiveMode, AsyncSession, MediaMode, Session, SessionIds, record_fields
from .stores import Store, open_store
from .tokens import MAX_LEEWAY, ClaimRules, ExpireTime, Grant

_API_KEY: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_ENVIRONMENT: Final = {"api_key": "ROLECALL_API_KEY", "api_secret": "ROLECALL_API_SECRET"}

_Kit = TypeVar("_Kit", bound="Rolecall")


class Rolecall:
    """Creates sessions, mints and verifies tokens, and asks the app's policies who may get what.

    Calls made on it are the server's own, and trusted: policies still vote, and the built-in rule allows. What comes
    in over HTTP goes through an adapter, and is denied unless a policy allows it. Two kits never share anything.

    :param api_key: the project's API key: 1 to 64 letters, digits and ``-``.
    :param api_secret: the project's API secret: at least 32 bytes, known to nobody else.
    :param store: where sessions are kept: ``memory://``, ``sqlite:///file.db``, or a :class:`~rolecall.stores.Store`.
    :param plugins: the app's policies, as instances or modules; see :mod:`rolecall.hookspecs`.
    :param format: how tokens are minted: ``"opentok"`` (a JWT) or ``"t1"`` (the older form).
    :param accept: the formats that are verified.
    :param leeway: by how many seconds the clocks of two servers may differ, 0 to 60.
    :param hook_timeout: the seconds that each policy has for its answer; a later one counts as a failure.
    :param clock: returns now, in Unix seconds.
    :raises ConfigurationError: says what is wrong with an argument, and what to do.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str | bytes,
        *,
        store: str | Store = "memory://",
        plugins: Iterable[object] = (),
        format: str = "opentok",
        accept: Iterable[str] = ("opentok", "t1"),
        leeway: float = 10,
        hook_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_api_key(api_key)
        _check_leeway(leeway)
        if isinstance(hook_timeout, bool) or not isinstance(hook_timeout, int | float) or not 0 < hook_timeout <= 300:
            raise ConfigurationError(f"hook_timeout is {shown(hook_timeout)}; expected seconds, above 0 and up to 300")
        if not callable(clock):
            raise ConfigurationError(f"clock is {shown(clock)}; expected a function that returns Unix seconds")
        key = Key(api_secret)
        refuse_published(key)
        keys = KeyRing([key])
        roles = RoleTable()
        rules = ClaimRules(roles, leeway)

        find_format(format)
        formats: dict[str, Format] = {name: find_format(name)(api_key, keys, rules) for name in accept}
        if format not in formats:
            raise ConfigurationError(
                f"accept is {', '.join(formats) or 'empty'}, without the format {shown(format)} that the kit mints; "
                "it could not verify its own tokens"
            )
        self._api_key = api_key
        self._state = State(
            session_ids=SessionIds(api_key, key),
            roles=roles,
            rules=rules,
            mint=formats[format],
            accept=tuple(formats.values()),
            plugins=Plugins(plugins),
            clock=clock,
            deadline=hook_timeout,
            store=open_store(store),  # last, so that nothing stays open when another argument is wrong
        )
        self._inline = InlineDriver()
        #: The engine for sync frameworks: an adapter drives it with :func:`rolecall.driver.drive`.
        self.engine = Engine(self._state, self._inline, blocks=True)
        #: The same methods for async code: ``await kit.aio.create_session()``.
        self.aio = AsyncRolecall(self)

    @classmethod
    def from_env(cls: type[_Kit], environ: Mapping[str, str] | None = None, **options: Any) -> _Kit:
        """A kit with ``ROLECALL_API_KEY``, ``ROLECALL_API_SECRET`` and, if set, ``ROLECALL_STORE``.

        :param environ: the variables to read, ``os.environ`` by default.
        :param options: further arguments of :class:`Rolecall`; they win over the environment.
        :raises ConfigurationError: if a variable is missing; says which.
        """
        environ = os.environ if environ is None else environ
        for name, variable in _ENVIRONMENT.items():
            if name not in options and variable not in environ:
                raise ConfigurationError(f"the environment variable {variable} is not set")
        found = {name: environ[variable] for name, variable in _ENVIRONMENT.items() if variable in environ}
        if environ.get("ROLECALL_STORE"):
            found["store"] = environ["ROLECALL_STORE"]
        return cls(**{**found, **options})

    @property
    def api_key(self) -> str:
        """The project's API key."""
        return self._api_key

    @property
    def roles(self) -> RoleTable:
        """The roles that exist."""
        return self._state.roles

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the loaded plugins."""
        return self._state.plugins.names

    def create_session(
        self,
        location: str | None = None,
        media_mode: str = MediaMode.RELAYED,
        archive_mode: str = ArchiveMode.MANUAL,
        e2ee: bool = False,
    ) -> Session:
        """Create a session. It is durable when this returns.

        :param location: an IP address near its participants, as a hint.
        :param media_mode: ``"relayed"`` or ``"routed"``.
        :param archive_mode: ``"manual"``, or ``"always"`` (needs ``"routed"``).
        :param e2ee: encrypt media from end to end (needs ``"routed"``).
        :raises InvalidSessionOption: for a property that does not exist, or does not go with the others.
        :raises PolicyDenied: if a policy denies.
        """
        record = drive(self.engine.create_session(location, media_mode, archive_mode, e2ee))
        return Session(**record_fields(record), kit=self)

    def get_session(self, session_id: str) -> Session:
        """A session, open or ended.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        :raises SessionNotFound: if the store does not know it.
        """
        return Session(**record_fields(drive(self.engine.get_session(session_id))), kit=self)

    def end_session(self, session_id: str) -> None:
        """End a session: it issues no more tokens, and those it issued are refused. Ending it again changes nothing.

        :raises InvalidSessionId: for an id that is malformed, made up, or another API key's.
        """
        drive(self.engine.end_session(session_id))

    def generate_token(
        self,
        session_id: str,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """Mint a token for a session. The order of the arguments is that of the published SDK guides.

        :param session_id: the session's id. An id of the same API key that another service made is taken, too.
        :param role: the name of a role, or a :class:`Role`.
        :param expire_time: Unix seconds, an aware ``datetime``, or a ``timedelta`` from now; fractions of a second are
            cut off. 24 hours from now unless set, and at most 30 days.
        :param data: at most 1,000 characters that describe the connection, for example a user's name.
        :param initial_layout_class_list: layout classes of the streams that the bearer publishes.
        :raises InvalidRequest: a subclass that says which value, what was expected, and what "now" is.
        :raises SessionEnded: if the session has ended.
        :raises PolicyDenied: if a policy denies.
        """
        token, _ = drive(self.engine.generate_token(session_id, role, expire_time, data, initial_layout_class_list))
        return token

    def verify_token(self, token: str, session_id: str | None = None) -> Grant:
        """What a token grants.

        :param session_id: demand that the token is for this session.
        :raises InvalidToken: a subclass that says why the token is refused.
        """
        return self.engine.verify_token(token, session_id)

    def close(self) -> None:
        """Release the store and what runs in the background. The kit is not used afterwards."""
        self._inline.close()
        self._state.store.close()

    def __enter__(self: _Kit) -> _Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Rolecall api_key={self._api_key!r} store={type(self._state.store).__name__} "
            f"plugins={list(self.plugins)}>"
        )


class AsyncRolecall:
    """The methods of a kit for async code, found as ``kit.aio``. Nothing in it blocks the event loop."""

    def __init__(self, kit: Rolecall) -> None:
        #: The engine for async frameworks, whose methods an adapter awaits.
        self.engine = Engine(kit._state, LoopDriver(), blocks=False)
        self._repr = f"{kit!r}.aio"

    async def create_session(
        self,
        location: str | None = None,
        media_mode: str = MediaMode.RELAYED,
        archive_mode: str = ArchiveMode.MANUAL,
        e2ee: bool = False,
    ) -> AsyncSession:
        """See :meth:`Rolecall.create_session`."""
        record = await self.engine.create_session(location, media_mode, archive_mode, e2ee)
        return AsyncSession(**record_fields(record), kit=self)

    async def get_session(self, session_id: str) -> AsyncSession:
        """See :meth:`Rolecall.get_session`."""
        return AsyncSession(**record_fields(await self.engine.get_session(session_id)), kit=self)

    async def end_session(self, session_id: str) -> None:
        """See :meth:`Rolecall.end_session`."""
        await self.engine.end_session(session_id)

    async def generate_token(
        self,
        session_id: str,
        role: str = Role.PUBLISHER,
        expire_time: ExpireTime = None,
        data: str | None = None,
        initial_layout_class_list: Iterable[str] = (),
    ) -> str:
        """See :meth:`Rolecall.generate_token`."""
        token, _ = await self.engine.generate_token(session_id, role, expire_time, data, initial_layout_class_list)
        return token

    async def verify_token(self, token: str, session_id: str | None = None) -> Grant:
        """See :meth:`Rolecall.verify_token`."""
        return self.engine.verify_token(token, session_id)

    def __repr__(self) -> str:
        return self._repr


def _check_api_key(api_key: object) -> None:
    if not isinstance(api_key, str) or not _API_KEY.fullmatch(api_key):
        raise ConfigurationError(
            f"api_key is {kind(api_key)}; expected a string of 1 to 64 letters, digits and '-', "
            'even where the key is a number: api_key="123456"'
        )


def _check_leeway(leeway: object) -> None:
    if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"leeway is {shown(leeway)}; expected 0 to {MAX_LEEWAY} seconds")
