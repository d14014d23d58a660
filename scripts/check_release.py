"""Build wheel and sdist, install the wheel as a stranger would, and ask the demonstration that it starts.

``nox -s release`` calls it. It ends with status 1 and the reason where anything of that fails.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
#: The seconds that the demonstration has from its start to its answer, and those for one answer and for its end.
START, ANSWER = 60, 20


def build(folder: Path) -> Path:
    """The wheel, built from the sdist, which is beside it in ``folder``."""
    installer = ["--installer", "uv"] if find_spec("uv") else []  # seconds instead of half a minute
    command = [sys.executable, "-m", "build", *installer, "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (sdist,) = folder.glob("rolecall-*.tar.gz")
    (wheel,) = folder.glob("rolecall-*.whl")
    print(f"built {sdist.name} and {wheel.name}")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """The commands of a fresh virtual environment with the wheel and what its demonstration needs."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), f"{wheel}[demo]"], check=True)
    return folder / "bin"


def ask(commands: Path, folder: Path) -> None:
    """Start the demonstration, create a session in it, and stop it as a person would."""
    process = subprocess.Popen(
        [commands / "rolecall", "demo", "--port=0"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ROLECALL"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    patience = Timer(START, process.kill)
    patience.start()
    try:
        said = ""
        while not (found := re.search(r"Rolecall demo: (http://\S+)", said)):
            line = process.stdout.readline()
            if not line:
                sys.exit(f"rolecall demo ended with status {process.wait()} and said:\n{said}")
            said += line
        with urlopen(Request(f"{found[1]}/video/sessions", method="POST"), timeout=ANSWER) as answer:
            print(f"{found[1]} answered {answer.status}")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=ANSWER)
        if process.returncode:
            sys.exit(f"rolecall demo ended with status {process.returncode} and said:\n{rest}")
    finally:
        process.kill()
        process.wait()
        patience.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        there = Path(scratch)
        ask(install(build(there / "dist"), there / "venv"), there)
