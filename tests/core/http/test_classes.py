"""Guards around what classes of views make: no subclass loses one unseen."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.errors import ConfigurationError
from rolecall.http.adapter import guard_made


class View:
    @classmethod
    def as_view(cls, **options: Any) -> str:
        return cls.__name__


def guarded(view_class: type[Any], by: str = "guarded") -> type[Any]:
    guard_made(view_class, "as_view", lambda view: f"{by} {view}")
    return view_class


def subclass(*bases: type[Any], **own: Any) -> Any:
    return type("Sub", bases, own)


class Plain(View):
    pass


class CallsSuper:
    @classmethod
    def as_view(cls, **options: Any) -> Any:
        return super().as_view(**options)  # type: ignore[misc]


class CallsBase:
    @classmethod
    def as_view(cls, **options: Any) -> Any:
        return Base.as_view.__func__(cls, **options)


class PassesBy:
    @classmethod
    def as_view(cls, **options: Any) -> Any:
        return View.as_view.__func__(cls, **options)  # type: ignore[attr-defined]


Base = guarded(type("Base", (View,), {}))


@pytest.mark.parametrize(
    ("bases", "made"),
    [
        ((), "guarded Sub"),
        ((Plain,), "guarded Sub"),
        ((CallsSuper,), "guarded Sub"),
        ((guarded(type("Other", (View,), {}), "twice"),), "twice guarded Sub"),
        ((guarded(type("Calling", (CallsSuper, View), {}), "twice"),), "twice guarded Sub"),
        ((PassesBy,), None),
        ((type("Between", (PassesBy, View), {}),), None),
        ((guarded(type("Passing", (View,), dict(vars(PassesBy)))),), None),
    ],
)
def test_a_subclass_has_the_guard_or_is_refused(bases, made):
    if made is None:
        with pytest.raises(ConfigurationError, match=r"in the place of that of Base, which has a guard"):
            subclass(*bases, Base)
        made, bases = "guarded Sub", ()
    assert subclass(*bases, Base).as_view() == made


def test_a_subclass_may_name_its_base():
    own = dict(vars(CallsBase))
    assert subclass(Base, **own).as_view() == "guarded Sub"
    assert subclass(subclass(Base)).as_view() == "guarded Sub"
