"""Desks made of different bars, and what became of one when its bars were made those of another. No assertions here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
from sqlalchemy import text

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline.resources import RunOptions
from quant_pipeline.runs import range_tags
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.bars import delete_bars
from quant_pipeline.storage.corporate_actions import record_actions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.restatements import Restatement, restatements
from quant_pipeline_tests.e2e.desks import OpenDesk, Place, new_place, opened
from quant_pipeline_tests.restating.chains import Chain, Ran, follow, ran
from quant_pipeline_tests.restating.corrected import (
    ABSENT,
    CHANGED,
    DECIDED,
    INTERVAL,
    NOW,
    SPLIT,
    US,
    Bars,
    Results,
    bar_of,
    content,
    make,
    results,
)
from quant_pipeline_tests.steps.restating import import_bars

MADE_OF: Final = {
    "full": Bars(),
    "corrected": Bars(corrected=True),
    "absent": Bars(complete=False),
    "split": Bars(split_known=True),
}
_LEDGER: Final = ("intents", "orders", "order_events", "fills", "positions", "cash_flows")


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of a change: the runs of the chain, what the desk held before and after, and what it told the venue.

    `wanted` is what a desk holds that had those bars from the start, `by_hand` a run that a person launched before
    anybody looked. `asked` are requests to the exchange other than for its time, `ledger` rows that only trading writes.
    """

    chain: Chain
    before: Results
    after: Results
    wanted: Results
    events: tuple[Restatement, ...]
    asked: tuple[str, ...]
    ledger: int
    by_hand: Ran | None = None


def followed(name: str, folder: Path, postgres: Dsn, venues: Mapping[str, ExchangeHandle]) -> dict[str, Followed]:
    """All changes of one market, each followed to its end, by what was changed."""
    made = {label: given for label, given in MADE_OF.items() if name == US or not given.split_known}
    with ExitStack() as stack:
        places: dict[str, Place] = {}
        wanted: dict[str, Results] = {}
        for label, given in made.items():
            (folder / label).mkdir()
            places[label] = stack.enter_context(new_place(folder / label, postgres, content(venues)))
            with opened(places[label]) as desk:
                make(desk.desk, name, given)
                wanted[label] = results(desk.desk, name)

        def changed(label: str, into: str, change: Change, *, by_hand: bool = False) -> Followed:
            with opened(places[label]) as desk:
                return _followed(desk, name, change, wanted[into], venues[name], by_hand=by_hand)

        found = {
            "changed": changed("corrected", "full", _put_right),
            "changed, and run by hand": changed("corrected", "corrected", _correct, by_hand=True),
            "late": changed("absent", "full", _deliver),
            "deleted": changed("absent", "absent", _withdraw),
        }
        if name == US:
            found["split"] = changed("full", "split", _announce)
        return found


type Change = Callable[[Desk, str], object]


def _put_right(desk: Desk, name: str) -> None:
    import_bars(desk, name, bar_of(name, CHANGED[name]), NOW, interval=INTERVAL[name])


def _correct(desk: Desk, name: str) -> None:
    import_bars(desk, name, bar_of(name, CHANGED[name], corrected=True), NOW, interval=INTERVAL[name])


def _deliver(desk: Desk, name: str) -> None:
    import_bars(desk, name, bar_of(name, ABSENT[name]), NOW, interval=INTERVAL[name])


def _withdraw(desk: Desk, name: str) -> None:
    delete_bars(desk.db, name, INTERVAL[name], bar_of(name, ABSENT[name]), at=NOW)


def _announce(desk: Desk, _name: str) -> None:
    record_actions(desk.db, [SPLIT])


def _followed(
    desk: OpenDesk, name: str, change: Change, wanted: Results, venue: ExchangeHandle, *, by_hand: bool
) -> Followed:
    before, told = results(desk.desk, name), len(restatements(desk.desk.db, name))
    last = max((int(row["seq"]) for row in venue.admin.requests()), default=0)
    change(desk.desk, name)
    run = _restate_by_hand(desk, name) if by_hand else None
    chain = follow(desk, name)
    events = restatements(desk.desk.db, name)
    asked = tuple(f"{row['method']} {row['path']}" for row in venue.admin.requests(after=last))
    new = events[: len(events) - told]
    return Followed(chain, before, results(desk.desk, name), wanted, new, asked, _traded(desk.desk), run)


def _restate_by_hand(desk: OpenDesk, name: str) -> Ran:
    """The job of that name over the sessions from the corrected one on, as a person launches it."""
    config: Any = dg.RunConfig(resources={"options": RunOptions(collect=False)})
    job = desk.defs.resolve_job_def(f"restate_{name}")
    tags = range_tags(CHANGED[name], DECIDED[name][-1])
    return ran(desk, job.execute_in_process(instance=desk.instance, tags=tags, run_config=config).run_id)


def _traded(desk: Desk) -> int:
    with desk.db.begin() as connection:
        counts = [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in _LEDGER]
    return sum(counts)
