"""The connector, against real servers on this machine that answer well, badly, slowly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
import logging
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import jwt
import opentok
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall import errors
from rolecall.connector import (
    NotFoundAtService,
    RemoteService,
    ServiceAnswerInvalid,
    ServiceBusy,
    ServiceClockSkew,
    ServiceCredentialsRefused,
    ServiceDenied,
    ServiceDown,
    ServiceFault,
    ServiceLacksMedia,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from rolecall.errors import (
    ConfigurationError,
    InvalidKey,
    InvalidRequest,
    InvalidSessionId,
    InvalidSessionOption,
    NoMediaService,
)
from rolecall.media.opentok import answers

from ...certificates import self_signed
from ...tracebacks import held_by

# httpx leaves generators unfinished where a body is not read to its end, which trio tells of, and asyncio does not.
pytestmark = [
    pytest.mark.each_choice,
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

KEY = "123456"
SECRET = "canary-secret-5b1f0c2e9d7a4c3f8e6b7d2a1c0f9e8d"
SESSION = "1_MX4xMjM0NTZ-flNhdCBNYXIgMTUgMTQ6NDI6MjMgUERUIDIwMTR-MC40OTAxMzAyNX4"
CREATED = json.dumps([{"session_id": SESSION, "project_id": KEY, "partner_id": KEY, "create_dt": "now"}])
CREATED_XML = (
    f"<sessions><Session><session_id>{SESSION}</session_id><partner_id>{KEY}</partner_id></Session></sessions>"
)
NOW = 1_795_186_800
BASE = f"/v2/project/{KEY}/session/{SESSION}"


# -- servers ---------------------------------------------------------------------------------------


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    method, target, _ = line.split(" ")
    return SimpleNamespace(method=method, target=target, headers=headers, body=body, at=time.monotonic())


class Server:
    """Answers each connection with the next of its answers, the last of them again and again."""

    def __init__(self, tls=None, read=read_request):
        self.requests = []
        self.answers = []
        self.closing = threading.Event()
        self._tls = tls
        self._read = read
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while not self.closing.is_set():
                connection, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = self._read(connection)
                if request is None:
                    return
                self.requests.append(request)
                send = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if callable(send):
                    send(self, connection)
                else:
                    connection.sendall(send)

    def close(self):
        self.closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or accept() goes on waiting
        self._socket.close()
        for thread in self._threads:
            thread.join(5)


def answer(status=200, body="", content_type="application/json", **fields):
    body = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    if content_type:
        head.append(f"Content-Type: {content_type}")
    head += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


def hang(server, connection):
    server.closing.wait(10)


def reset(server, connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(server, connection):
    pass


def reset_in_the_middle(server, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n[{")
    time.sleep(0.05)
    reset(server, connection)


def half(server, connection):
    connection.sendall(answer(200, CREATED)[:-20])


def endless(server, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not server.closing.is_set():
        connection.sendall(b" " * 65536)


def endless_headers(server, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.closing.is_set():
        connection.sendall(b"X-More: and more\r\n" * 1000)


def drip(start):
    def send(server, connection):
        connection.sendall(start)
        while not server.closing.wait(0.05):
            connection.sendall(b"a")

    return send


def echo(status):
    """Sends back what it was sent, the credential included, wherever an answer can hold it."""

    def send(server, connection):
        credential = server.requests[-1].headers["x-opentok-auth"]
        fields = {"Location": f"https://{credential}@other.example/{credential}", "X_Echo": credential}
        connection.sendall(answer(status, f"no: {credential}", f"text/{credential}", **fields))

    return send


def title(how):
    """The name of an answer, for the name of a test."""
    return how.__name__ if callable(how) else how[9:12].decode() if isinstance(how, bytes) else how


def dated(seconds):
    return format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.fixture
def make_server():
    servers = []

    def make(*answers, **options):
        server = Server(**options)
        server.answers = list(answers)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a certificate for 127.0.0.1 that signs itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(autouse=True)
def environment(monkeypatch, certificate):
    """No proxy of this machine, and one certificate in place of its hundreds, which take long to load."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)


@pytest.fixture
def connect():
    """Makes services that are closed at the end."""
    services = []

    def make(server, **options):
        url = server if isinstance(server, str) else server.url
        services.append(RemoteService(KEY, SECRET, url, **{"retries": 0, "clock": lambda: NOW, **options}))
        return services[-1]

    yield make
    for service in services:
        service.close()


def call_sync(service, name, *arguments):
    return getattr(service, name)(*arguments)


def call_async(service, name, *arguments):
    return asyncio.run(getattr(service.aio, name)(*arguments))


def call_on_trio(service, name, *arguments):
    return trio.run(getattr(service.aio, name), *arguments)


@pytest.fixture(params=[call_sync, call_async, call_on_trio], ids=["sync", "async", "trio"])
def call(request):
    """Calls a method of a service: as sync code does, and as async code does, on asyncio and on trio."""
    return request.param


CALLS = {
    "create_session": (),
    "list_streams": (SESSION,),
    "list_connections": (SESSION,),
    "signal": (SESSION, "chat", "hello"),
    "force_disconnect": (SESSION, "c-1"),
    "mute_stream": (SESSION, "s-1"),
    "mute_all": (SESSION,),
}
ACTS = ("signal", "force_disconnect", "mute_stream", "mute_all")
GOOD = {
    "create_session": answer(200, CREATED),
    "list_streams": answer(200, '{"count":0,"items":[]}'),
    "list_connections": answer(200, '{"count":0,"items":[]}'),
    "signal": answer(204, content_type=None),
    "force_disconnect": answer(204, content_type=None),
    "mute_stream": answer(200, "{}"),
    "mute_all": answer(200, "{}"),
}


