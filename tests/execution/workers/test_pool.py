"""Processes for the cores of this machine, and what is started beside them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from joblib.externals.loky.backend import resource_tracker
from support import TreeWriter

import scaledproc
from scaledproc.execution.workers.pool import Pool

COUNT = """
import os, scaledproc

@scaledproc.extractor(schema={"nice": "int64"}, anchor="*.txt", unit="file")
def nice(task):
    return {"nice": os.getpriority(os.PRIO_PROCESS, 0)}
"""


def test_lokys_tracker_gives_way_and_workers_do_not(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"{number}.txt": b"" for number in range(4)})
    (tmp_path / "x.py").write_text(COUNT)
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'x.py'}:nice", jobs=2, chunk=1)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert run.to_arrow()["nice"].to_pylist() == [own] * 4
    assert os.getpriority(os.PRIO_PROCESS, resource_tracker._resource_tracker._pid) > own


LOADED = """
import scaledproc, sys

@scaledproc.extractor(schema={"loaded": "string"}, anchor="*.txt", unit="file")
def loaded(task):
    return {"loaded": " ".join(sorted({"fsspec", "pandas", "typer"} & set(sys.modules)))}
"""


def test_workers_load_no_library_that_they_do_not_need(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"{number}.txt": b"" for number in range(4)})
    (tmp_path / "x.py").write_text(LOADED)
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'x.py'}:loaded", jobs=2, chunk=1)
    assert run.to_arrow()["loaded"].to_pylist() == [""] * 4


def end_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_ended_while_it_was_warmed_up_is_replaced() -> None:
    with Pool(1, in_process=False) as pool:
        for _ in range(3):
            pool.warm_up(end_itself)
            time.sleep(1)  # until it is known
            pool.warm_up(os.getpid)
        assert pool.submit(os.getpid).result() != os.getpid()


def test_processes_that_rest_are_gone_and_come_back_for_a_call() -> None:
    with Pool(2, in_process=False) as pool:
        own = pool.submit(os.getpid).result()
        pool.rest()
        until = time.monotonic() + 20
        while Path(f"/proc/{own}").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        assert pool.submit(os.getpid).result() != own
