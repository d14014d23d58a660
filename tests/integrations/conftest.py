"""The SDKs of OpenTok and Vonage, and servers for them: each is installed or started once, where a test asks for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import flask
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from werkzeug.serving import make_server

from rolecall import Rolecall
from rolecall_flask import rolecall_blueprint

from ..waiting import PATIENCE

HERE = Path(__file__).parent

_WAITRESS = (
    "import socket, waitress, sdk_site; "
    "waitress.serve(sdk_site.wsgi_site(), sockets=[socket.socket(fileno={fd})], threads=8)"
)
_UVICORN = (
    "import socket, uvicorn; "
    "config = uvicorn.Config('sdk_site:starlette_site', factory=True, log_level='warning', lifespan='off'); "
    "uvicorn.Server(config).run(sockets=[socket.socket(fileno={fd})])"
)
#: How each adapter's site is served.
_COMMANDS = {
    "flask": [
        *("-m", "gunicorn", "--worker-class=gthread", "--threads=8", "--no-control-socket", "--graceful-timeout=1"),
        *("--bind=fd://{fd}", "sdk_site:flask_site()"),
    ],
    "starlette": ["-c", _UVICORN],
    "wsgi": ["-c", _WAITRESS],
}
#: Calls a method of an SDK for each line that comes, and writes a line with what it gave.
_NODE_SCRIPT = """
const OpenTok = require("opentok");
const { Auth } = require("@vonage/auth");
const { Video } = require("@vonage/video");
const clients = {
  opentok: ({ key, secret, url }) => new OpenTok(key, secret, url),
  vonage: ({ key, secret, url }) => new Video(
    new Auth({ applicationId: key, privateKey: secret }), { videoHost: url, timeout: 20000 }
  ),
};
const calledBack = (owner, name, args) => new Promise((resolve, reject) =>
  owner[name](...args, (error, value) => (error ? reject(error) : resolve(value))));
const call = async ({ sdk, method, args, back, ...options }) => {
  const path = method.split("."), name = path.pop();
  const owner = path.reduce((found, one) => found[one], clients[sdk](options));
  return back ? calledBack(owner, name, args) : owner[name](...args);
};
require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  let answer, timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("no answer")), 20000); });
  try {
    const value = await Promise.race([call(JSON.parse(line)), late]);
    // A session of the SDK's holds its client.
    answer = { value: value?.ot ? { ...value, ot: null } : value ?? null };
  } catch (error) {
    const { status } = error?.response ?? {};
    answer = { error: `${error}`, status: status ?? null };
  }
  clearTimeout(timer);
  console.log(JSON.stringify(answer));
});
"""


# -- the packages from npm -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def npm_folder(node, needed, tmp_path_factory) -> Path:
    """A folder with the SDKs of OpenTok, Vonage and media services, ``jose`` and ``openid-client`` from npm."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}')
    command = [
        "npm",
        "install",
        "opentok@2",
        "@vonage/video@1",
        "jose@6",
        "openid-client@6",
        "livekit-server-sdk@2",
        "twilio@6",
        "@stream-io/node-sdk@0.7",
        "@100mslive/server-sdk@0.3",
        "agora-token@2",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
    ]
    try:
        done = subprocess.run(
            [*command, "--fetch-retries=1"], cwd=folder, capture_output=True, timeout=120, check=False
        )
        installed = done.returncode == 0
    except subprocess.TimeoutExpired:
        installed = False
    needed(installed, "the npm registry")
    return folder


