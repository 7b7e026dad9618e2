"""Signal files that no header names: told at the end of a run, and only those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import scaledproc
from scaledproc.api import status
from scaledproc.engine.job import do_job
from scaledproc.engine.options import JobOrder
from scaledproc.events import CombineDone, Event, Note, RunStarted
from scaledproc.execution.tables import unreferenced
from scaledproc.reporting.text import status_json, status_text
from scaledproc.storage.parquet import read_tables


def write(root: Path, files: dict[str, str | int]) -> None:
    """Headers by their text, signal files by their size."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else b"\x81" * content)


def header(file: str, n: int = 4) -> str:
    return f"x 1 125 {n}\n{file} 80 2 8 0 0 0 0 II\n"


def notes_of(root: Path, out: Path, **options: Any) -> list[str]:
    events: list[Event] = []
    scaledproc.run(root, out, on_event=events.append, **{"jobs": 1, **options})
    return [event.text for event in events if isinstance(event, Note) and "*." in event.text]


def test_files_that_another_header_names_are_no_strays(tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        {
            # As in MIMIC's matched subset: no header has the name of the numerics' file.
            "p00/p000020/p000020-2183-04-28-17-47n.hea": header("3544749n.dat"),
            "p00/p000020/3544749n.dat": 4,
            "p00/p000020/3544749_0001.hea": header("3544749_0001.dat"),
            "p00/p000020/3544749_0001.dat": 4,
            "p01/a.hea": header("sub/deep.dat"),
            "p01/sub/deep.dat": 4,
        },
    )
    assert notes_of(tmp_path / "in", tmp_path / "out") == []


def test_files_that_no_header_names_are_told(tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        {
            "a/r.hea": header("r.dat"),
            "a/r.dat": 4,
            "a/re.dat": 4,  # begins like a header's name
            "b/x.hea": header("y.dat"),
            "b/x.dat": 4,  # has a header's name
            "b/y.dat": 4,
            "c/alone.dat": 4,
            "c/other.txt": 4,
        },
    )
    alone = "1 *.dat in folders without a header, so that no task reads them: 'c/alone.dat'"
    strays = "2 *.dat that no task's header names: 'a/re.dat', 'b/x.dat'"
    assert notes_of(tmp_path / "in", tmp_path / "out") == [alone, strays]
    events: list[Event] = []
    scaledproc.combine(tmp_path / "out", on_event=events.append)
    assert Note(strays) in events


