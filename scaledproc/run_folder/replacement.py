"""A finished run in `update/` takes the place of the one above it, file by file, so that it can be gone on with.

That `update/run.json` says `done` is the journal: from then on there is only the way forward. `run.json` above is
replaced last. Until then it is the earlier run's, and each file beside it is either that one's or the new one's, and
whole.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from scaledproc.errors import ScaledprocError
from scaledproc.run_folder.folder import READERS, RunFolder
from scaledproc.run_folder.names import ERROR_LOG, FEATURES, RECORD, SHARDS, UPDATE, shard_name
from scaledproc.run_folder.record import RunRecord, read_record

if TYPE_CHECKING:
    from scaledproc.storage.store import Store


def is_half_replaced(store: Store) -> bool:
    """Whether an update of the run in a folder is whole, and not yet all in its place."""
    try:
        record = read_record(store.child(UPDATE))
    except ScaledprocError:  # of a newer version, or damaged: it is no more than a folder that is in the way
        return False
    return record is not None and record.state == "done"


def replace_run(store: Store, earlier: RunRecord | None) -> RunRecord:
    """Put the run that is in `update/` in the place of the one above; the same call continues where it was ended.

    Parameters
    ----------
    store
        The folder above.
    earlier
        What run.json there says; None where it cannot be read.

    Raises
    ------
    ScaledprocError
        If a file of the new run is gone from both places.
    """
    above = read_record(store.child(UPDATE))
    assert above is not None  # noqa: S101
    names = [*above.digests, *(shard_name(int(shard["shard"])) for shard in above.shards)]
    names.sort(key=lambda name: (name == FEATURES, not name.startswith(f"{SHARDS}/")))  # the table last

    def put(name: str) -> None:
        try:
            store.put_in_place(f"{UPDATE}/{name}", name)
        except FileNotFoundError:  # put there before
            return

    with ThreadPoolExecutor(READERS, thread_name_prefix="replace") as pool:
        list(pool.map(put, names[:-1]))
    put(names[-1])
    stale = set()
    if earlier is not None:
        kept = set(names)
        had = [*earlier.digests, ERROR_LOG, *(f"{name}.csv" for name in earlier.summaries)]
        had += [shard_name(shard) for shard in range(earlier.counts["shards"])]
        stale = {name for name in had if name not in kept}
    store.remove_files(sorted(stale))
    sizes = store.sizes(above.sizes, listed=False)
    wrong = sorted(name for name, size in above.sizes.items() if sizes.get(name) != size)
    if wrong:
        raise ScaledprocError(
            f"{store}/{wrong[0]} is not what the update made, which {UPDATE}/ has no more; --overwrite redoes it"
        )
    store.put_in_place(f"{UPDATE}/{RECORD}", RECORD)
    store.remove(UPDATE)
    return above


def update_of(run: RunFolder) -> RunFolder | None:
    """The run in `update/` that is at work to take this one's place; None where there is none."""
    try:
        record = read_record(run.store.child(UPDATE))
    except ScaledprocError:
        return None
    if record is None or record.state == "beginning":
        return None
    return RunFolder(run.store.child(UPDATE), run.dataset, run.source, record)
