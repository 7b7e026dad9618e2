"""HTTP, politely: one pool of connections, retries for a busy server, downloads that go on where they broke off."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from scaledproc._util.redaction import redacted
from scaledproc.storage.retry import RetryPolicy, fault_of_answer, retry_after

ATTEMPTS = 6  # in a row without a new byte
BACKOFF = 1.0  # seconds before the second attempt; doubled from one to the next
LONGEST_WAIT = 600.0  # seconds; a server that asks for more has refused
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
PIECE = 256 * 1024
GIVE_UP = 8  # files in a row that a server did not answer for: it is gone


class WebError(Exception):
    """A URL cannot be had; the text says why."""


class MissingError(WebError):
    """There is nothing at the URL."""


class LoginError(WebError):
    """The server wants to know who asks."""


class ForbiddenError(WebError):
    """The server does not give it to whoever asks."""


class UnreachableError(WebError):
    """There was no answer, or none that can be used, however often it was asked."""


class StoppedError(Exception):
    """The client was told to stop."""


class _AgainError(Exception):
    """It may work another time: after some seconds, perhaps only from the beginning."""

    def __init__(self, text: str, wait: float | None = None, *, from_start: bool = False) -> None:
        super().__init__(text)
        self.wait = wait
        self.from_start = from_start


class Client:
    """Asks servers for files.

    Parameters
    ----------
    parallel
        Connections at most; further requests wait for one.
    login
        User and password, where the server asks for them.
    """

    def __init__(self, parallel: int, login: tuple[str, str] | None = None) -> None:
        self.parallel = parallel
        self.has_login = login is not None
        self.stop = threading.Event()
        self._not_before = 0.0
        self._session = requests.Session()
        self._session.auth = login
        # Sizes and checksums are of the files as they are, so nothing may be compressed on the way.
        self._session.headers.update(
            {"User-Agent": f"scaledproc/{version('scaledproc')}", "Accept-Encoding": "identity"}
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        pool = requests.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=parallel, pool_block=True)
        self._session.mount("https://", pool)
        self._session.mount("http://", pool)

    def text(self, url: str) -> str:
        """The content of a small text file at a URL.

        Raises
        ------
        WebError
            If the server refuses the file, has none, or does not answer however often it is asked.
        """
        retries = _Retries(self)
        while True:
            try:
                with self._ask("GET", url) as response:
                    return b"".join(_pieces(response)).decode("utf-8", "replace")
            except _AgainError as again:
                retries.after(again)

    def size(self, url: str) -> int | None:
        """The bytes of the file at a URL; None where the server does not say.

        Raises
        ------
        WebError
            If `about` raises it: the file is not there, may not be had, or the server does not answer.
        """
        return self.about(url)[0]

    def about(self, url: str) -> tuple[int | None, str | None]:
        """The bytes of the file at a URL, and what changes when it does; None for what the server does not say.

        Raises
        ------
        WebError
            If the file is not there or may not be had, or the server does not answer however often it is asked.
        """
        retries = _Retries(self)
        while True:
            try:
                with self._ask("HEAD", url) as response:
                    length = response.headers.get("Content-Length", "")
                    is_plain = length.isdigit() and not response.headers.get("Content-Encoding")
                    return int(length) if is_plain else None, _validator(response)
            except _AgainError as again:
                retries.after(again)
            except WebError as error:
                if type(error) is WebError:  # a server that has no HEAD
                    return None, None
                raise

    def download(self, url: str, part: Path, tell: Callable[[int], None] = lambda _: None) -> None:
        """Write a file; after an interruption, go on where it was if the server vouches that it is the same file.

        Parameters
        ----------
        url
            What to get.
        part
            The file to write; what is in it is thrown away.
        tell
            Called with the bytes as they come (less than none when it begins again).

        Raises
        ------
        WebError
            If the server refuses the file, has none, or breaks off so often without a new byte that it is given up.
        StoppedError
            If `stop` is set meanwhile.
        """
        part.unlink(missing_ok=True)
        retries = _Retries(self)
        have = furthest = 0
        validator: str | None = None
        while True:
            wanted = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
            try:
                with self._ask("GET", url, wanted) as response:
                    if response.status_code == requests.codes.partial_content and not _continues(response, have):
                        raise _AgainError("the server sent another part of the file", from_start=True)
                    if response.status_code == requests.codes.ok:
                        tell(-have)
                        have = 0
                    validator = _validator(response)
                    with part.open("ab" if have else "wb") as file:
                        for piece in _pieces(response):
                            if self.stop.is_set():
                                raise StoppedError
                            file.write(piece)
                            have += len(piece)
                            tell(len(piece))
            except _AgainError as again:
                retries.after(again, progressed=have > furthest)
                furthest = max(furthest, have)
                validator = None if again.from_start else validator
            else:
                return

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """An answer that is worth reading."""
        self._wait(self._not_before - time.monotonic())
        try:
            response = self._session.request(
                method, url, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=True
            )
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as error:
            raise UnreachableError(f"no connection: {_reason(error)}") from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise _AgainError(f"no answer: {_reason(error)}") from None
        except requests.exceptions.RequestException as error:
            raise UnreachableError(_reason(error)) from None
        try:
            _check(response)
        except BaseException:
            response.close()
            raise
        return response

    def pause(self, seconds: float, *, everyone: bool) -> None:
        """Wait; with `everyone`, all requests do: a server that is busy for one is busy for all."""
        if everyone:
            self._not_before = max(self._not_before, time.monotonic() + seconds)
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(max(0.0, seconds)):
            raise StoppedError


class _Retries:
    """Counts the attempts, and waits between them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._attempts = 0

    def after(self, again: _AgainError, *, progressed: bool = False) -> None:
        """Wait after an attempt that failed; raise when it was the last one."""
        self._attempts = 1 if progressed else self._attempts + 1
        policy = RetryPolicy(ATTEMPTS, math.inf, BACKOFF, math.inf, LONGEST_WAIT, (0.5, 1.0))
        wait = policy.wait(self._attempts, 0.0, "passing", again.wait, random.random())  # noqa: S311 - no secret
        if wait is None and self._attempts >= ATTEMPTS:
            raise UnreachableError(f"{again}, {ATTEMPTS} times")
        if wait is None:
            raise UnreachableError(f"{again}, and asks to wait for {again.wait:,.0f} s")
        self._client.pause(wait, everyone=again.wait is not None)


