"""The command line: words in, exit code out; no logic of its own."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from scaledproc._util import startup
from scaledproc._util.entry_points import plugins
from scaledproc.cli.backend_flags import declared, settings_for, with_settings
from scaledproc.cli.config_file import NAME, check_tables, table
from scaledproc.cli.job_events import parse_options, tell
from scaledproc.errors import RunInterruptedError, ScaledprocError, UsageError

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan

COMMANDS = "scaledproc.commands"  # the group of entry points: Typer apps
DEMO = "scaledproc-demo"
TOO_MANY_FAILURES = 3


class _RunByDefault(TyperGroup):
    """`scaledproc INPUT OUTPUT` is `scaledproc run INPUT OUTPUT`. A plug-in's command is imported when it is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"-h", "--help", "--version", "--install-completion", "--show-completion"}
        if args and args[0] not in self.commands and args[0] not in own:
            points = plugins(COMMANDS, args[0])
            for point in points:
                self.add_command(typer.main.get_command(point.load()), point.name)
            if not points:
                self._refuse_misspelt(args[0])
                args = ["run", *args]
        ctx.default_map = _configured(self.commands)
        return super().parse_args(ctx, args)

    def _refuse_misspelt(self, word: str) -> None:
        """See that a word that is no command is not meant to be one; what exists is an INPUT, whatever it is called."""
        if not re.fullmatch(r"[A-Za-z-]+", word) or word.startswith("-") or Path(word).exists():
            return
        from difflib import get_close_matches

        names = [*self.commands, *(point.name for point in plugins(COMMANDS))]
        if found := get_close_matches(word.lower(), names, n=1, cutoff=0.7):
            raise UsageError(f"there is neither a command nor a folder {word!r}: is {found[0]!r} meant?")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for point in plugins(COMMANDS):
            self.add_command(
                TyperCommand(point.name, help=f"More commands; see scaledproc {point.name} --help."), point.name
            )
        super().format_help(ctx, formatter)


def _configured(commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `[run]` in scaledproc.toml sets, for the commands that have such options."""
    check_tables(["run", *declared()])
    # By their flags, so that --json is `json` there too; as click has them, `many` can be repeated.
    flags = {
        name: {_flag_of(param): param for param in commands[name].params if param.param_type_name == "option"}
        for name in ("run", "plan")
    }
    own = {name for name in flags["run"] if name not in {f.name for found in declared().values() for f in found}}
    values = table("run", own - {"help", "overwrite"})
    return {name: _for_click(values, known) for name, known in flags.items()}


def _flag_of(param: Any) -> str:
    return str(max(param.opts, key=len)).lstrip("-").replace("-", "_")


def _for_click(values: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        if isinstance(value, dict) or (isinstance(value, list) and name in flags and not flags[name].multiple):
            raise UsageError(f"{NAME}: [run] {name}: give one value, not {value!r}")
        if name in flags:
            found[flags[name].name] = [value] if flags[name].multiple and not isinstance(value, list) else value
    return found


def _from_file(ctx: typer.Context, option: str) -> bool:
    """Whether an option has its value from scaledproc.toml."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "DEFAULT_MAP"


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="[bold]scaledproc --backend local[/] alone runs on a small demo dataset that it makes.",
)

