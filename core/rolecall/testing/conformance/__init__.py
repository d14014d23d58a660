"""The conformance suite, for adapters of others: a table of requests, and what an adapter answers to each.

A test file gives the suite the sites of a framework, each made for a kit by a function of its own::

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

Each row is put to every site, and each answer is compared with that of the core, byte by byte. What a server or a
framework decides before the adapter is asked, a site says in its ``differences``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .kits import KITS, NOW, make_kit
from .servers import Server, running
from .sites import METHODS, MOUNTED, OWN_ROUTES, AsgiSite, OwnRoute, ProtocolSite, Site, WsgiSite, described, own_guards
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
    "running",
]

# A server's process makes a site and needs no table, which takes a second to make.
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
    """Import what needs the table once it is asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)
