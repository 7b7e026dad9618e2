"""Tests that every backend must pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import scaledproc
from scaledproc.demo import write_demo
from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Event
from scaledproc.run_folder.names import WORK
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing.probes import COUNT, CUTS, PROBE, output_bytes, probe, write_probe_dataset

if TYPE_CHECKING:
    import pytest


class BackendConformance:
    """What a backend promises, as tests. Override the attributes and hooks below where a backend needs it."""

    backend: ClassVar[str] = "local"
    jobs: ClassVar[int | None] = None
    storage_options: Mapping[str, Any] = {}
    counts: ClassVar[bool] = True
    """Whether an environment variable and a file of this machine reach the backend's processes."""

    commits_before_kill: ClassVar[int] = 3
    """How much is to be committed before the run is killed, as `committed` counts it."""

    def committed(self, store: Store) -> int:
        """Hook: how much of an unfinished run is there: chunks, where the backend shows them."""
        return _committed(store)

    def place(self, folder: Path) -> str:
        """Hook: where a local folder's content can be reached by the backend's machines; copies it if need be."""
        return str(folder)

    def new_output(self, folder: Path) -> str:
        """Hook: a new output URL that the backend's machines can write; `folder` does not exist."""
        return str(folder)

    def command(self, dataset: str, output: str, *arguments: str) -> list[str]:
        """Hook: the command that runs the backend in a process of its own, to be killed."""
        jobs = ("--jobs", str(self.jobs)) if self.jobs else ()
        return [
            *(sys.executable, "-m", "scaledproc", "run", dataset, output, "--backend", self.backend),
            *(*jobs, *arguments),
        ]

    def run(self, dataset: str, output: str, **arguments: Any) -> Run:
        """Run the backend under test."""
        arguments = {"extractor": PROBE, "jobs": self.jobs, "storage_options": self.storage_options, **arguments}
        return scaledproc.run(dataset, output, backend=self.backend, **arguments)

    @staticmethod
    def reference(dataset: Path, output: Path, **arguments: Any) -> Run:
        """The run that all others must equal: one process, one task a chunk."""
        arguments = {"extractor": PROBE, "chunk": "1", "shards": "1", **arguments}
        return scaledproc.run(dataset, output, backend="local", jobs=1, **arguments)

    def test_same_bytes_for_any_cuts(self, tmp_path: Path) -> None:
        """Whatever the shards, the chunks and the cores: the same table and errors, and the same shards."""
        dataset = write_probe_dataset(tmp_path / "data", poison=True)
        place = self.place(dataset)
        for number, (shards, chunk) in enumerate(CUTS):
            expected = self.reference(dataset, tmp_path / f"reference{number}", shards=shards)
            found = self.run(place, self.new_output(tmp_path / f"out{number}"), shards=shards, chunk=chunk)
            assert output_bytes(found.store) == output_bytes(expected.store), (shards, chunk)
            assert left_of(found) == [], (shards, chunk)
            assert found.store.read("features.parquet") == (tmp_path / "reference0/features.parquet").read_bytes()
            assert found.store.read("errors.parquet") == (tmp_path / "reference0/errors.parquet").read_bytes()

    def test_same_bytes_for_waveforms(self, tmp_path: Path) -> None:
        """The built-in extractor, its names and its summary."""
        dataset = write_demo(tmp_path / "data")
        expected = self.reference(dataset, tmp_path / "reference", extractor="wfdb-summary", shards="folder")
        found = self.run(self.place(dataset), self.new_output(tmp_path / "out"), extractor="wfdb-summary")
        assert set(output_bytes(found.store)) > {"features.parquet", "errors.parquet", "signal_stats.csv"}
        assert output_bytes(found.store) == output_bytes(expected.store)

    def test_each_task_exactly_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every task is done once, and is in the table or in the errors."""
        monkeypatch.setenv(COUNT, str(tmp_path / "count"))
        dataset = write_probe_dataset(tmp_path / "data", poison=True)
        events: list[Event] = []
        found = self.run(
            self.place(dataset), self.new_output(tmp_path / "out"), shards="3", chunk="2", on_event=events.append
        )
        planned = found.plan.tasks["anchor"].to_pylist()
        failed = found.errors()["anchor"].to_pylist()
        rows = list(zip(*(found.to_arrow()[name].to_pylist() for name in ("path", "line")), strict=True))
        expected = [
            (anchor, line)
            for anchor in planned
            if anchor not in failed
            for line in range(len((dataset / anchor).read_text(encoding="utf-8").splitlines()))
        ]
        assert len(set(planned)) == len(planned) == len(list(dataset.rglob("*.txt")))
        assert rows == expected
        assert failed == ["g1/u2/bad.txt", "g2/u3/t2.txt"]
        chunks = [event for event in events if isinstance(event, ChunkDone)]
        assert sum(event.tasks for event in chunks) in (0, len(planned))  # a backend may tell only of shards
        assert sum(shard["tasks"] for shard in found.record.shards) == len(planned)
        if self.counts:
            assert sorted((tmp_path / "count").read_text(encoding="utf-8").splitlines()) == sorted(planned)

    def test_poison_costs_one_task(self, tmp_path: Path) -> None:
        """A task that raises is a row of the errors; its neighbours in the chunk are in the table."""
        dataset = write_probe_dataset(tmp_path / "data", poison=True)
        found = self.run(self.place(dataset), self.new_output(tmp_path / "out"), shards="2", chunk="1000")
        assert found.quarantined == 2
        assert found.errors().to_pylist()[0] == {
            "group": "g1",
            "unit": "g1/u2",
            "anchor": "g1/u2/bad.txt",
            "kind": "exception",
            "error": "ValueError",
            "message": "poison in g1/u2/bad.txt",
            "attempts": 1,
        }
        assert "g1/u2/t1.txt" in found.to_arrow()["path"].to_pylist()
        assert "Traceback" in found.store.read("errors.log").decode()

    def test_resumes_after_a_kill(self, tmp_path: Path) -> None:
        """Killed without warning half-way, then the same again: an uninterrupted run's bytes, nothing done twice."""
        dataset = write_probe_dataset(tmp_path / "data", poison=True, seconds=0.04)
        expected = self.reference(dataset, tmp_path / "reference", shards="3")
        place, output = self.place(dataset), self.new_output(tmp_path / "out")
        arguments = ("--extractor", PROBE, "--shards", "3", "--chunk", "2", "--max-failures", "100%", "--quiet")
        store = Store.at(output, self.storage_options)
        process = subprocess.Popen(self.command(place, output, *arguments), start_new_session=True)  # noqa: S603 - no shell
        try:
            _wait_until(lambda: self.committed(store) >= self.commits_before_kill or process.poll() is not None)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        before = self.committed(store)
        assert before >= self.commits_before_kill
        events: list[Event] = []
        found = self.run(place, output, shards="3", chunk="2", on_event=events.append)
        assert output_bytes(found.store) == output_bytes(expected.store)
        done = [event for event in events if isinstance(event, ChunkDone)]
        assert sum(event.resumed for event in done) >= before - 1 or not done  # a shard may have been made of them
        assert len({(event.shard, event.chunk) for event in done}) == len(done)
        assert left_of(found) == []

    def test_finished_is_left_alone(self, tmp_path: Path) -> None:
        """The same command on a finished output does nothing."""
        dataset = self.place(write_probe_dataset(tmp_path / "data"))
        output = self.new_output(tmp_path / "out")
        first = self.run(dataset, output)
        record = first.store.read("run.json")
        events: list[Event] = []
        again = self.run(dataset, output, on_event=events.append)
        assert again.store.read("run.json") == record
        assert [type(event).__name__ for event in events] == ["RunFinished"]

    def test_no_rows(self, tmp_path: Path) -> None:
        """Tasks that give no rows make an empty table of the declared columns."""
        (tmp_path / "data").mkdir()
        (tmp_path / "data/none.txt").write_bytes(b"")
        found = self.run(self.place(tmp_path / "data"), self.new_output(tmp_path / "out"))
        assert found.to_arrow().num_rows == found.quarantined == 0
        assert found.to_arrow(columns=probe.schema.names).schema.equals(probe.schema)

    def test_no_tasks(self, tmp_path: Path) -> None:
        """A dataset without a task is an error that says so, and nothing is written."""
        (tmp_path / "data").mkdir()
        (tmp_path / "data/other.csv").write_text("1")
        output = self.new_output(tmp_path / "out")
        try:
            self.run(self.place(tmp_path / "data"), output)
        except ScaledprocError as error:
            assert "matches *.txt" in str(error)
        else:
            raise AssertionError("an empty dataset was run")
        assert not Store.at(output, self.storage_options).names()


def _committed(store: Store) -> int:
    """How many chunks of an unfinished run are there."""
    return sum(
        name.endswith(".parquet") and not name.endswith("errors.parquet")
        for shard in store.names(WORK)
        if shard.isdecimal()
        for name in store.names(f"{WORK}/{shard}")
    )


def left_of(run: Run) -> list[str]:
    """What a run that is done has left in its `work/`, which should be nothing."""
    run.store.fs.invalidate_cache()
    work = run.store.path(WORK)  # some object stores show a folder for a while after its last file is gone
    return sorted(set(run.store.fs.find(work)) - {work})


def _wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.01)
