"""The built-in extractor `wfdb-summary`: one row of statistics per signal of a WFDB record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from scaledproc.extractors.base import Extractor, Task
from scaledproc.extractors.signal_names import SignalNames
from scaledproc.extractors.signal_stats import signal_stats
from scaledproc.extractors.statistics import QUANTILES, Statistics, statistics

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        pa.field("group", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("channel", pa.int32(), nullable=False),
        ("signal", pa.string()),
        ("units", pa.string()),
        pa.field("fmt", pa.string(), nullable=False),
        pa.field("fs", pa.float64(), nullable=False),
        pa.field("n_samples", pa.int64(), nullable=False),
        pa.field("n_missing", pa.int64(), nullable=False),
        *((name, pa.float64()) for name in ("mean", "std", "min", *QUANTILES, "max")),
        ("start_date", pa.date32()),
        ("start_time", pa.time64("us")),
        ("duration_s", pa.float64()),
        ("checksum_ok", pa.bool_()),
    ]
)
NUMERICS_FS = 2.0  # Hz; MIMIC's numerics come once a second or once a minute, its waveforms at 62.5 Hz and more
# The smallest integer type that wfdb may give a format's samples in; format 8 holds differences, so its sums are wider.
_BITS = {"80": 8, "508": 8, "8": 32, "24": 32, "32": 32, "524": 32}


class WfdbSummary(Extractor):
    """Statistics of every signal of every WFDB record, over its valid samples, in physical units.

    Anchors are headers, units are folders. Multi-segment masters and layout headers give no rows: their segments are
    tasks of their own. Every value equals that of `wfdb.rdrecord(…, smooth_frames=False)` and numpy.

    Parameters
    ----------
    signal_names
        A table of signal names in TOML instead of the built-in one, see `SignalNames`.
    """

    name = "wfdb-summary"
    version = "1"
    anchors = ("*.hea",)
    companions = ("*.dat",)

    def __init__(self, signal_names: str | None = None) -> None:
        self._signal_names = signal_names

    @property
    def schema(self) -> pa.Schema:
        """Columns before `finish`."""
        return SCHEMA

    @cached_property
    def names(self) -> SignalNames:
        """The table that `finish` normalizes names by.

        Raises
        ------
        UsageError
            It cannot be read.
        """
        return SignalNames.parse(self._signal_names) if self._signal_names is not None else SignalNames.built_in()

    def extract(self, task: Task) -> list[dict[str, Any]]:
        """The rows of one header.

        Raises
        ------
        FileNotFoundError
            A signal file that the header names is not in the unit.
        ValueError
            The header cannot be read, or the signal file does not hold what it says.
        """
        import wfdb

        header = wfdb.rdheader(str(task.path.with_suffix("")))
        if isinstance(header, wfdb.MultiRecord) or not header.n_sig or not header.file_name:
            return []
        files = set(header.file_name)
        if files == {"~"}:
            return []
        for file in files:
            task.beside(file)
        signals = _read(task.path, header)
        stored = _read(task.path, header, ignore_skew=True) if any(header.skew) else signals
        kind = _kind(task, header.fs)
        return [
            self._row(task, header, kind, channel, signals[channel], stored[channel]) for channel in range(header.n_sig)
        ]

    @staticmethod
    def _row(
        task: Task, header: Any, kind: str, channel: int, signal: NDArray[np.integer], stored: NDArray[np.integer]
    ) -> dict[str, Any]:
        fmt = header.fmt[channel]
        fs = float(header.fs) * header.samps_per_frame[channel]
        found: Statistics = statistics(
            signal, missing=_missing(fmt), gain=header.adc_gain[channel], baseline=header.baseline[channel]
        )
        checksum = header.checksum[channel]
        return {
            "group": task.group,
            "unit": task.unit,
            "record": task.path.stem,
            "kind": kind,
            "channel": channel,
            "signal": header.sig_name[channel],
            "units": header.units[channel],
            "fmt": fmt,
            "fs": fs,
            "n_samples": found.n,
            "n_missing": found.missing,
            "mean": found.mean,
            "std": found.std,
            "min": found.min,
            **dict(zip(QUANTILES, found.quantiles, strict=True)),
            "max": found.max,
            "start_date": header.base_date,
            "start_time": header.base_time,
            "duration_s": found.n / fs if fs else None,
            "checksum_ok": None if checksum is None else (int(stored.sum(dtype="int64")) - checksum) % 65_536 == 0,
        }

    def finish(self, table: pa.Table) -> pa.Table:
        """Add `signal_name`, the canonical name for (kind, signal)."""
        names = self.names.canonical(table["kind"], table["signal"])
        return table.add_column(table.schema.get_field_index("signal") + 1, "signal_name", names)

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """`signal_stats`: statistics per (kind, signal_name, units)."""
        return {"signal_stats": signal_stats(tables)}


def _read(path: Path, header: Any, *, ignore_skew: bool = False) -> list[NDArray[np.integer]]:
    """Every channel's digital samples, all samples of all frames."""
    import wfdb

    # wfdb 4.3 cannot name the integer type of format 61, which is big-endian; its physical values are right.
    physical = "61" in header.fmt
    record = wfdb.rdrecord(
        str(path.with_suffix("")),
        physical=physical,
        smooth_frames=False,
        ignore_skew=ignore_skew,
        return_res=64 if physical else max(_BITS.get(fmt, 16) for fmt in header.fmt),
    )
    if not physical:
        signals: list[NDArray[np.integer]] = record.e_d_signal
        return signals
    return [_digital(signal, header, channel) for channel, signal in enumerate(record.e_p_signal)]


def _digital(signal: NDArray[np.float64], header: Any, channel: int) -> NDArray[np.integer]:
    """The samples that physical values were made from; rounding gives them back exactly, up to 32 bits."""
    import numpy as np

    missing = _missing(header.fmt[channel])
    digital = signal * header.adc_gain[channel] + header.baseline[channel]
    if missing is not None:
        digital[np.isnan(digital)] = missing
    rounded: NDArray[np.integer] = np.rint(digital).astype(np.int64)
    return rounded


def _missing(fmt: str) -> int | None:
    """The digital value that stands for a missing sample in a storage format."""
    from wfdb.io._signal import INVALID_SAMPLE_VALUE

    value: int | None = INVALID_SAMPLE_VALUE[fmt]
    return value


def _kind(task: Task, fs: float) -> str:
    folder = task.path.parent.name
    return "numerics" if task.path.stem == f"{folder}n" or fs <= NUMERICS_FS else "waveform"
