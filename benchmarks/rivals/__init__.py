"""What people use today, each as a competent user of it would: whole scripts around one function.

Every script gets the same words, `SCRIPT FOLDER OUT CORES [EXTRACTOR]`, finds the records, describes them in chunks on
all cores, and writes one table. None is needed to collect or run the benchmarks: what is not installed is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Rival:
    """One of them.

    Parameters
    ----------
    name
        In tables.
    script
        Its file here.
    needs
        What it imports.
    """

    name: str
    script: str
    needs: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Of the script."""
        return HERE / self.script

    @property
    def missing(self) -> str:
        """Why it cannot run here; empty where it can."""
        lacking = [name for name in self.needs if find_spec(name) is None]
        if lacking:
            return f"not installed: {', '.join(lacking)}"
        if "pyspark" in self.needs and which("java") is None:
            return "needs Java"
        return ""


RIVALS = (
    Rival("joblib, chunks", "joblib_chunks.py", ("joblib",)),
    Rival("dask bag", "dask_bag.py", ("dask",)),
    Rival("dask.distributed", "dask_cluster.py", ("dask", "distributed")),
    Rival("Ray tasks", "ray_tasks.py", ("ray",)),
    Rival("Ray Data", "ray_dataset.py", ("ray",)),
    Rival("PySpark", "spark_session.py", ("pyspark",)),
)
DISTRIBUTIONS = ("dask", "distributed", "ray", "pyspark")