# -- what is sent, and what comes back -------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (CREATED, "application/json"),
        (CREATED, "application/json; charset=utf-8"),
        (CREATED_XML, "text/xml"),
        (f'<?xml version="1.0" encoding="UTF-8"?>\n{CREATED_XML}', "application/xml;charset=UTF-8"),
    ],
)
def test_the_id_of_the_session_comes_back(make_server, connect, call, body, content_type):
    service = connect(make_server(answer(200, body, content_type)))
    assert call(service, "create_session") == SESSION


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ((), {"p2p.preference": "enabled", "archiveMode": "manual", "e2ee": "false"}),
        ((None, "routed", "always"), {"p2p.preference": "disabled", "archiveMode": "always", "e2ee": "false"}),
        ((None, "routed", "manual", True), {"p2p.preference": "disabled", "archiveMode": "manual", "e2ee": "true"}),
        (
            ("203.0.113.7",),
            {"p2p.preference": "enabled", "archiveMode": "manual", "e2ee": "false", "location": "203.0.113.7"},
        ),
    ],
)
def test_the_properties_of_a_session_are_sent_as_a_form(make_server, connect, arguments, form):
    server = make_server(GOOD["create_session"])
    connect(server).create_session(*arguments)
    assert server.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(server.requests[0].body.decode())) == form


@pytest.mark.parametrize(
    ("name", "arguments", "method", "path", "body"),
    [
        ("signal", (SESSION, "chat", "hellö"), "POST", "/signal", {"type": "chat", "data": "hellö"}),
        ("signal", (SESSION, "", "", "c-1"), "POST", "/connection/c-1/signal", {"type": "", "data": ""}),
        ("force_disconnect", (SESSION, "c-1"), "DELETE", "/connection/c-1", None),
        ("mute_stream", (SESSION, "s-1"), "POST", "/stream/s-1/mute", {}),
        ("mute_all", (SESSION,), "POST", "/mute", {"active": True, "excludedStreams": []}),
        (
            "mute_all",
            (SESSION, True, ["s-1", "s-2"]),
            "POST",
            "/mute",
            {"active": True, "excludedStreams": ["s-1", "s-2"]},
        ),
        ("mute_all", (SESSION, False), "POST", "/mute", {"active": False}),
        ("list_streams", (SESSION,), "GET", "/stream", None),
        ("list_connections", (SESSION,), "GET", "/connection", None),
    ],
)
def test_each_act_has_its_method_path_and_body(make_server, connect, call, name, arguments, method, path, body):
    server = make_server(GOOD[name])
    call(connect(server), name, *arguments)
    request = server.requests[0]
    assert (request.method, request.target) == (method, BASE + path)
    assert (json.loads(request.body) if request.body else None) == body
    assert request.headers.get("content-type") == (None if body is None else "application/json")


def test_a_path_of_the_url_stands_before_the_routes(make_server, connect):
    server = make_server(GOOD["create_session"])
    connect(f"{server.url}/video/").create_session()
    assert server.requests[0].target == "/video/session/create"


def test_the_streams_are_as_the_service_describes_them(make_server, connect, call):
    streams = [{"id": "s-1", "videoType": "camera", "name": "", "layoutClassList": ["full"]}] * 100
    service = connect(make_server(answer(200, json.dumps({"count": 100, "items": streams}))))
    assert call(service, "list_streams", SESSION) == streams


def test_a_session_in_which_nobody_has_published_has_no_streams(make_server, connect, call):
    assert call(connect(make_server(answer(404, content_type=None))), "list_streams", SESSION) == []


def test_the_connections_are_as_the_service_describes_them(make_server, connect, call):
    connections = [{"connectionId": "c-1", "connectionState": "Connected", "createdAt": 1_795_186_800_000}]
    said = {"count": 1, "projectId": KEY, "sessionId": SESSION, "items": connections}
    assert call(connect(make_server(answer(200, json.dumps(said)))), "list_connections", SESSION) == connections


def test_a_service_that_lists_no_connections_is_no_empty_room(make_server, connect, call):
    with pytest.raises(NotFoundAtService):
        call(connect(make_server(answer(404, content_type=None))), "list_connections", SESSION)


@pytest.mark.parametrize("body", ["[]", "{}", '{"items":[{"id":"c-1"}]}', '{"items":[{"connectionId":7}]}'])
def test_what_holds_no_connections_is_no_answer(make_server, connect, body):
    with pytest.raises(ServiceAnswerInvalid, match="JSON"):
        connect(make_server(answer(200, body))).list_connections(SESSION)


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("status", [200, 204])
def test_an_act_is_done_with_either_status(make_server, connect, name, status):
    assert getattr(connect(make_server(answer(status, content_type=None))), name)(*CALLS[name]) is None


@pytest.mark.parametrize(
    ("name", "arguments", "of_the_sdk"),
    [
        ("create_session", (None, "routed"), lambda sdk: sdk.create_session(media_mode=opentok.MediaModes.routed)),
        ("signal", (SESSION, "a", "b"), lambda sdk: sdk.send_signal(SESSION, {"type": "a", "data": "b"})),
        ("signal", (SESSION, "a", "b", "c"), lambda sdk: sdk.send_signal(SESSION, {"type": "a", "data": "b"}, "c")),
        ("force_disconnect", (SESSION, "c"), lambda sdk: sdk.force_disconnect(SESSION, "c")),
        ("mute_stream", (SESSION, "s"), lambda sdk: sdk.mute_stream(SESSION, "s")),
        ("mute_all", (SESSION, True, ["s"]), lambda sdk: sdk.mute_all(SESSION, ["s"])),
        ("mute_all", (SESSION, False), lambda sdk: sdk.disable_force_mute(SESSION)),
        ("list_streams", (SESSION,), lambda sdk: sdk.list_streams(SESSION)),
    ],
)
def test_the_service_is_asked_as_the_sdk_asks_it(make_server, connect, name, arguments, of_the_sdk):
    server = make_server(GOOD[name])
    getattr(connect(server), name)(*arguments)
    of_the_sdk(opentok.Client(KEY, SECRET, api_url=server.url))
    ours, theirs = server.requests
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert sent(ours) == (sent(theirs) or {} if name == "mute_stream" else sent(theirs))
    assert claims(ours).keys() == claims(theirs).keys()


