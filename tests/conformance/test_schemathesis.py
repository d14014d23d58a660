"""The description of the routes, held against what live servers answer: schemathesis makes requests out of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.client import HTTPConnection
from itertools import cycle
from typing import Any, NamedTuple

import pytest

from rolecall.http.api.rest import ROUTES
from rolecall.stores.listing import cursor_of
from rolecall.testing.conformance.kits import API_KEY, APPLICATION, COOKIE, NOW, OPEN, STREAMS, make_kit
from rolecall.testing.conformance.table import AUTH, SERVER, application_jwt, token

from .conftest import HERE

pytestmark = pytest.mark.server

#: A live server for each of the adapters.
SERVERS = ("flask gunicorn", "wsgi waitress", "starlette uvicorn")
#: The operations that anybody may ask for, those that need a token, and those that need a server's credential.
OPEN_TO_ALL = {
    "POST /sessions",
    "POST /sessions/{session_id}/tokens",
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
}
#: For a media service, whose signature nobody makes up.
SIGNED = {"POST /media/{media}/webhook"}
#: Open to all, too, but only an issuer has public keys.
OF_ISSUER = {"GET /jwks.json"}
GUARDED = {
    "GET /sessions/{session_id}",
    "DELETE /sessions/{session_id}",
    "POST /sessions/{session_id}/signal",
    "DELETE /sessions/{session_id}/connections/{connection_id}",
    "GET /sessions/{session_id}/connections",
    "GET /sessions/{session_id}/streams",
    "POST /sessions/{session_id}/streams/{stream_id}/mute",
    "POST /sessions/{session_id}/mute",
}
#: For bearers whose token says for whom it is, at a kit with a media service.
FOR_MEDIA = {"POST /sessions/{session_id}/ticket"}
#: For bearers of a token, and for servers.
EITHER_WAY = {
    "PUT /sessions/{session_id}/exclusions/{actor_id}",
    "DELETE /sessions/{session_id}/exclusions/{actor_id}",
    "POST /sessions/{session_id}/exclusions",
    "POST /sessions/{session_id}/readmissions",
    "POST /sessions/{session_id}/reset",
    "GET /sessions/{session_id}/tokens",
}
BY_SERVER = {
    *EITHER_WAY,
    # As everybody may: it has a path in common with the list.
    "POST /sessions/{session_id}/tokens",
    "POST /tokens/revoke",
    "POST /tokens/introspect",
    "GET /sessions",
    "POST /session/create",
    "POST /v2/project/{api_key}/session/{session_id}/signal",
    "POST /v2/project/{api_key}/session/{session_id}/connection/{connection_id}/signal",
    "DELETE /v2/project/{api_key}/session/{session_id}/connection/{connection_id}",
    "GET /v2/project/{api_key}/session/{session_id}/connection",
    "POST /v2/project/{api_key}/session/{session_id}/stream/{stream_id}/mute",
    "POST /v2/project/{api_key}/session/{session_id}/mute",
    "GET /v2/project/{api_key}/session/{session_id}/stream",
    "GET /v2/project/{api_key}/session/{session_id}/stream/",
    "GET /v2/project/{api_key}/session/{session_id}/stream/{stream_id}",
}
#: The seconds after which a run is ended; it takes a third of them.
PATIENCE = 300


class Client(NamedTuple):
    """Who asks.

    :param kit: which kit is asked.
    :param headers: of every request.
    :param options: further ones of the run.
    :param asked: the operations that are asked.
    :param granted: those that are granted where the request is sound.
    :param api_key: by which a server calls.
    """

    kit: str
    headers: dict[str, str]
    options: tuple[str, ...]
    asked: set[str]
    granted: set[str]
    api_key: str = API_KEY


def clients() -> dict[str, Client]:
    good = token("moderator")
    proof = make_kit("browser").api.credentials.csrf_token(good)
    # What is made up where a token belongs is as well formed as can be, and refused.
    made_up = ("--exclude-checks=positive_data_acceptance",)
    own_alone = ("--generation-with-security-parameters=false",)
    of_issuer = OPEN_TO_ALL | OF_ISSUER | GUARDED | EITHER_WAY
    # What an application may do besides, a project may as well.
    of_sdks = {operation for operation in BY_SERVER if "/session/create" in operation or "/v2/" in operation}
    own = token("moderator", kit=make_kit("issuer"))
    named = token("publisher", actor="ada")
    # A credential without ``jti`` is good for all of a run's requests.
    project = {AUTH: SERVER}
    application = {"Authorization": f"Bearer {application_jwt()}", "Accept": "application/json"}
    return {
        "stranger": Client("media", {}, made_up, OPEN_TO_ALL | OF_ISSUER | GUARDED | SIGNED, OPEN_TO_ALL),
        "moderator": Client("issuer", {"Authorization": f"Bearer {own}"}, own_alone, of_issuer, of_issuer),
        "page": Client("browser", {"Cookie": f"{COOKIE}={good}", "X-CSRF-Token": proof}, own_alone, GUARDED, GUARDED),
        "participant": Client("media", {"Authorization": f"Bearer {named}"}, own_alone, FOR_MEDIA, FOR_MEDIA),
        "project": Client("plain", project, own_alone, BY_SERVER, BY_SERVER),
        "application": Client("application", application, own_alone, of_sdks, of_sdks, APPLICATION),
    }


CLIENTS = clients()
#: Each client asks one server; that all servers answer alike is for the table to say.
RUNS = [(server, client) for client, server in zip(CLIENTS, cycle(SERVERS), strict=False)]


@pytest.fixture(scope="module")
def reports(servers, tmp_path_factory) -> dict[tuple[str, str], dict[str, Any]]:
    """What schemathesis reports of each run; each server is asked by one client at a time."""
    found = {}
    for first in range(0, len(RUNS), len(SERVERS)):
        runs = {
            (server, name): _started(servers[server], CLIENTS[name], tmp_path_factory.mktemp(name))
            for server, name in RUNS[first : first + len(SERVERS)]
        }
        outputs = {run: _finished(process) for run, (process, _) in runs.items()}
        for run, (_, folder) in runs.items():
            report = folder / "report.json"
            assert report.exists(), outputs[run]
            found[run] = {**json.loads(report.read_text()), "output": outputs[run]}
            servers[run[0]].control("reset")
    return found


def _started(server, client: Client, folder) -> tuple[subprocess.Popen, Any]:
    host = f"{client.kit}.example"
    (folder / "openapi.json").write_text(json.dumps(narrowed(described(server.port, host), client)))
    command = [
        *("--config-file", str(HERE / "schemathesis.toml"), "run", "openapi.json"),
        f"--url=http://127.0.0.1:{server.port}/video",
        *(f"--header={name}: {value}" for name, value in ({"Host": host} | client.headers).items()),
        *("--report=json", "--report-json-path=report.json", "--no-color", *client.options),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-m", "schemathesis.cli", *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, folder


def _finished(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def described(port: int, host: str) -> dict[str, Any]:
    """The description that a server gives."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/video/openapi.json", headers={"Host": host})
    document = json.loads(connection.getresponse().read())
    connection.close()
    return document


