"""Statements for Athena: which types columns get, what is left out, and that other parsers of Hive's language agree."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import exp, parse

import scaledproc
from scaledproc import api
from scaledproc.errors import UsageError
from scaledproc.extractors.tables import TABLE_NAME
from scaledproc.reporting.ddl import create_tables

READ = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.uint8(): "SMALLINT",
    pa.int16(): "SMALLINT",
    pa.uint16(): "INT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "STRING",
    pa.large_string(): "STRING",
    pa.binary(): "BINARY",
    pa.date32(): "DATE",
    pa.timestamp("ms"): "TIMESTAMP",
    pa.timestamp("us", "UTC"): "TIMESTAMP",
    pa.duration("us"): "BIGINT",
    pa.decimal128(12, 3): "DECIMAL(12, 3)",
    pa.dictionary(pa.int32(), pa.string()): "STRING",
    pa.list_(pa.float32()): "ARRAY<FLOAT>",
    pa.list_(pa.int16(), 4): "ARRAY<SMALLINT>",
    pa.map_(pa.string(), pa.int64()): "MAP<STRING, BIGINT>",
    pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))]): "STRUCT<a: TINYINT, b: ARRAY<STRING>>",
}
LEFT_OUT = [
    pa.uint32(),
    pa.uint64(),
    pa.float16(),
    pa.time64("us"),
    pa.time32("ms"),
    pa.timestamp("ns"),
    pa.decimal256(50, 3),
    pa.decimal128(3, -2),
    pa.null(),
    pa.list_(pa.uint64()),
    pa.struct([("a b", pa.int8())]),
    pa.binary(4),
]


def columns(text: str) -> dict[str, str]:
    """The columns of a statement with their types, as another parser understands it."""
    (statement,) = (each for each in parse(text, read="hive") if each is not None)
    assert isinstance(statement, exp.Create)
    return {each.name: each.args["kind"].sql("hive") for each in statement.this.expressions}


def test_columns_that_athena_reads() -> None:
    schema = pa.schema([(f"c{n}", kind) for n, kind in enumerate(READ)])
    text = create_tables({"features": schema}, "s3://bucket/a prefix/")
    assert columns(text) == {f"c{n}": kind for n, kind in enumerate(READ.values())}
    assert text.endswith("STORED AS PARQUET\nLOCATION 's3://bucket/a prefix/features/';\n")


@pytest.mark.parametrize("kind", LEFT_OUT, ids=str)
def test_columns_that_athena_would_not_read_exactly(kind: pa.DataType) -> None:
    text = create_tables({"features": pa.schema([("good", pa.int64()), ("bad", kind)])}, "s3://bucket")
    assert columns(text) == {"good": "BIGINT"}
    assert text.startswith("-- 'bad' is left out: ")
    with pytest.raises(UsageError, match="no column that Athena can read: -- 'bad'"):
        create_tables({"features": pa.schema([("bad", kind)])}, "s3://bucket")


def test_the_whole_text() -> None:
    described = pa.field("mean", pa.float64(), metadata={"description": "It's a \\ mean\nof all", "unit": "mV"})
    schema = pa.schema([described, ("heart rate", pa.int8()), ("start", pa.timestamp("us")), ("n", pa.uint32())])
    text = create_tables({"features": schema, "my-beats": pa.schema([("select", pa.string())])}, "s3a://b/run")
    assert text == (
        "-- 'heart rate' is left out: names in Athena have letters, digits and _ alone\n"
        "-- 'n' is left out: it is uint32: Athena has no unsigned type, and reads large numbers of it as negative "
        "ones\n"
        "CREATE EXTERNAL TABLE `features` (\n"
        "  `mean` double COMMENT 'It\\'s a \\\\ mean of all; unit: mV',\n"
        "  `start` timestamp COMMENT 'Athena reads milliseconds of it'\n"
        ")\n"
        "STORED AS PARQUET\n"
        "LOCATION 's3://b/run/features/';\n"
        "\n"
        "-- 'my-beats' is called my_beats: tables in Athena have small letters, digits and _\n"
        "CREATE EXTERNAL TABLE `my_beats` (\n"
        "  `select` string\n"
        ")\n"
        "STORED AS PARQUET\n"
        "LOCATION 's3://b/run/my-beats/';\n"
    )
    assert len([each for each in parse(text, read="hive") if each is not None]) == 2


@pytest.mark.parametrize("length", [150, 244, 245, 246, 250, 255, 256, 300, 2_000])
def test_comments_are_cut_between_words_and_keep_the_unit(length: int) -> None:
    words = "a long, sober text of whole words. " * 60
    fields = [
        pa.field("plain", pa.int64(), metadata={"description": words[:length].strip()}),
        pa.field("mean", pa.timestamp("us"), metadata={"description": words[:length].strip(), "unit": "mV"}),
        pa.field("one", pa.int64(), metadata={"description": "x" * length}),
    ]
    text = create_tables({"features": pa.schema(fields)}, "s3://bucket")
    plain, mean, one = re.findall(r"COMMENT '(.*)',?$", text, re.MULTILINE)
    assert mean.endswith("; unit: mV; Athena reads milliseconds of it")
    for told in (plain, mean.removesuffix("; unit: mV; Athena reads milliseconds of it")):
        is_cut = told.endswith(" ...")
        assert is_cut == (len(told) < len(words[:length].strip()))
        kept = told.removesuffix(" ...")
        assert words.startswith(kept)
        assert not is_cut or not words[len(kept)].isalnum(), "no word is cut"
    assert all(len(each) <= 255 for each in (plain, mean, one))
    assert length <= 250 or max(len(plain), len(mean)) > 240, "no more is cut than must be"


def test_names_that_end_nothing() -> None:
    schema = pa.schema([("a`; DROP TABLE x; --", pa.int8()), ("line\nDROP", pa.int8()), ("good", pa.int8())])
    text = create_tables({"features": schema}, "s3://bucket/it's")
    assert len([each for each in parse(text, read="hive") if each is not None]) == 1
    assert columns(text) == {"good": "TINYINT"}
    assert all(line.startswith("-- ") for line in text.splitlines()[:2])


@given(st.lists(st.from_regex(TABLE_NAME, fullmatch=True), min_size=1, max_size=6, unique=True))
@example(["a-b", "a_b", "A_b", "a_b_2", "a--b"])
def test_names_of_tables_that_athena_takes(names: list[str]) -> None:
    text = create_tables({name: pa.schema([("n", pa.int8())]) for name in names}, "s3://bucket")
    statements = [each for each in parse(text, read="athena") if isinstance(each, exp.Create)]
    called = [each.this.this.name for each in statements]
    assert len({*called}) == len(called) == len(names)
    assert all(re.fullmatch("[a-z0-9_]+", each) for each in called)
    assert [each for each in names if re.fullmatch("[a-z0-9_]+", each)] == [
        new for old, new in zip(names, called, strict=True) if re.fullmatch("[a-z0-9_]+", old)
    ]
    places = [place.this.name for each in statements for place in each.find_all(exp.LocationProperty)]
    assert places == [f"s3://bucket/{name}/" for name in names]  # the folders keep their names


@pytest.mark.parametrize("place", ["/data/out", "gs://bucket/x", "s3://", ""])
def test_what_is_not_in_s3(place: str) -> None:
    with pytest.raises(UsageError, match="Athena reads what is in S3"):
        create_tables({"features": pa.schema([("a", pa.int8())])}, place)


def test_columns_that_differ_in_capitals() -> None:
    with pytest.raises(UsageError, match="several columns 'a'"):
        create_tables({"features": pa.schema([("a", pa.int8()), ("A", pa.int8())])}, "s3://bucket")


def test_statements_of_a_run(tmp_path: Path) -> None:
    @scaledproc.extractor(schema={"n": "int64"}, tables={"words": {"word": "string"}}, anchor="*.txt")
    def count(task: scaledproc.Task) -> dict[str, int]:
        return {"n": len(task.path.read_bytes())}

    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("abc")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=count, jobs=1)
    with pytest.raises(UsageError, match="single files: scaledproc combine"):
        api.ddl(tmp_path / "out")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=count, jobs=1, table="dataset")
    with pytest.raises(UsageError, match="--location"):
        api.ddl(tmp_path / "out")
    text = api.ddl(tmp_path / "out", location="s3://bucket/run")
    assert "LOCATION 's3://bucket/run/words/';" in text
    assert "`n` bigint" in text
