"""The typed door to the decision of one bar: what goes in, what comes out. The rules are in the kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_pipeline.core.trading.checks import check_all, check_members, check_symbols, fresh
from quant_pipeline.core.trading.kernel_decide import decide_bar
from quant_pipeline.core.trading.kernel_review import measure, review_buy
from quant_pipeline.core.trading.kernel_types import (
    BOOK_COUNT,
    BOOK_MONEY,
    CASH,
    DAY_FLOWS,
    DAY_START,
    EQUITY,
    EXPOSURE,
    FREE_CASH,
    HALTED_UNTIL,
    IS_PAUSED,
    NONE,
    NOW,
    POSITIONS,
    REBALANCING,
    TRADES,
    BookK,
    Floats,
    InputsK,
    OutK,
)
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Reason, Vote

STATUSES = (0, *(int(r) for r in (Reason.BAD_DATA, Reason.NOT_OPEN, Reason.NO_HISTORY, Reason.NO_BAR)))
STATUSES += (int(Reason.STALE_QUOTE),)
"""What the status of a symbol may be: 0 (usable) or the reason why nothing is decided on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarInputs:
    """What is known of each symbol at the close of a bar; arrays are (S,), or (T, S) for a roll over many bars.

    Attributes:
        symbols: S names, sorted.
        price: float64, close of the bar in quote currency; NaN where there is none.
        vote: int8, `Vote`.
        status: int8, 0 or one of `STATUSES`.
        expected_return: float64, fraction over the horizon; NaN where there is no opinion.
        confidence: float64, 0 to 1; NaN where there is no opinion.
        members_usable: int64, ensemble members behind the opinion, identical ones counted once.
        has_model: bool, whether a model serves this bar.
        has_opinion: bool, whether there is an opinion, also one made only for rebalancing.
        vol20: float64, daily volatility over 20 days; NaN where it is not defined.
    """

    symbols: tuple[str, ...]
    price: NDArray[np.float64]
    vote: NDArray[np.int8]
    status: NDArray[np.int8]
    expected_return: NDArray[np.float64]
    confidence: NDArray[np.float64]
    members_usable: NDArray[np.int64]
    has_model: NDArray[np.bool_]
    has_opinion: NDArray[np.bool_]
    vol20: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookView:
    """A book at the moment of a decision; money in quote currency, arrays (S,) in the order of `symbols`.

    Attributes:
        symbols: as in the inputs.
        lots: int64, held, including what is bound in open sales.
        avg_price: float64, average cost of one unit; read where `mark_price` and the bar have no price.
        pending_buy_notional: float64, what open entries may still spend (0: none), fees not counted.
        pending_sell_lots: int64, what open sales may still sell.
        cash: including what is bound in open entries.
        equity: cash and holdings marked now.
        day_start_equity, day_flows: equity at day start, and deposits and dividends since.
        trades_today: decisions that acted in this session so far.
        halted_until_ns, now_ns: UTC epoch ns; `now_ns` is the close of the bar.
        paused: whether the desk is paused, so that nothing is bought.
        mark_price: float64, value of one unit now; by default the price of the bar, else the average cost.
        rebalance_into: the symbol that is to be bought once the holding given up for it is sold.
    """

    symbols: tuple[str, ...]
    lots: NDArray[np.int64]
    avg_price: NDArray[np.float64]
    pending_buy_notional: NDArray[np.float64]
    pending_sell_lots: NDArray[np.int64]
    cash: float
    equity: float
    day_start_equity: float
    now_ns: int
    day_flows: float = 0.0
    trades_today: int = 0
    halted_until_ns: int = 0
    paused: bool = False
    mark_price: NDArray[np.float64] | None = None
    rebalance_into: str | None = None


@dataclass(frozen=True, slots=True)
class BarDecisions:
    """What was decided of each symbol, and the book with these decisions under way.

    Attributes:
        symbols: as in the inputs.
        action: int8 (S,), `Action`.
        reason: int8 (S,), `Reason`; never 0.
        lots: int64 (S,), what to buy or sell; 0 for an entry by amount.
        notional: float64 (S,), the amount to spend, or the value at the price of the bar; 0 without action.
        pair: int64 (S,), for a holding given up (REBALANCE_OUT) the index of the symbol to buy after it, else -1.
        halted_until_ns: the end of the last halt, 0 without any.
        halt_started: whether this bar's loss started it.
        exposure: holdings and entries under way, in quote currency.
        free_cash: cash not bound by entries under way, fees and slippage reserved.
        positions: symbols held or being bought.
        trades_today: decisions that acted in this session, this bar's included.
    """

    symbols: tuple[str, ...]
    action: NDArray[np.int8]
    reason: NDArray[np.int8]
    lots: NDArray[np.int64]
    notional: NDArray[np.float64]
    pair: NDArray[np.int64]
    halted_until_ns: int
    halt_started: bool
    exposure: float
    free_cash: float
    positions: int
    trades_today: int


@dataclass(frozen=True, slots=True)
class EntryReview:
    """Whether one entry may be made now: `reason` REBALANCE_IN with its size, or the veto with 0 lots and amount."""

    reason: Reason
    lots: int
    notional: float


