"""The contract with app teams: every hook, with its request and its possible answers.

A plugin is an object or a module with functions that have a hook's name and are marked with ``@hookimpl``. They may be
``def`` or ``async def``, and work in every framework.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, overload

import pluggy

from .formats import TokenFormat
from .keys import Key, KeyRing
from .policy import Vote
from .request import Actor, Request
from .roles import Requirement, Role, RoleTable
from .sessions import SessionProperties, SessionRecord
from .stores import Store
from .tokens import Grant

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .events import Event
    from .media import MediaBackend
    from .moderation import Act, MediaService

hookspec = pluggy.HookspecMarker("rolecall")
#: Marks a function of a plugin as the implementation of the hook with its name.
hookimpl: HookMarker = pluggy.HookimplMarker("rolecall")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def blocking(function: _Function) -> _Function:
    """Mark an implementation that blocks without ``await``: it runs on a thread of the kit."""
    function.rolecall_blocks = True  # type: ignore[attr-defined]
    return function


_UNNAMED: Final = Request("GET", "")


class Asked(Protocol):
    """The common fields of all requests to plugins.

    The requests are named tuples, because a request waits while they are made: a frozen dataclass, which could inherit
    these fields, takes twice as long to make.
    """

    @property
    def now(self) -> float:
        """The time in Unix seconds, by the kit's clock."""
        ...

    @property
    def actor(self) -> Actor | None:
        """Who makes the request, from :func:`rolecall_identify`, or for whom the server's own code makes it.

        None if nobody was identified.
        """
        ...

    @property
    def http(self) -> Request | None:
        """The request from outside; None for a call in the server's own code, which is trusted."""
        ...

    @property
    def call_id(self) -> str:
        """The id of the call; the event that reports its end has the same id."""
        ...

    @property
    def dry_run(self) -> bool:
        """Whether it is only to be explained or checked again: then reservations of votes are not taken."""
        ...


class SessionRequest(NamedTuple):
    """A request for a new session.

    :param properties: the requested properties.
    :param api_key: the project, or the application, of the session.
    :param now: in Unix seconds, by the kit's clock.
    :param actor: who makes the request, from :func:`rolecall_identify`, or for whom the server's own code makes it
        (``actor=…``); None if nobody was identified.
    :param http: the request from outside; None for a call in the server's own code, which is trusted.
    :param call_id: the id of this call; the event that reports its end has the same id.
    :param dry_run: whether it is only to be explained; always False so far.
    """

    properties: SessionProperties
    api_key: str
    now: float
    actor: Actor | None = None
    http: Request | None = None
    call_id: str = ""
    dry_run: bool = False


class TokenRequest(NamedTuple):
    """A request for a token.

    :param session_id: the token's session.
    :param session: the session's record; None if the store has none.
    :param role: the requested role.
    :param expires_at: the requested end of life, in Unix seconds.
    :param data: the requested connection data, or None.
    :param layout: the requested initial layout classes.
    :param now: in Unix seconds, by the kit's clock.
    :param actor: who makes the request, from :func:`rolecall_identify`, or for whom the server's own code makes it
        (``actor=…``); None if nobody was identified.
    :param http: the request from outside; None for a call in the server's own code, which is trusted.
    :param call_id: the id of this call; the event that reports its end has the same id.
    :param dry_run: whether it is only to be explained: then reservations of votes are not taken.
    :param renewed: the grant of the token that is to be renewed; None if the request is for a first one. ``actor`` is
        None then, unless the bearer has a login, too; ``renewed.actor_id`` is the actor that the tokens are for. The
        new token never grants more than this one. A vote allows the renewal for a bearer without a login only if it
        says so: ``Allow(renewal=True)``.
    """

    session_id: str
    session: SessionRecord | None
    role: Role
    expires_at: int
    data: str | None
    layout: tuple[str, ...]
    now: float
    actor: Actor | None = None
    http: Request | None = None
    call_id: str = ""
    dry_run: bool = False
    renewed: Grant | None = None

    @property
    def actor_id(self) -> str | None:
        """The id of the actor that the token will be for: of the identified one, or of the renewed token's."""
        if self.actor is not None:
            return self.actor.id
        return None if self.renewed is None else self.renewed.actor_id