def sent(request):
    text = request.body.decode()
    return json.loads(text) if text.startswith("{") else dict(parse_qsl(text))


# -- the credential --------------------------------------------------------------------------------


def claims(request):
    token = request.headers["x-opentok-auth"]
    return jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False})


@pytest.mark.parametrize("name", CALLS)
def test_each_call_carries_a_short_lived_credential_of_the_project(make_server, connect, call, name):
    server = make_server(GOOD[name])
    call(connect(server), name, *CALLS[name])
    found = claims(server.requests[0])
    assert len(found.pop("jti")) == 32
    assert found == {"iss": KEY, "ist": "project", "iat": NOW, "exp": NOW + 180}
    assert "authorization" not in server.requests[0].headers


def test_no_two_requests_carry_the_same_credential_not_even_repetitions(make_server, connect):
    server = make_server(answer(503), GOOD["create_session"])
    service = connect(server, retries=1)
    service.create_session()
    service.create_session()
    assert len({claims(request)["jti"] for request in server.requests}) == len(server.requests) == 3


# -- what goes wrong -------------------------------------------------------------------------------

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
FAILURES = {
    "hangs": (hang, ServiceTimeout, "did not answer within 0.75 s"),
    "drips its headers": (drip(b"HTTP/1.1 200 OK\r\nX-Slow: "), ServiceTimeout, "did not answer within 0.75 s"),
    "drips its body": (drip(JSON_HEAD), ServiceTimeout, "began to answer, but did not finish within 0.75 s"),
    "resets": (reset, ServiceUnreachable, "broke before it answered"),
    "closes": (close, ServiceUnreachable, "broke before it answered"),
    "resets in the middle": (reset_in_the_middle, ServiceUnreachable, "broke in the middle of its answer"),
    "sends half an answer": (half, ServiceUnreachable, "broke in the middle of its answer"),
    "401": (answer(401), ServiceCredentialsRefused, "refused the API key and secret (401)"),
    "403": (answer(403), ServiceCredentialsRefused, "refused the API key and secret (403)"),
    "400": (answer(400, '{"message":"no"}'), ServiceRefused, "refused the request with status 400"),
    "413": (answer(413), ServiceRefused, "refused the request with status 413"),
    "429": (answer(429), ServiceBusy, "takes no more requests for now (429)"),
    "500": (answer(500, "<html>", "text/html"), ServiceDown, "out of order: it answered 500"),
    "503": (answer(503), ServiceDown, "out of order: it answered 503"),
    "500, slowly": (drip(JSON_HEAD.replace(b"200", b"500")), ServiceDown, "out of order: it answered 500"),
    "599": (answer(599), ServiceDown, "out of order: it answered 599"),
    "redirects": (answer(302, Location="https://else.example/a?b"), ServiceAnswerInvalid, "(302) to 'else.example'"),
    "redirects nowhere": (answer(301, Location="https://[/"), ServiceAnswerInvalid, "redirect (301), which is not"),
    "206": (answer(206, CREATED), ServiceAnswerInvalid, "its status is 206; expected 200 or 204"),
    "speaks no HTTP": (b"220 mail.example ESMTP\r\n\r\n", ServiceAnswerInvalid, "its answer is not HTTP"),
    "sends headers without end": (endless_headers, ServiceAnswerInvalid, "its answer is not HTTP"),
    "sends a body without end": (endless, ServiceAnswerInvalid, "the body is longer than 65536 bytes"),
    "sends too much": (answer(200, " " * 65_537), ServiceAnswerInvalid, "the body is longer than 65536 bytes"),
    "compresses": (answer(200, "x", Content_Encoding="gzip"), ServiceAnswerInvalid, "the body is compressed"),
    "sends HTML": (answer(200, "<p>Log in", "text/html"), ServiceAnswerInvalid, "its Content-Type is 'text/html'"),
    "sends no type": (answer(200, CREATED, None), ServiceAnswerInvalid, "its Content-Type is missing"),
    "sends garbage": (answer(200, b"\xff\x00garbage"), ServiceAnswerInvalid, "the body is not JSON, although"),
    "sends nested lists": (answer(200, "[" * 60_000), ServiceAnswerInvalid, "the body is not JSON, although"),
}


@pytest.mark.server
@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_is_named_in_time(make_server, connect, call, failure):
    how, error, words = FAILURES[failure]
    server = make_server(how)
    service = connect(server, timeout=0.75 if error is ServiceTimeout else 5.0)
    started = time.monotonic()
    with pytest.raises(error) as raised:
        call(service, "create_session")
    assert time.monotonic() - started < 2.5
    assert type(raised.value) is error
    assert words in str(raised.value)
    assert server.url in str(raised.value)


@pytest.mark.parametrize(
    "body", ["[]", "{}", "[1]", '[{"id":"1_a"}]', f"[{CREATED[1:-1]},{CREATED[1:-1]}]", "1", '"x"']
)
def test_json_without_one_session_is_no_answer(make_server, connect, body):
    with pytest.raises(ServiceAnswerInvalid, match="the JSON"):
        connect(make_server(answer(200, body))).create_session()


