"""US stock bars and quotes from Alpaca. Orders belong to `broker.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, cast

import pandas as pd
import requests

from quant_pipeline.core.values import Quote
from quant_pipeline.venues.alpaca.clients import BUDGETS, WINDOW, AlpacaAccess, close_client, data_client
from quant_pipeline.venues.alpaca.errors import read_error
from quant_pipeline.venues.bar_frames import bar_frame, check_span, empty_bar_frame, venue_interval
from quant_pipeline.venues.errors import VenueUnavailable, cause_text
from quant_pipeline.venues.json_values import Json, listing, mapping, number, when
from quant_pipeline.venues.limits import InProcessLimiter, RateLimiter, ReadRetries
from quant_pipeline.venues.per_thread import PerThread
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout

if TYPE_CHECKING:
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.requests import StockBarsRequest

_INTERVALS = {"1m": "1Min", "5m": "5Min", "15m": "15Min", "1h": "1Hour", "4h": "4Hour", "1d": "1Day"}
_FEEDS = ("iex", "sip", "delayed_sip", "otc", "boats", "overnight")
_ADJUSTMENTS = ("raw", "split", "dividend", "all")
_COLUMNS = {"t": "ts", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}


class AlpacaMarketData:
    """`venues.protocols.MarketData` over Alpaca's stock data.

    Daily bars keep Alpaca's stamp, midnight in New York. The pages of a long answer are followed by alpaca-py; no limit
    is ever set, because Alpaca's limit counts over all symbols and would starve the later ones.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        feed: str = "iex",
        adjustment: str = "raw",
        timeout: Timeout = DEFAULT_TIMEOUT,
        limiter: RateLimiter | None = None,
        retries: ReadRetries | None = None,
    ) -> None:
        """Check everything; nothing is connected yet.

        Args:
            base_url: of the data host, without a path.
            key: sent as it is.
            secret: sent as it is.
            feed: `iex` (free) or another feed of the plan.
            adjustment: of bars, unless a call says otherwise: `raw`, `split`, `dividend`, `all`.
            timeout: seconds (connect, read).
            limiter: shared budget; without one, a limiter of this object.
            retries: of reads.

        Raises:
            ValueError: an argument cannot be right.
        """
        access = AlpacaAccess(base_url, key, secret, timeout)
        self._feed = _one_of("feed", feed, _FEEDS)
        self._adjustment = _one_of("adjustment", adjustment, _ADJUSTMENTS)
        limiter = limiter or InProcessLimiter(BUDGETS, max_wait=2 * WINDOW)
        retries = retries or ReadRetries()
        self._client = PerThread(lambda: data_client(access, limiter, retries), close_client)

    def bars(
        self, symbols: Sequence[str], interval: str, start: datetime, end: datetime, *, adjustment: str | None = None
    ) -> pd.DataFrame:
        """See `MarketData.bars`. A symbol that Alpaca does not know has no rows."""
        check_span(start, end)
        venue_interval(_INTERVALS, interval, "Alpaca")
        adjusted = self._adjustment if adjustment is None else _one_of("adjustment", adjustment, _ADJUSTMENTS)
        if not symbols or start == end:
            return empty_bar_frame()
        request = self._bars_request(symbols, interval, start, end, adjusted)
        asked = f"{interval} bars of {', '.join(symbols)}"
        answer = self._ask(asked, lambda client: client.get_stock_bars(request))
        try:
            return bar_frame([_rows(symbol, rows) for symbol, rows in answer.items()], start, end)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """See `MarketData.quotes`. Last trade and last quote; `at` is the later of their times."""
        from alpaca.data.enums import DataFeed
        from alpaca.data.requests import StockLatestQuoteRequest, StockLatestTradeRequest

        if not symbols:
            return {}
        feed, wanted = DataFeed(self._feed), list(symbols)
        asked = f"quotes of {', '.join(symbols)}"
        trade_request = StockLatestTradeRequest(symbol_or_symbols=wanted, feed=feed)
        quote_request = StockLatestQuoteRequest(symbol_or_symbols=wanted, feed=feed)
        trades = self._ask(asked, lambda client: client.get_stock_latest_trade(trade_request))
        books = self._ask(asked, lambda client: client.get_stock_latest_quote(quote_request))
        try:
            return {symbol: _quote(symbol, trades[symbol], books.get(symbol)) for symbol in symbols if symbol in trades}
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error

    def close(self) -> None:
        """See `MarketData.close`."""
        self._client.close()

    def _bars_request(
        self, symbols: Sequence[str], interval: str, start: datetime, end: datetime, adjustment: str
    ) -> StockBarsRequest:
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        unit = {"m": TimeFrameUnit.Minute, "h": TimeFrameUnit.Hour, "d": TimeFrameUnit.Day}[interval[-1]]
        return StockBarsRequest(
            symbol_or_symbols=list(symbols),
            timeframe=TimeFrame(int(interval[:-1]), unit),
            start=start,
            end=end,
            adjustment=Adjustment(adjustment),
            feed=DataFeed(self._feed),
        )

    def _ask(self, asked: str, call: Callable[[StockHistoricalDataClient], object]) -> dict[str, object]:
        from alpaca.common.exceptions import APIError

        try:
            return cast("dict[str, object]", mapping(call(self._client.get())))
        except APIError as error:
            raise read_error(error, asked) from error
        except requests.RequestException as error:
            msg = f"{asked}: no answer from Alpaca: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error


def _rows(symbol: str, rows: object) -> pd.DataFrame:
    """Alpaca's bars of one symbol with our column names; times parsed, UTC."""
    frame = pd.DataFrame(listing(rows), columns=list(_COLUMNS)).rename(columns=_COLUMNS)
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True, format="ISO8601")
    frame["symbol"] = symbol
    return frame


def _quote(symbol: str, trade: object, book: object) -> Quote:
    last = mapping(trade)
    traded = at = when(last["t"])
    bid = ask = None
    if book is not None:
        sides: Json = mapping(book)
        bid, ask = _side(sides.get("bp")), _side(sides.get("ap"))
        at = max(at, when(sides["t"]))
    return Quote(symbol=symbol, price=number(last["p"]), at=at, bid=bid, ask=ask, traded_at=traded)


def _side(price: object) -> Decimal | None:
    """A bid or ask; Alpaca writes 0 for an empty side."""
    value = number(price or 0)
    return value if value > 0 else None


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        msg = f"Alpaca has no {name} {value!r}; use one of {', '.join(allowed)}"
        raise ValueError(msg)
    return value
