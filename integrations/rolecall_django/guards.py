"""Guards for views: ``require_role``, ``require_capability``, ``require_token``, and the grant of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from rolecall import Grant
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter
from rolecall.http.adapter import Api, drive, shown

from . import rest_views
from .checking import check_once
from .kits import Apis, apis_of, get_kit
from .patterns import guards_around, is_of_channels
from .translation import KitResponse, authorization, keep_out_of_caches, neutral_request, query_of

if TYPE_CHECKING:
    from rest_framework.request import Request as RestRequest

Target = TypeVar("Target", bound=Callable[..., Any])
#: The grant at once; None if the token is optional; the refusal; or what comes to one of these.
Admission = Any

#: What a guard has decided: with the parameters of the route, and if it has refused, why, and with which answer.
Judgement = tuple["Guard", Mapping[str, Any], tuple[RolecallError, adapter.Response] | None]

#: The name of a request's records in its dictionary: its entries, for what streams.
_KEPT: Final = "_rolecall"
# The name among these of the note that the middleware has seen the request.
_SERVED: Final = "served"
#: The name among them of the guards that have judged the request.
_JUDGED: Final = "judged"


class GuardedRequest(HttpRequest):
    """The request of a guarded view, for annotations: ``def view(request: GuardedRequest, session_id: str)``."""

    #: The grant of the request's token.
    grant: Grant


class Refused(PermissionDenied):
    """Refuses a request in which a guard stands where Django runs no view: in a helper, whose value is no answer.

    ``RolecallMiddleware`` answers it with the kit's own ``response``; without that Django answers 403.
    """

    def __init__(self, response: KitResponse, error: RolecallError | None) -> None:
        super().__init__(error.public_message if error else "the answer to OPTIONS")
        self.response = response
        #: The reason; None for the answer to OPTIONS.
        self.error = error


class Guard(adapter.Guard):
    """Admits a request if its token meets the requirement: a decorator for views, view classes and their methods.

    It goes on consumers and routers of Django Channels, too.
    """

    def __call__(self, target: Target) -> Target:
        if is_of_channels(target):
            from .channels import guarded as guarded_by_channels

            return guarded_by_channels(self, target)  # type: ignore[no-any-return]
        if isinstance(target, type):
            return self._guarded_class(target)  # type: ignore[return-value]
        if not callable(target):
            raise ConfigurationError(
                f"a guard protects a view or a view class, not a {type(target).__name__}; for URL patterns there is "
                "protect(…)"
            )
        guarded = self.around(target)
        if not _is_bound_anew(target):
            adapter.mark_guarded(guarded, self, target)
        return guarded

    def around(self, view: Target, is_spared: Callable[[HttpRequest], bool] | None = None) -> Target:
        """A view behind the guard, without a mark.

        :param is_spared: whether a request passes by the guard.
        """
        guarded: Any

        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded(*args: Any, **kwargs: Any) -> HttpResponseBase:
                request = args[0] if args and isinstance(args[0], HttpRequest) else _request_in(args, view)
                if is_spared is not None and is_spared(request):
                    return await view(*args, **kwargs)  # type: ignore[no-any-return]
                entry = Entry(self, request, args, kwargs, guarded)
                if (refusal := await entry.enter_on_a_loop()) is not None:
                    return refusal
                return entry.kept_out_of_caches(await view(*args, **kwargs))  # type: ignore[no-any-return]
        else:

            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> HttpResponseBase:
                request = args[0] if args and isinstance(args[0], HttpRequest) else _request_in(args, view)
                if is_spared is not None and is_spared(request):
                    return view(*args, **kwargs)  # type: ignore[no-any-return]
                entry = Entry(self, request, args, kwargs, guarded)
                if (refusal := entry.enter_on_a_thread()) is not None:
                    return refusal
                return entry.kept_out_of_caches(view(*args, **kwargs))  # type: ignore[no-any-return]

        return guarded  # type: ignore[no-any-return]

    def _guarded_class(self, view_class: type[Any]) -> type[Any]:
        if not issubclass(view_class, View):
            raise ConfigurationError(
                f"a guard cannot protect the class {view_class.__name__}: it is no django.views.View"
            )
        adapter.guard_made(view_class, "as_view", self, classonlymethod)
        adapter.mark_guarded(view_class, self)
        return view_class


class GuardMixin:
    """Guards a view class by its attribute ``guard``, such as ``guard = require_role("publisher")``.

    A subclass may replace it. The mixin stands before Django's classes among the bases, as Django's own mixins do.
    """

    #: The guard.
    guard: ClassVar[Guard]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if View in cls.__mro__ and cls.__mro__.index(View) < cls.__mro__.index(GuardMixin):
            raise ConfigurationError(
                f"{cls.__name__} has GuardMixin behind Django's View, where it guards nothing; put it first: "
                f"class {cls.__name__}(GuardMixin, …)"
            )

    @classonlymethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Callable[..., Any]:  # noqa: N805
        """See Django; with the guard around the view.

        :raises ConfigurationError: if the class has no guard.
        """
        guard = initkwargs.get("guard", getattr(cls, "guard", None))
        Guard.check(guard)
        return guard(super().as_view(*args, **initkwargs))  # type: ignore[misc, no-any-return]


class Entry:
    """One request at one guard.

    :param args: of the view, with the request among them.
    :param kwargs: of the view: the parameters of the route.
    :param guarded: the view behind the guard; None if the guard is around the whole site.
    """

    __slots__ = ("_args", "_guard", "_guarded", "_kwargs", "_request", "web")

    def __init__(
        self, guard: Guard, request: HttpRequest, args: Sequence[Any], kwargs: Mapping[str, Any], guarded: Any = None
    ) -> None:
        self._guard = guard
        self._request = request
        self._args = args
        self._kwargs = kwargs
        self._guarded = guarded
        #: The rules of the guard's kit for browsers, after it has judged.
        self.web: Any = None

    def enter_on_a_thread(self) -> KitResponse | None:
        """Admit the request, with its grant, or return the answer that refuses it.

        :raises Refused: instead of the answer, if Django does not run the guarded function as a view.
        """
        if self._request.method == "OPTIONS":
            return self._options()
        error = self.judge()
        return None if error is None else self._answer(error)

    def judge(self) -> RolecallError | None:
        """Admit the request, with its grant, or return the reason to refuse it."""
        apis, session_id = self._prepare()
        entered = self._admit(apis.thread, session_id)
        return self._settle(apis, session_id, entered if isinstance(entered, Grant) else drive(entered))

    async def enter_on_a_loop(self) -> KitResponse | None:
        """:meth:`enter_on_a_thread`, on an event loop."""
        if self._request.method == "OPTIONS":
            return self._options()
        apis, session_id = self._prepare()
        if isinstance(self._request, ASGIRequest):
            entered = self._admit(apis.loop, session_id)
            if not isinstance(entered, Grant):
                entered = await entered
        else:
            # Under WSGI the loop is the view's own, and the connections of the request are on its thread.
            entered = self._admit(apis.thread, session_id)
            if not isinstance(entered, Grant):
                entered = await sync_to_async(drive, thread_sensitive=True)(entered)
        error = self._settle(apis, session_id, entered)
        return None if error is None else self._answer(error)

    def remember(self, refusal: tuple[RolecallError, adapter.Response] | None = None) -> None:
        """Note how the guard has judged the request, for a permission with the same guard; see :func:`judged_by`."""
        judged_by(self._request).append((self._guard, self._kwargs, refusal))

    def refusal_of(self, error: RolecallError) -> adapter.Response:
        """The kit's answer to a request that was refused with ``error``."""
        return adapter.guard_answer(error, self.web, query_of(self._request))

    def kept_out_of_caches(self, response: Any) -> Any:
        """An answer that caches give to nobody else; see :func:`~rolecall_django.translation.keep_out_of_caches`."""
        if isinstance(response, HttpResponseBase):
            keep_out_of_caches(response, self.web, query_of(self._request))
        return response

    def _prepare(self) -> tuple[Apis, str | None]:
        check_once(self._request)
        apis = apis_of(self._guard.kit or get_kit())
        self.web = apis.thread.web
        return apis, self._session()

    def _admit(self, api: Api, session_id: str | None) -> Admission:
        request, sent = self._request, authorization(self._request)
        return adapter.admit(api, sent, self._guard, session_id, neutral_request, (request, self._kwargs))

    def _settle(
        self, apis: Apis, session_id: str | None, entered: Grant | RolecallError | None
    ) -> RolecallError | None:
        request, guard = self._request, self._guard
        if isinstance(entered, RolecallError):
            return entered
        request.grant = entered  # type: ignore[attr-defined]
        if entered is not None:
            # What streams is watched as the request is served, whatever kind of view serves it.
            api = apis.loop if isinstance(request, ASGIRequest) else apis.thread
            session_id = guard.session_entered(session_id, entered)
            adapter.keep_entry(kept_of(request), api, guard.requirement, session_id, entered, self._kwargs)
        return None

    def _answer(self, error: RolecallError) -> KitResponse:
        return self._refusal(self.refusal_of(error), error)

    def _options(self) -> KitResponse:
        """The answer to a browser that asks before it sends a token; no view runs."""
        match = self._request.resolver_match
        view_class = getattr(match.func, "view_class", None) if match else None
        methods = {name.upper() for name in getattr(view_class, "http_method_names", ()) if hasattr(view_class, name)}
        return self._refusal(adapter.options_response(methods), None)

    def _refusal(self, response: adapter.Response, error: RolecallError | None) -> KitResponse:
        answer = KitResponse(response, self._request)
        if self._guarded is not None and not self._is_run_by_django():
            if error is not None and (request := rest_views.request_in(self._args)) is not None:
                from .rest import refusal_for

                raise refusal_for(request, error, response, self.web)
            raise Refused(answer, error)
        return answer

    def _is_run_by_django(self) -> bool:
        """Whether Django runs the guarded function as a view, or for one, so that its answer is the answer."""
        match = self._request.resolver_match
        if match is None:  # a test that calls the view itself, unless middleware calls it before there is a view
            return _SERVED not in kept_of(self._request)
        if any(inner is self._guarded for inner in adapter.unwrapped(match.func)):
            return True
        handler = (self._request.method or "").lower()
        return _is_run_for(self._guarded, self._args, handler)

    def _session(self) -> str | None:
        session_id = self._kwargs.get(self._guard.session_param or "")
        if type(session_id) is str and len(self._args) == 1:  # as in most cases
            return session_id
        unnamed = len(self._args) > 1 and self._args[_place_of_request(self._args) + 1 :]
        if unnamed and not self._guard.is_settled(self._kwargs):
            raise ConfigurationError(
                f"the route {shown(self._request.path_info, 80)} has a group without a name, which no guard can bind; "
                "name it: (?P<session_id>…), or pass session=… (a function that finds the session), or "
                "session_param=None if a token for any session is enough"
            )
        is_bound = self._guard.session_param in self._kwargs
        params = self._kwargs if is_bound else self._params()
        return self._guard.bound_session(params, self._request.path_info, self._others)

    def _params(self) -> Mapping[str, Any]:
        """The view's arguments that the path names.

        Those that the URL pattern adds say nothing about a session, and neither does the suffix of a format.
        """
        match: Any = self._request.resolver_match
        name = self._guard.session_param
        if (
            match and name is not None and f"(?P<{name}>" in match.route
        ):  # an optional group, which this path does not have
            return {**self._kwargs, name: None}
        suffix = rest_views.suffix_param(match.func) if match else None
        added = match.extra_kwargs if match else {}
        if not added and (suffix is None or suffix not in self._kwargs):
            return self._kwargs
        captured = match.captured_kwargs if match else {}
        return {
            key: value
            for key, value in self._kwargs.items()
            if key == name or (key != suffix and (key in captured or key not in added))
        }

    def _others(self) -> tuple[Sequence[adapter.Guard], Sequence[adapter.Guard]]:
        match = self._request.resolver_match
        if match is None:
            return (), ()
        guards = [*guards_around(match.func), *adapter.view_guards(match.func, self._request.method or "")]
        if rest_views.rest_class(match.func) is not None:
            from .rest_listing import certain_guards

            guards += certain_guards(match.func)
        return self._guard.split(guards) or (guards, ())


