"""Where the conformance suite asks: the sites in this process, and behind real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rolecall.testing.conformance import Difference, Server, Trait, running

HERE = Path(__file__).parent

GUNICORN = ["-m", "gunicorn", "--workers=1", "--no-control-socket", "--graceful-timeout=1", "--bind=fd://{fd}"]
_WAITRESS = "import socket, waitress, {site}; waitress.serve({site}.site, sockets=[socket.socket(fileno={fd})])"
UVICORN = (
    "import socket, uvicorn; config = uvicorn.Config('{site}:site', log_level='warning', lifespan='off'); "
    "uvicorn.Server(config).run(sockets=[socket.socket(fileno={fd})])"
)
HYPERCORN = (
    "import asyncio, {site}, hypercorn.asyncio, hypercorn.config; config = hypercorn.config.Config(); "
    "config.bind = ['fd://{fd}']; asyncio.run(hypercorn.asyncio.serve({site}.site, config))"
)
#: How each server is started, by its name and the framework of the site behind it.
COMMANDS = {
    "flask gunicorn": [*GUNICORN, "flask_site:site"],
    "flask waitress": ["-c", _WAITRESS.replace("{site}", "flask_site")],
    "wsgi gunicorn": [*GUNICORN, "wsgi_site:site"],
    "wsgi waitress": ["-c", _WAITRESS.replace("{site}", "wsgi_site")],
    "starlette uvicorn": ["-c", UVICORN.replace("{site}", "starlette_site")],
    "starlette hypercorn": ["-c", HYPERCORN.replace("{site}", "starlette_site")],
    "aiohttp aiohttp": ["-c", "import aiohttp_site; aiohttp_site.run({fd})"],
}

#: What servers answer by themselves.
SERVERS_OWN = {
    "gunicorn": [
        Difference(Trait.LONG_HEADER, 431, why="it takes header lines of at most 8,190 bytes"),
        Difference(Trait.LONG_TARGET, 414, why="it takes request lines of at most 4,094"),
        Difference(Trait.DOUBLED_TYPE, 400, why="it takes one Content-Type"),
    ],
    "waitress": [
        Difference(
            Trait.DOUBLED_TYPE, 415, "unsupported_media_type", "it joins them by ', ', and the detail shows them"
        ),
        Difference(
            Trait.EMPTY_CHUNKS,
            201,
            why="it puts chunks together itself, and what was empty comes as no body at all",
        ),
    ],
    "aiohttp": [
        Difference(Trait.UNKNOWN_METHOD, 400, why="its parser has a list of methods"),
        Difference(Trait.DOUBLED_TYPE, 400, why="its parser takes one Content-Type"),
        Difference(Trait.LONG_HEADER, 400, why="it takes header lines of at most 8,190 bytes"),
        Difference(Trait.LONG_TARGET, 400, why="it takes request lines of at most 8,190"),
    ],
    "uvicorn": [Difference(Trait.UNKNOWN_METHOD, 400, why="its parser has a list of methods")],
}
#: What each server answers by itself.
DIFFERENCES = {name: SERVERS_OWN.get(name.split()[1], []) for name in COMMANDS}


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Every server, started at once."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs a /proc that lists what a process has open")
    with running(COMMANDS, tmp_path_factory.mktemp("servers"), HERE, DIFFERENCES) as started:
        yield started
