"""When the compiled kernel is loaded, and what is in use where it cannot be had."""

from __future__ import annotations

import resource
import sys

import pytest

from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import kernel
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_kernel", numpy_kernel)
    monkeypatch.setattr(kernel, "_is_tried", False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_it_is_loaded_where_much_is_to_come() -> None:
    extractor = WfdbWindows(beats=False)
    extractor.expect(kernel.MUCH - 1)
    assert kernel.kernel_in_use() is numpy_kernel
    extractor.expect(kernel.MUCH)
    assert kernel.kernel_in_use() is not numpy_kernel


def test_not_where_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**30))
    WfdbWindows(beats=False).expect(kernel.MUCH)
    assert kernel.kernel_in_use() is numpy_kernel


def test_numpy_is_used_where_there_is_no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    WfdbWindows(beats=False).expect(kernel.MUCH)
    assert kernel.kernel_in_use() is numpy_kernel
