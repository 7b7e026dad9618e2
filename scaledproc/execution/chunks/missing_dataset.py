"""Tasks that fail because a local dataset cannot be read: what its file system's fault is, and how long it is borne.

A network's disk may be away for seconds, a disk for good. That says nothing of the tasks: they are tried again as
requests to a store are. What still cannot be read then is left to the end of the run, when it is seen whether that is a
file's fault or the dataset's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from scaledproc.errors import ScaledprocError, causes_of
from scaledproc.storage.local_files import UnsettledError, find, open_file
from scaledproc.storage.retry import RetryPolicy
from scaledproc.storage.store import describe, store_errors

if TYPE_CHECKING:
    from scaledproc.extractors import Task
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

Trouble = Literal["away", "unread", "gone"]
"""The dataset is not there; a file cannot be read, though it may be later; a file is not there, and others are."""

RETRY = RetryPolicy()
BRIEF = (0.2, 0.6)
"""Seconds to wait for what is most likely gone for good."""
BRIEF_IN_ALL = 4.0
"""Seconds of such waits for one piece of work."""
LOOKS = 5
"""Other files of the dataset that are tried where none of a job's can be read."""
LOOKED_AT = 20
"""Files of a unit of which it is seen whether they may be read."""
SETTLES = 4
"""How often a task is done again whose files were moved meanwhile and are back."""

