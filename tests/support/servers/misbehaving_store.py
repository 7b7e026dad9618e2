"""A proxy on loopback, in front of the S3 server, that misbehaves as it is told: each fault is a plain decision."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from s3server import HOST, S3Server

FAULTS = (
    "slow_down",  # 503, with or without Retry-After
    "internal_error",  # 500
    "reset_before",  # the connection is reset before the request is forwarded
    "reset_request",  # … in the middle of its body
    "reset_after",  # … when it was carried out, before the answer: the PUT that succeeded without saying so
    "reset_body",  # … in the middle of the answer's body
    "truncated",  # half of the answer's body, then the end
    "short_length",  # half of the answer's body, and a Content-Length that agrees
    "long_length",  # a Content-Length that promises more than there is
    "stale",  # a listing as it was before: without fresh keys, with removed ones
    "drip",  # a byte now and then
    "pause",  # carried out, and silence
    "late",  # silence, and carried out when nobody waits for it any more
)
_REFUSALS = {
    "slow_down": ("503 Slow Down", "SlowDown"),
    "internal_error": ("500 Internal Server Error", "InternalError"),
    # None of FAULTS, for they do not pass:
    "forbidden": ("403 Forbidden", "AccessDenied"),
    "expired": ("403 Forbidden", "ExpiredToken"),
}
HELD = "held"
"""None of FAULTS either: silence until the test lets it go, and then carried out, whoever waits for it by then."""
MOST_HELD = 120.0  # seconds
OF_BODIES = frozenset({"reset_body", "truncated", "short_length", "long_length", "drip"})
Head = dict[str, str]


@dataclass(frozen=True)
class Request:
    """What a decision knows of a request."""

    method: str
    key: str
    """With the bucket, not quoted."""
    query: tuple[tuple[str, str], ...]
    range: str
    count: int
    """How often the same was asked before."""

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and ("list-type", "2") in self.query

    @property
    def is_change(self) -> bool:
        """Whether others see what it does."""
        is_upload = any(name in ("uploads", "partNumber") for name, _ in self.query)
        return self.method in ("PUT", "POST", "DELETE") and not is_upload

    @property
    def identity(self) -> str:
        query = [(name, value) for name, value in self.query if name not in ("uploadId", "continuation-token")]
        return f"{self.method} {self.key} {query} {self.range}"


Decision = Callable[[Request], str | None]


def seeded(seed: int, rate: float, faults: Collection[str] = FAULTS) -> Decision:
    """So many of the requests fail, each by chance by one of some faults that it can have; the same for a seed."""

    def decide(request: Request) -> str | None:
        draw = random.Random(f"{seed} {request.count} {request.identity}")
        if draw.random() >= rate:
            return None
        return draw.choice([fault for fault in FAULTS if fault in faults and can_have(request, fault)] or [None])

    return decide


def can_have(request: Request, fault: str) -> bool:
    """Whether a fault is one of such a request at all."""
    if fault == "stale":
        return request.is_listing
    if fault == "reset_request":
        return request.method in ("PUT", "POST")
    return request.method in ("GET", "POST") if fault in OF_BODIES else True


def once(fault: str, method: str, ending: str, times: int = 1) -> Decision:
    """The first requests of a kind, for a key with an ending."""
    left = [times]

    def decide(request: Request) -> str | None:
        if request.method == method and request.key.endswith(ending) and left[0]:
            left[0] -= 1
            return fault
        return None

    return decide


@dataclass
class MisbehavingStore:
    """The running proxy; what it counted.

    Parameters
    ----------
    server
        What is behind it.
    decide
        What is done to each request; may be set anew at any time.
    pause
        Seconds of silence.
    """

    server: S3Server
    decide: Decision = lambda request: None
    pause: float = 3.0
    port: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    log: list[tuple[Request, str | None]] = field(default_factory=list)
    longest: float = 0.0
    """Seconds from a request to the end of its connection, or of its answer: how long a client was made to wait."""
    hook: Callable[[Request], None] = lambda request: None
    """Called in a thread before a request is forwarded."""
    let_go: threading.Event = field(default_factory=threading.Event)
    """Set to carry out what is held."""
    held: list[Request] = field(default_factory=list)
    _serving: set[asyncio.Task[Any]] = field(default_factory=set)
    _seen: Counter[str] = field(default_factory=Counter)
    _listings: dict[str, list[bytes]] = field(default_factory=dict)
    _fresh: dict[str, None] = field(default_factory=dict)

    @property
    def front(self) -> S3Server:
        """The server as clients shall see it."""
        return replace(self.server, endpoint=f"http://{HOST}:{self.port}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)  # asyncio itself would let go of one that waits for a client that is gone
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
            with suppress(OSError):
                writer.close()
        finally:
            self._serving.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line, head = await _head(reader)
        method, target, _ = line.split(" ", 2)
        started = time.monotonic()
        request = self._request(method, target, head)
        fault = self.decide(request)
        self.requests[method] += 1
        self.log.append((request, fault))
        if "expect" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(head.get("content-length", 0))
        if fault == "reset_request" and length > 1:
            await reader.readexactly(length // 2)
            self.faults[fault] += 1
            return _reset(writer)
        body = await reader.readexactly(length)
        gone = asyncio.ensure_future(_gone(reader)) if fault in ("pause", "late", "drip") else None
        try:
            return await self._answer(request, fault, (line, head, body), writer, gone)
        finally:
            self.longest = max(self.longest, time.monotonic() - started)
            if gone is not None:
                gone.cancel()

    def _request(self, method: str, target: str, head: Head) -> Request:
        parts = urlsplit(target)
        query = tuple(sorted((k, v[0]) for k, v in parse_qs(parts.query, keep_blank_values=True).items()))
        request = Request(method, unquote(parts.path).lstrip("/"), query, head.get("range", ""), 0)
        count = self._seen[request.identity]
        self._seen[request.identity] += 1
        return replace(request, count=count)

    async def _answer(
        self,
        request: Request,
        fault: str | None,
        asked: tuple[str, Head, bytes],
        writer: asyncio.StreamWriter,
        gone: asyncio.Future[None] | None,
    ) -> bool:
        if fault in _REFUSALS:
            self.faults[fault] += 1
            return await _refuse(writer, request, fault, with_hint=request.count % 2 == 1)
        if fault == "reset_before":
            self.faults[fault] += 1
            return _reset(writer)
        if fault == HELD:
            self.held.append(request)
            await asyncio.to_thread(self.let_go.wait, MOST_HELD)
        if fault == "late" and gone is not None:
            self.faults[fault] += 1
            await asyncio.wait([gone], timeout=self.pause)
        await asyncio.to_thread(self.hook, request)
        status, head, body = await _forward(self.server, *asked)
        self._note(request, status)
        if fault == "pause" and gone is not None:
            self.faults[fault] += 1
            await asyncio.wait([gone], timeout=self.pause)
        if fault == "reset_after":
            self.faults[fault] += 1
            return _reset(writer)
        if request.is_listing and status.startswith("200"):
            body = self._listing(request, body, is_stale=fault == "stale")
        is_head = request.method == "HEAD"
        if not is_head:
            head["content-length"] = str(len(body))
        if fault in OF_BODIES and len(body) > 1:
            self.faults[fault or ""] += 1
            return await _send_badly(writer, fault or "", status, head, body, gone, self.pause)
        writer.write(_head_bytes(status, head) + (b"" if is_head else body))
        await writer.drain()
        return fault not in ("pause", "late")

    def _note(self, request: Request, status: str) -> None:
        """Remember which keys are fresh."""
        if status.startswith("2") and request.method == "PUT":
            self._fresh[request.key.partition("/")[2]] = None

    def _listing(self, request: Request, body: bytes, *, is_stale: bool) -> bytes:
        """A listing; a stale one is an answer to the same question from before, else one without what is fresh."""
        before = self._listings.setdefault(request.identity, [])
        if is_stale:
            self.faults["stale"] += 1
            draw = random.Random(f"{request.count} {request.identity}")
            return draw.choice(before) if before else self._without_fresh(body)
        before.append(body)
        return body

    def _without_fresh(self, body: bytes) -> bytes:
        def kept(match: re.Match[bytes]) -> bytes:
            key = unquote(match[1].decode())
            return b"" if key in self._fresh else match[0]

        return re.sub(rb"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", kept, body, flags=re.DOTALL)


@contextmanager
def misbehaving(
    server: S3Server, decide: Decision = lambda request: None, pause: float = 3.0
) -> Iterator[MisbehavingStore]:
    """Run the proxy in a thread of its own."""
    store = MisbehavingStore(server, decide, pause)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def run() -> None:
        async with await asyncio.start_server(store.serve, HOST, 0, limit=2**20) as listening:
            store.port = listening.sockets[0].getsockname()[1]
            ready.set()
            await over.wait()
            listening.close()
        while left := asyncio.all_tasks() - {asyncio.current_task()}:  # a client may come until the very end
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        await asyncio.sleep(0.05)  # their connections are closed meanwhile

    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="misbehaving store", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield store
    finally:
        store.let_go.set()
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


async def _head(reader: asyncio.StreamReader) -> tuple[str, Head]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return lines[0], {name.lower(): value.strip() for name, _, value in pairs}


def _head_bytes(status: str, head: Head) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in head.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _gone(reader: asyncio.StreamReader) -> None:
    """Return when the client has left."""
    with suppress(OSError):
        while await reader.read(65536):
            pass


def _reset(writer: asyncio.StreamWriter) -> bool:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def _refuse(writer: asyncio.StreamWriter, request: Request, fault: str, *, with_hint: bool) -> bool:
    status, code = _REFUSALS[fault]
    body = (
        b""
        if request.method == "HEAD"
        else f"<Error><Code>{code}</Code><Message>Please wait.</Message></Error>".encode()
    )
    head = {"content-type": "application/xml", "content-length": str(len(body))}
    if with_hint and fault in FAULTS:
        head["retry-after"] = "0.2"
    writer.write(_head_bytes(status, head) + body)
    await writer.drain()
    return True


async def _forward(server: S3Server, line: str, head: Head, body: bytes) -> tuple[str, Head, bytes]:
    """The server's answer, whole."""
    place = urlsplit(server.endpoint)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
    try:
        sent = {name: value for name, value in head.items() if name not in ("expect", "connection")}
        lines = [line, *(f"{name}: {value}" for name, value in sent.items()), "connection: close"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        await writer.drain()
        first, answer = await _head(reader)
        status = first.partition(" ")[2]
        answer.pop("connection", None)
        if line.startswith("HEAD ") or status[:3] in ("204", "304"):
            return status, answer, b""
        if answer.pop("transfer-encoding", "") == "chunked":
            return status, answer, await _chunks(reader)
        if "content-length" in answer:
            return status, answer, await reader.readexactly(int(answer["content-length"]))
        return status, answer, await reader.read()
    finally:
        writer.close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readline()
    return b"".join(pieces)


async def _send_badly(
    writer: asyncio.StreamWriter,
    fault: str,
    status: str,
    head: Head,
    body: bytes,
    gone: asyncio.Future[None] | None,
    pause: float,
) -> bool:
    half = len(body) // 2
    if fault == "short_length":
        writer.write(_head_bytes(status, {**head, "content-length": str(half)}) + body[:half])
        await writer.drain()
        return True
    if fault == "long_length":
        head = {**head, "content-length": str(len(body) + 1000)}
    writer.write(_head_bytes(status, head))
    if fault == "drip":
        assert gone is not None
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await writer.drain()
            if (await asyncio.wait([gone], timeout=pause / 10))[0]:
                return False
        return False
    writer.write(body if fault == "long_length" else body[:half])
    await writer.drain()
    return _reset(writer) if fault == "reset_body" else False
