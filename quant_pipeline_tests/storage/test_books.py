"""The state of a book: money, holdings and what is still to come, all of one moment."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from quant_pipeline.core.values import OrderState, Side
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ledger import (
    BookState,
    book_state,
    expire_intents,
    mark_order,
    record_cash,
    record_order,
    trades_today,
)
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, fill, later, planned, report, stored_intent


def test_book_without_opening_balance_has_no_cash_figure(database: Database) -> None:
    assert book_state(database, MARKET, BOOK) == BookState(None, (), ())
    asked = planned(database, "a")
    record_order(database, "a", report(asked, OrderState.FILLED, fill("f", "10", "100")), later(1))
    state = book_state(database, MARKET, BOOK)
    assert state.cash is None
    assert [(one.symbol, one.qty) for one in state.positions] == [("AAPL", 10)]


def test_open_orders_and_open_intents_are_pending_with_what_remains(database: Database) -> None:
    record_cash(database, MARKET, BOOK, AT, Decimal(1000), "opening", "start")
    partly = planned(database, "partly")
    by_amount = planned(database, "amount", symbol="MSFT", qty=None, notional=Decimal(500), at=later(1))
    doubtful = planned(database, "doubt", symbol="NVDA", side=Side.SELL, at=later(2))
    over = planned(database, "over", symbol="TSLA")
    waiting = stored_intent(database, symbol="AMD", created_at=later(3))
    record_order(database, "partly", report(partly, OrderState.PARTIALLY_FILLED, fill("f", "4", "10")), later(1))
    record_order(database, "amount", report(by_amount, OrderState.PARTIALLY_FILLED, fill("f", "2", "50.5")), later(1))
    mark_order(database, "doubt", OrderState.UNKNOWN, later(3), "sent")
    record_order(database, "over", report(over, OrderState.FILLED, fill("f", "10", "1")), later(1))
    state = book_state(database, MARKET, BOOK)
    assert [(one.client_id, one.symbol, one.side, one.qty, one.notional, one.status) for one in state.pending] == [
        ("partly", "AAPL", Side.BUY, Decimal(6), None, "partially_filled"),
        ("amount", "MSFT", Side.BUY, None, Decimal(399), "partially_filled"),
        (doubtful.client_id, "NVDA", Side.SELL, Decimal(10), None, "unknown"),
        (None, "AMD", Side.BUY, waiting.qty, None, "open"),
    ]
    assert state.cash == Decimal(1000) - 40 - 101 - 10
    expire_intents(database, MARKET, BOOK, later(60))
    assert [one.client_id for one in book_state(database, MARKET, BOOK).pending] == ["partly", "amount", "doubt"]


def test_books_are_kept_apart(database: Database) -> None:
    record_cash(database, MARKET, "live", AT, Decimal(5), "opening", "start")
    planned(database, "a", book="live")
    assert book_state(database, MARKET, BOOK) == BookState(None, (), ())
    assert book_state(database, MARKET, "live").cash == 5


def test_trades_of_the_day_are_orders_that_were_not_refused(database: Database) -> None:
    planned(database, "yesterday", at=later(-1000))
    for client_id in ("pending", "unknown", "refused", "filled"):
        planned(database, client_id)
    mark_order(database, "unknown", OrderState.UNKNOWN, AT, "sent")
    mark_order(database, "refused", OrderState.REJECTED, AT, "no")
    asked = planned(database, "late refusal")
    record_order(database, asked.client_id, report(asked, OrderState.PARTIALLY_FILLED, fill("f", "1", "1")), later(1))
    ended = replace(report(asked, OrderState.REJECTED, fill("f", "1", "1"), minutes=2))
    record_order(database, asked.client_id, ended, later(2))
    assert trades_today(database, MARKET, BOOK, AT) == 4
    assert trades_today(database, MARKET, BOOK, later(-2000)) == 5
    assert trades_today(database, MARKET, "live", AT) == 0
