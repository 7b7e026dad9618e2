"""What a WFDB header claims, held against what is there, before wfdb is asked to believe it.

wfdb allocates what a header asks for, and fills gaps in short files in ways of its own. So a claim that cannot be true
ends here, with a reason for a person; it takes sizes only, no samples.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb_header import Header
    from scaledproc.extractors.wfdb_header import SignalLine as Signal

LARGEST_HEADER = 2**24
"""Bytes of a header file; one of 20,000 segments has half a million."""
LONGEST_LINE = 4096
"""Characters: WFDB allows 255. The time that wfdb's patterns take grows with the square of a line's length, and Python
reads no integer of more than 4,300 digits."""
MOST_LINES = 10_000
"""Lines of a header that wfdb is given, at 0.3 ms each."""
LONGEST_SKEW = 2**16
"""Frames by which a signal may be late in a record that is shorter: wfdb reads these too, as missing samples."""
MOST_SAMPLES = 2**31
"""Samples that wfdb is asked for at once, at some 16 bytes of memory each: twelve leads at 1 kHz for two days. The same
number on every machine, so that the same plan has the same errors; `--memory-per-worker` is for what a machine has."""
_BYTES_PER_SAMPLE = {
    "8": 1,
    "80": 1,
    "16": 2,
    "61": 2,
    "160": 2,
    "212": 1.5,
    "310": 4 / 3,
    "311": 4 / 3,
    "24": 3,
    "32": 4,
}
_FLAC = frozenset({"508", "516", "524"})


def check_lines(content: bytes) -> None:
    """Refuse a header that wfdb would need very long for.

    Raises
    ------
    ValueError
        A line is too long, or there are too many.
    """
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    longest = max(map(len, lines), default=0)
    if longest > LONGEST_LINE:
        raise ValueError(f"a line of the header has {longest:,} characters; WFDB allows 255")
    if len(lines) > MOST_LINES:
        raise ValueError(
            f"the header has {len(lines):,} lines, not all of them plain; at most {MOST_LINES:,} are read then"
        )


def check_samples(folder: Path, header: Header) -> None:
    """Refuse a header whose signal files are too short, or which asks for too much at once.

    Parameters
    ----------
    folder
        Where the signal files are.
    header
        What it says.

    Raises
    ------
    ValueError
        A file does not hold what the header says; or all samples at once, as wfdb reads them, are too many.
    """
    by_file: dict[str, list[Signal]] = {}
    for signal in header.signals:
        by_file.setdefault(signal.file, []).append(signal)
    n_frames = header.n_frames
    samples = 0
    for file, signals in by_file.items():
        first, width = signals[0], sum(signal.samples_per_frame for signal in signals)
        formats = sorted({signal.fmt for signal in signals})
        if len(formats) > 1:  # wfdb reads all in the first one, and looks for missing values in each one's own
            raise ValueError(f"the header says that {file} has the formats {' and '.join(formats)}; a file has one")
        if width == 0:
            raise ValueError(f"the header gives {file} no samples in a frame")
        size = (folder / file).stat().st_size
        if n_frames is None:  # as wfdb does: from the first file
            n_frames = _frames(folder / file, first, width, size)
        needed = first.byte_offset + _byte_count(first.fmt, n_frames * width)
        if first.fmt in _FLAC:
            if size == 0:
                raise ValueError(f"{file} is empty")
        elif needed > size:
            raise ValueError(f"{file} has {size:,} bytes; the header says that it has {_large(needed)} or more")
        skew = max(signal.skew for signal in signals)
        if skew > max(n_frames, LONGEST_SKEW):
            raise ValueError(f"the header shifts a signal of {file} by {_large(skew)} of {_large(n_frames)} frames")
        samples += (n_frames + skew) * width
    if samples > MOST_SAMPLES:
        raise ValueError(f"the header asks for {_large(samples)} samples at once; at most {MOST_SAMPLES:,} are read so")


def _frames(path: Path, signal: Signal, width: int, size: int) -> int:
    if signal.fmt in _FLAC:
        raise ValueError(
            f"the header does not say how many samples there are, and {path.name}, a FLAC file, cannot tell"
        )
    return int((size - signal.byte_offset) / (_BYTES_PER_SAMPLE[signal.fmt] * width))


def _byte_count(fmt: str, n: int) -> int:
    """Bytes that `n` samples of a format take, as wfdb reads them; nothing can be said of a compressed one."""
    if fmt in _FLAC:
        return 0
    if fmt == "212":
        return -(-n * 3 // 2)
    if fmt in ("310", "311"):
        return -(-n * 4 // 3)
    return n * int(_BYTES_PER_SAMPLE[fmt])


def _large(number: int) -> str:
    """A number that may have thousands of digits."""
    return f"{number:,}" if number < 10**18 else f"more than 10^{int(math.log10(number))}"
