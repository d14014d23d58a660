"""A verifier in another process, whose server of keys stops, hangs or lies: ``python -m tests.faults.lying_keys``.

In each rotation the issuer publishes its next key, signs with it, and retires the one before. Between these steps the
server has two of its faults. A token of a key in the last good set must be accepted within a second, whatever the
server does; one of a key that never was in a good set must not be. Once a good set is fetched, a retired key is
refused.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from rolecall import Rolecall, RolecallError
from rolecall.keys import sources
from rolecall.keys.following import Timing
from rolecall.kit import Verifier

from ..key_servers import Answer, KeyServer, http, key_server, key_set, says
from ..own_tokens import ISSUER, issuing, jwks, token_of

ROOT: Final = Path(__file__).parents[2]
#: The time limit of a fetch, here: the usual one makes a hundred rotations long.
FETCH_SECONDS: Final = 1.0
#: Seconds within which a token of a known key is answered, whatever the server does.
BOUND: Final = 1.0


class Hasty(Verifier):
    """A verifier that looks for each unknown key, and waits for it half a second at most."""

    _timing = Timing(refetch=0.0, longest_refetch=0.0, first_retry=0.05, longest_retry=0.2, patience=0.5)


def answer_tokens(url: str) -> None:
    """The other process: reads a token from each line, and says what came of it and how long it took."""
    sources.FETCH_SECONDS = FETCH_SECONDS  # type: ignore[misc]
    with Hasty(url, issuer=ISSUER) as verifier:
        for line in sys.stdin:
            began = time.monotonic()
            try:
                verifier.verify_token(line.strip())
                code = "accepted"
            except RolecallError as error:
                code = error.code
            print(json.dumps([code, time.monotonic() - began]), flush=True)


class Asked:
    """The other process, as this one sees it."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.lying_keys", "--verify", url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def code(self, token: str) -> tuple[str, float]:
        """What comes of ``token``, and after how many seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(token, file=self._process.stdin, flush=True)
        code, seconds = json.loads(self._process.stdout.readline())
        return code, seconds

    def close(self) -> None:
        self._process.communicate(timeout=20)


@contextmanager
def asked(url: str) -> Iterator[Asked]:
    process = Asked(url)
    try:
        yield process
    finally:
        process.close()


def hang(client: socket.socket) -> None:
    client.settimeout(1)
    client.recv(1)


def endless(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(64):
        client.sendall(b" " * 65_536)


def faults(good: bytes, stranger: dict[str, Any]) -> dict[str, Answer]:
    """What the server may do, by name. The set that it hides has a key of nobody's."""
    lie = key_set(stranger)
    return {
        "stopped": says(b""),
        "hanging": hang,
        "dripping": says([http(lie)[at : at + 40] for at in range(0, 400, 10)], 0.1),
        "endless": endless,
        "HTML": says(http(lie, content_type="text/html")),
        "an error": says(http(lie, "500 Error")),
        "a redirect": says(http(lie, "302 Found", "application/json", "Location: /other")),
        "empty": says(http(b'{"keys":[]}')),
        "oct": says(http(key_set({"kty": "oct", "k": "c2VjcmV0", "kid": stranger["kid"]}))),
        "private": says(http(key_set({**stranger, "d": "AA"}))),
        "another use": says(http(key_set({**stranger, "use": "enc"}))),
        "cut off": says(http(good)[:-20]),
    }


def run(
    rotations: Iterable[int],
    bound: float = BOUND,
    ask: Callable[[str], AbstractContextManager[Asked]] = asked,
    patience: float = 30.0,
) -> list[str]:
    """What went wrong.

    :param bound: the seconds within which a token of a known key must be answered.
    :param ask: starts the other process.
    :param patience: the longest wait for the other process to fetch the keys, in seconds.
    """
    problems: list[str] = []
    with ExitStack() as stack:
        stranger = stack.enter_context(issuing(name="stranger"))
        current = stack.enter_context(issuing(name="rotation"))
        server = stack.enter_context(key_server(serving(current)))
        process = stack.enter_context(ask(server.url))
        _expect(problems, process, "at first", token_of(current), True, 20.0)
        names = cycle(faults(b"", jwks(stranger)["keys"][0]))
        for rotation in rotations:
            following = stack.enter_context(issuing(name=f"rotation {rotation}"))
            for step in _steps(server, current, following, stranger, names, patience):
                step(problems, process, rotation, bound)
            current = following
    return problems


def serving(*kits: Rolecall) -> Answer:
    return says(http(key_set(*(jwks(kit)["keys"][0] for kit in kits))))


def _steps(
    server: KeyServer, current: Rolecall, following: Rolecall, stranger: Rolecall, names: Iterator[str], patience: float
) -> Iterator[Any]:
    """Publish, fail, sign, retire."""
    old, new, nobody = token_of(current), token_of(following), token_of(stranger)

    def publish(problems: list[str], process: Asked, rotation: int, bound: float) -> None:
        server.answer = serving(current, following)
        _expect(problems, process, f"{rotation}: published", new, True, 20.0)

    def fail(problems: list[str], process: Asked, rotation: int, bound: float) -> None:
        name = next(names)
        server.answer = faults(b'{"keys":[]}', jwks(stranger)["keys"][0])[name]
        _expect(problems, process, f"{rotation}: {name}, a stranger's", nobody, False, 20.0)
        for token, whose in ((token_of(current), "the signing"), (token_of(following), "the published")):
            _expect(problems, process, f"{rotation}: {name}, {whose} key's", token, True, bound)

    def retire(problems: list[str], process: Asked, rotation: int, bound: float) -> None:
        server.answer = serving(following)
        _fetch(process, server, nobody, patience)
        _expect(problems, process, f"{rotation}: retired", old, False, 20.0)
        _expect(problems, process, f"{rotation}: signing", token_of(following), True, bound)

    yield from (publish, fail, fail, retire)


def _fetch(process: Asked, server: KeyServer, unknown: str, patience: float) -> None:
    """Have the verifier fetch twice: an attempt that ran before may have had the old set."""
    for _ in range(2):
        before, deadline = server.asked, time.monotonic() + patience
        while server.asked == before and time.monotonic() < deadline:
            process.code(unknown)


def _expect(problems: list[str], process: Asked, when: str, token: str, accepted: bool, bound: float) -> None:
    code, seconds = process.code(token)
    deadline = time.monotonic() + 20
    # Right after a fault an attempt may still run, of which nobody knows yet what it brings.
    while code == "keys_unavailable" and time.monotonic() < deadline:
        code, seconds = process.code(token)
    if (code == "accepted") is not accepted:
        problems.append(f"{when}: {code}")
    if seconds > bound:
        problems.append(f"{when}: answered after {seconds:.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=100)
    parser.add_argument("--verify", help="for the other process: the URL of the keys")
    given = parser.parse_args()
    if given.verify:
        answer_tokens(given.verify)
        return 0
    found = run(range(given.rotations))
    print("\n".join(found) or f"{given.rotations} rotations: no fault found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
