"""The limits of SageMaker Processing, held to while planning: a request that AWS would refuse is never sent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from scaledproc.errors import UsageError

MAX_NAME = 63
MAX_INSTANCES = 100
MAX_INPUTS = MAX_OUTPUTS = 10
MAX_ARGUMENTS = 100
MAX_ARGUMENT_LENGTH = 256
MAX_ENVIRONMENT = 100
MAX_ENVIRONMENT_LENGTH = 256
MAX_VOLUME_GB = 16_384
MAX_RUNTIME_SECONDS = 777_600
"""Nine days; SageMaker takes one day where a request names none."""
MAX_TAGS = 50
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256
MAX_PREFERENCES = 5
MAX_URI, MAX_PATH = 1_024, 256
"""Of an S3Uri and a LocalPath."""

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAG_CHARACTERS = frozenset("_.:/=+-@")


def check_name(name: str, flag: str = "job_name_prefix") -> None:
    """Refuse a job name (or the beginning of one) that SageMaker would."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{flag} {name!r}: a job's name has 1 to {MAX_NAME} of a-z, A-Z, 0-9 and -, and no - at either end"
        )


def check_instances(count: int, flag: str = "instances") -> None:
    """Refuse a number of machines that one job cannot have."""
    _within(count, 1, MAX_INSTANCES, flag, "machines in one job")


def check_volume(gb: int, flag: str = "volume_gb") -> None:
    """Refuse a volume's size."""
    _within(gb, 1, MAX_VOLUME_GB, flag, "GB")


def check_runtime(seconds: int, flag: str = "max_runtime") -> None:
    """Refuse a time limit for a job."""
    _within(seconds, 1, MAX_RUNTIME_SECONDS, flag, "seconds (nine days)")


def check_inputs(count: int, flag: str = "inputs") -> None:
    """Refuse more inputs than a job can have."""
    _within(count, 0, MAX_INPUTS, flag, "inputs of one job")


def check_outputs(count: int, flag: str = "outputs") -> None:
    """Refuse more outputs than a job can have."""
    _within(count, 0, MAX_OUTPUTS, flag, "outputs of one job")


def check_arguments(arguments: Sequence[str], flag: str = "--storage-option") -> None:
    """Refuse a container's arguments that are too many or too long.

    The flag is that of what most often makes them long; their text is not shown, for it can hold secrets.
    """
    if len(arguments) > MAX_ARGUMENTS:
        raise UsageError(f"{flag}: a job's command has {len(arguments)} arguments, and SageMaker takes {MAX_ARGUMENTS}")
    for place, argument in enumerate(arguments):
        if len(argument) > MAX_ARGUMENT_LENGTH:
            raise UsageError(
                f"{flag}: argument {place + 1} of a job's command has {len(argument)} characters, "
                f"and SageMaker takes {MAX_ARGUMENT_LENGTH}; shorten it (shorter names of folders, fewer options)"
            )
        if "\n" in argument or "\r" in argument:
            raise UsageError(
                f"{flag}: argument {place + 1} of a job's command has a line break, which SageMaker refuses"
            )


def check_environment(environment: Mapping[str, str], flag: str = "environment") -> None:
    """Refuse environment variables that are too many, too long or misnamed; values are not shown."""
    if len(environment) > MAX_ENVIRONMENT:
        raise UsageError(f"{flag}: {len(environment)} variables, and SageMaker takes {MAX_ENVIRONMENT}")
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name) or len(name) > MAX_ENVIRONMENT_LENGTH:
            raise UsageError(f"{flag}: {name!r} cannot be a variable's name; take letters, digits and _")
        if len(value) > MAX_ENVIRONMENT_LENGTH:
            raise UsageError(
                f"{flag}: the value of {name} has {len(value)} characters, and SageMaker takes {MAX_ENVIRONMENT_LENGTH}"
            )


