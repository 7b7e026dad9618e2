"""Which records are wanted: plain decisions over paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.fetching.selection.subset import Choice, Record, pick, unit_folders

# Plain decisions


@pytest.mark.parametrize(
    ("groups", "names", "there"),
    [
        ("30-32", {"30", "32"}, {"29", "30", "32", "33", "030"}),
        ("30,32,35-37", {"30", "32", "36"}, {"30", "31", "32", "34", "36"}),
        ("p00-p09", {"p00", "p09"}, {"p00", "p09", "p10", "q05", "p5"}),
        ("p8-11", {"p8", "p11"}, {"p7", "p8", "p11", "p12"}),
        ("sub-01", {"sub-01"}, {"sub-01", "sub-02"}),
        ("2020-01/", {"2020-01"}, {"2020-01", "2020-02", "2020"}),
        (".", {"."}, {".", "30"}),
    ],
)
def test_groups(groups: str, names: set[str], there: set[str]) -> None:
    choice = Choice(groups)
    assert {group for group in there if choice.has_group(group)} == names


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), unique=True),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 9),
)
def test_pick_takes_the_first_of_each_group(
    names: list[tuple[str, int]], records: int | None, limit: int | None
) -> None:
    there = [Record(f"{group}/{number}") for group, number in names]
    picked = pick(there, Choice(records=records, limit=limit))
    firsts = [
        record
        for at, record in enumerate(there)
        if records is None or sum(other.group == record.group for other in there[:at]) < records
    ]
    assert picked == firsts[:limit]


def test_unit_folders() -> None:
    assert unit_folders(["RECORDS", "30/RECORDS", "30/a/x", "30/a/y", "31/b/c/z"]) == [Record("30/a"), Record("31/b/c")]
    assert unit_folders(["x", "y"]) == [Record("")]
    assert unit_folders([]) == []
