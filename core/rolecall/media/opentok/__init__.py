"""OpenTok's service, and Vonage's, which follows it: sessions, tokens, and acts in the sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Final, Unpack

from ...clock import system_clock
from ...errors import ConfigurationError, InvalidSessionId
from ...formats import TokenFormat
from ...formats.claims import ClaimRules
from ...formats.opentok import OpenTokFormat
from ...formats.vonage import VonageFormat
from ...keys.issuers import Issuer, credentials_of, further_projects, project_of
from ...session_ids import key_in
from ...sessions import SessionProperties
from ...tokens import TokenOptions
from ..backend import CommonSettings, MediaBackend, Place
from .acts import Acts
from .service import AsyncRemoteService, create_at
from .transport import CALL_TIME, OPENTOK, RETRIES, VONAGE, Transport

__all__ = ["OpenTok", "Vonage"]

_NO_PROJECTS: Final[Mapping[str, Any]] = MappingProxyType({})


class _Service(MediaBackend):
    """What the two services have in common.

    A room is a session of the service, by the service's own id. The ids say of which project or application they are.
    """

    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    url_setting: ClassVar[str] = "api_url"
    creates_sessions: ClassVar[bool] = True
    acts: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"disconnect_actor": "not done: the service does not tell whose a connection is"}
    )
    #: What a client calls the issuer of its session.
    issuer_name: ClassVar[str]

    def __init__(
        self,
        issuers: Sequence[Issuer],
        api_url: str,
        timeout: float,
        retries: int,
        proxy: str | None,
        clock: Callable[[], float],
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            self._issuers = {issuer.id: issuer for issuer in issuers}
            self._services = {
                issuer.id: AsyncRemoteService(
                    issuer.id,
                    Transport(issuer, api_url, timeout=timeout, retries=retries, proxy=proxy, clock=clock),
                )
                for issuer in issuers
            }
            super().__init__(api_url, **settings)
        finally:
            del api_url, proxy, settings  # so that no frame of a traceback holds them
        self.call_time = timeout
        self._acts = Acts(self._services)

    @property
    def service(self) -> object:
        """What acts in the sessions."""
        return self._acts

    @property
    def session_issuers(self) -> tuple[Issuer, ...]:
        """See :attr:`MediaBackend.session_issuers`."""
        return tuple(self._issuers.values())

    async def create_session(self, properties: SessionProperties, api_key: str) -> str:
        """See :meth:`MediaBackend.create_session`. It is of the project ``api_key``, or else of the first one."""
        service = self._services.get(api_key) or next(iter(self._services.values()))
        return await create_at(service, properties)

    def room(self, session_id: str) -> str:
        """See :meth:`MediaBackend.room`.

        :raises InvalidSessionId: for a session that is not at the service.
        """
        if key_in(session_id) not in self._issuers:
            raise InvalidSessionId(f"the session is not one of {self.name}: its id names none of the projects there")
        return session_id

    def credentials(self, place: Place) -> Mapping[str, Mapping[str, Any]]:
        """See :meth:`MediaBackend.credentials`: a client names the project or application of its session."""
        return {self.name: MappingProxyType({self.issuer_name: key_in(place.room)})}


class OpenTok(_Service):
    """OpenTok's service, or one that speaks its API: ``Rolecall(media=OpenTok(api_key, api_secret))``.

    :param api_key: the project's API key at the service.
    :param api_secret: the project's API secret.
    :param api_url: the URL of the service: scheme, host, and a path if its routes are below one.
    :param projects: further projects at the service, by API key the API secret of each, for a kit that has them, too.
    :param timeout: the time of a whole call in seconds, including repetitions and pauses; less than the kit's
        ``hook_timeout``.
    :param retries: how often a call is repeated if that is safe, 0 to 10.
    :param proxy: the URL of a proxy, ``http://user:password@host:port``; unless given, the environment's.
    :param clock: returns now, in Unix seconds, for the credentials of calls.
    :param settings: those that all services have, as :class:`~rolecall.media.MediaBackend` takes them.
    :raises ConfigurationError: says which argument is wrong, and what to do; also if httpx is not installed.
    """

    name: ClassVar[str] = "opentok"
    issuer_name: ClassVar[str] = "api_key"

    def __init__(
        self,
        api_key: str,
        api_secret: str | bytes,
        api_url: str = OPENTOK,
        *,
        projects: Mapping[str, str | bytes] = _NO_PROJECTS,
        timeout: float = CALL_TIME,
        retries: int = RETRIES,
        proxy: str | None = None,
        clock: Callable[[], float] = system_clock,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            with _named(self.name):
                issuers = _projects(api_key, api_secret, projects)
                super().__init__(issuers, api_url, timeout, retries, proxy, clock, **settings)
        finally:
            del api_key, api_secret, projects, api_url, proxy, settings  # so that no frame of a traceback holds them

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return _ProjectFormat(self.session_issuers, rules)


class Vonage(_Service):
    """Vonage's Video API: ``Rolecall(media=Vonage(application_id, private_key))``.

    :param application_id: the id of an application that has Video.
    :param private_key: the application's private key: PEM text, or the path of a file with it.
    :param api_url: the URL of the service.
    :param timeout: the time of a whole call in seconds, including repetitions and pauses; less than the kit's
        ``hook_timeout``.
    :param retries: how often a call is repeated if that is safe, 0 to 10.
    :param proxy: the URL of a proxy, ``http://user:password@host:port``; unless given, the environment's.
    :param clock: returns now, in Unix seconds, for the credentials of calls.
    :param settings: those that all services have, as :class:`~rolecall.media.MediaBackend` takes them.
    :raises ConfigurationError: says which argument is wrong, and what to do; also if httpx is not installed.
    """

    name: ClassVar[str] = "vonage"
    issuer_name: ClassVar[str] = "application_id"

    def __init__(
        self,
        application_id: str,
        private_key: str | bytes | os.PathLike[str],
        api_url: str = VONAGE,
        *,
        timeout: float = CALL_TIME,
        retries: int = RETRIES,
        proxy: str | None = None,
        clock: Callable[[], float] = system_clock,
        **settings: Unpack[CommonSettings],
    ) -> None:
        try:
            with _named(self.name):
                _, application = credentials_of(None, None, application_id, private_key)
                assert application is not None
                super().__init__([application], api_url, timeout, retries, proxy, clock, **settings)
        finally:
            del application_id, private_key, api_url, proxy, settings  # so that no frame of a traceback holds them

    def token_format(self, rules: ClaimRules) -> TokenFormat:
        """See :meth:`MediaBackend.token_format`."""
        return VonageFormat(self.session_issuers, rules)


class _ProjectFormat(OpenTokFormat):
    """Tokens of several projects, each signed for the project that its session's id names."""

    __slots__ = ()

    def mint(self, options: TokenOptions) -> tuple[str, str]:
        """See :meth:`TokenFormat.mint`."""
        return super().mint(options._replace(issuer=key_in(options.session_id)))


def _projects(api_key: object, api_secret: object, projects: object) -> tuple[Issuer, ...]:
    try:
        project = project_of(api_key, api_secret)
        return (project, *further_projects(projects, project))
    finally:
        del api_key, api_secret, projects


@contextmanager
def _named(service: str) -> Iterator[None]:
    """Say at the beginning of each message which service it is about."""
    try:
        yield
    except ConfigurationError as error:
        problem = str(error)
        raise type(error)(problem if problem.startswith(f"{service}: ") else f"{service}: {problem}") from None
