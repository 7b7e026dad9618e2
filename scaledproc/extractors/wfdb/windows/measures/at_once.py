"""What is measured of the few windows of a short record: the same as `streams` tells of them, in a third of the time.

Of a segment of some seconds, what is done for each signal and each piece of it takes longer than all of its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scaledproc.extractors.wfdb.windows.measures import fields
from scaledproc.extractors.wfdb.windows.measures.features import Timing, counts_of, values_of
from scaledproc.extractors.wfdb.windows.measures.spectra.welch import LONGEST_GAP, MOST_MISSING, welch
from scaledproc.extractors.wfdb.windows.measures.told import NO_VALUES, Listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.signals.statistics import Coding
    from scaledproc.extractors.wfdb.windows.grid import Windows
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel
    from scaledproc.extractors.wfdb.windows.measures.spectra.welch import Band
    from scaledproc.extractors.wfdb.windows.measures.told import Measured


def measured_at_once(
    samples: NDArray[np.int32],
    windows: Windows,
    codings: Sequence[Coding],
    fs: float,
    spectra: tuple[int, tuple[Band, ...], Sequence[bool]],
    no_spectrum: Measured,
    no_beats: Measured,
    kernel: Kernel,
) -> list[Listed] | None:
    """What is told of the windows of signals without beats; None where a window needs a closer look.

    Parameters
    ----------
    samples
        All of them, shape (signals, n), of formats that have a value for missing ones, the same for all signals.
    windows
        The same for all signals.
    codings
        Of the signals; their gains have the same sign.
    fs
        Samples per second.
    spectra
        How many samples spectra are of, their bands, and which signals have them.
    no_spectrum, no_beats
        What is told instead of a spectrum, and of beats.
    kernel
        What counts and sums up.
    """
    rows = _integers(samples, windows, codings, kernel)
    if rows is None:
        return None
    n_windows = len(windows.numbers)
    fewest = windows.fewest.tolist()
    timing = Timing(fs)
    length, bands, has_spectra = spectra
    found = []
    for place, coding in enumerate(codings):
        own = rows[place * n_windows : (place + 1) * n_windows]
        is_enough = [row[fields.N] >= least for row, least in zip(own, fewest, strict=True)]
        told = [no_spectrum] * n_windows
        if has_spectra[place] and True in is_enough:
            told = _spectra(samples[place], windows, own, is_enough, coding, fs, length, bands, no_spectrum)
        measured = [
            (
                *counts_of(row, n_samples, coding),
                *(values_of(row, coding, timing) if enough else NO_VALUES),
                *spectrum,
                *no_beats,
            )
            for row, n_samples, enough, spectrum in zip(own, windows.n_samples, is_enough, told, strict=True)
        ]
        found.append(Listed(windows.numbers, measured))
    return found


def _integers(
    samples: NDArray[np.int32], windows: Windows, codings: Sequence[Coding], kernel: Kernel
) -> list[list[int]] | None:
    """The integers of all windows of the first signal, then of the next; None where any may need more than 64 bits."""
    n = samples.shape[1]
    bounds = [
        (min(max(start, 0), n), min(max(start + length, 0), n), start, start + length, least)
        for start, length, least in zip(
            windows.starts.tolist(), windows.lengths.tolist(), windows.fewest.tolist(), strict=True
        )
    ]
    asked = [
        (before + begin, before + end, begin - start, stop - end, coding.baseline, least)
        for before, coding in zip(range(0, n * len(codings), n), codings, strict=True)
        for begin, end, start, stop, least in bounds
    ]
    table = np.zeros((len(asked), fields.FIELDS), np.int64)
    missing = codings[0].missing
    assert missing is not None
    kernel(samples.reshape(-1), np.array(asked, np.int64), missing, codings[0].gain < 0, table)
    rows: list[list[int]] = table.tolist()
    for row in rows:
        if row[fields.N] and not row[fields.N_LOWEST]:
            return None
    return rows


def _spectra(
    samples: NDArray[np.int32],
    windows: Windows,
    rows: Sequence[Sequence[int]],
    is_enough: Sequence[bool],
    coding: Coding,
    fs: float,
    length: int,
    bands: tuple[Band, ...],
    no_spectrum: Measured,
) -> list[Measured]:
    """What the spectrum of each window of a signal tells."""
    told = [no_spectrum] * len(rows)
    places = [
        place
        for place, (row, all_of_it) in enumerate(zip(rows, windows.lengths.tolist(), strict=True))
        if is_enough[place]
        and row[fields.GAP] <= LONGEST_GAP * fs
        and all_of_it - row[fields.N] <= MOST_MISSING * all_of_it
    ]
    if places:
        assert coding.missing is not None
        found = welch(fs, length, bands).spectra(samples, windows.starts[places], coding.missing, coding.gain)
        for place, values in zip(places, found.tolist(), strict=True):
            told[place] = tuple([None if value != value else value for value in values])  # NaN is null
    return told
