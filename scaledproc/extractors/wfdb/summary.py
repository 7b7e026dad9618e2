"""The built-in extractor `wfdb-summary`: one row of statistics per signal of a WFDB record."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from scaledproc.extractors.base import Extractor, Task
from scaledproc.extractors.wfdb.given_tables import NamesOption, RangesOption
from scaledproc.extractors.wfdb.headers.header import parse_header, read_header
from scaledproc.extractors.wfdb.headers.rates import rate_of
from scaledproc.extractors.wfdb.headers.record import records_of, when_counted
from scaledproc.extractors.wfdb.headers.task_header import listed_files, shared_values
from scaledproc.extractors.wfdb.signals.byte_counting import use_compiled
from scaledproc.extractors.wfdb.signals.samples import describe_samples
from scaledproc.extractors.wfdb.signals.statistics import QUANTILES

if TYPE_CHECKING:
    from scaledproc.extractors.account import Account, Example, Reading
    from scaledproc.extractors.wfdb.headers.header import Header
    from scaledproc.extractors.wfdb.signal_names import SignalNames
    from scaledproc.extractors.wfdb.signals.samples import Described
    from scaledproc.extractors.wfdb.signals.statistics import Statistics

SCHEMA = pa.schema(
    [
        pa.field("group", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),
        ("record_name", pa.string()),
        ("subject_id", pa.int64()),
        ("hadm_id", pa.int64()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("channel", pa.int32(), nullable=False),
        ("signal", pa.string()),
        ("units", pa.string()),
        ("signal_file", pa.string()),
        pa.field("fmt", pa.string(), nullable=False),
        ("fs", pa.float64()),
        pa.field("n_samples", pa.int64(), nullable=False),
        pa.field("n_missing", pa.int64(), nullable=False),
        pa.field("n_zero", pa.int64(), nullable=False),
        pa.field("n_distinct", pa.int64(), nullable=False),
        ("n_at_min", pa.int64()),
        ("n_at_max", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "std", "min", *QUANTILES, "max")),
        ("start", pa.timestamp("us")),
        ("offset_s", pa.float64()),
        ("start_date", pa.date32()),
        ("start_time", pa.time64("us")),
        ("duration_s", pa.float64()),
        ("checksum_ok", pa.bool_()),
        ("comments", pa.string()),
        ("header_note", pa.string()),
    ]
)
ENDING = ".csv.gz"
"""Of MIMIC-IV's numerics, which are named after their master header: eight digits, and `n`."""
_LARGEST = 1e100
"""Of physical values: squares of more are no floats."""
NUMERICS_FS = 2.0  # Hz; MIMIC's numerics come once a second or once a minute, its waveforms at 62.5 Hz and more


