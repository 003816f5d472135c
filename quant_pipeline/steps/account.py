"""The broker's book as the ledger has it: bringing it up to date with the venue, marking it, seeing it as the kernel does.

Nothing is decided and nothing new is sent here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import numpy as np

from quant_pipeline.core.trading.decisions import BookView
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Side
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.splits import apply_splits
from quant_pipeline.steps.timing import session_starts
from quant_pipeline.storage.books import BookState, book_state, trades_today
from quant_pipeline.storage.cash import cash, cash_flows, record_cash
from quant_pipeline.storage.control import ControlState, control_state
from quant_pipeline.storage.intents import Leg, expire_intents, settle_intents
from quant_pipeline.storage.journal import SqlJournal
from quant_pipeline.storage.risk import RiskEvent, RiskState, put_risk_state, risk_state
from quant_pipeline.venues.order_protocol import poll_open

OPENING = "opening_balance"
_EDGE = 1e-12


@dataclass(frozen=True, slots=True)
class MarkedBook:
    """A book marked at known prices, in the market's currency. `unmarked` names holdings without a price."""

    state: BookState
    cash: Decimal
    positions_value: Decimal
    unmarked: tuple[str, ...]

    @property
    def equity(self) -> Decimal:
        """Cash and holdings."""
        return self.cash + self.positions_value


def journal_of(desk: Desk, market: MarketSettings) -> SqlJournal:
    """Where the orders of a market's broker book are kept."""
    return SqlJournal(desk.db, market.name, market.broker_book, market.market.venue)


def desk_lock(market: MarketSettings) -> str:
    """The name of the lock under which one process at a time decides and sends for a market."""
    return f"desk:{market.name}"


def open_book(desk: Desk, market: MarketSettings, now: datetime) -> None:
    """Record the account's cash as the opening balance the first time this book is used."""
    book = market.broker_book
    if book_state(desk.db, market.name, book).cash is not None:
        return
    account = desk.venue(market).broker.account()
    record_cash(desk.db, market.name, book, now, account.cash, OPENING, account.account_id)


def sync(desk: Desk, market: MarketSettings, now: datetime) -> None:
    """Take over what became of standing orders and of shares that were split, and close intents that are over."""
    poll_open(desk.venue(market).broker, journal_of(desk, market), at=now)
    apply_splits(desk, market, now)
    settle_intents(desk.db, market.name, market.broker_book, now)
    expire_intents(desk.db, market.name, market.broker_book, now)


def marked(desk: Desk, market: MarketSettings, prices: Mapping[str, Decimal]) -> MarkedBook:
    """The book at the given prices; a holding without a price counts at its average cost."""
    state = book_state(desk.db, market.name, market.broker_book)
    value = sum((p.qty * prices.get(p.symbol, p.avg_price) for p in state.positions), Decimal(0))
    unmarked = tuple(p.symbol for p in state.positions if p.qty and p.symbol not in prices)
    balance = state.cash if state.cash is not None else cash(desk.db, market.name, market.broker_book)
    return MarkedBook(state, balance, value, unmarked)


def day_state(desk: Desk, market: MarketSettings, session: date, book: MarkedBook, now: datetime) -> RiskState:
    """The risk state of the session: begins a new day at the equity last known, and trips the daily-loss halt.

    The day's start is the last equity that was recorded before it, so a gap over the night counts as the day's.
    """
    name, kind = market.name, market.broker_book
    stored = risk_state(desk.db, name, kind)
    events: list[RiskEvent] = []
    if stored is None or stored.session != session:
        start = stored.equity if stored is not None else book.equity
        flows = Decimal(0)
        events.append(
            RiskEvent(name, kind, now, "day_began", "info", {"session": session.isoformat(), "equity": str(start)})
        )
        kept = (stored.tripped_at, stored.halted_until, stored.reason) if stored is not None else (None, None, "")
        state = RiskState(name, kind, session, start, flows, book.equity, *kept, now)
    else:
        state = replace(stored, equity=book.equity, updated_at=now)
    flows = _flows_since(desk, market, session, now)
    state = _halt_after_loss(market, replace(state, day_flows=flows), events, now)
    put_risk_state(desk.db, state, events=events)
    return state


