"""How a model is called: in our tables, in MLflow, by its identity."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from quant_pipeline.registry.errors import RegistryError

if TYPE_CHECKING:
    from datetime import date

ENSEMBLE = "ensemble"
"""The kind of model (`ModelVersion.name`) that boosted ensembles and their updates are."""

MODEL_VERSION = "model_version"
"""The tag that links a version in MLflow to ours."""


def registered_name(market: str, symbol: str) -> str:
    """Name the registered model of a symbol in MLflow, e.g. `quant.us_equity.AAPL` or `quant.krw_crypto.KRW-BTC`."""
    name = f"quant.{market}.{symbol}"
    if any(character in name for character in "/:'\"% "):
        msg = f"symbol {symbol!r} cannot be part of a model name: MLflow does not allow '/', ':', quotes or blanks"
        raise RegistryError(msg)
    return name


def experiment_name(market: str) -> str:
    """Name the MLflow experiment of a market, e.g. `quant.us_equity`."""
    return f"quant.{market}"


def version_id(market: str, symbol: str, serves_from: date, **content: object) -> str:
    """Name a model version by what it is and when it serves; equal content gives an equal id, in any process."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    digest = hashlib.sha256(f"{market}/{symbol}/{serves_from.isoformat()}/{text}".encode()).hexdigest()
    return f"{market}/{symbol}/{serves_from.isoformat()}/{digest[:16]}"