def narrowed(document: dict[str, Any], client: Client) -> dict[str, Any]:
    """What the client asks of the description, and what it cannot say: who calls, what is there, and when "now" is."""
    known = {"session_id": [OPEN], "api_key": [client.api_key], "media": ["livekit"]}
    paths = document["paths"]
    body = paths["/sessions/{session_id}/tokens"]["post"]["requestBody"]["content"]["application/json"]
    body["schema"]["properties"]["expire_time"] |= {"minimum": NOW + 1, "exclusiveMaximum": NOW + 30 * 86_400 + 1}
    form = paths["/session/create"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
    form["schema"]["properties"]["api_key"] = {"enum": known["api_key"]}
    listings = (paths["/sessions"]["get"], paths["/sessions/{session_id}/tokens"]["get"])
    for parameter in (parameter for listing in listings for parameter in listing["parameters"]):
        if parameter["name"] == "after":
            parameter["schema"] = {"enum": [cursor_of(NOW, OPEN)]}
    streams = {"stream_id": [stream["id"] for stream in STREAMS]}
    for path, item in [*paths.items()]:
        there = known | streams if path.endswith("/stream/{stream_id}") else known
        for parameter in item.get("parameters", ()):
            if parameter["name"] in there:
                parameter["schema"] = {"enum": there[parameter["name"]]}
        for method in [method for method in item if method != "parameters"]:
            if f"{method.upper()} {path}" not in client.asked:
                del item[method]
        if set(item) <= {"parameters"}:
            del paths[path]
    return document


def test_every_operation_is_asked_by_some_client():
    every = {
        f"{method} {route.path}"
        for route in ROUTES
        for method, operation in route.operations.items()
        if operation.status < 400
    }
    assert set().union(*(client.asked for client in CLIENTS.values())) == every
    assert set().union(*(client.granted for client in CLIENTS.values())) == every - SIGNED


@pytest.mark.parametrize(("server", "client"), RUNS, ids=map(" ".join, RUNS))
def test_no_answer_is_at_odds_with_the_description(reports, server, client):
    report = reports[server, client]
    assert (report["exit_code"], report["failures"], report["errors"]) == (0, [], []), report["output"]
    assert (report["stop_reason"], report["complete"]) == ("completed", True)
    ran = {phase: result["status"] for phase, result in report["phases"].items()}
    # The routes for SDKs, and a ticket, lead to no others.
    stateful = "skip" if client in ("application", "participant") else "success"
    assert ran == {"examples": "skip", "coverage": "success", "fuzzing": "success", "stateful": stateful}


@pytest.mark.parametrize(("server", "client"), RUNS, ids=map(" ".join, RUNS))
def test_every_operation_is_asked_and_grants_what_it_should(reports, server, client):
    report = reports[server, client]
    assert report["operations"]["tested"] == report["operations"]["total"] == len(CLIENTS[client].asked)
    granted = {
        operation
        for operation, phases in report["valid_rates"].items()
        if any(answers["accepted"] for answers in phases.values())
    }
    assert granted == CLIENTS[client].granted


def test_there_are_thousands_of_cases(reports, record_testsuite_property):
    cases = {run: report["test_cases"]["generated"] for run, report in reports.items()}
    assert len(cases) == len(CLIENTS)
    assert all(cases[server, client] >= 15 * len(CLIENTS[client].asked) for server, client in RUNS)
    assert sum(cases.values()) >= 2_500
    record_testsuite_property("schemathesis cases", sum(cases.values()))


def test_every_server_gives_the_same_description(servers):
    for client in CLIENTS.values():
        first, *others = [described(servers[name].port, f"{client.kit}.example") for name in SERVERS]
        assert others == [first] * len(others)


def test_no_server_had_a_fault(reports, servers):
    for name in SERVERS:
        assert "Traceback" not in servers[name].logged(), name
