"""Inventories that were made before: saved by `scaledproc inventory`, or reported by Amazon S3 Inventory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc

from scaledproc._util.redaction import redacted
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.planning.inventory import Inventory, NoteOfRuns
from scaledproc.storage.listing import count_note, file_schema
from scaledproc.storage.parquet import open_reader, write_table
from scaledproc.storage.row_groups import ROW_GROUP
from scaledproc.storage.store import Store, describe, refuse_lost_slash, scratch_folder, store_errors

if TYPE_CHECKING:
    from scaledproc._util.types import Where

DATASET = b"scaledproc.dataset"
NOTES = b"scaledproc.notes"
NOTES_OF_RUNS = b"scaledproc.notes_of_runs"
STRANGE = r"(?:^|/)\.{0,2}(?:/|$)|\x00"  # RE2: a part of a path that is empty, `.` or `..`
BUFFER = 2**20

# What Amazon S3 Inventory calls its columns: in fileSchema of CSV, and in Parquet and ORC.
_COLUMNS = {
    "Bucket": "bucket",
    "Key": "key",
    "Size": "size",
    "ETag": "e_tag",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
}


def save_inventory(inventory: Inventory, dataset: Store, where: Where) -> None:
    """Write an inventory as one Parquet file: columns path, size, version, and in its metadata of which dataset.

    Parameters
    ----------
    inventory, dataset
        What was listed.
    where
        A path or URL, with the options of the dataset.
    """
    folder, name = _split(where, dataset.options)
    of_runs = [note for note in inventory.notes if isinstance(note, NoteOfRuns)]
    others = [note for note in inventory.notes if not isinstance(note, NoteOfRuns)]
    metadata = {DATASET: redacted(dataset.uri), NOTES: json.dumps(others), NOTES_OF_RUNS: json.dumps(of_runs)}
    schema = file_schema().with_metadata(metadata)
    files = inventory.files.cast(file_schema()).replace_schema_metadata(metadata)
    with folder.committing(name) as part:
        write_table(part, schema, [files])


def read_inventory(where: Where, dataset: Store) -> Inventory:
    """The inventory that a file holds, as far as it is of a dataset.

    Parameters
    ----------
    where
        A path or URL: a file of `save_inventory`, or the manifest.json of a report of Amazon S3 Inventory.
    dataset
        What it is for; the same as, or a folder of, what was listed. Its options hold for `where` too.

    Raises
    ------
    UsageError
        If `where` names no file, or the inventory is of another dataset, lacks a column, or has files of a format that
        cannot be read.
    ScaledprocError
        If the file does not exist, cannot be read, or is damaged.
    """
    store, name = _split(where, dataset.options)
    shown = f"--inventory {redacted(os.fspath(where))}"
    try:
        if name.endswith(".json"):
            return _read_report(store, name, dataset, shown)
        return _read_saved(store, name, dataset, shown)
    except FileNotFoundError:
        raise ScaledprocError(f"{shown} does not exist") from None
    except (pa.ArrowException, pa.ArrowInvalid, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ScaledprocError(f"{shown} is damaged, or no inventory: {error}") from None
    except store_errors() as error:
        raise ScaledprocError(f"{shown} cannot be read: {describe(error)}") from None


def store_of(where: Where, options: Mapping[str, Any]) -> Store:
    """The folder that a file of `save_inventory` lies in, or is to lie in."""
    return _split(where, options)[0]


def _split(where: Where, options: Mapping[str, Any]) -> tuple[Store, str]:
    """The folder that a file lies in, and its name."""
    text = os.fspath(where)
    refuse_lost_slash(text)
    folder, slash, name = text.rpartition("/")
    if not name:
        raise UsageError(f"{text!r} is no file for an inventory: name one, such as inventory.parquet")
    store = Store.at(folder or ("/" if slash else "."), options)
    return store, name


# Saved ones


def _read_saved(store: Store, name: str, dataset: Store, shown: str) -> Inventory:
    with store.open_for_arrow(name) as source, open_reader(source) as file:
        schema = file.schema_arrow
        missing = [column for column in file_schema().names if column not in schema.names]
        if missing:
            raise UsageError(f"{shown} has no column {', '.join(missing)}: scaledproc inventory makes such files")
        metadata = schema.metadata or {}
        inside = _inside(metadata.get(DATASET), dataset, shown)
        batches = file.iter_batches(ROW_GROUP * 4, columns=file_schema().names, use_threads=False)
        found = _Paths(inside)
        files = found.table(pa.Table.from_batches([batch]).cast(file_schema()) for batch in batches)
    notes, of_runs = (json.loads(metadata.get(key, b"[]")) for key in (NOTES, NOTES_OF_RUNS))
    return Inventory(files, (*notes, *map(NoteOfRuns, of_runs), *found.notes))


def _inside(listed: bytes | None, dataset: Store, shown: str) -> str:
    """Where the dataset lies in what was listed, '' for the whole of it."""
    if listed is None:
        return ""
    uri = listed.decode()
    inside = Store.at(uri, dataset.options).contains(dataset)
    if inside is None:
        raise UsageError(f"{shown} is of {uri}, not of {dataset}: list this one with scaledproc inventory {dataset}")
    return inside


class _Paths:
    """Takes tables of any columns path, size, version to such as a listing gives; nothing from a file is trusted."""

    def __init__(self, inside: str) -> None:
        self._prefix = f"{inside.rstrip('/')}/" if inside else ""
        self._strange = 0

    @property
    def notes(self) -> tuple[str, ...]:
        return count_note(self._strange, "object", "whose name cannot be a file's (`..`, `//`) {} left out")

    def table(self, tables: Iterator[pa.Table]) -> pa.Table:
        """The files below the dataset, each column in one piece."""
        whole = pa.concat_tables([file_schema().empty_table(), *map(self._of_dataset, tables)])
        columns = {}
        for name in whole.column_names:  # one after the other: all of them twice would need twice the memory
            columns[name] = whole[name].combine_chunks()
            whole = whole.drop_columns([name])
            pa.default_memory_pool().release_unused()
        return pa.table(columns, file_schema())

    def _of_dataset(self, table: pa.Table) -> pa.Table:
        if self._prefix:
            table = table.filter(pc.starts_with(table["path"], self._prefix))
            path = pc.utf8_slice_codeunits(table["path"], len(self._prefix))
            table = table.set_column(0, "path", path)
        if any(table[name].null_count for name in ("path", "size")) or pc.any(pc.less(table["size"], 0)).as_py():
            raise pa.ArrowInvalid("a file without a path or a size")
        is_strange = pc.match_substring_regex(table["path"], STRANGE)
        if pc.any(is_strange).as_py():
            strange = table["path"].filter(is_strange)
            self._strange += len(strange) - int(pc.sum(pc.ends_with(strange, "/")).as_py() or 0)  # these mark folders
            table = table.filter(pc.invert(is_strange))
        return table.set_column(2, "version", pc.fill_null(table["version"], "")).cast(file_schema())


# Reports of Amazon S3 Inventory


@dataclass(frozen=True)
class _Report:
    """A manifest.json: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html."""

    bucket: str
    destination: str
    format: str
    schema: str
    files: list[Mapping[str, Any]]
    created: datetime

    @classmethod
    def parse(cls, content: bytes, shown: str) -> _Report:
        try:
            found = json.loads(content)
            return cls(
                found["sourceBucket"],
                str(found["destinationBucket"]).rpartition(":")[2],
                str(found["fileFormat"]).upper(),
                found["fileSchema"],
                [{"key": str(file["key"]), "MD5checksum": file.get("MD5checksum")} for file in found["files"]],
                datetime.fromtimestamp(int(found["creationTimestamp"]) / 1000, UTC),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, OSError) as error:
            raise ScaledprocError(
                f"{shown} is no manifest.json of Amazon S3 Inventory ({type(error).__name__}: {error})"
            ) from None


def _read_report(store: Store, name: str, dataset: Store, shown: str) -> Inventory:
    report = _Report.parse(store.read(name), shown)
    protocol, _, path = dataset.uri.partition("://")
    bucket, _, prefix = path.strip("/").partition("/")
    if protocol not in ("s3", "s3a") or bucket != report.bucket:
        raise UsageError(f"{shown} is of s3://{report.bucket}, not of {dataset}")
    readers: dict[str, Callable[[Path, str], Iterator[pa.Table]]] = {
        "CSV": _csv_tables,
        "PARQUET": _parquet_tables,
        "ORC": _orc_tables,
    }
    if report.format not in readers:
        raise UsageError(f"{shown} has files of the format {report.format}; CSV, Parquet and ORC can be read")
    found, seen = _Paths(prefix), _Seen()

    def tables() -> Iterator[pa.Table]:
        with scratch_folder() as folder:
            for file in report.files:
                local = _fetched(store, report, file, folder / "data", shown)
                for table in readers[report.format](local, report.schema):
                    yield seen.current(table, bucket, shown)

    files = found.table(tables())
    notes = [f"{shown}: the files as Amazon S3 Inventory found them, {report.created:%Y-%m-%d %H:%M} UTC", *found.notes]
    if not seen.has_etags:
        notes.append(f"{shown} has no column ETag: a file that changed since and kept its size is not noticed")
    return Inventory(files, tuple(notes))


def _fetched(store: Store, report: _Report, file: Mapping[str, Any], local: Path, shown: str) -> Path:
    """A copy of one of a report's data files, as it is when it is whole."""
    digest = hashlib.md5(usedforsecurity=False)
    with _open_data(store, report, str(file["key"]), shown) as source, local.open("wb") as target:
        while block := source.read(BUFFER):
            digest.update(block)
            target.write(block)
    if file["MD5checksum"] and digest.hexdigest() != str(file["MD5checksum"]).lower():
        raise ScaledprocError(f"{shown}: {file['key']} is damaged (its checksum is not that of the manifest)")
    return local


