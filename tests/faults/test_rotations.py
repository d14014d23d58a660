"""Few rotations under load, and that what is done in the wrong order is noticed."""

from __future__ import annotations

import pytest

from . import rotations

pytestmark = pytest.mark.process


@pytest.mark.parametrize("way", rotations.WAYS.values(), ids=rotations.WAYS)
def test_a_rotation_under_load_refuses_nothing_good_and_accepts_nothing_retired(way):
    checked, faults = way(2)
    assert (faults, checked > 100) == ([], True)


def test_a_key_that_signs_before_others_know_it_is_a_fault():
    # On a busy machine no worker may come upon such a token before it knows the key.
    rounds = (rotations.run_releases(1, publishes=False)[1] for _ in range(20))
    assert "a good token" in "".join(next(filter(None, rounds)))
