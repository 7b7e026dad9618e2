"""What an extractor makes of rows at the end: `finish`, and its summaries, of all rows at once or of parts of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.execution.tables.keys import keyed_schema
from scaledproc.extractors.base import Extractor, FunctionExtractor
from scaledproc.extractors.code.fingerprint import WITH_KEYS
from scaledproc.extractors.described import described
from scaledproc.extractors.rows.several import MAIN
from scaledproc.extractors.tables import tables_of
from scaledproc.storage.parquet import METADATA, check_schema

if TYPE_CHECKING:
    from scaledproc.run_folder.record import RunRecord
    from scaledproc.storage.store import Store

T = TypeVar("T")

_ALONE = 64
"""Rows at the end of a piece that are finished again without the others."""


def finished_schema(extractor: Extractor, *, with_keys: bool = False) -> pa.Schema:
    """The columns of `features.parquet`; those of further tables are looked at too.

    Parameters
    ----------
    extractor
        What the rows are of.
    with_keys
        Whether the columns that lead back to a row's task come before its own.

    Raises
    ------
    ScaledprocError
        If the extractor's `finish` fails, or columns cannot be written.
    """
    for name, further in tables_of(extractor).items():
        try:
            check_schema(further)
        except UsageError as error:
            raise UsageError(f"table {name!r}: {error}") from None
        if with_keys:
            keyed_schema(further, called(name), extractor.own_keys)
    check_schema(extractor.schema)
    schema = finish_table(extractor, extractor.schema.empty_table()).schema
    check_schema(schema)
    return keyed_schema(schema, called(MAIN), extractor.own_keys) if with_keys else schema


def table_schema(extractor: Extractor, record: RunRecord, name: str, schema: pa.Schema) -> pa.Schema:
    """The columns of one of a run's tables as its file has them, with what the file says of itself.

    Parameters
    ----------
    extractor, record, name
        The run's, and the table.
    schema
        The table's own columns, once finished.
    """
    schema = described(extractor, schema, extractor.schema if name == MAIN else schema)
    if has_keys(record):
        schema = keyed_schema(schema, called(name), extractor.own_keys)
    told = {
        "extractor": record.extractor.get("label", extractor.label),
        **({} if isinstance(extractor, FunctionExtractor) else {"extractor_version": extractor.version}),
        "plan_id": record.plan_id,
        "scaledproc": record.versions.get("scaledproc", ""),
        "table": name,
    }
    return schema.with_metadata({**(schema.metadata or {}), METADATA: json.dumps(told, sort_keys=True).encode()})


def has_keys(record: RunRecord) -> bool:
    """Whether the rows of a run's tables lead back to their tasks by columns of their own."""
    fingerprint = record.extractor["fingerprint"]
    return isinstance(fingerprint, Mapping) and WITH_KEYS in fingerprint


def called(table: str) -> str:
    """What a person calls one of an extractor's tables."""
    return "the extractor's table" if table == MAIN else f"the extractor's table {table!r}"


def finish_table(extractor: Extractor, table: pa.Table) -> pa.Table:
    """What the extractor makes of a shard's rows.

    Raises
    ------
    ScaledprocError
        If the extractor's `finish` fails.
    """
    try:
        return extractor.finish(table).combine_chunks()
    except ScaledprocError:
        raise
    except Exception as error:
        raise ScaledprocError(f"the extractor's finish() failed: {type(error).__name__}: {error}") from error


def finish_piece(extractor: Extractor, piece: pa.Table, schema: pa.Schema, where: Store) -> pa.Table:
    """What the extractor makes of some of the rows, seen to be as many as they were, with the columns that were told.

    Raises
    ------
    ScaledprocError
        If the extractor's `finish` fails, or gives something else.
    """
    finished = finish_table(extractor, piece)
    if finished.schema != schema or finished.num_rows != piece.num_rows:
        raise ScaledprocError(
            "the extractor's finish() gives other columns or another number of rows for some tables; "
            f"once it is mended, this goes on: scaledproc combine {where}"
        )
    return finished


