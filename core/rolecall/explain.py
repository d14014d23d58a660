"""Explanations of decisions: each step, for people and for machines. They hold no token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .errors import (
    BadSignature,
    CredentialTooLarge,
    CsrfFailed,
    InsufficientRole,
    InvalidToken,
    MalformedCredential,
    MalformedToken,
    MissingCredential,
    NoIdentity,
    NoMediaService,
    PolicyDenied,
    RevokedToken,
    RolecallError,
    RoleNotHeld,
    SessionEnded,
    SessionNotFound,
    UnknownKey,
    WrongSession,
)
from .policy import Allow, Ballot, Decision, Deny, Limit, Limits
from .wording import printable

if TYPE_CHECKING:
    from .request import Request

#: The longest session id or other name in a path; every token is longer.
_LONGEST_NAME: Final = 255
_SHOWN_OF_A_NAME: Final = 24


class Step(NamedTuple):
    """One step of a decision.

    :param name: the check: ``"signature"``, ``"session open"``, ``"policy classroom"``.
    :param outcome: ``"ok"``, ``"allow"``, ``"limit"``, ``"abstain"``, ``"deny"``, ``"fault"`` or ``"refused"``.
    :param detail: the result, or the reason of a refusal.
    :param seconds: how long a policy took; 0 for the kit's own steps, which take microseconds.
    """

    name: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0


class Explanation(NamedTuple):
    """The outcome of a decision, and the steps that led to it.

    :param subject: the kind of request: ``"token"``, ``"session"``, ``"access"``, ``"ticket"`` or
        ``"moderation"``.
    :param allowed: whether it is granted.
    :param steps: in order, up to the one that refuses; the votes of the policies are adjacent.
    :param code: the code of the refusal; None if the request is granted.
    """

    subject: str
    allowed: bool
    steps: tuple[Step, ...]
    code: str | None = None

    @property
    def trace(self) -> str:
        """The steps as a table for people; the same as ``str(explanation)``."""
        return str(self)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a dict for JSON."""
        return {
            "subject": self.subject,
            "allowed": self.allowed,
            "code": self.code,
            "steps": [
                {"step": step.name, "outcome": step.outcome, "detail": step.detail, "seconds": round(step.seconds, 6)}
                for step in self.steps
            ],
        }

    def as_json(self) -> str:
        """The explanation as one line of JSON."""
        return _one_line(self.as_dict())

    def __str__(self) -> str:
        """The explanation as a table."""
        rows = [
            (printable(step.name), step.outcome, _duration(step.seconds), printable(step.detail)) for step in self.steps
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        verdict = "allowed" if self.allowed else f"refused ({printable(str(self.code))})"
        lines = [f"{self.subject}: {verdict}"]
        for name, outcome, duration, detail in rows:
            row = f"  {name:<{widths[0]}}  {outcome:<{widths[1]}}  {duration:>{widths[2]}}  {detail}"
            lines.append(row.rstrip())
        return "\n".join(lines)


def circumstances(
    *, time: float, call_id: str, session_id: str | None, http: Request | None, actor_id: object
) -> dict[str, Any]:
    """Where, when and by whom a call was made, as a dict for JSON: the same members in traces and in events.

    Names that are too long are cut short, for each may be a misplaced token.

    :param time: in Unix seconds.
    :param http: the request from outside; its query, its headers and its body are left out.
    """
    return {
        "time": time,
        "call_id": call_id,
        "session_id": None if session_id is None else _without_tokens(session_id),
        "method": None if http is None else http.method,
        "route": None if http is None else _without_tokens(http.root + http.route),
        "actor": None if actor_id is None else str(actor_id),
    }


def log_explanation(explanation: Explanation, about: dict[str, Any]) -> None:
    """Log a decision to ``rolecall.trace``: as a line of JSON, and as the record's attribute ``rolecall``.

    :param about: its :func:`circumstances`.
    """
    import logging  # not free to import, and rarely needed

    what = explanation.as_dict()
    steps = what.pop("steps")
    fields = {**what, **about, "steps": steps}
    # In one attribute: a record refuses names that an app's own record factory has set, such as "session_id".
    logging.getLogger("rolecall.trace").info("%s", _one_line(fields), extra={"rolecall": fields})


def _without_tokens(path: str) -> str:
    if len(path) <= _LONGEST_NAME:
        return path
    return "/".join(part if len(part) <= _LONGEST_NAME else part[:_SHOWN_OF_A_NAME] + "…" for part in path.split("/"))


def _one_line(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))


