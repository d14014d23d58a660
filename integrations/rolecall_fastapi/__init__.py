"""Rolecall for FastAPI: guards as dependencies, which appear in the app's own OpenAPI description.

Everything else is Starlette's: see :mod:`rolecall_starlette` for the kit's routes, and for guards around WebSockets and
whole apps.
"""

from rolecall_starlette import Refused, problem_handler

from .dependencies import CapabilityRequired, RoleRequired, TokenRequired, UncachedMiddleware
from .listing import install
from .openapi import REFUSALS, document_refusals

__all__ = [
    "REFUSALS",
    "CapabilityRequired",
    "Refused",
    "RoleRequired",
    "TokenRequired",
    "UncachedMiddleware",
    "document_refusals",
    "problem_handler",
]

install()
