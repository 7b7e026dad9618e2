"""Plans: any inventory, any cuts."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors import FunctionExtractor, extractor
from scaledproc.extractors.wfdb.summary import WfdbSummary
from scaledproc.planning.inventory import Inventory
from scaledproc.planning.partition import ChunkCut, ShardCut
from scaledproc.planning.path_arrays import folders, stems, tops
from scaledproc.planning.plan import Plan, make_plan, take_rows

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


@given(PATHS, st.integers(0, 4), st.data())
def test_files_of_several_units_are_those_of_each(paths: list[str], most: int, data: st.DataObject) -> None:
    plan = plan_of({path: number for number, path in enumerate(paths)})
    start = data.draw(st.integers(0, max(plan.n_units - 1, 0)))
    units = range(start, data.draw(st.integers(min(start + 1, plan.n_units), plan.n_units)))
    each = [plan.sizes_of(unit) for unit in units]
    if units:
        assert plan.sizes_of_units(units, most) == [None if len(sizes) > most else sizes for sizes in each]
        assert plan.sizes_of_units(units, len(paths)) == each


@given(PATHS, st.sampled_from(["folder", "2"]), st.sampled_from(["1", "per-core"]))
def test_a_stored_plan_comes_back(paths: list[str], shards: str, chunk: str) -> None:
    plan = plan_of(dict.fromkeys(paths, 1), shards=ShardCut.parse(shards), chunks=ChunkCut.parse(chunk), cores=2)
    again = Plan.from_tables(plan.plan_id, plan.task_table(), plan.file_table())
    for name in ("unit_tasks", "unit_files", "shard_cuts", "chunk_cuts"):
        assert getattr(again, name).tolist() == getattr(plan, name).tolist(), name
    assert again.tasks.equals(plan.tasks)
    assert again.files.equals(plan.files)


REAL_NAMES = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "30/", "30/a/", "30/a.b/", "30/a/m/", "é/", "31/", "31/x.gz/"]),
        st.sampled_from(["a", "b", "a_1", "a.b", "RECORDS", "é", "an", ".x", "b.gz"]),
        st.sampled_from(["", ".hea", ".dat", ".dat.gz", ".hea.gz", ".x", ".", "..gz", ".Z", "e.dat"]),
    ),
    max_size=30,
    unique=True,
)
SUBJECT = r"(?P<unit>a[^/]?|3[01])"
# As the words have it, with no thought of speed.
STEM = re.compile(r"(?s)^(?P<stem>(?:.*/)?[^/]+?)(?:\.[^./]*?(?:\.(?:gz|bz2|xz|zst|lz4|Z))?)?\Z")


def stem_of(path: str) -> str:
    found = STEM.match(path)
    assert found
    return found["stem"]


def unit_of(path: str, unit: str) -> str | None:
    if unit == "folder":
        return path.rpartition("/")[0] or "."
    if unit in ("stem", "file"):
        return stem_of(path) if unit == "stem" else path
    found = re.search(unit, path)
    return found["unit"] if found else None


def simple_plan(files: dict[str, int], unit: str) -> tuple[list[tuple[str, str, str, int]], list[str]]:
    """Tasks (group, unit, anchor, size), and the files of their units, in order."""
    units: dict[str, list[str]] = {}
    for path in files:
        name = unit_of(path, unit)
        if name:
            units.setdefault(name, []).append(path)
    groups = {
        name: min((path.partition("/")[0] if "/" in path else "." for path in paths), key=str.encode)
        for name, paths in units.items()
    }
    tasks, kept = [], []
    for name in sorted(units, key=lambda name: (groups[name].encode(), name.encode())):
        paths = sorted(units[name], key=str.encode)
        anchors = [path for path in paths if path.endswith(".hea")]
        if not anchors:
            continue
        kept += paths
        sizes = dict.fromkeys(anchors, 0)
        for place, path in enumerate(paths):
            before = [anchor for anchor in paths[: place + 1] if anchor in sizes]
            same = [anchor for anchor in anchors if stem_of(anchor) == stem_of(path)]
            mine = path if path in sizes else (same or before[-1:] or anchors)[0]
            sizes[mine] += files[path]
        tasks += [(groups[name], name, anchor, sizes[anchor]) for anchor in anchors]
    return tasks, kept


@pytest.mark.slow
@given(REAL_NAMES, st.sampled_from(["folder", "stem", "file", SUBJECT]), st.randoms(), st.integers(1, 7))
def test_a_plan_is_the_simple_one_in_any_order_and_any_pieces(
    paths: list[str], unit: str, random: Random, piece: int
) -> None:
    files = {path: 3**place for place, path in enumerate(paths)}
    tasks, kept = simple_plan(files, unit)
    plan = plan_of(files, unit=unit)
    assert list(zip(*plan.tasks.to_pydict().values(), strict=True)) == tasks
    assert plan.files["path"].to_pylist() == kept
    for order in (sorted(paths), random.sample(paths, len(paths))):
        whole = inventory({path: files[path] for path in order}).files
        pieces = [whole.slice(start, piece) for start in range(0, len(whole), piece)]
        other = make_plan(Inventory(pa.concat_tables([whole.slice(0, 0), *pieces])), headers, unit=unit)
        assert other.plan_id == plan.plan_id
        assert other.tasks.equals(plan.tasks)
        assert other.files.equals(plan.files)


@given(REAL_NAMES | PATHS, st.integers(1, 5), st.integers(0, 3))
def test_parts_of_paths_are_those_of_strings(paths: list[str], rows: int, skipped: int) -> None:
    paths = [path for path in paths if not path.endswith("/")]
    for start in range(0, len(paths), rows):
        piece = paths[start : start + rows]
        block = pa.array(["."] * skipped + piece, pa.large_string()).slice(skipped)
        assert folders(block).to_pylist() == [path.rpartition("/")[0] for path in piece]
        assert tops(block).to_pylist() == [path.partition("/")[0] if "/" in path else "" for path in piece]
        assert stems(block).to_pylist() == [stem_of(path) for path in piece]


def test_many_ranges_of_rows_are_taken_as_few_are() -> None:
    table = pa.table({"x": range(5_000)})
    for rows in (range(5_000), range(0, 5_000, 2), range(4_999, -1, -1), [7, 8, 9, 3], []):
        assert take_rows(table, np.array(rows, np.int64))["x"].to_pylist() == list(rows)


GOLDEN = ("96168af30c69f4caaee3010684536d30", [3, 3, 5])


def test_ids_are_what_they_were() -> None:
    files = {"30/a/x.hea": 1, "30/a/x.dat": 2, "30/b.hea": 3, "RECORDS": 4, "é/y.hea": 5, "é/y/z.dat.gz": 6}
    found = make_plan(inventory(files), WfdbSummary())
    assert (found.plan_id, found.tasks["size"].to_pylist()) == GOLDEN


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
    # Whether a header beside them names them, only the headers know.
    files = {"a/r.hea": 1, "a/r.dat": 1, "a/re.dat": 1, "a/lost.dat": 1, "b/alone.dat": 1, "b/other.txt": 1}
    (warning,) = make_plan(inventory(files), WfdbSummary()).warnings
    assert warning == "1 *.dat in folders without a header, so that no task reads them: 'b/alone.dat'"
    del files["b/alone.dat"]
    assert make_plan(inventory(files), WfdbSummary()).warnings == ()


GB = 10**9


def test_a_group_larger_than_the_rest_is_told() -> None:
    little = {"a/x.hea": 1, "b/1/x.hea": 50, "b/2/x.hea": 50, "c/x.hea": 1}
    assert not plan_of(little).warnings  # all of it is done at once, whatever the cuts are
    files = {name: size * GB for name, size in little.items()}
    (warning,) = plan_of(files).warnings
    assert warning.startswith("group 'b' holds 98%")
    assert "--shards 3 cuts inside groups: balance 1.50 instead of 2.94" in warning
    files = {"a/x.hea": GB, "b/x.hea": 100 * GB, "c/x.hea": GB}
    assert plan_of(files).warnings == ("unit 'b' holds 98% of all bytes, and a unit is never cut",)
    (warning,) = plan_of(files, shards=ShardCut("count", 2)).warnings
    assert warning == "unit 'b' holds 98% of all bytes, and a unit is never cut"
    assert not plan_of({**files, "a/x.hea": 99 * GB}, shards=ShardCut("count", 2)).warnings


@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), st.integers(1, 1000), min_size=1, max_size=12)
)
def test_advice_that_is_followed_helps(sizes: dict[tuple[str, int], int]) -> None:
    files = {f"{group}/{unit}/x.hea": size * GB for (group, unit), size in sizes.items()}
    before = plan_of(files)
    for warning in before.warnings:
        if advised := re.search(r"--shards (\d+) cuts inside groups: balance ([\d.]+) instead of ([\d.]+)", warning):
            after = plan_of(files, shards=ShardCut("count", int(advised[1])))
            assert after.balance < before.balance
            assert [f"{after.balance:.2f}", f"{before.balance:.2f}"] == [advised[2], advised[3]]
        else:
            after = plan_of(files, shards=ShardCut("count", before.n_shards))
            assert after.balance > 0.94 * before.balance, warning


def test_the_repr_tells_the_plan() -> None:
    text = repr(plan_of({"a/x.hea": 1000, "b/x.hea": 3000}))
    assert "2 tasks in 2 units, 4.0 kB; 2 shards (balance 1.50)" in text


def test_cuts_are_shown_in_the_table() -> None:
    files = {f"{group}/{n}.hea": 1 for group in "ab" for n in range(3)}
    table = plan_of(files, chunks=ChunkCut("count", 2)).task_table()
    assert table["shard"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert table["chunk"].to_pylist() == [0, 0, 1, 0, 0, 1]
    assert all(a <= b for a, b in pairwise(table["shard"].to_pylist()))


def test_cores_that_share_all_shards_get_chunks_for_all_of_them() -> None:
    files = {f"{group}/{unit}.hea": 7_000 for group in range(50) for unit in range(40)}
    alone = make_plan(inventory(files), WfdbSummary(), cores=2)
    together = make_plan(inventory(files), WfdbSummary(), cores=2, together=True)
    assert alone.n_shards == together.n_shards == 50
    in_one = make_plan(inventory(files), WfdbSummary(), cores=2, together=True, shards=ShardCut("count", 1))
    assert in_one.n_chunks <= together.n_chunks <= in_one.n_chunks + 50 < alone.n_chunks
