"""What may be typed next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledproc.engine.past.overview import Alike, Overview
from scaledproc.engine.past.status import Status
from scaledproc.events import Detached, Failure, RunFinished
from scaledproc.reporting.next_steps import (
    Step,
    after_fetch,
    after_plan,
    after_run,
    after_show,
    after_status,
    steps_text,
)

FAILURE = Failure("a", "a", "a/b c.txt", "exception", "ValueError", "x")
LOOK = [
    Step("look at it", "scaledproc report out --open"),
    Step("its tasks", "scaledproc show out"),
    Step("is it whole", "scaledproc verify out"),
]


def test_after_a_run_it_is_looked_at() -> None:
    assert after_run(RunFinished("out", 2, 2, 2, 0, 1.0)) == LOOK
    assert after_run(RunFinished("s3://b/my out", 2, 2, 2, 0, 1.0))[1].command == "scaledproc show 's3://b/my out'"


def test_after_failures_one_is_tried_and_all_are_tried_again() -> None:
    assert after_run(RunFinished("out", 2, 2, 2, 1, 1.0, failures=(FAILURE,))) == [
        Step("try one here", "scaledproc try 'out#a/b c.txt'"),
        Step("try all again", "the same command with --retry-failed"),
        *LOOK,
    ]


def test_code_that_failed_is_mended_before() -> None:
    own = replace(FAILURE, place="mine.py:3")
    steps = after_run(RunFinished("out", 2, 2, 2, 1, 1.0, failures=(own,)))
    assert steps[1] == Step(
        "try all again", "the same command with --retry-failed; once the code is mended, with --update"
    )


def test_a_run_that_goes_on_elsewhere_is_asked_for() -> None:
    assert Step("how far it is", "scaledproc status s3://b/out") in after_run(Detached("it runs", "s3://b/out"))


def test_after_a_plan_its_run() -> None:
    words = ["plan", "my data", "--json", "--extractor", "x.py:f"]
    assert after_plan(words, None) == [Step("the run", "scaledproc 'my data' --extractor x.py:f OUTPUT")]


@pytest.mark.parametrize("update", [["--update", "out"], ["--update=out"]])
def test_after_the_plan_of_an_update_that(update: list[str]) -> None:
    found = after_plan(["plan", "data", *update, "--jobs", "2"], "out")
    assert found == [Step("the update", "scaledproc data --jobs 2 out --update")]


def test_after_a_fetch_a_plan() -> None:
    assert after_fetch("dest") == [Step("what a run would do", "scaledproc plan dest")]


def test_commands_stand_below_each_other() -> None:
    assert steps_text(LOOK[1:], None).splitlines() == [
        "  its tasks:    scaledproc show out",
        "  is it whole:  scaledproc verify out",
    ]


def test_a_command_without_room_has_its_own_line() -> None:
    assert steps_text(LOOK[1:], 36).splitlines() == [
        "  its tasks:    scaledproc show out",
        "  is it whole:",
        "scaledproc verify out",
    ]


def test_names_cannot_steer_a_terminal() -> None:
    assert "\x1b" not in steps_text(after_run(RunFinished("a\x1b[2J", 2, 2, 2, 0, 1.0)), 80)


@pytest.mark.parametrize(("state", "command"), [("running", "watch"), ("stopped", "report"), ("done", "show")])
def test_after_a_status_what_helps_then(state: str, command: str) -> None:
    (step,) = after_status(Status("my out", "id", state, "local", 1, 1, (), ()))
    assert step.command.startswith(f"scaledproc {command} 'my out'")


def test_after_an_overview_a_task_is_tried() -> None:
    plain = Overview("out", 3, 2, {}, 1.0, None, None, 0, (), 1, ({"anchor": "a b.txt"},))
    assert [step.command for step in after_show(plain)] == ["scaledproc try 'out#a b.txt'"]
    failed = replace(plain, failures=(Alike("exception", "E", "m", 2, ("f.txt", "g.txt")),))
    assert after_show(failed)[0].command == "scaledproc try 'out#f.txt'"
    assert after_show(replace(plain, without_rows=0, empty=())) == []