def _check(response: requests.Response) -> None:
    status = response.status_code
    if fault_of_answer(status, "") == "passing":
        raise _AgainError(
            f"the server answers {status} {response.reason}".rstrip(), retry_after(response.headers, time.time())
        )
    if status == requests.codes.requested_range_not_satisfiable:
        raise _AgainError("the file has changed", from_start=True)
    if status == requests.codes.unauthorized or (
        response.history and "login" in urlsplit(response.url).path.casefold().split("/")
    ):
        raise LoginError("the server asks for a user and password")
    if status == requests.codes.forbidden:
        raise ForbiddenError("the server forbids it (403)")
    if status in (requests.codes.not_found, requests.codes.gone):
        raise MissingError(f"it is not there ({status})")
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise WebError(f"the server answers {status} {response.reason}".rstrip())


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes, never unpacked."""
    try:
        yield from response.raw.stream(PIECE, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _AgainError(f"the connection broke: {_reason(error)}") from None


def _continues(response: requests.Response, have: int) -> bool:
    return have > 0 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _validator(response: requests.Response) -> str | None:
    """What tells in If-Range that a file is still the same: a strong etag, or the time of its last change."""
    tag = response.headers.get("ETag", "")
    return (tag if tag.startswith('"') else None) or response.headers.get("Last-Modified")


def _reason(error: BaseException) -> str:
    """The innermost cause: urllib3 and requests wrap it several times."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        inner = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        error = inner if isinstance(inner, BaseException) else error
    text = redacted(str(error)).strip().split("\n", 1)[0]
    return text.rpartition(">: ")[2].rpartition("): ")[2] or type(error).__name__
