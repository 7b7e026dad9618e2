"""Arrow tables to and from Parquet, the same bytes however the rows arrive."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from scaledproc.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from scaledproc.storage import Store

ROW_GROUP = 65_536
"""Rows of a row group; fixed, so that the bytes do not depend on how the rows were cut before."""

# What a spreadsheet takes for a formula; one that begins with apostrophes as well, so that the escape can be undone.
_FORMULA = r"\A('*[=+\-@\t\r\n＝＋－＠])"  # noqa: RUF001 - spreadsheets take the wide ones too
_ESCAPED = r"\A'('*[=+\-@\t\r\n＝＋－＠])"  # noqa: RUF001


def rebatch(tables: Iterable[pa.Table], rows: int = ROW_GROUP) -> Iterator[pa.Table]:
    """The same rows in the same order, in contiguous tables of exactly `rows` rows; the last one may be shorter."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        start = 0
        while count + table.num_rows - start >= rows:
            held.append(table.slice(start, rows - count))
            start += rows - count
            yield pa.concat_tables(held).combine_chunks()
            held, count = [], 0
        if start < table.num_rows:
            held.append(table.slice(start))
            count += table.num_rows - start
    if held:
        yield pa.concat_tables(held).combine_chunks()


def check_schema(schema: pa.Schema) -> None:
    """See whether rows of a schema come back from Parquet as they were.

    Raises
    ------
    UsageError
        They would not, or there is no column.
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


def open_writer(path: Path | pa.BufferOutputStream, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer with this project's settings."""
    return pq.ParquetWriter(path, schema, compression="snappy", version="2.6", write_statistics=True)


def open_reader(source: IO[bytes] | Path) -> pq.ParquetFile:
    """A reader that holds one row group.

    What Arrow does by itself, all of a file's bytes in memory before the first row group is decoded, serves stores
    that answer slowly; ours reads ahead by itself.
    """
    return pq.ParquetFile(source, pre_buffer=False)


def write_table(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], metadata: Mapping[bytes, str] | None = None
) -> int:
    """Write rows as one Parquet file; the same bytes however `tables` cuts them.

    Parameters
    ----------
    path, schema, tables
        Where and what.
    metadata
        What the file says of itself in its footer.

    Returns
    -------
    int
        The number of rows.
    """
    with open_writer(path, schema) as writer:
        rows = write_rows(writer, tables)
        if metadata:
            writer.add_key_value_metadata(metadata)
    return rows


def write_rows(writer: pq.ParquetWriter, tables: Iterable[pa.Table]) -> int:
    """Write rows in row groups of a fixed size; their number."""
    rows = 0
    for table in rebatch(tables):
        writer.write_table(table, row_group_size=ROW_GROUP)
        rows += table.num_rows
    return rows


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tables(store: Store, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A Parquet file piece by piece, in bounded memory.

    Raises
    ------
    DamagedError
        Just that.
    """
    with _damage_told(f"{store}/{name}"), store.open(name) as source, open_reader(source) as file:
        yield from _tables_in(file, columns)


def tables_in(file: pq.ParquetFile, name: str) -> Iterator[pa.Table]:
    """What is left to read of an open file, as `read_tables` does; its name is for the error."""
    with _damage_told(name):
        yield from _tables_in(file)


def _tables_in(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.Table]:
    for batch in file.iter_batches(batch_size=ROW_GROUP, columns=columns, use_threads=False):
        yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise DamagedError(f"{name} is damaged: {error}; run the same command again") from None
    except OSError as error:
        if error.errno is not None or type(error) is not OSError:  # the system's or the store's; Arrow's have no number
            raise
        raise DamagedError(f"{name} is damaged: {error}; run the same command again") from None


def write_csv(path: Path, table: pa.Table) -> None:
    """A table for people, who open it in a spreadsheet: text that would be a formula there gets an apostrophe."""
    pyarrow.csv.write_csv(_replace_in_text(table, _FORMULA, r"'\1"), path)


def read_csv(file: IO[bytes]) -> pa.Table:
    """What `write_csv` wrote, with its text as it was; types are inferred."""
    table = pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    return _replace_in_text(table, _ESCAPED, r"\1")


def _replace_in_text(table: pa.Table, pattern: str, replacement: str) -> pa.Table:
    import pyarrow.compute as pc

    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = pc.replace_substring_regex(table.column(index), pattern, replacement, max_replacements=1)
            table = table.set_column(index, field, column)
    return table
