"""CreateProcessingJob requests, as pure functions of the settings and the plan."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaledproc._util.text import ranges_text
from scaledproc.errors import UsageError
from scaledproc.run_folder.names import DONE, MAIN_TABLE, SHARDS

from ..instances import own_disk
from ..limits import MAX_ARGUMENT_LENGTH, check_request, tag_text
from ..settings import Settings
from ..volumes import combining_gb
from ..volumes import volume_gb as needed_gb

if TYPE_CHECKING:
    from scaledproc.run_folder.folder import RunFolder

PROCESSING = "/opt/ml/processing"
CODE = f"{PROCESSING}/code"
DATASET = f"{PROCESSING}/input/dataset"
SHARED = f"{PROCESSING}/input/shared"
MOUNTED = f"{PROCESSING}/run"
RESULTS = f"{PROCESSING}/output"
PROGRESS = f"{PROCESSING}/progress"

CONTROL = "control"
"""Beside the mounted shards and reports: run.json, the plan and the inventory of a run that is not in reach itself."""

TABLE = "work/table"
"""Below the run: what the last job leaves, for this machine to put in place. The run's own folder has its inputs."""

WORKER = ("scaledproc", "sagemaker", "worker")
START = "start.sh"
"""In the code bundle: installs it in a managed image, then becomes the worker."""


@dataclass(frozen=True)
class Code:
    """What is shipped beside the image.

    Parameters
    ----------
    uri
        Where it lies in S3.
    installs
        Whether it holds scaledproc itself, for an image that has none.
    modules
        Where the container finds the user's own modules, if there are any.
    extractor
        What finds the user's extractor in the container, if not what run.json says.
    """

    uri: str
    installs: bool
    modules: str | None = None
    extractor: str | None = None


MOST_TABLES = 7
"""Tables whose files the shards' jobs write: a job has ten outputs at most, and three are others."""


def tables_in_jobs(run: RunFolder) -> tuple[str, ...]:
    """The tables whose files the shards' jobs write; none where tables are single files, or too many for a job."""
    tables = (MAIN_TABLE, *run.record.tables)
    return tables if run.record.has_table_folders and len(tables) <= MOST_TABLES else ()


@dataclass(frozen=True)
class Place:
    """What all requests of a run share.

    Parameters
    ----------
    settings
        As the user has them.
    dataset, run
        URLs.
    image_uri, role, region
        As found.
    code
        What is shipped beside the image, if anything.
    storage_options
        Those that the workers are given.
    jobs
        Processes of each machine; None for all its cores.
    shared
        The URL of the list of the files that the extractor declared, where the service is to copy them.
    tables
        The tables whose files the shards' jobs write, where these are folders.
    """

    settings: Settings
    dataset: str
    run: str
    image_uri: str
    role: str
    region: str | None = None
    code: Code | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    jobs: int | None = None
    shared: str | None = None
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """What a job is to do.

    Parameters
    ----------
    key
        Names it among the run's: `s00003`, `hosts`, `keys`, `combine`.
    shards
        Macro shards; none to combine.
    size
        Bytes of their files; of the largest unit, where data is staged; for the last job, of what its disk holds.
    prefixes
        Folders below the dataset that hold just these files; none where a manifest is needed.
    manifest
        The URL of the list of their files, where they are not whole folders.
    instances
        Machines.
    parts
        For the last job: the job whose parts it puts together.
    has_shards
        For the last job: whether shards are committed already.
    reads_rows
        For the last job: whether it reads the shards, and not only what is told of them.
    """

    key: str
    shards: tuple[int, ...] = ()
    size: int = 0
    prefixes: tuple[str, ...] = ()
    manifest: str | None = None
    instances: int = 1
    parts: str | None = None
    has_shards: bool = True
    reads_rows: bool = True

    @property
    def combines(self) -> bool:
        """Whether it is the last job."""
        return not self.shards


def processing_job(place: Place, name: str, assignment: Assignment, instance_types: Sequence[str]) -> dict[str, Any]:
    """The CreateProcessingJob request for one job.

    Parameters
    ----------
    place
        What all have in common.
    name
        The job's.
    assignment
        What it does.
    instance_types
        To try in this order.

    Raises
    ------
    UsageError
        If something is longer or larger than the service takes.
    """
    settings = place.settings
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "ProcessingResources": {"ClusterConfig": _cluster(settings, assignment, instance_types)},
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_runtime_seconds},
        "AppSpecification": {
            "ImageUri": place.image_uri,
            "ContainerEntrypoint": list(WORKER if not _installs(place) else ("/bin/sh", f"{CODE}/{START}")),
            "ContainerArguments": _arguments(place, name, assignment),
        },
        "Environment": _environment(place),
        "NetworkConfig": _network(settings),
        "RoleArn": place.role,
        "ProcessingInputs": _inputs(place, assignment),
    }
    outputs = _outputs(place, name, assignment)
    if outputs:
        request["ProcessingOutputConfig"] = {"Outputs": outputs}
        if settings.output_kms_key:
            request["ProcessingOutputConfig"]["KmsKeyId"] = settings.output_kms_key
    tags = {"scaledproc:run": tag_text(place.run), **settings.tag_map}
    request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    check_request(request)
    return request


