"""What the functions that a user calls say of an argument of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import TreeWriter

import scaledproc
from scaledproc import api


def refusals() -> Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]]:
    """Calls with one argument of a wrong kind, by what the refusal begins with; `data` and `out` stand for folders."""
    here = {"dataset": "data", "output": "out"}
    files = {**here, "extractor": "files", "jobs": 1}
    return {
        "on_event: give a function": (scaledproc.run, {**files, "on_event": 5}),
        "ask: give a function": (scaledproc.run, {**files, "ask": 5}),
        "settings: give a mapping": (scaledproc.run, {**files, "settings": 5}),
        "backend: give a backend": (scaledproc.run, {**files, "backend": 5}),
        "dataset: give a path": (scaledproc.plan, {"dataset": None}),
        "file: give a path": (scaledproc.save_inventory, {"dataset": "data", "file": 5}),
        "output: give a path": (scaledproc.combine, {"output": 5}),
        "dataset: give a path or": (scaledproc.verify, {"output": "out", "dataset": 5}),
        "inventory 'x': give True": (scaledproc.verify, {"output": "out", "inventory": "x"}),
        "output: give a path or": (scaledproc.status, {"output": 5}),
        "storage_options: give": (scaledproc.stop, {"output": "out", "storage_options": 5}),
        "--most 'x': give a number": (scaledproc.show, {"output": "out", "most": "x"}),
        "output: give a path or URL, not": (scaledproc.report, {"output": 5}),
        "file: give a path or": (scaledproc.report, {"output": "out", "file": 5}),
        "options: give a mapping": (scaledproc.report, {"output": "out", "options": 5}),
        "settings: give a mapping such": (scaledproc.report, {"output": "out", "settings": 5}),
        "storage_options: give a mapping": (scaledproc.report, {"output": "out", "storage_options": 5}),
        "--examples 'x': give a number": (scaledproc.report, {"output": "out", "examples": "x"}),
        "location 5: give a text": (api.ddl, {"output": "out", "location": 5}),
        "places: give a path or URL, not": (scaledproc.doctor, {"places": [5]}),
        "places 5: give a path or URL, or several": (scaledproc.doctor, {"places": 5}),
        "--jobs 'x': give": (scaledproc.doctor, {"jobs": "x"}),
        "--scratch: give a path": (scaledproc.doctor, {"scratch": 5}),
        "write 'x': give True": (scaledproc.doctor, {"write": "x"}),
        "run: give a path": (api.work, {"run": 5, "shards": [0]}),
        "shards 3: give numbers": (api.work, {"run": "out", "shards": 3}),
        "shards 'x': give numbers": (api.work, {"run": "out", "shards": "x"}),
        "shards True: give numbers": (api.work, {"run": "out", "shards": [True]}),
        "source: give a path": (scaledproc.fetch, {"source": 5, "dest": "copy"}),
        "dest: give a path": (scaledproc.fetch, {"source": "data", "dest": None}),
        "path: give a path": (scaledproc.try_task, {"extractor": "files", "path": 5}),
        "task 5: give a text": (scaledproc.try_task, {"extractor": "files", "path": "data", "task": 5}),
        "failed 'x': give a whole": (scaledproc.try_task, {"extractor": "files", "path": "out", "failed": "x"}),
        "output: give a path or URL": (api.plan_update, {"dataset": "data", "output": 5}),
    }


@pytest.mark.parametrize("said", refusals())
def test_a_value_of_another_kind_is_refused_in_a_sentence(
    said: str, tree: TreeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree({"data/a/x.csv": b"a\n1\n"}))
    called, given = refusals()[said]
    with pytest.raises(scaledproc.UsageError) as refused:
        list(called(**given))  # what `work` tells as it goes on
    assert str(refused.value).startswith(said)
    assert not Path("out").exists()


def test_options_of_a_run_that_is_combined_anew_are_a_mapping(tree: TreeWriter) -> None:
    data = tree({"data/a/x.csv": b"a\n1\n"})
    scaledproc.run(data / "data", data / "out", extractor="files", jobs=1)
    with pytest.raises(scaledproc.UsageError, match="options: give a mapping"):
        scaledproc.combine(data / "out", options=[5])  # type: ignore[arg-type]
