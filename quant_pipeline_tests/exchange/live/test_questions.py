"""What a dry run asks a venue for by itself, and which symbols it gives up on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from quant_pipeline.exchange.alpaca.data import MAX_BARS
from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.exchange.http import Request
from quant_pipeline.exchange.live.alpaca import AlpacaWire
from quant_pipeline.exchange.live.feed import LiveFeed
from quant_pipeline.exchange.live.memory import Memory
from quant_pipeline.exchange.live.upbit import UpbitWire
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY
from quant_pipeline_tests.exchange.live.conftest import MONDAY_10_AM_NEW_YORK, at, dry_run_of, venue_at
from quant_pipeline_tests.venues.makers import broker, buy, market_data

NOW = at("15:00")
SECONDS = int(NOW.timestamp())


def test_symbols_that_the_venue_does_not_know_are_told_and_do_not_hide_the_others() -> None:
    with venue_at(MONDAY_10_AM_NEW_YORK) as (_, urls):
        unknown = {"us_symbols": ("AAPL", "NOPE"), "krw_symbols": ("KRW-BTC", "KRW-NOPE")}
        with dry_run_of(urls, MONDAY_10_AM_NEW_YORK, **unknown) as desk:
            state = desk.admin.poll()
            assert {row["problem"] for row in state.values()} == {None}
            assert [row["unknown_symbols"] for row in state.values()] == [["NOPE"], ["KRW-NOPE"]]
            for venue, url in (("alpaca", desk.alpaca_url), ("upbit", desk.upbit_url)):
                with broker(venue, url) as client, market_data(venue, url) as data:
                    client.submit(buy(venue))
                    assert len(data.quotes(unknown["us_symbols" if venue == "alpaca" else "krw_symbols"])) == 1
            said = requests.get(f"{desk.upbit_url}/v1/candles/minutes/1?market=KRW-NOPE", timeout=10)
            assert (said.status_code, said.json()["error"]["message"]) == (404, "Code not found")


def test_a_symbol_that_alpaca_names_as_invalid_is_left_out_from_then_on() -> None:
    memory, wire = Memory(US_EQUITY, ("AAPL", "BAD.X")), AlpacaWire("iex")
    question = wire.quote_questions(memory.configured, memory)[0]
    assert question.value("symbols") == "AAPL,BAD.X"
    assert wire.refused(question, 400, {"message": "invalid symbol: BAD.X"}, memory)
    assert wire.quote_questions(memory.configured, memory)[0].value("symbols") == "AAPL"
    assert not wire.refused(question, 400, {"message": "invalid feed"}, memory)
    assert memory.symbols() == {"AAPL"}


def test_no_question_for_alpacas_minutes_has_an_answer_of_more_than_a_page() -> None:
    memory, wire = Memory(US_EQUITY, ()), AlpacaWire("iex")
    behind = {f"S{n}": SECONDS - (n % 300) * MINUTE for n in range(500)}
    asked = wire.minute_questions(behind, memory, NOW)
    listed = [symbol for question in asked for symbol in (question.value("symbols") or "").split(",")]
    assert sorted(listed) == sorted(behind)
    for question in asked:
        start, end = (datetime.fromisoformat(question.value(name) or "") for name in ("start", "end"))
        symbols = (question.value("symbols") or "").split(",")
        assert len(symbols) * ((end - start).total_seconds() / MINUTE + 1) <= MAX_BARS
        assert all(behind[symbol] >= start.timestamp() for symbol in symbols)
    assert len(asked) < 15


@pytest.mark.parametrize("behind", [0, 30, 59, 60, 61, 150, 3_600, 12_000, 12_060, 90_000])
def test_a_page_of_upbits_minutes_always_reaches_back_to_where_they_are_known(behind: int) -> None:
    memory = Memory(KRW_CRYPTO, ("KRW-BTC",), listed=frozenset({"KRW-BTC"}))
    (question,) = UpbitWire().minute_questions({"KRW-BTC": SECONDS - behind}, memory, NOW)
    count = int(question.value("count") or "")
    to = question.value("to")
    end = NOW if to is None else datetime.fromisoformat(to)
    newest = int(end.timestamp() - (0 if to is None else 1)) // MINUTE * MINUTE
    assert newest - (count - 1) * MINUTE <= SECONDS - behind
    assert count <= 200
    assert end <= NOW


def test_minutes_before_and_after_the_session_are_known_but_no_order_meets_them() -> None:
    memory, wire = Memory(US_EQUITY, ("AAPL",)), AlpacaWire("iex")
    bars = [
        {"t": f"2025-03-03T{clock}:00Z", "o": 10.0, "h": 10.0, "l": 10.0, "c": 10.0, "v": 100, "n": 1, "vw": 10.0}
        for clock in ("13:05", "14:29", "14:30", "14:31")
    ]
    query = "symbols=AAPL&timeframe=1Min&start=2025-03-03T13:00:00Z&end=2025-03-03T14:59:00Z&feed=iex"
    question = Request("GET", "/v2/stocks/bars", query)
    wire.learn(question, {"bars": {"AAPL": bars}, "next_page_token": None}, memory, NOW)
    feed = LiveFeed(memory, Decimal(2))
    opens = feed.matchable("AAPL", SECONDS - 7_200, SECONDS).opens.tolist()
    assert [datetime.fromtimestamp(seconds, UTC) for seconds in opens] == [at("14:30"), at("14:31")]
    assert len(memory.minutes("AAPL").rows(0, SECONDS)) == 4


def test_a_quote_of_tomorrow_is_not_taken_over() -> None:
    """It would never be stale."""
    memory, wire = Memory(US_EQUITY, ("AAPL",)), AlpacaWire("iex")
    question = wire.question(Request("GET", "/v2/stocks/trades/latest", "symbols=AAPL"))
    row = {"t": (NOW + timedelta(days=1)).isoformat(), "p": 10.0}
    with pytest.raises(ValueError, match="is in the future"):
        wire.learn(question, {"trades": {"AAPL": row}}, memory, NOW)
    assert memory.latest == {}


def test_a_market_with_an_empty_book_has_no_quote_and_does_not_blind_the_others() -> None:
    memory, wire, millis = Memory(KRW_CRYPTO, ("KRW-BTC", "KRW-OLD")), UpbitWire(), SECONDS * 1000
    prices = {"KRW-BTC": [{"bid_price": 10.0, "ask_price": 11.0}], "KRW-OLD": [{"bid_price": 0, "ask_price": 0}]}
    tickers = [{"market": name, "trade_price": 10.0, "timestamp": millis, "trade_timestamp": millis} for name in prices]
    books = [{"market": name, "timestamp": millis, "orderbook_units": units} for name, units in prices.items()]
    for path, rows in (("ticker", tickers), ("orderbook", books)):
        wire.learn(Request("GET", f"/v1/{path}", "markets=KRW-BTC,KRW-OLD"), rows, memory, NOW)
    assert list(memory.ticks) == ["KRW-BTC"]


def test_a_stock_of_which_alpaca_knows_nothing_is_null_and_does_not_blind_the_others() -> None:
    memory, wire = Memory(US_EQUITY, ("AAPL", "NEW")), AlpacaWire("iex")
    row = {"t": NOW.isoformat(), "p": 10.0, "bp": 0, "ap": 10.5}
    for path in ("trades", "quotes"):
        question = wire.question(Request("GET", f"/v2/stocks/{path}/latest", "symbols=AAPL,NEW"))
        wire.learn(question, {path: {"AAPL": row, "NEW": None}}, memory, NOW)
    assert memory.symbols() == {"AAPL"}
    assert (memory.ticks["AAPL"].bid, memory.ticks["AAPL"].ask) == (Decimal("10.0"), Decimal("10.5"))