Dataset = Annotated[
    str | None,
    typer.Argument(
        metavar="[INPUT]",
        show_default=False,
        help="The dataset: a folder or a URL such as s3://bucket/prefix. Without it, a demo dataset.",
    ),
]
Output = Annotated[
    str | None, typer.Argument(metavar="[OUTPUT]", show_default=False, help="The folder to write: a path or a URL.")
]
Extractor = Annotated[
    str, typer.Option(help="A built-in's name, [bold]package.module:name[/] or [bold]path/to/file.py:name[/].")
]
Unit = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="What must stay together: folder, stem, file, or a regular expression with a group named unit. "
        "[dim]Default: the extractor's.[/]",
    ),
]
Anchor = Annotated[
    list[str] | None,
    typer.Option(
        show_default=False,
        help="Glob of the files that start a task; can be repeated. [dim]Default: the extractor's.[/]",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(show_default=False, help="Only files that match this glob ('30/**', '*.hea'); can be repeated."),
]
Exclude = Annotated[
    list[str] | None, typer.Option(show_default=False, help="No files that match this glob; can be repeated.")
]
Only = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        show_default=False,
        help="Only the records, folders or subjects that this file lists: one a line, or in a column of a CSV file.",
    ),
]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Take files and folders too whose names begin with a dot, such as .git.")
]
Limit = Annotated[int | None, typer.Option(show_default=False, help="Only so many units, for a try.")]
Shards = Annotated[
    str, typer.Option(help="Cut for machines: folder (one per top folder), a number, or a size such as 50GB.")
]
Chunk = Annotated[str, typer.Option(help="Cut for cores: auto, per-core, a number of tasks, or a size such as 64MB.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        show_default=False,
        help="Processes; 1 without limits works in this one. [dim]Default: the cores that this process may use.[/]",
    ),
]
InventoryFile = Annotated[
    str | None,
    typer.Option(
        "--inventory",
        metavar="FILE|URL",
        show_default=False,
        help="Plan by this list instead of listing INPUT: a file of [bold]scaledproc inventory[/], or the "
        "manifest.json of an Amazon S3 Inventory report.",
    ),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        show_default=False,
        help="For the fsspec filesystem, such as anon=true; input.KEY or output.KEY for one side; can be repeated.",
    ),
]
SignalNamesFile = Annotated[
    Path | None,
    typer.Option("--signal-names", show_default=False, help="Table of canonical signal names (TOML), or built-in."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Turn a tree of interdependent files into one Parquet table of features.

    [bold]scaledproc --backend local INPUT OUTPUT[/] runs the whole job; the same command again continues after a
    stop. See [bold]scaledproc run --help[/] for all its options.
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"scaledproc {installed('scaledproc')}")
        raise typer.Exit


@app.command()
@with_settings()
def run(
    ctx: typer.Context,
    dataset: Dataset = None,
    output: Output = None,
    backend: Annotated[str, typer.Option(help="Where jobs run: local, sagemaker, dry-run or a plug-in's.")] = "local",
    extractor: Extractor = "wfdb-summary",
    unit: Unit = None,
    anchor: Anchor = None,
    include: Include = None,
    exclude: Exclude = None,
    only: Only = None,
    hidden: Hidden = False,
    limit: Limit = None,
    shards: Shards = "folder",
    chunk: Chunk = "auto",
    jobs: Jobs = None,
    max_failures: Annotated[
        str, typer.Option(metavar="N|P%", help="Quarantined tasks that are still a success.")
    ] = "0",
    task_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            show_default=False,
            help="End a task that takes longer, such as 90s or 5m. [dim]Default: never.[/]",
        ),
    ] = None,
    memory_per_worker: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            show_default=False,
            help="Memory that a worker process may take, such as 2GB. [dim]Default: no limit.[/]",
        ),
    ] = None,
    task_retries: Annotated[
        int,
        typer.Option(
            metavar="N", help="How often a failed task is tried again; one that ended its process is, once, anyway."
        ),
    ] = 0,
    worker_lifespan: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=False,
            help="Replace a worker process after so many chunks. [dim]Default: when it has grown.[/]",
        ),
    ] = None,
    inventory: InventoryFile = None,
    signal_names: SignalNamesFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away a run that is in OUTPUT.")] = False,
    storage_option: StorageOption = None,
    scratch: Annotated[Path | None, typer.Option(show_default=False, help="Folder to stage remote data in.")] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            show_default="30",
            help="Time to finish the chunks at work, after Ctrl-C or SIGTERM; a second one leaves at once.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Run the whole job: INPUT in, one table of features in OUTPUT (the command when none is named).

    The same command again continues after a stop. Exit codes: 0 all tasks done or failures within --max-failures,
    3 more tasks quarantined than that, 1 the run failed, 2 wrong usage, 4 another run is at work on OUTPUT, 130 and
    143 after Ctrl-C and SIGTERM.
    """
    allowed = _parse_max_failures(max_failures)
    from scaledproc._util.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc._util.signals import GRACE
    from scaledproc._util.units import parse_seconds
    from scaledproc.reporting import terminal

    startup.loaded()
    patience = GRACE if grace is None else parse_seconds(grace, "--grace", least=0)
    machine = api.make_backend(backend, jobs, scratch, settings_for(backend, settings))
    if dataset is None:
        dataset, output = _demo(quiet=quiet or as_json), DEMO
    elif output is None:
        raise UsageError("name the folder to write: scaledproc --backend local INPUT OUTPUT")
    with (
        terminal.choose(quiet=quiet, as_json=as_json) as display,
        _failure_told(display.listen if as_json else None),
        _continuable(patience),
    ):
        if _from_file(ctx, "chunk"):
            from scaledproc.events import Note

            display.listen(Note(f"cut for cores: --chunk {chunk}, from {NAME}"))
        done = api.run(
            dataset,
            output,
            extractor=extractor,
            unit=unit,
            anchors=anchor or (),
            include=include or (),
            exclude=exclude or (),
            only=only,
            hidden=hidden,
            limit=limit,
            shards=shards,
            chunk=chunk,
            backend=machine,
            signal_names=signal_names,
            overwrite=overwrite,
            task_timeout=task_timeout,
            memory_per_worker=memory_per_worker,
            task_retries=task_retries,
            worker_lifespan=worker_lifespan,
            inventory=inventory,
            storage_options=parse_options(storage_option),
            on_event=_Results(display.listen, silent=as_json).listen,
            ask=partial(_ask, display.pause),
        )
    if done.record.state != "done":
        return
    tasks = done.record.counts["tasks"]
    if done.quarantined > (allowed if isinstance(allowed, int) else allowed * tasks):
        raise typer.Exit(TOO_MANY_FAILURES)


@app.command()
@with_settings()
def plan(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="INPUT", help="The dataset: a folder or a URL.")],
    extractor: Extractor = "wfdb-summary",
    unit: Unit = None,
    anchor: Anchor = None,
    include: Include = None,
    exclude: Exclude = None,
    only: Only = None,
    hidden: Hidden = False,
    limit: Limit = None,
    shards: Shards = "folder",
    chunk: Chunk = "auto",
    jobs: Jobs = None,
    backend: Annotated[str, typer.Option(help="Where the jobs would run.")] = "local",
    inventory: InventoryFile = None,
    storage_option: StorageOption = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Show what a run would do: shards, sizes, balance, chunks, warnings; with sagemaker its time and price too."""
    from scaledproc._util.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc.reporting.text import plan_json, plan_text

    startup.loaded()
    machine = api.make_backend(backend, jobs, None, settings_for(backend, settings))
    on = machine.cores
    options = parse_options(storage_option)
    with contextlib.redirect_stdout(sys.stderr):  # what an extractor's module prints is not the plan
        made: Plan = api.plan(
            dataset,
            extractor=extractor,
            unit=unit,
            anchors=anchor or (),
            include=include or (),
            exclude=exclude or (),
            only=only,
            hidden=hidden,
            limit=limit,
            shards=shards,
            chunk=chunk,
            jobs=on,
            inventory=inventory,
            storage_options=options,
        )
        expected = api.expect(made, machine, dataset, extractor, storage_options=options) if made.n_tasks else None
    lines = [] if expected is None else list(expected.lines)
    source = NAME if _from_file(ctx, "chunk") else None
    if source and made.n_tasks:
        lines.insert(0, f"cut for cores: --chunk {chunk}, from {source}")
    content = (
        plan_json(made, on)
        | {"chunk": chunk, "chunk_from": source}
        | ({} if expected is None else {"expected": expected.content})
    )
    _show(json.dumps(content, indent=1) if as_json else "\n".join([plan_text(made, on), *lines]))
    if not made.n_tasks:
        raise typer.Exit(1)


