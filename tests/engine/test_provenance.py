"""What run.json tells of where a table comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scaledproc
from scaledproc.testing import PROBE, write_probe_dataset


@pytest.fixture(scope="module")
def probe_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_probe_dataset(tmp_path_factory.mktemp("probe") / "data", poison=True)


def test_run_json_tells_where_the_output_comes_from(probe_data: Path, tmp_path: Path) -> None:
    run = scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, shards=3, jobs=1)
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["state"] == "done"
    assert record["plan_id"] == scaledproc.plan(probe_data, extractor=PROBE).plan_id
    assert record["dataset"] == str(probe_data)
    assert {"scaledproc", "pyarrow", "wfdb", "python"} <= set(record["versions"])
    assert record["counts"]["rows"] == run.to_arrow().num_rows
    assert record["bytes"]["input"] == sum(path.stat().st_size for path in probe_data.rglob("*") if path.is_file())
    assert [shard["shard"] for shard in record["shards"]] == [0, 1, 2]
    assert sum(shard["bytes"] for shard in record["shards"]) == record["bytes"]["input"]
    assert all(shard["work_seconds"] > 0 for shard in record["shards"])
