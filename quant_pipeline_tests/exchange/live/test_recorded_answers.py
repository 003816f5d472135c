"""Answers recorded from the real venues are understood, and given again word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.exchange.http import Reply, Request
from quant_pipeline.exchange.live.alpaca import AlpacaWire
from quant_pipeline.exchange.live.feed import LiveFeed
from quant_pipeline.exchange.live.memory import Memory
from quant_pipeline.exchange.live.upbit import UpbitWire
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY


def _recorded(folder: Path, file: str) -> dict[str, Any]:
    rows = json.loads((folder / "api" / file).read_text(encoding="utf-8"))
    return {row["id"]: row["body"] for row in rows}


def _content(reply: Reply | None) -> Any:
    assert reply is not None
    assert reply.status == 200
    return json.loads(reply.body)


def test_two_pages_of_upbits_minutes_join_and_come_back_word_for_word(test_data: Path) -> None:
    memory, wire = Memory(KRW_CRYPTO, ("KRW-BTC",)), UpbitWire()
    now = datetime(2020, 2, 20, 12, 30, tzinfo=UTC)
    pages = []
    for name, count, to in (("page1", 200, "11:20:00"), ("page2", 40, "12:00:00")):
        file = test_data / "api" / "upbit" / f"candles_1m_KRW-BTC_20200220_{name}.json"
        question = Request("GET", "/v1/candles/minutes/1", f"market=KRW-BTC&count={count}&to=2020-02-20T{to}Z")
        pages.append((question, json.loads(file.read_text(encoding="utf-8"))))
    for question, rows in pages:
        wire.learn(question, rows, memory, now)
    for question, rows in pages:
        assert _content(wire.recall(question, memory, now)) == rows
    across = Request("GET", "/v1/candles/minutes/1", "market=KRW-BTC&count=100&to=2020-02-20T11:50:00Z")
    joined = pages[1][1] + pages[0][1]
    assert _content(wire.recall(across, memory, now)) == joined[10:110]
    first = int(datetime(2020, 2, 20, 8, 0, tzinfo=UTC).timestamp())
    assert memory.minutes("KRW-BTC").complete_from(first) == first + 4 * 3600
    path = LiveFeed(memory, Decimal(0)).matchable("KRW-BTC", first, first + 10 * MINUTE)
    assert path.open.tolist() == [row["opening_price"] for row in joined[::-1][:11]]


def test_upbits_ticker_and_order_book_become_a_quote_with_their_own_times(test_data: Path) -> None:
    told, memory, wire = _recorded(test_data, "upbit/rest_examples.json"), Memory(KRW_CRYPTO, ("KRW-BTC",)), UpbitWire()
    now = datetime(2024, 8, 22, 7, 17, tzinfo=UTC)
    markets = Request("GET", "/v1/market/all", "isDetails=true")
    questions = {
        "market_all_details": markets,
        "ticker_two_markets": Request("GET", "/v1/ticker", "markets=KRW-BTC"),
        "orderbook_three_levels": Request("GET", "/v1/orderbook", "markets=KRW-BTC"),
    }
    for name, question in questions.items():
        wire.learn(question, told[name], memory, now)
    tick = memory.ticks["KRW-BTC"]
    assert (tick.price, tick.bid, tick.ask) == (Decimal("82324000.0"), Decimal("83184000.0"), Decimal("83186000.0"))
    assert tick.traded_at == datetime(2024, 8, 22, 7, 16, 2, 713000, tzinfo=UTC)
    assert tick.quoted_at < tick.traded_at  # the two were recorded at different times
    assert _content(wire.recall(questions["orderbook_three_levels"], memory, now)) == told["orderbook_three_levels"]
    assert _content(wire.recall(markets, memory, now)) == told["market_all_details"]
    unknown = wire.recall(Request("GET", "/v1/candles/minutes/1", "market=KRW-NONE&count=1"), memory, now)
    assert unknown is not None
    assert json.loads(unknown.body) == told["err_unknown_market"]


def test_alpacas_latest_rows_become_a_quote_and_come_back_word_for_word(test_data: Path) -> None:
    told, memory, wire = (
        _recorded(test_data, "alpaca/rest_examples.json"),
        Memory(US_EQUITY, ("AAPL",)),
        AlpacaWire("iex"),
    )
    now = datetime(2022, 3, 18, 14, 3, tzinfo=UTC)
    for name, path in (("trade", "trades"), ("quote", "quotes")):
        question = wire.question(Request("GET", f"/v2/stocks/{path}/latest", "symbols=AAPL"))
        assert question.value("feed") == "iex"
        wire.learn(question, told[f"alpaca_py_get_latest_{name}"], memory, now)
        assert _content(wire.recall(question, memory, now)) == told[f"alpaca_py_get_latest_{name}"]
    tick = memory.ticks["AAPL"]
    assert (tick.price, tick.bid, tick.ask) == (Decimal("161.2958"), Decimal("161.1"), Decimal("161.11"))
    assert tick.quoted_at == datetime(2022, 3, 18, 14, 2, 43, 651613, tzinfo=UTC)
    snapshot = wire.question(Request("GET", "/v2/stocks/snapshots", "symbols=AAPL"))
    wire.learn(snapshot, told["alpaca_py_get_snapshot"], memory, now)
    assert _content(wire.recall(snapshot, memory, now)) == told["alpaca_py_get_snapshot"]


@pytest.mark.parametrize("name", ["alpaca_py_multisymbol_get_bars", "alpaca_py_get_bars_single_empty_response"])
def test_alpacas_bars_come_back_word_for_word(test_data: Path, name: str) -> None:
    told, memory = _recorded(test_data, "alpaca/rest_examples.json")[name], Memory(US_EQUITY, ("AAPL", "TSLA"))
    wire, now = AlpacaWire("iex"), datetime(2022, 4, 1, tzinfo=UTC)
    query = "symbols=AAPL,TSLA&timeframe=1Day&start=2022-03-09T00:00:00Z&end=2022-03-09T06:00:00Z&limit=10000"
    question = wire.question(Request("GET", "/v2/stocks/bars", query))
    assert wire.recall(question, memory, now) is None
    wire.learn(question, told, memory, now)
    assert _content(wire.recall(question, memory, now)) == told


def test_a_page_of_alpacas_with_more_to_come_is_known_no_further_than_it_goes(test_data: Path) -> None:
    told, memory = _recorded(test_data, "alpaca/rest_examples.json")["alpaca_py_get_bars"], Memory(US_EQUITY, ("AAPL",))
    wire, now = AlpacaWire("iex"), datetime(2022, 4, 1, tzinfo=UTC)
    asked = "symbols=AAPL&timeframe=1Day&start=2022-02-01T00:00:00Z&limit=2&end="
    long = wire.question(Request("GET", "/v2/stocks/bars", f"{asked}2022-03-09T00:00:00Z"))
    wire.learn(long, told, memory, now)
    assert wire.recall(long, memory, now) is None
    short = wire.question(Request("GET", "/v2/stocks/bars", f"{asked}2022-02-02T05:00:00Z"))
    assert _content(wire.recall(short, memory, now))["bars"] == told["bars"]
