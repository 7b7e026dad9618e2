"""loky's tracker of resources: the same work, in a small process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

STARTED = """
import os, sys, time
from joblib.externals.loky.backend import resource_tracker
from scaledproc.execution.workers import tracker
with tracker.named_here(resource_tracker):
    resource_tracker.ensure_running()
assert resource_tracker.main.__module__ == resource_tracker.__name__
resource_tracker.register(sys.argv[1], "folder")
pid = resource_tracker._resource_tracker._pid
while open(f"/proc/{pid}/syscall").read().split()[0] != "0":  # it reads
    time.sleep(0.01)
print(pid, "numpy" in open(f"/proc/{pid}/maps").read(), flush=True)
os.kill(os.getpid(), 9)
"""
ANOTHER_LOKY = """
import sys, types
from scaledproc.execution.workers import tracker
tracker._stand_in = lambda packages: sys.modules.update(joblib=types.ModuleType("joblib"))
print(tracker._track().__module__)
"""


def printed(code: str, *words: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True).stdout.split()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_it_cleans_up_after_a_process_that_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    pid, has_numpy = printed(STARTED, str(folder))
    until = time.monotonic() + 30
    while folder.exists() or Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert has_numpy == "False"


def test_where_it_cannot_be_imported_alone_all_of_joblib_is() -> None:
    assert printed(ANOTHER_LOKY) == ["joblib.externals.loky.backend.resource_tracker"]
