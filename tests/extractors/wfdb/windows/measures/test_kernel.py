"""When the compiled kernel is loaded, and what is in use where it cannot be had."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from scaledproc.extractors.wfdb import machine_code
from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows import kept
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import kernel
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel
from scaledproc.extractors.wfdb.windows.measures.spectra import welch


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_kernel", numpy_kernel)
    monkeypatch.setattr(welch, "compiled", None)
    monkeypatch.setattr(kept, "compiled", None)
    monkeypatch.setattr(machine_code, "_hopeless", set())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def expect(size: int) -> bool:
    """Whether the compiled kernel is in use once so many bytes are to come."""
    WfdbWindows(beats=False).expect(size)
    is_compiled = kernel.kernel_in_use() is not numpy_kernel
    assert (welch.compiled is not None) == (kept.compiled is not None) == is_compiled
    return is_compiled


def test_what_was_compiled_is_loaded_where_enough_is_to_come() -> None:
    load(LIBRARY)
    assert not expect(kernel.LITTLE - 1)
    assert expect(kernel.LITTLE)


@pytest.mark.slow
def test_it_is_compiled_only_where_much_is_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not expect(kernel.MUCH - 1)
    assert not list(tmp_path.rglob("*.o"))
    assert expect(kernel.MUCH)
    assert len(list(tmp_path.rglob("*.o"))) == 1


def test_not_where_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, 2**30))
    assert not expect(kernel.MUCH)


def test_numpy_is_used_where_there_is_no_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_code._digest.cache_clear()
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    assert not expect(kernel.MUCH)
