"""Committed chunks: their names, what their footers say, and which of a shard are there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.events import ChunkDone
from scaledproc.run_folder.names import work_name
from scaledproc.run_folder.shard_report import costs_of
from scaledproc.storage.parquet import open_reader, read_note
from scaledproc.storage.store import Store, is_refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray


def chunk_name(shard: int, chunk: int) -> str:
    """The name of a committed chunk, without its ending."""
    return work_name(shard, f"{chunk:06d}")


@dataclass(frozen=True)
class ChunkFooter:
    """What a committed chunk says of itself.

    Parameters
    ----------
    done
        What became of it.
    counts
        How many rows each of its tasks gave.
    positions
        The tasks' places in the plan, where they are not all of the chunk's.
    schema
        Of its rows.
    costs
        What each of its tasks cost, shape (tasks, 4).
    """

    done: ChunkDone
    counts: tuple[int, ...]
    positions: tuple[int, ...]
    schema: pa.Schema
    costs: NDArray[np.int64]


def read_footer(store: Store, work_id: str, shard: int, chunk: int) -> ChunkFooter | None:
    """What a committed chunk says; None where it is not there whole, contradicts itself, or is another run's."""
    with open_chunk(store, work_id, shard, chunk) as found:
        return found[0] if found else None


@contextlib.contextmanager
def open_chunk(
    store: Store, work_id: str, shard: int, chunk: int
) -> Iterator[tuple[ChunkFooter, pq.ParquetFile] | None]:
    """A committed chunk's footer as `read_footer` gives it, and its file: who wants both asks the store once."""
    name = chunk_name(shard, chunk)
    with contextlib.ExitStack() as held:
        try:
            source = held.enter_context(store.open_for_arrow(f"{name}.parquet"))
            file = held.enter_context(open_reader(source))
            found = read_note(file, source)
            done = ChunkDone.from_dict(found["done"], resumed=True)
            counts = tuple(np.diff(np.asarray(found["ends"], np.int64), prepend=0).tolist())
            positions = tuple(np.asarray(found["positions"], np.int64).tolist())
            costs = costs_of(found.get("costs", ()), len(counts))
            footer = ChunkFooter(done, counts, positions, file.schema_arrow.remove_metadata(), costs)
            is_whole = (
                found["work_id"] == work_id
                and (done.shard, done.chunk) == (shard, chunk)
                and file.metadata.num_rows == done.rows == sum(counts)
                and len(counts) == done.tasks
                and min(counts, default=0) >= 0
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            is_whole = False
        except OSError as error:
            if is_refusal(error):
                raise  # that it cannot be read does not say that it is not there
            is_whole = False
        if not is_whole or not _has_all(store, name, done):
            yield None
        else:
            yield footer, file


def _has_all(store: Store, name: str, done: ChunkDone) -> bool:
    """Whether the files beside a chunk are there."""
    beside = ((done.quarantined, "errors"), (done.said, "said"))
    return all(store.exists(f"{name}.{what}.parquet") for count, what in beside if count)


def committed_chunks(
    store: Store, work_id: str, shard: int, wanted: Iterable[int] = (), schema: pa.Schema | None = None
) -> Iterator[ChunkDone]:
    """The chunks of a macro shard that are committed and not yet made into the shard.

    Parameters
    ----------
    wanted
        Chunks that are looked for also where they are not listed: a listing of some stores lags behind.
    schema
        Of their rows, where others do not count.
    """
    names = {name.partition(".") for name in store.names(work_name(shard, ""))}
    numbers = {int(number) for number, _, ending in names if ending == "parquet" and number.isdecimal()}
    if not store.lists_all:
        unlisted = {f"{chunk_name(shard, number)}.parquet": number for number in wanted if number not in numbers}
        numbers.update(unlisted[name] for name in store.there(unlisted))
    for number in sorted(numbers):
        chunk = read_footer(store, work_id, shard, number)
        if chunk is not None and (schema is None or chunk.schema.equals(schema.remove_metadata())):
            yield chunk.done
