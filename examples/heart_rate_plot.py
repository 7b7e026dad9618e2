"""Plot the heart rate of detected beats beside the monitor's own, a point a minute, and how far to trust the beats.

    python examples/heart_rate_plot.py DATASET OUTPUT PICTURE.png [LEAD]

The dataset is one record of the MIMIC-III Waveform Database with its numerics, such as 32/3234460.
"""

import sys

import matplotlib

matplotlib.use("Agg")  # a file, not a window
import matplotlib.pyplot as plt

import scaledproc

TRUSTED = 0.5
"""Mean quality of a minute's beats, above which the rates of an ECG agreed with others on the records tested."""
INK, BEATS, MONITOR, FAINT = "#22303c", "#0b6e99", "#e07a1f", "#9fb3c1"


def minutes_of(dataset, output, lead):
    """For each minute of the record: the rate of the beats of a lead, their quality, and the monitor's rate."""
    options = {"window": 60, "signals": [lead, "HR"]}
    rows = scaledproc.run(dataset, output, extractor="wfdb-windows", options=options).to_pandas()
    waves = rows[(rows["signal_name"] == lead) & rows["hr"].notna()]
    # A minute may have several segments: the one with the most beats stands for it.
    waves = waves.sort_values("n_beats").drop_duplicates("window", keep="last").set_index("window")
    monitor = rows[rows["signal_name"] == "HR"].set_index("window")
    rates = monitor["mean"].where(monitor["n_zero"] == 0)  # a literal zero stands for "no value", and falsifies a mean
    return waves[["hr", "beat_quality"]].join(rates.rename("monitor"), how="outer").sort_index()


def draw(minutes, lead, picture):
    """Two panels above each other, as a paper would have them."""
    plt.rcParams |= {"font.size": 9, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK}
    figure, (rates, quality) = plt.subplots(
        2, 1, figsize=(7, 4.2), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    trusted = minutes["beat_quality"] >= TRUSTED
    rates.plot(minutes.index, minutes["monitor"], color=MONITOR, linewidth=1.4, label="monitor's heart rate")
    good, poor = minutes[trusted], minutes[~trusted & minutes["hr"].notna()]
    rates.plot(good.index, good["hr"], "o", color=BEATS, markersize=4, label=f"beats of lead {lead}")
    rates.plot(
        poor.index,
        poor["hr"],
        "o",
        markerfacecolor="none",
        markeredgecolor=FAINT,
        markersize=4,
        label=f"beats of quality below {TRUSTED:g}",
    )
    rates.set_ylabel("heart rate (bpm)")
    rates.legend(frameon=False, ncols=3, loc="upper left")
    rates.set_ylim(30, max(150, minutes["hr"].max() + 20))
    quality.step(minutes.index, minutes["beat_quality"], where="mid", color=BEATS, linewidth=1.2)
    quality.axhline(TRUSTED, color=FAINT, linewidth=1, linestyle="--")
    quality.set_ylim(0, 1)
    quality.set_ylabel("beat quality")
    quality.set_xlabel("minutes from the record's beginning")
    for axes in (rates, quality):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    figure.savefig(picture, dpi=160)
    plt.close(figure)


def main(dataset, output, picture, lead="II"):
    minutes = minutes_of(dataset, output, lead)
    draw(minutes, lead, picture)
    both = minutes[minutes["beat_quality"] >= TRUSTED].dropna(subset=["hr", "monitor"])
    off = (both["hr"] - both["monitor"]).abs()
    print(
        f"{len(minutes)} minutes; in the {len(both)} with trusted beats the median difference is {off.median():.1f} bpm"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
