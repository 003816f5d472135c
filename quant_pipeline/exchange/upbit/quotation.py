"""Upbit's prices of now: tickers, order books, markets. No account, no authentication; history is in `candles`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from quant_pipeline.exchange.bars.sessions import DAY, MINUTE
from quant_pipeline.exchange.bars.symbols import symbol_spec
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import Feed, Tick
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.upbit.params import read_params
from quant_pipeline.exchange.upbit.words import quotation_error
from quant_pipeline.exchange.words import SEOUL, naive_utc_array, plain
from quant_pipeline.markets.market import KRW_CRYPTO
from quant_pipeline.markets.rules import tick_size

_BOOK_LEVELS = 15


def quotation_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints that tell prices of now."""
    api = QuotationApi(exchange)
    return tuple(
        route("GET", path, endpoint, group)
        for path, endpoint, group in (
            ("/v1/market/all", api.markets, "market"),
            ("/v1/ticker", api.tickers, "ticker"),
            ("/v1/ticker/all", api.all_tickers, "ticker"),
            ("/v1/orderbook", api.orderbooks, "orderbook"),
            ("/v1/orderbook/instruments", api.instruments, "orderbook"),
        )
    )


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
