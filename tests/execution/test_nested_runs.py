"""A run within a task of another run: what guards the outer task stays."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaledproc

EXTRACTOR = """
import ctypes, os, pathlib, tempfile, threading, time
import scaledproc

@scaledproc.extractor(schema={"name": "string"}, anchor="*.txt", unit="file")
def inner(task):
    if task.path.read_text() == "stop":
        raise KeyboardInterrupt
    if task.path.read_text() == "crash":
        ctypes.string_at(0)
    return {"name": task.anchor}

def nested(contents):
    with tempfile.TemporaryDirectory() as folder:
        where = pathlib.Path(folder)
        (where / "in").mkdir()
        for number, content in enumerate(contents):
            (where / f"in/{number}.txt").write_text(content)
        run = scaledproc.run(where / "in", where / "out", extractor=inner, jobs=1)
        return run.to_arrow()["name"].to_pylist(), run.errors()["error"].to_pylist()

@scaledproc.extractor(schema={"rows": "string"}, anchor="*.txt", unit="file")
def outer(task):
    found = []
    if task.anchor == "1.txt":
        runs = threading.Thread(target=lambda: found.append(nested(["a", "b", "c", "d"])))
        runs.start()
        runs.join()
        what = task.path.read_text()
        if what == "hang":
            time.sleep(1000)
        if what == "crash":
            ctypes.string_at(0)
        if what == "forked":
            if not (child := os.fork()):
                nested(["a"])
                os._exit(0)
            os.waitpid(child, 0)
            ctypes.string_at(0)
        if what == "inside":
            nested(["a", "b", "c", "crash"])
        if what == "stop":
            found = [nested(["a", "stop"])]
    return {"rows": str(found)}
"""


def run(folder: Path, what: str, **options: object) -> scaledproc.Run:
    (folder / "data").mkdir()
    for number in range(5):
        (folder / f"data/{number}.txt").write_text(what)
    (folder / "outer.py").write_text(EXTRACTOR)
    return scaledproc.run(
        folder / "data",
        folder / "out",
        extractor=f"{folder / 'outer.py'}:outer",
        jobs=1,
        chunk=5,
        worker_lifespan=100,  # so that tasks are not in this process
        **options,  # type: ignore[arg-type]
    )


def test_the_time_of_the_outer_task_is_limited_still(tmp_path: Path) -> None:
    made = run(tmp_path, "hang", task_timeout=5)
    assert made.errors().select(["anchor", "kind"]).to_pylist() == [{"anchor": "1.txt", "kind": "timeout"}]
    assert made.to_arrow()["rows"].to_pylist() == ["[]"] * 4


@pytest.mark.parametrize("how", ["crash", "inside", "forked"])
def test_a_crash_in_it_or_after_it_is_the_outer_tasks(tmp_path: Path, how: str) -> None:
    made = run(tmp_path, how)
    failed = made.errors().select(["anchor", "kind", "attempts"]).to_pylist()
    assert failed == [{"anchor": "1.txt", "kind": "crash", "attempts": 2}]
    losses = made.tasks().select(["anchor", "attempts"]).to_pylist()
    assert [each["anchor"] for each in losses if each["attempts"] > 1] == ["1.txt"]


def test_what_ends_a_task_of_the_inner_run_is_quarantined_there(tmp_path: Path) -> None:
    made = run(tmp_path, "stop")
    assert made.to_arrow()["rows"].to_pylist() == ["[]", "[(['0.txt'], ['KeyboardInterrupt'])]", "[]", "[]", "[]"]
