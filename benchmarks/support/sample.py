"""What chunk sizes are tried on: generated data, or a sample of the user's own, brought to this machine.

A sample is whole units at even quantiles of their sizes: small, middling and large ones as the dataset has them. It is
bounded by its bytes, and by its work: that is enough for chunk sizes to be told apart (`deciding.WORK`), and no more.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from data import linked_copies
from deciding import SPARE, WORK
from measure import CORES

import scaledproc
from scaledproc._util.process.scratch import PrivateFolder
from scaledproc._util.redaction import redacted
from scaledproc._util.text import bytes_text, clean_text, count_text
from scaledproc._util.units import parse_number
from scaledproc.engine.options import storage_words
from scaledproc.errors import UsageError
from scaledproc.extractors import load_extractor
from scaledproc.planning.calibration import calibrate
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from data import Dataset
    from numpy.typing import NDArray

    from scaledproc import Extractor, Plan

FIRST = 64 * 10**6  # bytes of the sample that tells how much work a byte is
TRIED_TASKS = 8
GIANT = 0.25  # of a sample; a larger unit is not taken as long as there are others


@dataclass(frozen=True)
class Asked:
    """What the user said of the data; see `pytest benchmarks --help`."""

    dataset: str | None
    extractor: str
    unit: str | None = None
    anchors: tuple[str, ...] = ()
    storage_options: tuple[str, ...] = ()
    sample: str = "2GB"

    @property
    def shown(self) -> str:
        """The dataset without passwords and signatures."""
        return clean_text(redacted(self.dataset or ""))


@dataclass(frozen=True)
class Subject:
    """Data to try chunk sizes on.

    Parameters
    ----------
    about
        What it is, for a person.
    root
        Its folder on this machine.
    extractor
        A specification that holds in every folder.
    plan
        Of what is in the folder.
    whole
        Of what it stands for.
    unit, anchors
        Instead of the extractor's own.
    """

    about: str
    root: Path
    extractor: str
    plan: Plan
    whole: Plan
    unit: str | None = None
    anchors: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it is the user's."""
        return self.plan is not self.whole

    @property
    def is_all(self) -> bool:
        """Whether it is all of what it stands for."""
        return self.plan.n_tasks == self.whole.n_tasks


def generated_subject(dataset: Dataset, asked: Asked) -> Subject:
    """Generated data, all of it."""
    plan = scaledproc.plan(dataset.root, extractor=_absolute(asked.extractor))
    return Subject(str(dataset), dataset.root, _absolute(asked.extractor), plan, plan)


@contextlib.contextmanager
def enlarged(subject: Subject, times: int) -> Iterator[Subject]:
    """Generated data with each of its units so many times; it goes when the block ends."""
    with linked_copies(subject.root, times) as root:
        plan = scaledproc.plan(root, extractor=subject.extractor)
        about = subject.about if times == 1 else f"{subject.about}, each {times} times"
        yield replace(subject, about=about, root=root, plan=plan, whole=plan)


@contextlib.contextmanager
def own_subject(asked: Asked) -> Iterator[Subject]:
    """A sample of the user's dataset, in a private folder that goes when the block ends.

    Raises
    ------
    ScaledprocError
        The dataset cannot be read, or has nothing to try.
    """
    spec = _absolute(asked.extractor)
    extractor, options = load_extractor(spec), storage_words(list(asked.storage_options))
    kind, limit = parse_number(asked.sample, "--sample", "a size such as 256MB")
    if kind != "bytes":
        raise UsageError(f"--sample {asked.sample!r}: give a size such as 256MB")
    store = Store.at(asked.dataset or "", options)
    whole = scaledproc.plan(
        store.uri, extractor=extractor, unit=asked.unit, anchor=asked.anchors, storage_options=options
    )
    if not whole.n_tasks:
        raise UsageError("; ".join(whole.warnings))
    with PrivateFolder() as name:
        folder = Path(name) / "sample"  # beside the folder's own lock
        folder.mkdir()
        chosen = _some_units(whole, store, folder, asked, extractor, limit)
        for unit in chosen:
            store.fetch(whole.listed(unit), folder)
        plan = scaledproc.plan(folder, extractor=extractor, unit=asked.unit, anchor=asked.anchors)
        about = (
            f"{count_text(plan.n_tasks, 'task')} ({bytes_text(plan.size)}) of the {whole.n_tasks:,} "
            f"({bytes_text(whole.size)}) in {asked.shown}"
        )
        yield Subject(about, folder, spec, plan, whole, asked.unit, asked.anchors)


def _some_units(whole: Plan, store: Store, folder: Path, asked: Asked, extractor: Extractor, limit: int) -> list[int]:
    """Units with enough work for all cores, as far as they fit; by a first few, which are brought and removed again."""
    sizes, tasks = whole.unit_sizes, np.diff(whole.unit_tasks)
    smallest = int(sizes.min(initial=limit))
    for unit in sample_units(sizes, tasks, max(min(limit, FIRST), min(limit, smallest))):
        store.fetch(whole.listed(unit), folder)
    first = scaledproc.plan(folder, extractor=extractor, unit=asked.unit, anchor=asked.anchors)
    tried = calibrate(first, Store.at(folder), extractor, TRIED_TASKS).costs
    for each in list(folder.iterdir()):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    seconds = float(tried.seconds(whole.n_tasks, whole.size))
    share = WORK * SPARE * CORES / max(seconds, 1e-9)
    return sample_units(sizes, tasks, limit, max(int(whole.n_tasks * share), 1) if share < 1 else None)


def sample_units(sizes: NDArray[np.int64], tasks: NDArray[np.int64], limit: int, most: int | None = None) -> list[int]:
    """Units at even quantiles of their sizes, as many as fit.

    Parameters
    ----------
    sizes, tasks
        Bytes and number of tasks of each unit, shape (units,).
    limit
        Bytes of all together.
    most
        Tasks of all together; one unit is taken even if it has more.

    Returns
    -------
    list of int
        Ascending places; the same for the same numbers.

    Raises
    ------
    UsageError
        Not even the smallest unit fits.
    """
    by_size = np.argsort(sizes, kind="stable")
    if not len(sizes) or sizes[by_size[0]] > limit:
        smallest = f"its smallest unit holds {bytes_text(int(sizes.min()))}" if len(sizes) else "it has no unit"
        raise UsageError(f"no sample of {bytes_text(limit)} can be taken of the dataset: {smallest}; see --sample")
    fitting = by_size[sizes[by_size] <= max(int(limit * GIANT), int(sizes[by_size[0]]))]
    count = len(fitting)
    while True:
        places = ((np.arange(count) + 0.5) / count * len(fitting)).astype(np.int64)
        chosen = fitting[places]
        fits = int(sizes[chosen].sum()) <= limit and (most is None or int(tasks[chosen].sum()) <= most)
        if fits or count == 1:
            break
        count = max(int(count * 0.9), 1)
    if not fits and sizes[chosen].sum() > limit:
        chosen = by_size[:1]
    return sorted(int(unit) for unit in chosen)


def _absolute(extractor: str) -> str:
    """A specification that holds in every folder."""
    path, colon, name = extractor.rpartition(":")
    return f"{Path(path).expanduser().absolute()}:{name}" if colon and path.endswith(".py") else extractor
