"""Objects of S3 to local files, fast: by obstore, led to the same place as s3fs is.

s3fs does all else. One process of it is bound by its own use of the CPU long before the network is (see
`benchmarks/steps/test_staging.py`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.redaction import remember_secrets
from scaledproc.storage.retry import refuses_object, seconds_for

if TYPE_CHECKING:
    from obstore import Bytes, GetOptions, GetResult

    from scaledproc.storage.retry import RetryPolicy

REQUESTS = 128
"""At once, each in a thread: as many as answers that take 30 ms need so that small objects do not wait for them. More
than a near store needs, and no slower there (`test_requests` in `benchmarks/steps/test_staging.py`)."""
PART = 8 * 2**20  # bytes of a request; larger objects come in several at once
LARGEST_PART = 4 * PART
WAYS = 16
"""So many parts at once are enough, and larger ones are cheaper for the server: of 8 objects of 64 MiB, a twentieth of
the time (`benchmarks/steps/test_staging.py`). What fails is asked for again from its part's beginning, so there is an
end."""
SMALL = 2**20  # bytes of an object that is waited for no longer than a drip of bytes deserves
BUFFER = 128 * 2**10  # bytes of a piece on its way to its file: it stays in the processor's caches
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


class UnwritableError(OSError):
    """An object's key is what no local file's name can be."""


# An object's key may be what no file's name can: 1,024 bytes without a slash, or both a file and a folder.
_NO_NAME = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL})


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
    if not are_known(options):
        return None
    try:
        small, large = _stores(fs, bucket, options, (SMALL, LARGEST_PART))
        return S3Objects(large, small, fs.retry)
    except (ImportError, ValueError, TypeError):
        return None


def are_known(options: Mapping[str, Any]) -> bool:
    """Whether another client can be led by options of s3fs to the same place, to read."""
    return (
        not set(options) - _KNOWN
        and not set(options.get("client_kwargs") or {}) - {"region_name", "endpoint_url"}
        and not set(options.get("s3_additional_kwargs") or {}) - _ENCRYPTION
        and not set(options.get("config_kwargs") or {}) - _KNOWN_CONFIG
    )


@dataclass(frozen=True)
class ByteRange:
    """What one request asks for: an object, or a part of a large one.

    Parameters
    ----------
    item
        The object.
    start, stop
        Its bytes.
    """

    item: Wanted
    start: int
    stop: int

    @property
    def is_part(self) -> bool:
        """Whether the object has others."""
        return self.stop - self.start < self.item.size


class S3Objects:
    """A bucket's objects, for reading.

    Parameters
    ----------
    store, small
        obstore's, which try nothing again. The second one is for small objects: an answer must be there sooner.
    retry
        How long each request is tried again.
    """

    def __init__(self, store: Any, small: Any, retry: RetryPolicy) -> None:
        self._store = store
        self._small = small
        self._retry = retry

    def fetch(self, groups: Sequence[Sequence[Wanted]]) -> list[OSError | None]:
        """Write objects to their local files, many at once.

        So many requests are under way, each with a buffer of its own: memory does not grow with the objects.

        Parameters
        ----------
        groups
            What belongs together: an object that cannot be had ends the others of its group, and no other group.

        Returns
        -------
        list
            For each group None, or what is wrong with one of its objects: FileNotFoundError, PermissionError,
            ChangedError, UnwritableError if it is gone, forbidden, another one, or cannot have its name here.

        Raises
        ------
        OSError
            If the store cannot be reached, sends what cannot be, or does not know who asks; or the disk is full.
            Nothing else is begun.
        """
        wrong = [problem_of(partial(_prepare, group)) for group in groups]
        part = _part_size(sum(item.size for group in groups for item in group))
        pieces = deque(
            (number, piece) for number, group in enumerate(groups) for item in group for piece in _cut(item, part)
        )
        over = threading.Event()

        def work() -> None:
            while True:
                try:
                    number, piece = pieces.popleft()
                except IndexError:
                    return
                if wrong[number] is None and (problem := problem_of(partial(self._fetch_with_retries, piece, over))):
                    wrong[number] = problem

        try:
            running = [_threads().submit(work) for _ in range(min(len(pieces), REQUESTS))]
            wait(running, return_when=FIRST_EXCEPTION)
        finally:  # what is under way ends, as nobody may write when this has returned
            pieces.clear()
            over.set()
            wait(running)
        for each in running:
            each.result()
        return wrong

    def _fetch_with_retries(self, piece: ByteRange, over: threading.Event) -> None:
        begun, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return self._fetch(piece)
            except (ConnectionError, WrongAnswerError) as error:
                pause = self._retry.wait(attempt, time.monotonic() - begun, "passing", None, _random.random())
                if pause is None or over.wait(pause):
                    raise OSError(f"{error} ({attempt} attempts)") from None

    def _fetch(self, piece: ByteRange) -> None:
        """Write a piece of an object: of the version that was listed, and whole."""
        import obstore

        item = piece.item
        options: GetOptions = {}
        if item.size:  # also for all of it: the answer then says twice how long it is
            options["range"] = (piece.start, piece.stop)
        if item.etag:
            options["if_match"] = f'"{item.etag}"'
        try:
            found = obstore.get(self._small if item.size <= SMALL else self._store, item.key, options=options)
        except Exception as error:
            raise _told(error, item.name) from None
        meta = found.meta
        is_other = item.etag and (meta["e_tag"] or "").strip('"') != item.etag  # not every store heeds if_match
        if is_other or (item.size and meta["size"] != item.size):
            raise ChangedError(f"{item.name} changed since it was listed")
        at = piece.start
        file = _open(item.target, 0 if piece.is_part else os.O_TRUNC)
        try:
            for buffer in _body(found, piece):
                at += _write(file, buffer, at)
        finally:
            os.close(file)
        if at != piece.stop:
            raise WrongAnswerError(f"{item.name}: {at - piece.start:,} bytes came of {piece.stop - piece.start:,}")


def _part_size(total: int) -> int:
    """Bytes of a request, where so many are fetched."""
    return min(max(-(-total // (WAYS * PART)), 1) * PART, LARGEST_PART)


def _cut(item: Wanted, part: int) -> list[ByteRange]:
    return [ByteRange(item, start, min(start + part, item.size)) for start in range(0, max(item.size, 1), part)]


def _body(found: GetResult, piece: ByteRange) -> Iterator[Bytes]:
    try:
        if piece.stop - piece.start <= BUFFER:
            yield found.bytes()
        else:
            yield from found.stream(min_chunk_size=BUFFER)
    except Exception as error:
        raise _told(error, piece.item.name) from None


def _prepare(group: Sequence[Wanted]) -> None:
    """Make the folders of a group's files, and the files that come in parts."""
    with writing():
        for folder in {item.target.parent for item in group}:
            folder.mkdir(parents=True, exist_ok=True)
    for item in group:
        if item.size > PART:
            os.close(_open(item.target, os.O_TRUNC))


