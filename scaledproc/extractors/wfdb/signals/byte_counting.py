"""Counting bytes of interleaved signals: numpy's way, and a compiled one, twice as fast, where numba is installed.

Both count, so both give the same numbers. The compiled one takes some 0.04 s to load in each process, and some seconds
on the first run of an installation, when it is compiled: so it is used only where enough is to come.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.machine_code import Entry, Library, load_where_it_pays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.machine_code import Functions

LITTLE = 80 * 10**6
"""Bytes for one process, from which on loading pays what was compiled before (`benchmarks/test_counting.py`)."""
MUCH = 3 * 10**9
"""Bytes for one process, from which on compiling pays, once on a machine."""
PAIRS_FROM = 80_000
"""Frames of a block, from which on counting pairs wins; below, clearing and adding up 65,536 counters costs more."""
MOST_PAIRS = 16
"""Samples of a frame up to which pairs are counted: half a megabyte of counters each."""

Add = Callable[["NDArray[np.uint8]", "NDArray[np.int64]"], None]
_compiled: Add | None = None


class ByteCounts:
    """Histograms of the columns of blocks of bytes.

    Parameters
    ----------
    width
        Bytes of a frame.
    """

    def __init__(self, width: int) -> None:
        self._histograms = np.zeros((width, 256), np.int64)
        self._joint: list[NDArray[np.int64]] = []
        self._is_empty = True

    def add(self, block: NDArray[np.uint8]) -> None:
        """Count a block of shape (frames, width), contiguous."""
        if _compiled is not None:
            _compiled(block, self._histograms)
            return
        width = block.shape[1]
        if len(block) >= PAIRS_FROM and width <= MOST_PAIRS:
            block = self._add_pairs(block)
        if not len(block):
            return
        counted = [np.bincount(block[:, column], minlength=256) for column in range(width)]
        if self._is_empty:  # most signal files are one block
            self._histograms[:], self._is_empty = counted, False
        else:
            self._histograms += counted

    def _add_pairs(self, block: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Count two neighbours as one 16-bit number, in half the steps; what is left is returned."""
        width = block.shape[1]
        whole = len(block) - len(block) % 2
        pairs = block[:whole].reshape(-1).view("<u2").reshape(-1, width)  # a row is two frames
        counted = [np.bincount(pairs[:, column], minlength=65_536) for column in range(width)]
        if self._joint:
            for table, more in zip(self._joint, counted, strict=True):
                table += more
        else:  # most signal files are one block
            self._joint = counted
        return block[whole:]

    def total(self) -> NDArray[np.int64]:
        """How often each byte occurred in each column, shape (width, 256)."""
        width = len(self._histograms)
        for column, counted in enumerate(self._joint):  # each column's histogram is a margin of those of pairs
            table = counted.reshape(256, 256)  # the high byte is the later one
            self._histograms[(2 * column) % width] += table.sum(axis=0)
            self._histograms[(2 * column + 1) % width] += table.sum(axis=1)
        self._joint = []
        return self._histograms


def use_compiled(size: int) -> None:
    """Count the compiled way from now on, if that pays for so many bytes and can be had."""
    global _compiled
    if _compiled is not None or sys.byteorder != "little":  # it takes words apart from their low end
        return
    functions = load_where_it_pays(LIBRARY, size, little=LITTLE, much=MUCH)
    if functions is not None:
        _compiled = compiled_of(functions)


def compiled_of(functions: Functions) -> Add:
    """The compiled way, of the functions of `LIBRARY`."""
    count = functions["count"]

    def add(block: NDArray[np.uint8], histograms: NDArray[np.int64]) -> None:
        width = block.shape[1]
        flat = block.reshape(-1)
        whole = len(flat) - len(flat) % (8 * width)
        count(flat[:whole].view(np.uint64), flat[whole:], histograms, np.zeros((width, 8, 256), np.uint32))

    return add


def _count(words: Any, rest: Any, histograms: Any, counters: Any) -> None:
    """Count bytes, eight of them at a time.

    Each byte of a word has counters of its own, all 0, so that equal neighbours do not wait for each other's.
    """
    width = len(histograms)
    place = 0
    for _ in range(len(words) // width):
        for column in range(width):
            word = words[place]
            place += 1
            for byte in range(8):
                counters[column, byte, (word >> np.uint64(8 * byte)) & np.uint64(255)] += np.uint32(1)
    for column in range(width):
        for byte in range(8):
            of = (8 * column + byte) % width
            for value in range(256):
                histograms[of, value] += counters[column, byte, value]
    for place in range(len(rest)):
        histograms[place % width, rest[place]] += 1


def _trial() -> list[Any]:
    """Two words and three bytes of three columns."""
    values = np.arange(51, dtype=np.uint8) * np.uint8(83)
    return [values[:48].view(np.uint64), values[48:], np.zeros((3, 256), np.int64), np.zeros((3, 8, 256), np.uint32)]


LIBRARY = Library(
    __name__, {"count": Entry(_count, "uint64[::1], uint8[::1], int64[:,::1], uint32[:,:,::1]", [_trial])}
)
