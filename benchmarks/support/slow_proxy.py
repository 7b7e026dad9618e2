"""Passes TCP connections on to a server and holds every request back: `python slow_proxy.py HOST PORT SECONDS`.

A process of its own, so that it takes nothing from what is measured but its share of the machine. It prints its port.
What a client sends is passed on after so many seconds; answers are passed on at once, as many as there are, and nothing
waits for anything else. With 0 seconds it shows what the proxy itself costs.
"""

from __future__ import annotations

import asyncio
import socket
import sys

PIECE = 256 * 2**10  # bytes that are passed on at once


class _Side(asyncio.BufferedProtocol):
    """One end of a connection: what it receives goes to the other end."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = bytearray(PIECE)
        self._held: list[bytes] = []
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in self._held:
            transport.write(data)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        assert self.other is not None
        data = bytes(memoryview(self._buffer)[:nbytes])
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self.other.send, data)
        else:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        if self.transport is None:
            self._held.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:  # the other end sends no more until this one has taken what it has
        assert self.other is not None
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        assert self.other is not None
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.other is not None
        if self.other.transport is not None:
            self.other.transport.close()


async def serve(host: str, port: int, latency: float) -> None:
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[object]] = set()

    def accept() -> _Side:
        near, far = _Side(latency), _Side(0.0)
        near.other, far.other = far, near
        task: asyncio.Task[object] = loop.create_task(_connect(loop, near, far, host, port))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return near

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def _connect(loop: asyncio.AbstractEventLoop, near: _Side, far: _Side, host: str, port: int) -> None:
    try:
        await loop.create_connection(lambda: far, host, port)
    except OSError:
        if near.transport is not None:
            near.transport.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
