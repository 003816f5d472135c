from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.core.models.bundle import BundleError, pack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.registry.mlflow_files import LOADER_MODULE
from quant_pipeline.registry.pyfunc import _load_pyfunc
from quant_pipeline_tests.core.models.synthetic import COLUMNS, DAILY, FEATURES, make_samples


def test_features_that_a_frame_lacks_are_named(tmp_path: Path) -> None:
    bundle = tmp_path / "ensemble.zip"
    bundle.write_bytes(pack(train_ensemble(make_samples(260), FEATURES, DAILY)))
    frame = pd.DataFrame(make_samples(3).x, columns=list(COLUMNS))

    model = _load_pyfunc(str(bundle))

    assert len(model.predict(frame.assign(more=1.0))) == 3
    with pytest.raises(ValueError, match=r"lacks the features \['rsi', 'trend'\] of seed8 1"):
        model.predict(frame.drop(columns=["rsi", "trend"]))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ensemble.zip").write_bytes(b"PK damaged")

    with pytest.raises(BundleError):
        _load_pyfunc(str(tmp_path / "ensemble.zip"))


def test_the_loader_module_has_the_name_that_logged_models_ask_for() -> None:
    assert _load_pyfunc.__module__ == LOADER_MODULE


def test_predicting_never_imports_mlflow_or_optuna() -> None:
    ours = ("serving", "service", "studies", "pyfunc", "mlflow_registry", "promotion")
    source = (
        f"import sys, {', '.join(f'quant_pipeline.registry.{name}' for name in ours)}\n"
        "heavy = {'mlflow', 'optuna', 'lightgbm', 'xgboost', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", source], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
