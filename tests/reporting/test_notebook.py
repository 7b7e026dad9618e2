"""A run in a notebook: one line that moves, failures with their tracebacks, pictures of plans and runs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import COUNT, TreeWriter

import scaledproc
from scaledproc._util.text import seconds_text
from scaledproc.events import ChunkDone, Note, RunStarted
from scaledproc.reporting import notebook
from scaledproc.reporting.notebook import NotebookProgress, in_notebook

HOSTILE = b"<script>alert(1)</script>"


class Pictures:
    """What IPython would show, in the place of its `display`."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.all: list[Any] = []

    def __call__(self, what: Any, *, display_id: bool = False, raw: bool = False) -> Pictures:
        self.shown.append(what)
        self.all.append(what)
        return self

    def update(self, what: Any, *, raw: bool = False) -> None:
        self.all.append(what)

    def texts(self) -> list[str]:
        """Each picture of a line, as text."""
        return [found["text/plain"] for found in self.all if "<details>" not in found["text/html"]]


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Pictures:
    """Have this process be taken for a notebook's kernel, and see what it shows."""
    made = Pictures()
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "INTERVAL", 0.0)
    monkeypatch.setattr("IPython.display.display", made)
    return made


@pytest.fixture
def extractor(tmp_path: Path) -> str:
    (tmp_path / "count.py").write_text(COUNT)
    return f"{tmp_path / 'count.py'}:count"


def test_a_run_shows_one_line_and_what_failed(
    tree: TreeWriter, tmp_path: Path, extractor: str, pictures: Pictures
) -> None:
    files = {f"{n}/a.txt": b"text" for n in range(5)} | {"6/<b>.txt": b"poison", "7/c.txt": b"poison"}
    run = scaledproc.run(tree(files), tmp_path / "out", extractor=extractor, jobs=1)

    assert len(pictures.shown) == 2  # the line, whatever came to it, and the failures
    texts = pictures.texts()
    assert "7 tasks" in texts[0]
    assert re.search(r"100 % +5 rows from 7 tasks .* 2 quarantined", texts[-1])
    assert all(text.count("%") == 1 for text in texts)
    failures = pictures.shown[1]
    assert "6/&lt;b&gt;.txt: ValueError" in failures["text/html"]
    assert "<b>" not in failures["text/html"]
    assert failures["text/html"].count("<details>") == failures["text/plain"].count("Traceback (most recent") == 2
    assert run.traceback("7/c.txt").endswith("/7/c.txt")


def test_who_listens_is_shown_nothing(tree: TreeWriter, tmp_path: Path, extractor: str, pictures: Pictures) -> None:
    heard: list[Any] = []
    scaledproc.run(tree({"a.txt": b"x"}), tmp_path / "out", extractor=extractor, jobs=1, on_event=heard.append)
    assert heard
    assert not pictures.shown


def test_a_run_that_is_finished_already_says_so(
    tree: TreeWriter, tmp_path: Path, extractor: str, pictures: Pictures
) -> None:
    dataset = tree({"a.txt": b"x"})
    for _ in range(2):
        scaledproc.run(dataset, tmp_path / "out", extractor=extractor, jobs=1)
    assert "is finished already (1 row); nothing to do" in pictures.texts()[-1]


