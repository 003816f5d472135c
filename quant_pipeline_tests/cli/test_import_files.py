"""`quant import`: files of a person into the desk's database, shown file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant_pipeline.storage.bars_read import bar_span
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.cli.quant_process import QuantDesk

GOOD = """Date,Open,High,Low,Close,Volume
2026-03-02,100.0,102.0,99.0,101.0,1000
2026-03-03,101.0,103.0,100.5,102.5,1100
2026-03-03,101.0,103.0,100.5,102.5,1100
2026-03-05,102.5,104.0,102.0,103.0,900
"""


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_becomes_bars_and_a_second_import_changes_nothing(migrated_desk: QuantDesk, postgres: Dsn) -> None:
    file = written(migrated_desk.folder, "AAPL.csv", GOOD)
    first = migrated_desk.run("import", file, "--market", "us_equity", "--interval", "1d", "--json")
    assert first.code == 0, first.stderr
    (row,) = first.json()
    assert {name: row[name] for name in ("outcome", "market", "symbols", "interval", "rows", "duplicates_dropped")} == {
        "outcome": "stored",
        "market": "us_equity",
        "symbols": ["AAPL"],
        "interval": "1d",
        "rows": 3,
        "duplicates_dropped": 1,
    }
    assert (row["inserted"], row["changed"], row["unchanged"]) == (3, 0, 0)
    assert (row["gaps"], row["slots_missing"]) == (1, 1)
    database = Database(postgres.with_database(migrated_desk.env["POSTGRES_DB"]))
    span = bar_span(database, "us_equity", "1d")
    database.close()
    assert span[["symbol", "rows"]].to_dict("records") == [{"symbol": "AAPL", "rows": 3}]

    changed = written(migrated_desk.folder, "AAPL.csv", GOOD.replace("103.0,900", "103.5,900"))
    again = migrated_desk.run("import", changed, "--market", "us_equity", "--interval", "1d", "--json")
    (row,) = again.json()
    assert (row["inserted"], row["changed"], row["unchanged"]) == (0, 1, 2)


def test_bars_that_were_adjusted_differently_are_told_when_they_meet(migrated_desk: QuantDesk) -> None:
    adjusted = "Date,Open,High,Low,Close,Adj Close,Volume\n2026-02-27,50.0,52.0,49.0,51.0,50.5,1000\n"
    assert migrated_desk.run("import", written(migrated_desk.folder, "KO.csv", GOOD), "--interval", "1d").code == 0
    (migrated_desk.folder / "more").mkdir()
    done = migrated_desk.run("import", written(migrated_desk.folder / "more", "KO.csv", adjusted), "--interval", "1d")
    assert done.code == 0, done.stderr
    assert "KO 1d now has bars that were adjusted differently (split, unknown)" in done.stderr


def test_a_refused_file_is_named_with_line_and_column_and_does_not_stop_the_rest(migrated_desk: QuantDesk) -> None:
    good = written(migrated_desk.folder, "MSFT.csv", GOOD)
    bad = written(migrated_desk.folder, "SPY.csv", GOOD.replace("103.0,100.5,102.5,1100", "n/a,100.5,102.5,1100", 1))
    done = migrated_desk.run("import", bad, good, "--interval", "1d")
    assert done.code == 2
    assert f"quant: refused: {bad}, line 3, column 'High'" in done.stderr
    assert "MSFT.csv" in done.stdout
    assert "1 files read, 1 refused, 3 bars new or changed" in done.stdout

    skipped = migrated_desk.run("import", bad, "--interval", "1d", "--skip-bad", "--json")
    assert skipped.code == 0, skipped.stderr
    (row,) = skipped.json()
    assert row["rows"] == 3
    assert [(one["line"], one["column"], one["value"]) for one in row["rejected"]] == [(3, "High", "n/a")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.csv"], "missing.csv does not exist"),
        ([".", "--market", "nyse"], "--market 'nyse' is not known; use one of us_equity, krw_crypto"),
        ([".", "--interval", "2h"], "--interval '2h' is not known; use one of 1m, 5m, 15m, 1h, 4h, 1d"),
        ([".", "--tz", "Mars/Olympus"], "--tz 'Mars/Olympus' is not a time zone"),
        ([".", "--stamp", "middle"], "--stamp 'middle' is not known; use one of start, end"),
        ([".", "--since", "soon"], "--since 'soon' is not a date"),
    ],
)
def test_options_that_no_file_could_be_read_with_exit_2(desk: QuantDesk, arguments: list[str], said: str) -> None:
    done = desk.run("import", *arguments, "--json")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
