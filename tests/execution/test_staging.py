"""Units of remote data in bounded scratch space."""

from __future__ import annotations

from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import scaledproc
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE


def test_a_unit_larger_than_the_scratch_space_is_staged_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    from scaledproc.execution import staging

    fs = fsspec.filesystem("memory")
    for unit, count in (("u1", 5), ("u2", 3)):
        for number in range(count):
            fs.pipe_file(f"/in-scratch/{unit}/t{number}.txt", b"line\n" * 10)
    plan = scaledproc.plan("memory://in-scratch", extractor=PROBE, shards=1, chunk=2)
    chunks = list(plan.chunks(0))
    with staging.Stager(Store.at("memory://in-scratch"), plan, chunks, capacity=60) as stager:
        stager.stage(chunks[0]).result()
        assert not stager.admits(chunks[3])
    # Two chunks share a unit that fills the space: the second one must still get in.
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=120))
    run = scaledproc.run("memory://in-scratch", tmp_path / "out", extractor=PROBE, shards=1, chunk=2)
    assert run.to_arrow().num_rows == 80


def test_units_have_their_room_until_they_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    import threading

    import fsspec

    from scaledproc.execution import staging

    fs = fsspec.filesystem("memory")
    for number in range(6):
        fs.pipe_file(f"/slowly-removed/u{number}/t.txt", b"line\n" * 10)
    plan = scaledproc.plan("memory://slowly-removed", extractor=PROBE, shards=1, chunk=1)
    first, second, *_ = plan.chunks(0)
    may_remove = threading.Event()
    rmtree = shutil.rmtree

    def slowly(path: Path, **options: Any) -> None:
        assert may_remove.wait(60)
        rmtree(path, **options)

    with staging.Stager(Store.at("memory://slowly-removed"), plan, [first, second], capacity=60) as stager:
        monkeypatch.setattr("shutil.rmtree", slowly)
        (staged,) = stager.stage(first).result().values()
        stager.release(first)  # does not wait
        assert not stager.admits(second)
        assert staged.root.exists()
        may_remove.set()
        wait(stager.removals())
        assert stager.admits(second)
        assert not staged.root.exists()
    # A whole run whose scratch space holds one unit waits for each removal, and goes on by itself.
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=120))
    run = scaledproc.run("memory://slowly-removed", tmp_path / "out", extractor=PROBE, shards=1, chunk=1)
    assert run.to_arrow().num_rows == 60
