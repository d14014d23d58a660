"""The kit's routes for taking back what a session has granted: exclusions of actors, and resets."""

from __future__ import annotations

from typing import Any, Final

from ...actors import MAX_ACTOR_ID, problem_with_actor_id
from ...engine import Call
from ...errors import InvalidActor, InvalidRequest
from ...moderation import Act, Exclude, Readmit, ResetSession, Result
from ...request import Request
from ...revocations import Exclusion
from ...roles import Requirement
from ...session_ids import ID_EXPECTED, is_plain_id
from ...tokens import END_OF_TIME, Grant
from ...wording import shown
from ..answers import done, json_answer
from ..bodies import members
from ..guards.admission import enter_either_way
from ..messages import Response
from . import Api
from .routing import Answer, Operation, Route, Schema

_DISCONNECT: Final = Requirement.of_capability(Exclude.capability)
_LONGEST: Final = 1e9

_ACTOR: Final[dict[str, Schema]] = {
    "actor": {"type": "string", "minLength": 1, "maxLength": MAX_ACTOR_ID, "description": "the actor's id"}
}
_END: Final[dict[str, Schema]] = {
    "until": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": END_OF_TIME,
        "description": "when the exclusion ends, in Unix seconds; never unless given",
    },
    "expires_in": {
        "type": ["number", "null"],
        "minimum": 1,
        "maximum": _LONGEST,
        "description": "the same, in seconds from now; send one of the two",
    },
}
_ONE_END: Final = (
    {
        "if": {"properties": {"expires_in": {"type": "number"}}, "required": ["expires_in"]},
        "then": {"properties": {"until": {"type": "null"}}},
    },
)
_EPOCH: Final[dict[str, Schema]] = {
    "epoch": {
        "type": ["integer", "null"],
        "minimum": 0,
        "exclusiveMaximum": END_OF_TIME * 1000,
        "description": "the epoch of an earlier answer, or 0: if another reset has come since, nothing changes",
    }
}


def _answer(name: str, **members: Any) -> Answer:
    return Answer(name, {"type": "object", "properties": members, "required": [*members]})


_EXCLUSION: Final = _answer(
    "Exclusion",
    session_id={"type": "string"},
    actor_id={"type": "string"},
    until={"type": ["number", "null"], "description": "its end in Unix seconds; null: it has none"},
    disconnected={"type": "boolean", "description": "whether the media service has ended the actor's connections"},
)
_RESET: Final = _answer(
    "Reset",
    session_id={"type": "string"},
    epoch={"type": "integer", "description": "the session's epoch, for another reset"},
    not_before={
        "type": "integer",
        "description": "the second from which on tokens are good again that name no epoch, in Unix seconds",
    },
)


async def _exclude_named(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request)
    return await _exclude(api, request, grant, session_id, _actor_in_path(request), members(request, tuple(_END)))


async def _exclude_actor(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request)
    body = members(request, tuple(_ACTOR | _END))
    return await _exclude(api, request, grant, session_id, _actor_in(body), body)


async def _exclude(
    api: Api, request: Request, grant: Grant | None, session_id: str, actor_id: str, body: dict[str, Any]
) -> Response:
    act = Exclude(session_id, actor_id, _end_in(body, api.engine.state.clock()))
    exclusion: Exclusion = await _moderate(api, request, act, grant)
    return json_answer(200, exclusion._asdict())


async def _readmit_named(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request)
    await _moderate(api, request, Readmit(session_id, _actor_in_path(request)), grant)
    return done()


async def _readmit_actor(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request)
    await _moderate(api, request, Readmit(session_id, _actor_in(members(request, tuple(_ACTOR)))), grant)
    return done()


async def _reset_session(api: Api, request: Request) -> Response:
    session_id, grant = await _enter(api, request)
    act = ResetSession(session_id, members(request, tuple(_EPOCH)).get("epoch"))
    return json_answer(200, (await _moderate(api, request, act, grant))._asdict())


async def _enter(api: Api, request: Request) -> tuple[str, Grant | None]:
    session_id = request.path_params["session_id"]
    return session_id, await enter_either_way(api, request, _DISCONNECT, session_id)


async def _moderate(api: Api, request: Request, act: Act[Result], grant: Grant | None) -> Result:
    return await api.engine.moderate(act, grant, None if grant is None else Call(request))


def _actor_in_path(request: Request) -> str:
    """The actor's id in the path. Some ids have characters that some server, proxy or router would read otherwise."""
    actor_id = request.path_params["actor_id"]
    if not is_plain_id(actor_id):
        raise InvalidRequest(
            f"the actor's id in the path is {shown(actor_id)}; {ID_EXPECTED}. Other ids go in the body: POST to "
            "…/exclusions, or to …/readmissions"
        )
    return actor_id


def _actor_in(body: dict[str, Any]) -> str:
    actor_id: Any = body.get("actor")
    problem = problem_with_actor_id(actor_id)
    if problem is not None:
        raise InvalidActor(f"actor {problem}")
    return actor_id  # type: ignore[no-any-return]


def _end_in(body: dict[str, Any], now: float) -> float | None:
    """``until`` (Unix seconds) or ``expires_in`` (seconds from now)."""
    seconds = body.get("expires_in")
    if seconds is None:
        return body.get("until")
    if body.get("until") is not None:
        raise InvalidRequest("the body has both until and expires_in; send one of them")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= _LONGEST:
        raise InvalidRequest(f"expires_in is {shown(seconds)}; expected a number of seconds from 1 on")
    return now + seconds


def _operation(handler: Any, summary: str, body: dict[str, Schema] | None = None, **options: Any) -> Operation:
    return Operation(handler, summary, _DISCONNECT.scope, body, servers=True, **options)


TAKING_BACK_ROUTES: Final = (
    Route(
        "/sessions/{session_id}/exclusions/{actor_id}",
        "exclusion",
        {
            "PUT": _operation(
                _exclude_named,
                "Exclude an actor: its tokens for the session are refused, and it gets no others",
                _END,
                rules=_ONE_END,
                answer=_EXCLUSION,
                refusals=(409,),
            ),
            "DELETE": _operation(_readmit_named, "End the exclusion of an actor", status=204),
        },
    ),
    Route(
        "/sessions/{session_id}/exclusions",
        "exclusions",
        {
            "POST": _operation(
                _exclude_actor,
                "Exclude an actor whose id no path can hold, or any other",
                _ACTOR | _END,
                required=("actor",),
                rules=_ONE_END,
                answer=_EXCLUSION,
                refusals=(409,),
            )
        },
    ),
    Route(
        "/sessions/{session_id}/readmissions",
        "readmissions",
        {
            "POST": _operation(
                _readmit_actor,
                "End the exclusion of an actor whose id no path can hold, or of any other",
                _ACTOR,
                required=("actor",),
                status=204,
            )
        },
    ),
    Route(
        "/sessions/{session_id}/reset",
        "reset",
        {
            "POST": _operation(
                _reset_session,
                "Revoke all tokens that a session has issued; it stays open, and issues new ones",
                _EPOCH,
                answer=_RESET,
            )
        },
    ),
)
