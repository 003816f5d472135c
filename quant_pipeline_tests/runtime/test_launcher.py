"""Runs forked from a warm server: they run, fail, die and end as Dagster expects, and never with outdated code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from quant_pipeline.runtime import launcher as launcher_module
from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.runtime.errors import RunLaunchError
from quant_pipeline.runtime.launcher import WarmRunLauncher, is_same_interpreter, watched_files
from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity, worker_process
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.runtime.warm_client import WarmServer, close_all
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.runtime import dagster_code
from quant_pipeline_tests.runtime.dagster_homes import CODE, VARIABLE, warm_launcher, write_home
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests, is_alive

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only"),
]


@pytest.fixture(scope="module")
def storage_url(postgres: Dsn) -> Iterator[str]:
    """The storage of all instances of this module, in the environment too, where children find it."""
    with new_database(postgres) as dsn, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, dsn.sqlalchemy())
        yield dsn.sqlalchemy()
        dispose_all()


@pytest.fixture(scope="module")
def instance(storage_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance whose warm server serves the tests of this module, one after another."""
    home = write_home(tmp_path_factory.mktemp("warm") / "home", run_launcher=warm_launcher())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
    close_all()


@pytest.fixture
def other_home(storage_url: str, tmp_path: Path) -> Iterator[Path]:
    """Where a test makes a home of its own; its servers are closed at the end of the test."""
    yield tmp_path / "home"
    close_all()


def launcher_of(instance: dg.DagsterInstance) -> WarmRunLauncher:
    """The launcher, which has to be ours."""
    assert isinstance(instance.run_launcher, WarmRunLauncher)
    return instance.run_launcher


def server_of(instance: dg.DagsterInstance) -> WarmServer:
    """The server, ready."""
    server = launcher_of(instance)._server()
    server.wait_ready(60)
    return server


def new_run(instance: dg.DagsterInstance, job_name: str, *, partition: str | None = None, **config: str) -> str:
    """A run of the tests' code location, not launched yet; returns its id."""
    repository = ReconstructableRepository.for_module(CODE, "defs", str(Path.cwd()))
    origin = repository.get_reconstructable_job(job_name).get_python_origin()
    run = instance.create_run_for_job(
        dagster_code.defs.resolve_job_def(job_name),
        run_config={"ops": {"wait_for_ever": {"config": config}}} if config else None,
        tags={"dagster/partition": partition} if partition is not None else None,
        job_code_origin=origin,
    )
    return run.run_id


def launch(instance: dg.DagsterInstance, run_id: str) -> None:
    """Launch as Dagster does, without a workspace."""
    instance.launch_run(run_id, None)  # type: ignore[arg-type]


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    """The run's status now."""
    return instance.get_run_by_id(run_id).status  # type: ignore[union-attr]