def _is_bound_anew(target: Any) -> bool:
    """Whether Django's ``method_decorator`` guards a method at a request, for which the class has the mark."""
    return isinstance(target, partial) and isinstance(getattr(target.func, "__self__", None), View)


def _request_in(args: Sequence[Any], view: object) -> HttpRequest:
    place = _place_of_request(args)
    if place < 0:
        raise ConfigurationError(
            f"a guard protects a view, whose first argument is the request; {shown(view)} was called with none"
        )
    return rest_views.native_of(args[place])


def _place_of_request(args: Sequence[Any]) -> int:
    """The place of the request among a view's arguments: a method has its view before it."""
    for place in range(min(len(args), 2)):
        if isinstance(args[place], HttpRequest) or rest_views.is_request(args[place]):
            return place
    return -1


def _is_run_for(guarded: Any, args: Sequence[Any], handler: str) -> bool:
    """Whether a guarded function is what the view that answers has for a method, and no subclass overrides it.

    :param handler: the method, in lower case.
    """
    for inner in adapter.unwrapped(guarded):
        # Django's method_decorator guards a bound method at each request.
        owner = getattr(inner, "__self__", None) or (args[0] if args else None)
        if isinstance(owner, View) and hasattr(inner, "__name__"):
            # As View.setup has it.
            own = "get" if handler == "head" and not hasattr(type(owner), "head") else handler
            names = ("dispatch", own, *rest_views.actions_of(owner, handler))
            methods = (getattr(type(owner), name) for name in names if hasattr(type(owner), name))
            return any(_innermost(guarded) is _innermost(method) for method in methods)
    return False


def _innermost(function: Any) -> Any:
    *_, innermost = adapter.unwrapped(function)
    return getattr(innermost, "__func__", innermost)


def kept_of(request: HttpRequest) -> dict[str, Any]:
    """The records of a request."""
    kept: dict[str, Any] = vars(request).setdefault(_KEPT, {})
    return kept


def judged_by(request: HttpRequest) -> list[Judgement]:
    """The guards that have judged a request."""
    judged: list[Judgement] = kept_of(request).setdefault(_JUDGED, [])
    return judged


def mark_served(request: HttpRequest) -> None:
    """Take note that a request comes from a server, or from Django's test client, and not from a test directly."""
    kept_of(request)[_SERVED] = True


def find_grant(request: HttpRequest | RestRequest) -> Grant | None:
    """The grant of a request; None if a guard with ``optional=True`` admitted it without a token."""
    return adapter.granted(kept_of(rest_views.native_of(request)))


def current_grant(request: HttpRequest | RestRequest) -> Grant:
    """The grant of a request that passed a guard; a ``RuntimeError`` if there is none."""
    return adapter.current_grant(kept_of(rest_views.native_of(request)))


require_role = Guard.of_role
require_capability = Guard.of_capability
require_token = Guard.of_token
