"""What all rivals do: find the records, describe some of them, write one table. Only how they spread it differs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from pattern import describe_records

if TYPE_CHECKING:
    from scaledproc import Extractor

PARTS_PER_CORE = 8
"""So that cores end together, whatever the sizes of the records; what the guides of these libraries recommend."""


class Order(NamedTuple):
    """What a script was told on its command line."""

    folder: Path
    out: Path
    cores: int
    extractor: str | None

    @classmethod
    def read(cls) -> Order:
        """From `FOLDER OUT CORES [EXTRACTOR]`."""
        folder, out, cores, *extractor = sys.argv[1:]
        return cls(Path(folder), Path(out), int(cores), extractor[0] if extractor else None)

    @property
    def parts(self) -> list[list[str]]:
        """All records, in parts of as many as possible alike."""
        found = self.records
        count = min(self.cores * PARTS_PER_CORE, len(found))
        return [part.tolist() for part in np.array_split(np.array(found, object), count)]

    @property
    def records(self) -> list[str]:
        """For the pattern's function the paths of the headers; for an extractor its tasks as JSON."""
        if self.extractor is None:
            return sorted(str(path) for path in self.folder.rglob("*.hea"))
        import scaledproc

        plan, found = scaledproc.plan(self.folder, extractor=self.extractor), []
        for unit in range(plan.n_units):
            files = plan.files_of(unit)["path"].to_pylist()
            first, stop = int(plan.unit_tasks[unit]), int(plan.unit_tasks[unit + 1])
            found += [
                json.dumps([row["group"], row["unit"], row["anchor"], str(self.folder), files])
                for row in plan.tasks.slice(first, stop - first).to_pylist()
            ]
        return found

    def write(self, frames: Sequence[pd.DataFrame]) -> None:
        """One table of all rows."""
        pd.concat(frames, ignore_index=True).to_parquet(self.out)


def describe(records: Sequence[str], extractor: str | None) -> pd.DataFrame:
    """The rows of some records: by the pattern's function, or by an extractor."""
    if extractor is None:
        return describe_records(records)
    from scaledproc import Task
    from scaledproc.extractors.rows.collector import RowCollector

    found = _load(extractor)
    collector = RowCollector(found.schema)
    for record in records:
        group, unit, anchor, root, files = json.loads(record)
        try:
            collector.add(found.extract(Task(group, unit, anchor, Path(root), frozenset(files))))
        except Exception as error:  # as scaledproc does: a bad record costs its own rows
            print(f"{anchor}: {error}", file=sys.stderr)
    frame: pd.DataFrame = collector.take().to_pandas()
    return frame


@cache
def _load(extractor: str) -> Extractor:
    from scaledproc.extractors import load_extractor

    return load_extractor(extractor)


def environment(folder: Path) -> dict[str, str]:
    """For a script and its workers: one thread each, files in a private folder, loopback, nothing told to anyone.

    Parameters
    ----------
    folder
        For whatever they write besides the table.
    """
    from scaledproc._util.process.startup import ONE_THREAD

    here = Path(__file__).resolve().parents[1]
    settings: dict[str, Any] = {
        "PYTHONPATH": os.pathsep.join((str(here), str(here / "support"))),
        "PYTHONWARNINGS": "ignore",
        "TMPDIR": str(folder),
        "DASK_TEMPORARY_DIRECTORY": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too: Ray takes 127.0.0.1 for its own address
        "RAY_TMPDIR": str(folder),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder),
        "_JAVA_OPTIONS": f"-Djava.io.tmpdir={folder} -XX:-UsePerfData",
    }
    return {**os.environ, **ONE_THREAD, **settings}