@pytest.mark.parametrize("session_id", [None, 1, "", "a/b", "..", "a b", "é", "x" * 256, {}], ids=ascii)
def test_what_is_no_session_id_is_no_answer(make_server, connect, session_id):
    body = json.dumps([{"session_id": session_id}])
    with pytest.raises(ServiceAnswerInvalid, match="session_id is invalid"):
        connect(make_server(answer(200, body))).create_session()


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '{"items":{}}', '{"items":[1]}', '{"items":[{"name":"x"}]}', '{"items":[],"items":[]}', '{"a":NaN}'],
)
def test_what_holds_no_streams_is_no_answer(make_server, connect, body):
    with pytest.raises(ServiceAnswerInvalid, match="JSON"):
        connect(make_server(answer(200, body))).list_streams(SESSION)


def test_a_long_list_of_streams_is_read(make_server, connect):
    items = [{"id": f"stream-{number}", "name": "x" * 60, "videoType": "camera"} for number in range(2000)]
    body = json.dumps({"count": len(items), "items": items})
    assert connect(make_server(answer(200, body))).list_streams(SESSION) == items


@pytest.mark.parametrize("name", ACTS)
def test_what_does_not_exist_at_the_service_is_named_so(make_server, connect, call, name):
    with pytest.raises(NotFoundAtService, match="knows no such session, connection or stream"):
        call(connect(make_server(answer(404))), name, *CALLS[name])


def refusal(status: int, code: object, media_type: str = "application/problem+json") -> bytes:
    return answer(status, json.dumps({"title": "x", "code": code, "detail": SECRET}), media_type)


@pytest.mark.parametrize("status", [401, 403])
def test_what_a_policy_there_denies_is_told_from_a_wrong_secret(make_server, connect, call, status):
    with pytest.raises(ServiceDenied, match=rf"denied the request \({status}\): teacher$"):
        call(connect(make_server(refusal(status, "teacher"))), "mute_stream", SESSION, "s-1")


@pytest.mark.parametrize(
    "refused",
    [
        refusal(403, "invalid_server_credential"),
        refusal(403, "Teacher"),
        refusal(403, "no code\nat all"),
        refusal(403, "x" * 65),
        refusal(403, 7),
        refusal(403, "teacher", "application/json"),
        answer(403, "{", "application/problem+json"),
        answer(403, "[]", "application/problem+json"),
        answer(403),
    ],
)
def test_a_refusal_without_another_reason_is_that_of_the_secret(make_server, connect, refused):
    with pytest.raises(ServiceCredentialsRefused) as caught:
        connect(make_server(refused)).mute_stream(SESSION, "s-1")
    assert SECRET not in str(caught.value)


def test_a_service_without_a_media_service_is_not_out_of_order(make_server, connect):
    with pytest.raises(ServiceLacksMedia, match=r"has no media service for this session$") as caught:
        connect(make_server(refusal(501, "no_media_service"))).mute_stream(SESSION, "s-1")
    assert isinstance(caught.value, NoMediaService)
    assert caught.value.status == 501
    with pytest.raises(ServiceDown, match=r"it answered 501; it may have been carried out"):
        connect(make_server(refusal(501, "another"))).mute_stream(SESSION, "s-1")


def test_a_service_without_the_route_is_another_kind_of_service(make_server, connect):
    with pytest.raises(ServiceAnswerInvalid, match=r"no such route \(404\); check api_url"):
        connect(make_server(answer(404))).create_session()


def test_a_redirect_is_not_followed(make_server, connect, call):
    other = make_server(GOOD["create_session"])
    with pytest.raises(ServiceAnswerInvalid):
        call(connect(make_server(answer(307, Location=other.url))), "create_session")
    assert other.requests == []


def test_a_port_that_nobody_listens_on_refuses(connect, call):
    with pytest.raises(ServiceUnreachable, match="it refused the connection"):
        call(connect(f"http://127.0.0.1:{unused_port()}"), "create_session")


def test_a_name_that_nobody_has_is_named_so(connect, call, monkeypatch):
    def resolve(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)  # not every network says so soon
    with pytest.raises(ServiceUnreachable, match="its name cannot be resolved"):
        call(connect("http://service.invalid"), "create_session")


def test_names_that_are_not_resolved_in_time_do_not_hold_a_call_up(connect, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: over.wait(5) and [])
    started = time.monotonic()
    with pytest.raises(ServiceTimeout, match=r"no connection to http://service\.invalid could be made"):
        connect("http://service.invalid", timeout=0.4).create_session()
    assert time.monotonic() - started < 2
    over.set()


@pytest.mark.server
def test_a_connection_that_is_not_accepted_is_given_up_after_half_of_the_time(connect, call):
    with full_queue() as url:
        service = connect(url, timeout=0.6)
        started = time.monotonic()
        with pytest.raises(ServiceTimeout, match=r"no connection to .* could be made within 0\.3 s"):
            call(service, "mute_all", SESSION)
    assert 0.25 < time.monotonic() - started < 2


