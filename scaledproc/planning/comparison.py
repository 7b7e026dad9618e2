"""One plan against another: which units and tasks of the one are in the other, with the same files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan


NOWHERE = -1
"""As a place: what the earlier plan does not have."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What of a plan is in an earlier one.

    Parameters
    ----------
    units
        Place of each unit in the earlier plan, by its name; -1 where that has none, shape (units,).
    is_same
        Whether a unit has exactly the files that it had, each of the same size and version, shape (units,).
    gone
        How many units of the earlier plan are not in this one.
    tasks
        Place of each task in the earlier plan, by its group, unit and anchor; -1 where that has none, shape (tasks,).
    unit_of_task
        Place of each task's unit in this plan, shape (tasks,).
    """

    units: NDArray[np.int64]
    is_same: NDArray[np.bool_]
    gone: int
    tasks: NDArray[np.int64]
    unit_of_task: NDArray[np.int64]

    @property
    def counts(self) -> dict[str, int]:
        """How many units are new, changed and gone."""
        is_new = self.units < 0
        return {
            "new": int(is_new.sum()),
            "changed": int((~is_new & ~self.is_same).sum()),
            "gone": self.gone,
        }


def compare_plans(was: Plan, now: Plan, *, knows_versions: bool = False) -> Compared:
    """Compare two plans of a dataset, exactly: by the paths, sizes and versions of all files, not by hashes of them.

    Parameters
    ----------
    was, now
        The plans.
    knows_versions
        Whether a file of which no version is known counts as changed.
    """
    files, same = same_files(was, now, knows_versions=knows_versions)
    lengths_now, lengths_was = np.diff(now.unit_files), np.diff(was.unit_files)
    of_file = np.append(np.repeat(np.arange(was.n_units), lengths_was), NOWHERE)[files]
    units = _places(_unit_names(now), _unit_names(was))
    is_same = np.zeros(now.n_units, np.bool_)
    if now.n_units:
        # All files are the earlier unit's of the same name, which no file of a new unit is, and none of that one's is
        # missing.
        wanted = np.repeat(units, lengths_now)
        is_same = np.logical_and.reduceat(same & (of_file == wanted), now.unit_files[:-1])
        is_same &= lengths_now == np.append(lengths_was, NOWHERE)[units]
    tasks = _places(now.tasks["anchor"], was.tasks["anchor"])
    for name in ("group", "unit"):
        if was.n_tasks:
            before = _flat(was.tasks[name]).take(pa.array(np.maximum(tasks, 0))).cast(pa.large_string())
            is_alike = _filled(pc.equal(_flat(now.tasks[name]).cast(pa.large_string()), before))
            tasks = np.where(is_alike, tasks, NOWHERE)
    return Compared(
        units=units,
        is_same=is_same,
        gone=was.n_units - len(np.unique(units[units >= 0])),
        tasks=tasks,
        unit_of_task=np.repeat(np.arange(now.n_units), np.diff(now.unit_tasks)),
    )


def same_files(
    was: Plan, now: Plan, *, knows_versions: bool = False, by_content: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each file of a plan is in an earlier one (-1 where it is not), and whether it is the same, shape (files,).

    Parameters
    ----------
    was, now
        The plans.
    knows_versions
        Whether a file of which no version is known counts as changed.
    by_content
        Whether one of another version is the same where the SHA-256 of its content is known to both and is.
    """
    files = _places(now.files["path"], was.files["path"])
    is_there = files >= 0
    if not len(was.files):
        return files, is_there
    at = pa.array(np.where(is_there, files, 0))
    before = {name: _flat(was.files[name]).take(at) for name in ("size", "version")}
    is_alike = {name: _filled(pc.equal(_flat(now.files[name]).cast(of.type), of)) for name, of in before.items()}
    same = is_alike["version"]
    if knows_versions:
        same &= _filled(pc.not_equal(_flat(now.files["version"]).cast(pa.large_string()), ""))
    if by_content and was.contents is not None and now.contents is not None:
        same |= _filled(pc.equal(now.contents, was.contents.take(at)))
    return files, same & is_alike["size"] & is_there


def _unit_names(plan: Plan) -> pa.ChunkedArray:
    return plan.tasks["unit"].take(pa.array(plan.unit_tasks[:-1]))


def _places(wanted: pa.ChunkedArray, known: pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each text is among others; -1 where it is not."""
    found = pc.index_in(_flat(wanted).cast(pa.large_string()), value_set=_flat(known).cast(pa.large_string()))
    places: NDArray[np.int64] = found.fill_null(NOWHERE).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _filled(found: pa.Array) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = found.fill_null(False).to_numpy(zero_copy_only=False)
    return values
