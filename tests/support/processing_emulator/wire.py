"""AWS's wire: errors, and botocore's own service models, by which requests and answers are checked."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import botocore.session
from botocore.validate import ParamValidator

Json = dict[str, Any]
Item = TypeVar("Item")


class AwsError(Exception):
    """What a caller is answered: an AWS error code with a message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message, status)
        self.code, self.message, self.status = code, message, status

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


@cache
def session() -> Any:
    """One session of botocore for all emulators: each reads the services' models, megabytes of JSON, anew."""
    return botocore.session.get_session()


@cache
def model(service: str) -> Any:
    """Botocore's model of a service, which holds every shape with its limits."""
    return session().get_service_model(service)


def check_request(service: str, action: str, request: Json) -> None:
    """Refuse what the service's model does not allow, in the words of the service."""
    shape = model(service).operation_model(action).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(request, shape).generate_report()
    for line in report.splitlines():
        if line.startswith("Invalid type"):
            raise AwsError("SerializationException", line)
        if line.startswith("Unknown parameter"):  # the service may pass over it; a test is to hear of it
            raise invalid(line)
    if found := list(_violations(request, shape, "")):
        plural = "s" if len(found) > 1 else ""
        raise invalid(f"{len(found)} validation error{plural} detected: {'; '.join(found)}")


def check_answer(service: str, action: str, answer: Json) -> None:
    """Fail where an answer is not of the form that the service's model gives."""
    shape = model(service).operation_model(action).output_shape
    if shape is None:
        assert not answer, f"{action} answers nothing, not {answer}"
        return
    report = ParamValidator().validate(answer, shape)
    assert not report.has_errors(), f"{action} answers what it cannot: {report.generate_report()}"


def _violations(value: Any, shape: Any, path: str) -> Iterator[str]:
    """The limits that a value of the right type breaks."""
    limits = shape.metadata
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"Value null at '{_below(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, inner in value.items():
            if inner is not None:
                yield from _violations(inner, shape.members[name], _below(path, name))
    elif shape.type_name == "list":
        yield from _length(value, limits, path)
        for number, inner in enumerate(value, 1):
            yield from _violations(inner, shape.member, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _length(value, limits, path)
        for name, inner in value.items():
            yield from _violations(name, shape.key, f"{path}.{name}.key")
            yield from _violations(inner, shape.value, f"{path}.{name}.member")
    elif shape.type_name == "string":
        yield from _length(value, limits, path)
        if "enum" in limits and value not in limits["enum"]:
            yield _broken(value, path, f"satisfy enum value set: [{', '.join(limits['enum'])}]")
        if "pattern" in limits and not _pattern(limits["pattern"]).fullmatch(value):
            yield _broken(value, path, f"satisfy regular expression pattern: {limits['pattern']}")
    elif shape.type_name in ("integer", "long", "float", "double"):
        if value < limits.get("min", value):
            yield _broken(value, path, f"have value greater than or equal to {limits['min']}")
        if value > limits.get("max", value):
            yield _broken(value, path, f"have value less than or equal to {limits['max']}")


def _length(value: Any, limits: Json, path: str) -> Iterator[str]:
    if len(value) < limits.get("min", 0):
        yield _broken(value, path, f"have length greater than or equal to {limits['min']}")
    if len(value) > limits.get("max", len(value)):
        yield _broken(value, path, f"have length less than or equal to {limits['max']}")


def _broken(value: object, path: str, must: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {must}"


def _below(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """A Java pattern for Python: its classes of letters and digits have no other name here than `\\w`."""
    return re.compile(text.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\d").replace(r"\p{Z}", r"\s"))


def now() -> datetime:
    return datetime.now(UTC)


def as_json(answer: Json) -> bytes:
    """An answer's body: JSON 1.1, with times as seconds since 1970."""
    return json.dumps(answer, default=lambda time: round(time.timestamp(), 3)).encode()


def as_time(value: float | str | None) -> datetime | None:
    """A time in a request."""
    return None if value is None else datetime.fromtimestamp(float(value), UTC)


def page(items: Sequence[Item], limit: int, token: str | None) -> tuple[list[Item], str | None]:
    """One page of a list, and the token of the next one."""
    start = 0
    if token:
        try:
            start = int(base64.b64decode(token, validate=True).decode().removeprefix("from "))
        except ValueError as error:
            raise invalid(f"Invalid NextToken: {token}") from error
    end = start + limit
    following = base64.b64encode(f"from {end}".encode()).decode() if end < len(items) else None
    return list(items[start:end]), following


def without_none(content: Json) -> Json:
    return {name: value for name, value in content.items() if value is not None}
