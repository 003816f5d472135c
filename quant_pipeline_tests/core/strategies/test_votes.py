"""Each strategy's rule, and the contract that every registered one keeps."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.indicators import compute_indicators, indicator_columns
from quant_pipeline.core.strategies import DEFAULT_WEIGHTS, STRATEGIES, Strategy, get_strategy
from quant_pipeline.core.strategies.lead_lag import lead_lag
from quant_pipeline_tests.core.series import all_sessions, random_bars

EVERY = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: item.name)
BARS = random_bars(21, ("KRW-BTC", "KRW-ETH"), 300)
ROWS = compute_indicators(BARS, all_sessions(BARS))


def vote(name: str, **columns: list[float]) -> list[float]:
    """Votes of the named strategy on rows with the given indicator values."""
    return get_strategy(name).vote(pd.DataFrame(columns, dtype=np.float64)).tolist()


@EVERY
def test_votes_lie_between_sell_and_buy_one_per_row(strategy: Strategy) -> None:
    votes = strategy.vote(ROWS.assign(external_signal=0.5))
    assert votes.shape == (len(ROWS),)
    assert votes.dtype == np.float64
    assert (np.abs(votes[~np.isnan(votes)]) <= 1.0).all()
    assert (~np.isnan(votes)).sum() > 150


@EVERY
def test_an_undefined_input_makes_a_strategy_abstain(strategy: Strategy) -> None:
    for name in strategy.required_columns:
        votes = strategy.vote(ROWS.assign(**{name: np.nan}))
        assert np.isnan(votes).all(), name


@EVERY
def test_no_rows_give_no_votes(strategy: Strategy) -> None:
    assert strategy.vote(ROWS.iloc[:0]).shape == (0,)


@EVERY
def test_a_vote_does_not_depend_on_the_order_or_number_of_rows(strategy: Strategy) -> None:
    rows = ROWS.assign(external_signal=np.linspace(-1, 1, len(ROWS)))
    votes = pd.Series(strategy.vote(rows))
    shuffled = rows.sample(frac=1.0, random_state=3)
    pd.testing.assert_series_equal(pd.Series(strategy.vote(shuffled), index=shuffled.index).sort_index(), votes)
    one_day = rows[rows["session"] == date(2023, 9, 9)]
    np.testing.assert_array_equal(strategy.vote(one_day), votes[one_day.index])


@EVERY
def test_symbols_are_independent_unless_declared_otherwise(strategy: Strategy) -> None:
    rows = ROWS.assign(external_signal=0.1)
    together = strategy.vote(rows)
    for symbol in ("KRW-BTC", "KRW-ETH"):
        own = (rows["symbol"] == symbol).to_numpy()
        same = np.array_equal(strategy.vote(rows[own]), together[own], equal_nan=True)
        assert same or strategy.cross_symbol


@EVERY
def test_required_columns_are_given_by_registered_indicators(strategy: Strategy) -> None:
    assert set(strategy.required_columns) <= set(indicator_columns())
    assert (strategy.warmup > 0) == bool(strategy.required_columns)


def test_every_strategy_has_a_default_weight_and_outside_signals_have_none() -> None:
    assert set(DEFAULT_WEIGHTS) == {item.name for item in STRATEGIES}
    assert DEFAULT_WEIGHTS["external_signal"] == DEFAULT_WEIGHTS["lead_lag"] == 0.0
    assert sum(DEFAULT_WEIGHTS.values()) == pytest.approx(1.0)


def test_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown strategy 'astrology'; registered are ema_trend"):
        get_strategy("astrology")


def test_trend_votes_by_the_distance_of_the_averages_when_the_slope_agrees() -> None:
    found = vote(
        "ema_trend",
        ema_20=[101, 110, 99, 101, 100],
        ema_50=[100, 100, 100, 100, 100],
        ema_50_slope_5=[0.01, 0.01, -0.01, -0.01, 0.01],
        atr_14=[1, 1, 2, 1, 1],
    )
    assert found == [0.5, 1.0, -0.25, 0.0, 0.0]


def test_reversion_by_rsi_speaks_only_at_the_extremes() -> None:
    found = vote("rsi_reversion", rsi_14=[30, 25, 20, 5, 30.1, 50, 69.9, 70, 75, 95])
    assert found == [0.5, 0.75, 1.0, 1.0, 0.0, 0.0, 0.0, -0.5, -0.75, -1.0]


def test_momentum_shouts_on_a_crossing_then_follows_a_growing_histogram() -> None:
    found = vote(
        "macd_momentum",
        macd_hist=[0.01, -0.01, 0.5, 0.125, -2.0, 0.1, 0.0],
        macd_hist_prev=[-0.01, 0.02, 0.4, 0.1, -1.0, 0.2, 0.0],
        atr_14=[1, 1, 1, 1, 1, 1, 1],
    )
    assert found == [1.0, -1.0, 0.5, 0.25, -0.5, 0.0, 0.0]


def test_bands_are_faded_outside_and_silent_inside() -> None:
    # Deviation 1, so the bands stand at 98 and 102.
    found = vote(
        "bollinger_reversion",
        close=[100, 101.9, 102, 102.25, 104, 98, 97.75, 90],
        bb_mid=[100] * 8,
        bb_upper=[102] * 8,
    )
    assert found == [0.0, 0.0, -0.5, -0.75, -1.0, 0.5, 0.75, 1.0]


def test_bands_without_width_say_nothing() -> None:
    assert np.isnan(vote("bollinger_reversion", close=[100], bb_mid=[100], bb_upper=[100])).all()


def test_external_slot_passes_a_joined_column_on_and_abstains_without_one() -> None:
    slot = get_strategy("external_signal")
    assert slot.vote(pd.DataFrame({"external_signal": [0.3, -1.0]})).tolist() == [0.3, -1.0]
    assert np.isnan(slot.vote(ROWS)).all()


def test_follower_is_expected_to_catch_up_with_its_leader() -> None:
    ts = pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("UTC")
    rows = pd.DataFrame(
        {
            "symbol": ["BTC", "BTC", "ETH", "ETH", "XRP"],
            "ts": [*ts, *ts, ts[1] + pd.Timedelta(days=1)],
            "close": 100.0,
            "return_1": [0.03, -0.01, 0.01, 0.03, 0.0],
            "atr_14": 4.0,
        }
    )
    found = lead_lag("BTC").vote(rows)
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.5, -1.0, np.nan], rtol=1e-12)
