"""The files by which MLflow knows a bundle as a model: `MLmodel`, requirements, and the bundle itself.

Written by hand because MLflow's own `save_model` copies, inspects and rewrites for a tenth of a second per model.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TYPE_CHECKING

from quant_pipeline.registry.pyfunc import OUTPUTS, QUANTILE_OUTPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models import ModelSignature

    from quant_pipeline.core.models.trained import TrainedEnsemble

BUNDLE_FILE = "ensemble.zip"
LOADER_MODULE = "quant_pipeline.registry.pyfunc"
_REQUIREMENTS = ("quant-pipeline", "lightgbm", "xgboost", "numpy", "pandas", "mlflow")
_PYTHON_ENV = "python: {python}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"


def write_model_folder(folder: Path, bundle: bytes, ensemble: TrainedEnsemble, run_id: str) -> None:
    """Write the model folder of a run: what `mlflow.pyfunc.load_model` reads."""
    from mlflow.models import Model

    model = Model(artifact_path="model", run_id=run_id, signature=_signature(ensemble))
    model.add_flavor(
        "python_function",
        loader_module=LOADER_MODULE,
        python_version=python_version(),
        data=BUNDLE_FILE,
        env={"virtualenv": "python_env.yaml"},
    )
    (folder / BUNDLE_FILE).write_bytes(bundle)
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in _installed()), encoding="utf-8")
    (folder / "python_env.yaml").write_text(_PYTHON_ENV.format(python=python_version()), encoding="utf-8")
    model.save(str(folder / "MLmodel"))


def _signature(ensemble: TrainedEnsemble) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    numbers = [*OUTPUTS, *QUANTILE_OUTPUTS, *(f"member_{m.name}" for m in ensemble.members)]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.double, column) for column in ensemble.features.columns]),
        outputs=Schema(
            [
                *(ColSpec(DataType.double, name) for name in numbers),
                ColSpec(DataType.long, "usable"),
                ColSpec(DataType.boolean, "too_few"),
            ]
        ),
    )


@cache
def _installed() -> tuple[str, ...]:
    """Pin the packages that a prediction needs; ours is left out where it runs without being installed."""
    lines = []
    for package in _REQUIREMENTS:
        try:
            lines.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue
    return tuple(lines)
