"""The second stage of both detectors: which peaks of the first are beats.

The rules are those of Hamilton's open-source ECG detector (Computers in Cardiology 2002, 29:101-104):

1. A peak within 200 ms of a higher one is none; the first stage has left these out.
2. A peak within 360 ms of a beat, and much less steep, is its T wave (of pulses: the dicrotic wave).
3. A peak above the threshold is a beat, another one is noise. The threshold lies between the heights that the last
   eight peaks of noise and the last eight beats typically had, at 5/16 of the way.
4. Where no beat was found for one and a half typical intervals, the highest peak of that time is one if it is above
   half the threshold, and at least 360 ms after the last beat (search back).
5. What is typical is learned from the highest peak in each of eight seconds, and anew after eight seconds without a
   beat.

They were changed where this made scores better with noise, wide complexes and slow hearts. In rule 2 a peak is less
steep below 0.6 of the beat's slope, not 0.5. In rule 3 noise is the mean of eight peaks, and beats are their median.
In rule 4 a peak must also be 1.25 times as high as the noise is. In rule 5 what is learned anew is at least a tenth
of what was typical, so that silence is not taken for beats, and a second counts as at least the third highest, as a
slow heart leaves some without a beat. As all samples are there, beats in what was learned from are found too.
"""

from __future__ import annotations

from typing import Any

REFRACTORY_S = 0.2
"""Seconds between beats, at least: 300 beats a minute."""


def middle(values: Any) -> Any:
    """The median of eight numbers."""
    ordered = sorted(values)
    return (ordered[3] + ordered[4]) / 2


def third_highest(values: Any) -> Any:
    """The third highest of eight numbers."""
    return sorted(values)[5]


def decide(
    places: Any,
    heights: Any,
    slopes: Any,
    firsts: Any,
    begins: Any,
    ends: Any,
    second: float,
    accepted: Any,
    beats: Any,
    noises: Any,
    intervals: Any,
) -> None:
    """Mark which peaks are beats.

    It takes lists, or arrays where it is compiled: these are the same lines for both, but for what they
    call.

    Parameters
    ----------
    places, heights, slopes
        Of the peaks, each of shape (n,), floats.
    firsts
        The first peak of each stretch without a gap, and behind the last of the last, shape (stretches + 1,).
    begins, ends
        Of each stretch, as places, shape (stretches,).
    second
        How many places it has.
    accepted
        Shape (n,), all False; True is written for beats.
    beats, noises, intervals
        Room for eight numbers each.
    """
    known = False
    typical = noise = usual = 0.0
    n_beats = n_noises = n_intervals = 0
    for stretch in range(len(begins)):
        begin, end = begins[stretch], ends[stretch]
        stop = firsts[stretch + 1]
        last = firsts[stretch] - 1  # of the last beat; before the first peak: of none
        has_beat = False
        since = waiting_from = begin  # the last beat; what eight seconds without one are counted from
        steepness = least = 0.0
        # What is known is kept over a stretch that is too short to learn from.
        is_to_learn = not known or end - begin >= 8 * second
        j = last + 1
        while j <= stop:
            place = places[j] if j < stop else end
            if is_to_learn or place - waiting_from > 8 * second:
                seconds = min(max(int((end - waiting_from) / second), 1), 8)
                for k in range(8):
                    beats[k] = noises[k] = least
                    intervals[k] = second
                j = last + 1
                while j < stop and places[j] < waiting_from:
                    j += 1
                k = j
                while k < stop and places[k] < waiting_from + seconds * second:
                    at = int((places[k] - waiting_from) / second)
                    beats[at] = max(beats[at], heights[k])
                    k += 1
                for k in range(8):
                    beats[k] = beats[k % seconds]
                    noises[k] = 0.0
                third = third_highest(beats)
                for k in range(8):
                    beats[k] = max(beats[k], third)
                typical, noise, usual = middle(beats), 0.0, second
                if not is_to_learn:
                    waiting_from += 8 * second
                known, is_to_learn = True, False
                continue
            threshold = noise + 0.3125 * (typical - noise)
            found = -1
            if place - since > 1.5 * usual:
                highest = max(0.5 * threshold, 1.25 * noise)
                for k in range(j - 1, last, -1):
                    if heights[k] > highest and (not has_beat or places[k] - since > 0.36 * second):
                        found, highest = k, heights[k]
            is_other = not has_beat or j == stop or place - since >= 0.36 * second or slopes[j] >= 0.6 * steepness
            if found < 0 and j < stop and heights[j] > threshold and is_other:
                found = j
            if found >= 0:
                accepted[found] = True
                beats[n_beats % 8] = heights[found]
                n_beats += 1
                typical = middle(beats)
                if has_beat:
                    intervals[n_intervals % 8] = places[found] - since
                    n_intervals += 1
                    usual = middle(intervals)
                has_beat, last = True, found
                since = waiting_from = places[found]
                steepness, least = slopes[found], 0.1 * typical
                j = found
            elif j < stop:
                noise += (heights[j] - noises[n_noises % 8]) / 8
                noises[n_noises % 8] = heights[j]
                n_noises += 1
            j += 1
