"""Kills a copy in the middle, again and again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from rolecall.cli.store_urls import opened
from rolecall.sessions import SessionProperties
from rolecall.stores.copying import tally
from rolecall.stores.upkeep import KINDS, Row

from ...waiting import PATIENCE, soon

#: The rows of the largest kind.
ROWS = 800
_KILLED = 10


def fill(url: str) -> None:
    """Fill a store with rows of every kind, all of which are to be copied."""
    properties, later = SessionProperties().as_json(), time.time() + 3600
    sessions: list[Row] = [(f"1_{n:05}", properties, later - n, f"actor {n % 7}") for n in range(ROWS)]
    with opened(url, may_be_new=True) as store:
        store.load("ended", [(f"1_{n:05}", later + n) for n in range(0, ROWS, 4)])
        store.load("sessions", sessions)
        store.load("used", [(f"jti {n}", later + n) for n in range(ROWS // 3)])
        store.load("leases", [(f"lease {n}", f"key {n % 9}", later + n) for n in range(ROWS // 3)])


def content(url: str) -> dict[str, tuple[int, int]]:
    """The number of rows of each kind, and their checksum."""
    with opened(url) as store:
        return {kind: tally(store, kind) for kind in KINDS}


def copy_with_kills(source: str, target: str, file: Path, seed: int) -> subprocess.CompletedProcess[bytes]:
    """Kill the copy ten times at random points, let it end, and return what it says then."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "rolecall", "store", "copy", "SOURCE", "TARGET", "--page", "5"]
    command += ["--resume", str(file)]
    environment = {**os.environ, "SOURCE": source, "TARGET": target}
    for _ in range(_KILLED):
        before = _read(file)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert soon(partial(_has_moved, file, before, process))
            assert process.poll() is None, "the copy had ended before it was killed"
            time.sleep(chance.uniform(0, 0.005))  # any moment will do
        finally:
            process.kill()
            process.wait(PATIENCE)
    return subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)


def _has_moved(file: Path, before: bytes, process: subprocess.Popen[bytes]) -> bool:
    return _read(file) != before or process.poll() is not None


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""
