"""A run whose code, options or data changed: refused, with what differs; and extractors that are files or objects."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Cli

import scaledproc
from scaledproc import api
from scaledproc.errors import OtherPlanError
from scaledproc.events import Event
from scaledproc.extractors.wfdb.summary import WfdbSummary
from scaledproc.run_folder.record import digest_of_content, read_record
from scaledproc.storage.store import Store

FEAT = """
import time
import scaledproc
from scaledproc import api
from helpers import scale

@scaledproc.extractor(schema={"n": "string", "v": "int64"}, anchor="*.txt", unit="file")
def f(task):
    time.sleep(PAUSE)
    return {"n": task.path.stem, "v": scale(int(task.path.read_text()))}
"""
RUN = ("run", "data", "out", "--extractor", "feat.py:f", "--jobs", "1", "--chunk", "1")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "data").mkdir()
    for number in range(8):
        (tmp_path / f"data/{number}.txt").write_text(str(number))
    plain = 'plain = scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt")(lambda task: {"v": 1})\n'
    (tmp_path / "feat.py").write_text(FEAT.replace("PAUSE", "0") + plain)
    (tmp_path / "helpers.py").write_text("def scale(x): return x * 10\n")
    yield tmp_path
    # Other tests have modules of these names too.
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_helper_was_edited(cli: Cli, lab: Path) -> None:
    (lab / "feat.py").write_text(FEAT.replace("PAUSE", "0.2"))
    command = [sys.executable, "-m", "scaledproc", *RUN, "--quiet"]
    with subprocess.Popen(command, cwd=lab, stderr=subprocess.DEVNULL) as running:
        while not list((lab / "out/work").glob("0*/*.parquet")):
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
    assert running.returncode == 130
    (lab / "helpers.py").write_text("def scale(x): return x * 1000  # mended\n")

    refused = cli(*RUN, "--json", cwd=lab)

    assert refused.returncode == 2
    assert "another plan" in refused.stderr
    assert "helpers.py changed" in refused.stderr
    assert "--overwrite" in refused.stderr
    said = json.loads(refused.stdout.splitlines()[-1])
    assert (said["event"], said["error"], said["exit_code"]) == ("RunFailed", "OtherPlanError", 2)
    assert [(each["kind"], each["name"], each["text"]) for each in said["differences"]] == [
        ("file", "helpers.py", "helpers.py changed"),
        ("update", "", "--update does 8 of 8 tasks: 8 of other code or options"),
    ]
    assert cli(*RUN, "--overwrite", cwd=lab).returncode == 0
    table = scaledproc.Run.open(lab / "out").to_arrow()
    assert table["v"].to_pylist() == [number * 1000 for number in range(8)]
    (lab / "helpers.py").write_text("# a comment\ndef scale(x):\n    return x * 1000\n")
    assert "finished already" in cli(*RUN, cwd=lab).stdout
    (lab / "helpers.py").write_text("def scale(x): return x * 7\n")
    assert "helpers.py changed" in cli(*RUN, cwd=lab).stderr, "of a finished run too"


def times(factor: int) -> scaledproc.Extractor:
    @scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt")
    def multiply(task: Any) -> dict[str, int]:
        return {"v": factor}

    return multiply


def refusal(lab: Path, extractor: Any = None, **options: Any) -> OtherPlanError:
    with pytest.raises(OtherPlanError) as caught:
        scaledproc.run(lab / "data", lab / "out", extractor=extractor or times(1), jobs=1, **options)
    return caught.value


def write(lab: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (lab / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / "data" / name).write_text(text)


def test_units_values_and_options_are_told(lab: Path) -> None:
    write(lab, {f"{folder}/{name}.txt": "x" for folder in "abc" for name in "pq"})
    scaledproc.run(lab / "data", lab / "out", extractor=times(1), jobs=1)
    assert "enclosed factor: 2, was 1" in str(refusal(lab, times(2)))
    found = refusal(lab, limit=1, include=["a/*"])
    assert "--include: a/*, was not given\n  --limit: 1, was not given\n  3 units are gone" in str(found)
    assert "--unit: file, was folder" in str(refusal(lab, unit="file"))
    assert [each["kind"] for each in refusal(lab, unit="file").differences] == ["layout", "update"], (
        "units cannot be compared"
    )

    write(lab, {"a/p.txt": "longer", "b/r.txt": "new", **{f"new{number:02}/x.txt": "x" for number in range(12)}})
    (lab / "data/c/p.txt").unlink()
    (lab / "data/c/q.txt").unlink()
    found = refusal(lab)
    assert "12 units are new, 2 changed, 1 is gone" in str(found)
    assert found.differences[0]["now"] == {"new": 12, "changed": 2, "gone": 1, "total": 15}
    (lab / "data/a/p.txt").write_text("x")
    (lab / "data/b/r.txt").unlink()
    write(lab, {"c/p.txt": "x", "c/q.txt": "x"})
    for number in range(12):
        (lab / f"data/new{number:02}/x.txt").unlink()
    with pytest.raises(scaledproc.ScaledprocError, match="3 files of the dataset changed") as caught:
        scaledproc.run(lab / "data", lab / "out", extractor=times(1), jobs=1)
    assert caught.value.differences[0]["now"]["changed"] == 2


def edit_record(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["extractor"] |= changes
    record["digest"] = digest_of_content(record)
    (folder / "run.json").write_text(json.dumps(record))


def test_run_json_says_what_the_rows_depend_on(lab: Path) -> None:
    scaledproc.run(lab / "data", lab / "out", extractor=times(3), jobs=1)
    record = read_record(Store.at(lab / "out"))
    assert record is not None
    assert record.extractor["fingerprint"]["enclosed factor"] == "3"
    edit_record(lab / "out", fingerprint={"global x": 1})
    with pytest.raises(scaledproc.ScaledprocError, match="extractor is not what it should be"):
        read_record(Store.at(lab / "out"))


def test_folders_of_earlier_versions(lab: Path) -> None:
    scaledproc.run(lab / "data", lab / "out", extractor=times(1), jobs=1)
    edit_record(lab / "out", fingerprint="multiply 0123456789abcdef")
    assert scaledproc.run(lab / "data", lab / "out", extractor=times(1), jobs=1).record.state == "done", "the plan's id"
    message = str(refusal(lab, times(2)))
    assert "earlier version of scaledproc" in message
    assert "--overwrite" in message
    scaledproc.run(lab / "data", lab / "file", extractor=f"{lab}/feat.py:plain", jobs=1)
    edit_record(lab / "file", fingerprint="plain 0123456789abcdef")
    verified = api.verify(lab / "file")
    assert verified.ok
    assert "earlier version" in verified.notes[0]


def test_folders_of_earlier_versions_of_a_built_in(demo: Path, tmp_path: Path) -> None:
    run = scaledproc.run(demo, tmp_path / "out", include=["30/3000003/*"], jobs=1)
    assert run.record.extractor["fingerprint"] == {"name": "'wfdb-summary'", "version": repr(WfdbSummary.version)}
    edit_record(tmp_path / "out", fingerprint=f"wfdb-summary {WfdbSummary.version}")
    scaledproc.run(demo, tmp_path / "out", include=["30/3000003/*"], jobs=1)
    with pytest.raises(OtherPlanError) as caught:
        scaledproc.run(demo, tmp_path / "out", jobs=1)
    assert [each["kind"] for each in caught.value.differences] == ["layout", "units"]


def test_code_that_is_edited_while_it_is_at_work(lab: Path) -> None:
    """A worker process that is started later loads the code as it is then: its rows would be of another extractor."""
    edited = False

    def edit(event: Event) -> None:
        nonlocal edited
        if isinstance(event, scaledproc.events.ChunkDone) and not edited:
            edited = True
            (lab / "feat.py").write_text(FEAT.replace("PAUSE", "0").replace('"v": scale', '"v": -scale'))

    with pytest.raises(
        scaledproc.UsageError, match=r"feat.py, which f is made of, was edited while the run was at work"
    ):
        scaledproc.run(
            lab / "data",
            lab / "out",
            extractor=f"{lab}/feat.py:f",
            jobs=1,
            chunk=1,
            worker_lifespan=1,
            on_event=edit,
        )
    rows = [row["v"] for path in (lab / "out/work").glob("0*/*[0-9].parquet") for row in read_rows(path)]
    assert all(value >= 0 for value in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


# What can be an extractor


class Callable:
    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, task: Any) -> dict[str, int]:
        return {"v": self.k}


def add(task: Any, a: int, *, b: int = 1) -> dict[str, int]:
    return {"v": a + b}


def test_partials_and_objects_are_extractors(lab: Path) -> None:
    decorate = scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt", unit="file")
    made: dict[int, Any] = {
        3: decorate(functools.partial(add, a=2)),
        5: functools.partial(decorate(add), a=2, b=3),
        7: decorate(Callable(7)),
        9: decorate(Callable(9).__call__),
    }
    for value, extractor in made.items():
        run = scaledproc.run(lab / "data", lab / f"out{value}", extractor=extractor, jobs=1)
        assert set(run.to_arrow()["v"].to_pylist()) == {value}
    assert (made[3].label, made[7].label) == ("add", "Callable")
    other = functools.partial(decorate(add), a=2, b=4)
    with pytest.raises(OtherPlanError, match="b: 4, was 3"):
        scaledproc.run(lab / "data", lab / "out5", extractor=other, jobs=1)
    with pytest.raises(scaledproc.UsageError, match=r"no extractor; decorate it with @scaledproc.extractor"):
        scaledproc.run(lab / "data", lab / "no", extractor=Callable(1), jobs=1)
    with pytest.raises(scaledproc.UsageError, match="cannot be called"):
        decorate(3)  # type: ignore[arg-type]


def test_what_cannot_be_sent_is_named_before_anything_is_done(lab: Path) -> None:
    holder = {"deep": (number for number in range(3))}

    @scaledproc.extractor(schema={"v": "int64"}, anchor="*.txt")
    def use(task: Any) -> dict[str, int]:
        return {"v": len(holder)}

    with pytest.raises(scaledproc.UsageError) as caught:
        scaledproc.run(lab / "data", lab / "out", extractor=use, jobs=2)
    assert str(caught.value) == (
        "use cannot be sent to worker processes: the enclosed holder['deep'] (generator) cannot be pickled; make it "
        "within the function, or give --jobs 1"
    )
    assert not (lab / "out").exists()
    assert scaledproc.run(lab / "data", lab / "out", extractor=use, jobs=1).record.state == "done"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"e.py": "import scaledproc\n\nx = 1 / 0\n"},
            "ZeroDivisionError: division by zero (line 3 of {lab}/e.py: x = 1 / 0)",
        ),
        (
            {"e.py": "import scaledproc\nimport wrong\n", "wrong.py": "def g():\n    raise KeyError('k')\ng()\n"},
            "KeyError: 'k' (line 2 of {lab}/wrong.py: raise KeyError('k'))",
        ),
        ({"e.py": "def f(:\n"}, "SyntaxError: invalid syntax (line 1 of {lab}/e.py: def f(:)"),
        ({"e.py": "import nowhere_at_all\n"}, "(line 1 of {lab}/e.py: import nowhere_at_all)"),
        ({"e.py": "import json\njson.loads('{')\n"}, "(line 2 of {lab}/e.py: json.loads('{'))"),
        (
            {"e.py": "from . import helpers\n"},
            "name a module of a package as package.module:name (line 1 of {lab}/e.py",
        ),
    ],
)
def test_an_error_while_a_file_is_loaded_names_its_line(lab: Path, files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        (lab / name).write_text(text)
    for spec in (f"{lab}/e.py:f",):
        with pytest.raises(scaledproc.UsageError) as caught:
            scaledproc.plan(lab / "data", extractor=spec)
        sys.modules.pop("wrong", None)
        assert expected.replace("{lab}", str(lab)) in str(caught.value)
        assert "\n" not in str(caught.value)


INSIDE = """
import concurrent.futures, multiprocessing, pathlib, tempfile
import joblib, scaledproc

