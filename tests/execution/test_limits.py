"""Tasks that are tried again for what they failed of, and with more memory."""

from __future__ import annotations

from pathlib import Path

import pytest

import scaledproc
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.recovery import allowed_losses

EXTRACTOR = """
import pathlib, time
import numpy as np
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.txt")
def passing(task, *, marks: str = ""):
    content = task.path.read_text()
    mark = pathlib.Path(marks) / task.anchor.replace("/", "_")
    is_first = not mark.exists()
    mark.touch()
    if content == "hang" and is_first:
        time.sleep(1000)
    if content == "raise" and is_first:
        raise ValueError("at first")
    if content.startswith("take"):
        np.ones(int(content.split()[1]) * 125_000)
    return {"path": task.anchor}
"""


def run(folder: Path, contents: dict[str, str], **options: object) -> dict[str, tuple[int, str | None]]:
    """What became of each task: attempts and kind of error."""
    (folder / "data").mkdir()
    (folder / "marks").mkdir()
    (folder / "passing.py").write_text(EXTRACTOR)
    for name, content in contents.items():
        (folder / "data" / name).write_text(content)
    made = scaledproc.run(
        folder / "data",
        folder / "out",
        extractor=f"{folder / 'passing.py'}:passing",
        options={"marks": str(folder / "marks")},
        jobs=1,
        **options,  # type: ignore[arg-type]
    )
    return {row["anchor"]: (row["attempts"], row["error_kind"]) for row in made.tasks().to_pylist()}


@pytest.mark.slow
def test_only_named_kinds_are_tried_again(tmp_path: Path) -> None:
    contents = {"hang.txt": "hang", "plain.txt": "plain", "raise.txt": "raise"}
    found = run(tmp_path, contents, task_timeout=3, retry_on="timeout")
    assert found == {"hang.txt": (2, None), "plain.txt": (1, None), "raise.txt": (1, "exception")}


def test_exceptions_are_tried_again_in_this_process(tmp_path: Path) -> None:
    assert run(tmp_path, {"raise.txt": "raise"}, retry_on=["exception", "memory"]) == {"raise.txt": (2, None)}


@pytest.mark.slow
def test_more_memory_at_the_second_time(tmp_path: Path) -> None:
    contents = {"0.txt": "take 600", "1.txt": "take 3000", "2.txt": "take 600", "3.txt": "plain"}
    found = run(tmp_path, contents, memory_per_worker="500MB", memory_step=2)
    assert found == {"0.txt": (2, None), "1.txt": (2, "memory"), "2.txt": (2, None), "3.txt": (1, None)}
    (message,) = scaledproc.Run.open(tmp_path / "out").errors()["message"].to_pylist()
    assert message == "the task took more memory than 2 times what --memory-per-worker allows"


@pytest.mark.parametrize(
    ("given", "cause", "expected"),
    [
        ({}, "timeout", 0),
        ({"retry_on": ("timeout",)}, "timeout", 1),
        ({"retry_on": ("memory",)}, "timeout", 0),
        ({"retry_on": ("timeout",), "task_retries": 3}, "timeout", 3),
        ({}, "memory", 1),
    ],
)
def test_how_many_processes_a_task_may_end(given: dict[str, object], cause: str, expected: int) -> None:
    limits = Limits(**given)  # type: ignore[arg-type]
    assert allowed_losses(cause, limits) == expected  # type: ignore[arg-type]


def test_limits_are_read_from_what_a_run_recorded() -> None:
    limits = Limits.of({"retry_on": ["timeout", "memory"], "memory_step": 2.0, "other": 1})
    assert limits == Limits(retry_on=("timeout", "memory"), memory_step=2.0)
