"""loky's tracker of resources: the same work, in a small process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import scaledproc

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


def test_it_is_found_where_only_this_process_knows_the_package(tmp_path: Path) -> None:
    """As in a notebook that added a checkout to sys.path: the tracker is another process, which has not."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/scaledproc").symlink_to(Path(scaledproc.__file__).parent)
    code = f"""
import os, subprocess, sys
sys.path[:] = [{str(tmp_path / "there")!r}, *[path for path in sys.path if "editable" not in path]]
sys.meta_path[:] = [finder for finder in sys.meta_path if "ditable" not in getattr(finder, "__name__", "")]
os.environ["PYTHONPATH"] = "/given"
from joblib.externals.loky.backend import resource_tracker
from scaledproc.execution.workers import tracker
with tracker.named_here(resource_tracker):
    print(os.environ["PYTHONPATH"])
print(os.environ["PYTHONPATH"], resource_tracker.main.__module__)
"""
    loky = "joblib.externals.loky.backend.resource_tracker"
    assert printed(code) == [f"{tmp_path / 'there'}:/given", "/given", loky]


def test_where_it_cannot_be_imported_alone_all_of_joblib_is() -> None:
    assert printed(ANOTHER_LOKY) == ["joblib.externals.loky.backend.resource_tracker"]
