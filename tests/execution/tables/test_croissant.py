"""What is told of a run's tables: by their files, and by croissant.json for programs that know no Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import scaledproc
from scaledproc.execution.tables.croissant import CONFORMS_TO, DescribedTable, column_id, croissant
from scaledproc.execution.tables.keys import KEYS
from scaledproc.extractors.described import descriptions
from scaledproc.extractors.tables import TABLE_NAME

CODE = """
import datetime
import pyarrow as pa
import scaledproc

TEXT = {text!r}
SCHEMA = pa.schema(
    [
        pa.field("length", pa.int64(), metadata={{"unit": "letters", "description": TEXT, "own": "kept"}}),
        ("mean of it", pa.float32()),
        ("at", pa.timestamp("us", "UTC")),
        ("is_long", pa.bool_()),
        ("parts", pa.list_(pa.float64())),
        ("pair", pa.struct([("x", pa.int64())])),
    ]
)


def finish(table):
    return pa.table({{name: table[name] for name in table.schema.names}})


@scaledproc.extractor(schema=SCHEMA, anchor="*.txt", tables={{"words": {{"word": "string"}}}}, finish=finish)
def lengths(task):
    text = task.path.read_text()
    yield scaledproc.rows("words", ({{"word": word}} for word in text.split()))
    yield {{
        "length": len(text) if text else None,
        "mean of it": len(text) / 2,
        "at": datetime.datetime(2026, 1, 1 + len(text), tzinfo=datetime.timezone.utc),
        "is_long": len(text) > 3,
        "parts": [float(len(word)) for word in text.split()] or None,
        "pair": {{"x": 1}},
    }}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, text in {"a/1.txt": "one two", "a/2.txt": "", "b/ü.txt": "zwölf"}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text)
    write(tmp_path, "Letters of the file.")
    return tmp_path / "data"


def write(folder: Path, text: str) -> None:
    (folder / "own.py").write_text(CODE.format(text=text))


def run(data: Path, name: str, **options: Any) -> scaledproc.Run:
    return scaledproc.run(data, data.parent / name, extractor=f"{data.parent}/own.py:lengths", jobs=1, **options)


def test_a_file_says_what_it_is_and_what_its_columns_mean(data: Path) -> None:
    made = run(data, "out")
    schema = pq.read_schema(data.parent / "out/features.parquet")
    assert json.loads(schema.metadata[b"scaledproc"]) == {
        "extractor": "lengths",
        "plan_id": made.record.plan_id,
        "scaledproc": made.record.versions["scaledproc"],
        "table": "features",
    }
    told = descriptions(schema)
    assert told["length"] == {"unit": "letters", "description": "Letters of the file."}  # though finish() lost it
    assert told.keys() == {*KEYS, "length"}
    further = pq.read_schema(data.parent / "out/words.parquet")
    assert json.loads(further.metadata[b"scaledproc"])["table"] == "words"
    shard = pq.read_schema(data.parent / "out/shards/00000.parquet")
    assert not any(DESCRIBED & (field.metadata or {}).keys() for field in shard)
    assert scaledproc.verify(made.store.uri).ok


