"""The daily loop on real records, as a person types it: after each update the folder is that of a run from nothing.

The dataset lies in S3, behind a proxy that can be told to refuse files, with a copy on disk that the runs from nothing
are of. `pytest -s` shows the transcript.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from misbehaving_store import MisbehavingStore, misbehaving
from support import Bucket, clean_environment

import scaledproc
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes

RECORDS = ("30/3000221", "32/3234460", "35/3544749")
EXTRACTOR = """
import scaledproc
from levels import level


@scaledproc.extractor(schema={"signal": "string", "bytes": "int64", "level": "float64"}, anchor="*_0*.hea", unit="stem")
def signals(task):
    lines = [line.split() for line in task.path.read_text().splitlines() if line.strip() and line[0] != "#"]
    for file, *_, name in lines[1:]:
        content = task.beside(file).read_bytes()
        yield {"signal": name, "bytes": len(content), "level": level(content)}
"""
HELPER = "def level(content):\n    return sum(content) / len(content)\n"


@dataclass
class Desk:
    """Where a person sits: the dataset, the extractor, the output."""

    folder: Path
    bucket: Bucket
    bad: MisbehavingStore
    told: list[str] = field(default_factory=list)

    @property
    def dataset(self) -> str:
        return self.bucket.url("loop")

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.bucket.fs.pipe_file(f"{self.bucket.name}/loop/{name}", content)

    def remove(self, name: str) -> None:
        (self.folder / "data" / name).unlink()
        self.bucket.fs.rm_file(f"{self.bucket.name}/loop/{name}")

    def call(self, dataset: str, output: str, *words: str) -> tuple[int, str]:
        command = ["scaledproc", "run", dataset, str(self.folder / output), "--extractor", "own.py", *words]
        done = subprocess.run(
            [sys.executable, "-m", *command, "--jobs", "1", "--json"],
            cwd=self.folder,
            env=clean_environment(dict(self.bad.front.environment())),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines()]
        found = [event["text"] for event in events if event["event"] == "ReuseFound"]
        ended = [f"{event['rows']} rows, {event['quarantined']} quarantined" for event in events if "already" in event]
        text = "; ".join([*found, *ended]) or done.stderr.strip()
        shown = text.replace(str(self.folder), "…")
        print(f"$ {' '.join(command)}\n{shown}\n".replace(str(self.folder), "…"))  # noqa: T201 - the transcript
        return done.returncode, text

    def update(self, *words: str, code: int = 0) -> str:
        """Update the output; what it told."""
        found, text = self.call(self.dataset, "out", *(words or ["--update"]))
        assert found == code, text
        return text

    def compare(self) -> None:
        """`cmp` of each file with a run from nothing."""
        shutil.rmtree(self.folder / "fresh", ignore_errors=True)
        self.call(str(self.folder / "data"), "fresh")
        made, fresh = (output_bytes(Store.at(self.folder / name)) for name in ("out", "fresh"))
        assert made == fresh
        command = [sys.executable, "-m", "scaledproc", "verify", str(self.folder / "out")]
        done = subprocess.run(command, cwd=self.folder, env=clean_environment({}), capture_output=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def desk(s3: Bucket, shared_data: Path, tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "own.py").write_text(EXTRACTOR)
    (tmp_path / "levels.py").write_text(HELPER)
    with misbehaving(s3.server) as bad:
        desk = Desk(tmp_path, s3, bad)
        for record in RECORDS:
            for path in sorted((shared_data / "mimic3wdb/1.0" / record).iterdir()):
                desk.put(f"{record}/{path.name}", path.read_bytes())
        yield desk


@pytest.mark.slow
def test_the_daily_loop_on_real_records(desk: Desk, shared_data: Path) -> None:
    code, _ = desk.call(desk.dataset, "out")
    assert code == 0
    n_tasks = scaledproc.Run.open(desk.folder / "out").record.counts["tasks"]
    desk.compare()

    (desk.folder / "levels.py").write_text(HELPER.replace("sum(content)", "2 * sum(content)"))
    code, text = desk.call(desk.dataset, "out")
    assert code == 2
    assert "\n  levels.py changed\n" in text
    assert f"\n  --update does {n_tasks} of {n_tasks} tasks: {n_tasks} of other code" in text
    assert desk.update().startswith(f"{n_tasks} of {n_tasks} tasks: {n_tasks} of other code or options")
    desk.compare()

    record = shared_data / "mimic3wdb/1.0/32/3269321"
    added = [path for path in sorted(record.iterdir()) if path.stem.endswith(("_0001", "_0002"))]
    for path in added:
        desk.put(f"32/3269321/{path.name}", path.read_bytes())
    desk.put("30/3000221/3000221_0002.dat", bytes(range(256)) * 10)
    desk.remove("35/3544749/3544749_0001.hea")
    new = sum(path.suffix == ".hea" for path in added)
    assert desk.update().startswith(f"{new + 1} of {n_tasks + new - 1} tasks: {new} new, 1 of changed files")
    desk.compare()

    refused = [f"32/3234460/3234460_000{number}" for number in (1, 3, 4)]
    for stem in refused:
        desk.put(f"{stem}.dat", b"changed" * 40)
    desk.bad.decide = lambda request: (
        "forbidden"
        if request.method == "GET" and request.key.endswith(tuple(f"{stem}.dat" for stem in refused))
        else None
    )
    assert "3 of changed files" in desk.update(code=3)
    errors = scaledproc.Run.open(desk.folder / "out").errors()
    assert errors["anchor"].to_pylist() == [f"{stem}.hea" for stem in refused]
    assert all("AccessDenied" in message for message in errors["message"].to_pylist())
    desk.bad.decide = lambda request: None
    assert desk.update("--retry-failed").startswith(f"3 of {n_tasks + new - 1} tasks: 3 failed earlier")
    desk.compare()
    assert desk.update("--update").endswith("rows, 0 quarantined")  # nothing is left to do
