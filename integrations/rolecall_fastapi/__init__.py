"""Rolecall for FastAPI: the kit's routes and guards as a router and dependencies, in the app's own OpenAPI description.

Everything else is Starlette's: see :mod:`rolecall_starlette`, for example for guards around whole apps.
"""

from rolecall_starlette import Refused, problem_handler, rolecall_lifespan

from .dependencies import (
    CapabilityRequired,
    CurrentGrant,
    GrantRequired,
    RoleRequired,
    TokenRequired,
    UncachedMiddleware,
)
from .listing import install
from .openapi import REFUSALS, document_refusals
from .router import rolecall_router

__all__ = [
    "REFUSALS",
    "CapabilityRequired",
    "CurrentGrant",
    "GrantRequired",
    "Refused",
    "RoleRequired",
    "TokenRequired",
    "UncachedMiddleware",
    "document_refusals",
    "problem_handler",
    "rolecall_lifespan",
    "rolecall_router",
]

install()
