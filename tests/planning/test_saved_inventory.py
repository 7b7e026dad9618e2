"""Inventories that were made before: saved ones, and reports of Amazon S3 Inventory."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from support import COUNT, Bucket, Cli, TreeWriter, tree_bytes

import scaledproc
from scaledproc.api import save_inventory
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.planning.saved_inventory import read_inventory
from scaledproc.storage.store import Store

DATASET = Store.at("s3://data/mimic", {"anon": True})
ODD = ["a+b.txt", "a b.txt", "100%.txt", 'é,"x".txt', "a\nb.txt", "%2F.txt", "it's [1].txt"]
ROWS: list[dict[str, Any]] = [
    {"Bucket": "data", "Key": f"mimic/30/{name}", "Size": place, "ETag": f"e{place}"} for place, name in enumerate(ODD)
]


def report(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    kind: str = "CSV",
    files: int = 1,
    encode: Any = quote,
    columns: Iterable[str] = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "ETag"),
) -> Path:
    """Write a report as it is delivered; the manifest's path."""
    rows, names = list(rows), list(columns)
    parts = [rows[part::files] for part in range(files)]
    data = folder / "reports/data/every-day/data"
    data.mkdir(parents=True, exist_ok=True)
    listed = []
    for number, part in enumerate(parts):
        content = WRITERS[kind](part, names, encode)
        name = f"{number}.{kind.lower()}{'.gz' if kind == 'CSV' else ''}"
        (data / name).write_bytes(content)
        checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
        listed.append({"key": f"reports/data/every-day/data/{name}", "size": len(content), "MD5checksum": checksum})
    manifest = data.parent / "2026-11-24T01-00Z/manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    described = {
        "sourceBucket": "data",
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": "1795482000000",
        "fileFormat": kind if kind != "PARQUET" else "Parquet",
        "fileSchema": ", ".join(names),
        "files": listed,
    }
    manifest.write_text(json.dumps(described))
    return manifest


def as_csv(rows: list[dict[str, Any]], names: list[str], encode: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        values = {**row, "Key": encode(row["Key"])}
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in map(values.get, names)])
    return gzip.compress(text.getvalue().encode())


def as_table(rows: list[dict[str, Any]], names: list[str]) -> pa.Table:
    known = {
        "Bucket": ("bucket", pa.string()),
        "Key": ("key", pa.string()),
        "VersionId": ("version_id", pa.string()),
        "IsLatest": ("is_latest", pa.bool_()),
        "IsDeleteMarker": ("is_delete_marker", pa.bool_()),
        "Size": ("size", pa.int64()),
        "ETag": ("e_tag", pa.string()),
    }
    return pa.table({known[n][0]: pa.array([row.get(n) for row in rows], known[n][1]) for n in names})