def _open_data(store: Store, report: _Report, key: str, shown: str) -> Any:
    """A data file: in the bucket where it was delivered, or beside a manifest that was copied with it."""
    if store.local is None:
        protocol = store.uri.partition("://")[0]
        delivered = Store.at(f"{protocol}://{report.destination}", store.options)
        if delivered.exists(key):
            return delivered.open(key)
    end = key.rpartition("/")[2]
    for folder in (f"{store.uri.rpartition('/')[0]}/data", f"{store.uri}/data", store.uri):
        beside = Store.at(folder, store.options)
        if beside.exists(end):
            return beside.open(end)
    raise ScaledprocError(f"{shown}: its data file {key} is neither in {report.destination} nor beside the manifest")


def _csv_tables(local: Path, schema: str) -> Iterator[pa.Table]:
    import pyarrow.csv

    names = [name.strip() for name in schema.split(",")]
    wanted = [name for name in names if name in _COLUMNS]
    with gzip.open(local) as source:
        reader = pyarrow.csv.open_csv(
            source,
            pyarrow.csv.ReadOptions(column_names=names, block_size=16 * BUFFER),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.large_string())),
        )
        for batch in reader:
            columns = dict(
                zip([_COLUMNS[name] for name in wanted], pa.Table.from_batches([batch]).columns, strict=True)
            )
            if "key" in columns:
                columns["key"] = _decoded(columns["key"])
            yield pa.table(columns)


