"""NumPy's arrays as a whole: taken as each of their values would be, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from row_forms import F32, F64, I32, I64, TEXT

from scaledproc.extractors.rows.takers import taker_for, to_arrow

F16, US = pa.float16(), pa.timestamp("us")
NAN, INF = float("nan"), float("inf")
WHOLE = [pa.int8(), pa.int16(), I32, I64, pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
DTYPES = [
    "b1",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "c16",
    ">i2",
    ">f8",
    "U3",
    "M8[s]",
]
NUMBERS = [pa.bool_(), *WHOLE, F16, F32, F64]
BITS = (0, 7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64)
EDGES = sorted({sign * 2**bits + more for bits in BITS for sign in (1, -1) for more in (-1, 0, 1)})
FLOATS = [0.5, -0.0, NAN, INF, -INF, 65504.0, 65520.0, -65520.0, 1e300, 3.4028235677973362e38, 3.4028235677973366e38]


def edges_of(dtype: str) -> np.ndarray[Any, Any]:
    """Values near the bounds of all types, as far as a type of NumPy's has them."""
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return np.array([each for each in EDGES if np.iinfo(kind).min <= each <= np.iinfo(kind).max], kind)
    if kind.kind in "fc":
        with np.errstate(over="ignore"):
            return np.array([*map(float, EDGES), *FLOATS], "f8").astype(kind)
    return {"b": np.array([True, False]), "U": np.array(["1", "a"])}.get(kind.kind, np.array([0, 1], "M8[s]"))


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_is_taken_as_each_of_its_values(dtype: str, kind: pa.DataType) -> None:
    """As a whole, if every value would be taken as the same; or not at all, and then each is looked at."""
    taker = taker_for(kind)
    values = edges_of(dtype)
    for array in (
        *(values[place : place + 1] for place in range(len(values))),
        values,
        values[:0],
        values[:2],
        values[::-1],
    ):
        whole = taker.take_array(array)
        if whole is None:
            continue
        assert not np.shares_memory(whole, array)
        plain = [each.item() if isinstance(each, np.generic) else each for each in array]
        each = to_arrow([taker.take(value) for value in plain], taker)
        assert repr(to_arrow(list(whole), taker).to_pylist()) == repr(each.to_pylist())


@pytest.mark.parametrize(
    ("dtype", "kind", "inside"),
    [
        ("b1", pa.bool_(), [True, False]),
        ("i8", I64, [-(2**63), 2**63 - 1]),
        ("i8", pa.int8(), [-128, 127]),
        ("u8", I64, [0, 2**63 - 1]),
        ("u8", pa.uint64(), [2**64 - 1]),
        ("f8", I64, [-(2.0**63), 3.0]),
        ("f4", pa.uint8(), [0.0, 255.0]),
        ("f8", F64, [0.5, NAN, INF, 1.7e308]),
        ("f8", F32, [0.5, NAN, INF, 3.4028235677973362e38, -3.4028235677973362e38]),
        ("f8", F32, []),
        ("f4", F64, [0.5, NAN, 3e38]),
        ("f4", F16, [0.5, 65519.0, -65519.0, NAN, -INF]),
        ("f2", F16, [0.5, INF]),
        ("i8", F64, [-(2**53), 2**53]),
        ("i4", F32, [-(2**24), 2**24]),
        ("u2", F16, [0, 2**11]),
    ],
)
def test_arrays_that_fit_are_not_taken_apart(dtype: str, kind: pa.DataType, inside: list[Any]) -> None:
    array = np.array(inside, dtype)
    whole = taker_for(kind).take_array(array)
    assert whole is not None
    assert whole.dtype == np.dtype(kind.to_pandas_dtype())
    assert not np.shares_memory(whole, array)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([True]), I64),
        (np.array([True]), F64),
        (np.array([1]), pa.bool_()),
        (np.array([1], "g"), I64),
        (np.array([1], "g"), F64),
        (np.array([1 + 0j]), F64),
        (np.array(["a"]), F64),
        (np.array([NAN]), I64),
        (np.array([-INF]), I64),
        (np.array([1.5]), I64),
        (np.array([2.0**63]), I64),
        (np.array([2**63], "u8"), I64),
        (np.array([256]), pa.uint8()),
        (np.array([-1]), pa.uint8()),
        (np.array([65520.0]), F16),
        (np.array([-65520.0], "f4"), F16),
        (np.array([1e300, NAN]), F32),
        (np.array([3.4028235677973366e38]), F32),
        (np.array([2**53 + 1]), F64),
        (np.array([-(2**53) - 1]), F64),
        (np.array([2**24 + 1]), F32),
        (np.array(["a"]), TEXT),
        (np.array([b"a"]), pa.binary()),
        (np.array([0], "M8[s]"), US),
    ],
)
def test_arrays_of_which_each_value_is_looked_at(array: np.ndarray[Any, Any], kind: pa.DataType) -> None:
    assert taker_for(kind).take_array(array) is None
