"""One task in this process, for who writes an extractor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.types import Where
from scaledproc.api.arguments import AnExtractor, check_kinds, refuse_idle_options
from scaledproc.engine.options import PlanOptions, split_options
from scaledproc.engine.steps import reporting

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.engine.trial import Trial


def try_task(
    extractor: AnExtractor | None,
    path: Where,
    task: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    unit: str | None = None,
    anchor: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    with_keys: bool | None = None,
    inventory: Where | None = None,
    failed: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
) -> pa.Table:
    """The rows that an extractor gives for one task, as a run's table would have them. Nothing is written.

    The task is done in this process: what it prints is shown, and a debugger works. What it raises is raised.

    Parameters
    ----------
    extractor
        As for `plan`; None is that of the run, where the task is one of a run.
    path
        The file that the task begins at, of which the files beside it are the unit; a dataset, as for `plan`; or a
        run's folder with `#` and the anchor of one of its tasks.
    task
        Which task of the dataset: its anchor, or a glob of which it is the first. The plan's first one where none is
        given. One that is only the first is passed over where it gives no rows, and one of the next few does.
    options, unit, anchor, include, exclude, only, hidden, with_keys, inventory
        As for `plan`. For a task of a run whose extractor is not given, other `options` than the run's, and the columns
        that the run has.
    failed
        Which of the quarantined tasks, from 1, where the path is a run's folder.
    storage_options, scratch
        As for `run`.

    Raises
    ------
    UsageError
        If there is no such extractor or task, or an option cannot have its value.
    ScaledprocError
        If the dataset or the run's folder cannot be read.
    """
    check_kinds(locals())
    given = {name: value for name, value in locals().items() if name not in ("extractor", "path", "task")}
    done = trial(extractor, path, task, **given)
    if done.rows is None:
        assert done.error is not None
        raise done.error
    return done.rows


def trial(
    extractor: AnExtractor | None,
    path: Where,
    task: str | None = None,
    *,
    failed: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
    on_error: Callable[[BaseException], None] = lambda _: None,
    **options: Any,
) -> Trial:
    """What becomes of one task in this process; the parameters are those of `try_task`.

    Parameters
    ----------
    extractor, path, task, failed, storage_options, scratch, options
        As for `try_task`.
    on_error
        Called with what the task failed with, while its files are here.
    """
    check_kinds(locals())
    from scaledproc.engine.trial import find_target, try_first_with_rows

    asked = PlanOptions.parse(options)
    inputs, outputs = split_options(storage_options)
    with reporting():
        target = find_target(extractor, os.fspath(path), task, asked, inputs, outputs, failed)
        sides = {"input": target.dataset} | ({} if target.run is None else {"output": target.run})
        refuse_idle_options(storage_options, sides)
        return try_first_with_rows(target, Path(scratch) if scratch else None, on_error)
