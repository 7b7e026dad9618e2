"""Units of remote data in bounded scratch space."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import Bucket

import scaledproc
from scaledproc.events import ChunkDone, Event, ShardDone
from scaledproc.reporting.report import report_html
from scaledproc.run_folder.shard_report import read_report, unknown_costs, write_report
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE


def test_a_unit_larger_than_the_scratch_space_is_staged_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    from scaledproc.execution import staging

    fs = fsspec.filesystem("memory")
    for unit, count in (("u1", 5), ("u2", 3)):
        for number in range(count):
            fs.pipe_file(f"/in-scratch/{unit}/t{number}.txt", b"line\n" * 10)
    plan = scaledproc.plan("memory://in-scratch", extractor=PROBE, shards=1, chunk=2)
    chunks = list(plan.chunks(0))
    with staging.Stager(Store.at("memory://in-scratch"), plan, chunks, capacity=60) as stager:
        stager.stage(chunks[0]).result()
        assert not stager.admits(chunks[3])
    # Two chunks share a unit that fills the space: the second one must still get in.
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=120))
    run = scaledproc.run("memory://in-scratch", tmp_path / "out", extractor=PROBE, shards=1, chunk=2)
    assert run.to_arrow().num_rows == 80


def test_units_have_their_room_until_they_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    import threading

    import fsspec

    from scaledproc.execution import staging

    fs = fsspec.filesystem("memory")
    for number in range(6):
        fs.pipe_file(f"/slowly-removed/u{number}/t.txt", b"line\n" * 10)
    plan = scaledproc.plan("memory://slowly-removed", extractor=PROBE, shards=1, chunk=1)
    first, second, *_ = plan.chunks(0)
    may_remove = threading.Event()
    rmtree = shutil.rmtree

    def slowly(path: Path, **options: Any) -> None:
        assert may_remove.wait(60)
        rmtree(path, **options)

    with staging.Stager(Store.at("memory://slowly-removed"), plan, [first, second], capacity=60) as stager:
        monkeypatch.setattr("shutil.rmtree", slowly)
        (staged,) = stager.stage(first).result().values()
        stager.release(first)  # does not wait
        assert not stager.admits(second)
        assert staged.root.exists()
        may_remove.set()
        wait(stager.removals())
        assert stager.admits(second)
        assert not staged.root.exists()
    # A whole run whose scratch space holds one unit waits for each removal, and goes on by itself.
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=120))
    run = scaledproc.run("memory://slowly-removed", tmp_path / "out", extractor=PROBE, shards=1, chunk=1)
    assert run.to_arrow().num_rows == 60


SLOW = 0.4
"""Seconds that the files of one chunk take to be there."""


@pytest.mark.parametrize("jobs", [1, 2])
def test_how_long_cores_wait_for_files_is_told(
    jobs: int, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scaledproc.execution import staging

    for unit in range(6):
        (tmp_path / f"data/{unit}").mkdir(parents=True)
        (tmp_path / f"data/{unit}/t.txt").write_text("line\n" * 10)
    s3.fs.put(f"{tmp_path / 'data'}/", s3.url(f"waits{jobs}/"), recursive=True)
    monkeypatch.setattr(staging, "FETCHES", 1)
    fetch = staging.Stager._fetch

    def slowly(stager: staging.Stager, units: Sequence[int]) -> staging.StagedUnits:
        time.sleep(SLOW)
        return fetch(stager, units)

    monkeypatch.setattr(staging.Stager, "_fetch", slowly)
    told: list[Event] = []
    options: dict[str, Any] = {"extractor": PROBE, "shards": 2, "chunk": 1, "jobs": jobs}
    where: dict[str, Any] = {"storage_options": s3.storage_options}
    staged = scaledproc.run(s3.url(f"waits{jobs}"), tmp_path / "s", on_event=told.append, **options, **where)
    local = scaledproc.run(tmp_path / "data", tmp_path / "local", **options)

    seconds = staged.record.timings["staging_seconds"]
    # One chunk after the other is fetched. One core has nothing to do meanwhile; of two processes that is known of the
    # first chunk alone, as they begin with that.
    least = {1: 6 * SLOW, 2: 2 * SLOW}[jobs]
    wall = staged.record.timings["last_start_seconds"]
    assert 0.9 * least <= seconds <= jobs * wall
    by_shard = {each["shard"]: each.get("staging_seconds", 0.0) for each in staged.record.shards}
    assert sum(by_shard.values()) == pytest.approx(seconds, abs=0.01)
    assert by_shard[0] > SLOW
    assert sum(event.staging for event in told if isinstance(event, ChunkDone)) == pytest.approx(seconds, abs=0.01)
    line = staged.record.timings["timeline"]
    assert sum(line["staging"]) == pytest.approx(seconds, abs=0.05)
    busy = [one + other for one, other in zip(line["busy"], line["staging"], strict=True)]
    assert max(busy) <= jobs * line["width"] * 1.01

    assert features(staged) == features(local)
    assert "staging" not in json.dumps({"timings": local.record.timings, "shards": local.record.shards})
    html, plain = (report_html(run).partition("</style>")[2] for run in (staged, local))
    assert "waiting for files to be staged" in html
    assert 'class="area wait"' in html
    assert not any(words in plain for words in ("staged", "Waiting for files", "area wait"))


def test_what_is_waited_for_is_kept_over_a_new_start(tmp_path: Path) -> None:
    done = ShardDone(0, 1, 1, 1, 1.0, 0, staging=2.5)
    found, _ = read_report(write_report(done, unknown_costs(1)))
    assert found.staging == 2.5
    old = json.loads(write_report(done, unknown_costs(1)))
    del old["staging"]
    assert read_report(json.dumps(old).encode())[0].staging == 0.0, "an earlier version's"


def features(run: scaledproc.Run) -> bytes:
    return Path(run.features).read_bytes()
