"""Signal files in the formats 508, 516 and 524: FLAC streams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAC = {"508": 8, "516": 16, "524": 24}
"""The formats, and the bits of a sample that each of them may have."""
_AT_ONCE = 2**20  # samples; libsndfile fails from 2²⁴ on
_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
_MAGIC = b"fLaC"
_UNKNOWN = 2**62  # libsndfile has a higher number of samples where the stream does not tell it, and cannot read it


class FlacFile:
    """A FLAC stream as a signal file.

    Parameters
    ----------
    handle
        Of the file; its place is moved.
    name
        For messages.
    fmt
        One of `FLAC`.
    offset
        Bytes before the stream, as header(5) has it. Where no stream begins there but at the file's beginning, samples
        of each signal, as the WFDB C library has it.
    widths
        Samples of a frame, of each signal.

    Attributes
    ----------
    n_frames
        How many whole frames it has.

    Raises
    ------
    ValueError
        If the file is no FLAC stream, or not one of so many signals in such a format.
    """

    def __init__(self, handle: int, name: str, fmt: str, offset: int, widths: list[int]) -> None:
        import soundfile

        self._name, self._width, self._signals = name, widths[0], len(widths)
        if self._width > _AT_ONCE:
            raise ValueError(f"{name} is a FLAC file, and has at most {_AT_ONCE:,} samples in a frame")
        if len(set(widths)) > 1:
            raise ValueError(f"{name} is a FLAC file, and its signals have different numbers of samples in a frame")
        begins = next((place for place in dict.fromkeys([offset, 0]) if os.pread(handle, 4, place) == _MAGIC), None)
        if begins is None:
            raise ValueError(f"{name} is no FLAC file, as format {fmt} says that it is")
        os.lseek(handle, begins, os.SEEK_SET)
        try:
            self._stream: Any = soundfile.SoundFile(handle, closefd=False)
            bits = _BITS.get(self._stream.subtype, 32)
            skipped = 0 if begins == offset else offset
            self.n_frames = max(int(self._stream.frames) - skipped, 0) // self._width
            if skipped:
                self._stream.seek(min(skipped, self._stream.frames))
        except soundfile.SoundFileError as error:
            raise ValueError(f"{name} cannot be read as FLAC: {error}") from None
        if self._stream.frames >= _UNKNOWN:
            raise ValueError(f"{name}, a FLAC file, does not say how many samples it has; encode it again")
        if self._stream.channels != self._signals:
            raise ValueError(f"{name} has {self._stream.channels} signals; the header says that it has {self._signals}")
        if bits > FLAC[fmt]:
            raise ValueError(f"{name} has samples of {self._stream.subtype}, which is more than format {fmt} has")
        # libsndfile gives samples in the high bits of the type that is asked for.
        self._dtype, self._shift = ("int16", 16 - bits) if bits <= 16 else ("int32", 32 - bits)

    def frames(self, n_frames: int) -> Iterator[NDArray[np.integer]]:
        """So many frames, in blocks of shape (frames, samples of a frame), in the order of other signal files.

        Raises
        ------
        ValueError
            If the file has fewer frames than are asked for, or is damaged.
        """
        import soundfile

        at_once = max(_AT_ONCE // (self._width * self._signals), 1)
        left = n_frames
        while left:
            wanted = min(at_once, left)
            try:
                block = self._stream.read(wanted * self._width, dtype=self._dtype, always_2d=True)
            except soundfile.SoundFileError as error:
                raise ValueError(f"{self._name} cannot be read as FLAC: {error}") from None
            if len(block) < wanted * self._width:
                raise ValueError(
                    f"{self._name} ends after {n_frames - left + len(block) // self._width:,} frames; the header says "
                    f"that it has {n_frames:,}"
                )
            block >>= self._shift
            yield block.reshape(wanted, self._width, self._signals).transpose(0, 2, 1).reshape(wanted, -1)
            left -= wanted

    def close(self) -> None:
        """Let the stream go; the handle stays open."""
        self._stream.close()
