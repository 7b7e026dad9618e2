"""What of a plan is in an earlier one: by names, sizes, versions and contents, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors import extractor
from scaledproc.planning.comparison import compare_plans, same_files
from scaledproc.planning.inventory import Inventory
from scaledproc.planning.plan import Plan, make_plan

Files = Mapping[str, tuple[int, str]]
"""Sizes and versions, by path."""


@extractor(schema={"n": "int64"}, anchor="*.hea")
def headers(task: object) -> list[object]:
    return []


def plan_of(files: Files, contents: Mapping[str, str | None] | None = None, unit: str = "folder") -> Plan:
    columns = {
        "path": pa.array(files, pa.large_string()),
        "size": pa.array([size for size, _ in files.values()], pa.int64()),
        "version": pa.array([version for _, version in files.values()], pa.string()),
    }
    made = make_plan(Inventory(pa.table(columns)), headers, unit=unit)
    if contents is None:
        return made
    return replace(made, contents=pa.array([contents[path] for path in made.files["path"].to_pylist()], pa.string()))


WAS = {"a/1.hea": (1, "v"), "a/1.dat": (2, "v"), "b/2.hea": (3, "v"), "c/3.hea": (4, "v"), "c/4.hea": (5, "v")}


def test_the_same_plan_is_there_whole() -> None:
    found = compare_plans(plan_of(WAS), plan_of(WAS))
    assert found.units.tolist() == [0, 1, 2]
    assert found.is_same.tolist() == [True] * 3
    assert found.tasks.tolist() == [0, 1, 2, 3]
    assert found.unit_of_task.tolist() == [0, 1, 2, 2]
    assert found.counts == {"new": 0, "changed": 0, "gone": 0}


@pytest.mark.parametrize(
    ("changes", "is_same", "counts"),
    [
        ({"a/1.dat": (9, "v")}, [False, True, True], (0, 1, 0)),
        ({"a/1.dat": (2, "w")}, [False, True, True], (0, 1, 0)),
        ({"a/1.dat": None}, [False, True, True], (0, 1, 0)),
        ({"a/0.dat": (2, "v")}, [False, True, True], (0, 1, 0)),
        ({"c/4.dat": (2, "v")}, [True, True, False], (0, 1, 0)),
        ({"a/1.dat": None, "a/2.dat": (2, "v")}, [False, True, True], (0, 1, 0)),
        ({"b/2.hea": None}, [True, True], (0, 0, 1)),
        ({"bb/2.hea": (3, "v")}, [True, True, False, True], (1, 0, 0)),
        ({"b/2.hea": None, "bb/2.hea": (3, "v")}, [True, False, True], (1, 0, 1)),
    ],
)
def test_a_change_is_its_units_alone(
    changes: Mapping[str, tuple[int, str] | None], is_same: list[bool], counts: tuple[int, ...]
) -> None:
    now = {path: file for path, file in {**WAS, **changes}.items() if file is not None}
    found = compare_plans(plan_of(WAS), plan_of(now))
    assert found.is_same.tolist() == is_same
    assert tuple(found.counts.values()) == counts


def test_tasks_are_known_by_group_unit_and_anchor() -> None:
    was = plan_of({"a/x/1.hea": (1, "v"), "b/1.hea": (1, "v"), "b/2.hea": (1, "v")})
    found = compare_plans(was, plan_of({"a/x/1.hea": (1, "v"), "b/2.hea": (1, "v"), "b/3.hea": (1, "v")}))
    assert found.tasks.tolist() == [0, 2, -1]
    assert found.unit_of_task.tolist() == [0, 1, 1]
    apart = plan_of({"a/x/1.hea": (1, "v"), "b/1.hea": (1, "v"), "b/2.hea": (1, "v")}, unit="file")
    assert compare_plans(was, apart).tasks.tolist() == [-1, -1, -1]
    for name in ("group", "unit"):
        other = was.tasks.set_column(
            was.tasks.schema.get_field_index(name), name, pa.array(["z"] * 3, was.tasks.schema.field(name).type)
        )
        assert compare_plans(was, replace(was, tasks=other)).tasks.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("versions", ["v", ""])
def test_plans_without_tasks(versions: str) -> None:
    some, none = plan_of({"a/1.hea": (1, versions)}), plan_of({})
    new = compare_plans(none, some)
    assert (new.units.tolist(), new.is_same.tolist(), new.tasks.tolist(), new.gone) == ([-1], [False], [-1], 0)
    gone = compare_plans(some, none)
    assert (gone.units.tolist(), gone.is_same.tolist(), gone.tasks.tolist(), gone.gone) == ([], [], [], 1)
    assert compare_plans(none, none).counts == {"new": 0, "changed": 0, "gone": 0}
    files, same = same_files(none, some)
    assert (files.tolist(), same.tolist()) == ([-1], [False])


def test_files_of_which_no_version_is_known() -> None:
    was, now = plan_of({"a/1.hea": (1, ""), "b/2.hea": (2, "v")}), plan_of({"a/1.hea": (1, ""), "b/2.hea": (2, "v")})
    assert same_files(was, now)[1].tolist() == [True, True]
    assert same_files(was, now, knows_versions=True)[1].tolist() == [False, True]
    assert compare_plans(was, now).is_same.tolist() == [True, True]
    assert compare_plans(was, now, knows_versions=True).is_same.tolist() == [False, True]


def test_contents_tell_where_both_are_known() -> None:
    was = {"a/1.hea": (1, "v"), "b/2.hea": (2, "v"), "c/3.hea": (3, "v"), "d/4.hea": (4, "v")}
    now = {
        **dict.fromkeys(was, (0, "w")),
        "a/1.hea": (1, "w"),
        "b/2.hea": (2, "w"),
        "d/4.hea": (4, "w"),
        "e/5.hea": (1, "w"),
    }
    hashes_was: Mapping[str, str | None] = {"a/1.hea": "A", "b/2.hea": "B", "c/3.hea": "C", "d/4.hea": None}
    hashes_now: Mapping[str, str | None] = {
        "a/1.hea": "A",
        "b/2.hea": "X",
        "c/3.hea": "C",
        "d/4.hea": None,
        "e/5.hea": "A",
    }
    known = plan_of(was, hashes_was), plan_of(now, hashes_now)
    files, same = same_files(*known)
    assert files.tolist() == [0, 1, 2, 3, -1]
    assert same.tolist() == [True, False, False, False, False]  # of another size it is another file
    assert not same_files(*known, by_content=False)[1].any()
    assert not same_files(known[0], plan_of(now))[1].any()
    assert not same_files(plan_of(was), known[1])[1].any()
    assert compare_plans(*known).is_same.tolist() == [True, False, False, False, False]


FILES = st.dictionaries(
    st.builds("{}/{}.{}".format, st.sampled_from("abc"), st.sampled_from("12"), st.sampled_from(["hea", "dat"])),
    st.tuples(st.integers(1, 2), st.sampled_from(["v", "w"])),
)


@given(FILES, FILES)
def test_any_two_plans_as_by_dictionaries(was: Files, now: Files) -> None:
    one, two = plan_of(was), plan_of(now)
    found = compare_plans(one, two)

    def units_of(plan: Plan) -> dict[str, Files]:
        names = plan.tasks["unit"].take(pa.array(plan.unit_tasks[:-1])).to_pylist()
        rows = [plan.files_of(unit).to_pylist() for unit in range(plan.n_units)]
        return {
            name: {row["path"]: (row["size"], row["version"]) for row in files}
            for name, files in zip(names, rows, strict=True)
        }

    before, after = units_of(one), units_of(two)
    places = {name: place for place, name in enumerate(before)}
    assert found.units.tolist() == [places.get(name, -1) for name in after]
    assert found.is_same.tolist() == [before.get(name) == files for name, files in after.items()]
    assert found.gone == len(before.keys() - after.keys())
    anchors = one.tasks["anchor"].to_pylist()
    assert found.tasks.tolist() == [
        anchors.index(anchor) if anchor in anchors else -1 for anchor in two.tasks["anchor"].to_pylist()
    ]
    assert found.unit_of_task.tolist() == np.repeat(np.arange(two.n_units), np.diff(two.unit_tasks)).tolist()
