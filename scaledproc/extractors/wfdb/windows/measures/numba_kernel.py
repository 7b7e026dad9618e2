"""The integers of windows by a compiled kernel: a few passes over each window, which stays in the processor's cache."""

# numba gives the variables of the kernel their types, which mypy cannot follow.
# mypy: disable-error-code="arg-type, assignment, call-overload, index, operator, type-var"

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.machine_code import Entry, Library
from scaledproc.extractors.wfdb.windows.kept import Taking
from scaledproc.extractors.wfdb.windows.measures import fields
from scaledproc.extractors.wfdb.windows.measures.spectra import steps as spectral_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.machine_code import Functions
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel
    from scaledproc.extractors.wfdb.windows.measures.spectra.steps import Steps

_BIG, _SMALL = np.int32(2**31 - 1), np.int32(-(2**31))
_CUBE_LOW = (1 << fields.CUBE_BITS) - 1
_FOURTH_LOW, _FOURTH_SHIFT = np.uint64((1 << fields.FOURTH_BITS) - 1), np.uint64(fields.FOURTH_BITS)
_SORTED = 16
"""So many times as many values as samples: sorting the samples costs less than counters of all values."""
_N_SHARES = len(fields.SHARES)
_FARTHEST = 2**15
"""The same as in `fields.fits_whole`, where the fourth power itself needs no more than 63 bits."""
_BLOCK = 2**12
"""Samples of which what neighbours have is summed up in 32 bits: absolute differences have 17 at most."""
_GROUP = 64
"""Counters that are passed over at once on the way to a rank; samples that are searched at once for a missing one."""


class Compiled(NamedTuple):
    """What is compiled for windows."""

    kernel: Kernel
    steps: Steps
    taking: Taking


def compiled_of(functions: Functions) -> Compiled:
    """The kernel and the steps of spectra, of the functions of `LIBRARY`."""
    fill = functions["kernel"]

    def kernel(
        samples: NDArray[np.int32],
        windows: NDArray[np.int64],
        missing: int,
        is_reversed: bool,
        table: NDArray[np.int64],
    ) -> None:
        longest = int((windows[:, fields.END] - windows[:, fields.BEGIN]).max(initial=1))
        fill(samples, windows, missing, is_reversed, table, *_room(longest))

    taking = Taking(functions["of_bytes"], functions["of_words"])
    return Compiled(kernel, spectral_steps.compiled_steps(functions), taking)


