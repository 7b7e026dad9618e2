"""Datasets that go away, cannot be read, or change while their tasks are at work."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import TreeWriter

import scaledproc
from scaledproc import Task
from scaledproc.errors import ScaledprocError
from scaledproc.execution import worker
from scaledproc.execution.chunks import missing_dataset, task_call
from scaledproc.execution.staging import StagedUnit
from scaledproc.storage import local_files
from scaledproc.storage.retry import RetryPolicy

SCHEMA = {"path": "string", "text": "string"}


def made(function: Callable[[Task], Any], unit: str = "file") -> Any:
    return scaledproc.extractor(schema=SCHEMA, anchor="*.txt", unit=unit)(function)


def row(task: Task, text: str) -> dict[str, str]:
    return {"path": task.anchor, "text": text}


def many(tree: TreeWriter, n: int = 12) -> Path:
    return tree({f"{number % 3}/{number:02}.txt": b"%d" % number for number in range(n)})


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits take no time; what they would have taken."""
    waited: list[float] = []
    monkeypatch.setattr(task_call, "wait", lambda _, seconds: waited.append(seconds))
    return waited


# What it was that failed


def oserror(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def test_whose_fault_an_error_is(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"u/a.txt": b"1", "u/b.dat": b"2", "w/c.txt": b"3"})
    task = Task("u", "u", "u/a.txt", root, frozenset({"u/a.txt", "u/b.dat"}))

    def trouble(error: BaseException) -> str | None:
        return missing_dataset.trouble_of(error, task)

    a, b = str(root / "u/a.txt"), str(root / "u/b.dat")
    for number in (errno.EIO, errno.ESTALE):
        assert trouble(oserror(number, a)) == trouble(oserror(number)) == "unread"
        assert trouble(oserror(number, "/dev/elsewhere")) is None
    for number in (errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN):
        assert trouble(oserror(number, a)) == "unread"
        assert trouble(oserror(number)) is None  # of a connection of the extractor's own
    assert trouble(oserror(errno.ENOENT, b)) == "unread"  # it is back
    assert trouble(FileNotFoundError(errno.ENOENT, f"cannot open file '{b}'")) == "unread"
    for own in (str(root / "u/made-up"), str(root / "w/c.txt"), "/nowhere", None):
        assert trouble(oserror(errno.ENOENT, own)) is None
    for number in (errno.EACCES, errno.ENOSPC, errno.EMFILE, errno.EINVAL):
        assert trouble(oserror(number, a)) is None
    assert trouble(ValueError("bad")) is None
    wrapped = ValueError("cannot be parsed")
    wrapped.__cause__ = oserror(errno.EIO, a)
    assert trouble(wrapped) == "unread"
    (root / "u/b.dat").unlink()
    assert trouble(oserror(errno.ENOENT, b)) == "gone"
    assert trouble(ValueError("bad")) is None  # nobody asked for it
    (root / "u/a.txt").unlink()
    assert trouble(ValueError("bad")) == "unread"  # its folder is empty, as one where nothing is mounted
    (root / "u").rmdir()
    assert trouble(ValueError("bad")) == "gone"  # the others are there
    root.rename(tmp_path / "elsewhere")
    assert trouble(ValueError("bad")) == "away"
    root.mkdir()
    assert trouble(ValueError("bad")) == "away"


# Runs


@pytest.mark.parametrize("how", ["moved", "unmounted"])
def test_dataset_that_is_away_for_a_while(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    root = many(tree)
    waits = itertools.count(1)

    def wait(*_: object) -> None:
        if next(waits) == 3:
            if how == "unmounted":
                root.rmdir()
            (tmp_path / "away").rename(root)

    monkeypatch.setattr(task_call, "wait", wait)

    def extract(task: Task) -> Any:
        if task.anchor == "1/04.txt" and not (tmp_path / "was-away").exists():
            (tmp_path / "was-away").touch()
            root.rename(tmp_path / "away")
            if how == "unmounted":
                root.mkdir()
        return row(task, task.path.read_text())

    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1)
    assert not run.quarantined
    assert sorted(map(int, run.to_arrow()["text"].to_pylist())) == list(range(12))


