"""Names of rooms where a service takes less than a session id can be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.media.rooms import derived_room

LOWER = re.compile("[a-z0-9_-]+")


@pytest.mark.parametrize("name", ["demo", "a" * 60, "room_7-b"])
def test_a_name_that_fits_is_the_rooms(name):
    assert derived_room(name, LOWER, 60) == name


@pytest.mark.parametrize("name", ["Demo", "a" * 61, "zoë", "rc-demo", "rc-" + "0" * 40, "1_MX4xMjM0NTZ-fjE"])
def test_another_gets_a_name_that_fits(name):
    room = derived_room(name, LOWER, 60)
    assert re.fullmatch("rc-[0-9a-f]{40}", room)
    assert LOWER.fullmatch(room)


@given(st.lists(st.text("aAbB-rc_é", min_size=1), min_size=2, unique=True))
def test_no_two_sessions_share_a_room(names):
    assert len({derived_room(name, LOWER, 60) for name in names}) == len(names)


def test_a_session_named_as_anothers_room_gets_another_room():
    room = derived_room("Demo", LOWER, 60)
    assert derived_room(room, LOWER, 60) != room
