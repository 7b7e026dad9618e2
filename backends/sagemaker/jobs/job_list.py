"""Which jobs a run needs, as pure functions of the settings and the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from scaledproc.errors import UsageError
from scaledproc.execution.shard import present_tasks
from scaledproc.planning.partition import share_out
from scaledproc.run_folder.names import COMBINED, PARTS, WORK

from ..settings import Settings
from .requests import CONTROL, TABLE, Assignment, is_mounted

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder

HOSTS, KEYS, COMBINE = "hosts", "keys", "combine"
STOP = f"{WORK}/{CONTROL}/stop"
"""Somebody asked for the run's end: a driver that sees it starts no more jobs."""
MANIFESTS = "work/manifests"
SHARED_FILES = f"{MANIFESTS}/shared.json"
"""The files that the extractor declared: each machine gets all of them."""
MOST_PREFIXES = 6  # a job has ten inputs; code and control are two


def shard_key(shard: int) -> str:
    """The key of the job that makes one macro shard."""
    return f"s{shard:05d}"


def shard_assignments(
    settings: Settings, plan: Plan, shards: Sequence[int], options: Mapping[str, Any], run: str
) -> list[Assignment]:
    """The jobs that make these macro shards.

    Parameters
    ----------
    settings, plan
        How and what.
    shards
        Those that are left.
    options
        What run.json says of how the files were chosen.
    run
        The run's URL.

    Raises
    ------
    UsageError
        If the input mode cannot give a machine the files that it needs together.
    """
    if not shards:
        return []
    if settings.input_mode == "sharded-by-key":
        return [_keys(settings, plan, shards, options, run)]
    if settings.instances is not None:
        instances = min(settings.instances, len(shards))
        return [_with_files(Assignment(HOSTS, tuple(shards), instances=instances), settings, plan, options, run)]
    return [_with_files(Assignment(shard_key(shard), (shard,)), settings, plan, options, run) for shard in shards]


def grouped_assignments(
    settings: Settings, plan: Plan, shards: Sequence[int], options: Mapping[str, Any], run: str, most: int
) -> list[Assignment]:
    """As `shard_assignments`, in at most so many jobs: where there are more shards, each job makes several."""
    assignments = shard_assignments(settings, plan, shards, options, run)
    if len(assignments) <= most:
        return assignments
    sizes = [int(plan.shard_sizes[shard]) for shard in shards]
    shares = [tuple(shards[at] for at in share) for share in share_out(sizes, most)]
    return [
        _with_files(Assignment(f"g{number:05d}", share), settings, plan, options, run)
        for number, share in enumerate(shares)
    ]


def _keys(settings: Settings, plan: Plan, shards: Sequence[int], options: Mapping[str, Any], run: str) -> Assignment:
    if options["unit"] != "file":
        raise UsageError(
            f"--input-mode sharded-by-key parts files at random, and this plan's units ({options['unit']}) are files "
            "that need each other; give --unit file if they do not, or --input-mode stage or file"
        )
    if len(plan.files) != plan.n_tasks:
        raise UsageError("--input-mode sharded-by-key: some units have files that start no task")
    instances = min(settings.instances or settings.max_parallel_jobs, plan.n_tasks)
    return _with_files(Assignment(KEYS, tuple(shards), instances=instances), settings, plan, options, run)


def _with_files(
    assignment: Assignment, settings: Settings, plan: Plan, options: Mapping[str, Any], run: str
) -> Assignment:
    from dataclasses import replace

    shared = sum(file.size for file in plan.reads)
    if not is_mounted(settings):
        return replace(assignment, size=shared + max(_largest_unit(plan, shard) for shard in assignment.shards))
    assignment = replace(assignment, size=shared + int(plan.shard_sizes[list(assignment.shards)].sum()))
    groups = _groups(plan, assignment.shards)
    is_whole = (
        not any(options.get(name) for name in ("include", "exclude", "only", "limit", "inventory", "leaves_out"))
        and options["shards"] == "folder"
    )
    if settings.is_local:  # knows no manifests; what is copied beside the plan's files is not looked at
        prefixes = tuple(f"{group}/" for group in groups) if "." not in groups and not plan.reads else ("",)
        return replace(assignment, prefixes=prefixes if len(prefixes) <= MOST_PREFIXES else ("",))
    if is_whole and "." not in groups and len(groups) <= MOST_PREFIXES:
        return replace(assignment, prefixes=tuple(f"{group}/" for group in groups))
    return replace(assignment, manifest=f"{run}/{MANIFESTS}/{assignment.key}.json")


def _groups(plan: Plan, shards: Sequence[int]) -> list[str]:
    """The top folders of macro shards."""
    found: list[str] = []
    for shard in shards:
        start, stop = int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])
        found += plan.tasks["group"].slice(start, stop - start).unique().to_pylist()
    return sorted(set(found))


def _largest_unit(plan: Plan, shard: int) -> int:
    units = plan.units_of(int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1]))
    return int(plan.unit_sizes[units.start : units.stop].max())


def manifest(plan: Plan, shards: Sequence[int], dataset: str) -> bytes:
    """The service's list of the files of macro shards: a common prefix, then names relative to it."""
    return manifest_of(names_of(plan, shards), dataset)


def names_of(plan: Plan, shards: Iterable[int]) -> list[str]:
    """The files of macro shards, relative to the dataset."""
    names: list[str] = []
    for shard in shards:
        for unit in plan.units_of(int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])):
            names += plan.files_of(unit)["path"].to_pylist()
    return names


def manifest_of(names: Iterable[str], dataset: str) -> bytes:
    """The service's list of some files of a dataset."""
    return json.dumps([{"prefix": f"{dataset}/"}, *names]).encode()


def publish(run: RunFolder) -> None:
    """Put what the last job left in a folder of its own into the run's, its CombineDone last.

    Raises
    ------
    OSError
        If the store refuses it. What is there by then does not count, and the next call does all of it again.
    """
    if not has_left_table(run):
        return
    left = run.store.child(TABLE)
    names = left.listing().table["path"].to_pylist()
    for name in sorted(names, key=lambda name: (name == COMBINED, name)):
        run.store.put_in_place(f"{TABLE}/{name}", name)


def has_left_table(run: RunFolder) -> bool:
    """Whether the last job left all in its own folder that `publish` puts in place."""
    left = run.store.child(TABLE)
    return left.exists(COMBINED) and left.exists(run.record.last_of_table)


def has_combined(run: RunFolder) -> bool:
    """Whether the last job did its work; the service may upload one of its files before the other."""
    return run.store.exists(COMBINED) and run.store.exists(run.record.last_of_table)


def has_parts(run: RunFolder, assignment: Assignment, job: str) -> Literal["all", "some", "none"]:
    """What the machines of a job left, which share a plan's files: `some` if all were there, and files were not."""
    said = present_tasks(run.store, f"{PARTS}/{job}")
    if len(said) < assignment.instances:
        return "none"
    sizes = run.plan.shard_cuts
    wanted = sum(int(sizes[shard + 1] - sizes[shard]) for shard in assignment.shards)
    return "all" if sum(said.values()) >= wanted else "some"
