"""`scaledproc sagemaker`: what this backend needs beside runs. Imports are light: each command brings its own."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from scaledproc._util.command.flags import add_command, with_options
from scaledproc.backend.settings import settings_for, with_settings
from scaledproc.errors import UsageError

from .container.order import ContainerOrder
from .settings import OF_CHECK, OF_POLICY, chosen

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _main() -> None:
    """What the backend sagemaker needs beside runs."""


@app.command()
def image(
    tag: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="The image's name, as Docker's. [dim]Default: scaledproc and its version.[/]"
        ),
    ] = None,
    base_image: Annotated[
        str | None,
        typer.Option(show_default=False, help="What to make it from. [dim]Default: a slim official Python image.[/]"),
    ] = None,
    wheelhouse: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="Folder with wheels of all that scaledproc needs. [dim]Default: pip fetches them.[/]",
        ),
    ] = None,
    platform: Annotated[str, typer.Option(help="What it is for, in Docker's words.")] = "linux/amd64",
    account: Annotated[
        str | None, typer.Option(show_default=False, help="AWS account for the push commands, 12 digits.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(show_default=False, help="AWS region for the push commands. [dim]Default: the environment's.[/]"),
    ] = None,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Whether to build it, or only print the push commands.")
    ] = True,
) -> None:
    """Build the worker's container image with Docker, and print the commands that push it to Amazon ECR."""
    from .packaging.image import BASE_IMAGE, build_image, default_tag, push_commands

    name = tag or default_tag()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/-]*(:[\w][\w.-]{0,127})?", name):
        raise UsageError(f"--tag {name!r}: give a name such as scaledproc:mine, in lower case")
    if account is not None and not re.fullmatch(r"\d{12}", account):
        raise UsageError(f"--account {account!r}: give 12 digits")
    region = region or _environments_region()
    if build:
        build_image(name, base_image=base_image or BASE_IMAGE, wheelhouse=wheelhouse, platform=platform)
    typer.echo(f"# {name} {'is built' if build else 'is not built now'}; this pushes and then uses it:")
    for command in push_commands(name, account=account or "ACCOUNT", region=region or "REGION"):
        typer.echo(command)


@app.command()
def wheelhouse(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to put the wheels.")],
) -> None:
    """Fetch what jobs in the managed image install, for --wheelhouse: they then need no package index."""
    from .packaging.bundle import fill_wheelhouse

    typer.echo(f"{fill_wheelhouse(folder)} wheels in {folder}")


@with_options(ContainerOrder)
def worker(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's folder; with --output, what was mounted of it.")],
    *,
    given: dict[str, Any],
) -> None:
    """Do jobs of a run in a container of the service: as `scaledproc worker`, from what is mounted in /opt/ml too."""
    from scaledproc._util.process.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc._util.process import startup
    from scaledproc.reporting.job_events import tell

    from .container.job import do_container_job

    startup.loaded()
    order = ContainerOrder.parse(run, given)
    tell(do_container_job(order), order.grace)


add_command(app, worker)


class For(StrEnum):
    """Whom a policy is for."""

    CALLER = "caller"
    ROLE = "role"
    TRUST = "trust"
    ALL = "all"


@app.command()
@with_settings(*OF_POLICY, backend="sagemaker")
def policy(
    dataset: Annotated[str, typer.Argument(metavar="INPUT", help="The dataset: s3://bucket/prefix.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder to write: s3://bucket/prefix.")],
    whom: Annotated[
        For,
        typer.Option("--for", help="Who starts runs; the jobs' role; who may take that role; or one object of all."),
    ] = For.ALL,
    account: Annotated[
        str | None,
        typer.Option(show_default=False, help="AWS account, 12 digits. [dim]Default: that of --role, else any.[/]"),
    ] = None,
    dataset_kms_key: Annotated[
        str | None, typer.Option(metavar="KEY", show_default=False, help="KMS key that the dataset is encrypted with.")
    ] = None,
    *,
    settings: dict[str, Any],
) -> None:
    """Print the least that IAM must allow for runs with these settings, as JSON. AWS is not asked."""
    from .iam.access import access_of
    from .iam.policy import caller_policy, policy_json, role_policy, trust_policy

    words = {"region": _environments_region(), **chosen(settings_for("sagemaker", settings), OF_POLICY)}
    access, notes = access_of(words, dataset, output, account=account, dataset_kms_key=dataset_kms_key)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    found = {"caller": caller_policy(access), "role": role_policy(access), "trust": trust_policy(access)}
    typer.echo(policy_json(found if whom is For.ALL else found[whom.value]), nl=False)


@app.command()
@with_settings(*OF_CHECK, backend="sagemaker")
def check(
    where: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where files may be put meanwhile: s3://bucket/prefix.")
    ],
    machines: Annotated[
        str, typer.Option("--machines", metavar="TYPE,TYPE", help="Two types, of which small ones do.")
    ] = "ml.t3.medium,ml.t3.large",
    limit: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="After how long a job is stopped that waits for it.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="The answers as JSON.")] = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Run four small jobs that settle what AWS does not document; tell the answers and what they cost, and clean up."""
    import json
    import signal
    from dataclasses import asdict

    from .account import sdk_defaults
    from .check.run import check_account, report_lines
    from .service import Service
    from .settings import Settings

    count = 0

    def interrupted(*_: object) -> None:
        nonlocal count
        count += 1
        if count in (1, 3):  # a second one meets what cleans up
            raise KeyboardInterrupt

    words = {**chosen(settings_for("sagemaker", settings), OF_CHECK), "instance_type": machines, "combine_local": True}
    made = Settings.parse(words).with_defaults(chosen(sdk_defaults(), OF_CHECK), frozenset(words))
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    try:
        report = check_account(
            Service(made.region, made.profile), made, where, lambda text: typer.echo(text, err=True), limit=limit
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the jobs are stopped and the files removed", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(
            json.dumps({"answers": [asdict(each) for each in report.answers], "billed": report.billed}, indent=2)
        )
    else:
        typer.echo("\n".join(report_lines(report)))
    if not report.is_settled:
        raise typer.Exit(1)


def _environments_region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
