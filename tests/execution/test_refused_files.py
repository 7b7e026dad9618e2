"""Jobs none of whose files can be read are not done with no rows; single files that cannot be are tasks' failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from support import TreeWriter

import scaledproc
from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Event
from scaledproc.execution.chunks import missing_dataset
from scaledproc.execution.chunks.missing_dataset import is_refused
from scaledproc.extractors import Task
from scaledproc.run_folder.run import Run
from scaledproc.storage.fsspec_store import FsspecStore
from scaledproc.storage.local_files import open_file
from scaledproc.testing import PROBE

GONE, DENIED = FileNotFoundError("gone"), PermissionError("is refused (AccessDenied)")


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs of a dataset in memory, of which some files cannot be read any more once they are listed."""

    def run(files: dict[str, str], lost: set[str], error: OSError, **options: Any) -> Run:
        root = f"memory://refused-{uuid4().hex}"
        fs = fsspec.filesystem("memory")
        for name, content in files.items():
            fs.pipe_file(f"{root}/data/{name}", content.encode())
        fetch, opened = FsspecStore._fetch, FsspecStore.open

        def some(store: FsspecStore, groups: Any) -> list[OSError | None]:
            wrong = [error if lost & {file.path for file, _ in group} else None for group in groups]
            left = [() if each else group for each, group in zip(wrong, groups, strict=True)]
            return [each or found for each, found in zip(wrong, fetch(store, left), strict=True)]

        def open_it(store: FsspecStore, name: str) -> Any:
            if name in lost:
                raise error
            return opened(store, name)

        monkeypatch.setattr(FsspecStore, "_fetch", some)
        monkeypatch.setattr(FsspecStore, "open", open_it)
        given = {"extractor": PROBE, "jobs": 1, "chunk": "1", **options}
        return scaledproc.run(f"{root}/data", f"{root}/out", **given)

    return run


def files(count: int, *groups: str) -> dict[str, str]:
    return {f"{group}/u{number}/t.txt": "x\n" for group in groups for number in range(count)}


