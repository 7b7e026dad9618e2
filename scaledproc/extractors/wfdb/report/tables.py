"""What a report tells of a table of `wfdb-summary`, and of one of `wfdb-windows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaledproc.extractors.account import Account, share_read
from scaledproc.extractors.wfdb.report import agreement, coverage, window_rows
from scaledproc.extractors.wfdb.report.agreement import Agreement
from scaledproc.extractors.wfdb.report.coverage import Coverage
from scaledproc.extractors.wfdb.report.ranges import ranges_of
from scaledproc.extractors.wfdb.report.signals import COUNTS, KEYS, Signals, signal_worries, signals_table
from scaledproc.extractors.wfdb.report.window_rows import WindowCoverage, as_long, wide_columns

if TYPE_CHECKING:
    from scaledproc.extractors.account import Reading


def account_of_summary(read: Reading, ranges: str | None = None) -> Account:
    """Of a table of `wfdb-summary`: signals with flags, coverage, timelines.

    Parameters
    ----------
    read
        Reads the table.
    ranges
        The content of a table of physiological ranges instead of the built-in one.
    """
    signals, covered, share = Signals(ranges_of(ranges)), Coverage(), share_read(read)
    own = (*KEYS, *COUNTS, *signals.columns, "checksum_ok")
    for table in read(tuple(dict.fromkeys((*own, *coverage.COLUMNS)))):
        signals.add(table)
        covered.add(table)
    if not signals.found:
        return Account()
    return Account(
        worries=tuple(signal_worries(signals, ("signal of a record", "signals of records"))),
        parts=(signals_table(signals, "signals of records", share=share), *covered.parts(share)),
    )


def account_of_windows(
    read: Reading,
    columns: Sequence[str],
    length: float,
    step: float,
    ranges: str | None = None,
    wide: Sequence[str] = (),
) -> Account | None:
    """Of a table of `wfdb-windows`: signals with flags, coverage, timelines, heart rates.

    Parameters
    ----------
    read, columns
        Reads the table, which has these columns.
    length, step
        Of windows, seconds: where they overlap, samples are in several.
    ranges
        As for `account_of_summary`.
    wide
        The signals that it has columns of, in the wide layout.
    """
    signals = Signals(ranges_of(ranges), columns=("min", "p05", "p25", "p50", "p75", "p95", "max"))
    there = {name.removeprefix(f"{wide[0]}_") for name in columns} if wide else set(columns)
    optional = [name for name in agreement.COLUMNS if name in there]
    wanted = list(dict.fromkeys([*KEYS, *COUNTS, *signals.columns, *window_rows.COLUMNS, *optional]))
    of_table = wide_columns(wanted, wide) if wide else wanted
    if not set(of_table) <= set(columns):
        return None
    is_overlapping, share = step < length, share_read(read)
    rates, covered = Agreement(), WindowCoverage(length, has_hours=not is_overlapping)
    for piece in read(tuple(of_table)):
        table = as_long(piece, wanted, wide) if wide else piece
        signals.add(table)
        covered.add(table)
        rates.add(table)
    if not signals.found:
        return Account()
    about = f"Windows overlap, so a sample is in {length / step:.3g} of them." if is_overlapping else ""
    table_of_signals = signals_table(signals, "windows", overlap=is_overlapping, share=share)
    parts = (table_of_signals, *covered.parts(share), *rates.parts())
    return Account((*signal_worries(signals, ("window", "windows")), *rates.worries()), parts, about)
