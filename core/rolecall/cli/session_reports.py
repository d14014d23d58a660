"""The results of the commands for sessions: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..kit import Session
from .reports import Line, Report, Tone, counted, instant, quoted, row

_COLUMNS: Final = ("session", "state", "created", "by")


def listed_report(sessions: Sequence[Session], cursor: str | None, now: float) -> Report:
    """A page of sessions.

    :param cursor: where the page ends; None if there are no more.
    """
    data = {"sessions": [_data(one) for one in sessions], "next": cursor}
    # A page may be empty though there are more: where projects share a store, others' sessions are left out.
    more = ((Line("", f"there are more: --after {cursor}"),),) if cursor else ()
    if not sessions:
        return Report(((Line("", "no session"),), *more), data)
    rows = [_COLUMNS, *(_cells(one, now) for one in sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = (Line(row(rows[0], widths)), *(Line("", row(cells, widths)) for cells in rows[1:]))
    return Report((table, *more), data)


def shown_report(session: Session, now: float) -> Report:
    """One session with all that the store has of it."""
    lines = (
        Line("session", quoted(session.session_id)),
        _state_line(session, now),
        Line("created", _time(session.created_at, now)),
        Line("by", _actor(session)),
        *(Line(name, quoted(value)) for name, value in session.properties.as_dict().items() if value is not None),
    )
    return Report((lines,), _data(session))


def ended_report(ended: Sequence[tuple[str, Session | None]]) -> Report:
    """The sessions that were ended.

    :param ended: the id of each, and the session as it was before; None if the store does not know it.
    """
    lines = tuple(Line(_outcome(before), quoted(session_id), _tone(before)) for session_id, before in ended)
    data = [
        {
            "session_id": session_id,
            "known": before is not None,
            "ended_before": before is not None and before.ended_at is not None,
        }
        for session_id, before in ended
    ]
    unknown = sum(before is None for _, before in ended)
    note = f"{counted(unknown, 'id')} unknown to the store; tokens for them are refused from now on all the same"
    notes = ((Line("", note, Tone.DOUBTFUL),),) if unknown else ()
    return Report((lines, *notes), {"ended": data})


def _outcome(before: Session | None) -> str:
    if before is None:
        return "unknown, ended"
    return "ended" if before.ended_at is None else "had ended already"


def _tone(before: Session | None) -> Tone:
    return Tone.DOUBTFUL if before is None else Tone.GOOD


def _cells(session: Session, now: float) -> tuple[str, ...]:
    state = "open" if session.ended_at is None else "ended"
    return quoted(session.session_id)[1:-1], state, _time(session.created_at, now), _actor(session)


def _state_line(session: Session, now: float) -> Line:
    if session.ended_at is None:
        return Line("state", "open", Tone.GOOD)
    return Line("state", f"ended {_time(session.ended_at, now)}", Tone.DOUBTFUL)


def _actor(session: Session) -> str:
    return "-" if session.created_by is None else quoted(session.created_by)


def _time(seconds: float, now: float) -> str:
    time = instant(seconds, now)
    return f"{time.utc}, {time.relative}" if time else quoted(seconds)


def _data(session: Session) -> dict[str, Any]:
    # To its operator alone, who has the store anyway, the creator is shown.
    return {
        **session.as_dict(),
        "archive_name": session.properties.archive_name,
        "archive_resolution": session.properties.archive_resolution,
        "created_by": session.created_by,
    }