def as_parquet(rows: list[dict[str, Any]], names: list[str], encode: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(as_table(rows, names), sink, row_group_size=2)
    return sink.getvalue()


def as_orc(rows: list[dict[str, Any]], names: list[str], encode: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.orc.write_table(as_table(rows, names), sink)
    return sink.getvalue()


WRITERS = {"CSV": as_csv, "PARQUET": as_parquet, "ORC": as_orc}
KINDS = pytest.mark.parametrize("kind", list(WRITERS))


def found(inventory: Any) -> dict[str, tuple[int, str]]:
    return {row["path"]: (row["size"], row["version"]) for row in inventory.files.to_pylist()}


@KINDS
@pytest.mark.parametrize("files", [1, 3])
def test_report(kind: str, files: int, tmp_path: Path) -> None:
    others = [
        {"Bucket": "data", "Key": "mimic2/x", "Size": 1, "ETag": "e"},
        {"Bucket": "data", "Key": "mimic", "Size": 1, "ETag": "e"},
        {"Bucket": "data", "Key": "mimic/30/", "Size": 0, "ETag": "e"},
        {"Bucket": "other", "Key": "mimic/x", "Size": 1, "ETag": "e"},
    ]
    inventory = read_inventory(report(tmp_path, [*ROWS, *others], kind, files), DATASET)
    assert found(inventory) == {f"30/{name}": (place, f"e{place}") for place, name in enumerate(ODD)}
    assert len(inventory.notes) == 1
    assert "as Amazon S3 Inventory found them, 2026-11-24 01:00 UTC" in inventory.notes[0]


@pytest.mark.parametrize("encode", [quote, quote_plus, lambda key: quote(key, safe="")])
def test_keys_in_csv_are_decoded(encode: Any, tmp_path: Path) -> None:
    inventory = read_inventory(report(tmp_path, ROWS, encode=encode), DATASET)
    assert set(found(inventory)) == {f"30/{name}" for name in ODD}


@KINDS
def test_versions_and_delete_markers(kind: str, tmp_path: Path) -> None:
    def row(key: str, etag: str, *, latest: bool, deleted: bool = False) -> dict[str, Any]:
        size = None if deleted else 5
        marks = {"VersionId": "v", "IsLatest": latest, "IsDeleteMarker": deleted}
        return {"Bucket": "data", "Key": f"mimic/{key}", "Size": size, "ETag": None if deleted else etag, **marks}

    rows = [
        row("changed", "old", latest=False),
        row("changed", "new", latest=True),
        row("gone", "old", latest=False),
        row("gone", "", latest=True, deleted=True),
        row("back", "", latest=False, deleted=True),
        row("back", '"again"', latest=True),
    ]
    inventory = read_inventory(report(tmp_path, rows, kind), DATASET)
    assert found(inventory) == {"changed": (5, "new"), "back": (5, "again")}


@KINDS
def test_columns_that_are_not_there(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"manifest.json has no column Size \(an optional field"):
        read_inventory(report(tmp_path, ROWS, kind, columns=("Bucket", "Key", "ETag")), DATASET)
    with pytest.raises(UsageError, match="has no column Key"):
        read_inventory(report(tmp_path, ROWS, kind, columns=("Bucket", "Size")), DATASET)
    inventory = read_inventory(report(tmp_path, ROWS, kind, columns=("Bucket", "Key", "Size")), DATASET)
    assert {version for _, version in found(inventory).values()} == {""}
    assert "no column ETag" in inventory.notes[-1]


def test_names_that_lead_out_are_left_out(tmp_path: Path) -> None:
    names = ["x/../../y", "a//b", "./c", "..", "ok..", "...", "a\0b"]
    rows = [{"Bucket": "data", "Key": f"mimic/{name}", "Size": 1, "ETag": "e"} for name in names]
    inventory = read_inventory(report(tmp_path, rows, "PARQUET"), DATASET)
    assert set(found(inventory)) == {"ok..", "..."}
    assert inventory.notes[-1].startswith("5 objects whose name cannot be a file's")


def test_reports_that_cannot_be_used(tmp_path: Path) -> None:
    manifest = report(tmp_path, ROWS)
    for uri in ("s3://elsewhere/mimic", str(tmp_path)):
        with pytest.raises(UsageError, match="is of s3://data, not of"):
            read_inventory(manifest, Store.at(uri))
    with pytest.raises(ScaledprocError, match="does not exist"):
        read_inventory(tmp_path / "manifest.json", DATASET)
    (tmp_path / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(ScaledprocError, match=r"is no manifest\.json of Amazon S3 Inventory"):
        read_inventory(tmp_path / "manifest.json", DATASET)
    (data,) = manifest.parent.parent.glob("data/*")
    content = data.read_bytes()
    data.write_bytes(content[:-1] + b"x")
    with pytest.raises(ScaledprocError, match="is damaged"):
        read_inventory(manifest, DATASET)
    data.unlink()
    with pytest.raises(ScaledprocError, match="is neither in reports nor beside the manifest"):
        read_inventory(manifest, DATASET)
    text = manifest.read_text()
    for wrong, message in ((text.replace('"CSV"', '"AVRO"'), "AVRO"),):
        manifest.write_text(wrong)
        with pytest.raises(UsageError, match=message):
            read_inventory(manifest, DATASET)


def test_a_saved_inventory_comes_back(tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({f"30/{name}": b"x" * place for place, name in enumerate(ODD)} | {"README": b"1"})
    listed = save_inventory(root, tmp_path / "listed.parquet", exclude=["README"])
    again = read_inventory(tmp_path / "listed.parquet", Store.at(root))
    assert found(again) == found(listed)
    assert len(found(again)) == len(ODD)
    inner = read_inventory(tmp_path / "listed.parquet", Store.at(root / "30"))
    assert set(found(inner)) == set(ODD)
    with pytest.raises(UsageError, match=r"is of .*/data, not of"):
        read_inventory(tmp_path / "listed.parquet", Store.at(tmp_path / "other"))


def test_files_that_are_no_inventory(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "lacking.parquet")
    (tmp_path / "text.parquet").write_text("no")
    dataset = Store.at(tmp_path)
    with pytest.raises(UsageError, match="has no column size, version"):
        read_inventory(tmp_path / "lacking.parquet", dataset)
    with pytest.raises(ScaledprocError, match="is damaged, or no inventory"):
        read_inventory(tmp_path / "text.parquet", dataset)
    with pytest.raises(ScaledprocError, match="does not exist"):
        read_inventory(tmp_path / "absent.parquet", dataset)
    for columns in ({"path": ["a", None], "size": [1, 2]}, {"path": ["a", "b"], "size": [1, -2]}):
        pq.write_table(pa.table({**columns, "version": ["", ""]}), tmp_path / "wrong.parquet")
        with pytest.raises(ScaledprocError, match="without a path or a size"):
            read_inventory(tmp_path / "wrong.parquet", dataset)
    pq.write_table(pa.table({"path": ["a.hea"] * 2, "size": [1, 2], "version": ["", ""]}), tmp_path / "twice.parquet")
    with pytest.raises(ScaledprocError, match=r"has the file 'a\.hea' twice"):
        scaledproc.plan(tmp_path, inventory=tmp_path / "twice.parquet")


@pytest.mark.slow
def test_command_line(cli: Cli, tree: TreeWriter, tmp_path: Path) -> None:
    root = tree({"30/a.txt": b"123", "30/b.txt": b"1", "31/c.txt": b"12"})
    (tmp_path / "count.py").write_text(COUNT)
    done = cli("inventory", root, "listed.parquet", "--exclude", "31/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 files (4 B) in listed.parquet\n", "")
    options = ["--extractor", "count.py:count", "--inventory", "listed.parquet"]
    planned = json.loads(cli("plan", root, *options, "--json").stdout)
    assert (planned["tasks"], planned["files"]) == (2, 2)
    done = cli(root, "out", *options, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out/features.parquet")["path"].to_pylist() == ["30/a.txt", "30/b.txt"]
    assert json.loads((tmp_path / "out/run.json").read_text())["options"]["inventory"] == "listed.parquet"
    assert "31" not in cli("plan", root, *options).stdout
    wrong = cli("plan", tmp_path, *options)
    assert (wrong.returncode, "is of" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)


@pytest.mark.slow
@KINDS
def test_a_run_by_a_report_is_the_run_of_a_listing(kind: str, s3: Bucket, demo: Path, tmp_path: Path) -> None:
    place = f"report-{kind.lower()}"
    store = Store.at(s3.url(f"{place}/dataset"), s3.storage_options)
    for name, content in tree_bytes(demo).items():
        store.write(name, content)
    rows = [
        {"Bucket": s3.name, "Key": f"{place}/dataset/{file.path}", "Size": file.size, "ETag": file.version}
        for file in store.listing().files
    ]
    manifest = report(tmp_path / "report", rows, kind, files=2)
    content = json.loads(manifest.read_text()) | {
        "sourceBucket": s3.name,
        "destinationBucket": f"arn:aws:s3:::{s3.name}",
    }
    manifest.write_text(json.dumps(content))
    top = Store.at(s3.url(""), s3.storage_options)
    for name, data in tree_bytes(tmp_path / "report").items():
        top.write(name, data)
    where = s3.url(f"reports/data/every-day/{manifest.parent.name}/manifest.json")
    outputs = {}
    for name, inventory in (("listed", None), ("reported", where)):
        options = s3.storage_options
        scaledproc.run(store.uri, tmp_path / name, inventory=inventory, jobs=1, storage_options=options)
        outputs[name] = tree_bytes(tmp_path / name)
    assert outputs["listed"].keys() == outputs["reported"].keys()
    # The inventories too: the report has S3's own etags. But not what has times.
    for name in outputs["listed"].keys() - {"run.json", "tasks.parquet"}:
        assert outputs["listed"][name] == outputs["reported"][name], name


def test_a_report_that_is_out_of_date_is_noticed(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    store = Store.at(s3.url("stale/dataset"), s3.storage_options)
    for name in ("30/same.txt", "31/changed.txt", "32/grown.txt", "33/gone.txt"):
        store.write(name, b"before")
    where = s3.url("stale/listed.parquet")
    save_inventory(store.uri, where, storage_options=s3.storage_options)
    store.write("31/changed.txt", b"after!")
    store.write("32/grown.txt", b"after that")
    store.remove("33/gone.txt")
    run = scaledproc.run(
        store.uri,
        tmp_path / "out",
        extractor=f"{tmp_path / 'count.py'}:count",
        inventory=where,
        jobs=1,
        storage_options=s3.storage_options,
    )
    assert run.to_arrow()["path"].to_pylist() == ["30/same.txt"]
    assert run.errors()["anchor"].to_pylist() == ["31/changed.txt", "32/grown.txt", "33/gone.txt"]