def test_dataset_that_stays_away_ends_the_run_which_then_continues(
    tree: TreeWriter, tmp_path: Path, hurried: list[float]
) -> None:
    root = many(tree)
    tried: list[str] = []
    done: list[Any] = []

    def extract(task: Task) -> Any:
        tried.append(task.anchor)
        if len(tried) == 5:
            root.rename(tmp_path / "away")
        return row(task, task.path.read_text())

    def hear(event: Any) -> None:
        if type(event).__name__ == "ChunkDone" and not event.resumed:
            done.append(event)

    with pytest.raises(ScaledprocError, match=r"data is not there any more, or empty; .* the same command continues"):
        scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1, on_event=hear)
    assert len(hurried) >= RetryPolicy().attempts - 1
    (tmp_path / "away").rename(root)
    seen = len(done)
    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1, on_event=hear)
    assert (run.quarantined, run.record.counts["rows"]) == (0, 12)
    assert len(done) == 12
    assert 1 <= seen < 5


def test_file_that_is_gone_is_one_quarantined_task(tree: TreeWriter, tmp_path: Path, hurried: list[float]) -> None:
    root = many(tree)

    def extract(task: Task) -> Any:
        (root / "2/05.txt").unlink(missing_ok=True)
        return row(task, task.path.read_text())

    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=4)
    (error,) = run.errors().to_pylist()
    assert error["anchor"] == "2/05.txt"
    assert error["error"] == "FileNotFoundError"
    assert error["message"] == "[Errno 2] No such file or directory: '2/05.txt'"
    assert (error["attempts"], run.record.counts["rows"]) == (1, 11)
    assert sum(hurried) < 2


def test_most_files_that_are_gone_end_the_run(tree: TreeWriter, tmp_path: Path, hurried: list[float]) -> None:
    root = many(tree)

    def extract(task: Task) -> Any:
        for number in range(5, 12):
            (root / f"{number % 3}/{number:02}.txt").unlink(missing_ok=True)
        return row(task, task.path.read_text())

    with pytest.raises(ScaledprocError, match=r"the files of 7 of 12 tasks cannot be read \(the first: ./\d\d.txt: "):
        scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("times", [3, 10**9])
def test_reading_errors_of_one_file(
    tree: TreeWriter, tmp_path: Path, hurried: list[float], number: int, times: int
) -> None:
    left = [times]

    def extract(task: Task) -> Any:
        if task.anchor == "1/04.txt" and left[0]:
            left[0] -= 1
            raise oserror(number, str(task.path))
        return row(task, task.path.read_text())

    run = scaledproc.run(many(tree), tmp_path / "out", extractor=made(extract), jobs=1, chunk=3)
    assert [error["anchor"] for error in run.errors().to_pylist()] == ([] if times == 3 else ["1/04.txt"])
    assert run.record.counts["rows"] == (12 if times == 3 else 11)
    assert len(hurried) >= 3


def test_dataset_of_which_nothing_can_be_read(tree: TreeWriter, tmp_path: Path, hurried: list[float]) -> None:
    root = many(tree, 40)
    broken = tmp_path / "broken"
    broken.touch()

    def extract(task: Task) -> Any:
        if task.anchor >= "1/" and broken.exists():
            raise oserror(errno.EIO)
        return row(task, task.path.read_text())

    with pytest.raises(ScaledprocError, match=r"cannot be read .*Input/output error.*is the disk or the network there"):
        scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1)
    broken.unlink()
    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1, chunk=1)
    assert (run.quarantined, run.record.counts["rows"]) == (0, 40)


def test_errors_of_the_extractors_own_are_quarantined_at_once(
    tree: TreeWriter, tmp_path: Path, hurried: list[float]
) -> None:
    def extract(task: Task) -> Any:
        task.path.with_name("made-up").read_text()

    run = scaledproc.run(many(tree), tmp_path / "out", extractor=made(extract), jobs=1)
    assert run.quarantined == 12
    assert not hurried


TAKES_IT_AWAY = """
import os
import scaledproc

@scaledproc.extractor(schema={{"n": "int64"}}, anchor="*.txt", unit="file")
def take_away(task):
    if task.anchor == "3.txt" and not os.path.exists("{noticed}"):
        os.rename("{root}", "{away}")
        open("{noticed}", "w").close()
    return {{"n": int(task.path.read_text())}}
"""


