"""What the benchmarks make of times: decisions without a clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from data import LEFT, linked_copies
from deciding import NEAR, SPARE, WORK, choose, copies_for, cost_of_one, ratios
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(0.01, 100)


def test_ratios_are_of_the_same_round() -> None:
    # The machine was twice as slow in the second round: medians of each alone would tell 2.02 and 1.
    assert ratios({"a": [1.0, 2.0, 1.0], "b": [1.01, 2.02, 2.02]}) == pytest.approx({"a": 1.0, "b": 1.01})


def test_one_slow_round_does_not_count() -> None:
    assert ratios({"a": [1.0, 1.0, 1.0], "b": [9.0, 1.02, 1.02]})["b"] == pytest.approx(1.02)


def test_what_is_near_the_fastest_stays_and_what_is_not_does_not() -> None:
    seconds = {"rule": [1.02, 1.02, 1.02], "fast": [1.0, 1.0, 1.0], "slow": [1.2, 1.2, 1.2]}
    assert choose(seconds, "rule") == "rule"
    assert choose(seconds, "slow") == "fast"
    assert choose({**seconds, "rule": [1.04, 1.04, 1.02]}, "rule") == "fast"


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(SECONDS, min_size=n, max_size=n), min_size=1, max_size=6)))
def test_what_is_chosen_is_always_near(times: list[list[float]]) -> None:
    seconds = {str(place): each for place, each in enumerate(times)}
    found = ratios(seconds)
    assert found.keys() == seconds.keys()
    assert next(iter(found.values())) == 1
    for wanted in seconds:
        chosen = choose(seconds, wanted)
        assert found[chosen] <= NEAR
        assert chosen == wanted or found[wanted] > NEAR


@given(st.floats(1e-3, 1e3), st.integers(1, 64))
def test_copies_are_enough_work_for_each_core_and_hardly_more(work: float, cores: int) -> None:
    copies = copies_for(work, cores)
    assert copies * work / cores >= WORK
    assert copies == 1 or (copies - 1) * work / cores <= SPARE * WORK * (1 + 1e-9)


def test_no_number_of_copies_of_nothing_is_enough() -> None:
    with pytest.raises(ValueError, match="no number of copies"):
        copies_for(0.0, 2)


def test_what_one_more_costs_is_a_difference_in_each_round() -> None:
    assert cost_of_one([3.0, 5.0], [1.0, 1.0], 4) == [0.5, 1.0]


def test_copies_by_links_take_no_room_and_go(tmp_path: Path) -> None:
    unit = tmp_path / "data" / "30" / "3000001"
    unit.mkdir(parents=True)
    (unit / "a.hea").write_text("a")
    (unit / "a.dat").write_bytes(b"x")
    for name, age in (("links-old", 2 * LEFT), ("links-new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with linked_copies(tmp_path / "data", 3) as root:
        found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.hea"))
        assert found == [f"30/3000001.{number:04d}/a.hea" for number in range(3)]
        assert all((root / name).samefile(unit / "a.hea") for name in found)
        assert len(list(root.rglob("*.dat"))) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "links-new"]
    assert (unit / "a.dat").read_bytes() == b"x"
