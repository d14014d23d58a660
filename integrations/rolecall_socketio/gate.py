"""The gate of a Socket.IO namespace: guards for its handlers, and the grants of its clients."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, Final, NamedTuple, TypeVar, cast

from socketio import AsyncServer, Server
from socketio.exceptions import ConnectionRefusedError as Unconnected

from rolecall import Capability, CapabilityName, Grant, Role, Rolecall, RoleName
from rolecall.errors import ConfigurationError, InvalidRequest, MalformedCredential, MissingCredential, RolecallError
from rolecall.http import adapter
from rolecall.http.adapter import UNSAID, Guard, SessionParam, SessionResolver
from rolecall.http.gateways import wsgi

Handler = TypeVar("Handler", bound=Callable[..., Any])

#: The event for a client whose grant has ended, before it is disconnected.
ENDED: Final = "rolecall_ended"
# The key of a connection's records in its environment, which python-socketio drops with the connection.
_SOCKETS: Final = "rolecall.sockets"
_REQUEST: Final = "rolecall.request"
# Seconds after which a task looks whether its client has gone.
_LOOK: Final = 5.0
# Seconds between two attempts to disconnect a client.
_AGAIN: Final = 0.1
_NO_REQUEST: Final = adapter.Request("GET", "")
_NEEDED: Final = "a client needs a token: connect with auth={'token': '…'}, or with an Authorization header"
_ELSEWHERE: Final = (
    "the handler of connect that the gate of the namespace {!r} guards is one of another namespace; make a "
    "Gate(sio, kit, namespace) for each"
)
_FLASK: Final = (
    "Flask-SocketIO calls a handler without the client's id, of which a Gate knows the grant; guard the handler by "
    "rolecall_flask: from rolecall_flask import require_role"
)
_NO_CLIENT: Final = (
    "a guarded handler was called without the client's id, which python-socketio passes first; register it "
    "with the server of its Gate"
)
_ANY_EVENT: Final = (
    "a guard does not stand on the handler of '*', whose first argument the client chooses; guard each event"
)


class Call(NamedTuple):
    """A client's event, for the ``session`` function of a guard.

    :param sid: the client's id in the namespace.
    :param environ: the environment of the request that opened the connection.
    :param data: what the client has sent: the ``auth`` of ``connect``; of an event its argument, or a tuple of several.
    """

    sid: str
    environ: dict[str, Any]
    data: Any


class Gate:
    """Guards the handlers of a Socket.IO server in one namespace, and disconnects a client when its grant ends.

    A client sends its token as ``auth={"token": …}``, or in the ``Authorization`` header. The handler of ``connect``
    must have a guard: events of a client that it has not admitted are refused.

    :param sio: a ``socketio.Server`` or ``socketio.AsyncServer``.
    :param kit: the kit that verifies.
    :param namespace: the namespace of the handlers.
    :raises ConfigurationError: for an invalid argument.
    """

    def __init__(self, sio: Server | AsyncServer, kit: Rolecall, namespace: str = "/") -> None:
        if not isinstance(sio, Server | AsyncServer):
            raise ConfigurationError(f"Gate takes a socketio.Server or AsyncServer, not {adapter.shown(sio)}")
        if not isinstance(kit, Rolecall):
            raise ConfigurationError(f"Gate takes a Rolecall(…), not {adapter.shown(kit)}")
        if sio.always_connect:
            raise ConfigurationError(
                "the server connects a client before it asks the handler of connect, so what it sends to all reaches "
                "whoever is about to be refused; leave always_connect out"
            )
        self._sio = sio
        self._kit = kit
        self._namespace = namespace
        self._is_async = isinstance(sio, AsyncServer)
        self._api = kit.aio.api if self._is_async else kit.api

    def require_role(
        self,
        role: Role | RoleName,
        *,
        exact: bool = False,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Callable[[Handler], Handler]:
        """Admit tokens whose role has all capabilities of ``role``: a decorator for the handler of an event.

        On the handler of ``connect`` it refuses the client, with the error's message, code and status. On any other the
        handler does not run, and the acknowledgement is ``{"error": {"code": …, "status": …, "message": …}}``.

        :param session_param: the member of the data that names the session, which the token must be for. The default is
            ``session_id``, if the data has it. None binds the guard to no session.
        :param session: a function from the :class:`Call` to the session's id, ``def`` or ``async def``.
        """
        return self._guarding(
            Guard.of_role(role, exact=exact, kit=self._kit, session_param=session_param, session=session)
        )

    def require_capability(
        self,
        capability: Capability | CapabilityName,
        *,
        session_param: SessionParam = UNSAID,
        session: SessionResolver | None = None,
    ) -> Callable[[Handler], Handler]:
        """Admit tokens with this capability; see :meth:`require_role`."""
        return self._guarding(
            Guard.of_capability(capability, kit=self._kit, session_param=session_param, session=session)
        )

    def require_token(
        self, *, optional: bool = False, session_param: SessionParam = UNSAID, session: SessionResolver | None = None
    ) -> Callable[[Handler], Handler]:
        """Admit every good token, whatever its role; see :meth:`require_role`.

        :param optional: admit clients without a token, too; they have no grant.
        """
        return self._guarding(
            Guard.of_token(optional=optional, kit=self._kit, session_param=session_param, session=session)
        )

    def find_grant(self, sid: str) -> Grant | None:
        """The grant of a client; None if it has none."""
        return adapter.granted(self._kept(sid))

    def current_grant(self, sid: str) -> Grant:
        """The grant of a client.

        :raises RuntimeError: if it has none.
        """
        return adapter.current_grant(self._kept(sid))

    def _guarding(self, guard: Guard) -> Callable[[Handler], Handler]:
        def decorate(handler: Handler) -> Handler:
            name = getattr(handler, "__name__", "")
            if not inspect.isroutine(handler) or name in ("disconnect", "on_disconnect"):
                raise ConfigurationError(
                    f"a guard protects the handler of connect or of an event, not {adapter.shown(handler)}; a handler "
                    "of disconnect must run for everybody"
                )
            guarded: Any

            def is_of(event: str) -> bool:
                return name == f"on_{event}" or self._has_for(event, guarded)

            if self._is_async:

                @wraps(handler)
                async def guarded(*args: Any) -> Any:
                    refusal = await self._enter(guard, is_of, args)
                    if refusal is not None:
                        return refusal
                    answer = handler(*self._as_taken(handler, args))
                    return await answer if inspect.isawaitable(answer) else answer

            else:

                @wraps(handler)
                def guarded(*args: Any) -> Any:
                    refusal = adapter.drive(self._enter(guard, is_of, args))
                    return handler(*self._as_taken(handler, args)) if refusal is None else refusal

            return cast("Handler", guarded)

        return decorate

    async def _enter(self, guard: Guard, is_of: Callable[[str], bool], args: tuple[Any, ...]) -> Any:
        """Admit an event; return the acknowledgement of a refused one.

        :param is_of: whether the handler is that of an event. A client can also send ``connect`` as an event.
        :param args: those of the handler.
        :raises Unconnected: if it is the event ``connect``, and refused.
        :raises ConfigurationError: if the handler is called without the client's id.
        """
        if (event := _event_of_flask()) is not None:
            error = adapter.noted(ConfigurationError(_FLASK))
            if event == "connect":
                raise _unconnected(error)
            return _acknowledged(error)
        sid, *data = _without_self(args)
        environ = self._sio.get_environ(sid, self._namespace)
        # No client sends this very object.
        if data and environ is not None and data[0] is environ:
            await self._connect(guard, Call(sid, environ, data[1] if len(data) > 1 else None))
            return None
        if environ is None and self._is_connection(data):
            raise _unconnected(adapter.noted(ConfigurationError(_ELSEWHERE.format(self._namespace))))
        call = Call(sid, environ or {}, data[0] if len(data) == 1 else tuple(data))
        kept = self._kept(sid)
        request = kept.get(_REQUEST, _NO_REQUEST)
        try:
            if is_of("connect"):
                raise InvalidRequest("a client connects once, and not by an event")
            if is_of("*"):
                raise ConfigurationError(_ANY_EVENT)
            await adapter.enter_within(kept, request, guard, _named(guard, call.data), "an event", call)
        except Exception as caught:
            return _acknowledged(caught if isinstance(caught, RolecallError) else adapter.noted(caught))
        return None

    async def _connect(self, guard: Guard, call: Call) -> None:
        try:
            handshake = adapter.Handshake(self._api, _request(call), _tokens(call.data))
            session_id = adapter.named_session(guard, _named(guard, call.data), "a connection")
            entered = await handshake.enter(guard, session_id)
        except Exception as caught:
            entered = adapter.noted(caught)
        if isinstance(entered, RolecallError):
            raise _unconnected(entered)
        if entered is None:
            return
        kept: dict[str, Any] = {_REQUEST: handshake.request}
        session_id = guard.session_entered(session_id, entered)
        adapter.keep_entry(kept, self._api, guard.requirement, session_id, entered)
        call.environ.setdefault(_SOCKETS, {})[call.sid] = kept
        ending = partial(self._disconnect_at_the_end, call.sid, handshake.watch(guard, session_id, entered))
        self._sio.start_background_task(ending if self._is_async else lambda: adapter.drive(ending()))

    async def _disconnect_at_the_end(self, sid: str, watch: adapter.Watch) -> None:
        ended: Exception | None = None
        while ended is None:
            if not self._is_here(sid):
                return
            try:
                ended = await watch.wait(_LOOK)
            except Exception as caught:  # who cannot be watched does not stay
                ended = caught
        error = adapter.noted(ended)
        await watch.tell(error)
        told = {"code": error.code, "status": error.status, "message": error.public_message}
        await _settled(self._sio.emit(ENDED, told, to=sid, namespace=self._namespace))
        # A client whose handler of connect still runs is disconnected once that is over.
        while self._is_here(sid):
            await _settled(self._sio.disconnect(sid, namespace=self._namespace))
            await _settled(self._sio.sleep(_AGAIN))

    def _as_taken(self, handler: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a handler; for one of ``connect`` that takes no ``auth``, without it."""
        sid, *data = _without_self(args)
        if len(data) < 2 or data[0] is not self._sio.get_environ(sid, self._namespace):
            return args
        try:
            inspect.signature(handler).bind(*args)
        except TypeError:
            return args[:-1]
        return args

    def _has_for(self, event: str, guarded: Any) -> bool:
        """Whether the server has a guarded function as the handler of an event, in whichever namespace."""
        found = (handlers[event] for handlers in self._sio.handlers.values() if event in handlers)
        return any(inner is guarded for handler in found for inner in adapter.unwrapped(handler))

    def _is_connection(self, data: Iterable[Any]) -> bool:
        """Whether the data has the environment of a connection, which no client sends."""
        environments = list(self._sio.environ.values())
        return any(value is environ for value in data for environ in environments)

    def _is_here(self, sid: str) -> bool:
        return self._sio.get_environ(sid, self._namespace) is not None

    def _kept(self, sid: str) -> Mapping[str, Any]:
        environ = self._sio.get_environ(sid, self._namespace) or {}
        kept: Mapping[str, Any] = environ.get(_SOCKETS, {}).get(sid, {})
        return kept


