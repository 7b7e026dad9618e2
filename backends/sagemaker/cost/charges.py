"""What a run costs beside machines: requests to S3 and KMS, and the way of the data through a VPC. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from scaledproc.errors import UsageError

from .prices import other_price

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Count = TypeVar("Count", int, "NDArray[np.int64]")
Route = Literal["aws", "gateway", "nat", "interface"]
"""How a machine's data comes from S3: by AWS's own network, or by what a VPC has for it."""
Encryption = Literal["none", "each", "bucket-key"]
"""Whether an object that is read costs a request to KMS: no, each one, or as few as S3 Bucket Keys leave."""

GETS_A_SECOND = 5_500
"""Of one prefix, by https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html; S3 parts a busy
prefix by and by, which nobody can count on."""
PART = 8 * 2**20  # bytes of a request, as the worker's downloads have them (storage/s3/download.py)
# S3 Bucket Keys take "up to 99 %" of the requests to KMS, by AWS; AWS's own sample measured 97.3 %
# (https://github.com/aws-samples/s3-bucketkey-poc).
BUCKET_KEY_SHARE = 0.03
PUTS_PER_CHUNK = 2  # its rows, and its errors or what it said where there are any
PUTS_PER_SHARD = 4  # its rows, errors, report; a list of its folder costs as much as a PUT
SECONDS_PER_HEARTBEAT = 5.0
# The 20,000 requests to KMS that are free each month are not taken off: they are the whole account's.


@dataclass(frozen=True)
class Charges:
    """US dollars beside those for machines and their volumes.

    Parameters
    ----------
    reads_usd, writes_usd
        For GET, and for PUT and LIST.
    kms_usd
        For requests to KMS.
    network_usd
        For bytes through a NAT gateway or an interface endpoint.
    """

    reads_usd: float
    writes_usd: float
    kms_usd: float
    network_usd: float

    @property
    def usd(self) -> float:
        """All together."""
        return self.reads_usd + self.writes_usd + self.kms_usd + self.network_usd


def charges(
    *,
    reads: float,
    writes: float,
    size: int,
    route: Route = "aws",
    dataset_encryption: Encryption = "none",
    encrypts_output: bool = False,
) -> Charges:
    """What requests and the network cost.

    Parameters
    ----------
    reads, writes
        Requests: GET; PUT and LIST.
    size
        Bytes that come to the machines.
    route, dataset_encryption
        See `Route` and `Encryption`.
    encrypts_output
        Whether what is written is encrypted with a KMS key, each object by a request.
    """
    share = {"none": 0.0, "each": 1.0, "bucket-key": BUCKET_KEY_SHARE}[dataset_encryption]
    kms = reads * share + (writes if encrypts_output else 0)
    per_gb = {"nat": "nat_usd_per_gb", "interface": "endpoint_usd_per_gb"}.get(route)
    return Charges(
        reads / 1000 * other_price("s3_usd_per_1000_reads").usd,
        writes / 1000 * other_price("s3_usd_per_1000_writes").usd,
        kms / 10_000 * other_price("kms_usd_per_10000").usd,
        size / 1e9 * other_price(per_gb).usd if per_gb else 0.0,
    )


def requests_for(size: Count, files: Count) -> Count:
    """GET requests for so many files of so many bytes: one each, and one more for each further part."""
    return files + size // PART


def check_route(name: str | None, flag: str = "--s3-route") -> None:
    """Refuse a way to S3 that there is not.

    Raises
    ------
    UsageError
        If the route is none of those that a VPC can have.
    """
    known = [each for each in get_args(Route) if each != "aws"]
    if name is not None and name not in known:
        raise UsageError(f"{flag} {name!r}: give {', '.join(known)}")
