import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scaledproc.demo import write_demo

PINNED = "81c458e19869a8b4440491dd53604b7cd5ef85e37fe3636414bd5057e4a7dc78"

# wfdb is imported inside the tests, where this holds: its own import makes recent versions of pandas warn.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def digest(folder: Path) -> str:
    return hashlib.sha256("".join(f"{sha}  {path}\n" for path, sha in tree(folder).items()).encode()).hexdigest()


def stems(folder: Path, pattern: str) -> list[Path]:
    return sorted(path.with_suffix("") for path in folder.rglob(pattern))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("demo") / "deeper" / "still" / "mimic")


@pytest.mark.slow
def test_bytes_are_the_same_every_time(demo: Path, tmp_path: Path) -> None:
    again = write_demo(tmp_path / "again")
    assert tree(again) == tree(demo)
    assert digest(again) == PINNED


def test_shape_of_the_dataset(demo: Path) -> None:
    records = (demo / "RECORDS").read_text().splitlines()
    assert len(records) == 6
    assert {line[:2] for line in records} == {"30", "31", "32"}
    for line in records:
        folder = demo / line
        name = folder.name
        assert name in line[3:]
        for file in (f"{name}.hea", f"{name}_layout.hea", f"{name}_0001.hea", f"{name}n.hea", f"{name}n.dat"):
            assert (folder / file).is_file()
        assert f"{name}/" in (folder.parent / "RECORDS").read_text().splitlines()
    segments = stems(demo, "*_0*.dat")
    sizes = [stem.with_suffix(".dat").stat().st_size for stem in segments]
    assert len(segments) == 40
    assert max(sizes) > 50 * min(sizes)
    assert 1_200_000 < sum(path.stat().st_size for path in demo.rglob("*") if path.is_file()) < 1_600_000


def test_segments_and_numerics_read_back_with_their_checksums(demo: Path) -> None:
    import wfdb

    names: set[str] = set()
    missing, all_missing = 0, []
    for stem in stems(demo, "*.dat"):
        record = wfdb.rdrecord(str(stem), physical=False)
        sums = record.d_signal.astype(np.int64).sum(axis=0) & 0xFFFF
        assert sums.tolist() == [checksum & 0xFFFF for checksum in record.checksum], stem
        assert record.d_signal[0].tolist() == record.init_value, stem
        assert record.base_time is not None
        assert record.base_date is None  # as in the real database only masters have one
        numerics = stem.name.endswith("n")
        assert record.fmt == ["16" if numerics else "80"] * record.n_sig
        assert 2 <= record.n_sig <= 5
        if numerics:
            names.update(record.sig_name)
        else:
            assert record.fs == 125
        gone = record.d_signal == (-32768 if numerics else -128)
        missing += gone.any(axis=0).sum() - gone.all(axis=0).sum()
        all_missing += [(stem.name, name) for name, none in zip(record.sig_name, gone.all(axis=0), strict=True) if none]
    assert {"HR", "ABP SYS", "ABPSys", "SpO2", "%SpO2", "RESP"} <= names
    assert missing > 10
    assert all_missing == [("3100112_0003", "ABP")]


def test_masters_read_back_as_one_record(demo: Path) -> None:
    import wfdb

    for line in (demo / "RECORDS").read_text().splitlines():
        stem = str(demo / line / Path(line).name)
        parts = wfdb.rdrecord(stem, m2s=False)
        assert parts.layout == "variable"
        assert parts.seg_len[0] == 0
        assert "~" in parts.seg_name
        whole = wfdb.rdrecord(stem, m2s=True)
        assert whole.sig_len == sum(parts.seg_len)
        assert whole.sig_name == parts.segments[0].sig_name
        assert whole.base_date is not None
        assert whole.base_time == parts.segments[1].base_time
        start = 0
        for length, segment in zip(parts.seg_len, parts.segments, strict=True):
            values = whole.p_signal[start : start + length]
            if segment is None:
                assert np.isnan(values).all()
            elif length:
                columns = [whole.sig_name.index(name) for name in segment.sig_name]
                np.testing.assert_array_equal(values[:, columns], segment.p_signal)
                assert segment.base_time == whole.get_absolute_time(start).time()
            start += length
        numerics = wfdb.rdheader(f"{stem}n")
        assert numerics.fs in (1, 0.0166666666667)
        assert numerics.sig_len == -(-whole.sig_len // round(125 / numerics.fs))


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "note").write_text("mine")
    assert write_demo(folder) == folder
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "note"]


def test_losing_a_race_leaves_only_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename = tmp_path / "demo", Path.rename

    def other_is_faster(self: Path, target: Path) -> None:
        target.mkdir()
        (target / "winner").touch()
        rename(self, target)  # fails, the target has content

    monkeypatch.setattr(Path, "rename", other_is_faster)
    assert write_demo(folder) == folder
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", "winner"]


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", no_space)
    with pytest.raises(OSError, match="No space"):
        write_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_folder_is_readable_as_any_other(demo: Path) -> None:
    ordinary = demo.parent.stat().st_mode
    assert demo.stat().st_mode == ordinary


def test_it_is_quick(tmp_path: Path) -> None:
    start = time.perf_counter()
    write_demo(tmp_path / "demo")
    assert time.perf_counter() - start < 5  # about half a second; the rest is room for a busy machine


def test_import_is_nearly_free() -> None:
    code = "import sys, scaledproc.demo; print({'numpy', 'wfdb', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
