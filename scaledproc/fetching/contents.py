"""SHA-256 of a dataset's files, by which one is the same whatever a listing says of its time or etag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scaledproc._util.digests import digest_of_stream
from scaledproc.errors import ScaledprocError
from scaledproc.fetching.receipts import Receipts
from scaledproc.planning.comparison import same_files

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

READERS = 8  # files at once
_SHA256 = re.compile(r"[0-9a-f]{64}")


def with_contents(plan: Plan, dataset: Store, earlier: Iterable[Plan] = ()) -> Plan:
    """A plan with the SHA-256 of each of its files.

    A file is read only where nobody has read it before as it is listed now: neither an earlier plan nor a receipt of
    `fetch` knows it.

    Parameters
    ----------
    plan
        The plan.
    dataset
        Where its files are.
    earlier
        Plans of earlier runs.

    Raises
    ------
    ScaledprocError
        If a file cannot be read, or is not what was listed.
    """
    contents = np.full(plan.files.num_rows, None, object)
    for each in earlier:
        if each.contents is not None:
            places, is_same = same_files(each, plan, by_content=False)
            contents[is_same] = each.contents.to_numpy(zero_copy_only=False)[places[is_same]]
    left = np.flatnonzero([content is None for content in contents])
    paths, sizes, versions = (plan.files[name].take(pa.array(left)).to_pylist() for name in ("path", "size", "version"))
    receipts = Receipts(dataset)

    def find(path: str, size: int, version: str) -> str:
        receipt = receipts.get(path)
        if (
            receipt
            and version
            and (receipt.size, receipt.version) == (size, version)
            and _SHA256.fullmatch(receipt.proof)
        ):
            return receipt.proof
        with dataset.open(path) as file:
            digest = digest_of_stream(file)
        if digest.size != size:
            raise ScaledprocError(f"{path} changed while it was compared: it has {digest.size:,} bytes, not {size:,}")
        return digest.sha256

    with ThreadPoolExecutor(READERS, thread_name_prefix="contents") as pool:
        contents[left] = list(pool.map(find, paths, sizes, versions))
    return replace(plan, contents=pa.array(contents, pa.string()))
