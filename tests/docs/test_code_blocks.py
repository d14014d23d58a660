"""Every fenced block of the README and the docs is carried out, as a reader would type it.

The blocks of a page share one namespace, one folder and one shell, from the top to the end:

- ``python`` is run; with ``>>>`` its answers are compared, as doctest does. A block that begins with a comment
  ``folder/file.py`` is written there, or ``, at the end`` of what is there.
- ``sh`` is commands that must succeed. ``console`` is commands (``$``) with exactly what they print.
- ``http`` is a request, and in the next block the answer that the page's ``app``, WSGI or ASGI, gives to it.
- A directive (``{toctree}``) is Sphinx's, see ``test_build.py``.

``...`` stands for any text in an answer, and any moment for any other.
"""

from __future__ import annotations

import doctest
import inspect
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import uvicorn
from starlette.testclient import TestClient
from werkzeug.serving import make_server
from werkzeug.test import Client

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: Commands that are not run here, but are known word for word; whatever a page serves is served by this test.
RUN_ELSEWHERE = {
    'pip install -e ".[demo]" && rolecall demo',
    'pip install -e ".[dev]" && python -m pytest',
    'pip install -e ".[docs]" && sphinx-build -W docs docs/_build',
    'pip install -e ".[channels,cli]" daphne',
    'pip install -e ".[django,cli]"',
    'pip install -e ".[drf,cli]"',
    'pip install -e ".[fastapi]" "uvicorn[standard]" pytest httpx2',
    'pip install -e ".[flask]"',
    'pip install -e ".[flask]" pytest',
    'pip install -e ".[flask]" gunicorn',
    'pip install -e ".[starlette]" "uvicorn[standard]"',
    "flask --app app run",
    "flask --app school run",
    "uvicorn --factory --workers 4 app:create_app",
    "uvicorn --factory school:create_app",
    'gunicorn --workers 4 "app:create_app()"',
    "flask --app examples/flask_app/app run",
    "rolecall demo",
}
#: Where the pages say that their app listens: Flask's port, and uvicorn's.
SERVED = re.compile(r"http://127\.0\.0\.1:(?:5000|8000)\b")

#: The first line of a block that is a file.
FILE = re.compile(r"# ([\w/]+\.py)(, at the end)?\n")

#: What is shown and not run: Sphinx's own, and drawings.
NOT_RUN = {"{toctree}", "{eval-rst}", "text"}
#: An integer or fraction from here on is a moment in Unix seconds.
FIRST_MOMENT = 1_000_000_000


