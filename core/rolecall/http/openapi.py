"""The description of a kit's routes (OpenAPI 3.1), made from the routes themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine import State
from .routing import Route


def description(routes: Iterable[Route], prefix: str, state: State) -> dict[str, Any]:
    """The OpenAPI document for ``routes`` under ``prefix``."""
    return {"openapi": "3.1.0", "info": {"title": "Rolecall", "version": "1"}, "servers": [{"url": prefix or "/"}]}
