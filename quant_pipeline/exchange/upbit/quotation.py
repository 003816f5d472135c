"""Upbit's quotation API: candles, tickers, order books, markets. No account, no authentication."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import DAY, MINUTE
from quant_pipeline.exchange.bars.symbols import symbol_spec
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import Feed, Tick
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.upbit.params import Params, parse_instant, read_params
from quant_pipeline.exchange.upbit.periods import calendar_periods
from quant_pipeline.exchange.upbit.words import quotation_error
from quant_pipeline.exchange.words import SEOUL, naive_seoul_array, naive_utc_array, plain
from quant_pipeline.markets.market import KRW_CRYPTO
from quant_pipeline.markets.rules import tick_size

MINUTE_UNITS = (1, 3, 5, 10, 15, 30, 60, 240)
MAX_CANDLES = 200
_BOOK_LEVELS = 15


def quotation_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints of the quotation API."""
    api = QuotationApi(exchange)
    return tuple(
        route("GET", path, endpoint, group)
        for path, endpoint, group in (
            ("/v1/market/all", api.markets, "market"),
            ("/v1/candles/minutes/{unit}", api.minutes, "candles"),
            ("/v1/candles/days", api.days, "candles"),
            ("/v1/candles/weeks", api.weeks, "candles"),
            ("/v1/candles/months", api.months, "candles"),
            ("/v1/ticker", api.tickers, "ticker"),
            ("/v1/ticker/all", api.all_tickers, "ticker"),
            ("/v1/orderbook", api.orderbooks, "orderbook"),
            ("/v1/orderbook/instruments", api.instruments, "orderbook"),
        )
    )


