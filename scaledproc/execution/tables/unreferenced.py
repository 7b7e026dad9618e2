"""Companions that no row was made from, such as signal files that no header names; told at the end of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from scaledproc.planning.inventory import globs_of, matches
from scaledproc.run_folder.names import ERRORS, INVENTORY
from scaledproc.storage.parquet import read_tables

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.run_folder.run import Run

SHOWN = 3
KNOWN = 2**16
"""Names that are remembered: a file may be named by several rows, which lie near each other."""


class Unreferenced:
    """The companions in a run's units that no row names.

    Both rows and files come in the plan's order, so only the files are held that are not yet named and lie before the
    rows that were seen.

    Parameters
    ----------
    run
        Whose.
    extractor
        Says which files are companions, and which column names them.
    """

    def __init__(self, run: Run, extractor: Extractor) -> None:
        self._run = run
        self._globs = extractor.companions
        self._column = extractor.companion_column
        self._coming = self._companions() if self._globs and self._column else iter(())
        self._waiting = self._known = pa.array([], pa.string())

    def see(self, rows: pa.Table) -> None:
        """Note which companions finished rows name, given in the table's order."""
        import pyarrow.compute as pc

        if self._column is None or not self._globs:
            return
        named = pc.unique(rows[self._column].combine_chunks().cast(pa.string())).drop_null()
        new = named.filter(pc.invert(pc.is_in(named, value_set=self._known)))
        while not pc.all(pc.is_in(new, value_set=self._waiting), min_count=0).as_py():
            more = next(self._coming, None)
            if more is None:
                break
            self._waiting = pa.concat_arrays([self._waiting, more])
        self._waiting = self._waiting.filter(pc.invert(pc.is_in(self._waiting, value_set=new)))
        known = pa.concat_arrays([self._known, new])
        self._known = known.slice(max(len(known) - KNOWN, 0))

    def notes(self, quarantined: int) -> list[str]:
        """What is to be told after all rows were seen; nothing of files that a quarantined task may have named."""
        left = pa.concat_arrays([self._waiting, *self._coming])
        paths = [path.as_py() for path in left] if quarantined and len(left) else []
        if paths:
            folders = self._folders_of_quarantined()
            left = pa.array([path for path in paths if not any(f in folders for f in _above(path))], pa.string())
        if not len(left):
            return []
        shown = ", ".join(repr(path) for path in left[:SHOWN].to_pylist()) + (", …" if len(left) > SHOWN else "")
        return [f"{len(left):,} {' or '.join(globs_of(left, self._globs))} that no task's header names: {shown}"]

    def _companions(self) -> Iterator[pa.Array]:
        with contextlib.closing(read_tables(self._run.store, INVENTORY, ["path"])) as tables:  # type: ignore[type-var]  # a generator
            for table in tables:
                paths = table["path"].cast(pa.string())
                yield paths.filter(matches(paths, self._globs)).combine_chunks()

    def _folders_of_quarantined(self) -> set[str]:
        tables = read_tables(self._run.store, ERRORS, ["anchor"])
        return {path.rpartition("/")[0] for table in tables for path in table["anchor"].to_pylist()}


def _above(path: str) -> Iterator[str]:
    """The folders that a path lies in; the root is the empty one."""
    while path:
        path = path.rpartition("/")[0]
        yield path
