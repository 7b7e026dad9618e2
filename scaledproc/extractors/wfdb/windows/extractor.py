"""The built-in extractor `wfdb-windows`: features of windows of every signal of a WFDB record."""

from __future__ import annotations

import hashlib
import math
import os
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa

from scaledproc.errors import UsageError
from scaledproc.extractors.base import Extractor, Task
from scaledproc.extractors.options import Option
from scaledproc.extractors.wfdb.given_tables import NamesOption, RangesOption
from scaledproc.extractors.wfdb.headers.header import parse_header, read_header
from scaledproc.extractors.wfdb.headers.rates import rate_of
from scaledproc.extractors.wfdb.headers.record import HEADER, records_of, ticks_per_second, when_counted
from scaledproc.extractors.wfdb.headers.task_header import listed_files, shared_values
from scaledproc.extractors.wfdb.signals.samples import signal_files
from scaledproc.extractors.wfdb.summary import ENDING, NUMERICS_FS
from scaledproc.extractors.wfdb.windows.beats_table import BEATS, SCHEMA, BeatsInOrder
from scaledproc.extractors.wfdb.windows.columns import (
    OF_RECORDS,
    documented_as,
    measured_fields,
    schema_of,
    texts_of_bands,
    units_of,
)
from scaledproc.extractors.wfdb.windows.measures.beats import kind_of
from scaledproc.extractors.wfdb.windows.measures.kernel import kernel_in_use, use_compiled
from scaledproc.extractors.wfdb.windows.place import timeline
from scaledproc.extractors.wfdb.windows.reading import Chosen, windows_at_once, windows_of
from scaledproc.extractors.wfdb.windows.rows import SignalRow, long_rows, wide_rows, with_beats
from scaledproc.extractors.wfdb.windows.settings import BANDS, Selection, lengths, parse_bands
from scaledproc.extractors.wfdb.windows.streams import Looks, Measures

if TYPE_CHECKING:
    from scaledproc.extractors.account import Account, Example, Reading
    from scaledproc.extractors.tables import TableRows
    from scaledproc.extractors.wfdb.headers.header import Header, SignalLine
    from scaledproc.extractors.wfdb.headers.record import Place
    from scaledproc.extractors.wfdb.signal_names import SignalNames
    from scaledproc.extractors.wfdb.windows.measures.told import Batch
    from scaledproc.extractors.wfdb.windows.numerics import Series
    from scaledproc.extractors.wfdb.windows.place import Timeline

_REMEMBERED = 64
"""Lists of signals, what is looked at in each of which is remembered."""


