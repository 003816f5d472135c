"""What is visible at a time: nothing of the future, the forming bar with what it has, quotes of a true age."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.generator import GeneratedBars
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE
from quant_pipeline.exchange.feed import Feed
from quant_pipeline.markets.market import KRW_CRYPTO, MARKETS, US_EQUITY, Market
from quant_pipeline_tests.exchange.makers import HandMadeBars, bars_of, epoch, flat_minutes, utc

FAR = epoch("2030-01-01 00:00")


def _feed(market: Market, symbol: str) -> Feed:
    return Feed(GeneratedBars(market, 7, (symbol,)), Decimal(2))


def _same(one: BarColumns, other: BarColumns) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in BarColumns.__slots__)


def _forgetful(market: Market, symbol: str, known_until: int) -> Feed:
    """The generated market with every later price replaced by nonsense; of the bar that forms only the open is true."""
    source = GeneratedBars(market, 7, (symbol,))
    bars = source.columns(symbol, MINUTE, known_until - 20 * DAY, known_until + 2 * DAY)
    later, forming = bars.opens > known_until, (bars.opens <= known_until) & (bars.closes > known_until)

    def spoil(prices: np.ndarray, *, keep_forming: bool) -> np.ndarray:
        return np.where(later | (forming & (not keep_forming)), 3.0, prices)

    spoilt = BarColumns(
        bars.ts,
        bars.opens,
        bars.closes,
        spoil(bars.open, keep_forming=True),
        spoil(bars.high, keep_forming=False),
        spoil(bars.low, keep_forming=False),
        spoil(bars.close, keep_forming=False),
        np.where(later | forming, 1e9, bars.volume),
        np.where(later | forming, 3e9, bars.value),
    )
    return Feed(HandMadeBars(market, {symbol: spoilt}), Decimal(2))


@given(st.sampled_from(MARKETS), st.integers(0, 6 * DAY), st.sampled_from((MINUTE, 15 * MINUTE, HOUR, DAY)))
@settings(max_examples=60, deadline=None)
def test_nothing_that_is_shown_depends_on_what_comes_later(market: Market, offset: int, seconds: int) -> None:
    symbol = "AAPL" if market is US_EQUITY else "KRW-ETH"
    at = epoch("2025-03-03 00:00") + offset
    now, start = utc("1970-01-01 00:00") + timedelta(seconds=at), at - 5 * DAY
    true, spoilt = _feed(market, symbol), _forgetful(market, symbol, at)
    assert _same(true.bars(symbol, seconds, start, FAR, now), spoilt.bars(symbol, seconds, start, FAR, now))
    assert true.tick(symbol, now) == spoilt.tick(symbol, now)


def test_the_forming_daily_bar_grows_with_the_session_and_equals_the_closed_one_at_the_close() -> None:
    feed = _feed(US_EQUITY, "AAPL")
    start, end = epoch("2025-03-03 00:00"), epoch("2025-03-04 00:00")
    assert len(feed.bars("AAPL", DAY, start, end, utc("2025-03-03 14:29"))) == 0
    volumes, highs = [], []
    for clock in ("14:30", "14:31", "15:30", "18:00", "20:59"):
        bars = feed.bars("AAPL", DAY, start, end, utc(f"2025-03-03 {clock}"))
        assert (len(bars), bars.ts[0]) == (1, epoch("2025-03-03 05:00"))
        volumes.append(bars.volume[0])
        highs.append(bars.high[0])
    assert volumes == sorted(set(volumes))
    assert highs == sorted(highs)
    closed = feed.bars("AAPL", DAY, start, end, utc("2025-03-03 21:00"))
    assert _same(closed, feed.source.columns("AAPL", DAY, start, end))


def test_of_a_forming_minute_only_the_open_is_known() -> None:
    feed = _feed(KRW_CRYPTO, "KRW-BTC")
    whole = feed.source.columns("KRW-BTC", MINUTE, epoch("2025-03-03 10:00"), epoch("2025-03-03 10:01"))
    forming = feed.bars("KRW-BTC", MINUTE, epoch("2025-03-03 10:00"), FAR, utc("2025-03-03 10:00:59"))
    assert len(forming) == 1
    assert forming.open[0] == forming.high[0] == forming.low[0] == forming.close[0] == whole.open[0]
    assert 0 < forming.volume[0] <= whole.volume[0]


def test_last_bars_reach_back_over_weekends_and_gaps() -> None:
    feed, now = _feed(US_EQUITY, "AAPL"), utc("2025-03-03 14:32:30")
    bars = feed.last_bars("AAPL", MINUTE, 500, epoch("2025-03-03 14:32") + 31, now)
    assert len(bars) == 500
    assert bars.ts[-1] == epoch("2025-03-03 14:32")
    assert bars.ts[-4] == epoch("2025-02-28 20:59")


def test_history_has_a_beginning() -> None:
    feed = _feed(KRW_CRYPTO, "KRW-BTC")
    bars = feed.last_bars("KRW-BTC", DAY, 200, epoch("2012-01-10 00:00"), utc("2025-03-03 10:00"))
    assert bars.ts[0] == epoch("2012-01-03 00:00")
    assert len(bars) == 7


@pytest.mark.parametrize(
    ("clock", "traded", "quoted"),
    [
        ("2025-03-03 14:30:30", "2025-03-03 14:30", "2025-03-03 14:30:30"),
        ("2025-03-03 22:00", "2025-03-03 21:00", "2025-03-03 21:00"),
        ("2025-03-02 12:00", "2025-02-28 21:00", "2025-02-28 21:00"),
    ],
)
def test_a_quote_is_as_fresh_as_now_while_open_and_as_the_close_after_it(clock: str, traded: str, quoted: str) -> None:
    tick = _feed(US_EQUITY, "AAPL").tick("AAPL", utc(clock))
    assert tick is not None
    assert (tick.traded_at, tick.quoted_at) == (utc(traded), utc(quoted))
    assert tick.bid < tick.price < tick.ask


def test_a_coin_that_did_not_trade_lately_shows_when_it_last_did() -> None:
    rows = flat_minutes("2025-03-03 14:30", [200.0, 201.0])
    feed = Feed(HandMadeBars(KRW_CRYPTO, {"KRW-DOGE": bars_of(rows)}), Decimal(0))
    tick = feed.tick("KRW-DOGE", utc("2025-03-03 14:40"))
    assert tick is not None
    assert (tick.price, tick.traded_at) == (Decimal(201), utc("2025-03-03 14:32"))
    assert tick.quoted_at == utc("2025-03-03 14:40")


def test_there_is_no_price_before_history() -> None:
    assert _feed(US_EQUITY, "AAPL").tick("AAPL", utc("2011-06-01 15:00")) is None
