"""``RolecallMiddleware``: the kit's routes in front of a WSGI app, which gets all the rest as it came."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import bottle
import pytest
from werkzeug.test import Client

from rolecall import Rolecall, Web
from rolecall.errors import ConfigurationError, StoreUnavailable
from rolecall.http.gateways.wsgi import WsgiHeaders
from rolecall.http.messages import MAX_BODY
from rolecall.policies import AllowAnyone
from rolecall_wsgi import RolecallMiddleware, require_role, require_token

from ..untyped import untyped


@pytest.fixture
def kit(make_kit):
    return make_kit(plugins=[AllowAnyone(max_role="moderator")])


@pytest.fixture
def session(kit):
    return kit.create_session()


class App:
    """A WSGI app that remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, environ, start_response):
        self.calls.append((environ, start_response))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"the app"]

    @property
    def grants(self):
        return [environ["rolecall.grant"] for environ, _ in self.calls]


@pytest.fixture
def inner():
    return App()


@pytest.fixture
def app(kit, inner):
    return RolecallMiddleware(inner, kit)


def ask(app, path="/", token=None, method="GET", **options):
    options.setdefault("headers", {"Authorization": f"Bearer {token}"} if token else {})
    return Client(app, use_cookies=False).open(path, method=method, buffered=True, **options)


# -- routes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/video", "", "/a/b", "/vidéo"])
def test_the_routes_stand_under_the_prefix(kit, inner, prefix):
    app = validator(RolecallMiddleware(validator(inner), kit, prefix))
    created = ask(app, f"{prefix}/sessions", method="POST", json={"media_mode": "routed"})
    assert (created.status_code, created.json["media_mode"]) == (201, "routed")
    path = f"{prefix}/sessions/{created.json['session_id']}"
    issued = ask(app, f"{path}/tokens", method="POST", json={"role": "moderator"})
    assert (issued.status_code, issued.json["role"]) == (201, "moderator")
    token = issued.json["token"]
    assert ask(app, path, token).json == created.json
    head = ask(app, path, token, "HEAD")
    assert (head.status_code, head.data) == (200, b"")
    ended = ask(app, path, token, "DELETE")
    assert (ended.status_code, ended.data, ended.headers.get("Content-Length")) == (204, b"", None)
    assert ask(app, path, token).json["code"] == "revoked_token"
    assert inner.calls == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/video",
            "/video/",
            "/video/other",
            "/videosessions",
            "/video//sessions",
            "/video/./sessions",
            "/sessions",
        ),
        *("/video/sessions/", "/VIDEO/sessions", "/video/sessions/1/2", "/x/../video/sessions", "/video/sessions\n"),
    ],
)
def test_every_other_path_is_the_apps(app, path):
    assert ask(app, "/", environ_overrides={"PATH_INFO": path}).text == "the app"


def test_an_app_without_a_path_is_asked_for_its_root(app, inner):
    started = []
    list(app({"REQUEST_METHOD": "GET"}, lambda status, headers: started.append(status)))
    assert (started, len(inner.calls)) == (["200 OK"], 1)


def test_the_routes_move_with_the_mount_point(kit, app):
    response = ask(app, "/video/sessions", method="POST", environ_base={"SCRIPT_NAME": "/mounted"})
    assert response.status_code == 201


def test_a_method_that_a_route_does_not_have_is_answered_here(app, inner):
    response = ask(app, "/video/sessions", method="PUT")
    assert (response.status_code, response.headers["Allow"], inner.calls) == (405, "GET, POST, HEAD, OPTIONS", [])


def test_options_names_the_methods_of_a_route(app):
    response = ask(app, "/video/sessions/x", method="OPTIONS")
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Allow"] == "GET, DELETE, HEAD, OPTIONS"


