"""Macro shards of rows that are there, several at once; processes make their files of tables that are folders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from scaledproc.execution.tables.table_files import Finishing, finish_in_process
from scaledproc.execution.workers.pool import Pool, cores
from scaledproc.execution.workers.recovery import WorkerLostError
from scaledproc.execution.workers.sending import sendable

if TYPE_CHECKING:
    from pathlib import Path

    from scaledproc.execution.reuse.shards import Finish
    from scaledproc.run_folder.folder import RunFolder

T = TypeVar("T")

BUILDERS = 4
"""Shards that are put together at once: some are read and hashed while others are written and flushed. On local disks
no more than there are cores, and two at least: more of them take a third more of the processors' time for the same."""


class Builders:
    """Makes shards side by side.

    Rows are put together by threads, as nearly all of that is Arrow's. The tables' files of a shard are made by
    processes: an extractor's own code may have a part in them, which threads of one process do in turn.

    Parameters
    ----------
    finishing
        What the tables' files are made with; None where they are not made here.
    pool
        Processes that make them.
    at_once
        How many shards are put together at once.
    """

    def __init__(self, finishing: Finishing | None, pool: Pool | None, at_once: int) -> None:
        self._finishing = finishing
        self._pool = pool
        self._at_once = at_once
        self._room = threading.Semaphore(at_once)  # who waits for a process holds no rows
        self._error: BaseException | None = None

    def each(self, shards: Sequence[int], make: Callable[[int, Finish | None], T]) -> list[T]:
        """What comes of making each shard, in order.

        Parameters
        ----------
        shards
            Their numbers.
        make
            Makes one, of its number and what makes its files of the tables. After an error no further one is begun.
        """
        self._error = None

        def made(shard: int) -> T:
            with self._room:
                if self._error is not None:
                    raise self._error
                try:
                    return make(shard, None if self._finishing is None else self._finish)
                except BaseException as error:
                    self._error = error
                    raise

        count = self._at_once + (0 if self._pool is None else self._pool.jobs)
        with ThreadPoolExecutor(count, thread_name_prefix="shards") as threads:
            try:
                return list(threads.map(made, shards))
            except BaseException as error:  # Ctrl-C comes to this thread
                self._error = self._error or error
                raise

    def _finish(self, shard: int, path: Path, digest: str, counts: Sequence[int]) -> bytes | None:
        assert self._pool is not None
        assert self._finishing is not None
        self._room.release()
        try:
            return self._pool.submit(partial(finish_in_process, self._finishing, shard, path, digest, counts)).result()
        except WorkerLostError:
            return None  # the last step tries it once more, and tells what is wrong
        finally:
            self._room.acquire()


@contextmanager
def builders_of(run: RunFolder, processes: Pool | None, jobs: int) -> Iterator[Builders]:
    """What makes the shards of a run.

    Parameters
    ----------
    run
        The run that is made.
    processes
        Those that are there already.
    jobs
        How many there are to be else. With one the last step makes the tables' files, one after the other too.
    """
    finishing = Finishing.of(run, sendable(run.source))
    is_alone = processes is None and jobs == 1
    at_once = BUILDERS if run.store.local is None else min(BUILDERS, max(2, cores()))
    if finishing is None or is_alone or run.store.is_private:
        yield Builders(None, None, at_once)
        return
    with ExitStack() as held:
        yield Builders(finishing, processes or held.enter_context(Pool(jobs, in_process=False)), at_once)
