from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.models.bundle import BundleError, bundle_hash, pack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.loaded import load_members, predict
from quant_pipeline.registry.errors import RegistryError, UnknownVersionError
from quant_pipeline.registry.mlflow_registry import LoggedVersion, ModelRegistry, load_mlflow
from quant_pipeline.registry.names import experiment_name, registered_name
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.core.models.synthetic import COLUMNS, DAILY, FEATURES, make_samples

_NOTEBOOK = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/" + sys.argv[2] + "@champion")
frame = pd.read_csv(sys.stdin)
sys.stdout.write(model.predict(frame).to_csv(index=False))
"""


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return pack(train_ensemble(make_samples(260), FEATURES, DAILY))


@pytest.fixture
def tracking(mlflow_dsn: Dsn) -> Iterator[None]:
    """MLflow's global tracking address, as a person at a notebook sets it."""
    mlflow = load_mlflow()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_dsn.sqlalchemy())
    yield
    mlflow.set_tracking_uri(before)


def log(registry: ModelRegistry, name: str, bundle: bytes, **tags: str) -> LoggedVersion:
    return registry.log_ensemble(
        name,
        bundle,
        experiment=experiment_name("test"),
        run_name="a run",
        metrics={"holdout_correlation": 0.1, "calibration_0.7_0.8_rows": 3.0},
        params={"lightgbm.rounds": 500, "clip": (0.02, 0.98)},
        tags=tags,
    )


def test_a_bundle_becomes_one_run_with_one_artifact_and_one_version(
    registry: ModelRegistry, bundle: bytes, mlruns: Path, mlflow_dsn: Dsn
) -> None:
    logged = log(registry, "quant.test.ONE", bundle, content_hash=bundle_hash(bundle))

    assert logged.version == "1"
    files = {p.name: p for p in mlruns.glob(f"artifacts/quant.test/{logged.run_id}/artifacts/model/*")}
    assert sorted(files) == ["MLmodel", "ensemble.zip", "python_env.yaml", "requirements.txt"]
    assert files["ensemble.zip"].read_bytes() == bundle
    assert "xgboost==" in files["requirements.txt"].read_text()
    from mlflow import MlflowClient

    run = MlflowClient(mlflow_dsn.sqlalchemy()).get_run(logged.run_id)
    assert run.data.metrics["holdout_correlation"] == 0.1
    assert run.data.params["clip"] == "(0.02, 0.98)"
    assert run.info.status == "FINISHED"


@pytest.mark.usefixtures("tracking")
def test_the_champion_loads_through_pyfunc_and_predicts_what_the_bundle_does(
    registry: ModelRegistry, bundle: bytes
) -> None:
    import mlflow

    logged = log(registry, "quant.test.PYFUNC", bundle)
    registry.promote(logged.name, logged.version)
    samples = make_samples(20, seed=4)
    frame = pd.DataFrame(samples.x, columns=list(COLUMNS), index=pd.RangeIndex(100, 120))

    model = mlflow.pyfunc.load_model("models:/quant.test.PYFUNC@champion")
    answer = model.predict(frame[list(COLUMNS[::-1])])

    own = predict(load_members(bundle, bundle_hash(bundle)), samples.x, columns=COLUMNS)
    assert np.array_equal(answer["expected_return"], own.expected_return)
    assert np.array_equal(answer["confidence"], own.confidence)
    assert np.array_equal(answer["q95"], own.quantiles[:, 2])
    assert np.array_equal(answer["member_xgb_2"], own.members[:, 3])
    assert answer.index.equals(frame.index)
    assert [c.name for c in model.metadata.get_input_schema()] == list(COLUMNS)
    assert list(answer.columns) == [c.name for c in _in_order(model.metadata.get_output_schema(), answer)]


def _in_order(schema: object, answer: pd.DataFrame) -> list[object]:
    """The schema's columns in the order of the answer; fails if the two differ as sets."""
    by_name = {column.name: column for column in schema}  # type: ignore[attr-defined]
    assert set(by_name) == set(answer.columns)
    return [by_name[name] for name in answer.columns]


@pytest.mark.usefixtures("tracking")
def test_a_frame_without_a_feature_is_refused_by_name(registry: ModelRegistry, bundle: bytes) -> None:
    import mlflow

    logged = log(registry, "quant.test.LACKS", bundle)
    model = mlflow.pyfunc.load_model(f"models:/{logged.name}/{logged.version}")
    frame = pd.DataFrame(make_samples(3).x, columns=list(COLUMNS)).drop(columns="rsi")

    with pytest.raises(mlflow.exceptions.MlflowException, match="rsi"):
        model.predict(frame)


