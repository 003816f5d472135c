"""Worlds for the tests of steps: a ledger of their own, an exchange whose clock and prices the test sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from quant_pipeline.exchange.server import running_exchange
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import get_market
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.steps.prices import Script, write_prices
from quant_pipeline_tests.steps.world import World, exchange_config, opened_desk, settings_for, url_of


class Build(Protocol):
    """Makes a world."""

    def __call__(
        self, market: str, script: Script, first: date, last: date, *, clock: datetime | None = None, **changes: Any
    ) -> World:
        """A world whose prices follow `script` from `first` to `last` and whose clock stands at the first open."""
        ...


@pytest.fixture
def build(tmp_path: Path, database: Database) -> Iterator[Build]:
    """Makes the world of a test; everything is closed afterwards."""
    with ExitStack() as stack:

        def make(
            market: str, script: Script, first: date, last: date, *, clock: datetime | None = None, **changes: Any
        ) -> World:
            facts = get_market(market)
            sessions = calendar.sessions(facts.calendar, first, last)
            write_prices(tmp_path / "prices", facts, script, sessions)
            start = clock or calendar.session_hours(facts.calendar, sessions[0]).opens_at
            handle = stack.enter_context(running_exchange(exchange_config(tmp_path / "prices", start)))
            given = {"symbols": tuple(script), "history_start": first, **changes}
            url = url_of(handle, market)
            settings = settings_for(tmp_path / "home", market, trading_url=url, data_url=url, **given)
            desk = stack.enter_context(opened_desk(settings, database))
            return World(desk, settings.market(market), handle.admin)

        yield make
