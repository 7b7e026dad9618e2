"""Parquet files of a store as a dataset of Arrow or polars: nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from scaledproc.errors import UsageError
from scaledproc.storage.parquet import damage_told
from scaledproc.storage.s3.download import are_known, credentials_of, place_of

if TYPE_CHECKING:
    import polars as pl

    from scaledproc.storage.store import Store


def open_dataset(store: Store, names: Sequence[str]) -> ds.Dataset:
    """The dataset that files of the same columns are, in their order.

    Raises
    ------
    DamagedError
        If a file is no sound Parquet file.
    """
    with damage_told(store, names[0]):
        paths = [store.path(name) for name in names]
        return ds.dataset(paths if len(paths) > 1 else paths[0], filesystem=_filesystem_of(store), format="parquet")


def _filesystem_of(store: Store) -> pyarrow.fs.FileSystem:
    """What Arrow reads a store by: its own code, where that is led to the same place.

    Its threads may hold a file of Python's when the interpreter ends, which then ends in an abort.
    """
    if store.local is not None:
        return pyarrow.fs.LocalFileSystem()
    made = _s3_of(store.fs, store.root.partition("/")[0]) if store.is_s3 else None
    return made or pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(store.fs))


def _s3_of(fs: Any, bucket: str) -> pyarrow.fs.S3FileSystem | None:
    """Arrow's own S3, with the endpoint, the region and the credentials that s3fs has; None where it cannot have them.

    Credentials are those of now: who reads for longer than they last opens the dataset again.
    """
    options = dict(fs.storage_options)
    if not are_known(options) or options.get("requester_pays"):
        return None
    try:
        region, endpoint, is_aws = place_of(fs, bucket)
        given: dict[str, Any] = {"region": region}
        if not is_aws:
            given["scheme"], _, given["endpoint_override"] = endpoint.rstrip("/").partition("://")
        if options.get("anon"):
            given["anonymous"] = True
        else:
            found = credentials_of(options)()
            names = (("access_key", "access_key_id"), ("secret_key", "secret_access_key"), ("session_token", "token"))
            given |= {name: found[key] for name, key in names if found.get(key)}
        return pyarrow.fs.S3FileSystem(
            **given, connect_timeout=fs.seconds_to_connect, request_timeout=fs.seconds_to_read
        )
    except (ImportError, ValueError, TypeError, AttributeError):
        return None


def read_some(store: Store, names: Sequence[str], columns: Sequence[str] | None, filters: Any) -> pa.Table:
    """Some columns and rows of files, in their order.

    Parameters
    ----------
    store, names
        Which files.
    columns
        Names of columns; all where None is given.
    filters
        An expression, or tuples as `pyarrow.parquet.filters_to_expression` takes them; all rows where None is given.

    Raises
    ------
    UsageError
        If the files have no such column, or the filters cannot be used.
    DamagedError
        If a file is no sound Parquet file.
    """
    dataset = open_dataset(store, names)
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
            use_threads=store.local is not None,
        )
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"filters: {error}") from None
    with damage_told(store, names[0] if len(names) == 1 else names[0].partition("/")[0]):
        return scanner.to_table()


def scan_polars(store: Store, names: Sequence[str]) -> pl.LazyFrame:
    """Files of the same columns as a lazy frame, in their order.

    Raises
    ------
    UsageError
        If polars is not installed.
    DamagedError
        If a file is no sound Parquet file.
    """
    try:
        import polars as pl
    except ImportError:
        raise UsageError("scan() gives a frame of polars, which is not installed: pip install polars") from None
    if store.local is not None:
        return pl.scan_parquet([store.path(name) for name in names], glob=False)
    return pl.scan_pyarrow_dataset(open_dataset(store, names))
