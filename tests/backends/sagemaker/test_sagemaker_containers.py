"""A whole plan by the SageMaker SDK's local mode: real containers of the worker's image, data in a real S3 server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from uuid import uuid4

import pytest
from support import Bucket, Cli, tree_bytes

import scaledproc

# What is the same wherever a plan is run; the others say where its files lie and when.
SAME = ("features.parquet", "errors.parquet", "signal_stats.csv", "plan.parquet")


@pytest.mark.slow
@pytest.mark.docker
class TestLocalMode:
    def test_two_hosts_and_the_last_job(
        self, s3: Bucket, demo: Path, worker_image: str, sdk: None, cli: Cli, tmp_path: Path
    ) -> None:
        shutil.copytree(demo, tmp_path / "data")
        (tmp_path / "data/31/3100112/broken.hea").write_text("broken 1 125 10\nabsent.dat 16 200 16 0 0 0 0 II\n")
        expected = scaledproc.run(tmp_path / "data", tmp_path / "here", jobs=1, chunk=8)
        data, out = s3.url(f"data-{uuid4().hex}"), s3.url(f"out-{uuid4().hex}")
        scaledproc.fetch(tmp_path / "data", data, storage_options=s3.storage_options)
        words = ("--backend", "sagemaker", "--instance-type", "local", "--image-uri", worker_image)
        more = ("--instances", "2", "--poll-seconds", "0.5", "--max-failures", "1", "--chunk", "8", "--storage-option")
        endpoint = f"endpoint_url={s3.server.endpoint}"
        result = cli("run", data, out, *words, *more, endpoint, env=s3.server.environment())
        assert result.returncode == 0, result.stderr
        there = s3.objects(out.removeprefix(f"s3://{s3.name}/"))
        here = tree_bytes(tmp_path / "here")
        shards = [name for name in here if name.startswith("shards/")]
        assert len(shards) == expected.record.counts["shards"] == 3
        for name in (*SAME, *shards):
            assert there[name] == here[name], name
        record = json.loads(there["run.json"])
        assert record["state"] == "done"
        assert record["backend"]["billed"]["jobs"] == 2
        assert not [name for name in there if name.startswith("work/")]
