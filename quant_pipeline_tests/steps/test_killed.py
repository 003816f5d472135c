"""A process killed (SIGKILL) after each lasting effect of its tick: one order an intent, and a ledger that agrees.

Each time the same world is copied, database and exchange, a process is killed in it, and the next tick comes.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from quant_pipeline.exchange.server import ExchangeHandle, running_exchange
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import get_market
from quant_pipeline.settings import Settings
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.killing import Job, Killer, Outcome
from quant_pipeline_tests.steps.prices import Script, write_prices
from quant_pipeline_tests.steps.world import (
    BUY,
    HOLD,
    Say,
    World,
    closes,
    exchange_config,
    opened_desk,
    opens,
    settings_for,
    url_of,
)

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
MINUTES = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Scene:
    """A world at rest, ready to be copied: its database, the exchange's state file, and when the next tick comes."""

    folder: Path
    market: str
    template: Dsn
    at: datetime

    @contextmanager
    def copy(self, postgres: Dsn, name: str) -> Iterator[World]:
        """A world of its own that is where the scene is."""
        state = self.folder / f"{name}.state"
        shutil.copy(self.folder / "scene.state", state)
        with (
            new_database(postgres, template=self.template.database) as dsn,
            closing(Database(dsn)) as database,
            _opened(self.folder, self.market, database, state, self.at) as world,
        ):
            yield world


@contextmanager
def _opened(folder: Path, market: str, database: Database, state: Path, clock: datetime) -> Iterator[World]:
    config = exchange_config(folder / "prices", clock, state_path=state)
    with running_exchange(config) as handle, opened_desk(_settings(folder, market, handle), database) as desk:
        yield World(desk, desk.settings.market(market), handle.admin)


def _settings(folder: Path, market: str, handle: ExchangeHandle) -> Settings:
    symbols = tuple(sorted(path.name for path in (folder / "prices" / market).iterdir()))
    base: Mapping[str, object] = {"base_interval": "1h"} if market == KRW else {}
    url = url_of(handle, market)
    given = {"symbols": symbols, "history_start": MONDAY, "trading_url": url, "data_url": url}
    return settings_for(folder / "home", market, **given, **base)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """The server whose children are killed."""
    with closing(Killer()) as server:
        yield server


@pytest.fixture
def stocks(tmp_path: Path, postgres: Dsn, migrated_template: Dsn) -> Iterator[Scene]:
    """Wednesday's open: AAA is held and below its stop, the entry of BBB is due."""
    script: Script = {"AAA": {MONDAY: [(0, 100.0)], WEDNESDAY: [(0, 94.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    facts = get_market(US)
    write_prices(tmp_path / "prices", facts, script, calendar.sessions(facts.calendar, MONDAY, WEDNESDAY))
    with new_database(postgres, template=migrated_template.database) as dsn:
        state = tmp_path / "scene.state"
        with closing(Database(dsn)) as database, _opened(tmp_path, US, database, state, opens(US, MONDAY)) as world:
            world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
            world.tick(closes(US, MONDAY) + 10 * MINUTES)
            world.tick(opens(US, TUESDAY))
            world.say(TUESDAY, {"AAA": HOLD, "BBB": Say(1, 0.01)})
            world.tick(closes(US, TUESDAY) + 10 * MINUTES)
            assert world.held() == {"AAA": Decimal(100)}
        yield Scene(tmp_path, US, dsn, opens(US, WEDNESDAY))


@pytest.fixture
def coins(tmp_path: Path, postgres: Dsn, migrated_template: Dsn) -> Iterator[Scene]:
    """The first hour of Monday has closed, and a coin shall be bought: nothing has been decided yet."""
    script: Script = {"KRW-AAA": {MONDAY: [(0, 1000.0)]}}
    write_prices(tmp_path / "prices", get_market(KRW), script, [MONDAY])
    with new_database(postgres, template=migrated_template.database) as dsn:
        state = tmp_path / "scene.state"
        at = opens(KRW, MONDAY) + 60 * MINUTES
        with closing(Database(dsn)) as database, _opened(tmp_path, KRW, database, state, opens(KRW, MONDAY)) as world:
            world.say(MONDAY, {"KRW-AAA": BUY}, bar=opens(KRW, MONDAY))
            world.tick(at - 30 * MINUTES)
        yield Scene(tmp_path, KRW, dsn, at)


def _killed(world: World, killer: Killer, at: datetime, steps: tuple[str, ...], kill_at: int) -> Outcome:
    world.admin.set_clock(at)
    return killer.run(Job(world.desk.settings, world.desk.db.dsn, world.market.name, at, steps, kill_at))


def _check(world: World, wanted: Counter[str]) -> None:
    """One order at the exchange for each intent, each sent under its own id, all filled, and a ledger that agrees."""
    there = world.admin.orders(world.market.name)
    assert Counter(f"{o['symbol']} {o['side']}" for o in there) == wanted
    assert set(world.posts()) <= {o["client_id"] for o in there}
    assert {one.status for one in world.intents().values()} == {IntentStatus.DONE}
    assert {o["state"] for o in there} == {"filled"}
    world.assert_ledger_equals_exchange()


def test_stocks_killed_after_each_effect_of_the_orders_step(stocks: Scene, postgres: Dsn, killer: Killer) -> None:
    wanted = Counter(["AAA buy", "AAA sell", "BBB buy"])
    with stocks.copy(postgres, "whole") as world:
        whole = _killed(world, killer, stocks.at, ("orders",), 0)
        assert (whole.signal, whole.code) == (0, 0)
        world.tick(stocks.at + MINUTES)
        _check(world, wanted)
    assert whole.effects.count("POST") == 2
    for kill_at in range(1, len(whole.effects) + 1):
        with stocks.copy(postgres, f"killed-{kill_at}") as world:
            ended = _killed(world, killer, stocks.at, ("orders",), kill_at)
            assert (ended.signal, ended.effects) == (9, whole.effects[:kill_at])
            world.tick(stocks.at + MINUTES)
            _check(world, wanted)


def test_coins_killed_after_each_effect_of_deciding_and_sending(coins: Scene, postgres: Dsn, killer: Killer) -> None:
    steps = ("bars", "decisions", "orders")
    with coins.copy(postgres, "whole") as world:
        whole = _killed(world, killer, coins.at, steps, 0)
        assert (whole.signal, whole.code) == (0, 0)
        world.tick(coins.at + MINUTES)
        _check(world, Counter(["KRW-AAA buy"]))
    assert whole.effects.count("POST") == 1
    for kill_at in range(1, len(whole.effects) + 1):
        with coins.copy(postgres, f"killed-{kill_at}") as world:
            ended = _killed(world, killer, coins.at, steps, kill_at)
            assert (ended.signal, ended.effects) == (9, whole.effects[:kill_at])
            world.tick(coins.at + MINUTES)
            _check(world, Counter(["KRW-AAA buy"]))
