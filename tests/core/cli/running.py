"""What the tests of commands share: a project, and commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from ...sdk_tokens import API_KEY, API_SECRET

CONFIGURED = {"ROLECALL_API_KEY": API_KEY, "ROLECALL_API_SECRET": API_SECRET}


def flat(text: str) -> str:
    """``text`` with single spaces, so that tests do not hang on columns."""
    return " ".join(text.split())


def start(*arguments: str, code: str | None = None, **options) -> subprocess.CompletedProcess:
    """Run the command line as a process of its own."""
    program = ["-m", "rolecall"] if code is None else ["-c", code]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 60, **options}
    if "input" in options:
        del options["stdin"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **options.pop("env", {})}
    return subprocess.run([sys.executable, *program, *arguments], env=environment, check=False, **options)
