"""Texts of shards, reasons and status."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support import TreeWriter
from told import started, state

import scaledproc
from scaledproc.engine.past.status import Status
from scaledproc.events import Event, Failure, Note, RunFinished
from scaledproc.reporting.terminal import LiveProgress, PlainProgress
from scaledproc.reporting.text import counts_text, finished_text, plan_text, shard_lines, status_text, trouble_lines

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# Words


def test_states_follow_the_way_of_a_shard() -> None:
    counts = {"failed": 1, "done": 20, "queued": 85, "starting": 3, "running": 1200, "retrying": 0, "odd\x1b": 2}
    assert counts_text(counts) == "1,200 running, 3 starting, 85 queued, 20 done, 1 failed, 2 odd�"


@pytest.mark.parametrize("width", [None, 160, 60, 20])
def test_a_shards_line_fits(width: int | None) -> None:
    name = "scaledproc-0123456789-s00007-1"
    states = [
        state(7, "running", 1234, 56_000_000, 10.0, job=name),
        state(8, "retrying", detail="because " * 40, job=name),
    ]
    lines = shard_lines(states, width)
    assert len(lines) == 3
    assert all(len(line) <= (width or 1000) for line in lines)
    if width is None or width == 160:
        assert lines[1].split() == ["7", "running", "1,234", "56.0", "MB", "5.6", "MB/s", name]
    if width == 60:
        assert lines[1].endswith("…s00007-1")


def test_a_speed_that_nobody_tells_has_no_column() -> None:
    lines = shard_lines([state(0, "begun", 10, 1_000, job=""), state(1, "begun", job="")])
    assert lines == [
        " shard  state         tasks      size",
        "     0  begun            10    1.0 kB",
        "     1  begun",
    ]


def test_a_table_that_was_made_anew_is_told() -> None:
    lines = finished_text(RunFinished("out", 3, 3, 2, 0, 1.25, already=True, table="features.parquet")).splitlines()
    assert lines == [
        "out is finished already (3 rows); the table is made anew, in 1.2 s",
        "the table: out/features.parquet",
    ]
    assert finished_text(RunFinished("out", 3, 3, 2, 0, 0.0, already=True)) == (
        "out is finished already (3 rows); nothing to do"
    )


def status_of(**changes: Any) -> Status:
    states = (state(0, "begun", 10, 1_000),)
    given: dict[str, Any] = {"state": "running", "backend": "local", "done": (), "states": states, **changes}
    return Status(output="out", plan_id="0" * 64, tasks=20, size=2_000, **given)


def test_who_has_the_folder_says_whether_somebody_is_at_work() -> None:
    unseen = "whether a process is at work on begun shards cannot be seen from here"
    held = status_text(status_of(held_by="process 7 on here since now"))
    assert "driven by process 7 on here since now" in held
    assert unseen not in held
    assert unseen in status_text(status_of())
    assert unseen not in status_text(status_of(state="stopped"))


def test_reasons_are_told_once_for_many_shards() -> None:
    denied = [state(shard, "failed", detail="denied") for shard in range(1000)]
    assert trouble_lines(denied) == ["shards 0-999 failed: denied"]
    assert trouble_lines([state(3, "failed", detail="worse", job="j")]) == ["shard 3 failed: worse (j)"]
    waits = [state(shard, "retrying", detail=f"again in {shard} s") for shard in range(200)]
    lines = trouble_lines([*waits, state(200, "failed", detail="x")])
    assert len(lines) == 11
    assert lines[-1] == "… and 191 more shards: 190 retrying, 1 failed"


def test_failures_that_are_alike_stand_once() -> None:
    failed = [Failure("a", "a", f"a/{name}.txt", "exception", "ValueError", f"bad {name}") for name in "xyz"]
    event = RunFinished("out", 30, 2, 2, 28, 1.0, failures=tuple(failed), alike=(25, 2, 1))
    assert finished_text(event).splitlines()[1:-1] == [
        "  a/x.txt and 24 more: ValueError: bad x",
        "  a/y.txt and 1 more: ValueError: bad y",
        "  a/z.txt: ValueError: bad z",
        "  all 28 are in out/errors.parquet, tracebacks in errors.log",
    ]
    placed = replace(failed[0], place="my\x1b.py:3")
    lines = finished_text(RunFinished("out", 30, 2, 2, 2, 1.0, failures=(placed,), alike=(2,))).splitlines()
    assert lines[1] == "  a/x.txt and 1 more: ValueError: bad x (at my�.py:3)"
    one = RunFinished("out", 30, 2, 2, 1, 1.0, failures=(failed[0],))
    assert finished_text(one).splitlines()[1:3] == [
        "  a/x.txt: ValueError: bad x",
        "  also in out/errors.parquet, tracebacks in errors.log",
    ]


@pytest.mark.parametrize("update", [False, True])
def test_the_end_of_a_run_counts_failures_that_are_alike(tree: TreeWriter, tmp_path: Path, update: bool) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file")
    def fails(task: scaledproc.Task) -> Any:
        raise ValueError(
            f"line {len(task.path.read_bytes())} of {task.anchor} is bad" if task.group != "c" else "other"
        )

    told: list[Event] = []
    files = {f"{group}/{at:02}.txt": b"x" * (at + 1) for group in "abc" for at in range(7)}
    if update:
        scaledproc.run(tree({name: files[name] for name in list(files)[:10]}), tmp_path / "out", extractor=fails)
    dataset = tree(files)
    options: dict[str, Any] = {"update": update, "jobs": 1, "max_failures": 21, "on_event": told.append}
    scaledproc.run(dataset, tmp_path / "out", extractor=fails, **options)
    (end,) = (event for event in told if isinstance(event, RunFinished))
    assert [(failure.anchor, failure.group) for failure in end.failures] == [("a/00.txt", "a"), ("c/00.txt", "c")]
    assert end.alike == (14, 7)


def test_a_plan_fits_a_narrow_terminal(tree: TreeWriter) -> None:
    name = "a-long-name-of-a-folder"
    planned = scaledproc.plan(tree({f"{name}-{at}/x.csv": b"a\n1\n" for at in range(3)}), extractor="table")
    wide, narrow = (plan_text(planned, 2, width).splitlines() for width in (None, 40))
    rows = [line for line in narrow if name[:5] in line]
    assert len(rows) == 3
    assert max(map(len, rows)) <= 40
    assert rows[0].startswith("     0       4 B         1  a-long")
    assert "per core" not in "\n".join(narrow)
    assert "per core" in "\n".join(wide)


EVIL = "\x1b[2J\x1b]0;title\x07\r\nsecond\u202e :smile: [red]x[/red]"


def test_no_text_steers_the_terminal() -> None:
    events: list[Event] = [
        started(shards=2),
        state(0, "starting", job=EVIL),
        state(0, "retrying", detail=EVIL, job=EVIL),
        Note(EVIL),
    ]
    plain = io.StringIO()
    live, console = terminal()
    for display in (PlainProgress(plain, interval=0), live):
        with display:
            for event in events:
                display.listen(event)
            if display is live:
                assert "[red]x[/red]" in "\n".join(frame(live))
    for said in (plain.getvalue(), ESCAPES.sub("", console.getvalue().replace("\r", ""))):
        assert "[red]x[/red]" in said
        assert ":smile:" in said
        assert not {char for char in said if not char.isprintable()} - {"\n"}
    assert "\x1b[2J" not in console.getvalue()
    assert "\x1b]0;title" not in console.getvalue()


# A terminal


def terminal(width: int = 160, height: int = 24) -> tuple[LiveProgress, io.StringIO]:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, height=height, force_terminal=True, highlight=False, emoji=False, legacy_windows=False
    )
    return LiveProgress(console), stream


def frame(display: LiveProgress) -> list[str]:
    """What the display would draw now."""
    stream = io.StringIO()
    Console(file=stream, width=display.console.width, emoji=False).print(display.frame())
    return [line.rstrip() for line in stream.getvalue().splitlines()]