@app.command("inventory")
def save_inventory(
    dataset: Annotated[str, typer.Argument(metavar="INPUT", help="The dataset: a folder or a URL.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The Parquet file to write: a path or a URL.")],
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    inventory: InventoryFile = None,
    storage_option: StorageOption = None,
) -> None:
    """List INPUT into FILE, which plan and run take with --inventory instead of listing INPUT again."""
    from scaledproc import api
    from scaledproc._util.text import bytes_text, clean_text, count_text

    startup.loaded()
    found = api.save_inventory(
        dataset,
        file,
        include=include or (),
        exclude=exclude or (),
        hidden=hidden,
        inventory=inventory,
        storage_options=parse_options(storage_option),
    )
    for note in found.notes:
        typer.echo(f"note: {clean_text(note)}", err=True)
    typer.echo(f"{count_text(found.files.num_rows, 'file')} ({bytes_text(found.size)}) in {clean_text(file)}")


@app.command()
def combine(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of a run.")],
    signal_names: SignalNamesFile = None,
    storage_option: StorageOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the table and the summaries of a run anew from its shards, without extracting again."""
    from scaledproc._util.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc import api
    from scaledproc.reporting import terminal

    startup.loaded()
    display = terminal.JsonProgress() if as_json else terminal.Progress() if quiet else terminal.PlainProgress()
    with display:
        api.combine(
            output,
            signal_names=signal_names,
            storage_options=parse_options(storage_option),
            on_event=display.listen,
        )


@app.command()
def verify(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of a finished run.")],
    inventory: Annotated[
        bool, typer.Option("--inventory", help="List the dataset too: are its files what the run listed?")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option(show_default=False, help="Where the dataset is now; implies --inventory.")
    ] = None,
    storage_option: StorageOption = None,
    as_json: AsJson = False,
) -> None:
    """Check a finished run against its plan: each task accounted for once, each file as it was written.

    All of OUTPUT is read. Exit codes: 0 all is well, 1 something is wrong.
    """
    from dataclasses import asdict

    from scaledproc import api
    from scaledproc.reporting.text import verified_text

    startup.loaded()
    found = api.verify(output, dataset=dataset, inventory=inventory, storage_options=parse_options(storage_option))
    _show(json.dumps({**asdict(found), "ok": found.ok}, indent=1) if as_json else verified_text(found))
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def worker(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run that was begun.")],
    shard: Annotated[
        list[str] | None,
        typer.Option(metavar="N|N-M,…", show_default=False, help="Macro shards to make; can be repeated."),
    ] = None,
    combine: Annotated[bool, typer.Option("--combine", help="Combine the shards.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="End the run after combining: nobody watches.")] = False,
    extractor: Annotated[str | None, typer.Option(show_default=False, help="Where the extractor is here.")] = None,
    code: Annotated[str | None, typer.Option(show_default=False, help="Folder of modules for the extractor.")] = None,
    report: Annotated[str | None, typer.Option(show_default=False, help="Tell how it goes on.")] = None,
    jobs: Jobs = None,
    storage_option: StorageOption = None,
    scratch: Annotated[Path | None, typer.Option(show_default=False, help="Folder to stage remote data in.")] = None,
    grace: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", show_default="90", help="Time to finish chunks at work, when told to end."),
    ] = None,
) -> None:
    """Do jobs of a run on this machine, as a backend's machines do; tells what happened as JSON."""
    from scaledproc._util.lazy_pandas import defer_pandas

    defer_pandas()
    from scaledproc.api import split_options
    from scaledproc.engine.job import JobOrder, do_job, parse_shards

    startup.loaded()
    inputs, outputs = split_options(parse_options(storage_option))
    order = JobOrder(
        run=run,
        shards=parse_shards(shard or ()),
        combine=combine,
        finish=finish,
        extractor=extractor,
        code=code,
        report=report,
        jobs=jobs,
        scratch=scratch,
        inputs=inputs,
        outputs=outputs,
    )
    tell(do_job(order), grace)


@app.command()
@with_settings("region", "profile")
def status(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of a run.")],
    storage_option: StorageOption = None,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Show how far a run is: which shards are done, at work, waiting, failed. From any machine that reads OUTPUT."""
    from scaledproc import api
    from scaledproc.reporting.text import status_json, status_text

    startup.loaded()
    found = api.status(output, storage_options=parse_options(storage_option), settings=settings)
    _show(json.dumps(status_json(found), indent=1) if as_json else status_text(found))


@app.command()
@with_settings("region", "profile")
def stop(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The folder of a run.")],
    storage_option: StorageOption = None,
    *,
    settings: dict[str, Any],
) -> None:
    """Stop the jobs of a run on a backend's machines. What they committed stays; the run's command continues."""
    from scaledproc import api
    from scaledproc._util.text import count_text

    startup.loaded()
    count = api.stop(output, storage_options=parse_options(storage_option), settings=settings)
    typer.echo(f"{count_text(count, 'job')} told to stop" if count else "no job was at work")


@app.command()
def fetch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder, a URL, or a PhysioNet database such as [bold]mimic3wdb/1.0[/]."
        ),
    ],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The folder to copy to: a path or a URL.")],
    groups: Annotated[
        str | None, typer.Option(show_default=False, help="Only these top folders: 30-39, or 30,32,35-37.")
    ] = None,
    records: Annotated[
        int | None, typer.Option(show_default=False, help="Only so many records (or folders of files) of each.")
    ] = None,
    limit: Annotated[int | None, typer.Option(show_default=False, help="Only so many records altogether.")] = None,
    include: Include = None,
    exclude: Exclude = None,
    only: Only = None,
    parallel: Annotated[int, typer.Option(help="Files at once; a public server is thankful for few.")] = 4,
    base_url: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="Where the databases lie, for mirrors. [dim]Default: https://physionet.org/files.[/]",
        ),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="For databases that need credentials. [dim]Default: PHYSIONET_USERNAME; the password is "
            "PHYSIONET_PASSWORD.[/]",
        ),
    ] = None,
    storage_option: StorageOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Copy a dataset, or a part of it, to a folder or to S3: from PhysioNet or from any folder or URL.

    The same command again fetches only what is not there. Exit codes: 0 all is there, 1 something could not be
    fetched, 2 wrong usage.
    """
    from dataclasses import asdict

    from scaledproc import api
    from scaledproc.fetching.defaults import PHYSIONET
    from scaledproc.reporting import fetch_terminal

    startup.loaded()
    with fetch_terminal.choose(quiet=quiet, as_json=as_json) as display, _continuable():
        done = api.fetch(
            source,
            dest,
            groups=groups,
            records=records,
            limit=limit,
            include=include or (),
            exclude=exclude or (),
            only=only,
            parallel=parallel,
            base_url=base_url or PHYSIONET,
            username=username,
            storage_options=parse_options(storage_option),
            on_event=display.listen,
        )
    typer.echo(json.dumps(asdict(done)) if as_json else fetch_terminal.finished_text(done))
    if done.failed:
        raise typer.Exit(1)


@contextlib.contextmanager
def _continuable(grace: float = 0.0) -> Iterator[None]:
    """End in words at SIGINT and SIGTERM, after so many seconds for what is at work."""
    from scaledproc._util.signals import listening

    with listening(grace) as asked:
        try:
            yield
        except KeyboardInterrupt:
            words = ["scaledproc", *(_without_secret(word) for word in sys.argv[1:] if word != "--overwrite")]
            raise RunInterruptedError(
                f"interrupted; what is committed is kept, this continues: {shlex.join(words)}",
                asked.signal or signal.SIGINT,
            ) from None


@contextlib.contextmanager
def _failure_told(listen: Callable[[Any], None] | None) -> Iterator[None]:
    """Tell a program of an error that ends the command, besides what standard error says."""
    try:
        yield
    except ScaledprocError as error:
        if listen is not None:
            from scaledproc._util.redaction import redacted
            from scaledproc.events import RunFailed

            listen(RunFailed(type(error).__name__, redacted(str(error)), error.exit_code, error.differences))
        raise


def _without_secret(word: str) -> str:
    """A word of the command line as it may be shown: storage options can be keys and passwords."""
    from scaledproc.storage.store import redacted

    key, equals, _ = word.removeprefix("--storage-option=").partition("=")
    is_option = equals and re.fullmatch(r"[\w.]+", key)
    return f"{key}=***" if is_option else redacted(word)


def _show(text: str) -> None:
    """Write what a command is there to tell.

    Raises
    ------
    ScaledprocError
        Standard output cannot be written. A reader that is gone (`| head`) wanted no more.
    """
    from scaledproc._util.streams import lost_output

    typer.echo(text)
    sys.stdout.flush()
    if (error := lost_output()) is not None:
        raise ScaledprocError(f"standard output cannot be written: {error.strerror}")


def _ask(pause: Callable[[], None], question: str) -> bool:
    """Ask a person; no where none is there."""
    from scaledproc._util.signals import stopping

    if not sys.stdin.isatty() or stopping().signal == signal.SIGTERM:
        return False
    pause()
    try:
        return typer.confirm(question, err=True)
    except (typer.Abort, KeyboardInterrupt):
        return False


class _Results:
    """Shows the end of a run on standard output, after the progress display has heard of everything."""

    def __init__(self, listen: Any, *, silent: bool) -> None:
        self._listen = listen
        self._silent = silent

    def listen(self, event: Any) -> None:
        self._listen(event)
        if not self._silent:
            from scaledproc.events import Detached, RunFinished
            from scaledproc.reporting.text import finished_text

            if isinstance(event, RunFinished):
                typer.echo(finished_text(event))
            elif isinstance(event, Detached):
                typer.echo(f"{event.text}\nscaledproc status {event.output} shows how far it is")


def _demo(*, quiet: bool) -> str:
    from scaledproc.demo import write_demo
    from scaledproc.storage.store import describe

    folder = Path(DEMO) / "dataset"
    if not quiet:
        what = "using" if folder.exists() else "making"
        typer.echo(f"no INPUT was given: {what} a small MIMIC-III-shaped demo dataset in {folder}", err=True)
    try:
        return str(write_demo(folder))
    except OSError as error:
        raise ScaledprocError(f"the demo dataset cannot be written to {folder}: {describe(error)}") from None


def _parse_max_failures(text: str) -> int | float:
    """A number of tasks, or a share of them."""
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if 0 <= share <= 1:
                return share
        elif int(text) >= 0:
            return int(text)
    except ValueError:
        pass
    raise UsageError(f"--max-failures {text!r}: give a number of tasks such as 10, or a share such as 5%")


def _check_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(f"the working folder is gone ({error.strerror}): cd into one that is there") from None


def main() -> None:
    """Run the command that this process was started with."""
    from scaledproc._util.machine import raise_file_limit, shortage
    from scaledproc._util.streams import keep_streams

    keep_streams()
    startup.begin()
    raise_file_limit()
    try:
        _check_folder()
        app()
    except ScaledprocError as error:
        from scaledproc._util.redaction import redacted
        from scaledproc._util.text import clean_text

        typer.echo(f"scaledproc: {clean_text(redacted(str(error)))}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if (reason := shortage(error)) is not None:
            typer.echo(f"scaledproc: {type(error).__name__}: {reason}", err=True)
            sys.exit(1)
        # Our own fault: as Python shows it, but for what must not be shown.
        import traceback

        from scaledproc._util.redaction import redacted

        typer.echo(redacted(traceback.format_exc()), err=True, nl=False)
        sys.exit(1)
