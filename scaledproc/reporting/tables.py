"""Arrow tables as text for a person: a few rows, as wide as the terminal; turned on its side where it is wider."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaledproc.reporting.text import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

SHOWN_ROWS = 20
CELL = 60  # characters of a value
_GAP = 2  # columns of the terminal between two values


def table_text(table: pa.Table, width: int, rows: int = SHOWN_ROWS) -> str:
    """Some rows of a table.

    Parameters
    ----------
    table
        All rows.
    width
        Columns of the terminal.
    rows
        How many rows, at most.
    """
    names = [shown(name, CELL) for name in table.column_names]
    head = table.slice(0, rows)
    lines = list(zip(*([_cell(value) for value in column] for column in head.columns), strict=True))
    numeric = [_is_number(field.type) for field in table.schema]
    widths = [max(map(len, cells)) for cells in zip(names, *lines, strict=True)]
    if sum(widths) + _GAP * (len(widths) - 1) <= width:
        return _rendered(_table(names, numeric, lines), width, table.num_rows - len(lines))
    kinds = [str(field.type) for field in table.schema]
    fixed = [max(len(text) for text in ("column", *names)), max(len(text) for text in ("type", *kinds))]
    left = width - sum(fixed) - _GAP
    count = 0
    for number, line in enumerate(lines):
        left -= _GAP + max(len(f"row {number + 1}"), *map(len, line))
        if left < 0 and number:
            break
        count += 1
    turned = [tuple(row) for row in zip(names, kinds, *lines[:count], strict=True)]
    heads = ["column", "type", *(f"row {number + 1}" for number in range(count))]
    return _rendered(_table(heads, [False] * len(heads), turned), width, table.num_rows - count)


def row_text(values: Mapping[str, Any], schema: pa.Schema, wrong: Mapping[str, str], width: int) -> str:
    """A row that does not fit, beside what is declared.

    Parameters
    ----------
    values
        What was given.
    schema
        What is declared.
    wrong
        What is wrong with some of the values, by their columns.
    width
        Columns of the terminal.
    """
    lines = []
    for field in schema:
        kind = f"{field.type}{'' if field.nullable else ', never null'}"
        given, note = ("", "is lacking") if field.name not in values else (_given(values[field.name]), "")
        lines.append((shown(field.name, CELL), kind, given, shown(wrong.get(field.name, note))))
    known = set(schema.names)
    lines += [
        (shown(name, CELL), "", _given(value), "is not in the schema")
        for name, value in values.items()
        if name not in known
    ]
    heads = ("column", "declared", "given", "wrong")
    room = width - sum(max(map(len, cells)) + _GAP for cells in list(zip(heads, *lines, strict=True))[:3])
    cut = [(*line[:3], shown(line[3], max(room, len(heads[3])))) for line in lines]
    return _rendered(_table(heads, [False] * len(heads), cut), width, 0)


def _table(heads: Sequence[str], numeric: Sequence[bool], lines: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False)
    for head, is_number in zip(heads, numeric, strict=True):
        made.add_column(
            Text(head), justify="right" if is_number else "left", no_wrap=True, overflow="ellipsis", header_style=""
        )
    for line in lines:
        made.add_row(*map(Text, line))
    return made


def _rendered(table: Table, width: int, left_out: int) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=max(width, 20) + _GAP, color_system=None, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, *([f"… and {left_out:,} more"] if left_out else [])])


def _cell(value: pa.Scalar) -> str:
    try:
        found = value.as_py()
    except (ValueError, OverflowError):  # a time that Python has no object for
        found = str(value)
    return "null" if found is None else shown(str(found), CELL)


def _given(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # an object of the extractor's own
        text = f"(its text cannot be had: {type(error).__name__})"
    kind = type(value).__name__
    return shown(text if kind in ("str", "int", "float", "bool", "NoneType") else f"{kind}: {text}", CELL)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
