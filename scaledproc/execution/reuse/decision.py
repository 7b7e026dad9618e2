"""Which tasks of a plan have their rows in earlier runs, and why the others are to be done: functions of arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scaledproc._util.text import count_text, seconds_text
from scaledproc.extractors.code.fingerprint import DESCRIBED, FINISHING, WITH_KEYS
from scaledproc.planning.comparison import compare_plans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan

REASONS: Mapping[str, str] = {
    "new": "new",
    "changed": "of changed files",
    "extractor": "of other code or options",
    "failed": "failed earlier",
    "undone": "not yet done",
    "damaged": "of damaged results",
}
"""Why a task is to be done, each with how a person is told."""
_NUMBERS = {name: number for number, name in enumerate(REASONS, 1)}
_APART = frozenset(
    {
        *(f"code {name}" for name in ("finish", "summarise", "partial_summaries", "merge_summaries")),
        FINISHING,
        DESCRIBED,
        WITH_KEYS,
    }
)
"""Parts of a fingerprint that no row of a shard depends on: what is made of them is made anew anyway."""


@dataclass(frozen=True, eq=False)
class Earlier:
    """What is known of the tasks of an earlier run.

    Parameters
    ----------
    plan
        Its plan.
    is_made
        Whether a task's rows are there, shape (tasks,). One that failed has none.
    is_failed, is_damaged
        Whether a task is in quarantine; whether its rows are not what was written, shape (tasks,).
    is_same
        Whether the rows depend on the same code, options, environment and declared files.
    """

    plan: Plan
    is_made: NDArray[np.bool_]
    is_failed: NDArray[np.bool_]
    is_damaged: NDArray[np.bool_]
    is_same: bool = True


@dataclass(frozen=True, eq=False)
class Reuse:
    """Where the rows of a plan's tasks come from.

    Parameters
    ----------
    run
        Which of the earlier runs has a task's rows; -1 where the task is to be done, shape (tasks,).
    task
        The task's place in that run's plan; -1 where it is to be done, shape (tasks,).
    reason
        Why it is to be done, as `_NUMBERS` has it; 0 where it is not, shape (tasks,).
    """

    run: NDArray[np.int32]
    task: NDArray[np.int64]
    reason: NDArray[np.int8]

    @property
    def is_todo(self) -> NDArray[np.bool_]:
        """Which tasks are to be done, shape (tasks,)."""
        is_todo: NDArray[np.bool_] = self.run < 0
        return is_todo

    @property
    def n_todo(self) -> int:
        """How many tasks are to be done."""
        return int(self.is_todo.sum())

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks are to be done for each reason; those that there are."""
        found = {name: int((self.reason == number).sum()) for name, number in _NUMBERS.items()}
        return {name: count for name, count in found.items() if count}

    def text(self, seconds: float | None = None) -> str:
        """`14 of 43,000 tasks: 10 new, 3 of changed files, 1 failed earlier; about 2 min`."""
        why = ", ".join(f"{count:,} {REASONS[name]}" for name, count in self.counts.items())
        about = "" if seconds is None else f"; about {_about(seconds)}"
        return f"{self.n_todo:,} of {count_text(len(self.run), 'task')}{f': {why}' if why else ''}{about}"


def _about(seconds: float) -> str:
    """A duration that is not known better."""
    if seconds < 1:
        return "1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else seconds_text(seconds)


def is_same_extractor(was: Mapping[str, str] | str, now: Mapping[str, str]) -> bool:
    """Whether an extractor's rows depend on the same as an earlier run's, by what both fingerprints say.

    Parameters
    ----------
    was
        The parts in the earlier run's run.json; a text in that of an early version, which cannot be compared.
    now
        The parts of the plan.
    """
    if isinstance(was, str):
        return False
    later = [(parts, _finishing(parts)) for parts in (was, now)]
    apart = {name for name in {*was, *now} if all(name in finishing or name not in parts for parts, finishing in later)}
    return all(was.get(name) == now.get(name) for name in {*was, *now} - _APART - apart)


def _finishing(parts: Mapping[str, str]) -> frozenset[str]:
    """The parts that only `finish` or `summarise` depend on; none where anybody wrote something else there."""
    try:
        return frozenset(json.loads(parts.get(FINISHING, "[]")))
    except (ValueError, TypeError):
        return frozenset()


def find_reuse(now: Plan, earlier: Sequence[Earlier], *, knows_versions: bool = True) -> Reuse:
    """Which tasks of a plan have their rows in earlier runs: of several that do, the first one's.

    A task's rows are its own where its group, unit and anchor are the same, its unit has the same files of the same
    sizes and versions, and the extractor's rows depend on the same.

    Parameters
    ----------
    now
        The plan.
    earlier
        What is known of the earlier runs. Why a task is to be done is told by the first of them that had it.
    knows_versions
        Whether a file of which no version is known counts as changed.
    """
    run = np.full(now.n_tasks, -1, np.int32)
    task = np.full(now.n_tasks, -1, np.int64)
    reason = np.full(now.n_tasks, _NUMBERS["new"], np.int8)
    for number, each in enumerate(earlier):
        found = compare_plans(each.plan, now, knows_versions=knows_versions)
        is_there, place = found.tasks >= 0, np.maximum(found.tasks, 0)
        why = np.full(now.n_tasks, _NUMBERS["new"], np.int8)
        if each.plan.n_tasks:
            why[is_there] = _NUMBERS["undone"]
            why[is_there & each.is_made[place]] = 0
            why[is_there & each.is_damaged[place]] = _NUMBERS["damaged"]
            why[is_there & each.is_failed[place]] = _NUMBERS["failed"]
        is_known = found.units[found.unit_of_task] >= 0  # a task that is new in a unit that was there: of changed files
        why[is_known & ~found.is_same[found.unit_of_task]] = _NUMBERS["changed"]
        if not each.is_same:
            why[is_there] = _NUMBERS["extractor"]
        taken = (run < 0) & (why == 0)
        run[taken], task[taken] = number, found.tasks[taken]
        reason = np.where(reason == _NUMBERS["new"], why, reason)
    reason[run >= 0] = 0
    return Reuse(run, task, reason)
