"""Upbit's quotations as a dry run reads them: candles, tickers, order books, the list of markets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from urllib.parse import urlencode

from quant_pipeline.exchange.bars.sessions import DAY, MINUTE
from quant_pipeline.exchange.feed import Tick, exact
from quant_pipeline.exchange.http import Reply, Request
from quant_pipeline.exchange.live.memory import Json, Memory, amount, from_millis, not_future, positive
from quant_pipeline.exchange.live.series import Row
from quant_pipeline.exchange.upbit.candles import MAX_CANDLES
from quant_pipeline.exchange.upbit.params import parse_instant, read_params
from quant_pipeline.exchange.upbit.words import quotation_error

TICKER, BOOK, MARKETS, STEPS = "/v1/ticker", "/v1/orderbook", "/v1/market/all", "/v1/orderbook/instruments"
_BATCH = 100
"""Markets asked for at once."""
_LIST_EVERY = timedelta(hours=1)


class UpbitWire:
    """See `Wire`."""

    def __init__(self) -> None:
        """Remember nothing but when the list of markets was told."""
        self._listed_at: datetime | None = None

    def question(self, request: Request) -> Request:
        """As asked; parameters that a client put into the body go into the query."""
        if not request.body:
            return Request("GET", request.path, request.query)
        pairs = [(name, value) for name, values in read_params(request).values.items() for value in values]
        return Request("GET", request.path, urlencode(pairs))

    def learn(self, question: Request, content: Any, memory: Memory, now: datetime) -> None:  # noqa: ANN401 - JSON
        """See `Wire.learn`."""
        if not isinstance(content, list):
            msg = f"{question.path} is answered with no list"
            raise TypeError(msg)
        if question.path == MARKETS:
            memory.listed = frozenset(row["market"] for row in content if row["market"].startswith("KRW-"))
            memory.latest[MARKETS, question.query] = {"rows": content}
            self._listed_at = now
        elif question.path in (TICKER, BOOK, STEPS):
            self._learn_latest(question.path, content, memory, now)
        elif (seconds := _candle_seconds(question.path)) is not None:
            self._learn_candles(question, seconds, content, memory, now)

    def recall(self, question: Request, memory: Memory, now: datetime) -> Reply | None:
        """See `Wire.recall`."""
        params = read_params(question)
        if question.path == MARKETS:
            known = memory.latest.get((MARKETS, question.query))
            return None if known is None else _rows_reply(known["rows"])
        if question.path in (TICKER, BOOK, STEPS):
            asked = params.many("markets")
            if memory.listed is not None and not memory.listed.issuperset(asked):
                return quotation_error(404, "Code not found")
            rows = [memory.latest.get((question.path, symbol)) for symbol in asked]
            return _rows_reply(rows) if rows and all(rows) else None
        seconds = _candle_seconds(question.path)
        return None if seconds is None else self._recall_candles(question, seconds, memory, now)

    def unavailable(self, why: str) -> Reply:
        """A quotation error with status 503."""
        return quotation_error(503, f"no market data from Upbit: {why}")

    def refused(self, question: Request, status: int, content: Any, memory: Memory) -> bool:  # noqa: ANN401 - JSON
        """Upbit does not say which market it does not know: the list of markets is asked for anew."""
        del question, content, memory
        self._listed_at = None
        return status == 404

    def listing_questions(self, memory: Memory, now: datetime) -> list[Request]:
        """The list of markets, once an hour and after a refusal."""
        due = memory.listed is None or self._listed_at is None or now - self._listed_at >= _LIST_EVERY
        return [Request("GET", MARKETS, "isDetails=false")] if due else []

    def quote_questions(self, symbols: Iterable[str], memory: Memory) -> list[Request]:
        """Two questions for up to a hundred symbols."""
        known = sorted(set(symbols) & (memory.listed or frozenset()))
        batches = [",".join(known[n : n + _BATCH]) for n in range(0, len(known), _BATCH)]
        return [Request("GET", path, urlencode({"markets": batch})) for path in (BOOK, TICKER) for batch in batches]

    def minute_questions(self, since: dict[str, int], memory: Memory, now: datetime) -> list[Request]:
        """One page of candles for each symbol."""
        if memory.listed is None:
            return []
        return [_minute_question(symbol, at, now) for symbol, at in sorted(since.items()) if symbol in memory.listed]

    def day_questions(self, symbols: Iterable[str], now: datetime) -> list[Request]:
        """None: Upbit's accounts state no change since yesterday."""
        del symbols, now
        return []

    def _learn_latest(self, path: str, rows: list[Json], memory: Memory, now: datetime) -> None:
        found = {row["market"]: row for row in rows}
        for row in rows:
            if path != STEPS:
                not_future(_told_at(row), now)
            if path == TICKER:
                positive(row["trade_price"])
                not_future(from_millis(row["trade_timestamp"]), now)
            if path == BOOK:
                _best(row)
        memory.learn_latest(path, found, now)
        for symbol in found:
            tick = _tick(symbol, memory)
            if tick is not None:
                memory.ticks[symbol] = tick

    def _learn_candles(self, question: Request, seconds: int, rows: list[Json], memory: Memory, now: datetime) -> None:
        """Between the oldest candle of a page and its end nothing is missing; a page that is not full goes back for ever."""
        symbol, before, count = _candle_span(question, now)
        told = [(_stamp(row), _row(row)) for row in rows]
        start = min(stamp for stamp, _ in told) if len(told) >= count else 0
        if all(row["market"] == symbol for row in rows):
            memory.learn_bars((symbol, seconds, ""), told, start, before, now)

    def _recall_candles(self, question: Request, seconds: int, memory: Memory, now: datetime) -> Reply | None:
        symbol, before, count = _candle_span(question, now)
        if memory.listed is not None and symbol not in memory.listed:
            return quotation_error(404, "Code not found")
        series = memory.bars(symbol, seconds)
        # A page is the newest `count` candles: from the oldest of them on nothing may be missing.
        newest = [_stamp(row.said) for row in series.rows(0, before)][-count:]
        start = newest[0] if len(newest) == count else 0
        rows = memory.answer_from(series, start, before, now)
        return None if rows is None else _rows_reply([row.said for row in rows[::-1]])


