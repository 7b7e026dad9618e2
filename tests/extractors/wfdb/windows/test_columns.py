"""Units of windows: each measure has one, in either layout and with whatever bands."""

from __future__ import annotations

from typing import Any

import pytest

from scaledproc.extractors import load_extractor
from scaledproc.extractors.described import described, descriptions


@pytest.mark.parametrize(
    "options",
    [
        {"beats_table": True},
        {"bands": ("low:0.04-0.15", "high:0.15-0.4"), "layout": "wide", "signals": ("ABP", "II"), "step": 30.0},
        {"beats": False, "bands": ()},
    ],
    ids=["long", "wide", "without"],
)
def test_what_is_measured_of_windows_has_a_unit(options: dict[str, Any]) -> None:
    extractor = load_extractor("wfdb-windows", options)
    schema = described(extractor, extractor.schema, extractor.schema)
    found = descriptions(schema)
    without = {field.name for field in schema if "unit" not in found[field.name]}
    assert all(field.name in found and found[field.name]["description"] for field in schema)
    signals = options.get("signals", ())
    assert without == {
        *("group", "unit", "record", "record_name", "subject_id", "hadm_id", "kind", "window", "start", "header_note"),
        *([f"{signal}_units" for signal in signals] or ("channel", "signal", "signal_name", "units")),
    }
    column = f"{signals[0]}_units" if signals else "units"
    prefix = f"{signals[0]}_" if signals else ""
    assert found[f"{prefix}mean"]["unit"] == f"as in the column {column}"
    assert found[f"{prefix}power_total"]["unit"] == f"as in the column {column}, squared"
    assert found[f"{prefix}kurtosis"]["unit"] == found[f"{prefix}n_samples"]["unit"] == "1"
    assert schema.get_field_index(column) >= 0
