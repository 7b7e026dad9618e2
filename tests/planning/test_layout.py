"""Files to units and anchors, from their paths."""

from __future__ import annotations

import posixpath
import re
from itertools import groupby, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.errors import UsageError
from scaledproc.planning.layout import Layout

SUBJECT = "(?P<unit>sub-[0-9]+)"


def arranged(paths: list[str], unit: str, *anchors: str) -> list[tuple[str, str, str]]:
    """The rows' groups, units and paths."""
    rows = arrange(paths, unit, *anchors).to_pylist()
    return [(row["group"], row["unit"], row["path"]) for row in rows]


def arrange(paths: list[str], unit: str, *anchors: str) -> pa.Table:
    files = pa.table(
        {
            "path": pa.array(paths, pa.large_string()),
            "size": pa.array(range(len(paths)), pa.int64()),
            "version": pa.array([f"v {path}" for path in paths], pa.string()),
        }
    )
    found = Layout(unit, anchors or ("*",)).arrange(files)
    unit_of_file = pa.array(np.repeat(np.arange(len(found.units)), np.diff(found.offsets)))
    table = files.take(pa.array(found.order)).append_column("is_anchor", pa.array(found.is_anchor))
    table = table.append_column("group", found.groups.take(unit_of_file))
    return table.append_column("unit", found.units.take(unit_of_file))


def test_folder() -> None:
    assert arranged(["30/3000003/a.hea", "30/RECORDS", "README", "30/3000003/a.dat"], "folder") == [
        (".", ".", "README"),
        ("30", "30", "30/RECORDS"),
        ("30", "30/3000003", "30/3000003/a.dat"),
        ("30", "30/3000003", "30/3000003/a.hea"),
    ]


def test_companions_below_an_anchor_are_of_its_unit() -> None:
    paths = [
        "a/r.hea",
        "a/notes/x.txt",
        "a/sig/r.dat",
        "a/sig/deep/r.dat",
        "a/b/s.hea",
        "a/b/s.dat",
        "c/d/t.dat",
        "u.dat",
    ]
    table = pa.table({"path": pa.array(paths, pa.large_string())})
    found = Layout("folder", ("*.hea",), ("*.dat",)).arrange(table)
    units: dict[str, list[str]] = {name: [] for name in found.units.to_pylist()}
    for name, first, stop in zip(units, found.offsets, found.offsets[1:], strict=False):
        units[name] = [paths[row] for row in found.order[first:stop]]
    assert {name: files for name, files in units.items() if files} == {
        ".": ["u.dat"],
        "a": ["a/r.hea", "a/sig/deep/r.dat", "a/sig/r.dat"],
        "a/b": ["a/b/s.dat", "a/b/s.hea"],
        "a/notes": ["a/notes/x.txt"],
        "c/d": ["c/d/t.dat"],
    }
    with_root = Layout("folder", ("*.hea",), ("*.dat",)).arrange(
        pa.table({"path": pa.array(["r.hea", "x/y/r.dat"], pa.large_string())})
    )
    assert np.diff(with_root.offsets)[with_root.units.to_pylist().index(".")] == 2


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("30/a.hea", "30/a"),
        ("30/a.dat.gz", "30/a"),
        ("30/a.csv.bz2", "30/a"),
        ("30/a.csv.zst", "30/a"),
        ("30/a.gz", "30/a"),
        ("30/a", "30/a"),
        ("30.x/a", "30.x/a"),
        ("a.hea", "a"),
        ("30/a.b.hea", "30/a.b"),
        ("30/a.", "30/a"),
        ("30/.hidden", "30/.hidden"),
        ("30/.hidden.txt", "30/.hidden"),
        ("30/two\nlines.hea", "30/two\nlines"),
        ("a[1] 'x'.hea", "a[1] 'x'"),
    ],
)
def test_stem(path: str, stem: str) -> None:
    assert arrange([path], "stem")["unit"].to_pylist() == [stem]


