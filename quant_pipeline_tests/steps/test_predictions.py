"""Opinions: asked for only where somebody wants to act, of the model that serves the session and was known by then."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.opinion import Opinions
from quant_pipeline.core.models.samples import Samples
from quant_pipeline.core.models.trained import FeatureSet, Horizon, TrainedEnsemble
from quant_pipeline.core.values import Origin
from quant_pipeline.markets import calendar
from quant_pipeline.registry.service import ModelSpan, register_ensemble
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import predictions
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult, read_step
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.models import ModelVersion, add_model_event
from quant_pipeline.storage.versions import current_versions
from quant_pipeline_tests.core.models.synthetic import make_samples
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, Say, opened_desk, settings_for, store_said

US = "us_equity"
SYMBOLS = ("AAA", "BBB", "CCC")
MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
SPAN = calendar.sessions("nyse", date(2026, 3, 26), date(2026, 4, 3))
DAY = SPAN[0]
CLOSED = datetime(2026, 3, 26, 21, tzinfo=UTC)
TRAINED_AT = datetime(2026, 2, 28, 20, tzinfo=UTC)
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
_RUNS = itertools.count()


def _ensemble(seed: int) -> TrainedEnsemble:
    made = make_samples(300, seed=seed)
    samples = Samples(made.x, made.y, made.known_at, made.target_at, FEATURE_SET.columns)
    features = FeatureSet(FEATURE_SET.name, str(FEATURE_SET.version), FEATURE_SET.columns)
    return train_ensemble(samples, features, Horizon(1, "1d"))


@pytest.fixture(scope="module")
def ensembles() -> tuple[TrainedEnsemble, TrainedEnsemble]:
    """Two ensembles that pass the gate and say different things."""
    return _ensemble(7), _ensemble(8)


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk with nothing stored."""
    settings = settings_for(tmp_path, US, symbols=SYMBOLS, history_start=SPAN[0])
    with opened_desk(settings, database) as opened:
        yield opened


def _register(
    desk: Desk, ensemble: TrainedEnsemble, symbol: str, month: date = MARCH, *, at: datetime = TRAINED_AT
) -> ModelVersion:
    following = (month + timedelta(days=31)).replace(day=1)
    span = ModelSpan(
        US, symbol, month, date(2022, 1, 3), month - timedelta(days=1), month, following, {"samples": symbol}
    )
    version = register_ensemble(desk.db, desk.lake, None, ensemble, span, at=at)
    assert version.status == "promoted"
    return version


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _say(desk: Desk, session: date, wishes: Mapping[str, Say]) -> None:
    starts = calendar.daily_bar_start("nyse", session)
    store_said(desk, _market(desk), {(symbol, starts): wish for symbol, wish in wishes.items()})


def _run(
    desk: Desk,
    sessions: Sequence[date],
    *,
    now: datetime = NOW,
    tick: bool = False,
    market: MarketSettings | None = None,
) -> StepResult:
    context = RunContext(now, f"run-{next(_RUNS)}", Origin.LIVE if tick else Origin.BACKFILL, tick=tick)
    return predictions.run(desk, market or _market(desk), sessions, context)


def _said(desk: Desk, sessions: Sequence[date]) -> dict[str, tuple[str, str]]:
    rows = read_step(desk, US, predictions.STEP, sessions)
    return (
        {} if rows.empty else dict(zip(rows["symbol"], zip(rows["purpose"], rows["status"], strict=True), strict=True))
    )


class Counted:
    """The real predict, counting calls and rows and keeping what it said."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.opinions: list[Opinions] = []
        self._real = predictions.predict

    def __call__(self, loaded: Any, x: Any, *, columns: Any) -> Any:
        self.calls.append(len(x))
        self.opinions.append(self._real(loaded, x, columns=columns))
        return self.opinions[-1]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts what models are asked."""
    counter = Counted()
    monkeypatch.setattr(predictions, "predict", counter)
    return counter


