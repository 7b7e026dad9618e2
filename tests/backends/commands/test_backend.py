"""The backend `commands`: templates, and jobs as plain processes and by Slurm's commands."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import scaledproc
from scaledproc.api import make_backend, report, status, stop
from scaledproc.backends.commands import backend as module
from scaledproc.backends.commands.settings import FIRST_NUMBER, Settings, fill
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.execution.tables.combine import combine
from scaledproc.execution.worker import run_shards
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store
from scaledproc.testing import PROBE, BackendConformance, output_bytes
from scaledproc.testing.probes import write_probe_dataset

PROCESSES = {
    "submit": 'sh -c \'setsid "$1" >"$2" 2>&1 & echo $!\' sh {script} {log}',
    "poll": 'sh -c \'kill -0 "$1" && ! grep -q "State:.Z" /proc/$1/status\' sh {id}',
    "cancel": "kill {id}",
    "find": "sh -c 'pgrep -f -- \"--report $1 \" || true' sh {name}",
    "poll_seconds": 0.1,
}
RECALLED = {name: PROCESSES[name] for name in ("poll", "cancel")}
SLURM = {
    "submit": "sbatch --parsable --output=/dev/null --error={log} --job-name={name} --cpus-per-task={cores} {script}",
    "poll": "squeue --noheader --format=%A",
    "cancel": "scancel {id}",
    "find": "squeue --noheader --states=all --name={name} --format=%A",
    "poll_seconds": 0.3,
}


WAIT = 90.0  # seconds


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("qsub -N {name} {script}", ["qsub", "-N", "a b", "/x y/$(s).sh"]),
        ("ssh node '{script} > {log}'", ["ssh", "node", "/x y/$(s).sh > l;o"]),
        ("echo {other} {} {{name}}", None),
        ("awk {print} {script}", None),
    ],
)
def test_values_stay_within_their_words(template: str, words: list[str] | None) -> None:
    values = {"name": "a b", "script": "/x y/$(s).sh", "log": "l;o"}
    if words is None:
        with pytest.raises(UsageError, match="--submit: there is no"):
            Settings.parse({"submit": template, "poll": "true", "cancel": "kill {id}"})
    else:
        assert fill(template, values) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs --commands-submit"),
        ({"submit": "qsub {script}"}, "needs --commands-poll"),
        ({"submit": "qsub"}, "--submit 'qsub': give a command with {script} or {command}"),
        ({"submit": "qsub '{script}"}, "no command as a shell reads it"),
        ({"cancel": "qdel"}, "give a command with {id}"),
        ({"poll": "qstat {name}"}, "there is no {name}; there are {id}"),
        ({"id_pattern": "("}, "no regular expression"),
        ({"queue": "x"}, "no setting 'queue'"),
        ({"at_once": 0}, "--at-once 0: give 1 or more"),
    ],
)
def test_what_cannot_be_set(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        make_backend("commands", None, None, given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("said", "pattern", "found"),
    [
        ("Submitted batch job 123\n", FIRST_NUMBER, "123"),
        ("123.server.site.edu\n", FIRST_NUMBER, "123.server.site.edu"),
        ("Job <123> is submitted to default queue <normal>.\n", FIRST_NUMBER, "123"),
        ('Your job 123 ("name") has been submitted\n', FIRST_NUMBER, "123"),
        ("4711[].pbs\n", FIRST_NUMBER, "4711[].pbs"),
        ("queue7: job=a9\n", r"job=(\w+)", "a9"),
    ],
)
def test_the_id_in_what_submitting_prints(said: str, pattern: str, found: str) -> None:
    assert module.id_in(said, pattern) == found


def test_no_id() -> None:
    with pytest.raises(ScaledprocError, match="submitting printed no id"):
        module.id_in("denied", FIRST_NUMBER)


def test_the_ids_of_jobs_that_are_there() -> None:
    made = module.CommandsBackend(**{**PROCESSES, "poll": "printf '12.s R\\n123 Q\\n'"})

    assert made._there(["12.s", "12", "123", "23", "1234"]) == {"12.s", "123"}
    failing = module.CommandsBackend(**{**PROCESSES, "poll": "sh -c 'echo busy >&2; exit 3'"})
    with pytest.raises(module.BusyError, match="--commands-poll failed with exit code 3: busy"):
        failing._there(["1"])


@pytest.fixture
def slow_submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A batch system that takes its first job at once, and answers after longer than is waited for."""
    folder = tmp_path / "batch"
    folder.mkdir()
    monkeypatch.setattr(module, "TIMEOUT", 1.0)
    submit = """
        echo "$2" >> "$1/submitted"
        setsid "$3" >"$4" 2>&1 </dev/null &
        echo $! > "$1/$2"
        [ -e "$1/slept" ] || { touch "$1/slept"; exec sleep 30; }
        cat "$1/$2"
    """
    return {
        **{name: value for name, value in PROCESSES.items() if name != "find"},
        "submit": shlex.join(["sh", "-c", submit, "sh", str(folder), "{name}", "{script}", "{log}"]),
    }


