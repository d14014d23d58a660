"""Views of Django REST framework, whose permissions decide: they give the answers of every other guarded route."""
# The framework reads Django's settings as it is imported.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.urls import path

import rolecall_django
from rolecall import Rolecall
from rolecall.testing.conformance import ANSWERS, SHORT_TABLE, AdapterSuite, Site, WsgiSite, own_guards

from . import django_site

from rest_framework.renderers import JSONRenderer  # isort: skip
from rest_framework.views import APIView  # isort: skip
from rolecall_django.rest import GuardPermission  # isort: skip


def view_of(guard: rolecall_django.guards.Guard) -> Any:
    """A view with a method for each that the table asks with."""

    class Granted(APIView):
        authentication_classes = ()
        permission_classes = (GuardPermission(guard),)
        renderer_classes = (JSONRenderer,)

        @property
        def default_response_headers(self) -> dict[str, str]:
            """None of the framework's own, which guards of other frameworks do not send."""
            return {}

        def answer(self, request, **_):
            return django_site.answer(request.grant, request.path_info)

        get = head = post = put = patch = delete = answer

    return Granted.as_view()


def wsgi_app(kit: Rolecall) -> Any:
    """The site of Django, with such views in place of its guarded ones."""
    guards = own_guards(rolecall_django, lambda _: {"kit": kit})
    views = {text.removeprefix("/").replace("{", "<").replace("}", ">"): view_of(guards[text]) for text in guards}
    urls = django_site.urls(kit)
    others = [one for one in vars(urls)["urlpatterns"] if str(one.pattern) not in views]
    vars(urls)["urlpatterns"] = [*(path(text, view) for text, view in views.items()), *others]
    # Which says how long an answer is, as the kit's own answers do.
    length = ["django.middleware.common.CommonMiddleware"]
    return django_site.routed(WSGIHandler, urls, MIDDLEWARE=length, APPEND_SLASH=False)


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, Site]]:
    with WsgiSite(wsgi_app, strips_head=True) as site:
        yield {"django rest framework": site}


class TestRestFramework(AdapterSuite):
    """It gives the answers of the core, and they are the right ones."""

    cases: ClassVar = [
        pytest.param(case, id=case.name, marks=() if case in ANSWERS[::12] else pytest.mark.exhaustive)
        for case in SHORT_TABLE
    ]