@pytest.mark.parametrize("session_id", ["x", "\xff", "\xc3\xa4", "%2e%2e", "a b", "{session_id}"])
def test_an_id_that_is_none_is_refused_and_not_looked_for(app, session_id, session):
    path = f"/video/sessions/{session_id}"
    response = ask(app, "/", session.generate_token(), environ_overrides={"PATH_INFO": path})
    assert response.status_code in (400, 403, 404)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "kit"), "goes around a WSGI app, not None"),
        ((App, "kit"), r"not the class App; pass an instance: App\(\)"),
        ((App(), None), r"takes a Rolecall\(…\), not None"),
        ((App(), "kit", "video"), "prefix is 'video'; expected a path"),
        ((App(), "kit", "/"), "prefix is '/'"),
        ((App(), "kit", "/video/"), "prefix is '/video/'"),
        ((App(), "kit", "//video"), "prefix is '//video'"),
        ((App(), "kit", "/my%20video"), "expected a path"),
        ((App(), "kit", "/video?x"), "expected a path"),
        ((App(), "kit", None), "prefix is None"),
    ],
)
def test_an_argument_that_cannot_be_meant_stops_at_import(kit, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        RolecallMiddleware(*(kit if argument == "kit" else argument for argument in arguments))


def test_headers_are_named_as_they_were_sent():
    environ = {"CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "", "HTTP_X_A": "1", "HTTP_CONTENT_TYPE": "forged"}
    headers = WsgiHeaders(environ)
    assert dict(headers) == {"x-a": "1", "content-type": "text/plain"}
    assert (len(headers), headers.get("X-A"), headers.get("x-b", "none"), "x-b" in headers) == (2, "1", "none", False)


# -- bodies ----------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """The input of a server that does not stop at the end of a body: reading beyond it would wait for ever."""

    def __init__(self, body: bytes) -> None:
        self.left = body

    def read(self, size=-1):
        assert 0 <= size <= len(self.left), "reading on would hang"
        piece, self.left = self.left[:size], self.left[size:]
        return piece


def post(app, body, **environ):
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/video/sessions",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": Endless(body),
        **environ,
    }
    setup_testing_defaults(environ)
    started = []
    answer = b"".join(app(environ, lambda status, headers: started.append(int(status[:3]))))
    return started[0], json.loads(answer)


def test_a_body_is_read_to_its_announced_end_and_not_beyond(app):
    assert post(app, b'{"media_mode": "routed"}')[0] == 201


def test_an_input_in_pieces_is_put_together(app):
    class Pieces(Endless):
        def read(self, size=-1):
            return super().read(min(size, 5))

    body = b'{"media_mode": "routed"}'
    status, created = post(app, body, **{"wsgi.input": Pieces(body)})
    assert (status, created["media_mode"]) == (201, "routed")


@pytest.mark.parametrize(
    ("length", "status"), [("", 201), ("0", 201), ("-5", 400), ("x", 400), ("１", 400), ("+5", 400), ("5,5", 400)]
)
def test_without_a_length_that_can_be_read_nothing_is_read(app, length, status):
    assert post(app, b"", CONTENT_LENGTH=length)[0] == status


@pytest.mark.parametrize("length", [MAX_BODY + 1, 10**15, 10**30])
def test_a_body_that_is_announced_too_long_is_not_read(app, length):
    status, problem = post(app, b"", CONTENT_LENGTH=str(length))
    assert (status, problem["code"]) == (413, "body_too_large")


def test_an_input_that_ends_by_itself_is_read_to_its_end(app):
    """As gunicorn and waitress give it, also for chunked bodies without a length."""
    body = b'{"media_mode": "routed"}'
    options = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert post(app, body, CONTENT_LENGTH="", **options)[1]["media_mode"] == "routed"
    options["wsgi.input"] = io.BytesIO(b" " * (MAX_BODY + 1))
    assert post(app, body, CONTENT_LENGTH="", **options)[0] == 413


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("chunk"), EOFError()])
def test_an_input_that_breaks_off_is_the_clients_fault(app, error):
    class Broken(Endless):
        def read(self, size=-1):
            raise error

    status, problem = post(app, b"{}", **{"wsgi.input": Broken(b"")})
    assert (status, problem["code"]) == (400, "invalid_request")