class CandleError(Exception):
    """A candle request is refused; `reply` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        """Remember the answer."""
        super().__init__(message)
        self.reply = quotation_error(status, message)


class QuotationApi:
    """One method per endpoint."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer from the crypto feed of `exchange`."""
        self._exchange = exchange

    @property
    def _feed(self) -> Feed:
        return self._exchange.krw.feed

    def markets(self, request: Request, _names: dict[str, str]) -> Reply:
        """All markets, with warnings on request."""
        params = read_params(request)
        detailed = "true" in (params.one("isDetails"), params.one("is_details"))
        return json_reply(200, [_market_json(symbol, detailed=detailed) for symbol in sorted(self._feed.listed)])

    # Candles

    def minutes(self, request: Request, names: dict[str, str]) -> Reply:
        """Candles of some minutes."""
        unit = int(names["unit"]) if names["unit"].isdigit() else 0
        if unit not in MINUTE_UNITS:
            return quotation_error(400, f"unit {names['unit']} is not one of {', '.join(map(str, MINUTE_UNITS))}")
        try:
            symbol, bars = self._candles(read_params(request), unit * MINUTE)
        except CandleError as refused:
            return refused.reply
        return json_reply(200, [{**row, "unit": unit} for row in candles_json(symbol, bars)])

    def days(self, request: Request, _names: dict[str, str]) -> Reply:
        """Daily candles, from 00:00 UTC, with the change since the day before."""
        try:
            symbol, bars = self._candles(read_params(request), DAY, extra=1)
        except CandleError as refused:
            return refused.reply
        count = self._count(read_params(request))
        before = [*([float(bars.open[0])] if len(bars) else []), *bars.close.tolist()[:-1]][::-1]
        rows = candles_json(symbol, bars)
        for row, previous in zip(rows, before, strict=True):
            change = float(row["trade_price"]) - previous  # type: ignore[arg-type]
            row |= {"prev_closing_price": previous, "change_price": change, "change_rate": round(change / previous, 10)}
        return json_reply(200, rows[:count])

    def weeks(self, request: Request, _names: dict[str, str]) -> Reply:
        """Weekly candles, from Monday."""
        return self._periods(request, "week")

    def months(self, request: Request, _names: dict[str, str]) -> Reply:
        """Monthly candles."""
        return self._periods(request, "month")

    def _periods(self, request: Request, unit: str) -> Reply:
        params = read_params(request)
        try:
            count = self._count(params)
            symbol, days = self._candles(params, DAY, extra=count * 31 + 31 - count)
        except CandleError as refused:
            return refused.reply
        bars = calendar_periods(days, unit)
        rows = candles_json(symbol, bars)[:count]
        for row in rows:
            row["first_day_of_period"] = str(row["candle_date_time_utc"])[:10]
        return json_reply(200, rows)

    def _count(self, params: Params) -> int:
        """How many candles are asked for; more than a page counts as a page, as on the venue."""
        count = params.whole("count", 1)
        if count is None or count < 1:
            raise CandleError(400, f"count {params.one('count')} must be a whole number from 1 to {MAX_CANDLES}")
        return min(count, MAX_CANDLES)

    def _candles(self, params: Params, seconds: int, *, extra: int = 0) -> tuple[str, BarColumns]:
        """Symbol and candles of a request, oldest first; `extra` more of them than asked for."""
        now = self._exchange.now()
        symbol = params.one("market") or ""
        if not self._feed.lists(symbol):
            raise CandleError(404, "Code not found")
        before = int(now.timestamp()) + 1
        text = params.one("to")
        if text is not None:
            at = parse_instant(text)
            if at is None:
                raise CandleError(400, f"to {text} is not an ISO 8601 time")
            stamp = at.timestamp()
            before = min(before, int(stamp) + (stamp > int(stamp)))
        return symbol, self._feed.last_bars(symbol, seconds, self._count(params) + extra, before, now)

    # Prices

    def tickers(self, request: Request, _names: dict[str, str]) -> Reply:
        """Last price and the day's figures of the markets asked for."""
        return self._ticker_list(read_params(request).many("markets"))

    def all_tickers(self, request: Request, _names: dict[str, str]) -> Reply:
        """Last price and the day's figures of all markets of some quote currencies."""
        wanted = set(read_params(request).many("quote_currencies"))
        return self._ticker_list([symbol for symbol in sorted(self._feed.listed) if symbol.split("-")[0] in wanted])

    def _ticker_list(self, symbols: list[str]) -> Reply:
        now = self._exchange.now()
        if not symbols or not all(map(self._feed.lists, symbols)):
            return quotation_error(404, "Code not found") if symbols else quotation_error(400, "markets is missing")
        rows = []
        for symbol in symbols:
            tick = self._feed.tick(symbol, now)
            if tick is not None:
                rows.append(self._ticker(tick, now))
        return json_reply(200, rows)

    def _ticker(self, tick: Tick, now: datetime) -> dict[str, object]:
        at = int(now.timestamp()) + 1
        year = self._feed.last_bars(tick.symbol, DAY, 364, at, now)
        day = self._feed.last_bars(tick.symbol, 60 * MINUTE, 24, at, now)
        today = year.part(len(year) - 1, len(year))
        previous = float(year.close[-2]) if len(year) > 1 else float(today.open[0])
        price = float(tick.price)
        change, rate = price - previous, round((price - previous) / previous, 10)
        traded, seoul = tick.traded_at, tick.traded_at.astimezone(SEOUL)
        top, bottom = int(year.high.argmax()), int(year.low.argmin())
        dates = naive_utc_array(year.ts)
        return {
            "market": tick.symbol,
            "trade_date": traded.strftime("%Y%m%d"),
            "trade_time": traded.strftime("%H%M%S"),
            "trade_date_kst": seoul.strftime("%Y%m%d"),
            "trade_time_kst": seoul.strftime("%H%M%S"),
            "trade_timestamp": int(traded.timestamp() * 1000),
            "opening_price": float(today.open[0]),
            "high_price": float(today.high[0]),
            "low_price": float(today.low[0]),
            "trade_price": price,
            "prev_closing_price": previous,
            "change": "RISE" if change > 0 else "FALL" if change < 0 else "EVEN",
            "change_price": abs(change),
            "change_rate": abs(rate),
            "signed_change_price": change,
            "signed_change_rate": rate,
            "trade_volume": 0.001,
            "acc_trade_price": float(today.value[0]),
            "acc_trade_price_24h": round(float(day.value.sum()), 8),
            "acc_trade_volume": float(today.volume[0]),
            "acc_trade_volume_24h": round(float(day.volume.sum()), 8),
            "highest_52_week_price": float(year.high[top]),
            "highest_52_week_date": dates[top][:10],
            "lowest_52_week_price": float(year.low[bottom]),
            "lowest_52_week_date": dates[bottom][:10],
            "timestamp": int(tick.quoted_at.timestamp() * 1000),
        }

    def orderbooks(self, request: Request, _names: dict[str, str]) -> Reply:
        """Order books round the last price."""
        now = self._exchange.now()
        symbols = read_params(request).many("markets")
        if not symbols or not all(map(self._feed.lists, symbols)):
            return quotation_error(404, "Code not found") if symbols else quotation_error(400, "markets is missing")
        ticks = (self._feed.tick(symbol, now) for symbol in symbols)
        return json_reply(200, [_book_json(tick) for tick in ticks if tick is not None])

    def instruments(self, request: Request, _names: dict[str, str]) -> Reply:
        """The price step of each market at its last price."""
        now = self._exchange.now()
        symbols = read_params(request).many("markets")
        if not symbols or not all(map(self._feed.lists, symbols)):
            return quotation_error(404, "Code not found") if symbols else quotation_error(400, "markets is missing")
        rows = []
        for symbol in symbols:
            tick = self._feed.tick(symbol, now)
            step = Decimal(1) if tick is None else tick_size(KRW_CRYPTO, tick.price)
            levels = [Decimal(0), *(step * factor for factor in (10, 100, 1000))]
            rows.append(
                {
                    "market": symbol,
                    "quote_currency": symbol.split("-")[0],
                    "tick_size": plain(step),
                    "supported_levels": [plain(level) for level in levels],
                }
            )
        return json_reply(200, rows)