def _environment(place: Place) -> dict[str, str]:
    region = {"AWS_DEFAULT_REGION": place.region} if place.region else {}  # the service sets AWS_REGION alone
    return {"PYTHONUNBUFFERED": "1", **region, **place.settings.environment}


def is_mounted(settings: Settings, *, combines: bool = False) -> bool:
    """Whether the service copies data in and results out, so that the container needs no network.

    The last job of a detached run works in S3 itself where it has a network, so that it ends the run: nobody is there
    to put in place what it leaves.
    """
    if combines and settings.detach and not settings.network_isolation:
        return False
    return settings.input_mode != "stage" or settings.is_local


def _installs(place: Place) -> bool:
    return place.code is not None and place.code.installs


def _cluster(settings: Settings, assignment: Assignment, instance_types: Sequence[str]) -> dict[str, Any]:
    cluster: dict[str, Any] = {"InstanceCount": assignment.instances, "VolumeSizeInGB": volume_gb(settings, assignment)}
    if len(instance_types) == 1:
        cluster["InstanceType"] = instance_types[0]
    else:
        cluster["InstancePreferences"] = [{"InstanceType": each} for each in instance_types]
    _check_own_disks(cluster["VolumeSizeInGB"], instance_types, combines=assignment.combines)
    if settings.volume_kms_key:
        cluster["VolumeKmsKeyId"] = settings.volume_kms_key
    return cluster


def _check_own_disks(gb: int, instance_types: Sequence[str], *, combines: bool) -> None:
    """Refuse a volume that is larger than the disk that a machine has itself: it is given no other one."""
    for name in instance_types:
        own = own_disk(name)
        if own is not None and gb > own:
            who, advice = "a job", "--instance-type, a smaller --volume-size, or more --shards"
            if combines:
                who = "the last job"
                advice = f"--combine-instance-type, or --combine-volume-size {own} if the table is small enough"
            raise UsageError(
                f"{who} needs a disk of {gb:,} GB, and {name} has {own:,} GB of its own, beside which SageMaker gives "
                f"it no volume: give another {advice}"
            )


def volume_gb(settings: Settings, assignment: Assignment) -> int:
    """The disk of each machine: as set, or as much as its data needs."""
    if assignment.combines and settings.combine_volume_size is not None:
        return settings.combine_volume_size
    if settings.volume_size is not None:
        return settings.volume_size
    if assignment.combines:
        return combining_gb(assignment.size)
    if not is_mounted(settings):
        return needed_gb("stage", assignment.size)
    share = assignment.instances if settings.input_mode == "sharded-by-key" else 1
    return needed_gb("file", assignment.size // share)


def _arguments(place: Place, name: str, assignment: Assignment) -> list[str]:
    settings = place.settings
    mounted = is_mounted(settings, combines=assignment.combines)
    words = [MOUNTED, "--output", RESULTS] if mounted else [place.run]
    if mounted and not assignment.combines:
        words += ["--dataset", DATASET]
        words += ["--shared", SHARED] if place.shared else []
    words += _shard_words(assignment.shards)
    if assignment.combines:
        words.append("--combine")
        if assignment.parts:
            words += ["--parts", assignment.parts]
        if settings.detach and not mounted:  # else the next command puts the table in place, and ends the run
            words.append("--finish")
    elif settings.input_mode == "sharded-by-key":
        words.append("--present")
    elif assignment.instances > 1:
        words.append("--by-host")
    if not settings.is_local:
        words += ["--report", name]
    if place.code is not None and place.code.modules is not None:
        words += ["--code", place.code.modules]
    if place.code is not None and place.code.extractor is not None:
        words += ["--extractor", place.code.extractor]
    if place.jobs is not None:
        words += ["--jobs", str(place.jobs)]
    if not mounted:
        words += _option_words(place)
    return words


def _shard_words(shards: Sequence[int]) -> list[str]:
    """`--shard 0-3,7` as often as the length of an argument needs it."""
    words: list[str] = []
    for piece in ranges_text(shards).split(",") if shards else ():
        if words and len(words[-1]) + len(piece) < MAX_ARGUMENT_LENGTH:
            words[-1] += f",{piece}"
        else:
            words += ["--shard", piece]
    return words


def _option_words(place: Place) -> list[str]:
    options = dict(place.storage_options)
    encryption = encryption_options(place.settings)
    if encryption:
        options["output.s3_additional_kwargs"] = encryption
    words = []
    for key, value in options.items():
        words += ["--storage-option", f"{key}={json.dumps(value, separators=(',', ':'))}"]
    return words


def encryption_options(settings: Settings) -> dict[str, str]:
    """What every PutObject is given."""
    if not settings.output_kms_key:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.output_kms_key}


