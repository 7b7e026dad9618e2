"""What a user can set of the backend `slurm`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaledproc.backends.slurm.settings import Settings
from scaledproc.errors import UsageError


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("time", "4h", "240"),
        ("time", "90m", "90"),
        ("time", "61s", "2"),
        ("time", "1-12:00:00", "1-12:00:00"),
        ("time", "30:00", "30:00"),
        ("mem", "32GB", 32 * 10**9),
        ("mem", "32GiB", 32 * 2**30),
        ("memory_step", None, None),
        ("gpus", "a100:2", "a100:2"),
        ("constraint", "[rack1|rack2]&ssd", "[rack1|rack2]&ssd"),
        ("extra", ["--exclusive", "--nice=10"], ("--exclusive", "--nice=10")),
        ("extra", "--exclusive", ("--exclusive",)),
        ("extra", "--export=ALL,API_TOKEN,MODE=x", ("--export=ALL,API_TOKEN,MODE=x",)),
        ("poll_seconds", "1m", 60.0),
        ("partition", None, None),
    ],
)
def test_what_a_person_writes(name: str, given: Any, value: Any) -> None:
    assert getattr(Settings.parse({name: given}), name) == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"partitions": "x"}, "no setting 'partitions'; there are: partition, time"),
        ({"time": "4"}, "--time '4': give a time such as 90m"),
        ({"time": "soon"}, "--time 'soon'"),
        ({"mem": "32"}, "--mem '32': give a size such as 32GB"),
        ({"mem": "1k"}, "--mem '1k': give a size such as 32GB, 1.0 MB or more"),
        ({"partition": "-x"}, "--partition '-x': give a name"),
        ({"account": "a b"}, "--account 'a b'"),
        ({"extra": "exclusive"}, "--extra 'exclusive': give an option of sbatch"),
        ({"extra": "--export=HOME,AWS_SECRET_ACCESS_KEY=abc"}, "name it alone: --export=ALL,AWS_SECRET_ACCESS_KEY"),
        ({"cpus": 0}, "--cpus 0: give 1 or more"),
        ({"at_once": 0}, "--at-once 0"),
        ({"retries": -1}, "--retries -1"),
        ({"detach": "yes"}, "--detach 'yes': give True or False"),
        ({"memory_step": "1GB"}, "--slurm-memory-step adds to --mem: give that too"),
        ({"memory_step": "8"}, "--slurm-memory-step '8': give a size"),
        ({"grace": "soon"}, "--slurm-grace 'soon'"),
        ({"template": "/nowhere/x.sh"}, "--template /nowhere/x.sh: cannot be read"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings.parse(given)
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["exec {command}\n", "#!/bin/bash\n", "#!/bin/bash\n{command}\n{command}\n"])
def test_a_template_that_is_no_script(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.sh").write_text(text)

    with pytest.raises(UsageError, match=r"give a script that begins with #! and has \{command\} once"):
        Settings.parse({"template": str(tmp_path / "job.sh")})
