"""Interprets the answers of a service, and failures on the way to it. Nothing here waits."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from ...errors import InvalidServerCredential, NoMediaService, NotFoundAtService, RolecallError
from ...wording import shown
from .answers import Unreadable, problem_code
from .calls import Call
from .credentials import ServerCredential
from .faults import (
    ServiceAnswerInvalid,
    ServiceBusy,
    ServiceClockSkew,
    ServiceCredentialsRefused,
    ServiceDenied,
    ServiceDown,
    ServiceFault,
    ServiceLacksMedia,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)

Result = TypeVar("Result")

#: Clocks that differ by less, in seconds, are not the reason for a refused credential.
MAX_SKEW: Final = 10
#: The statuses of a service that is out of order only for a moment.
PASSING: Final = (429, 502, 503, 504)

_PROXY_WANTS_CREDENTIALS: Final = 407


class Answer(NamedTuple):
    """An answer of a service, with header names in lower case. A refusal's body is kept only if it is a problem."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Failure(NamedTuple):
    """The failure of an attempt: returned, so that no frame of a traceback holds a credential or an answer.

    :param error: the error for the caller.
    :param unsent: whether the request cannot have reached the service.
    :param passing: whether another attempt may succeed.
    :param wait: seconds until the next attempt, if the service asks for a pause.
    """

    error: RolecallError
    unsent: bool = False
    passing: bool = False
    wait: float | None = None

    def concluded(self, call: Call[Any], attempts: int) -> Failure:
        """This failure as the final result of ``call``: the message adds the attempts, and if the call may have run."""
        message = str(self.error)
        if attempts > 1:
            message += f" ({attempts} attempts)"
        is_open = isinstance(self.error, ServiceTimeout | ServiceUnreachable | ServiceDown) and not self.unsent
        if is_open and not call.repeatable:
            message += "; it may have been carried out all the same"
        self.error.args = (message,)
        return self


