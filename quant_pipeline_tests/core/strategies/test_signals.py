"""Votes to score to outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.indicators import compute_indicators
from quant_pipeline.core.strategies import (
    DEFAULT_WEIGHTS,
    STRATEGIES,
    Strategy,
    compute_signals,
    outcome,
    required_indicators,
    score,
    signal_columns,
)
from quant_pipeline_tests.core.series import all_sessions, random_bars

BARS = random_bars(31, ("A", "B", "C", "D"), 700)
ROWS = compute_indicators(BARS, all_sessions(BARS))

VOTE = st.one_of(st.floats(-1, 1), st.just(float("nan")))


def test_score_is_the_weighted_mean_of_the_votes_given() -> None:
    votes = {"a": np.array([1.0, 1.0, np.nan, np.nan]), "b": np.array([-1.0, np.nan, 0.5, np.nan])}
    np.testing.assert_array_equal(score(votes, {"a": 3.0, "b": 1.0}), [0.5, 1.0, 0.5, np.nan])


def test_a_strategy_without_weight_neither_votes_nor_abstains() -> None:
    votes = {"a": np.array([0.5, np.nan]), "b": np.array([-1.0, -1.0])}
    np.testing.assert_array_equal(score(votes, {"a": 1.0}), [0.5, np.nan])


@given(
    rows=st.lists(st.tuples(VOTE, VOTE, VOTE), min_size=1, max_size=20), weights=st.tuples(*[st.floats(0.01, 5)] * 3)
)
def test_score_lies_between_the_votes_and_mirrors_with_them(
    rows: list[tuple[float, float, float]], weights: tuple[float, float, float]
) -> None:
    table = np.array(rows)
    votes = {name: table[:, k] for k, name in enumerate("abc")}
    by_name = dict(zip("abc", weights, strict=True))
    found = score(votes, by_name)
    nobody = np.isnan(table).all(axis=1)
    np.testing.assert_array_equal(np.isnan(found), nobody)
    given_rows = table[~nobody]
    assert (found[~nobody] <= np.nanmax(given_rows, axis=1) + 1e-12).all()
    assert (found[~nobody] >= np.nanmin(given_rows, axis=1) - 1e-12).all()
    np.testing.assert_array_equal(score({name: -vote for name, vote in votes.items()}, by_name), -found)


def test_outcome_at_beyond_and_between_the_thresholds() -> None:
    scores = np.array([0.2, 0.19999, 1.0, -0.2, -0.19999, -1.0, 0.0, np.nan])
    found = outcome(scores, buy_at=0.2, sell_at=-0.2)
    assert found.dtype == np.int8
    assert found.tolist() == [1, 0, 1, -1, 0, -1, 0, 0]


@pytest.mark.parametrize(("buy_at", "sell_at"), [(0.0, -0.2), (0.2, 0.0), (1.1, -0.2), (0.2, -1.1), (-0.2, 0.2)])
def test_thresholds_without_room_for_hold_are_refused(buy_at: float, sell_at: float) -> None:
    with pytest.raises(ValueError, match=f"buy_at={buy_at}, sell_at={sell_at} must satisfy"):
        outcome(np.zeros(1), buy_at=buy_at, sell_at=sell_at)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"ema_trend": -0.1}, "weight of strategy ema_trend is -0.1"),
        ({"ema_trend": float("nan")}, "weight of strategy ema_trend is nan"),
        ({"emma": 1.0}, "weight for unknown strategy 'emma'; registered are ema_trend"),
        ({"ema_trend": 0.0}, "no strategy has a weight above 0"),
        ({}, "no strategy has a weight above 0"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute_signals(ROWS, weights)


def test_signals_keep_the_rows_and_name_every_vote() -> None:
    found = compute_signals(ROWS)
    assert tuple(found.columns) == ("symbol", "ts", "session", *signal_columns())
    pd.testing.assert_frame_equal(found[["symbol", "ts", "session"]], ROWS[["symbol", "ts", "session"]])
    assert found["vote"].dtype == np.int8
    assert found["vote_external_signal"].isna().all()


def test_bars_without_history_are_marked_and_hold() -> None:
    found = compute_signals(ROWS)
    early = found.groupby("symbol").head(14)
    assert (early["status"] == "no_history").all()
    assert (early["vote"] == 0).all()
    assert early["score"].isna().all()
    assert set(found["status"].iloc[100:700]) == {"ok"}


def test_default_weights_act_on_a_part_of_an_ordinary_market() -> None:
    share = compute_signals(ROWS)["vote"].value_counts(normalize=True)
    assert 0.10 <= share[1] <= 0.30
    assert 0.10 <= share[-1] <= 0.30
    assert share[0] >= 0.45


def test_the_weighted_score_can_be_recomputed_from_the_stored_votes() -> None:
    found = compute_signals(ROWS)
    found = found[found["status"] == "ok"]
    votes = found[[f"vote_{name}" for name in DEFAULT_WEIGHTS]].to_numpy()
    weights = np.array(list(DEFAULT_WEIGHTS.values()))
    given_weight = np.where(np.isnan(votes), 0.0, weights).sum(axis=1)
    np.testing.assert_allclose(found["score"], np.nansum(votes * weights, axis=1) / given_weight, rtol=1e-12)


def test_a_switched_off_strategy_is_not_asked() -> None:
    def explode(frame: pd.DataFrame) -> np.ndarray:
        raise AssertionError(len(frame))

    strategies = (*STRATEGIES, Strategy("explosive", 1, ("no_such_column",), explode))
    found = compute_signals(ROWS, DEFAULT_WEIGHTS, strategies=strategies)
    assert found["vote_explosive"].isna().all()


def test_a_missing_column_and_a_vote_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="strategy rsi_reversion needs the columns rsi_14"):
        compute_signals(ROWS.drop(columns="rsi_14"))
    with pytest.raises(ValueError, match=r"strategy external_signal voted 1\.5"):
        compute_signals(ROWS.assign(external_signal=1.5), {"external_signal": 1.0})


def test_only_the_indicators_that_weighted_strategies_read_are_required() -> None:
    assert [item.name for item in required_indicators({"rsi_reversion": 1.0})] == ["rsi_14"]
    everything = {item.name for item in required_indicators()}
    assert {"close", "ema_20", "ema_50", "macd", "bollinger", "atr_14"} <= everything
    assert "ichimoku" not in everything
    rows = compute_indicators(BARS, all_sessions(BARS)[-5:], indicators=required_indicators())
    assert len(compute_signals(rows)) == 20


def test_no_rows_give_no_signals() -> None:
    found = compute_signals(ROWS.iloc[:0])
    assert found.empty
    assert found["vote"].dtype == np.int8