def check_row_wise(extractor: Extractor, piece: pa.Table, finished: pa.Table) -> None:
    """See whether some rows are finished alone as they were among others: only then can shards be finished alone.

    Raises
    ------
    ScaledprocError
        If a finished row changes with the rows that it is given together with.
    """
    last = min(piece.num_rows - 1, _ALONE)
    for start, rows in ((0, 1), (piece.num_rows - last, last)) if last > 0 else ():
        alone = finish_table(extractor, piece.slice(start, rows))
        if alone.num_rows != rows or not same_rows(finished.slice(start, rows), alone):
            raise ScaledprocError(
                "the extractor's finish() gives other values for rows alone than for the same rows among others: the "
                "files of --table dataset are finished one by one, so give --table file, or let finish() make each "
                "row's values of that row alone"
            )


def has_summary(extractor: Extractor) -> bool:
    """Whether an extractor sums up its rows."""
    if isinstance(extractor, FunctionExtractor):
        return extractor.given_summarise is not None
    return type(extractor).summarise is not Extractor.summarise


def has_partial_form(extractor: Extractor) -> bool:
    """Whether an extractor can sum up its rows shard by shard.

    A class that has another `summarise` than the one that its `partial_summaries` was written for has no such form.
    """
    if isinstance(extractor, FunctionExtractor):
        return extractor.given_partial_summaries is not None
    order = type(extractor).__mro__
    where = {
        name: next(place for place, kind in enumerate(order) if name in vars(kind))
        for name in ("summarise", "partial_summaries", "merge_summaries")
    }
    is_own = order[where["partial_summaries"]] is not Extractor and order[where["merge_summaries"]] is not Extractor
    return is_own and max(where["partial_summaries"], where["merge_summaries"]) <= where["summarise"]


def summed_up(what: str, sum_up: Callable[[], T]) -> T:
    """What an extractor's code for summaries gives.

    Raises
    ------
    ScaledprocError
        If the extractor's code fails; `what` is how it is called.
    """
    try:
        return sum_up()
    except (ScaledprocError, OSError, MemoryError):
        raise
    except Exception as error:
        raise ScaledprocError(f"the extractor's {what}() failed: {type(error).__name__}: {error}") from error


def of_all_rows(extractor: Extractor, pieces: Iterator[pa.Table]) -> Mapping[str, pa.Table]:
    """The summaries of rows that come in pieces; all pieces are asked for.

    Raises
    ------
    ScaledprocError
        If the extractor's `summarise` fails.
    """
    summaries = summed_up("summarise", lambda: extractor.summarise(pieces))
    for _ in pieces:  # what the summaries did not ask for
        pass
    return summaries


def notices(extractor: Extractor) -> bool:
    """Whether an extractor needs to know of its finished rows for what it tells at the end."""
    return type(extractor).noticed is not Extractor.noticed


def noticed_in(extractor: Extractor, finished: pa.Table) -> frozenset[str]:
    """What an extractor needs to know of some finished rows.

    Raises
    ------
    ScaledprocError
        If the extractor's `noticed` fails.
    """
    return summed_up("noticed", lambda: frozenset(map(str, extractor.noticed(finished))))


def end_notes(extractor: Extractor, noticed: frozenset[str]) -> list[str]:
    """What an extractor tells at the end of a run.

    Raises
    ------
    ScaledprocError
        If the extractor's `end_notes` fails.
    """
    return summed_up("end_notes", lambda: list(map(str, extractor.end_notes(noticed))))


def check_names(summaries: Iterable[str]) -> None:
    """See whether summaries can be files.

    Raises
    ------
    ScaledprocError
        If a summary's name has other characters than letters, digits, `-` and `_`.
    """
    for name in summaries:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ScaledprocError(f"the extractor calls a summary {name!r}; use letters, digits, - and _")


def same_rows(made: pa.Table, found: pa.Table) -> bool:
    """Whether two tables of the same columns have the same values."""
    return all(_equal(made[name], found[name]) for name in made.schema.names)


def _equal(made: pa.ChunkedArray, found: pa.ChunkedArray) -> bool:
    if made.equals(found):
        return True
    if made.type != found.type:
        return False
    # NaN is not equal to itself, wherever it stands: then as Parquet writes them.
    return _written(made) == _written(found)


def _written(column: pa.ChunkedArray) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": column.combine_chunks()}), sink, compression="none", use_dictionary=False)
    written: bytes = sink.getvalue().to_pybytes()
    return written
