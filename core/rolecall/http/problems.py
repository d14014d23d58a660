"""Errors as answers: RFC 9457 problem details, with RFC 6750 challenges."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from ..driver.threads import PoolExhausted
from ..errors import InsufficientRole, MethodNotAllowed, MissingCredential, RolecallError
from .answers import NO_STORE, json_bytes
from .messages import Response

_log: Final = logging.getLogger("rolecall")
#: The realm in challenges.
REALM: Final = "rolecall"
#: Phrases of RFC 9110 that Python has only from 3.13 on, so that answers are the same on each version.
_PHRASES: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def phrase(status: int) -> str:
    """The reason phrase of ``status`` (RFC 9110, section 15), the same on each version of Python."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def problem(error: RolecallError) -> Response:
    """The answer to a request that was refused with ``error``.

    Its ``type`` is left out, so it is ``about:blank`` and ``title`` the status's own phrase (RFC 9457, section 4.2.1);
    ``code`` is for machines and ``detail`` for people.
    """
    headers = [
        ("Content-Type", "application/problem+json"),
        NO_STORE,
    ]
    if isinstance(error, MissingCredential):
        headers.append(("WWW-Authenticate", f'Bearer realm="{REALM}"'))
    elif error.challenge is not None:
        headers.append(("WWW-Authenticate", _challenge(error)))
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ", ".join(error.allowed)))
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    body = {
        "title": phrase(error.status),
        "status": error.status,
        "detail": error.public_message,
        "code": error.code,
    }
    return Response(error.status, tuple(headers), json_bytes(body))


def _challenge(error: RolecallError) -> str:
    description = quotable(error.public_message)
    challenge = f'Bearer realm="{REALM}", error="{error.challenge}", error_description="{description}"'
    if isinstance(error, InsufficientRole):
        challenge += f', scope="{error.scope}"'
    return challenge


def quotable(text: str) -> str:
    """``text`` as a quoted ``error_description`` (RFC 6750, section 3)."""
    return "".join(
        character if " " <= character <= "~" and character != "\\" else "?" for character in text.replace('"', "'")
    )


def refused(error: RolecallError, write: Callable[[RolecallError], Response] = problem) -> Response:
    """The answer to a request that was refused with ``error``; the server's own faults are logged.

    :param write: makes the answer.
    """
    log_fault(error)
    try:
        return write(error)
    except Exception:  # a plugin's error with an impossible status or code
        return write(internal_fault())


def log_fault(error: RolecallError) -> None:
    """Log an error that is the server's own fault. Refusals of a full thread pool are logged there, in summary."""
    if error.status >= 500 and not isinstance(error.__cause__, PoolExhausted):
        _log.error("%s: %s", error.code, error)


def noted(error: Exception) -> RolecallError:
    """The error for the client; the server's own faults are logged."""
    if not isinstance(error, RolecallError):
        _log.error("rolecall could not answer a request", exc_info=error)
        return RolecallError("internal fault")
    log_fault(error)
    return error


def internal_fault() -> RolecallError:
    """The refusal for a fault of the kit itself: the traceback is logged, and not sent."""
    _log.exception("rolecall could not answer a request")
    return RolecallError("internal fault")
