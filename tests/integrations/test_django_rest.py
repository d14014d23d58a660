"""Rolecall in Django REST framework: authentication, permissions in every combination, and the list of routes."""
# The framework reads Django's settings as it is imported.
# ruff: noqa: E402, RUF012

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from ..django_settings import configure

configure()

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, override_settings
from django.urls import include, path, re_path, set_script_prefix
from django.views import View as DjangoView
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import action, api_view, authentication_classes, permission_classes
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter, SimpleRouter
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView, exception_handler
from rest_framework.viewsets import ViewSet

from rolecall import Allow, Deny, Limit, Rolecall, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError, RevokedToken
from rolecall_django import (
    current_grant,
    find_grant,
    get_kit,
    protect,
    public,
    require_role,
    require_token,
    while_granted,
)
from rolecall_django.listing import project
from rolecall_django.rest import (
    Bearer,
    CapabilityRequired,
    GuardPermission,
    Refusal,
    RolecallAuthentication,
    RoleRequired,
    TokenRequired,
)
from rolecall_django.stores import migrate

from ..untyped import untyped
from .test_django_store import database, with_notes

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
MIDDLEWARE = ["rolecall_django.RolecallMiddleware"]


class Staff(BaseAuthentication):
    """Authenticates whoever says so, as a login does."""

    def authenticate(self, request):
        return (User(username="ada", is_staff=True), None) if "X-Staff" in request.headers else None


class Votes:
    """A policy that counts its votes, and says what it is told to."""

    def __init__(self, vote: Any = None) -> None:
        self.vote = Allow() if vote is None else vote
        self.asked: list[str] = []
        self.told: list[str] = []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append(request.http.method)
        return self.vote

    @hookimpl
    def rolecall_on_event(self, event):
        if event.name == "access_refused":
            self.told.append(event.code)


@pytest.fixture
def votes() -> Votes | None:
    return None


@pytest.fixture
def kit(votes) -> Iterator[Rolecall]:
    with Rolecall(KEY, SECRET, entry_points=False, plugins=[votes] if votes else []) as kit:
        yield kit


@pytest.fixture
def room(kit) -> str:
    return kit.create_session().session_id


@pytest.fixture
def serve(kit) -> Iterator[Callable[..., APIClient]]:
    """Serves URL patterns, with the kit as that of the settings."""
    set_script_prefix("/")
    with ExitStack() as stack:

        def make(*patterns, **settings) -> APIClient:
            module = ModuleType("urls")
            vars(module)["urlpatterns"] = [*patterns]
            settings = {"ROLECALL": kit, "MIDDLEWARE": MIDDLEWARE, **settings}
            stack.enter_context(override_settings(ROOT_URLCONF=module, **settings))
            return APIClient()

        yield make


def bearer(kit: Rolecall, room: str, role: str = "moderator", **options) -> dict[str, str]:
    return {"Authorization": f"Bearer {kit.generate_token(room, untyped(role), **options)}"}


class View(APIView):
    """A view that tells whom it sees."""

    def answer(self, request, **params):
        grant = find_grant(request)
        return Response({"role": grant.role if grant else None, "user": str(request.user)})

    get = post = answer


def view_of(*permissions: Any, **attributes: Any) -> Any:
    made: Any = type("Of", (View,), {"permission_classes": [*permissions], **attributes})
    return made.as_view()


def nothing(request, **params):
    return HttpResponse()


def code_of(response) -> str:
    code: str = json.loads(response.content)["code"]
    return code


# -- views of every kind ---------------------------------------------------------------------------


def function_view(session_id="<session_id>"):
    @api_view(["GET"])
    @authentication_classes([RolecallAuthentication])
    @permission_classes([RoleRequired("publisher")])
    def view(request, session_id, format=None):
        return Response(request.grant.role)

    return [path("rooms/<session_id>/", view)]


def class_view():
    class Room(APIView):
        permission_classes = [RoleRequired("publisher")]

        def get(self, request, session_id):
            return Response(current_grant(request).role)

    return [path("rooms/<session_id>/", Room.as_view())]


def class_with_default_authenticators():
    class Room(APIView):
        authentication_classes = [SessionAuthentication, RolecallAuthentication]
        permission_classes = [CapabilityRequired("publish"), IsAuthenticated]

        def get(self, request, session_id):
            assert request.auth is request.grant
            return Response(request.auth.role)

    return [path("rooms/<session_id>/", Room.as_view())]


def set_of_views():
    class Rooms(ViewSet):
        authentication_classes = [RolecallAuthentication]
        permission_classes = [AllowAny]
        lookup_url_kwarg = "session_id"

        def get_permissions(self):
            return [RoleRequired("publisher")] if self.action == "retrieve" else super().get_permissions()

        def retrieve(self, request, session_id):
            return Response(request.grant.role)

    router = SimpleRouter()
    router.register("rooms", Rooms, basename="room")
    return router.urls


def further_action():
    class Rooms(ViewSet):
        permission_classes = [AllowAny]
        lookup_url_kwarg = "session_id"

        @action(detail=False, url_path="(?P<session_id>[^/.]+)", permission_classes=[RoleRequired("publisher")])
        def extra(self, request, session_id):
            return Response(request.grant.role)

    router = SimpleRouter()
    router.register("rooms", Rooms, basename="room")
    return router.urls


