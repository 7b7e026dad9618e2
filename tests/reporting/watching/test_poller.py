"""A run that is looked at again and again, by a clock of the test's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from scaledproc.errors import ScaledprocError
from scaledproc.reporting.watching import poller as module
from scaledproc.reporting.watching.poller import BUSY, SELDOM, SHARE, SOON, Look, Poller, pause


def wait_for(is_true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.005)


def mark(page: str, trouble: str) -> str:
    return f"{page}; {trouble}"


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize(("cpu", "wall"), [(0.0, 0.0), (0.01, 0.5), (3.0, 3.0), (0.0, 60.0)])
def test_looking_takes_no_more_than_its_share(cpu: float, wall: float, is_watched: bool) -> None:
    waited = pause(cpu, wall, is_watched=is_watched)
    assert cpu / waited <= SHARE < 0.01
    assert wall / waited <= BUSY
    assert waited >= (SOON if is_watched else SELDOM)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOON", "SELDOM"):
        monkeypatch.setattr(module, name, 0.001)
    monkeypatch.setattr(module, "SHARE", 1e9)
    monkeypatch.setattr(module, "BUSY", 1e9)


def test_the_page_is_drawn_when_something_changed(quick: None) -> None:
    seen, drawn, looks = [1], list[int](), [0]

    def look() -> Look[int]:
        looks[0] += 1
        return Look(seen[0], is_over=False)

    def draw(found: int) -> str:
        drawn.append(found)
        return f"<{found}>"

    with Poller(look, draw, lambda _: None, mark) as poller:
        assert poller.page() == b"<1>"
        wait_for(lambda: looks[0] > 5)
        assert drawn == [1]
        seen[0] = 2
        wait_for(lambda: poller.page() == b"<2>")
    assert drawn == [1, 2]


def test_the_end_is_told_once_and_an_update_after_it_is_followed(quick: None) -> None:
    told, looks, updated = list[str](), [0], [0]

    def look() -> Look[int]:
        looks[0] += 1
        return Look(min(looks[0], 3) + updated[0], is_over=looks[0] >= 3 and updated[0] in (0, 2))

    with Poller(look, str, told.append, mark) as poller:
        wait_for(lambda: looks[0] > 8)
        assert poller.page() == b"3"
        assert told == ["the run is over"]
        updated[0] = 1
        wait_for(lambda: poller.page() == b"4")
        updated[0] = 2
        wait_for(lambda: poller.page() == b"5")
        wait_for(lambda: len(told) == 3)
    assert told == ["the run is over", "an update of it was begun", "the run is over"]


def test_a_run_that_is_over_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for its page."""
    monkeypatch.setattr(module, "SOON", 0.001)
    monkeypatch.setattr(module, "SHARE", 1e9)
    monkeypatch.setattr(module, "BUSY", 1e9)
    looks = [0]

    def look() -> Look[int]:
        looks[0] += 1
        return Look(0, is_over=True)

    with Poller(look, str, lambda _: None, mark) as poller:
        for _ in range(20):
            assert poller.page() == b"0"
            time.sleep(0.01)
    assert looks == [1]


def test_a_run_that_was_over_before() -> None:
    told: list[str] = []
    with Poller(lambda: Look("x", is_over=True), str, told.append, mark) as poller:
        assert poller.page() == b"x"
    assert told == ["the run is over"]


def test_trouble_is_told_once_and_the_last_page_stays(quick: None) -> None:
    told, is_away, looks = list[str](), threading.Event(), [0]

    def look() -> Look[str]:
        looks[0] += 1
        if is_away.is_set():
            raise ScaledprocError("the store does not answer")
        return Look("here", is_over=False)

    with Poller(look, str, told.append, mark) as poller:
        is_away.set()
        before = looks[0]
        wait_for(lambda: looks[0] > before + 4)
        assert poller.page() == b"here; This page is not up to date: the store does not answer"
        is_away.clear()
        wait_for(lambda: len(told) == 2)
        assert poller.page() == b"here"
    assert told == ["the store does not answer; trying again", "it can be read again"]


def test_no_error_ends_the_watching(quick: None) -> None:
    """Neither of looking nor of drawing, whatever it is: the page says what is wrong, and is right again after it."""
    told, seen = list[str](), [0]

    def look() -> Look[int]:
        if seen[0] == 1:
            raise RuntimeError("a fault of the store's library")
        return Look(seen[0], is_over=False)

    def draw(found: int) -> str:
        if found == 2:
            raise ZeroDivisionError("a fault of the page")
        return str(found)

    with Poller(look, draw, told.append, mark) as poller:
        seen[0] = 1
        wait_for(lambda: b"not up to date: RuntimeError: a fault of the store's library" in poller.page())
        seen[0] = 2
        wait_for(lambda: b"not up to date: ZeroDivisionError: a fault of the page" in poller.page())
        seen[0] = 3
        wait_for(lambda: poller.page() == b"3")
        wait_for(lambda: len(told) == 2)
    assert told == ["RuntimeError: a fault of the store's library; trying again", "it can be read again"]


def test_a_first_look_that_fails_is_an_error() -> None:
    def look() -> Look[str]:
        raise ScaledprocError("no run there")

    with pytest.raises(ScaledprocError, match="no run there"):
        Poller(look, str, lambda _: None, mark)


def test_whoever_comes_does_not_wait_for_the_next_rare_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOON", 0.001)
    monkeypatch.setattr(module, "SHARE", 1e9)
    monkeypatch.setattr(module, "BUSY", 1e9)
    looks = [0]

    def look() -> Look[int]:
        looks[0] += 1
        return Look(looks[0], is_over=False)

    with Poller(look, str, lambda _: None, mark) as poller:
        wait_for(lambda: looks[0] == 2)
        time.sleep(0.1)
        assert looks[0] == 2  # nobody watches: the next is in half a minute
        poller.page()
        wait_for(lambda: looks[0] > 5)
