"""What columns mean: of what no row depends, and what the built-in extractors tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import scaledproc
from scaledproc.errors import OtherPlanError
from scaledproc.events import ReuseFound
from scaledproc.execution.tables.finishing import finished_schema
from scaledproc.extractors import load_extractor
from scaledproc.extractors.described import column_texts, described, descriptions, undescribed
from scaledproc.extractors.registry import names
from scaledproc.extractors.tables import tables_of
from scaledproc.testing.probes import output_bytes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, text in {"a/1.txt": "one two", "a/2.txt": "", "b/3.txt": "three"}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text)
    return tmp_path / "data"


def length(task: scaledproc.Task) -> dict[str, int]:
    return {"n": len(task.path.read_text())}


def test_another_description_costs_no_task(data: Path) -> None:
    def made(name: str, text: str, **options: Any) -> scaledproc.Run:
        schema = pa.schema([pa.field("n", pa.int64(), metadata={"description": text})])
        own = scaledproc.extractor(schema=schema, anchor="*.txt")(length)
        return scaledproc.run(data, data.parent / name, extractor=own, jobs=1, **options)

    before = made("out", "Letters of the file.").record.plan_id
    with pytest.raises(OtherPlanError, match=r"units and descriptions changed\n.*\n  --update does 0 of 3 tasks"):
        made("out", "Letters.")
    told: list[Any] = []
    updated = made("out", "Letters.", update=True, on_event=told.append)
    assert [event.todo for event in told if isinstance(event, ReuseFound)] == [0]
    assert updated.record.plan_id != before
    assert output_bytes(updated.store) == output_bytes(made("whole", "Letters.").store)
    assert descriptions(updated.to_arrow().schema)["n"] == {"description": "Letters."}


@pytest.mark.parametrize("name", sorted(names()))
def test_the_built_in_ones_tell_what_each_column_means(name: str, tmp_path: Path) -> None:
    extractor = load_extractor(name)
    columns = finished_schema(extractor)
    found = descriptions(described(extractor, columns, extractor.schema))
    assert [field.name for field in columns if not found.get(field.name, {}).get("description")] == []
    if name.startswith("wfdb"):
        assert found["fs"]["unit"] == "Hz"
    assert undescribed(extractor.schema).equals(extractor.schema, check_metadata=True)  # as runs of before had it


OPTIONS: dict[str, dict[str, Any]] = {
    "files": {},
    "table": {},
    "wfdb-summary": {},
    "wfdb-windows": {"bands": ("low:0.1-2", "qrs:5-15"), "beats_table": True},
}


@pytest.mark.parametrize("name", sorted(names()))
def test_each_column_of_the_built_in_ones_has_a_text_of_its_own(name: str) -> None:
    extractor = load_extractor(name, OPTIONS[name])
    schemas = [described(extractor, finished_schema(extractor), extractor.schema), *tables_of(extractor).values()]
    for schema in schemas:
        texts = [told["description"] for told in descriptions(schema).values()]
        assert len(texts) == len(schema.names)
        assert len({*texts}) == len(texts)


def test_a_band_is_told_by_its_own_edges() -> None:
    extractor = load_extractor("wfdb-windows", {**OPTIONS["wfdb-windows"], "layout": "wide", "signals": ("II",)})
    found = descriptions(described(extractor, finished_schema(extractor), extractor.schema))
    assert found["II_power_low"]["description"].startswith("Power from 0.1 Hz on and below 2 Hz")
    assert found["II_power_qrs"]["description"].startswith("Power from 5 Hz on and below 15 Hz")
    assert found["II_mean"]["description"] == "Of the valid samples, in the signal's units."


def test_the_section_of_columns_is_read() -> None:
    doc = (
        "What.\n\nColumns\n-------\na, b\n    First line\n    and second.\nc : float\n    Third.\n\n"
        "Notes\n-----\nd\n    No.\n"
    )
    assert column_texts(doc) == {"a": "First line and second.", "b": "First line and second.", "c": "Third."}
    assert column_texts("What.") == {}
