"""The contracts of what a store may have besides: leases, marks, ledger, documents, listing and upkeep."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Any, Final

import pytest

from ..sessions import ArchiveMode, MediaMode, SessionProperties, SessionRecord
from ..stores import Store
from ..stores.documents import MAX_CONTENT, MAX_NAME
from ..stores.leases import Full, Slot
from ..stores.ledger import IssuedToken, TokenPage
from ..stores.listing import Page
from ..stores.upkeep import KINDS, Kind, Over, Row
from .stores import Ask, Contract, soon

__all__ = [
    "DocumentsContract",
    "LeasesContract",
    "LedgerContract",
    "ListingContract",
    "MarksContract",
    "UpkeepContract",
]

_TOGETHER: Final = 8
_NOW: Final = 1_795_186_800.0
#: In the future, by every clock of a machine that runs the suite.
_FAR: Final = 4e9


def _record(number: object, created_at: float = _NOW, created_by: str | None = None) -> SessionRecord:
    return SessionRecord(f"1_{number}", SessionProperties(), created_at, created_by=created_by)


def _slots(*keys: str, most: int | None = 1, until: float = _NOW + 60) -> list[Slot]:
    return [Slot(key, most, until) for key in keys]


class LeasesContract(Contract):
    """The contract of :class:`~rolecall.stores.leases.Leases`."""

    def test_a_slot_has_as_many_places_as_it_says(self, store: Store, ask: Ask) -> None:
        for lease in ("a", "b"):
            assert ask(store, "full_slot", _slots("s", most=2), _NOW) is None
            assert ask(store, "take_lease", lease, _slots("s", most=2), _NOW) is None
        full = Full("s", _NOW + 60)
        assert ask(store, "full_slot", _slots("s", most=2), _NOW) == full
        assert ask(store, "take_lease", "c", _slots("s", most=2), _NOW) == full
        assert ask(store, "take_lease", "c", _slots("s", most=3), _NOW) is None

    def test_a_slot_without_a_limit_is_held_and_never_full(self, store: Store, ask: Ask) -> None:
        for lease in ("a", "b", "c"):
            assert ask(store, "full_slot", _slots("s", most=None), _NOW) is None
            assert ask(store, "take_lease", lease, [*_slots("s", most=None), *_slots(f"t {lease}")], _NOW) is None
        assert ask(store, "take_lease", "d", _slots("s", most=3), _NOW) == Full("s", _NOW + 60)
        both = [*_slots("s", most=None), *_slots("t a")]
        assert ask(store, "take_lease", "d", both, _NOW) == Full("t a", _NOW + 60)
        ask(store, "keep_lease", "e", _slots("s", most=None))
        ask(store, "drop_slot", "s")
        assert ask(store, "full_slot", _slots("s", "t a", "t b", "t c"), _NOW) is None

    def test_looking_takes_no_place(self, store: Store, ask: Ask) -> None:
        for _ in range(3):
            assert ask(store, "full_slot", _slots("s"), _NOW) is None

    def test_a_lease_has_all_of_its_places_or_none(self, store: Store, ask: Ask) -> None:
        assert ask(store, "take_lease", "a", _slots("s"), _NOW) is None
        assert ask(store, "take_lease", "b", _slots("t", "s", "u"), _NOW) == Full("s", _NOW + 60)
        assert ask(store, "take_lease", "c", _slots("u", "t"), _NOW) is None

    def test_the_first_full_slot_is_told(self, store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", [Slot("s", 1, _NOW + 10), Slot("t", 1, _NOW + 20)], _NOW)
        assert ask(store, "full_slot", _slots("t", "s"), _NOW) == Full("t", _NOW + 20)
        assert ask(store, "take_lease", "b", _slots("s", "t"), _NOW) == Full("s", _NOW + 10)

    def test_a_place_is_free_at_its_end(self, store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", [Slot("s", 2, _NOW + 10)], _NOW)
        ask(store, "take_lease", "b", [Slot("s", 2, _NOW + 5)], _NOW)
        assert ask(store, "take_lease", "c", _slots("s", most=2), _NOW + 4.9) == Full("s", _NOW + 5)
        assert ask(store, "take_lease", "c", _slots("s", most=2), _NOW + 5) is None
        assert ask(store, "take_lease", "d", _slots("s", most=2), _NOW + 5) == Full("s", _NOW + 10)

    def test_taking_a_lease_again_takes_no_further_place(self, store: Store, ask: Ask) -> None:
        for _ in range(2):
            assert ask(store, "take_lease", "a", _slots("s", most=2), _NOW) is None
        assert ask(store, "take_lease", "b", _slots("s", most=2), _NOW) is None
        assert ask(store, "take_lease", "a", _slots("s", most=2), _NOW) is None

    def test_what_is_kept_counts_even_beyond_the_most(self, store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", _slots("s", until=_NOW + 1), _NOW)
        assert ask(store, "keep_lease", "a", _slots("s", until=_NOW + 100)) is None
        assert ask(store, "take_lease", "b", _slots("s"), _NOW + 50) == Full("s", _NOW + 100)
        ask(store, "keep_lease", "late", _slots("s", until=_NOW + 200))
        assert ask(store, "take_lease", "b", _slots("s"), _NOW + 150) == Full("s", _NOW + 200)
        ask(store, "keep_lease", "late", _slots("s", until=_NOW + 10))
        assert ask(store, "take_lease", "b", _slots("s"), _NOW + 150) is None

    def test_what_is_dropped_is_free(self, store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", _slots("s", "t"), _NOW)
        assert ask(store, "drop_lease", "a") is None
        assert ask(store, "take_lease", "b", _slots("s", "t"), _NOW) is None
        assert ask(store, "drop_slot", "t") is None
        assert ask(store, "take_lease", "c", _slots("t", "s"), _NOW) is None
        ask(store, "drop_lease", "unknown")
        ask(store, "drop_slot", "unknown")
        assert ask(store, "full_slot", _slots("s"), _NOW) is not None

    def test_keys_are_told_apart_by_every_character(self, store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", _slots("s Zoë"), _NOW)
        for key in ("s zoë", "s Zoe", "s Zoë ", "s Zoe\u0308", "s", "*", "s%", "auth0|123", "x" * 1000):
            assert ask(store, "full_slot", _slots(key), _NOW) is None, key

    def test_of_concurrent_takers_as_many_succeed_as_there_are_places(self, store: Store, ask: Ask) -> None:
        for slot in map(str, range(5)):
            questions = [("take_lease", f"{slot}.{taker}", _slots(slot, most=3), _NOW) for taker in range(_TOGETHER)]
            assert ask.together(store, questions).count(None) == 3

    def test_takers_of_the_same_slots_in_any_order_do_not_block_each_other(self, store: Store, ask: Ask) -> None:
        orders = [("s", "t"), ("t", "s")] * (_TOGETHER // 2)
        questions = [
            ("take_lease", str(taker), _slots(*keys, most=_TOGETHER), _NOW) for taker, keys in enumerate(orders)
        ]
        assert ask.together(store, questions) == [None] * _TOGETHER

    def test_another_worker_counts_the_same_places(self, store: Store, other_store: Store, ask: Ask) -> None:
        ask(store, "take_lease", "a", _slots("s"), _NOW)
        assert ask(other_store, "take_lease", "b", _slots("s"), _NOW) == Full("s", _NOW + 60)
        ask(other_store, "drop_lease", "a")
        assert ask(store, "take_lease", "b", _slots("s"), _NOW) is None


class MarksContract(Contract):
    """The contract of :class:`~rolecall.stores.marks.Marked`."""

    def test_a_mark_only_grows(self, store: Any, ask: Ask) -> None:
        values = [ask(store, "raise_mark", "reset 1_a", value, inf) for value in (5.0, 7.5, 6.0, 7.5, 1.8e12, 2.0)]
        assert values == [5.0, 7.5, 7.5, 7.5, 1.8e12, 1.8e12]
        assert dict(ask(store, "get_marks", ["reset 1_a"])) == {"reset 1_a": 1.8e12}

    def test_a_mark_may_be_for_good(self, store: Any, ask: Ask) -> None:
        assert ask(store, "raise_mark", "token 1_a x", inf, _FAR) == inf
        assert ask(store, "raise_mark", "token 1_a x", 5.0, _FAR) == inf
        assert dict(ask(store, "get_marks", ["token 1_a x"])) == {"token 1_a x": inf}
        assert soon(lambda: _known(store, "token", "1_a", "x") == inf, self.patience)

    def test_marks_are_told_apart_by_every_character(self, store: Any, ask: Ask) -> None:
        ask(store, "raise_mark", "actor Zoë b", 5.0, _FAR)
        others = ["actor zoë b", "actor Zoe b", "actor Zoe\u0308 b", "actor Zoë", "actor Zoë b ", "actor %", "actor *"]
        assert dict(ask(store, "get_marks", [*others, "actor Zoë b"])) == {"actor Zoë b": 5.0}
        assert dict(ask(store, "get_marks", [])) == {}
        assert soon(lambda: _known(store, "actor", "Zoë b") == 5.0, self.patience)
        assert [_known(store, "actor", name.removeprefix("actor ")) for name in others] == [0.0] * len(others)

    def test_the_longest_names_are_kept(self, store: Any, ask: Ask) -> None:
        name = f"excluded {'s' * 255} 0 {'ж' * 255}"
        assert ask(store, "raise_mark", name, 5.5, _FAR) == 5.5
        assert dict(ask(store, "get_marks", [name])) == {name: 5.5}
        assert soon(lambda: _known(store, "excluded", "s" * 255, "0", "ж" * 255) == 5.5, self.patience)

    def test_a_mark_counts_at_once_in_the_process_that_made_it(self, store: Any, ask: Ask) -> None:
        assert soon(lambda: store.has_ended("1_a") is False, self.patience)
        for number in range(20):
            ask(store, "raise_mark", f"token 1_a {number}", inf, _FAR)
            assert _known(store, "token", "1_a", str(number)) == inf
            ask(store, "raise_mark", "reset 1_a", float(number + 1), inf)
            assert _known(store, "reset", "1_a") == number + 1

    def test_marks_are_known_at_once(self, store: Any, ask: Ask) -> None:
        ask(store, "raise_mark", "token 1_a 0", inf, _FAR)
        ask(store, "raise_mark", "reset 1_a", 5.0, inf)
        assert soon(lambda: _known(store, "reset", "1_a") == 5.0, self.patience)

        def seconds() -> float:
            started = time.perf_counter()
            _known(store, "token", "1_a", "0"), _known(store, "reset", "1_a"), _known(store, "actor", "ada")
            return time.perf_counter() - started

        assert min(seconds() for _ in range(500)) < 0.0002, "marks are asked for every token, and wait for nothing"

    def test_a_mark_changes_the_revision(self, store: Any, ask: Ask) -> None:
        if not hasattr(store, "revision"):
            pytest.skip("the store has no revision")
        assert soon(lambda: store.has_ended("1_a") is False, self.patience)
        for raised in (("reset 1_a", 5.0), ("reset 1_a", 6.0), ("token 1_a x", inf), ("excluded 1_a 0 Zoë", _FAR)):
            seen = store.revision()
            ask(store, "raise_mark", *raised, _FAR)
            assert store.revision() != seen

    def test_concurrent_marks_are_all_kept(self, store: Any, ask: Ask) -> None:
        raised = [("raise_mark", "reset 1_a", float(number), inf) for number in range(1, 3 * _TOGETHER)]
        answers = ask.together(store, [*raised, *reversed(raised)])
        assert max(answers) == 3 * _TOGETHER - 1
        assert dict(ask(store, "get_marks", ["reset 1_a"])) == {"reset 1_a": 3 * _TOGETHER - 1}
        assert soon(lambda: _known(store, "reset", "1_a") == 3 * _TOGETHER - 1, self.patience)

    def test_a_mark_ends_no_session(self, store: Any, ask: Ask) -> None:
        ask(store, "raise_mark", "reset 1_a", 5.0, inf)
        assert soon(lambda: _known(store, "reset", "1_a") == 5.0, self.patience)
        assert [store.has_ended(name) for name in ("1_a", "reset 1_a", "reset")] == [False] * 3
        ask(store, "end_session", "1_b", 7.5)
        assert _known(store, "reset", "1_b") == 0.0

    def test_another_worker_learns_of_marks_in_time(self, store: Any, other_store: Any, ask: Ask) -> None:
        assert soon(lambda: other_store.has_ended("1_a") is False, self.patience)
        ask(store, "raise_mark", "reset 1_a", 5.0, inf)
        assert soon(lambda: _known(other_store, "reset", "1_a") == 5.0, self.max_lag)
        ask(other_store, "raise_mark", "reset 1_a", 6.0, inf)
        ask(other_store, "raise_mark", "excluded 1_a 0 a b", inf, _FAR)
        assert soon(lambda: _known(store, "excluded", "1_a", "0", "a b") == inf, self.max_lag)
        assert _known(store, "reset", "1_a") == 6.0
        assert dict(ask(store, "get_marks", ["reset 1_a"])) == {"reset 1_a": 6.0}

    def test_a_worker_that_starts_later_knows_them(self, store: Any, other_store: Any, ask: Ask) -> None:
        for number in range(30):
            ask(store, "raise_mark", f"token 1_a {number}", inf, _FAR)
        ask(store, "raise_mark", "reset 1_a", 5.0, inf)
        assert soon(lambda: _known(other_store, "reset", "1_a") == 5.0, self.patience)
        assert [_known(other_store, "token", "1_a", str(number)) for number in range(31)] == [inf] * 30 + [0.0]

    def test_they_are_forgotten_when_they_are_over(self, store: Any, ask: Ask) -> None:
        ask(store, "raise_mark", "actor old", 5.0, _NOW - 200)
        ask(store, "raise_mark", "actor new", 5.0, _NOW + 1e6)
        ask(store, "raise_mark", "actor again", 5.0, _NOW - 200)
        ask(store, "raise_mark", "actor again", 4.0, _NOW + 1e6)
        ask(store, "raise_mark", "reset 1_a", 5.0, inf)
        _forget_all(store, ask, Over(_NOW - 100))
        kept = {"actor new": 5.0, "actor again": 5.0, "reset 1_a": 5.0}
        assert dict(ask(store, "get_marks", [*kept, "actor old"])) == kept
        assert ask(store, "count")["marks"] == 3

    def test_followers_work_on_after_marks_were_forgotten(self, store: Any, other_store: Any, ask: Ask) -> None:
        for number in range(5):
            ask(store, "raise_mark", f"actor {number}", 5.0, _NOW - 200)
        assert soon(lambda: _known(other_store, "actor", "4") == 5.0, self.max_lag)
        _forget_all(store, ask, Over(_NOW - 100))
        ask(store, "raise_mark", "actor new", 5.0, _FAR)
        assert soon(lambda: _known(other_store, "actor", "new") == 5.0, self.max_lag)

    def test_the_greater_number_stays_when_marks_are_loaded(self, store: Any, ask: Ask) -> None:
        ask(store, "raise_mark", "reset 1_a", 5.0, _FAR)
        loaded = ask(store, "load", "marks", [("reset 1_a", 4.0, _FAR + 1), ("reset 1_b", 6.0, inf)])
        assert list(map(tuple, loaded)) == [("reset 1_a", 5.0, _FAR + 1), ("reset 1_b", 6.0, inf)]
        assert soon(lambda: _known(store, "reset", "1_b") == 6.0, self.max_lag)


def _token(name: str, session: str = "a", actor: str | None = None, at: float = _NOW, life: float = 300) -> IssuedToken:
    return IssuedToken(f"1_{session}", name, actor, "publisher", at, at + life)


def _tokens(store: Store, ask: Ask, page: TokenPage) -> list[IssuedToken]:
    """The tokens of a page, however many calls the store needs for it."""
    tokens: list[IssuedToken] = []
    after = page.after
    while (missing := page.limit - len(tokens)) > 0:
        answer = ask(store, "list_tokens", page._replace(limit=missing, after=after))
        assert len(answer.tokens) <= missing
        tokens += answer.tokens
        if answer.after is None:
            break
        after = answer.after
    return tokens


class LedgerContract(Contract):
    """The contract of :class:`~rolecall.stores.ledger.Ledger`."""

    @pytest.fixture
    def ledger(self, store: Store, ask: Ask) -> Store:
        """A store of five tokens: two of the same time, two of Ada, one of another session."""
        for token in (
            _token("0.b", actor="ada"),
            _token("0.a", "b", actor="Zoë"),
            _token("0.c", at=_NOW + 1.5, life=10),
            _token("0.d", "b", actor="ada", at=_NOW + 2),
            _token("0.e", at=_NOW - 1),
        ):
            assert ask(store, "add_token", token) is None
        return store

    def test_an_empty_ledger_lists_nothing(self, store: Store, ask: Ask) -> None:
        assert _tokens(store, ask, TokenPage(10, _NOW)) == []

    def test_the_newest_tokens_come_first(self, ledger: Store, ask: Ask) -> None:
        found = _tokens(ledger, ask, TokenPage(10, _NOW))
        assert [token.token_id for token in found] == ["0.d", "0.c", "0.b", "0.a", "0.e"]
        assert found[3] == _token("0.a", "b", actor="Zoë")
        assert found[1].actor_id is None

    def test_expired_tokens_are_not_listed(self, ledger: Store, ask: Ask) -> None:
        def ids(now: float) -> list[str]:
            return [token.token_id for token in _tokens(ledger, ask, TokenPage(10, now))]

        assert ids(_NOW + 11.4) == ["0.d", "0.c", "0.b", "0.a", "0.e"]
        assert ids(_NOW + 11.5) == ["0.d", "0.b", "0.a", "0.e"]
        assert ids(_NOW + 300) == ["0.d"]

    def test_only_the_wanted_tokens_are_listed(self, ledger: Store, ask: Ask) -> None:
        def ids(**wanted: Any) -> list[str]:
            return [token.token_id for token in _tokens(ledger, ask, TokenPage(10, _NOW, **wanted))]

        assert ids(session_id="1_a") == ["0.c", "0.b", "0.e"]
        assert ids(actor_id="ada") == ["0.d", "0.b"]
        assert ids(actor_id="Zoë") == ["0.a"]
        assert ids(session_id="1_b", actor_id="ada") == ["0.d"]
        for wanted in ({"actor_id": "Ada"}, {"actor_id": "ad"}, {"session_id": "1_"}, {"session_id": "1_ab"}):
            assert ids(**wanted) == []

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    def test_pages_of_tokens_follow_on_each_other(self, ledger: Store, ask: Ask, limit: int) -> None:
        names: list[str] = []
        after = None
        while found := _tokens(ledger, ask, TokenPage(limit, _NOW, after=after)):
            assert len(found) <= limit
            names += (token.token_id for token in found)
            after = found[-1].issued_at, found[-1].token_id
        assert names == ["0.d", "0.c", "0.b", "0.a", "0.e"]

    def test_pages_of_tokens_are_full_though_others_have_expired(self, store: Store, ask: Ask) -> None:
        tokens = [_token(f"0.{number:03}", at=_NOW + number, life=5 if number % 100 else 9000) for number in range(600)]
        ask(store, "load", "tokens", tokens)
        found = _tokens(store, ask, TokenPage(5, _NOW + 700))
        assert [token.token_id for token in found] == ["0.500", "0.400", "0.300", "0.200", "0.100"]

    def test_the_first_of_a_token_stays(self, ledger: Store, ask: Ask) -> None:
        ask(ledger, "add_token", _token("0.b", actor="eve", at=_NOW + 9))
        assert _tokens(ledger, ask, TokenPage(3, _NOW))[2] == _token("0.b", actor="ada")
        ask(ledger, "add_token", _token("0.b", "c", actor="eve", at=_NOW + 9))
        assert _tokens(ledger, ask, TokenPage(1, _NOW))[0] == _token("0.b", "c", actor="eve", at=_NOW + 9)

    def test_expired_tokens_are_forgotten(self, ledger: Store, ask: Ask) -> None:
        assert ask(ledger, "forget", Over(lapsed_before=_NOW + 11.5)) == 0
        assert ask(ledger, "forget", Over(lapsed_before=_NOW + 11.6)) == 1
        assert ask(ledger, "count")["tokens"] == 4
        while ask(ledger, "forget", Over(lapsed_before=_NOW + 301, limit=2)):
            pass
        assert [token.token_id for token in _tokens(ledger, ask, TokenPage(9, 0.0))] == ["0.d"]
        assert _tokens(ledger, ask, TokenPage(9, 0.0, session_id="1_a")) == []

    def test_another_worker_lists_the_same_tokens(self, ledger: Store, other_store: Store, ask: Ask) -> None:
        page = TokenPage(10, _NOW)
        assert _tokens(other_store, ask, page) == _tokens(ledger, ask, page)


class DocumentsContract(Contract):
    """The contract of :class:`~rolecall.stores.documents.Documents`."""

    def test_a_document_that_was_never_put_is_none(self, store: Store, ask: Ask) -> None:
        assert ask(store, "get_document", "keys") is None

    def test_each_change_of_a_document_has_the_next_version(self, store: Store, ask: Ask) -> None:
        for version, content in enumerate(("one", "", "drei: Größe \U0001f511\n\r\n ", "one")):
            assert ask(store, "put_document", "keys", content, version) is True
            assert tuple(ask(store, "get_document", "keys")) == (version + 1, content)

    @pytest.mark.parametrize("version", [0, 1, 3, 2**40])
    def test_a_document_of_another_version_is_not_replaced(self, store: Store, ask: Ask, version: int) -> None:
        ask(store, "put_document", "keys", "one", 0)
        ask(store, "put_document", "keys", "two", 1)
        assert ask(store, "put_document", "keys", "other", version) is False
        assert tuple(ask(store, "get_document", "keys")) == (2, "two")

    def test_a_document_that_is_missing_is_not_replaced(self, store: Store, ask: Ask) -> None:
        assert ask(store, "put_document", "keys", "one", 1) is False
        assert ask(store, "get_document", "keys") is None

    def test_the_same_change_may_be_made_again(self, store: Store, ask: Ask) -> None:
        for version, content in ((0, "one"), (0, "one"), (1, "two"), (1, "two")):
            assert ask(store, "put_document", "keys", content, version) is True
        assert tuple(ask(store, "get_document", "keys")) == (2, "two")
        assert ask(store, "put_document", "keys", "one", 0) is False

    def test_documents_are_told_apart_by_every_character(self, store: Store, ask: Ask) -> None:
        for number, name in enumerate(others := ("Zoë", "zoë", "Zoe", "Zoe\u0308", "Zoë ", "*", "%", "")):
            assert ask(store, "put_document", name, str(number), 0) is True
        assert [ask(store, "get_document", name)[1] for name in others] == list(map(str, range(len(others))))

    def test_the_longest_document_is_kept(self, store: Store, ask: Ask) -> None:
        name, content = "ж" * MAX_NAME, "ж" * (MAX_CONTENT // 2)
        assert ask(store, "put_document", name, content, 0) is True
        assert tuple(ask(store, "get_document", name)) == (1, content)

    @pytest.mark.parametrize("version", [0, 1])
    def test_of_concurrent_changes_of_a_document_one_is_made(self, store: Store, ask: Ask, version: int) -> None:
        for number in range(version):
            ask(store, "put_document", "keys", "begun", number)
        questions = [("put_document", "keys", str(number), version) for number in range(_TOGETHER)]
        answers = ask.together(store, questions)
        assert answers.count(True) == 1
        assert tuple(ask(store, "get_document", "keys")) == (version + 1, str(answers.index(True)))

    def test_another_worker_has_the_same_documents_at_once(self, store: Store, other_store: Store, ask: Ask) -> None:
        assert ask(other_store, "get_document", "keys") is None
        ask(store, "put_document", "keys", "one", 0)
        assert tuple(ask(other_store, "get_document", "keys")) == (1, "one")
        assert ask(other_store, "put_document", "keys", "two", 1) is True
        assert ask(store, "put_document", "keys", "other", 1) is False
        assert tuple(ask(store, "get_document", "keys")) == (2, "two")

    def test_documents_are_never_forgotten(self, store: Store, ask: Ask) -> None:
        ask(store, "put_document", "keys", "one", 0)
        _forget_all(store, ask, Over(_FAR, ended_before=_FAR, created_before=_FAR))
        assert tuple(ask(store, "get_document", "keys")) == (1, "one")

    def test_the_later_version_stays_when_documents_are_loaded(self, store: Store, ask: Ask) -> None:
        ask(store, "put_document", "keys", "one", 0)
        ask(store, "put_document", "keys", "two", 1)
        for version, content, there in ((1, "old", (2, "two")), (2, "other", (2, "two")), (5, "new", (5, "new"))):
            (loaded,) = ask(store, "load", "documents", [("keys", version, content)])
            assert tuple(loaded) == ("keys", *there)
            assert tuple(ask(store, "get_document", "keys")) == there


class ListingContract(Contract):
    """The contract of :class:`~rolecall.stores.listing.Listing`."""

    @pytest.fixture
    def filled(self, store: Store, ask: Ask) -> Store:
        """A store of five sessions: two of the same time, one ended, two of Ada."""
        for record in (
            _record("b", _NOW, "ada"),
            _record("a", _NOW),
            _record("c", _NOW + 1.5, "Ada"),
            _record("d", _NOW + 2, "ada"),
            _record("e", _NOW - 1),
        ):
            ask(store, "add_session", record)
        ask(store, "end_session", "1_c", _NOW + 3)
        ask(store, "end_session", "1_unknown", _NOW + 3)
        return store

    def test_an_empty_store_lists_nothing(self, store: Store, ask: Ask) -> None:
        assert list(ask(store, "list_sessions", Page(10))) == []

    def test_the_newest_come_first(self, filled: Store, ask: Ask) -> None:
        found = ask(filled, "list_sessions", Page(10))
        assert [record.session_id for record in found] == ["1_d", "1_c", "1_b", "1_a", "1_e"]
        assert [record.ended_at for record in found] == [None, _NOW + 3, None, None, None]
        assert found[2] == _record("b", _NOW, "ada")

    @pytest.mark.parametrize("limit", [1, 2, 5, 6])
    def test_pages_follow_on_each_other(self, filled: Store, ask: Ask, limit: int) -> None:
        pages = list(_pages(filled, ask, limit))
        assert [record.session_id for page in pages for record in page] == ["1_d", "1_c", "1_b", "1_a", "1_e"]
        assert all(len(page) == limit for page, _ in pairwise(pages))

    def test_only_the_wanted_ones_are_listed(self, filled: Store, ask: Ask) -> None:
        def ids(**wanted: Any) -> list[str]:
            return [record.session_id for record in ask(filled, "list_sessions", Page(10, **wanted))]

        assert ids(state="open") == ["1_d", "1_b", "1_a", "1_e"]
        assert ids(state="ended") == ["1_c"]
        assert ids(created_by="ada") == ["1_d", "1_b"]
        assert ids(created_by="ada", state="ended") == ids(created_by="nobody") == ids(created_by="ad%") == []
        assert ids(after=(_NOW, "1_b"), state="open") == ["1_a", "1_e"]
        assert ids(after=(_NOW, "1_b~")) == ["1_b", "1_a", "1_e"]

    def test_pages_are_full_though_others_stand_between(self, store: Store, ask: Ask) -> None:
        for number in range(120):
            ask(store, "add_session", _record(number, _NOW + number, "ada" if number % 40 == 0 else None))
            if number % 40:
                ask(store, "end_session", f"1_{number}", _NOW + number)
        for page in (Page(3, state="open"), Page(3, created_by="ada")):
            found = ask(store, "list_sessions", page)
            assert [record.session_id for record in found] == ["1_80", "1_40", "1_0"]

    def test_new_sessions_disturb_no_page(self, filled: Store, ask: Ask) -> None:
        first = ask(filled, "list_sessions", Page(2))
        ask(filled, "add_session", _record("new", _NOW + 10))
        last = first[-1]
        rest = ask(filled, "list_sessions", Page(10, after=(last.created_at, last.session_id)))
        assert [record.session_id for record in (*first, *rest)] == ["1_d", "1_c", "1_b", "1_a", "1_e"]

    def test_another_worker_lists_the_same(self, filled: Store, other_store: Store, ask: Ask) -> None:
        assert list(ask(other_store, "list_sessions", Page(10))) == list(ask(filled, "list_sessions", Page(10)))


class UpkeepContract(Contract):
    """The contract of :class:`~rolecall.stores.upkeep.Upkeep`, for a store that has leases and lists its sessions."""

    def test_single_use_ids_and_leases_are_forgotten_when_they_are_over(self, store: Store, ask: Ask) -> None:
        for name, until in (("old", _NOW - 200), ("new", _NOW + 1e6)):
            ask(store, "use_once", name, until, _NOW - 300)
            ask(store, "keep_lease", name, _slots("s", until=until))
        _forget_all(store, ask, Over(_NOW - 100))
        assert ask(store, "use_once", "new", _NOW + 1e6, _NOW) is False
        assert ask(store, "full_slot", _slots("s"), _NOW) == Full("s", _NOW + 1e6)
        counted = ask(store, "count")
        assert counted["leases"] == 1
        assert counted["used"] <= 2  # a store may keep them a little longer

    def test_records_are_forgotten_and_their_ends_stay_known(
        self, store: Store, ask: Ask, other_store_or_none: Store | None
    ) -> None:
        for number, ended_at in enumerate((_NOW - 10, _NOW, None)):
            ask(store, "add_session", _record(number, _NOW - 20))
            if ended_at is not None:
                ask(store, "end_session", f"1_{number}", ended_at)
        _forget_all(store, ask, Over(0.0, ended_before=_NOW))
        assert [ask(store, "get_session", f"1_{number}") is None for number in range(3)] == [True, False, False]
        for one in filter(None, (store, other_store_or_none)):
            assert [ask(one, "has_ended", f"1_{number}") for number in range(3)] == [True, True, False]
        assert [record.session_id for record in ask(store, "list_sessions", Page(10))] == ["1_2", "1_1"]

    def test_sessions_of_an_age_are_forgotten_whole(self, store: Store, ask: Ask) -> None:
        for number in range(3):
            ask(store, "add_session", _record(number, _NOW + number, "ada"))
        ask(store, "end_session", "1_0", _NOW + 0.5)
        ask(store, "end_session", "1_2", _NOW + 2.5)
        _forget_all(store, ask, Over(0.0, created_before=_NOW + 2))
        assert [ask(store, "get_session", f"1_{number}") is None for number in range(3)] == [True, True, False]
        counted = ask(store, "count")
        assert (counted["sessions"], counted["ended"]) == (1, 1)
        assert [record.session_id for record in ask(store, "list_sessions", Page(10, created_by="ada"))] == ["1_2"]

    def test_the_end_of_a_session_that_is_kept_stays_known(self, store: Store, ask: Ask) -> None:
        """By two clocks that differ a session may have ended before it was created."""
        ask(store, "add_session", _record("a", _NOW))
        ask(store, "end_session", "1_a", _NOW - 5)
        _forget_all(store, ask, Over(0.0, created_before=_NOW - 1))
        assert ask(store, "get_session", "1_a").ended_at == _NOW - 5

    def test_it_forgets_a_few_at_a_time(self, store: Store, ask: Ask) -> None:
        for number in range(30):
            ask(store, "add_session", _record(number))
        removed = ask(store, "forget", Over(0.0, created_before=_NOW + 1, limit=10))
        assert 1 <= removed <= 20
        assert ask(store, "count")["sessions"] >= 10
        _forget_all(store, ask, Over(0.0, created_before=_NOW + 1, limit=10))
        assert ask(store, "count")["sessions"] == 0

    def test_followers_work_on_after_the_log_was_purged(self, store: Store, other_store: Store, ask: Ask) -> None:
        for number in range(5):
            ask(store, "end_session", f"1_{number}", _NOW)
        assert _soon_ended(other_store, "1_4", self.max_lag)
        _forget_all(store, ask, Over(0.0, created_before=_NOW + 1))
        ask(store, "end_session", "1_new", _NOW)
        assert _soon_ended(other_store, "1_new", self.max_lag)

    def test_rows_are_dumped_and_loaded(self, store: Store, ask: Ask) -> None:
        rows = _ROWS
        for kind in KINDS:
            assert list(ask(store, "load", kind, rows[kind])) == list(rows[kind])
            assert list(ask(store, "load", kind, rows[kind])) == list(rows[kind])
            for limit in (2, 100):
                assert sorted(set(_dumped(store, ask, kind, limit))) == sorted(rows[kind])
        assert dict(ask(store, "count")) == {kind: len(rows[kind]) for kind in KINDS}
        assert ask(store, "has_ended", "1_a") is True
        found = ask(store, "get_session", "1_b")
        assert (found.created_by, found.created_at, found.ended_at) == ("Zoë", _NOW + 0.25, _NOW + 1)
        assert [record.session_id for record in ask(store, "list_sessions", Page(10))] == ["1_c", "1_b"]
        assert ask(store, "use_once", "n1", _FAR, _NOW) is False
        assert ask(store, "full_slot", _slots("s"), _NOW) == Full("s", _FAR)

    def test_other_workers_learn_of_ends_that_are_loaded(self, store: Store, other_store: Store, ask: Ask) -> None:
        assert ask(other_store, "has_ended", "1_a") is False
        ask(store, "load", "ended", _ROWS["ended"])
        assert _soon_ended(other_store, "1_a", self.max_lag)

    def test_what_is_there_stays_when_another_row_is_loaded(self, store: Store, ask: Ask) -> None:
        for kind in KINDS:
            ask(store, "load", kind, _ROWS[kind])
            there = _ROWS[kind][0]
            assert list(ask(store, "load", kind, [(*there[:-1], _OTHER.get(kind, _FAR + 10))])) == [there], kind

    def test_an_examined_store_is_sound(self, store: Store, ask: Ask) -> None:
        ask(store, "add_session", _record("a"))
        assert [finding for finding in ask(store, "examine") if finding.level == "error"] == []

    def test_a_store_that_is_up_to_date_needs_no_migration(self, store: Store, ask: Ask) -> None:
        ask(store, "migrate")
        before, after = ask(store, "migrate")
        assert before == after

    def test_its_clock_is_about_right(self, store: Store, ask: Ask) -> None:
        now = ask(store, "clock")
        assert now is None or abs(now - time.time()) < 60

    @pytest.fixture
    def other_store_or_none(self, request: pytest.FixtureRequest) -> Store | None:
        """The second store on the same data; None if the suite has none."""
        try:
            other: Store = request.getfixturevalue("other_store")
        except pytest.skip.Exception:
            return None
        return other


_PROPERTIES: Final = SessionProperties("203.0.113.7", MediaMode.ROUTED, ArchiveMode.ALWAYS, archive_name="Größe")
_ROWS: Final[dict[Kind, list[Row]]] = {
    "ended": [("1_a", _NOW), ("1_b", _NOW + 1), ("1_foreign", _NOW + 0.125)],
    "marks": [("token 1_a x", inf, _FAR), ("reset 1_a", 1_795_186_800_123.0, inf), ("excluded 1_a 0 Zoë", _FAR, _FAR)],
    "sessions": [
        ("1_b", _PROPERTIES.as_json(), _NOW + 0.25, "Zoë"),
        ("1_c", SessionProperties().as_json(), _NOW + 0.5, None),
    ],
    "used": [(f"n{number}", _FAR + number) for number in range(3)],
    "leases": [("l1", "s", _FAR), ("l1", "t", _FAR), ("l2", "t", _FAR + 1)],
    "tokens": [
        ("1_a", "0.x", "Zoë", "publisher", _NOW, _FAR),
        ("1_a", "0.y", None, "moderator", _NOW, _FAR + 1),
        ("1_b", "0.x", None, "moderator", _NOW + 0.5, _FAR),
    ],
    "documents": [("keys", 7, '{"Größe": 1}\n'), ("other keys", 1, "")],
}


#: What else may stand at the end of a row of these kinds, and changes nothing.
_OTHER: Final[dict[Kind, str | float]] = {"sessions": "other", "marks": _FAR - 10, "documents": "other"}


def _pages(store: Store, ask: Ask, limit: int) -> Iterator[Sequence[SessionRecord]]:
    after = None
    while page := ask(store, "list_sessions", Page(limit, after=after)):
        yield page
        after = page[-1].created_at, page[-1].session_id


def _dumped(store: Store, ask: Ask, kind: Kind, limit: int) -> list[Row]:
    rows, after = ask(store, "dump", kind, None, limit)
    while after is not None:
        more, after = ask(store, "dump", kind, after, limit)
        rows = [*rows, *more]
    return [tuple(row) for row in rows]


def _forget_all(store: Store, ask: Ask, over: Over) -> None:
    while ask(store, "forget", over):
        pass


def _known(store: Any, *parts: str) -> float:
    """The number of a mark, as a check of a token finds it: after a look at the ended sessions."""
    store.has_ended("1_other")
    return float(store.marks.value(*parts))


def _soon_ended(store: Store, session_id: str, seconds: float) -> bool:
    return soon(lambda: store.has_ended(session_id), seconds)