def _minute_question(symbol: str, since: int, now: datetime) -> Request:
    """The newest page if it reaches back to `since`, else the first page after it."""
    missing = max(1, ceil((now.timestamp() - since) / MINUTE) + 1)
    asked = {"market": symbol, "count": str(min(missing, MAX_CANDLES))}
    if missing > MAX_CANDLES:
        # No more candles than minutes lie before `to` and after `since`: the page is sure to reach back that far.
        asked["to"] = f"{datetime.fromtimestamp(since + (MAX_CANDLES - 1) * MINUTE, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Request("GET", "/v1/candles/minutes/1", urlencode(asked))


def _candle_seconds(path: str) -> int | None:
    """The length of the candles of a path; None for weeks and months, which are only passed on."""
    if path == "/v1/candles/days":
        return DAY
    unit = path.removeprefix("/v1/candles/minutes/")
    return int(unit) * MINUTE if unit.isdigit() else None


def _candle_span(question: Request, now: datetime) -> tuple[str, int, int]:
    """Symbol, exclusive end in epoch seconds, and count of a request for candles."""
    params = read_params(question)
    count, text = params.whole("count", 1), params.one("to")
    at = None if text is None else parse_instant(text)
    end = int(now.timestamp()) + 1
    if at is not None:
        end = min(end, int(at.timestamp()) + (at.microsecond > 0))
    return params.one("market") or "", end, min(count or 1, MAX_CANDLES)


def _stamp(row: Json) -> int:
    return int(datetime.fromisoformat(row["candle_date_time_utc"]).replace(tzinfo=UTC).timestamp())


def _row(row: Json) -> Row:
    return Row(
        row,
        positive(row["opening_price"]),
        positive(row["high_price"]),
        positive(row["low_price"]),
        positive(row["trade_price"]),
        amount(row["candle_acc_trade_volume"]),
        amount(row["candle_acc_trade_price"]),
    )


def _told_at(row: Json) -> datetime:
    return from_millis(row["timestamp"])


def _tick(symbol: str, memory: Memory) -> Tick | None:
    """The last trade with the book round it; None until both are known, and while a side of the book is empty."""
    ticker, book = memory.latest.get((TICKER, symbol)), memory.latest.get((BOOK, symbol))
    if ticker is None or book is None:
        return None
    bid, ask = _best(book)
    if not (bid and ask):
        return None
    traded_at, price = from_millis(ticker["trade_timestamp"]), exact(positive(ticker["trade_price"]))
    return Tick(symbol, price, traded_at, _told_at(book), exact(bid), exact(ask))


def _best(book: Json) -> tuple[float, float]:
    """Best bid and ask of an order book; 0 for an empty side, as a market has it that is about to leave the list."""
    units = book["orderbook_units"]
    return (amount(units[0]["bid_price"]), amount(units[0]["ask_price"])) if units else (0.0, 0.0)


def _rows_reply(rows: list[Any]) -> Reply:
    return Reply(200, json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode())
