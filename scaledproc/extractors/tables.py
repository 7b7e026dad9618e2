"""Further tables that an extractor fills in the same pass: how they are declared, and how rows are given to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaledproc.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.extractors.base import Extractor

TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
RESERVED = frozenset(
    {"features", "errors", "tasks", "plan", "inventory", "warnings", "logs", "shards", "work", "update"}
)
"""Names of a run's own files and folders, which no further table may have."""
MOST = 100
"""Further tables of one extractor: each is a pass over the shards at the end of a run."""


@dataclass(frozen=True)
class TableRows:
    """Rows of a further table, as an extractor returns or yields them.

    Parameters
    ----------
    table
        Its name.
    given
        A row, a table, or an iterable of these.
    """

    table: str
    given: Any


def rows(table: str, given: Any) -> TableRows:
    """Rows of a further table that the extractor declares, to be returned or yielded beside those of the main one.

    Parameters
    ----------
    table
        The table's name, as `tables` has it.
    given
        What the main table's rows may be too: a mapping (one row), a table of Arrow, pandas or polars, or an iterable
        of these.

    Examples
    --------
    >>> import scaledproc
    >>> @scaledproc.extractor(
    ...     schema={"path": "string", "words": "int64"}, tables={"words": {"word": "string"}}, anchor="*.txt"
    ... )
    ... def split(task):
    ...     words = task.path.read_text().split()
    ...     yield {"path": task.anchor, "words": len(words)}
    ...     yield scaledproc.rows("words", ({"word": word} for word in words))
    >>> sorted(split.tables)
    ['words']
    """
    return TableRows(table, given)


def tables_of(extractor: Extractor) -> dict[str, pa.Schema]:
    """The further tables of an extractor with their schemas, in the order of their names.

    Raises
    ------
    UsageError
        If a table cannot have its name, or its schema cannot be read.
    """
    declared = extractor.tables
    if not declared:
        return {}
    return checked_tables(declared)


def checked_tables(declared: Any) -> dict[str, pa.Schema]:
    """Tables as they were declared, in the order of their names.

    Raises
    ------
    UsageError
        If a table cannot have its name, or its schema cannot be read.
    """
    from scaledproc.extractors.schemas import as_schema

    if not isinstance(declared, Mapping):
        raise UsageError(f"the extractor's tables are a {type(declared).__name__}: give a mapping of names to schemas")
    if len(declared) > MOST:
        raise UsageError(f"the extractor declares {len(declared):,} further tables; there may be {MOST}")
    seen: dict[str, str] = {}
    for name in declared:
        if not isinstance(name, str) or not TABLE_NAME.fullmatch(name):
            raise UsageError(
                f"the extractor calls a table {name!r}; begin with a letter, and use letters, digits, - and _, at most "
                "64"
            )
        folded = name.lower()  # a file system may not tell capitals from others
        if folded in RESERVED:
            raise UsageError(f"the extractor calls a table {name!r}, as a run calls a file of its own; rename it")
        if folded in seen:
            raise UsageError(
                f"the extractor's tables {seen[folded]!r} and {name!r} differ in capitals alone; rename one"
            )
        seen[folded] = name
    return {
        name: as_schema(declared[name], f"the schema of the extractor's table {name!r}") for name in sorted(declared)
    }
