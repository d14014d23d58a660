"""TLS in front of servers that speak none, as a proxy does it: ``sdk_tls.py CERTIFICATE KEY LISTENER=PORT …``."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from contextlib import suppress


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def main(certificate: str, key: str, fronts: list[str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    servers = []
    for front in fronts:
        listener, _, port = front.partition("=")

        async def relay(reader, writer, port=int(port)) -> None:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

        servers.append(await asyncio.start_server(relay, sock=socket.socket(fileno=int(listener)), ssl=context))
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
