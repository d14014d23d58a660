"""OpenTok and Vonage as media services; the service is another kit, or a server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rolecall import Allow, Capability, Role, Rolecall, hookimpl
from rolecall.connector import ServiceClockSkew, ServiceCredentialsRefused, ServiceTimeout
from rolecall.errors import (
    ConfigurationError,
    InvalidSessionId,
    NoMediaService,
    NotFoundAtService,
    NotRenewable,
    PolicyFault,
    RevokedToken,
)
from rolecall.media import MediaBackend, OpenTok, Vonage, find_backend
from rolecall.media.opentok import answers
from rolecall_wsgi import SDK_ROUTES, RolecallMiddleware

from ...own_tokens import pem
from ...tracebacks import held_by
from ...untyped import untyped

KEY, SECRET = "654321", "secret-at-the-service-5b1f0c2e9d7a4c3f8e6b7d2a"
OTHER_KEY, OTHER_SECRET = "987654", "second-secret-of-forty-two-characters-x42"
APPLICATION = "7b1d3b2c-96f1-4f52-8b0e-0c8a1f7e5d34"
SERVICES = ["opentok", "vonage"]
STREAMS = [{"id": "s-1", "videoType": "camera"}]
CONNECTIONS = [{"connectionId": "c-1", "connectionState": "Connected"}, {"connectionId": "c-2"}]
#: Ids of sessions as a service makes them, of each project and of the application.
SESSION = "2_MX42NTQzMjF-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"
OF_APPLICATION = "2_MX43YjFkM2IyYy05NmYxLTRmNTItOGIwZS0wYzhhMWY3ZTVkMzR-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4"
SESSIONS = {"opentok": SESSION, "vonage": OF_APPLICATION}

pytestmark = pytest.mark.each_choice


def backend(name: str, url: str = "http://127.0.0.1:9", **settings: Any) -> MediaBackend:
    if name == "opentok":
        return OpenTok(KEY, SECRET, url, **settings)
    return Vonage(APPLICATION, pem("RS256"), url, **settings)


# -- another kit is the service --------------------------------------------------------------------


class Heard:
    """Carries the sessions of the kit that is the service, and keeps what is done in them."""

    def __init__(self) -> None:
        self.acts: list[tuple[Any, ...]] = []

    @hookimpl
    def rolecall_media_service(self, request):
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("signal", "force_disconnect", "mute_stream", "mute_all"):
            raise AttributeError(name)

        def act(*arguments: Any) -> None:
            self.acts.append((name, *arguments[1:]))
            if arguments[1:] == ("c-2",):
                raise NotFoundAtService("it has just left")

        return act

    def list_streams(self, session_id: str) -> list[dict[str, Any]]:
        return STREAMS

    def list_connections(self, session_id: str) -> list[dict[str, Any]]:
        return CONNECTIONS


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


class There:
    """A kit that is a media service: with its routes for SDKs, served over a socket."""

    def __init__(self, name: str) -> None:
        self.heard = Heard()
        if name == "opentok":
            self.kit = Rolecall(KEY, SECRET, projects={OTHER_KEY: OTHER_SECRET}, plugins=[self.heard])
        else:
            self.kit = Rolecall(application_id=APPLICATION, private_key=pem("RS256"), plugins=[self.heard])
        app = RolecallMiddleware(_nothing, self.kit, prefix="", routes=SDK_ROUTES)
        self._server = make_server("127.0.0.1", 0, app, _Server, _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.kit.close()


@pytest.fixture(scope="module")
def all_there() -> Iterator[dict[str, There]]:
    there = {name: There(name) for name in SERVICES}
    yield there
    for one in there.values():
        one.close()


@pytest.fixture(params=SERVICES)
def there(request, all_there) -> There:
    found: There = all_there[request.param]
    found.heard.acts.clear()
    return found


@pytest.fixture
def kit(request, there, make_kit) -> Rolecall:
    name = request.node.callspec.params["there"]
    made: Rolecall = make_kit(media=backend(name, there.url), clock=time.time)
    return made


def test_a_session_is_created_at_the_service_with_its_properties(kit, there):
    session = kit.create_session("203.0.113.7", "routed", "always", archive_name="lesson")
    known = there.kit.get_session(session.session_id)
    assert (known.media_mode, known.archive_mode, known.location) == ("routed", "always", "203.0.113.7")
    assert known.properties.archive_name == "lesson"
    assert session.media == kit.engine.state.media.names[0]
    assert kit.verify_token(session.generate_token("moderator", actor="ada"), session.session_id).role == "moderator"


@pytest.mark.parametrize("role", ["subscriber", "publisher", "publisheronly", "moderator"])
def test_the_service_takes_a_ticket_and_grants_the_role_and_no_more(kit, there, role):
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(role, actor="ada", data="Ada", initial_layout_class_list=["focus"]))
    ticket = kit.ticket(grant)
    granted = there.kit.verify_token(ticket.token, session.session_id)
    assert (granted.role, granted.capabilities) == (role, grant.capabilities)
    assert (granted.actor_id, granted.data, granted.layout) == ("ada", "Ada", ("focus",))
    assert 55 < ticket.expires_at - time.time() <= 60
    assert (ticket.room, ticket.identity, ticket.url) == (session.session_id, "ada", there.url)
    assert ticket.media == kit.engine.state.media.names[0]


def test_the_service_creates_and_issues_for_async_code(kit, there):
    async def run() -> str:
        session = await kit.aio.create_session()
        grant = await kit.aio.verify_token(await session.generate_token(actor="ada"))
        return (await kit.aio.ticket(grant)).token

    assert there.kit.verify_token(asyncio.run(run())).actor_id == "ada"


def test_what_the_policies_leave_of_a_role_is_all_that_the_service_grants(there, make_kit, request):
    class Quiet:
        @hookimpl
        def rolecall_register_roles(self):
            return [Role("chatter", ["connect", "subscribe", "signal"], "subscriber")]

        @hookimpl
        def rolecall_vote_token(self, request):
            return Allow(capabilities=[Capability.CONNECT, Capability.SUBSCRIBE, Capability.SIGNAL])

    name = request.node.callspec.params["there"]
    kit: Rolecall = make_kit(media=backend(name, there.url), plugins=[Quiet()], clock=time.time)
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token("moderator", actor="ada"))
    assert grant.role == "chatter"
    claims = jwt.decode(kit.ticket(grant).token, options={"verify_signature": False})
    assert claims["role"] == "subscriber"  # which is all that the service looks at


def test_what_the_kit_is_asked_for_is_done_at_the_service(kit, there):
    session_id = kit.create_session().session_id
    kit.signal(session_id, "chat", "hello")
    kit.signal(session_id, "chat", "hello", "c-1")
    asyncio.run(kit.aio.force_disconnect(session_id, "c-1"))
    kit.mute_stream(session_id, "s-1")
    kit.mute_all(session_id, excluded_stream_ids=["s-1"])
    kit.mute_all(session_id, active=False)
    assert there.heard.acts == [
        ("signal", "chat", "hello", None),
        ("signal", "chat", "hello", "c-1"),
        ("force_disconnect", "c-1"),
        ("mute_stream", "s-1"),
        ("mute_all", True, ("s-1",)),
        ("mute_all", False, ()),
    ]
    assert kit.list_streams(session_id) == STREAMS
    assert kit.list_connections(session_id) == CONNECTIONS


def test_the_end_of_a_session_ends_the_connections_that_are_there(kit, there):
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(actor="ada"))
    kit.end_session(session.session_id)
    assert there.heard.acts == [("force_disconnect", "c-1"), ("force_disconnect", "c-2")]
    with pytest.raises(RevokedToken):
        kit.ticket(grant)


def test_who_is_excluded_gets_no_ticket_and_is_not_said_to_be_disconnected(kit, there):
    session = kit.create_session()
    grant = kit.verify_token(session.generate_token(actor="ada"))
    kit.exclude(session.session_id, "ada")
    assert there.heard.acts == []
    with pytest.raises(RevokedToken):
        kit.ticket(grant)


def test_a_session_of_before_is_not_at_the_service(kit, make_kit):
    before = make_kit(clock=time.time, store=kit.engine.state.store).create_session()
    grant = kit.verify_token(before.generate_token(actor="ada"))
    with pytest.raises(InvalidSessionId, match="its id names none of the projects there"):
        kit.ticket(grant)
    with pytest.raises(NotFoundAtService):
        kit.list_streams(before.session_id)


class TestSeveralProjects:
    @pytest.fixture
    def there(self, all_there) -> There:
        found: There = all_there["opentok"]
        found.heard.acts.clear()
        return found

    def test_each_has_its_own_sessions_tickets_and_acts(self, there, make_kit):
        service = OpenTok(KEY, SECRET, there.url, projects={OTHER_KEY: OTHER_SECRET})
        kit: Rolecall = make_kit(
            api_key=KEY, api_secret=SECRET, projects={OTHER_KEY: OTHER_SECRET}, media=service, clock=time.time
        )
        for api_key, secret in ((KEY, SECRET), (OTHER_KEY, OTHER_SECRET)):
            session = kit.create_session(api_key=api_key)
            ticket = kit.ticket(kit.verify_token(session.generate_token(actor="ada")))
            assert jwt.decode(ticket.token, secret, ["HS256"])["iss"] == api_key
            assert ticket.credentials["opentok"] == {"api_key": api_key}
            assert there.kit.verify_token(ticket.token, session.session_id).actor_id == "ada"
            assert kit.list_streams(session.session_id) == STREAMS

    def test_a_project_that_is_not_at_the_service_has_no_sessions(self, there, make_kit):
        kit: Rolecall = make_kit(projects={OTHER_KEY: OTHER_SECRET}, media=backend("opentok", there.url))
        with pytest.raises(PolicyFault, match="it is of another project"):
            kit.create_session(api_key=OTHER_KEY)


# -- tokens ----------------------------------------------------------------------------------------


def ticket_of(name: str, make_kit: Any, **settings: Any) -> Any:
    """A ticket in a session that exists already."""

    class Known:
        @hookimpl
        def rolecall_create_session(self, request):
            return SESSIONS[name]

    kit = make_kit(media=backend(name, **settings), plugins=[Known()])
    session = kit.create_session()
    return kit.ticket(kit.verify_token(session.generate_token("moderator", actor="ada", data="Ada")))


@pytest.mark.parametrize("name", SERVICES)
def test_a_ticket_tells_the_client_what_its_session_is_of(make_kit, name):
    said = {"application_id": APPLICATION} if name == "vonage" else {"api_key": KEY}
    assert ticket_of(name, make_kit).as_dict()["credentials"] == {name: said}


@pytest.mark.parametrize("name", SERVICES)
def test_a_ticket_lives_as_long_as_it_is_told(make_kit, clock, name):
    assert ticket_of(name, make_kit, ticket_life=300).expires_at == clock() + 300


def test_tokens_of_the_kit_stay_its_own(make_kit):
    kit = make_kit(media=[backend("vonage"), backend("opentok")], format="opentok", accept=["opentok", "t1"])
    assert list(kit.engine.state.formats) == ["opentok", "t1"]
    with pytest.raises(ConfigurationError, match="'vonage' needs an application_id and a private_key"):
        make_kit(media=backend("vonage"), accept=["opentok", "vonage"])


def test_a_kit_with_the_services_own_key_mints_what_the_service_takes(all_there):
    there = all_there["opentok"]
    with Rolecall(KEY, SECRET, media=backend("opentok", there.url)) as kit:
        session = kit.create_session()
        token = session.generate_token("publisher", actor="ada")
        assert there.kit.verify_token(token, session.session_id).role == "publisher"
        ticket = kit.ticket(kit.verify_token(token))
        assert kit.verify_token(ticket.token).actor_id == "ada"  # it is a token of the project, for its minute
        with pytest.raises(NotRenewable):
            kit.renew_token(ticket.token)


# -- requests --------------------------------------------------------------------------------------


class Recorder(ThreadingHTTPServer):
    """Answers with a status, and keeps what is asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.url = f"http://127.0.0.1:{self.server_port}/base"
        self.status = 200
        self.session_id = SESSION
        self.date: str | None = None
        self.asked: list[tuple[str, dict[str, str], Any]] = []


