"""The built-in extractor `wfdb-summary`: one row of statistics per signal of a WFDB record."""

from __future__ import annotations

import math
import os
import posixpath
import resource
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from scaledproc.extractors.base import Extractor, Task
from scaledproc.extractors.byte_counting import MUCH, use_compiled
from scaledproc.extractors.statistics import QUANTILES
from scaledproc.extractors.wfdb_header import read_header
from scaledproc.extractors.wfdb_samples import describe_samples

if TYPE_CHECKING:
    from scaledproc.extractors.signal_names import SignalNames
    from scaledproc.extractors.wfdb_header import Header
    from scaledproc.extractors.wfdb_samples import Described

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
        pa.field("n_zero", pa.int64(), nullable=False),
        pa.field("n_distinct", pa.int64(), nullable=False),
        ("n_at_min", pa.int64()),
        ("n_at_max", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "std", "min", *QUANTILES, "max")),
        ("start_date", pa.date32()),
        ("start_time", pa.time64("us")),
        ("duration_s", pa.float64()),
        ("checksum_ok", pa.bool_()),
        ("header_note", pa.string()),
    ]
)
NUMERICS_FS = 2.0  # Hz; MIMIC's numerics come once a second or once a minute, its waveforms at 62.5 Hz and more


class WfdbSummary(Extractor):
    """Statistics of every signal of every WFDB record, over its valid samples, in physical units.

    Anchors are headers, units are folders. Multi-segment masters and layout headers give no rows: their segments are
    tasks of their own. Headers and samples are read by their specifications, header(5) and signal(5).

    Parameters
    ----------
    signal_names
        A table of signal names in TOML instead of the built-in one, see `SignalNames`.
    """

    name = "wfdb-summary"
    version = "2"
    anchors = ("*.hea",)
    companions = ("*.dat",)
    apart = frozenset({"_signal_names", "_names"})  # the combine step's

    def __init__(self, signal_names: str | None = None) -> None:
        self._signal_names = signal_names

    @property
    def schema(self) -> pa.Schema:
        """Columns before `finish`."""
        return SCHEMA

    @cached_property
    def _names(self) -> SignalNames:
        """The table that `finish` normalizes names by.

        Raises
        ------
        UsageError
            It cannot be read.
        """
        from scaledproc.extractors.signal_names import SignalNames

        return SignalNames.parse(self._signal_names) if self._signal_names is not None else SignalNames.built_in()

    def expect(self, size: int) -> None:
        """Load a faster way to count where much is to come; not where memory is limited, which is for the tasks."""
        if size >= MUCH and resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
            use_compiled()

    def extract(self, task: Task) -> list[dict[str, Any]]:
        """The rows of one header.

        Raises
        ------
        FileNotFoundError
            If a signal file that the header names is not in the unit.
        ValueError
            If the header cannot be read, or a signal file does not hold what it says.
        """
        folder, _, name = task.anchor.rpartition("/")
        header = read_header(task.locate(name))
        paths = {file: task.locate(posixpath.normpath(file) if "/" in file else file) for file in header.files}
        record = os.path.splitext(name)[0]  # noqa: PTH122 - of a text
        is_numerics = record == f"{folder.rpartition('/')[2]}n"
        try:
            return [
                _row(task, record, header, channel, samples, is_numerics, header.note)
                for channel, samples in enumerate(describe_samples(paths, header))
            ]
        except ArithmeticError as error:
            raise ValueError(f"the header has numbers that nothing can be computed with: {error}") from None

    def finish(self, table: pa.Table) -> pa.Table:
        """Add `signal_name`, the canonical name for (kind, signal)."""
        names = self._names.canonical(table["kind"], table["signal"])
        return table.add_column(table.schema.get_field_index("signal") + 1, "signal_name", names)

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """`signal_stats`: statistics per (kind, signal_name, units)."""
        from scaledproc.extractors.signal_stats import signal_stats

        return {"signal_stats": signal_stats(tables)}


def _row(
    task: Task, record: str, header: Header, channel: int, samples: Described, is_numerics: bool, note: str | None
) -> dict[str, Any]:
    signal = header.signals[channel]
    fs = header.fs * signal.samples_per_frame
    if math.isinf(fs) or samples.statistics.n >= 2**63:
        raise OverflowError("too many samples")
    found = samples.statistics
    # header(5): where the number of samples is not specified the checksum is not verified.
    checksum = None if header.n_frames is None or signal.is_null else signal.checksum
    return {
        "group": task.group,
        "unit": task.unit,
        "record": record,
        "kind": "numerics" if is_numerics or fs <= NUMERICS_FS else "waveform",
        "channel": channel,
        "signal": signal.name,
        "units": signal.units,
        "fmt": signal.fmt,
        "fs": fs,
        "n_samples": found.n,
        "n_missing": found.missing,
        "n_zero": found.zero,
        "n_distinct": found.distinct,
        "n_at_min": found.at_min,
        "n_at_max": found.at_max,
        "mean": found.mean,
        "std": found.std,
        "min": found.min,
        **dict(zip(QUANTILES, found.quantiles, strict=True)),
        "max": found.max,
        "start_date": header.date,
        "start_time": header.time,
        "duration_s": found.n / fs,
        "checksum_ok": None if checksum is None else (samples.stored_total - checksum) % 65_536 == 0,
        "header_note": note,
    }