def _open(target: Path, flags: int) -> int:
    """A local file to write at any place of it.

    Its bare descriptor: each call of the system gives the interpreter to another thread, and Python's file makes two
    more of them for each of many small objects.
    """
    try:
        return os.open(target, os.O_WRONLY | os.O_CREAT | flags, 0o666)
    except (FileNotFoundError, PermissionError) as error:
        raise _unwritten(error) from None


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Local files are made: FileNotFoundError and PermissionError are then no object's, and are told as an OSError."""
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise _unwritten(error) from None


def _unwritten(error: OSError) -> OSError:
    return OSError(f"cannot be written: {error}")


def problem_of(action: Callable[[], None]) -> OSError | None:
    """What is wrong with one object, where that is why an action fails; what would fail others too is raised."""
    try:
        action()
    except CredentialsError:
        raise
    except (FileNotFoundError, PermissionError, ChangedError) as error:
        return error
    except OSError as error:
        if error.errno in _NO_NAME:
            return UnwritableError(f"its files cannot have their names on a disk: {error.strerror}")
        raise
    return None


def _write(file: int, buffer: Bytes, at: int) -> int:
    """Write all of a buffer at a place of a file; a full disk may take a part of it before it refuses."""
    done = os.pwrite(file, buffer, at)
    while done < len(buffer):
        done += os.pwrite(file, memoryview(buffer)[done:], at + done)
    return done


