"""Guarded WebSockets under any framework: who may open one, and when and how it is closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from ...driver import event_loops
from ...engine import Call
from ...errors import MalformedCredential, MissingCredential, OriginNotAllowed, RolecallError
from ...request import Request
from ...tokens import Grant
from ...wording import shown
from ..api import Api
from ..credentials import TOO_MANY
from ..guards.admission import Entered, admission
from ..guards.entries import Entry
from ..guards.guard import Guard
from ..problems import noted
from .watching import SOCKET, Watch

Answer = TypeVar("Answer")

_log: Final = logging.getLogger("rolecall")

#: The subprotocol before a client's token, because a browser sets no header on a WebSocket:
#: ``new WebSocket(url, ["rolecall.bearer", token])``. It is also the answer, unless the app chooses another one.
BEARER: Final = "rolecall.bearer"
#: Added to an HTTP status it gives the close code: 4401, 4403. Codes from 4000 on are free for applications
#: (RFC 6455, section 7.4.2).
CLOSE_CODES: Final = 4000
#: Seconds for an app to end by itself after its socket was closed, and for a client to receive the close.
GRACE: Final = 5.0
_NEEDED: Final = (
    f"this WebSocket needs a token: send 'Authorization: Bearer <token>' or the subprotocols {BEARER}, <token>"
)
# A control frame has at most 125 bytes, of which the code takes two (RFC 6455, section 5.5).
_MAX_REASON: Final = 123


class GrantEnded(OSError):
    """Raised in an app that sends on a WebSocket that was closed because its grant had ended."""


def split_offers(offers: Iterable[str]) -> tuple[list[str], list[str]]:
    """The subprotocols that the app may choose from, and the tokens that were offered among them.

    :param offers: the values of ``Sec-WebSocket-Protocol``, each with one subprotocol, or with several between commas.
    """
    subprotocols, tokens = [], []
    remaining = (offer.strip() for value in offers for offer in value.split(","))
    for offer in remaining:
        if offer == BEARER:
            tokens.append(next(remaining, ""))
        else:
            subprotocols.append(offer)
    return subprotocols, tokens


def close_code(status: int) -> int:
    """The close code of a WebSocket for an HTTP status: 4401 for 401."""
    return CLOSE_CODES + status


def close_reason(error: RolecallError) -> str:
    """The close reason of a WebSocket for ``error``, cut to the length of a control frame."""
    return f"{error.code}: {error.public_message}".encode(errors="replace")[:_MAX_REASON].decode(errors="ignore")


class Handshake:
    """The request that opens a WebSocket.

    :param api: of the kit that verifies.
    :param request: the original request.
    :param tokens: the tokens in subprotocols; see :func:`split_offers`.
    """

    __slots__ = ("_api", "_tokens", "request")

    def __init__(self, api: Api, request: Request, tokens: list[str]) -> None:
        self._api = api
        self._tokens = tokens
        headers = dict(request.headers)
        headers.pop("sec-websocket-protocol", None)
        if tokens:
            sent = headers.get("authorization", "")
            # Other schemes are not the kit's: a browser sends Basic by itself.
            bearers = [sent] if "bearer" in sent.lower() else []
            headers["authorization"] = ",".join([*bearers, *(f"Bearer {token}" for token in tokens)])
        #: The request for policies: a token in a subprotocol is shown as an Authorization header.
        self.request = request._replace(headers=headers)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol for the answer, unless the app has chosen one.

        A browser that offered subprotocols fails the connection if the server chooses none.
        """
        return BEARER if self._tokens else None

    async def enter(self, guard: Guard, session_id: str | None) -> Entered:
        """The grant of an admitted client; the error of a refused one; None if it is admitted without a token.

        :param session_id: the session that the route names; None if it names none.
        """
        try:
            self.check()
        except RolecallError as error:
            return await self._told(error, session_id)
        entered = await admission(self._api, self.request, guard, session_id)
        if isinstance(entered, MissingCredential):
            return MissingCredential(_NEEDED)
        try:
            if isinstance(entered, Grant):
                # A grant that only the leeway admits has ended already.
                self._api.engine.check_expiry(entered)
        except RolecallError as error:
            return await self._told(error, session_id)
        return noted(entered) if isinstance(entered, RolecallError) else entered

    async def serve(
        self,
        guard: Guard,
        session_id: str | None,
        app: Callable[[], Awaitable[Answer]],
        close: Callable[[RolecallError], Awaitable[None]],
        kept: MutableMapping[str, Any],
        gone: tuple[type[Exception], ...] = (),
    ) -> Answer | RolecallError:
        """Run ``app`` on a WebSocket if its client may enter, until the grant ends.

        :param session_id: the session that the route names; None if it names none.
        :param close: closes the WebSocket, if it is open.
        :param kept: the request's mapping for :func:`~rolecall.http.gateways.watching.granted`.
        :param gone: the exceptions that ``app`` may end with after its WebSocket was closed.
        :returns: the answer of ``app``; or the error that refused the client, or that ended ``app`` without an answer.
        """
        entered = await self.enter(guard, session_id)
        if isinstance(entered, RolecallError):
            return entered
        if entered is None:
            return await app()
        socket = GuardedSocket(self.watch(guard, session_id, entered), close, _keep_nothing, kept.get(SOCKET))
        kept[SOCKET] = socket
        answer = await socket.run(app, gone)
        if answer is None and socket.ended is not None:
            return socket.ended
        return answer  # type: ignore[return-value]  # an app that is not ended gives its answer

    def watch(self, guard: Guard, session_id: str | None, grant: Grant) -> Watch:
        """Make the watch over the client's grant."""
        entry = Entry(self._api, guard.requirement, guard.session_entered(session_id, grant), grant)
        return Watch(entry, self.request)

    def check(self) -> None:
        """Refuse an origin that is not listed, and a bad token in a subprotocol.

        It is reported as a bad token in a subprotocol, not as a bad Authorization header.

        :raises RolecallError: the plugins have not been told of it.
        """
        self._check_origin()
        if not self._tokens:
            return
        if self.request.headers["authorization"] != f"Bearer {self._tokens[0]}":
            raise MalformedCredential(TOO_MANY)
        if not self._tokens[0].strip():
            raise MalformedCredential(f"the subprotocol {BEARER!r} is followed by no token")

    def _check_origin(self) -> None:
        # Without a list, a token that a script must know is sufficient proof.
        web, origin = self._api.web, self.request.headers.get("origin")
        if origin is not None and (web.origins or web.cookie) and origin not in web.origins:
            refused = f"pages of {shown(origin, 80)} open no WebSocket here"
            _log.info("%s; see Web(origins=…)", refused)  # the advice is for the operators of the app
            raise OriginNotAllowed(refused)

    async def _told(self, error: RolecallError, session_id: str | None) -> RolecallError:
        await self._api.engine.tell_of_refusal(error, session_id, Call(self.request))
        return error


