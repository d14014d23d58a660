"""Guards around WSGI apps: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, overload
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from rolecall import Grant, Rolecall
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import ConfigurationError, InvalidRequest, shown
from rolecall.http.guarding import SESSION_PARAM, several_kits
from rolecall.http.marks import check_guard, mark_guarded
from rolecall.http.messages import Response
from rolecall.http.paths import is_crooked, is_plain, path_patterns, readings
from rolecall.http.service import GUARDED_CACHE_CONTROL, admit, refused
from rolecall.http.wsgi import ADMITTED, AUTHORIZATION, GRANT, KIT, path_of
from rolecall.roles import ANY_TOKEN, Requirement

from .translation import answer, check_app, neutral_request

#: What is wrong with a guard that finds no kit, and what to do.
NO_KIT = "this guard has no kit: put RolecallMiddleware(app, kit) around the app, or tell it: require_role(…, kit=kit)"
_NO_STORE = ("Cache-Control", GUARDED_CACHE_CONTROL)


class Guard:
    """Lets a request into a WSGI app if its token meets the requirement.

    :param prefixes: the paths that it guards, with all below them; all of them if there are none.
    :param methods: the methods that it guards; all of them if there are none.
    :param public: paths that it leaves open.
    :raises ConfigurationError: for an argument that cannot be meant.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Rolecall | None,
        session_param: str | None,
        prefixes: Iterable[str] = (),
        methods: Collection[str] = (),
        public: Iterable[str] = (),
    ) -> None:
        for texts in (prefixes, methods, public):
            if isinstance(texts, str | bytes):
                raise ConfigurationError("prefixes, methods and public are lists: prefixes=['/admin']")
        self.requirement = requirement
        self.session_param = session_param
        self.kit = kit
        self.prefixes = path_patterns(prefixes)
        self.methods = frozenset(map(_method, methods))
        self.public = path_patterns(public)
        if "GET" in self.methods:
            self.methods |= {"HEAD"}
        #: Whether it guards every request, whatever its path and method.
        self.guards_all = not (self.prefixes or self.methods or self.public)
        self._check_session_param()

    def __call__(self, app: WSGIApplication) -> GuardedApp:
        return GuardedApp(app, self)

    def finds(self, environ: WSGIEnvironment) -> dict[str, str] | None:
        """The variable parts of the path that is guarded; None for a request that is not.

        :raises InvalidRequest: for a path that could be read in two ways, of which one is guarded.
        """
        # In capitals: so do frameworks read it.
        if self.methods and environ["REQUEST_METHOD"].upper() not in self.methods:
            return None
        path = path_of(environ)
        plain = is_plain(path)
        if plain and any(pattern.matches(path) for pattern in self.public):
            return None
        if not self.prefixes:
            return {}
        found = None if is_crooked(path) else self._params(path)
        if found is None and not plain and any(prefix.may_begin(path) for prefix in self.prefixes):
            raise InvalidRequest("the path can be read in two ways; send it without '.', '..' and empty segments")
        if found and not plain and any(map(is_crooked, readings(path))):
            # Who resolves what is hidden in it finds another segment where the session stands.
            raise InvalidRequest("the path can be read in two ways; send it without '.', '..' and empty segments")
        return found

    def _params(self, path: str) -> dict[str, str] | None:
        found = None
        for prefix in self.prefixes:
            params = prefix.begins(path)
            if params is not None:
                name = self.session_param
                if found and name in params and found.get(name, params[name]) != params[name]:
                    raise InvalidRequest("the path names two sessions, and a token is for one")
                # What is below several is bound by all of them.
                found = {**found, **params} if found else params
        return found

    def _check_session_param(self) -> None:
        """Stop a guard that binds a session by a name which a path that it guards does not have."""
        name = self.session_param
        if name is None or name == SESSION_PARAM:
            return
        without = [prefix.text for prefix in self.prefixes if name not in prefix.names]
        if without or not self.prefixes:
            raise ConfigurationError(
                f"this guard binds the session by {shown(name)}, which is no part of "
                f"{shown(without[0]) if without else 'any prefix'}; name it in each: prefixes=['/rooms/{{{name}}}']"
            )