def arguments_of_as_view():
    return [path("rooms/<session_id>/", Single.as_view(permission_classes=[RoleRequired("publisher")]))]


class Single(APIView):
    def get(self, request, session_id):
        return Response(current_grant(request).role)


def guarded_function():
    @require_role("publisher")
    @api_view(["GET"])
    def view(request, session_id):
        return Response(request.grant.role)

    return [path("rooms/<session_id>/", view)]


def guard_below_api_view():
    @api_view(["GET"])
    @require_role("publisher")
    def view(request, session_id):
        return Response(request.grant.role)

    return [path("rooms/<session_id>/", view)]


def guarded_set_of_views():
    @require_role("publisher")
    class Rooms(ViewSet):
        authentication_classes = [RolecallAuthentication]
        permission_classes = [IsAuthenticated]

        def list(self, request, session_id):
            return Response(request.auth.role)

    return [path("rooms/<session_id>/", Rooms.as_view({"get": "list"}))]


def guarded_action():
    class Rooms(ViewSet):
        permission_classes = []

        @require_role("publisher")
        def list(self, request, session_id):
            return Response(request.grant.role)

    return [path("rooms/<session_id>/", Rooms.as_view({"get": "list"}))]


def guarded_method():
    class Room(APIView):
        @require_role("publisher")
        def get(self, request, session_id):
            return Response(request.grant.role)

    return [path("rooms/<session_id>/", Room.as_view())]


def guarded_helper():
    @require_role("publisher")
    def role_of(request, session_id):
        return request.grant.role

    @public
    @api_view(["GET"])
    def view(request, session_id):
        return Response(role_of(request, session_id=session_id))

    return [path("rooms/<session_id>/", view)]


KINDS: list[Callable[[], Any]] = [
    function_view,
    class_view,
    class_with_default_authenticators,
    set_of_views,
    further_action,
    arguments_of_as_view,
    guarded_function,
    guard_below_api_view,
    guarded_set_of_views,
    guarded_action,
    guarded_method,
    guarded_helper,
]


@pytest.mark.each_choice
@pytest.mark.parametrize("make", KINDS)
def test_a_view_of_any_kind_admits_the_token_and_no_other(serve, kit, room, make):
    client = serve(*make())
    url = f"/rooms/{room}/"
    admitted = client.get(url, headers=bearer(kit, room))
    assert (admitted.status_code, admitted.json()) == (200, "moderator")
    if make is not guarded_helper:
        assert admitted["Cache-Control"] == "no-store"
    refused = {
        "missing_token": client.get(url),
        "insufficient_role": client.get(url, headers=bearer(kit, room, "subscriber")),
        "wrong_session": client.get(url, headers=bearer(kit, kit.create_session().session_id)),
        "malformed_token": client.get(url, headers={"Authorization": "Bearer x.y.z"}),
    }
    for code, response in refused.items():
        assert response["Content-Type"] == "application/problem+json"
        assert response["Cache-Control"] == "no-store"
        assert response["WWW-Authenticate"].startswith('Bearer realm="rolecall"')
        assert code_of(response) == code
        assert response.status_code == (401 if "token" in code else 403)


@pytest.mark.parametrize("make", [function_view, set_of_views])
def test_it_is_the_same_under_asgi(serve, kit, room, make):
    serve(*make())
    get: Any = async_to_sync(AsyncClient().get)
    assert get(f"/rooms/{room}/", headers=bearer(kit, room)).json() == "moderator"
    assert code_of(get(f"/rooms/{room}/")) == "missing_token"


def test_a_refusal_is_the_kits_byte_for_byte(serve):
    client = serve(
        path("drf/<session_id>/", view_of(TokenRequired)), path("django/<session_id>/", require_token(nothing))
    )
    own, kits = client.get("/drf/1/"), client.get("/django/1/")
    assert (own.status_code, own.content) == (kits.status_code, kits.content)
    for name in ("Content-Type", "WWW-Authenticate", "Cache-Control"):
        assert own[name] == kits[name]


def test_a_head_request_needs_what_a_get_needs(serve, kit, room):
    client = serve(path("rooms/<session_id>/", view_of(TokenRequired)))
    assert client.head(f"/rooms/{room}/").status_code == 401
    assert client.head(f"/rooms/{room}/", headers=bearer(kit, room)).status_code == 200


def test_the_description_of_a_view_needs_its_token_too(serve, kit, room):
    client = serve(path("rooms/<session_id>/", view_of(TokenRequired)))
    assert client.options(f"/rooms/{room}/").status_code == 401
    assert client.options(f"/rooms/{room}/", headers=bearer(kit, room)).json()["name"] == "Of"


def test_a_client_without_json_gets_what_the_framework_renders(serve, kit, room):
    class Plain(JSONRenderer):
        media_type, format = "text/plain", "txt"

        def render(self, data, accepted_media_type=None, renderer_context=None):
            return f"refused: {data['detail']}".encode()

    client = serve(path("rooms/<session_id>/", view_of(TokenRequired, renderer_classes=[Plain])))
    refused = client.get(f"/rooms/{room}/")
    assert refused.content.startswith(b"refused: this route needs a token")
    assert refused["Content-Type"].startswith("text/plain")


