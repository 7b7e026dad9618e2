"""Parts of paths, for millions at once: folders, groups, stems, from the bytes of Arrow's buffers.

A `/` and a `.` are one byte each in UTF-8 and part of no other character, so that no text is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2**20
"""Rows at once: what is made of them in between stays small."""

# `scan.nii.gz` and `scan.json` share the stem `scan`: a compression's own ending does not count as the extension.
_COMPRESSIONS = (b"gz", b"bz2", b"xz", b"zst", b"lz4", b"Z")
_SLASH, _DOT = b"/."


class _Bytes(NamedTuple):
    """A block of paths: their bytes, and where each begins and ends in them."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def blocks(paths: pa.ChunkedArray) -> Iterator[pa.Array]:
    """The paths (large_string, without nulls) in pieces of at most `BLOCK` rows."""
    for chunk in paths.chunks:
        for start in range(0, len(chunk), BLOCK):
            yield chunk.slice(start, BLOCK)


def folders(block: pa.Array) -> pa.Array:
    """The folder of each path: what is before its last `/`, empty where there is none."""
    text = _bytes_of(block)
    return _prefixes(text, np.maximum(_last(text, _SLASH), text.starts))


def tops(block: pa.Array) -> pa.Array:
    """The top folder of each path: what is before its first `/`, empty where there is none."""
    text = _bytes_of(block)
    slashes = np.append(np.flatnonzero(text.data == _SLASH), len(text.data))
    first = slashes[np.searchsorted(slashes, text.starts)]
    return _prefixes(text, np.where(first < text.ends, first, text.starts))


def stems(block: pa.Array) -> pa.Array:
    """The paths without their extensions (`.gz` and its like count as part of the extension before them)."""
    text = _bytes_of(block)
    names = np.maximum(_last(text, _SLASH) + 1, text.starts)
    dots = np.append(np.flatnonzero(text.data == _DOT), -1)  # the last is what an index of -1 finds
    at = np.searchsorted(dots[:-1], text.ends) - 1
    last = dots[at]
    has_extension = last > names  # a name that begins with its only dot has none
    before = dots[np.maximum(at, 0) - 1]
    is_compressed = has_extension & (before > names) & _ends_in_compression(text, last)
    return _prefixes(text, np.where(is_compressed, before, np.where(has_extension, last, text.ends)))


def encode(paths: pa.ChunkedArray, part: Callable[[pa.Array], pa.Array]) -> tuple[NDArray[np.int32], pa.Array]:
    """A part of each path as a number.

    Parameters
    ----------
    paths
        large_string, without nulls.
    part
        Makes of a block of paths as many texts or nulls.

    Returns
    -------
    tuple
        For each path the place of its part in what comes second, -1 for null, shape (paths,); the distinct parts.
    """
    codes, found = [], [pa.array([], pa.large_string())]
    for block in blocks(paths):
        encoded = part(block).dictionary_encode()
        codes.append(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        found.append(encoded.dictionary)
    distinct = pa.concat_arrays(found).dictionary_encode()
    places = np.append(distinct.indices.to_numpy(zero_copy_only=False), -1).astype(np.int32)
    first = 0
    for number, block_codes in enumerate(codes):
        codes[number] = places[np.where(block_codes < 0, -1, block_codes + first)]
        first += len(found[number + 1])
    return np.concatenate([np.zeros(0, np.int32), *codes]), distinct.dictionary


def _bytes_of(block: pa.Array) -> _Bytes:
    _, offsets, data = block.buffers()
    n = len(block)
    if not n or data is None:
        return _Bytes(np.zeros(0, np.uint8), np.zeros(n, np.int64), np.zeros(n, np.int64))
    bounds = np.frombuffer(offsets, np.int64)[block.offset : block.offset + n + 1]
    text = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    return _Bytes(text, bounds[:-1] - bounds[0], bounds[1:] - bounds[0])


def _last(text: _Bytes, byte: int) -> NDArray[np.int64]:
    """Where each path has a byte last, before its start or -1 where it has it nowhere."""
    found = np.append(np.flatnonzero(text.data == byte), -1)
    last: NDArray[np.int64] = found[np.searchsorted(found[:-1], text.ends) - 1]
    return last


def _ends_in_compression(text: _Bytes, dots: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(len(dots), bool)
    for ending in _COMPRESSIONS:
        rows = np.flatnonzero(text.ends - dots - 1 == len(ending))
        same = np.ones(len(rows), bool)
        for place, byte in enumerate(ending, start=1):
            same &= text.data[dots[rows] + place] == byte
        found[rows[same]] = True
    return found


def _prefixes(text: _Bytes, stops: NDArray[np.int64]) -> pa.Array:
    """Each path up to a place in the block's bytes."""
    lengths = stops - text.starts
    taken_and_left = np.column_stack([lengths, text.ends - stops]).ravel()
    kept = text.data[np.repeat(np.tile([True, False], len(lengths)), taken_and_left)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(kept))
