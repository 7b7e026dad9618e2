"""The last job's `warnings.parquet` and `logs/`, from what the tasks of all shards said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from scaledproc._util.digests import digest_of
from scaledproc._util.text import clean_text
from scaledproc.execution.chunks.quarantine import read_rows
from scaledproc.run_folder.names import (
    LOG,
    WARNING,
    WARNING_SCHEMA,
    WARNINGS,
    log_name,
    shard_name,
    shard_said_name,
)
from scaledproc.storage.parquet import write_table

if TYPE_CHECKING:
    from scaledproc.events import ShardDone
    from scaledproc.run_folder.folder import RunFolder


def write_said(run: RunFolder, digests: dict[str, str], reports: Sequence[ShardDone]) -> None:
    """Write what tasks warned of, and a file a shard of what is kept of their printing and logging.

    Neither is there where there is nothing to be written.

    Parameters
    ----------
    run
        The run.
    digests
        The SHA-256 of each file that is written is added here.
    reports
        What became of its shards, in order.
    """
    warnings = chain.from_iterable(_of_kind(run, report, WARNING) for report in reports if report.said)
    first = next(warnings, None)
    if first is None:
        run.store.remove(WARNINGS)
    else:
        with run.store.committing(WARNINGS, replacing=True) as part:
            tables = (
                table.drop_columns("what").rename_columns(WARNING_SCHEMA.names) for table in chain([first], warnings)
            )
            write_table(part, WARNING_SCHEMA, tables)
            digests[WARNINGS] = digest_of(part)
    for report in reports:
        if report.said:
            _write_log(run, digests, report)


def _write_log(run: RunFolder, digests: dict[str, str], report: ShardDone) -> None:
    logs = _of_kind(run, report, LOG)
    first = next(logs, None)
    if first is None:
        return
    name = log_name(report.shard)
    with run.store.committing(name, replacing=True) as part:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            for table in chain([first], logs):
                for anchor, text in zip(table["anchor"].to_pylist(), table["text"].to_pylist(), strict=True):
                    # Each line of a task's begins with a bar, so that none can pass for a task's name.
                    body = "\n".join(f"| {line}" for line in text.rstrip("\n").split("\n"))
                    file.write(f"{clean_text(anchor).replace(chr(10), ' ')}\n{body}\n")
        digests[name] = digest_of(part)


def _of_kind(run: RunFolder, report: ShardDone, what: str) -> Iterator[pa.Table]:
    import pyarrow.compute as pc

    for table in read_rows(run.store, shard_said_name(report.shard), report.said, shard_name(report.shard)):
        found = table.filter(pc.equal(table["what"], what))
        if found.num_rows:
            yield found
