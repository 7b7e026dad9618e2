"""What an extractor returned, as Arrow rows of its declared schema; never a silent cast."""

from __future__ import annotations

import datetime as dt
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from scaledproc.errors import UsageError

PIECE = 8192  # rows that are held as Python objects before they become Arrow
HELD = 16 * 2**20  # bytes that are held as Arrow before they are written: each time it makes a row group
_EXACT_IN_FLOAT = {pa.float64(): 2**53, pa.float32(): 2**24, pa.float16(): 2**11}
_LARGEST_FLOAT32 = 3.4028235677973366e38


class SchemaError(Exception):
    """A row does not fit the extractor's declared schema."""


class RowCollector:
    """Gathers the rows of one task after the other.

    Parameters
    ----------
    schema
        What every row must fit.

    Raises
    ------
    UsageError
        The schema has a type that cannot be written the same way whatever the cuts are.
    """

    def __init__(self, schema: pa.Schema) -> None:
        for field in schema:
            if pa.types.is_dictionary(field.type):
                raise UsageError(
                    f"column {field.name!r} is declared as a dictionary; declare its value type "
                    f"{field.type.value_type} (Parquet dictionary-encodes by itself)"
                )
        if len(set(schema.names)) != len(schema.names):
            raise UsageError("the extractor's schema names a column twice")
        self.schema = schema
        self.rows = 0
        self._fields: list[tuple[str, bool, Any, Check]] = [
            (field.name, field.nullable, _PLAIN.get(field.type), _check_for(field.type)) for field in schema
        ]
        self._plain_of_pandas = [_PLAIN_OF_PANDAS.get(field.type) for field in schema]
        self._pending: list[Mapping[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._held_rows = self._held_bytes = 0

    def add(self, returned: Any) -> None:
        """Take all that a task returned, or nothing of it.

        Raises
        ------
        SchemaError
            It does not fit the schema.
        """
        if isinstance(returned, pa.RecordBatch):
            returned = pa.Table.from_batches([returned])
        elif type(returned).__name__ == "DataFrame" and "pandas" in sys.modules:
            rows_of_frame = self._rows_of(returned)
            returned = self._from_pandas(returned) if rows_of_frame is None else rows_of_frame
        if isinstance(returned, pa.Table):
            table = self._checked_table(returned)
            self._flush_pending()
            self._hold(table)
            self.rows += table.num_rows
            return
        if isinstance(returned, Mapping):
            returned = (returned,)
        if returned is None or isinstance(returned, (str, bytes)) or not isinstance(returned, Iterable):
            what = "nothing" if returned is None else f"a {type(returned).__name__}"
            raise SchemaError(f"the extractor returned {what}; rows are mappings (return [] where there are none)")
        rows: list[Mapping[str, Any]] = []
        tables: list[pa.Table] = []
        for row in returned:
            self._check_row(row)
            rows.append(row)
            if len(rows) == PIECE:
                tables.append(self._to_table(rows))
                rows = []
        if tables:
            self._flush_pending()
            for table in tables:
                self._hold(table)
            self.rows += sum(table.num_rows for table in tables)
        self._pending += rows
        self.rows += len(rows)
        if len(self._pending) >= PIECE:
            self._flush_pending()

    def take(self) -> pa.Table:
        """The rows gathered since the last call."""
        self._flush_pending()
        tables, self._tables = self._tables, []
        self._held_rows = self._held_bytes = 0
        return pa.concat_tables([self.schema.empty_table(), *tables])

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the rows, to keep memory flat."""
        return self._held_rows >= PIECE or self._held_bytes >= HELD

    def _hold(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._held_rows += table.num_rows
        self._held_bytes += table.nbytes

    def _flush_pending(self) -> None:
        if self._pending:
            self._hold(self._to_table(self._pending))
            self._pending = []

    def _to_table(self, rows: list[Mapping[str, Any]]) -> pa.Table:
        try:
            return pa.Table.from_pylist(rows, schema=self.schema)
        except MemoryError:  # Arrow's is an ArrowException too
            raise
        except (pa.ArrowException, OverflowError, UnicodeError) as error:  # no check above lets this happen
            raise SchemaError(str(error)) from error

    def _check_row(self, row: Any) -> None:
        if not isinstance(row, Mapping):
            raise SchemaError(f"a row is a {type(row).__name__}, not a mapping of column names to values")
        for name, nullable, plain, check in self._fields:
            try:
                value = row[name]
            except KeyError:
                raise SchemaError(f"a row lacks the column {name!r} (give None for a null)") from None
            if type(value) is plain and (plain is not str or value.isascii()):
                continue
            if value is None:
                if not nullable:
                    raise SchemaError(f"column {name!r} may not be null")
            elif problem := check(value):
                raise SchemaError(f"column {name!r}: {problem}")
        if len(row) != len(self._fields):
            extra = [str(name) for name in row if name not in self.schema.names]
            raise SchemaError(f"a row has columns that the schema does not: {', '.join(extra)}")

    def _checked_table(self, table: pa.Table) -> pa.Table:
        if sorted(table.schema.names) != sorted(self.schema.names):
            raise SchemaError(f"columns are {table.schema.names}, declared are {self.schema.names}")
        table = table.select(self.schema.names)
        for field, column in zip(self.schema, table.columns, strict=True):
            if column.type != field.type:
                raise SchemaError(f"column {field.name!r} is {column.type}, declared is {field.type}")
            if column.null_count and not field.nullable:
                raise SchemaError(f"column {field.name!r} may not be null")
        try:
            table.validate(full=True)
        except pa.ArrowInvalid as error:
            raise SchemaError(f"the table is damaged: {error}") from None
        return pa.Table.from_arrays(table.columns, schema=self.schema)

    def _rows_of(self, frame: Any) -> list[dict[str, Any]] | None:
        """A small DataFrame of plain values as rows: Arrow takes longer to make a table of it than many tasks take.

        None for any other, also where its columns are not those that are declared.
        """
        names = self.schema.names
        if len(frame) > _SMALL or frame.columns.tolist() != names:
            return None
        rows = frame.to_numpy(dtype=object).tolist()  # asking for the columns' types would take as long again
        gaps = set()
        for values in rows:
            for column, (value, plain) in enumerate(zip(values, self._plain_of_pandas, strict=True)):
                if type(value) is float and value != value:
                    gaps.add(column)
                elif type(value) is not plain:
                    return None
        if gaps and not self._are_nulls(gaps, frame.dtypes.tolist()):
            return None
        return [
            dict(zip(names, [None if value != value else value for value in values], strict=True)) for values in rows
        ]

    def _are_nulls(self, gaps: Iterable[int], kinds: Sequence[Any]) -> bool:
        """Whether NaN in these columns stands for null, whatever else is in them: in some of pandas' own it is NaN."""
        return all(
            str(kinds[column]) in ("str", "object")
            or (str(kinds[column]) == "float64" and self._plain_of_pandas[column] is float)
            for column in gaps
        )

    def _from_pandas(self, frame: Any) -> pa.Table:
        """Arrow for a DataFrame, whose types are pandas' own: NaN for null, int64 for any integer."""
        try:
            inferred = _columns(frame)
            if inferred is None:
                inferred = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
            for index, field in enumerate(inferred.schema):
                declared = self.schema.field(field.name) if field.name in self.schema.names else None
                if declared is None or field.type == declared.type:
                    continue
                column = inferred.column(index)
                if column.null_count == len(column):  # of which type nothing is, is a guess
                    inferred = inferred.set_column(index, declared, pa.nulls(len(column), declared.type))
                elif _same_kind(field.type, declared.type):
                    inferred = inferred.set_column(index, declared, column.cast(declared.type, safe=True))
        except MemoryError:
            raise
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SchemaError(str(error)) from None
        return inferred


def _columns(frame: Any) -> pa.Table | None:
    """What `Table.from_pandas` makes, without what it notes about the frame: that takes longer than small frames do.

    None where the columns have other names than texts of their own, and where one cannot be converted: Arrow's own way
    tells why.
    """
    columns = dict(frame.items())
    if len(columns) != frame.shape[1] or any(type(name) is not str for name in columns):
        return None
    try:
        return pa.table({name: pa.array(_values(column), from_pandas=True) for name, column in columns.items()})
    except (pa.ArrowException, TypeError, ValueError):
        return None


def _values(column: Any) -> Any:
    """A column as Arrow takes it fastest: numpy's types as arrays, pandas' own as they are."""
    return column.to_numpy() if type(column.dtype).__module__.startswith("numpy") else column


Check = Callable[[Any], str | None]


def _check_for(kind: pa.DataType) -> Check:
    """A function that says what is wrong with a value of a column of this type, or None."""
    if pa.types.is_boolean(kind):
        return lambda value: None if type(value) in _BOOLEANS or _is_numpy_bool(value) else _wrong(value, kind)
    if pa.types.is_integer(kind):
        return _integer_check(kind)
    if pa.types.is_floating(kind):
        return _float_check(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return lambda value: _text_problem(value) if isinstance(value, str) else _wrong(value, kind)
    if pa.types.is_date32(kind):
        return lambda value: None if type(value) is dt.date else _wrong(value, kind)
    if kind == pa.time64("us"):
        return lambda value: None if type(value) is dt.time and not value.tzinfo else _wrong(value, kind)
    return lambda value: _round_trip_problem(value, kind)


_PLAIN: dict[pa.DataType, type] = {
    pa.float64(): float,
    pa.bool_(): bool,
    pa.date32(): dt.date,
    **dict.fromkeys((pa.string(), pa.large_string()), str),
}
"""Of which Python type every value fits, of texts every one in ASCII: most values of most rows, so worth knowing."""
_INTEGERS = (pa.int64(), pa.int32(), pa.int16(), pa.int8(), pa.uint64(), pa.uint32(), pa.uint16(), pa.uint8())
_PLAIN_OF_PANDAS: dict[pa.DataType, type] = {**_PLAIN, **dict.fromkeys(_INTEGERS, int)}
"""As which Python type values come out of a DataFrame, where the checks of rows say all that is to be said of them."""
_SMALL = 50  # rows of a DataFrame, up to which it is taken as rows
_BOOLEANS = (bool,)


def _is_numpy_bool(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")


def _integer_check(kind: pa.DataType) -> Check:
    signed = pa.types.is_signed_integer(kind)
    low = -(2 ** (kind.bit_width - 1)) if signed else 0
    high = 2 ** (kind.bit_width - signed) - 1

    def check(value: Any) -> str | None:
        if type(value) is not int and not _is_integer(value):
            return _wrong(value, kind)
        return None if low <= value <= high else f"{value} is out of range for {kind}"

    return check


def _float_check(kind: pa.DataType) -> Check:
    exact = _EXACT_IN_FLOAT[kind]
    limit = {pa.float32(): _LARGEST_FLOAT32, pa.float16(): 65504.0}.get(kind)

    def check(value: Any) -> str | None:
        if type(value) is not float:
            if _is_integer(value):
                return None if -exact <= value <= exact else f"{value} is not exact in {kind}"
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                return _wrong(value, kind)
        if limit is not None and limit < abs(float(value)) < float("inf"):
            return f"{value} is out of range for {kind}"
        return None

    return check


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _text_problem(value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{value!r} is not valid Unicode text"
    return None


def _round_trip_problem(value: Any, kind: pa.DataType) -> str | None:
    """For all other types: what Arrow would store must equal what was given."""
    try:
        stored = pa.scalar(value, type=kind).as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as error:
        return f"{_wrong(value, kind)} ({error})"
    if hasattr(value, "tolist"):  # a numpy array or scalar
        value = value.tolist()
    return None if _equal(stored, value) else f"{_wrong(value, kind)}: it would become {stored!r}"


def _equal(stored: Any, given: Any) -> bool:
    if isinstance(stored, list) and isinstance(given, (list, tuple)):
        return len(stored) == len(given) and all(map(_equal, stored, given))
    if isinstance(stored, dict) and isinstance(given, Mapping):
        return stored.keys() == given.keys() and all(_equal(stored[key], given[key]) for key in stored)
    if isinstance(stored, float) and isinstance(given, float):
        return stored == given or given != given or abs(stored - given) <= 1e-6 * abs(given)  # NaN; float32's rounding
    return (type(stored) is type(given) and bool(stored == given)) or (
        not isinstance(given, bool) and not isinstance(stored, bool) and bool(stored == given)
    )


def _wrong(value: Any, kind: pa.DataType) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '…'} ({type(value).__name__}) is no {kind}"


def _same_kind(given: pa.DataType, declared: pa.DataType) -> bool:
    """Whether pandas can only have meant the declared type by what it gave; the cast itself is checked for loss."""
    kinds = pa.types
    if kinds.is_null(given):
        return True
    if kinds.is_dictionary(given):
        return bool(given.value_type == declared) or _same_kind(given.value_type, declared)
    if kinds.is_integer(declared):  # integers with nulls are floats in pandas
        return bool(kinds.is_integer(given) or kinds.is_floating(given))
    if kinds.is_floating(declared):  # to a wider one nothing is lost
        return bool(kinds.is_floating(given) and given.bit_width <= declared.bit_width)
    pairs = (
        (kinds.is_string, kinds.is_large_string),
        (kinds.is_timestamp, kinds.is_timestamp),
        (kinds.is_binary, kinds.is_large_binary),
    )
    return any((a(given) or b(given)) and (a(declared) or b(declared)) for a, b in pairs)