class AccessRequest(NamedTuple):
    """A request with a good token and a sufficient role that enters a guarded route, or a later check of it.

    :param grant: the token's grant; at a later check, the one that the request entered with.
    :param requirement: the requirement of the route.
    :param session_id: the session of the route; None if the route has none.
    :param now: in Unix seconds, by the kit's clock.
    :param actor: None: guards read a token, and identify nobody. ``grant.actor_id`` is the actor that it is for.
    :param http: the request; at a later check, the one that entered.
    :param call_id: the id of this call; the event that reports a refusal has the same id.
    :param dry_run: whether it is only to be explained, or a later check: then reservations of votes are not taken.
    :param again: False when a request enters, True at each later check of a WebSocket or stream that it left open. A
        policy that counts requests does not count later checks.
    """

    grant: Grant
    requirement: Requirement
    session_id: str | None
    now: float
    actor: Actor | None = None
    http: Request = _UNNAMED
    call_id: str = ""
    dry_run: bool = False
    again: bool = False


class ModerationRequest(NamedTuple):
    """A request to act in a running session, which the token allows.

    :param act: the act: a :class:`~rolecall.moderation.Signal`, ``ForceDisconnect``, ``MuteStream``, ``MuteAll``,
        ``ChangeRole``, ``ListStreams`` or ``ListConnections``, with its session and target.
    :param grant: the grant of the token; None for a call in the server's own code.
    :param api_key: the project, or the application, of the session.
    :param now: in Unix seconds, by the kit's clock.
    :param actor: None: a moderator has a token, and is not identified. ``grant.actor_id`` is the actor that it is for.
    :param http: the request from outside; None for a call in the server's own code, which is trusted.
    :param call_id: the id of this call; the event that reports its end has the same id.
    :param dry_run: whether it is only to be explained; always False so far.
    """

    act: Act[Any]
    grant: Grant | None
    api_key: str
    now: float
    actor: Actor | None = None
    http: Request | None = None
    call_id: str = ""
    dry_run: bool = False


class Operation(NamedTuple):
    """What takes time in a kit: a call, a hook of a plugin, or a call of the store. It holds no token.

    :param kind: ``"call"``, ``"hook"`` or ``"store"``.
    :param name: the call (``generate_token``), the hook (``rolecall_vote_token``), or the store's method.
    :param plugin: the name of the hook's plugin; empty for other kinds.
    :param session_id: the session of the call, if it has one from the start.
    """

    kind: Literal["call", "hook", "store"]
    name: str
    plugin: str = ""
    session_id: str | None = None


class Kit(Protocol):
    """The part of a :class:`~rolecall.Rolecall` that plugins may use while it starts."""

    @property
    def api_key(self) -> str: ...
    @property
    def roles(self) -> RoleTable: ...
    def plugin_config(self, name: str) -> Mapping[str, Any]: ...


@hookspec
def rolecall_startup(kit: Kit) -> None:
    """Start the plugin: called once, when the kit is made. ``kit.plugin_config(name)`` has its configuration.

    An exception stops start-up.
    """


@hookspec
def rolecall_register_roles() -> Iterable[Role] | None:
    """Register the app's own roles: ``[Role("assistant", ["connect", "publish"], wire_name="publisheronly")]``.

    Called once, at start-up. Each role names the standard role that represents it in a token.
    """


@hookspec
def rolecall_register_formats() -> Mapping[str, type[TokenFormat]] | None:
    """Register token formats, by their names in ``Rolecall(format=…, accept=…)``.

    Called once, at start-up. See :class:`rolecall.formats.TokenFormat`.
    """


@hookspec
def rolecall_register_stores() -> Mapping[str, Callable[[str], Store]] | None:
    """Register stores, by the scheme of their URL, each as a function that makes a store from the URL.

    Called once, at start-up. See :class:`rolecall.stores.Store`.
    """


