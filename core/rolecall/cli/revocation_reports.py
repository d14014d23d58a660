"""The results of the commands that take grants back: each as lines for people, and as one object for ``--json``."""

from __future__ import annotations

from typing import Final

from ..revocations import Exclusion, Reset
from .reports import Line, Report, Tone, instant, quoted

_UNNAMED: Final = "tokens that do not say for whom they are, such as those of SDKs, are good still"


def token_revoked_report(session_id: str, token_id: str, expires_at: float | None, now: float) -> Report:
    """A token that was revoked.

    :param expires_at: the end of its life, in Unix seconds; None if that is not known.
    """
    lines = [
        Line("revoked", quoted(token_id), Tone.GOOD),
        Line("session", quoted(session_id)),
    ]
    if expires_at is not None:
        lines.append(Line("expires", _time(expires_at, now)))
    data = {"session_id": session_id, "token_id": token_id, "expires_at": expires_at, "expired": False}
    return Report((tuple(lines),), data)


def token_expired_report() -> Report:
    """A token that was not revoked, because it had expired, and no renewal of it can be alive."""
    text = "the token has expired, and so have its renewals: they are refused in any case; nothing was done"
    data = {"session_id": None, "token_id": None, "expires_at": None, "expired": True}
    return Report(((Line("", text, Tone.DOUBTFUL),),), data)


def actor_revoked_report(actor_id: str, not_before: int, now: float) -> Report:
    """An actor whose tokens were revoked.

    :param not_before: the second from which on it can get new ones, in Unix seconds.
    """
    lines = (
        Line("revoked", f"all tokens of {quoted(actor_id)}", Tone.GOOD),
        Line("not before", f"{_time(not_before, now)}: from then on the actor can get new ones"),
    )
    data = {"actor_id": actor_id, "not_before": not_before}
    return Report((lines, (Line("", _UNNAMED, Tone.DOUBTFUL),)), data)


def tokens_revoked_report(api_key: str, until: float, now: float) -> Report:
    """A project whose tokens were revoked that had been issued until a time, in Unix seconds."""
    not_before = int(until) + 1
    lines = (
        Line("revoked", f"all tokens of the project {quoted(api_key)}", Tone.GOOD),
        Line("not before", f"{_time(not_before, now)}: tokens that are issued from then on are good"),
    )
    return Report((lines,), {"api_key": api_key, "until": until, "not_before": not_before})


def reset_report(reset: Reset, now: float) -> Report:
    """A session that was reset."""
    lines = (
        Line("reset", quoted(reset.session_id), Tone.GOOD),
        Line("epoch", str(reset.epoch)),
        Line("not before", f"{_time(reset.not_before, now)}: SDKs' tokens that are issued from then on are good"),
    )
    return Report((lines,), reset._asdict())


def excluded_report(exclusion: Exclusion, now: float) -> Report:
    """An exclusion."""
    if exclusion.disconnected:
        connections = Line("connected", "no more: the media service has ended the actor's connections", Tone.GOOD)
    else:
        connections = Line("connected", "as before, if at all: end the actor's connections by their ids", Tone.DOUBTFUL)
    lines = (
        Line("excluded", quoted(exclusion.actor_id), Tone.GOOD),
        Line("session", quoted(exclusion.session_id)),
        Line("until", "for good" if exclusion.until is None else _time(exclusion.until, now)),
        connections,
    )
    return Report((lines, (Line("", _UNNAMED, Tone.DOUBTFUL),)), exclusion._asdict())


def readmitted_report(session_id: str, actor_id: str) -> Report:
    """An actor that was readmitted."""
    lines = (
        Line("readmitted", quoted(actor_id), Tone.GOOD),
        Line("session", quoted(session_id)),
    )
    return Report((lines,), {"session_id": session_id, "actor_id": actor_id})


def _time(seconds: float, now: float) -> str:
    time = instant(seconds, now)
    return f"{time.utc}, {time.relative}" if time else quoted(seconds)
