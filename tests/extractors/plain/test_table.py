"""Statistics of columns against pandas and numpy, and files that are no tables."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import TreeWriter

import scaledproc
from scaledproc import Task
from scaledproc.extractors.plain import column as column_module
from scaledproc.extractors.plain import pieces as pieces_module
from scaledproc.extractors.plain.table import table
from scaledproc.testing import ExtractorConformance

CSV = b'id,x,when,name,flag\n1,1.5,2020-01-01,"a\nb",true\n9007199254740993,,2021-02-03,NA,false\n3,-2,,b,\n'


def described(path: Path, **options: Any) -> list[dict[str, Any]]:
    return list(table(Task(".", path.name, path.name, path.parent, frozenset({path.name})), **options))


def of_parquet(folder: Path, array: pa.Array, **options: Any) -> dict[str, Any]:
    pq.write_table(pa.table({"a": array}), folder / "one.parquet")
    (row,) = described(folder / "one.parquet", **options)
    return row


def check_numbers(row: dict[str, Any], values: pd.Series) -> None:
    """Compare with pandas."""
    known = values.dropna().astype("float64")
    assert (row["count"], row["missing"]) == (len(known), len(values) - len(known))
    if not len(known):
        assert row["mean"] is row["min"] is row["p50"] is row["distinct"] is None
        return
    assert row["distinct"] == known.nunique()
    scale = float(known.abs().max())
    assert row["mean"] == pytest.approx(known.mean(), rel=1e-9, abs=1e-9 * scale)
    assert (row["std"] is None) == (len(known) < 2)
    assert row["std"] is None or row["std"] == pytest.approx(known.std(), rel=1e-9, abs=1e-9 * scale)
    assert (row["min"], row["max"]) == (known.min(), known.max())
    for name, q in (("p05", 5), ("p25", 25), ("p50", 50), ("p75", 75), ("p95", 95)):
        assert row[name] == pytest.approx(np.percentile(known, q), rel=1e-12, abs=1e-12 * scale)
    assert row["top_count"] == known.value_counts().max()
    assert float(row["top"]) == known.mode().min()
    texts = [float(row[name]) for name in ("first", "last", "min_text", "max_text")]
    assert texts == [known.iloc[0], known.iloc[-1], known.min(), known.max()]


class TestTable(ExtractorConformance):
    extractor = "table"

    @pytest.fixture
    def dataset(self, tree: TreeWriter) -> Path:
        return tree(
            {
                "a.csv": CSV,
                "b/packed.csv.gz": gzip.compress(CSV, mtime=0),
                "b/lines.jsonl": b'{"a": 1, "b": "x"}\n{"a": 2.5}\n',
                "b/ragged.csv": b"a,b\n1,2\n3\n",
            }
        )

    def test_values(self, dataset: Path) -> None:
        id_, x, when, name, flag = described(dataset / "a.csv")
        assert [each["type"] for each in (id_, x, when, name, flag)] == [
            *("int64", "double", "date32[day]", "string", "bool")
        ]
        assert (id_["max_text"], id_["max"], id_["min"], id_["last"]) == ("9007199254740993", None, 1, "3")
        assert (x["count"], x["missing"], x["mean"], x["p25"]) == (2, 1, -0.25, -1.125)
        assert (when["min_text"], when["max_text"], when["mean"]) == ("2020-01-01", "2021-02-03", None)
        assert (name["first"], name["length_max"], name["length_mean"], name["missing"]) == ("a\nb", 3, 2, 1)
        assert (flag["mean"], flag["top"], flag["top_count"]) == (0.5, "false", 1)
        packed = described(dataset / "b/packed.csv.gz")
        assert [{**each, "path": "a.csv"} for each in packed] == described(dataset / "a.csv")


# Against pandas

FLOATS = st.one_of(
    st.floats(-1e12, 1e12, allow_subnormal=False), st.sampled_from([0.0, -0.0, 1.0, 1.5, math.nan]), st.none()
)


@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(1, 20))
def test_floats_of_parquet(tmp_path_factory: pytest.TempPathFactory, values: list[float | None], size: int) -> None:
    folder = tmp_path_factory.mktemp("floats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_BATCH", size)
        patch.setattr(column_module, "_FEW", size)
        row = of_parquet(folder, pa.array(values, pa.float64()))
    check_numbers(row, pd.Series(values, dtype="float64"))


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.none()), min_size=1, max_size=40))
def test_whole_numbers_are_exact_as_texts(tmp_path_factory: pytest.TempPathFactory, values: list[int | None]) -> None:
    row = of_parquet(tmp_path_factory.mktemp("whole"), pa.array(values, pa.int64()))
    known = [each for each in values if each is not None]
    assert (row["count"], row["missing"]) == (len(known), len(values) - len(known))
    if known:
        found = [row[each] for each in ("min_text", "max_text", "first", "last")]
        assert found == [str(each) for each in (min(known), max(known), known[0], known[-1])]
        assert row["distinct"] == len(set(known))
        assert row["top"] == str(min(known, key=lambda each: (-known.count(each), each)))
        for name, value in (("min", min(known)), ("max", max(known))):
            assert row[name] == (value if float(value) == value else None)
        ordered = sorted(known)
        for name, percent in (("p05", 5), ("p25", 25), ("p50", 50), ("p75", 75), ("p95", 95)):
            place = Fraction((len(ordered) - 1) * percent, 100)
            ends = {ordered[math.floor(place)], ordered[math.ceil(place)]}
            between = min(ends) + (max(ends) - min(ends)) * (place % 1)
            if any(float(end) != end for end in ends):
                assert row[name] is None
            elif between in ends:
                assert row[name] == between
            else:  # a number between two is rounded as any float
                assert row[name] == pytest.approx(float(between), rel=0, abs=1e-15 * max(map(abs, ends)))
        assert row["mean"] == pytest.approx(sum(known) / len(known), rel=1e-9, abs=1e-9 * max(map(abs, known)))


def test_percentiles_that_no_float_is_equal_to(tmp_path: Path) -> None:
    """Identifiers beyond 2**53 are not rounded in silence, be it all alike or neighbours of floats."""
    for number, value in ((2**53, float(2**53)), (2**53 + 1, None), (2**60 + 2, None), (-(2**53) - 1, None)):
        row = of_parquet(tmp_path, pa.array([number] * 5, pa.int64()))
        assert [row[each] for each in ("min", "p05", "p25", "p50", "p75", "p95", "max")] == [value] * 7
    row = of_parquet(tmp_path, pa.array([2**53, 2**53 + 1], pa.int64()))
    assert (row["min"], row["p50"], row["max"]) == (2**53, None, None)
    row = of_parquet(tmp_path, pa.array([2**53, 2**53 + 2], pa.int64()))
    assert row["p50"] in (2**53, 2**53 + 2)  # the nearest floats to what is between them
    wide = pa.array([Decimal(10**30), Decimal(10**30)], pa.decimal128(38, 0))
    assert of_parquet(tmp_path, wide)["p50"] is None
    assert of_parquet(tmp_path, pa.array([Decimal("0.1")] * 3))["p50"] == 0.1


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
CELLS = st.one_of(st.integers(-(10**6), 10**6).map(str), st.floats(-1e6, 1e6).map(repr), st.just(""), TEXTS)


@given(st.lists(st.tuples(CELLS, st.integers(-9, 9).map(str)), min_size=1, max_size=30))
def test_csv_as_pandas_reads_it(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.getvalue().encode())
    a, b = described(path, missing=("",))
    texts = [each for each, _ in rows if each]
    assert (a["count"], a["missing"]) == (len(texts), len(rows) - len(texts))
    if a["type"] == "string":
        assert (a["first"], a["last"], a["min_text"], a["max_text"]) == (texts[0], texts[-1], min(texts), max(texts))
        assert (a["distinct"], a["top_count"]) == (len(set(texts)), max(map(texts.count, texts)))
        assert (a["length_min"], a["length_max"]) == (min(map(len, texts)), max(map(len, texts)))
    elif a["type"] in ("int64", "double"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        check_numbers(a, pd.to_numeric(frame["a"].replace("", None)).astype("float64"))
    check_numbers(b, pd.Series([int(each) for _, each in rows]))


@pytest.mark.parametrize("header", [b"id,x", b'"i\nd","x\n\n"', b'"","x\n,"'])
def test_names_are_those_of_the_first_line_wherever_its_beginning_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes
) -> None:
    content = header + b'\n1,"a\nb"\n\n2,"c,\n"\n3,d\n'
    (tmp_path / "t.csv").write_bytes(content)
    expected = described(tmp_path / "t.csv")
    assert [row["count"] for row in expected] == [3, 3]
    monkeypatch.setattr(pieces_module, "_KEPT", 0)  # read twice
    for size in range(len(content) + 1):
        monkeypatch.setattr(pieces_module, "_BEGINNING", size)
        assert described(tmp_path / "t.csv") == expected


def test_types_hold_for_all_rows_however_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "BLOCK", 100)
    whole, late = ["1"] * 200, ["1"] * 199 + ["2.5"]
    dates, mixed, empty = ["2020-01-01"] * 200, ["1"] * 199 + ["x"], [""] * 199 + ["7"]
    rows = zip(whole, late, dates, mixed, empty, strict=True)
    (tmp_path / "a.csv").write_text("a,b,c,d,e\n" + "".join(f"{','.join(row)}\n" for row in rows))
    found = described(tmp_path / "a.csv")
    assert [each["type"] for each in found] == ["int64", "double", "date32[day]", "string", "int64"]
    check_numbers(found[1], pd.Series(late, dtype="float64"))
    assert (found[4]["count"], found[4]["missing"], found[3]["last"]) == (1, 199, "x")
    lines = [{"a": 1, "t": "2020-01-01"}] * 99 + [{"a": 2.5, "t": "no time", "late": None}, {"late": True}]
    (tmp_path / "a.ndjson").write_text("\n\n".join(map(json.dumps, lines)))
    a, t, late_one = described(tmp_path / "a.ndjson")
    assert (a["type"], a["mean"], a["missing"]) == ("double", pytest.approx(101.5 / 100), 1)
    assert (t["type"], t["top"], t["top_count"], t["last"]) == ("string", "2020-01-01", 99, "no time")
    assert (late_one["type"], late_one["count"], late_one["missing"]) == ("bool", 1, 100)


def test_whole_numbers_that_int64_has_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n12345678901234567890123\n1\n")
    (row,) = described(tmp_path / "a.csv")
    assert (row["type"], row["max_text"], row["max"]) == ("decimal128(38, 0)", "12345678901234567890123", None)
    (tmp_path / "b.csv").write_text("a\n9007199254740993\n1.5\n")
    (row,) = described(tmp_path / "b.csv")
    assert row["type"] == "double"
    assert row["note"] == "whole numbers beyond 2**53 are rounded to double"


def test_declared_types(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;x\n007;1\n010;2\n")
    id_, x = described(tmp_path / "a.csv", separator=";", types=("id:string", "x:float32"))
    assert (id_["type"], id_["min_text"], x["type"], x["mean"]) == ("string", "007", "float", 1.5)
    for types, words in (("id:bool", "'id' is not read as bool"), ("z:int8", "no column 'z'"), ("id", "write NAME:")):
        with pytest.raises(ValueError, match=words):
            described(tmp_path / "a.csv", separator=";", types=(types,))
    (tmp_path / "a.jsonl").write_text('{"id": 12345678901234567890}\n')
    with pytest.raises(ValueError, match="has numbers as double: they are not read as string"):
        described(tmp_path / "a.jsonl", types=("id:string",))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([Decimal("1.10"), None, Decimal("2.30")]), {"min": 1.1, "max_text": "2.30", "mean": 1.7}),
        (pa.array([b"\xff", b"a"]), {"first": "ff", "length_max": 1, "mean": None}),
        (pa.array(["y", "x", "y"]).dictionary_encode(), {"type": "string", "top": "y", "distinct": 2}),
        (pa.array([1.0, math.inf]), {"mean": None, "std": None, "max": math.inf}),
        (pa.array([0.1] * 7), {"mean": 0.1, "std": 0.0, "p50": 0.1}),
        (pa.array([0, 2**64 - 1], pa.uint64()), {"max": None, "max_text": "18446744073709551615"}),
        (pa.array([5, 7], pa.duration("ns")), {"type": "int64", "mean": 6}),
        (pa.array([[1], None]), {"count": 1, "missing": 1, "note": "list<element: int64> has no statistics"}),
        (pa.nulls(3), {"type": "null", "count": 0, "missing": 3, "note": None}),
        (pa.array(["x" * 1_001]), {"first": None, "length_max": 1_001, "distinct": 1}),
        (pa.array([1, 2], pa.timestamp("ms")), {"min_text": "1970-01-01 00:00:00.001", "mean": None}),
        (pa.array(["x", None], pa.string_view()), {"top": "x", "missing": 1}),
        (pa.array(np.array([1, 2], np.float16)), {"type": "float", "mean": 1.5}),
    ],
)
def test_types_of_parquet(tmp_path: Path, array: pa.Array, expected: dict[str, Any]) -> None:
    row = of_parquet(tmp_path, array)
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_too_many_different_values(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=1_000)
    row = of_parquet(tmp_path, pa.array(values), memory=1_000)
    assert row["note"] == "too many different values: distinct, percentiles and top are not known"
    assert row["distinct"] is row["p50"] is row["top"] is row["top_count"] is None
    assert (row["min"], row["max"], row["std"]) == (values.min(), values.max(), pytest.approx(values.std(ddof=1)))


def test_only_the_column_that_takes_most_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,k\n" + "".join(f"{each},{each % 2}\n" for each in range(1_000)))
    id_, k = described(tmp_path / "a.csv", memory=10_000)
    assert (id_["distinct"], k["distinct"], k["top_count"]) == (None, 2, 500)


# What is no table, or a strange one


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "Empty CSV file"),
        ("a.csv", b"a,b\n1,2\n3\n", "Row #3: Expected 2 columns, got 1"),
        ("a.csv", b"a\n\xe9\n", "invalid UTF8"),
        ("a.csv", b"\xe9\n1\n", "utf-8"),
        ("a.csv", b'a,b\n"1,2\n3,4\n', 'Expected 2 columns, got 1: "1,2'),
        ("a.csv", b"a" + b"," * 100_000 + b"\n", "100,001 columns"),
        ("a.csv.gz", b"a\n1\n", "incorrect header check"),
        ("a.csv.gz", gzip.compress(b"a\n" + b"123\n" * 9_999, mtime=0)[:-20], "[Tt]runcated"),
        ("a.csv.gz", gzip.compress(b"a\n" + b"1" * 10_000_000, mtime=0), "longer than 4,194,304 bytes"),
        ("a.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-4], "[Tt]runcated"),
        ("a.jsonl", b"", "no columns"),
        ("a.jsonl", b'{"a": 1\n', "Missing a comma"),
        ("a.jsonl", b"[1]\n", "from object to array"),
        ("a.jsonl", b'{"a": 1, "a": 2}\n', "specified twice"),
        ("a.jsonl", b'{"a": "\xff"}\n', "utf-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": "x"}\n', "from number to string"),
        ("a.jsonl", b'{"]":' * 100_000 + b"1" + b"}" * 100_000, "more than 64 levels"),
        ("a.jsonl.gz", gzip.compress(b'{"a": "' + b"1" * 20_000_000, mtime=0), "a line is longer than"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0)[:-4], "end-of-stream"),
        ("a.parquet", b"PAR1xxxxPAR1", "[Pp]arquet"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, OSError, EOFError), match=words):
        described(tmp_path / name)


def test_another_separator_is_asked_for(tree: TreeWriter, tmp_path: Path) -> None:
    """Where numbers have commas a row has more columns than the first line; else all is one column, and no error."""
    files = {"commas.csv": b"day;sodium\n1;140,2\n", "one.csv": b"day;sodium\n1;140\n", "right.csv": b"day\n1\n"}
    run = scaledproc.run(tree(files), tmp_path / "out", extractor="table", jobs=1)
    (failed,) = run.errors().to_pylist()
    assert failed["anchor"] == "commas.csv"
    assert failed["message"].endswith("; say with --set separator=… what stands between two values")
    (warned,) = run.warnings().to_pylist()
    assert warned["anchor"] == "one.csv"
    assert warned["message"] == "it was read as one column, 'day;sodium'; is --set separator=… what it needs?"


def test_strange_tables(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text("a,b\n")
    found = described(tmp_path / "header.csv")
    assert [(row["column"], row["type"], row["count"], row["missing"]) for row in found] == [
        *(("a", "null", 0, 0), ("b", "null", 0, 0))
    ]
    (tmp_path / "same.csv").write_text("\ufeffa,a,\n1,x,2\n")
    found = described(tmp_path / "same.csv")
    assert [(row["position"], row["column"], row["first"]) for row in found] == [
        *((0, "a", "1"), (1, "a", "x"), (2, "", "2"))
    ]
    pq.write_table(pa.table([pa.array([1]), pa.array(["x"])], names=["a", "a"]), tmp_path / "same.parquet")
    assert [row["first"] for row in described(tmp_path / "same.parquet")] == ["1", "x"]
    (tmp_path / "two.csv.gz").write_bytes(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))
    assert described(tmp_path / "two.csv.gz")[0]["count"] == 2


def test_missing_texts_are_declared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("country,x\nNA,-9\nDE,1\n")
    country, x = described(tmp_path / "a.csv", missing=("-9",))
    assert (country["missing"], country["first"], x["missing"], x["mean"]) == (0, "NA", 1, 1)
    assert described(tmp_path / "a.csv")[0]["missing"] == 1


def test_a_run_sets_aside_what_is_no_table(tree: TreeWriter, tmp_path: Path) -> None:
    data = tree({"a.csv": b"a\n1\n", "b.csv": b"a,b\n1\n", "c.txt": b"no table\n"})
    run = scaledproc.run(data, tmp_path / "out", extractor="table", jobs=1)
    assert run.to_arrow()["path"].to_pylist() == ["a.csv"]
    (message,) = run.errors()["message"].to_pylist()
    assert "Expected 2 columns, got 1" in message
