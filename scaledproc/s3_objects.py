"""Objects of S3 to local files, fast: by obstore, led to the same place as s3fs is.

s3fs does all else. One process of it is bound by its own use of the CPU long before the network is (see
`benchmarks/test_staging.py`).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc.patience import refuses_object, seconds_for

if TYPE_CHECKING:
    from obstore import GetOptions

    from scaledproc.patience import Patience

THREADS = 32
PART = 32 * 2**20  # bytes of a request; larger objects come in several at once
BUFFER = 4 * 2**20
# Options of s3fs that obstore can be given, or that do not matter for reading. With any other, s3fs fetches.
_KNOWN = {"key", "secret", "token", "anon", "endpoint_url", "profile", "requester_pays", "s3_additional_kwargs"}
_KNOWN |= {"client_kwargs", "default_block_size", "max_concurrency", "config_kwargs", "use_listings_cache"}
_KNOWN_CONFIG = {"read_timeout", "connect_timeout", "retries"}


_ENCRYPTION = {"ServerSideEncryption", "SSEKMSKeyId"}  # for writing: reading needs no word of them
_AWS = re.compile(r"https://s3(\.[a-z]{2,4}(-[a-z]+)+-\d+)?\.amazonaws\.com/?")
"""The endpoints that obstore makes of a region; not those of other partitions, of FIPS or of a VPC."""


_CODE = re.compile(r"<Code>(\w+)</Code>")
_random = random.Random()  # noqa: S311 - not the one that a user may have seeded, alike in every process


class ChangedError(OSError):
    """An object is not what it was when it was listed."""


class CredentialsError(PermissionError):
    """The store does not know who asks, or not any more: it is no matter of one object."""


class WrongAnswerError(OSError):
    """What a store sent contradicts itself."""


@dataclass(frozen=True)
class Wanted:
    """An object to fetch.

    Parameters
    ----------
    name
        What a person knows it by.
    key
        Below the bucket.
    target
        The local file to write.
    size
        Bytes, as listed.
    etag
        As listed, without quotes; empty where it is not known.
    """

    name: str
    key: str
    target: Path
    size: int
    etag: str = ""


def open_bucket(fs: Any, bucket: str) -> S3Objects | None:
    """What fetches a bucket's objects in the place of an s3fs filesystem; None where only s3fs can."""
    options = dict(fs.storage_options)
    client = options.get("client_kwargs") or {}
    if set(options) - _KNOWN or set(client) - {"region_name", "endpoint_url"}:
        return None
    if set(options.get("s3_additional_kwargs") or {}) - _ENCRYPTION:
        return None
    if set(options.get("config_kwargs") or {}) - _KNOWN_CONFIG:
        return None
    try:
        return S3Objects(_store(fs, bucket, options), fs.patience)
    except (ImportError, ValueError, TypeError):
        return None


