"""The kit's route for tickets: bearers exchange their token for one of the session's media service."""

from __future__ import annotations

from typing import Final

from ...engine import Call
from ...request import Request
from ...roles import Capability, Requirement
from ..answers import json_answer
from ..bodies import members
from ..guards.admission import enter
from ..messages import Response
from . import Api
from .routing import Answer, Operation, Route

_CONNECT: Final = Requirement.of_capability(Capability.CONNECT)
_MEMBERS: Final = {
    "token": {"type": "string", "description": "the media service's token, to join with at once"},
    "url": {"type": "string", "description": "where to connect with it"},
    "expires_at": {"type": "number", "description": "the end of its life, in Unix seconds; it bounds the join alone"},
    "expires_in": {"type": "integer", "description": "the same, in seconds from now: it needs no clock"},
    "media": {"type": "string", "description": "the name of the media service"},
    "session_id": {"type": "string"},
    "room": {"type": "string", "description": "the session's name at the media service"},
    "identity": {"type": "string", "description": "the participant's identity there: the id of the actor"},
    "credentials": {
        "type": "object",
        "properties": {
            "turn": {
                "type": "object",
                "description": "an RTCIceServer",
                "properties": {
                    "urls": {"type": "array", "items": {"type": "string"}},
                    "username": {"type": "string"},
                    "credential": {"type": "string"},
                },
                "required": ["urls", "username", "credential"],
            }
        },
    },
}
_TICKET: Final = Answer("Ticket", {"type": "object", "properties": _MEMBERS, "required": [*_MEMBERS]})


async def _create_ticket(api: Api, request: Request) -> Response:
    session_id = request.path_params["session_id"]
    grant = await enter(api, request, _CONNECT, session_id)
    members(request, ())
    ticket = await api.engine.issue_ticket(grant, Call(request))
    answer = ticket.as_dict()
    return json_answer(201, {**answer, "expires_in": ticket.expires_at - int(api.engine.state.clock())})


TICKET_ROUTES: Final = (
    Route(
        "/sessions/{session_id}/ticket",
        "ticket",
        {
            "POST": Operation(
                _create_ticket,
                "Exchange a token for a ticket, with which its bearer joins the session at its media service",
                _CONNECT.scope,
                {},
                status=201,
                answer=_TICKET,
                refusals=(501,),
            )
        },
    ),
)
