"""All that is looked at, as a person, a notebook and a program get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import Cli

import scaledproc
from scaledproc.engine.doctor.findings import Diagnosis, Finding, Verdict
from scaledproc.reporting.doctor import diagnosis_text, finding_text, summary_text

FINE = Finding("cores", Verdict.FINE, "2 cores")
WORRY = Finding("memory", Verdict.WORRY, "100 MB free of 1 GB", "use --jobs 1")
STOPPING = Finding("scratch", Verdict.MISSING, "/x cannot be written", "name another", stops=True)


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    """One that would work, in JSON; and one that would not, for a person."""
    result = cli("doctor", "--json", tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["ok"] is True
    names = [each["name"] for each in found["findings"]]
    assert names[:7] == ["cores", "memory", "scratch", "/dev/shm", "open files", "versions", "plug-ins"]
    assert {"Docker", "Slurm", "extra fast", "extra sagemaker"} < set(names)
    assert names[-1] == str(tmp_path)
    assert {each["verdict"] for each in found["findings"]} <= set(Verdict)
    assert all(each["advice"] for each in found["findings"] if each["verdict"] != "fine")
    assert result.stderr == ""
    result = cli("doctor", "--scratch", "nowhere")
    assert result.returncode == 1
    assert result.stdout.rstrip().endswith("a run would stop: scratch")


def test_in_python(tmp_path: Path) -> None:
    found = scaledproc.doctor(tmp_path, jobs=1, scratch=tmp_path)
    assert isinstance(found, Diagnosis)
    assert found.ok
    assert str(found).startswith("fine: cores: 1 core\n")
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True


@pytest.mark.parametrize("given", [{"jobs": 0}, {"places": [3]}, {"storage_options": {"anon": True}}])
def test_what_cannot_be_asked_for_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(scaledproc.UsageError):
        scaledproc.doctor(**given)  # type: ignore[arg-type]


def test_a_storage_option_without_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(scaledproc.UsageError, match="leave it out"):
        scaledproc.doctor(tmp_path, storage_options={"anon": True})


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_text_fits_the_terminal(width: int) -> None:
    long = Finding("a/very/long/name/of/a/place", Verdict.MISSING, "word " * 60, "do " * 60, stops=True)
    lines = diagnosis_text(Diagnosis((FINE, WORRY, long)), width).splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert lines[0] == "fine    cores           2 cores"
        assert lines[1].startswith("worry   memory          100 MB")
    else:
        assert lines[:4] == ["fine    cores", "        2 cores", "worry   memory", "        100 MB free of 1 GB"]


def test_text_of_places_cannot_steer_a_terminal() -> None:
    shown = finding_text(Finding("a\x1b[2J", Verdict.FINE, "b\x1b[2J\nc"), 80)
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 1


def test_the_end_says_what_it_comes_to() -> None:
    assert summary_text([FINE]) == "nothing here would stop a run"
    assert summary_text([FINE, WORRY]) == "1 worry; nothing here would stop a run"
    assert summary_text([WORRY, WORRY, STOPPING]) == "2 worries; a run would stop: scratch"
    assert not Diagnosis((FINE, STOPPING)).ok
    assert Diagnosis((FINE, WORRY)).ok
