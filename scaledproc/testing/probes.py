"""An extractor and a dataset to test backends with, and what must be the same wherever a plan is run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scaledproc.extractors import Task, extractor
from scaledproc.run_folder.names import CROISSANT
from scaledproc.run_folder.record import read_record
from scaledproc.storage.store import Store

PROBE = "scaledproc.testing:probe"
COUNT = "SCALEDPROC_PROBE_COUNT"
CUTS: tuple[tuple[str, str], ...] = (("folder", "auto"), ("1", "1"), ("3", "per-core"), ("2kB", "1kB"), ("4", "2"))


@extractor(schema={"path": "string", "line": "int64", "digest": "string", "beside": "int64"}, anchor="*.txt")
def probe(task: Task) -> Iterator[dict[str, Any]]:
    """Give a row for each line of the anchor, with a digest of all files of the unit; do what the content says.

    A line `poison` raises, a line `sleep 0.1` waits. Each call adds a line to the file that `COUNT` names.
    """
    if COUNT in os.environ:
        with Path(os.environ[COUNT]).open("a", encoding="utf-8") as file:
            file.write(f"{task.anchor}\n")
    digest = hashlib.sha256()
    for name in sorted(task.files):
        digest.update((task.root / name).read_bytes())
    for number, line in enumerate(task.path.read_text(encoding="utf-8").splitlines()):
        if line == "poison":
            raise ValueError(f"poison in {task.path}")
        if line.startswith("sleep"):
            time.sleep(float(line.split()[1]))
        yield {"path": task.anchor, "line": number, "digest": digest.hexdigest(), "beside": len(task.files)}


def write_probe_dataset(folder: Path, *, poison: bool = False, seconds: float = 0.0) -> Path:
    """Write a small dataset for `probe`.

    It has files at the root, nested folders, units of several tasks and of very unequal sizes, tasks without rows,
    and names with spaces, quotes and letters beyond ASCII.

    Parameters
    ----------
    folder
        Where; it is made.
    poison
        Whether some tasks raise.
    seconds
        How long each task takes.
    """
    contents: dict[str, str] = {"top.txt": "a\nb\n"}
    for group in ("g1", "g2", "g2 ü", "h'\"3"):
        for unit in range(1, 4):
            for task in range(1, 2 + unit):
                contents[f"{group}/u{unit}/t{task}.txt"] = "line\n" * (unit * task % 4)
            contents[f"{group}/u{unit}/signal.bin"] = "x" * (37 * unit**4)
    contents["g1/u1/nested/deep.txt"] = "deep\n"
    if poison:
        contents["g1/u2/bad.txt"] = contents["g2/u3/t2.txt"] = "fine\npoison\n"
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if seconds and name.endswith(".txt"):
            content += f"sleep {seconds}\n"
        path.write_text(content, encoding="utf-8")
    return folder


def output_bytes(store: Store) -> dict[str, str]:
    """A digest of each file that must be the same wherever and however a plan is run."""
    kinds = (".csv", ".parquet", CROISSANT)
    names = [name for name in store.names() if name.endswith(kinds) and name not in _WITH_CUTS]
    record = read_record(store)
    tables = ("features", *record.tables) if record is not None and record.has_table_folders else ()
    names += [f"{folder}/{name}" for folder in ("shards", *tables) for name in store.names(folder)]
    return {name: hashlib.sha256(store.read(name)).hexdigest() for name in names}


# These show the cuts, the state of the store that the dataset was listed from, or how the run went.
_WITH_CUTS = ("plan.parquet", "inventory.parquet", "tasks.parquet")
