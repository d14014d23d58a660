"""Bytes that no client of good will sends, to real servers: nobody enters, nothing is told, and nothing is left."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from rolecall.testing.conformance import Server
from rolecall.testing.conformance.kits import COOKIE, OPEN, QUERY
from rolecall.testing.conformance.table import ACTS, SERVER, token

from .conftest import COMMANDS as ALL_COMMANDS

pytestmark = pytest.mark.server

#: aiohttp's server answers nothing to a client that has shut its half of the connection, as these do.
COMMANDS = [name for name in ALL_COMMANDS if not name.startswith("aiohttp")]


@pytest.fixture(scope="module")
def servers(servers):
    return {name: servers[name] for name in COMMANDS}


GOOD = token().encode()
ROOM = f"/rooms/{OPEN}/moderate".encode()
CREATE = b"/video/sessions"
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
#: What a request may get that is no request, or has no good credential; or the connection is closed.
REFUSED = {400, 401, 413, 431}


class Row(NamedTuple):
    """Bytes, and which statuses they may get beside :data:`REFUSED`."""

    request: bytes
    further: set[int] = set()  # noqa: RUF012 (nobody changes it)
    #: Whether the client says that no more comes.
    shut: bool = False
    #: What one server may answer, and why that is no door: the server's name, the status, the reason.
    but: tuple[str, int, str] | None = None
    #: The seconds of silence after which the client gives up.
    patience: float = 5


def get(*lines: bytes, path: bytes = ROOM, method: bytes = b"GET", host: bytes = b"plain.example") -> bytes:
    """A request without a body, with these header lines."""
    lines = (method + b" " + path + b" HTTP/1.1", b"Host: " + host, *lines, b"Connection: close", b"", b"")
    return b"\r\n".join(lines)


def post(*lines: bytes, body: bytes = b"", path: bytes = CREATE) -> bytes:
    return get(b"Content-Type: application/json", *lines, path=path, method=b"POST") + body


CHUNKED = b"Transfer-Encoding: chunked"
AUTHORIZATION = b"Authorization: Bearer " + GOOD
#: A request that would enter, were it one of its own.
HIDDEN = b"GET " + ROOM + b" HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n"
#: The token is good, and its bearer's own.
TRAILERS = ("uvicorn", 200, "it hands trailers that come with the head to the app as headers")

CREDENTIALS = {
    "none": Row(get()),
    "doubled": Row(get(AUTHORIZATION, AUTHORIZATION)),
    "doubled-good-then-bad": Row(get(AUTHORIZATION, b"Authorization: Bearer x")),
    "doubled-bad-then-good": Row(get(b"Authorization: Bearer x", AUTHORIZATION)),
    "doubled-good-then-empty": Row(get(AUTHORIZATION, b"Authorization:")),
    "doubled-with-basic": Row(get(b"Authorization: Basic dTpw", AUTHORIZATION)),
    "doubled-in-two-cases": Row(get(b"authorization: Bearer x", b"AUTHORIZATION: Bearer " + GOOD)),
    "folded-within-the-token": Row(get(b"Authorization: Bearer " + GOOD[:50] + b"\r\n " + GOOD[50:])),
    "folded-second-token": Row(get(AUTHORIZATION + b"\r\n\tBearer x")),
    "folded-into-another-header": Row(get(b"X-Note: a\r\n " + AUTHORIZATION)),
    "folded-first-line": Row(get(b" " + AUTHORIZATION)),
    "underscore-behind": Row(get(b"Authorization_: Bearer " + GOOD)),
    "cgi-name": Row(get(b"HTTP_AUTHORIZATION: Bearer " + GOOD)),
    "cgi-name-with-dash": Row(get(b"HTTP-AUTHORIZATION: Bearer " + GOOD)),
    "redirected-name": Row(get(b"REDIRECT_HTTP_AUTHORIZATION: Bearer " + GOOD)),
    "grant-as-header": Row(get(b"rolecall.grant: moderator", b"rolecall_grant: moderator", b"X-Role: moderator")),
    "space-before-colon": Row(get(b"Authorization : Bearer " + GOOD)),
    "tab-before-colon": Row(get(b"Authorization\t: Bearer " + GOOD)),
    "no-colon": Row(get(b"Authorization Bearer " + GOOD)),
    "empty-name": Row(get(b": Bearer " + GOOD)),
    "quoted-name": Row(get(b'"Authorization": Bearer ' + GOOD)),
    "nul-in-name": Row(get(b"Author\x00ization: Bearer " + GOOD)),
    "nul-behind-name": Row(get(b"Authorization\x00: Bearer " + GOOD)),
    "nul-in-value": Row(get(b"Authorization: Bearer \x00" + GOOD)),
    "nul-behind-value": Row(get(AUTHORIZATION + b"\x00")),
    "bell-in-value": Row(get(b"Authorization: Bearer \x07" + GOOD)),
    "delete-behind-value": Row(get(AUTHORIZATION + b"\x7f")),
    "escape-behind-value": Row(get(AUTHORIZATION + b"\x1b[31m")),
    "carriage-return-in-value": Row(get(b"Authorization: Bearer x\r" + GOOD)),
    "vertical-tab": Row(get(b"Authorization: Bearer\x0b" + GOOD)),
    "latin-1": Row(get(AUTHORIZATION + b"\xe9")),
    "utf-8": Row(get("Authorization: Béarer ".encode() + GOOD)),
    "name-not-ascii": Row(get("Áuthorization: Bearer ".encode() + GOOD)),
    "9-KB-token": Row(get(b"Authorization: Bearer " + b"x" * 9_000)),
    "9-KB-behind-a-good-token": Row(get(AUTHORIZATION + b"x" * 9_000)),
    "9-KB-of-space": Row(get(b"Authorization: Bearer " + b" " * 9_000 + b"x")),
    "9-KB-basic": Row(get(b"Authorization: Basic " + b"x" * 9_000)),
    "9-KB-of-another-header": Row(get(b"X-Note: " + b"x" * 9_000)),
    "9-KB-name": Row(get(b"X" * 9_000 + b": x")),
    "90-KB-token": Row(get(b"Authorization: Bearer " + b"x" * 90_000)),
    "a-thousand-headers": Row(get(*(b"X-%d: x" % number for number in range(1_000)))),
    "a-thousand-authorizations": Row(get(*[b"Authorization: Bearer x"] * 1_000)),
    "in-the-query": Row(get(path=ROOM + b"?" + QUERY.encode() + b"=" + GOOD)),
    "in-a-cookie": Row(get(b"Cookie: " + COOKIE.encode() + b"=" + GOOD)),
    "in-the-body": Row(
        post(b"Content-Length: %d" % len(AUTHORIZATION), body=AUTHORIZATION, path=ROOM),
    ),
    "in-a-trailer": Row(post(CHUNKED, body=b"2\r\n{}\r\n0\r\n" + AUTHORIZATION + b"\r\n\r\n", path=ROOM), but=TRAILERS),
    "announced-trailer": Row(
        post(CHUNKED, b"Trailer: Authorization", body=b"0\r\n" + AUTHORIZATION + b"\r\n\r\n", path=ROOM), but=TRAILERS
    ),
    "in-a-chunk-extension": Row(post(CHUNKED, body=b"2;" + AUTHORIZATION + b"\r\n{}\r\n0\r\n\r\n", path=ROOM)),
    "in-the-user-info": Row(get(path=b"http://bearer:" + GOOD + b"@plain.example" + ROOM), {404}),
    "csrf-with-underscores": Row(
        get(
            b"Cookie: " + COOKIE.encode() + b"=" + GOOD,
            b"X_CSRF_Token: x",
            method=b"POST",
            host=b"cookie.example",
        ),
        {403},
    ),
    "cookie-in-two-lines": Row(
        get(
            b"Cookie: " + COOKIE.encode() + b"=x",
            b"Cookie: " + COOKIE.encode() + b"=" + GOOD,
            host=b"cookie.example",
        )
    ),
}

#: Where a project's servers act, and the credential with which they do.
LIST, SIGNAL = f"{ACTS}/stream".encode(), f"{ACTS}/signal".encode()
AUTH = b"X-OPENTOK-AUTH: " + SERVER.encode()
SERVERS_TRAILERS = ("uvicorn", 204, TRAILERS[2])

SERVERS = {
    "none": Row(get(path=LIST), {403}),
    "doubled": Row(get(AUTH, AUTH, path=LIST), {403}),
    "doubled-in-two-cases": Row(get(AUTH, AUTH.lower(), path=LIST), {403}),
    "doubled-bad-then-good": Row(get(b"X-OPENTOK-AUTH: x", AUTH, path=LIST), {403}),
    "folded-within": Row(get(AUTH[:80] + b"\r\n " + AUTH[80:], path=LIST), {403}),
    "folded-into-another-header": Row(get(b"X-Note: a\r\n " + AUTH, path=LIST), {403}),
    "underscores": Row(get(b"X_OPENTOK_AUTH: " + SERVER.encode(), path=LIST), {403}),
    "underscore-behind": Row(get(AUTH.replace(b": ", b"_: "), path=LIST), {403}),
    "cgi-name": Row(get(b"HTTP_" + AUTH, path=LIST), {403}),
    "space-before-colon": Row(get(AUTH.replace(b": ", b" : "), path=LIST), {403}),
    "nul-behind-value": Row(get(AUTH + b"\x00", path=LIST), {403}),
    "latin-1": Row(get(AUTH + b"\xe9", path=LIST), {403}),
    "9-KB": Row(get(b"X-OPENTOK-AUTH: " + b"x" * 9_000, path=LIST), {403}),
    "9-KB-behind-a-good-one": Row(get(AUTH + b"x" * 9_000, path=LIST), {403}),
    "a-thousand": Row(get(*[b"X-OPENTOK-AUTH: x"] * 1_000, path=LIST), {403}),
    "in-the-query": Row(get(path=LIST + b"?X-OPENTOK-AUTH=" + SERVER.encode()), {403}),
    "in-a-trailer": Row(
        post(CHUNKED, body=b"2\r\n{}\r\n0\r\n" + AUTH + b"\r\n\r\n", path=SIGNAL), {403}, but=SERVERS_TRAILERS
    ),
    "in-a-chunk-extension": Row(post(CHUNKED, body=b"2;" + AUTH + b"\r\n{}\r\n0\r\n\r\n", path=SIGNAL), {403}),
    "another-key-in-the-path": Row(get(AUTH, path=LIST.replace(b"/123456/", b"/654321/")), {403}),
    "dots-in-the-path": Row(get(AUTH, path=LIST.replace(b"/123456/", b"/654321/../123456/")), {403, 404}),
    "cut-body": Row(post(AUTH, b"Content-Length: 100", body=b'{"data":', path=SIGNAL), shut=True),
    "cut-chunk": Row(post(AUTH, CHUNKED, body=b"64\r\n{}", path=SIGNAL), shut=True),
    "body-longer-than-its-length": Row(post(AUTH, b"Content-Length: 5", body=b'{"data":"x"}', path=SIGNAL)),
}

BODIES = {
    "type-with-underscore": Row(
        get(b"Content_Type: application/json", b"Content-Length: 2", path=CREATE, method=b"POST") + b"{}", {415}
    ),
    "type-as-cgi-name": Row(
        get(b"HTTP_CONTENT_TYPE: application/json", b"Content-Length: 2", path=CREATE, method=b"POST") + b"{}", {415}
    ),
    "length-with-underscore": Row(post(b"Content_Length: 2", b"Content-Length: 9", body=b'{"a":1}  ')),
    "cut": Row(post(b"Content-Length: 100", body=b'{"e2ee":'), shut=True),
    "nothing-of-it": Row(post(b"Content-Length: 100"), shut=True),
    "cut-chunk": Row(post(CHUNKED, body=b"64\r\n{}"), shut=True),
    "cut-behind-a-chunk": Row(post(CHUNKED, body=b"2\r\n{}\r\n"), shut=True),
    "length-too-long": Row(post(b"Content-Length: 3", body=b"{}"), shut=True),
    "length-too-short": Row(post(b"Content-Length: 5", body=b'{"e2ee":false}')),
    "length-far-too-long": Row(post(b"Content-Length: 1000000000", body=b"{}"), shut=True),
    "length-negative": Row(post(b"Content-Length: -2", body=b"{}"), shut=True),
    "length-plus": Row(post(b"Content-Length: +9", body=b'{"a":1}  '), shut=True),
    "length-hexadecimal": Row(post(b"Content-Length: 0x9", body=b'{"a":1}  '), shut=True),
    "length-underscore-digit": Row(post(b"Content-Length: 0_9", body=b'{"a":1}  '), shut=True),
    "length-float": Row(post(b"Content-Length: 9.0", body=b'{"a":1}  '), shut=True),
    "length-two-numbers": Row(post(b"Content-Length: 9 9", body=b'{"a":1}  '), shut=True),
    "length-list": Row(post(b"Content-Length: 9, 8", body=b'{"a":1}  '), shut=True),
    "length-twice": Row(post(b"Content-Length: 9", b"Content-Length: 8", body=b'{"a":1}  '), shut=True),
    "length-twice-the-same": Row(post(b"Content-Length: 9", b"Content-Length: 9", body=b'{"a":1}  '), shut=True),
    "length-not-ascii": Row(post(b"Content-Length: \xb2", body=b'{"a":1}  '), shut=True),
    "length-of-many-digits": Row(post(b"Content-Length: 1" + b"0" * 30, body=b"{}"), shut=True),
    "length-of-5000-digits": Row(post(b"Content-Length: 1" + b"0" * 5_000, body=b"{}"), shut=True),
    "length-and-chunks": Row(post(b"Content-Length: 9", CHUNKED, body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), shut=True),
    "chunks-and-length": Row(post(CHUNKED, b"Content-Length: 3", body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), shut=True),
    "chunk-size-junk": Row(post(CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-negative": Row(post(CHUNKED, body=b"-2\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-prefixed": Row(post(CHUNKED, body=b"0x2\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-empty": Row(post(CHUNKED, body=b"\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-underscore": Row(post(CHUNKED, body=b"0_2\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-huge": Row(post(CHUNKED, body=b"F" * 17 + b"\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-size-a-thousand-digits": Row(
        post(CHUNKED, body=b"0" * 1_000_000 + b"2\r\n{}\r\n0\r\n\r\n"), {201}, shut=True
    ),
    "chunk-too-long-for-its-size": Row(post(CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-too-short-for-its-size": Row(post(CHUNKED, body=b"3\r\n{}\r\n0\r\n\r\n"), shut=True),
    "chunk-of-17-KB": Row(post(CHUNKED, body=b"4400\r\n" + b" " * 0x4400 + b"\r\n0\r\n\r\n")),
    "chunks-of-one-byte": Row(post(CHUNKED, body=b"1\r\n \r\n" * 17_000 + b"0\r\n\r\n")),
    "no-chunks": Row(post(CHUNKED, body=b"{}"), shut=True),
    "coding-unknown": Row(post(b"Transfer-Encoding: xchunked", body=b"{}"), {501}, shut=True),
    "coding-gzip": Row(post(b"Transfer-Encoding: gzip", body=b"{}"), {501}, shut=True),
    "coding-vertical-tab": Row(
        post(b"Transfer-Encoding: \x0bchunked", body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), {501}, shut=True
    ),
    "coding-twice": Row(post(CHUNKED, CHUNKED, body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), {501}, shut=True),
    "coding-quoted": Row(post(b'Transfer-Encoding: "chunked"', body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), {501}, shut=True),
    "coding-with-underscore": Row(
        post(b"Transfer_Encoding: chunked", body=b'9\r\n{"a":1}  \r\n0\r\n\r\n'), {201}, shut=True
    ),
}

SMUGGLED = {
    "length-then-chunks": Row(
        post(b"Content-Length: %d" % (5 + len(HIDDEN)), CHUNKED, body=b"0\r\n\r\n" + HIDDEN, path=ROOM), shut=True
    ),
    "chunks-then-length": Row(
        post(CHUNKED, b"Content-Length: 4", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN), path=ROOM),
        shut=True,
    ),
    "two-codings": Row(
        post(CHUNKED, b"Transfer-Encoding: identity", body=b"0\r\n\r\n" + HIDDEN, path=ROOM), {501}, shut=True
    ),
    "space-before-the-colon": Row(
        post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=b"0\r\n\r\n" + HIDDEN, path=ROOM), shut=True
    ),
    "in-the-body-of-a-get": Row(get(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN),
    "line-break-in-a-query": Row(get(path=ROOM + b"?a=b%0d%0a" + AUTHORIZATION.replace(b" ", b"%20"))),
    "bare-line-feed-in-a-value": Row(get(b"X-Note: a\nAuthorization: Bearer x")),
    "bare-carriage-return-in-a-value": Row(get(b"X-Note: a\r" + AUTHORIZATION)),
    "bare-carriage-returns-alone": Row(get().replace(b"\r\n", b"\r"), shut=True),
    "an-http-2-preface": Row(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9, {404, 405, 505}, shut=True),
    "an-upgrade-to-h2c": Row(
        get(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__").replace(
            b"Connection: close", b"Connection: Upgrade, HTTP2-Settings, close"
        ),
        {101},
        patience=0.5,
    ),
    "an-upgrade-to-websocket": Row(
        get(
            b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        ).replace(b"Connection: close", b"Connection: Upgrade"),
        {403, 404},
        shut=True,
    ),
}

REQUEST_LINES = {
    "nul-in-path": Row(get(path=ROOM + b"\x00"), {404}),
    "nul-escaped": Row(get(path=ROOM + b"%00"), {404}),
    "bell-in-path": Row(get(path=ROOM + b"\x07"), {404}),
    "escape-in-path": Row(get(path=ROOM + b"\x1b[31m"), {404}),
    "space-in-path": Row(get(path=ROOM + b" x"), {404}),
    "tab-in-path": Row(get(path=ROOM + b"\tx"), {404}),
    "not-ascii-in-path": Row(get(path=ROOM + b"\xff"), {404}),
    "bad-escape-in-path": Row(get(path=ROOM + b"%zz"), {404}),
    "line-break-in-path": Row(get(path=ROOM + b"%0d%0aX:%20y"), {404}),
    "control-characters-in-id": Row(get(path=b"/video/sessions/%00%01%0d%0a%1b%7f"), {404}),
    "dots": Row(get(path=b"/bare/../" + ROOM[1:]), {404}),
    "fragment": Row(get(path=ROOM + b"#/bare"), {404}),
    "backslash": Row(get(path=ROOM.replace(b"/", b"\\")), {404}),
    "absolute": Row(get(path=b"http://plain.example" + ROOM), {404}),
    "absolute-of-another-host": Row(get(path=b"http://evil.example/bare/.." + ROOM), {404}),
    "no-slash": Row(get(path=ROOM[1:]), {404}),
    "star": Row(get(path=b"*"), {404}),
    "method-in-small-letters": Row(get(method=b"get"), {405}),
    "method-with-a-control-character": Row(get(method=b"GE\x00T"), {405}),
    "method-of-200-letters": Row(get(method=b"G" * 200), {405, 501}),
    "trace": Row(get(AUTHORIZATION[:-9], method=b"TRACE"), {405, 501}),
    "connect": Row(get(path=b"plain.example:80", method=b"CONNECT"), {404, 405, 501}),
    "version-9": Row(get().replace(b"HTTP/1.1", b"HTTP/9.9"), {505}),
    "version-junk": Row(get().replace(b"HTTP/1.1", b"HTTP/1.1x"), {505}),
    "version-0.9": Row(b"GET " + ROOM + b"\r\n\r\n", {505}, shut=True),
    "version-1.0-without-host": Row(b"GET " + ROOM + b" HTTP/1.0\r\n\r\n"),
    "no-host": Row(b"GET " + ROOM + b" HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "two-hosts": Row(get(b"Host: evil.example")),
    "host-with-a-path": Row(get(host=b"plain.example/bare?x=")),
    "junk": Row(bytes(range(256)) * 4, shut=True),
    "tls": Row(bytes.fromhex("16030100c8010000c40303") + b"\x01" * 64, shut=True),
    "empty-lines-in-front": Row(b"\r\n\r\n\r\n" + get()),
    "a-path-of-9-KB": Row(get(path=ROOM + b"?" + b"x" * 9_000), {414}),
}

ROWS = {
    f"{kind}-{name}": row
    for kind, rows in {
        "credential": CREDENTIALS,
        "server": SERVERS,
        "body": BODIES,
        "smuggled": SMUGGLED,
        "request-line": REQUEST_LINES,
    }.items()
    for name, row in rows.items()
}


@pytest.fixture(scope="module")
def clients():
    with ThreadPoolExecutor(len(COMMANDS)) as clients:
        yield clients


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in STATUS.findall(answer)]


def refused(server: Server, row: Row) -> None:
    answer = server.send(row.request, shut=row.shut, patience=row.patience)
    allowed = REFUSED | row.further
    if row.but and server.name.endswith(row.but[0]):
        allowed = allowed | {row.but[1]}
    else:
        assert b'"role": ' not in answer, server.name
    assert set(statuses(answer)) <= allowed, (server.name, answer)
    assert b"Traceback" not in answer, server.name


@pytest.mark.parametrize("name", ROWS)
def test_nobody_enters_by_odd_bytes(servers, clients, name):
    list(clients.map(lambda server: refused(server, ROWS[name]), servers.values()))


#: RFC 9112, section 5.2: a server refuses a folded line, or puts spaces in the place of the fold. These do the latter.
UNFOLDING = ("waitress", "hypercorn")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folded_header_is_refused_or_is_what_it_is_unfolded(servers, name):
    folded = servers[name].send(get(b"Authorization: Bearer\r\n " + GOOD))
    assert statuses(folded) == [200 if name.endswith(UNFOLDING) else 400]


# -- several requests on one connection --------------------------------------------------------------


def keep(*lines: bytes) -> bytes:
    return get(*lines).replace(b"Connection: close\r\n", b"")


IN = get(AUTHORIZATION)
IN_AND_KEEP = keep(AUTHORIZATION)
PIPELINES = {
    "bad-then-good": ((keep(b"Authorization: Bearer x"), IN), [401, 200]),
    "none-then-good": ((keep(), IN), [401, 200]),
    "good-then-bad": ((IN_AND_KEEP, get(b"Authorization: Bearer x")), [200, 401]),
    "good-then-none": ((IN_AND_KEEP, get()), [200, 401]),
    "doubled-then-good": ((keep(AUTHORIZATION, AUTHORIZATION), IN), [400, 200]),
    "good-then-doubled": ((IN_AND_KEEP, get(AUTHORIZATION, AUTHORIZATION)), [200, 400]),
    "good-then-subscriber": (
        (IN_AND_KEEP, get(b"Authorization: Bearer " + token("subscriber").encode())),
        [200, 403],
    ),
    "many-in-turn": ((*(IN_AND_KEEP, keep()) * 10, get()), [*[200, 401] * 10, 401]),
    "unread-body-then-none": (
        (keep(AUTHORIZATION, b"Content-Length: %d" % len(IN)) + IN, get()),
        [200, 401],
    ),
    "refused-body-then-none": (
        (keep(b"Content-Length: %d" % len(IN)) + IN, get()),
        [401, 401],
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_each_request_of_a_pipeline_is_answered_by_its_own_credential(servers, clients, name):
    """A server may answer the first alone, and close the connection."""
    requests, expected = PIPELINES[name]
    answers = clients.map(lambda server: server.send(b"".join(requests), shut=True), servers.values())
    for server, answer in zip(servers, answers, strict=True):
        found = statuses(answer)
        assert found == expected[: len(found)], server
        assert found or server.endswith("waitress"), server


@pytest.mark.parametrize("name", COMMANDS)
def test_junk_behind_a_good_request_is_refused_alone_or_with_it(servers, name):
    answer = servers[name].send(IN_AND_KEEP + b"\x00\x01\x02\r\n\r\n", shut=True)
    assert statuses(answer) in ([200, 400], [200], [400], [])
    assert b"Traceback" not in answer


# -- what comes slowly -------------------------------------------------------------------------------

SLOW = get(
    b"Content-Type: application/json",
    b"Content-Length: 20",
    path=CREATE,
    method=b"POST",
    host=b"quick.example",
)
ASGI = [name for name in COMMANDS if name.startswith("starlette")]
WSGI = [name for name in COMMANDS if not name.startswith("starlette")]


@pytest.mark.parametrize("name", ASGI)
def test_a_body_that_stops_is_given_up_in_time(servers, name):
    before = time.monotonic()
    answer = servers[name].send(SLOW, b'{"e2ee":')
    assert statuses(answer) == [400]
    assert b"the body could not be read to its end" in answer
    assert 0.9 < time.monotonic() - before < 4


@pytest.mark.parametrize("name", ASGI)
def test_a_body_that_trickles_is_given_up_in_time(servers, name):
    before = time.monotonic()
    answer = servers[name].send(SLOW, *[b" "] * 15, pause=0.1)
    assert statuses(answer) == [400]
    assert time.monotonic() - before < 4


@pytest.mark.parametrize("name", COMMANDS)
def test_a_body_that_is_slow_and_in_time_is_read(servers, name):
    pieces = [b'{"e2ee"', b":false}", b" " * 5, b" "]
    assert statuses(servers[name].send(SLOW, *pieces, pause=0.1)) == [201]


@pytest.mark.parametrize("name", WSGI)
def test_a_body_that_stops_with_its_connection_creates_nothing(servers, name):
    """How long a WSGI server waits is its own affair; what it hands on then is refused."""
    answer = servers[name].send(SLOW, b'{"e2ee":', pause=0.3, shut=True)
    assert set(statuses(answer)) <= {400}


# -- what is left ------------------------------------------------------------------------------------


def abandon(server: Server) -> None:
    """Connections that are left in the middle of something, one after the other."""
    for piece in (b"", b"GE", SLOW[:40], SLOW, SLOW + b'{"e2ee":', get()[:-2], IN_AND_KEEP):
        with server.connect() as connection:
            connection.sendall(piece)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_task_thread_or_connection_is_left(servers, clients, name):
    server = servers[name]
    # Threads that a pool starts with its first work stay in it.
    assert statuses(server.send(get(AUTHORIZATION, path=b"/me"))) == [200]
    before = server.control("status")
    list(clients.map(lambda row: refused(server, row), ROWS.values()))
    abandon(server)
    deadline = time.monotonic() + 10
    while (after := server.control("status")) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert after == before
    assert statuses(server.send(IN)) == [200]


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_it_was_a_fault(servers, clients, name):
    server = servers[name]
    logged = server.log.stat().st_size
    list(clients.map(lambda row: refused(server, row), ROWS.values()))
    abandon(server)
    assert server.control("status")
    assert "Traceback" not in server.logged(logged)
