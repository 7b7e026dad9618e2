"""An extractor that only this process knows is made once in each process, with all that it keeps."""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import TreeWriter

import scaledproc

FILE = """
import functools, os
import scaledproc

@functools.cache
def model():
    with open({loads!r}, "a") as file:
        print(os.getpid(), file=file)
    return 7

@scaledproc.extractor(schema={{"path": "string", "pid": "int64"}}, anchor="*.txt")
def slow(task):
    return {{"path": task.anchor, "pid": os.getpid() * (model() // 7)}}
"""


def of_this_process(loads: Path) -> Any:
    """An extractor that no other process can import, and what it loads."""

    @functools.cache
    def model() -> int:
        with loads.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return 7

    @scaledproc.extractor(schema={"path": "string", "pid": "int64"}, anchor="*.txt")
    def slow(task: scaledproc.Task) -> dict[str, Any]:
        return {"path": task.anchor, "pid": os.getpid() * (model() // 7)}

    return slow


@pytest.mark.parametrize("kind", ["of a file", "of this process"])
def test_a_model_is_loaded_once_in_each_process(kind: str, tree: TreeWriter, tmp_path: Path) -> None:
    """Whatever the chunks: `functools.cache` keeps it."""
    loads = tmp_path / "loads"
    extractor: Any = of_this_process(loads)
    if kind == "of a file":
        (tmp_path / "slow.py").write_text(FILE.format(loads=str(loads)))
        extractor = f"{tmp_path / 'slow.py'}:slow"
    dataset = tree({f"{n:02d}.txt": b"" for n in range(40)})

    run = scaledproc.run(dataset, tmp_path / "out", extractor=extractor, chunk=1, jobs=2)

    assert run.plan.n_chunks == 40
    workers = set(run.to_arrow()["pid"].to_pylist())
    assert os.getpid() not in workers
    assert Counter(map(int, loads.read_text().split())) == dict.fromkeys(workers, 1)


def test_what_changed_between_two_runs_is_sent_anew(tree: TreeWriter, tmp_path: Path) -> None:
    factor = [1]

    @scaledproc.extractor(schema={"path": "string", "factor": "int64"}, anchor="*.txt")
    def scaled(task: scaledproc.Task) -> dict[str, Any]:
        return {"path": task.anchor, "factor": factor[0]}

    dataset, found = tree({f"{n}.txt": b"" for n in range(4)}), []
    for number in (1, 2):
        factor[0] = number
        run = scaledproc.run(dataset, tmp_path / f"out{number}", extractor=scaled, chunk=1, jobs=2)
        found.append(set(run.to_arrow()["factor"].to_pylist()))
    assert found == [{1}, {2}]
