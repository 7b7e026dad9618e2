"""Arrow tables to and from Parquet, the same bytes however the rows arrive."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from scaledproc.errors import DamagedError, UsageError
from scaledproc.storage.row_groups import GROUP_BYTES, ROW_GROUP, RowGroups

if TYPE_CHECKING:
    from scaledproc.storage.store import Store

METADATA = b"scaledproc"
"""The key of what a file says of itself in its Parquet footer."""
_FEW = 100_000
"""So many numbers stand in a footer; more stand before it, as footers are read whole, and up to 100 MB of a text."""
_PASSING_GROUP = 2**14
"""Rows of a row group in a file that does not stay."""

# What a spreadsheet takes for a formula; one that begins with apostrophes as well, so that the escape can be undone.
_FORMULA = r"\A('*[=+\-@\t\r\n＝＋－＠])"  # noqa: RUF001 - spreadsheets take the wide ones too
_ESCAPED = r"\A'('*[=+\-@\t\r\n＝＋－＠])"  # noqa: RUF001 - the same


def check_schema(schema: pa.Schema) -> None:
    """See whether rows of a schema come back from Parquet as they were.

    Raises
    ------
    UsageError
        If Parquet cannot hold a column's type or gives it back as another one, or there is no column.
    """
    if not schema.names:
        raise UsageError("the extractor's schema has no column")
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(schema.empty_table(), sink, version="2.6")
    except pa.ArrowException as error:
        raise UsageError(f"the extractor's schema cannot be written as Parquet: {error}") from None
    for field, back in zip(schema, pq.read_schema(pa.BufferReader(sink.getvalue())), strict=True):
        if not back.type.equals(field.type):
            raise UsageError(f"column {field.name!r} is declared as {field.type}, which Parquet keeps as {back.type}")


class Writer:
    """Writes rows as one Parquet file, in row groups that are the same however the rows come.

    Parameters
    ----------
    path, schema
        Where and what.
    for_queries
        Whether each row group says what its smallest and largest values are: for files that stay. To find them takes
        longer than all the rest of writing. Other files are read once, and have smaller row groups, so that a process
        that has much else in its memory needs less for them.
    encoded
        Columns of text that come as dictionaries, each value once, of 32-bit places: to encode them here would take as
        long as the rest of writing. They are read as the text that the schema says.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, *, for_queries: bool = True, encoded: Collection[str] = ()
    ) -> None:
        self._sink = pa.OSFile(str(path), "wb")
        self._declared = schema if encoded else None
        if encoded:
            schema = pa.schema(
                [
                    each.with_type(pa.dictionary(pa.int32(), each.type)) if each.name in encoded else each
                    for each in schema
                ]
            )
        self._parquet = pq.ParquetWriter(
            self._sink,
            schema,
            compression="snappy",
            version="2.6",
            write_statistics=for_queries,
            store_schema=not encoded,
        )
        self._groups = RowGroups(schema) if for_queries else RowGroups(schema, _PASSING_GROUP)
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if error is None:
                self._write(self._groups.rest())
                if self._declared is not None:  # what Arrow writes itself of a schema
                    declared = base64.b64encode(self._declared.serialize().to_pybytes())
                    told = {**(self._declared.metadata or {}), b"ARROW:schema": declared}
                    self._parquet.add_key_value_metadata(told)
        finally:
            self._parquet.close()
            self._sink.close()

    def write_table(self, table: pa.Table) -> None:
        """Take rows; they are written when a row group is full."""
        self.rows += table.num_rows
        for start in range(0, table.num_rows, ROW_GROUP):  # what is counted of rows takes memory too
            self._write(self._groups.add(table.slice(start, ROW_GROUP)))

    def write_tables(self, tables: Iterable[pa.Table]) -> None:
        """Take the rows of several, one after the other."""
        for table in tables:
            self.write_table(table)
            del table  # while the next one is made: each may be as large as memory bears

    def note(self, said: Mapping[str, Any], numbers: Mapping[str, Sequence[Any]]) -> None:
        """What the file says of itself, once all rows are there.

        Parameters
        ----------
        said
            Little, in JSON's types.
        numbers
            Numbers that there may be many of, such as one for each task; or pairs of them.
        """
        self._write(self._groups.rest())
        few: dict[str, Any] = {}
        many: dict[str, Any] = {}
        for name, values in numbers.items():
            if len(values) <= _FEW:
                few[name] = list(values)
            else:  # between the last row group and the footer, where Parquet has its own indexes too
                array = np.array(values, "<i8")
                many[name] = [self._sink.tell(), *array.shape]
                self._sink.write(array.tobytes())
        content = {**said, **few, **({"beside": many} if many else {})}
        self._parquet.add_key_value_metadata({METADATA: json.dumps(content, sort_keys=True)})

    def _write(self, groups: Iterable[pa.Table]) -> None:
        for group in groups:
            self._parquet.write_table(group, row_group_size=ROW_GROUP)
            has_large_rows = group.num_rows < ROW_GROUP and group.nbytes > GROUP_BYTES // 2
            del group
            if has_large_rows:  # else what its copies leave is kept, and the next one's do not fit there
                pa.default_memory_pool().release_unused()


