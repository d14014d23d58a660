"""The guards in the OpenAPI description of a FastAPI app."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase


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
    503: {"description": "Something that the decision needs is out of reach"},
}


def document_refusals(app: FastAPI) -> None:
    """Add ``REFUSALS`` to every operation with a guard in an app's OpenAPI description.

    An operation's own description of a status is kept.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for path in schema.get("paths", {}).values():
            for operation in path.values():
                if any(SCHEME.scheme_name in one for one in operation.get("security", ())):
                    responses = operation.setdefault("responses", {})
                    for status, described in REFUSALS.items():
                        responses.setdefault(str(status), dict(described))
        return schema

    setattr(app, "openapi", openapi)
