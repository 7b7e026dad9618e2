"""Whole runs through the Python API: the same bytes whatever the cuts, resuming, overwriting, combining anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scaledproc
from scaledproc.events import ChunkDone, Event, Note, RunFinished, ShardDone, ShardState, State
from scaledproc.extractors import Task
from scaledproc.storage.row_groups import rebatch
from scaledproc.testing import PROBE, output_bytes, write_probe_dataset


class StopError(Exception):
    """An interruption, as Ctrl-C is."""


def stop_after(count: int) -> Callable[[Event], None]:
    """A listener that interrupts the run once so many chunks were newly committed."""
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, ChunkDone) and not event.resumed
        if seen >= count and isinstance(event, (ChunkDone, ShardDone)):
            raise StopError

    return listen


@pytest.fixture(scope="module")
def probe_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_probe_dataset(tmp_path_factory.mktemp("probe") / "data", poison=True)


@pytest.fixture(scope="module")
def expected(probe_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    run = scaledproc.run(probe_data, tmp_path_factory.mktemp("run") / "out", extractor=PROBE, jobs=1)
    return {name: digest for name, digest in output_bytes(run.store).items() if not name.startswith("shards/")}


@given(
    shards=st.sampled_from(["folder", "1", "2", "7", "100", "1kB", "5kB"]),
    chunk=st.sampled_from(["auto", "per-core", "1", "2", "5", "100B", "2kB"]),
    stops=st.lists(st.integers(1, 8), max_size=4),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cuts_and_any_interruptions_give_the_same_bytes(
    probe_data: Path,
    expected: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    shards: str,
    chunk: str,
    stops: list[int],
) -> None:
    output = tmp_path_factory.mktemp("run") / "out"
    committed: list[tuple[int, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, ChunkDone) and not event.resumed:
            committed.append((event.shard, event.chunk))

    def once(listener: Callable[[Event], None] | None = None) -> scaledproc.Run:
        def both(event: Event) -> None:
            listen(event)
            if listener:
                listener(event)

        return scaledproc.run(probe_data, output, extractor=PROBE, shards=shards, chunk=chunk, jobs=1, on_event=both)

    for count in stops:
        try:
            once(stop_after(count))
        except StopError:
            assert not (output / "features.parquet").exists()
    run = once()
    found = output_bytes(run.store)
    assert {name: found[name] for name in expected} == expected
    assert sorted(output.iterdir()) == sorted(
        output / name
        for name in (
            *("features.parquet", "errors.parquet", "errors.log", "tasks.parquet", "shards"),
            *("plan.parquet", "inventory.parquet", "run.json", "croissant.json"),
        )
    )
    assert len(list((output / "shards").iterdir())) == run.plan.n_shards
    assert len(committed) == len(set(committed)), "a committed chunk was computed again"
    if not stops:
        assert len(committed) == run.plan.n_chunks


def test_the_result_opens_as_arrow_and_pandas(probe_data: Path, tmp_path: Path) -> None:
    run = scaledproc.run(str(probe_data), tmp_path / "out", extractor=PROBE, jobs=1)
    assert isinstance(run.to_arrow(), pa.Table)
    assert isinstance(run.to_pandas(), pd.DataFrame)
    assert run.errors().num_rows == run.quarantined == 2
    assert run.features == str(tmp_path / "out/features.parquet")
    assert "2 quarantined" in repr(run)
    again = scaledproc.Run.open(str(tmp_path / "out"))
    assert again.to_arrow().equals(run.to_arrow())
    with pytest.raises(scaledproc.ScaledprocError, match="no summary 'x'"):
        run.summary("x")


def test_memory_filesystem_in_and_out() -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    for number in range(5):
        fs.pipe_file(f"/in-memory/g{number % 2}/t{number}.txt", b"one\ntwo\n")
    run = scaledproc.run("memory://in-memory", "memory://out-memory", extractor=PROBE, chunk=1, jobs=2)
    assert run.to_arrow().num_rows == 10
    assert "work" not in run.store.names()


def test_an_extractor_of_a_notebook(tmp_path: Path) -> None:
    write_probe_dataset(tmp_path / "data")

    @scaledproc.extractor(schema={"path": "string", "size": "int64"}, anchor="*.bin", unit="file")
    def size(task: Task) -> dict[str, Any]:
        return {"path": task.anchor, "size": task.path.stat().st_size}

    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=size, jobs=2, chunk=3)
    assert sum(run.to_arrow()["size"].to_pylist()) == sum(p.stat().st_size for p in tmp_path.rglob("*.bin"))
    one = Task("g1", "g1/u1", "g1/u1/signal.bin", tmp_path / "data", frozenset())
    assert size(one) == {"path": "g1/u1/signal.bin", "size": 37}, "still the function that it was"


def test_finish_and_summarise_of_ones_own(probe_data: Path, tmp_path: Path) -> None:
    def finish(table: pa.Table) -> pa.Table:
        return table.append_column("double", pa.array([2 * n for n in table["n"].to_pylist()], pa.int64()))

    def summarise(tables: Any) -> dict[str, pa.Table]:
        return {"total": pa.table({"double": [sum(sum(table["double"].to_pylist()) for table in tables)]})}

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", finish=finish, summarise=summarise)
    def ones(task: Task) -> dict[str, int]:
        return {"n": 1}

    run = scaledproc.run(probe_data, tmp_path / "out", extractor=ones, jobs=1)
    assert run.to_arrow().schema.names == ["group", "unit", "anchor", "n", "double"]
    assert run.summary("total")["double"].to_pylist() == [2 * run.plan.n_tasks]


def test_rows_that_do_not_fit_are_quarantined_as_schema(probe_data: Path, tmp_path: Path) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def wrong(task: Task) -> dict[str, Any]:
        return {"n": 1.5 if "t2" in task.anchor else 1}

    run = scaledproc.run(probe_data, tmp_path / "out", extractor=wrong, jobs=1)
    assert set(run.errors()["kind"].to_pylist()) == {"schema"}
    assert all("t2" in anchor for anchor in run.errors()["anchor"].to_pylist())
    assert run.to_arrow().num_rows + run.quarantined == run.plan.n_tasks


def test_another_plan_is_refused(probe_data: Path, tmp_path: Path) -> None:
    scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1)
    with pytest.raises(scaledproc.UsageError, match="--overwrite"):
        scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1, limit=2)
    run = scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1, limit=2, overwrite=True)
    assert run.plan.n_units == 2


def test_other_cuts_continue_with_those_of_the_beginning(probe_data: Path, tmp_path: Path) -> None:
    with pytest.raises(StopError):
        scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, shards=2, chunk=4, jobs=1, on_event=stop_after(2))
    events: list[Event] = []
    run = scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, shards=5, jobs=1, on_event=events.append)
    assert run.plan.n_shards == 2
    assert any(isinstance(event, Note) and "--shards 2 --chunk 4" in event.text for event in events)
    assert sum(event.resumed for event in events if isinstance(event, ChunkDone)) == 2


def test_a_file_that_changed_its_content_is_noticed(tmp_path: Path) -> None:
    data = write_probe_dataset(tmp_path / "data")
    with pytest.raises(StopError):
        scaledproc.run(data, tmp_path / "out", extractor=PROBE, chunk=2, jobs=1, on_event=stop_after(1))
    changed = data / "top.txt"
    changed.write_text("x\ny\n")
    with pytest.raises(scaledproc.ScaledprocError, match="1 file of the dataset changed"):
        scaledproc.run(data, tmp_path / "out", extractor=PROBE, chunk=2, jobs=1)
    scaledproc.run(data, tmp_path / "out", extractor=PROBE, jobs=1, overwrite=True)
    changed.write_text("y\nz\n")
    with pytest.raises(scaledproc.ScaledprocError, match="1 file of the dataset changed"):
        scaledproc.run(data, tmp_path / "out", extractor=PROBE, jobs=1)


def test_damaged_chunks_are_made_again(probe_data: Path, expected: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(StopError):
        scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, chunk=1, jobs=1, on_event=stop_after(6))
    chunks = sorted((tmp_path / "out/work").rglob("[0-9]*.parquet"))
    chunks[0].write_bytes(b"")
    chunks[1].write_bytes(chunks[1].read_bytes()[:-20])
    run = scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1)
    found = output_bytes(run.store)
    assert {name: found[name] for name in expected} == expected


def test_names_are_made_anew_without_extracting(demo: Path, tmp_path: Path) -> None:
    first = scaledproc.run(demo, tmp_path / "out", jobs=1)
    before = first.to_arrow()
    names = tmp_path / "names.toml"
    names.write_text('[waveform]\nlead_two = ["II"]\n')
    again = scaledproc.combine(tmp_path / "out", options={"signal_names": names})
    after = again.to_arrow()
    assert after.drop_columns("signal_name").equals(before.drop_columns("signal_name"))
    assert "lead_two" in after["signal_name"].to_pylist()
    assert "lead_two" in again.summary("signal_stats")["signal_name"].to_pylist()
    assert scaledproc.combine(tmp_path / "out").to_arrow().equals(after), "the table of names is kept"
    scaledproc.run(demo, tmp_path / "out", jobs=1)
    assert scaledproc.Run.open(tmp_path / "out").to_arrow().equals(after), "a finished run is left as it is"
    other = tmp_path / "other.toml"
    other.write_text("[waveform]\n")
    with pytest.raises(scaledproc.UsageError, match="scaledproc combine"):
        scaledproc.run(demo, tmp_path / "out", jobs=1, options={"signal_names": other})
    fresh = scaledproc.run(demo, tmp_path / "fresh", jobs=1, options={"signal_names": names})
    assert (tmp_path / "fresh/features.parquet").read_bytes() == (tmp_path / "out/features.parquet").read_bytes()
    assert fresh.to_arrow().equals(after)
    assert scaledproc.combine(tmp_path / "fresh", options={"signal_names": "built-in"}).to_arrow().equals(before)


def test_events_tell_the_whole_story(probe_data: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, shards=2, jobs=1, on_event=events.append)
    names = [type(event).__name__ for event in events if not isinstance(event, (ChunkDone, ShardState))]
    assert names == ["RunStarted", "ShardDone", "ShardDone", "CombineDone", "RunFinished"]
    states = [event for event in events if isinstance(event, ShardState)]
    assert states == [ShardState(0, State.RUNNING), ShardState(1, State.RUNNING)]
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert [failure.anchor for failure in last.failures] == ["g1/u2/bad.txt"]
    assert last.alike == (2,)  # the other one is g2/u3/t2.txt


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 25))
def test_rebatching_forgets_how_rows_came(lengths: list[int], rows: int) -> None:
    values = list(range(sum(lengths)))
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    tables = [pa.table({"x": pa.array(values[a : a + n], pa.int64())}) for a, n in zip(starts, lengths, strict=True)]
    pieces = list(rebatch(tables, rows))
    assert [value for piece in pieces for value in piece["x"].to_pylist()] == values
    assert all(piece.num_rows == rows and piece["x"].num_chunks == 1 for piece in pieces[:-1])


def test_row_groups_have_a_fixed_size(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / f"data/{number}.txt").write_text("line\n" * 50_000)
    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=PROBE, jobs=1, chunk=1)
    metadata = pq.read_metadata(run.features)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [65_536, 65_536, 18_928]
    assert {metadata.row_group(0).column(0).compression} == {"SNAPPY"}


def test_an_extractor_that_exits_costs_one_task(probe_data: Path, tmp_path: Path) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def leaves(task: Task) -> dict[str, int]:
        if "t1" in task.anchor:
            raise SystemExit
        if "t2" in task.anchor:
            raise UnprintableError
        return {"n": 1}

    run = scaledproc.run(probe_data, tmp_path / "out", extractor=leaves, jobs=1)
    assert set(run.errors()["error"].to_pylist()) == {"SystemExit", "UnprintableError"}
    assert run.to_arrow().num_rows + run.quarantined == run.plan.n_tasks


def test_parameters_are_part_of_the_plan(probe_data: Path) -> None:
    def counting_from(start: int) -> scaledproc.Extractor:
        @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
        def count(task: Task) -> dict[str, int]:
            return {"n": start}

        return count

    ids = [scaledproc.plan(probe_data, extractor=counting_from(start)).plan_id for start in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.date64(), pa.timestamp("s"), pa.month_day_nano_interval()])
def test_types_that_parquet_does_not_keep_are_refused_at_once(probe_data: Path, tmp_path: Path, kind: Any) -> None:
    nothing = scaledproc.extractor(schema={"x": kind}, anchor="*.txt")(lambda task: [])
    with pytest.raises(scaledproc.UsageError, match=r"Parquet"):
        scaledproc.run(probe_data, tmp_path / "out", extractor=nothing, jobs=1)
    assert not (tmp_path / "out").exists()


def test_finish_that_fails_is_told_before_anything_is_extracted(probe_data: Path, tmp_path: Path) -> None:
    def finish(table: pa.Table) -> pa.Table:
        return table.drop_columns("nothing")

    one = scaledproc.extractor(schema={"x": "int64"}, anchor="*.txt", finish=finish)(lambda task: {"x": 1})
    with pytest.raises(scaledproc.ScaledprocError, match=r"finish\(\) failed"):
        scaledproc.run(probe_data, tmp_path / "out", extractor=one, jobs=1)
    assert not (tmp_path / "out").exists()


def test_a_table_that_is_gone_can_be_had_again(probe_data: Path, tmp_path: Path) -> None:
    scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1)
    table = (tmp_path / "out/features.parquet").read_bytes()
    (tmp_path / "out/features.parquet").unlink()
    with pytest.raises(scaledproc.ScaledprocError, match="scaledproc combine"):
        scaledproc.run(probe_data, tmp_path / "out", extractor=PROBE, jobs=1)
    scaledproc.combine(tmp_path / "out")
    assert (tmp_path / "out/features.parquet").read_bytes() == table


def test_units_of_many_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(1_200):
        (tmp_path / f"data/{number}.bin").write_bytes(b"")
    for number in range(4):
        (tmp_path / f"data/{number}.txt").write_text("line\n")
    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=PROBE, jobs=1, chunk=1)
    assert set(run.to_arrow()["beside"].to_pylist()) == {1_204}
