"""An extractor in a plain loop, without the engine: what its overhead is measured against.

    python benchmarks/support/alone.py EXTRACTOR FOLDER PART PARTS

Warms up on one task, says so, waits for a line on standard input, then prints the seconds that its share of the tasks
took.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scaledproc.extractors import Task, load_extractor


def find_tasks(root: Path) -> list[Task]:
    """A task for every header, as the engine makes them."""
    tasks = []
    for header in sorted(root.rglob("*.hea")):
        unit = header.parent.relative_to(root).as_posix()
        files = frozenset(path.relative_to(root).as_posix() for path in header.parent.iterdir())
        tasks.append(Task(unit.partition("/")[0], unit, header.relative_to(root).as_posix(), root, files))
    return tasks


def is_lazy(returned: Any) -> bool:
    """Whether rows are made only while they are taken, as a generator's."""
    return isinstance(returned, Iterable) and not hasattr(returned, "__len__")


def exhaust(returned: Any) -> None:
    """Have all rows made."""
    if is_lazy(returned):
        deque(returned, maxlen=0)


def main(spec: str, folder: str, part: int, parts: int) -> None:
    """Do each `parts`-th task."""
    extractor, tasks = load_extractor(spec), find_tasks(Path(folder))[part::parts]
    exhaust(extractor.extract(tasks[0]))
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for task in tasks:
        exhaust(extractor.extract(task))
    print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
