"""One page, for one machine: what else is asked for, and by whom, is refused."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from scaledproc.errors import UsageError
from scaledproc.reporting.watching.server import PageServer, secret_path

PAGE = b"<!doctype html><main>hello</main>"
PATH = "/as-secret_AS-the-others-are_1234/"


@pytest.fixture(scope="module")  # its end takes half a second
def server() -> Iterator[PageServer]:
    with PageServer(lambda: PAGE, PATH) as made:
        yield made


def ask(
    server: PageServer, path: str = PATH, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_the_page(server: PageServer) -> None:
    answer, body = ask(server)
    assert (answer.status, body) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in answer.headers["Server"]
    assert server.url == f"http://127.0.0.1:{server.port}{PATH}"


def test_its_head(server: PageServer) -> None:
    answer, body = ask(server, method="HEAD")
    assert (answer.status, body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(PAGE))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        PATH.rstrip("/"),
        f"{PATH}x",
        f"{PATH}../",
        f"{PATH}?a=1",
        PATH.swapcase(),
        "/..%2f..%2fetc/passwd",
        "/é",
    ],
)
def test_nothing_else_is_there(server: PageServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as asked:
        asked.sendall(f"GET {path or '/'} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = asked.recv(65536)
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert PAGE not in answer
    assert PATH.encode() not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"])
def test_it_can_only_be_read(server: PageServer, method: str) -> None:
    answer, body = ask(server, method=method)
    assert answer.status == 501
    assert PAGE not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:80", "127.0.0.1:9000", "[::1]:8000"])
def test_names_of_this_machine(server: PageServer, host: str) -> None:
    """Another port too: that of the other end of `ssh -L`."""
    assert ask(server, Host=host)[0].status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil", ""),
        *("127.0.0.1:x", "0.0.0.0", "localhost:80, evil.example", "127.0.0.2", "[::2]"),
    ],
)
def test_another_name_that_leads_here_is_refused(server: PageServer, host: str) -> None:
    """DNS rebinding: the page of another site has its browser ask this server under that site's name."""
    answer, body = ask(server, Host=host)
    assert answer.status == 421
    assert PAGE not in body


@pytest.mark.parametrize("lines", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_no_name_or_two_are_refused(server: PageServer, lines: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as asked:
        asked.sendall(f"GET {PATH} HTTP/1.1\r\n{lines}\r\n".encode())
        assert asked.recv(65536).startswith(b"HTTP/1.1 421 ")


def test_only_this_machine_reaches_it(server: PageServer) -> None:
    """It listens at the loopback address alone, not at all of the machine's."""
    assert server._server.server_address[0] == "127.0.0.1"
    with socket.socket() as other:
        other.bind(("127.0.0.2", server.port))  # would be taken by a server that listens everywhere


def test_a_port_that_is_taken_is_told(server: PageServer) -> None:
    for port in (server.port, 70_000):
        with pytest.raises(UsageError, match=f"--port {port} cannot be had"):
            PageServer(lambda: PAGE, PATH, port)


def test_each_path_is_another() -> None:
    assert len({secret_path() for _ in range(100)}) == 100
    assert all(len(secret_path()) > 30 for _ in range(10))
