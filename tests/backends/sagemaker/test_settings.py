"""What can be set of the backend `sagemaker`, where it comes from, and who has the last word."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from support import COMMAND, Cli, clean_environment
from typer.testing import CliRunner

from scaledproc import api
from scaledproc._util.command.config_file import read_config
from scaledproc.backends.sagemaker.backend import SageMakerBackend
from scaledproc.backends.sagemaker.settings import Settings, _setting
from scaledproc.cli.main import app
from scaledproc.errors import UsageError
from scaledproc.storage.store import Store

ROLE = "arn:aws:iam::123456789012:role/jobs"
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"
SDK = """
SchemaVersion: "1.0"
SageMaker:
  ProcessingJob:
    Tags: [{Key: team, Value: signals}, {Key: stage, Value: try}]
    RoleArn: arn:aws:iam::123456789012:role/of-the-sdk
    Environment: {MODE: sdk}
    NetworkConfig:
      EnableNetworkIsolation: false
      EnableInterContainerTrafficEncryption: true
      VpcConfig: {Subnets: [subnet-0a1b2c3d], SecurityGroupIds: [sg-0a1b2c3d]}
    ProcessingOutputConfig: {KmsKeyId: alias/of-the-sdk}
    ProcessingResources: {ClusterConfig: {VolumeKmsKeyId: alias/of-the-sdk-too}}
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder without anyone's configuration, the SDK's included."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_"))]:
        monkeypatch.delenv(name)
    for name in ("ADMIN", "USER"):
        (tmp_path / f"{name}.yaml").write_text('SchemaVersion: "1.0"\n')
        monkeypatch.setenv(f"SAGEMAKER_{name}_CONFIG_OVERRIDE", str(tmp_path / f"{name}.yaml"))
    monkeypatch.chdir(tmp_path)
    read_config.cache_clear()
    yield
    read_config.cache_clear()


