"""Guards around WSGI apps: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from rolecall import Capability, CapabilityName, Grant, Role, Rolecall, RoleName
from rolecall.errors import ConfigurationError, InvalidRequest, RolecallError
from rolecall.http.adapter import (
    ANY_TOKEN,
    UNSAID,
    Api,
    PathGuard,
    Requirement,
    Response,
    SessionParam,
    SessionResolver,
    drive,
    guard_answer,
    headers_to_add,
    mark_guarded,
    required_role,
    several_kits,
    shown,
)
from rolecall.http.gateways.wsgi import KIT, enter, granted, path_of, send_response

from .translation import check_app, neutral_request

#: Makes the app that answers a refusal; None lets the kit answer.
OnRefusal: TypeAlias = Callable[[RolecallError, WSGIEnvironment], WSGIApplication | None]
#: The problem of a guard without a kit, and what to do.
NO_KIT = "this guard has no kit: put RolecallMiddleware(app, kit) around the app, or tell it: require_role(…, kit=kit)"


class Guard(PathGuard):
    """Admits a request to a WSGI app if its token meets the requirement.

    :param on_refusal: makes the app that answers a refusal, in place of the kit's problem document.
    :raises ConfigurationError: for an invalid argument.
    """

    def __init__(
        self,
        requirement: Requirement,
        kit: Rolecall | None = None,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
        optional: bool = False,
        *,
        on_refusal: OnRefusal | None = None,
        **paths: Any,
    ) -> None:
        super().__init__(requirement, kit, session_param, session, optional, **paths)
        if on_refusal is not None and not callable(on_refusal):
            raise ConfigurationError(
                f"on_refusal is {shown(on_refusal)}; expected a function of the error and the environment that returns "
                "a WSGI app, or None"
            )
        self.on_refusal = on_refusal

    def __call__(self, app: WSGIApplication) -> GuardedApp:
        return GuardedApp(app, self)

    def _identity(self) -> tuple[object, ...]:
        return *super()._identity(), self.on_refusal


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
                api = _api(guard, environ)
                drive(api.tell(error, neutral_request(environ, {})))
                return self._refuse(error, api, environ, start_response)
            if params is None:
                return self.app(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS":
            # A browser asks before it sends the token; the app does not run.
            return send_response(Response(204), environ, start_response)
        api = _api(guard, environ)
        session_id = params.get(guard.session_param) if params and guard.session_param else None
        entered = enter(guard, api, session_id, environ, neutral_request, (environ, params or {}), params)
        if isinstance(entered, RolecallError):
            return self._refuse(entered, api, environ, start_response)
        if entered is None:
            return self.app(environ, start_response)
        return self.app(environ, _uncached(start_response, api, environ))

    def _refuse(
        self, error: RolecallError, api: Api, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        response = guard_answer(error, api.web, environ.get("QUERY_STRING", ""))
        own = self.rolecall_guard.on_refusal
        app = None if own is None else own(error, environ)
        if app is None:
            return send_response(response, environ, start_response)
        return app(environ, _uncached(start_response, api, environ))


def _api(guard: Guard, environ: WSGIEnvironment) -> Api:
    kit = guard.kit or environ.get(KIT)
    if kit is None:
        raise several_kits() if KIT in environ else ConfigurationError(NO_KIT)
    api: Api = kit.api
    return api


def _uncached(start_response: StartResponse, api: Api, environ: WSGIEnvironment) -> StartResponse:
    """Wrap ``start_response``, so that the app's own answers are not cached unless it says otherwise."""
    query = environ.get("QUERY_STRING", "")

    def start_uncached(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        headers = [*headers, *headers_to_add(headers, api.web, query)]
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
    """Admit tokens whose role has all capabilities of ``role``.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param exact: admit no other role, even with the same capabilities.
    :param kit: the kit that verifies; that of the :class:`RolecallMiddleware` around it unless given.
    :param session_param: the part of a prefix that names the session: with ``prefixes=["/rooms/{session_id}"]`` the
        token must be for that session. Another name must be in every prefix. None binds the guard to no session: a
        token for any is sufficient. It is required without prefixes, and for prefixes that have only other parts.
    :param session: a function from the WSGI environment to the session's id, ``def`` or ``async def``, for paths with
        other ids. If it returns None, nobody is admitted.
    :param prefixes: the guarded paths, with all below them; all of them unless given. They are paths within the app, as
        in ``PATH_INFO``.
    :param methods: the guarded methods, HEAD with GET; all of them unless given.
    :param on_refusal: a function from the error and the WSGI environment to a WSGI app that answers; if it returns
        None, the kit answers.
    :raises ConfigurationError: for an unknown role, or an invalid argument.
    """
    return Guard(
        required_role(role, kit, exact),
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
    """Admit tokens with this capability: ``require_capability("force_disconnect")``. See :func:`require_role`.

    :raises ConfigurationError: for an unknown capability, or an invalid argument.
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

    :param optional: admit requests without a token, too: they have no grant, see :func:`find_grant`. An invalid token
        is refused all the same.
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
    """Guard everything in ``app``, except the paths in ``public``.

    A guard around a whole app does not see the session of a path, so it must be told:
    ``protect(app, require_token(session_param=None))``.

    :param guard: for example ``require_role("moderator", prefixes=["/rooms/{session_id}"])``.
    :param public: exact paths that need no token, for example ``["/health", "/rooms/{room}/poster"]``.
    """
    Guard.check(guard)
    return guard.also_open(public)(app)


def find_grant(environ: WSGIEnvironment) -> Grant | None:
    """The grant of a request; None if a guard with ``optional=True`` admitted it without a token."""
    return granted(environ)


def current_grant(environ: WSGIEnvironment) -> Grant:
    """The grant of a request that passed a guard.

    :raises RuntimeError: if there is none.
    """
    grant = find_grant(environ)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs an app behind require_role, require_capability, "
            "require_token or protect; where the token is optional, ask find_grant(environ)"
        )
    return grant
