"""Lean factor and map files."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from quant_pipeline.importers.actions import Action, actions_of, read_factor_file, read_map_file
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline_tests.importers.price_files import write


def test_a_step_of_the_split_factor_is_a_split_on_the_next_session(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv",
        "20140506,1,0.0357143,600\n20140606,1,0.0357143,645.57\n20200828,1,0.25,499.23\n20501231,1,1,0\n",
    )
    assert actions_of("AAPL", read_factor_file(path)) == (
        Action("AAPL", date(2014, 6, 9), "split", ratio=Decimal(7)),
        Action("AAPL", date(2020, 8, 31), "split", ratio=Decimal(4)),
    )


def test_a_reverse_split_has_a_ratio_below_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "20200101,1,8,1\n20200403,1,8,2.5\n20501231,1,1,0\n")
    assert [action.ratio for action in actions_of("X", read_factor_file(path))] == [Decimal("0.125")]


def test_a_step_of_the_price_factor_is_a_dividend_of_the_reference_close(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "20240110,0.98,1,100\n20501231,1,1,0\n")
    assert actions_of("X", read_factor_file(path)) == (
        Action("X", date(2024, 1, 11), "dividend", amount=Decimal("2.0000")),
    )


@pytest.mark.parametrize(
    "row", ["2024-01-10,1,1,1", "20240110,1", "20240110,a,1,1", "20240110,0,1,1", "20240230,1,1,1"]
)
def test_a_bad_factor_row_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(ImportRefused) as refusal:
        read_factor_file(write(tmp_path / "x.csv", f"19980102,1,1,1\n{row}\n"))
    assert refusal.value.line == 2


def test_map_file_says_since_when_a_ticker_means_the_share(tmp_path: Path) -> None:
    spans = read_map_file(write(tmp_path / "googl.csv", "20040819,goog,Q\n20140402,goog,Q\n20501231,googl,Q\n"))
    assert [(span.ticker, span.first, span.last) for span in spans] == [
        ("GOOG", date(2004, 8, 19), date(2014, 4, 2)),
        ("GOOGL", date(2014, 4, 3), date(2050, 12, 31)),
    ]
    with pytest.raises(ImportRefused, match="cannot be understood"):
        read_map_file(write(tmp_path / "x.csv", "20040819,goog,Q\n20140402,,Q\n"))