@hookspec
def rolecall_register_media() -> Mapping[str, type[MediaBackend]] | None:
    """Register media services: classes derived from :class:`rolecall.media.MediaBackend`, by the name of each.

    Return a mapping, or None. ``Rolecall(media=…)`` and ``ROLECALL_MEDIA`` choose by these names.
    """


@hookspec
def rolecall_signing_keys(issuer: str) -> KeyRing | Iterable[Key] | None:
    """Provide the keys of an issuer, for example of a key management service.

    Called at start-up, and again each minute and by ``kit.keys.reload()``. Return keys, of which the first signs and
    all verify, or a :class:`~rolecall.keys.KeyRing`, or None for "not mine". ``issuer`` is the API key, the
    application's id, or the issuer's URL; its secret or private key is then no argument of the kit. If a later call
    raises an exception, the kit keeps the keys that it has, and logs an error.
    """


@hookspec
def rolecall_identify(request: Request) -> Actor | None:
    """Identify who asks the kit's own routes for a session or a token.

    Called once for each such request, before the votes. Return an :class:`Actor`, or None for "not mine". The request
    is refused if two plugins return different actors, or if one raises an exception or returns anything else, such as
    an actor whose id is not fit to be compared (see :class:`Actor`).
    """


@hookspec
def rolecall_vote_session(request: SessionRequest) -> Vote:
    """Vote on a new session.

    Return :class:`~rolecall.Allow`, :class:`~rolecall.Deny`, or None to abstain.
    """


@hookspec
def rolecall_create_session(request: SessionRequest) -> str | None:
    """Create a session elsewhere, after the votes have allowed it: at the service that carries its media.

    Return the new session's id, which must belong to the request's API key, or None for "not mine": without an answer
    the kit makes the id itself. The request is refused if two plugins create a session, or if one raises an exception
    or returns anything else; one of the kit's own errors is answered unchanged.
    """


@hookspec
def rolecall_vote_token(request: TokenRequest) -> Vote:
    """Vote on a token; an :class:`~rolecall.Allow` may carry limits.

    Return :class:`~rolecall.Allow`, :class:`~rolecall.Deny`, or None to abstain. For the renewal of a token
    (``request.renewed``) without a login, only ``Allow(renewal=True)`` allows.
    """


@hookspec
def rolecall_vote_access(request: AccessRequest) -> Vote:
    """Vote on entering a guarded route, after the kit has accepted token, session and role; and on staying there.

    Return :class:`~rolecall.Allow`, :class:`~rolecall.Deny`, or None to abstain. Abstaining admits the request. The
    hook is called again (``request.again``) at each check of an open WebSocket or stream.
    """


@hookspec
def rolecall_vote_moderation(request: ModerationRequest) -> Vote:
    """Vote on an act in a session, after token, session and capability have passed the kit's checks.

    Return :class:`~rolecall.Allow`, :class:`~rolecall.Deny`, or None to abstain. Abstaining lets it happen.
    """


@hookspec
def rolecall_media_service(request: ModerationRequest) -> MediaService | None:
    """Return the service that carries a session's media, and so can act in it, after the votes have allowed the act.

    Return an object with the methods of :class:`~rolecall.moderation.MediaService`, or None for "not mine": then the
    service of the session's media backend acts. Without a service, or without the act's method, the act is refused with
    501. It is also refused if two plugins return a service, or if one raises an exception or returns anything else; one
    of the kit's own errors is answered unchanged.
    """


@hookspec
def rolecall_token_claims(request: TokenRequest) -> Mapping[str, Any] | None:
    """Add claims to a token before it is signed; ``request`` has the rights that it will grant.

    Return a mapping from names to JSON values, or None. The kit's own claims cannot be replaced. The token is refused
    if two plugins set one claim to different values, or if one raises an exception or returns anything else.
    """


