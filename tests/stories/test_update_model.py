"""An update against a model of one: the dataset changes, and the update of its run is killed at any step.

What holds at every step: the table that is in the folder is the earlier one or the new one, and whole; until the new
one is put in its place, so is all the rest. At the end the folder is that of a run from nothing, to the byte, and no
task was done that did not have to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from killed_world import KilledError, World
from support import forget_memory

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event
from scaledproc.extractors import Extractor, Task
from scaledproc.run_folder.replacement import is_half_replaced
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

DATA, OUTPUT, WHOLE = "memory://model/in", "memory://model/out", "memory://model/whole"
GROUPS, UNITS = 3, 2


class Reader(Extractor):
    """Gives what is in a file, so that a row shows which version of it was read; notes which tasks it did."""

    name = "reader"
    anchors = ("*.txt",)

    def __init__(self, computed: list[str]) -> None:
        self._computed = computed

    @property
    def schema(self) -> pa.Schema:
        return pa.schema({"path": pa.string(), "text": pa.string()})

    @property
    def fingerprint(self) -> str:
        return "reader"

    def extract(self, task: Task) -> list[dict[str, Any]]:
        self._computed.append(task.anchor)
        text = task.path.read_text()
        if "bad" in text:
            raise ValueError(text)
        return [{"path": task.anchor, "text": text}] * (len(text) % 3)


class UpdateModel(RuleBasedStateMachine):
    """The dataset is a mapping of paths to texts; each text is written once, so that a version tells it."""

    def __init__(self) -> None:
        super().__init__()
        forget_memory()
        self.world = World()
        self.computed: list[str] = []
        self.extractor = Reader(self.computed)
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.world.patched())
        self.files: dict[str, str] = {}
        self.done: dict[str, tuple[str, ...]] = {}  # of the run that is whole: by task what its unit had
        self.before: dict[str, str] = {}
        self.written = 0

    def teardown(self) -> None:
        self.stack.close()
        forget_memory()

    @initialize()
    def place(self) -> None:
        for group in range(GROUPS):
            for unit in range(UNITS):
                for name in "ab":
                    self.write(f"g{group}/u{unit}/{name}.txt", is_bad=(group, unit, name) == (1, 0, "b"))
        self.run(OUTPUT)
        self.whole()

    def write(self, path: str, *, is_bad: bool = False) -> None:
        self.written += 1
        self.files[path] = f"{'bad' if is_bad else 'x'} {self.written} {'y' * (self.written % 4)}"
        fsspec.filesystem("memory").pipe_file(f"/model/in/{path}", self.files[path].encode())

    def run(self, output: str, on_event: Callable[[Event], None] | None = None, **more: Any) -> Any:
        more = {"chunk": 2, "jobs": 1, **more}
        with self.world.driver():
            return scaledproc.run(DATA, output, extractor=self.extractor, on_event=on_event, **more)

    def unit_of(self, path: str) -> tuple[str, ...]:
        folder = path.rpartition("/")[0]
        return tuple(f"{name} {text}" for name, text in sorted(self.files.items()) if name.startswith(f"{folder}/"))

    def whole(self) -> None:
        """The folder is now that of a run from nothing; what there is to know for the next update."""
        found = self.everything("out")
        assert not [name for name in found if name.startswith(("update", "work", "lease"))], "something is left"
        self.computed.clear()
        if "/model/whole/run.json" in fsspec.filesystem("memory").store:
            fsspec.filesystem("memory").rm("/model/whole", recursive=True)
        fresh = self.run(WHOLE)
        self.computed.clear()
        assert found.keys() == self.everything("whole").keys()
        assert output_bytes(Store.at(OUTPUT)) == output_bytes(fresh.store)
        verified = scaledproc.verify(OUTPUT)
        assert verified.ok, verified.problems
        self.done = {path: self.unit_of(path) for path, text in self.files.items() if "bad" not in text}
        self.before = output_bytes(Store.at(OUTPUT))

    @staticmethod
    def everything(folder: str) -> dict[str, bytes]:
        start = f"/model/{folder}/"
        store = fsspec.filesystem("memory").store
        return {path.removeprefix(start): file.getvalue() for path, file in store.items() if path.startswith(start)}

    def check_computed(self, done: dict[str, tuple[str, ...]]) -> None:
        again = [path for path in self.computed if self.files.get(path) and done.get(path) == self.unit_of(path)]
        assert not again, f"done again: {again}"
        assert len(set(self.computed)) == len(self.computed), "done twice"

    def check_readable(self) -> None:
        """After a kill: what a reader finds."""
        found = output_bytes(Store.at(OUTPUT))
        if not is_half_replaced(scaledproc.Run.open(OUTPUT)) and found != self.before:
            self.done, self.before = {}, found  # it was put in its place, and nothing but tidying up was left
        table = found["features.parquet"]
        new = self.everything("out/update").get("run.json")
        assert table == self.before["features.parquet"] or new is not None, "neither the earlier table nor the new one"
        assert scaledproc.Run.open(OUTPUT).to_arrow().num_rows >= 0

    # What happens to the dataset

    @rule(group=st.integers(0, GROUPS), unit=st.integers(0, UNITS), name=st.sampled_from("abc"), is_bad=st.booleans())
    def write_a_file(self, group: int, unit: int, name: str, is_bad: bool) -> None:
        self.write(f"g{group}/u{unit}/{name}.txt", is_bad=is_bad)

    @rule(at=st.integers(0, 100))
    def remove_a_file(self, at: int) -> None:
        if len(self.files) > 1:
            path = sorted(self.files)[at % len(self.files)]
            del self.files[path]
            fsspec.filesystem("memory").rm_file(f"/model/in/{path}")

    @rule(at=st.integers(0, 100))
    def touch_a_file(self, at: int) -> None:
        path = sorted(self.files)[at % len(self.files)]
        self.done.pop(path, None)
        for other in self.files:
            if other.rpartition("/")[0] == path.rpartition("/")[0]:
                self.done.pop(other, None)
        fsspec.filesystem("memory").pipe_file(f"/model/in/{path}", self.files[path].encode())

    # And to its run

    @rule(chunk=st.sampled_from([1, 3]))
    def update(self, chunk: int) -> None:
        done = dict(self.done)
        self.run(OUTPUT, update=True, chunk=chunk)
        self.check_computed(done)
        self.whole()

    @rule(step=st.integers(1, 250), is_after=st.booleans())
    def is_killed(self, step: int, is_after: bool) -> None:
        self.ended(step, KilledError, is_after=is_after)

    @rule(step=st.integers(1, 250), is_after=st.booleans())
    def store_fails_once(self, step: int, is_after: bool) -> None:
        self.ended(step, lambda: OSError(5, "bad store"), is_after=is_after)

    def ended(self, step: int, fault: Callable[[], BaseException], *, is_after: bool) -> None:
        done = dict(self.done)
        self.world.after(step, fault, is_after=is_after)
        run = None
        try:
            run = self.run(OUTPUT, update=True)
        except KilledError:
            pass
        except (ScaledprocError, OSError) as error:
            assert "bad store" in str(error)  # noqa: PT017
        self.world.after(None, KilledError, is_after=False)
        self.check_computed(done)
        self.computed.clear()
        if run is not None:
            self.whole()
        else:
            self.check_readable()

    @rule(step=st.integers(1, 60), arrives=st.none() | st.integers(1, 150))
    def is_killed_and_a_request_is_under_way(self, step: int, arrives: int | None) -> None:
        """It is carried out while the next driver is at work, or after its end; what it did is told, or mended."""
        self.world.held = None
        self.world.after(step, KilledError, is_after=False, is_held=True)
        with contextlib.suppress(KilledError):
            self.run(OUTPUT, update=True)
        self.world.after(None, KilledError, is_after=False)
        self.world.arrives = arrives
        with contextlib.suppress(*((ScaledprocError, FileNotFoundError) if arrives is not None else ())):
            self.run(OUTPUT, update=True)
        self.run(OUTPUT, update=True)
        self.world.arrive()
        self.run(OUTPUT, update=True)
        self.computed.clear()
        self.whole()


TestUpdateModel = UpdateModel.TestCase
TestUpdateModel.settings = settings(max_examples=5, stateful_step_count=6, deadline=None)


def changed(model: UpdateModel) -> None:
    """Every kind of change at once."""
    model.write_a_file(0, 0, "a", False)
    model.write_a_file(GROUPS, 0, "a", True)
    path = "g2/u1/c.txt"
    if path in model.files:
        model.remove_a_file(sorted(model.files).index(path))
    else:
        model.write(path)


@pytest.mark.slow
@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_every_step_of_an_update(is_after: bool) -> None:
    model = UpdateModel()
    try:
        model.place()
        changed(model)
        model.world.operations = 0
        model.update(2)
        steps = model.world.operations
        assert 80 < steps < 500
        for step in range(1, steps + 1):
            changed(model)
            model.is_killed(step, is_after)
            model.update(2)
    finally:
        model.teardown()


@pytest.mark.slow
def test_a_late_request_at_every_step_of_an_update() -> None:
    model = UpdateModel()
    try:
        model.place()
        changed(model)
        model.world.changes = 0
        model.update(2)
        changes = model.world.changes
        for step in range(1, changes + 1):
            changed(model)
            model.is_killed_and_a_request_is_under_way(step, None if step % 2 else 17 * step % 150)
        assert model.world.arrivals > 30
    finally:
        model.teardown()
