"""What is checked before anything is written: places, what is there already, what has changed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import count_text
from scaledproc.backend.base import Backend
from scaledproc.backend.registry import load_backend
from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.extractors import Extractor
from scaledproc.extractors.registry import for_reports
from scaledproc.planning.inventory import globs_of
from scaledproc.run_folder.changes import Difference, changed_files, lines_of, run_differences, unit_differences
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMMON_METADATA, CROISSANT, MAIN_TABLE, OWN_NAMES, RECORD
from scaledproc.run_folder.record import RunRecord
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.execution.reuse.decision import Reuse
    from scaledproc.planning.plan import Plan


def why_empty(dataset: Store, anchors: tuple[str, ...], extractor: Extractor, files: pa.Table, *, chosen: bool) -> str:
    """Why there is nothing to do, and what to do about it."""
    if not files.num_rows:
        return f"{dataset} has no files{' that --include and --exclude leave' if chosen else ''}"
    endings = Counter(Path(path).suffix or "no ending" for path in files["path"].to_pylist())
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(4))
    return (
        f"nothing to do: no file under {dataset} matches {' or '.join(anchors)}, by which {extractor.label} begins a "
        f"task (there are {kinds}); name others with --anchor, or {_others_for(files, extractor)}"
    )


def _others_for(files: pa.Table, extractor: Extractor) -> str:
    """Which installed extractors begin tasks at some of the files, but for one that takes any file."""
    from scaledproc.extractors import load_extractor, registry

    found = []
    for name in registry.names():
        with contextlib.suppress(ScaledprocError):  # a plug-in that does not load, or whose options must be given
            anchors = load_extractor(name).anchors
            if name != extractor.label and "*" not in anchors and globs_of(files["path"], anchors):
                found.append(name)
    return f"--extractor {' or '.join(found)}, which begins tasks at some of these" if found else "another extractor"


def check_places(
    dataset: Store, output: Store, source: str | Extractor, backend: Backend, tables: Collection[str] = ()
) -> None:
    """See whether dataset and output are apart, and within the reach of the backend.

    Parameters
    ----------
    dataset, output, source, backend
        What is asked for.
    tables
        The names of the extractor's further tables, which may be folders.

    Raises
    ------
    UsageError
        If dataset and output lie in each other's way, or the backend cannot reach one of them or the extractor.
    """
    if dataset.contains(output) == "":
        raise UsageError(f"{output} is the dataset itself; name another folder for the output")
    inner = output.contains(dataset)
    if inner and inner.partition("/")[0] in {*OWN_NAMES, *tables}:
        raise UsageError(f"the dataset lies in {output}, where the run would write over it; name another folder")
    if backend.capabilities.is_here:
        return
    for store, is_input in ((dataset, True), (output, False)):
        if store.is_private or (store.local is not None and not backend.capabilities.reaches_disk):
            hint = f"scaledproc fetch {store} s3://BUCKET/PREFIX copies it" if is_input else "give s3://BUCKET/PREFIX"
            raise UsageError(f"{store} is on this machine, where the backend's machines cannot reach it; {hint}")
    if isinstance(source, Extractor):
        raise UsageError("the backend's machines need an extractor with a name: package.module:name or file.py:name")


def foreign_names(output: Store, dataset: Store) -> list[str]:
    """What is in the output folder, but for a dataset that lies in it."""
    inner = output.contains(dataset)
    names = output.names()
    if names and RECORD not in names and not output.lists_all:
        names += output.there([RECORD])
    return [name for name in names if name != inner.partition("/")[0]] if inner else names


def other_plan(new: RunFolder, existing: RunRecord, planned: Plan, reason: str, cores: int) -> OtherPlanError:
    """Why the run in the output folder is not the one that is asked for, and what an update would do."""
    there = RunFolder(new.store, new.dataset, new.source, existing)
    try:
        stored = there.plan
    except ScaledprocError:  # damaged; what differs besides can be told all the same
        stored = None
    found = run_differences(existing, new.record, stored, planned)
    why = lines_of(found) or ["other files, another extractor or another layout"]
    offer = None if stored is None else offered(there, planned, cores, new.record.extractor["label"])
    if offer is not None:
        found.append(offer)
    do = [
        *([] if offer is None else [offer.text]),
        "--overwrite throws that run away and begins anew",
        "another OUTPUT leaves it as it is",
    ]
    lines = [f"{new.store} {reason}.", "What differs:", *(f"  {each}" for each in why)]
    lines += ["What to do:", *(f"  {each}" for each in do)]
    return OtherPlanError("\n".join(lines), [each.to_dict() for each in found])


def offered(there: Run, planned: Plan, cores: int, label: str) -> Difference | None:
    """What `--update` would do; None where it could not.

    Parameters
    ----------
    there
        The run that would be updated.
    planned, label
        What is asked for, and what its extractor is called.
    cores
        To work with.
    """
    reuse = look_ahead(there, planned, label)
    if reuse is None:
        return None
    text = reuse.text(seconds_for(reuse, planned, there, cores))
    return Difference(
        "update", "", f"--update does {text}", {"tasks": planned.n_tasks, "todo": reuse.n_todo, **reuse.counts}
    )


def look_ahead(run: Run, planned: Plan, label: str) -> Reuse | None:
    """What an update of a run would do, as far as can be told without reading its rows; else None."""
    from scaledproc.execution.reuse.decision import find_reuse, is_same_extractor
    from scaledproc.execution.reuse.earlier import open_earlier

    was = run.record.extractor["fingerprint"]
    if isinstance(was, str) or run.record.extractor.get("label") != label:
        return None
    try:
        return find_reuse(planned, [open_earlier(run).known(is_same=is_same_extractor(was, planned.fingerprint))])
    except ScaledprocError:
        return None


def seconds_for(reuse: Reuse, planned: Plan, run: Run, cores: int) -> float | None:
    """How long the tasks that are to be done will take on so many cores, by what the earlier ones took."""
    took, size = run.record.timings.get("work_seconds"), run.record.bytes.get("input")
    if not took or not size or run.record.counts.get("reused"):
        return None
    return float(took) * float(planned.task_sizes[reuse.is_todo].sum()) / size / max(cores, 1)


def refuse_changes(current: RunFolder, planned: Plan, cores: int) -> None:
    """See whether the dataset is still what a run listed.

    Raises
    ------
    ScaledprocError
        If files of the dataset changed since, though not in size.
    """
    changed = changed_files(current, planned)
    if changed:
        offer = offered(current, planned, cores, str(current.record.extractor.get("label")))
        error = ScaledprocError(
            f"{count_text(changed, 'file')} of the dataset changed, though not in size, since the run in "
            f"{current.store} listed them; its results are not theirs any more: "
            f"{f'{offer.text}, ' if offer else ''}--overwrite starts afresh"
        )
        found = [*unit_differences(current.plan, planned), *([offer] if offer else [])]
        error.differences = tuple(each.to_dict() for each in found)
        raise error


def refuse_unfinished(finished: RunFolder, wanted: Mapping[str, Any] | None) -> None:
    """See whether a finished run is what is asked for, and is all there.

    Parameters
    ----------
    finished
        The run.
    wanted
        The extractor's options, where they were asked for.

    Raises
    ------
    UsageError
        If the run was made with other options of the extractor.
    ScaledprocError
        If some of the run's files are gone, or do not have the size that they were written with.
    """
    had = finished.record.extractor["options"]
    if wanted is not None and had != wanted:
        names = {name for name in {*had, *wanted} if had.get(name) != wanted.get(name)}
        if names.issubset(for_reports(finished.source)):
            raise UsageError(
                f"{finished.store} is finished, and no row depends on {' or '.join(sorted(names))}; to have the report "
                f"with it: scaledproc report {finished.store} --set NAME=VALUE"
            )
        raise UsageError(
            f"{finished.store} is finished, with other options of {finished.record.extractor['label']} "
            f"({', '.join(sorted(names))}); to change them without extracting again: "
            f"scaledproc combine {finished.store} --set NAME=VALUE"
        )
    wrong = changed_sizes(finished)
    if not wrong:
        return
    remedy = f"scaledproc verify {finished.store} tells more, --overwrite starts afresh"
    of_shards = {
        name for table in (MAIN_TABLE, *finished.record.tables) for name in finished.record.files_of_table(table)
    }
    if all(name in of_shards or name.endswith((".csv", COMMON_METADATA, CROISSANT)) for name in wrong):
        remedy = f"scaledproc combine {finished.store} makes it of the shards"
    more = f", and {len(wrong) - 1:,} more of its files are not as they were written" if len(wrong) > 1 else ""
    name, what = next(iter(wrong.items()))
    raise ScaledprocError(f"{finished.store} is finished, but {name} {what}{more}; {remedy}")


def refuse_twins(new: RunFolder, existing: RunRecord | None, backend: Backend, *, same: bool) -> None:
    """See that no other backend's machines are at work for what is in the output folder, nor for what goes.

    Raises
    ------
    UsageError
        If jobs of another backend are at work for the run that is in the folder.
    """
    name = existing.backend.get("name") if existing else None
    if existing is None or existing.state != "running" or not name or (same and name == backend.name):
        return
    earlier = load_backend(str(name))
    if earlier.capabilities.is_here:
        return  # its processes are this machine's, or another's that cannot be asked
    there = RunFolder(new.store, new.dataset, new.source, existing)
    busy = earlier.recall(existing.backend, {}).at_work(there)
    if busy:
        jobs = "1 job" if busy == 1 else f"{busy} jobs"
        raise UsageError(
            f"{jobs} of the run in {new.store} {'is' if busy == 1 else 'are'} at work on the backend {name!r}: wait "
            f"for the end, or stop first: scaledproc stop {new.store}"
        )


def changed_sizes(finished: RunFolder) -> dict[str, str]:
    """The files of a finished run that are gone or of another size than they were, each with what is wrong."""
    expected: Mapping[str, int | None] = finished.record.sizes or dict.fromkeys(finished.record.files_of_table())
    found = finished.store.sizes(expected)

    def is_wrong(name: str) -> bool:
        return name not in found or expected[name] not in (found[name], None)

    suspect = list(filter(is_wrong, expected))
    found |= finished.store.sizes(suspect, listed=False)  # where a listing lags behind
    return {
        name: f"has {found[name]:,} bytes, not {expected[name]:,}" if name in found else "is gone"
        for name in filter(is_wrong, suspect)
    }


def differences(existing: RunRecord, wanted: RunRecord) -> list[str]:
    """What a person should know when a run is continued that was begun in another way."""
    notes = []
    cuts = {name: existing.options[name] for name in ("shards", "chunk")}
    if cuts != {name: wanted.options[name] for name in cuts}:
        notes.append(
            f"continuing with the cuts that the run began with: --shards {cuts['shards']} --chunk {cuts['chunk']}"
        )
    return notes + version_differences(existing, wanted, "the run began", "its parts")


def version_differences(existing: RunRecord, wanted: RunRecord, what: str, parts: str) -> list[str]:
    """What a person should know where libraries have other versions than they had.

    Parameters
    ----------
    existing, wanted
        What run.json says, and would say.
    what, parts
        What was done with the earlier ones, and what may differ, in words.
    """
    names = sorted({*existing.versions, *wanted.versions})
    differ = [name for name in names if existing.versions.get(name) != wanted.versions.get(name)]
    return [f"{what} with other versions of {', '.join(differ)}: {parts} may differ in detail"] if differ else []