class Trace:
    """Collects the steps of one decision while it is made."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[Step | Decision] = []

    def ok(self, name: str, detail: str = "") -> None:
        self._entries.append(Step(name, "ok", detail))

    def votes(self, decision: Decision) -> None:
        # Rendered only on demand, so that a decision does not wait for its explanation.
        self._entries.append(decision)

    def finish(self, subject: str, error: RolecallError | None) -> Explanation:
        """The explanation of a decision that ended with ``error``, or well if None."""
        steps: list[Step] = []
        for entry in self._entries:
            steps.extend([entry] if isinstance(entry, Step) else map(_vote_step, entry.ballots))
        # A refusing vote is among the steps already.
        if error is not None and not any(step.outcome in ("deny", "fault") for step in steps):
            steps.append(Step(failed_step(error), "refused", str(error)))
        return Explanation(subject, error is None, tuple(steps), None if error is None else error.code)


#: The checks of a token, in order.
TOKEN_STEPS: Final = ("form", "key", "signature", "claims")
_STEP_OF_ERROR: Final[Sequence[tuple[type[RolecallError] | tuple[type[RolecallError], ...], str]]] = (
    ((MissingCredential, MalformedCredential, CredentialTooLarge, CsrfFailed), "credential"),
    (MalformedToken, "form"),
    (UnknownKey, "key"),
    (BadSignature, "signature"),
    (WrongSession, "session"),
    (NoMediaService, "media service"),
    (NoIdentity, "identity"),
    (RoleNotHeld, "role held"),
    ((RevokedToken, SessionEnded, SessionNotFound), "session open"),
    (InsufficientRole, "role"),
    (PolicyDenied, "grant"),
    (InvalidToken, "claims"),
)


def failed_step(error: RolecallError) -> str:
    """The step at which ``error`` stops a decision."""
    if error.step is not None:
        return error.step
    return next((name for kinds, name in _STEP_OF_ERROR if isinstance(error, kinds)), "request")


def _vote_step(ballot: Ballot) -> Step:
    name = f"policy {ballot.plugin}"
    if ballot.fault:
        return Step(name, "fault", ballot.fault, ballot.seconds)
    if isinstance(ballot.vote, Deny):
        return Step(name, "deny", " ".join(filter(None, (ballot.vote.reason, ballot.vote.detail))), ballot.seconds)
    if isinstance(ballot.vote, Limit):
        return Step(name, "limit", _limits(ballot.vote), ballot.seconds)
    if isinstance(ballot.vote, Allow):
        return Step(name, "allow", _limits(ballot.vote), ballot.seconds)
    return Step(name, "abstain", "", ballot.seconds)


def _limits(vote: Limits) -> str:
    limits = [
        f"{name}={value if isinstance(value, int | float) else str(value)}"
        for name, value in (
            ("max_role", vote.max_role),
            ("latest_expiry", vote.latest_expiry),
            ("max_lifetime", vote.max_lifetime),
            ("capabilities", None if vote.capabilities is None else "+".join(sorted(vote.capabilities))),
            # Data that a policy writes into a token may be personal, so its content is not shown.
            ("data", None if vote.data is None else "replaced"),
            ("reserve", None if vote.reserve is None else "once all allow"),
        )
        if value is not None
    ]
    return ", ".join(filter(None, (vote.reason, *limits)))


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if 0 < seconds < 0.001 else f"{seconds * 1e3:.1f} ms" if seconds else ""
