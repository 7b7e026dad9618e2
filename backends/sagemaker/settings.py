"""What a user can set of the backend `sagemaker`: from flags, `scaledproc.toml`, or the SageMaker SDK's own defaults.

Light to import: the command line reads its flags from here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from scaledproc._util.options import Declared, declared
from scaledproc._util.units import parse_seconds
from scaledproc.errors import UsageError

from .instances import find_instance, own_disk
from .limits import (
    check_environment,
    check_instances,
    check_preferences,
    check_runtime,
    check_tags,
    check_volume,
)

if TYPE_CHECKING:
    from .cost.prices import Price

OF_POLICY = (
    *("role", "image_uri", "instance_type", "combine_instance_type", "detach", "volume_kms_key", "output_kms_key"),
    *("subnets", "security_groups", "region", "job_name_prefix"),
)
"""The settings that IAM policies depend on: all that `scaledproc sagemaker policy` takes, wherever they are set."""
OF_CHECK = (
    *("role", "image_uri", "volume_kms_key", "output_kms_key", "subnets", "security_groups", "tags", "region"),
    *("profile", "job_name_prefix", "price", "poll_seconds"),
)
"""The settings that `scaledproc sagemaker check` takes, wherever they are set."""
InputMode = Literal["stage", "file", "sharded-by-key"]
LOCAL = "local"
"""As an instance type: the SDK's local mode, containers on this machine."""
MAX_SECURITY_GROUPS, MAX_SUBNETS = 5, 16
MAX_PIPELINE_RETRIES = 20
"""The SDK's MAX_ATTEMPTS_CAP for a step's RetryPolicies."""
MAX_WAIT = 30 * 86_400.0  # seconds
MAX_PREFIX = 30  # letters of a job's name, which has 63

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+|[\w+=,.@-]{1,64}")
_KMS_KEY = re.compile(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(?:key|alias)/[\w/-]+|alias/[\w/-]+|(?:mrk-)?[0-9a-f-]{32,40}"
)


def _setting(
    default: Any,
    help: str,  # noqa: A002 - as the command line calls it
    metavar: str | None = None,
    *,
    unit: str = "",
    default_text: str = "",
    least: int = 0,
    splits: bool = False,
    pairs: bool = False,
    recall: bool = False,
    opens: str = "",
    is_time: bool = False,
) -> Any:
    """A field: its annotation says what its values are.

    Parameters
    ----------
    default, help, metavar, unit, default_text
        As `scaledproc._util.options.option` has them.
    least
        The least value of a number.
    splits
        Whether several texts may be given in one word, with commas.
    pairs
        Whether texts are pairs, which a file may have as a table.
    recall
        Whether the jobs of a run cannot be asked without it.
    opens
        The protocol of the URLs that cannot be opened without it: it is an argument of their filesystem, too.
    is_time
        Whether it is seconds, or a text with a unit such as `5min`.
    """
    accepts = "str | float" if is_time else ""
    return field(default=default, metadata={key: value for key, value in locals().items() if key != "default"})