def test_the_apps_own_exception_handler_is_asked(serve, room):
    seen = []

    def handler(exc, context):
        seen.append((type(exc), exc.get_codes(), exc.error.code))
        assert exc.get_full_details()["status"] == {"message": 401, "code": "missing_token"}
        response: Any = exception_handler(exc, context)
        response.data = {"error": response.data}
        return response

    view = view_of(TokenRequired, get_exception_handler=lambda self: handler)
    refused = serve(path("rooms/<session_id>/", view)).get(f"/rooms/{room}/")
    assert refused.json()["error"]["code"] == "missing_token"
    assert seen[0][0] is Refusal
    assert set(seen[0][1].values()) == {"missing_token"}


def test_a_view_may_say_itself_how_it_is_cached(serve, kit, room):
    class Cached(APIView):
        permission_classes = [TokenRequired]

        def get(self, request, session_id):
            return Response(headers={"Cache-Control": "private"})

    client = serve(path("rooms/<session_id>/", Cached.as_view()))
    assert client.get(f"/rooms/{room}/", headers=bearer(kit, room))["Cache-Control"] == "private"


# -- authentication --------------------------------------------------------------------------------


def test_the_bearer_is_the_user_and_the_grant_the_auth(serve, kit, room):
    class Who(APIView):
        authentication_classes = [RolecallAuthentication]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            assert request.auth is request.grant
            assert request.user.grant is request.auth
            return Response({"pk": request.user.pk, "name": request.user.get_username()})

    client = serve(path("me/", Who.as_view()))
    token = kit.generate_token(room, data="Ada")
    who = client.get("/me/", headers={"Authorization": f"Bearer {token}"})
    assert who.json() == {"pk": kit.verify_token(token).token_id, "name": "Ada"}
    assert who["Cache-Control"] == "no-store"
    anonymous = client.get("/me/")
    assert (anonymous.status_code, anonymous["WWW-Authenticate"]) == (401, 'Bearer realm="rolecall"')
    assert code_of(client.get("/me/", headers={"Authorization": "Bearer x"})) == "malformed_token"
    assert code_of(client.get("/me/", headers={"Authorization": f"Bearer {token},Bearer {token}"})) == (
        "malformed_credential"
    )


def test_a_bearer_is_no_user_of_djangos(kit, room):
    user = Bearer(kit.verify_token(kit.generate_token(room, "moderator")))
    assert (user.is_authenticated, user.is_anonymous, user.is_active) == (True, False, True)
    rights = [user.is_staff, user.is_superuser, user.has_perm("auth.add_user"), user.has_perms([])]
    assert not any([*rights, user.has_module_perms("auth")])
    assert (user.id, str(user)) == (user.pk, "")


def test_authentication_alone_is_bound_to_the_session_of_the_route(serve, kit, room):
    view = view_of(IsAuthenticated, authentication_classes=[RolecallAuthentication])
    client = serve(path("rooms/<session_id>/", view), path("songs/<song>/", view))
    elsewhere = bearer(kit, kit.create_session().session_id)
    assert code_of(client.get(f"/rooms/{room}/", headers=elsewhere)) == "wrong_session"
    assert client.get("/songs/1/", headers=elsewhere).status_code == 200


def test_a_bad_token_is_refused_also_where_none_is_needed(serve):
    client = serve(path("open/", view_of(AllowAny, authentication_classes=[RolecallAuthentication])))
    assert client.get("/open/").json() == {"role": None, "user": "AnonymousUser"}
    assert client.get("/open/", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_permission_decides_without_authentication(serve, kit, room):
    client = serve(path("rooms/<session_id>/", view_of(TokenRequired, authentication_classes=[])))
    assert client.get(f"/rooms/{room}/", headers=bearer(kit, room)).json()["role"] == "moderator"
    assert client.get(f"/rooms/{room}/").status_code == 401


def test_what_the_framework_forces_is_no_grant(serve, kit, room):
    view = view_of(TokenRequired, authentication_classes=[RolecallAuthentication])
    client = serve(path("rooms/<session_id>/", view))
    client.force_authenticate(User(username="ada"), token=kit.verify_token(kit.generate_token(room)))
    assert client.get(f"/rooms/{room}/").status_code == 401
    request = APIRequestFactory().get("/", headers=bearer(kit, room))
    force_authenticate(request, User(username="ada"))
    assert view(request, session_id=room).data == {"role": "moderator", "user": "ada"}
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=bearer(kit, room)["Authorization"])
    assert client.get(f"/rooms/{room}/").status_code == 200


