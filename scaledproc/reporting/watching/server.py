"""One page for whoever has its address, from this machine to this machine alone; nothing can be changed by it."""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    from typing import Self

LOOPBACK = "127.0.0.1"
PATIENCE = 10.0  # seconds for a request to be read
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The names by which a browser on this machine, or at the other end of `ssh -L`, knows the server. A page of another
# site whose name was made to lead here (DNS rebinding) sends that name.
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)


def secret_path() -> str:
    """A path that cannot be guessed."""
    return f"/{secrets.token_urlsafe(24)}/"


class PageServer:
    """Serves a page under one path, to this machine alone. Use as a context manager.

    Parameters
    ----------
    page
        Gives the page's bytes.
    path
        Where: one of `secret_path`.
    port
        To listen on; any that is free where it is 0.

    Raises
    ------
    UsageError
        If the port cannot be had.
    """

    def __init__(self, page: Callable[[], bytes], path: str, port: int = 0) -> None:
        self._path = path
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(page, path))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"--port {port} cannot be had: {reason}; name another, or none for any") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="serve", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self.port}{self._path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(page: Callable[[], bytes], path: str) -> type[BaseHTTPRequestHandler]:
    """What answers requests: GET and HEAD of one path, from a browser that knows this machine by its own name."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "scaledproc"
        sys_version = ""
        timeout = PATIENCE

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            hosts = self.headers.get_all("Host") or []
            if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].strip()):
                self._send(HTTPStatus.MISDIRECTED_REQUEST, b"this is not the server of that name\n", with_body)
            elif not hmac.compare_digest(self.path.encode(errors="replace"), path.encode()):
                self._send(HTTPStatus.NOT_FOUND, b"there is nothing here\n", with_body)
            else:
                self._send(HTTPStatus.OK, page(), with_body, "text/html; charset=utf-8")

        def _send(self, status: HTTPStatus, body: bytes, with_body: bool, kind: str = "text/plain") -> None:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status != HTTPStatus.OK:
                self.send_header("Connection", "close")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the terminal is the command's."""

    return Handler
