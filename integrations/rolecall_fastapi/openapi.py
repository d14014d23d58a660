"""The guards in the OpenAPI description of a FastAPI app."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from rolecall import RolecallError
from rolecall.http.adapter import PROBLEMS, guard_refusals
from rolecall_starlette import problem_handler, problem_response

from .listing import RefusedByDependency


class Scheme(SecurityBase):
    """The security scheme in an app's OpenAPI description: the same for all guards."""

    def __init__(self) -> None:
        self.scheme_name = "rolecall"
        self.model = HTTPBearer(
            bearerFormat="JWT",
            description="A Rolecall token. What it must be enough for stands with each operation, as "
            "`role:…` or `capability:…`; all of it is required.",
        )

    async def __call__(self) -> None:
        """Do nothing: the guard that depends on this finds the token itself."""


#: The scheme of all guards.
SCHEME: Final = Scheme()

#: Answers of a guarded operation besides its own, for ``responses=`` of an app, a router or a route.
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The credential is not one token"},
    401: {"description": "The token is missing, not valid, expired or revoked"},
    403: {"description": "The token is for another session, or not enough for this operation"},
    429: {"description": "A policy asks to come again later; Retry-After says when"},
    431: {"description": "The token is too long"},
    503: {"description": "Something that the decision needs is out of reach"},
}
_PROBLEM: Final = "RolecallProblem"
_DETAIL: Final = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}


def document_refusals(app: FastAPI) -> None:
    """Add ``REFUSALS`` to every operation with a guard in an app's OpenAPI description.

    They are described as the app answers them: as FastAPI's errors, or as problem documents, if the app has
    :func:`problem_handler`. An operation's own description of a status is kept.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        refusals = _refusals(app, schema)
        for path in schema.get("paths", {}).values():
            for operation in path.values():
                if any(SCHEME.scheme_name in one for one in operation.get("security", ())):
                    responses = operation.setdefault("responses", {})
                    for status, described in refusals.items():
                        responses.setdefault(status, deepcopy(described))
        return schema

    setattr(app, "openapi", openapi)


def _refusals(app: FastAPI, schema: dict[str, Any]) -> dict[str, Any]:
    """The refusals by status, as the app answers them."""
    content: dict[str, Any] = {}
    handlers = app.exception_handlers
    kinds = (RolecallError, *RefusedByDependency.__mro__)
    handler = next((handlers[kind] for kind in kinds if kind in handlers), None)
    if handler in (problem_response, problem_handler):
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        problem: Any = PROBLEMS.answer.schema
        components.setdefault(_PROBLEM, {"title": _PROBLEM, **problem})
        content = {PROBLEMS.media_type: {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
    elif handler is http_exception_handler:
        content = {"application/json": {"schema": _DETAIL}}
    return {
        str(status): {
            "description": REFUSALS[status]["description"],
            "headers": described["headers"],
            **({"content": content} if content else {}),
        }
        for status, described in guard_refusals().items()
    }
