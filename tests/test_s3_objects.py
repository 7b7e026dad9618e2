"""Where obstore is led, beside where s3fs goes: without a server, by what it is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scaledproc.patience import Patience
from scaledproc.s3_objects import S3Objects, open_bucket


class MadeUpS3:
    """As much of an s3fs filesystem as is asked."""

    def __init__(self, endpoint: str, region: str, options: dict[str, Any], answer: Any = None) -> None:
        self.storage_options = {"anon": True, **options}
        self.s3 = SimpleNamespace(meta=SimpleNamespace(region_name=region, endpoint_url=endpoint))
        self._answer = answer
        self.patience = Patience()
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