def decide(inputs: BarInputs, book: BookView, params: TradingParams) -> BarDecisions:
    """Decide every symbol of one bar for one book.

    Pure: neither argument is changed, and the same arguments give the same bytes. The order of rules: a halt by the
    day's loss; sales in symbol order; entries by expected return (highest first, equal ones in symbol order), each
    seeing the ones before it.

    Raises:
        ValueError: arrays that do not fit together, unknown codes, a symbol list that is not sorted.
        TypeError: an array of another kind than stated.
    """
    if inputs.symbols != book.symbols:
        msg = f"inputs are of {inputs.symbols}, the book of {book.symbols}; give both for the same sorted symbols"
        raise ValueError(msg)
    size = len(inputs.symbols)
    x = kernel_inputs(inputs, (size,))
    b = kernel_book(book, x.price)
    out = empty_decisions((size,))
    decide_bar(params.to_kernel(), np.array(params.fee_row()), x, b, out)
    halted_until = int(b.counts[HALTED_UNTIL])
    return BarDecisions(
        symbols=inputs.symbols,
        action=out.action.astype(np.int8),
        reason=out.reason.astype(np.int8),
        lots=out.lots,
        notional=out.notional,
        pair=out.pair,
        halted_until_ns=halted_until,
        halt_started=halted_until != book.halted_until_ns,
        exposure=float(b.money[EXPOSURE]),
        free_cash=float(b.money[FREE_CASH]),
        positions=int(b.counts[POSITIONS]),
        trades_today=int(b.counts[TRADES]),
    )


def review_rebalance_in(
    book: BookView, params: TradingParams, symbol: str, *, price: float, confidence: float, vol20: float
) -> EntryReview:
    """Check again the entry for which a holding was given up, once that sale is filled, at a fresh `price`.

    The gates and the size are those of any entry. The symbol's own `rebalance_into` mark does not block it.

    Raises:
        ValueError: `symbol` is not in the book, or a price that is not positive.
    """
    if symbol not in book.symbols:
        msg = f"symbol {symbol!r} is not among the symbols of the book: {', '.join(book.symbols)}"
        raise ValueError(msg)
    if not 0.0 < price < float("inf"):
        msg = f"price {price} of {symbol} must be positive; wait for a quote"
        raise ValueError(msg)
    i = book.symbols.index(symbol)
    fees = np.array(params.fee_row())
    b = kernel_book(book, np.full(len(book.symbols), np.nan))
    if book.mark_price is None:
        b.mark[i] = price
    b.counts[REBALANCING] = NONE
    measure(params.to_kernel(), fees, b)
    reason, lots, notional = review_buy(params.to_kernel(), fees, b, i, price, float(confidence), float(vol20), NONE)
    return EntryReview(Reason(reason) if reason else Reason.REBALANCE_IN, int(lots), float(notional))


def kernel_inputs(inputs: BarInputs, shape: tuple[int, ...]) -> InputsK:
    """The inputs as fresh arrays of the kernel's types, checked."""
    check_symbols(inputs.symbols)
    made = InputsK(
        price=fresh("price", inputs.price, np.float64, shape),
        vote=fresh("vote", inputs.vote, np.int8, shape),
        status=fresh("status", inputs.status, np.int8, shape),
        expected=fresh("expected_return", inputs.expected_return, np.float64, shape),
        confidence=fresh("confidence", inputs.confidence, np.float64, shape),
        members=fresh("members_usable", inputs.members_usable, np.int64, shape),
        has_model=fresh("has_model", inputs.has_model, np.bool_, shape),
        has_opinion=fresh("has_opinion", inputs.has_opinion, np.bool_, shape),
        vol=fresh("vol20", inputs.vol20, np.float64, shape),
    )
    check_members("vote", made.vote, tuple(int(vote) for vote in Vote))
    check_members("status", made.status, STATUSES)
    return made


def empty_decisions(shape: tuple[int, ...]) -> OutK:
    """Room for the decisions of one bar (S,) or many (T, S)."""
    return OutK(
        action=np.zeros(shape, np.int64),
        reason=np.zeros(shape, np.int64),
        lots=np.zeros(shape, np.int64),
        notional=np.zeros(shape),
        pair=np.full(shape, -1, np.int64),
    )


def kernel_book(book: BookView, price: Floats) -> BookK:
    """The book as fresh arrays of the kernel's types, checked; `price` (S,) marks what the book does not mark."""
    check_symbols(book.symbols)
    shape = (len(book.symbols),)
    lots = fresh("lots", book.lots, np.int64, shape)
    pending_buy = fresh("pending_buy_notional", book.pending_buy_notional, np.float64, shape)
    pending_sell = fresh("pending_sell_lots", book.pending_sell_lots, np.int64, shape)
    average = fresh("avg_price", book.avg_price, np.float64, shape)
    mark = np.where(np.isfinite(price) & (price > 0.0), price, average)
    if book.mark_price is not None:
        mark = fresh("mark_price", book.mark_price, np.float64, shape)
    check_all("lots", lots >= 0, "books are long only")
    check_all("pending_buy_notional", pending_buy >= 0.0, "an amount of at least 0")
    check_all("pending_sell_lots", pending_sell >= 0, "an amount of at least 0")
    check_all("mark of a held symbol", (lots == 0) | ((mark > 0.0) & np.isfinite(mark)), "a positive price")
    money = np.zeros(BOOK_MONEY)
    for column, name in ((EQUITY, "equity"), (CASH, "cash"), (DAY_START, "day_start_equity"), (DAY_FLOWS, "day_flows")):
        money[column] = getattr(book, name)
        check_all(name, np.isfinite(money[column : column + 1]), "a finite amount")
    counts = np.zeros(BOOK_COUNT, np.int64)
    counts[TRADES], counts[HALTED_UNTIL] = book.trades_today, book.halted_until_ns
    counts[NOW], counts[IS_PAUSED] = book.now_ns, int(book.paused)
    into = book.rebalance_into
    # A symbol that left the market cannot be bought any more, but its exchange still is the one under way.
    counts[REBALANCING] = -1 if into is None else (book.symbols.index(into) if into in book.symbols else shape[0])
    return BookK(lots, mark, pending_buy, pending_sell, money, counts)
