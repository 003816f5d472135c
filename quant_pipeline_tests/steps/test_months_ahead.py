"""The months of bars that a tick makes ahead of their first bar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import text

from quant_pipeline.core.values import Origin
from quant_pipeline.steps import bars
from quant_pipeline.steps.tables import RunContext
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import World

KRW = "krw_crypto"
LAST, FIRST = date(2026, 3, 31), date(2026, 4, 1)


def _months(world: World) -> set[str]:
    sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'bars'::regclass"
    with world.desk.db.begin() as connection:
        return set(connection.execute(text(sql)).scalars())


def _tick(world: World, at: datetime, session: date) -> None:
    world.admin.set_clock(at)
    bars.run(world.desk, world.market, (session,), RunContext(at, at.isoformat(), Origin.LIVE, tick=True))


def test_a_tick_makes_the_next_months_so_that_the_first_tick_of_a_month_makes_none_that_it_needs(build: Build) -> None:
    world = build(KRW, {"KRW-AAA": {LAST: [(0, 1000.0)], FIRST: [(0, 1010.0)]}}, LAST, FIRST)
    midnight = datetime(2026, 4, 1, tzinfo=UTC)

    _tick(world, midnight - timedelta(minutes=1), LAST)
    before = _months(world)
    _tick(world, midnight + timedelta(minutes=2), FIRST)

    assert before >= {"bars_2026_03", "bars_2026_04", "bars_2026_05"}
    assert _months(world) - before == {"bars_2026_06"}  # the one that has now come within reach, still empty