def test_a_job_is_not_submitted_twice_when_submitting_takes_too_long(
    tmp_path: Path, slow_submit: dict[str, Any]
) -> None:
    dataset = write_probe_dataset(tmp_path / "data")
    look = (
        '[ -e "$1/looked" ] || { touch "$1/looked"; exit 3; }; cat "$1/$2" 2>/dev/null || true'  # it is down at first
    )
    find = shlex.join(["sh", "-c", look, "sh", str(tmp_path / "batch"), "{name}"])
    found = scaledproc.run(
        dataset,
        tmp_path / "out",
        extractor=PROBE,
        backend="commands",
        jobs=1,
        shards="2",
        settings={**slow_submit, "find": find},
    )

    names = (tmp_path / "batch/submitted").read_text().split()
    assert len(names) == len(set(names)) == 3
    assert (tmp_path / "batch/looked").exists()
    assert len(found.to_arrow()) > 0


@pytest.mark.slow
def test_without_a_command_that_finds_a_job_the_run_stops_and_says_so(
    tmp_path: Path, slow_submit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 3.0)  # nothing else may take longer
    dataset = write_probe_dataset(tmp_path / "data")

    def go() -> Run:
        return scaledproc.run(
            dataset, tmp_path / "out", extractor=PROBE, backend="commands", jobs=1, shards="1", settings=slow_submit
        )

    with pytest.raises(ScaledprocError, match=r"whether the batch system has the job scaledproc-\w+-1 is not known"):
        go()
    assert len((tmp_path / "batch/submitted").read_text().split()) == 1
    run = RunFolder.open(Store.at(str(tmp_path / "out")))
    wait_until(lambda: run.committed_shards() == {0})
    go()
    assert len((tmp_path / "batch/submitted").read_text().split()) == 2


