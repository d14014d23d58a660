"""Django, and FastAPI's router, behind real servers: one row of each kind of answer, and of each that a server owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from rolecall.testing.conformance import ANSWERS, Case, Difference, Server, ServerSuite, Trait, running
from rolecall.testing.conformance.suite import MOUNTED_CASES

from .conftest import GUNICORN, HYPERCORN, SERVERS_OWN, UVICORN

pytestmark = pytest.mark.server

#: The root of the project: Django's sites take their settings from the tests around them.
ROOT = Path(__file__).parents[2]
_SITE = "tests.conformance.django_site"
COMMANDS = {
    "django gunicorn": [*GUNICORN, f"{_SITE}:wsgi_site"],
    "django uvicorn": ["-c", UVICORN.replace("{site}:site", f"{_SITE}:asgi_site")],
    "django hypercorn": ["-c", HYPERCORN.replace("{site}.site", f"{_SITE}.asgi_site").replace("{site}", _SITE)],
    "django daphne": ["-m", "daphne", "--fd", "{fd}", f"{_SITE}:asgi_site"],
    "fastapi uvicorn": ["-c", UVICORN.replace("{site}", "tests.conformance.fastapi_site")],
}
DIFFERENCES: dict[str, list[Difference]] = {name: SERVERS_OWN.get(name.split()[1], []) for name in COMMANDS}
#: A token beyond the longest that any kit reads.
OVER_LONG = next(case for case in ANSWERS if Trait.LONG_HEADER in case.traits)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs a /proc that lists what a process has open")
    with running(COMMANDS, tmp_path_factory.mktemp("servers"), ROOT, DIFFERENCES) as started:
        yield started


class TestDjangosServers(ServerSuite):
    """Every server sends what the core answers, but for what it says to do itself."""

    cases = tuple(case for case in ANSWERS if Trait.LONG_HEADER not in case.traits)

    @pytest.mark.parametrize("mounted", MOUNTED_CASES[::20], ids=lambda case: case.name)
    def test_every_server_sends_it_under_a_prefix_too(self, servers: Mapping[str, Server], mounted: Case) -> None:
        """Some of the kit's routes with some methods."""
        super().test_every_server_sends_it_under_a_prefix_too(servers, mounted)


def test_a_header_that_a_server_does_not_take_leads_nowhere(servers):
    answered: dict[str, int | None] = dict.fromkeys(servers)
    for name, server in servers.items():
        with suppress(RemoteDisconnected):
            answered[name] = server.ask(OVER_LONG).status
    # Daphne closes the connection; the others answer as the kit does.
    assert answered == {name: None if name == "django daphne" else 431 for name in servers}
