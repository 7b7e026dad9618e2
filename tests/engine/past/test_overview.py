"""What is told of each task of a run: costs, warnings, logs; and `scaledproc show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import Bucket, Cli

import scaledproc
from scaledproc.engine.past.overview import Groups, first_failures
from scaledproc.events import ChunkDone, RunFinished
from scaledproc.reporting.text import finished_text
from scaledproc.run_folder.tracebacks import few_tracebacks

EXTRACTOR = """
import logging, os, sys, time
import scaledproc

@scaledproc.extractor(schema={"path": "string", "size": "int64"}, anchor="*.txt")
def said(task):
    content = task.path.read_text()
    print("begins", task.anchor)
    for number in range(content.count("warn")):
        task.warn(f"odd value {number} in {task.path}")
    if "log" in content:
        logging.getLogger("mine").warning("logged %s", task.anchor)
    if "long" in content:
        print("é" * 100_000)
    if "slow" in content:
        time.sleep(0.2)
    if "kill" in content:
        os._exit(3)
    if "fail" in content:
        print("\\x1b[31mabout to fail")
        yield {"path": task.anchor, "size": 1}
        raise ValueError(f"{task.anchor} has no beat in sample {len(content)}")
    if "none" not in content:
        yield {"path": task.anchor, "size": len(content)}
