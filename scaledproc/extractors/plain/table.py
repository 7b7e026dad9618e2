"""The built-in extractor `table`: one row for each column of CSV, JSON lines and Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow as pa

from scaledproc.extractors.base import Task, extractor
from scaledproc.extractors.options import Option
from scaledproc.extractors.plain.column import QUANTILES, Column
from scaledproc.extractors.plain.pieces import Form, read_pieces

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("missing", pa.int64(), nullable=False),
        ("distinct", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "std", "min", *QUANTILES, "max")),
        *((name, pa.string()) for name in ("min_text", "max_text", "first", "last", "top")),
        ("top_count", pa.int64()),
        ("length_min", pa.int64()),
        ("length_mean", pa.float64()),
        ("length_max", pa.int64()),
        ("note", pa.string()),
    ]
)
ANCHORS = ("*.csv", "*.csv.gz", "*.jsonl", "*.jsonl.gz", "*.ndjson", "*.ndjson.gz", "*.parquet")


@extractor(schema=SCHEMA, anchor=ANCHORS, unit="file", with_keys=False)
def table(
    task: Task,
    *,
    types: Annotated[tuple[str, ...], Option("Types of columns, as NAME:TYPE; the others are inferred.")] = (),
    separator: Annotated[str, Option("What stands between two values of CSV.")] = ",",
    missing: Annotated[
        tuple[str, ...], Option("Texts that stand for no value in CSV.", default_text="those of pyarrow")
    ] = (),
    memory: Annotated[int, Option("What the different values of a file may take.", unit="bytes")] = 2**28,
) -> Iterator[dict[str, Any]]:
    """Statistics of every column of tables: CSV, JSON lines and Parquet.

    Files are read in pieces, so that memory does not grow with their size but with the number of different values. All
    statistics are over all rows. A file that is no table is quarantined: rows of different lengths, text that is no
    UTF-8, nothing in it.

    Columns
    -------
    path
        The file, below the dataset's root.
    position
        Place of the column in the file, from 0 (names may repeat in CSV).
    column
        Name as written.
    type
        Arrow's type of all values. In CSV it is the first that all values have of `int64`, `decimal128(38, 0)` (whole
        numbers that `int64` has not), `bool`, `date32[day]`, `timestamp` in s, us, ns or with a zone, `double` and
        `string`; in JSON it is pyarrow's, where numbers that `int64` has not are `double`; `null` where there are no
        values. The option `types` declares others. Durations are counted as whole numbers of their unit, categories as
        what they stand for.
    count
        Values, those that are not missing. The next columns but `missing` are over these.
    missing
        Rows without a value: null, NaN, and in CSV the texts of the option `missing`, by default those of pyarrow, such
        as the empty text, `NA`, `NaN` and `null`.
    distinct
        Different values, exact; null where these would take more memory than the option `memory` allows.
    mean
        Of numbers, truth values counting as 0 and 1; null where undefined or not finite.
    std
        Standard deviation of numbers with ddof=1, truth values counting as 0 and 1; null where undefined or not finite.
    min
        Least number; null for a whole number that no float64 is equal to, as there are beyond 2**53.
    p05
        5 % of the numbers lie below, by linear interpolation; null as `distinct` is, and where it is, or lies between,
        whole numbers that no float64 is equal to.
    p25
        25 % of the numbers lie below, by linear interpolation; null as `p05` is.
    p50
        Median of numbers; null as `p05` is.
    p75
        75 % of the numbers lie below, by linear interpolation; null as `p05` is.
    p95
        95 % of the numbers lie below, by linear interpolation; null as `p05` is.
    max
        Greatest number, as `min`.
    min_text
        Least value of any type, in full as a text; texts are ordered by their code points, bytes are written in
        hexadecimal digits. Null where longer than 1,000 characters.
    max_text
        Greatest value of any type, as `min_text`.
    first
        First value of any type, as a text; null where longer than 1,000 characters.
    last
        Last value of any type, as a text; null where longer than 1,000 characters.
    top
        The most frequent value, the least of several; null as `distinct` is, and where longer than 1,000 characters.
    top_count
        How often the value of `top` is there.
    length_min
        Fewest characters of a text, or bytes of a binary value.
    length_mean
        Characters of texts, or bytes of binary values, on average.
    length_max
        Most characters of a text, or bytes of a binary value.
    note
        Why something is null that could be there.

    Raises
    ------
    ValueError
        If the file is no such table, or an option does not fit.
    """
    form = Form(dict(map(_type_of, types)), separator, missing)
    schema, pieces = read_pieces(task.path, form)
    if len(schema) == 1 and any(each in schema.names[0] for each in ",;\t|"):
        task.warn(f"it was read as one column, {schema.names[0][:100]!r}; is --set separator=… what it needs?")
    columns = [Column(kind, was_text=not task.anchor.endswith(ANCHORS[-1][1:])) for kind in schema.types]
    for piece in pieces:
        for column, array in zip(columns, piece, strict=True):
            column.add(array)
        while sum(each.nbytes for each in columns) > memory:
            max(columns, key=lambda each: each.nbytes).forget_counts()
    empty = dict.fromkeys(SCHEMA.names)
    for position, (name, column) in enumerate(zip(schema.names, columns, strict=True)):
        yield {**empty, **column.row(), "path": task.anchor, "position": position, "column": name}


def _type_of(declared: str) -> tuple[str, pa.DataType]:
    name, _, kind = declared.rpartition(":")
    try:
        return name, pa.type_for_alias(kind)
    except ValueError:
        raise ValueError(f"types={declared}: write NAME:TYPE with a type of Arrow, such as id:string") from None
