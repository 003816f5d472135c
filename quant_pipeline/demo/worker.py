"""The part of a demo that trades one market: history, then tick by tick with the exchange's clock moved by hand.

Runs as a process of its own (`python -m quant_pipeline.demo.worker`), one for each market, so that both cores work.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quant_pipeline.demo.options import DemoOptions, demo_settings, live_sessions
from quant_pipeline.markets import calendar
from quant_pipeline.runtime.numba_cache import set_numba_cache_dir
from quant_pipeline.settings import MarketSettings

if TYPE_CHECKING:
    import dagster as dg


_AFTER_CLOSE = timedelta(minutes=10)
_BAR_GRACE = timedelta(seconds=30)


def tick_times(market: MarketSettings, sessions: Sequence[date]) -> Iterator[datetime]:
    """When the live chain runs for these sessions.

    Stocks: at the open, in the middle, ten minutes after the close, and at the next open, which sends what the last
    close decided. Crypto: half a minute after each decision bar.
    """
    if market.decision_interval != "1d":
        length = timedelta(days=1) / market.bars_per_day
        for session in sessions:
            start = calendar.session_hours(market.market.calendar, session).opens_at
            yield from (start + n * length + _BAR_GRACE for n in range(1, market.bars_per_day + 1))
        return
    for session in sessions:
        hours = calendar.session_hours(market.market.calendar, session)
        yield hours.opens_at
        yield hours.opens_at + (hours.closes_at - hours.opens_at) / 2
        yield hours.closes_at + _AFTER_CLOSE
    following = calendar.session_hours(
        market.market.calendar, calendar.next_session(market.market.calendar, sessions[-1])
    )
    yield following.opens_at


class ProgressFile:
    """Lines of JSON that the parent process shows."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self._path = path

    def __call__(self, text: str, part: float) -> None:
        """Say what is being done and the part that is done."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"text": text, "part": part}) + "\n")


def run_market(options: DemoOptions, market_name: str, ports: dict[str, int]) -> None:
    """Run the demo of one market against the exchange on `ports`."""
    settings = demo_settings(options, ports)
    set_numba_cache_dir(settings.home.parent)
    if settings.market(market_name).decision_interval == "1d" and hasattr(os, "nice"):
        os.nice(10)  # three ticks a day are done long before six: the other market's worker goes first

    from quant_pipeline.build import build_definitions
    from quant_pipeline.dagster_instance import open_instance
    from quant_pipeline.demo.history import build_history
    from quant_pipeline.exchange.client import AdminClient
    from quant_pipeline.resources import DeskProvider
    from quant_pipeline.steps.connect import open_desk

    market = settings.market(market_name)
    progress = ProgressFile(settings.home / f"progress-{market_name}.jsonl")
    provider = DeskProvider(settings, open_desk)
    defs = build_definitions(settings, resources={"desk": provider})
    live = live_sessions(options, market)
    before = calendar.previous_session(market.market.calendar, live[0])
    with open_instance(settings, launcher="default") as instance:
        months = sorted({session.replace(day=1) for session in live})
        build_history(
            defs,
            instance,
            market,
            market.history_start,
            before,
            months=months[:1],
            progress=lambda text, part: progress(text, 0.5 * part),
        )
        admin = AdminClient(f"http://127.0.0.1:{ports['exchange_alpaca']}")
        times = list(tick_times(market, live))
        done = {months[0]} if months else set()
        for i, at in enumerate(times):
            admin.set_clock(at)
            _train_new_month(defs, instance, market, at, done)
            _tick(defs, instance, market, at)
            progress(f"live: {at:%a %d %b %H:%M} UTC", 0.5 + 0.5 * (i + 1) / len(times))
        admin.close()
    provider.get().close()


def _train_new_month(
    defs: dg.Definitions, instance: dg.DagsterInstance, market: MarketSettings, at: datetime, done: set[date]
) -> None:
    """On the first tick of a month its models are made, as the schedule on the first of the month does."""
    from quant_pipeline.demo.history import run_job
    from quant_pipeline.steps.timing import month_of, tick_session

    month = month_of(tick_session(market, at))
    if month not in done:
        run_job(defs, instance, market, "optimize_hyperparameters", month)
        done.add(month)


def _tick(defs: dg.Definitions, instance: dg.DagsterInstance, market: MarketSettings, at: datetime) -> None:
    from quant_pipeline.automation import tick_config
    from quant_pipeline.demo.history import run_job
    from quant_pipeline.steps.timing import tick_session

    key = tick_session(market, at)
    tags = {"quant/tick": at.astimezone(UTC).isoformat()}
    run_job(defs, instance, market, "smart_trading_pipeline", key, run_config=tick_config(), tags=tags)


def main(arguments: Sequence[str]) -> int:
    """Options come as one JSON argument from the parent process."""
    given = json.loads(arguments[0])
    options = DemoOptions(
        home=Path(given["home"]),
        seed=given["seed"],
        sessions=given["sessions"],
        threads=given["threads"],
        symbols=given["symbols"],
        data=None if given["data"] is None else Path(given["data"]),
    )
    run_market(options, given["market"], given["ports"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