def test_a_bar_of_holds_costs_no_inference_and_loads_no_model(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...], counted: Counted
) -> None:
    # A bundle that this process has never opened; whoever opened it would find that it is gone.
    unseen = replace(ensembles[0], metrics=ensembles[0].metrics | {"unseen": 1.0})
    version = _register(desk, unseen, "AAA")
    (bundle,) = Path(desk.lake.root).rglob(f"*{version.content_hash}*")
    bundle.unlink()
    _say(desk, DAY, dict.fromkeys(SYMBOLS, HOLD))
    result = _run(desk, [DAY], now=CLOSED, tick=True)
    assert counted.calls == []
    assert (result.outcomes[0].rows, _said(desk, [DAY])) == (0, {})
    assert result.outcomes[0].numbers == {"opinions": 0, "rebalance_scores": 0, "no_model": 0}


def test_only_bars_with_a_buy_have_the_other_symbols_scored_for_rebalancing(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...], counted: Counted
) -> None:
    for symbol in SYMBOLS:
        _register(desk, ensembles[0], symbol)
    _say(desk, SPAN[0], {"AAA": BUY, "BBB": HOLD, "CCC": SELL})
    _say(desk, SPAN[1], {"AAA": HOLD, "BBB": SELL, "CCC": HOLD})
    result = _run(desk, SPAN[:2])
    assert _said(desk, SPAN[:1]) == {"AAA": ("signal", "ok"), "BBB": ("rebalance", "ok"), "CCC": ("signal", "ok")}
    assert _said(desk, SPAN[1:2]) == {"BBB": ("signal", "ok")}
    assert [o.numbers["opinions"] for o in result.outcomes] == [2, 1]
    assert [o.numbers["rebalance_scores"] for o in result.outcomes] == [1, 0]
    # Three models, each asked once about all its bars.
    assert sorted(counted.calls) == [1, 1, 2]


def test_each_number_of_an_opinion_is_stored_under_its_name_in_the_row_of_its_bar(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...], counted: Counted
) -> None:
    versions = [_register(desk, ensemble, symbol) for symbol, ensemble in zip(SYMBOLS, ensembles, strict=False)]
    _say(desk, SPAN[0], {"AAA": BUY, "BBB": replace(BUY, volatility=0.03)})
    _say(desk, SPAN[1], {"AAA": replace(SELL, volatility=0.02), "BBB": SELL})
    _run(desk, SPAN[:2])
    stored = read_step(desk, US, predictions.STEP, SPAN[:2])
    for version, said in zip(versions, counted.opinions, strict=True):
        rows = stored[stored["symbol"] == version.symbol].sort_values("ts")
        assert rows["model_version_id"].tolist() == [version.id] * 2
        for name in ("expected_return", "p_up", "p_down", "spread", "confidence"):
            np.testing.assert_array_equal(rows[name], getattr(said, name), err_msg=name)
        np.testing.assert_array_equal(rows[["q05", "q50", "q95"]], said.quantiles)
        np.testing.assert_array_equal(rows["members_usable"], said.usable)
        assert (rows["q05"] < rows["q50"]).all()
        assert (rows["q50"] < rows["q95"]).all()


def test_without_rules_every_bar_has_an_opinion(desk: Desk, ensembles: tuple[TrainedEnsemble, ...]) -> None:
    _register(desk, ensembles[0], "AAA")
    _say(desk, DAY, dict.fromkeys(SYMBOLS, HOLD))
    market = _market(desk)
    abstaining = market.model_copy(update={"vote": market.vote.model_copy(update={"mode": "abstain"})})
    _run(desk, [DAY], market=abstaining)
    assert _said(desk, [DAY]) == {
        "AAA": ("signal", "ok"),
        "BBB": ("signal", "no_model"),
        "CCC": ("signal", "no_model"),
    }