DESCRIBED = {b"unit", b"description"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the libraries that read it
def test_croissant_is_valid_and_gives_the_rows(data: Path) -> None:
    made = run(data, "out")
    dataset = mlcroissant.Dataset(data.parent / "out/croissant.json")
    assert not dataset.metadata.issues.errors
    content = json.loads((data.parent / "out/croissant.json").read_text())
    assert content["conformsTo"] == CONFORMS_TO
    assert [each["sha256"] for each in content["distribution"]] == [
        made.record.digests[name] for name in ("features.parquet", "words.parquet")
    ]
    assert content["recordSet"][0]["description"].endswith("described here: pair (struct<x: int64>).")
    rows = [{name: _plain(value) for name, value in row.items()} for row in dataset.records("features")]
    expected = [
        {column_id("features", name): value for name, value in row.items() if name != "pair"}
        for row in made.to_arrow().to_pylist()
    ]
    assert rows == expected
    words = [_plain(row["words/word"]) for row in dataset.records("words")]
    assert words == made.to_arrow(table="words")["word"].to_pylist() == ["one", "two", "zwölf"]


def _plain(value: Any) -> Any:
    """A value as Python has it: mlcroissant gives texts as bytes, numbers as numpy's."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def test_croissant_is_the_same_whatever_the_cuts(data: Path) -> None:
    content = {
        (data.parent / f"out{number}/croissant.json").read_bytes()
        for number, chunk in enumerate(("1", "auto"))
        if run(data, f"out{number}", chunk=chunk, shards=number + 1)
    }
    assert len(content) == 1
    scaledproc.combine(data.parent / "out0", storage_options=None)
    assert {(data.parent / "out0/croissant.json").read_bytes()} == content


def test_croissant_that_is_gone_can_be_had_again(data: Path) -> None:
    run(data, "out")
    file = data.parent / "out/croissant.json"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(scaledproc.ScaledprocError, match=r"croissant.json is gone; scaledproc combine"):
        run(data, "out")
    scaledproc.combine(data.parent / "out")
    assert file.read_bytes() == content


def test_columns_whose_names_differ_in_white_space_alone() -> None:
    schema = pa.schema([("a b", pa.int64()), ("a_b", pa.int8()), ("a\tb", pa.list_(pa.list_(pa.uint16(), 2)))])
    text = croissant("own", "p", "1", [DescribedTable("features", "features.parquet", schema, 0, 1, "0" * 64)])
    fields = json.loads(text)["recordSet"][0]["field"]
    assert [each["@id"] for each in fields] == ["features/a%20b", "features/a_b", "features/a%09b"]
    assert [each["source"]["extract"]["column"] for each in fields] == schema.names
    assert (fields[2]["dataType"], fields[2]["isArray"], fields[2]["arrayShape"]) == ("cr:UInt16", True, "-1,2")


NAMES = st.text(st.sampled_from('ab_ /%20#:?.*-\t\u2028ü<"\\') | st.characters(codec="utf-8"), min_size=1, max_size=6)
TABLES = st.dictionaries(
    st.from_regex(TABLE_NAME, fullmatch=True) | st.sampled_from(["a", "a-files", "a-parquet"]),
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    max_size=2,
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(NAMES.map(lambda name: [name]) | st.lists(NAMES, min_size=1, unique=True, max_size=4), TABLES, st.booleans())
@example([".", "..", "/a", "a", "./a", "%2E", "a#b", "a\u2028b"], {"A": ["."], "a-files": ["/"]}, False)
@example(["a_b_2", "a_b", "a b", "a/b", "a%20b"], {"features-files": ["b"], "features-": ["features"]}, True)
def test_no_two_things_have_one_id(names: list[str], further: dict[str, list[str]], are_folders: bool) -> None:
    tables = [
        DescribedTable(
            name,
            name if are_folders else f"{name}.parquet",
            pa.schema([(column, pa.int64()) for column in columns]),
            0,
            1,
            "" if are_folders else "0" * 64,
        )
        for name, columns in {"features": names, **further}.items()
    ]
    content = json.loads(croissant("own", "p", "1", tables))
    records = content["recordSet"]
    things = [*content["distribution"], *records, *(field for record in records for field in record["field"])]
    ids = [each["@id"] for each in things]
    assert len({*ids}) == len(ids) == sum(2 + len(table.schema) for table in tables)
    read = mlcroissant.Dataset(jsonld=content).metadata
    assert not read.issues.errors
    found = {field.id: field.source.extract.column for record in read.record_sets for field in record.fields}
    assert found == {
        field["@id"]: name
        for record, table in zip(records, tables, strict=True)
        for field, name in zip(record["field"], table.schema.names, strict=True)
    }
