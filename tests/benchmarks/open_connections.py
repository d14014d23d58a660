"""What open WebSockets cost, and how soon they end: ``python -m tests.benchmarks.open_connections [STORE]``.

Guarded WebSockets in one process, without a server: the CPU time that they take while nothing happens, beside as many
without a guard; how soon one is closed after its token was revoked, counted from the acknowledgement; and how long the
event loop is held up at most when one of them, and when all of them lose their grant.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from rolecall import Rolecall, Web
from rolecall_starlette import require_token

#: The seconds for which idle WebSockets are looked at.
IDLE = 5.0


class Client:
    """The server's side of one WebSocket."""

    def __init__(self, app: Any, session_id: str, token: str | None) -> None:
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.opened, self.closed_at = asyncio.Event(), 0.0
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        scope = {
            "type": "websocket",
            "path": f"/rooms/{session_id}",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "subprotocols": [],
        }
        self.task = asyncio.create_task(app(scope, self.inbox.get, self._send))

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.accept":
            self.opened.set()
        elif message["type"] == "websocket.close":
            self.closed_at = time.perf_counter()
            self.leave()

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})


async def listen(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        pass


def app_of(kit: Rolecall, *, guarded: bool) -> Starlette:
    app = Starlette(routes=[WebSocketRoute("/rooms/{session_id}", require_token(listen) if guarded else listen)])
    app.state.rolecall = kit
    return app


async def cpu(seconds: float) -> float:
    """The share of one core that this process takes, in percent."""
    began, used = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    return 100 * (time.process_time() - used) / (time.perf_counter() - began)


async def longest_gap(work: Callable[[], Awaitable[object]]) -> float:
    """The longest that the loop was held up during ``work``, in milliseconds."""
    gaps, is_done = [0.0], False

    async def tick() -> None:
        last = time.perf_counter()
        while not is_done:
            await asyncio.sleep(0.001)
            last, began = time.perf_counter(), last
            gaps.append(last - began - 0.001)

    ticking = asyncio.create_task(tick())
    await work()
    is_done = True
    await ticking
    return 1000 * max(gaps)


async def measure(kit: Rolecall, count: int, singles: int) -> None:
    session = kit.create_session()
    tokens = [session.generate_token() for _ in range(count)]
    for guarded in (False, True):
        app = app_of(kit, guarded=guarded)
        clients = [Client(app, session.session_id, token) for token in tokens]
        for client in clients:
            await client.opened.wait()
        await asyncio.sleep(0.5)
        print(f"  {count} {'guarded' if guarded else 'without a guard'}, idle: {await cpu(IDLE):.2f} % of a core")
        if not guarded:
            for client in clients:
                client.leave()
            await asyncio.gather(*(client.task for client in clients))

    waits: list[float] = []
    gaps: list[float] = []
    for number in range(singles):
        await asyncio.sleep(0.013 * (number % 5))

        async def revoke(number: int = number) -> None:
            await kit.aio.revoke_token(tokens[number])
            acknowledged = time.perf_counter()
            await clients[number].task
            waits.append(1000 * (clients[number].closed_at - acknowledged))

        gaps.append(await longest_gap(revoke))
    waits.sort()
    print(
        f"  one closed after: median {statistics.median(waits):.0f} ms, longest {waits[-1]:.0f} ms; "
        f"the loop's longest gap meanwhile: median {statistics.median(gaps):.1f} ms"
    )

    async def end() -> None:
        await kit.aio.end_session(session.session_id)
        acknowledged = time.perf_counter()
        await asyncio.gather(*(client.task for client in clients))
        last = max(client.closed_at for client in clients)
        print(f"  all {count - singles} closed after {1000 * (last - acknowledged):.0f} ms")

    print(f"  the loop's longest gap meanwhile: {await longest_gap(end):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?", default="memory://", help="the URL of a store; memory:// unless given")
    parser.add_argument("--sockets", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--singles", type=int, default=40, help="how many are closed one by one")
    parser.add_argument("--recheck", type=float, default=5.0)
    options = parser.parse_args()
    for count in options.sockets:
        web = Web(recheck=options.recheck)
        with Rolecall("123456", secrets.token_hex(32), store=options.store, entry_points=False, web=web) as kit:
            asyncio.run(measure(kit, count, options.singles))


if __name__ == "__main__":
    main()
