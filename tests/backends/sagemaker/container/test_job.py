"""A job on a machine that has no way to the run's folder: parts of it mounted, results left for the service."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import tree_bytes

import scaledproc
from scaledproc.backends.sagemaker.container.job import NoRoomError, check_room, do_container_job
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


def test_a_unit_that_fits_nowhere_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the hours that it takes to come to it; a dataset that is on the machine needs no room."""
    data = write_probe_dataset(tmp_path / "data")
    run = scaledproc.run(data, tmp_path / "out", extractor=PROBE, shards=2, jobs=1)
    elsewhere = SimpleNamespace(plan=run.plan, dataset=SimpleNamespace(local=None))
    largest = int(run.plan.unit_sizes[: int(run.plan.units_of(0, int(run.plan.shard_cuts[1])).stop)].max())
    for free, is_refused in ((largest, False), (largest - 1, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if is_refused:
            with pytest.raises(NoRoomError, match="--volume-size"):
                check_room(elsewhere, [0], tmp_path)
        else:
            check_room(elsewhere, [0], tmp_path)
    check_room(run, [0, 1], tmp_path)
    check_room(elsewhere, [0, 1], None)
