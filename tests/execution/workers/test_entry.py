"""What worker processes begin with: found wherever the package lies, and leaving nothing of that behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import TreeWriter

import scaledproc
from scaledproc.execution.workers import entry, pool
from scaledproc.execution.workers.pool import Pool

SEEN = """
import os, sys, scaledproc

@scaledproc.extractor(schema={"path": "string", "main": "string", "joblib": "bool"}, anchor="*.txt", unit="file")
def seen(task):
    has_joblib = "joblib.parallel" in sys.modules
    ours = [name for name in os.environ if name.startswith("SCALEDPROC_PYTHON")]
    return {"path": str(os.environ.get("PYTHONPATH")) + "".join(ours), "main": sys.modules["__main__"].__file__,
            "joblib": has_joblib}
"""


@pytest.mark.parametrize("before", [None, "/given:/here"])
def test_a_task_sees_the_environment_of_the_driver(
    tree: TreeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    root = tree({f"{number}.txt": b"" for number in range(4)})
    (tmp_path / "x.py").write_text(SEEN)
    run = scaledproc.run(root, tmp_path / "out", extractor=f"{tmp_path / 'x.py'}:seen", jobs=2, chunk=1)
    rows = run.to_arrow().to_pylist()
    assert {row["path"] for row in rows} == {str(before)}
    assert {row["main"].rpartition("/")[2] for row in rows} == {"popen_loky_posix.py"}
    assert {row["joblib"] for row in rows} == {False}


def test_the_way_to_an_installed_package_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(scaledproc.__file__).parents[1])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("site.getsitepackages", lambda: ["/elsewhere"])
    assert entry.way_here() == {"PYTHONPATH": root, "SCALEDPROC_PYTHONPATH": ""}
    monkeypatch.setenv("PYTHONPATH", "/given")
    assert entry.way_here() == {"PYTHONPATH": f"{root}{os.pathsep}/given", "SCALEDPROC_PYTHONPATH": "/given"}
    monkeypatch.setattr("site.getsitepackages", lambda: ["/elsewhere", root])
    assert entry.way_here() == {}


def test_processes_start_where_only_the_driver_knows_the_package(tmp_path: Path) -> None:
    """As in a notebook that added a checkout to sys.path."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/scaledproc").symlink_to(Path(scaledproc.__file__).parent)
    code = f"""
import os, sys
sys.path[:] = [{str(tmp_path / "there")!r}, *[path for path in sys.path if "editable" not in path]]
sys.meta_path[:] = [finder for finder in sys.meta_path if "ditable" not in getattr(finder, "__name__", "")]
from scaledproc.execution.workers.pool import Pool
with Pool(1, in_process=False) as pool:
    print(pool.submit(os.getppid).result() == os.getpid())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr


def test_where_loky_is_another_its_own_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scaledproc.execution.workers.loky_context", None)
    assert pool._context() is None
    with Pool(1, in_process=False) as processes:
        assert processes.submit(os.getppid).result() == os.getpid()
