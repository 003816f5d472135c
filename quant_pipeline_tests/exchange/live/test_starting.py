"""Starting a dry run: what is taken up again, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant_pipeline.core.values import OrderState
from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline_tests.exchange.live.conftest import MONDAY_10_AM_NEW_YORK, at, dry_run_of, venue_at
from quant_pipeline_tests.exchange.makers import exchange_at
from quant_pipeline_tests.venues.makers import broker, buy, market_data


def test_a_restart_goes_on_with_the_orders_that_were_open(tmp_path: Path) -> None:
    with venue_at(MONDAY_10_AM_NEW_YORK) as (venue, urls):
        settings = {"state_path": tmp_path / "state.jsonl"}
        with dry_run_of(urls, MONDAY_10_AM_NEW_YORK, **settings) as desk, broker("upbit", desk.upbit_url) as client:
            desk.admin.poll()
            client.submit(buy("upbit"))
        venue.set_clock(at("21:30"))
        with dry_run_of(urls, at("21:30").isoformat(), **settings) as desk, broker("upbit", desk.upbit_url) as client:
            desk.admin.poll()
            filled = client.find("d1-entry-1", "KRW-BTC")
            assert filled is not None
            assert filled.state is OrderState.FILLED
            assert filled.fills[0].at <= at("15:03")


def test_accounts_of_other_prices_are_not_taken_up(tmp_path: Path) -> None:
    """Coins bought in the generated market would be worth something else at real prices."""
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_10_AM_NEW_YORK, state_path=state):
        pass
    with venue_at(MONDAY_10_AM_NEW_YORK) as (_, urls):
        with (
            pytest.raises(ValueError, match=r"no market, but the exchange starts with them for us_equity, krw_crypto"),
            dry_run_of(urls, MONDAY_10_AM_NEW_YORK, state_path=state),
        ):
            pytest.fail("it started")
        other = tmp_path / "live.jsonl"
        with dry_run_of(urls, MONDAY_10_AM_NEW_YORK, state_path=other, live_us_equity=""):
            pass
        with (
            pytest.raises(ValueError, match=r"for krw_crypto, but the exchange starts with them for no market"),
            exchange_at(MONDAY_10_AM_NEW_YORK, state_path=other),
        ):
            pytest.fail("it started")


def test_one_market_may_be_real_while_the_other_is_generated() -> None:
    nowhere = {"alpaca": "", "upbit": "http://127.0.0.1:9"}
    with dry_run_of(nowhere, MONDAY_10_AM_NEW_YORK) as desk, market_data("alpaca", desk.alpaca_url) as data:
        assert list(desk.admin.live()) == ["krw_crypto"]
        assert data.quotes(["AAPL"])["AAPL"].at == at("15:00")


def test_bars_from_a_folder_and_from_a_venue_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "us_equity").mkdir()
    config = ExchangeConfig(
        data_dir=tmp_path, live_us_equity="http://127.0.0.1:9", live_alpaca_key="k", live_alpaca_secret="s"
    )
    with pytest.raises(ValueError, match="leave one of them out"):
        Exchange(config)
