"""Bars that the simulated exchange takes back: gone from every answer, kept so over a restart; odd names are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import requests
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestBarRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from quant_pipeline.exchange.client import AdminError
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.conftest import DEFAULTS
from quant_pipeline_tests.exchange.makers import exchange_at

US, KRW = "us_equity", "krw_crypto"
OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
NOW = OPEN + timedelta(minutes=10)


def _minutes(handle: ExchangeHandle, minutes: int = 1) -> list[datetime]:
    """Starts of AAPL's bars since the open, by the official client."""
    client = StockHistoricalDataClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=handle.alpaca_url)
    unit = TimeFrame(minutes, TimeFrameUnit.Minute)
    found: pd.DataFrame = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="AAPL", timeframe=unit, start=OPEN)
    ).df
    return [ts.to_pydatetime() for ts in found.loc["AAPL"].index]


def _candles(handle: ExchangeHandle) -> list[str]:
    answer = requests.get(
        f"{handle.upbit_url}/v1/candles/minutes/1", params={"market": "KRW-BTC", "count": 5}, timeout=10
    )
    return [row["candle_date_time_utc"] for row in answer.json()]


def test_a_withdrawn_bar_is_gone_and_its_neighbours_and_longer_bars_stay() -> None:
    with exchange_at(NOW.isoformat()) as handle:
        before, fives = _minutes(handle), _minutes(handle, 5)
        gone = OPEN + timedelta(minutes=4)
        handle.admin.withdraw_bar(US, "AAPL", "1m", gone)
        assert _minutes(handle) == [ts for ts in before if ts != gone]
        assert _minutes(handle, 5) == fives
        assert handle.admin.withdrawn() == [
            {"market": US, "symbol": "AAPL", "interval": "1m", "starts": gone.isoformat()}
        ]


def test_the_last_bars_of_both_venues_go_further_back_instead() -> None:
    with exchange_at(NOW.isoformat()) as handle:
        newest = OPEN + timedelta(minutes=9)
        handle.admin.withdraw_bar(US, "AAPL", "1m", newest + timedelta(minutes=1))
        client = StockHistoricalDataClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=handle.alpaca_url)
        last = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))
        assert last["AAPL"].timestamp == newest
        before = _candles(handle)
        handle.admin.withdraw_bar(KRW, "KRW-BTC", "1m", datetime.fromisoformat(f"{before[2]}+00:00"))
        after = _candles(handle)
        assert after[:4] == [at for at in before if at != before[2]]
        assert len(after) == 5


def test_a_withdrawn_bar_stays_away_after_a_restart_and_after_a_reset(tmp_path: Path) -> None:
    gone, path = OPEN + timedelta(minutes=4), tmp_path / "state.jsonl"
    for reset in (True, False, False):
        with exchange_at(NOW.isoformat(), state_path=path) as handle:
            if not handle.admin.withdrawn():
                handle.admin.withdraw_bar(US, "AAPL", "1m", gone)
            if reset:
                handle.admin.reset()
            assert gone not in _minutes(handle)
            assert len(handle.admin.withdrawn()) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"symbol": "NOPE"}, "NOPE shows no 1m bar that starts at"),
        ({"starts": NOW + timedelta(hours=1)}, "AAPL shows no 1m bar that starts at 2025-03-03T15:40:00"),
        ({"interval": "2m"}, "there are no bars of '2m'; name one of 1m, 5m"),
        ({"market": "de_equity"}, "bars of de_equity cannot be withdrawn here"),
        ({"starts": datetime(2025, 3, 3, 14, 34)}, "the time must say its zone"),  # noqa: DTZ001 - that is the case
    ],
)
def test_a_bar_that_is_not_there_is_refused_with_its_name(changes: dict, says: str) -> None:
    with exchange_at(NOW.isoformat()) as handle:
        named = {"market": US, "symbol": "AAPL", "interval": "1m", "starts": OPEN} | changes
        with pytest.raises(AdminError, match=says):
            handle.admin.withdraw_bar(*named.values())
        assert handle.admin.withdrawn() == []


def test_a_body_of_other_names_is_refused(exchange: ExchangeHandle) -> None:
    answer = requests.post(f"{exchange.alpaca_url}/admin/withdrawn", data=b'{"bar": 1}', timeout=10)
    assert answer.status_code == 400
    assert "a withdrawn bar has market, symbol, interval, starts; found bar" in answer.json()["error"]
