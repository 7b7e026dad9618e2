"""A run against a simple model of one: begun, killed at any step, on a bad store, by two drivers, robbed of its lease.

The engine is the real one, in one process, on the memory filesystem. A kill is an exception after which nothing that
the driver does to the store has any effect: so nothing that a process does on its way out can help.

A request of a driver that is gone may be under way still: it is carried out at any later step, of another driver or
after its end. The filesystem knows conditions on what is replaced, as S3 does, and versions that are the same for the
same content, as S3's are. With each `overwrite` the extractor gives other rows, so that it shows what is of before.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from killed_world import KilledError, World
from support import forget_memory

import scaledproc
from scaledproc._util.process.processes import Process
from scaledproc.events import ChunkDone, Event, ShardDone
from scaledproc.extractors import Extractor, Task
from scaledproc.run_folder.lock.driver_lease import LeaseLostError
from scaledproc.run_folder.lock.lease import Lease
from scaledproc.run_folder.lock.lease_store import HeldError
from scaledproc.testing import output_bytes

DATA, OUTPUT, WHOLE = "memory://model/in", "memory://model/out", "memory://model/whole"
TASKS = 9
EDITION = "SCALEDPROC_TEST_EDITION"
"""A variable of the environment: no part of the plan, as what nobody can see, such as a library built anew in place."""


def edition_now() -> int:
    return int(os.environ.get(EDITION, "0"))


def become(edition: int) -> None:
    os.environ[EDITION] = str(edition)


class Model(Extractor):
    """Notes what it computes, which is no part of what its rows depend on."""

    name = "model"
    anchors = ("*.txt",)

    def __init__(self, computed: list[str]) -> None:
        self._computed = computed

    @property
    def schema(self) -> pa.Schema:
        return pa.schema({"path": pa.string(), "edition": pa.int64()})

    @property
    def fingerprint(self) -> str:
        return "model"

    def extract(self, task: Task) -> dict[str, Any]:
        self._computed.append(task.anchor)
        if "bad" in task.anchor:
            raise ValueError("bad")
        return {"path": task.anchor, "edition": int(os.environ[EDITION])}


class RunModel(RuleBasedStateMachine):
    """What is committed is not computed again; what is finished is right."""

    form = "file"

    def __init__(self) -> None:
        super().__init__()
        forget_memory()
        self.world = World()
        self.computed: list[str] = []
        self.committed: set[tuple[int, int]] = set()
        self.is_done = False
        self.chunks: dict[str, tuple[int, int]] = {}
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.world.patched())

        self.extractor = Model(self.computed)

    def teardown(self) -> None:
        self.stack.close()
        forget_memory()

    @initialize()
    def place(self) -> None:
        fs = fsspec.filesystem("memory")
        for number in range(TASKS):
            fs.pipe_file(f"/model/in/g{number % 2}/{'bad' if number == 4 else 't'}{number}.txt", b"x" * number)
        become(0)
        run = self.start(WHOLE)
        self.expected = {0: output_bytes(run.store)}
        for row in run.plan.task_table().to_pylist():
            self.chunks[row["anchor"]] = (row["shard"], row["chunk"])
        self.computed.clear()

    def start(self, output: str = OUTPUT, on_event: Callable[[Event], None] | None = None, **more: Any) -> Any:
        with self.world.driver():
            given = {"extractor": self.extractor, "chunk": 2, "jobs": 1, "table": self.form, **more}
            return scaledproc.run(DATA, output, on_event=on_event, **given)

    def hear(self, event: Event) -> None:
        """The model: these chunks are committed from now on."""
        if isinstance(event, ChunkDone):
            self.committed.add((event.shard, event.chunk))
        elif isinstance(event, ShardDone):
            self.committed |= {chunk for chunk in self.chunks.values() if chunk[0] == event.shard}

    def begin_if_done(self) -> None:
        """An empty folder in the place of a finished run, with which there is nothing to do."""
        if self.is_done:
            fsspec.filesystem("memory").rm("/model/out", recursive=True)
            self.committed.clear()
            self.is_done = False

    def look(self) -> None:
        """What the store shows as committed, the model has to know too: a kill may have come before it was told."""
        for path in fsspec.filesystem("memory").store:
            below = path.removeprefix("/model/out/").split("/")
            if below[0] == "shards":
                self.committed |= {c for c in self.chunks.values() if c[0] == int(below[1].removesuffix(".parquet"))}
            if below[0] == "work" and below[1].isdecimal() and below[2].count(".") == 1:
                self.committed.add((int(below[1]), int(below[2].removesuffix(".parquet"))))

    def check(self, before: set[tuple[int, int]]) -> None:
        again = [anchor for anchor in self.computed if self.chunks[anchor] in before]
        assert not again, f"computed again: {again}"
        assert len(set(self.computed)) == len(self.computed), "computed twice by one driver"
        self.computed.clear()

    def finished(self, run: Any) -> None:
        assert run.record.state == "done"
        assert output_bytes(run.store) == self.expected[edition_now()]
        below = sorted(
            path.removeprefix("/model/out/") for path in fsspec.filesystem("memory").store if "/model/out" in path
        )
        whole = sorted(
            path.removeprefix("/model/whole/") for path in fsspec.filesystem("memory").store if "/whole" in path
        )
        assert below == whole, "something is left"
        self.is_done = True

    @rule()
    def run_to_the_end(self) -> None:
        before = set(self.committed)
        run = self.start(on_event=self.hear)
        if self.is_done:
            assert not self.computed
        self.check(before)
        self.finished(run)

    @rule(step=st.integers(1, 200), is_after=st.booleans())
    def is_killed(self, step: int, is_after: bool) -> None:
        self.begin_if_done()
        before = set(self.committed)
        self.world.after(step, KilledError, is_after=is_after)
        run = None
        with contextlib.suppress(KilledError):
            run = self.start(on_event=self.hear)
        self.world.after(None, KilledError, is_after=False)
        self.check(before)
        self.look()
        if run is not None:
            self.finished(run)

    @rule(step=st.integers(1, 200), is_after=st.booleans())
    def store_fails_once(self, step: int, is_after: bool) -> None:
        self.begin_if_done()
        before = set(self.committed)
        self.world.after(step, lambda: OSError(5, "bad store"), is_after=is_after)
        run = None
        try:
            run = self.start(on_event=self.hear)
        except (scaledproc.ScaledprocError, OSError) as error:
            assert "bad store" in str(error)  # noqa: PT017
        self.world.after(None, KilledError, is_after=False)
        self.check(before)
        self.look()
        if run is not None and run.record.state == "done":
            self.finished(run)

    @rule(at=st.integers(1, 8), overwrite=st.booleans())
    def second_driver(self, at: int, overwrite: bool) -> None:
        """While the first is at work, a second one is refused and changes nothing."""
        self.begin_if_done()
        before, told, refused = set(self.committed), 0, 0

        def listen(event: Event) -> None:
            nonlocal told, refused
            self.hear(event)
            told += isinstance(event, (ChunkDone, ShardDone))
            if told == at and not refused:
                store = dict(fsspec.filesystem("memory").store)
                with pytest.raises(HeldError, match="process"):
                    self.start(overwrite=overwrite)
                assert fsspec.filesystem("memory").store == store
                refused += 1

        run = self.start(on_event=listen)
        self.check(before)
        self.finished(run)

    @rule(at=st.integers(1, 8))
    def robbed(self, at: int) -> None:
        """It slept, and another machine took its lease: from then on it commits nothing."""
        self.begin_if_done()
        before, told = set(self.committed), 0
        store: dict[str, Any] = {}

        def listen(event: Event) -> None:
            nonlocal told
            self.hear(event)
            told += isinstance(event, (ChunkDone, ShardDone))
            if told == at and not store:
                other = Lease("other", Process("elsewhere", -1, ""), "", "local")
                fsspec.filesystem("memory").pipe_file("/model/out/lease.json", other.to_json())
                self.world.clock += 1000
                store.update(fsspec.filesystem("memory").store)

        run = None
        try:
            run = self.start(on_event=listen)
        except LeaseLostError:
            assert store
            assert fsspec.filesystem("memory").store == store  # the same files: nothing written, replaced, removed
        else:
            assert not store, "it went on after it was robbed"
        self.check(before)
        if "/model/out/lease.json" in fsspec.filesystem("memory").store:  # the other one comes to its end
            fsspec.filesystem("memory").rm_file("/model/out/lease.json")
        self.look()
        if run is not None:
            self.finished(run)

    def next_edition(self) -> None:
        """What an overwritten run gives from now on."""
        become(edition_now() + 1)
        if edition_now() not in self.expected:
            self.expected[edition_now()] = output_bytes(self.start(WHOLE, overwrite=True).store)
            self.computed.clear()

    @rule(step=st.integers(1, 30), overwrite=st.booleans(), arrives=st.none() | st.integers(1, 100), anew=st.booleans())
    def is_killed_and_a_request_is_under_way(self, step: int, overwrite: bool, arrives: int | None, anew: bool) -> None:
        """It is carried out while the next driver is at work, or after its end."""
        self.world.held = None
        if overwrite:
            self.next_edition()
        else:
            self.begin_if_done()
        self.world.after(step, KilledError, is_after=False, is_held=True)
        with contextlib.suppress(KilledError):
            self.start(overwrite=overwrite)
        self.world.after(None, KilledError, is_after=False)
        self.computed.clear()
        self.overtaken(arrives, anew)

    def overtaken(self, arrives: int | None, anew: bool) -> None:
        """The next driver comes to its end, whatever arrives meanwhile: the run is right, or it is told and goes on."""
        if anew:
            self.next_edition()
        elif read_state() == "done":  # of before: nothing was begun, or all was done
            become(edition_there())
        edition = edition_now()
        self.world.arrives = arrives
        run = None
        with contextlib.suppress(*((scaledproc.ScaledprocError, FileNotFoundError) if arrives is not None else ())):
            run = self.start(overwrite=anew)
        run = run or self.start()
        if self.world.arrive():
            names = {name for name in paths() if not name.startswith("work/")}
            assert names == {name for name in paths("whole") if not name.startswith("work/")}
            if read_state() == "done":
                assert output_bytes(run.store) == self.expected[edition]
            else:  # the very first request of the one that is gone: to throw the run away
                assert read_state() == "beginning"
                assert not anew
        run = self.start()
        self.computed.clear()
        self.finished(run)
        self.committed = set(self.chunks.values())

    @rule()
    def overwrite(self) -> None:
        self.committed.clear()
        self.next_edition()
        run = self.start(on_event=self.hear, overwrite=True)
        assert len(self.computed) == TASKS
        self.check(set())
        self.finished(run)


def paths(folder: str = "out") -> list[str]:
    start = f"/model/{folder}/"
    return [path.removeprefix(start) for path in fsspec.filesystem("memory").store if path.startswith(start)]


def read_state() -> str | None:
    file = fsspec.filesystem("memory").store.get("/model/out/run.json")
    return None if file is None else json.loads(file.getvalue())["state"]


def edition_there() -> int:
    store = fsspec.filesystem("memory").store
    file = store.get("/model/out/features.parquet") or store["/model/out/features/part-00000.parquet"]
    table = pq.read_table(io.BytesIO(file.getvalue()))
    return int(table["edition"][0].as_py())


class FolderModel(RunModel):
    """The same where tables are folders."""

    form = "dataset"


TestRunModel = RunModel.TestCase
TestRunModel.settings = settings(max_examples=6, stateful_step_count=6, deadline=None)
TestFolderModel = pytest.mark.slow(FolderModel.TestCase)
TestFolderModel.settings = settings(max_examples=4, stateful_step_count=6, deadline=None)


@pytest.mark.slow
def test_a_store_that_fails_once_at_every_step() -> None:
    model = RunModel()
    try:
        model.place()
        model.world.operations = 0
        model.run_to_the_end()
        for step in range(1, model.world.operations + 1):
            model.store_fails_once(step, bool(step % 2))
            model.run_to_the_end()
    finally:
        model.teardown()


@pytest.mark.slow
@pytest.mark.parametrize(("is_after", "kind"), [(False, RunModel), (True, RunModel), (False, FolderModel)])
def test_killed_at_every_step(is_after: bool, kind: type[RunModel]) -> None:
    model = kind()
    try:
        model.place()
        model.world.operations = 0
        model.run_to_the_end()
        steps = model.world.operations
        assert 50 < steps < 250
        for step in range(1, steps + 1):
            model.is_killed(step, is_after)
            model.run_to_the_end()
    finally:
        model.teardown()


@pytest.mark.slow
@pytest.mark.parametrize(("overwrite", "kind"), [(False, RunModel), (True, RunModel), (True, FolderModel)])
def test_a_late_request_at_every_step(overwrite: bool, kind: type[RunModel]) -> None:
    """Each change that a driver was about to make arrives when another one has finished, or is in the middle."""
    model = kind()
    try:
        model.place()
        model.run_to_the_end()
        if not overwrite:
            model.begin_if_done()
        model.world.changes = 0
        if overwrite:
            model.overwrite()
        else:
            model.run_to_the_end()
        changes = model.world.changes
        for step in range(1, changes + 1):
            model.is_killed_and_a_request_is_under_way(
                step, overwrite, None if step % 2 else 17 * step % 90, step % 4 < 2
            )
        assert model.world.arrivals == changes > 20
    finally:
        model.teardown()
