"""Finds the mistakes that leave a route open: once for each set of URLs, at its first request."""

from __future__ import annotations

from typing import Any

from django.core.signals import setting_changed
from django.http import HttpRequest
from django.urls import get_resolver

from rolecall.http.adapter import check_routes

# The URLs in order, by what names them; None stands for those of the settings.
_checked: set[Any] = set()


def check_once(request: HttpRequest) -> None:
    """Stop a site in which a route with a guard is open by mistake.

    :raises ConfigurationError: names the route, at each request until it is fixed.
    """
    urlconf = getattr(request, "urlconf", None)
    if urlconf in _checked:
        return
    from .listing import routes_in

    resolver = get_resolver(urlconf)
    check_routes(resolver, lambda _: routes_in(resolver))
    _checked.add(urlconf)


def _forget(*, setting: str, **_: Any) -> None:
    """Have the URLs checked again after a test has changed a setting."""
    if setting in ("INSTALLED_APPS", "MIDDLEWARE", "ROLECALL", "ROOT_URLCONF"):
        _checked.clear()


setting_changed.connect(_forget)
