"""Django's system checks: what ``rolecall doctor`` examines, and the order of the middleware."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.urls import get_resolver
from django.utils.module_loading import import_string

from rolecall.cli import diagnosis
from rolecall.errors import ConfigurationError
from rolecall.http.adapter import check_routes, guards_of

from .kits import SETTING, get_kit, options
from .listing import needs_login, project, routes_in
from .middleware import RolecallMiddleware
from .site import guard_of_site
from .stores import StoreNotReady

_ORDER: Final = (
    "put 'rolecall_django.RolecallMiddleware' behind SecurityMiddleware and what answers CORS, and before all others"
)
#: What answers before a view runs, and would refuse a request for the kit's routes, or a good token.
_ANSWERING: Final = (
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
)
#: How many open routes a message names.
_SHOWN: Final = 5
#: The messages of a finding, by its level.
_MESSAGES: Final[Mapping[str, Callable[..., CheckMessage]]] = {
    "error": checks.Error,
    "warning": checks.Warning,
    "info": checks.Info,
}


def check_kit(**_: Any) -> list[CheckMessage]:
    """Check that the settings have a kit, and that no route with a guard is open."""
    try:
        get_kit()
        guard_of_site()
    except StoreNotReady as error:
        # No error, by which the very command would not run that makes the tables: manage.py migrate.
        return [checks.Warning(str(error), "until then the site does not start", id="rolecall.W003")]
    except ConfigurationError as error:
        hint = f"correct the setting {SETTING}, or the variables ROLECALL_… of the environment"
        return [checks.Error(str(error), hint, id="rolecall.E001")]
    try:
        check_routes(project, lambda _: routes_in(get_resolver()))
    except ConfigurationError as error:
        return [checks.Error(str(error), "see: manage.py rolecall routes", id="rolecall.E002")]
    return []


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Check that the middleware stands where its answers come first."""
    place = next((place for place, one in enumerate(settings.MIDDLEWARE) if _is_rolecalls(one)), None)
    if place is None:
        return [*_unguarded_site(), *_behind_a_login()]
    before = [name for name in settings.MIDDLEWARE[:place] if name in _ANSWERING]
    misplaced = [
        checks.Warning(f"{name} stands before RolecallMiddleware", _ORDER, id="rolecall.W001") for name in before
    ]
    return [*misplaced, *_behind_a_login()]


def check_deployment(**_: Any) -> list[CheckMessage]:
    """Check what must not reach production: weak secrets, a store of one process, routes that are open."""
    try:
        kit = get_kit()
    except ConfigurationError:
        return []  # the check of the kit says so
    given = options()
    findings = [
        *diagnosis.environment(os.environ),
        *diagnosis.keys(kit, kit.engine.state.clock()),
        *diagnosis.formats(kit),
        *diagnosis.browsers(kit.api.web),
        *diagnosis.workers(kit.engine.state.store, os.environ),
    ]
    messages = [_MESSAGES[level](found, remedy, id="rolecall.W010") for level, found, remedy in dict.fromkeys(findings)]
    return [*messages, *_shared_secret(given), *_memory_store(kit), *_open_routes()]


def _unguarded_site() -> Iterator[CheckMessage]:
    try:
        guard = guard_of_site()
    except ConfigurationError:
        return  # the check of the kit says so
    if guard is not None:
        yield checks.Error(
            f'{SETTING}["protect"] guards nothing, because RolecallMiddleware is not in MIDDLEWARE',
            _ORDER,
            id="rolecall.E003",
        )


def _behind_a_login() -> Iterator[CheckMessage]:
    """Views with a guard that Django's own middleware redirects to its login, also with a good token."""
    if not needs_login():
        return
    guarded = [
        found.path
        for found in routes_in(get_resolver())
        if guards_of(found.view) and getattr(found.view, "login_required", True)
    ]
    if guarded:
        yield checks.Warning(
            f"LoginRequiredMiddleware sends requests with a good token to the login: {_listed(guarded)}",
            "mark these views with @login_not_required, unless they need a login besides the token",
            id="rolecall.W002",
        )


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:_SHOWN]) + (", …" if len(places) > _SHOWN else "")


def _shared_secret(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    secret = given.get("api_secret") or os.environ.get("ROLECALL_API_SECRET")
    if secret and secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        yield checks.Warning(
            "the API secret is Django's SECRET_KEY: who reads one of them can sign for the other",
            'make one with: python -c "import secrets; print(secrets.token_hex(32))"',
            id="rolecall.W011",
        )


def _memory_store(kit: Any) -> Iterator[CheckMessage]:
    if getattr(kit.engine.state.store, "shared", True) is False:
        yield checks.Warning(
            "sessions and revocations are kept in the memory of each worker: another worker, or a restart, knows none",
            f'name a store: {SETTING} = {{"store": "sqlite:///…", "postgresql://…" or "redis://…", …}}',
            id="rolecall.W012",
        )


def _open_routes() -> Iterator[CheckMessage]:
    places = [finding.found.partition(": ")[0] for finding in diagnosis.app(project)]
    if places:
        yield checks.Warning(
            f"{len(places)} routes are open, or guarded otherwise than meant: {_listed(places)}",
            "put a guard on each, or mark it with @public or @guarded_by(…); see: manage.py rolecall routes",
            id="rolecall.W013",
        )


def _is_rolecalls(name: str) -> bool:
    found = import_string(name)
    return isinstance(found, type) and issubclass(found, RolecallMiddleware)
