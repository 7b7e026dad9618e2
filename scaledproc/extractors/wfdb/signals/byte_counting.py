"""Counting bytes of interleaved signals: numpy's way, and a compiled one, twice as fast, where numba is installed.

Both count, so both give the same numbers. The compiled one takes some 0.4 s to load in each process, and a second more
on the first run of an installation, when it is compiled: so it is used only where much is to come.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MUCH = 800 * 10**6
"""Bytes for one process, from which on loading the compiled way pays (`benchmarks/test_counting.py`)."""
PAIRS_FROM = 80_000
"""Frames of a block, from which on counting pairs wins; below, clearing and adding up 65,536 counters costs more."""
MOST_PAIRS = 16
"""Samples of a frame up to which pairs are counted: half a megabyte of counters each."""

Add = Callable[["NDArray[np.uint8]", "NDArray[np.int64]"], None]
_compiled: Add | None = None
_is_tried = False


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


def use_compiled() -> None:
    """Count the compiled way from now on, if that can be had; nothing where it was tried before."""
    global _compiled, _is_tried
    if _is_tried:
        return
    _is_tried = True
    if sys.byteorder != "little":  # it takes words apart from their low end
        return
    with contextlib.suppress(Exception):  # not installed, or it cannot keep what it compiles: numpy does the same
        _compiled = _compile()


def _compile() -> Add:
    from numba import njit

    count: Any = njit(cache=True, nogil=True)(_count)

    def add(block: NDArray[np.uint8], histograms: NDArray[np.int64]) -> None:
        width = block.shape[1]
        flat = block.reshape(-1)
        whole = len(flat) - len(flat) % (8 * width)
        count(flat[:whole].view(np.uint64), flat[whole:], histograms)

    add(np.zeros((1, 1), np.uint8), np.zeros((1, 256), np.int64))
    return add


def _count(words: Any, rest: Any, histograms: Any) -> None:
    """Count bytes, eight of them at a time.

    Each byte of a word has counters of its own, so that equal neighbours do not wait for each other's.
    """
    width = len(histograms)
    counters = np.zeros((width, 8, 256), np.uint32)
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
