"""Runs commands in this process, on the test's clock and with stores that outlive a command."""

from __future__ import annotations

import sys
from collections import defaultdict
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from rolecall import hookimpl
from rolecall.cli.commands import rolecall
from rolecall.stores.memory import MemoryStore

from .running import CONFIGURED


@pytest.fixture(autouse=True)
def _configured(monkeypatch):
    for name in ("ROLECALL_STORE", "ROLECALL_PLUGINS", "ROLECALL_BLOCKED_PLUGINS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    # Whatever is installed here is no part of these tests.
    monkeypatch.setenv("ROLECALL_ENTRY_POINTS", "none")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, value in CONFIGURED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run(clock):
    """Runs one command on the test's clock. An exception that escapes is raised here."""

    def run(*arguments: str, input: str | bytes | None = None) -> Result:
        return CliRunner(catch_exceptions=False).invoke(rolecall, arguments, input=input, obj=clock)

    return run


class KeptStore(MemoryStore):
    """A store that outlives the kit of one command."""

    shared = True


class KeptStores:
    """A plugin whose stores have URLs such as ``kept://app:password@one``."""

    name = "kept-stores"

    def __init__(self) -> None:
        self.made: dict[str, KeptStore] = defaultdict(KeptStore)

    @hookimpl
    def rolecall_register_stores(self):
        return {"kept": lambda url: self.made[url.rpartition("@")[2]]}


@pytest.fixture
def kept(monkeypatch) -> dict[str, KeptStore]:
    """Stores by name, which commands reach by ``kept://app:password@NAME``."""
    module, plugin = ModuleType("kept_stores"), KeptStores()
    setattr(module, "plugin", plugin)
    monkeypatch.setitem(sys.modules, "kept_stores", module)
    monkeypatch.setenv("ROLECALL_PLUGINS", "kept_stores:plugin")
    return plugin.made