def test_a_run_that_is_ended_says_what_is_kept(pictures: Pictures) -> None:
    def work() -> None:
        with NotebookProgress() as progress:
            progress.listen(RunStarted("plan", 10, 10, 1, 10, 1, "out", resumed=False))
            progress.listen(ChunkDone(0, 4, 4, 4, 0.1, 0, chunk=0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "interrupted after 4 of 10 tasks; what is committed is kept" in pictures.texts()[-1]


def test_notes_are_bounded(pictures: Pictures) -> None:
    with NotebookProgress() as progress:
        for number in range(1000):
            progress.listen(Note(f"number {number} \x1b[31m"))
    text = pictures.texts()[-1]
    assert "and 990 notes more" in text
    assert "\x1b" not in text


def test_this_is_no_notebook() -> None:
    assert not in_notebook()


# Pictures of plans and runs


def test_pictures_are_escaped_and_bounded(tree: TreeWriter, tmp_path: Path, extractor: str) -> None:
    files = {f"{n:02d}<i>{'x' * 150}/{'y' * 200}.txt": b"poison" for n in range(30)}
    dataset = tree(files)
    plan = scaledproc.plan(dataset, extractor=extractor)
    run = scaledproc.run(dataset, tmp_path / "out", extractor=extractor, jobs=1)
    for page in (plan._repr_html_(), run._repr_html_()):
        assert "<i>" not in page
        assert "&lt;i&gt;" in page
        assert "… and 20 more" in page
        assert len(page) < 20_000
    assert "ValueError" in run._repr_html_()


def test_the_picture_of_a_run_has_its_time(tree: TreeWriter, tmp_path: Path, extractor: str) -> None:
    run = scaledproc.run(tree({"a.txt": b"x"}), tmp_path / "out", extractor=extractor, jobs=1)
    later = {"starts": 2, "last_start_seconds": 90.0}
    for timings, expected in (({"starts": 1, "last_start_seconds": 90.0}, "time"), (later, "time of the last start")):
        page = replace(run, record=replace(run.record, timings=timings))._repr_html_()
        assert f"<td>{expected}</td><td>1 min 30 s</td>" in page
    assert seconds_text(run.record.timings["last_start_seconds"]) in run._repr_html_()


def test_a_picture_of_an_unfinished_or_damaged_run(tree: TreeWriter, tmp_path: Path, extractor: str) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, ChunkDone):
            raise KeyboardInterrupt

    dataset, output = tree({"a.txt": b"poison", "b.txt": b"x"}), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(dataset, output, extractor=extractor, jobs=1, chunk=1, on_event=stop)
    assert "unfinished" in scaledproc.Run.open(output)._repr_html_()
    run = scaledproc.run(dataset, output, extractor=extractor, jobs=1)
    (output / "errors.parquet").write_bytes(b"no longer")
    assert "errors.parquet cannot be read" in run._repr_html_()


def test_an_empty_plan_has_a_picture(tree: TreeWriter, extractor: str) -> None:
    plan = scaledproc.plan(tree({"a.csv": b""}), extractor=extractor)
    assert "<td>0</td>" in plan._repr_html_()


# A real kernel

CELLS = [
    "import scaledproc, pathlib, os, time, functools",
    """
@functools.cache
def model():
    with open('loads', 'a') as file:
        print(os.getpid(), file=file)
    return 7

@scaledproc.extractor(schema={'path': 'string', 'size': 'int64'}, anchor='*.txt')
def slow(task):
    time.sleep(0.02)
    if task.path.stat().st_size == 6:
        raise ValueError('<poison>')
    return {'path': task.anchor, 'size': model()}
""",
    "scaledproc.try_task(slow, 'data/000.txt').to_pylist()",
    "scaledproc.plan('data', extractor=slow)",
    "run = scaledproc.run('data', 'out', extractor=slow, chunk=1, jobs=2)",
    "run",
    "run.errors().to_pandas()",
    "print(run.traceback('poison.txt'))",
    "print(run.record.timings['starts'], len(run.to_pandas()))",
]
INTERRUPTED = 4
"""The cell that is interrupted, and then run again."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number in range(150):
        (tmp_path / f"data/{number:03d}.txt").write_text("text")
    (tmp_path / "data/poison.txt").write_text("poison")
    return tmp_path


def interrupt_later(kernel: Any, folder: Path) -> Iterator[None]:
    """Interrupt the cell once some of the run is committed."""

    def wait() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and len(list(folder.glob("out/work/00000/*.parquet"))) < 5:
            time.sleep(0.02)
        asyncio.run(kernel.interrupt_kernel())

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


@pytest.mark.slow
def test_in_a_real_kernel(folder: Path) -> None:
    """All of it, in one notebook; the run is interrupted once, and the same cell continues it."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    code: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**code, "id": f"cell{number}", "source": text} for number, text in enumerate(CELLS)]
    made = nbformat.reads(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}), 4)
    client = NotebookClient(made, timeout=120, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel():
        for number, cell in enumerate(made.cells):
            if number == INTERRUPTED:
                interrupting = interrupt_later(client.km, folder)
                next(interrupting)
                with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
                    client.execute_cell(cell, number)
                next(interrupting, None)
                assert "what is committed is kept" in str(cell.outputs[0])
                assert "unfinished" in scaledproc.Run.open(folder / "out")._repr_html_()
            client.execute_cell(cell, number)
    outputs = [cell.outputs for cell in made.cells]

    assert "'size': 7" in outputs[2][0].data["text/plain"]
    assert "<td>151</td>" in outputs[3][0].data["text/html"]
    line, failures = outputs[4]
    assert "150 rows from 151 tasks" in line.data["text/plain"]
    assert "continuing" in line.data["text/plain"]
    assert "poison.txt: ValueError: &lt;poison&gt;" in failures.data["text/html"]
    assert "<td>quarantined</td><td>1</td>" in outputs[5][0].data["text/html"]
    assert "poison.txt" in outputs[6][0].data["text/html"]
    assert outputs[7][0].text.rstrip().endswith("ValueError: <poison>")
    assert outputs[8][0].text == "2 150\n"
    loads = (folder / "loads").read_text().split()
    assert len(loads) == len(set(loads))  # once in each process
