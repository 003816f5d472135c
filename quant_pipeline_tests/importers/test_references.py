"""Lean factor and map files in an import: actions and spans recorded once, other companies' bars kept out and removed."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from quant_pipeline.importers.references import is_reference
from quant_pipeline.importers.store import import_files
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.corporate_actions import CorporateAction, read_actions
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ticker_spans import read_spans
from quant_pipeline_tests.importers.price_files import session_days, text, utc, write

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
ALL = date(1998, 1, 1), date(2050, 1, 1)
DAYS = session_days("2022-06-01", "2022-06-15")
FACTORS = "20200101,0.5,0.25,1\n20220607,0.5,0.25,200\n20220613,0.625,1,100\n20501231,1,1,0\n"
MAP = "20120518,fb,Q\n20220608,fb,Q\n20501231,meta,Q\n"


def _zip(path: Path, days: list[str]) -> Path:
    rows = [f"{day.replace('-', '')} 00:00,1000000,1010000,990000,1000000,{n + 1}" for n, day in enumerate(days)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(rows) + "\n")
    return path


def _stored(db: Database, symbol: str) -> list[str]:
    bars = read_bars(db, "us_equity", "1d", [symbol], utc("1990-01-01"), utc("2100-01-01"))
    return [f"{ts:%Y-%m-%d}" for ts in bars["ts"]]


def _covered(db: Database, symbol: str) -> list[str]:
    return [row.session.isoformat() for row in read_coverage(db, "us_equity", [symbol], *ALL)]


def test_a_factor_file_becomes_dated_actions_once(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "meta.csv", FACTORS)
    (result,) = import_files(database, [path], at=AT)
    assert (result.outcome, result.format, result.symbols, result.recorded) == ("stored", "lean_factors", ("META",), 3)
    common: dict[str, Any] = {"market": "us_equity", "symbol": "META", "source": "lean", "known_at": AT}
    cash = {**common, "kind": "dividend", "ratio": None, "currency": "USD"}
    split = {**common, "kind": "split", "ratio": Decimal(4), "amount": None, "currency": None}
    expected = (
        CorporateAction(ex_date=date(2022, 6, 8), amount=Decimal("40.0000"), **cash),
        CorporateAction(ex_date=date(2022, 6, 8), **split),
        CorporateAction(ex_date=date(2022, 6, 14), amount=Decimal("37.5000"), **cash),
    )
    assert read_actions(database, "us_equity", None, *ALL) == expected
    (again,) = import_files(database, [path], at=LATER)
    assert again.recorded == 0
    assert read_actions(database, "us_equity", None, *ALL) == expected


def test_a_restated_factor_is_a_new_statement_beside_the_old_one(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "meta.csv", FACTORS)
    import_files(database, [path], at=AT)
    write(path, FACTORS.replace("20220607,0.5,0.25,200", "20220607,0.5,0.25,300"))
    (result,) = import_files(database, [path], at=LATER)
    assert result.recorded == 1
    amounts = [read_actions(database, "us_equity", None, *ALL, as_of=at)[0].amount for at in (AT, LATER)]
    assert amounts == [Decimal("40.0000"), Decimal("60.0000")]


@pytest.mark.parametrize("order", [("map", "bars"), ("bars", "map")])
def test_bars_of_the_company_that_had_the_ticker_before_are_not_kept(
    database: Database, tmp_path: Path, order: tuple[str, str]
) -> None:
    files = {"bars": _zip(tmp_path / "meta.zip", DAYS), "map": write(tmp_path / "meta.csv", MAP)}
    results = {}
    for name in order:
        (results[name],) = import_files(database, [files[name]], at=AT)
    own = [day for day in DAYS if day >= "2022-06-09"]
    assert _stored(database, "META") == own
    assert _covered(database, "META") == own
    others = len(DAYS) - len(own)
    left = [(out.symbol, out.rows, out.reason) for out in results["bars"].left_out]
    if order[0] == "map":
        assert left == [("META", others, "META means this company only since 2022-06-09 (map file)")]
        assert (results["bars"].rows, results["bars"].rows_read, results["map"].removed) == (len(own), len(DAYS), 0)
    else:
        assert (left, results["map"].removed) == ([], others)
    again = import_files(database, list(files.values()), at=LATER)
    assert [(one.inserted, one.changed, one.recorded, one.removed) for one in again] == [(0, 0, 0, 0)] * 2
    assert _stored(database, "META") == own


def test_the_map_counts_for_bars_of_the_same_import_wherever_it_stands(database: Database, tmp_path: Path) -> None:
    bars, spans = _zip(tmp_path / "meta.zip", DAYS), write(tmp_path / "meta.csv", MAP)
    results = import_files(database, [bars, spans], at=AT)
    assert [result.path for result in results] == [bars, spans]
    assert (results[0].left_out[0].rows, results[1].removed) == (len(DAYS) - results[0].rows, 0)


def test_a_vendor_of_company_histories_keeps_what_was_traded_under_the_old_ticker(
    database: Database, tmp_path: Path
) -> None:
    days = session_days("2012-05-15", "2012-05-22")
    header = "Date,Open,High,Low,Close,Adj Close,Volume"
    rows = "\n".join(f"{day},10,12,9,11,11,{n + 1}" for n, day in enumerate(days))
    path = write(tmp_path / "META.csv.gz", f"{header}\n{rows}\n")
    results = import_files(database, [path, write(tmp_path / "meta.csv", MAP)], at=AT)
    assert _stored(database, "META") == [day for day in days if day >= "2012-05-18"]
    assert results[0].left_out[0].rows == 3


def test_a_file_of_which_nothing_is_the_companys_own_is_passed_by_with_the_reason(
    database: Database, tmp_path: Path
) -> None:
    files = [write(tmp_path / "meta.csv", MAP), _zip(tmp_path / "meta.zip", DAYS[:3])]
    result = import_files(database, files, at=AT)[1]
    assert result.outcome == "passed_by"
    assert "all 3 bars are of another company: META means this company only since 2022-06-09" in str(result.reason)
    assert _covered(database, "META") == []


def test_a_changed_map_file_replaces_the_spans_and_the_old_ones_stay_known(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "meta.csv", MAP)
    import_files(database, [path], at=AT)
    write(path, MAP.replace("20220608", "20220609"))
    (result,) = import_files(database, [path], at=LATER)
    spans = read_spans(database, "us_equity")["META"]
    assert result.recorded == 2
    assert [(span.ticker, span.first_day) for span in spans] == [("FB", date(2012, 5, 18)), ("META", date(2022, 6, 10))]
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ticker_spans").scalar_one() == 4


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("meta.csv", FACTORS.rsplit("2050", 1)[0], "the last row (2022-06-13) has the factors 0.625 and 1"),
        ("meta factors.csv", FACTORS, "the file's name is no ticker"),
        ("meta.csv", MAP.splitlines()[0] + "\n", "a map file has two rows at least"),
        ("meta.csv", FACTORS.replace("20220613,0.625", "20220613,none"), "line 3"),
    ],
)
def test_a_reference_that_cannot_be_right_is_refused_and_leaves_nothing(
    database: Database, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (result,) = import_files(database, [write(tmp_path / name, content)], at=AT)
    assert result.outcome == "refused"
    assert said in str(result.reason)
    assert read_actions(database, "us_equity", None, *ALL) == ()
    assert read_spans(database, "us_equity") == {}


def test_a_reference_asked_for_as_crypto_is_refused(database: Database, tmp_path: Path) -> None:
    (result,) = import_files(database, [write(tmp_path / "meta.csv", MAP)], at=AT, market="krw_crypto")
    assert "of stocks, not of krw_crypto" in str(result.reason)


def test_price_files_are_no_references(tmp_path: Path) -> None:
    assert not is_reference(write(tmp_path / "KO.csv", text(DAYS)))
    assert not is_reference(write(tmp_path / "meta.csv.gz", MAP))
    assert not is_reference(tmp_path)
    assert is_reference(write(tmp_path / "meta.csv", MAP))