@dataclass
class Block:
    """One fenced block; ``line`` is that of its fence."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in FENCE.finditer(text)]
    assert len(found) * 2 == len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)), "a fence that is not understood"
    return found


class Shell:
    """One bash for a page, so that variables last from block to block."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PATH": path},
        )

    def run(self, command: str) -> tuple[str, int]:
        """What ``command`` prints, on both channels, and its exit code, which ``$?`` keeps."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = "end-of-command"
        self._process.stdin.write(f"{command}\nstatus=$?; printf '{mark} %s\\n' $status; (exit $status)\n")
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            text, found, status = line.partition(mark)
            output += text
            if found:
                return output, int(status)
        raise AssertionError(f"the shell ended at: {command}")

    def close(self) -> None:
        self._process.communicate()


class Reader:
    """Reads one page, and does what its blocks say."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        module = ModuleType(page.stem)
        self.namespace: dict[str, Any] = vars(module)
        if "-" in page.stem:  # so that it hides no package; Litestar looks a handler's module up
            monkeypatch.setitem(sys.modules, page.stem, module)
        self.shell = Shell(folder)
        self._monkeypatch = monkeypatch
        self._served: str | None = None
        self._stop: Callable[[], None] = lambda: None
        self._request: str | None = None

    def read(self) -> None:
        for block in blocks_of(self.page):
            do = getattr(self, f"do_{block.language}", None)
            if block.language in NOT_RUN:
                continue
            assert do is not None, f"{self.page.name}:{block.line}: nothing is known of {block.language!r} blocks"
            try:
                do(block)
            except (Exception, pytest.fail.Exception) as error:
                error.add_note(f"in the block at {self.page.name}:{block.line}")
                raise
        assert self._request is None, f"{self.page.name}: the last request has no answer"

    def do_python(self, block: Block) -> None:
        file = FILE.match(block.text)
        if file is not None:
            Path(file[1]).parent.mkdir(exist_ok=True)
            with Path(file[1]).open("a" if file[2] else "w") as opened:
                opened.write(block.text[file.end() :])
            return
        if ">>> " not in block.text:
            source = "\n" * block.line + block.text  # so that tracebacks name the page's own lines
            exec(compile(source, self.page, "exec", dont_inherit=True), self.namespace)
            return
        test = doctest.DocTestParser().get_doctest(block.text, {}, self.page.name, str(self.page), block.line)
        test.globs = self.namespace  # itself, where get_doctest would take a copy
        report: list[str] = []
        outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append, clear_globs=False)
        assert not outcome.failed, "".join(report)

    do_pycon = do_python

    def do_sh(self, block: Block) -> None:
        for command in filter(None, block.text.splitlines()):
            output, status = self._run(command)
            assert status == 0, f"{command}\n{output}"
        exported = self.shell.run("env")[0].splitlines()
        for variable in filter(lambda line: line.startswith("ROLECALL_"), exported):
            self._monkeypatch.setenv(*variable.split("=", 1))

    def do_console(self, block: Block) -> None:
        first, *rest = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        assert not first, "a console block begins with a command: $ …"
        for entry in rest:
            command, _, expected = entry.partition("\n")
            output, _ = self._run(command)
            assert_same_text(expected.strip("\n"), output.strip("\n"))

    def do_http(self, block: Block) -> None:
        if not block.text.startswith("HTTP/"):
            assert self._request is None, "the request before this one has no answer"
            self._request = re.sub(r"\{(\w+)\}", lambda match: str(self.namespace[match[1]]), block.text)
            return
        assert self._request is not None, "an answer without a request"
        answer = send(self.namespace["app"], self._request)
        self._request = None
        assert_answer(block.text, answer)
        if isinstance(answer.json, dict):
            self.namespace.update(answer.json)

    def _run(self, command: str) -> tuple[str, int]:
        if command in RUN_ELSEWHERE:
            return "", 0
        if SERVED.search(command):
            command = SERVED.sub(self._serve(), command)
        return self.shell.run(command)

    def _serve(self) -> str:
        if self._served is None:
            serve = serve_asgi if is_asgi(self.namespace["app"]) else serve_wsgi
            self._served, self._stop = serve(lambda *args: self.namespace["app"](*args))
        return self._served

    def close(self) -> None:
        self.shell.close()
        self._stop()


