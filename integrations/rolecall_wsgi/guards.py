"""Guards around WSGI apps: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, overload

from rolecall import Grant, Rolecall
from rolecall.driver import drive
from rolecall.errors import ConfigurationError, InvalidRequest, shown
from rolecall.http.marks import mark_guarded
from rolecall.http.messages import Response
from rolecall.http.paths import PathPattern, is_plain
from rolecall.http.service import GUARDED_CACHE_CONTROL, admit, refused
from rolecall.http.wsgi import GRANT, KIT, WsgiHeaders, path_of
from rolecall.roles import ANY_TOKEN, Requirement

from .translation import answer, neutral_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: The part of a prefix that names the session, unless a guard is told otherwise.
SESSION_PARAM = "session_id"


class Guard:
    """Lets a request into a WSGI app if its token meets the requirement.

    :param prefixes: the paths that it guards, with all below them; all of them if there are none.
    :param methods: the methods that it guards; all of them if there are none.
    :param public: paths that it leaves open.
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
        if isinstance(prefixes, str) or isinstance(methods, str) or isinstance(public, str):
            raise ConfigurationError("prefixes, methods and public are lists: prefixes=['/admin']")
        self.requirement = requirement
        self.session_param = session_param
        self.kit = kit
        self.prefixes = tuple(map(PathPattern, prefixes))
        self.methods = frozenset(map(str.upper, methods))
        self.public = tuple(map(PathPattern, public))
        if "GET" in self.methods:
            self.methods |= {"HEAD"}
        self._guards_all = not (self.prefixes or self.methods or self.public)

    def __call__(self, app: WSGIApplication) -> GuardedApp:
        if isinstance(app, type) or not callable(app):
            raise ConfigurationError(f"a guard protects a WSGI app, not {shown(app)}")
        return GuardedApp(app, self)

    def finds(self, environ: WSGIEnvironment) -> dict[str, str] | None:
        """The variable parts of the path that is guarded; None for a request that is not.

        :raises InvalidRequest: for a path that could be read in two ways, of which one is guarded.
        """
        if self._guards_all:
            return {}
        if self.methods and environ["REQUEST_METHOD"] not in self.methods:
            return None
        path = path_of(environ)
        found = self._params(path)
        if not is_plain(path) and (found is not None or any(prefix.begins_as_sent(path) for prefix in self.prefixes)):
            raise InvalidRequest("the path has an empty segment, '.' or '..' in it; send it without")
        return found

    def _params(self, path: str) -> dict[str, str] | None:
        if any(pattern.matches(path) is not None for pattern in self.public) and is_plain(path):
            return None
        if not self.prefixes:
            return {}
        return next((found for pattern in self.prefixes if (found := pattern.begins(path)) is not None), None)

    def session_id(self, params: dict[str, str]) -> str | None:
        """The session that the path names.

        :raises ConfigurationError: if it has no part of the name that the guard was given.
        """
        name = self.session_param
        if name is None or name in params:
            return None if name is None else params[name]
        if name == SESSION_PARAM:
            return None
        raise ConfigurationError(f"a guard binds the session by {name!r}, which none of its prefixes has: '{{{name}}}'")


class GuardedApp:
    """A WSGI app behind a guard."""

    def __init__(self, app: WSGIApplication, guard: Guard) -> None:
        self.__wrapped__ = self.app = app
        self._guard = guard
        mark_guarded(self, guard, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        guard = self._guard
        try:
            params = guard.finds(environ)
        except InvalidRequest as error:
            return answer(refused(error), environ, start_response)
        if params is None:
            return self.app(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            # A browser asks so before it sends the token; the app does not run.
            return answer(Response(204), environ, start_response)
        admitted = admit(
            _kit(guard, environ).engine,
            WsgiHeaders(environ),
            guard.requirement,
            guard.session_id(params),
            lambda: neutral_request(environ, params),
        )
        if not isinstance(admitted, Grant):
            entered = drive(admitted)
            if isinstance(entered, Response):
                return answer(entered, environ, start_response)
            admitted = entered
        environ[GRANT] = admitted
        return self.app(environ, _uncached(start_response))


def _kit(guard: Guard, environ: WSGIEnvironment) -> Rolecall:
    kit: Rolecall | None = guard.kit or environ.get(KIT)
    if kit is None:
        raise ConfigurationError(
            "this guard has no kit: put RolecallMiddleware(app, kit) around the app, or tell it: "
            "require_role(…, kit=kit)"
        )
    return kit


def _uncached(start_response: StartResponse) -> StartResponse:
    def start_uncached(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        for name, _ in headers:
            if name.lower() == "cache-control":
                break
        else:
            headers = [*headers, ("Cache-Control", GUARDED_CACHE_CONTROL)]
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
        token must be for that session. None turns this off. A name of your own must be there.
    :param prefixes: the paths that are guarded, with all below them; all of them unless given.
    :param methods: the methods that are guarded; all of them unless given.
    :raises ConfigurationError: for a role that does not exist.
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
    guard = guard or Guard(ANY_TOKEN, None, SESSION_PARAM)
    return Guard(
        guard.requirement,
        guard.kit,
        guard.session_param,
        [prefix.text for prefix in guard.prefixes],
        guard.methods,
        [*(path.text for path in guard.public), *public],
    )(app)


def current_grant(environ: WSGIEnvironment) -> Grant:
    """The grant with which a request came through the guard of an app.

    :raises RuntimeError: where there is none.
    """
    grant: Grant | None = environ.get(GRANT)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an app behind require_role, require_capability, "
            "require_token or protect"
        )
    return grant
