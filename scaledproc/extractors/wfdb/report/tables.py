"""What a report tells of a table of `wfdb-summary`, and of one of `wfdb-windows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaledproc.extractors.account import Account, share_read
from scaledproc.extractors.wfdb.report import agreement, coverage
from scaledproc.extractors.wfdb.report.agreement import Agreement
from scaledproc.extractors.wfdb.report.coverage import Coverage
from scaledproc.extractors.wfdb.report.ranges import ranges_of
from scaledproc.extractors.wfdb.report.signals import COUNTS, KEYS, Signals, signal_worries, signals_table

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
        worries=tuple(signal_worries(signals, "signals of records")),
        parts=(signals_table(signals, "signals of records", share=share), *covered.parts(share)),
    )


def account_of_windows(
    read: Reading, columns: Sequence[str], length: float, step: float, ranges: str | None = None
) -> Account | None:
    """Of a table of `wfdb-windows` in the long layout: signals with flags, heart rates; None of a wide one.

    Parameters
    ----------
    read, columns
        Reads the table, which has these columns.
    length, step
        Of windows, seconds: where they overlap, samples are in several.
    ranges
        As for `account_of_summary`.
    """
    signals = Signals(ranges_of(ranges), columns=("min", "p05", "p25", "p50", "p75", "p95", "max"))
    own = [*KEYS, *COUNTS, *signals.columns, "unit", "record"]
    if not set(own) <= set(columns):
        return None
    rates = Agreement()
    wanted = dict.fromkeys([*own, "fs", *(name for name in agreement.COLUMNS if name in columns)])
    for table in read(tuple(wanted)):
        signals.add(table)
        rates.add(table)
    if not signals.found:
        return Account()
    is_overlapping = step < length
    about = f"Windows overlap, so a sample is in {length / step:.3g} of them." if is_overlapping else ""
    table_of_signals = signals_table(signals, "windows", overlap=is_overlapping, share=share_read(read))
    parts = (table_of_signals, *rates.parts())
    return Account((*signal_worries(signals, "windows"), *rates.worries()), parts, about)
