"""`pytest benchmarks` as a user's tool: its options, what it writes, and what it leaves as it was."""

from __future__ import annotations

import html
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure import Table, table
from page import page
from plots import Bars, Lines
from results import Results, Section
from sample import sample_units
from support import Bucket, Cli, clean_environment
from toml_file import write_chunk

from scaledproc.errors import UsageError
from scaledproc.planning.cost_model import ASSUMED
from scaledproc.planning.partition import ChunkCut, recommend_chunk

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

CHUNKS = ("-k", "chunk_size")  # not the rivals, which take long where they are installed

SIZES = """
import scaledproc

@scaledproc.extractor(schema={"path": "string", "size": "int64"}, anchor="*.bin")
def sizes(task):
    return {"path": task.anchor, "size": len(task.path.read_bytes())}
"""


def pytest_benchmarks(
    folder: Path, *args: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As a user types it, in a folder of their own."""
    environment = {**clean_environment(), "XDG_CACHE_HOME": str(folder / "cache"), **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "pytest", str(BENCHMARKS), "-p", "no:cacheprovider", *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,  # a guard against hanging, not a measure
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a user's own dataset and extractor were measured, and what was printed."""
    folder = tmp_path_factory.mktemp("user")
    for unit in range(40):
        place = folder / "my <data> & $more$" / f"{unit:02d}"
        place.mkdir(parents=True)
        (place / "a.bin").write_bytes(bytes(100 * (unit + 1)))
    (folder / "mine.py").write_text(SIZES)
    (folder / "scaledproc.toml").write_text("# ours\n[run]\njobs = 2  # cores\n\n[sagemaker]\nrole = 'r'\n")
    done = pytest_benchmarks(
        folder, "--dataset", "my <data> & $more$", "--extractor", "mine.py:sizes", "--rounds", "1", *CHUNKS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_it_recommends_for_own_data_and_writes_it_down(measured: tuple[Path, str]) -> None:
    folder, printed = measured
    found = re.search(r"recommended: --chunk (\S+)", printed)
    assert found
    assert ChunkCut.parse(found[1]).by in ("count", "bytes")
    text = (folder / "scaledproc.toml").read_text()
    assert tomllib.loads(text) == {"run": {"jobs": 2, "chunk": found[1]}, "sagemaker": {"role": "r"}}
    for kept in ("# ours\n", "# cores\n", "role = 'r'\n", "# pytest benchmarks"):
        assert kept in text
    assert "per-core (even split)" in printed
    assert "auto (planner's cuts)" in printed
    assert not [path for path in folder.iterdir() if path.name.startswith(".scaledproc.toml")]


@pytest.mark.slow
def test_the_next_run_and_plan_take_it_and_say_so(measured: tuple[Path, str], cli: Cli) -> None:
    folder, _ = measured
    chunk = tomllib.loads((folder / "scaledproc.toml").read_text())["run"]["chunk"]
    words = ("my <data> & $more$", "--extractor", "mine.py:sizes")
    shown = cli("plan", *words, cwd=folder)
    assert f"cut for cores: --chunk {chunk}, from scaledproc.toml" in shown.stdout
    told = json.loads(cli("plan", *words, "--json", cwd=folder).stdout)
    assert (told["chunk"], told["chunk_from"]) == (chunk, "scaledproc.toml")
    run = cli("run", *words, "out", cwd=folder)
    assert run.returncode == 0
    assert f"--chunk {chunk}, from scaledproc.toml" in run.stderr
    assert json.loads((folder / "out" / "run.json").read_text())["options"]["chunk"] == chunk


@pytest.mark.slow
def test_a_flag_goes_before_the_file(measured: tuple[Path, str], cli: Cli) -> None:
    folder, _ = measured
    told = json.loads(
        cli("plan", "my <data> & $more$", "--extractor", "mine.py:sizes", "--chunk", "3", "--json", cwd=folder).stdout
    )
    assert (told["chunk"], told["chunk_from"]) == ("3", None)


@pytest.mark.slow
def test_the_json_has_machine_versions_plans_and_times(measured: tuple[Path, str]) -> None:
    folder, printed = measured
    content = json.loads((folder / "scaledproc-benchmarks" / "results.json").read_text())
    assert content["machine_info"]["python_version"]
    assert content["benchmarks"]
    assert all(len(entry["stats"]["data"]) == entry["stats"]["rounds"] for entry in content["benchmarks"])
    own = content["scaledproc"]
    assert own["versions"]["scaledproc"]
    assert own["cores"]["machine"] == os.cpu_count()
    assert set(own["plan_ids"]) == {"chunk sizes", "the whole dataset"}
    assert all(re.fullmatch(r"[0-9a-f]{32}", plan_id) for plan_id in own["plan_ids"].values())
    assert f"--chunk {own['recommendation']['chunk']}" in printed
    assert own["recommendation"]["costs"]["chunk"] > 0
    assert {section["plot"]["kind"] for section in own["sections"]} == {"lines", "bars"}


class _Checker(HTMLParser):
    """Collects what a page would load or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.foreign: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            loads = name in ("src", "href", "xlink:href", "action") and not (value or "").startswith("#")
            if name.startswith("on") or loads:
                self.foreign.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow
def test_the_page_stands_alone_and_shows_names_as_text(measured: tuple[Path, str]) -> None:
    folder, _ = measured
    text = (folder / "scaledproc-benchmarks" / "results.html").read_text()
    seen = _Checker()
    seen.feed(text)
    assert not seen.foreign
    assert "script" not in seen.tags
    assert "data" not in seen.tags
    assert "my <data> & $more$" in seen.text
    assert seen.tags.count("svg") == 4  # two plots, for wide and for narrow screens


@pytest.mark.slow
@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_no_text_becomes_markup(name: str, cell: str) -> None:
    hostile = f"</svg></table><script>alert(1)</script><img src=x onerror=y>{name}"
    results = Results(dataset=hostile, plan_ids={hostile: hostile})
    results.recommendation = recommend_chunk(np.array([1, 2]), ASSUMED, 2)
    results.written = Path("/tmp") / hostile.replace("\0", "")
    results.sections.append(Section(hostile, table(hostile, ["", hostile], [[cell, hostile]], [hostile]), None))
    results.sections.append(Section(hostile, hostile, None))
    machine = {"cpu": {"brand_raw": hostile}, "system": hostile}
    seen = _Checker()
    seen.feed(page(results, {"machine_info": machine, "commit_info": {"id": hostile}, "datetime": hostile}))
    assert not {"script", "img"} & set(seen.tags)
    assert not seen.foreign


def test_no_name_in_a_plot_becomes_markup() -> None:
    hostile = '</svg><script>"1"</script>$x_1$'
    bars = Bars(hostile, {hostile: [1.0, 2.0], "ours": [0.5]}, ours=("ours",), missing={hostile + "2": 9 * hostile})
    lines = Lines(
        hostile,
        hostile,
        {hostile: {1.0: [1, 2], 2.0: [3]}, "b": {1.0: [1.0]}},
        marks={hostile: 1.5},
        beside=(hostile, 2),
    )
    results = Results(sections=[Section("t", "x\ny", plot) for plot in (bars, lines)])
    seen = _Checker()
    seen.feed(page(results, {}))
    assert "script" not in seen.tags
    assert seen.tags.count("svg") == 4
    assert hostile in seen.text


def test_a_table_is_text_that_knows_its_parts() -> None:
    made = table("title", ["", "s"], [["a", "1.5"]], ["note"])
    assert isinstance(made, str)
    assert isinstance(made, Table)
    assert made.splitlines() == ["title", "=====", "     s", "------", "a  1.5", "note"]
    content = json.loads(json.dumps(Section("test", made).to_json()))
    assert (content["title"], content["rows"], content["notes"]) == ("title", [["a", "1.5"]], ["note"])


def test_help_tells_the_options(tmp_path: Path) -> None:
    printed = pytest_benchmarks(tmp_path, "--help").stdout
    for option in (
        "--dataset",
        "--extractor",
        "--storage-option",
        "--unit",
        "--anchor",
        "--sample",
        "--full",
        "--results",
    ):
        assert option in printed


@pytest.mark.slow
def test_collecting_writes_nothing(tmp_path: Path) -> None:
    done = pytest_benchmarks(tmp_path, "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_throughput_by_chunk_size" in done.stdout
    assert not [path for path in tmp_path.iterdir() if path.name not in ("cache", ".benchmarks")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--dataset", "nowhere"), "nowhere"),
        (("--dataset", ".", "--extractor", "none"), "no extractor is called"),
        (("--dataset", ".", "--sample", "many"), "--sample"),
    ],
)
def test_a_users_mistake_is_told_in_a_line(tmp_path: Path, args: tuple[str, ...], complaint: str) -> None:
    done = pytest_benchmarks(tmp_path, *args)
    assert done.returncode == 1 or done.returncode == 2
    assert complaint in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "scaledproc.toml").exists()


@pytest.mark.slow
def test_a_dataset_in_s3(s3: Bucket, tmp_path: Path) -> None:
    fs = s3.fs
    fs.pipe({f"{s3.name}/bench/{unit:02d}/a.bin": bytes(50 + unit) for unit in range(30)})
    (tmp_path / "mine.py").write_text(SIZES)
    options = [f"--storage-option={key}={json.dumps(value)}" for key, value in s3.storage_options.items()]
    done = pytest_benchmarks(
        tmp_path, f"--dataset={s3.url('bench')}", "--extractor=mine.py:sizes", "--rounds=1", *options, *CHUNKS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 tasks" in done.stdout
    chunk = tomllib.loads((tmp_path / "scaledproc.toml").read_text())["run"]["chunk"]
    assert f"recommended: --chunk {chunk}" in done.stdout


# The sample


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 50)), min_size=1, max_size=300),
    st.integers(1, 10**10),
    st.one_of(st.none(), st.integers(1, 1000)),
)
def test_a_sample_fits_and_is_the_same_each_time(units: list[tuple[int, int]], limit: int, most: int | None) -> None:
    sizes, tasks = np.array(units, np.int64).T
    if sizes.min() > limit:
        with pytest.raises(UsageError, match="smallest unit"):
            sample_units(sizes, tasks, limit, most)
        return
    chosen = sample_units(sizes, tasks, limit, most)
    assert chosen == sorted(set(chosen)) == sample_units(sizes, tasks, limit, most)
    assert sizes[chosen].sum() <= limit
    assert most is None or len(chosen) == 1 or tasks[chosen].sum() <= most


def test_a_sample_has_small_and_large_units_as_the_whole() -> None:
    sizes = np.random.default_rng(1).lognormal(12, 1, 5_000).astype(np.int64)
    chosen = sizes[sample_units(sizes, np.ones_like(sizes), int(sizes.sum() / 20))]
    assert 100 < len(chosen) < 400
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(chosen, share) == pytest.approx(np.quantile(sizes, share), rel=0.15)


# scaledproc.toml

KEYS = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True).filter(lambda key: key not in ("chunk", "run"))
VALUES = st.one_of(st.integers(-1000, 1000), st.booleans(), st.text(st.characters(codec="ascii"), max_size=8))


def _toml(value: object) -> str:
    return json.dumps(value) if not isinstance(value, str) else json.dumps(value).replace("\x7f", "\\u007f")


@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(0, 4),
    st.booleans(),
)
def test_writing_keeps_all_else(
    tmp_path_factory: pytest.TempPathFactory,
    options: dict[str, object],
    tables: dict[str, dict[str, object]],
    newline: str,
    place: int,
    has_chunk: bool,
) -> None:
    folder = tmp_path_factory.mktemp("toml")
    lines = [f"{key} = {_toml(value)}  # about {key}" for key, value in options.items()]
    if has_chunk:
        lines.insert(min(place, len(lines)), 'chunk = "old"')
    blocks = [["[run]", *lines]]
    blocks += [
        [f"[{name}]", *(f"{key}={_toml(value)}" for key, value in values.items())] for name, values in tables.items()
    ]
    blocks.insert(min(place, len(blocks)), blocks.pop(0))
    text = newline.join(["# first", *(line for block in blocks for line in [*block, ""]), "# last"])
    path = folder / "scaledproc.toml"
    path.write_bytes(text.encode())
    assert write_chunk(folder, "64MB", "measured\ntoday") == path
    after = path.read_bytes().decode()
    assert tomllib.loads(after) == {**tables, "run": {**options, "chunk": "64MB"}}
    kept = [line for line in text.split(newline) if not line.startswith("chunk")]
    remaining = iter(after.split(newline))
    assert all(line in remaining for line in kept if line)  # every line, in order
    assert len([line for line in after.split(newline) if line]) == len([line for line in kept if line]) + 1
    write_chunk(folder, "64MB", "measured\ntoday")
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize("text", ["x = [", "run = 3\n", "run = [1]\n"])
def test_a_file_that_is_not_understood_is_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scaledproc.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        write_chunk(tmp_path, "16", "why")
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["scaledproc.toml"]


def test_a_link_and_its_mode_stay(tmp_path: Path) -> None:
    real = tmp_path / "shared.toml"
    real.write_text("run.jobs = 3\n")
    real.chmod(0o640)
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "scaledproc.toml").symlink_to(real)
    write_chunk(folder, "16", "why")
    assert (folder / "scaledproc.toml").is_symlink()
    assert tomllib.loads(real.read_text()) == {"run": {"jobs": 3, "chunk": "16"}}
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_escaping_is_not_done_twice() -> None:
    results = Results(sections=[Section("t", table("a & b", ["", "c"], [["d", "1 < 2"]]))])
    seen = _Checker()
    seen.feed(page(results, {}))
    assert "a & b" in seen.text
    assert html.escape("1 < 2") not in seen.text


LAZY = """
import time
import scaledproc

@scaledproc.extractor(schema={"path": "string"}, anchor="*.hea")
def lazy(task):
    for _ in range(4):
        time.sleep(0.02)
        yield {"path": task.anchor}
"""


def test_extractors_that_yield_are_timed_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from measure import time_alone
    from timed import FOLDER, OWN, timed_run

    (tmp_path / "mine.py").write_text(LAZY)
    for number in range(3):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        (tmp_path / "data" / str(number) / "a.hea").write_text("x")
    monkeypatch.setenv(OWN, f"{tmp_path / 'mine.py'}:lazy")
    monkeypatch.setenv(FOLDER, "")
    found = timed_run(tmp_path / "data", tmp_path / "out", "own", jobs=1)
    assert found.tasks >= 3 * 0.08
    assert all(seconds >= 0.08 for seconds in found.seconds.values())
    assert time_alone(f"{tmp_path / 'mine.py'}:lazy", tmp_path / "data", 1) >= 3 * 0.08