def is_asgi(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def serve_wsgi(app: Any) -> tuple[str, Callable[[], None]]:
    """Where ``app`` is served, and what ends that."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return f"http://127.0.0.1:{server.server_port}", stop


def serve_asgi(app: Any) -> tuple[str, Callable[[], None]]:
    """Where ``app`` is served, and what ends that."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, interface="asgi3", lifespan="off", ws="none", log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(10)
        listener.close()

    return f"http://127.0.0.1:{listener.getsockname()[1]}", stop


@dataclass
class Answer:
    """What an app answers."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        """The body, if it is JSON."""
        return json.loads(self.text) if "json" in self.headers.get("Content-Type", "") else None


def send(app: Any, request: str) -> Answer:
    """The answer of ``app`` to a request as it is written in a page."""
    head, _, body = request.partition("\n\n")
    first, *lines = head.splitlines()
    method, path, _ = first.split(" ")
    headers = [line.split(": ", 1) for line in lines]
    if is_asgi(app):
        client = TestClient(app, follow_redirects=False)
        answered = client.request(method, path, headers=dict(headers), content=body.strip())
        return Answer(answered.status_code, answered.headers, answered.text)
    wsgi = Client(app).open(path, method=method, headers=headers, data=body.strip())
    return Answer(wsgi.status_code, wsgi.headers, wsgi.text)


def assert_answer(expected: str, answer: Answer) -> None:
    """The status, the headers that ``expected`` has, and the body are those of ``answer``."""
    head, _, body = expected.partition("\n\n")
    first, *headers = head.splitlines()
    assert first == f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"
    for line in headers:
        name, _, value = line.partition(": ")
        assert_same_text(value, answer.headers.get(name, f"no header {name}"))
    if answer.json is not None:
        assert_same_json(json.loads(body), answer.json)
    else:
        assert_same_text(body.strip(), answer.text.strip())


def assert_same_text(expected: str, actual: str) -> None:
    same = doctest.OutputChecker().check_output(expected + "\n", actual + "\n", doctest.ELLIPSIS)
    assert same, f"expected:\n{expected}\nbut it was:\n{actual}"


def assert_same_json(expected: Any, actual: Any) -> None:
    if isinstance(expected, dict):
        assert list(expected) == list(actual)
        for name, value in expected.items():
            assert_same_json(value, actual[name])
    elif isinstance(expected, list):
        assert len(expected) == len(actual)
        for one, other in zip(expected, actual, strict=True):
            assert_same_json(one, other)
    elif isinstance(expected, str):
        assert_same_text(expected, actual)
    elif isinstance(expected, int | float) and expected > FIRST_MOMENT:
        assert actual > FIRST_MOMENT
    else:
        assert expected == actual


@contextmanager
def loggers_kept() -> Iterator[None]:
    """Put the levels and the handlers of the root logger and of the kit's own back at the end."""
    loggers = [logging.getLogger(name) for name in (None, "rolecall", "rolecall.trace")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Reader]]:
    """Makes the reader of a page, who sits in an empty folder and has nothing set up."""
    for name in filter(lambda name: name.startswith("ROLECALL_"), list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    readers = []

    def make(page: Path) -> Reader:
        readers.append(Reader(page, tmp_path, monkeypatch))
        return readers[-1]

    with patch.dict(os.environ), loggers_kept():  # which a page may change
        yield make
    for made in readers:
        made.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_does_what_it_says(page, reader, needed):
    needed(shutil.which("bash"), "bash")
    if "curl" in page.read_text():
        needed(shutil.which("curl"), "curl")
    reader(page).read()


def test_every_command_that_is_run_elsewhere_stands_in_a_page():
    lines = [line.removeprefix("$ ") for page in PAGES for block in blocks_of(page) for line in block.text.splitlines()]
    assert set(lines) >= RUN_ELSEWHERE


@pytest.mark.parametrize(
    "text",
    [
        "```\nno language\n```\n",
        "```cobol\nSTOP RUN.\n```\n",
        "```console\n$ no-such-command\n```\n",
        "```sh\nfalse\n```\n",
        "```console\n$ echo yes\nno\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```http\nGET / HTTP/1.1\n```\n",
        "```python\n",
    ],
)
def test_a_block_that_is_unknown_or_wrong_is_noticed(text, reader, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError):
        reader(page).read()


WSGI_APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]
"""
ASGI_APP = """\
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"""


def page_with(app: str, answer: str) -> str:
    return (
        f"```python\n{app}```\n```http\nGET /a HTTP/1.1\n```\n```http\nHTTP/1.1 200 OK\n\n/{answer}\n```\n"
        "```console\n$ curl -s http://127.0.0.1:8000/b\n/b\n```\n"
    )


@pytest.mark.parametrize("app", [WSGI_APP, ASGI_APP], ids=["wsgi", "asgi"])
def test_an_app_of_either_kind_is_asked_and_served(app, reader, tmp_path, needed):
    needed(shutil.which("bash") and shutil.which("curl"), "bash and curl")
    page = tmp_path / "page.md"
    page.write_text(page_with(app, "a"))
    reader(page).read()


@pytest.mark.parametrize("app", [WSGI_APP, ASGI_APP], ids=["wsgi", "asgi"])
def test_a_wrong_answer_of_an_app_of_either_kind_is_noticed(app, reader, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(page_with(app, "x"))
    with pytest.raises(AssertionError, match=r"expected:\s+/x\s+but it was:\s+/a"):
        reader(page).read()


def test_each_app_of_the_readme_runs_when_it_is_pasted_alone(monkeypatch):
    monkeypatch.setenv("ROLECALL_API_KEY", "123456")
    monkeypatch.setenv("ROLECALL_API_SECRET", "2df95e9fdac14502e8a27a9d8a71e87ef64a502e")
    samples = [
        block.text for block in blocks_of(ROOT / "README.md") if block.language == "python" and "app = " in block.text
    ]
    assert len(samples) == 4
    for sample in samples:
        exec(compile(sample, "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