def _event_of_flask() -> str | None:
    """The event for which Flask-SocketIO calls a handler; None if it is not Flask-SocketIO that calls."""
    flask = sys.modules.get("flask") if "flask_socketio" in sys.modules else None
    event = getattr(flask.request, "event", None) if flask is not None and flask.has_request_context() else None
    return str(event.get("message")) if isinstance(event, dict) else None


def _acknowledged(error: RolecallError) -> dict[str, Any]:
    """The acknowledgement of an event that is refused with ``error``."""
    return {"error": {"code": error.code, "status": error.status, "message": error.public_message}}


def _unconnected(error: RolecallError) -> Exception:
    message = _NEEDED if isinstance(error, MissingCredential) else error.public_message
    return cast("Exception", Unconnected(message, {"code": error.code, "status": error.status}))


async def _settled(value: Any) -> Any:
    """The value of a server's method, whether the server is an async one or not."""
    return await value if inspect.isawaitable(value) else value


def _request(call: Call) -> adapter.Request:
    return wsgi.neutral_request(call.environ, "socketio", {})._replace(native=call)


def _tokens(auth: Any) -> list[str]:
    """The token in what a client sends as ``auth``."""
    token = auth.get("token") if isinstance(auth, Mapping) else None
    if token is None:
        return []
    if not isinstance(token, str) or not token:
        raise MalformedCredential("auth['token'] is no token")
    return [token]


def _named(guard: Guard, data: Any) -> dict[str, Any]:
    """The member of a client's data that names the session; None if it is missing, and the guard was told of it."""
    name = guard.session_param
    members = data if isinstance(data, Mapping) else {}
    return {name: members.get(name)} if name is not None and (guard.says or name in members) else {}


def _without_self(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a handler, from the client's id on; a method of a ``Namespace`` has its object before it."""
    found = args if args and isinstance(args[0], str) else args[1:]
    if not found or not isinstance(found[0], str):
        raise ConfigurationError(_NO_CLIENT)
    return found