def _decoded(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """Keys as they are: in CSV they are URL-encoded."""
    is_encoded = pc.match_substring_regex(keys, "[%+]")
    if not pc.any(is_encoded).as_py():
        return keys
    plain = [unquote_plus(key, errors="strict") for key in keys.filter(is_encoded).to_pylist()]
    return pc.replace_with_mask(keys.combine_chunks(), is_encoded.combine_chunks(), pa.array(plain, keys.type))


def _parquet_tables(local: Path, _: str) -> Iterator[pa.Table]:
    with open_reader(local) as file:
        columns = [name for name in _COLUMNS.values() if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=columns):
            yield pa.Table.from_batches([batch])


def _orc_tables(local: Path, _: str) -> Iterator[pa.Table]:
    import pyarrow.orc

    file = pyarrow.orc.ORCFile(local)
    columns = [name for name in _COLUMNS.values() if name in file.schema.names]
    for stripe in range(file.nstripes):
        yield pa.Table.from_batches([file.read_stripe(stripe, columns=columns)])


class _Seen:
    """What a report's tables have."""

    def __init__(self) -> None:
        self.has_etags = True

    def current(self, table: pa.Table, bucket: str, shown: str) -> pa.Table:
        """The objects that are there, as path, size, version; of a versioned bucket only the latest that are left."""
        wanted = {"Key": "the name of each object", "Size": "an optional field of the inventory's configuration"}
        for name, what in wanted.items():
            if _COLUMNS[name] not in table.column_names:
                raise UsageError(f"{shown} has no column {name} ({what}), without which nothing can be planned")
        keep = pa.chunked_array([pa.repeat(True, len(table))])
        if "bucket" in table.column_names:
            keep = pc.and_(keep, pc.equal(table["bucket"].cast(pa.large_string()), bucket))
        if "is_latest" in table.column_names:
            keep = pc.and_(keep, pc.fill_null(_truth(table["is_latest"]), True))
        if "is_delete_marker" in table.column_names:
            keep = pc.and_(keep, pc.invert(pc.fill_null(_truth(table["is_delete_marker"]), False)))
        table = table.filter(pc.fill_null(keep, False))
        if "e_tag" in table.column_names:
            etags = pc.utf8_trim(table["e_tag"].cast(pa.large_string()), '"')
        else:
            self.has_etags = False
            etags = pa.chunked_array([pa.repeat("", len(table))]).cast(pa.large_string())
        return pa.table([table["key"].cast(pa.large_string()), table["size"].cast(pa.int64()), etags], file_schema())


def _truth(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Booleans, also from CSV, where nothing stands for null."""
    if pa.types.is_boolean(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.bool_()), pc.equal(pc.utf8_lower(column), "true"))
