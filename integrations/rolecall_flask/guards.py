"""Guards for your own views: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

import flask
from flask.views import View
from werkzeug.local import LocalProxy

from rolecall import Grant, Rolecall
from rolecall.driver import drive
from rolecall.errors import ConfigurationError
from rolecall.http.guarding import SESSION_PARAM, bound_session
from rolecall.http.marks import check_guard, is_public, mark_guarded, own_route
from rolecall.http.messages import Response
from rolecall.http.service import GUARDED_CACHE_CONTROL, admit
from rolecall.http.wsgi import ADMITTED, AUTHORIZATION, GRANT
from rolecall.roles import ANY_TOKEN, Requirement

from .checks import check_once
from .kits import kit_of
from .translation import current_app, current_request, flask_response, neutral_request

Guarded = TypeVar("Guarded", bound=Callable[..., Any] | flask.Blueprint)
Subtree = TypeVar("Subtree", bound=flask.Blueprint | flask.Flask)


class Guard:
    """Lets a request in if its token meets the requirement: a decorator for views, view classes and blueprints."""

    def __init__(self, requirement: Requirement, kit: Rolecall | None, session_param: str | None) -> None:
        self.requirement = requirement
        self.session_param = session_param
        self._kit = kit

    def __call__(self, target: Guarded) -> Guarded:
        if isinstance(target, flask.Blueprint):
            return self.guard_all(target)
        if inspect.isclass(target):
            return cast("Guarded", self._guarded_class(target))
        if isinstance(target, flask.Flask) or not callable(target):
            raise ConfigurationError(
                f"a guard protects a view, a view class or a blueprint, not a {type(target).__name__}"
            )
        return cast("Guarded", self._guarded_view(target))

    def guard_all(self, target: Subtree) -> Subtree:
        """Guard every view of a blueprint or an app that is not marked as public."""
        is_whole = isinstance(target, flask.Flask)

        def enter() -> flask.Response | None:
            request = current_request()
            view = current_app().view_functions.get(request.endpoint or "")
            # A whole app has the kit's own routes in it, which look after themselves.
            # Inside a blueprint they are guarded, but for OPTIONS, which they answer themselves.
            is_own = own_route(view) is not None and (is_whole or request.method == "OPTIONS")
            is_open = is_own or is_public(view, request.method)
            return None if is_open else self._enter()

        target.before_request(enter)
        mark_guarded(target, self)
        return target

    def _guarded_class(self, view_class: type[Any]) -> type[Any]:
        if not issubclass(view_class, View):
            raise ConfigurationError(
                f"a guard cannot protect the class {view_class.__name__}: it is no flask.views.View"
            )
        own = vars(view_class).get("as_view")

        # Around the finished view, so that a subclass loses the guard neither by decorators nor by methods of its own;
        # and through super(), so that with several guarded bases each guards.
        @wraps(View.as_view.__func__)  # type: ignore[attr-defined]
        def as_view(cls: type[View], *args: Any, **kwargs: Any) -> Callable[..., Any]:
            make = super(view_class, cls).as_view if own is None else own.__get__(None, cls)  # type: ignore[misc]
            return self._guarded_view(make(*args, **kwargs))

        view_class.as_view = classmethod(as_view)  # type: ignore[method-assign, assignment]
        mark_guarded(view_class, self)
        return view_class

    def _guarded_view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(view)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            refusal = self._enter()
            if refusal is not None:
                return refusal
            if is_async:
                return flask.current_app.ensure_sync(view)(*args, **kwargs)
            return view(*args, **kwargs)

        mark_guarded(guarded, self, view)
        return guarded

    def _enter(self) -> flask.Response | None:
        """The answer that keeps the current request out, or None: it is in, and has a grant."""
        request = current_request()
        if request.method == "OPTIONS":
            # A browser asks so before it sends the token; the view does not run.
            return flask.current_app.make_default_options_response()
        app = current_app()
        check_once(app)
        kit = kit_of(app) if self._kit is None else self._kit
        admitted = admit(
            kit.engine,
            request.environ.get(AUTHORIZATION),
            self.requirement,
            self._session_id(request),
            partial(neutral_request, request),
        )
        if not isinstance(admitted, Grant):
            entered = drive(admitted)
            if isinstance(entered, Response):
                return flask_response(entered)
            admitted = entered
        # A request's own; Flask may share its `g` between requests.
        request.environ[GRANT] = request.environ[ADMITTED] = admitted
        flask.after_this_request(_kept_out_of_caches)
        return None

    def _session_id(self, request: flask.Request) -> str | None:
        name, params = self.session_param, request.view_args
        if name is not None and (params is None or name not in params):
            params = dict(neutral_request(request).path_params)  # also what a url_value_preprocessor took away
        return bound_session(name, params or {}, request.path)


def require_role(role: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> Guard:
    """Admit tokens whose role may do all that ``role`` may.

    :param role: a standard role's name, a name that ``kit`` knows, or a :class:`~rolecall.Role`.
    :param kit: the kit that verifies; the app's only one unless given.
    :param session_param: the path parameter that names the session. On a route that has it the token must be for that
        session; None turns this off. A name of your own must be there: a route without it lets nobody in.
    :raises ConfigurationError: for a role that does not exist.
    """
    return Guard(Requirement.of_role(role, kit.roles if kit else None), kit, session_param)


def require_capability(
    capability: str, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM
) -> Guard:
    """Admit tokens that allow this act: ``require_capability("force_disconnect")``.

    :param kit: see :func:`require_role`.
    :param session_param: see :func:`require_role`.
    :raises ConfigurationError: for a capability that does not exist.
    """
    return Guard(Requirement.of_capability(capability), kit, session_param)


@overload
def require_token(target: Guarded, /) -> Guarded: ...
@overload
def require_token(*, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM) -> Guard: ...
def require_token(
    target: Any = None, /, *, kit: Rolecall | None = None, session_param: str | None = SESSION_PARAM
) -> Any:
    """Admit every good token, whatever its role; with or without parentheses.

    :param kit: see :func:`require_role`.
    :param session_param: see :func:`require_role`.
    """
    guard = Guard(ANY_TOKEN, kit, session_param)
    return guard if target is None else guard(target)


def protect(target: Subtree, guard: Guard | None = None) -> Subtree:
    """Guard every view of a blueprint or of a whole app, now and later, but for those that are marked with ``@public``.

    In a whole app an unknown path needs a token, too, and so do its static files; the kit's own routes look after
    themselves.

    :param guard: what lets in, for example ``require_role("moderator")``; every good token unless given.
    """
    if not isinstance(target, flask.Blueprint | flask.Flask):
        raise ConfigurationError(f"protect guards a blueprint or an app, not a {type(target).__name__}")
    if guard is None:
        guard = Guard(ANY_TOKEN, None, SESSION_PARAM)
    check_guard(guard, Guard)
    return guard.guard_all(target)


def _current_grant() -> Grant:
    grant: Grant | None = flask.request.environ.get(ADMITTED)
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs a view behind require_role, "
            "require_capability or require_token"
        )
    return grant


def _kept_out_of_caches(response: flask.Response) -> flask.Response:
    for name, _ in response.headers:
        if name.lower() == "cache-control":
            return response
    response.headers.add("Cache-Control", GUARDED_CACHE_CONTROL)
    return response


#: The grant of the token with which the current request came in.
current_grant: Grant = cast(Grant, LocalProxy(_current_grant))