@pytest.mark.slow
def test_away_in_worker_processes(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"{number}.txt": b"1" for number in range(8)})
    noticed, elsewhere = tmp_path / "noticed", tmp_path / "away"
    (tmp_path / "x.py").write_text(TAKES_IT_AWAY.format(root=root, away=elsewhere, noticed=noticed))

    def bring_back() -> None:
        until = time.monotonic() + 60
        while not noticed.exists() and time.monotonic() < until:
            time.sleep(0.01)
        elsewhere.rename(root)

    helper = threading.Thread(target=bring_back)
    helper.start()
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'x.py'}:take_away", jobs=2, chunk=1)
    helper.join()
    assert (run.quarantined, run.record.counts["rows"]) == (0, 8)


@pytest.mark.slow
def test_unread_files_of_a_chunk_that_lost_its_process_are_left_to_the_end(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({f"{number}.txt": b"1" for number in range(10)})
    attempts = tmp_path / "attempts"
    (tmp_path / "x.py").write_text(
        "import errno, os, scaledproc\n"
        "from scaledproc.execution.chunks import missing_dataset\n"
        "missing_dataset.RETRY = missing_dataset.RetryPolicy(attempts=1)\n"
        '@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt", unit="file")\n'
        "def read(task):\n"
        '    if task.anchor == "3.txt":\n'
        "        os._exit(7)\n"
        '    if task.anchor == "5.txt":\n'
        f'        with open("{attempts}", "a") as file:\n'
        '            file.write("x")\n'
        f'        if os.stat("{attempts}").st_size <= 1:\n'
        '            raise OSError(errno.EIO, "broken", str(task.path))\n'
        '    return {"n": int(task.path.read_text())}\n'
    )
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'x.py'}:read", jobs=2, chunk=10)
    assert run.errors()["anchor"].to_pylist() == ["3.txt"]
    assert run.record.counts["rows"] == 9


# Files that change


def write(path: Path, how: str) -> None:
    status = path.stat()
    if how == "grow":
        with path.open("a") as file:
            file.write("more")
    elif how == "shrink":
        os.truncate(path, 1)
    elif how == "rewrite":
        path.write_text("y" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif how == "replace":
        other = path.with_suffix(".new")
        other.write_text("y" * status.st_size)
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)


@pytest.mark.parametrize("lazy", [False, True], ids=["rows", "generator"])
@pytest.mark.parametrize("name", ["a.txt", "b.dat"])
@pytest.mark.parametrize("how", ["grow", "shrink", "rewrite", "replace"])
def test_files_that_change_while_they_are_read(
    tree: TreeWriter, tmp_path: Path, how: str, name: str, lazy: bool
) -> None:
    root = tree({f"{unit}/{file}": b"xxx" for unit in "uvw" for file in ("a.txt", "b.dat", "c.dat")})

    def read(task: Task) -> Iterator[dict[str, str]]:
        text = task.path.read_text() + task.beside("b.dat").read_text()
        yield row(task, text)
        if task.unit == "v":
            write(root / "v" / name, how)

    extract = made(read if lazy else lambda task: list(read(task)), unit="folder")
    run = scaledproc.run(root, tmp_path / "out", extractor=extract, jobs=1)
    assert run.to_arrow()["path"].to_pylist() == ["u/a.txt", "w/a.txt"]
    (error,) = run.errors().to_pylist()
    assert error["error"] == "FileChangedError"
    assert error["message"].startswith(f"'v/{name}' changed while its task was at work: ")
    if how == "grow":
        assert error["message"].endswith("it had 3 bytes, and has 7")