@dataclass(frozen=True)
class Settings:
    """Where and how the jobs run. `parse` makes one of what a person wrote; every value is checked there.

    Each field is a flag of the command line, a key of `[sagemaker]` in `scaledproc.toml`, and a keyword of
    `SageMakerBackend`.
    """

    role: str | None = _setting(None, "IAM role that the jobs take on: an ARN or a name.", "ARN")
    image_uri: str | None = _setting(None, "Container image; without it, an AWS-managed one and this code.", "URI")
    instance_type: tuple[str, ...] = _setting(
        ("ml.m5.4xlarge",),
        "Machines; further ones are tried in order when there is no capacity. local: Docker here.",
        "TYPE",
        splits=True,
    )
    instances: int | None = _setting(None, "One job on so many machines, instead of one job for each shard.", least=1)
    max_parallel_jobs: int = _setting(10, "Jobs at once; the next one starts when one ends.", least=1)
    input_mode: InputMode = _setting("stage", "How data gets to a machine: stage, file or sharded-by-key.")  # noqa: RUF009 - a field
    combine_instance_type: str = _setting("ml.m5.large", "Machine of the last job.", "TYPE")
    combine_local: bool = _setting(False, "Combine on this machine instead.")
    volume_size: int | None = _setting(
        None, "Disk of each machine.", "GB", unit="GB", default_text="what the plan needs", least=1
    )
    combine_volume_size: int | None = _setting(
        None,
        "Disk of the last job's machine.",
        "GB",
        unit="GB",
        default_text="--volume-size, else what is needed",
        least=1,
    )
    max_runtime: str = _setting("1d", "Longest time of a job, such as 90m, 12h or 2d.", "TIME")
    retries: int = _setting(2, "How often a job is tried again.")
    retry_wait: float = _setting(
        30.0, "Pause before the first retry, such as 30s or 5min; it doubles.", "SECONDS", unit="seconds", is_time=True
    )
    max_wait: str = _setting("6h", "Longest wait for a quota or for capacity, such as 30m, 6h or 2d.", "TIME")
    detach: bool = _setting(False, "Hand the run to a SageMaker pipeline and return.")
    keep_pipeline: bool = _setting(False, "Keep the pipeline of a run that has ended well.")
    max_cost: float | None = _setting(None, "Refuse a run that is expected to cost more.", "USD", unit="USD")
    price: tuple[str, ...] = _setting(
        (),
        "US dollars an hour of a type, where the price is not known or another; can be repeated.",
        "TYPE=USD",
        pairs=True,
    )
    s3_route: str | None = _setting(
        None,
        "What a VPC has between the jobs and S3: gateway, nat or interface (endpoint).",
        "WAY",
        default_text="nat with --subnets, the dearest",
    )
    calibrate: int | None = _setting(
        None, "Run so many tasks here first, to know how long the rest takes.", "N", least=1
    )
    volume_kms_key: str | None = _setting(None, "KMS key for the machines' disks.", "KEY")
    output_kms_key: str | None = _setting(None, "KMS key for every object that is written.", "KEY")
    subnets: tuple[str, ...] = _setting((), "VPC subnet; can be repeated.", "ID", splits=True)
    security_groups: tuple[str, ...] = _setting((), "VPC security group; can be repeated.", "ID", splits=True)
    network_isolation: bool = _setting(False, "No network for the containers; needs --input-mode file.")
    encrypt_inter_container_traffic: bool = _setting(False, "Encrypt what machines of one job send each other.")
    tags: tuple[str, ...] = _setting((), "Tag for jobs; can be repeated.", "KEY=VALUE", pairs=True)
    env: tuple[str, ...] = _setting(
        (), "Environment variable for the workers; can be repeated.", "KEY=VALUE", pairs=True
    )
    region: str | None = _setting(
        None, "AWS region.", "REGION", default_text="the environment's or the profile's", recall=True
    )
    profile: str | None = _setting(None, "AWS profile for this machine's own calls.", "NAME", recall=True, opens="s3")
    job_name_prefix: str = _setting("scaledproc", "How the jobs' names begin.", "NAME")
    wheelhouse: str | None = _setting(None, "Folder of wheels for jobs without a way to a package index.", "FOLDER")
    poll_seconds: float = _setting(
        10.0, "Pause between two looks at the jobs, such as 10s or 1min.", "SECONDS", unit="seconds", is_time=True
    )

    @classmethod
    def parse(cls, words: Mapping[str, Any]) -> Settings:
        """From what a person wrote: strings, numbers, lists.

        Raises
        ------
        UsageError
            If there is no such setting, or it cannot have its value.
        """
        known = {each.name: each for each in declared(cls)}
        for name in words:
            if name not in known:
                raise UsageError(f"the backend sagemaker has no setting {name!r}; there are: {', '.join(known)}")
        made = cls(**{name: _convert(known[name], value) for name, value in words.items() if value is not None})
        made.check()
        return made

    def with_defaults(self, defaults: Mapping[str, Any], given: Collection[str]) -> Settings:
        """The settings, with these values where a person gave none; tags are added to those that a person gave.

        Parameters
        ----------
        defaults
            By the settings' names.
        given
            What a person set, if only to `false` or to nothing.

        Raises
        ------
        UsageError
            If a setting cannot have its default, alone or together with what a person set.
        """
        known = {each.name: each for each in declared(type(self))}
        values = {name: _convert(known[name], value) for name, value in defaults.items()}
        if "tags" in values:
            merged = {**_pairs("tags", values["tags"]), **self.tag_map}
            values["tags"] = tuple(f"{key}={value}" for key, value in merged.items())
        filled = replace(self, **{name: v for name, v in values.items() if name == "tags" or name not in given})
        filled.check()
        return filled

    @property
    def is_local(self) -> bool:
        """Whether containers run on this machine."""
        return self.instance_type == (LOCAL,)

    @property
    def max_runtime_seconds(self) -> int:
        """The longest time of a job."""
        choices = "a time such as 90m, 12h or 2d"
        return int(parse_seconds(self.max_runtime, "--max-runtime", least=0, most=inf, choices=choices))

    @property
    def max_wait_seconds(self) -> float:
        """How long machines are waited for that are not to be had."""
        choices = "a time such as 30m, 6h or 2d"
        return parse_seconds(self.max_wait, "--max-wait", least=0, most=MAX_WAIT, choices=choices)

    @property
    def tag_map(self) -> dict[str, str]:
        """Tags by key."""
        return _pairs("tags", self.tags)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by name."""
        return _pairs("env", self.env)

    @property
    def prices(self) -> dict[str, Price]:
        """Those that a person gave, by type."""
        from .cost.prices import given_prices

        return given_prices(_pairs("price", self.price), self.region or "")

    def check(self) -> None:
        """See whether the values can be, alone and together.

        Raises
        ------
        UsageError
            If a setting cannot have its value, or two of them exclude each other.
        """
        self._check_values()
        self._check_security()
        if bool(self.subnets) != bool(self.security_groups):
            raise UsageError("--subnets and --security-groups go together: give both or neither")
        if self.network_isolation and self.input_mode == "stage" and not self.is_local:
            raise UsageError(
                "--network-isolation leaves a worker no way to S3: give --input-mode file, or sharded-by-key"
            )
        if self.detach and self.is_local:
            raise UsageError("--detach is for jobs in the cloud, not for --instance-type local")
        if self.detach and self.retries > MAX_PIPELINE_RETRIES:
            raise UsageError(f"--retries {self.retries}: a pipeline (--detach) takes {MAX_PIPELINE_RETRIES} at most")
        if self.detach and self.combine_local:
            raise UsageError("--detach and --combine-local: nobody would be here to combine")
        if self.is_local and self.image_uri is None:
            raise UsageError(
                "--instance-type local needs an image on this machine: --image-uri scaledproc (scaledproc sagemaker "
                "image makes one)"
            )

    def _check_values(self) -> None:
        for setting in declared(type(self)):
            value, least = getattr(self, setting.name), setting.about["least"]
            is_number = setting.kind in ("integer", "number") and value is not None
            if is_number and not least <= value < inf:  # which nan is not either
                raise UsageError(f"{setting.flag} {value}: give {least} or more")
        if self.instances is not None:
            check_instances(self.instances, "--instances")
        if self.volume_size is not None:
            check_volume(self.volume_size, "--volume-size")
        if self.combine_volume_size is not None:
            check_volume(self.combine_volume_size, "--combine-volume-size")
        check_runtime(self.max_runtime_seconds, "--max-runtime")
        _ = self.max_wait_seconds  # which refuses what is no time
        if self.input_mode not in get_args(InputMode):
            raise UsageError(f"--input-mode {self.input_mode!r}: give {', '.join(get_args(InputMode))}")
        _ = self.prices
        from .cost.charges import check_route

        check_route(self.s3_route)
        check_preferences(self.instance_type, "--instance-type")
        for flag, types in (
            ("--instance-type", self.instance_type),
            ("--combine-instance-type", (self.combine_instance_type,)),
        ):
            for each in types:
                if each != LOCAL or flag != "--instance-type":
                    _check_type(each, flag)
        if LOCAL in self.instance_type and len(self.instance_type) > 1:
            raise UsageError("--instance-type local has no alternatives")
        prefix = self.job_name_prefix
        if not re.fullmatch(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*", prefix) or len(prefix) > MAX_PREFIX:
            raise UsageError(f"--job-name-prefix {self.job_name_prefix!r}: letters, digits and hyphens, at most 30")
        if self.region is not None and not re.fullmatch(r"[a-z]{2,5}(-[a-z]+)+-\d{1,2}", self.region):
            raise UsageError(f"--region {self.region!r} is no AWS region, such as eu-west-1")
        if self.image_uri is not None and not re.fullmatch(r"\S{1,255}", self.image_uri):
            raise UsageError(f"--image-uri {self.image_uri!r} is no image's name")
        if self.wheelhouse is not None and not any(Path(self.wheelhouse).expanduser().glob("*.whl")):
            raise UsageError(f"--wheelhouse {self.wheelhouse}: there are no wheels in it (*.whl)")

    def _check_security(self) -> None:
        if self.role is not None and not _ROLE.fullmatch(self.role):
            raise UsageError(f"--role {self.role!r} is neither the ARN nor the name of an IAM role")
        for name in ("volume_kms_key", "output_kms_key"):
            key = getattr(self, name)
            if key is not None and not _KMS_KEY.fullmatch(key):
                raise UsageError(f"{_flag(name)} {key!r} is no KMS key: give its ARN, its id or alias/NAME")
        for name, pattern, most in (
            ("subnets", r"subnet-[0-9a-f]{8,17}", MAX_SUBNETS),
            ("security_groups", r"sg-[0-9a-f]{8,17}", MAX_SECURITY_GROUPS),
        ):
            values = getattr(self, name)
            strange = [value for value in values if not re.fullmatch(pattern, value)]
            if strange:
                raise UsageError(f"{_flag(name)} {strange[0]!r}: ids look like {pattern[: pattern.index('[')]}0abc1234")
            if len(values) > most:
                raise UsageError(f"{_flag(name)}: at most {most}")
        with_disks = [each for each in (*self.instance_type, self.combine_instance_type) if own_disk(each)]
        if self.volume_kms_key is not None and with_disks:
            raise UsageError(
                f"--volume-kms-key: {with_disks[0]} has a disk of its own, which is encrypted in hardware, and "
                "SageMaker takes no key for it: leave the key out, or give another type"
            )
        check_tags(self.tag_map, "--tags")
        for key in self.environment:
            if not re.fullmatch(r"[a-zA-Z_]\w{0,255}", key):
                raise UsageError(f"--env {key!r} is no name of an environment variable")
        check_environment(self.environment, "--env")


def chosen(words: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Those of some settings that have these names: a command that takes no others is not to fail for them."""
    return {name: value for name, value in words.items() if name in names}


