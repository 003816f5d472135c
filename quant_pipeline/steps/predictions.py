"""The predictions step: the opinion of the model that serves a session, only for bars on which somebody wants to act.

A HOLD costs no inference. On a bar with at least one BUY the other symbols are scored too, for rebalancing only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import code_hash, combine_hashes
from quant_pipeline.core.models.loaded import predict
from quant_pipeline.core.values import Reason
from quant_pipeline.registry.serving import ServedModel, load_versions, resolve_many
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features, signals
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    StepResult,
    Window,
    read_step,
    windows_of,
    write_step,
)
from quant_pipeline.steps.timing import as_dates, session_column
from quant_pipeline.storage.models import ModelVersion
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import current_versions

STEP = "predictions"
OK = "ok"
NO_FEATURES = "no_features"
NUMBERS = ("expected_return", "p_up", "p_down", "q05", "q50", "q95", "spread", "confidence")


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Predict the bars of `sessions` that need an opinion.

    A tick resolves models by what was accepted by now; a backfill by the period a model serves.
    """
    after = newest_version(desk.db)
    voted = read_step(desk, market.name, signals.STEP, sessions)
    wanted = _wanted(market, voted)
    described = read_step(desk, market.name, features.STEP, sessions)
    known_at = context.now if context.tick else None
    versions = resolve_many(desk.db, market.name, market.symbols, sessions, known_at)
    asked = set(zip(as_dates(session_column(wanted["ts"])), wanted["symbol"].astype(str), strict=True))
    models = load_versions(desk.lake, {key: version for key, version in versions.items() if key in asked})
    frame = _predict(wanted, described, models)
    return write_step(
        desk,
        market.name,
        STEP,
        frame,
        sessions=sessions,
        inputs=_inputs(desk, market, sessions, versions, voted),
        code_hash=code_hash("models"),
        settings_hash="",
        context=RunContext(context.now, context.run_id, context.origin, context.tick),
        numbers=_numbers(frame, sessions),
        made=Made(after, _windows(desk, market, sessions, models)),
    )


def current_inputs(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[Key, str]:
    """What a backfill would note as the inputs of `sessions` now: another hash than the stored one is stale."""
    versions = resolve_many(desk.db, market.name, market.symbols, sessions, None)
    return _inputs(desk, market, sessions, versions, read_step(desk, market.name, signals.STEP, sessions))


def _wanted(market: MarketSettings, voted: pd.DataFrame) -> pd.DataFrame:
    """The (symbol, ts, purpose) that need an opinion. Without a rule vote every bar does."""
    if voted.empty:
        return pd.DataFrame({"symbol": [], "ts": pd.to_datetime([], utc=True), "purpose": []})
    usable = voted[voted["status"] == signals.OK][["symbol", "ts", "vote"]]
    if market.vote.mode == "abstain":
        return usable.assign(purpose="signal").drop(columns="vote")
    acting = usable["vote"].to_numpy() != 0
    with_buy = usable["ts"].isin(usable.loc[usable["vote"] == 1, "ts"])
    chosen: pd.DataFrame = usable[acting | with_buy]
    return chosen.assign(purpose=np.where(chosen["vote"] != 0, "signal", "rebalance")).drop(columns="vote")


def _predict(
    wanted: pd.DataFrame, described: pd.DataFrame, models: Mapping[tuple[date, str], ServedModel]
) -> pd.DataFrame:
    columns = list(FEATURE_SET.columns)
    if wanted.empty:
        return _empty()
    rows = (
        wanted.merge(described, on=["symbol", "ts"], how="left")
        if not described.empty
        else wanted.assign(**dict.fromkeys(columns, np.nan))
    )
    rows = rows.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)
    days = as_dates(session_column(rows["ts"]))
    out = _blank(rows)
    keys = list(zip(days, rows["symbol"].astype(str), strict=True))
    values = rows[columns].to_numpy(dtype=np.float64)
    said_of = {
        name: out[name].to_numpy(copy=True) for name in (*NUMBERS, "members_usable", "model_version_id", "status")
    }
    for served, at in _by_model(keys, models):
        said = predict(served.loaded, values[at], columns=columns)
        for name in ("expected_return", "p_up", "p_down", "spread", "confidence"):
            said_of[name][at] = getattr(said, name)
        said_of["q05"][at], said_of["q50"][at], said_of["q95"][at] = said.quantiles.T
        said_of["members_usable"][at] = said.usable
        said_of["model_version_id"][at] = served.version.id
        sound = np.isfinite(values[at]).all(axis=1)
        said_of["status"][at] = np.where(sound, OK, NO_FEATURES)
    return out.assign(**said_of)