@pytest.mark.server
def test_the_time_is_for_the_call_and_not_for_each_attempt(make_server, connect, call):
    server = make_server(answer(503), answer(503), hang)
    started = time.monotonic()
    with pytest.raises(ServiceTimeout, match=r"within 1\.2 s \(3 attempts\)"):
        call(connect(server, timeout=1.2, retries=10), "create_session")
    assert time.monotonic() - started < 3.5


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def full_queue():
    """The URL of a server that accepts nothing, and whose queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# -- clocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("theirs", "words", "seconds"),
    [
        (-312, "this server's clock is 312 s ahead of the service's", 312),
        (312, "this server's clock is 312 s behind the service's", -312),
        (-11, "this server's clock is 11 s ahead of the service's", 11),
        (86_400 * 365, "this server's clock is 31536000 s behind the service's", -86_400 * 365),
    ],
)
def test_clocks_that_differ_are_named_with_the_difference(make_server, connect, call, status, theirs, words, seconds):
    service = connect(make_server(answer(status, Date=dated(theirs))))
    with pytest.raises(ServiceClockSkew) as raised:
        call(service, "create_session")
    assert words in str(raised.value)
    assert raised.value.seconds == seconds


@pytest.mark.parametrize("theirs", [-9, 0, 9])
def test_clocks_that_agree_leave_the_key_and_the_secret(make_server, connect, theirs):
    with pytest.raises(ServiceCredentialsRefused, match="the clocks agree within 10 s") as raised:
        connect(make_server(answer(403, Date=dated(theirs)))).create_session()
    assert not isinstance(raised.value, ServiceClockSkew)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "0", "Fri, 20 Nov 99999 15:00:00 GMT", "Fri, 99 Nov 2026 99:00:00 GMT"]
)
def test_a_date_that_is_none_says_nothing_about_clocks(make_server, connect, date):
    with pytest.raises(ServiceCredentialsRefused) as raised:
        connect(make_server(answer(403, Date=date))).create_session()
    assert "clock" not in str(raised.value)


def test_clocks_that_differ_do_no_harm_where_the_service_accepts(make_server, connect):
    assert connect(make_server(answer(200, CREATED, Date=dated(312)))).create_session() == SESSION


# -- repetition ------------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.parametrize(
    ("first", "name"),
    [
        (answer(429), "create_session"),
        (answer(502), "create_session"),
        (answer(503), "list_streams"),
        (answer(504), "create_session"),
        (reset, "create_session"),
        (close, "list_streams"),
        (half, "create_session"),
        (half, "list_streams"),
        (half, "list_connections"),
    ],
    ids=title,
)
def test_what_does_no_harm_twice_is_repeated(make_server, connect, call, first, name):
    server = make_server(first, GOOD[name])
    call(connect(server, retries=1), name, *CALLS[name])
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500, 501])
def test_what_another_attempt_does_not_mend_is_not_repeated(make_server, connect, status):
    server = make_server(answer(status, "?"), GOOD["create_session"])
    with pytest.raises(ServiceFault):
        connect(server, retries=2).create_session()
    assert len(server.requests) == 1


@pytest.mark.parametrize("first", [answer(429), answer(502), answer(503), answer(504), reset, close], ids=title)
@pytest.mark.parametrize("name", ACTS)
def test_an_act_that_may_have_been_carried_out_is_not_repeated(make_server, connect, first, name):
    server = make_server(first, GOOD[name])
    with pytest.raises(ServiceFault):
        getattr(connect(server, retries=2), name)(*CALLS[name])
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", [hang, reset, half, answer(500), answer(504)], ids=title)
def test_the_error_says_that_an_act_may_have_been_carried_out(make_server, connect, how):
    with pytest.raises(ServiceFault, match=r"it may have been carried out all the same$"):
        connect(make_server(how), timeout=0.5).force_disconnect(SESSION, "c-1")


def test_of_a_session_that_may_have_been_created_nothing_is_said(make_server, connect):
    with pytest.raises(ServiceFault) as raised:
        connect(make_server(reset)).create_session()
    assert "carried out" not in str(raised.value)


@pytest.mark.server
@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_repeated_while_no_connection_is_made(make_server, connect, name):
    server, port = make_server(GOOD[name]), unused_port()
    late = threading.Timer(0.05, forward, [port, server])
    late.start()
    getattr(connect(f"http://127.0.0.1:{port}", retries=5), name)(*CALLS[name])
    late.join()
    assert len(server.requests) == 1


def forward(port, server):
    """Takes one connection on ``port`` to ``server``."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        connection, _ = listener.accept()
        server._serve(connection)


def test_there_are_no_more_attempts_than_were_asked_for(make_server, connect):
    server = make_server(answer(503))
    with pytest.raises(ServiceDown, match=r"\(2 attempts\)"):
        connect(server, retries=1).create_session()
    assert len(server.requests) == 2


def test_pauses_grow(make_server, connect):
    server = make_server(answer(503))
    with pytest.raises(ServiceDown):
        connect(server, retries=2).create_session()
    first, second = pauses(server)
    assert 0.125 <= first < 0.25 + 0.2
    assert 0.25 <= second < 0.5 + 0.2


@pytest.mark.server
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (429, {"Retry_After": "1"}),
        (503, {"Retry_After": dated(-3599), "Date": dated(-3600)}),
        (503, {"Retry_After": dated(1)}),
    ],
    ids=["seconds", "a date by the service's clock", "a date by this clock"],
)
def test_the_patience_that_the_service_asks_for_is_had(make_server, connect, status, fields):
    server = make_server(answer(status, **fields), GOOD["create_session"])
    connect(server, retries=1).create_session()
    assert 1 <= pauses(server)[0] < 1.8


@pytest.mark.parametrize("patience", ["5", "3600", "9" * 400, dated(3600)])
def test_longer_patience_than_there_is_time_for_is_told_at_once(make_server, connect, patience):
    server = make_server(answer(503, Retry_After=patience))
    started = time.monotonic()
    with pytest.raises(ServiceDown, match=r"asks for a pause of \d+ s"):
        connect(server, retries=2).create_session()
    assert time.monotonic() - started < 2
    assert len(server.requests) == 1


@pytest.mark.server
@pytest.mark.parametrize("patience", ["", "soon", "-1", "1.5", "٣"])
def test_patience_that_is_none_leaves_the_usual_pause(make_server, connect, patience):
    server = make_server(answer(503, Retry_After=patience), GOOD["create_session"])
    assert connect(server, retries=1).create_session() == SESSION


def pauses(server):
    moments = [request.at for request in server.requests]
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


# -- nothing leaks ---------------------------------------------------------------------------------


def everything_of(error):
    """All text that a log or a report of errors can hold: messages, frames with their locals, what came before."""
    found, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found += [repr(error), str(error), repr(vars(error))]
        found += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__context__ or error.__cause__
    return "\n".join(found)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.DEBUG)
    return caplog


