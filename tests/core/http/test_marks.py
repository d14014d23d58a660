"""The marks that guards leave: which guards a view has, which it misses, and what is open to all."""

from __future__ import annotations

from functools import partial, wraps

import flask
import pytest
from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.routing import Host, Mount, WebSocketRoute
from starlette.routing import Route as StarletteRoute

from rolecall.errors import ConfigurationError
from rolecall.http.api.routing import Route
from rolecall.http.guards.guard import Guard as BaseGuard
from rolecall.http.guards.marks import (
    class_of,
    guards_of,
    handler_of,
    ids_of,
    is_public,
    late_guards,
    mark_guarded,
    mark_own,
    missed_guards,
    own_kit,
    own_route,
    public,
)
from rolecall.roles import ANY_TOKEN, Requirement

from ...untyped import untyped


class Guard(BaseGuard):
    """The least that a guard is: it wraps, and leaves its mark."""

    def __init__(self, requirement=ANY_TOKEN, **options):
        super().__init__(requirement, **options)

    def __call__(self, view):
        @wraps(view)
        def guarded(*args, **kwargs):
            return view(*args, **kwargs)

        mark_guarded(guarded, self, view)
        return guarded


def wrapper_of(view):
    @wraps(view)
    def guarded(*args, **kwargs):
        return view(*args, **kwargs)

    return guarded


def guarded_elsewhere(guard, view):
    """What a factory does with a view that it is given."""
    return guard(view)


def view():
    return "view"


@pytest.fixture
def bare():
    def bare():
        return "bare"

    return bare


@pytest.fixture
def guard():
    return Guard()


@pytest.fixture
def other():
    return Guard(Requirement.of_role("moderator"))


def test_a_view_without_a_guard_has_none(bare):
    assert guards_of(bare) == []


def test_the_guards_of_a_view_are_listed_from_the_outermost(bare, guard, other):
    assert guards_of(guard(other(bare))) == [guard, other]


def test_a_guard_is_seen_through_decorators_that_say_what_they_wrap(bare, guard):
    @wraps(guarded := guard(bare))
    def decorated():
        return guarded()

    assert guards_of(decorated) == guards_of(partial(decorated)) == [guard]


def test_a_target_that_is_guarded_twice_keeps_both_guards(guard, other):
    class Target:
        pass

    target = Target()
    mark_guarded(target, guard)
    mark_guarded(target, other)
    assert guards_of(target) == [other, guard]


def test_a_class_has_the_guards_of_its_bases(guard, other):
    class Base:
        pass

    class Child(Base):
        pass

    mark_guarded(Base, guard)
    mark_guarded(Child, other)
    assert (guards_of(Child), guards_of(Base)) == ([other, guard], [guard])


def test_a_view_that_nobody_guards_misses_none(bare):
    assert missed_guards(bare, ids_of([bare])) == []


def test_a_guard_above_the_route_decorator_is_missed(guard):
    def bare(): ...

    mark_guarded(wrapper_of(bare), guard, bare)
    assert missed_guards(bare, ids_of([bare])) == [guard]


def test_a_guard_between_two_route_decorators_is_missed_at_the_lower_one(guard):
    def bare(): ...

    guarded = guard(bare)
    assert missed_guards(bare, ids_of([bare, guarded])) == [guard]
    assert missed_guards(guarded, ids_of([bare, guarded])) == []


def test_a_view_that_an_app_has_with_and_without_its_guard_misses_it_whoever_put_it_on(bare, guard):
    guarded = guarded_elsewhere(guard, bare)
    assert missed_guards(bare, ids_of([bare, guarded])) == [guard]


def test_what_a_factory_guards_in_one_app_says_nothing_about_another(bare, guard):
    guarded_elsewhere(guard, bare)
    assert missed_guards(bare, ids_of([bare])) == []


def test_no_guard_is_missed_of_a_view_that_is_meant_to_be_open(guard):
    @public
    def bare(): ...

    guarded = guard(bare)
    assert missed_guards(bare, ids_of([bare, guarded])) == []


def test_no_guard_is_missed_where_one_around_demands_no_less(guard, other):
    def bare(): ...

    mark_guarded(wrapper_of(bare), guard, bare)
    assert missed_guards(bare, ids_of([bare]), [Guard()]) == []
    mark_guarded(wrapper_of(bare), other, bare)
    assert missed_guards(bare, ids_of([bare]), [guard]) == [other]


def test_a_guard_above_a_registered_view_is_missed_though_there_is_another_below(guard, other):
    def bare(): ...

    registered = guard(bare)
    mark_guarded(wrapper_of(registered), other, registered)
    assert missed_guards(registered, ids_of([registered])) == [other]


