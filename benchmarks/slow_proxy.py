"""Passes TCP connections on to a server and holds every request back: `python slow_proxy.py HOST PORT SECONDS`.

A process of its own, so that it takes nothing from what is measured but its share of the machine. It prints its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def serve(host: str, port: int, latency: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pass_on(reader, far_writer, latency), pass_on(far_reader, writer, 0.0))

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 20):
            if latency:
                await asyncio.sleep(latency)
            writer.write(data)
            await writer.drain()
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
