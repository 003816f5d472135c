"""`quant export`, `quant bars` and `quant coverage`, as a person uses them on a desk with an import."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.repairs import begin_tries
from quant_pipeline_tests.cli.quant_process import QuantDesk

GOOD = """Date,Open,High,Low,Close,Volume
2026-03-02,100.0,102.0,99.0,101.0,1000
2026-03-03,101.0,103.0,100.5,102.5,1100
2026-03-05,102.5,104.0,102.0,103.0,900
"""


@pytest.fixture
def filled_desk(migrated_desk: QuantDesk) -> QuantDesk:
    """A desk with three daily bars of AAPL, one session absent."""
    (migrated_desk.folder / "AAPL.csv").write_text(GOOD, encoding="utf-8")
    done = migrated_desk.run("import", "AAPL.csv", "--interval", "1d", "--json")
    assert done.code == 0, done.stderr
    return migrated_desk


def test_bars_are_shown_with_their_holes_and_drawn_into_a_page(filled_desk: QuantDesk) -> None:
    done = filled_desk.run("bars", "us_equity", "aapl", "--from", "2026-03-01", "--to", "2026-03-31", "--json")
    assert done.code == 0, done.stderr
    content = done.json()
    assert [(bar["ts"], bar["close"]) for bar in content["bars"]] == [
        ("2026-03-02T05:00:00Z", 101.0),
        ("2026-03-03T05:00:00Z", 102.5),
        ("2026-03-05T05:00:00Z", 103.0),
    ]
    hole = "2026-03-04T05:00:00+00:00"
    (origin,) = content["origins"]
    assert (origin["source"], origin["adjustment"], origin["bars"]) == ("file", "unknown", 3)
    assert content["absent"] == [{"first": hole, "last": hole, "slots": 1}]

    table = filled_desk.run("bars", "us_equity", "AAPL", "--last", "2")
    assert "3 absent" not in table.stdout
    assert "2 bars, 1 slots without one" in table.stdout
    assert table.stdout.index("2026-03-03") < table.stdout.index("1 absent") < table.stdout.index("2026-03-05")

    assert "2 from file" in table.stdout
    for span in (("--from", "0001-01-01", "--to", "9999-12-31"), ("--to", "9999-12-31")):
        wide = filled_desk.run("bars", "us_equity", "AAPL", *span, "--json")
        assert wide.code == 0, wide.stderr

    before = filled_desk.run("bars", "us_equity", "AAPL", "--as-of", "2020-01-01T00:00:00Z", "--json")
    assert (before.code, before.json()["bars"]) == (0, [])

    drawn = filled_desk.run("bars", "us_equity", "AAPL", "--from", "2026-03-02", "--html", "aapl.html")
    assert drawn.code == 0, drawn.stderr
    assert "aapl.html: 3 bars, 1 slots without one" in drawn.stdout
    page = (filled_desk.folder / "aapl.html").read_text(encoding="utf-8")
    assert "no bar" in page
    assert "2026-03-04" in page


def test_an_export_is_a_file_that_imports_to_the_same_bars(filled_desk: QuantDesk) -> None:
    done = filled_desk.run("export", "us_equity", "out.csv", "--symbols", "AAPL", "--to", "2026-03-03", "--json")
    assert done.code == 0, done.stderr
    content = done.json()
    assert (content["rows"], content["symbols"], content["first"]) == (2, ["AAPL"], "2026-03-02T05:00:00+00:00")
    lines = (filled_desk.folder / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "us_equity,1d,AAPL,2026-03-02T05:00:00Z,100,102,99,101,1000,file,unknown,unknown"
    again = filled_desk.run("import", "out.csv", "--json")
    (row,) = again.json()
    assert (row["outcome"], row["inserted"], row["changed"], row["unchanged"]) == ("stored", 0, 0, 2)


def test_coverage_shows_holes_as_blocks_and_as_numbers(filled_desk: QuantDesk) -> None:
    done = filled_desk.run("coverage", "us_equity", "--json")
    assert done.code == 0, done.stderr
    ((interval,), (row,)) = (
        [one["interval"] for one in done.json()["intervals"]],
        done.json()["intervals"][0]["symbols"],
    )
    assert interval == "1d"
    assert {name: row[name] for name in ("symbol", "sessions", "complete", "expected", "present", "absent")} == {
        "symbol": "AAPL",
        "sessions": 4,
        "complete": 3,
        "expected": 4,
        "present": 3,
        "absent": 1,
    }
    assert row["holes"] == [{"session": "2026-03-04", "absent": 1}]
    assert row["months"] == {"2026-03": {"expected": 4, "present": 3, "absent": 1}}
    shown = filled_desk.run("coverage", "us_equity", "--interval", "1d")
    assert "one block a session" in shown.stdout
    assert "██·█" in shown.stdout
    assert "nothing of krw_crypto is recorded" in filled_desk.run("coverage", "krw_crypto").stdout


def test_coverage_says_which_holes_were_asked_for_in_vain(filled_desk: QuantDesk, postgres: Dsn) -> None:
    with closing(Database(postgres.with_database(filled_desk.env["POSTGRES_DB"]))) as db:
        for day in range(5):
            at = datetime(2026, 3, 10 + day, tzinfo=UTC)
            begin_tries(db, "us_equity", [(date(2026, 3, 4), "AAPL", "1d")], at=at, reason="the venue was down")
    (repair,) = filled_desk.run("coverage", "us_equity", "--json").json()["repairs"]
    assert (repair["session"], repair["symbol"], repair["tries"], repair["given_up"]) == ("2026-03-04", "AAPL", 5, True)
    shown = " ".join(filled_desk.run("coverage", "us_equity").stdout.split())
    assert "AAPL 2026-03-04 1d: given up after 5 tries: the venue was down" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bars", "us_equity", "MSFT"], "no bars of MSFT are stored in us_equity"),
        (["bars", "us_equity", "AAPL", "--interval", "1h"], "AAPL has no 1h bars; pass --interval with one of those"),
        (["export", "us_equity", "x.csv", "--symbols", "AAPL,MSFT"], "no bars of MSFT are stored in us_equity"),
        (["export", "us_equity", "x.csv", "--from", "2026-04-01"], "no 1d bars of us_equity are stored in that span"),
        (["coverage", "us_equity", "--symbols", "MSFT"], "--symbols MSFT: nothing of it is recorded in us_equity"),
    ],
)
def test_what_is_not_stored_exits_2_and_says_what_is(filled_desk: QuantDesk, arguments: list[str], said: str) -> None:
    done = filled_desk.run(*arguments, "--json")
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not Path(filled_desk.folder / "x.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bars", "mars", "AAPL"], "mars"),
        (["bars", "us_equity", "A,B"], "SYMBOL 'A,B' is not one symbol"),
        (["bars", "us_equity", "!"], "'!' is no symbol"),
        (["bars", "us_equity", "AAPL", "--interval", "2h"], "--interval '2h' is not known; use one of 1m, 5m"),
        (["bars", "us_equity", "AAPL", "--as-of", "2026-01-01"], "--as-of '2026-01-01' has no time zone"),
        (["bars", "us_equity", "AAPL", "--html", "no/folder.html"], "--html no/folder.html cannot be written"),
        (["export", "us_equity", "out.xlsx"], "end its name with one of .parquet, .csv, .csv.gz"),
        (["export", "us_equity", "no/out.csv"], "no/out.csv cannot be written"),
        (["export", "us_equity", "out.csv", "--from", "2026-02-02", "--to", "2026-02-01"], "is after --to 2026-02-01"),
        (["coverage", "us_equity", "--from", "soon"], "--from 'soon' is not a date"),
    ],
)
def test_options_that_cannot_be_meant_exit_2_before_anything_is_opened(
    desk: QuantDesk, arguments: list[str], said: str
) -> None:
    done = desk.run(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_option_that_remedies_name_exists(migrated_desk: QuantDesk) -> None:
    (migrated_desk.folder / "KO.csv").write_text(GOOD.replace("103.0,900", "103.0,many"), encoding="utf-8")
    refused = migrated_desk.run("import", "KO.csv", "--interval", "1d", "--json")
    assert refused.code == 2
    (row,) = json.loads(refused.stdout)
    option = next(word.rstrip(".") for word in row["reason"].split() if word.startswith("--"))
    again = migrated_desk.run("import", "KO.csv", "--interval", "1d", option, "--json")
    assert again.code == 0, again.stderr
    assert len(again.json()[0]["rejected"]) == 1
