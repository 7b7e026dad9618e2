"""The example of a backend runs as written, keeps what every backend promises, and needs public names alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import scaledproc
from scaledproc.testing import PROBE, BackendConformance, output_bytes, write_probe_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_LINES = 40


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the example for this process and those that it starts, as pip would."""
    made = tmp_path / "site/launcher_backend-1.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: launcher-backend\nVersion: 1\n")
    (made / "entry_points.txt").write_text("[scaledproc.backends]\nlauncher = launcher_backend:LauncherBackend\n")
    for folder in (made.parent, EXAMPLES):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{made.parent}:{EXAMPLES}")


@pytest.mark.slow
class TestLauncherBackend(BackendConformance):
    backend = "launcher"
    jobs = 2


@pytest.mark.slow
def test_it_writes_what_the_backend_local_does(tmp_path: Path) -> None:
    dataset = write_probe_dataset(tmp_path / "data", poison=True)
    local, launched = (
        scaledproc.run(dataset, tmp_path / backend, extractor=PROBE, shards=2, jobs=1, backend=backend)
        for backend in ("local", "launcher")
    )
    assert output_bytes(launched.store) == output_bytes(local.store)
    assert launched.record.backend["name"] == "launcher"


def test_a_store_that_only_this_process_sees_is_out_of_reach(tmp_path: Path, memory: str) -> None:
    dataset = write_probe_dataset(tmp_path / "data")
    with pytest.raises(scaledproc.UsageError, match="cannot reach it"):
        scaledproc.run(dataset, memory, extractor=PROBE, backend="launcher")


def test_an_extractor_without_a_name_is_out_of_reach(tmp_path: Path) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
    def nameless(task: scaledproc.Task) -> dict[str, int]:
        return {"n": 1}

    with pytest.raises(scaledproc.UsageError, match="need an extractor with a name"):
        scaledproc.run(write_probe_dataset(tmp_path / "data"), tmp_path / "out", extractor=nameless, backend="launcher")


def test_a_job_that_fails_ends_the_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_probe_dataset(tmp_path / "data")
    monkeypatch.setenv("PATH", "/nowhere")
    import launcher_backend  # type: ignore[import-not-found]

    monkeypatch.setattr(launcher_backend, "LAUNCHER", ("/bin/false",))
    with pytest.raises(scaledproc.ScaledprocError, match="shard 0 ended with exit code 1"):
        scaledproc.run(dataset, tmp_path / "out", extractor=PROBE, backend="launcher")


def test_it_is_short_and_needs_public_names_alone() -> None:
    text = (EXAMPLES / "launcher_backend.py").read_text()
    assert len(text.splitlines()) < MOST_LINES
    imports = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imports if name and name.startswith("scaledproc")} == {"scaledproc.plugins"}
