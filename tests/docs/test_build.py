"""The scripts that build the documentation: what they write from the code, and what they refuse."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import scaledproc
from scaledproc import plugins
from scaledproc.cli.options.option_tables import all_tables
from scaledproc.extractors.registry import names
from scaledproc.extractors.wfdb.summary import WfdbSummary

DOCS = Path(__file__).resolve().parents[2] / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return script("build")


@pytest.fixture
def generate() -> ModuleType:
    return script("generate")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/css">'),
        ("a.html", '<img src="https://example.org/badge.svg">'),
        ("sub/a.css", "@import url('https://fonts.example/css');"),
        ("a.svg", "<style>@font-face { src: url(https://fonts.example/a.woff) }</style>"),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(build: ModuleType, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert len(build.outside_requests(tmp_path)) == 1


def test_links_and_own_files_are_no_outside_requests(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">there</a><link rel="canonical" href="https://example.org/a.html">'
        '<script src="_static/x.js"></script><img src="images/a.svg">'
    )
    (tmp_path / "a.css").write_text("a { background: url(data:image/png;base64,AA) } b { background: url(b.png) }")
    assert build.outside_requests(tmp_path) == []


def test_every_column_has_its_type_and_its_meaning(generate: ModuleType) -> None:
    page = generate.columns_page()
    missing = [name for name in names() if f"## `{name}`" not in page]
    assert missing == [], "add it to docs/generate.py:columns_page"
    assert "| `start` | `timestamp[us]` | When the first sample was taken" in page
    assert "| `channel` | `int32` | Place in the header, from 0 (names repeat within real records). |" in page


def test_a_column_without_a_meaning_is_refused(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WfdbSummary, "__doc__", (WfdbSummary.__doc__ or "").replace("channel\n", "canal\n"))
    with pytest.raises(ValueError, match="canal"):
        generate.columns_page()


def test_every_command_and_every_option_is_in_the_reference(generate: ModuleType) -> None:
    page = generate.cli_page()
    for heading in ("## `scaledproc run`", "## `scaledproc fetch`", "### `scaledproc sagemaker policy`"):
        assert heading in page
    tables = all_tables()
    assert {"run", "plan", "fetch", "sagemaker"} <= tables.keys()
    assert all(table in page for table in tables.values())
    assert generate.tables_of_settings() == {name: tables[name] for name in ("commands", "sagemaker", "slurm")}
    sections = re.split(r"^##+ ", page, flags=re.MULTILINE)
    run, status = (
        next(each for each in sections if each.startswith(f"`scaledproc {name}`")) for name in ("run", "status")
    )
    assert run.count("`--task-retries N`") == 1
    assert "| `--quiet` `-q` |" in run
    assert "`--role" not in run
    assert "[`sagemaker`](#settings-of-the-backend-sagemaker)" in run
    assert "| `--profile NAME` |" in status


def test_the_reference_names_what_is_public(generate: ModuleType) -> None:
    page = generate.python_page()
    assert all(f":: scaledproc.{name}\n" in page for name in scaledproc.__all__)
    for name in plugins.__all__:
        described = f":: scaledproc.plugins.{name}\n" in page
        assert described != (f"`{name}`" in page.partition("## `scaledproc.plugins`")[2].partition("```")[0]), name


@pytest.mark.slow
@pytest.mark.report
def test_the_reports_of_the_gallery_load_nothing(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = script("reports")
    made = reports.write_reports(tmp_path / "pages/reports")
    gallery = (DOCS / "guides/gallery.md").read_text()
    assert {f"../reports/{path.name}" for path in made} == set(re.findall(r'href="([^"]+)"', gallery))
    assert build.outside_requests(tmp_path / "pages") == []
    demo, csv = (path.read_text() for path in made)
    assert "58 tasks done" in demo
    assert demo.count(", from second ") == reports.EXAMPLES
    assert "8 tasks done, 1 quarantined, 8 rows" in csv
    assert "/home/ada/days" in csv
    assert "/tmp" not in demo + csv
