"""What a session measured: kept while it runs, then written as JSON and as a page.

The JSON is pytest-benchmark's, so that its tools read it, with one key of our own: `scaledproc` holds the tables and
plots, the recommendation, the plan ids and the versions.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped, unused-ignore]
from measure import CORES, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest
    from plots import Plot

    from scaledproc.planning.partition import Recommendation

LIBRARIES = ("scaledproc", "numpy", "pandas", "pyarrow", "wfdb", "joblib", "fsspec", "s3fs", "obstore")
"""What is measured; rivals are added where they are installed."""


@dataclass(frozen=True)
class Section:
    """One table of a session, with the plot that belongs to it.

    Parameters
    ----------
    test
        The benchmark that made it.
    text
        As the terminal shows it.
    plot
        The same for the eye.
    """

    test: str
    text: str
    plot: Plot | None = None

    @property
    def title(self) -> str:
        """What it shows."""
        return self.text.heading if isinstance(self.text, Table) else self.text.partition("\n")[0]

    def to_json(self) -> dict[str, Any]:
        """JSON's types."""
        found: dict[str, Any] = {"test": self.test, "title": self.title, "text": str(self.text)}
        if isinstance(self.text, Table):
            found |= {"header": self.text.header, "rows": self.text.rows, "notes": self.text.notes}
        if self.plot is not None:
            found["plot"] = {"kind": type(self.plot).__name__.lower(), **asdict(self.plot)}
        return found


@dataclass
class Results:
    """Everything that a session found so far.

    Parameters
    ----------
    dataset
        What was measured, for a person.
    sections
        The tables, in the order in which they were made.
    plan_ids
        Of the plans that were run, by what was run.
    recommendation
        The chunk size to take, once it is known.
    compared
        How long what is recommended took beside the fastest that was measured.
    noise
        What disturbed the measurements that it rests on; empty where the machine was quiet.
    written
        The `scaledproc.toml` that has it now.
    """

    dataset: str = "generated data in the shape of the MIMIC-III Waveform Database"
    sections: list[Section] = field(default_factory=list)
    plan_ids: dict[str, str] = field(default_factory=dict)
    recommendation: Recommendation | None = None
    compared: str = ""
    noise: str = ""
    written: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON's types."""
        recommended = None if self.recommendation is None else self.recommendation.to_json()
        return {
            "dataset": self.dataset,
            "command": sys.argv[1:],
            "cores": {"used": CORES, "machine": os.cpu_count()},
            "memory": psutil.virtual_memory().total,
            "versions": versions(),
            "plan_ids": self.plan_ids,
            "recommendation": recommended,
            "compared": self.compared,
            "noise": self.noise,
            "written": None if self.written is None else str(self.written),
            "sections": [section.to_json() for section in self.sections],
        }


def versions() -> dict[str, str]:
    """Of what is measured, as far as it is installed."""
    from rivals import DISTRIBUTIONS

    found = {"python": sys.version.partition(" ")[0]}
    for name in (*LIBRARIES, *DISTRIBUTIONS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def keep_times(fixture: Any, seconds: Mapping[str, Sequence[float]], **extra: Any) -> None:
    """Give times to pytest-benchmark, as if its fixture had taken them: one entry for each contestant of a test.

    The fixture itself times one function again and again. Here contestants take turns instead, so that what else a
    machine does meets all of them. What comes after the timing (statistics, `--benchmark-compare`,
    `--benchmark-autosave`, JSON) is pytest-benchmark's.

    Parameters
    ----------
    fixture
        pytest-benchmark's `benchmark` of the test.
    seconds
        Of each contestant in each round.
    extra
        Goes to `extra_info`.
    """
    if fixture.disabled:
        return
    for name, times in seconds.items():
        entry = copy.copy(fixture)
        entry.name, entry.fullname = f"{fixture.name}: {name}", f"{fixture.fullname}: {name}"
        entry.group, entry.extra_info = fixture.group or fixture.name, {"contestant": name, **extra}
        made = entry._make_stats(1)
        for second in times:
            made.update(second)
    fixture._mode = "keep_times(...)"  # it has been used


def write_json(config: pytest.Config, results: Results, path: Path) -> dict[str, Any]:
    """Write what a session found, by pytest-benchmark's hooks; returns it."""
    hook, session = config.hook, config._benchmarksession  # type: ignore[attr-defined]  # the plug-in's own
    commit = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit)
    content: dict[str, Any] = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=[each for each in session.benchmarks if each],
        include_data=True,
        machine_info=session.get_machine_info(),
        commit_info=commit,
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=session.benchmarks, output_json=content)
    path.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    return content
