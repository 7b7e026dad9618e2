"""The end of a run that a job makes, as the last one of a run that was detached."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Cli

import scaledproc
from scaledproc.events import RunStarted
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, write_probe_dataset


def begun(folder: Path) -> Path:
    """A run whose shards are made by jobs, long after it was started."""

    def leave(event: object) -> None:
        if isinstance(event, RunStarted):
            raise KeyboardInterrupt

    write_probe_dataset(folder / "data")
    out = folder / "out"
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(folder / "data", out, extractor=PROBE, shards=2, jobs=1, on_event=leave)
    return out


@pytest.mark.report
@pytest.mark.parametrize("starts", [1, 2])
def test_the_time_of_the_run_is_not_that_of_its_last_job(tmp_path: Path, cli: Cli, starts: int) -> None:
    out = begun(tmp_path)
    run = RunFolder.open(Store.at(out))
    # From an earlier end, as an update has it: it is no time of this one.
    earlier = {"last_start_seconds": 7.0} if starts > 1 else {}
    timings = {**run.record.timings, **earlier, "started": "2026-01-01T00:00:00+00:00", "starts": starts}
    run.with_record(timings=timings)
    for words in (["--shard", "0"], ["--shard", "1"], ["--combine", "--finish"]):
        done = cli("worker", out, *words, "--jobs", "1")
        assert done.returncode == 0, done.stderr
    found = Run.open(out).record
    assert found.state == "done"
    if starts == 1:
        assert found.timings["last_start_seconds"] > 24 * 3600
    else:  # nobody noted when it was continued
        assert "last_start_seconds" not in found.timings
    page = (out / "report.html").read_text()
    assert ("From the start to the end" in page) == (starts == 1)
