"""The kit's routes for health checks: whether a process lives, and whether it can serve."""

from __future__ import annotations

from typing import Any, Final

from ...errors import NotReady
from ...request import Request
from ..answers import json_answer
from ..messages import Response
from ..problems import problem
from . import Api
from .routing import PUBLIC, Answer, Operation, Route


def _status(name: str, status: str) -> Answer:
    schema: dict[str, Any] = {"type": "object", "properties": {"status": {"const": status}}, "required": ["status"]}
    return Answer(name, schema)


async def _check_life(_api: Api, _request: Request) -> Response:
    return json_answer(200, {"status": "live"})


async def _check_readiness(api: Api, _request: Request) -> Response:
    broken = await api.engine.broken_parts()
    if not broken:
        return json_answer(200, {"status": "ready"})
    # Not logged: it is asked every few seconds, by anybody.
    return problem(NotReady(f"not ready: {', '.join(broken)}"))


HEALTH_ROUTES: Final = (
    Route(
        "/healthz",
        "healthz",
        {"GET": Operation(_check_life, "Whether this process lives", PUBLIC, answer=_status("Life", "live"))},
    ),
    Route(
        "/readyz",
        "readyz",
        {
            "GET": Operation(
                _check_readiness,
                "Whether this process can serve; otherwise which of store, follower and keys fail",
                PUBLIC,
                answer=_status("Readiness", "ready"),
                refusals=(503,),
            )
        },
    ),
)
