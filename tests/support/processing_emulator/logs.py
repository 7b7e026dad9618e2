"""CloudWatch Logs, as far as processing jobs go: one stream for each host, `<job>/algo-<number>`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .jobs import Job
from .wire import AwsError, Json, invalid, page, without_none

GROUP = "/aws/sagemaker/ProcessingJobs"
Event = tuple[str, int, str]  # stream, milliseconds, text


def describe_streams(jobs: Sequence[Job], request: Json) -> Json:
    """DescribeLogStreams. A host's stream begins with its first line."""
    streams = _streams(jobs, request)
    prefix = request.get("logStreamNamePrefix", "")
    found: list[Json] = [
        {
            "logStreamName": name,
            "creationTime": events[0][1],
            "firstEventTimestamp": events[0][1],
            "lastEventTimestamp": events[-1][1],
            "lastIngestionTime": events[-1][1],
        }
        for name, events in sorted(streams.items())
        if name.startswith(prefix)
    ]
    if request.get("orderBy") == "LastEventTime":
        if prefix:
            raise AwsError("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")
        found.sort(key=lambda stream: stream["lastEventTimestamp"])
    if request.get("descending"):
        found.reverse()
    some, token = page(found, request.get("limit", 50), request.get("nextToken"))
    return without_none({"logStreams": some, "nextToken": token})


def get_events(jobs: Sequence[Job], request: Json) -> Json:
    """GetLogEvents. At the end, the token that came is given back."""
    streams = _streams(jobs, request)
    if request["logStreamName"] not in streams:
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    events = _between(streams[request["logStreamName"]], request)
    limit = request.get("limit", 10_000)
    if token := request.get("nextToken"):
        if not re.fullmatch(r"[fb]/\d+", token):
            raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
        at = int(token[2:])
        start, end = (at, min(at + limit, len(events))) if token[0] == "f" else (max(at - limit, 0), at)
    elif request.get("startFromHead"):
        start, end = 0, min(limit, len(events))
    else:
        start, end = max(len(events) - limit, 0), len(events)
    return {
        "events": [{"timestamp": at, "ingestionTime": at, "message": text} for _, at, text in events[start:end]],
        "nextForwardToken": f"f/{end}",
        "nextBackwardToken": f"b/{start}",
    }


def filter_events(jobs: Sequence[Job], request: Json) -> Json:
    """FilterLogEvents, with patterns of plain or quoted words, all or (`?word ?word`) any of which are to be there."""
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix", "")
    if names is not None and prefix:
        raise AwsError("InvalidParameterException", "Specify either logStreamNames or logStreamNamePrefix.")
    streams = _streams(jobs, request)
    found = [
        event
        for name, events in sorted(streams.items())
        if name.startswith(prefix) and (names is None or name in names)
        for event in _between(events, request)
        if _fits(event[2], request.get("filterPattern", ""))
    ]
    found.sort(key=lambda event: event[1])
    some, token = page(found, request.get("limit", 10_000), request.get("nextToken"))
    events = [
        {"logStreamName": name, "timestamp": at, "ingestionTime": at, "message": text, "eventId": f"{name}/{at}"}
        for name, at, text in some
    ]
    return without_none({"events": events, "searchedLogStreams": [], "nextToken": token})


def _streams(jobs: Sequence[Job], request: Json) -> dict[str, list[Event]]:
    group = request.get("logGroupName") or request.get("logGroupIdentifier", "").rpartition(":")[2]
    streams = {}
    for job in jobs:
        for host in job.hosts:
            if lines := list(host.lines):
                name = f"{job.name}/{host.name}-{int(job.created.timestamp())}"
                streams[name] = [(name, at, text) for at, text in lines]
    if group != GROUP or not streams:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return streams


def _between(events: list[Event], request: Json) -> list[Event]:
    start, end = request.get("startTime", 0), request.get("endTime")
    return [event for event in events if event[1] >= start and (end is None or event[1] < end)]


def _fits(text: str, pattern: str) -> bool:
    if pattern.startswith(("{", "[", "%", "-")):
        raise invalid(f"The filter pattern is not emulated: {pattern}")
    words = [(mark, quoted or plain) for mark, quoted, plain in re.findall(r'(\??)(?:"([^"]*)"|(\S+))', pattern)]
    some_of = [word for mark, word in words if mark]
    return all(word in text for mark, word in words if not mark) and (
        not some_of or any(word in text for word in some_of)
    )
