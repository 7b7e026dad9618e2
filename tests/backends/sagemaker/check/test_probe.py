"""What a check's job leaves, run as a container runs it: by a Python that has nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scaledproc.backends.sagemaker.check import probe


def test_it_tells_of_files_and_disks_in_a_kilobyte(tmp_path: Path) -> None:
    long = "/".join(["a-folder-of-a-long-name"] * 20)
    for name in ("one.txt", "two.txt"):
        path = tmp_path / "processing/input/dataset" / long / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "processing/output").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {"SCALEDPROC_ML_ROOT": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "AWS_REGION": "eu-west-1"}

    command = [sys.executable, "-I", str(probe.__file__)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    message = (tmp_path / "output/message").read_bytes()
    seen = json.loads(message)
    assert len(message) <= 1024
    assert [name[-20:] for name in seen["files"]] == [f"{long}/{name}"[-20:] for name in ("one.txt", "two.txt")]
    assert seen["files"][0].startswith("…")
    assert set(seen["disks"]) == {"/tmp", "/opt/ml/processing"}
    assert all(total >= free >= 0 for total, free, _ in seen["disks"].values())
    assert seen["variables"] == ["AWS_REGION"]
    assert json.loads((tmp_path / "processing/output/seen.json").read_text())["files"] == seen["files"]