class GuardedSocket:
    """An open WebSocket, whose grant is checked again and again. It is closed when the grant ends.

    The app should end by itself then; after :data:`GRACE` seconds it is cancelled.

    :param watch: checks the grant; see :meth:`Handshake.watch`.
    :param close: closes the WebSocket, with :func:`close_code` and :func:`close_reason`.
    :param keep: stores a grant for the app: the first one, and the one after each check.
    :param outer: the same WebSocket in a guard around this one.
    """

    def __init__(
        self,
        watch: Watch,
        close: Callable[[RolecallError], Awaitable[None]],
        keep: Callable[[Grant], None],
        outer: GuardedSocket | None = None,
    ) -> None:
        self._watch = watch
        self._close = close
        self._keep = keep
        #: Why it was closed; None while it is open.
        self.ended: RolecallError | None = None
        self._loop = event_loops.running()
        self._watched = self._loop.watched()
        self._inner: GuardedSocket | None = None
        self._outer = outer
        if outer is not None:
            outer._inner = self
        keep(watch.grant)

    @property
    def grant(self) -> Grant:
        """The grant after the last check."""
        return self._watch.grant

    async def renew(self, token: str) -> Grant:
        """Replace the grant by another token's, to keep the WebSocket open beyond its expiry.

        The token is verified like the first one. It must be for the same session, carry the same connection data, and
        be sufficient for each guard around; the policies vote.

        :param token: the token, which the client has sent in the app's own way.
        :returns: the new grant.
        :raises RolecallError: if it is refused, or the WebSocket is closed already. The grant is unchanged then.
        """
        guards = [*self._guards()]
        grants = []
        for guard in guards:
            guard._check_open()
            grants.append(await guard._watch.ask_to_renew(token))
        for guard in guards:
            guard._check_open()  # it may have ended meanwhile
        for guard, grant in zip(guards, grants, strict=True):
            guard._watch.renew(grant)
            guard._keep_grant()
        return self.grant

    async def run(self, app: Callable[[], Awaitable[Answer]], gone: tuple[type[Exception], ...] = ()) -> Answer | None:
        """Run ``app`` to its end.

        :param gone: the exceptions that it may end with after its WebSocket was closed.
        :returns: its answer; None if it was cancelled.
        """
        async with self.open(gone):
            return await app()
        return None

    @asynccontextmanager
    async def open(self, gone: tuple[type[Exception], ...] = ()) -> AsyncIterator[None]:
        """The block that the app runs in, for a framework that runs it itself; it is cancelled as :meth:`run` is.

        :param gone: see :meth:`run`.
        """
        try:
            async with self._watched.beside(self._close_at_the_end):
                try:
                    yield
                finally:
                    self.stop_watching()
        except Exception as error:
            if self.ended is None or not _is_only(error, (GrantEnded, *gone)):
                raise

    def stop_watching(self) -> None:
        """Stop watching, as nothing is left to close. A closing that has begun is completed, and reported."""
        if self.ended is None:
            self._watched.stop_watching()

    def _guards(self) -> Iterator[GuardedSocket]:
        """This socket, and those of the guards around it."""
        yield self
        if self._outer is not None:
            yield from self._outer._guards()

    def _check_open(self) -> None:
        if self.ended is not None:
            raise self.ended

    def _keep_grant(self) -> None:
        if self._inner is None:  # the app sees the grant of the innermost guard
            self._keep(self.grant)

    def _is_closed_by_another(self) -> bool:
        """Whether a guard around this one, or within, has closed the WebSocket already, and reports it."""
        outermost = [*self._guards()][-1]
        one: GuardedSocket | None = outermost
        while one is not None:
            if one is not self and one.ended is not None:
                return True
            one = one._inner
        return False

    async def _close_at_the_end(self) -> None:
        error = noted(await self._watch.until_the_end(self._keep_grant))
        is_closed = self._is_closed_by_another()
        self.ended = error
        self._watched.limit(GRACE)
        if is_closed:
            return
        with suppress(Exception):  # the client may disconnect at this moment
            # A client that does not read blocks the sending.
            async with self._loop.timeout(GRACE):
                await self._close(error)
        await self._watch.tell(error)


def _keep_nothing(_: Grant) -> None:
    """Keep no grant: the socket itself is kept, and knows its grant."""


def _is_only(error: Exception, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether ``error`` is of these kinds, or a group of nothing else."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)