class S3Objects:
    """A bucket's objects, for reading.

    Parameters
    ----------
    store
        obstore's, which tries nothing again.
    patience
        How long each request is tried again.
    """

    def __init__(self, store: Any, patience: Patience) -> None:
        self._store = store
        self._patience = patience

    def fetch(self, wanted: Iterable[Wanted]) -> None:
        """Write objects to their local files, many at once.

        Raises
        ------
        FileNotFoundError, PermissionError, ChangedError
            An object is gone, forbidden, or another one.
        OSError
            The store cannot be reached, sends what cannot be, or does not know who asks; or the disk is full.
        """
        pieces = [(item, start) for item in wanted for start in range(0, max(item.size, 1), PART)]
        for item, start in pieces:
            if not start:
                item.target.touch()
        failed: list[BaseException] = []
        over = threading.Event()

        def do(piece: tuple[Wanted, int]) -> None:
            if over.is_set():
                return
            try:
                self._fetch_patiently(*piece, over)
            except BaseException as error:  # the others are not begun
                failed.append(error)
                over.set()

        list(_threads().map(do, pieces))
        if failed:
            raise failed[0]

    def _fetch_patiently(self, item: Wanted, start: int, over: threading.Event) -> None:
        begun, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return self._fetch(item, start)
            except (ConnectionError, WrongAnswerError) as error:
                wait = self._patience.wait(attempt, time.monotonic() - begun, "passing", None, _random.random())
                if wait is None or over.wait(wait):
                    raise OSError(f"{error} ({attempt} attempts)") from None

    def _fetch(self, item: Wanted, start: int) -> None:
        """Write a piece of an object: of the version that was listed, and whole."""
        import obstore

        options: GetOptions = {}
        stop = min(start + PART, item.size)
        if item.size:  # also for all of it: the answer then says twice how long it is
            options["range"] = (start, stop)
        if item.etag:
            options["if_match"] = f'"{item.etag}"'
        with _told(item.name), item.target.open("r+b") as file:
            found = obstore.get(self._store, item.key, options=options)
            is_other = (
                item.etag and (found.meta["e_tag"] or "").strip('"') != item.etag
            )  # not every store heeds if_match
            if is_other or (item.size and found.meta["size"] != item.size):
                raise ChangedError(f"{item.name} changed since it was listed")
            file.seek(start)
            for buffer in found.stream(min_chunk_size=BUFFER):
                file.write(buffer)
            if file.tell() != max(stop, start) and item.size:
                raise WrongAnswerError(f"{item.name}: {file.tell() - start:,} bytes came of {stop - start:,}")


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Obstore's errors as the system's."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if _code_in(error) == "NoSuchBucket":
            raise OSError(f"{name}: the bucket is gone") from None
        raise FileNotFoundError(name) from None
    except exceptions.PreconditionError:
        raise ChangedError(f"{name} changed since it was listed") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        is_of_all = not refuses_object(_code_in(error) or "AccessDenied")
        raise (CredentialsError if is_of_all else PermissionError)(f"{name}: {_first_line(error)}") from None
    except exceptions.BaseError as error:
        if _code_in(error) == "InvalidRange":
            raise ChangedError(f"{name} changed since it was listed") from None
        raise ConnectionError(f"{name}: {_first_line(error)}") from None


def _code_in(error: Exception) -> str:
    """S3's code in obstore's text of an error; empty where there is none."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


_pool: tuple[int, ThreadPoolExecutor] | None = None
_lock = threading.Lock()


def _threads() -> ThreadPoolExecutor:
    """The process's threads for requests; shared by all that fetch."""
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid():
            _pool = (os.getpid(), ThreadPoolExecutor(THREADS, thread_name_prefix="object"))
        return _pool[1]


def _store(fs: Any, bucket: str, options: dict[str, Any]) -> Any:
    """An obstore of the bucket: endpoint, region and credentials are what botocore finds for s3fs."""
    from obstore.store import S3Store

    fs.connect()
    found = fs.s3.meta
    region, endpoint = str(found.region_name or "us-east-1"), str(found.endpoint_url)
    if endpoint.startswith("https://") and (os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")):
        raise ValueError("certificates of one's own")
    if region == "aws-global":
        region = "us-east-1"
    given: dict[str, Any] = {"region": region}
    if _AWS.fullmatch(endpoint):
        given["region"] = _region_of(fs, bucket) or region
    else:
        given["endpoint"] = endpoint
    if options.get("requester_pays"):
        given["request_payer"] = True
    if options.get("anon"):
        given["skip_signature"] = True
    else:
        given["credential_provider"] = _credentials(options)
    return S3Store(
        bucket,
        **given,
        retry_config={"max_retries": 0},  # it does not see every fault, and does not share our count of attempts
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=fs.seconds_to_connect),
            "read_timeout": timedelta(seconds=fs.seconds_to_read),
            "timeout": timedelta(seconds=seconds_for(PART, fs.seconds_to_read)),
        },
    )


def _region_of(fs: Any, bucket: str) -> str | None:
    """Where AWS has a bucket, which it says also to those whom it refuses: s3fs is led there, obstore is not."""
    try:
        answer = fs.call_s3("head_bucket", Bucket=bucket)
    except OSError as error:
        answer = getattr(error.__cause__, "response", None) or {}
    found = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(found) if found else None


def _credentials(options: dict[str, Any]) -> Any:
    """What gives credentials each time they are needed, renewed where they expire."""
    from datetime import UTC, datetime, timedelta

    if options.get("key"):
        fixed = {"access_key_id": options["key"], "secret_access_key": options.get("secret")}
        return lambda: {**fixed, "token": options.get("token"), "expires_at": None}
    from botocore.session import Session

    held = Session(profile=options.get("profile")).get_credentials()
    if held is None:
        raise ValueError("no credentials")

    def current() -> dict[str, Any]:
        now = held.get_frozen_credentials()
        # botocore renews those of roles before they end: asked again soon, it is never too late.
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        }

    return current
