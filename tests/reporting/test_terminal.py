"""How far a run is, shown so that it can be read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from processing_emulator import ProcessingEmulator
from rich.console import Console
from support import COMMAND, Bucket, clean_environment
from told import chunk, shard_done, started, state

import scaledproc
from scaledproc import api
from scaledproc._util.process import signals
from scaledproc.engine.past.status import Status
from scaledproc.engine.progress import RunProgress
from scaledproc.events import ChunkDone, CombineDone, Event, Note, RunFinished, RunStarted, ShardDone, ShardState
from scaledproc.reporting.terminal import LiveProgress, PlainProgress
from scaledproc.reporting.text import status_text
from scaledproc.testing import PROBE, write_probe_dataset

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


EVIL = "\x1b[2J\x1b]0;title\x07\r\nsecond\u202e :smile: [red]x[/red]"


# A log


def log(events: Sequence[Event], interval: float = 0.0) -> list[str]:
    stream = io.StringIO()
    with PlainProgress(stream, interval) as display:
        for event in events:
            display.listen(event)
    return stream.getvalue().splitlines()


def test_log_of_machines() -> None:
    events: list[Event] = [
        started(shards=3),
        *(state(shard, "queued", job="") for shard in range(3)),
        *(state(shard, "starting") for shard in range(2)),
        state(0, "running", 25, 250, 5.0),
        state(1, "failed", detail="denied"),
        shard_done(0, 40, 400),
    ]
    lines = log(events)
    assert [line for line in lines if line.startswith("shards: 1 running, 1 starting, 1 queued; 25/100 tasks, 250 B")]
    assert "shard 1 failed: denied (job-1)" in lines
    assert lines[-1].startswith("shards: 1 queued, 1 done, 1 failed; 40/100 tasks")


def test_log_of_a_local_run() -> None:
    events = [started(10, 100, 2), *(chunk(0, at) for at in range(5)), shard_done(0, 5, 50), CombineDone(10, 0, (), 1)]
    lines = log(events)
    assert [line.split(",")[0] for line in lines[1:]] == [
        *(f"{done}/10 tasks" for done in range(1, 6)),
        "combined 10 rows in 1.0 s",
    ]


def test_log_is_not_flooded() -> None:
    """1,000 shards that all start, fail, are tried again and end within an interval: two lines of progress."""
    waits = [state(shard, "retrying", detail=f"again in {shard} s") for shard in range(1000)]
    events: list[Event] = [started(1000, 1000, 1000)]
    for name in ("queued", "starting", "running"):
        events += [state(shard, name, int(name == "running"), 1, 1.0) for shard in range(1000)]
    events += waits + [shard_done(shard, 1, 1) for shard in range(1000)]
    lines = log(events, interval=60.0)
    assert len(lines) == 1 + 11 + 1
    assert lines[-2].startswith("… and 990 more shards")
    assert lines[-1].startswith("shards: 1,000 done; 1,000/1,000 tasks")


def test_log_tells_the_last_state_also_when_nothing_follows() -> None:
    stream = io.StringIO()
    with PlainProgress(stream, 0.05) as display:
        for event in (started(shards=2), state(0, "starting"), state(1, "failed", detail="denied")):
            display.listen(event)
        end = time.monotonic() + 10
        while "1 failed" not in stream.getvalue():
            assert time.monotonic() < end, stream.getvalue()
            time.sleep(0.01)
    assert "shard 1 failed: denied (job-1)\nshards: 1 starting, 1 failed; 0/100 tasks" in stream.getvalue()


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


def is_shown(display: LiveProgress) -> bool:
    return bool(display.live.is_started)


@pytest.mark.parametrize("width", [40, 60, 160])
def test_what_ctrl_c_tells_is_shown_whole(width: int, capfd: pytest.CaptureFixture[str]) -> None:
    """By the display itself: it would draw over what another writes."""
    display, _ = terminal(width)
    with display, signals.listening(30) as asked:
        display.listen(started(shards=2))
        with asked.orderly():
            asked.hear(signal.SIGINT)
            shown = frame(display)
    assert "finishing what is at work, 30 s at most; a second Ctrl-C leaves at once" in " ".join(shown)
    assert all(len(line) <= width for line in shown)
    assert "finishing" not in capfd.readouterr().err
    with signals.listening(30) as asked, asked.orderly():
        asked.hear(signal.SIGTERM)
    text = "scaledproc: finishing what is at work, 30 s at most; a second SIGTERM leaves at once"
    assert text in capfd.readouterr().err


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_local_run_is_a_bar(width: int) -> None:
    display, _ = terminal(width)
    with display:
        for event in (started(shards=2), state(0, "running", job=""), chunk(0, 0, 50, 500)):
            display.listen(event)
        shown = frame(display)
    assert "extracting" in shown[0]
    assert "50 %" in shown[0]
    assert "50/100 tasks, 500 B of 1.0 kB" in " ".join(shown)
    assert len(shown) == (1 if width == 160 else 2)
    assert "shard" not in " ".join(shown)


@pytest.mark.parametrize(("width", "height"), [(60, 24), (160, 24), (160, 10), (60, 6)])
def test_machines_are_shown_as_far_as_they_fit(width: int, height: int) -> None:
    display, _ = terminal(width, height)
    with display:
        display.listen(started(1000, 10_000, 1000))
        for shard in range(1000):
            display.listen(state(shard, "queued", job=""))
        for shard in range(100):
            display.listen(state(shard, "starting"))
        for shard in range(50, 100):
            display.listen(state(shard, "running", 3, 30, 1.0))
        shown = frame(display)
    assert len(shown) <= height
    assert all(len(line) <= width - 3 for line in shown[1:])  # ^C has room
    assert "50 running, 50 starting, 900 queued" in " ".join(shown)
    if height >= 10:
        rows = [line.split()[:3] for line in shown if re.match(r"\s+\d+ ", line)]
        assert rows == [[str(50 + at), "running", "3"] for at in range(len(rows))]
        assert shown[-1].strip() == f"… and {100 - len(rows)} more"
        assert len(rows) >= height - 7


def test_a_failure_stays_above_the_bar() -> None:
    display, stream = terminal()
    with display:
        for event in (started(shards=2), state(0, "starting"), state(0, "failed", detail="denied")):
            display.listen(event)
        shown = frame(display)
        assert shown[-1].startswith("1 waiting, 1 failed after ")
        assert not [line for line in shown if "job-0" in line and "denied" not in line]
    said = ESCAPES.sub("", stream.getvalue())
    assert said.count("shard 0 failed: denied (job-0)") >= 1
    assert said.rstrip().endswith("shard 0 failed: denied (job-0)")


def test_pause_leaves_the_terminal_and_the_next_event_takes_it_again() -> None:
    display, stream = terminal()
    with display:
        display.listen(started(shards=2))
        display.listen(state(0, "starting"))
        display.pause()
        display.pause()
        assert not is_shown(display)
        assert stream.getvalue().endswith("\x1b[1A\x1b[2K")  # nothing of it is left
        before = len(stream.getvalue())
        display.listen(Note("left to go on"))
        assert stream.getvalue()[before:] == "note: left to go on\n"
        display.listen(state(0, "running", 1, 1, 1.0))
        assert is_shown(display)
        display.listen(RunFinished("out", 1, 1, 1, 0, 1.0))
        assert not is_shown(display)


def on_a_terminal(folder: Path, words: Sequence[str]) -> bytes:
    """What a command draws on a terminal; its result goes to the file `result`."""
    leader, follower = os.openpty()
    with (folder / "result").open("wb") as result:
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env={**clean_environment(), "TERM": "xterm"},
            stdout=result,
            stderr=follower,
        )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while piece := os.read(leader, 65536):
            shown += piece
    os.close(leader)
    assert process.wait(60) == 0, shown.decode()
    return shown


TALKATIVE = """
import os, subprocess, time
import pyarrow as pa
from scaledproc import extractor