Seen = Callable[..., dict[str, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What `scaledproc run` makes of words and files: the backend's settings and the run's options."""

    def run(*words: str) -> dict[str, Any]:
        caught: dict[str, Any] = {}

        def instead(dataset: str, output: str, **options: Any) -> None:
            caught.update(options)
            raise UsageError("seen")

        monkeypatch.setattr(api, "run", instead)
        result = CliRunner().invoke(app, ["run", "in", "out", *words])
        if str(result.exception) != "seen":
            raise result.exception or AssertionError(result.output)
        return caught

    return run


def settings_of(caught: dict[str, Any]) -> Settings:
    assert isinstance(caught["backend"], SageMakerBackend)
    return caught["backend"].settings


@pytest.mark.slow
def test_flags_go_before_the_file_and_the_file_before_the_sdk(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "USER.yaml").write_text(SDK)
    (tmp_path / "scaledproc.toml").write_text(
        '[run]\nbackend = "sagemaker"\n[sagemaker]\nrole = "of-the-file"\noutput-kms-key = "alias/of-the-file"\n'
        'tags = { stage = "file", cost = 7 }\ninstance_type = ["ml.c5.xlarge", "ml.m5.xlarge"]\n'
    )

    found = settings_of(seen("--role", ROLE, "--tags", "cost=8"))

    assert found.role == ROLE
    assert found.output_kms_key == "alias/of-the-file"
    assert found.volume_kms_key == "alias/of-the-sdk-too"
    assert found.subnets == ("subnet-0a1b2c3d",)
    assert found.security_groups == ("sg-0a1b2c3d",)
    assert found.encrypt_inter_container_traffic
    assert found.environment == {"MODE": "sdk"}
    assert found.tag_map == {"team": "signals", "stage": "try", "cost": "8"}  # a flag replaces the file's table
    assert found.instance_type == ("ml.c5.xlarge", "ml.m5.xlarge")


def test_every_word_of_the_file(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "scaledproc.toml").write_text(
        f"""
        [run]
        backend = "sagemaker"
        jobs = 3
        include = "30/**"
        exclude = ["*.txt", "*.md"]
        max-failures = "5%"
        shards = 4
        quiet = true
        json = true
        storage-option = ["input.anon=true"]
        [sagemaker]
        network-isolation = true
        input-mode = "file"
        env = {{ THREADS = 1, MODE = "quick" }}
        tags = {{ team = "signals" }}
        subnets = ["subnet-0a1b2c3d", "subnet-0a1b2c3e"]
        security_groups = "sg-0a1b2c3d"
        max_runtime = 7200
        retry_wait = 5
        max-cost = 12.5
        volume-kms-key = "{KEY}"
        """
    )

    caught = seen()
    found = settings_of(caught)

    assert (caught["include"], list(caught["exclude"]), str(caught["shards"])) == (["30/**"], ["*.txt", "*.md"], "4")
    assert caught["storage_options"] == {"input.anon": True}
    assert caught["backend"].cores == 3
    assert found.network_isolation
    assert found.environment == {"THREADS": "1", "MODE": "quick"}
    assert found.tag_map == {"team": "signals"}
    assert found.subnets == ("subnet-0a1b2c3d", "subnet-0a1b2c3e")
    assert found.max_runtime_seconds == 7200
    assert (found.retry_wait, found.max_cost) == (5.0, 12.5)
    assert found.volume_kms_key == KEY


@pytest.mark.slow
def test_what_is_on_in_a_file_can_be_switched_off(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "USER.yaml").write_text(SDK)
    (tmp_path / "scaledproc.toml").write_text(
        '[run]\nbackend = "sagemaker"\n[sagemaker]\ninput_mode = "file"\nnetwork_isolation = true\n'
        "encrypt_inter_container_traffic = false\nsubnets = []\nsecurity_groups = []\n"
    )

    assert settings_of(seen()).network_isolation
    found = settings_of(seen("--no-network-isolation"))

    assert not found.network_isolation
    assert not found.encrypt_inter_container_traffic  # though the SDK's configuration has it
    assert found.subnets == ()


@pytest.mark.slow
def test_the_sdks_isolation_is_named_where_it_does_not_fit(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "USER.yaml").write_text(SDK.replace("Isolation: false", "Isolation: true"))

    with pytest.raises(UsageError, match=r"--input-mode file.*SageMaker SDK's configuration.*network_isolation"):
        settings_of(seen("--backend", "sagemaker"))
    assert not settings_of(seen("--backend", "sagemaker", "--no-network-isolation")).network_isolation


def test_a_configuration_that_the_sdk_refuses(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "USER.yaml").write_text('SchemaVersion: "1.0"\nSageMaker: {ProcessingJob: {RoleArn: 7}}\n')

    with pytest.raises(UsageError, match="SageMaker SDK's configuration"):
        settings_of(seen("--backend", "sagemaker"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sagemaker]\nrolle = 'x'\n", "rolle"),
        ("[sagemaker\n", "cannot be read"),
        ("[sagmaker]\nrole = 'x'\n", "sagmaker"),
        ("backend = 'sagemaker'\n", "below .run."),
        ("[run]\noverwrite = true\n", "overwrite"),
        ("[run]\ndataset = 'x'\n", "dataset"),
        ("[run]\nrole = 'x'\n", "role"),
        ("[run]\nlimit = [1]\n", "limit"),
        ("[run]\ninclude = {a = 1}\n", "include"),
        ("[sagemaker]\nrole = true\n", "--role"),
        ("[sagemaker]\nrole = ['x']\n", "--role"),
        ("[sagemaker]\ninstances = '1x'\n", "--instances"),
        ("[sagemaker]\ninstances = true\n", "--instances"),
        ("[sagemaker]\ninstances = 1.5\n", "--instances"),
        ("[sagemaker]\nmax_cost = nan\n", "--max-cost"),
        ("[sagemaker]\nretry_wait = inf\n", "--retry-wait"),
        ("[sagemaker]\nmax_cost = true\n", "--max-cost"),
        ("[sagemaker]\ndetach = 'yes'\n", "--detach"),
        ("[sagemaker]\ntags = ['team']\n", "--tags"),
        ("[sagemaker]\ntags = { team = ['x'] }\n", "--tags"),
        ("[sagemaker]\nsubnets = { a = 'subnet-0a1b2c3d' }\n", "--subnets"),
    ],
)
def test_a_file_that_is_wrong(seen: Seen, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "scaledproc.toml").write_text(text)

    with pytest.raises(UsageError, match=words):
        settings_of(seen("--backend", "sagemaker"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--role", "a b"), "--role"),
        (("--instance-type", "ml.m5.huge"), "ml.m5.huge"),
        (("--instance-type", "ml.m5.large,ml.m5.large"), "--instance-type"),
        (("--instance-type", "local,ml.m5.large"), "--instance-type local"),
        (("--instance-type", "local"), "--image-uri"),
        (("--instances", "0"), "--instances"),
        (("--instances", "101"), "--instances"),
        (("--max-parallel-jobs", "0"), "--max-parallel-jobs"),
        (("--input-mode", "pipe"), "--input-mode"),
        (("--combine-instance-type", "m5.large"), "--combine-instance-type"),
        (("--volume-size", "0"), "--volume-size"),
        (("--max-runtime", "10w"), "--max-runtime"),
        (("--max-runtime", "10d"), "--max-runtime"),
        (("--retries", "-1"), "--retries"),
        (("--retry-wait", "-1"), "--retry-wait"),
        (("--poll-seconds", "nan"), "--poll-seconds"),
        (("--max-cost", "-1"), "--max-cost"),
        (("--calibrate", "0"), "--calibrate"),
        (("--volume-kms-key", "mine"), "--volume-kms-key"),
        (("--output-kms-key", "mine"), "--output-kms-key"),
        (("--subnets", "subnet-1"), "--subnets"),
        (("--subnets", "subnet-0a1b2c3d"), "--security-groups"),
        (("--security-groups", "sg_1"), "--security-groups"),
        (("--network-isolation",), "--network-isolation"),
        (("--tags", "aws:x=1"), "--tags"),
        (("--tags", "team"), "--tags"),
        (("--env", "1X=1"), "--env"),
        (("--env", f"X={'x' * 257}"), "--env"),
        (("--job-name-prefix", "-x"), "--job-name-prefix"),
        (("--job-name-prefix", "x" * 31), "--job-name-prefix"),
        (("--detach", "--combine-local"), "--combine-local"),
        (("--wheelhouse", "nowhere"), "--wheelhouse"),
        (("--image-uri", "no image"), "--image-uri"),
        (("--region", "europe"), "--region"),
    ],
)
def test_one_error_that_names_the_flag(seen: Seen, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        settings_of(seen("--backend", "sagemaker", *words))
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class MoreSettings(Settings):  # type: ignore[misc]  # mypy knows it as `backends`
    """As they are after someone added some: a field each, and nothing else."""

    count: int = _setting(2, "A number of things.", least=1)
    share: float | None = _setting(None, "A share.")
    is_on: bool = _setting(False, "Whether it is on.")
    ids: tuple[str, ...] = _setting((), "Some ids.", splits=True)
    marks: tuple[str, ...] = _setting((), "Some pairs.", pairs=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"count": "3"}, 3),
        ({"share": 0.5}, 0.5),
        ({"share": "1"}, 1.0),
        ({"is_on": True}, True),
        ({"ids": "a,b"}, ("a", "b")),
        ({"marks": {"a": 1}}, ("a=1",)),
        ({"marks": "a=1,2"}, ("a=1,2",)),
    ],
)
def test_a_setting_is_a_field_and_nothing_else(words: dict[str, Any], expected: object) -> None:
    (name,) = words
    found = getattr(MoreSettings.parse(words), name)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"count": 0}, "--count 0: give 1 or more"),
        ({"count": 1.5}, "--count 1.5 cannot be used"),
        ({"share": "nan"}, "--share nan: give 0 or more"),
        ({"is_on": "no"}, "--is-on 'no' cannot be used"),
        ({"ids": {"a": 1}}, "--ids {'a': 1} cannot be used"),
    ],
)
def test_a_setting_is_checked_by_its_field(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MoreSettings.parse(words)


def test_flags_of_another_backend(seen: Seen) -> None:
    with pytest.raises(UsageError, match="--role is for --backend sagemaker, this is --backend local"):
        seen("--role", ROLE)
    with pytest.raises(UsageError, match=r"--detach is for --backend sagemaker"):
        seen("--backend", "dry-run", "--no-detach")


def test_every_setting_is_a_flag_with_help_in_the_backends_panel() -> None:
    result = CliRunner().invoke(
        app, ["run", "--backend", "sagemaker", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}
    )

    assert result.exit_code == 0
    panel = result.output.split("Backend sagemaker")[1]
    for field in fields(Settings):
        shared = field.name in ("retries", "detach", "poll_seconds")  # which other backends have too
        assert f" --{'sagemaker-' if shared else ''}{field.name.replace('_', '-')}" in panel, field.name
        assert field.metadata["help"][:20] in panel, field.name


LIGHT = """
import sys
{code}
heavy = sorted({{"boto3", "botocore", "sagemaker"}} & set(sys.modules))
assert not heavy, heavy
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import scaledproc; scaledproc.run; scaledproc.plan; scaledproc.Backend",
        (
            "from typer.testing import CliRunner; from scaledproc.cli.main import app\n"
            "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
            "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0"
        ),
        (
            "from typer.testing import CliRunner; from scaledproc.cli.main import app\n"
            "assert CliRunner().invoke(app, ['--backend', 'local', '--jobs', '1', '--quiet']).exit_code == 0"
        ),
    ],
    ids=["import", "help", "local"],
)
def test_aws_is_not_imported(tmp_path: Path, code: str) -> None:
    (tmp_path / "scaledproc.toml").write_text("[sagemaker]\nregion = 'eu-west-1'\n")

    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(code=code)], capture_output=True, text=True, env=clean_environment()
    )

    assert done.returncode == 0, done.stderr


