"""Which jobs a run needs, and which files each is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from support import Bucket

import scaledproc
from scaledproc.backends.sagemaker.jobs.job_list import has_combined, publish, shard_assignments
from scaledproc.backends.sagemaker.jobs.requests import TABLE
from scaledproc.backends.sagemaker.settings import Settings
from scaledproc.run_folder.names import COMBINED, FEATURES
from scaledproc.storage.store import Store


def test_only_files_of_the_plan_are_mounted(s3: Bucket, tmp_path: Path) -> None:
    """Whole prefixes have also what the listing left out: their disks are made for the plan's files."""
    settings = Settings.parse({"input_mode": "file"})
    extractor = tmp_path / "anything.py"
    extractor.write_text(
        "import scaledproc\n"
        "@scaledproc.extractor(schema={'path': 'string'}, anchor='*.txt')\n"
        "def anything(task):\n"
        "    return {'path': task.anchor}\n"
    )
    for name, others in {
        "plain": (),
        "hidden": ("30/.cache/big",),
        "earlier": tuple(f"30/out/{name}" for name in ("run.json", "plan.parquet", "inventory.parquet", "big.txt")),
    }.items():
        store = Store.at(s3.url(f"mounted-{name}/data"), s3.storage_options)
        for path in ("30/1.txt", "31/2.txt", *others):
            store.write(path, b"x")
        run = scaledproc.run(
            store.uri,
            tmp_path / name,
            extractor=f"{extractor}:anything",
            storage_options={f"input.{key}": value for key, value in s3.storage_options.items()},
            jobs=1,
        )
        assignments = shard_assignments(
            settings, run.plan, range(run.plan.n_shards), run.record.options, "s3://bucket/run"
        )
        assert [bool(assignment.prefixes) for assignment in assignments] == [not others] * 2, name
        assert [bool(assignment.manifest) for assignment in assignments] == [bool(others)] * 2, name


def test_what_the_last_job_left_is_put_in_place_once_it_is_whole(tmp_path: Path) -> None:
    """An output beside the job's inputs, not above them; what it left in part does not count."""
    store = Store.at(tmp_path)
    run = SimpleNamespace(store=store, record=SimpleNamespace(last_of_table=FEATURES))
    publish(run)
    store.write(f"{TABLE}/{FEATURES}", b"rows")
    publish(run)
    assert not store.exists(FEATURES)
    for name in (COMBINED, "logs/00000.log", "shards/00000.parquet"):
        store.write(f"{TABLE}/{name}", name.encode())
    store.write(FEATURES, b"of an earlier try")
    publish(run)
    assert store.read(FEATURES) == b"rows"
    assert store.read("logs/00000.log") == b"logs/00000.log"
    assert has_combined(run)
    publish(run)
    assert store.read("shards/00000.parquet") == b"shards/00000.parquet"
