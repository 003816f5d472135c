"""What file names say."""

from __future__ import annotations

import pytest

from quant_pipeline.importers.naming import interval_in, normal_symbol, symbol_in


@pytest.mark.parametrize(
    ("name", "symbol", "interval"),
    [
        ("AAPL.csv.gz", "AAPL", None),
        ("AAPL.parquet", "AAPL", None),
        ("BRK.B_daily.csv", "BRK.B", "1d"),
        ("BRK-B.csv", "BRK-B", None),
        ("SPY_1min.csv.gz", "SPY", "1m"),
        ("AMZN_15min.csv.gz", "AMZN", "15m"),
        ("T_60min.csv", "T", "1h"),
        ("SPY_iex_2025-06-13_2025-06-17.csv.gz", "SPY", None),
        ("BTC_KRW_1m.csv.gz", "KRW-BTC", "1m"),
        ("KRW-ETH_15min_2024.csv.gz", "KRW-ETH", "15m"),
        ("krw_btc_1h.csv", "KRW-BTC", "1h"),
        ("KRW-BTT_daily.csv", "KRW-BTT", "1d"),
        ("DOGE-KRW 4h.csv", "KRW-DOGE", "4h"),
        ("KRW-1INCH.csv", "KRW-1INCH", None),
        ("prices.csv", None, None),
        ("HistoricalData_1700000000.csv", None, None),
        ("2024-05-01.csv", None, None),
        ("20131004_spy_minute_trade.csv", None, "1m"),
    ],
)
def test_symbol_and_interval_of_a_file_name(name: str, symbol: str | None, interval: str | None) -> None:
    assert symbol_in(name) == symbol
    assert interval_in(name) == interval


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        (" aapl ", "AAPL"),
        ("btc-krw", "KRW-BTC"),
        ("KRW_ETH", "KRW-ETH"),
        ("brk.b", "BRK.B"),
        ("", None),
        ("비트코인", None),
    ],
)
def test_symbols_are_stored_in_one_form(text: str, symbol: str | None) -> None:
    assert normal_symbol(text) == symbol