def _by_model(
    keys: Sequence[tuple[date, str]], models: Mapping[tuple[date, str], ServedModel]
) -> list[tuple[ServedModel, NDArray[np.intp]]]:
    """Rows grouped by the model that predicts them, so that each is asked once."""
    groups: dict[str, tuple[ServedModel, list[int]]] = {}
    for i, key in enumerate(keys):
        served = models.get(key)
        if served is not None:
            groups.setdefault(served.version.id, (served, []))[1].append(i)
    return [(served, np.array(at, np.intp)) for served, at in groups.values()]


def _blank(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": rows["symbol"],
            "ts": rows["ts"],
            "purpose": rows["purpose"],
            **dict.fromkeys(NUMBERS, np.nan),
            "members_usable": np.int64(0),
            "model_version_id": "",
            "status": Reason.NO_MODEL.code,
        }
    )


def _empty() -> pd.DataFrame:
    texts = pd.Series([], dtype=object)
    frame = _blank(pd.DataFrame({"symbol": texts, "ts": pd.to_datetime([], utc=True), "purpose": texts}))
    return frame.astype(dict.fromkeys(NUMBERS, np.float64) | {"members_usable": np.int64})


def _inputs(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    models: Mapping[tuple[date, str], ModelVersion],
    voted: pd.DataFrame,
) -> dict[Key, str]:
    """Features and votes of the symbol, its model, and on which bars anybody is bought: the others are scored there."""
    described = current_versions(desk.db, market.name, features.STEP, sessions)
    votes = current_versions(desk.db, market.name, signals.STEP, sessions)
    bought = _bought(market, voted)
    found: dict[Key, str] = {}
    for session in sessions:
        for symbol in market.symbols:
            key = (session, symbol)
            model = models[key].content_hash if key in models else ""
            own = (known[key].content_hash if key in known else "" for known in (described, votes))
            found[key] = combine_hashes(*own, *bought.get(session, ()), model)
    return found


def _bought(market: MarketSettings, voted: pd.DataFrame) -> dict[date, list[str]]:
    """The bars of each session on which some symbol is a BUY; without a rule vote they make no difference."""
    if voted.empty or market.vote.mode == "abstain":
        return {}
    rows = voted[(voted["status"] == signals.OK) & (voted["vote"] == 1)]
    starts = rows["ts"].drop_duplicates().sort_values()
    found: dict[date, list[str]] = {}
    for session, start in zip(as_dates(session_column(starts)), starts, strict=True):
        found.setdefault(session, []).append(start.isoformat())
    return found


def _windows(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], models: Mapping[Key, ServedModel]
) -> dict[Key, Window]:
    """The bars behind each symbol's features, vote and model, where it was asked."""
    known = [current_versions(desk.db, market.name, step, sessions) for step in (features.STEP, signals.STEP)]
    spans = windows_of(*known)
    for key, served in models.items():
        learned_from = served.version.metrics.get("window_from")
        if key in spans and learned_from is not None:
            spans[key] = min(spans[key][0], date.fromisoformat(learned_from)), spans[key][1]
    return spans


def _numbers(frame: pd.DataFrame, sessions: Sequence[date]) -> dict[date, dict[str, Number]]:
    days = session_column(frame["ts"])
    numbers: dict[date, dict[str, Number]] = {}
    for session in sessions:
        rows = frame[days == np.datetime64(session)]
        said = rows[(rows["purpose"] == "signal") & (rows["status"] == OK)]
        numbers[session] = {
            "opinions": int((rows["purpose"] == "signal").sum()),
            "rebalance_scores": int((rows["purpose"] == "rebalance").sum()),
            "no_model": int((rows["status"] == Reason.NO_MODEL.code).sum()),
        }
        if len(said):
            numbers[session]["confidence_median"] = float(said["confidence"].median())
    return numbers