def assert_nothing_leaks(text, server):
    secrets = [SECRET, SECRET[7:30], SECRET.encode().hex()[:32], "Y2FuYXJ5LXNlY3JldC01YjFm", "proxy-password"]
    for request in server.requests:
        token = request.headers.get("x-opentok-auth")
        secrets += [token, token.split(".")[-1], token[40:80]] if token else []
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.server
@pytest.mark.parametrize("failure", [*FAILURES, *(f"echoes {status}" for status in (200, 302, 401, 500))])
def test_no_failure_shows_the_secret_or_a_credential(make_server, connect, call, logged, failure):
    how = echo(int(failure[-3:])) if failure.startswith("echoes") else FAILURES[failure][0]
    server = make_server(how)
    service = connect(server, timeout=0.75 if failure in ("hangs", "drips its headers", "drips its body") else 5.0)
    with pytest.raises(ServiceFault) as raised:
        call(service, "signal", SESSION, "chat", "hello")
    assert server.requests
    assert "Transport" in everything_of(raised.value)
    if not failure.startswith("echoes"):  # what the service itself sends back, the libraries' debug log may show
        assert_nothing_leaks(logged.text, server)
    assert_nothing_leaks(everything_of(raised.value) + repr(service) + repr(service.aio), server)


def test_a_call_that_is_cancelled_shows_no_credential_either(make_server, connect):
    server = make_server(hang)
    service = connect(server)

    async def give_up():
        async with asyncio.timeout(0.3):
            await service.aio.create_session()

    with pytest.raises(TimeoutError) as raised:
        asyncio.run(give_up())
    assert server.requests
    assert "CancelledError" in everything_of(raised.value)
    assert_nothing_leaks(everything_of(raised.value), server)


def test_what_is_shown_of_a_service_is_where_it_is():
    with RemoteService(KEY, SECRET, proxy="http://me:proxy-password@127.0.0.1:1") as service:
        assert repr(service) == "<RemoteService 'https://api.opentok.com' api_key='123456'>"
        assert repr(service.aio) == "<RemoteService 'https://api.opentok.com' api_key='123456'>.aio"
        assert "proxy-password" not in repr(vars(service.aio._transport))


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"retries": -1},
        {"clock": 1},
        {"api_key": 1},
        {"api_url": f"https://me:{SECRET}@127.0.0.1"},
        {"api_url": SECRET},
        {"proxy": f"gopher://me:{SECRET}@127.0.0.1"},
        {"proxy": f"http://me:{SECRET}@127.0.0.1:port"},
        {"proxy": SECRET},
    ],
    ids=str,
)
def test_a_wrong_argument_shows_no_secret(options):
    error = None
    try:
        RemoteService(**{"api_key": KEY, "api_secret": SECRET, **options})
    except ConfigurationError as raised:
        error = raised
    library = everything_of(error).split("test_connector.py")  # the first frame is this test's own
    assert SECRET not in library[0] + str(error) + "".join(part.partition('File "')[2] for part in library[1:])


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": 123456}, "api_key is of type int"),
        ({"api_key": None}, "api_key is of type NoneType"),
        ({"api_secret": None}, "api_secret is missing"),
        ({"api_key": SECRET, "api_secret": None}, "api_secret is missing"),
        ({"api_secret": "short"}, "the secret has 5 bytes"),
        ({"api_url": None}, "api_url is of type NoneType"),
        ({"api_url": ""}, "expected one like 'https://api.opentok.com'"),
        ({"api_secret": f"{SECRET}\n"}, "the secret has a line end at its end"),
        ({"api_key": f"{KEY} "}, "white space at its end"),
        ({"api_url": "https://api.opentok.com\n"}, "api_url has a line end at its end"),
        ({"api_url": "'https://api.opentok.com'"}, "api_url has quotes around it"),
        ({"proxy": "http://proxy.example:3128\n"}, "proxy has a line end at its end"),
        ({"api_url": "api.opentok.com"}, "not the URL of a service"),
        ({"api_url": "ftp://api.opentok.com"}, "not the URL of a service"),
        ({"api_url": "https://"}, "not the URL of a service"),
        ({"api_url": "https://api.opentok.com:port"}, "not the URL of a service"),
        ({"api_url": "https://[::1"}, "not the URL of a service"),
        ({"api_url": "https://api.opentok.com\r\nX: y"}, "api_url is a text of"),
        ({"api_url": "https://me@api.opentok.com"}, "holds a user, a query or a fragment"),
        ({"api_url": "https://api.opentok.com?a=b"}, "holds a user, a query or a fragment"),
        ({"timeout": 0}, "timeout is 0; expected seconds, above 0 and up to 300"),
        ({"timeout": True}, "timeout is True"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": None}, "timeout is None"),
        ({"retries": -1}, "retries is -1; expected 0 to 10"),
        ({"retries": 1.0}, "retries is 1.0"),
        ({"proxy": 1}, "proxy is of type int"),
        ({"proxy": "ftp://127.0.0.1"}, "proxy cannot be used"),
        ({"clock": None}, "clock is None"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_at_start_up(options, words):
    with pytest.raises(ConfigurationError) as raised:
        RemoteService(**{"api_key": KEY, "api_secret": SECRET, **options})
    assert words in str(raised.value)
    assert SECRET not in held_by(raised.value)


def test_a_secret_that_is_publicly_known_is_refused():
    with pytest.raises(InvalidKey, match="publicly known"):
        RemoteService(KEY, "ab" * 32)


def test_a_proxy_of_the_environment_that_cannot_be_used_is_named_at_start_up(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1")
    with pytest.raises(ConfigurationError, match="a proxy of the environment"):
        RemoteService(KEY, SECRET)


def test_without_httpx_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigurationError, match=r"pip install httpx$"):
        RemoteService(KEY, SECRET)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("create_session", ("here",), InvalidSessionOption),
        ("create_session", (None, "mesh"), InvalidSessionOption),
        ("create_session", (None, "relayed", "always"), InvalidSessionOption),
        ("signal", ("1_a/../b", "t", "d"), InvalidSessionId),
        ("signal", ("..", "t", "d"), InvalidSessionId),
        ("signal", ("", "t", "d"), InvalidSessionId),
        ("signal", (None, "t", "d"), InvalidSessionId),
        ("signal", (SESSION, "t" * 129, "d"), InvalidRequest),
        ("signal", (SESSION, "é" * 65, "d"), InvalidRequest),
        ("signal", (SESSION, "t", "d" * 8193), InvalidRequest),
        ("signal", (SESSION, "t", b"d"), InvalidRequest),
        ("signal", (SESSION, None, "d"), InvalidRequest),
        ("signal", (SESSION, "t", "\ud800"), InvalidRequest),
        ("signal", (SESSION, "t", "d", "c/d"), InvalidRequest),
        ("force_disconnect", (SESSION, None), InvalidRequest),
        ("force_disconnect", (SESSION, "c?d"), InvalidRequest),
        ("force_disconnect", (SESSION, "c%2Fd"), InvalidRequest),
        ("mute_stream", (SESSION, "."), InvalidRequest),
        ("mute_stream", (SESSION, "x" * 256), InvalidRequest),
        ("mute_all", (SESSION, "true"), InvalidRequest),
        ("mute_all", (SESSION, True, "s-1"), InvalidRequest),
        ("mute_all", (SESSION, True, [1]), InvalidRequest),
        ("mute_all", (SESSION, True, None), InvalidRequest),
        ("mute_all", (SESSION, False, ["s-1"]), InvalidRequest),
        ("list_streams", ("a b",), InvalidSessionId),
        ("list_connections", ("a b",), InvalidSessionId),
    ],
)
def test_a_call_that_cannot_be_meant_is_not_sent(make_server, connect, call, name, arguments, error):
    server = make_server(GOOD[name])
    with pytest.raises(error):
        call(connect(server), name, *arguments)
    assert server.requests == []