def candles_json(symbol: str, bars: BarColumns) -> list[dict[str, object]]:
    """Candles as the quotation API writes them, newest first: numbers, UTC and Korean time without a mark."""
    columns = zip(
        naive_utc_array(bars.ts),
        naive_seoul_array(bars.ts),
        bars.open.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        bars.close.tolist(),
        (bars.closes * 1000 - 1).tolist(),
        bars.value.tolist(),
        bars.volume.tolist(),
        strict=True,
    )
    rows: list[dict[str, object]] = [
        {
            "market": symbol,
            "candle_date_time_utc": utc,
            "candle_date_time_kst": kst,
            "opening_price": o,
            "high_price": h,
            "low_price": low,
            "trade_price": c,
            "timestamp": last,
            "candle_acc_trade_price": value,
            "candle_acc_trade_volume": volume,
        }
        for utc, kst, o, h, low, c, last, value, volume in columns
    ]
    return rows[::-1]


def _market_json(symbol: str, *, detailed: bool) -> dict[str, object]:
    spec = symbol_spec(symbol)
    row: dict[str, object] = {"market": symbol, "korean_name": spec.listing, "english_name": spec.name}
    if detailed:
        cautions = (
            "PRICE_FLUCTUATIONS",
            "TRADING_VOLUME_SOARING",
            "DEPOSIT_AMOUNT_SOARING",
            "GLOBAL_PRICE_DIFFERENCES",
            "CONCENTRATION_OF_SMALL_ACCOUNTS",
        )
        row["market_event"] = {"warning": False, "caution": dict.fromkeys(cautions, False)}
    return row


def _book_json(tick: Tick) -> dict[str, object]:
    """A book of evenly spaced levels; sizes shrink towards the spread. Orders are not matched against it."""
    step = tick_size(KRW_CRYPTO, tick.price)
    activity = symbol_spec(tick.symbol).activity / 200_000
    units = []
    for level in range(_BOOK_LEVELS):
        size = round(activity * (1 + level * 0.3), 8)
        units.append(
            {
                "ask_price": float(tick.ask + step * level),
                "bid_price": float(max(tick.bid - step * level, step)),
                "ask_size": size,
                "bid_size": size,
            }
        )
    total = round(sum(activity * (1 + level * 0.3) for level in range(_BOOK_LEVELS)), 8)
    return {
        "market": tick.symbol,
        "timestamp": int(tick.quoted_at.astimezone(UTC).timestamp() * 1000),
        "total_ask_size": total,
        "total_bid_size": total,
        "orderbook_units": units,
        "level": 0,
    }
