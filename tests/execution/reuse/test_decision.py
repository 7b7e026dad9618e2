"""Which tasks have their rows in earlier runs, and why the others are to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scaledproc.execution.reuse.decision import REASONS, Earlier, Reuse, find_reuse, is_same_extractor
from scaledproc.extractors import extractor
from scaledproc.extractors.code.fingerprint import DESCRIBED, FINISHING, WITH_KEYS
from scaledproc.planning.inventory import Inventory
from scaledproc.planning.plan import Plan, make_plan


@extractor(schema={"n": "int64"}, anchor="*.hea")
def headers(task: object) -> list[object]:
    return []


def plan_of(files: Mapping[str, int], version: str = "v") -> Plan:
    columns = {"path": pa.array(files, pa.large_string()), "size": pa.array(files.values(), pa.int64())}
    return make_plan(
        Inventory(pa.table({**columns, "version": pa.array([version] * len(files), pa.string())})), headers
    )


FILES = {"a/1.hea": 1, "b/2.hea": 2, "b/3.hea": 3, "c/4.hea": 4}


def earlier(
    plan: Plan, made: Sequence[int], failed: Sequence[int] = (), damaged: Sequence[int] = (), **more: Any
) -> Earlier:
    places = np.arange(plan.n_tasks)
    return Earlier(plan, np.isin(places, made), np.isin(places, failed), np.isin(places, damaged), **more)


def told(reuse: Reuse) -> list[str]:
    """Of each task where its rows are, or why they are not."""
    names = ["", *REASONS]
    return [
        f"{run}:{task}" if run >= 0 else names[reason]
        for run, task, reason in zip(reuse.run.tolist(), reuse.task.tolist(), reuse.reason.tolist(), strict=True)
    ]


def test_without_an_earlier_run_all_is_new() -> None:
    found = find_reuse(plan_of(FILES), [])
    assert told(found) == ["new"] * 4
    assert (found.n_todo, found.counts, found.is_todo.tolist()) == (4, {"new": 4}, [True] * 4)
    assert (found.run.tolist(), found.task.tolist()) == ([-1] * 4, [-1] * 4)
    assert told(find_reuse(plan_of(FILES), [earlier(plan_of({}), [])])) == ["new"] * 4


def test_what_an_earlier_run_made_is_its() -> None:
    plan = plan_of(FILES)
    found = find_reuse(plan, [earlier(plan, range(4))])
    assert told(found) == ["0:0", "0:1", "0:2", "0:3"]
    assert (found.n_todo, found.counts, found.reason.tolist()) == (0, {}, [0] * 4)
    assert found.text() == "0 of 4 tasks"


def test_why_a_task_is_to_be_done() -> None:
    now = plan_of({"a/1.hea": 1, "b/2.hea": 9, "b/3.hea": 3, "b/5.hea": 1, "c/4.hea": 4, "d/6.hea": 6})
    found = find_reuse(now, [earlier(plan_of(FILES), [0, 1, 2, 3])])
    assert told(found) == ["0:0", "changed", "changed", "changed", "0:3", "new"]
    plan = plan_of(FILES)
    assert told(find_reuse(plan, [earlier(plan, [0], failed=[1], damaged=[3])])) == [
        *("0:0", "failed", "undone", "damaged")
    ]
    # What failed has no rows, whatever else is known; what is damaged may be among what was made.
    assert told(find_reuse(plan, [earlier(plan, range(4), failed=[1], damaged=[1, 3])])) == [
        *("0:0", "failed", "0:2", "damaged")
    ]


def test_rows_of_other_code_are_no_rows_of_this_one() -> None:
    now = plan_of({**FILES, "d/5.hea": 5, "a/1.hea": 7})
    found = find_reuse(now, [earlier(plan_of(FILES), range(4), is_same=False)])
    assert told(found) == [*["extractor"] * 4, "new"]
    assert found.counts == {"new": 1, "extractor": 4}


def test_of_several_runs_the_first_that_has_the_rows() -> None:
    plan = plan_of(FILES)
    runs = [
        earlier(plan, [0], failed=[1]),
        earlier(plan_of({"b/2.hea": 2, "b/3.hea": 3}), [0, 1]),
        earlier(plan, [0, 2, 3]),
    ]
    assert told(find_reuse(plan, runs)) == ["0:0", "1:0", "1:1", "2:3"]
    # The first of them that had a task says why it is to be done.
    runs = [earlier(plan_of({"a/1.hea": 1}), [], failed=[0]), earlier(plan, [], damaged=[0, 1])]
    assert told(find_reuse(plan, runs)) == ["failed", "damaged", "undone", "undone"]


def test_files_of_which_no_version_is_known_count_as_changed_where_that_is_asked() -> None:
    plan = plan_of(FILES, version="")
    assert told(find_reuse(plan, [earlier(plan, range(4))])) == ["changed"] * 4
    assert find_reuse(plan, [earlier(plan, range(4))], knows_versions=False).n_todo == 0


@pytest.mark.parametrize(
    ("seconds", "about"),
    [
        (None, ""),
        (0.2, "; about 1 s"),
        (1.0, "; about 1 s"),
        (1.6, "; about 2 s"),
        (59.4, "; about 59 s"),
        (60.0, "; about 1 min"),
        (150.0, "; about 2 min"),
        (3599.0, "; about 60 min"),
        (3600.0, "; about 1 h 00 min"),
        (7500.0, "; about 2 h 05 min"),
    ],
)
def test_the_text_for_a_person(seconds: float | None, about: str) -> None:
    reasons = np.array([0, 1, 1, 2, 3, 4, 5, 6], np.int8)
    reuse = Reuse(np.where(reasons, -1, 0).astype(np.int32), np.zeros(8, np.int64), reasons)
    why = (
        "2 new, 1 of changed files, 1 of other code or options, 1 failed earlier, 1 not yet done, 1 of damaged results"
    )
    assert reuse.text(seconds) == f"7 of 8 tasks: {why}{about}"


def test_many_tasks_have_commas() -> None:
    reuse = Reuse(np.full(43_000, -1, np.int32), np.zeros(43_000, np.int64), np.ones(43_000, np.int8))
    assert reuse.text() == "43,000 of 43,000 tasks: 43,000 new"


WAS = {"code": "1", "option n": "2"}


@pytest.mark.parametrize(
    ("was", "now", "is_same"),
    [
        (WAS, WAS, True),
        (WAS, {**WAS, "code": "2"}, False),
        (WAS, {**WAS, "option m": "2"}, False),
        (WAS, {"code": "1"}, False),
        ("a hash of an early version", WAS, False),
        # What is made of the rows is made anew anyway.
        (WAS, {**WAS, "code finish": "1"}, True),
        ({**WAS, "code summarise": "1"}, {**WAS, "code summarise": "2"}, True),
        ({**WAS, "code partial_summaries": "1", "code merge_summaries": "1"}, WAS, True),
        ({**WAS, DESCRIBED: "1", WITH_KEYS: "1"}, {**WAS, DESCRIBED: "2"}, True),
        # A part that only finishing depends on, in both or where the other has none of it.
        ({**WAS, "f": "1", FINISHING: '["f"]'}, {**WAS, "f": "2", FINISHING: '["f"]'}, True),
        ({**WAS, "f": "1", FINISHING: '["f"]'}, WAS, True),
        ({**WAS, "f": "1"}, {**WAS, "f": "2", FINISHING: '["f"]'}, False),
        ({**WAS, "f": "1", FINISHING: '["f"]'}, {**WAS, "f": "2"}, False),
        ({**WAS, "f": "1", FINISHING: "damaged"}, {**WAS, "f": "2", FINISHING: '["f"]'}, False),
        ({**WAS, "f": "1", FINISHING: "3"}, {**WAS, "f": "2", FINISHING: '["f"]'}, False),
        ({**WAS, "f": "1", FINISHING: '["f"]'}, {**WAS, "f": "2", FINISHING: "3"}, False),
    ],
)
def test_what_the_rows_depend_on(was: Mapping[str, str] | str, now: Mapping[str, str], is_same: bool) -> None:
    assert is_same_extractor(was, now) == is_same


def test_runs_count_as_of_the_same_code_where_nobody_says_otherwise() -> None:
    assert earlier(plan_of(FILES), []).is_same
