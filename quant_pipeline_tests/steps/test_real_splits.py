"""Real splits of real shares: raw prices and factor files against a vendor's adjusted prices, and the book over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.adjust import Adjustment, PriceAction, adjusted
from quant_pipeline.core.anchor import utc_sessions
from quant_pipeline.core.jumps import unexplained_jumps
from quant_pipeline.core.trading.state import state_from_bytes
from quant_pipeline.core.values import Book
from quant_pipeline.importers.actions import Action, actions_of, read_factor_file
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.store import import_files
from quant_pipeline.markets import calendar
from quant_pipeline.steps import decisions, features
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.shadow import get_shadow_state
from quant_pipeline_tests.steps.world import BUY, HOLD, Say, opened_desk, settings_for, store_said

US = "us_equity"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
LAST = date(2021, 3, 31)
SPLIT_DAY = date(2020, 8, 31)


def _actions(folder: Path, symbol: str) -> tuple[Action, ...]:
    path = folder / "us_daily" / "lean_raw" / "factor_files" / f"{symbol.lower()}.csv"
    return actions_of(symbol, read_factor_file(path))


def _price_actions(found: Sequence[Action], *kinds: str) -> Adjustment:
    rows = [(a, a.ratio if a.kind == "split" else a.amount) for a in found if a.kind in kinds]
    return Adjustment(tuple(PriceAction(a.symbol, a.ex_date, a.kind, float(v)) for a, v in rows if v is not None))


def _raw(folder: Path, symbol: str) -> pd.DataFrame:
    return read_file(folder / "us_daily" / "lean_raw" / f"{symbol.lower()}.zip").frame


def _vendor(folder: Path, symbol: str) -> pd.DataFrame:
    path = folder / "us_daily" / "yahoo" / f"{symbol}.csv.gz"
    frame = pd.read_csv(path, parse_dates=["Date"])
    return frame.set_index(frame["Date"].dt.date)


def _compared(bars: pd.DataFrame, vendor: pd.DataFrame, column: str) -> pd.Series:
    """Relative difference by day."""
    ours = bars.set_index(bars["ts"].dt.date)["close"]
    days = ours.index.intersection(vendor.index)
    assert len(days) > 1500
    return (ours.loc[days] / vendor[column].loc[days] - 1).abs()


def test_raw_prices_adjusted_for_the_splits_of_the_factor_file_are_the_vendor_s_prices(test_data: Path) -> None:
    raw, vendor = _raw(test_data, "AAPL"), _vendor(test_data, "AAPL")
    splits = _price_actions(_actions(test_data, "AAPL"), "split")
    assert [(a.ex_date.year, a.value) for a in splits.actions] == [(2000, 2.0), (2005, 2.0), (2014, 7.0), (2020, 4.0)]
    same = _compared(adjusted(raw, utc_sessions(raw["ts"]), splits, LAST), vendor, "Close")
    assert same.median() < 5e-7
    assert same.quantile(0.99) < 5e-3, "the two vendors differ by that much on single days before 2005"
    assert _compared(raw, vendor, "Close").median() > 1


def test_raw_prices_adjusted_for_splits_and_dividends_move_like_the_vendor_s_total_return(test_data: Path) -> None:
    raw, vendor = _raw(test_data, "AAPL"), _vendor(test_data, "AAPL")
    both = _price_actions(_actions(test_data, "AAPL"), "split", "dividend")
    ours = adjusted(raw, utc_sessions(raw["ts"]), both, LAST)
    closes = ours.set_index(ours["ts"].dt.date)["close"]
    days = closes.index.intersection(vendor.index)
    moves = np.diff(np.log(closes.loc[days])) - np.diff(np.log(vendor["Adj Close"].loc[days]))
    assert np.median(np.abs(moves)) < 1e-6
    assert abs(moves.sum()) < 1e-3, "over all the years"
    paid = {action.ex_date for action in both.actions if action.kind == "dividend" and action.ex_date.year >= 2012}
    on_ex_dates = np.abs(moves[[day in paid for day in days[1:]]])
    assert len(on_ex_dates) > 30
    assert on_ex_dates.max() < 1e-3


def test_googl_before_its_last_split_is_exactly_twenty_times_the_vendor_s(test_data: Path) -> None:
    raw, vendor = _raw(test_data, "GOOGL"), _vendor(test_data, "GOOGL")
    splits = _price_actions(_actions(test_data, "GOOGL"), "split")
    ours = adjusted(raw, utc_sessions(raw["ts"]), splits, LAST)
    ours = ours.assign(close=ours["close"] / 20)
    assert _compared(ours, vendor, "Close").median() < 5e-7


def test_every_split_of_the_raw_files_is_explained_and_a_missing_one_is_told(test_data: Path) -> None:
    raw = _raw(test_data, "AAPL")
    days, found = utc_sessions(raw["ts"]), _actions(test_data, "AAPL")
    assert unexplained_jumps(raw, days, _price_actions(found, "split", "dividend")) == ()
    for missing in (a for a in found if a.kind == "split"):
        others = [a for a in found if a is not missing]
        (jump,) = unexplained_jumps(raw, days, _price_actions(others, "split", "dividend"))
        assert (jump.session, jump.ratio) == (missing.ex_date, float(missing.ratio or 0))


def test_the_vendor_s_adjusted_prices_hold_few_moves_that_look_like_a_split(test_data: Path) -> None:
    told = []
    for path in sorted((test_data / "us_daily" / "yahoo").glob("*.csv.gz")):
        frame = read_file(path).frame
        told += unexplained_jumps(frame, utc_sessions(frame["ts"]), Adjustment())
    # 31 shares over 22 years: two real nights after bad news, down by a third like in a split of 3 for 2.
    assert [(jump.symbol, jump.session) for jump in told] == [("NVDA", date(2004, 8, 6)), ("PG", date(2000, 3, 7))]


@pytest.fixture
def desk(tmp_path: Path, database: Database, test_data: Path) -> Iterator[Desk]:
    """A desk with the raw bars and the actions of AAPL, from a month before its split of 2020 on."""
    settings = settings_for(tmp_path, US, symbols=("AAPL",), history_start=date(2020, 8, 3))
    with opened_desk(settings, database) as opened:
        import_files(opened.db, [test_data / "us_daily" / "lean_raw" / "aapl.zip"], at=NOW)
        rows = [
            CorporateAction(US, a.symbol, a.ex_date, a.kind, a.ratio, a.amount, "USD", "lean", NOW)
            for a in _actions(test_data, "AAPL")
        ]
        record_actions(opened.db, rows)
        yield opened


@pytest.mark.parametrize("day", [date(2005, 2, 28), date(2014, 6, 9), SPLIT_DAY])
def test_features_over_a_real_split_show_no_crash(desk: Desk, day: date) -> None:
    sessions = calendar.sessions("nyse", date.fromordinal(day.toordinal() - 20), date.fromordinal(day.toordinal() + 40))
    features.run(desk, desk.settings.us_equity, sessions, RunContext(NOW, str(day)))
    rows = read_step(desk, US, features.STEP, sessions)
    assert len(rows) == len(sessions)
    assert np.isfinite(rows[list(features.COLUMNS)].to_numpy()).all()
    assert rows["returns_5d"].abs().max() < 0.25
    assert rows["volatility_20d"].max() < 0.06
    assert rows["volume_ratio"].between(0.1, 5).all()


def test_the_shadow_book_goes_through_the_split_of_2020_without_a_sale(desk: Desk) -> None:
    market = desk.settings.us_equity
    sessions = calendar.sessions("nyse", date(2020, 8, 24), date(2020, 9, 1))
    market = market.model_copy(update={"history_start": sessions[0]})
    wishes: dict[tuple[str, datetime], Say] = {
        ("AAPL", calendar.daily_bar_start("nyse", s)): BUY if s == sessions[2] else HOLD for s in sessions
    }
    store_said(desk, market, wishes)
    decisions.run(desk, market, sessions, RunContext(NOW, "range"))
    reasons = {d.session: d.reason for d in latest_decisions(desk.db, US, Book.SHADOW, sessions[0], sessions[-1])}
    assert "bad_data" not in reasons.values()
    fills = read_step(desk, US, decisions.FILLS, sessions)
    assert fills["side"].tolist() == [1]
    lots = {}
    for session in (date(2020, 8, 28), SPLIT_DAY):
        stored = get_shadow_state(desk.db, US, session)
        assert stored is not None
        (held,) = state_from_bytes(stored).holdings
        lots[session] = held.lots
    assert lots[SPLIT_DAY] == 4 * lots[date(2020, 8, 28)]
