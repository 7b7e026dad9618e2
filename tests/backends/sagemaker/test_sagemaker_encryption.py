"""With --output-kms-key, every object that a run writes is encrypted with that key, whoever writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto_account import moto_account
from processing_emulator import ProcessingEmulator
from s3server import S3Server
from support import COUNT, forget_s3

import scaledproc
from scaledproc.api.past_runs import _recalled

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"
FILES = {"30/a/a.txt": b"a", "30/a/b.txt": b"poison", "31/c/c.txt": b"ccc"}


@pytest.fixture(scope="module")
def objects() -> Iterator[S3Server]:
    """A store that tells how its objects are encrypted."""
    with moto_account() as server:
        yield server


@pytest.fixture
def client(objects: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of it, with the dataset in a bucket and another bucket for what is written; jobs are emulated."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with ProcessingEmulator(tmp_path / "machines", objects) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        forget_s3()
        made = boto3.client("s3")
        for bucket in ("waves", "features"):
            made.create_bucket(Bucket=bucket)
        for name, content in FILES.items():
            made.put_object(Bucket="waves", Key=f"data/{name}", Body=content)
        (tmp_path / "mine.py").write_text(COUNT)
        yield made
        made.close()
    forget_s3()


def run(tmp_path: Path, output: str, **settings: Any) -> scaledproc.Run:
    return scaledproc.run(
        "s3://waves/data",
        output,
        extractor=f"{tmp_path / 'mine.py'}:count",
        backend="sagemaker",
        jobs=1,
        settings={
            "role": "arn:aws:iam::123456789012:role/scaledproc",
            "image_uri": "scaledproc:test",
            "instance_type": "ml.m5.large",
            "poll_seconds": 0.2,
            **settings,
        },
    )


def encryption(client: Any, prefix: str) -> dict[str, tuple[str | None, str | None]]:
    """How each object below a prefix is encrypted: those that are gone by now too."""
    found = {}
    for version in client.list_object_versions(Bucket="features", Prefix=prefix)["Versions"]:
        head = client.head_object(Bucket="features", Key=version["Key"], VersionId=version["VersionId"])
        found[f"{version['Key']} {version['VersionId']}"] = (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["stage", "file"])
def test_every_object_is_encrypted_with_the_key(client: Any, tmp_path: Path, mode: str) -> None:
    # A bucket with versions keeps what is overwritten and removed during the run.
    client.put_bucket_versioning(Bucket="features", VersioningConfiguration={"Status": "Enabled"})

    done = run(tmp_path, f"s3://features/{mode}", output_kms_key=KEY, input_mode=mode)

    assert done.quarantined == 1
    found = encryption(client, f"{mode}/")
    names = {name.split()[0].removeprefix(f"{mode}/") for name in found}
    assert {"features.parquet", "errors.parquet", "run.json", "plan.parquet", "shards/00000.parquet"} <= names
    assert any(name.startswith("work/code/") for name in names)
    assert any(name.startswith("work/progress/") for name in names)
    assert any(name.startswith("work/control/") for name in names) == (mode == "file")
    assert {name: how for name, how in found.items() if how != ("aws:kms", KEY)} == {}

    recalled, _ = _recalled(f"s3://features/{mode}", None, None)  # as `status` and `stop` do, which write too
    recalled.store.write("work/control/stop", b"")
    assert set(encryption(client, f"{mode}/work/control/stop").values()) == {("aws:kms", KEY)}


@pytest.mark.slow
def test_without_the_key_none_is_named(client: Any, tmp_path: Path) -> None:
    client.put_bucket_versioning(Bucket="features", VersioningConfiguration={"Status": "Enabled"})

    run(tmp_path, "s3://features/plain")

    assert set(encryption(client, "plain/").values()) <= {(None, None), ("AES256", None)}


@pytest.mark.slow
def test_a_large_upload_in_parts_is_encrypted_too(client: Any) -> None:
    from scaledproc.api import make_backend
    from scaledproc.storage.store import Store

    backend = make_backend("sagemaker", settings={"output_kms_key": KEY, "role": "x"})
    store = Store.at("s3://features/large", dict(backend.store_options("output")))
    with store.committing("large.bin") as path:
        path.write_bytes(b"x" * 60 * 2**20)

    head = client.head_object(Bucket="features", Key="large/large.bin")
    assert (head["ContentLength"], head["SSEKMSKeyId"]) == (60 * 2**20, KEY)