def test_help_answers_at_once(tmp_path: Path) -> None:
    """In a few times what its libraries take to load: in turn, as the machine may be busy."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for is_ours in (True, False) * 4:
        words = [*COMMAND, "--help"] if is_ours else [sys.executable, "-c", "import typer, rich.console"]
        started = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=clean_environment())
        took[is_ours].append(time.perf_counter() - started)
    assert min(took[True]) < max(0.35, 4 * min(took[False]), 4 * statistics.median(took[False]))


def test_settings_are_kept_for_status_and_stop(seen: Seen) -> None:
    backend = seen("--backend", "sagemaker", "--region", "eu-west-1", "--role", ROLE, "--env", "SECRET=1")["backend"]

    record = json.loads(json.dumps(backend.record()))

    assert record["settings"]["region"] == "eu-west-1"
    assert "SECRET" not in json.dumps(record)
    assert SageMakerBackend.recall(record, {}).settings.region == "eu-west-1"


@pytest.mark.parametrize(
    ("where", "words", "options"),
    [
        ("s3://bucket/out", {"profile": "work", "region": "eu-west-1"}, {"profile": "work"}),
        ("s3://bucket/out", {"profile": None}, {}),
        ("s3://bucket/out", {}, {}),
        ("memory://out", {"profile": "work"}, {}),
        ("s3", {"profile": "work"}, {}),  # a folder
    ],
)
def test_a_runs_folder_is_opened_with_the_profile(
    monkeypatch: pytest.MonkeyPatch, where: str, words: dict[str, Any], options: dict[str, Any]
) -> None:
    """Which backend has the run is not known before its run.json is read."""
    opened: list[tuple[str, dict[str, Any]]] = []

    def at(place: str, given: dict[str, Any]) -> None:
        opened.append((place, dict(given)))
        raise UsageError("seen")

    monkeypatch.setattr(Store, "at", at)
    with pytest.raises(UsageError, match="seen"):
        api.status(where, settings=words)
    with pytest.raises(UsageError, match="seen"):
        api.stop(where, settings=words, storage_options={"output.profile": "mine"})
    assert opened == [(where, options), (where, {**options, "profile": "mine"})]


def test_without_the_extra_the_command_that_installs_it_is_told(cli: Cli, tmp_path: Path) -> None:
    hidden = "('sagemaker', 'boto3')"
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        f"u.find_spec = lambda name, package=None: None if name in {hidden} else real(name, package)\n"
    )
    done = cli("--backend", "sagemaker", "s3://a/b", "s3://c/d", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert "pip install 'scaledproc[sagemaker]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["retry_wait", "poll_seconds"])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30", 30.0), (30, 30.0), (0.5, 0.5), ("30s", 30.0), ("5min", 300.0), ("1h", 3600.0), ("0", 0.0)],
)
def test_times_have_units_and_plain_numbers_are_seconds(name: str, value: object, seconds: float) -> None:
    assert getattr(Settings.parse({name: value}), name) == seconds


@pytest.mark.parametrize("value", ["soon", "5 weeks", "-1", -1, True, "nan", float("inf")])
def test_a_time_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match=r"--retry-wait .*: give seconds such as 30, or a time such as 90s"):
        Settings.parse({"retry_wait": value})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"detach": True, "retries": 30}, "takes 20 at most"),
        ({"instance_type": "ml.r5d.large", "volume_kms_key": "alias/disks"}, "has a disk of its own"),
        ({"max_wait": "long"}, "--max-wait 'long'"),
    ],
)
def test_what_the_service_would_refuse_later(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Settings.parse(given)
