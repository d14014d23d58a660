"""The result of the command that lists tokens: as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from typing import Final

from ..kit.calls import LiveTokens
from ..stores.ledger import IssuedToken
from .reports import Line, Report, instant, quoted, row

_COLUMNS: Final = ("token", "session", "for", "role", "expires")


def live_tokens_report(found: LiveTokens, now: float) -> Report:
    """A page of live tokens."""
    data = {"tokens": [token._asdict() for token in found], "next": found.next}
    # A page may be empty though there are more: tokens that were revoked are left out.
    more = ((Line("", f"there are more: --after {found.next}"),),) if found.next else ()
    if not found.tokens:
        return Report(((Line("", "no token"),), *more), data)
    rows = [_COLUMNS, *(_cells(token, now) for token in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = (Line(row(rows[0], widths)), *(Line("", row(cells, widths)) for cells in rows[1:]))
    return Report((table, *more), data)


def _cells(token: IssuedToken, now: float) -> tuple[str, ...]:
    time = instant(token.expires_at, now)
    return (
        quoted(token.token_id)[1:-1],
        quoted(token.session_id)[1:-1],
        "-" if token.actor_id is None else quoted(token.actor_id),
        token.role,
        f"{time.utc}, {time.relative}" if time else quoted(token.expires_at),
    )