@pytest.mark.parametrize("error", [GONE, DENIED], ids=["gone", "denied"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_run_none_of_whose_files_can_be_read_fails(go: Callable[..., Run], error: OSError, count: int) -> None:
    every = files(count, "g")
    with pytest.raises(ScaledprocError, match=f"no file of the {count} tasks here can be read .the first: g/u0/t.txt:"):
        go(every, set(every), error)


@pytest.mark.parametrize("error", [GONE, DENIED], ids=["gone", "denied"])
def test_files_that_cannot_be_read_among_others_are_tasks_failures(go: Callable[..., Run], error: OSError) -> None:
    every = files(12, "g", "h")
    run = go(every, {name for name in every if name != "h/u3/t.txt"}, error)
    assert (run.record.counts["quarantined"], run.record.counts["rows"]) == (23, 1)
    assert set(run.errors()["error"].to_pylist()) == {"StagingError"}


def test_the_same_command_does_them_once_they_can_be_read(
    go: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    every, root = files(3, "g"), []

    def noted(where: str, output: str, **options: Any) -> Any:
        root.append((where, output, options))
        return run(where, output, **options)

    run = scaledproc.run
    with monkeypatch.context() as patched:
        patched.setattr(scaledproc, "run", noted)
        with pytest.raises(ScaledprocError, match="the same command continues"):
            go(every, set(every), DENIED)
    monkeypatch.undo()
    ((where, output, options),) = root
    assert run(where, output, **options).record.counts["rows"] == 3


def shard_alone(dataset: str, output: str, shard: int) -> Any:
    """What a machine of a batch system does, which has this shard alone."""
    from scaledproc.execution.worker import run_shards
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.storage.store import Store

    return list(run_shards(RunFolder.open(Store.at(output)), [shard], jobs=1))


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("error", [GONE, DENIED], ids=["gone", "denied"])
def test_a_shard_fails_only_where_nothing_else_can_be_read(
    go: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, error: OSError, count: int, fails: bool
) -> None:
    """Else the same data would come to another end where each shard is a job of its own."""
    every = {**files(count, "g"), **files(12, "h")}
    places: list[tuple[str, str]] = []

    def only_begun(where: str, output: str, **options: Any) -> Any:
        places.append((where, output))
        return begun(where, output, **options)

    def nothing(*_: Any, **__: Any) -> Any:
        raise KeyError("killed")

    begun = scaledproc.run
    monkeypatch.setattr(scaledproc, "run", only_begun)
    monkeypatch.setattr("scaledproc.engine.driver.do_jobs", nothing)
    with pytest.raises(KeyError):
        go(every, set(every if fails else files(count, "g")), error)
    ((where, output),) = places
    if fails:
        with pytest.raises(ScaledprocError, match=f"no file of the {count} tasks here can be read"):
            shard_alone(where, output, 0)
    else:
        assert shard_alone(where, output, 0)[-1].quarantined == count


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An extractor for which some files may not be opened: as root, every file may be."""
    opened = open_file

    def refuses(where: str, relative: str) -> int:
        if relative.startswith("h/"):
            raise PermissionError(13, "Permission denied", f"{where}/{relative}")
        return opened(where, relative)

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def size(task: Task) -> dict[str, int]:
        if task.group == "h":
            raise PermissionError(13, "Permission denied", str(task.path))
        return {"n": len(task.path.read_bytes())}

    monkeypatch.setattr(missing_dataset, "open_file", refuses)
    return size


@pytest.mark.parametrize("words", [{"retry_failed": True}, {"update": True}])
def test_what_was_refused_may_be_tried_again(
    tree: TreeWriter, tmp_path: Path, refusing: Any, words: dict[str, Any]
) -> None:
    root = tree({f"{group}/u{number}/a.txt": b"x" for group in "gh" for number in range(12)})
    options: dict[str, Any] = {"extractor": refusing, "jobs": 1}
    assert scaledproc.run(root, tmp_path / "out", **options).record.counts["quarantined"] == 12
    again = scaledproc.run(root, tmp_path / "out", **options, **words)
    assert (again.record.counts["quarantined"], again.record.counts["rows"]) == (12, 12)


@pytest.mark.parametrize("shards", ["1", "2"])
def test_a_run_that_goes_on_where_all_that_is_left_is_refused_comes_to_its_end(
    tree: TreeWriter, tmp_path: Path, refusing: Any, shards: str
) -> None:
    root = tree({f"{group}/u{number:02}/a.txt": b"x" for group in "gh" for number in range(12)})
    options: dict[str, Any] = {"extractor": refusing, "jobs": 1, "shards": shards, "chunk": "4"}
    rows = 0

    def stop(event: Event) -> None:
        nonlocal rows
        if isinstance(event, ChunkDone):
            rows += event.rows
            if rows == 12:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(root, tmp_path / "out", **options, on_event=stop)
    run = scaledproc.run(root, tmp_path / "out", **options)
    assert (run.record.counts["quarantined"], run.record.counts["rows"]) == (12, 12)


@pytest.mark.parametrize("name", ["g/u/a.txt", "g/u/b.dat"])
def test_a_local_file_that_may_not_be_opened(tree: TreeWriter, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As root, every file may be."""
    root = tree({"g/u/a.txt": b"x", "g/u/b.dat": b"y"})
    task = Task("g", "g/u", "g/u/a.txt", root, frozenset({"g/u/a.txt", "g/u/b.dat"}))
    assert not is_refused(task)
    opened = open_file

    def refuses(where: str, relative: str) -> int:
        if relative == name:
            raise PermissionError(13, "Permission denied", f"{where}/{relative}")
        return opened(where, relative)

    monkeypatch.setattr(missing_dataset, "open_file", refuses)
    assert is_refused(task)


@pytest.mark.parametrize("own", [False, True])
def test_a_local_run_none_of_whose_files_may_be_opened_fails(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """An error of that kind which the extractor raises by itself is a task's failure, of whatever number."""
    root = tree({f"g/u{number}/a.txt": b"x" for number in range(12)})

    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def denied(task: Task) -> dict[str, int]:
        raise PermissionError(13, "Permission denied", str(task.path))

    def refuses(where: str, relative: str) -> int:
        raise PermissionError(13, "Permission denied", f"{where}/{relative}")

    if own:
        assert scaledproc.run(root, tmp_path / "out", extractor=denied, jobs=1).record.counts["quarantined"] == 12
        return
    monkeypatch.setattr(missing_dataset, "open_file", refuses)
    with pytest.raises(ScaledprocError, match="no file of the 12 tasks here can be read"):
        scaledproc.run(root, tmp_path / "out", extractor=denied, jobs=1)
