"""Tables of files in pieces of bounded size, each column with one type for the whole file."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 4 * 2**20
"""Bytes of text that are read at a time; a row of CSV cannot be longer."""
_BEGINNING = 2**16
"""Bytes of a file in which its first line is looked for: a block is parsed as a whole."""
_KEPT = 2**25
"""Bytes of texts that are kept from the first reading for the second one."""
LONGEST_LINE = 4 * BLOCK
"""Of JSON lines, in bytes."""
DEEPEST = 64
"""Levels of lists and objects within each other in JSON lines."""
MOST_COLUMNS = 100_000
_BATCH = 65_536  # rows of Parquet that are read at a time
_A_FEW = 16
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_STEPS, _NO_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff"), bytes(set(range(256)) - set(b"[{]}"))
_WHOLE = r"^[+-]?[0-9]{1,38}$"
INFERRED = (
    pa.int64(),
    pa.decimal128(38, 0),  # pyarrow's own inference would round whole numbers that int64 has not
    pa.bool_(),
    pa.date32(),
    pa.timestamp("s"),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.timestamp("us", "UTC"),
    pa.float64(),
)
"""Types that a column of text is taken for: the first that all of its values have, in the order of pyarrow.

Times of day are left as texts, as pyarrow casts no text to them.
"""

TablePiece = list[pa.Array]
"""Some consecutive rows: an array for each column."""


@dataclass(frozen=True)
class Form:
    """How a table is written, as far as it does not say so itself.

    Parameters
    ----------
    types
        Types of columns, by name; those of all others are inferred.
    separator
        Between the values of CSV.
    missing
        Texts that stand for no value in CSV; none for those of pyarrow.
    """

    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    separator: str = ","
    missing: tuple[str, ...] = ()


def read_pieces(path: Path, form: Form) -> tuple[pa.Schema, Iterator[TablePiece]]:
    """The columns of a table, and its rows in pieces.

    Parameters
    ----------
    path
        The file, whose end tells the format. Text is read twice, the first time for the types.
    form
        What else there is to know.

    Raises
    ------
    ValueError
        If the content is no such table, or a declared type does not fit.
    """
    plain = path.name.lower().removesuffix(".gz")
    if plain.endswith(".parquet"):
        schema, pieces = _read_parquet(path)
    elif plain.endswith((".jsonl", ".ndjson")):
        schema, pieces = _read_json(path)
    else:
        schema, pieces = _read_csv(path, form)
    unknown = [each for each in form.types if each not in schema.names]
    if unknown:
        raise ValueError(f"types: there is no column {unknown[0]!r}; there are: {', '.join(schema.names)[:500]}")
    return _declared(schema, pieces, form.types)


def _declared(
    schema: pa.Schema, pieces: Iterator[TablePiece], types: Mapping[str, pa.DataType]
) -> tuple[pa.Schema, Iterator[TablePiece]]:
    """The columns with the types that were declared, and all others with types that can be counted."""
    kinds = [types.get(each.name, _countable(each.type)) for each in schema]
    for each, kind in zip(schema, kinds, strict=True):
        # As floats they may have been rounded, which a text of them would hide.
        if each.name in types and pa.types.is_floating(each.type) and not pa.types.is_floating(kind):
            raise ValueError(f"column {each.name!r} has numbers as {each.type}: they are not read as {kind}")

    def cast() -> Iterator[TablePiece]:
        for piece in pieces:
            yield [_cast(*each) for each in zip(schema.names, piece, kinds, strict=True)]

    return pa.schema(list(zip(schema.names, kinds, strict=True))), cast()


def _cast(name: str, array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(array))
    try:
        return array if array.type == kind else array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name!r} is not read as {kind}: {error}") from None


def _countable(kind: pa.DataType) -> pa.DataType:
    """The type by which values of a type of Parquet are counted."""
    if isinstance(kind, pa.BaseExtensionType):
        return _countable(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _countable(kind.value_type)
    same = {"string_view": pa.string(), "binary_view": pa.binary(), "halffloat": pa.float32()}
    return same.get(str(kind), pa.int64() if pa.types.is_duration(kind) else kind)


# Parquet


def _read_parquet(path: Path) -> tuple[pa.Schema, Iterator[TablePiece]]:
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    _check_columns(schema)

    def pieces() -> Iterator[TablePiece]:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH, use_threads=False):
                yield batch.columns

    return schema, pieces()


def _check_columns(schema: pa.Schema) -> None:
    if not len(schema):
        raise ValueError("the table has no columns")
    if len(schema) > MOST_COLUMNS:
        raise ValueError(f"the table has {len(schema):,} columns; at most {MOST_COLUMNS:,} are read")


# JSON lines


def _read_json(path: Path) -> tuple[pa.Schema, Iterator[TablePiece]]:
    from pyarrow.json import ParseOptions

    schema = pa.schema([])
    for table in _json_tables(path, ParseOptions()):
        schema = _wider(schema, table.schema)
    _check_columns(schema)
    options = ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    return schema, ([table[name].combine_chunks() for name in schema.names] for table in _json_tables(path, options))


def _json_tables(path: Path, options: Any) -> Iterator[pa.Table]:
    from pyarrow.json import ReadOptions, read_json

    with gzip.GzipFile(path) if _is_gzip(path) else path.open("rb") as file:
        for lines in _lines(file):
            if options.explicit_schema is None:  # the first time
                lines.decode()  # raises where it is no UTF-8, which the reader does not look at
                _check_depth(lines)
            if not lines.isspace():
                yield read_json(io.BytesIO(lines), ReadOptions(False, len(lines) + 1), options)


def _check_depth(lines: bytes) -> None:
    """Refuse what would take the reader more stack than there is."""
    steps = _STRING.sub(b"", lines).translate(_STEPS, _NO_STEPS)
    if steps and np.cumsum(np.frombuffer(steps, np.int8), dtype=np.int32).max() > DEEPEST:
        raise ValueError(f"values are within each other in more than {DEEPEST} levels")


def _lines(file: io.BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    """Whole lines, about as much at a time as a block has."""
    rest = b""
    while block := file.read(BLOCK):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > LONGEST_LINE:
            raise ValueError(f"a line is longer than {LONGEST_LINE:,} bytes")
    if rest:
        yield rest


def _wider(first: pa.Schema, second: pa.Schema) -> pa.Schema:
    """The columns of two pieces of a table, with types that have the values of both."""
    both = dict(zip(first.names, first.types, strict=True))
    for each in second:
        had = both.get(each.name, each.type)
        # Texts that happen to be times are read as times, unless others of the same piece are not.
        if {pa.types.is_timestamp(kind) or pa.types.is_string(kind) for kind in (had, each.type)} == {True}:
            both[each.name] = had if had == each.type else pa.string()
            continue
        try:
            parts = [pa.schema([(each.name, kind)]) for kind in (had, each.type)]
            both[each.name] = pa.unify_schemas(parts, promote_options="permissive").field(0).type
        except pa.ArrowTypeError:
            raise ValueError(f"column {each.name!r} has values of {had} and of {each.type}") from None
    return pa.schema(list(both.items()))


# CSV


def _read_csv(path: Path, form: Form) -> tuple[pa.Schema, Iterator[TablePiece]]:
    names = _names_of_csv(path, form)
    kept: list[TablePiece] = []

    def texts() -> Iterator[TablePiece]:
        with _explained(), _open_csv(path, form, names) as reader:
            for batch in reader:
                yield batch.columns

    def first_texts() -> Iterator[TablePiece]:
        size = 0
        for piece in texts():
            size += sum([array.nbytes for array in piece])
            if size <= _KEPT:
                kept.append(piece)
            yield piece
        if size > _KEPT:
            kept.clear()

    declared = [form.types.get(name) for name in names]
    kinds = _inferred(declared, first_texts())

    def pieces() -> Iterator[TablePiece]:
        for piece in kept or texts():
            yield [_read(*each) for each in zip(names, piece, kinds, strict=True)]

    return pa.schema(list(zip(names, kinds, strict=True))), pieces()


def _names_of_csv(path: Path, form: Form) -> list[str]:
    """The names in the first line; of the whole first block only where its beginning has no row besides."""
    with pa.input_stream(str(path), compression="gzip" if _is_gzip(path) else None) as stream:
        beginning = stream.read(_BEGINNING)
    beginning = beginning[: beginning.rfind(b"\n") + 1]
    with suppress(pa.ArrowInvalid), _csv_reader(pa.BufferReader(beginning), form, []) as reader:
        if any(len(batch) for batch in reader):  # else the first line may go on
            _check_columns(reader.schema)
            return list(reader.schema.names)
    with _explained(), _open_csv(path, form, []) as reader:
        _check_columns(reader.schema)
        return list(reader.schema.names)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        if "Expected 1 columns" in str(error):  # where another separator was taken for a part of the name
            raise ValueError(f"{error}; say with --set separator=… what stands between two values") from None
        if "straddling" not in str(error):
            raise
        raise ValueError(f"a row is longer than {BLOCK:,} bytes, or a quote in it is not closed") from None


def _open_csv(path: Path, form: Form, names: Iterable[str]) -> Any:
    # Arrow's own stream: threads read ahead, and would call Python even when it has ended.
    return _csv_reader(pa.input_stream(str(path), compression="gzip" if _is_gzip(path) else None), form, names)


def _csv_reader(stream: Any, form: Form, names: Iterable[str]) -> Any:
    from pyarrow import csv

    options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
    if form.missing:
        options.null_values = list(form.missing)
    return csv.open_csv(
        stream,
        csv.ReadOptions(use_threads=False, block_size=BLOCK),
        csv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
        options,
    )


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _inferred(declared: list[pa.DataType | None], pieces: Iterator[TablePiece]) -> list[pa.DataType]:
    """The types of columns of text: the declared ones, else the first that all values have."""
    left = [list(INFERRED) if kind is None else [] for kind in declared]
    is_empty = [True] * len(declared)
    for piece in pieces:
        for index, array in enumerate(piece):
            if array.null_count < len(array):
                is_empty[index] = False
                left[index] = _still(pc.ascii_trim_whitespace(array.drop_null()), left[index])
    return [
        known or (pa.null() if empty else (kinds or [pa.string()])[0])
        for known, empty, kinds in zip(declared, is_empty, left, strict=True)
    ]


def _still(texts: pa.Array, kinds: list[pa.DataType]) -> list[pa.DataType]:
    """Those types that all texts are values of."""
    found: list[pa.DataType] = []
    for kind in kinds:
        # What int64 has the other two have. A few texts go first: a cast makes a message for each one that fails.
        is_implied = pa.int64() in found and (pa.types.is_decimal(kind) or kind == pa.float64())
        if is_implied or all(_has(each, kind) for each in (texts[:_A_FEW], texts)):
            found.append(kind)
    return found


def _has(texts: pa.Array, kind: pa.DataType) -> bool:
    """Whether all texts are values of a type."""
    if pa.types.is_decimal(kind):  # which would take 1e5 and 1.0 too
        return bool(pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py())
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _read(name: str, array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if pa.types.is_string(kind) else _cast(name, pc.ascii_trim_whitespace(array), kind)
