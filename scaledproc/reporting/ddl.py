"""Statements that make a run's tables known to Amazon Athena and the AWS Glue Data Catalog: `scaledproc show --ddl`.

Types are Apache Hive's, which Athena takes in DDL. A column that Athena would not read exactly as it was written is
left out, and a comment of the statement says so: columns are found by their names, so the others are read as ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from scaledproc.errors import UsageError

MOST_DIGITS = 38
"""Of a decimal in Athena."""
_NAME = re.compile(r"[A-Za-z0-9_]+")
_TABLE = re.compile(r"[a-z0-9_]+")
_COMMENT = 255
"""Characters of a column's comment that the Glue Data Catalog takes."""
_MORE = " ..."
_PLAIN: Mapping[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",  # Parquet keeps both as signed numbers of 32 bits
    pa.uint16(): "int",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.date64(): "date",
}
_UNSIGNED = "Athena has no unsigned type, and reads large numbers of it as negative ones"


class NoTypeError(ValueError):
    """Athena has no type that a column would be read as exactly."""


def create_tables(tables: Mapping[str, pa.Schema], folder: str) -> str:
    """Statements, one for each table.

    Parameters
    ----------
    tables
        The columns of each, by the tables' names.
    folder
        The URL in S3 of the run's folder, in which each table is a folder.

    Raises
    ------
    UsageError
        If the folder is not in S3, or a table has no column that Athena can read, or two that it cannot tell apart.
    """
    scheme, slashes, place = folder.rstrip("/").partition("://")
    if scheme not in ("s3", "s3a", "s3n") or not slashes or not place:
        raise UsageError(f"Athena reads what is in S3, and {folder} is not: give --location s3://BUCKET/PREFIX")
    called = table_names(tables)
    made = (_create_table(name, called[name], tables[name], f"s3://{place}/{name}/") for name in tables)
    return "\n\n".join(made) + "\n"


def table_names(names: Iterable[str]) -> dict[str, str]:
    """What Athena is to call each of some tables: small letters, digits and _, and no two the same.

    https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html
    """
    given = list(names)
    found = {name: name for name in given if _TABLE.fullmatch(name)}  # these keep theirs
    taken = set(found)
    for name in given:
        if name in found:
            continue
        made = plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
        number = 2
        while made in taken:
            made, number = f"{plain}_{number}", number + 1
        taken.add(made)
        found[name] = made
    return found


def _create_table(name: str, called: str, schema: pa.Schema, location: str) -> str:
    columns, left_out = [], []
    names = [field.name.lower() for field in schema]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise UsageError(
            f"table {name!r} has several columns {twice!r} but for capitals, which Athena cannot tell apart"
        )
    for field in schema:
        try:
            _check_name(field.name)
            kind, note = _type(field.type)
        except NoTypeError as error:
            left_out.append(f"-- {_line(repr(field.name))} is left out: {error}")
            continue
        comment = _comment(field, note)
        columns.append(f"  {quoted(field.name)} {kind}" + (f" COMMENT {literal(comment)}" if comment else ""))
    if not columns:
        raise UsageError(f"table {name!r} has no column that Athena can read: {'; '.join(left_out)}")
    body = ",\n".join(columns)
    if called != name:
        left_out.insert(
            0, f"-- {_line(repr(name))} is called {called}: tables in Athena have small letters, digits and _"
        )
    head = "".join(f"{line}\n" for line in left_out)
    return (
        f"{head}CREATE EXTERNAL TABLE {quoted(called)} (\n{body}\n)\nSTORED AS PARQUET\nLOCATION {literal(location)};"
    )


def _comment(field: pa.Field, note: str) -> str:
    """What is said of a column, as far as the catalog takes it: unit and note first of all, of the rest whole words."""
    told = {
        key.decode(errors="replace"): value.decode(errors="replace") for key, value in (field.metadata or {}).items()
    }
    units = [f"unit: {told[key]}" for key in ("unit", "units") if told.get(key)]
    end = _in_words("; ".join(filter(None, [*units, note])), _COMMENT)
    text = _in_words(told.get("description", ""), _COMMENT - len(end) - 2 if end else _COMMENT)
    return "; ".join(filter(None, [text, end]))


def _in_words(text: str, most: int) -> str:
    """A text in one line of so many characters at most, cut between words."""
    line = _line(text)
    if len(line) <= most:
        return line
    room = max(most - len(_MORE), 0)
    words = line[: room + 1].rpartition(" ")[0].rstrip(",;:.(")
    return f"{words or line[:room]}{_MORE}"[:most]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise NoTypeError("names in Athena have letters, digits and _ alone")


def _type(kind: pa.DataType) -> tuple[str, str]:
    """Hive's name of a type, and what there is to be said of it.

    Raises
    ------
    NoTypeError
        If Athena would not read it exactly, or that is not known.
    """
    types = pa.types
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain, ""
    if types.is_unsigned_integer(kind):
        raise NoTypeError(f"it is {kind}: {_UNSIGNED}")
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string", ""
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "binary", ""
    if types.is_dictionary(kind):
        return _type(kind.value_type)
    if types.is_decimal(kind):
        if kind.precision > MOST_DIGITS or not 0 <= kind.scale <= kind.precision:
            raise NoTypeError(f"it is {kind}: a decimal has {MOST_DIGITS} digits at most, and none before its point")
        return f"decimal({kind.precision},{kind.scale})", ""
    if types.is_timestamp(kind):
        return _timestamp(kind)
    if types.is_duration(kind):
        return "bigint", f"a duration, in {kind.unit}"
    return _nested(kind)


def _timestamp(kind: pa.TimestampType) -> tuple[str, str]:
    if kind.unit == "ns":
        raise NoTypeError(f"it is {kind}: Athena's timestamps have milliseconds, and nanoseconds it need not read")
    notes = ["Athena reads milliseconds of it"] if kind.unit == "us" else []
    return "timestamp", "; ".join([*notes, *(["UTC"] if kind.tz else [])])


def _nested(kind: pa.DataType) -> tuple[str, str]:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner, note = _type(kind.value_type)
        return f"array<{inner}>", note
    if types.is_map(kind):
        (key, key_note), (item, note) = _type(kind.key_type), _type(kind.item_type)
        return f"map<{key},{item}>", "; ".join(filter(None, [key_note, note]))
    if types.is_struct(kind) and kind.num_fields:
        parts, notes = [], []
        for at in range(kind.num_fields):
            field = kind.field(at)
            _check_name(field.name)
            inner, note = _type(field.type)
            parts.append(f"{field.name}:{inner}")
            notes += [f"{field.name}: {note}"] if note else []
        return f"struct<{','.join(parts)}>", "; ".join(notes)
    raise NoTypeError(f"Athena has no type for {_line(str(kind))}")


def quoted(name: str) -> str:
    """A name in a statement."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text in a statement, in one line."""
    return "'" + _line(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _line(text: str) -> str:
    """Text without what would end a line."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
