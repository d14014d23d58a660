"""Guards around WSGI apps: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Any, TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from rolecall import Grant, Rolecall
from rolecall.driver import drive
from rolecall.engine import Call
from rolecall.errors import ConfigurationError, InvalidRequest, RolecallError
from rolecall.http.gateways.watching import keep_entry
from rolecall.http.gateways.wsgi import ADMITTED, AUTHORIZATION, GRANT, KIT, path_of
from rolecall.http.guards.admission import admit, guard_answer, headers_to_add
from rolecall.http.guards.guard import UNSAID, Kit, SessionParam, SessionResolver, roles_of, several_kits
from rolecall.http.guards.guard import Guard as BaseGuard
from rolecall.http.guards.marks import check_guard, mark_guarded
from rolecall.http.guards.path_guard import GuardedPaths
from rolecall.http.messages import Response
from rolecall.http.web import Web
from rolecall.roles import ANY_TOKEN, Capability, CapabilityName, Requirement, Role, RoleName
from rolecall.wording import shown

from .translation import answer, check_app, neutral_request

#: Makes the app that answers a refusal; None leaves the answer to the kit.
OnRefusal: TypeAlias = Callable[[RolecallError, WSGIEnvironment], WSGIApplication | None]
#: What is wrong with a guard that finds no kit, and what to do.
NO_KIT = "this guard has no kit: put RolecallMiddleware(app, kit) around the app, or tell it: require_role(…, kit=kit)"


class Guard(BaseGuard):
    """Lets a request into a WSGI app if its token meets the requirement.

    :param prefixes: the paths that it guards, with all below them; all of them if there are none.
    :param methods: the methods that it guards; all of them if there are none.
    :param public: paths that it leaves open.
    :param on_refusal: makes the app that answers a refusal, in place of the kit's problem document.
    :raises ConfigurationError: for an argument that cannot be meant.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
        optional: bool = False,
        *,
        prefixes: Iterable[str] = (),
        methods: Collection[str] = (),
        public: Iterable[str] = (),
        on_refusal: OnRefusal | None = None,
    ) -> None:
        super().__init__(requirement, kit, session_param, session, optional)
        if on_refusal is not None and not callable(on_refusal):
            raise ConfigurationError(
                f"on_refusal is {shown(on_refusal)}; expected a function of the error and the environment that returns "
                "a WSGI app, or None"
            )
        self.on_refusal = on_refusal
        self.paths = GuardedPaths(self, prefixes, methods, public)

    def __call__(self, app: WSGIApplication) -> GuardedApp:
        return GuardedApp(app, self)

    def also_open(self, public: Iterable[str]) -> Guard:
        """The same guard, which leaves these paths open, too."""
        other = copy(self)
        paths = self.paths
        prefixes = [prefix.text for prefix in paths.prefixes]
        other.paths = GuardedPaths(self, prefixes, paths.methods, public)
        return other

    def _identity(self) -> tuple[object, ...]:
        paths = self.paths
        return *super()._identity(), self.on_refusal, *map(repr, (paths.prefixes, sorted(paths.methods), paths.public))


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
        if not guard.paths.guards_all:
            try:
                params = guard.paths.find(environ["REQUEST_METHOD"], path_of(environ))
            except InvalidRequest as error:
                api = (guard.kit or _kit(guard, environ)).api
                drive(api.engine.tell_of_refusal(error, None, Call(neutral_request(environ, {}))))
                return self._refuse(error, api.web, environ, start_response)
            if params is None:
                return self.app(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            # A browser asks so before it sends the token; the app does not run.
            return answer(Response(204), environ, start_response)
        api = (guard.kit or _kit(guard, environ)).api
        session_id = params.get(guard.session_param) if params and guard.session_param else None
        admitted = admit(
            api,
            environ.get(AUTHORIZATION),
            guard,
            session_id,
            lambda: neutral_request(environ, params or {}),
        )
        if not isinstance(admitted, Grant):
            entered = drive(admitted)
            if isinstance(entered, RolecallError):
                return self._refuse(entered, api.web, environ, start_response)
            if entered is None:
                return self.app(environ, start_response)
            admitted = entered
        environ[GRANT] = environ[ADMITTED] = admitted
        session_id = guard.session_entered(session_id, admitted)
        keep_entry(environ, api, guard.requirement, session_id, admitted, params)
        return self.app(environ, _uncached(start_response, api.web, environ))

    def _refuse(
        self, error: RolecallError, web: Web, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        response = guard_answer(error, web, environ.get("QUERY_STRING", ""))
        own = self.rolecall_guard.on_refusal
        app = None if own is None else own(error, environ)
        if app is None:
            return answer(response, environ, start_response)
        return app(environ, _uncached(start_response, web, environ))


def _kit(guard: Guard, environ: WSGIEnvironment) -> Kit:
    kit: Kit | None = guard.kit or environ.get(KIT)
    if kit is not None:
        return kit
    if KIT in environ:
        raise several_kits()
    raise ConfigurationError(NO_KIT)


def _uncached(start_response: StartResponse, web: Web, environ: WSGIEnvironment) -> StartResponse:
    """``start_response`` for answers of the app's own: kept out of caches, unless the app says otherwise."""
    query = environ.get("QUERY_STRING", "")

    def start_uncached(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        headers = [*headers, *headers_to_add((name for name, _ in headers), web, query)]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start_uncached


def require_role(
    role: Role | RoleName,
    *,
    exact: bool = False,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
    on_refusal: OnRefusal | None = None,
) -> Guard:
    """Admit tokens whose role may do all that ``role`` may.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param exact: admit no other role, though it may do as much.
    :param kit: the kit that verifies; that of the :class:`RolecallMiddleware` around it unless given.
    :param session_param: the part of a prefix that names the session: with ``prefixes=["/rooms/{session_id}"]`` the
        token must be for that session. A name of your own must be in every prefix. None binds the guard to no session:
        a token for any is enough. Without prefixes, and for prefixes with other parts alone, it must be said.
    :param session: a function from the WSGI environment to the session's id, ``def`` or ``async def``, for paths that
        carry other ids. Where it answers None, nobody is let in.
    :param prefixes: the paths that are guarded, with all below them; all of them unless given. They are paths within
        the app, as ``PATH_INFO`` has them.
    :param methods: the methods that are guarded, HEAD with GET; all of them unless given.
    :param on_refusal: a function from the error and the WSGI environment to a WSGI app that answers; None from it
        leaves the answer to the kit.
    :raises ConfigurationError: for a role that does not exist, or an argument that cannot be meant.
    """
    return Guard(
        Requirement.of_role(role, roles_of(kit), exact),
        kit,
        session_param,
        session,
        prefixes=prefixes,
        methods=methods,
        on_refusal=on_refusal,
    )


def require_capability(
    capability: Capability | CapabilityName,
    *,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
    on_refusal: OnRefusal | None = None,
) -> Guard:
    """Admit tokens that allow this act: ``require_capability("force_disconnect")``. See :func:`require_role`.

    :raises ConfigurationError: for a capability that does not exist, or an argument that cannot be meant.
    """
    return Guard(
        Requirement.of_capability(capability),
        kit,
        session_param,
        session,
        prefixes=prefixes,
        methods=methods,
        on_refusal=on_refusal,
    )


def require_token(
    *,
    optional: bool = False,
    kit: Rolecall | None = None,
    session_param: SessionParam = UNSAID,
    session: SessionResolver | None = None,
    prefixes: Iterable[str] = (),
    methods: Collection[str] = (),
    on_refusal: OnRefusal | None = None,
) -> Guard:
    """Admit every good token, whatever its role. See :func:`require_role`.

    :param optional: admit requests without a token, too: they have no grant, see :func:`find_grant`. A token that is
        not good is refused all the same.
    """
    return Guard(
        ANY_TOKEN,
        kit,
        session_param,
        session,
        optional,
        prefixes=prefixes,
        methods=methods,
        on_refusal=on_refusal,
    )


def protect(app: WSGIApplication, guard: Guard, *, public: Iterable[str] = ()) -> GuardedApp:
    """Guard everything in ``app``, but for the paths that are named as open.

    A guard around a whole app does not see which session a path is about, so it must be told:
    ``protect(app, require_token(session_param=None))``.

    :param guard: what lets in, for example ``require_role("moderator", prefixes=["/rooms/{session_id}"])``.
    :param public: exact paths that need no token, for example ``["/health", "/rooms/{room}/poster"]``.
    """
    check_guard(guard, Guard)
    return guard.also_open(public)(app)


def find_grant(environ: WSGIEnvironment) -> Grant | None:
    """The grant of a request; None where a guard with ``optional=True`` let it in without a token."""
    grant: Grant | None = environ.get(ADMITTED)
    return grant


def current_grant(environ: WSGIEnvironment) -> Grant:
    """The grant with which a request came through the guard of an app.

    :raises RuntimeError: where there is none.
    """
    grant = find_grant(environ)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an app behind require_role, require_capability, "
            "require_token or protect; where the token is optional, ask find_grant(environ)"
        )
    return grant