def test_stem_keeps_folders_and_longer_names_apart() -> None:
    units = [unit for _, unit, _ in arranged(["a/x.hea", "a/x.dat.gz", "a/xy.hea", "b/x.hea", "x.hea"], "stem")]
    assert units == ["x", "a/x", "a/x", "a/xy", "b/x"]


def test_file() -> None:
    assert [unit for _, unit, _ in arranged(["a/x.hea", "a/x.dat", "y"], "file")] == ["y", "a/x.dat", "a/x.hea"]


def test_regular_expression_over_several_groups_is_one_unit() -> None:
    paths = ["raw/sub-2/x", "derived/sub-2/y", "raw/sub-10/x", "derived/sub-1.txt", "raw/README"]
    assert arranged(paths, SUBJECT) == [
        ("derived", "sub-1", "derived/sub-1.txt"),
        ("derived", "sub-2", "derived/sub-2/y"),
        ("derived", "sub-2", "raw/sub-2/x"),
        ("raw", "sub-10", "raw/sub-10/x"),
    ]


@pytest.mark.parametrize(
    "unit", ["(?P<unit>", "(?P<unit>[a-)", "(?P<unit>a)(?=b)", "(?P<unit>a)(?P<unit>b)", "folders", "sub-[0-9]+", ""]
)
def test_bad_unit(unit: str) -> None:
    with pytest.raises(UsageError, match="--unit"):
        arrange(["a/b"], unit)


def test_no_anchor_pattern() -> None:
    with pytest.raises(UsageError, match="--anchor"):
        Layout("folder", ())


def test_anchors() -> None:
    rows = arrange(["a/x.hea", "a/x.dat", "b/RECORDS", "b/x.heap"], "folder", "*.hea", "b/RECORDS").to_pylist()
    assert {row["path"] for row in rows if row["is_anchor"]} == {"a/x.hea", "b/RECORDS"}


def test_nested_folder_does_not_part_its_parents_files() -> None:
    paths = ["30/a/a.hea", "30/a/m/n.hea", "30/a/z.hea", "30/a.b/x.hea", "30/a/m.hea"]
    assert sorted(paths)[2] == "30/a/m.hea"  # by path alone, the folder `m` would come between
    assert [path for _, _, path in arranged(paths, "folder")] == [
        "30/a/a.hea",
        "30/a/m.hea",
        "30/a/z.hea",
        "30/a.b/x.hea",
        "30/a/m/n.hea",
    ]


def test_order_is_that_of_bytes() -> None:
    names = ["a", "Z", "é", "z", "\uffff", "\U00010000", "10", "9", " ", "A"]
    found = [path for _, _, path in arranged([f"g/{name}/x" for name in names], "folder")]
    assert found == sorted((f"g/{name}/x" for name in names), key=str.encode)


def test_sizes_and_versions_stay_with_their_files() -> None:
    paths = ["b/y", "a/x", "c", "a/b/z"]
    for row in arrange(paths, "folder").to_pylist():
        assert (row["size"], row["version"]) == (paths.index(row["path"]), f"v {row['path']}")


def test_no_files() -> None:
    for unit in ("folder", "stem", "file", SUBJECT):
        assert arrange([], unit).num_rows == 0


NAMES = st.one_of(
    st.sampled_from(["a", "b", "a.b", "sub-1", "sub-2", "sub-1.gz", ".x", "é", " ", "a\nb", "x.y.gz"]),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=3).filter(
        lambda name: name not in (".", "..")
    ),
)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True, max_size=25)


def expected_unit(path: str, unit: str) -> str | None:
    if unit == "folder":
        return posixpath.dirname(path) or "."
    if unit == "file":
        return path
    found = re.search(SUBJECT, path)
    return found["unit"] if found else None


@given(paths=PATHS, unit=st.sampled_from(["folder", "stem", "file", SUBJECT]))
def test_every_file_with_a_unit_is_in_one_row_and_units_are_in_one_piece(paths: list[str], unit: str) -> None:
    rows = arranged(paths, unit)
    if unit == "stem":
        assert sorted(path for _, _, path in rows) == sorted(paths)
        assert all(path.startswith(stem) and "/" not in path.removeprefix(stem) for _, stem, path in rows)
    else:
        expected = {path: expected_unit(path, unit) for path in paths}
        assert {path: found for _, found, path in rows} == {path: one for path, one in expected.items() if one}
    assert len({path for _, _, path in rows}) == len(rows)
    assert rows == sorted(rows, key=lambda row: [part.encode() for part in row])
    pieces = [found for found, _ in groupby(found for _, found, _ in rows)]
    assert len(pieces) == len(set(pieces))


