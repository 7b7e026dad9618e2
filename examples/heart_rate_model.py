"""From waveforms to a small model: windows of an ECG lead, joined to a cohort, estimate the monitor's heart rate.

    python examples/heart_rate_model.py scaledproc-demo/dataset windows cohort.csv

The cohort is a CSV file with a line for each record (`record_name`) or patient (`subject_id`), and columns such as
`age`. A record is never in training and in test at once: windows of one patient are too much alike. It needs
scikit-learn.
"""

import sys

import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GroupKFold, cross_val_predict

import scaledproc

WINDOW = 10  # seconds
LEAD = "II"
FEATURES = [  # nothing that was made of detected beats, which would be the answer itself
    "std",
    "skewness",
    "kurtosis",
    "line_length",
    "crossings",
    "hjorth_mobility",
    "hjorth_complexity",
    "power_slow",
    "power_pulse",
    "power_qrs",
    "power_fast",
    "peak_hz",
    "spectral_entropy",
]


def windows_of(dataset, output):
    """Windows of the lead, with the monitor's own heart rate of the same time."""
    options = {"window": WINDOW, "signals": [LEAD, "HR"]}
    rows = scaledproc.run(dataset, output, extractor="wfdb-windows", options=options).to_pandas()
    key = ["record_name", "window"]  # windows of all signals are counted from the record's beginning
    monitor = rows[rows["signal_name"] == "HR"].groupby(key, as_index=False)[["mean", "n_zero"]].max()
    monitor = monitor[monitor.pop("n_zero") == 0]  # a literal zero stands for "no value", and falsifies a mean
    waves = rows[(rows["signal_name"] == LEAD) & rows["hr"].notna()]
    return waves.merge(monitor.rename(columns={"mean": "monitor_hr"}), on=key).dropna(subset=["monitor_hr", *FEATURES])


def join_cohort(windows, file):
    """The windows of the cohort's records or patients, with its columns."""
    cohort = pd.read_csv(file)
    key = "subject_id" if "subject_id" in cohort else "record_name"
    cohort[key] = cohort[key].astype(windows[key].dtype)
    return windows.merge(cohort, on=key, suffixes=("", "_of_cohort"), validate="many_to_one")


def errors_of(joined, columns):
    """Mean absolute errors in beats a minute: of the model, of the mean of all others, and of the detected beats."""
    target, groups = joined["monitor_hr"], joined["record_name"]
    folds = GroupKFold(min(5, groups.nunique()))
    model = RandomForestRegressor(random_state=0)
    estimated = cross_val_predict(model, joined[columns], target, groups=groups, cv=folds)
    others = [target[groups != name].mean() for name in groups]
    return {
        "model": mean_absolute_error(target, estimated),
        "mean of the other records": mean_absolute_error(target, others),
        "detected beats": mean_absolute_error(target, joined["hr"]),
    }


def main(dataset, output, cohort):
    joined = join_cohort(windows_of(dataset, output), cohort)
    print(f"{len(joined)} windows of {joined['record_name'].nunique()} records")
    for name, error in errors_of(joined, [*FEATURES, "age"]).items():
        print(f"{name}: {error:.1f} bpm off")


if __name__ == "__main__":
    main(*sys.argv[1:])
