"""A WFDB signal file block by block, in memory that is used again: for formats whose samples stand at fixed places."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from scaledproc.storage.local_files import READ, open_located

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Values of the samples of a format: signal(5).
BITS = {"8": 8, "80": 8, "212": 12, "310": 10, "311": 10, "16": 16, "61": 16, "160": 16, "24": 24, "32": 32}
_PACKED = {"212": (0, 2, 3), "310": (0, 2, 4, 4), "311": (0, 2, 3, 4)}
"""Of formats that pack samples: the bytes that the first ones of a pack need; the last are those of a whole one."""
_DTYPES = {"8": "i1", "80": "u1", "16": "<i2", "61": ">i2", "160": "<u2", "32": "<i4"}
_OFFSETS = {"80": 128, "160": 32768}
BLOCK = 2**22
"""Bytes that are read at once. Fresh memory for each file takes as long as counting it: the system clears it first."""
_own = threading.local()


def byte_count(fmt: str, n: int) -> int:
    """Bytes that `n` samples need."""
    pack = _PACKED.get(fmt)
    if pack is None:
        return n * BITS[fmt] // 8
    packs, rest = divmod(n, len(pack) - 1)
    return packs * pack[-1] + pack[rest]


def frames_in(size: int, fmt: str, width: int) -> int:
    """How many whole frames of so many samples are in so many bytes."""
    pack = _PACKED.get(fmt)
    if pack is None:
        return size * 8 // (BITS[fmt] * width)
    packs, rest = divmod(size, pack[-1])
    return (packs * (len(pack) - 1) + sum(need <= rest for need in pack[1:-1])) // width


def open_regular(path: str, flags: int = 0) -> int:
    """A file handle for reading; never waits for the other end of a pipe. `flags` are further ones of `os.open`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the path is that of no regular file.
    """
    return open_sized(path, flags)[0]


def open_sized(path: str, flags: int = 0) -> tuple[int, int]:
    """The handle that `open_regular` gives, and how many bytes the file has."""
    handle = os.open(path, READ | flags) if flags else open_located(path)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise ValueError(f"{os.path.basename(path)} is no regular file")  # noqa: PTH119 - of a text
    return handle, status.st_size


def raw_blocks(
    handle: int, offset: int, size: int, multiple: int, most: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """So many bytes of a file, each block a multiple of so many bytes, but for the last one; `BLOCK` or fewer at once.

    A block is gone once the next one is asked for.

    Raises
    ------
    ValueError
        If the file ends before so many bytes were read.
    """
    buffer = _buffer(multiple)
    if most is not None:
        buffer = buffer[: max(most, multiple)]
    memory = memoryview(buffer)  # type: ignore[arg-type]  # numpy's arrays are buffers, which Python tells mypy from 3.12
    length = len(buffer) - len(buffer) % multiple
    while size:
        wanted = min(length, size)
        _fill(handle, memory[:wanted], offset)
        yield buffer[:wanted]
        offset, size = offset + wanted, size - wanted


def _fill(handle: int, memory: memoryview, offset: int) -> None:
    """Read a file's bytes from one on, as many as there is memory for."""
    filled, wanted = 0, len(memory)
    while filled < wanted:
        got = os.preadv(handle, [memory[filled:] if filled else memory], offset + filled)
        if not got:
            raise ValueError("the signal file became shorter while it was read")
        filled += got


def whole_frames(handle: int, fmt: str, offset: int, n_frames: int, width: int) -> NDArray[np.integer]:
    """All samples in one block, as `frames` has them, which are few; it is gone once another one is asked for."""
    n = n_frames * width
    size = byte_count(fmt, n)
    data = _buffer(size)[:size]
    _fill(handle, memoryview(data), offset)  # type: ignore[arg-type]  # as above
    return _samples(data, fmt, n).reshape(-1, width)


def frames(
    handle: int, fmt: str, offset: int, n_frames: int, width: int, most: int | None = None
) -> Iterator[NDArray[np.integer]]:
    """The samples as stored, in blocks of shape (frames, samples of a frame).

    Parameters
    ----------
    handle
        Of the signal file.
    fmt
        Its storage format, one of `BITS`.
    offset
        Bytes before the first sample.
    n_frames, width
        How many frames there are; how many samples each has.
    most
        Bytes of a block, where `BLOCK` is too many.

    Yields
    ------
    ndarray
        In the smallest integer type; format 80 as its bytes (unsigned, 128 above the sample), format 8 as the
        differences. A block is gone once the next one is asked for.
    """
    samples = len(_PACKED.get(fmt, (0, 0))) - 1
    together = samples // gcd(samples, width)  # frames that fill whole packs
    multiple = byte_count(fmt, together * width)
    left = n_frames * width
    for data in raw_blocks(handle, offset, byte_count(fmt, left), multiple, most):
        n = min(len(data) // multiple * together * width, left) if len(data) % multiple == 0 else left
        left -= n
        yield _samples(data, fmt, n).reshape(-1, width)


def _buffer(least: int) -> NDArray[np.uint8]:
    """Memory of this thread's own, for a block or for what is asked for, if that is more."""
    found: NDArray[np.uint8] | None = getattr(_own, "buffer", None)
    if found is None:
        found = _own.buffer = np.empty(BLOCK, np.uint8)
    return found if len(found) >= least else np.empty(least, np.uint8)


def _samples(data: NDArray[np.uint8], fmt: str, n: int) -> NDArray[np.integer]:
    if fmt == "80":
        return data
    if fmt == "24":
        return _unpack_24(data, n)
    if fmt in _PACKED:
        return _UNPACK[fmt](data)[:n].astype(np.int16)
    samples = data.view(_DTYPES[fmt])
    if fmt in _OFFSETS:
        # Offset binary to two's complement by flipping the highest bit: no wider type is needed.
        flipped: NDArray[np.integer] = (samples ^ samples.dtype.type(_OFFSETS[fmt])).view(f"i{samples.itemsize}")
        return flipped
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _signed(samples: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Two's complement of so many bits."""
    return ((samples & ((1 << bits) - 1)) ^ (1 << (bits - 1))) - (1 << (bits - 1))


def _unpack_24(data: NDArray[np.uint8], n: int) -> NDArray[np.integer]:
    a = data.reshape(n, 3).astype(np.int32)
    return _signed(a[:, 0] | a[:, 1] << 8 | a[:, 2] << 16, 24)


def _unpack_212(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    a = _padded(data, 3).reshape(-1, 3).astype(np.int32)
    pairs = np.stack([a[:, 0] | (a[:, 1] & 0x0F) << 8, a[:, 2] | (a[:, 1] & 0xF0) << 4], axis=1)
    return _signed(pairs.reshape(-1), 12)


def _unpack_310(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    a = _padded(data, 4).view("<u2").reshape(-1, 2).astype(np.int32)
    triples = np.stack([a[:, 0] >> 1, a[:, 1] >> 1, a[:, 0] >> 11 | a[:, 1] >> 11 << 5], axis=1)
    return _signed(triples.reshape(-1), 10)


def _unpack_311(data: NDArray[np.uint8]) -> NDArray[np.int32]:
    a = _padded(data, 4).view("<i4").astype(np.int32)
    return _signed(np.stack([a, a >> 10, a >> 20], axis=1).reshape(-1), 10)


_UNPACK = {"212": _unpack_212, "310": _unpack_310, "311": _unpack_311}


def _padded(data: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    rest = -len(data) % multiple
    return np.concatenate([data, np.zeros(rest, np.uint8)]) if rest else data
