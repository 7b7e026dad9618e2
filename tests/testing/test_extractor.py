"""The built-in extractor keeps what every extractor promises, and the tests of that notice when one does not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

import scaledproc
from scaledproc import Extractor, Task, extractor
from scaledproc.testing import PROBE, ExtractorConformance, write_probe_dataset

NAMES = Path(scaledproc.__file__).with_name("extractors") / "wfdb/signal_names.toml"


class TestWfdbSummary(ExtractorConformance):
    extractor = "wfdb-summary"

    @pytest.fixture
    def dataset(self, demo: Path, tmp_path: Path) -> Path:
        """A part of the demo, and a record that cannot be read."""
        folder = next(path for path in sorted(demo.glob("3*/*")) if path.is_dir())
        shutil.copytree(folder, tmp_path / "data" / folder.relative_to(demo))
        broken = tmp_path / "data/39/3999999/3999999.hea"
        broken.parent.mkdir(parents=True)
        broken.write_text("no header\n")
        return tmp_path / "data"


class TestWfdbWindows(TestWfdbSummary):
    extractor = "wfdb-windows"
    arguments: ClassVar[Mapping[str, Any]] = {"options": {"window": 30.0}}
    other_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "bands": {"bands": ["low:1-5"]},
        "layout": {"layout": "wide", "signals": ["II"]},
        "signal_names": {"signal_names": str(NAMES)},
    }


class TestProbe(ExtractorConformance):
    extractor = PROBE

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        return write_probe_dataset(tmp_path / "data", poison=True)


NOT_A_NUMBER = """
import math
import pyarrow.compute as pc
from scaledproc import extractor

def halved(table):
    return table.set_column(1, "half", pc.divide(table["half"], 2.0))

@extractor(schema={"mean": "float64", "half": "float64"}, anchor="*.txt", finish=halved)
def not_a_number(task):
    return {"mean": math.nan, "half": math.nan}
"""


class TestNotANumber(ExtractorConformance):
    """NaN is a value, and the same in any order: in a column that is written as it is, and in one that is finished."""

    @pytest.fixture(autouse=True)
    def _write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own.py").write_text(NOT_A_NUMBER)
        monkeypatch.setattr(TestNotANumber, "extractor", f"{tmp_path}/own.py:not_a_number", raising=False)

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        return write_probe_dataset(tmp_path / "data")


SCHEMA = {"path": "string", "n": "int64"}


def broken(kind: str) -> Any:
    """An extractor with a fault."""
    seen: list[str] = []

    @cache
    def kept(anchor: str) -> list[dict[str, Any]]:
        return [{"path": anchor, "n": 1}]

    @extractor(schema=SCHEMA, anchor="*.txt", finish=numbered if kind == "finish" else None)
    def faulty(task: Task) -> Any:
        seen.append(task.anchor)
        if kind == "kept":
            return kept(task.anchor)
        return {"path": task.anchor, "n": "one" if kind == "schema" else len(seen) if kind == "counts" else 1}

    return faulty


def numbered(table: Any) -> Any:
    """Number the rows, which is not row-wise."""
    return table.set_column(1, "n", pa.array(range(table.num_rows), pa.int64()))


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("counts", "test_same_rows_alone_and_in_any_order"),
        ("kept", "test_what_it_returned_may_be_written_over"),
        ("schema", "test_the_schema_holds"),
        ("schema", "test_the_dataset_says_something"),
        ("finish", "test_the_schema_holds"),
    ],
)
def test_faults_are_noticed(kind: str, test: str, tmp_path: Path) -> None:
    class Faulty(ExtractorConformance):
        extractor = broken(kind)

        def load(self) -> Any:
            return broken(kind)

    dataset = write_probe_dataset(tmp_path / "data")
    with pytest.raises(Exception):  # noqa: B017, PT011 - what fails is told in several ways
        getattr(Faulty(), test)(dataset)
    for other in ("alone_and_in_any_order", "may_be_written_over"):
        if kind == "finish":
            for name in vars(ExtractorConformance):
                if name.endswith(other):
                    getattr(Faulty(), name)(dataset)


def test_rows_that_are_made_while_they_are_taken(tmp_path: Path) -> None:
    class Lazy(ExtractorConformance):
        @extractor(schema=SCHEMA, anchor="*.txt")
        @staticmethod
        def extractor(task: Task) -> Iterator[dict[str, Any]]:
            row: dict[str, Any] = {"path": task.anchor}
            for n in range(3):
                row["n"] = n
                yield row

    Lazy().test_what_it_returned_may_be_written_over(write_probe_dataset(tmp_path / "data"))


@extractor(schema=SCHEMA, anchor="*.txt")
def optional(task: Task, *, times: int = 1, name: str = "a") -> dict[str, Any]:
    return {"path": f"{task.anchor}{name}", "n": times}


class Forgets(Extractor):
    """An extractor whose own fingerprint leaves an option out."""

    name = "forgets"
    schema = pa.schema({name: pa.type_for_alias(kind) for name, kind in SCHEMA.items()})
    anchors = ("*.txt",)

    def __init__(self, times: int = 1) -> None:
        self.times = times

    @property
    def fingerprint(self) -> str:
        return "forgets 1"

    def extract(self, task: Task) -> Any:
        return {"path": task.anchor, "n": self.times}


@pytest.mark.parametrize(("given", "notices"), [(optional, False), (Forgets, True)])
def test_an_option_that_the_fingerprint_forgets_is_noticed(given: Any, notices: bool) -> None:
    class Tests(ExtractorConformance):
        extractor = given

    with pytest.raises(AssertionError, match="the option times") if notices else nullcontext():
        Tests().test_each_option_changes_the_fingerprint()


class Reads(Forgets):
    """An extractor with an option that takes none of what is tried, and one that depends on another."""

    def __init__(self, times: int = 1, file: str = "", is_wide: bool = False) -> None:
        self.times, self.file, self.is_wide = times, file, is_wide
        if (file and not Path(file).is_file()) or (is_wide and not file):
            raise scaledproc.UsageError("no")

    @property
    def fingerprint(self) -> str:
        return f"reads {self.times} {self.is_wide}"


def test_options_that_take_no_value_that_is_tried_are_named(tmp_path: Path) -> None:
    class Tests(ExtractorConformance):
        extractor = Reads

    with pytest.raises(pytest.skip.Exception, match=r"not checked.*: file, is_wide; give one of each in Tests\.other_"):
        Tests().test_each_option_changes_the_fingerprint()
    (tmp_path / "one").touch()
    Tests.other_options = {"file": {"file": str(tmp_path / "one")}}
    with pytest.raises(AssertionError, match="the option file does not change"):
        Tests().test_each_option_changes_the_fingerprint()
    Tests.other_options = {"is_wide": {"is_wide": True, "file": str(tmp_path / "one")}}
    with pytest.raises(pytest.skip.Exception, match=": file; give"):  # the other one is checked
        Tests().test_each_option_changes_the_fingerprint()
    Tests.other_options = {"fiel": {"fiel": 1}}
    with pytest.raises(AssertionError, match="only the options times, file, is_wide"):
        Tests().test_each_option_changes_the_fingerprint()


def test_the_earlier_name_of_its_arguments_is_refused() -> None:
    """What a subclass calls `options` would be passed over without a word."""
    with pytest.raises(TypeError, match="is called `arguments`"):
        type("Tests", (ExtractorConformance,), {"extractor": optional, "options": {"unit": "file"}})
