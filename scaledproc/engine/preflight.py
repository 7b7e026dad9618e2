"""What is checked before anything is written: places, what is there already, what has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import count_text
from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.extractors import Extractor
from scaledproc.run_folder.changes import run_differences, texts_of, unit_differences
from scaledproc.run_folder.folder import RunFolder, changed_files
from scaledproc.run_folder.names import FEATURES, OWN_NAMES, RECORD
from scaledproc.run_folder.record import RunRecord
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.backend.base import Backend
    from scaledproc.planning.plan import Plan


def why_empty(dataset: Store, anchors: tuple[str, ...], extractor: Extractor, files: pa.Table, *, chosen: bool) -> str:
    """Why there is nothing to do, and what to do about it."""
    if not files.num_rows:
        return f"{dataset} has no files{' that --include and --exclude leave' if chosen else ''}"
    endings = Counter(Path(path).suffix or "no ending" for path in files["path"].to_pylist())
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(4))
    return (
        f"nothing to do: no file under {dataset} matches {' or '.join(anchors)}, by which {extractor.label} begins a "
        f"task (there are {kinds}); name others with --anchor, or another extractor"
    )


def check_places(dataset: Store, output: Store, source: str | Extractor, backend: Backend) -> None:
    """See whether dataset and output are apart, and within the reach of the backend."""
    if dataset.contains(output) == "":
        raise UsageError(f"{output} is the dataset itself; name another folder for the output")
    inner = output.contains(dataset)
    if inner and inner.partition("/")[0] in OWN_NAMES:
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


def other_plan(new: RunFolder, existing: RunRecord, planned: Plan, reason: str) -> OtherPlanError:
    """Why the run in the output folder is not the one that is asked for."""
    try:
        stored = RunFolder(new.store, new.dataset, new.source, existing).plan
    except ScaledprocError:  # damaged; what differs besides can be told all the same
        stored = None
    found = run_differences(existing, new.record, stored, planned)
    why = texts_of(found) or "other files, another extractor or another layout"
    return OtherPlanError(
        f"{new.store}: {reason}: {why}; name another folder, or give --overwrite to throw that run away",
        [each.to_dict() for each in found],
    )


def refuse_changes(current: RunFolder, planned: Plan) -> None:
    """See whether the dataset is still what a run listed.

    Raises
    ------
    ScaledprocError
        If files of the dataset changed since, though not in size.
    """
    changed = changed_files(current, planned)
    if changed:
        error = ScaledprocError(
            f"{count_text(changed, 'file')} of the dataset changed, though not in size, since the run in "
            f"{current.store} listed them; its results are not theirs any more: --overwrite starts afresh"
        )
        error.differences = tuple(each.to_dict() for each in unit_differences(current.plan, planned))
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
        raise UsageError(
            f"{finished.store} is finished, with other options of {finished.record.extractor['label']} "
            f"({', '.join(sorted(names))}); to change them without extracting again: "
            f"scaledproc combine {finished.store} --set NAME=VALUE"
        )
    wrong = changed_sizes(finished)
    if not wrong:
        return
    remedy = f"scaledproc verify {finished.store} tells more, --overwrite starts afresh"
    if all(name == FEATURES or name.endswith(".csv") for name in wrong):
        remedy = f"scaledproc combine {finished.store} makes it of the shards"
    more = f", and {len(wrong) - 1:,} more of its files are not as they were written" if len(wrong) > 1 else ""
    name, what = next(iter(wrong.items()))
    raise ScaledprocError(f"{finished.store} is finished, but {name} {what}{more}; {remedy}")


def changed_sizes(finished: RunFolder) -> dict[str, str]:
    """The files of a finished run that are gone or of another size than they were, each with what is wrong."""
    expected: Mapping[str, int | None] = finished.record.sizes or {FEATURES: None}
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
    names = sorted({*existing.versions, *wanted.versions})
    differ = [name for name in names if existing.versions.get(name) != wanted.versions.get(name)]
    if differ:
        notes.append(f"the run began with other versions of {', '.join(differ)}: its parts may differ in detail")
    return notes
