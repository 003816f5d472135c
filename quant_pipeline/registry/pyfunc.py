"""How MLflow loads our bundles: `mlflow.pyfunc.load_model("models:/quant.us_equity.AAPL@champion").predict(frame)`.

Named as `loader_module` in every logged model; nothing here imports mlflow, and nothing here may be renamed lightly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.bundle import bundle_hash
from quant_pipeline.core.models.loaded import LoadedEnsemble, load_members, predict
from quant_pipeline.core.models.opinion import QUANTILES

if TYPE_CHECKING:
    import pandas as pd

OUTPUTS = ("expected_return", "confidence", "p_up", "p_down", "spread")
QUANTILE_OUTPUTS = tuple(f"q{round(100 * level):02d}" for level in QUANTILES)


class EnsembleModel:
    """A loaded ensemble in the shape that MLflow expects."""

    def __init__(self, loaded: LoadedEnsemble) -> None:
        """Store the ensemble."""
        self.loaded = loaded

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return one opinion per row of a frame that has the ensemble's features as columns, in any order.

        Columns: `OUTPUTS`, `QUANTILE_OUTPUTS`, `usable` (distinct members that answered), `too_few`, and
        `member_NAME` per member. Returns are fractions per horizon. Raises ValueError naming features that the frame
        lacks.
        """
        import pandas as pd

        ensemble = self.loaded.ensemble
        columns = list(ensemble.features.columns)
        missing = [column for column in columns if column not in model_input.columns]
        if missing:
            msg = f"the frame lacks the features {missing} of {ensemble.features.name} {ensemble.features.version}"
            raise ValueError(msg)
        opinions = predict(self.loaded, model_input[columns].to_numpy(dtype=np.float64), columns=columns)
        content = {name: getattr(opinions, name) for name in OUTPUTS}
        content |= {name: opinions.quantiles[:, i] for i, name in enumerate(QUANTILE_OUTPUTS)}
        content |= {"usable": opinions.usable, "too_few": opinions.too_few}
        content |= {f"member_{m.name}": opinions.members[:, i] for i, m in enumerate(ensemble.members)}
        return pd.DataFrame(content, index=model_input.index)


def _load_pyfunc(data_path: str) -> EnsembleModel:
    """Load the bundle at `data_path`; MLflow calls this by name."""
    data = Path(data_path).read_bytes()
    return EnsembleModel(load_members(data, bundle_hash(data)))
