"""The store of one process: for tests, demonstrations and one-worker apps. It forgets at exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, Final, NamedTuple

from ..errors import ConfigurationError, StoreUnavailable
from ..sessions import SessionProperties, SessionRecord
from .leases import Full, Slot
from .ledger import IssuedToken, TokenPage, TokensFound, answer_for
from .listing import Page
from .marks import Marks
from .native import native_lock, renew_lock_in_children
from .upkeep import Finding, Kind, Over, Row

_MANY: Final = 1024
_FORGETFUL: Final = Finding(
    "info",
    "everything is kept in the memory of this process, and forgotten when it exits",
    "for several workers, or to keep sessions, use sqlite:///path/to/file.db, postgresql://… or redis://…",
)


class _Forgettable(NamedTuple):
    """Rows that are forgotten once they are over.

    :param is_over: says so of a row, by its key and content.
    :param free: removes a row by its key, if it stands elsewhere, too.
    """

    rows: dict[Any, Any]
    is_over: Callable[[Over, Any, Any], bool]
    free: Callable[[Any], None] | None = None

    def remove_if_over(self, key: Any, over: Over) -> bool:
        row = self.rows.get(key)
        if row is None or not self.is_over(over, key, row):
            return False
        if self.free is None:
            self.rows.pop(key, None)
        else:
            self.free(key)
        return True


class MemoryStore:
    """Sessions in dictionaries."""

    reads_inline = True
    writes_inline = True
    shared = False
    immediate = True

    def __init__(self) -> None:
        self._sessions: dict[str, SessionRecord] = {}
        self._ended: dict[str, float] = {}
        # Another object after each end.
        self._last_end: object = None
        self._used: dict[str, tuple[float, object]] = {}
        self._many = _MANY
        # By name, the number of each mark and until when it is kept; under the lock.
        self._marked: dict[str, tuple[float, float]] = {}
        self.marks = Marks()
        # By slot and lease, the time until which each place is taken; under the lock.
        self._slots: dict[str, dict[str, float]] = {}
        # By lease, its slots, so that it is dropped without a look at all others; under the lock.
        self._leases: dict[str, dict[str, None]] = {}
        # By session and id.
        self._tokens: dict[tuple[str, str], IssuedToken] = {}
        # By name, the version and the content; under the lock.
        self._documents: dict[str, tuple[int, str]] = {}
        # What was over at the last look, and is not removed yet.
        self._found: Iterator[tuple[_Forgettable, Any]] = iter(())
        self._lock = native_lock()
        renew_lock_in_children(self)

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        if url != "memory://":
            raise ConfigurationError("the memory store's URL is 'memory://', with nothing behind it")
        return cls()

    def add_session(self, record: SessionRecord) -> None:
        self._sessions.setdefault(record.session_id, record)

    def get_session(self, session_id: str) -> SessionRecord | None:
        record = self._sessions.get(session_id)
        if record is None or session_id not in self._ended:
            return record
        return replace(record, ended_at=self._ended[session_id])

    def end_session(self, session_id: str, ended_at: float) -> None:
        self._ended.setdefault(session_id, ended_at)
        self._last_end = object()

    def has_ended(self, session_id: str) -> bool:
        return session_id in self._ended

    def revision(self) -> object:
        marks = self.marks
        return self._last_end, marks, marks.revision

    def use_once(self, name: str, until: float, now: float) -> bool:
        if len(self._used) >= self._many:
            for used, (end, _) in list(self._used.items()):
                if end < now:
                    self._used.pop(used, None)
            self._many = max(_MANY, 2 * len(self._used))
        mine = object()
        # One atomic step, so that of two threads exactly one is the first.
        return self._used.setdefault(name, (until, mine))[1] is mine

    def close(self) -> None:
        pass

    # -- marks -----------------------------------------------------------------------------------

    def raise_mark(self, name: str, value: float, until: float) -> float:
        with self._lock:
            there, kept = self._marked.get(name, (0.0, until))
            raised = max(there, value)
            self._marked[name] = raised, max(kept, until)
        self.marks.learn(name, raised)
        return raised

    def get_marks(self, names: Sequence[str]) -> Mapping[str, float]:
        return {name: self._marked[name][0] for name in names if name in self._marked}

    # -- the ledger ------------------------------------------------------------------------------

    def add_token(self, token: IssuedToken) -> None:
        self._tokens.setdefault(token[:2], token)

    def list_tokens(self, page: TokenPage) -> TokensFound:
        wanted = (token for token in list(self._tokens.values()) if _is_wanted(token, page))
        return answer_for(page, sorted(wanted, key=_place_of_token, reverse=True)[: page.limit])

    # -- documents -------------------------------------------------------------------------------

    def get_document(self, name: str) -> tuple[int, str] | None:
        return self._documents.get(name)

    def put_document(self, name: str, content: str, version: int) -> bool:
        with self._lock:
            there = self._documents.get(name, (0, ""))
            if there[0] == version:
                self._documents[name] = there = version + 1, content
            return there == (version + 1, content)

    # -- listing ---------------------------------------------------------------------------------

    def list_sessions(self, page: Page) -> Sequence[SessionRecord]:
        newest_first = sorted(self._sessions.values(), key=_place, reverse=True)
        return list(islice(filter(None, (self._on_page(record, page) for record in newest_first)), page.limit))

    def _on_page(self, record: SessionRecord, page: Page) -> SessionRecord | None:
        """The session as it is by now, if it belongs on a page."""
        if page.after is not None and _place(record) >= (page.after[0], page.after[1].encode()):
            return None
        if page.created_by is not None and record.created_by != page.created_by:
            return None
        ended_at = self._ended.get(record.session_id)
        if page.state is not None and (ended_at is None) != (page.state == "open"):
            return None
        return replace(record, ended_at=ended_at)

    # -- leases ----------------------------------------------------------------------------------

    def full_slot(self, slots: Sequence[Slot], now: float) -> Full | None:
        with self._lock:
            return self._full_slot(slots, now)

    def take_lease(self, lease: str, slots: Sequence[Slot], now: float) -> Full | None:
        with self._lock:
            full = self._full_slot(slots, now, lease)
            if full is None:
                self._hold(lease, slots)
            return full

    def keep_lease(self, lease: str, slots: Sequence[Slot]) -> None:
        with self._lock:
            self._hold(lease, slots)

    def drop_lease(self, lease: str) -> None:
        with self._lock:
            self._drop(lease)

    def drop_slot(self, key: str) -> None:
        with self._lock:
            for lease in list(self._slots.get(key, ())):
                self._drop(lease)

    def _full_slot(self, slots: Sequence[Slot], now: float, lease: str = "") -> Full | None:
        for slot in slots:
            if slot.most is None:
                continue
            held = self._slots.get(slot.key, {})
            for over in [holder for holder, until in held.items() if until <= now]:
                self._free(slot.key, over)
            if lease not in held and len(held) >= slot.most:
                return Full(slot.key, min(held.values()))
        return None

    def _hold(self, lease: str, slots: Sequence[Slot]) -> None:
        for slot in slots:
            self._leases.setdefault(lease, {})[slot.key] = None
            self._slots.setdefault(slot.key, {})[lease] = slot.until

    def _drop(self, lease: str) -> None:
        for key in list(self._leases.get(lease, ())):
            self._free(key, lease)

    def _free(self, key: str, lease: str) -> None:
        _discard(self._slots, key, lease)
        _discard(self._leases, lease, key)

    # -- upkeep ----------------------------------------------------------------------------------

    def forget(self, over: Over) -> int:
        removed = self._forget_some(over)
        if not removed:
            # Without the lock, for which others wait; so each row is looked at again when it is removed.
            self._found = self._find(over)
            removed = self._forget_some(over)
        return removed

    def _find(self, over: Over) -> Iterator[tuple[_Forgettable, Any]]:
        """What is over, by the keys of its rows."""
        found = [
            zip(repeat(kind), [key for key, row in list(kind.rows.items()) if kind.is_over(over, key, row)])
            for kind in self._forgettable()
        ]
        # No generator, with which a child could not go on that was forked while another thread was in it.
        return chain.from_iterable(found)

    def _forget_some(self, over: Over) -> int:
        """Remove some of what was found, if it is still over."""
        removed = 0
        with self._lock:
            for kind, key in self._found:
                removed += kind.remove_if_over(key, over)
                if removed >= over.limit:
                    break
            if len(self.marks) > max(_MANY, 2 * len(self._marked)):
                self._let_go_of_marks()
        return removed

    def _forgettable(self) -> Iterator[_Forgettable]:
        yield _Forgettable(self._used, lambda over, _, used: used[0] < over.lapsed_before)
        yield _Forgettable(self._marked, lambda over, _, mark: mark[1] < over.lapsed_before)
        for key, held in list(self._slots.items()):
            yield _Forgettable(held, lambda over, _, until: until < over.lapsed_before, partial(self._free, key))
        yield _Forgettable(self._tokens, lambda over, _, token: token.expires_at < over.lapsed_before)
        yield _Forgettable(self._sessions, self._is_session_over)
        yield _Forgettable(self._ended, self._is_end_over)

    def _is_session_over(self, over: Over, session_id: str, record: SessionRecord) -> bool:
        ended_at = self._ended.get(session_id)
        return _is_before(ended_at, over.ended_before) or _is_before(record.created_at, over.created_before)

    def _is_end_over(self, over: Over, session_id: str, ended_at: float) -> bool:
        return _is_before(ended_at, over.created_before) and session_id not in self._sessions

    def _let_go_of_marks(self) -> None:
        """Know no more marks than there are: most of those that are known were forgotten."""
        marks = Marks()
        marks.learn_all((name, value) for name, (value, _) in self._marked.items())
        self.marks = marks

    def count(self) -> Mapping[Kind, int]:
        with self._lock:
            places = sum(map(len, self._slots.values()))
        return {
            "ended": len(self._ended),
            "marks": len(self._marked),
            "sessions": len(self._sessions),
            "used": len(self._used),
            "leases": places,
            "tokens": len(self._tokens),
            "documents": len(self._documents),
        }

    def dump(self, kind: Kind, after: str | None, limit: int) -> tuple[Sequence[Row], str | None]:
        if after is not None and not after.isdecimal():
            raise StoreUnavailable("the place to continue from is none that a store in memory has told; begin anew")
        first = int(after or 0)
        with self._lock:
            # One atomic step: most kinds are added to without the lock.
            entries = list(islice(self._entries(kind), first, first + limit))
        rows = [_row(kind, entry) for entry in entries]
        return rows, str(first + limit) if len(rows) == limit else None

    def _entries(self, kind: Kind) -> Iterable[Any]:
        """What the rows of a kind are made of: see ``_row``."""
        if kind == "leases":
            return ((lease, key, until) for key, held in self._slots.items() for lease, until in held.items())
        if kind == "sessions":
            return self._sessions.values()
        if kind == "tokens":
            return self._tokens.values()
        rows: Mapping[Kind, Mapping[str, Any]] = {
            "ended": self._ended,
            "marks": self._marked,
            "used": self._used,
            "documents": self._documents,
        }
        return rows[kind].items()

    def load(self, kind: Kind, rows: Sequence[Row]) -> Sequence[Row]:
        return [self._loaded(kind, row) for row in rows]

    def _loaded(self, kind: Kind, row: Any) -> Row:
        if kind == "ended":
            self.end_session(*row)
            return row[0], self._ended[row[0]]
        if kind == "marks":
            name, value, until = row
            return name, self.raise_mark(name, value, until), self._marked[name][1]
        if kind == "used":
            return row[0], self._used.setdefault(row[0], (row[1], None))[0]
        if kind == "sessions":
            session_id, properties, created_at, created_by = row
            record = SessionRecord(
                session_id, SessionProperties.from_json(properties), created_at, created_by=created_by
            )
            return _row(kind, self._sessions.setdefault(session_id, record))
        if kind == "tokens":
            return self._tokens.setdefault(tuple(row[:2]), IssuedToken(*row))
        if kind == "documents":
            return self._loaded_document(*row)
        lease, key, until = row
        with self._lock:
            until = self._slots.get(key, {}).get(lease, until)
            self._hold(lease, [Slot(key, None, until)])
            return lease, key, until

    def _loaded_document(self, name: str, version: int, content: str) -> Row:
        with self._lock:
            if self._documents.get(name, (0, ""))[0] < version:
                self._documents[name] = version, content
            return name, *self._documents[name]

    def examine(self) -> Sequence[Finding]:
        return [_FORGETFUL]

    def migrate(self) -> tuple[int, int]:
        return 0, 0

    def clock(self) -> float | None:
        return None


def _discard(nested: dict[str, dict[str, Any]], outer: str, inner: str) -> None:
    """Remove an entry, and then the dictionary that held it if that is empty."""
    entries = nested.get(outer, {})
    entries.pop(inner, None)
    if not entries:
        nested.pop(outer, None)


def _place(record: SessionRecord) -> tuple[float, bytes]:
    return record.created_at, record.session_id.encode("utf-8", "surrogatepass")


def _is_wanted(token: IssuedToken, page: TokenPage) -> bool:
    return (
        token.expires_at > page.now
        and page.session_id in (None, token.session_id)
        and page.actor_id in (None, token.actor_id)
        and (page.after is None or _place_of_token(token) < (page.after[0], page.after[1].encode()))
    )


def _place_of_token(token: IssuedToken) -> tuple[float, bytes]:
    return token.issued_at, token.token_id.encode("utf-8", "surrogatepass")


def _row(kind: Kind, entry: Any) -> Row:
    """The row of what a store in memory has of a kind."""
    if kind == "sessions":
        return entry.session_id, entry.properties.as_json(), entry.created_at, entry.created_by
    if kind == "used":
        name, (until, _) = entry
        return name, until
    if kind in ("marks", "documents"):
        name, content = entry
        return name, *content
    row: Row = entry
    return row


def _is_before(moment: float | None, limit: float | None) -> bool:
    return moment is not None and limit is not None and moment < limit
