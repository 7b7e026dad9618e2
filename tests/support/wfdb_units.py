"""Units of small WFDB records, and the rows that `wfdb-summary` makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfdb_oracles.oracle import task_of

from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.summary import WfdbSummary

ANY = WfdbSummary()


def segment(name: str, n_frames: int = 250, time: str = "", fs: float = 125, more: str = "") -> dict[str, bytes]:
    """A header with one signal, and its file."""
    header = f"{name} 1 {fs} {n_frames} {time}\n{name}.dat 80 2 8 0 0 0 0 II\n{more}"
    return {f"{name}.hea": header.encode(), f"{name}.dat": b"\x81" * n_frames}


def rows_of(root: Path, files: Mapping[str, bytes], folder: str = "") -> dict[str, dict[str, Any]]:
    """The row of each record of a unit with these files."""
    for name, content in files.items():
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_bytes(content)
    unit = root / folder
    tasks = [task_of(header, root) for header in sorted(unit.glob("*.hea"))]
    return {row["record"]: row for task in tasks for row in _rows(task)}


def _rows(task: Task) -> list[dict[str, Any]]:
    try:
        return ANY.extract(task)
    except (ValueError, OSError):
        return []
