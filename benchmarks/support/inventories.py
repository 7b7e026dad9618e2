"""Synthetic inventories of any number of files, written without a Python object for each.

Names are those of the MIMIC-III Waveform Database: `30/3000003/3000003_0001.hea`. A unit has 40 files: a master header,
a layout, 18 segments and a record of numerics, each of a header and samples. Each group has a list beside its units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = [str(group) for group in range(30, 40)]
SUFFIXES = [
    *(".hea", *(f"_{number:04d}.{ending}" for number in range(1, 19) for ending in ("dat", "hea"))),
    *("_layout.hea", "n.dat", "n.hea"),
]
FILES = len(SUFFIXES)
BLOCK = 5_000  # units that are written at once
SCHEMA = pa.schema([("path", pa.large_string()), ("size", pa.int64()), ("version", pa.large_string())])


def write_inventory(path: Path, units: int, order: str = "sorted", seed: int = 3) -> int:
    """Write an inventory as `scaledproc inventory` does.

    Parameters
    ----------
    path
        The Parquet file.
    units
        How many; each has `FILES` files.
    order
        `sorted` as S3 lists, `folders` as parallel listings come (whole folders in any order), or `shuffled`.
    seed
        The same seed gives the same inventory.

    Returns
    -------
    int
        The number of files.
    """
    rng = np.random.default_rng(seed)
    numbers = np.arange(units)
    if order != "sorted":
        rng.shuffle(numbers)
    rows = 0
    with pq.ParquetWriter(path, SCHEMA, compression="snappy") as writer:
        for start in range(0, units, BLOCK):
            table = _block(numbers[start : start + BLOCK], units, rng)
            if order == "shuffled":
                table = table.take(pa.array(rng.permutation(len(table))))
            writer.write_table(table)
            rows += len(table)
        lists = [f"{group}/RECORDS" for group in GROUPS]
        writer.write_table(
            pa.table({"path": lists, "size": [1_000] * len(lists), "version": [""] * len(lists)}, SCHEMA)
        )
    return rows + len(GROUPS)


def _block(numbers: np.ndarray, units: int, rng: np.random.Generator) -> pa.Table:
    groups = pa.array(GROUPS).take(pa.array(numbers * len(GROUPS) // units))
    names = pc.cast(pa.array(numbers + 3_000_001), pa.string())
    prefixes = pc.binary_join_element_wise(groups, names, names, "/").cast(pa.large_string())
    n = len(numbers) * FILES
    repeated = prefixes.take(pa.array(np.repeat(np.arange(len(numbers)), FILES)))
    suffixes = pa.array(SUFFIXES, pa.large_string()).take(pa.array(np.tile(np.arange(FILES), len(numbers))))
    sizes = np.where(
        np.tile([suffix.endswith(".hea") for suffix in SUFFIXES], len(numbers)), 400, rng.lognormal(11, 1.5, n)
    )
    return pa.table(
        {
            "path": pc.binary_join_element_wise(repeated, suffixes, pa.scalar("", pa.large_string())),
            "size": sizes.astype(np.int64),
            "version": _etags(n, rng),
        },
        SCHEMA,
    )


def _etags(n: int, rng: np.random.Generator) -> pa.Array:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[rng.integers(16, size=32 * n, dtype=np.uint8)]
    offsets = np.arange(0, 32 * n + 1, 32, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(digits))
