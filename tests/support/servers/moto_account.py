"""An AWS account on loopback, by moto: it knows what requests look like and what became of objects; it runs no jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from s3server import S3Server


@contextmanager
def moto_account() -> Iterator[S3Server]:
    """Start its server; what it calls an S3 server answers for all services."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}", "test", "testtest")
    finally:
        server.stop()