def test_the_end_that_nobody_watched_is_told_later(tmp_path: Path) -> None:
    """As of a run that was detached: its machines end it, and whoever asks or gives the command again is told."""
    write(tmp_path / "in", {"a/r.hea": header("r.dat"), "a/r.dat": 4, "a/stray.dat": 4})

    def leave(event: Event) -> None:
        if isinstance(event, RunStarted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(tmp_path / "in", tmp_path / "out", jobs=1, on_event=leave)
    assert status(tmp_path / "out").notes == ()
    note = "1 *.dat that no task's header names: 'a/stray.dat'"
    order = JobOrder(str(tmp_path / "out"), shards=(0,), combine=True, finish=True, jobs=1)
    assert CombineDone in {type(event) for event in do_job(order)}
    found = status(tmp_path / "out")
    assert (found.state, found.notes) == ("done", (note,))
    assert note in status_text(found).splitlines()
    assert status_json(found)["notes"] == (note,)
    for _ in range(2):
        assert notes_of(tmp_path / "in", tmp_path / "out") == [note]
    (tmp_path / "in/a/stray.dat").unlink()
    assert notes_of(tmp_path / "in", tmp_path / "out", overwrite=True) == []
    assert status(tmp_path / "out").notes == ()


def test_signal_files_in_matlab_form(tmp_path: Path) -> None:
    """As in the Challenges' data: found in a folder below their header's, and told where no header names them."""
    write(
        tmp_path / "in",
        {
            "a/A0001.hea": header("A0001.mat"),
            "a/A0001.mat": 4,
            "a/A0002.mat": 4,
            "a/deep.hea": header("sub/deep.mat"),
            "a/sub/deep.mat": 4,
            "c/alone.mat": 4,
        },
    )
    assert notes_of(tmp_path / "in", tmp_path / "out") == [
        "1 *.mat in folders without a header, so that no task reads them: 'c/alone.mat'",
        "1 *.mat that no task's header names: 'a/A0002.mat'",
    ]
    table = scaledproc.Run.open(tmp_path / "out").to_arrow()
    assert table["signal_file"].to_pylist() == ["a/A0001.mat", "a/sub/deep.mat"]


def test_nothing_is_said_of_files_that_a_quarantined_header_may_name(tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        {
            "a/r.hea": header("r.dat", 5),
            "a/r.dat": 4,
            "b/r.hea": header("r.dat"),
            "b/r.dat": 4,
            "b/stray.dat": 4,
        },
    )
    assert notes_of(tmp_path / "in", tmp_path / "out") == ["1 *.dat that no task's header names: 'b/stray.dat'"]


def test_rows_that_name_other_files_too_wait_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of numerics in `.csv.gz` and of FLAC files, which are no companions."""
    files: dict[str, str | int] = {}
    for unit in range(12):
        files |= {f"{unit:02d}/r.hea": header("r.d1"), f"{unit:02d}/r.d1": 4, f"{unit:02d}/stray.dat": 4}
        files |= {f"{unit:02d}/s.hea": header("s.dat"), f"{unit:02d}/s.dat": 4}
    write(tmp_path / "in", files)
    (note,) = notes_of(tmp_path / "in", tmp_path / "out")
    assert note == "12 *.dat that no task's header names: '00/stray.dat', '01/stray.dat', '02/stray.dat', …"

    def few(*arguments: Any) -> Any:
        for table in read_tables(*arguments):
            for at in range(0, table.num_rows, 3):
                yield table.slice(at, 3)

    monkeypatch.setattr(unreferenced, "read_tables", few)
    run = scaledproc.Run.open(tmp_path / "out")
    pieces, table = unreferenced.Unreferenced(run, run.extractor), run.to_arrow()
    assert set(table["signal_file"].to_pylist()) == {
        f"{unit:02d}/{name}" for unit in range(12) for name in ("r.d1", "s.dat")
    }
    for at in range(table.num_rows):
        pieces.see(table.slice(at, 1))
        assert len(pieces._waiting) <= at // 2 + 3  # the strays before the rows that were seen, and a piece
    assert pieces.notes(0) == [note]


@pytest.mark.parametrize("select", ["only", "anchor"])
@pytest.mark.parametrize("table", ["file", "dataset"])
def test_nothing_is_said_of_files_whose_header_was_not_selected(tmp_path: Path, select: str, table: str) -> None:
    write(
        tmp_path / "in",
        {
            "100.hea": header("100.dat"),
            "100.dat": 4,
            "101.hea": header("101.dat"),
            "101.dat": 4,
            "sub/102.dat": 4,  # which 101.hea may name as well
            "a/r.hea": header("r.dat"),
            "a/r.dat": 4,
            "a/stray.dat": 4,
            "b/r.hea": header("r.dat"),
            "b/r.dat": 4,
            "b/stray.dat": 4,  # of which the plan tells where no header of the folder is a task
        },
    )
    (tmp_path / "list.txt").write_text("100\na\n")
    how = {"only": tmp_path / "list.txt"} if select == "only" else {"anchor": ["100.hea", "a/*.hea"]}
    found = notes_of(tmp_path / "in", tmp_path / "out", table=table, **how)
    stray = "1 *.dat that no task's header names: 'a/stray.dat'"
    assert [note for note in found if "in folders without a header" not in note] == [stray]
    assert scaledproc.Run.open(tmp_path / "out").to_arrow()["signal_file"].to_pylist() == ["100.dat", "a/r.dat"]
    (tmp_path / "in/a/stray.dat").unlink()
    assert stray not in notes_of(tmp_path / "in", tmp_path / "out", table=table, overwrite=True, **how)
    assert status(tmp_path / "out").notes == ()


def test_all_of_many_files_in_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str | int] = {}
    for unit in range(12):
        for record in range(4):
            files[f"{unit:02d}/r{record}.hea"] = header(f"s{record}.dat" if unit % 3 else f"s{3 - record}.dat")
            files[f"{unit:02d}/s{record}.dat"] = 4
        files[f"{unit:02d}/again.hea"] = header("s0.dat")
        files[f"{unit:02d}/zz{unit}.dat"] = 4
    write(tmp_path / "in", files)

    def few(*arguments: Any) -> Any:
        for table in read_tables(*arguments):
            for at in range(0, table.num_rows, 3):
                yield table.slice(at, 3)

    monkeypatch.setattr(unreferenced, "read_tables", few)
    (note,) = notes_of(tmp_path / "in", tmp_path / "out")
    assert note == "12 *.dat that no task's header names: '00/zz0.dat', '01/zz1.dat', '02/zz2.dat', …"
    run = scaledproc.Run.open(tmp_path / "out")
    pieces = unreferenced.Unreferenced(run, run.extractor)
    table = run.to_arrow()
    for at in range(table.num_rows):
        pieces.see(table.slice(at, 1))
        assert len(pieces._waiting) < 12 + 12  # those that are named do not stay in memory
    assert pieces.notes(0) == [note]


def test_an_extractor_without_companions_is_told_nothing(tmp_path: Path) -> None:
    write(tmp_path / "in", {"a/r.hea": "x", "a/r.dat": 4})

    @scaledproc.extractor(schema={"n": pa.int64()}, anchor="*.hea")
    def size(task: scaledproc.Task) -> dict[str, int]:
        return {"n": task.path.stat().st_size}

    assert notes_of(tmp_path / "in", tmp_path / "out", extractor=size) == []