def test_a_body_shorter_than_announced_is_refused(app):
    assert post(app, b"{}", CONTENT_LENGTH="5", **{"wsgi.input": io.BytesIO(b"{}")})[0] == 400


def test_a_route_that_takes_no_body_reads_none(app, session):
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "DELETE",
        "PATH_INFO": f"/video/sessions/{session.session_id}",
        "CONTENT_LENGTH": "3",
    }
    environ["HTTP_AUTHORIZATION"] = f"Bearer {session.generate_token('moderator')}"
    environ["wsgi.input"] = body = Endless(b"abc")
    setup_testing_defaults(environ)
    assert list(app(environ, lambda status, headers: None)) == []
    assert body.left == b"abc"


# -- what is passed on -----------------------------------------------------------------------------


def test_the_app_gets_the_environment_itself_with_kit_and_grant(app, inner, kit, session):
    environ = {"HTTP_AUTHORIZATION": f"Bearer {session.generate_token()}", "PATH_INFO": "//x/../%41\xff"}
    setup_testing_defaults(environ)
    before = dict(environ)
    app(environ, started := lambda status, headers: None)
    [(passed_on, start_response)] = inner.calls
    assert passed_on is environ
    assert start_response is started
    assert environ == {**before, "rolecall.kit": kit, "rolecall.grant": environ["rolecall.grant"]}


def test_the_answer_is_the_very_one_that_the_app_gave(kit):
    def stream():
        yield b"a"

    answer = stream()
    app = RolecallMiddleware(lambda environ, start_response: answer, kit)
    environ: dict[Any, Any] = {}
    setup_testing_defaults(environ)
    assert app(environ, untyped(lambda status, headers: None)) is answer


def test_the_body_is_left_to_the_app(kit):
    body = io.BytesIO(b"x" * 100_000)
    app = RolecallMiddleware(lambda environ, start_response: [environ["wsgi.input"].read()], kit)
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": body, "CONTENT_LENGTH": "100000"}
    setup_testing_defaults(environ)
    assert app(environ, untyped(None)) == [b"x" * 100_000]


def test_an_error_of_the_app_is_the_servers_to_see(kit):
    def app(environ, start_response):
        raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        ask(RolecallMiddleware(app, kit))


def test_a_good_token_is_a_grant(app, inner, kit, session):
    token = session.generate_token("subscriber", data="Ann")
    ask(app, token=token)
    assert inner.grants == [kit.verify_token(token)]


def test_no_token_is_no_grant_and_the_app_runs(app, inner):
    assert ask(app).text == "the app"
    assert inner.grants == [None]


@pytest.mark.parametrize(
    "authorization",
    [
        *(
            "",
            "Bearer",
            "Bearer abc",
            "Bearer {0}x",
            "Bearer {0},{0}",
            "Bearer {0} {0}",
            "Basic {0}",
            "{0}",
            "Bearer a.b.c",
        ),
        *("Bearer " + "x" * 17_000,),
    ],
)
def test_a_header_that_is_no_good_token_is_no_grant(app, inner, session, authorization):
    headers = {"Authorization": authorization.format(session.generate_token())}
    assert ask(app, headers=headers).text == "the app"
    assert inner.grants == [None]


def test_an_expired_token_is_no_grant(app, inner, session, clock):
    token = session.generate_token()
    clock.now += 2 * 86_400
    ask(app, token=token)
    assert inner.grants == [None]


def test_a_token_of_an_ended_session_is_no_grant(app, inner, kit, session):
    token = session.generate_token()
    ask(app, token=token)
    kit.end_session(session.session_id)
    ask(app, token=token)
    assert [grant is None for grant in inner.grants] == [False, True]


def test_a_token_of_another_kit_is_no_grant(app, inner):
    with Rolecall("2222", "another secret of 32 characters.") as other:
        ask(app, token=other.create_session().generate_token())
    assert inner.grants == [None]


