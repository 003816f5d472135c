"""Candles and prices from Upbit through pyupbit. Orders belong to `broker.py`, the transport to `seam.py`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pandas as pd
import requests

from quant_pipeline.core.values import Quote
from quant_pipeline.venues.bar_frames import bar_frame, check_span, empty_bar_frame, venue_interval
from quant_pipeline.venues.errors import UnknownSymbol, VenueUnavailable, cause_text
from quant_pipeline.venues.fan_out import FanOut
from quant_pipeline.venues.hosts import checked_url
from quant_pipeline.venues.limits import InProcessLimiter, RateLimiter, ReadRetries
from quant_pipeline.venues.per_thread import PerThread
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout, VenueAdapter, checked_timeout, mount
from quant_pipeline.venues.upbit import parsing
from quant_pipeline.venues.upbit.limits import PENALTY, QUOTATIONS, announced, group_of
from quant_pipeline.venues.upbit.seam import Exchange, install

_INTERVALS = {"1m": "minute1", "5m": "minute5", "15m": "minute15", "1h": "minute60", "4h": "minute240", "1d": "day"}
_LENGTHS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
_PAGE = 200
"""Candles of one request. More would make pyupbit page by itself, with a fixed sleep and without saying what failed."""

_COLUMNS = ["open", "high", "low", "close", "volume"]


class UpbitMarketData:
    """`venues.protocols.MarketData` over Upbit's public quotations."""

    def __init__(
        self,
        *,
        base_url: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        limiter: RateLimiter | None = None,
        retries: ReadRetries | None = None,
    ) -> None:
        """Check everything and put the transport into pyupbit; nothing is connected yet.

        Args:
            base_url: scheme, host, port. Quotations are public: no keys, and the live host is allowed.
            timeout: seconds (connect, read).
            limiter: shared budget (Upbit counts quotations per IP address); without one, a limiter of this object.
            retries: of reads.

        Raises:
            ValueError: an argument cannot be right.
        """
        self._base_url = checked_url("Upbit's address", base_url)
        timeout = checked_timeout(timeout)
        limiter = limiter or InProcessLimiter(QUOTATIONS, max_wait=PENALTY)
        retries = retries or ReadRetries()
        self._transport = install()
        self._fan_out = FanOut()
        self._session = PerThread(lambda: self._new_session(timeout, limiter, retries), requests.Session.close)

    def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        """See `MarketData.bars`. Pages of 200, backwards from `end`; a candle exists only if there was a trade.

        Upbit has no request for several markets: some are asked about at a time.
        """
        check_span(start, end)
        name = venue_interval(_INTERVALS, interval, "Upbit")
        if not symbols or start == end:
            return empty_bar_frame()
        first, last = start.astimezone(UTC), end.astimezone(UTC)
        found = self._fan_out.map(lambda symbol: self._pages(symbol, name, _LENGTHS[interval], first, last), symbols)
        return bar_frame([page for pages in found for page in pages], start, end)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """See `MarketData.quotes`. Upbit refuses a whole list for one unknown market, which is then left out."""
        if not symbols:
            return {}
        wanted = list(dict.fromkeys(symbols))
        try:
            return self._quotes(wanted)
        except UnknownSymbol:
            asked = "list of markets"
            known = self._ask(asked, "", lambda pyupbit: set(pyupbit.get_tickers()))
            left = [symbol for symbol in wanted if symbol in known]
            return self._quotes(left) if left else {}

    def close(self) -> None:
        """See `MarketData.close`."""
        self._fan_out.close()
        self._session.close()

    def _quotes(self, symbols: list[str]) -> dict[str, Quote]:
        asked = f"quotes of {', '.join(symbols)}"
        names = ", ".join(symbols)
        tickers = self._ask(
            asked, names, lambda pyupbit: parsing.by_market(pyupbit.get_current_price(symbols, verbose=True))
        )
        books = self._ask(asked, names, lambda pyupbit: parsing.by_market(pyupbit.get_orderbook(symbols)))
        try:
            return {
                symbol: parsing.quote(tickers[symbol], books.get(symbol)) for symbol in symbols if symbol in tickers
            }
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error

    def _pages(
        self, symbol: str, interval: str, length: timedelta, start: datetime, end: datetime
    ) -> list[pd.DataFrame]:
        """All pages of one symbol, newest first. `to` is exclusive, naive UTC, in whole seconds."""
        pages: list[pd.DataFrame] = []
        to = end if end.microsecond == 0 else end.replace(microsecond=0) + timedelta(seconds=1)
        while to > start:
            # At most so many candles can lie before `to`: asking for no more keeps the last page small.
            count = min(_PAGE, math.ceil((to - start) / length))
            page = self._page(symbol, interval, count, to)
            if page is None:
                return pages
            pages.append(page)
            oldest = page["ts"].iloc[0].to_pydatetime()
            if oldest >= to:
                msg = f"{interval} candles of {symbol}: asked for before {to}, got {oldest}: the answer ignores `to`"
                raise VenueUnavailable(msg)
            to = oldest
        return pages

    def _page(self, symbol: str, interval: str, count: int, to: datetime) -> pd.DataFrame | None:
        """One page, oldest first, or None when there are no earlier candles."""
        asked = f"{interval} candles of {symbol} before {to:%Y-%m-%d %H:%M:%S} UTC"
        stamp = to.replace(tzinfo=None).strftime("%Y-%m-%d %H:%M:%S")

        def fetch(pyupbit: ModuleType) -> pd.DataFrame | None:
            found: pd.DataFrame | None = pyupbit.get_ohlcv(symbol, interval=interval, count=count, to=stamp)
            return found

        frame = self._ask(asked, symbol, fetch, empty=True)
        if frame is None:
            return None
        try:
            page = frame[_COLUMNS].astype("float64")
            # pyupbit's index is naive Korean time.
            page = page.set_axis(
                pd.DatetimeIndex(frame.index).tz_localize("Asia/Seoul").tz_convert("UTC"), axis="index"
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        return page.rename_axis("ts").reset_index().assign(symbol=symbol)

    def _ask[T](self, asked: str, symbol: str, call: Callable[[ModuleType], T], *, empty: bool = False) -> T:
        """Pyupbit's answer, or the typed cause of its None or of its exception.

        With `empty`, None is passed on when Upbit's answer was an empty list.
        """
        pyupbit = importlib.import_module("pyupbit")
        exchange = Exchange(session=self._session.get(), base_url=self._base_url, asked=asked, symbol=symbol)
        try:
            with self._transport.using(exchange):
                result = call(pyupbit)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        if exchange.error is not None:
            raise exchange.error
        if result is None and not (empty and exchange.answer == []):
            msg = f"{asked}: pyupbit could not read Upbit's answer"
            raise VenueUnavailable(msg)
        return result

    def _new_session(self, timeout: Timeout, limiter: RateLimiter, retries: ReadRetries) -> requests.Session:
        session = requests.Session()
        adapter = VenueAdapter(
            timeout=timeout, limiter=limiter, group_of=group_of, announced=announced, retries=retries
        )
        mount(session, self._base_url, adapter)
        return session