class WfdbSummary(Extractor):
    """Statistics of every signal of every WFDB record, over its valid samples, in physical units.

    Anchors are headers, units are folders. Multi-segment masters and layout headers give no rows: their segments are
    tasks of their own, and have their times from the master. Headers and samples are read by their specifications,
    header(5) and signal(5). Beside a MIMIC-IV master its numerics in CSV are one row for each column.

    Parameters
    ----------
    signal_names
        The content of a table of signal names in TOML instead of the built-in one, see `SignalNames`. A person gives
        the name of its file.
    ranges
        The content of a table of physiological ranges in TOML instead of the built-in one, for reports: no row depends
        on it. A person gives the name of its file.

    Columns
    -------
    group
        The top folder, such as `30`.
    unit
        The folder of the record, such as `30/3000003`.
    record
        Name of the header, or of the file of numerics, without its ending, such as `3000003_0001`.
    record_name
        The record that this is a segment of, or whose numerics it has: the name of the master header in the
        unit; null where none lists it. Where several do, one with a date goes first, then one named after a
        patient, then the first by path.
    subject_id
        The patient as in MIMIC's tables: from comments of the header or of its master (`# subject_id 16955095`),
        or from MIMIC's names (`p00/p000020`, `p169/p16955095`, `p000020-2183-04-28-17-47`); null where nothing
        tells, or where these contradict each other.
    hadm_id
        The hospital stay as in MIMIC's tables, from comments of the header or of its master (`# hadm_id 25094553`);
        null where nothing tells, or where these contradict each other.
    kind
        `numerics` in a record whose name is its folder's name and `n`, and for a signal of at most 2 Hz; else
        `waveform`.
    channel
        Place in the header, from 0 (names repeat within real records).
    signal
        Name as written.
    signal_name
        Canonical name for kind and signal; the name as written where none is known.
    units
        Physical units as written: `mV` where none are.
    signal_file
        Where the samples are, below the dataset's root.
    fmt
        Storage format as written; `csv` for MIMIC-IV's numerics.
    fs
        Samples per second of this signal as written, Hz; null for MIMIC-IV's numerics, whose times are irregular.
    n_samples
        All samples, the missing ones too.
    n_missing
        Samples with the format's missing value, of a signal without a file, or behind the end of a skewed signal
        (all, where the skew is longer than the record).
    n_zero
        Valid samples whose physical value is 0 (in numerics it often stands for no value).
    n_distinct
        How many different values the valid samples have (1 is a flat line).
    n_at_min
        Valid samples at the limit on the side of `min` (with a negative gain the highest stored value): that of the
        format, or of the converter where the header gives its resolution and no sample lies beyond (many are
        saturation); null where neither is known.
    n_at_max
        Valid samples at the limit on the side of `max`, as `n_at_min`.
    mean
        Of the valid samples, in physical units; null where there is none.
    std
        Standard deviation of the valid samples with ddof=1, in physical units; null where there is one or none.
    min
        Smallest valid sample, in physical units; null where there is none.
    p25
        25 % of the valid samples lie below, in physical units, by linear interpolation; null where there is none.
    p50
        Median of the valid samples, in physical units; null where there is none.
    p75
        75 % of the valid samples lie below, in physical units, by linear interpolation; null where there is none.
    max
        Largest valid sample, in physical units; null where there is none.
    start
        When the first sample was taken: by the master header, whose segments before it are added up exactly; else
        by the header itself. Null where no header has a date, or two masters have different ones. MIMIC-III's
        numerics begin with their master; in MIMIC-IV's it is the first value of the column, by the master's counter.
    offset_s
        How many seconds after the beginning of its record the first sample was taken, by the master header; null
        where there is none.
    start_date
        The date that the header itself has (real segments have none); null where there is none, or it is not
        written as DD/MM/YYYY.
    start_time
        The time of day that the header itself has; null where there is none, or it is not written as HH:MM:SS.
    duration_s
        `n_samples` by the rate; where `fs` is rounded, as the 0.0166666666667 Hz of MIMIC-III's numerics, by what was
        rounded, 1/60 Hz. In MIMIC-IV's numerics from the first value to the last.
    checksum_ok
        Whether the samples match the header's checksum; null where it has none, or no number of samples.
    comments
        Comment lines of the header, then of its master.
    header_note
        What of the header or of its master could not be understood, by line and field, or does not agree; null
        where all was and does.
    """

    name = "wfdb-summary"
    version = "2"
    anchors = ("*.hea", f"{'[0-9]' * 8}n{ENDING}")
    own_keys = ("group", "unit")
    companions = ("*.dat", "*.mat")
    companion_column = "signal_file"
    units: ClassVar[Mapping[str, str]] = {"fs": "Hz", "offset_s": "s", "duration_s": "s"}
    apart = frozenset({"_signal_names", "_names"})  # the combine step's

    def __init__(
        self,
        signal_names: NamesOption = None,
        ranges: RangesOption = None,
    ) -> None:
        self._signal_names = signal_names
        self._ranges = ranges

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
            If the table that travels with the run cannot be read.
        """
        from scaledproc.extractors.wfdb.signal_names import SignalNames

        return SignalNames.parse(self._signal_names) if self._signal_names is not None else SignalNames.built_in()

    def expect(self, size: int) -> None:
        """Load a faster way to count where enough is to come; not where memory is limited, which is for the tasks."""
        if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
            use_compiled(size)

    def extract(self, task: Task) -> list[dict[str, Any]]:
        """The rows of one header, or of one file of numerics.

        Raises
        ------
        FileNotFoundError
            If a signal file that the header names is not in the unit.
        ValueError
            If the header cannot be read, or a signal file does not hold what it says.
        """
        if task.anchor.endswith(ENDING):
            return _rows_of_numerics(task)
        path, _ = os.path.splitext(task.anchor)  # noqa: PTH122 - of a text
        folder, _, record = path.rpartition("/")
        records = records_of(task)
        content = records.take(task.anchor)
        header = read_header(task.locate_in_unit(task.anchor)) if content is None else parse_header(content)
        if not header.signals:
            return []
        files = listed_files(task.anchor, task.files, header)
        paths = {file: task.locate_in_unit(relative) for file, relative in files.items()}
        is_numerics = record == f"{folder.rpartition('/')[2]}n"
        try:
            samples = describe_samples(paths, header)
            if not samples:
                return []
            shared = shared_values(task, record, records.place(path, header), header)
            return [_row(shared, header, files, channel, found, is_numerics) for channel, found in enumerate(samples)]
        except ArithmeticError as error:
            raise ValueError(f"the header has numbers that nothing can be computed with: {error}") from None

    def finish(self, table: pa.Table) -> pa.Table:
        """Add `signal_name`, the canonical name for (kind, signal)."""
        names = self._names.canonical(table["kind"], table["signal"])
        return table.add_column(table.schema.get_field_index("signal") + 1, "signal_name", names)

    def account(self, read: Reading) -> Account:
        """Signals with flags, coverage, some records over time."""
        from scaledproc.extractors.wfdb.report.tables import account_of_summary

        return account_of_summary(read, self._ranges)

    def traces(self, task: Task, choice: int) -> Example | None:
        """Ten seconds of a record's signals."""
        from scaledproc.extractors.wfdb.report.traces import traces_of

        return traces_of(task, choice)

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """`signal_stats`: statistics per (kind, signal_name, units)."""
        from scaledproc.extractors.wfdb.signal_stats import signal_stats

        return {"signal_stats": signal_stats(tables)}

    def partial_summaries(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        """What `signal_stats` of all rows is made of: exact sums of some of them."""
        from scaledproc.extractors.wfdb.signal_stats import partial_stats

        return {"signal_stats": partial_stats(tables)}

    def merge_summaries(self, partials: Iterable[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
        """`signal_stats`, as `summarise` gives it."""
        from scaledproc.extractors.wfdb.signal_stats import merge_stats

        return {"signal_stats": merge_stats(partial["signal_stats"] for partial in partials)}


def _row(
    shared: dict[str, Any],
    header: Header,
    files: Mapping[str, str],
    channel: int,
    samples: Described,
    is_numerics: bool,
) -> dict[str, Any]:
    signal = header.signals[channel]
    fs = header.fs * signal.samples_per_frame
    found = samples.statistics
    duration = found.n / (float(rate_of(header.fs)) * signal.samples_per_frame)
    if math.isinf(fs) or found.n >= 2**63 or math.isinf(duration):
        raise OverflowError("too many samples, or too few a second")
    # Of the mean and the deviation, too; what is not a number is not in bounds.
    if found.min is not None and found.max is not None and not -_LARGEST <= found.min <= found.max <= _LARGEST:
        raise OverflowError(f"the ADC gain of signal {channel} makes samples larger than {_LARGEST:g}")
    note = shared["header_note"]
    if signal.skew > found.n and not signal.is_null:
        late = f"all of its {found.n:,} samples are missing, as its skew is {signal.skew:,}"
        shared = {**shared, "header_note": late if note is None else f"{note}; {late}"}
    # header(5): where the number of samples is not specified the checksum is not verified.
    checksum = None if header.n_frames is None or signal.is_null else signal.checksum
    row = {
        **shared,
        "kind": "numerics" if is_numerics or fs <= NUMERICS_FS else "waveform",
        "channel": channel,
        "signal": signal.name,
        "units": signal.units,
        "signal_file": files.get(signal.file),
        "fmt": signal.fmt,
        "fs": fs,
        "duration_s": duration,
        "checksum_ok": None if checksum is None else (samples.stored_total - checksum) % 65_536 == 0,
    }
    _describe(row, found)
    return row


def _describe(row: dict[str, Any], found: Statistics) -> None:
    """Give a row what the samples sum up to."""
    (
        row["n_samples"],
        row["n_missing"],
        _,
        row["n_zero"],
        row["n_distinct"],
        row["n_at_min"],
        row["n_at_max"],
        row["mean"],
        row["std"],
        row["min"],
        (row["p25"], row["p50"], row["p75"]),
        row["max"],
    ) = found


def _rows_of_numerics(task: Task) -> list[dict[str, Any]]:
    """A row for each column of a MIMIC-IV file of numerics."""
    from scaledproc.extractors.wfdb.numerics import read_numerics

    file = task.anchor.rpartition("/")[2]
    record = file.removesuffix(ENDING)
    master, notes = records_of(task).clock(task.anchor.removesuffix(f"n{ENDING}"), task)
    columns = read_numerics(task.locate(file))
    if columns is None:
        if master is None:  # of another origin, which has a name as MIMIC-IV's have
            return []
        raise ValueError("the first column is not called time")
    if master is None:
        notes = notes or (f"there is no header {record[:-1]}.hea, so no time",)
    rows = []
    for channel, column in enumerate(columns):
        place, duration = when_counted(master, column.first, column.last)
        more = notes if column.note is None else (*notes, column.note)
        row = {
            **shared_values(task, record, place, more=more),
            "kind": "numerics",
            "channel": channel,
            "signal": column.name,
            "units": column.units,
            "signal_file": task.anchor,
            "fmt": "csv",
            "fs": None,
            "duration_s": duration,
            "checksum_ok": None,
        }
        _describe(row, column.statistics)
        rows.append(row)
    return rows
