"""The middleware: answers the kit's routes on the event loop, and guards the whole site if the settings say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from rolecall.http.adapter import is_spared, own_kit

from .checking import check_once
from .guards import Entry, Guard, Refused, kept_of, mark_served
from .kits import get_kit
from .site import guard_of_site, is_of_files

View = Callable[..., Any]

# The name of the whole site's entry among the records of a request.
_ENTRY: Final = "site"


class RolecallMiddleware:
    """Answers the kit's routes before other middleware does, and guards the whole site with ``ROLECALL["protect"]``.

    It stands first in ``MIDDLEWARE``, behind ``SecurityMiddleware`` and what answers CORS. It serves WSGI and ASGI, and
    needs no further thread under either.

    :raises ConfigurationError: if the settings have no kit, or none that can be made.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response: Any = get_response
        self._is_async = iscoroutinefunction(get_response)
        self._guard = guard_of_site()
        get_kit()  # so that a kit that cannot be made stops the server, and not its first request
        # Django asks the instance whether it awaits.
        self.process_view: Callable[..., Any] = self._process_view
        if self._is_async:
            markcoroutinefunction(self)
            self.process_view = self._process_view_on_the_loop

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request."""
        mark_served(request)
        if self._is_async:
            return self._respond_on_the_loop(request)
        response = self._get_response(request)
        if self._guard is None:
            return response
        entry = self._entered(request)
        if entry is None and self._is_unjudged(request, response):
            entry = self._entry(self._guard, request)
            response = entry.enter_on_a_thread() or response
        return response if entry is None else entry.kept_out_of_caches(response)

    async def _respond_on_the_loop(self, request: HttpRequest) -> Any:
        response = await self._get_response(request)
        if self._guard is None:
            return response
        entry = self._entered(request)
        if entry is None and self._is_unjudged(request, response):
            entry = self._entry(self._guard, request)
            response = await entry.enter_on_a_loop() or response
        return response if entry is None else entry.kept_out_of_caches(response)

    def _process_view(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        check_once(request)
        if own_kit(view) is not None:
            response: HttpResponseBase = view(request, *args, **kwargs)
            return response
        if self._guard is None or is_spared(view, request.method or "", whole=True):
            return None
        entry = self._entry(self._guard, request, view, args, kwargs)
        refusal = entry.enter_on_a_thread()
        if refusal is None:
            entry.remember()
        return refusal

    async def _process_view_on_the_loop(
        self, request: HttpRequest, view: View, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        check_once(request)
        if own_kit(view) is not None:
            response: HttpResponseBase = await view.rolecall_on_the_loop(request, *args, **kwargs)  # type: ignore[attr-defined]
            return response
        if self._guard is None or is_spared(view, request.method or "", whole=True):
            return None
        entry = self._entry(self._guard, request, view, args, kwargs)
        refusal = await entry.enter_on_a_loop()
        if refusal is None:
            entry.remember()
        return refusal

    def process_exception(self, _request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer the refusal of a guard that stands around a helper."""
        return exception.response if isinstance(exception, Refused) else None

    def _entry(
        self,
        guard: Guard,
        request: HttpRequest,
        view: View | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = MappingProxyType({}),
    ) -> Entry:
        if view is None or is_of_files(view):  # it belongs to no session
            guard = Guard(guard.requirement, guard.kit, session_param=None, optional=guard.optional)
        entry = Entry(guard, request, (request, *args), kwargs)
        kept_of(request)[_ENTRY] = entry
        return entry

    def _entered(self, request: HttpRequest) -> Entry | None:
        entry: Entry | None = kept_of(request).pop(_ENTRY, None)
        return entry

    def _is_unjudged(self, request: HttpRequest, response: Any) -> bool:
        """Whether an answer needs a token that the guard has not asked for.

        No view has the path; or other middleware has answered instead of the view, or has changed the method since.
        """
        match, method = request.resolver_match, request.method or ""
        if match is not None and is_spared(match.func, method, whole=True):
            return False
        # Others may answer a browser that asks before it sends a token, and say nothing more.
        return method != "OPTIONS" or bool(response.streaming or response.content)