class WfdbWindows(Extractor):
    """Features of windows of every signal of every WFDB record, over its valid samples, in physical units.

    Anchors are headers, units are folders, as in `wfdb-summary`, by which headers, samples and times are read too.
    A window has a row for each signal that has samples in it. What comes from counts and sums is made of whole
    numbers, and is the same on every processor. Spectra are by Welch's method, rounded to single precision.

    Records are read in pieces, so that memory depends on the length of a window, not on that of a record. A signal
    without a file has no windows. In `grid=record` windows are counted from the record's beginning, as the master
    header has it, so that those of its segments and numerics are the same; where no master tells, from the first
    sample. In `clock` they begin at multiples of `step` after midnight of 1 January 1970, for which the record must
    have date and time; in `segment` at the first sample of each header. A window that a segment begins or ends in
    has those samples alone: `n_samples` tells how many they are.

    Values are null where less than `min_valid` of a window, the part outside of the segment counted, is valid, and
    where undefined. MIMIC-IV's numerics, whose times are irregular, have a row for each window with a value, whatever
    `min_valid` is.

    Spectra are of windows in which at most a tenth of the samples is missing, and no more than 0.5 s at once: these
    are interpolated linearly, at the window's ends the nearest sample is repeated. Numerics have none, and windows of
    less than 8 samples. A segment has 20 s, or the window's length, but no multiple of a prime above 13 in samples;
    segments overlap by half, each without its mean and under a Hann window (Welch 1967,
    doi:10.1109/TAU.1967.1161901). As in `scipy.signal.welch`, samples at a window's end that are too few for one more
    segment are in none. A frequency belongs to a band from its lower edge on and below its upper one.

    Where `window` times the rate is no whole number, some windows have one sample more than others. Spectra are of as
    many as the shortest ones have, from the window's beginning on.

    Parameters
    ----------
    window, step
        Seconds that a window has, and from the beginning of one to that of the next one.
    grid
        `record`, `clock` or `segment`: from where windows are counted.
    across_segments
        Whether a record of several segments has one row of windows, by its master header, instead of one for each
        segment. Then `n_samples` counts all samples of the record, and what is not in a segment is missing; windows
        without any valid sample have no row. A signal whose units, gain, baseline, format or converter changes is
        another one from there on, `channel` is the order in which they come, those that are not wanted too, and
        segments without a header are gaps.
    min_valid
        Share of valid samples, below which values are null.
    signals
        Canonical names, names as written, or globs of them, whatever their case and spaces; all where none is given.
    bands
        Bands of frequencies, such as `slow:0.05-0.5` in Hz, which make a column `power_slow`.
    beats
        Whether ECG leads, and waves of arterial pressure and of the pleth, have columns of beats.
    beats_table
        Whether there is a further table, `beats`, of all beats that were found, those outside of windows too.
    layout
        `long`, a row for each window and signal; or `wide`, a row for each window with columns such as `ABP_mean` for
        each of `signals`, which must be names then. Of several signals of a name the first one with samples in a window
        counts.
    signal_names
        The content of a table of signal names in TOML instead of the built-in one, see `SignalNames`. A person gives
        the name of its file.
    ranges
        The content of a table of physiological ranges for reports, as in `wfdb-summary`; no row depends on it.

    Columns
    -------
    group
        The top folder, as in `wfdb-summary`.
    unit
        The folder of the record, as in `wfdb-summary`.
    record
        Name of the header, or of the file of numerics, without its ending; with `across_segments` of the master.
    record_name
        The record that this is a segment of, or whose numerics it has, as in `wfdb-summary`.
    subject_id
        The patient as in MIMIC's tables, as in `wfdb-summary`.
    hadm_id
        The hospital stay as in MIMIC's tables, as in `wfdb-summary`.
    kind
        `numerics` or `waveform`, as in `wfdb-summary`.
    channel
        Place in the header, from 0; with `across_segments` the order in which signals come, all signals counted.
    signal
        Name as written.
    signal_name
        Canonical name for kind and signal; the name as written where none is known.
    units
        Physical units as written: `mV` where none are.
    fs
        Samples per second of this signal as written, Hz; null for MIMIC-IV's numerics, whose times are irregular. A
        rate that is rounded counts as what was rounded: 0.0166666666667 Hz, of MIMIC-III's numerics, as 1/60 Hz.
    window
        The number of the window: it begins `window * step` seconds after the point that `grid` names.
    start
        When the window begins; null where no header has a date, or two masters have different ones.
    offset_s
        How many seconds after its record the window begins; null where it is not known where in its record a segment
        is.
    n_samples
        Samples of the segment in the window, the missing ones too; in MIMIC-IV's numerics lines.
    n_missing
        Missing samples of the segment in the window; in MIMIC-IV's numerics lines without a value of this signal.
    n_distinct
        How many different values the valid samples have.
    n_zero
        How many of the valid samples are 0. In numerics a zero often stands for no value, and then falsifies the
        window's mean.
    n_at_min
        Valid samples at the limit on the side of `min`, as in `wfdb-summary`; null where none is known that all
        samples of the window are within.
    n_at_max
        Valid samples at the limit on the side of `max`, as `n_at_min`.
    flat_share
        Share of neighbours with equal values, among neighbours that are both valid.
    mean
        Of the valid samples, in the signal's units.
    std
        Standard deviation of the valid samples with ddof=1, in the signal's units.
    skewness
        Third standardised moment, biased as in `scipy.stats.skew` (g1 of Joanes and Gill 1998,
        doi:10.1111/1467-9884.00122); null where all samples are equal.
    kurtosis
        Fourth standardised moment less 3, that of a normal distribution, biased as in `scipy.stats.kurtosis` (g2 of
        Joanes and Gill 1998); null where all samples are equal.
    rms
        Root of the mean square, in the signal's units.
    min
        Smallest valid sample, in the signal's units.
    p05
        5 % of the valid samples lie below, in the signal's units, by linear interpolation.
    p25
        25 % of the valid samples lie below, in the signal's units, by linear interpolation.
    p50
        Median of the valid samples, in the signal's units.
    p75
        75 % of the valid samples lie below, in the signal's units, by linear interpolation.
    p95
        95 % of the valid samples lie below, in the signal's units, by linear interpolation.
    max
        Largest valid sample, in the signal's units.
    line_length
        Sum of the absolute differences of neighbours that are both valid, by the time between them: units per second
        (Esteller et al. 2001, doi:10.1109/IEMBS.2001.1020545, where it is not divided).
    crossings
        How often neighbours that are both valid lie on different sides of the mean, per second; a sample at the mean
        counts as above.
    hjorth_mobility
        Root of the ratio of the variance of the slope to that of the signal, per second: of a sine of f Hz about 2 pi f
        (Hjorth 1970, doi:10.1016/0013-4694(70)90143-4). Slopes are differences of neighbours. Null for irregular times.
    hjorth_complexity
        The mobility of the slope by that of the signal, without unit (Hjorth 1970). Null for irregular times.
    power_total
        Power at all frequencies above 0, squared units; null where single precision has no such number, as above 3e38
        or below 1e-38.
    power_slow, power_pulse, power_qrs, power_fast
        Power in the bands 0.05-0.5, 0.5-5, 5-15 and 15-40 Hz, or in those of `bands`, squared units; null where a
        band reaches above half of `fs`, its lower edge is below half the distance of frequencies, no frequency lies in
        it, or single precision has no such number.
    peak_hz
        Frequency with the most power, Hz; the lowest of several.
    spectral_entropy
        Shannon's entropy of the shares of power at the frequencies above 0, by its largest possible value: from 0
        to 1 (Inouye et al. 1991, doi:10.1016/0013-4694(91)90138-T).
    edge95_hz
        Frequency up to which 95 % of the power are, Hz.
    n_beats
        Beats in the window; null where none are looked for: below 50 Hz, and in signals whose canonical name is none of
        an ECG lead (`I`, `II`, `III`, `aVR`, `aVL`, `aVF`, `V`, `V+`, `V1` to `V9`, `V3R` to `V6R`, `MCL`, `MCL1`,
        `MCL6`, `MLII`, `ECG`) or of a pulse wave (`ABP`, `ART`, `PAP`, `UAP`, `PLETH`, `PLETH_left`, `PLETH_right`).
        Signals under other names have no beats, until a table of `signal_names` gives them one of these. Beats are
        detected in pieces of 600 s from the signal's first sample on, with 20 s before and after them, and two pieces
        meet at the first beat after their edge that both have: those of an ECG after Hamilton 2002
        (doi:10.1109/CIC.2002.1166717), those of pulse waves after Zong et al. 2003 (doi:10.1109/CIC.2003.1291140).
    hr
        Beats a minute: 60,000 by the median of the intervals in ms between successive beats of the window, of which
        none reaches across a gap.
    rr_mean
        Mean of the intervals between successive beats of the window, ms. Ectopic beats are not left out.
    sdnn
        Standard deviation of the intervals of `rr_mean` with ddof=1, ms (Task Force 1996,
        doi:10.1161/01.CIR.93.5.1043).
    rmssd
        Root of the mean square of the successive differences of the intervals of `rr_mean`, ms (Task Force 1996).
    pnn50
        Share of successive differences that are more than 50 ms, from 0 to 1.
    beat_quality
        Mean of the beats' quality, from 0 to 1. Of an ECG, it compares what is between beats with the beats, by the
        slopes that Hamilton's detector sums: 1 less twice the ratio of their mean up to 1 s from the beat, but for
        0.12 s around it and its neighbours, to their height in the beat. So 1 is silence between beats, and 0 noise of
        half their height or more. Of pulses, the correlation of the 0.7 s around the systolic peak with the mean of the
        seven pulses before and the seven after it, 0 where it is negative (after Orphanidou et al. 2015,
        doi:10.1109/JBHI.2014.2338351). The two are not on one scale.
    pulse_amplitude
        Of pressure and pleth waves: `systolic` less `diastolic` of a pulse, in the signal's units, median over the
        window's pulses. Pulses without a foot count in `systolic` alone.
    systolic
        Of pressure and pleth waves: the sample at the systolic peak, in the signal's units, median over the window's
        pulses. The peak is the maximum of the low-passed wave within 0.3 s after the steepest rise.
    diastolic
        Of pressure and pleth waves: the sample at the foot, in the signal's units, median over the window's pulses. The
        foot is the lowest sample within 0.5 s before the systolic peak and after the peak before, the last of several
        (the minimum method of Chiu et al. 1991, doi:10.1016/0002-8703(91)90153-9); there is none where that is the
        first sample after a gap, or of the signal.
    rise_time
        Of pressure and pleth waves: from the foot to the systolic peak, s, median over the window's pulses. It cannot
        exceed 0.5 s, as the foot is looked for no farther from the peak: slower upstrokes are told as shorter ones.
    header_note
        What of the header or of its master could not be understood, as in `wfdb-summary`.
    """

    name = "wfdb-windows"
    anchors = ("*.hea", f"{'[0-9]' * 8}n{ENDING}")
    companions = ("*.dat", "*.mat")
    own_keys = ("group", "unit")

    def __init__(
        self,
        window: Annotated[float, Option("Length of a window.", unit="seconds")] = 60.0,
        step: Annotated[
            float | None,
            Option(
                "From the beginning of a window to that of the next one.", unit="seconds", default_text="that of window"
            ),
        ] = None,
        grid: Annotated[Literal["record", "clock", "segment"], Option("From where windows are counted.")] = "record",
        across_segments: Annotated[
            bool, Option("Let windows reach across the segments of a record, and what lies between them.")
        ] = False,
        min_valid: Annotated[float, Option("Share of valid samples below which values are null.")] = 0.5,
        signals: Annotated[
            tuple[str, ...], Option("Canonical names, names as written, or globs of them.", default_text="all signals")
        ] = (),
        bands: Annotated[tuple[str, ...], Option("Bands whose power is told, NAME:LOW-HIGH in Hz.")] = BANDS,
        beats: Annotated[bool, Option("Detect beats in ECG leads, and pulses in pressure and pleth waves.")] = True,
        beats_table: Annotated[bool, Option("Write a further table, beats, with a row for each of them.")] = False,
        layout: Annotated[Literal["long", "wide"], Option("A row per window and signal, or per window.")] = "long",
        signal_names: NamesOption = None,
        ranges: RangesOption = None,
    ) -> None:
        # The public attributes tell plans apart.
        self.window, self.step, self.grid = float(window), None if step is None else float(step), grid
        self.across_segments, self.min_valid, self.layout = bool(across_segments), float(min_valid), layout
        self.signals, self.bands, self.beats = tuple(signals), tuple(bands), bool(beats)
        self.signal_names = None if signal_names is None else hashlib.sha256(signal_names.encode()).hexdigest()
        self._table_of_names = signal_names
        self._ranges = ranges
        self.beats_table = bool(beats_table)
        if self.beats_table:
            if not self.beats:
                raise UsageError("--set beats_table=true: there are none with beats=false")
            self.tables = {BEATS: SCHEMA}
        if not 0 <= self.min_valid <= 1:
            raise UsageError(f"--set min_valid={min_valid:g}: give a share from 0 to 1")
        self._length, self._step = lengths(window, step)
        self._selection = Selection(signals)
        self._bands = parse_bands(bands)
        self._wide = self._selection.columns() if layout == "wide" else ()
        self._chosen_before: dict[object, tuple[list[SignalRow], list[Chosen]]] = {}

    @property
    def _measured(self) -> list[pa.Field]:
        return measured_fields(self._bands, has_beats=self.beats)

    @property
    def units(self) -> Mapping[str, str]:
        """The units of columns; of what is in the signal's own, which column has these."""
        return units_of(self._names_of_measured, self._wide)

    @property
    def documented_as(self) -> Mapping[str, str]:
        """Columns that options name, with those above that tell what they mean."""
        return documented_as(self._names_of_measured, self._wide)

    @property
    def told_by_options(self) -> Mapping[str, str]:
        """What columns mean whose meaning the options say: the power in each band."""
        return texts_of_bands(self._bands, self._wide)

    @property
    def schema(self) -> pa.Schema:
        """Columns; with `bands` and the wide layout those that the options name."""
        return schema_of(self._measured, self._wide)

    @cached_property
    def _names(self) -> SignalNames:
        from scaledproc.extractors.wfdb.signal_names import SignalNames

        return SignalNames.parse(self._table_of_names) if self._table_of_names is not None else SignalNames.built_in()

    def noticed(self, table: pa.Table) -> list[str]:
        """Which of the wanted signals have rows."""
        if not self._selection.names:
            return []
        if self._wide:
            return [name for name in self._wide if table[f"{name}_n_samples"].null_count < table.num_rows]
        pairs = table.select(["signal", "signal_name"]).group_by(["signal", "signal_name"]).aggregate([]).to_pylist()
        return sorted({name for pair in pairs for name in self._selection.matched(*pair.values())})

    def end_notes(self, noticed: frozenset[str]) -> list[str]:
        """Names and globs of wanted signals that no row is of."""
        missed = [name for name in self._selection.names if name not in noticed]
        if not missed:
            return []
        where = "what signals are called, canonically and as written, is in the table of wfdb-summary"
        return [f"--set signals={','.join(missed)}: no row is of a signal that is called so; {where}"]

    def account(self, read: Reading) -> Account | None:
        """Signals with flags, coverage, timelines; the beats' rates beside the monitor's."""
        from scaledproc.extractors.wfdb.report.tables import account_of_windows

        length, step = float(self._length), float(self._step)
        return account_of_windows(read, self.schema.names, length, step, self._ranges, self._wide)

    def traces(self, task: Task, choice: int) -> Example | None:
        """Ten seconds of a record's signals."""
        from scaledproc.extractors.wfdb.report.traces import traces_of

        return traces_of(task, choice)

    def expect(self, size: int) -> None:
        """Load the compiled kernel where enough is to come; not where memory is limited, which is for the tasks."""
        if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
            use_compiled(size, has_beats=self.beats)

    def extract(self, task: Task) -> Iterable[Any]:
        """The windows of one header, or of one file of numerics.

        Raises
        ------
        FileNotFoundError
            If a signal file that the header names is not in the unit.
        ValueError
            If the header cannot be read, or a signal file does not hold what it says.
        """
        if task.anchor.endswith(ENDING):
            return self._rows_of_numerics(task)
        path, _ = os.path.splitext(task.anchor)  # noqa: PTH122 - of a text
        records = records_of(task)
        content = records.take(task.anchor)
        header = read_header(task.locate_in_unit(task.anchor)) if content is None else parse_header(content)
        if not header.signals and not (self.across_segments and header.segments):
            return []
        if self.across_segments and records.is_listed(path):  # its master's rows have it
            return []
        try:
            if header.segments:
                return _computed(self._rows_of_record(task, path, header))
            return self._rows_of_header(task, path, header, records.place(path, header))
        except ArithmeticError as error:
            raise _uncomputable(error) from None

    def _rows_of_header(self, task: Task, path: str, header: Header, place: Place) -> Iterable[Any]:
        folder, _, record = path.rpartition("/")
        is_numerics = record == f"{folder.rpartition('/')[2]}n"
        signals, chosen = self._chosen(header, is_numerics=is_numerics)
        if not chosen:
            return []
        paths = {
            file: task.locate_in_unit(relative)
            for file, relative in listed_files(task.anchor, task.files, header).items()
        }
        times = timeline(place, self.grid, self._step, self._length)
        measures = Measures(self.min_valid, self._bands, kernel_in_use(), self.beats, self.beats_table)
        shared = shared_values(task, record, place, header)
        files = signal_files(paths, header)
        batch = windows_at_once(paths, files, header, chosen, times.grid, measures)
        if batch is not None:  # few rows, of a short record
            return list(self._assembled(shared, signals, times, [batch]))
        beats = BeatsInOrder()
        found = windows_of(paths, files, header, chosen, times.grid, measures, beats)
        return _computed(self._with_beats(shared, signals, times, found, beats))

    def _chosen(self, header: Header, *, is_numerics: bool) -> tuple[list[SignalRow], list[Chosen]]:
        """The wanted signals of a header, and what is looked at in each; remembered, as segments mostly have the same.

        Raises
        ------
        OverflowError
            If a signal has more samples a second than a float can tell.
        """
        key = (
            is_numerics,
            header.fs,
            tuple([(each.name, each.units, each.samples_per_frame) for each in header.signals]),
        )
        known = self._chosen_before.get(key)
        if known is not None:
            return known
        signals: list[SignalRow] = []
        chosen: list[Chosen] = []
        for channel, (name, units, width) in enumerate(key[2]):
            fs = header.fs * width
            if math.isinf(fs):
                raise OverflowError("too many samples a second")
            kind = "numerics" if is_numerics or fs <= NUMERICS_FS else "waveform"
            described = self._describe(kind, channel, name, units, fs, float(rate_of(header.fs)) * width)
            if described is not None:
                signals.append(described)
                chosen.append(Chosen(channel, self._looks(described)))
        if len(self._chosen_before) >= _REMEMBERED:
            self._chosen_before = {}
        self._chosen_before[key] = signals, chosen
        return signals, chosen

    def _rows_of_record(self, task: Task, path: str, header: Header) -> Iterator[Any]:
        """The windows of a record of several segments, by its master header."""
        from scaledproc.extractors.wfdb.windows.across import Across, Part

        records = records_of(task)
        place, segments = records.whole(path)
        signals: list[SignalRow] = []

        def describe(signal: SignalLine, channel: int) -> Looks | None:
            fs = header.fs * signal.samples_per_frame
            kind = "numerics" if fs <= NUMERICS_FS else "waveform"
            rate = float(rate_of(header.fs)) * signal.samples_per_frame
            described = self._describe(kind, channel, signal.name, signal.units, fs, rate)
            if described is None:
                return None
            signals.append(described)
            return self._looks(described)

        def parts() -> Iterator[Part]:
            for segment in segments:
                anchor = f"{segment.path}{HEADER}"
                found = read_header(task.locate_in_unit(anchor))
                if found.signals and rate_of(found.fs) != rate_of(header.fs):
                    raise ValueError(f"{anchor} has {found.fs:g} frames a second, its record {header.fs:g}")
                files = listed_files(anchor, task.files, found)
                paths = {file: task.locate_in_unit(relative) for file, relative in files.items()}
                yield Part(segment.before, segment.n_frames, found, paths)

        times = timeline(place, self.grid, self._step, self._length)
        measures = Measures(self.min_valid, self._bands, kernel_in_use(), self.beats, self.beats_table)
        n_frames = sum(segment.n_frames for segment in header.segments)
        beats = BeatsInOrder()
        rows = Across(rate_of(header.fs), n_frames, times.grid, measures, describe, beats).rows(parts())
        record = path.rpartition("/")[2]
        yield from self._with_beats(shared_values(task, record, place), signals, times, rows, beats)

    def _rows_of_numerics(self, task: Task) -> Iterator[dict[str, Any] | pa.Table]:
        """The windows of a MIMIC-IV file of numerics."""
        from scaledproc.extractors.wfdb.windows.numerics import read_series, windows_of_series

        file = task.anchor.rpartition("/")[2]
        record = file.removesuffix(ENDING)
        master, notes = records_of(task).clock(task.anchor.removesuffix(f"n{ENDING}"), task)
        found = read_series(task.locate(file))
        if found is None:
            if master is None:  # of another origin, which has a name as MIMIC-IV's have
                return
            raise ValueError("the first column is not called time")
        if master is None:
            raise ValueError("; ".join(notes) or f"there is no header {record[:-1]}.hea, so nothing tells its times")
        frequency = ticks_per_second(master.header)
        if frequency is None or master.header.base_counter is None:
            raise ValueError("; ".join(master.notes))
        place, _ = when_counted(master, found.first, found.first)
        times = timeline(place, self.grid, self._step, self._length)
        signals: list[SignalRow] = []
        chosen: list[Series] = []
        for channel, series in enumerate(found.series):
            described = self._describe("numerics", channel, series.name, series.units, None, None)
            if described is not None:
                signals.append(described)
                chosen.append(series)
        more = [f"{each.name}: {each.note}" for each in chosen if each.note is not None]
        measures = Measures(self.min_valid, self._bands, kernel_in_use(), self.beats, self.beats_table)
        rows = windows_of_series(found, chosen, frequency, times.grid, measures)
        try:
            yield from self._assembled(shared_values(task, record, place, more=more), signals, times, rows)
        except ArithmeticError as error:
            raise ValueError(f"it has numbers that nothing can be computed with: {error}") from None

    def _looks(self, signal: SignalRow) -> Looks:
        """What is looked at in a signal besides its values."""
        if signal.kind == "numerics" or signal.rate is None:
            return Looks(has_spectra=False)
        return Looks(has_spectra=True, beats=kind_of(signal.canonical, signal.rate) if self.beats else None)

    def _describe(
        self, kind: str, channel: int, name: str | None, units: str | None, fs: float | None, rate: float | None
    ) -> SignalRow | None:
        """What is the same in all rows of a signal; None of one that is not wanted."""
        canonical = self._names.name_of(kind, name)
        place = self._selection.place(canonical, name)
        return None if place is None else SignalRow(kind, channel, name, canonical, units, fs, rate, place)

    def _with_beats(
        self,
        shared: Mapping[str, Any],
        signals: Sequence[SignalRow],
        times: Timeline,
        batches: Iterable[Batch],
        beats: BeatsInOrder,
    ) -> Iterator[dict[str, Any] | pa.Table | TableRows]:
        """Windows as rows of the schema, and beats as those of the further table."""
        assembled = self._assembled(shared, signals, times, batches)
        return with_beats(assembled, shared, signals, times, beats) if self.beats_table else assembled

    def _assembled(
        self, shared: Mapping[str, Any], signals: Sequence[SignalRow], times: Timeline, batches: Iterable[Batch]
    ) -> Iterator[dict[str, Any] | pa.Table]:
        """Windows as rows of the schema."""
        common = {name: shared[name] for name in OF_RECORDS} | {"header_note": shared["header_note"]}
        if self._wide:
            return wide_rows(common, signals, times, batches, self._names_of_measured, self._wide)
        return long_rows(common, signals, times, batches, self._names_of_measured, self._schema)

    @cached_property
    def _schema(self) -> pa.Schema:
        return self.schema

    @cached_property
    def _names_of_measured(self) -> list[str]:
        return [each.name for each in self._measured]


def _computed(rows: Iterable[Any]) -> Iterator[Any]:
    """Rows that are made while they are taken.

    Raises
    ------
    ValueError
        If nothing can be computed with the numbers of their header.
    """
    try:
        yield from rows
    except ArithmeticError as error:
        raise _uncomputable(error) from None


def _uncomputable(error: ArithmeticError) -> ValueError:
    return ValueError(f"the header has numbers that nothing can be computed with: {error}")
