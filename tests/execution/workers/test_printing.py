"""What tasks print is passed on in whole lines, as other processes write to the same place."""

from __future__ import annotations

import io
import sys

import pytest

from scaledproc.execution.workers.printing import PRINTED, Printed


class Recorder(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)


def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In the place of both streams; within a test, as pytest puts its own there before each."""
    made = Recorder()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(sys, "stdout", made)
    return made


def say(text: str, end: str = "\n", *, flush: bool = False) -> None:
    print(text, end=end, flush=flush)  # noqa: T201 - what is tested


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    target, printed = recorder(monkeypatch), Printed()
    before = printed.begin("a task")
    say("one")
    say("two\nthree")
    say("50 %", end="\r")
    printed.end(before, "a task")
    assert target.written == ["one\n", "two\n", "three\n", "50 %\r"]
    assert printed.tape == "one\ntwo\nthree\n50 %\r"


def test_what_does_not_end_with_a_line_comes_at_the_end_or_where_it_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    target, printed = recorder(monkeypatch), Printed()
    before = printed.begin("a task")
    say("waiting", end="", flush=True)
    say(" … done", end="")
    assert target.written == ["waiting"]
    printed.end(before, "a task")
    assert target.written == ["waiting", " … done"]


def test_no_more_is_held_than_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    target, printed = recorder(monkeypatch), Printed()
    before = printed.begin("a task")
    for _ in range(PRINTED + 10):
        say("x", end="")
    assert target.written == ["x" * PRINTED]
    printed.end(before, "a task")
    assert target.written[1] == "\n… a task printed 10 more characters, which are left out\n"
