"""What is the same in all rows of a task's tables is held once, and never takes more memory than what was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.extractors.rows.collector import RowCollector
from scaledproc.extractors.rows.columns import Shared


def _beats(rows: int, unit: str = "30/3000003") -> pa.Table:
    return pa.table(
        {
            "unit": [unit] * rows,
            "subject": pa.nulls(rows, pa.int64()),
            "channel": pa.array([3] * rows, pa.int32()),
            "sample": pa.array(range(rows)),
            "same": [0.25] * rows,
        }
    )


def _held(tables: Sequence[Any]) -> int:
    """Bytes of the memory that tables have, each counted once."""
    found = {
        buffer.address: buffer.size
        for table in tables
        for column in table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    }
    return sum(found.values())


def test_what_is_the_same_in_all_rows_of_many_tables_is_held_once() -> None:
    shared = Shared()
    tables = [shared.share(_beats(750)) for _ in range(100)]
    assert all(table.equals(_beats(750)) for table in tables)
    numbers = 100 * 750 * 16  # `sample` and, as 0.0 and -0.0 are equal and not the same bytes, `same`
    names = 750 * (10 + 4 + 2 * 8 + 4)
    assert numbers < _held(tables) < numbers + 1.1 * names


def test_tables_of_many_lengths_share_what_the_longest_before_them_hold() -> None:
    shared = Shared()
    lengths = np.random.default_rng(5).integers(64, 1000, 300).tolist()
    tables = [_beats(rows).select(["unit", "channel"]) for rows in lengths]
    assert _held([shared.share(table) for table in tables]) < _held(tables) / 20


def _named(place: int, rows: int) -> pa.Table:
    return pa.table({"name": [f"unit-{place:07}"] * rows, "number": [place] * rows})


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (lambda place: place, lambda _: 64),
        (lambda place: place // 2, lambda _: 64),  # each comes twice
        (lambda place: place % 70, lambda _: 64),  # more values than are remembered, again and again
        (lambda place: place % 7, lambda place: 64 + place),  # each longer than those before
        (lambda place: place % 7, lambda place: 264 - place),
    ],
    ids=["once", "twice", "many", "longer", "shorter"],
)
def test_no_more_is_held_than_was_given_or_than_is_counted(
    value: Callable[[int], int], rows: Callable[[int], int]
) -> None:
    collector, shared = RowCollector(_named(0, 1).schema), Shared()
    taken = collector.begin()
    tables = [_named(value(place), rows(place)) for place in range(200)]
    collector.take_all(tables, taken)
    assert _held([shared.share(table) for table in tables]) <= _held(tables)
    assert _held(taken.parts) <= min(taken.size, _held(tables))


@pytest.mark.parametrize("values", [[3] * 64, [3] * 32 + [4] + [3] * 31, [None] * 64, [3, None] * 32 + [3]])
def test_no_memory_is_taken_to_see_what_is_the_same(values: list[int | None]) -> None:
    numbers = pa.array(values, pa.int64())
    table = pa.table({"number": numbers, "name": numbers.cast(pa.string())})
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    shared = Shared()
    pa.set_memory_pool(pool)
    try:
        made = [shared.share(table) for _ in range(3)]
        most = pool.max_memory()
        assert made == [table] * 3
    finally:
        pa.set_memory_pool(before)
        del made, shared
    assert most < 64


def test_a_tasks_rows_do_not_change_with_what_they_were_made_of() -> None:
    collector = RowCollector(_beats(1).schema)
    numbers = np.full(100, 3, np.int32)
    collector.add(_beats(100).set_column(2, "channel", pa.array(numbers)))
    numbers[:] = 4
    assert collector.take().equals(_beats(100))


VALUES = st.one_of(
    st.sampled_from([pa.string(), pa.large_string()]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.text(max_size=120) | st.none(), st.text(max_size=2) | st.none())
    ),
    st.sampled_from([pa.int8(), pa.uint64()]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(0, 5) | st.none(), st.integers(0, 5) | st.none())
    ),
    st.tuples(st.just(pa.float64()), st.sampled_from([0.0, -0.0, float("inf")]), st.sampled_from([0.0, -0.0, None])),
)


@given(st.lists(st.tuples(VALUES, st.integers(60, 9000), st.integers(0, 70), st.integers(0, 3)), max_size=4))
def test_shared_columns_have_the_same_values(made_of: list[tuple[tuple[Any, Any, Any], int, int, int]]) -> None:
    shared = Shared()
    for (kind, value, other), rows, place, offset in made_of:
        values = [value] * rows
        values[min(place, rows - 1)] = other
        table = pa.table({"x": pa.array(values, kind), "y": pa.array([value] * rows, kind)}).slice(offset)
        made = shared.share(table)
        made.validate(full=True)
        assert made.schema == table.schema
        assert list(map(repr, made.column("x").to_pylist())) == list(map(repr, table.column("x").to_pylist()))
        assert list(map(repr, made.column("y").to_pylist())) == list(map(repr, table.column("y").to_pylist()))