_ABSENT = {errno.ENOENT, errno.ENOTDIR}
_OF_DISKS = {getattr(errno, name, errno.EIO) for name in ("EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENXIO", "ENOMEDIUM")}
_OF_NETWORKS = {errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
_OF_NETWORKS |= {errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ESHUTDOWN}
_PASSING = _OF_DISKS | _OF_NETWORKS


class DatasetAwayError(ScaledprocError):
    """The dataset is not there any more, and did not come back in time."""


class UnreadError(Exception):
    """Some files of a chunk could not be read: it is not committed, but done again when all others are.

    Parameters
    ----------
    unread, gone
        How many tasks could not be done because a file could not be read, or was not there.
    tasks
        Of all that were tried.
    example
        The first one's error.
    refused
        How many could not be done because this account may not read their files, or a store has these no more: all of
        the chunk's, or none is told of.
    """

    def __init__(self, unread: int, gone: int, tasks: int, example: str, refused: int = 0) -> None:
        super().__init__(unread, gone, tasks, example, refused)
        self.unread, self.gone, self.tasks, self.example, self.refused = unread, gone, tasks, example, refused


def trouble_of(error: BaseException, task: Task) -> Trouble | None:
    """What kept the file system from giving a task its files; None where the failure is the task's own.

    An extractor may raise an `OSError` of its own, of a name that it made up. So it is looked whether the files are
    there that the task was given.

    Parameters
    ----------
    error
        What the task raised.
    task
        The task, on the dataset itself.
    """
    root = str(task.root)
    errors = list(_os_errors(error))
    looked_at = task.watch.found if task.watch is not None else ()
    named = [name for each in errors if (name := _listed(each, root, task.files))]
    for name in dict.fromkeys((task.anchor, *looked_at, *named)):
        try:
            find(root, name)
            os.close(open_file(root, name))
        except OSError as found:
            if found.errno in _ABSENT:
                return _why_absent(root, name)
            if found.errno in _PASSING:
                return "unread" if _is_folder_with_something(root) else "away"
    for each in errors:
        if each.errno in _PASSING and (_is_below(each, root) or (each.errno in _OF_DISKS and each.filename is None)):
            return "unread"
        if each.errno in _ABSENT and _listed(each, root, task.files):
            return "unread"  # it was away, and is back
    return None


def is_refused(task: Task) -> bool:
    """Whether this account may not open one of a task's files, of the first ones where there are many."""
    for name in (task.anchor, *sorted(task.files)[:LOOKED_AT]):
        try:
            os.close(open_file(str(task.root), name))
        except PermissionError:
            return True
        except OSError:
            continue
    return False


def reads_elsewhere(dataset: Store, plan: Plan, shards: Iterable[int], *, is_part: bool) -> bool:
    """Whether a file of the dataset can be read that is of none of these macro shards; a few are tried.

    Parameters
    ----------
    dataset, plan, shards
        Where the files are, and which.
    is_part
        Whether these are a part of what was read before, as in an update, or where some chunks are committed: then it
        is taken to be so where the plan has no other shards.
    """
    units = [plan.units_of(int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])) for shard in shards]
    own = [(int(plan.unit_files[each.start]), int(plan.unit_files[each.stop])) for each in units]
    spread = {plan.files.num_rows * each // LOOKS for each in range(LOOKS)}
    others = [
        place
        for place in sorted(spread | {stop for _, stop in own})
        if place < plan.files.num_rows and not any(start <= place < stop for start, stop in own)
    ]
    if not others:
        return is_part
    for place in others[:LOOKS]:
        with contextlib.suppress(*store_errors()), dataset.open(str(plan.files["path"][place].as_py())) as file:
            file.read(1)
            return True
    return False


class DatasetRetries:
    """How long one piece of work bears with a dataset that cannot be read, and what it could not do.

    Parameters
    ----------
    tell
        Called once with what a person should know who wonders why nothing goes on.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._has_told = False
        self.counts: dict[Trouble, int] = {"away": 0, "unread": 0, "gone": 0}
        self.example = ""
        self._waited = 0.0
        self._brief = BRIEF_IN_ALL
        self._is_spent = False

    def pause(self, error: BaseException, task: Task, attempt: int) -> float | None:
        """How many seconds to wait before a task is tried again that failed; None where it is not.

        Parameters
        ----------
        error, task
            What the task raised.
        attempt
            How often it was tried, from 1.

        Raises
        ------
        DatasetAwayError
            If the dataset is not there, and it has been waited for long enough.
        """
        if isinstance(error, UnsettledError):
            return 0.0 if attempt <= SETTLES else None
        trouble = trouble_of(error, task)
        if trouble is None:
            return None
        if trouble == "gone" or (self._is_spent and trouble != "away"):
            wait = BRIEF[attempt - 1] if attempt <= len(BRIEF) and self._brief > 0 else None
            self._brief -= wait or 0.0
        else:
            wait = RETRY.wait(attempt, self._waited, "passing", None, random.random())  # noqa: S311 - no secret
            self._waited += wait or 0.0
            self._is_spent = self._is_spent or wait is None
            if not self._has_told:
                self._has_told = True
                self._tell(f"scaledproc: {task.anchor} cannot be read ({describe(error)}); trying again for a while")
        if wait is None:
            if trouble == "away":
                raise DatasetAwayError(
                    f"{task.root} is not there any more, or empty; what is committed is kept, the same command "
                    "continues once it is back"
                )
            self.counts[trouble] += 1
            self.example = self.example or f"{task.anchor}: {type(error).__name__}: {error}"
        return wait


def _os_errors(error: BaseException) -> Iterator[OSError]:
    """Those among an error and what led to it."""
    return (each for each in causes_of(error) if isinstance(each, OSError))


def _path_of(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else ""


def _is_below(error: OSError, root: str) -> bool:
    return _path_of(error).startswith(f"{root.rstrip('/')}/")


def _listed(error: OSError, root: str, files: Iterable[str]) -> str | None:
    """The unit's file that an error names, in its text where it has no file name."""
    if _is_below(error, root):
        relative = _path_of(error)[len(root.rstrip("/")) + 1 :]
        return relative if relative in files else None
    if error.filename is None and error.errno is not None:
        text = str(error)
        return next((name for name in files if f"{root.rstrip('/')}/{name}" in text), None)
    return None


def _why_absent(root: str, relative: str) -> Trouble:
    """Why a file is not there that was listed: a folder that is empty may be where a disk was mounted."""
    if not _is_folder_with_something(root):
        return "away"
    folder = relative
    while folder:
        folder = folder.rpartition("/")[0]
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                return "gone" if next(entries, None) is not None else "unread"
        except OSError as error:
            if error.errno not in _ABSENT:
                return "unread"
    return "away"


def _is_folder_with_something(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
