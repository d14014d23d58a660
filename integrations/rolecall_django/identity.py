"""The plugin that identifies Django's user on the kit's own routes."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from rolecall import Actor, Request, hookimpl
from rolecall.errors import ConfigurationError


class RequestUser:
    """Names Django's logged-in user as the actor: ``"plugins": ["rolecall_django.identity:RequestUser"]``.

    The browser sends the login's cookie with every request, also with one that a foreign page makes. So a user counts
    only with Django's proof against that, as in a form: the header ``X-CSRFToken``.
    """

    @hookimpl
    def rolecall_identify(self, request: Request) -> Actor | None:
        """Identify the user of a request; on the request's thread, because Django loads the user from its database."""
        native = request.native
        if not isinstance(native, HttpRequest):
            return None
        if not hasattr(native, "user"):
            raise ConfigurationError(
                "RequestUser needs request.user: put 'django.contrib.sessions.middleware.SessionMiddleware' and "
                "'django.contrib.auth.middleware.AuthenticationMiddleware' into MIDDLEWARE"
            )
        user: Any = native.user
        if not user.is_authenticated or not _has_proof(native):
            return None
        return self.actor_of(user)

    def actor_of(self, user: Any) -> Actor:
        """The actor that a user is: by the primary key, which no other user gets. A subclass may say otherwise."""
        attributes = {"username": user.get_username(), "is_staff": user.is_staff, "is_superuser": user.is_superuser}
        return Actor(str(user.pk), attributes)


def _has_proof(request: HttpRequest) -> bool:
    # As Django REST framework does it, for a view that is exempt.
    check = CsrfViewMiddleware(_no_view)
    check.process_request(request)
    answer: Any = check.process_view(request, _no_view, (), {})
    return answer is None


def _no_view(_: HttpRequest) -> HttpResponse:
    raise AssertionError("Django's check calls no view")
