"""The backend `commands`: jobs by a batch system's own commands, of which the user gives templates."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaledproc._util.command.config_file import table
from scaledproc._util.options import declared
from scaledproc.backend.base import Expected
from scaledproc.backend.registry import MissingBackendError
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import State
from scaledproc.execution.heartbeat import PROGRESS
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder

from ..batch.elements import COMBINE, Elements, QueuedJob
from ..batch.expected import expected
from ..batch.queue import BatchBackend, BusyError, run_token
from .settings import Settings, fill

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

CORES = 4  # of a job, where nobody says
TIMEOUT = 120.0  # seconds that a command may take
ASKED_AT_ONCE = 8
RECALLING = ("poll", "cancel")
"""The commands by which the jobs of a run are asked for and stopped."""
TEMPLATES = ("submit", *RECALLING)
SURE_LOOKS, UNSURE_LOOKS = 2, 8
"""Looks in a row in which `poll` with `{id}` fails for a job before it is taken for ended, and its heartbeat is silent:
where it answered for another job meanwhile, and where it answered for none, as of a batch system that is down."""
NO_SUBMIT = "false {script}"
"""Submits nothing, for a run whose jobs are only looked at."""


class CommandsBackend(BatchBackend):
    """Runs jobs by commands, on machines that share a filesystem with this one.

    Parameters
    ----------
    jobs
        Processes of each job; as many as it has cores where none is given.
    scratch
        Where jobs stage remote data; on their machines.
    settings
        As `Settings` has them.

    Raises
    ------
    UsageError
        If there is no such setting, one cannot have its value, or a command is missing.
    """

    name = "commands"

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch)
        self.settings = given = Settings.parse(settings)
        self._missed: dict[str, tuple[int, bool, Mapping[str, str]]] = {}
        self.retries, self.poll, self.per_job = given.retries, given.poll_seconds, given.shards_per_job

    @classmethod
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:  # noqa: ARG003 - as the base has it
        """One that finds a run's jobs again, by the ids in its folder.

        Its commands are the caller's own: those in `settings`, else those of `[commands]` in `scaledproc.toml`. None is
        taken from the run's folder, which anybody may have written.

        Raises
        ------
        MissingBackendError
            If the caller gives no commands.
        """
        known = [each.name for each in declared(Settings)]
        given = {**table(cls.name, known), **{name: value for name, value in settings.items() if value is not None}}
        missing = [f"--{cls.name}-{name}" for name in RECALLING if not given.get(name)]
        if missing:
            raise MissingBackendError(
                f"no command is taken from a run's folder: give {' and '.join(missing)}, or set them in "
                f"[{cls.name}] of scaledproc.toml in the current folder"
            )
        return cls(**{"submit": NO_SUBMIT, **given})

    @property
    def cores(self) -> int:
        """Cores of one job."""
        return cores(self.jobs or self.settings.cpus or CORES)

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See what can be known without submitting anything."""
        yield from self.notes(run)
        self.guess(self.estimate(plan, run.dataset, run.extractor))

    def estimate(self, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:  # noqa: ARG002 - as the base has it
        """Jobs, cores and time, as far as the queue lets them start."""
        elements = Elements(plan.n_shards, self.per_job)
        return expected("the batch system", plan, elements, self.cores, self.settings.at_once, extractor, "")

    def submit(self, run: RunFolder, elements: Sequence[int], at_work: int, more_memory: int) -> Sequence[int]:  # noqa: ARG002
        """One job for each, as many as may be there at once."""
        taken = list(elements)[: max(self.settings.at_once - at_work, 0)]
        for element in taken:
            known = self.control(run)
            number = int(known.get("submitted", 0)) + 1
            name = f"scaledproc-{run_token(run)}-{number}"
            shards = self.elements(run).shards_of(element)
            what = "--combine" if element == COMBINE else f"--shard {shards[0]}-{shards[-1]}"
            folder = self.logs(run)
            script, log = folder / f"{name}.sh", folder / f"{name}.log"
            command = self.worker(run, what, name, self.settings.grace)
            script.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
            script.chmod(0o700)
            values = {
                "script": str(script),
                "name": name,
                "log": str(log),
                "cores": str(self.settings.cpus or self.cores),
            }
            said = _call("submit", fill(self.settings.submit, {**values, "command": command}))
            job = {"id": _id_in(said, self.settings.id_pattern), "name": name}
            self._missed.pop(job["id"], None)  # ids come again
            self.keep(run, submitted=number, jobs={**known.get("jobs", {}), str(element): job})
        return taken

    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """The last job of each element that is not done."""
        jobs: dict[str, dict[str, str]] = self.control(run).get("jobs", {})
        jobs = {element: job for element, job in jobs.items() if element in self._undone(run, jobs)}
        ids = {job["id"]: job["name"] for job in jobs.values()}
        there = sure = self._there(list(ids)) if ids else set()
        if self._run is not None and "{id}" in self.settings.poll:
            self._doubt(run, ids, there)
            there = {job for job in ids if job in there or not self._is_gone(job)}
        left = self._undone(run, jobs)  # afterwards: a job may have ended well meanwhile
        found = []
        for element, job in jobs.items():
            if element not in left:
                continue
            is_over = job["id"] not in there
            why = f"it ended without a result (job {job['id']})" if is_over else f"job {job['id']}"
            state = State.FAILED if is_over else State.STARTING
            in_doubt = not is_over and job["id"] not in sure
            found.append(QueuedJob(int(element), job["name"], state, why, "worker" if is_over else "", in_doubt))
        return found

    def _undone(self, run: RunFolder, elements: Iterable[str]) -> set[str]:
        """Those of these elements whose result is not there."""
        committed = self._committed(run)
        return {each for each in elements if not self._is_done(run, int(each), committed)}

    def _doubt(self, run: RunFolder, ids: Mapping[str, str], there: set[str]) -> None:
        """Count the looks in a row in which `poll` failed for a job: that may be the batch system's fault.

        Parameters
        ----------
        run
            The run.
        ids
            The jobs that were asked for, with the names that their heartbeats have.
        there
            Those of them that have not ended.
        """
        versions = run.store.versions(PROGRESS)
        beats = {
            job: {beat: versions[beat] for beat in versions if beat.startswith(f"{name}.")} for job, name in ids.items()
        }
        for job in ids:
            before, was_sure, beat = self._missed.get(job, (0, False, beats[job]))
            if job in there or beat != beats[job]:
                self._missed[job] = (0, False, beats[job])
            else:
                self._missed[job] = (before + 1, was_sure or bool(there), beats[job])

    def _is_gone(self, job: str) -> bool:
        """Whether a job for which `poll` fails has ended."""
        looks, is_sure, _ = self._missed.get(job, (0, False, {}))
        return looks >= (SURE_LOOKS if is_sure else UNSURE_LOOKS)

    def _there(self, ids: Sequence[str]) -> set[str]:
        """Those of these jobs that have not ended."""
        poll = self.settings.poll
        if "{id}" in poll:
            with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="poll") as pool:
                answers = pool.map(lambda one: _run("poll", fill(poll, {"id": one})).returncode == 0, ids)
                return {one for one, is_there in zip(ids, answers, strict=True) if is_there}
        said = {word.strip("<>()\"'") for word in re.split(r"[\s,;|]+", _call("poll", fill(poll, {})))}
        return said.intersection(ids)

    def cancel(self, run: RunFolder) -> None:
        """Cancel the jobs that have not ended."""
        jobs = self.control(run).get("jobs", {}).values()
        there = self._there([job["id"] for job in jobs]) if jobs else set()
        for job in sorted(there):
            _run("cancel", fill(self.settings.cancel, {"id": job}))  # one that fails: it has ended meanwhile

    def record(self) -> Mapping[str, Any]:
        """What run.json says of it: nothing that is executed, and none of the commands, which may have secrets."""
        given = {name: value for name, value in asdict(self.settings).items() if value and name not in TEMPLATES}
        return self.with_guess({"name": self.name, "settings": given})


def _id_in(said: str, pattern: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        raise ScaledprocError(f"submitting printed no id that --id-pattern {pattern} finds: {said.strip()[-300:]!r}")
    return found[1] if found.re.groups else found[0]


def _call(what: str, words: Sequence[str]) -> str:
    """What a command prints.

    Raises
    ------
    ScaledprocError
        If the command ends with another exit code than 0.
    """
    done = _run(what, words)
    if done.returncode:
        kind = BusyError if what == "poll" else ScaledprocError
        said = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        raise kind(f"--commands-{what} failed with exit code {done.returncode}: {said[-1000:]} ({shlex.join(words)})")
    return done.stdout


def _run(what: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the user's own command, without a shell
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (FileNotFoundError, PermissionError):
        raise UsageError(f"--commands-{what}: there is no program {words[0]} here") from None
    except subprocess.TimeoutExpired:
        raise BusyError(f"--commands-{what} took more than {TIMEOUT:g} s ({shlex.join(words)})") from None
