"""Plans: any inventory, any cuts."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.cuts import ChunkCut, ShardCut
from scaledproc.extractors import FunctionExtractor, extractor
from scaledproc.inventory import Inventory
from scaledproc.planning import Plan, make_plan

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=3)
PATHS = st.lists(
    st.one_of(
        st.builds("/".join, st.lists(st.sampled_from("ab"), min_size=1, max_size=4)).map(lambda path: path + ".hea"),
        st.builds("/".join, st.lists(NAMES, min_size=1, max_size=4)),
        st.builds("{}/{}.hea".format, NAMES, NAMES),
    ),
    max_size=40,
    unique=True,
)


@extractor(schema={"n": "int64"}, anchor="*.hea")
def headers(task: object) -> list[object]:
    return []


def inventory(files: dict[str, int]) -> Inventory:
    return Inventory(
        pa.table(
            {
                "path": pa.array(files, pa.large_string()),
                "size": pa.array(files.values(), pa.int64()),
                "version": pa.array([""] * len(files), pa.string()),
            }
        )
    )


def plan_of(files: dict[str, int], use: FunctionExtractor = headers, **options: object) -> Plan:
    return make_plan(inventory(files), use, **options)  # type: ignore[arg-type]


@given(
    PATHS.flatmap(lambda paths: st.fixed_dictionaries({path: st.integers(0, 10**9) for path in paths})),
    st.sampled_from(["folder", "1", "2", "5", "100", "1kB", "500MB"]),
    st.sampled_from(["auto", "per-core", "1", "3", "1MB"]),
    st.sampled_from(["folder", "stem", "file", "(?P<unit>[ab]+)"]),
    st.integers(1, 5),
)
def test_every_task_is_in_one_chunk_of_one_shard(
    files: dict[str, int], shards: str, chunk: str, unit: str, cores: int
) -> None:
    plan = plan_of(files, unit=unit, shards=ShardCut.parse(shards), chunks=ChunkCut.parse(chunk), cores=cores)
    seen = [number for shard in range(plan.n_shards) for c in plan.chunks(shard) for number in range(c.start, c.stop)]
    assert seen == list(range(plan.n_tasks))
    assert set(plan.shard_cuts) <= set(plan.unit_tasks), "a unit was cut"
    keys = list(zip(*(plan.tasks[name].to_pylist() for name in ("group", "unit", "anchor")), strict=True))
    assert keys == sorted(keys, key=lambda key: [part.encode() for part in key])
    if unit == "folder":
        assert [key[2] for key in keys] == sorted(
            (path for path in files if path.endswith(".hea")),
            key=lambda path: (
                (path.split("/")[0] if "/" in path else ".").encode(),
                (path.rpartition("/")[0] or ".").encode(),
                path.encode(),
            ),
        )
    assert plan.size == sum(plan.files["size"].to_pylist()) == int(plan.task_sizes.sum()) == int(plan.shard_sizes.sum())
    if plan.n_tasks and shards != "folder" and not shards.endswith("B"):
        assert plan.shard_sizes.max() <= plan.size / plan.n_shards + plan.unit_sizes.max()


@given(PATHS, st.sampled_from(["folder", "2"]), st.sampled_from(["1", "per-core"]))
def test_a_stored_plan_comes_back(paths: list[str], shards: str, chunk: str) -> None:
    plan = plan_of(dict.fromkeys(paths, 1), shards=ShardCut.parse(shards), chunks=ChunkCut.parse(chunk), cores=2)
    again = Plan.from_tables(plan.plan_id, plan.task_table(), plan.file_table())
    for name in ("unit_tasks", "unit_files", "shard_cuts", "chunk_cuts"):
        assert getattr(again, name).tolist() == getattr(plan, name).tolist(), name
    assert again.tasks.equals(plan.tasks)
    assert again.files.equals(plan.files)


def test_the_order_of_the_listing_does_not_matter() -> None:
    files = {"b/x.hea": 1, "a/y.hea": 2, "a/y.dat": 3}
    assert plan_of(files).plan_id == plan_of(dict(reversed(files.items()))).plan_id


def test_the_id_covers_what_determines_the_output_and_nothing_else() -> None:
    files = {"a/x.hea": 1, "a/x.dat": 2, "b/y.hea": 3, "b/y.dat": 4}
    plan = plan_of(files)
    assert plan.cut(ShardCut("count", 2), ChunkCut("count", 1)).plan_id == plan.plan_id
    assert plan_of({**files, "c/without.dat": 9}).plan_id == plan.plan_id, "a file of no unit"
    different = [
        plan_of({**files, "a/x.dat": 3}),
        plan_of({**files, "a/other.txt": 1}),
        plan_of(files, limit=1),
        plan_of(files, unit="stem"),
        plan_of(files, anchors=("y.hea",)),
        plan_of(files, extractor(schema={"m": "int64"}, anchor="*.hea")(headers.function)),
    ]
    assert len({plan.plan_id, *(other.plan_id for other in different)}) == 1 + len(different)


def test_tasks_have_the_bytes_of_their_own_files() -> None:
    plan = plan_of({"a/r1.hea": 1, "a/r1.dat": 10, "a/r2.hea": 1, "a/r2e.dat": 20, "a/r2p.dat": 30, "a/INDEX": 5})
    assert plan.tasks["size"].to_pylist() == [16, 51]


def test_units_stay_whole_and_in_place() -> None:
    plan = plan_of({"30/1/a.hea": 1, "30/1/deep/b.hea": 1, "30/1/z.hea": 1, "30/10/c.hea": 1, "top.hea": 1})
    assert plan.tasks["unit"].to_pylist() == [".", "30/1", "30/1", "30/1/deep", "30/10"]
    assert plan.n_units == 4


def test_limit_takes_the_first_units() -> None:
    plan = plan_of({"a/1.hea": 1, "b/2.hea": 1, "c/3.hea": 1, "b/2.dat": 5}, limit=2)
    assert plan.tasks["unit"].to_pylist() == ["a", "b"]
    assert plan.files["path"].to_pylist() == ["a/1.hea", "b/2.dat", "b/2.hea"]


@pytest.mark.parametrize("files", [{}, {"a/x.dat": 1}])
def test_no_tasks_is_an_empty_plan(files: dict[str, int]) -> None:
    plan = plan_of(files)
    assert (plan.n_tasks, plan.n_units, plan.n_shards, plan.n_chunks) == (0, 0, 0, 0)


def test_orphans_are_told() -> None:
    from scaledproc.extractors.wfdb_summary import WfdbSummary

    files = {"a/r.hea": 1, "a/r.dat": 1, "a/re.dat": 1, "a/lost.dat": 1, "b/alone.dat": 1, "b/other.txt": 1}
    (warning,) = make_plan(inventory(files), WfdbSummary()).warnings
    assert warning == "2 *.dat without a header to accompany them: 'a/lost.dat', 'b/alone.dat'"


def test_a_group_larger_than_the_rest_is_told() -> None:
    files = {"a/x.hea": 1, "b/x.hea": 100, "c/x.hea": 1}
    (warning,) = plan_of(files).warnings
    assert warning.startswith("group 'b' holds 98%")
    assert "--shards 3" in warning
    (warning,) = plan_of(files, shards=ShardCut("count", 2)).warnings
    assert warning == "unit 'b' holds 98% of all bytes, and a unit is never cut"
    assert not plan_of({**files, "a/x.hea": 99}, shards=ShardCut("count", 2)).warnings


def test_the_repr_tells_the_plan() -> None:
    text = repr(plan_of({"a/x.hea": 1000, "b/x.hea": 3000}))
    assert "2 tasks in 2 units, 4.0 kB; 2 shards (balance 1.50)" in text


def test_cuts_are_shown_in_the_table() -> None:
    files = {f"{group}/{n}.hea": 1 for group in "ab" for n in range(3)}
    table = plan_of(files, chunks=ChunkCut("count", 2)).task_table()
    assert table["shard"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert table["chunk"].to_pylist() == [0, 0, 1, 0, 0, 1]
    assert all(a <= b for a, b in pairwise(table["shard"].to_pylist()))
