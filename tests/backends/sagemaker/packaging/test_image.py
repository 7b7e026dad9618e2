"""The worker's container image: how it is made, and that a container does a job as this machine does it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import Cli, tree_bytes

import scaledproc
from scaledproc.backends.sagemaker.packaging.image import Python, make_context, push_commands, requirements
from scaledproc.backends.sagemaker.packaging.wheel import project_wheel
from scaledproc.engine.provenance import versions
from scaledproc.events import Event, RunStarted

PYTHON = ("--entrypoint=/opt/scaledproc/bin/python",)


def container(image: str, *words: str | Path, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run an image without any network."""
    command = ["docker", "run", "--rm", "--network=none", *flags, image, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.docker
@pytest.mark.slow  # as the first one builds the image
class TestImage:
    def test_it_is_the_worker(self, worker_image: str) -> None:
        result = container(worker_image, "--help")
        assert result.returncode == 0, result.stderr
        assert "scaledproc sagemaker worker" in result.stdout
        assert container(worker_image, "/nothing", "--shard", "0").returncode == 1

    def test_it_has_what_the_worker_needs_and_no_more(self, worker_image: str) -> None:
        code = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
        found = container(worker_image, "-c", code, flags=PYTHON).stdout.split()
        assert {"scaledproc", "pyarrow", "s3fs", "wfdb"} <= set(found)
        assert not {"sagemaker", "boto3", "pip", "setuptools", "pytest"} & set(found)

    def test_it_has_no_tools_and_no_leftovers(self, worker_image: str) -> None:
        look = (
            "for tool in gcc cc g++ make git; do command -v $tool; done; "
            "for left in /context /root/.cache /opt/project; do test -e $left && echo $left; done; "
            "find /opt/scaledproc '(' -name tests -o -name .git -o -name '*.whl' ')'"
        )
        found = container(worker_image, "-c", look, flags=("--entrypoint=sh",))
        assert found.stdout == ""

    def test_its_libraries_are_those_of_this_machine(self, worker_image: str) -> None:
        code = "import json; from scaledproc.engine.provenance import versions; print(json.dumps(versions()))"
        found = json.loads(container(worker_image, "-c", code, flags=PYTHON).stdout)
        assert {**found, "python": ""} == {**versions(), "python": ""}

    def test_it_runs_as_root(self, worker_image: str) -> None:
        assert container(worker_image, "-u", flags=("--entrypoint=id",)).stdout.strip() == "0"

    def test_a_container_makes_the_same_bytes(self, worker_image: str, demo: Path, tmp_path: Path) -> None:
        expected = scaledproc.run(demo, tmp_path / "here", jobs=1, shards=2)
        assert expected.record.counts["rows"] > 0

        def stop(event: Event) -> None:
            if isinstance(event, RunStarted):
                raise KeyboardInterrupt

        run = tmp_path / "there"
        with pytest.raises(KeyboardInterrupt):
            scaledproc.run(demo, run, jobs=1, shards=2, on_event=stop)
        mounts = (f"--volume={demo}:{demo}:ro", f"--volume={run}:{run}")
        for words in (("--shard", "1"), ("--shard", "0"), ("--combine",)):
            result = container(worker_image, run, *words, flags=mounts)
            assert result.returncode == 0, result.stderr
        here, there = tree_bytes(tmp_path / "here"), tree_bytes(run)
        for name in ("features.parquet", "signal_stats.csv", "shards/00000.parquet", "shards/00001.parquet"):
            assert there[name] == here[name], name


@pytest.mark.docker
class TestRefusals:
    @pytest.mark.slow
    def test_no_such_base_image(self, docker: None, cli: Cli) -> None:
        result = cli("sagemaker", "image", "--base-image", "127.0.0.1:9/none:none")
        assert result.returncode == 1
        assert "127.0.0.1:9" in result.stderr
        assert result.stderr.splitlines()[-1] == "scaledproc: docker pull failed; it says above why"
        assert "Traceback" not in result.stderr

    @pytest.mark.slow
    def test_a_wheelhouse_that_lacks_wheels(self, base_image: str, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "wheels").mkdir()
        project_wheel(tmp_path / "wheels")
        result = cli("sagemaker", "image", "--base-image", base_image, "--wheelhouse", "wheels", "--tag", "lacking")
        assert result.returncode == 1
        assert "No matching distribution found for" in result.stderr + result.stdout
        assert result.stderr.splitlines()[-1] == "scaledproc: docker build failed; it says above why"

    @pytest.mark.slow
    def test_docker_that_does_not_run(self, docker: None, cli: Cli, tmp_path: Path) -> None:
        result = cli("sagemaker", "image", env={"DOCKER_HOST": f"unix://{tmp_path}/none"})
        assert result.returncode == 1
        assert result.stderr.startswith("scaledproc: Docker is installed but does not answer; start it.")
        assert len(result.stderr.splitlines()) == 1


def test_what_the_build_is_given(tmp_path: Path) -> None:
    """The package alone: no tests, no history, no development tools, nothing of who builds it."""
    make_context(tmp_path)
    (wheel,) = (tmp_path / "project").iterdir()
    assert {path.name for path in tmp_path.iterdir()} == {"Dockerfile", "project", "requirements.txt", "wheelhouse"}
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"scaledproc"}
        assert not [name for name in archive.namelist() if "test_" in name or name.endswith((".pyc", ".env", ".git"))]
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in requirements()}  # type: ignore[index]
    assert {"pyarrow", "wfdb", "s3fs"} <= names
    assert not names & {"pytest", "hypothesis", "bandit", "pip-audit", "mypy", "ruff", "moto", "boto3", "sagemaker"}


@pytest.mark.slow
def test_no_docker(cli: Cli, tmp_path: Path) -> None:
    result = cli("sagemaker", "image", env={"PATH": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr == "scaledproc: this needs Docker, and there is no command `docker` here; install it\n"


def test_push_commands(cli: Cli) -> None:
    result = cli(
        *("sagemaker", "image", "--no-build", "--tag", "ours/worker:2"),
        *("--account", "123456789012", "--region", "eu-west-1"),
    )
    uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1:] == [
        "aws ecr create-repository --region eu-west-1 --repository-name ours/worker  # once",
        f"aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin {uri}",
        f"docker tag ours/worker:2 {uri}/ours/worker:2",
        f"docker push {uri}/ours/worker:2",
        f"scaledproc --backend sagemaker --image-uri {uri}/ours/worker:2 INPUT OUTPUT",
    ]


def test_push_commands_for_china() -> None:
    assert " 1.dkr.ecr.cn-north-1.amazonaws.com.cn" in push_commands("x", account="1", region="cn-north-1")[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tag", "Not A Tag"), "--tag 'Not A Tag': give a name"),
        (("--account", "12"), "--account '12': give 12 digits"),
    ],
)
def test_wrong_usage(cli: Cli, options: tuple[str, ...], words: str) -> None:
    result = cli("sagemaker", "image", "--no-build", *options)
    assert result.returncode == 2
    assert words in result.stderr


def test_platforms_of_a_base_image() -> None:
    names = Python("3.12", "x86_64", 28).platforms
    assert names[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} < set(names)
    assert "manylinux_2_34_x86_64" not in names


@pytest.mark.slow
def test_the_command_is_listed_but_not_imported() -> None:
    code = (
        "import sys; from scaledproc.cli.main import main\n"
        "sys.argv[1:] = ['--help']\ntry: main()\nexcept SystemExit: pass\n"
        "print('imported:', [name for name in ('scaledproc.backends.sagemaker.cli', 'boto3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sagemaker" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported: []"
