"""The kit's route for webhooks of its media services."""

from __future__ import annotations

from typing import Final

from ...engine import Call
from ...media.webhooks import LONGEST_WEBHOOK
from ...request import Request
from ..answers import json_answer
from ..bodies import whole
from ..messages import BodyLimit, Response
from . import Api
from .routing import BY_MEDIA, Answer, Operation, Route

_LIMIT: Final = BodyLimit(length=LONGEST_WEBHOOK)
_TAKEN: Final = Answer("Webhook", {"type": "object", "properties": {}})


async def _receive_webhook(api: Api, request: Request) -> Response:
    body = whole(request, _LIMIT)
    await api.engine.receive_webhook(request.path_params["media"], request.headers, body, Call(request))
    return json_answer(200, {})


WEBHOOK_ROUTES: Final = (
    Route(
        "/media/{media}/webhook",
        "webhook",
        {
            "POST": Operation(
                _receive_webhook,
                "Tell of what happens in the rooms of a media service",
                BY_MEDIA,
                {},
                answer=_TAKEN,
                refusals=(404,),
                media_type="application/webhook+json",
                limit=_LIMIT,
                votes=False,
                takes_others=True,
            )
        },
    ),
)
