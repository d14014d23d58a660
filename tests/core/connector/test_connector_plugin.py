"""A kit whose sessions are created at a remote service, which is a real one on this machine."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from rolecall import Rolecall
from rolecall.connector import RemoteService, RemoteSessions, ServiceCredentialsRefused, ServiceTimeout
from rolecall.errors import NoMediaService, NotFoundAtService, PluginError

KEY, SECRET = "123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
SESSION = "2_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"


class Server(ThreadingHTTPServer):
    """Answers with a status, and keeps what is asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.asked: list[tuple[str, Any]] = []


class Service(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_json = self.headers.get("Content-Type") == "application/json"
        self.server.asked.append((self.path, json.loads(body) if is_json else parse_qs(body)))
        said = [{"session_id": SESSION}] if self.path == "/session/create" else {"items": [{"id": "s-1"}]}
        answer = json.dumps(said).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_DELETE = do_POST  # noqa: N815 (the names are those of the base)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def remote_kit(service):
    with Rolecall(KEY, SECRET, plugins=[RemoteSessions(RemoteService(KEY, SECRET, service.url))]) as kit:
        yield kit


def test_sessions_are_created_at_the_service(remote_kit, service):
    session = remote_kit.create_session(media_mode="routed")
    assert session.session_id == SESSION
    [(path, asked)] = service.asked
    assert (path, asked["p2p.preference"]) == ("/session/create", ["disabled"])
    assert remote_kit.verify_token(session.generate_token("moderator"), SESSION).role == "moderator"


def test_what_names_the_archives_is_passed_on(remote_kit, service):
    remote_kit.create_session(
        media_mode="routed", archive_mode="always", archive_name="lesson", archive_resolution="1280x720"
    )
    [(_, asked)] = service.asked
    assert (asked["archiveName"], asked["archiveResolution"]) == (["lesson"], ["1280x720"])


@pytest.mark.parametrize("is_async", [False, True])
def test_sessions_are_moderated_at_the_service(remote_kit, service, is_async):
    def call(name, *arguments):
        asked = getattr(remote_kit.aio if is_async else remote_kit, name)(SESSION, *arguments)
        return asyncio.run(asked) if is_async else asked

    call("signal", "chat", "hello")
    call("force_disconnect", "c-1")
    call("mute_stream", "s-1")
    call("mute_all", True, ["s-1"])
    assert call("list_streams") == [{"id": "s-1"}]
    at = f"/v2/project/{KEY}/session/{SESSION}"
    assert [(path.removeprefix(at), asked) for path, asked in service.asked] == [
        ("/signal", {"type": "chat", "data": "hello"}),
        ("/connection/c-1", {}),
        ("/stream/s-1/mute", {}),
        ("/mute", {"active": True, "excludedStreams": ["s-1"]}),
        ("/stream", {}),
    ]


def test_what_the_service_does_not_know_is_said_so(remote_kit, service):
    service.status = 404
    with pytest.raises(NotFoundAtService):
        remote_kit.force_disconnect(SESSION, "c-1")
    assert remote_kit.list_streams(SESSION) == []


class TestOfSeveralProjects:
    OTHER, OTHER_SECRET = "654321", "second-secret-of-forty-two-characters-x42"

    @pytest.fixture
    def kit(self, service):
        remote = RemoteSessions(RemoteService(KEY, SECRET, service.url))
        with Rolecall(KEY, SECRET, projects={self.OTHER: self.OTHER_SECRET}, plugins=[remote]) as kit:
            yield kit

    def test_its_own_sessions_are_created_there_and_others_here(self, kit, service):
        assert kit.create_session().session_id == SESSION
        assert kit.create_session(api_key=self.OTHER).session_id != SESSION
        assert len(service.asked) == 1

    def test_its_own_sessions_are_moderated_there_and_others_nowhere(self, kit, service):
        kit.signal(SESSION)
        with pytest.raises(NoMediaService):
            kit.signal(kit.create_session(api_key=self.OTHER).session_id)
        assert len(service.asked) == 1


def test_a_service_for_another_key_stops_start_up(service):
    with pytest.raises(PluginError, match="the service is for the API key '654321'; the kit's are 123456"):
        Rolecall(KEY, SECRET, plugins=[RemoteSessions(RemoteService("654321", SECRET, service.url))])


def test_the_same_under_an_event_loop(remote_kit):
    assert asyncio.run(remote_kit.aio.create_session()).session_id == SESSION


def test_what_the_service_says_is_what_the_caller_gets(remote_kit, service):
    service.status = 403
    with pytest.raises(ServiceCredentialsRefused):
        remote_kit.create_session()


def test_an_app_moves_there_by_its_environment_alone(service, monkeypatch):
    monkeypatch.setenv("ROLECALL_API_KEY", KEY)
    monkeypatch.setenv("ROLECALL_API_SECRET", SECRET)
    monkeypatch.setenv("ROLECALL_PLUGINS", "rolecall.connector:RemoteSessions")
    monkeypatch.setenv("ROLECALL_PLUGIN_REMOTE_SESSIONS", json.dumps({"api_url": service.url}))
    with Rolecall.from_env() as kit:
        assert kit.create_session().session_id == SESSION


def test_the_secret_may_stand_in_a_file(service, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("ROLECALL_API_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.delenv("ROLECALL_API_SECRET", raising=False)
    config = {"remote_sessions": {"api_url": service.url}}
    with Rolecall(KEY, SECRET, plugins=[RemoteSessions()], plugin_config=config) as kit:
        assert kit.create_session().session_id == SESSION


@pytest.mark.parametrize(
    ("config", "message"),
    [({}, "has no api_url"), ({"api_url": "http://127.0.0.1:1", "api_secrets": "x"}, "'api_secrets'")],
)
def test_a_configuration_that_cannot_be_meant_stops_start_up(monkeypatch, config, message):
    monkeypatch.setenv("ROLECALL_API_SECRET", SECRET)
    with pytest.raises(PluginError, match=message):
        Rolecall(KEY, SECRET, plugins=[RemoteSessions()], plugin_config={"remote_sessions": config})


def test_without_a_secret_in_the_environment_it_says_what_to_do(monkeypatch):
    monkeypatch.delenv("ROLECALL_API_SECRET", raising=False)
    config = {"remote_sessions": {"api_url": "http://127.0.0.1:1"}}
    with pytest.raises(PluginError, match="ROLECALL_API_SECRET is not set"):
        Rolecall(KEY, SECRET, plugins=[RemoteSessions()], plugin_config=config)


def test_one_plugin_is_configured_by_one_kit(monkeypatch):
    monkeypatch.setenv("ROLECALL_API_SECRET", SECRET)
    plugin, config = RemoteSessions(), {"remote_sessions": {"api_url": "http://127.0.0.1:1"}}
    Rolecall(KEY, SECRET, plugins=[plugin], plugin_config=config)
    with pytest.raises(PluginError, match="another kit's already; make one for each kit"):
        Rolecall(KEY, SECRET, plugins=[plugin], plugin_config=config)


@pytest.mark.parametrize("is_configured", [True, False])
def test_a_service_slower_than_the_kits_patience_stops_start_up(monkeypatch, is_configured):
    monkeypatch.setenv("ROLECALL_API_SECRET", SECRET)
    config = {"remote_sessions": {"api_url": "http://127.0.0.1:1", "timeout": 5}} if is_configured else {}
    service = None if is_configured else RemoteService(KEY, SECRET, "http://127.0.0.1:1", timeout=5)
    with pytest.raises(PluginError, match="timeout, 5 s, is not below the kit's hook_timeout, 5 s"):
        Rolecall(KEY, SECRET, plugins=[RemoteSessions(service)], plugin_config=config)
    Rolecall(KEY, SECRET, plugins=[RemoteSessions(service)], plugin_config=config, hook_timeout=6)


def test_a_service_that_hangs_says_so_itself(service):
    listening = socket.create_server(("127.0.0.1", 0))
    remote = RemoteService(KEY, SECRET, f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.3)
    kit = Rolecall(KEY, SECRET, plugins=[RemoteSessions(remote)], hook_timeout=0.6)
    with listening, pytest.raises(ServiceTimeout, match="it may have been carried out all the same"):
        kit.force_disconnect(SESSION, "c-1")
    kit.close()
