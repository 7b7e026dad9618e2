"""What all jobs of a run took, those of its pipelines too, once they have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..cost.billing import Bill
from ..service import Service, ServiceError
from . import pipeline


@dataclass(frozen=True)
class Settled:
    """What was found.

    Parameters
    ----------
    bills
        By the jobs' names.
    executions
        The ARNs of the pipelines' executions whose jobs are among them.
    unknown
        What could not be found, for a person.
    """

    bills: Mapping[str, Bill]
    executions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def settle_jobs(service: Service, token: str, name: str, last: str | None, known: Mapping[str, Bill]) -> Settled | None:
    """Ask for all jobs of a run that has ended; None while an execution of its pipeline has not.

    Parameters
    ----------
    service
        AWS.
    token
        What the names of the run's own jobs have in common.
    name, last
        The run's pipeline, and the ARN of its last execution as far as that is known: its jobs are found even where the
        pipeline is deleted.
    known
        What was asked already.

    Raises
    ------
    ServiceError
        If AWS refuses to list them.
    """
    found = pipeline.executions(service, name)
    if any(status in pipeline.AT_WORK for status in found.values()):
        return None
    executions = dict.fromkeys([*found, *([last] if last else [])])
    jobs = dict.fromkeys(job.name for job in service.summaries(token))
    unknown: list[str] = []
    for execution in executions:
        listed = [job.name for job in service.summaries(_name_begins(execution))]
        jobs |= dict.fromkeys(listed)
        for step in pipeline.steps(service, execution):
            jobs |= dict.fromkeys(_last(step))
            unknown += _unseen(step, listed)
    bills = dict(known)
    for job in jobs:
        if job not in bills:
            try:
                bills[job] = Bill.of(job, service.describe(job))
            except ServiceError as error:
                if error.trouble not in ("gone", "invalid", "denied"):
                    raise
                unknown.append(f"what the job {job} took cannot be asked ({error})")
    return Settled(bills, tuple(executions), tuple(unknown))


def _name_begins(execution: str) -> str:
    """How the service calls the jobs of an execution; not documented, and `_unseen` tells where it is otherwise."""
    return f"pipelines-{execution.rpartition('/')[2]}-"


def _last(step: Mapping[str, Any]) -> list[str]:
    job = pipeline.job_of(step)
    return [job] if job else []


def _unseen(step: Mapping[str, Any], listed: list[str]) -> Iterator[str]:
    """Tell of a step that was tried again, whose jobs are not found by their names: only the last one is known."""
    tries = int(step.get("AttemptCount") or 1)
    if tries > 1 and not set(_last(step)).issubset(listed):
        yield f"the step {step['StepName']} was tried {tries} times, and only its last job is known"
