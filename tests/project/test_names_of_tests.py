"""The tests of a module are found by its name: `scaledproc/storage/retry.py` has `tests/storage/test_retry.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
THROUGH = {  # in the order of their folders
    "_util/process/test_machine.py": "_util/process/processes _util/process/memory _util/user_cache engine/steps",
    "backend/test_settings.py": "_util/command/flags backend/registry cli/options/flags _util/entry_points",
    "backends/commands/test_backend.py": "backends/commands/settings",
    "backends/sagemaker/test_backend.py": "testing/backend",
    "backends/sagemaker/container/test_job.py": "backends/sagemaker/container/order",
    "backends/sagemaker/iam/test_policy.py": "backends/sagemaker/iam/access",
    "backends/sagemaker/jobs/test_control.py": "execution/heartbeat",
    "backends/sagemaker/jobs/test_requests.py": "backends/sagemaker/jobs/pipeline",
    "backends/sagemaker/local_mode/test_session.py": "backends/sagemaker/local_mode/jobs "
    "backends/sagemaker/local_mode/one_job",
    "backends/sagemaker/packaging/test_image.py": "backends/sagemaker/cli backends/sagemaker/docker",
    "backends/slurm/test_backend.py": "backends/batch/known_jobs backends/batch/queue",
    "backends/slurm/test_calls.py": "backends/batch/calls",
    "backends/slurm/test_handover.py": "backends/batch/handover",
    "backends/slurm/test_settings.py": "backends/batch/settings",
    "backends/sagemaker/test_sagemaker_behaviour.py": "backends/sagemaker/account backends/sagemaker/known_jobs "
    "backends/sagemaker/service",
    "cli/options/test_config_file.py": "_util/command/config_file",
    "cli/test_extractor_options.py": "reporting/extractors",
    "cli/test_main.py": "cli/worker cli/inspect backend/dry_run errors _util/text",
    "cli/test_trial.py": "reporting/trial",
    "engine/test_changes.py": "extractors/files extractors/registry",
    "engine/doctor/test_examine.py": "api/machine cli/doctor engine/doctor/findings reporting/doctor "
    "storage/s3/identity",
    "engine/test_driver.py": "api/copying api/past_runs api/plans api/runs api/single_task "
    "engine/preflight execution/chunks/chunk execution/chunks/committed "
    "execution/worker extractors/base storage/parquet",
    "stories/test_hostile.py": "extractors/wfdb/headers/task_header",
    "engine/test_options.py": "_util/options _util/types",
    "engine/past/test_overview.py": "_util/html execution/tables/said_files execution/chunks/said reporting/overview "
    "reporting/tables",
    "engine/test_update.py": "execution/reuse/earlier execution/reuse/shards run_folder/tasks_table",
    "stories/test_bad_tasks.py": "execution/workers/worker_guard",
    "stories/test_update_model.py": "run_folder/replacement",
    "engine/past/test_verify.py": "_util/digests run_folder/shard_report",
    "examples/test_launcher_backend.py": "backend/base",
    "execution/chunks/test_missing_dataset.py": "execution/chunks/quarantine storage/local_files",
    "execution/test_inside_tasks.py": "_util/process/streams",
    "execution/test_scheduler.py": "execution/chunks/chunk_work execution/scheduler_messages",
    "execution/workers/test_pool.py": "execution/workers/starting",
    "execution/workers/test_sending.py": "execution/chunks/loading",
    "extractors/code/test_fingerprint.py": "extractors/code/bytecode extractors/code/code_finder "
    "extractors/code/values "
    "extractors/code/walking",
    "extractors/plain/test_table.py": "extractors/plain/column extractors/plain/pieces",
    "extractors/test_tables.py": "extractors/rows/several",
    "extractors/test_starters.py": "cli/init extractors/starters/files extractors/starters/tables "
    "extractors/starters/waveforms",
    "extractors/wfdb/beats/test_compiled.py": "extractors/wfdb/beats/compiled_beats "
    "extractors/wfdb/beats/compiled_peaks extractors/wfdb/beats/compiled_signal "
    "extractors/wfdb/beats/compiled_windows extractors/wfdb/beats/filtering",
    "extractors/wfdb/beats/test_detection.py": "extractors/wfdb/beats/decision extractors/wfdb/beats/fiducials "
    "extractors/wfdb/beats/quality",
    "extractors/wfdb/report/test_signals.py": "extractors/wfdb/report/ranges",
    "extractors/wfdb/report/test_tables.py": "extractors/wfdb/report/agreement extractors/wfdb/report/traces "
    "extractors/wfdb/report/window_rows",
    "extractors/wfdb/signals/test_statistics.py": "extractors/wfdb/signal_stats",
    "extractors/wfdb/windows/test_extractor.py": "extractors/wfdb/windows/measures/features "
    "extractors/wfdb/windows/rows extractors/wfdb/windows/settings",
    "extractors/wfdb/windows/test_streams.py": "extractors/wfdb/windows/measures/numba_kernel "
    "extractors/wfdb/windows/measures/numpy_kernel "
    "extractors/wfdb/windows/place extractors/wfdb/windows/reading",
    "extractors/wfdb/windows/measures/spectra/test_welch.py": "extractors/wfdb/windows/measures/spectra/steps",
    "extractors/wfdb/windows/measures/spectra/test_transform.py": ""
    "extractors/wfdb/windows/measures/spectra/transform_code",
    "extractors/wfdb/windows/measures/test_told.py": "extractors/wfdb/windows/measures/feature_columns",
    "fetching/test_physionet.py": "fetching/selection/database_folders",
    "fetching/test_transfer.py": "cli/fetch fetching/contents fetching/threads storage/datasets",
    "planning/test_plan.py": "planning/path_arrays",
    "project/test_public_names.py": "plugins _util/lazy_names",
    "reporting/report/test_page.py": "extractors/account reporting/report/about reporting/report/examples "
    "reporting/report/failures reporting/report/findings reporting/report/parts reporting/report/pictures "
    "reporting/report/plausible reporting/report/times",
    "reporting/terminal/test_choice.py": "reporting/terminal/base reporting/terminal/json_lines",
    "reporting/test_terminal.py": "engine/past/status reporting/job_events reporting/terminal/log",
    "run_folder/lock/test_driver_lease.py": "run_folder/lock/lease_store",
    "run_folder/test_late_requests.py": "storage/fencing",
    "run_folder/test_beginning.py": "run_folder/folder run_folder/plan_files",
    "run_folder/test_reading.py": "run_folder/run run_folder/tracebacks",
    "storage/test_misbehaving_store.py": "storage/s3/filesystem",
    "storage/test_store.py": "testing/store",
    "testing/test_extractor.py": "testing/probes",
}
"""Tests, and the modules without tests of their name that these call: steps of one story, which it tells whole."""
CONSTANTS = {"fetching/defaults", "run_folder/forms", "run_folder/names"}


def modules() -> Iterator[str]:
    """Each module of the package and of the backends, as its test's folder and name begin."""
    for top, folder in ((ROOT / "scaledproc", ROOT / "scaledproc"), (ROOT / "backends", ROOT)):
        for path in sorted(top.rglob("*.py")):
            if not path.name.startswith("__"):
                yield path.relative_to(folder).with_suffix("").as_posix()


def own_tests(module: str) -> str:
    """Where the tests of a module's name are."""
    folder, slash, name = module.rpartition("/")
    return f"{folder}{slash}test_{name}.py"


def test_each_module_has_tests_of_its_name_or_is_tested_through_others() -> None:
    tests = ROOT / "tests"
    every = list(modules())
    assert len(every) > 200
    without = {
        module for module in every if not (tests / Path(module).parent / f"test_{Path(module).name}.py").exists()
    }
    through = [module for listed in THROUGH.values() for module in listed.split()]
    assert len(through) == len(set(through))
    assert without - CONSTANTS - set(through) == set(), "write their tests, in files of these modules' names"
    assert {*through, *CONSTANTS} - without == set(), "they have tests of their name by now, or are gone"


def test_the_tests_that_are_named_are_there() -> None:
    assert [name for name in THROUGH if not (ROOT / "tests" / name).exists()] == []
