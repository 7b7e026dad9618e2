"""The main job on Amazon SageMaker itself: `pytest -m aws`, which costs money (the README says how much).

It needs AWS credentials and a region in the environment, and:

- SCALEDPROC_AWS_ROLE: the ARN of the jobs' role, as `scaledproc sagemaker policy` describes it
- SCALEDPROC_AWS_BUCKET: a bucket in that region; all below `scaledproc-test-…/` in it is removed at the end
- SCALEDPROC_AWS_IMAGE, if there is one: the worker's image in ECR; without it, an AWS-managed one
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support import tree_bytes

import scaledproc

pytestmark = pytest.mark.aws

MOST_DOLLARS = 1.0


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    role = os.environ.get("SCALEDPROC_AWS_ROLE")
    if not role or not os.environ.get("SCALEDPROC_AWS_BUCKET"):
        pytest.skip("needs an AWS account: set SCALEDPROC_AWS_ROLE and SCALEDPROC_AWS_BUCKET")
    return {
        "role": role,
        "image_uri": os.environ.get("SCALEDPROC_AWS_IMAGE") or None,
        "instance_type": "ml.t3.medium",
        "combine_instance_type": "ml.t3.medium",
        "max_cost": MOST_DOLLARS,
        "max_runtime": "1h",
    }


@pytest.fixture(scope="module")
def place(settings: dict[str, Any]) -> Iterator[str]:
    """A prefix of the bucket that is removed at the end, with the demo dataset in it."""
    import s3fs

    place = f"s3://{os.environ['SCALEDPROC_AWS_BUCKET']}/scaledproc-test-{uuid4().hex}"
    yield place
    fs = s3fs.S3FileSystem()
    fs.invalidate_cache()
    if fs.exists(place):
        fs.rm(place, recursive=True)


@pytest.mark.parametrize("mode", ["stage", "file"])
def test_the_main_job_gives_the_same_bytes_as_this_machine(
    settings: dict[str, Any], place: str, demo: Path, tmp_path: Path, mode: str
) -> None:
    fetched = scaledproc.fetch(demo, f"{place}/dataset")
    assert not fetched.failed
    scaledproc.run(demo, tmp_path / "here", shards=2)

    run = scaledproc.run(
        f"{place}/dataset",
        f"{place}/{mode}",
        shards=2,
        backend="sagemaker",
        settings={**settings, "input_mode": mode},
    )

    here = tree_bytes(tmp_path / "here")
    for name in ("features.parquet", "errors.parquet", "signal_stats.csv"):
        assert run.store.read(name) == here[name], name
    billed = run.record.backend["billed"]
    assert billed["jobs"] == 3
    assert 0 < billed["usd"] < MOST_DOLLARS
