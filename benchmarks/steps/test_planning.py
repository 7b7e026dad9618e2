"""Planning at scale: time and memory of a plan, from an inventory to the run's folder and back.

`SCALEDPROC_BENCHMARK_FILES=1000000,5000000,20000000 pytest --full benchmarks/steps/test_planning.py` asks for other
sizes; 50000000 needs 5 GB of disk and 10 GB of memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from inventories import FILES, write_inventory
from measure import HERE, Bystanders, table

from scaledproc._util.process import startup
from scaledproc.extractors import load_extractor
from scaledproc.planning.plan import make_plan
from scaledproc.planning.saved_inventory import read_inventory
from scaledproc.run_folder.plan_files import read_plan, write_plan
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.full

SIZES = [int(size) for size in os.environ.get("SCALEDPROC_BENCHMARK_FILES", "1000000,10000000").split(",")]
JUDGED = 10_000_000
MOST_SECONDS, MOST_BYTES = 12.0, 2.5e9
LINEAR = 1.25  # of a size's bytes and seconds per file over those of the size before it
CORES = 16
STEPS = ("plan", "write", "read back")


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Parameters
    ----------
    steps
        Seconds of each step.
    cpu
        Seconds of CPU time of all steps.
    peak, inventory
        The most bytes of memory that the process had; what it had of them before the first step.
    """

    steps: dict[str, float]
    cpu: float
    peak: int
    inventory: int

    @property
    def seconds(self) -> float:
        """All steps."""
        return sum(self.steps.values())


def planned(inventory: Path, folder: Path) -> Cost:
    """Group, cut, write, read back."""
    extractor = load_extractor("wfdb-summary")
    listed = read_inventory(inventory, Store.at(folder))
    before, cpu = _peak(), time.process_time()
    steps: dict[str, float] = {}
    with _Timing(steps, "plan"):
        plan = make_plan(listed, extractor, cores=CORES)
    del listed
    with _Timing(steps, "write"):
        write_plan(Store.at(folder), plan)
    plan_id, cuts = plan.plan_id, plan.chunk_cuts
    del plan
    with _Timing(steps, "read back"):
        again = read_plan(Store.at(folder), plan_id)
    assert (again.chunk_cuts == cuts).all()
    return Cost(steps, time.process_time() - cpu, _peak(), before)


def bare(inventory: Path, folder: Path) -> Cost:
    """What cannot be done without, in plain pyarrow: the unit of each file, a sort by it, encode, write, read."""
    files = pq.read_table(inventory)
    before, cpu = _peak(), time.process_time()
    steps: dict[str, float] = {}
    with _Timing(steps, "plan"):
        unit = pc.replace_substring_regex(files["path"], "/[^/]*$", "")
        files = files.append_column("unit", unit.dictionary_encode().unify_dictionaries())
        del unit
        files = files.take(pc.sort_indices(files["path"]))
    with _Timing(steps, "write"):
        pq.write_table(files, folder / "bare.parquet", row_group_size=65_536)
    del files
    with _Timing(steps, "read back"):
        pq.read_table(folder / "bare.parquet")
    return Cost(steps, time.process_time() - cpu, _peak(), before)


class _Timing:
    def __init__(self, steps: dict[str, float], name: str) -> None:
        self._steps, self._name = steps, name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._steps[self._name] = time.perf_counter() - self._started


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alone(what: str, inventory: Path, folder: Path) -> Cost:
    """One of the above in a process of its own, which nothing else's memory is counted to."""
    command = [sys.executable, __file__, what, str(inventory), str(folder)]
    environment = {**os.environ, **startup.ENVIRONMENT, "PYTHONPATH": str(HERE)}  # as of the command line
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Cost(**json.loads(done.stdout))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose large files do not wait for pytest to remove them."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def test_planning_at_scale(folder: Path, show: Callable[[str], None]) -> None:
    rows, costs = [], {}
    with Bystanders() as others:
        for size in SIZES:
            orders = ("sorted", "folders", "shuffled") if size == JUDGED else ("sorted",)
            for order in orders:
                inventory = folder / "listed.parquet"
                files = write_inventory(inventory, size // FILES, order)
                cost = costs[size, order] = alone("planned", inventory, folder)
                rows.append(_row(f"{files / 1e6:.0f} M files, listed {order}", cost))
                if order == "sorted":
                    rows.append(_row("  bare pyarrow steps", alone("bare", inventory, folder)))
    show(
        table(
            f"planning: units of {FILES} files, {CORES} cores; one process each",
            ["inventory", *(f"{step} s" for step in STEPS), "all s", "CPU s", "peak GB", "of it the inventory, GB"],
            rows,
            [
                others.note,
                f"at most {MOST_SECONDS:.0f} s and {MOST_BYTES / 1e9:.1f} GB for 10 M files as S3 lists them",
            ],
        )
    )
    for smaller, larger in pairwise(SIZES):
        few, many = costs[smaller, "sorted"], costs[larger, "sorted"]
        assert many.peak / larger <= LINEAR * few.peak / smaller, "memory does not grow linearly"
        assert not others.are_quiet or many.seconds / larger <= LINEAR * few.seconds / smaller, "nor does time"
    if (JUDGED, "sorted") in costs:
        assert costs[JUDGED, "sorted"].peak <= MOST_BYTES
        assert not others.are_quiet or costs[JUDGED, "sorted"].seconds <= MOST_SECONDS


def _row(name: str, cost: Cost) -> list[str]:
    seconds = [f"{cost.steps[step]:.1f}" for step in STEPS]
    return [
        name,
        *seconds,
        f"{cost.seconds:.1f}",
        f"{cost.cpu:.1f}",
        f"{cost.peak / 1e9:.2f}",
        f"{cost.inventory / 1e9:.2f}",
    ]


def main(what: str, inventory: str, folder: str) -> None:
    """Measure in this process."""
    print(json.dumps(asdict({"planned": planned, "bare": bare}[what](Path(inventory), Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
