"""Real PostgreSQL servers for tests: each on a free port, in a folder of its own, and able to be killed and frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from .waiting import PATIENCE, free_port

#: The account that runs the server where the tests run as root, which PostgreSQL refuses.
ACCOUNT = "postgres"


def _programs() -> Path | None:
    """The folder of the server's programs: on the PATH, or where Debian has them; the newest version first."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name.partition(".")[0])
    )
    on_path = shutil.which("postgres")
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *debian]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


#: None if PostgreSQL is not installed.
PROGRAMS = _programs()


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class PostgresProcess:
    """A PostgreSQL server of a test's own, with fsync on. It keeps its port and its data when it is started again."""

    def __init__(self, *settings: str) -> None:
        # Not in pytest's own folder, which the server's account may not enter.
        self.folder = Path(tempfile.mkdtemp(prefix="rolecall-postgres-"))
        self.port = free_port()
        self._account = ACCOUNT if os.geteuid() == 0 else None
        if self._account is not None:
            shutil.chown(self.folder, self._account)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "--pgdata", str(self.data), "--auth=trust", "--username=app", "--encoding=UTF8", "--locale=C"
        )

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://app@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=5)

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"db{time.monotonic_ns()}"
        with self.connect() as raw:
            raw.execute(f"CREATE DATABASE {name}".encode())
        return name

    def start(self) -> PostgresProcess:
        """Start the server, and wait until it answers."""
        assert PROGRAMS is not None
        assert self._process is None
        # Left by a server that was killed; its port may have another's pid by now.
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()
        settings = (
            *("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "fsync=on"),
            *("autovacuum=off", "shared_buffers=16MB", "max_connections=60", "max_prepared_transactions=4"),
            *self._settings,
        )
        command = [str(PROGRAMS / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for setting in settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **self._as_account()
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()  # its children end with it
                raise RuntimeError(f"the server has not started: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End all processes of the server at once, as a loss of power or the kernel would."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None
        deadline = time.monotonic() + PATIENCE
        while any(map(_runs, pids)) and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """All processes of the server stand still, and the kernel goes on acknowledging what is sent to them."""
        pids = self.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop the server, and delete its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pids(self) -> list[int]:
        """The server's processes, the one that starts the others first."""
        assert self._process is not None
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _answers(self) -> bool:
        try:
            with self.connect() as raw:
                return raw.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def _run(self, program: str, *args: str) -> None:
        assert PROGRAMS is not None
        command = [str(PROGRAMS / program), *args]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE, cwd="/", **self._as_account())

    def _as_account(self) -> dict:
        return {} if self._account is None else {"user": self._account, "group": self._account, "extra_groups": ()}
