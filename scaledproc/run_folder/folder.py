"""A run's folder as the engine changes it: what an unfinished run needs goes when the run is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.names import (
    IN_WORK,
    LOGS,
    MAIN_TABLE,
    RECORD,
    SHARDS,
    TABLE_FILE,
    UPDATE,
    WORK,
    common_metadata_name,
    log_name,
    names_around,
    numbers_in,
    shard_name,
    table_name,
)
from scaledproc.run_folder.record import OTHER_FORM, read_record
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan


class RunFolder(Run):
    """A run's folder as the engine and the backends have it, who write it; a user has a `Run`, which only reads."""

    def __post_init__(self) -> None:
        """Keep the store as it is given, with its fence."""

    @property
    def view(self) -> Run:
        """The run as a user is given it, who can only read it."""
        view = Run(self.store, self.dataset, self.source, self.record)
        if "plan" in self.__dict__:
            view.__dict__["plan"] = self.plan
        return view

    def knowing(self, plan: Plan | None) -> Self:
        """The same run with its plan at hand, which need not be read then."""
        if plan is not None:
            self.__dict__["plan"] = plan  # where the cached property keeps it
        return self

    def with_record(self, **changes: Any) -> RunFolder:
        """The run after a change of run.json, which is written."""
        changed = replace(self, record=replace(self.record, **changes))
        changed.store.write(RECORD, changed.record.to_json().encode(), replacing=True)
        return changed.knowing(self.__dict__.get("plan"))

    def within(self, store: Store) -> RunFolder:
        """The same run in the same folder, as a store that may be allowed more or less."""
        return replace(self, store=store).knowing(self.__dict__.get("plan"))

    def clean_up(self) -> None:
        """Remove what only an unfinished run needs, and what killed commits left."""
        remove_unlisted(
            self.store, [name for shard in range(self.record.counts["shards"]) for name in names_around(shard)]
        )
        remove_own(self.store, WORK, IN_WORK)
        self._remove_replaced()
        self._remove_other_form()
        self._remove_update()
        for folder in ("", SHARDS, *(self._tables if self.record.has_table_folders else ())):
            self.store.remove_temporaries(folder)

    @property
    def _tables(self) -> tuple[str, ...]:
        """The names of all tables, those of the run that was here before too."""
        return tuple(dict.fromkeys([MAIN_TABLE, *self.record.tables, *self.record.replaces.get("tables", ())]))

    def remove_tables(self) -> None:
        """Remove the tables of a run that is not done, in whichever form they are."""
        self.store.remove_files([table_name(table) for table in self._tables])
        for table in self._tables:
            remove_own(self.store, table, TABLE_FILE)

    def _remove_other_form(self) -> None:
        """Remove what is left of tables in the form that they had before, and of folders that had more files."""
        is_known = self.record.replaces.get("folders") or OTHER_FORM in self.record.options
        if self.record.has_table_folders:
            names = [table_name(table) for table in self._tables]
            self.store.remove_files([name for name in names if name not in self.record.digests])
        if self.store.local is None and not is_known:
            return  # nothing of the kind was ever there, and it takes a request each to see that
        for table in self._tables:
            if common_metadata_name(table) not in self.record.digests:
                remove_own(self.store, table, TABLE_FILE)
                continue
            left = [f"{table}/{name}" for name in self.store.names(table) if TABLE_FILE.fullmatch(name)]
            self.store.remove_files([name for name in left if name not in self.record.digests])

    def _remove_update(self) -> None:
        """Remove what is left of an update that took this run's place, but none that is being made."""
        if not self.store.names(UPDATE):
            return
        try:
            left = read_record(self.store.child(UPDATE))
        except ScaledprocError:
            return
        if left is None or left.state == "done":
            self.store.remove(UPDATE)

    def _remove_replaced(self) -> None:
        """Remove what an earlier run left, as far as this one has put nothing in its place."""
        replaces = self.record.replaces
        if not replaces:
            return
        count = self.record.counts["shards"]
        shards = {*range(replaces["shards"]), *numbers_in(self.store.names(SHARDS), ".parquet")}
        names = [f"{name}.csv" for name in replaces["summaries"] if name not in self.record.summaries]
        names += [table_name(name) for name in replaces.get("tables", ()) if name not in self.record.tables]
        names += [shard_name(shard) for shard in sorted(shards) if shard >= count]
        names += [log_name(shard) for shard in sorted(numbers_in(self.store.names(LOGS), ".log"))]
        self.store.remove_files([name for name in names if name not in self.record.digests])


def remove_unlisted(store: Store, names: Sequence[str]) -> None:
    """Remove files by their names, where a listing may not show them."""
    if not store.lists_all:
        store.remove_files(names)


def remove_own(store: Store, folder: str, own: re.Pattern[str]) -> None:
    """Remove from a folder what a run wrote, and the folder itself if nothing else was in it."""
    store.remove_temporaries(folder)
    names = store.names(folder)
    if all(map(own.fullmatch, names)):
        store.remove(folder)
        return
    for name in filter(own.fullmatch, names):
        store.remove(f"{folder}/{name}")
