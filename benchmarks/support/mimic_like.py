"""The sizes of a dataset like the MIMIC-III Waveform Database, without its files; and what a run over it would cost.

`python benchmarks/support/mimic_like.py` prints the estimate for the published pattern's ten machines and for what
`recommend` chooses.

The totals are the database's: 67,830 records in ten folders, 6.7 TB. How they are spread is an assumption: records and
segments are log-normal, most of them small, most bytes in few of them.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from scaledproc.backends.sagemaker.cost.charges import Encryption, Route
from scaledproc.backends.sagemaker.cost.estimate import (
    PATTERN_INSTANCE,
    PATTERN_MACHINES,
    Fleet,
    Sizes,
    estimate,
    estimate_text,
    recommend,
    usd_text,
)
from scaledproc.backends.sagemaker.cost.prices import priced_instances
from scaledproc.backends.sagemaker.instances import INSTANCES, find_instance
from scaledproc.planning.cost_model import SLOWEST

RECORDS = 67_830
BYTES = 6_700_000_000_000
GROUPS = 10
HEADER = 400  # bytes of a segment's header file
MEAN_SEGMENTS = 30
CHUNK = 64_000_000  # bytes, roughly the planner's


def mimic_like_inventory(seed: int = 3, records: int = RECORDS, total: int = BYTES) -> Sizes:
    """Sizes per record, cut by folder as the published pattern does.

    Parameters
    ----------
    seed
        The same seed gives the same sizes.
    records, total
        How many records; bytes of all their files.
    """
    rng = np.random.default_rng(seed)
    segments = 1 + np.minimum(rng.lognormal(np.log(MEAN_SEGMENTS) - 1.1**2 / 2, 1.1, records), 5_000).astype(np.int64)
    # A record's bytes follow how long it is, and so roughly how many segments it has.
    share = segments * rng.lognormal(0, 0.8, records)
    unit_bytes = HEADER * segments + np.floor(share / share.sum() * (total - HEADER * segments.sum())).astype(np.int64)
    unit_bytes[-1] += total - unit_bytes.sum()
    # The longest segment of a record holds much of it: between all and a tenth.
    largest = np.where(segments == 1, unit_bytes, unit_bytes * rng.uniform(0.1, 0.6, records)).astype(np.int64)
    groups = np.sort(rng.integers(GROUPS, size=records))
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1, [records]]).astype(np.int64)
    return Sizes(unit_bytes, segments, 2 * segments, largest, cuts, int(total // CHUNK))


def main() -> None:
    """Print both."""
    sizes = mimic_like_inventory()
    print(f"{len(sizes.unit_bytes):,} records, {sizes.n_tasks:,} segments, {sizes.size / 1e12:.1f} TB")
    pattern = estimate(sizes, SLOWEST, Fleet(find_instance(PATTERN_INSTANCE), PATTERN_MACHINES, region="us-east-1"))
    print(f"\nas the pattern does it, {PATTERN_MACHINES} x {PATTERN_INSTANCE}")
    print("\n".join(estimate_text(pattern)))
    print("\nthe same, by the way to S3 and the encryption of the dataset")
    ways: tuple[Route, ...] = ("aws", "nat", "interface")
    kinds: tuple[Encryption, ...] = ("none", "each", "bucket-key")
    for way in ways:
        for kind in kinds:
            fleet = Fleet(find_instance(PATTERN_INSTANCE), PATTERN_MACHINES, region="us-east-1")
            found = estimate(sizes, SLOWEST, replace(fleet, route=way, dataset_encryption=kind))
            assert found.usd is not None
            print(
                f"  {way:9}  KMS {kind:10}  {usd_text(found.usd):>8} (S3 {usd_text(found.s3_usd)}, "
                f"KMS {usd_text(found.kms_usd)}, network {usd_text(found.network_usd)})"
            )
    started = time.perf_counter()
    for most in (PATTERN_MACHINES, 100):
        steady = [INSTANCES[name] for name in sorted(priced_instances()) if not INSTANCES[name].is_burstable]
        best = recommend(sizes, SLOWEST, steady, max_parallel=most, fleet=Fleet(steady[0], 1, region="us-east-1"))
        print(f"\nrecommended, with up to {most} machines")
        print("\n".join(f"  {reason}" for reason in best.reasons))
        print("\n".join(estimate_text(best.estimate)))
    print(f"\n({time.perf_counter() - started:.1f} s to recommend)")


if __name__ == "__main__":
    main()
