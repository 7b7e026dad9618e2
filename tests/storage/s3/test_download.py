"""Where obstore is led, beside where s3fs goes, and how objects are fetched: without a server."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from scaledproc.storage.retry import RetryPolicy
from scaledproc.storage.s3 import download
from scaledproc.storage.s3.download import (
    BUFFER,
    REQUESTS,
    ChangedError,
    S3Objects,
    UnwritableError,
    Wanted,
    open_bucket,
)


class MadeUpS3:
    """As much of an s3fs filesystem as is asked."""

    def __init__(self, endpoint: str, region: str, options: dict[str, Any], answer: Any = None) -> None:
        self.storage_options = {"anon": True, **options}
        self.s3 = SimpleNamespace(meta=SimpleNamespace(region_name=region, endpoint_url=endpoint))
        self._answer = answer
        self.retry = RetryPolicy()
        self.seconds_to_connect, self.seconds_to_read = 5.0, 15.0

    def connect(self) -> None:
        return None

    def call_s3(self, operation: str, **given: str) -> Any:
        assert (operation, given) == ("head_bucket", {"Bucket": "waves"})
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def config(objects: S3Objects | None) -> dict[str, Any]:
    assert objects is not None
    return dict(objects._store.config)


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """With certificates of one's own, s3fs fetches."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def answer(region: str) -> dict[str, Any]:
    return {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": region}}}


@pytest.mark.parametrize("endpoint", ["https://s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"])
def test_a_bucket_is_read_in_its_own_region(endpoint: str) -> None:
    found = config(open_bucket(MadeUpS3(endpoint, "eu-west-1", {}, answer("us-east-2")), "waves"))
    assert found["region"] == "us-east-2"
    assert "endpoint" not in found


@pytest.mark.parametrize("known", [True, False])
def test_a_bucket_that_says_its_region_to_nobody_is_read_as_is_set(known: bool) -> None:
    error = PermissionError("Forbidden")
    if known:
        error.__cause__ = Exception()
        error.__cause__.response = answer("us-east-2")  # type: ignore[attr-defined]
    found = config(open_bucket(MadeUpS3("https://s3.eu-west-1.amazonaws.com", "eu-west-1", {}, error), "waves"))
    assert found["region"] == ("us-east-2" if known else "eu-west-1")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://s3-fips.us-gov-west-1.amazonaws.com",
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "https://bucket.vpce-0123456789abcdef0-abcdefgh.s3.eu-west-1.vpce.amazonaws.com",
        "http://127.0.0.1:8333",
    ],
)
def test_other_endpoints_are_kept(endpoint: str) -> None:
    assert config(open_bucket(MadeUpS3(endpoint, "eu-west-1", {}), "waves"))["endpoint"] == endpoint


def test_keys_that_are_sent_along_are_left_to_s3fs() -> None:
    endpoint = "http://127.0.0.1:8333"
    of_the_customer = {"s3_additional_kwargs": {"SSECustomerKey": "x"}}
    assert open_bucket(MadeUpS3(endpoint, "eu-west-1", of_the_customer), "waves") is None
    for_writing = {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "x"}}
    assert open_bucket(MadeUpS3(endpoint, "eu-west-1", for_writing), "waves") is not None


