"""How times and creators stand in the Redis store's keys; no server is asked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.errors import StoreUnavailable
from rolecall.stores.redis_records import as_record, as_row, creator, moment_of, packed, sortable

MOMENTS = st.floats(allow_nan=False, allow_infinity=False)
CREATORS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(MOMENTS, min_size=2))
def test_times_sort_by_their_bytes_and_return(moments):
    moments = sorted(moments)
    assert [moment_of(sortable(moment)) for moment in moments] == moments
    for earlier, later in pairwise(moments):
        assert (sortable(earlier) < sortable(later)) is (earlier < later)


@given(CREATORS, CREATORS)
def test_no_creator_begins_anothers(one, other):
    assert creator(one).startswith(creator(other)) is (one == other)


@given(MOMENTS, CREATORS, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_record_returns_as_it_was(created_at, created_by, properties):
    assert as_row("1_abc", packed(created_at, created_by, properties)) == ("1_abc", properties, created_at, created_by)


@pytest.mark.parametrize(
    "kept", [b"", b"1795186800.0 {}", packed(7.5, "Zoë", "{}")[:13], packed(7.5, None, "[]"), b"\xff" * 40]
)
def test_a_damaged_record_is_unavailable(kept):
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        as_record("1_abc", kept, None)
