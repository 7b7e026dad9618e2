"""Short records, all of whose windows are measured at once: each value is the one that comes of them in pieces."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_oracles.oracle import rows_in, task_of

from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.windows import kept, reading
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import kernel as kernels
from scaledproc.extractors.wfdb.windows.measures.at_once import measured_at_once
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel
from scaledproc.extractors.wfdb.windows.measures.spectra import welch

WAVE = "80 100(3)/mV 8 0 0 0 0"


def write(folder: Path, lines: list[str], n: int, content: bytes, fs: str = "125") -> Path:
    path = folder / "r.hea"
    path.write_text("\n".join([f"r {len(lines)} {fs} {n}", *(f"r.dat {line}" for line in lines)]) + "\n")
    (folder / "r.dat").write_bytes(content)
    return path


def rows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    return rows_in(WfdbWindows(**{"beats": False, **options}).extract(task_of(path)))


def in_pieces(path: Path, **options: Any) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_SHORT", 0)
        return rows_of(path, **options)


def is_at_once(path: Path, **options: Any) -> bool:
    """Whether all windows were measured at once; as the rows are the same, by what was called."""
    found = []
    with pytest.MonkeyPatch.context() as patch:

        def spy(*given: Any) -> Any:
            found.append(measured_at_once(*given))
            return found[-1]

        patch.setattr(reading, "measured_at_once", spy)
        rows_of(path, **options)
    return bool(found) and found[0] is not None


@st.composite
def short_records(draw: st.DrawFn) -> tuple[list[str], int, bytes, str]:
    """Lines of signals, samples of each, the signal file, samples a second."""
    fmt = draw(st.sampled_from(["80", "16", "61", "160", "212", "310", "311", "24", "32"]))
    sign = draw(st.sampled_from(["", "", "-"]))
    gains = draw(st.lists(st.sampled_from(["200", "12.5(7)", "1(100)", "1e3", "0.5(-3)"]), min_size=1, max_size=5))
    n = draw(st.integers(1, 1500))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = 4 * n * len(gains)
    kind = draw(st.sampled_from(["any", "wave", "wave", "few"]))
    if kind == "any":
        content = rng.bytes(size)
    else:
        wave = 90 * np.sin(np.arange(size) / rng.uniform(2, 90)) + 128 + rng.normal(0, 4, size)
        missing = rng.random(size) < (0.01 if kind == "wave" else 0.6)
        content = np.where(missing, 0, wave.clip(1, 255)).astype(np.uint8).tobytes()
    fs = draw(st.sampled_from(["125", "62.4725", "20", "1"]))
    return [f"{fmt} {sign}{gain}/mV 0 0 0 0 0 s{place}" for place, gain in enumerate(gains)], n, content, fs


@pytest.mark.parametrize("is_compiled", [False, True])
@given(
    short_records(),
    st.sampled_from([("60", "60"), ("2", "2"), ("3", "1"), ("0.3", "2")]),
    st.sampled_from(["0.5", "0", "1"]),
    st.sampled_from([(), ("s1", "s3"), ("s2",)]),
    st.sampled_from(["long", "wide"]),
)
@settings(max_examples=60, deadline=None)
def test_the_same_rows_as_in_pieces(
    is_compiled: bool,
    record: tuple[list[str], int, bytes, str],
    lengths: tuple[str, str],
    min_valid: str,
    signals: tuple[str, ...],
    layout: Any,
) -> None:
    lines, n, content, fs = record
    options: dict[str, Any] = {"window": float(lengths[0]), "step": float(lengths[1]), "min_valid": float(min_valid)}
    options |= {"signals": signals, "layout": layout if signals else "long"}
    kernel, steps, taking = compiled_of(load(LIBRARY)) if is_compiled else (numpy_kernel, None, None)
    with TemporaryDirectory(prefix="record-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_kernel", kernel)
        patch.setattr(welch, "compiled", steps)
        patch.setattr(kept, "compiled", taking)
        path = write(Path(name), lines, n, content, fs)
        assert list(map(repr, rows_of(path, **options))) == list(map(repr, in_pieces(path, **options)))


def test_a_short_record_is_measured_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, [f"{WAVE} II", f"{WAVE} V"], 2000, bytes(range(1, 251)) * 16)
    assert is_at_once(path)
    assert is_at_once(path, window=1.0)
    found = rows_of(path, window=5.0)
    assert found == in_pieces(path, window=5.0)
    assert len(found) == 8
    assert found[0]["power_total"] > 0


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ([f"{WAVE} II"], {"beats": True}),
        ([f"{WAVE} II"], {"window": 0.2}),
        (["80x2 100/mV 8 0 0 0 0 II"], {}),
        (["80:5 100/mV 8 0 0 0 0 II"], {}),
        (["8 100/mV 8 0 0 0 0 II"], {}),
        ([f"{WAVE} II", "80 -100/mV 8 0 0 0 0 V"], {}),
    ],
)
def test_what_is_not(tmp_path: Path, lines: list[str], options: dict[str, Any]) -> None:
    path = write(tmp_path, lines, 2000, bytes(range(1, 251)) * 20)
    assert not is_at_once(path, **options)
    assert rows_of(path, **options)


def test_a_long_record_is_read_in_pieces(tmp_path: Path) -> None:
    n = reading._SHORT + 1
    path = write(tmp_path, [f"{WAVE} II"], n, bytes(n))
    assert not is_at_once(path)


def test_sums_beyond_64_bits_are_left_to_python(tmp_path: Path) -> None:
    samples = np.array([-(2**31) + 1, 2**31 - 1] * 50, "<i4")
    path = write(tmp_path, ["32 1/mV 0 0 0 0 0 II"], 100, samples.tobytes())
    assert not is_at_once(path, window=0.8)
    (row, *_) = rows_of(path, window=0.8)
    assert row["kurtosis"] == -2


@pytest.mark.parametrize("size", [0, 3999])
def test_a_file_that_is_too_short_is_refused_as_ever(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, [f"{WAVE} II", f"{WAVE} V"], 2000, bytes(size))
    text = f"has {size:,} bytes; the header says that it has 4,000 or more"
    for read in (rows_of, in_pieces):
        with pytest.raises(ValueError, match=text):
            read(path)


def test_numbers_that_nothing_can_be_computed_with(tmp_path: Path) -> None:
    path = write(tmp_path, ["80 1e-200/mV 8 0 0 0 0 HR"], 2000, bytes(range(1, 251)) * 8, fs="1")
    for read in (rows_of, in_pieces):
        with pytest.raises(ValueError, match="the header has numbers that nothing can be computed with"):
            read(path)