def finished(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    """The run's status once it is finished, which has to be soon."""
    assert wait_until(lambda: status(instance, run_id) in dg._core.storage.dagster_run.FINISHED_STATUSES, timeout=60)
    return status(instance, run_id)


def messages(instance: dg.DagsterInstance, run_id: str) -> str:
    """All texts of a run's log."""
    return "\n".join(f"{entry.message} {entry.dagster_event}" for entry in instance.all_logs(run_id))


def launch_waiting(instance: dg.DagsterInstance, folder: Path) -> tuple[str, int]:
    """Launch a run that waits in its step; returns its id and its process id."""
    run_id = new_run(instance, "waiting_job", path=str(folder / "pid"))
    launch(instance, run_id)
    assert wait_until((folder / "pid").exists, timeout=60)
    return run_id, int((folder / "pid").read_text())


def test_a_run_is_forked_from_the_server_and_succeeds(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    server = server_of(instance)
    run_id = new_run(instance, "assets_job", partition="2024-02-05")
    launch(instance, run_id)
    assert finished(instance, run_id) is dg.DagsterRunStatus.SUCCESS
    run = instance.get_run_by_id(run_id)
    assert run is not None
    event = instance.get_latest_materialization_event(dg.AssetKey("bars"))
    assert event is not None
    assert event.asset_materialization is not None
    pid = event.asset_materialization.metadata["pid"].value
    assert run.tags[WORKER_TAG].split(":")[1] == str(pid)
    _, waiting = launch_waiting(instance, tmp_path)
    assert psutil.Process(waiting).ppid() == server.pid
    os.kill(waiting, signal.SIGKILL)


def test_an_ordinary_failure_is_reported_by_the_run_itself(instance: dg.DagsterInstance) -> None:
    run_id = new_run(instance, "failing_job")
    launch(instance, run_id)
    assert finished(instance, run_id) is dg.DagsterRunStatus.FAILURE
    assert "The process of this run" not in messages(instance, run_id)
    assert "fails on purpose" in messages(instance, run_id)


def test_a_run_whose_process_is_killed_fails_at_once_with_the_reason(instance: dg.DagsterInstance) -> None:
    run_id = new_run(instance, "dying_job")
    launch(instance, run_id)
    assert finished(instance, run_id) is dg.DagsterRunStatus.FAILURE
    assert "was ended by signal SIGKILL before the run was finished" in messages(instance, run_id)


def test_a_run_that_cannot_be_loaded_fails_with_the_reason(instance: dg.DagsterInstance) -> None:
    origin = ReconstructableRepository.for_module(CODE, "no_such_name", str(Path.cwd()))
    job = dagster_code.defs.resolve_job_def("failing_job")
    code = origin.get_reconstructable_job("failing_job").get_python_origin()
    run_id = instance.create_run_for_job(job, job_code_origin=code).run_id
    launch(instance, run_id)
    assert finished(instance, run_id) is dg.DagsterRunStatus.FAILURE
    assert "no_such_name" in messages(instance, run_id)


TERMINATE = """
import sys
import dagster as dg
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    print(instance.run_launcher.terminate(sys.argv[2]))
"""


def test_a_run_can_be_terminated_from_another_process(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, pid = launch_waiting(instance, tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", TERMINATE, instance.root_directory, run_id]
    done = subprocess.run(command, env=environment_of_tests(), capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True\n", done.stderr
    assert finished(instance, run_id) is dg.DagsterRunStatus.CANCELED
    assert wait_until(lambda: not is_alive(pid), timeout=20)
    assert launcher_of(instance).terminate(run_id) is False


def test_health_follows_the_process(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, pid = launch_waiting(instance, tmp_path)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert launcher_of(instance).supports_check_run_worker_health
    assert launcher_of(instance).check_run_worker_health(run).status is WorkerStatus.RUNNING
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(pid), timeout=20)
    assert launcher_of(instance).check_run_worker_health(run).status is WorkerStatus.NOT_FOUND
    assert finished(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_a_run_that_somebody_else_executes_is_left_alone(instance: dg.DagsterInstance) -> None:
    run_id = new_run(instance, "waiting_job", path="unused")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert launcher_of(instance).check_run_worker_health(run).status is WorkerStatus.RUNNING
    instance.report_run_canceled(run)


def test_a_process_id_that_now_belongs_to_somebody_else_is_not_touched(instance: dg.DagsterInstance) -> None:
    run_id = new_run(instance, "waiting_job", path="unused")
    host, pid, _ = worker_identity(os.getpid()).rsplit(":", 2)
    instance.add_run_tags(run_id, {WORKER_TAG: f"{host}:{pid}:12.00"})
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert worker_process(run) is None
    assert launcher_of(instance).terminate(run_id) is False
    instance.report_run_canceled(run)


def test_ended_children_are_reaped(instance: dg.DagsterInstance) -> None:
    server = psutil.Process(server_of(instance).pid)
    run_ids = [new_run(instance, "failing_job") for _ in range(3)]
    for run_id in run_ids:
        launch(instance, run_id)
    assert {finished(instance, run_id) for run_id in run_ids} == {dg.DagsterRunStatus.FAILURE}
    assert wait_until(lambda: server.children() == [], timeout=20)


def test_a_killed_server_is_replaced_and_its_runs_go_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, pid = launch_waiting(instance, tmp_path)
    first = server_of(instance)
    os.kill(first.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(first.pid), timeout=20)
    assert is_alive(pid)
    other = new_run(instance, "failing_job")
    launch(instance, other)
    assert finished(instance, other) is dg.DagsterRunStatus.FAILURE
    assert server_of(instance).pid != first.pid
    assert launcher_of(instance).terminate(run_id) is True
    assert finished(instance, run_id) is dg.DagsterRunStatus.CANCELED


def test_a_changed_file_brings_a_new_server_and_leaves_running_runs_alone(other_home: Path, tmp_path: Path) -> None:
    watched = tmp_path / "settings.toml"
    watched.write_text("a = 1")
    write_home(other_home, run_launcher=warm_launcher(watch=[str(watched)]))
    with dg.DagsterInstance.from_config(str(other_home)) as instance:
        first = server_of(instance)
        run_id, pid = launch_waiting(instance, tmp_path)
        assert server_of(instance) is first
        watched.write_text("a = 12")
        second = server_of(instance)
        assert second.pid != first.pid
        assert is_alive(pid)
        assert launcher_of(instance).terminate(run_id) is True
        assert finished(instance, run_id) is dg.DagsterRunStatus.CANCELED
        assert wait_until(lambda: not is_alive(first.pid), timeout=20)


def test_a_failed_preload_is_reported_and_a_mended_one_works(
    other_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "fragile_module_of_a_test.py"
    module.write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    write_home(other_home, run_launcher=warm_launcher(preload_modules=["fragile_module_of_a_test"]))
    with dg.DagsterInstance.from_config(str(other_home)) as instance:
        run_id = new_run(instance, "failing_job")
        with pytest.raises(RunLaunchError, match="a_package_that_is_not_there"):
            launch(instance, run_id)
        assert status(instance, run_id) is dg.DagsterRunStatus.FAILURE
        assert "a_package_that_is_not_there" in messages(instance, run_id)
        module.write_text("\n")
        second = new_run(instance, "failing_job")
        launch(instance, second)
        finished(instance, second)
        assert "fails on purpose" in messages(instance, second)


def test_the_libraries_of_the_desk_start_no_thread_that_a_fork_would_lose(other_home: Path) -> None:
    libraries = ["quant_pipeline.core.values", "numpy", "pandas", "pyarrow.parquet", "numba", "psycopg2", "sqlalchemy"]
    write_home(other_home, run_launcher=warm_launcher(preload_modules=libraries))
    with dg.DagsterInstance.from_config(str(other_home)) as instance:
        assert server_of(instance).wait_ready(60)["threads"] == 1


PARENT = """
import sys, time
import dagster as dg
from quant_pipeline_tests.runtime.test_launcher import launch_waiting, server_of
from pathlib import Path
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    run_id, pid = launch_waiting(instance, Path(sys.argv[2]))
    Path(sys.argv[2], "server").write_text(f"{server_of(instance).pid} {run_id}")
    time.sleep(300)
"""


def test_after_the_launching_process_was_killed_runs_finish_and_the_server_ends(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PARENT, instance.root_directory, str(tmp_path)]
    with subprocess.Popen(command, env=environment_of_tests()) as parent:
        try:
            assert wait_until((tmp_path / "server").exists, timeout=60)
        finally:
            parent.kill()
    server, run_id = (tmp_path / "server").read_text().split()
    assert is_alive(int(server))
    assert launcher_of(instance).terminate(run_id) is True
    assert finished(instance, run_id) is dg.DagsterRunStatus.CANCELED
    assert wait_until(lambda: not is_alive(int(server)), timeout=20)


class ColdLauncher:
    """Remembers what the default launcher would have been given."""

    def __init__(self) -> None:
        self.launched: list[str] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        self.launched.append(context.dagster_run.run_id)


@pytest.mark.parametrize("why", ["no fork", "another interpreter", "no origin"])
def test_what_cannot_be_forked_goes_through_the_default_launcher(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    cold = ColdLauncher()
    monkeypatch.setattr(launcher_of(instance), "_cold", cast("DefaultRunLauncher", cold))
    if why == "no fork":
        monkeypatch.setattr(launcher_module, "can_fork", lambda: False)
        launcher_of(instance).warm_up()
    elif why == "another interpreter":
        monkeypatch.setattr(launcher_module, "is_same_interpreter", lambda _path: False)
    if why == "no origin":
        run_id = instance.create_run_for_job(dagster_code.defs.resolve_job_def("failing_job")).run_id
    else:
        run_id = new_run(instance, "failing_job")
    launch(instance, run_id)
    assert cold.launched == [run_id]


def test_an_interpreter_is_recognised_by_its_environment(tmp_path: Path) -> None:
    own = Path(sys.executable)
    assert is_same_interpreter(own)
    other = tmp_path / own.name
    other.symlink_to(own)
    assert not is_same_interpreter(other)


def test_watched_files_lie_beside_the_settings_file_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUANT_CONFIG", raising=False)
    assert watched_files(("quant.toml", ".env")) == (tmp_path / "quant.toml", tmp_path / ".env")
    monkeypatch.setenv("QUANT_CONFIG", "/etc/desk/quant.toml")
    assert watched_files(("quant.toml", ".env")) == (Path("/etc/desk/quant.toml"), Path("/etc/desk/.env"))
    monkeypatch.setenv("QUANT_CONFIG", "other.toml")
    assert watched_files((".env",)) == (tmp_path / "other.toml", tmp_path / ".env")