class GuardedApp:
    """A WSGI app behind a guard."""

    def __init__(self, app: WSGIApplication, guard: Guard) -> None:
        check_app(app, "a guard protects")
        self.__wrapped__ = self.app = app
        self.rolecall_guard = guard
        mark_guarded(self, guard, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        guard = self.rolecall_guard
        params: dict[str, str] | None = None
        session_id = None
        if not guard.guards_all:
            try:
                params = guard.finds(environ)
            except InvalidRequest as error:
                return answer(_refused_path(error, _kit(guard, environ), environ), environ, start_response)
            if params is None:
                return self.app(environ, start_response)
            session_id = params.get(guard.session_param) if guard.session_param else None
        if environ["REQUEST_METHOD"] == "OPTIONS":
            # A browser asks so before it sends the token; the app does not run.
            return answer(Response(204), environ, start_response)
        admitted = admit(
            (guard.kit or _kit(guard, environ)).engine,
            environ.get(AUTHORIZATION),
            guard.requirement,
            session_id,
            lambda: neutral_request(environ, params or {}),
        )
        if not isinstance(admitted, Grant):
            entered = drive(admitted)
            if isinstance(entered, Response):
                return answer(entered, environ, start_response)
            admitted = entered
        environ[GRANT] = environ[ADMITTED] = admitted
        return self.app(environ, _uncached(start_response))


def _method(name: str) -> str:
    # One that no request has would leave open what it is to guard.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z-]*", name):
        raise ConfigurationError(f"{shown(name)} is no method; expected one such as 'POST'")
    return name.upper()


def _kit(guard: Guard, environ: WSGIEnvironment) -> Rolecall:
    kit: Rolecall | None = guard.kit or environ.get(KIT)
    if kit is not None:
        return kit
    if KIT in environ:
        raise several_kits()
    raise ConfigurationError(NO_KIT)


def _refused_path(error: InvalidRequest, kit: Rolecall, environ: WSGIEnvironment) -> Response:
    drive(kit.engine.tell_of_refusal(error, None, Call(neutral_request(environ, {}))))
    return refused(error)


def _uncached(start_response: StartResponse) -> StartResponse:
    """``start_response`` for the answers of a guarded app: kept out of caches, unless the app says otherwise."""

    def start_uncached(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        for name, _ in headers:
            if name.lower() == "cache-control":
                break
        else:
            headers = [*headers, _NO_STORE]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start_uncached


def require_role(
    role: str,
    *,
    kit: Rolecall | None = None,
    session_param: str | None = SESSION_PARAM,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
) -> Guard:
    """Admit tokens whose role may do all that ``role`` may.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param kit: the kit that verifies; that of the :class:`RolecallMiddleware` around it unless given.
    :param session_param: the part of a prefix that names the session: with ``prefixes=["/rooms/{session_id}"]`` the
        token must be for that session. None turns this off. A name of your own must be in every prefix.
    :param prefixes: the paths that are guarded, with all below them; all of them unless given. They are paths within
        the app, as ``PATH_INFO`` has them.
    :param methods: the methods that are guarded, HEAD with GET; all of them unless given.
    :raises ConfigurationError: for a role that does not exist, or an argument that cannot be meant.
    """
    return Guard(Requirement.of_role(role, kit.roles if kit else None), kit, session_param, prefixes, methods)


def require_capability(
    capability: str,
    *,
    kit: Rolecall | None = None,
    session_param: str | None = SESSION_PARAM,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
) -> Guard:
    """Admit tokens that allow this act: ``require_capability("force_disconnect")``. See :func:`require_role`.

    :raises ConfigurationError: for a capability that does not exist.
    """
    return Guard(Requirement.of_capability(capability), kit, session_param, prefixes, methods)


@overload
def require_token(app: WSGIApplication, /) -> GuardedApp: ...
@overload
def require_token(
    *,
    kit: Rolecall | None = None,
    session_param: str | None = SESSION_PARAM,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
) -> Guard: ...
def require_token(
    app: WSGIApplication | None = None,
    /,
    *,
    kit: Rolecall | None = None,
    session_param: str | None = SESSION_PARAM,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
) -> Guard | GuardedApp:
    """Admit every good token, whatever its role; with or without parentheses. See :func:`require_role`."""
    guard = Guard(ANY_TOKEN, kit, session_param, prefixes, methods)
    return guard if app is None else guard(app)


def protect(app: WSGIApplication, guard: Guard | None = None, *, public: Iterable[str] = ()) -> GuardedApp:
    """Guard everything in ``app``, but for the paths that are named as open.

    :param guard: what lets in, for example ``require_role("moderator", prefixes=["/admin"])``; every good token unless
        given.
    :param public: exact paths that need no token, for example ``["/health", "/rooms/{room}/poster"]``.
    """
    if guard is None:
        guard = Guard(ANY_TOKEN, None, SESSION_PARAM)
    check_guard(guard, Guard)
    prefixes = [prefix.text for prefix in guard.prefixes]
    return Guard(guard.requirement, guard.kit, guard.session_param, prefixes, guard.methods, public)(app)


def current_grant(environ: WSGIEnvironment) -> Grant:
    """The grant with which a request came through the guard of an app.

    :raises RuntimeError: where there is none.
    """
    grant: Grant | None = environ.get(ADMITTED)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an app behind require_role, require_capability, "
            "require_token or protect"
        )
    return grant
