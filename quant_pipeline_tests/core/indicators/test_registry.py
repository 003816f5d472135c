"""Contract over every registered indicator: columns, warm-up, edges."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from quant_pipeline.core.bars import empty_bars
from quant_pipeline.core.indicators import (
    INDICATORS,
    Indicator,
    compute_indicators,
    get_indicator,
    indicator_columns,
    max_warmup,
    registry,
)
from quant_pipeline_tests.core.series import all_sessions, random_bars

EVERY = pytest.mark.parametrize("indicator", INDICATORS, ids=lambda item: item.name)


def test_the_indicators_of_the_desk_are_registered_once() -> None:
    names = [item.name for item in INDICATORS]
    assert len(set(names)) == len(names)
    wanted = {"sma_20", "sma_50", "ema_9", "ema_20", "ema_50", "rsi_14", "macd", "bollinger", "atr_14", "vwap_20"}
    assert wanted | {"stochastic", "ichimoku", "keltner"} <= set(names)


@EVERY
def test_values_are_defined_from_the_declared_bar_on(indicator: Indicator) -> None:
    bars = random_bars(1, ("A",), indicator.bars_needed + 30, flat=0.0)
    rows = compute_indicators(bars, all_sessions(bars), indicators=(indicator,))
    complete = rows[list(indicator.columns)].notna().all(axis=1).to_numpy()
    assert not complete[: indicator.bars_needed - 1].any()
    assert complete[indicator.bars_needed - 1 :].all()
    assert indicator.warmup >= indicator.bars_needed - 1


@EVERY
def test_no_bars_and_one_bar_are_not_an_error(indicator: Indicator) -> None:
    nothing = compute_indicators(empty_bars(), [date(2023, 1, 1)], indicators=(indicator,))
    assert nothing.empty
    assert tuple(nothing.columns) == ("symbol", "ts", "session", *indicator.columns)
    bars = random_bars(2, ("A", "B"), 1)
    single = compute_indicators(bars, all_sessions(bars), indicators=(indicator,))
    assert single["symbol"].tolist() == ["A", "B"]


@EVERY
def test_a_flat_market_gives_no_infinity(indicator: Indicator) -> None:
    bars = random_bars(3, ("A",), indicator.bars_needed + 20, flat=1.0)
    bars[["open", "high", "low", "close"]] = 100.0
    rows = compute_indicators(bars, all_sessions(bars), indicators=(indicator,))
    assert not np.isinf(rows[list(indicator.columns)].to_numpy()).any()


@EVERY
def test_compute_does_not_write_into_its_input(indicator: Indicator) -> None:
    bars = random_bars(4, ("A",), 120)
    inputs = {name: bars[name].to_numpy().copy() for name in ("open", "high", "low", "close", "volume")}
    for array in inputs.values():
        array.flags.writeable = False
    computed = indicator.compute(inputs)
    assert set(computed) == set(indicator.columns)
    assert all(values.shape == (120,) and values.dtype == np.float64 for values in computed.values())


def test_rows_come_sorted_with_the_session_as_a_date() -> None:
    bars = random_bars(5, ("A", "B"), 60)
    rows = compute_indicators(bars, [date(2023, 2, 3), date(2023, 2, 1)])
    assert rows["symbol"].tolist() == ["A", "A", "B", "B"]
    assert rows["session"].tolist() == [date(2023, 2, 1), date(2023, 2, 3)] * 2
    assert tuple(rows.columns[3:]) == indicator_columns()
    assert str(rows["ts"].dtype) == "datetime64[ns, UTC]"


def test_two_indicators_with_one_column_are_refused() -> None:
    with pytest.raises(ValueError, match="columns sma_20 are given twice"):
        indicator_columns((registry.simple_average(20), registry.simple_average(20)))


def test_an_indicator_is_found_by_name() -> None:
    assert get_indicator("rsi_14").columns == ("rsi_14",)
    with pytest.raises(ValueError, match="unknown indicator 'rsi'; registered are close, sma_20"):
        get_indicator("rsi")


def test_longest_warmup_is_that_of_the_longest_indicator() -> None:
    assert max_warmup() == max(item.warmup for item in INDICATORS)
    assert max_warmup(()) == 0


@pytest.mark.parametrize("build", [registry.simple_average, registry.exponential_average, registry.relative_strength])
def test_an_indicator_with_a_bad_period_cannot_be_made(build: object) -> None:
    with pytest.raises(ValueError, match="period must be a positive whole number of bars, got -3"):
        build(-3)  # type: ignore[operator]
