"""The columns of windows in either layout, with their units: `1` of a number without one, none of names and times.

What a signal is measured in stands in the rows, so its columns name the column that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from scaledproc.extractors.wfdb.windows.measures.beats import COLUMNS
from scaledproc.extractors.wfdb.windows.measures.features import COUNTS, VALUES

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.measures.spectra.welch import Band

OF_RECORDS = ("group", "unit", "record", "record_name", "subject_id", "hadm_id")
"""Columns that all rows of a record have the same value in."""
_TYPES = {"group": pa.string(), "unit": pa.string(), "record": pa.string(), "record_name": pa.string()}
_NEVER_NULL = frozenset(["group", "unit", "record", "kind", "channel", "window", "n_samples", "n_missing"])
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


def measured_fields(bands: Sequence[Band], *, has_beats: bool) -> list[pa.Field]:
    """What is measured of a window, as columns of the long layout."""
    counts = [pa.field(name, pa.int64(), nullable=name not in _NEVER_NULL) for name in COUNTS]
    spectrum = ["power_total", *(f"power_{band.name}" for band in bands)]
    return [
        *counts,
        *(pa.field(name, pa.float64()) for name in VALUES),
        *(pa.field(name, pa.float32()) for name in (*spectrum, "peak_hz", "spectral_entropy", "edge95_hz")),
        *([pa.field("n_beats", pa.int64())] if has_beats else []),
        *(pa.field(name, pa.float64()) for name in (COLUMNS if has_beats else ())),
    ]


def schema_of(measured: Sequence[pa.Field], signals: Sequence[str]) -> pa.Schema:
    """The columns of the table.

    Parameters
    ----------
    measured
        What is measured of a window, as `measured_fields` has it.
    signals
        Which signals have columns of their own; none in the long layout.
    """
    times = [("window", pa.int64()), ("start", pa.timestamp("us")), ("offset_s", pa.float64())]
    of_signals = [("channel", pa.int32()), ("signal", pa.string()), ("signal_name", pa.string())]
    of_signals += [("units", pa.string()), ("fs", pa.float64())]
    of_records = [(name, _TYPES.get(name, pa.int64())) for name in OF_RECORDS]
    fields = [*of_records, ("kind", pa.string()), *(() if signals else of_signals), *times]
    named = [pa.field(name, kind, nullable=name not in _NEVER_NULL) for name, kind in fields]
    if not signals:
        named += measured
    for signal in signals:
        named += [pa.field(f"{signal}_units", pa.string()), pa.field(f"{signal}_fs", pa.float64())]
        named += [pa.field(f"{signal}_{each.name}", each.type) for each in measured]
    return pa.schema([*named, pa.field("header_note", pa.string())])


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


def texts_of_bands(bands: Sequence[Band], signals: Sequence[str]) -> dict[str, str]:
    """What the power in each band is, by the names of columns; `signals` as for `schema_of`."""
    return {
        f"{prefix}power_{band.name}": _text_of_band(band.low, band.high)
        for prefix in [f"{signal}_" for signal in signals] or [""]
        for band in bands
    }


def _text_of_band(low: float, high: float) -> str:
    """What the power in a band is, of which the edges are in Hz."""
    return (
        f"Power from {low:g} Hz on and below {high:g} Hz, squared units; null where that reaches above half of `fs`, "
        "begins below half the distance of frequencies or has none, and where single precision has no such number."
    )


def documented_as(measured: Iterable[str], signals: Iterable[str]) -> dict[str, str]:
    """Which column of the documentation tells of a column that options name; the parameters are those of `units_of`."""
    known = ("units", "fs", *measured)
    return {f"{signal}_{name}": name for signal in signals for name in known}
