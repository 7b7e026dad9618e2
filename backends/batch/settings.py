"""What a user can set of any backend whose jobs wait in a queue. Light to import: the command line reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from scaledproc._util.options import at_least, declared, option, time_option
from scaledproc.engine.options import RUN_FLAGS
from scaledproc.errors import UsageError

COMMAND = "{command}"
"""What stands for the worker's command in a template."""
_SOME = at_least(1, "1 or more")


def _template(value: Any, flag: str) -> str:
    """A file's absolute path; it must be one that can be a job's script."""
    path = Path(str(value)).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag} {value}: cannot be read: {error}") from None
    if text.count(COMMAND) != 1 or not text.startswith("#!"):
        raise UsageError(f"{flag} {value}: give a script that begins with #! and has {COMMAND} once, best after `exec`")
    return str(path)


@dataclass(frozen=True)
class BatchSettings:
    """How many jobs of how many shards, and how often they are looked for.

    Each field is a flag of the command line, a key of the backend's table in `scaledproc.toml`, and a keyword of the
    backend. A backend's own settings are further fields, or have other defaults (`option_of`).
    """

    backend: ClassVar[str] = ""
    """As the backend is called."""

    cpus: int | None = option(None, "Cores of a job.", metavar="N", read=_SOME, default_text="--jobs, else 4")
    at_once: int | None = option(None, "Jobs at once at most.", metavar="N", read=_SOME, default_text="any number")
    shards_per_job: int = option(1, "Shards of a job.", metavar="N", read=_SOME)
    retries: int = option(2, "How many jobs more that commit nothing.", metavar="N", read=at_least(0, "0 or more"))
    grace: float | None = time_option(None, "Time that a job has to finish its chunks when it is told to end.")
    poll_seconds: float = time_option(15.0, "Pause between two looks at the jobs.")
    template: str | None = option(
        None,
        "Script of the jobs, with {command} in it, for what a site needs.",
        metavar="FILE",
        read=_template,
        default_text="only the command",
    )

    @classmethod
    def parse(cls, words: Mapping[str, Any]) -> Self:
        """From what a person wrote.

        Raises
        ------
        UsageError
            If there is no such setting, it cannot have its value, or settings exclude or lack each other.
        """
        shared = {each.name for each in declared(BatchSettings)}
        known = sorted((each.name for each in declared(cls)), key=lambda name: name in shared)
        for name in words:
            if name not in known:
                raise UsageError(f"the backend {cls.backend} has no setting {name!r}; there are: {', '.join(known)}")
        given = {each.name: each for each in declared(cls) if words.get(each.name) is not None}
        return cls(
            **{name: each.read(words[name], each.flag_of(cls.backend, RUN_FLAGS)) for name, each in given.items()}
        )