def check_tags(tags: Mapping[str, str], flag: str = "tags") -> None:
    """Refuse tags that are too many, too long, reserved, or of other characters than AWS takes."""
    if len(tags) > MAX_TAGS:
        raise UsageError(f"{flag}: {len(tags)} tags, and SageMaker takes {MAX_TAGS}")
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise UsageError(
                f"{flag}: {key!r}: a tag's key has 1 to {MAX_TAG_KEY} characters, its value up to {MAX_TAG_VALUE}"
            )
        if key.lower().startswith("aws:"):
            raise UsageError(f"{flag}: {key!r}: tags that begin with aws: are reserved")
        for text in (key, value):
            bad = next((one for one in text if not _is_for_tags(one)), None)
            if bad is not None:
                raise UsageError(
                    f"{flag}: {text!r}: a tag cannot have {bad!r}; take letters, digits, spaces and _.:/=+-@"
                )


def check_preferences(types: Sequence[str], flag: str = "instance_types") -> None:
    """Refuse a list of types for SageMaker to choose from that is too long or names one twice."""
    if not 1 <= len(types) <= MAX_PREFERENCES:
        raise UsageError(f"{flag}: {len(types)} types to choose from, and SageMaker takes 1 to {MAX_PREFERENCES}")
    if len(set(types)) != len(types):
        raise UsageError(f"{flag}: a type is named twice")


def check_place(s3: Mapping[str, Any], name: str) -> None:
    """Refuse an input or an output whose URI or path is too long."""
    for what, most in (("S3Uri", MAX_URI), ("LocalPath", MAX_PATH)):
        length = len(s3.get(what, ""))
        if length > most:
            raise UsageError(
                f"{what} of {name!r} has {length:,} characters, and SageMaker takes {most:,}: {s3[what][:60]}…; "
                "shorten the names of folders, or give --input-mode stage"
            )


def tag_text(text: str) -> str:
    """The end of a text as a tag's value can have it: what cannot be in a tag becomes a `_`."""
    return "".join(one if _is_for_tags(one) else "_" for one in text[-MAX_TAG_VALUE:])


def check_request(request: Mapping[str, Any]) -> None:
    """Refuse a CreateProcessingJob request that is outside any of these limits.

    Raises
    ------
    UsageError
        If the request is outside a limit; the message names what to change.
    """
    check_name(str(request.get("ProcessingJobName", "")))
    cluster = request.get("ProcessingResources", {}).get("ClusterConfig", {})
    check_volume(cluster.get("VolumeSizeInGB", 1))
    check_instances(cluster.get("InstanceCount", 1))
    preferences = cluster.get("InstancePreferences")
    if preferences is not None:
        check_preferences([one["InstanceType"] for one in preferences])
        for one in preferences:
            check_instances(one.get("InstanceCount", 1))
    check_inputs(len(request.get("ProcessingInputs", ())))
    check_outputs(len(request.get("ProcessingOutputConfig", {}).get("Outputs", ())))
    for kind, ones in (
        ("Input", request.get("ProcessingInputs", ())),
        ("Output", request.get("ProcessingOutputConfig", {}).get("Outputs", ())),
    ):
        for one in ones:
            check_place(one.get(f"S3{kind}", {}), one.get(f"{kind}Name", ""))
    application = request.get("AppSpecification", {})
    check_arguments([*application.get("ContainerEntrypoint", ())])
    check_arguments([*application.get("ContainerArguments", ())])
    check_environment(request.get("Environment", {}))
    check_tags({tag["Key"]: tag["Value"] for tag in request.get("Tags", ())})
    if "StoppingCondition" in request:
        check_runtime(request["StoppingCondition"]["MaxRuntimeInSeconds"])


def _within(value: int, low: int, high: int, flag: str, what: str) -> None:
    if not low <= value <= high:
        raise UsageError(f"{flag} {value:,}: SageMaker takes {low:,} to {high:,} {what}")


def _is_for_tags(character: str) -> bool:
    return character in _TAG_CHARACTERS or unicodedata.category(character)[0] in "LNZ"