"""
CONTENTS = {
    "a/0.txt": "warn",
    "a/1.txt": "fail warn",
    "a/2.txt": "plain" * 1_000,
    "b/0.txt": "kill warn",
    "b/1.txt": "none",
    "b/2.txt": "slow log",
    "c/0.txt": "fail warn warn long",
    "c/1.txt": "warn " * 30,
    "c/\x1b[31m.txt": "fail none",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overview")
    (folder / "said.py").write_text(EXTRACTOR)
    for name, content in CONTENTS.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    run_in(folder, "out", jobs=2, memory_per_worker="4GB")
    return folder


def run_in(folder: Path, output: str, **options: Any) -> scaledproc.Run:
    return scaledproc.run(folder / "data", folder / output, extractor=f"{folder / 'said.py'}:said", **options)


def test_what_each_task_cost(place: Path) -> None:
    table = scaledproc.Run.open(place / "out").tasks()
    rows = {row["anchor"]: row for row in table.to_pylist()}
    assert list(rows) == sorted(CONTENTS, key=lambda name: (name[0], name.encode()))
    assert {anchor: row["error_kind"] for anchor, row in rows.items() if row["status"] == "quarantined"} == {
        "a/1.txt": "exception",
        "b/0.txt": "crash",
        "c/0.txt": "exception",
        "c/\x1b[31m.txt": "exception",
    }
    assert rows["b/0.txt"]["attempts"] == 2
    assert rows["b/0.txt"]["seconds"] is None, "its process told nothing any more"
    done = [row for row in rows.values() if row["anchor"] != "b/0.txt"]
    assert {row["attempts"] for row in done} == {1}
    assert 0.2 <= rows["b/2.txt"]["seconds"] < 60
    assert min(row["seconds"] for row in done) >= 0
    assert 5_000 <= rows["a/2.txt"]["bytes_read"] < 10**7
    assert all(10**7 < row["peak_memory"] < 4 * 10**9 for row in done)
    assert rows["a/1.txt"]["rows"] == 0, "what a task gave before it failed is dropped"
    assert "a/1.txt" not in scaledproc.Run.open(place / "out").to_arrow()["path"].to_pylist()


@pytest.mark.slow
def test_warnings_are_the_same_whatever_the_cuts(place: Path, tmp_path: Path) -> None:
    run = scaledproc.Run.open(place / "out")
    found = [(row["anchor"], row["message"]) for row in run.warnings().to_pylist()]
    assert found[:4] == [
        ("a/0.txt", "odd value 0 in a/0.txt"),
        ("a/1.txt", "odd value 0 in a/1.txt"),
        ("c/0.txt", "odd value 0 in c/0.txt"),
        ("c/0.txt", "odd value 1 in c/0.txt"),
    ], "without where the dataset lies; what a process that was ended said is lost"
    assert len(found) == 4 + 21
    assert found[-1] == ("c/1.txt", "… and 10 more warnings of this task")
    assert any("25 warnings of tasks" in note for note in run.record.notes)
    other = run_in(place, f"{tmp_path}/other", jobs=2, shards=2, chunk=1, memory_per_worker="4GB")
    assert other.warnings().equals(run.warnings())
    assert (tmp_path / "other/warnings.parquet").read_bytes() == (place / "out/warnings.parquet").read_bytes()
    assert scaledproc.verify(tmp_path / "other").ok


def test_logs_of_tasks_that_failed_or_of_all(place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs = {path.name: path.read_text() for path in (place / "out/logs").iterdir()}
    assert logs["00000.log"] == "a/1.txt\n| begins a/1.txt\n| �[31mabout to fail\n"
    assert "00001.log" not in logs, "nothing failed there but a process, which took its prints along"
    assert "c/1.txt" not in logs["00002.log"]
    assert "\x1b" not in logs["00002.log"]
    assert logs["00002.log"].startswith("c/�[31m.txt\n| begins")
    long = logs["00002.log"].partition("\nc/0.txt\n")[2]
    assert 64_000 < len(long.encode()) < 66_000
    (place / "data/b/0.txt").rename(tmp_path / "kept")
    try:
        run_in(place, f"{tmp_path}/all", jobs=2, keep_logs=True)
    finally:
        (tmp_path / "kept").rename(place / "data/b/0.txt")
    kept = (tmp_path / "all/logs/00001.log").read_text()
    assert kept == "b/1.txt\n| begins b/1.txt\nb/2.txt\n| begins b/2.txt\n| b/2.txt: WARNING mine: logged b/2.txt\n"
    assert "b/2.txt: WARNING mine: logged b/2.txt" in capfd.readouterr().err


def test_warnings_survive_a_stop(place: Path, tmp_path: Path) -> None:
    """Those of tasks that were committed before a run was ended are there once it has been continued."""
    committed: list[Any] = []

    def stop(event: Any) -> None:
        committed.extend([event] if isinstance(event, ChunkDone) else [])
        if len(committed) == 3:
            raise KeyboardInterrupt

    options = {"shards": 2, "chunk": 1, "exclude": ["b/0.txt"], "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        run_in(place, f"{tmp_path}/out", **options, on_event=stop)
    assert sum(event.said for event in committed) > 0
    continued = run_in(place, f"{tmp_path}/out", **options)
    assert continued.record.timings["starts"] == 2
    assert continued.warnings().equals(run_in(place, f"{tmp_path}/whole", **options).warnings())
    assert continued.warnings().num_rows > 20


def test_what_tasks_said_stays_when_the_table_is_combined_anew(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    made = run_in(place, str(output), jobs=1, exclude=["b/0.txt"], keep_logs=True)
    before = made.warnings(), {name for name in made.record.digests if name.startswith("logs/")}
    assert before[0].num_rows > 20
    assert before[1]
    anew = scaledproc.combine(output)
    assert anew.warnings().equals(before[0])
    assert before[1] <= anew.record.digests.keys()
    assert any("warnings of tasks" in note for note in anew.record.notes)
    assert scaledproc.verify(output).ok


def test_reused_tasks_keep_what_they_warned_of(place: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "data", tmp_path / "out"
    for name in ("a/0.txt", "a/1.txt", "c/1.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(CONTENTS[name])
    extractor = f"{place / 'said.py'}:said"
    scaledproc.run(source, output, extractor=extractor, jobs=1)
    (source / "b").mkdir()
    (source / "b/new.txt").write_text("warn fail")
    run = scaledproc.run(source, output, extractor=extractor, jobs=1, update=True)
    fresh = scaledproc.run(source, tmp_path / "fresh", extractor=extractor, jobs=1)
    assert run.warnings().equals(fresh.warnings())
    assert (output / "warnings.parquet").read_bytes() == (tmp_path / "fresh/warnings.parquet").read_bytes()
    reused = {row["anchor"]: row["seconds"] for row in run.tasks().to_pylist() if row["status"] == "reused"}
    assert reused == {"a/0.txt": None, "c/1.txt": None}
    timed = {row["anchor"] for row in run.tasks().to_pylist() if row["seconds"] is not None}
    assert timed == {"a/1.txt", "b/new.txt"}
    assert sorted(path.name for path in (output / "logs").iterdir()) == ["00000.log", "00001.log"]
    assert scaledproc.verify(output).ok
    for path in source.rglob("*.txt"):
        path.write_text("plain")
    run = scaledproc.run(source, output, extractor=extractor, jobs=1, update=True)
    assert run.warnings().num_rows == 0
    assert not (output / "warnings.parquet").exists()
    assert not list(output.glob("logs/*"))


def test_overwriting_leaves_no_logs_or_warnings(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/x.txt").write_text("warn fail")
    extractor = f"{place / 'said.py'}:said"
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=extractor, jobs=1)
    assert (tmp_path / "out/logs/00000.log").exists()
    (tmp_path / "data/a/x.txt").write_text("plain")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=extractor, jobs=1, overwrite=True)
    assert not list((tmp_path / "out").glob("logs/*"))
    assert not (tmp_path / "out/warnings.parquet").exists()


def test_show(place: Path, cli: Cli) -> None:
    found = scaledproc.show(place / "out", most=2)
    assert found.status == {"done": 5, "quarantined": 4}
    assert (found.tasks, found.rows, found.retried) == (9, 4, 1)
    assert found.slowest[0]["anchor"] == "b/2.txt"
    assert len(found.slowest) == 2
    assert [row["anchor"] for row in found.empty] == ["b/1.txt"]
    assert [(each.error, each.count) for each in found.failures] == [("ValueError", 3), ("exit code 3", 1)]
    assert found.failures[0].examples == ("a/1.txt", "c/\x1b[31m.txt", "c/0.txt")
    done = cli("show", place / "out")
    assert done.returncode == 0, done.stderr
    assert "1 task gave no rows without failing:\n  b/1.txt\n" in done.stdout
    assert "3 times ValueError: a/1.txt has no beat in sample 9" in done.stdout
    assert "c/�[31m.txt" in done.stdout
    assert "\x1b" not in done.stdout
    told = json.loads(cli("show", place / "out", "--json", "--most", "1").stdout)
    assert (told["tasks"], len(told["slowest"]), told["other_failures"]) == (9, 1, 1)


def test_what_cannot_be_shown(place: Path, tmp_path: Path, cli: Cli) -> None:
    with pytest.raises(scaledproc.ScaledprocError, match="holds no run"):
        scaledproc.show(tmp_path)
    with pytest.raises(scaledproc.UsageError, match="--most 0: give a number of tasks, 1 or more"):
        scaledproc.show(place / "out", most=0)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.json", "errors.parquet"):
        (copy / name).write_bytes((place / "out" / name).read_bytes())
    with pytest.raises(scaledproc.ScaledprocError, match=r"has no tasks\.parquet"):
        scaledproc.show(copy)
    (copy / "tasks.parquet").write_bytes((place / "out/tasks.parquet").read_bytes()[:-20])
    done = cli("show", copy)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**record, "state": "running"}))
    with pytest.raises(scaledproc.ScaledprocError, match="is not finished"):
        scaledproc.show(copy)


@pytest.mark.slow
def test_in_s3(place: Path, s3: Bucket) -> None:
    given = {f"output.{name}": value for name, value in s3.storage_options.items()}
    options = {"extractor": f"{place / 'said.py'}:said", "storage_options": given, "memory_per_worker": "4GB"}
    scaledproc.run(place / "data", s3.url("overview"), jobs=1, **options)  # type: ignore[arg-type]
    found = scaledproc.show(s3.url("overview"), storage_options=s3.storage_options)
    here = scaledproc.show(place / "out")
    assert (found.status, found.failures, found.empty[0]["anchor"]) == (here.status, here.failures, "b/1.txt")
    objects = s3.objects("overview")
    assert objects["warnings.parquet"] == (place / "out/warnings.parquet").read_bytes()
    assert objects["logs/00000.log"] == (place / "out/logs/00000.log").read_bytes()
    assert pq.ParquetFile(place / "out/tasks.parquet").metadata.num_rows == found.tasks


def test_the_end_tells_the_line_of_code_of_each_kind_of_failure(place: Path) -> None:
    ended: list[RunFinished] = []

    def hear(event: Any) -> None:
        ended.extend([event] if isinstance(event, RunFinished) else [])

    run = run_in(place, "placed", jobs=2, memory_per_worker="4GB", on_event=hear)
    line = 1 + next(number for number, text in enumerate(EXTRACTOR.splitlines()) if "has no beat" in text)
    [failed, killed] = ended[0].failures
    assert (failed.error, failed.place, ended[0].alike) == ("ValueError", f"said.py:{line}", (3, 1))
    assert (killed.error, killed.place) == ("exit code 3", "")
    assert f"has no beat in sample 9 (at said.py:{line})\n" in finished_text(ended[0])
    (place / "placed/errors.log").unlink()
    assert [each.place for each in first_failures(run)[0]] == ["", ""]


def test_tracebacks_of_a_few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    log = b"a\nTraceback a\n  a: b\nb\nTraceback b\nc\nTraceback c\nd\nTraceback d\n".splitlines(keepends=True)
    wanted = {"a": "b", "c": "d", "d": None}
    assert dict(few_tracebacks(log, wanted)) == {
        "a": "Traceback a\n  a: b\n",
        "c": "Traceback c\n",
        "d": "Traceback d\n",
    }
    read = iter(log)
    assert dict(few_tracebacks(read, {"a": "b"})) == {"a": "Traceback a\n  a: b\n"}
    assert next(read) == b"Traceback b\n", "no more is read than is wanted"
    assert dict(few_tracebacks(log, {"gone": "b"})) == {}
    monkeypatch.setattr("scaledproc.run_folder.tracebacks.SEARCHED", 30)
    assert dict(few_tracebacks(log, wanted)).keys() == {"a"}


def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaledproc.engine.past.overview._GROUPS", 3)
    groups = Groups()
    for letter in "abcdea":
        groups.add("exception", "ValueError", f"no {letter}", "x.txt")
    shown, others = groups.most(2)
    assert [(each.message, each.count) for each in shown] == [("no a", 2), ("no b", 1)]
    assert others == 3
