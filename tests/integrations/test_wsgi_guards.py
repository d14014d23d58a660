"""Guards around WSGI apps: who gets in, what is guarded, and that an app notices nothing of its guard."""

from __future__ import annotations

import io
import json
import logging
import posixpath
import sys
from typing import Any
from urllib.parse import unquote, urlparse, urlsplit
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import bottle
import pytest
from werkzeug.test import Client, EnvironBuilder

from rolecall import Allow, Deny, Grant, Role, Web, hookimpl
from rolecall.cli.apps import routes_of
from rolecall.errors import ConfigurationError
from rolecall_starlette import require_role as starlette_role
from rolecall_wsgi import (
    RolecallMiddleware,
    current_grant,
    find_grant,
    protect,
    public,
    require_capability,
    require_role,
    require_token,
)

from ..untyped import untyped

#: A token of any session is enough; a guard around a whole app must be told so.
ANY_SESSION = require_token(session_param=None)
ROLES = ["subscriber", "publisher", "publisheronly", "moderator"]


class Room:
    """A WSGI app that says whose grant it sees, and remembers its requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def __call__(self, environ, start_response):
        self.requests.append(environ)
        grant = environ.get("rolecall.grant")
        body = str(grant.role if grant else "open").encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@pytest.fixture
def room():
    return Room()


@pytest.fixture
def session(kit):
    return kit.create_session()


def ask(app, path="/", token=None, method="GET", **options):
    """The answer of ``app``; the path stands in the environment as it is given."""
    options.setdefault("headers", {"Authorization": f"Bearer {token}"} if token else {})
    return Client(app).open(method=method, environ_overrides={"PATH_INFO": path}, buffered=True, **options)


def statuses(app, paths, **options):
    return {path: ask(app, path, **options).status_code for path in paths}


# -- every way to put a guard ----------------------------------------------------------------------


def around_the_app(guard, app):
    return guard(app)


def as_a_decorator_of_a_function(guard, app):
    @guard
    def decorated(environ, start_response):
        return app(environ, start_response)

    return decorated


def around_a_class_whose_instances_are_answers(guard, app):
    """The third kind of app that PEP 3333 knows."""

    @guard
    class Answer:
        def __init__(self, environ, start_response):
            self._answer = app(environ, start_response)

        def __iter__(self):
            return iter(self._answer)

    return Answer


def around_a_bound_method(guard, app):
    return guard(app.__call__)


def within_another_guard(guard, app):
    return ANY_SESSION(guard(app))


def around_another_guard(guard, app):
    return guard(ANY_SESSION(app))


def by_protect(guard, app):
    return protect(app, guard)


WAYS = [
    around_the_app,
    as_a_decorator_of_a_function,
    around_a_class_whose_instances_are_answers,
    around_a_bound_method,
    within_another_guard,
    around_another_guard,
    by_protect,
]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def guarded(request, kit, room):
    """The app behind a guard for moderators, and the middleware; each held to PEP 3333 on both sides."""
    guard = require_role("moderator", prefixes=["/rooms/{session_id}"])
    return validator(RolecallMiddleware(request.param(guard, room), kit))


def test_the_role_gets_in(guarded, room, session):
    response = ask(guarded, f"/rooms/{session.session_id}", session.generate_token("moderator"))
    assert (response.status_code, response.text, len(room.requests)) == (200, "moderator", 1)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_nobody_gets_in_without_a_token(guarded, room, session, method):
    response = ask(guarded, f"/rooms/{session.session_id}", method=method)
    assert (response.status_code, room.requests) == (401, [])
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rolecall"'
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly"])
def test_a_lesser_role_does_not_get_in(guarded, room, session, role):
    response = ask(guarded, f"/rooms/{session.session_id}", session.generate_token(role))
    assert (response.status_code, response.json["code"], room.requests) == (403, "insufficient_role", [])


def test_a_token_of_another_session_does_not_get_in(guarded, room, kit, session):
    response = ask(guarded, f"/rooms/{session.session_id}", kit.create_session().generate_token("moderator"))
    assert (response.status_code, response.json["code"], room.requests) == (403, "wrong_session", [])


def test_a_bad_token_does_not_get_in(guarded, room, session):
    response = ask(guarded, f"/rooms/{session.session_id}", session.generate_token("moderator")[:-6] + "AAAAAA")
    assert (response.status_code, room.requests) == (401, [])


def test_an_expired_token_does_not_get_in(guarded, room, session, clock):
    token = session.generate_token("moderator")
    clock.now += 2 * 86_400
    response = ask(guarded, f"/rooms/{session.session_id}", token)
    assert (response.status_code, response.json["code"], room.requests) == (401, "expired_token", [])


def test_a_token_of_an_ended_session_does_not_get_in(guarded, room, kit, session):
    token = session.generate_token("moderator")
    kit.end_session(session.session_id)
    response = ask(guarded, f"/rooms/{session.session_id}", token)
    assert (response.status_code, response.json["code"], room.requests) == (401, "revoked_token", [])


@pytest.mark.parametrize("role", [None, "subscriber", "moderator"])
def test_options_does_not_run_the_app(guarded, room, session, role):
    token = session.generate_token(role) if role else None
    response = ask(guarded, f"/rooms/{session.session_id}", token, "OPTIONS")
    assert (response.status_code, response.data, room.requests) == (204, b"", [])


def test_head_runs_the_guard_and_then_the_app(guarded, room, session):
    response = ask(guarded, f"/rooms/{session.session_id}", session.generate_token("moderator"), "HEAD")
    assert (response.status_code, response.data, len(room.requests)) == (200, b"", 1)


def test_a_refusal_of_head_has_the_headers_of_the_one_of_get_and_no_body(guarded, session):
    path = f"/rooms/{session.session_id}"
    head, get = ask(guarded, path, method="HEAD"), ask(guarded, path)
    assert (head.status_code, head.data, list(head.headers)) == (get.status_code, b"", list(get.headers))


# -- what is required ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "admitted"),
    [
        (lambda **options: require_role("subscriber", **options), ["subscriber", "publisher", "moderator"]),
        (lambda **options: require_role("publisher", **options), ["publisher", "moderator"]),
        (lambda **options: require_role(Role.MODERATOR, **options), ["moderator"]),
        (lambda **options: require_capability("publish", **options), ["publisher", "publisheronly", "moderator"]),
        (lambda **options: require_capability("force_unpublish", **options), ["moderator"]),
        (lambda **options: require_token(**options), ROLES),
    ],
)
def test_exactly_the_roles_with_the_capabilities_get_in(kit, session, room, make, admitted):
    app = make(kit=kit, session_param=None)(room)
    assert [role for role in ROLES if ask(app, token=session.generate_token(role)).status_code == 200] == admitted


def test_every_good_token_is_enough_where_no_role_is_named(kit, session, room):
    app = RolecallMiddleware(ANY_SESSION(room), kit)
    assert ask(app).status_code == 401
    assert ask(app, token=session.generate_token("subscriber")).text == "subscriber"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: require_role(untyped("moderater")), "'moderater' does not exist; the roles are"),
        (lambda: require_role(untyped(None)), "None does not exist"),
        (lambda: require_capability(untyped("ban")), "'ban' does not exist; the capabilities are"),
        (lambda: ANY_SESSION(untyped("moderator")), "a guard protects a WSGI app, not 'moderator'"),
        (lambda: require_role("moderator", session_param=None)(untyped(None)), "a guard protects a WSGI app, not None"),
        (lambda: require_role(untyped(Room)), r"^write @require_role"),
        (lambda: require_role(untyped(["publisher"])), "^name one role"),
        (lambda: protect(Room(), untyped("moderator")), r"^pass a guard: require_role\('moderator'\)$"),
        (lambda: protect(Room(), untyped("")), r"^pass a guard"),
        (lambda: protect(Room(), untyped(starlette_role("moderator"))), r"^pass a guard of rolecall_wsgi"),
        (lambda: protect(untyped(1), ANY_SESSION), "a guard protects a WSGI app, not 1"),
        (lambda: ANY_SESSION(untyped(Room)), r"not the class Room; pass an instance: Room\(\)"),
        (lambda: require_token(prefixes="/admin"), r"are lists: prefixes=\['/admin'\]"),
        (lambda: require_token(methods="POST"), "are lists"),
        (lambda: protect(Room(), ANY_SESSION, public="/health"), "are lists"),
        (lambda: require_token(prefixes=["admin"]), "'admin' is no path"),
        (lambda: require_token(prefixes=["/rooms/<session_id>"]), "is no path"),
        (lambda: protect(Room(), ANY_SESSION, public=["/static/*"]), "is no path"),
        (lambda: require_token(methods=["GET "]), "'GET ' is no method"),
        (lambda: require_token(methods=[untyped(None)]), "None is no method"),
        (lambda: require_token(session_param="room"), "by 'room', which is no part of any prefix; name it in each"),
        (
            lambda: require_token(session_param="room", prefixes=["/rooms/{room}", "/admin"]),
            "by 'room', which is no part of '/admin'; name it in each",
        ),
    ],
)
def test_a_guard_that_could_never_work_stops_at_import(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


async def asgi_function(scope, receive, send): ...


class AsgiApp:
    async def __call__(self, scope, receive, send): ...


@pytest.mark.parametrize("app", [asgi_function, AsgiApp()])
def test_an_asgi_app_is_sent_to_the_guards_for_those(app, kit):
    for put in (ANY_SESSION, lambda app: RolecallMiddleware(app, kit)):
        with pytest.raises(ConfigurationError, match="this is an ASGI one; for those there is rolecall_starlette"):
            put(app)


def test_the_roles_of_a_guards_own_kit_exist(make_kit, room):
    class Roles:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("assistant", ["connect", "publish", "subscribe"], wire_name="publisheronly")]

    kit = make_kit(plugins=[Roles()])
    app = require_role(untyped("assistant"), kit=kit, session_param=None)(room)
    assert ask(app, token=kit.create_session().generate_token("subscriber")).status_code == 403


# -- kits ------------------------------------------------------------------------------------------


def test_a_guard_without_a_kit_says_what_to_do(room):
    with pytest.raises(ConfigurationError, match=r"put RolecallMiddleware\(app, kit\) around the app, or tell it"):
        ask(ANY_SESSION(room))


def test_a_guard_asks_its_own_kit_and_not_the_one_around_it(make_kit, room):
    mine, other = make_kit(), make_kit(api_key="2222", api_secret="another secret of 32 characters.")
    app = RolecallMiddleware(require_token(kit=mine, session_param=None)(room), other)
    assert ask(app, token=other.create_session().generate_token()).status_code == 401
    assert ask(app, token=mine.create_session().generate_token()).text == "publisher"


def test_between_two_kits_a_guard_must_be_told(make_kit, room):
    school, clinic = make_kit(), make_kit(api_key="2222", api_secret="another secret of 32 characters.")
    app = RolecallMiddleware(RolecallMiddleware(ANY_SESSION(room), clinic, "/clinic"), school, "/school")
    with pytest.raises(ConfigurationError, match=r"several kits; tell each guard .*kit=kit"):
        ask(app, token=school.create_session().generate_token())
    assert room.requests == []


def test_one_kit_twice_is_one_kit(kit, session, room):
    app = RolecallMiddleware(RolecallMiddleware(ANY_SESSION(room), kit, "/a"), kit, "/b")
    assert ask(app, token=session.generate_token()).text == "publisher"


# -- prefixes, and what they bind ------------------------------------------------------------------


def test_only_what_is_below_a_prefix_is_guarded(kit, room):
    app = require_token(kit=kit, prefixes=["/admin", "/rooms/{session_id}/board"])(room)
    guarded = ["/admin", "/admin/", "/admin/users", "/Admin", "/rooms/x/board", "/rooms/x/board/1"]
    opened = ["/", "/administration", "/public/admin", "/rooms", "/rooms/x", "/rooms/x/boards"]
    assert statuses(app, guarded) == dict.fromkeys(guarded, 401)
    assert statuses(app, opened) == dict.fromkeys(opened, 200)


def test_the_part_that_names_the_session_can_have_another_name(kit, session, room):
    app = require_token(kit=kit, session_param="call", prefixes=["/calls/{call}"])(room)
    other = kit.create_session().generate_token("moderator")
    assert ask(app, f"/calls/{session.session_id}", session.generate_token()).status_code == 200
    assert ask(app, f"/calls/{session.session_id}/mute", other).json["code"] == "wrong_session"


def test_binding_to_the_session_can_be_turned_off(kit, session, room):
    app = require_token(kit=kit, session_param=None, prefixes=["/rooms/{session_id}"])(room)
    assert ask(app, f"/rooms/{session.session_id}", kit.create_session().generate_token()).status_code == 200


def test_a_prefix_without_the_part_takes_a_token_of_any_session(kit, session, room):
    app = require_token(kit=kit, session_param=None, prefixes=["/rooms/{room}"])(room)
    assert ask(app, "/rooms/1", session.generate_token()).status_code == 200


@pytest.mark.parametrize("prefixes", [["/rooms", "/rooms/{session_id}"], ["/rooms/{session_id}", "/rooms"]])
def test_a_path_below_two_prefixes_has_to_satisfy_both(kit, session, room, prefixes):
    app = require_token(kit=kit, prefixes=prefixes)(room)
    other = kit.create_session().generate_token()
    assert ask(app, "/rooms", other).status_code == 200
    assert ask(app, f"/rooms/{session.session_id}", other).json["code"] == "wrong_session"


@pytest.mark.parametrize("spelling", ["{0}.", "{0}=", ".{0}", "{0}:", "{0},", "{0}&", "{0}@", "x"])
def test_the_session_is_compared_as_it_stands(kit, session, room, spelling):
    app = require_token(kit=kit, prefixes=["/rooms/{session_id}"])(room)
    response = ask(app, f"/rooms/{spelling.format(session.session_id)}", session.generate_token())
    assert (response.status_code, response.json["code"]) == (403, "wrong_session")


@pytest.mark.parametrize(
    "spelling",
    [
        *("{0}\x00", "{0} ", " {0}", "{0}\n", "{0}%00", "{0}\xff", "\xff{0}", "{0}%ff"),
        *("{0};", "{0};x=1", ";{0}", "{0}%3B", "{0}%3bx", "{0}?", "{0}?x", "{0}%3F", "{0}#", "{0}#x", "{0}%23x"),
        *("{1};{0}", "{1}?{0}", "{1}#{0}", "{1}%3B{0}", "{1}%3F{0}", "{1};/{0}", "{1}?/{0}"),
        *("{0}/..;/{1}", "{0}/..;x=1/{1}", "{0}/..%3B/{1}", "{0}/%2e%2e;/{1}", "{0}/.;/{1}", "{0};/../{1}"),
        *("{0}/..?/{1}", "{0}/..#/{1}", "{0}/;/{1}", "{0}/%3B/{1}", "{0}%2f..%2f{1}", "{0}/..%5C{1}"),
    ],
)
def test_a_session_that_can_be_read_in_two_ways_lets_nobody_in(kit, session, room, spelling):
    app = require_token(kit=kit, prefixes=["/rooms/{session_id}"])(room)
    other = kit.create_session().session_id
    response = ask(app, f"/rooms/{spelling.format(session.session_id, other)}", session.generate_token("moderator"))
    assert (response.status_code, response.json["code"], room.requests) == (400, "invalid_request", [])


def test_a_path_of_two_sessions_is_for_neither(kit, session, room):
    app = require_token(kit=kit, prefixes=["/rooms/{session_id}"])(room)
    other = kit.create_session()
    for path in ("/rooms/{0}/../{1}", "/rooms/{1}/../{0}", "/rooms//{0}/{1}", "/rooms/./{0}", "/rooms/{0}\\..\\{1}"):
        response = ask(app, path.format(session.session_id, other.session_id), session.generate_token())
        assert (response.status_code, response.json["code"]) == (400, "invalid_request"), path
    assert room.requests == []


def test_the_mount_point_in_front_plays_no_part(kit, room):
    app = require_token(kit=kit, prefixes=["/admin"])(room)
    assert ask(app, "/users", environ_base={"SCRIPT_NAME": "/admin"}).status_code == 200
    assert ask(app, "/admin", environ_base={"SCRIPT_NAME": "/app"}).status_code == 401


def test_a_path_that_a_framework_has_decoded_already_is_read_as_it_is(kit, room):
    app = require_token(kit=kit, prefixes=["/räume–1"])(room)
    environ = {"PATH_INFO": "/räume–1", "REQUEST_METHOD": "GET"}
    started = []
    list(app(environ, untyped(lambda status, headers: started.append(status))))
    assert started == ["401 Unauthorized"]


# -- no spelling gets around -----------------------------------------------------------------------

SPELLINGS = [
    "/secret",
    "/secret/",
    "/SECRET",
    "secret",
    "//secret",
    "/./secret",
    "/x/../secret",
    "/x//../secret",
    "/secret/.",
    "/secret/../secret",
    "/../secret",
    "/secret\\",
    "\\secret",
    "/x\\..\\secret",
    "/secret\n",
    "/secret\x00",
    "/ secret",
    "/se\xffcret",
    "/se\xc0\xafcret",
    "/%73ecret",
    "/x/%2e%2e/secret",
    "/x%2f..%2fsecret",
    "/secret;",
    "/secret;x=1",
    "/secret;x=1/y",
    "/;/secret",
    "/x/..;/secret",
    "/x/..;a=b/secret",
    "/x/..%3B/secret",
    "/x/..%253B/../secret",
    "/secret%3Bx",
    "/secret?",
    "/secret?x=1",
    "/secret?/x",
    "/secret%3Fx",
    "/secret#",
    "/secret#x",
    "/secret%23x",
    "/secret;a?b#c",
    "/se;x/cret/../../secret",
    "a:/secret",
    "http:/secret",
    "a:/secret?x",
    "x/secret",
    "\xef\xbb\xbf/secret",
    "/secret ",
    "/secret\xc2\x85",
    "/secret\xc2\xa0",
    "/secret\xe2\x80\xa8",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_a_guarded_path_reaches_the_app_without_a_token(kit, room, spelling):
    app = require_token(kit=kit, prefixes=["/secret"])(room)
    assert ask(app, spelling).status_code in (400, 401)
    assert room.requests == []


def bottle_app():
    app = bottle.Bottle()
    app.route("/secret", "ANY", lambda: "secret")
    app.route("/rooms/<name>/secret", "ANY", lambda name: "secret")
    app.route("/health", "ANY", lambda: "well")
    return app


@pytest.mark.parametrize("spelling", [*SPELLINGS, *(f"/rooms/x{path}" for path in SPELLINGS), "/rooms/../secret"])
def test_bottle_never_tells_its_secret_without_a_token(kit, spelling):
    app = require_token(kit=kit, session_param=None, prefixes=["/secret", "/rooms/{name}/secret"])(bottle_app())
    assert b"secret" not in ask(app, spelling).data.split(b"\n")


def test_bottle_would_tell_it_for_some_of_these_spellings():
    """So that the test above has something to find."""
    told = [path for path in SPELLINGS if ask(bottle_app(), path).data == b"secret"]
    assert {"/secret", "/se\xffcret"} <= set(told)
    assert ask(bottle_app(), "/rooms/x/secret\n").data == b"secret"


@pytest.mark.parametrize("path", ["/fetch/https://host/page", "/docs/../x", "/50%", "/caf\xe9", "/a b"])
def test_an_odd_path_that_cannot_be_meant_for_a_prefix_is_the_apps_own(kit, room, path):
    app = require_token(kit=kit, prefixes=["/secret", "/rooms/{session_id}/board"])(room)
    assert ask(app, path).text == "open"


@pytest.mark.parametrize("path", ["/files//x", "/files/../x", "/files/50%", "/files/caf\xe9", "/files/a b"])
def test_where_all_is_guarded_an_odd_path_needs_a_token_and_no_more(kit, session, room, path):
    app = RolecallMiddleware(protect(room, ANY_SESSION, public=["/health"]), kit)
    assert ask(app, path).status_code == 401
    assert ask(app, path, session.generate_token()).text == "publisher"


@pytest.mark.parametrize("path", ["/files/50%", "/files/caf\xe9", "/files/a b"])
def test_odd_characters_below_a_prefix_need_a_token_and_no_more(kit, session, room, path):
    app = require_token(kit=kit, prefixes=["/files"])(room)
    assert ask(app, path).status_code == 401
    assert ask(app, path, session.generate_token()).text == "publisher"


# -- methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "guarded"),
    [
        (["POST"], {"POST"}),
        (["post", "PUT"], {"POST", "PUT"}),
        (["GET"], {"GET", "HEAD"}),
        (["HEAD"], {"HEAD"}),
        ([], {"GET", "HEAD", "POST", "PUT", "DELETE"}),
    ],
)
def test_only_the_methods_that_are_named_are_guarded(kit, room, methods, guarded):
    app = require_token(kit=kit, session_param=None, methods=methods)(room)
    found = {
        name for name in ("GET", "HEAD", "POST", "PUT", "DELETE") if ask(app, method=name).status_code in (401, 405)
    }
    assert found == guarded


def test_a_method_in_small_letters_does_not_get_around(kit):
    """Bottle and Django read it in capitals."""
    app = require_token(kit=kit, session_param=None, methods=["POST"])(bottle_app())
    environ = EnvironBuilder("/secret", environ_overrides={"REQUEST_METHOD": "post"}).get_environ()
    assert Client(bottle_app()).open(dict(environ), buffered=True).data == b"secret"
    assert Client(app).open(dict(environ), buffered=True).status_code == 401


def test_options_is_the_apps_own_where_it_is_not_guarded(kit, room):
    app = require_token(kit=kit, session_param=None, methods=["POST"])(room)
    assert ask(app, method="OPTIONS").text == "open"


def test_prefixes_and_methods_go_together(kit, room):
    app = require_token(kit=kit, prefixes=["/rooms"], methods=["POST"])(room)
    assert [ask(app, path, method=method).status_code for path in ("/rooms", "/x") for method in ("GET", "POST")] == [
        200,
        401,
        200,
        200,
    ]


# -- everything at once ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/new", "/rooms/1", "/health/deep", "/rooms/1/2/poster"])
def test_in_what_is_protected_everything_needs_a_token(kit, session, room, path):
    app = RolecallMiddleware(protect(room, ANY_SESSION, public=["/health", "/rooms/{room}/poster"]), kit)
    assert ask(app, path).status_code == 401
    assert ask(app, path, session.generate_token()).text == "publisher"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/health", "/rooms/1/poster"])
def test_what_is_public_needs_none(kit, room, path, method):
    app = RolecallMiddleware(protect(room, ANY_SESSION, public=["/health", "/rooms/{room}/poster"]), kit)
    assert (ask(app, path, method=method).status_code, len(room.requests)) == (200, 1)


@pytest.mark.parametrize(
    "path",
    [
        *("/health/", "/Health", "//health", "/health/.", "/x/../health", "/health\n", "/he\xffalth", "/%68ealth"),
        *("/health;", "/health;x", "/health%3B", "/health?", "/health%3F", "/health?x", "/health#", "/health%23x"),
        *("/health;/../admin", "/rooms/1;x/poster", "/rooms/1?x/poster", "/rooms/..;/poster", "/rooms/1/poster;x"),
        *("health", "/health/../admin", "/rooms/a%2f..%2f..%2fadmin/poster", "/rooms/..\\x/poster", "/rooms/../poster"),
    ],
)
def test_nothing_but_the_path_itself_is_public(kit, room, path):
    app = RolecallMiddleware(protect(room, ANY_SESSION, public=["/health", "/rooms/{room}/poster"]), kit)
    assert ask(app, path).status_code == 401


def test_a_guard_says_what_protects_where(kit, session, room):
    guard = require_role("moderator", kit=kit, prefixes=["/admin"], methods=["GET"])
    app = protect(room, guard, public=["/admin/login"])
    token = session.generate_token("publisher")
    assert ask(app, "/admin", token).json["code"] == "insufficient_role"
    assert [ask(app, "/admin/login").text, ask(app, "/").text, ask(app, "/admin", method="POST").text] == ["open"] * 3


def test_protecting_one_app_leaves_the_guard_as_it_was(kit, room):
    guard = require_token(kit=kit, session_param=None)
    protect(room, guard, public=["/health"])
    assert ask(guard(room), "/health").status_code == 401


# -- the grant -------------------------------------------------------------------------------------


def test_the_current_grant_is_that_of_the_request(kit, session):
    seen = []

    def app(environ, start_response):
        seen.append(current_grant(environ))
        start_response("204 No Content", [])
        return []

    token = session.generate_token("subscriber", data="Ann")
    ask(require_token(kit=kit, session_param=None)(app), token=token)
    assert seen == [kit.verify_token(token)]
    assert isinstance(seen[0], Grant)


@pytest.mark.parametrize("environ", [{}, {"rolecall.grant": None}, {"rolecall.grant": "of a middleware"}])
def test_there_is_no_grant_where_no_token_was_asked_for(environ):
    with pytest.raises(RuntimeError, match="current_grant needs an app behind require_role"):
        current_grant(environ)


def test_a_guarded_app_gets_the_environment_itself(kit, session, room):
    environ = {"HTTP_AUTHORIZATION": f"Bearer {session.generate_token()}"}
    setup_testing_defaults(environ)
    before = dict(environ)
    require_token(kit=kit, session_param=None)(room)(environ, untyped(lambda status, headers: None))
    assert room.requests == [environ]
    assert room.requests[0] is environ
    grant = current_grant(environ)
    kept = {"rolecall.grant": grant, "rolecall.entries": environ["rolecall.entries"]}
    assert {**before, **kept} == environ


# -- the app notices nothing -----------------------------------------------------------------------


class Exchange:
    """One request of a bare WSGI server, which sees everything that an app does."""

    def __init__(self, app, token=None, *, method="GET", path="/", body=b"", exc=None):
        self.events: list[bytes] = []
        self.status: Any = None
        self.headers: Any = None
        self.exc_info: Any = None
        self.environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body)}
        if body:
            self.environ.update(CONTENT_LENGTH=str(len(body)), CONTENT_TYPE="application/json")
        if token:
            self.environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        setup_testing_defaults(self.environ)
        self.answer = app(self.environ, self.start_response)

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.events:
            raise exc_info[1].with_traceback(exc_info[2])
        self.status, self.headers, self.exc_info = status, headers, exc_info
        return self.events.append


@pytest.fixture
def token(session):
    return session.generate_token("moderator")


@pytest.fixture
def guard(kit):
    return require_role("moderator", kit=kit, session_param=None)


class Stream:
    """An iterable answer that remembers what becomes of it."""

    def __init__(self, pieces):
        self.pieces, self.closed = iter(pieces), 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.pieces)

    def close(self):
        self.closed += 1


def streaming(stream):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream

    return app


def test_the_answer_is_the_iterable_that_the_app_gave(guard, token):
    stream = Stream([b"a", b"b"])
    assert Exchange(guard(streaming(stream)), token).answer is stream


def test_pieces_come_when_the_app_has_them(guard, token):
    made = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        for piece in (b"a", b"b"):
            made.append(piece)
            yield piece

    answer = iter(Exchange(guard(app), token).answer)
    assert (next(answer), made) == (b"a", [b"a"])
    assert (next(answer), made) == (b"b", [b"a", b"b"])


def test_an_app_may_start_its_response_with_the_first_piece(guard, token):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"late"

    exchange = Exchange(guard(app), token)
    assert exchange.status is None
    assert list(exchange.answer) == [b"late"]
    assert dict(exchange.headers)["Cache-Control"] == "no-store"


def test_an_app_may_write(guard, token):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])(b"written")
        return [b"returned"]

    exchange = Exchange(guard(app), token)
    assert (exchange.events, exchange.answer) == ([b"written"], [b"returned"])


def test_an_app_that_failed_may_start_anew(guard, token):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("oops")
        except ValueError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    exchange = Exchange(guard(app), token)
    assert (exchange.status, exchange.exc_info[0]) == ("500 Internal Server Error", ValueError)
    assert dict(exchange.headers)["Cache-Control"] == "no-store"


def test_once_headers_are_sent_the_servers_error_reaches_the_app(guard, token):
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"sent")
        try:
            raise ValueError("oops")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())
        return []

    with pytest.raises(ValueError, match="oops"):
        Exchange(guard(app), token)


def test_an_error_of_the_app_is_the_servers_to_see(guard, token):
    def app(environ, start_response):
        raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        Exchange(guard(app), token)


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_app_gave_is_closed_once(guard, token, fails):
    def pieces():
        yield b"a"
        if fails:
            raise ValueError("oops")

    stream = Stream(pieces())
    response = Exchange(guard(streaming(stream)), token)
    try:
        for _ in response.answer:
            pass
    except ValueError:
        assert fails
    finally:
        response.answer.close()
    assert stream.closed == 1


@pytest.mark.parametrize("name", ["Cache-Control", "cache-control", "CACHE-CONTROL"])
def test_an_app_may_set_its_own_cache_control(guard, token, name):
    headers = [("Content-Type", "text/plain"), (name, "private, max-age=60")]

    def app(environ, start_response):
        start_response("200 OK", headers)
        return []

    assert Exchange(guard(app), token).headers == [*headers, ("Vary", "Authorization")]


def test_the_list_of_headers_that_an_app_keeps_is_left_alone(guard, token):
    kept = [("Content-Type", "text/plain")]

    def app(environ, start_response):
        start_response("200 OK", kept)
        return []

    exchange = Exchange(guard(app), token)
    assert (kept, exchange.headers[-1]) == ([("Content-Type", "text/plain")], ("Cache-Control", "no-store"))


class Untouchable:
    """An input that nobody may read."""

    def __getattr__(self, name):
        raise AssertionError(f"the input's {name} was used")


@pytest.mark.parametrize("role", [None, "subscriber", "moderator"])
@pytest.mark.parametrize("policies", [[], ["asked"]])
def test_the_body_is_left_to_the_app(make_kit, role, policies):
    class Abstains:
        @hookimpl
        def rolecall_vote_access(self, request):
            return None

    kit = make_kit(plugins=[Abstains() for _ in policies])
    token = kit.create_session().generate_token(role) if role else None
    guarded = require_role("moderator", kit=kit, session_param=None)(lambda environ, start: [environ["wsgi.input"]])

    def server(environ, start_response):
        environ["wsgi.input"] = Untouchable()
        return guarded(environ, start_response)

    exchange = Exchange(server, token, method="POST", body=b"{}")
    assert (exchange.answer == [exchange.environ["wsgi.input"]]) is (role == "moderator")


def test_an_app_behind_two_guards_reads_its_whole_body(kit, token):
    app = ANY_SESSION(
        require_role("moderator", kit=kit, session_param=None)(lambda environ, start: [environ["wsgi.input"].read()])
    )
    exchange = Exchange(RolecallMiddleware(app, kit), token, method="POST", body=b"x" * 100_000)
    assert exchange.answer == [b"x" * 100_000]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("role", [None, "subscriber", "moderator"])
@pytest.mark.parametrize("path", ["/rooms/1", "/rooms//1", "/health", "/lobby"])
def test_both_sides_of_a_guard_keep_to_pep_3333(kit, session, room, method, role, path):
    guard = require_role("moderator", kit=kit, prefixes=["/rooms"])
    app = validator(protect(validator(room), guard, public=["/health"]))
    token = session.generate_token(role) if role else None
    response = ask(app, path, token, method, data=b"body" if method == "POST" else None)
    assert response.status_code in (200, 204, 400, 401, 403)


# -- policies and events ---------------------------------------------------------------------------


class Door:
    """A policy that votes as it is told, and remembers what it was asked."""

    def __init__(self, vote=None):
        self.vote, self.asked = vote, []

    @hookimpl
    def rolecall_vote_access(self, request):
        self.asked.append(request)
        return self.vote


class AsyncDoor(Door):
    @hookimpl
    async def rolecall_vote_access(self, request):
        self.asked.append(request)
        return self.vote


@pytest.mark.parametrize("door", [Door, AsyncDoor])
@pytest.mark.parametrize(
    ("vote", "status", "text"),
    [
        (None, 200, "moderator"),
        (Allow(), 200, "moderator"),
        (Deny("not today", code="closed"), 403, "closed"),
        (Allow(max_role="publisher"), 403, "insufficient_role"),
        (True, 503, "policy_fault"),
    ],
)
def test_policies_are_asked(make_kit, room, door, vote, status, text, caplog):
    kit = make_kit(plugins=[policy := door(vote)])
    app = require_role("moderator", kit=kit, prefixes=["/rooms/{session_id}"])(room)
    session = kit.create_session()
    response = ask(app, f"/rooms/{session.session_id}/mute", session.generate_token("moderator"), "POST")
    assert response.status_code == status
    assert (response.json["code"] if response.is_json else response.text) == text
    [request] = policy.asked
    assert (request.session_id, request.requirement.scope) == (session.session_id, "role:moderator")
    assert (request.http.method, request.http.framework) == ("POST", "wsgi")
    assert request.http.route == f"/rooms/{session.session_id}/mute"
    assert request.http.path_params == {"session_id": session.session_id}


def test_what_a_policy_leaves_of_a_grant_is_what_the_app_gets(make_kit, room):
    kit = make_kit(plugins=[Door(Allow(max_role="subscriber"))])
    app = require_token(kit=kit, session_param=None)(room)
    assert ask(app, token=kit.create_session().generate_token("moderator")).text == "subscriber"


def test_a_policy_is_not_asked_where_nothing_is_guarded(make_kit, room):
    kit = make_kit(plugins=[door := Door()])
    app = RolecallMiddleware(protect(room, require_token(prefixes=["/rooms"]), public=["/rooms/poster"]), kit)
    token = kit.create_session().generate_token()
    ask(app, "/lobby", token)
    ask(app, "/rooms/poster", token)
    ask(app, "/rooms", token, "OPTIONS")
    assert door.asked == []


class Audit:
    def __init__(self):
        self.events = []

    @hookimpl
    def rolecall_on_event(self, event):
        self.events.append(event)


@pytest.mark.parametrize("with_policy", [False, True])
def test_refusals_are_told(make_kit, room, with_policy):
    kit = make_kit(plugins=[audit := Audit(), *([Door()] if with_policy else [])])
    session = kit.create_session()
    app = require_role("moderator", kit=kit, prefixes=["/rooms/{session_id}"])(room)
    token, path = session.generate_token("subscriber"), f"/rooms/{session.session_id}"
    audit.events.clear()
    ask(app, path)
    ask(app, path, "abc")
    ask(app, path, token)
    ask(app, "/rooms/x", token)
    ask(app, f"/rooms/../rooms/{session.session_id}", token)
    told = [(event.name, event.code, event.session_id, event.http.framework) for event in audit.events]
    assert told == [
        ("access_refused", "missing_token", session.session_id, "wsgi"),
        ("access_refused", "malformed_token", session.session_id, "wsgi"),
        ("access_refused", "insufficient_role", session.session_id, "wsgi"),
        ("access_refused", "wrong_session", "x", "wsgi"),
        ("access_refused", "invalid_request", None, "wsgi"),
    ]


def test_a_fault_of_the_kit_lets_nobody_in(kit, session, room, monkeypatch, caplog):
    token = session.generate_token()
    monkeypatch.setattr(kit.engine.state.store, "has_ended", lambda session_id: 1 / 0)
    with caplog.at_level(logging.CRITICAL):
        response = ask(require_token(kit=kit, session_param=None)(room), token=token)
    assert (response.status_code, room.requests) == (500, [])
    assert b"ZeroDivision" not in response.data


# -- with Bottle -----------------------------------------------------------------------------------


@pytest.fixture
def bottle_rooms(kit):
    rooms = bottle.Bottle()

    @rooms.get("/rooms/<session_id>")
    def read(session_id):
        return {"you_are": current_grant(bottle.request.environ).role}

    @rooms.post("/rooms/<session_id>/questions")
    def ask_a_question(session_id):
        return {"asked": bottle.request.json["text"]}

    @rooms.get("/rooms/<session_id>/log")
    def log(session_id):
        yield "one "
        yield "two"

    @rooms.get("/fails/<session_id>")
    def fail(session_id):
        bottle.abort(418, "no coffee")

    guarded = protect(rooms, require_token(prefixes=["/rooms/{session_id}", "/fails/{session_id}"]))
    return validator(RolecallMiddleware(guarded, kit))


def test_bottle_serves_who_may_enter(bottle_rooms, session):
    path, token = f"/rooms/{session.session_id}", session.generate_token("subscriber")
    assert ask(bottle_rooms, path, token).json == {"you_are": "subscriber"}
    assert ask(bottle_rooms, path).json["code"] == "missing_token"


def test_bottle_reads_the_body_of_a_guarded_request(bottle_rooms, session):
    path, headers = f"/rooms/{session.session_id}/questions", {"Authorization": f"Bearer {session.generate_token()}"}
    response = ask(bottle_rooms, path, method="POST", headers=headers, json={"text": "why?"})
    assert response.json == {"asked": "why?"}


def test_bottle_streams_behind_a_guard(bottle_rooms, session):
    response = ask(bottle_rooms, f"/rooms/{session.session_id}/log", session.generate_token())
    assert (response.text, response.headers["Cache-Control"]) == ("one two", "no-store")


def test_errors_of_bottle_are_its_own(bottle_rooms, session):
    response = ask(bottle_rooms, f"/fails/{session.session_id}", session.generate_token())
    assert (response.status_code, "no coffee" in response.text) == (418, True)
    assert ask(bottle_rooms, "/nowhere").status_code == 404


def test_an_app_that_bottle_mounts_can_be_guarded(kit, session, room):
    outer = bottle.Bottle()
    outer.mount("/räume/", require_token(kit=kit, prefixes=["/böse–"])(room))
    path = "/räume/böse–".encode().decode("latin-1")
    assert ask(outer, path).status_code == 401
    assert json.loads(ask(outer, path).data)["code"] == "missing_token"


def test_a_whole_app_may_be_marked_as_public_and_answers_as_before(kit):
    app = public(bottle_app())
    assert [line.requires for line in routes_of(app)] == ["public"]
    assert [line.requires for line in routes_of(require_token(kit=kit, session_param=None)(app))] == ["token"]


# -- ways around a guard that were once open -------------------------------------------------------


@pytest.mark.parametrize(
    "prefixes",
    [
        ["/rooms/{session_id}", "/rooms/{other}/copy/{session_id}"],
        ["/rooms/{session_id}", "/{tenant}/{room}/copy/{session_id}"],
    ],
)
def test_a_path_that_names_two_sessions_lets_nobody_in(kit, room, session, prefixes):
    app = require_role("moderator", kit=kit, prefixes=prefixes)(room)
    token, other = session.generate_token("moderator"), kit.create_session()
    assert ask(app, f"/rooms/{other.session_id}/copy/{session.session_id}", token).status_code == 400
    assert ask(app, f"/rooms/{session.session_id}/copy/{session.session_id}", token).status_code == 200
    assert len(room.requests) == 1


@pytest.mark.parametrize("hidden", ["%2e%2e", ".%2e", "%2e%2e/%2e", ".\xff."])
def test_a_session_that_hides_behind_dots_lets_nobody_in(kit, room, session, hidden):
    app = require_token(kit=kit, prefixes=["/rooms/{session_id}"])(room)
    other = kit.create_session().session_id
    path = f"/rooms/{session.session_id}/{hidden}/{other}"
    assert ask(app, path, session.generate_token()).status_code == 400
    assert room.requests == []


def test_a_middleware_within_a_guard_does_not_widen_what_policies_left(make_kit):
    class Quiet:
        @hookimpl
        def rolecall_vote_access(self, request):
            return Allow(max_role="subscriber")

    kit, room = make_kit(plugins=[Quiet()]), Room()
    app = protect(RolecallMiddleware(room, kit), require_token(kit=kit, session_param=None))
    token = kit.create_session().generate_token("moderator")
    assert ask(app, "/", token).text == "subscriber"


# -- apps that read their paths in another way than the guard ----------------------------------------


def reads_as_http_server_apps_do(environ):
    return urlparse("http://h" + environ["PATH_INFO"]).path


def reads_the_target_as_a_url(environ):
    return urlparse(environ["PATH_INFO"]).path


def strips_white_space(environ):
    return environ["PATH_INFO"].encode("latin-1").decode().strip()


def hands_on_to_a_servlet_container(environ):
    segments = [segment.partition(";")[0] for segment in environ["PATH_INFO"].split("/")]
    return posixpath.normpath("/".join(segments))


def hands_on_as_a_url(environ):
    return posixpath.normpath(unquote(urlsplit("http://h" + environ["PATH_INFO"]).path))


@pytest.mark.parametrize(
    "reads",
    [
        reads_as_http_server_apps_do,
        reads_the_target_as_a_url,
        strips_white_space,
        hands_on_to_a_servlet_container,
        hands_on_as_a_url,
    ],
)
@pytest.mark.parametrize(
    "sent",
    [
        *("/admin;x=1", "/admin%3Bx", "/admin%253Bx", "/admin%3Fx", "/admin%23x", "/admin%253Fx", "/;/admin"),
        *("/x/..;/admin", "/x/..%3B/admin", "/x/..%253B/../admin", "/admin;a/..", "/./admin", "/admin%2e"),
        *(
            "a:/admin",
            "http:/admin",
            "x/admin",
            "\xef\xbb\xbf/admin",
            "/admin ",
            "/admin\xc2\x85",
            "/admin\xe2\x80\xa8",
        ),
    ],
)
def test_an_app_that_reads_paths_in_its_own_way_serves_nothing_guarded(kit, reads, sent):
    served = []

    def app(environ, start_response):
        served.append(reads(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    guarded = require_role("moderator", kit=kit, prefixes=["/admin"])(app)
    ask(guarded, unquote(sent, "latin-1"))
    assert [path for path in served if path == "/admin" or path.startswith("/admin/")] == []


@pytest.mark.parametrize("between", ["/../", "/..;/", "/..;x=1/", "/..%3B/", "/..%253B/", "/%2e%2e;/", ";/../"])
def test_a_moderator_of_one_room_reaches_no_other_room(kit, session, between):
    served = []

    def app(environ, start_response):
        served.append(hands_on_to_a_servlet_container(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    client = Client(require_role("moderator", kit=kit, prefixes=["/rooms/{session_id}"])(app))
    theirs = kit.create_session().session_id
    headers = {"Authorization": f"Bearer {session.generate_token('moderator')}"}
    answer = client.get(f"/rooms/{session.session_id}{between}{theirs}/kick", headers=headers)
    assert (answer.status_code, served) == (400, [])


# -- an answer in the app's own style ---------------------------------------------------------------


def own_page(error, environ):
    def page(environ, start_response):
        start_response("418 I'm a Teapot", [("Content-Type", "text/plain")])
        return [f"{error.code} at {environ['PATH_INFO']}".encode()]

    return page


@pytest.mark.parametrize(
    "guard",
    [
        lambda **options: require_role("moderator", prefixes=["/admin"], **options),
        lambda **options: require_capability("force_unpublish", prefixes=["/admin"], **options),
        lambda **options: require_token(prefixes=["/admin"], **options),
    ],
)
def test_the_app_answers_a_refusal_in_its_own_style(kit, room, guard):
    app = guard(kit=kit, on_refusal=own_page)(room)
    answers = [ask(app, "/admin"), ask(app, "/admin", "abc"), ask(app, "/admin/../x")]
    assert [answer.text for answer in answers] == [
        "missing_token at /admin",
        "malformed_token at /admin",
        "invalid_request at /admin/../x",
    ]
    assert {(answer.status_code, answer.headers["Cache-Control"]) for answer in answers} == {(418, "no-store")}
    assert room.requests == []


def test_where_the_app_has_no_answer_of_its_own_the_kit_answers(kit, session, room):
    def only_without_a_token(error, environ):
        return own_page(error, environ) if error.code == "missing_token" else None

    app = require_role("moderator", kit=kit, session_param=None, on_refusal=only_without_a_token)(room)
    assert ask(app).status_code == 418
    assert ask(app, token=session.generate_token()).json["code"] == "insufficient_role"


def test_the_apps_own_answer_to_a_url_with_a_token_sends_it_nowhere(make_kit, room):
    kit = make_kit(web=Web(query="access_token"))
    app = require_token(kit=kit, session_param=None, on_refusal=own_page)(room)
    answer = ask(app, "/", query_string="access_token=abc")
    assert (answer.status_code, answer.headers["Referrer-Policy"]) == (418, "no-referrer")


def test_an_answer_of_the_apps_own_that_fails_lets_nobody_in(kit, room):
    app = require_token(kit=kit, session_param=None, on_refusal=untyped(lambda error, environ: 1 / 0))(room)
    with pytest.raises(ZeroDivisionError):
        ask(app)
    assert room.requests == []


@pytest.mark.parametrize("wrong", ["page", 418, True])
def test_what_cannot_answer_is_refused_where_the_guard_is_made(wrong):
    with pytest.raises(ConfigurationError, match=r"on_refusal is .*expected a function"):
        require_token(session_param=None, on_refusal=wrong)


# -- optional, exact, and a function that finds the session ------------------------------------------


def whose(environ, start_response):
    grant = find_grant(environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(grant.role if grant else "nobody").encode()]


def test_an_optional_guard_lets_in_without_a_token_and_refuses_a_bad_one(kit, session):
    app = require_token(kit=kit, optional=True, prefixes=["/rooms/{session_id}"])(whose)
    path = f"/rooms/{session.session_id}"
    other = kit.create_session().generate_token("moderator")
    assert [ask(app, path).text, ask(app, path, session.generate_token()).text] == ["nobody", "publisher"]
    assert [ask(app, path, token).status_code for token in ("abc", other)] == [401, 403]
    assert ask(app, path, headers={"Authorization": "Basic dXNlcjpwYXNz"}).text == "nobody"


def test_an_exact_role_is_that_role_and_no_other(kit, session):
    app = require_role("publisher", exact=True, kit=kit, session_param=None)(whose)
    admitted = [role for role in ROLES if ask(app, token=session.generate_token(role)).status_code == 200]
    assert admitted == ["publisher"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_finds_the_session_in_the_environment(kit, session, is_async):
    rooms = {"/1": session.session_id, "/2": kit.create_session().session_id, "/3": None}
    asked = []

    def find(environ):
        asked.append(environ["PATH_INFO"])
        return rooms[environ["PATH_INFO"]]

    async def find_async(environ):
        return find(environ)

    app = require_role("moderator", kit=kit, session=find_async if is_async else find)(whose)
    token = session.generate_token("moderator")
    assert [ask(app, path).status_code for path in rooms] == [401] * 3
    assert asked == []
    assert [ask(app, path, token).status_code for path in rooms] == [200, 403, 403]
    assert asked == list(rooms)


@pytest.mark.parametrize("prefixes", [[], ["/rooms/{room}"], ["/rooms/{sessionId}"]])
def test_a_guard_that_is_not_told_of_the_session_stops_at_import(prefixes):
    with pytest.raises(ConfigurationError, match="session_param=None if a token for any session is enough"):
        require_token(prefixes=prefixes)
