"""A Parquet file of a store as a dataset of Arrow or polars: some columns, some rows, nothing read before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from scaledproc.errors import UsageError
from scaledproc.storage.parquet import damage_told

if TYPE_CHECKING:
    import polars as pl

    from scaledproc.storage.store import Store


def open_dataset(store: Store, name: str) -> ds.Dataset:
    """The dataset that a file is.

    Raises
    ------
    DamagedError
        If the file is no sound Parquet file.
    """
    if store.local is not None:
        filesystem: pa.fs.FileSystem = pa.fs.LocalFileSystem()
    else:  # with the store's own options, and its retries
        filesystem = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(store.fs))
    with damage_told(store, name):
        return ds.dataset(store.path(name), filesystem=filesystem, format="parquet")


def read_some(store: Store, name: str, columns: Sequence[str] | None, filters: Any) -> pa.Table:
    """Some columns and rows of a file, in its order.

    Parameters
    ----------
    store, name
        Which file.
    columns
        Names of columns; all where None is given.
    filters
        An expression, or tuples as `pyarrow.parquet.filters_to_expression` takes them; all rows where None is given.

    Raises
    ------
    UsageError
        If the file has no such column, or the filters cannot be used.
    DamagedError
        If the file is no sound Parquet file.
    """
    dataset = open_dataset(store, name)
    if isinstance(columns, str):
        raise UsageError(f"columns={columns!r}: give a list of names, such as [{columns!r}]")
    strange = [each for each in columns or () if each not in dataset.schema.names]
    if strange:
        raise UsageError(f"the table has no column {strange[0]!r}; there are: {', '.join(dataset.schema.names)}")
    try:
        wanted = filters if filters is None or isinstance(filters, ds.Expression) else pq.filters_to_expression(filters)
        scanner = dataset.scanner(
            columns=None if columns is None else list(columns),
            filter=wanted,
            # Arrow's threads may hold a file of Python's when the interpreter ends, which ends in an abort.
            use_threads=store.local is not None,
        )
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"filters: {error}") from None
    with damage_told(store, name):
        return scanner.to_table()


def scan_polars(store: Store, name: str) -> pl.LazyFrame:
    """A file as a lazy frame.

    Raises
    ------
    UsageError
        If polars is not installed.
    DamagedError
        If the file is no sound Parquet file.
    """
    try:
        import polars as pl
    except ImportError:
        raise UsageError("scan() gives a frame of polars, which is not installed: pip install polars") from None
    if store.local is not None:
        return pl.scan_parquet(store.path(name), glob=False)
    return pl.scan_pyarrow_dataset(open_dataset(store, name))