@pytest.fixture(scope="session")
def run_node(node, npm_folder):
    """Runs a script beside the npm packages: it reads one JSON value, and writes another."""

    def run(script: str, asked: object) -> Any:
        done = subprocess.run(
            [node, "-e", script],
            cwd=npm_folder,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


class NodeError(Exception):
    """What an SDK for Node.js threw."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


@pytest.fixture(scope="session")
def node_call(node, npm_folder) -> Iterator[Callable[..., Any]]:
    """Calls a method of an SDK in one process of Node.js, which stays."""
    (npm_folder / "calls.js").write_text(_NODE_SCRIPT)
    process = subprocess.Popen(
        [node, "calls.js"], cwd=npm_folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def call(sdk: str, method: str, *args: Any, **options: Any) -> Any:
        print(json.dumps({"sdk": sdk, "method": method, "args": args, **options}), file=process.stdin)
        assert process.stdout is not None
        answer = json.loads(process.stdout.readline())
        if "error" in answer:
            raise NodeError(answer["error"], answer["status"])
        return answer["value"]

    with process:
        yield call
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


# -- the servers -----------------------------------------------------------------------------------


@dataclass
class Site:
    """A site behind a running server.

    :param port: where it listens.
    :param tls_port: where TLS is in front of it.
    """

    name: str
    port: int
    tls_port: int

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, patience: float = 20
    ) -> tuple[int, Any]:
        """Status and JSON of an answer.

        :param patience: the seconds of silence after which the test fails.
        """
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=patience)) as connection:
            connection.request(method, path, headers=headers or {})
            with connection.getresponse() as response:
                return response.status, json.loads(response.read())

    def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to the very bytes of a request."""
        method = request.partition(b" ")[0].decode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            with HTTPResponse(connection, method=method) as response:
                response.begin()
                headers = {name.lower(): value for name, value in response.getheaders()}
                return response.status, headers, response.read()

    def heard(self, patience: float = 20) -> list[Any]:
        """What its plugins were asked for since the last time."""
        return self.ask("GET", "/-/heard", patience=patience)[1]


def private_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="session")
def application_key() -> str:
    """The application's private key."""
    return private_pem(rsa.generate_private_key(65_537, 2048)).decode()


def _certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(private_pem(key))
    return certificate, key_file


@pytest.fixture(scope="session")
def sites(application_key, tmp_path_factory) -> Iterator[dict[str, Site]]:
    """The site of each adapter behind a server of its own; all share one SQLite store, and their TLS is trusted."""
    folder = tmp_path_factory.mktemp("sites")
    certificate, key_file = _certify(folder)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SDK_SITE_STORE", f"sqlite:///{folder / 'rolecall.db'}")
        patch.setenv("SDK_SITE_PRIVATE_KEY", application_key)
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        patch.setenv("NO_PROXY", "127.0.0.1")
        started, fronts = {}, {}
        for name, command in _COMMANDS.items():
            listener, front = stack.enter_context(_listener()), stack.enter_context(_listener())
            port = listener.getsockname()[1]
            command = [part.replace("{fd}", str(listener.fileno())) for part in command]
            stack.enter_context(_process(command, [listener], folder / f"{name}.log"))
            started[name] = Site(name, port, front.getsockname()[1])
            fronts[front] = f"{front.fileno()}={port}"
        command = [str(HERE / "sdk_tls.py"), str(certificate), str(key_file), *fronts.values()]
        stack.enter_context(_process(command, list(fronts), folder / "tls.log"))
        for site in started.values():
            assert site.heard(PATIENCE) == [], (folder / f"{site.name}.log").read_text()
        yield started
    for name in started:
        assert "Traceback" not in (folder / f"{name}.log").read_text(), name


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


@contextmanager
def _process(command: list[str], listeners: list[socket.socket], log: Path) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=log.parent,
            env=environment,
            pass_fds=[listener.fileno() for listener in listeners],
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


# -- OAuth's own clients ---------------------------------------------------------------------------


@dataclass
class Protected:
    """A kit behind a running server, for clients of OAuth.

    :param kit: the kit, whose API secret a form writes in another way.
    :param url: where its routes are.
    """

    kit: Rolecall
    secret: str
    url: str


@pytest.fixture(scope="session")
def protected() -> Iterator[Protected]:
    """A kit in an app of Flask, behind a server in a thread."""
    secret = f"s3cret/+% :&={'x' * 32}"
    with Rolecall("123456", secret, entry_points=False) as kit:
        app = flask.Flask("protected")
        app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Protected(kit, secret, f"http://127.0.0.1:{server.server_port}/video")
        server.shutdown()
        thread.join(20)
        server.server_close()


# -- what an SDK sends -----------------------------------------------------------------------------


@pytest.fixture
def recorded() -> Callable[[Callable[[str], Any], bytes], bytes]:
    """The very bytes that an SDK sends: its call is given a URL where they are kept, and answered."""

    def record(call: Callable[[str], Any], body: bytes) -> bytes:
        request = bytearray()

        def serve(listener: socket.socket) -> None:
            connection, _ = listener.accept()
            with connection:
                while not _is_whole(request):
                    request.extend(connection.recv(65_536))
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)

        with _listener() as listener:
            listener.settimeout(20)
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            call(f"http://127.0.0.1:{listener.getsockname()[1]}")
            thread.join(20)
        return bytes(request)

    return record


def _is_whole(request: bytearray) -> bool:
    head, end, body = bytes(request).partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= int(lengths[0] if lengths else 0)