def test_a_subclass_verifies_with_a_kit_of_its_own(serve, kit, room):
    with Rolecall("another", "5f2b95e9fdac14502e8a27a9d8a71e87ef64a5aa", entry_points=False) as other:

        class Others(RolecallAuthentication):
            pass

        Others.kit = other
        client = serve(
            path("me/", view_of(IsAuthenticated, authentication_classes=[Others])),
            path("a/<session_id>/", view_of(TokenRequired(kit=other), authentication_classes=[Others])),
            path("b/<session_id>/", view_of(TokenRequired, authentication_classes=[Others])),
        )
        theirs = other.create_session().session_id
        assert client.get("/me/", headers=bearer(other, theirs)).status_code == 200
        assert client.get("/me/", headers=bearer(kit, room)).status_code == 401
        assert client.get(f"/a/{theirs}/", headers=bearer(other, theirs)).status_code == 200
        assert client.get(f"/b/{theirs}/", headers=bearer(other, theirs)).status_code == 401
        assert client.get(f"/b/{room}/", headers=bearer(kit, room)).status_code == 401


def test_throttles_count_by_the_bearer(serve, kit, room):
    class Once(UserRateThrottle):
        rate = "1/day"

    view = view_of(TokenRequired, authentication_classes=[RolecallAuthentication], throttle_classes=[Once])
    client = serve(path("rooms/<session_id>/", view))
    first, second = bearer(kit, room), bearer(kit, room)
    answers = [client.get(f"/rooms/{room}/", headers=headers).status_code for headers in (first, first, second)]
    assert answers == [200, 429, 200]


# -- one judgement for each request ----------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The tokens that are verified."""
    from rolecall.engine.state import State

    verified: list[str] = []
    read = State.read_token

    def counting(self, token, session_id):
        verified.append(token)
        return read(self, token, session_id)

    monkeypatch.setattr(State, "read_token", counting)
    return verified


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("permissions", "settings"),
    [
        ([RoleRequired("publisher")], {}),
        ([IsAuthenticated, TokenRequired], {}),
        ([IsAuthenticated], {}),
        ([TokenRequired], {"protect": True}),
        ([IsAuthenticated], {"protect": True}),
    ],
)
def test_a_token_is_verified_once(serve, room, counted, permissions, settings):
    options = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, **settings}
    view = view_of(*permissions, authentication_classes=[RolecallAuthentication])
    client = serve(path("rooms/<session_id>/", view), ROLECALL=options)
    headers = bearer(get_kit(), get_kit().create_session().session_id)
    session_id = get_kit().verify_token(headers["Authorization"][7:]).session_id
    counted.clear()
    assert client.get(f"/rooms/{session_id}/", headers=headers).status_code == 200
    assert len(counted) == 1