class Outcomes:
    """Interprets the answers and failures of one service.

    :param peer: the other end of connections, in words: the service, or a proxy on the way to it.
    :param clock: returns now, in Unix seconds.
    :param credential: what each request shows.
    """

    def __init__(
        self, api_url: str, peer: str, timeout: float, clock: Callable[[], float], credential: ServerCredential
    ) -> None:
        self._service = f"the service at {api_url}"
        self._peer = peer
        self._timeout = timeout
        self._clock = clock
        self._credential = credential

    def judged(self, call: Call[Result], answer: Answer) -> Result | Failure:
        """The result of an answered call, or its failure."""
        status = answer.status
        if status in (200, 201, 204):
            try:
                return call.read(answer.headers.get("content-type", ""), answer.body)
            except Unreadable as problem:
                return self.invalid(str(problem))
        if status == 404 and call.if_not_found is not None:
            return call.if_not_found()
        return self._refused(call, answer)

    def _refused(self, call: Call[Any], answer: Answer) -> Failure:
        status, code = answer.status, problem_code(answer.headers.get("content-type", ""), answer.body)
        if status in (401, 403) and code not in (None, InvalidServerCredential.code):
            return Failure(ServiceDenied(f"{self._service} denied the request ({status}): {code}"))
        if status == NoMediaService.status and code == NoMediaService.code:
            return Failure(ServiceLacksMedia(f"{self._service} has no media service for this session"))
        if status in (401, 403):
            return Failure(self._credentials_refused(status, answer.headers.get("date")))
        if status == 404 and call.is_about_existing:
            # Without the service's address, because a client may read this message.
            return Failure(NotFoundAtService("the media service knows no such session, connection or stream"))
        if status == 404:
            return self.invalid("it has no such route (404); check api_url")
        if status == _PROXY_WANTS_CREDENTIALS:
            return self.refused_by_proxy(status)
        if status == 429 or status >= 500:
            return self._out_of_order(answer)
        if 300 <= status < 400:
            where = _target(answer.headers)
            return self.invalid(f"it is a redirect ({status}){where}, which is not followed; check api_url")
        if status >= 400:
            return Failure(ServiceRefused(f"{self._service} refused the request with status {status}"))
        return self.invalid(f"its status is {status}; expected 200 or 204")

    def _credentials_refused(self, status: int, date: str | None) -> ServiceCredentialsRefused:
        refused = f"{self._service} refused {self._credential.made_of} ({status})"
        mistake = self._credential.advice
        theirs = _moment(date)
        if theirs is None:
            return ServiceCredentialsRefused(f"{refused}: {mistake}")
        ahead = self._clock() - theirs
        if abs(ahead) < MAX_SKEW:
            return ServiceCredentialsRefused(f"{refused}: {mistake}; the clocks agree within {MAX_SKEW} s")
        side = "ahead of" if ahead > 0 else "behind"
        return ServiceClockSkew(
            f"{refused}: this server's clock is {abs(ahead):.0f} s {side} the service's; set it right, and if the "
            f"service still refuses, {mistake}",
            ahead,
        )

    def _out_of_order(self, answer: Answer) -> Failure:
        status, wait = answer.status, _retry_after(answer.headers, self._clock())
        later = "" if wait is None else f", and asks for a pause of {wait:.0f} s"
        if status == 429:
            error: ServiceFault = ServiceBusy(f"{self._service} takes no more requests for now (429){later}")
        else:
            error = ServiceDown(f"{self._service} is out of order: it answered {status}{later}")
        return Failure(error, passing=status in PASSING, wait=wait)

    def invalid(self, why: str) -> Failure:
        """The failure for an answer that is not that of an OpenTok-compatible service."""
        return Failure(ServiceAnswerInvalid(f"{self._service} did not answer as an OpenTok-compatible one: {why}"))

    def no_connection_in_time(self, seconds: float) -> Failure:
        error = ServiceTimeout(f"no connection to {self._peer} could be made within {seconds:.3g} s")
        return Failure(error, unsent=True, passing=True)

    def no_answer_in_time(self, began: bool) -> Failure:
        what = "began to answer, but did not finish" if began else "did not answer"
        return Failure(ServiceTimeout(f"{self._service} {what} within {self._timeout:g} s"))

    def no_connection(self, error: Exception) -> Failure:
        why, passing = _reason(error)
        unreachable = ServiceUnreachable(f"no connection to {self._peer} could be made: {why}")
        return Failure(unreachable, unsent=True, passing=passing)

    def refused_by_proxy(self, status: int | None) -> Failure:
        """The failure for a proxy that made no connection to the service, and answered with ``status`` instead."""
        answered = "" if status is None else f" ({status})"
        wants = status == _PROXY_WANTS_CREDENTIALS
        why = "wants other credentials" if wants else "made no connection to it"
        error = ServiceUnreachable(f"{self._service} cannot be reached: the proxy {why}{answered}")
        return Failure(error, unsent=True, passing=not wants)

    def broken(self, began: bool) -> Failure:
        """The failure for a connection that ended before the answer was complete."""
        when = "in the middle of its answer" if began else "before it answered"
        return Failure(ServiceUnreachable(f"the connection to {self._service} broke {when}"), passing=True)

    def unexpected(self, error: Exception) -> Failure:
        return Failure(ServiceFault(f"the request to {self._service} failed: {type(error).__name__}"))


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The pause that an answer asks for, in seconds (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = _moment(text)
    if moment is None:
        return None
    # By the service's own clock, if its answer has a date.
    theirs = _moment(headers.get("date"))
    return max(0.0, moment - (now if theirs is None else theirs))


def _moment(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _target(headers: Mapping[str, str]) -> str:
    """The target of a redirect: the host alone, because the rest may repeat the request."""
    try:
        host = urlsplit(headers.get("location", "")).hostname
    except ValueError:
        return ""
    return f" to {shown(host, 60)}" if host else ""


def _reason(error: BaseException | None) -> tuple[str, bool]:
    """Why a connection could not be made, and whether another attempt may succeed."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid ({cause.verify_message})", False
        if isinstance(cause, ssl.SSLError):
            return "it speaks no TLS that this server accepts", False
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved", True
        if isinstance(cause, ConnectionRefusedError):
            return "it refused the connection", True
        if isinstance(cause, ConnectionError):
            return "it closed the connection", True
    return "the network has no route to it", True


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and len(causes) < 10:
        causes.append(error)
        if isinstance(error, BaseExceptionGroup):  # of trio: one exception for each address
            causes.extend(error.exceptions)
        error = error.__cause__ or error.__context__
    return causes
