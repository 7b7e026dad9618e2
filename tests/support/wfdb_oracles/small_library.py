"""Functions to be compiled, for the tests of how machine code is kept: some of them cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaledproc.extractors.wfdb.machine_code import Entry, Library, Native


def _twice(value: Any) -> Any:
    return 2 * value


def _double(values: Any, by: float, is_negative: bool, out: Any) -> None:
    if len(values) > 3:
        raise ValueError("too many")
    for i in range(len(values)):
        out[i] = _twice(values[i]) * by
        if is_negative:
            out[i] = -out[i]


def _allocating(values: Any, out: Any) -> None:
    out[0] = np.sort(values)[0]


def _other_in_python(values: Any, out: Any) -> None:
    out[0] = values[0] + values[1]  # which numba computes in 64 bits, and numpy in 8


def _ending(values: Any, out: Any) -> None:
    out[0] = values[0]


def _no_text(_name: str) -> str:
    return "no text of LLVM's"


_unreadable = Native("unreadable", "int64", _no_text)


def _calling_unreadable(values: Any, out: Any) -> None:
    _unreadable(len(values))
    out[0] = values[0]


def _doubled() -> list[Any]:
    return [np.arange(3), 0.5, True, np.zeros(3)]


def _bytes() -> list[Any]:
    return [np.array([200, 100], np.uint8), np.zeros(1, np.int64)]


def _end() -> list[Any]:
    import os

    os.abort()


BYTES = "uint8[::1], int64[::1]"
LIBRARY = Library(__name__, {"double": Entry(_double, "int64[::1], float64, boolean, float64[::1]", [_doubled])})
ALLOCATING = {"f": Entry(_allocating, BYTES, [_bytes])}
OTHER = {"f": Entry(_other_in_python, BYTES, [_bytes])}
ENDING = {"f": Entry(_ending, BYTES, [_end])}
UNREADABLE = {"f": Entry(_calling_unreadable, BYTES, [_bytes])}
