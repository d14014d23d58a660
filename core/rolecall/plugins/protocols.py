"""The type of a plugin for type checkers: it is no class, and has at least one known hook."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, TypeAlias

# For a function of a module, or bound to an object. A class's function would still take ``self``.
_Asked: TypeAlias = Callable[[Any], Any] | Callable[[], Any]
_Collected: TypeAlias = Callable[[], Any]


class _VoteSession(Protocol):
    @property
    def rolecall_vote_session(self) -> _Asked: ...


class _VoteToken(Protocol):
    @property
    def rolecall_vote_token(self) -> _Asked: ...


class _VoteAccess(Protocol):
    @property
    def rolecall_vote_access(self) -> _Asked: ...


class _VoteModeration(Protocol):
    @property
    def rolecall_vote_moderation(self) -> _Asked: ...


class _Identify(Protocol):
    @property
    def rolecall_identify(self) -> _Asked: ...


class _CreateSession(Protocol):
    @property
    def rolecall_create_session(self) -> _Asked: ...


class _MediaService(Protocol):
    @property
    def rolecall_media_service(self) -> _Asked: ...


class _TokenClaims(Protocol):
    @property
    def rolecall_token_claims(self) -> _Asked: ...


class _Observe(Protocol):
    @property
    def rolecall_observe(self) -> _Asked: ...


class _OnEvent(Protocol):
    @property
    def rolecall_on_event(self) -> _Asked: ...


class _Startup(Protocol):
    @property
    def rolecall_startup(self) -> _Asked: ...


class _RegisterRoles(Protocol):
    @property
    def rolecall_register_roles(self) -> _Collected: ...


class _RegisterFormats(Protocol):
    @property
    def rolecall_register_formats(self) -> _Collected: ...


class _RegisterStores(Protocol):
    @property
    def rolecall_register_stores(self) -> _Collected: ...


class _RegisterMedia(Protocol):
    @property
    def rolecall_register_media(self) -> _Collected: ...


class _SigningKeys(Protocol):
    @property
    def rolecall_signing_keys(self) -> _Asked: ...


#: The types in ``Rolecall(plugins=[…])``: an object with hooks, a module, or the name of either. A class is no plugin.
Plugin: TypeAlias = (
    str
    | ModuleType
    | _VoteSession
    | _VoteToken
    | _VoteAccess
    | _VoteModeration
    | _Identify
    | _CreateSession
    | _MediaService
    | _TokenClaims
    | _Observe
    | _OnEvent
    | _Startup
    | _RegisterRoles
    | _RegisterFormats
    | _RegisterStores
    | _RegisterMedia
    | _SigningKeys
)