@pytest.mark.parametrize("votes", [Votes()])
def test_the_forms_of_the_browsable_api_ask_no_policy_again(serve, kit, room, votes):
    view = view_of(
        RoleRequired("publisher"),
        authentication_classes=[RolecallAuthentication],
        renderer_classes=[BrowsableAPIRenderer, JSONRenderer],
    )
    templates = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    apps = ["rolecall_django", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
    client = serve(path("rooms/<session_id>/", view), TEMPLATES=templates, INSTALLED_APPS=[*apps, "rest_framework"])
    votes.asked.clear()
    page = client.get(f"/rooms/{room}/", headers=bearer(kit, room))
    assert (page.status_code, b"<form" in page.content) == (200, True)
    assert votes.asked == ["GET"]
    refused = client.get(f"/rooms/{room}/")
    assert refused.status_code == 401
    assert b"missing_token" in refused.content.replace(b"&quot;", b'"')
    assert votes.told == ["missing_token"]


@pytest.mark.parametrize("votes", [Votes(Limit(max_role="subscriber"))])
def test_what_policies_leave_is_the_grant_everywhere(serve, kit, room, votes):
    class Told(APIView):
        authentication_classes = [RolecallAuthentication]

        def get(self, request, session_id):
            assert request.user.grant is request.auth is request.grant
            return Response(request.auth.role)

    class Found(Told):
        def get_permissions(self):
            return [TokenRequired()]

    client = serve(
        path("declared/<session_id>/", Told.as_view(permission_classes=[TokenRequired])),
        path("found/<session_id>/", Found.as_view()),
    )
    for name in ("declared", "found"):
        assert client.get(f"/{name}/{room}/", headers=bearer(kit, room)).json() == "subscriber"


@pytest.mark.parametrize("votes", [Votes(Deny("not today"))])
def test_a_policy_that_denies_is_heard_once_and_told_once(serve, kit, room, votes):
    view = view_of(TokenRequired, authentication_classes=[RolecallAuthentication])
    refused = serve(path("rooms/<session_id>/", view)).get(f"/rooms/{room}/", headers=bearer(kit, room))
    assert (refused.status_code, code_of(refused)) == (403, "policy_denied")
    assert (votes.asked, votes.told) == (["GET"], ["policy_denied"])


@pytest.mark.parametrize("votes", [Votes(Deny("later", status=429, retry_after=7))])
def test_a_policy_that_asks_to_come_later_says_when(serve, kit, room, votes):
    client = serve(path("rooms/<session_id>/", view_of(TokenRequired | AllowAny)))
    refused = client.get(f"/rooms/{room}/", headers=bearer(kit, room))
    assert (refused.status_code, refused["Retry-After"], code_of(refused)) == (429, "7", "policy_denied")


def test_another_view_called_with_the_request_decides_anew(serve, kit, room):
    inner = view_of(TokenRequired)
    other = kit.create_session().session_id

    class Outer(APIView):
        permission_classes = [TokenRequired]

        def get(self, request, session_id):
            return inner(request._request, session_id=other)

    client = serve(path("rooms/<session_id>/", Outer.as_view()))
    assert code_of(client.get(f"/rooms/{room}/", headers=bearer(kit, room))) == "wrong_session"


# -- combinations ----------------------------------------------------------------------------------


class Never(BasePermission):
    def has_permission(self, request, view):
        return False


MODERATOR = RoleRequired("moderator")
COMBINED: list[tuple[Any, dict[str, int]]] = [
    # What is answered to: nobody, staff, a subscriber, a moderator, and staff with a bad token.
    (MODERATOR & AllowAny, {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 200, "bad": 401}),
    (AllowAny & MODERATOR, {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 200, "bad": 401}),
    (MODERATOR & Never, {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 403, "bad": 401}),
    (MODERATOR | IsAdminUser, {"nobody": 403, "staff": 200, "subscriber": 403, "moderator": 200, "bad": 401}),
    (IsAdminUser | MODERATOR, {"nobody": 401, "staff": 200, "subscriber": 403, "moderator": 200, "bad": 200}),
    (MODERATOR | TokenRequired, {"nobody": 401, "staff": 401, "subscriber": 200, "moderator": 200, "bad": 401}),
    (TokenRequired & MODERATOR, {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 200, "bad": 401}),
    ((MODERATOR & AllowAny) | IsAdminUser, {"nobody": 403, "staff": 200, "subscriber": 403, "moderator": 200}),
    ((IsAdminUser | Never) & TokenRequired, {"nobody": 403, "staff": 401, "subscriber": 403, "moderator": 403}),
    (MODERATOR | Never, {"nobody": 403, "staff": 403, "subscriber": 403, "moderator": 200, "bad": 401}),
    # Negations, which the framework does not show to what is negated, admit nobody without a good token.
    (~(MODERATOR | Never), {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 403, "bad": 401}),
    (~(MODERATOR & AllowAny), {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 403, "bad": 401}),
    (~(Never | TokenRequired) | Never, {"nobody": 401, "staff": 401, "subscriber": 403, "moderator": 403}),
    (~(IsAdminUser & TokenRequired), {"nobody": 200, "staff": 401, "subscriber": 200, "moderator": 200}),
]


@pytest.mark.each_choice
@pytest.mark.parametrize(("permission", "expected"), COMBINED, ids=range(len(COMBINED)))
@pytest.mark.parametrize("authenticators", [[Staff], [RolecallAuthentication, Staff]], ids=["staff", "both"])
def test_combinations_open_nothing(serve, kit, room, permission, expected, authenticators):
    class Combined(View):
        authentication_classes = authenticators
        permission_classes = [permission]

    client = serve(path("rooms/<session_id>/", public(Combined.as_view())), MIDDLEWARE=[])
    sent = {
        "nobody": {},
        "staff": {"X-Staff": "yes"},
        "subscriber": bearer(kit, room, "subscriber"),
        "moderator": bearer(kit, room),
        "bad": {"X-Staff": "yes", "Authorization": "Bearer x.y.z"},
    }
    answers = {who: client.get(f"/rooms/{room}/", headers=sent[who]).status_code for who in expected}
    # With the challenge of the first authenticator the framework answers 401 where it would else answer 403; and a
    # bad token is refused when it is authenticated.
    if authenticators[0] is RolecallAuthentication:
        expected = {**expected, "nobody": 401 if expected["nobody"] == 403 else expected["nobody"], "bad": 401}
        answers["bad"] = client.get(f"/rooms/{room}/", headers=sent["bad"]).status_code
    assert answers == expected


@pytest.mark.parametrize("negate", [lambda: ~TokenRequired, lambda: ~RoleRequired("moderator")])
def test_a_permission_is_not_negated(negate):
    with pytest.raises(ConfigurationError, match=r"whoever has no good token.*RoleRequired\('subscriber'"):
        negate()


def test_the_permission_for_an_object_is_asked_as_the_framework_asks(serve, kit, room):
    class Owns(BasePermission):
        def has_object_permission(self, request, view, obj):
            return False

    class Thing(APIView):
        permission_classes = [(MODERATOR & AllowAny) | (IsAdminUser & Owns)]
        authentication_classes = [Staff]

        def get(self, request, session_id):
            self.check_object_permissions(request, object())
            return Response()

    client = serve(path("rooms/<session_id>/", Thing.as_view()))
    assert client.get(f"/rooms/{room}/", headers=bearer(kit, room)).status_code == 200
    assert client.get(f"/rooms/{room}/", headers={"X-Staff": "yes"}).status_code == 403


def test_an_alternative_without_a_token_has_no_grant(serve, room):
    class Either(APIView):
        permission_classes = [TokenRequired | IsAdminUser]
        authentication_classes = [Staff]

        def get(self, request, session_id):
            return Response(request.grant is None)

    client = serve(path("rooms/<session_id>/", Either.as_view()))
    assert client.get(f"/rooms/{room}/", headers={"X-Staff": "yes"}).json() is True


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GuardPermission(untyped("moderator")), "pass a guard"),
        (lambda: RoleRequired(untyped("king")), "cannot require a role"),
        (lambda: CapabilityRequired(untyped("fly")), "does not exist"),
        (lambda: TokenRequired(session_param=untyped(5)), "expected the name of a path parameter"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_written(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_permission_tells_what_it_requires():
    assert repr(RoleRequired("moderator")) == "<RoleRequired role:moderator>"


# -- sessions --------------------------------------------------------------------------------------


def room_of(request: HttpRequest) -> Any:
    assert request.resolver_match is not None
    return request.resolver_match.kwargs["pk"].removeprefix("the-")


def test_the_session_is_bound_as_at_every_guard(serve, kit, room):
    client = serve(
        path("named/<pk>/", view_of(TokenRequired(session_param="pk"))),
        path("found/<pk>/", view_of(TokenRequired(session=room_of))),
        path("any/<pk>/", view_of(TokenRequired(session_param=None))),
        path("both/<pk>/", view_of(TokenRequired(session_param="pk"), RoleRequired("moderator"))),
        path("last/<pk>/", view_of(RoleRequired("moderator"), TokenRequired(session_param="pk"))),
        path("none/<pk>/", view_of(RoleRequired("moderator"), TokenRequired(session_param=None))),
        path("class/<pk>/", view_of(TokenRequired, TokenRequired(session_param="pk"))),
    )
    own, elsewhere = bearer(kit, room), bearer(kit, kit.create_session().session_id)
    answers = {
        name: [client.get(f"/{name}/{pk}/", headers=headers).status_code for headers in (own, elsewhere)]
        for name, pk in {
            "named": room,
            "found": f"the-{room}",
            "any": "1",
            "both": room,
            "last": room,
            "none": "1",
            "class": room,
        }.items()
    }
    bound, free = [200, 403], [200, 200]
    assert answers == {
        "named": bound,
        "found": bound,
        "any": free,
        "both": bound,
        "last": bound,
        "none": free,
        "class": bound,
    }


@pytest.mark.each_choice
@pytest.mark.parametrize(
    ("pattern", "permission", "message"),
    [
        (path("rooms/<pk>/", view_of(TokenRequired)), TokenRequired, "session_param='pk'"),
        (path("rooms/<pk>/", view_of(TokenRequired | IsAdminUser)), TokenRequired, "session_param='pk'"),
        (re_path(r"^rooms/([^/]+)/$", view_of(TokenRequired)), TokenRequired, "unnamed_1"),
    ],
)
def test_a_route_whose_session_nobody_has_named_stops_the_site(serve, kit, room, pattern, permission, message):
    client = serve(pattern)
    with pytest.raises(ConfigurationError, match=message):
        client.get(f"/rooms/{room}/", headers=bearer(kit, room))


def test_a_guard_around_a_view_is_settled_by_a_permission_that_is_there_in_any_case(serve, kit, room):
    class Certain(View):
        permission_classes = [TokenRequired(session_param="pk")]

    class Found(View):
        def get_permissions(self):
            return [TokenRequired(session_param="pk")]

    client = serve(path("certain/<pk>/", require_role("moderator")(Certain.as_view())))
    assert client.get(f"/certain/{room}/", headers=bearer(kit, room)).status_code == 200
    client = serve(path("found/<pk>/", require_role("moderator")(Found.as_view())))
    with pytest.raises(ConfigurationError, match="session_param='pk'"):
        client.get(f"/found/{room}/", headers=bearer(kit, room))


def test_the_suffix_of_a_format_is_no_session(serve, kit, room):
    class Rooms(ViewSet):
        permission_classes = [TokenRequired]
        lookup_url_kwarg = "session_id"

        def list(self, request, format=None):
            return Response("all")

        def retrieve(self, request, session_id, format=None):
            return Response("one")

    router = DefaultRouter()
    router.register("rooms", Rooms, basename="room")
    client = serve(path("api/", include(router.urls)), path("whole/", protect(include(router.urls))))
    elsewhere = bearer(kit, kit.create_session().session_id)
    for start in ("api", "whole"):
        assert client.get(f"/{start}/rooms.json", headers=bearer(kit, room)).json() == "all"
        assert client.get(f"/{start}/rooms/{room}.json", headers=bearer(kit, room)).json() == "one"
        assert client.get(f"/{start}/rooms/{room}.json", headers=elsewhere).status_code == 403
        assert client.get(f"/{start}/rooms.json").status_code == 401


# -- the whole site, and what opens a door ---------------------------------------------------------


def test_a_guarded_site_spares_the_marked_views(serve, kit, room):
    class Rooms(ViewSet):
        permission_classes = []

        def list(self, request):
            return Response("closed")

        @public
        def create(self, request):
            return Response("open")

    @public
    class Help(ViewSet):
        permission_classes = []

        def list(self, request):
            return Response("help")

    options = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, "protect": True}
    client = serve(
        path("rooms/", Rooms.as_view({"get": "list", "post": "create"})),
        path("help/", Help.as_view({"get": "list"})),
        ROLECALL=options,
    )
    assert client.get("/rooms/").status_code == 401
    assert client.head("/rooms/").status_code == 401
    assert client.post("/rooms/").json() == "open"
    assert client.get("/help/").json() == "help"


def unguarded_initial():
    class Base(View):
        permission_classes = [TokenRequired]

        def initial(self, request, *args, **kwargs):
            self.format_kwarg = None

    return type("Below", (Base,), {})


def unguarded_check():
    class Base(View):
        permission_classes = [TokenRequired]

        def check_permissions(self, request):
            pass

    return Base


def unguarded_dispatch():
    class Base(View):
        permission_classes = [TokenRequired | IsAdminUser]

        def dispatch(self, request, *args, **kwargs):
            return HttpResponse("open")

    return Base


def dispatch_of_another_class():
    class Base(View):
        permission_classes = [TokenRequired]

        def dispatch(self, request, *args, **kwargs):
            return DjangoView.dispatch(untyped(self), request, *args, **kwargs)

    return Base


def check_of_another_name():
    class Base(View):
        permission_classes = [TokenRequired]
        check_permissions = lambda self, request: None  # noqa: E731

    return Base


UNASKED = [unguarded_initial, unguarded_check, unguarded_dispatch, dispatch_of_another_class, check_of_another_name]


@pytest.mark.parametrize("make", UNASKED)
def test_a_class_that_asks_no_permission_stops_the_site(serve, make):
    client = serve(path("open/", make().as_view()), path("me/", require_token(nothing)))
    with pytest.raises(ConfigurationError, match=r"without calling super\(\)"):
        client.get("/me/")


def test_a_class_that_calls_on_is_in_order(serve, kit, room):
    class Calls(View):
        permission_classes = [TokenRequired]

        def initial(self, request, *args, **kwargs):
            super().initial(request, *args, **kwargs)

        def check_permissions(self, request):
            for check in (super().check_permissions,):
                check(request)

    client = serve(path("rooms/<session_id>/", Calls.as_view()))
    assert client.get(f"/rooms/{room}/", headers=bearer(kit, room)).status_code == 200


def test_a_stream_ends_with_its_grant(serve, kit, room):
    class Lines(APIView):
        permission_classes = [TokenRequired]

        def get(self, request, session_id):
            def lines():
                yield "one"
                kit.end_session(session_id)
                yield "two"

            return StreamingHttpResponse(while_granted(request, lines()))

    client = serve(path("rooms/<session_id>/", Lines.as_view()))
    response: Any = client.get(f"/rooms/{room}/", headers=bearer(kit, room))
    assert response.getvalue() == b"one"


def test_a_request_that_the_framework_rolls_back_loses_no_revocation(tmp_path):
    class Revokes(APIView):
        permission_classes = [TokenRequired]

        def get(self, request, session_id):
            run("INSERT INTO notes VALUES ('of this request')")
            get_kit().revoke_token(token)
            raise PermissionDenied

    module = ModuleType("urls")
    vars(module)["urlpatterns"] = [path("rooms/<session_id>/", Revokes.as_view())]
    with database("django.db.backends.sqlite3", NAME=tmp_path / "db.sqlite3", ATOMIC_REQUESTS=True) as alias:
        migrate(alias)
        run = with_notes(alias)
        options = {"api_key": KEY, "api_secret": SECRET, "entry_points": False, "store": f"django:{alias}"}
        with override_settings(ROOT_URLCONF=module, ROLECALL=options):
            session = get_kit().create_session()
            token = session.generate_token()
            url = f"/rooms/{session.session_id}/"
            refused = APIClient().get(url, headers={"Authorization": f"Bearer {token}"})
            assert (refused.status_code, run("SELECT * FROM notes")) == (403, [])
            with pytest.raises(RevokedToken):
                get_kit().verify_token(token)


# -- the list of routes ----------------------------------------------------------------------------


def listed() -> dict[str, str]:
    return {f"{' '.join(route.methods)} {route.path}": route.requires for route in routes_of(project)}


def mistakes() -> set[str]:
    return {mistake.code for route in routes_of(project) for mistake in route.mistakes}


class Rooms(ViewSet):
    permission_classes = [TokenRequired]
    lookup_url_kwarg = "session_id"

    def list(self, request): ...
    def retrieve(self, request, session_id): ...
    def update(self, request, session_id): ...

    def get_permissions(self):
        if self.action == "update":
            return [RoleRequired("moderator"), (IsAuthenticated & CapabilityRequired("force_disconnect"))()]
        return super().get_permissions()

    @action(detail=True, permission_classes=[])
    def help(self, request, session_id): ...

    @action(detail=True, methods=["post"], permission_classes=[MODERATOR | IsAdminUser])
    def close(self, request, session_id): ...

    @public
    @action(detail=False, permission_classes=[AllowAny])
    def rules(self, request): ...


def test_views_and_actions_are_listed_with_their_permissions(serve):
    def open_for_get(view):
        return [AllowAny()] if view.request.method == "GET" else [TokenRequired()]

    @api_view(["POST", "GET"])
    @permission_classes([IsAuthenticatedOrReadOnly])
    def function(request): ...

    router = DefaultRouter(use_regex_path=False)
    router.include_format_suffixes = False
    router.register("rooms", Rooms, basename="room")
    serve(
        path("api/", include(router.urls)),
        path("function/", function, name="function"),
        path("by-method/", view_of(get_permissions=open_for_get)),
        path("below/", *guard_below_api_view()[0].callback and [guard_below_api_view()[0].callback]),
    )
    assert listed() == {
        "GET /api/": "open, made by Django REST framework",
        "GET /api/rooms/": "token",
        "GET /api/rooms/rules/": "public",
        "GET /api/rooms/{session_id}/": "token of {session_id}",
        "PUT /api/rooms/{session_id}/": (
            "role:moderator of {session_id} and capability:force_disconnect of {session_id} and IsAuthenticated"
        ),
        "GET /api/rooms/{session_id}/help/": "OPEN",
        "POST /api/rooms/{session_id}/close/": "guarded by (role:moderator of {session_id} or IsAdminUser)",
        "GET /function/": "OPEN",
        "POST /function/": "guarded by IsAuthenticatedOrReadOnly",
        "GET /by-method/": "OPEN",
        "POST /by-method/": "token",
        "GET /below/": "role:publisher",
    }
    assert mistakes() == set()


def test_what_a_subclass_drops_is_open(serve):
    class Base(View):
        permission_classes = [TokenRequired]

    class Open(Base):
        permission_classes = [AllowAny]

    class Reads(Base):
        permission_classes = [~IsAdminUser | IsAuthenticatedOrReadOnly]

    serve(
        path("base/", Base.as_view()),
        path("open/", Open.as_view()),
        path("dropped/", Base.as_view(permission_classes=())),
        path("reads/", Reads.as_view()),
        path("limited/", Base.as_view(http_method_names=["get"])),
    )
    assert listed() == {
        "GET POST /base/": "token",
        "GET POST /open/": "OPEN",
        "GET POST /dropped/": "OPEN",
        "GET /reads/": "OPEN",
        "POST /reads/": "guarded by (not IsAdminUser or IsAuthenticatedOrReadOnly)",
        "GET /limited/": "token",
    }


def test_mistakes_in_permissions_are_listed(serve):
    def raises(view):
        raise KeyError("room")

    urls = {
        "guard_negated": view_of(~(TokenRequired | IsAdminUser)),
        "unknown_permissions": view_of(get_permissions=raises),
        "no_session_param": view_of(TokenRequired(session_param="pk") | IsAdminUser),
    }
    for code, view in urls.items():
        serve(path("it/", view))
        assert mistakes() == {code}
    serve(path("it/", view_of(untyped(RoleRequired))))
    assert listed() == {"GET POST /it/": "guarded by Of.get_permissions"}


@pytest.mark.process
def test_neither_framework_is_imported_before_an_app_does():
    code = "import sys, rolecall_django.checks; sys.exit({'rest_framework', 'channels'} & {*sys.modules} != set())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- OpenAPI ---------------------------------------------------------------------------------------


def described(version: str, patterns) -> dict[str, Any]:
    """What drf-spectacular makes of URL patterns, with the refusals."""
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.settings import patched_settings
    from drf_spectacular.validation import validate_schema

    hooks = ["rolecall_django.rest_schema.document_refusals"]
    with patched_settings({"OAS_VERSION": version, "POSTPROCESSING_HOOKS": hooks}):
        schema: dict[str, Any] = SchemaGenerator(patterns=patterns).get_schema(public=True)
        validate_schema(schema)
    return schema


@pytest.mark.parametrize(("version", "scopes"), [("3.1.1", ["role:moderator"]), ("3.0.3", [])])
def test_the_description_says_what_an_operation_requires(serve, version, scopes):
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.utils import extend_schema

    serve(REST_FRAMEWORK={"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"})

    class Room(APIView):
        schema = AutoSchema()
        authentication_classes = [RolecallAuthentication]
        permission_classes = [TokenRequired, RoleRequired("moderator")]

        @extend_schema(responses={403: str})
        def delete(self, request, session_id): ...

    class Open(APIView):
        schema = AutoSchema()
        authentication_classes = [RolecallAuthentication]
        permission_classes = [AllowAny]

        @extend_schema(responses={200: str})
        def get(self, request): ...

    schema = described(version, [path("rooms/<str:session_id>/", Room.as_view()), path("open/", Open.as_view())])
    assert schema["components"]["securitySchemes"]["rolecall"]["scheme"] == "bearer"
    close = schema["paths"]["/rooms/{session_id}/"]["delete"]
    assert close["security"] == [{"rolecall": scopes}]
    assert [*close["responses"]] == ["403", "400", "401", "429", "431", "503"]
    assert "WWW-Authenticate" in close["responses"]["401"]["headers"]
    assert "application/problem+json" not in close["responses"]["403"]["content"]
    assert schema["components"]["schemas"]["RolecallProblem"]["type"] == "object"
    assert schema["paths"]["/open/"]["get"]["security"] == [{"rolecall": []}, {}]
