"""A job on a machine that has no way to the run's folder: parts of it mounted, results left for the service."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import tree_bytes

import scaledproc
from scaledproc.backends.sagemaker.container.job import do_container_job
from scaledproc.backends.sagemaker.container.order import ContainerOrder
from scaledproc.events import Event, RunStarted, ShardDone
from scaledproc.run_folder.names import INVENTORY, PLAN, RECORD
from scaledproc.testing import PROBE, write_probe_dataset


def stop(event: Event) -> None:
    if isinstance(event, RunStarted):
        raise KeyboardInterrupt


def test_a_shard_is_left_as_soon_as_it_is_done(tmp_path: Path) -> None:
    """What fails or is stopped afterwards does not take it along."""
    data = write_probe_dataset(tmp_path / "data")
    expected = scaledproc.run(data, tmp_path / "expected", extractor=PROBE, shards=2, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        scaledproc.run(data, tmp_path / "run", extractor=PROBE, shards=2, jobs=1, on_event=stop)
    (tmp_path / "mounted/control").mkdir(parents=True)
    for name in (RECORD, PLAN, INVENTORY):
        shutil.copy(tmp_path / "run" / name, tmp_path / "mounted/control" / name)
    output = tmp_path / "output"
    order = ContainerOrder(str(tmp_path / "mounted"), shards=(0, 1), jobs=1, dataset=str(data), output=str(output))
    events = do_container_job(order)
    first = next(event for event in events if isinstance(event, ShardDone)).shard
    events.close()  # as an error in the next shard would
    left = tree_bytes(output)
    table = f"shards/{first:05d}.parquet"
    assert set(left) == {table, f"work/done/{first:05d}.json", f"work/done/{first:05d}.errors.parquet"}
    assert left[table] == expected.store.read(table)


def test_the_container_takes_every_flag_of_a_worker() -> None:
    """They are declared once: what one command line asks of a machine, another can."""
    import typer

    from scaledproc.backends.sagemaker.cli import app as own
    from scaledproc.cli.main import app

    def flags(of: typer.Typer) -> dict[str, str]:
        command = typer.main.get_command(of).commands["worker"]  # type: ignore[attr-defined]
        return {each.opts[0]: each.help for each in command.params if each.param_type_name == "option"}

    assert len(flags(app)) >= 10
    assert flags(app).items() <= flags(own).items()
    assert set(flags(own)) - set(flags(app)) == {
        *("--by-host", "--present", "--parts", "--dataset", "--output", "--shared"),
    }
