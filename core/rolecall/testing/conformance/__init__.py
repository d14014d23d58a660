"""The conformance suite, for adapters of others: a table of requests, and the answers that every adapter must give.

A test file gives the suite the sites of a framework, each made for a kit by the test file's own function::

    import pytest
    from rolecall.testing.conformance import AdapterSuite, WsgiSite

    def make_app(kit):
        ...  # the kit's routes, and the site's own: see OWN_ROUTES

    @pytest.fixture(scope="module")
    def sites():
        with WsgiSite(make_app) as site:
            yield {"mine": site}

    class TestMine(AdapterSuite):
        pass

Each row is sent to every site, and each answer is compared with that of the core, byte by byte. A site lists in its
``differences`` what a server or a framework decides before the adapter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .kits import KITS, NOW, make_kit
from .servers import Server, running
from .sites import (
    METHODS,
    MOUNTED,
    OWN_ROUTES,
    AsgiSite,
    OwnRoute,
    ProtocolSite,
    Site,
    WsgiSite,
    described,
    own_guards,
    own_headers,
)
from .traits import Difference, Trait

if TYPE_CHECKING:
    from .driving import Answer, answer_of, ask_over_socket, asked
    from .reference import Reference
    from .suite import AdapterSuite, ServerSuite
    from .table import ANSWERS, CASES, SHORT_TABLE, Case

__all__ = [
    "ANSWERS",
    "CASES",
    "KITS",
    "METHODS",
    "MOUNTED",
    "NOW",
    "OWN_ROUTES",
    "SHORT_TABLE",
    "AdapterSuite",
    "Answer",
    "AsgiSite",
    "Case",
    "Difference",
    "OwnRoute",
    "ProtocolSite",
    "Reference",
    "Server",
    "ServerSuite",
    "Site",
    "Trait",
    "WsgiSite",
    "answer_of",
    "ask_over_socket",
    "asked",
    "described",
    "make_kit",
    "own_guards",
    "own_headers",
    "running",
]

# Imported late, because a server's process needs no table, which takes a second to make.
_LATE: Final = {
    "Answer": "driving",
    "answer_of": "driving",
    "asked": "driving",
    "ask_over_socket": "driving",
    "Reference": "reference",
    "AdapterSuite": "suite",
    "ServerSuite": "suite",
    "ANSWERS": "table",
    "CASES": "table",
    "SHORT_TABLE": "table",
    "Case": "table",
}


def __getattr__(name: str) -> Any:
    """Import the names that need the table on demand."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)
