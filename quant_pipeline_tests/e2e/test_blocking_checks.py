"""A broken bar: it stops a tick before anything is decided, and in a range it becomes a HOLD with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import dagster as dg
import numpy as np
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from quant_pipeline.core.values import Book, Reason
from quant_pipeline.resources import RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.timing import session_span
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.decisions import Decision, latest_decisions
from quant_pipeline.storage.orders import orders_between
from quant_pipeline_tests.e2e.conftest import Traded
from quant_pipeline_tests.e2e.desks import OpenDesk
from quant_pipeline_tests.e2e.worlds import NAMES, live_sessions


def break_bar(desk: OpenDesk, market: MarketSettings, session: date, symbol: str) -> None:
    """Write a bar below its own body into storage: the first of the session, as a vendor might restate it."""
    interval = market.base_interval
    bars = read_bars(desk.desk.db, market.name, interval, [symbol], *session_span(session, session))
    broken = bars.head(1).assign(low=np.float64(bars["low"].iloc[0]) * -1.0)
    change = upsert_bars(
        desk.desk.db,
        market.name,
        interval,
        broken,
        source=market.market.venue,
        feed=market.feed,
        adjustment="raw",
        at=desk.desk.clock(market),
    )
    assert change.changed == 1


def execute(
    desk: OpenDesk, market: MarketSettings, sessions: Sequence[date], *, tick: bool
) -> dg.ExecuteInProcessResult:
    """A run of the live chain on stored bars: the venue would mend them."""
    tags = {
        ASSET_PARTITION_RANGE_START_TAG: sessions[0].isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: sessions[-1].isoformat(),
    }
    job = desk.defs.resolve_job_def(f"smart_trading_pipeline_{market.name}")
    return job.execute_in_process(
        instance=desk.instance,
        partition_key=sessions[0].isoformat() if tick else None,
        tags={} if tick else tags,
        run_config=dg.RunConfig(resources={"options": RunOptions(tick=tick, collect=False)}),
        raise_on_error=False,
    )


def decisions_of(desk: OpenDesk, market: MarketSettings, book: str) -> tuple[Decision, ...]:
    live = live_sessions(market.name)
    return latest_decisions(desk.desk.db, market.name, book, live[0], live[-1])


def severities(done: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
    return {one.check_name: (one.passed, one.severity) for one in done.get_asset_check_evaluations()}


@pytest.mark.parametrize("name", NAMES)
def test_in_a_tick_a_broken_bar_stops_the_run_before_anything_is_decided(
    traded: Traded, copied: OpenDesk, name: str
) -> None:
    market = copied.settings.market(name)
    session = live_sessions(name)[-1]
    # The last tick of that session, again; stocks have one more, at the open of the session after.
    at = next(tick.at for tick in reversed(traded.ticks[name]) if tick.session == session)
    copied.desk.clock = lambda _market: at
    break_bar(copied, market, session, market.symbols[0])
    before = {book: decisions_of(copied, market, book) for book in (Book.SHADOW, market.broker_book)}
    orders = orders_between(copied.desk.db, name, market.broker_book, *session_span(session, session))
    requests = len(traded.venues[name].admin.requests())

    done = execute(copied, market, [session], tick=True)

    assert not done.success
    (failed,) = (event.step_key for event in done.all_events if event.is_step_failure)
    assert failed == f"{name}__bars"
    assert {event.asset_key.path[-1] for event in done.get_asset_materialization_events() if event.asset_key} == {
        "bars"
    }
    started = {event.step_key for event in done.all_events if event.event_type is dg.DagsterEventType.STEP_START}
    assert started == {f"{name}__bars"}
    assert severities(done)["ohlc_sanity"] == (False, dg.AssetCheckSeverity.ERROR)
    assert {book: decisions_of(copied, market, book) for book in before} == before
    assert orders_between(copied.desk.db, name, market.broker_book, *session_span(session, session)) == orders
    assert len(traded.venues[name].admin.requests()) == requests


@pytest.mark.parametrize("name", NAMES)
def test_in_a_range_a_broken_bar_becomes_a_hold_and_the_rest_goes_on(copied: OpenDesk, name: str) -> None:
    market = copied.settings.market(name)
    live, symbol = live_sessions(name), market.symbols[0]
    before = {(d.symbol, d.bar_ts): d.reason for d in decisions_of(copied, market, Book.SHADOW)}
    break_bar(copied, market, live[0], symbol)

    done = execute(copied, market, live, tick=False)

    assert done.success
    assert severities(done)["ohlc_sanity"] == (False, dg.AssetCheckSeverity.WARN)
    assert severities(done)["schema"] == (True, dg.AssetCheckSeverity.WARN)
    decided = {(d.symbol, d.bar_ts): d for d in decisions_of(copied, market, Book.SHADOW)}
    assert decided.keys() == before.keys()
    bad = [d for d in decided.values() if d.reason == Reason.BAD_DATA.code]
    assert [(d.symbol, d.session, d.action) for d in bad] == [(symbol, live[0], 0)]
    others = {key for key in decided if key[0] != symbol}
    assert {decided[key].session for key in others} == set(live)


@pytest.mark.parametrize("name", NAMES)
def test_the_check_names_the_broken_bar(copied: OpenDesk, name: str) -> None:
    market = copied.settings.market(name)
    live, symbol = live_sessions(name), market.symbols[-1]
    break_bar(copied, market, live[0], symbol)

    done = execute(copied, market, live, tick=False)

    (found,) = (one for one in done.get_asset_check_evaluations() if one.check_name == "ohlc_sanity")
    assert found.metadata["violations"].value >= 1
    assert symbol in str(found.metadata["first"].value)
    assert "price_not_positive" in str(found.metadata["first"].value)
