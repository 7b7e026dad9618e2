"""A server on loopback laid out as PhysioNet is, which can be made to misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PIECE = 16 * 1024
CHANGED = formatdate(1_500_000_000, usegmt=True)


class Fault(NamedTuple):
    """What goes wrong with one answer for a file."""

    status: int = 200
    retry_after: str | None = None
    cut: int | None = None
    """Bytes of the body after which the connection breaks."""
    garbled: bool = False
    """The right number of wrong bytes."""
    part: int | None = None
    """Answer 206 with a part from here on that nobody asked for."""


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass
class PhysioNet:
    """The server's state: the databases' files by URL path below `/files/`, and how it behaves."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """By path: one is used up by each GET."""
    always: dict[str, Fault] = field(default_factory=dict)
    indexes: bool = True
    ranges: bool = True
    validators: bool = True
    lengths: bool = True
    """Whether it tells a size when it is asked for that alone."""
    heads: bool = True
    """Whether it answers HEAD."""
    login: tuple[str, str] | None = None
    login_page: bool = False
    """Send those who are not logged in to a page, as to a browser; otherwise 401."""
    slow: float = 0.0
    """Seconds before each piece of a body."""
    requests: list[Request] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files"

    def publish(self, database: str, files: Mapping[str, bytes], *, sums: bool = True) -> None:
        """Put a database on the server, with a list of its checksums."""
        for path, content in files.items():
            self.files[f"{database}/{path}"] = content
        if sums:
            lines = [f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files.items())]
            self.files[f"{database}/SHA256SUMS.txt"] = "".join(lines).encode()

    def asked(self, method: str = "GET") -> Counter[str]:
        """How often each path was asked for."""
        return Counter(request.path.removeprefix("/files/") for request in self.requests if request.method == method)

    def index(self, folder: str) -> str | None:
        """A folder's page as nginx writes it, or None where there is no such folder."""
        below = {path.removeprefix(folder): content for path, content in self.files.items() if path.startswith(folder)}
        if not below:
            return None
        names = {name.partition("/")[0] + ("/" if "/" in name else ""): len(below[name]) for name in sorted(below)}
        lines = [
            f'<a href="{name}">{name}</a>{"":20}10-Nov-2018 12:00 {"-" if name.endswith("/") else size:>19}'
            for name, size in names.items()
        ]
        title = f"Index of /files/{folder}"
        return f'<html><head><title>{title}</title></head><body><h1>{title}</h1><hr><pre><a href="../">../</a>\n' + (
            "\n".join(lines) + "\n</pre><hr></body></html>\n"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to confirm its head
    net: PhysioNet

    def do_HEAD(self) -> None:
        if self.net.heads:
            self._answer()
        else:
            self._send(405, b"")

    def do_GET(self) -> None:
        with self.net.lock:
            self.net.at_once += 1
            self.net.most_at_once = max(self.net.most_at_once, self.net.at_once)
        try:
            self._answer()
        except ConnectionError:
            self.close_connection = True
        finally:
            with self.net.lock:
                self.net.at_once -= 1

    def _answer(self) -> None:
        net, path = self.net, unquote(urlsplit(self.path).path)
        if path.startswith("/login"):
            return self._send(200, b"<html>Log in</html>", {"Content-Type": "text/html"})
        if net.login and not self._is_known():
            if net.login_page:
                return self._send(302, b"", {"Location": f"/login/?next={path}"})
            return self._send(401, b"", {"WWW-Authenticate": 'Basic realm="PhysioNet"'})
        if path.startswith("/api/v1/projects/"):
            return self._send_versions(path.split("/")[4])
        name = path.removeprefix("/files/")
        if name.endswith("/"):
            page = net.index(name) if net.indexes else None
            return self._send(200, page.encode(), {"Content-Type": "text/html"}) if page else self._send(404, b"")
        fault = net.always.get(name, Fault())
        if self.command == "GET" and net.faults.get(name):
            fault = net.faults[name].pop(0)
        if fault.status != 200:
            return self._send(fault.status, b"", {"Retry-After": fault.retry_after} if fault.retry_after else {})
        if name not in net.files:
            return self._send(404, b"no such file")
        return self._send_file(net.files[name], fault)

    def _send_file(self, content: bytes, fault: Fault) -> None:
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": tag, "Last-Modified": CHANGED} if self.net.validators else {}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if not self.net.ranges or (start and self.headers.get("If-Range") not in (None, tag)):
            start = 0
        if fault.part is not None:
            start = fault.part
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = bytes(byte ^ 0xFF for byte in content) if fault.garbled else content
        self._send(206 if start else 200, body[start:], headers, cut=fault.cut)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None) -> None:
        with self.net.lock:
            self.net.requests.append(Request(self.command, urlsplit(self.path).path, dict(self.headers), status))
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if self.command == "GET" or self.net.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for at in range(0, len(body[:cut]), PIECE):
            time.sleep(self.net.slow)
            self.wfile.write(body[:cut][at : at + PIECE])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def _send_versions(self, name: str) -> None:
        versions = sorted({path.split("/")[1] for path in self.net.files if path.startswith(f"{name}/")})
        if not versions:
            return self._send(404, b"{}")
        return self._send(200, json.dumps([{"slug": name, "version": version} for version in versions]).encode())

    def _is_known(self) -> bool:
        user, password = self.net.login or ("", "")
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.headers.get("Authorization") == expected

    def log_message(self, *_: object) -> None:
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        return None  # a client that went away


@contextmanager
def physionet_server() -> Iterator[PhysioNet]:
    """Serve until the block ends."""
    net = PhysioNet()
    handler = type("Handler", (_Handler,), {"net": net})
    with _Server(("127.0.0.1", 0), handler) as server:
        net.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield net
        finally:
            server.shutdown()
            thread.join()
