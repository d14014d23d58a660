"""Guards for your own views: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, TypeVar, cast

import flask
from flask.views import View
from werkzeug.local import LocalProxy

from rolecall import Grant
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import (
    ANY_TOKEN,
    Api,
    granted,
    guard_made,
    guards_of,
    headers_to_add,
    is_spared,
    mark_guarded,
    view_guards,
)
from rolecall.http.adapter import (
    Guard as BaseGuard,
)
from rolecall.http.gateways.wsgi import enter

from .checks import CHECKED, check_once
from .kits import kit_of
from .listing import is_static
from .refusals import Refused, refusal
from .socketio import is_event, opens_a_socket, own_environ, unconnected
from .translation import current_app, current_request, neutral_request, path_params_of

Guarded = TypeVar("Guarded", bound=Callable[..., Any] | flask.Blueprint)
Subtree = TypeVar("Subtree", bound=flask.Blueprint | flask.Flask)


class Guard(BaseGuard):
    """Admits a request if its token meets the requirement: a decorator for views, view classes and blueprints.

    It raises to refuse a request, so it can guard everything that runs within a request: a helper, a property, a
    GraphQL resolver, a handler of Flask-SocketIO.
    """

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
        unbound = Guard(self.requirement, self.kit, session_param=None, optional=self.optional)

        def enter() -> None:
            request = current_request()
            view = current_app().view_functions.get(request.endpoint or "")
            # The kit's own routes in a blueprint are guarded, except for OPTIONS, which they answer themselves.
            if not is_spared(view, request.method, whole=is_whole or request.method == "OPTIONS"):
                guard = unbound if self._is_about_none(request, view) else self
                guard.enter()

        target.before_request(enter)
        mark_guarded(target, self)
        return target

    def _guarded_class(self, view_class: type[Any]) -> type[Any]:
        if not issubclass(view_class, View):
            raise ConfigurationError(
                f"a guard cannot protect the class {view_class.__name__}: it is no flask.views.View"
            )
        guard_made(view_class, "as_view", self._guarded_view)
        mark_guarded(view_class, self)
        return view_class

    def _guarded_view(self, view: Callable[..., Any]) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(view)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.enter()
            if is_async and not _is_awaited():
                return flask.current_app.ensure_sync(view)(*args, **kwargs)
            return view(*args, **kwargs)

        mark_guarded(guarded, self, view)
        return guarded

    def enter(self) -> None:
        """Admit the current request, and keep its grant.

        :raises Refused: if it is refused, and for OPTIONS.
        """
        request, app = current_request(), current_app()
        opens = False
        if "event" in request.__dict__ and is_event(request):
            own_environ(request)
            opens = opens_a_socket(request)
        try:
            if request.method == "OPTIONS":
                # A browser asks before it sends the token; the view does not run.
                raise Refused(app.make_default_options_response())
            if CHECKED not in app.extensions:
                check_once(app)
            api = (kit_of(app) if self.kit is None else self.kit).api
            params: Mapping[Any, Any] | None = request.view_args
            rule = request.url_rule
            session_id = params.get(self.session_param) if params else None
            # In most cases it is there, and text; or the route has no session, and nobody has said so.
            if type(session_id) is not str and (params or self.says or (rule is not None and rule.arguments)):
                session_id = self._session_of(request)
            environ = request.environ
            entered = enter(self, api, session_id, environ, neutral_request, (request,))
            if isinstance(entered, Grant):
                flask.after_this_request(_keeping_out_of_caches(api, environ))
            elif entered is not None:
                raise refusal(api, app, request, entered)
        except Exception as error:
            if opens:
                raise unconnected(error) from error
            raise

    def _session_of(self, request: flask.Request) -> str | None:
        params: Mapping[str, Any] = request.view_args or {}
        if self.session_param not in params:
            params = path_params_of(request)
        return self.bound_session(params, request.path, partial(self._others, request))

    def _others(self, request: flask.Request) -> tuple[Sequence[BaseGuard], Sequence[BaseGuard]]:
        guards = _guards_of_route(request)
        return self.split(guards) or (guards, ())  # a helper's guard is within them all

    def _is_about_none(self, request: flask.Request, view: Any) -> bool:
        """Whether a request belongs to no session: its path has no view, or is a file that Flask serves."""
        rule = request.url_rule
        if rule is None:
            return True
        return is_static(rule.endpoint, view) and self.session_param not in rule.arguments


def _is_awaited() -> bool:
    """Whether the caller runs on an event loop: then it is an async view that awaits a helper."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _guards_of_route(request: flask.Request) -> list[BaseGuard]:
    """All guards of the route of a request, from the outermost."""
    app = current_app()
    view = app.view_functions.get(request.endpoint or "")
    holders = [app, *(app.blueprints[name] for name in reversed(request.blueprints) if name in app.blueprints)]
    return [*(guard for holder in holders for guard in guards_of(holder)), *view_guards(view, request.method)]


require_role = Guard.of_role
require_capability = Guard.of_capability
require_token = Guard.of_token


def protect(target: Subtree, guard: Guard | None = None) -> Subtree:
    """Guard every view of a blueprint or of a whole app, now and later, except those that are marked with ``@public``.

    In a whole app an unknown path needs a token, too, and so do its static files; the kit's own routes need no guard.

    :param guard: for example ``require_role("moderator")``; every good token is admitted unless given.
    """
    if not isinstance(target, flask.Blueprint | flask.Flask):
        raise ConfigurationError(f"protect guards a blueprint or an app, not a {type(target).__name__}")
    if guard is None:
        guard = Guard(ANY_TOKEN)
    Guard.check(guard)
    return guard.guard_all(target)


def find_grant() -> Grant | None:
    """The grant of the current request; None if a guard with ``optional=True`` admitted it without a token."""
    return granted(flask.request.environ)


def _current_grant() -> Grant:
    grant = find_grant()
    if grant is None:
        raise RuntimeError(
            "there is no grant here: current_grant needs a view behind require_role, require_capability or "
            "require_token; where the token is optional, ask find_grant()"
        )
    return grant


def _keeping_out_of_caches(api: Api, environ: Mapping[str, Any]) -> Callable[[flask.Response], flask.Response]:
    """Make what keeps an answer out of caches: a plain function, which Flask calls with the fewest steps."""

    def kept_out_of_caches(response: flask.Response) -> flask.Response:
        headers = response.headers
        # One by one, which takes a third of the time of extend().
        for name, value in headers_to_add(headers, api.web, environ.get("QUERY_STRING", "")):
            if name == "Vary":  # a second one is lost where Flask's session, or the app, adds to the first
                headers[name] = value
            else:
                headers.add(name, value)  # which takes less time, and there is none yet
        return response

    return kept_out_of_caches


#: The grant of the current request's token.
current_grant: Grant = cast(Grant, LocalProxy(_current_grant))