class Batch:
    """A batch system that takes each job, and loses its answer; its ids are the numbers in the jobs' names.

    Parameters
    ----------
    folder
        Of its jobs. With a file `loses` it takes none; with `down` it cannot look for a job once; with `off` it cannot
        tell which jobs there are.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        submit = 'echo "$2" >> submitted; [ -e loses ] || touch "$2"; echo Socket timed out >&2; exit 255'
        find = 'if [ -e down ]; then rm down; exit 3; fi; if [ -e "$2" ]; then echo "${2##*-}"; fi'

        def command(text: str, *words: str) -> str:
            return " ".join((shlex.join(["sh", "-c", f'cd "$1"; {text}', "sh", str(folder)]), *words))

        self.settings: dict[str, Any] = {
            "submit": command(submit, "{name}", "{script}"),
            "poll": command("[ ! -e off ] && echo 1 2"),
            "cancel": command('echo "$2" >> cancelled', "{id}"),
            "poll_seconds": 0.01,
        }
        self.find = command(find, "{name}")

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path / "batch")


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    """A run of two shards of which no job was submitted."""
    dataset = write_probe_dataset(tmp_path / "data")
    made = module.CommandsBackend(jobs=1, submit="true {script}", poll="true", cancel="true {id}")
    with pytest.raises(ScaledprocError, match="submitting printed no id"):
        scaledproc.run(dataset, tmp_path / "out", extractor=PROBE, backend=made, shards="2")
    run = RunFolder.open(Store.at(str(tmp_path / "out")))
    made.keep(run, asked={}, submitted=0)
    return run


@pytest.mark.parametrize("is_down", [False, True])
def test_a_job_that_was_taken_is_found_though_submitting_failed(begun: RunFolder, batch: Batch, is_down: bool) -> None:
    if is_down:
        (batch.folder / "down").touch()
    made = module.CommandsBackend(jobs=1, **batch.settings, find=batch.find)
    made.submit(begun, [0, 1], 0)

    known = made.control(begun)
    assert {key: job["id"] for key, job in known["jobs"].items()} == {"0": "1", "1": "2"}
    assert known["asked"] == {}
    assert len(batch.lines("submitted")) == 2


def test_a_job_that_was_refused_is_looked_for_and_forgotten(begun: RunFolder, batch: Batch) -> None:
    (batch.folder / "loses").touch()
    made = module.CommandsBackend(jobs=1, **batch.settings, find=batch.find)
    with pytest.raises(
        ScaledprocError, match=r"code 255: Socket timed out .*: --commands-find finds no job scale.*-1$"
    ):
        made.submit(begun, [0], 0)

    assert made.control(begun)["asked"] == {}
    assert len(batch.lines("submitted")) == 1


def test_a_refusal_names_the_job_where_it_cannot_be_looked_for(begun: RunFolder, batch: Batch) -> None:
    made = module.CommandsBackend(jobs=1, **batch.settings)
    with pytest.raises(
        ScaledprocError, match=r"code 255: .*whether the batch system has the job scaledproc-\w+-1 is not"
    ):
        made.submit(begun, [0], 0)

    assert made.control(begun)["asked"] == {}


def in_doubt(run: RunFolder, batch: Batch) -> dict[str, Any]:
    """Settings of a run that has job 1, and may have job 2; the name of that is kept."""
    made = module.CommandsBackend(jobs=1, **batch.settings)
    jobs = {"0": {"id": "1", "name": "scaledproc-x-1"}}
    made.keep(run, jobs=jobs, asked={"1": "scaledproc-x-2"}, submitted=2)
    (batch.folder / "scaledproc-x-2").touch()
    return {name: batch.settings[name] for name in RECALLED}


def test_stop_cancels_a_job_in_doubt_that_is_found(
    begun: RunFolder, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**in_doubt(begun, batch), "find": batch.find}
    monkeypatch.setattr(module, "table", lambda *_: own)  # of scaledproc.toml

    assert stop(tmp_path / "out") == 2
    assert batch.lines("cancelled") == ["1", "2"]


def test_stop_cancels_what_it_knows_where_looking_fails(begun: RunFolder, batch: Batch, tmp_path: Path) -> None:
    own = {**in_doubt(begun, batch), "find": batch.find}
    (batch.folder / "down").touch()

    with pytest.raises(ScaledprocError, match="--commands-find failed with exit code 3"):
        stop(tmp_path / "out", settings=own)
    assert batch.lines("cancelled") == ["1"]


def test_stop_names_a_job_in_doubt_that_it_cannot_look_for(begun: RunFolder, batch: Batch, tmp_path: Path) -> None:
    own = in_doubt(begun, batch)

    with pytest.raises(ScaledprocError, match="1 job told to stop; whether the batch system has scaledproc-x-2 is not"):
        stop(tmp_path / "out", settings=own)
    assert batch.lines("cancelled") == ["1"]


def test_a_driver_is_told_to_stop_where_the_batch_system_is_down(
    begun: RunFolder, batch: Batch, tmp_path: Path
) -> None:
    own = in_doubt(begun, batch)
    (batch.folder / "off").touch()

    with pytest.raises(ScaledprocError, match="--commands-poll failed"):
        stop(tmp_path / "out", settings=own)
    assert (tmp_path / "out/work/control/stop").exists()


def test_a_template_is_the_script(tmp_path: Path) -> None:
    (tmp_path / "site.sh").write_text("#!/bin/sh\n# site\nexec {command}\n")
    found = scaledproc.run(
        write_probe_dataset(tmp_path / "data"),
        tmp_path / "out",
        extractor=PROBE,
        backend="commands",
        jobs=1,
        shards="1",
        settings={
            **PROCESSES,
            "submit": shlex.join(["sh", "-c", 'head -2 "$1" >> "$3"; "$1" > "$2" 2>&1 & echo $!', "sh"])
            + f" {{script}} {{log}} {tmp_path}/heads",
            "template": str(tmp_path / "site.sh"),
        },
    )

    assert (tmp_path / "heads").read_text() == "#!/bin/sh\n# site\n" * 2
    assert len(found.to_arrow()) > 0


def test_a_driver_that_died_while_it_submitted_has_left_the_name(tmp_path: Path) -> None:
    dataset, output = write_probe_dataset(tmp_path / "data"), tmp_path / "out"
    settings = {**PROCESSES, "submit": "false {script}"}
    made = module.CommandsBackend(jobs=1, **settings)
    with pytest.raises(ScaledprocError, match="--commands-submit failed"):
        scaledproc.run(dataset, output, extractor=PROBE, backend=made, shards="1")
    run = RunFolder.open(Store.at(str(output)))
    assert made.control(run)["asked"] == {}, "a job that submitting refused and `find` does not know is not in doubt"

    made.keep(run, asked={"0": "scaledproc-x-1"})
    looking = module.CommandsBackend(
        jobs=1, **{**settings, "find": "echo the job {name} is 4711", "id_pattern": "4711"}
    )
    looking.submit(run, [0], 0)
    assert looking.control(run)["jobs"] == {"0": {"id": "4711", "name": "scaledproc-x-1"}}


def test_the_file_of_the_jobs_is_read_once_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, reads = write_probe_dataset(tmp_path / "data"), []
    control: Callable[..., dict[str, Any]] = module.CommandsBackend.control

    def counted(backend: module.CommandsBackend, run: RunFolder) -> dict[str, Any]:
        reads.append(run)
        return control(backend, run)

    for shards in (2, 4):
        made = module.CommandsBackend(
            jobs=1, poll_seconds=0.01, submit="false {script}", poll="echo 0 1 2 3", cancel="x {id}"
        )
        with pytest.raises(ScaledprocError, match="--commands-submit failed"):
            scaledproc.run(dataset, tmp_path / f"{shards}", extractor=PROBE, backend=made, shards=str(shards))
        run = RunFolder.open(Store.at(str(tmp_path / f"{shards}")))
        made.keep(run, jobs={f"{number}": {"id": f"{number}", "name": f"job-{number}"} for number in range(shards)})
        with monkeypatch.context() as patch:
            patch.setattr(module.CommandsBackend, "control", counted)
            for _ in range(3):
                assert len(made.look(run)) == shards
                made.states(run)
        assert len(reads) <= 6 + 1
        reads.clear()


@pytest.mark.parametrize(("others", "looks"), [(["0"], 2), ([], 8)])
def test_a_job_is_taken_for_ended_only_when_looks_agree(tmp_path: Path, others: list[str], looks: int) -> None:
    dataset, output = write_probe_dataset(tmp_path / "data"), tmp_path / "out"
    there = tmp_path / "there"
    there.mkdir()
    made = module.CommandsBackend(
        jobs=1, poll_seconds=0.01, submit="false {script}", poll=f"test -e {there}/{{id}}", cancel="true {id}"
    )
    with pytest.raises(ScaledprocError, match="--commands-submit failed"):
        scaledproc.run(dataset, output, extractor=PROBE, backend=made, shards="2")
    run = RunFolder.open(Store.at(str(output)))
    made.keep(run, jobs={number: {"id": number, "name": f"job-{number}"} for number in "01"})
    beat = output / "work/progress/job-1.host.json"
    beat.parent.mkdir(parents=True, exist_ok=True)

    def over() -> list[int]:
        return [job.element for job in made.look(run) if job.is_over]

    for number in "01":
        (there / number).touch()
    assert over() == []
    for number in {"0", "1"} - set(others):
        (there / number).unlink()
    for _ in range(looks - 1):
        assert over() == []
    beat.write_text("{}")  # it works
    ends = [over() for _ in range(looks + 1)]
    assert [1 in each for each in ends] == [False] * looks + [True]
    assert [0 in each for each in ends] == [not others] * (looks + 1)
    (there / "1").touch()  # the batch system is there again
    assert 1 not in over()


def test_jobs_of_an_earlier_driver_that_are_gone_are_no_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, output = write_probe_dataset(tmp_path / "data"), tmp_path / "out"
    settings = {"poll_seconds": 0.01, "submit": "echo 7 {script}", "poll": "false {id}", "cancel": "true {id}"}
    first, second = (module.CommandsBackend(jobs=1, retries=0, **settings) for _ in range(2))
    submitted: list[int] = []

    def ends(*_: Any) -> Any:
        raise ScaledprocError("the connection is lost")

    def does(run: RunFolder, elements: Any, *_: Any) -> Any:
        submitted.extend(elements)
        if -1 in elements:
            run.store.write(COMBINED, combine(run).to_json())
        else:
            list(run_shards(run, list(elements), jobs=1))
        return elements

    monkeypatch.setattr(first, "submit", ends)
    with pytest.raises(ScaledprocError, match="the connection is lost"):
        scaledproc.run(dataset, output, extractor=PROBE, backend=first, shards="2")
    run = RunFolder.open(Store.at(str(output)))
    first.keep(run, jobs={number: {"id": number, "name": f"job-{number}"} for number in "01"})
    monkeypatch.setattr(second, "submit", does)
    scaledproc.run(dataset, output, extractor=PROBE, backend=second, shards="2")

    assert submitted == [0, 1, -1]


def test_a_program_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_probe_dataset(tmp_path / "data")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--commands-submit: there is no program qsub here"):
        scaledproc.run(
            dataset,
            tmp_path / "out",
            extractor=PROBE,
            backend="commands",
            settings={**PROCESSES, "submit": "qsub {script}"},
        )


def test_no_command_is_taken_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, output, planted = write_probe_dataset(tmp_path / "data"), tmp_path / "out", tmp_path / "planted"
    settings = {**PROCESSES, "cancel": "kill --token=hunter2hunter2 {id}"}
    made = make_backend("commands", 1, None, settings)

    def ends(*_: Any) -> Any:
        raise ScaledprocError("the network is gone")

    monkeypatch.setattr(made, "submit", ends)
    with pytest.raises(ScaledprocError, match="the network is gone"):
        scaledproc.run(dataset, output, extractor=PROBE, backend=made, shards="2")
    text = (output / "run.json").read_text()
    assert "hunter2" not in text
    assert "kill" not in text
    record = json.loads(text)
    record["backend"]["settings"] |= dict.fromkeys(RECALLED, f"touch {planted} {{id}}")
    (output / "run.json").write_text(json.dumps(record))
    (output / "work/control").mkdir(parents=True, exist_ok=True)
    jobs = {"0": {"id": "1", "name": "a"}}
    (output / "work/control/commands.json").write_text(json.dumps({"each": 1, "jobs": jobs}))

    found = status(output)
    assert found.note.startswith("what its machines do is not known: no command is taken from a run's folder")
    assert "not known: no command" in Path(report(output, examples=0)).read_text()
    with pytest.raises(UsageError, match="give --commands-poll and --commands-cancel, or set them in"):
        stop(output)
    assert not planted.exists()
    assert not (output / "work/control/stop").exists()

    own = {"poll": "echo 1", "cancel": f"touch {tmp_path}/{{id}}"}
    assert [state.state for state in status(output, settings=own).states if state.shard == 0] == ["starting"]
    assert stop(output, settings=own) == 1
    assert (tmp_path / "1").exists()
    assert not planted.exists()

    monkeypatch.setattr(module, "table", lambda *_: own)  # of scaledproc.toml
    assert status(output).note == ""


@pytest.mark.slow
class TestProcesses(BackendConformance):
    backend = "commands"
    jobs = 1

    def run(self, dataset: str, output: str, **arguments: Any) -> Run:
        return super().run(dataset, output, settings=PROCESSES, **arguments)

    def command(self, dataset: str, output: str, *arguments: str) -> list[str]:
        settings = [
            word for name, value in PROCESSES.items() for word in (f"--commands-{name.replace('_', '-')}", str(value))
        ]
        return [*super().command(dataset, output, *arguments), *settings]


@pytest.mark.slow
def test_jobs_that_are_killed_or_stopped_cost_no_row(tmp_path: Path) -> None:
    dataset, output = write_probe_dataset(tmp_path / "data", seconds=0.6), tmp_path / "out"
    words = TestProcesses().command(str(dataset), str(output), "--extractor", PROBE, "--shards", "2", "--chunk", "1")

    def jobs() -> dict[str, dict[str, str]]:
        wait_until(lambda: (output / "work/control/commands.json").exists())
        wait_until(lambda: any((output / "work/00000").glob("[0-9]*.parquet")))
        found: dict[str, dict[str, str]] = json.loads((output / "work/control/commands.json").read_text())["jobs"]
        return found

    with subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, text=True) as driver:
        first = jobs()["0"]["id"]
        os.kill(int(first), signal.SIGKILL)
        wait_until(lambda: jobs()["0"]["id"] != first)
        assert status(output, settings=RECALLED).backend == "commands"
        assert stop(output, settings=RECALLED) == 2
        said, _ = driver.communicate(timeout=WAIT)
    assert driver.returncode == 1
    assert f"shard 0 is submitted again: it ended without a result (job {first})" in said
    assert "its jobs were stopped" in said
    wait_until(lambda: not module.CommandsBackend(**PROCESSES)._there([job["id"] for job in jobs().values()]))

    found = scaledproc.run(
        dataset, output, extractor=PROBE, backend="commands", jobs=1, shards="2", chunk="1", settings=PROCESSES
    )
    local = scaledproc.run(dataset, tmp_path / "local", extractor=PROBE, backend="local", jobs=8, shards="2", chunk="1")
    assert output_bytes(found.store) == output_bytes(local.store)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm")
def test_slurm_by_its_commands(tmp_path: Path) -> None:
    dataset = write_probe_dataset(tmp_path / "data", poison=True)
    found = scaledproc.run(
        dataset, tmp_path / "out", extractor=PROBE, backend="commands", jobs=1, shards="3", settings=SLURM
    )
    local = scaledproc.run(dataset, tmp_path / "local", extractor=PROBE, backend="local", jobs=1, shards="3")

    assert output_bytes(found.store) == output_bytes(local.store)


def test_the_templates_of_the_guide_are_those_that_are_tried() -> None:
    page = (Path(__file__).parents[3] / "docs/guides/batch-systems.md").read_text(encoding="utf-8")
    tables = [tomllib.loads(text.partition("```")[0])["commands"] for text in page.split("```toml\n")[1:]]

    for table in tables:
        Settings.parse(table)
    for tried, table in zip((PROCESSES, SLURM), (tables[0], tables[2]), strict=True):
        assert {name: tried[name] for name in table} == table
    assert tables[1]["submit"].startswith("ssh "), "which test_ssh.py tries"
    assert len(tables) == 6
