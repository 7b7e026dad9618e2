"""One call of the extractor: what it may do to its process, how often it is tried, and the row of errors it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from concurrent.futures import wait
from typing import Any, NoReturn

from scaledproc._util.process.signals import stopping
from scaledproc.execution.chunks.missing_dataset import DatasetRetries
from scaledproc.execution.chunks.quarantine import MESSAGE, NAME, TRACE, bounded, cleaned, placeless
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.printing import DebuggerError, printed, was_debugged
from scaledproc.execution.workers.worker_guard import guard, is_worker
from scaledproc.extractors import Extractor, Task
from scaledproc.extractors.rows.collector import RowCollector, SchemaError


class StagingError(Exception):
    """A unit's files could not be fetched."""


def run_task(
    extractor: Extractor,
    task: Task,
    problem: str | None,
    collector: RowCollector,
    place: int,
    losses: int,
    limits: Limits,
    dataset_retries: DatasetRetries | None,
) -> tuple[dict[str, Any] | None, int]:
    """Add one task's rows; or say why it goes into quarantine, after as many attempts as it may have; and how many."""
    own = guard()

    def attempted() -> BaseException | None:
        if own is not None:
            own.begin_task(place)
        try:
            error = _extract(extractor, task, problem, collector)
        finally:
            if own is not None:
                own.end_task()
        if error is not None and was_debugged(error):
            error = DebuggerError().with_traceback(error.__traceback__)
        return error

    for attempt in range(losses + 1, max(losses, limits.task_retries, len(limits.retry_on[:1])) + 2):
        error = attempted()
        if error is None:
            return None, attempt
        tries = 1  # those that failed for the file system's reasons do not count as attempts
        while (
            error is not None
            and dataset_retries is not None
            and (pause := dataset_retries.pause(error, task, tries)) is not None
        ):
            if pause:
                wait([stopping().asked], pause)
            tries += 1
            error = attempted()
        if error is None:
            return None, attempt
        if own is not None and isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # they hold what took the memory
            own.out_of_memory(place, _trace(error))
        if attempt > limits.retries_of(kind_of(error)):
            break
    assert error is not None
    return error_row(task, error, attempt), attempt


def error_row(task: Task, error: BaseException, attempts: int) -> dict[str, Any]:
    """A failed task's row of errors, with its traceback."""
    return {
        "group": task.group,
        "unit": task.unit,
        "anchor": task.anchor,
        "kind": kind_of(error),
        "error": bounded(type(error).__name__, NAME),
        "message": message_of(error, task),
        "attempts": attempts,
        "traceback": _trace(error),
    }


def _extract(extractor: Extractor, task: Task, problem: str | None, collector: RowCollector) -> BaseException | None:
    """Add one task's rows; or say what stood in the way."""
    process, was_asked = os.getpid(), stopping().signal is not None
    # What an extractor prints must not mix with what a program reads from standard output, nor fill a disk.
    before = printed.begin(task.anchor)
    task.warnings.clear()
    found: BaseException | None = None
    try:
        if problem is not None:
            raise StagingError(problem)
        watch = task.watch
        assert watch is not None
        watch.begin(task.anchor)
        returned = extractor.extract(task)
        try:
            collector.add(returned, watch.check)
        except SchemaError:
            watch.check()  # then that is why
            raise
    except BaseException as error:  # one bad task costs one task, sys.exit() included
        found = error
    finally:
        printed.end(before, task.anchor)
    if os.getpid() != process:
        _end_fork(found)
    if found is not None and not is_worker():
        # In the driver's process Ctrl-C reaches the task too, and the programs that it runs.
        if isinstance(found, KeyboardInterrupt) and _is_a_persons():
            raise found
        if (stopping().signal is not None and not was_asked) or (was_debugged(found) and sys.stdin.isatty()):
            raise KeyboardInterrupt from found
    return found


def _is_a_persons() -> bool:
    """Whether a KeyboardInterrupt is of a signal: where none came, the extractor raised it by itself."""
    return stopping().signal is not None or signal.getsignal(signal.SIGINT) != stopping().hear


def _end_fork(error: BaseException | None) -> NoReturn:
    """A process that the extractor forked came out of it: it must not do the rest of the work once more."""
    code: Any = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
    if not isinstance(code, int) or (error is not None and not isinstance(error, SystemExit)):
        text = str(code) if isinstance(error, SystemExit) else "".join(traceback.format_exception(error))
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode(errors="replace"))
        code = 1
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _trace(error: BaseException) -> str:
    return bounded(cleaned("".join(traceback.format_exception(error))), TRACE)


def kind_of(error: BaseException) -> str:
    """Of which kind an error is, as `errors.parquet` has it."""
    if isinstance(error, MemoryError):
        return "memory"
    return "schema" if isinstance(error, SchemaError) else "exception"


def message_of(error: BaseException, task: Task) -> str:
    """An error's text without what differs from machine to machine: where the dataset lies, addresses in memory."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its text cannot be had: {type(broken).__name__})"
    return bounded(placeless(text, task), MESSAGE)
