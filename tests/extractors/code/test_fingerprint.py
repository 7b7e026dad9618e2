"""What an extractor's rows depend on: what changes its fingerprint, what does not, and how it is told."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
from changing_code import CELL, SHOW, Lab, run_python, told

from scaledproc.errors import UsageError
from scaledproc.extractors import load_extractor
from scaledproc.extractors.code.fingerprint import Fingerprint, fingerprint_of
from scaledproc.extractors.tables import tables_of
from scaledproc.extractors.wfdb.summary import WfdbSummary

# Files

EDITS = {
    "a helper": ("helpers.py", "value + ten()", "value - ten()", "helpers.py changed"),
    "a helper's helper": ("deeper.py", "return 10", "return 11", "deeper.py changed"),
    "a name from a module": ("scaling.py", "* 2", "* 3", "scaling.py changed"),
    "a helper that is imported late": ("lazy.py", "return value", "return -value", "lazy.py changed"),
    "a module of a package": ("tools/near.py", "+ one", "- one", "tools/near.py changed"),
    "a relative import": ("tools/far.py", "return value", "return -value", "tools/far.py changed"),
    "a relative import from above": ("tools/sibling.py", "1", "2", "tools/sibling.py changed"),
    "the package itself": ("tools/__init__.py", "", "import gc\ngc.isenabled()\n", "tools/__init__.py"),
    "a method": ("feat.py", "self.shift(self.shift(value))", "self.shift(value)", "feat.py changed"),
    "a base class": ("feat.py", "value + self.offset", "value - self.offset", "feat.py changed"),
    "a class's attribute": ("feat.py", "offset = 1", "offset = 2", "feat.py changed; Base.offset: 2, was 1"),
    "a global": ("feat.py", "FACTOR = 3", "FACTOR = 4", "feat.py changed; global FACTOR: 4, was 3"),
    "a computed global": ("feat.py", '"[1, 2]"', '"[1, 3]"', "feat.py changed; global TABLE: [1, 3], was [1, 2]"),
    "a default": ("feat.py", "window=30", "window=60", "feat.py changed; the default of f(window): 60, was 30"),
    "a decorated function": ("feat.py", "np.int64(0)", "np.int64(1)", "feat.py changed"),
    "what decorates it": ("feat.py", "return function(task)", "return dict(function(task))", "feat.py changed"),
    "a cached function": ("feat.py", "value * FACTOR", "value + FACTOR", "feat.py changed"),
    "the schema": ("feat.py", '{"v": "int64"}, anchor="*.txt", unit', '{"v": "int32"}, anchor="*.txt", unit', "int32"),
}
NO_EDITS = {
    "a comment": ("helpers.py", "    return", "    # how much\n    return"),
    "a comment in its own file": ("feat.py", "FACTOR = 3", "FACTOR = 3  # three"),
    "a docstring": ("feat.py", '"""Rows."""', '"""Rows of values."""'),
    "a new docstring": ("helpers.py", "    return", '    """Add ten."""\n    return'),
    "a module's docstring": ("feat.py", '"""Features."""', '"""All features."""'),
    "the layout": ("helpers.py", "return value + ten()", "return (\n        value\n        + ten()\n    )"),
    "quotes": ("feat.py", '"[1, 2]"', "'[1, 2]'"),
    "what runs as a script": ("helpers.py", "def add", "if __name__ == '__main__':\n    add(1)\n\n\ndef add"),
    "a module that it does not import": ("unused.py", "0", "1"),
    "a module of its package that it does not import": ("tools/unused.py", "0", "1"),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_is_seen_and_named(lab: Lab, case: str) -> None:
    file, old, new, expected = EDITS[case]
    before = lab.look()
    lab.edit(file, old, new)
    assert expected in told(before, lab.look())


@pytest.mark.parametrize("case", NO_EDITS)
def test_what_changes_no_row_is_no_edit(lab: Lab, case: str) -> None:
    before = lab.look()
    lab.edit(*NO_EDITS[case])
    assert lab.look() == before


def test_a_renamed_function_is_another_extractor(lab: Lab) -> None:
    before = lab.look()
    lab.edit("feat.py", "def f(task", "def g(task")
    assert told(before, lab.look("g")).startswith("the extractor's name: 'g', was 'f'")


def test_partials_lambdas_and_options(lab: Lab) -> None:
    before = lab.look("two")
    assert "option exponent" in before.parts
    lab.edit("feat.py", "exponent=3", "exponent=4")
    assert "exponent: 4, was 3" in told(before, lab.look("two"))
    assert lab.look("first").parts["code"] != lab.look("second").parts["code"], "on one line"
    mean = type(lab.load("Mean"))
    assert told(fingerprint_of(mean(30)), fingerprint_of(mean(60))) == "window: 60, was 30"  # type: ignore[call-arg]
    assert fingerprint_of(mean(30)) == fingerprint_of(mean(30))  # type: ignore[call-arg]


def test_a_method_of_an_extractor_class(lab: Lab) -> None:
    before = lab.look("Mean")
    lab.edit("feat.py", '{"v": self._window}', '{"v": self._window + 1}')
    assert told(before, lab.look("Mean")) == "feat.py changed"
    lab.edit("feat.py", 'name = "mean"', 'name = "mean"\n    version = "2"')
    assert "the extractor's version: '2', was '1'" in told(before, lab.look("Mean"))


def test_a_module_and_its_file_are_the_same_code(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    by_file = lab.look()
    lab.forget()
    monkeypatch.syspath_prepend(str(lab.folder))
    assert fingerprint_of(load_extractor("feat:f")) == by_file


def test_installed_packages_count_by_their_version(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab.look()
    assert before.parts["package numpy"] == importlib.import_module("numpy").__version__
    assert "package scaledproc" not in before.parts, "a new release must not throw everything away"
    lab.edit("lazy.py", "return value", "import yaml\n    return value")  # of a distribution of another name
    found = lab.look().parts
    assert found["package pyyaml"] if "package pyyaml" in found else found["package PyYAML"]


def test_a_built_in_extractor_counts_by_name_and_version() -> None:
    assert fingerprint_of(load_extractor("wfdb-summary")).text == f"wfdb-summary {WfdbSummary.version}"
    assert load_extractor("wfdb-summary", {"signal_names": "x"}).fingerprint == f"wfdb-summary {WfdbSummary.version}"


def test_what_a_built_in_extractor_says_of_its_further_tables_costs_no_task() -> None:
    one, other = (load_extractor("wfdb-windows", {"beats_table": True}) for _ in range(2))
    other.tables = {
        name: schema.set(0, schema.field(0).with_metadata({"description": "Another text."}))
        for name, schema in tables_of(other).items()
    }
    assert tables_of(one)["beats"].field(0).metadata != tables_of(other)["beats"].field(0).metadata
    assert fingerprint_of(one) == fingerprint_of(other)


def test_what_derives_from_a_built_in_is_told_by_its_own_code(lab: Lab) -> None:
    lab.write(
        {
            "mine.py": "from scaledproc.extractors.wfdb.summary import WfdbSummary\n\n\n"
            "class Mine(WfdbSummary):\n    name = 'mine'\n    def extract(self, task):\n        return []\n"
        }
    )
    before = lab.look("Mine", "mine.py")
    assert before.parts["base wfdb-summary"] == repr(WfdbSummary.version)
    lab.edit("mine.py", "return []", "return super().extract(task)")
    assert told(before, lab.look("Mine", "mine.py")) == "mine.py changed"


def test_a_fingerprint_of_ones_own_is_all_that_counts(lab: Lab) -> None:
    lab.edit("feat.py", 'name = "mean"', 'name = "mean"\n    fingerprint = "mine 1"')
    assert lab.look("Mean") == Fingerprint({"fingerprint": "mine 1"}, "mine 1")


def test_the_environment_that_is_declared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.edit("feat.py", 'unit="file")', 'unit="file", env=["MODEL", "API_TOKEN"])')
    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setenv("API_TOKEN", "hush")
    before = lab.look()
    monkeypatch.setenv("MODEL", "large")
    assert told(before, lab.look()) == "the environment variable MODEL: 'large', was not set"
    assert "hush" not in str(lab.look())
    assert told(before, lab.look()) != ""


def test_secrets_and_long_values_are_not_written(lab: Lab) -> None:
    lab.edit("feat.py", "FACTOR = 3", f"FACTOR = 3\nPASSWORD = 'swordfish'\nLONG = 'x{'y' * 1000}'")
    lab.edit("feat.py", "value * FACTOR", "len(PASSWORD + LONG) + FACTOR")
    before = lab.look()
    assert "swordfish" not in str(before.parts)
    assert max(map(len, before.parts.values())) < 100
    lab.edit("feat.py", "swordfish", "sawfish")
    assert "global PASSWORD changed" in told(before, lab.look())


# The same in all processes


def test_a_module_of_another_extractors_folder_is_not_taken_for_the_neighbour(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other")
    try:
        other.look()
        with pytest.raises(
            UsageError, match=r"gives .*other/.*\.py in this Python, and not .*lab/.*\.py, which lies beside"
        ):
            fingerprint_of(load_extractor(f"{lab.folder / 'feat.py'}:f"))
    finally:
        other.forget()
    lab.look()


def test_an_extractors_file_is_not_looked_for_among_neighbours(lab: Lab, tmp_path: Path) -> None:
    """As a module it is called `scaledproc.extractors.files.…`, and a checkout has a folder of that name."""
    other = tmp_path / "other/base.py"
    other.parent.mkdir()
    other.write_text("def base(task):\n    return {'v': 1}\n")
    wrap = f"""
