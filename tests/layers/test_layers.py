"""The layers of the house: each module imports only what stands below it, and nothing runs in a circle."""

from __future__ import annotations

from functools import cache

from .house import LEVELS, arrows_up, circles, graph, modules

house = cache(graph)


def test_no_module_imports_what_stands_above_it():
    assert arrows_up(house()) == []


def test_nothing_imports_in_a_circle():
    assert circles(house()) == []


def test_every_room_has_a_layer():
    assert {module.partition(".")[0] for module in modules()} <= set(LEVELS)


def test_an_arrow_up_and_a_circle_are_found():
    drawn = {"errors": {"kit"}, "kit": {"errors"}, "roles": {"errors"}}
    assert arrows_up(drawn) == [("errors", "kit")]
    assert circles(drawn) == [["errors", "kit"]]