def _told(error: Exception, name: str) -> Exception:
    """An error of obstore's as the system's; another one as it is."""
    from obstore import exceptions

    if isinstance(error, FileNotFoundError):
        is_all = _code_in(error) == "NoSuchBucket"
        return OSError(f"{name}: the bucket is gone") if is_all else FileNotFoundError(name)
    if isinstance(error, exceptions.PreconditionError) or _code_in(error) == "InvalidRange":
        return ChangedError(f"{name} changed since it was listed")
    if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        code = _code_in(error) or "AccessDenied"
        # No more of the text: it names the endpoint, and errors.parquet is the same wherever the dataset lies.
        return (PermissionError if refuses_object(code) else CredentialsError)(f"{name} is refused ({code})")
    if isinstance(error, exceptions.BaseError):
        return ConnectionError(f"{name}: {_first_line(error)}")
    return error


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
            _pool = (os.getpid(), ThreadPoolExecutor(REQUESTS, thread_name_prefix="object"))
        return _pool[1]


def _stores(fs: Any, bucket: str, options: dict[str, Any], sizes: tuple[int, ...]) -> list[Any]:
    """The bucket, as obstore has it: endpoint, region and credentials are what botocore finds for s3fs.

    Once for each size: its requests may take as long as so many bytes need.
    """
    from obstore.store import S3Store

    region, endpoint, is_aws = place_of(fs, bucket)
    given: dict[str, Any] = {"region": region}
    if not is_aws:
        given["endpoint"] = endpoint
    if options.get("requester_pays"):
        given["request_payer"] = True
    if options.get("anon"):
        given["skip_signature"] = True
    else:
        given["credential_provider"] = credentials_of(options)
    return [
        S3Store(
            bucket,
            **given,
            retry_config={"max_retries": 0},  # it does not see every fault, and does not share our count of attempts
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=fs.seconds_to_connect),
                "read_timeout": timedelta(seconds=fs.seconds_to_read),
                "timeout": timedelta(seconds=seconds_for(size, fs.seconds_to_read)),
            },
        )
        for size in sizes
    ]


def place_of(fs: Any, bucket: str) -> tuple[str, str, bool]:
    """The region and the endpoint that botocore finds for s3fs, and whether AWS's region alone gives the endpoint.

    Raises
    ------
    ValueError
        If s3fs goes by certificates that another client does not know of.
    """
    fs.connect()
    found = fs.s3.meta
    region, endpoint = str(found.region_name or "us-east-1"), str(found.endpoint_url)
    if endpoint.startswith("https://") and (os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")):
        raise ValueError("certificates of one's own")
    if region == "aws-global":
        region = "us-east-1"
    is_aws = _AWS.fullmatch(endpoint) is not None
    return (_region_of(fs, bucket) or region) if is_aws else region, endpoint, is_aws


def _region_of(fs: Any, bucket: str) -> str | None:
    """Where AWS has a bucket, which it says also to those whom it refuses: s3fs is led there, obstore is not."""
    try:
        answer = fs.call_s3("head_bucket", Bucket=bucket)
    except OSError as error:
        answer = getattr(error.__cause__, "response", None) or {}
    found = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(found) if found else None


def credentials_of(options: Mapping[str, Any]) -> Any:
    """What gives credentials each time they are needed, renewed where they expire.

    Raises
    ------
    ValueError
        If there are none, neither among the options nor where AWS's client looks for them.
    """
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
        remember_secrets({"secret": now.secret_key, "token": now.token})
        # botocore renews those of roles before they end: asked again soon, it is never too late.
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        }

    return current