def _room(longest: int) -> tuple[NDArray[Any], ...]:
    """Room for where runs of valid samples begin and end, for counters, and for a window's samples, twice."""
    runs = np.empty((2, longest // 2 + 1), np.int64)
    return runs[0], runs[1], np.empty(fields.WIDEST, np.int32), *np.empty((2, longest), np.int32)


def _kernel(
    samples: Any,
    windows: Any,
    missing: Any,
    is_reversed: Any,
    table: Any,
    begins: Any,
    ends: Any,
    counters: Any,
    room: Any,
    more_room: Any,
) -> None:
    for w in range(len(windows)):
        begin = windows[w, fields.BEGIN]
        m = windows[w, fields.END] - begin
        before = windows[w, fields.BEFORE]
        after = windows[w, fields.AFTER]
        baseline = windows[w, fields.BASELINE]
        x = samples[begin : begin + m]
        out = table[w]
        total = np.int64(0)
        lowest = _BIG
        highest = _SMALL
        for i in range(m):
            total += x[i]
            lowest = min(lowest, x[i])
            highest = max(highest, x[i])
        n = m
        gap = max(before, after)
        n_runs = 1
        begins[0], ends[0] = 0, m
        if m and lowest == missing:
            n_runs = _runs(x, np.int32(missing), begins, ends)
            lowest = _BIG
            n = 0
            gap = before
            last = 0
            for run in range(n_runs):
                y = x[begins[run] : ends[run]]
                for i in range(len(y)):
                    lowest = min(lowest, y[i])
                n += len(y)
                gap = max(gap, begins[run] - last + (before if run == 0 else 0))
                last = ends[run]
            gap = max(gap, m - last + after)
            total -= np.int64(missing) * (m - n)
        out[fields.N] = n
        if n == 0:
            out[fields.GAP] = before + m + after
            continue
        out[fields.GAP] = gap
        width = np.int64(highest) - np.int64(lowest) + 1
        if width > fields.WIDEST:
            continue
        out[fields.LOWEST] = lowest
        out[fields.HIGHEST] = highest
        is_told = n >= windows[w, fields.FEWEST]
        centre = total // n
        if is_told:
            out[fields.CENTRE] = centre
            out[fields.S1] = total - n * centre
            # What is on the upper side is more than this.
            threshold = np.int32(centre if is_reversed else -(-total // n) - 1)
            _sum_steps(x, begins[:n_runs], ends[:n_runs], threshold, out)
        if width > _SORTED * n:
            ordered = room[:n]
            _sort(x, missing, lowest, counters, more_room[:n], ordered)
            distinct = 1
            n_lowest = 0
            n_highest = 0
            zero = 0
            for i in range(n):
                distinct += i > 0 and ordered[i] != ordered[i - 1]
                n_lowest += ordered[i] == lowest
                n_highest += ordered[i] == highest
                zero += ordered[i] == baseline
            out[fields.DISTINCT] = distinct
            out[fields.N_LOWEST], out[fields.N_HIGHEST], out[fields.ZERO] = n_lowest, n_highest, zero
            if is_told:
                _sum_powers_of_samples(x, begins[:n_runs], ends[:n_runs], centre, lowest, highest, n, out)
                for place in range(_N_SHARES):
                    below = np.int64(fields.SHARES[place] * (n - 1))
                    above = min(below + 1, n - 1)
                    out[fields.RANKS + 2 * place] = ordered[n - 1 - below] if is_reversed else ordered[below]
                    out[fields.RANKS + 2 * place + 1] = ordered[n - 1 - above] if is_reversed else ordered[above]
            continue
        own = counters[:width]
        own[:] = 0
        for run in range(n_runs):
            y = x[begins[run] : ends[run]]
            for i in range(len(y)):
                own[np.uint32(y[i] - lowest)] += np.int32(1)
        out[fields.N_LOWEST], out[fields.N_HIGHEST] = own[0], own[width - 1]
        if lowest <= baseline <= highest:
            out[fields.ZERO] = own[baseline - lowest]
        distinct = np.int32(0)
        for value in range(width):
            distinct += np.int32(own[value] != 0)
        out[fields.DISTINCT] = distinct
        if not is_told:
            continue
        if width < n:
            _sum_powers_of_counts(own, lowest - centre, n, out)
        else:
            _sum_powers_of_samples(x, begins[:n_runs], ends[:n_runs], centre, lowest, highest, n, out)
        _tell_ranks(own, lowest, n, is_reversed, out)


def _sort(x: Any, missing: Any, lowest: Any, counters: Any, room: Any, ordered: Any) -> None:
    """The valid samples in ascending order: first by the low byte of how far they are from the lowest one."""
    own = counters[:512]
    own[:] = 0
    for i in range(len(x)):
        if x[i] != missing:
            away = x[i] - lowest
            own[away & 255] += np.int32(1)
            own[256 + (away >> 8)] += np.int32(1)
    low, high = np.int32(0), np.int32(0)  # how many come before
    for byte in range(256):
        low, own[byte] = low + own[byte], low
        high, own[256 + byte] = high + own[256 + byte], high
    for i in range(len(x)):
        if x[i] != missing:
            byte = (x[i] - lowest) & 255
            room[own[byte]] = x[i]
            own[byte] += np.int32(1)
    for i in range(len(room)):
        byte = 256 + ((room[i] - lowest) >> 8)
        ordered[own[byte]] = room[i]
        own[byte] += np.int32(1)


def _tell_ranks(counters: Any, lowest: Any, n: int, is_reversed: Any, out: Any) -> None:
    """The samples around each percentile, from how often each value is there."""
    width = len(counters)
    value = np.int64(0)  # the counters before it are added up
    before = np.int64(0)
    for number in range(_N_SHARES):  # by ascending digital values
        place = _N_SHARES - 1 - number if is_reversed else number
        below = np.int64(fields.SHARES[place] * (n - 1))
        above = min(below + 1, n - 1)
        low, high = (n - 1 - above, n - 1 - below) if is_reversed else (below, above)
        while value + _GROUP <= width:
            group = counters[value : value + _GROUP]
            more = np.int32(0)
            for i in range(_GROUP):
                more += group[i]
            if before + more > low:
                break
            before += more
            value += _GROUP
        while before + counters[value] <= low:
            before += counters[value]
            value += 1
        later, seen = value, before + counters[value]
        while seen <= high:
            later += 1
            seen += counters[later]
        out[fields.RANKS + 2 * place] = lowest + (later if is_reversed else value)
        out[fields.RANKS + 2 * place + 1] = lowest + (value if is_reversed else later)


def _runs(x: Any, missing: Any, begins: Any, ends: Any) -> int:
    """Where runs of valid samples begin and end; how many there are."""
    n = 0
    is_inside = False
    i = 0
    while i < len(x):
        if is_inside and i + _GROUP <= len(x):
            group = x[i : i + _GROUP]
            gone = np.int32(0)
            for j in range(_GROUP):
                gone += np.int32(group[j] == missing)
            if gone == 0:
                i += _GROUP
                continue
        for j in range(i, min(i + _GROUP, len(x))):
            if (x[j] != missing) != is_inside:
                if is_inside:
                    ends[n] = j
                    n += 1
                else:
                    begins[n] = j
                is_inside = not is_inside
        i += _GROUP
    if is_inside:
        ends[n] = len(x)
        n += 1
    return n


def _sum_steps(x: Any, begins: Any, ends: Any, threshold: Any, out: Any) -> None:
    """What neighbours have, within runs of valid samples."""
    pairs = 0
    triples = 0
    flat = 0
    crossings = 0
    way = np.int64(0)
    d1 = np.int64(0)
    d2 = np.int64(0)
    e1 = np.int64(0)
    e2 = np.int64(0)
    for run in range(len(begins)):
        y = x[begins[run] : ends[run]]
        m = len(y)
        pairs += m - 1
        d1 += np.int64(y[m - 1]) - np.int64(y[0])
        for start in range(0, m - 1, _BLOCK):
            size = min(_BLOCK, m - 1 - start)
            here, there = y[start : start + size], y[start + 1 : start + 1 + size]
            some_flat = np.int32(0)
            some_way = np.int32(0)
            some_crossings = np.int32(0)
            for i in range(size):
                d = np.int32(there[i] - here[i])
                some_flat += np.int32(d == 0)
                some_way += np.int32(abs(d))
                some_crossings += np.int32((there[i] > threshold) != (here[i] > threshold))
                d2 += np.int64(d) * np.int64(d)
            flat += some_flat
            way += some_way
            crossings += some_crossings
        if m > 2:
            triples += m - 2
            e1 += np.int64(y[m - 1]) - np.int64(y[m - 2]) - np.int64(y[1]) + np.int64(y[0])
            first, second, third = y[: m - 2], y[1 : m - 1], y[2:]
            for i in range(m - 2):
                e = np.int32(np.int32(third[i] - second[i]) - np.int32(second[i] - first[i]))
                e2 += np.int64(e) * np.int64(e)
    out[fields.PAIRS] = pairs
    out[fields.FLAT] = flat
    out[fields.LENGTH] = way
    out[fields.D1] = d1
    out[fields.D2] = d2
    out[fields.CROSSINGS] = crossings
    out[fields.TRIPLES] = triples
    out[fields.E1] = e1
    out[fields.E2] = e2


def _sum_powers_of_samples(
    x: Any, begins: Any, ends: Any, centre: Any, lowest: Any, highest: Any, n: int, out: Any
) -> None:
    s2 = np.int64(0)
    s3 = np.int64(0)
    s4 = np.int64(0)
    s3_low = np.int64(0)
    s4_high = np.uint64(0)
    s4_low = np.uint64(0)
    middle = np.int32(centre)
    farthest = max(centre - lowest, highest - centre)
    is_whole = farthest < _FARTHEST and farthest**4 <= (2**63 - 1) // n
    for run in range(len(begins)):
        z = x[begins[run] : ends[run]]
        if is_whole:
            for i in range(len(z)):
                y = np.int64(np.int32(z[i] - middle))
                square = y * y
                s2 += square
                s3 += square * y
                s4 += square * square
        else:
            for i in range(len(z)):
                y = np.int64(np.int32(z[i] - middle))
                square = y * y
                s2 += square
                cube = square * y
                s3 += cube >> fields.CUBE_BITS
                s3_low += cube & _CUBE_LOW
                fourth = np.uint64(square) * np.uint64(square)
                s4_high += fourth >> _FOURTH_SHIFT
                s4_low += fourth & _FOURTH_LOW
    out[fields.S2] = s2
    _tell_powers(s3, s3_low, s4, s4_high, s4_low, is_whole, out)


def _sum_powers_of_counts(counters: Any, first: Any, n: int, out: Any) -> None:
    """Sums of powers, from how often each value is there; `first` is the lowest one, less the centre."""
    width = len(counters)
    s2 = np.int64(0)
    s3 = np.int64(0)
    s4 = np.int64(0)
    s3_low = np.int64(0)
    s4_high = np.uint64(0)
    s4_low = np.uint64(0)
    farthest = max(-first, first + width - 1)
    is_whole = farthest < _FARTHEST and farthest**4 <= (2**63 - 1) // n
    if is_whole:
        for value in range(width):
            y = first + value
            square = y * y
            often = square * counters[value]
            s2 += often
            s3 += often * y
            s4 += often * square
    else:
        for value in range(width):
            y = first + value
            square = y * y
            often = np.int64(counters[value])
            s2 += square * often
            cube = square * y
            s3 += (cube >> fields.CUBE_BITS) * often
            s3_low += (cube & _CUBE_LOW) * often
            fourth = np.uint64(square) * np.uint64(square)
            s4_high += (fourth >> _FOURTH_SHIFT) * np.uint64(often)
            s4_low += (fourth & _FOURTH_LOW) * np.uint64(often)
    out[fields.S2] = s2
    _tell_powers(s3, s3_low, s4, s4_high, s4_low, is_whole, out)


def _tell_powers(s3: Any, s3_low: Any, s4: Any, s4_high: Any, s4_low: Any, is_whole: Any, out: Any) -> None:
    if is_whole:
        out[fields.S3_HIGH] = s3 >> fields.CUBE_BITS
        out[fields.S3_LOW] = s3 & _CUBE_LOW
        out[fields.S4_HIGH] = s4 >> fields.FOURTH_BITS
        out[fields.S4_LOW] = s4 & np.int64(_FOURTH_LOW)
    else:
        out[fields.S3_HIGH] = s3 + (s3_low >> fields.CUBE_BITS)
        out[fields.S3_LOW] = s3_low & _CUBE_LOW
        out[fields.S4_HIGH] = np.int64(s4_high + (s4_low >> _FOURTH_SHIFT))
        out[fields.S4_LOW] = np.int64(s4_low & _FOURTH_LOW)


def _of_bytes(block: Any, column: int, samples: Any) -> None:
    """`kept.Taking.of_bytes`."""
    for i in range(len(samples)):
        samples[i] = np.int32(block[i, column]) - np.int32(128)


def _of_words(block: Any, column: int, samples: Any) -> None:
    """`kept.Taking.of_words`."""
    for i in range(len(samples)):
        samples[i] = block[i, column]


def _try_short() -> list[Any]:
    """Windows with and without gaps, one of missing samples alone, one that is wide, and one that is far from flat."""
    samples = np.array([3, -7, 5, 5, 8, -(2**15), -(2**15), 9, 2, -4, *[-(2**15)] * 4, 0, 40_000, -20_000], np.int32)
    windows = np.array([[0, 5, 0, 0, 5, 1], [0, 10, 2, 1, 0, 3], [10, 14, 0, 0, 0, 1], [14, 17, 0, 0, 0, 1]])
    table = np.zeros((len(windows), fields.FIELDS), np.int64)
    room = [np.zeros_like(each) for each in _room(10)]
    return [samples, windows, -(2**15), False, table, *room]


def _try_long() -> list[Any]:
    """Windows with and without gaps, in which groups of samples and of counters are passed over; reversed."""
    at = np.arange(900)
    samples = (at * at % 700 - 300).astype(np.int32)
    samples[[200, 201, 202, 330]] = -(2**15)
    samples[600:] *= 90
    windows = np.array([[0, 300, 0, 0, 5, 1], [150, 450, 0, 3, 0, 3], [450, 600, 0, 0, 0, 1], [600, 900, 0, 0, 0, 1]])
    table = np.zeros((len(windows), fields.FIELDS), np.int64)
    room = [np.zeros_like(each) for each in _room(300)]
    return [samples, windows, -(2**15), True, table, *room]


def _try_column(dtype: Any) -> list[Any]:
    block = np.arange(-300, 300, 10).astype(np.int16).view(dtype)
    return [block.reshape(-1, 3), 1, np.zeros(len(block) // 3, np.int32)]


LIBRARY = Library(
    __name__,
    {
        "kernel": Entry(
            _kernel,
            "int32[::1], int64[:,::1], int64, boolean, int64[:,::1], int64[::1], int64[::1], int32[::1], int32[::1], "
            "int32[::1]",
            [_try_short, _try_long],
        ),
        "of_bytes": Entry(_of_bytes, "uint8[:,::1], int64, int32[::1]", [lambda: _try_column(np.uint8)]),
        "of_words": Entry(_of_words, "int16[:,::1], int64, int32[::1]", [lambda: _try_column(np.int16)]),
        **spectral_steps.ENTRIES,
    },
)
