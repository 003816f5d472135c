"""Bar frames: shape, sanity, resampling."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.bars import (
    bar_close,
    bar_closes,
    empty_bars,
    interval_seconds,
    resample,
    validate_bars,
)
from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline_tests.core.series import random_bars


def minute_bars(rows: list[tuple[str, float, float, float, float, float]], symbol: str = "X") -> pd.DataFrame:
    """Bars of one symbol on 2024-03-01 from (HH:MM, open, high, low, close, volume)."""
    frame = pd.DataFrame(rows, columns=["ts", *BAR_COLUMNS[2:]])
    frame["ts"] = pd.to_datetime("2024-03-01 " + frame["ts"]).dt.tz_localize("UTC").astype("datetime64[ns, UTC]")
    frame.insert(0, "symbol", symbol)
    return frame


def test_empty_bars_have_the_columns_and_types_of_every_bar_frame() -> None:
    frame = empty_bars()
    assert tuple(frame.columns) == BAR_COLUMNS
    assert frame.dtypes.astype(str).tolist() == ["object", "datetime64[ns, UTC]"] + ["float64"] * 5
    assert validate_bars(frame) == []


def test_sound_bars_have_no_violation() -> None:
    assert validate_bars(random_bars(1, ("A", "B"), 50)) == []


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("low", 1e6, "low_above_body"),
        ("high", 0.5, "high_below_body"),
        ("volume", -1.0, "negative_volume"),
        ("close", np.nan, "not_finite"),
        ("volume", np.inf, "not_finite"),
        ("low", 0.0, "price_not_positive"),
        ("open", -5.0, "price_not_positive"),
    ],
)
def test_broken_bar_is_named_with_symbol_time_rule_and_value(column: str, value: float, rule: str) -> None:
    frame = random_bars(2, ("A", "B"), 10)
    frame.loc[13, column] = value
    found = [item for item in validate_bars(frame) if item.rule == rule]
    assert [(item.symbol, item.ts) for item in found] == [("B", frame["ts"][13])]
    assert f"{column}={value}" in found[0].value


def test_repeated_and_unsorted_bars_are_told_apart() -> None:
    frame = random_bars(3, ("A",), 6).iloc[[0, 1, 1, 4, 3]].reset_index(drop=True)
    assert [(item.rule, item.ts) for item in validate_bars(frame)] == [
        ("duplicate", frame["ts"][2]),
        ("unsorted", frame["ts"][4]),
    ]


def test_symbols_out_of_order_are_unsorted() -> None:
    frame = random_bars(3, ("A", "B"), 2).iloc[[2, 3, 0, 1]].reset_index(drop=True)
    assert [item.rule for item in validate_bars(frame)] == ["unsorted"]


def test_rows_without_symbol_or_time_are_reported_and_the_rest_is_checked() -> None:
    frame = random_bars(3, ("A",), 6)
    frame.loc[1, "symbol"] = None
    frame.loc[2, "ts"] = pd.NaT
    frame.loc[4, "volume"] = -1.0
    assert [(item.rule, item.value) for item in validate_bars(frame)] == [
        ("missing_key", "row 1"),
        ("missing_key", "row 2"),
        ("negative_volume", "volume=-1.0"),
    ]


def test_wrong_shape_is_reported_and_nothing_else_is_looked_at() -> None:
    frame = random_bars(4, ("A",), 5).drop(columns="volume").assign(open=1)
    frame["ts"] = frame["ts"].dt.tz_localize(None)
    found = validate_bars(frame)
    assert [item.rule for item in found] == ["wrong_type", "wrong_type", "missing_column"]
    assert all(item.symbol == "" and item.ts is None for item in found)
    assert "expected datetime64[ns, UTC]" in found[0].value


def test_intervals_have_their_seconds_and_unknown_ones_are_refused() -> None:
    assert [interval_seconds(name) for name in ("1m", "5m", "15m", "1h", "4h", "1d")] == [
        60,
        300,
        900,
        3600,
        14400,
        86400,
    ]
    with pytest.raises(ValueError, match="unknown bar interval '7m'; use one of 1m, 5m"):
        interval_seconds("7m")


def test_bar_closes_one_interval_after_its_start() -> None:
    start = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)
    assert bar_close(start, "4h") == datetime(2024, 3, 1, 13, 0, tzinfo=UTC)
    assert bar_close(start, "1d", always_open=True) == datetime(2024, 3, 2, 9, 0, tzinfo=UTC)
    closes = bar_closes(pd.Series(pd.to_datetime([start])), "5m")
    assert closes.tolist() == [pd.Timestamp("2024-03-01 09:05", tz="UTC")]


def test_daily_close_needs_the_calendar_unless_the_market_never_closes() -> None:
    with pytest.raises(ValueError, match="take it from the market's calendar"):
        bar_close(datetime(2024, 3, 1, tzinfo=UTC), "1d")


def test_resampling_takes_first_highest_lowest_last_and_sum() -> None:
    bars = minute_bars(
        [
            ("09:00", 10, 12, 9, 11, 5),
            ("09:04", 11, 15, 10, 14, 7),
            ("09:05", 14, 14, 13, 13, 1),
            ("09:17", 8, 9, 7, 8, 2),
        ]
    )
    found = resample(bars, "1m", "5m")
    expected = minute_bars([("09:00", 10, 15, 9, 14, 12), ("09:05", 14, 14, 13, 13, 1), ("09:15", 8, 9, 7, 8, 2)])
    pd.testing.assert_frame_equal(found, expected)


def test_minutes_without_trade_count_only_where_nothing_traded() -> None:
    bars = minute_bars(
        [
            ("09:00", 10, 10, 10, 10, 0),
            ("09:01", 11, 12, 11, 12, 3),
            ("09:02", 12, 12, 12, 12, 0),
            ("09:05", 12, 12, 12, 12, 0),
        ]
    )
    expected = minute_bars([("09:00", 11, 12, 11, 12, 3), ("09:05", 12, 12, 12, 12, 0)])
    pd.testing.assert_frame_equal(resample(bars, "1m", "5m"), expected)


def test_forming_bucket_is_left_out_until_it_is_closed() -> None:
    bars = minute_bars([(f"09:{minute:02d}", 10, 11, 9, 10, 1) for minute in range(9)])
    before, after = (datetime(2024, 3, 1, 9, minute, tzinfo=UTC) for minute in (9, 10))
    assert resample(bars, "1m", "5m", until=before)["volume"].tolist() == [5.0]
    assert resample(bars, "1m", "5m", until=after)["volume"].tolist() == [5.0, 4.0]
    with pytest.raises(ValueError, match="no time zone"):
        resample(bars, "1m", "5m", until=datetime(2024, 3, 1, 9, 9))  # noqa: DTZ001


def test_resampling_to_something_that_is_no_multiple_is_refused() -> None:
    for source, target in (("1h", "5m"), ("15m", "1m")):
        with pytest.raises(ValueError, match=f"cannot resample {source} bars to {target}"):
            resample(empty_bars(), source, target)


def test_resampling_nothing_gives_an_empty_bar_frame() -> None:
    pd.testing.assert_frame_equal(resample(empty_bars(), "1m", "1h"), empty_bars())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), absent=st.floats(0.0, 0.9))
def test_resampling_in_two_steps_equals_one_step_and_keeps_the_volume(seed: int, absent: float) -> None:
    bars = random_bars(seed, ("A", "B"), 300, interval="1m", start="2024-03-01 07:23", absent=absent)
    direct = resample(bars, "1m", "1h")
    pd.testing.assert_frame_equal(resample(resample(bars, "1m", "15m"), "15m", "1h"), direct)
    assert validate_bars(direct) == []
    assert direct["volume"].sum() == bars["volume"].sum()


def _read_upbit(path: Path, symbol: str) -> pd.DataFrame:
    frame = pd.read_csv(path)
    frame["ts"] = pd.to_datetime(frame["timestamp"]).dt.tz_localize("UTC").astype("datetime64[ns, UTC]")
    return frame.assign(symbol=symbol)[list(BAR_COLUMNS)].astype(dict.fromkeys(BAR_COLUMNS[2:], np.float64))


@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_real_minutes_make_the_exchanges_own_hours(test_data: Path, coin: str) -> None:
    minutes = _read_upbit(test_data / "crypto/upbit_1m" / f"{coin}_KRW_1m.csv.gz", coin)
    hours = _read_upbit(test_data / "crypto/upbit_1h" / f"{coin}_KRW_1h.csv.gz", coin)
    built = resample(minutes, "1m", "1h").merge(hours, on=["symbol", "ts"], suffixes=("", "_venue"))
    assert len(built) == 696
    for name in ("open", "high", "low", "close"):
        assert built[name].equals(built[f"{name}_venue"].rename(name))
    np.testing.assert_allclose(built["volume"], built["volume_venue"], rtol=1e-9)