def test_no_guard_is_missed_of_a_view_that_has_them_all(bare, guard, other):
    registered = guard(other(bare))
    assert missed_guards(registered, ids_of([registered])) == []


def test_a_guard_of_another_view_made_from_the_same_function_is_not_missed(bare, guard, other):
    guard(bare)
    registered = other(bare)
    assert missed_guards(registered, ids_of([registered])) == []


def test_a_guard_that_its_class_got_after_the_view_was_made_is_late(bare, guard):
    class View:
        pass

    bare.view_class = View
    assert late_guards(bare) == []
    mark_guarded(View, guard)
    assert late_guards(bare) == [guard]
    assert late_guards(bare, [guard]) == []


def test_a_class_that_a_factory_guards_for_one_app_is_not_late_for_another(bare, guard):
    def guard_class(view_class):
        mark_guarded(view_class, guard)

    class View:
        pass

    bare.view_class = View
    guard_class(View)
    assert late_guards(bare) == []


def test_a_guard_that_a_view_has_from_its_class_is_not_late(bare, guard):
    class View:
        pass

    bare.view_class = View
    mark_guarded(View, guard)
    assert late_guards(guard(bare)) == []


def test_a_class_is_not_late_for_itself(guard):
    class Endpoint:
        pass

    mark_guarded(Endpoint, guard)
    assert late_guards(Endpoint) == []


def test_the_class_of_a_view_is_found_through_what_wraps_it(bare, guard):
    class View:
        pass

    bare.view_class = View
    assert class_of(guard(bare)) is class_of(View) is View
    assert class_of(view) is class_of(None) is None


def test_head_is_answered_by_get_unless_there_is_a_method_for_it():
    class View:
        def get(self): ...

    class WithHead(View):
        def head(self): ...

    assert handler_of(View, "HEAD") is View.get
    assert handler_of(WithHead, "HEAD") is WithHead.head
    assert handler_of(View, "POST") is None


def test_a_mark_of_public_is_seen_through_what_wraps_the_view(bare, guard):
    assert not is_public(bare, "GET")
    assert is_public(guard(public(bare)), "GET")


def test_a_public_method_opens_no_other():
    class View:
        @public
        def get(self): ...

        def post(self): ...

    assert [is_public(View, method) for method in ("GET", "HEAD", "POST", "PUT")] == [True, True, False, False]


def test_a_public_class_does_not_open_its_subclasses():
    @public
    class View: ...

    class Child(View): ...

    assert (is_public(View, "GET"), is_public(Child, "GET")) == (True, False)


@pytest.mark.parametrize("target", ["text", None, "".join])
def test_what_takes_no_mark_is_refused(target):
    with pytest.raises(ConfigurationError):
        public(target)


@pytest.mark.parametrize(
    ("target", "kind", "inner"),
    [
        (StarletteRoute("/x", view), "Route", "endpoint"),
        (WebSocketRoute("/x", view), "WebSocketRoute", "endpoint"),
        (Mount("/x", routes=[]), "Mount", "endpoints"),
        (Host("x", app=Starlette()), "Host", "endpoints"),
        (APIRouter(), "APIRouter", "endpoints"),
        (flask.Blueprint("x", __name__), "Blueprint", "endpoints"),
    ],
)
def test_a_route_or_a_group_of_them_is_not_marked_but_what_is_in_it(target, kind, inner):
    message = f"^public marks an endpoint, an endpoint class or an app, not a {kind}; mark its {inner}$"
    with pytest.raises(ConfigurationError, match=message):
        public(target)


@pytest.mark.parametrize("app", [flask.Flask(__name__), Starlette()], ids=["flask", "starlette"])
def test_an_app_takes_the_mark(app):
    assert is_public(public(app), "GET")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("moderator", r"^pass a guard: require_role\('moderator'\)$"),
        (view, r"^pass a guard of .*, such as require_role\('moderator'\), not a value of type function$"),
        ("", r"^pass a guard: require_role\(''\)$"),
        (0, r"^pass a guard of .*, not 0$"),
    ],
)
def test_what_is_no_guard_is_not_taken_for_one(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        Guard.check(wrong)


def test_a_view_of_the_kit_knows_its_route(bare):
    route, kit = Route("/sessions", "sessions", {}), untyped(object())
    assert own_route(mark_own(bare, route, kit)) is route
    assert own_kit(bare) is kit
    assert (own_route(view), own_kit(view)) == (None, None)
