"""A server on loopback that answers real boto3 clients of AWS's JSON services, for those that no emulator has."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Mapping[str, Any]], tuple[int, Mapping[str, Any]]]


class AwsJson:
    """What is asked and answered.

    Parameters
    ----------
    answers
        By operation: from the request's body to a status and a body.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.port = 0

    def client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
        )


@contextlib.contextmanager
def aws_json(answers: Mapping[str, Answer]) -> Iterator[AwsJson]:
    """Answer until the block ends."""
    service = AwsJson(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            service.requests.append((operation, body))
            status, answer = service.answers[operation](body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def denied(_: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """The answer to somebody who may not ask."""
    return 400, {"__type": "AccessDeniedException", "message": "not authorized to perform this"}
