"""What a user can set of the backend `slurm`. Light to import: the command line reads its flags from here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from scaledproc._util.options import option, option_of, size_option, texts
from scaledproc._util.redaction import is_secret_name
from scaledproc._util.units import parse_seconds
from scaledproc.errors import UsageError

from ..batch.settings import BatchSettings

_TIME = re.compile(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){1,2}|UNLIMITED|INFINITE", re.IGNORECASE)
_ASSIGNED = re.compile(r"([\w-]+)=")
"""What has a value in an option of sbatch, such as both names of `--export=NAME=value`."""
_NAME = re.compile(r"[\w.,:@+/&|()\[\]*-]+")
_SITE, _LEAST_MEMORY = "the site's", 10**6


def _minutes(value: Any, flag: str) -> str:
    """Slurm's own form of a time as it is; minutes of `4h`, rounded up."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    choices = "a time such as 90m, 4h or 2d, or Slurm's own such as 1-12:00:00"
    if not isinstance(value, str) or value.isdecimal():
        raise UsageError(f"{flag} {value!r}: give {choices}")
    return str(-int(-parse_seconds(value, flag, choices=choices) // 60))


def _name(value: Any, flag: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.startswith("-"):
        raise UsageError(f"{flag} {value!r}: give a name as Slurm has it")
    return value


def _extra(value: Any, flag: str) -> tuple[str, ...]:
    found = texts(value, flag)
    if strange := [each for each in found if not each.startswith("-")]:
        raise UsageError(f"{flag} {strange[0]!r}: give an option of sbatch, such as --exclusive or --nice=100")
    if secrets := [name for each in found for name in _ASSIGNED.findall(each) if is_secret_name(name.lstrip("-"))]:
        raise UsageError(
            f"{flag}: the value of {secrets[0]} would be in run.json and in commands that others can read: set it in "
            f"the environment, and name it alone: --export=ALL,{secrets[0].lstrip('-')}"
        )
    return found


@dataclass(frozen=True)
class Settings(BatchSettings):
    """Where and how the jobs run; `[slurm]` in `scaledproc.toml`.

    Raises
    ------
    UsageError
        If memory is to be added to none.
    """

    backend: ClassVar[str] = "slurm"

    grace: float | None = option_of(BatchSettings, "grace", default_text="5 s less than the site's KillWait")
    partition: str | None = option(None, "Partition of the jobs.", metavar="NAME", read=_name, default_text=_SITE)
    time: str | None = option(
        None, "Time limit of a job, such as 90m, 4h or 1-12:00:00.", metavar="TIME", read=_minutes, default_text=_SITE
    )
    mem: int | None = size_option(
        None, "Memory of a job, such as 32GB.", least=_LEAST_MEMORY, such_as="32GB", default_text=_SITE
    )
    account: str | None = option(None, "Account that the jobs are charged to.", metavar="NAME", read=_name)
    qos: str | None = option(None, "Quality of service.", metavar="NAME", read=_name)
    constraint: str | None = option(None, "Features that nodes must have.", metavar="LIST", read=_name)
    gpus: str | None = option(None, "GPUs of a job, such as 1 or a100:2.", metavar="[TYPE:]N", read=_name)
    extra: tuple[str, ...] = option(
        (), "Any other option of sbatch; can be repeated.", metavar="OPTION", words=tuple, read=_extra
    )
    memory_step: int | None = size_option(
        None,
        "How much more memory a shard gets whose job lacked it, such as 8GB.",
        least=_LEAST_MEMORY,
        such_as="8GB",
        default_text="none, it fails",
    )
    detach: bool = option(False, "Submit all jobs, the last one too, and return.")

    def __post_init__(self) -> None:
        if self.memory_step is not None and self.mem is None:
            raise UsageError("--slurm-memory-step adds to --mem: give that too")
