"""The engine of a kit whose operations are observed: the same, with each call shown to the plugins."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..driver import Driver
from ..hookspecs import Operation
from . import Engine
from .state import State

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


def _awaited(
    method: Callable[Concatenate[Engine, _P], Coroutine[Any, Any, _Result]],
    place: int | None = None,
    name: str | None = None,
) -> Callable[Concatenate[ObservedEngine, _P], Coroutine[Any, Any, _Result]]:
    """A call, observed.

    :param place: the place of the session, or of the act in it, among the arguments; None if there is none.
    :param name: the operation's name, if it is another than the method's.
    """

    @wraps(method)
    async def call(self: ObservedEngine, /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        with self.around(name or method.__name__, args, place):
            return await method(self, *args, **kwargs)

    return call


def _called(
    method: Callable[Concatenate[Engine, _P], _Result], place: int | None = None
) -> Callable[Concatenate[ObservedEngine, _P], _Result]:
    """A call that does not wait, observed."""

    @wraps(method)
    def call(self: ObservedEngine, /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        with self.around(method.__name__, args, place):
            return method(self, *args, **kwargs)

    return call


class ObservedEngine(Engine):
    """The logic of a kit, observed. A kit has it only if a plugin observes, so that others pay nothing."""

    __slots__ = ("_operations",)

    def __init__(self, state: State, driver: Driver, *, blocks: bool) -> None:
        operations = state.plugins.operations
        assert operations is not None
        self._operations = operations
        super().__init__(state, driver, blocks=blocks)

    create_session = _awaited(Engine.create_session)
    get_session = _awaited(Engine.get_session, 0)
    end_session = _awaited(Engine.end_session, 0)
    generate_token = _awaited(Engine.generate_token, 0)
    renew_token = _awaited(Engine.renew_token, 1)
    verify_token = _called(Engine.verify_token, 1)
    verify = _awaited(Engine.verify, 1, "verify_token")
    check_token = _called(Engine.check_token, 2)
    authorize = _awaited(Engine.authorize, 2)
    moderate = _awaited(Engine.moderate, 0)
    issue_ticket = _awaited(Engine.issue_ticket, 0)
    receive_webhook = _awaited(Engine.receive_webhook)

    def around(self, name: str, args: tuple[Any, ...], place: int | None) -> AbstractContextManager[None]:
        """What is around a call."""
        session_id = args[place] if place is not None and len(args) > place else None
        session_id = getattr(session_id, "session_id", session_id)
        # What is not valid may be anything, for example a misplaced token.
        if not self.state.session_ids.accepts(session_id):
            session_id = None
        return self._operations.around(Operation("call", name, session_id=session_id))