def _check_type(name: str, flag: str) -> None:
    try:
        find_instance(name)
    except UsageError as error:
        raise UsageError(f"{flag} {name}: {error}") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pairs(name: str, words: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{_flag(name)} {word!r}: give KEY=VALUE")
        pairs[key] = value
    return pairs


def _convert(setting: Declared, value: Any) -> Any:
    """A value as its field has it; a table becomes pairs, one word a tuple of one."""
    if setting.about["is_time"]:
        return parse_seconds(str(value), setting.flag, least=0)
    try:
        match setting.kind:
            case "texts":
                if isinstance(value, Mapping) and setting.about["pairs"]:
                    return tuple(f"{key}={_word(item)}" for key, item in value.items())
                words = [value] if isinstance(value, str) else [_word(item) for item in _listed(value)]
                parts = [part for word in words for part in (word.split(",") if setting.about["splits"] else [word])]
                return tuple(part.strip() for part in parts if part.strip())
            case "flag":
                return _as_flag(value)
            case "integer":
                if isinstance(value, bool) or int(value) != float(value):
                    raise ValueError
                return int(value)
            case "number":
                if isinstance(value, bool):
                    raise TypeError(value)
                return float(value)
            case "text":
                return _word(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"{setting.flag} {value!r} cannot be used: see scaledproc run --backend sagemaker --help"
        ) from None


def _word(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(value)
    return str(value)


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return list(value)


def _as_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value
