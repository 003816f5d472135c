"""Splits and dividends at the simulated exchange: prices, holdings, orders, what the data API lists, restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from quant_pipeline.exchange.actions import ScriptedAction, plain_action, read_action
from quant_pipeline.exchange.client import AdminClient, AdminError
from quant_pipeline.exchange.config import config_from_dict, config_to_json
from quant_pipeline.exchange.server import ExchangeConfig, ExchangeHandle
from quant_pipeline_tests.exchange.conftest import DEFAULTS, MONDAY_OPEN
from quant_pipeline_tests.exchange.makers import exchange_at

MONDAY, TUESDAY, WEDNESDAY = (date(2025, 3, day) for day in (3, 4, 5))
OPEN = datetime(2025, 3, 4, 14, 30, tzinfo=UTC)
"""Tuesday, 09:30 in New York."""
SPLIT = ScriptedAction("AAPL", TUESDAY, ratio=Fraction(4))


@pytest.fixture
def plain() -> Iterator[ExchangeHandle]:
    """The market as it would be without any action, later that week."""
    with exchange_at("2025-03-07T21:30:00+00:00") as handle:
        yield handle


def _bars(handle: ExchangeHandle, minutes: int = 390, symbol: str = "AAPL") -> pd.DataFrame:
    """Bars of the week by start."""
    client = StockHistoricalDataClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=handle.alpaca_url)
    unit = TimeFrame(1, TimeFrameUnit.Day) if minutes == 390 else TimeFrame(minutes, TimeFrameUnit.Minute)
    span = {"start": datetime(2025, 3, 3, tzinfo=UTC), "end": datetime(2025, 3, 8, tzinfo=UTC)}
    found: pd.DataFrame = client.get_stock_bars(StockBarsRequest(symbol_or_symbols=symbol, timeframe=unit, **span)).df
    return found.loc[symbol]


def _listed(handle: ExchangeHandle, **asked: Any) -> dict[str, list[Any]]:
    """What the official client reads."""
    client = CorporateActionsClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=handle.alpaca_url)
    span = {"start": MONDAY, "end": date(2025, 3, 31), **asked}
    data: dict[str, list[Any]] = client.get_corporate_actions(CorporateActionsRequest(**span)).data
    return data


def _trading(handle: ExchangeHandle) -> TradingClient:
    return TradingClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=handle.alpaca_url)


def _buy(handle: ExchangeHandle, qty: float = 10) -> None:
    _trading(handle).submit_order(MarketOrderRequest(symbol="AAPL", qty=qty, side="buy", time_in_force="day"))
    handle.admin.advance(60)


@pytest.mark.parametrize("minutes", [390, 30, 1])
def test_raw_prices_fall_by_the_ratio_at_the_open_and_volume_rises(plain: ExchangeHandle, minutes: int) -> None:
    with exchange_at("2025-03-07T21:30:00+00:00", actions=(SPLIT,)) as handle:
        acted, before = _bars(handle, minutes), _bars(plain, minutes)
        assert _bars(handle, minutes, "MSFT").equals(_bars(plain, minutes, "MSFT"))
    assert acted.index.equals(before.index)
    after = acted.index.date >= TUESDAY
    assert acted[~after].equals(before[~after])
    for name in ("open", "high", "low", "close"):
        assert (acted[name][after] - before[name][after] / 4).abs().max() <= 0.005 + 1e-9
        assert (acted[name] * 100).round(6).mod(1).eq(0).all(), "prices lie on cents"
    assert (acted["volume"][after] == before["volume"][after] * 4).all()
    assert after.any()
    assert (~after).any()


def test_days_are_the_aggregates_of_their_minutes_also_after_a_split() -> None:
    with exchange_at("2025-03-07T21:30:00+00:00", actions=(ScriptedAction("AAPL", TUESDAY, ratio=Fraction(3)),)) as h:
        minutes, days = _bars(h, 1), _bars(h)
    grouped = minutes.groupby(minutes.index.date).agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    assert (grouped.to_numpy() == days[["open", "high", "low", "close"]].to_numpy()).all()


def test_a_dividend_lowers_prices_by_its_amount_and_pays_no_account(plain: ExchangeHandle) -> None:
    with exchange_at(MONDAY_OPEN) as handle:
        _buy(handle)
        cash = handle.admin.accounts()["us_equity"]["cash"]
        handle.admin.dividend("AAPL", TUESDAY, "5")
        handle.admin.set_clock(datetime(2025, 3, 7, 21, 30, tzinfo=UTC))
        acted, before = _bars(handle), _bars(plain)
        assert handle.admin.accounts()["us_equity"]["cash"] == cash
        assert handle.admin.accounts()["us_equity"]["holdings"]["AAPL"]["qty"] == "10"
    close = before["close"].iloc[0]
    assert acted["close"].iloc[0] == close
    expected = before["close"].iloc[1:] * (1 - 5 / close)
    assert (acted["close"].iloc[1:] - expected).abs().max() <= 0.005 + 1e-9
    assert (acted["volume"] == before["volume"]).all()


def test_a_holding_is_multiplied_at_the_open_and_worth_the_same(exchange: ExchangeHandle) -> None:
    _buy(exchange)
    exchange.admin.split("AAPL", TUESDAY, "4")
    exchange.admin.set_clock(OPEN - timedelta(seconds=1))
    before = exchange.admin.accounts()["us_equity"]
    assert before["holdings"]["AAPL"]["qty"] == "10"
    exchange.admin.set_clock(OPEN)
    after = exchange.admin.accounts()["us_equity"]
    assert after["holdings"]["AAPL"]["qty"] == "40"
    assert after["cash"] == before["cash"]
    cost = [Decimal(a["holdings"]["AAPL"]["avg_price"]) * n for a, n in ((before, 10), (after, 40))]
    assert cost[0] == cost[1]
    position = _trading(exchange).get_open_position("AAPL")
    assert (position.qty, position.qty_available) == ("40", "40")


def test_open_orders_of_the_share_are_cancelled_and_others_stand(exchange: ExchangeHandle) -> None:
    _buy(exchange)
    trading = _trading(exchange)
    terms = {"side": "buy", "time_in_force": "gtc", "limit_price": 1.0, "qty": 1}
    split_away = trading.submit_order(LimitOrderRequest(symbol="AAPL", **terms))
    kept = trading.submit_order(LimitOrderRequest(symbol="MSFT", **terms))
    exchange.admin.split("AAPL", TUESDAY, "4")
    exchange.admin.set_clock(OPEN)
    assert trading.get_order_by_id(split_away.id).status.value == "canceled"
    assert trading.get_order_by_id(kept.id).status.value == "new"


def test_orders_before_the_split_are_filled_in_old_shares_in_one_step_or_in_many() -> None:
    found = []
    for steps in ([], [datetime(2025, 3, 3, 14, 40, tzinfo=UTC), OPEN]):
        with exchange_at(MONDAY_OPEN) as handle:
            order = MarketOrderRequest(symbol="AAPL", qty=10, side="buy", time_in_force="day")
            _trading(handle).submit_order(order)
            handle.admin.split("AAPL", TUESDAY, "4")
            for at in [*steps, OPEN + timedelta(minutes=5)]:
                handle.admin.set_clock(at)
            found.append((handle.admin.accounts(), handle.admin.fills()))
    assert found[0] == found[1]
    assert found[0][0]["us_equity"]["holdings"]["AAPL"]["qty"] == "40"


def test_a_reverse_split_keeps_fractions_of_a_share(exchange: ExchangeHandle) -> None:
    _buy(exchange)
    exchange.admin.split("AAPL", TUESDAY, "1/3")
    exchange.admin.set_clock(OPEN)
    assert exchange.admin.accounts()["us_equity"]["holdings"]["AAPL"]["qty"] == "3.333333333"


def test_the_official_client_reads_splits_and_dividends_of_the_days_it_asks_for() -> None:
    actions = (
        SPLIT,
        ScriptedAction("KO", WEDNESDAY, ratio=Fraction(1, 8)),
        ScriptedAction("MSFT", WEDNESDAY, amount=Decimal("0.83")),
        ScriptedAction("JPM", date(2025, 3, 6), ratio=Fraction(2), hidden_until=date(2025, 3, 6)),
    )
    with exchange_at(MONDAY_OPEN, actions=actions) as handle:
        found = _listed(handle)
        (forward,), (reverse,), (cash,) = (
            found["forward_splits"],
            found["reverse_splits"],
            found["cash_dividends"],
        )
        assert (forward.symbol, forward.ex_date, forward.new_rate, forward.old_rate) == ("AAPL", TUESDAY, 4, 1)
        assert (reverse.symbol, reverse.new_rate, reverse.old_rate) == ("KO", 1, 8)
        assert (cash.symbol, cash.rate, cash.ex_date) == ("MSFT", 0.83, WEDNESDAY)
        assert _listed(handle, end=MONDAY) == {}
        assert list(_listed(handle, symbols=["KO"])) == ["reverse_splits"]
        assert list(_listed(handle, types=["cash_dividend"])) == ["cash_dividends"]
        assert sum(map(len, _listed(handle, limit=2).values())) == 2
        handle.admin.set_clock(datetime(2025, 3, 6, 15, tzinfo=UTC))
        assert [row.symbol for row in _listed(handle)["forward_splits"]] == ["AAPL", "JPM"]


@pytest.mark.parametrize(
    "query", ["start=soon", "types=merger", "limit=0", "limit=1001", "page_token=x", "end=2025-13-01"]
)
def test_a_query_that_cannot_be_answered_is_refused(exchange: ExchangeHandle, query: str) -> None:
    keys = {"APCA-API-KEY-ID": DEFAULTS.alpaca_key, "APCA-API-SECRET-KEY": DEFAULTS.alpaca_secret}
    url = f"{exchange.alpaca_url}/v1/corporate-actions?{query}"
    assert requests.get(url, headers=keys, timeout=10).status_code == 400
    assert requests.get(url, timeout=10).status_code == 403


def test_an_action_told_late_or_wrongly_is_refused_with_a_sentence(exchange: ExchangeHandle) -> None:
    tell = exchange.admin.split
    with pytest.raises(AdminError, match="2025-03-03 has opened"):
        tell("AAPL", MONDAY, "4")
    with pytest.raises(AdminError, match="2025-03-08 is no trading day"):
        tell("AAPL", date(2025, 3, 8), "4")
    with pytest.raises(AdminError, match="XYZ is not listed"):
        tell("XYZ", TUESDAY, "4")
    with pytest.raises(AdminError, match="0 must be above 0"):
        tell("AAPL", TUESDAY, "0")
    with pytest.raises(AdminError, match="is not a number"):
        tell("AAPL", TUESDAY, "1/0")
    with pytest.raises(AdminError, match="is not less than the price"):
        exchange.admin.dividend("AAPL", TUESDAY, "100000")
    tell("AAPL", TUESDAY, "4")
    tell("AAPL", TUESDAY, "4")
    with pytest.raises(AdminError, match="another action AAPL 2025-03-04 split"):
        tell("AAPL", TUESDAY, "5")
    assert exchange.admin.actions() == [{"symbol": "AAPL", "ex_date": "2025-03-04", "ratio": "4"}]


def test_plain_values_are_read_back_and_unknown_names_refused() -> None:
    actions = (SPLIT, ScriptedAction("KO", WEDNESDAY, amount=Decimal("0.5"), hidden_until=WEDNESDAY))
    config = ExchangeConfig(actions=actions)
    assert config_from_dict(json.loads(config_to_json(config))).actions == actions
    assert read_action(plain_action(SPLIT)) == SPLIT
    with pytest.raises(ValueError, match="found symbol, ex_date, rate"):
        read_action({"symbol": "A", "ex_date": "2025-03-04", "rate": 4})
    with pytest.raises(ValueError, match="give a ratio for a split or an amount"):
        read_action({"symbol": "A", "ex_date": "2025-03-04"})


def _state(admin: AdminClient) -> object:
    return admin.accounts(), admin.orders(), admin.fills(), admin.actions(), admin.clock()


def test_a_restart_knows_the_actions_and_applies_none_twice(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as handle:
        _buy(handle)
        handle.admin.split("AAPL", TUESDAY, "4")
        handle.admin.split("AAPL", WEDNESDAY, "2")
        handle.admin.set_clock(OPEN)
        before = _state(handle.admin)
    for _ in range(2):
        with exchange_at(MONDAY_OPEN, state_path=state) as handle:
            assert _state(handle.admin) == before
            assert handle.admin.accounts()["us_equity"]["holdings"]["AAPL"]["qty"] == "40"
    with exchange_at(MONDAY_OPEN, state_path=state) as handle:
        handle.admin.set_clock(OPEN + timedelta(days=1))
        assert handle.admin.accounts()["us_equity"]["holdings"]["AAPL"]["qty"] == "80"
        prices = _bars(handle)["close"]
        handle.admin.reset()
        assert _bars(handle)["close"].equals(prices)
