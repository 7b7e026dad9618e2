"""Companions that no row was made from, such as signal files that no header names; told at the end of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from scaledproc.planning.inventory import globs_of, matches
from scaledproc.run_folder.names import ERRORS, INVENTORY, PLAN
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
        options = run.record.options
        self._anchors = tuple({*extractor.anchors, *options.get("anchors", ())})
        self._is_selected = bool(options.get("only")) or {*options.get("anchors", ())} != {*extractor.anchors}
        self._column = extractor.companion_column
        self._coming = self._companions() if self._globs and self._column else iter(())
        self._waiting = self._known = pa.array([], pa.string())

    def see(self, rows: pa.Table) -> None:
        """Note which companions finished rows name, given in the table's order."""
        import pyarrow.compute as pc

        if self._column is None or not self._globs:
            return
        named = pc.unique(rows[self._column].combine_chunks().cast(pa.string())).drop_null()
        # Rows may name files of other kinds too, which never come.
        named = named.filter(matches(pa.chunked_array([named]), self._globs).combine_chunks())
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
        """What is to be told after all rows were seen.

        Nothing of units with a header whose rows are not there: a quarantined task's, or one that starts no task of
        this run, as `--only` and `--anchor` leave out some beside others.
        """
        left = pa.concat_arrays([self._waiting, *self._coming])
        if len(left) and (quarantined or self._is_selected):
            left = self._without_unread(left, quarantined)
        if not len(left):
            return []
        shown = ", ".join(repr(path) for path in left[:SHOWN].to_pylist()) + (", …" if len(left) > SHOWN else "")
        return [f"{len(left):,} {' or '.join(globs_of(left, self._globs))} that no task's header names: {shown}"]

    def _companions(self) -> Iterator[pa.Array]:
        with contextlib.closing(read_tables(self._run.store, INVENTORY, ["path"])) as tables:  # type: ignore[type-var]  # a generator
            for table in tables:
                paths = table["path"].cast(pa.string())
                yield paths.filter(matches(paths, self._globs)).combine_chunks()

    def _without_unread(self, left: pa.Array, quarantined: int) -> pa.Array:
        """Those of some companions in whose units all headers gave their rows."""
        import pyarrow.compute as pc

        found = self._in_inventory(lambda table: pc.is_in(table["path"], value_set=left))
        units = pc.unique(found["unit"].combine_chunks())
        headers = self._in_inventory(
            lambda table: pc.and_(pc.is_in(table["unit"], value_set=units), matches(table["path"], self._anchors))
        )
        paths = headers["path"].combine_chunks()
        is_read = self._are_in(PLAN, paths)
        if quarantined:
            is_read = pc.and_not(is_read, self._are_in(ERRORS, paths))
        unread = headers["unit"].filter(pc.invert(is_read)).combine_chunks()
        return found["path"].filter(pc.invert(pc.is_in(found["unit"], value_set=unread))).combine_chunks()

    def _in_inventory(self, wanted: Callable[[pa.Table], pa.ChunkedArray]) -> pa.Table:
        """Paths and units of some of the files."""
        pieces = [_FILES.empty_table()]
        for table in read_tables(self._run.store, INVENTORY, _FILES.names):
            files = table.cast(_FILES)
            pieces.append(files.filter(wanted(files)))
        return pa.concat_tables(pieces)

    def _are_in(self, name: str, anchors: pa.Array) -> pa.Array:
        """Which of some anchors a file of the run has."""
        import pyarrow.compute as pc

        found = [pa.array([], pa.string())]
        for table in read_tables(self._run.store, name, ["anchor"]):
            known = table["anchor"].cast(pa.string())
            found.append(known.filter(pc.is_in(known, value_set=anchors)).combine_chunks())
        return pc.is_in(anchors, value_set=pa.concat_arrays(found))


_FILES = pa.schema([("path", pa.string()), ("unit", pa.int64())])
