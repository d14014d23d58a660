"""The list of an app's routes: how what an adapter finds becomes lines, whatever the framework."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rolecall.http.api.rest import ROUTES
from rolecall.http.guards.audit import Access, Around, Found, list_routes
from rolecall.http.guards.guard import UNSAID
from rolecall.http.guards.guard import Guard as BaseGuard
from rolecall.http.guards.marks import guarded_by, mark_guarded, mark_own, public
from rolecall.http.guards.paths import PathPattern
from rolecall.roles import ANY_TOKEN, Requirement, Role

from ...untyped import untyped

MODERATOR = Requirement.of_role(Role.MODERATOR)


class Guard(BaseGuard):
    def __init__(self, requirement=MODERATOR, session_param=UNSAID, **options) -> None:
        super().__init__(requirement, None, session_param, **options)


class App:
    """An app that is what it says it is."""

    def __init__(self, *found: Found) -> None:
        self.found = list(found)


def adapter(app):
    return app.found if isinstance(app, App) else None


def lines(*found: Found):
    return list_routes(App(*found), [adapter])


def required(*found: Found) -> list[tuple[tuple[str, ...], str, str]]:
    return [(line.methods, line.path, line.requires) for line in lines(*found)]


def codes(*found: Found) -> list[str]:
    return [mistake.code for line in lines(*found) for mistake in line.mistakes]


@pytest.fixture
def view():
    def view(): ...

    return view


@pytest.fixture
def guarded():
    def guarded(): ...

    mark_guarded(guarded, Guard())
    return guarded


def unknown(environ, start_response): ...


def below(*prefixes: str, methods=(), public=(), guard=None) -> Around:
    patterns = [tuple(map(PathPattern, paths)) for paths in (prefixes, public)]
    return Around(guard or Guard(), prefixes=patterns[0], methods=frozenset(methods), public=patterns[1])


def test_a_view_without_a_guard_is_open(view):
    assert required(Found("/a", ("GET",), "a", view)) == [(("GET",), "/a", "OPEN")]


def test_a_view_requires_what_its_guard_requires(guarded):
    assert required(Found("/a", ("GET",), "a", guarded)) == [(("GET",), "/a", "role:moderator")]


def test_a_guard_is_bound_to_the_session_that_the_path_names(guarded):
    assert required(Found("/a/{session_id}", ("GET",), "a", guarded))[0][2] == "role:moderator of {session_id}"


def test_a_public_view_is_public(view):
    assert lines(Found("/a", ("GET",), "a", public(view)))[0].access is Access.PUBLIC


def test_a_view_within_a_guard_requires_both(guarded):
    token = Around(Guard(ANY_TOKEN), guarded, frozenset())
    assert required(Found("/a", ("GET",), "a", guarded, (token,)))[0][2] == "token and role:moderator"


def test_what_is_required_twice_is_said_once(guarded):
    around = Around(Guard(), guarded, frozenset())
    assert required(Found("/a", ("GET",), "a", guarded, (around,)))[0][2] == "role:moderator"


def test_a_guard_around_leaves_public_views_open(view):
    around = Around(Guard(), public(view), frozenset())
    assert required(Found("/a", ("GET",), "a", view, (around,)))[0][2] == "public"


def test_a_guard_around_that_does_not_see_the_mark_of_a_view_guards_it(view):
    around = Around(Guard(), None, frozenset())
    assert required(Found("/a", ("GET",), "a", public(view), (around,)))[0][2] == "role:moderator"


def test_a_guard_of_its_own_outweighs_a_public_mark_and_that_is_noted(guarded):
    line = lines(Found("/a", ("GET",), "a", public(guarded)))[0]
    assert (line.access, "marked as public" in line.notes[0]) == (Access.GUARDED, True)


def test_methods_with_different_demands_have_lines_of_their_own():
    class View:
        def get(self): ...

        @public
        def post(self): ...

        def delete(self): ...

    mark_guarded(View.get, Guard())
    found = Found("/a", ("DELETE", "GET", "HEAD", "POST"), "a", View)
    assert required(found) == [
        (("DELETE",), "/a", "OPEN"),
        (("GET",), "/a", "role:moderator"),
        (("POST",), "/a", "public"),
    ]
    assert codes(found) == ["guarded_in_part"]


def test_a_head_of_its_own_has_a_line_of_its_own():
    class View:
        def get(self): ...

        def head(self): ...

    mark_guarded(View.get, Guard())
    found = Found("/a", ("GET", "HEAD"), "a", View)
    assert [methods for methods, _, _ in required(found)] == [("GET",), ("HEAD",)]


def test_the_kit_s_own_routes_say_what_they_require():
    session = next(route for route in ROUTES if route.name == "session")
    found = [
        Found("/a", name="a", own=session),
        Found("/a", ("OPTIONS",), "b", mark_own(lambda: None, session, untyped(None))),
    ]
    assert required(*found) == [
        (("GET",), "/a", "the kit's own (token)"),
        (("DELETE",), "/a", "the kit's own (role:moderator)"),
    ]


def test_a_guard_around_the_kit_s_own_routes_is_shown_unless_it_spares_them():
    view = mark_own(lambda: None, ROUTES[0], untyped(None))
    around = Around(Guard(), view, frozenset())
    spared = Around(Guard(), view, frozenset(), spares_own=True)
    assert required(Found("/a", name="a", view=view, around=(around,)))[0][2].startswith("role:moderator, then the kit")
    assert required(Found("/a", name="a", view=view, around=(spared,)))[0][2].startswith("the kit's own")


def test_what_a_framework_made_is_no_failure(view):
    line = lines(Found("/static", ("GET",), "static", view, made_by="Flask"))[0]
    assert (line.access, line.requires, line.is_good) == (Access.FRAMEWORK, "open, made by Flask", True)


def test_what_a_framework_made_is_guarded_within_a_guard(view):
    around = Around(Guard(), view, frozenset())
    assert lines(Found("/static", ("GET",), "static", view, (around,), made_by="Flask"))[0].access is Access.GUARDED


# -- apps within apps ------------------------------------------------------------------------------


def test_paths_and_guards_of_an_app_are_those_of_all_apps_around_it(view):
    inner = App(Found("/b", ("GET",), "b", view))
    assert required(Found("/a", app=inner, around=(below(),))) == [(("GET",), "/a/b", "role:moderator")]


def test_a_middleware_is_looked_through(view):
    class Middleware:
        def __init__(self, app) -> None:
            self.app = app

        def __call__(self): ...

    class CallableApp(App):
        def __call__(self): ...

    inner = CallableApp(Found("/b", ("GET",), "b", view))
    assert list_routes(Middleware(Middleware(inner)), [adapter])[0].path == "/b"


def test_an_app_that_nobody_knows_is_one_line():
    assert required(Found("/a", app=unknown)) == [(("any",), "/a/…", "OPEN (unknown inside)")]


def test_an_app_that_nobody_knows_may_be_marked_as_public():
    def site(environ, start_response): ...

    assert required(Found("", app=public(site))) == [(("any",), "/…", "public")]


def test_an_app_within_itself_has_an_end():
    app = App()
    app.found.append(Found("/a", app=app))
    assert len(list_routes(app, [adapter])) == 1


# -- guards on paths -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "path", "requires"),
    [
        ("/admin", "/admin", "role:moderator"),
        ("/admin", "/admin/", "role:moderator"),
        ("/admin", "/admin/users/{id}", "role:moderator"),
        ("/admin", "/administrators", "OPEN"),
        ("/admin", "/", "OPEN"),
        ("/admin/users", "/admin", "OPEN"),
        ("/", "/anything", "role:moderator"),
        ("/rooms/{session_id}", "/rooms/{session_id}", "role:moderator of {session_id}"),
        ("/rooms/{session_id}", "/rooms/lobby", "role:moderator of {session_id}"),
        ("/rooms/{session_id}", "/rooms", "OPEN"),
        # Only some of these paths begin so: to rely on it would be to call open what is not guarded.
        ("/admin", "/{page}", "OPEN"),
        ("/admin", "/{page:path}", "OPEN"),
        ("/rooms/{session_id}", "/rooms/{rest:path}", "OPEN"),
        ("/a/b", "/a/{page}.html", "OPEN"),
    ],
)
def test_a_guard_on_a_prefix_covers_the_routes_whose_every_path_begins_with_it(view, prefix, path, requires):
    inner = App(Found(path, ("GET",), "v", view))
    assert required(Found("", app=inner, around=(below(prefix),)))[0][2] == requires


def test_a_guard_that_covers_only_some_paths_of_a_route_is_noted(view):
    inner = App(Found("/{page}", ("GET",), "v", view))
    assert "covers only some" in lines(Found("", app=inner, around=(below("/admin"),)))[0].notes[0]


def test_a_prefix_counts_from_where_its_guard_stands(view):
    inner = App(Found("/admin/x", ("GET",), "v", view))
    outer = App(Found("", app=inner, around=(below("/admin"),)))
    assert required(Found("/site", app=outer))[0] == (("GET",), "/site/admin/x", "role:moderator")


def test_a_guard_on_methods_leaves_the_others_open(view):
    inner = App(Found("/a", ("GET", "POST"), "v", view))
    assert required(Found("", app=inner, around=(below(methods=["POST"]),))) == [
        (("GET",), "/a", "OPEN"),
        (("POST",), "/a", "role:moderator"),
    ]


@pytest.mark.parametrize(
    ("methods", "notes"),
    [
        (["PSOT"], ("its guard is for some methods, and no such method is usual: PSOT",)),
        (["GTE", "POST", "PSOT"], ("its guard is for some methods, and no such method is usual: GTE, PSOT",)),
        (["POST", "PATCH", "QUERY", "PROPFIND"], ()),
    ],
)
def test_a_guard_on_methods_that_nobody_sends_is_noted(view, methods, notes):
    app = App(Found("/a", ("GET",), "v", view))
    assert [line.notes for line in lines(Found("", app=app, around=(below(methods=methods),)))] == [notes]


def test_a_guard_on_methods_that_nobody_sends_is_noted_where_it_stands(view):
    app = App(Found("/a", ("GET",), "v", view), Found("/b", ("GET",), "w", view))
    noted = lines(Found("", app=app, around=(below("/b", methods=["PSOT"]),)))
    assert [bool(line.notes) for line in noted] == [False, True]


def test_an_unknown_app_has_a_line_for_each_path_that_its_guards_tell_apart():
    around = below("/admin", methods=["GET"])
    assert required(Found("", app=unknown, around=(around, below(public=["/health"], guard=Guard(ANY_TOKEN))))) == [
        (("GET",), "/admin/…", "role:moderator and token"),
        (("others",), "/admin/…", "token"),
        (("any",), "/health", "public"),
        (("any",), "/…", "token"),
    ]


def test_an_exact_public_path_is_public_and_what_is_below_it_is_not(view):
    inner = App(Found("/health", ("GET",), "a", view), Found("/health/deep", ("GET",), "b", view))
    around = below(public=["/health"])
    assert [one[2] for one in required(Found("", app=inner, around=(around,)))] == ["public", "role:moderator"]


# -- mistakes --------------------------------------------------------------------------------------


def own(session_param, path="/rooms/{room}"):
    def view(): ...

    mark_guarded(view, Guard(session_param=session_param))
    return Found(path, ("GET",), "v", view)


def test_a_session_by_a_name_that_the_route_does_not_have_is_a_mistake():
    assert codes(own("seat")) == ["no_session_param"]


def test_a_session_by_a_name_that_the_route_does_not_have_is_said_once():
    (line,) = lines(own("seat"))
    assert ([mistake.code for mistake in line.mistakes], line.notes) == (["no_session_param"], ())


def test_a_session_by_a_name_that_the_route_has_is_none():
    assert (codes(own("room")), lines(own("room"))[0].requires) == ([], "role:moderator of {room}")


@pytest.mark.parametrize("path", ["/r/{sessionId}", "/r/{room_id}", "/r/{user}", "/r/{file:path}"])
def test_a_route_with_parameters_of_which_its_guard_binds_none_is_a_mistake_until_it_is_said(path):
    assert codes(own(UNSAID, path)) == ["unsettled_session"]
    assert codes(own(None, path)) == []


def test_a_function_that_finds_the_session_settles_it():
    def served(): ...

    mark_guarded(served, Guard(session=lambda request: "s"))
    line = lines(Found("/r/{room}", ("GET",), "v", served))[0]
    assert (line.mistakes, line.requires) == ((), "role:moderator of the session that the app finds")


def test_a_route_without_parameters_is_about_no_session():
    assert codes(own(UNSAID, "/r")) == []


@pytest.mark.parametrize("name", ["session_id", "sessionId", "session", "sid"])
def test_a_session_in_the_query_that_no_guard_binds_is_a_mistake(name):
    found = replace(own(UNSAID, "/r"), query=frozenset({name, "page"}))
    assert codes(found) == ["unbound_query"]
    assert codes(replace(own(None, "/r"), query=frozenset({name}))) == []


def test_a_room_in_the_query_is_noted():
    line = lines(replace(own(UNSAID, "/r"), query=frozenset({"roomId"})))[0]
    assert (line.mistakes, "'roomId'" in line.notes[0]) == ((), True)


def test_nothing_is_noted_where_the_binding_was_switched_off():
    assert lines(own(None))[0].notes == ()


def test_an_app_of_which_nothing_is_seen_binds_no_session_until_it_is_said():
    assert codes(Found("", app=unknown, around=(Around(Guard()),))) == ["unsettled_session"]
    assert codes(Found("", app=unknown, around=(Around(Guard(session_param=None)),))) == []


def test_a_route_that_something_else_guards_is_not_open():
    @guarded_by("login_required")
    def served(): ...

    line = lines(Found("/a", ("GET",), "v", served))[0]
    assert (line.access, line.requires, line.is_good) == (Access.ELSEWHERE, "guarded by login_required", True)


def test_a_guard_that_does_not_see_the_session_is_a_mistake(view):
    inner = App(Found("/rooms/{session_id}", ("GET",), "v", view))
    assert codes(Found("", app=inner, around=(below(),))) == ["unbound_session"]


def test_one_guard_that_sees_the_session_is_enough(guarded):
    inner = App(Found("/rooms/{session_id}", ("GET",), "v", guarded))
    assert codes(Found("", app=inner, around=(below(),))) == []


def test_a_guard_without_a_kit_is_a_mistake_unless_it_has_its_own(view):
    def served(): ...

    guard = Guard()
    mark_guarded(served, guard)
    found = Found("/a", ("GET",), "v", served, problem="no kit here")
    assert codes(found) == ["no_kit"]
    guard.kit = untyped(object())
    assert codes(found) == []


@pytest.mark.parametrize(("kits", "expected"), [((), ["no_kit"]), ((1,), []), ((1, 1), []), ((1, 2), ["no_kit"])])
def test_a_guard_takes_the_only_kit_around_it(kits, expected):
    app = App(Found("", app=unknown, around=(Around(Guard(session_param=None), problem="none", takes_kit=True),)))
    for kit in kits:
        app = App(Found("", app=app, kits=(kit,)))
    assert [mistake.code for line in list_routes(app, [adapter]) for mistake in line.mistakes] == expected


def test_a_guard_around_the_app_that_gives_the_kit_does_not_see_it():
    inner = App(Found("", app=unknown, kits=(1,)))
    around = Around(Guard(session_param=None), problem="none", takes_kit=True)
    assert codes(Found("", app=inner, around=(around,))) == ["no_kit"]


def test_a_guard_put_on_after_registering_is_a_mistake():
    def view(): ...

    def guarded(): ...

    setattr(guarded, "__wrapped__", view)
    mark_guarded(guarded, Guard(), view)
    assert codes(Found("/a", ("GET",), "v", view)) == ["guard_above_route"]
    assert codes(Found("/a", ("GET",), "v", view), Found("/b", ("GET",), "w", guarded)) == ["guard_above_route"]


def test_a_guard_hidden_by_a_decorator_is_noted(guarded):
    def decorated():
        return guarded()

    line = lines(Found("/a", ("GET",), "v", decorated))[0]
    assert (line.access, "functools.wraps" in line.notes[0]) == (Access.OPEN, True)


def test_a_mistake_that_only_an_adapter_sees_is_kept(guarded):
    from rolecall.http.guards.audit import Mistake

    assert codes(Found("/a", ("GET",), "v", guarded, mistakes=(Mistake("odd", "is odd"),))) == ["odd"]