@pytest.mark.parametrize("data", ["d" * 8192, "é" * 4096, "", "\x00\n\u2028"], ids=ascii)
def test_a_signal_within_its_limits_arrives_as_it_is(make_server, connect, data):
    server = make_server(GOOD["signal"])
    connect(server).signal(SESSION, "t" * 128, data)
    assert json.loads(server.requests[0].body) == {"type": "t" * 128, "data": data}


# -- XML -------------------------------------------------------------------------------------------


def xml_id(text):
    return answers.session_id("application/xml", text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    "text",
    [
        CREATED_XML,
        f"\n{CREATED_XML.replace('><', '>  <')}\n",
        CREATED_XML.replace(SESSION, f"\n  {SESSION}\n"),
        CREATED_XML.replace(SESSION, f"<![CDATA[{SESSION}]]>"),
        CREATED_XML.replace(SESSION, f"<!-- id -->{SESSION}"),
        CREATED_XML.replace(SESSION, SESSION.replace("_", "&#95;", 1)),
    ],
)
def test_the_id_is_read_from_xml(text):
    assert xml_id(text) == SESSION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"<!DOCTYPE sessions>{CREATED_XML}", "document type"),
        (f'<!DOCTYPE a [<!ENTITY b "{SESSION}">]>' + CREATED_XML.replace(SESSION, "&b;"), "document type"),
        (f'<!DOCTYPE a SYSTEM "file:///etc/passwd">{CREATED_XML}', "document type"),
        (f'<?xml-stylesheet href="a"?>{CREATED_XML}', "processing instruction"),
        (CREATED_XML.replace(SESSION, "&b;"), "not XML"),
        (CREATED_XML[:-1], "not XML"),
        (CREATED_XML + "<a/>", "not XML"),
        ("", "not XML"),
        (CREATED, "not XML"),
        (CREATED_XML.encode("utf-16"), "not XML"),
        (CREATED_XML.encode("utf-16-le"), "not UTF-8"),
        (CREATED_XML.encode("utf-16-be"), "not UTF-8"),
        (CREATED_XML.replace(SESSION, "é").encode("latin-1"), "not XML"),
        ("<a>" * 9 + "</a>" * 9, "more than 8 levels"),
        ("<sessions></sessions>", "no session_id"),
        (f"<session_id>{SESSION}</session_id>", "no session_id"),
        (CREATED_XML.replace("Session>", "Archive>"), "no session_id"),
        (CREATED_XML.replace("</sessions>", CREATED_XML.removeprefix("<sessions>")), "several sessions"),
        ('<error code="-1"><invalid-partner message="no"/></error>', "there was an error"),
        (f"<sessions><error/>{CREATED_XML.removeprefix('<sessions>')}", "there was an error"),
    ],
)
def test_other_xml_is_refused(text, words):
    with pytest.raises(answers.Unreadable, match=words):
        xml_id(text)


@given(st.sampled_from(["application/json", "application/xml", "text/plain"]), st.binary() | st.text().map(str.encode))
@example("application/json", b"\xef\xbb\xbf[]")
@example("application/json", CREATED.encode("utf-16"))
@example("application/xml", b"<a" + b" b=''" * 2)
def test_whatever_is_answered_there_is_one_error(content_type, body):
    with contextlib.suppress(answers.Unreadable):
        answers.session_id(content_type, body)


# -- proxies and TLS -------------------------------------------------------------------------------


