"""The ledger of the PostgreSQL store: pages by an index."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.errors import StoreUnavailable
from rolecall.stores.ledger import IssuedToken, TokenPage
from rolecall.stores.sql_ledger import _listing

from ...conftest import NOW

pytestmark = pytest.mark.server


@pytest.mark.parametrize("after", [None, (NOW, "0.a")])
@pytest.mark.parametrize(
    ("session_id", "actor_id", "index"),
    [
        (None, None, "rolecall_tokens_issued"),
        ("1_a", None, "rolecall_tokens_session"),
        (None, "ada", "rolecall_tokens_actor"),
        ("1_a", "ada", "rolecall_tokens_(session|actor)"),
    ],
)
def test_a_page_is_read_from_an_index_in_its_order(connect, url, raw, session_id, actor_id, index, after):
    connect(url).migrate()
    statement, values = _listing(TokenPage(10, NOW, session_id, actor_id, after))
    with raw.transaction():
        raw.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(line for (line,) in raw.execute(b"EXPLAIN " + statement, values))
    assert "Sort" not in plan
    assert any(f"using {one}" in plan for one in _choices(index))


def _choices(index: str) -> list[str]:
    beginning, _, ends = index.partition("(")
    return [beginning + end for end in ends.rstrip(")").split("|")]


def test_what_postgresql_cannot_hold_is_refused(connect, url) -> None:

    store = connect(url)
    good = IssuedToken("1_a", "0.a", "ada", "publisher", NOW, NOW + 1)
    wrong: dict[str, Any] = {"session_id": "a\0", "actor_id": "\ud800", "expires_at": float("inf")}
    for name, value in wrong.items():
        with pytest.raises(StoreUnavailable) as refusal:
            store.add_token(good._replace(**{name: value}))
        assert refusal.value.is_of_a_value
