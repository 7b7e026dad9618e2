"""Units of the columns of windows: `1` of a number without one, none of names, places and times.

What a signal is measured in stands in the rows, so its columns name the column that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_OF_WINDOWS = {"offset_s": "s"}
_OF_SIGNALS = {"fs": "Hz"}
_COUNTED = ("n_samples", "n_missing", "n_distinct", "n_zero", "n_at_min", "n_at_max", "n_beats")
_SHARES = ("flat_share", "skewness", "kurtosis", "hjorth_complexity", "spectral_entropy", "pnn50", "beat_quality")
_MEASURED = {
    **dict.fromkeys((*_COUNTED, *_SHARES), "1"),
    **dict.fromkeys(("crossings", "hjorth_mobility"), "1/s"),
    **dict.fromkeys(("peak_hz", "edge95_hz"), "Hz"),
    "hr": "1/min",
    **dict.fromkeys(("rr_mean", "sdnn", "rmssd"), "ms"),
    "rise_time": "s",
}
_IN_UNITS = ("mean", "std", "rms", "min", "p05", "p25", "p50", "p75", "p95", "max", "pulse_amplitude", "systolic",
             "diastolic")  # fmt: skip


def unit_of(measured: str, column: str) -> str:
    """The unit of what is measured of a window.

    Parameters
    ----------
    measured
        As the long layout calls it.
    column
        Which column has the units of the signal.

    Raises
    ------
    KeyError
        If nothing of that name is measured.
    """
    if measured in _IN_UNITS:
        return f"as in the column {column}"
    if measured == "line_length":
        return f"as in the column {column}, by s"
    if measured.startswith("power_"):
        return f"as in the column {column}, squared"
    return _MEASURED[measured]


def units_of(measured: Iterable[str], signals: Iterable[str]) -> dict[str, str]:
    """The units of a table's columns.

    Parameters
    ----------
    measured
        What is measured of a window, as the long layout calls it.
    signals
        Which signals have columns of their own; none in the long layout.
    """
    names = list(measured)
    return _OF_WINDOWS | dict(_of_signals(names, [f"{signal}_" for signal in signals] or [""]))


def _of_signals(names: list[str], prefixes: list[str]) -> Iterator[tuple[str, str]]:
    for prefix in prefixes:
        yield from ((f"{prefix}{name}", unit) for name, unit in _OF_SIGNALS.items())
        yield from ((f"{prefix}{name}", unit_of(name, f"{prefix}units")) for name in names)


def text_of_band(low: float, high: float) -> str:
    """What the power in a band is, of which the edges are in Hz."""
    return (
        f"Power from {low:g} Hz on and below {high:g} Hz, squared units; null where that reaches above half of `fs`, "
        "or begins below half the distance of frequencies."
    )


def documented_as(measured: Iterable[str], signals: Iterable[str]) -> dict[str, str]:
    """Which column of the documentation tells of a column that options name; the parameters are those of `units_of`."""
    known = ("units", "fs", *measured)
    return {f"{signal}_{name}": name for signal in signals for name in known}
