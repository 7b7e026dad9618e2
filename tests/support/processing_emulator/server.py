"""HTTP on loopback: requests of AWS's JSON and query protocols in, answers out."""

from __future__ import annotations

import secrets
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from xml.sax.saxutils import escape

HOST = "127.0.0.1"
Answer = tuple[int, str, bytes]  # status, content type, body
Answerer = Callable[[str, str, dict[str, str], bytes], Answer]  # method, path, headers by lower name, body


class Server:
    """A server that gives every request to one function, in threads; `failures` are those of the server itself."""

    def __init__(self, answer: Answerer) -> None:
        self.failures: list[str] = []
        self._http = _Http((HOST, 0), _Handler)
        self._http.answerer, self._http.failures = answer, self.failures
        self.endpoint = f"http://{HOST}:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="emulator")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()  # waits for the threads of the requests


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    answerer: Answerer
    failures: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = traceback.format_exc()
        if "BrokenPipeError" not in error and "ConnectionResetError" not in error:  # the caller went away
            self.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # one request a connection: no idle connection holds a thread
    timeout = 10

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, kind, content = cast(_Http, self.server).answerer(self.command, self.path, headers, body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-amzn-RequestId", secrets.token_hex(16))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_POST  # noqa: N815 - so called by the class above

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the class above
        pass


def xml_error(code: str, message: str) -> bytes:
    kind = f"<Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return f"<ErrorResponse><Error>{kind}</Error><RequestId>emulator</RequestId></ErrorResponse>".encode()


def xml_result(action: str, namespace: str, members: dict[str, str]) -> bytes:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    result = f"<{action}Result>{inner}</{action}Result>"
    meta = "<ResponseMetadata><RequestId>emulator</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{namespace}">{result}{meta}</{action}Response>'.encode()
