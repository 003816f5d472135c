"""The definitions as Dagster's code server loads them, and the graph of the shipped settings beside its snapshot."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from quant_pipeline.build import build_definitions
from quant_pipeline.dagster_instance import instance_config
from quant_pipeline.markets.market import MARKETS
from quant_pipeline.settings import load_settings
from quant_pipeline_tests.assets.snapshot import PATH, RENEW, REPOSITORY, describe, shipped_definitions

CONFIG = REPOSITORY / "quant.toml"
HEAVY = ("mlflow", "lightgbm", "xgboost", "optuna", "torch", "alpaca", "pyupbit", "pandas_ta")
"""Libraries that cost seconds to import; a tick that does not need them must not pay for them."""

LOAD = """
import json, sys
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import LoadedRepositories

given = json.loads(sys.argv[1])
origin = LoadableTargetOrigin(
    executable_path=sys.executable, module_name=given["module_name"], working_directory=given["working_directory"]
)
loaded = LoadedRepositories(origin, None, [sys.executable, "-m", "dagster"], None)
found = {
    name: {
        "jobs": sorted(repository.job_names),
        "assets": len(repository.asset_graph.executable_asset_keys),
        "schedules": len(repository.schedule_defs),
        "sensors": len(repository.sensor_defs),
    }
    for name, repository in loaded.definitions_by_name.items()
}
print(json.dumps({"repositories": found, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process finds that loads `workspace.yaml`'s module, what it imported and what it wrote."""
    folder = tmp_path_factory.mktemp("loaded")
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text(encoding="utf-8"))
    (target,) = (entry["python_module"] for entry in workspace["load_from"])
    config = folder / "quant.toml"
    config.write_bytes((REPOSITORY / "quant.toml").read_bytes())
    own = {name: value for name, value in os.environ.items() if not name.startswith("QUANT__")}
    environment = {**own, "QUANT_CONFIG": str(config)}
    command = [sys.executable, "-W", "ignore", "-c", LOAD, json.dumps(target)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (folder / ".quant").iterdir())
    return {**json.loads(done.stdout.splitlines()[-1]), "written": written}


def test_the_code_server_finds_the_whole_graph(loaded: dict[str, Any]) -> None:
    repository = shipped_definitions().get_repository_def()
    assert loaded["repositories"] == {
        "__repository__": {
            "jobs": sorted(repository.job_names),
            "assets": len(repository.asset_graph.executable_asset_keys),
            "schedules": len(repository.schedule_defs),
            "sensors": len(repository.sensor_defs),
        }
    }


def test_loading_the_definitions_imports_nothing_heavy(loaded: dict[str, Any]) -> None:
    assert {"dagster", "numpy", "pandas"} <= set(loaded["modules"]), "the guard looks at the wrong process"
    assert sorted(set(HEAVY) & set(loaded["modules"])) == []


def test_loading_the_definitions_starts_no_server(loaded: dict[str, Any]) -> None:
    assert loaded["written"] == ["numba"]


def test_the_definitions_can_be_loaded() -> None:
    dg.Definitions.validate_loadable(shipped_definitions())


def test_the_graph_is_the_one_of_the_snapshot() -> None:
    now, stored = describe(shipped_definitions()), PATH.read_text(encoding="utf-8")

    changes = difflib.unified_diff(stored.splitlines(), now.splitlines(), PATH.name, "now", lineterm="", n=2)
    assert now == stored, f"the graph changed; if that is meant, run `{RENEW}`:\n" + "\n".join(changes)


def test_the_snapshot_notices_a_setting_that_changes_the_graph() -> None:
    settings = load_settings(CONFIG, environ={}, changes={"markets": {"us_equity": {"tick_minutes": 5}}})

    changed = set(describe(build_definitions(settings)).splitlines()) - set(PATH.read_text("utf-8").splitlines())

    assert [line.partition(":")[0] for line in changed] == ["schedule smart_trading_pipeline_us_equity_schedule"]


@pytest.mark.parametrize("name", [market.name for market in MARKETS])
def test_a_market_that_is_not_enabled_has_nothing_in_the_graph(name: str) -> None:
    settings = load_settings(CONFIG, environ={}, changes={"markets": {name: {"enabled": False}}})

    text = describe(build_definitions(settings))

    assert name not in text
    assert all(market.name in text for market in MARKETS if market.name != name)


def test_every_asset_says_what_it_is() -> None:
    graph = shipped_definitions().resolve_asset_graph()

    for node in graph.asset_nodes:
        assert len(node.description or "") > 40, node.key
        assert node.kinds, node.key
        assert node.owners == ["team:trading-desk"], node.key


def test_every_job_schedule_and_sensor_says_what_it_is_for() -> None:
    repository = shipped_definitions().get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]

    for one in (*jobs, *repository.schedule_defs, *repository.sensor_defs):
        assert len(one.description or "") > 20, one.name


def test_an_instance_that_we_open_ourselves_is_configured_as_dagster_yaml_says(tmp_path: Path) -> None:
    written = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))
    settings = load_settings(CONFIG, environ={}, changes={"state": {"home": str(tmp_path)}})

    opened = instance_config(settings, launcher="warm")

    state = {"base_dir": str(tmp_path.resolve() / "dagster")}
    for part in ("local_artifact_storage", "compute_logs"):
        assert written[part].pop("config") == {"base_dir": {"env": "QUANT_DAGSTER_STATE"}}
        assert opened[part].pop("config") == state
    assert opened["storage"]["custom"].pop("config") == {"home": str(tmp_path.resolve())}
    assert written["storage"]["custom"].pop("config") == {}
    assert opened == written


def test_the_daemon_never_retries_the_live_chain_and_runs_one_of_it_at_a_time() -> None:
    limits = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))["concurrency"]["runs"]
    one_each = {
        limit["key"]
        for limit in limits["tag_concurrency_limits"]
        if limit["limit"] == 1 and limit.get("value") == {"applyLimitPerUniqueValue": True}
    }
    repository = shipped_definitions().get_repository_def()

    for market in MARKETS:
        tags = repository.get_job(f"smart_trading_pipeline_{market.name}").tags
        assert tags == {"quant/desk": market.name, "dagster/max_retries": "0"}
        trained = {f"{kind}_{market.name}" for kind in ("daily_model_finetuning", "optimize_hyperparameters")}
        for name in (*trained, f"weekly_retraining_{market.name}"):
            assert repository.get_job(name).tags == {"quant/training": market.name}
    assert {"quant/desk", "quant/training"} <= one_each


def test_only_jobs_that_may_send_carry_orders() -> None:
    repository = shipped_definitions().get_repository_def()

    sending = {
        job.name
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
        and any(key.path[-1] == "orders" for key in job.asset_layer.selected_asset_keys)
    }

    assert sending == {f"smart_trading_pipeline_{market.name}" for market in MARKETS}
