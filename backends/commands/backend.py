"""The backend `commands`: jobs by a batch system's own commands, of which the user gives templates."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from scaledproc._util.command.config_file import table
from scaledproc._util.options import declared
from scaledproc._util.text import count_text
from scaledproc.backend.registry import MissingBackendError
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import State
from scaledproc.execution.heartbeat import PROGRESS
from scaledproc.run_folder.folder import RunFolder

from ..batch.calls import BusyError, UnansweredError, run_command
from ..batch.elements import COMBINE, QueuedJob
from ..batch.job_command import jobs_name
from ..batch.known_jobs import STOP
from ..batch.queue import BatchBackend
from .settings import Settings, fill

TIMEOUT = 120.0  # seconds that a command may take
ASKED_AT_ONCE = 8
RECALLING = ("poll", "cancel")
"""The commands without which the jobs of a run cannot be asked for and stopped; `find` is taken where it is given."""
TEMPLATES = ("submit", "find", *RECALLING)
SURE_LOOKS, UNSURE_LOOKS = 2, 8
"""Looks in a row in which `poll` with `{id}` fails for a job before it is taken for ended, and its heartbeat is silent:
where it answered for another job meanwhile, and where it answered for none, as of a batch system that is down."""
_IN_DOUBT = (
    "whether the batch system has the job {name} is not known, and without --commands-find it cannot be looked for; if "
    "it is there, let it end or cancel it, then the same command continues"
)
NO_SUBMIT = "false {script}"
"""Submits nothing, for a run whose jobs are only looked at."""


class _Missed(NamedTuple):
    """For a job, in how many looks in a row `poll` failed, whether it answered for another, and its heartbeats then."""

    looks: int = 0
    is_sure: bool = False
    beats: Mapping[str, str] = MappingProxyType({})


class CommandsBackend(BatchBackend):
    """Runs jobs by commands, on machines that share a filesystem with this one.

    Neither a command nor what it may have of secrets is in run.json.
    """

    name = "commands"
    declares = Settings
    settings: Settings
    unrecorded = TEMPLATES

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch, **settings)
        self._missed: dict[str, _Missed] = {}

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

    def submit(self, run: RunFolder, elements: Sequence[int], more_memory: int) -> None:  # noqa: ARG002 - no command has it
        """One job for each; none where an earlier call that was cut short has submitted it, as its name tells."""
        known = self.control(run)
        asked = known.setdefault("asked", {})
        for element in elements:
            key = str(element)
            if key in asked and not self.settings.find:
                name = asked[key]
                self._forget(run, known, key)
                raise ScaledprocError(f"submitting a job was cut short: {_IN_DOUBT.format(name=name)}")
            if key in asked:
                name, found = asked[key], "".join(self._find(asked[key]))
            else:
                known["submitted"] = int(known.get("submitted", 0)) + 1
                name, found = f"{jobs_name(run)}-{known['submitted']}", ""
                asked[key] = name
                self.keep(run, known)  # before: whoever goes on must know what may have been submitted
            job = {"id": found or self._submit_one(run, known, element, name), "name": name}
            self._missed.pop(job["id"], None)  # ids come again
            known["jobs"] = {**known.get("jobs", {}), key: job}
            del asked[key]
            self.keep(run, known)

    def _submit_one(self, run: RunFolder, known: dict[str, Any], element: int, name: str) -> str:
        """Submit a job; its id."""
        shards = self.elements(run).shards_of(element)
        what = "--combine" if element == COMBINE else f"--shard {shards[0]}-{shards[-1]}"
        script, log = (self.logs(run) / f"{name}.{kind}" for kind in ("sh", "log"))
        command = self.worker(run, what, name)
        script.write_text(self.script(command), encoding="utf-8")
        script.chmod(0o700)
        values = {"script": str(script), "name": name, "log": str(log), "cores": str(self.settings.cpus or self.cores)}
        words = fill(self.settings.submit, {**values, "command": command})

        def submit() -> str:
            try:
                said = _call("submit", words)
            except UsageError:  # there is no such program: nothing was submitted
                self._forget(run, known, str(element))
                raise
            except ScaledprocError as error:
                # Any exit code may be that of a connection that ended after the job was taken.
                if self.settings.find and isinstance(error, UnansweredError):
                    raise
                if self.settings.find and (found := self._find(name)):
                    return "".join(found)
                self._forget(run, known, str(element))
                doubt = f"--commands-find finds no job {name}" if self.settings.find else _IN_DOUBT.format(name=name)
                raise ScaledprocError(f"{error}: {doubt}") from None
            return id_in(said, self.settings.id_pattern)

        return self.submit_once(submit, lambda: self._find(name))

    def _find(self, name: str) -> set[str]:
        """The id of the job of this name, where the batch system has it."""
        said = _call("find", fill(self.settings.find, {"name": name}))
        return {id_in(said, self.settings.id_pattern)} if said.strip() else set()

    def _forget(self, run: RunFolder, known: dict[str, Any], key: str) -> None:
        """Submit a job anew the next time: it was refused, or a person was told to look for it."""
        del known["asked"][key]
        self.keep(run, known)

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
            number, name, job_id = int(element), job["name"], job["id"]
            if job_id not in there:
                found.append(QueuedJob.ended(number, name, "worker", f"it ended without a result (job {job_id})"))
            else:
                in_doubt = job_id not in sure
                found.append(QueuedJob(number, name, State.STARTING, f"job {job_id}", in_doubt=in_doubt))
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
            before = self._missed.get(job, _Missed(beats=beats[job]))
            if job in there or before.beats != beats[job]:
                self._missed[job] = _Missed(beats=beats[job])
            else:
                self._missed[job] = _Missed(before.looks + 1, before.is_sure or bool(there), beats[job])

    def _is_gone(self, job: str) -> bool:
        """Whether a job for which `poll` fails has ended."""
        missed = self._missed.get(job, _Missed())
        return missed.looks >= (SURE_LOOKS if missed.is_sure else UNSURE_LOOKS)

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
        self._cancel(self.control(run))

    def _cancel(self, known: Mapping[str, Any]) -> int:
        """Cancel the jobs that have not ended, those in doubt last, as looking for them may fail; how many."""
        ids = {job["id"] for job in known.get("jobs", {}).values()}
        count = self._cancel_those(ids)
        if self.settings.find:
            count += self._cancel_those(set().union(*map(self._find, known.get("asked", {}).values())) - ids)
        return count

    def _cancel_those(self, ids: Collection[str]) -> int:
        there = self._there(sorted(ids)) if ids else set()
        for job in sorted(there):
            _run("cancel", fill(self.settings.cancel, {"id": job}))  # one that fails: it has ended meanwhile
        return len(there)

    def halt(self, run: RunFolder) -> int:
        """Cancel the run's jobs, whoever submitted them.

        Raises
        ------
        ScaledprocError
            If the batch system may have a job besides, which cannot be looked for; the others are cancelled.
        """
        self._seen = None
        run.store.write(STOP, b"")  # first: a driver is to stop also where the batch system cannot be asked
        known = self.control(run)
        count = self._cancel(known)
        if (names := known.get("asked", {}).values()) and not self.settings.find:
            raise ScaledprocError(
                f"{count_text(count, 'job')} told to stop; whether the batch system has {', '.join(sorted(names))} is "
                "not known, as submitting was cut short: give --commands-find, or look for that name and cancel it"
            )
        return count


def id_in(said: str, pattern: str) -> str:
    """The id in what a command printed.

    Raises
    ------
    ScaledprocError
        If the pattern finds no id in it.
    """
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
        kind = BusyError if what in ("poll", "find") else ScaledprocError
        said = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        raise kind(f"--commands-{what} failed with exit code {done.returncode}: {said[-1000:]} ({shlex.join(words)})")
    return done.stdout


def _run(what: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    flag = f"--commands-{what}"
    missing = f"{flag}: there is no program {words[0]} here"
    return run_command(words, TIMEOUT, missing=missing, late=f"{flag} ({shlex.join(words)})")
