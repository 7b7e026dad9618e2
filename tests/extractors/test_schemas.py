"""What is said of a schema that cannot be read: which column, what was written, what there is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors.schemas import NAMES, as_schema


@pytest.mark.parametrize("name", NAMES)
def test_each_name_that_is_told_is_one(name: str) -> None:
    assert as_schema({"x": name}).field("x").type == pa.type_for_alias(name)


@pytest.mark.parametrize(
    ("kind", "meant"),
    [
        ("int", "int64"),
        ("Integer", "int64"),
        ("flaot64", "float64"),
        ("strng", "string"),
        ("datetime", "timestamp[us]"),
        (int, "int64"),
        (float, "float64"),
        (str, "string"),
        (dt.datetime, "timestamp[us]"),
        (np.float32, "float32"),
        (np.dtype("int16"), "int16"),
        (np.float64, "float64"),
    ],
)
def test_the_nearest_type_is_named(kind: Any, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        as_schema({"path": "string", "mean": kind})
    text = str(caught.value)
    assert text.startswith(f"the extractor's schema: the column 'mean' has the type {kind!r}, which is none: ")
    assert f"is {meant!r} meant? There are: bool, int8, " in text
    assert "alias" not in text
    as_schema({"mean": meant})


@pytest.mark.parametrize("kind", ["qqq", None, 7, ["int64"], {"a": "int64"}, pa.array])
def test_what_is_like_none_is_told_with_those_that_there_are(kind: Any) -> None:
    with pytest.raises(UsageError, match=r"the column 'mean' has the type .*, which is none; there are: bool, int8"):
        as_schema({"mean": kind})


@pytest.mark.parametrize("schema", [["a", "b"], "int64", None, 3, pa.int64()])
def test_what_is_no_mapping_is_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match=r"the extractor's schema is a \w+: give a mapping of columns to types"):
        as_schema(schema)
    with pytest.raises(UsageError, match="the column 1 is no text"):
        as_schema({1: "int64"})


def test_without_parentheses_it_says_what_to_write() -> None:
    bare: Any = scaledproc.extractor

    def count(task: Any) -> Any:
        return {}

    uses: list[Callable[[], Any]] = [
        lambda: bare(count),
        lambda: bare()(count),
        lambda: bare(anchor="*.csv"),
        lambda: bare(count, schema={}),
    ]
    for use in uses:
        with pytest.raises(UsageError, match=r"@scaledproc.extractor\(schema=\{.*\}, anchor=.*\) above the function"):
            use()
