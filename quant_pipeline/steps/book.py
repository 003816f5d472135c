"""The book step: in a tick, compare the ledger with the venue, mark the book, write equity and risk; else show rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.values import Account, Position
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.account import MarkedBook, day_state, desk_lock, marked, open_book, sync
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.splits import quoted
from quant_pipeline.steps.tables import Number, RunContext, SessionOutcome, StepResult
from quant_pipeline.steps.timing import session_span, tick_session
from quant_pipeline.storage.books import book_state
from quant_pipeline.storage.control import ControlState, control_state, set_control_state
from quant_pipeline.storage.equity import equity_curve, record_equity
from quant_pipeline.storage.fills import fills_between

STEP = "book"
CASH_TOLERANCE = Decimal("0.001")
"""Share of equity by which cash may differ before entries stop: interest and fees charged later are smaller."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How the ledger and the venue differ. Quantities are ledger minus venue."""

    positions: Mapping[str, Decimal]
    cash: Decimal
    cash_limit: Decimal

    @property
    def agrees(self) -> bool:
        """Whether trading may go on."""
        return not self.positions and abs(self.cash) <= self.cash_limit

    def sentence(self) -> str:
        """What differs, for a person."""
        parts = [
            f"{symbol}: ledger {difference:+f} against the venue"
            for symbol, difference in sorted(self.positions.items())
        ]
        if abs(self.cash) > self.cash_limit:
            parts.append(f"cash: ledger {self.cash:+f} against the venue (tolerated: {self.cash_limit:f})")
        return "; ".join(parts) or "ledger and venue agree"


@dataclass(frozen=True, slots=True)
class BookReport:
    """The result of the step, and the comparison if one was made."""

    result: StepResult
    reconciliation: Reconciliation | None


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> BookReport:
    """Reconcile and mark the broker's book if this is the live tick, then report what is stored for `sessions`.

    A difference in holdings, or in cash beyond the tolerance, pauses entries of the market until a person resumes it.
    """
    found: Reconciliation | None = None
    numbers: dict[str, Number] = {}
    if context.tick and sessions[-1] == tick_session(market, context.now):
        with desk.db.advisory_lock(desk_lock(market), wait=True):
            found = _reconcile(desk, market, sessions[-1], context, numbers)
    outcomes = tuple(_stored(desk, market, session) for session in sessions)
    return BookReport(StepResult(outcomes, numbers=numbers), found)


def _reconcile(
    desk: Desk, market: MarketSettings, session: date, context: RunContext, numbers: dict[str, Number]
) -> Reconciliation:
    now = context.now
    open_book(desk, market, now)
    book, found = _look(desk, market, now)
    if not found.agrees:
        # An order may have been filled after it was asked for; only what differs at a second look does differ.
        book, found = _look(desk, market, now)
    day = day_state(desk, market, session, book, now)
    record_equity(desk.db, market.name, market.broker_book, now, session, book.cash, book.positions_value, book.equity)
    if not found.agrees and control_state(desk.db, market.name) is ControlState.RUNNING:
        set_control_state(
            desk.db, market.name, ControlState.PAUSED, actor="reconciliation", note=found.sentence(), at=now
        )
    numbers |= {
        "equity": float(book.equity),
        "cash": float(book.cash),
        "exposure": float(book.positions_value / book.equity) if book.equity else 0.0,
        "positions": sum(p.qty > 0 for p in book.state.positions),
        "day_return": float((book.equity - day.day_flows) / day.day_start_equity) - 1.0
        if day.day_start_equity
        else 0.0,
        "halted": int(day.halted_until is not None and now < day.halted_until),
        "differences": len(found.positions),
        "cash_difference": float(found.cash),
    }
    return found


def _look(desk: Desk, market: MarketSettings, now: datetime) -> tuple[MarkedBook, Reconciliation]:
    """The book brought up to date and marked at fresh prices, and how it differs from the venue."""
    sync(desk, market, now)
    venue = desk.venue(market)
    state = book_state(desk.db, market.name, market.broker_book)
    held = [p.symbol for p in state.positions if p.qty > 0]
    quotes = venue.data.quotes(held) if held else {}
    book = marked(desk, market, quoted(desk, market, quotes, now))
    return book, compare(book, venue.broker.positions(), venue.broker.account())


def compare(book: MarkedBook, positions: Sequence[Position], account: Account) -> Reconciliation:
    """The differences between our ledger and what the venue reports."""
    ours = {p.symbol: p.qty for p in book.state.positions if p.qty}
    theirs = {p.symbol: p.qty for p in positions}
    differences = {s: ours.get(s, Decimal(0)) - theirs.get(s, Decimal(0)) for s in ours.keys() | theirs.keys()}
    return Reconciliation(
        {symbol: value for symbol, value in differences.items() if value},
        book.cash - account.cash,
        abs(book.equity) * CASH_TOLERANCE,
    )


def _stored(desk: Desk, market: MarketSettings, session: date) -> SessionOutcome:
    start, end = session_span(session, session)
    fills = fills_between(desk.db, market.name, market.broker_book, start, end)
    curve = equity_curve(desk.db, market.name, market.broker_book, start, end)
    numbers: dict[str, Number] = {"fills": len(fills), "fees": float(sum((f.fee for f in fills), Decimal(0)))}
    if len(curve):
        numbers["equity_end"] = float(curve["equity"].iloc[-1])
    content = combine_hashes(*(f"{f.client_id}|{f.fill_id}|{f.qty}|{f.price}|{f.fee}" for f in fills))
    return SessionOutcome(session, len(fills), content, numbers)
