"""Files to units and anchors, from their paths alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scaledproc.errors import UsageError
from scaledproc.planning.inventory import matches
from scaledproc.planning.path_arrays import encode, folders, stems, tops

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = "."
"""The name of the root as a group and as a unit."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """Files in the plan's order, as places in the table that they came from: nothing is copied.

    Parameters
    ----------
    order
        The files' places, sorted by group, unit and path, all as bytes, shape (files,). Those that a regular
        expression gives no unit are not among them.
    is_anchor
        Which of them start a task, in this order.
    groups, units
        Of each unit, large_string, shape (units,).
    offsets
        Of the units in `order`, shape (units + 1,).
    """

    order: NDArray[np.int64]
    is_anchor: NDArray[np.bool_]
    groups: pa.Array
    units: pa.Array
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """How files form units, and which of them start a task.

    Parameters
    ----------
    unit
        `folder`, `stem` (same folder, same name before the extension), `file`, or a regular expression (RE2) with a
        group named `unit`, searched in the relative path.
    anchors
        Globs of the files that start a task.
    companions
        Globs of files that mean nothing without an anchor. Where folders are units, such a file in a folder without an
        anchor belongs to the nearest folder above that has one.
    """

    unit: str = "folder"
    anchors: tuple[str, ...] = ("*",)
    companions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.anchors:
            raise UsageError("no anchor pattern: name the files that start a task, for example --anchor '*.csv'")
        if self.unit not in ("folder", "stem", "file") and "(?P<unit>" not in self.unit:
            raise UsageError(
                f"--unit {self.unit!r} is none of folder, stem, file, nor a regular expression with a group named "
                "unit, such as '(?P<unit>sub-[0-9]+)'"
            )

    def arrange(self, files: pa.Table) -> Arranged:
        """The files sorted by unit, with their units and which of them start a task.

        Parameters
        ----------
        files
            With a column path.

        Raises
        ------
        UsageError
            If `unit` cannot be read as a regular expression or has a group without a name, or a glob cannot be read.
        """
        paths = files["path"].cast(pa.large_string())
        codes, names, groups = self._units(paths)
        starts_task = matches(paths, self.anchors).combine_chunks().to_numpy(zero_copy_only=False)
        if self.unit == "folder" and self.companions:
            codes = self._with_companions(paths, codes, names, starts_task)
        by_name = pc.sort_indices(pa.record_batch([groups, names], ["group", "unit"]), _ascending("group", "unit"))
        ranks = np.full(len(names) + 1, -1, np.int32)  # the last is that of no unit, whose code is -1
        ranks[by_name.to_numpy()] = np.arange(len(names), dtype=np.int32)
        ranks = ranks[codes]
        del codes
        order = _sort(paths, ranks)
        lengths = np.bincount(ranks[order], minlength=len(names))
        return Arranged(
            order,
            starts_task[order],
            groups.take(by_name),
            names.take(by_name),
            np.concatenate([[0], np.cumsum(lengths)]),
        )

    def _with_companions(
        self, paths: pa.ChunkedArray, codes: NDArray[np.int32], names: pa.Array, starts_task: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        """The files' units, where companions in folders without an anchor belong to other units."""
        has_anchor = np.zeros(len(names), bool)
        has_anchor[codes[starts_task]] = True
        rows = np.flatnonzero(~has_anchor[codes])
        rows = rows[
            matches(paths.take(pa.array(rows)), self.companions).combine_chunks().to_numpy(zero_copy_only=False)
        ]
        folders_of = np.unique(codes[rows])
        above, wanted = folders_of.copy(), names.take(pa.array(folders_of)).to_pylist()
        while any(name != ROOT for name in wanted):
            wanted = [name.rpartition("/")[0] or ROOT for name in wanted]
            places = pc.index_in(pa.array(wanted, names.type), value_set=names).fill_null(-1).to_numpy()
            is_found = (above == folders_of) & (places >= 0) & np.append(has_anchor, False)[places]
            above[is_found] = places[is_found]
        moved = codes.copy()
        moved[rows] = above[np.searchsorted(folders_of, codes[rows])]
        return moved

    def _units(self, paths: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array, pa.Array]:
        """For each file the place of its unit (-1 for none) among the units, whose names and groups these are."""
        if self.unit == "folder":
            codes, names = encode(paths, lambda block: _or_root(folders(block)))
            return codes, names, pc.if_else(pc.match_substring(names, "/"), tops(names), names)
        if self.unit in ("stem", "file"):
            codes, names = encode(paths, stems if self.unit == "stem" else lambda block: block)
            return codes, names, _or_root(tops(names))
        try:
            codes, names = encode(paths, partial(_extract, regex=self.unit))
        except pa.ArrowInvalid as error:
            if "unnamed groups" in str(error):
                raise UsageError(
                    f"--unit {self.unit!r} has a group without a name: write (?:…) where ( ) only holds together"
                ) from None
            raise UsageError(f"--unit {self.unit!r} cannot be read as a regular expression: {error}") from None
        return codes, names, _first_groups(paths, codes, len(names))


def _extract(block: pa.Array, regex: str) -> pa.Array:
    """The group `unit` of a regular expression; null where it does not match or the group is empty."""
    found = pc.struct_field(pc.extract_regex(block, regex), "unit")
    return pc.if_else(pc.equal(found, ""), pa.scalar(None, found.type), found)


def _or_root(names: pa.Array) -> pa.Array:
    is_root = pc.equal(names, "")
    return pc.if_else(is_root, pa.scalar(ROOT, names.type), names) if pc.any(is_root).as_py() else names


def _first_groups(paths: pa.ChunkedArray, codes: NDArray[np.int32], units: int) -> pa.Array:
    """The first of the top folders that a unit reaches over, so that it stays in one piece."""
    groups_of, groups = encode(paths, lambda block: _or_root(tops(block)))
    order = pc.sort_indices(groups).to_numpy()
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups))
    first = np.full(units, len(groups), np.int64)
    has_unit = codes >= 0
    np.minimum.at(first, codes[has_unit], ranks[groups_of[has_unit]])
    return groups.take(pa.array(order[first]))


def _sort(paths: pa.ChunkedArray, ranks: NDArray[np.int32]) -> NDArray[np.int64]:
    """The places of the files that have a unit, sorted by its rank and then by path.

    Listings have whole folders in the order of their names, or nearly: what is sorted already is not sorted again.
    """
    order = np.argsort(ranks, kind="stable")
    order = order[np.searchsorted(ranks[order], 0) :] if (ranks < 0).any() else order
    if len(paths) < 2:
        return order
    ascends = pc.greater(paths.slice(1), paths.slice(0, len(paths) - 1)).to_numpy(zero_copy_only=False)
    if ascends.all():
        return order
    # A unit is sorted if it stands in one piece, and its paths ascend there.
    is_inside = ranks[1:] == ranks[:-1]
    begins = np.concatenate([[True], ~is_inside])
    unsorted = np.bincount(ranks[begins] + 1) > 1
    unsorted[ranks[1:][is_inside & ~ascends] + 1] = True
    slots = np.flatnonzero(unsorted[ranks[order] + 1])
    if len(slots):
        rows = order[slots]
        batch = pa.record_batch([pa.array(ranks[rows]), _take(paths, rows)], ["rank", "path"])
        order[slots] = rows[pc.sort_indices(batch, _ascending("rank", "path")).to_numpy()]
    return order


def _take(paths: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.Array:
    taken = paths.take(pa.array(rows))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _ascending(*names: str) -> list[tuple[str, str]]:
    return [(name, "ascending") for name in names]
