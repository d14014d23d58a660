"""Guards for paths, around a whole WSGI or ASGI app that does not show its routes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from copy import copy
from typing import Final, Self
from urllib.parse import unquote

from ...errors import ConfigurationError, InvalidRequest
from ...roles import Requirement
from ...wording import shown
from .guard import UNSAID, Guard, Kit, SessionParam, SessionResolver, unsettled, unsettled_app
from .paths import is_crooked, is_plain, path_patterns, readings

_TWO_WAYS: Final = (
    "the path can be read in two ways; send it without '.', '..', empty segments, ';', '?' and '#', and encode nothing "
    "twice"
)
_ENCODED_SLASH: Final = re.compile("%2f", re.IGNORECASE)


class PathGuard(Guard):
    """A guard around an app that does not show its routes, for some of its paths and methods.

    :param prefixes: the paths that it guards, with all below them; all of them if there are none.
    :param methods: the methods that it guards; all of them if there are none.
    :param public: paths that it leaves open.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Kit | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
        optional: bool = False,
        *,
        prefixes: Iterable[str] = (),
        methods: Collection[str] = (),
        public: Iterable[str] = (),
    ) -> None:
        super().__init__(requirement, kit, session_param, session, optional)
        self.paths = GuardedPaths(self, prefixes, methods, public)

    def also_open(self, public: Iterable[str]) -> Self:
        """Copy the guard, with these paths open, too."""
        other = copy(self)
        prefixes = [prefix.text for prefix in self.paths.prefixes]
        other.paths = GuardedPaths(self, prefixes, self.paths.methods, public)
        return other

    def _identity(self) -> tuple[object, ...]:
        paths = self.paths
        return *super()._identity(), *map(repr, (paths.prefixes, sorted(paths.methods), paths.public))


class GuardedPaths:
    """The requests that a guard is for, by path and method.

    :param guard: the guard; it binds a session by the names in ``prefixes``.
    :param prefixes: the paths that it guards, with all below them; all of them if there are none.
    :param methods: the methods that it guards, HEAD with GET; all of them if there are none.
    :param public: exact paths that it leaves open.
    :raises ConfigurationError: for an invalid argument.
    """

    __slots__ = ("_session_param", "guards_all", "methods", "prefixes", "public")

    def __init__(
        self, guard: Guard, prefixes: Iterable[str] = (), methods: Collection[str] = (), public: Iterable[str] = ()
    ) -> None:
        for texts in (prefixes, methods, public):
            if isinstance(texts, str | bytes):
                raise ConfigurationError("prefixes, methods and public are lists: prefixes=['/admin']")
        self._session_param = guard.session_param
        #: The patterns of the guarded paths, the most specific last.
        self.prefixes = path_patterns(prefixes)
        #: The guarded methods; all if there are none.
        self.methods = frozenset(map(_method, methods))
        #: The patterns of the open paths.
        self.public = path_patterns(public)
        if "GET" in self.methods:
            self.methods |= {"HEAD"}
        #: Whether every request is guarded, for any path and method.
        self.guards_all = not (self.prefixes or self.methods or self.public)
        self._check_session_param(guard)

    def find(self, method: str, path: str) -> dict[str, str] | None:
        """The variable parts of a guarded path; None for a request that is not guarded.

        :param method: the request's method; compared in capitals, as frameworks do.
        :param path: within the app, decoded.
        :raises InvalidRequest: for a path that can be read in two ways, one of which is guarded.
        """
        if self.methods and method.upper() not in self.methods:
            return None
        plain = is_plain(path)
        if plain and any(pattern.matches(path) for pattern in self.public):
            return None
        if not self.prefixes:
            return {}
        found = None if is_crooked(path) else self._params(path)
        if not plain and self._is_ambiguous(path, found):
            raise InvalidRequest(_TWO_WAYS)
        return found

    def find_within(self, method: str, path: str, root: str, raw: bytes | None = None) -> dict[str, str] | None:
        """:meth:`find`, for a path that may begin with the mount path ``root``.

        Routers remove it in different ways: a path that one of them takes for a guarded path is guarded. To some of
        them, Sanic's for one, an encoded slash does not end a segment.

        :param root: the ASGI scope's ``root_path``.
        :param raw: the ASGI scope's ``raw_path``.
        """
        paths = _within(path, root)
        if raw and b"%2f" in raw.lower():
            paths += _within(unquote(_ENCODED_SLASH.sub("%252F", raw.decode("latin-1"))), root)
        found = [one for one in (self.find(method, within) for within in paths) if one is not None]
        if any(one != found[0] for one in found):
            raise InvalidRequest(_TWO_WAYS)
        return found[0] if found else None

    def _is_ambiguous(self, path: str, found: dict[str, str] | None) -> bool:
        """Whether some app could read ``path`` differently."""
        if found is None:
            return any(prefix.may_begin(path) for prefix in self.prefixes)
        # An app that resolves or drops hidden parts finds another segment in the place of the session.
        others = [reading for reading in readings(path) if reading != path]
        return any(is_crooked(reading) or (self._bound(found) and self._params(reading) != found) for reading in others)

    def _bound(self, found: dict[str, str]) -> bool:
        return self._session_param in found

    def _params(self, path: str) -> dict[str, str] | None:
        found = None
        for prefix in self.prefixes:
            params = prefix.begins(path)
            if params is not None:
                name = self._session_param
                if found and name in params and found.get(name, params[name]) != params[name]:
                    raise InvalidRequest("the path names two sessions, and a token is for one")
                # A path below several prefixes is bound by all of them.
                found = {**found, **params} if found else params
        return found

    def _check_session_param(self, guard: Guard) -> None:
        """Refuse a guard that binds no session, or binds one by a name that a prefix lacks, unless the app says so."""
        if not guard.says:
            if not self.prefixes:
                raise unsettled_app("a whole app")
            for prefix in self.prefixes:
                if prefix.names and not guard.is_settled(prefix.names):
                    raise ConfigurationError(f"the prefix {shown(prefix.text, 80)} {unsettled(prefix.names)}")
            return
        name = guard.session_param
        without = [prefix.text for prefix in self.prefixes if name not in prefix.names]
        if name is not None and (without or not self.prefixes):
            raise ConfigurationError(
                f"this guard binds the session by {shown(name)}, which is no part of "
                f"{shown(without[0]) if without else 'any prefix'}; name it in each: prefixes=['/rooms/{{{name}}}']"
            )


def _within(path: str, root: str) -> list[str]:
    root = root.rstrip("/")
    if not root or root not in path:
        return [path]
    readings = (path, path.removeprefix(root), path.partition(root)[2])
    return list(dict.fromkeys(one if one.startswith("/") else f"/{one}" for one in readings))


def _method(name: str) -> str:
    # An impossible method would leave open the paths that it should guard.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z-]*", name):
        raise ConfigurationError(f"{shown(name)} is no method; expected one such as 'POST'")
    return name.upper()
