"""Indicator formulas against published reference values of other libraries."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.indicators import formulas, ta

FOLDER = Path("golden/indicators")


def columns(frame: pd.DataFrame, *names: str) -> tuple[np.ndarray, ...]:
    return tuple(frame[name].to_numpy(dtype=np.float64) for name in names)


def all_values(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that both references know, by a name of ours."""
    macd = formulas.macd(close, 12, 26, 9)
    bands = formulas.bollinger(close, 20, 2.0)
    stochastic = formulas.stochastic(high, low, close, 14, 3)
    channel = formulas.keltner(high, low, close, 20, 10, 2.0)
    return {
        "sma": formulas.sma(close, 20),
        "ema_12": ta.ema(close, 12),
        "ema_20": ta.ema(close, 20),
        "rsi": formulas.rsi(close, 14),
        "macd": macd[0],
        "signal": macd[1],
        "histogram": macd[2],
        "bb_lower": bands[0],
        "bb_upper": bands[2],
        "atr": formulas.atr(high, low, close, 14),
        "stoch_k": stochastic[0],
        "stoch_d": stochastic[1],
        "keltner_lower": channel[0],
        "keltner_mid": channel[1],
        "keltner_upper": channel[2],
    }


STOCK_INDICATORS = [
    ("sma", "sma", "sma"),
    ("ema_20", "ema", "ema"),
    ("rsi", "rsi", "rsi"),
    ("macd", "macd", "macd"),
    ("signal", "macd", "signal"),
    ("histogram", "macd", "histogram"),
    ("bb_lower", "bb", "lowerBand"),
    ("bb_upper", "bb", "upperBand"),
    ("atr", "atr", "atr"),
    ("stoch_k", "stoch", "oscillator"),
    ("stoch_d", "stoch", "signal"),
    ("keltner_lower", "keltner", "lowerBand"),
    ("keltner_mid", "keltner", "centerline"),
    ("keltner_upper", "keltner", "upperBand"),
]


@pytest.mark.parametrize(("name", "file", "field"), STOCK_INDICATORS)
def test_stock_indicators_baseline_from_the_first_defined_row(
    test_data: Path, name: str, file: str, field: str
) -> None:
    folder = test_data / FOLDER / "stock_indicators"
    quotes = pd.read_csv(folder / "quotes_default.csv")
    rows = json.loads(gzip.decompress((folder / f"{file}.standard.json.gz").read_bytes()))
    expected = np.array([np.nan if row[field] is None else row[field] for row in rows], dtype=np.float64)
    found = all_values(*columns(quotes, "high", "low", "close"))[name]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


TALIB = [
    ("sma", "SMA_20"),
    ("ema_12", "EMA_12"),
    ("rsi", "RSI_14"),
    ("bb_lower", "BB_lower_20_2"),
    ("bb_upper", "BB_upper_20_2"),
    ("atr", "ATR_14"),
]


def talib_inputs(test_data: Path, series: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    reference = pd.read_csv(test_data / FOLDER / "talib" / f"{series}.csv.gz")
    if series.startswith("MSFT"):
        return reference, pd.read_csv(test_data / "us_daily/yahoo/MSFT.csv.gz").rename(columns=str.lower)
    hours = pd.read_csv(test_data / "crypto/upbit_1h/BTC_KRW_1h.csv.gz")
    return reference, hours[hours["timestamp"] >= "2025-01-01"].reset_index(drop=True)


@pytest.mark.parametrize("series", ["MSFT_daily_2000_2021", "KRW-BTC_1h_from_2025-01-01"])
def test_talib_reference_from_the_first_defined_row(test_data: Path, series: str) -> None:
    reference, bars = talib_inputs(test_data, series)
    found = all_values(*columns(bars, "high", "low", "close"))
    for name, column in TALIB:
        np.testing.assert_allclose(found[name], reference[column], rtol=1e-11, atol=1e-8, err_msg=column)


@pytest.mark.parametrize("series", ["MSFT_daily_2000_2021", "KRW-BTC_1h_from_2025-01-01"])
def test_talib_reference_where_starts_differ_but_are_forgotten(test_data: Path, series: str) -> None:
    """TA-Lib starts both MACD averages on the same bar and shows nothing before the signal."""
    reference, bars = talib_inputs(test_data, series)
    found = all_values(*columns(bars, "high", "low", "close"))
    pairs = [("macd", "MACD_12_26_9"), ("signal", "MACD_signal"), ("histogram", "MACD_hist")]
    for name, column in [*pairs, ("stoch_k", "STOCH_slowK_14_3"), ("stoch_d", "STOCH_slowD_3")]:
        np.testing.assert_allclose(found[name][-100:], reference[column][-100:], rtol=1e-9, atol=1e-7, err_msg=column)


def test_chartschool_vwap_once_its_window_is_full(test_data: Path) -> None:
    table = pd.read_csv(test_data / FOLDER / "chartschool/cs-vwap.csv")
    found = formulas.vwap(*columns(table, "High", "Low", "Close", "Volume"), 14)
    np.testing.assert_allclose(found[13:], table["vwap"][13:], rtol=1e-9)


def test_awkward_quotes_give_no_infinity_and_nothing_out_of_bounds(test_data: Path) -> None:
    for name in ("quotes_zeros", "quotes_penny", "quotes_bitcoin"):
        quotes = pd.read_csv(test_data / FOLDER / "stock_indicators" / f"{name}.csv.gz").rename(columns=str.lower)
        values = all_values(*columns(quotes, "high", "low", "close"))
        for key, found in values.items():
            assert not np.isinf(found).any(), (name, key)
        for key in ("rsi", "stoch_k", "stoch_d"):
            defined = values[key][~np.isnan(values[key])]
            assert ((defined >= -1e-9) & (defined <= 100 + 1e-9)).all(), (name, key)
