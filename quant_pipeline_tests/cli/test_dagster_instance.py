"""The desk's Dagster instance: found through settings, the same in `dagster.yaml` and in code, never another desk's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

import quant_pipeline
from quant_pipeline.dagster_instance import DeskStorage, DeskStorageError, instance_config, open_instance
from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline_tests.cli.quant_process import QuantDesk
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

ROOT = Path(next(iter(quant_pipeline.__path__))).parent


@pytest.fixture
def settings(desk: QuantDesk) -> Settings:
    return load_settings(desk.folder / "quant.toml", environ=desk.env)


def test_plain_dagster_in_the_project_folder_finds_the_desk(desk: QuantDesk) -> None:
    """What `dagster dev` does first, with the names that set-up writes to `.env`."""
    code = (
        "from dagster import DagsterInstance\n"
        "with DagsterInstance.get() as instance:\n"
        "    print(type(instance.run_storage).__name__, type(instance.run_launcher).__name__, instance.get_runs_count())"
    )
    named = {"DAGSTER_HOME": str(ROOT), "QUANT_DAGSTER_STATE": str(desk.home), "QUANT__STATE__HOME": str(desk.home)}
    environment = {**environment_of_tests(), **desk.env, **named}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["PooledRunStorage", "WarmRunLauncher", "0"]


def test_outside_of_the_project_the_settings_beside_dagster_yaml_count(desk: QuantDesk, tmp_path: Path) -> None:
    (desk.folder / "dagster.yaml").write_text(
        "storage: {custom: {module: quant_pipeline.dagster_instance, class: DeskStorage, config: {}}}\n",
        encoding="utf-8",
    )
    elsewhere = tmp_path / "elsewhere" / "deeper"
    elsewhere.mkdir(parents=True)
    code = "from quant_pipeline.dagster_instance import _found_settings; print(_found_settings().home)"
    environment = {**environment_of_tests(), "DAGSTER_HOME": str(desk.folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=environment, timeout=240, check=True
    )
    assert done.stdout.strip() == str(desk.home)


def test_the_project_file_and_the_generated_one_say_the_same(settings: Settings) -> None:
    written = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    state = {"base_dir": {"env": "QUANT_DAGSTER_STATE"}}
    for part in ("local_artifact_storage", "compute_logs"):
        assert written[part]["config"] == state
        written[part]["config"] = {"base_dir": str(settings.home / "dagster")}
    assert written["storage"]["custom"]["config"] == {}
    written["storage"]["custom"]["config"] = {"home": str(settings.home)}
    assert written == instance_config(settings, launcher="warm")


def test_an_instance_opened_here_makes_its_database_and_needs_no_environment(settings: Settings) -> None:
    for _ in range(2):
        with open_instance(settings, launcher="default") as instance:
            assert instance.get_runs_count() == 0
            again = dg.DagsterInstance.from_ref(instance.get_ref())
            assert again.get_runs_count() == 0
            again.dispose()
    dispose_all()
    assert sorted(path.name for path in (settings.home / "dagster" / "default").iterdir()) == ["dagster.yaml"]


def test_settings_of_another_desk_are_refused(desk: QuantDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANT_CONFIG", str(desk.folder / "quant.toml"))
    with pytest.raises(DeskStorageError, match="belongs to the desk in /some/where/else") as refused:
        DeskStorage.from_config_value(None, {"home": "/some/where/else"})
    assert "QUANT_CONFIG" in str(refused.value)


def test_a_server_that_is_not_there_is_told_with_the_settings_to_look_at(
    desk: QuantDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**desk.env, "POSTGRES_PORT": "1", "QUANT_CONFIG": str(desk.folder / "quant.toml")}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeskStorageError, match=r"Check \[postgres\] in quant.toml and POSTGRES_\*") as refused:
        DeskStorage.from_config_value(None, {})
    assert desk.env["POSTGRES_PASSWORD"] not in str(refused.value)
