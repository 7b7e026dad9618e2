"""What is installed here: programs that some backends call, extras, and versions."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from scaledproc._util.entry_points import plugins
from scaledproc._util.text import clean_text
from scaledproc.backend import registry as backends
from scaledproc.engine.doctor.findings import Finding, Verdict
from scaledproc.engine.provenance import versions
from scaledproc.extractors import registry as extractors

PATIENCE = 5.0
"""Seconds that a program may take to answer."""
DEVELOPERS = frozenset({"benchmarks", "dev", "docs", "rivals"})
"""Extras that nobody needs who does not change scaledproc itself."""
OTHERS = {"polars": "run.scan() gives its frames"}
"""Packages of no extra that can be used where they are there, and what for."""
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?(?P<versions>[^;]*)(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w.-]+)["']""")


@dataclass(frozen=True)
class Program:
    """Commands that belong together.

    Parameters
    ----------
    name
        What they are called together.
    commands
        All of them are needed.
    ask
        Words of one that tells whether the service behind them answers.
    purpose
        What needs them, for a person.
    mend
        What to do where the service does not answer.
    """

    name: str
    commands: tuple[str, ...]
    ask: tuple[str, ...]
    purpose: str
    mend: str


PROGRAMS = (
    Program(
        "Docker",
        ("docker",),
        ("docker", "info", "--format", "{{.ServerVersion}}"),
        "to build images, and for runs in containers on this machine",
        "start its daemon, and see that this user may use it (the group docker)",
    ),
    Program(
        "Slurm",
        ("sbatch", "squeue", "scontrol", "scancel"),
        ("sinfo", "--noheader", "--format=%P"),
        "to run on a Slurm cluster, on one of its login nodes",
        "its controller does not answer: see that slurmctld is up, or ask who keeps the cluster",
    ),
)


def find_program(program: Program) -> Finding:
    """Whether commands are there, and whether what is behind them answers."""
    gone = [each for each in program.commands if shutil.which(each) is None]
    details = {"commands": {each: shutil.which(each) for each in program.commands}}
    if gone:
        some = "" if len(gone) == len(program.commands) else f", though {program.commands[0]} is there"
        text = f"no command {' and none '.join(gone)}{some if program.commands[0] not in gone else ''}"
        return Finding(program.name, Verdict.MISSING, text, f"only needed {program.purpose}", details=details)
    try:
        done = subprocess.run(  # noqa: S603 - words that are ours
            program.ask, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        reason = _last_line(done.stderr) or f"exit code {done.returncode}" if done.returncode else ""
        answer = " ".join(done.stdout.split())
    except subprocess.TimeoutExpired:
        reason, answer = f"no answer within {PATIENCE:.0f} s", ""
    except OSError as error:
        reason, answer = error.strerror or str(error), ""
    if reason:
        text = f"{program.ask[0]} {program.ask[1]}: {clean_text(reason)}"
        advice = f"{program.mend}; only needed {program.purpose}"
        return Finding(program.name, Verdict.MISSING, text, advice, details={**details, "error": reason})
    return Finding(program.name, Verdict.FINE, f"answers: {clean_text(answer)[:100]}", details=details)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def find_versions() -> Finding:
    """Versions of scaledproc, Python and the libraries that touch the data, and what of its own needs is not met."""
    found = {"scaledproc": version("scaledproc"), **versions()}
    wrong = [text for name, floor, extra in requirements("scaledproc") if not extra and (text := _unmet(name, floor))]
    text = ", ".join(f"{name} {each}" for name, each in found.items())
    if wrong:
        advice = f"{'; '.join(wrong)}: pip install --upgrade scaledproc"
        return Finding("versions", Verdict.MISSING, text, advice, stops=True, details=found)
    return Finding("versions", Verdict.FINE, text, details=found)


def find_extras() -> Iterator[Finding]:
    """Each extra and optional package: whether what it needs is installed, in a version that is new enough."""
    extras: dict[str, list[tuple[str, str]]] = {}
    for name, floor, extra in requirements("scaledproc"):
        if extra and extra not in DEVELOPERS:
            extras.setdefault(extra, []).append((name, floor))
    for extra, needs in sorted(extras.items()):
        unmet = [text for name, floor in needs if (text := _unmet(name, floor))]
        has = {name: _version(name) for name, _ in needs}
        shown = ", ".join(f"{name} {each}" for name, each in has.items() if each)
        install = f"pip install 'scaledproc[{extra}]'"
        if not unmet:
            yield Finding(f"extra {extra}", Verdict.FINE, shown, details=has)
        elif any(has.values()):
            yield Finding(f"extra {extra}", Verdict.WORRY, "; ".join(unmet), f"{install} mends it", details=has)
        else:
            yield Finding(f"extra {extra}", Verdict.MISSING, "not installed", f"{install}, if it is needed")
    for name, purpose in OTHERS.items():
        if found := _version(name):
            yield Finding(name, Verdict.FINE, f"{name} {found}", details={name: found})
        else:
            yield Finding(name, Verdict.MISSING, "not installed", f"pip install {name}, where {purpose}")


def find_plugins() -> Finding:
    """The backends and extractors that are installed, by their names."""
    groups = {"backend": backends.ENTRY_POINTS, "extractor": extractors.ENTRY_POINTS}
    found = {kind: [each.name for each in plugins(group)] for kind, group in groups.items()}
    if not all(found.values()):
        return Finding(
            "plug-ins",
            Verdict.MISSING,
            "the installation tells of no backends or no extractors",
            "install scaledproc anew: pip install --force-reinstall --no-deps scaledproc",
            stops=True,
            details=found,
        )
    text = "; ".join(f"{kind}s: {', '.join(names)}" for kind, names in found.items())
    return Finding("plug-ins", Verdict.FINE, text, details=found)


def requirements(package: str) -> Iterator[tuple[str, str, str]]:
    """What an installed package says that it needs: names, the least versions, and the extras that they are of.

    Those of other systems and versions of Python, which its markers may tell of, are taken for needed ones of an
    extra that is called after the marker, so that nobody is told to install them.
    """
    for line in requires(package) or ():
        found = _REQUIREMENT.match(line)
        if found is None:
            continue
        floor = re.search(r">=\s*([\d.]+)", found["versions"])
        marker = (found["marker"] or "").strip()
        extra = _EXTRA.search(marker)
        yield found["name"], floor[1] if floor else "", extra[1] if extra else "dev" if marker else ""


def _unmet(name: str, floor: str) -> str:
    """Why a requirement is not met; empty where it is."""
    found = _version(name)
    if not found:
        return f"{name} is not installed"
    return f"{name} is {found}, and {floor} or newer is needed" if _release(found) < _release(floor) else ""


def _release(text: str) -> tuple[int, ...]:
    """The release of a version without zeros at its end, of which 1.0 and 1.0.0 differ."""
    found = [int(each) for each in re.findall(r"\d+", re.split(r"[a-z+-]", text, maxsplit=1)[0])]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def find_installed(programs: Iterable[Program] = PROGRAMS) -> Iterator[Finding]:
    """All of these findings."""
    yield find_versions()
    yield find_plugins()
    yield from find_extras()
    for program in programs:
        yield find_program(program)