def _network(settings: Settings) -> dict[str, Any]:
    network: dict[str, Any] = {
        "EnableNetworkIsolation": settings.network_isolation,
        "EnableInterContainerTrafficEncryption": settings.encrypt_inter_container_traffic,
    }
    if settings.subnets:
        network["VpcConfig"] = {
            "Subnets": list(settings.subnets),
            "SecurityGroupIds": list(settings.security_groups),
        }
    return network


def _inputs(place: Place, assignment: Assignment) -> list[dict[str, Any]]:
    settings = place.settings
    inputs = []
    if place.code is not None:
        inputs.append(_input("code", place.code.uri, CODE))
    if not is_mounted(settings, combines=assignment.combines):
        return inputs
    inputs.append(_input("control", f"{place.run}/work/{CONTROL}/", f"{MOUNTED}/{CONTROL}"))
    if assignment.combines:
        if assignment.parts:
            inputs.append(
                _input("parts", f"{place.run}/work/parts/{assignment.parts}/", f"{MOUNTED}/parts/{assignment.parts}")
            )
        if assignment.has_shards:
            if assignment.reads_rows:
                inputs.append(_input("shards", f"{place.run}/shards/", f"{MOUNTED}/shards"))
            inputs.append(_input("done", f"{place.run}/work/done/", f"{MOUNTED}/done"))
        return inputs
    if place.shared:
        inputs.append(_manifest_input("shared", place.shared, SHARED))
    spread = "ShardedByS3Key" if settings.input_mode == "sharded-by-key" else "FullyReplicated"
    if assignment.manifest:
        made = _manifest_input("dataset", assignment.manifest, DATASET)
        made["S3Input"]["S3DataDistributionType"] = spread
        return [*inputs, made]
    for number, prefix in enumerate(assignment.prefixes):
        local = f"{DATASET}/{prefix}".rstrip("/")
        made = _input(f"dataset-{number}" if number else "dataset", f"{place.dataset}/{prefix}", local)
        made["S3Input"]["S3DataDistributionType"] = spread
        inputs.append(made)
    return inputs


def _input(name: str, uri: str, local: str) -> dict[str, Any]:
    return {"InputName": name, "AppManaged": False, "S3Input": _s3_input(uri, local)}


def _manifest_input(name: str, uri: str, local: str) -> dict[str, Any]:
    made = _input(name, uri, local)
    made["S3Input"]["S3DataType"] = "ManifestFile"
    return made


def _s3_input(uri: str, local: str) -> dict[str, Any]:
    return {
        "S3Uri": uri,
        "LocalPath": local,
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }


def _outputs(place: Place, name: str, assignment: Assignment) -> list[dict[str, Any]]:
    settings = place.settings
    if not is_mounted(settings, combines=assignment.combines):
        return []
    is_parts = settings.input_mode == "sharded-by-key" and not assignment.combines
    # A job of several shards leaves each as it is done, so that a later one that fails does not take it along.
    mode = "Continuous" if len(assignment.shards) > 1 and not is_parts and not settings.is_local else "EndOfJob"
    if is_parts:
        outputs = [_output("results", f"{place.run}/work/parts/{name}", RESULTS, mode)]
    elif assignment.combines:
        # Not the run's folder, in which its inputs lie; on this machine nothing is uploaded.
        where = place.run if settings.is_local else f"{place.run}/{TABLE}"
        outputs = [_output("results", where, RESULTS, mode)]
    else:  # not the run's folder, in which the job's own inputs lie
        outputs = [
            _output(name, f"{place.run}/{folder}", f"{RESULTS}/{folder}", mode)
            for name, folder in (("reports", DONE), ("shards", SHARDS), *((f"table-{t}", t) for t in place.tables))
        ]
    if not settings.is_local:
        outputs.append(_output("progress", f"{place.run}/work/progress", PROGRESS, "Continuous"))
    return outputs


def _output(name: str, uri: str, local: str, mode: str) -> dict[str, Any]:
    return {
        "OutputName": name,
        "AppManaged": False,
        "S3Output": {"S3Uri": uri, "LocalPath": local, "S3UploadMode": mode},
    }


@dataclass(frozen=True)
class Choice:
    """Which machines a try asks for.

    Parameters
    ----------
    attempt
        Which try it is, from 1.
    without
        Types that are known not to do.
    prefers
        Whether the service takes several types in one request.
    """

    attempt: int = 1
    without: frozenset[str] = frozenset()
    prefers: bool = True


def possible_types(settings: Settings, assignment: Assignment, without: Collection[str] = ()) -> tuple[str, ...]:
    """The machines that can do an assignment, in the user's order."""
    types = (
        (settings.combine_instance_type,) if assignment.combines and not settings.is_local else settings.instance_type
    )
    return tuple(each for each in types if each not in without)


def instance_types(settings: Settings, assignment: Assignment, choice: Choice) -> tuple[str, ...]:
    """The machines to ask for: all in order where the service tries them itself, else one after the other."""
    types = possible_types(settings, assignment, choice.without)
    return types if choice.prefers or len(types) <= 1 else (types[(choice.attempt - 1) % len(types)],)