def test_a_header_cannot_pretend_to_be_a_grant(app, inner):
    ask(app, headers={"rolecall.grant": "moderator", "Rolecall-Grant": "moderator"})
    assert inner.grants == [None]


@pytest.mark.parametrize("error", [StoreUnavailable("the store is away"), ZeroDivisionError("oops")])
def test_what_cannot_be_looked_at_is_no_grant_and_in_the_log(app, inner, kit, session, monkeypatch, caplog, error):
    def fail(session_id):
        raise error

    token = session.generate_token()
    monkeypatch.setattr(kit.engine.state.store, "has_ended", fail)
    with caplog.at_level(logging.ERROR, "rolecall"):
        assert ask(app, token=token).text == "the app"
    assert inner.grants == [None]
    assert len(caplog.records) == 1
    assert token not in caplog.text


def test_a_token_is_found_in_the_places_that_are_switched_on(make_kit):
    kit = make_kit(web=Web(cookie="__Host-rolecall", query="access_token"))
    app = RolecallMiddleware(inner := App(), kit)
    token = kit.create_session().generate_token()
    cookie = {"Cookie": f"__Host-rolecall={token}"}
    ask(app, f"/?access_token={token}")
    ask(app, headers=cookie)
    ask(app, headers=cookie, method="POST")  # without its proof: any other site could have made the browser send it
    ask(app, f"/?access_token={token}", headers=cookie)
    assert [grant is not None for grant in inner.grants] == [True, True, False, False]


def test_with_two_kits_the_app_sees_the_grant_of_either(make_kit, inner):
    school, clinic = make_kit(), make_kit(api_key="2222", api_secret="another secret of 32 characters.")
    app = RolecallMiddleware(RolecallMiddleware(inner, clinic, "/clinic"), school, "/school")
    tokens = [kit.create_session().generate_token(data=name) for kit, name in ((school, "s"), (clinic, "c"))]
    for token in [*tokens, None]:
        ask(app, token=token)
    assert [grant and grant.data for grant in inner.grants] == ["s", "c", None]
    assert [environ["rolecall.kit"] for environ, _ in inner.calls] == [None] * 3


def test_two_kits_answer_under_their_own_prefixes(make_kit, inner):
    plugins = {"plugins": [AllowAnyone()]}
    school, clinic = (
        make_kit(**plugins),
        make_kit(api_key="2222", api_secret="another secret of 32 characters.", **plugins),
    )
    app = RolecallMiddleware(RolecallMiddleware(inner, clinic, "/clinic"), school, "/school")
    for kit, prefix in ((school, "/school"), (clinic, "/clinic")):
        session_id = ask(app, f"{prefix}/sessions", method="POST").json["session_id"]
        assert kit.get_session(session_id).session_id == session_id


def test_a_guard_around_the_middleware_keeps_its_grant(make_kit, inner):
    school, clinic = make_kit(), make_kit(api_key="2222", api_secret="another secret of 32 characters.")
    app = require_token(kit=school, session_param=None)(RolecallMiddleware(inner, clinic))
    ask(app, token=school.create_session().generate_token(data="s"))
    assert inner.grants[0].data == "s"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/video/sessions", "/video/sessions/{0}", "/video/openapi.json", "/", "/video/x"])
def test_both_sides_of_the_middleware_keep_to_pep_3333(kit, inner, session, method, path):
    app = validator(RolecallMiddleware(validator(inner), kit))
    body = {"data": b"{}", "content_type": "application/json"} if method == "POST" else {}
    response = ask(app, path.format(session.session_id), session.generate_token("moderator"), method, **body)
    assert response.status_code < 500


# -- over a socket, with the standard library's server ----------------------------------------------


