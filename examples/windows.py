"""Features of windows: each signal of each WFDB segment is cut into windows, and `features` is called with each.

Run it with `scaledproc --extractor examples/windows.py:windows DATASET OUTPUT`; put your own function in place of
`features`, and what it returns into `FEATURES`.
"""

import numpy as np
import wfdb

import scaledproc

SECONDS = 10.0
FEATURES = {"mean": "float64", "std": "float64", "line_length": "float64"}


def features(samples, fs):
    """From the samples of one window, in physical units, NaN where missing, and the samples per second."""
    valid = samples[~np.isnan(samples)]
    steps = np.abs(np.diff(samples))
    steps = steps[~np.isnan(steps)]  # those between neighbours, none across a gap
    return {
        "mean": float(valid.mean()),
        "std": float(valid.std()),
        "line_length": float(steps.mean() * fs) if len(steps) else None,  # units a second
    }


@scaledproc.extractor(
    schema={"record": "string", "channel": "int32", "signal": "string", "start_s": "float64", "n_valid": "int64"}
    | FEATURES,
    anchor="*.hea",
)
def windows(task):
    """Give a row for each window of each signal; a window that is cut short by the end gives none."""
    header = wfdb.rdheader(str(task.path.with_suffix("")))
    if isinstance(header, wfdb.MultiRecord) or not header.sig_len:
        return  # a master or a layout: its segments are tasks of their own
    length = round(SECONDS * header.fs)
    if length < 2:
        return  # numerics, one sample a minute
    for name in set(header.file_name):
        task.beside(name)  # must be the unit's; one that changes meanwhile is noticed from here on
    record = wfdb.rdrecord(str(task.path.with_suffix("")))
    for channel, signal in enumerate(record.sig_name):
        samples = record.p_signal[:, channel]
        for start in range(0, len(samples) - length + 1, length):
            window = samples[start : start + length]
            n_valid = int((~np.isnan(window)).sum())
            yield {
                "record": record.record_name,
                "channel": channel,
                "signal": signal,
                "start_s": start / record.fs,
                "n_valid": n_valid,
                **(features(window, record.fs) if n_valid else dict.fromkeys(FEATURES)),
            }
