"""`quant backfill` and `quant train` against a running exchange: real runs over a few sessions, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quant_pipeline_tests.cli.quant_process import QuantDesk, read_document


@pytest.fixture
def trading_desk(migrated_desk: QuantDesk) -> Iterator[QuantDesk]:
    """A desk whose exchange stands at a Friday noon."""
    with migrated_desk.start("exchange", "--clock", "2026-03-06T17:00:00Z", "--json") as process:
        read_document(process)
        yield migrated_desk


@pytest.mark.slow
def test_a_range_is_materialized_in_one_run_and_the_rest_is_refused(trading_desk: QuantDesk) -> None:
    options = ("--from", "2026-02-02", "--to", "2026-02-06", "--steps", "bars, indicators")
    done = trading_desk.run("backfill", "us_equity", *options, "--json")
    assert done.code == 0, done.stderr
    content = done.json()
    assert (content["sessions"], content["first"], content["last"]) == (5, "2026-02-02", "2026-02-06")
    assert content["materialized"] == {"us_equity/bars": 5, "us_equity/indicators": 5}

    for arguments, said in (
        (
            ("us_equity", "--from", "2026-01-30"),
            "--from 2026-01-30 is before the first session of us_equity, 2026-02-02",
        ),
        (("us_equity", "--to", "2026-03-09"), "--to 2026-03-09 is in the future"),
        (
            ("us_equity", "--from", "2026-02-07", "--to", "2026-02-08"),
            "us_equity is closed from 2026-02-07",
        ),
        (
            ("us_equity", "--from", "2026-02-10", "--to", "2026-02-09"),
            "--from 2026-02-10 is after --to 2026-02-09",
        ),
    ):
        refused = trading_desk.run("backfill", *arguments, "--json")
        assert (refused.code, refused.stdout) == (2, ""), refused.stderr
        assert said in refused.stderr
    late = trading_desk.run("train", "us_equity", "--month", "2026-04")
    assert (late.code, late.stdout) == (2, "")
    assert "--month 2026-04 is not between 2026-02 (history_start) and 2026-03" in late.stderr


@pytest.mark.slow
def test_a_desk_catches_up_with_its_recent_past_and_older_sessions_are_a_backfill(trading_desk: QuantDesk) -> None:
    env = {"QUANT__MARKETS__US_EQUITY__CATCH_UP_SESSIONS": "4", "QUANT__MARKETS__US_EQUITY__COLLECT_CHUNK_ROWS": "6"}
    caught = trading_desk.run("catch-up", "us_equity", "--json", env=env)
    assert caught.code == 0, caught.stderr
    pieces = [
        "us_equity: 1d bars of 3 symbols from 2026-03-02 to 2026-03-03",
        "us_equity: 1d bars of 3 symbols from 2026-03-04 to 2026-03-05",
    ]
    assert [line for line in caught.stderr.splitlines() if "bars of" in line and "from" in line] == pieces

    older = trading_desk.run("backfill", "us_equity", "--from", "2026-02-26", "--json", env=env)
    assert older.code == 0, older.stderr
    assert older.json()["sessions"] == 6
    shown = [line.rpartition("m__")[2] for line in older.stderr.splitlines() if "bars of" in line]
    assert len(shown) == 1, older.stderr
    assert "1d bars of 3 symbols from 2026-02-26 to 2026-02-27" in shown[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["backfill", "us_equity", "--steps", "bars,magic"],
            "--steps 'bars,magic' names magic; use one or more of bars",
        ),
        (["backfill", "us_equity", "--steps", ","], "--steps ',' names nothing"),
        (["backfill", "us_equity", "--from", "monday"], "--from 'monday' is not a date"),
        (["train", "us_equity", "--month", "13"], "--month '13' is not a month"),
        (["train", "nyse"], "market 'nyse' is unknown"),
    ],
)
def test_what_cannot_be_meant_exits_2(desk: QuantDesk, arguments: list[str], said: str) -> None:
    done = desk.run(*arguments, "--json")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