class _Recording(BaseHTTPRequestHandler):
    server: Recorder

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        read = json.loads(body) if headers.get("content-type") == "application/json" else dict(parse_qsl(body))
        self.server.asked.append((f"{self.command} {self.path}", headers, read))
        said = [{"session_id": self.server.session_id}] if self.path.endswith("/session/create") else {"items": []}
        answer = json.dumps(said).encode()
        self.send_response_only(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        if self.server.date is not None:
            self.send_header("Date", self.server.date)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 (the names are those of the base)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", SERVICES)
def test_each_request_is_the_services(make_kit, recorder, clock, name):
    recorder.session_id = session_id = SESSIONS[name]
    kit: Rolecall = make_kit(media=backend(name, recorder.url, clock=clock))
    kit.create_session(media_mode="routed")
    kit.signal(session_id, "chat", "hello")
    kit.signal(session_id, connection_id="c-1")
    kit.force_disconnect(session_id, "c-1")
    kit.mute_stream(session_id, "s-1")
    kit.mute_all(session_id, excluded_stream_ids=["s-1"])
    kit.list_streams(session_id)
    kit.list_connections(session_id)
    at = f"/base/v2/project/{APPLICATION if name == 'vonage' else KEY}/session/{session_id}"
    excluded = "excludedStreamIds" if name == "vonage" else "excludedStreams"
    assert [(line.replace(at, "…"), body) for line, _, body in recorder.asked] == [
        ("POST /base/session/create", {"p2p.preference": "disabled", "archiveMode": "manual", "e2ee": "false"}),
        ("POST …/signal", {"type": "chat", "data": "hello"}),
        ("POST …/connection/c-1/signal", {"type": "", "data": ""}),
        ("DELETE …/connection/c-1", {}),
        ("POST …/stream/s-1/mute", {}),
        ("POST …/mute", {"active": True, excluded: ["s-1"]}),
        ("GET …/stream", {}),
        ("GET …/connection", {}),
    ]
    seen = set()
    options: Any = {"verify_exp": False, "verify_iat": False}
    for _, headers, _ in recorder.asked:
        if name == "vonage":
            scheme, _, credential = headers["authorization"].partition(" ")
            public: Any = load_pem_private_key(pem("RS256"), None).public_key()
            claims = jwt.decode(credential, public, ["RS256"], options)
            assert (scheme, claims.pop("application_id")) == ("Bearer", APPLICATION)
            assert "x-opentok-auth" not in headers
        else:
            claims = jwt.decode(headers["x-opentok-auth"], SECRET, ["HS256"], options)
            assert (claims.pop("iss"), claims.pop("ist")) == (KEY, "project")
            assert "authorization" not in headers
        seen.add(claims.pop("jti"))
        assert claims == {"iat": int(clock()), "exp": int(clock()) + 180}
    assert len(seen) == 8  # no credential is used twice


REFUSED = {
    "opentok": "refused the API key and secret (403): check that both are of the same project",
    "vonage": "refused the application's id and private key (403): check that the key is the application's",
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_refused_credential_is_said_to_be_one(make_kit, recorder, name):
    recorder.status = 403
    kit: Rolecall = make_kit(media=backend(name, recorder.url))
    with pytest.raises(ServiceCredentialsRefused) as raised:
        kit.create_session()
    assert REFUSED[name] in str(raised.value)
    recorder.date = "Sun, 06 Nov 1994 08:49:37 GMT"
    with pytest.raises(ServiceClockSkew, match="ahead of the service's"):
        kit.create_session()
    assert kit.sessions().sessions == ()


@pytest.mark.parametrize("name", SERVICES)
def test_what_the_service_does_not_know_is_said_so(make_kit, recorder, name):
    kit: Rolecall = make_kit(media=backend(name, recorder.url))
    recorder.session_id = SESSIONS[name]
    session_id = kit.create_session().session_id
    recorder.status = 404
    with pytest.raises(NotFoundAtService):
        kit.force_disconnect(session_id, "c-1")
    assert kit.list_streams(session_id) == []
    kit.end_session(session_id)  # nobody is there


@pytest.mark.parametrize("session_id", ["1_MX4xMTExMTF-fjE3OTUxODY4MDAwMDB-cmFuZG9tfn4", "physics-1"])
@pytest.mark.parametrize("name", SERVICES)
def test_a_session_that_is_not_of_the_project_is_refused(make_kit, recorder, name, session_id):
    recorder.session_id = session_id
    kit: Rolecall = make_kit(media=backend(name, recorder.url))
    with pytest.raises(PolicyFault, match=f"{name!r} created a session that is not of this kit"):
        kit.create_session()


def test_a_service_that_hangs_says_so_itself(make_kit):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        kit: Rolecall = make_kit(media=OpenTok(KEY, SECRET, url, timeout=0.2), hook_timeout=0.6)
        with pytest.raises(ServiceTimeout, match=r"did not answer within 0\.2 s"):
            kit.create_session()


# -- settings --------------------------------------------------------------------------------------


def test_a_service_slower_than_the_kits_patience_stops_start_up(make_kit):
    with pytest.raises(ConfigurationError, match="opentok: timeout, 5 s, is not below the kit's hook_timeout, 5 s"):
        make_kit(media=OpenTok(KEY, SECRET, timeout=5))
    make_kit(media=OpenTok(KEY, SECRET, timeout=5), hook_timeout=6)


WRONG: dict[str, tuple[type[MediaBackend], tuple[Any, ...], dict[str, Any], str]] = {
    "no secret": (OpenTok, (KEY, None), {}, "opentok: the project's api_secret is missing"),
    "a weak secret": (OpenTok, (KEY, "short"), {}, "opentok: "),
    "no key": (OpenTok, (7, SECRET), {}, "opentok: api_key is of type int; expected"),
    "a malformed key": (OpenTok, ("no key!", SECRET), {}, "opentok: api_key is a text of "),
    "a URL with a user": (OpenTok, (KEY, SECRET, f"https://me:{SECRET}@x"), {}, "opentok: api_url holds a user"),
    "a WebSocket": (OpenTok, (KEY, SECRET, "wss://x.example"), {}, "opentok: api_url is not the URL of a service"),
    "a further project twice": (
        OpenTok,
        (KEY, SECRET),
        {"projects": {KEY: SECRET}},
        "opentok: projects names the kit's",
    ),
    "a weak further secret": (OpenTok, (KEY, SECRET), {"projects": {"7": "short"}}, "opentok: projects, number 1: "),
    "too many retries": (OpenTok, (KEY, SECRET), {"retries": 11}, "opentok: retries is 11; expected 0 to 10"),
    "no time": (Vonage, (APPLICATION, pem("RS256")), {"timeout": 0}, "vonage: timeout is 0; expected seconds"),
    "a proxy": (OpenTok, (KEY, SECRET), {"proxy": f"me:{SECRET}"}, "opentok: proxy cannot be used"),
    "a long ticket": (OpenTok, (KEY, SECRET), {"ticket_life": 1e9}, "opentok: ticket_life is 1000000000.0; expected"),
    "no application": (
        Vonage,
        ("123456", pem("RS256")),
        {},
        "vonage: application_id is a text of 6",
    ),
    "no private key": (Vonage, (APPLICATION, None), {}, "vonage: the application's private_key is missing"),
    "a secret": (Vonage, (APPLICATION, SECRET), {}, "vonage: private_key is neither PEM text nor the path"),
    "a clock": (Vonage, (APPLICATION, pem("RS256")), {"clock": 7}, "vonage: clock is 7; expected a function"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named_and_no_secret_shown(case):
    service, arguments, settings, message = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        untyped(service)(*arguments, **settings)
    assert str(raised.value).startswith(message)
    assert SECRET not in held_by(raised.value)
    assert "PRIVATE KEY" not in held_by(raised.value)


def test_an_app_moves_there_by_its_environment_alone(recorder, tmp_path):
    (tmp_path / "key").write_bytes(pem("RS256"))
    of_kit = {"ROLECALL_API_KEY": "123456", "ROLECALL_API_SECRET": "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"}
    environ = {
        **of_kit,
        "ROLECALL_MEDIA": "opentok,vonage",
        "ROLECALL_OPENTOK_API_KEY": KEY,
        "ROLECALL_OPENTOK_API_SECRET": SECRET,
        "ROLECALL_OPENTOK_API_URL": recorder.url,
        "ROLECALL_OPENTOK_PROJECTS": json.dumps({OTHER_KEY: OTHER_SECRET}),
        "ROLECALL_OPENTOK_RETRIES": "0",
        "ROLECALL_OPENTOK_TIMEOUT": "3",
        "ROLECALL_VONAGE_APPLICATION_ID": APPLICATION,
        "ROLECALL_VONAGE_PRIVATE_KEY_FILE": str(tmp_path / "key"),
        "ROLECALL_VONAGE_API_URL": recorder.url,
    }
    with Rolecall.from_env(environ) as kit:
        assert kit.create_session().session_id == SESSION
        recorder.session_id = OF_APPLICATION
        assert kit.create_session(media="vonage").media == "vonage"
        state = kit.engine.state
        assert [issuer.id for issuer in state.media._by_name["opentok"][0].session_issuers] == [KEY, OTHER_KEY]
    with pytest.raises(ConfigurationError, match="ROLECALL_OPENTOK_RETRIES is no whole number"):
        Rolecall.from_env({**environ, "ROLECALL_OPENTOK_RETRIES": "1.5"})


@pytest.mark.parametrize("name", SERVICES)
def test_a_backend_shows_no_secret(name):
    assert repr(backend(name)) == f"<{type(backend(name)).__name__} http://127.0.0.1:9>"
    assert find_backend(name) is type(backend(name))


def test_without_the_service_there_is_none(make_kit):
    with pytest.raises(NoMediaService, match="no media service carries this session; pass Rolecall"):
        make_kit().signal(make_kit().create_session().session_id)
    assert answers.MAX_ANSWER == 65_536
