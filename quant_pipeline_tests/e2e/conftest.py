"""One desk for all end-to-end tests: history and live ticks of both markets. Tests read it, and change only copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.e2e.desks import OpenDesk, Place, cloned_place, new_place, opened
from quant_pipeline_tests.e2e.worlds import (
    NAMES,
    Tick,
    content,
    exchanges,
    live_sessions,
    make_history,
    past_sessions,
    trade,
)


@dataclass(frozen=True, slots=True)
class Traded:
    """A desk that has traded: where it is, the exchanges it traded on, and the ticks of each market.

    `crypto_only` is a copy from the time when it had traded crypto and knew nothing of stocks.
    """

    place: Place
    crypto_only: Place
    venues: Mapping[str, ExchangeHandle]
    ticks: Mapping[str, tuple[Tick, ...]]


@pytest.fixture(scope="session")
def venues() -> Iterator[Mapping[str, ExchangeHandle]]:
    """The exchanges of both markets. Their clocks and accounts belong to the fixture `traded`."""
    with exchanges() as handles:
        yield handles


@pytest.fixture(scope="session")
def traded(
    tmp_path_factory: pytest.TempPathFactory, postgres: Dsn, venues: Mapping[str, ExchangeHandle]
) -> Iterator[Traded]:
    """History, models and live sessions of both markets in one desk; nobody has it open."""
    ticks: dict[str, tuple[Tick, ...]] = {}

    def trade_through(place: Place, name: str) -> None:
        with opened(place) as desk:
            make_history(desk, name, past_sessions(name)[-1])
            ticks[name] = trade(desk, name, venues[name].admin)

    with ExitStack() as stack:
        place = stack.enter_context(new_place(tmp_path_factory.mktemp("desk"), postgres, content(venues)))
        trade_through(place, "krw_crypto")
        copy = stack.enter_context(cloned_place(tmp_path_factory.mktemp("crypto_only"), postgres, place))
        trade_through(place, "us_equity")
        yield Traded(place, copy, venues, ticks)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, postgres: Dsn, traded: Traded) -> Iterator[Place]:
    """Another desk on the same exchanges, made afterwards: every session of both markets in one range each."""
    with new_place(tmp_path_factory.mktemp("fresh"), postgres, traded.place.content) as place:
        with opened(place) as desk:
            for name in NAMES:
                make_history(desk, name, live_sessions(name)[-1])
        yield place


@pytest.fixture
def read(traded: Traded) -> Iterator[OpenDesk]:
    """The desk that has traded, for reading."""
    with opened(traded.place) as desk:
        yield desk


@pytest.fixture
def copied(traded: Traded, postgres: Dsn, tmp_path: Path) -> Iterator[OpenDesk]:
    """A copy of the desk that has traded, for changing."""
    with cloned_place(tmp_path, postgres, traded.place) as place, opened(place) as desk:
        yield desk
