"""What a job of `scaledproc sagemaker check` runs: it looks around and leaves what it saw, without anything of ours."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

LONGEST = 150  # letters of a file's name: all must fit into the first 1 KB of a message


def main() -> None:
    """Look at the inputs and the disks, leave that as the job's message and as a file; wait, if told to."""
    started = time.time()
    root = Path(os.environ.get("SCALEDPROC_ML_ROOT", "/opt/ml"))
    processing = root / "processing"
    dataset = processing / "input" / "dataset"
    files = sorted(path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file())
    disks = {}
    for name, folder in (("/tmp", Path(tempfile.gettempdir())), ("/opt/ml/processing", processing)):  # noqa: S108 - a name
        usage = shutil.disk_usage(folder)
        disks[name] = [usage.total, usage.free, folder.stat().st_dev]
    shown = [name if len(name) <= LONGEST else f"…{name[-LONGEST:]}" for name in files[:3]]
    seen: dict[str, object] = {
        "files": shown,
        "disks": disks,
        "python": sys.version.split()[0],
        "variables": _variables(),
    }
    (processing / "output" / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
    (root / "output").mkdir(exist_ok=True)
    seen["seconds"] = round(time.time() - started, 1)
    (root / "output" / "message").write_text(json.dumps(seen), encoding="utf-8")
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()
    time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)


def _variables() -> list[str]:
    return sorted(name for name in os.environ if name.startswith("AWS_") and "REGION" in name)


if __name__ == "__main__":
    main()