@contextmanager
def served(app):
    """Serves ``app`` on a port, which is given, one request after the other."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

        def get_stderr(self):
            return io.StringIO()

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def port(kit):
    def room(environ, start_response):
        assert environ["PATH_INFO"] != "/fails"
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"read "
        yield environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))

    guarded = require_role("publisher", prefixes=["/rooms/{session_id}"])(room)
    with served(validator(RolecallMiddleware(guarded, kit))) as port:
        yield port


def fetch(port, method, path, body=None, **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def raw(port, text):
    """The status line that is answered to what is sent while the connection stays open."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode("latin-1"))
        answer = connection.makefile("rb")
        status = answer.readline().decode()
        with suppress(ConnectionError):  # the server has left unread what it need not read
            answer.read()
        return status


def test_a_whole_visit(port):
    status, body, _ = fetch(port, "POST", "/video/sessions", b"{}", **{"Content-Type": "application/json"})
    session_id = json.loads(body)["session_id"]
    assert status == 201
    _, body, _ = fetch(port, "POST", f"/video/sessions/{session_id}/tokens")
    bearer = {"Authorization": f"Bearer {json.loads(body)['token']}"}
    status, body, headers = fetch(port, "POST", f"/rooms/{session_id}", b"hello", **bearer)
    assert (status, body, headers["Cache-Control"]) == (200, b"read hello", "no-store")
    assert fetch(port, "GET", f"/rooms/{session_id}")[0] == 401
    assert fetch(port, "GET", "/lobby")[:2] == (200, b"read ")


def test_a_head_has_headers_and_nothing_else(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"HEAD /rooms/x HTTP/1.0\r\n\r\n")
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 401 Unauthorized")
    assert b'WWW-Authenticate: Bearer realm="rolecall"' in head
    assert body == b""


@pytest.mark.parametrize(
    "request_text",
    [
        "POST /video/sessions HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /video/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST /video/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}{}{}",
    ],
)
def test_no_read_waits_for_more_than_was_announced(port, request_text):
    """The server's input is the socket itself, which stays open."""
    started = time.monotonic()
    assert raw(port, request_text).startswith("HTTP/1.0 201")
    assert time.monotonic() - started < 5


def test_a_chunked_body_that_the_server_does_not_read_is_refused(port):
    head = "POST /video/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    assert raw(port, head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").startswith("HTTP/1.0 400")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refusal_does_not_wait_for_the_body(port, method):
    head = f"{method} /rooms/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert raw(port, head).startswith("HTTP/1.0 401")


