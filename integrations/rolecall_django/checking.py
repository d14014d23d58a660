"""Finds the mistakes that leave a route open: once for each set of URLs, at its first request."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import URLResolver, get_resolver, get_urlconf

from rolecall.http.adapter import check_routes

_CHECKED = "rolecall_checked"


def check_once(request: HttpRequest) -> None:
    """Stop a site in which a route with a guard is open by mistake.

    :raises ConfigurationError: names the route, at each request until it is fixed.
    """
    resolver = resolver_of(request)
    if not hasattr(resolver, _CHECKED):
        from .listing import routes_in

        check_routes(resolver, lambda _: routes_in(resolver))
        setattr(resolver, _CHECKED, True)


def resolver_of(request: HttpRequest) -> URLResolver:
    """The URLs by which a request is routed."""
    resolver: URLResolver = get_resolver(getattr(request, "urlconf", None) or get_urlconf())
    return resolver