def _flows_since(desk: Desk, market: MarketSettings, session: date, now: datetime) -> Decimal:
    """Deposits and withdrawals of the session; the opening balance is none."""
    flows = cash_flows(desk.db, market.name, market.broker_book, session_starts(session), now)
    return sum((flow.amount for flow in flows if flow.kind in ("deposit", "withdrawal", "dividend")), Decimal(0))


def _halt_after_loss(market: MarketSettings, state: RiskState, events: list[RiskEvent], now: datetime) -> RiskState:
    halted = state.halted_until is not None and now < state.halted_until
    if halted or state.day_start_equity <= 0:
        return state
    change = float((state.equity - state.day_flows) / state.day_start_equity) - 1.0
    if change > market.risk.max_daily_loss + _EDGE:
        return state
    until = now + np.timedelta64(market.risk.halt_hours, "h").astype(object)
    detail = {"change": change, "limit": market.risk.max_daily_loss, "until": until.isoformat()}
    events.append(RiskEvent(state.market, state.book, now, "daily_loss_halt", "critical", detail))
    return replace(state, tripped_at=now, halted_until=until, reason="daily_loss")


def book_view(
    desk: Desk,
    market: MarketSettings,
    symbols: Sequence[str],
    prices: Mapping[str, Decimal],
    book: MarkedBook,
    day: RiskState,
    now: datetime,
    *,
    scale: int,
) -> BookView:
    """The book as the decision kernel sees it; `symbols` must be sorted and hold every symbol of the book."""
    held = {position.symbol: position for position in book.state.positions if position.qty > 0}
    buying: dict[str, float] = dict.fromkeys(symbols, 0.0)
    selling: dict[str, int] = dict.fromkeys(symbols, 0)
    into: str | None = None
    for pending in book.state.pending:
        if pending.leg is Leg.REBALANCE_IN and pending.client_id is None:
            into = pending.symbol
        elif pending.side is Side.BUY:
            price = prices.get(pending.symbol, Decimal(0))
            amount = pending.notional if pending.notional is not None else (pending.qty or Decimal(0)) * price
            buying[pending.symbol] += float(max(amount, Decimal(0)))
        else:
            selling[pending.symbol] += int((pending.qty or Decimal(0)) * scale)
    lots = np.array([int(held[s].qty * scale) if s in held else 0 for s in symbols], np.int64)
    average = np.array([float(held[s].avg_price) if s in held else np.nan for s in symbols])
    marks = np.array(
        [float(prices[s]) if s in prices else float(held[s].avg_price) if s in held else np.nan for s in symbols]
    )
    halted = day.halted_until
    return BookView(
        symbols=tuple(symbols),
        lots=lots,
        avg_price=average,
        pending_buy_notional=np.array([buying[s] for s in symbols]),
        pending_sell_lots=np.minimum(np.array([selling[s] for s in symbols], np.int64), lots),
        cash=float(book.cash),
        equity=float(book.equity),
        day_start_equity=float(day.day_start_equity),
        day_flows=float(day.day_flows),
        trades_today=trades_today(desk.db, market.name, market.broker_book, session_starts(day.session)),
        halted_until_ns=0 if halted is None else int(halted.timestamp()) * 1_000_000_000,
        now_ns=int(now.timestamp()) * 1_000_000_000,
        paused=control_state(desk.db, market.name) is not ControlState.RUNNING,
        mark_price=marks,
        rebalance_into=into,
    )


def universe(market: MarketSettings, book: BookState) -> tuple[str, ...]:
    """The market's symbols and whatever else the book holds or has under way, sorted."""
    others = {p.symbol for p in book.positions if p.qty} | {p.symbol for p in book.pending}
    return tuple(sorted(set(market.symbols) | others))


def units(lots: int, params: TradingParams) -> Decimal:
    """Lots as a quantity."""
    return Decimal(lots) / params.qty_scale
