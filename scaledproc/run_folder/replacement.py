"""A finished run in `update/` takes the place of the one above it, file by file, so that it can be gone on with.

That `update/run.json` says `done` is the journal: from then on there is only the way forward. `run.json` above is
replaced last. Until then it is the earlier run's, and each file beside it is either that one's or the new one's, and
whole.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import (
    ERROR_LOG,
    FEATURES,
    MAIN_TABLE,
    RECORD,
    REPORT,
    SHARDS,
    UPDATE,
    common_metadata_name,
    shard_name,
)
from scaledproc.run_folder.record import RunRecord, read_record
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import READERS

if TYPE_CHECKING:
    from scaledproc.storage.store import Store


UPDATES = "updates"
"""The option in the run.json of an update that says which beginning of which run it takes the place of."""


def is_half_replaced(run: Run) -> bool:
    """Whether an update of a run is whole, and not yet all in its place."""
    there = update_of(run)
    return there is not None and there.record.state == "done" and _updates(there.record) == run.record.work_id


def _updates(record: RunRecord) -> object:
    return record.options.get(UPDATES)


def replace_run(store: Store, earlier: RunRecord) -> RunRecord:
    """Put the run that is in `update/` in the place of the one above; the same call continues where it was ended.

    Parameters
    ----------
    store
        The folder above.
    earlier
        What run.json there says.

    Raises
    ------
    ScaledprocError
        If a file of the new run is gone from both places.
    """
    above = read_record(store.child(UPDATE))
    assert above is not None
    names = [*above.digests, *(shard_name(int(shard["shard"])) for shard in above.shards)]
    is_table = {*above.files_of_table(), FEATURES, common_metadata_name(MAIN_TABLE)}
    names.sort(key=lambda name: (name in is_table, not name.startswith(f"{SHARDS}/")))  # the table last

    def put(name: str) -> None:
        try:
            store.put_in_place(f"{UPDATE}/{name}", name)
        except FileNotFoundError:  # put there before
            return

    with ThreadPoolExecutor(READERS, thread_name_prefix="replace") as pool:
        list(pool.map(put, names[:-1]))
    put(names[-1])
    had = [*earlier.digests, ERROR_LOG, *(f"{name}.csv" for name in earlier.summaries)]
    for table in (MAIN_TABLE, *earlier.tables):  # which have no digests while they are combined anew
        had += [*earlier.files_of_table(table), common_metadata_name(table)]
    had += [shard_name(shard) for shard in range(earlier.counts["shards"])]
    stale = {*had} - {*names}
    store.remove_files(sorted(stale))
    sizes = store.sizes(above.sizes, listed=False)
    wrong = sorted(name for name, size in above.sizes.items() if sizes.get(name) != size)
    if wrong:
        raise ScaledprocError(
            f"{store}/{wrong[0]} is not what the update made, which {UPDATE}/ has no more; --overwrite redoes it"
        )
    store.remove_files([REPORT])  # of the earlier run; the new one's is made when it is here
    store.put_in_place(f"{UPDATE}/{RECORD}", RECORD)
    store.remove_files([f"{UPDATE}/{RECORD}"])  # by its name, as a listing may lag behind
    store.remove(UPDATE)
    return above


def update_of(run: Run) -> RunFolder | None:
    """The run in `update/`, which takes this one's place once it is whole; None where there is none."""
    try:
        record = read_record(run.store.child(UPDATE))
    except ScaledprocError:  # of a newer version, or damaged: it is no more than a folder that is in the way
        return None
    if record is None or record.state == "beginning":
        return None
    return RunFolder(run.store.child(UPDATE), run.dataset, run.source, record)
