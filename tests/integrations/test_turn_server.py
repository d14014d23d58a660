"""coturn beside the kit: it allocates for the credential of a ticket, and for no changed or expired one."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from rolecall import Rolecall
from rolecall.media import LiveKit, Turn
from rolecall.tokens import MAX_LIFETIME

from ..waiting import free_port, soon

pytestmark = pytest.mark.server

PROGRAM = shutil.which("turnserver")
SECRET, OLD = "throwaway-turn-secret-one-0123456789", "throwaway-turn-secret-two-9876543210"
Allocates = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def port(needed, tmp_path_factory) -> Iterator[int]:
    """The port of a server that takes two secrets, on the loopback address alone."""
    needed(PROGRAM, "turnserver (coturn)")
    assert PROGRAM is not None
    folder, port = tmp_path_factory.mktemp("coturn"), free_port()
    command = [
        *(PROGRAM, "-n", "--use-auth-secret", f"--static-auth-secret={SECRET}", f"--static-auth-secret={OLD}"),
        *("--realm=rolecall", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--no-tls", "--no-dtls", "--no-cli", "--no-multicast-peers", "--log-file=stdout", "--simple-log"),
        *(f"--userdb={folder / 'turndb'}", f"--pidfile={folder / 'pid'}"),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            assert soon(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, (folder / "log").read_text()
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def allocates(port) -> Allocates:
    """Whether the server allocates a relay for a credential."""

    async def ask(username: str, password: str) -> bool:
        address = ("127.0.0.1", port)
        try:
            transport, _ = await create_turn_endpoint(
                asyncio.DatagramProtocol, address, username=username, password=password, transport="tcp"
            )
        except TransactionFailed as refused:
            if refused.response.attributes["ERROR-CODE"][0] == 401:
                return False
            raise
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        transport.close()
        return True

    return lambda username, password: asyncio.run(asyncio.wait_for(ask(username, password), 30))


def test_the_credential_of_a_ticket_is_taken(port, allocates):
    turn = Turn(f"turn:127.0.0.1:{port}?transport=tcp", SECRET)
    with Rolecall(
        "123456",
        "2df95e9fdac14502e8a27a9d8a71e87ef64a502e",
        media=LiveKit(
            "wss://media.example", "APIrolecallTest1", "throwaway-livekit-secret-0123456789abcdefABCDEF", turn=turn
        ),
    ) as kit:
        grant = kit.verify_token(kit.create_session().generate_token(actor="Ada Lovelace"))
        server = kit.ticket(grant).credentials["turn"]
    assert allocates(server["username"], server["credential"])


@pytest.mark.parametrize("user", ["ada@example.org", "a b", "a:b", "Zoë 雪", "雪" * 255, "%", "-"], ids=ascii)
def test_each_user_has_a_name_that_the_server_reads(allocates, user):
    assert allocates(*Turn("turn:x", SECRET).credential(user, int(time.time()) + 60))


def test_both_secrets_are_taken_and_no_third(allocates):
    end = int(time.time()) + 60
    assert allocates(*Turn("turn:x", OLD).credential("ada", end))
    assert not allocates(*Turn("turn:x", "another" + SECRET).credential("ada", end))


@pytest.mark.parametrize("change", ["user", "time", "password", "expired"])
def test_a_changed_or_expired_credential_is_refused(allocates, change):
    turn, end = Turn("turn:x", SECRET), int(time.time()) + 60
    username, password = turn.credential("ada", end)
    changed = {
        "user": (f"{end}:bob", password),
        "time": (f"{end + 3600}:ada", password),
        "password": (username, f"{'B' if password[0] == 'A' else 'A'}{password[1:]}"),
        "expired": turn.credential("ada", end - 65),
    }
    assert turn.verify(username, password, end)
    assert not turn.verify(*changed[change], time.time())
    assert not allocates(*changed[change])


def test_the_longest_life_of_a_token_is_taken(allocates):
    assert allocates(*Turn("turn:x", SECRET).credential("ada", int(time.time()) + MAX_LIFETIME))
