"""Time left that a person can believe: it moves no faster than it says, and comes to the truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc._util.pace import LEAST, SLEW, WARMING, WINDOW, Pace, TimeLeft, left_text


@given(st.lists(st.tuples(st.floats(0.01, 30.0), st.one_of(st.none(), st.floats(0.0, 1e6))), min_size=2, max_size=60))
def test_whatever_is_estimated_what_is_shown_moves_no_faster_than_the_bound(
    steps: list[tuple[float, float | None]],
) -> None:
    """Apart from the clock itself, by at most 2 % of itself a second."""
    left, now, before, told = TimeLeft(), 0.0, None, 0.0
    for passed, estimate in steps:
        now += passed
        shown = left.shown(now, estimate)
        assert shown is None or shown >= 0
        if shown is not None and before is not None and estimate is not None:
            since = now - told
            moved = abs(shown - max(before - since, 0.0))
            assert moved <= SLEW * max(before, LEAST) * since + 1e-6
        if estimate is not None:
            before, told = shown, now


def test_a_run_of_uneven_chunks_on_two_cores() -> None:
    """Simulated: 400 chunks that take from half a second to twenty. What is estimated jumps, and what is shown not."""
    rng = random.Random(7)
    sizes = [rng.choice([0.5, 1.0, 2.0, 20.0]) for _ in range(400)]
    total, cores = sum(sizes), [0.0, 0.0]
    ends = []
    for size in sizes:
        core = cores.index(min(cores))
        cores[core] += size
        ends.append((cores[core], size))
    ends.sort()
    duration, pace, left = max(cores), Pace(0.0), TimeLeft()
    done, now, jumps, shown_jumps, errors = 0.0, 0.0, [], [], []
    raw_before = shown_before = None
    while now < duration:
        now += 0.25
        while ends and ends[0][0] <= now:
            done += ends.pop(0)[1]
        pace.add(now, done)
        if now < 30 or done >= total:
            continue
        raw = (total - done) / pace.rate(now, done)
        shown = left.shown(now, raw)
        assert shown is not None
        if raw_before is not None and shown_before is not None:
            jumps.append(abs(raw - (raw_before - 0.25)) / max(raw_before, LEAST))
            shown_jumps.append(abs(shown - max(shown_before - 0.25, 0)) / max(shown_before, LEAST))
        raw_before, shown_before = raw, shown
        errors.append((now / duration, abs(shown - (duration - now)) / duration))
    assert max(jumps) > 0.03
    assert max(shown_jumps) <= SLEW * 0.25 + 1e-9
    assert max(error for at, error in errors if at > 0.15) < 0.1
    assert max(error for at, error in errors if at > 0.5) < 0.03


def test_it_comes_to_the_truth_and_counts_down() -> None:
    """Work that goes at a steady pace, of which the first estimate was four times too long."""
    left = TimeLeft()
    left.shown(0.0, 4000.0)
    for now in range(1, 400):
        shown = left.shown(float(now), 1000.0 - now)
    assert shown == pytest.approx(1000.0 - 399, rel=0.02)


def test_it_does_not_stick_when_work_stands_still() -> None:
    left = TimeLeft()
    left.shown(0.0, 5.0)
    shown = [left.shown(float(now), 100.0 + 10 * now) for now in range(1, 200)]
    assert (shown[-1] or 0) > 50


def test_the_pace_follows_a_run_that_got_faster() -> None:
    """One unit a second for 600 s, then ten: the mean of all would say 5.5 after another 600 s."""
    pace, work = Pace(0.0), 0.0
    for now in range(1, 1201):
        work += 1.0 if now <= 600 else 10.0
        pace.add(float(now), work)
    assert pace.rate(1200.0, work) == pytest.approx(10.0, rel=0.05)


def test_the_pace_of_the_first_minutes_is_the_mean_since_the_start() -> None:
    pace = Pace(5.0)
    pace.add(6.0, 10.0)
    assert pace.rate(15.0, 20.0) == pytest.approx(2.0)


def test_a_long_run_keeps_few_points() -> None:
    pace = Pace(0.0)
    for tick in range(200_000):
        pace.add(tick * 0.5, float(tick))
        pace.rate(tick * 0.5, float(tick))
    assert len(pace._points) < 700
    assert pace.rate(100_000.0, 200_000.0) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "a few seconds left"),
        (12.4, "about 10 s left"),
        (57.4, "about 55 s left"),
        (58.0, "about 1 min left"),
        (100.0, "about 1 min 30 s left"),
        (584.0, "about 9 min 30 s left"),
        (586.0, "about 10 min left"),
        (3569.0, "about 59 min left"),
        (3571.0, "about 1 h left"),
        (11_900.0, "about 3 h 20 min left"),
        (40_000.0, "about 11 h left"),
        (300_000.0, "about 3 days left"),
    ],
)
def test_text_is_as_exact_as_can_be_believed(seconds: float, text: str) -> None:
    assert left_text(seconds) == text


def test_nothing_is_shown_before_there_is_an_estimate_and_what_was_shown_stays_without_one() -> None:
    left = TimeLeft()
    assert left.shown(3.0, None) is None
    assert left.shown(4.0, 50.0) == 50.0
    assert left.shown(9.0, None) == 50.0
    assert left.shown(14.0, 40.0) == 40.0  # ten seconds have passed since
    assert left.shown(13.0, 40.0) == 40.0  # the clock does not go back


def test_what_is_shown_follows_an_estimate_by_two_per_cent_a_second() -> None:
    left = TimeLeft()
    left.shown(0.0, 1000.0)
    assert left.shown(5.0, 5000.0) == 1000.0 - 5.0 + 100.0
    assert left.shown(6.0, 0.0) == pytest.approx(1095.0 - 1.0 - 21.9)
    left = TimeLeft()
    left.shown(0.0, 10.0)
    assert left.shown(1.0, 500.0) == 11.0  # as a hundred seconds would move
    assert left.shown(2.0, 0.0) == 8.0
    assert left.shown(90.0, 0.0) == 0.0


def test_points_of_the_pace_are_half_a_second_apart_or_a_hundredth_of_the_time_so_far() -> None:
    pace = Pace(0.0)
    for now in (0.4, 0.5, 0.9, 1.0):
        pace.add(now, now)
    assert [at for at, _ in pace._points] == [0.0, 0.5, 1.0]
    pace.add(1000.0, 5.0)
    pace.add(1009.9, 6.0)
    pace.add(1011.0, 7.0)
    assert [at for at, _ in pace._points[3:]] == [1000.0, 1011.0]


def test_the_window_begins_with_the_last_point_before_it() -> None:
    pace = Pace(0.0)
    for now in (100.0, 200.0, 300.0):
        pace.add(now, 2 * now)
    assert pace.rate(400.0, 800.0) == pytest.approx(2.0)
    assert [at for at, _ in pace._points] == [100.0, 200.0, 300.0]  # five minutes ago
    assert pace.rate(401.0, 1000.0) == pytest.approx(800.0 / 301.0)
    for now in (900.0, 1000.0):
        pace.add(now, 2 * now)
    pace.rate(1800.0, 4000.0)  # half of the time so far
    assert [at for at, _ in pace._points] == [900.0, 1000.0]
    assert Pace(5.0).rate(5.0, 0.0) == 0.0
    assert (WINDOW, WARMING) == (300.0, 3.0)


def test_the_time_so_far_begins_with_the_work() -> None:
    pace = Pace(1000.0)
    for now in (1000.6, 1101.0, 1102.1):
        pace.add(now, now - 1000.0)
    assert [at for at, _ in pace._points] == [1000.0, 1000.6, 1101.0, 1102.1]
    pace.rate(1450.0, 450.0)
    assert [at for at, _ in pace._points] == [1102.1]
    pace = Pace(1000.0)
    pace.add(1100.0, 0.0)
    assert pace.rate(1390.0, 390.0) == pytest.approx(1.0)  # of the five minutes all are there
    assert pace.rate(1900.0, 800.0) == pytest.approx(1.0)  # since the only later point
    assert Pace(5.0).rate(5.0, 1e-9) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7.4, "a few seconds left"),
        (7.5, "about 10 s left"),
        (57.5, "about 1 min left"),
        (89.0, "about 1 min 30 s left"),
        (585.0, "about 10 min left"),
        (466.0, "about 8 min left"),
        (690.0, "about 12 min left"),
        (37_800.0, "about 10 h left"),
        (302 * 3600.0, "about 13 days left"),
        (3570.0, "about 1 h left"),
        (35_800.0, "about 9 h 55 min left"),
        (36_000.0, "about 10 h left"),
        (47.4 * 3600, "about 47 h left"),
        (47.6 * 3600, "about 2 days left"),
    ],
)
def test_text_at_the_edges(seconds: float, text: str) -> None:
    assert left_text(seconds) == text
