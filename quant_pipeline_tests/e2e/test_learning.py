"""Models after the history: registered in MLflow, loadable by anybody, fine-tuned after a session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quant_pipeline.cluster import databases
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.demo.history import run_job
from quant_pipeline.markets import calendar
from quant_pipeline.registry.names import registered_name
from quant_pipeline.steps.tables import read_step
from quant_pipeline.storage.models import list_model_versions
from quant_pipeline_tests.e2e.desks import OpenDesk
from quant_pipeline_tests.e2e.worlds import NAMES, SERVED_MONTH, live_sessions

NOTEBOOK = """
import json, sys
import mlflow
import pandas as pd

found = {}
for name, rows in json.load(sys.stdin).items():
    frame = pd.DataFrame(rows["values"], columns=rows["columns"])
    said = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(frame)
    found[name] = said["expected_return"].tolist()
listed = {
    model.name: {alias: str(version) for alias, version in model.aliases.items()}
    for model in mlflow.MlflowClient().search_registered_models()
}
print(json.dumps({"predicted": found, "registered": listed}))
"""


def in_a_notebook(read: OpenDesk, folder: Path, rows: dict[str, object]) -> dict[str, dict[str, object]]:
    """Run the lines above as a person would: in a folder of their own, told nothing but where MLflow is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QUANT", "MLFLOW", "POSTGRES"))}
    environment = {**kept, "MLFLOW_TRACKING_URI": databases(read.settings).mlflow.sqlalchemy()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOTEBOOK],
        input=json.dumps(rows),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_mlflow_lists_a_champion_for_each_accepted_model_and_it_predicts_what_the_desk_predicted(
    read: OpenDesk, tmp_path: Path
) -> None:
    """Both markets: each champion is loaded through MLflow alone and asked about bars that the desk had asked it about."""
    columns = list(FEATURE_SET.columns)
    wanted: dict[str, object] = {}
    expected: dict[str, list[float]] = {}
    for name in NAMES:
        said = read_step(read.desk, name, "predictions", live_sessions(name)).query("status == 'ok'")
        rows = said.merge(read_step(read.desk, name, "features", live_sessions(name)), on=["symbol", "ts"])
        for symbol, group in rows.groupby("symbol"):
            key = registered_name(name, str(symbol))
            wanted[key] = {"columns": columns, "values": group[columns].to_numpy(dtype=np.float64).tolist()}
            expected[key] = group["expected_return"].tolist()
    assert len(expected) >= len(NAMES)

    found = in_a_notebook(read, tmp_path, wanted)

    assert found["predicted"] == expected
    serving = {"accepted", "promoted"}
    versions = [v for name in NAMES for v in list_model_versions(read.desk.db, name)]
    champions = {registered_name(v.market, v.symbol): v.mlflow_version for v in versions if v.status in serving}
    rejected = {registered_name(v.market, v.symbol) for v in versions if v.status == "rejected"} - set(champions)
    registered = found["registered"]
    assert {key: registered[key] for key in champions} == {key: {"champion": v} for key, v in champions.items()}
    assert {key: registered[key] for key in rejected} == {key: {} for key in rejected}
    assert set(registered) == {*champions, *rejected}


@pytest.mark.parametrize("name", NAMES)
def test_fine_tuning_makes_an_update_of_each_serving_model_for_the_sessions_to_come(
    copied: OpenDesk, name: str
) -> None:
    """With more training sessions asked for than an update looks at, as the defaults do."""
    session = live_sessions(name)[-1]
    market = copied.settings.market(name)
    before = {v.id: v for v in list_model_versions(copied.desk.db, name)}
    bases = {v.symbol: v for v in before.values() if v.status in ("accepted", "promoted") and v.month == SERVED_MONTH}
    assert bases

    run_job(copied.defs, copied.instance, market, "daily_model_finetuning", session)
    run_job(copied.defs, copied.instance, market, "daily_model_finetuning", session)

    made = [v for v in list_model_versions(copied.desk.db, name) if v.id not in before]
    assert {v.symbol for v in made} == set(bases)
    assert len(made) == len(bases), "the second run made other versions of the same session"
    following = calendar.next_session(market.market.calendar, session)
    for version in made:
        assert version.metrics["base"] == bases[version.symbol].content_hash
        assert (version.month, version.trained_to, version.serves_from) == (SERVED_MONTH, session, following)
        assert version.status in ("accepted", "promoted", "rejected")