def read_note(file: pq.ParquetFile, source: IO[bytes]) -> dict[str, Any]:
    """What a file says of itself, with all its numbers.

    Parameters
    ----------
    file, source
        The file, and the handle that it is read by.

    Raises
    ------
    ValueError, TypeError, KeyError, OSError
        If the file has no note, or one that is damaged or of another shape.
    """
    said: dict[str, Any] = json.loads((file.metadata.metadata or {})[METADATA])
    for name, (start, *shape) in said.pop("beside", {}).items():
        size = 8 * math.prod(shape)
        if not 0 <= start <= start + size <= source.seek(0, os.SEEK_END):
            raise ValueError(f"{name} is not in the file")
        source.seek(start)
        said[name] = np.frombuffer(source.read(size), "<i8").reshape(shape)
    return said


def open_reader(source: IO[bytes] | Path) -> pq.ParquetFile:
    """A reader that holds one row group.

    What Arrow does by itself, all of a file's bytes in memory before the first row group is decoded, serves stores
    that answer slowly; ours reads ahead by itself.
    """
    return pq.ParquetFile(source, pre_buffer=False)


def write_table(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write rows as one Parquet file, the same bytes however `tables` cuts them; their number."""
    with Writer(path, schema) as writer:
        writer.write_tables(tables)
    return writer.rows


def read_tables(
    store: Store, name: str, columns: list[str] | None = None, rows: int | None = None
) -> Iterator[pa.Table]:
    """A Parquet file a row group at a time.

    Parameters
    ----------
    store, name
        Which file.
    columns
        Some of them; all where none are named.
    rows
        How many it must have.

    Raises
    ------
    DamagedError
        If the file is no sound Parquet file, or has another number of rows.
    """
    with damage_told(store, name), store.open_for_arrow(name) as source, open_reader(source) as file:
        if rows is not None and file.metadata.num_rows != rows:
            raise DamagedError(
                f"{store}/{name} has {file.metadata.num_rows:,} rows, not {rows:,}; run the same command again"
            )
        yield from tables_in(file, columns)


def tables_in(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """An open file a row group at a time: read across them, a batch would have as many bytes as there are."""
    for group in range(file.num_row_groups):
        batches = file.iter_batches(ROW_GROUP, row_groups=[group], columns=columns, use_threads=False)
        yield from map(_table_of, batches)  # a loop would hold one while the next is read


def _table_of(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch]).replace_schema_metadata(None)


def read_whole(store: Store, name: str) -> pa.Table:
    """All of a Parquet file.

    Raises
    ------
    DamagedError
        If the file is no sound Parquet file.
    """
    # Arrow's threads may hold a file of Python's when the interpreter ends, which ends in an abort: they get none.
    is_local = store.local is not None
    with damage_told(store, name), store.open_for_arrow(name) as source, open_reader(source) as file:
        groups = [file.read_row_group(group, use_threads=is_local) for group in range(file.num_row_groups)]
        return pa.concat_tables([file.schema_arrow.empty_table(), *groups])


@contextlib.contextmanager
def damage_told(store: Store, name: str) -> Iterator[None]:
    """What Arrow cannot read becomes a `DamagedError`; what the system or a store refuses stays what it is.

    Raises
    ------
    DamagedError
        If the block raises what Arrow raises for a file that is no sound one.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        raise DamagedError(f"{store}/{name} is damaged: {error}; run the same command again") from None
    except OSError as error:
        if error.errno is not None or type(error) is not OSError:  # the system's or the store's; Arrow's have no number
            raise
        raise DamagedError(f"{store}/{name} is damaged: {error}; run the same command again") from None


def write_csv(path: Path, table: pa.Table) -> None:
    """A table for people, who open it in a spreadsheet: text that would be a formula there gets an apostrophe."""
    pyarrow.csv.write_csv(_replace_in_text(table, _FORMULA, r"'\1"), path)


def read_csv(content: bytes) -> pa.Table:
    """What `write_csv` wrote, with its text as it was; types are inferred."""
    table = pyarrow.csv.read_csv(
        pa.BufferReader(content), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
    )
    return _replace_in_text(table, _ESCAPED, r"\1")


def _replace_in_text(table: pa.Table, pattern: str, replacement: str) -> pa.Table:
    import pyarrow.compute as pc

    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = pc.replace_substring_regex(table.column(index), pattern, replacement, max_replacements=1)
            table = table.set_column(index, field, column)
    return table


@lru_cache(maxsize=4)
def as_stored(schema: pa.Schema) -> pa.Schema:
    """A schema as it is read from a file."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink, version="2.6")
    return pq.read_schema(pa.BufferReader(sink.getvalue())).remove_metadata()
