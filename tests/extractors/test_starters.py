"""The examples that `scaledproc init extractor` writes pass what every extractor must; and files without a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import TreeWriter

import scaledproc
from scaledproc.extractors.registry import full_name
from scaledproc.extractors.starters import KINDS, write_starter
from scaledproc.testing import ExtractorConformance


class _Written(ExtractorConformance):
    """A file of a kind, which is written for the tests."""

    kind = ""

    @pytest.fixture(autouse=True)
    def _write(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path_factory.mktemp("starter") / "mine.py"
        write_starter(self.kind, path)
        monkeypatch.setattr(type(self), "extractor", str(path))


class TestFiles(_Written):
    kind, extractor = "files", ""

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        data = tmp_path / "data"
        for number in range(5):
            (data / f"{number % 2}").mkdir(parents=True, exist_ok=True)
            (data / f"{number % 2}/{number}.bin").write_bytes(b"\n\xff" * number)
        return data

    def test_values(self, dataset: Path) -> None:
        rows = scaledproc.try_task(self.extractor, dataset, "1/3.bin").to_pylist()
        assert rows == [
            {"group": "1", "unit": "1", "anchor": "1/3.bin", "path": "1/3.bin", "size": 6, "lines": 3, "beside": 1}
        ]
        (row,) = scaledproc.try_task(self.extractor, dataset, "1/3.bin", options={"largest": 5}).to_pylist()
        assert row["lines"] is None


class TestTables(_Written):
    kind, extractor = "tables", ""

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        data = tmp_path / "data"
        data.mkdir()
        (data / "a.csv").write_text("time,value,empty\n1,2.5,\n3,,\n")
        (data / "b.csv").write_text("x;y\n1;2\n")
        (data / "c.csv").write_text("")  # of which the extractor raises
        (data / "none.csv").write_text("name\nada\n")
        return data

    def test_values(self, dataset: Path) -> None:
        time, value, empty = scaledproc.try_task(self.extractor, dataset / "a.csv").to_pylist()
        assert [time.pop(name) for name in ("group", "unit", "anchor")] == [".", "a.csv", "a.csv"]
        assert time == {"path": "a.csv", "column": "time", "count": 2, "missing": 0, "mean": 2, "min": 1, "max": 3}
        assert (value["count"], value["missing"], value["mean"]) == (1, 1, 2.5)
        assert (empty["count"], empty["missing"], empty["mean"]) == (0, 2, None)
        found = scaledproc.try_task(self.extractor, dataset / "b.csv", options={"separator": ";"})
        assert found["column"].to_pylist() == ["x", "y"]


@pytest.mark.slow
class TestWaveforms(_Written):
    kind, extractor = "waveforms", ""

    @pytest.fixture
    def dataset(self, demo: Path) -> Path:
        return demo

    def test_values_are_those_of_the_built_in(self, demo: Path, tmp_path: Path) -> None:
        found = scaledproc.run(demo, tmp_path / "own", extractor=self.extractor, jobs=1).to_arrow()
        known = scaledproc.run(demo, tmp_path / "built-in", jobs=1).to_arrow()
        by_record = {(f"{row['unit']}/{row['record']}.hea", row["channel"]): row for row in known.to_pylist()}
        assert found.num_rows > 50
        for row in found.to_pylist():
            other = by_record[row["path"], row["channel"]]
            assert (row["signal"], row["samples"]) == (other["signal"], other["n_samples"])
            assert (row["missing"], row["fs"]) == (other["n_missing"], other["fs"])
            for name in ("mean", "std"):
                assert (row[name] is None) == (other[name] is None)
                assert other[name] is None or row[name] == pytest.approx(other[name], rel=1e-9, abs=1e-9)


def test_every_kind_is_tested_here() -> None:
    assert {TestFiles.kind, TestTables.kind, TestWaveforms.kind} == set(KINDS)


# Files without a name

ONE = """
import scaledproc
from scaledproc import Extractor

@scaledproc.extractor(schema={"n": "int64"}, anchor="*.txt")
def one(task):
    return {"n": 1}

the_same = one
"""


def test_a_file_of_one_extractor_needs_no_name(tree: TreeWriter, tmp_path: Path) -> None:
    file, dataset = tmp_path / "file.py", tree({"a.txt": b""})
    file.write_text(ONE)
    assert full_name(str(file)) == f"{file}:one"
    run = scaledproc.run(dataset, tmp_path / "out", extractor=str(file), jobs=1)
    assert run.record.extractor["spec"] == f"{file}:one"
    again = scaledproc.run(dataset, tmp_path / "out", extractor=f"{file}:one", jobs=1)
    assert again.record.plan_id == run.record.plan_id == scaledproc.plan(dataset, extractor=str(file)).plan_id


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE + ONE.replace("one", "two").replace("the_same = two", ""), r"file.py:one or .*file.py:two"),
        ("import scaledproc\nfrom scaledproc import Extractor\n", "file.py defines no extractor"),
        ("1 / 0", "file.py cannot be loaded: ZeroDivisionError"),
    ],
)
def test_a_file_that_needs_a_name(tmp_path: Path, text: str, words: str) -> None:
    file: Any = tmp_path / "file.py"
    file.write_text(text)
    with pytest.raises(scaledproc.UsageError, match=words):
        scaledproc.plan(tmp_path, extractor=str(file))


def test_a_class_of_its_own_is_found_and_what_it_is_made_of_is_not(tmp_path: Path) -> None:
    (tmp_path / "kinds.py").write_text(
        "import pyarrow as pa\nfrom scaledproc import Extractor\n"
        "class Base(Extractor):\n    schema = pa.schema({'n': 'int64'})\n"
        "class Own(Base):\n    name = 'own'\n    def extract(self, task):\n        return []\n"
    )
    assert full_name(str(tmp_path / "kinds.py")).endswith("kinds.py:Own")
