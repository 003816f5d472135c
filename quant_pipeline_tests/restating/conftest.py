"""Desks on which bars of the past change: small ones of both markets followed through Dagster, one of steps alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pytest

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline.settings import Settings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.e2e.worlds import exchanges
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.restating.corrected import (
    KRW,
    NOW,
    US,
)
from quant_pipeline_tests.restating.followed import Followed, followed
from quant_pipeline_tests.restating.restatable import make_restatable, restatable_settings
from quant_pipeline_tests.steps.world import opened_desk


@dataclass(frozen=True, slots=True)
class Market:
    """A market and what came of each change in it."""

    name: str
    followed: Mapping[str, Followed]


@pytest.fixture(scope="module")
def venues() -> Iterator[Mapping[str, ExchangeHandle]]:
    """Exchanges whose clocks stand after the last session."""
    with exchanges() as handles:
        for handle in handles.values():
            handle.admin.set_clock(NOW)
        yield handles


@pytest.fixture(scope="module")
def follow(
    tmp_path_factory: pytest.TempPathFactory, postgres: Dsn, venues: Mapping[str, ExchangeHandle]
) -> Callable[[str], Market]:
    """All changes of a market, each followed to its end once, whatever the order of the tests."""

    @cache
    def seen(name: str) -> Market:
        return Market(name, followed(name, tmp_path_factory.mktemp(name), postgres, venues))

    return seen


@pytest.fixture(params=(US, KRW))
def seen(request: pytest.FixtureRequest, follow: Callable[[str], Market]) -> Market:
    """One market and what became of its changes."""
    return follow(request.param)


@pytest.fixture(scope="session")
def restatable_template(
    postgres: Dsn, migrated_template: Dsn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Dsn]]:
    """A desk with all results of two shares and the models of three months; nobody stays connected to it."""
    settings = restatable_settings(tmp_path_factory.mktemp("desk"))
    with new_database(postgres, template=migrated_template.database) as dsn:
        with opened_desk(settings, Database(dsn)) as opened:
            make_restatable(opened)
        yield settings, dsn


@pytest.fixture
def restatable(postgres: Dsn, restatable_template: tuple[Settings, Dsn]) -> Iterator[Desk]:
    """A copy of it, for changing."""
    settings, template = restatable_template
    with new_database(postgres, template=template.database) as dsn, opened_desk(settings, Database(dsn)) as opened:
        opened.registry = None  # type: ignore[assignment]
        yield opened