def proxied(server, connection):
    """Forwards the request that was just read, or makes a tunnel where that is asked for."""
    request = server.requests[-1]
    target = urlsplit(request.target if "//" in request.target else f"//{request.target}")
    with socket.create_connection((target.hostname, target.port)) as origin:
        if request.method == "CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=pump, args=(origin, connection))
            back.start()
            pump(connection, origin)
            back.join()
        else:
            fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            origin.sendall(f"{request.method} {target.path} HTTP/1.1\r\n{fields}\r\n".encode() + request.body)
            pump(origin, connection)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_requests_go_through_the_proxy(make_server, connect, call):
    server, proxy = make_server(GOOD["create_session"]), make_server(proxied)
    assert call(connect(server, proxy=proxy.url), "create_session") == SESSION
    assert proxy.requests[0].target == f"{server.url}/session/create"
    assert len(server.requests) == 1


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_used(make_server, connect, call, monkeypatch, variable):
    server, proxy = make_server(GOOD["create_session"]), make_server(proxied)
    monkeypatch.setenv(variable, proxy.url)
    assert call(connect(server), "create_session") == SESSION
    assert len(proxy.requests) == 1


def test_no_proxy_of_the_environment_is_used_where_it_says_so(make_server, connect, monkeypatch):
    server, proxy = make_server(GOOD["create_session"]), make_server(proxied)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert connect(server).create_session() == SESSION
    assert proxy.requests == []


def test_a_tunnel_through_the_proxy_hides_the_credential_from_it(
    make_server, connect, call, tls, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    server, proxy = make_server(GOOD["create_session"], tls=tls), make_server(proxied)
    url = proxy.url.replace("//", "//me:proxy-password@")
    assert call(connect(server, proxy=url), "create_session") == SESSION
    assert proxy.requests[0].method == "CONNECT"
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6cHJveHktcGFzc3dvcmQ="
    assert "x-opentok-auth" not in proxy.requests[0].headers


@pytest.mark.parametrize("url", ["http://service.example", "https://service.example"], ids=["plain", "tunnel"])
def test_a_proxy_that_wants_other_credentials_is_named_so(make_server, connect, call, logged, url):
    proxy = make_server(answer(407))
    service = connect(url, proxy=proxy.url.replace("//", "//me:proxy-password@"), retries=2)
    with pytest.raises(ServiceUnreachable, match=r"the proxy wants other credentials \(407\)") as raised:
        call(service, "mute_all", SESSION)
    assert len(proxy.requests) == 1
    assert_nothing_leaks(everything_of(raised.value) + logged.text, proxy)


def test_a_tunnel_that_the_proxy_does_not_make_is_tried_again_even_for_an_act(make_server, connect):
    proxy = make_server(answer(502))
    with pytest.raises(ServiceUnreachable, match=r"the proxy made no connection to it \(502\) \(2 attempts\)$"):
        connect("https://service.example", proxy=proxy.url, retries=1).mute_all(SESSION)
    assert len(proxy.requests) == 2


def test_a_proxy_that_is_not_there_is_told_from_the_service(connect, monkeypatch):
    proxy = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ServiceUnreachable, match=r"to the proxy on the way to http://service\.example could"):
        connect("http://service.example", proxy=proxy).create_session()
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ServiceUnreachable, match="or to the environment's proxy on the way, could be made: it refused"):
        connect("http://service.example").create_session()


def test_a_certificate_that_is_not_trusted_is_named_so(make_server, connect, call, tls, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    server = make_server(GOOD["create_session"], tls=tls)
    with pytest.raises(ServiceUnreachable, match=r"its certificate is not valid \(.*self.signed.*\)$"):
        call(connect(server, retries=2), "create_session")
    assert server.requests == []


def test_a_service_without_tls_is_named_so(make_server, connect):
    server = make_server(answer(400), read=lambda connection: connection.recv(9999))
    with pytest.raises(ServiceUnreachable, match="no TLS that this server accepts"):
        connect(server.url.replace("http:", "https:")).create_session()


# -- one service for all ---------------------------------------------------------------------------


def test_threads_and_event_loops_share_a_service(make_server, connect):
    server = make_server(GOOD["create_session"])
    service = connect(server)

    async def twice():
        return await asyncio.gather(service.aio.create_session(), service.aio.create_session())

    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(service.create_session) for _ in range(8)]]
    found += asyncio.run(twice()) + asyncio.run(twice())
    assert found == [SESSION] * 12


def test_a_sync_call_works_inside_an_event_loop(make_server, connect):
    service = connect(make_server(GOOD["create_session"]))

    async def block():
        return service.create_session()

    assert asyncio.run(block()) == SESSION


def test_a_service_that_was_closed_works_again(make_server, connect):
    service = connect(make_server(GOOD["create_session"]))
    service.create_session()
    service.close()
    assert service.create_session() == SESSION


def test_the_methods_of_both_views_have_the_same_arguments():
    for name in CALLS:
        own, other = getattr(RemoteService, name), getattr(type(RemoteService(KEY, SECRET).aio), name)
        assert inspect.signature(own) == inspect.signature(other)
        assert inspect.iscoroutinefunction(other)
        assert not inspect.iscoroutinefunction(own)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (ServiceFault, "service_fault", 503),
        (ServiceUnreachable, "service_unreachable", 503),
        (ServiceTimeout, "service_timeout", 503),
        (ServiceDown, "service_down", 503),
        (ServiceBusy, "service_busy", 503),
        (ServiceAnswerInvalid, "service_answer_invalid", 503),
        (ServiceRefused, "service_refused", 503),
        (ServiceCredentialsRefused, "service_credentials_refused", 503),
        (ServiceClockSkew, "service_clock_skew", 503),
        (NotFoundAtService, "not_found_at_service", 404),
    ],
)
def test_code_and_status_are_stable(error, code, status):
    assert (error.code, error.status, error.challenge) == (code, status, None)
    assert issubclass(error, LookupError if error is NotFoundAtService else errors.Unavailable)
