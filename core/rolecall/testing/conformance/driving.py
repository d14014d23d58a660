"""Sends requests of the table to an app, as a server would, or over a socket; and compares answers."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from ...http import problems
from .kits import ENDED, FOREIGN, OF_APPLICATION, OF_SECOND, OPEN, OTHER, UNKNOWN

if TYPE_CHECKING:
    from .table import Case

#: Headers that a server adds to an answer, or that are about the connection.
_OF_THE_SERVER: Final = {"date", "server", "connection", "keep-alive", "transfer-encoding", "via"}


class Answer(NamedTuple):
    """An answer, with header names in lower case, in alphabetical order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that occurs at most once."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else None


def answer_of(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
    """An answer, without the server's own headers.

    :param headers: names, in any case, and values, in order.
    """
    named = [(name.lower(), value) for name, value in headers if name.lower() not in _OF_THE_SERVER]
    # Headers with the same name keep their order.
    return Answer(status, tuple(sorted(named, key=lambda header: header[0])), body)


_FIXED = {session_id.encode() for session_id in (OPEN, OTHER, ENDED, UNKNOWN, FOREIGN, OF_SECOND, OF_APPLICATION)}
_SESSION_ID = re.compile(rb"[12]_MX4[0-9A-Za-z_-]{20,}")
_TOKEN = re.compile(rb"eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+")
_TOKEN_LENGTH = re.compile(rb"(?<=make a token of )\d{4}")
_PROOF = re.compile(rb'(?<="csrf_token":")[0-9A-Za-z_-]{43}|(?<=-csrf=)[0-9A-Za-z_-]{43}')


def without_chance(answer: Answer) -> Answer:
    """Mask the random parts of an answer, without changing its length."""

    body, length = _blotted(answer.body), len(answer.body)
    headers = []
    for name, value in answer.headers:
        if name == "content-length" and b"TOKEN" in body and value == str(length):
            value = "that of the body"
        elif name == "set-cookie":
            value = _blotted(value.encode("latin-1")).decode("latin-1")
        headers.append((name, value))
    return Answer(answer.status, tuple(headers), body)


def _blotted(text: bytes) -> bytes:
    text = _SESSION_ID.sub(lambda found: found[0] if found[0] in _FIXED else b"S" * len(found[0]), text)
    # The number in a token has as many digits as it has.
    text = _TOKEN_LENGTH.sub(b"many", _TOKEN.sub(b"TOKEN", text))
    return _PROOF.sub(lambda found: b"P" * len(found[0]), text)


def asked(case: Case, prefix: str = "") -> tuple[str, str, list[tuple[str, str]], bytes]:
    """The path, the query, the headers and the body of a case's request."""
    path, _, query = case.target.partition("?")
    headers = [("Host", f"{case.kit}.example"), *case.headers]
    if case.chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif case.body is not None:
        headers.append(("Content-Length", str(len(case.body))))
    return prefix + path, query, headers, case.body or b""


#: The phrases of RFC 7231, which some frameworks, and Python before 3.13, still send.
_OLDER_PHRASES: Final = {
    413: "REQUEST ENTITY TOO LARGE",
    414: "REQUEST-URI TOO LONG",
    416: "REQUESTED RANGE NOT SATISFIABLE",
    422: "UNPROCESSABLE ENTITY",
}


def ask_wsgi(app: Callable[..., Any], case: Case, prefix: str = "", strips_head: bool = False) -> Answer:
    """Call a WSGI app with an environment as servers make it (PEP 3333).

    :param prefix: prepended to the path.
    :param strips_head: whether the framework leaves it to the server to send no body in answer to HEAD.
    """
    path, query, headers, body = asked(case, prefix)
    stream = io.BytesIO(body)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": case.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": stream,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in headers:
        variable = name.upper().replace("-", "_")
        variable = variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
        value = value.strip(" \t")
        environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        assert not started or exc_info
        started[:] = [status, headers]
        return _no_write

    pieces = app(environ, start_response)
    try:
        answered = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    status, sent = started
    code, _, phrase = status.partition(" ")
    assert phrase.upper() in (problems.phrase(int(code)).upper(), _OLDER_PHRASES.get(int(code)))
    return answer_of(int(code), sent, b"" if strips_head and case.method == "HEAD" else answered)


def _no_write(_: bytes) -> None:
    raise AssertionError("no app of the suite uses write()")


async def ask_asgi(
    app: Callable[..., Awaitable[None]],
    case: Case,
    prefix: str = "",
    strips_head: bool = False,
    lowers_names: bool = False,
) -> Answer:
    """Call an ASGI app with a scope as servers make it, the body in two pieces.

    :param prefix: prepended to the path.
    :param strips_head: whether the framework leaves it to the server to send no body in answer to HEAD, for the kit's
        own routes, too.
    :param lowers_names: whether the framework leaves it to the server to send the names of headers in small letters.
    """
    path, query, headers, body = asked(case, prefix)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": case.method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1", "surrogateescape"))
            for name, value in headers
        ],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
    }
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece] or [b""]
    coming = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    sent: list[Any] = []
    answered_whole = asyncio.Event()

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        await answered_whole.wait()  # as the client, which goes away no earlier
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered_whole.set()

    await app(scope, receive, send)
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
    named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    assert lowers_names or all(name == name.lower() for name, _ in named)
    answered = b"".join(message.get("body", b"") for message in bodies)
    # Every ASGI server leaves the body of an answer to HEAD away; the kit's own routes send none.
    assert not answered or case.method != "HEAD" or case.is_own or strips_head
    return answer_of(start["status"], named, b"" if case.method == "HEAD" else answered)


def ask_over_socket(connection: socket.socket, case: Case, prefix: str = "") -> Answer:
    """Send a case over its own connection, and read the answer to its end.

    :param prefix: prepended to the path.
    """
    connection.sendall(request_bytes(case, prefix))
    return _answer_from(connection, case)


async def ask_protocol(make_protocol: Callable[[], asyncio.Protocol], case: Case, prefix: str = "") -> Answer:
    """Send a case to a server that is a protocol of asyncio, over a transport in memory.

    :param make_protocol: makes the protocol of a connection.
    :param prefix: prepended to the path.
    """
    protocol = make_protocol()
    transport = _MemoryTransport(protocol)
    protocol.connection_made(transport)
    protocol.data_received(request_bytes(case, prefix))
    await transport.ended
    return _answer_from(transport, case)


class _MemoryTransport(asyncio.Transport):
    """Collects the output of a protocol, until the protocol closes it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._written = bytearray()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written += data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._written)

    def is_closing(self) -> bool:
        return self.ended.done()

    def close(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_reading(self) -> bool:
        return not self.ended.done()

    def pause_reading(self) -> None:
        """Do nothing: no more data follows."""

    def resume_reading(self) -> None:
        """Do nothing: no more data follows."""

    def get_write_buffer_size(self) -> int:
        return 0


def _answer_from(connection: Any, case: Case) -> Answer:
    with HTTPResponse(connection, method=case.method) as response:
        response.begin()
        return answer_of(response.status, response.getheaders(), response.read())


def request_bytes(case: Case, prefix: str = "") -> bytes:
    """The request of a case as an HTTP/1.1 client sends it, the last one of its connection."""
    path, query, headers, body = asked(case, prefix)
    lines = [f"{case.method} {path}{'?' if query else ''}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in [*headers, ("Connection", "close")]]
    if case.chunked:
        half = len(body) // 2
        pieces = [*filter(None, (body[:half], body[half:])), b""]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
