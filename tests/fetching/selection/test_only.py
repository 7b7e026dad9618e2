"""`--only`: which files a list of records, folders or subjects means."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Cli, TreeWriter

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.fetching.selection.only import Selected, Selection

SEGMENT = "waves/p100/p10014354/81739927/81739927_0001.hea"


@pytest.mark.parametrize(
    ("name", "path", "is_wanted"),
    [
        ("3000003", "30/3000003/3000003_0001.hea", True),
        ("30/3000003/", "30/3000003/3000003_0001.dat", True),
        ("./30", "30/3000003/3000003_0001.dat", True),
        ("3000003", "30/3000003n/x.hea", False),
        ("300000", "30/3000003/3000003_0001.hea", False),
        ("100", "100.hea", True),
        ("100", "100.atr.gz", True),
        ("100", "100_0001.dat", True),
        ("100", "1000.hea", False),
        ("100", "100a.hea", False),
        ("100.hea", "100.dat", True),
        ("81739927", "waves/81739927n.csv.gz", True),
        ("8173992", "waves/81739927n.csv.gz", False),
        ("3544749", "p00/p000020/3544749n.hea", False),
        ("3544749n", "p00/p000020/3544749n.hea", True),
        ("p00/p000020/p000020-2183", "p00/p000020/p000020-2183.hea", True),
        ("p000020/p000020-2183", "p00/p000020/p000020-2183.hea", True),
        ("p000021/p000020-2183", "p00/p000020/p000020-2183.hea", False),
        ("20", "p00/p000020/x.hea", True),
        ("000020", "p00/p000020/x.hea", True),
        ("0", "p00/p000020/x.hea", False),
        ("100", "waves/p100/p10014354/x.hea", False),
        ("10014354", SEGMENT, True),
        ("p10014354", SEGMENT, True),
        ("p10014354/81739927", SEGMENT, True),
        ("waves/p100/p10014354/81739927/81739927", SEGMENT, True),
        ("81739927_0001", SEGMENT, True),
        ("p100", SEGMENT, True),
    ],
)
def test_what_a_name_means(name: str, path: str, is_wanted: bool) -> None:
    selected = Selected(Selection("list", (name.strip("/").removeprefix("./").removesuffix(".hea"),)))
    assert selected.wants(path) == is_wanted
    assert selected.missing == ([] if is_wanted else list(selected.selection.names))


@given(st.lists(st.from_regex(r"[a-z0-9]{1,3}(/[a-z0-9]{1,3}){0,2}", fullmatch=True), min_size=1))
def test_each_file_and_folder_can_be_named(paths: list[str]) -> None:
    """Whole names alone count: the name of one file wants no file that has no such name on its path."""
    for wanted in paths:
        selected = Selected(Selection("list", (wanted,)))
        assert selected.wants(f"{wanted}.hea")
        assert selected.wants(f"{wanted}/below.dat")
        for path in paths:
            assert selected.wants(f"{path}.hea") == (f"/{wanted}/" in f"/{path}/")


@pytest.mark.parametrize(
    ("file", "content", "column", "names"),
    [
        ("a.txt", "\ufeff./30/a/\r\n\n# not this\nb.hea\nb\n", "", ("30/a", "b")),
        ("a.csv", 'record\n3000003\n"30/a b"\n\n', "", ("record", "3000003", "30/a b")),
        ("a.csv", "p000020\r\np010001\r\n", "", ("p000020", "p010001")),
        ("a.csv", "subject_id;x\n20.0;1\n;2\n10014354.0;1\n", ":subject_id", ("20", "10014354")),
        ("a.csv", "subject_id,x\n20,1\n30,2\n20,3\n", ":subject_id", ("20", "30")),
        ("a.tsv", "x\tsubject_id\n1\t20\n", ":subject_id", ("20",)),
        ("a.list", "subject_id, x\n20,1\n", ":x", ("1",)),
        ("with:colon.txt", "r\n", "", ("r",)),
    ],
)
def test_lists(tmp_path: Path, file: str, content: str, column: str, names: tuple[str, ...]) -> None:
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert Selection.read(f"{tmp_path / file}{column}").names == names


def test_tables_as_mimic_has_them(tmp_path: Path) -> None:
    (tmp_path / "icustays.csv.gz").write_bytes(gzip.compress(b"ROW_ID,SUBJECT_ID\n1,20\n2,30\n"))
    assert Selection.read(f"{tmp_path}/icustays.csv.gz:subject_id").names == ("20", "30")
    whole = (tmp_path / "icustays.csv.gz").read_bytes()
    for damaged in (whole[:-9], whole[:12] + b"\xff" * 20):
        (tmp_path / "icustays.csv.gz").write_bytes(damaged)
        with pytest.raises(UsageError, match="--only"):
            Selection.read(f"{tmp_path}/icustays.csv.gz:subject_id")


@pytest.mark.parametrize(
    ("file", "content", "column", "message"),
    [
        ("a.txt", b"\n# nothing\n", "", "the file names nothing"),
        ("a.txt", b"\xff\xfe1\0", "", "no UTF-8 text"),
        ("a.csv", b"subject_id,hadm_id\n1,2\n", "", "which column.*subject_id, hadm_id"),
        ("a.csv", b"subject_id,hadm_id\n1,2\n", ":patient", "no column 'patient', but subject_id, hadm_id"),
        ("a.csv", b"", ":patient", "no column 'patient', but none"),
        ("a.csv", b"id,id\n1,2\n", ":id", "2 columns 'id': which one is meant is not known"),
    ],
)
def test_lists_that_cannot_be(tmp_path: Path, file: str, content: bytes, column: str, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        Selection.read(f"{tmp_path / file}{column}")
    with pytest.raises(UsageError, match="--only"):
        Selection.read(tmp_path / "no" / "such.txt")


def test_a_heading_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("record\n100\n101\n")
    selected = Selected(Selection.read(tmp_path / "a.csv"))
    assert selected.wants("100.dat")
    assert selected.missing == ["101"]
    assert "1 of 2 names" in str(selected.missing_text("there"))


@pytest.mark.slow
def test_plan_and_run(cli: Cli, tmp_path: Path, demo: Path) -> None:
    """Only tasks of what is listed, each as without the list; what is not there is told."""
    names = tmp_path / "cohort.csv"
    names.write_text("patient,record\n1,3000003\n2,31/3100112\n3,9999999\n")
    whole = scaledproc.run(demo, tmp_path / "whole", jobs=1).to_arrow().to_pylist()
    told = cli("plan", demo, "--only", f"{names}:record", "--json")
    content: dict[str, Any] = json.loads(told.stdout)
    assert any(f"1 of 3 names in {names}:record are not in {demo}: 9999999" in w for w in content["warnings"])
    run = scaledproc.run(demo, tmp_path / "out", only=f"{names}:record", jobs=1)
    kept = [row for row in whole if {"3000003", "3100112"} & set(row["unit"].split("/"))]
    assert run.to_arrow().to_pylist() == kept
    assert kept
    noted = run.record.options["only"]
    assert re.fullmatch(rf"{re.escape(str(names))}:record \(sha256:[0-9a-f]{{16}}\)", noted)
    names.write_text("patient,record\n1,3000003\n")
    again = cli("run", "--backend", "local", "--only", f"{names}:record", demo, tmp_path / "out")
    assert again.returncode == 2
    assert f"--only: the names in {names}:record changed" in again.stderr
    names.write_text("patient,record\n2,31/3100112\n1,3000003\n3,9999999\n")
    again = cli("run", "--backend", "local", "--only", f"{names}:record", demo, tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert content["tasks"] == run.record.counts["tasks"]
    assert cli("verify", tmp_path / "out", "--inventory").returncode == 0


@pytest.mark.slow
def test_nothing_of_a_list_is_there(cli: Cli, tmp_path: Path, demo: Path) -> None:
    (tmp_path / "names.txt").write_text("9999999\n")
    done = cli("run", "--backend", "local", "--only", tmp_path / "names.txt", demo, tmp_path / "o")
    assert done.returncode == 1
    assert "1 of 1 names in" in done.stderr
    assert "9999999" in done.stderr
    assert not (tmp_path / "o").exists()


def test_flat_dataset(tree: TreeWriter, tmp_path: Path) -> None:
    """A record of many in one folder is a task; the unit's other files stay beside it."""
    root = tree({f"{number}.csv": b"x" for number in (100, 101, 1000)})
    (tmp_path / "names.txt").write_text("100\n")

    @scaledproc.extractor(schema={"path": "string", "beside": "int64"}, anchor="*.csv")
    def names(task: scaledproc.Task) -> dict[str, Any]:
        return {"path": task.anchor, "beside": len(task.files)}

    run = scaledproc.run(root, tmp_path / "out", extractor=names, only=tmp_path / "names.txt", jobs=1)
    assert run.to_arrow(columns=["path", "beside"]).to_pylist() == [{"path": "100.csv", "beside": 3}]