@pytest.mark.parametrize(
    "path",
    [
        *("/%72ooms/x", "/rooms%2fx", "//rooms/x", "/./rooms/x", "/a/../rooms/x", "/%2e/rooms/x", "/a/%2e%2e/rooms/x"),
        *("/a/..%2frooms/x", "/ROOMS/x", "/rooms/x/", "/rooms%5cx", "/%ffrooms/x", "/rooms%00/x", "/rooms/x;y"),
        *("/%2572ooms/x", "/rooms/x%0a"),
    ],
)
def test_no_spelling_in_a_request_line_gets_around_a_prefix(port, path):
    assert raw(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").split()[1] in ("400", "401")


def test_two_authorization_headers_are_one_too_many(port, session):
    bearer = f"Authorization: Bearer {session.generate_token()}\r\n"
    answer = raw(port, f"GET /rooms/{session.session_id} HTTP/1.1\r\nHost: x\r\n{bearer}{bearer}\r\n")
    assert answer.startswith("HTTP/1.0 400")


# -- with Bottle and with Django -------------------------------------------------------------------


def test_bottle_has_the_routes_beside_its_own(kit):
    pages = bottle.Bottle()

    @pages.get("/who")
    def who():
        grant = bottle.request.environ["rolecall.grant"]
        return {"role": grant and str(grant.role)}

    app = validator(RolecallMiddleware(validator(pages), kit))
    session_id = ask(app, "/video/sessions", method="POST").json["session_id"]
    token = ask(app, f"/video/sessions/{session_id}/tokens", method="POST").json["token"]
    assert ask(app, "/who").json == {"role": None}
    assert ask(app, "/who", token).json == {"role": "publisher"}


DJANGO = """
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from wsgiref.validate import validator
from werkzeug.test import Client, EnvironBuilder

from rolecall import Rolecall
from rolecall.policies import AllowAnyone
from rolecall_wsgi import RolecallMiddleware, current_grant, require_role, require_token

settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x" * 50, LOGGING_CONFIG=None)


def lobby(request):
    grant = request.environ["rolecall.grant"]
    return HttpResponse(grant.role if grant else "nobody")


def room(request, session_id):
    return JsonResponse({"you_are": current_grant(request.environ).role, "sent": request.body.decode()})


def log(request, session_id):
    return StreamingHttpResponse(iter(["one ", "two"]))


urlpatterns = [
    path("", lobby),
    path("rooms/<session_id>", room),
    path("rooms/<session_id>/log", log),
    re_path("^staff/.*secret$", lambda request: HttpResponse("secret")),
]

kit = Rolecall("123456", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e", plugins=[AllowAnyone(max_role="moderator")])
django_app = get_wsgi_application()
app = require_token(prefixes=["/rooms/{session_id}"])(django_app)
app = require_role("moderator", session_param=None, prefixes=["/staff/{name}/secret"], methods=["GET"])(app)
app = RolecallMiddleware(app, kit)


def ask(path="/", token=None, method="GET", app=app, **environ):
    environ.setdefault("PATH_INFO", path)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(validator(app)).open("/", method=method, headers=headers, environ_overrides=environ, buffered=True,
                                       **({"data": b"hello"} if method == "POST" else {}))


def in_small_letters(path):
    return EnvironBuilder(path, environ_overrides={"REQUEST_METHOD": "get"}).get_environ()


session_id = Client(app).post("/video/sessions").json["session_id"]
token = Client(app).post(f"/video/sessions/{session_id}/tokens", json={"role": "subscriber"}).json["token"]
"""


@pytest.fixture(scope="module")
def django():
    """What an expression comes to in a Django project of one file, in a process of its own: its settings are global."""
    code = f"{DJANGO}\nimport sys\nfor line in sys.stdin:\n    print(repr(eval(line)), flush=True)\n"
    command = [sys.executable, "-W", "error", "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def evaluate(expression):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(expression + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield evaluate
    process.communicate(timeout=20)


@pytest.mark.process
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("ask().text", "'nobody'"),
        ("ask(token=token).text", "'subscriber'"),
        ("ask(token='abc').text", "'nobody'"),
        ("ask(f'/rooms/{session_id}').json['code']", "'missing_token'"),
        ("ask(f'/rooms/{session_id}', token).json", "{'you_are': 'subscriber', 'sent': ''}"),
        ("ask(f'/rooms/{session_id}', token).headers['Cache-Control']", "'no-store'"),
        ("ask(f'/rooms/{session_id}/log', token).text", "'one two'"),
        ("ask(f'/rooms/{session_id}', token, 'OPTIONS').status_code", "204"),
        ("ask('/rooms/another', token).json['code']", "'wrong_session'"),
        ("ask('/nowhere').status_code", "404"),
        ("ask(f'/rooms/{session_id}', token, 'POST').json['sent']", "'hello'"),
        ("ask('/staff/x/secret', app=django_app).text", "'secret'"),
        ("ask('/staff/x/secret').status_code", "401"),
        ("ask('/staff/x/secret', token).json['code']", "'insufficient_role'"),
        ("ask('/staff/x/secret\\n').status_code", "400"),
        ("ask('/staff/x/./secret').status_code", "400"),
        ("Client(django_app).open(in_small_letters('/staff/x/secret')).text", "'secret'"),
        ("Client(app).open(in_small_letters('/staff/x/secret')).status_code", "401"),
    ],
)
def test_django_behind_guards(django, expression, value):
    assert django(expression) == value
