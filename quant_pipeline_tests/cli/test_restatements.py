"""`quant restatements`: nothing on a new desk; a bar that was traded on and then changed, with all that used it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from rich.console import Console

from quant_pipeline.cli.output import write_json
from quant_pipeline.cli.restatements import _print, report
from quant_pipeline.steps import bars
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.cli.quant_process import QuantDesk
from quant_pipeline_tests.steps.conftest import Build, build  # noqa: F401 - the fixture
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.world import BUY, HOLD, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
MINUTES = timedelta(minutes=1)


def test_a_new_desk_has_none_and_bad_input_is_named(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("restatements", "--json")
    assert (done.code, done.json()) == (0, []), done.stderr
    shown = migrated_desk.run("restatements", "us_equity", "--symbol", "AAPL", "--since", "2026-03-02T15:30Z")
    assert (shown.code, shown.stdout.strip()) == (0, "no bar was restated")
    for arguments, said in (
        (("moon",), "market 'moon' is unknown"),
        (("--since", "yesterday"), "--since 'yesterday' is not a time"),
        (("--since", "2026-03-02T15:30"), "has no time zone"),
        (("--limit", "0"), "--limit 0 is below 1"),
    ):
        done = migrated_desk.run("restatements", *arguments, "--json")
        assert (done.code, done.stdout) == (2, ""), arguments
        assert said in done.stderr


def test_what_nobody_has_looked_at_yet_is_said(migrated_desk: QuantDesk) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2026-03-02,100.0,102.0,99.0,101.0,1000\n"
    (migrated_desk.folder / "AAPL.csv").write_text(text, encoding="utf-8")
    assert migrated_desk.run("import", "AAPL.csv", "--interval", "1d").code == 0
    done = migrated_desk.run("restatements", "--json")
    assert (done.code, done.json()) == (0, [])
    assert "bars of 1 (symbol, session) were written since somebody looked" in done.stderr


def _traded(build: Build) -> World:  # noqa: F811 - the fixture's value
    """A desk that bought AAA on Tuesday because of Monday's bar."""
    world = build(US, {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}, MONDAY, WEDNESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    world.say(TUESDAY, {"AAA": HOLD, "BBB": HOLD})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.held()
    return world


def _restate(world: World, session: date, symbol: str) -> None:
    at = closes(US, TUESDAY) + 60 * MINUTES
    world.admin.set_clock(at)
    stored = read_bars(world.desk.db, US, "1d", [symbol], opens(US, session).replace(hour=0), closes(US, session))
    assert len(stored) == 1
    store_bars(world.desk, US, "1d", stored.assign(close=stored["close"] + 1, high=stored["high"] + 1), at=at)
    bars.run(world.desk, world.market, [session], RunContext(at, "restated"), collect=False)


def test_the_order_that_a_changed_bar_led_to_is_listed_with_its_decision(
    build: Build,  # noqa: F811 - the fixture
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = _traded(build)
    (sent,) = world.orders()
    _restate(world, MONDAY, "AAA")
    (row,) = report(world.desk.db, restatements(world.desk.db))
    assert (row["symbol"], row["session"], row["kind"], row["bars"]) == ("AAA", MONDAY, "changed", 1)
    assert [(order["client_id"], order["book"], order["side"]) for order in row["orders"]] == [
        (sent.client_id, "paper", "buy")
    ]
    (decided,) = row["decisions"]
    assert (decided["id"], decided["reason"]) == (row["orders"][0]["decision_id"], "buy_signal")
    assert row["shadow"] == {"decisions": 1, "sessions": [MONDAY]}
    assert row["partitions"]["bars"] == [MONDAY]
    assert "bars" not in row["waiting"]
    write_json([row])
    assert sent.client_id in capsys.readouterr().out
    console = Console(width=200, record=True)
    _print([row], console)
    assert sent.client_id in console.export_text()


def test_what_another_symbol_or_session_led_to_is_not_listed(build: Build) -> None:  # noqa: F811 - the fixture
    world = _traded(build)
    _restate(world, MONDAY, "BBB")
    _restate(world, TUESDAY, "AAA")
    later, first = report(world.desk.db, restatements(world.desk.db))
    assert (first["symbol"], first["orders"]) == ("BBB", [])
    assert [d["reason"] for d in first["decisions"]] == ["hold_vote"]
    assert (later["session"], later["orders"]) == (TUESDAY, [])
    assert later["shadow"]["sessions"] == [TUESDAY]


def test_a_bar_that_is_restated_twice_lists_under_each_event_what_used_its_bytes(
    build: Build,  # noqa: F811 - the fixture
) -> None:
    world = _traded(build)
    _restate(world, MONDAY, "AAA")
    _restate(world, MONDAY, "AAA")
    second, first = report(world.desk.db, restatements(world.desk.db))
    assert len(first["orders"]) == 1
    assert (second["orders"], second["decisions"], second["partitions"]) == ([], [], {"bars": [MONDAY]})
