"""Requests of the table, sent to apps in this process as a server would send them, and answers that can be compared."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from werkzeug.http import HTTP_STATUS_CODES

from rolecall.http import problems

from .apps import ENDED, FOREIGN, OF_APPLICATION, OF_SECOND, OPEN, OTHER, UNKNOWN
from .requests_table import Case

ADAPTERS = ("flask", "wsgi", "starlette", "flask mounted", "wsgi mounted", "starlette mounted")

#: What a server adds to an answer, or decides about the connection.
_OF_THE_SERVER = {"date", "server", "connection", "keep-alive", "transfer-encoding", "via"}


class Answer(NamedTuple):
    """An answer, with the names of its headers in small letters, ordered by them."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that comes once at most."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else None


def answer_of(status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    named = [(name.lower(), value) for name, value in headers if name.lower() not in _OF_THE_SERVER]
    # Two of the same name keep their order.
    return Answer(status, tuple(sorted(named, key=lambda header: header[0])), body)


_FIXED = {session_id.encode() for session_id in (OPEN, OTHER, ENDED, UNKNOWN, FOREIGN, OF_SECOND, OF_APPLICATION)}
_SESSION_ID = re.compile(rb"[12]_MX4[0-9A-Za-z_-]{20,}")
_TOKEN = re.compile(rb"eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+")
_TOKEN_LENGTH = re.compile(rb"(?<=make a token of )\d{4}")
_PROOF = re.compile(rb'(?<="csrf_token":")[0-9A-Za-z_-]{43}|(?<=-csrf=)[0-9A-Za-z_-]{43}')


def without_chance(answer: Answer) -> Answer:
    """The answer with what is random in it blotted out, and as long as it was."""

    def blotted(text: bytes) -> bytes:
        text = _SESSION_ID.sub(lambda found: found[0] if found[0] in _FIXED else b"S" * len(found[0]), text)
        # The number in a token has as many digits as it has.
        text = _TOKEN_LENGTH.sub(b"many", _TOKEN.sub(b"TOKEN", text))
        return _PROOF.sub(lambda found: b"P" * len(found[0]), text)

    body, length = blotted(answer.body), len(answer.body)
    headers = []
    for name, value in answer.headers:
        if name == "content-length" and b"TOKEN" in body and value == str(length):
            value = "that of the body"
        headers.append((name, blotted(value.encode("latin-1")).decode("latin-1") if name == "set-cookie" else value))
    return Answer(answer.status, tuple(headers), body)


def asked(case: Case, prefix: str = "") -> tuple[str, str, list[tuple[str, str]], bytes]:
    """The path, the query, the headers and the body of a case's request."""
    path, _, query = case.target.partition("?")
    headers = [("Host", f"{case.kit}.example"), *case.headers]
    if case.chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif case.body is not None:
        headers.append(("Content-Length", str(len(case.body))))
    return prefix + path, query, headers, case.body or b""


def ask_wsgi(app: Callable[..., Any], case: Case, prefix: str = "") -> Answer:
    """Call a WSGI app with an environment as servers make it (PEP 3333)."""
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
    # The phrase is the framework's: Werkzeug's own for 413 is the one from before RFC 9110.
    assert phrase in {problems.phrase(int(code)), HTTP_STATUS_CODES[int(code)].upper()}
    return answer_of(int(code), sent, answered)


def _no_write(_: bytes) -> None:
    raise AssertionError("no app of the suite uses write()")


def ask_asgi(app: Callable[..., Any], case: Case, loop: asyncio.AbstractEventLoop, prefix: str = "") -> Answer:
    """Call an ASGI app with a scope as servers make it, the body in two pieces."""
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

    async def receive() -> Any:
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    loop.run_until_complete(app(scope, receive, send))
    start, *bodies = sent
    assert start["type"] == "http.response.start"
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]
    named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    assert all(name == name.lower() for name, _ in named)
    answered = b"".join(message.get("body", b"") for message in bodies)
    # Every ASGI server leaves the body of an answer to HEAD away; the kit's own routes send none.
    assert not answered or case.method != "HEAD" or case.is_own
    return answer_of(start["status"], named, b"" if case.method == "HEAD" else answered)