def test_a_symbol_without_a_model_and_one_without_features_say_so_and_nothing_else(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...]
) -> None:
    _register(desk, ensembles[0], "AAA")
    _register(desk, ensembles[0], "CCC")
    _say(desk, DAY, {"AAA": BUY, "BBB": BUY, "CCC": replace(BUY, volatility=float("nan"))})
    result = _run(desk, [DAY])
    rows = read_step(desk, US, predictions.STEP, [DAY]).set_index("symbol")
    assert rows["status"].to_dict() == {"AAA": "ok", "BBB": "no_model", "CCC": "no_features"}
    assert np.isfinite(rows.loc["AAA", list(predictions.NUMBERS)].astype(float)).all()
    assert rows.loc["BBB", list(predictions.NUMBERS)].isna().all()
    assert np.isnan(rows.loc["CCC", "expected_return"])
    assert rows["members_usable"].to_dict() == {"AAA": rows.loc["AAA", "members_usable"], "BBB": 0, "CCC": 0}
    assert rows.loc["AAA", "members_usable"] >= 2
    assert result.outcomes[0].numbers["no_model"] == 1


def test_a_tick_uses_only_what_was_accepted_by_then_and_a_backfill_the_month_s_model(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...]
) -> None:
    accepted = CLOSED + timedelta(hours=1)
    version = _register(desk, ensembles[0], "AAA", at=accepted)
    _say(desk, DAY, {"AAA": BUY})
    _run(desk, [DAY], now=accepted - timedelta(seconds=1), tick=True)
    assert _said(desk, [DAY]) == {"AAA": ("signal", "no_model")}
    _run(desk, [DAY], now=accepted, tick=True)
    assert _said(desk, [DAY]) == {"AAA": ("signal", "ok")}
    add_model_event(desk.db, version.id, "retired", accepted + timedelta(hours=1), "person")
    _run(desk, [DAY], now=accepted + timedelta(hours=2), tick=True)
    assert _said(desk, [DAY]) == {"AAA": ("signal", "no_model")}
    _run(desk, [DAY], now=accepted + timedelta(minutes=30), tick=True)
    assert _said(desk, [DAY]) == {"AAA": ("signal", "ok")}


def test_each_session_is_served_by_the_model_of_its_month(desk: Desk, ensembles: tuple[TrainedEnsemble, ...]) -> None:
    versions = {
        3: _register(desk, ensembles[0], "AAA", MARCH).id,
        4: _register(desk, ensembles[1], "AAA", APRIL).id,
    }
    for session in SPAN:
        _say(desk, session, {"AAA": BUY})
    _run(desk, SPAN)
    rows = read_step(desk, US, predictions.STEP, SPAN)
    assert [versions[ts.month] for ts in rows["ts"]] == rows["model_version_id"].tolist()
    assert rows["expected_return"].nunique() == 2


def test_sessions_alone_and_a_range_give_the_same_rows_and_versions(
    desk: Desk, ensembles: tuple[TrainedEnsemble, ...]
) -> None:
    for symbol in SYMBOLS[:2]:
        for month, ensemble in zip((MARCH, APRIL), ensembles, strict=True):
            _register(desk, ensemble, symbol, month)
    wishes = itertools.cycle([BUY, HOLD, SELL, HOLD, HOLD])
    for session in SPAN:
        _say(desk, session, {symbol: next(wishes) for symbol in SYMBOLS})
    _run(desk, SPAN)
    whole = read_step(desk, US, predictions.STEP, SPAN)
    versions = {k: v.content_hash for k, v in current_versions(desk.db, US, predictions.STEP, SPAN).items()}
    for session in reversed(SPAN):
        _run(desk, [session])
    pd.testing.assert_frame_equal(read_step(desk, US, predictions.STEP, SPAN), whole, check_exact=True)
    assert {k: v.content_hash for k, v in current_versions(desk.db, US, predictions.STEP, SPAN).items()} == versions


def test_a_session_without_votes_has_no_opinions(desk: Desk) -> None:
    result = _run(desk, SPAN[:2])
    assert [o.rows for o in result.outcomes] == [0, 0]