class Rows:
    """Rows that can only be iterated over."""

    def __init__(self, rows: Iterator[dict[str, str]]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[dict[str, str]]:
        return self.rows


def as_reader(rows: Iterator[dict[str, str]]) -> pa.RecordBatchReader:
    schema = pa.schema([(name, pa.string()) for name in SCHEMA])
    return pa.RecordBatchReader.from_batches(schema, (pa.RecordBatch.from_pylist([each], schema) for each in rows))


@pytest.mark.parametrize("form", [iter, Rows, as_reader, lambda rows: map(dict, rows)])
def test_files_that_change_while_rows_are_taken(tree: TreeWriter, tmp_path: Path, form: Callable[..., Any]) -> None:
    root = tree({f"{unit}/a.txt": b"xxx" for unit in "uvw"})

    def rows(task: Task) -> Iterator[dict[str, str]]:
        yield row(task, task.path.read_text())
        if task.unit == "v":
            write(root / "v/a.txt", "grow")
        yield row(task, task.path.read_text())

    run = scaledproc.run(root, tmp_path / "out", extractor=made(lambda task: form(rows(task)), "folder"), jobs=1)
    assert run.to_arrow()["path"].to_pylist() == ["u/a.txt"] * 2 + ["w/a.txt"] * 2
    assert [error["error"] for error in run.errors().to_pylist()] == ["FileChangedError"]


@pytest.mark.parametrize("many", [False, True], ids=["sent along", "of the inventory"])
@pytest.mark.parametrize("name", ["a.txt", "b.dat"])
def test_files_that_changed_after_they_were_listed(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, many: bool
) -> None:
    monkeypatch.setattr(worker, "FILES_SENT", 0 if many else worker.FILES_SENT)
    root = tree({f"{unit}/{file}": b"xxx" for unit in "uvw" for file in ("a.txt", "b.dat", "c.dat")})
    (root / "u/link.dat").symlink_to("c.dat")

    def change(event: object) -> None:
        if isinstance(event, scaledproc.events.RunStarted):
            write(root / "v" / name, "grow")
            write(root / "w/c.dat", "grow")  # which nobody is given

    def extract(task: Task) -> Any:
        text = task.beside("b.dat").read_text()
        return row(task, text + (task.beside("link.dat").read_text() if task.unit == "u" else ""))

    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract, "folder"), jobs=1, on_event=change)
    assert run.to_arrow()["path"].to_pylist() == ["u/a.txt", "w/a.txt"]
    (error,) = run.errors().to_pylist()
    assert error["message"] == f"'v/{name}' changed since it was listed: it had 3 bytes, and has 7"


def test_files_that_nobody_was_given_may_change(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"u/a.txt": b"x", "u/log.dat": b"x"})

    def extract(task: Task) -> Any:
        write(root / "u/log.dat", "grow")
        (root / "u/new").write_text("x")  # which changes the folder
        return row(task, task.path.read_text())

    assert not scaledproc.run(root, tmp_path / "out", extractor=made(extract, "folder"), jobs=1).quarantined


def test_other_rights_and_names_elsewhere_do_no_harm(tree: TreeWriter, tmp_path: Path) -> None:
    calls = []

    def extract(task: Task) -> Any:
        calls.append(task.anchor)
        time.sleep(0.02)  # the file system's clock goes on by steps
        task.path.chmod(0o600)
        task.path.parent.chmod(0o750)
        (tmp_path / "linked").hardlink_to(task.path)
        os.utime(task.path, ns=(1, task.path.stat().st_mtime_ns))
        return row(task, task.path.read_text())

    run = scaledproc.run(tree({"u/a.txt": b"x"}), tmp_path / "out", extractor=made(extract), jobs=1)
    assert (run.quarantined, calls) == (0, ["u/a.txt"])


@pytest.mark.parametrize("place", ["u", "u/a.txt"])
def test_what_was_moved_and_is_back_is_read_again(tree: TreeWriter, tmp_path: Path, place: str) -> None:
    root = tree({"u/a.txt": b"right"})
    calls = []

    def extract(task: Task) -> Any:
        calls.append(task.anchor)
        text = task.path.read_text()
        if len(calls) == 1:
            time.sleep(0.02)
            (root / place).rename(root / "elsewhere")
            (root / "elsewhere").rename(root / place)
            text = "of what was there meanwhile"
        return row(task, text)

    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1)
    assert (run.to_arrow()["text"].to_pylist(), calls) == (["right"], ["u/a.txt"] * 2)


# Links that take a place meanwhile