class TestFetch:
    """Into local files, from a store in memory: what comes, what is told of what does not, and how much is held."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @staticmethod
    def put(store: MemoryStore, folder: Path, name: str, content: bytes) -> Wanted:
        etag = store.put(name, content)["e_tag"]
        return Wanted(name, name, folder / name, len(content), str(etag).strip('"'))

    def test_many_small_groups_of_which_some_cannot_be_had(self, store: MemoryStore, tmp_path: Path) -> None:
        groups = [[self.put(store, tmp_path, f"{n}/{kind}", b"%d" % n * n) for kind in "ab"] for n in range(300)]
        store.delete("7/b")
        store.put("70/a", b"other")
        long = Wanted("long", "7/a", tmp_path / ("x" * 300), 7)
        wrong = S3Objects(store, store, RetryPolicy()).fetch([*groups, [long], []])
        problems = {number: problem for number, problem in enumerate(wrong) if problem is not None}
        assert {number: type(problem) for number, problem in problems.items()} == {
            7: FileNotFoundError,
            70: ChangedError,
            300: UnwritableError,
        }
        assert str(problems[7]) == "7/b"
        assert str(problems[70]) == "70/a changed since it was listed"
        for number in set(range(300)) - set(problems):
            assert [(item.target).read_bytes() for item in groups[number]] == [b"%d" % number * number] * 2

    def test_what_one_request_says_of_a_group_stays_said(self, store: MemoryStore, tmp_path: Path) -> None:
        others = [self.put(store, tmp_path, str(n), b"x") for n in range(200)]
        gone = Wanted("gone", "gone", tmp_path / "gone", 1)
        for at in (0, 100, 200):
            (wrong,) = S3Objects(store, store, RetryPolicy()).fetch([[*others[:at], gone, *others[at:]]])
            assert isinstance(wrong, FileNotFoundError)

    def test_a_store_that_fails_ends_all(
        self, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def get(*_: Any, **__: Any) -> Any:
            asked.append(1)
            raise GenericError("no route to host")

        groups = [[self.put(store, tmp_path, str(n), b"x")] for n in range(2000)]
        monkeypatch.setattr(obstore, "get", get)
        with pytest.raises(OSError, match=r"no route to host \(1 attempts\)") as caught:
            S3Objects(store, store, RetryPolicy(attempts=1)).fetch(groups)
        assert not isinstance(caught.value, FileNotFoundError | PermissionError | ChangedError)
        assert len(asked) <= 2 * REQUESTS

    def test_a_full_disk_ends_all(self, store: MemoryStore, tmp_path: Path) -> None:
        full = replace(self.put(store, tmp_path, "a", b"x" * 5000), target=Path("/dev/full"))
        with pytest.raises(OSError, match="No space left") as caught:
            S3Objects(store, store, RetryPolicy()).fetch([[full]])
        assert caught.value.errno == errno.ENOSPC

    def test_a_folder_that_may_not_be_written_is_no_fault_of_an_object(
        self, store: MemoryStore, tmp_path: Path
    ) -> None:
        item = replace(self.put(store, tmp_path, "a", b"x"), target=Path("/proc/none/a"))
        with pytest.raises(OSError, match="cannot be written") as caught:
            S3Objects(store, store, RetryPolicy()).fetch([[item]])
        assert not isinstance(caught.value, FileNotFoundError | PermissionError)

    def test_little_is_held_however_large_the_objects(
        self, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of each request one buffer, and a bounded number of requests."""
        lock, under_way, most, longest = threading.Lock(), 0, 0, 0
        real = obstore.get

        class Counted:  # has no `bytes`: these are never taken whole
            def __init__(self, found: Any) -> None:
                self._found, self.meta = found, found.meta

            def stream(self, min_chunk_size: int) -> Iterator[bytes]:
                nonlocal under_way, most, longest
                with lock:
                    under_way += 1
                    most = max(most, under_way)
                whole = memoryview(self._found.bytes())
                for start in range(0, len(whole), min_chunk_size):
                    longest = max(longest, len(whole[start : start + min_chunk_size]))
                    yield bytes(whole[start : start + min_chunk_size])
                with lock:
                    under_way -= 1

        monkeypatch.setattr(obstore, "get", lambda *given, **options: Counted(real(*given, **options)))
        monkeypatch.setattr(download, "PART", 300_000)
        contents = {f"{n}": random.Random(n).randbytes(3_200_000 + n) for n in range(20)}
        groups = [[self.put(store, tmp_path, name, content)] for name, content in contents.items()]
        groups[0][0].target.write_bytes(b"old" * 2_000_000)  # longer than what comes
        assert S3Objects(store, store, RetryPolicy()).fetch(groups) == [None] * 20
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents
        assert 1 < most <= REQUESTS
        assert longest <= BUFFER
