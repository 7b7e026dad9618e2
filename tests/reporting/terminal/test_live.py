"""The display that moves, on terminals of every width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from told import chunk, started, state

from scaledproc.events import CombineDone, FetchMoved, FetchStarted
from scaledproc.reporting.terminal import LiveProgress


def display_of(width: int, **more: object) -> tuple[LiveProgress, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=24, force_terminal=True, highlight=False, **more)  # type: ignore[arg-type]
    return LiveProgress(console), stream


def frame(display: LiveProgress) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=display.console.width, emoji=False).print(display.frame())
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 109, 110, 200])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    display, _ = display_of(width)
    for event in (started(12_345, 10**12, 3), *(chunk(0, at, 100, 10**9) for at in range(40))):
        display.listen(event)
    display.pause()
    lines = frame(display)
    assert max(map(len, lines)) <= max(width - 3, 10)
    shown = " ".join(" ".join(lines).split())
    assert ("extracting" in shown) == (width >= 30)
    assert "32 %" in shown
    if width < 110:
        for part in ("4,000/12,345 tasks,", "40.0 GB of 1.0 TB,"):
            assert part in shown
    assert ("━" in shown) == (width >= 30)


def test_parts_are_not_broken_where_there_is_room() -> None:
    display, _ = display_of(40)
    for event in (started(12_345, 10**12, 3), *(chunk(0, at, 100, 10**9) for at in range(40))):
        display.listen(event)
    display.pause()
    assert "4,000/12,345 tasks," in frame(display)[1]
    assert "40.0 GB of 1.0 TB," in "\n".join(frame(display))


def test_all_but_done_is_not_shown_as_done() -> None:
    display, _ = display_of(80)
    for event in (started(1000, 1000), chunk(0, 0, 999, 999)):
        display.listen(event)
    display.pause()
    assert "99 %" in frame(display)[0]


def test_a_fetch_has_the_same_display() -> None:
    display, stream = display_of(80)
    with display:
        display.listen(FetchStarted("there", "here", 100, 1000, 0, 0, 0, None))
        display.listen(FetchMoved(50, 500, 1))
        lines = frame(display)
    assert "fetching" in lines[0]
    assert "50 %" in lines[0]
    assert lines[1].startswith("50/100 files, 500 B of 1.0 kB,")
    assert "there to here: 100 files (1.0 kB) to fetch" in stream.getvalue()


def test_what_is_begun_is_named_with_its_time() -> None:
    display, _ = display_of(80)
    assert frame(display)[0].split()[1:] == ["planning", "0", "s"]


def test_without_colour_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    display, stream = display_of(80)
    with display:
        display.listen(started(10, 10))
        display.listen(chunk(0, 0, 5, 5))
        display.live.refresh()
    import re

    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue())


def test_a_terminal_that_knows_no_utf8_gets_what_it_knows() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict", write_through=True)
    display = LiveProgress(Console(file=stream, width=80, height=24, force_terminal=True))
    with display:
        display.listen(started(10, 10))
        display.listen(chunk(0, 0, 5, 5))
        display.live.refresh()
    assert b"extracting" in raw.getvalue()


def test_the_result_is_not_said_twice() -> None:
    display, stream = display_of(80)
    with display:
        display.listen(started(10, 10))
        display.listen(CombineDone(10, 0, (), 1.0))
    assert "combined" not in stream.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_machines_have_a_line_each(width: int) -> None:
    display, _ = display_of(width)
    display.listen(started(shards=3))
    display.listen(state(0, "running", 3, 30, 1.0))
    display.listen(state(1, "starting"))
    display.pause()
    lines = frame(display)
    assert max(map(len, lines)) <= width - 3
    assert [line.split()[:2] for line in lines[-2:]] == [["0", "running"], ["1", "starting"]]
