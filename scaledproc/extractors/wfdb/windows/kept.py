"""The samples of a signal that are kept while its windows are measured."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

compiled: Taking | None = None
"""The compiled functions, where they are in use."""
_LEAST_SPARE, _MOST_SPARE = 2**15, 2**20
"""Samples of a signal whose memory is held for the next one, as the system clears fresh memory of that size; and of all
that a thread holds."""


class Taking(NamedTuple):
    """Compiled functions that make samples of 32 bits of a column of stored ones.

    Each takes the block, shape (frames, columns), the column, and the samples, which it fills.
    """

    of_bytes: Callable[..., None]
    """Of format 80, which stores samples with 128 added."""
    of_words: Callable[..., None]
    """Of 16 bits."""


class _Spare(threading.local):
    """Memory of a thread's signals that are done, the smallest first."""

    def __init__(self) -> None:
        self.rooms: list[NDArray[np.int32]] = []
        self.size = 0


_spare = _Spare()


class Kept:
    """Samples in one piece of memory, which is used again: new memory for each block costs more than the copy."""

    __slots__ = ("_begin", "_end", "_room")

    def __init__(self) -> None:
        self._room = np.empty(0, np.int32)
        self._begin = self._end = 0

    def __len__(self) -> int:
        """How many are kept."""
        return self._end - self._begin

    @property
    def samples(self) -> NDArray[np.int32]:
        """All that are kept; up to the next call of `append`, which may move them."""
        return self._room[self._begin : self._end]

    def append(self, samples: NDArray[np.integer]) -> None:
        """Keep a copy of samples, which have 32 bits at most."""
        self._more(len(samples))[:] = samples

    def takes(self, block: NDArray[np.integer], column: int) -> bool:
        """Keep the samples of a column of a block as it is stored, if compiled code can do that.

        Parameters
        ----------
        block
            Shape (frames, columns), of 16 bits, or of 8 bits as format 80 has them.
        column
            The number of the column.
        """
        if compiled is None or not block.flags.c_contiguous:
            return False
        of = compiled.of_bytes if block.dtype == np.uint8 else compiled.of_words if block.dtype == np.int16 else None
        if of is None:
            return False
        if len(block):
            of(block, column, self._more(len(block)))
        return True

    def _more(self, n: int) -> NDArray[np.int32]:
        """Memory behind the samples for so many more, which are kept from now on."""
        stop = self._end + n
        if stop > len(self._room):
            kept = self.samples
            stop -= self._begin
            if stop > len(self._room):
                self._room = _room(stop)
            self._room[: len(kept)] = kept
            self._begin, self._end = 0, len(kept)
        more = self._room[self._end : stop]
        self._end = stop
        return more

    def drop(self, n: int) -> None:
        """Let go the first ones, so many or all."""
        self._begin = min(self._begin + n, self._end)

    def clear(self) -> None:
        """Let go all, with their memory."""
        room, self._room = self._room, np.empty(0, np.int32)
        self._begin = self._end = 0
        if len(room) >= _LEAST_SPARE and _spare.size + len(room) <= _MOST_SPARE:
            _spare.size += len(room)
            _spare.rooms.append(room)
            _spare.rooms.sort(key=len)


def _room(least: int) -> NDArray[np.int32]:
    """Memory for so many samples or more, of a signal that is done if that has left enough."""
    for place, room in enumerate(_spare.rooms):
        if len(room) >= least:
            _spare.size -= len(room)
            return _spare.rooms.pop(place)
    return np.empty(least + least // 4, np.int32)