@hookspec
def rolecall_observe(operation: Operation) -> AbstractContextManager[object] | None:
    """Observe an operation, to measure or trace it: return a context manager around it, or None.

    A plain function that does not wait, like the context manager. A failure is logged, and changes nothing.
    """


@hookspec
def rolecall_on_event(event: Event) -> None:
    """Record an event, for an audit trail.

    Called after the event, and awaited. A failure is logged, and changes nothing.
    """


if TYPE_CHECKING:
    # The functions that ``hookimpl`` accepts. A hook's name is checked at start-up.

    _Asked = TypeVar("_Asked", contravariant=True)
    _Answer = TypeVar("_Answer", covariant=True)

    class _Method(Protocol[_Asked, _Answer]):
        def __call__(self, plugin: Any, /, request: _Asked) -> _Answer | Awaitable[_Answer]: ...

    class _ModuleFunction(Protocol[_Asked, _Answer]):
        def __call__(self, request: _Asked) -> _Answer | Awaitable[_Answer]: ...

    class _ObserveMethod(Protocol):
        def __call__(self, plugin: Any, /, operation: Operation) -> AbstractContextManager[object] | None: ...

    class _ObserveFunction(Protocol):
        def __call__(self, operation: Operation) -> AbstractContextManager[object] | None: ...

    class _EventMethod(Protocol):
        def __call__(self, plugin: Any, /, event: Event) -> Awaitable[None] | None: ...

    class _EventFunction(Protocol):
        def __call__(self, event: Event) -> Awaitable[None] | None: ...

    class _StartMethod(Protocol):
        def __call__(self, plugin: Any, /, kit: Any) -> None: ...

    class _StartFunction(Protocol):
        def __call__(self, kit: Any) -> None: ...

    class _KeysMethod(Protocol):
        def __call__(self, plugin: Any, /, issuer: str) -> KeyRing | Iterable[Key] | None: ...

    class _KeysFunction(Protocol):
        def __call__(self, issuer: str) -> KeyRing | Iterable[Key] | None: ...

    class _CollectedMethod(Protocol[_Answer]):
        def __call__(self, plugin: Any, /) -> _Answer | Awaitable[_Answer]: ...

    class _CollectedFunction(Protocol[_Answer]):
        def __call__(self) -> _Answer | Awaitable[_Answer]: ...

    # The answers of a hook without an argument; a plugin may leave out an argument that it does not need.
    _Any: TypeAlias = Vote | Actor | str | Iterable[Role] | Mapping[str, Any] | MediaService
    _Implementation = TypeVar(
        "_Implementation",
        bound=_Method[SessionRequest, Vote]
        | _Method[SessionRequest, str | None]
        | _Method[TokenRequest, Vote]
        | _Method[TokenRequest, Mapping[str, Any] | None]
        | _Method[AccessRequest, Vote]
        | _Method[ModerationRequest, Vote]
        | _Method[ModerationRequest, MediaService | None]
        | _Method[Request, Actor | None]
        | _ModuleFunction[SessionRequest, Vote]
        | _ModuleFunction[SessionRequest, str | None]
        | _ModuleFunction[TokenRequest, Vote]
        | _ModuleFunction[TokenRequest, Mapping[str, Any] | None]
        | _ModuleFunction[AccessRequest, Vote]
        | _ModuleFunction[ModerationRequest, Vote]
        | _ModuleFunction[ModerationRequest, MediaService | None]
        | _ModuleFunction[Request, Actor | None]
        | _ObserveMethod
        | _ObserveFunction
        | _EventMethod
        | _EventFunction
        | _StartMethod
        | _StartFunction
        | _KeysMethod
        | _KeysFunction
        | _CollectedMethod[_Any]
        | _CollectedFunction[_Any],
    )

    class HookMarker(Protocol):
        """The type of :data:`hookimpl`: it accepts functions that fit a hook, and returns them unchanged."""

        @overload
        def __call__(self, function: _Implementation, /) -> _Implementation: ...

        @overload
        def __call__(self, *, optionalhook: bool = ...) -> Callable[[_Implementation], _Implementation]: ...
