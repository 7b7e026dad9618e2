"""The wheel of the running scaledproc that goes where its jobs run."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support import clean_environment

from scaledproc import plan
from scaledproc.backends.sagemaker.packaging.wheel import project_wheel, requirements


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = project_wheel(tmp_path_factory.mktemp("wheel"))
    return made


def test_it_holds_the_code_and_what_the_code_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {
        "scaledproc/cli/main.py",
        "scaledproc/py.typed",
        "scaledproc/extractors/wfdb/signal_names.toml",
        "scaledproc/backends/__init__.py",
        "scaledproc/backends/local.py",
        "scaledproc/backends/sagemaker/packaging/Dockerfile",
    } < set(names)
    assert len(names) == len(set(names))
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"scaledproc"}


def test_its_record_is_right(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    own = next(name for name in files if name.endswith("/RECORD"))
    rows = list(csv.reader(io.StringIO(files[own].decode())))
    assert {row[0] for row in rows} == set(files)
    for name, digest, size in rows:
        if name != own:
            expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={expected}", len(files[name]))


@pytest.mark.slow
def test_the_same_code_gives_the_same_bytes_wherever_it_is_installed(wheel: Path, demo: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    install = ("install", "--quiet", "--no-index", "--no-deps", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=tmp_path)
    # What scaledproc needs is taken from here; a .pth within such a folder is not followed, so scaledproc is not.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(site, "dependencies.pth").write_text("".join(f"{folder}\n" for folder in here))
    assert run(python, "-c", "import scaledproc; print(scaledproc.__file__)", cwd=tmp_path).startswith(str(tmp_path))

    (tmp_path / "again").mkdir()
    code = "from scaledproc.backends.sagemaker.packaging.wheel import *\n"
    code += "import pathlib; project_wheel(pathlib.Path('again'))"
    run(python, "-c", code, cwd=tmp_path)
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()

    found = json.loads(run(tmp_path / "venv/bin/scaledproc", "plan", demo, "--json", cwd=tmp_path))
    assert found["plan_id"] == plan(demo).plan_id


@pytest.mark.slow
def test_requirements_are_those_without_extras() -> None:
    names = {line.split(">")[0] for line in requirements()}
    assert {"pyarrow", "wfdb", "typer"} <= names
    assert not names & {"sagemaker", "pytest", "boto3"}
