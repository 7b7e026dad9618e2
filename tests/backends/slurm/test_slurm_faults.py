"""What fails on a cluster costs no row: a real Slurm of two nodes, jobs that are killed, nodes that are lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from slurm_support import Slurm

import scaledproc
from scaledproc.api import status, stop, verify
from scaledproc.backends.batch.job_command import jobs_name
from scaledproc.run_folder.folder import RunFolder
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, output_bytes
from scaledproc.testing.probes import write_probe_dataset

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

WAIT = 90.0  # seconds


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class Driver:
    """A run of a dataset by the command, in a process of its own."""

    def __init__(self, folder: Path, *, seconds: float, shards: int) -> None:
        self.folder = folder
        self.dataset = write_probe_dataset(folder / "data", poison=True, seconds=seconds)
        self.cuts = {"shards": str(shards), "chunk": "1"}

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def words(self, *settings: str) -> list[str]:
        command = [sys.executable, "-m", "scaledproc", "run", str(self.dataset), str(self.output), "--extractor", PROBE]
        options = ["--backend", "slurm", "--jobs", "1", "--poll-seconds", "0.3", "--max-failures", "100%", "--json"]
        cuts = [word for name, value in self.cuts.items() for word in (f"--{name}", value)]
        return [*command, *options, *cuts, *settings]

    @contextmanager
    def running(self, *settings: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(self.words(*settings), stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def committed(self, shard: int) -> int:
        """Chunks of a shard that are committed, and not made into it yet."""
        folder = self.output / f"work/{shard:05d}"
        return len([name for name in folder.glob("*.parquet") if "errors" not in name.name])

    def is_as_local(self) -> bool:
        local = scaledproc.run(
            self.dataset,
            self.folder / "local",
            extractor=PROBE,
            backend="local",
            jobs=8,  # its tasks sleep
            **self.cuts,  # type: ignore[arg-type]
        )
        return output_bytes(local.store) == output_bytes(Store.at(str(self.output)))


def notes(said: str) -> list[str]:
    return [event["text"] for event in map(json.loads, said.splitlines()) if event["event"] == "Note"]


def test_a_job_killed_a_node_lost_and_a_time_limit_cost_no_row(slurm: Slurm, tmp_path: Path) -> None:
    driver = Driver(tmp_path, seconds=6.0, shards=4)
    with driver.running() as process:
        wait_until(lambda: all(driver.committed(shard) for shard in range(4)))
        on_first = slurm.call("squeue", "--noheader", "--array", f"--nodelist={slurm.nodes[0]}", "--format=%A").split()
        lost = slurm.call("squeue", "--noheader", "--array", f"--nodelist={slurm.nodes[1]}", "--format=%A").split()
        assert (len(on_first), len(lost)) == (2, 2)
        slurm.call("scancel", "--signal=KILL", "--batch", on_first[0])
        slurm.call("scontrol", "update", f"JobId={on_first[1]}", "EndTime=now+1")
        slurm.kill_node(slurm.nodes[1])
        said, _ = process.communicate(timeout=4 * WAIT)

    assert process.returncode == 0, said
    assert any("signal 9 ended it" in note for note in notes(said))
    assert any(
        "it was told to end, as before a time limit" in note or "ran into its time" in note for note in notes(said)
    )
    for job in lost:
        assert "Restarts=1" in slurm.call("scontrol", "show", "job", job)
    assert driver.is_as_local()


def test_jobs_that_more_urgent_ones_push_aside_go_on_later(slurm: Slurm, tmp_path: Path) -> None:
    driver = Driver(tmp_path, seconds=2.0, shards=4)
    with driver.running("--slurm-partition", "main") as process:
        wait_until(lambda: all(driver.committed(shard) for shard in range(4)))
        jobs = slurm.call("squeue", "--noheader", "--array", "--format=%A").split()
        urgent = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
        slurm.call("sbatch", *urgent)
        said, _ = process.communicate(timeout=4 * WAIT)

    assert process.returncode == 0, said
    assert not any("submitted again" in note for note in notes(said))  # Slurm itself puts them back into the queue
    for job in jobs:
        assert "Restarts=1" in slurm.call("scontrol", "show", "job", job)
    assert driver.is_as_local()


def test_nobody_watches_and_anybody_stops(slurm: Slurm, tmp_path: Path) -> None:
    driver = Driver(tmp_path, seconds=0.1, shards=3)
    subprocess.run(driver.words("--detach"), check=True, capture_output=True)
    wait_until(lambda: any(driver.committed(shard) for shard in range(3)))
    assert stop(driver.output) > 0
    wait_until(lambda: not slurm.call("squeue", "--noheader"))
    assert status(driver.output).state == "stopped"

    subprocess.run(driver.words("--detach"), check=True, capture_output=True)
    wait_until(lambda: status(driver.output).state == "done")
    assert driver.is_as_local()


def test_a_detached_run_with_retries_leaves_nothing_when_the_first_array_ends_well(
    slurm: Slurm, tmp_path: Path
) -> None:
    driver = Driver(tmp_path, seconds=0.1, shards=3)
    subprocess.run(driver.words("--detach", "--slurm-retries", "2"), check=True, capture_output=True)
    wait_until(lambda: status(driver.output).state == "done")
    wait_until(lambda: not slurm.call("squeue", "--noheader"))

    ended = slurm.call("squeue", "--noheader", "--array", "--states=all", "--name", name_of(driver), "--format=%T")
    assert sorted(ended.split()) == ["CANCELLED"] * 6 + ["COMPLETED"] * (3 + 1)
    assert not (driver.output / "work").exists()
    found = verify(driver.output)
    assert (found.problems, found.notes) == ((), ())
    assert driver.is_as_local()


def test_a_detached_run_that_was_cut_short_is_made_whole(slurm: Slurm, tmp_path: Path) -> None:
    """The first array is there and works; nothing that follows it was submitted."""
    driver = Driver(tmp_path, seconds=1.0, shards=3)
    (tmp_path / "bin").mkdir()
    real, count = shutil.which("sbatch"), tmp_path / "count"
    (tmp_path / "bin/sbatch").write_text(  # kills the driver at its second array
        f'#!/bin/sh\ncase "$*" in *--test-only*) exec {real} "$@";; esac\n'
        f'[ -e {count} ] && kill -9 $PPID && exit 1\ntouch {count}\nexec {real} "$@"\n'
    )
    (tmp_path / "bin/sbatch").chmod(0o755)
    words = driver.words("--detach", "--slurm-retries", "1")
    killed = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    assert subprocess.run(words, check=False, capture_output=True, env=killed).returncode == -9
    assert len(slurm.call("squeue", "--noheader", "--array", "--format=%T").split()) == 3

    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "3 jobs submitted after 3 jobs, then job" in done.stdout
    wait_until(lambda: status(driver.output).state == "done")
    wait_until(lambda: not slurm.call("squeue", "--noheader"))
    assert driver.is_as_local()


def name_of(driver: Driver) -> str:
    name: str = jobs_name(RunFolder.open(Store.at(str(driver.output))))
    return name


HUNGRY = """
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def hungry(task):
    taken = bytearray(700_000_000)
    return {"path": f"{task.anchor} {len(taken)}"}
"""


@pytest.mark.usefixtures("slurm_with_limits")
def test_a_job_that_lacked_memory_is_said_to_be_that_and_gets_more(tmp_path: Path) -> None:
    (tmp_path / "data/g1").mkdir(parents=True)
    (tmp_path / "data/g1/a.txt").write_text("x")
    (tmp_path / "hungry.py").write_text(HUNGRY)
    told: list[Any] = []

    def go(**settings: str) -> scaledproc.Run:
        return scaledproc.run(
            tmp_path / "data",
            tmp_path / "out",
            extractor=f"{tmp_path}/hungry.py:hungry",
            backend="slurm",
            jobs=1,
            settings={"poll_seconds": 0.3, "mem": "500MiB", **settings},
            on_event=told.append,
        )

    with pytest.raises(scaledproc.ScaledprocError, match="it took more memory than it was given"):
        go()
    found = go(memory_step="1GiB")
    assert found.to_arrow()["path"].to_pylist() == ["g1/a.txt 700000000"]
    assert any("submitted again: it was killed, as it took more memory" in getattr(event, "text", "") for event in told)
