"""What is promised to users and to authors of plug-ins, as a list: another name here is a decision, not an accident."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path

import pytest
from support import tree_bytes

import scaledproc
import scaledproc.plugins
from scaledproc.testing import PROBE, write_probe_dataset

PROMISED = {
    "scaledproc": {
        *(
            "plan",
            "run",
            "combine",
            "verify",
            "status",
            "stop",
            "fetch",
            "save_inventory",
            "show",
            "try_task",
            "report",
        ),
        *("doctor", "Diagnosis"),
        *("Plan", "Run", "Verified", "Status", "Overview", "Fetched", "Inventory", "extractor", "rows"),
        *("Extractor", "Option", "Task", "Backend", "Capabilities", "Job"),
        *("ScaledprocError", "TooManyFailuresError", "UsageError"),
    },
    "scaledproc.plugins": {
        *("Extractor", "Option", "Task", "extractor", "rows"),
        *("Backend", "Capabilities", "Job", "Expected", "RunFolder", "Plan", "Store", "Limits"),
        *("Event", "Note", "JobPlanned", "ShardState", "State", "ChunkDone", "ShardDone", "CombineDone", "from_json"),
        *("run_shards", "combine", "cores", "ScaledprocError", "UsageError"),
    },
}


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_names_and_no_others(name: str) -> None:
    module = importlib.import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) == PROMISED[name]
    assert PROMISED[name] <= set(dir(module))
    for each in module.__all__:
        assert inspect.isclass(getattr(module, each)) or callable(getattr(module, each)), each
        assert getattr(module, each).__doc__, each
    with pytest.raises(AttributeError, match=f"module {name!r} has no attribute 'nothing'"):
        _ = module.nothing


def test_naming_them_imports_nothing_large() -> None:
    code = (
        "import sys, scaledproc, scaledproc.plugins as plugins\n"
        "assert {'run', 'Run'} <= set(dir(scaledproc)) and 'Store' in dir(plugins)\n"
        "plugins.Job, plugins.ScaledprocError, plugins.from_json\n"
        "print(*sorted({'pyarrow', 'numpy', 'pandas', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"pyarrow", "numpy"}  # which a backend's `Run` needs


def test_a_run_has_nothing_that_changes_its_folder() -> None:
    public = {name for name in dir(scaledproc.Run) if not name.startswith("_")}
    assert public == {
        *(
            "errors",
            "extractor",
            "features",
            "open",
            "plan",
            "quarantined",
            "schema_of",
            "summary",
            "tasks",
            "traceback",
            "warnings",
        ),
        *("scan", "to_arrow", "to_dataset", "to_pandas"),
        *("committed_shards", "full_report", "full_reports", "shard_report", "shard_reports"),
    }


def test_a_run_can_only_be_read(tmp_path: Path) -> None:
    output, dataset = tmp_path / "out", write_probe_dataset(tmp_path / "data")
    made = scaledproc.run(dataset, output, extractor=PROBE, jobs=1)
    before = tree_bytes(output), tree_bytes(dataset)
    name = next(path.name for path in dataset.iterdir() if path.is_file())
    for run in (made, scaledproc.Run.open(output), pickle.loads(pickle.dumps(made)), replace(made, source="x:y")):
        assert type(run) is scaledproc.Run
        changes: list[Callable[[], None]] = [
            partial(run.store.write, "features.parquet", b""),
            partial(run.store.child("shards").remove, "00000.parquet"),
            run.store.remove_temporaries,
            partial(run.dataset.write, "x", b"1"),
            partial(run.dataset.remove, name),
        ]
        for change in changes:
            with pytest.raises(scaledproc.UsageError, match="a Run can only be read"):
                change()
        with pytest.raises(FrozenInstanceError):
            run.record = made.record  # type: ignore[misc]
    assert (tree_bytes(output), tree_bytes(dataset)) == before
    assert made.to_arrow().num_rows == made.record.counts["rows"]
