"""Relations that hold exactly in the real files: imported, stored, read back from PostgreSQL, resampled as in a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.bars import resample
from quant_pipeline.importers.store import import_files
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.database import Database

NEW_YORK = "America/New_York"
AT = datetime(2026, 6, 1, tzinfo=UTC)
PRICES = ("open", "high", "low", "close")


def _stored(
    db: Database, folder: Path, path: str, market: str, symbol: str, interval: str, tz: str | None = None
) -> pd.DataFrame:
    """A file's bars, as they are read from the database."""
    (result,) = import_files(db, [folder / path], at=AT, tz=tz)
    assert (result.outcome, result.interval, result.symbols) == ("stored", interval, (symbol,)), result.reason
    bars = read_bars(db, market, interval, [symbol], datetime(1990, 1, 1, tzinfo=UTC), AT)
    assert len(bars) == result.rows == result.inserted
    return bars


def _side_by_side(made: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    return made.merge(given, on=["symbol", "ts"], suffixes=("", "_given"))


def _assert_equal(both: pd.DataFrame, *, volume_within: float = 0.0) -> None:
    for name in PRICES:
        assert (both[name] == both[f"{name}_given"]).all(), name
    np.testing.assert_allclose(both["volume"], both["volume_given"], rtol=0, atol=volume_within)


@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_upbit_minutes_are_the_upbit_hours(database: Database, test_data: Path, coin: str) -> None:
    symbol = f"KRW-{coin}"
    minutes = _stored(database, test_data, f"crypto/upbit_1m/{coin}_KRW_1m.csv.gz", "krw_crypto", symbol, "1m")
    hours = _stored(database, test_data, f"crypto/upbit_1h/{coin}_KRW_1h.csv.gz", "krw_crypto", symbol, "1h")
    both = _side_by_side(resample(minutes, "1m", "1h"), hours)
    assert len(both) == 696
    _assert_equal(both, volume_within=1e-9)


def test_korean_quarter_hours_are_the_utc_hours(database: Database, test_data: Path) -> None:
    path = "crypto/upbit_kst/KRW-ETH_15min_2024.csv.gz"
    quarters = _stored(database, test_data, path, "krw_crypto", "KRW-ETH", "15m")
    hours = _stored(database, test_data, "crypto/upbit_1h/ETH_KRW_1h.csv.gz", "krw_crypto", "KRW-ETH", "1h")
    of_hour = quarters.groupby(quarters["ts"].dt.floor("h"))["ts"].transform("count")
    made = resample(quarters[of_hour == 4].reset_index(drop=True), "15m", "1h")
    both = _side_by_side(made, hours)
    assert len(both) == len(made) == 8536  # of the 34,152 quarters 8 stand in hours that are not whole
    _assert_equal(both, volume_within=1e-7)


def test_twenty_four_utc_hours_are_the_korean_day(database: Database, test_data: Path) -> None:
    hours = _stored(database, test_data, "crypto/upbit_1h/ETH_KRW_1h.csv.gz", "krw_crypto", "KRW-ETH", "1h")
    days = _stored(database, test_data, "crypto/upbit_kst/KRW-ETH_daily_2024.csv.gz", "krw_crypto", "KRW-ETH", "1d")
    both = _side_by_side(resample(hours, "1h", "1d"), days)
    assert len(both) == len(days) == 354
    _assert_equal(both, volume_within=1e-6)


@pytest.mark.parametrize(
    ("symbol", "traded"),
    [("SPY", 2418), ("NVDA", 2418), ("NFLX", 2418), ("COIN", 2418), ("CRSP", 2418), ("WEBL", 2215)],
)
def test_consolidated_minutes_are_the_five_minutes(
    database: Database, test_data: Path, symbol: str, traded: int
) -> None:
    minute_file, five_file = f"us_1min/alpaca_iex_mixed/{symbol}_1min.csv.gz", f"us_5min/{symbol}_5min.csv.gz"
    minutes = _stored(database, test_data, minute_file, "us_equity", symbol, "1m", NEW_YORK)
    fives = _stored(database, test_data, five_file, "us_equity", symbol, "5m", NEW_YORK)
    start, end = pd.Timestamp("2026-01-22", tz=NEW_YORK), pd.Timestamp("2026-03-07", tz=NEW_YORK)
    made = resample(minutes[minutes["ts"].between(start, end)].reset_index(drop=True), "1m", "5m")
    both = _side_by_side(made[made["volume"] > 0], fives)
    assert len(both) == traded
    _assert_equal(both)


@pytest.mark.parametrize("symbol", ["SPY", "MSFT", "JPM", "AMZN"])
def test_end_stamped_minutes_are_the_quarter_hours(database: Database, test_data: Path, symbol: str) -> None:
    folder = "us_multi_timeframe_2019"
    minutes = _stored(database, test_data, f"{folder}/{symbol}_1min.csv.gz", "us_equity", symbol, "1m", NEW_YORK)
    quarters = _stored(database, test_data, f"{folder}/{symbol}_15min.csv.gz", "us_equity", symbol, "15m", NEW_YORK)
    both = _side_by_side(resample(minutes, "1m", "15m"), quarters)
    assert len(both) == 5 * 26
    _assert_equal(both)