@extractor(schema=pa.schema([("x", "int64")]), anchor="*.txt")
def talk(task):
    time.sleep(0.05)
    name = task.anchor[:-4]
    print(f"printed-{name}")
    os.write(2, f"library-{name}\\n".encode())
    subprocess.run(["echo", f"program-{name}"], check=True)
    return {"x": 1}
"""


def test_what_tasks_print_stands_in_lines_of_its_own_above_the_bar(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(20):
        (tmp_path / "data" / f"{number:02}.txt").write_text("x")
    (tmp_path / "talk.py").write_text(TALKATIVE)
    shown = on_a_terminal(tmp_path, ["data", "out", "--extractor", "talk.py", "--jobs", "2", "--chunk", "5"])
    for number in range(20):
        for who in ("printed", "library", "program"):
            # A line begins where the bar was wiped away, or after another line.
            assert re.search(rb"(?:\x1b\[2K|\n)%s-%02d *\r?\n" % (who.encode(), number), shown), (who, number)
    assert (tmp_path / "result").read_text().startswith("20 rows from 20 tasks")


@pytest.mark.slow
def test_terminal_beside_the_result(tmp_path: Path) -> None:
    """The bar is drawn on standard error; the result alone goes to standard output."""
    write_probe_dataset(tmp_path / "data", seconds=0.02)
    shown = on_a_terminal(tmp_path, ["data", "out", "--extractor", PROBE, "--jobs", "1"])
    assert b"extracting" in shown
    assert b"rows from" not in shown
    assert b"is it whole:  scaledproc verify" in shown
    assert b"\x1b" not in (tmp_path / "result").read_bytes()
    assert (tmp_path / "result").read_text().startswith("93 rows from 38 tasks")


# A run's status


def test_status_of_shards_elsewhere() -> None:
    done = tuple(shard_done(shard, 10, 100) for shard in range(2))
    states = (
        state(2, "running", 5, 50, 10.0),
        state(3, "starting"),
        state(4, "failed", detail=EVIL),
        *(state(shard, "waiting", job="") for shard in range(5, 9)),
    )
    text = status_text(Status("s3://b/out", "a" * 32, "running", "sagemaker", 90, 900, done, states))
    lines = text.splitlines()
    assert lines[:4] == [
        "s3://b/out: running, plan aaaaaaaaaaaa, backend sagemaker",
        "shards: 1 running, 1 starting, 4 waiting, 2 done, 1 failed",
        "committed: 20/90 tasks, 200 B of 900 B",
        "at work: 5 tasks more, 50 B, 5 B/s, about 2 min left",
    ]
    assert lines[5].split() == ["2", "running", "5", "50", "B", "5", "B/s", "job-2"]
    assert lines[6].split() == ["3", "starting", "job-3"]
    assert lines[7].startswith("shard 4 failed: �[2J�]0;title� second� :smile:")
    assert len(lines) == 8


def test_status_of_a_local_run(tmp_path: Path) -> None:
    write_probe_dataset(tmp_path / "data", poison=True)
    told: list[ChunkDone | ShardDone] = []

    def listen(event: Event) -> None:
        if isinstance(event, (ChunkDone, ShardDone)):
            told.append(event)
            if any(isinstance(each, ShardDone) for each in told) and len(told) >= 10:
                raise KeyboardInterrupt

    options: dict[str, Any] = {"extractor": PROBE, "shards": "3", "chunk": "2", "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(tmp_path / "data", tmp_path / "out", on_event=listen, **options)
    found = api.status(tmp_path / "out")
    tasks = sum(event.tasks for event in told if isinstance(event, ChunkDone))
    size = sum(event.size for event in told if isinstance(event, ChunkDone))
    whole = [event for event in told if isinstance(event, ShardDone)]
    # The last chunks may have been committed and not yet told of.
    parts: list[ShardDone | ShardState] = [*found.done, *found.states]
    assert sum(part.tasks for part in parts) >= tasks
    assert sum(part.size for part in parts) >= size
    assert found.counts["done"] >= len(whole)
    assert found.counts.get("begun", 0) + found.counts.get("waiting", 0) + found.counts["done"] == 3
    text = status_text(found)
    assert re.search(r"committed: (\d+)/39 tasks", text)
    events: list[Event] = []
    scaledproc.run(tmp_path / "data", tmp_path / "out", on_event=events.append, **options)
    resumed = [event for event in events if isinstance(event, (ChunkDone, ShardDone)) and event.resumed]
    again = sum(event.tasks for event in resumed)
    assert f"committed: {again}/39 tasks" in text
    after = status_text(api.status(tmp_path / "out")).splitlines()
    assert after[1:] == ["shards: 3 done", "committed: 39/39 tasks, 14.8 kB of 14.8 kB, 2 quarantined"]


# Real machines, emulated service


@pytest.fixture
def account(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessingEmulator]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with ProcessingEmulator(tmp_path / "machines", s3.server) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.slow
def test_a_run_on_many_machines(account: ProcessingEmulator, s3: Bucket, tmp_path: Path) -> None:
    """One job fails once, another always: both are told with their reasons, and the sums are right."""
    account.faults.job_error("-s00001-", times=1)
    account.faults.job_error("-s00002-", reason="AlgorithmError: broken", times=None)
    data, output = s3.url(f"data-{uuid4().hex}"), s3.url(f"out-{uuid4().hex}")
    scaledproc.fetch(write_probe_dataset(tmp_path / "data", poison=True), data)
    settings = {
        "role": "arn:aws:iam::123456789012:role/scaledproc",
        "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/scaledproc:test",
        "instance_type": "ml.m5.large",
        "poll_seconds": 0.2,
        "retry_wait": 0.1,
        "retries": 1,
    }
    stream, events = io.StringIO(), list[Event]()

    def listen(event: Event) -> None:
        events.append(event)
        display.listen(event)

    with PlainProgress(stream, 0.5) as display, pytest.raises(scaledproc.ScaledprocError, match="broken"):
        scaledproc.run(
            data,
            output,
            extractor=PROBE,
            shards="4",
            backend="sagemaker",
            settings=settings,
            on_event=listen,
        )
    lines = stream.getvalue().splitlines()
    assert [
        line for line in lines if re.match(r"shard 1 retrying: again in \d+ s: InternalServerError: .*\(\S+-1\)", line)
    ]
    assert [line for line in lines if re.match(r"shard 2 failed: AlgorithmError: broken \(\S+-2\)", line)]
    progress = RunProgress(next(event for event in events if isinstance(event, RunStarted)))
    for event in events:
        if isinstance(event, (ChunkDone, ShardDone, ShardState)):
            progress.add(event)
    assert progress.counts == {"done": 3, "failed": 1}
    found = api.status(output)
    assert found.counts == progress.counts
    assert sum(shard.tasks for shard in found.done) <= progress.tasks < 39
    text = status_text(found)
    assert "shards: 3 done, 1 failed" in text
    assert re.search(r"^shard 2 failed: AlgorithmError: broken \(\S+-s00002-2\)$", text, re.MULTILINE)
    assert json.loads(json.dumps(found.counts)) == found.counts
