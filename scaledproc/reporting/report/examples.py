"""Pieces of the data for a report: a few tasks, chosen by the plan's id, whose files are read again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scaledproc.execution.staging import Direct, Stager
from scaledproc.extractors.base import Task
from scaledproc.planning.plan import Chunk
from scaledproc.storage.local_files import Watch, forget

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.extractors.account import Example
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.run import Run

TRIES = 6
"""Tasks that are tried for each that is wanted: some have nothing to be drawn."""
LARGEST = 200_000_000
"""Bytes of a unit, above which it is left alone where it would have to be fetched."""


def find_examples(run: Run, extractor: Extractor, wanted: int) -> tuple[tuple[Example, ...], str]:
    """Pieces of so many tasks at most, and why there are none where the data cannot be read.

    The choice depends on the plan's id alone, so that a report that is made again shows the same.
    """
    if type(extractor).traces is _base_traces():
        return (), ""
    plan = run.plan
    chance = random.Random(run.record.plan_id)  # noqa: S311 - a choice that can be made again
    order = chance.sample(range(plan.n_tasks), min(plan.n_tasks, TRIES * wanted))
    found: list[Example] = []
    why = ""
    for index in order:
        if len(found) >= wanted:
            break
        try:
            with _at_hand(run, plan, index) as task:
                example = None if task is None else extractor.traces(task, chance.getrandbits(32))
        except Exception as error:  # a task that failed in the run fails here too
            why = why or f"{type(error).__name__}: {error}"
            continue
        if example is not None:
            found.append(example)
    return tuple(found), why if not found else ""


def _base_traces() -> object:
    from scaledproc.extractors import Extractor

    return Extractor.traces


@contextmanager
def _at_hand(run: Run, plan: Plan, index: int) -> Iterator[Task | None]:
    """One task with its files; None where they are too large to be fetched for a picture."""
    dataset = run.dataset
    (unit,) = plan.units_of(index, index + 1)
    size = int(plan.unit_sizes[unit])
    if dataset.local is None and size > LARGEST:
        yield None
        return
    chunk = Chunk(0, 0, index, index + 1, size)
    with Direct(dataset) if dataset.local else Stager(dataset, plan, [chunk], None) as stager:
        staged = stager.stage(chunk).result()[unit]
        if staged.problem is not None:
            raise OSError(staged.problem)
        sizes = plan.sizes_of(unit)
        watch = Watch(str(staged.root), sizes if staged.is_dataset else None)
        group, name, anchor = (plan.tasks[column][index].as_py() for column in ("group", "unit", "anchor"))
        task = Task(group, name, anchor, staged.root, frozenset(sizes), watch=watch)
        watch.begin(anchor)
        try:
            yield task
        finally:
            forget()
