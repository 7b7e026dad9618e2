"""What a run's tables say of themselves in their files, and the columns that they have there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.execution.keys import KEYS, KeyColumns, keyed_schema
from scaledproc.extractors.base import Extractor, FunctionExtractor
from scaledproc.extractors.described import described
from scaledproc.extractors.rows.several import MAIN
from scaledproc.extractors.tables import tables_of
from scaledproc.run_folder.names import PLAN
from scaledproc.storage.parquet import METADATA, Writer, damage_told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scaledproc.run_folder.record import RunRecord
    from scaledproc.storage.store import Store


@dataclass(frozen=True)
class Told:
    """What all of a run's tables say alike.

    Parameters
    ----------
    label, plan_id, version
        Of the extractor; of the plan; of scaledproc.
    with_keys
        Whether columns that lead back to a row's task come before its own.
    """

    label: str
    plan_id: str
    version: str
    with_keys: bool

    @classmethod
    def of(cls, record: RunRecord) -> Told:
        """What the tables of a run say."""
        label = str(record.extractor.get("label") or "")
        return cls(label, record.plan_id, record.versions.get("scaledproc", ""), has_keys(record))


def has_keys(record: RunRecord) -> bool:
    """Whether the rows of a run's tables lead back to their tasks by columns of their own."""
    return record.options.get("with_keys") is True


def table_schema(extractor: Extractor, told: Told, name: str, schema: pa.Schema) -> pa.Schema:
    """The columns of a table as its files have them, with what they say of themselves.

    Parameters
    ----------
    extractor, told, name
        Whose table it is, what it says, and its name.
    schema
        Its own columns, once finished.
    """
    schema = described(extractor, schema, extractor.schema if name == MAIN else schema)
    if told.with_keys:
        schema = keyed_schema(schema)
    content = {
        "extractor": told.label or extractor.label,
        **({} if isinstance(extractor, FunctionExtractor) else {"extractor_version": extractor.version}),
        "plan_id": told.plan_id,
        "scaledproc": told.version,
        "table": name,
    }
    return schema.with_metadata({**(schema.metadata or {}), METADATA: json.dumps(content, sort_keys=True).encode()})


def table_writer(path: Path, extractor: Extractor, told: Told, name: str, schema: pa.Schema) -> Writer:
    """What writes a file of a table, whose own columns are given."""
    columns = table_schema(extractor, told, name, schema)
    return Writer(path, columns, encoded=KEYS if told.with_keys else ())


def key_columns(
    extractor: Extractor, told: Told, name: str, tasks: Iterator[pa.Table], counts: Sequence[NDArray[np.int64]]
) -> KeyColumns | None:
    """What puts the columns in front of a table's rows that lead back; None where there are none."""
    if not told.with_keys:
        return None
    return KeyColumns(tasks, counts, [MAIN, *tables_of(extractor)].index(name))


def tasks_of_shard(store: Store, shard: int) -> Iterator[pa.Table]:
    """The tasks of one macro shard of a run's plan."""
    with damage_told(store, PLAN), store.open_for_arrow(PLAN) as source:
        yield pq.read_table(source, columns=list(KEYS), filters=[("shard", "=", shard)], use_threads=False)