@pytest.mark.slow
def test_another_process_loads_the_champion_as_a_notebook_would(
    registry: ModelRegistry, bundle: bytes, mlflow_dsn: Dsn, tmp_path: Path
) -> None:
    logged = log(registry, "quant.test.NOTEBOOK", bundle)
    registry.promote(logged.name, logged.version)
    samples = make_samples(4, seed=8)
    frame = pd.DataFrame(samples.x, columns=list(COLUMNS)).to_csv(index=False)
    command = [sys.executable, "-c", _NOTEBOOK, mlflow_dsn.sqlalchemy(), logged.name]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "MLFLOW_DISABLE_TELEMETRY": "true"}

    done = subprocess.run(
        command, input=frame, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )

    (tmp_path / "answer.csv").write_text(done.stdout)
    answer = pd.read_csv(tmp_path / "answer.csv", float_precision="round_trip")
    own = predict(load_members(bundle, bundle_hash(bundle)), samples.x, columns=COLUMNS)
    assert np.allclose(answer["expected_return"], own.expected_return, rtol=0, atol=1e-15)


def test_the_champion_moves_and_goes(registry: ModelRegistry, bundle: bytes) -> None:
    first, second = (log(registry, "quant.test.MOVES", bundle) for _ in range(2))
    assert registry.aliases("quant.test.MOVES") == {}

    registry.promote(first.name, second.version)
    assert registry.aliases("quant.test.MOVES") == {"champion": "2"}
    registry.promote(first.name, first.version)
    assert registry.aliases("quant.test.MOVES") == {"champion": "1"}
    registry.demote(first.name)
    assert registry.aliases("quant.test.MOVES") == {}


def test_versions_are_found_by_their_tags(registry: ModelRegistry, bundle: bytes) -> None:
    log(registry, "quant.test.TAGS", bundle, model_version="a/b/1")
    second = log(registry, "quant.test.TAGS", bundle, model_version="a/b/2")

    assert registry.find("quant.test.TAGS", "model_version", "a/b/2") == second
    assert registry.find("quant.test.TAGS", "model_version", "a/b/3") is None
    assert registry.find("quant.test.NOTHING", "model_version", "a/b/2") is None
    assert registry.version("quant.test.TAGS", "2") == second


def test_versions_that_do_not_exist_are_named(registry: ModelRegistry) -> None:
    with pytest.raises(UnknownVersionError, match=r"no version 7 of quant\.test\.ABSENT"):
        registry.version("quant.test.ABSENT", "7")
    with pytest.raises(UnknownVersionError, match=r"no version 7 of quant\.test\.ABSENT"):
        registry.promote("quant.test.ABSENT", "7")
    assert registry.aliases("quant.test.ABSENT") == {}


def test_bytes_that_are_no_bundle_leave_nothing_behind(registry: ModelRegistry) -> None:
    with pytest.raises(BundleError):
        log(registry, "quant.test.BAD", b"not a bundle")

    assert registry.aliases("quant.test.BAD") == {}
    with pytest.raises(UnknownVersionError):
        registry.version("quant.test.BAD", "1")


def test_a_moved_folder_gets_a_new_experiment_and_old_runs_stay_visible(
    mlflow_dsn: Dsn, registry: ModelRegistry, bundle: bytes, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    before = registry.log_ensemble(
        "quant.moved.A", bundle, experiment="quant.moved", run_name="", metrics={}, params={}, tags={}
    )
    moved = ModelRegistry(mlflow_dsn.sqlalchemy(), str(tmp_path))
    after = moved.log_ensemble(
        "quant.moved.A", bundle, experiment="quant.moved", run_name="", metrics={}, params={}, tags={}
    )

    client = MlflowClient(mlflow_dsn.sqlalchemy())
    old, new = (client.get_run(v.run_id).info.experiment_id for v in (before, after))
    assert client.get_experiment(old).name == f"quant.moved (until {old})"
    assert client.get_experiment(new).name == "quant.moved"
    assert (tmp_path / "artifacts/quant.moved" / after.run_id / "artifacts/model/MLmodel").is_file()


def test_two_registries_of_one_database_agree(
    mlflow_dsn: Dsn, mlruns: Path, registry: ModelRegistry, bundle: bytes
) -> None:
    other = ModelRegistry(mlflow_dsn.sqlalchemy(), str(mlruns))
    log(registry, "quant.test.SHARED", bundle)

    assert log(other, "quant.test.SHARED", bundle).version == "2"


def test_a_relative_folder_and_an_impossible_symbol_are_refused() -> None:
    with pytest.raises(RegistryError, match="'mlruns' must be an absolute folder"):
        ModelRegistry("postgresql+psycopg2://u:secret@h/db", "mlruns")
    with pytest.raises(RegistryError, match="symbol 'BRK/B'"):
        registered_name("us_equity", "BRK/B")


def test_the_address_with_its_password_is_not_shown() -> None:
    assert "secret" not in repr(ModelRegistry("postgresql+psycopg2://u:secret@h/db", "/mlruns"))


def test_no_file_of_ours_makes_mlflow_think_of_a_file_store(
    mlruns: Path, registry: ModelRegistry, bundle: bytes
) -> None:
    log(registry, "quant.test.FILES", bundle)

    assert not list(mlruns.glob("*/meta.yaml"))
    assert [p.name for p in mlruns.iterdir()] == ["artifacts"]
