"""Runs a check: puts a few small files, starts the jobs, waits, reads, and removes what it made, however it ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaledproc.errors import ScaledprocError, UsageError

from ..account import Account
from ..cost.billing import Bill, bill
from ..cost.estimate import HOURS_PER_MONTH
from ..cost.forecast import known_prices
from ..cost.prices import price_of, storage_price
from ..instances import find_instance
from ..jobs.job_list import manifest_of
from ..service import Service, ServiceError, knows_preferences
from ..settings import Settings
from . import probe
from .questions import (
    BASE,
    CHOICE,
    FILES,
    LIMIT,
    LIMITED,
    LONGEST,
    NESTED,
    VOLUME_GB,
    Answer,
    Ended,
    answers,
    check_job,
)

MOST_USD = 1.0
STARTUP = 600  # seconds beside a job's limit that may be billed, for the bound
MOST_WAIT = 3_600.0
STOPPING = 300.0  # seconds that jobs are given to end before their files are removed
_ENDED = ("Completed", "Failed", "Stopped")
_PAGE = 1_000  # objects that one request removes


@dataclass(frozen=True)
class Report:
    """What a check found.

    Parameters
    ----------
    answers
        One for each question.
    billed
        As `bill` has it.
    """

    answers: tuple[Answer, ...]
    billed: dict[str, Any]

    @property
    def is_settled(self) -> bool:
        """Whether each question has an answer."""
        return all(each.answer is not None for each in self.answers)


def report_lines(report: Report) -> list[str]:
    """Answers and cost for a person, line by line."""
    lines = []
    for each in report.answers:
        lines += [each.question, f"  {each.answer or 'not settled'} ({each.why})"]
    seconds, usd = sum(report.billed["instance_seconds"].values()), report.billed["usd"]
    cost = f"${usd:.4f}" if usd is not None else f"not known: {report.billed['usd_is_null_for']}"
    return [*lines, f"billed: {seconds:,.0f} s of machines, {cost}"]


@dataclass
class _Made:
    """What a check has made so far, to be removed."""

    bucket: str
    prefix: str
    jobs: dict[str, str] = field(default_factory=dict)  # names by kind


def most_usd(settings: Settings, service: Service, limit: int = LIMIT) -> float:
    """What a check costs at most, if each job runs into its limit.

    Raises
    ------
    UsageError
        If a price is not known, or that is too much.
    """
    prices = known_prices(settings, service, [])
    hours = (3 * (LONGEST + STARTUP) + limit + STARTUP) / 3600
    dearest = 0.0
    for name in settings.instance_type:
        price = price_of(find_instance(name), service.region, prices)
        if price is None:
            raise UsageError(f"the price of {name} is not known: give --price {name}=USD (an hour), or another type")
        dearest = max(dearest, price.usd_per_hour)
    usd = hours * (dearest + VOLUME_GB * storage_price(service.region, prices).usd_per_gb_month / HOURS_PER_MONTH)
    if usd >= MOST_USD:
        raise UsageError(f"a check on {', '.join(settings.instance_type)} may cost ${usd:.2f}: give smaller machines")
    return usd


def check_account(
    service: Service,
    settings: Settings,
    where: str,
    tell: Callable[[str], None] = lambda _: None,
    *,
    limit: int = LIMIT,
    most_wait: float = MOST_WAIT,
) -> Report:
    """Run the jobs of a check, and remove what they and it left.

    Parameters
    ----------
    service, settings
        The account; role, image, types of machines and the rest that requests need.
    where
        The URL of a folder in S3, below which a folder of the check's own is made and removed.
    tell
        Called with what a person should know meanwhile.
    limit
        Seconds that the job is given which is to run into its limit.
    most_wait
        Seconds to wait for all jobs.

    Raises
    ------
    UsageError
        If something is missing, or the check may cost too much.
    ScaledprocError
        If AWS refuses what every check needs.
    """
    bucket, _, folder = where.removeprefix("s3://").partition("/")
    if not where.startswith("s3://") or not bucket:
        raise UsageError(f"{where}: give a folder in S3, s3://bucket/prefix")
    account = Account.ask(service, settings)
    most = most_usd(settings, service, limit)
    token = f"check-{secrets.token_hex(4)}"
    made = _Made(bucket, "/".join(filter(None, (folder.strip("/"), f"scaledproc-{token}"))))
    base = f"s3://{bucket}/{made.prefix}"
    tell(f"four jobs on {settings.instance_type[0]}, of at most ${most:.2f} together; all files are below {base}/")
    try:
        for name, content in _files(base).items():
            service.call("s3", "put_object", Bucket=bucket, Key=f"{made.prefix}/{name}", Body=content, **_key(settings))
        kinds = (BASE, CHOICE, NESTED, LIMITED)
        names = {kind: f"{settings.job_name_prefix}-{token}-{kind}" for kind in kinds}
        requests = {
            kind: check_job(kind, names[kind], base, settings, (account.role, account.image_uri), limit)
            for kind in kinds
        }
        ended = _all_ended(service, requests, made, settings, tell, most_wait)
    finally:
        try:
            _remove(service, made, settings.poll_seconds, tell)
        except KeyboardInterrupt:  # while it removes: that is to end too, then
            _remove(service, made, settings.poll_seconds, tell)
            raise
    bills = [Bill.of(kind, each.description) for kind, each in ended.items() if each.description]
    billed = bill(bills, service.region, known_prices(settings, service, []))
    return Report(tuple(answers(ended, f"{made.prefix}/dataset")), billed)


def _files(base: str) -> dict[str, bytes]:
    files = {f"dataset/{name}": content for name, content in FILES.items()}
    files["manifest.json"] = manifest_of(FILES, f"{base}/dataset")
    files["code/probe.py"] = Path(str(probe.__file__)).read_bytes()
    return files


def _key(settings: Settings) -> dict[str, str]:
    if not settings.output_kms_key:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.output_kms_key}


def _all_ended(
    service: Service,
    requests: dict[str, dict[str, Any]],
    made: _Made,
    settings: Settings,
    tell: Callable[[str], None],
    most_wait: float,
) -> dict[str, Ended]:
    """Start the jobs, as many at once as the account allows, and wait for their ends."""
    ended: dict[str, Ended] = {}
    waiting, active = list(requests), list[str]()
    end = time.monotonic() + most_wait
    if not knows_preferences():
        waiting.remove(CHOICE)
        ended[CHOICE] = Ended(refusal="the boto3 that is installed here does not know of it: take a newer one")
    while waiting or active:
        for kind in list(waiting):
            made.jobs[kind] = requests[kind]["ProcessingJobName"]  # before it is: an interruption may come between
            try:
                service.create(requests[kind])
            except ServiceError as error:
                del made.jobs[kind]
                if error.trouble in ("limit", "capacity", "throttled") and active:
                    break  # when one has ended, then
                waiting.remove(kind)
                ended[kind] = Ended(refusal=str(error), is_request=error.trouble == "invalid" and kind != BASE)
                tell(f"{kind}: refused: {error}")
                continue
            waiting.remove(kind)
            active.append(kind)
            tell(f"{kind}: started {made.jobs[kind]}")
        time.sleep(settings.poll_seconds)
        for kind in list(active):
            found = service.describe(made.jobs[kind])
            if found["ProcessingJobStatus"] not in _ENDED:
                continue
            active.remove(kind)
            folder = made.prefix if kind == NESTED else f"{made.prefix}/out/{kind}"
            left = tuple(key.removeprefix(f"{folder}/") for key in _keys(service, made.bucket, f"{folder}/seen"))
            ended[kind] = Ended(found, left=left)
            tell(f"{kind}: {found['ProcessingJobStatus']}")
        if time.monotonic() > end and (waiting or active):
            raise ScaledprocError(f"jobs of the check have not ended after {most_wait:,.0f} s: {', '.join(active)}")
    return ended


def _keys(service: Service, bucket: str, prefix: str) -> Iterator[str]:
    more: dict[str, str] = {}
    while True:
        page = service.call("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        yield from (found["Key"] for found in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _remove(service: Service, made: _Made, poll_seconds: float, tell: Callable[[str], None]) -> None:
    """Stop what runs, wait for its end, so that nothing is uploaded afterwards, then remove the files."""
    try:
        _stop(service, list(made.jobs.values()), poll_seconds)
    finally:
        keys = list(_keys(service, made.bucket, f"{made.prefix}/"))
        for start in range(0, len(keys), _PAGE):
            objects = [{"Key": key} for key in keys[start : start + _PAGE]]
            gone = service.call("s3", "delete_objects", Bucket=made.bucket, Delete={"Objects": objects, "Quiet": True})
            if gone.get("Errors"):
                tell(f"not removed: {gone['Errors'][0].get('Key')}: {gone['Errors'][0].get('Message')}")
        tell(f"removed {len(keys)} objects; the service keeps a list of the jobs, and CloudWatch their logs")


def _stop(service: Service, names: Sequence[str], poll_seconds: float) -> None:
    end = time.monotonic() + STOPPING
    left = list(names)
    for name in names:
        with suppress(ServiceError):  # one that has ended, or never was
            service.stop(name)
    while left and time.monotonic() < end:
        for name in list(left):
            try:
                is_over = service.describe(name)["ProcessingJobStatus"] in _ENDED
            except ServiceError as error:
                is_over = error.trouble in ("gone", "invalid", "denied")
            if is_over:
                left.remove(name)
        if left:
            time.sleep(min(poll_seconds, 2.0))