def exchanged(place: Path, outside: Path) -> None:
    place.rename(place.with_name("put-away"))
    place.symlink_to(outside)


def put_back(place: Path) -> None:
    place.unlink()
    place.with_name("put-away").rename(place)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["g", "g/u", "g/u/a.txt"])
@pytest.mark.parametrize("by_handle", [False, True], ids=["path", "handle"])
@pytest.mark.parametrize("returns", [False, True], ids=["stays", "returns"])
def test_what_becomes_a_link_is_not_read(
    tree: TreeWriter, tmp_path: Path, place: str, by_handle: bool, returns: bool
) -> None:
    root = tree({"g/u/a.txt": b"right", "g/u/b.txt": b"right", "h/u/c.txt": b"right"})
    outside = tmp_path / "outside"
    outside.joinpath(place).parent.mkdir(parents=True)
    if place != "g/u/a.txt":
        (outside / "g/u").mkdir(parents=True)
    for name in ("a.txt", "b.txt"):
        (outside / "g/u").mkdir(parents=True, exist_ok=True)
        (outside / "g/u" / name).write_text("wrong")

    def extract(task: Task) -> Any:
        if task.anchor == "g/u/a.txt":
            time.sleep(0.02)
            exchanged(root / place, outside / place)
            try:
                if by_handle:
                    with task.open() as file:
                        text = file.read().decode()
                else:
                    text = task.path.read_text()
            finally:
                if returns:
                    put_back(root / place)
            return row(task, text)
        return row(task, task.path.read_text())

    run = scaledproc.run(root, tmp_path / "out", extractor=made(extract), jobs=1)
    assert set(run.to_arrow()["text"].to_pylist()) <= {"right"}
    assert "g/u/a.txt" in run.errors()["anchor"].to_pylist()
    assert "h/u/c.txt" in run.to_arrow()["path"].to_pylist()


def test_open_by_handle_reads_the_unit_whatever_its_path_leads_to(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"g/u/a.txt": b"right"})
    (tmp_path / "outside/u").mkdir(parents=True)
    (tmp_path / "outside/u/a.txt").write_text("wrong")
    task = Task("g", "g/u", "g/u/a.txt", root, frozenset({"g/u/a.txt"}), watch=local_files.Watch(str(root)))
    path = task.locate("a.txt")
    exchanged(root / "g", tmp_path / "outside")
    assert Path(path).read_text() == "wrong"
    with os.fdopen(local_files.open_located(path)) as file, task.open() as same:
        assert (file.read(), same.read()) == ("right", b"right")
    fresh = Task("g", "g/u", "g/u/a.txt", root, frozenset({"g/u/a.txt"}))
    with pytest.raises(FileNotFoundError, match="'g' is no folder of the dataset any more"):
        fresh.locate("a.txt")
    local_files.forget()


def test_as_many_files_as_a_task_locates_are_opened_by_handle(tree: TreeWriter, tmp_path: Path) -> None:
    names = [f"u/{number}.txt" for number in range(40)]
    root = tree(dict.fromkeys(names, b"right"))
    task = Task("u", "u", names[0], root, frozenset(names), watch=local_files.Watch(str(root)))
    paths = [task.locate(f"{number}.txt") for number in range(40)]
    exchanged(root / "u", tmp_path)
    for path in paths:
        with os.fdopen(local_files.open_located(path)) as file:
            assert file.read() == "right"
    local_files.forget()


@pytest.mark.slow
def test_no_handle_is_left(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"{number}/{number}/a.txt": b"x" for number in range(30)})
    extract = made(lambda task: row(task, task.path.read_text()))
    scaledproc.run(root, tmp_path / "first", extractor=extract, jobs=1)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    scaledproc.run(root, tmp_path / "second", extractor=extract, jobs=1)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    for number in range(30):  # without the engine: those of the last ones that were located
        Task("", "", f"{number}/{number}/a.txt", root, frozenset({f"{number}/{number}/a.txt"})).beside("a.txt")
    assert len(os.listdir("/proc/self/fd")) <= before + 17 * 3  # noqa: PTH208
    local_files.forget()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_staged_units_are_copies_that_are_not_asked_for_again() -> None:
    assert not StagedUnit(Path("/x")).is_dataset