def test_folders_are_units_and_each_file_starts_a_task_unless_told_otherwise() -> None:
    layout = Layout()
    assert (layout.unit, layout.anchors, layout.companions) == ("folder", ("*",), ())
    found = layout.arrange(pa.table({"path": ["a/y", "b/x"]}))
    assert found.units.to_pylist() == ["a", "b"]
    assert found.is_anchor.all()


@pytest.mark.parametrize("unit", ["stem", "file", "(?P<unit>.+/[xy])"])
def test_companions_are_moved_only_where_folders_are_units(unit: str) -> None:
    files = pa.table({"path": ["a/x.hea", "a/b/y.dat"]})
    with_companions = Layout(unit, ("*.hea",), ("*.dat",)).arrange(files)
    without = Layout(unit, ("*.hea",)).arrange(files)
    assert with_companions.units == without.units
    assert with_companions.order.tolist() == without.order.tolist()
    assert len(without.units) == 2


def units_with_companions(paths: list[str], unit: str = "folder") -> dict[str, str]:
    """The unit of each file, where `*.hea` are anchors and `*.dat` their companions."""
    found = Layout(unit, ("*.hea",), ("*.dat",)).arrange(pa.table({"path": pa.array(paths, pa.large_string())}))
    names = found.units.to_pylist()
    return {
        paths[row]: names[place]
        for place, (first, stop) in enumerate(pairwise(found.offsets.tolist()))
        for row in found.order[first:stop]
    }


def test_companions_belong_to_the_nearest_anchor_above() -> None:
    found = units_with_companions(["a/r.hea", "a/b/s.hea", "a/b/c/t.dat", "a/d/e/u.dat", "v.hea", "f/w.dat"])
    assert (found["a/b/c/t.dat"], found["a/d/e/u.dat"], found["f/w.dat"]) == ("a/b", "a", ".")


def test_companions_without_an_anchor_above_stay_where_they_are() -> None:
    """Whatever units there are beside them: the folders above hold no file."""
    for others in (["q/x.txt", "p/r.hea"], ["p/r.hea", "q/s.hea"], ["q/x.txt", "q/y.txt", "p/r.hea"], ["p/r.hea"]):
        for paths in ([*others, "c/d/t.dat"], ["c/d/t.dat", *others]):
            assert units_with_companions(paths)["c/d/t.dat"] == "c/d"


def test_companions_mean_nothing_where_folders_are_no_units() -> None:
    assert units_with_companions(["a.hea", "a/y.dat"], "stem") == {"a.hea": "a", "a/y.dat": "a/y"}
    assert units_with_companions(["a.hea", "a/y.dat"], "(?P<unit>^a(?:/y)?)") == {
        "a.hea": "a",
        "a/y.dat": "a/y",
    }


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("(a)(?P<unit>b)", r"^--unit '\(a\)\(\?P<unit>b\)' has a group without a name: write \(\?:…\)"),
        ("(?P<unit>b", r"^--unit '\(\?P<unit>b' cannot be read as a regular expression: .*missing"),
    ],
)
def test_regular_expressions_that_cannot_be(unit: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        arrange(["a/x"], unit)


def test_files_whose_unit_would_be_empty_are_none() -> None:
    assert arranged(["abc", "12b", "x/7"], "^(?P<unit>[0-9]*)") == [(".", "12", "12b")]


@pytest.mark.parametrize("unit", ["folder", SUBJECT])
def test_few_files_are_sorted_too(unit: str) -> None:
    paths = ["sub-1/c", "sub-1/b", "sub-1/a"]
    for count in (1, 2, 3):
        assert [path for _, _, path in arranged(paths[:count], unit)] == sorted(paths[:count])
