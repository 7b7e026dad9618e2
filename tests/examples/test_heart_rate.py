"""The examples about heart rates: a model of windows that are joined to a cohort, a plot, and the notebook of both."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from scaledproc.demo import write_demo

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COHORT = "record_name,age\n3000003,61\n3000105,47\n3100011,72\n3100112,35\n3200058,66\n3200207,58\n"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_model_of_windows_joined_to_a_cohort(demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cohort = tmp_path / "cohort.csv"
    cohort.write_text(COHORT)
    example("heart_rate_model").main(demo, tmp_path / "windows", cohort)
    printed = capsys.readouterr().out
    assert "windows of 5 records" in printed  # the sixth has no lead II
    off = dict(re.findall(r"^(.*): (\d+\.\d) bpm off$", printed, re.MULTILINE))
    assert float(off["detected beats"]) < 2
    assert float(off["model"]) < float(off["mean of the other records"]) / 3
    part = tmp_path / "part.csv"
    part.write_text("".join(COHORT.splitlines(keepends=True)[:3]))
    example("heart_rate_model").main(demo, tmp_path / "windows", part)
    assert "windows of 2 records" in capsys.readouterr().out


def test_a_window_in_which_the_monitor_had_no_value_is_left_out(tmp_path: Path) -> None:
    """The monitor writes a literal zero for no value: one in ten would make the mean a tenth too low."""
    record = write_demo(tmp_path / "demo") / "30/3000105"
    target = tmp_path / "data/30/3000105"
    shutil.copytree(record, target)
    whole = example("heart_rate_model").windows_of(tmp_path / "data", tmp_path / "whole")
    numerics = target / "3000105n.dat"
    lines = (target / "3000105n.hea").read_text().splitlines()
    names = [line.split()[-1] for line in lines[1:]]
    stored = np.fromfile(numerics, "<i2").reshape(-1, len(names))
    stored[[24, 25, 101], names.index("HR")] = 0
    stored.tofile(numerics)
    found = example("heart_rate_model").windows_of(tmp_path / "data", tmp_path / "with-zeros")
    assert {2, 10} <= {*whole["window"]}
    assert [*found["window"]] == [each for each in whole["window"] if each not in (2, 10)]
    assert found["monitor_hr"].min() > 40
    minutes = example("heart_rate_plot").minutes_of(tmp_path / "data", tmp_path / "minutes", "II")
    assert minutes["monitor"].isna().tolist() == [True, True, *[False] * (len(minutes) - 2)]


@pytest.mark.slow
def test_beats_beside_the_monitor(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = shared_data / "mimic3wdb/1.0/32/3234460"
    example("heart_rate_plot").main(record, tmp_path / "out", tmp_path / "picture.png")
    found = re.fullmatch(r"72 minutes; .* (\d+) with trusted beats .* (\d+\.\d) bpm\n", capsys.readouterr().out)
    assert found is not None
    assert int(found[1]) > 35
    assert float(found[2]) < 2  # in the minute before or behind it is more
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    notebook = nbformat.read(EXAMPLES / "mimic.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "keep it without outputs"
    done = nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3").execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("bpm off" in output.get("text", "") for output in outputs)