import scaledproc
from pathlib import Path
from scaledproc.extractors.files import import_file

base = import_file(Path({str(other)!r})).base


@scaledproc.extractor(schema={{"v": "int64"}}, anchor="*.txt")
def g(task):
    return base(task)
"""
    lab.write({"scaledproc/__init__.py": "", "wrap.py": wrap})
    assert any("base.py" in name for name in lab.look("g", "wrap.py").parts)


def test_processes_machines_and_hash_seeds_agree(lab: Lab, tmp_path: Path) -> None:
    from joblib.externals.loky.backend.reduction import dumps

    lab.edit("feat.py", "FACTOR = 3", "FACTOR = 3\nfrom pathlib import Path\nHERE = Path(__file__).parent / 'x'")
    lab.edit("feat.py", "return value * FACTOR", "return value * FACTOR * len(str(HERE))")
    here = "".join(f"{name} {part}\n" for name, part in fingerprint_of(lab.load()).parts.items())
    pickled = bytes(dumps(lab.load()))
    elsewhere = shutil.copytree(lab.folder, tmp_path / "another" / "place")
    load = "from scaledproc.extractors import load_extractor\n" + SHOW.format(
        f"load_extractor({str(elsewhere / 'feat.py')!r} + ':f')"
    )
    assert run_python("-c", load, seed="1") == here
    sent = f"import sys; sys.path.append({str(lab.folder)!r})" + SHOW.format(f"pickle.loads({pickled!r})")
    assert run_python("-c", sent, seed="2") == here


def test_code_without_a_file_is_the_same_however_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CELL + SHOW.format("f"))
    send = (
        "\nfrom scaledproc.execution.workers.sending import check_sendable\ncheck_sendable(f)\n"
        "from joblib.externals.loky.backend.reduction import dumps\nprint(bytes(dumps(f)).hex())"
    )
    by_text = run_python("-c", CELL + SHOW.format("f"), seed="1")
    assert run_python("script.py", seed="2", folder=tmp_path) == by_text
    assert "global config Config(k=1)" in by_text
    pickled = run_python("-", stdin=CELL + send, seed="3").strip()
    assert run_python("-c", SHOW.format(f"pickle.loads(bytes.fromhex({pickled!r}))"), seed="4") == by_text