def square(i): return i * i

def x(f): return scaledproc.extractor(schema={"v": "string"}, anchor="*.txt", unit="file")(f)

@x
def executor(task):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("METHOD")) as pool:
        return {"v": str(list(pool.map(square, range(3))))}
@x
def parallel(task):
    return {"v": str(joblib.Parallel(2)(joblib.delayed(square)(i) for i in range(3)))}
@x
def threads(task):
    return {"v": str(joblib.Parallel(2, prefer="threads")(joblib.delayed(square)(i) for i in range(3)))}
@x
def program(task):
    from joblib.externals.loky.backend.reduction import dumps
    import subprocess, sys
    code = f"import pickle; print([pickle.loads({bytes(dumps(square))!r})(i) for i in range(3)])"
    return {"v": subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()}

@scaledproc.extractor(schema={"n": "int64"}, anchor="*.csv", unit="file")
def inner(task):
    return {"n": square(int(task.path.stem))}
@x
def nested(task):
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "in").mkdir()
        for i in range(3):
            (place / f"in/{i}.csv").touch()
        run = scaledproc.run(place / "in", place / "out", extractor=inner, jobs=JOBS)
        return {"v": str(run.to_arrow()["n"].to_pylist())}
"""


@pytest.mark.parametrize("at", [pytest.param("here", marks=pytest.mark.slow), "worker"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("executor", {"METHOD": "fork"}),
        ("executor", {"METHOD": "spawn"}),
        ("executor", {"METHOD": "forkserver"}),
        ("parallel", {}),
        ("threads", {}),
        ("program", {}),
        ("nested", {"JOBS": "1"}),
        ("nested", {"JOBS": "2"}),
    ],
)
def test_what_a_file_defines_is_known_in_processes_of_its_tasks(
    lab: Path, name: str, words: dict[str, str], at: str
) -> None:
    text = INSIDE
    for word, value in words.items():
        text = text.replace(word, value)
    (lab / "my inside.py").write_text(text)
    lifespan = 100 if at == "worker" else None  # which only processes of their own have
    extractor = f"{lab}/my inside.py:{name}"
    run = scaledproc.run(lab / "data", lab / "out", extractor=extractor, jobs=1, limit=2, worker_lifespan=lifespan)
    assert not run.quarantined, run.errors()["message"].to_pylist()
    assert run.to_arrow()["v"].to_pylist() == ["[0, 1, 4]"] * 2


def test_status_without_the_backend_that_has_the_run(cli: Cli, lab: Path) -> None:
    scaledproc.run(lab / "data", lab / "out", extractor=times(1), jobs=1)
    record = json.loads((lab / "out/run.json").read_text())
    (lab / "out/run.json").write_text(json.dumps({**record, "backend": {"name": "cluster"}}))
    found = api.status(lab / "out")
    assert found.counts == {"done": 1}
    assert "no backend is called 'cluster'" in found.note
    shown = cli("status", "out", cwd=lab)
    assert shown.returncode == 0
    assert "what its machines do is not known: no backend is called 'cluster'" in shown.stdout
